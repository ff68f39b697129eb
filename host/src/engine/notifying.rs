//! Shows notifications while tasks are worked: a watcher like any other, on a thread of its own, because showing may block.

use std::sync::Arc;

use tokio::sync::mpsc::Receiver;

use crate::error::Result;
use crate::event::Update;
use crate::notify::{Notifications, Notifier};
use crate::threads;
use crate::transfer::Shared;

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
    while let Some(update) = updates.blocking_recv() {
        if let Some(notification) = notifier.take(&update, task) {
            (sink.0)(&notification);
        }
    }
}
