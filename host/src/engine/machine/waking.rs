//! What waits for a time: sleeping tasks, retries, timetables; and clocks that are set back.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{LONGEST_SLEEP, Machine, WAKE, ready_of};
use crate::clock;
use crate::engine::input::{Input, Waking};
use crate::scheduler::Ready;
use crate::store::{Applied, Change, TaskKey};
use crate::task::Status;

impl Machine {
    pub(super) fn sleep_time(&self) -> Duration {
        let asleep = self.sleeping.first().map(|(at, _)| *at);
        let next = [self.due, asleep, self.rates_due].into_iter().flatten().min();
        let sleep = next.map_or(LONGEST_SLEEP, |at| Duration::from_millis(at.saturating_sub(clock::unix_ms())));
        let start = self.next_start.map_or(LONGEST_SLEEP, |at| at.saturating_duration_since(clock::now()));
        sleep.min(start).min(LONGEST_SLEEP)
    }

    pub(super) fn wake(&mut self) {
        let now = clock::unix_ms();
        if self.clock.is_back() {
            self.clock_is_back(now);
        }
        while let Some((at, key)) = self.sleeping.first().copied().filter(|(at, _)| *at <= now) {
            self.sleeping.remove(&(at, key));
            self.wake_one(key, now);
        }
        if self.rates_due.is_some_and(|due| due <= now) {
            self.set_rates();
        }
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.wake_all(now);
        }
    }

    /// Retries wait as long as they were told to, whatever the clock says; what is to start at a time starts at that time.
    #[allow(clippy::disallowed_methods)] // as in `after`
    fn clock_is_back(&self, at: u64) {
        tracing::info!("the machine's clock was set back: retries wait from now on");
        let pending = self.shared.store.write(Change::WaitAnew { at });
        let sender = self.input.clone();
        tokio::task::spawn_local(async move {
            if let Ok(Applied::Moved(keys)) = pending.await {
                let _ = sender.send(Input::WaitAnew { keys });
            }
        });
    }

    pub(super) fn wait_anew(&mut self, keys: &[TaskKey]) {
        if self.works_all() {
            self.due = self.shared.store.next_ready_at().unwrap_or(self.due);
            return;
        }
        let moved: HashSet<TaskKey> = keys.iter().copied().filter(|key| self.is_asked(*key)).collect();
        self.sleeping.retain(|(_, key)| !moved.contains(key));
        for (key, record) in self.shared.store.records_of(moved).unwrap_or_default() {
            let waits = record.ready_at.filter(|_| record.status == Status::WaitingToRetry);
            self.sleeping.extend(waits.map(|at| (at, key)));
        }
    }

    fn wake_one(&mut self, key: TaskKey, at: u64) {
        let Ok(Some(record)) = self.shared.store.record_of(key) else { return };
        let ready = ready_of(key, &record.task);
        match record.status {
            Status::Enqueued => self.scheduler.add(&ready),
            Status::WaitingToRetry => {
                let pending = self.shared.store.write(Change::Requeue {
                    key,
                    ready_at: None,
                    retries_remaining: None,
                    bytes_done: None,
                    at,
                });
                self.after(
                    key,
                    pending,
                    Input::Added { asker: 0, tasks: vec![Waking { ready, at: None, record: None }], work: false },
                );
            }
            _ => {}
        }
    }

    #[allow(clippy::disallowed_methods)] // as in `after`
    fn wake_all(&mut self, at: u64) {
        let pending = self.shared.store.write(Change::WakeDue { limit: WAKE, at });
        let (sender, shared) = (self.input.clone(), Arc::clone(&self.shared));
        tokio::task::spawn_local(async move {
            let _ = pending.await;
            let mut tasks: Vec<Waking> = shared
                .store
                .queue_keys(100_000)
                .unwrap_or_default()
                .into_iter()
                .map(|(host, group)| Waking {
                    ready: Ready { position: (0, 0, 0), host, group, is_upload: false },
                    at: None,
                    record: None,
                })
                .collect();
            if let Ok(Some(next)) = shared.store.next_ready_at() {
                let (host, group) = (String::new(), String::new());
                let nobody = Ready { position: (0, 0, 0), host, group, is_upload: false };
                tasks.push(Waking { ready: nobody, at: Some(next), record: None });
            }
            let _ = sender.send(Input::Added { asker: 0, tasks, work: false });
        });
    }
}
