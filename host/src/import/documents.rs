//! JSON of other programs: background_downloader's tasks, records, updates and resume data (A.17), and the cordova plug-in's
//! payloads (CU-04 to CU-12).

use serde_json::{Map, Value};

use super::{Entry, Kind, Options, set_directory};
use crate::task::json::{self, Defaults};
use crate::task::{Body, Task, TaskType};

/// The group of the pieces of a parallel download (background_downloader B.7).
const PIECES: &str = "chunk";

/// Keys beside a task's that background_downloader's documents have, and its stores' own.
const BESIDE: [&str; 6] = ["task", "data", "requiredStartByte", "eTag", "modified", "status"];

/// What JSON is, by its first object.
pub(super) fn kind(text: &str) -> Kind {
    let first = serde_json::Deserializer::from_str(text).into_iter::<Value>().next();
    let first = match first {
        Some(Ok(Value::Array(items))) => items.into_iter().next(),
        Some(Ok(value)) => Some(value),
        _ => None,
    };
    if first.is_some_and(|first| is_payload(&first)) { Kind::Cordova } else { Kind::Tasks }
}

/// A payload of `startUpload` is known by where it goes to; one without that by what it sends, which no task has in such words.
fn is_payload(first: &Value) -> bool {
    let has = |key: &&str| first.get(*key).is_some();
    has(&"serverUrl") || (has(&"filePath") && !["url", "urls", "task", "taskId"].iter().any(has))
}

/// Reads objects one after another, and arrays of them.
pub(super) fn read(text: &str, name: &str, kind: Kind, options: &Options) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let (mut line, mut counted) = (1, 0);
    loop {
        let at = values.byte_offset();
        let spaces = text[at..].len() - text[at..].trim_start().len();
        line += text[counted..at + spaces].matches('\n').count();
        counted = at + spaces;
        match values.next() {
            None => return entries,
            Some(Ok(Value::Array(items))) => {
                let numbered = items.iter().enumerate();
                entries.extend(numbered.map(|(at, item)| one(item, format!("{name}: task {}", at + 1), kind, options)));
            }
            Some(Ok(value)) => entries.push(one(&value, format!("{name}:{line}"), kind, options)),
            Some(Err(error)) => {
                let column = error.column();
                let what = error.to_string();
                let what = what.split(" at line ").next().unwrap_or_default();
                let origin = format!("{name}:{}", error.line());
                entries.push(Entry::unreadable(origin, format!("is not JSON: {what} (column {column})")));
                return entries;
            }
        }
    }
}

fn one(value: &Value, origin: String, kind: Kind, options: &Options) -> Entry {
    match (value, kind) {
        (Value::Object(payload), Kind::Cordova) => self::payload(payload, origin, options),
        (Value::Object(_), _) => task(value, origin, options),
        _ => Entry::unreadable(origin, "must be an object".into()),
    }
}

/// A task, or a record, update or resume data with a task in it.
pub(super) fn task(value: &Value, origin: String, options: &Options) -> Entry {
    let empty = Map::new();
    let outer = value.as_object().unwrap_or(&empty);
    let mut fields = json::task_in(value).as_object().unwrap_or(&empty).clone();
    BESIDE.iter().for_each(|key| drop(fields.remove(*key)));
    let unknown: Vec<String> = fields.keys().filter(|key| !json::is_known(key)).cloned().collect();
    unknown.iter().for_each(|key| drop(fields.remove(key)));
    let defaults = Defaults { now_ms: options.now_ms, ..Defaults::default() };
    let (task, problems) = json::read_as_far(&Value::Object(fields), &defaults);
    let is_piece = task.group == PIECES || outer.contains_key("parentTaskId");
    let mut entry = Entry::new(origin, task);
    entry.problems = problems;
    for key in unknown {
        entry.note(format!("`{key}` has no meaning here and is left out"));
    }
    all_retries(&mut entry);
    match (json::status_of(value), outer.get("status").or(outer.get("taskStatus"))) {
        (Some(status), _) => entry.had(status, options),
        (None, Some(unknown)) if !unknown.is_null() => {
            entry.problem("status", format!("must be the name or number of a status, not `{unknown}`"));
        }
        (None, _) => {}
    }
    if outer.contains_key("requiredStartByte") {
        entry.addition.paused = true;
        partial(&mut entry, outer);
    }
    if is_piece {
        entry.skipped = Some("it is a piece of a parallel download, which is imported as a whole".into());
    }
    entry.grant(options);
    entry
}

/// A task begins with all its retries here. The other program has some that have more left than they began with (a copy with
/// fewer `retries` keeps what was left), or -1.
fn all_retries(entry: &mut Entry) {
    let task = &mut entry.addition.task;
    let left = std::mem::replace(&mut task.retries_remaining, task.retries);
    // Where `retries` itself cannot be read, that is what is wrong.
    let is_known = entry.problems.iter().all(|problem| problem.field != "retries");
    if is_known && !(0..=task.retries).contains(&left) {
        let retries = task.retries;
        entry.note(format!("`retriesRemaining` {left} of {retries} means nothing: it begins with all its retries"));
    }
}

/// Resume data: what was downloaded already is not taken over.
pub(super) fn partial(entry: &mut Entry, data: &Map<String, Value>) {
    let bytes = data.get("requiredStartByte").and_then(Value::as_f64).filter(|bytes| *bytes > 0.0);
    match bytes {
        Some(bytes) => {
            entry.note(format!("it begins afresh: the {bytes:.0} bytes of its temporary file are not taken over"))
        }
        None => entry.note("it begins afresh: its temporary files are not taken over"),
    }
}

/// A payload of `startUpload`.
fn payload(payload: &Map<String, Value>, origin: String, options: &Options) -> Entry {
    let task = Task { task_type: TaskType::Upload, body: Body::Multipart, allow_pause: false, ..Task::default() };
    let mut entry = Entry::new(origin, task);
    entry.addition.task.retries = 9; // Android made ten attempts (CU-32)
    for (key, value) in payload {
        let text = value.as_str().map(String::from);
        let task = &mut entry.addition.task;
        match (key.as_str(), text) {
            (_, _) if value.is_null() => {}
            ("id", Some(text)) => task.task_id = text,
            ("serverUrl", Some(text)) => task.url = text,
            ("fileKey", Some(text)) => task.file_field = text,
            ("notificationTitle", Some(text)) => task.display_name = text,
            ("requestMethod", Some(text)) => task.http_request_method = text.to_ascii_uppercase(),
            ("filePath", Some(text)) => path(&mut entry, &text),
            ("headers", _) => match pairs(value) {
                Some(pairs) => task.headers = pairs,
                None => entry.problem("headers", "must be an object of texts"),
            },
            ("parameters", _) => match pairs(value) {
                Some(pairs) => task.fields = pairs,
                None => entry.problem("parameters", "must be an object of texts and numbers"),
            },
            ("id" | "serverUrl" | "fileKey" | "notificationTitle" | "requestMethod" | "filePath", None) => {
                entry.problem(key, "must be text");
            }
            _ => entry.note(format!("`{key}` has no meaning here and is left out")),
        }
    }
    for (key, what) in [("serverUrl", "the URL that the file is sent to"), ("filePath", "the file to send")] {
        if payload.get(key).is_none_or(Value::is_null) {
            entry.problem(key, format!("is missing from this payload of startUpload: add {what}"));
        }
    }
    entry.grant(options);
    entry
}

/// `filePath` is absolute, perhaps with `file://` in front.
fn path(entry: &mut Entry, text: &str) {
    let decoded =
        url::Url::parse(text).ok().filter(|url| url.scheme() == "file").and_then(|url| url.to_file_path().ok());
    let path = decoded.as_deref().and_then(std::path::Path::to_str).unwrap_or(text);
    match path.rsplit_once('/') {
        Some((directory, name)) if path.starts_with('/') && !name.is_empty() => {
            entry.addition.task.filename = Some(name.into());
            set_directory(&mut entry.addition.task, &format!("{directory}/"));
        }
        _ => entry.problem("filePath", format!("must be an absolute path, not `{text}`")),
    }
}

fn pairs(value: &Value) -> Option<Vec<(String, String)>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    value.as_object()?.iter().map(|(name, value)| Some((name.clone(), text(value)?))).collect()
}
