//! The address guard: which addresses of a host may be connected to, decided on the address itself.
//!
//! It looks up no names; [`super::connect`] asks it about each address just before connecting. That is the only place
//! that cannot be got around: a name may point anywhere, and a literal needs no lookup (reliability.md E.4).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use url::Url;

use super::peer_of;
use crate::error::{Failure, FailureKind};

/// Which addresses a request may connect to, checked on the address itself, for each hop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Any: the owner's own tasks.
    #[default]
    Any,
    /// Public addresses only, and the private or loopback ones of these hosts.
    Public {
        /// Hosts whose private addresses are granted.
        private_hosts: Arc<[PrivateHost]>,
        /// Who leads the request where, up to the host: `component `x` leads to`; `None`: it is a component's own.
        led_by: Option<Arc<str>>,
    },
}

/// A host whose private addresses are granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrivateHost {
    /// Name or literal, exact but for case; an IPv6 literal with brackets or without.
    pub(crate) host: String,
    /// Its ports.
    pub(crate) ports: Ports,
}

/// Ports of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    /// All of them.
    Any,
    /// The scheme's own.
    Usual,
    /// That one.
    One(u16),
}

impl PrivateHost {
    fn covers(&self, url: &Url) -> bool {
        let is_host = bare(&self.host).eq_ignore_ascii_case(bare(url.host_str().unwrap_or_default()));
        is_host
            && match self.ports {
                Ports::Any => true,
                Ports::Usual => url.port().is_none(),
                Ports::One(port) => url.port_or_known_default() == Some(port),
            }
    }
}

impl Guard {
    /// Whether a URL may lead to any address: there is no guard at all, or its host is granted by name.
    pub(super) fn grants(&self, url: &Url) -> bool {
        match self {
            Guard::Any => true,
            Guard::Public { private_hosts, .. } => private_hosts.iter().any(|granted| granted.covers(url)),
        }
    }

    /// What lets through to a URL only what both do. `later` is for the same host.
    pub(crate) fn and(&self, later: Guard, url: &Url) -> Guard {
        if self.grants(url) { later } else { self.clone() }
    }

    /// The failure of a connection under this guard: one that the guard has refused says who led there, and what grants it.
    pub(super) fn explain(&self, failure: Failure, url: &Url) -> Failure {
        match self {
            Guard::Public { led_by: Some(who), .. } if failure.kind == FailureKind::Policy => {
                let (peer, how) = (peer_of(url), how_to_grant_privately(url));
                let text = format!("{who} {peer}, which is not on the public internet and not granted ({how})");
                Failure { description: text, ..failure }
            }
            Guard::Public { led_by: None, .. } if failure.kind == FailureKind::Policy => {
                let description = format!("{} ({})", failure.description, how_to_grant_privately(url));
                Failure { description, ..failure }
            }
            _ => failure,
        }
    }
}

/// Stands before a granted host whose private addresses are granted, too.
pub(crate) const PRIVATE: &str = "private+";

/// Whether a host says by itself that it may be at a private address: an address does, and `localhost`.
pub(crate) fn is_private_by_name(host: &str) -> bool {
    let name = bare(host).to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

/// What grants a URL's host to a component, at whatever address.
fn how_to_grant_privately(url: &Url) -> String {
    let is_said = is_private_by_name(url.host_str().unwrap_or_default());
    how_to_grant(&format!("{}{}", if is_said { "" } else { PRIVATE }, peer_of(url)))
}

/// What grants a host to a component: the end of a sentence about one that is not.
pub(crate) fn how_to_grant(host: &str) -> String {
    format!("grant it with --allow-host {host}, or allow-hosts = [\"{host}\"] in [[callbacks]] or [[grants]]")
}

/// A host without the brackets of an IPv6 literal.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

/// Whether an address is one of the public internet. False for everything set aside by the IANA special-purpose
/// registries, and for IPv6 addresses that carry such an IPv4 address.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)      // this network, private, loopback, multicast, reserved, broadcast
            | (100, 64..=127, _)              // carrier-grade NAT
            | (169, 254, _)                   // link-local, cloud metadata
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)                 // protocol assignments, documentation
            | (192, 88, 99)                   // 6to4 relays
            | (192, 168, _)
            | (198, 18 | 19, _)               // benchmarks
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let part = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match part {
        // IPv4-compatible (holds :: and ::1 too), IPv4-mapped, NAT64: the address at the end counts.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(v4(high, low)),
        // 6to4: the address follows the prefix.
        [0x2002, high, low, ..] => is_public_v4(v4(high, low)),
        [0x2001, 0..=0x01ff, ..] => false, // protocol assignments, Teredo
        [0x2001, 0xdb8, ..] => false,      // documentation
        [0x3fff, 0..=0x0fff, ..] => false, // documentation
        // Everything that is given out lies in 2000::/3; not so unique local, link-local, multicast.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}
