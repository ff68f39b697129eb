//! A task's share of the limits on what runs at once, while a component keeps the task waiting: others have it meanwhile, so
//! that a stuck component holds up no other task.
//!
//! Lent only where the task has no connection open: before a request, and once the last answer has been read. What origins see
//! stays within the limits.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::engine::Input;
use crate::store::TaskKey;

/// How long a component may take before the slot is lent: most answer at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// A slot of the engine. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    /// `None`: a request beside the queue, which has none.
    engine: Option<(TaskKey, mpsc::UnboundedSender<Input>)>,
    lent: Arc<AtomicBool>,
    /// Hosts whose servers this task was told to leave alone, and until when.
    silent: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Slot {
    pub(crate) fn of(key: TaskKey, engine: mpsc::UnboundedSender<Input>) -> Self {
        Self { engine: Some((key, engine)), ..Self::default() }
    }

    /// Makes the engine start no task of this host for so long, and this one's mirrors and parts keep to it.
    pub(super) fn silence(&self, host: String, wait: Duration) {
        if let Some(until) = clock::now().checked_add(wait) {
            let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
            let known = silent.entry(host.clone()).or_insert(until);
            *known = until.max(*known);
        }
        if let Some((_, engine)) = &self.engine {
            let _ = engine.send(Input::Silence { host, wait });
        }
    }

    /// Until when this task sends nothing to this host, if it may not now.
    pub(super) fn silent_until(&self, host: &str) -> Option<Instant> {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.get(host).copied().filter(|until| *until > clock::now())
    }

    /// Waits for a component; after a long wait, for a slot as well.
    pub(super) async fn lend<T>(&self, asked: Pin<&mut impl Future<Output = T>>) -> T {
        let (answer, lent) = self.give(asked).await;
        if let Some((key, engine)) = lent {
            let (reply, back) = oneshot::channel();
            let _ = engine.send(Input::Back { key, reply });
            let _ = back.await; // the engine is gone: so is the limit
            self.lent.store(false, Ordering::Relaxed);
        }
        answer
    }

    /// The same where nothing is to be sent afterwards: the slot is not taken back.
    pub(super) async fn leave<T>(&self, asked: Pin<&mut impl Future<Output = T>>) -> T {
        self.give(asked).await.0
    }

    /// The answer, and whether the slot was lent for it. Several calls at once lend it once.
    async fn give<T>(
        &self,
        mut asked: Pin<&mut impl Future<Output = T>>,
    ) -> (T, Option<(TaskKey, mpsc::UnboundedSender<Input>)>) {
        tokio::select! {
            biased;
            answer = &mut asked => return (answer, None),
            () = clock::sleep(PATIENCE) => {}
        }
        let lent = self.engine.clone().filter(|_| !self.lent.swap(true, Ordering::Relaxed));
        if let Some((key, engine)) = &lent {
            let _ = engine.send(Input::Lent { key: *key });
        }
        (asked.await, lent)
    }
}
