//! URLs: the task's, its mirrors', its query parameters, and where tokens are renewed.
//!
//! A URL is looked at by RFC 3986, and left as it is written but for four things: its scheme gets small letters, its
//! fragment goes, its query parameters are joined to it, and what may not stand in a path or query is percent-encoded.
//! International host names have become ASCII before it is asked: that needs tables, which only the host has. Others are refused.

use super::Problems;
use crate::bindings::haul::transfer::types::{Task, TaskKind};
use crate::http;
use alloc::{format, string::String, vec::Vec};

/// Bytes of a URL, at most.
const URL_BYTES_MAX: usize = 8 * 1024;

/// Bytes of a host name, at most (RFC 1035 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// What may stand in a query beside letters and digits (RFC 3986 3.4), `%` included.
const QUERY_MARKS: &[u8] = b"-._~!$&'()*+,;=:@/?%[]";

/// What no part of a URL may hold though it is ASCII (RFC 3986 2), and some clients refuse to send.
const PATH_REFUSED: &[u8] = b"\"<>`{}";

/// Checks all URLs of a task, and joins its query parameters to them.
pub(super) fn admit(task: &mut Task, problems: &mut Problems) {
    let query = joined(&task.query);
    if !escapes_are_valid(&query) {
        problems.add("urlQueryParameters", "must not contain a % without two hexadecimal digits after it");
    }
    problems.add_if(super::has_control(&query), "urlQueryParameters", "must not contain control characters");
    match normal(&task.url, &query) {
        Ok(url) => task.url = url,
        Err(reason) => problems.add("url", reason),
    }
    // A.5: parameters belong to every URL of a parallel download. A mirror of another task is complete as it is.
    let parallel = matches!(task.kind, TaskKind::ParallelDownload);
    for (index, mirror) in task.mirrors.iter_mut().enumerate() {
        match normal(mirror, if parallel { &query } else { "" }) {
            Ok(url) => *mirror = url,
            Err(reason) => problems.add("mirrors", format!("must hold valid URLs; number {} {reason}", index + 1)),
        }
    }
    task.query = Vec::new();
    if let Some(auth) = &task.auth
        && let Some(url) = &auth.refresh_url
        && let Err(reason) = normal(url, "")
    {
        problems.add("options", format!("must have a valid refreshUrl: it {reason}"));
    }
}

/// The parameters as A.2 joins them: as they are, with `&` between them.
fn joined(query: &[(String, String)]) -> String {
    let pairs: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// The normal form of a URL, or what is wrong with it, to be read after the field's name.
fn normal(url: &str, query: &str) -> Result<String, String> {
    if url.chars().any(|character| character.is_whitespace() || character.is_control()) {
        return Err("must not contain spaces or control characters; percent-encode them".into());
    }
    if url.contains('\\') {
        return Err("must not contain a backslash".into());
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("", ""));
    let scheme = match scheme {
        _ if scheme.eq_ignore_ascii_case("https") => "https",
        _ if scheme.eq_ignore_ascii_case("http") => "http",
        _ => return Err("must be an absolute http or https URL".into()),
    };
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    let (authority, path) = rest.split_at_checked(rest.find(['/', '?']).unwrap_or(rest.len())).unwrap_or((rest, ""));
    check_authority(authority)?;
    if !escapes_are_valid(url) {
        return Err("must not contain a % without two hexadecimal digits after it".into());
    }

    let mut normal = format!("{scheme}://{authority}");
    push_encoded(&mut normal, path, |byte| byte.is_ascii() && !PATH_REFUSED.contains(&byte));
    if !query.is_empty() {
        normal.push(if path.contains('?') { '&' } else { '?' });
        push_encoded(&mut normal, query, |byte| byte.is_ascii_alphanumeric() || QUERY_MARKS.contains(&byte));
    }
    if normal.len() > URL_BYTES_MAX {
        return Err(format!("must be at most {URL_BYTES_MAX} bytes long with its parameters, not {}", normal.len()));
    }
    Ok(normal)
}

/// Copies text, and percent-encodes the bytes that may not stand there.
fn push_encoded(out: &mut String, text: &str, may_stand: impl Fn(u8) -> bool) {
    for character in text.chars() {
        let mut buffer = [0; 4];
        for byte in character.encode_utf8(&mut buffer).bytes() {
            if may_stand(byte) {
                out.push(char::from(byte));
            } else {
                http::push_escaped(out, byte);
            }
        }
    }
}

/// `user:password@host:port` (RFC 3986 3.2). The host takes the credentials out again and keeps them secret.
fn check_authority(authority: &str) -> Result<(), String> {
    let (user, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains('@') || !user.is_ascii() {
        return Err("must have user name and password percent-encoded".into());
    }
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').unwrap_or(("", rest));
            if host.parse::<core::net::Ipv6Addr>().is_err() {
                return Err("must have a valid IPv6 address between its brackets".into());
            }
            (host, port)
        }
        None => {
            let (host, port) =
                address.split_at_checked(address.find(':').unwrap_or(address.len())).unwrap_or((address, ""));
            check_host(host)?;
            (host, port)
        }
    };
    if host.len() > HOST_BYTES_MAX {
        return Err(format!("must have a host of at most {HOST_BYTES_MAX} characters"));
    }
    let port_is_valid = match port.strip_prefix(':') {
        Some(digits) => http::number(digits).is_some_and(|port| (1..=65_535).contains(&port)),
        None => port.is_empty(),
    };
    if port_is_valid { Ok(()) } else { Err("must have a port from 1 to 65535".into()) }
}

fn check_host(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("must name a host".into());
    }
    if !host.is_ascii() {
        return Err("must have an ASCII host name; this one has no such form (IDNA)".into());
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !host.bytes().all(is_plain) || !host.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
        return Err("must have a host of letters, digits, hyphens and dots".into());
    }
    Ok(())
}

fn escapes_are_valid(text: &str) -> bool {
    http::unescape(text, false).is_some()
}
