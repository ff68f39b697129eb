//! What components write for people shows no secret of their task: in records, events, logs and files' names.

use serde_json::{Value, json};

use crate::support::components::component;
use crate::support::steered::{asked_of, work, world};
use crate::support::*;

const SECRET: &str = "Bearer cAnArY-of-the-task";

/// Works a task with a secret that the component `steered` tells in one hook; answers all that is printed of it, and its record.
fn told(origin: &Origin, words: &str, of_task: Value) -> (String, Value) {
    let world = world();
    let url = origin.url("/f");
    let mut task =
        json!({"url": url, "taskId": "t", "retries": 0, "metaData": words, "headers": {"Authorization": SECRET}});
    task.as_object_mut().unwrap().extend(of_task.as_object().unwrap().clone());
    let added = world.haul_reading(&["add", "-"], &task.to_string());
    let mut printed = format!("{}{}", added.stdout, added.stderr);
    if added.code != 0 {
        return (printed, Value::Null);
    }
    for arguments in [&["-v", "--json", "run", "--until-idle"][..], &["show", "t"], &["--json", "events"], &["ls"]] {
        let outcome = world.haul(arguments);
        printed += &format!("{}{}", outcome.stdout, outcome.stderr);
    }
    let record = world.show("t");
    (format!("{printed}{record}"), record)
}

#[track_caller]
fn tells_no_secret(printed: &str) {
    let leaks: Vec<_> = printed.lines().filter(|line| line.contains("cAnArY")).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[test]
fn reasons_of_components_show_no_secret_of_the_task() {
    let origin = Origin::start();
    origin.serve("/f", file(b"film"));
    for hook in ["before-task-start", "on-request", "verify"] {
        let (printed, record) = told(&origin, &format!("{hook} reason"), json!({}));
        tells_no_secret(&printed);
        assert_eq!(record["status"], "failed", "{hook}: {record}");
        let why = record["exception"]["description"].as_str().unwrap();
        assert!(why.contains("***"), "masked, not left out: {why}");
    }
}

#[test]
fn the_signature_of_a_new_link_is_masked_when_a_component_tells_its_requests() {
    let (world, origin) = (world(), Origin::start());
    let link = origin.script("/f", vec![status(403)]);
    let fresh = origin.serve("/g", file(b"film"));

    let words = [&format!("on-error retry 0 {}?sig=cAnArY-of-the-link", fresh.url())];
    let outcome = work(&world, json!({"url": link.url()}), &words.map(String::as_str)).exits(0);

    let told = asked_of(&outcome, "on-request");
    assert!(told.iter().any(|request| request.contains("/g?sig=***")), "{told:?}");
    tells_no_secret(&outcome.stderr);
}

#[test]
fn an_admission_that_is_refused_shows_no_secret_of_the_task() {
    let origin = Origin::start();
    let (printed, _) = told(&origin, "admit reason", json!({}));
    tells_no_secret(&printed);
    assert!(printed.contains("is not wanted: ***"), "{printed}");
}

#[test]
fn what_a_component_adds_to_an_answer_shows_no_secret_of_the_task() {
    let origin = Origin::start();
    origin.serve("/f", file(b"film").header("X-Server", "says"));
    let (printed, record) = told(&origin, "on-response note", json!({}));
    tells_no_secret(&printed);
    assert_eq!(record["status"], "complete", "{record}");
    assert!(printed.contains("x-note"), "{printed}");
}

#[test]
fn the_reason_of_a_failed_error_and_of_a_refresh_shows_no_secret() {
    let origin = Origin::start();
    origin.serve("/f", status(500));
    let (printed, record) = told(&origin, "on-error reason", json!({}));
    tells_no_secret(&printed);
    assert!(record["exception"]["description"].as_str().unwrap().ends_with("`: rejected ***"), "{record}");

    let auth = json!({"accessToken": "cAnArY-token", "accessTokenExpiryTime": 1,
        "accessHeaders": {"X-Auth": "Bearer {accessToken}"}});
    let (printed, record) = told(&origin, "on-auth reason", json!({"options": {"auth": auth}}));
    tells_no_secret(&printed);
    assert!(record["exception"]["description"].as_str().unwrap().ends_with("no more of ***"), "{record}");
}

#[test]
fn a_file_is_not_named_after_a_secret_unless_the_server_says_so() {
    let origin = Origin::start();
    origin.serve("/f", file(b"film"));
    let (printed, record) = told(&origin, "filename secret", json!({"headers": {"Authorization": "cAnArY-name"}}));
    tells_no_secret(&printed);
    assert!(record["filePath"].as_str().unwrap().ends_with("/***"), "{record}");

    origin.serve("/f", file(b"film").header("Content-Disposition", "attachment; filename=\"cAnArY-name\""));
    let (_, record) = told(&origin, "", json!({"headers": {"Authorization": "cAnArY-name"}}));
    assert!(record["filePath"].as_str().unwrap().ends_with("/cAnArY-name"), "{record}");
}

#[test]
fn what_a_component_has_refused_or_made_up_names_it_and_the_hook() {
    let (world, origin) = (world(), Origin::start());
    origin.serve("/f", file(&bytes(1, 900_000)).pace(600_000));
    for (id, words, told) in [
        ("veto", "before-task-start cancel", "canceled: component `steered` in `before-task-start`: not today"),
        ("request", "on-request reject", "component `steered` in `on-request`: rejected request"),
        ("answer", "on-request resolve 503 no", "component `steered` in `on-request` answered 503 Service Unavailable"),
        ("missing", "on-request resolve 404 no", "component `steered` in `on-request` answered 404"),
        ("cancel", "on-progress cancel", "canceled: component `steered` in `on-progress`"),
        (
            "again",
            "on-response 200-retry 0",
            "component `steered` wants another attempt in `on-response`, but no retries",
        ),
    ] {
        let outcome = work(&world, json!({"url": origin.url("/f"), "taskId": id, "retries": 0}), &[words]);
        assert!(outcome.stderr.contains(told), "{words}: {}", outcome.stderr);
    }
}

#[test]
fn a_task_that_a_component_does_not_admit_is_told_by_whom() {
    let world = world();
    let refused = json!({"url": "http://x.invalid/f", "metaData": "admit reason"});
    let outcome = world.haul_reading(&["add", "-"], &refused.to_string()).exits(2);
    assert!(outcome.stderr.contains("(component `steered` in `admit`)"), "{}", outcome.stderr);
}

#[test]
fn a_component_for_an_engine_that_runs_elsewhere_is_told_how_it_gets_there() {
    let world = World::new();
    let path = component("steered");
    let running = world.spawn(&["--json", "run"]);
    let refused = loop {
        let outcome =
            world.haul(&["get", "http://x.invalid/f", "--callbacks", path.to_str().unwrap(), "--retries", "0"]);
        // Until the other one is the engine of the home.
        if outcome.code == 9 {
            break outcome;
        }
    };
    assert!(refused.stderr.contains("`haul callbacks attach FILE --group NAME`"), "{}", refused.stderr);
    drop(running);
}
