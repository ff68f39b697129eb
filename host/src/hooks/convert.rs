//! Between the task model and the types of the contract. Converts only: whether an answer makes sense is
//! [`super::check`]'s business.

mod verdicts;

use super::bindings::haul::transfer as wit;
use super::{
    Asked, Attempt, AuthReason, AuthorizeVerdict, Classified, Head, OnAuthVerdict, Part, PartsVerdict, ResumeVerdict,
    RetryVerdict, Situation, StartChanges, check,
};
use crate::error::{Failure, FailureDetail, FailureKind};
use crate::event::{Details, StatusUpdate};
use crate::task::{
    Auth, Body, FilePart, IN_TASK, OnConflict, Problem, ResumeRecord, Status, Task, TaskType, Timeouts, Updates,
};
use crate::transport::Guard;

pub(super) use verdicts::{
    Responded, failure_of_part, finished, progress, redirect, request, to_on_error, to_on_progress, to_on_redirect,
    to_on_request, to_on_response, weight_of,
};

pub(super) fn task(task: &Task) -> wit::types::Task {
    wit::types::Task {
        id: task.task_id.clone(),
        kind: kind(task.task_type),
        url: task.url.clone(),
        mirrors: task.mirrors.clone(),
        query: task.url_query_parameters.clone(),
        headers: task.headers.clone(),
        method: task.http_request_method.clone(),
        body: match &task.body {
            Body::None => wit::types::Body::None,
            Body::Bytes(bytes) => wit::types::Body::Bytes(bytes.clone()),
            Body::File => wit::types::Body::File,
            Body::Multipart => wit::types::Body::Multipart,
        },
        content_type: task.content_type.clone(),
        filename: task.filename.clone(),
        directory: task.directory.clone(),
        base_directory: task.base_directory.clone(),
        group: task.group.clone(),
        updates: match task.updates {
            Updates::None => wit::types::Updates::None,
            Updates::Status => wit::types::Updates::Status,
            Updates::Progress => wit::types::Updates::Progress,
            Updates::StatusAndProgress => wit::types::Updates::StatusAndProgress,
        },
        requires_wifi: task.requires_wifi,
        retries: task.retries,
        retries_remaining: task.retries_remaining,
        allow_pause: task.allow_pause,
        priority: task.priority,
        meta_data: task.meta_data.clone(),
        display_name: task.display_name.clone(),
        created_at_ms: task.creation_time,
        checksum: task.checksum.clone(),
        chunks: task.chunks,
        on_conflict: task.on_conflict.map(on_conflict),
        not_before_at_ms: task.not_before,
        not_after_at_ms: task.not_after,
        limit_bytes_per_second: task.limit_rate,
        timeouts: wit::types::Timeouts {
            connect_ms: task.timeouts.connect_ms,
            head_ms: task.timeouts.head_ms,
            idle_ms: task.timeouts.idle_ms,
            send_ms: task.timeouts.send_ms,
            total_ms: task.timeouts.total_ms,
        },
        max_redirects: task.max_redirects,
        accept_status: task
            .accept_status
            .iter()
            .map(|&(first, last)| wit::types::StatusRange { first, last })
            .collect(),
        callbacks: task.callbacks.clone(),
        scope: task.scope.clone(),
        file_field: task.file_field.clone(),
        mime_type: task.mime_type.clone(),
        fields: task.fields.clone(),
        files: task.files.iter().map(file_part).collect(),
        auth: task.auth.as_ref().map(auth),
        response_file: task.response_file.clone(),
        repeatable: task.repeatable,
        extra: task.extra.iter().cloned().chain(in_task(task)).collect(),
    }
}

/// Which files of a form are none on the disk: their content and headers stay with the host.
fn in_task(task: &Task) -> Option<(String, String)> {
    let numbers = task.files.iter().enumerate().filter(|(_, part)| part.content.is_some());
    let numbers: Vec<String> = numbers.map(|(number, _)| number.to_string()).collect();
    (!numbers.is_empty()).then(|| (IN_TASK.into(), numbers.join(",")))
}

/// Gives the files of an answered task what the contract has no place for: they are known by place, field and name.
pub(super) fn with_parts_of(mut task: Task, given: &Task) -> Task {
    for (number, part) in task.files.iter_mut().enumerate() {
        let is_it = |known: &&FilePart| known.field == part.field && known.filename == part.filename;
        let known = given.files.get(number).filter(is_it).or_else(|| given.files.iter().find(is_it));
        if let Some(known) = known {
            (part.headers, part.content) = (known.headers.clone(), known.content.clone());
        }
    }
    task
}

/// A task that a component answered. Choices of later versions become what the contract says receivers take them for.
pub(super) fn to_task(task: wit::types::Task) -> Task {
    Task {
        task_id: task.id,
        task_type: to_kind(&task.kind),
        url: task.url,
        mirrors: task.mirrors,
        url_query_parameters: task.query,
        headers: task.headers,
        http_request_method: task.method,
        body: match task.body {
            wit::types::Body::None | wit::types::Body::Other(_) => Body::None,
            wit::types::Body::Bytes(bytes) => Body::Bytes(bytes),
            wit::types::Body::File => Body::File,
            wit::types::Body::Multipart => Body::Multipart,
        },
        content_type: task.content_type,
        filename: task.filename,
        directory: task.directory,
        base_directory: task.base_directory,
        group: task.group,
        updates: match task.updates {
            wit::types::Updates::None => Updates::None,
            wit::types::Updates::Status | wit::types::Updates::Other(_) => Updates::Status,
            wit::types::Updates::Progress => Updates::Progress,
            wit::types::Updates::StatusAndProgress => Updates::StatusAndProgress,
        },
        requires_wifi: task.requires_wifi,
        retries: task.retries,
        retries_remaining: task.retries_remaining,
        allow_pause: task.allow_pause,
        priority: task.priority,
        meta_data: task.meta_data,
        display_name: task.display_name,
        creation_time: task.created_at_ms,
        checksum: task.checksum,
        chunks: task.chunks,
        on_conflict: task.on_conflict.as_ref().map(to_on_conflict),
        not_before: task.not_before_at_ms,
        not_after: task.not_after_at_ms,
        limit_rate: task.limit_bytes_per_second,
        timeouts: Timeouts {
            connect_ms: task.timeouts.connect_ms,
            head_ms: task.timeouts.head_ms,
            idle_ms: task.timeouts.idle_ms,
            send_ms: task.timeouts.send_ms,
            total_ms: task.timeouts.total_ms,
        },
        max_redirects: task.max_redirects,
        accept_status: task.accept_status.iter().map(|range| (range.first, range.last)).collect(),
        callbacks: task.callbacks,
        scope: task.scope,
        file_field: task.file_field,
        mime_type: task.mime_type,
        fields: task.fields,
        files: task.files.into_iter().map(to_file_part).collect(),
        auth: task.auth.map(to_auth),
        response_file: task.response_file,
        repeatable: task.repeatable,
        extra: task.extra.into_iter().filter(|(name, _)| name != IN_TASK).collect(),
    }
}

/// A task that a component is asked about. Parts of a form that are no files on the disk stay such, whatever they hold.
pub(super) fn given_task(task: wit::types::Task) -> Task {
    let numbers = task.extra.iter().find(|(name, _)| name == IN_TASK).map(|(_, numbers)| numbers.clone());
    let mut task = to_task(task);
    for number in
        numbers.iter().flat_map(|numbers| numbers.split(',')).filter_map(|number| number.parse::<usize>().ok())
    {
        if let Some(part) = task.files.get_mut(number) {
            part.content = Some(Vec::new());
        }
    }
    task
}

/// Bytes that a task may take on the way through a component, generously: what a component answers is limited, but it
/// must be able to repeat what it was given.
pub(super) fn weight(task: &wit::types::Task) -> usize {
    const PER_ITEM: usize = 256;
    let pairs = |pairs: &[(String, String)]| -> usize {
        pairs.iter().map(|(name, value)| name.len() + value.len() + PER_ITEM).sum()
    };
    let body = match &task.body {
        wit::types::Body::Bytes(bytes) => bytes.len(),
        _ => 0,
    };
    let auth = task.auth.as_ref().map_or(0, |auth| {
        pairs(&auth.access_headers)
            + pairs(&auth.access_query)
            + pairs(&auth.refresh_headers)
            + pairs(&auth.refresh_query)
            + auth.access_token.as_ref().map_or(0, String::len)
            + auth.refresh_token.as_ref().map_or(0, String::len)
    });
    let lists = task.mirrors.iter().chain(&task.callbacks).map(|text| text.len() + PER_ITEM).sum::<usize>()
        + (task.files.len() + task.accept_status.len()) * PER_ITEM
        + task.files.iter().map(|file| file.field.len() + file.filename.len()).sum::<usize>();
    let texts = task.url.len() + task.meta_data.len() + task.display_name.len() + task.directory.len();
    let named = pairs(&task.query) + pairs(&task.headers) + pairs(&task.fields) + pairs(&task.extra);
    2 * (body + auth + lists + texts + named) + 16 * PER_ITEM
}

fn kind(kind: TaskType) -> wit::types::TaskKind {
    use wit::types::TaskKind;
    match kind {
        TaskType::Download => TaskKind::Download,
        TaskType::Upload => TaskKind::Upload,
        TaskType::MultiUpload => TaskKind::MultiUpload,
        TaskType::Data => TaskKind::Data,
        TaskType::ParallelDownload => TaskKind::ParallelDownload,
        TaskType::Request => TaskKind::Request,
    }
}

fn to_kind(kind: &wit::types::TaskKind) -> TaskType {
    use wit::types::TaskKind;
    match kind {
        TaskKind::Download | TaskKind::Other(_) => TaskType::Download,
        TaskKind::Upload => TaskType::Upload,
        TaskKind::MultiUpload => TaskType::MultiUpload,
        TaskKind::Data => TaskType::Data,
        TaskKind::ParallelDownload => TaskType::ParallelDownload,
        TaskKind::Request => TaskType::Request,
    }
}

fn on_conflict(choice: OnConflict) -> wit::types::OnConflict {
    match choice {
        OnConflict::Unique => wit::types::OnConflict::Unique,
        OnConflict::Replace => wit::types::OnConflict::Replace,
        OnConflict::Fail => wit::types::OnConflict::Fail,
        OnConflict::Skip => wit::types::OnConflict::Skip,
    }
}

fn to_on_conflict(choice: &wit::types::OnConflict) -> OnConflict {
    match choice {
        wit::types::OnConflict::Unique | wit::types::OnConflict::Other(_) => OnConflict::Unique,
        wit::types::OnConflict::Replace => OnConflict::Replace,
        wit::types::OnConflict::Fail => OnConflict::Fail,
        wit::types::OnConflict::Skip => OnConflict::Skip,
    }
}

fn file_part(part: &FilePart) -> wit::types::FilePart {
    wit::types::FilePart {
        field: part.field.clone(),
        filename: part.filename.clone(),
        mime_type: part.mime_type.clone(),
    }
}

fn to_file_part(part: wit::types::FilePart) -> FilePart {
    FilePart { field: part.field, filename: part.filename, mime_type: part.mime_type, ..FilePart::default() }
}

pub(super) fn auth(auth: &Auth) -> wit::types::Auth {
    wit::types::Auth {
        access_token: auth.access_token.clone(),
        access_headers: auth.access_headers.clone(),
        access_query: auth.access_query_params.clone(),
        access_token_expires_at_ms: auth.access_token_expiry_time,
        refresh_token: auth.refresh_token.clone(),
        refresh_headers: auth.refresh_headers.clone(),
        refresh_query: auth.refresh_query_params.clone(),
        refresh_url: auth.refresh_url.clone(),
        extra: Vec::new(),
    }
}

pub(super) fn to_auth(auth: wit::types::Auth) -> Auth {
    Auth {
        access_token: auth.access_token,
        access_headers: auth.access_headers,
        access_query_params: auth.access_query,
        access_token_expiry_time: auth.access_token_expires_at_ms,
        refresh_token: auth.refresh_token,
        refresh_headers: auth.refresh_headers,
        refresh_query_params: auth.refresh_query,
        refresh_url: auth.refresh_url,
    }
}

pub(super) fn to_problem(problem: wit::admit::Problem) -> Problem {
    Problem { field: super::check::text(problem.field), reason: super::check::text(problem.reason) }
}

pub(super) fn response(head: Head) -> wit::types::Response {
    let Head { status, headers, url, body, .. } = head;
    wit::types::Response { status, headers, url, body, extra: Vec::new() }
}

pub(super) fn known(total_bytes: u64, strong_validator: bool, ranges_known: bool) -> wit::parts::Known {
    wit::parts::Known { total_bytes, strong_validator, ranges_known, extra: Vec::new() }
}

/// A verdict of a later version is one stream, as the contract says.
pub(super) fn to_parts(verdict: wit::parts::Verdict) -> PartsVerdict {
    use wit::parts::Verdict;
    let part = |part: wit::parts::Part| Part {
        place: part.place as usize,
        first_byte: part.first_byte,
        last_byte: part.last_byte,
    };
    match verdict {
        Verdict::Divide(parts) => PartsVerdict::Divide(parts.into_iter().map(part).collect()),
        Verdict::OneStream(reason) => PartsVerdict::OneStream(reason),
        Verdict::Other(_) => PartsVerdict::OneStream("the verdict is of a later version".into()),
    }
}

pub(super) fn asked(asked: &Asked) -> wit::classify::Asked {
    wit::classify::Asked {
        range_from_bytes: asked.range_from,
        range_to_bytes: asked.range_to,
        total_bytes: asked.total_bytes,
        if_range: asked.if_range.clone(),
        own_range: asked.own_range,
        restarts: asked.restarts,
        extra: Vec::new(),
    }
}

/// The error is about a verdict of a later version, which cannot be used.
pub(super) fn to_classified(verdict: wit::classify::Verdict) -> Result<Classified, String> {
    use wit::classify::Verdict;
    Ok(match verdict {
        Verdict::Success => Classified::Success,
        Verdict::Continues(from) => Classified::Continues(from),
        Verdict::AlreadyComplete => Classified::AlreadyComplete,
        Verdict::UseFromZero(reason) => Classified::UseFromZero(restart_note(reason)),
        Verdict::AskFromZero(reason) => Classified::AskFromZero(restart_note(reason)),
        Verdict::NotFound => Classified::NotFound(None),
        Verdict::Failed(failure) => Classified::Failed(to_failure(failure)),
        Verdict::Other(verdict) => return Err(check::unknown("verdict", &verdict)),
    })
}

/// The note that tells people why stored bytes were given up.
fn restart_note(reason: wit::classify::RestartReason) -> String {
    use wit::classify::RestartReason;
    match reason {
        RestartReason::Changed => "restarted-changed".into(),
        RestartReason::WholeBody => "restarted-whole-body".into(),
        RestartReason::BadRange => "restarted-bad-range".into(),
        RestartReason::Other(reason) => reason,
    }
}

pub(super) fn stored(bytes_done: u64, record: &ResumeRecord) -> wit::resume::Stored {
    wit::resume::Stored {
        bytes_done,
        total_bytes: record.total_bytes,
        etag: record.etag.clone(),
        last_modified: record.last_modified.clone(),
        last_modified_at_ms: record.last_modified.as_deref().and_then(http_date_ms),
        date_at_ms: record.date.as_deref().and_then(http_date_ms),
        ranges_known: record.ranges_known,
        encoded: record.encoded,
        extra: Vec::new(),
    }
}

fn http_date_ms(text: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(text.trim()).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// A verdict of a later version starts afresh, as the contract says.
pub(super) fn to_resume(answer: wit::resume::Answer) -> (ResumeVerdict, Vec<(String, bool)>) {
    use wit::resume::Verdict;
    let verdict = match answer.verdict {
        Verdict::GoOn(terms) => ResumeVerdict::GoOn { from_bytes: terms.from_bytes, if_range: terms.if_range },
        Verdict::NothingMissing => ResumeVerdict::NothingMissing,
        Verdict::StartAfresh(note) => ResumeVerdict::StartAfresh(note),
        Verdict::Refuse(reason) => ResumeVerdict::Refuse(reason),
        Verdict::Other(_) => ResumeVerdict::StartAfresh("restarted".into()),
    };
    let conditions = answer.conditions.into_iter().map(|condition| (condition.name, condition.holds));
    (verdict, conditions.collect())
}

pub(super) fn reason(reason: AuthReason) -> wit::authorize::Reason {
    match reason {
        AuthReason::Expiring => wit::authorize::Reason::Expiring,
        AuthReason::Unauthorized => wit::authorize::Reason::Unauthorized,
        AuthReason::ProxyUnauthorized => wit::authorize::Reason::ProxyUnauthorized,
    }
}

pub(super) fn situation(situation: &Situation) -> wit::authorize::Situation {
    use wit::authorize::Situation as Wit;
    match situation {
        Situation::BeforeRequest => Wit::BeforeRequest,
        Situation::RefreshWanted(why) => Wit::RefreshWanted(reason(*why)),
        Situation::RefreshAnswered(head) => Wit::RefreshAnswered(response(head.clone())),
        Situation::AsItIs => Wit::AsItIs,
    }
}

/// The error is about a verdict of a later version, which cannot be used.
pub(super) fn to_authorize(verdict: wit::authorize::Verdict) -> Result<AuthorizeVerdict, String> {
    use wit::authorize::Verdict;
    Ok(match verdict {
        Verdict::Ready(credentials) => {
            AuthorizeVerdict::Ready { headers: credentials.headers, query: credentials.query }
        }
        Verdict::RefreshFirst => AuthorizeVerdict::RefreshFirst,
        Verdict::Send(request) => AuthorizeVerdict::Send {
            method: request.method,
            url: request.url,
            headers: request.headers,
            body: request.body,
        },
        Verdict::Refreshed(auth) => AuthorizeVerdict::Refreshed(to_auth(auth)),
        Verdict::Impossible(why) => AuthorizeVerdict::Impossible(why),
        Verdict::Other(verdict) => return Err(check::unknown("verdict", &verdict)),
    })
}

/// The error is about a verdict of a later version, which counts as failed.
pub(super) fn to_on_auth(verdict: wit::on_auth::Verdict) -> Result<OnAuthVerdict, String> {
    use wit::on_auth::Verdict;
    Ok(match verdict {
        Verdict::Refreshed(auth) => OnAuthVerdict::Refreshed(to_auth(auth)),
        Verdict::Unchanged => OnAuthVerdict::Unchanged,
        Verdict::Failed(why) => OnAuthVerdict::Failed(why),
        Verdict::Other(name) => return Err(check::unknown("verdict", &name)),
    })
}

pub(super) fn attempt(attempt: &Attempt) -> wit::retry::Attempt {
    wit::retry::Attempt {
        number: attempt.number,
        retries_remaining: attempt.retries_remaining,
        elapsed_ms: attempt.elapsed_ms,
        bytes_done: attempt.bytes_done,
        bytes_gained: attempt.bytes_gained,
        jitter_seed: attempt.jitter_seed,
        jitter: attempt.jitter,
        fresh_start_left: attempt.fresh_start_left,
        extra: Vec::new(),
    }
}

/// A verdict of a later version gives up.
pub(super) fn to_retry(verdict: wit::retry::Verdict) -> RetryVerdict {
    use wit::retry::Verdict;
    match verdict {
        Verdict::AfterMs(wait) => RetryVerdict::AfterMs(wait),
        Verdict::AfreshAfterMs(wait) => RetryVerdict::AfreshAfterMs(wait),
        Verdict::GiveUp | Verdict::Other(_) => RetryVerdict::GiveUp,
    }
}

pub(super) fn failure(failure: &Failure) -> wit::types::Failure {
    wit::types::Failure {
        kind: failure_kind(failure.kind),
        detail: failure_detail(failure.detail),
        description: failure.description.clone(),
        http_status: failure.http_status,
        retry_after_ms: failure.retry_after_ms,
        outcome_unknown: failure.outcome_unknown,
        extra: Vec::new(),
    }
}

pub(super) fn to_failure(failure: wit::types::Failure) -> Failure {
    Failure {
        kind: to_failure_kind(&failure.kind),
        detail: to_failure_detail(&failure.detail),
        description: failure.description,
        http_status: failure.http_status,
        retry_after_ms: failure.retry_after_ms,
        outcome_unknown: failure.outcome_unknown,
    }
}

fn failure_kind(kind: FailureKind) -> wit::types::FailureKind {
    use wit::types::FailureKind as Wit;
    match kind {
        FailureKind::FileSystem => Wit::FileSystem,
        FailureKind::Url => Wit::Url,
        FailureKind::Connection => Wit::Connection,
        FailureKind::Resume => Wit::Resume,
        FailureKind::HttpResponse => Wit::HttpResponse,
        FailureKind::General => Wit::General,
        FailureKind::Checksum => Wit::Checksum,
        FailureKind::Callback => Wit::Callback,
        FailureKind::Policy => Wit::Policy,
        FailureKind::Canceled => Wit::Canceled,
    }
}

fn to_failure_kind(kind: &wit::types::FailureKind) -> FailureKind {
    use wit::types::FailureKind as Wit;
    match kind {
        Wit::FileSystem => FailureKind::FileSystem,
        Wit::Url => FailureKind::Url,
        Wit::Connection => FailureKind::Connection,
        Wit::Resume => FailureKind::Resume,
        Wit::HttpResponse => FailureKind::HttpResponse,
        Wit::General | Wit::Other(_) => FailureKind::General,
        Wit::Checksum => FailureKind::Checksum,
        Wit::Callback => FailureKind::Callback,
        Wit::Policy => FailureKind::Policy,
        Wit::Canceled => FailureKind::Canceled,
    }
}

/// Details that this version of the contract has no case for.
const OPEN_FILES: &str = "open-files";
const CREDENTIALS: &str = "credentials";

fn failure_detail(detail: FailureDetail) -> wit::types::FailureDetail {
    use wit::types::FailureDetail as Wit;
    match detail {
        FailureDetail::None => Wit::None,
        FailureDetail::NotConnected => Wit::NotConnected,
        FailureDetail::NoResponse => Wit::NoResponse,
        FailureDetail::Cut => Wit::Cut,
        FailureDetail::Timeout => Wit::Timeout,
        FailureDetail::Tls => Wit::Tls,
        FailureDetail::Protocol => Wit::Protocol,
        FailureDetail::Redirect => Wit::Redirect,
        FailureDetail::DiskFull => Wit::DiskFull,
        FailureDetail::OpenFiles => Wit::Other(OPEN_FILES.into()),
        FailureDetail::Credentials => Wit::Other(CREDENTIALS.into()),
    }
}

fn to_failure_detail(detail: &wit::types::FailureDetail) -> FailureDetail {
    use wit::types::FailureDetail as Wit;
    match detail {
        Wit::Other(name) if name == OPEN_FILES => FailureDetail::OpenFiles,
        Wit::Other(name) if name == CREDENTIALS => FailureDetail::Credentials,
        Wit::None | Wit::Other(_) => FailureDetail::None,
        Wit::NotConnected => FailureDetail::NotConnected,
        Wit::NoResponse => FailureDetail::NoResponse,
        Wit::Cut => FailureDetail::Cut,
        Wit::Timeout => FailureDetail::Timeout,
        Wit::Tls => FailureDetail::Tls,
        Wit::Protocol => FailureDetail::Protocol,
        Wit::Redirect => FailureDetail::Redirect,
        Wit::DiskFull => FailureDetail::DiskFull,
    }
}

fn status(status: Status) -> wit::types::Status {
    use wit::types::Status as Wit;
    match status {
        Status::Enqueued => Wit::Enqueued,
        Status::Running => Wit::Running,
        Status::Complete => Wit::Complete,
        Status::NotFound => Wit::NotFound,
        Status::Failed => Wit::Failed,
        Status::Canceled => Wit::Canceled,
        Status::WaitingToRetry => Wit::WaitingToRetry,
        Status::Paused => Wit::Paused,
    }
}

fn to_status(status: &wit::types::Status) -> Result<Status, String> {
    use wit::types::Status as Wit;
    Ok(match status {
        Wit::Enqueued => Status::Enqueued,
        Wit::Running => Status::Running,
        Wit::Complete => Status::Complete,
        Wit::NotFound => Status::NotFound,
        Wit::Failed => Status::Failed,
        Wit::Canceled => Status::Canceled,
        Wit::WaitingToRetry => Status::WaitingToRetry,
        Wit::Paused => Status::Paused,
        Wit::Other(name) => return Err(check::unknown("status", name)),
    })
}

/// Whether what a task brings is its file, rather than the body of a response.
fn keeps_a_file(kind: &wit::types::TaskKind) -> bool {
    matches!(to_kind(kind), TaskType::Download | TaskType::ParallelDownload)
}

/// `task`: to tell the file's path relative to its base directory, which is all that a component learns of the host's.
pub(super) fn update(update: &StatusUpdate, task: &wit::types::Task) -> wit::types::Update {
    let details = update.details.as_deref();
    let has_file = update.status == Status::Complete && keeps_a_file(&task.kind);
    let name = details.filter(|_| has_file).and_then(|details| {
        let path = std::path::Path::new(details.file_path.as_deref()?);
        Some(path.file_name()?.to_string_lossy().into_owned())
    });
    wit::types::Update {
        seq: update.seq,
        task_id: update.task_id.clone(),
        status: status(update.status),
        at_ms: update.at,
        file_path: name.map(|name| match task.directory.trim_matches('/') {
            "" => name,
            below => format!("{below}/{name}"),
        }),
        response_status: details.and_then(|details| details.response_status_code),
        response_headers: details.map(|details| details.response_headers.clone()).unwrap_or_default(),
        response_body: details.and_then(|details| details.response_body.clone()),
        failure: details.and_then(|details| details.exception.as_ref()).map(failure),
        resumed_from_bytes: details.map_or(0, |details| details.resumed_from),
        notes: details.map(|details| details.notes.clone()).unwrap_or_default(),
        extra: Vec::new(),
    }
}

/// The final update that a component gives a task. What the engine knows better (number, id, group) is not taken from it; the
/// file's path is as the component says it, and whoever ends the task looks for the file. The error is about a status of a later version.
pub(super) fn to_update(update: wit::types::Update, task: &wit::types::Task) -> Result<StatusUpdate, String> {
    Ok(StatusUpdate {
        seq: 0,
        task_id: task.id.clone(),
        group: task.group.clone(),
        status: to_status(&update.status)?,
        at: update.at_ms,
        details: Some(std::sync::Arc::new(Details {
            file_path: update.file_path,
            response_status_code: update.response_status,
            response_headers: update.response_headers,
            response_body: update.response_body,
            exception: update.failure.map(to_failure),
            notes: update.notes,
            ..Details::default()
        })),
    })
}

pub(super) fn to_changes(changes: wit::on_task_start::Changes) -> StartChanges {
    let wit::on_task_start::Changes { url, headers, remove_headers } = changes;
    StartChanges { url, headers, remove_headers, guard: Guard::Any }
}
