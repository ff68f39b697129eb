//! What became of a task, read from an update or from a record: the little that the command line needs of either.

use haul::Status;
use haul::error::{FailureDetail, FailureKind};
use haul::event::StatusUpdate;
use serde_json::Value;

/// Where a task stands and why.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The status.
    pub(crate) status: Status,
    /// What the failure is.
    pub(crate) kind: Option<FailureKind>,
    /// How it came about.
    pub(crate) detail: FailureDetail,
    /// Status of the last response.
    pub(crate) http_status: Option<u16>,
    /// The failure in one sentence; empty when there is none.
    pub(crate) reason: String,
    /// The response's body, where it is kept with the task.
    pub(crate) body: Option<String>,
    /// Path of the finished file.
    pub(crate) path: Option<String>,
    /// Its length in bytes.
    pub(crate) size: Option<u64>,
    /// What a careful person wants to know.
    pub(crate) notes: Vec<String>,
    /// Milliseconds until the next attempt, counted from the update.
    pub(crate) retry_in_ms: Option<u64>,
}

impl Outcome {
    /// An outcome with nothing but a status.
    pub(crate) fn new(status: Status) -> Self {
        Self {
            status,
            kind: None,
            detail: FailureDetail::None,
            http_status: None,
            reason: String::new(),
            body: None,
            path: None,
            size: None,
            notes: Vec::new(),
            retry_in_ms: None,
        }
    }

    /// From an update as watchers get it.
    pub(crate) fn of_update(update: &StatusUpdate) -> Self {
        let mut outcome = Self::new(update.status);
        let Some(details) = &update.details else {
            return outcome;
        };
        outcome.http_status = details.response_status_code;
        outcome.body = details.response_body.clone();
        outcome.path = details.file_path.clone();
        outcome.size = details.file_size;
        outcome.notes = details.notes.clone();
        outcome.retry_in_ms = details.retry_at.map(|at| at.saturating_sub(update.at));
        if let Some(failure) = &details.exception {
            outcome.kind = Some(failure.kind);
            outcome.detail = failure.detail;
            outcome.reason = failure.description.clone();
            outcome.http_status = failure.http_status.or(outcome.http_status);
        }
        if let Some(by) = &details.paused_by {
            outcome.reason = paused_by(by);
        }
        outcome
    }

    /// From a record or an update in JSON; `None` when it has no status.
    pub(crate) fn of_json(json: &Value) -> Option<Self> {
        let mut outcome = Self::new(Status::from_name(json["status"].as_str()?)?);
        let code = |value: &Value| value.as_u64().and_then(|code| u16::try_from(code).ok());
        outcome.http_status = code(&json["responseStatusCode"]);
        outcome.body = json["responseBody"].as_str().map(str::to_owned);
        outcome.path = json["filePath"].as_str().map(str::to_owned);
        outcome.size = ["fileSize", "expectedFileSize", "bytesDone"].iter().find_map(|name| json[*name].as_u64());
        if let Some(notes) = json["notes"].as_array() {
            let texts = notes.iter().filter_map(Value::as_str);
            outcome.notes = texts.map(str::to_owned).collect();
        }
        let failure = &json["exception"];
        if let Some(name) = failure["type"].as_str() {
            outcome.kind = Some(FailureKind::from_name(name));
            outcome.reason = failure["description"].as_str().unwrap_or("").to_owned();
            outcome.http_status = code(&failure["httpResponseCode"]).or(outcome.http_status);
            if let Some(detail) = failure["detail"].as_str() {
                outcome.detail = FailureDetail::from_name(detail);
            }
        }
        if let Some(by) = json["pausedBy"].as_str() {
            outcome.reason = paused_by(by);
        }
        Some(outcome)
    }

    /// Whether a command that waits for the task has nothing more to wait for.
    pub(crate) fn is_end(&self) -> bool {
        self.status.is_final() || self.status == Status::Paused
    }
}

fn paused_by(component: &str) -> String {
    format!("paused by {component}")
}

#[cfg(test)]
mod tests;
