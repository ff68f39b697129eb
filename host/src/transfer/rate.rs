//! Speed limits: buckets that fill at a rate and are emptied by bytes; of all transfers, of a group, of a task, each of which
//! may change while bytes move. Sans-io: it answers how long to wait.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::Rates;

/// Unused time that counts for later: makes up for threads that wake late, and bounds the burst after a pause.
const CREDIT: Duration = Duration::from_millis(250);
/// Waits shorter than this are paid with the next one.
const SHORTEST: Duration = Duration::from_millis(1);

/// A limited connection is read in pieces of this share of a second.
const SIPS_PER_SECOND: u64 = 64;
/// The smallest of these pieces.
const SMALLEST_SIP: usize = 1024;

/// A speed limit shared by everybody who takes from it: bytes are taken first and earned later, in the order in which they
/// were taken, so that nobody's wait grows by what others take after it.
#[derive(Debug)]
struct Bucket {
    bytes_per_second: u64,
    /// Bytes taken and bytes earned since the beginning; earned up to `at`.
    taken: f64,
    earned: f64,
    at: Instant,
}

impl Bucket {
    fn new(bytes_per_second: u64, now: Instant) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), taken: 0.0, earned: 0.0, at: now }
    }

    /// What was taken and is not earned yet is earned at the new rate.
    fn change(&mut self, bytes_per_second: u64, now: Instant) {
        self.earn(now);
        self.bytes_per_second = bytes_per_second.max(1);
    }

    fn earn(&mut self, now: Instant) {
        let rate = self.bytes_per_second as f64;
        let earned = self.earned + rate * now.saturating_duration_since(self.at).as_secs_f64();
        self.earned = earned.min(self.taken + rate * CREDIT.as_secs_f64());
        self.at = self.at.max(now);
    }

    /// Takes `bytes`; answers the number of the last of them, which [`Bucket::wait`] wants to know.
    fn take(&mut self, bytes: usize, now: Instant) -> f64 {
        self.earn(now);
        self.taken += bytes as f64;
        self.taken
    }

    /// How long until that byte is earned.
    fn wait(&mut self, byte: f64, now: Instant) -> Duration {
        self.earn(now);
        // Of a bucket that is gone, the number means nothing here.
        let missing = byte.min(self.taken) - self.earned;
        Duration::try_from_secs_f64(missing / self.bytes_per_second as f64).unwrap_or_default()
    }
}

/// Makes a bucket keep to a rate; none to none.
fn set(bucket: &mut Option<Bucket>, rate: Option<u64>, now: Instant) {
    match (bucket.as_mut(), rate) {
        (Some(bucket), Some(rate)) => bucket.change(rate, now),
        (None, Some(rate)) => *bucket = Some(Bucket::new(rate, now)),
        (_, None) => *bucket = None,
    }
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// They are sent.
    Up,
    /// They are received.
    Down,
}

/// The buckets of both directions.
#[derive(Debug, Default)]
struct Pair {
    up: Option<Bucket>,
    down: Option<Bucket>,
}

impl Pair {
    fn set(&mut self, rates: Rates, now: Instant) {
        set(&mut self.up, rates.up, now);
        set(&mut self.down, rates.down, now);
    }

    fn of(&mut self, direction: Direction) -> Option<&mut Bucket> {
        match direction {
            Direction::Up => self.up.as_mut(),
            Direction::Down => self.down.as_mut(),
        }
    }
}

#[derive(Debug, Default)]
struct Shares {
    all: Pair,
    groups: HashMap<String, Pair>,
}

/// What somebody has taken and waits for: the numbers of the last bytes, in the task's, its group's and everybody's bucket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken([f64; 3]);

/// The speed limits that transfers share.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Shares>);

/// The speed limit of one task, which may change while it runs. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnRate {
    bucket: Arc<Mutex<Option<Bucket>>>,
    /// Bytes that its connections read at once; 0: no limit.
    pub(crate) sip: Arc<AtomicUsize>,
}

impl OwnRate {
    pub(crate) fn new(rate: Option<u64>, now: Instant) -> Self {
        Self { bucket: Arc::new(Mutex::new(rate.map(|rate| Bucket::new(rate, now)))), sip: Arc::default() }
    }

    pub(crate) fn set(&self, rate: Option<u64>, now: Instant) {
        set(&mut lock(&self.bucket), rate, now);
    }
}

/// Whose bytes are counted, and which way they go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taker<'a> {
    pub(crate) own: &'a OwnRate,
    pub(crate) group: &'a str,
    pub(crate) direction: Direction,
}

impl Throttle {
    /// These limits count from now on.
    pub(crate) fn set(&self, all: Rates, groups: &BTreeMap<String, Rates>, now: Instant) {
        let mut shares = lock(&self.0);
        shares.all.set(all, now);
        shares.groups.retain(|name, _| groups.contains_key(name));
        for (name, rates) in groups {
            shares.groups.entry(name.clone()).or_default().set(*rates, now);
        }
    }

    /// Takes bytes that have moved.
    pub(crate) fn take(&self, taker: Taker<'_>, bytes: usize, now: Instant) -> Taken {
        let mut taken = Taken::default();
        self.each(taker, |which, bucket| taken.0[which] = bucket.take(bytes, now));
        taken
    }

    /// How long to wait after that before more is taken.
    pub(crate) fn wait(&self, taker: Taker<'_>, taken: Taken, now: Instant) -> Duration {
        let mut wait = Duration::ZERO;
        self.each(taker, |which, bucket| wait = wait.max(bucket.wait(taken.0[which], now)));
        if wait > SHORTEST { wait } else { Duration::ZERO }
    }

    /// The lowest of the limits that count, in bytes per second.
    pub(crate) fn slowest(&self, taker: Taker<'_>) -> Option<u64> {
        let mut slowest: Option<u64> = None;
        self.each(taker, |_, bucket| {
            slowest = Some(slowest.map_or(bucket.bytes_per_second, |rate| rate.min(bucket.bytes_per_second)));
        });
        slowest
    }

    /// Decides how much a limited transfer's connections read at once: little, so that none of the servers waits for long. 0: no
    /// limit.
    pub(crate) fn set_sip(&self, taker: Taker<'_>) -> usize {
        let rate = self.slowest(taker);
        let sip = rate.map_or(0, |rate| usize::try_from(rate / SIPS_PER_SECOND).unwrap_or(0).max(SMALLEST_SIP));
        taker.own.sip.store(sip, Ordering::Relaxed);
        sip
    }

    fn each(&self, taker: Taker<'_>, mut act: impl FnMut(usize, &mut Bucket)) {
        if let Some(own) = lock(&taker.own.bucket).as_mut() {
            act(0, own);
        }
        let shares = &mut *lock(&self.0);
        if let Some(group) = shares.groups.get_mut(taker.group).and_then(|pair| pair.of(taker.direction)) {
            act(1, group);
        }
        if let Some(all) = shares.all.of(taker.direction) {
            act(2, all);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn down(rate: u64) -> Rates {
        Rates { up: None, down: Some(rate) }
    }

    /// Takes, and answers how long to wait.
    fn spend(throttle: &Throttle, taker: Taker<'_>, bytes: usize, now: Instant) -> Duration {
        let taken = throttle.take(taker, bytes, now);
        throttle.wait(taker, taken, now)
    }

    #[test]
    fn bytes_beyond_the_rate_are_paid_by_waiting() {
        let start = crate::clock::now();
        let mut bucket = Bucket::new(1000, start);
        let mut spend = |bytes, now| {
            let byte = bucket.take(bytes, now);
            bucket.wait(byte, now)
        };
        assert_eq!(spend(500, start), millis(500));
        assert_eq!(spend(500, start), millis(1000));
        assert_eq!(spend(0, start + SECOND * 2), Duration::ZERO);
        assert_eq!(spend(1000, start + SECOND * 2), millis(750), "credit of 250 ms");
    }

    #[test]
    fn nobody_waits_for_what_others_take_after_it() {
        let start = crate::clock::now();
        let mut bucket = Bucket::new(1000, start);
        let (first, second) = (bucket.take(500, start), bucket.take(500, start));

        let greedy = bucket.take(5000, start + millis(400));

        assert_eq!(bucket.wait(first, start + millis(400)), millis(100));
        assert_eq!(bucket.wait(second, start + millis(400)), millis(600));
        assert_eq!(bucket.wait(greedy, start + millis(400)), millis(5600));
    }

    #[test]
    fn the_lowest_of_all_group_and_task_counts_in_each_direction() {
        let start = crate::clock::now();
        let (throttle, own) = (Throttle::default(), OwnRate::default());
        let taker = |group, direction| Taker { own: &own, group, direction };
        assert_eq!(spend(&throttle, taker("g", Direction::Down), 1 << 30, start), Duration::ZERO);

        throttle.set(down(1000), &BTreeMap::from([("g".into(), down(100))]), start);
        assert_eq!(spend(&throttle, taker("g", Direction::Up), 5000, start), Duration::ZERO);
        assert_eq!(spend(&throttle, taker("g", Direction::Down), 100, start), SECOND);
        assert_eq!(
            spend(&throttle, taker("other", Direction::Down), 100, start),
            millis(200),
            "what `g` took counts, too"
        );
        own.set(Some(10), start);
        assert_eq!(spend(&throttle, taker("other", Direction::Up), 10, start), SECOND);
        assert_eq!(throttle.slowest(taker("g", Direction::Down)), Some(10));
        own.set(None, start);
        assert_eq!(throttle.slowest(taker("g", Direction::Down)), Some(100));
        assert_eq!(throttle.slowest(taker("g", Direction::Up)), None);
    }

    #[test]
    fn a_new_rate_counts_for_what_is_owed_already() {
        let start = crate::clock::now();
        let (throttle, own) = (Throttle::default(), OwnRate::new(Some(10), start));
        let taker = Taker { own: &own, group: "g", direction: Direction::Down };
        let taken = throttle.take(taker, 1000, start);
        assert_eq!(throttle.wait(taker, taken, start), SECOND * 100);
        own.set(Some(1000), start);
        assert_eq!(throttle.wait(taker, taken, start), SECOND);
        own.set(None, start);
        assert_eq!(throttle.wait(taker, taken, start), Duration::ZERO);
        own.set(Some(10), start);
        assert_eq!(throttle.wait(taker, taken, start), Duration::ZERO, "another limit owes nothing for the first");
    }
}
