//! What is understood, what is refused with which words, and that writing and reading are inverses.

mod round_trips;

use serde_json::{Value, json};

use super::*;
use crate::error::{Failure, FailureKind};
use crate::event::{Hop, Protocol};
use crate::mask::MASK;
use crate::task::{
    Auth, BOUNDARY, Body, FilePart, IN_TASK, NOTIFICATION, OWN, OnConflict, PROFILE, Pairs, RESUMABLE, ResumeRecord,
    SENT_NAMES, SOURCES, Status, TaskType, Updates, WITHOUT,
};

fn read_ok(json: Value) -> Task {
    match read(&json, &Defaults::default()) {
        Ok(task) => task,
        Err(problems) => panic!("{json}: {problems:?}"),
    }
}

/// The problems as the person sees them.
fn problems(json: Value) -> Vec<String> {
    let problems = read(&json, &Defaults::default()).expect_err("has problems");
    problems.iter().map(ToString::to_string).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Pairs {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn the_example_of_the_interface_is_read() {
    let text = r#"{
        "taskType":"DownloadTask","taskId":"t1","url":"https://h/f","urlQueryParameters":{"q":"pizza"},
        "headers":{"k":"v"},"httpRequestMethod":"GET","post":null,"filename":"?","directory":"sub/dir",
        "baseDirectory":"downloads","group":"default","updates":"statusAndProgress","requiresWiFi":false,"retries":5,
        "allowPause":true,"priority":5,"metaData":"","displayName":"","creationTime":1700000000000,
        "checksum":"sha-256=00","mirrors":["https://m/f"],"chunks":4,"onConflict":"unique",
        "notBefore":"2026-12-01T00:00:00Z","notAfter":null,"limitRate":"10M",
        "timeouts":{"connect":"30s","idle":"60s","total":null,"head":1500},"maxRedirects":10,"acceptStatus":["2xx"],
        "callbacks":["name-or-path"],"scope":"cancel-scope",
        "options":{"auth":{"accessToken":"a","accessHeaders":{"Authorization":"Bearer {accessToken}"},
            "accessQueryParams":{},"accessTokenExpiryTime":1700000000000,"refreshToken":"r","refreshHeaders":{},
            "refreshQueryParams":{},"refreshUrl":"https://h/r"}},
        "extra":{"mine":"1","list":[1,2],"flag":true}
    }"#;
    let task = read_ok(serde_json::from_str(text).unwrap());
    assert_eq!(task.url_query_parameters, pairs(&[("q", "pizza")]));
    assert_eq!(task.updates, Updates::StatusAndProgress);
    assert_eq!((task.retries, task.retries_remaining), (5, 5));
    assert_eq!(task.not_before, Some(1_796_083_200_000));
    assert_eq!(task.not_after, None);
    assert_eq!(task.limit_rate, Some(10 << 20));
    assert_eq!(task.timeouts.connect_ms, Some(30_000));
    assert_eq!(task.timeouts.head_ms, Some(1_500));
    assert_eq!(task.timeouts.total_ms, None);
    assert_eq!(task.accept_status, [(200, 299)]);
    assert_eq!(task.on_conflict, Some(OnConflict::Unique));
    assert_eq!(task.extra, pairs(&[("mine", "1"), ("list", "[1,2]"), ("flag", "true")]));
    let auth = task.auth.unwrap();
    assert_eq!(auth.access_token_expiry_time, Some(1_700_000_000_000));
    assert_eq!(auth.refresh_url.as_deref(), Some("https://h/r"));
}

#[test]
fn background_downloaders_own_json_is_read() {
    let task = read_ok(json!({
        "url":"https://h/f?a=1","headers":{},"httpRequestMethod":"GET","post":null,"retries":3.0,"retriesRemaining":1,
        "creationTime":1_700_000_000_000.0,"taskId":"42","filename":"f.bin","directory":"d","baseDirectory":2,
        "group":"g","updates":3,"requiresWiFi":true,"allowPause":false,"priority":0.0,"metaData":"m",
        "displayName":"n","options":{"beforeTaskStartRawHandle":123_456,"onTaskStartRawHandle":-1,
        "onTaskFinishedRawHandle":null,"auth":{"onAuthRawHandle":7,"accessToken":"x"}},"taskType":"DownloadTask",
        "status":2,"progress":1.0,"expectedFileSize":-1,"exception":null
    }));
    assert_eq!(task.base_directory, "support");
    assert_eq!(task.updates, Updates::StatusAndProgress);
    assert_eq!((task.retries, task.retries_remaining, task.priority), (3, 1, 0));
    assert_eq!(task.creation_time, 1_700_000_000_000);
    assert_eq!(task.auth.unwrap().access_token.as_deref(), Some("x"));
}

#[test]
fn the_smallest_task_has_the_defaults() {
    assert_eq!(read_ok(json!({"url":"https://h/"})), Task::download("https://h/"));
    let defaults = Defaults { task: Task { retries: 3, group: "cli".into(), ..Task::default() }, now_ms: 1_000 };
    let task = read(&json!({"url":"u","group":null,"notBefore":"+2s"}), &defaults).unwrap();
    assert_eq!((task.retries, task.retries_remaining, task.group.as_str()), (3, 3, "cli"));
    assert_eq!(task.not_before, Some(3_000));
}

#[test]
fn all_problems_are_told_at_once_with_their_fields() {
    let told = problems(json!({
        "url": 5, "colour": "red", "requires_wifi": true, "retries": "3", "priority": 1.5, "chunks": -1,
        "updates": 9, "baseDirectory": 7, "taskType": "PizzaTask", "headers": {"a": {"b": 1}}, "mirrors": "x",
        "timeouts": {"idle": "soon", "nap": 1}, "options": {"auth": {"accesstoken": "x"}, "onDone": 1},
        "notBefore": "tomorrow", "limitRate": "fast", "acceptStatus": ["2xx", "abc"], "allowPause": "yes",
        "onConflict": "overwrite", "post": 5, "callbacks": [1]
    }));
    for words in [
        "`url` must be text, not a number",
        "`colour` is no field of a task",
        "`requires_wifi` is no field of a task; `requiresWiFi` is",
        "`retries` must be a whole number, not text",
        "`priority` must be a whole number, not 1.5",
        "`chunks` cannot be -1",
        "`updates` must be one of `none`, `status`, `progress`, `statusAndProgress`, not `9`",
        "`taskType` must be one of `DownloadTask`, ",
        "`headers.a` must be text, not an object",
        "`mirrors` must be a list of texts, not text",
        "`timeouts.idle` must be a duration such as",
        "`timeouts.nap` is no field of the time limits",
        "`options.auth.accesstoken` is no field of credentials; `accessToken` is",
        "`options.onDone` is no field of a task's options",
        "`notBefore` must be a time such as",
        "`limitRate` must be a number of bytes such as",
        "`acceptStatus` must be status codes such as `2xx`, `304` or `400-403`, not `abc`",
        "`allowPause` must be true or false, not text",
        "`onConflict` must be one of `unique`, `replace`, `fail`, `skip`, not `overwrite`",
        "`post` must be text, a list or an object, not a number",
        "`callbacks` must be a list of texts only",
        "`baseDirectory` must be one of `documents`, ",
    ] {
        assert!(told.iter().any(|line| line.starts_with(words)), "{words}\n{told:#?}");
    }
    assert_eq!(told.len(), 22, "{told:#?}");
    assert_eq!(problems(json!([])), ["`task` must be an object, not a list"]);
    assert_eq!(problems(json!({"colour": null})), ["`colour` is no field of a task"]);
}

#[test]
fn bodies_are_read() {
    for (given, body, content_type) in [
        (json!({"post":"text"}), Body::Bytes(b"text".into()), None),
        (json!({"post":""}), Body::Bytes(Vec::new()), None),
        (json!({"post":{"b":1,"a":[2]}}), Body::Bytes(br#"{"b":1,"a":[2]}"#.into()), None),
        (json!({"post":[1,"x"]}), Body::Bytes(br#"[1,"x"]"#.into()), None),
        (json!({"post":"binary"}), Body::Bytes(b"binary".into()), None),
        (json!({"taskType":"UploadTask","post":"Binary"}), Body::File, None),
        (json!({"taskType":"UploadTask"}), Body::Multipart, None),
        (json!({"taskType":"MultiUploadTask","post":null}), Body::Multipart, None),
        (
            json!({"taskType":"DataTask","json":{"z":1,"a":2}}),
            Body::Bytes(br#"{"z":1,"a":2}"#.into()),
            Some("application/json"),
        ),
        (json!({"json":{},"contentType":"application/x"}), Body::Bytes(b"{}".into()), Some("application/x")),
        (json!({"json":{},"headers":{"content-type":"application/x"}}), Body::Bytes(b"{}".into()), None),
        (json!({"postBase64":"AP+A"}), Body::Bytes(vec![0, 255, 128]), None),
        (json!({"body":"file"}), Body::File, None),
    ] {
        let task = read_ok(given.clone());
        assert_eq!(task.body, body, "{given}");
        assert_eq!(task.content_type.as_deref(), content_type, "{given}");
    }
    assert_eq!(problems(json!({"post":"a","json":{}})), ["`json` cannot be given together with `post`"]);
    assert_eq!(problems(json!({"postBase64":"A"})), ["`postBase64` must be base64 with padding"]);
    let types = |field: &str| json!({"json":1,"headers":{"content-type":"text/X "},"contentType":field});
    read_ok(types("Text/x"));
    let twice = "`contentType` is another one than the header Content-Type: give one of them";
    assert_eq!(problems(types("text/y")), [twice]);
}

#[test]
fn header_order_and_repeated_names_are_kept() {
    let text = r#"{"headers":{"z":"1","a":["2","3"],"m":4,"b":true}}"#;
    let task = read_ok(serde_json::from_str(text).unwrap());
    let all = pairs(&[("z", "1"), ("a", "2"), ("a", "3"), ("m", "4"), ("b", "true")]);
    assert_eq!(task.headers, all);
    let task = read_ok(json!({"headers":[["a","1"],["b","2"],["a","3"]]}));
    assert_eq!(task.headers, pairs(&[("a", "1"), ("b", "2"), ("a", "3")]));
    assert_eq!(write(&task, false)["headers"], json!([["a", "1"], ["b", "2"], ["a", "3"]]));
    assert_eq!(problems(json!({"headers":[["a"]]})), ["`headers` must be a list of [name, value] only"]);
}

#[test]
fn what_haul_keeps_in_extra_is_neither_given_nor_shown_and_the_owners_names_are_the_owners() {
    let mine = json!({"profile": "nope", "sources": "zzz", "boundary": "b", "resumable": "x", "withoutHeaders": "A"});
    let mut task = read_ok(json!({"extra": mine, "profile": "corp"}));
    assert_eq!((task.profile(), task.resumable(), task.leaves_out("a")), (Some("corp"), None, false));
    task.leave_out_header("B");
    assert_eq!(write(&task, false)["extra"], mine);
    let why = "`extra` cannot have `haul.profile`: names that begin with `haul.` are haul's own";
    assert_eq!(problems(json!({"extra": {"a": "b", "haul.profile": "corp"}})), [why]);
}

#[test]
fn each_name_that_haul_keeps_in_extra_is_told_in_the_contract() {
    let types = include_str!("../../../../wit/types.wit");
    for name in [PROFILE, NOTIFICATION, WITHOUT, RESUMABLE, BOUNDARY, SOURCES, SENT_NAMES, IN_TASK] {
        assert!(name.starts_with(OWN) && types.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn headers_that_are_left_out_are_null() {
    for headers in
        [json!({"A": "1", "B": null, "C": null}), json!([["A", "1"], ["B", "2"], ["A", null]]), json!({"A": null})]
    {
        let task = read_ok(json!({"headers": headers}));
        assert_eq!(write(&task, false)["headers"], headers);
        assert!(task.leaves_out("b") != task.leaves_out("a") && write(&task, false)["extra"].is_null());
    }
    assert_eq!(problems(json!({"fields": {"A": null}})), ["`fields.A` must be text, not null"], "only of headers");
}

#[test]
fn several_files_are_read_in_all_forms() {
    let part = |field: &str, filename: &str, mime_type: &str| FilePart {
        field: field.into(),
        filename: filename.into(),
        mime_type: mime_type.into(),
        ..FilePart::default()
    };
    let three = vec![part("a", "sub/a.txt", ""), part("x", "b.bin", ""), part("y", "c", "image/png")];
    let task = read_ok(json!({"taskType":"MultiUploadTask",
        "files":["sub/a.txt",["x","b.bin"],["y","c","image/png"]]}));
    assert_eq!(task.files, three);
    let task = read_ok(json!({"taskType":"MultiUploadTask","fileField":"[\"a\",\"x\",\"y\"]",
        "filename":"[\"sub/a.txt\",\"b.bin\",\"c\"]","mimeType":["","","image/png"]}));
    assert_eq!(task.files, three);
    assert_eq!((task.filename, task.file_field.as_str()), (None, "file"));
    let task = read_ok(json!({"taskType":"MultiUploadTask","files":["file:///srv/a%20b.txt",["f","file:///c"]]}));
    assert_eq!(task.files, [part("file1", "srv/a b.txt", ""), part("f", "c", "")]);
    assert_eq!(task.base_directory, "root");
    let task = read_ok(json!({"taskType":"MultiUploadTask","files":["/srv/a.txt",["f","c"]],"baseDirectory":4,
        "directory":"/data"}));
    assert_eq!(task.files, [part("a", "srv/a.txt", ""), part("f", "data/c", "")]);
    assert_eq!((task.base_directory.as_str(), task.directory.as_str()), ("root", ""));
    assert_eq!(
        problems(json!({"taskType":"MultiUploadTask","files":["file:///a","b",5,["c"]]})),
        [
            "`files` must hold names, [field, name], [field, name, media type] or objects",
            "`files` must hold names, [field, name], [field, name, media type] or objects",
            "`files` must be all absolute (URIs or paths), or all names"
        ]
    );
    assert_eq!(
        problems(json!({"taskType":"MultiUploadTask","filename":["a"],"fileField":[]})),
        ["`filename` must have as many entries as `fileField` and `mimeType`"]
    );
}

#[test]
fn uri_tasks_for_files_become_plain_tasks_below_root() {
    let of = |task: Task| (task.base_directory, task.directory, task.filename);
    let at = |directory: &str, name: Option<&str>| ("root".to_string(), directory.to_string(), name.map(String::from));
    let download = |directory: &str, name: Option<&str>| {
        read_ok(json!({"taskType":"UriDownloadTask","directory":directory,"filename":name,"baseDirectory":4}))
    };
    assert_eq!(of(download("file:///srv/in/", Some("?"))), at("srv/in", Some("?")));
    assert_eq!(of(download("file:///srv/in", None)), at("srv/in", None));
    assert_eq!(of(download("file:///srv", Some(":::f.txt::::::file:///srv/f.txt:::"))), at("srv", Some("f.txt")));
    assert_eq!(of(download("file:///srv", Some("file:///srv/g.txt"))), at("srv", Some("g.txt")));
    let upload = |name: &str| read_ok(json!({"taskType":"UriUploadTask","filename":name}));
    assert_eq!(of(upload("file:///srv/a%20b.txt")), at("srv", Some("a b.txt")));
    let packed = upload(":::x::::::file:///b.txt:::");
    assert_eq!((packed.sent_name(), of(packed)), ("x".into(), at("", Some("b.txt"))));
    assert_eq!(upload("file:///b.txt").sent_names(), [""; 0]);
    assert_eq!(upload("file:///b").task_type, TaskType::Upload);
    assert_eq!(
        problems(json!({"taskType":"UriDownloadTask","directory":"content://media/1"})),
        ["`directory` must be a `file:` URI without a host, not `content://media/1`"]
    );
    assert_eq!(
        problems(json!({"taskType":"UriUploadTask","filename":"plain.txt"})),
        ["`filename` must be a `file:` URI in a UriUploadTask"]
    );
}

#[test]
fn urls_of_a_parallel_download_are_its_places() {
    let task = read_ok(json!({"taskType":"ParallelDownloadTask","url":"a","urls":["a","b","c"],"chunks":2}));
    assert_eq!((task.url.as_str(), task.chunks), ("a", 2));
    assert_eq!(task.mirrors, ["b", "c"]);
    let task = read_ok(json!({"taskType":"ParallelDownloadTask","urls":["a","b"],"mirrors":["b","d"]}));
    assert_eq!((task.url.as_str(), task.mirrors.join(" ")), ("a", "b d".to_string()));
    assert_eq!(write(&task, false)["urls"], json!(["a", "b", "d"]));
}

#[test]
fn masked_tasks_show_no_secrets() {
    let task = read_ok(json!({"url":"https://u:p@h/?token=SECRET&n=1","mirrors":["https://m/?sig=SECRET"],
        "headers":{"Authorization":"SECRET","Accept":"*/*"},"urlQueryParameters":{"api_key":"SECRET"},
        "taskType":"UploadTask","fields":{"password":"SECRET","name":"me"},
        "options":{"auth":{"accessToken":"SECRET","accessHeaders":{"Authorization":"Bearer {accessToken}","X-K":"SECRET"},
            "refreshToken":"SECRET","refreshHeaders":{"a":"SECRET"},"refreshQueryParams":{"b":"SECRET"},
            "accessQueryParams":{"k":"SECRET"},"refreshUrl":"https://h/r?client_secret=SECRET"}}}));
    let shown = write(&task, true);
    let text = shown.to_string();
    assert!(!text.contains("SECRET") && !text.contains("u:p"), "{text}");
    assert_eq!(shown["url"], "https://***@h/?token=***&n=1");
    assert_eq!(shown["headers"]["Accept"], "*/*");
    assert_eq!(shown["fields"]["name"], "me");
    assert_eq!(shown["options"]["auth"]["accessHeaders"]["Authorization"], "Bearer {accessToken}");
    assert_eq!(write(&task, false).to_string().matches("SECRET").count(), 12);
}

#[test]
fn the_full_form_has_background_downloaders_fields_and_the_short_form_only_differences() {
    let task = Task::download("https://h/");
    let full = write(&task, false);
    for key in [
        "taskType",
        "taskId",
        "url",
        "headers",
        "httpRequestMethod",
        "post",
        "retries",
        "retriesRemaining",
        "creationTime",
        "filename",
        "directory",
        "baseDirectory",
        "group",
        "updates",
        "requiresWiFi",
        "allowPause",
        "priority",
        "metaData",
        "displayName",
        "options",
    ] {
        assert!(full.get(key).is_some(), "{key}");
    }
    assert_eq!(write_short(&task), json!({"url":"https://h/"}));
}

#[test]
fn a_priority_of_urlsession_is_turned_round() {
    let priority = |share: f64| {
        let json = json!({"url": "https://h/", "urlSessionPriority": share});
        read(&json, &Defaults::default()).map(|task| task.priority).map_err(|problems| problems[0].to_string())
    };
    assert_eq!([0.0, 0.25, 0.5, 0.75, 1.0].map(|share| priority(share).unwrap()), [10, 8, 5, 3, 0]);
    assert_eq!(priority(1.5).unwrap_err(), "`urlSessionPriority` must be a number from 0.0 to 1.0, not 1.5");
    let both = problems(json!({"url": "https://h/", "urlSessionPriority": 0.5, "priority": 3}));
    assert!(both[0].starts_with("`urlSessionPriority` stands beside `priority`"), "{both:?}");
    assert!(
        read(&json!({"url": "https://h/", "urlSessionPriority": null, "priority": 3}), &Defaults::default()).is_ok()
    );
}

#[test]
fn a_rate_may_be_off_or_have_a_fraction() {
    let rate = |rate: &str| {
        let json = json!({"url": "https://h/", "limitRate": rate});
        read(&json, &Defaults::default()).map(|task| task.limit_rate).map_err(|problems| problems[0].to_string())
    };
    assert_eq!((rate("off"), rate("1.5M"), rate("10MiB")), (Ok(None), Ok(Some(3 << 19)), Ok(Some(10 << 20))));
}

#[test]
fn records_have_the_fields_of_the_interface() {
    let mut record = Record {
        task: Task { retries: 3, ..Task::download("https://h/?key=1") }.into(),
        place: Some("/srv".into()),
        status: Status::Running,
        bytes_done: 50,
        expected_file_size: Some(200),
        attempt: 1,
        retries_remaining: 2,
        ready_at: None,
        file_path: None,
        response_status_code: Some(200),
        exception: None,
        notes: vec!["resumed".into()],
        hops: Vec::new(),
        paused_by: Some("c".into()),
        resume: None,
        upload: None,
        changes: None,
    };
    let json = write_record(&record, None, false);
    assert_eq!(json["url"], "https://h/?key=***");
    assert_eq!((&json["status"], &json["progress"]), (&json!("running"), &json!(0.25)));
    assert_eq!((&json["retries"], &json["retriesRemaining"], &json["attempt"]), (&json!(3), &json!(2), &json!(1)));
    assert_eq!((&json["bytesDone"], &json["expectedFileSize"]), (&json!(50), &json!(200)));
    assert_eq!((&json["waiting"], &json["exception"], &json["filePath"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!((&json["notes"], &json["place"]), (&json!(["resumed"]), &json!("/srv")));
    assert_eq!(json["pausedBy"], "c");
    assert!(read(&json, &Defaults::default()).is_ok(), "a record can be added again");

    record.status = Status::WaitingToRetry;
    record.expected_file_size = None;
    let waiting =
        Waiting { reason: "retry".into(), until: Some(1_796_083_200_000), detail: "503 from https://h/?key=1".into() };
    let json = write_record(&record, Some(&waiting), false);
    assert_eq!(json["progress"], Value::Null);
    assert_eq!(
        json["waiting"],
        json!({"reason":"retry","until":"2026-12-01T00:00:00.000Z","detail":"503 from https://h/"})
    );
    record.status = Status::Complete;
    assert_eq!(write_record(&record, None, false)["progress"], json!(1.0));
}

#[test]
fn a_record_is_read_as_it_was_told() {
    let hop = Hop {
        url: "https://h/".into(),
        status: Some(503),
        protocol: Some(Protocol::Http2),
        remote_address: Some("127.0.0.1:80".parse().unwrap()),
        proxied: false,
        reused: true,
        lookup_us: 1,
        connect_us: 2,
        tls_us: 3,
        answer_us: 4,
    };
    let failure = Failure { retry_after_ms: Some(7), ..Failure::new(FailureKind::HttpResponse, "busy") };
    let headers = pairs(&[("Cookie", "a")]);
    let task = Task { retries: 3, retries_remaining: 2, headers, ..Task::download("https://h/?key=1") };
    let stored = Record {
        status: Status::WaitingToRetry,
        bytes_done: 50,
        expected_file_size: Some(200),
        attempt: 1,
        retries_remaining: 2,
        file_path: Some("/srv/f".into()),
        response_status_code: Some(503),
        exception: Some(failure),
        notes: vec!["resumed".into()],
        hops: vec![hop],
        resume: Some(ResumeRecord { ranges_known: true, ..ResumeRecord::default() }),
        ..Record::added(task.into(), Some("/srv".into()))
    };
    let waiting = Waiting { reason: "retry".into(), until: Some(1_796_083_200_000), detail: "busy".into() };

    let mut json = write_record(&stored, Some(&waiting), true);
    json["resume"] = json!({"verdict": "resume"});
    let told = read_record(&json).unwrap();

    assert_eq!(write(&told.task, true), write(&stored.task, true));
    assert_eq!((told.task.url.as_str(), told.task.headers), ("https://h/?key=***", pairs(&[("Cookie", MASK)])));
    assert_eq!((told.status, told.progress, told.can_resume), (stored.status, Some(0.25), true));
    assert_eq!((told.bytes_done, told.expected_file_size), (stored.bytes_done, stored.expected_file_size));
    assert_eq!((told.attempt, told.retries_remaining), (stored.attempt, stored.retries_remaining));
    assert_eq!((told.file_path, told.place), (stored.file_path, stored.place));
    assert_eq!((told.response_status_code, told.response_body), (stored.response_status_code, None));
    assert_eq!((told.exception, told.waiting), (stored.exception, Some(waiting)));
    assert_eq!((told.notes, told.hops), (stored.notes, stored.hops));
    assert!(
        read(&json, &Defaults::default()).is_ok(),
        "what says why it failed does not keep it from being added again"
    );
}

#[test]
fn a_million_small_tasks_take_seconds() {
    // The bound is for a release build; a debug build does a hundredth of the work.
    let count = if cfg!(debug_assertions) { 10_000 } else { 1_000_000 };
    let text =
        r#"{"url":"https://example.org/files/1.bin","filename":"1.bin","directory":"a/b","headers":{"accept":"*/*"}}"#;
    let start = std::time::Instant::now();
    let defaults = Defaults::default();
    for _ in 0..count {
        let json: Value = serde_json::from_str(text).unwrap();
        assert!(read(&json, &defaults).is_ok());
    }
    assert!(start.elapsed().as_secs() < 8, "{:?}", start.elapsed());
}

#[test]
fn a_task_printed_for_debugging_holds_no_secret() {
    let auth = Auth {
        access_token: Some("cAnArY1".into()),
        access_headers: pairs(&[("Plain", "cAnArY2")]),
        refresh_token: Some("cAnArY3".into()),
        refresh_url: Some("http://h/?token=cAnArY4".into()),
        ..Auth::default()
    };
    let task = Task {
        headers: pairs(&[("Cookie", "cAnArY5")]),
        auth: Some(auth.clone()),
        ..Task::download("http://u:cAnArY6@h/?sig=cAnArY7&q=pizza")
    };
    let text = format!("{task:?} {auth:?}");
    assert!(!text.contains("cAnArY") && text.contains("pizza") && text.contains("Plain"), "{text}");
}
