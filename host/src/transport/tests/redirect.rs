//! Tests of redirects: the rules as tables on the pure function, and whole chains between servers.

use super::super::redirect::{Hop, Visit, next};
use super::*;
use crate::error::FailureKind;
use http::HeaderValue;

fn hop(method: &str, url: &str, body: &'static str) -> Hop {
    Hop {
        method: method.into(),
        url: Url::parse(url).unwrap(),
        headers: vec![],
        body: Bytes::from_static(body.as_bytes()).into(),
        login: None,
    }
}

fn up_to(max_redirects: u32) -> Call {
    Call { max_redirects, ..Call::new("GET", "http://a/") }
}

fn bytes(payload: &Payload) -> &[u8] {
    match payload {
        Payload::Bytes(bytes) => bytes,
        Payload::Source(source) => panic!("{source:?}"),
    }
}

fn to(hop: &Hop, status: u16, location: &str) -> Result<Hop, Failure> {
    next(hop, status, &[location.to_owned()], 0, &up_to(10))
}

#[test]
fn a_location_that_is_too_long_is_a_redirect_that_is_refused() {
    let long = format!("/{}", "x".repeat(70_000));
    let failure = to(&hop("GET", "http://a/x", ""), 302, &long).unwrap_err();
    assert_eq!((failure.kind, failure.detail), (FailureKind::HttpResponse, FailureDetail::Redirect));
    assert!(failure.description.contains("to a URL of 70009 bytes"), "{failure}");
    let short = to(&hop("GET", "http://a/x", ""), 302, &long[..60_000]).unwrap();
    assert!(short.url.as_str().parse::<http::Uri>().is_ok());
    let limit = next(&hop("GET", "http://a/x", ""), 302, &["/y".into()], 1, &up_to(1)).unwrap_err();
    assert!(limit.description.contains("again after 1 redirect, which"), "{limit}");
}

#[test]
fn methods_and_bodies_after_each_status_are_those_of_the_standard() {
    #[rustfmt::skip]
    let table = [
        // method, body, status, method after (empty: refused), body after
        ("GET", "", 301, "GET", ""), ("GET", "", 302, "GET", ""), ("GET", "", 303, "GET", ""),
        ("GET", "", 307, "GET", ""), ("GET", "", 308, "GET", ""),
        ("HEAD", "", 301, "HEAD", ""), ("HEAD", "", 303, "HEAD", ""), ("HEAD", "", 308, "HEAD", ""),
        ("POST", "b", 301, "GET", ""), ("POST", "b", 302, "GET", ""), ("POST", "b", 303, "GET", ""),
        ("POST", "b", 307, "POST", "b"), ("POST", "b", 308, "POST", "b"),
        ("PUT", "b", 301, "", ""), ("PUT", "b", 302, "", ""), ("PUT", "b", 303, "GET", ""),
        ("PUT", "b", 307, "PUT", "b"), ("PATCH", "b", 301, "", ""), ("PATCH", "b", 308, "PATCH", "b"),
        ("PUT", "", 301, "PUT", ""), ("DELETE", "", 302, "DELETE", ""), ("DELETE", "", 303, "GET", ""),
    ];
    for (method, body, status, after, body_after) in table {
        let outcome = to(&hop(method, "http://a/x", body), status, "/y");
        match outcome {
            Ok(next) => {
                assert_eq!(
                    (next.method.as_str(), bytes(&next.body)),
                    (after, body_after.as_bytes()),
                    "{method} {status}"
                )
            }
            Err(failure) => {
                assert_eq!(after, "", "{method} {status}: {failure}");
                assert_eq!(failure.kind, FailureKind::HttpResponse);
                assert_eq!(failure.detail, FailureDetail::Redirect);
                assert_eq!(failure.http_status, Some(status));
            }
        }
    }
}

#[test]
fn locations_are_resolved_and_stripped() {
    for (location, expected) in [
        ("/y", "http://a/y"),
        ("y?z=1#part", "http://a/d/y?z=1"),
        ("//b/y", "http://b/y"),
        ("  https://b:8443/y  ", "https://b:8443/y"),
        ("http://user:pass@b/", "http://b/"),
        ("?only", "http://a/d/x?only"),
        ("http://b/\u{e9}", "http://b/%C3%A9"),
    ] {
        let next = to(&hop("GET", "http://a/d/x", ""), 302, location).unwrap();
        assert_eq!(next.url.as_str(), expected);
    }
}

#[test]
fn redirects_that_cannot_be_followed_are_refused() {
    for (from, location) in [
        ("https://a/", "http://a/y"),
        ("https://a/", "ftp://a/y"),
        ("http://a/", "file:///etc/passwd"),
        ("http://a/", "javascript:1"),
        ("http://a/", ""),
        ("http://a/", "  "),
        ("http://a/", "http://"),
    ] {
        let failure = to(&hop("GET", from, ""), 302, location).unwrap_err();
        assert_eq!(failure.detail, FailureDetail::Redirect, "{location}");
    }
    let from = hop("GET", "http://a/", "");
    assert!(next(&from, 302, &[], 0, &up_to(10)).is_err());
    let two = |a: &str, b: &str| next(&from, 302, &[a.into(), b.into()], 0, &up_to(10));
    assert!(two("/x", "/y").is_err());
    assert!(two("/x", "/x").is_ok());
}

#[test]
fn too_many_redirects_are_refused() {
    let from = hop("GET", "http://a/3", "");
    let go = |max| next(&from, 302, &["/4".into()], 2, &up_to(max));
    assert!(go(3).is_ok());
    assert!(go(2).unwrap_err().description.contains("after 2 redirects"));
}

#[test]
fn a_request_is_there_again_when_method_place_and_cookies_are_the_same() {
    let visit = |method, url, cookies: Option<&'static str>| {
        Visit::of(&hop(method, url, ""), cookies.map(HeaderValue::from_static))
    };
    let first = visit("GET", "http://a/1", Some("a=1"));
    assert_eq!(first, visit("GET", "http://a/1", Some("a=1")));
    for other in [
        visit("POST", "http://a/1", Some("a=1")),
        visit("GET", "http://a/2", Some("a=1")),
        visit("GET", "http://a/1", Some("a=2")),
        visit("GET", "http://a/1", None),
    ] {
        assert_ne!(first, other);
    }
}

#[test]
fn a_body_that_must_be_kept_is_never_dropped_by_a_redirect() {
    let kept = Call { keep_body: true, ..up_to(10) };
    let go = |status| next(&hop("POST", "http://a/x", "b"), status, &["/y".into()], 0, &kept);
    for status in [301, 302] {
        assert!(go(status).unwrap_err().description.contains("lose the body"));
    }
    assert_eq!(bytes(&go(307).unwrap().body), b"b");
}

#[test]
fn only_harmless_headers_go_to_another_origin() {
    let mut from = hop("POST", "https://a/x", "b");
    let names = [
        "Authorization",
        "Cookie",
        "X-Api-Key",
        "Proxy-Authorization",
        "Accept",
        "Range",
        "If-Range",
        "User-Agent",
        "Accept-Language",
        "Accept-Encoding",
        "Content-Type",
        "Referer",
    ];
    from.headers = names.iter().map(|name| ((*name).into(), "v".into())).collect();
    let left = |location: &str, status| -> Vec<String> {
        let next = to(&from, status, location).unwrap();
        next.headers.into_iter().map(|(name, _)| name).collect()
    };
    let safe = ["Accept", "Range", "If-Range", "User-Agent", "Accept-Language", "Accept-Encoding"];
    assert_eq!(left("/y", 307), names);
    assert_eq!(left("/y", 302).len(), names.len() - 1); // no body, no Content-Type
    assert_eq!(left("https://b/", 302), safe);
    assert_eq!(left("https://a:444/", 302), safe);
    let with_body: Vec<_> = safe.iter().chain(&["Content-Type"]).copied().collect();
    assert_eq!(left("https://b/", 308), with_body);
}

fn moved(location: &str) -> Step {
    say(format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 4\r\n\r\nmore"))
}

#[tokio::test]
async fn credentials_never_reach_another_origin_nor_come_back() {
    // The first origin is asked again after the detour, on its kept connection.
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = first.local_addr().unwrap().port();
    drop(first);
    let other = Server::one(vec![Request, moved(&format!("http://127.0.0.1:{port}/back"))]).await;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let log: Log = Arc::default();
    let seen = log.clone();
    let script = vec![Request, moved(&other.url("/away")), Request, ok("end")];
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        play(0, stream, script, log).await;
    });
    let mut call = get(format!("http://me:pass%21@127.0.0.1:{port}/start#f"));
    call.headers = vec![("X-Api-Key".into(), "k".into()), ("Range".into(), "bytes=1-".into())];
    let (answer, body) = fetch(&transport(), call).await.unwrap();
    assert_eq!(body, "end");
    assert_eq!(answer.url, format!("http://127.0.0.1:{port}/back"));
    assert_eq!(answer.hops, [format!("http://127.0.0.1:{port}/start"), other.url("/away")]);
    let seen = seen.lock().unwrap();
    assert!(seen[0].1.starts_with("GET /start HTTP/1.1\r\n"));
    assert!(seen[0].1.contains("authorization: Basic bWU6cGFzcyE=\r\n"));
    assert!(seen[0].1.contains("x-api-key: k\r\n"));
    for later in [&other.seen()[0], &seen[1].1] {
        assert!(!later.contains("authorization"), "{later}");
        assert!(!later.contains("x-api-key"), "{later}");
        assert!(later.contains("range: bytes=1-\r\n"));
    }
}

#[tokio::test]
async fn without_following_a_redirect_is_the_answer() {
    for (follow, max_redirects) in [(false, 10), (true, 0)] {
        let server = Server::one(vec![Request, moved("/y")]).await;
        let call = Call { follow, max_redirects, ..get(server.url("/")) };
        let (answer, body) = fetch(&transport(), call).await.unwrap();
        assert_eq!((answer.status, body.as_str()), (302, "more"));
        assert_eq!(answer.header("location"), Some("/y"));
    }
}

#[tokio::test]
async fn three_hundred_and_not_modified_are_answers() {
    for status in [300, 304] {
        let head = format!("HTTP/1.1 {status} X\r\nlocation: /y\r\ncontent-length: 0\r\n\r\n");
        let server = Server::one(vec![Request, say(head)]).await;
        let answer = transport().send(get(server.url("/"))).await.unwrap();
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn a_short_redirect_keeps_its_connection() {
    let server = Server::one(vec![Request, moved("/y"), Request, ok("there")]).await;
    let (_, body) = fetch(&transport(), get(server.url("/x"))).await.unwrap();
    assert_eq!(body, "there");
    assert_eq!(server.connections(), [0, 0]);
}

#[tokio::test]
async fn a_posted_body_goes_along_with_307() {
    let go = "HTTP/1.1 307 X\r\nlocation: /y\r\ncontent-length: 0\r\n\r\n";
    let server = Server::one(vec![Request, say(go), Request, ok("")]).await;
    fetch(&transport(), post(server.url("/x"), "data")).await.unwrap();
    assert!(server.seen()[1].starts_with("POST /y "));
    assert!(server.seen()[1].ends_with("\r\n\r\ndata"));
}

#[tokio::test]
async fn a_redirect_that_asks_to_wait_is_followed_after_that_wait() {
    let later = |wait: &str| {
        say(format!("HTTP/1.1 302 Found\r\nlocation: /y\r\nretry-after: {wait}\r\ncontent-length: 0\r\n\r\n"))
    };
    let server = Server::one(vec![Request, later("1"), Request, ok("there")]).await;
    let began = crate::clock::now();
    let (_, body) = fetch(&transport(), get(server.url("/x"))).await.unwrap();
    assert_eq!(body, "there");
    assert!(began.elapsed() >= Duration::from_secs(1));
    let server = Server::one(vec![Request, later("301")]).await;
    let failure = fetch(&transport(), get(server.url("/x"))).await.map(drop).unwrap_err();
    assert_eq!((failure.detail, failure.http_status), (FailureDetail::Redirect, Some(302)), "{failure}");
    assert!(failure.description.contains("wait 301 s"), "{failure}");
}
