//! The loop: one closed set of inputs, one match. It starts attempts, takes their ends, and writes what follows from them.
//!
//! It never blocks on the disk but for short reads of the queue: writes are handed to the store, and what must wait for a
//! commit comes back as an input. It decides nothing about a task that a hook decides.

mod asking;
mod ending;
mod forsaking;
mod limits;
mod starting;
mod waking;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use super::input::{Input, Settling, Stopping, Waits, Working};
use super::network::Finder;
use crate::api::Action;
use crate::clock;
use crate::engine::lanes::{Lane, Work};
use crate::engine::{Retain, within_open_files};
use crate::error::Result;
use crate::event::{Details, StatusUpdate};
use crate::limits::{Limits, Network};
use crate::scheduler::{HEAD, Ready, Scheduler};
use crate::store::{Change, TaskKey};
use crate::task::{Record, Status, Task};
use crate::threads;
use crate::transfer::rate::OwnRate;
use crate::transfer::{Finished, Reason, Shared, Stop};

/// Longest sleep: the machine's clock may jump.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
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
/// How soon after an end is looked for what is to be forgotten: those of a second together.
const FORGET_AFTER: Duration = Duration::from_secs(1);
/// How often, at least, for what has become old.
const FORGET_EVERY: Duration = Duration::from_secs(30);
/// Tasks forgotten by one look, at most.
const FORGOTTEN: usize = 50_000;
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
    /// Records of tasks that are about to start.
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
    /// Cancelled tasks whose uploads are being deleted; and whether there may be more.
    forsaking: HashSet<TaskKey>,
    may_forsake: bool,
    /// Final updates that components are being told of, by sequence number; the last one told.
    telling: BTreeSet<u64>,
    told: u64,
    acknowledged: u64,
    /// Who waits until all up to a number have been told.
    until_told: Vec<(u64, oneshot::Sender<()>)>,
    retain: Retain,
    /// When to look for what is to be forgotten.
    next_forgetting: Option<Instant>,
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
            forsaking: HashSet::new(),
            may_forsake: true,
            telling: BTreeSet::new(),
            told: 0,
            acknowledged: 0,
            until_told: Vec::new(),
            retain,
            next_forgetting: None,
        };
        machine.forget_within(FORGET_AFTER);
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
                    if input.can_wait() {
                        crowd.gather();
                    }
                    self.handle(input);
                    while let Ok(input) = inputs.try_recv() {
                        self.handle(input);
                    }
                }
                () = clock::sleep(sleep) => {}
            }
            self.wake();
            self.start_what_can_start();
            self.forsake();
            let is_done = self.running.is_empty() && self.telling.is_empty() && self.forsaking.is_empty();
            if self.closing.is_some() && is_done {
                self.forget_old();
                return;
            }
        }
    }

    fn handle(&mut self, input: Input) {
        match input {
            Input::Added { asker, tasks, work } => self.added(asker, tasks, work),
            Input::WorkAll { asker } => {
                self.work_all(asker);
                self.forsake(); // who finds nothing to do may end before the loop comes to that
            }
            Input::Gone { asker } => self.gone(asker),
            Input::Stop { action, keys, details, reply } => self.stop(action, &keys, &details, reply),
            Input::Left { action, keys } => {
                let started = keys.iter().filter_map(|key| self.running.get(key));
                started.for_each(|running| running.stop.ask(reason_of(action)));
                self.may_forsake |= action == Action::Cancel;
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
            Input::Forsaken { key, is_written } => self.forsaken(key, is_written),
            Input::LeaveForsaken => self.forsaking.clear(),
            Input::WhenTold { reply } => self.when_told(reply),
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
            Input::Why { tasks, reply } => drop(reply.send(tasks.iter().map(|task| self.why(task)).collect())),
            Input::Working { reply } => {
                let asked = self.asks.values().map(|asks| asks.keys.len() as u64).sum();
                let busy = self.running.len() as u64;
                let _ = reply.send(Working { all: self.works_all(), asked, busy });
            }
            Input::Close { reply } => self.close(reply),
            Input::CloseNow => {
                self.running.clear();
                self.publishing = 0;
                self.forsaking.clear();
                self.leave_untold();
            }
        }
    }

    fn why(&self, task: &Ready) -> Option<Waits> {
        let worked = self.works_all() || self.is_asked(task.position.2);
        worked.then(|| match self.limits.network {
            Network::Offline => Waits::Offline,
            _ => Waits::Queue(self.scheduler.why(task, clock::now())),
        })
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
        self.leave_forsaken();
        // Who waited for components has lost patience.
        if self.until_told.iter().any(|(_, waiter)| waiter.is_closed()) {
            self.leave_untold();
        }
        self.give_up_closing();
    }

    /// Closing does not wait for ever: the database is right whatever has not been written.
    #[expect(clippy::disallowed_methods, reason = "as in `after`")]
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
        self.answer_told();
    }

    fn when_told(&mut self, reply: oneshot::Sender<()>) {
        let last = self.telling.last().copied().unwrap_or(0);
        if last > 0 {
            tracing::info!("waits for components that are told of ends (`on-task-finished`)");
        }
        self.until_told.push((last, reply));
        self.answer_told();
    }

    fn answer_told(&mut self) {
        let first = self.telling.first().copied().unwrap_or(u64::MAX);
        let waiting = std::mem::take(&mut self.until_told);
        let (still, answered): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(last, _)| first <= *last);
        self.until_told = still;
        for (_, reply) in answered {
            let _ = reply.send(());
        }
    }

    /// Closing has no time for more: the next engine tells these ends again.
    fn leave_untold(&mut self) {
        let count = self.telling.len();
        if count > 0 {
            tracing::warn!(
                "ends that components had not heard of: {count} (`on-task-finished`); they are told again when tasks are \
                 worked next"
            );
        }
        self.telling.clear();
    }
}

/// A task's place in the queue.
pub(crate) fn ready_of(key: TaskKey, task: &Task) -> Ready {
    let (position, is_upload) = ((task.priority, task.creation_time, key), task.is_upload());
    Ready { position, host: task.host(), group: task.group.clone(), is_upload }
}
