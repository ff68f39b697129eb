//! HTTP of components: wasi:http and the contract's `fetch`, both over the engine's transport, with the same grants and
//! the same quotas (reliability.md E.4 and E.6). Redirects are not followed, so that a granted host cannot hand a request
//! on to one that is not.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use tokio::sync::Semaphore;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error as WasiError, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttpHooks,
};

use super::component::{HTTP_REQUESTS_A_MINUTE, raised_by};
use super::denied::Denied;
use super::grants::how_to_grant_credential;
use super::log::Log;
use super::quota::Quota;
use super::{Grants, check};
use crate::error::{Failure, FailureDetail, FailureKind};
use crate::task::Pairs;
use crate::transport::{
    Answer, Call, Guard, PRIVATE, Ports, PrivateHost, Transport, credential_names, how_to_grant, is_private_by_name,
};

const REQUESTS_AT_ONCE: usize = 2;
const REQUEST_BODY_BYTES_MAX: usize = check::REQUEST_BODY_BYTES_MAX;
const RESPONSE_BODY_BYTES_MAX: usize = check::RESPONSE_BODY_BYTES_MAX;
/// Refusals that are logged of an instance.
const TOLD_MAX: usize = 64;
const HEADERS_MAX: usize = 64;
/// Size of the headers of a request, and of a response.
pub(super) const HEADERS_BYTES_MAX: usize = 32 << 10;
const CONNECT: Duration = Duration::from_secs(5);
const FIRST_BYTE: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(10);

/// What one instance may reach, and what the call in progress has left.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    allowed: Arc<[Place]>,
    /// Names of the credentials it may use by handle.
    credentials: Arc<[String]>,
    /// Of all instances of the component.
    quota: Arc<Mutex<Quota>>,
    log: Log,
    call: Arc<Mutex<Allowance>>,
    slots: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Allowance {
    /// Those of a call, and those that are left of them.
    most: u32,
    requests: u32,
    /// `None`: no call is in progress, or its hook may not use HTTP.
    transport: Option<Transport>,
    /// What it was refused.
    denied: Denied,
    /// Refusals that were logged, of all calls.
    told: BTreeSet<String>,
}

/// A granted host: exact, never a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    scheme: Option<String>,
    host: String,
    /// `None`: the scheme's own.
    port: Option<u16>,
    /// Of a grant: at private addresses, too.
    is_private: bool,
}

/// Why a request brought no response.
#[derive(Debug)]
enum Refused {
    Denied(String),
    RequestTooLarge,
    ResponseTooLarge(&'static str),
    Failed(Failure),
}

impl Reach {
    pub(super) fn new(grants: &Grants, quota: Arc<Mutex<Quota>>, log: Log) -> Self {
        Self {
            allowed: grants.allow_hosts.iter().map(|text| Place::parse(text)).collect(),
            credentials: grants.credentials.iter().cloned().collect(),
            quota,
            log,
            call: Arc::default(),
            slots: Arc::new(Semaphore::new(REQUESTS_AT_ONCE)),
        }
    }

    /// A call begins. `transport`: `None` when its hook may not use HTTP. What it is refused is added to `denied`.
    pub(super) fn begin(&self, requests: u32, transport: Option<Transport>, denied: &Denied) {
        let mut call = self.call();
        (call.most, call.requests) = (requests, requests);
        call.transport = transport;
        call.denied = denied.clone();
    }

    pub(super) fn end(&self) {
        self.begin(0, None, &Denied::default());
    }

    /// Whether the call in progress has sent any request.
    pub(super) fn has_asked(&self) -> bool {
        let call = self.call();
        call.requests < call.most
    }

    /// What the call in progress is refused.
    pub(super) fn denied(&self) -> Denied {
        self.call().denied.clone()
    }

    /// Takes down what is refused, and tells it once.
    fn noted(&self, refused: Refused) -> Refused {
        if let Refused::Denied(why) = &refused {
            let mut call = self.call();
            call.denied.add(&format!("HTTP: {why}"));
            if call.told.len() < TOLD_MAX && call.told.insert(why.clone()) {
                self.log.say(why);
            }
        }
        refused
    }

    /// The contract's `fetch`.
    pub(super) async fn fetch(
        &self,
        method: String,
        url: String,
        headers: Pairs,
        body: Vec<u8>,
    ) -> Result<(u16, Pairs, String, Bytes), Failure> {
        let admitted = match headers.iter().find(|(name, _)| is_the_hosts(name)) {
            Some((name, _)) => {
                let name = check::text(name.clone());
                Err(Refused::Denied(format!("header `{name}`, which the host alone writes: leave it out")))
            }
            None if body.len() > REQUEST_BODY_BYTES_MAX => Err(Refused::RequestTooLarge),
            None => self.admit(&url, &headers),
        };
        let sent = match admitted {
            Ok(transport) => self.send(transport, method, url, headers, body.into(), &RequestOptions::default()).await,
            Err(refused) => Err(refused),
        };
        let (answer, body) = sent.map_err(|refused| self.noted(refused).into_failure())?;
        Ok((answer.status, answer.headers, answer.url, body))
    }

    /// Sends what was admitted.
    async fn send(
        &self,
        transport: Transport,
        method: String,
        url: String,
        headers: Pairs,
        body: Bytes,
        limits: &RequestOptions,
    ) -> Result<(Answer, Bytes), Refused> {
        let headers = with_true_length(headers, body.len())?;
        let slot = self.slots.acquire().await;
        let shorter = |given: Option<Duration>, most: Duration| Some(given.map_or(most, |given| given.min(most)));
        let mut call = Call::new(method, url);
        call.headers = headers;
        call.body = body.into();
        call.connect_timeout = shorter(limits.connect_timeout, CONNECT);
        call.head_timeout = shorter(limits.first_byte_timeout, FIRST_BYTE);
        call.idle_timeout = shorter(limits.between_bytes_timeout, IDLE);
        call.low_speed_bytes = 0;
        call.follow = false;
        call.ambient = false;
        let private_hosts = self.allowed.iter().filter_map(Place::private).collect();
        call.guard = Guard::Public { private_hosts, led_by: None };
        let mut answer = transport.send(call).await.map_err(Refused::Failed)?;
        if bytes_of(&answer.headers) > HEADERS_BYTES_MAX {
            return Err(Refused::ResponseTooLarge("its headers are larger than 32 KiB"));
        }
        let mut whole = BytesMut::new();
        while let Some(piece) = answer.body.next().await.map_err(Refused::Failed)? {
            if whole.len() + piece.len() > RESPONSE_BODY_BYTES_MAX {
                return Err(Refused::ResponseTooLarge("it is larger than 256 KiB"));
            }
            whole.extend_from_slice(&piece);
        }
        drop(slot);
        let whole = answer.body.masked(whole.into(), usize::MAX);
        Ok((answer, whole.into()))
    }

    /// Refuses a request with a handle of a credential that is not granted.
    fn check_handles(&self, url: &str, headers: &Pairs) -> Result<(), Refused> {
        let texts = headers.iter().map(|(_, value)| value.as_str()).chain([url]);
        match texts.flat_map(credential_names).find(|name| !self.credentials.contains(name)) {
            Some(name) => {
                let name = check::text(name);
                Err(Refused::Denied(format!("credential `{name}` is not granted ({})", how_to_grant_credential(&name))))
            }
            None => Ok(()),
        }
    }

    /// Takes one request off the allowance, if the URL's host is granted, and so is every credential that it has a handle of.
    fn admit(&self, url: &str, headers: &Pairs) -> Result<Transport, Refused> {
        self.check_handles(url, headers)?;
        if headers.len() > HEADERS_MAX || bytes_of(headers) > HEADERS_BYTES_MAX {
            return Err(Refused::Denied("too many or too large headers".into()));
        }
        let mut call = self.call();
        let Some(transport) = call.transport.clone() else {
            return Err(Refused::Denied("this hook may not use HTTP".into()));
        };
        let Some(place) = Place::of(url) else {
            let failure = Failure::new(FailureKind::Url, "the URL is not an absolute http or https URL");
            return Err(Refused::Failed(failure));
        };
        if !self.allowed.iter().any(|allowed| allowed.covers(&place)) {
            let what = place.as_granted();
            return Err(Refused::Denied(format!("{what} is not granted ({})", how_to_grant(&what))));
        }
        let used_up = || {
            Refused::Denied(format!("its {} requests of a call are used up{}", call.most, raised_by("http-requests")))
        };
        let requests = call.requests.checked_sub(1).ok_or_else(used_up)?;
        call.requests = requests;
        let mut quota = self.quota.lock().unwrap_or_else(PoisonError::into_inner);
        if quota.take(1, crate::clock::timer_now()) == 0 {
            return Err(Refused::Denied(format!("its {HTTP_REQUESTS_A_MINUTE} requests of a minute are used up")));
        }
        Ok(transport)
    }

    fn call(&self) -> MutexGuard<'_, Allowance> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WasiHttpHooks for Reach {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|name| is_the_hosts(name.as_str()))
    }

    fn set_host_header(&mut self) -> bool {
        false // the transport does
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        REQUEST_BODY_BYTES_MAX
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), WasiError>> + Send>,
    ) -> WasiSending {
        let reach = self.clone();
        Box::new(async move {
            let response = reach.send_wasi(request, options.unwrap_or_default()).await?;
            let nothing_left: WasiLeft = Box::new(async { Ok(()) });
            Ok((response, nothing_left))
        })
    }
}

type WasiLeft = Box<dyn Future<Output = Result<(), WasiError>> + Send>;
type WasiSending = Box<dyn Future<Output = Result<(http::Response<WasiBody>, WasiLeft), WasiError>> + Send>;

impl Reach {
    async fn send_wasi(
        &self,
        request: http::Request<WasiBody>,
        limits: RequestOptions,
    ) -> Result<http::Response<WasiBody>, WasiError> {
        let (parts, body) = request.into_parts();
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| {
                let value = std::str::from_utf8(value.as_bytes());
                Ok((name.as_str().to_owned(), value.map_err(|_| WasiError::HttpProtocolError)?.to_owned()))
            })
            .collect::<Result<Pairs, WasiError>>()?;
        let refused = |refused| self.noted(refused).into_wasi();
        let (method, url) = (parts.method.to_string(), parts.uri.to_string());
        // Before its body is read: so many bodies lie in memory as requests are left, whatever a component begins at once.
        let transport = match self.admit(&url, &headers).map_err(refused) {
            Ok(transport) => transport,
            Err(why) => {
                discard(body).await;
                return Err(why);
            }
        };
        let body = collect(body).await?;
        let (answer, body) = self.send(transport, method, url, headers, body, &limits).await.map_err(refused)?;
        let mut response = http::Response::builder().status(answer.status);
        for (name, value) in &answer.headers {
            response = response.header(name.as_str(), value.as_str());
        }
        let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
        response.body(body).map_err(|_| WasiError::HttpProtocolError)
    }
}

async fn collect(mut body: WasiBody) -> Result<Bytes, WasiError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame?.into_data() {
            if whole.len() + piece.len() > REQUEST_BODY_BYTES_MAX {
                return Err(WasiError::HttpRequestBodySize(Some(REQUEST_BODY_BYTES_MAX as u64)));
            }
            whole.extend_from_slice(&piece);
        }
    }
    Ok(whole.freeze())
}

/// Takes a body that goes nowhere, as far as one may be: who writes it first, and then looks for the answer, is to find the refusal
/// there, and not that writing failed.
async fn discard(mut body: WasiBody) {
    let mut left = REQUEST_BODY_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// Header fields that the host alone writes into a component's own requests.
fn is_the_hosts(name: &str) -> bool {
    let is_it = |known: &str| name.eq_ignore_ascii_case(known);
    DEFAULT_FORBIDDEN_HEADERS.iter().any(|known| is_it(known.as_str()))
        || ["expect", "te", "trailer"].into_iter().any(is_it)
}

/// The host writes the length of a body; who says it, too, must say the true one.
fn with_true_length(headers: Pairs, length: usize) -> Result<Pairs, Refused> {
    let (said, headers): (Pairs, Pairs) =
        headers.into_iter().partition(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    match said.iter().find(|(_, value)| value.parse() != Ok(length)) {
        Some((name, _)) => {
            Err(Refused::Denied(format!("header `{name}` says another length than that of the body, {length}")))
        }
        None => Ok(headers),
    }
}

fn bytes_of(headers: &Pairs) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}

impl Refused {
    fn into_failure(self) -> Failure {
        match self {
            Refused::Denied(why) => Failure::new(FailureKind::Policy, why),
            Refused::RequestTooLarge => Failure::new(FailureKind::Policy, "the request's body is larger than 64 KiB"),
            Refused::ResponseTooLarge(why) => {
                Failure::new(FailureKind::Policy, format!("the response is refused: {why}"))
            }
            Refused::Failed(failure) => failure,
        }
    }

    fn into_wasi(self) -> WasiError {
        let failure = match self {
            Refused::Denied(_) => return WasiError::HttpRequestDenied,
            Refused::RequestTooLarge => return WasiError::HttpRequestBodySize(None),
            Refused::ResponseTooLarge(_) => return WasiError::HttpResponseBodySize(None),
            Refused::Failed(failure) => failure,
        };
        match (failure.kind, failure.detail) {
            (FailureKind::Policy, _) => WasiError::DestinationIpProhibited,
            (FailureKind::Url, _) => WasiError::HttpRequestUriInvalid,
            (_, FailureDetail::NotConnected) => WasiError::ConnectionRefused,
            (_, FailureDetail::NoResponse) => WasiError::ConnectionTerminated,
            (_, FailureDetail::Cut) => WasiError::HttpResponseIncomplete,
            (_, FailureDetail::Timeout) => WasiError::ConnectionTimeout,
            (_, FailureDetail::Tls) => WasiError::TlsProtocolError,
            (_, FailureDetail::Protocol) => WasiError::HttpProtocolError,
            _ => WasiError::InternalError(Some(failure.description)),
        }
    }
}

/// Whether these grants cover a URL; the error says what would have to be granted.
pub(super) fn granted(allow_hosts: &[String], url: &str) -> Result<(), String> {
    let place = Place::of(url).ok_or("what is no URL of http or https")?;
    let covered = allow_hosts.iter().any(|grant| Place::parse(grant).covers(&place));
    if covered { Ok(()) } else { Err(place.as_granted()) }
}

/// The hosts of these grants whose private addresses they grant.
pub(super) fn private_hosts(allow_hosts: &[String]) -> impl Iterator<Item = PrivateHost> {
    allow_hosts.iter().filter_map(|grant| Place::parse(grant).private())
}

/// A host without brackets; an IPv6 address, of which there are many spellings, in one of them.
fn one_spelling(host: &str) -> String {
    let host = host.trim_matches(['[', ']']);
    host.parse::<std::net::Ipv6Addr>().map_or_else(|_| host.to_owned(), |address| address.to_string())
}

impl Place {
    /// Reads a grant: `host`, `host:port` or `scheme://host:port`, with `private+` before it or not.
    fn parse(text: &str) -> Self {
        let text = text.trim().to_ascii_lowercase();
        let public = text.strip_prefix(PRIVATE);
        let place = public.unwrap_or(&text);
        let (scheme, rest) = match place.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_owned()), rest.trim_end_matches('/')),
            None => (None, place),
        };
        let bare_ipv6 = rest.matches(':').count() > 1 && !rest.starts_with('[');
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !bare_ipv6 && !port.contains(']') => (host, port.parse().ok()),
            _ => (rest, None),
        };
        let host = one_spelling(host);
        let is_private = public.is_some() || is_private_by_name(&host);
        Self { scheme, host, port, is_private }
    }

    /// Where a URL leads. `None`: not an http or https URL.
    fn of(url: &str) -> Option<Self> {
        let url = url::Url::parse(url).ok()?;
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        Some(Self {
            scheme: Some(url.scheme().to_owned()),
            host: one_spelling(url.host_str()?),
            port: url.port_or_known_default(),
            is_private: false,
        })
    }

    fn private(&self) -> Option<PrivateHost> {
        let ports = match (self.port, self.scheme.as_deref()) {
            (Some(port), _) => Ports::One(port),
            (None, Some("http")) => Ports::One(80),
            (None, Some(_)) => Ports::One(443),
            (None, None) => Ports::Usual,
        };
        self.is_private.then(|| PrivateHost { host: self.host.clone(), ports })
    }

    /// As a grant would be written.
    fn as_granted(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port.unwrap_or(0))
    }

    fn covers(&self, place: &Place) -> bool {
        let default = match place.scheme.as_deref() {
            Some("http") => Some(80),
            _ => Some(443),
        };
        (self.scheme.is_none() || self.scheme == place.scheme)
            && self.host == place.host
            && self.port.or(default) == place.port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_granted_by_a_word_of_their_own_or_by_naming_them() {
        let grants =
            ["git.example", "private+wiki.example:81", "private+https://ci.example", "10.0.0.1", "LocalHost:80"];
        let private: Vec<_> =
            private_hosts(&grants.map(str::to_owned)).map(|granted| (granted.host, granted.ports)).collect();
        let expected = [
            ("wiki.example", Ports::One(81)),
            ("ci.example", Ports::One(443)),
            ("10.0.0.1", Ports::Usual),
            ("localhost", Ports::One(80)),
        ];
        assert_eq!(private, expected.map(|(host, ports)| (host.to_owned(), ports)));
        assert_eq!(granted(&["private+wiki.example:81".into()], "http://wiki.example:81/f"), Ok(()));
        assert!(granted(&["private+wiki.example:81".into()], "http://wiki.example/f").is_err());
    }

    #[test]
    fn the_length_of_a_body_is_said_truly_or_not_at_all() {
        let said = |length: &str, body| {
            let headers = vec![("x-a".to_owned(), "b".to_owned()), ("Content-Length".to_owned(), length.to_owned())];
            with_true_length(headers, body).map_err(|refused| refused.into_failure().description)
        };
        assert_eq!(said("4", 4), Ok(vec![("x-a".to_owned(), "b".to_owned())]), "the host writes it");
        let why = "header `Content-Length` says another length than that of the body, 0";
        assert_eq!((said("9999", 0), said("", 0)), (Err(why.to_owned()), Err(why.to_owned())));
    }

    #[test]
    fn an_address_is_granted_in_any_spelling() {
        let covers = |grant: &str, url: &str| Place::parse(grant).covers(&Place::of(url).unwrap());
        for grant in ["[::ffff:127.0.0.1]:18402", "http://[0:0:0:0:0:ffff:7f00:1]:18402", "[::FFFF:7F00:1]:18402"] {
            assert!(covers(grant, "http://[::ffff:127.0.0.1]:18402/f"), "{grant}");
        }
        assert!(covers("::1", "http://[::1]/") && covers("[::1]", "https://[0::1]/"));
        assert!(!covers("[::ffff:127.0.0.1]:18402", "http://127.0.0.1:18402/"), "another host, to go by its name");
        assert!(!covers("[::1]:1", "http://[::2]:1/"));
    }
}
