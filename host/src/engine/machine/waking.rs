//! What waits for a time: sleeping tasks, retries, tasks that fail when it is too late for them, timetables; and clocks that
//! are set back.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{EXPIRE, FORGET_AFTER, FORGET_EVERY, FORGOTTEN, LONGEST_SLEEP, Machine, WAKE, ready_of};
use crate::clock;
use crate::engine::Retain;
use crate::engine::input::{Input, Waking};
use crate::store::{Applied, Change, TaskKey};
use crate::task::Status;

impl Machine {
    pub(super) fn sleep_time(&self) -> Duration {
        let asleep = self.sleeping.first().map(|(at, _)| *at);
        let next = [self.due, asleep, self.rates_due, self.next_expiry()].into_iter().flatten().min();
        let sleep = next.map_or(LONGEST_SLEEP, |at| Duration::from_millis(at.saturating_sub(clock::unix_ms())));
        let soon = [self.next_start, self.next_forgetting].into_iter().flatten().min();
        let soon = soon.map_or(LONGEST_SLEEP, |at| at.saturating_duration_since(clock::now()));
        sleep.min(soon).min(LONGEST_SLEEP)
    }

    pub(super) fn wake(&mut self) {
        let now = clock::unix_ms();
        if self.clock.is_back() {
            self.clock_is_back(now);
        }
        if self.next_expiry().is_some_and(|at| at <= now) {
            self.expire(now);
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
        if self.next_forgetting.is_some_and(|at| at <= clock::now()) {
            self.forget_old();
        }
    }

    /// Looks for what is to be forgotten within this time, where anything ever is.
    pub(super) fn forget_within(&mut self, time: Duration) {
        if self.retain != Retain::default() {
            let at = clock::now() + time;
            self.next_forgetting = Some(self.next_forgetting.map_or(at, |next| next.min(at)));
        }
    }

    /// Forgets final tasks as the settings say: after ends, where there is an age now and then, and when the engine ends.
    pub(super) fn forget_old(&mut self) {
        if self.next_forgetting.take().is_none() {
            return;
        }
        let by_age = self.retain.age_ms.map(|age| (clock::unix_ms().saturating_sub(age), 0));
        let by_count = self.retain.records.and_then(|kept| self.shared.store.end_of(kept).unwrap_or(None));
        if let Some((before, key)) = by_age.max(by_count) {
            if let Err(error) = crate::transfer::remove_stored_before(&self.shared, before, key) {
                tracing::warn!("what is stored of old tasks stays: {error}");
            }
            self.shared.store.write_later(Change::Clean { before, key, limit: FORGOTTEN });
        }
        if let Some(age_ms) = self.retain.age_ms {
            self.forget_within(Duration::from_millis(age_ms).clamp(FORGET_AFTER, FORGET_EVERY));
        }
    }

    /// Retries wait as long as they were told to, whatever the clock says; what is to start at a time starts at that time.
    #[expect(clippy::disallowed_methods, reason = "as in `after`")]
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

    /// When the next task that waits fails, because its `notAfter` comes. Not while others are being failed.
    fn next_expiry(&self) -> Option<u64> {
        let asked = self.expiring.first().map(|(at, _)| *at);
        [self.expires, asked].into_iter().flatten().min().filter(|_| self.overdue.is_empty() && self.closing.is_none())
    }

    /// A task that is worked fails at that time, if it has not begun by then.
    pub(super) fn expires_at(&mut self, key: TaskKey, not_after: Option<u64>) {
        let Some(at) = not_after else { return };
        if self.works_all() {
            self.expires = Some(self.expires.map_or(at, |first| first.min(at)));
        } else if self.is_asked(key) {
            self.expiring.insert((at, key));
        }
    }

    /// Tasks that cannot start any more are given to attempts, which fail them before anything is sent, without waiting for
    /// slots or networks. One that runs watches the time itself.
    fn expire(&mut self, now: u64) {
        let mut found = if self.works_all() { self.expired(now) } else { self.expired_of_asked(now) };
        found.retain(|key| !self.running.contains_key(key));
        let mut records = self.shared.store.records_of(found).unwrap_or_default();
        records.retain(|(_, record)| {
            let waits = matches!(record.status, Status::Enqueued | Status::WaitingToRetry);
            waits && record.task.not_after.is_some_and(|at| at <= now)
        });
        self.scheduler.withdraw(&records.iter().map(|(key, _)| *key).collect());
        for (key, record) in records {
            self.head.remove(&key);
            self.overdue.insert(key);
            self.begin(key, record);
        }
    }

    /// More than there can be of tasks that run and that the store does not know to run yet.
    fn expired(&mut self, now: u64) -> Vec<TaskKey> {
        let limit = EXPIRE + self.running.len();
        let found = self.shared.store.expired(now, limit).unwrap_or_default();
        let next = || self.shared.store.next_not_after(now).unwrap_or(None);
        self.expires = if found.len() == limit { Some(now) } else { next() };
        found
    }

    fn expired_of_asked(&mut self, now: u64) -> Vec<TaskKey> {
        self.expires = None;
        let mut found = Vec::new();
        while found.len() < EXPIRE
            && let Some((at, key)) = self.expiring.first().copied().filter(|(at, _)| *at <= now)
        {
            self.expiring.remove(&(at, key));
            found.push(key);
        }
        found.retain(|key| self.is_asked(*key));
        found
    }

    fn wake_one(&mut self, key: TaskKey, at: u64) {
        if self.running.contains_key(&key) {
            return;
        }
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
                    Input::Added { asker: 0, tasks: vec![Waking::of(key, &record.task, None)], work: false },
                );
            }
            _ => {}
        }
    }

    #[expect(clippy::disallowed_methods, reason = "as in `after`")]
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
                .map(|(host, group)| Waking::any_of(host, group, None))
                .collect();
            if let Ok(Some(next)) = shared.store.next_ready_at() {
                tasks.push(Waking::any_of(String::new(), String::new(), Some(next)));
            }
            let _ = sender.send(Input::Added { asker: 0, tasks, work: false });
        });
    }
}
