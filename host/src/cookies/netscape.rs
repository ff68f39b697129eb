//! Netscape's cookie file, which curl, wget and browsers' extensions read and write: a cookie a line, seven fields set
//! apart by tabs: domain, whether hosts below it get it too, path, https only, end in seconds since 1970 (0: session), name,
//! value. `#HttpOnly_` before the domain is curl's. Other lines that begin with `#` are comments. A line `Set-Cookie: ...`, as curl
//! reads it too, is taken where it says by `Domain` whose cookie it is; it is written again in Netscape's form.
//!
//! Fields are bytes. A line that nobody could send as a cookie is handed back as it is, to be written again: it is the user's.

use url::Url;

use super::{Cookie, Cookies, MAX_COOKIE, divided, is_public_suffix};

const HTTP_ONLY: &[u8] = b"#HttpOnly_";
/// Before a cookie as a server says it.
const SET_COOKIE: &[u8] = b"set-cookie:";
/// What some editors put before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// How such files begin, for those who look.
const TITLES: [&[u8]; 2] = [b"# Netscape HTTP Cookie File", b"# HTTP Cookie File"];

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) cookies: Cookies,
    pub(super) others: Vec<Other>,
}

/// A line that is neither a comment nor a cookie that could be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Other {
    /// Counted from 1.
    pub(super) number: usize,
    /// Without its end.
    pub(super) line: Vec<u8>,
    /// It is a `Set-Cookie:` that does not say where its cookie goes.
    pub(super) is_nobodys: bool,
}

/// Reads a file; what its `Max-Age` counts from is now. The error is a sentence about one in which nothing is a cookie: it is
/// another program's.
pub(super) fn read(text: &[u8], now_ms: u64) -> Result<Content, String> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut content = Content::default();
    let mut is_jar = TITLES.iter().any(|title| text.starts_with(title));
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (http_only, rest) = match line.strip_prefix(HTTP_ONLY) {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        if rest.trim_ascii().is_empty() || (rest.starts_with(b"#") && !http_only) {
            continue;
        }
        let (fields, said) = (fields(rest), after_set_cookie(rest));
        let found = match said {
            Some(said) => set_cookie(said, now_ms),
            None => fields.as_ref().and_then(|fields| cookie(fields, http_only)),
        };
        is_jar |= fields.is_some() || found.is_some();
        match found {
            Some(cookie) => drop(content.cookies.put(cookie, 0)),
            None => {
                let is_nobodys = said.is_some_and(|said| domain_of(said).is_none());
                content.others.push(Other { number: index + 1, line: line.to_vec(), is_nobodys });
            }
        }
    }
    if is_jar {
        return Ok(content);
    }
    let nobodys = content.others.iter().find(|other| other.is_nobodys);
    match (nobodys, content.others.first()) {
        (Some(Other { number, .. }), _) => Err(format!(
            "line {number} of the cookie file does not say where its cookie goes: add `; Domain=HOST` to each `Set-Cookie:` line"
        )),
        (None, Some(Other { number, .. })) => Err(format!(
            "line {number} of the cookie file is no cookie in Netscape's form (seven fields set apart by tabs) or as \
             `Set-Cookie:` with a `Domain`, nor is any other"
        )),
        (None, None) => Ok(content),
    }
}

/// What a `Set-Cookie:` line says.
fn after_set_cookie(line: &[u8]) -> Option<&[u8]> {
    let (name, value) = line.split_at_checked(SET_COOKIE.len())?;
    name.eq_ignore_ascii_case(SET_COOKIE).then_some(value)
}

/// The `Domain` of a cookie as a server says it.
fn domain_of(set_cookie: &[u8]) -> Option<&str> {
    let attributes = set_cookie.split(|byte| *byte == b';').skip(1).filter_map(divided);
    let (_, domain) = attributes.filter(|(name, _)| name.eq_ignore_ascii_case(b"domain")).last()?;
    let domain = std::str::from_utf8(domain).ok()?;
    Some(domain.strip_prefix('.').unwrap_or(domain)).filter(|domain| !domain.is_empty())
}

/// A cookie as a server of its domain would set it, over https. One without a domain is nobody's: curl sends it to all hosts.
fn set_cookie(said: &[u8], now_ms: u64) -> Option<Cookie> {
    let url = Url::parse(&format!("https://{}/", domain_of(said)?)).ok()?;
    Cookie::parse(said, &url, now_ms)
}

/// The fields of a line in Netscape's form.
struct Fields<'a> {
    domain: &'a [u8],
    below: bool,
    path: &'a [u8],
    secure: bool,
    expires: &'a [u8],
    name: &'a [u8],
    value: &'a [u8],
}

fn fields(line: &[u8]) -> Option<Fields<'_>> {
    let fields: Vec<&[u8]> = line.splitn(7, |byte| *byte == b'\t').collect();
    let [domain, below, path, secure, expires, name, ref rest @ ..] = fields[..] else { return None };
    let flag = |text: &[u8]| match text.to_ascii_uppercase().as_slice() {
        b"TRUE" => Some(true),
        b"FALSE" => Some(false),
        _ => None,
    };
    let value = rest.first().copied().unwrap_or_default(); // curl leaves an empty one out
    Some(Fields { domain, below: flag(below)?, path, secure: flag(secure)?, expires, name, value })
}

fn cookie(fields: &Fields<'_>, http_only: bool) -> Option<Cookie> {
    let Fields { domain, below, path, secure, expires, name, value } = *fields;
    let is_sound = |text: &[u8]| !text.iter().any(u8::is_ascii_control);
    let domain = std::str::from_utf8(domain).ok()?;
    let domain = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
    let fits = !domain.is_empty()
        && name.len() + value.len() <= MAX_COOKIE
        && [domain.as_bytes(), path, name, value].into_iter().all(is_sound);
    fits.then_some(Cookie {
        name: name.into(),
        value: value.into(),
        // As with a server's cookie (RFC 6265 section 5.3): nobody's cookie goes to all of .com.
        host_only: !below || is_public_suffix(&domain),
        domain,
        path: if path.starts_with(b"/") { path.into() } else { b"/".into() },
        secure,
        http_only,
        expires_at: ends_at(expires)?,
    })
}

/// When a cookie ends, by the file's field: some write fractions of a second, Python nothing for a session, others -1 for what is
/// over.
fn ends_at(field: &[u8]) -> Option<Option<u64>> {
    let text = std::str::from_utf8(field).ok()?;
    let seconds: i64 = match text.split_once('.').map_or(text, |(whole, _)| whole) {
        "" => 0,
        whole => whole.parse().ok()?,
    };
    Some(match u64::try_from(seconds) {
        Ok(0) => None,
        Ok(seconds) => Some(seconds.saturating_mul(1000)),
        Err(_) => Some(0),
    })
}

/// Writes a file. Cookies whose time is over are left out.
pub(super) fn write(cookies: &Cookies, others: &[Other], now_ms: u64) -> Vec<u8> {
    let mut text = b"# Netscape HTTP Cookie File\n# Written by haul; it holds secrets.\n\n".to_vec();
    for cookie in cookies.0.iter().filter(|cookie| cookie.expires_at.is_none_or(|at| at > now_ms)) {
        let flag = |is: bool| if is { "TRUE" } else { "FALSE" };
        let dot = if cookie.host_only { "" } else { "." };
        let below = flag(!cookie.host_only);
        let expires = cookie.expires_at.map_or(0, |at| at.div_ceil(1000)).to_string();
        text.extend_from_slice(if cookie.http_only { HTTP_ONLY } else { b"" });
        text.extend_from_slice(dot.as_bytes());
        let fields = [
            cookie.domain.as_bytes(),
            below.as_bytes(),
            &cookie.path,
            flag(cookie.secure).as_bytes(),
            expires.as_bytes(),
            &cookie.name,
            &cookie.value,
        ];
        text.extend_from_slice(&fields.join(&b'\t'));
        text.push(b'\n');
    }
    for other in others {
        text.extend_from_slice(&other.line);
        text.push(b'\n');
    }
    text
}
