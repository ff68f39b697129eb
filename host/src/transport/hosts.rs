//! What servers have shown of themselves: which of them refuse `Expect`, which speak HTTP/1.1 and which want nothing else, how much
//! those of HTTP/2 have answered. And the turn of who connects to one that may speak HTTP/2, so that not each request makes a
//! connection where all go over one.
//!
//! It is forgotten with the transport. Servers are `host:port`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

/// Servers remembered, at most.
const MOST: usize = 1024;
/// How long a request waits while another one connects to the same server.
const TURN: Duration = Duration::from_secs(3);

/// What is known of servers. Shared by the threads of an engine.
#[derive(Debug, Default)]
pub(super) struct Hosts(Mutex<HashMap<String, Known>>);

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    refuses_expect: bool,
    /// The last handshake came to HTTP/1.1.
    speaks_http1: bool,
    /// It has refused a request because it came over HTTP/2, or what it does with HTTP/2 is of no use.
    wants_http1: bool,
    /// Answers over HTTP/2.
    answers: u64,
}

impl Hosts {
    pub(super) fn refuses_expect(&self, peer: &str) -> bool {
        self.of(peer).refuses_expect
    }

    pub(super) fn has_refused_expect(&self, peer: &str) {
        self.learn(peer, |known| known.refuses_expect = true);
    }

    /// Whether nothing but HTTP/1.1 is offered to it.
    pub(super) fn wants_http1(&self, peer: &str) -> bool {
        self.of(peer).wants_http1
    }

    /// It has answered HTTP_1_1_REQUIRED (RFC 9113 section 7), or in more tiny frames than are kept.
    pub(super) fn has_wanted_http1(&self, peer: &str) {
        self.learn(peer, |known| known.wants_http1 = true);
    }

    /// A handshake that offered nothing but HTTP/1.1 has failed, perhaps for that.
    pub(super) fn may_not_speak_http1(&self, peer: &str) {
        self.learn(peer, |known| known.wants_http1 = false);
    }

    /// What a handshake with it came to.
    pub(super) fn has_agreed_on(&self, peer: &str, h2: bool) {
        self.learn(peer, |known| known.speaks_http1 = !h2);
    }

    /// It has answered a request over HTTP/2.
    pub(super) fn has_answered(&self, peer: &str) {
        self.learn(peer, |known| known.answers += 1);
    }

    /// How many requests it has answered over HTTP/2: 0 for one that is not remembered.
    pub(super) fn answers(&self, peer: &str) -> u64 {
        self.of(peer).answers
    }

    fn of(&self, peer: &str) -> Known {
        self.all().get(peer).copied().unwrap_or_default()
    }

    fn learn(&self, peer: &str, change: impl FnOnce(&mut Known)) {
        let mut all = self.all();
        if let Some(known) = all.get_mut(peer) {
            change(known);
        } else if all.len() < MOST {
            change(all.entry(peer.to_owned()).or_default());
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        // Nothing that holds it can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by the request that connects, until it has a connection.
pub(super) type Turn = OwnedMutexGuard<()>;

/// Whose turn it is to connect, for each server: those of one pool of connections.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for those who connect to this server: what they have made may do for this request, too. No longer than for a slow
    /// handshake, and not at all where it speaks HTTP/1.1, which takes a connection for each request.
    pub(super) async fn take(&self, hosts: &Hosts, peer: &str) -> Option<Turn> {
        if hosts.of(peer).speaks_http1 {
            return None;
        }
        let turn = self.of(peer);
        let taken = tokio::time::timeout(TURN, turn.lock_owned()).await.ok();
        taken.filter(|_| !hosts.of(peer).speaks_http1)
    }

    fn of(&self, peer: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= MOST {
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        match turns.get(peer) {
            Some(turn) => Arc::clone(turn),
            None => Arc::clone(turns.entry(peer.to_owned()).or_default()),
        }
    }
}
