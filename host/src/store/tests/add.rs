//! Adding: what is stored comes back, and what happens when ids are taken.

use super::*;
use crate::error::FailureDetail;
use crate::event::{Hop, Protocol};
use crate::task::{Auth, Body, FilePart, OnConflict, TaskType, Timeouts, Updates};

fn pairs() -> crate::task::Pairs {
    vec![("k".into(), "v".into()), ("k".into(), "\u{1F600}\"".into())]
}

/// A task none of whose fields has its default value.
fn full() -> Task {
    Task {
        task_id: "full".into(),
        task_type: TaskType::MultiUpload,
        url: "https://example.org:8443/a?b=c".into(),
        mirrors: vec!["https://m.example.org/".into()],
        url_query_parameters: pairs(),
        headers: pairs(),
        http_request_method: "PATCH".into(),
        body: Body::Bytes(vec![0, 255, 10, b'"']),
        content_type: Some("text/plain".into()),
        filename: Some("?".into()),
        directory: "d/e".into(),
        base_directory: "root".into(),
        group: "g".into(),
        updates: Updates::StatusAndProgress,
        requires_wifi: true,
        retries: 9,
        retries_remaining: 8,
        allow_pause: false,
        priority: 0,
        meta_data: "m".into(),
        display_name: "n".into(),
        creation_time: 77,
        checksum: Some("sha-256=00".into()),
        chunks: 4,
        on_conflict: Some(OnConflict::Skip),
        not_before: Some(5_000),
        not_after: Some(6_000),
        limit_rate: Some(1),
        timeouts: Timeouts {
            connect_ms: Some(1),
            send_ms: Some(5),
            head_ms: Some(0),
            idle_ms: Some(3),
            total_ms: Some(4),
        },
        max_redirects: 0,
        accept_status: vec![(200, 299), (304, 304)],
        callbacks: vec!["c.wasm".into()],
        scope: Some("s".into()),
        file_field: "upload".into(),
        mime_type: "image/png".into(),
        fields: pairs(),
        files: vec![
            FilePart { field: "f".into(), filename: "x/y".into(), ..FilePart::default() },
            FilePart {
                field: "g".into(),
                headers: vec![("X-Token".into(), "of the part".into())],
                content: Some(vec![0, 255]),
                ..FilePart::default()
            },
        ],
        auth: Some(Auth {
            access_token: Some("t".into()),
            access_headers: pairs(),
            access_query_params: pairs(),
            access_token_expiry_time: Some(1),
            refresh_token: Some("r".into()),
            refresh_headers: pairs(),
            refresh_query_params: pairs(),
            refresh_url: Some("https://example.org/r".into()),
        }),
        response_file: Some("out/answer".into()),
        repeatable: true,
        extra: pairs(),
    }
}

fn add(home: &Home, ids: &[&str], if_exists: IfExists) -> Applied {
    let tasks = ids
        .iter()
        .map(|id| NewTask { paused: false, resume: None, task: std::sync::Arc::new(task(id)), place: None })
        .collect();
    home.write(Change::Add { tasks, if_exists, asked: false, at: 10 })
}

#[test]
fn every_field_of_a_task_comes_back() {
    let home = home();
    for (id, body) in [
        ("none", Body::None),
        ("file", Body::File),
        ("multipart", Body::Multipart),
        ("empty", Body::Bytes(Vec::new())),
        ("bytes", full().body),
    ] {
        let task = Task { task_id: id.into(), body, ..full() };
        let key = home.add(task.clone());
        assert_eq!(home.record(key).unwrap().task, task.into());
    }
    let plain = task("plain");
    let key = home.add(plain.clone());
    assert_eq!(home.record(key).unwrap().task, plain.into());
}

#[test]
fn every_kind_of_task_and_choice_comes_back() {
    let types = [
        TaskType::Download,
        TaskType::Upload,
        TaskType::MultiUpload,
        TaskType::Data,
        TaskType::ParallelDownload,
        TaskType::Request,
    ];
    let updates = [Updates::None, Updates::Status, Updates::Progress, Updates::StatusAndProgress];
    let conflicts =
        [None, Some(OnConflict::Unique), Some(OnConflict::Replace), Some(OnConflict::Fail), Some(OnConflict::Skip)];
    let vault = Arc::clone(&home().store.shared.vault);
    for index in 0..types.len() {
        let task = Task {
            task_type: types[index],
            updates: updates[index % updates.len()],
            on_conflict: conflicts[index % conflicts.len()],
            ..Task::default()
        };
        let coded = codec::encode_task(1, &task, &vault).unwrap();
        assert_eq!(codec::decode_task(&coded.spec).unwrap(), task, "{}", coded.spec);
    }
}

#[test]
fn a_plain_task_takes_few_bytes() {
    let (task, home) = (task("a"), home());
    let coded = codec::encode_task(1, &task, &home.store.shared.vault).unwrap();
    assert_eq!((coded.spec.as_str(), coded.sealed), ("{}", None));
}

#[test]
fn details_with_all_there_is_come_back() {
    let details = Details {
        file_path: Some("/tmp/f".into()),
        response_status_code: Some(503),
        response_headers: pairs(),
        response_url: Some("http://a/b".into()),
        redirects: vec!["http://a/".into()],
        response_body: Some("body\u{0}\n".into()),
        mime_type: Some("text/html".into()),
        char_set: Some("utf-8".into()),
        exception: Some(Failure {
            kind: FailureKind::HttpResponse,
            detail: FailureDetail::Timeout,
            description: "d".into(),
            http_status: Some(503),
            retry_after_ms: Some(1),
            outcome_unknown: true,
        }),
        resumed_from: 5,
        file_size: Some(6),
        paused_by: Some("c".into()),
        notes: vec!["resumed".into()],
        hops: vec![Hop {
            url: "http://a/".into(),
            status: Some(503),
            protocol: Some(Protocol::Http2),
            remote_address: Some(([127, 0, 0, 1], 80).into()),
            proxied: true,
            reused: true,
            lookup_us: 1,
            connect_us: 2,
            tls_us: 3,
            answer_us: 4,
        }],
        retry_at: Some(7),
    };
    let json = codec::encode_details(&details).unwrap();
    assert_eq!(codec::decode_details(&json).unwrap(), details);
    let json = codec::encode_details(&Details::default()).unwrap();
    assert_eq!(json, "{}");
    assert_eq!(codec::decode_details(&json).unwrap(), Details::default());
}

#[test]
fn a_new_task_is_enqueued_and_its_place_is_kept() {
    use std::os::unix::ffi::OsStringExt;
    let home = home();
    let place = PathBuf::from(std::ffi::OsString::from_vec(vec![b'/', 0xff]));
    let tasks =
        vec![NewTask { paused: false, resume: None, task: std::sync::Arc::new(task("a")), place: Some(place.clone()) }];
    let if_exists = IfExists::Reject;
    home.write(Change::Add { tasks, if_exists, asked: false, at: 10 });
    let (_, record) = home.store.record("a").unwrap().unwrap();
    assert_eq!(record.place, Some(place));
    assert_eq!(record.status, Status::Enqueued);
    assert_eq!((record.attempt, record.bytes_done), (0, 0));
    assert_eq!(home.told_of("a"), [Status::Enqueued]);
    assert_eq!(home.store.record("b").unwrap(), None);
    assert_eq!(home.store.record_of(99).unwrap(), None);
}

#[test]
fn a_task_without_a_creation_time_gets_that_of_its_addition() {
    let home = home();
    let key = home.add(Task { creation_time: 0, ..task("a") });
    assert_eq!(home.record(key).unwrap().task.creation_time, 1);
}

#[test]
fn a_taken_id_refuses_the_whole_addition() {
    let home = home();
    add(&home, &["b"], IfExists::Reject);
    let refused = add(&home, &["a", "b", "c", "c"], IfExists::Reject);
    assert_eq!(refused, Applied::Taken(vec!["b".into(), "c".into()]));
    assert_eq!(home.store.record("a").unwrap(), None);
    assert_eq!(home.store.counts().unwrap()[0], 1);
    assert_eq!(home.events().len(), 1);
}

#[test]
fn a_taken_id_can_stand_for_the_stored_task() {
    let home = home();
    add(&home, &["b"], IfExists::Reject);
    let added = add(&home, &["a", "b", "a"], IfExists::ReturnExisting);
    let expected = vec![(2, "a".into()), (1, "b".into()), (2, "a".into())];
    assert_eq!(added, Applied::Added(expected));
    assert_eq!(home.store.counts().unwrap()[0], 2);
}

#[test]
fn only_a_final_task_is_replaced() {
    let home = home();
    add(&home, &["a", "b"], IfExists::Reject);
    home.start(1);
    home.finish(1, Status::Failed);
    let refused = add(&home, &["a", "b"], IfExists::Replace);
    assert_eq!(refused, Applied::Taken(vec!["b".into()]));
    assert_eq!(home.status(1), Some(Status::Failed));

    let added = add(&home, &["a", "c"], IfExists::Replace);
    let expected = vec![(3, "a".into()), (4, "c".into())];
    assert_eq!(added, Applied::Added(expected));
    assert_eq!(home.status(1), None);
    assert_eq!(home.status(3), Some(Status::Enqueued));
    assert_eq!(home.store.counts().unwrap(), [3, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn keys_and_seqs_are_never_used_twice() {
    let home = home();
    let key = home.add(task("a"));
    home.finish(key, Status::Canceled);
    let last = home.store.last_seq().unwrap();
    home.write(Change::Remove { keys: vec![key] });
    assert_eq!(home.events(), []);
    let home = home.reopen();
    assert_eq!(home.store.last_seq().unwrap(), last);
    assert!(home.add(task("a")) > key);
    assert_eq!(home.events()[0].seq, last + 1);
}

#[test]
fn a_list_with_nothing_in_it_is_added() {
    let home = home();
    assert_eq!(add(&home, &[], IfExists::Reject), Applied::Added(vec![]));
}
