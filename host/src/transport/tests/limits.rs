//! Tests of time limits. They wait for limits of 60 ms, never for a fixed time.

use super::*;
use crate::error::FailureKind;

const SHORT: Duration = Duration::from_millis(60);

fn is_timeout(failure: &Failure, words: &str) {
    assert_eq!(failure.kind, FailureKind::Connection, "{failure}");
    assert_eq!(failure.detail, FailureDetail::Timeout, "{failure}");
    assert!(failure.description.contains(words), "{failure}");
    assert!(failure.description.contains("60 ms"), "{failure}");
}

#[tokio::test]
async fn a_server_that_never_answers_ends_the_wait_for_the_head() {
    let server = Server::start(vec![vec![Request, Hold], vec![Request, Hold]]).await;
    let call = Call { head_timeout: Some(SHORT), ..get(server.url("/?q=hidden")) };
    let failure = transport().send(call).await.unwrap_err();
    is_timeout(&failure, "response limit");
    assert!(!failure.outcome_unknown);
    assert!(!failure.description.contains("hidden"));
    let call = Call { head_timeout: Some(SHORT), ..post(server.url("/"), "x") };
    assert!(transport().send(call).await.unwrap_err().outcome_unknown);
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_a_connect_timeout_and_leaves_nothing_in_doubt() {
    let server = Server::one(vec![Hold]).await;
    let call = Call { connect_timeout: Some(SHORT), ..post(format!("https://127.0.0.1:{}/", server.port), "x") };
    let failure = transport().send(call).await.unwrap_err();
    is_timeout(&failure, "connect limit");
    assert!(!failure.outcome_unknown);
}

#[tokio::test]
async fn a_body_that_stops_is_idle_after_its_limit() {
    let said = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let server = Server::one(vec![Request, say(said), Hold]).await;
    let call = Call { idle_timeout: Some(SHORT), ..get(server.url("/")) };
    let mut answer = transport().send(call).await.unwrap();
    assert_eq!(answer.body.next().await.unwrap().unwrap(), "half");
    let failure = answer.body.next().await.unwrap_err();
    is_timeout(&failure, "idle limit");
    assert!(failure.description.contains("4 bytes"));
    assert_eq!(answer.body.next().await.unwrap_err(), failure);
}

#[tokio::test]
async fn a_trickle_below_the_low_speed_limit_is_a_stall_and_one_above_is_not() {
    for (low_speed_bytes, fits) in [(1_000_000, false), (1, true)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await.unwrap();
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            for _ in 0..40 {
                tick.tick().await;
                let _ = stream.write_all(b"x").await;
            }
        });
        let call = Call { low_speed_bytes, low_speed_window: SHORT, ..get(format!("http://127.0.0.1:{port}/")) };
        let outcome = fetch(&transport(), call).await;
        assert_eq!(outcome.is_ok(), fits);
        if let Err(failure) = outcome {
            is_timeout(&failure, "low-speed limit");
        }
    }
}

#[tokio::test]
async fn time_the_caller_takes_between_pieces_counts_for_no_limit() {
    let said = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        wait.await.unwrap();
        stream.write_all(b"done").await.unwrap();
    });
    let call = Call {
        idle_timeout: Some(SHORT),
        low_speed_bytes: 1,
        low_speed_window: SHORT,
        ..get(format!("http://127.0.0.1:{port}/"))
    };
    let mut answer = transport().send(call).await.unwrap();
    assert_eq!(answer.body.next().await.unwrap().unwrap(), "half");
    #[expect(clippy::disallowed_methods, reason = "stands for a slow disk, which blocks this thread")]
    std::thread::sleep(SHORT * 2);
    go.send(()).unwrap();
    assert_eq!(answer.body.next().await.unwrap().unwrap(), "done");
}

#[tokio::test]
async fn dropping_a_call_closes_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let transport = transport();
    let call = tokio::spawn(async move { transport.send(get(url)).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    read_request(&mut stream).await.unwrap();
    call.abort();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn dropping_a_body_closes_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let transport = transport();
    let call = tokio::spawn(async move { transport.send(get(url)).await.unwrap() });
    let (mut stream, _) = listener.accept().await.unwrap();
    read_request(&mut stream).await.unwrap();
    let said = "HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\nstart";
    stream.write_all(said.as_bytes()).await.unwrap();
    let mut answer = call.await.unwrap();
    answer.body.next().await.unwrap();
    drop(answer);
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn interim_answers_that_do_not_end_are_too_many_however_few() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        let mut tick = tokio::time::interval(SHORT / 2);
        while stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.is_ok() {
            tick.tick().await;
        }
    });
    let call = Call { interim_timeout: SHORT, ..get(url) };
    let failure = transport().send(call).await.map(drop).unwrap_err();
    assert_eq!(failure.detail, FailureDetail::Protocol, "{failure}");
    assert!(failure.description.contains("60 ms"), "{failure}");
}
