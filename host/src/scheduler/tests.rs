//! The scheduler against a model of the store: a sorted list of ready tasks.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{HEAD, Ready, Scheduler, Step, Why};
use crate::clock::now;
use crate::limits::QueueLimits;
use crate::store::QueuePosition;

fn limits(total: usize, per_host: usize, per_group: usize) -> QueueLimits {
    QueueLimits { total, per_host, per_group, ..QueueLimits::default() }
}

fn task(key: i64, priority: i32, host: &str, group: &str) -> Ready {
    let is_upload = group.starts_with("up");
    Ready { position: (priority, key as u64, key), host: host.into(), group: group.into(), is_upload }
}

/// The store's side: tasks not started yet; and what time it is.
struct Queue(Vec<Ready>, Instant);

impl Queue {
    fn announce(&self, scheduler: &mut Scheduler) {
        for task in &self.0 {
            scheduler.may_have(&task.host, &task.group);
        }
    }

    /// Starts all that can start, answering keys in order.
    fn start_all(&mut self, scheduler: &mut Scheduler) -> Vec<i64> {
        let mut started = Vec::new();
        loop {
            match scheduler.step(self.1) {
                Step::Wait | Step::WaitUntil(_) => return started,
                Step::Start(key) => {
                    let index = self.0.iter().position(|task| task.position.2 == key).expect("a task of the queue");
                    let task = self.0.remove(index);
                    scheduler.started(&task, self.1);
                    started.push(key);
                }
                Step::Fetch { part, after } => {
                    let fits = |task: &&Ready| {
                        part.host.as_ref().is_none_or(|host| *host == task.host)
                            && part.group.as_ref().is_none_or(|group| *group == task.group)
                            && part.uploads.is_none_or(|uploads| uploads == task.is_upload)
                            && after.is_none_or(|after| task.position > after)
                    };
                    let mut found: Vec<QueuePosition> = self.0.iter().filter(fits).map(|task| task.position).collect();
                    found.sort_unstable();
                    let more = found.len() > HEAD;
                    found.truncate(HEAD);
                    scheduler.offer(&part, &found, more);
                }
            }
        }
    }
}

#[test]
fn tasks_start_by_priority_then_age_up_to_the_limit_in_all() {
    let mut scheduler = Scheduler::new(limits(3, 0, 0));
    let mut queue =
        Queue(vec![task(1, 5, "a", "g"), task(2, 0, "a", "g"), task(3, 5, "a", "g"), task(4, 9, "a", "g")], now());
    queue.announce(&mut scheduler);
    assert_eq!(queue.start_all(&mut scheduler), [2, 1, 3]);
    assert_eq!(scheduler.why(&task(0, 5, "a", "g"), now()), Why::Total(3));
    scheduler.settled(1);
    assert_eq!(queue.start_all(&mut scheduler), [4]);
}

#[test]
fn a_full_host_is_passed_over_and_comes_first_when_it_has_room() {
    let mut scheduler = Scheduler::new(limits(10, 1, 0));
    let mut queue =
        Queue((1..=200).map(|key| task(key, 5, "busy", "g")).chain([task(201, 5, "other", "g")]).collect(), now());
    queue.announce(&mut scheduler);
    assert_eq!(queue.start_all(&mut scheduler), [1, 201]);
    assert_eq!(scheduler.why(&task(0, 5, "busy", "g"), now()), Why::Host("busy".into(), 1));
    scheduler.settled(1);
    assert_eq!(queue.start_all(&mut scheduler), [2]);
}

#[test]
fn uploads_and_downloads_are_limited_each_by_itself() {
    let mut scheduler = Scheduler::new(QueueLimits { uploads: 1, downloads: 2, ..limits(0, 0, 0) });
    let tasks = (1..=8).map(|key| task(key, 5, "h", if key <= 4 { "up" } else { "g" })).collect();
    let mut queue = Queue(tasks, now());
    queue.announce(&mut scheduler);
    assert_eq!(queue.start_all(&mut scheduler), [1, 5, 6]);
    assert_eq!(scheduler.why(&task(0, 5, "h", "up"), now()), Why::Direction(true, 1));
    assert_eq!(scheduler.why(&task(0, 5, "h", "g"), now()), Why::Direction(false, 2));
    scheduler.settled(5);
    assert_eq!(queue.start_all(&mut scheduler), [7]);
    scheduler.settled(1);
    assert_eq!(queue.start_all(&mut scheduler), [2]);
    scheduler.set_limits(QueueLimits { uploads: 2, ..limits(0, 0, 0) });
    queue.announce(&mut scheduler);
    assert_eq!(queue.start_all(&mut scheduler), [3, 8]);
}

#[test]
fn a_group_may_have_a_limit_of_its_own() {
    let mut limits = limits(0, 0, 0);
    limits.groups.insert("slow".into(), 2);
    let mut scheduler = Scheduler::new(limits);
    let mut queue = Queue(
        (1..=4).map(|key| task(key, 5, "a", "slow")).chain((5..=8).map(|key| task(key, 5, "a", "g"))).collect(),
        now(),
    );
    queue.announce(&mut scheduler);
    assert_eq!(queue.start_all(&mut scheduler), [1, 2, 5, 6, 7, 8]);
    assert_eq!(scheduler.why(&task(0, 5, "a", "slow"), now()), Why::Group("slow".into(), 2));
}

#[test]
fn the_next_ones_are_the_first_of_each_part_that_has_room_in_the_order_of_their_start() {
    let mut scheduler = Scheduler::new(limits(0, 0, 1));
    let tasks =
        [task(1, 5, "a", "x"), task(2, 5, "a", "y"), task(3, 5, "a", "x"), task(4, 5, "a", "y"), task(5, 0, "a", "z")];
    tasks.iter().for_each(|task| scheduler.add(task));
    assert_eq!(scheduler.next_ones(64), [5, 1, 3, 2, 4]);
    assert_eq!(scheduler.next_ones(2), [5, 1]);

    assert_eq!(scheduler.step(now()), Step::Start(5));
    scheduler.started(&tasks[4], now());
    assert_eq!(scheduler.step(now()), Step::Start(1));
    scheduler.started(&tasks[0], now());

    assert_eq!(scheduler.next_ones(64), [2, 4]);
    scheduler.remove(&HashSet::from([2, 3]));
    assert_eq!(scheduler.next_ones(64), [4]);
    scheduler.settled(1);
    assert_eq!(scheduler.step(now()), Step::Start(4));
}

#[test]
fn a_task_whose_start_is_not_committed_is_not_started_twice() {
    let mut scheduler = Scheduler::new(limits(1, 0, 0));
    scheduler.may_have("a", "g");
    let stale = [task(1, 5, "a", "g").position];
    scheduler.started(&task(1, 5, "a", "g"), now());
    scheduler.ended(1);
    let part = match scheduler.step(now()) {
        Step::Fetch { part, .. } => part,
        other => panic!("{other:?}"),
    };
    scheduler.offer(&part, &stale, false);
    assert_eq!(scheduler.step(now()), Step::Wait);
    scheduler.settled(1);
}

#[test]
fn starts_are_at_least_the_interval_apart_and_waiting_for_it_is_told() {
    let mut scheduler = Scheduler::new(QueueLimits { min_interval_ms: 50, ..limits(0, 0, 0) });
    let start = now();
    let mut queue = Queue((1..=3).map(|key| task(key, 5, "a", "g")).collect(), start);
    queue.announce(&mut scheduler);
    assert_eq!(queue.start_all(&mut scheduler), [1]);
    let next = start + Duration::from_millis(50);
    assert_eq!(scheduler.step(start + Duration::from_millis(49)), Step::WaitUntil(next));
    assert_eq!(scheduler.why(&task(0, 5, "a", "g"), start), Why::Interval(50, Duration::from_millis(50)));
    queue.1 = next;
    assert_eq!(queue.start_all(&mut scheduler), [2]);
    scheduler.settled(1);
    queue.0.clear();
    scheduler.forget();
    assert_eq!(scheduler.step(next), Step::Wait, "nobody is waked for nothing");
}

#[test]
fn a_silent_host_is_passed_over_until_its_time_and_says_so() {
    let mut scheduler = Scheduler::new(limits(0, 0, 0));
    let start = now();
    let mut queue = Queue(vec![task(1, 5, "busy", "g"), task(2, 5, "busy", "g"), task(3, 5, "other", "g")], start);
    queue.announce(&mut scheduler);
    let until = start + Duration::from_secs(5);
    assert!(scheduler.silence("busy", until, start), "the queue is looked at by host from now on");
    assert!(!scheduler.silence("busy", start + Duration::from_secs(1), start), "the later time counts");
    queue.announce(&mut scheduler);

    assert_eq!(queue.start_all(&mut scheduler), [3]);
    assert_eq!(scheduler.step(start), Step::WaitUntil(until));
    assert_eq!(scheduler.why(&task(0, 5, "busy", "g"), start), Why::Silence("busy".into(), Duration::from_secs(5)));
    assert_eq!(scheduler.why(&task(0, 5, "other", "g"), start), Why::Turn);
    queue.1 = until;
    assert_eq!(queue.start_all(&mut scheduler), [1, 2]);
    assert_eq!(scheduler.step(until), Step::Wait, "nobody is waked for nothing");
}

#[test]
fn a_silence_ends_when_somebody_wants_that_and_too_many_are_not_kept() {
    let mut scheduler = Scheduler::new(limits(0, 0, 0));
    let start = now();
    let until = start + Duration::from_secs(5);
    for host in 0..super::SILENT + 5 {
        scheduler.silence(&format!("h{host}"), until, start);
    }
    let mut queue = Queue(vec![task(1, 5, "h7", "g"), task(2, 5, &format!("h{}", super::SILENT), "g")], start);
    queue.announce(&mut scheduler);
    assert_eq!(queue.start_all(&mut scheduler), [2]);
    scheduler.end_silence("h7");
    assert_eq!(queue.start_all(&mut scheduler), [1]);
    scheduler.silence("new", until + Duration::from_secs(5), until);
    assert_eq!(scheduler.silent.len(), 1, "what is over is forgotten");
}

#[test]
fn new_limits_count_at_once_for_what_waits_and_never_stop_what_runs() {
    let mut scheduler = Scheduler::new(limits(1, 0, 0));
    let mut queue = Queue((1..=9).map(|key| task(key, 5, "a", if key < 6 { "g" } else { "h" })).collect(), now());
    queue.announce(&mut scheduler);
    assert_eq!(queue.start_all(&mut scheduler), [1]);
    scheduler.set_limits(limits(0, 0, 2));
    queue.announce(&mut scheduler);
    assert_eq!(queue.start_all(&mut scheduler), [2, 6, 7]);
    scheduler.set_limits(limits(2, 0, 0));
    queue.announce(&mut scheduler);
    scheduler.settled(6);
    assert_eq!(queue.start_all(&mut scheduler), [0; 0], "three still run");
    scheduler.settled(1);
    scheduler.settled(7);
    assert_eq!(queue.start_all(&mut scheduler), [3]);
}

/// Limits as they are at some time.
fn any_limits() -> impl Strategy<Value = QueueLimits> {
    (0usize..5, 0usize..3, 0usize..3, prop::option::of(0usize..3), 0u64..3).prop_map(
        |(total, host, group, own, interval)| {
            let groups = own.map(|own| ("g1".to_owned(), own)).into_iter().collect();
            QueueLimits { groups, min_interval_ms: interval * 10, ..limits(total, host, group) }
        },
    )
}

proptest! {
    #[test]
    fn no_limit_is_exceeded_no_task_starves_and_order_holds_within_a_part(
        changing in prop::collection::vec(any_limits(), 1..5),
        tasks in prop::collection::vec((0i32..3, 0u8..4, 0u8..3), 1..120),
        ends in prop::collection::vec(any::<prop::sample::Index>(), 300),
        silences in prop::collection::vec(prop::option::of((0u8..4, 1u64..100)), 0..40),
    ) {
        let mut scheduler = Scheduler::new(changing[0].clone());
        let all: Vec<Ready> = tasks.iter().enumerate()
            .map(|(i, (priority, host, group))| task(i as i64, *priority, &format!("h{host}"), &format!("g{group}"))).collect();
        let mut queue = Queue(all.clone(), now());
        queue.announce(&mut scheduler);
        let mut running: Vec<i64> = Vec::new();
        let mut done = HashSet::new();
        let mut last: BTreeMap<(String, String), (i32, u64, i64)> = BTreeMap::new();
        let mut last_start: Option<Instant> = None;
        let mut silent: BTreeMap<String, Instant> = BTreeMap::new();
        for (turn, index) in ends.iter().cycle().enumerate() {
            let limits = &changing[(turn / 20) % changing.len()];
            if turn % 20 == 0 {
                scheduler.set_limits(limits.clone());
                queue.announce(&mut scheduler);
            }
            if let Some(Some((host, ms))) = silences.get(turn) {
                let (host, until) = (format!("h{host}"), queue.1 + Duration::from_millis(*ms));
                if scheduler.silence(&host, until, queue.1) {
                    queue.announce(&mut scheduler);
                }
                silent.entry(host).and_modify(|known| *known = until.max(*known)).or_insert(until);
            }
            let before = running.len();
            let of = |running: &[i64], fits: &dyn Fn(&Ready) -> bool| running.iter().filter(|key| fits(&all[**key as usize])).count();
            let started = queue.start_all(&mut scheduler);
            if limits.min_interval_ms > 0 {
                prop_assert!(started.len() <= 1);
                let apart = last_start.map(|last| queue.1 - last);
                prop_assert!(started.is_empty() || apart.is_none_or(|apart| apart >= Duration::from_millis(limits.min_interval_ms)));
            }
            last_start = if started.is_empty() { last_start } else { Some(queue.1) };
            for key in &started {
                let ready = &all[*key as usize];
                let earlier = last.insert((ready.host.clone(), ready.group.clone()), ready.position);
                prop_assert!(earlier.is_none_or(|earlier| earlier < ready.position));
                prop_assert!(silent.get(&ready.host).is_none_or(|until| *until <= queue.1));
                running.push(*key);
                prop_assert!(limits.total == 0 || running.len() <= limits.total);
                let of_host = of(&running, &|other| other.host == ready.host);
                let of_group = of(&running, &|other| other.group == ready.group);
                let group_limit = limits.groups.get(&ready.group).copied().unwrap_or(limits.per_group);
                prop_assert!(limits.per_host == 0 || of_host <= limits.per_host);
                prop_assert!(group_limit == 0 || of_group <= group_limit);
            }
            queue.1 += Duration::from_millis(15);
            if queue.0.is_empty() && running.is_empty() { break; }
            // A turn that neither starts nor ends anything, with nothing running, may only wait for a time.
            let waits = limits.min_interval_ms > 0 || silent.values().any(|until| *until + Duration::from_millis(15) > queue.1);
            prop_assert!(before > 0 || !running.is_empty() || waits);
            if !running.is_empty() {
                let key = running.remove(index.index(running.len()));
                done.insert(key);
                scheduler.settled(key);
            }
        }
        prop_assert_eq!(done.len(), all.len());
    }
}

#[test]
fn a_slot_that_was_lent_is_taken_back_when_there_is_room() {
    let mut scheduler = Scheduler::new(limits(1, 1, 0));
    let (first, second) = (task(1, 5, "a", "g"), task(2, 5, "a", "g"));
    scheduler.started(&first, now());
    assert!(!scheduler.has_room(&second));

    scheduler.ended(1);
    assert!(scheduler.has_room(&second));
    scheduler.started(&second, now());

    assert!(!scheduler.has_room(&first));
    scheduler.settled(2);
    assert!(scheduler.has_room(&first));
    scheduler.take_back(&first);
    assert_eq!(scheduler.why(&second, now()), Why::Host("a".into(), 1));
}
