//! Uploads from task JSON: forms that a strict reader accepts, binary bodies with their headers, files that are not there or
//! change, and what is sent again after a failure.

use serde_json::{Value, json};

use crate::support::form::{boundary_of, form_of};
use crate::support::origin::Seen;
use crate::support::*;

/// A world with files in the directory where tasks have theirs.
fn world_with(files: &[(&str, &[u8])]) -> World {
    let world = World::new();
    for (name, content) in files {
        let path = world.path("in").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    world
}

/// Adds one task, works it, and answers its record.
#[track_caller]
fn work(world: &World, task: Value) -> Value {
    let id = world.add(&[task]).remove(0);
    world.run();
    world.show(&id)
}

fn upload(url: &str, name: &str) -> Value {
    json!({"taskType": "UploadTask", "url": url, "filename": name})
}

fn binary(url: &str, name: &str) -> Value {
    json!({"taskType": "UploadTask", "url": url, "filename": name, "post": "binary", "httpRequestMethod": "PUT"})
}

fn with(mut task: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        task[key] = value.clone();
    }
    task
}

fn only(resource: &Resource) -> Seen {
    let mut requests = resource.requests();
    assert_eq!(requests.len(), 1, "{:?}", resource.log());
    requests.remove(0)
}

#[test]
fn a_form_has_its_fields_in_order_and_then_its_file() {
    let (world, origin) = (world_with(&[("a.txt", b"A file.")]), Origin::start());
    let sink = origin.serve("/up", status(200).body(b"thanks").header("Content-Type", "text/plain"));
    let fields = json!({"z": "last first", "plain": "", "json": "{\"a\":\"b\"}", "lines": "[\n1]", "check": "✓",
        "many": "\"one\", \"two\"", "list": ["x", "y"], "a\"b\r\nc": "odd name"});

    let record = work(&world, with(upload(sink.url(), "a.txt"), json!({"fields": fields})));

    assert_eq!(record["status"], "complete", "{record}");
    assert_eq!((record["progress"].as_f64(), record["expectedFileSize"] == record["bytesDone"]), (Some(1.0), true));
    let request = only(&sink);
    assert_eq!(request.method, "POST");
    let parts = form_of(&request);
    let fields: Vec<_> = parts.iter().map(|part| (part.name.as_str(), part.text())).collect();
    let expected = [
        ("z", "last first"),
        ("plain", ""),
        ("json", "{\"a\":\"b\"}"),
        ("lines", "[\n1]"),
        ("check", "✓"),
        ("many", "one"),
        ("many", "two"),
        ("list", "x"),
        ("list", "y"),
        ("a\"b\r\nc", "odd name"),
        ("file", "A file."),
    ];
    assert_eq!(fields, expected);
    let kinds: Vec<_> = parts.iter().map(|part| part.content_type.as_deref().unwrap_or("")).collect();
    assert_eq!(
        kinds[..5],
        ["", "", "application/json; charset=utf-8", "application/json; charset=utf-8", "text/plain; charset=utf-8"]
    );
    assert_eq!((&parts[1].transfer_encoding, parts[4].transfer_encoding.as_deref()), (&None, Some("binary")));
    assert_eq!((parts[10].filename.as_deref(), kinds[10]), (Some("a.txt"), "text/plain"));
}

#[test]
fn what_the_owner_of_an_upload_keeps_in_extra_is_theirs_alone() {
    let (world, origin) = (world_with(&[("a.txt", b"A file.")]), Origin::start());
    let sink = origin.serve("/up", status(200));
    let mine = json!({"boundary": "mine", "sources": "zzz", "profile": "nope", "resumable": "never"});

    let record = work(&world, with(upload(sink.url(), "a.txt"), json!({"extra": mine})));

    assert_eq!((&record["status"], &record["extra"]), (&json!("complete"), &mine), "{record}");
    assert!(!only(&sink).header("content-type").unwrap().contains("mine"), "the boundary is the task's");
    world.write(
        "tasks.json",
        with(upload(sink.url(), "a.txt"), json!({"extra": {"haul.boundary": "mine"}})).to_string(),
    );
    world.haul(&["add", "tasks.json"]).exits(2).says("haul's own");
}

#[test]
fn the_answer_to_an_upload_is_kept_with_its_way() {
    let (world, origin) = (world_with(&[("a.txt", b"A file.")]), Origin::start());
    let sink = origin.serve("/up", status(201).body("{\"id\":7}".as_bytes()).header("X-Set", "yes"));

    let id = world.add(&[upload(sink.url(), "a.txt")]).remove(0);
    let update = world.run().exits(0).only_final();

    assert_eq!((update["taskId"].as_str(), update["responseBody"].as_str()), (Some(id.as_str()), Some("{\"id\":7}")));
    assert_eq!(
        (update["responseStatusCode"].as_u64(), &update["responseHeaders"]["x-set"]),
        (Some(201), &json!("yes"))
    );
    assert_eq!((&update["responseUrl"], &update["redirects"]), (&json!(sink.url()), &json!([])));
    let statuses: Vec<Value> = world.events().iter().map(|event| event["status"].clone()).collect();
    assert_eq!(statuses, ["enqueued", "running", "complete"]);
}

#[test]
fn a_multi_upload_has_three_forms_of_file() {
    let files: [(&str, &[u8]); 4] = [("one.txt", b"1"), ("sub/two.json", b"{}"), ("three.bin", b""), ("four", b"4")];
    let (world, origin) = (world_with(&files), Origin::start());
    let sink = origin.serve("/up", status(200));
    let files = json!(["one.txt", ["second", "sub/two.json"], ["third", "three.bin", "x/y"], "four"]);
    let task = json!({"taskType": "MultiUploadTask", "url": sink.url(), "files": files, "fields": {"a": "b"}});

    assert_eq!(work(&world, task)["status"], "complete");

    let parts = form_of(&only(&sink));
    let told: Vec<_> = parts[1..]
        .iter()
        .map(|part| {
            (part.name.as_str(), part.filename.as_deref().unwrap(), part.content_type.as_deref().unwrap(), part.text())
        })
        .collect();
    let expected = [
        ("one", "one.txt", "text/plain", "1"),
        ("second", "two.json", "application/json", "{}"),
        ("third", "three.bin", "x/y", ""),
        ("four", "four", "application/octet-stream", "4"),
    ];
    assert_eq!(told, expected);
    assert_eq!(parts[0].text(), "b");
}

#[test]
fn names_beyond_ascii_and_empty_files_go_into_forms() {
    let (world, origin) = (world_with(&[("grüße \"x\".txt", b"")]), Origin::start());
    let sink = origin.serve("/up", status(200));
    let more = json!({"fileField": "the file", "mimeType": "text/x-empty"});

    work(&world, with(upload(sink.url(), "grüße \"x\".txt"), more));

    let parts = form_of(&only(&sink));
    let part = &parts[0];
    assert_eq!((part.name.as_str(), part.filename.as_deref()), ("the file", Some("grüße \"x\".txt")));
    assert_eq!((part.content_type.as_deref(), part.body.len()), (Some("text/x-empty"), 0));
}

#[test]
fn a_binary_upload_is_the_file_with_three_states_of_its_disposition() {
    let (world, origin) = (world_with(&[("ä b.json", b"A file.")]), Origin::start());
    let cases = [
        (json!({}), Some("attachment; filename=\"%C3%A4%20b.json\""), "application/json"),
        (json!({"Content-Disposition": ""}), None, "application/json"),
        (json!({"content-disposition": "inline", "Content-Type": "a/b"}), Some("inline"), "a/b"),
    ];
    for (number, (headers, disposition, content_type)) in cases.into_iter().enumerate() {
        let sink = origin.serve(&format!("/up{number}"), status(200));
        work(&world, with(binary(sink.url(), "ä b.json"), json!({"headers": headers})));
        let request = only(&sink);
        assert_eq!((request.method.as_str(), request.body.as_slice()), ("PUT", b"A file.".as_slice()));
        assert_eq!(request.header("content-disposition"), disposition);
        assert_eq!(request.header("content-type"), Some(content_type));
        assert_eq!(request.header("content-length"), Some("7"));
    }
}

#[test]
fn a_range_of_a_file_is_sent_without_saying_so_and_the_same_again_in_a_retry() {
    let (world, origin) = (world_with(&[("a.txt", b"A file.")]), Origin::start());
    for (range, body) in [("bytes=2-4", "fil"), ("bytes=2-", "file."), ("bytes=0-6", "A file.")] {
        let again = status(503).header("Retry-After", "0");
        let sink = origin.script("/up", vec![again, status(200)]);
        let record =
            work(&world, with(binary(sink.url(), "a.txt"), json!({"headers": {"Range": range}, "retries": 1})));
        assert_eq!(record["status"], "complete", "{record}");
        let requests = sink.requests();
        let requests = &requests[requests.len() - 2..];
        for request in requests {
            assert_eq!((request.body.as_slice(), request.header("range")), (body.as_bytes(), None));
        }
    }
    let sink = origin.serve("/never", status(200));
    let record = work(&world, with(binary(sink.url(), "a.txt"), json!({"headers": {"Range": "bytes=3-7"}})));
    assert!(record["exception"]["description"].as_str().unwrap().contains("within the 7 bytes"), "{record}");
    let bad = with(binary(sink.url(), "a.txt"), json!({"headers": {"Range": "z"}}));
    world.haul_reading(&["add", "-"], &bad.to_string()).exits(2).says("bytes=a-b");
    assert_eq!(sink.log().len(), 0);
}

#[test]
fn a_file_that_cannot_be_sent_is_told_and_nothing_is_asked() {
    let (world, origin) = (world_with(&[("empty", b""), ("dir/f", b"x")]), Origin::start());
    let sink = origin.serve("/up", status(200));
    for (task, words) in [
        (upload(sink.url(), "none"), "file to upload does not exist"),
        (binary(sink.url(), "empty"), "has 0 length"),
        (upload(sink.url(), "dir"), "not a regular file"),
        (json!({"taskType": "MultiUploadTask", "url": sink.url(), "files": ["dir/f", "dir/g"]}), "does not exist"),
    ] {
        let id = world.add(&[with(task, json!({"retries": 3}))]).remove(0);
        world.run().exits(6);
        let record = world.show(&id);
        assert_eq!((&record["status"], &record["exception"]["type"]), (&json!("failed"), &json!("fileSystem")));
        assert!(record["exception"]["description"].as_str().unwrap().contains(words), "{record}");
    }
    assert_eq!(origin.log().len(), 0);
}

#[test]
fn no_file_outside_of_the_base_directory_is_sent() {
    let (world, origin) = (world_with(&[("a.txt", b"x")]), Origin::start());
    let sink = origin.serve("/up", status(200));
    let secret = world.path("secret");
    std::fs::write(&secret, "secret").unwrap();
    std::os::unix::fs::symlink(&secret, world.path("in/link")).unwrap();
    let up = json!({"taskType": "MultiUploadTask", "url": sink.url(), "files": ["../secret"]});
    world.haul_reading(&["add", "-"], &up.to_string()).exits(2);

    let record = work(&world, upload(sink.url(), "link"));

    assert_eq!(record["exception"]["type"], "policy", "{record}");
    assert_eq!(sink.log().len(), 0);
}

#[test]
fn a_file_that_changes_while_it_is_sent_ends_the_upload() {
    let content = bytes(1, 30_000_000);
    let (world, origin) = (world_with(&[("big", &content)]), Origin::start());
    let gate = Gate::new();
    let sink = origin.serve("/up", status(200).body_gate(100_000, &gate));
    let id = world.add(&[with(binary(sink.url(), "big"), json!({"retries": 2}))]).remove(0);
    let running = world.spawn(&["--json", "run", "--until-idle"]);
    gate.wait_for(1);

    let mut file = std::fs::File::options().append(true).open(world.path("in/big")).unwrap();
    std::io::Write::write_all(&mut file, b"more").unwrap();
    gate.open();

    running.finish().exits(6);
    let record = world.show(&id);
    assert!(record["exception"]["description"].as_str().unwrap().contains("source changed"), "{record}");
    assert_eq!((&record["notes"], sink.log().len()), (&json!(["source-changed"]), 0), "no whole request arrived");
}

#[test]
fn an_early_refusal_of_a_large_upload_is_seen_and_not_tried_again() {
    let content = bytes(1, 40_000_000);
    let (world, origin) = (world_with(&[("big", &content)]), Origin::start());
    let whole = content.len();
    for (number, refusal) in [
        status(413).body(b"too big").early(0),
        status(413).body(b"too big").early(2_000_000),
        status(413).body(b"too big").early(2_000_000).deaf_to_expect(),
    ]
    .into_iter()
    .enumerate()
    {
        let sink = origin.serve(&format!("/up{number}"), refusal);
        let record = work(&world, with(binary(sink.url(), "big"), json!({"retries": 3})));
        assert_eq!((&record["status"], &record["responseStatusCode"]), (&json!("failed"), &json!(413)), "{record}");
        assert!(only(&sink).body.len() < whole);
        let last = world.events().pop().unwrap();
        assert_eq!(last["responseBody"], "too big");
    }
}

#[test]
fn a_success_that_comes_before_the_whole_request_is_none() {
    let content = bytes(1, 40_000_000);
    let (world, origin) = (world_with(&[("big", &content)]), Origin::start());
    let sink = origin.serve("/up", status(200).early(1_000_000));

    let welcome = origin.serve("/welcome", status(413).early(1_000_000));

    let ok = work(&world, binary(sink.url(), "big"));
    let accepted = work(&world, with(binary(welcome.url(), "big"), json!({"acceptStatus": ["4xx"]})));
    let last = world.events().pop().unwrap();
    assert_eq!((&last["responseStatusCode"], &last["responseBody"]), (&json!(413), &json!("this is a 413")), "{last}");

    for record in [ok, accepted] {
        let ended = (&record["status"], &record["exception"]["type"]);
        assert_eq!(ended, (&json!("failed"), &json!("connection")), "{record}");
    }
}

#[test]
fn a_put_that_lost_its_answer_is_repeated_and_a_post_only_where_the_task_says_so() {
    let (world, origin) = (world_with(&[("a.txt", b"A file.")]), Origin::start());
    let fields = json!({"retries": 2, "fields": {"a": "1"}});
    let cases = [
        ("PUT", json!({}), 2, "complete"),
        ("POST", json!({}), 1, "failed"),
        ("PATCH", json!({}), 1, "failed"),
        ("POST", json!({"repeatable": true}), 2, "complete"),
        ("POST", json!({"headers": {"Idempotency-Key": "7"}}), 2, "complete"),
    ];
    for (number, (method, more, requests, ended)) in cases.into_iter().enumerate() {
        let sink = origin.script(&format!("/up{number}"), vec![silence(), status(200)]);
        let task = with(with(upload(sink.url(), "a.txt"), fields.clone()), json!({"httpRequestMethod": method}));
        let record = work(&world, with(task, more));
        assert_eq!((&record["status"], sink.log().len()), (&json!(ended), requests), "{method}: {record}");
        let doubt = record["exception"]["outcomeUnknown"] == true;
        assert_eq!(doubt, ended == "failed", "{record}");
        assert_eq!(record["notes"].to_string().contains("outcome-unknown"), doubt || requests == 2 && method == "POST");
        let boundaries: Vec<_> = sink.requests().iter().map(boundary_of).collect();
        assert!(boundaries.windows(2).all(|pair| pair[0] == pair[1]), "the same in every attempt: {boundaries:?}");
    }
}

#[test]
fn boundaries_differ_from_task_to_task() {
    let (world, origin) = (world_with(&[("a.txt", b"A file.")]), Origin::start());
    let sink = origin.serve("/up", status(200));
    world.add(&[upload(sink.url(), "a.txt"), upload(sink.url(), "a.txt")]);

    world.run().exits(0);

    let requests = sink.requests();
    assert_ne!(boundary_of(&requests[0]), boundary_of(&requests[1]));
}

#[test]
fn an_upload_is_redirected_with_its_body_or_not_at_all() {
    let (world, origin) = (world_with(&[("a.txt", b"A file.")]), Origin::start());
    let end = origin.serve("/end", status(200));
    for (code, ended, arrived) in
        [(307, "complete", 1), (308, "complete", 1), (303, "complete", 0), (302, "failed", 0), (301, "failed", 0)]
    {
        let start = origin.serve(&format!("/{code}"), redirect(code, "/end"));
        let before = end.log().len();
        let record = work(&world, upload(start.url(), "a.txt"));
        assert_eq!((&record["status"], end.log().len() - before), (&json!(ended), arrived), "{code}: {record}");
    }
    for request in end.requests() {
        assert_eq!(form_of(&request)[0].text(), "A file.");
    }
}

#[test]
fn credentials_are_refreshed_once_and_the_whole_form_is_sent_again() {
    let (world, origin) = (world_with(&[("a.txt", b"A file.")]), Origin::start());
    let token = origin.serve("/token", file(br#"{"access_token":"new","expires_in":60}"#));
    let sink = origin.script("/up", vec![status(401), status(200)]);
    let auth = json!({"accessToken": "old", "accessHeaders": {"Authorization": "Bearer {accessToken}"},
        "refreshToken": "again", "refreshUrl": token.url()});

    let record = work(&world, with(upload(sink.url(), "a.txt"), json!({"options": {"auth": auth}})));

    assert_eq!(record["status"], "complete", "{record}");
    let requests = sink.requests();
    let sent: Vec<_> = requests.iter().map(|request| request.header("authorization").unwrap()).collect();
    assert_eq!(sent, ["Bearer old", "Bearer new"]);
    assert_eq!(form_of(&requests[1])[0].text(), "A file.");
}

#[test]
fn a_large_upload_tells_its_progress_and_cannot_be_paused_but_cancelled() {
    let (world, origin) = (world_with(&[("big", b"")]), Origin::start());
    let big = std::fs::File::options().write(true).open(world.path("in/big")).unwrap();
    big.set_len(200_000_000).unwrap(); // more than sockets hold
    let gate = Gate::new();
    let sink = origin.serve("/up", status(200).body_gate(50_000_000, &gate));
    let task = with(upload(sink.url(), "big"), json!({"updates": "statusAndProgress"}));
    let id = world.add(&[task]).remove(0);
    let running = world.spawn(&["--json", "run"]);
    let between = |update: &Value| update["progress"].as_f64().is_some_and(|progress| progress > 0.2 && progress < 1.0);
    let told = running.wait_for_update(between);
    assert!(told["expectedFileSize"].as_u64().unwrap() > 40_000_000 && told["bytesDone"].as_u64().unwrap() > 0);

    world.haul(&["pause", &id]).exits(2).says("may not be paused");
    world.haul(&["cancel", &id]).exits(0);

    gate.open();
    origin.wait_for_no_connection();
    assert_eq!(world.show(&id)["status"], "canceled");
    assert_eq!(sink.log().len(), 0, "no whole request arrived");
}

#[test]
fn killed_in_the_middle_an_upload_is_sent_again_whole() {
    let content = bytes(1, 40_000_000);
    let (world, origin) = (world_with(&[("big", &content)]), Origin::start());
    let gate = Gate::new();
    let sink = origin.script("/up", vec![status(200).body_gate(1_000_000, &gate), status(200)]);
    let id = world.add(&[upload(sink.url(), "big")]).remove(0);
    let running = world.spawn(&["--json", "run"]);
    gate.wait_for(1);
    running.kill();
    gate.open();

    world.run().exits(0);

    let requests = sink.requests();
    assert_eq!(requests.len(), 1, "the first one never was whole");
    assert_same_bytes(&form_of(&requests[0])[0].body, &content);
    let record = world.show(&id);
    assert_eq!((&record["status"], &record["notes"]), (&json!("complete"), &json!([])), "{record}");
    assert!(world.final_events().values().all(|finals| *finals == ["complete"]));
}

#[test]
fn killed_after_the_whole_request_a_post_is_not_sent_again_in_silence() {
    let (world, origin) = (world_with(&[("a.txt", b"A file.")]), Origin::start());
    for (method, requests, ended) in [("POST", 1, "failed"), ("PUT", 2, "complete")] {
        let gate = Gate::new();
        let sink = origin.script(&format!("/{method}"), vec![status(200).head_gate(&gate), status(200)]);
        let more = json!({"httpRequestMethod": method, "retries": 3});
        let id = world.add(&[with(upload(sink.url(), "a.txt"), more)]).remove(0);
        let running = world.spawn(&["--json", "run"]);
        gate.wait_for(1);
        running.kill();

        world.run();

        let record = world.show(&id);
        assert_eq!((&record["status"], sink.log().len()), (&json!(ended), requests), "{method}: {record}");
        if method == "POST" {
            assert_eq!(record["notes"], json!(["outcome-unknown"]));
            world.haul(&["retry", &id]).exits(0);
            world.run().exits(0);
            assert_eq!(sink.log().len(), 2, "asked for, it is sent again");
        }
    }
}

#[test]
fn the_whole_answer_is_stored_where_the_task_says() {
    let (world, origin) = (world_with(&[("a.txt", b"A file.")]), Origin::start());
    let long = bytes(5, 300_000);
    let sink = origin.serve("/up", status(200).body(&long));

    let record = work(&world, with(upload(sink.url(), "a.txt"), json!({"responseFile": "out/answer.bin"})));
    let kept = work(&world, upload(sink.url(), "a.txt"));

    assert_same_bytes(&std::fs::read(world.path("in/out/answer.bin")).unwrap(), &long);
    assert_eq!(record["filePath"], json!(world.path("in/out/answer.bin").to_str().unwrap()));
    assert_eq!(world::names_in(&world.path("in/out")), ["answer.bin"]);
    assert_eq!(kept["notes"], json!(["response-truncated"]));
    let download = json!({"url": sink.url(), "responseFile": "x"});
    world.haul_reading(&["add", "-"], &download.to_string()).exits(2).says("`responseFile`");
}

#[test]
fn fields_may_be_as_long_as_other_contents_and_the_file_s_field_is_named_as_browsers_do() {
    let (world, origin) = (world_with(&[("a.txt", b"A file.")]), Origin::start());
    let sink = origin.serve("/up", status(200));
    let thumb = "x".repeat(1_000_000);

    let record = work(
        &world,
        with(upload(sink.url(), "a.txt"), json!({"fields": {"thumb": thumb}, "fileField": "two\r\nlines"})),
    );

    assert_eq!(record["status"], "complete", "{record}");
    let parts = form_of(&only(&sink));
    assert_eq!((parts[0].text().len(), parts[1].name.as_str()), (1_000_000, "two\r\nlines"));
    let long = with(upload(sink.url(), "a.txt"), json!({"fields": {"a": "x".repeat(1 << 20)}}));
    world.haul_reading(&["add", "-"], &long.to_string()).exits(2).says("`fields`");
}

#[test]
fn a_speed_limit_of_the_task_holds_for_what_it_sends() {
    let content = bytes(1, 600_000);
    let (world, origin) = (world_with(&[("f", &content)]), Origin::start());
    let sink = origin.serve("/up", status(200));
    let began = std::time::Instant::now();

    let record = work(&world, with(binary(sink.url(), "f"), json!({"limitRate": 600_000})));

    assert_eq!(record["status"], "complete");
    assert_same_bytes(&only(&sink).body, &content);
    assert!(began.elapsed().as_millis() > 700, "{:?}", began.elapsed());
}

#[test]
fn a_file_that_changes_before_it_is_sent_or_between_two_attempts_is_noted() {
    let (world, origin) = (world_with(&[("a.txt", b"one")]), Origin::start());
    let sink = origin.script("/up", vec![status(503).header("Retry-After", "0"), status(200)]);
    let path = world.path("in/a.txt");

    let id = world.add(&[with(binary(sink.url(), "a.txt"), json!({"retries": 1}))]).remove(0);
    world.run();
    assert_eq!(world.show(&id)["notes"], json!([]), "the same in both attempts");

    let id = world.add(&[binary(sink.url(), "a.txt")]).remove(0);
    std::fs::write(&path, "three").unwrap();
    world.run();
    let record = world.show(&id);
    assert_eq!((&record["status"], &record["notes"]), (&json!("complete"), &json!(["source-changed"])), "{record}");
    assert_eq!(sink.requests()[2].body, b"three");
}

#[test]
fn a_form_may_have_parts_from_memory_headers_of_parts_and_fields_after_its_files() {
    let (world, origin) = (world_with(&[("a.txt", b"A file.")]), Origin::start());
    let sink = origin.serve("/up", status(200));
    let files = json!([
        {"field": "meta", "content": "{\"a\":1}", "headers": {"X-Part": "1"}},
        {"field": "doc", "filename": "a.txt", "headers": {"X-Token": "canary-part"}},
        {"field": "pic", "filename": "p/q.png", "contentBase64": "AP8="},
        {"field": "raw", "filename": "r", "mimeType": "x/y", "content": ""},
        {"field": "last", "content": "été"},
    ]);
    let task = json!({"taskType": "MultiUploadTask", "url": sink.url(), "files": files, "fields": {"first": "1"}});

    let record = work(&world, task);

    assert_eq!(record["status"], "complete", "{record}");
    assert_eq!(record["files"][1]["headers"], json!({"X-Token": "***"}));
    let parts = form_of(&only(&sink));
    let told: Vec<_> =
        parts.iter().map(|part| (part.name.as_str(), part.filename.as_deref(), part.content_type.as_deref())).collect();
    let expected = [
        ("first", None, None),
        ("meta", None, Some("application/json; charset=utf-8")),
        ("doc", Some("a.txt"), Some("text/plain")),
        ("pic", Some("p/q.png"), Some("image/png")),
        ("raw", Some("r"), Some("x/y")),
        ("last", None, Some("text/plain; charset=utf-8")),
    ];
    assert_eq!(told, expected);
    assert_eq!((parts[2].text(), &parts[3].body[..], parts[5].text()), ("A file.", &b"\0\xff"[..], "été"));
    let own = |part: usize| parts[part].own.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
    assert_eq!((own(1), own(2)), (vec!["x-part=1".to_owned()], vec!["x-token=canary-part".to_owned()]));
    world.assert_home_without("canary-part");
}

#[test]
fn parts_that_cannot_be_sent_are_refused_by_their_number() {
    let world = World::new();
    let add = |part: Value| {
        let task = json!({"taskType": "MultiUploadTask", "url": "http://h/", "files": ["a", part]});
        world.haul_reading(&["add", "-"], &task.to_string()).exits(2)
    };
    add(json!({"field": "f", "content": "x", "headers": {"Content-Type": "a/b"}})).says("number 2 has the header");
    add(json!({"field": "f", "content": "x", "headers": {"X": "a\r\nb"}})).says("cannot be sent");
    add(json!({"field": "f", "content": "x", "headers": {"X": "a\u{1}b"}})).says("cannot be sent");
    add(json!({"field": "f", "content": "x", "headers": {"X": "a\u{7f}b"}})).says("cannot be sent");
    add(json!({"field": "f", "content": "x", "contentBase64": "AP8="}))
        .says("must have its content once, and number 2");
    add(json!({"field": "f", "content": "", "contentBase64": ""})).says("must have its content once");
    for name in ["a\0b", "a\u{1b}b"] {
        add(json!({"field": name, "content": "x"}))
            .says("form fields without control characters")
            .says("number 2 has some");
    }
    add(json!({"field": "f", "content": "x".repeat(1 << 21)})).says("at most 1048576 bytes");
    add(json!({"field": "f", "contentBase64": "?"})).says("base64");
    add(json!({"field": "f", "filename": "../up"})).says("number 2");
    add(json!({"field": "f", "colour": "x"})).says("colour");
}

#[test]
fn a_file_is_sent_under_the_name_that_it_is_given() {
    let (world, origin) = (world_with(&[("a", b"A file."), ("b.png", b"B")]), Origin::start());
    let sink = origin.serve("/up", status(200));
    let config = world.path("config/haul/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}root = \"/\"\n")).unwrap();
    let packed = format!(":::named.txt::::::file://{}:::", world.path("in/a").display());
    let uri = json!({"taskType": "UriUploadTask", "url": sink.url(), "filename": packed});

    let record = work(&world, uri.clone());
    work(&world, with(uri, json!({"post": "binary"})));
    let several =
        json!({"taskType": "MultiUploadTask", "url": sink.url(), "files": ["a", "b.png"], "sentNames": ["", "c.txt"]});
    work(&world, several);

    assert_eq!((&record["sentNames"], &record["mimeType"]), (&json!(["named.txt"]), &json!("text/plain")), "{record}");
    let requests = sink.requests();
    let names = |seen: &Seen| form_of(seen).into_iter().map(|part| part.filename.unwrap()).collect::<Vec<_>>();
    assert_eq!(
        (names(&requests[0]), names(&requests[2])),
        (vec!["named.txt".into()], vec!["a".into(), "c.txt".into()])
    );
    assert_eq!(requests[1].header("content-disposition"), Some("attachment; filename=\"named.txt\""));
    assert_eq!(form_of(&requests[2])[1].content_type.as_deref(), Some("text/plain"));
    for wrong in [json!(["x", "y"]), json!(["a/b"])] {
        let task = with(upload(sink.url(), "a"), json!({"sentNames": wrong}));
        world.haul_reading(&["add", "-"], &task.to_string()).exits(2).says("`sentNames` must");
    }
}

#[test]
fn the_record_of_an_upload_has_the_media_type_of_its_file() {
    let (world, origin) = (world_with(&[("a.png", b"A file."), ("b", b"B")]), Origin::start());
    let sink = origin.serve("/up", status(200));
    let of = |name: &str, more: Value| work(&world, with(upload(sink.url(), name), more))["mimeType"].clone();

    assert_eq!(of("a.png", json!({})), "image/png");
    assert_eq!(of("b", json!({})), "application/octet-stream");
    assert_eq!(of("a.png", json!({"mimeType": "x/y"})), "x/y");
}

#[test]
fn names_of_parts_made_of_text_are_escaped_like_those_of_files() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/up", status(200));
    let part = json!({"field": "f", "filename": "x\r\n.txt", "content": "x"});

    work(&world, json!({"taskType": "MultiUploadTask", "url": sink.url(), "files": [part]}));

    let body = String::from_utf8_lossy(&only(&sink).body).into_owned();
    assert!(body.contains("filename=\"x%0D%0A.txt\""), "{body}");
}

#[test]
fn a_post_that_may_have_been_done_is_not_repeated_and_the_record_says_so() {
    let (world, origin) = (world_with(&[("a.txt", b"A file.")]), Origin::start());
    let noted = |record: &Value| record["notes"].to_string().contains("outcome-unknown");
    for (code, doubt) in [(500, true), (502, true), (504, true), (400, false), (501, false)] {
        let sink = origin.serve(&format!("/{code}"), status(code));
        let data = json!({"taskType": "DataTask", "url": sink.url(), "post": "x", "retries": 3});
        for task in [with(upload(sink.url(), "a.txt"), json!({"retries": 3})), data] {
            let record = work(&world, task);
            assert_eq!((&record["status"], noted(&record)), (&json!("failed"), doubt), "{record}");
        }
        assert_eq!(sink.log().len(), 2);
    }
    let sink = origin.script("/again", vec![status(500), status(200)]);
    let record = work(&world, with(binary(sink.url(), "a.txt"), json!({"retries": 1})));
    assert_eq!((&record["status"], noted(&record)), (&json!("complete"), false), "a PUT does no harm twice: {record}");
}
