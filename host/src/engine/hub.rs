//! Tells watchers: status updates as the store commits them, progress as transfers make it.
//!
//! background_downloader's special progress values are added here, where the order is certain: a final value (or -5 for
//! paused) just before its status, 0.0 just after `running`, -4 just after `waitingToRetry` (B.1, B.2). A task that is cancelled
//! while it is paused or waits to be tried again tells -2 (B.15), one that has never run tells nothing. A watcher that does not
//! read misses progress, and is let go rather than miss a status: the event log has what it missed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::event::{ProgressUpdate, StatusUpdate, Update};
use crate::store::Committed;
use crate::task::Status;

/// Updates a watcher may be behind.
const BEHIND: usize = 65_536;

/// Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Hub(Arc<Mutex<Inner>>);

/// Hears of final updates, on the store's thread: it must not block.
pub(crate) type TellFinal = Box<dyn Fn(&StatusUpdate) + Send>;

type Watchers = Vec<mpsc::Sender<Update>>;

#[derive(Default)]
struct Inner {
    watchers: Watchers,
    /// Told the changes of status that `watchers` are not, for their tasks send none.
    silent: Watchers,
    /// Running tasks: what the last values were.
    progressing: HashMap<String, Sizes>,
    /// Told about every final update after its commit.
    finals: Vec<TellFinal>,
}

#[derive(Clone, Copy, Default)]
struct Sizes {
    bytes_done: u64,
    total: Option<u64>,
    resumed: bool,
    /// The task sends progress.
    told: bool,
}

impl Hub {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new watcher: updates from now on.
    pub(crate) fn watch(&self) -> mpsc::Receiver<Update> {
        let (sender, receiver) = mpsc::channel(BEHIND);
        self.inner().watchers.push(sender);
        receiver
    }

    /// A new watcher of what others are not told: changes of status of tasks that send none (`updates`), from now on.
    pub(crate) fn watch_silent(&self) -> mpsc::Receiver<Update> {
        let (sender, receiver) = mpsc::channel(BEHIND);
        self.inner().silent.push(sender);
        receiver
    }

    /// Ends every watch.
    pub(crate) fn close(&self) {
        let mut inner = self.inner();
        inner.watchers.clear();
        inner.silent.clear();
    }

    /// Calls `tell` with each final update, on the store's thread: it must not block.
    pub(crate) fn on_final(&self, tell: TellFinal) {
        self.inner().finals.push(tell);
    }

    /// A task is about to run. `resumed`: with bytes of an earlier attempt. `told`: it sends progress.
    pub(crate) fn begins(&self, task_id: &str, resumed: bool, told: bool) {
        self.inner().progressing.insert(task_id.to_owned(), Sizes { resumed, told, ..Sizes::default() });
    }

    /// How many bytes are there, and how many there will be.
    pub(crate) fn sizes(&self, task_id: &str, bytes_done: u64, total: Option<u64>) {
        if let Some(sizes) = self.inner().progressing.get_mut(task_id) {
            (sizes.bytes_done, sizes.total) = (bytes_done, total);
        }
    }

    /// How many bytes a task has when its attempt ends.
    pub(crate) fn bytes_done(&self, task_id: &str, bytes_done: u64) {
        if let Some(sizes) = self.inner().progressing.get_mut(task_id) {
            sizes.bytes_done = bytes_done;
        }
    }

    /// Progress of a transfer; told only for tasks that send it.
    pub(crate) fn progress(&self, update: ProgressUpdate) {
        let mut inner = self.inner();
        if let Some(sizes) = inner.progressing.get_mut(&update.task_id) {
            (sizes.bytes_done, sizes.total) = (update.bytes_done, update.expected_file_size);
            if sizes.told {
                send(&mut inner.watchers, Update::Progress(update));
            }
        }
    }

    /// Bytes done and length of a running task.
    pub(crate) fn bytes_of(&self, task_id: &str) -> Option<(u64, Option<u64>)> {
        self.inner().progressing.get(task_id).map(|sizes| (sizes.bytes_done, sizes.total))
    }

    /// Returns when watchers have all of a commit of which they have something.
    pub(crate) fn all_told(&self) {
        drop(self.inner());
    }

    /// Status updates that have just been committed, in order.
    pub(crate) fn tell(&self, updates: Vec<Committed>) {
        let mut inner = self.inner();
        for committed in updates {
            inner.tell(committed);
        }
    }
}

impl Inner {
    fn tell(&mut self, Committed { update, sent, ends_progress }: Committed) {
        let sizes = self.progressing.get(&update.task_id).copied().filter(|sizes| sizes.told);
        let sizes = sizes.or_else(|| ends_progress.then(Sizes::default));
        let special = sizes.and_then(|sizes| special_value(&update, sizes));
        let before = update.status.is_final() || update.status == Status::Paused;
        if let Some(progress) = special.clone().filter(|_| before) {
            send(&mut self.watchers, Update::Progress(progress));
        }
        if update.status.is_final() {
            self.finals.iter().for_each(|finals| finals(&update));
        }
        if update.status != Status::Running && update.status != Status::Enqueued {
            self.progressing.remove(&update.task_id);
        }
        send(if sent { &mut self.watchers } else { &mut self.silent }, Update::Status(update));
        if let Some(progress) = special.filter(|_| !before) {
            send(&mut self.watchers, Update::Progress(progress));
        }
    }
}

/// The last watcher, mostly the only one, gets the update itself.
fn send(watchers: &mut Watchers, update: Update) {
    let (mut left, mut update) = (watchers.len(), Some(update));
    watchers.retain(|watcher| {
        left -= 1;
        let own = if left == 0 { update.take() } else { update.clone() };
        match own.map_or(Ok(()), |own| watcher.try_send(own)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(Update::Progress(_))) => true,
            Err(_) => false,
        }
    });
}

fn special_value(update: &StatusUpdate, sizes: Sizes) -> Option<ProgressUpdate> {
    let progress = match update.status {
        Status::Running if sizes.resumed => return None,
        Status::Running => 0.0,
        Status::Complete => 1.0,
        Status::Failed => -1.0,
        Status::Canceled => -2.0,
        Status::NotFound => -3.0,
        Status::WaitingToRetry => -4.0,
        Status::Paused => -5.0,
        Status::Enqueued => return None,
    };
    let size = update.details.as_ref().and_then(|details| details.file_size);
    Some(ProgressUpdate {
        task_id: update.task_id.clone(),
        group: update.group.clone(),
        progress,
        bytes_done: size.unwrap_or(sizes.bytes_done),
        expected_file_size: size.or(sizes.total),
        network_speed: None,
        time_remaining: None,
    })
}
