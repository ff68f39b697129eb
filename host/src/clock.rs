//! The one place that reads clocks, sleeps, and draws what decisions are told instead of drawing it. Everybody else takes the
//! time as an argument or asks here.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uuid::{ContextV7, Timestamp, Uuid};

/// Milliseconds since 1970-01-01 UTC; 0 when the machine's clock is before that.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A point in time for measuring durations.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The same on the runtime's clock, which tests can stop.
pub(crate) fn timer_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// A UUID of version 7: each of this process above those before it. Whatever the clock says, for `Uuid::now_v7` panics before 1970.
pub fn new_uuid() -> Uuid {
    static CONTEXT: Mutex<ContextV7> = Mutex::new(ContextV7::new());
    let at_ms = unix_ms().max(1); // its first bits are random from the first moment after 1970 on
    Uuid::new_v7(Timestamp::from_unix(&CONTEXT, at_ms / 1000, (at_ms % 1000) as u32 * 1_000_000))
}

/// The minute of the week by the machine's time zone, counted from Monday 00:00, and how far it has gone. Beyond the year 9999 it
/// is the last one of that.
pub(crate) fn local_minute() -> (u32, Duration) {
    let now = i64::try_from(unix_ms()).ok().and_then(|now| jiff::Timestamp::from_millisecond(now).ok());
    let now = now.unwrap_or(jiff::Timestamp::MAX).to_zoned(jiff::tz::TimeZone::system());
    let number = |value: i8| u32::from(value.unsigned_abs());
    let days = number(now.weekday().to_monday_zero_offset());
    let minute = (days * 24 + number(now.hour())) * 60 + number(now.minute());
    let gone =
        Duration::from_millis(u64::from(number(now.second())) * 1000 + u64::from(now.millisecond().unsigned_abs()));
    (minute, gone)
}

/// Sixty-four bits that nobody can foretell, each as likely as any other: for spreading waits, not for keys.
pub(crate) fn random_bits() -> u64 {
    getrandom::u64().unwrap_or_default() // a system that has none spreads nothing
}

/// Notices when the machine's clock is set back.
pub(crate) struct Steps {
    at: Instant,
    unix_ms: u64,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self { at: now(), unix_ms: unix_ms() }
    }

    /// Whether it was set back by more than 5 s since the last time this was asked. Rule: reliability B.6.
    pub(crate) fn is_back(&mut self) -> bool {
        let (before, after) = (std::mem::replace(self, Self::new()), self.unix_ms);
        let passed = u64::try_from(self.at.saturating_duration_since(before.at).as_millis()).unwrap_or(u64::MAX);
        after + 5_000 < before.unix_ms.saturating_add(passed)
    }
}

/// Time that the present thread has spent on a CPU.
pub(crate) fn thread_cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

/// Stops the present thread, and everything on its runtime.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Sleeps on the present runtime.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub(crate) fn sleep(duration: Duration) -> tokio::time::Sleep {
    tokio::time::sleep(duration)
}

/// Sleeps on the present runtime until then.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub(crate) fn sleep_until(then: tokio::time::Instant) -> tokio::time::Sleep {
    tokio::time::sleep_until(then)
}

/// Names the boot of this machine: within one boot, what a killed process has written is in the page cache.
/// Empty when the system does not say.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_is_random() {
        let drawn: Vec<u64> = (0..64).map(|_| random_bits()).collect();
        let (ever, always) =
            (drawn.iter().fold(0, |all, bits| all | bits), drawn.iter().fold(!0, |all, bits| all & bits));
        assert_eq!((ever, always), (!0, 0), "each bit is set in some, and in some it is not");
    }

    #[test]
    fn ids_are_new_and_in_order() {
        let drawn: Vec<Uuid> = (0..1000).map(|_| new_uuid()).collect();
        assert!(drawn.is_sorted_by(|one, next| one < next));
        assert!(drawn[0].get_timestamp().is_some_and(|at| at.to_unix().0 > 1_700_000_000));
    }

    #[test]
    fn a_clock_set_back_is_noticed_once() {
        let mut steps = Steps { at: now(), unix_ms: unix_ms() + 10_000 };
        assert_eq!((steps.is_back(), steps.is_back()), (true, false));
        let mut steps = Steps { at: now(), unix_ms: unix_ms() - 10_000 };
        assert!(!steps.is_back(), "set forward");
    }
}
