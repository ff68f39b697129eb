//! Requests that are sent once: what may have taken effect is not repeated by itself, whatever type the task has and whatever
//! ended it; and where answers go, and what is left of those that cannot be stored.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::process::in_a_namespace;
use crate::support::*;

/// A world with a file `f` that tasks can send.
fn world_with_file() -> World {
    let world = World::new();
    std::fs::create_dir_all(world.path("in")).unwrap();
    std::fs::write(world.path("in/f"), "A file.").unwrap();
    world
}

fn notes(record: &Value) -> Vec<&str> {
    record["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect()
}

/// How the last run of a task has ended, by its final event.
fn last_of(world: &World, id: &str) -> Value {
    world.events().into_iter().rfind(|event| event["taskId"] == id).unwrap()
}

#[test]
fn a_post_whose_answer_does_not_fit_on_the_disk_is_over_after_one_request() {
    let (world, origin) = (world_with_file(), Origin::start());
    let (small, long) = (world.path("in/small"), bytes(1, 3 << 20));
    std::fs::create_dir_all(&small).unwrap();
    let (told, chunked) = (status(200).body(&long), status(200).body(&long).chunked());
    let tasks = [
        (told.clone(), json!({"taskType": "DataTask", "post": "pay", "responseFile": "small/a"})),
        (chunked.clone(), json!({"taskType": "DataTask", "post": "pay", "responseFile": "small/b"})),
        (told.clone(), json!({"taskType": "UploadTask", "filename": "f", "responseFile": "small/c"})),
        (told, json!({"post": "pay", "directory": "small", "filename": "d"})),
    ];
    let mut sinks = Vec::new();
    for (number, (answer, mut task)) in tasks.into_iter().enumerate() {
        let sink = origin.serve(&format!("/{number}"), answer);
        (task["url"], task["taskId"]) = (json!(sink.url()), json!(format!("t{number}")));
        world.add(&[task]);
        sinks.push(sink);
    }
    let script = format!("mount -t tmpfs -o size=1m tmpfs '{}' && exec \"$@\"", small.display());
    let Some(through) = in_a_namespace(&script) else { return };

    world.haul_through(&through, &["--json", "run", "--until-idle"]);

    for (number, sink) in sinks.iter().enumerate() {
        let id = format!("t{number}");
        let (record, last) = (world.show(&id), last_of(&world, &id));
        assert_eq!(
            (sink.log().len(), &record["status"], notes(&record).contains(&"outcome-unknown")),
            (1, &json!("failed"), false),
            "{record}"
        );
        assert_eq!((&last["exception"]["type"], &last["responseStatusCode"]), (&json!("fileSystem"), &json!(200)));
        assert!(last["responseBody"].as_str().is_some_and(|body| body.chars().count() > 10_000), "{number}");
    }
}

#[test]
fn a_download_by_post_is_not_sent_again_after_a_kill_or_an_interrupt() {
    let (world, origin) = (World::new(), Origin::start());
    let cases = [
        ("body", json!({"post": "pay"}), 1, "failed"),
        ("empty", json!({"httpRequestMethod": "POST"}), 1, "failed"),
        ("patch", json!({"httpRequestMethod": "PATCH", "post": "pay"}), 1, "failed"),
        ("repeatable", json!({"post": "pay", "repeatable": true}), 2, "complete"),
        ("key", json!({"post": "pay", "headers": {"Idempotency-Key": "7"}}), 2, "complete"),
    ];
    for ends_politely in [false, true] {
        for (name, more, requests, ended) in &cases {
            let gate = Gate::new();
            let answers = vec![file(&bytes(1, 1000)).head_gate(&gate), file(&bytes(1, 1000))];
            let order = origin.script(&format!("/{name}-{ends_politely}"), answers);
            let mut task = more.clone();
            task["url"] = json!(order.url());
            let id = world.add(&[task]).remove(0);
            let running = world.spawn(&["--json", "run"]);
            gate.wait_for(1);
            if ends_politely {
                running.signal(Signal::INT);
                running.finish();
            } else {
                running.kill();
            }
            gate.open();

            world.run();

            let record = world.show(&id);
            let told =
                (order.log().len(), record["status"].as_str().unwrap(), notes(&record).contains(&"outcome-unknown"));
            assert_eq!(told, (*requests, *ended, *ended == "failed"), "{name}: {record}");
            if *ended == "failed" {
                world.haul(&["retry", &id]).exits(0);
                world.run().exits(0);
                assert_eq!(order.log().len(), 2, "asked for, it is sent again");
            }
        }
    }
}

#[test]
fn a_download_by_post_whose_body_breaks_off_is_repeated_only_where_that_does_no_harm() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(2, 100_000);
    for (repeatable, requests, ended) in [(false, 1, "failed"), (true, 2, "complete")] {
        let order = origin.script(&format!("/{repeatable}"), vec![file(&content).cut(50_000), file(&content)]);
        let task = json!({"url": order.url(), "post": "pay", "retries": 1, "repeatable": repeatable});
        let id = world.add(&[task]).remove(0);

        world.run();

        let record = world.show(&id);
        assert_eq!((order.log().len(), &record["status"]), (requests, &json!(ended)), "{record}");
        let last = last_of(&world, &id);
        assert_eq!((&last["responseStatusCode"], notes(&record).contains(&"outcome-unknown")), (&json!(200), false));
    }
}

#[test]
fn another_place_is_sent_a_post_only_where_the_first_has_not_done_it() {
    let (world, origin) = (World::new(), Origin::start());
    for (name, first, requests) in [("lost", silence(), 0), ("broken", status(500), 0), ("refused", status(403), 1)] {
        let mirror = origin.serve(&format!("/{name}-mirror"), file(b"x"));
        let order = origin.serve(&format!("/{name}"), first);
        world.add(&[json!({"url": order.url(), "post": "pay", "mirrors": [mirror.url()], "retries": 0})]);

        world.run();

        assert_eq!((order.log().len(), mirror.log().len()), (1, requests), "{name}");
    }
}

#[test]
fn a_post_cancelled_after_it_was_sent_whole_is_in_doubt() {
    let (world, origin) = (World::new(), Origin::start());
    for (method, doubt) in [("POST", true), ("PUT", false)] {
        let gate = Gate::new();
        let order = origin.serve(&format!("/{method}"), status(200).head_gate(&gate));
        let task = json!({"taskType": "DataTask", "url": order.url(), "post": "pay", "httpRequestMethod": method});
        let id = world.add(&[task]).remove(0);
        let running = world.spawn(&["--json", "run", "--until-idle"]);
        gate.wait_for(1);

        world.haul(&["cancel", &id]).exits(0);

        running.finish();
        let record = world.show(&id);
        assert_eq!((&record["status"], notes(&record).contains(&"outcome-unknown")), (&json!("canceled"), doubt));
        world.haul(&["retry", &id]).exits(0);
        let running = world.spawn(&["--json", "run"]);
        gate.wait_for(2);
        running.kill();
        world.haul(&["cancel", &id]).exits(0);
        assert_eq!(notes(&world.show(&id)).contains(&"outcome-unknown"), doubt, "cancelled when nothing ran");
    }
}

#[test]
fn where_an_answer_cannot_go_nothing_is_sent() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/up", status(200));
    world.write("f", "precious");
    world.write("old", "old");
    std::fs::create_dir(world.work().join("dir")).unwrap();
    std::os::unix::fs::symlink("old", world.work().join("link")).unwrap();
    std::fs::hard_link(world.work().join("f"), world.work().join("same")).unwrap();

    for place in ["dir", "link", "old/below"] {
        world.haul(&["put", "f", sink.url(), "-o", place]).exits(6);
        world.haul(&["request", sink.url(), "--data", "x", "-o", place]).exits(6);
    }
    world.haul(&["put", "f", sink.url(), "-o", "f"]).exits(2).says("a file that is sent");
    world.haul(&["put", "--binary", "f", sink.url(), "-o", "./f"]).exits(2).says("a file that is sent");
    world.haul(&["put", "f", sink.url(), "-o", "same"]).exits(6).says("a file that is sent");

    assert_eq!((sink.log().len(), world.read("f")), (0, b"precious".to_vec()));
    assert_eq!(world.read("old"), b"old");
}

#[test]
fn a_response_file_whose_name_is_taken_does_as_the_task_says() {
    let (world, origin) = (world_with_file(), Origin::start());
    let sink = origin.serve("/order", status(200).body(b"new"));
    let read = |name: &str| std::fs::read_to_string(world.path("in").join(name)).ok();
    let task = |on_conflict: &str| json!({"taskType": "DataTask", "url": sink.url(), "post": "x", "responseFile": "a.txt", "onConflict": on_conflict});
    let work = |on_conflict: &str| {
        std::fs::write(world.path("in/a.txt"), "old").unwrap();
        let id = world.add(&[task(on_conflict)]).remove(0);
        world.run();
        (world.show(&id)["status"].as_str().unwrap().to_owned(), read("a.txt").unwrap())
    };

    assert_eq!(work("fail"), ("failed".into(), "old".into()));
    assert_eq!(sink.log().len(), 0);
    assert_eq!((work("unique"), read("a (1).txt")), (("complete".into(), "old".into()), Some("new".into())));
    assert_eq!(work("replace"), ("complete".into(), "new".into()));
    world.haul_reading(&["add", "-"], &task("skip").to_string()).exits(2).says("`onConflict`");
}

#[test]
fn what_came_of_an_answer_for_a_file_is_kept_where_it_breaks_off() {
    let (world, origin) = (World::new(), Origin::start());
    world.write("f", "x");
    let sink = origin.serve("/up", status(200).body(&[b'a'; 300_000]).cut(200_000));

    for line in [["put", "f", sink.url()].as_slice(), &["request", sink.url(), "--data", "x"]] {
        let before = sink.log().len();
        let last = world.haul(&[&["--json"], line, &["-o", "answer", "--retries", "3"]].concat()).exits(5).only_final();
        let kept = last["responseBody"].as_str().map(str::len);
        assert_eq!((&last["responseStatusCode"], kept), (&json!(200), Some(65_536)), "{last}");
        assert!(!notes(&last).contains(&"outcome-unknown"), "{last}");
        assert_eq!((sink.log().len(), world.names()), (before + 1, vec!["f".to_owned()]));
    }
}
