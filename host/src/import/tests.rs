//! What is found in inputs. Whether it can be added, and what becomes of it, is tested from outside in `tests/it/import.rs`.

use std::collections::HashMap;

use super::*;
use crate::task::{Body, OnConflict, TaskType};

fn entries(text: &str, options: &Options) -> Vec<Entry> {
    read(Path::new("in"), Some(text.into()), options).expect("readable").entries
}

fn kind(text: &str) -> Kind {
    read(Path::new("in"), Some(text.into()), &Options::default()).expect("readable").kind
}

#[test]
fn the_kind_is_found_out_by_the_content() {
    assert_eq!(kind("# list\nhttp://h/a\nhttp://h/b\n"), Kind::Urls);
    assert_eq!(kind("http://h/a\n  out=b\n"), Kind::Aria2);
    assert_eq!(kind("http://h/a\thttp://i/a\n"), Kind::Aria2, "mirrors");
    assert_eq!(kind("\u{feff}\n[{\"url\": \"http://h/a\"}]"), Kind::Tasks);
    assert_eq!(kind("{\"serverUrl\": \"http://h/a\", \"filePath\": \"/f\"}"), Kind::Cordova);
    assert_eq!(kind("{\"id\": \"a\", \"filePath\": \"/f\"}"), Kind::Cordova, "without its URL");
    assert_eq!(kind("{\"taskId\": \"a\", \"url\": \"http://h/a\", \"filePath\": \"/f\"}"), Kind::Tasks, "a record");
    assert_eq!(Kind::of(b"SQLite format 3\0..."), Kind::Sqlite);
}

#[test]
fn options_of_aria2_become_fields_and_the_others_are_told_without_their_values() {
    let text = "http://h/f\thttp://m/f\n\tdir=/srv/in\n\tout=sub/name.iso\n\theader=X-A: 1\n\theader=X-B: 2\n\
                \tsplit=8\n\tmax-connection-per-server=4\n\tmax-download-limit=2M\n\tmax-tries=3\n\tgid=0123456789abcdef\n\
                \tchecksum=sha-256=00\n\ttimeout=7\n\thttp-user=me\n\thttp-passwd=p w\n\tpause=true\n\
                \tall-proxy=http://user:secret@proxy\n\tcontinue=true\n# comment\nhttp://h/g\n";
    let found = entries(text, &Options::default());
    assert_eq!(found.len(), 2);
    let task = &found[0].addition.task;
    assert_eq!((task.url.as_str(), &task.mirrors[..]), ("http://me:p%20w@h/f", &["http://m/f".to_owned()][..]));
    assert_eq!((task.base_directory.as_str(), task.directory.as_str()), ("root", "srv/in/sub"));
    assert_eq!(task.filename.as_deref(), Some("name.iso"));
    assert_eq!(task.headers, [("X-A".to_owned(), "1".to_owned()), ("X-B".to_owned(), "2".to_owned())]);
    assert_eq!((task.task_type, task.chunks), (TaskType::ParallelDownload, 4), "8 in all, to two servers");
    assert_eq!((task.limit_rate, task.retries), (Some(2 << 20), 2));
    assert_eq!((task.task_id.as_str(), task.checksum.as_deref()), ("0123456789abcdef", Some("sha-256=00")));
    assert_eq!(task.timeouts.idle_ms, Some(7000));
    assert_eq!(task.on_conflict, Some(OnConflict::Unique), "aria2 renames");
    assert!(found[0].addition.paused && found[0].problems.is_empty());
    assert_eq!(found[0].notes, ["`all-proxy` has no meaning here and is left out"]);
    assert_eq!(found[1].origin, "in:19");
    assert_eq!((found[1].addition.task.retries, found[1].addition.task.chunks), (4, 1), "its defaults");
}

#[test]
fn aria2s_urls_of_one_file_are_read_at_the_same_time_where_they_are_several_servers() {
    for (text, kind, chunks) in [
        ("http://h/f\thttp://i/f\thttp://j/f\n split=3\n", TaskType::ParallelDownload, 1),
        ("http://h/f\thttp://i/f\n split=3\n max-connection-per-server=8\n", TaskType::ParallelDownload, 2),
        ("http://h/f\thttp://i/f\n", TaskType::ParallelDownload, 1), // its split is 5
        ("http://h/f\thttp://i/f\n split=1\n", TaskType::Download, 1),
        ("http://h/f\thttp://h/g\n split=3\n", TaskType::Download, 1),
        ("http://h/f\n split=3\n", TaskType::Download, 1),
        ("http://h/f\n split=3\n max-connection-per-server=8\n", TaskType::ParallelDownload, 3),
    ] {
        let task = &entries(text, &Options::default())[0].addition.task;
        assert_eq!((task.task_type, task.chunks), (kind, chunks), "{text}");
    }
}

#[test]
fn a_granted_directory_holds_lists_and_the_absolute_paths_that_lie_in_it() {
    let options = Options { place: Some("/srv/in".into()), ..Options::default() };
    let text = "http://h/a\n dir=sub\nhttp://h/b\n dir=/srv/in/deep\nhttp://h/c\n dir=/elsewhere\n";
    let found = entries(text, &options);
    let places = found.iter().map(|entry| {
        let task = &entry.addition.task;
        (entry.addition.place.is_some(), task.base_directory.as_str(), task.directory.as_str())
    });
    let places: Vec<_> = places.collect();
    assert_eq!(places, [(true, "downloads", "sub"), (true, "downloads", "deep"), (false, "root", "elsewhere")]);
}

#[test]
fn an_option_before_the_first_url_and_a_wrong_value_are_problems_with_their_lines() {
    let found =
        entries(" out=x\nhttp://h/a\n split=many\n", &Options { kind: Some(Kind::Aria2), ..Options::default() });
    let told = |entry: &Entry| format!("{}: {}", entry.origin, entry.problems[0]);
    let told: Vec<_> = found.iter().map(told).collect();
    assert_eq!(told[0], "in:1: `task` is an option before the first URL");
    assert!(told[1].starts_with("in:2: `split` (line 3) must be a whole number"), "{told:?}");
}

#[test]
fn records_updates_and_resume_data_are_tasks_with_a_state() {
    let text = r#"{"url": "http://h/a", "taskId": "a", "status": 1.0, "progress": 0.5, "retries": 2.0}
        {"task": {"url": "http://h/b", "taskId": "b"}, "taskStatus": 2, "responseBody": null}
        {"task": {"url": "http://h/c", "taskId": "c"}, "data": "/tmp/x", "requiredStartByte": 77, "eTag": "\"e\""}
        {"url": "http://h/d", "taskId": "d", "status": 4}
        {"url": "http://h/e", "taskId": "e", "group": "chunk", "metaData": "{}"}
        {"url": "http://h/f", "taskId": "f", "status": "paused", "laterField": 1}"#;
    let found = entries(text, &Options::default());
    let ids: Vec<_> = found.iter().map(|entry| entry.addition.task.task_id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(found[0].origin, "in:1");
    assert_eq!(found[5].origin, "in:6");
    assert!(found.iter().all(|entry| entry.problems.is_empty()), "{found:?}");
    assert_eq!(found[0].addition.task.retries, 2);
    let skipped: Vec<_> = found.iter().map(|entry| entry.skipped.is_some()).collect();
    assert_eq!(skipped, [false, true, false, true, true, false]);
    let paused: Vec<_> = found.iter().map(|entry| entry.addition.paused).collect();
    assert_eq!(paused, [false, false, true, false, false, true]);
    assert!(found[2].notes[0].contains("77 bytes"), "{:?}", found[2].notes);
    assert!(found[5].notes[0].contains("`laterField`"));

    let again = entries(r#"{"url": "http://h/d", "status": 4}"#, &Options { ended: true, ..Options::default() });
    assert!(again[0].skipped.is_none());
}

#[test]
fn an_update_of_progress_has_the_state_that_its_special_value_stands_for() {
    let text: Vec<String> = [0.0, 0.5, 1.0, -1.0, -2.0, -3.0, -4.0, -5.0]
        .iter()
        .map(|progress| {
            format!(r#"{{"task": {{"url": "http://h/a"}}, "progress": {progress:?}, "networkSpeed": -1.0}}"#)
        })
        .collect();
    let found = entries(&text.join("\n"), &Options::default());
    let skipped: Vec<_> = found.iter().map(|entry| entry.skipped.as_deref().unwrap_or("")).collect();
    let ended = ["it is complete", "it had failed", "it was cancelled", "it was not found"];
    assert_eq!(skipped, [&["", ""], &ended[..], &["", ""]].concat());
    let paused: Vec<_> = found.iter().filter(|entry| entry.addition.paused).map(|entry| &entry.origin).collect();
    assert_eq!(paused, ["in:8"]);
}

#[test]
fn a_download_of_a_list_has_the_same_id_whenever_it_is_read() {
    let options = Options { place: Some("/srv".into()), ..Options::default() };
    let ids = |text: &str, options: &Options| -> Vec<String> {
        let mut import = read(Path::new("in"), Some(text.into()), options).expect("readable");
        import.identify(&mut HashMap::new());
        import.entries.into_iter().map(|entry| entry.addition.task.task_id).collect()
    };
    let (list, more) = ("http://h/a\nhttp://h/b\nhttp://h/a\n", "# more\nhttp://h/c\nhttp://h/a\nhttp://h/b\n");
    let first = ids(list, &options);
    assert_eq!(ids(list, &options), first);
    assert_ne!(first[0], first[2], "twice in it is twice wanted");
    assert_eq!(ids(more, &options)[1..], first[..2], "wherever it stands");
    assert_ne!(ids(list, &Options::default()), first, "elsewhere it is another file");
    let named = |name: &str| ids(&format!("http://h/a\n out={name}\n"), &options);
    assert_eq!(named("x"), named("x"));
    assert_ne!(named("x"), named("y"));
    let given = ids("http://h/a\n gid=0123456789abcdef\nhttp://h/b?token=x\n", &options);
    assert_eq!(given, ["0123456789abcdef", ""], "an id tells nothing of secrets");
}

#[test]
fn a_status_that_nobody_has_is_told() {
    for status in ["9", "\"done\"", "-1"] {
        let found = entries(&format!(r#"{{"url": "http://h/f", "status": {status}}}"#), &Options::default());
        assert_eq!(found[0].problems[0].field, "status", "{status}");
    }
    let found = entries(r#"{"url": "http://h/f", "status": null}"#, &Options::default());
    assert!(found[0].problems.is_empty() && found[0].skipped.is_none());
}

#[test]
fn attempts_beyond_eleven_are_told_of_by_the_number_in_the_file() {
    for tries in ["0", "99"] {
        let found = entries(&format!("http://h/f\n max-tries={tries}\n"), &Options::default());
        assert!(found[0].notes[0].contains(&format!("instead of {tries}")), "{:?}", found[0].notes);
    }
}

#[test]
fn a_payload_of_cordova_is_a_form_with_one_file() {
    let text = r#"{"id": "u1", "filePath": "file:///data/My%20Film.mp4", "serverUrl": "http://h/up", "fileKey": "film",
        "headers": {"api_key": "k"}, "parameters": {"signature": "s", "timestamp": 112321321}, "notificationTitle": "Up"}"#;
    let found = entries(text, &Options::default());
    let task = &found[0].addition.task;
    assert!(found[0].problems.is_empty(), "{:?}", found[0].problems);
    assert_eq!((task.task_type, &task.body), (TaskType::Upload, &Body::Multipart));
    assert_eq!((task.base_directory.as_str(), task.directory.as_str()), ("root", "data"));
    assert_eq!((task.filename.as_deref(), task.file_field.as_str()), (Some("My Film.mp4"), "film"));
    assert_eq!(task.fields[1], ("timestamp".to_owned(), "112321321".to_owned()));
    assert_eq!((task.task_id.as_str(), task.display_name.as_str(), task.retries), ("u1", "Up", 9));

    let wrong = entries(r#"{"serverUrl": 5, "filePath": "relative"}"#, &Options::default());
    let fields: Vec<_> = wrong[0].problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["serverUrl", "filePath"]);
}

#[test]
fn what_is_wrong_with_an_option_is_told_with_its_line() {
    let found = entries("http://h/f\n out=x\n split=none\n", &Options::default());
    let told: Vec<_> = found[0].problems.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["`split` (line 3) must be a whole number above 0, not `none`"]);
}

#[test]
fn of_retries_that_cannot_be_read_nothing_else_is_said() {
    let found = entries(r#"[{"url": "http://h/f", "retries": 3.5, "retriesRemaining": 1}]"#, &Options::default());
    assert_eq!((found[0].problems.len(), found[0].notes.len()), (1, 0), "{:?}", found[0].notes);
}
