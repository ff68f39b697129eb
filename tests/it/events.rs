//! The durable event log: nothing is told twice under two numbers, nothing final is lost before it is acknowledged.

use serde_json::{Value, json};

use crate::support::process::is_final;
use crate::support::*;

/// A world with one complete, one missing and one failed task, all over.
fn three_ends() -> (World, Vec<String>) {
    let (world, origin) = (World::new(), Origin::start());
    let good = origin.serve("/good", file(b"x"));
    let bad = origin.serve("/bad", status(403));
    let ids = world.add(&[
        json!({"url": good.url()}),
        json!({"url": origin.url("/missing")}),
        json!({"url": bad.url(), "updates": "none"}),
    ]);
    world.run().exits(8);
    (world, ids)
}

fn seqs(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

#[test]
fn the_log_rises_and_has_one_end_for_each_task() {
    let (world, ids) = three_ends();

    let events = world.events();

    let seqs = seqs(&events);
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
    let finals = world.final_events();
    assert_eq!(finals.len(), 3, "whatever updates a task asked for");
    assert_eq!(finals[&ids[0]], ["complete"]);
    assert_eq!(finals[&ids[1]], ["notFound"]);
    assert_eq!(finals[&ids[2]], ["failed"]);
    for id in &ids {
        let of_task: Vec<_> = events.iter().filter(|event| event["taskId"] == **id).collect();
        assert!(is_final(of_task.last().unwrap()), "nothing comes after the end: {of_task:#?}");
    }
    for event in &events {
        let at = event["at"].as_str().unwrap();
        assert!(at.len() == 24 && at.ends_with('Z') && &at[19..20] == ".", "RFC 3339 with milliseconds: {at}");
    }
}

#[test]
fn events_after_a_number_are_those_after_it() {
    let (world, _) = three_ends();
    let all = seqs(&world.events());

    let after = world.haul(&["--json", "events", "--after", &all[3].to_string()]).exits(0).json();

    assert_eq!(seqs(&after), all[4..]);
}

#[test]
fn the_same_events_are_told_as_they_happen_and_afterwards() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));

    let told = world.get(&[film.url()]).exits(0).json();

    let told: Vec<_> = told.into_iter().filter(|update| update["type"] == "status").collect();
    assert_eq!(told, world.events());
}

#[test]
fn a_consumer_goes_on_where_it_acknowledged() {
    let (world, _) = three_ends();
    let all = seqs(&world.events());
    let read = || seqs(&world.haul(&["--json", "events", "--consumer", "c"]).exits(0).json());
    let ack = |seq: u64, code| {
        world.haul(&["ack", "--consumer", "c", &seq.to_string()]).exits(code);
    };

    assert_eq!(read(), all, "a new consumer starts at the beginning");
    assert_eq!(read(), all, "reading is not acknowledging");
    ack(all[2], 0);
    assert_eq!(read(), all[3..]);
    let after = |seq: u64| {
        seqs(&world.haul(&["--json", "events", "--consumer", "c", "--after", &seq.to_string()]).exits(0).json())
    };
    assert_eq!((after(all[0]), after(all[3])), (all[3..].to_vec(), all[4..].to_vec()), "the later of the two");
    ack(all[0], 0);
    assert_eq!(read(), all[3..], "backwards does nothing");
    ack(all.last().unwrap() + 1, 2);
    assert_eq!(read(), all[3..], "beyond the end is refused");
    let other = world.haul(&["--json", "events", "--consumer", "d"]).exits(0).json();
    assert_eq!(seqs(&other), all, "each has its own position");
}

#[test]
fn rm_forgets_a_task_but_not_what_a_consumer_has_yet_to_hear() {
    let (world, ids) = three_ends();
    world.haul(&["--json", "events", "--consumer", "c"]).exits(0);
    let all = seqs(&world.events());

    world.haul(&["rm", &ids[0]]).exits(0);

    world.haul(&["show", &ids[0]]).exits(2);
    assert_eq!(world.final_events()[&ids[0]], ["complete"]);
    world.haul(&["ack", "--consumer", "c", &all.last().unwrap().to_string()]).exits(0);
    world.haul(&["rm", &ids[1]]).exits(0);
    assert!(!world.final_events().contains_key(&ids[1]), "acknowledged by all: gone with the task");
    assert_eq!(world.list().len(), 1);
}

#[test]
fn a_consumer_is_listed_with_what_waits_for_it_and_keeps_nothing_once_it_is_forgotten() {
    let (world, ids) = three_ends();
    world.haul(&["events", "--consumer", "tpyo"]).exits(0);
    let all = seqs(&world.events());
    world.haul(&["ack", "--consumer", "done", &all.last().unwrap().to_string()]).exits(0);
    world.haul(&["rm", &ids[0]]).exits(0);

    let listed = world.haul(&["--json", "consumer", "ls"]).exits(0).json();
    let left = seqs(&world.events()).len();
    let oldest = &world.events()[0]["at"];
    assert_eq!(
        listed,
        [
            json!({"consumer": "done", "position": all.last(), "waiting": 0, "kept": 0, "oldest": null}),
            json!({"consumer": "tpyo", "position": 0, "waiting": left, "kept": 1, "oldest": oldest}),
        ]
    );
    let told = world.haul(&["doctor"]).stdout;
    assert!(told.contains("consumer tpyo") && told.contains(&format!("{left} wait since")), "{told}");

    world.haul(&["consumer", "forget", "tpyo"]).exits(0);

    assert!(!world.final_events().contains_key(&ids[0]), "it was there for the consumer alone");
    assert_eq!(world.haul(&["consumer", "ls"]).exits(0).stdout.lines().count(), 1);
    world.haul(&["consumer", "forget", "tpyo"]).exits(2).says("no consumer is called `tpyo`");
    world.haul(&["consumer", "forget", "haul.on-task-finished"]).exits(2).says("haul's own");
}

#[test]
fn numbers_are_never_used_twice() {
    let (world, ids) = three_ends();
    let last = *seqs(&world.events()).last().unwrap();
    for id in &ids {
        world.haul(&["rm", id]).exits(0);
    }
    let origin = Origin::start();
    let film = origin.serve("/f", file(b"x"));

    let told = world.get(&[film.url()]).exits(0).json();

    let first = told.iter().find_map(|update| update["seq"].as_u64()).unwrap();
    assert!(first > last, "{first} after {last}");
}

#[test]
fn rm_refuses_a_task_that_is_not_over() {
    let world = World::new();
    let ids = world.add(&[json!({"url": "http://127.0.0.1:9/f"})]);

    let outcome = world.haul(&["rm", &ids[0]]);

    assert_ne!(outcome.code, 0);
    assert_eq!(world.show(&ids[0])["status"], "enqueued");
}

#[test]
fn clean_forgets_old_final_tasks_only() {
    let (world, _) = three_ends();
    world.add(&[json!({"url": "http://127.0.0.1:9/f"})]);

    world.haul(&["clean", "--older-than", "1h"]).exits(0);
    assert_eq!(world.list().len(), 4);
    world.haul(&["clean", "--older-than", "0s"]).exits(0);

    assert_eq!(world.list().len(), 1);
    assert_eq!(std::fs::read(world.path("in/good")).unwrap(), b"x", "files are not touched");
}

#[test]
fn clean_forgets_what_ended_later_than_the_clock_says_now() {
    let (world, _) = three_ends();
    let database = rusqlite::Connection::open(world.home().join("haul.db")).unwrap();
    database.execute("UPDATE task SET ended_at = ended_at + 3600000", []).unwrap();

    world.haul(&["clean"]).exits(0).says("forgot 3 tasks");

    assert!(world.list().is_empty());
}

#[test]
fn follow_prints_the_past_and_then_what_happens() {
    let (world, origin) = (World::new(), Origin::start());
    let past = origin.serve("/past", file(b"x"));
    world.get(&[past.url()]).exits(0);
    let gate = Gate::new();
    let film = origin.serve("/f", file(b"x").head_gate(&gate));
    let running = world.spawn_get(&[film.url()]);
    gate.wait_for(1);

    let following = world.spawn(&["--json", "events", "--follow"]);

    assert!(following.wait_for_lines(5), "three of the past, two of the present");
    gate.open();
    running.finish().exits(0);
    let last = following.wait_for_update(|update| update["seq"] == 6);
    assert_eq!(last["status"], "complete");
    let outcome = following.kill();
    assert_eq!(seqs(&outcome.json()), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn follow_ends_with_its_reader() {
    let world = World::new();
    let mut command = world.command(&["events", "--follow"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();

    drop(child.stdout.take());

    wait::wait_until(|| child.try_wait().unwrap().is_some(), || "it goes on without a reader".into());
    assert!(child.wait().unwrap().success());
}
