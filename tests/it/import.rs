//! Importing: what other programs have kept goes on here, all of it or nothing.

use serde_json::{Value, json};

use crate::support::*;

/// A record as background_downloader stores it: a task's fields, and its status beside them.
fn record(url: &str, id: &str, status: u8) -> Value {
    json!({
        "url": url, "headers": {}, "httpRequestMethod": "GET", "post": null, "retries": 0, "retriesRemaining": 0,
        "creationTime": 1.7e12, "taskId": id, "filename": format!("{id}.bin"), "directory": "", "baseDirectory": 0,
        "group": "default", "updates": 1, "requiresWiFi": false, "allowPause": true, "priority": 5, "metaData": "",
        "displayName": "", "options": null, "taskType": "DownloadTask", "status": status, "progress": 0.0,
        "expectedFileSize": -1, "exception": null
    })
}

fn statuses(world: &World) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    world.list().iter().map(|record| (text(&record["taskId"]), text(&record["status"]))).collect()
}

fn pair(id: &str, status: &str) -> (String, String) {
    (id.into(), status.into())
}

#[test]
fn a_local_store_goes_on_where_it_stopped_and_is_imported_once() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"film"));
    let store = |collection: &str, id: &str, document: Value| {
        world.write(&format!("support/backgroundDownloader{collection}/{id}"), document.to_string());
    };
    store("TaskRecords", "done", record(film.url(), "done", 2));
    store("TaskRecords", "killed", record(film.url(), "killed", 1));
    store("TaskRecords", "resting", record(film.url(), "resting", 7));
    store("TaskRecords", "gone", record(film.url(), "gone", 4));
    let mut resting = record(film.url(), "resting", 7);
    resting
        .as_object_mut()
        .unwrap()
        .retain(|key, _| !["status", "progress", "expectedFileSize"].contains(&key.as_str()));
    store("PausedTasks", "resting", resting.clone());
    store("ResumeData", "resting", json!({"task": resting, "data": "/tmp/x", "requiredStartByte": 9, "eTag": null}));

    let outcome = world.haul(&["import", "support"]).exits(0).says("as local-store").says("the 9 bytes");

    assert_eq!(outcome.stdout, "killed\nresting\n");
    assert!(outcome.stderr.contains("left out: it is complete"), "{}", outcome.stderr);
    assert_eq!(statuses(&world), [pair("killed", "enqueued"), pair("resting", "paused")]);
    world.run().exits(0);
    assert_eq!(std::fs::read(world.path("data/haul/documents/killed.bin")).unwrap(), b"film");

    world.haul(&["import", "support"]).exits(0);
    assert_eq!(statuses(&world), [pair("killed", "complete"), pair("resting", "paused")], "nothing twice");
}

#[test]
fn an_imported_task_has_all_its_retries_whatever_the_other_program_had_left() {
    let world = World::new();
    for (id, left) in
        [("none", json!(0)), ("some", json!(2)), ("less", json!(-1)), ("more", json!(9)), ("null", json!(null))]
    {
        let mut record = record("http://127.0.0.1:9/f", id, 6);
        (record["retries"], record["retriesRemaining"]) = (json!(3), left);
        world.write(&format!("records/{id}.json"), record.to_string());
    }
    let files = ["none", "some", "less", "more", "null"].map(|id| format!("records/{id}.json"));
    let words: Vec<&str> = std::iter::once("import").chain(files.iter().map(String::as_str)).collect();

    let outcome = world.haul(&words).exits(0).says("imported 5 tasks");

    assert!(outcome.stderr.contains("`retriesRemaining` -1 of 3") && outcome.stderr.contains("9 of 3"));
    assert_eq!(outcome.stderr.matches("retriesRemaining").count(), 2, "{}", outcome.stderr);
    assert!(world.list().iter().all(|record| record["retriesRemaining"] == 3));
}

#[test]
fn an_input_without_anything_in_it_is_called_that() {
    let world = World::new();
    for (name, content) in [("empty", ""), ("blank", " \n\n"), ("comments", "# none yet\n"), ("list", "[]")] {
        world.write(name, content);
        world.haul(&["import", name]).exits(0).says(&format!("{name}: nothing is in it to import"));
    }
    for json in [&[][..], &["--json"]] {
        let add = |name| world.haul(&[json, &["add", name]].concat()).exits(0);
        add("empty").says("nothing to add: the list is empty");
        world.write("one", json!({"url": "http://127.0.0.1:9/f"}).to_string());
        assert!(!add("one").stderr.contains("nothing"));
    }
}

#[test]
fn a_sqlite_file_of_background_downloader_is_read_and_not_changed() {
    let world = World::new();
    let path = world.work().join("bgd_persistent_storage.sqlite");
    let database = rusqlite::Connection::open(&path).unwrap();
    database
        .execute_batch(
            "CREATE TABLE taskRecords (taskId TEXT PRIMARY KEY, url TEXT, objectJsonMap TEXT);
             CREATE TABLE pausedTasksTable (taskId TEXT PRIMARY KEY, objectJsonMap TEXT, modified INTEGER);",
        )
        .unwrap();
    let insert = |table: &str, id: &str, document: Value| {
        let text = format!("INSERT INTO {table} (taskId, objectJsonMap) VALUES (?1, ?2)");
        database.execute(&text, (id, document.to_string())).unwrap();
    };
    insert("taskRecords", "one", record("http://127.0.0.1:9/f", "one", 6));
    insert("taskRecords", "two", record("http://127.0.0.1:9/f", "two", 0));
    insert("pausedTasksTable", "two", record("http://127.0.0.1:9/f", "two", 7));
    drop(database);
    let before = std::fs::read(&path).unwrap();

    world.haul(&["import", path.to_str().unwrap()]).exits(0).says("2 tasks found, as sqlite");

    assert_eq!(statuses(&world), [pair("one", "enqueued"), pair("two", "paused")]);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    world.write("other.sqlite", b"SQLite format 3\0 and no more");
    world.haul(&["import", "other.sqlite"]).exits(6).says("other.sqlite");
}

#[test]
fn with_one_problem_nothing_is_imported_and_all_problems_are_told() {
    let world = World::new();
    world.write("list", "http://127.0.0.1:9/good\n# comment\nftp://h/f\nmagnet:?xt=1\n");
    world.write("tasks.json", json!([{"url": "http://127.0.0.1:9/f", "retries": 11}]).to_string());

    let outcome = world.haul(&["import", "list", "tasks.json"]).exits(2);

    for told in ["list:3: `url`", "list:4: `url`", "tasks.json: task 1: `retries`", "nothing was imported"] {
        assert!(outcome.stderr.contains(told), "`{told}`:\n{}", outcome.stderr);
    }
    assert!(world.list().is_empty());
}

#[test]
fn a_dry_run_tells_and_adds_nothing() {
    let world = World::new();
    let list = "https://127.0.0.1:9/f?token=canary\n";

    let outcome = world.haul_reading(&["import", "-", "--dry-run", "--from", "urls"], list).exits(0);

    assert!(
        outcome.stdout.contains("stdin:1  DownloadTask  enqueued  https://127.0.0.1:9/f?token="),
        "{}",
        outcome.stdout
    );
    assert!(!outcome.stdout.contains("canary"), "{}", outcome.stdout);
    assert!(world.list().is_empty());
}

#[test]
fn a_dry_run_tells_what_is_here_already_and_shows_what_would_be_stored() {
    let world = World::new();
    world.write("one", "http://127.0.0.1:9/a\n");
    world.write("two", "http://127.0.0.1:9/a\nhttp://127.0.0.1:9/b\n");
    world.haul(&["import", "one"]).exits(0);

    let outcome = world.haul(&["import", "two", "--dry-run"]).exits(0).says("would import 1 task, 1 is here already");
    assert!(outcome.stdout.contains("two:1  DownloadTask  here already  http"), "{}", outcome.stdout);
    let shown = world.haul(&["--json", "import", "two", "--dry-run"]).exits(0).json();

    assert_eq!((&shown[0]["hereAlready"], &shown[1]["hereAlready"]), (&json!(true), &json!(false)));
    let task = &shown[1]["task"];
    assert_eq!(task["httpRequestMethod"], "GET", "{task}");
    assert!(task["creationTime"].as_u64() > Some(1_700_000_000_000), "{task}");
    assert_eq!(world.list().len(), 1);
}

#[test]
fn an_absolute_path_outside_of_what_is_granted_is_named_with_the_way_to_grant_it() {
    let world = World::new();
    world.write("session", "http://127.0.0.1:9/a\n dir=/nowhere/at/all\n");
    let payload = json!({"filePath": "/nowhere/film.mp4", "serverUrl": "http://127.0.0.1:9/"});
    world.write("payload", payload.to_string());

    for (file, path) in [("session", "`/nowhere/at/all`"), ("payload", "`/nowhere/film.mp4`")] {
        for place in [&[][..], &["-d", "here"]] {
            world.haul(&[&["import", file], place].concat()).exits(2).says(path).says("`-d DIR`");
        }
    }
}

#[test]
fn an_input_file_of_aria2_is_downloaded_below_the_granted_directory() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"film"));
    let lost = origin.serve("/lost", status(503));
    let text = format!("{}\t{}\n dir=sub\n out=name\n max-tries=1\n header=X-One: 1\n", lost.url(), film.url());
    world.write("session", text);

    world.haul(&["import", "session", "-d", "here"]).exits(0).says("as aria2");
    world.run().exits(0);

    assert_eq!(world.read("here/sub/name"), b"film");
    assert_eq!(film.requests()[0].header("x-one"), Some("1"));
}

#[test]
fn a_payload_of_cordova_needs_a_grant_for_its_file_and_is_uploaded_as_a_form() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/up", status(200));
    let film = world.write("films/film.mp4", b"film");
    let payload =
        json!({"id": "u1", "filePath": film, "serverUrl": sink.url(), "fileKey": "film", "parameters": {"n": 1}});

    world.haul_reading(&["import", "-"], &payload.to_string()).exits(2).says("root = ");
    world.haul_reading(&["import", "-", "-d", "films"], &payload.to_string()).exits(0).says("as cordova");
    world.run().exits(0);

    let request = &sink.requests()[0];
    let body = String::from_utf8_lossy(&request.body);
    let (field, part) = (body.find("name=\"n\"").unwrap(), body.find("name=\"film\"; filename=\"film.mp4\"").unwrap());
    assert!(field < part, "fields before the file: {body}");
}

#[test]
fn a_payload_of_cordova_without_its_url_is_one_and_says_what_is_missing() {
    let world = World::new();
    let payload = json!({"id": "u1", "filePath": world.write("film.mp4", b"film"), "fileKey": "film"});

    let outcome = world.haul_reading(&["import", "-", "-d", "."], &payload.to_string()).exits(2).says("as cordova");

    let said = "`serverUrl` is missing from this payload of startUpload: add the URL that the file is sent to";
    assert!(outcome.stderr.contains(&format!("stdin:1: {said}\n")), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.matches("stdin:1").count(), 1, "{}", outcome.stderr);
    assert_eq!(world.list().len(), 0);
}

#[test]
fn what_is_no_store_is_refused_with_a_sentence() {
    let world = World::new();
    std::fs::create_dir(world.work().join("empty")).unwrap();

    world.haul(&["import", "empty"]).exits(2).says("is no LocalStore folder");
    world.write("garbage", b"\xff\xfe\x00garbage");
    world.haul(&["import", "garbage"]).exits(2).says("neither text in UTF-8 nor");
    world.haul(&["import", "missing"]).exits(6).says("missing");
    world.haul_reading(&["import", "-", "--from", "tasks"], "{\"url\":").exits(2).says("stdin:1").says("is not JSON");
    world.haul(&["import", "empty", "--from", "nonsense"]).exits(2).says("local-store");
}

#[test]
fn importing_again_changes_nothing_of_what_runs() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/f", file(b"film").gate(2, &gate));
    world.write("record.json", record(film.url(), "a", 7).to_string());
    world.haul(&["import", "record.json"]).exits(0).says("imported 1 task");
    world.haul(&["resume", "a"]).exits(0);
    let running = world.spawn(&["--json", "run", "--until-idle"]);
    gate.wait_for(1);

    world.haul(&["import", "record.json"]).exits(0).says("imported 0 tasks, 1 was here already");

    gate.open();
    running.finish().exits(0);
    assert_eq!(statuses(&world), [pair("a", "complete")]);
}

#[test]
fn a_list_imported_again_changes_nothing() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"film"));
    world.write("list", format!("{0}\n{0}\n", film.url()));
    world.write("session", format!("{}\n dir=sub\n out=name\n", film.url()));

    let first = world.haul(&["import", "list", "session", "-d", "here"]).exits(0).says("imported 3 tasks");
    world.run().exits(0);
    let again = world.haul(&["import", "list", "session", "-d", "here"]).exits(0).says("3 were here already");

    assert_eq!(again.stdout, first.stdout);
    assert_eq!(world.list().len(), 3);
    assert_eq!(film.requests().len(), 3);
}

#[test]
fn an_indented_url_with_a_query_is_no_option_of_aria2() {
    let (world, origin) = (World::new(), Origin::start());
    let (one, two) = (origin.url("/1"), origin.url("/2?size=10"));
    world.write("list", format!("{one}\n  {two}\n"));

    world.haul(&["import", "list", "-d", "."]).exits(0).says("2 tasks found, as urls");

    let mut urls: Vec<_> = world.list().into_iter().map(|record| record["url"].as_str().unwrap().to_owned()).collect();
    urls.sort();
    assert_eq!(urls, [one, two]);
}

#[test]
fn what_is_wrong_is_left_out_when_that_is_wanted() {
    let world = World::new();
    let good = |id: &str| json!({"taskId": id, "url": "http://127.0.0.1:9/f"});
    let bad = json!({"taskId": "bad", "url": "ftp://h/"});
    let path = world.write("tasks.json", json!([good("one"), bad, good("two"), good("two")]).to_string());
    let path = path.to_str().unwrap();

    world.haul(&["import", path]).exits(2).says("nothing was imported");
    assert_eq!(world.list().len(), 0);
    let dry = world.haul(&["import", path, "--skip-invalid", "--dry-run"]).exits(8);
    assert_eq!((dry.stdout.lines().count(), world.list().len()), (2, 0));
    let told =
        world.haul(&["import", path, "--skip-invalid"]).exits(8).says("refused: ").says("imported 2 tasks, refused 2");
    assert!(told.stderr.contains("`url`") && told.stderr.contains("`two` is that of"), "{}", told.stderr);

    let ids: Vec<_> = statuses(&world).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["one", "two"]);
    let path = world.write("bad.json", json!([{"url": "ftp://h/"}]).to_string());
    world.haul(&["import", path.to_str().unwrap(), "--skip-invalid"]).exits(2).says("nothing was imported");
}
