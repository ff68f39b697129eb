//! Task and record to JSON.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::{base64, time};
use crate::config::LAST_TIME_MS;
use crate::error::Failure;
use crate::mask::{self, MASK};
use crate::task::{
    Auth, Body, FilePart, OWN, OnConflict, Pairs, Record, Resumable, Status, Task, TaskType, Timeouts, Updates, Waiting,
};

static DEFAULT: LazyLock<Task> = LazyLock::new(Task::default);

/// Writes a task; with `all`, background_downloader's fields are there even where they have their default.
pub(super) fn task(task: &Task, masked: bool, all: bool) -> Map<String, Value> {
    let mut out = Writer { map: Map::new(), masked, all };
    out.request(task);
    out.place(task);
    out.uploads(task);
    out.own(task);
    out.map
}

/// Writes a record; see [`super::write_record`].
pub(super) fn record(record: &Record, waiting: Option<&Waiting>, can_resume: bool) -> Value {
    let mut map = task(&record.task, true, true);
    let mut put = |key: &str, value: Value| {
        map.insert(key.into(), value);
    };
    put("status", record.status.name().into());
    put("progress", json!(progress(record)));
    put("expectedFileSize", json!(record.expected_file_size));
    put("bytesDone", record.bytes_done.into());
    put("retriesRemaining", record.retries_remaining.into());
    put("attempt", record.attempt.into());
    let path = |path: &std::path::PathBuf| path.to_string_lossy().into_owned();
    put("filePath", json!(record.file_path.as_ref().map(path)));
    put("responseStatusCode", json!(record.response_status_code));
    put("exception", json!(record.exception.as_ref().map(failure)));
    let waiting = waiting.map(|waiting| {
        json!({
            "reason": waiting.reason,
            "until": waiting.until.map(time),
            "detail": mask::text(&waiting.detail),
        })
    });
    put("waiting", json!(waiting));
    put("canResume", can_resume.into());
    put("notes", json!(record.notes));
    if !record.hops.is_empty() {
        put("hops", record.hops.iter().map(super::update::hop).collect());
    }
    if let Some(by) = &record.paused_by {
        put("pausedBy", by.as_str().into());
    }
    if let Some(place) = &record.place {
        put("place", path(place).into());
    }
    Value::Object(map)
}

/// 0 to 1; `None` while the length is unknown. Below 1 until the file has its name (background_downloader B.3).
fn progress(record: &Record) -> Option<f64> {
    if record.status == Status::Complete {
        return Some(1.0);
    }
    let expected = record.expected_file_size.filter(|size| *size > 0)?;
    #[expect(clippy::cast_precision_loss, reason = "a fraction for people")]
    let fraction = record.bytes_done as f64 / expected as f64;
    Some(fraction.min(0.999))
}

/// Writes a failure: `type`, `description`, `httpResponseCode`, and what else is known where it is known.
pub(super) fn failure(failure: &Failure) -> Value {
    let mut json = json!({
        "type": failure.kind.name(),
        "description": mask::text(&failure.description),
        "httpResponseCode": failure.http_status,
    });
    if !failure.detail.name().is_empty() {
        json["detail"] = failure.detail.name().into();
    }
    if let Some(ms) = failure.retry_after_ms {
        json["retryAfterMs"] = ms.into();
    }
    if failure.outcome_unknown {
        json["outcomeUnknown"] = true.into();
    }
    json
}

/// An object that grows.
struct Writer {
    map: Map<String, Value>,
    masked: bool,
    all: bool,
}

impl Writer {
    /// One of background_downloader's fields: always, or when it differs from the default.
    fn field(&mut self, key: &str, differs: bool, value: impl FnOnce() -> Value) {
        if self.all || differs {
            self.map.insert(key.into(), value());
        }
    }

    /// One of haul's own fields: when it differs from the default.
    fn own_field(&mut self, key: &str, differs: bool, value: impl FnOnce() -> Value) {
        if differs {
            self.map.insert(key.into(), value());
        }
    }

    fn url(&self, url: &str) -> Value {
        if self.masked { mask::url(url).into() } else { url.into() }
    }

    fn request(&mut self, task: &Task) {
        let masked = self.masked;
        self.field("taskType", task.task_type != TaskType::Download, || task.task_type.name().into());
        self.field("taskId", !task.task_id.is_empty(), || task.task_id.as_str().into());
        let url = self.url(&task.url);
        self.field("url", !task.url.is_empty(), || url);
        let query = &task.url_query_parameters;
        self.own_field("urlQueryParameters", !query.is_empty(), || match masked {
            true => pairs(&mask::parameters(query)),
            false => pairs(query),
        });
        let has_headers = !task.headers.is_empty() || task.without_headers().next().is_some();
        self.field("headers", has_headers, || match masked {
            true => headers(&mask::headers(&task.headers), task),
            false => headers(&task.headers, task),
        });
        let method = &task.http_request_method;
        self.field("httpRequestMethod", !method.is_empty(), || method.as_str().into());
        self.body(task);
        self.own_field("contentType", task.content_type.is_some(), || json!(task.content_type));
        self.field("retries", task.retries != 0, || task.retries.into());
        let remaining = task.retries_remaining;
        self.field("retriesRemaining", remaining != task.retries, || remaining.into());
        self.field("creationTime", task.creation_time != 0, || task.creation_time.into());
    }

    /// The inverse of `body` in reading: what a task of that type sends by itself needs no key.
    fn body(&mut self, task: &Task) {
        let upload = matches!(task.task_type, TaskType::Upload | TaskType::MultiUpload);
        let shown = if self.masked { mask::form(task).map(Body::Bytes) } else { None };
        let (key, value) = match shown.as_ref().unwrap_or(&task.body) {
            Body::None if !upload => ("post", Value::Null),
            Body::Multipart if upload => ("post", Value::Null),
            Body::File if upload => ("post", "binary".into()),
            Body::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if !(upload && text.eq_ignore_ascii_case("binary")) => ("post", text.into()),
                _ => ("postBase64", base64::encode(bytes).into()),
            },
            Body::None => ("body", "none".into()),
            Body::File => ("body", "file".into()),
            Body::Multipart => ("body", "multipart".into()),
        };
        self.field(key, !value.is_null(), || value);
    }

    fn place(&mut self, task: &Task) {
        let default = &*DEFAULT;
        self.field("filename", task.filename.is_some(), || json!(task.filename));
        self.field("directory", !task.directory.is_empty(), || task.directory.as_str().into());
        self.field("baseDirectory", task.base_directory != default.base_directory, || {
            task.base_directory.as_str().into()
        });
        self.field("group", task.group != default.group, || task.group.as_str().into());
        self.field("updates", task.updates != default.updates, || updates_name(task.updates).into());
        self.field("requiresWiFi", task.requires_wifi, || task.requires_wifi.into());
        self.field("allowPause", !task.allow_pause || matches!(task.body, Body::Bytes(_)), || task.allow_pause.into());
        self.field("priority", task.priority != default.priority, || task.priority.into());
        self.field("metaData", !task.meta_data.is_empty(), || task.meta_data.as_str().into());
        self.field("displayName", !task.display_name.is_empty(), || task.display_name.as_str().into());
        let masked = self.masked;
        self.field("options", task.auth.is_some(), || match &task.auth {
            Some(auth) => json!({ "auth": auth_json(auth, masked) }),
            None => Value::Null,
        });
    }

    fn uploads(&mut self, task: &Task) {
        let masked = self.masked;
        let upload = task.task_type == TaskType::Upload && self.all;
        self.own_field("fileField", upload || task.file_field != DEFAULT.file_field, || {
            task.file_field.as_str().into()
        });
        self.own_field("mimeType", upload || !task.mime_type.is_empty(), || task.mime_type.as_str().into());
        self.own_field("fields", upload || !task.fields.is_empty(), || match masked {
            true => pairs(&mask::parameters(&task.fields)),
            false => pairs(&task.fields),
        });
        let names = task.sent_names();
        self.own_field("sentNames", !names.is_empty(), || json!(names));
        let multi = task.task_type == TaskType::MultiUpload;
        self.own_field("files", multi || !task.files.is_empty(), || match masked {
            true => mask::parts(&task.files).iter().map(file_part).collect(),
            false => task.files.iter().map(file_part).collect(),
        });
    }

    fn own(&mut self, task: &Task) {
        let default = &*DEFAULT;
        let parallel = task.task_type == TaskType::ParallelDownload;
        let mirrors: Vec<Value> = task.mirrors.iter().map(|url| self.url(url)).collect();
        let urls: Vec<Value> = std::iter::once(self.url(&task.url)).chain(mirrors.iter().cloned()).collect();
        self.own_field("mirrors", !mirrors.is_empty(), || mirrors.into());
        self.own_field("urls", parallel && self.all, || urls.into());
        self.own_field("chunks", parallel || task.chunks != default.chunks, || task.chunks.into());
        self.own_field("checksum", task.checksum.is_some(), || json!(task.checksum));
        self.own_field("onConflict", task.on_conflict.is_some(), || json!(task.on_conflict.map(conflict_name)));
        self.own_field("notBefore", task.not_before.is_some(), || time_json(task.not_before));
        self.own_field("notAfter", task.not_after.is_some(), || time_json(task.not_after));
        self.own_field("limitRate", task.limit_rate.is_some(), || json!(task.limit_rate));
        self.own_field("timeouts", task.timeouts != default.timeouts, || timeouts(&task.timeouts));
        self.own_field("maxRedirects", task.max_redirects != default.max_redirects, || task.max_redirects.into());
        self.own_field("acceptStatus", !task.accept_status.is_empty(), || {
            let ranges = task.accept_status.iter();
            ranges.map(|(first, last)| status_range(*first, *last)).collect()
        });
        self.own_field("callbacks", !task.callbacks.is_empty(), || json!(task.callbacks));
        self.own_field("scope", task.scope.is_some(), || json!(task.scope));
        self.own_field("responseFile", task.response_file.is_some(), || json!(task.response_file));
        self.own_field("repeatable", task.repeatable, || true.into());
        self.own_field("profile", task.profile().is_some(), || json!(task.profile()));
        self.own_field("notification", task.notification().is_some(), || json!(task.notification()));
        let resumable = task.resumable();
        self.own_field("resumable", resumable.is_some(), || json!(resumable.map(Resumable::name)));
        let owners: Pairs = task.extra.iter().filter(|(name, _)| !name.starts_with(OWN)).cloned().collect();
        self.own_field("extra", !owners.is_empty(), || pairs_unrepeated(&owners));
    }
}

/// The inverse of what is read: a list of three texts, or, where that does not say it all, an object.
fn file_part(part: &FilePart) -> Value {
    let FilePart { field, filename, mime_type, headers, content } = part;
    if headers.is_empty() && content.is_none() {
        return json!([field, filename, mime_type]);
    }
    let mut out = json!({"field": field, "filename": filename, "mimeType": mime_type});
    if !headers.is_empty() {
        out["headers"] = pairs(headers);
    }
    match content.as_deref().map(std::str::from_utf8) {
        None => {}
        Some(Ok(text)) => out["content"] = text.into(),
        Some(Err(_)) => out["contentBase64"] = base64::encode(content.as_deref().unwrap_or_default()).into(),
    }
    out
}

/// Names and values as an object; names that repeat side by side have a list, and where they repeat elsewhere the whole is
/// a list of pairs, so that the order is kept.
fn pairs(pairs: &Pairs) -> Value {
    let mut map = Map::new();
    let mut last: Option<&str> = None;
    for (name, value) in pairs {
        match map.get_mut(name) {
            None => {
                map.insert(name.clone(), value.as_str().into());
            }
            Some(_) if last != Some(name) => return list_of_pairs(pairs),
            Some(Value::Array(values)) => values.push(value.as_str().into()),
            Some(first) => *first = json!([first.take(), value]),
        }
        last = Some(name);
    }
    Value::Object(map)
}

/// Headers, and null for each that is left out; in a list where the task has one of that name itself.
fn headers(given: &Pairs, task: &Task) -> Value {
    let left_out: Vec<&str> = task.without_headers().collect();
    let is_given = |name: &&str| given.iter().any(|(known, _)| known == name);
    let mut value = if left_out.iter().any(is_given) { list_of_pairs(given) } else { pairs(given) };
    for name in left_out {
        match &mut value {
            Value::Array(items) => items.push(json!([name, null])),
            value => value[name] = Value::Null,
        }
    }
    value
}

/// Names and values where a list would be a value of its own.
fn pairs_unrepeated(pairs: &Pairs) -> Value {
    let map: Map<String, Value> = pairs.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    if map.len() == pairs.len() { Value::Object(map) } else { list_of_pairs(pairs) }
}

fn list_of_pairs(pairs: &Pairs) -> Value {
    pairs.iter().map(|(name, value)| json!([name, value])).collect()
}

/// Credentials. Masked, every value is: whatever stands here is there because it opens something. Only templates stay.
fn auth_json(auth: &Auth, masked: bool) -> Value {
    let secret = |text: &String| match masked && !is_template(text) {
        true => MASK.to_string(),
        false => text.clone(),
    };
    let secrets = |given: &Pairs| {
        let shown = given.iter().map(|(name, value)| (name.clone(), secret(value)));
        pairs(&shown.collect())
    };
    let mut map = Map::new();
    let mut put = |key: &str, there: bool, value: Value| {
        if there {
            map.insert(key.into(), value);
        }
    };
    put("accessToken", auth.access_token.is_some(), json!(auth.access_token.as_ref().map(secret)));
    put("accessHeaders", !auth.access_headers.is_empty(), secrets(&auth.access_headers));
    put("accessQueryParams", !auth.access_query_params.is_empty(), secrets(&auth.access_query_params));
    let expiry = auth.access_token_expiry_time;
    put("accessTokenExpiryTime", expiry.is_some(), json!(expiry));
    put("refreshToken", auth.refresh_token.is_some(), json!(auth.refresh_token.as_ref().map(secret)));
    put("refreshHeaders", !auth.refresh_headers.is_empty(), secrets(&auth.refresh_headers));
    put("refreshQueryParams", !auth.refresh_query_params.is_empty(), secrets(&auth.refresh_query_params));
    let url = auth.refresh_url.as_ref().map(|url| match masked {
        true => mask::url(url),
        false => url.clone(),
    });
    put("refreshUrl", url.is_some(), json!(url));
    Value::Object(map)
}

/// Whether a text is a template and nothing that could be a secret: `{accessToken}`, `Bearer {accessToken}`.
fn is_template(text: &str) -> bool {
    let text = text.strip_prefix("Bearer ").unwrap_or(text);
    text == "{accessToken}" || text == "{refreshToken}"
}

/// RFC 3339, or milliseconds where that cannot say it, which no task may have.
fn time_json(ms: Option<u64>) -> Value {
    match ms {
        Some(ms) if ms <= LAST_TIME_MS => time(ms).into(),
        _ => json!(ms),
    }
}

fn timeouts(timeouts: &Timeouts) -> Value {
    let given = [
        ("connect", timeouts.connect_ms),
        ("send", timeouts.send_ms),
        ("head", timeouts.head_ms),
        ("idle", timeouts.idle_ms),
        ("total", timeouts.total_ms),
    ];
    let given = given.into_iter().filter_map(|(key, ms)| Some((key.to_string(), Value::from(ms?))));
    Value::Object(given.collect())
}

fn status_range(first: u16, last: u16) -> Value {
    if first.is_multiple_of(100) && first.checked_add(99) == Some(last) {
        format!("{}xx", first / 100).into()
    } else if first == last {
        first.to_string().into()
    } else {
        format!("{first}-{last}").into()
    }
}

fn updates_name(updates: Updates) -> &'static str {
    match updates {
        Updates::None => "none",
        Updates::Status => "status",
        Updates::Progress => "progress",
        Updates::StatusAndProgress => "statusAndProgress",
    }
}

fn conflict_name(on_conflict: OnConflict) -> &'static str {
    match on_conflict {
        OnConflict::Unique => "unique",
        OnConflict::Replace => "replace",
        OnConflict::Fail => "fail",
        OnConflict::Skip => "skip",
    }
}
