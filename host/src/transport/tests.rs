//! Tests of the transport against scripted servers on loopback: raw bytes in, raw bytes out.

mod guard;
mod http2;
mod limits;
mod login;
mod payload;
mod proxy;
mod redirect;
mod tls;
mod wire;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::error::FailureDetail;

/// What a scripted server does on a connection.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Reads one request, with its body.
    Request,
    /// Writes bytes.
    Say(Vec<u8>),
    /// Waits for the client to close; says nothing.
    Hold,
    /// Closes with a reset instead of an end.
    Reset,
}
use Step::{Hold, Request, Reset};

fn say(text: impl AsRef<[u8]>) -> Step {
    Step::Say(text.as_ref().to_vec())
}

/// `HTTP/1.1 200 OK` with these bytes.
fn ok(body: &str) -> Step {
    let length = body.len();
    say(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"))
}

/// A scripted server: its port, and what it saw.
struct Server {
    port: u16,
    /// Connection, and the request's bytes as text.
    requests: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Server {
    /// Plays one script for each connection, in order; further connections are closed at once. A script's end closes.
    async fn start(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = requests.clone();
        tokio::spawn(async move {
            for (number, script) in scripts.into_iter().enumerate() {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(play(number, stream, script, log.clone()));
            }
            while listener.accept().await.is_ok() {}
        });
        Self { port, requests }
    }

    async fn one(script: Vec<Step>) -> Self {
        Self::start(vec![script]).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The requests so far, without the numbers of their connections.
    fn seen(&self) -> Vec<String> {
        let seen = self.requests.lock().unwrap();
        seen.iter().map(|(_, text)| text.clone()).collect()
    }

    /// The connections the requests came on.
    fn connections(&self) -> Vec<usize> {
        let seen = self.requests.lock().unwrap();
        seen.iter().map(|(number, _)| *number).collect()
    }
}

type Log = Arc<Mutex<Vec<(usize, String)>>>;

async fn play(number: usize, mut stream: TcpStream, script: Vec<Step>, log: Log) {
    for step in script {
        match step {
            Request => match read_request(&mut stream).await {
                Some(text) => log.lock().unwrap().push((number, text)),
                None => return,
            },
            Step::Say(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Hold => {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            }
            Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
        }
    }
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8_lossy(&body))
}

fn transport() -> Transport {
    Transport::new(TransportSettings::default())
}

/// A GET that gives up soon, should a test go wrong.
fn get(url: impl Into<String>) -> Call {
    let soon = Some(Duration::from_secs(20));
    Call { connect_timeout: soon, head_timeout: soon, idle_timeout: soon, ..Call::new("GET", url) }
}

fn post(url: impl Into<String>, body: &'static str) -> Call {
    Call { method: "POST".into(), body: Bytes::from_static(body.as_bytes()).into(), ..get(url) }
}

async fn whole(answer: &mut Answer) -> Result<String, Failure> {
    let mut all = Vec::new();
    while let Some(piece) = answer.body.next().await? {
        assert!(!piece.is_empty());
        all.extend_from_slice(&piece);
    }
    Ok(String::from_utf8(all).unwrap())
}

/// Sends and reads the body; the first failure of either.
async fn fetch(transport: &Transport, call: Call) -> Result<(Answer, String), Failure> {
    let mut answer = transport.send(call).await?;
    let body = whole(&mut answer).await?;
    Ok((answer, body))
}

/// The failure of one exchange with a server that says this after the request and closes.
async fn failure_after(said: &str) -> Failure {
    let server = Server::one(vec![Request, say(said)]).await;
    fetch(&transport(), get(server.url("/f?key=hidden")))
        .await
        .map(|(answer, body)| panic!("{answer:?} {body:?}"))
        .unwrap_err()
}
