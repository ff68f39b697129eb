//! When each hook is asked, counted: per task, attempt, hop and part, as the table of docs/callbacks.md has it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::steered::{asked_of, counts, work, world};
use crate::support::*;

/// How often each hook is asked about a download that meets nothing.
const DOWNLOAD: [(&str, usize); 8] = [
    ("before-task-start", 1),
    ("on-task-start", 1),
    ("on-request", 1),
    ("on-response", 1),
    ("classify", 1),
    ("filename", 1),
    ("verify", 1),
    ("on-task-finished", 1),
];

/// How often each hook was asked: as about a plain download, but for these. Others are not asked; `resume` is not counted: it is
/// asked for everybody who looks at a task that waits, too, as `run` does to say what it retries.
#[track_caller]
fn asks(outcome: &Outcome, but: &[(&str, usize)]) {
    let mut expected: BTreeMap<String, usize> = DOWNLOAD.iter().map(|(hook, count)| ((*hook).into(), *count)).collect();
    expected.extend(but.iter().map(|(hook, count)| ((*hook).to_owned(), *count)));
    expected.retain(|_, count| *count > 0);
    let mut counts = counts(outcome);
    counts.remove("resume");
    if !expected.contains_key("on-progress") {
        counts.remove("on-progress"); // asked by the clock: a slow machine brings it about
    }
    assert_eq!(counts, expected, "{}", outcome.stderr);
}

fn complete(world: &World) -> Value {
    let record = world.show("t");
    assert_eq!(record["status"], "complete", "{record}");
    record
}

#[test]
fn a_plain_download_asks_each_hook_once() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.serve("/f", file(b"film"));

    let outcome = work(&world, json!({"url": film.url()}), &[]).exits(0);

    complete(&world);
    asks(&outcome, &[]);
    let digest = format!("4 bytes sha-256={} first 4", sha256(b"film"));
    assert_eq!(asked_of(&outcome, "verify"), [digest]);
}

#[test]
fn each_hop_of_a_redirect_is_a_request() {
    let (world, origin) = (world(), Origin::start());
    let first = origin.serve("/1", redirect(302, "/2"));
    origin.serve("/2", redirect(307, "/3"));
    origin.serve("/3", file(b"film"));

    let outcome = work(&world, json!({"url": first.url()}), &[]).exits(0);

    complete(&world);
    asks(&outcome, &[("on-request", 3), ("on-redirect", 2)]);
    let hop = |number: u32, status: u16| {
        format!(
            "{number} {status} {} -> {}",
            origin.url(&format!("/{number}")),
            origin.url(&format!("/{}", number + 1))
        )
    };
    assert_eq!(asked_of(&outcome, "on-redirect"), [hop(1, 302), hop(2, 307)]);
}

#[test]
fn another_attempt_begins_with_the_first_hooks_and_is_named_once() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.script("/f", vec![status(503).header("Retry-After", "0"), file(b"film")]);

    let outcome = work(&world, json!({"url": film.url()}), &[]).exits(0);

    complete(&world);
    asks(
        &outcome,
        &[
            ("before-task-start", 2),
            ("on-task-start", 2),
            ("on-request", 2),
            ("on-response", 2),
            ("classify", 2),
            ("on-error", 1),
            ("retry", 1),
        ],
    );
    assert_eq!(asked_of(&outcome, "on-response"), ["503 13 bytes", "200 0 bytes"], "an error's body is looked at");
}

#[test]
fn an_attempt_that_goes_on_is_asked_about_like_any_other() {
    let (world, origin) = (world(), Origin::start());
    let content = bytes(1, 600_000);
    let whole = file(&content).etag("\"v1\"");
    let film = origin.script("/f", vec![whole.clone().cut(400_000), whole]);

    let outcome = work(&world, json!({"url": film.url()}), &["retry now"]).exits(0);

    complete(&world);
    asks(
        &outcome,
        &[
            ("before-task-start", 2),
            ("on-task-start", 2),
            ("on-request", 2),
            ("on-response", 2),
            ("classify", 2),
            ("on-error", 1),
            ("retry", 1),
        ],
    );
    assert!(asked_of(&outcome, "resume").contains(&"400000".to_owned()));
    assert!(asked_of(&outcome, "on-request")[1].ends_with(" bytes=400000-"), "{:?}", asked_of(&outcome, "on-request"));
    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &content);
}

#[test]
fn each_part_is_a_request_and_the_first_answer_decides() {
    let (world, origin) = (world(), Origin::start());
    let content = bytes(2, 300_000);
    let film = origin.serve("/f", redirect(302, "/g"));
    let gate = Gate::new();
    origin.serve("/g", file(&content).etag("\"v1\"").gate(50_000, &gate));

    let task = json!({"url": film.url(), "chunks": 3});
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            gate.wait_for(3); // no part is over before each has begun
            gate.open();
        });
        work(&world, task, &["parts divide 3"]).exits(0)
    });

    complete(&world);
    asks(
        &outcome,
        &[
            ("on-request", 6),  // two hops of each part
            ("on-redirect", 1), // the parts share it
            ("classify", 3),
            ("parts", 1),
        ],
    );
    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &content);
}

#[test]
fn a_part_that_fails_is_an_error_and_no_failed_attempt() {
    let (world, origin) = (world(), Origin::start());
    let content = bytes(3, 300_000);
    let whole = file(&content).etag("\"v1\"").pace(400_000);
    let film = origin.script("/f", vec![whole.clone(), status(500), whole]);

    let task = json!({"url": film.url(), "chunks": 2});
    let outcome = work(&world, task, &["parts divide 2"]).exits(0);

    complete(&world);
    assert_eq!(asked_of(&outcome, "on-error"), ["FailureKind::HttpResponse 500 attempt 1 part 150000-299999"]);
    assert_eq!(asked_of(&outcome, "retry").len(), 0, "the attempt has not failed");
    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &content);
}

#[test]
fn an_upload_has_no_name_and_no_file_to_verify() {
    let (world, origin) = (world(), Origin::start());
    let up = origin.serve("/up", status(201));
    std::fs::create_dir_all(world.path("in")).unwrap();
    std::fs::write(world.path("in/mine.txt"), b"mine").unwrap();

    let task = json!({"taskType": "UploadTask", "url": up.url(), "filename": "mine.txt"});
    let outcome = work(&world, task, &[]).exits(0);

    complete(&world);
    asks(&outcome, &[("filename", 0), ("verify", 0)]);
}

#[test]
fn a_request_that_is_answered_at_once_is_admitted_and_never_told_to_be_over() {
    let (world, origin) = (world(), Origin::start());
    let page = origin.serve("/p", status(200));

    let outcome = world.haul(&["request", "--now", page.url()]).exits(0);

    asks(&outcome, &[("admit", 1), ("filename", 0), ("verify", 0), ("on-task-finished", 0)]);
}

#[test]
fn a_401_asks_for_credentials_once_and_sends_once_more() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.script("/f", vec![status(401), file(b"film")]);

    let auth = json!({"accessToken": "old", "accessHeaders": {"Authorization": "Bearer {accessToken}"}});
    let task = json!({"url": film.url(), "options": {"auth": auth}});
    let outcome = work(&world, task, &["on-auth token new"]).exits(0);

    complete(&world);
    asks(&outcome, &[("authorize", 2), ("on-auth", 1), ("on-request", 2), ("on-response", 2), ("classify", 2)]);
    assert_eq!(film.requests()[1].header("authorization"), Some("Bearer new"));
}

#[test]
fn a_404_is_a_failed_attempt_that_is_not_tried_again() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.serve("/f", status(404));

    let outcome = work(&world, json!({"url": film.url()}), &[]).exits(3);

    assert_eq!(world.show("t")["status"], "notFound");
    asks(&outcome, &[("on-error", 1), ("filename", 0), ("verify", 0)]);
}

#[test]
fn a_mirror_is_another_request_of_the_same_attempt() {
    let (world, origin) = (world(), Origin::start());
    let (broken, film) = (origin.serve("/a", status(500)), origin.serve("/b", file(b"film")));

    let outcome = work(&world, json!({"url": broken.url(), "mirrors": [film.url()]}), &[]).exits(0);

    complete(&world);
    asks(&outcome, &[("on-request", 2), ("on-response", 2), ("classify", 2)]);
}

#[test]
fn a_part_that_is_answered_429_while_others_go_on_has_not_failed() {
    let (world, origin) = (world(), Origin::start());
    let content = bytes(3, 300_000);
    let whole = file(&content).etag("\"v1\"").pace(400_000);
    let film = origin.script("/f", vec![whole.clone(), status(429), whole]);

    let task = json!({"url": film.url(), "chunks": 2});
    let outcome = work(&world, task, &["parts divide 2"]).exits(0);

    assert_eq!(asked_of(&outcome, "on-error"), [""; 0]);
    let record = complete(&world);
    assert!(record["notes"].as_array().unwrap().contains(&json!("single-stream")), "{record}");
    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &content);
}
