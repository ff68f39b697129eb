//! The transport: HTTP/1.1 and HTTP/2 over pooled connections, TLS, redirects, time limits, framing checks, the address
//! guard. The only module that names the HTTP client.
//!
//! It sends what it is given and judges no status; it retries nothing, but for a request on a pooled connection that the
//! server had closed before reading it. Bodies are handed out as they come, never collected, never decoded.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::error::Failure;
use crate::task::Pairs;

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
    /// Whole body.
    pub body: Bytes,
    /// Name lookup, TCP, TLS. `None`: no limit.
    pub connect_timeout: Option<Duration>,
    /// From the request sent to the final response head. `None`: no limit.
    pub head_timeout: Option<Duration>,
    /// Between two pieces of a body. `None`: no limit.
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
            body: Bytes::new(),
            connect_timeout: Some(Duration::from_secs(30)),
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
    /// URL that answered.
    pub url: String,
    /// How the end of the body is known.
    pub framing: Framing,
    /// A certificate was not checked on the way.
    pub insecure: bool,
    /// The body.
    pub body: AnswerBody,
}

impl Answer {
    /// First value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A response body.
#[derive(Debug)]
pub struct AnswerBody {}

impl AnswerBody {
    /// The next piece, as large as the connection gives (up to 1 MiB); `None` at the proper end. A body cut short, one that
    /// stalls, and one with broken framing are failures.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        todo!()
    }
    /// Reads at most `limit` bytes and gives up the rest; failures count as the end.
    pub async fn collect(&mut self, _limit: usize) -> Vec<u8> {
        todo!()
    }
}

/// Pooled connections. Cheap to clone. Connections live on the runtime whose task made them.
#[derive(Clone, Debug)]
pub struct Transport {}

impl Transport {
    /// Builds no TLS client and connects nowhere: that comes with the first request that needs it.
    pub fn new(_settings: TransportSettings) -> Self {
        todo!()
    }
    /// Sends a request, follows redirects by the rules, and answers the final response's head.
    pub async fn send(&self, _call: Call) -> Result<Answer, Failure> {
        todo!()
    }
}
