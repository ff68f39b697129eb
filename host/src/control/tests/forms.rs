//! Every request, reply and error crosses without loss.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use serde_json::json;

use super::super::wire::{Answer, ErrorForm, Question, Replied, Requested, line};
use super::*;
use crate::api::Action;
use crate::limits::LimitChanges;
use crate::store::{Addition, Filter, IfExists, Selection};
use crate::task::{Problem, Task};

fn all_requests() -> Vec<Request> {
    let task = Task {
        task_id: "t".into(),
        headers: vec![("b".into(), "1".into()), ("a".into(), "é\n".into()), ("b".into(), "2".into())],
        retries: 3,
        ..Task::download("https://user:secret@h/?token=abc")
    };
    let tasks = vec![
        Addition { task, place: Some("/srv/ä b".into()), paused: true },
        Addition { task: Task::default(), place: None, paused: false },
    ];
    let add = |if_exists, flag| {
        let twins = if flag { vec![0, 2] } else { Vec::new() };
        Request::Add { tasks: tasks.clone(), if_exists, continue_same: flag, work: !flag, twins }
    };
    let ids = vec!["a".to_string(), "b".to_string()];
    let mut requests = vec![
        add(IfExists::Reject, true),
        add(IfExists::ReturnExisting, false),
        add(IfExists::Replace, true),
        Request::Check { tasks: tasks.clone(), if_exists: IfExists::Reject, told: true },
        Request::Send { addition: Box::new(tasks[0].clone()) },
        Request::Probe { addition: Box::new(tasks[0].clone()), unique: true },
        Request::Work { ids: None },
        Request::Work { ids: Some(ids.clone()) },
        Request::List { filter: Filter::default(), after: 0 },
        Request::Limits { changes: Box::default(), reset: true },
        Request::Limits { changes: Box::new(LimitChanges { total: Some(3), ..LimitChanges::default() }), reset: false },
        Request::LimitTask { id: "a".into(), limit_rate: Some(7) },
        Request::Scopes,
        Request::ReopenScope { name: "a/b".into() },
        Request::Show { id: "a".into() },
        Request::Remove { ids: ids.clone() },
        Request::Clean { older_than_ms: u64::MAX },
        Request::Events { after: None, consumer: None },
        Request::Events { after: Some(5), consumer: Some("c".into()) },
        Request::Ack { consumer: "c".into(), seq: 7 },
        Request::Consumers,
        Request::ForgetConsumer { name: "c".into() },
        Request::Counts,
        Request::Info,
    ];
    for status in Status::ALL {
        let (group, scope) = (Some("g".into()), Some("a/b".into()));
        let filter = Filter { statuses: vec![status, Status::Paused], group, scope, ids: ids.clone() };
        requests.push(Request::List { filter, after: i64::MAX });
    }
    for action in [Action::Pause, Action::Resume, Action::Cancel, Action::Retry] {
        for select in
            [Selection::Ids(ids.clone()), Selection::Group("g".into()), Selection::Scope("s".into()), Selection::All]
        {
            requests.push(Request::Control { action, select, reason: Some("r".into()), work: true });
        }
    }
    requests
}

#[test]
fn every_request_survives() {
    for request in all_requests() {
        let before = format!("{request:?}");
        let question = Question { n: 3, request: Some(Requested(request)), ..Question::default() };
        let line = line(&question).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let after: Question = serde_json::from_slice(&line).unwrap();
        assert_eq!(format!("{:?}", after.request.unwrap().0), before);
        assert_eq!((after.n, after.watch), (3, false));
    }
}

#[test]
fn every_reply_survives() {
    for reply in [
        Reply::Done,
        Reply::Added { ids: vec!["a".into()], ended: vec!["a".into()] },
        Reply::Changed { count: 1, changed: vec!["a".into()], refused: vec![("b".into(), "why".into())] },
        Reply::Records { records: vec![json!({"z":1,"a":[2.5]})], more: Some(-1) },
        Reply::Records { records: Vec::new(), more: None },
        Reply::Events { events: vec![json!({"seq":1})], last: u64::MAX },
        Reply::Count(5),
        Reply::Answered(json!({"seq":0})),
        Reply::Probed { status: Some(200), expected_file_size: Some(7), filename: "f".into(), why: None },
        Reply::Counts { by_status: [0, 1, 2, 3, 4, 5, 6, 7], working: 9 },
        Reply::Info(json!(null)),
        Reply::Info(json!({"x":"y"})),
    ] {
        let before = format!("{reply:?}");
        let answer = Answer { n: Some(1), reply: Some(Replied(reply)), ..Answer::default() };
        let after: Answer = serde_json::from_slice(&line(&answer).unwrap()).unwrap();
        assert_eq!(format!("{:?}", after.reply.unwrap().0), before);
    }
}

#[test]
fn every_error_survives_with_its_kind() {
    let problem = |field: &str| Problem { field: field.into(), reason: "is wrong".into() };
    let text = || "a sentence".to_string();
    for error in [
        Error::Invalid(vec![(0, vec![problem("a"), problem("b")]), (7, vec![problem("c")])]),
        Error::UnknownTask(text()),
        Error::Refused(text()),
        Error::HomeLocked(text()),
        Error::DatabaseLocked(text()),
        Error::Damaged(text()),
        Error::Component(text()),
        Error::FileSystem(text()),
        Error::Usage(text()),
        Error::Other(text()),
    ] {
        let before = format!("{error:?}");
        let answer = Answer { error: Some(error.into()), ..Answer::default() };
        let after: Answer = serde_json::from_slice(&line(&answer).unwrap()).unwrap();
        let form: ErrorForm = after.error.unwrap();
        assert_eq!(format!("{:?}", Error::from(form)), before);
    }
}

#[test]
fn a_place_that_is_not_utf_8_is_refused_with_a_sentence() {
    let place = OsString::from_vec(b"/srv/\xff".to_vec());
    let request = Request::Add {
        tasks: vec![Addition { task: Task::default(), place: Some(place.into()), paused: false }],
        if_exists: IfExists::Reject,
        continue_same: false,
        work: false,
        twins: Vec::new(),
    };
    let question = Question { request: Some(Requested(request)), ..Question::default() };
    let refused = line(&question).unwrap_err();
    assert!(matches!(&refused, Error::Refused(text) if text.contains("is not UTF-8")), "{refused}");
}

#[tokio::test]
async fn a_hundred_thousand_tasks_cross_in_one_request() {
    // A debug build does a tenth of it.
    let count = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
    let worked = work("home").await;
    let client = join(&worked.home).await;
    let task = Task { filename: Some("f.bin".into()), ..Task::download("https://example.org/a/b/c/f.bin?x=1") };
    let tasks = vec![Addition { task, place: Some("/srv/in".into()), paused: false }; count];
    let (if_exists, twins) = (IfExists::Reject, Vec::new());
    let request = Request::Add { tasks, if_exists, continue_same: false, work: false, twins };
    let reply = client.call(request).await;
    assert!(matches!(reply, Ok(Reply::Count(crossed)) if crossed == count as u64), "{reply:?}");
}
