//! What an origin answers: files with validators and ranges, statuses, redirects, and every way of doing it wrong.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::net::{RecvFlags, recv, sockopt};

use super::origin::Seen;
use super::tls::Wire;
use super::wait::PATIENCE;

/// One answer. Built by [`file`], [`status`], [`redirect`], [`raw`] or [`silence`] and changed by the methods.
#[derive(Clone)]
pub struct Answer {
    /// `None`: 200, 206 or 416, as the request asks.
    status: Option<u16>,
    headers: Vec<(String, String)>,
    content: Arc<Vec<u8>>,
    etag: Option<String>,
    last_modified: Option<String>,
    ranges: Ranges,
    framing: Framing,
    end: End,
    gate: Option<(usize, Gate)>,
    head_gate: Option<Gate>,
    bytes_per_second: Option<usize>,
    /// Instead of the true Content-Range of a 206; empty: none at all.
    content_range: Option<String>,
    /// How much of the request's body is read before the answer; `None`: all of it. The connection is not used again.
    pub(super) early: Option<usize>,
    /// Where the reading of the request's body waits, after so many bytes.
    pub(super) body_gate: Option<(usize, Gate)>,
    /// Nothing is said to `Expect: 100-continue`.
    pub(super) deaf_to_expect: bool,
    /// Written as they are, then the connection is closed.
    raw: Option<Vec<u8>>,
    /// Looks at the request, and may have another answer sent.
    pub(super) unless: Option<Judge>,
}

/// What an answer makes of its request: `None`, or another answer.
pub(super) type Judge = Arc<dyn Fn(&Seen) -> Option<Answer> + Send + Sync>;

/// How a file answers a Range.
#[derive(Clone, Copy, PartialEq)]
enum Ranges {
    /// By the book: If-Range decides.
    Conditional,
    /// If-Range is ignored, as some servers do.
    Blind,
    /// With a part that begins so many bytes later than asked.
    Shifted(usize),
    /// With at most so many bytes.
    Short(usize),
    /// With the whole file.
    Ignored,
}

#[derive(Clone, Copy, PartialEq)]
enum Framing {
    Length,
    Chunked,
    UntilClose,
}

/// How the connection ends, counted in bytes of this answer's body.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Whole,
    Cut(usize),
    Reset(usize),
}

/// A file with ranges and no validator.
pub fn file(content: &[u8]) -> Answer {
    Answer {
        status: None,
        headers: Vec::new(),
        content: Arc::new(content.to_vec()),
        etag: None,
        last_modified: None,
        ranges: Ranges::Conditional,
        framing: Framing::Length,
        end: End::Whole,
        gate: None,
        head_gate: None,
        bytes_per_second: None,
        content_range: None,
        early: None,
        body_gate: None,
        deaf_to_expect: false,
        raw: None,
        unless: None,
    }
}

/// A status with a short text as body; a 204 has none, or the next answer on its connection would begin with it.
pub fn status(code: u16) -> Answer {
    let text = if code == 204 { String::new() } else { format!("this is a {code}") };
    let mut answer = file(text.as_bytes());
    answer.status = Some(code);
    answer.header("Content-Type", "text/plain; charset=utf-8")
}

/// A redirect with a body that nobody should keep.
pub fn redirect(code: u16, location: &str) -> Answer {
    status(code).header("Location", location)
}

/// These bytes, then the end of the connection.
pub fn raw(bytes: impl AsRef<[u8]>) -> Answer {
    let mut answer = file(b"");
    answer.raw = Some(bytes.as_ref().to_vec());
    answer
}

/// Reads the request and closes the connection without a word.
pub fn silence() -> Answer {
    raw("")
}

impl Answer {
    /// The ETag as it stands in the header, quotes and all.
    pub fn etag(mut self, etag: &str) -> Self {
        self.etag = Some(etag.to_owned());
        self
    }

    /// Last-Modified; give a `Date` by [`Answer::header`].
    pub fn last_modified(mut self, date: &str) -> Self {
        self.last_modified = Some(date.to_owned());
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A Content-Disposition; bytes of Latin-1 can't be given, UTF-8 can.
    pub fn disposition(self, value: &str) -> Self {
        self.header("Content-Disposition", value)
    }

    /// Another body (of a status).
    pub fn body(mut self, body: &[u8]) -> Self {
        self.content = Arc::new(body.to_vec());
        self
    }

    /// Answers a Range with 206 whatever If-Range says.
    pub fn ignoring_if_range(mut self) -> Self {
        self.ranges = Ranges::Blind;
        self
    }

    /// Always answers with the whole file.
    pub fn without_ranges(mut self) -> Self {
        self.ranges = Ranges::Ignored;
        self
    }

    /// Sends 206 with a part that begins so many bytes after what was asked, honest about it.
    pub fn shifted(mut self, bytes: usize) -> Self {
        self.ranges = Ranges::Shifted(bytes);
        self
    }

    /// Sends 206 with at most so many bytes of what was asked, honest about it.
    pub fn short(mut self, bytes: usize) -> Self {
        self.ranges = Ranges::Short(bytes);
        self
    }

    /// Another Content-Range in a 206; empty: none.
    pub fn content_range(mut self, value: &str) -> Self {
        self.content_range = Some(value.to_owned());
        self
    }

    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// No length: the end of the connection ends the body.
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self
    }

    /// The connection ends (FIN) after so many bytes of the body.
    pub fn cut(mut self, after: usize) -> Self {
        self.end = End::Cut(after);
        self
    }

    /// The connection is reset (RST) after so many bytes of the body.
    pub fn reset(mut self, after: usize) -> Self {
        self.end = End::Reset(after);
        self
    }

    /// The body waits at the gate after so many bytes.
    pub fn gate(mut self, after: usize, gate: &Gate) -> Self {
        self.gate = Some((after, gate.clone()));
        self
    }

    /// Answers when so many bytes of the request's body have been read, and closes the connection after the answer.
    pub fn early(mut self, after: usize) -> Self {
        self.early = Some(after);
        self
    }

    /// The request's body is read up to so many bytes, and the rest when the gate opens.
    pub fn body_gate(mut self, after: usize, gate: &Gate) -> Self {
        self.body_gate = Some((after, gate.clone()));
        self
    }

    /// Does not answer `Expect: 100-continue` before the body has come.
    pub fn deaf_to_expect(mut self) -> Self {
        self.deaf_to_expect = true;
        self
    }

    /// The head waits at the gate.
    pub fn head_gate(mut self, gate: &Gate) -> Self {
        self.head_gate = Some(gate.clone());
        self
    }

    /// Another answer where the request deserves it.
    pub fn unless(mut self, judge: impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static) -> Self {
        self.unless = Some(Arc::new(judge));
        self
    }

    /// So many bytes a second.
    pub fn pace(mut self, bytes_per_second: usize) -> Self {
        self.bytes_per_second = Some(bytes_per_second);
        self
    }

    /// Answers; says whether the connection can be used again.
    pub(super) fn send(&self, request: &Seen, wire: &mut Wire, tcp: &TcpStream, stopping: &AtomicBool) -> bool {
        if let Some(gate) = &self.head_gate
            && !gate.pass(tcp, stopping)
        {
            return false;
        }
        if let Some(bytes) = &self.raw {
            wire.write_all(bytes).ok();
            wire.finish();
            return false;
        }
        let part = self.part(request);
        if wire.write_all(self.head(&part).as_bytes()).is_err() {
            return false;
        }
        if request.method == "HEAD" {
            return true;
        }
        let body = self.content.get(part.from..part.to).unwrap_or_default();
        let whole = self.send_body(body, wire, tcp, stopping).is_some();
        wire.flush().ok();
        if let (End::Reset(_), false) = (self.end, whole) {
            sockopt::set_socket_linger(tcp, Some(Duration::ZERO)).ok();
        }
        if whole && self.framing == Framing::UntilClose {
            wire.finish();
        }
        whole && self.framing != Framing::UntilClose
    }

    /// Which bytes are answered, with which status.
    fn part(&self, request: &Seen) -> Part {
        let total = self.content.len();
        let whole = Part { status: self.status.unwrap_or(200), from: 0, to: total };
        let (None, Some((first, last))) = (self.status, asked_range(request, total)) else {
            return whole;
        };
        let condition = request.header("if-range");
        let holds = condition.is_none_or(|given| {
            let etag = self.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
            Some(given) == etag || Some(given) == self.last_modified.as_deref()
        });
        let (from, longest) = match self.ranges {
            Ranges::Ignored => return whole,
            Ranges::Conditional if !holds => return whole,
            Ranges::Conditional | Ranges::Blind => (first, total),
            Ranges::Shifted(bytes) => (first + bytes, total),
            Ranges::Short(bytes) => (first, bytes),
        };
        let to = last.map_or(total, |last| (last + 1).min(total)).min(from + longest);
        match from < to {
            true => Part { status: 206, from, to },
            false => Part { status: 416, from: 0, to: 0 },
        }
    }

    fn head(&self, part: &Part) -> String {
        let reason = if part.status < 400 { "Fine" } else { "Not So Fine" };
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", part.status);
        let mut add = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
        match self.framing {
            Framing::Length => add("Content-Length", &(part.to - part.from).to_string()),
            Framing::Chunked => add("Transfer-Encoding", "chunked"),
            Framing::UntilClose => add("Connection", "close"),
        }
        if self.status.is_none() && self.ranges != Ranges::Ignored {
            add("Accept-Ranges", "bytes");
        }
        if let Some(etag) = &self.etag {
            add("ETag", etag);
        }
        if let Some(date) = &self.last_modified {
            add("Last-Modified", date);
        }
        if !self.headers.iter().any(|(name, _)| name == "Content-Type") {
            add("Content-Type", "application/octet-stream");
        }
        for (name, value) in &self.headers {
            add(name, value);
        }
        let range = match part.status {
            206 => format!("bytes {}-{}/{}", part.from, part.to - 1, self.content.len()),
            416 => format!("bytes */{}", self.content.len()),
            _ => String::new(),
        };
        let range = match (&self.content_range, range.is_empty()) {
            (Some(other), false) => other.clone(),
            _ => range,
        };
        if !range.is_empty() {
            add("Content-Range", &range);
        }
        head + "\r\n"
    }

    /// `None` when the body was not sent to its end.
    fn send_body(&self, body: &[u8], wire: &mut Wire, tcp: &TcpStream, stopping: &AtomicBool) -> Option<()> {
        let limit = match self.end {
            End::Whole => usize::MAX,
            End::Cut(after) | End::Reset(after) => after,
        };
        let step = self.bytes_per_second.map_or(64 << 10, |rate| (rate / 50).max(1));
        let mut sent = 0;
        loop {
            let mut stop = body.len().min(limit);
            if let Some((after, gate)) = &self.gate {
                if sent == *after && !gate.pass(tcp, stopping) {
                    return None;
                }
                if sent < *after {
                    stop = stop.min(*after);
                }
            }
            if sent == limit || stopping.load(Ordering::SeqCst) {
                return None;
            }
            if sent == body.len() {
                break;
            }
            let upto = stop.min(sent + step);
            self.send_piece(&body[sent..upto], wire)?;
            sent = upto;
            if self.bytes_per_second.is_some() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        if self.framing == Framing::Chunked {
            wire.write_all(b"0\r\n\r\n").ok()?;
        }
        Some(())
    }

    fn send_piece(&self, piece: &[u8], wire: &mut Wire) -> Option<()> {
        if self.framing == Framing::Chunked {
            write!(wire, "{:x}\r\n", piece.len()).ok()?;
        }
        wire.write_all(piece).ok()?;
        if self.framing == Framing::Chunked {
            wire.write_all(b"\r\n").ok()?;
        }
        Some(())
    }
}

struct Part {
    status: u16,
    from: usize,
    to: usize,
}

/// First and last byte of `Range: bytes=a-b` or `bytes=a-`.
fn asked_range(request: &Seen, total: usize) -> Option<(usize, Option<usize>)> {
    let (first, last) = request.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    match first {
        "" => Some((total.saturating_sub(last.parse().ok()?), None)),
        first => Some((first.parse().ok()?, last.parse().ok())),
    }
}

/// Where answers wait until the test lets them go on. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<AtGate>, Condvar)>);

#[derive(Debug, Default)]
struct AtGate {
    open: bool,
    arrived: usize,
    abandoned: usize,
}

impl Gate {
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody pass from now on.
    pub fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }

    /// Blocks until so many answers have come to the gate.
    pub fn wait_for(&self, arrivals: usize) {
        self.wait_until("answers did not come to the gate", |state| state.arrived >= arrivals);
    }

    /// Blocks until so many clients have gone away while their answer stood at the gate.
    pub fn wait_abandoned(&self, clients: usize) {
        self.wait_until("clients did not hang up", |state| state.abandoned >= clients);
    }

    fn wait_until(&self, complaint: &str, enough: impl Fn(&AtGate) -> bool) {
        let state = self.0.0.lock().unwrap();
        let (state, timeout) = self.0.1.wait_timeout_while(state, PATIENCE, |state| !enough(state)).unwrap();
        assert!(!timeout.timed_out(), "{complaint}: {state:?}");
    }

    /// Waits; false when the client has gone or the origin stops.
    pub(super) fn pass(&self, tcp: &TcpStream, stopping: &AtomicBool) -> bool {
        let mut state = self.0.0.lock().unwrap();
        state.arrived += 1;
        self.0.1.notify_all();
        while !state.open {
            if stopping.load(Ordering::SeqCst) {
                return false;
            }
            if has_gone(tcp) {
                state.abandoned += 1;
                self.0.1.notify_all();
                return false;
            }
            // The only clock here: how often a waiting answer looks whether its client is still there.
            state = self.0.1.wait_timeout(state, Duration::from_millis(5)).unwrap().0;
        }
        true
    }
}

/// Whether the other side has closed or reset the connection.
fn has_gone(tcp: &TcpStream) -> bool {
    let mut byte = [0_u8; 1];
    match recv(tcp, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, length)) => length == 0,
        Err(error) => error != rustix::io::Errno::AGAIN,
    }
}
