//! Which task starts next, and why each of the others waits. Sans-io: no clock, no database, no threads.
//!
//! The queue itself is in the store; only the heads of its parts are here. A *part* is what one limit can block as a whole:
//! the tasks of one host, of one group, of one direction, of several of these, or all of them when none is limited. Tasks start in the order of
//! priority, creation time and key; a task whose host or group is full is passed over, and is the first to start there
//! when there is room (background_downloader B.14). Limits may change at any time; the time is an argument.
//!
//! A host whose server has asked for silence (Retry-After) is passed over until then. It forgets that with the process: each
//! task that was told keeps its own time.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::limits::QueueLimits;
use crate::store::{QueueKey, QueuePosition, TaskKey};

/// Tasks of one part kept in memory at most.
pub(crate) const HEAD: usize = 64;
/// Hosts that are silent at the same time, at most. Of others only the tasks that were told wait.
const SILENT: usize = 1024;

/// A task that is ready to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) position: QueuePosition,
    pub(crate) host: String,
    pub(crate) group: String,
    pub(crate) is_upload: bool,
}

/// What the driver does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Start this task; it counts as running from now on.
    Start(TaskKey),
    /// Read tasks of this part from the store, after this position, and [`Scheduler::offer`] them.
    Fetch { part: QueueKey, after: Option<QueuePosition> },
    /// Nothing can start now.
    Wait,
    /// A task could start, but not before this: starts are some time apart, or its host is silent until then.
    WaitUntil(Instant),
}

/// Why a ready task does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The server of this host wants no requests for so long.
    Silence(String, Duration),
    /// As many run as may, in all.
    Total(usize),
    /// As many run as may, of this host.
    Host(String, usize),
    /// As many run as may, of this group.
    Group(String, usize),
    /// As many uploads run as may, or (`false`) of all others.
    Direction(bool, usize),
    /// Starts are so many milliseconds apart, and for so long none is next.
    Interval(u64, Duration),
    /// Nothing holds it up but the tasks before it.
    Turn,
}

/// What is known of a part of the queue.
#[derive(Debug, Default)]
struct Part {
    head: BTreeSet<QueuePosition>,
    /// Up to where the store was read.
    last: Option<QueuePosition>,
    /// The store may have tasks behind that.
    more: bool,
}

/// Why nothing of a part can start now.
enum Rest {
    Full,
    Silent(Instant),
}

/// The scheduler: limits, what runs, and the heads of the queue.
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: QueueLimits,
    /// Parts that have, or may have, ready tasks. Only [`Scheduler::change`] changes them.
    parts: BTreeMap<Arc<QueueKey>, Part>,
    /// The first task of each part that has one, so that of a hundred thousand parts only full and silent ones are looked at.
    firsts: BTreeMap<QueuePosition, Arc<QueueKey>>,
    /// Parts of which no task is known, though the store may have some.
    unread: BTreeSet<Arc<QueueKey>>,
    running: HashMap<TaskKey, (String, String, bool)>,
    per_host: HashMap<String, usize>,
    per_group: HashMap<String, usize>,
    uploads: usize,
    /// Started tasks whose changes are not all committed: the store may still show them as ready.
    busy: HashSet<TaskKey>,
    /// When a task started last.
    last_start: Option<Instant>,
    /// Until when hosts are silent.
    silent: HashMap<String, Instant>,
    /// A host was silent once: the queue is looked at by host from then on.
    by_host: bool,
}

impl Scheduler {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            parts: BTreeMap::new(),
            firsts: BTreeMap::new(),
            unread: BTreeSet::new(),
            running: HashMap::new(),
            per_host: HashMap::new(),
            per_group: HashMap::new(),
            uploads: 0,
            busy: HashSet::new(),
            last_start: None,
            silent: HashMap::new(),
            by_host: false,
        }
    }

    /// These limits count from now on; what runs goes on. The queue may be divided in another way: every head is forgotten.
    pub(crate) fn set_limits(&mut self, limits: QueueLimits) {
        self.limits = limits;
        self.forget();
    }

    /// Whether hosts, groups or directions are limited, so that the queue must be looked at in parts.
    pub(crate) fn divides(&self) -> bool {
        let by_group = self.limits.per_group > 0 || !self.limits.groups.is_empty();
        self.divides_by_host() || by_group || self.divides_by_direction()
    }

    fn divides_by_host(&self) -> bool {
        self.limits.per_host > 0 || self.by_host
    }

    fn divides_by_direction(&self) -> bool {
        self.limits.uploads > 0 || self.limits.downloads > 0
    }

    fn part_of(&self, host: &str, group: &str, is_upload: bool) -> QueueKey {
        let by_group = self.limits.per_group > 0 || !self.limits.groups.is_empty();
        QueueKey {
            host: self.divides_by_host().then(|| host.to_owned()),
            group: by_group.then(|| group.to_owned()),
            uploads: self.divides_by_direction().then_some(is_upload),
        }
    }

    /// The store may have tasks of this host and group that are not known here; those known are read again.
    pub(crate) fn may_have(&mut self, host: &str, group: &str) {
        for is_upload in [false, true] {
            let part = self.part_of(host, group, is_upload);
            self.change(&part, |part| *part = Part { more: true, ..Part::default() });
        }
    }

    /// The server of this host wants no requests before `until`: none of its tasks starts before. What runs goes on; of two
    /// such times the later one counts. True: the queue is divided in another way from now on, and every head is forgotten.
    pub(crate) fn silence(&mut self, host: &str, until: Instant, now: Instant) -> bool {
        self.silent.retain(|_, until| *until > now);
        if self.silent.len() >= SILENT && !self.silent.contains_key(host) {
            return false;
        }
        let known = self.silent.entry(host.to_owned()).or_insert(until);
        *known = until.max(*known);
        let divided = self.divides_by_host();
        self.by_host = true;
        if !divided {
            self.forget();
        }
        !divided
    }

    /// Somebody wants a request to this host now.
    pub(crate) fn end_silence(&mut self, host: &str) {
        self.silent.remove(host);
    }

    fn silent_until(&self, host: &str, now: Instant) -> Option<Instant> {
        self.silent.get(host).copied().filter(|until| *until > now)
    }

    /// Forgets every head: the store has changed behind them.
    pub(crate) fn forget(&mut self) {
        self.parts.clear();
        self.firsts.clear();
        self.unread.clear();
    }

    /// Changes what is known of a part, and files it by its first task. One without tasks is forgotten.
    fn change(&mut self, key: &QueueKey, change: impl FnOnce(&mut Part)) {
        let known = self.parts.remove_entry(key);
        let (key, mut part) = known.unwrap_or_else(|| (Arc::new(key.clone()), Part::default()));
        match part.head.first() {
            Some(first) => drop(self.firsts.remove(first)),
            None => drop(self.unread.remove(&key)),
        }
        change(&mut part);
        match part.head.first() {
            Some(first) => drop(self.firsts.insert(*first, Arc::clone(&key))),
            None if part.more => drop(self.unread.insert(Arc::clone(&key))),
            None => return,
        }
        self.parts.insert(key, part);
    }

    /// Positions read for [`Step::Fetch`], in order. `more` says that there may be others behind them.
    pub(crate) fn offer(&mut self, part: &QueueKey, tasks: &[QueuePosition], more: bool) {
        let ready: Vec<QueuePosition> = tasks.iter().filter(|task| !self.busy.contains(&task.2)).copied().collect();
        self.change(part, |part| {
            part.more = more;
            part.last = tasks.last().copied().or(part.last);
            part.head.extend(ready);
        });
    }

    /// One task that is known to be ready, whatever the store says: for work on a list.
    pub(crate) fn add(&mut self, task: &Ready) {
        if !self.busy.contains(&task.position.2) {
            let part = self.part_of(&task.host, &task.group, task.is_upload);
            self.change(&part, |part| _ = part.head.insert(task.position));
        }
    }

    /// Tasks that are no longer ready: they were paused or cancelled while they waited.
    pub(crate) fn remove(&mut self, keys: &HashSet<TaskKey>) {
        let is_gone = |position: &QueuePosition| keys.contains(&position.2);
        let parts = self.parts.iter().filter(|(_, part)| part.head.iter().any(is_gone));
        let parts: Vec<Arc<QueueKey>> = parts.map(|(key, _)| Arc::clone(key)).collect();
        for part in parts {
            self.change(&part, |part| part.head.retain(|position| !is_gone(position)));
        }
    }

    /// Tasks that are dealt with beside the queue: each is busy until [`Scheduler::settled`], and takes no slot.
    pub(crate) fn withdraw(&mut self, keys: &HashSet<TaskKey>) {
        self.remove(keys);
        self.busy.extend(keys);
    }

    /// Known tasks that start soon, at most `limit`: the first ones of each part that has room, the earliest part first.
    pub(crate) fn next_ones(&self, limit: usize) -> Vec<TaskKey> {
        let of_each = limit / self.firsts.len().clamp(1, limit);
        let parts = self.firsts.values().filter(|part| !self.is_full(part)).filter_map(|part| self.parts.get(part));
        parts.flat_map(|part| part.head.iter().take(of_each)).take(limit).map(|position| position.2).collect()
    }

    /// What to do next. Call until it answers [`Step::Wait`] or `WaitUntil`; after each `Start`, call
    /// [`Scheduler::started`].
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        if self.limits.total > 0 && self.running.len() >= self.limits.total {
            return Step::Wait;
        }
        let mut silent_until: Option<Instant> = None;
        let mut is_open = |part: &QueueKey| match self.rest(part, now) {
            None => true,
            Some(Rest::Full) => false,
            Some(Rest::Silent(until)) => {
                silent_until = Some(silent_until.map_or(until, |first| first.min(until)));
                false
            }
        };
        if let Some(part) = self.unread.iter().find(|part| is_open(part)) {
            let after = self.parts.get(part).and_then(|part| part.last);
            return Step::Fetch { part: QueueKey::clone(part), after };
        }
        let Some((&first, part)) = self.firsts.iter().find(|(_, part)| is_open(part)) else {
            return silent_until.map_or(Step::Wait, Step::WaitUntil);
        };
        if let Some(at) = self.next_start().filter(|at| *at > now) {
            return Step::WaitUntil(at);
        }
        let part = Arc::clone(part);
        self.change(&part, |part| _ = part.head.remove(&first));
        Step::Start(first.2)
    }

    fn rest(&self, part: &QueueKey, now: Instant) -> Option<Rest> {
        if self.is_full(part) {
            return Some(Rest::Full);
        }
        part.host.as_ref().and_then(|host| self.silent_until(host, now)).map(Rest::Silent)
    }

    /// The earliest time of the next start, as far as the interval between two is concerned.
    fn next_start(&self) -> Option<Instant> {
        let interval = Duration::from_millis(self.limits.min_interval_ms);
        self.last_start.filter(|_| !interval.is_zero()).and_then(|last| last.checked_add(interval))
    }

    fn is_full(&self, part: &QueueKey) -> bool {
        let host = part.host.as_ref().is_some_and(|host| self.host_is_full(host));
        let direction = part.uploads.is_some_and(|uploads| self.full_direction(uploads).is_some());
        host || direction
            || part
                .group
                .as_ref()
                .is_some_and(|group| self.group_limit(group).is_some_and(|n| self.in_group(group) >= n))
    }

    fn host_is_full(&self, host: &str) -> bool {
        self.limits.per_host > 0 && self.per_host.get(host).copied().unwrap_or(0) >= self.limits.per_host
    }

    /// The limit of uploads, or of all others, if as many run.
    fn full_direction(&self, uploads: bool) -> Option<usize> {
        let (limit, running) = match uploads {
            true => (self.limits.uploads, self.uploads),
            false => (self.limits.downloads, self.running.len() - self.uploads),
        };
        (limit > 0 && running >= limit).then_some(limit)
    }

    fn in_group(&self, group: &str) -> usize {
        self.per_group.get(group).copied().unwrap_or(0)
    }

    fn group_limit(&self, group: &str) -> Option<usize> {
        let limit = self.limits.groups.get(group).copied().unwrap_or(self.limits.per_group);
        (limit > 0).then_some(limit)
    }

    /// A task has started: it takes a slot in all, of its host, of its group and of its direction.
    pub(crate) fn started(&mut self, task: &Ready, now: Instant) {
        self.last_start = Some(now);
        self.take_back(task);
    }

    /// A task that was started and [`Scheduler::ended`] takes its slots again.
    pub(crate) fn take_back(&mut self, task: &Ready) {
        let Ready { position: (_, _, key), host, group, is_upload } = task;
        self.busy.insert(*key);
        if self.running.insert(*key, (host.clone(), group.clone(), *is_upload)).is_none() {
            *self.per_host.entry(host.clone()).or_default() += 1;
            *self.per_group.entry(group.clone()).or_default() += 1;
            self.uploads += usize::from(*is_upload);
        }
    }

    /// A task no longer moves bytes: its slots are free. It stays busy until [`Scheduler::settled`].
    pub(crate) fn ended(&mut self, key: TaskKey) {
        let Some((host, group, is_upload)) = self.running.remove(&key) else { return };
        self.uploads -= usize::from(is_upload);
        decrement(&mut self.per_host, &host);
        decrement(&mut self.per_group, &group);
    }

    /// Every change of the task is committed: what the store shows of it is true again.
    pub(crate) fn settled(&mut self, key: TaskKey) {
        self.ended(key);
        self.busy.remove(&key);
    }

    /// Why a ready task does not run now.
    pub(crate) fn why(&self, task: &Ready, now: Instant) -> Why {
        if let Some(until) = self.silent_until(&task.host, now) {
            return Why::Silence(task.host.clone(), until - now);
        }
        if let Some(why) = self.full(task) {
            return why;
        }
        match self.next_start().filter(|at| *at > now) {
            Some(at) => Why::Interval(self.limits.min_interval_ms, at - now),
            None => Why::Turn,
        }
    }

    /// Whether a task could run now, as far as what runs is concerned.
    pub(crate) fn has_room(&self, task: &Ready) -> bool {
        self.full(task).is_none()
    }

    /// The limit that is used up.
    fn full(&self, task: &Ready) -> Option<Why> {
        if self.host_is_full(&task.host) {
            return Some(Why::Host(task.host.clone(), self.limits.per_host));
        }
        match self.group_limit(&task.group) {
            Some(limit) if self.in_group(&task.group) >= limit => return Some(Why::Group(task.group.clone(), limit)),
            _ => {}
        }
        if let Some(limit) = self.full_direction(task.is_upload) {
            return Some(Why::Direction(task.is_upload, limit));
        }
        (self.limits.total > 0 && self.running.len() >= self.limits.total).then_some(Why::Total(self.limits.total))
    }
}

fn decrement(counts: &mut HashMap<String, usize>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}

#[cfg(test)]
mod tests;
