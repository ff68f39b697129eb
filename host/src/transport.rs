//! The transport: HTTP/1.1 and HTTP/2 over pooled connections, TLS, redirects, time limits, framing checks, the address
//! guard. The only module that names the HTTP client.
//!
//! It sends what it is given and judges no status; it retries nothing, but for a request on a pooled connection that the
//! server had closed before reading it. Bodies are handed out as they come, never collected, never decoded.

mod body;
mod connect;
mod exchange;
mod guard;
mod payload;
mod proxy;
mod redirect;
#[cfg(test)]
mod tests;
mod tls;
mod words;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

pub use self::body::AnswerBody;
use self::connect::Connector;
use self::payload::Outgoing;
pub use self::payload::{BeforeEnd, Payload, Source};
use self::proxy::Proxy;
use self::redirect::Hop;
use self::tls::Tls;
use crate::error::{Error, Failure, FailureKind};
use crate::task::Pairs;

/// How long a connection waits in the pool for the next request.
const IDLE_CONNECTION: Duration = Duration::from_secs(60);
/// Most waiting connections of one origin.
const IDLE_PER_HOST: usize = 256;
/// Largest read from a connection: its buffer grows from 8 KiB up to this while reads fill it. Twice as much is no faster
/// on loopback, and all fast connections together hold that much memory each.
const MAX_READ: usize = 512 * 1024;
/// Largest piece of a body handed out; a buffer may hold a little more than one read.
const MAX_PIECE: usize = 1024 * 1024;
/// How much of one HTTP/2 response may wait unread.
const H2_STREAM_WINDOW: u32 = 2 * 1024 * 1024;
/// How much of all responses on an HTTP/2 connection may wait unread.
const H2_CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// Longest body of a redirect that is read for the sake of its connection, and for how long.
const MAX_DRAIN: u64 = 64 * 1024;
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// Settings of all connections of an engine.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// PEM file with further trusted certificates.
    pub cacert: Option<PathBuf>,
    /// Accept any certificate. Each use is told by the note `insecure-tls`.
    pub insecure: bool,
    /// SHA-256 pins of public keys (`sha256//BASE64`, as in curl). Empty: none.
    pub pinned_keys: Vec<String>,
    /// http or https proxy URL; `None`: direct.
    pub proxy: Option<String>,
    /// Offer HTTP/2 in TLS. Default true.
    pub http2: bool,
    /// User-Agent when a task gives none.
    pub user_agent: String,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            cacert: None,
            insecure: false,
            pinned_keys: Vec::new(),
            proxy: None,
            http2: true,
            user_agent: concat!("haul/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

impl TransportSettings {
    /// Whether every setting can be used: the proxy's URL, the pins, the file of certificates.
    ///
    /// # Errors
    /// [`Error::Usage`] with what is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let unusable = |failure: Failure| Error::Usage(failure.description);
        self.proxy.as_deref().map_or(Ok(()), |url| Proxy::parse(url).map(|_| ())).map_err(unusable)?;
        tls::check(self).map_err(unusable)
    }
}

/// Which addresses a request may connect to, checked on the address itself, for each hop.
#[derive(Clone, Debug, Default)]
pub enum Guard {
    /// Any: the owner's own tasks.
    #[default]
    Any,
    /// Public addresses only, and the private or loopback ones listed by exact host (name or literal) in `private_hosts`.
    Public {
        /// Hosts whose private addresses are granted.
        private_hosts: Vec<String>,
    },
}

/// A request to send.
#[derive(Clone, Debug)]
pub struct Call {
    /// Method in capitals.
    pub method: String,
    /// Absolute URL; userinfo becomes Basic authorization for that origin.
    pub url: String,
    /// Headers. `Accept-Encoding: identity`, `User-Agent` and `Host` are added where missing.
    pub headers: Pairs,
    /// The body.
    pub body: Payload,
    /// The body must not be lost: a redirect that would drop it is not followed. 303 then is the answer (the body has
    /// arrived), 301 and 302 are failures.
    pub keep_body: bool,
    /// Name lookup, TCP, TLS. `None`: no limit.
    pub connect_timeout: Option<Duration>,
    /// From the connection to the request's last byte. `None`: no limit.
    pub send_timeout: Option<Duration>,
    /// From the request sent to the final response head. `None`: no limit.
    pub head_timeout: Option<Duration>,
    /// Between two pieces of a body, sent or received. `None`: no limit.
    pub idle_timeout: Option<Duration>,
    /// Below this many bytes per second over `low_speed_window` the body counts as stalled; 0: never.
    pub low_speed_bytes: u64,
    /// See `low_speed_bytes`.
    pub low_speed_window: Duration,
    /// Redirects followed; 0: a redirect is the answer.
    pub max_redirects: u32,
    /// Redirects are followed at all. False for components.
    pub follow: bool,
    /// Which addresses may be connected to.
    pub guard: Guard,
}

impl Call {
    /// A call with the engine's default limits (connect 30 s, head 60 s, idle 60 s, 1 KiB/s over 120 s, 10 redirects).
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Payload::default(),
            keep_body: false,
            connect_timeout: Some(Duration::from_secs(30)),
            send_timeout: None,
            head_timeout: Some(Duration::from_secs(60)),
            idle_timeout: Some(Duration::from_secs(60)),
            low_speed_bytes: 1024,
            low_speed_window: Duration::from_secs(120),
            max_redirects: 10,
            follow: true,
            guard: Guard::Any,
        }
    }
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By Content-Length.
    Length(u64),
    /// By chunks, or by HTTP/2 frames.
    Marked,
    /// By the end of the connection: complete and cut look the same.
    UntilClose,
    /// There is no body.
    Empty,
}

/// The final response's head, and its body to be read.
#[derive(Debug)]
pub struct Answer {
    /// 200 to 599.
    pub status: u16,
    /// Headers in order, names in lower case, values as UTF-8 where valid, else Latin-1.
    pub headers: Pairs,
    /// URL that answered, without userinfo and fragment.
    pub url: String,
    /// URLs that redirected on the way, in order; empty when the first one answered.
    pub hops: Vec<String>,
    /// How the end of the body is known.
    pub framing: Framing,
    /// A certificate was not checked on the way.
    pub insecure: bool,
    /// It came before the whole request was sent, and the rest is not sent.
    pub early: bool,
    /// The body.
    pub body: AnswerBody,
}

impl Answer {
    /// First value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Pooled connections. Cheap to clone. Connections live on the runtime whose task made them.
#[derive(Clone)]
pub struct Transport {
    shared: Arc<Shared>,
}

/// A pool of connections, with all that makes new ones.
type Pool = Client<Connector, Outgoing>;

struct Shared {
    settings: TransportSettings,
    tls: Arc<Tls>,
    proxy: Option<Result<Arc<Proxy>, Failure>>,
    /// Connections to any address. Also used under a guard, for hosts it grants.
    any: OnceLock<Pool>,
    /// Connections to public addresses. Kept apart, so that a connection made without a guard never gets around one.
    public: OnceLock<Pool>,
    /// Servers (`host:port`) that refuse `Expect: 100-continue`.
    plain_origins: Mutex<HashSet<String>>,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

impl Shared {
    fn proxy_authorization(&self) -> Option<&str> {
        match &self.proxy {
            Some(Ok(proxy)) => proxy.authorization.as_deref(),
            _ => None,
        }
    }

    fn pool(&self, public_only: bool) -> Result<&Pool, Failure> {
        let proxy = self.proxy.clone().transpose()?;
        let pool = if public_only { &self.public } else { &self.any };
        Ok(pool.get_or_init(|| build_pool(Connector { tls: self.tls.clone(), proxy, public_only })))
    }
}

fn build_pool(connector: Connector) -> Pool {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_CONNECTION)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        // `exchange` sends again itself: it knows whether something was sent.
        .retry_canceled_requests(false)
        .http1_max_buf_size(MAX_READ)
        .http1_max_headers(exchange::MAX_HEADERS)
        .http2_initial_stream_window_size(H2_STREAM_WINDOW)
        .http2_initial_connection_window_size(H2_CONNECTION_WINDOW)
        .http2_max_header_list_size(exchange::MAX_HEAD as u32)
        .timer(TokioTimer::new())
        .build(connector)
}

impl Transport {
    /// Builds no TLS client and connects nowhere: that comes with the first request that needs it. Settings that can't be
    /// used make the requests that need them fail.
    pub fn new(settings: TransportSettings) -> Self {
        let proxy = settings.proxy.as_deref();
        Self {
            shared: Arc::new(Shared {
                proxy: proxy.map(|url| Proxy::parse(url).map(Arc::new)),
                tls: Arc::new(Tls::new(settings.clone())),
                any: OnceLock::new(),
                public: OnceLock::new(),
                plain_origins: Mutex::default(),
                settings,
            }),
        }
    }

    /// Sends a request, follows redirects by the rules, and answers the final response's head. Dropping the future, or the
    /// body, gives the connection up.
    ///
    /// # Errors
    /// See [`Failure`]: the connection, its time limits, the protocol, a redirect that may not be followed
    /// (`httpResponse` with the redirect's status), a refused address (`policy`), a URL that is none of http or https.
    pub async fn send(&self, call: Call) -> Result<Answer, Failure> {
        let mut hop = first_hop(&call)?;
        let mut before: Vec<(String, Url)> = Vec::new();
        loop {
            let public_only = !call.guard.grants(hop.url.host_str().unwrap_or_default());
            let pool = self.shared.pool(public_only)?;
            let answered = exchange::exchange(pool, &hop, &call, &self.shared).await?;
            let (framing, early) = (answered.framing, !answered.sent.is_whole());
            let (head, incoming) = answered.response.into_parts();
            let mut body = AnswerBody::new(incoming, framing, peer_of(&hop.url), &call);
            let status = head.status.as_u16();
            let follows = call.follow && call.max_redirects > 0;
            let is_answer = !redirect::is_redirect(status) || (call.keep_body && status == 303);
            if !follows || is_answer {
                if early {
                    body.belongs_to(answered.sent, head.status.is_success());
                }
                let settings = &self.shared.settings;
                let unchecked = settings.insecure && settings.pinned_keys.is_empty();
                let was_https = |url: &Url| url.scheme() == "https";
                return Ok(Answer {
                    status,
                    headers: pairs(&head.headers),
                    insecure: unchecked && (was_https(&hop.url) || before.iter().any(|(_, url)| was_https(url))),
                    hops: before.into_iter().map(|(_, url)| url.into()).collect(),
                    url: hop.url.into(),
                    framing,
                    early: early && !head.status.is_success(),
                    body,
                });
            }
            let locations: Vec<String> = head.headers.get_all(http::header::LOCATION).iter().map(text).collect();
            let next = redirect::next(&hop, status, &locations, &before, &call)?;
            drain(&mut body, framing).await;
            let left = std::mem::replace(&mut hop, next);
            before.push((left.method, left.url));
        }
    }
}

/// Reads a redirect's short body, so that its connection can be used again.
async fn drain(body: &mut AnswerBody, framing: Framing) {
    if let Framing::Length(length) = framing
        && length <= MAX_DRAIN
    {
        let reading = async { while let Ok(Some(_)) = body.next().await {} };
        let _ = tokio::time::timeout(DRAIN_LIMIT, reading).await; // given up: the connection closes
    }
}

/// The request as asked for: userinfo moved into a header, the fragment dropped.
fn first_hop(call: &Call) -> Result<Hop, Failure> {
    let unusable = |why: &str| Failure::new(FailureKind::Url, format!("the URL {why}"));
    let mut url = Url::parse(&call.url).map_err(|error| unusable(&format!("is none: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(unusable(&format!("begins with `{}:`; only http and https are supported", url.scheme())));
    }
    let mut headers = call.headers.clone();
    let is_given = |(name, _): &(String, String)| name.eq_ignore_ascii_case("authorization");
    if let Some(credentials) = proxy::basic(&url)
        && !headers.iter().any(is_given)
    {
        headers.push(("Authorization".into(), credentials));
    }
    // Both can't fail: an http URL has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    Ok(Hop { method: call.method.clone(), url, headers, body: call.body.clone() })
}

/// Host and port of a URL, as sentences name a server.
fn peer_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn pairs(headers: &HeaderMap) -> Pairs {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

/// A value as UTF-8 where it is, else as Latin-1.
fn text(value: &HeaderValue) -> String {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(utf8) => utf8.to_owned(),
        Err(_) => value.as_bytes().iter().copied().map(char::from).collect(),
    }
}
