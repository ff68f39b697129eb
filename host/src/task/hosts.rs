//! Names of hosts as they are asked for: international ones become ASCII (IDNA, as in the WHATWG's URL standard).
//!
//! It judges nothing: a name that has no such form stays as it is, for `admit` to refuse.

use std::ops::Range;

use super::Task;

/// Brings the hosts of all URLs of a task into ASCII.
pub(crate) fn to_ascii(task: &mut Task) {
    let refresh = task.auth.iter_mut().filter_map(|auth| auth.refresh_url.as_mut());
    for url in std::iter::once(&mut task.url).chain(&mut task.mirrors).chain(refresh) {
        if let Some(ascii) = ascii(url) {
            *url = ascii;
        }
    }
}

/// The URL with its host in ASCII; `None` where it is that, or cannot be.
fn ascii(url: &str) -> Option<String> {
    if url.is_ascii() {
        return None;
    }
    let host = host_in(url)?;
    match url::Host::parse(&url[host.clone()]) {
        Ok(url::Host::Domain(name)) if !url[host.clone()].is_ascii() => {
            Some([&url[..host.start], &name, &url[host.end..]].concat())
        }
        _ => None,
    }
}

/// Where the host of a URL stands, without login and port.
fn host_in(url: &str) -> Option<Range<usize>> {
    let authority = url.find("://")? + 3;
    let end = url[authority..].find(['/', '?', '#', '\\']).map_or(url.len(), |length| authority + length);
    let start = url[authority..end].rfind('@').map_or(authority, |at| authority + at + 1);
    let end = url[start..end].find(':').map_or(end, |length| start + length);
    Some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_international_host_becomes_ascii_and_nothing_else_changes() {
        for (given, expected) in [
            ("http://münchen.de/straße?ü#ü", "http://xn--mnchen-3ya.de/straße?ü#ü"),
            ("https://u:p@BÜCHER.example:8443", "https://u:p@xn--bcher-kva.example:8443"),
            ("http://例え.テスト/", "http://xn--r8jz45g.xn--zckzah/"),
        ] {
            assert_eq!(ascii(given).as_deref(), Some(expected));
        }
        for left in ["http://example.org/f", "http://h/ü", "http://a\u{fffd}b/", "münchen.de/f", "http://[::1]/ü"] {
            assert_eq!(ascii(left), None, "{left}");
        }
        let mut task = Task { mirrors: vec!["http://ü.example/m".into()], ..Task::download("http://ü.example/f") };
        to_ascii(&mut task);
        assert_eq!(
            (task.url.as_str(), task.mirrors[0].as_str()),
            ("http://xn--tda.example/f", "http://xn--tda.example/m")
        );
    }
}
