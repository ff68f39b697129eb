//! What a component may use within a minute, over all its calls and instances (reliability.md E.6). Sans-io: time is given.

use std::time::Duration;

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

/// So much of something a minute. Minutes are counted from the first use.
#[derive(Debug)]
pub(super) struct Quota {
    a_minute: usize,
    left: usize,
    since: Option<Instant>,
}

impl Quota {
    pub(super) fn new(a_minute: usize) -> Self {
        Self { a_minute, left: a_minute, since: None }
    }

    /// Takes as much of what is wanted as there is; answers how much that was.
    pub(super) fn take(&mut self, wanted: usize, now: Instant) -> usize {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= MINUTE) {
            self.since = Some(now);
            self.left = self.a_minute;
        }
        let taken = wanted.min(self.left);
        self.left -= taken;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_gives_so_much_and_the_next_one_as_much_again() {
        let mut quota = Quota::new(10);
        let began = crate::clock::timer_now();
        assert_eq!(quota.take(7, began), 7);
        assert_eq!(quota.take(7, began + Duration::from_secs(59)), 3);
        assert_eq!(quota.take(1, began + Duration::from_secs(59)), 0);
        assert_eq!(quota.take(11, began + MINUTE), 10);
    }
}
