//! How an attempt ends: what is told of it, and whether there is another one. The only place where a retry is decided.

use std::pin::pin;
use std::sync::Arc;

use super::{Held, Job, Shared, number, once};
use crate::clock;
use crate::error::{Failure, FailureKind};
use crate::event::{Details, IN_DOUBT};
use crate::hooks::{Attempt, Chain, Hook, HookHead, HookTask, RetryChanges, RetryVerdict};
use crate::mask::Secrets;
use crate::sandbox::{Directory, Identity};
use crate::store::TaskKey;
use crate::task::{Changes, ResumeRecord, Status, Task};
use crate::transfer::Reason;
use crate::transport::Trail;

/// How an attempt ended.
pub(crate) enum End {
    /// Every byte is there and is the right one: the file gets its name next.
    Bytes(Box<Finished>),
    /// The task is over.
    Final { status: Status, details: Box<Details>, bytes_done: u64 },
    /// It failed, and this is what follows.
    Failed(Box<Failed>),
    /// It was stopped from outside.
    Stopped {
        reason: Reason,
        bytes_done: u64,
        /// Its request is sent once, and may be out: whether it took effect nobody will know.
        is_out: bool,
    },
}

impl End {
    /// The bytes that are there, where not all of them are.
    pub(crate) fn bytes_done(&self) -> Option<u64> {
        match self {
            Self::Failed(failed) => Some(failed.bytes_done),
            Self::Stopped { bytes_done, .. } => Some(*bytes_done),
            Self::Final { status: Status::NotFound, bytes_done, .. } => Some(*bytes_done),
            Self::Bytes(_) | Self::Final { .. } => None,
        }
    }

    /// Adds notes to what is told of it.
    pub(super) fn note(&mut self, notes: impl ExactSizeIterator<Item = String>) {
        if notes.len() > 0
            && let Some(details) = self.details()
        {
            details.notes.extend(notes);
        }
    }

    fn details(&mut self) -> Option<&mut Details> {
        match self {
            Self::Final { details, .. } => Some(details),
            Self::Failed(failed) => Some(&mut failed.details),
            Self::Bytes(finished) => Some(Arc::make_mut(&mut finished.details)),
            Self::Stopped { .. } => None,
        }
    }
}

/// An attempt that failed, and what follows: by a component that wants another one, else by the `retry` hook.
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) verdict: RetryVerdict,
    /// A component wants it: that uses up a retry in any case.
    pub(crate) wanted: bool,
    /// What components have changed about the task's requests, if that is news.
    pub(crate) changes: Option<Changes>,
    pub(crate) details: Box<Details>,
    pub(crate) bytes_done: u64,
    /// Nothing can mend it, not even time: it waits neither for room on the disk nor for others to close files.
    pub(crate) is_over: bool,
}

/// A downloaded file that has no name yet.
pub(crate) struct Finished {
    pub(crate) key: TaskKey,
    pub(crate) task: Arc<Task>,
    pub(crate) directory: Directory,
    pub(crate) part_name: String,
    pub(crate) identity: Identity,
    pub(crate) size: u64,
    pub(crate) final_name: String,
    /// What must be known to go on with the part file, should it get no name.
    pub(crate) resume: ResumeRecord,
    /// What the server called it, for another name when this one is taken.
    pub(crate) head: crate::hooks::HookHead,
    pub(crate) details: Arc<Details>,
}

/// How the inner part of an attempt ended, other than by success.
pub(crate) enum Stopped {
    /// It failed.
    Failure(Failure, Option<Box<Details>>),
    /// It failed, and `on-error` is not asked any more.
    Rejected(Failure, Option<Box<Details>>),
    /// It failed, and a component wants another attempt.
    Retry {
        /// After so long.
        after_ms: u64,
        /// Which one, and where.
        by: String,
        failure: Failure,
        details: Option<Box<Details>>,
    },
    /// Its credentials are about to expire: it goes on with fresh ones.
    Expiring,
    /// The task is over, without a failure to judge.
    Final(Status, Box<Details>),
    /// The task fails with this, whatever else could be tried; what is stored of it stays.
    Over(Failure, Option<Box<Details>>),
}

impl Stopped {
    /// It failed with this, and a component wants another attempt in that hook.
    pub(super) fn wanted(changes: &RetryChanges, hook: Hook, failure: Failure, details: Option<Box<Details>>) -> Self {
        let by = format!("component `{}` wants another attempt in `{}`", changes.by, hook.name());
        Self::Retry { after_ms: changes.after_ms, by, failure, details }
    }
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Stopped::Failure(failure, None)
    }
}

/// The task is over by the verdict of `before-task-start`.
pub(super) fn early(update: crate::event::StatusUpdate) -> End {
    let details = Box::new(update.details.map(Arc::unwrap_or_clone).unwrap_or_default());
    End::Final { status: update.status, details, bytes_done: 0 }
}

/// Asks the `retry` hook what follows a failure: the only place where a retry is decided.
pub(super) async fn judge(
    shared: &Shared,
    job: &Job,
    chain: &Chain,
    hook_task: &HookTask,
    held: &mut Held,
    failure: Failure,
    details: Option<Box<Details>>,
) -> End {
    let bytes_done = held.bytes_done();
    held.record(shared, job.key);
    let attempt = Attempt {
        number: number(&job.record),
        retries_remaining: u32::try_from(job.record.retries_remaining).unwrap_or(0),
        elapsed_ms: since_first_start(shared, job.key),
        bytes_done,
        bytes_gained: bytes_done.saturating_sub(held.resumed_from),
        jitter_seed: clock::random_bits(),
        jitter: shared.retry_jitter,
        fresh_start_left: !held.notes.iter().any(|note| note == fresh_start(held)),
    };
    let judged = job.slot.leave(pin!(chain.retry(hook_task, &attempt, &failure))).await;
    let (failure, verdict) = match judged {
        Ok(verdict) => (failure, verdict),
        Err(broken) => (broken, RetryVerdict::GiveUp),
    };
    conclude(shared, job, held, failure, (verdict, false), details).await
}

/// Milliseconds since the first attempt of the task's present run began. A first one may not be written yet: it has just begun.
fn since_first_start(shared: &Shared, key: TaskKey) -> u64 {
    let first = shared.store.first_start(key).ok().flatten();
    first.map_or(0, |first| clock::unix_ms().saturating_sub(first))
}

/// What is told of a failed attempt, and what becomes of its bytes. `wanted`: a component wants another attempt.
pub(super) async fn conclude(
    shared: &Shared,
    job: &Job,
    held: &mut Held,
    failure: Failure,
    (verdict, wanted): (RetryVerdict, bool),
    details: Option<Box<Details>>,
) -> End {
    let id = &job.record.task.task_id;
    tracing::info!("{id}: {}: {}", crate::mask::text(&failure.description), verdict_in_words(verdict));
    if failure.outcome_unknown || verdict == RetryVerdict::GiveUp && once::leaves_doubt(held, &failure) {
        held.note(IN_DOUBT);
    }
    let afresh = matches!(verdict, RetryVerdict::AfreshAfterMs(_));
    // Whatever it is called: nothing that is stored is gone on with.
    if failure.kind == FailureKind::Checksum && verdict != RetryVerdict::GiveUp {
        held.note(fresh_start(held));
    }
    let nothing_came = held.part.is_some() && held.bytes_done() == 0;
    if (afresh || nothing_came || failure.kind == FailureKind::Checksum)
        && let Err(broken) = held.give_up(shared, job.key).await
    {
        tracing::warn!("{}", broken.description);
    }
    let bytes_done = held.bytes_done();
    let mut details = details.unwrap_or_default();
    details.notes.clone_from(&held.notes);
    details.resumed_from = held.resumed_from;
    details.exception = Some(failure.clone());
    let changes = held.changes.clone().filter(|_| held.changes_are_new);
    End::Failed(Box::new(Failed { failure, verdict, wanted, changes, details, bytes_done, is_over: false }))
}

/// What is not there now may be there again: what is stored of it is kept, as that of any failed attempt.
pub(super) fn not_found(shared: &Shared, job: &Job, held: &mut Held, mut details: Box<Details>) -> End {
    let bytes_done = held.bytes_done();
    if bytes_done > 0 {
        held.record(shared, job.key);
    } else {
        held.remove();
    }
    details.resumed_from = held.resumed_from;
    End::Final { status: Status::NotFound, details, bytes_done }
}

fn verdict_in_words(verdict: RetryVerdict) -> String {
    match verdict {
        RetryVerdict::AfterMs(ms) => format!("tried again in {ms} ms"),
        RetryVerdict::AfreshAfterMs(ms) => format!("tried again from the first byte in {ms} ms"),
        RetryVerdict::GiveUp => "not tried again".into(),
    }
}

/// What is noted when bytes that are not the right ones have led to the one fresh start they may: another program has changed them,
/// or their checksum is another one.
fn fresh_start(held: &Held) -> &'static str {
    if held.part_was_changed { "restarted-part-lost" } else { "restarted-checksum" }
}

/// The task fails without anybody being asked about another attempt. `is_over`: nor is anything waited for.
pub(super) fn over(held: &mut Held, failure: Failure, details: Option<Box<Details>>, is_over: bool) -> End {
    if failure.outcome_unknown {
        held.note(IN_DOUBT);
    }
    let mut details = details.unwrap_or_default();
    details.exception = Some(failure.clone());
    details.notes.clone_from(&held.notes);
    let (verdict, bytes_done) = (RetryVerdict::GiveUp, held.bytes_done());
    End::Failed(Box::new(Failed { failure, verdict, wanted: false, changes: None, details, bytes_done, is_over }))
}

/// What an answer may repeat: the task's own secrets, and those that its requests have carried, whoever added them.
pub(super) fn secrets_of(task: &Task, trail: &Trail) -> Secrets {
    let mut secrets = trail.secrets();
    secrets.add_task(task);
    secrets
}

/// Masks what an answer has repeated of the requests' secrets, where people look: in its headers, in sentences, and in the body
/// of an error. That of a success is what was asked for, and stays.
pub(super) fn mask_echoes(secrets: &Secrets, end: &mut End) {
    if secrets.is_empty() {
        return;
    }
    let keeps_body = matches!(end, End::Bytes(_) | End::Final { status: Status::Complete, .. });
    if let End::Failed(failed) = end {
        secrets.mask(&mut failed.failure.description);
    }
    let Some(details) = end.details() else { return };
    details.response_headers.iter_mut().for_each(|(_, value)| secrets.mask(value));
    if let Some(failure) = &mut details.exception {
        secrets.mask(&mut failure.description);
    }
    if let Some(body) = details.response_body.as_mut().filter(|_| !keeps_body) {
        secrets.mask(body);
        if details.notes.iter().any(|note| note == "response-truncated") {
            secrets.mask_cut(body);
        }
    }
}

/// What an update says of a response: headers masked, media type and character set apart.
pub(crate) fn details_of(status: u16, head: &HookHead) -> Details {
    let (mime_type, char_set) = media_type(head.header("content-type"));
    Details {
        response_status_code: Some(status),
        response_headers: crate::mask::headers(head.headers()),
        mime_type,
        char_set,
        ..Details::default()
    }
}

/// Splits `text/html; charset=utf-8` (background_downloader B.4.4).
fn media_type(value: Option<&str>) -> (Option<String>, Option<String>) {
    let Some(value) = value else { return (None, None) };
    let mut parts = value.split(';').map(str::trim);
    let mime = parts.next().filter(|mime| !mime.is_empty()).map(str::to_owned);
    let char_set = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
    });
    (mime, char_set)
}
