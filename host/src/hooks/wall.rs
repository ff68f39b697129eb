//! How long a call may take by the clock. Its own time stands while the next component works on what the call has asked it, for that
//! one has a limit of its own; all of it together ends where the limits of those that can be asked end, so that who asks the
//! next one again and again ends, too.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock;

/// The clock of one call.
#[derive(Clone, Debug)]
pub(super) struct WallClock(Arc<Mutex<Hands>>);

#[derive(Debug)]
struct Hands {
    /// When its own time ends, if it goes on from now.
    own_end: Instant,
    /// When all ends.
    end: Instant,
    /// Its own time stands since then.
    stands_since: Option<Instant>,
}

/// Which time a call has exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    Itself,
    WithOthers,
}

impl WallClock {
    /// Begins now. `own`: what it may take itself; `all`: with what it asks of others.
    pub(super) fn start(own: Duration, all: Duration) -> Self {
        let now = clock::timer_now();
        Self(Arc::new(Mutex::new(Hands { own_end: now + own, end: now + all, stands_since: None })))
    }

    /// Works a call until its time is over.
    pub(super) async fn limit<C: Future>(&self, call: C) -> Result<C::Output, Late> {
        let (mut call, mut timer) = (pin!(call), pin!(clock::sleep_until(self.end().0)));
        std::future::poll_fn(|context| {
            if let Poll::Ready(answer) = call.as_mut().poll(context) {
                return Poll::Ready(Ok(answer));
            }
            // Nobody but the call stops its time and lets it go on: it has just done so, or not.
            let (end, late) = self.end();
            if timer.deadline() != end {
                timer.as_mut().reset(end);
            }
            timer.as_mut().poll(context).map(|()| Err(late))
        })
        .await
    }

    /// Works what the call has asked of another component, whose time it is.
    pub(super) async fn leave_out<C: Future>(&self, other: C) -> C::Output {
        self.hands().stands_since = Some(clock::timer_now());
        let answer = other.await;
        let mut hands = self.hands();
        if let Some(since) = hands.stands_since.take() {
            hands.own_end += clock::timer_now().saturating_duration_since(since);
        }
        answer
    }

    fn end(&self) -> (Instant, Late) {
        let hands = self.hands();
        match hands.stands_since {
            None if hands.own_end <= hands.end => (hands.own_end, Late::Itself),
            _ => (hands.end, Late::WithOthers),
        }
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// Works a call that has this time, waits for another one that takes a moment or (`None`) never ends, and then `goes_on`.
    async fn ended(all: Duration, other: Option<()>, goes_on: bool) -> Result<(), Late> {
        let wall = WallClock::start(Duration::ZERO, all);
        let call = async {
            let other = async {
                match other {
                    Some(()) => tokio::task::yield_now().await,
                    None => std::future::pending().await,
                }
            };
            wall.leave_out(other).await;
            if goes_on {
                std::future::pending::<()>().await;
            }
        };
        wall.limit(call).await
    }

    #[tokio::test]
    async fn its_own_time_stands_while_others_work_and_all_of_it_ends() {
        assert_eq!(ended(LONG, Some(()), false).await, Ok(()));
        assert_eq!(ended(LONG, Some(()), true).await, Err(Late::Itself));
        assert_eq!(ended(Duration::ZERO, None, false).await, Err(Late::WithOthers));
    }
}
