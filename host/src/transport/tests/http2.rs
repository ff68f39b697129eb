//! Tests of what HTTP/2 alone can do to a request, against a server that writes frames by hand: connections that fall silent, answers
//! before the end of a request, requests left unread, and frames that nobody may send.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::Barrier;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::payload::Trickle;
use super::tls::localhost;
use super::*;

const SHORT: Duration = Duration::from_millis(100);
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A request as the server sees it: only where it comes.
struct Seen {
    connection: usize,
    /// Which one of its connection, from 0.
    number: usize,
    stream: u32,
}

/// What the server does about a request.
enum Reply {
    Say(Vec<u8>),
    /// Says so, and breaks the connection.
    Break(Vec<u8>),
    /// Says so, and from now on nothing, not even to a PING.
    Freeze(Vec<u8>),
}
use Reply::{Break, Freeze, Say};

/// A server of HTTP/2: how many connections and requests it has had.
struct Frames {
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    /// A connection that was frozen has been closed by the client.
    is_left: Arc<AtomicBool>,
}

impl Frames {
    async fn start(reply: impl Fn(Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::speaking(&["h2"], reply).await
    }

    /// Where HTTP/1.1 is agreed on it answers `HTTP/1.1`.
    async fn speaking(protocols: &[&str], reply: impl Fn(Seen) -> Reply + Send + Sync + 'static) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(localhost(protocols)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let is_left = Arc::new(AtomicBool::new(false));
        let (counter, seen, reply) = (Arc::clone(&connections), Arc::clone(&requests), Arc::new(reply));
        let left = Arc::clone(&is_left);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = counter.fetch_add(1, Ordering::SeqCst);
                let (acceptor, seen, reply) = (acceptor.clone(), Arc::clone(&seen), Arc::clone(&reply));
                let left = Arc::clone(&left);
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await.ok()?;
                    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                        read_request(&mut stream).await?;
                        let said = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nHTTP/1.1";
                        stream.write_all(said.as_bytes()).await.ok()?;
                        return stream.shutdown().await.ok();
                    }
                    let is_over = converse(stream, connection, &seen, &*reply).await;
                    left.fetch_or(is_over.is_none(), Ordering::SeqCst);
                    is_over
                });
            }
        });
        Self { port, connections, requests, is_left }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/", self.port)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn converse(
    mut stream: TlsStream<TcpStream>,
    connection: usize,
    requests: &AtomicUsize,
    reply: &(dyn Fn(Seen) -> Reply + Send + Sync),
) -> Option<()> {
    stream.write_all(&frame(SETTINGS, 0, 0, b"")).await.ok()?;
    stream.read_exact(&mut [0; 24]).await.ok()?;
    let mut number = 0;
    loop {
        let (kind, flags, id, content) = read_frame(&mut stream).await?;
        let said = match kind {
            SETTINGS if flags == 0 => Say(frame(SETTINGS, 1, 0, b"")),
            PING if flags == 0 => Say(frame(PING, 1, 0, &content)),
            HEADERS => {
                requests.fetch_add(1, Ordering::SeqCst);
                number += 1;
                reply(Seen { connection, number: number - 1, stream: id })
            }
            _ => continue,
        };
        let (Say(bytes) | Break(bytes) | Freeze(bytes)) = &said;
        stream.write_all(bytes).await.ok()?;
        stream.flush().await.ok()?;
        match said {
            Say(_) => {}
            Break(_) => return Some(()), // TCP's end without TLS's
            Freeze(_) => {
                let _ = stream.read_to_end(&mut Vec::new()).await;
                return None;
            }
        }
    }
}

async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let mut content = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut content).await.ok()?;
    Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), content))
}

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// The fields of a head, none of them compressed.
fn fields(all: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    all.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

fn head(stream: u32, flags: u8, all: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &fields(all))
}

/// 200 and `ok`.
fn fine(stream: u32) -> Vec<u8> {
    let length = [(":status", "200"), ("content-length", "2")];
    [head(stream, 0, &length), frame(DATA, END_STREAM, stream, b"ok")].concat()
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

fn trusting() -> Transport {
    Transport::new(TransportSettings { insecure: true, ..TransportSettings::default() })
}

/// Sends that many requests at once, whose bodies must all arrive.
async fn all_at_once(transport: &Transport, count: usize, call: impl Fn() -> Call) -> Vec<Result<String, Failure>> {
    let calls: Vec<_> = (0..count)
        .map(|_| {
            let (transport, call) = (transport.clone(), call());
            tokio::spawn(async move { fetch(&transport, call).await.map(|(_, body)| body) })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn a_connection_on_which_a_request_met_a_time_limit_carries_no_further_one() {
    let half = |stream| [head(stream, 0, &[(":status", "200")]), frame(DATA, 0, stream, b"half")].concat();
    for (in_the_body, words) in [(false, "response limit"), (true, "idle limit")] {
        let server = Frames::start(move |seen| match (seen.connection, seen.number) {
            (0, 1) if in_the_body => Freeze(half(seen.stream)),
            (0, 1) => Freeze(Vec::new()),
            _ => Say(fine(seen.stream)),
        })
        .await;
        let transport = trusting();
        fetch(&transport, get(server.url())).await.unwrap();
        let call = Call { head_timeout: Some(SHORT), idle_timeout: Some(SHORT), ..get(server.url()) };
        let failure = fetch(&transport, call).await.map(drop).unwrap_err();
        assert!(failure.description.contains(words), "{failure}");

        assert_eq!(fetch(&transport, post(server.url(), "x")).await.unwrap().1, "ok");
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn a_stream_that_stalls_does_not_end_the_others_of_its_connection() {
    let server = Frames::start(|seen| match (seen.connection, seen.number) {
        (0, 0) => Say([head(1, 0, &[(":status", "200")]), frame(DATA, 0, 1, b"half")].concat()),
        (0, 1) => Say(Vec::new()),
        (0, _) => Say(frame(DATA, END_STREAM, 1, b"never")),
        _ => Say(fine(seen.stream)),
    })
    .await;
    let transport = trusting();
    let mut first = transport.send(get(server.url())).await.unwrap();
    assert_eq!(first.body.next().await.unwrap().unwrap(), "half");
    let call = Call { head_timeout: Some(SHORT), ..get(server.url()) };
    transport.send(call).await.map(drop).unwrap_err();

    assert_eq!(fetch(&transport, get(server.url())).await.unwrap().1, "ok");
    let more = tokio::time::timeout(SHORT, first.body.next()).await;
    assert!(more.is_err(), "it is still open: {more:?}");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_answers_no_ping_is_given_up_whether_it_is_used_or_idle() {
    for is_idle in [true, false] {
        let server = Frames::start(move |seen| match (seen.connection, seen.number) {
            (0, 0) if is_idle => Freeze(fine(seen.stream)),
            (0, 1) => Freeze(Vec::new()),
            _ => Say(fine(seen.stream)),
        })
        .await;
        let mut transport = trusting();
        Arc::get_mut(&mut transport.shared).unwrap().ping = (SHORT, SHORT);
        fetch(&transport, get(server.url())).await.unwrap();
        if is_idle {
            while !server.is_left.load(Ordering::SeqCst) {
                clock::sleep(SHORT / 10).await;
            }
        } else {
            let call = Call { head_timeout: None, ..post(server.url(), "x") };
            let failure = transport.send(call).await.map(drop).unwrap_err();
            assert!(failure.description.contains("fallen silent"), "{failure}");
            assert!(failure.outcome_unknown, "{failure}");
        }

        assert_eq!(fetch(&transport, post(server.url(), "x")).await.unwrap().1, "ok");
        assert_eq!(server.connections(), 2);
    }
}

/// A body whose end never comes.
#[derive(Debug)]
struct Endless;

impl Source for Endless {
    fn length(&self) -> Option<u64> {
        Some(1)
    }

    fn read(&self, _: u64, _: usize) -> Result<Bytes, Failure> {
        Ok(Bytes::from_static(b"x"))
    }

    fn before_end(&self) -> Option<BeforeEnd> {
        Some(Box::pin(std::future::pending()))
    }
}

#[tokio::test]
async fn a_complete_success_stands_where_the_server_lets_go_of_the_rest_of_the_request() {
    for (method, resets, breaks) in
        [("POST", true, false), ("PUT", true, false), ("POST", true, true), ("PUT", false, true)]
    {
        let server = Frames::start(move |seen| {
            let end = if resets { reset(seen.stream, 0) } else { Vec::new() };
            let said = [fine(seen.stream), end].concat();
            if breaks { Break(said) } else { Say(said) }
        })
        .await;
        let call = Call { method: method.into(), body: Payload::Source(Arc::new(Endless)), ..get(server.url()) };
        let mut answer = trusting().send(call).await.unwrap();
        let body = whole(&mut answer).await;
        assert_eq!(answer.status, 200);
        let told = (body.is_ok(), answer.body.released_request(), answer.body.cut_request());
        assert_eq!(told, (resets, resets, !resets), "{method}, {resets}, {breaks}: {body:?}");
    }
}

#[tokio::test]
async fn requests_that_a_server_has_not_looked_at_are_sent_again_as_often_as_it_gets_on() {
    // REFUSED_STREAM; GOAWAY with NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR
    for (refuses, code) in [(true, 7), (false, 0), (false, 1), (false, 2)] {
        let server = Frames::start(move |seen| match (seen.number, refuses) {
            (0 | 1, _) => Say(fine(seen.stream)),
            (_, true) => Say(reset(seen.stream, code)),
            (_, false) => Say(goaway(3, code)),
        })
        .await;
        let transport = trusting();
        let answers = all_at_once(&transport, 24, || post(server.url(), "x")).await;
        assert!(answers.iter().all(|answer| answer.as_deref() == Ok("ok")), "{answers:?}");
        assert!(server.connections() <= 14, "{} connections for 24 requests, two on each", server.connections());
    }
}

#[tokio::test]
async fn a_server_that_only_refuses_is_not_asked_for_ever() {
    let server = Frames::start(|seen| Say(reset(seen.stream, 7))).await;
    let failure = trusting().send(post(server.url(), "x")).await.map(drop).unwrap_err();
    assert!(failure.description.contains("again and again"), "{failure}");
    assert!(!failure.outcome_unknown);
    assert_eq!(server.requests.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_server_that_wants_calm_is_not_asked_again_at_once() {
    let server = Frames::start(|_| Say(goaway(0, 11))).await;
    let failure = trusting().send(post(server.url(), "x")).await.map(drop).unwrap_err();
    assert!(failure.description.contains("refused the request unread"), "{failure}");
    assert!(!failure.outcome_unknown);
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_stream_that_is_reset_before_its_answer_is_not_called_a_closed_connection() {
    let server = Frames::start(|seen| Say(reset(seen.stream, 2))).await;
    let failure = trusting().send(get(server.url())).await.map(drop).unwrap_err();
    assert!(failure.description.contains("reset the stream before answering: "), "{failure}");
}

#[tokio::test]
async fn a_get_that_loses_a_connection_which_has_answered_is_sent_again_and_what_was_reset_is_not() {
    let server = Frames::start(|seen| match (seen.connection, seen.number) {
        (0, 1) => Break(Vec::new()),
        (_, 1) => Say(reset(seen.stream, 1)),
        _ => Say(fine(seen.stream)),
    })
    .await;
    let transport = trusting();
    for _ in 0..2 {
        assert_eq!(fetch(&transport, get(server.url())).await.unwrap().1, "ok");
    }
    assert_eq!(server.connections(), 2);
    let failure = transport.send(get(server.url())).await.map(drop).unwrap_err();
    assert!(failure.description.contains("reset the stream before answering"), "{failure}");

    let server = Frames::start(|_| Break(Vec::new())).await;
    let failure = trusting().send(get(server.url())).await.map(drop).unwrap_err();
    assert_eq!((failure.detail, server.connections()), (FailureDetail::NoResponse, 1), "{failure}");
}

#[tokio::test]
async fn a_connection_on_which_a_whole_attempt_met_its_limit_carries_no_further_one() {
    let server = Frames::start(|seen| match (seen.connection, seen.number) {
        (0, 1) => Say(Vec::new()),
        _ => Say(fine(seen.stream)),
    })
    .await;
    let transport = trusting();
    fetch(&transport, get(server.url())).await.unwrap();
    let call = get(server.url());
    let is_late = Arc::clone(&call.is_late);
    let end = async {
        while server.requests.load(Ordering::SeqCst) < 2 {
            clock::sleep(SHORT / 10).await;
        }
        is_late.store(true, Ordering::SeqCst);
    };
    tokio::select! {
        answer = transport.send(call) => panic!("{answer:?}"),
        () = end => {}
    }

    assert_eq!(fetch(&transport, post(server.url(), "x")).await.unwrap().1, "ok");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_server_that_requires_http1_is_asked_so_at_once_and_henceforth() {
    for by_goaway in [false, true] {
        let server = Frames::speaking(&["h2", "http/1.1"], move |seen| match by_goaway {
            true => Say(goaway(0, 13)),
            false => Say(reset(seen.stream, 13)),
        })
        .await;
        let transport = trusting();
        for _ in 0..2 {
            assert_eq!(fetch(&transport, post(server.url(), "x")).await.unwrap().1, "HTTP/1.1");
        }
        assert_eq!(server.requests.load(Ordering::SeqCst), 1, "over HTTP/2");
    }
}

#[tokio::test]
async fn what_no_server_of_http2_may_send_is_told_as_such_and_final() {
    let status = (":status", "200");
    let push = [&2_u32.to_be_bytes()[..], &fields(&[(":method", "GET")])].concat();
    let breaches = [
        ("upper case", head(1, END_STREAM, &[status, ("X-Upper", "1")])),
        ("line break", head(1, END_STREAM, &[status, ("x", "a\r\nb: c")])),
        ("101", head(1, END_STREAM, &[(":status", "101")])),
        ("data first", frame(DATA, 0, 1, b"x")),
        ("push", frame(PUSH_PROMISE, END_HEADERS, 1, &push)),
        ("too big", frame(HEADERS, END_HEADERS, 1, &[0; 20_000])),
        ("HTTP/1.1", b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
    ];
    for (name, bytes) in breaches {
        let server = Frames::start(move |_| Say(bytes.clone())).await;
        let call = Call { head_timeout: Some(SHORT * 20), ..get(server.url()) };
        let failure = trusting().send(call).await.map(drop).unwrap_err();
        assert_eq!(failure.detail, FailureDetail::Protocol, "{name}: {failure}");
        assert!(failure.description.contains("not proper HTTP/2"), "{name}: {failure}");
        assert_eq!(server.requests.load(Ordering::SeqCst), 1, "{name}");
    }
}

#[tokio::test]
async fn why_a_body_ends_early_is_told() {
    for (freezes, words) in [(false, "frame with invalid size"), (true, "a PING was not answered")] {
        let server = Frames::start(move |seen| {
            let status = head(seen.stream, 0, &[(":status", "200")]);
            match freezes {
                true => Freeze(status),
                false => Say([status, frame(DATA, 0, seen.stream, &[0; 20_000])].concat()),
            }
        })
        .await;
        let mut transport = trusting();
        Arc::get_mut(&mut transport.shared).unwrap().ping = (SHORT, SHORT * 10);
        let failure = fetch(&transport, get(server.url())).await.map(drop).unwrap_err();
        assert_eq!(failure.detail, FailureDetail::Cut, "{failure}");
        assert!(failure.description.contains(words), "{failure}");
    }
}

#[tokio::test]
async fn many_requests_at_once_wait_for_the_first_connection_to_show_what_it_speaks() {
    let server = Frames::start(|seen| Say(fine(seen.stream))).await;
    let answers = all_at_once(&trusting(), 30, || get(server.url())).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_server_of_http1_gets_as_many_connections_at_once_as_there_are_requests() {
    let acceptor = TlsAcceptor::from(Arc::new(localhost(&["http/1.1"])));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let all_there = Arc::new(Barrier::new(10));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, all_there) = (acceptor.clone(), Arc::clone(&all_there));
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await.unwrap();
                read_request(&mut stream).await.unwrap();
                all_there.wait().await;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                stream.flush().await.unwrap();
                let _ = stream.read_u8().await;
            });
        }
    });
    let answers = all_at_once(&trusting(), 10, || get(url.clone())).await;
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("ok")), "{answers:?}");
}

/// The first connection of HTTP/2, whose server has said nothing yet.
async fn accept(listener: &TcpListener) -> TlsStream<TcpStream> {
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = TlsAcceptor::from(Arc::new(localhost(&["h2"]))).accept(stream).await.unwrap();
    stream.read_exact(&mut [0; 24]).await.unwrap();
    stream
}

#[tokio::test]
async fn one_request_goes_out_until_the_server_has_said_how_many_it_takes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut stream = accept(&listener).await;
        let mut early = Vec::new();
        while let Ok(frame) = tokio::time::timeout(SHORT * 5, read_frame(&mut stream)).await {
            let (kind, _, id, _) = frame.unwrap();
            early.extend((kind == HEADERS).then_some(id));
        }
        stream.write_all(&frame(SETTINGS, 0, 0, b"")).await.unwrap();
        for id in &early {
            stream.write_all(&fine(*id)).await.unwrap();
        }
        tell.send(early.len()).unwrap();
        while let Some((kind, flags, id, _)) = read_frame(&mut stream).await {
            let said = match kind {
                SETTINGS if flags == 0 => frame(SETTINGS, 1, 0, b""),
                HEADERS => fine(id),
                _ => continue,
            };
            stream.write_all(&said).await.unwrap();
        }
    });
    let answers = all_at_once(&trusting(), 12, || get(url.clone())).await;
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("ok")), "{answers:?}");
    assert_eq!(told.await.unwrap(), 1);
}

#[tokio::test]
async fn a_body_of_unknown_length_ends_its_stream_when_it_is_whole_and_never_where_it_breaks() {
    for (breaks, is_early) in [(false, false), (true, false), (true, true)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let server = tokio::spawn(async move {
            let mut stream = accept(&listener).await;
            stream.write_all(&frame(SETTINGS, 0, 0, b"")).await.unwrap();
            let (mut body, mut has_ended) = (Vec::new(), false);
            while let Some((kind, flags, id, content)) = read_frame(&mut stream).await {
                match kind {
                    SETTINGS if flags == 0 => stream.write_all(&frame(SETTINGS, 1, 0, b"")).await.unwrap(),
                    HEADERS if is_early => stream.write_all(&fine(id)).await.unwrap(),
                    DATA => body.extend(content),
                    RST_STREAM => break,
                    _ => {}
                }
                if kind == DATA && flags & END_STREAM > 0 {
                    has_ended = true;
                    stream.write_all(&fine(id)).await.unwrap();
                    break;
                }
            }
            (stream, body.len(), has_ended)
        });
        let source = Trickle { in_vain: 2, breaks, ..Trickle::default() };
        let call = Call { method: "PUT".into(), body: Payload::Source(Arc::new(source)), ..get(url) };
        let told = fetch(&trusting(), call).await.map(|(_, body)| body).map_err(|failure| failure.description);
        let (_, length, has_ended) = server.await.unwrap();
        match breaks {
            false => assert_eq!((told.as_deref(), length, has_ended), (Ok("ok"), 30, true)),
            true => assert_eq!((told.as_deref(), has_ended), (Err(&"the source broke".to_owned()), false)),
        }
    }
}

#[tokio::test]
async fn a_large_body_waits_for_no_word_that_hyper_would_not_hand_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let mut stream = accept(&listener).await;
        let room = |id| frame(WINDOW_UPDATE, 0, id, &(4_u32 << 20).to_be_bytes());
        stream.write_all(&[frame(SETTINGS, 0, 0, b""), room(0)].concat()).await.unwrap();
        while let Some((kind, flags, id, _)) = read_frame(&mut stream).await {
            let said = match kind {
                SETTINGS if flags == 0 => frame(SETTINGS, 1, 0, b""),
                HEADERS => room(id),
                DATA if flags & END_STREAM > 0 => fine(id),
                _ => continue,
            };
            stream.write_all(&said).await.unwrap();
        }
    });
    let body = vec![b'x'; 1100 << 10].into();
    let call = Call { body, send_timeout: Some(SHORT * 8), ..post(url, "") };
    assert_eq!(fetch(&trusting(), call).await.unwrap().1, "ok");
}

/// A whole answer's head, and its body in frames of one byte: more of them than h2 keeps.
fn tiny_frames(stream: u32) -> (Vec<u8>, Vec<u8>) {
    const LENGTH: usize = 60_000;
    let head = head(stream, 0, &[(":status", "200"), ("content-length", &LENGTH.to_string())]);
    (head, frame(DATA, 0, stream, b"x").repeat(LENGTH - 1))
}

#[tokio::test]
async fn tiny_frames_are_read_as_fast_as_they_come() {
    let server = Frames::start(|seen| {
        let (head, body) = tiny_frames(seen.stream);
        Say([head, body, frame(DATA, END_STREAM, seen.stream, b"x")].concat())
    })
    .await;
    let (_, body) = fetch(&trusting(), get(server.url())).await.unwrap();
    assert_eq!(body.len(), 60_000);
}

#[tokio::test]
async fn a_server_whose_tiny_frames_are_too_many_to_keep_is_asked_over_http1() {
    let server = Frames::speaking(&["h2", "http/1.1"], |seen| match seen.number {
        0 => Say(tiny_frames(seen.stream).0),
        _ => Freeze(tiny_frames(1).1),
    })
    .await;
    let transport = trusting();
    let mut unread = transport.send(get(server.url())).await.unwrap();
    assert_eq!(fetch(&transport, get(server.url())).await.unwrap().1, "HTTP/1.1");
    let failure = whole(&mut unread).await.unwrap_err();
    assert_eq!(failure.detail, FailureDetail::Cut, "{failure}");
    assert!(failure.description.contains("too small for HTTP/2"), "{failure}");
    assert_eq!(server.requests.load(Ordering::SeqCst), 2, "over HTTP/2");
}
