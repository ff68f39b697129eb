//! Tests of proxies: http ones with their logins, SOCKS, and who goes around them.

use super::*;
use crate::error::FailureKind;

fn through(proxy: &Server, userinfo: &str) -> Transport {
    Transport::new(TransportSettings {
        proxy: ProxySettings::all(format!("http://{userinfo}127.0.0.1:{}", proxy.port)),
        ..TransportSettings::default()
    })
}

#[tokio::test]
async fn plain_http_goes_through_a_proxy_in_absolute_form_with_its_credentials() {
    let proxy = Server::one(vec![Request, ok("by proxy")]).await;
    let call = get("http://origin.invalid/x?y=z");
    let (answer, body) = fetch(&through(&proxy, "u:p@"), call).await.unwrap();
    assert_eq!(body, "by proxy");
    assert_eq!(answer.url, "http://origin.invalid/x?y=z");
    let seen = proxy.seen().remove(0);
    assert!(seen.starts_with("GET http://origin.invalid/x?y=z HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("proxy-authorization: Basic dTpw\r\n"));
    assert!(seen.contains("host: origin.invalid\r\n"));
}

#[tokio::test]
async fn a_proxy_that_refuses_a_tunnel_is_an_http_failure_with_its_status() {
    let said = "HTTP/1.1 407 Authenticate\r\ncontent-length: 4\r\n\r\nbody";
    let proxy = Server::one(vec![Request, say(said), Hold]).await;
    let call = get("https://origin.invalid/secret");
    let failure = through(&proxy, "").send(call).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::HttpResponse);
    assert_eq!(failure.http_status, Some(407));
    let seen = proxy.seen().remove(0);
    assert!(seen.starts_with("CONNECT origin.invalid:443 HTTP/1.1\r\nHost: origin.invalid:443\r\n"));
}

#[tokio::test]
async fn a_proxy_that_speaks_no_http_or_closes_is_told() {
    for (script, detail) in [
        (vec![Request, say("220 ftp ready\r\n\r\n")], FailureDetail::Protocol),
        (vec![Request], FailureDetail::NotConnected),
    ] {
        let proxy = Server::one(script).await;
        let call = get("https://origin.invalid/");
        let failure = through(&proxy, "").send(call).await.unwrap_err();
        assert_eq!(failure.detail, detail, "{failure}");
    }
    let wrong =
        TransportSettings { proxy: ProxySettings::all("ftp://u:p@127.0.0.1:1"), ..TransportSettings::default() };
    let sentence = wrong.check().unwrap_err().to_string();
    assert!(sentence.contains("`ftp:`") && !sentence.contains("u:p"), "{sentence}");
    let failure = Transport::new(wrong).send(get("http://a.invalid/")).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Url);
}

#[tokio::test]
async fn under_the_guard_a_proxy_is_not_asked_for_private_addresses() {
    let proxy = Server::one(vec![Request, ok("got around")]).await;
    let guard = Guard::Public { private_hosts: [].into(), led_by: None };
    let call = Call { guard, ..get("http://127.0.0.1:1/") };
    let failure = through(&proxy, "").send(call).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Policy);
    assert!(proxy.seen().is_empty());
}

#[tokio::test]
async fn a_proxy_that_asks_for_digest_gets_it_and_no_password_any_more() {
    let asks = || {
        say(
            "HTTP/1.1 407 X\r\nproxy-authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\ncontent-length: 0\r\n\r\n",
        )
    };
    let proxy = Server::one(vec![Request, asks(), Request, ok("1"), Request, ok("2")]).await;
    let transport = through(&proxy, "u:p@");
    for expected in ["1", "2"] {
        let (answer, body) = fetch(&transport, get("http://origin.invalid/x")).await.unwrap();
        assert_eq!((answer.status, body.as_str()), (200, expected));
    }
    let seen = proxy.seen();
    assert!(seen[0].contains("proxy-authorization: Basic "), "{}", seen[0]);
    for (request, count) in seen[1..].iter().zip(["nc=00000001", "nc=00000002"]) {
        assert!(request.contains("uri=\"http://origin.invalid/x\"") && request.contains(count), "{request}");
    }
    let tunnel = Server::start(vec![vec![Request, asks(), Hold], vec![Request, asks(), Hold]]).await;
    let failure = through(&tunnel, "u:p@").send(get("https://origin.invalid/")).await.unwrap_err();
    assert_eq!(failure.http_status, Some(407), "{failure}");
    let seen = tunnel.seen();
    assert_eq!(seen.len(), 2, "asked once more, with the proof: {seen:?}");
    assert!(seen[1].contains("Digest username=\"u\"") && seen[1].contains("uri=\"origin.invalid:443\""), "{}", seen[1]);
}

#[tokio::test]
async fn a_proxy_that_must_ask_for_digest_gets_no_password_before_it_has() {
    let asks =
        || say("HTTP/1.1 407 X\r\nproxy-authenticate: Digest realm=\"r\", nonce=\"n\"\r\ncontent-length: 0\r\n\r\n");
    let wary = |proxy: &Server| {
        let url = format!("http://u:p@127.0.0.1:{}", proxy.port);
        let proxy = ProxySettings { digest_only: true, ..ProxySettings::all(url) };
        Transport::new(TransportSettings { proxy, ..TransportSettings::default() })
    };
    let proxy = Server::one(vec![Request, asks(), Request, ok("1")]).await;
    assert_eq!(fetch(&wary(&proxy), get("http://origin.invalid/x")).await.unwrap().1, "1");
    let tunnel = Server::start(vec![vec![Request, asks(), Hold], vec![Request, asks(), Hold]]).await;
    wary(&tunnel).send(get("https://origin.invalid/")).await.unwrap_err();
    for seen in [proxy.seen(), tunnel.seen()] {
        assert!(!seen[0].contains("proxy-authorization") && !seen[0].contains("Proxy-Authorization"), "{}", seen[0]);
        assert!(seen[1].contains("Digest username=\"u\""), "{}", seen[1]);
    }
    let basic = "HTTP/1.1 407 X\r\nproxy-authenticate: Basic realm=\"r\"\r\ncontent-length: 0\r\n\r\n";
    let lax = Server::one(vec![Request, say(basic), Hold]).await;
    assert_eq!(wary(&lax).send(get("http://origin.invalid/x")).await.unwrap().status, 407);
    assert_eq!(lax.seen().len(), 1, "not even where it asks for it in the clear");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_not_taken_for_the_server() {
    let proxy = ProxySettings::all("http://127.0.0.1:9");
    let transport = Transport::new(TransportSettings { proxy, ..TransportSettings::default() });
    let failure = transport.send(get("http://origin.invalid/x")).await.unwrap_err();
    assert!(failure.description.starts_with("the proxy cannot be reached: "), "{failure}");
}

#[tokio::test]
async fn hosts_of_the_bypass_list_are_reached_without_the_proxy() {
    let proxy = Server::one(vec![Request, ok("by proxy")]).await;
    let server = Server::one(vec![Request, ok("direct")]).await;
    let bypass = "127.0.0.0/8,localhost".to_owned();
    let settings = ProxySettings { bypass, ..ProxySettings::all(format!("http://u:p@127.0.0.1:{}", proxy.port)) };
    let transport = Transport::new(TransportSettings { proxy: settings, ..TransportSettings::default() });
    assert_eq!(fetch(&transport, get(server.url("/"))).await.unwrap().1, "direct");
    assert_eq!(fetch(&transport, get("http://origin.invalid/")).await.unwrap().1, "by proxy");
    assert!(!server.seen()[0].contains("proxy-authorization"), "the proxy's password is the proxy's");
    assert!(server.seen()[0].starts_with("GET / "), "{}", server.seen()[0]);
}

/// A SOCKS5 server for one connection that wants this login; answers the bytes of the request it was given.
async fn socks(login: Option<&'static [u8]>, onward: u16) -> (u16, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let handle = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut greeting = vec![0; if login.is_some() { 4 } else { 3 }];
        stream.read_exact(&mut greeting).await.unwrap();
        stream.write_all(&[5, if login.is_some() { 2 } else { 0 }]).await.unwrap();
        if let Some(expected) = login {
            let mut given = vec![0; expected.len()];
            stream.read_exact(&mut given).await.unwrap();
            stream.write_all(&[1, u8::from(given != expected)]).await.unwrap();
        }
        let mut request = vec![0; 4];
        stream.read_exact(&mut request).await.unwrap_or_default();
        let length = if request[3] == 3 { usize::from(stream.read_u8().await.unwrap()) } else { 4 };
        let mut rest = vec![0; length + 2];
        stream.read_exact(&mut rest).await.unwrap();
        request.extend(rest);
        let verdict = if onward == 0 { 5 } else { 0 };
        stream.write_all(&[5, verdict, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        if let Ok(mut onward) = TcpStream::connect(("127.0.0.1", onward)).await {
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut stream, &mut onward).await });
        }
        request
    });
    (port, handle)
}

async fn fetch_by_socks(scheme: &str, port: u16, url: &str) -> Result<(Answer, String), Failure> {
    let proxy = ProxySettings::all(format!("{scheme}127.0.0.1:{port}"));
    fetch(&Transport::new(TransportSettings { proxy, ..TransportSettings::default() }), get(url)).await
}

#[tokio::test]
async fn socks_is_given_a_name_or_an_address_as_its_scheme_says() {
    let server = Server::start(vec![vec![Request, ok("there")], vec![Request, ok("there")]]).await;
    let (port, asked) = socks(Some(b"\x01\x01u\x03p:w"), server.port).await;
    let (_, body) = fetch_by_socks("socks5h://u:p%3Aw@", port, "http://origin.invalid:81/x").await.unwrap();
    assert_eq!(body, "there");
    assert_eq!(asked.await.unwrap(), [&[5, 1, 0, 3], b"origin.invalid".as_slice(), &[0, 81]].concat());
    assert!(server.seen()[0].starts_with("GET /x HTTP/1.1\r\n"), "not the form for http proxies: {}", server.seen()[0]);
    let (port, asked) = socks(None, server.port).await;
    fetch_by_socks("socks5://", port, "http://localhost:81/x").await.unwrap();
    assert_eq!(asked.await.unwrap(), [5, 1, 0, 1, 127, 0, 0, 1, 0, 81]);
}

#[tokio::test]
async fn what_socks_refuses_is_told() {
    let (port, _) = socks(Some(b"\x01\x01u\x01p"), 1).await;
    let failure = fetch_by_socks("socks5h://u:q@", port, "http://origin.invalid/").await.unwrap_err();
    assert_eq!((failure.kind, failure.http_status), (FailureKind::HttpResponse, Some(407)), "{failure}");
    let (port, _) = socks(None, 0).await;
    let failure = fetch_by_socks("socks5h://", port, "http://origin.invalid/").await.unwrap_err();
    assert_eq!(failure.detail, FailureDetail::NotConnected, "{failure}");
    assert!(failure.description.contains("was refused there"), "{failure}");
    let web = Server::one(vec![say("HTTP/1.1 400 Bad\r\n\r\n"), Hold]).await;
    let failure = fetch_by_socks("socks5h://", web.port, "http://origin.invalid/").await.unwrap_err();
    assert_eq!(failure.detail, FailureDetail::Protocol, "{failure}");
}
