//! Tests of what goes over the wire: requests as written, framing and its lies, reuse of connections, proxies.

use super::*;
use crate::error::FailureKind;

#[track_caller]
fn is(failure: &Failure, detail: FailureDetail, words: &str) {
    assert_eq!(failure.kind, FailureKind::Connection, "{failure}");
    assert_eq!(failure.detail, detail, "{failure}");
    assert!(failure.description.contains(words), "{failure}");
    assert!(failure.description.contains("127.0.0.1:"), "{failure}");
    assert!(!failure.description.contains("hidden"), "{failure}");
}

#[tokio::test]
async fn a_request_is_written_with_the_headers_of_the_caller_and_those_it_lacks() {
    let server = Server::one(vec![Request, ok(""), Request, ok(""), Request, ok("")]).await;
    let transport = transport();
    let mut call = get(server.url("/a%20b?c=d#e"));
    call.headers = vec![
        ("X-Two".into(), "1".into()),
        ("x-two".into(), "\u{e4}".into()),
        ("Transfer-Encoding".into(), "gzip".into()),
        ("Content-Length".into(), "99".into()),
    ];
    fetch(&transport, call).await.unwrap();
    let agent = concat!("user-agent: haul/", env!("CARGO_PKG_VERSION"), "\r\n");
    let seen = server.seen().remove(0);
    assert!(seen.starts_with("GET /a%20b?c=d HTTP/1.1\r\n"), "{seen}");
    for line in [
        "x-two: 1\r\n",
        "x-two: \u{e4}\r\n",
        "accept-encoding: identity\r\n",
        agent,
        &format!("host: 127.0.0.1:{}\r\n", server.port),
    ] {
        assert!(seen.contains(line), "{line} in {seen}");
    }
    assert!(!seen.contains("gzip") && !seen.contains("content-length"), "{seen}");

    let mut call = get(server.url("/"));
    call.headers = vec![("accept-encoding".into(), "br".into()), ("User-Agent".into(), "me".into())];
    fetch(&transport, call).await.unwrap();
    let seen = server.seen().remove(1);
    assert!(seen.contains("accept-encoding: br\r\n") && seen.contains("user-agent: me\r\n"));
    assert!(!seen.contains("identity") && !seen.contains("haul/"));

    fetch(&transport, post(server.url("/"), "")).await.unwrap();
    assert!(server.seen()[2].contains("content-length: 0\r\n"));
}

#[tokio::test]
async fn a_body_of_many_pieces_is_sent_whole_with_its_length() {
    let server = Server::one(vec![Request, ok("")]).await;
    let body = "0123456789abcdef".repeat(50_000);
    let mut call = post(server.url("/"), "");
    call.body = body.clone().into_bytes().into();
    fetch(&transport(), call).await.unwrap();
    let seen = server.seen().remove(0);
    assert!(seen.contains("content-length: 800000\r\n"));
    assert!(seen.ends_with(&body));
}

#[tokio::test]
async fn an_answer_that_comes_before_the_whole_request_was_read_is_seen() {
    for _ in 0..20 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            let said = "HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig";
            stream.write_all(said.as_bytes()).await.unwrap();
            // Closed with most of the request unread: a reset follows.
        });
        let mut call = post(format!("http://127.0.0.1:{port}/"), "");
        call.body = vec![b'x'; 16 * 1024 * 1024].into();
        let (answer, body) = fetch(&transport(), call).await.unwrap();
        assert_eq!((answer.status, body.as_str()), (413, "big"));
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_without_connecting() {
    for (url, kind) in
        [("ftp://127.0.0.1/", FailureKind::Url), ("nonsense", FailureKind::Url), ("http://", FailureKind::Url)]
    {
        assert_eq!(transport().send(get(url)).await.unwrap_err().kind, kind, "{url}");
    }
    let mut call = get("http://127.0.0.1:1/");
    call.headers = vec![("X".into(), "a\r\nInjected: b".into())];
    assert_eq!(transport().send(call).await.unwrap_err().kind, FailureKind::General);
    let mut call = get("http://127.0.0.1:1/");
    call.method = "GET /".into();
    assert_eq!(transport().send(call).await.unwrap_err().kind, FailureKind::General);
}

#[tokio::test]
async fn headers_are_handed_out_in_lower_case_as_utf8_or_latin1() {
    let mut said = b"HTTP/1.1 200 OK\r\nX-Utf: \xc3\xa9\r\nX-Latin: \xe9\r\nSet-Cookie: a\r\n".to_vec();
    said.extend_from_slice(b"Set-Cookie: b\r\nContent-Length: 0\r\n\r\n");
    let server = Server::one(vec![Request, say(said)]).await;
    let answer = transport().send(get(server.url("/"))).await.unwrap();
    assert_eq!(answer.header("x-utf"), Some("\u{e9}"));
    assert_eq!(answer.header("x-latin"), Some("\u{e9}"));
    let cookies: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "set-cookie").collect();
    assert_eq!(cookies.len(), 2);
}

#[tokio::test]
async fn a_header_that_is_folded_into_several_lines_is_one() {
    let said = "HTTP/1.1 200 OK\r\nX-Long: one,\r\n\ttwo\r\n   three\r\nContent-Length: 2\r\n\r\nok";
    let server = Server::one(vec![Request, say(said)]).await;
    let (answer, body) = fetch(&transport(), get(server.url("/"))).await.unwrap();
    assert_eq!((answer.header("x-long"), body.as_str()), (Some("one, two three"), "ok"));
}

#[tokio::test]
async fn the_end_of_a_body_is_known_by_its_framing() {
    #[rustfmt::skip]
    let table = [
        ("GET", "200 OK\r\ncontent-length: 2\r\n\r\nhi", Framing::Length(2), "hi"),
        ("GET", "200 OK\r\ncontent-length: 2, 2\r\n\r\nhi", Framing::Length(2), "hi"),
        ("GET", "200 OK\r\ncontent-length: 0\r\n\r\n", Framing::Length(0), ""),
        ("GET", "200 OK\r\ncontent-length: 2\r\n\r\nhi and more", Framing::Length(2), "hi"),
        ("GET", "200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\nt: x\r\n\r\n", Framing::Marked, "hi"),
        ("GET", "200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", Framing::Marked, "hi"),
        ("GET", "200 OK\r\n\r\nhi", Framing::UntilClose, "hi"),
        ("HEAD", "200 OK\r\ncontent-length: 2\r\n\r\n", Framing::Empty, ""),
        ("GET", "204 X\r\ncontent-length: 2\r\n\r\n", Framing::Empty, ""),
        ("GET", "304 X\r\ncontent-length: 2\r\n\r\n", Framing::Empty, ""),
        ("GET", "200 OK\r\ncontent-length:\r\n 2\r\n\r\nhi", Framing::Length(2), "hi"),
        ("GET", "100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", Framing::Length(2), "hi"),
    ];
    for (method, said, framing, body) in table {
        let server = Server::one(vec![Request, say(format!("HTTP/1.1 {said}"))]).await;
        let call = Call { method: method.into(), ..get(server.url("/")) };
        let (answer, text) = fetch(&transport(), call).await.unwrap();
        assert_eq!((answer.framing, text.as_str()), (framing, body), "{said}");
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_cut() {
    for said in [
        "content-length: 10\r\n\r\nhalf",
        "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "transfer-encoding: chunked\r\n\r\n9\r\nhalf",
    ] {
        let failure = failure_after(&format!("HTTP/1.1 200 OK\r\n{said}")).await;
        is(&failure, FailureDetail::Cut, "lost after 4");
    }
}

#[tokio::test]
async fn a_body_until_close_that_ends_in_a_reset_is_cut() {
    let server = Server::one(vec![Request, say("HTTP/1.1 200 OK\r\n\r\nhalf"), Hold, Reset]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    drop(server);
    let port = listener.local_addr().unwrap().port();
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").await.unwrap();
        wait.await.unwrap();
        stream.set_zero_linger().unwrap();
    });
    let mut answer = transport().send(get(format!("http://127.0.0.1:{port}/"))).await.unwrap();
    assert_eq!(answer.body.next().await.unwrap().unwrap(), "half");
    go.send(()).unwrap();
    let failure = answer.body.next().await.unwrap_err();
    is(&failure, FailureDetail::Cut, "lost after 4 bytes: connection reset");
}

#[tokio::test]
async fn lies_about_the_framing_are_breaches_of_the_protocol() {
    for said in [
        "transfer-encoding: chunked, identity\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "transfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "transfer-encoding: identity\r\n\r\nhi",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "content-length: 2\r\ncontent-length: 3\r\n\r\nhi!",
        "content-length: 1\r\n 2\r\n\r\nhi and more",
        "transfer-encoding: gzip,\r\n\tchunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        " content-length: 2\r\n\r\nhi",
        "content-length: -2\r\n\r\nhi",
        "content-length: two\r\n\r\nhi",
        "content-length: 99999999999999999999\r\n\r\nhi",
        "transfer-encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nhi",
        "bad header\r\n\r\n",
    ] {
        let failure = failure_after(&format!("HTTP/1.1 200 OK\r\n{said}")).await;
        is(&failure, FailureDetail::Protocol, "");
    }
    for said in ["hello, I am no server\r\n\r\n", "HTTP/1.1 101 X\r\nupgrade: x\r\n\r\n", "HTTP/1.1 999 X\r\n\r\n"] {
        is(&failure_after(said).await, FailureDetail::Protocol, "");
    }
}

#[tokio::test]
async fn heads_beyond_the_limits_are_breaches_of_the_protocol() {
    let many: String = (0..201).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(257 * 1024));
    let endless = format!("x: {}", "y".repeat(2 * 1024 * 1024));
    for headers in [many, long, endless] {
        let said = format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n");
        is(&failure_after(&said).await, FailureDetail::Protocol, "headers");
    }
    let fits: String = (0..199).map(|n| format!("x-{n}: 1\r\n")).collect();
    let said = format!("HTTP/1.1 200 OK\r\n{fits}content-length: 0\r\n\r\n");
    let server = Server::one(vec![Request, say(said)]).await;
    assert!(transport().send(get(server.url("/"))).await.is_ok());
}

#[tokio::test]
async fn interim_answers_are_skipped_up_to_64() {
    let hint = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
    let end = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let server = Server::one(vec![Request, say(hint.repeat(64) + end)]).await;
    assert!(transport().send(get(server.url("/"))).await.is_ok());
    let server = Server::one(vec![Request, say(hint.repeat(5000)), Hold]).await;
    let failure = transport().send(get(server.url("/"))).await.unwrap_err();
    is(&failure, FailureDetail::Protocol, "interim");
    // In one piece with the answer, which is there before the client gets to look.
    for count in [65, 1000] {
        let server = Server::one(vec![Request, say(hint.repeat(count) + end)]).await;
        let failure = transport().send(get(server.url("/"))).await.map(drop).unwrap_err();
        is(&failure, FailureDetail::Protocol, "interim");
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_or_has_no_name_is_not_connected() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let call = post(format!("http://127.0.0.1:{port}/?hidden"), "x");
    let failure = transport().send(call).await.unwrap_err();
    is(&failure, FailureDetail::NotConnected, "connection refused");
    assert!(!failure.outcome_unknown);
    let call = get("http://no-such-host.invalid/?hidden");
    let failure = transport().send(call).await.unwrap_err();
    assert_eq!(failure.detail, FailureDetail::NotConnected);
    assert!(failure.description.starts_with("cannot find the address of no-such-host.invalid: "));
}

#[tokio::test]
async fn localhost_is_reached_whichever_family_listens() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(address).await else {
            continue; // no IPv6 here
        };
        let url = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            play(0, stream, vec![Request, ok("here")], Arc::default()).await;
        });
        assert_eq!(fetch(&transport(), get(url)).await.unwrap().1, "here");
    }
}

#[tokio::test]
async fn a_connection_closed_before_the_head_is_no_response_and_leaves_a_post_in_doubt() {
    let server = Server::start(vec![vec![Request]; 3]).await;
    let url = server.url("/?hidden");
    for (call, doubt) in [(get(&url), false), (post(&url, "x"), true)] {
        let failure = transport().send(call).await.unwrap_err();
        is(&failure, FailureDetail::NoResponse, "before answering");
        assert_eq!(failure.outcome_unknown, doubt);
    }
    assert_eq!(server.seen().len(), 2); // a fresh connection is not tried again
}

#[tokio::test]
async fn an_answer_that_is_no_proper_http_leaves_a_post_in_doubt_and_nothing_else() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx".to_owned(),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: foo\r\n\r\n".to_owned(),
        "HTTP/1.1 101 Switching\r\n\r\n".to_owned(),
        "HTTP/1.1 600 Odd\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "220 mail.example ESMTP\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(2_000_000)),
    ] {
        let server = Server::start(vec![vec![Request, say(answer.clone())]; 2]).await;
        for (call, doubt) in [(get(server.url("/")), false), (post(server.url("/"), "x"), true)] {
            let failure = fetch(&transport(), call).await.map(drop).unwrap_err();
            assert_eq!(failure.outcome_unknown, doubt, "{failure}: {}", &answer[..20]);
        }
    }
}

#[tokio::test]
async fn connections_are_used_again_whether_or_not_the_end_was_read() {
    let script = vec![Request, ok("one"), Request, ok("two"), Request, ok("three")];
    let server = Server::one(script).await;
    let transport = transport();
    assert_eq!(fetch(&transport, get(server.url("/"))).await.unwrap().1, "one");
    let mut answer = transport.send(get(server.url("/"))).await.unwrap();
    assert_eq!(answer.body.collect(3).await, b"two");
    drop(answer);
    assert_eq!(fetch(&transport.clone(), get(server.url("/"))).await.unwrap().1, "three");
    assert_eq!(server.connections(), [0, 0, 0]);
}

#[tokio::test]
async fn a_pooled_connection_closed_at_the_moment_of_reuse_costs_nothing() {
    // Each connection reads a second request and closes without a word: the worst moment there is.
    let closing = vec![Request, ok("first"), Request];
    for end in [vec![], vec![Reset]] {
        let script = [closing.clone(), end].concat();
        let server = Server::start(vec![script, vec![Request, ok("again")]]).await;
        let transport = transport();
        fetch(&transport, get(server.url("/"))).await.unwrap();
        let (_, body) = fetch(&transport, get(server.url("/"))).await.unwrap();
        assert_eq!(body, "again");
        assert_eq!(server.connections(), [0, 0, 1]);
    }
    // A request that may have been carried out is not sent twice.
    let server = Server::start(vec![closing, vec![Request, ok("again")]]).await;
    let transport = transport();
    fetch(&transport, get(server.url("/"))).await.unwrap();
    let failure = transport.send(post(server.url("/"), "x")).await.unwrap_err();
    assert!(failure.outcome_unknown);
    assert_eq!(server.connections(), [0, 0]);
}

#[tokio::test]
async fn a_misdirected_request_is_sent_once_more_on_a_fresh_connection() {
    let wrong = || say("HTTP/1.1 421 X\r\ncontent-length: 0\r\n\r\n");
    let server =
        Server::start(vec![vec![Request, ok("1"), Request, wrong(), Hold], vec![Request, ok("2"), Hold]]).await;
    let transport = transport();
    fetch(&transport, get(server.url("/"))).await.unwrap();
    let (answer, body) = fetch(&transport, post(server.url("/"), "data")).await.unwrap();
    assert_eq!((answer.status, body.as_str()), (200, "2"));
    assert_eq!(server.connections(), [0, 0, 1]);
    let server = Server::start(vec![vec![Request, wrong(), Hold], vec![Request, wrong(), Hold]]).await;
    let (answer, _) = fetch(&transport, get(server.url("/"))).await.unwrap();
    assert_eq!(answer.status, 421, "asked again once, not for ever");
}

#[tokio::test]
async fn many_connections_closed_while_idle_are_passed_over() {
    let count = 20;
    let mut scripts = vec![vec![Request, ok("early")]; count];
    scripts.extend(vec![vec![Request, ok("late")]; count]);
    let server = Server::start(scripts).await;
    let transport = transport();
    for (wave, method) in [("early", "GET"), ("late", "POST")] {
        let calls: Vec<_> = (0..count)
            .map(|_| {
                let (transport, url) = (transport.clone(), server.url("/"));
                let call = Call { method: method.into(), ..get(url) };
                tokio::spawn(async move { fetch(&transport, call).await.unwrap().1 })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), wave);
        }
    }
}

#[tokio::test]
async fn bytes_beyond_the_length_are_never_the_next_answer() {
    let lie = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let server = Server::start(vec![vec![Request, say(lie), Request], vec![Request, ok("true")]]).await;
    let transport = transport();
    assert_eq!(fetch(&transport, get(server.url("/"))).await.unwrap().1, "hi");
    assert_eq!(fetch(&transport, get(server.url("/"))).await.unwrap().1, "true");
}

#[tokio::test]
async fn a_connection_with_two_framings_in_one_answer_is_not_used_again() {
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let server = Server::start(vec![vec![Request, say(both), Hold], vec![Request, ok("new")]]).await;
    let transport = transport();
    assert_eq!(fetch(&transport, get(server.url("/"))).await.unwrap().1, "hi");
    assert_eq!(fetch(&transport, get(server.url("/"))).await.unwrap().1, "new");
    assert_eq!(server.connections(), [0, 1]);
}

#[tokio::test]
async fn a_large_body_comes_in_large_pieces() {
    let size = 64 * 1024 * 1024;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    std::thread::spawn({
        let listener = listener.into_std().unwrap();
        listener.set_nonblocking(false).unwrap();
        move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            let piece = vec![7; 1024 * 1024];
            for _ in 0..size / piece.len() {
                stream.write_all(&piece).unwrap();
            }
        }
    });
    let mut answer = transport().send(get(url)).await.unwrap();
    let (mut total, mut pieces) = (0, 0);
    while let Some(piece) = answer.body.next().await.unwrap() {
        assert!(piece.len() <= 1024 * 1024);
        total += piece.len();
        pieces += 1;
    }
    assert_eq!(total, size);
    assert!(pieces < 4096, "{pieces} pieces: less than 16 KiB each");
}
