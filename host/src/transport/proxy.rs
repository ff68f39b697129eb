//! The proxy: its URL, and tunnels through it (RFC 9110 section 9.3.6).
//!
//! Which requests go through it is not decided here; plain http requests are written in absolute form by the pool.

use base64::Engine;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;

use super::connect::{Stream, dial};
use super::tls::Tls;
use super::{guard, words};
use crate::error::{Failure, FailureKind};

/// Longest head of an answer to CONNECT (reliability.md B.6).
const MAX_HEAD: usize = 64 * 1024;

/// A proxy as configured.
#[derive(Clone)]
pub(super) struct Proxy {
    host: String,
    port: u16,
    is_https: bool,
    /// Value of Proxy-Authorization.
    pub(super) authorization: Option<String>,
}

/// Basic credentials from the userinfo of a URL (RFC 7617), percent-decoded; `None` when it has none.
pub(super) fn basic(url: &Url) -> Option<String> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut plain: Vec<u8> = percent_decode_str(url.username()).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(url.password().unwrap_or_default()));
    let encoded = base64::engine::general_purpose::STANDARD.encode(plain);
    Some(format!("Basic {encoded}"))
}

impl Proxy {
    /// Reads a proxy URL.
    ///
    /// # Errors
    /// [`FailureKind::Url`] when it is no http or https URL; it is not quoted, for it may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| Failure::new(FailureKind::Url, format!("the proxy URL {why}"));
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&with_scheme).map_err(|_| wrong("is no URL"))?;
        let is_https = match url.scheme() {
            "http" => false,
            "https" => true,
            other => {
                return Err(wrong(&format!("begins with `{other}:`; only http and https proxies are supported")));
            }
        };
        let host = url.host_str().ok_or_else(|| wrong("names no host"))?;
        Ok(Self {
            host: guard::bare(host).to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
            is_https,
            authorization: basic(&url),
        })
    }

    fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// A connection to the proxy, and through it to the host when `tunnel`.
    pub(super) async fn open(
        &self,
        tls: &Tls,
        host: &str,
        port: u16,
        tunnel: bool,
    ) -> Result<Box<dyn Stream>, Failure> {
        let mut stream = dial(&self.host, self.port, false).await?;
        if self.is_https {
            stream = tls.proxy(stream, &self.host, self.port).await?;
        }
        if tunnel {
            self.connect(&mut stream, host, port).await?;
        }
        Ok(stream)
    }

    async fn connect(&self, stream: &mut Box<dyn Stream>, host: &str, port: u16) -> Result<(), Failure> {
        let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let mut request = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n");
        if let Some(value) = &self.authorization {
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
            Some(200..=299) => Ok(()),
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

fn status_of(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let digits = std::str::from_utf8(rest.get(2..5)?).ok()?;
    digits.parse().ok().filter(|_| rest.get(1) == Some(&b' '))
}
