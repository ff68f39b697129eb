//! How long a call may still compute, by the clock of the thread that works it: what counts is the time in which the processor
//! works for the call. Waiting, a processor that others use, and what other components do when the call asks them do not count.
//!
//! The ticks of the engine's clock only say when to look: they pass for a call that waits as well.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock;

/// What a call and those who work it tell each other.
#[derive(Clone, Default)]
pub(super) struct Computing(Arc<Account>);

#[derive(Default)]
struct Account {
    left_ns: AtomicU64,
    /// What the thread's clock showed when the time was last taken off, or when the call was last begun to be worked.
    since_ns: AtomicU64,
    /// The call has stopped in the middle of its own work, to let others work, and waits for nothing.
    has_stopped: AtomicBool,
}

impl Computing {
    /// It may compute for so long from now on.
    pub(super) fn allow(&self, time: Duration) {
        self.0.left_ns.store(nanoseconds(time), Ordering::Relaxed);
        self.begin();
    }

    /// At a tick of the clock: whether any time is left. Then the call stops for a moment, and wants to go on at once.
    pub(super) fn goes_on(&self) -> bool {
        let is_left = self.take_off() > 0;
        self.0.has_stopped.store(is_left, Ordering::Relaxed);
        is_left
    }

    /// Whether it has stopped so since this was last asked.
    pub(super) fn has_stopped(&self) -> bool {
        self.0.has_stopped.swap(false, Ordering::Relaxed)
    }

    /// Works a call and counts its time. One that never waits costs one look at the clock, that of [`Computing::allow`].
    pub(super) async fn count<C: Future>(&self, call: C) -> C::Output {
        let mut call = pin!(call);
        let mut has_waited = false;
        std::future::poll_fn(|context| {
            if has_waited {
                self.begin();
            }
            let step = call.as_mut().poll(context);
            if step.is_pending() {
                self.take_off();
                has_waited = true;
            }
            step
        })
        .await
    }

    /// Works what a counted call waits for and what counts its own time: the next component, which the call has asked.
    pub(super) async fn leave_out<C: Future>(&self, other: C) -> C::Output {
        let mut other = pin!(other);
        std::future::poll_fn(|context| {
            self.take_off();
            let step = other.as_mut().poll(context);
            self.begin();
            step
        })
        .await
    }

    fn begin(&self) {
        self.0.since_ns.store(nanoseconds(clock::thread_cpu()), Ordering::Relaxed);
    }

    /// Takes off what was computed since, and answers what is left.
    fn take_off(&self) -> u64 {
        let now = nanoseconds(clock::thread_cpu());
        let computed = now.saturating_sub(self.0.since_ns.swap(now, Ordering::Relaxed));
        let left = self.0.left_ns.load(Ordering::Relaxed).saturating_sub(computed);
        self.0.left_ns.store(left, Ordering::Relaxed);
        left
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than a call is allowed here.
    const LONG: Duration = Duration::from_millis(30);

    fn compute(time: Duration) {
        let began = clock::thread_cpu();
        while clock::thread_cpu() - began < time {}
    }

    /// A call of 20 ms, and whether it has any of them left after what it does.
    async fn is_left_after<C: Future>(work: impl FnOnce(Computing) -> C) -> bool {
        let computing = Computing::default();
        let call = async {
            computing.allow(Duration::from_millis(20));
            work(computing.clone()).await;
            computing.goes_on()
        };
        computing.count(call).await
    }

    #[tokio::test]
    async fn what_a_call_computes_counts_wherever_it_waits_between() {
        let in_steps = async |_: Computing| {
            for _ in 0..3 {
                compute(LONG / 3);
                tokio::task::yield_now().await;
            }
        };
        assert!(is_left_after(async |_| compute(LONG / 30)).await);
        assert!(!is_left_after(async |_| compute(LONG)).await);
        assert!(!is_left_after(in_steps).await);
    }

    #[tokio::test]
    async fn what_others_compute_meanwhile_does_not_count() {
        let waiting = is_left_after(async |_| tokio::task::yield_now().await);
        let (is_left, ()) = tokio::join!(waiting, async { compute(LONG) });
        assert!(is_left, "while it waits");

        let asks = async |computing: Computing| {
            let other = async {
                compute(LONG);
                tokio::task::yield_now().await;
                compute(LONG);
            };
            computing.leave_out(other).await;
        };
        assert!(is_left_after(asks).await, "when it asks them");
    }
}
