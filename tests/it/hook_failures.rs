//! What follows when a hook fails: its documented fail mode, and never a delay for another task.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::steered::{add, asked_of, world};
use crate::support::*;

/// Works a task whose component fails in one hook (`panic`, `loop`), beside one where it does not; answers the record of the
/// first and what was printed. The other is never harmed.
#[track_caller]
fn failing(hook: &str, how: &str, origin: &Origin, task: Value) -> (Value, Outcome) {
    let world = world();
    let good = origin.serve("/good", file(&bytes(1, 300_000)).pace(600_000));
    let mut task = task;
    task["retries"] = json!(0);
    add(&world, task, &[&format!("{hook} {how}")]);
    add(&world, json!({"url": good.url(), "taskId": "good"}), &[]);
    let began = Instant::now();
    let outcome = world.run();
    assert!(began.elapsed() < Duration::from_secs(12), "{hook} {how}: {:?}", began.elapsed());
    assert_eq!(world.show("good")["status"], "complete", "{hook} {how}: {}", outcome.stderr);
    assert_same_bytes(&std::fs::read(world.path("in/good")).unwrap(), &bytes(1, 300_000));
    (world.show("t"), outcome)
}

/// A download that is redirected, and another that fails, so that each hook is asked.
fn origin() -> Origin {
    let origin = Origin::start();
    origin.serve("/f", redirect(302, "/g"));
    origin.serve("/g", file(b"film"));
    origin.serve("/e", status(500));
    origin
}

#[track_caller]
fn fails_closed(hook: &str, how: &str) {
    let origin = origin();
    let (record, outcome) = failing(hook, how, &origin, json!({"url": origin.url("/f")}));
    assert_eq!((&record["status"], &record["exception"]["type"]), (&json!("failed"), &json!("callback")), "{record}");
    assert!(record["exception"]["description"].as_str().unwrap().contains(&format!("`{hook}`")), "{record}");
    assert!(!asked_of(&outcome, hook).is_empty());
}

#[test]
fn a_broken_veto_sends_nothing() {
    let origin = origin();
    let (record, _) = failing("before-task-start", "panic", &origin, json!({"url": origin.url("/f")}));
    assert_eq!(record["exception"]["type"], "callback", "{record}");
    assert_eq!(origin.log().iter().filter(|line| !line.contains("/good")).count(), 0);
}

/// Does it for each of them at the same time: they wait for limits, each in a world of its own.
fn at_once(all: &[&str], check: impl Fn(&str) + Sync) {
    std::thread::scope(|scope| {
        for each in all {
            scope.spawn(|| check(each));
        }
    });
}

#[test]
fn hooks_on_the_way_of_a_request_fail_the_attempt() {
    let hooks = ["on-task-start", "on-request", "on-redirect", "on-response", "classify", "filename", "verify"];
    at_once(&hooks, |hook| fails_closed(hook, "panic"));
}

#[test]
fn hooks_on_the_way_of_a_request_that_never_end_fail_the_attempt() {
    for hook in ["on-request", "on-redirect", "on-response", "verify"] {
        fails_closed(hook, "loop");
    }
}

#[test]
fn a_broken_on_error_has_said_nothing() {
    for how in ["panic", "loop"] {
        let origin = origin();
        let (record, outcome) = failing("on-error", how, &origin, json!({"url": origin.url("/e")}));
        assert_eq!(record["exception"]["httpResponseCode"], 500, "{record}");
        assert_eq!(asked_of(&outcome, "retry").len(), 1, "`retry` decides");
        assert!(outcome.stderr.contains("failed in `on-error`"), "it is told: {}", outcome.stderr);
    }
}

#[test]
fn a_broken_retry_gives_up() {
    let origin = origin();
    let (record, _) = failing("retry", "panic", &origin, json!({"url": origin.url("/e")}));
    assert_eq!((&record["status"], &record["exception"]["type"]), (&json!("failed"), &json!("callback")), "{record}");
}

#[test]
fn a_broken_on_progress_delays_not_even_its_own_task() {
    at_once(&["panic", "loop", "sleep"], |how| {
        let origin = Origin::start();
        let content = bytes(2, 1_000_000);
        let film = origin.serve("/f", file(&content).pace(600_000));
        let (record, outcome) = failing("on-progress", how, &origin, json!({"url": film.url()}));
        assert_eq!(record["status"], "complete", "{how}: {record}");
        assert!(!asked_of(&outcome, "on-progress").is_empty(), "{how}: {}", outcome.stderr);
    });
}

#[test]
fn a_broken_on_task_finished_harms_nobody() {
    let origin = origin();
    let (record, _) = failing("on-task-finished", "panic", &origin, json!({"url": origin.url("/f")}));
    assert_eq!(record["status"], "complete", "{record}");
}

#[test]
fn an_answer_that_cannot_be_used_is_told_with_who_gave_it_where_and_what_may_be_answered_there() {
    let (world, origin) = (world(), Origin::start());
    origin.serve("/f", file(b"film"));
    origin.serve("/cut", file(&bytes(1, 400_000)).etag("\"v1\"").cut(300_000));
    origin.script(
        "/ignores",
        vec![file(&bytes(1, 400_000)).etag("\"v1\"").cut(300_000), file(b"whole").without_ranges()],
    );
    let auth = json!({"accessToken": "a", "accessHeaders": {"X-Auth": "{accessToken}"}});
    for (id, hook, answers, task, told) in [
        (
            "a",
            "authorize",
            format!("send {}", origin.url("/f")),
            json!({"url": origin.url("/f"), "options": {"auth": auth}}),
            "`send` in the situation `before-request`, where it may be `ready` or `refresh-first`",
        ),
        (
            "b",
            "classify",
            "200 again".into(),
            json!({"url": origin.url("/f"), "taskType": "DataTask"}),
            "`ask-from-zero`, which is for downloads: here it may be `success`, `not-found` or `failed`",
        ),
        (
            "c",
            "classify",
            "200 again".into(),
            json!({"url": origin.url("/f")}),
            "`ask-from-zero` after 2 fresh starts, the most in one attempt: `failed` ends it",
        ),
        (
            "d",
            "classify",
            "200 success".into(),
            json!({"url": origin.url("/ignores")}),
            "`success` about a request for the rest: `use-from-zero` takes a response as the whole",
        ),
        (
            "e",
            "resume",
            "nothing".into(),
            json!({"url": origin.url("/cut")}),
            "`nothing-missing`, but nothing says that the stored bytes are all",
        ),
        (
            "f",
            "on-task-start",
            "url ftp://elsewhere/f".into(),
            json!({"url": origin.url("/f")}),
            "the URL `ftp://elsewhere/f`: it must be an absolute one of http or https",
        ),
    ] {
        let mut task = task;
        (task["taskId"], task["retries"]) = (json!(id), json!(1));
        add(&world, task, &[&format!("{hook} {answers}"), "retry now"]);
        world.run().exits(10);

        let record = world.show(id);
        let why = record["exception"]["description"].as_str().unwrap();
        assert_eq!(why, format!("component `steered` gave an unusable answer in `{hook}`: {told}"));
    }
}

#[test]
fn what_a_component_takes_for_not_found_says_who_has_taken_it_so() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.serve("/f", file(b"film"));

    for (id, kind) in [("a", "DownloadTask"), ("b", "DataTask")] {
        add(&world, json!({"url": film.url(), "taskId": id, "taskType": kind}), &["classify 200 missing"]);
        world.run();

        let record = world.show(id);
        let told = record["exception"]["description"].as_str().unwrap_or_default();
        assert_eq!(record["status"], "notFound", "{record}");
        assert_eq!(
            told,
            "component `steered` in `classify`: what was asked for is not there (though the server answered 200)"
        );
    }
}

#[test]
fn tasks_that_wait_for_a_stuck_component_leave_their_slots_to_others() {
    let world = World::new();
    let origin = Origin::start();
    let steered = crate::support::components::component("steered");
    let stuck = |id: &str| {
        json!({"url": origin.url("/stuck"), "taskId": id, "callbacks": [steered], "priority": 0,
               "metaData": "on-task-start sleep"})
    };
    let film = origin.serve("/film", file(b"film"));
    let plain = |id: &str| json!({"url": film.url(), "taskId": id});
    world.add(&[stuck("a"), stuck("b"), stuck("c"), plain("d"), plain("e")]);

    let running = world.spawn(&["--json", "run", "-j", "2"]);
    running.wait_for_statuses("complete", 2);

    let status = |id: &str| world.show(id)["status"].as_str().unwrap().to_owned();
    assert_eq!((status("d"), status("e")), ("complete".to_owned(), "complete".to_owned()));
    assert!(["a", "b", "c"].iter().all(|id| matches!(&*status(id), "enqueued" | "running")));
    running.kill();
    assert_eq!(origin.busiest(), 1, "a slot is lent, not added");
}

#[test]
fn a_task_that_lent_its_slot_waits_for_another_one() {
    let (world, gate) = (World::new(), Gate::new());
    let origin = Origin::start();
    let steered = crate::support::components::component("steered");
    let slow = origin.serve("/slow", file(b"slow"));
    let film = origin.serve("/film", file(b"film").head_gate(&gate));
    let patient = json!({"url": slow.url(), "taskId": "a", "callbacks": [steered], "priority": 0,
                         "metaData": "on-task-start pause-2"});
    world.add(&[patient, json!({"url": film.url(), "taskId": "b"})]);

    let running = world.spawn(&["--json", "run", "-j", "1", "--until-idle"]);
    gate.wait_for(1); // the other one has the slot meanwhile
    running.wait_for_word("asked on-task-start after");
    assert_eq!(slow.log(), [] as [&str; 0], "it would be one too many");
    gate.open();
    running.finish().exits(0);

    assert_eq!((slow.log().len(), origin.busiest()), (1, 1));
}
