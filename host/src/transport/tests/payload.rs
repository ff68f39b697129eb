//! Tests of bodies that are read while they are sent: asking first, early answers, sources that break.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;

use super::super::payload::{BeforeEnd, Source};
use super::*;

/// A body of `x`s that breaks at an offset, and says when its end is near.
#[derive(Debug, Default)]
struct Letters {
    length: u64,
    breaks_at: Option<u64>,
    nearly: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Source for Letters {
    fn length(&self) -> Option<u64> {
        Some(self.length)
    }

    fn read(&self, offset: u64, limit: usize) -> Result<Bytes, Failure> {
        if self.breaks_at.is_some_and(|at| offset >= at) {
            return Err(Failure::new(FailureKind::FileSystem, "the source broke"));
        }
        let size = usize::try_from(self.length - offset).unwrap().min(limit).min(100_000);
        Ok(vec![b'x'; size].into())
    }

    fn before_end(&self) -> Option<BeforeEnd> {
        let nearly = self.nearly.lock().unwrap().take()?;
        Some(Box::pin(async move { nearly.await.map_err(|_| Failure::new(FailureKind::General, "not ready")) }))
    }
}

fn put(url: String, source: impl Source + 'static) -> Call {
    Call { method: "PUT".into(), body: Payload::Source(Arc::new(source)), ..get(url) }
}

/// A body whose length is known at its end: thrice ten `x`s, each when it was looked for some times.
#[derive(Debug, Default)]
pub(super) struct Trickle {
    /// Looks in vain before each piece, and before the end.
    pub(super) in_vain: usize,
    pub(super) breaks: bool,
    pub(super) looks: AtomicUsize,
}

impl Trickle {
    fn pieces(&self) -> usize {
        self.looks.load(Ordering::Relaxed) / (self.in_vain + 1)
    }

    fn look(&self) -> Result<usize, Failure> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        match self.pieces() {
            4.. if self.breaks => Err(Failure::new(FailureKind::FileSystem, "the source broke")),
            pieces => Ok(pieces),
        }
    }
}

impl Source for Trickle {
    fn length(&self) -> Option<u64> {
        (self.pieces() > 3 && !self.breaks).then_some(30)
    }

    fn is_whole(&self) -> Result<bool, Failure> {
        self.look().map(|pieces| pieces > 3)
    }

    fn read(&self, offset: u64, _: usize) -> Result<Bytes, Failure> {
        let there = self.look()?.min(3) * 10;
        Ok(vec![b'x'; there - usize::try_from(offset).unwrap()].into())
    }
}

/// A server by hand: what it read before it answered is returned.
async fn serve(listener: &TcpListener, reads: usize, answer: &str) -> (TcpStream, Vec<u8>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let mut body = vec![0; reads];
    stream.read_exact(&mut body).await.unwrap();
    stream.write_all(answer.as_bytes()).await.unwrap();
    (stream, head)
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test]
async fn a_source_is_sent_whole_with_its_exact_length() {
    let server = Server::one(vec![Request, ok("")]).await;
    fetch(&transport(), put(server.url("/"), Letters { length: 350_001, ..Letters::default() })).await.unwrap();
    let seen = server.seen().remove(0);
    assert!(seen.contains("content-length: 350001\r\n") && !seen.contains("expect:"));
    assert!(seen.ends_with(&"x".repeat(350_001)));
}

#[tokio::test]
async fn a_source_that_breaks_leaves_the_request_without_its_end() {
    let (listener, url) = listen().await;
    let letters = Letters { length: 1_000_000, breaks_at: Some(500_000), ..Letters::default() };
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        all.len()
    });
    let failure = fetch(&transport(), put(url, letters)).await.unwrap_err();
    assert_eq!((failure.kind, failure.description.as_str()), (FailureKind::FileSystem, "the source broke"));
    assert!(server.await.unwrap() < 600_000);
}

#[tokio::test]
async fn a_large_body_waits_until_the_server_wants_it() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, head) = serve(&listener, 0, "").await;
        let mut byte = [0];
        let nothing = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut byte)).await.is_err();
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let mut body = vec![0; 2_000_000];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        (nothing, String::from_utf8(head).unwrap())
    });
    let letters = Letters { length: 2_000_000, ..Letters::default() };
    fetch(&transport(), put(url, letters)).await.unwrap();
    let (nothing, head) = server.await.unwrap();
    assert!(nothing && head.contains("expect: 100-continue\r\n"), "{head}");
}

#[tokio::test]
async fn a_refusal_before_the_body_spares_the_body() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let answer = "HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig";
        let (mut stream, _) = serve(&listener, 0, answer).await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        rest.len()
    });
    let letters = Letters { length: 50_000_000, ..Letters::default() };
    let transport = transport();
    let (answer, body) = fetch(&transport, put(url, letters)).await.unwrap();
    assert_eq!((answer.status, body.as_str(), answer.early), (413, "big", true));
    drop(answer);
    assert_eq!(server.await.unwrap(), 0);
}

#[tokio::test]
async fn where_asking_is_refused_the_body_is_sent_without_and_the_next_one_too() {
    let refusal = || say("HTTP/1.1 417 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let mut asked = Vec::new();
        let Step::Say(refusal) = refusal() else { return asked };
        let refusal = String::from_utf8(refusal).unwrap();
        let fine = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        for (reads, answer) in [(0, refusal.as_str()), (2_000_000, fine), (2_000_000, fine)] {
            let (_, head) = serve(&listener, reads, answer).await;
            asked.push(String::from_utf8(head).unwrap().contains("expect:"));
        }
        asked
    });
    let transport = transport();
    for _ in 0..2 {
        let letters = Letters { length: 2_000_000, ..Letters::default() };
        assert_eq!(fetch(&transport, put(url.clone(), letters)).await.unwrap().0.status, 200);
    }
    assert_eq!(server.await.unwrap(), [true, false, false]);
}

#[tokio::test]
async fn an_early_refusal_stops_a_body_that_is_being_sent() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let mut body = vec![0; 1_000_000];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(b"HTTP/1.1 401 No\r\ncontent-length: 4\r\n\r\nwho?").await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        rest.len()
    });
    let letters = Letters { length: 1_000_000_000, ..Letters::default() };
    let (answer, body) = fetch(&transport(), put(url, letters)).await.unwrap();
    assert_eq!((answer.status, body.as_str(), answer.early), (401, "who?", true));
    drop(answer);
    assert!(server.await.unwrap() < 900_000_000);
}

#[tokio::test]
async fn a_success_counts_only_when_the_whole_request_was_taken() {
    for (takes_rest, succeeds) in [(true, true), (false, false)] {
        let (listener, url) = listen().await;
        tokio::spawn(async move {
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            let (mut stream, _) = serve(&listener, 1000, answer).await;
            if takes_rest {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            }
        });
        let (ready, nearly) = oneshot::channel();
        let letters = Letters { length: 800_000, nearly: Mutex::new(Some(nearly)), ..Letters::default() };
        let transport = transport();
        let mut answer = transport.send(put(url, letters)).await.unwrap();
        if takes_rest {
            ready.send(()).unwrap();
        } else {
            drop(ready);
        }
        assert_eq!(whole(&mut answer).await.is_ok(), succeeds);
    }
}

#[tokio::test]
async fn what_must_come_before_the_end_comes_before_the_end() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = serve(&listener, 200_000, "").await;
        let mut byte = [0];
        let held = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut byte)).await.is_err();
        (stream, held)
    });
    let (ready, nearly) = oneshot::channel();
    let letters = Letters { length: 300_000, nearly: Mutex::new(Some(nearly)), ..Letters::default() };
    let sending = tokio::spawn(async move { fetch(&transport(), put(url, letters)).await });
    let (mut stream, held) = server.await.unwrap();
    assert!(held);
    ready.send(()).unwrap();
    let mut rest = vec![0; 100_000];
    stream.read_exact(&mut rest).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert_eq!(sending.await.unwrap().unwrap().0.status, 200);
}

/// Listens with little room for what nobody has read yet.
fn listen_in_a_corner() -> (TcpListener, String) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(8).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test]
async fn a_server_that_reads_slowly_and_steadily_meets_no_time_limit() {
    const LENGTH: usize = 400_000; // a socket's buffer takes that at once
    let (listener, url) = listen_in_a_corner();
    tokio::spawn(async move {
        let (mut stream, _) = serve(&listener, 0, "").await;
        let mut tick = tokio::time::interval(Duration::from_millis(40));
        let mut piece = vec![0; LENGTH / 50];
        for _ in 0..50 {
            tick.tick().await;
            stream.read_exact(&mut piece).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    let mut call = put(url, Letters { length: LENGTH as u64, ..Letters::default() });
    (call.idle_timeout, call.head_timeout) = (Some(Duration::from_millis(600)), Some(Duration::from_millis(600)));
    assert_eq!(fetch(&transport(), call).await.unwrap().0.status, 200);
}

#[tokio::test]
async fn a_body_of_unknown_length_goes_out_in_chunks_as_it_comes_and_its_silence_is_not_the_servers() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, head) = serve(&listener, 0, "HTTP/1.1 100 Continue\r\n\r\n").await;
        let mut body = Vec::new();
        while !body.ends_with(b"0\r\n\r\n") {
            body.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        (String::from_utf8(head).unwrap(), String::from_utf8(body).unwrap())
    });
    let mut call = put(url, Trickle { in_vain: 10, ..Trickle::default() });
    call.idle_timeout = Some(Duration::from_millis(150)); // shorter than it takes to a piece
    assert_eq!(fetch(&transport(), call).await.unwrap().0.status, 200);
    let (head, body) = server.await.unwrap();
    assert!(head.contains("transfer-encoding: chunked\r\n") && head.contains("expect: 100-continue"), "{head}");
    assert!(!head.contains("content-length"), "{head}");
    assert_eq!(body, "A\r\nxxxxxxxxxx\r\n".repeat(3) + "0\r\n\r\n");
}

#[tokio::test]
async fn a_body_of_unknown_length_that_breaks_has_no_last_chunk() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = serve(&listener, 0, "HTTP/1.1 100 Continue\r\n\r\n").await;
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        String::from_utf8(all).unwrap()
    });
    let failure = fetch(&transport(), put(url, Trickle { breaks: true, ..Trickle::default() })).await.unwrap_err();
    assert_eq!((failure.kind, failure.description.as_str()), (FailureKind::FileSystem, "the source broke"));
    assert!("A\r\nxxxxxxxxxx\r\n".repeat(3).starts_with(&server.await.unwrap()));
}

#[tokio::test]
async fn a_server_that_wants_a_length_gets_it_when_it_is_known() {
    for refusal in ["411 Length Required", "501 Not Implemented"] {
        let (listener, url) = listen().await;
        let server = tokio::spawn(async move {
            let refusal = format!("HTTP/1.1 {refusal}\r\ncontent-length: 0\r\n\r\n");
            let (first, _) = serve(&listener, 0, &refusal).await;
            let (_, head) = serve(&listener, 30, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            drop(first);
            String::from_utf8(head).unwrap()
        });
        let source = Trickle { in_vain: 2, ..Trickle::default() };
        assert_eq!(fetch(&transport(), put(url, source)).await.unwrap().0.status, 200);
        let head = server.await.unwrap();
        assert!(head.contains("content-length: 30\r\n") && !head.contains("transfer-encoding"), "{head}");
    }
    let (listener, url) = listen().await;
    tokio::spawn(async move { serve(&listener, 0, "HTTP/1.1 411 No\r\ncontent-length: 0\r\n\r\n").await });
    let failure = fetch(&transport(), put(url, Trickle { breaks: true, ..Trickle::default() })).await.unwrap_err();
    assert_eq!(failure.description, "the source broke");
}

#[tokio::test]
async fn an_answer_that_waits_for_the_rest_of_its_request_is_not_idle_while_that_is_read() {
    const LENGTH: usize = 1_000_000; // more than buffers take at once
    let (listener, url) = listen_in_a_corner();
    tokio::spawn(async move {
        let (mut stream, _) = serve(&listener, 0, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await;
        let mut tick = tokio::time::interval(Duration::from_millis(40));
        let mut piece = vec![0; LENGTH / 50];
        for _ in 0..50 {
            tick.tick().await;
            stream.read_exact(&mut piece).await.unwrap();
        }
        stream.write_all(b"ok").await.unwrap();
    });
    let mut call = put(url, Letters { length: LENGTH as u64, ..Letters::default() });
    call.idle_timeout = Some(Duration::from_millis(600));
    (call.low_speed_bytes, call.low_speed_window) = (1, Duration::from_millis(600));
    assert_eq!(fetch(&transport(), call).await.unwrap().1, "ok");
}

#[tokio::test]
async fn a_body_that_waits_to_be_wanted_meets_no_time_limit_meanwhile() {
    let (listener, url) = listen().await;
    tokio::spawn(async move {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        drop(serve(&listener, 2_000_000, answer).await);
    });
    let mut call = put(url, Letters { length: 2_000_000, ..Letters::default() });
    call.idle_timeout = Some(Duration::from_millis(900));
    assert_eq!(fetch(&transport(), call).await.unwrap().0.status, 200);
}

#[tokio::test]
async fn a_server_that_takes_no_more_of_a_body_meets_the_idle_limit_and_a_slow_one_the_send_limit() {
    for (idle, send, words) in [(100, 20_000, "idle limit"), (20_000, 100, "send limit")] {
        let (listener, url) = listen().await;
        let held = tokio::spawn(async move { listener.accept().await.unwrap() });
        let letters = Letters { length: 500_000_000, ..Letters::default() };
        let mut call = put(url, letters);
        (call.idle_timeout, call.send_timeout) = (Some(Duration::from_millis(idle)), Some(Duration::from_millis(send)));
        let failure = fetch(&transport(), call).await.unwrap_err();
        assert!(failure.description.contains(words), "{failure}");
        assert_eq!(failure.detail, FailureDetail::Timeout);
        drop(held);
    }
}
