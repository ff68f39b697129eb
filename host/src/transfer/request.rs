//! Tasks whose answer is kept with them: uploads and data requests. One request, its progress, its answer's judgement, and
//! the answer's body, up to a limit or in a file.
//!
//! Nothing of it is resumed: each attempt sends everything (uploads that go on are in `resumable`). What may not be sent
//! twice is noted before it is sent, so that a killed engine does not repeat it in silence.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::engine::Durability;
use crate::error::{Failure, FailureDetail, FailureKind};
use crate::event::{Details, ProgressUpdate};
use crate::hooks::{Asked, Classified, HookHead};
use crate::sandbox::{Directory, Published, part_name};
use crate::task::Status;
use crate::transfer::callbacks::{self, Sampler};
use crate::transfer::download::{Wire, log_answer, plain_call};
use crate::transfer::progress::Meter;
use crate::transfer::request_body::{RequestBody, SENT};
use crate::transfer::{Context, Finished, Held, Stopped, details_of, resumable, sweep_later, upload};
use crate::transport::{Answer, Call, Framing, Payload, Source, is_idempotent};

/// Bytes of an answer's body that are kept with the task.
const KEPT: usize = 64 * 1024;
/// How often is looked how much of a body has gone out.
const TICK: Duration = Duration::from_millis(100);

/// Sends the task's request. What ends the task is [`Stopped::Final`]: there is no file to be named.
pub(crate) async fn run(cx: &Context<'_>, mut wire: Wire, held: &mut Held) -> Result<Finished, Stopped> {
    if let Some(protocol) = cx.task.resumable() {
        return resumable::run(cx, protocol, wire, held).await;
    }
    not_sent_before(cx)?;
    let segments = upload::pack(cx, &mut wire.headers)?;
    if upload::is_changed(cx.task, &segments) {
        held.note("source-changed");
    }
    let mut body = RequestBody::new(cx.shared, segments, cx.rate, &cx.task.group);
    let has_effect = !is_idempotent(&cx.task.http_request_method);
    if has_effect {
        body = body.marked(cx.key, &held.notes);
    }
    let body = Arc::new(body);
    held.sends = has_effect.then(|| Arc::clone(&body));
    let mut call = plain_call(cx, &wire);
    call.body = Payload::Source(Arc::clone(&body) as Arc<dyn Source>);
    call.keep_body = cx.task.is_upload();
    let total = body.length();
    let of = Of { before: 0, total, shown: None };
    let answer = send(cx, held, call, &body, of).await?;
    judge(cx, held, answer, total).await
}

/// Where a request's body stands in what the task sends as a whole.
#[derive(Clone)]
pub(super) struct Of {
    /// Bytes that the server has already.
    pub(super) before: u64,
    /// Bytes in all.
    pub(super) total: u64,
    /// What the log shows of the URL, where its path is nobody's business.
    pub(super) shown: Option<String>,
}

/// An engine that was killed after it had sent the whole request has not heard the answer.
fn not_sent_before(cx: &Context<'_>) -> Result<(), Failure> {
    if !cx.record.notes.iter().any(|note| note == SENT) {
        return Ok(());
    }
    let text =
        "haul ended after the whole request was sent and before its answer came: whether it took effect is unknown";
    let mut failure = Failure::new(FailureKind::Connection, text).with(FailureDetail::NoResponse);
    failure.outcome_unknown = true;
    Err(failure)
}

/// Sends, and tells meanwhile how much has gone out (rule B.3).
pub(super) async fn send(
    cx: &Context<'_>,
    held: &mut Held,
    call: Call,
    body: &RequestBody,
    of: Of,
) -> Result<Answer, Failure> {
    let (id, method) = (&cx.task.task_id, &call.method);
    let url = of.shown.clone().unwrap_or_else(|| crate::mask::url(&call.url));
    tracing::info!("{id}: {method} {url} with {} bytes, attempt {}", body.length(), cx.record.attempt + 1);
    let (asked, before) = (call.url.clone(), of.before);
    let answer = followed(cx, call, body, of).await.map_err(|mut failure| {
        failure.description = crate::mask::text(&failure.description);
        if body.changed().is_some() {
            held.note("source-changed");
        }
        failure
    })?;
    cx.heard(&asked, before, &answer);
    Ok(answer)
}

async fn followed(cx: &Context<'_>, call: Call, body: &RequestBody, of: Of) -> Result<Answer, Failure> {
    let total = Some(of.total);
    let mut meter = Meter::new(of.before, total, clock::now());
    let mut sampler = Sampler::new(cx.chain);
    cx.shared.hub.sizes(&cx.task.task_id, of.before, total);
    let mut answer = std::pin::pin!(cx.transport.send(call));
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            () = clock::sleep(TICK) => {}
        }
        let taken = of.before + body.taken();
        match meter.at(taken, clock::now()) {
            None => cx.shared.hub.sizes(&cx.task.task_id, taken, total),
            Some(reading) => {
                if let Some(sampler) = &mut sampler {
                    sampler.sample(cx, &reading, taken, total);
                }
                cx.shared.hub.progress(ProgressUpdate {
                    task_id: cx.task.task_id.clone(),
                    group: cx.task.group.clone(),
                    progress: reading.progress.unwrap_or(0.0),
                    bytes_done: taken,
                    expected_file_size: total,
                    network_speed: reading.network_speed,
                    time_remaining: reading.time_remaining,
                });
            }
        }
    }
}

/// What the answer means, by hook `classify`, and what is kept of it. `total`: bytes that the task sends.
pub(super) async fn judge(
    cx: &Context<'_>,
    held: &mut Held,
    mut answer: Answer,
    total: u64,
) -> Result<Finished, Stopped> {
    let (verdict, head) = callbacks::judge(cx, held, &Asked::default(), &mut answer, true).await?;
    log_answer(cx, &answer, &verdict);
    match verdict {
        Classified::Success if answer.early => {
            let text = format!("the server answered {} before it had the whole request", answer.status);
            Err(in_doubt(cx, Failure::new(FailureKind::Connection, text).with(FailureDetail::Cut)).into())
        }
        Classified::Success => {
            let details = succeeded(cx, held, answer, &head, total).await?;
            Err(Stopped::Final(Status::Complete, Box::new(details)))
        }
        Classified::NotFound => {
            let details = refused(held, &mut answer, &head).await;
            Err(Stopped::Final(Status::NotFound, Box::new(details)))
        }
        Classified::Failed(failure) => {
            let details = refused(held, &mut answer, &head).await;
            Err(Stopped::Failure(failure, Some(Box::new(details))))
        }
        // `hooks` lets through no verdict about bytes that are gone on with.
        _ => Err(Failure::new(FailureKind::Callback, "hook `classify` answered as for a download").into()),
    }
}

/// The details of a success, its body included.
async fn succeeded(
    cx: &Context<'_>,
    held: &mut Held,
    mut answer: Answer,
    head: &HookHead,
    total: u64,
) -> Result<Details, Failure> {
    let mut details = details_with_way(&answer, head);
    details.file_size = Some(total).filter(|length| *length > 0);
    details.resumed_from = held.resumed_from;
    let kept = match &cx.task.response_file {
        Some(path) => store(cx, &mut answer, path).await.map(|path| details.file_path = Some(path)),
        None => keep(held, &mut answer, &mut details).await,
    };
    match kept {
        Err(failure)
            if failure.kind == FailureKind::Connection && cx.task.is_upload() && !answer.body.cut_request() =>
        {
            // The upload is done, whatever becomes of the answer's body.
            tracing::info!("{}: {}", cx.task.task_id, crate::mask::text(&failure.description));
            held.note("response-cut");
        }
        Err(failure) => return Err(in_doubt(cx, failure)),
        Ok(()) => {}
    }
    if answer.framing == Framing::UntilClose && cx.task.response_file.is_some() {
        held.note("integrity-unverified");
    }
    details.notes.clone_from(&held.notes);
    Ok(details)
}

/// The details of an answer that is no success: as much of its body as comes.
async fn refused(held: &mut Held, answer: &mut Answer, head: &HookHead) -> Details {
    let mut details = details_with_way(answer, head);
    let _ = keep(held, answer, &mut details).await; // the status has said enough
    details.notes.clone_from(&held.notes);
    details
}

/// After a success, nothing is known to be undone: what is not idempotent (POST, PATCH) is not to be repeated.
fn in_doubt(cx: &Context<'_>, mut failure: Failure) -> Failure {
    failure.outcome_unknown = !is_idempotent(&cx.task.http_request_method);
    failure
}

fn details_with_way(answer: &Answer, head: &HookHead) -> Details {
    Details {
        response_url: Some(crate::mask::url(&answer.url)),
        redirects: answer.hops.iter().map(|url| crate::mask::url(url)).collect(),
        ..details_of(answer.status, head)
    }
}

/// Keeps the body as text, up to [`KEPT`] bytes.
async fn keep(held: &mut Held, answer: &mut Answer, details: &mut Details) -> Result<(), Failure> {
    let mut kept: Vec<u8> = Vec::new();
    let outcome = loop {
        match answer.body.next().await {
            Ok(None) => break Ok(()),
            Ok(Some(piece)) if kept.len() + piece.len() > KEPT => {
                kept.extend_from_slice(&piece[..KEPT - kept.len()]);
                held.note("response-truncated");
                break Ok(());
            }
            Ok(Some(piece)) => kept.extend_from_slice(&piece),
            Err(failure) => break Err(failure),
        }
    };
    let kept = answer.body.masked(kept, KEPT);
    details.response_body = (!kept.is_empty()).then(|| text(&kept, details.char_set.as_deref()));
    outcome
}

/// Text of bytes: by ISO-8859-1 where the server says so, else as UTF-8, with marks in place of what is none.
fn text(bytes: &[u8], char_set: Option<&str>) -> String {
    let latin = char_set.is_some_and(|name| ["iso-8859-1", "latin1"].iter().any(|l| name.eq_ignore_ascii_case(l)));
    match std::str::from_utf8(bytes) {
        Err(_) if latin => bytes.iter().copied().map(char::from).collect(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// A part file that is removed unless it got its name.
struct Unnamed<'a> {
    directory: &'a Directory,
    part_name: &'a str,
}

impl Drop for Unnamed<'_> {
    fn drop(&mut self) {
        self.directory.remove_part(self.part_name);
    }
}

/// Stores the whole body in a file, which replaces an older one; answers its absolute path.
async fn store(cx: &Context<'_>, answer: &mut Answer, path: &str) -> Result<String, Failure> {
    let task = cx.task;
    let (below, name) = path.rsplit_once('/').unwrap_or(("", path));
    let directory = cx.shared.sandbox.directory(&task.base_directory, cx.record.place.as_deref(), below)?;
    sweep_later(cx.shared, &directory);
    let part_name = part_name(name, &task.task_id);
    let length = match answer.framing {
        Framing::Length(length) => Some(length),
        _ => None,
    };
    let mut part = directory.create_part(&part_name, length)?;
    let unnamed = Unnamed { directory: &directory, part_name: &part_name };
    while let Some(piece) = answer.body.next().await? {
        part.append(&piece)?;
    }
    part.finish()?;
    if cx.shared.durability == Durability::Full {
        let syncer = part.syncer()?;
        let synced = tokio::task::spawn_blocking(move || syncer.sync()).await;
        synced.map_err(|_| Failure::new(FailureKind::General, "the response could not be synced"))??;
    }
    let published = directory.publish(&part_name, part.identity(), name, true)?;
    if published != Published::Done {
        return Err(Failure::new(FailureKind::FileSystem, format!("the part file of `{name}` is gone")));
    }
    directory.sync()?;
    drop(unnamed);
    Ok(directory.path().join(name).to_string_lossy().into_owned())
}
