//! A strict server of resumable uploads, tus 1.0.0 or Resumable Uploads for HTTP (interop versions 8 and 3), on a real socket.
//!
//! It keeps what it was sent, byte by byte, and writes down every breach of the protocol: a test looks at both. Faults are
//! given beforehand and used up one by one, each by the first request it is about. It knows nothing of haul.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::answer::Gate;
use super::origin::{Seen, read_head};

/// What the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    Tus,
    Ietf,
    /// Interop version 3, which says what is not complete.
    Ietf3,
}

impl Speech {
    /// How haul's tasks call it.
    pub fn name(self) -> &'static str {
        match self {
            Speech::Tus => "tus",
            Speech::Ietf => "ietf",
            Speech::Ietf3 => "ietf-3",
        }
    }

    /// The header about the end of the file; what it says of the whole, and of less.
    fn end(self) -> (&'static str, &'static str, &'static str) {
        if self == Speech::Ietf3 { ("upload-incomplete", "?0", "?1") } else { ("upload-complete", "?1", "?0") }
    }
}

/// What goes wrong.
#[derive(Clone)]
pub enum Fault {
    /// The next PATCH: so many bytes are kept, then the connection closes without a word.
    Cut(usize),
    /// The same, but the connection closes when the gate opens.
    Wait(usize, Gate),
    /// The next PATCH: so many bytes are kept and acknowledged.
    Partly(usize),
    /// The next request of this method gets this status and header, and has no effect.
    Status(&'static str, u16, &'static str),
    /// The next HEAD says that there are so many bytes.
    Claim(u64),
    /// The next POST gets an upload that is there already, as from a server that knows files by their names.
    Again(u32),
    /// The next request about an upload finds it gone.
    Forget(u16),
}

/// An upload as the server has it.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    pub length: u64,
    pub bytes: Vec<u8>,
    /// tus' metadata, decoded.
    pub metadata: BTreeMap<String, String>,
    pub complete: bool,
}

/// A running server; it stops when dropped.
pub struct UploadServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    speech: Speech,
    state: Mutex<State>,
    stopping: AtomicBool,
}

#[derive(Default)]
struct State {
    uploads: BTreeMap<u32, Kept>,
    begun: u32,
    faults: VecDeque<Fault>,
    log: Vec<String>,
    requests: Vec<Seen>,
    breaches: Vec<String>,
    append_at_most: Option<usize>,
    /// tus' extension for deleting.
    terminates: bool,
}

impl UploadServer {
    pub fn start(speech: Speech) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { speech, state: Mutex::default(), stopping: AtomicBool::new(false) });
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if for_thread.stopping.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(connection) = connection else { continue };
                let shared = Arc::clone(&for_thread);
                std::thread::spawn(move || shared.converse(&connection));
            }
        });
        Self { address, shared }
    }

    pub fn speaks(&self) -> Speech {
        self.shared.speech
    }

    /// Where uploads begin.
    pub fn url(&self) -> String {
        format!("http://{}/files/", self.address)
    }

    /// Goes wrong in these ways from now on.
    pub fn faults(&self, faults: &[Fault]) {
        self.shared.state.lock().unwrap().faults = faults.iter().cloned().collect();
    }

    /// Says that one request may bring at most so many bytes.
    pub fn append_at_most(&self, bytes: usize) {
        self.shared.state.lock().unwrap().append_at_most = Some(bytes);
    }

    /// Says that uploads may be deleted.
    pub fn terminates(&self) {
        self.shared.state.lock().unwrap().terminates = true;
    }

    /// Whether it has the upload of that number.
    pub fn has(&self, number: u32) -> bool {
        self.shared.state.lock().unwrap().uploads.contains_key(&number)
    }

    /// Begins an upload by itself; answers its URL.
    pub fn prepare(&self, length: u64) -> String {
        let number = self.shared.state.lock().unwrap().begin(Kept { length, ..Kept::default() });
        format!("{}{number}", self.url())
    }

    /// Requests since the last time this was asked, a line each: `POST`, `HEAD 1`, `PATCH 1 @5 +10`.
    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state.lock().unwrap().log)
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.state.lock().unwrap().requests.clone()
    }

    /// The upload of that number, the first being 1. Fails the test when the protocol was broken.
    #[track_caller]
    pub fn upload(&self, number: u32) -> Kept {
        let state = self.shared.state.lock().unwrap();
        assert!(state.breaches.is_empty(), "{:#?}", state.breaches);
        state.uploads.get(&number).cloned().unwrap_or_else(|| panic!("no upload {number}: {:?}", state.log))
    }
}

impl Drop for UploadServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address)); // wakes the listener
    }
}

impl State {
    fn begin(&mut self, upload: Kept) -> u32 {
        self.begun += 1;
        self.uploads.insert(self.begun, upload);
        self.begun
    }

    /// Takes the next fault if it is about such a request.
    fn fault(&mut self, method: &str) -> Option<Fault> {
        let fits = match self.faults.front()? {
            Fault::Cut(_) | Fault::Wait(..) | Fault::Partly(_) => method == "PATCH",
            Fault::Status(wanted, ..) => method == *wanted,
            Fault::Claim(_) => method == "HEAD",
            Fault::Again(_) => method == "POST",
            Fault::Forget(_) => method != "POST",
        };
        if fits { self.faults.pop_front() } else { None }
    }

    fn expect(&mut self, holds: bool, request: &Seen, what: &str) {
        if !holds {
            self.breaches.push(format!("{} {}: {what}: {:?}", request.method, request.target, request.headers));
        }
    }
}

type Reply = (u16, Vec<(String, String)>);

impl Shared {
    fn converse(&self, connection: &TcpStream) {
        let mut wire = BufReader::new(connection);
        while let Some(request) = read_head(&mut wire) {
            self.state.lock().unwrap().requests.push(request.clone());
            let Some((status, headers)) = self.answer(&request, &mut wire, connection) else { return };
            let taken = request.method == "PATCH" && status == 204;
            if !taken && request.header("expect").is_none() {
                // An answer that needed no body; what follows on this connection is the next request.
                let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
                let Some(()) = self.keep_none(length, &mut wire) else { return };
            }
            let mut head = format!("HTTP/1.1 {status} Fine\r\n");
            headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
            if status != 204 {
                head.push_str("Content-Length: 0\r\n");
            }
            head.push_str("\r\n");
            let mut out = connection;
            if out.write_all(head.as_bytes()).is_err() || request.header("expect").is_some() {
                return;
            }
        }
    }

    fn answer(&self, request: &Seen, wire: &mut BufReader<&TcpStream>, connection: &TcpStream) -> Option<Reply> {
        if request.method != "OPTIONS" {
            self.check_version(request);
        }
        let number: Option<u32> = request.target.rsplit('/').next().and_then(|last| last.parse().ok());
        let fault = self.state.lock().unwrap().fault(&request.method);
        if let Some(Fault::Status(_, status, header)) = &fault {
            let header = header.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
            self.state.lock().unwrap().log.push(format!("{} {status}", request.method));
            return Some((*status, header.into_iter().collect()));
        }
        if let (Some(Fault::Forget(status)), Some(number)) = (&fault, number) {
            let mut state = self.state.lock().unwrap();
            state.log.push(format!("{} {number} {status}", request.method));
            state.uploads.remove(&number);
            return Some((*status, Vec::new()));
        }
        match (request.method.as_str(), number) {
            ("POST", None) => Some(self.create(request, &fault)),
            ("HEAD", Some(number)) => Some(self.question(request, number, fault)),
            ("PATCH", Some(number)) => self.append(request, number, fault, wire, connection),
            ("OPTIONS", None) => Some(self.abilities()),
            ("DELETE", Some(number)) => Some(self.delete(number)),
            _ => Some((405, Vec::new())),
        }
    }

    fn abilities(&self) -> Reply {
        let mut state = self.state.lock().unwrap();
        state.log.push("OPTIONS".into());
        let extensions = if state.terminates { "creation, termination" } else { "creation" };
        (204, vec![("Tus-Extension".into(), extensions.into())])
    }

    fn delete(&self, number: u32) -> Reply {
        let mut state = self.state.lock().unwrap();
        state.log.push(format!("DELETE {number}"));
        (if state.uploads.remove(&number).is_some() { 204 } else { 404 }, Vec::new())
    }

    fn check_version(&self, request: &Seen) {
        let (name, version) = match self.speech {
            Speech::Tus => ("tus-resumable", "1.0.0"),
            Speech::Ietf => ("upload-draft-interop-version", "8"),
            Speech::Ietf3 => ("upload-draft-interop-version", "3"),
        };
        self.state.lock().unwrap().expect(request.header(name) == Some(version), request, "version");
    }

    fn create(&self, request: &Seen, fault: &Option<Fault>) -> Reply {
        let length: Option<u64> = request.header("upload-length").and_then(|text| text.parse().ok());
        let mut state = self.state.lock().unwrap();
        state.expect(length.is_some(), request, "Upload-Length");
        state.expect(request.header("content-length") == Some("0"), request, "an empty body");
        let mut metadata = BTreeMap::new();
        if self.speech == Speech::Tus {
            for pair in request.header("upload-metadata").unwrap_or_default().split(',') {
                let (name, value) = pair.split_once(' ').unwrap_or((pair, ""));
                metadata.insert(name.to_owned(), decoded(value));
            }
        } else {
            let (name, _, more) = self.speech.end();
            state.expect(request.header(name) == Some(more), request, name);
        }
        let number = match fault {
            Some(Fault::Again(number)) => *number,
            _ => state.begin(Kept { length: length.unwrap_or(0), metadata, ..Kept::default() }),
        };
        state.log.push("POST".into());
        let mut headers = vec![("Location".to_owned(), format!("{number}"))];
        if let Some(most) = state.append_at_most {
            headers.push(("Upload-Limit".to_owned(), format!("max-size=1000000000, max-append-size={most}")));
        }
        (201, headers)
    }

    fn question(&self, request: &Seen, number: u32, fault: Option<Fault>) -> Reply {
        let mut state = self.state.lock().unwrap();
        state.log.push(format!("HEAD {number}"));
        let own = ["upload-offset", self.speech.end().0, "content-type", "content-length"];
        state.expect(own.iter().all(|name| request.header(name).is_none()), request, "a bare HEAD");
        let Some(upload) = state.uploads.get(&number) else { return (404, Vec::new()) };
        let offset = match fault {
            Some(Fault::Claim(offset)) => offset,
            _ => upload.bytes.len() as u64,
        };
        (204, self.told(upload, offset))
    }

    fn told(&self, upload: &Kept, offset: u64) -> Vec<(String, String)> {
        let mut headers = vec![("Upload-Offset".to_owned(), offset.to_string())];
        match self.speech {
            Speech::Tus => headers.push(("Upload-Length".into(), upload.length.to_string())),
            _ => {
                let (name, last, more) = self.speech.end();
                headers.push((name.into(), if upload.complete { last } else { more }.into()));
            }
        }
        headers
    }

    fn append(
        &self,
        request: &Seen,
        number: u32,
        fault: Option<Fault>,
        wire: &mut BufReader<&TcpStream>,
        connection: &TcpStream,
    ) -> Option<Reply> {
        let length: usize = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let offset: Option<usize> = request.header("upload-offset").and_then(|text| text.parse().ok());
        let kind = if self.speech == Speech::Tus { "offset+octet-stream" } else { "partial-upload" };
        {
            let mut state = self.state.lock().unwrap();
            state.log.push(format!("PATCH {number} @{} +{length}", offset.unwrap_or(usize::MAX)));
            let given = request.header("content-type").and_then(|kind| kind.strip_prefix("application/"));
            state.expect(given == Some(kind), request, "Content-Type");
            let holds = state.append_at_most.is_none_or(|most| length <= most);
            state.expect(holds, request, "max-append-size");
            let Some(upload) = state.uploads.get(&number) else { return Some((404, Vec::new())) };
            if offset != Some(upload.bytes.len()) {
                let headers = self.told(upload, upload.bytes.len() as u64);
                return Some((409, headers));
            }
            let fits = upload.bytes.len() + length <= upload.length as usize;
            let ends = upload.bytes.len() + length == upload.length as usize;
            let (name, last, _) = self.speech.end();
            let complete = request.header(name).map(|value| value == last);
            let expected = (self.speech != Speech::Tus).then_some(ends);
            state.expect(fits, request, "no more than the upload's length");
            state.expect(complete == expected, request, name);
        }
        if request.header("expect").is_some() {
            let mut out = connection;
            out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
        }
        let wanted = match &fault {
            Some(Fault::Cut(bytes) | Fault::Wait(bytes, _) | Fault::Partly(bytes)) => *bytes,
            _ => length,
        };
        self.keep(number, wanted, wire)?;
        match fault {
            Some(Fault::Cut(_)) => return None,
            Some(Fault::Wait(_, gate)) => {
                gate.pass(connection, &self.stopping);
                return None;
            }
            Some(Fault::Partly(_)) => self.keep_none(length - wanted, wire)?,
            _ => {}
        }
        let mut state = self.state.lock().unwrap();
        let (name, _, more) = self.speech.end();
        let ends = request.header(name) != Some(more);
        let upload = state.uploads.get_mut(&number)?;
        upload.complete = ends && upload.bytes.len() as u64 == upload.length;
        let upload = upload.clone();
        Some((204, self.told(&upload, upload.bytes.len() as u64)))
    }

    /// Keeps so many bytes of a request, as they come; `None` when the connection ends.
    fn keep(&self, number: u32, wanted: usize, wire: &mut BufReader<&TcpStream>) -> Option<()> {
        let (mut piece, mut left) = (vec![0; 16 * 1024], wanted);
        while left > 0 {
            let most = left.min(piece.len());
            let read = wire.read(&mut piece[..most]).ok().filter(|read| *read > 0)?;
            left -= read;
            self.state.lock().unwrap().uploads.get_mut(&number)?.bytes.extend_from_slice(&piece[..read]);
        }
        Some(())
    }

    fn keep_none(&self, bytes: usize, wire: &mut BufReader<&TcpStream>) -> Option<()> {
        wire.read_exact(&mut vec![0; bytes]).ok()
    }
}

/// Text of base64.
fn decoded(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for digit in text.bytes().filter(|digit| *digit != b'=') {
        let value = DIGITS.iter().position(|known| *known == digit).expect("base64");
        (bits, count) = ((bits << 6) | value as u32, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}
