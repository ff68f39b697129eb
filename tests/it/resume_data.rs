//! Partial downloads given out as documents and taken in again.

use crate::support::*;
use serde_json::{Value, json};

const SIZE: usize = 1_000_000;
const CUT: usize = 400_000;

/// A failed download of [`CUT`] bytes; its id.
fn failed(world: &World, film: &Resource) -> String {
    let last = world.get(&[film.url(), "--retries", "0"]).exits(5).only_final();
    last["taskId"].as_str().unwrap().to_owned()
}

fn export(world: &World, id: &str) -> Value {
    world.haul(&["export-resume", id, "-o", "film.resume"]).exits(0);
    serde_json::from_slice(&world.read("film.resume")).unwrap()
}

fn part_of(document: &Value) -> std::path::PathBuf {
    document["partFile"].as_str().unwrap().into()
}

#[test]
fn another_home_goes_on_where_the_first_one_stopped() {
    let (one, other, origin) = (World::new(), World::new(), Origin::start());
    let content = bytes(1, SIZE);
    let whole = file(&content).etag("\"v1\"");
    let first = whole.clone().header("Repr-Digest", &repr_digest(&content));
    let film = origin.script("/f", vec![first.cut(CUT), whole]);
    let id = failed(&one, &film);
    let document = export(&one, &id);
    assert_eq!(document["validators"]["digest"], format!("sha-256={}", sha256(&content)));
    assert_eq!(document["ranges"], serde_json::json!([[0, CUT - 1]]));
    assert_eq!(document["digest"], format!("sha-256={}", sha256(&content[..CUT])));

    let path = one.path("work/film.resume");
    let dir = other.work();
    let added = other.haul(&["import-resume", path.to_str().unwrap(), "-d", dir.to_str().unwrap()]).exits(0);
    assert_eq!(added.stdout.trim(), id);
    other.run().exits(0);

    assert_same_bytes(&other.read("f"), &content);
    assert_eq!(film.log()[1], "GET /f  range: bytes=400000-  if-range: \"v1\"");
    assert!(part_of(&document).exists(), "what was given out stays as it is");
}

#[test]
fn a_range_of_its_own_is_gone_on_with_elsewhere_too() {
    let (one, other, origin) = (World::new(), World::new(), Origin::start());
    let content = bytes(1, SIZE);
    let whole = file(&content).etag("\"v1\"");
    let film = origin.script("/f", vec![whole.clone().cut(CUT), whole]);
    let last = one.get(&[film.url(), "-H", "Range: bytes=100000-899999", "--retries", "0"]).exits(5).only_final();
    assert_eq!(export(&one, last["taskId"].as_str().unwrap())["firstByte"], 100_000);

    let (path, dir) = (one.path("work/film.resume"), other.work());
    other.haul(&["import-resume", path.to_str().unwrap(), "-d", dir.to_str().unwrap()]).exits(0);
    other.run().exits(0);

    assert_same_bytes(&other.read("f"), &content[100_000..900_000]);
    assert_eq!(film.log()[1], "GET /f  range: bytes=500000-899999  if-range: \"v1\"");
}

#[test]
fn a_divided_download_keeps_its_pieces() {
    let (one, other, origin) = (World::new(), World::new(), Origin::start());
    let content = bytes(1, 6 << 20);
    let gate = Gate::new();
    let whole = file(&content).etag("\"v1\"");
    let film = origin.serve("/f", whole.clone().gate(1 << 20, &gate));
    let running = one.spawn_get(&[film.url(), "--parts", "2"]);
    let id = running.wait_for_status("running");
    gate.wait_for(2);
    one.wait_for_bytes(&id, 2 << 20);
    one.haul(&["pause", &id]).exits(0);
    running.finish().exits(1);
    let document = export(&one, &id);
    assert_eq!(document["ranges"], serde_json::json!([[0, 1_048_575], [3_145_728, 4_194_303]]));
    film.now(vec![whole]);

    let (path, dir) = (one.path("work/film.resume"), other.work());
    other.haul(&["import-resume", path.to_str().unwrap(), "-d", dir.to_str().unwrap()]).exits(0);
    let before = film.log().len();
    other.run().exits(0);

    assert_same_bytes(&other.read("f"), &content);
    let starts: Vec<_> = film.requests()[before..].iter().map(|request| request.range_start()).collect();
    assert!(starts.contains(&Some(1 << 20)) && starts.contains(&Some(4 << 20)), "{starts:?}");
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let (one, other, origin) = (World::new(), World::new(), Origin::start());
    let film = origin.serve("/f", file(&bytes(1, SIZE)).etag("\"v1\"").cut(CUT));
    let document = export(&one, &failed(&one, &film));
    let dir = other.work();
    let import = |name: &str, document: &Value| {
        let path = one.write(name, document.to_string());
        other.haul(&["import-resume", path.to_str().unwrap(), "-d", dir.to_str().unwrap()])
    };

    let mut changed = document.clone();
    changed["totalBytes"] = 5.into();
    import("changed", &changed).exits(2).says("changed or damaged");
    let mut later = document.clone();
    later["haulResumeData"] = 2.into();
    import("later", &later).exits(2).says("later version");
    import("other", &serde_json::json!({"a": 1})).exits(2).says("`haulResumeData` is missing");
    std::fs::write(part_of(&document), bytes(2, CUT)).unwrap();
    import("bytes", &document).exits(6).says("no longer has the bytes");
    std::fs::remove_file(part_of(&document)).unwrap();
    import("gone", &document).exits(6).says("does not exist");

    assert_eq!(other.list().len(), 0);
    assert_eq!(other.names().len(), 0, "{:?}", other.names());
}

#[test]
fn what_is_named_as_the_part_file_is_told_of_by_what_it_is() {
    let (one, other, origin) = (World::new(), World::new(), Origin::start());
    let content = bytes(1, SIZE);
    let whole = file(&content).etag("\"v1\"");
    let film = origin.script("/f", vec![whole.clone().cut(CUT), whole]);
    let document = export(&one, &failed(&one, &film));
    let marked = other.write("marked", format!("\u{feff}{document}"));
    let (pipe, link) = (other.path("pipe"), other.path("link"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink(part_of(&document), &link).unwrap();
    let import = |words: &[&str]| other.haul(&[&["import-resume", marked.to_str().unwrap()], words].concat());

    import(&["--part-file", pipe.to_str().unwrap()]).exits(6).says("part file is not a regular file");
    import(&["--part-file", link.to_str().unwrap()]).exits(6).says("part file is a symbolic link");
    import(&[]).exits(0);
    other.run().exits(0);

    assert_same_bytes(&other.read("f"), &content);
}

#[test]
fn what_another_task_has_is_not_touched() {
    let (one, other, origin) = (World::new(), World::new(), Origin::start());
    let content = bytes(1, SIZE);
    let whole = file(&content).etag("\"v1\"");
    let film = origin.script("/f", vec![whole.clone().cut(CUT), whole]);
    let id = failed(&one, &film);
    let document = export(&one, &id);

    one.haul(&["import-resume", "film.resume"]).exits(2).says("exists already");
    assert_same_bytes(&std::fs::read(part_of(&document)).unwrap(), &content[..CUT]);

    // Another home, but the same directory: a part file of that name is there.
    let (path, dir) = (one.path("work/film.resume"), one.work());
    let added = other.haul(&["import-resume", path.to_str().unwrap(), "-d", dir.to_str().unwrap()]).exits(0);
    assert_ne!(added.stdout.trim(), id);
    assert_same_bytes(&std::fs::read(part_of(&document)).unwrap(), &content[..CUT]);
    other.run().exits(0);
    assert_same_bytes(&one.read("f"), &content);
    assert_eq!(film.requests()[1].range_start(), Some(CUT as u64));
}

#[test]
fn an_expired_link_is_exchanged_where_the_task_is() {
    let (world, origin, content) = (World::new(), Origin::start(), bytes(1, SIZE));
    let whole = file(&content).etag("\"v1\"");
    let expired = origin.serve("/old", whole.clone().cut(CUT));
    let signed_anew = origin.serve("/new", whole);
    let id = failed(&world, &expired);
    export(&world, &id);
    let import = world.haul(&["import-resume", "film.resume", "--url", signed_anew.url()]);
    import.exits(2).says(&format!("`haul resume {id} --url URL` goes on with it"));

    world.haul(&["resume", &id, "--url", "ftp://h/f"]).exits(2).says("url");
    world.haul(&["resume", &id, &id, "--url", signed_anew.url()]).exits(2).says("give one ID");
    world.haul(&["resume", &id, "--url", signed_anew.url(), "-H", "X-Key: 1"]).exits(0).says("resumed");
    world.run().exits(0);

    assert_same_bytes(&world.read("old"), &content);
    // An ETag says nothing of another URL's bytes: the last ones are compared before they are gone on with.
    let log = ["GET /new  range: bytes=400000-  if-range: \"v1\"", "GET /new  range: bytes=334464-  if-range: \"v1\""];
    assert_eq!(signed_anew.log(), log);
    assert_eq!(signed_anew.requests()[0].header("x-key"), Some("1"));
    assert_eq!(expired.log().len(), 1);
    world.haul(&["resume", &id, "--url", signed_anew.url()]).exits(2).says("it is complete");
}

#[test]
fn another_version_behind_the_exchanged_link_is_fetched_from_its_first_byte() {
    let (world, origin, changed) = (World::new(), Origin::start(), bytes(2, SIZE));
    let expired = origin.serve("/old", file(&bytes(1, SIZE)).etag("\"v1\"").cut(CUT));
    let signed_anew = origin.serve("/new", file(&changed).etag("\"v2\""));
    let id = failed(&world, &expired);

    world.haul(&["resume", &id, "--url", signed_anew.url()]).exits(0);
    world.run().exits(0);

    assert_same_bytes(&world.read("new"), &changed);
}

#[test]
fn what_is_no_download_keeps_its_url() {
    let (world, origin) = (World::new(), Origin::start());
    let inbox = origin.serve("/inbox", status(503));
    let source = world.write("a.txt", "a");
    let last =
        world.haul(&["put", source.to_str().unwrap(), inbox.url(), "--retries", "0", "--json"]).exits(1).only_final();
    let id = last["taskId"].as_str().unwrap();

    world.haul(&["resume", id, "--url", origin.serve("/other", status(200)).url()]).exits(2).says("it is no download");
}

#[test]
fn a_document_grants_no_directory() {
    let (one, other, origin) = (World::new(), World::new(), Origin::start());
    let film = origin.serve("/f", file(&bytes(1, SIZE)).etag("\"v1\"").cut(CUT));
    export(&one, &failed(&one, &film));
    let before = one.names();

    let path = one.path("work/film.resume");
    other.haul(&["import-resume", path.to_str().unwrap()]).exits(0);

    assert_eq!(one.names(), before, "not where the document says");
    assert_eq!(other.names().len(), 1, "but where the command is typed: {:?}", other.names());
}

#[test]
fn secrets_are_left_out_unless_they_are_asked_for() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(&bytes(1, SIZE)).etag("\"v1\"").cut(CUT));
    let url = format!("{}?token=canary", film.url());
    let mirror = format!("{}?key=canary", film.url());
    let secrets = ["-H", "Authorization: Bearer canary", "--mirror", &mirror];
    let last = world.get(&[&[url.as_str(), "--retries", "0"][..], &secrets].concat()).exits(5).only_final();
    let id = last["taskId"].as_str().unwrap();

    let kept = world.haul(&["export-resume", id, "--with-secrets"]).exits(0);
    let document = world.haul(&["export-resume", id]).exits(0).says("left out as secret");

    assert!(kept.stdout.contains("canary"));
    assert!(!document.stdout.contains("canary"), "{}", document.stdout);
    let parsed: Value = serde_json::from_str(&document.stdout).unwrap();
    assert_eq!(parsed["withheld"], serde_json::json!(["header Authorization", "mirrors", "url"]));
    let path = world.write("film.resume", &document.stdout);
    world.haul(&["import-resume", path.to_str().unwrap()]).exits(2).says("--url");

    let other = World::new();
    let (path, dir) = (path.to_str().unwrap(), other.work());
    let words = ["import-resume", path, "--url", &url, "-d", dir.to_str().unwrap()];
    other.haul(&words).exits(0).says("left out as secret: header Authorization, mirrors");
    let third = World::new();
    let words = ["import-resume", path, "--url", &url, "-H", "Authorization: Bearer back"];
    let outcome = third.haul(&words).exits(0).says("left out as secret: mirrors");
    assert!(!outcome.stderr.contains("header Authorization"), "{}", outcome.stderr);
    film.now(vec![file(&bytes(1, SIZE)).etag("\"v1\"")]);
    third.run().exits(0);
    assert_eq!(film.requests().pop().unwrap().header("authorization"), Some("Bearer back"));
}

#[test]
fn show_names_each_condition_for_going_on() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(&bytes(1, SIZE)).etag("\"v1\"").cut(CUT));
    let id = failed(&world, &film);

    let resume = world.show(&id)["resume"].clone();
    assert_eq!(resume["verdict"], "goes on at byte 400000 if it is still \"v1\"");
    for name in ["strong-validator", "within-size", "method-get", "part-file"] {
        assert_eq!(resume["conditions"][name], true, "{name}: {resume}");
    }

    std::fs::remove_file(part_of(&export(&world, &id))).unwrap();
    assert_eq!(world.show(&id)["resume"]["conditions"]["part-file"], false);
    world.haul(&["export-resume", &id]).exits(2).says("is gone or was changed");
}

#[test]
fn can_resume_says_what_happens_then() {
    let content = bytes(1, SIZE);
    let whole = || file(&content);
    for (name, answer, goes_on) in [
        ("strong", whole().etag("\"v\""), true),
        ("none", whole(), false),
        ("weak", whole().etag("W/\"v\""), false),
        ("encoded", whole().etag("\"v\"").header("Content-Encoding", "gzip"), true),
        ("chunked", whole().etag("\"v\"").chunked(), true),
    ] {
        let (world, origin) = (World::new(), Origin::start());
        let film = origin.script("/f", vec![answer.clone().cut(CUT), answer]);
        let id = failed(&world, &film);

        let (record, listed) = (world.show(&id), world.list().remove(0));

        assert_eq!(
            (&record["canResume"], &listed["canResume"]),
            (&goes_on.into(), &goes_on.into()),
            "{name}: {record}"
        );
        let all_hold = record["resume"]["conditions"].as_object().unwrap().values().all(|holds| *holds == true);
        assert_eq!(all_hold, goes_on, "{name}: {}", record["resume"]);
        let last = world.get(&[film.url()]).exits(0).only_final();
        assert_eq!(last["resumedFrom"].as_u64() > Some(0), goes_on, "{name}: {last}");
        assert_same_bytes(&world.read("f"), &content);
    }
}

#[test]
fn nothing_of_a_failed_task_is_left_on_the_disk_when_it_is_forgotten_or_replaced() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(&bytes(1, SIZE)).etag("\"v1\"").cut(CUT));
    let other = origin.serve("/other", file(b"other"));
    let fail = || world.get(&[film.url(), "--id", "film", "--retries", "0"]).exits(5);

    fail();
    assert_eq!(world.names(), [".f.film.part"]);
    world.haul(&["clean", "--older-than", "1h"]).exits(0);
    assert_eq!(world.names(), [".f.film.part"], "it has not been over for so long");
    world.haul(&["clean"]).exits(0).says("forgot 1 task");
    assert_eq!(world.names(), [""; 0], "cleaned");

    fail();
    world.haul(&["rm", "film"]).exits(0);
    assert_eq!(world.names(), [""; 0], "removed");

    fail();
    world.config("[retain]\nrecords = 0\n");
    world.get(&[other.url()]).exits(0);
    assert_eq!(world.names(), ["other"], "not retained");
    std::fs::remove_file(world.work().join("other")).unwrap();
    world.config("");

    fail();
    world.get(&[other.url(), "--id", "film"]).exits(0).says("the 400000 bytes that were stored of it are given up");
    assert_eq!(world.names(), ["other"], "replaced");

    world.add(&[json!({"url": other.url(), "taskId": "later"})]);
    let refused = world.get(&[film.url(), "--id", "later"]).exits(2);
    refused.says("`haul resume ID --url URL`");
}

#[test]
fn a_task_that_goes_on_under_its_id_takes_the_name_that_it_is_given_now() {
    let (world, origin) = (World::new(), Origin::start());
    let whole = file(&bytes(1, SIZE)).etag("\"v1\"");
    let film = origin.script("/f", vec![whole.clone().cut(CUT), whole]);
    world.get(&[film.url(), "--id", "film", "--retries", "0"]).exits(5);

    world.get(&[film.url(), "--id", "film", "-o", "named.bin"]).exits(0);

    assert_eq!(film.requests()[1].range_start(), Some(CUT as u64));
    assert_eq!(world.names(), ["named.bin"]);
    assert_same_bytes(&world.read("named.bin"), &bytes(1, SIZE));
}

#[test]
fn a_task_that_goes_on_under_its_id_stays_in_its_directory_and_says_so() {
    let (world, origin) = (World::new(), Origin::start());
    let whole = file(&bytes(1, SIZE)).etag("\"v1\"");
    let film = origin.script("/f", vec![whole.clone().cut(CUT), whole]);
    world.get(&[film.url(), "--id", "film", "--retries", "0"]).exits(5);

    let outcome = world.get(&[film.url(), "--id", "film", "-d", world.path("elsewhere").to_str().unwrap()]).exits(0);

    outcome.says(&format!("goes on in `{}`, where it began", world.work().display()));
    assert_eq!(world.names(), ["f"]);
}
