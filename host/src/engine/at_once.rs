//! Requests that are answered at once: beside the queue and its limits, and nothing of them is stored.
//!
//! They are attempts like any other, with all hooks but `on-task-finished`, which hears of what the event log has.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::api::Reply;
use crate::clock;
use crate::engine::limiting::refuse_canceled;
use crate::engine::requests::{admit, ended, tell};
use crate::engine::{Inner, Input};
use crate::error::{Error, Result};
use crate::event::{StatusUpdate, Update};
use crate::hooks::{Head, HookHead, RetryVerdict};
use crate::store::{Addition, TaskKey};
use crate::task::{Body, Pairs, Problem, Record, Status, Task, TaskType, Updates, json};
use crate::transfer::rate::OwnRate;
use crate::transfer::{End, Job, Slot, Stop};

/// The key of a task that is not stored: no row has it.
const NOBODY: TaskKey = 0;

/// Sends a request and answers its final update.
pub(super) async fn send(engine: &Inner, Addition { task, place, .. }: Addition) -> Result<Reply> {
    if !matches!(task.task_type, TaskType::Data | TaskType::Request) {
        let reason = format!("{} is not answered at once: it has to be added", task.task_type.name());
        return Err(Error::Invalid(vec![(0, vec![Problem { field: "taskType".into(), reason }])]));
    }
    let update = answered(engine, task, place).await?;
    Ok(Reply::Answered(json::write_update(&Update::Status(update))))
}

/// Asks by HEAD how long the task's file is and what it is called (background_downloader A.4, B.8, B.9).
pub(super) async fn probe(engine: &Inner, addition: Addition, unique: bool) -> Result<Reply> {
    let Addition { task, place, .. } = addition;
    let asked = Task { http_request_method: "HEAD".into(), body: Body::None, response_file: None, ..task.clone() };
    let details = answered(engine, asked, None).await?.details.map(Arc::unwrap_or_clone).unwrap_or_default();
    let status = details.response_status_code;
    let headers = match status {
        Some(200..=206) => details.response_headers,
        _ => Pairs::new(),
    };
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|(_, value)| value.trim().parse().ok());
    let expected_file_size = length.or_else(|| task.known_length());
    let chain = crate::transfer::chain_of(&engine.shared, &engine.transport, &task).await;
    let chain = chain.map_err(|failure| Error::Component(failure.description))?;
    let named = Task { task_type: TaskType::Download, filename: None, ..task };
    let hook_task = chain.prepare(&named);
    let head = Head { status: status.unwrap_or(200), headers, url: named.url.clone(), ..Head::default() };
    let head = HookHead::from(head);
    let broken = |failure: crate::error::Failure| Error::Component(failure.description);
    let mut filename = chain.filename(&hook_task, &head, &[]).await.map_err(broken)?;
    if unique {
        let directory = engine.shared.sandbox.directory(&named.base_directory, place.as_deref(), &named.directory);
        let directory = directory.map_err(|failure| Error::FileSystem(failure.description))?;
        if directory.exists(&filename) {
            let taken = directory.names_like(&filename);
            filename = chain.filename(&hook_task, &head, &taken).await.map_err(broken)?;
        }
    }
    let why = details.exception.filter(|_| status.is_none()).map(|failure| failure.description);
    Ok(Reply::Probed { status, expected_file_size, filename, why })
}

/// One attempt after the other, as hook `retry` says.
async fn answered(engine: &Inner, task: Task, place: Option<PathBuf>) -> Result<StatusUpdate> {
    // A DataTask's rules are a Request's; only it may be added.
    let task_id = clock::new_uuid().to_string();
    let (creation_time, retries_remaining) = (clock::unix_ms(), task.retries);
    let updates = Updates::Status; // only the last one is told, to who asks
    let task_type = TaskType::Data;
    let task = Task { task_type, filename: None, task_id, creation_time, retries_remaining, updates, ..task };
    let mut additions = [Addition { task, place, paused: false }];
    admit(engine, &mut additions, creation_time).await?;
    let [Addition { task, place, .. }] = additions;
    if let Some(scope) = &task.scope {
        refuse_canceled(engine, scope)?;
    }
    let mut record = Record::added(Arc::new(Task { task_type: TaskType::Request, ..task }), place);
    loop {
        let (reply, answer) = oneshot::channel();
        let job = Job {
            key: NOBODY,
            record: record.clone(),
            stop: Stop::default(),
            rate: OwnRate::new(record.task.limit_rate, clock::now()),
            slot: Slot::default(),
        };
        tell(engine, Input::Send { job: Box::new(job), reply })?;
        let (status, details) = match answer.await.map_err(|_| ended())? {
            End::Failed(failed) => match failed.verdict {
                RetryVerdict::AfterMs(ms) | RetryVerdict::AfreshAfterMs(ms) => {
                    clock::sleep(Duration::from_millis(ms)).await;
                    record.retries_remaining -= 1;
                    record.attempt += 1;
                    record.changes = failed.changes.or(record.changes);
                    continue;
                }
                RetryVerdict::GiveUp => (Status::Failed, failed.details),
            },
            End::Final { status, details, .. } => (status, details),
            End::Bytes(_) | End::Stopped { .. } => return Err(ended()),
        };
        let (task_id, group) = (record.task.task_id.clone(), record.task.group.clone());
        let details = Some(Arc::from(details));
        return Ok(StatusUpdate { seq: 0, task_id, group, status, at: clock::unix_ms(), details });
    }
}
