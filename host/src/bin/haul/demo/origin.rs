//! The demo's server: one file over HTTP/1.1, with ranges and a validator, and one connection that it cuts on purpose.
//!
//! Just enough HTTP for one well-behaved client on the loopback interface; it is no server for anything else.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const ETAG: &str = "\"aurora-1\"";
/// Longest request head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// A running server; ends when dropped.
pub(super) struct Origin {
    address: SocketAddr,
    file: Arc<File>,
    server: JoinHandle<()>,
}

struct File {
    content: Vec<u8>,
    suggested_name: String,
    cut_after: usize,
    requests: Mutex<Vec<Seen>>,
}

/// A request that was answered.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Header `Range`.
    pub(super) range: Option<String>,
    /// Header `If-Range`.
    pub(super) if_range: Option<String>,
    /// Bytes of the body that were sent.
    pub(super) sent: usize,
}

impl Origin {
    /// Listens on a free port of 127.0.0.1 and serves a file of that many bytes.
    #[expect(clippy::disallowed_methods, reason = "ends with the origin, or with the demo's runtime")]
    pub(super) async fn start(bytes: usize, cut_after: usize, suggested_name: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let file = Arc::new(File {
            content: noise(bytes),
            suggested_name: suggested_name.into(),
            cut_after,
            requests: Mutex::new(Vec::new()),
        });
        let served = file.clone();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = served.clone();
                // A client that goes away is its own affair.
                tokio::spawn(async move { served.answer(stream).await.ok() });
            }
        });
        Ok(Self { address, file, server })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it serves.
    pub(super) fn content(&self) -> &[u8] {
        &self.file.content
    }

    /// The last request answered.
    pub(super) fn last_request(&self) -> Option<Seen> {
        self.file.requests().last().cloned()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl File {
    fn requests(&self) -> std::sync::MutexGuard<'_, Vec<Seen>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let head = read_head(&mut stream).await?;
        let range = header(&head, "range");
        let if_range = header(&head, "if-range");
        let valid = if_range.as_deref().is_none_or(|tag| tag == ETAG);
        let size = self.content.len();
        let from = range.as_deref().and_then(first_byte);
        let from = from.filter(|from| valid && *from < size);
        let body = &self.content[from.unwrap_or(0)..];
        let status = match from {
            Some(from) => format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{size}", size - 1),
            None => "200 OK".into(),
        };
        let sent = {
            let mut requests = self.requests();
            let is_first = requests.is_empty();
            let sent = if is_first { self.cut_after } else { body.len() };
            requests.push(Seen { range, if_range, sent });
            sent
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Type: application/octet-stream\r\n\
             Content-Disposition: attachment; filename=\"{}\"\r\nETag: {ETAG}\r\nAccept-Ranges: bytes\r\n\
             Connection: close\r\n\r\n",
            body.len(),
            self.suggested_name,
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body[..sent.min(body.len())]).await?;
        stream.shutdown().await
    }
}

async fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut buffer = [0; 2048];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let count = stream.read(&mut buffer).await?;
        if count == 0 || head.len() > HEAD_BYTES_MAX {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&buffer[..count]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (known, value) = line.split_once(':')?;
        let is_it = known.eq_ignore_ascii_case(name);
        is_it.then(|| value.trim().to_owned())
    })
}

/// N of `bytes=N-`.
fn first_byte(range: &str) -> Option<usize> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    from.parse().ok().filter(|_| to.is_empty())
}

/// Bytes that look random and are the same each time (xorshift64, Marsaglia 2003).
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut content = Vec::with_capacity(bytes);
    while content.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend_from_slice(&state.to_le_bytes());
    }
    content.truncate(bytes);
    content
}
