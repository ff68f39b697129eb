//! Proxies: which one a request goes through, tunnels through http ones (RFC 9110 section 9.3.6), and their credentials.
//!
//! Plain http requests through an http proxy are written in absolute form by the pool. What SOCKS says is in `socks`, the
//! rules of NO_PROXY are in `bypass`.

use std::sync::Arc;

use http::HeaderMap;
use http::header::PROXY_AUTHENTICATE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;

use super::bypass::Bypass;
use super::challenge::Challenge;
use super::connect::{Stream, addresses, dial};
use super::credentials::Login;
use super::nonces::{Challenged, Nonces};
use super::socks::{self, Target};
use super::tls::Tls;
use super::trail::Making;
use super::{ProxySettings, guard, words};
use crate::error::{Failure, FailureKind};

/// Longest head of an answer to CONNECT (reliability.md B.6).
const MAX_HEAD: usize = 64 * 1024;

/// Who goes through which proxy.
pub(super) struct Routes {
    http: Option<Arc<Proxy>>,
    https: Option<Arc<Proxy>>,
    bypass: Bypass,
}

impl Routes {
    /// # Errors
    /// [`FailureKind::Url`] with what is wrong; no URL is quoted, for it may hold a password.
    pub(super) fn new(settings: &ProxySettings) -> Result<Self, Failure> {
        let digest_only = settings.digest_only;
        let parse = |url: &Option<String>| -> Result<Option<Arc<Proxy>>, Failure> {
            let proxy = url.as_deref().map(Proxy::parse).transpose()?;
            Ok(proxy.map(|proxy| Arc::new(Proxy { digest_only, ..proxy })))
        };
        let bypass = Bypass::parse(&settings.bypass)
            .map_err(|why| Failure::new(FailureKind::Url, format!("the list of hosts without proxy {why}")))?;
        let http = parse(&settings.http)?;
        // One proxy, one login and one challenge.
        let https = if settings.https == settings.http { http.clone() } else { parse(&settings.https)? };
        Ok(Self { http, https, bypass })
    }

    /// The proxy for a URL; `None`: direct.
    pub(super) fn of(&self, url: &Url) -> Option<&Arc<Proxy>> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.bypass.covers(url))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Https,
    /// Names are looked up here.
    Socks,
    /// Names are looked up by the proxy.
    SocksByName,
}

/// A proxy as configured.
pub(super) struct Proxy {
    host: String,
    port: u16,
    kind: Kind,
    login: Option<Login>,
    /// The login is not sent in the clear: a challenge is waited for.
    digest_only: bool,
    /// Its Digest challenges: from the first on Basic is not used.
    nonces: Nonces,
}

impl Proxy {
    /// Reads a proxy URL.
    ///
    /// # Errors
    /// [`FailureKind::Url`] when it is none; it is not quoted, for it may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| Failure::new(FailureKind::Url, format!("the proxy URL {why}"));
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&with_scheme).map_err(|_| wrong("is no URL"))?;
        let (kind, port) = match url.scheme() {
            "http" => (Kind::Http, 80),
            "https" => (Kind::Https, 443),
            "socks5" => (Kind::Socks, 1080),
            "socks5h" => (Kind::SocksByName, 1080),
            other => {
                let what = "only http, https, socks5 and socks5h proxies are supported";
                return Err(wrong(&format!("begins with `{other}:`; {what}")));
            }
        };
        // A word alone is a slip more often than the name of a host; what follows the host would mean nothing.
        let address = text.rsplit('@').next().unwrap_or(text);
        if !text.contains("://") && !address.contains(['.', ':']) {
            return Err(wrong("is a word alone: write http://HOST:PORT"));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("has something after its host: write http://HOST:PORT"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("names no host"))?;
        Ok(Self {
            host: guard::bare(host).to_owned(),
            port: url.port().unwrap_or(port),
            kind,
            login: Login::of(&url),
            digest_only: false,
            nonces: Nonces::default(),
        })
    }

    fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether plain http requests are sent to it as they are, in absolute form.
    pub(super) fn takes_requests(&self) -> bool {
        matches!(self.kind, Kind::Http | Kind::Https)
    }

    /// The value of Proxy-Authorization for a request with this target, if there is a login. `own`: the nonce that it was
    /// challenged with.
    pub(super) fn authorization(&self, method: &str, target: &str, own: Option<&str>) -> Option<String> {
        let login = self.login.as_ref().filter(|_| self.takes_requests())?;
        let basic = || (!self.digest_only).then(|| login.basic());
        self.nonces.answer(own, login, method, target).unwrap_or_else(basic)
    }

    /// Takes the challenge of a 407. True: the request can be sent again, with an answer to it.
    pub(super) fn challenged(&self, headers: &HeaderMap, asked: &mut Challenged) -> bool {
        self.answers(Challenge::of_answer(headers, PROXY_AUTHENTICATE), asked)
    }

    fn answers(&self, challenge: Option<Challenge>, asked: &mut Challenged) -> bool {
        self.login.is_some() && self.nonces.take(challenge, asked, true)
    }

    /// A connection to the proxy, and through it to the host when `tunnel`. `public_only`: an address that we look up must
    /// be a public one.
    pub(super) async fn open(
        &self,
        tls: &Tls,
        host: &str,
        port: u16,
        tunnel: bool,
        public_only: bool,
    ) -> Result<(Box<dyn Stream>, Making), Failure> {
        let mut asked = Challenged::default();
        loop {
            let (mut stream, making) = dial(&self.host, self.port, false).await.map_err(of_proxy)?;
            let making = Making { proxied: true, ..making };
            match self.kind {
                Kind::Https => stream = tls.proxy(stream, &self.host, self.port).await?,
                Kind::Http => {}
                Kind::Socks | Kind::SocksByName => {
                    self.socks(&mut stream, host, port, public_only).await?;
                    return Ok((stream, making));
                }
            }
            if !tunnel {
                return Ok((stream, making));
            }
            match self.connect(&mut stream, host, port, &mut asked).await? {
                Tunnel::Open => return Ok((stream, making)),
                Tunnel::Challenged => {}
            }
        }
    }

    async fn socks(
        &self,
        stream: &mut Box<dyn Stream>,
        host: &str,
        port: u16,
        public_only: bool,
    ) -> Result<(), Failure> {
        let name = self.name();
        let target = match (self.kind, host.parse()) {
            (_, Ok(address)) => Target::Address(address),
            (Kind::SocksByName, _) => Target::Name(host),
            _ => match addresses(host, port, public_only).await?.first() {
                Some(first) => Target::Address(first.ip()),
                None => Target::Name(host),
            },
        };
        socks::open(stream, &name, self.login.as_ref(), target, port).await
    }

    async fn connect(
        &self,
        stream: &mut Box<dyn Stream>,
        host: &str,
        port: u16,
        asked: &mut Challenged,
    ) -> Result<Tunnel, Failure> {
        let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let mut request = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n");
        if let Some(value) = self.authorization("CONNECT", &place, asked.nonce.as_deref()) {
            request.push_str(&format!("Proxy-Authorization: {value}\r\n"));
        }
        request.push_str("\r\n");
        let lost = |error: std::io::Error| {
            words::not_connected(format!("the proxy {} broke off: {}", self.name(), words::system(&error)))
        };
        stream.write_all(request.as_bytes()).await.map_err(lost)?;
        stream.flush().await.map_err(lost)?;
        let head = self.head(stream).await?;
        match status_of(&head) {
            Some(200..=299) => Ok(Tunnel::Open),
            Some(407) if self.answers(Challenge::first(values(&head, "proxy-authenticate")), asked) => {
                Ok(Tunnel::Challenged)
            }
            Some(status) => {
                let mut failure = Failure::new(
                    FailureKind::HttpResponse,
                    format!("the proxy {} refused a connection to {place}: status {status}", self.name()),
                );
                failure.http_status = Some(status);
                Err(failure)
            }
            None => Err(self.garbage()),
        }
    }

    /// The answer's head, with the empty line. What the server beyond says first is not read: TLS servers wait.
    async fn head(&self, stream: &mut Box<dyn Stream>) -> Result<Vec<u8>, Failure> {
        let mut head = Vec::new();
        let mut piece = [0; 4096];
        while !head.ends_with(b"\r\n\r\n") {
            let count = stream.read(&mut piece).await.map_err(|error| {
                words::not_connected(format!("the proxy {} broke off: {}", self.name(), words::system(&error)))
            })?;
            if count == 0 {
                let text = format!("the proxy {} closed the connection", self.name());
                return Err(words::not_connected(text));
            }
            head.extend_from_slice(&piece[..count]);
            let is_refusal = !matches!(status_of(&head), None | Some(100..=299));
            if is_refusal && head.windows(4).any(|end| end == b"\r\n\r\n") {
                return Ok(head); // with some of its body behind
            }
            if head.len() > MAX_HEAD {
                return Err(self.garbage());
            }
        }
        Ok(head)
    }

    fn garbage(&self) -> Failure {
        words::protocol(format!("the proxy {} answered something that is not HTTP", self.name()))
    }
}

/// A failure to reach the proxy, which is none of the server's.
fn of_proxy(mut failure: Failure) -> Failure {
    failure.description = format!("the proxy cannot be reached: {}", failure.description);
    failure
}

/// What came of asking for a tunnel.
enum Tunnel {
    Open,
    /// The proxy wants another proof, which can be given on a fresh connection.
    Challenged,
}

/// The values of a header in the head of an answer.
fn values<'a>(head: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = head.split(|byte| *byte == b'\n').take_while(|line| !line.trim_ascii().is_empty());
    lines.filter_map(move |line| {
        let (known, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn status_of(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let digits = std::str::from_utf8(rest.get(2..5)?).ok()?;
    digits.parse().ok().filter(|_| rest.get(1) == Some(&b' '))
}
