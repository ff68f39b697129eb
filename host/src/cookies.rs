//! Cookies (RFC 6265 with the prefixes, size limits and protection of secure cookies of RFC 6265bis): which are taken from an
//! answer, which go with a request, and the jar that holds them.
//!
//! Names, values and paths are bytes: a server gets back what it has set, whatever it took for text. Time is an argument. It
//! opens no file: a jar hands its text, in Netscape's form, to whoever keeps it. Not here: when a jar is asked, which is the
//! transport's business. SameSite is read by nobody: haul has no pages that could link.

mod date;
mod netscape;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use url::{Host, Url};

use self::netscape::{Content, Other};
use crate::error::{Error, Result};

/// Longest name and value together (RFC 6265bis section 5.6).
const MAX_COOKIE: usize = 4096;
/// Most cookies of one domain, and of a jar; the oldest give way.
const MAX_PER_DOMAIN: usize = 50;
const MAX_IN_ALL: usize = 3000;

/// One cookie, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Name; empty for a cookie that is only a value.
    pub name: Vec<u8>,
    /// Value, quotes and all.
    pub value: Vec<u8>,
    /// Host or domain in lower case, without a leading dot.
    pub domain: String,
    /// Only `domain` itself gets it, not what is below.
    pub host_only: bool,
    /// Where it begins to apply; begins with `/`.
    pub path: Vec<u8>,
    /// Only over https.
    pub secure: bool,
    /// Not for scripts; kept because the file form has it.
    pub http_only: bool,
    /// When it ends, in milliseconds since 1970; `None`: with the session, which in haul lasts as long as the jar.
    pub expires_at: Option<u64>,
}

impl Cookie {
    /// Reads one Set-Cookie value that `url` answered with. `None`: it is none, or a server may not set it from there.
    pub fn parse(set_cookie: impl AsRef<[u8]>, url: &Url, now_ms: u64) -> Option<Self> {
        let mut parts = set_cookie.as_ref().split(|byte| *byte == b';');
        let pair = parts.next()?.trim_ascii();
        let (name, value) = divided(pair).unwrap_or((b"", pair));
        let is_sound = !pair.iter().any(u8::is_ascii_control);
        if pair.is_empty() || name.len() + value.len() > MAX_COOKIE || !is_sound {
            return None;
        }
        let host = url.host_str()?.to_ascii_lowercase();
        let mut cookie = Self {
            name: name.into(),
            value: value.into(),
            domain: host.clone(),
            host_only: true,
            path: default_path(url),
            secure: false,
            http_only: false,
            expires_at: None,
        };
        let mut max_age = None;
        for part in parts {
            let (attribute, value) = divided(part).unwrap_or((part.trim_ascii(), b""));
            let text = String::from_utf8_lossy(value);
            match attribute.to_ascii_lowercase().as_slice() {
                b"expires" => cookie.expires_at = date::at_ms(&text).or(cookie.expires_at),
                b"max-age" => max_age = text.parse::<i64>().ok().or(max_age),
                b"domain" => {
                    let domain = text.strip_prefix('.').unwrap_or(&text).to_ascii_lowercase();
                    cookie.host_only = domain.is_empty();
                    cookie.domain = if domain.is_empty() { host.clone() } else { domain };
                }
                b"path" => cookie.path = if value.starts_with(b"/") { value.into() } else { default_path(url) },
                b"secure" => cookie.secure = true,
                b"httponly" => cookie.http_only = true,
                _ => {}
            }
        }
        if let Some(seconds) = max_age {
            // Max-Age wins over Expires; none left means gone already.
            let lives = u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
            cookie.expires_at = Some(if lives == 0 { 0 } else { now_ms.saturating_add(lives) });
        }
        cookie.may_be_set_by(url).then_some(cookie)
    }

    fn may_be_set_by(&mut self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        if !self.host_only && is_public_suffix(&self.domain) {
            // `com` means all of com; a host that is itself called so keeps it to itself.
            self.host_only = true;
            if self.domain != host {
                return false;
            }
        }
        // What a cookie without a name would be taken for by a server is no prefix of its own (RFC 6265bis section 5.7).
        let begins = self.pair().to_ascii_lowercase();
        let prefixed = (!begins.starts_with(b"__secure-") || (self.secure && !self.name.is_empty()))
            && (!begins.starts_with(b"__host-")
                || (self.secure && self.host_only && self.path == b"/" && !self.name.is_empty()));
        self.is_of_host(url) && (!self.secure || is_protected(url)) && prefixed
    }

    /// Whether a request to this URL at this time carries it.
    pub(crate) fn goes_to(&self, url: &Url, now_ms: u64) -> bool {
        self.is_of_host(url)
            && path_matches(&self.path, url.path().as_bytes())
            && (!self.secure || is_protected(url))
            && self.expires_at.is_none_or(|at| at > now_ms)
    }

    /// RFC 6265 section 5.1.3: the host itself, or a name that ends in a dot and the domain. An address has nothing below it.
    fn is_of_host(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let is_below = || {
            let prefix = host.strip_suffix(&self.domain).and_then(|rest| rest.strip_suffix('.'));
            !self.host_only
                && matches!(url.host(), Some(Host::Domain(_)))
                && prefix.is_some_and(|name| !name.is_empty())
        };
        host == self.domain || is_below()
    }

    fn is_same(&self, other: &Cookie) -> bool {
        (&self.name, &self.domain, &self.path) == (&other.name, &other.domain, &other.path)
    }

    fn pair(&self) -> Vec<u8> {
        if self.name.is_empty() { self.value.clone() } else { [&*self.name, &*self.value].join(&b'=') }
    }
}

/// What is before the first `=`, and what is behind it, without the blanks around them.
fn divided(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = pair.iter().position(|byte| *byte == b'=')?;
    Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
}

/// What a server may not claim: `com`, `co.uk`, `github.io`, and any name without a dot.
fn is_public_suffix(domain: &str) -> bool {
    !domain.contains('.') || psl::suffix_str(domain).is_some_and(|suffix| suffix == domain)
}

/// Over TLS.
fn is_protected(url: &Url) -> bool {
    url.scheme() == "https"
}

/// RFC 6265 section 5.1.4.
fn default_path(url: &Url) -> Vec<u8> {
    match url.path().rfind('/') {
        None | Some(0) => "/".into(),
        Some(end) => url.path()[..end].into(),
    }
}

/// RFC 6265 section 5.1.4: the same, or below.
fn path_matches(cookie: &[u8], asked: &[u8]) -> bool {
    asked.strip_prefix(cookie).is_some_and(|rest| rest.is_empty() || cookie.ends_with(b"/") || rest.starts_with(b"/"))
}

/// Takes apart several Set-Cookie values that were joined by commas: a comma not followed by a space separates
/// (background_downloader's `cookiesFromSetCookie`).
fn split_set_cookie(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut from = 0;
    while let Some(comma) = rest[from..].find(',').map(|at| from + at) {
        if rest[comma + 1..].starts_with(' ') {
            from = comma + 1;
        } else {
            found.push(rest[..comma].trim());
            rest = &rest[comma + 1..];
            from = 0;
        }
    }
    found.push(rest.trim());
    found.retain(|value| !value.is_empty());
    found
}

/// The Cookie header for a request to `url`, from the Set-Cookie values of an answer of the same host
/// (background_downloader's `Request.cookieHeader`, but a domain matches whole labels only: `evil-example.com` never gets
/// what `example.com` set). `None`: no cookie goes there, or `url` is none.
pub fn cookie_header<'a>(set_cookies: impl IntoIterator<Item = &'a str>, url: &str, now_ms: u64) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let mut cookies = Cookies::default();
    let values = set_cookies.into_iter().flat_map(split_set_cookie);
    for cookie in values.filter_map(|value| Cookie::parse(value, &url, now_ms)) {
        cookies.put(cookie, now_ms);
    }
    String::from_utf8(cookies.header(&url, now_ms)?).ok()
}

/// A set of cookies, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cookies(Vec<Cookie>);

impl Cookies {
    /// Adds one, in the place of its namesake, however many there are; one whose time is over only removes that. True when
    /// anything changed.
    fn put(&mut self, cookie: Cookie, now_ms: u64) -> bool {
        let is_over = cookie.expires_at.is_some_and(|at| at <= now_ms);
        if let Some(old) = self.0.iter().position(|old| old.is_same(&cookie)) {
            if is_over {
                self.0.remove(old);
                return true;
            }
            return std::mem::replace(&mut self.0[old], cookie.clone()) != cookie;
        }
        if is_over {
            return false;
        }
        self.0.push(cookie);
        true
    }

    /// The oldest gives way to one that a server has added. A file may have more: only servers are held to this.
    fn make_room(&mut self, domain: &str) {
        let of_domain = |other: &Cookie| other.domain == domain;
        if self.0.iter().filter(|other| of_domain(other)).count() > MAX_PER_DOMAIN
            && let Some(oldest) = self.0.iter().position(of_domain)
        {
            self.0.remove(oldest);
        } else if self.0.len() > MAX_IN_ALL {
            self.0.remove(0);
        }
    }

    /// Takes what an answer of `url` sets. True when anything changed.
    fn take<'a>(&mut self, set_cookies: impl Iterator<Item = &'a [u8]>, url: &Url, now_ms: u64) -> bool {
        let mut changed = false;
        for cookie in set_cookies.filter_map(|value| Cookie::parse(value, url, now_ms)) {
            // What came over TLS is not overlaid by what came in the clear (RFC 6265bis section 5.7).
            let overlays = |old: &Cookie| old.secure && old.name == cookie.name && old.domain == cookie.domain;
            if is_protected(url) || !self.0.iter().any(overlays) {
                let (domain, before) = (cookie.domain.clone(), self.0.len());
                changed |= self.put(cookie, now_ms);
                if self.0.len() > before {
                    self.make_room(&domain);
                }
            }
        }
        changed
    }

    /// The header for a request: longer paths first, then older ones (RFC 6265 section 5.4).
    fn header(&self, url: &Url, now_ms: u64) -> Option<Vec<u8>> {
        let mut found: Vec<&Cookie> = self.0.iter().filter(|cookie| cookie.goes_to(url, now_ms)).collect();
        found.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<Vec<u8>> = found.into_iter().map(Cookie::pair).collect();
        (!pairs.is_empty()).then(|| pairs.join(&b"; "[..]))
    }
}

/// Keeps the text of a jar somewhere.
type Keep = Box<dyn Fn(Vec<u8>) + Send + Sync>;

/// A jar of cookies, shared by all who send requests for one profile. Cheap to clone.
#[derive(Clone)]
pub struct Jar {
    inner: Arc<Inner>,
}

struct Inner {
    cookies: Mutex<Cookies>,
    /// Lines of the file that are no cookies which could be sent.
    others: Vec<Other>,
    /// Changed since it was kept last.
    dirty: AtomicBool,
    keep: Keep,
}

impl std::fmt::Debug for Jar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Jar(***)")
    }
}

impl Default for Jar {
    fn default() -> Self {
        Self::with(Content::default(), Box::new(|_| ()))
    }
}

impl Jar {
    fn with(content: Content, keep: Keep) -> Self {
        let Content { cookies, others } = content;
        Self { inner: Arc::new(Inner { cookies: Mutex::new(cookies), others, dirty: AtomicBool::new(false), keep }) }
    }

    /// A jar with the cookies of a text in Netscape's form, or with `Set-Cookie:` lines that have a `Domain`, whose `Max-Age`
    /// counts from `now_ms`; `keep` is given its text after changes. Lines that are no cookies which could be sent stay in it as
    /// they are ([`Jar::left_out`], [`Jar::nobodys`]).
    ///
    /// # Errors
    /// [`Error::Usage`] when no line is one, and some should be.
    pub fn read(text: &[u8], now_ms: u64, keep: impl Fn(Vec<u8>) + Send + Sync + 'static) -> Result<Self> {
        Ok(Self::with(netscape::read(text, now_ms).map_err(Error::Usage)?, Box::new(keep)))
    }

    /// Which lines of the text are no cookies that could be sent, by number and without their content, if any are there.
    pub fn left_out(&self) -> Option<String> {
        self.lines(false)
    }

    /// Which lines are `Set-Cookie:` without a `Domain`, so that nobody knows where to send them, if any are there.
    pub fn nobodys(&self) -> Option<String> {
        self.lines(true)
    }

    fn lines(&self, are_nobodys: bool) -> Option<String> {
        let mut others = self.inner.others.iter().filter(|other| other.is_nobodys == are_nobodys);
        let first = others.next()?.number;
        Some(match others.count() {
            0 => format!("line {first}"),
            more => format!("line {first} and {more} more"),
        })
    }

    /// All cookies in Netscape's form: what curl's and wget's cookie files are.
    pub fn text(&self, now_ms: u64) -> Vec<u8> {
        netscape::write(&self.lock(), &self.inner.others, now_ms)
    }

    /// The Cookie header for a request, if any cookie goes there.
    pub(crate) fn header(&self, url: &Url, now_ms: u64) -> Option<HeaderValue> {
        HeaderValue::from_bytes(&self.lock().header(url, now_ms)?).ok()
    }

    /// Takes the cookies of an answer. True when the jar must be kept before long.
    pub(crate) fn take<'a>(&self, set_cookies: impl Iterator<Item = &'a [u8]>, url: &Url, now_ms: u64) -> bool {
        self.lock().take(set_cookies, url, now_ms) && !self.inner.dirty.swap(true, Ordering::SeqCst)
    }

    /// Hands the jar's text to its keeper, if it has changed.
    pub(crate) fn keep(&self, now_ms: u64) {
        if self.inner.dirty.swap(false, Ordering::SeqCst) {
            (self.inner.keep)(self.text(now_ms));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cookies> {
        self.inner.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
