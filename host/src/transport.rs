//! The transport: HTTP/1.1 and HTTP/2 over pooled connections, proxies, TLS, cookies, logins, redirects, time limits,
//! framing checks, the address guard. The only module that names the HTTP client.
//!
//! It sends what it is given and judges no status; it retries nothing, but for a request on a pooled connection that the
//! server had closed before reading it, one that HTTP/2 says was not looked at, one that was misdirected (421), and one whose
//! Digest challenge it can answer.
//! Bodies are handed out as they come, never collected, never decoded.

mod body;
mod bypass;
mod challenge;
mod connect;
mod credentials;
mod exchange;
mod frames;
mod guard;
mod handles;
mod hosts;
mod line;
mod netrc;
mod nonces;
mod payload;
mod proxy;
mod redirect;
pub(crate) mod retry_after;
mod socks;
mod steps;
#[cfg(test)]
mod tests;
mod tls;
mod trail;
mod uptake;
mod words;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

#[doc(hidden)] // this and what else is hidden here is what bench/ calls: no promise to anybody
pub use self::body::AnswerBody;
use self::connect::Connector;
pub use self::credentials::{Credentials, Proof, Secret};
use self::credentials::{Keyring, Login};
use self::exchange::Sent;
pub(crate) use self::exchange::is_idempotent;
pub(crate) use self::guard::{Guard, PRIVATE, Ports, PrivateHost, how_to_grant, is_private_by_name};
pub use self::handles::{NamedCredential, NamedCredentials};
pub(crate) use self::handles::{SENT_AS_IT_IS, name_before_query};
pub(crate) use self::handles::{check as check_named_credential, names as credential_names};
use self::hosts::{Hosts, Turns};
use self::nonces::Challenged;
use self::payload::Outgoing;
#[doc(hidden)]
pub use self::payload::{BeforeEnd, Payload, Source};
use self::proxy::Routes;
pub(crate) use self::redirect::is_same_origin;
use self::redirect::{Hop, Visit};
pub(crate) use self::steps::{Asked, Canned, Follow, Go, Outbound, Redirect, Steps};
use self::tls::Tls;
pub(crate) use self::trail::Trail;
pub(crate) use self::words::span;
use crate::clock;
use crate::cookies::Jar;
use crate::error::{Error, Failure, FailureKind};
use crate::task::{KNOWN_LENGTH, Pairs};

/// How long a connection waits in the pool for the next request.
const IDLE_CONNECTION: Duration = Duration::from_secs(60);
/// Most waiting connections of one origin.
const IDLE_PER_HOST: usize = 256;
/// Largest read from a connection: its buffer grows from 8 KiB up to this while reads fill it. Twice as much is no faster
/// on loopback, and fast connections hold that much memory each, while they are few.
const MAX_READ: usize = 512 * 1024;
/// Largest piece of a body handed out; a buffer may hold a little more than one read.
const MAX_PIECE: usize = 1024 * 1024;
/// How much of one HTTP/2 response may wait unread.
const H2_STREAM_WINDOW: u32 = 2 * 1024 * 1024;
/// How much of all responses on an HTTP/2 connection may wait unread.
const H2_CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// A connection of HTTP/2 that has brought nothing for so long is asked by a PING whether it lives, idle ones as well: they are given
/// up after [`IDLE_CONNECTION`], so that this comes to a few frames.
const PING_AFTER: Duration = Duration::from_secs(15);
/// How long the answer may take. Long, for a PING stands behind what is being uploaded over a slow line.
const PING_LIMIT: Duration = Duration::from_secs(20);
/// Longest body of a redirect that is read for the sake of its connection, and for how long.
const MAX_DRAIN: u64 = 64 * 1024;
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// How long a changed jar waits for more changes before it is kept.
const KEEP_COOKIES_AFTER: Duration = Duration::from_millis(200);

/// Settings of all connections of a profile.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// PEM file with further trusted certificates.
    pub cacert: Option<PathBuf>,
    /// PEM file with the certificate chain to show to servers that ask for one.
    pub client_cert: Option<PathBuf>,
    /// PEM file with its private key; `None`: in `client_cert` as well.
    pub client_key: Option<PathBuf>,
    /// Accept any certificate. Each use is told by the note `insecure-tls`.
    pub insecure: bool,
    /// Accept any certificate of these hosts (`host` or `host:port`). Told in the same way.
    pub insecure_hosts: Vec<String>,
    /// SHA-256 pins of public keys (`sha256//BASE64`, as in curl). Empty: none.
    pub pinned_keys: Vec<String>,
    /// The lowest version of TLS to speak. Default 1.2.
    pub min_tls: MinTls,
    /// Which proxies requests go through. Default: none.
    pub proxy: ProxySettings,
    /// Offer HTTP/2 in TLS. Default true.
    pub http2: bool,
    /// User-Agent when a task gives none.
    pub user_agent: String,
    /// Cookies: sent where they belong, taken from every answer. `None`: neither.
    pub cookies: Option<Jar>,
    /// Credentials for one origin.
    pub credentials: Option<Credentials>,
    /// Credentials that requests use by handle.
    pub named_credentials: NamedCredentials,
    /// File of logins by host (`~/.netrc`).
    pub netrc: Option<PathBuf>,
    /// Send no password before a server has asked for Digest: none in the clear.
    pub digest_only: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinTls {
    /// TLS 1.2.
    #[default]
    V12,
    /// TLS 1.3.
    V13,
}

/// Which proxies requests go through: `http`, `https`, `socks5` (names are looked up here) or `socks5h` (by the proxy) URLs,
/// with credentials as userinfo.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// For http URLs. `None`: direct.
    pub http: Option<String>,
    /// For https URLs. `None`: direct.
    pub https: Option<String>,
    /// Hosts that are reached directly, as in NO_PROXY: names with all below them, addresses, blocks, `*`; with a port or not.
    pub bypass: String,
    /// An http proxy gets no password before it has asked for Digest: none in the clear. SOCKS knows nothing else.
    pub digest_only: bool,
}

impl std::fmt::Debug for ProxySettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let masked = |url: &Option<String>| url.as_deref().map(crate::mask::url);
        let (http, https) = (masked(&self.http), masked(&self.https));
        f.debug_struct("ProxySettings")
            .field("http", &http)
            .field("https", &https)
            .field("bypass", &self.bypass)
            .field("digest_only", &self.digest_only)
            .finish()
    }
}

impl ProxySettings {
    /// The same proxy for all URLs.
    pub fn all(url: impl Into<String>) -> Self {
        let url = Some(url.into());
        Self { http: url.clone(), https: url, ..Self::default() }
    }
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            cacert: None,
            client_cert: None,
            client_key: None,
            insecure: false,
            insecure_hosts: Vec::new(),
            pinned_keys: Vec::new(),
            min_tls: MinTls::default(),
            proxy: ProxySettings::default(),
            http2: true,
            user_agent: concat!("haul/", env!("CARGO_PKG_VERSION")).into(),
            cookies: None,
            credentials: None,
            named_credentials: NamedCredentials::default(),
            netrc: None,
            digest_only: false,
        }
    }
}

impl TransportSettings {
    /// Whether its login can be had now: from its file, or its variable.
    ///
    /// # Errors
    /// [`Error::Usage`] with what is missing.
    pub fn check_login(&self) -> Result<(), Error> {
        let secret = self.credentials.as_ref().map(|credentials| match &credentials.proof {
            Proof::Password { password, .. } => password,
            Proof::Bearer(token) => token,
        });
        let read = secret.map_or(Ok(()), |secret| secret.read_blocking().map(drop));
        read.map_err(|failure| Error::Usage(failure.description))
    }

    /// Whether every setting can be used: proxies, pins, the files of certificates, the netrc file, names of hosts.
    ///
    /// # Errors
    /// [`Error::Usage`] with what is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let unusable = |failure: Failure| Error::Usage(failure.description);
        Routes::new(&self.proxy).map(drop).map_err(unusable)?;
        if exchange::agent(&self.user_agent).is_none() {
            return Err(Error::Usage(
                "`user-agent` has a line break or another character that no header can have".into(),
            ));
        }
        if let Some(wrong) = self.insecure_hosts.iter().find(|host| !is_host(host)) {
            return Err(Error::Usage(format!("`{wrong}` in `insecure-hosts` is no HOST or HOST:PORT")));
        }
        Keyring::check(self)?;
        tls::check(self).map_err(unusable)
    }

    /// Whether the certificate of a server is not looked at.
    fn is_insecure(&self, host: &str, port: u16) -> bool {
        let is_it = |known: &String| match known.strip_prefix(host) {
            Some(rest) => rest.is_empty() || rest.strip_prefix(':').is_some_and(|known| known == port.to_string()),
            None => false,
        };
        self.insecure || self.insecure_hosts.iter().map(|known| known.to_ascii_lowercase()).any(|known| is_it(&known))
    }
}

/// A request to send.
#[doc(hidden)]
#[derive(Clone)]
pub struct Call {
    /// Method in capitals.
    pub method: String,
    /// Absolute URL; userinfo becomes Basic authorization for that origin.
    pub url: String,
    /// Headers. `Accept-Encoding: identity`, `User-Agent` and `Host` are added where missing.
    pub headers: Pairs,
    /// Names of headers that are not added: of those two, `Expect`, and a profile's `Cookie` and `Authorization`.
    pub without: Vec<String>,
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
    /// From the first interim answer (1xx) to the last one.
    pub interim_timeout: Duration,
    /// Between two pieces of a body, sent or received. `None`: no limit.
    pub idle_timeout: Option<Duration>,
    /// Set before the call is dropped because a limit on more than this call has passed.
    pub(crate) is_late: Arc<AtomicBool>,
    /// Bytes that a connection of HTTP/1 reads at once, 0: as many as there are. Whoever keeps to a speed limit wants few, and may
    /// change it while the body is read.
    pub sip: Option<Arc<AtomicUsize>>,
    /// Below this many bytes per second over `low_speed_window` the body counts as stalled; 0: never.
    pub low_speed_bytes: u64,
    /// See `low_speed_bytes`.
    pub low_speed_window: Duration,
    /// Redirects followed; 0: a redirect is the answer.
    pub max_redirects: u32,
    /// Redirects are followed at all. False for components.
    pub follow: bool,
    /// Which addresses may be connected to; [`Call::steps`] may change it on the way.
    pub(crate) guard: Guard,
    /// Cookies and credentials of the profile go along. False for components: what they send is theirs alone.
    pub ambient: bool,
    /// Is told of every exchange.
    pub(crate) trail: Option<Trail>,
    /// Who is asked on the way.
    pub(crate) steps: Option<Arc<dyn Steps>>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("url", &crate::mask::url(&self.url))
            .finish_non_exhaustive()
    }
}

impl Call {
    /// A call with the engine's default limits (connect 30 s, head 60 s, interim answers 30 s, idle 60 s, 1 KiB/s over 120 s, 10 redirects).
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            without: Vec::new(),
            body: Payload::default(),
            keep_body: false,
            connect_timeout: Some(Duration::from_secs(30)),
            send_timeout: None,
            head_timeout: Some(Duration::from_secs(60)),
            interim_timeout: Duration::from_secs(30),
            idle_timeout: Some(Duration::from_secs(60)),
            is_late: Arc::default(),
            sip: None,
            low_speed_bytes: 1024,
            low_speed_window: Duration::from_secs(120),
            max_redirects: 10,
            follow: true,
            guard: Guard::Any,
            ambient: true,
            trail: None,
            steps: None,
        }
    }
}

impl Call {
    fn leaves_out(&self, name: &str) -> bool {
        self.without.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// How the end of a body is known.
#[doc(hidden)]
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
#[doc(hidden)]
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
    /// [`Call::steps`] gave it, nothing was sent; with [`Canned::follow`].
    pub canned: Option<bool>,
    /// Who has made it up then, for sentences.
    pub by: Option<String>,
    /// Who says that what was asked for is not there, where the answer itself does not, for sentences.
    pub missed_by: Option<String>,
    /// It is a redirect that may not be followed, for this reason.
    pub(crate) refused: Option<Box<Failure>>,
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
    routes: Result<Arc<Routes>, Failure>,
    keyring: Arc<Keyring>,
    /// Connections to any address. Also used under a guard, for hosts it grants.
    any: OnceLock<Pool>,
    /// Connections to public addresses. Kept apart, so that a connection made without a guard never gets around one.
    public: OnceLock<Pool>,
    /// What servers have shown of themselves.
    hosts: Arc<Hosts>,
    turns: Turns,
    /// [`PING_AFTER`] and [`PING_LIMIT`].
    ping: (Duration, Duration),
    /// [`connect::Connector::open`].
    open: Arc<()>,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

impl Shared {
    fn routes(&self) -> Result<&Arc<Routes>, Failure> {
        self.routes.as_ref().map_err(Clone::clone)
    }

    fn pool(&self, public_only: bool) -> Result<&Pool, Failure> {
        let pool = if public_only { &self.public } else { &self.any };
        match pool.get() {
            Some(pool) => Ok(pool),
            None => {
                let fresh = self.fresh_pool(public_only)?;
                Ok(pool.get_or_init(|| fresh))
            }
        }
    }

    /// A pool without connections, for a request that must not go over one that is there.
    fn fresh_pool(&self, public_only: bool) -> Result<Pool, Failure> {
        let routes = Arc::clone(self.routes()?);
        let (tls, hosts, open) = (self.tls.clone(), self.hosts.clone(), self.open.clone());
        Ok(build_pool(Connector { tls, routes, hosts, public_only, open }, self.ping))
    }

    /// A request as it is sent, with the proof of who asks.
    async fn dressed<'a>(&self, hop: &'a Hop, call: &Call, asked: &Challenged) -> Result<Cow<'a, Hop>, Failure> {
        let own = |by_proxy: bool| asked.nonce.as_deref().filter(|_| asked.by_proxy == by_proxy);
        let authorization = match call.leaves_out("authorization") {
            true => None,
            false => self.keyring.authorization(hop, call.ambient, own(false)).await?,
        };
        // Without a challenge of its own the exchange adds it, where there is a proxy.
        let to_proxy = own(true).and_then(|nonce| {
            self.routes.as_ref().ok()?.of(&hop.url)?.authorization(&hop.method, hop.url.as_str(), Some(nonce))
        });
        let added = [("Authorization", authorization), ("Proxy-Authorization", to_proxy)];
        let mut dressed = Cow::Borrowed(hop);
        for (name, value) in added {
            if let Some(value) = value {
                dressed.to_mut().headers.push((name.into(), value));
            }
        }
        Ok(dressed)
    }

    /// The cookies of the jar that belong to a request's URL.
    fn cookies(&self, hop: &Hop, call: &Call) -> Option<HeaderValue> {
        let is_given = hop.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("cookie"));
        let jar = self.settings.cookies.as_ref().filter(|_| call.ambient && !is_given && !call.leaves_out("cookie"));
        jar.and_then(|jar| jar.header(&hop.url, clock::unix_ms()))
    }

    /// Takes the cookies of an answer, and has the jar kept soon if that changed it.
    fn take_cookies(&self, url: &Url, headers: &HeaderMap, call: &Call) {
        let Some(jar) = self.settings.cookies.as_ref().filter(|_| call.ambient) else { return };
        let set = headers.get_all(http::header::SET_COOKIE).iter().map(HeaderValue::as_bytes);
        if jar.take(set, url, clock::unix_ms()) {
            let jar = jar.clone();
            #[expect(
                clippy::disallowed_methods,
                reason = "ends within seconds; what it has not written, the end of the engine does"
            )]
            drop(tokio::spawn(async move {
                clock::sleep(KEEP_COOKIES_AFTER).await;
                let _ = tokio::task::spawn_blocking(move || jar.keep(clock::unix_ms())).await;
            }));
        }
    }

    /// Whether a refusal for want of credentials is a challenge that can be answered.
    async fn is_challenged(
        &self,
        hop: &Hop,
        call: &Call,
        status: u16,
        headers: &HeaderMap,
        asked: &mut Challenged,
    ) -> bool {
        match status {
            401 if call.leaves_out("authorization") => false,
            401 => self.keyring.challenged(hop, headers, call.ambient, asked).await,
            407 if hop.url.scheme() == "http" => {
                let proxy = self.routes.as_ref().ok().and_then(|routes| routes.of(&hop.url));
                proxy.is_some_and(|proxy| proxy.challenged(headers, asked))
            }
            _ => false,
        }
    }
}

fn build_pool(connector: Connector, (ping_after, ping_limit): (Duration, Duration)) -> Pool {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_CONNECTION)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        // `exchange` sends again itself: it knows whether something was sent.
        .retry_canceled_requests(false)
        .http1_max_buf_size(MAX_READ)
        .http1_max_headers(exchange::MAX_HEADERS)
        // A user agent has to take lines that are folded (RFC 9112 section 5.2); a Content-Length or Transfer-Encoding that is no
        // proper one without the fold is refused like any other.
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        // How many the server takes at once it says first of all: until then one request shows whether it answers, and no other
        // one is refused for being too many.
        .http2_initial_max_send_streams(1)
        .http2_initial_stream_window_size(H2_STREAM_WINDOW)
        .http2_initial_connection_window_size(H2_CONNECTION_WINDOW)
        .http2_max_header_list_size(exchange::MAX_HEAD as u32)
        .http2_keep_alive_interval(ping_after)
        .http2_keep_alive_timeout(ping_limit)
        .http2_keep_alive_while_idle(true)
        .timer(TokioTimer::new())
        .build(connector)
}

impl Transport {
    /// Builds no TLS client and connects nowhere: that comes with the first request that needs it. Settings that can't be
    /// used make the requests that need them fail.
    pub fn new(settings: TransportSettings) -> Self {
        let routes = Routes::new(&settings.proxy).map(Arc::new);
        Self::with(settings.clone(), routes, Arc::new(Keyring::new(&settings)), Arc::default())
    }

    /// The same with connections of its own, for another thread. What servers and proxies have said about logins, and shown of
    /// themselves, is shared.
    pub(crate) fn twin(&self) -> Self {
        let Shared { routes, keyring, hosts, settings, .. } = &*self.shared;
        Self::with(settings.clone(), routes.clone(), Arc::clone(keyring), Arc::clone(hosts))
    }

    fn with(
        settings: TransportSettings,
        routes: Result<Arc<Routes>, Failure>,
        keyring: Arc<Keyring>,
        hosts: Arc<Hosts>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                routes,
                keyring,
                tls: Arc::new(Tls::new(settings.clone())),
                any: OnceLock::new(),
                public: OnceLock::new(),
                hosts,
                turns: Turns::default(),
                ping: (PING_AFTER, PING_LIMIT),
                open: Arc::default(),
                settings,
            }),
        }
    }

    /// The first bytes of a file, at most `limit`, without the secrets that have handles: an answer may have repeated one.
    pub(crate) async fn without_named_credentials(&self, bytes: Vec<u8>, limit: usize) -> Vec<u8> {
        handles::secrets(&self.shared.settings.named_credentials).await.mask_first_bytes(bytes, limit)
    }

    /// Sends a request, follows redirects by the rules, and answers the final response's head. Dropping the future, or the
    /// body, gives the connection up.
    ///
    /// # Errors
    /// See [`Failure`]: the connection, its time limits, the protocol, a redirect that may not be followed
    /// (`httpResponse` with the redirect's status), a refused address (`policy`), a URL that is none of http or https.
    pub async fn send(&self, call: Call) -> Result<Answer, Failure> {
        let mut answer = self.ask(call).await?;
        answer.refused.take().map_or(Ok(answer), |failure| Err(*failure))
    }

    /// The same, where a redirect that may not be followed is an answer, too: [`Answer::refused`] says why it is not.
    pub(crate) async fn ask(&self, call: Call) -> Result<Answer, Failure> {
        let mut hop = first_hop(&call)?;
        let mut before: Vec<Visit> = Vec::new();
        let mut way = steps::Way::new(&hop, call.guard.clone());
        let mut used = handles::Used::default();
        loop {
            if let Some(steps) = &call.steps {
                hop = match way.ask(&**steps, &call, hop, &used).await? {
                    Ok(hop) => hop,
                    Err((hop, canned)) => return Ok(steps::answer(hop, before, canned)),
                };
            }
            let cookies = self.shared.cookies(&hop, &call);
            let (filled, secrets) = handles::fill(&self.shared.settings.named_credentials, &hop).await?;
            used.extend(secrets);
            let answered = self.answer(&filled, &call, way.guard()).await;
            drop(filled);
            call.trail.iter().for_each(|trail| trail.mask(&used));
            let (head, body, rest) = answered?;
            let status = head.status.as_u16();
            let follows = call.follow && call.max_redirects > 0;
            let is_answer = !redirect::is_redirect(status) || (call.keep_body && status == 303);
            if !follows || is_answer {
                return Ok(self.last_answer((hop, before), head, body, rest, used));
            }
            let visit = Visit::of(&hop, cookies);
            let (mut next, wait) = match self.next_hop((&hop, &visit, &before), &head, &call, &used) {
                Ok(next) => next,
                Err(failure) => {
                    let refused = Some(Box::new(failure));
                    return Ok(Answer { refused, ..self.last_answer((hop, before), head, body, rest, used) });
                }
            };
            if let Some(steps) = &call.steps {
                next = match way.follow(&**steps, &call, (before.len() + 1, status, &hop.url), next, &used).await? {
                    Some(next) => next,
                    None => return Ok(self.last_answer((hop, before), head, body, rest, used)),
                };
            }
            drain(body).await;
            if !wait.is_zero() {
                clock::sleep(wait).await;
            }
            before.push(visit);
            hop = next;
        }
    }

    /// The request that follows a redirect, and how long to wait before; or why there is none.
    fn next_hop(
        &self,
        (hop, visit, before): (&Hop, &Visit, &[Visit]),
        head: &http::response::Parts,
        call: &Call,
        used: &handles::Used,
    ) -> Result<(Hop, Duration), Failure> {
        let status = head.status.as_u16();
        let refuse = |why: &str| Err(redirect::refused(&hop.url, status, why));
        let locations: Vec<String> = head.headers.get_all(http::header::LOCATION).iter().map(text).collect();
        let next = redirect::next(hop, status, &locations, before.len(), call)?;
        let again = Visit::of(&next, self.shared.cookies(&next, call));
        if *visit == again || before.contains(&again) {
            return refuse("to a place it came from (a loop)");
        }
        if next.url.origin() != hop.url.origin() && used.is_in(next.url.as_str()) {
            return refuse("to another origin with a credential that is not for it");
        }
        let wait = retry_after::wait_ms(&pairs(&head.headers), clock::unix_ms());
        let wait = redirect::wait(hop, status, wait.map(Duration::from_millis))?;
        Ok((next, wait))
    }

    /// The answer of the last hop.
    fn last_answer(
        &self,
        (hop, before): (Hop, Vec<Visit>),
        head: http::response::Parts,
        mut body: AnswerBody,
        rest: Option<Sent>,
        used: handles::Used,
    ) -> Answer {
        let early = rest.is_some() && !head.status.is_success();
        if let Some(rest) = rest {
            body.belongs_to(rest, head.status.is_success());
        }
        let insecure = |url: &Url| self.is_unchecked(url);
        let insecure = insecure(&hop.url) || before.iter().any(|visit| insecure(&visit.url));
        let mut hops: Vec<String> = before.into_iter().map(|visit| visit.url.into()).collect();
        let (mut headers, mut url) = (pairs(&head.headers), String::from(hop.url));
        let shown = headers.iter_mut().map(|(_, value)| value).chain(&mut hops).chain([&mut url]);
        shown.for_each(|text| used.mask(text));
        let framing = body.framing();
        body.hides(used);
        Answer {
            status: head.status.as_u16(),
            headers,
            insecure,
            hops,
            url,
            framing,
            early,
            canned: None,
            by: None,
            missed_by: None,
            refused: None,
            body,
        }
    }

    /// One hop's answer: its cookies are taken, and a challenge that can be answered is. With what is still to be sent of
    /// the request, when the answer came early.
    async fn answer(
        &self,
        hop: &Hop,
        call: &Call,
        guard: &Guard,
    ) -> Result<(http::response::Parts, AnswerBody, Option<Sent>), Failure> {
        let public_only = !guard.grants(&hop.url);
        let mut asked = Challenged::default();
        loop {
            let began = clock::now();
            let answered_now = exchange::exchange(public_only, hop, call, &asked, &self.shared).await;
            if let Some(trail) = &call.trail {
                let answer = answered_now.as_ref().ok();
                let head = answer.map(|now| (now.response.status().as_u16(), now.response.version()));
                trail.add(&hop.url, began, head, answer.and_then(|now| now.sent.over()));
            }
            let answered_now = answered_now.map_err(|failure| guard.explain(failure, &hop.url))?;
            let rest = Some(answered_now.sent).filter(|sent| !sent.is_whole());
            let (head, incoming) = answered_now.response.into_parts();
            let server = (peer_of(&hop.url), Arc::clone(&self.shared.hosts));
            let mut body = AnswerBody::new((incoming, answered_now.line), answered_now.framing, server, call);
            if head.status == http::StatusCode::PARTIAL_CONTENT {
                body.states(crate::digest::from_headers(&pairs(&head.headers), "content-digest"));
            }
            self.shared.take_cookies(&hop.url, &head.headers, call);
            self.shared.keyring.told(hop, &head.headers, call.ambient).await;
            if !self.shared.is_challenged(hop, call, head.status.as_u16(), &head.headers, &mut asked).await {
                return Ok((head, body, rest));
            }
            drain(body).await;
        }
    }

    /// Whether nobody has looked at the certificate of this URL's server.
    fn is_unchecked(&self, url: &Url) -> bool {
        let settings = &self.shared.settings;
        let host = guard::bare(url.host_str().unwrap_or_default());
        let port = url.port_or_known_default().unwrap_or_default();
        url.scheme() == "https" && settings.pinned_keys.is_empty() && settings.is_insecure(host, port)
    }
}

/// Reads the short body of an answer that is not handed out, so that its connection can be used again.
async fn drain(mut body: AnswerBody) {
    if let Framing::Length(length) = body.framing()
        && length <= MAX_DRAIN
    {
        let reading = async { while let Ok(Some(_)) = body.next().await {} };
        let _ = tokio::time::timeout(DRAIN_LIMIT, reading).await; // given up: the connection closes
    }
}

/// The request as asked for: userinfo taken out as the login of this origin, the fragment dropped.
fn first_hop(call: &Call) -> Result<Hop, Failure> {
    let unusable = |why: &str| Failure::new(FailureKind::Url, format!("the URL {why}"));
    let mut url = Url::parse(&call.url).map_err(|error| unusable(&format!("is none: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(unusable(&format!("begins with `{}:`; only http and https are supported", url.scheme())));
    }
    let is_open = !crate::mask::login_in(&call.url).is_some_and(|login| login.contains(':'));
    let login = Login::of(&url).map(|login| Login { is_open, ..login });
    // Both can't fail: an http URL has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    let mut headers = call.headers.clone();
    // Said to haul, not to servers.
    headers.retain(|(name, _)| !name.eq_ignore_ascii_case(KNOWN_LENGTH));
    Ok(Hop { method: call.method.clone(), url, headers, body: call.body.clone(), login })
}

/// Whether a text is a host with or without a port.
fn is_host(text: &str) -> bool {
    let is_bare = |url: &Url| url[url::Position::AfterPort..] == *"/" && url.username().is_empty();
    !text.contains(['/', '?', '#']) && Url::parse(&format!("https://{text}")).is_ok_and(|url| is_bare(&url))
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
