//! Shows notifications while tasks are worked: a watcher like any other, on a thread of its own, because showing may block.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc::Receiver;

use crate::clock;
use crate::error::Result;
use crate::event::Update;
use crate::notify::{Notifications, Notifier};
use crate::threads;
use crate::transfer::Shared;

/// Updates taken at once, at most.
const AT_ONCE: usize = 4096;

/// Starts; ends with the updates.
pub(super) fn start(
    shared: &Arc<Shared>,
    notifications: Notifications,
    updates: Receiver<Update>,
) -> Result<std::thread::JoinHandle<()>> {
    let shared = Arc::clone(shared);
    threads::spawn("haul-notify", move || show(&shared, notifications, updates))
}

fn show(shared: &Shared, notifications: Notifications, mut updates: Receiver<Update>) {
    let mut notifier = Notifier::new(notifications);
    let sink = notifier.sink();
    let task = |id: &str| shared.store.record(id).ok().flatten().map(|(_, record)| record.task);
    let (counts, mut has_counted) = (notifier.counts_groups(), false);
    while let Some(update) = updates.blocking_recv() {
        if counts && !has_counted && shared.works_all.load(Ordering::Relaxed) {
            has_counted = true; // those that are added from here on tell so
            let expected = shared.store.notified(|id, group| notifier.expect(id, group));
            expected.unwrap_or_else(|error| tracing::warn!("groups are not counted whole: {error}"));
        }
        let mut all = vec![update];
        if counts {
            shared.hub.all_told(); // what was added together counts before the first of it is shown
            all.extend(std::iter::from_fn(|| updates.try_recv().ok()).take(AT_ONCE));
            all.iter().for_each(|update| notifier.foresee(update, task));
        }
        for notification in all.iter().filter_map(|update| notifier.take(update, clock::now(), task)) {
            (sink.0)(&notification);
        }
    }
}
