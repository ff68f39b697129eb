//! The Digest challenges of one server or proxy, and how often each was answered (RFC 7616 section 3.4).
//!
//! Requests of several tasks, parts and threads answer them at the same time, and a server may refuse a count that it has seen:
//! so none is used twice. Whoever was challenged answers its own nonce, for others may be good for one request only; whoever
//! was not takes the latest that has been answered before, or that a server has named for the next request.

use std::sync::{Mutex, PoisonError};

use http::HeaderMap;

use super::challenge::Challenge;
use super::credentials::Login;

/// Nonces of a server that are remembered.
const REMEMBERED: usize = 64;
/// How often a request is sent again in all where its nonce has become too old each time: with a server whose nonces are good for
/// one request, others may be quicker.
const STALE: u32 = 32;

/// What one request has answered so far.
#[derive(Debug, Default)]
pub(super) struct Challenged {
    /// The nonce of its last challenge, and whether that came from a proxy.
    pub(super) nonce: Option<String>,
    pub(super) by_proxy: bool,
    /// Challenges that were answered.
    answered: u32,
}

impl Challenged {
    /// Whether a further challenge is answered: the first one, and those that only say that the nonce has become too old (RFC
    /// 7616 section 3.3). Any other means that the password is wrong.
    fn answers(&mut self, challenge: &Challenge) -> bool {
        self.answered += 1;
        self.answered == 1 || (challenge.is_stale() && self.answered <= STALE)
    }
}

/// The challenges, the oldest first.
#[derive(Default)]
pub(super) struct Nonces(Mutex<Vec<Challenge>>);

impl Nonces {
    /// Takes the challenge of a refusal. True: the request can be sent again, with an answer to it.
    pub(super) fn take(&self, challenge: Option<Challenge>, asked: &mut Challenged, by_proxy: bool) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(challenge) = challenge else {
            known.clear(); // it asks for something else now
            return false;
        };
        if !asked.answers(&challenge) {
            return false;
        }
        (asked.nonce, asked.by_proxy) = (Some(challenge.nonce().to_owned()), by_proxy);
        remember(&mut known, challenge);
        true
    }

    /// Takes the nonce that an answer names for the next request.
    pub(super) fn told(&self, headers: &HeaderMap) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = known.last().and_then(|challenge| challenge.next(headers)) {
            remember(&mut known, next);
        }
    }

    /// The value of the header for a request, by its own nonce or another one; `None`: there is no challenge. What cannot be
    /// answered is an empty answer.
    pub(super) fn answer(&self, own: Option<&str>, login: &Login, method: &str, uri: &str) -> Option<Option<String>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = own
            .and_then(|nonce| known.iter().position(|challenge| challenge.nonce() == nonce))
            .or_else(|| known.iter().rposition(Challenge::is_for_others))
            .or_else(|| known.len().checked_sub(1))?;
        Some(known[number].answer(login, method, uri))
    }
}

/// Adds a challenge; one whose nonce is known is counted on.
fn remember(known: &mut Vec<Challenge>, challenge: Challenge) {
    if known.iter().any(|other| other.nonce() == challenge.nonce()) {
        return;
    }
    if known.len() >= REMEMBERED {
        known.remove(0);
    }
    known.push(challenge);
}
