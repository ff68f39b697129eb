//! Redirects as a pure function: a request and a redirect answer in, the next request or a refusal out
//! (RFC 9110 section 15.4, reliability.md B.3).
//!
//! It sends nothing, and whether redirects are followed at all is the caller's choice.

use std::time::Duration;

use http::HeaderValue;
use url::Url;

use super::credentials::Login;
use super::{Call, Payload};
use crate::error::{Failure, FailureDetail, FailureKind};
use crate::task::Pairs;

/// Headers that go along to another origin. All others the caller gave may be secrets. Without those of resumable uploads a
/// request of one would mean something else.
const KEPT: [&str; 12] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "if-range",
    "range",
    "tus-resumable",
    "upload-complete",
    "upload-draft-interop-version",
    "upload-length",
    "upload-metadata",
    "upload-offset",
    "user-agent",
];

/// Headers that say what the body is: gone with it, and kept with it even to another origin, for they hold no secret.
const OF_BODY: [&str; 4] = ["content-encoding", "content-language", "content-type", "digest"];

/// Headers that prove who asks.
const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// Longest URL that the HTTP client takes, in bytes.
const LONGEST_URL: usize = 65_534;

/// Longest wait before a redirect is followed.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// One request of a chain. The URL holds neither userinfo nor fragment.
#[derive(Clone)]
pub(super) struct Hop {
    pub(super) method: String,
    pub(super) url: Url,
    pub(super) headers: Pairs,
    pub(super) body: Payload,
    /// Of the task's URL, as long as the chain has not left that origin.
    pub(super) login: Option<Login>,
}

impl std::fmt::Debug for Hop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hop {} {}", self.method, crate::mask::url(self.url.as_str()))
    }
}

/// A request of a chain: what makes another one the same, so that following redirects would never end.
#[derive(Debug, PartialEq)]
pub(super) struct Visit {
    method: String,
    pub(super) url: Url,
    /// Those that a jar adds: a server that sets one and asks to come again means something by it.
    cookies: Option<HeaderValue>,
}

impl Visit {
    /// A request as it goes out.
    pub(super) fn of(hop: &Hop, cookies: Option<HeaderValue>) -> Self {
        Self { method: hop.method.clone(), url: hop.url.clone(), cookies }
    }
}

/// Whether a status asks to go elsewhere. 300 and 304 don't: they are answers.
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// The request that follows `hop`, which was answered with the redirect `status` and these Location headers. `before` is how
/// many there were before it. Whether it was there already is told by [`Visit`]s.
///
/// # Errors
/// [`FailureDetail::Redirect`] with the status, when the redirect may not be followed.
pub(super) fn next(hop: &Hop, status: u16, locations: &[String], before: usize, call: &Call) -> Result<Hop, Failure> {
    let refuse = |why: String| Err(refused(&hop.url, status, &why));
    let max_redirects = call.max_redirects;
    if before >= max_redirects as usize {
        let s = if max_redirects == 1 { "" } else { "s" };
        return refuse(format!("again after {max_redirects} redirect{s}, which is the limit"));
    }
    let url = match target(&hop.url, locations) {
        Ok(url) => url,
        Err(why) => return refuse(why),
    };
    let Some((method, keeps_body)) = method_after(hop, status, call.keep_body) else {
        return refuse(lost_body(&hop.method));
    };
    let mut headers = hop.headers.clone();
    let stays = url.origin() == hop.url.origin();
    if !stays {
        headers.retain(|(name, _)| is_one_of(name, &KEPT) || is_one_of(name, &OF_BODY));
    }
    let body = if keeps_body {
        hop.body.clone()
    } else {
        headers.retain(|(name, _)| !is_one_of(name, &OF_BODY));
        Payload::default()
    };
    Ok(Hop { method, url, headers, body, login: hop.login.clone().filter(|_| stays) })
}

/// The request with another URL and other headers, where the rules allow that: its body and method stay.
///
/// # Errors
/// Kind `policy` for a way from https to http, kind `url` for what is no URL.
pub(super) fn changed(hop: Hop, url: &str, headers: Pairs) -> Result<Hop, Failure> {
    let refuse = |kind, why: &str| Err(Failure::new(kind, format!("a component {why}")));
    let Ok(mut to) = Url::parse(url) else {
        return refuse(FailureKind::Url, "changed the URL to one that is none");
    };
    if !matches!(to.scheme(), "http" | "https") {
        return refuse(FailureKind::Url, "changed the URL to one that is neither http nor https");
    }
    if to.scheme() == "http" && hop.url.scheme() == "https" {
        return refuse(FailureKind::Policy, "changed the URL from https to unprotected http, which is not allowed");
    }
    // Both can't fail: an http URL has a host.
    let _ = to.set_username("");
    let _ = to.set_password(None);
    to.set_fragment(None);
    let stays = to.origin() == hop.url.origin();
    Ok(Hop { url: to, headers, login: hop.login.filter(|_| stays), ..hop })
}

/// Takes out what does not leave the origin it was meant for: credentials under whatever value, and `own`, the headers that
/// the call began with.
pub(super) fn hold_back(headers: &mut Pairs, own: &Pairs) {
    let is_own = |name: &str| own.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    let may_go = |name: &str| is_one_of(name, &KEPT) || is_one_of(name, &OF_BODY);
    headers.retain(|(name, _)| !is_one_of(name, &CREDENTIALS) && (may_go(name) || !is_own(name)));
}

/// How long to wait before the redirect is followed (Retry-After of a 3xx, RFC 9110 section 10.2.3).
///
/// # Errors
/// [`FailureDetail::Redirect`] when the server asks for longer than a running task may hold its place.
pub(super) fn wait(hop: &Hop, status: u16, asked: Option<Duration>) -> Result<Duration, Failure> {
    let wait = asked.unwrap_or_default();
    if wait > MAX_WAIT {
        let why = format!("and asks to wait {} s before it is followed, longer than 5 minutes", wait.as_secs());
        return Err(refused(&hop.url, status, &why));
    }
    Ok(wait)
}

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// The method to go on with, and whether the body goes along; `None` where following would silently lose an upload.
fn method_after(hop: &Hop, status: u16, keep_body: bool) -> Option<(String, bool)> {
    let has_body = !hop.body.is_empty();
    let same = Some((hop.method.clone(), true));
    let get = Some(("GET".to_owned(), false));
    match (status, hop.method.as_str()) {
        (_, "GET" | "HEAD") => same,
        (303, _) => get,
        (301 | 302, "POST") if !keep_body => get,
        (301 | 302, _) if has_body => None,
        _ => same,
    }
}

/// Why a 301 or 302 is not followed: clients make a GET of a POST by them, and of nothing else (RFC 9110 section 15.4.2); the bodies
/// of others haul sends elsewhere only where a server says clearly that it wants that.
fn lost_body(method: &str) -> String {
    match method {
        "POST" => "which would make a GET of the POST and lose the body".into(),
        method => format!("a {method} with a body, which haul sends elsewhere for 307 and 308 only"),
    }
}

/// Where the redirect leads, or the end of a sentence that says why it can't be followed.
fn target(from: &Url, locations: &[String]) -> Result<Url, String> {
    let Some((first, more)) = locations.split_first() else {
        return Err("without saying where".into());
    };
    if more.iter().any(|other| other != first) {
        return Err("to several places at once".into());
    }
    if first.trim().is_empty() {
        return Err("without saying where".into());
    }
    let Ok(mut url) = from.join(first.trim()) else {
        return Err("to something that is no URL".into());
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("to a `{}` URL", url.scheme()));
    }
    if url.scheme() == "http" && from.scheme() == "https" {
        return Err("from https to unprotected http".into());
    }
    // Both can't fail: an http URL has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    match url.as_str().len() {
        length if length > LONGEST_URL => Err(format!("to a URL of {length} bytes, too long to be sent")),
        _ => Ok(url),
    }
}

pub(super) fn refused(from: &Url, status: u16, why: &str) -> Failure {
    let description = format!("{} redirects ({status}) {why}", super::peer_of(from));
    let mut failure = Failure::new(FailureKind::HttpResponse, description).with(FailureDetail::Redirect);
    failure.http_status = Some(status);
    failure
}

/// Whether two URLs are of the same scheme, host and port. Userinfo is no part of an origin.
pub(crate) fn is_same_origin(one: &str, other: &str) -> bool {
    matches!((Url::parse(one), Url::parse(other)), (Ok(one), Ok(other)) if one.origin() == other.origin())
}
