//! What no component can have more of than its task's owner gave: attempts, and a request whose answer was lost.

use rustix::process::Signal;
use serde_json::json;

use crate::support::components::component;
use crate::support::steered::{asked_of, work, world};
use crate::support::*;

#[test]
fn a_retry_that_never_gives_up_has_the_attempts_of_its_task_and_no_more() {
    let (world, origin) = (world(), Origin::start());
    let (fails, wrong) = (origin.serve("/e", status(500)), origin.serve("/w", file(b"film")));

    let none = json!({"url": fails.url(), "taskId": "none", "retries": 0});
    work(&world, none, &["retry always"]).exits(1);
    let two = work(&world, json!({"url": fails.url(), "taskId": "two", "retries": 2}), &["retry always"]).exits(1);
    let checked =
        json!({"url": wrong.url(), "taskId": "sum", "retries": 2, "checksum": format!("sha-256={}", sha256(b"a"))});
    work(&world, checked, &["retry always"]).exits(7);

    assert_eq!(world.show("none")["retriesRemaining"], 0);
    assert_eq!((fails.log().len(), asked_of(&two, "retry").len()), (1 + 3, 3));
    assert_eq!(world.show("two")["retriesRemaining"], 0);
    assert_eq!(wrong.log().len(), 2, "one fresh start, as for everybody");
}

#[test]
fn a_retry_that_never_waits_waits_a_tenth_of_a_second() {
    let (world, origin) = (world(), Origin::start());
    let fails = origin.serve("/e", status(500));

    let outcome = work(&world, json!({"url": fails.url(), "retries": 1}), &["retry always"]).exits(1);

    let updates = outcome.json();
    let waiting = updates.iter().find(|update| update["status"] == "waitingToRetry").unwrap();
    let ms = |moment: &str| waiting[moment].as_str().unwrap()[20..23].parse::<u32>().unwrap();
    assert_eq!((ms("until") + 1_000 - ms("at")) % 1_000, 100, "{waiting}");
}

#[test]
fn a_request_that_lost_its_answer_is_not_repeated_by_a_retry() {
    let (world, origin) = (world(), Origin::start());
    for (id, more, requests) in [("mine", json!({}), 1), ("theirs", json!({"repeatable": true}), 2)] {
        let lost = origin.script(&format!("/{id}"), vec![silence(), status(200)]);
        let mut task = json!({"taskType": "DataTask", "httpRequestMethod": "POST", "url": lost.url(), "taskId": id});
        task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        work(&world, task, &["retry always"]);
        assert_eq!(lost.log().len(), requests, "{}", world.show(id));
    }
    assert_eq!(world.show("mine")["exception"]["outcomeUnknown"], true);
}

#[test]
fn a_404_that_on_error_would_have_looked_for_again_stays_not_found_where_no_retries_are_left() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.serve("/f", status(404));

    work(&world, json!({"url": film.url(), "retries": 0}), &["on-error retry 0"]).exits(3);

    assert_eq!(world.show("t")["status"], "notFound");
}

#[test]
fn an_on_task_finished_has_its_own_time_and_is_not_asked_again_when_it_was_over() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.serve("/f", file(b"film"));
    let path = component("steered");
    world.config(&format!("[[callbacks]]\nname = \"steered\"\npath = {path:?}\nlimits = {{ wall-http = \"6s\" }}\n"));
    world.add(&[json!({"url": film.url(), "taskId": "t", "metaData": "on-task-finished sleep"})]);

    let running = world.spawn(&["--json", "run", "--until-idle"]);
    running.wait_for_word("asked on-task-finished");
    let meanwhile = world.show("t");
    let first = running.finish().exits(0);
    let second = world.run().exits(0);

    assert_eq!(meanwhile["status"], "complete");
    assert!(first.stderr.contains("failed in `on-task-finished`: it took longer than 6000 ms"), "{}", first.stderr);
    assert_eq!((asked_of(&first, "on-task-finished").len(), asked_of(&second, "on-task-finished").len()), (1, 0));
}

#[test]
fn parts_of_a_component_stay_as_they_are() {
    let (world, origin) = (world(), Origin::start());
    let content = bytes(3, 8 << 20);
    let film = origin.serve("/f", file(&content).etag("\"v1\""));
    let task = json!({"taskType": "ParallelDownloadTask", "url": film.url(), "chunks": 4});

    work(&world, task, &["parts divide 2"]).exits(0);

    assert_eq!(film.log().len(), 2, "the whole, which brings the first part, and the second: {:?}", film.log());
    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &content);
}

#[test]
fn a_made_up_response_is_as_long_as_it_says() {
    let (world, origin) = (world(), Origin::start());
    let words = |length: &str| format!("on-request resolve 200 cached content-length={length}");

    let short = work(&world, json!({"url": origin.url("/f"), "retries": 0}), &[&words("9")]).exits(10);
    work(&world, json!({"url": origin.url("/f"), "taskId": "u"}), &[&words("6")]).exits(0);
    for (id, wrong) in [("two", "6 content-length=7"), ("sign", "+6")] {
        work(&world, json!({"url": origin.url("/f"), "taskId": id, "retries": 0}), &[&words(wrong)]).exits(10);
    }

    let why = short.only_final()["exception"]["description"].as_str().unwrap().to_owned();
    assert!(why.ends_with("a response whose `content-length` is `9`, with a body of 6 bytes"), "{why}");
}

#[test]
fn who_does_not_want_to_wait_for_an_on_task_finished_is_told_what_was_cut() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.serve("/f", file(b"film"));
    world.add(&[json!({"url": film.url(), "taskId": "t", "metaData": "on-task-finished sleep"})]);

    let running = world.spawn(&["-v", "run", "--until-idle"]);
    running.wait_for_word("waits for components");
    running.signal(Signal::INT);
    let outcome = running.finish().exits(130);

    assert!(outcome.stderr.contains("had not heard of: 1 (`on-task-finished`)"), "{}", outcome.stderr);
}
