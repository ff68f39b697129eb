//! Which hosts are reached without the proxy: the rules of NO_PROXY, as curl and most others have them.
//!
//! A list of entries set apart by commas or spaces. `*`: every host. A name: that host and all below it (a leading dot or
//! `*.` changes nothing). An address, or a block such as `10.0.0.0/8`: hosts that are given as addresses; names are not looked up. A port after
//! `:` narrows an entry to it.

use std::net::IpAddr;

use url::{Host, Url};

/// A list, read.
#[derive(Clone, Debug, Default)]
pub(super) struct Bypass(Vec<(Pattern, Option<u16>)>);

#[derive(Clone, Debug)]
enum Pattern {
    Every,
    Name(String),
    Block(IpAddr, u8),
}

impl Bypass {
    /// Reads a list. The error is what follows `the list of hosts without proxy`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let entries = text.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
        let read = |entry: &str| {
            self::entry(entry).ok_or_else(|| format!("has `{entry}`, which is no host, address or block of addresses"))
        };
        entries.map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a URL is reached directly.
    pub(super) fn covers(&self, url: &Url) -> bool {
        let port = url.port_or_known_default();
        let address = match url.host() {
            Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
            _ => None,
        };
        let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        self.0.iter().any(|(pattern, only)| {
            let fits = match pattern {
                Pattern::Every => true,
                Pattern::Name(name) => {
                    let rest = host.strip_suffix(name.as_str());
                    address.is_none() && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                }
                Pattern::Block(block, bits) => address.is_some_and(|address| is_within(address, *block, *bits)),
            };
            fits && only.is_none_or(|only| Some(only) == port)
        })
    }
}

fn entry(text: &str) -> Option<(Pattern, Option<u16>)> {
    if let Some(block) = block(text) {
        return Some((block, None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (text, None),
    };
    let pattern = match host {
        "*" => Pattern::Every,
        _ => match block(host) {
            Some(block) => block,
            None => Pattern::Name(name(host)?),
        },
    };
    Some((pattern, port))
}

fn name(host: &str) -> Option<String> {
    let bare = host.strip_prefix("*.").or(host.strip_prefix('.')).unwrap_or(host).trim_end_matches('.');
    match Host::parse(bare).ok()? {
        Host::Domain(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    }
}

/// `10.0.0.0/8`, `fe80::/10`, `[::1]`, `127.0.0.1`.
fn block(text: &str) -> Option<Pattern> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = super::guard::bare(address).parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(most);
    (bits <= most).then_some(Pattern::Block(address, bits))
}

fn is_within(address: IpAddr, block: IpAddr, bits: u8) -> bool {
    // Shifted to the left end of 128 bits; a shift by 128 leaves nothing to compare.
    let same = |left: u128, right: u128| (left ^ right).checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0;
    match (address, block) {
        (IpAddr::V4(address), IpAddr::V4(block)) => {
            same(u128::from(address.to_bits()) << 96, u128::from(block.to_bits()) << 96)
        }
        (IpAddr::V6(address), IpAddr::V6(block)) => same(address.to_bits(), block.to_bits()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_reached_directly_by_name_suffix_address_block_and_port() {
        #[rustfmt::skip]
        let table = [
            ("example.com", "http://example.com/", true),
            ("example.com", "https://www.Example.com./", true),
            ("example.com", "http://evil-example.com/", false),
            (".example.com", "http://example.com/", true),
            ("*.example.com", "http://a.b.example.com/", true),
            ("example.com:8080", "http://example.com:8080/", true),
            ("example.com:8080", "http://example.com/", false),
            ("example.com:443", "https://example.com/", true),
            ("10.0.0.0/8", "http://10.255.0.1/", true),
            ("10.0.0.0/8", "http://11.0.0.1/", false),
            ("10.0.0.0/8", "http://host.example/", false),
            ("0.0.0.0/0", "http://11.0.0.1/", true),
            ("0.0.0.0/0", "http://[::1]/", false),
            ("127.0.0.1", "http://127.0.0.1:81/", true),
            ("127.0.0.1:80", "http://127.0.0.1:81/", false),
            ("fe80::/10", "http://[febf::1]/", true),
            ("fe80::/10", "http://[fec0::1]/", false),
            ("::1", "http://[::1]:8080/", true),
            ("[::1]:80", "http://[::1]:8080/", false),
            ("a.example b.example,c.example", "http://c.example/", true),
            ("*", "http://anything/", true),
            ("", "http://anything/", false),
            ("1", "http://11.0.0.1/", false),
        ];
        for (list, url, expected) in table {
            let bypass = Bypass::parse(list).unwrap_or_default();
            assert_eq!(bypass.covers(&Url::parse(url).unwrap()), expected, "`{list}` {url}");
        }
        for wrong in ["10.0.0.0/33", "host:port", "a b/c", "fe80::/129"] {
            assert!(Bypass::parse(wrong).is_err(), "{wrong}");
        }
    }
}
