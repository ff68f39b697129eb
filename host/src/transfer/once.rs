//! Requests that are sent once: those that are not idempotent, and may not be repeated by what their task says either
//! (`repeatable`, `Idempotency-Key`, uploads that go on). One rule for every type of task.
//!
//! Before a server can have the whole of one, the store knows ([`SENT`]): whatever ends the attempt from then on, the request is
//! not sent again by itself. Where a success has been heard, its outcome is known, and what goes wrong afterwards ends the task.

use std::sync::Arc;

use crate::error::{Failure, FailureDetail, FailureKind};
use crate::event::{Details, SENT};
use crate::store::Change;
use crate::task::Body;
use crate::transfer::request_body::{RequestBody, Segment};
use crate::transfer::{Context, Held, Job, Shared, Stopped};
use crate::transport::is_idempotent;

/// The body of the task's request, of these segments; that of one that is sent once marks it as sent, and is known to `held`.
pub(super) async fn body(
    cx: &Context<'_>,
    held: &mut Held,
    segments: Vec<Segment>,
) -> Result<Arc<RequestBody>, Failure> {
    held.sends = None;
    let body = RequestBody::new(cx.shared, segments, cx.rate, &cx.task.group);
    if !is_sent_once(cx)? {
        return Ok(Arc::new(body));
    }
    let body = Arc::new(body.marked(cx.key, &held.notes));
    held.sends = Some(Arc::clone(&body));
    body.mark_if_empty().await?;
    Ok(body)
}

/// The same for a download, which has a text to send at most. `None`: it may be asked for any number of times.
pub(super) async fn body_of_download(cx: &Context<'_>, held: &mut Held) -> Result<Option<Arc<RequestBody>>, Failure> {
    held.sends = None;
    if !is_sent_once(cx)? {
        return Ok(None);
    }
    let segments = match &cx.task.body {
        Body::Bytes(bytes) => vec![Segment::Text(bytes.clone().into())],
        _ => Vec::new(),
    };
    body(cx, held, segments).await.map(Some)
}

fn is_sent_once(cx: &Context<'_>) -> Result<bool, Failure> {
    Ok(!is_idempotent(&cx.task.http_request_method) && !cx.chain.may_be_repeated(cx.hook_task)?)
}

/// An engine that ended after it had sent the whole request has not heard the whole answer.
pub(super) fn not_sent_before(cx: &Context<'_>) -> Result<(), Failure> {
    if !cx.record.notes.iter().any(|note| note == SENT) {
        return Ok(());
    }
    let text = "haul stopped after the whole request was sent and before the whole answer had come: whether it took \
                effect is unknown";
    let mut failure = Failure::new(FailureKind::Connection, text).with(FailureDetail::NoResponse);
    failure.outcome_unknown = true;
    Err(failure)
}

/// Whether a request that failed so has had no effect: another server may be asked.
pub(super) fn is_undone(failure: &Failure) -> bool {
    !failure.outcome_unknown && !has_failed_itself(failure)
}

/// Whether a request that is sent once, and not again after this, may have taken effect.
pub(super) fn leaves_doubt(held: &Held, failure: &Failure) -> bool {
    failure.outcome_unknown || held.sends.is_some() && has_failed_itself(failure)
}

/// A server that failed itself may have done what it was asked for, nevertheless.
fn has_failed_itself(failure: &Failure) -> bool {
    matches!(failure.http_status, Some(500 | 502 | 504))
}

/// A failure before anybody has said that the request is done: it may be, nevertheless.
pub(super) fn in_doubt(held: &Held, mut failure: Failure) -> Failure {
    failure.outcome_unknown = held.sends.is_some();
    failure
}

/// An answer came, and nobody could say what it means, because a component failed: where it was no refusal, the request may be done.
pub(super) fn unjudged(held: &Held, status: u16, stopped: Stopped) -> Stopped {
    match stopped {
        Stopped::Failure(failure, details) if status < 400 => Stopped::Failure(in_doubt(held, failure), details),
        stopped => stopped,
    }
}

/// A failure after the answer that said that the request is done. One that is sent once ends the task, and so does an upload that
/// the server has put together: nothing is waited for either, such as room on a disk.
pub(super) fn after_success(cx: &Context<'_>, held: &Held, failure: Failure, details: Box<Details>) -> Stopped {
    if held.sends.is_some() || cx.task.resumable().is_some() {
        Stopped::Over(failure, Some(details))
    } else {
        Stopped::Failure(failure, Some(details))
    }
}

/// The attempt is stopped: whether its request may be out. If it is not, the store is told that it may be sent.
pub(super) fn is_out(shared: &Shared, job: &Job, held: &Held) -> bool {
    let Some(body) = &held.sends else { return false };
    if !body.is_marked() {
        return false;
    }
    let is_out = body.may_be_out();
    if !is_out {
        shared.store.write_later(Change::Note { key: job.key, notes: held.notes.clone() });
    }
    is_out
}
