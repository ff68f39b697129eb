//! Work comes and goes: who wants which tasks worked, and what the scheduler and the sleeping ones know of that.

use std::collections::HashSet;

use super::{Machine, RECORDS, ready_of};
use crate::engine::input::Waking;
use crate::store::TaskKey;
use crate::task::Status;
use crate::transfer::Reason;

impl Machine {
    pub(super) fn works_all(&self) -> bool {
        self.asks.values().any(|asks| asks.all)
    }

    pub(super) fn is_asked(&self, key: TaskKey) -> bool {
        self.asks.values().any(|asks| asks.keys.contains(&key))
    }

    pub(super) fn added(&mut self, asker: u64, tasks: Vec<Waking>, work: bool) {
        let all = self.works_all();
        let worked = work || !self.asks.is_empty();
        for Waking { ready, at, not_after, record } in tasks {
            match record.filter(|_| work && self.head.len() < RECORDS) {
                Some(record) => drop(self.head.insert(ready.position.2, *record)),
                None => drop(self.head.remove(&ready.position.2)),
            }
            if work {
                self.asks.entry(asker).or_default().keys.insert(ready.position.2);
            }
            self.expires_at(ready.position.2, not_after);
            match at {
                None if all => self.scheduler.may_have(&ready.host, &ready.group),
                None if worked && (work || self.is_asked(ready.position.2)) => self.scheduler.add(&ready),
                Some(at) if all => self.due = Some(self.due.map_or(at, |due| due.min(at))),
                Some(at) if work => drop(self.sleeping.insert((at, ready.position.2))),
                _ => {}
            }
        }
    }

    pub(super) fn work_all(&mut self, asker: u64) {
        self.asks.entry(asker).or_default().all = true;
        self.scheduler.forget();
        self.sleeping.clear();
        self.expiring.clear();
        self.all_keys();
        self.due = self.shared.store.next_ready_at().unwrap_or(None);
        self.expires = self.shared.store.next_not_after(0).unwrap_or(None);
    }

    /// Makes the scheduler look at every part of the queue.
    pub(super) fn all_keys(&mut self) {
        if !self.scheduler.divides() {
            return self.scheduler.may_have("", "");
        }
        for (host, group) in self.shared.store.queue_keys(100_000).unwrap_or_default() {
            self.scheduler.may_have(&host, &group);
        }
    }

    pub(super) fn gone(&mut self, asker: u64) {
        let Some(left) = self.asks.remove(&asker) else { return };
        if self.works_all() {
            return;
        }
        for (key, running) in &self.running {
            if !self.asks.values().any(|asks| asks.keys.contains(key)) {
                running.stop.ask(Reason::Later);
            }
        }
        if left.all {
            self.only_asked();
        } else {
            let keys: Vec<TaskKey> = left.keys.into_iter().filter(|key| !self.is_asked(*key)).collect();
            self.left(&keys);
        }
    }

    /// Goes on with only those tasks that somebody has asked for by name.
    pub(super) fn only_asked(&mut self) {
        self.scheduler.forget();
        (self.due, self.expires) = (None, None);
        let keys: Vec<TaskKey> = self.asks.values().flat_map(|asks| asks.keys.iter().copied()).collect();
        for key in keys {
            let Ok(Some(record)) = self.shared.store.record_of(key) else { continue };
            self.expires_at(key, record.task.not_after);
            match (record.status, record.ready_at) {
                (Status::Enqueued, None) => self.scheduler.add(&ready_of(key, &record.task)),
                (Status::Enqueued | Status::WaitingToRetry, at) => drop(self.sleeping.insert((at.unwrap_or(0), key))),
                _ => {}
            }
        }
    }

    pub(super) fn left(&mut self, keys: &[TaskKey]) {
        let gone: HashSet<TaskKey> = keys.iter().copied().collect();
        self.scheduler.remove(&gone);
        self.head.retain(|key, _| !gone.contains(key));
        self.sleeping.retain(|(_, key)| !gone.contains(key));
        self.expiring.retain(|(_, key)| !gone.contains(key));
        for asks in self.asks.values_mut() {
            asks.keys.retain(|key| !gone.contains(key));
        }
    }
}
