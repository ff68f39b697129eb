//! Updates to JSON and back, and records back.

use serde_json::{Map, Value, json};

use super::write::failure;
use super::{Defaults, read_as_far, time};
use crate::config::reason;
use crate::error::{Failure, FailureDetail, FailureKind};
use crate::event::{Details, Hop, ProgressUpdate, Protocol, StatusUpdate, Update};
use crate::mask;
use crate::task::{Pairs, Status, TaskRecord, Waiting};

/// Writes an update; see [`super::write_update`].
pub(super) fn write(update: &Update) -> Value {
    match update {
        Update::Status(update) => status(update),
        Update::Progress(update) => json!({
            "type": "progress",
            "taskId": update.task_id,
            "group": update.group,
            "progress": update.progress,
            "bytesDone": update.bytes_done,
            "expectedFileSize": update.expected_file_size,
            "networkSpeed": update.network_speed,
            "timeRemaining": update.time_remaining,
        }),
    }
}

fn status(update: &StatusUpdate) -> Value {
    let nothing = Details::default();
    let details = update.details.as_deref().unwrap_or(&nothing);
    let mut json = json!({
        "seq": update.seq,
        "type": "status",
        "taskId": update.task_id,
        "group": update.group,
        "status": update.status.name(),
        "at": time(update.at),
        "filePath": details.file_path,
        "responseStatusCode": details.response_status_code,
        "responseHeaders": headers(&details.response_headers),
        "responseBody": details.response_body,
        "mimeType": details.mime_type,
        "charSet": details.char_set,
        "exception": details.exception.as_ref().map(failure),
        "resumedFrom": details.resumed_from,
        "fileSize": details.file_size,
        "notes": details.notes,
    });
    if let (0, Some(json)) = (update.seq, json.as_object_mut()) {
        json.remove("seq"); // it is not in the log
    }
    if let Some(url) = &details.response_url {
        json["responseUrl"] = url.as_str().into();
        json["redirects"] = json!(details.redirects);
    }
    if !details.hops.is_empty() {
        json["hops"] = details.hops.iter().map(hop).collect();
    }
    if let Some(at) = details.retry_at {
        json["until"] = time(at).into();
    }
    if let Some(by) = &details.paused_by {
        json["pausedBy"] = by.as_str().into();
    }
    json
}

/// Writes an exchange.
pub(super) fn hop(hop: &Hop) -> Value {
    json!({
        "url": hop.url,
        "status": hop.status,
        "protocol": hop.protocol.map(Protocol::name),
        "remoteAddress": hop.remote_address,
        "proxied": hop.proxied,
        "reused": hop.reused,
        "lookupUs": hop.lookup_us,
        "connectUs": hop.connect_us,
        "tlsUs": hop.tls_us,
        "answerUs": hop.answer_us,
    })
}

fn read_hop(json: &Value) -> Option<Hop> {
    let us = |name: &str| json[name].as_u64().unwrap_or(0);
    Some(Hop {
        url: text(json, "url")?,
        status: code(&json["status"]),
        protocol: Protocol::ALL.into_iter().find(|known| Some(known.name()) == json["protocol"].as_str()),
        remote_address: json["remoteAddress"].as_str().and_then(|address| address.parse().ok()),
        proxied: json["proxied"].as_bool().unwrap_or(false),
        reused: json["reused"].as_bool().unwrap_or(false),
        lookup_us: us("lookupUs"),
        connect_us: us("connectUs"),
        tls_us: us("tlsUs"),
        answer_us: us("answerUs"),
    })
}

fn read_hops(json: &Value) -> Vec<Hop> {
    json.as_array().into_iter().flatten().filter_map(read_hop).collect()
}

/// Name to value; values of one name are joined (RFC 9110 §5.3). `null` when there are none.
fn headers(headers: &Pairs) -> Value {
    let mut map = Map::new();
    for (name, value) in headers {
        let value = mask::header(name, value);
        match map.get_mut(name) {
            Some(Value::String(joined)) => {
                joined.push_str(", ");
                joined.push_str(&value);
            }
            _ => {
                map.insert(name.clone(), value.into());
            }
        }
    }
    match map.is_empty() {
        true => Value::Null,
        false => Value::Object(map),
    }
}

/// Reads what [`write`] wrote.
pub(super) fn read(json: &Value) -> Option<Update> {
    match json["type"].as_str()? {
        "status" => read_status(json).map(Update::Status),
        "progress" => Some(Update::Progress(ProgressUpdate {
            task_id: text(json, "taskId")?,
            group: text(json, "group").unwrap_or_default(),
            progress: json["progress"].as_f64()?,
            bytes_done: json["bytesDone"].as_u64()?,
            expected_file_size: json["expectedFileSize"].as_u64(),
            network_speed: json["networkSpeed"].as_f64(),
            time_remaining: json["timeRemaining"].as_f64(),
        })),
        _ => None,
    }
}

fn read_status(json: &Value) -> Option<StatusUpdate> {
    let details = Details {
        file_path: text(json, "filePath"),
        response_status_code: code(&json["responseStatusCode"]),
        response_headers: read_headers(&json["responseHeaders"]),
        response_body: text(json, "responseBody"),
        response_url: text(json, "responseUrl"),
        redirects: texts(&json["redirects"]),
        mime_type: text(json, "mimeType"),
        char_set: text(json, "charSet"),
        exception: read_failure(&json["exception"]),
        resumed_from: json["resumedFrom"].as_u64().unwrap_or(0),
        file_size: json["fileSize"].as_u64(),
        notes: texts(&json["notes"]),
        hops: read_hops(&json["hops"]),
        retry_at: moment(&json["until"]),
        paused_by: text(json, "pausedBy"),
    };
    Some(StatusUpdate {
        seq: json["seq"].as_u64().unwrap_or(0),
        task_id: text(json, "taskId")?,
        group: text(json, "group").unwrap_or_default(),
        status: Status::from_name(json["status"].as_str()?)?,
        at: moment(&json["at"])?,
        details: (details != Details::default()).then(|| std::sync::Arc::new(details)),
    })
}

/// Reads a record; see [`super::read_record`].
pub(super) fn read_record(json: &Value) -> Option<TaskRecord> {
    let number = |name: &str| json[name].as_u64();
    let (task, _) = read_as_far(json, &Defaults::default());
    Some(TaskRecord {
        task,
        status: Status::from_name(json["status"].as_str()?)?,
        progress: json["progress"].as_f64(),
        bytes_done: number("bytesDone")?,
        expected_file_size: number("expectedFileSize"),
        attempt: number("attempt")?.try_into().ok()?,
        retries_remaining: json["retriesRemaining"].as_i64()?.try_into().ok()?,
        file_path: text(json, "filePath").map(Into::into),
        place: text(json, "place").map(Into::into),
        response_status_code: code(&json["responseStatusCode"]),
        response_body: text(json, "responseBody"),
        exception: read_failure(&json["exception"]),
        waiting: read_waiting(&json["waiting"]),
        can_resume: json["canResume"].as_bool()?,
        notes: texts(&json["notes"]),
        hops: read_hops(&json["hops"]),
        paused_by: text(json, "pausedBy"),
    })
}

fn read_waiting(json: &Value) -> Option<Waiting> {
    Some(Waiting { reason: text(json, "reason")?, until: moment(&json["until"]), detail: text(json, "detail")? })
}

fn read_headers(json: &Value) -> Pairs {
    let map = json.as_object().into_iter().flatten();
    map.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_string()))).collect()
}

fn read_failure(json: &Value) -> Option<Failure> {
    Some(Failure {
        kind: FailureKind::from_name(json["type"].as_str()?),
        detail: FailureDetail::from_name(json["detail"].as_str().unwrap_or_default()),
        description: text(json, "description")?,
        http_status: code(&json["httpResponseCode"]),
        retry_after_ms: json["retryAfterMs"].as_u64(),
        outcome_unknown: json["outcomeUnknown"].as_bool().unwrap_or(false),
    })
}

fn text(json: &Value, key: &str) -> Option<String> {
    json[key].as_str().map(String::from)
}

fn texts(json: &Value) -> Vec<String> {
    let items = json.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(String::from).collect()
}

fn code(json: &Value) -> Option<u16> {
    json.as_u64().and_then(|code| u16::try_from(code).ok())
}

fn moment(json: &Value) -> Option<u64> {
    json.as_str().and_then(|text| reason::time_ms(text, 0).ok())
}
