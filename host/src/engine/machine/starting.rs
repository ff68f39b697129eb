//! What starts: as the scheduler says, with records that are read together, where the network suits; and slots given back.

use std::sync::Arc;

use super::{Machine, RECORDS, Running, ready_of};
use crate::clock;
use crate::engine::lanes::Work;
use crate::limits::Network;
use crate::scheduler::{HEAD, Step};
use crate::store::{Change, HELD, QueueKey, TaskKey};
use crate::task::{Record, Status};
use crate::transfer::rate::OwnRate;
use crate::transfer::{Job, Slot, Stop};

/// Finished files that wait for their names at most: none starts meanwhile, so that the disk is never far behind.
const PUBLISHING: usize = 512;

impl Machine {
    pub(super) fn start_what_can_start(&mut self) {
        self.give_back();
        self.next_start = None;
        if self.closing.is_some() || self.asks.is_empty() || self.limits.network == Network::Offline {
            return;
        }
        while self.publishing < PUBLISHING {
            match self.scheduler.step(clock::now()) {
                Step::Wait => return,
                Step::WaitUntil(at) => return self.next_start = Some(at),
                Step::Fetch { part, after } => self.fetch(&part, after),
                Step::Start(key) => self.start_task(key),
            }
        }
    }

    /// Tasks that have waited for a component come before those that have not started.
    fn give_back(&mut self) {
        for (key, reply) in std::mem::take(&mut self.returning) {
            let ready = self.running.get(&key).map(|running| ready_of(key, &running.task));
            match ready.filter(|_| self.lent.contains(&key)) {
                Some(ready) if !self.scheduler.has_room(&ready) => self.returning.push_back((key, reply)),
                Some(ready) => {
                    self.lent.remove(&key);
                    self.scheduler.take_back(&ready);
                    let _ = reply.send(());
                }
                None => drop(reply.send(())), // it had kept its slot
            }
        }
    }

    fn fetch(&mut self, part: &QueueKey, after: Option<crate::store::QueuePosition>) {
        let found = self.shared.store.queue(part, after, HEAD).unwrap_or_default();
        self.scheduler.offer(part, &found, found.len() >= HEAD);
    }

    fn start_task(&mut self, key: TaskKey) {
        let Some(record) = self.record_of(key).filter(|record| record.status == Status::Enqueued) else { return };
        let unknown = self.limits.needs_unmetered(&record.task) && self.network.is_unknown(clock::now());
        if unknown {
            self.ask_network();
        }
        if unknown || self.limits.holds(&record.task) {
            return self.hold(key);
        }
        self.scheduler.started(&ready_of(key, &record.task), clock::now());
        self.begin(key, record);
    }

    pub(super) fn begin(&mut self, key: TaskKey, record: Record) {
        self.shared.hub.begins(&record.task.task_id, record.has_bytes(), record.task.sends_progress());
        let granted = self.shared.sandbox.granted(&record.task.base_directory, record.place.as_deref());
        let stop = Stop::default();
        let rate = OwnRate::new(record.task.limit_rate, clock::now());
        let running = Running {
            task: Arc::clone(&record.task),
            host: record.task.host(),
            stop: stop.clone(),
            rate: rate.clone(),
            publishing: false,
            spooled: granted.is_ok_and(|granted| self.shared.spool.feeds(&record.task, granted)),
            retries_remaining: record.retries_remaining,
            canceled: Arc::default(),
            waiters: Vec::new(),
        };
        self.running.insert(key, running);
        let slot = Slot::of(key, self.input.clone());
        self.lane(Work::Attempt(Box::new(Job { key, record, stop, rate, slot })));
    }

    /// Read together with those of the tasks that start next: one by one they would cost the loop several times as much.
    fn record_of(&mut self, key: TaskKey) -> Option<Record> {
        if !self.head.contains_key(&key) {
            let next = self.scheduler.next_ones(HEAD).into_iter().filter(|next| !self.head.contains_key(next));
            let keys: Vec<TaskKey> = std::iter::once(key).chain(next).collect();
            if self.head.len() > RECORDS {
                self.head.clear();
            }
            self.head.extend(self.shared.store.records_of(keys).unwrap_or_default());
        }
        self.head.remove(&key)
    }

    /// A task that must not run on this network leaves the queue until there is another.
    fn hold(&mut self, key: TaskKey) {
        self.network.waited_for = true;
        drop(self.shared.store.write(Change::Hold { key }));
        if self.is_asked(key) {
            self.sleeping.insert((HELD, key));
        }
    }

    pub(super) fn lane(&mut self, work: Work) {
        self.next_lane = (self.next_lane + 1) % self.lanes.len();
        if let Some(lane) = self.lanes.get(self.next_lane) {
            // A lane ends only when this machine does.
            let _ = lane.send(work);
        }
    }
}
