//! Property: what is written is read as it was.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::super::*;
use crate::config::LAST_TIME_MS;
use crate::error::{Failure, FailureDetail, FailureKind};
use crate::event::{Details, Hop, ProgressUpdate, Protocol, StatusUpdate};
use crate::task::{Auth, Body, FilePart, OnConflict, Pairs, Status, TaskType, Timeouts, Updates};

/// Text with the characters that matter: quotes, brackets, colons, other alphabets.
fn text() -> impl Strategy<Value = String> {
    "[a-z\"\\\\:/\\[\\]é漢 ]{0,6}"
}

/// Few names, so that they repeat.
fn pairs() -> impl Strategy<Value = Pairs> {
    vec(("[ab]{1,2}", text()), 0..5)
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::None),
        Just(Body::File),
        Just(Body::Multipart),
        Just(Body::Bytes(b"binary".to_vec())),
        vec(any::<u8>(), 0..7).prop_map(Body::Bytes),
        text().prop_map(|text| Body::Bytes(text.into_bytes())),
    ]
}

fn task_type() -> impl Strategy<Value = TaskType> {
    prop::sample::select(vec![
        TaskType::Download,
        TaskType::Upload,
        TaskType::MultiUpload,
        TaskType::Data,
        TaskType::ParallelDownload,
        TaskType::Request,
    ])
}

fn auth() -> impl Strategy<Value = Auth> {
    let texts = (of(text()), of(text()), of(text()), of(any::<u64>()));
    let lists = (pairs(), pairs(), pairs(), pairs());
    (texts, lists).prop_map(|((access, refresh, url, expiry), lists)| Auth {
        access_token: access,
        access_headers: lists.0,
        access_query_params: lists.1,
        access_token_expiry_time: expiry,
        refresh_token: refresh,
        refresh_headers: lists.2,
        refresh_query_params: lists.3,
        refresh_url: url,
    })
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    let limit = || of(any::<u64>());
    (limit(), limit(), limit(), limit()).prop_map(|(connect_ms, head_ms, idle_ms, total_ms)| Timeouts {
        send_ms: connect_ms,
        connect_ms,
        head_ms,
        idle_ms,
        total_ms,
    })
}

fn status_ranges() -> impl Strategy<Value = Vec<(u16, u16)>> {
    let range = (100_u16..600, 100_u16..600).prop_map(|(a, b)| (a.min(b), a.max(b)));
    vec(prop_oneof![range, Just((200, 299)), Just((304, 304))], 0..3)
}

fn conflict() -> impl Strategy<Value = Option<OnConflict>> {
    of(prop::sample::select(vec![OnConflict::Unique, OnConflict::Replace, OnConflict::Fail, OnConflict::Skip]))
}

fn updates() -> impl Strategy<Value = Updates> {
    prop::sample::select(vec![Updates::None, Updates::Status, Updates::Progress, Updates::StatusAndProgress])
}

fn file_part() -> impl Strategy<Value = FilePart> {
    let names = ("[a-z]{1,3}", "([a-z.][a-z/.]{0,4})?", "[a-z/]{0,5}");
    let more = (pairs(), of(vec(any::<u8>(), 0..4)));
    (names, more).prop_map(|((field, filename, mime_type), (headers, content))| FilePart {
        field,
        filename,
        mime_type,
        headers,
        content,
    })
}

/// The request half of a task.
fn request() -> impl Strategy<Value = Task> {
    let texts = (text(), text(), "[A-Z]{0,4}", of(text()));
    let lists = (vec(text(), 0..3), pairs(), pairs(), pairs(), vec(file_part(), 0..3));
    let more = (task_type(), body(), of(auth()), any::<i32>(), any::<i32>(), any::<u64>());
    (texts, lists, more).prop_map(|(texts, lists, more)| Task {
        task_id: texts.0,
        url: texts.1,
        http_request_method: texts.2,
        content_type: texts.3,
        mirrors: lists.0,
        url_query_parameters: lists.1,
        headers: lists.2,
        fields: lists.3,
        files: lists.4,
        task_type: more.0,
        body: more.1,
        auth: more.2,
        retries: more.3,
        retries_remaining: more.4,
        creation_time: more.5,
        ..Task::default()
    })
}

fn task() -> impl Strategy<Value = Task> {
    let names = (of(text()), text(), text(), text(), text(), text(), text(), text());
    let choices = (updates(), conflict(), any::<[bool; 3]>(), any::<i32>(), any::<u32>(), any::<u32>());
    let limits = (of(0..=LAST_TIME_MS), of(0..=LAST_TIME_MS), of(any::<u64>()), timeouts(), status_ranges());
    let rest = (of(text()), vec(text(), 0..3), of(text()), pairs());
    (request(), names, choices, limits, rest).prop_map(|(request, names, choices, limits, rest)| Task {
        filename: names.0,
        directory: names.1,
        base_directory: names.2,
        group: names.3,
        meta_data: names.4,
        display_name: names.5,
        file_field: names.6,
        mime_type: names.7,
        updates: choices.0,
        on_conflict: choices.1,
        requires_wifi: choices.2[0],
        allow_pause: choices.2[1],
        repeatable: choices.2[2],
        priority: choices.3,
        chunks: choices.4,
        max_redirects: choices.5,
        not_before: limits.0,
        not_after: limits.1,
        limit_rate: limits.2,
        timeouts: limits.3,
        accept_status: limits.4,
        checksum: rest.0,
        callbacks: rest.1,
        response_file: rest.2.clone(),
        scope: rest.2,
        extra: rest.3,
        ..request
    })
}

/// Words without anything that is masked.
fn word() -> impl Strategy<Value = String> {
    "[a-z é]{0,6}"
}

fn failure() -> impl Strategy<Value = Failure> {
    let kind = prop::sample::select(vec![FailureKind::Connection, FailureKind::Policy, FailureKind::General]);
    let detail = prop::sample::select(vec![FailureDetail::None, FailureDetail::DiskFull, FailureDetail::Timeout]);
    (kind, detail, word(), of(100_u16..600), of(any::<u64>()), any::<bool>()).prop_map(|failure| Failure {
        kind: failure.0,
        detail: failure.1,
        description: failure.2,
        http_status: failure.3,
        retry_after_ms: failure.4,
        outcome_unknown: failure.5,
    })
}

fn details() -> impl Strategy<Value = Details> {
    let texts = (of(word()), of(word()), of(word()), of(word()));
    let numbers = (of(any::<u16>()), any::<u64>(), of(any::<u64>()), of(0..4_000_000_000_000_u64));
    let headers = prop::collection::btree_map("[a-j-]{1,6}", word(), 0..3);
    (texts, numbers, headers, of(failure()), vec(word(), 0..3), vec(hop(), 0..3)).prop_map(
        |(texts, numbers, headers, exception, notes, hops)| Details {
            file_path: texts.0,
            paused_by: texts.3.clone(),
            redirects: texts.2.iter().cloned().collect(),
            response_url: texts.2.clone(),
            response_body: texts.1,
            mime_type: texts.2,
            char_set: texts.3,
            response_status_code: numbers.0,
            resumed_from: numbers.1,
            file_size: numbers.2,
            retry_at: numbers.3,
            response_headers: headers.into_iter().collect(),
            exception,
            notes,
            hops,
        },
    )
}

fn hop() -> impl Strategy<Value = Hop> {
    let answer = of((100_u16..600, prop::sample::select(Protocol::ALL.to_vec())));
    let address = of((any::<std::net::IpAddr>(), any::<u16>()).prop_map(Into::into));
    let times = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    (word(), answer, address, any::<bool>(), any::<bool>(), times).prop_map(|hop| Hop {
        url: hop.0,
        status: hop.1.map(|(status, _)| status),
        protocol: hop.1.map(|(_, protocol)| protocol),
        remote_address: hop.2,
        proxied: hop.3,
        reused: hop.4,
        lookup_us: hop.5.0,
        connect_us: hop.5.1,
        tls_us: hop.5.2,
        answer_us: hop.5.3,
    })
}

/// Numbers that serde_json reads to the last bit without its feature for that.
fn fraction() -> impl Strategy<Value = f64> {
    (-5_000_i32..1_000_000).prop_map(|number| f64::from(number) / 1_024.0)
}

fn update() -> impl Strategy<Value = Update> {
    let status = (any::<u64>(), word(), word(), 0_u8..8, 0..4_000_000_000_000_u64, of(details()));
    let status = status.prop_map(|(seq, task_id, group, status, at, details)| {
        Update::Status(StatusUpdate {
            seq,
            task_id,
            group,
            status: Status::from_number(status).unwrap(),
            at,
            details: details.filter(|details| *details != Details::default()).map(std::sync::Arc::new),
        })
    });
    let progress = (word(), word(), fraction(), any::<u64>(), of(any::<u64>()), of(fraction()), of(fraction()));
    let progress = progress.prop_map(|progress| {
        Update::Progress(ProgressUpdate {
            task_id: progress.0,
            group: progress.1,
            progress: progress.2,
            bytes_done: progress.3,
            expected_file_size: progress.4,
            network_speed: progress.5,
            time_remaining: progress.6,
        })
    });
    prop_oneof![status, progress]
}

/// Through text, as it is stored and sent.
fn through_text(json: &Value) -> Value {
    serde_json::from_str(&json.to_string()).unwrap()
}

proptest! {
    #[test]
    fn tasks_survive_writing_and_reading(task in task()) {
        for json in [write(&task, false), write_short(&task)] {
            let again = read(&through_text(&json), &Defaults::default());
            prop_assert_eq!(again.as_ref(), Ok(&task), "{}", json);
        }
    }

    #[test]
    fn masked_tasks_can_be_read_and_masked_again(task in task()) {
        let masked = write(&task, true);
        let again = read(&masked, &Defaults::default());
        prop_assert!(again.is_ok(), "{masked}: {again:?}");
        prop_assert_eq!(write(&again.unwrap_or_default(), true), masked);
    }

    #[test]
    fn updates_survive_writing_and_reading(update in update()) {
        let json = through_text(&write_update(&update));
        prop_assert_eq!(read_update(&json), Some(update), "{}", json);
    }

    #[test]
    fn base64_survives_and_nothing_panics(bytes in vec(any::<u8>(), 0..20), text in "[A-D=]{0,9}") {
        prop_assert_eq!(base64::decode(&base64::encode(&bytes)), Some(bytes));
        let _ = base64::decode(&text);
    }

    #[test]
    fn masking_never_panics(text in "[a:/?#@=&;%é. ]{0,20}") {
        let shown = crate::mask::url(&text);
        prop_assert_eq!(crate::mask::url(&shown), shown);
        let _ = crate::mask::text(&text);
    }
}
