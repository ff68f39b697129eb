//! A scripted HTTP/1.1 origin on a real loopback socket.
//!
//! Each path has a script: the n-th request gets the n-th answer, later ones the last. It remembers every request, and
//! instead of sleeping it waits at gates that the test opens. It speaks HTTP by hand, so that it can cut, stall and lie; it
//! deliberately knows nothing of haul.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::answer::Answer;
use super::tls::{Identity, Wire};
use super::wait::wait_until;

/// A running origin; it stops when dropped.
pub struct Origin {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
}

/// One path of an origin.
pub struct Resource {
    url: String,
    path: String,
    shared: Arc<Shared>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// When its head was complete.
    pub at: Instant,
}

impl Seen {
    /// Value of the first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// First byte asked for by `Range: bytes=N-`.
    pub fn range_start(&self) -> Option<u64> {
        let (first, _) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        first.parse().ok()
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// `GET /f  range: bytes=5-  if-range: "v1"`.
    fn line(&self) -> String {
        let mut line = format!("{} {}", self.method, self.target);
        for name in ["range", "if-range"] {
            if let Some(value) = self.header(name) {
                line.push_str(&format!("  {name}: {value}"));
            }
        }
        line
    }
}

#[derive(Default)]
struct Shared {
    scripts: Mutex<HashMap<String, (usize, Vec<Answer>)>>,
    log: Mutex<Vec<Seen>>,
    busy: AtomicUsize,
    busiest: AtomicUsize,
    connections: AtomicUsize,
    ended: AtomicUsize,
    stopping: AtomicBool,
}

impl Origin {
    /// Starts an origin for `http:`.
    pub fn start() -> Self {
        Self::listen("http", None)
    }

    /// Starts an origin for `https:` that presents this certificate.
    pub fn start_tls(identity: &Identity) -> Self {
        Self::listen("https", Some(identity.clone()))
    }

    fn listen(scheme: &'static str, identity: Option<Identity>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if for_thread.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(connection) = connection else { continue };
                let (shared, identity) = (Arc::clone(&for_thread), identity.clone());
                std::thread::spawn(move || {
                    shared.converse(connection, identity.as_ref());
                    shared.ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, scheme, shared }
    }

    /// The same answer to every request of a path.
    pub fn serve(&self, path: &str, answer: Answer) -> Resource {
        self.script(path, vec![answer])
    }

    /// Answers in order; the last one stays. Replaces what the path had.
    pub fn script(&self, path: &str, answers: Vec<Answer>) -> Resource {
        let mut scripts = self.shared.scripts.lock().unwrap();
        scripts.insert(path.to_owned(), (0, answers));
        Resource { url: self.url(path), path: path.to_owned(), shared: Arc::clone(&self.shared) }
    }

    /// Absolute URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.authority())
    }

    /// `127.0.0.1:PORT`.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.log.lock().unwrap().clone()
    }

    /// Every request so far, a line each.
    pub fn log(&self) -> Vec<String> {
        self.requests().iter().map(Seen::line).collect()
    }

    /// The largest number of requests that were being answered at the same time.
    pub fn busiest(&self) -> usize {
        self.shared.busiest.load(Ordering::SeqCst)
    }

    /// Blocks until every connection has ended.
    pub fn wait_for_no_connection(&self) {
        let ended = || self.shared.ended.load(Ordering::SeqCst);
        wait_until(|| ended() >= self.connections(), || "a connection stays open".into());
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address)); // wakes the listener
    }
}

impl Resource {
    /// Its absolute URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Requests for this path so far.
    pub fn requests(&self) -> Vec<Seen> {
        let log = self.shared.log.lock().unwrap();
        log.iter().filter(|seen| seen.path() == self.path).cloned().collect()
    }

    /// Waits until so many requests for this path have come.
    pub fn wait_for_requests(&self, count: usize) {
        wait_until(|| self.requests().len() >= count, || format!("not {count} requests: {:?}", self.log()));
    }

    /// Requests for this path so far, a line each: method, target, Range and If-Range.
    pub fn log(&self) -> Vec<String> {
        self.requests().iter().map(Seen::line).collect()
    }

    /// Changes the answers; counting starts again.
    pub fn now(&self, answers: Vec<Answer>) {
        self.shared.scripts.lock().unwrap().insert(self.path.clone(), (0, answers));
    }
}

impl Shared {
    /// Serves one connection until either side ends it.
    fn converse(&self, connection: TcpStream, identity: Option<&Identity>) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        connection.set_nodelay(true).ok();
        let Ok(raw) = connection.try_clone() else {
            return;
        };
        let mut wire = BufReader::new(Wire::new(connection, identity));
        while let Some(mut request) = read_head(&mut wire) {
            let answer = self.next_answer(&request);
            let whole = self.read_body(&mut wire, &mut request, &answer, &raw);
            if whole.is_none() {
                return;
            }
            let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
            self.busiest.fetch_max(busy, Ordering::SeqCst);
            self.log.lock().unwrap().push(request.clone());
            let keep = answer.send(&request, wire.get_mut(), &raw, &self.stopping);
            self.busy.fetch_sub(1, Ordering::SeqCst);
            if !keep || answer.early.is_some() || self.stopping.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Reads the body of a request, as far as the answer wants it; `None` when it does not come.
    fn read_body(
        &self,
        wire: &mut BufReader<Wire>,
        request: &mut Seen,
        answer: &Answer,
        raw: &TcpStream,
    ) -> Option<()> {
        if request.header("expect").is_some() && answer.early != Some(0) && !answer.deaf_to_expect {
            wire.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
        }
        if let Some(length) = request.header("content-length") {
            let length: usize = length.parse().ok()?;
            let wanted = answer.early.unwrap_or(length).min(length);
            request.body = vec![0; wanted];
            let (before, after) = match &answer.body_gate {
                Some((at, gate)) => {
                    let (before, after) = request.body.split_at_mut(*at);
                    wire.read_exact(before).ok()?;
                    (gate.pass(raw, &self.stopping), after)
                }
                None => (true, request.body.as_mut_slice()),
            };
            wire.read_exact(after).ok().filter(|()| before)?;
        } else if request.header("transfer-encoding").is_some() {
            let wanted = answer.early.unwrap_or(usize::MAX);
            let gate = answer.body_gate.as_ref().filter(|(at, _)| *at < wanted);
            let first = gate.map_or(wanted, |(at, _)| *at);
            let is_over = read_chunks(wire, &mut request.body, first)?;
            if let Some((_, gate)) = gate.filter(|_| !is_over) {
                gate.pass(raw, &self.stopping).then_some(())?;
                read_chunks(wire, &mut request.body, wanted)?;
            }
        }
        Some(())
    }

    fn next_answer(&self, request: &Seen) -> Answer {
        let mut scripts = self.scripts.lock().unwrap();
        match scripts.get_mut(request.path()) {
            None => super::answer::status(404),
            Some((next, answers)) => {
                let index = (*next).min(answers.len() - 1);
                *next += 1;
                let answer = answers[index].clone();
                answer.unless.as_ref().and_then(|judge| judge(request)).unwrap_or(answer)
            }
        }
    }
}

/// Reads a head; `None` at the end of the connection.
pub(super) fn read_head(wire: &mut impl BufRead) -> Option<Seen> {
    let first = read_line(wire)?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = read_line(wire)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Some(Seen { method, target, headers, body: Vec::new(), at: Instant::now() })
}

/// Reads chunks until there are so many bytes; whether the last one was among them.
fn read_chunks(wire: &mut BufReader<Wire>, body: &mut Vec<u8>, wanted: usize) -> Option<bool> {
    while body.len() < wanted {
        let length = usize::from_str_radix(&read_line(wire)?, 16).ok()?;
        let mut chunk = vec![0; length];
        wire.read_exact(&mut chunk).ok()?;
        read_line(wire)?;
        if length == 0 {
            return Some(true);
        }
        body.extend(chunk);
    }
    Some(false)
}

fn read_line(wire: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    wire.read_until(b'\n', &mut line).ok()?;
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Some(String::from_utf8_lossy(line).into_owned())
}
