//! JSON to task. One pass over the object's keys, then the fields that depend on each other.

mod files;
mod values;

use serde_json::{Map, Value};

use super::{Defaults, base64};
use crate::config::reason;
use crate::task::query::{self, ListFormat, ListFormats};
use crate::task::{
    Auth, Body, OWN, OnConflict, Problem, RESUMABLE, Resumable, Status, Task, TaskType, Timeouts, Updates,
};
use values::{Problems, kind};

/// Keys that mean nothing here and are ignored: those of background_downloader's records and updates when they stand beside
/// a task's fields (A.10, A.12), and those of our own records.
const IGNORED: [&str; 22] = [
    "status",
    "taskStatus",
    "progress",
    "expectedFileSize",
    "exception",
    "responseBody",
    "responseHeaders",
    "responseStatusCode",
    "charSet",
    "networkSpeed",
    "timeRemaining",
    "bytesDone",
    "attempt",
    "filePath",
    "waiting",
    "pausedBy",
    "canResume",
    "notes",
    "place",
    "readyAt",
    "hops",
    "resume",
];

/// All keys that mean something, for suggestions.
const KNOWN: [&str; 63] = [
    "listFormats",
    "field",
    "content",
    "contentBase64",
    "profile",
    "notification",
    "resumable",
    "taskType",
    "taskId",
    "url",
    "urls",
    "mirrors",
    "urlQueryParameters",
    "headers",
    "httpRequestMethod",
    "post",
    "postBase64",
    "json",
    "body",
    "contentType",
    "filename",
    "directory",
    "baseDirectory",
    "group",
    "updates",
    "requiresWiFi",
    "retries",
    "retriesRemaining",
    "allowPause",
    "priority",
    "urlSessionPriority",
    "metaData",
    "displayName",
    "creationTime",
    "checksum",
    "chunks",
    "onConflict",
    "notBefore",
    "notAfter",
    "limitRate",
    "timeouts",
    "maxRedirects",
    "acceptStatus",
    "callbacks",
    "scope",
    "fileField",
    "mimeType",
    "fields",
    "files",
    "sentNames",
    "responseFile",
    "options",
    "accessToken",
    "repeatable",
    "extra",
    "queryParameters",
    "form",
    "listFormat",
    "connect",
    "send",
    "head",
    "idle",
    "total",
];

/// background_downloader's base directories in the order of their numbers (A.16).
const BASE_DIRECTORIES: [&str; 5] = ["documents", "temporary", "support", "library", "root"];

/// Whether [`task`] takes a key; see [`super::is_known`].
pub(super) fn is_known(key: &str) -> bool {
    KNOWN.contains(&key) || IGNORED.contains(&key)
}

/// Reads a task; see [`super::read_as_far`].
pub(super) fn task(json: &Value, defaults: &Defaults) -> (Task, Vec<Problem>) {
    let Value::Object(map) = json else {
        let reason = format!("must be an object, not {}", kind(json));
        return (defaults.task.clone(), vec![Problem { field: "task".into(), reason }]);
    };
    let mut reader = Reader { task: defaults.task.clone(), now_ms: defaults.now_ms, ..Reader::default() };
    reader.task_type(map.get("taskType"));
    for (key, value) in map {
        if !(reader.request_field(key, value)
            || reader.task_field(key, value)
            || reader.own_field(key, value)
            || reader.upload_field(key, value, map)
            || IGNORED.contains(&key.as_str()))
        {
            reader.problems.unknown("", key, "a task");
        }
    }
    let is_given = |key: &str| map.get(key).is_some_and(|value| !value.is_null());
    if is_given("priority") && is_given("urlSessionPriority") {
        reader.problems.problem::<()>(
            "urlSessionPriority",
            "stands beside `priority`, which says the same: leave one of them out",
        );
    }
    if let Some(protocol) = reader.resumable {
        reader.task.set_extra(RESUMABLE, protocol.name());
    }
    reader.content_type();
    reader.lists();
    reader.places();
    reader.body();
    reader.files();
    reader.task.retries_remaining = reader.retries_remaining.unwrap_or(reader.task.retries);
    (reader.task, reader.problems.all())
}

/// The status of a record (`status`) or update (`taskStatus`), by number (A.16) or name; that of an update of progress by
/// its special values (A.10).
pub(super) fn status_of(document: &Value) -> Option<Status> {
    let Some(value) = document.get("status").or_else(|| document.get("taskStatus")) else {
        return document.get("progress").and_then(Value::as_f64).and_then(status_told_as_progress);
    };
    match value {
        Value::String(name) => Status::from_name(name),
        number => {
            number.as_f64().filter(|number| (0.0..=7.0).contains(number)).and_then(|n| Status::from_number(n as u8))
        }
    }
}

/// What updates of progress say beside shares: the inverse of what haul tells itself (`event::ProgressUpdate`).
fn status_told_as_progress(value: f64) -> Option<Status> {
    let told = [
        (1.0, Status::Complete),
        (-1.0, Status::Failed),
        (-2.0, Status::Canceled),
        (-3.0, Status::NotFound),
        (-4.0, Status::WaitingToRetry),
        (-5.0, Status::Paused),
    ];
    told.into_iter().find(|(special, _)| (special - value).abs() < f64::EPSILON).map(|(_, status)| status)
}

/// What has been read so far.
#[derive(Default)]
struct Reader<'a> {
    task: Task,
    now_ms: u64,
    problems: Problems,
    retries_remaining: Option<i32>,
    post: Option<&'a Value>,
    post_base64: Option<&'a Value>,
    json: Option<&'a Value>,
    /// A body as an URL-encoded form.
    form: Option<&'a Value>,
    /// Query parameters to be encoded, after those that are appended as they are.
    query: Option<&'a Value>,
    list_formats: ListFormats,
    body_name: Option<&'a Value>,
    urls: Vec<String>,
    files: Option<&'a Value>,
    /// `fileField`, `filename`, `mimeType` of a MultiUploadTask when they are lists.
    lists: [Option<Vec<String>>; 3],
    uri: bool,
    /// The JSON says whether the task may be paused.
    pause_given: bool,
    resumable: Option<Resumable>,
}

impl<'a> Reader<'a> {
    fn task_type(&mut self, value: Option<&Value>) {
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return;
        };
        let types = [
            ("DownloadTask", TaskType::Download),
            ("UploadTask", TaskType::Upload),
            ("MultiUploadTask", TaskType::MultiUpload),
            ("DataTask", TaskType::Data),
            ("ParallelDownloadTask", TaskType::ParallelDownload),
            ("Request", TaskType::Request),
            ("UriDownloadTask", TaskType::Download),
            ("UriUploadTask", TaskType::Upload),
        ];
        if let Some(found) = self.problems.named("taskType", value, &types, false) {
            self.task.task_type = found;
            self.uri = value.as_str().is_some_and(|name| name.starts_with("Uri"));
        }
    }

    /// The fields of background_downloader's Request (A.2).
    fn request_field(&mut self, key: &str, value: &'a Value) -> bool {
        match key {
            "url" => set(&mut self.task.url, self.problems.text(key, value)),
            "urlQueryParameters" => set(&mut self.task.url_query_parameters, self.problems.pairs(key, value)),
            "headers" => {
                if let Some((headers, left_out)) = self.problems.headers(key, value) {
                    self.task.headers = headers;
                    left_out.iter().for_each(|name| self.task.leave_out_header(name));
                }
            }
            "httpRequestMethod" => set(&mut self.task.http_request_method, self.problems.text(key, value)),
            "post" => self.post = Some(value),
            "postBase64" => self.post_base64 = Some(value),
            "json" => self.json = Some(value),
            "form" => self.form = Some(value),
            "queryParameters" => self.query = Some(value),
            "listFormat" => {
                set(&mut self.list_formats.others, self.problems.named(key, value, &ListFormat::NAMES, false));
            }
            "listFormats" => {
                for (name, value) in self.problems.object(key, value).into_iter().flatten() {
                    let format = self.problems.named(&format!("{key}.{name}"), value, &ListFormat::NAMES, false);
                    self.list_formats.by_name.extend(format.map(|format| (name.clone(), format)));
                }
            }
            "body" => self.body_name = Some(value),
            "contentType" => keep(&mut self.task.content_type, self.problems.text(key, value)),
            "retries" => set(&mut self.task.retries, self.problems.whole(key, value)),
            "retriesRemaining" => keep(&mut self.retries_remaining, self.problems.whole(key, value)),
            "creationTime" => set(&mut self.task.creation_time, self.problems.whole(key, value)),
            _ => return false,
        }
        true
    }

    /// The fields of background_downloader's Task that are no file's (A.3), and its options (A.14).
    fn task_field(&mut self, key: &str, value: &Value) -> bool {
        match key {
            "taskType" => {}
            "taskId" => set(&mut self.task.task_id, self.problems.text(key, value)),
            "directory" => set(&mut self.task.directory, self.problems.text(key, value)),
            "baseDirectory" => {
                let found = match value {
                    Value::String(name) => Some(short_name(name).to_owned()),
                    _ => {
                        let names = BASE_DIRECTORIES.map(|name| (name, name));
                        self.problems.named(key, value, &names, true).map(String::from)
                    }
                };
                set(&mut self.task.base_directory, found);
            }
            "group" => set(&mut self.task.group, self.problems.text(key, value)),
            "updates" => {
                let names = [
                    ("none", Updates::None),
                    ("status", Updates::Status),
                    ("progress", Updates::Progress),
                    ("statusAndProgress", Updates::StatusAndProgress),
                ];
                set(&mut self.task.updates, self.problems.named(key, value, &names, true));
            }
            "requiresWiFi" => set(&mut self.task.requires_wifi, self.problems.flag(key, value)),
            "allowPause" => {
                self.pause_given = true;
                set(&mut self.task.allow_pause, self.problems.flag(key, value));
            }
            "priority" => set(&mut self.task.priority, self.problems.whole(key, value)),
            "urlSessionPriority" => set(&mut self.task.priority, self.problems.share(key, value).map(priority_of)),
            "metaData" => set(&mut self.task.meta_data, self.problems.text(key, value)),
            "displayName" => set(&mut self.task.display_name, self.problems.text(key, value)),
            "options" => self.options(value),
            _ => return false,
        }
        true
    }

    /// The fields that are haul's own.
    fn own_field(&mut self, key: &str, value: &Value) -> bool {
        match key {
            "mirrors" => set(&mut self.task.mirrors, self.problems.texts(key, value)),
            "urls" => set(&mut self.urls, self.problems.texts(key, value)),
            "checksum" => keep(&mut self.task.checksum, self.problems.text(key, value)),
            "chunks" => set(&mut self.task.chunks, self.problems.whole(key, value)),
            "onConflict" => {
                let names = [
                    ("unique", OnConflict::Unique),
                    ("replace", OnConflict::Replace),
                    ("fail", OnConflict::Fail),
                    ("skip", OnConflict::Skip),
                ];
                keep(&mut self.task.on_conflict, self.problems.named(key, value, &names, false));
            }
            "notBefore" => keep(&mut self.task.not_before, self.problems.time(key, value, self.now_ms)),
            "notAfter" => keep(&mut self.task.not_after, self.problems.time(key, value, self.now_ms)),
            "limitRate" => {
                let rate = self.problems.unit(key, value, reason::rate);
                keep(&mut self.task.limit_rate, rate.filter(|rate| *rate > 0)); // 0 is no limit, as everywhere
            }
            "timeouts" => self.timeouts(value),
            "maxRedirects" => set(&mut self.task.max_redirects, self.problems.whole(key, value)),
            "acceptStatus" => set(&mut self.task.accept_status, self.problems.statuses(key, value)),
            "callbacks" => set(&mut self.task.callbacks, self.problems.texts(key, value)),
            "scope" => keep(&mut self.task.scope, self.problems.text(key, value)),
            "responseFile" => keep(&mut self.task.response_file, self.problems.text(key, value)),
            "repeatable" => set(&mut self.task.repeatable, self.problems.flag(key, value)),
            "sentNames" => {
                if let Some(names) = self.problems.texts(key, value) {
                    self.task.set_sent_names(&names);
                }
            }
            // These fill `extra`, in any order.
            "profile" => {
                if let Some(name) = self.problems.text(key, value) {
                    self.task.set_profile(&name);
                }
            }
            "notification" => {
                if let Some(group) = self.problems.text(key, value) {
                    self.task.set_notification(&group);
                }
            }
            "resumable" => {
                let names = Resumable::ALL.map(|protocol| (protocol.name(), protocol));
                if let Some(protocol) = self.problems.named(key, value, &names, false) {
                    self.resumable = Some(protocol);
                }
            }
            "extra" => {
                if let Some(mut extra) = self.problems.extra(key, value) {
                    if let Some((name, _)) = extra.iter().find(|(name, _)| name.starts_with(OWN)) {
                        let reason = format!("cannot have `{name}`: names that begin with `{OWN}` are haul's own");
                        self.problems.problem::<()>(key, reason);
                    }
                    extra.append(&mut self.task.extra);
                    self.task.extra = extra;
                }
            }
            _ => return false,
        }
        true
    }

    /// The fields that name files. A MultiUploadTask of background_downloader has lists in them, as JSON inside a string
    /// (A.7); beside `files` they are plain.
    fn upload_field(&mut self, key: &str, value: &'a Value, all: &Map<String, Value>) -> bool {
        let at = match key {
            "fileField" => 0,
            "filename" => 1,
            "mimeType" => 2,
            "fields" => {
                set(&mut self.task.fields, self.problems.pairs(key, value));
                return true;
            }
            "files" => {
                self.files = Some(value).filter(|value| !value.is_null());
                return true;
            }
            _ => return false,
        };
        if self.task.task_type == TaskType::MultiUpload && !all.contains_key("files") {
            let inner = value
                .as_str()
                .filter(|text| text.trim_start().starts_with('['))
                .and_then(|text| serde_json::from_str::<Value>(text).ok());
            if let Some(list) = inner.as_ref().or(Some(value)).filter(|list| list.is_array()) {
                self.lists[at] = self.problems.texts(key, list);
                return true;
            }
        }
        match self.problems.text(key, value) {
            None => {}
            Some(text) if at == 0 => self.task.file_field = text,
            Some(text) if at == 1 => self.task.filename = Some(text),
            Some(text) => self.task.mime_type = text,
        }
        true
    }

    fn options(&mut self, value: &Value) {
        let Some(options) = self.problems.object("options", value) else {
            return;
        };
        for (key, value) in options {
            match key.as_str() {
                "auth" => self.auth(value),
                _ if key.ends_with("RawHandle") => {} // callbacks of a Dart program
                _ => self.problems.unknown("options.", key, "a task's options"),
            }
        }
    }

    fn auth(&mut self, value: &Value) {
        let Some(fields) = self.problems.object("options.auth", value) else {
            return;
        };
        let mut auth = Auth::default();
        for (key, value) in fields {
            let field = &format!("options.auth.{key}");
            match key.as_str() {
                "accessToken" => keep(&mut auth.access_token, self.problems.text(field, value)),
                "accessHeaders" => set(&mut auth.access_headers, self.problems.pairs(field, value)),
                "accessQueryParams" => set(&mut auth.access_query_params, self.problems.pairs(field, value)),
                "accessTokenExpiryTime" => {
                    keep(&mut auth.access_token_expiry_time, self.problems.whole(field, value));
                }
                "refreshToken" => keep(&mut auth.refresh_token, self.problems.text(field, value)),
                "refreshHeaders" => set(&mut auth.refresh_headers, self.problems.pairs(field, value)),
                "refreshQueryParams" => set(&mut auth.refresh_query_params, self.problems.pairs(field, value)),
                "refreshUrl" => keep(&mut auth.refresh_url, self.problems.text(field, value)),
                _ if key.ends_with("RawHandle") => {}
                _ => self.problems.unknown("options.auth.", key, "credentials"),
            }
        }
        self.task.auth = Some(auth);
    }

    fn timeouts(&mut self, value: &Value) {
        let Some(fields) = self.problems.object("timeouts", value) else {
            return;
        };
        let mut timeouts = Timeouts::default();
        for (key, value) in fields {
            let place = match key.as_str() {
                "connect" => &mut timeouts.connect_ms,
                "send" => &mut timeouts.send_ms,
                "head" => &mut timeouts.head_ms,
                "idle" => &mut timeouts.idle_ms,
                "total" => &mut timeouts.total_ms,
                _ => {
                    self.problems.unknown("timeouts.", key, "the time limits");
                    continue;
                }
            };
            keep(place, self.problems.unit(&format!("timeouts.{key}"), value, reason::duration_ms));
        }
        self.task.timeouts = timeouts;
    }

    /// `queryParameters`, encoded as `listFormat` says: dio's, beside background_downloader's `urlQueryParameters`.
    fn lists(&mut self) {
        let given = self.query.and_then(|value| self.problems.object("queryParameters", value));
        if let Some(given) = given {
            self.task.url_query_parameters.extend(query::parameters(given, &self.list_formats));
        }
    }

    /// `urls` of a ParallelDownloadTask: the first is the URL, the others are mirrors (A.5).
    fn places(&mut self) {
        let mut urls = std::mem::take(&mut self.urls);
        let is_download = matches!(self.task.task_type, TaskType::Download | TaskType::ParallelDownload);
        if !urls.is_empty() && !is_download {
            self.problems.problem::<()>("urls", "must be absent in a task that is no download");
            urls.truncate(1); // told once is enough: the others are no `mirrors` either
        }
        if self.task.url.is_empty() && !urls.is_empty() {
            self.task.url = urls.remove(0);
        }
        for url in urls {
            if url != self.task.url && !self.task.mirrors.contains(&url) {
                self.task.mirrors.push(url);
            }
        }
    }

    /// `post`, `json`, `postBase64` and `body` to a body; none of them: what uploads send by themselves.
    fn body(&mut self) {
        let given = [
            ("post", self.post),
            ("json", self.json),
            ("form", self.form),
            ("postBase64", self.post_base64),
            ("body", self.body_name),
        ];
        let mut given =
            given.into_iter().filter_map(|(field, value)| Some((field, value.filter(|value| !value.is_null())?)));
        let upload = matches!(self.task.task_type, TaskType::Upload | TaskType::MultiUpload);
        let Some((field, value)) = given.next() else {
            if upload && self.task.body == Body::None {
                self.task.body = if self.resumable.is_some() { Body::File } else { Body::Multipart };
            }
            return;
        };
        if let Some((other, _)) = given.next() {
            self.problems.problem::<()>(other, format!("cannot be given together with `{field}`"));
        }
        let body = match field {
            "post" => self.post_body(value, upload),
            "json" => {
                if self.task.content_type.is_none() && !self.has_content_type() {
                    self.task.content_type = Some("application/json".into());
                }
                Some(Body::Bytes(value.to_string().into_bytes()))
            }
            "form" => {
                if self.task.content_type.is_none() && !self.has_content_type() {
                    self.task.content_type = Some("application/x-www-form-urlencoded".into());
                }
                let fields = self.problems.object(field, value);
                fields.map(|fields| Body::Bytes(query::form(fields, &self.list_formats).into_bytes()))
            }
            "postBase64" => self.problems.text(field, value).and_then(|text| match base64::decode(&text) {
                Some(bytes) => Some(Body::Bytes(bytes)),
                None => self.problems.problem(field, "must be base64 with padding"),
            }),
            _ => {
                let names = [("none", Body::None), ("file", Body::File), ("multipart", Body::Multipart)];
                self.problems.named(field, value, &names, false)
            }
        };
        set(&mut self.task.body, body);
        if !self.pause_given && matches!(self.task.body, Body::Bytes(_)) {
            self.task.allow_pause = false; // a task with a body cannot be paused (A.3)
        }
    }

    /// Text is the body itself, lists and objects are its JSON; `binary` sends an upload's file as the body (A.2, A.6).
    fn post_body(&mut self, value: &Value, upload: bool) -> Option<Body> {
        match value {
            Value::String(text) if upload && text.eq_ignore_ascii_case("binary") => Some(Body::File),
            Value::String(text) => Some(Body::Bytes(text.clone().into_bytes())),
            Value::Array(_) | Value::Object(_) => Some(Body::Bytes(value.to_string().into_bytes())),
            _ => self.problems.problem("post", format!("must be text, a list or an object, not {}", kind(value))),
        }
    }

    fn has_content_type(&self) -> bool {
        self.content_type_header().is_some()
    }

    fn content_type_header(&self) -> Option<&str> {
        let mut headers = self.task.headers.iter();
        headers.find(|(name, _)| name.eq_ignore_ascii_case("content-type")).map(|(_, value)| value.trim())
    }

    /// Two types that differ are a mistake: dio refuses them, too.
    fn content_type(&mut self) {
        let (Some(field), Some(header)) = (&self.task.content_type, self.content_type_header()) else { return };
        if !field.trim().eq_ignore_ascii_case(header) {
            self.problems.problem::<()>("contentType", "is another one than the header Content-Type: give one of them");
        }
    }
}

/// Our name of background_downloader's base directory.
fn short_name(name: &str) -> &str {
    match name {
        "applicationDocuments" => "documents",
        "applicationSupport" => "support",
        "applicationLibrary" => "library",
        name => name,
    }
}

/// Sets a field that was given and could be read.
fn set<T>(place: &mut T, read: Option<T>) {
    if let Some(value) = read {
        *place = value;
    }
}

/// Sets an optional field that was given and could be read.
fn keep<T>(place: &mut Option<T>, read: Option<T>) {
    if read.is_some() {
        *place = read;
    }
}

/// The priority, 0 (first) to 10 (last), that URLSession's, 0.0 (last) to 1.0 (first), comes to.
#[expect(clippy::cast_possible_truncation, reason = "0 to 10")]
fn priority_of(share: f64) -> i32 {
    (10.0 - share * 10.0).round() as i32
}
