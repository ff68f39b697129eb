//! Tasks whose answer is kept with them: uploads and data requests. One request, its progress, its answer's judgement, and
//! the answer's body, up to a limit or in a file.
//!
//! Nothing of it is resumed: each attempt sends everything (uploads that go on are in `resumable`). What is sent once (`once`) is
//! noted before, so that a killed engine does not repeat it in silence.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::error::{Failure, FailureDetail, FailureKind};
use crate::event::{Details, ProgressUpdate};
use crate::hooks::{Asked, Classified, HookHead};
use crate::task::Status;
use crate::transfer::callbacks::{self, Sampler};
use crate::transfer::download::{Wire, log_answer, plain_call};
use crate::transfer::progress::Meter;
use crate::transfer::request_body::{RequestBody, Segment};
use crate::transfer::response::{self, First, note_encoding, store};
use crate::transfer::{Context, Finished, Held, Stopped, details_of, once, resumable, upload};
use crate::transport::{Answer, Call, Framing, Payload, Source};

/// How often is looked how much of a body has gone out.
const TICK: Duration = Duration::from_millis(100);

/// Sends the task's request. What ends the task is [`Stopped::Final`]: there is no file to be named.
pub(crate) async fn run(cx: &Context<'_>, mut wire: Wire, held: &mut Held) -> Result<Finished, Stopped> {
    if let Some(protocol) = cx.task.resumable() {
        return resumable::run(cx, protocol, wire, held).await;
    }
    once::not_sent_before(cx)?;
    let segments = upload::pack(cx, &mut wire.headers)?;
    if upload::is_changed(cx.task, &segments) {
        held.note("source-changed");
    }
    response::look(cx, segments.iter().filter_map(Segment::file))?;
    let body = once::body(cx, held, segments).await?;
    let total = || body.length();
    let mut call = plain_call(cx, &wire);
    call.body = Payload::Source(Arc::clone(&body) as Arc<dyn Source>);
    call.keep_body = cx.task.is_upload();
    let of = Of { before: 0, total: None, shown: None };
    let mut answer = send(cx, held, call, &body, of).await?;
    if let Some(failure) = answer.refused.take() {
        let head = callbacks::head_as_it_came(&answer);
        let details = refused(cx, held, &mut answer, &head).await;
        return Err(Stopped::Failure(*failure, Some(Box::new(details))));
    }
    judge(cx, held, answer, &total).await
}

/// Where a request's body stands in what the task sends as a whole.
#[derive(Clone)]
pub(super) struct Of {
    /// Bytes that the server has already.
    pub(super) before: u64,
    /// Bytes in all, where they are more than the body's.
    pub(super) total: Option<u64>,
    /// What the log shows of the URL, where its path is nobody's business.
    pub(super) shown: Option<String>,
}

/// Sends, and tells meanwhile how much has gone out (rule B.3). A redirect that may not be followed is an answer, too.
pub(super) async fn send(
    cx: &Context<'_>,
    held: &mut Held,
    call: Call,
    body: &RequestBody,
    of: Of,
) -> Result<Answer, Failure> {
    let (id, method) = (&cx.task.task_id, &call.method);
    let url = of.shown.clone().unwrap_or_else(|| cx.shown(&call.url));
    let size = body.length().map_or_else(|| "bytes as they come".into(), |length| format!("{length} bytes"));
    tracing::info!("{id}: {method} {url} with {size}, attempt {}", cx.record.attempt + 1);
    let (asked, before) = (call.url.clone(), of.before);
    let mut answer = followed(cx, call, body, of).await.map_err(|mut failure| {
        failure.description = crate::mask::text(&failure.description);
        if body.changed().is_some() {
            held.note("source-changed");
        }
        failure
    })?;
    match &mut answer.refused {
        Some(failure) => failure.description = crate::mask::text(&failure.description),
        None => cx.heard(&asked, before, &answer),
    }
    Ok(answer)
}

async fn followed(cx: &Context<'_>, call: Call, body: &RequestBody, of: Of) -> Result<Answer, Failure> {
    let mut total = of.total.or_else(|| body.length());
    let mut meter = Meter::new(of.before, total, clock::now());
    let mut sampler = Sampler::new(cx.chain);
    cx.shared.hub.sizes(&cx.task.task_id, of.before, total);
    let mut answer = std::pin::pin!(cx.transport.ask(call));
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            () = clock::sleep(TICK) => {}
        }
        let taken = of.before + body.taken();
        total = total.or_else(|| body.length());
        meter.set_total(total);
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

/// What the answer means, by hook `classify`, and what is kept of it. `total`: bytes that the task sends, once that is known.
pub(super) async fn judge(
    cx: &Context<'_>,
    held: &mut Held,
    mut answer: Answer,
    total: &dyn Fn() -> Option<u64>,
) -> Result<Finished, Stopped> {
    let judged = callbacks::judge(cx, held, &Asked::default(), &mut answer, true).await;
    let (verdict, head) = judged.map_err(|stopped| once::unjudged(held, answer.status, stopped))?;
    log_answer(cx, &answer, &verdict);
    match verdict {
        Classified::Success if answer.early => {
            let text = format!("the server answered {} before it had the whole request", answer.status);
            let details = refused(cx, held, &mut answer, &head).await;
            let mut failure =
                once::in_doubt(held, Failure::new(FailureKind::Connection, text).with(FailureDetail::Cut));
            failure.http_status = Some(answer.status);
            Err(Stopped::Failure(failure, Some(Box::new(details))))
        }
        Classified::Success => {
            let details = succeeded(cx, held, answer, &head, total).await?;
            Err(Stopped::Final(Status::Complete, Box::new(details)))
        }
        Classified::NotFound(_) => {
            let details = refused(cx, held, &mut answer, &head).await;
            Err(Stopped::Final(Status::NotFound, Box::new(details)))
        }
        Classified::Failed(failure) => {
            let details = refused(cx, held, &mut answer, &head).await;
            Err(Stopped::Failure(failure, Some(Box::new(details))))
        }
        // `hooks` lets through no verdict about bytes that are gone on with.
        _ => Err(Failure::new(FailureKind::Callback, "hook `classify` answered as for a download").into()),
    }
}

/// What a success comes to, its body included.
async fn succeeded(
    cx: &Context<'_>,
    held: &mut Held,
    mut answer: Answer,
    head: &HookHead,
    total: &dyn Fn() -> Option<u64>,
) -> Result<Details, Stopped> {
    let mut details = details_with_way(cx, &answer, head);
    details.resumed_from = held.resumed_from;
    answer.body.ends(held.ends.clone());
    let mut first = First::default();
    let file = cx.task.response_file.as_ref().filter(|_| cx.task.http_request_method != "HEAD"); // which has no body
    let done = match file {
        Some(path) => store(cx, &mut answer, path, &mut first, &mut details).await,
        None => first.read(&mut answer).await,
    };
    details.file_size = total().filter(|length| *length > 0);
    match done {
        Ok(()) if details.file_path.is_none() => first.keep(held, &answer, &mut details),
        Ok(()) => {
            if answer.framing == Framing::UntilClose {
                held.note("integrity-unverified");
            }
            note_encoding(held, &details);
        }
        Err(failure) => {
            if failure.kind == FailureKind::FileSystem {
                let _ = first.read(&mut answer).await; // what the file cannot have
            }
            first.keep(held, &answer, &mut details);
            let is_cut = failure.kind == FailureKind::Connection;
            if answer.body.cut_request() {
                details.notes.clone_from(&held.notes);
                return Err(Stopped::Failure(once::in_doubt(held, failure), Some(Box::new(details))));
            }
            if !is_cut || !cx.task.is_upload() || cx.task.response_file.is_some() {
                details.notes.clone_from(&held.notes);
                return Err(once::after_success(cx, held, failure, Box::new(details)));
            }
            // The upload is done, whatever becomes of the answer's body.
            tracing::info!("{}: {}", cx.task.task_id, crate::mask::text(&failure.description));
            held.note("response-cut");
        }
    }
    if answer.body.released_request() {
        held.note("request-cut");
    }
    details.notes.clone_from(&held.notes);
    Ok(details)
}

/// The details of an answer that is no success: as much of its body as comes.
pub(super) async fn refused(cx: &Context<'_>, held: &mut Held, answer: &mut Answer, head: &HookHead) -> Details {
    let mut details = details_with_way(cx, answer, head);
    let mut first = First::default();
    answer.body.ends(held.ends.clone());
    let _ = first.read(answer).await; // the status has said enough
    first.keep(held, answer, &mut details);
    details.notes.clone_from(&held.notes);
    details.exception = callbacks::made_up(answer);
    details
}

fn details_with_way(cx: &Context<'_>, answer: &Answer, head: &HookHead) -> Details {
    Details {
        response_url: Some(cx.shown(&answer.url)),
        redirects: answer.hops.iter().map(|url| cx.shown(url)).collect(),
        ..details_of(answer.status, head)
    }
}
