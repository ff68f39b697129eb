//! The scheduler against a model of the store: a sorted list of ready tasks.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::{HEAD, Ready, Scheduler, Step, Why};
use crate::engine::QueueLimits;

fn limits(total: usize, per_host: usize, per_group: usize) -> QueueLimits {
    QueueLimits { total, per_host, per_group, groups: BTreeMap::new() }
}

fn task(key: i64, priority: i32, host: &str, group: &str) -> Ready {
    Ready { position: (priority, key as u64, key), host: host.into(), group: group.into() }
}

/// The store's side: tasks not started yet.
struct Queue(Vec<Ready>);

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
            match scheduler.step() {
                Step::Wait => return started,
                Step::Start(key) => {
                    let index = self.0.iter().position(|task| task.position.2 == key).expect("a task of the queue");
                    let task = self.0.remove(index);
                    scheduler.started(key, &task.host, &task.group);
                    started.push(key);
                }
                Step::Fetch { part, after } => {
                    let mut found: Vec<Ready> = self.0.clone();
                    found.retain(|task| {
                        part.host.as_ref().is_none_or(|host| *host == task.host)
                            && part.group.as_ref().is_none_or(|group| *group == task.group)
                            && after.is_none_or(|after| task.position > after)
                    });
                    found.sort_by_key(|task| task.position);
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
    let mut queue = Queue(vec![task(1, 5, "a", "g"), task(2, 0, "a", "g"), task(3, 5, "a", "g"), task(4, 9, "a", "g")]);
    queue.announce(&mut scheduler);
    assert_eq!(queue.start_all(&mut scheduler), [2, 1, 3]);
    assert_eq!(scheduler.why("a", "g"), Why::Total(3));
    scheduler.settled(1);
    assert_eq!(queue.start_all(&mut scheduler), [4]);
}

#[test]
fn a_full_host_is_passed_over_and_comes_first_when_it_has_room() {
    let mut scheduler = Scheduler::new(limits(10, 1, 0));
    let mut queue = Queue((1..=200).map(|key| task(key, 5, "busy", "g")).chain([task(201, 5, "other", "g")]).collect());
    queue.announce(&mut scheduler);
    assert_eq!(queue.start_all(&mut scheduler), [1, 201]);
    assert_eq!(scheduler.why("busy", "g"), Why::Host("busy".into(), 1));
    scheduler.settled(1);
    assert_eq!(queue.start_all(&mut scheduler), [2]);
}

#[test]
fn a_group_may_have_a_limit_of_its_own() {
    let mut limits = limits(0, 0, 0);
    limits.groups.insert("slow".into(), 2);
    let mut scheduler = Scheduler::new(limits);
    let mut queue =
        Queue((1..=4).map(|key| task(key, 5, "a", "slow")).chain((5..=8).map(|key| task(key, 5, "a", "g"))).collect());
    queue.announce(&mut scheduler);
    assert_eq!(queue.start_all(&mut scheduler), [1, 2, 5, 6, 7, 8]);
    assert_eq!(scheduler.why("a", "slow"), Why::Group("slow".into(), 2));
}

#[test]
fn a_task_whose_start_is_not_committed_is_not_started_twice() {
    let mut scheduler = Scheduler::new(limits(1, 0, 0));
    scheduler.may_have("a", "g");
    let stale = [task(1, 5, "a", "g")];
    scheduler.started(1, "a", "g");
    scheduler.ended(1);
    let part = match scheduler.step() {
        Step::Fetch { part, .. } => part,
        other => panic!("{other:?}"),
    };
    scheduler.offer(&part, &stale, false);
    assert_eq!(scheduler.step(), Step::Wait);
    scheduler.settled(1);
}

proptest! {
    #[test]
    fn no_limit_is_exceeded_no_task_starves_and_order_holds_within_a_part(
        total in 0usize..5, per_host in 0usize..3, per_group in 0usize..3,
        tasks in prop::collection::vec((0i32..3, 0u8..4, 0u8..3), 1..120),
        ends in prop::collection::vec(any::<prop::sample::Index>(), 300),
    ) {
        let mut scheduler = Scheduler::new(limits(total, per_host, per_group));
        let all: Vec<Ready> = tasks.iter().enumerate()
            .map(|(i, (priority, host, group))| task(i as i64, *priority, &format!("h{host}"), &format!("g{group}"))).collect();
        let mut queue = Queue(all.clone());
        queue.announce(&mut scheduler);
        let mut running: Vec<i64> = Vec::new();
        let mut done = HashSet::new();
        let mut last: BTreeMap<(String, String), (i32, u64, i64)> = BTreeMap::new();
        let mut ends = ends.into_iter();
        loop {
            for key in queue.start_all(&mut scheduler) {
                let ready = &all[key as usize];
                let before = last.insert((ready.host.clone(), ready.group.clone()), ready.position);
                prop_assert!(before.is_none_or(|before| before < ready.position));
                running.push(key);
            }
            prop_assert!(total == 0 || running.len() <= total);
            for ready in &all {
                let of_host = running.iter().filter(|key| all[**key as usize].host == ready.host).count();
                let of_group = running.iter().filter(|key| all[**key as usize].group == ready.group).count();
                prop_assert!(per_host == 0 || of_host <= per_host);
                prop_assert!(per_group == 0 || of_group <= per_group);
            }
            if running.is_empty() { break; }
            let index = ends.next().map_or(0, |index| index.index(running.len()));
            let key = running.remove(index);
            done.insert(key);
            scheduler.settled(key);
        }
        prop_assert_eq!(done.len(), all.len());
    }
}
