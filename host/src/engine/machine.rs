//! The loop: one closed set of inputs, one match. It starts attempts, takes their ends, and writes what follows from them.
//!
//! It never blocks on the disk but for short reads of the queue: writes are handed to the store, and what must wait for a
//! commit comes back as an input. It decides nothing about a task that a hook decides.

mod waking;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use super::input::{Input, Settling, Stopping, Waits, Waking, Working};
use super::network::{self, Finder};
use crate::api::Action;
use crate::clock;
use crate::engine::lanes::{Lane, Work};
use crate::engine::publisher::Outcome;
use crate::engine::{Retain, sweep_spool, within_open_files};
use crate::error::{Error, Failure, FailureDetail, FailureKind, Result};
use crate::event::{Details, StatusUpdate};
use crate::hooks::RetryVerdict;
use crate::limits::{Limits, Network, Rates};
use crate::scheduler::{HEAD, Ready, Scheduler, Step};
use crate::store::{Change, HELD, Pending, QueueKey, TaskKey};
use crate::task::{OnConflict, Record, Status, Task};
use crate::threads;
use crate::transfer::rate::OwnRate;
use crate::transfer::{End, Failed, Finished, Job, Reason, Shared, Slot, Stop};

/// How long a task waits before it looks for room on a full disk again.
const DISK_PAUSE_MS: u64 = 10_000;
/// How long it waits for others to close files.
const FILES_PAUSE_MS: u64 = 1_000;
/// Longest sleep: the machine's clock may jump.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// Finished files that wait for their names at most: none starts meanwhile, so that the disk is never far behind.
const PUBLISHING: usize = 512;
/// Ends that components have heard of and that are not acknowledged yet, at most.
const ACKNOWLEDGED_EVERY: u64 = 64;
/// Tasks whose slots are lent, at most.
const LENT: usize = 256;
/// Records kept in memory for tasks that are about to start.
const RECORDS: usize = 16 * HEAD;
/// Tasks woken at once.
const WAKE: usize = 5_000;
/// Tasks failed at once because it is too late for them.
const EXPIRE: usize = 512;
/// Rounds of the loop that begin within this of each other follow closely.
const CLOSELY: Duration = Duration::from_millis(3);
/// After so many of them, each is given so long to grow.
const CROWDED: u32 = 16;
const GROWTH: Duration = Duration::from_millis(1);
/// Ends between two looks at what is to be forgotten.
const CLEAN_EVERY: u64 = 100;
/// How long closing waits for attempts to stop and for components to hear of ends.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// What stops an attempt.
fn reason_of(action: Action) -> Reason {
    if action == Action::Cancel { Reason::Cancel } else { Reason::Pause }
}

struct Running {
    task: Arc<Task>,
    host: String,
    stop: Stop,
    rate: OwnRate,
    publishing: bool,
    /// It sends what was read from a pipe.
    spooled: bool,
    retries_remaining: i32,
    /// What its final update says once it is cancelled.
    canceled: Arc<Details>,
    waiters: Vec<oneshot::Sender<(TaskKey, String, Status)>>,
}

#[derive(Default)]
struct Asks {
    all: bool,
    keys: HashSet<TaskKey>,
}

/// Tells when inputs come so fast that those of a moment are better taken together: each that finds the loop asleep costs
/// its sender a call of the system, and the loop a round.
struct Crowd {
    /// When the last round began.
    last: Instant,
    /// Rounds in a row that followed closely.
    rounds: u32,
}

impl Crowd {
    fn new() -> Self {
        Self { last: clock::now(), rounds: 0 }
    }

    /// A round begins: where many do, more inputs are let come first.
    fn gather(&mut self) {
        let closely = self.last.elapsed() < CLOSELY;
        self.rounds = if closely { self.rounds + 1 } else { 0 };
        if self.rounds > CROWDED {
            clock::pause(GROWTH);
        }
        self.last = clock::now();
    }
}

/// The state of the loop.
pub(crate) struct Machine {
    shared: Arc<Shared>,
    input: mpsc::UnboundedSender<Input>,
    lanes: Vec<Lane>,
    next_lane: usize,
    publisher: std_mpsc::Sender<Finished>,
    scheduler: Scheduler,
    /// With the network as it is.
    limits: Limits,
    network: Finder,
    /// When the speed limits are to be looked up again, in milliseconds since 1970; only while they follow a timetable.
    rates_due: Option<u64>,
    clock: clock::Steps,
    /// When the next task may start: starts are some time apart.
    next_start: Option<Instant>,
    wait_for_disk: bool,
    running: HashMap<TaskKey, Running>,
    /// How many of them are with the publisher.
    publishing: usize,
    /// Those whose slots others may have, and, of these, those that want one again.
    lent: HashSet<TaskKey>,
    returning: VecDeque<(TaskKey, oneshot::Sender<()>)>,
    asks: HashMap<u64, Asks>,
    /// Records read with the queue, for tasks that are about to start.
    head: HashMap<TaskKey, Record>,
    /// Asked tasks that wait for a time.
    sleeping: BTreeSet<(u64, TaskKey)>,
    /// When the store's next task is due; only while every task is worked.
    due: Option<u64>,
    /// When the first task is too late that waits: of those asked for, each; only while every task is worked, the store's next.
    expiring: BTreeSet<(u64, TaskKey)>,
    expires: Option<u64>,
    /// Tasks that are being failed for that.
    overdue: HashSet<TaskKey>,
    closing: Option<oneshot::Sender<()>>,
    /// Final updates that components are being told of, by sequence number; the last one told.
    telling: BTreeSet<u64>,
    told: u64,
    acknowledged: u64,
    retain: Retain,
    /// Tasks that have ended since the last look at what is to be forgotten.
    ended: u64,
}

/// Starts the loop on a thread of its own.
pub(crate) fn start(machine: Machine, inputs: mpsc::UnboundedReceiver<Input>) -> Result<std::thread::JoinHandle<()>> {
    let run = |runtime: Runtime| tokio::task::LocalSet::new().block_on(&runtime, machine.run(inputs));
    threads::spawn_with_runtime("haul-engine", run)
}

impl Machine {
    pub(crate) fn new(
        shared: Arc<Shared>,
        input: mpsc::UnboundedSender<Input>,
        lanes: Vec<Lane>,
        publisher: std_mpsc::Sender<Finished>,
        limits: Limits,
        wait_for_disk: bool,
        retain: Retain,
    ) -> Self {
        let mut machine = Self {
            shared,
            input,
            lanes,
            next_lane: 0,
            publisher,
            scheduler: Scheduler::new(within_open_files(&limits.queue)),
            network: Finder::new(limits.network),
            limits,
            rates_due: None,
            clock: clock::Steps::new(),
            next_start: None,
            wait_for_disk,
            running: HashMap::new(),
            publishing: 0,
            lent: HashSet::new(),
            returning: VecDeque::new(),
            asks: HashMap::new(),
            head: HashMap::new(),
            sleeping: BTreeSet::new(),
            due: None,
            expiring: BTreeSet::new(),
            expires: None,
            overdue: HashSet::new(),
            closing: None,
            telling: BTreeSet::new(),
            told: 0,
            acknowledged: 0,
            retain,
            ended: CLEAN_EVERY,
        };
        machine.limit_transfers();
        machine.set_rates();
        machine
    }

    async fn run(mut self, mut inputs: mpsc::UnboundedReceiver<Input>) {
        let mut crowd = Crowd::new();
        loop {
            let sleep = self.sleep_time();
            tokio::select! {
                input = inputs.recv() => {
                    let Some(input) = input else { return };
                    crowd.gather();
                    self.handle(input);
                    while let Ok(input) = inputs.try_recv() {
                        self.handle(input);
                    }
                }
                () = clock::sleep(sleep) => {}
            }
            self.wake();
            self.start_what_can_start();
            if self.closing.is_some() && self.running.is_empty() && self.telling.is_empty() {
                return;
            }
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Added { asker, tasks, work } => self.added(asker, tasks, work),
            Input::WorkAll { asker } => self.work_all(asker),
            Input::Gone { asker } => self.gone(asker),
            Input::Stop { action, keys, details, reply } => self.stop(action, &keys, &details, reply),
            Input::Left { action, keys } => {
                let started = keys.iter().filter_map(|key| self.running.get(key));
                started.for_each(|running| running.stop.ask(reason_of(action)));
                self.left(&keys);
            }
            Input::Send { job, reply } => self.lane(Work::Send(job, reply)),
            Input::Lent { key } => {
                if self.lent.len() < LENT && self.running.contains_key(&key) && self.lent.insert(key) {
                    self.scheduler.ended(key);
                }
            }
            Input::Back { key, reply } => self.returning.push_back((key, reply)),
            Input::Silence { host, wait } => self.silence(&host, wait),
            Input::EndSilence { hosts } => hosts.iter().for_each(|host| self.scheduler.end_silence(host)),
            Input::Ended { key, end } => self.ended(key, end),
            Input::Published { key, outcome } => self.published(key, outcome),
            Input::Settled { key, status, again } => self.settled(key, status, again),
            Input::WaitAnew { keys } => self.wait_anew(&keys),
            Input::Unwritten { key, error } => self.unwritten(key, error),
            Input::Final { update } => self.tell_components(*update),
            Input::Told { seq } => self.told(seq),
            Input::Limits { limits } => {
                self.network.give(limits.network);
                self.set_limits(*limits);
            }
            Input::Network { found } => self.network_found(found),
            Input::AskNetwork => self.ask_network(),
            Input::TaskRate { key, limit_rate } => {
                if let Some(running) = self.running.get(&key) {
                    running.rate.set(limit_rate, clock::now());
                }
            }
            Input::Why { ready, reply } => {
                let worked = self.works_all() || self.is_asked(ready.position.2);
                let _ = reply.send(worked.then(|| self.why(&ready)));
            }
            Input::Working { reply } => {
                let asked = self.asks.values().map(|asks| asks.keys.len() as u64).sum();
                let busy = self.running.len() as u64;
                let _ = reply.send(Working { all: self.works_all(), asked, busy });
            }
            Input::Close { reply } => self.close(reply),
            Input::CloseNow => {
                self.running.clear();
                self.publishing = 0;
                self.telling.clear();
            }
        }
    }

    fn why(&self, ready: &Ready) -> Waits {
        match self.limits.network {
            Network::Offline => Waits::Offline,
            _ => Waits::Queue(self.scheduler.why(ready, clock::now())),
        }
    }

    fn works_all(&self) -> bool {
        self.asks.values().any(|asks| asks.all)
    }

    fn is_asked(&self, key: TaskKey) -> bool {
        self.asks.values().any(|asks| asks.keys.contains(&key))
    }

    // Work comes and goes.

    fn added(&mut self, asker: u64, tasks: Vec<Waking>, work: bool) {
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

    fn work_all(&mut self, asker: u64) {
        self.asks.entry(asker).or_default().all = true;
        self.scheduler.forget();
        self.sleeping.clear();
        self.expiring.clear();
        self.all_keys();
        self.due = self.shared.store.next_ready_at().unwrap_or(None);
        self.expires = self.shared.store.next_not_after(0).unwrap_or(None);
    }

    /// Makes the scheduler look at every part of the queue.
    fn all_keys(&mut self) {
        if !self.scheduler.divides() {
            return self.scheduler.may_have("", "");
        }
        for (host, group) in self.shared.store.queue_keys(100_000).unwrap_or_default() {
            self.scheduler.may_have(&host, &group);
        }
    }

    fn gone(&mut self, asker: u64) {
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
    fn only_asked(&mut self) {
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

    fn left(&mut self, keys: &[TaskKey]) {
        let gone: HashSet<TaskKey> = keys.iter().copied().collect();
        for key in keys {
            self.scheduler.remove(*key);
            self.head.remove(key);
        }
        self.sleeping.retain(|(_, key)| !gone.contains(key));
        self.expiring.retain(|(_, key)| !gone.contains(key));
        for asks in self.asks.values_mut() {
            asks.keys.retain(|key| !gone.contains(key));
        }
    }

    // Starting.

    fn start_what_can_start(&mut self) {
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
        let more = found.len() >= HEAD;
        let ready: Vec<Ready> = found.iter().map(|queued| ready_of(queued.key, &queued.record.task)).collect();
        self.scheduler.offer(part, &ready, more);
        self.remember(found.into_iter().map(|queued| (queued.key, queued.record)));
    }

    fn remember(&mut self, records: impl IntoIterator<Item = (TaskKey, Record)>) {
        if self.head.len() > RECORDS {
            self.head.clear();
        }
        self.head.extend(records);
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

    fn begin(&mut self, key: TaskKey, record: Record) {
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
            let records = self.shared.store.records_of(keys).unwrap_or_default();
            self.remember(records);
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

    fn lane(&mut self, work: Work) {
        self.next_lane = (self.next_lane + 1) % self.lanes.len();
        if let Some(lane) = self.lanes.get(self.next_lane) {
            // A lane ends only when this machine does.
            let _ = lane.send(work);
        }
    }

    // Ending.

    fn ended(&mut self, key: TaskKey, end: End) {
        let at = clock::unix_ms();
        self.lent.remove(&key);
        if let (Some(running), Some(bytes_done)) = (self.running.get(&key), end.bytes_done()) {
            self.shared.hub.bytes_done(&running.task.task_id, bytes_done);
        }
        match end {
            End::Bytes(finished) => {
                self.scheduler.ended(key);
                if let Some(running) = self.running.get_mut(&key) {
                    self.publishing += usize::from(!running.publishing);
                    running.publishing = true;
                }
                let _ = self.publisher.send(*finished);
            }
            End::Final { status, details, bytes_done } => {
                let details = details.into();
                let change = Change::Finish { key, status, details, bytes_done, keep_resume: false, at };
                self.settle(key, change, status, None);
            }
            End::Stopped { reason, bytes_done } => self.stopped(key, reason, bytes_done, at),
            End::Failed(failed) => self.failed(key, *failed, at),
        }
    }

    fn stopped(&mut self, key: TaskKey, reason: Reason, bytes_done: u64, at: u64) {
        match reason {
            Reason::Cancel => {
                let details = self.running.get(&key).map(|running| Arc::clone(&running.canceled)).unwrap_or_default();
                let status = Status::Canceled;
                let change = Change::Finish { key, status, details, bytes_done, keep_resume: false, at };
                self.settle(key, change, status, None);
            }
            Reason::Pause => self.settle(key, Change::Pause { key, bytes_done, at }, Status::Paused, None),
            Reason::Later => {
                let change =
                    Change::Requeue { key, ready_at: None, retries_remaining: None, bytes_done: Some(bytes_done), at };
                self.settle(key, change, Status::Enqueued, Some(0));
            }
        }
    }

    fn failed(&mut self, key: TaskKey, failed: Failed, at: u64) {
        let Failed { failure, verdict, wanted, changes, mut details, bytes_done } = failed;
        if let Some(changes) = changes {
            // Before what follows: whoever goes on, goes on with them.
            self.shared.store.write_later(Change::Changes { key, changes: Some(Box::new(changes)) });
        }
        let remaining = self.running.get(&key).map_or(0, |running| running.retries_remaining);
        // What the task can do nothing about, and what will pass.
        let pause = match failure.detail {
            FailureDetail::DiskFull if self.wait_for_disk => Some(DISK_PAUSE_MS),
            FailureDetail::OpenFiles if self.wait_for_disk || self.running.len() > 1 => Some(FILES_PAUSE_MS),
            _ => None,
        };
        let free = failure.kind == FailureKind::Checksum || failure.detail == FailureDetail::DiskFull;
        let free = free || pause.is_some();
        let retries_remaining = if free && !wanted { remaining } else { remaining - 1 };
        let wait = match verdict {
            _ if pause.is_some() => pause,
            RetryVerdict::AfterMs(ms) | RetryVerdict::AfreshAfterMs(ms) => Some(ms),
            RetryVerdict::GiveUp => None,
        };
        let ready_at = wait.map(|ms| at + ms).filter(|ready_at| !self.is_too_late(key, *ready_at, &mut details));
        details.retry_at = ready_at;
        let details: Arc<Details> = details.into();
        match ready_at {
            Some(ready_at) => {
                let change = Change::Wait { key, ready_at, retries_remaining, details, bytes_done, at };
                self.settle(key, change, Status::WaitingToRetry, Some(ready_at));
            }
            None => {
                let status = Status::Failed;
                let keep_resume = bytes_done > 0 || details.file_path.is_some(); // which is empty, and has its name
                let change = Change::Finish { key, status, details, bytes_done, keep_resume, at };
                self.settle(key, change, status, None);
            }
        }
    }

    /// Whether an attempt at that time would come after the task's `notAfter`. What it failed with is told with that.
    fn is_too_late(&self, key: TaskKey, at: u64, details: &mut Details) -> bool {
        let not_after = self.running.get(&key).and_then(|running| running.task.not_after);
        let too_late = not_after.is_some_and(|not_after| not_after <= at);
        if let Some(exception) = details.exception.as_mut().filter(|_| too_late) {
            exception.description.push_str("; its notAfter comes before another attempt could begin");
        }
        too_late
    }

    fn published(&mut self, key: TaskKey, outcome: Outcome) {
        let at = clock::unix_ms();
        match outcome {
            Outcome::Complete => self.settled(key, Status::Complete, None),
            Outcome::Unwritten(error) => self.unwritten(key, error),
            Outcome::Failed(finished, failure) => self.not_published(key, *finished, failure, at),
            Outcome::Taken(finished) => match finished.task.on_conflict {
                Some(OnConflict::Skip) => {
                    let details = crate::transfer::skipped(&finished.directory, &finished.final_name);
                    self.without_file(key, *finished, Status::Complete, details, at);
                }
                Some(OnConflict::Fail) => {
                    let exception = Some(crate::transfer::exists_already(&finished.final_name));
                    self.without_file(key, *finished, Status::Failed, Details { exception, ..Details::default() }, at);
                }
                _ => self.lane(Work::Rename(finished)),
            },
        }
    }

    /// What is left of the file stays, and is gone on with like that of any failed attempt.
    fn not_published(&mut self, key: TaskKey, finished: Finished, failure: Failure, at: u64) {
        let bytes_done = finished.size;
        if bytes_done > 0 || finished.details.file_path.is_some() {
            self.shared.store.write_later(Change::Resumable { key, record: Box::new(finished.resume) });
        } else {
            self.shared.store.write_later(Change::ForgetResume { key });
            finished.directory.remove_part(&finished.part_name);
        }
        self.shared.hub.bytes_done(&finished.task.task_id, bytes_done);
        let mut details = Box::new(Arc::unwrap_or_clone(finished.details));
        details.exception = Some(failure.clone());
        let verdict = RetryVerdict::GiveUp;
        self.failed(key, Failed { failure, verdict, wanted: false, changes: None, details, bytes_done }, at);
    }

    /// A finished download ends without its file, because the name is taken and that is what the task says.
    fn without_file(&mut self, key: TaskKey, finished: Finished, status: Status, details: Details, at: u64) {
        finished.directory.remove_part(&finished.part_name);
        let details = Arc::new(details);
        let change = Change::Finish { key, status, details, bytes_done: 0, keep_resume: false, at };
        self.settle(key, change, status, None);
    }

    /// Writes what an ended attempt leads to, and hears of its commit as [`Input::Settled`].
    fn settle(&mut self, key: TaskKey, change: Change, status: Status, again: Option<u64>) {
        self.scheduler.ended(key);
        let pending = self.shared.store.write(change);
        self.after(key, pending, Input::Settled { key, status, again });
    }

    #[allow(clippy::disallowed_methods)] // owned by the loop: it ends with the commit, and comes back as an input
    fn after(&self, key: TaskKey, pending: Pending, input: Input) {
        let sender = self.input.clone();
        tokio::task::spawn_local(async move {
            let written = pending.await;
            let _ = sender.send(written.map_or_else(|error| Input::Unwritten { key, error }, |_| input));
        });
    }

    /// For the store the task goes on running, and the next engine finds it so: nothing more is done about it. Nothing else can
    /// be written either then, so every transfer stops and keeps its bytes, and whoever asks is told why.
    fn unwritten(&mut self, key: TaskKey, error: Error) {
        tracing::error!("{error}");
        self.scheduler.settled(key);
        self.publishing -= self.running.remove(&key).map_or(0, |running| usize::from(running.publishing));
        let _ = self.shared.broken.set(error); // the first one counts
        self.asks.clear();
        self.running.values().for_each(|running| running.stop.ask(Reason::Later));
        self.shared.hub.close();
    }

    fn settled(&mut self, key: TaskKey, status: Status, again: Option<u64>) {
        self.scheduler.settled(key);
        self.overdue.remove(&key);
        let Some(running) = self.running.remove(&key) else { return };
        self.publishing -= usize::from(running.publishing);
        for waiter in running.waiters {
            let _ = waiter.send((key, running.task.task_id.clone(), status));
        }
        if running.spooled && matches!(status, Status::Complete | Status::Canceled) {
            drop(sweep_spool(&self.shared));
        }
        self.ended += u64::from(status.is_final());
        self.forget_old();
        if status.is_final() || status == Status::Paused {
            for asks in self.asks.values_mut() {
                asks.keys.remove(&key);
            }
        }
        let Some(again) = again else { return };
        self.expires_at(key, running.task.not_after);
        if self.works_all() {
            if again == 0 {
                self.scheduler.may_have(&running.host, &running.task.group);
            } else {
                self.due = Some(self.due.map_or(again, |due| due.min(again)));
            }
        } else if self.is_asked(key) {
            if again == 0 {
                self.scheduler.add(&ready_of(key, &running.task));
            } else {
                self.sleeping.insert((again, key));
            }
        }
    }

    /// Forgets final tasks as the settings say, now and then.
    fn forget_old(&mut self) {
        if self.ended < CLEAN_EVERY || self.retain == Retain::default() {
            return;
        }
        self.ended = 0;
        let by_age = self.retain.age_ms.map(|age| clock::unix_ms().saturating_sub(age));
        let by_count = self.retain.records.and_then(|kept| self.shared.store.end_of(kept).unwrap_or(None));
        if let Some(before) = by_age.max(by_count) {
            self.shared.store.write_later(Change::Clean { before, limit: WAKE });
        }
    }

    // Limits.

    fn set_limits(&mut self, limits: Limits) {
        let was_held = self.limits.clone();
        self.limits = Limits { network: self.network.now(), ..limits };
        self.limit_transfers();
        self.set_rates();
        for running in self.running.values().filter(|running| self.limits.holds(&running.task)) {
            running.stop.ask(Reason::Later);
        }
        let same_network = (was_held.network, was_held.require_wifi) == (self.limits.network, self.limits.require_wifi);
        if !same_network {
            self.release();
        }
        if was_held.queue != self.limits.queue {
            self.scheduler.set_limits(within_open_files(&self.limits.queue));
            self.look_again();
        }
    }

    /// What limits transfers that run, beside their speeds.
    fn limit_transfers(&self) {
        self.shared.sandbox.keep_free(self.limits.keep_free);
        self.shared.per_host.store(self.limits.queue.per_host, Ordering::Relaxed);
    }

    /// No task of this host starts before its server wants requests again.
    fn silence(&mut self, host: &str, wait: Duration) {
        tracing::info!("{host} wants no requests for {} ms: its tasks wait", wait.as_millis());
        let now = clock::now();
        if self.scheduler.silence(host, now + wait, now) {
            self.look_again();
        }
    }

    /// The scheduler has forgotten the queue.
    fn look_again(&mut self) {
        if self.works_all() { self.all_keys() } else { self.only_asked() }
    }

    #[allow(clippy::disallowed_methods)] // owned by the loop: it ends within seconds, and comes back as an input
    fn ask_network(&mut self) {
        if self.network.asking || !self.network.is_asked() {
            return;
        }
        self.network.asking = true;
        let sender = self.input.clone();
        drop(tokio::task::spawn_blocking(move || sender.send(Input::Network { found: network::ask() })));
    }

    /// While tasks run or wait that the network matters to, it is asked for again.
    #[allow(clippy::disallowed_methods)] // as in `after`
    fn network_found(&mut self, found: Network) {
        let was_waited_for = self.network.waited_for;
        self.network.find(found, clock::now());
        self.set_limits(self.limits.clone());
        if was_waited_for {
            self.release();
        }
        let matters = |running: &Running| self.limits.needs_unmetered(&running.task);
        if was_waited_for || self.running.values().any(matters) {
            let sender = self.input.clone();
            tokio::task::spawn_local(async move {
                clock::sleep(network::AGAIN).await;
                let _ = sender.send(Input::AskNetwork);
            });
        }
    }

    /// Held tasks are due: those that the network still does not suit are held again.
    fn release(&mut self) {
        let at = clock::unix_ms();
        drop(self.shared.store.write(Change::Release { at }));
        let held: Vec<(u64, TaskKey)> =
            self.sleeping.range((HELD, TaskKey::MIN)..=(HELD, TaskKey::MAX)).copied().collect();
        for (until, key) in held {
            self.sleeping.remove(&(until, key));
            self.sleeping.insert((at, key));
        }
        if self.works_all() {
            self.due = Some(at);
        }
    }

    /// The speed limits of this time of the week count from now on.
    fn set_rates(&mut self) {
        let (minute, gone) = clock::local_minute();
        let of_groups: BTreeMap<String, Rates> =
            self.limits.group_rates.iter().map(|(name, table)| (name.clone(), table.at(minute))).collect();
        self.shared.throttle.set(self.limits.rate.at(minute), &of_groups, clock::now());
        let tables = self.limits.group_rates.values().chain([&self.limits.rate]);
        let next = tables.filter_map(|table| table.next_change(minute)).min();
        let until = next.map(|minutes| Duration::from_secs(u64::from(minutes) * 60).saturating_sub(gone));
        // The time zone's offset, or the clock, may change before.
        let until = until.map(|until| until.min(LONGEST_SLEEP));
        self.rates_due =
            until.map(|until| clock::unix_ms() + u64::try_from(until.as_millis()).unwrap_or(u64::MAX).max(1));
    }

    // Control.

    fn stop(&mut self, action: Action, keys: &Stopping, details: &Arc<Details>, reply: oneshot::Sender<Vec<Settling>>) {
        let reason = reason_of(action);
        let mut waiting = Vec::new();
        for (key, running) in &mut self.running {
            let meant = match keys {
                Stopping::Keys(keys) => keys.contains(key),
                Stopping::Selected(select) => select.has(&running.task),
            };
            if meant && (action == Action::Cancel || running.task.allow_pause) {
                running.stop.ask(reason);
                running.canceled = Arc::clone(details);
                let (sender, receiver) = oneshot::channel();
                running.waiters.push(sender);
                waiting.push(receiver);
            }
        }
        let _ = reply.send(waiting);
    }

    fn close(&mut self, reply: oneshot::Sender<()>) {
        for running in self.running.values() {
            running.stop.ask(Reason::Later);
        }
        self.closing = Some(reply);
        self.give_up_closing();
    }

    /// Closing does not wait for ever: the database is right whatever has not been written.
    #[allow(clippy::disallowed_methods)] // as in `after`
    fn give_up_closing(&self) {
        let sender = self.input.clone();
        tokio::task::spawn_local(async move {
            clock::sleep(CLOSE_WITHIN).await;
            let _ = sender.send(Input::CloseNow);
        });
    }

    // Components that want to hear of ends.

    fn tell_components(&mut self, update: StatusUpdate) {
        self.telling.insert(update.seq);
        let running = self.running.values().find(|running| running.task.task_id == update.task_id);
        let stored = || self.shared.store.record(&update.task_id).unwrap_or(None).map(|(_, record)| record.task);
        let task = running.map(|running| Arc::clone(&running.task)).or_else(stored);
        let task = task.unwrap_or_else(|| Arc::new(Task { task_id: update.task_id.clone(), ..Task::default() }));
        self.lane(Work::Tell(Box::new((task, update))));
    }

    /// Acknowledges up to the last update before which all have been told: at the latest when nothing is being told, and
    /// now and then before, because after a crash what is not acknowledged is told again.
    fn told(&mut self, seq: u64) {
        self.telling.remove(&seq);
        self.told = self.told.max(seq);
        let seq = self.telling.first().map_or(self.told, |first| first - 1);
        if self.telling.is_empty() || seq >= self.acknowledged + ACKNOWLEDGED_EVERY {
            self.acknowledged = seq;
            self.shared.store.write_later(Change::Ack { consumer: super::requests::COMPONENTS.into(), seq });
        }
    }
}

/// A task's place in the queue.
pub(crate) fn ready_of(key: TaskKey, task: &Task) -> Ready {
    let (position, is_upload) = ((task.priority, task.creation_time, key), task.is_upload());
    Ready { position, host: task.host(), group: task.group.clone(), is_upload }
}
