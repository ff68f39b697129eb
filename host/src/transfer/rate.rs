//! Speed limits: a bucket that fills at a rate and is emptied by bytes. Sans-io: it answers how long to wait.

use std::time::{Duration, Instant};

/// A speed limit shared by everybody who takes from it.
#[derive(Debug)]
pub(crate) struct Bucket {
    bytes_per_second: u64,
    /// When all that was taken so far has been earned.
    paid_until: Instant,
}

/// Unused time that counts for later: bounds the burst after a pause.
const CREDIT: Duration = Duration::from_millis(100);

impl Bucket {
    /// `bytes_per_second` is at least 1.
    pub(crate) fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid_until: now }
    }

    /// The rate.
    pub(crate) fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second
    }

    /// Takes `bytes` that have come, and answers how long to wait before reading on.
    pub(crate) fn take(&mut self, bytes: usize, now: Instant) -> Duration {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let floor = now.checked_sub(CREDIT).unwrap_or(now);
        self.paid_until = self.paid_until.max(floor) + cost;
        self.paid_until.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_beyond_the_rate_are_paid_by_waiting() {
        let start = crate::clock::now();
        let mut bucket = Bucket::new(1000, start);
        assert_eq!(bucket.take(500, start), Duration::from_millis(500));
        assert_eq!(bucket.take(500, start), Duration::from_millis(1000));
        assert_eq!(bucket.take(0, start + Duration::from_secs(2)), Duration::ZERO);
        assert_eq!(bucket.take(1000, start + Duration::from_secs(2)), Duration::from_millis(900), "credit of 100 ms");
    }
}
