//! Which calls are on the processor at once: those of all components share it. A call that waits (for an answer over HTTP, a clock,
//! another call) gives its place back meanwhile, so that components that wait hold up no other; one that computes keeps its
//! place until it has ended, so that calls do not make each other late.
//!
//! How many calls of one component are in progress, and with it how much memory, is bounded beside it: `component.rs`.

use std::pin::pin;
use std::task::Poll;

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use super::computing::Computing;

/// Calls of all components on the processor at once (reliability.md E.6).
const COMPUTING_AT_ONCE: usize = 8;

/// The places on the processor.
pub(super) struct Turns(Semaphore);

/// A place. It is there as long as this is kept.
pub(super) type Turn<'t> = Result<SemaphorePermit<'t>, AcquireError>;

impl Turns {
    pub(super) fn new() -> Self {
        Self(Semaphore::new(COMPUTING_AT_ONCE))
    }

    /// The next place, in order of asking.
    pub(super) async fn take(&self) -> Turn<'_> {
        self.0.acquire().await
    }

    /// Works a call that has a place. Each time it waits the place is given back, and another one is taken before it goes on.
    pub(super) async fn run<'t, C: Future>(&'t self, mut turn: Turn<'t>, computing: &Computing, call: C) -> C::Output {
        let mut call = pin!(call);
        loop {
            let step = std::future::poll_fn(|context| match call.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending if computing.has_stopped() => Poll::Pending,
                Poll::Pending => Poll::Ready(None),
            });
            if let Some(answer) = step.await {
                return answer;
            }
            drop(turn);
            woken().await;
            turn = self.take().await;
        }
    }
}

/// Until whatever was waited for wakes this task: who has asked for it did so in the same step.
async fn woken() {
    let mut is_first = true;
    std::future::poll_fn(|_| if std::mem::take(&mut is_first) { Poll::Pending } else { Poll::Ready(()) }).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn who_computes_keeps_its_place_and_who_waits_gives_it_back() {
        let turns = Turns(Semaphore::new(1));
        let order = Mutex::new(Vec::new());
        let say = |word| order.lock().unwrap().push(word);
        let call = async |begins, ends, computes: bool| {
            let computing = Computing::default();
            computing.allow(std::time::Duration::from_secs(60));
            let work = async {
                say(begins);
                assert!(!computes || computing.goes_on());
                tokio::task::yield_now().await;
                say(ends);
            };
            turns.run(turns.take().await, &computing, work).await;
        };
        tokio::join!(call("computes", "has computed", true), call("waits", "has waited", false), call("a", "z", true));
        assert_eq!(*order.lock().unwrap(), ["computes", "has computed", "waits", "a", "z", "has waited"]);
    }
}
