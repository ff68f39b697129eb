//! When progress is told, and what it says: background_downloader's rule B.3. Sans-io: the caller passes `now`.

use std::time::{Duration, Instant};

/// Told when this share of the whole is new, if `SOON` has passed.
const STEP: f64 = 0.02;
const SOON: Duration = Duration::from_millis(500);
/// Told when anything is new, if this has passed.
const LATE: Duration = Duration::from_millis(2500);
/// The highest value before the file has its name.
const NEARLY: f64 = 0.999;

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reading {
    /// 0 to 0.999; `None` while the length is unknown.
    pub(crate) progress: Option<f64>,
    /// Megabytes (10^6) per second, smoothed.
    pub(crate) network_speed: Option<f64>,
    /// Seconds left.
    pub(crate) time_remaining: Option<f64>,
}

/// Follows one transfer.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    total: Option<u64>,
    told_progress: f64,
    told_bytes: u64,
    told_at: Instant,
    speed: Option<f64>,
}

impl Meter {
    /// `start_bytes` are there already and count as progress, but not as speed.
    pub(crate) fn new(start_bytes: u64, total: Option<u64>, now: Instant) -> Self {
        let mut meter = Self { total, told_progress: 0.0, told_bytes: start_bytes, told_at: now, speed: None };
        meter.told_progress = meter.share(start_bytes).unwrap_or(0.0);
        meter
    }

    /// The length has become known.
    pub(crate) fn set_total(&mut self, total: Option<u64>) {
        self.total = total;
    }

    fn share(&self, bytes: u64) -> Option<f64> {
        let total = self.total.filter(|total| *total > 0)?;
        Some((bytes as f64 / total as f64).min(NEARLY))
    }

    /// Answers what is to be told now that `bytes` are there, if anything is. With unknown length, bytes are told by the
    /// slower of the two rules (background_downloader tells nothing).
    pub(crate) fn at(&mut self, bytes: u64, now: Instant) -> Option<Reading> {
        let since = now.saturating_duration_since(self.told_at);
        if since <= SOON || bytes <= self.told_bytes {
            return None;
        }
        let progress = self.share(bytes);
        let grown = progress.map_or(0.0, |progress| progress - self.told_progress);
        if grown <= STEP && since <= LATE {
            return None;
        }
        let sample = (bytes - self.told_bytes) as f64 / since.as_secs_f64() / 1e6;
        let speed = self.speed.map_or(sample, |old| (3.0 * old + sample) / 4.0);
        self.speed = Some(speed);
        self.told_at = now;
        self.told_bytes = bytes;
        self.told_progress = progress.unwrap_or(0.0);
        let left = self.total.map(|total| total.saturating_sub(bytes) as f64 / 1e6);
        let time_remaining = left.filter(|_| speed > 0.0).map(|left| left / speed);
        Some(Reading { progress, network_speed: Some(speed), time_remaining })
    }

    /// When [`Meter::at`] would tell of these bytes if no more came; `None` when there is nothing new.
    pub(crate) fn due(&self, bytes: u64) -> Option<Instant> {
        if bytes <= self.told_bytes {
            return None;
        }
        let grown = self.share(bytes).map_or(0.0, |progress| progress - self.told_progress);
        let wait = if grown > STEP { SOON } else { LATE };
        Some(self.told_at + wait + Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(meter: &mut Meter, start: Instant, ms: u64, bytes: u64) -> Option<f64> {
        meter.at(bytes, start + Duration::from_millis(ms)).and_then(|reading| reading.progress)
    }

    #[test]
    fn two_percent_are_told_after_half_a_second_and_anything_after_two_and_a_half() {
        let start = crate::clock::now();
        let mut meter = Meter::new(0, Some(1000), start);
        assert_eq!(at(&mut meter, start, 400, 500), None, "too soon");
        assert_eq!(at(&mut meter, start, 501, 20), None, "exactly two percent is not more than two");
        assert_eq!(at(&mut meter, start, 502, 21), Some(0.021));
        assert_eq!(at(&mut meter, start, 3002, 22), None, "not yet two and a half seconds since");
        assert_eq!(at(&mut meter, start, 3003, 22), Some(0.022));
        assert_eq!(at(&mut meter, start, 9000, 22), None, "nothing moved");
        assert_eq!(at(&mut meter, start, 9000, 1000), Some(NEARLY), "1 is told when the file has its name");
    }

    #[test]
    fn resumed_bytes_count_as_progress_but_not_as_speed() {
        let start = crate::clock::now();
        let mut meter = Meter::new(500_000_000, Some(1_000_000_000), start);
        let reading = meter.at(600_000_000, start + Duration::from_secs(1)).expect("due");
        assert_eq!(reading, Reading { progress: Some(0.6), network_speed: Some(100.0), time_remaining: Some(4.0) });
    }

    #[test]
    fn speed_is_smoothed_three_to_one() {
        let start = crate::clock::now();
        let mut meter = Meter::new(0, Some(1_000_000_000), start);
        meter.at(100_000_000, start + Duration::from_secs(1)).expect("due");
        let reading = meter.at(300_000_000, start + Duration::from_secs(2)).expect("due");
        assert_eq!(reading.network_speed, Some(125.0));
    }

    #[test]
    fn a_length_of_zero_or_none_gives_bytes_and_no_share() {
        let start = crate::clock::now();
        let mut meter = Meter::new(0, None, start);
        assert_eq!(meter.at(5, start + Duration::from_secs(3)).expect("due").progress, None);
    }
}
