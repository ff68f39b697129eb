//! Outcomes from updates and from JSON are the same.

use haul::error::Failure;
use haul::event::Details;
use serde_json::json;

use super::*;

#[test]
fn an_update_tells_path_reason_and_wait() {
    let mut failure = Failure::new(FailureKind::Connection, "the connection was lost");
    failure.http_status = Some(200);
    let update = StatusUpdate {
        seq: 1,
        task_id: "t".into(),
        group: "default".into(),
        status: Status::WaitingToRetry,
        at: 1000,
        details: Some(std::sync::Arc::new(Details {
            exception: Some(failure),
            retry_at: Some(3000),
            ..Details::default()
        })),
    };
    let outcome = Outcome::of_update(&update);
    assert_eq!(outcome.retry_in_ms, Some(2000));
    assert_eq!(outcome.reason, "the connection was lost");
    assert_eq!(outcome.http_status, Some(200));
    assert!(!outcome.is_end());
}

#[test]
fn a_record_tells_what_an_update_tells() {
    let record = json!({
        "taskId": "t", "status": "failed", "responseStatusCode": null, "filePath": null, "bytesDone": 5,
        "exception": {"type": "httpResponse", "description": "the server answered 403", "httpResponseCode": 403},
        "notes": ["single-stream"],
    });
    let outcome = Outcome::of_json(&record).unwrap();
    assert_eq!(outcome.status, Status::Failed);
    assert_eq!(outcome.kind, Some(FailureKind::HttpResponse));
    assert_eq!(outcome.http_status, Some(403));
    assert_eq!(outcome.notes, ["single-stream"]);
    assert!(outcome.is_end());
}

#[test]
fn a_progress_update_is_no_outcome() {
    assert!(Outcome::of_json(&json!({"type": "progress", "taskId": "t", "progress": 0.5})).is_none());
}
