//! What an attempt has heard about its credentials, and so whether others may be asked for.
//!
//! A long attempt outlives its token more than once, so that one renewal would not do. Two things keep a server that refuses
//! every token from being asked for ever: a request that was refused is repeated once, and a further renewal is earned by an
//! answer that the last one has brought. It renews nothing itself: that is `authorize`.

use std::cell::RefCell;

/// Renewals in a row that bring the task no further.
const IN_VAIN: u32 = 3;

/// Which request: its URL without the query, and the first byte that it asks for or sends.
type Request = (String, u64);

/// The renewals of an attempt.
#[derive(Default)]
pub(crate) struct Renewals(RefCell<Heard>);

#[derive(Default)]
struct Heard {
    /// The credentials are others than those that the attempt began with, or none were to be had.
    renewed: bool,
    /// They were not about to expire when the attempt took them, and it has heard something since.
    lasts: bool,
    is_used: bool,
    /// URLs that have taken them.
    taken_by: Vec<String>,
    /// The request that was refused last, and whether it had been refused with the credentials before as well.
    refused: Option<Request>,
    again: bool,
    /// Since they were renewed: a server that had been shown them has refused, and one that had not, behind a redirect, say.
    by_who_saw_them: bool,
    by_a_stranger: bool,
    /// Bytes of the task when they were renewed.
    bytes: u64,
    in_vain: u32,
}

impl Renewals {
    /// Of an attempt that must do with what it has.
    pub(crate) fn none() -> Self {
        Self(RefCell::new(Heard { renewed: true, ..Heard::default() }))
    }

    /// A request, by its URL and the first byte that it asks for or sends, was answered with that status. `was_shown`: by
    /// a server that the credentials had been shown to.
    pub(super) fn heard(&self, url: &str, from: u64, status: u16, was_shown: bool) {
        let mut heard = self.0.borrow_mut();
        heard.is_used = true;
        // The token may stand in its query.
        let url = url.split('?').next().unwrap_or(url);
        let is_it = |(known, at): &Request| known == url && *at == from;
        match status {
            200..=299 => {
                if !heard.taken_by.iter().any(|known| known == url) {
                    heard.taken_by.push(url.to_owned());
                }
                heard.refused.take_if(|refused| is_it(refused));
            }
            // It does not say that they are no good.
            401 | 407 if !was_shown => heard.by_a_stranger = true,
            401 | 407 => {
                heard.by_who_saw_them = true;
                heard.again = heard.refused.as_ref().is_some_and(is_it);
                heard.refused = Some((url.to_owned(), from));
            }
            _ => {}
        }
    }

    /// Whether other credentials may be asked for after a refusal.
    pub(super) fn is_earned(&self) -> bool {
        let heard = self.0.borrow();
        let was_taken = |(url, _): &Request| heard.taken_by.contains(url);
        if heard.by_a_stranger && !heard.by_who_saw_them {
            return false;
        }
        !heard.renewed || (!heard.again && heard.in_vain < IN_VAIN && heard.refused.as_ref().is_some_and(was_taken))
    }

    /// Whether to look, before a further request, if the credentials are about to expire.
    pub(super) fn looks_ahead(&self) -> bool {
        let heard = self.0.borrow();
        let is_due = heard.lasts && heard.is_used;
        is_due && (!heard.renewed || (heard.in_vain < IN_VAIN && !heard.taken_by.is_empty()))
    }

    /// The attempt takes its credentials, which last, or are about to expire and cannot be helped.
    pub(super) fn took(&self, lasts: bool) {
        let mut heard = self.0.borrow_mut();
        (heard.lasts, heard.is_used) = (lasts, false);
    }

    /// They were renewed, or could not be, when the task had so many bytes.
    pub(super) fn renewed(&self, bytes: u64) {
        let mut heard = self.0.borrow_mut();
        let is_in_vain = heard.renewed && heard.bytes == bytes;
        heard.in_vain = if is_in_vain { heard.in_vain + 1 } else { 0 };
        (heard.renewed, heard.bytes, heard.again) = (true, bytes, false);
        (heard.by_who_saw_them, heard.by_a_stranger) = (false, false);
        heard.taken_by.clear();
    }

    /// Whether they were, in this attempt.
    pub(super) fn are_renewed(&self) -> bool {
        self.0.borrow().renewed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Renewed once, at so many bytes.
    fn renewed(bytes: u64) -> Renewals {
        let renewals = Renewals::default();
        renewals.took(true);
        renewals.heard("u", 0, 401, true);
        assert!(renewals.is_earned());
        renewals.renewed(bytes);
        renewals
    }

    #[test]
    fn what_the_new_credentials_have_brought_earns_others() {
        let renewals = renewed(0);
        renewals.heard("u", 0, 206, true);
        renewals.heard("u", 9, 401, true);
        assert!(renewals.is_earned());
    }

    #[test]
    fn a_server_that_refuses_every_token_is_asked_once_more_and_never_again() {
        let renewals = renewed(0);
        assert!(!renewals.is_earned());
        renewals.heard("u", 0, 401, true);
        assert!(!renewals.is_earned());
    }

    #[test]
    fn a_request_that_is_refused_twice_running_earns_nothing_by_others() {
        let renewals = renewed(0);
        renewals.heard("u", 5, 206, true);
        renewals.heard("u", 0, 401, true);
        assert!(!renewals.is_earned());
        renewals.heard("u", 0, 206, true);
        renewals.heard("u", 0, 401, true);
        assert!(renewals.is_earned(), "it was answered meanwhile");
    }

    #[test]
    fn what_another_url_has_taken_earns_nothing() {
        let renewals = renewed(0);
        renewals.heard("mirror", 0, 206, true);
        renewals.heard("u", 9, 401, true);
        assert!(!renewals.is_earned());
    }

    #[test]
    fn a_refusal_by_who_was_not_shown_them_earns_nothing() {
        let renewals = Renewals::default();
        renewals.took(true);
        renewals.heard("u", 0, 401, false);
        assert!(!renewals.is_earned());
        renewals.heard("u", 9, 401, true);
        assert!(renewals.is_earned(), "another part was refused at home");
        renewals.renewed(0);
        renewals.heard("u", 0, 206, true);
        renewals.heard("u", 9, 401, false);
        assert!(!renewals.is_earned());
    }

    #[test]
    fn renewals_that_bring_no_byte_come_to_an_end() {
        let renewals = renewed(7);
        for from in 0..3 {
            renewals.heard("u", from, 206, true);
            renewals.heard("u", from + 100, 401, true);
            assert!(renewals.is_earned() && renewals.looks_ahead());
            renewals.renewed(7);
            renewals.took(true);
        }
        renewals.heard("u", 50, 206, true);
        renewals.heard("u", 60, 401, true);
        assert!(!renewals.is_earned() && !renewals.looks_ahead());
    }

    #[test]
    fn a_token_that_never_lasts_is_not_looked_at_before_each_request() {
        let renewals = Renewals::default();
        renewals.took(false);
        renewals.heard("u", 0, 206, true);
        assert!(!renewals.looks_ahead());
    }
}
