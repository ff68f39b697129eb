//! Netscape's cookie file, which curl, wget and browsers' extensions read and write: a cookie a line, seven fields set
//! apart by tabs: domain, whether hosts below it get it too, path, https only, end in seconds since 1970 (0: session), name,
//! value. `#HttpOnly_` before the domain is curl's. Other lines that begin with `#` are comments.

use std::fmt::Write;

use super::{Cookie, Cookies, MAX_COOKIE, is_public_suffix};

const HTTP_ONLY: &str = "#HttpOnly_";

/// Reads a file. The error is a sentence with the line's number and without its content.
pub(super) fn read(text: &str) -> Result<Cookies, String> {
    let mut cookies = Cookies::default();
    for (index, line) in text.lines().enumerate() {
        let (http_only, line) = match line.strip_prefix(HTTP_ONLY) {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        if line.trim().is_empty() || (line.starts_with('#') && !http_only) {
            continue;
        }
        let Some(cookie) = cookie(line, http_only) else {
            return Err(format!(
                "line {} of the cookie file is no cookie in Netscape's form (seven fields set apart by tabs)",
                index + 1
            ));
        };
        cookies.put(cookie, 0);
    }
    Ok(cookies)
}

fn cookie(line: &str, http_only: bool) -> Option<Cookie> {
    let fields: Vec<&str> = line.splitn(7, '\t').collect();
    let [domain, below, path, secure, expires, name, ref rest @ ..] = fields[..] else { return None };
    let flag = |text: &str| match text.to_ascii_uppercase().as_str() {
        "TRUE" => Some(true),
        "FALSE" => Some(false),
        _ => None,
    };
    let value = rest.first().copied().unwrap_or_default(); // curl leaves an empty one out
    let seconds: u64 = expires.parse().ok()?;
    let domain = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
    let fits = !domain.is_empty() && path.starts_with('/') && name.len() + value.len() <= MAX_COOKIE;
    fits.then_some(Cookie {
        name: name.into(),
        value: value.into(),
        // As with a server's cookie (RFC 6265 section 5.3): nobody's cookie goes to all of .com.
        host_only: !flag(below)? || is_public_suffix(&domain),
        domain,
        path: path.into(),
        secure: flag(secure)?,
        http_only,
        expires_at: (seconds > 0).then(|| seconds.saturating_mul(1000)),
    })
}

/// Writes a file. Cookies whose time is over are left out.
pub(super) fn write(cookies: &Cookies, now_ms: u64) -> String {
    let mut text = String::from("# Netscape HTTP Cookie File\n# Written by haul; it holds secrets.\n\n");
    for cookie in cookies.0.iter().filter(|cookie| cookie.expires_at.is_none_or(|at| at > now_ms)) {
        let flag = |is: bool| if is { "TRUE" } else { "FALSE" };
        let prefix = if cookie.http_only { HTTP_ONLY } else { "" };
        let dot = if cookie.host_only { "" } else { "." };
        let (below, secure) = (flag(!cookie.host_only), flag(cookie.secure));
        let expires = cookie.expires_at.map_or(0, |at| at.div_ceil(1000));
        let Cookie { domain, path, name, value, .. } = cookie;
        let _ = writeln!(text, "{prefix}{dot}{domain}\t{below}\t{path}\t{secure}\t{expires}\t{name}\t{value}");
    }
    text
}
