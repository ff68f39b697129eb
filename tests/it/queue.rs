//! Order and limits of the queue, and why a task waits.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::*;

/// So many resources of an origin that each take a moment, so that too many at once would be seen.
fn slow_ones(origin: &Origin, count: usize) -> Vec<String> {
    let answer = file(&[7; 1000]).pace(20_000);
    (0..count).map(|number| origin.serve(&format!("/{number}"), answer.clone()).url().to_owned()).collect()
}

#[test]
fn no_more_than_asked_run_at_once() {
    let (world, origin) = (World::new(), Origin::start());
    let urls = slow_ones(&origin, 9);

    world.haul_reading(&["get", "-", "-j", "3"], &urls.join("\n")).exits(0);

    assert_eq!(origin.busiest(), 3);
    assert_eq!(world.names().len(), 9);
}

#[test]
fn ten_run_at_once_unless_told_otherwise() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    for number in 0..12 {
        origin.serve(&format!("/{number}"), file(b"x").head_gate(&gate));
    }
    let urls: Vec<_> = (0..12).map(|number| origin.url(&format!("/{number}"))).collect();
    let mut words = vec!["--json", "get"];
    words.extend(urls.iter().map(String::as_str));
    let running = world.spawn(&words);
    gate.wait_for(10);
    running.wait_for_statuses("running", 10);

    let waiting: Vec<_> = world.list().into_iter().filter(|record| record["status"] == "enqueued").collect();

    assert_eq!(waiting.len(), 2, "{waiting:#?}");
    assert!(waiting.iter().all(|record| reason(record) == "total-limit"), "{waiting:#?}");
    gate.open();
    running.finish().exits(0);
    assert_eq!(origin.busiest(), 10);
}

#[test]
fn a_limit_per_host_leaves_other_hosts_alone() {
    let (world, one, two) = (World::new(), Origin::start(), Origin::start());
    let gate = Gate::new();
    let mut urls = slow_ones(&one, 4);
    urls.push(two.serve("/other", file(b"x").head_gate(&gate)).url().to_owned());
    let list = urls.join("\n");
    let running = world.spawn_reading(&["--json", "get", "-", "--max-per-host", "1"], &list);
    gate.wait_for(1); // although it is the last of the queue
    gate.open();

    running.finish().exits(0);

    assert_eq!((one.busiest(), two.busiest()), (1, 1));
}

#[test]
fn a_task_that_waits_for_its_host_says_so() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let first = origin.serve("/1", file(b"x").head_gate(&gate));
    let second = origin.serve("/2", file(b"x"));
    let running = world.spawn_get(&[first.url(), second.url(), "--max-per-host", "1"]);
    gate.wait_for(1);
    running.wait_for_status("running");

    let records = world.list();

    let waiting: Vec<_> = records.iter().filter(|record| record["status"] == "enqueued").collect();
    assert_eq!(waiting.len(), 1);
    assert_eq!(reason(waiting[0]), "host-limit");
    let shown = world.show(waiting[0]["taskId"].as_str().unwrap());
    assert!(shown["waiting"]["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{shown}");
    gate.open();
    running.finish().exits(0);
    assert_eq!(origin.log(), ["GET /1", "GET /2"]);
}

#[test]
fn a_group_has_its_own_limit() {
    let (world, slow, fast) = (World::new(), Origin::start(), Origin::start());
    world.config("[limits]\ntotal = 6\nper-group = 3\n[limits.groups]\nslow = 1\n");
    let mut tasks: Vec<Value> =
        slow_ones(&slow, 4).iter().map(|url| json!({"url": url, "group": "slow", "directory": "s"})).collect();
    tasks.extend(slow_ones(&fast, 8).iter().map(|url| json!({"url": url, "group": "fast", "directory": "f"})));

    world.add(&tasks);
    world.run().exits(0);

    assert_eq!((slow.busiest(), fast.busiest()), (1, 3));
}

#[test]
fn a_limit_per_group_can_be_given_on_the_command_line() {
    let (world, origin) = (World::new(), Origin::start());
    let urls = slow_ones(&origin, 5);

    world.haul_reading(&["get", "-", "--group", "g", "--max-per-group", "2"], &urls.join("\n")).exits(0);

    assert_eq!(origin.busiest(), 2);
}

#[test]
fn a_group_that_is_full_says_so_and_starves_nobody() {
    let (world, origin) = (World::new(), Origin::start());
    world.config("[limits.groups]\nslow = 1\n");
    let gate = Gate::new();
    let held = origin.serve("/held", file(b"x").head_gate(&gate));
    let blocked = origin.serve("/blocked", file(b"x"));
    let free = origin.serve("/free", file(b"x"));
    let ids = world.add(&[
        json!({"url": held.url(), "group": "slow"}),
        json!({"url": blocked.url(), "group": "slow"}),
        json!({"url": free.url(), "group": "other", "priority": 10}),
    ]);
    let running = world.spawn(&["--json", "run", "--until-idle"]);
    running.wait_for_update(|update| update["taskId"] == *ids[2] && update["status"] == "complete");

    let record = world.show(&ids[1]);

    assert_eq!(reason(&record), "group-limit");
    let detail = record["waiting"]["detail"].as_str().unwrap();
    assert!(detail.starts_with("1 task of group slow runs, which is its limit"), "{detail}");
    gate.open();
    running.finish().exits(0);
}

#[test]
fn priority_goes_before_age() {
    let (world, origin) = (World::new(), Origin::start());
    let tasks: Vec<_> = [5, 0, 10, 5, 3, 0]
        .iter()
        .enumerate()
        .map(|(number, priority)| {
            let film = origin.serve(&format!("/{number}"), file(b"x"));
            json!({"url": film.url(), "priority": priority})
        })
        .collect();

    world.add(&tasks);
    world.haul(&["run", "--until-idle", "-j", "1"]).exits(0);

    assert_eq!(origin.log(), ["GET /1", "GET /5", "GET /4", "GET /0", "GET /3", "GET /2"]);
}

#[test]
fn an_urgent_task_that_comes_later_goes_first() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let held = origin.serve("/held", file(b"x").head_gate(&gate));
    let later = origin.serve("/later", file(b"x"));
    let urgent = origin.serve("/urgent", file(b"x"));
    world.add(&[json!({"url": held.url()}), json!({"url": later.url()})]);
    let running = world.spawn(&["run", "--until-idle", "-j", "1"]);
    gate.wait_for(1);

    world.add(&[json!({"url": urgent.url(), "priority": 0})]);
    gate.open();

    running.finish().exits(0);
    assert_eq!(origin.log(), ["GET /held", "GET /urgent", "GET /later"]);
}

#[test]
fn nothing_starts_before_its_time() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let began = std::time::Instant::now();
    let running = world.spawn_get(&[film.url(), "--not-before", "+4s"]);
    let id = running.wait_for_status("enqueued");

    let record = world.show(&id);

    assert_eq!(reason(&record), "not-before");
    assert!(record["waiting"]["until"].as_str().unwrap().ends_with('Z'), "{record}");
    running.finish().exits(0);
    let came = film.requests()[0].at - began;
    assert!(came >= Duration::from_millis(3900), "came after {came:?}");
}

#[test]
fn what_is_resumed_or_tried_again_before_its_time_waits_for_it_still() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let early = json!({"url": film.url(), "notBefore": "2126-12-01T00:00:00Z"});
    let now = origin.serve("/now", file(b"now"));
    let ids = world.add(&[early.clone(), early, json!({"url": now.url()})]);
    let running = world.spawn(&["--json", "run"]);
    running.wait_for_update(|update| update["taskId"] == *ids[2] && update["status"] == "complete");
    world.haul(&["pause", &ids[0]]).exits(0);
    world.haul(&["cancel", &ids[1]]).exits(0);

    world.haul(&["resume", &ids[0]]).exits(0);
    world.haul(&["retry", &ids[1]]).exits(0);

    world.haul(&["get", now.url()]).exits(0); // what began before it would have asked by now
    for id in &ids[..2] {
        let record = world.show(id);
        assert_eq!((record["status"].as_str(), reason(&record)), (Some("enqueued"), "not-before"), "{record}");
    }
    assert_eq!(film.requests().len(), 0);
}

#[test]
fn a_task_for_another_century_does_not_hold_up_the_queue() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let ids = world.add(&[
        json!({"url": origin.url("/never"), "notBefore": "2126-12-01T00:00:00Z", "priority": 0}),
        json!({"url": film.url()}),
    ]);
    let running = world.spawn(&["--json", "run"]);

    running.wait_for_update(|update| update["taskId"] == *ids[1] && update["status"] == "complete");

    let record = world.show(&ids[0]);
    assert_eq!(reason(&record), "not-before");
    assert_eq!(record["waiting"]["until"], "2126-12-01T00:00:00.000Z");
}

#[test]
fn a_thousand_tasks_are_added_and_worked() {
    let (world, origin) = (World::new(), Origin::start());
    let tasks: Vec<_> = (0..1000)
        .map(|number| {
            let film = origin.serve(&format!("/{number}"), file(&bytes(number, 100)));
            json!({"url": film.url(), "directory": "d"})
        })
        .collect();

    let ids = world.add(&tasks);
    world.haul(&["run", "--until-idle"]).exits(0);

    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), 1000);
    assert_eq!(world::names_in(&world.path("in/d")).len(), 1000);
    assert_eq!(origin.requests().len(), 1000, "each exactly once");
    assert!(world.final_events().values().all(|finals| *finals == ["complete"]));
}

/// Why a task waits.
fn reason(record: &Value) -> &str {
    record["waiting"]["reason"].as_str().unwrap_or_default()
}

#[test]
fn a_running_task_shows_its_bytes_whether_it_sends_progress_or_not() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/f", file(&bytes(1, 1_000_000)).gate(600_000, &gate));
    world.add(&[json!({"url": film.url(), "taskId": "quiet", "updates": "status"})]);
    let running = world.spawn(&["--json", "run", "--until-idle"]);
    running.wait_for_status("running");

    let bytes = || world.show("quiet")["bytesDone"].as_u64().filter(|bytes| *bytes > 0);
    let seen = wait::wait_for(bytes, || "it shows no bytes".into());
    gate.open();
    let updates = running.finish().exits(0).json();

    assert_eq!(seen, 600_000);
    assert!(updates.iter().all(|update| update["type"] == "status"), "{updates:?}");
}

#[test]
fn a_task_that_is_added_paused_waits_to_be_resumed() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let task = json!({"url": film.url(), "taskId": "a"}).to_string();

    world.haul_reading(&["add", "-", "--paused"], &task).exits(0);
    world.run().exits(0);
    assert_eq!(world.list()[0]["status"], "paused");
    assert_eq!(film.log().len(), 0);

    world.haul(&["resume", "a"]).exits(0);
    world.run().exits(0);
    let statuses: Vec<_> = world.events().into_iter().map(|event| event["status"].clone()).collect();
    assert_eq!(statuses, ["enqueued", "paused", "enqueued", "running", "complete"]);
}

/// More than is added by one request, and something after it.
fn long_list(last: &str) -> String {
    let line = |number: usize| json!({"url": format!("http://127.0.0.1:9/{number}")}).to_string();
    let mut lines: Vec<String> = (0..2100).map(line).collect();
    lines.push(last.to_owned());
    lines.join("\n")
}

#[test]
fn a_long_list_with_one_wrong_line_adds_nothing() {
    let world = World::new();
    world.add(&[json!({"url": "http://127.0.0.1:9/f", "taskId": "there"})]);
    world.add(&[json!({"url": "http://127.0.0.1:9/f", "scope": "closed"})]);
    world.haul(&["cancel", "--scope", "closed"]).exits(0);
    world.haul(&["clean"]).exits(0);
    let refused = |list: &str, sentence: &str| {
        world.haul_reading(&["add", "-"], list).exits(2).says(sentence);
        assert_eq!(world.list().len(), 1, "{sentence}");
    };

    refused(&long_list(r#"{"url": "bogus"}"#), "stdin:2101: `url`");
    refused(&long_list("nonsense"), "stdin:2101");
    refused(&long_list(r#"{"url": "http://h/", "taskId": "there"}"#), "`there` exists already");
    refused(&long_list(r#"{"url": "http://h/", "scope": "closed"}"#), "closed");
    let twice = long_list(r#"{"url": "http://h/", "taskId": "one"}"#).replacen('{', r#"{"taskId": "one", "#, 1);
    refused(&twice, "`one` is that of another task");
    refused(&format!("[{}]", long_list(r#"{"url": "bogus"}"#).replace('\n', ",")), "task 2101: `url`");
    let list = world.write("list", long_list(r#"{"url": "bogus"}"#));
    world.haul(&["add", list.to_str().unwrap()]).exits(2).says("list:2101: `url`");
    assert_eq!(world.list().len(), 1);

    let whole = long_list(r#"{"url": "http://127.0.0.1:9/last"}"#);
    let outcome = world.haul_reading(&["add", "-"], &whole).exits(0);
    assert_eq!(outcome.stdout.lines().count(), 2101);
    let left = std::fs::read_dir(world.home()).unwrap().flatten();
    assert!(!left.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with("list-")));
}

#[test]
fn a_long_list_is_added_where_a_component_admits_each_task() {
    let world = steered::world();
    let list: Vec<String> = (0..3_001).map(|n| json!({"url": format!("http://127.0.0.1:9/{n}")}).to_string()).collect();

    let outcome = world.haul_reading(&["add", "-"], &list.join("\n")).exits(0);

    assert_eq!(outcome.stdout.lines().count(), list.len());
}

#[test]
fn get_begins_nothing_of_a_long_list_with_one_wrong_line() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let list = [film.url()].repeat(2100).join("\n") + "\nbogus";

    world.haul_reading(&["get", "-"], &list).exits(2).says("bogus");

    assert_eq!((film.requests().len(), world.list().len()), (0, 0));
}

#[test]
fn a_url_that_comes_twice_in_a_list_is_two_downloads_however_far_apart() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let film = origin.serve("/film", file(b"x").head_gate(&gate));
    let mut urls = vec!["http://127.0.0.1:9/f".to_owned(); 1300];
    (urls[0], urls[1250]) = (film.url().to_owned(), film.url().to_owned());

    let running = world.spawn_reading(&["get", "-", "-q", "--retries", "0"], &urls.join("\n"));
    gate.wait_for(2);
    gate.open();
    running.finish().exits(8);

    assert_eq!(world.names(), ["film", "film (1)"]);
}
