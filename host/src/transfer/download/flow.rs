//! Bytes of an answer into the part file, and what goes along: checkpoints, syncs, progress, speed limits. Divided downloads use
//! all but the reading.

use std::time::Duration;

use super::{Next, Question, afresh, expected_digest, finish_with};
use crate::clock;
use crate::digest::{Algorithm, Checksum, Hasher};
use crate::engine::Durability;
use crate::error::{Failure, FailureDetail, FailureKind};
use crate::event::ProgressUpdate;
use crate::hooks::{Hook, HookHead, RESTARTS};
use crate::sandbox::Directory;
use crate::transfer::callbacks::Sampler;
use crate::transfer::progress::Meter;
use crate::transfer::{Context, Held, Stopped, Syncing, details_of, sync_later};
use crate::transport::{Answer, Framing};

/// How often the store is told which bytes of a divided file are there: what a kill may cost. The length of its part file
/// does not say it.
const TELL_PIECES: Duration = Duration::from_millis(250);

/// Downloads shorter than this are not recorded for going on until they are interrupted or a checkpoint comes.
pub(super) const SHORT: u64 = 256 * 1024;

/// Longest wait for a speed limit before it is looked at again.
const PACE: Duration = Duration::from_millis(200);

/// When what has come is made durable: so many bytes, or so much time, can be lost by a power cut. A killed process loses
/// nothing.
struct Checkpoint {
    at: std::time::Instant,
    bytes: u64,
}

impl Checkpoint {
    const BYTES: u64 = 8 << 20;
    const TIME: Duration = Duration::from_secs(2);
    /// Not more often, however fast the bytes come: a sync takes its time, too.
    const SHORTEST: Duration = Duration::from_millis(250);

    /// When the next one is due if no more bytes come; `None`: there is nothing new.
    fn due(&self, bytes: u64) -> Option<std::time::Instant> {
        let new = bytes.saturating_sub(self.bytes);
        let wait = if new >= Self::BYTES { Self::SHORTEST } else { Self::TIME };
        (new > 0).then(|| self.at + wait)
    }
}

/// Follows one body into the part file.
pub(in crate::transfer) struct Flow {
    meter: Meter,
    /// How long the whole will be, by the server or else by the task.
    expected: Option<u64>,
    hasher: Option<Hasher>,
    sampler: Option<Sampler>,
    checkpoint: Checkpoint,
    /// When the store was last told which bytes of a divided file are there, and how many those were.
    told: Option<(std::time::Instant, u64)>,
    syncing: Option<Syncing>,
    /// Where each piece of a divided file stood when `syncing` began.
    synced: Vec<u64>,
}

impl Flow {
    /// `digest`: what is computed while the bytes come, where they come from the first one on.
    pub(in crate::transfer) fn new(cx: &Context<'_>, held: &Held, digest: Option<Algorithm>) -> Self {
        let (start, now) = (held.bytes_done(), clock::now());
        let expected = held.resume.total_bytes.or_else(|| cx.task.known_length());
        cx.shared.hub.sizes(&cx.task.task_id, start, expected);
        Self {
            meter: Meter::new(start, expected, now),
            expected,
            hasher: digest.filter(|_| start == 0).map(Hasher::new),
            sampler: Sampler::new(cx.chain),
            checkpoint: Checkpoint { at: now, bytes: start },
            told: (!held.resume.pieces.is_empty()).then_some((now, start)),
            syncing: None,
            synced: Vec::new(),
        }
    }

    /// When the store is to be told which bytes of a divided file are there.
    fn tells(&self, done: u64) -> Option<std::time::Instant> {
        self.told.filter(|(_, bytes)| done > *bytes).map(|(at, _)| at + TELL_PIECES)
    }

    /// When something is to be done although no bytes come.
    pub(in crate::transfer) fn due(&self, done: u64) -> Option<std::time::Instant> {
        [self.meter.due(done), self.checkpoint.due(done), self.tells(done)].into_iter().flatten().min()
    }
}

/// Reads the body into the part file.
pub(super) async fn body(
    cx: &Context<'_>,
    held: &mut Held,
    directory: &Directory,
    question: &mut Question,
    mut answer: Answer,
    head: HookHead,
) -> Result<Next, Stopped> {
    let start = held.bytes_done();
    answer.body.is_part_of(held.resume.digest.as_deref());
    let expected = expected_digest(cx.task, held, &head);
    let wanted = expected.as_ref().map(Checksum::algorithm);
    let mut flow = Flow::new(cx, held, wanted.or(cx.chain.has(Hook::Verify).then_some(Algorithm::Sha256)));
    if held.resume.total_bytes.is_none_or(|total| total > SHORT) {
        record_now(cx, held).await?; // before the first byte that depends on it
    }
    while let Some(bytes) = next_or_give_back(cx, held, &mut flow, &mut answer, start).await? {
        if let Some(part) = &mut held.part {
            part.append(&bytes)?;
        }
        if let Some(hasher) = &mut flow.hasher {
            hasher.update(&bytes);
        }
        if let Err(failure) = too_long(held) {
            // What was joined to the stored bytes is trusted no more, nor are they (reliability B.1, 206).
            let is_as_known = question.from.is_some() || question.has_known_length;
            if !is_as_known || question.restarts >= RESTARTS {
                return Err(failure.into());
            }
            if let Some(syncing) = flow.syncing.take() {
                let _ = syncing.await; // it says which bytes are durable: not after they are given up
            }
            return afresh(cx, held, question, "restarted-changed").await;
        }
        after_piece(cx, held, &mut flow, bytes.len()).await?;
    }
    synced(held, &mut flow).await?;
    if answer.framing == Framing::UntilClose && held.resume.total_bytes.is_none() {
        held.note("integrity-unverified");
    }
    let done = held.bytes_done();
    if held.resume.total_bytes.is_some_and(|total| done < total) {
        if done == start {
            return Err(Failure::new(FailureKind::Connection, "the server sent no bytes")
                .with(FailureDetail::Cut)
                .into());
        }
        if question.has_known_length {
            return too_short(cx, held, question, answer.framing).await;
        }
        // A 206 may be shorter than asked (RFC 9110 §15.3.7): the rest is asked for under the same condition.
        *question = Question { from: Some(done), ..question.clone() };
        return Ok(Next::AskAgain);
    }
    let mut details = details_of(answer.status, &head);
    details.resumed_from = held.resumed_from;
    let digest = flow.hasher.map(Hasher::finish);
    Ok(Next::Done(Box::new(finish_with(cx, held, directory, details, head, digest, expected).await?)))
}

/// The next piece of the body. Where a part turns out not to be what it says that it is, all of it is given up: where it began, so
/// many bytes were stored.
async fn next_or_give_back(
    cx: &Context<'_>,
    held: &mut Held,
    flow: &mut Flow,
    answer: &mut Answer,
    start: u64,
) -> Result<Option<bytes::Bytes>, Stopped> {
    let next = next_piece(cx, held, flow, answer).await;
    if !answer.body.is_untrue() {
        return next;
    }
    synced(held, flow).await?;
    if start == 0 {
        held.give_up(cx.shared, cx.key).await?;
    } else {
        held.resume.durable_bytes = held.resume.durable_bytes.min(start);
        held.recorded = false;
        record_now(cx, held).await?;
        if let Some(part) = &mut held.part {
            part.truncate(start)?;
        }
    }
    next
}

/// The next piece of the body; while it does not come, what has come is told and made durable in time.
async fn next_piece(
    cx: &Context<'_>,
    held: &mut Held,
    flow: &mut Flow,
    answer: &mut Answer,
) -> Result<Option<bytes::Bytes>, Stopped> {
    let mut next = std::pin::pin!(answer.body.next());
    loop {
        let done = held.bytes_done();
        let Some(due) = flow.due(done) else {
            return next.await.map_err(|failure| cut_off(failure, held));
        };
        let wait = due.saturating_duration_since(clock::now());
        tokio::select! {
            biased;
            piece = &mut next => return piece.map_err(|failure| cut_off(failure, held)),
            () = clock::sleep(wait) => after_piece(cx, held, flow, 0).await?,
        }
    }
}

/// Makes the record of a longer download known before its bytes come, so that a killed process loses nothing of it.
pub(in crate::transfer) async fn record_now(cx: &Context<'_>, held: &mut Held) -> Result<(), Failure> {
    if held.recorded {
        return Ok(());
    }
    held.resume.boot_id.clone_from(&cx.shared.boot_id);
    let record = Box::new(held.resume.clone());
    let written = cx.shared.store.write(crate::store::Change::Resumable { key: cx.key, record }).await;
    written.map_err(|error| Failure::new(FailureKind::FileSystem, error.to_string()))?;
    held.recorded = true;
    Ok(())
}

fn cut_off(mut failure: Failure, held: &Held) -> Stopped {
    failure.outcome_unknown = false;
    if failure.detail == FailureDetail::Cut {
        let of = held.resume.total_bytes.map_or(String::new(), |total| format!(" of {total}"));
        failure.description = format!("{} ({}{of} bytes are here)", failure.description, held.bytes_done());
    }
    failure.into()
}

/// The whole came without a length, and is shorter than its version is known to be. Where the end of the connection ends it, that
/// is a cut (RFC 9112 section 8); where it says itself that this is all, the whole is asked for once more, and believed then.
async fn too_short(
    cx: &Context<'_>,
    held: &mut Held,
    question: &mut Question,
    framing: Framing,
) -> Result<Next, Stopped> {
    if framing != Framing::UntilClose && question.restarts < RESTARTS {
        return afresh(cx, held, question, "restarted-changed").await;
    }
    let failure = Failure::new(FailureKind::Connection, "the server closed the connection too early");
    Err(cut_off(failure.with(FailureDetail::Cut), held))
}

fn too_long(held: &Held) -> Result<(), Failure> {
    match held.resume.total_bytes {
        Some(total) if held.bytes_done() > total => {
            let text = format!("the server sent more than the {total} bytes it had announced");
            Err(Failure::new(FailureKind::Connection, text).with(FailureDetail::Protocol))
        }
        _ => Ok(()),
    }
}

/// Records what is there, and has it made durable unless that is being done.
async fn checkpoint(cx: &Context<'_>, held: &mut Held, flow: &mut Flow, done: u64) -> Result<(), Failure> {
    flow.checkpoint.at = clock::now();
    let idle = flow.syncing.as_ref().is_none_or(tokio::task::JoinHandle::is_finished);
    if idle {
        synced(held, flow).await?;
    }
    held.record(cx.shared, cx.key);
    if idle {
        flow.checkpoint.bytes = done;
    }
    if idle && cx.shared.durability == Durability::Full {
        flow.synced = held.resume.pieces.iter().map(|piece| piece.next_byte).collect();
        flow.syncing = sync_later(cx.shared, cx.key, held);
    }
    Ok(())
}

/// Waits for the sync under way, if there is one, and takes down what it made durable. After one that failed no later one can be
/// trusted: an error is told once.
pub(in crate::transfer) async fn synced(held: &mut Held, flow: &mut Flow) -> Result<(), Failure> {
    let Some(syncing) = flow.syncing.take() else { return Ok(()) };
    let broken = |_| Failure::new(FailureKind::General, "the bytes could not be synced");
    match syncing.await.map_err(broken).flatten() {
        Ok(bytes) => {
            for (piece, synced) in held.resume.pieces.iter_mut().zip(&flow.synced) {
                // Pieces may have been joined meanwhile: what lies outside is another one's.
                if (piece.durable_to..=piece.next_byte).contains(synced) {
                    piece.durable_to = *synced;
                }
            }
            if held.resume.pieces.is_empty() {
                held.resume.durable_bytes = bytes;
            }
            Ok(())
        }
        Err(failure) => {
            held.distrust();
            Err(failure)
        }
    }
}

/// Progress, checkpoint and speed limits after each piece.
pub(in crate::transfer) async fn after_piece(
    cx: &Context<'_>,
    held: &mut Held,
    flow: &mut Flow,
    len: usize,
) -> Result<(), Failure> {
    let now = clock::now();
    let done = held.bytes_done();
    if flow.checkpoint.due(done).is_some_and(|due| due <= now) {
        tracing::debug!("{}: checkpoint at {done} bytes", cx.task.task_id);
        checkpoint(cx, held, flow, done).await?;
    }
    if flow.tells(done).is_some_and(|due| due <= now) {
        held.record(cx.shared, cx.key);
        flow.told = Some((now, done));
    }
    if let Some(reading) = flow.meter.at(done, now) {
        if let Some(sampler) = &mut flow.sampler {
            sampler.sample(cx, &reading, done, flow.expected);
        }
        cx.shared.hub.progress(ProgressUpdate {
            task_id: cx.task.task_id.clone(),
            group: cx.task.group.clone(),
            progress: reading.progress.unwrap_or(0.0),
            bytes_done: done,
            expected_file_size: flow.expected,
            network_speed: reading.network_speed,
            time_remaining: reading.time_remaining,
        });
    }
    pace(cx, len, now).await;
    Ok(())
}

/// Waits as long as the speed limits want after so many bytes. In steps: they may change meanwhile.
async fn pace(cx: &Context<'_>, len: usize, now: std::time::Instant) {
    cx.shared.throttle.set_sip(cx.taker());
    let taken = cx.shared.throttle.take(cx.taker(), len, now);
    let mut wait = cx.shared.throttle.wait(cx.taker(), taken, now);
    while !wait.is_zero() {
        clock::sleep(wait.min(PACE)).await;
        wait = cx.shared.throttle.wait(cx.taker(), taken, clock::now());
    }
}
