//! The trail of an attempt: whom it asked, over which connections, how long each step took, and which secrets its requests have
//! carried: whoever added them, an answer may repeat them.
//!
//! What URLSession's transaction metrics and dio's list of redirects tell. It judges nothing, and keeps the first 64 exchanges.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Version};
use url::Url;

use super::connect::Trace;
use super::handles::Used;
use crate::clock;
use crate::event::{Hop, Protocol};
use crate::mask::Secrets;

/// Exchanges kept: far more than any chain of redirects, and as many as say something of a divided download.
const MOST: usize = 64;

/// How a connection came to be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Making {
    /// Whom the stream leads to: the server, or the proxy in front of it.
    pub(super) remote: Option<SocketAddr>,
    pub(super) proxied: bool,
    /// Its socket's descriptor.
    pub(super) socket: Option<RawFd>,
    pub(super) lookup: Duration,
    pub(super) connect: Duration,
    pub(super) tls: Duration,
}

/// Collects the exchanges of one attempt. Cheap to clone: all clones are one trail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    hops: Vec<Hop>,
    /// What the requests have carried.
    secrets: Secrets,
}

impl Trail {
    /// The exchanges so far; the trail is empty then.
    pub(crate) fn take(&self) -> Vec<Hop> {
        std::mem::take(&mut self.seen().hops)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What its requests have carried and nobody is to see where an answer repeats it.
    pub(crate) fn secrets(&self) -> Secrets {
        self.seen().secrets.clone()
    }

    /// Takes up secrets that a request carries where nobody would look for them.
    pub(crate) fn carries(&self, secrets: Secrets) {
        if !secrets.is_empty() {
            self.seen().secrets.add_passing(secrets);
        }
    }

    /// Takes up the secrets of a request as it goes out.
    pub(super) fn sends(&self, url: &Url, headers: &HeaderMap) {
        let mut secrets = Secrets::default();
        secrets.add_request(url.as_str(), headers.iter().map(|(name, value)| (name.as_str(), text_of(value))));
        self.carries(secrets);
    }

    /// Adds exchanges of another trail.
    pub(crate) fn extend(&self, hops: Vec<Hop>) {
        let all = &mut self.seen().hops;
        let room = MOST.saturating_sub(all.len());
        all.extend(hops.into_iter().take(room));
    }

    /// Hides secrets that a server has repeated in a redirect.
    pub(super) fn mask(&self, used: &Used) {
        self.seen().hops.iter_mut().for_each(|hop| used.mask(&mut hop.url));
    }

    /// Adds an exchange that began at `began` and is answered, or has failed, now.
    pub(super) fn add(&self, url: &Url, began: Instant, answer: Option<(u16, Version)>, trace: Option<(&Trace, bool)>) {
        let all = clock::now().saturating_duration_since(began);
        let (trace, reused) = trace.unzip();
        let reused = reused.unwrap_or(false);
        let making = trace.map(|trace| trace.making).unwrap_or_default();
        let own = if reused {
            Making { remote: making.remote, proxied: making.proxied, ..Making::default() }
        } else {
            making
        };
        let us = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let hop = Hop {
            url: crate::mask::text(url.as_str()),
            status: answer.map(|(status, _)| status),
            protocol: answer.map(|(_, version)| match version {
                Version::HTTP_2 => Protocol::Http2,
                Version::HTTP_10 => Protocol::Http10,
                _ => Protocol::Http11,
            }),
            remote_address: own.remote,
            proxied: own.proxied,
            reused,
            lookup_us: us(own.lookup),
            connect_us: us(own.connect),
            tls_us: us(own.tls),
            answer_us: us(all.saturating_sub(own.lookup + own.connect + own.tls)),
        };
        let hops = &mut self.seen().hops;
        if hops.len() < MOST {
            hops.push(hop);
        }
    }
}

fn text_of(value: &HeaderValue) -> &str {
    std::str::from_utf8(value.as_bytes()).unwrap_or_default()
}
