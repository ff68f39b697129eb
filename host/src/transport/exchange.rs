//! One request and the head of its answer: headers, time limits, framing checks, and what a failure means.
//!
//! It follows no redirects and judges no status. It sends again only what a pooled connection lost because the server had
//! closed it meanwhile, and what HTTP/2 says that nobody has looked at (reliability.md B.4); all other retrying is the engine's.

use std::error::Error as StdError;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, COOKIE, EXPECT, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION,
    TRANSFER_ENCODING, USER_AGENT,
};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body, Incoming};
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Error as ClientError, ResponseFuture};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::connect::{ConnectFailure, Trace};
use super::hosts::{Hosts, Turn};
use super::line::Line;
use super::nonces::Challenged;
use super::payload::{Guard, Outgoing, Sending};
use super::redirect::Hop;
use super::uptake::Uptake;
use super::{Call, Framing, Pool, peer_of, tls, words};
use crate::clock;
use crate::error::{Failure, FailureDetail, FailureKind};
use crate::task::Pairs;

/// Most interim answers before the final one.
const MAX_INTERIM: u32 = 64;
/// Most headers of an answer.
pub(super) const MAX_HEADERS: usize = 200;
/// Longest head of an answer, in bytes of names and values.
pub(super) const MAX_HEAD: usize = 256 * 1024;
/// How many connections may turn out to take the request no more before that counts as a failure. Those that have left it unread do
/// not count where the server has answered others over HTTP/2 meanwhile: it gets on.
const MAX_STALE: usize = 4;

/// Headers the connection makes itself; a caller's would break the framing.
const OWN: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Interim answers of one request: how many, and since when.
#[derive(Default)]
struct Interim {
    count: AtomicU32,
    first: OnceLock<Instant>,
    over: AtomicBool,
    /// Told when they are over the limit.
    too_many: Notify,
}

impl Interim {
    /// Counts one. A series is over its limit when one more comes too late, counted from the first one or, where a body is
    /// still being sent, from its last piece (`last`): who waits in silence is measured by the limit on the head.
    fn add(&self, last: Instant, limit: Duration) {
        let now = crate::clock::timer_now();
        let first = *self.first.get_or_init(|| now);
        let is_late = now.duration_since(first.max(last)) > limit;
        if self.count.fetch_add(1, Ordering::Relaxed) >= MAX_INTERIM || is_late {
            self.over.store(true, Ordering::Relaxed);
            self.too_many.notify_one();
        }
    }

    /// Whether they are over the limit: an answer that came with them in one piece is there before anybody hears of it.
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// The head of an answer, checked, and the request it belongs to.
pub(super) struct Answered {
    pub(super) response: Response<Incoming>,
    pub(super) line: Line,
    pub(super) framing: Framing,
    pub(super) sent: Sent,
}

/// A request that was answered, and perhaps is still being sent.
#[derive(Debug)]
pub(super) struct Sent {
    guard: Guard,
    trace: Option<Arc<Trace>>,
    reused: bool,
}

impl Sent {
    /// The connection, and whether it had served another request.
    pub(super) fn over(&self) -> Option<(&Trace, bool)> {
        self.trace.as_deref().map(|trace| (trace, self.reused))
    }

    /// Whether all of it went out, as far as can be known.
    pub(super) fn is_whole(&self) -> bool {
        let deaf = self.trace.as_ref().is_some_and(|trace| trace.deaf.load(Ordering::Relaxed));
        self.guard.0.is_whole() && !deaf
    }

    /// How far it has got, as far as can be known from now on.
    pub(super) fn uptake(&self) -> Uptake {
        Uptake::new(self.trace.as_ref(), self.last())
    }

    /// When the connection last took a piece of it.
    pub(super) fn last(&self) -> Instant {
        self.guard.0.last()
    }

    /// Whether the connection takes nothing more of it.
    pub(super) fn is_over(&self) -> bool {
        self.guard.0.is_over()
    }

    /// Why the rest of it could not be read.
    pub(super) fn broken(&self) -> Option<Failure> {
        self.guard.0.broken()
    }

    /// Lets the rest of it go out; false when the connection does not take it.
    pub(super) async fn end(&self, idle: Option<Duration>) -> bool {
        let sending = &*self.guard.0;
        let mut uptake = Uptake::new(self.trace.as_ref(), sending.last());
        loop {
            tokio::select! {
                biased;
                whole = sending.end() => return whole && self.is_whole(),
                is_over = uptake.is_over(idle, || sending.last()) => if is_over {
                    return false;
                }
            }
        }
    }

    /// Whether the server has let go of the rest: over HTTP/2 one that has answered completely may reset the stream, and the answer
    /// stands (RFC 9113 section 8.1). A connection that was lost says nothing of the kind, unless it already was (`was_lost`) when
    /// the answer ended as it should: h2 tells no such end then but of a stream that was reset before.
    pub(super) fn was_released(&self, was_lost: bool) -> bool {
        let has_a_say = |trace: &Arc<Trace>| trace.h2 && (was_lost || !trace.is_lost());
        self.trace.as_ref().is_some_and(has_a_say) && self.guard.0.was_let_go()
    }
}

/// What one try came to.
enum Try {
    Answered(Response<Incoming>, Line, Sent),
    Failed(Failure),
    /// The connection was closed for nothing that the request has done, which does no harm a second time.
    Stale(Failure),
    /// The request was not sent, or HTTP/2 says that nobody has looked at it.
    Unread(Failure),
}

/// Sends one request and waits for the head of its answer, which was checked. An answer 421 means that this connection
/// was the wrong one for the request: it is sent once more on a fresh one, whatever its method (RFC 9110 section 15.5.20).
pub(super) async fn exchange(
    public_only: bool,
    hop: &Hop,
    call: &Call,
    asked: &Challenged,
    shared: &super::Shared,
) -> Result<Answered, Failure> {
    let answered = exchange_on(shared.pool(public_only)?, hop, call, asked, shared).await?;
    if answered.response.status() == StatusCode::MISDIRECTED_REQUEST {
        return exchange_on(&shared.fresh_pool(public_only)?, hop, call, asked, shared).await;
    }
    Ok(answered)
}

/// A large body asks first (`Expect: 100-continue`), and is sent without asking where that is refused (417). One whose length is not
/// known yet is sent with its length where the server wants that: 411, or 501 for a Transfer-Encoding (RFC 9112 section 6.1). An answer other
/// than a success that comes before the whole body was sent stops the sending (RFC 9112 section 9.5). Each sending proves anew
/// who asks: a server may have counted one that nobody has answered (RFC 7616 section 3.4).
async fn exchange_on(
    pool: &Pool,
    hop: &Hop,
    call: &Call,
    asked: &Challenged,
    shared: &super::Shared,
) -> Result<Answered, Failure> {
    let by_proxy = shared.routes()?.of(&hop.url).is_some();
    let hosts = &*shared.hosts;
    let exchange = Exchange { peer: peer_of(&hop.url), by_proxy, hop, call, hosts };
    let peer = exchange.peer.as_str();
    let asks_first = hop.body.asks_first() && !call.leaves_out(EXPECT.as_str()) && !hosts.refuses_expect(peer);
    let mut is_unexpected = false;
    let (mut stale, mut answers) = (0, hosts.answers(peer));
    loop {
        let mut head = exchange.head(&shared.dressed(hop, call, asked).await?.headers, shared)?;
        if is_unexpected {
            head.headers_mut().remove(EXPECT);
        } else if asks_first {
            head.headers_mut().insert(EXPECT, HeaderValue::from_static("100-continue"));
        }
        call.trail.iter().for_each(|trail| trail.sends(&hop.url, head.headers()));
        let (expects, is_open) = (head.headers().contains_key(EXPECT), hop.body.length().is_none());
        let may_share = hop.url.scheme() == "https" && shared.settings.http2;
        let turn = if may_share { shared.turns.take(hosts, peer).await } else { None };
        match exchange.once(pool, head, turn).await {
            Try::Answered(response, ..) if response.status() == 417 && expects => {
                is_unexpected = true;
                hosts.has_refused_expect(peer);
            }
            Try::Answered(response, _, sent) if is_open && matches!(response.status().as_u16(), 411 | 501) => {
                drop((response, sent)); // the connection waits for the rest of the body
                hop.body.is_whole().await?;
            }
            Try::Answered(response, line, sent) => {
                let framing = exchange.framing(&response).map_err(|failure| exchange.with_doubt(failure, true))?;
                if !response.status().is_success() && !sent.is_whole() {
                    sent.guard.0.hold();
                }
                return Ok(Answered { response, line, framing, sent });
            }
            Try::Failed(failure) => return Err(failure),
            Try::Unread(_) if hosts.answers(peer) > answers => answers = hosts.answers(peer),
            Try::Stale(failure) | Try::Unread(failure) => {
                stale += 1;
                if stale > MAX_STALE {
                    return Err(failure);
                }
            }
        }
    }
}

/// Whether doing it twice comes to the same by the method alone (RFC 9110 section 9.2.2, and the safe ones of other standards).
/// Of a method that is not known, nobody can say so. The default policy has the same list, and a test among those of `hooks`
/// compares the two: they must not disagree about what may be sent twice.
pub(crate) fn is_idempotent(method: &str) -> bool {
    matches!(
        method,
        "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" | "TRACE" | "PROPFIND" | "QUERY" | "REPORT" | "SEARCH"
    )
}

/// One request and who answers it.
struct Exchange<'a> {
    peer: String,
    /// There is a proxy between.
    by_proxy: bool,
    hop: &'a Hop,
    call: &'a Call,
    hosts: &'a Hosts,
}

/// The value of User-Agent, if it can be one.
pub(super) fn agent(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

impl Exchange<'_> {
    /// The request's head, with these headers of its own.
    fn head(&self, given: &Pairs, shared: &super::Shared) -> Result<Request<()>, Failure> {
        let unusable = |what: String| Failure::new(FailureKind::General, what);
        let method = Method::from_bytes(self.hop.method.as_bytes())
            .ok()
            .filter(|method| method != Method::CONNECT)
            .ok_or_else(|| unusable(format!("`{}` cannot be a method", self.hop.method)))?;
        let uri: Uri = self
            .hop
            .url
            .as_str()
            .parse()
            .map_err(|_| Failure::new(FailureKind::Url, format!("the URL of {} cannot be sent", self.peer)))?;
        let mut headers = HeaderMap::with_capacity(given.len() + 4);
        for (name, value) in given {
            let (Ok(known), Ok(content)) = (
                HeaderName::from_bytes(name.as_bytes()),
                HeaderValue::from_str(value).or_else(|_| HeaderValue::from_bytes(value.as_bytes())),
            ) else {
                return Err(unusable(format!("the header `{name}` cannot be sent")));
            };
            if !OWN.contains(&known.as_str()) {
                headers.append(known, content);
            }
        }
        if let Some(cookies) = shared.cookies(self.hop, self.call) {
            headers.insert(COOKIE, cookies);
        }
        let agent = agent(&shared.settings.user_agent);
        if agent.is_none() && !headers.contains_key(USER_AGENT) && !self.call.leaves_out(USER_AGENT.as_str()) {
            return Err(unusable("the header `User-Agent` cannot be sent".into()));
        }
        let identity = Some(HeaderValue::from_static("identity"));
        for (name, value) in [(ACCEPT_ENCODING, identity), (USER_AGENT, agent)] {
            if let Some(value) = value.filter(|_| !self.call.leaves_out(name.as_str())) {
                headers.entry(name).or_insert(value);
            }
        }
        let sends_body = !matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "DELETE" | "TRACE");
        if sends_body && self.hop.body.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        // The caller's own goes to a proxy that takes the request, and never to a server.
        let is_it = |(name, _): &&(String, String)| name.eq_ignore_ascii_case(PROXY_AUTHORIZATION.as_str());
        let given = given.iter().find(is_it).map(|(_, value)| value.clone());
        let is_plain = self.hop.url.scheme() == "http";
        let proxy = shared.routes()?.of(&self.hop.url).filter(|proxy| is_plain && proxy.takes_requests());
        if given.is_some() && proxy.is_none() {
            let instead = "the login for a proxy that makes the connection stands in its URL";
            tracing::warn!("`Proxy-Authorization` is not sent to {}: {instead}", self.peer);
        }
        if is_plain {
            let authorization = proxy
                .and_then(|proxy| given.or_else(|| proxy.authorization(method.as_str(), self.hop.url.as_str(), None)));
            // A user's name may be UTF-8.
            if let Some(Ok(value)) = authorization.as_deref().map(|value| HeaderValue::from_bytes(value.as_bytes())) {
                headers.insert(PROXY_AUTHORIZATION, value);
            }
        }
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    async fn once(&self, pool: &Pool, head: Request<()>, turn: Option<Turn>) -> Try {
        let limit = [self.call.idle_timeout, self.call.send_timeout].into_iter().flatten().min();
        let (outgoing, guard) = Outgoing::new(self.hop.body.clone(), head.headers().contains_key(EXPECT), limit);
        let mut request = head.map(|()| outgoing);
        let interim = Arc::new(Interim::default());
        let (counter, sending, limit) = (interim.clone(), guard.0.clone(), self.call.interim_timeout);
        hyper::ext::on_informational(&mut request, move |response| {
            if response.status() == 100 {
                sending.go_on();
            }
            counter.add(sending.last(), limit);
        });
        let mut line = Line::new(capture_connection(&mut request), self.call.is_late.clone());
        if !self.is_idempotent() {
            // Lets pooled connections notice that their server has closed them: this request can't be sent twice.
            tokio::task::yield_now().await;
        }
        let outcome = self.wait((pool.request(request), turn), &mut line, &guard.0, &interim).await;
        match outcome {
            Ok(Ok(_)) if interim.is_over() => {
                line.retire();
                Try::Failed(self.with_doubt(self.too_many_interim(), true))
            }
            Ok(Ok(response)) => self.answered(response, line, guard),
            Ok(Err(_)) if let Some(failure) = guard.0.broken() => Try::Failed(failure),
            Ok(Err(error)) => {
                let tried = self.failed(&error, &line);
                if matches!(tried, Try::Stale(_) | Try::Unread(_)) {
                    line.retire();
                }
                tried
            }
            Err(failure) => {
                line.retire();
                Try::Failed(self.with_doubt(failure, line.trace().is_some()))
            }
        }
    }

    fn answered(&self, response: Response<Incoming>, line: Line, guard: Guard) -> Try {
        let trace = response.extensions().get::<Arc<Trace>>().cloned();
        let reused = trace.as_ref().is_some_and(|trace| trace.answered.swap(true, Ordering::Relaxed));
        if response.version() == Version::HTTP_2 {
            self.hosts.has_answered(&self.peer);
        } else if let Some(trace) = &trace {
            trace.set_sip(self.call.sip.clone());
        }
        let is_deaf = trace.as_ref().is_some_and(|trace| trace.deaf.load(Ordering::Relaxed));
        let headers = response.headers();
        // Somebody on the way may have read it otherwise (RFC 9112 section 6.3).
        let is_ambiguous = headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH);
        if is_deaf || is_ambiguous {
            line.retire();
        }
        Try::Answered(response, line, Sent { guard, trace, reused })
    }

    /// Waits within the limits: first for a connection, where the turn to connect ends, then for the head. The inner result is the
    /// pool's.
    async fn wait(
        &self,
        (response, turn): (ResponseFuture, Option<Turn>),
        line: &mut Line,
        sending: &Sending,
        interim: &Interim,
    ) -> Result<Result<Response<Incoming>, ClientError>, Failure> {
        tokio::pin!(response);
        tokio::select! {
            biased;
            outcome = &mut response => {
                line.look();
                return Ok(outcome);
            }
            () = line.chosen() => {}
            () = after(sending.start(), self.call.connect_timeout) => {
                let span = words::span(self.call.connect_timeout.unwrap_or_default());
                let way = if self.by_proxy { " by the proxy" } else { "" };
                let text = format!("no connection to {}{way} within {span} (connect limit)", self.peer);
                return Err(words::timeout(text));
            }
        }
        line.look();
        drop(turn);
        self.hop.body.connected();
        if line.is_http2() {
            // hyper tells nobody of interim answers over HTTP/2. To wait for one would save nothing: a server that does not want the
            // body can stop it at any time, and the connection stays.
            sending.go_on();
        }
        let connected = crate::clock::timer_now();
        let mut uptake = Uptake::new(line.trace().filter(|_| !self.hop.body.is_empty()), connected);
        loop {
            let sends = !sending.is_over();
            let limit = if sends { self.call.idle_timeout } else { self.call.head_timeout };
            tokio::select! {
                biased;
                outcome = &mut response => return Ok(outcome),
                () = interim.too_many.notified() => return Err(self.too_many_interim()),
                _ = sending.end(), if sends => {} // from now on another limit counts
                () = after(connected, self.call.send_timeout), if sends => {
                    let span = words::span(self.call.send_timeout.unwrap_or_default());
                    return Err(words::timeout(format!("the request took longer than {span} to send (send limit)")));
                }
                is_over = uptake.is_over(limit, || sending.last()) => {
                    if !is_over {
                        continue; // more of the body has gone out, or arrived
                    }
                    let span = words::span(limit.unwrap_or_default());
                    return Err(words::timeout(match sends {
                        true => format!("{} took no more of the request for {span} (idle limit)", self.peer),
                        false => format!("no answer from {} within {span} (response limit)", self.peer),
                    }));
                }
            }
        }
    }

    fn too_many_interim(&self) -> Failure {
        let span = words::span(self.call.interim_timeout);
        words::protocol(format!(
            "{} sent more than {MAX_INTERIM} interim answers, or for longer than {span}",
            self.peer
        ))
    }

    /// What an error of the pool means.
    fn failed(&self, error: &ClientError, line: &Line) -> Try {
        if let Some(ConnectFailure(failure)) = words::find::<ConnectFailure>(error) {
            return Try::Failed(failure.clone());
        }
        if let Some(failure) = line.alert().and_then(|alert| tls::refusal(alert, &self.peer)) {
            return Try::Failed(failure);
        }
        let of_http2 = words::find::<h2::Error>(error);
        if let Some(told) = of_http2.and_then(|error| self.told_by_http2(error, line)) {
            return told;
        }
        let hyper = words::find::<hyper::Error>(error);
        if hyper.is_some_and(hyper::Error::is_parse_too_large) {
            // hyper says the same of a Content-Length beyond 64 bits.
            let text =
                format!("{} sent too many or too long headers, or a Content-Length beyond all measure", self.peer);
            return Try::Failed(self.with_doubt(words::protocol(text), true));
        }
        if hyper.is_some_and(hyper::Error::is_parse) {
            let text = format!(
                "{} answered something that is not proper HTTP ({})",
                self.peer,
                words::innermost(error as &dyn StdError)
            );
            return Try::Failed(self.with_doubt(words::protocol(text), true));
        }
        let text = self.closed_before_answering(error, hyper, line);
        let failure = Failure::new(FailureKind::Connection, text).with(FailureDetail::NoResponse);
        let is_unsent = line.trace().is_none() || hyper.is_some_and(|error| is_unsent(error, line));
        let failure = self.with_doubt(failure, !is_unsent);
        // Over HTTP/2 what was read belongs to others; a reason is the server's word about this request.
        let is_unheard = match line.is_http2() {
            true => of_http2.is_none_or(|error| error.reason().is_none()),
            false => !line.has_read(),
        };
        // A connection that others made over HTTP/2 may have closed before this request was on it.
        if is_unsent && (line.is_http2() || error.is_connect()) {
            return Try::Unread(failure);
        }
        let is_stale = line.was_pooled() && is_unheard && (self.is_idempotent() || is_unsent);
        if is_stale { Try::Stale(failure) } else { Try::Failed(failure) }
    }

    fn closed_before_answering(&self, error: &ClientError, hyper: Option<&hyper::Error>, line: &Line) -> String {
        let reset = words::find::<h2::Error>(error).filter(|error| error.is_reset() && error.is_remote());
        if let Some(reason) = reset.and_then(h2::Error::reason) {
            return format!("{} reset the stream before answering: {reason}", self.peer); // the connection lives
        }
        let reason = match hyper {
            Some(ended) if ended.is_incomplete_message() => String::new(),
            Some(ended) if ended.is_timeout() => {
                return format!("{} has fallen silent: a PING was not answered", self.peer);
            }
            _ => format!(": {}", words::innermost(error as &dyn StdError)),
        };
        let is_strange = self.hop.url.scheme() == "http" && self.hop.url.port().is_some();
        let hint = match is_strange && !line.was_pooled() && !line.has_read() {
            true => " (perhaps it speaks TLS: then the URL begins with `https:`)",
            false => "",
        };
        format!("{} closed the connection before answering{reason}{hint}", self.peer)
    }

    /// What HTTP/2 alone can tell: that the server has not looked at the request, that it wants it over HTTP/1.1, or that its
    /// answer is none.
    fn told_by_http2(&self, error: &h2::Error, line: &Line) -> Option<Try> {
        let unread = |why: &str| {
            let text = format!("{} refused the request unread{why}", self.peer);
            Failure::new(FailureKind::Connection, text).with(FailureDetail::NoResponse)
        };
        let reason = error.reason()?;
        if error.is_library() && reason != h2::Reason::NO_ERROR {
            return self.broken_by_the_server(error, reason, line);
        }
        // A GOAWAY ends only requests above the last one that it names: those the server promises not to have looked at, like
        // those that it refuses (RFC 9113 sections 6.8 and 8.7).
        let is_left = error.is_go_away() && error.is_remote();
        match reason {
            h2::Reason::HTTP_1_1_REQUIRED if error.is_remote() => {
                self.hosts.has_wanted_http1(&self.peer);
                Some(Try::Unread(unread(" over HTTP/1.1 as well, which it requires")))
            }
            h2::Reason::REFUSED_STREAM => Some(Try::Unread(unread(", again and again"))),
            h2::Reason::NO_ERROR if is_left => Some(Try::Unread(unread(", again and again"))),
            // It wants fewer requests, not the same ones at once.
            h2::Reason::ENHANCE_YOUR_CALM if is_left => Some(Try::Failed(unread(&format!(": {reason}")))),
            reason if is_left => Some(Try::Unread(unread(&format!(", again and again: {reason}")))),
            _ => None,
        }
    }

    /// h2's own judgement of what the server has sent. What is wrong with a stream is this answer's fault; what is wrong with the
    /// connection may be another one's, and then this request may be tried again.
    fn broken_by_the_server(&self, error: &h2::Error, reason: h2::Reason, line: &Line) -> Option<Try> {
        if words::is_of_tiny_frames(error) {
            self.hosts.has_wanted_http1(&self.peer);
            let text = format!("{} answers by frames that are too small for HTTP/2", self.peer);
            let failure = Failure::new(FailureKind::Connection, text).with(FailureDetail::NoResponse);
            let failure = self.with_doubt(failure, true);
            return Some(if self.is_idempotent() { Try::Stale(failure) } else { Try::Failed(failure) });
        }
        let is_ours = error.is_reset() || line.is_ours_alone();
        let text = format!("{} answered something that is not proper HTTP/2 ({reason})", self.peer);
        Some(Try::Failed(match is_ours {
            true => self.with_doubt(words::protocol(text), true),
            false => {
                let failure = Failure::new(FailureKind::Connection, text).with(FailureDetail::NoResponse);
                self.with_doubt(failure, true)
            }
        }))
    }

    fn is_idempotent(&self) -> bool {
        is_idempotent(&self.hop.method)
    }

    /// The failure, marked when the request may have taken effect nevertheless.
    fn with_doubt(&self, mut failure: Failure, may_be_sent: bool) -> Failure {
        failure.outcome_unknown = !self.is_idempotent() && may_be_sent;
        failure
    }

    /// Checks what hyper lets pass (reliability.md finding 4), and tells how the body ends.
    fn framing(&self, response: &Response<Incoming>) -> Result<Framing, Failure> {
        let bad = |what: &str| Err(words::protocol(format!("{} {what}", self.peer)));
        let (status, headers) = (response.status().as_u16(), response.headers());
        if !(200..600).contains(&status) {
            return bad(&format!("answered the status {status}, which nobody asked for"));
        }
        let size: usize = headers.iter().map(|(n, v)| n.as_str().len() + v.len()).sum();
        if headers.len() > MAX_HEADERS || size > MAX_HEAD {
            return bad("sent too many or too long headers");
        }
        let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
        let is_chunked = match (encodings.next(), encodings.next()) {
            (None, _) => false,
            (Some(only), None) if only.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => true,
            _ => return bad("sent a Transfer-Encoding other than `chunked`"),
        };
        if self.hop.method == "HEAD" || matches!(status, 204 | 304) {
            return Ok(Framing::Empty);
        }
        let body = response.body();
        Ok(match body.size_hint().exact() {
            _ if is_chunked => Framing::Marked,
            Some(length) if headers.contains_key(CONTENT_LENGTH) => Framing::Length(length),
            _ if response.version() == Version::HTTP_2 => Framing::Marked,
            _ => Framing::UntilClose,
        })
    }
}

/// The errors of hyper that give a request back unsent: for want of a connection, and, over HTTP/2, for want of a stream.
fn is_unsent(error: &hyper::Error, line: &Line) -> bool {
    error.is_canceled() || (line.is_http2() && error.is_user() && error.to_string().contains("dispatch task is gone"))
}

async fn after(start: Instant, limit: Option<Duration>) {
    match limit.and_then(|limit| start.checked_add(limit)) {
        Some(end) => clock::sleep_until(end).await,
        None => std::future::pending().await,
    }
}
