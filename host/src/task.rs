//! The task model: what somebody wants moved, as plain data known to every module.
//!
//! Field names are background_downloader's where it has the field. Nothing here validates: `admit`, a hook, does. The JSON
//! form, lenient in what it reads and exact in what it writes, is in [`json`].

pub(crate) mod hosts;
pub mod json;
mod length;
pub mod query;
mod record;

pub(crate) use length::KNOWN_LENGTH;

use std::sync::Arc;

pub use record::TaskRecord;

/// Names and values where order matters and names may repeat.
pub type Pairs = Vec<(String, String)>;

/// How names in `extra` begin that are haul's own: the contract has no other place for what they say. No owner gives any.
pub(crate) const OWN: &str = "haul.";
/// Where `extra` names the profile.
pub(crate) const PROFILE: &str = "haul.profile";
/// Where `extra` names whose notifications a task has.
pub(crate) const NOTIFICATION: &str = "haul.notification";
/// Where `extra` names headers that nobody else may add to the task's requests, set apart by commas.
pub(crate) const WITHOUT: &str = "haul.without-headers";
/// Where `extra` names the protocol of a resumable upload.
pub(crate) const RESUMABLE: &str = "haul.resumable";
/// Where `extra` keeps the boundary of a form: drawn once, the same in every attempt.
pub(crate) const BOUNDARY: &str = "haul.boundary";
/// Where `extra` keeps in which state the files of an upload were when it was added.
pub(crate) const SOURCES: &str = "haul.sources";
/// Where `extra` keeps the names that files are sent under, where these are not their own: a JSON list, in the order of the files.
pub(crate) const SENT_NAMES: &str = "haul.sent-names";
/// Where `extra` has, for components only, the numbers of those files whose content is in the task, and with the host.
pub(crate) const IN_TASK: &str = "haul.files-in-task";

/// What kind of transfer a task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskType {
    /// One resource into one file.
    #[default]
    Download,
    /// One file as a multipart form or as the request body.
    Upload,
    /// Several files in one multipart form.
    MultiUpload,
    /// A request whose response body is kept with the task, up to a limit.
    Data,
    /// One resource into one file over several connections and mirrors.
    ParallelDownload,
    /// A data request that is answered at once and never queued.
    Request,
}

impl TaskType {
    /// What it is whether in one stream or divided, which is only how it is downloaded.
    pub(crate) fn undivided(self) -> Self {
        if self == TaskType::ParallelDownload { TaskType::Download } else { self }
    }

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            TaskType::Download => "DownloadTask",
            TaskType::Upload => "UploadTask",
            TaskType::MultiUpload => "MultiUploadTask",
            TaskType::Data => "DataTask",
            TaskType::ParallelDownload => "ParallelDownloadTask",
            TaskType::Request => "Request",
        }
    }

    /// Why tasks of this type cannot be added, to follow the field's name.
    pub(crate) fn not_added(self) -> Option<&'static str> {
        (self == TaskType::Request).then_some("Request is answered at once and never queued: a DataTask can be added")
    }
}

/// Which updates are sent to watchers. The stored record follows the task whatever is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Updates {
    /// None at all.
    None,
    /// Status changes only.
    #[default]
    Status,
    /// Progress only.
    Progress,
    /// Both.
    StatusAndProgress,
}

/// What happens when the wanted file name exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnConflict {
    /// `f.txt` becomes `f (1).txt`.
    Unique,
    /// The old file is replaced, atomically, when the new one is complete.
    Replace,
    /// The task fails (exception type `fileSystem`).
    Fail,
    /// The task completes at once and leaves the old file as it is (status code 304).
    Skip,
}

/// The body of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// No body.
    #[default]
    None,
    /// These bytes.
    Bytes(Vec<u8>),
    /// The file named by the task's directory and filename.
    File,
    /// A multipart form of the task's fields and files.
    Multipart,
}

/// One file of a multipart form, or another part of it that has its place among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilePart {
    /// Name of the form field.
    pub field: String,
    /// Path relative to the task's directory, whose last segment is the name sent. Beside `content`: the name sent; empty, the
    /// part is a field.
    pub filename: String,
    /// Media type; empty means by the name's extension.
    pub mime_type: String,
    /// Further headers of the part.
    pub headers: Pairs,
    /// What the part holds, when that is no file on the disk. At most 1 MiB in a task.
    pub content: Option<Vec<u8>>,
}

/// A protocol by which an upload goes on where it was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resumable {
    /// tus 1.0.0, core and creation.
    Tus,
    /// Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload), interop version 8.
    Ietf,
    /// The same as its draft 05 had it, interop version 6.
    Ietf6,
    /// The same as its draft 03 had it, interop version 5.
    Ietf5,
    /// The same as its draft 02 had it, interop version 4.
    Ietf4,
    /// The same as its draft 01 had it, interop version 3.
    Ietf3,
}

impl Resumable {
    /// All of them.
    pub const ALL: [Resumable; 6] =
        [Resumable::Tus, Resumable::Ietf, Resumable::Ietf6, Resumable::Ietf5, Resumable::Ietf4, Resumable::Ietf3];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Resumable::Tus => "tus",
            Resumable::Ietf => "ietf",
            Resumable::Ietf6 => "ietf-6",
            Resumable::Ietf5 => "ietf-5",
            Resumable::Ietf4 => "ietf-4",
            Resumable::Ietf3 => "ietf-3",
        }
    }

    /// The protocol of that name; `None` for any other text.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }
}

/// Time limits in milliseconds. `None` is the engine's default; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Name lookup, TCP and TLS. Default 30,000.
    pub connect_ms: Option<u64>,
    /// From the connection to the request's last byte. Default none.
    pub send_ms: Option<u64>,
    /// From the request's last byte to the response's head. Default 60,000, or `idle_ms` where that is given and shorter.
    pub head_ms: Option<u64>,
    /// Between two pieces of a body, sent or received. Default 60,000.
    pub idle_ms: Option<u64>,
    /// The whole attempt. Default none.
    pub total_ms: Option<u64>,
}

/// Credentials that belong to a task, and how to renew them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Auth {
    /// Put wherever a header or parameter says `{accessToken}`.
    pub access_token: Option<String>,
    /// Headers added to each request, after expansion of templates.
    pub access_headers: Pairs,
    /// Query parameters added or replaced in each request, after expansion of templates.
    pub access_query_params: Pairs,
    /// When the access token stops to work, in milliseconds since 1970.
    pub access_token_expiry_time: Option<u64>,
    /// Put wherever a header or parameter says `{refreshToken}`.
    pub refresh_token: Option<String>,
    /// Headers of the default refresh request.
    pub refresh_headers: Pairs,
    /// Query parameters of the default refresh request.
    pub refresh_query_params: Pairs,
    /// Where the default refresh request goes.
    pub refresh_url: Option<String>,
}

/// A task: what somebody wants done.
///
/// [`Task::default`] is an empty task with the defaults of task JSON (`retries` 0, `updates` status, group `default`,
/// priority 5, 10 redirects, 1 chunk, `allow_pause` true); set `url` and hand it to
/// [`Request::Add`](crate::Request::Add).
#[derive(Clone, PartialEq)]
pub struct Task {
    /// Unique in a home, 1 to 255 bytes. Empty: the engine draws one.
    pub task_id: String,
    /// What kind of transfer.
    pub task_type: TaskType,
    /// Absolute http or https URL, at most 8 KiB, already percent-encoded.
    pub url: String,
    /// Other places of the same resource.
    pub mirrors: Vec<String>,
    /// Appended to the URL as they are, joined by `&`, with no encoding added. Empty after admission.
    pub url_query_parameters: Pairs,
    /// Request headers.
    pub headers: Pairs,
    /// HTTP method. Empty: by kind and body.
    pub http_request_method: String,
    /// Request body (`post`, `json`, or by kind).
    pub body: Body,
    /// Content-Type of the body.
    pub content_type: Option<String>,
    /// File name without directories. `None` or `?`: the server's suggestion.
    pub filename: Option<String>,
    /// Directories below the base directory; empty for the base directory itself.
    pub directory: String,
    /// Name of a base directory from the configuration, or of one of background_downloader's.
    pub base_directory: String,
    /// Group, for limits and selection.
    pub group: String,
    /// Which updates are sent.
    pub updates: Updates,
    /// Wait for a network that is not metered.
    pub requires_wifi: bool,
    /// Attempts after the first, 0 to 10.
    pub retries: i32,
    /// Attempts left after the present one.
    pub retries_remaining: i32,
    /// May be paused.
    pub allow_pause: bool,
    /// 0 (first) to 10 (last). In JSON also `urlSessionPriority`, 0.0 (last) to 1.0 (first).
    pub priority: i32,
    /// Free text for the task's owner.
    pub meta_data: String,
    /// Free text for people.
    pub display_name: String,
    /// Milliseconds since 1970. 0: the engine sets it.
    pub creation_time: u64,
    /// `algorithm=hex`; algorithms sha-256, sha-512, sha-1, md5.
    pub checksum: Option<String>,
    /// Connections per place of a parallel download, at least 1.
    pub chunks: u32,
    /// What happens when the file name is taken. `None`, before admission: `Replace` for a given name, else `Unique`.
    pub on_conflict: Option<OnConflict>,
    /// Does not start before this time, in milliseconds since 1970.
    pub not_before: Option<u64>,
    /// Fails if not finished by this time, in milliseconds since 1970.
    pub not_after: Option<u64>,
    /// Upper bound of the transfer's speed in bytes per second.
    pub limit_rate: Option<u64>,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Redirects followed at most, 0 to 50.
    pub max_redirects: u32,
    /// Status codes that count as success, both ends included; empty: 200 to 206.
    pub accept_status: Vec<(u16, u16)>,
    /// Names or paths of the components attached to this task, in order.
    pub callbacks: Vec<String>,
    /// Name of the cancel scope.
    pub scope: Option<String>,
    /// Multipart field of the uploaded file.
    pub file_field: String,
    /// Media type of the uploaded file; empty: by extension.
    pub mime_type: String,
    /// Form fields, sent before the files.
    pub fields: Pairs,
    /// Files of a multi-upload, in order.
    pub files: Vec<FilePart>,
    /// Uploads and requests: path below the base directory where the response's body is stored, whole. `None`: up to 64 KiB
    /// of it are kept with the task.
    pub response_file: Option<String>,
    /// Credentials.
    pub auth: Option<Auth>,
    /// Repeating a POST or PATCH does no harm (JSON `repeatable`).
    pub repeatable: bool,
    /// Whatever else the owner keeps with the task; names that begin with `haul.` are haul's own, and no field of JSON's `extra`.
    pub extra: Pairs,
}

impl Default for Task {
    fn default() -> Self {
        Self {
            task_id: String::new(),
            task_type: TaskType::Download,
            url: String::new(),
            mirrors: Vec::new(),
            url_query_parameters: Vec::new(),
            headers: Vec::new(),
            http_request_method: String::new(),
            body: Body::None,
            content_type: None,
            filename: None,
            directory: String::new(),
            base_directory: "downloads".into(),
            group: "default".into(),
            updates: Updates::Status,
            requires_wifi: false,
            retries: 0,
            retries_remaining: 0,
            allow_pause: true,
            priority: 5,
            meta_data: String::new(),
            display_name: String::new(),
            creation_time: 0,
            checksum: None,
            chunks: 1,
            on_conflict: None,
            not_before: None,
            not_after: None,
            limit_rate: None,
            timeouts: Timeouts::default(),
            max_redirects: 10,
            accept_status: Vec::new(),
            callbacks: Vec::new(),
            scope: None,
            file_field: "file".into(),
            mime_type: String::new(),
            fields: Vec::new(),
            files: Vec::new(),
            response_file: None,
            auth: None,
            repeatable: false,
            extra: Vec::new(),
        }
    }
}

/// Its JSON, secrets masked: whatever prints a task, a panic too, prints no secret.
impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Task {}", json::write(self, true))
    }
}

/// Which parts there are.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = |pairs: &Pairs| pairs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        f.debug_struct("Auth")
            .field("access_token", &self.access_token.as_ref().map(|_| crate::mask::MASK))
            .field("access_headers", &names(&self.access_headers))
            .field("access_token_expiry_time", &self.access_token_expiry_time)
            .field("refresh_token", &self.refresh_token.as_ref().map(|_| crate::mask::MASK))
            .field("refresh_url", &self.refresh_url.as_deref().map(crate::mask::url))
            .finish_non_exhaustive()
    }
}

impl Task {
    /// Puts headers in the place of those of the same names, whatever their case.
    pub(crate) fn set_headers(&mut self, headers: Pairs) {
        self.headers.retain(|(name, _)| !headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)));
        self.headers.extend(headers);
    }

    /// A download of `url` with the defaults of task JSON.
    pub fn download(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// An upload of a file below the base directory, as a form (background_downloader's UploadTask).
    pub fn upload(url: impl Into<String>, filename: impl Into<String>) -> Self {
        Self {
            task_type: TaskType::Upload,
            body: Body::Multipart,
            filename: Some(filename.into()),
            allow_pause: false,
            ..Self::download(url)
        }
    }

    /// A request whose response is kept with the task (background_downloader's DataTask).
    pub fn data(url: impl Into<String>) -> Self {
        Self { task_type: TaskType::Data, allow_pause: false, ..Self::download(url) }
    }

    /// Host and port of the URL in lower case, e.g. `example.org` or `127.0.0.1:8080`; empty when there is none. What the
    /// limit per host counts by, and what is silent when a server asks for that.
    pub fn host(&self) -> String {
        host_of(&self.url)
    }

    /// Whether it sends files.
    pub fn is_upload(&self) -> bool {
        matches!(self.task_type, TaskType::Upload | TaskType::MultiUpload)
    }

    /// Name of the profile it was added with (JSON `profile`), kept in `extra`.
    pub fn profile(&self) -> Option<&str> {
        self.extra_value(PROFILE)
    }

    /// Sets or changes the profile.
    pub fn set_profile(&mut self, name: &str) {
        self.set_extra(PROFILE, name);
    }

    /// The group whose notifications it is shown with, where that is not its own (JSON `notification`), kept in `extra`.
    pub fn notification(&self) -> Option<&str> {
        self.extra_value(NOTIFICATION)
    }

    /// Sets or changes the group whose notifications it is shown with.
    pub fn set_notification(&mut self, group: &str) {
        self.set_extra(NOTIFICATION, group);
    }

    /// By which protocol an upload goes on where it was interrupted (JSON `resumable`), kept in `extra`; `None`: every
    /// attempt sends all of it.
    pub fn resumable(&self) -> Option<Resumable> {
        self.extra_value(RESUMABLE).and_then(Resumable::from_name)
    }

    /// Makes an upload one that goes on where it was interrupted: its file is the body, and it may be paused.
    pub fn set_resumable(&mut self, protocol: Resumable) {
        self.set_extra(RESUMABLE, protocol.name());
        (self.body, self.allow_pause) = (Body::File, true);
    }

    /// The headers that its requests go without unless it has them itself, whatever its profile or haul would add (JSON: null
    /// in `headers`), kept in `extra`.
    pub fn without_headers(&self) -> impl Iterator<Item = &str> {
        self.extra_value(WITHOUT).into_iter().flat_map(|names| names.split(','))
    }

    /// Has its requests go without a header that its profile or haul would add.
    pub fn leave_out_header(&mut self, name: &str) {
        let names: Vec<&str> = self.without_headers().filter(|known| !known.eq_ignore_ascii_case(name)).collect();
        let names = [names.as_slice(), &[name]].concat().join(",");
        self.set_extra(WITHOUT, &names);
    }

    /// The names that its files are sent under, in their order (JSON `sentNames`), kept in `extra`. Where one is empty, or missing,
    /// the file is sent under its own.
    pub fn sent_names(&self) -> Vec<String> {
        self.extra_value(SENT_NAMES).and_then(|names| serde_json::from_str(names).ok()).unwrap_or_default()
    }

    /// Sets or changes the names that its files are sent under.
    pub fn set_sent_names(&mut self, names: &[String]) {
        self.extra.retain(|(known, _)| known != SENT_NAMES);
        if names.iter().any(|name| !name.is_empty()) {
            self.set_extra(SENT_NAMES, &serde_json::Value::from(names).to_string());
        }
    }

    /// The name that an upload's one file is sent under.
    pub(crate) fn sent_name(&self) -> String {
        let given = self.sent_names().into_iter().next().filter(|name| !name.is_empty());
        given.or_else(|| self.filename.clone()).unwrap_or_default()
    }

    /// Whether nobody else may add this header to its requests.
    pub(crate) fn leaves_out(&self, name: &str) -> bool {
        self.without_headers().any(|known| known.eq_ignore_ascii_case(name))
    }

    fn extra_value(&self, name: &str) -> Option<&str> {
        self.extra.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn set_extra(&mut self, name: &str, value: &str) {
        self.extra.retain(|(known, _)| known != name);
        self.extra.push((name.into(), value.into()));
    }

    /// Whether watchers get status updates.
    pub fn sends_status(&self) -> bool {
        matches!(self.updates, Updates::Status | Updates::StatusAndProgress)
    }

    /// Whether watchers get progress updates.
    pub fn sends_progress(&self) -> bool {
        matches!(self.updates, Updates::Progress | Updates::StatusAndProgress)
    }
}

/// Host and port of a URL as [`Task::host`] has them.
pub(crate) fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    authority.rsplit('@').next().unwrap_or("").to_ascii_lowercase()
}

/// Where a task stands. The numbers are background_downloader's and are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// Waits for its turn.
    Enqueued = 0,
    /// An attempt is under way.
    Running = 1,
    /// Done. Final.
    Complete = 2,
    /// The server says that there is no such resource (404). Final.
    NotFound = 3,
    /// Gave up. Final.
    Failed = 4,
    /// Somebody cancelled it. Final.
    Canceled = 5,
    /// Failed, and will be tried again.
    WaitingToRetry = 6,
    /// Somebody paused it.
    Paused = 7,
}

impl Status {
    /// All of them, in the order of their numbers.
    pub const ALL: [Status; 8] = [
        Status::Enqueued,
        Status::Running,
        Status::Complete,
        Status::NotFound,
        Status::Failed,
        Status::Canceled,
        Status::WaitingToRetry,
        Status::Paused,
    ];

    /// Whether nothing more happens to the task by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Status::Complete | Status::NotFound | Status::Failed | Status::Canceled)
    }

    /// The name in JSON, e.g. `waitingToRetry`.
    pub fn name(self) -> &'static str {
        match self {
            Status::Enqueued => "enqueued",
            Status::Running => "running",
            Status::Complete => "complete",
            Status::NotFound => "notFound",
            Status::Failed => "failed",
            Status::Canceled => "canceled",
            Status::WaitingToRetry => "waitingToRetry",
            Status::Paused => "paused",
        }
    }

    /// The status of that name; `None` for any other text.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// The status of that number; `None` above 7.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// What is wrong with a field of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field's name in JSON.
    pub field: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` {}", self.field, self.reason)
    }
}

/// What is known of a stored task; what is told of it is a [`TaskRecord`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    /// The task.
    pub(crate) task: Arc<Task>,
    /// The absolute directory that its owner granted for it in person (`-d`); `None`: by `base_directory`.
    pub(crate) place: Option<std::path::PathBuf>,
    /// Where it stands.
    pub(crate) status: Status,
    /// Bytes on disk, or all of them when complete.
    pub(crate) bytes_done: u64,
    /// Length of the whole resource, when known.
    pub(crate) expected_file_size: Option<u64>,
    /// Attempts begun.
    pub(crate) attempt: u32,
    /// Attempts left.
    pub(crate) retries_remaining: i32,
    /// Not before this time, in milliseconds since 1970 (`not_before`, or the wait before a retry).
    pub(crate) ready_at: Option<u64>,
    /// Absolute path of the finished file.
    pub(crate) file_path: Option<std::path::PathBuf>,
    /// Status of the last response.
    pub(crate) response_status_code: Option<u16>,
    /// The last failure, when the last attempt failed.
    pub(crate) exception: Option<crate::error::Failure>,
    /// What a careful person wants to know.
    pub(crate) notes: Vec<String>,
    /// Exchanges of the last attempt, when it failed.
    pub(crate) hops: Vec<crate::event::Hop>,
    /// Of a paused task: the component that wanted it; `None`: somebody asked for it.
    pub(crate) paused_by: Option<String>,
    /// What is stored to go on from.
    pub(crate) resume: Option<ResumeRecord>,
    /// The upload that its server keeps open for it.
    pub(crate) upload: Option<UploadRecord>,
    /// What components have changed about its requests.
    pub(crate) changes: Option<Changes>,
}

/// What components have changed about a task's requests since it was added (hooks `on-error` and `on-response`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Another URL, with its query; `None`: the task's.
    pub(crate) url: Option<String>,
    /// Headers that replace those of the same name.
    pub(crate) headers: Pairs,
    /// The bytes that are stored are certainly those of this URL, too.
    pub(crate) is_joined: bool,
    /// The component that gave the URL, by its name.
    pub(crate) by: String,
    /// A new run has begun, with the task's own URL: the bytes that are stored may have come from one that a component gave.
    pub(crate) is_over: bool,
}

impl Changes {
    /// Whether the bytes that were stored when the present URL was given are not known to be those of that.
    pub(crate) fn has_moved(&self) -> bool {
        (self.url.is_some() || self.is_over) && !self.is_joined
    }

    /// What is left of them when the task begins anew: it is asked for as it was given.
    fn over(&self) -> Option<Self> {
        let has_led = self.url.is_some() || self.has_moved();
        has_led.then(|| Self { is_over: true, ..Self::default() })
    }
}

impl Record {
    /// Whether bytes of earlier attempts are here, or, of an upload, with its server.
    pub(crate) fn has_bytes(&self) -> bool {
        self.resume.is_some() || self.upload.is_some()
    }

    /// What is left of components' changes when a new run begins. Only the doubt about bytes that are stored.
    pub(crate) fn changes_of_a_new_run(&self) -> Option<Changes> {
        let resume = self.resume.as_ref()?;
        let came_from_elsewhere = resume.final_url != crate::mask::url(&self.task.url);
        self.changes.as_ref().filter(|_| came_from_elsewhere).and_then(Changes::over)
    }

    /// The record of a task that has just been added.
    pub(crate) fn added(task: Arc<Task>, place: Option<std::path::PathBuf>) -> Self {
        Self {
            retries_remaining: task.retries_remaining,
            ready_at: task.not_before,
            task,
            place,
            status: Status::Enqueued,
            bytes_done: 0,
            expected_file_size: None,
            attempt: 0,
            file_path: None,
            response_status_code: None,
            exception: None,
            notes: Vec::new(),
            hops: Vec::new(),
            paused_by: None,
            resume: None,
            upload: None,
            changes: None,
        }
    }
}

/// Why a task is not running, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// `host-limit`, `group-limit`, `direction-limit`, `total-limit`, `min-interval`, `retry`, `retry-after`, `not-before`,
    /// `network`, `auth`, `disk`, or `queue` (nobody works the queue, or it is about to start).
    pub reason: String,
    /// Until when, in milliseconds since 1970, where that is known. It does not begin before; others may be ahead of it.
    pub until: Option<u64>,
    /// One sentence.
    pub detail: String,
}

/// A piece of a divided download. Byte numbers count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its first byte.
    pub(crate) first_byte: u64,
    /// Its last byte, included.
    pub(crate) last_byte: u64,
    /// The next byte to fetch; `last_byte + 1` when all are there.
    pub(crate) next_byte: u64,
    /// Up to here, excluded, its bytes are certainly on the disk.
    pub(crate) durable_to: u64,
}

impl Piece {
    /// Bytes that are there.
    pub(crate) fn bytes_done(&self) -> u64 {
        self.next_byte.saturating_sub(self.first_byte)
    }

    /// Bytes that are missing.
    pub(crate) fn bytes_left(&self) -> u64 {
        (self.last_byte + 1).saturating_sub(self.next_byte)
    }
}

/// What must be known to join further bytes to a part file. Rule: reliability of RFC 9110 §15.3.7.3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResumeRecord {
    /// Name of the part file in the task's directory.
    pub(crate) part_name: String,
    /// Device number of the part file.
    pub(crate) part_dev: u64,
    /// Inode number of the part file.
    pub(crate) part_ino: u64,
    /// When the part file was made, in nanoseconds since 1970; 0: not known.
    pub(crate) part_born_ns: u64,
    /// Bytes that are certainly on the disk.
    pub(crate) durable_bytes: u64,
    /// Which bytes the part file has, when it is divided; empty: those from its first to its last.
    pub(crate) pieces: Vec<Piece>,
    /// In one stream: a killed engine has left more bytes than the store knew of, and those from here on may be another program's
    /// until they were compared; `None`: all are ours.
    pub(crate) doubtful_from: Option<u64>,
    /// Boot during which the part file was written last: within the same boot bytes count that were not durable.
    pub(crate) boot_id: String,
    /// Length of the whole resource, when known.
    pub(crate) total_bytes: Option<u64>,
    /// ETag as received.
    pub(crate) etag: Option<String>,
    /// Last-Modified as received.
    pub(crate) last_modified: Option<String>,
    /// Date as received.
    pub(crate) date: Option<String>,
    /// Digest of the whole that the first response has stated, as `algorithm=hex`.
    pub(crate) digest: Option<String>,
    /// Accept-Ranges: bytes, or a 206.
    pub(crate) ranges_known: bool,
    /// The response had a Content-Encoding.
    pub(crate) encoded: bool,
    /// The part file is the range that the task's own `Range` asks for, and begins with this byte of the resource;
    /// `total_bytes` is the range's length then. `None`: it begins with the resource's first byte.
    pub(crate) first_byte: Option<u64>,
    /// The name decided for the finished file.
    pub(crate) final_name: String,
    /// URL that answered, for people; secrets masked.
    pub(crate) final_url: String,
    /// The answer that the bytes began with; `None`: not known.
    pub(crate) answer: Option<AnswerHead>,
}

/// What an answer was, for the update about a file of which nothing is missing any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnswerHead {
    /// 100 to 599.
    pub(crate) status: u16,
    /// Names in lower case, secrets masked.
    pub(crate) headers: Pairs,
}

/// An upload that a server keeps open: what must be known to send it the rest (tus, Resumable Uploads for HTTP).
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct UploadRecord {
    /// Where its bytes go. Whoever knows it may add to the upload: it is stored encrypted.
    pub(crate) url: String,
    /// Bytes of the whole upload.
    pub(crate) length: u64,
    /// Bytes that the server has said it has.
    pub(crate) offset: u64,
    /// Bytes that may have been sent: the server cannot have more of this upload.
    pub(crate) sent: u64,
    /// State of the file when the upload began, to be compared.
    pub(crate) source: String,
    /// Most bytes that the server takes in one request, where it has said so.
    pub(crate) append_at_most: Option<u64>,
}

impl std::fmt::Debug for UploadRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { length, offset, .. } = self;
        f.debug_struct("UploadRecord").field("length", length).field("offset", offset).finish_non_exhaustive()
    }
}
