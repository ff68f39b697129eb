//! When a hook of a component that fails again and again is not asked for a while (reliability.md E.1). Sans-io: time is given.

use std::time::Duration;

use tokio::time::Instant;

const FAILURES_MAX: u32 = 5;
const WITHIN: Duration = Duration::from_secs(60);
const QUARANTINE: Duration = Duration::from_secs(5 * 60);

/// How a component has been doing in one hook.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Failures in a row, and when the first of them was.
    failures: u32,
    since: Option<Instant>,
    /// Left alone until then.
    until: Option<Instant>,
}

impl Health {
    /// How long it is left alone yet; `None`: it may be called.
    pub(super) fn left_alone(&self, now: Instant) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    pub(super) fn well(&mut self) {
        self.failures = 0;
    }

    /// Counts a failure. True when it was one too many.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        let recent = self.since.is_some_and(|since| now.saturating_duration_since(since) < WITHIN);
        if self.failures == 0 || !recent {
            self.failures = 0;
            self.since = Some(now);
        }
        self.failures += 1;
        if self.failures < FAILURES_MAX {
            return false;
        }
        self.failures = 0;
        self.until = Some(now + QUARANTINE);
        true
    }
}
