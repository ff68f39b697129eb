//! Tasks with a `notAfter`: nothing is sent for them after it, and those that wait fail when it comes.

use std::time::Duration;

use haul::{Addition, Session, Settings, Task, Work};
use serde_json::{Value, json};

use crate::support::*;

/// The time of so many milliseconds from now, as tasks have it in JSON.
fn in_ms(ms: i64) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    json!(i64::try_from(now.as_millis()).unwrap() + ms)
}

#[track_caller]
fn assert_too_late(world: &World, id: &str) {
    let record = world.show(id);
    assert_eq!((&record["status"], &record["exception"]["type"]), (&json!("failed"), &json!("policy")), "{record}");
    assert!(record["exception"]["description"].as_str().unwrap().contains("its notAfter has come"), "{record}");
}

#[test]
fn a_task_that_cannot_start_fails_when_its_not_after_comes() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let (url, soon) = (film.url(), in_ms(1500));
    world.add(&[
        json!({"taskId": "offline", "url": url, "notAfter": soon}),
        json!({"taskId": "not-before", "url": url, "notBefore": in_ms(1300), "notAfter": soon}),
        json!({"taskId": "cellular", "url": url, "requiresWiFi": true, "notAfter": soon}),
    ]);

    world.haul(&["run", "--until-idle", "--network", "offline"]).exits(8);

    assert!(film.log().is_empty());
    for id in ["offline", "not-before", "cellular"] {
        assert_too_late(&world, id);
    }
    let soon = world.show("offline")["notAfter"].as_str().unwrap().to_owned();
    let ends: Vec<_> = world.events().into_iter().filter(|event| event["status"] == "failed").collect();
    assert!(ends.iter().all(|event| event["at"].as_str() >= Some(soon.as_str())), "not after {soon}: {ends:?}");
}

#[test]
fn what_waits_for_another_network_or_behind_others_fails_when_its_not_after_comes() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let film = origin.serve("/film", file(&[7; 300_000]).gate(100_000, &gate));
    let never = origin.serve("/never", file(b"x"));
    world.add(&[json!({"taskId": "film", "url": film.url()})]);
    let running = world.spawn(&["--json", "run", "--until-idle", "-j", "1", "--network", "metered"]);
    running.wait_for_status("running");
    world.add(&[
        json!({"taskId": "turn", "url": never.url(), "notAfter": in_ms(800)}),
        json!({"taskId": "wifi", "url": never.url(), "requiresWiFi": true, "priority": 0, "notAfter": in_ms(800)}),
    ]);

    for id in ["turn", "wifi"] {
        running.wait_for_update(|update| update["taskId"] == id && update["status"] == "failed");
        assert_too_late(&world, id);
    }

    gate.open();
    running.finish().exits(8);
    assert!(never.log().is_empty());
    assert_eq!(world.show("film")["status"], "complete");
}

#[test]
fn a_task_whose_not_after_passed_while_no_engine_ran_fails_when_the_next_begins() {
    let (world, origin) = (World::new(), Origin::start());
    let busy = origin.serve("/busy", status(503).header("Retry-After", "3"));
    world.add(&[json!({"taskId": "retry", "url": busy.url(), "retries": 3, "notAfter": in_ms(8000)})]);
    let running = world.spawn(&["--json", "run"]);
    running.wait_for_status("waitingToRetry");
    running.kill();
    world.add(&[
        json!({"taskId": "never", "url": busy.url(), "notAfter": in_ms(-1000)}),
        json!({"taskId": "paused", "url": busy.url(), "notAfter": in_ms(-1000)}),
    ]);
    world.haul(&["pause", "paused"]).exits(0);

    world.haul(&["run", "--until-idle", "--network", "offline"]).exits(8);

    assert_eq!(busy.log().len(), 1);
    for id in ["retry", "never"] {
        assert_too_late(&world, id);
        assert_eq!(world.final_events()[id], ["failed"]);
    }
    assert_eq!(world.show("paused")["status"], "paused");
}

#[test]
fn a_program_that_waits_for_its_own_tasks_only_is_told_in_time_as_well() {
    let (home, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let add = |at: &Value| {
        let task = Task { not_after: at.as_u64(), ..Task::download("http://127.0.0.1:9/f") };
        Addition::new(task, place.path())
    };
    let tasks = vec![add(&in_ms(-1000)), add(&in_ms(500))];
    let mut settings = Settings::new(home.path());
    settings.limits.network = haul::limits::Network::Offline;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let records = runtime.block_on(async {
        let session = Session::open(settings, Work::Asked).await.unwrap();
        let records = session.transmit(tasks, Duration::from_secs(60), |_| ()).await.unwrap();
        session.close().await;
        records
    });

    for record in &records {
        let why = &record.exception.as_ref().unwrap().description;
        assert!(why.contains("its notAfter has come"), "{why}");
    }
}

#[test]
fn many_tasks_fail_together_and_each_once() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let late = |n: usize| json!({"taskId": format!("t{n}"), "url": film.url(), "notAfter": in_ms(-1)});
    world.add(&(0..2_000).map(late).collect::<Vec<_>>());

    world.haul(&["run", "--until-idle", "--network", "offline"]).exits(8);

    let finals = world.final_events();
    assert_eq!(finals.len(), 2_000);
    assert!(finals.values().all(|statuses| statuses == &["failed"]));
}

#[test]
fn a_task_whose_not_after_has_passed_sends_nothing() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let order = |n: usize| match n % 2 {
        0 => json!({"taskId": format!("t{n}"), "url": film.url(), "notAfter": in_ms(-1000)}),
        _ => {
            json!({"taskId": format!("t{n}"), "taskType": "DataTask", "url": film.url(), "post": "buy", "notAfter": in_ms(-1000)})
        }
    };
    world.add(&(0..20).map(order).collect::<Vec<_>>());
    let mut expired = order(0);
    expired["taskId"] = json!("expired");
    expired["options"] = json!({"auth": {
        "accessToken": "old", "accessTokenExpiryTime": 1_000, "refreshToken": "r", "refreshUrl": origin.url("/token"),
    }});
    world.add(&[expired]);

    world.run().exits(8);

    assert_eq!(origin.log(), Vec::<String>::new());
    assert_too_late(&world, "t0");
}

#[test]
fn nothing_is_waited_for_that_comes_after_not_after() {
    let (world, origin) = (World::new(), Origin::start());
    let order = origin.serve("/order", status(503).header("Retry-After", "60"));
    let (url, not_after) = (order.url(), in_ms(30_000));
    world.add(&[
        json!({"taskId": "t", "taskType": "DataTask", "url": url, "post": "buy", "notAfter": not_after, "retries": 3}),
    ]);

    world.run().exits(1);

    assert_eq!(order.log().len(), 1);
    let record = world.show("t");
    let why = record["exception"]["description"].as_str().unwrap();
    assert!(why.contains("503") && why.contains("its notAfter comes before"), "{record}");
}

#[test]
fn a_post_that_a_time_limit_ends_after_it_was_sent_is_in_doubt_and_not_repeated() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new(); // never opened
    let silent = origin.serve("/order", file(b"x").head_gate(&gate));
    let order = json!({"taskType": "DataTask", "url": silent.url(), "post": "buy", "retries": 3});
    let (mut late, mut long) = (order.clone(), order);
    (late["taskId"], late["notAfter"]) = (json!("late"), in_ms(4000));
    (long["taskId"], long["timeouts"]) = (json!("long"), json!({"total": 500}));
    world.add(&[late, long]);

    world.run().exits(8);

    assert_eq!(silent.log().len(), 2);
    for id in ["late", "long"] {
        let record = world.show(id);
        assert_eq!((&record["status"], &record["notes"]), (&json!("failed"), &json!(["outcome-unknown"])), "{record}");
    }
}
