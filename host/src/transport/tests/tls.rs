//! Tests of TLS with certificates made on the spot: trust, pins, names, dates, HTTP/2.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::error::FailureKind;

struct Secure {
    port: u16,
    /// The certificate as a file, to be trusted.
    pem: NamedTempFile,
    pin: String,
}

/// A server that answers with the HTTP version it was asked in, on any number of connections.
async fn secure(protocols: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Secure {
    secure_with(protocols, change, |builder| builder.with_no_client_auth()).await
}

type Builder<State> = rustls::ConfigBuilder<ServerConfig, State>;

/// The same, with a say in whom it lets in.
async fn secure_with(
    protocols: &[&str],
    change: impl FnOnce(&mut CertificateParams),
    clients: impl FnOnce(Builder<rustls::WantsVerifier>) -> Builder<rustls::server::WantsServerCert>,
) -> Secure {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    // Names of their own, else one stranger is taken for another's issuer.
    let name = base64::engine::general_purpose::STANDARD.encode(key.public_key_raw());
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    change(&mut params);
    let cert = params.self_signed(&key).unwrap();
    let mut pem = NamedTempFile::new().unwrap();
    pem.write_all(cert.pem().as_bytes()).unwrap();
    let digest = Sha256::digest(key.subject_public_key_info());
    let pin = base64::engine::general_purpose::STANDARD.encode(digest);
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12, &rustls::version::TLS13])
        .unwrap();
    let mut config = clients(builder)
        .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let has_refused = Arc::new(AtomicBool::new(false));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, has_refused) = (acceptor.clone(), Arc::clone(&has_refused));
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer_versions(stream, &has_refused).await;
                }
            });
        }
    });
    Secure { port, pem, pin: format!("sha256//{pin}") }
}

async fn answer_versions(stream: tokio_rustls::server::TlsStream<TcpStream>, has_refused: &AtomicBool) {
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
        let text = format!("{:?} {}", request.version(), request.uri().path());
        Ok::<_, std::convert::Infallible>(http::Response::new(http_body_util::Full::new(Bytes::from(text))))
    });
    if is_h2 {
        return answer_streams(stream, has_refused).await;
    }
    let builder = hyper::server::conn::http1::Builder::new();
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// The same over HTTP/2, but that the first request for `/refused` is refused unread, the stream of `/reset` reset, and the
/// answer of `/malformed` none.
async fn answer_streams(stream: tokio_rustls::server::TlsStream<TcpStream>, has_refused: &AtomicBool) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if request.uri().path() == "/refused" && !has_refused.swap(true, Ordering::SeqCst) {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            continue;
        }
        if request.uri().path() == "/reset" {
            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"half"), false).unwrap();
            written(&mut connection).await;
            body.send_reset(h2::Reason::NO_ERROR);
            continue;
        }
        let text = format!("{:?} {}", request.version(), request.uri().path());
        let length = if request.uri().path() == "/malformed" { "x".to_owned() } else { text.len().to_string() };
        let response = http::Response::builder().header("content-length", length).body(()).unwrap();
        respond.send_response(response, false).unwrap().send_data(Bytes::from(text), true).unwrap();
    }
}

/// Writes what waits to be written.
async fn written<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    connection: &mut h2::server::Connection<T, Bytes>,
) {
    for _ in 0..10 {
        std::future::poll_fn(|cx| {
            let _ = connection.poll_closed(cx);
            std::task::Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
    }
}

impl Secure {
    fn settings(&self) -> TransportSettings {
        TransportSettings { cacert: Some(self.pem.path().to_owned()), ..TransportSettings::default() }
    }

    async fn ask(&self, settings: TransportSettings) -> Result<(Answer, String), Failure> {
        let url = format!("https://localhost:{}/path?q=hidden", self.port);
        fetch(&Transport::new(settings), get(url)).await
    }

    async fn refusal(&self, settings: TransportSettings) -> String {
        let failure = self.ask(settings).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Connection);
        assert_eq!(failure.detail, FailureDetail::Tls, "{failure}");
        assert!(!failure.description.contains("hidden"));
        failure.description
    }
}

#[tokio::test]
async fn an_unknown_certificate_is_refused_and_a_named_one_accepted() {
    let server = secure(&["h2", "http/1.1"], |_| {}).await;
    let stranger = secure(&[], |_| {}).await;
    let text = server.refusal(stranger.settings()).await;
    assert!(text.contains(&format!("localhost:{} is not issued by", server.port)), "{text}");
    let (answer, body) = server.ask(server.settings()).await.unwrap();
    assert_eq!(body, "HTTP/2.0 /path");
    assert!(!answer.insecure);
    assert_eq!(answer.framing, Framing::Length(14));
}

#[tokio::test]
async fn a_cas_own_certificate_is_accepted_when_the_user_names_it() {
    let of_a_ca =
        |params: &mut CertificateParams| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let server = secure(&[], of_a_ca).await;
    assert_eq!(server.ask(server.settings()).await.unwrap().1, "HTTP/1.1 /path");
    let stranger = secure(&[], |_| {}).await;
    let text = server.refusal(stranger.settings()).await;
    assert!(text.contains("is a CA's own"), "{text}");

    let elsewhere = |params: &mut CertificateParams| {
        of_a_ca(params);
        params.subject_alt_names = vec![rcgen::SanType::DnsName("elsewhere".try_into().unwrap())];
    };
    let server = secure(&[], elsewhere).await;
    let text = server.refusal(server.settings()).await;
    assert!(text.contains("is for another host"), "{text}");

    let long_ago = |params: &mut CertificateParams| {
        of_a_ca(params);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    };
    let server = secure(&[], long_ago).await;
    let text = server.refusal(server.settings()).await;
    assert!(text.contains("expired on"), "{text}");
}

#[tokio::test]
async fn http2_is_used_only_when_both_sides_want_it() {
    let server = secure(&["h2", "http/1.1"], |_| {}).await;
    let settings = TransportSettings { http2: false, ..server.settings() };
    assert_eq!(server.ask(settings).await.unwrap().1, "HTTP/1.1 /path");
    let old = secure(&["http/1.1"], |_| {}).await;
    assert_eq!(old.ask(old.settings()).await.unwrap().1, "HTTP/1.1 /path");
    let silent = secure(&[], |_| {}).await;
    assert_eq!(silent.ask(silent.settings()).await.unwrap().1, "HTTP/1.1 /path");
}

#[tokio::test]
async fn many_requests_at_once_share_http2_connections() {
    let server = secure(&["h2"], |_| {}).await;
    let transport = Transport::new(server.settings());
    let url = format!("https://localhost:{}/", server.port);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (transport, url) = (transport.clone(), url.clone());
            tokio::spawn(async move { fetch(&transport, get(url)).await.unwrap().1 })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), "HTTP/2.0 /");
    }
}

#[tokio::test]
async fn a_request_that_is_refused_unread_is_sent_again_whatever_its_method() {
    let server = secure(&["h2"], |_| {}).await;
    let transport = Transport::new(server.settings());
    let call = Call::new("POST", format!("https://localhost:{}/refused", server.port));
    assert_eq!(fetch(&transport, call).await.unwrap().1, "HTTP/2.0 /refused");
}

#[tokio::test]
async fn a_malformed_answer_of_http2_is_an_error_of_the_protocol() {
    let server = secure(&["h2"], |_| {}).await;
    let url = format!("https://localhost:{}/malformed", server.port);
    let failure = Transport::new(server.settings()).send(get(url)).await.unwrap_err();
    assert_eq!(failure.detail, FailureDetail::Protocol, "{failure}");
    assert!(failure.description.contains("not proper HTTP/2"), "{failure}");
}

#[tokio::test]
async fn a_request_above_the_last_one_of_a_goaway_is_sent_again_at_once_whatever_its_method() {
    let config = Arc::new(localhost(&["h2"]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(config);
        let mut stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap(); // SETTINGS
        stream.read_exact(&mut [0; 24]).await.unwrap();
        let mut head = [0; 9];
        while head[3] != 1 {
            stream.read_exact(&mut head).await.unwrap(); // until HEADERS
            let mut frame = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut frame).await.unwrap();
        }
        stream.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap(); // GOAWAY, last stream 0
        stream.flush().await.unwrap();
        let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        answer_streams(stream, &AtomicBool::new(true)).await;
    });
    let insecure = TransportSettings { insecure: true, ..TransportSettings::default() };
    let call =
        Call { body: Bytes::from_static(b"x").into(), ..Call::new("POST", format!("https://localhost:{port}/p")) };
    assert_eq!(fetch(&Transport::new(insecure), call).await.unwrap().1, "HTTP/2.0 /p");
}

#[tokio::test]
async fn a_wrong_scheme_is_hinted_at() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let transport = Transport::new(TransportSettings::default());
    for (scheme, other) in [("http", "https"), ("https", "http")] {
        let failure = transport.send(get(format!("{scheme}://{place}/"))).await.unwrap_err();
        assert!(failure.description.contains(&format!("begins with `{other}:`")), "{failure}");
    }
}

#[tokio::test]
async fn insecure_accepts_any_certificate_and_says_so() {
    let server = secure(&["h2"], |_| {}).await;
    let insecure = TransportSettings { insecure: true, ..TransportSettings::default() };
    let (answer, _) = server.ask(insecure.clone()).await.unwrap();
    assert!(answer.insecure);
    let plain = Server::one(vec![Request, ok("")]).await;
    let answer = Transport::new(insecure).send(get(plain.url("/"))).await.unwrap();
    assert!(!answer.insecure);
}

#[tokio::test]
async fn a_pinned_key_must_be_the_servers_with_or_without_other_checks() {
    let server = secure(&["h2"], |_| {}).await;
    let other = secure(&["h2"], |_| {}).await;
    for insecure in [false, true] {
        let with = |pins: &[&str]| TransportSettings {
            insecure,
            pinned_keys: pins.iter().map(|pin| (*pin).to_owned()).collect(),
            ..server.settings()
        };
        let (answer, _) = server.ask(with(&[&other.pin, &server.pin])).await.unwrap();
        assert!(!answer.insecure);
        let text = server.refusal(with(&[&other.pin])).await;
        assert!(text.contains("none of the pinned"), "{text}");
        let text = server.refusal(with(&["sha256//short"])).await;
        assert!(text.contains("is not `sha256//`"), "{text}");
    }
    // A pin does not replace the trust that was not given up.
    let untrusted = TransportSettings { pinned_keys: vec![server.pin.clone()], ..other.settings() };
    assert!(server.refusal(untrusted).await.contains("not issued"));
}

#[tokio::test]
async fn an_expired_certificate_is_told_with_both_times() {
    let server = secure(&["h2"], |params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    })
    .await;
    let text = server.refusal(server.settings()).await;
    assert!(text.contains("expired on Wed, 01 Jan 2020"), "{text}");
    assert!(text.contains("clock of this machine says"), "{text}");
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let server = secure(&["h2"], |params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("other.example".try_into().unwrap())];
    })
    .await;
    assert!(server.refusal(server.settings()).await.contains("is for another host"));
}

#[tokio::test]
async fn a_file_that_holds_no_certificates_is_told_by_name() {
    let server = secure(&["h2"], |_| {}).await;
    let file = NamedTempFile::new().unwrap();
    let settings = TransportSettings { cacert: Some(file.path().to_owned()), ..server.settings() };
    assert!(server.refusal(settings).await.contains("it holds none"));
    let settings = TransportSettings { cacert: Some("/nowhere.pem".into()), ..server.settings() };
    assert!(server.refusal(settings).await.contains("/nowhere.pem"));
}

#[tokio::test]
async fn a_server_without_tls_is_a_breach_and_one_that_hangs_up_is_not_connected() {
    for (script, detail) in [
        (vec![say("HTTP/1.1 400 Bad Request\r\n\r\n"), Hold], FailureDetail::Protocol),
        (vec![], FailureDetail::NotConnected),
    ] {
        let server = Server::one(script).await;
        let url = format!("https://127.0.0.1:{}/", server.port);
        let insecure = TransportSettings { insecure: true, ..TransportSettings::default() };
        let failure = Transport::new(insecure).send(get(url)).await.unwrap_err();
        assert_eq!(failure.detail, detail, "{failure}");
        assert!(!failure.outcome_unknown);
    }
}

#[tokio::test]
async fn https_goes_through_a_tunnel_of_the_proxy() {
    let server = secure(&["h2"], |_| {}).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap().port();
    let (port, log) = (server.port, Log::default());
    let seen = log.clone();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_request(&mut stream).await.unwrap();
        log.lock().unwrap().push((0, head));
        let mut onward = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let said = b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"; // its length means nothing
        stream.write_all(said).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
    });
    let settings =
        TransportSettings { proxy: ProxySettings::all(format!("http://u:p@127.0.0.1:{proxy}")), ..server.settings() };
    let (_, body) = server.ask(settings).await.unwrap();
    assert_eq!(body, "HTTP/2.0 /path");
    let seen = seen.lock().unwrap();
    assert!(seen[0].1.starts_with(&format!("CONNECT localhost:{port} HTTP/1.1\r\n")));
    assert!(seen[0].1.contains("Proxy-Authorization: Basic dTpw\r\n"));
}

#[tokio::test]
async fn a_body_until_close_without_the_end_of_tls_is_cut() {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
        read_request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").await.unwrap();
        stream.flush().await.unwrap();
        stream.into_inner().0.shutdown().await.unwrap(); // TCP's end without TLS's
    });
    let insecure = TransportSettings { insecure: true, ..TransportSettings::default() };
    let url = format!("https://localhost:{port}/");
    let failure = fetch(&Transport::new(insecure), get(url)).await.unwrap_err();
    assert_eq!(failure.detail, FailureDetail::Cut, "{failure}");
    assert!(failure.description.contains("after 4 bytes"), "{failure}");
}

/// A server of these protocols whose certificate nobody knows.
pub(super) fn localhost(protocols: &[&str]) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

#[tokio::test]
async fn a_lost_connection_of_http2_is_told_without_a_link_for_programmers() {
    let config = localhost(&["h2"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let stream = listener.accept().await.unwrap().0.into_std().unwrap();
        let end = stream.try_clone().unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        let stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        let head = http::Response::builder().header("content-length", 8).body(()).unwrap();
        let mut body = respond.send_response(head, false).unwrap();
        body.send_data(Bytes::from_static(b"half"), false).unwrap();
        written(&mut connection).await;
        end.shutdown(std::net::Shutdown::Write).unwrap(); // TCP's end without TLS's
        let _ = std::future::poll_fn(|cx| connection.poll_closed(cx)).await;
    });
    let insecure = TransportSettings { insecure: true, ..TransportSettings::default() };
    let url = format!("https://localhost:{port}/");
    let failure = fetch(&Transport::new(insecure), get(url)).await.unwrap_err();
    assert_eq!(failure.detail, FailureDetail::Cut, "{failure}");
    assert!(failure.description.ends_with("after 4 of 8 bytes"), "{failure}");
}

#[tokio::test]
async fn a_stream_that_is_reset_without_an_error_is_no_whole_body() {
    let server = secure(&["h2"], |_| {}).await;
    let url = format!("https://localhost:{}/reset", server.port);
    let failure = fetch(&Transport::new(server.settings()), get(&url)).await.unwrap_err();
    assert_eq!(failure.detail, FailureDetail::Cut, "{failure}");
    assert!(failure.description.contains("lost after "), "{failure}");
}

#[tokio::test]
async fn only_the_hosts_named_insecure_go_unchecked() {
    let server = secure(&[], |_| {}).await;
    let named = |host: String| TransportSettings { insecure_hosts: vec![host], ..TransportSettings::default() };
    for host in ["localhost".to_owned(), format!("LOCALHOST:{}", server.port)] {
        let (answer, _) = server.ask(named(host)).await.unwrap();
        assert!(answer.insecure);
    }
    for host in ["local".to_owned(), "localhost:1".to_owned(), "other".to_owned()] {
        server.refusal(named(host)).await;
    }
    let pinned = TransportSettings { pinned_keys: vec![server.pin.clone()], ..named("localhost".into()) };
    assert!(!server.ask(pinned).await.unwrap().0.insecure, "a pin is a check");
}

#[tokio::test]
async fn a_lowest_version_above_what_a_server_speaks_is_refused() {
    let old = |builder: Builder<rustls::WantsVerifier>| {
        let provider = builder.crypto_provider().clone();
        ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_no_client_auth()
    };
    let server = secure_with(&[], |_| {}, old).await;
    server.ask(server.settings()).await.unwrap();
    let refusal = server.refusal(TransportSettings { min_tls: MinTls::V13, ..server.settings() }).await;
    assert!(refusal.contains("at least 1.3, by --tls-min"), "{refusal}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_asks_for_one() {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["client".into()]).unwrap().self_signed(&key).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let clients = |builder: Builder<rustls::WantsVerifier>| {
        let provider = builder.crypto_provider().clone();
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    };
    let server = secure_with(&["h2", "http/1.1"], |_| {}, clients).await;
    // With TLS 1.3 that is told after the handshake, and HTTP/2 hands on no reason.
    for http2 in [true, false] {
        let refusal = server.refusal(TransportSettings { http2, ..server.settings() }).await;
        assert!(refusal.contains("wants a client certificate, which --cert"), "{refusal}");
    }
    let file = |text: String| {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    };
    let both = file(cert.pem() + &key.serialize_pem());
    let (chain, own) = (file(cert.pem()), file(key.serialize_pem()));
    let path = |file: &NamedTempFile| Some(file.path().to_owned());
    let with = |client_cert, client_key| TransportSettings { client_cert, client_key, ..server.settings() };
    for settings in [with(path(&both), None), with(path(&chain), path(&own))] {
        settings.check().unwrap();
        assert_eq!(server.ask(settings).await.unwrap().1, "HTTP/2.0 /path");
    }
    let stranger = file(KeyPair::generate().unwrap().serialize_pem());
    let sealed = file("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n".into());
    for (wrong, words) in [
        (with(path(&chain), None), "--key (or a profile's `client-key`) names the file"),
        (with(path(&chain), path(&stranger)), "it does not belong to the certificate in "),
        (with(path(&chain), path(&sealed)), "it is encrypted"),
        (with(None, path(&own)), "and there is none"),
    ] {
        let sentence = wrong.check().unwrap_err().to_string();
        assert!(sentence.contains(words), "{sentence}");
    }
}
