//! Task JSON: background_downloader's is accepted as it is, ours in every form, and records give back what was given.

use serde_json::{Value, json};

use crate::support::*;

/// A task as background_downloader writes it: integers for enums, every key present.
fn written_by_background_downloader(url: &str) -> Value {
    json!({
        "url": url, "headers": {"X-One": "1"}, "httpRequestMethod": "GET", "post": null, "retries": 2,
        "retriesRemaining": 2, "creationTime": 1_700_000_000_000_u64, "taskId": "1417368401", "filename": "f.txt",
        "directory": "dir", "baseDirectory": 0, "group": "films", "updates": 3, "requiresWiFi": false,
        "allowPause": true, "priority": 7, "metaData": "meta", "displayName": "A film", "options": null,
        "taskType": "DownloadTask"
    })
}

#[test]
fn a_task_of_background_downloader_is_accepted_as_it_is() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));

    let ids = world.add(&[written_by_background_downloader(film.url())]);
    let before = world.show("1417368401");
    let outcome = world.run().exits(0);

    assert_eq!(ids, ["1417368401"]);
    assert_eq!(outcome.statuses(), "running > complete", "enqueued was told when it was added");
    let path = world.path("data/haul/documents/dir/f.txt");
    assert_eq!(std::fs::read(&path).unwrap(), b"x");
    assert_eq!(film.requests()[0].header("x-one"), Some("1"));
    for (key, value) in [
        ("status", json!("enqueued")),
        ("taskType", json!("DownloadTask")),
        ("updates", json!("statusAndProgress")),
        ("baseDirectory", json!("documents")),
        ("group", json!("films")),
        ("priority", json!(7)),
        ("metaData", json!("meta")),
        ("displayName", json!("A film")),
        ("retries", json!(2)),
        ("retriesRemaining", json!(2)),
        ("allowPause", json!(true)),
        ("creationTime", json!(1_700_000_000_000_u64)),
        ("headers", json!({"X-One": "1"})),
    ] {
        assert_eq!(before[key], value, "{key} of {before}");
    }
    let after = world.show("1417368401");
    assert_eq!(after["status"], "complete");
    assert_eq!(after["progress"], 1.0);
    assert_eq!(after["filePath"], path.to_str().unwrap());
}

#[test]
fn doubles_and_missing_keys_are_tolerated() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));

    let ids = world.add(&[json!({
        "url": film.url(), "retries": 1.0, "priority": 5.0, "updates": 1.0, "baseDirectory": 1.0,
        "creationTime": 1.7e12, "options": {"beforeTaskStartRawHandle": 123, "onTaskFinishedRawHandle": null}
    })]);
    world.run().exits(0);

    assert_eq!(names_below(&world, "temporary"), ["f"]);
    let record = world.show(&ids[0]);
    assert_eq!(record["retries"], 1);
    assert_eq!(record["creationTime"], 1_700_000_000_000_u64);
}

#[test]
fn base_directories_are_numbers_or_names() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    for (given, directory) in [
        (json!(0), "documents"),
        (json!(1), "temporary"),
        (json!(2), "support"),
        (json!(3), "library"),
        (json!("applicationDocuments"), "documents"),
        (json!("temporary"), "temporary"),
        (json!("applicationSupport"), "support"),
        (json!("applicationLibrary"), "library"),
    ] {
        world.add(&[json!({"url": film.url(), "baseDirectory": given})]);
        world.run().exits(0);
        assert!(!names_below(&world, directory).is_empty(), "{given}");
        std::fs::remove_dir_all(world.path("data/haul").join(directory)).unwrap();
    }
}

#[test]
fn a_named_directory_comes_from_the_configuration_and_root_needs_a_grant() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let inbox = world.path("inbox");
    let absolute = world.path("anywhere");
    let to_root = json!({"url": film.url(), "baseDirectory": 4, "directory": absolute.to_str().unwrap()});

    world.haul_reading(&["add", "-"], &to_root.to_string()).exits(2).says("`baseDirectory`").says("root = ");
    let uri = json!({"url": film.url(), "taskType": "UriDownloadTask", "directory": format!("file://{}", absolute.display())});
    world.haul_reading(&["add", "-"], &uri.to_string()).exits(2).says("`baseDirectory`").says("root = ");
    assert!(!absolute.exists());

    let config = format!("[directories]\ninbox = {inbox:?}\nroot = \"/\"\n");
    std::fs::write(world.path("config/haul/config.toml"), config).unwrap();
    let mut again = to_root;
    again["taskId"] = json!("again");
    world.add(&[json!({"url": film.url(), "baseDirectory": "inbox"}), again]);
    world.run();

    assert_eq!(std::fs::read(inbox.join("f")).unwrap(), b"x");
    assert_eq!(std::fs::read(absolute.join("f")).unwrap(), b"x");
    let unknown = json!({"url": film.url(), "baseDirectory": "outbox"});
    world.haul_reading(&["add", "-"], &unknown.to_string()).exits(2).says("outbox");
}

#[test]
fn a_parallel_download_without_a_validator_is_one_stream() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"the answer"));
    world.add(&[json!({"url": film.url(), "taskType": "ParallelDownloadTask"})]);
    world.run().exits(0);
    assert_eq!(std::fs::read(world.path("in/f")).unwrap(), b"the answer");
}

#[test]
fn query_parameters_are_appended_as_they_are() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));

    world.add(&[
        json!({"url": film.url(), "urlQueryParameters": {"q": "with%20space", "r": "2"}}),
        json!({"url": format!("{}?a=1", film.url()), "urlQueryParameters": {"b": "2"}}),
    ]);
    world.haul(&["run", "--until-idle", "-j", "1"]).exits(0);

    assert_eq!(film.log(), ["GET /f?q=with%20space&r=2", "GET /f?a=1&b=2"]);
}

#[test]
fn a_leading_slash_of_a_directory_is_nothing() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));

    world.add(&[json!({"url": film.url(), "directory": "/sub/dir"})]);
    world.run().exits(0);

    assert_eq!(std::fs::read(world.path("in/sub/dir/f")).unwrap(), b"x");
}

#[test]
fn posts_of_every_shape_are_sent_as_text() {
    let (world, origin) = (World::new(), Origin::start());
    let posts = [
        (json!(""), ""),
        (json!("text"), "text"),
        (json!({"key": "value"}), "{\"key\":\"value\"}"),
        (json!([1, 2, 3]), "[1,2,3]"),
    ];
    let echoes: Vec<_> = (0..posts.len()).map(|number| origin.serve(&format!("/{number}"), file(b"x"))).collect();
    let tasks: Vec<_> =
        posts.iter().zip(&echoes).map(|((post, _), echo)| json!({"url": echo.url(), "post": post})).collect();

    world.add(&tasks);
    world.run().exits(0);

    for ((post, expected), echo) in posts.iter().zip(&echoes) {
        let request = &echo.requests()[0];
        assert_eq!(request.method, "POST", "{post}");
        assert_eq!(String::from_utf8_lossy(&request.body), *expected, "{post}");
    }
}

#[test]
fn an_object_an_array_and_lines_are_all_task_files() {
    let world = World::new();
    let task = |id: &str| json!({"url": "http://127.0.0.1:9/f", "taskId": id});
    let pretty = serde_json::to_string_pretty(&task("one")).unwrap();
    let one = world.write("one.json", pretty);
    let two = world.write("two.json", json!([task("two"), task("three")]).to_string());
    let lines = world.write("three.jsonl", format!("{}\n\n{}\n", task("four"), task("five")));
    let path = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();

    let outcome = world.haul(&["add", &path(one), &path(two), &path(lines)]).exits(0);

    assert_eq!(outcome.stdout, "one\ntwo\nthree\nfour\nfive\n");
    let records = world.haul_reading(&["--json", "add", "-"], &task("six").to_string()).exits(0).json();
    assert_eq!(records[0]["taskId"], "six");
    assert_eq!(world.list().len(), 6);
}

#[test]
fn what_json_does_not_say_is_as_documented() {
    let world = World::new();

    let ids = world.add(&[json!({"url": "http://127.0.0.1:9/f"})]);

    let record = world.show(&ids[0]);
    for (key, value) in [
        ("taskType", json!("DownloadTask")),
        ("httpRequestMethod", json!("GET")),
        ("group", json!("default")),
        ("retries", json!(0)),
        ("updates", json!("status")),
        ("priority", json!(5)),
        ("baseDirectory", json!("downloads")),
        ("directory", json!("")),
        ("requiresWiFi", json!(false)),
        ("metaData", json!("")),
        ("status", json!("enqueued")),
        ("waiting", record["waiting"].clone()),
    ] {
        assert_eq!(record[key], value, "{key} of {record}");
    }
    let created = record["creationTime"].as_u64().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert!(now - u128::from(created) < 60_000, "{created}");
}

#[test]
fn relative_times_count_from_now() {
    let world = World::new();
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let before = now();

    let task = json!({"url": "http://127.0.0.1:9/f", "notBefore": "+1h", "notAfter": "+2h"});
    let ids = world.add(&[task]);

    let record = world.show(&ids[0]);
    assert_eq!(record["waiting"]["reason"], "not-before", "{record}");
    for (key, hours) in [("notBefore", 1), ("notAfter", 2)] {
        let at = u128::from(haul::config::time_ms(record[key].as_str().unwrap(), 0).unwrap());
        let least = before + hours * 3_600_000;
        assert!((least..=now() + hours * 3_600_000).contains(&at), "{key}: {at}, not {least}");
    }
}

#[test]
fn extra_keys_are_kept_where_they_belong() {
    let world = World::new();

    let ids = world.add(&[json!({"url": "http://127.0.0.1:9/f", "extra": {"my-key": "my value"}})]);

    assert_eq!(world.show(&ids[0])["extra"]["my-key"], "my value");
}

#[test]
fn a_record_of_a_task_that_is_over_is_not_done_once_more_in_silence() {
    let world = World::new();
    for (key, status) in [("status", json!(2)), ("status", json!("failed")), ("taskStatus", json!(5.0))] {
        let record = json!({"url": "http://127.0.0.1:9/f", key: status}).to_string();
        world.haul_reading(&["add", "-"], &record).exits(2).says("so the task is over: leave it out");
    }
    world.add(&[json!({"url": "http://127.0.0.1:9/f", "status": 7})]);
    // Updates have the task in them.
    let task = json!({"url": "http://127.0.0.1:9/f", "taskId": "inside", "taskType": "DownloadTask"});
    world.add(&[json!({"task": task, "taskStatus": 0, "exception": null})]);
    assert_eq!(world.show("inside")["status"], "enqueued");
    let task = json!({"url": "http://127.0.0.1:9/f", "taskId": "ended", "taskType": "DownloadTask"});
    for over in [json!({"task": task, "taskStatus": 2}), json!({"task": task, "progress": -1.0})] {
        world.haul_reading(&["add", "-"], &over.to_string()).exits(2).says("so the task is over");
    }
    assert_eq!(world.list().len(), 2);
}

#[test]
fn an_international_host_is_stored_as_it_is_asked_for() {
    let world = World::new();
    world.add(&[json!({"url": "http://münchen.invalid/ü", "taskId": "t", "mirrors": ["https://bücher.invalid"]})]);
    let stored = world.show("t");
    assert_eq!(stored["url"], "http://xn--mnchen-3ya.invalid/%C3%BC");
    assert_eq!(stored["mirrors"], json!(["https://xn--bcher-kva.invalid"]));
}

#[test]
fn what_a_task_of_its_type_does_not_have_is_refused_by_name() {
    let world = World::new();
    let (data, upload) = (json!({"taskType": "DataTask"}), json!({"taskType": "UploadTask", "filename": "f"}));
    let several = json!({"taskType": "MultiUploadTask", "files": ["f"]});
    let checksum = format!("sha-256={}", "0".repeat(64));
    let cases = [
        (&upload, "files", json!(["f", "g"])),
        (&upload, "checksum", json!(checksum)),
        (&upload, "mirrors", json!(["http://127.0.0.1:9/m"])),
        (&data, "checksum", json!(checksum)),
        (&data, "fields", json!({"a": "b"})),
        (&data, "files", json!(["f"])),
        (&data, "urls", json!(["http://127.0.0.1:9/m"])),
        (&data, "chunks", json!(4)),
        (&data, "contentType", json!("a/b")),
        (&several, "fileField", json!("q")),
        (&several, "mimeType", json!("a/b")),
        (&Value::Null, "fields", json!({"a": "b"})),
        (&Value::Null, "fileField", json!("x")),
    ];
    for (base, field, value) in cases {
        let mut task = if base.is_null() { json!({}) } else { base.clone() };
        (task["url"], task[field]) = (json!("http://127.0.0.1:9/f"), value);
        world.haul_reading(&["add", "-"], &task.to_string()).exits(2).says(&format!("`{field}`"));
    }
}

#[test]
fn what_is_shown_of_a_task_of_any_type_is_taken_again() {
    let world = World::new();
    let url = "http://127.0.0.1:9/f";
    let tasks = [
        json!({"url": url}),
        json!({"url": url, "post": "x"}),
        json!({"taskType": "ParallelDownloadTask", "url": url}),
        json!({"taskType": "UploadTask", "url": url, "filename": "f", "fields": {}, "mimeType": "", "files": null, "checksum": null}),
        json!({"taskType": "UploadTask", "url": url, "filename": "f", "post": "binary", "mirrors": [], "chunks": 1}),
        json!({"taskType": "MultiUploadTask", "url": url, "files": ["f"], "fileField": "file"}),
        json!({"taskType": "MultiUploadTask", "url": url, "filename": "[\"f\"]", "fileField": "[\"a\"]", "mimeType": "[\"\"]"}),
        json!({"taskType": "DataTask", "url": url, "fields": {}, "fileField": "", "contentType": null}),
        json!({"taskType": "DataTask", "url": url, "post": "x", "responseFile": "r"}),
    ];
    for id in world.add(&tasks) {
        let shown = world.haul(&["show", "--json", &id]).exits(0).stdout;
        world.haul_reading(&["add", "-", "--if-exists", "replace"], &shown).exits(0);
    }
}

#[test]
fn what_no_task_can_have_is_refused() {
    let world = World::new();
    for (more, sentence) in [
        (json!({"retriesRemaining": -1}), "`retriesRemaining` must be 0 to 0, not -1"),
        (json!({"retries": 2, "retriesRemaining": 3}), "`retriesRemaining` must be 0 to 2, not 3"),
        (json!({"taskType": "DataTask", "updates": "progress"}), "`updates` must be `status` or `none`"),
        (json!({"taskType": "DataTask", "updates": 3}), "`updates` must be `status` or `none`"),
        (json!({"scope": "../x"}), "`scope` must be names"),
        (json!({"notBefore": "+999999999d"}), "`notBefore` must be a time such as"),
        (
            json!({"notBefore": 253_402_300_800_000_u64}),
            "`notBefore` must be a time before the year 10000, not `253402300800000`",
        ),
    ] {
        let mut task = json!({"url": "http://127.0.0.1:9/f"});
        task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.haul_reading(&["add", "-"], &task.to_string()).exits(2).says(sentence);
    }
    assert_eq!(world.list().len(), 0);
}

#[test]
fn an_id_is_used_once() {
    let world = World::new();
    let task = json!({"url": "http://127.0.0.1:9/f", "taskId": "one"});
    world.add(std::slice::from_ref(&task));

    let other = json!({"url": "http://127.0.0.1:9/other", "taskId": "one"}).to_string();
    let only_url = || {
        let records = world.list();
        assert_eq!(records.len(), 1);
        records[0]["url"].as_str().unwrap().to_owned()
    };

    world.haul_reading(&["add", "-"], &other).exits(2).says("--if-exists");
    assert_eq!(only_url(), "http://127.0.0.1:9/f", "the first stays what it was");
    let outcome = world.haul_reading(&["add", "-", "--if-exists", "return-existing"], &other).exits(0);
    assert_eq!(outcome.stdout, "one\n");
    assert_eq!(only_url(), "http://127.0.0.1:9/f");
    for refused in [json!({"url": "no url", "taskId": "one"}).to_string(), format!("{other}\n{other}")] {
        world.haul_reading(&["add", "-", "--if-exists", "replace"], &refused).exits(2);
        assert_eq!(world.list()[0]["status"], "enqueued", "what is refused takes nobody's place");
    }
    world.haul_reading(&["add", "-", "--if-exists", "replace"], &other).exits(0);
    assert_eq!(only_url(), "http://127.0.0.1:9/other");
}

#[test]
fn without_a_configuration_downloads_go_to_the_users_directory() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    std::fs::remove_file(world.path("config/haul/config.toml")).unwrap();
    let directories = "XDG_DESKTOP_DIR=\"$HOME/Desk\"\nXDG_DOWNLOAD_DIR=\"$HOME/Fetched\"\n";
    std::fs::write(world.path("config/user-dirs.dirs"), directories).unwrap();

    world.add(&[json!({"url": film.url()})]);
    world.run().exits(0);

    assert_eq!(std::fs::read(world.path("user/Fetched/f")).unwrap(), b"x");
}

/// Names in one of background_downloader's base directories.
fn names_below(world: &World, directory: &str) -> Vec<String> {
    world::names_in(&world.path("data/haul").join(directory))
}

#[test]
fn a_file_uri_means_its_path_and_is_refused_outside_of_what_root_grants() {
    let (world, origin) = (World::new(), Origin::start());
    let (film, sink) = (origin.serve("/f", file(b"film")), origin.serve("/up", status(200)));
    let granted = world.path("granted");
    let config = world.path("config/haul/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}root = {granted:?}\n")).unwrap();
    let uri = |below: &str| format!("file://{}", world.path(below).display());

    world.add(&[
        json!({"taskType": "UriDownloadTask", "url": film.url(), "taskId": "d", "directory": uri("granted/in"), "filename": "x"}),
    ]);
    world.run().exits(0);
    world.add(&[
        json!({"taskType": "UriUploadTask", "url": sink.url(), "taskId": "u", "filename": uri("granted/in/x")}),
        json!({"taskType": "UploadTask", "url": sink.url(), "baseDirectory": 4, "directory": granted.join("in"), "filename": "x"}),
        json!({"taskType": "MultiUploadTask", "url": sink.url(), "files": [uri("granted/in/x")]}),
    ]);
    world.run().exits(0);

    assert_eq!(std::fs::read(granted.join("in/x")).unwrap(), b"film");
    assert_eq!(world.show("d")["filePath"], granted.join("in/x").to_str().unwrap());
    assert_eq!(sink.requests().len(), 3);
    for (key, name) in [("directory", "elsewhere"), ("directory", "granted-too"), ("directory", "granted/../x")] {
        let task = json!({"taskType": "UriDownloadTask", "url": film.url(), key: uri(name), "filename": "x"});
        let outcome = world.haul_reading(&["add", "-"], &task.to_string()).exits(2);
        outcome.says(granted.to_str().unwrap());
    }
    let task = json!({"taskType": "UriUploadTask", "url": sink.url(), "filename": uri("secret/key")});
    world.haul_reading(&["add", "-"], &task.to_string()).exits(2).says(world.path("secret/key").to_str().unwrap());
}
