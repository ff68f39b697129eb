//! Response bodies as they come: pieces, their end, and the limits on waiting for them.
//!
//! It decodes nothing and keeps nothing. Time passes only while a caller waits in [`AnswerBody::next`]: a slow disk is no
//! slow network (reliability.md B.6).

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

use super::exchange::Sent;
use super::handles::Used;
use super::hosts::Hosts;
use super::line::Line;
use super::uptake::look_after;
use super::{Call, Framing, MAX_PIECE, words};
use crate::digest::{Checksum, Hasher};
use crate::error::{Failure, FailureDetail, FailureKind};

/// A response body.
#[derive(Debug)]
pub struct AnswerBody {
    incoming: Option<Incoming>,
    failed: Option<Failure>,
    /// What a piece held beyond the largest size.
    rest: Bytes,
    framing: Framing,
    /// The connection, until the answer has ended.
    line: Option<Line>,
    /// It comes in a stream of HTTP/2, whose end is told by a flag and by nothing else.
    is_stream: bool,
    peer: String,
    /// Is told how its server does with HTTP/2.
    hosts: Option<Arc<Hosts>>,
    received: u64,
    /// The digest that a part states of itself, and that of what has come of it.
    content: Option<(Checksum, Hasher)>,
    /// The two differ.
    is_untrue: bool,
    idle_timeout: Option<Duration>,
    pace: Pace,
    /// When whoever reads it has no more time, and the failure that it is then.
    until: Option<(Instant, Failure)>,
    /// The request, while it is being sent; whether the rest of it is.
    request: Option<(Sent, bool)>,
    /// The server had not taken all of it when the answer ended.
    cut_request: bool,
    /// Nor did it want to, and said so.
    released_request: bool,
    /// Secrets of the request, which what is collected does not show.
    used: Used,
}

/// The low-speed rule: each full window of waiting must have brought its bytes.
#[derive(Debug)]
struct Pace {
    bytes_per_second: u64,
    window: Duration,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn is_on(&self) -> bool {
        self.bytes_per_second > 0 && !self.window.is_zero()
    }

    /// How long the window still lasts; `None` without the rule.
    fn left(&self) -> Option<Duration> {
        self.is_on().then(|| self.window.saturating_sub(self.waited))
    }

    /// Counts what a wait brought. False when a window has passed with too little.
    fn count(&mut self, waited: Duration, bytes: u64) -> bool {
        if !self.is_on() {
            return true;
        }
        self.waited += waited;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.waited < self.window {
            return true;
        }
        let wanted = self.bytes_per_second as f64 * self.window.as_secs_f64();
        let enough = self.bytes as f64 >= wanted;
        self.begin();
        enough
    }

    /// Begins another window.
    fn begin(&mut self) {
        (self.waited, self.bytes) = (Duration::ZERO, 0);
    }
}

impl AnswerBody {
    /// How its end is known.
    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    pub(super) fn new(
        (incoming, line): (Incoming, Line),
        framing: Framing,
        (peer, hosts): (String, Arc<Hosts>),
        call: &Call,
    ) -> Self {
        Self {
            incoming: (framing != Framing::Empty).then_some(incoming),
            failed: None,
            rest: Bytes::new(),
            framing,
            is_stream: line.is_http2(),
            line: Some(line),
            peer,
            hosts: Some(hosts),
            received: 0,
            content: None,
            is_untrue: false,
            idle_timeout: call.idle_timeout,
            pace: Pace {
                bytes_per_second: call.low_speed_bytes,
                window: call.low_speed_window,
                waited: Duration::ZERO,
                bytes: 0,
            },
            until: None,
            request: None,
            cut_request: false,
            released_request: false,
            used: Used::default(),
        }
    }

    /// A body that is here already.
    pub(super) fn given(body: Bytes) -> Self {
        let framing = Framing::Length(body.len() as u64);
        Self {
            incoming: None,
            failed: None,
            rest: body,
            framing,
            line: None,
            is_stream: false,
            peer: String::new(),
            hosts: None,
            received: 0,
            content: None,
            is_untrue: false,
            idle_timeout: None,
            pace: Pace { bytes_per_second: 0, window: Duration::ZERO, waited: Duration::ZERO, bytes: 0 },
            until: None,
            request: None,
            cut_request: false,
            released_request: false,
            used: Used::default(),
        }
    }

    /// The answer came before its request was sent. The rest of it goes out while the body is read, or (`goes_on` false) is
    /// not sent any more.
    pub(super) fn belongs_to(&mut self, request: Sent, goes_on: bool) {
        self.request = Some((request, goes_on));
    }

    /// It states this digest of itself (`Content-Digest`): where it has another one it fails, before its last bytes are handed out.
    pub(super) fn states(&mut self, digest: Option<Checksum>) {
        self.content = digest.map(|digest| (digest.clone(), digest.hasher()));
    }

    /// The whole is known to have this digest: a server that states it of a part means the whole.
    pub(crate) fn is_part_of(&mut self, whole: Option<&str>) {
        self.content.take_if(|(stated, _)| whole == Some(&stated.to_string()));
    }

    /// Whether it has failed since it is not what it states: nothing of it may be kept.
    pub(crate) fn is_untrue(&self) -> bool {
        self.is_untrue
    }

    /// The request had secrets in the place of handles.
    pub(super) fn hides(&mut self, used: Used) {
        self.used = used;
    }

    /// Reading ends with this failure at that time.
    pub(crate) fn ends(&mut self, until: Option<(Instant, Failure)>) {
        self.until = until;
    }

    /// Whether a success ended without the server having taken the whole request: then [`AnswerBody::next`] has failed.
    pub fn cut_request(&self) -> bool {
        self.cut_request
    }

    /// Whether a success ended without the server having taken the whole request, and it let the rest go (HTTP/2).
    pub fn released_request(&self) -> bool {
        self.released_request
    }

    /// The next piece, as large as the connection gives (up to 1 MiB), never empty; `None` at the proper end. A body cut
    /// short, one that stalls, and one with broken framing are failures; so are all later calls then. Dropping the future
    /// loses no bytes.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.rest.is_empty() {
            if let Some(failure) = &self.failed {
                return Err(failure.clone());
            }
            match self.wait().await {
                Ok(Some(data)) => self.rest = data,
                Ok(None) => {
                    self.incoming = None;
                    let ended = self.end_of_request().await.map(|()| None);
                    self.leave(ended.as_ref().err());
                    return ended;
                }
                Err(failure) => {
                    self.incoming = None; // closes the connection, or the stream
                    self.failed = Some(failure.clone());
                    let is_cut = |(request, goes_on): &(Sent, bool)| *goes_on && !request.is_whole();
                    self.cut_request = self.request.as_ref().is_some_and(is_cut);
                    self.leave(Some(&failure));
                    return Err(failure);
                }
            }
        }
        let size = self.rest.len().min(MAX_PIECE);
        Ok(Some(self.rest.split_to(size)))
    }

    /// The first bytes, at most `limit`, without taking them: [`AnswerBody::next`] brings them as well. Waits for them; a
    /// failure is that of a later `next`. Masked as by [`AnswerBody::masked`].
    pub async fn preview(&mut self, limit: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < limit {
            let Ok(Some(piece)) = self.next().await else { break };
            all.extend_from_slice(&piece);
        }
        self.put_back(&all);
        self.masked(self.rest[..self.rest.len().min(limit)].to_vec(), limit)
    }

    /// Puts bytes before those to come.
    pub fn put_back(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.rest = [bytes, &*self.rest].concat().into();
        }
    }

    /// Reads at most `limit` bytes and gives up the rest; failures count as the end.
    pub async fn collect(&mut self, limit: usize) -> Vec<u8> {
        let (all, _) = self.take_first(limit).await;
        self.masked(all, limit)
    }

    /// The same, and whether there is more: after `limit` bytes another piece is waited for.
    pub(crate) async fn collect_first(&mut self, limit: usize) -> (Vec<u8>, bool) {
        let (all, is_cut) = self.take_first(limit).await;
        let is_cut = is_cut || (all.len() >= limit && matches!(self.next().await, Ok(Some(_))));
        (self.masked(all, limit), is_cut)
    }

    /// The first bytes as they came, and whether the last piece had more.
    async fn take_first(&mut self, limit: usize) -> (Vec<u8>, bool) {
        let (mut all, mut is_cut) = (Vec::new(), false);
        while all.len() < limit {
            let Ok(Some(piece)) = self.next().await else {
                break;
            };
            let room = piece.len().min(limit - all.len());
            is_cut = room < piece.len();
            all.extend_from_slice(&piece[..room]);
        }
        (all, is_cut)
    }

    /// What was read of it, for people and components: without the secrets that the request had in the place of handles. Where
    /// `limit` bytes were read there may be more, and the end of these may be the beginning of a secret.
    pub fn masked(&self, bytes: Vec<u8>, limit: usize) -> Vec<u8> {
        self.used.mask_first_bytes(bytes, limit)
    }

    async fn wait(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut idle_since = crate::clock::timer_now();
        // While the request goes on its server may have nothing to say yet: that it takes more of it is no silence.
        let mut uptake = self.request.as_ref().filter(|(_, goes_on)| *goes_on).map(|(request, _)| request.uptake());
        loop {
            let Some(incoming) = &mut self.incoming else {
                return Ok(None);
            };
            let is_sending = uptake.is_some() && self.request.as_ref().is_some_and(|(request, _)| !request.is_over());
            let before = crate::clock::timer_now();
            let time_left = match &self.until {
                Some((at, failure)) if *at <= before => return Err(failure.clone()),
                until => until.as_ref().map(|(at, _)| *at - before),
            };
            let idle_left = self.idle_timeout.map(|limit| limit.saturating_sub(before - idle_since));
            let pace_left = self.pace.left().filter(|_| !is_sending);
            let look = uptake.as_ref().map(|_| look_after(self.idle_timeout.unwrap_or(Duration::MAX)));
            let limit = [idle_left, pace_left, time_left, look].into_iter().flatten().min();
            let frame = match limit {
                Some(limit) => tokio::time::timeout(limit, incoming.frame()).await.ok(),
                None => Some(incoming.frame().await),
            };
            let data = match frame {
                None => Bytes::new(),
                Some(None) => return self.end().and_then(|end| self.compare().map(|()| end)),
                Some(Some(Ok(frame))) => frame.into_data().unwrap_or_default(), // trailers are skipped
                Some(Some(Err(error))) => return Err(self.broken(&error)),
            };
            let now = crate::clock::timer_now();
            self.received += data.len() as u64;
            if let Some((_, hasher)) = &mut self.content {
                hasher.update(&data);
            }
            if self.framing == Framing::Length(self.received) {
                self.compare()?;
            }
            if let (Some(uptake), Some((request, _))) = (&mut uptake, &self.request) {
                let last = uptake.last(request.last());
                if last > idle_since {
                    idle_since = last;
                    self.pace.begin();
                }
            }
            if !is_sending && !self.pace.count(now - before, data.len() as u64) {
                return Err(self.slow());
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
            if self.idle_timeout.is_some_and(|limit| now - idle_since >= limit) {
                return Err(self.idle());
            }
        }
    }

    /// The answer has ended. A connection of HTTP/2 that has stalled with this one would with the next.
    fn leave(&mut self, failure: Option<&Failure>) {
        let Some(line) = self.line.take() else { return };
        match failure {
            None => line.end(),
            Some(failure) if self.cut_request || failure.detail == FailureDetail::Timeout => line.retire(),
            Some(_) => {}
        }
    }

    /// A success is one only when the server has had the whole request, or has said that it needs no more of it.
    async fn end_of_request(&mut self) -> Result<(), Failure> {
        let Some((request, true)) = self.request.take() else { return Ok(()) };
        let was_lost =
            self.is_stream && self.framing != Framing::Empty && self.line.as_ref().is_some_and(Line::is_lost);
        if request.end(self.idle_timeout).await {
            return Ok(());
        }
        // Over HTTP/2 such a stream looks like one that the server has let go of.
        let broken = request.broken();
        self.released_request = broken.is_none() && request.was_released(was_lost);
        if self.released_request {
            return Ok(());
        }
        let description = format!("{} answered and did not take the rest of the request", self.peer);
        let cut = || Failure::new(FailureKind::Connection, description).with(FailureDetail::Cut);
        let failure = broken.unwrap_or_else(cut);
        (self.cut_request, self.failed) = (true, Some(failure.clone()));
        Err(failure)
    }

    /// The end the connection told: true only when the length fits, and a stream was ended by its server: hyper takes one that
    /// is reset without an error (RFC 9113 section 8.1) for one that has ended.
    fn end(&self) -> Result<Option<Bytes>, Failure> {
        let is_over = |incoming: &Incoming| !self.is_stream || incoming.is_end_stream();
        match self.framing {
            Framing::Length(length) if length != self.received => Err(self.cut("")),
            _ if !self.incoming.as_ref().is_none_or(is_over) => Err(self.cut(": the stream was reset")),
            _ => Ok(None),
        }
    }

    /// All of it is here: whether it is what it says that it is.
    fn compare(&mut self) -> Result<(), Failure> {
        let content = self.content.take();
        self.is_untrue = content.is_some_and(|(stated, hasher)| !stated.matches(&hasher.finish()));
        match self.is_untrue {
            true => Err(self.cut(": they are not what their Content-Digest says")),
            false => Ok(()),
        }
    }

    fn cut(&self, reason: &str) -> Failure {
        let of = match self.framing {
            Framing::Length(length) => format!(" of {length}"),
            _ => String::new(),
        };
        let description = format!("connection to {} lost after {}{of} bytes{reason}", self.peer, self.received);
        Failure::new(FailureKind::Connection, description).with(FailureDetail::Cut)
    }

    fn broken(&self, error: &hyper::Error) -> Failure {
        if words::is_of_tiny_frames(error) {
            self.hosts.iter().for_each(|hosts| hosts.has_wanted_http1(&self.peer));
            return self.cut(": its frames are too small for HTTP/2; next time it is asked by HTTP/1.1");
        }
        let io = words::find::<std::io::Error>(error);
        let tls = words::find::<rustls::Error>(error);
        // hyper's chunk decoder reports malformed chunks as invalid input or data.
        let malformed = io
            .is_some_and(|io| matches!(io.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData));
        if malformed && tls.is_none() {
            let description = format!(
                "{} broke the protocol after {} bytes of the body: {}",
                self.peer,
                self.received,
                words::innermost(error as &dyn StdError)
            );
            return Failure::new(FailureKind::Connection, description).with(FailureDetail::Protocol);
        }
        let of_h2 = words::find::<h2::Error>(error).and_then(h2::Error::get_io);
        match io.or(of_h2) {
            // What h2 says of streams whose connection is no more.
            Some(io)
                if io.kind() == std::io::ErrorKind::BrokenPipe
                    && self.line.as_ref().is_some_and(Line::was_given_up) =>
            {
                self.cut(": a PING was not answered")
            }
            Some(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => self.cut(""),
            _ => self.cut(&format!(": {}", words::innermost(error as &dyn StdError))),
        }
    }

    fn slow(&self) -> Failure {
        words::timeout(format!(
            "less than {} bytes a second from {} over {} (low-speed limit)",
            self.pace.bytes_per_second,
            self.peer,
            words::span(self.pace.window)
        ))
    }

    fn idle(&self) -> Failure {
        words::timeout(format!(
            "no data from {} for {} (idle limit), after {} bytes",
            self.peer,
            words::span(self.idle_timeout.unwrap_or_default()),
            self.received
        ))
    }
}
