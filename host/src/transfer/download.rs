//! A download: the question (with Range and If-Range when stored bytes can be gone on with), the answer's judgement, the
//! bytes into the part file, the checks at the end.
//!
//! Bytes of two versions are never joined: what is stored is given up, in the store first, before anything of another
//! version is written. The thread that reads the socket writes the file: handing bytes over costs nearly half the speed.

mod finish;
mod flow;
mod naming;
mod question;
mod step;
mod stored;

use std::sync::Arc;

use crate::error::{Failure, FailureKind};
use crate::event::Details;
use crate::hooks::{Asked, Classified, HookHead, Part, PartsVerdict, ResumeVerdict};
use crate::sandbox::{Directory, Identity};
use crate::task::{AnswerHead, Piece, ResumeRecord, Status, Task, TaskType};
use crate::transfer::callbacks;
use crate::transfer::ending::secrets_of;
use crate::transfer::places::refused_at;
use crate::transfer::{Context, Finished, Held, Stopped};
use crate::transfer::{authorize, details_of, once, overlap, parallel, sweep_later};
use crate::transport::{Answer, Framing, Payload, Source};

pub(super) use finish::{expected_digest, finish_with};
use finish::{finish, finish_stored, stated_digest};
pub(super) use flow::{Flow, after_piece, record_now, synced};
use flow::{SHORT, body};
pub(crate) use naming::{exists_already, skipped};
use naming::{name_of, taken_by_given_name};
pub(crate) use question::Wire;
use question::log_question;
pub(super) use question::{Question, call_of, plain_call};
use step::{Known, Step, next_step};
pub(super) use stored::only_url;
use stored::{Stored, is_named, what_is_stored};

/// Bytes of an error's body that are kept.
const ERROR_BODY: usize = 64 * 1024;
/// Questions in one attempt: the first, one without a range, and the rest of short answers.
const QUESTIONS: u32 = 64;

/// Downloads from the place of that number first, or, divided, from all of them. On success the part file in `held` is
/// complete and checked.
pub(crate) async fn run(cx: &Context<'_>, places: &[Wire], place: usize, held: &mut Held) -> Result<Finished, Stopped> {
    let task = cx.task;
    let directory = cx.shared.sandbox.directory(&task.base_directory, cx.record.place.as_deref(), &task.directory)?;
    held.directory = Some(directory.clone());
    sweep_later(cx.shared, &directory);
    if is_named(cx, held, &directory)? {
        return finish_stored(cx, held, directory, &places[place]).await;
    }
    taken_by_given_name(cx, &directory)?;
    let mut question = match what_is_stored(cx, held, &directory, &places[place]).await? {
        Stored::Nothing => Question::default(),
        Stored::All => return finish_stored(cx, held, directory, &places[place]).await,
        Stored::GoOn(question) => question,
    };
    once::not_sent_before(cx)?;
    for _ in 0..QUESTIONS {
        let next = if held.resume.pieces.is_empty() {
            ask(cx, places, place, held, &directory, &mut question).await?
        } else {
            let if_range = question.if_range.clone();
            Box::pin(parallel::run(cx, held, &directory, places, &mut question, if_range, None)).await?
        };
        match next {
            Next::Done(finished) => return Ok(*finished),
            Next::AskAgain if held.sends.is_some() => break,
            Next::AskAgain => {}
        }
    }
    if held.sends.is_some() {
        let text = "the server has not sent all, and its request is not sent a second time (see `repeatable`)";
        return Err(Stopped::Over(Failure::new(FailureKind::Resume, text), None));
    }
    Err(Failure::new(FailureKind::Resume, "the server keeps answering with too few bytes").into())
}

fn own_range(task: &Task) -> bool {
    task.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("range"))
}

/// The first byte of a part of that length (RFC 9110 section 14.4).
fn first_byte_of(head: &HookHead, length: u64) -> Option<u64> {
    let (unit, range) = head.header("content-range")?.split_once(' ')?;
    let (first, last) = range.split_once('/')?.0.split_once('-')?;
    let (first, last) = (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?);
    let is_it = unit.eq_ignore_ascii_case("bytes") && last.checked_sub(first)? == length.checked_sub(1)?;
    is_it.then_some(first)
}

pub(super) enum Next {
    Done(Box<Finished>),
    AskAgain,
}

/// One question and what its answer brings.
async fn ask(
    cx: &Context<'_>,
    places: &[Wire],
    place: usize,
    held: &mut Held,
    directory: &Directory,
    question: &mut Question,
) -> Result<Next, Stopped> {
    let (answer, head, verdict) = answer_to(cx, &places[place], held, question).await?;
    let is_success = !matches!(verdict, Classified::NotFound(_) | Classified::Failed(_));
    let details = (held.sends.is_some() && is_success).then(|| Box::new(details_of(answer.status, &head)));
    let taken = take(cx, (places, place), held, directory, question, (answer, head, verdict)).await;
    match (taken, details) {
        (Err(Stopped::Failure(failure, _)), Some(details)) => Err(once::after_success(cx, held, failure, details)),
        (taken, _) => taken,
    }
}

/// What an answer brings.
async fn take(
    cx: &Context<'_>,
    (places, place): (&[Wire], usize),
    held: &mut Held,
    directory: &Directory,
    question: &mut Question,
    (mut answer, head, verdict): (Answer, HookHead, Classified),
) -> Result<Next, Stopped> {
    let known = Known {
        own_range: own_range(cx.task),
        bytes_done: held.bytes_done(),
        is_doubtful: question.from.is_some()
            && (overlap::is_moved(cx, held, &answer) || overlap::is_unnamed(&question.if_range, &head)),
        is_other_version: overlap::is_other_version(cx.task, held, &head),
        proof: overlap::of(held),
        least: overlap::least(held),
    };
    let step = next_step(question, &known, &verdict);
    if !matches!(step, Step::AskWithoutValidator(_)) {
        log_answer(cx, &answer, &verdict);
    }
    match step {
        Step::TakeAll => return from_zero(cx, held, directory, (places, place), question, answer, head).await,
        Step::TakeAllInstead(note) => {
            held.note(note);
            question.restarts += 1;
            return from_zero(cx, held, directory, (places, place), question, answer, head).await;
        }
        Step::Join => {
            held.joined(cx.shared, cx.key);
            if held.resume.total_bytes.is_none() {
                (held.resume.total_bytes, held.recorded) = (overlap::total_of(&head), false);
            }
        }
        Step::Compare(overlap) => {
            let was_doubtful = held.resume.doubtful_from.is_some();
            if !overlap::is_equal(held, &mut answer, &head, known.bytes_done - overlap..known.bytes_done).await? {
                drop(answer);
                return without_doubtful(cx, held, directory, &places[place], question).await;
            }
            if known.is_doubtful || !was_doubtful {
                held.note("same-by-overlap");
            }
            join(cx, held, question, &answer, &head);
        }
        Step::AskForLast(overlap) => {
            *question = Question { overlap, ..question.clone() };
            return Ok(Next::AskAgain);
        }
        Step::AskWithoutValidator(overlap) => {
            let id = &cx.task.task_id;
            tracing::info!("{id}: the new URL has another validator: the last {overlap} bytes are compared");
            *question = Question { overlap, if_range: String::new(), ..question.clone() };
            return Ok(Next::AskAgain);
        }
        Step::AskAfresh(note) => return afresh(cx, held, question, note).await,
        Step::Finished => {
            let details = details_of(answer.status, &head);
            return Ok(Next::Done(Box::new(finish(cx, held, directory, details, head, None).await?)));
        }
        Step::NotFound => {
            let details = error_details(held, &mut answer, &head).await;
            return Err(Stopped::Final(Status::NotFound, Box::new(details)));
        }
        Step::Failed(failure) => {
            let details = error_details(held, &mut answer, &head).await;
            return Err(Stopped::Failure(refused_at(cx, &places[place], failure.clone()), Some(Box::new(details))));
        }
        Step::Misfit => {
            return Err(Failure::new(FailureKind::Resume, "the server's answer does not fit the question").into());
        }
    }
    stays_undivided(cx, held);
    body(cx, held, directory, question, answer, head).await
}

/// Sends the question: the answer, and what it was judged to be.
async fn answer_to(
    cx: &Context<'_>,
    wire: &Wire,
    held: &mut Held,
    question: &Question,
) -> Result<(Answer, HookHead, Classified), Stopped> {
    authorize::look_ahead(cx).await?;
    log_question(cx, wire, question);
    let mut call = call_of(cx, wire, question);
    if let Some(body) = once::body_of_download(cx, held).await? {
        call.body = Payload::Source(body as Arc<dyn Source>);
    }
    let masked = |mut failure: Failure| {
        failure.description = crate::mask::text(&failure.description);
        failure
    };
    let mut answer = cx.transport.ask(call).await.map_err(masked)?;
    if let Some(failure) = answer.refused.take() {
        let head = callbacks::head_as_it_came(&answer);
        let details = error_details(held, &mut answer, &head).await;
        return Err(Stopped::Failure(masked(*failure), Some(Box::new(details))));
    }
    cx.heard(&wire.url, question.first_byte().unwrap_or(0), &answer);
    let asked = Asked {
        range_from: question.first_byte(),
        range_to: question.to,
        total_bytes: question.from.and(held.resume.total_bytes).filter(|_| !own_range(cx.task)),
        if_range: question.from.map(|_| question.if_range.clone()).filter(|if_range| !if_range.is_empty()),
        own_range: own_range(cx.task),
        restarts: question.restarts,
    };
    let judged = callbacks::judge(cx, held, &asked, &mut answer, true).await;
    let (verdict, head) = judged.map_err(|stopped| once::unjudged(held, answer.status, stopped))?;
    Ok((answer, head, verdict))
}

/// The stored bytes are not those of the server. Where some may be another program's, those before them are gone on with.
async fn without_doubtful(
    cx: &Context<'_>,
    held: &mut Held,
    directory: &Directory,
    wire: &Wire,
    question: &mut Question,
) -> Result<Next, Stopped> {
    let was_doubtful = held.resume.doubtful_from.is_some();
    if held.cut_doubtful()?
        && let Stored::GoOn(next) = what_is_stored(cx, held, directory, wire).await?
    {
        tracing::info!("{}: another program has written to the part file: cut off", cx.task.task_id);
        *question = Question { restarts: question.restarts, undivided: question.undivided, ..next };
        return Ok(Next::AskAgain);
    }
    afresh(cx, held, question, if was_doubtful { "restarted-part-lost" } else { "restarted-changed" }).await
}

/// Gives the stored bytes up, whether in one stream or divided, and asks for the whole.
pub(super) async fn afresh(
    cx: &Context<'_>,
    held: &mut Held,
    question: &mut Question,
    note: &str,
) -> Result<Next, Stopped> {
    held.note(note);
    held.give_up(cx.shared, cx.key).await?;
    let undivided = question.undivided;
    *question = Question { restarts: question.restarts + 1, undivided, ..Question::default() };
    Ok(Next::AskAgain)
}

/// The stored bytes are those of this answer's URL: from here on its validators count, where not the stored one was asked for,
/// which it may leave out.
fn join(cx: &Context<'_>, held: &mut Held, question: &Question, answer: &Answer, head: &HookHead) {
    held.resume.final_url = cx.shown(&answer.url);
    if question.if_range.is_empty() {
        let header = |name: &str| head.header(name).map(str::to_owned);
        held.resume.etag = header("etag");
        held.resume.last_modified = header("last-modified");
        held.resume.date = header("date");
    }
    held.resume.ranges_known = true;
    held.resume.doubtful_from = None;
    held.recorded = false;
    held.record(cx.shared, cx.key);
    held.joined(cx.shared, cx.key);
}

pub(super) fn log_answer(cx: &Context<'_>, answer: &Answer, verdict: &Classified) {
    if !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    let id = &cx.task.task_id;
    for hop in &answer.hops {
        tracing::debug!("{id}: redirected by {}", cx.shown(hop));
    }
    let decided = match verdict {
        Classified::Success => "taken".into(),
        Classified::Continues(from) => format!("goes on at byte {from}"),
        Classified::AlreadyComplete => "nothing is missing".into(),
        Classified::UseFromZero(note) => format!("taken from the first byte ({note})"),
        Classified::AskFromZero(note) => format!("asked for from the first byte ({note})"),
        Classified::NotFound(_) => "not found".into(),
        Classified::Failed(failure) => crate::mask::text(&failure.description),
    };
    tracing::info!("{id}: {} from {}: {decided}", answer.status, cx.shown(&answer.url));
}

/// The details of an answer that is not a success, its body included.
pub(super) async fn error_details(held: &mut Held, answer: &mut Answer, head: &HookHead) -> Details {
    let mut details = details_of(answer.status, head);
    let (body, is_cut) = answer.body.collect_first(ERROR_BODY).await;
    if is_cut {
        held.note("response-truncated");
    }
    details.notes.clone_from(&held.notes);
    details.response_body = (!body.is_empty()).then(|| String::from_utf8_lossy(&body).into_owned());
    details.exception = callbacks::made_up(answer);
    details
}

/// Begins a new part file with this answer's body.
pub(super) async fn from_zero(
    cx: &Context<'_>,
    held: &mut Held,
    directory: &Directory,
    (places, place): (&[Wire], usize),
    question: &mut Question,
    mut answer: Answer,
    head: HookHead,
) -> Result<Next, Stopped> {
    if let Some(note) = &question.instead {
        held.note(note);
    }
    let known = overlap::known_length(cx, held, &answer, &head);
    if held.part.is_some() || held.recorded {
        held.give_up(cx.shared, cx.key).await?;
    }
    *question = Question { restarts: question.restarts, undivided: question.undivided, ..Question::default() };
    let total = match answer.framing {
        Framing::Length(length) => Some(length),
        Framing::Empty => Some(0),
        Framing::Marked | Framing::UntilClose => {
            question.has_known_length = known.is_some();
            known
        }
    };
    if let Err(stopped) = begin(cx, held, directory, total, &answer, &head).await {
        return Err(nowhere_to_put(cx, held, stopped, &mut answer, &head).await);
    }
    question.undivided |= answer.canned.is_some();
    if let Some(if_range) = divide(cx, held, question).await? {
        record_now(cx, held).await?;
        let first = Some((place, answer, head));
        return Box::pin(parallel::run(cx, held, directory, places, question, if_range, first)).await;
    }
    body(cx, held, directory, question, answer, head).await
}

/// There is no part file for an answer: of one that is not asked for again, the first bytes are kept with the task.
async fn nowhere_to_put(
    cx: &Context<'_>,
    held: &mut Held,
    stopped: Stopped,
    answer: &mut Answer,
    head: &HookHead,
) -> Stopped {
    match stopped {
        Stopped::Failure(failure, _) if held.sends.is_some() => {
            let details = error_details(held, answer, head).await;
            once::after_success(cx, held, failure, Box::new(details))
        }
        stopped => stopped,
    }
}

/// What is stored of an answer's head: as it may be told, for its bytes may outlive the attempt that knows what was sent.
fn stored_head(cx: &Context<'_>, status: u16, head: &HookHead) -> AnswerHead {
    let secrets = secrets_of(&cx.record.task, cx.trail);
    let mut headers = crate::mask::headers(head.headers());
    headers.iter_mut().for_each(|(_, value)| secrets.mask(value));
    AnswerHead { status, headers }
}

/// Makes the part file, and what must be known to go on with it.
async fn begin(
    cx: &Context<'_>,
    held: &mut Held,
    directory: &Directory,
    total: Option<u64>,
    answer: &Answer,
    head: &HookHead,
) -> Result<(), Stopped> {
    let final_name = name_of(cx, directory, head).await?;
    let part_name = crate::sandbox::part_name(&final_name, &cx.task.task_id);
    let part = directory.create_part(&part_name, total)?;
    let Identity { dev: part_dev, ino: part_ino } = part.identity();
    let header = |name: &str| head.header(name).map(str::to_owned);
    let is_short = total.is_some_and(|total| total <= SHORT);
    held.resume = ResumeRecord {
        part_name,
        part_dev,
        part_ino,
        // A short file is seldom gone on with: not worth a system call for each, nor this copy.
        part_born_ns: if is_short { 0 } else { part.born_ns() },
        answer: (!is_short).then(|| stored_head(cx, answer.status, head)),
        total_bytes: total,
        etag: header("etag"),
        last_modified: header("last-modified"),
        date: header("date"),
        digest: stated_digest(cx.task, head).map(|checksum| checksum.to_string()),
        ranges_known: answer.status == 206 || head.header("accept-ranges").is_some_and(|unit| unit.contains("bytes")),
        encoded: overlap::is_encoded(head),
        first_byte: total
            .filter(|_| own_range(cx.task) && answer.status == 206)
            .and_then(|length| first_byte_of(head, length)),
        final_name,
        final_url: cx.shown(&answer.url),
        ..ResumeRecord::default()
    };
    held.part = Some(part);
    held.joined(cx.shared, cx.key);
    Ok(())
}

pub(super) fn wants_parts(cx: &Context<'_>) -> bool {
    cx.task.task_type == TaskType::ParallelDownload || cx.task.chunks > 1
}

/// What has come in one stream so far goes on in one, also where the task has been given parts since. Another reason that was
/// noted before is the true one.
fn stays_undivided(cx: &Context<'_>, held: &mut Held) {
    if wants_parts(cx) && !held.notes.iter().any(|note| note.starts_with("single-stream: ")) {
        held.note("single-stream");
        held.note("single-stream: it had begun as one");
    }
}

/// Divides the download, where the task wants that and the `parts` hook agrees: answers what goes into If-Range. Otherwise
/// the reason is noted.
async fn divide(cx: &Context<'_>, held: &mut Held, question: &Question) -> Result<Option<String>, Failure> {
    if !wants_parts(cx) {
        return Ok(None);
    }
    let verdict = match held.resume.total_bytes.filter(|_| !question.has_known_length) {
        _ if question.undivided => PartsVerdict::OneStream("its pieces could not be joined".into()),
        None => PartsVerdict::OneStream("the server does not say how long it is".into()),
        Some(total) => {
            let (resume, _) = cx.chain.resume(cx.hook_task, 0, &held.resume).await?;
            let if_range = match resume {
                ResumeVerdict::GoOn { if_range, .. } => Some(if_range),
                _ => None,
            };
            let known = held.resume.ranges_known;
            match (cx.chain.parts(cx.hook_task, total, if_range.is_some(), known).await?, if_range) {
                (PartsVerdict::Divide(parts), Some(if_range)) => {
                    held.resume.pieces = parts.iter().map(piece_of).collect();
                    held.places = parts.iter().map(|part| part.place).collect();
                    return Ok(Some(if_range));
                }
                (PartsVerdict::Divide(_), None) => PartsVerdict::OneStream("there is no strong validator".into()),
                (one_stream, _) => one_stream,
            }
        }
    };
    if let PartsVerdict::OneStream(reason) = verdict {
        held.note("single-stream");
        held.note(&format!("single-stream: {reason}"));
    }
    Ok(None)
}

fn piece_of(part: &Part) -> Piece {
    let Part { first_byte, last_byte, .. } = *part;
    Piece { first_byte, last_byte, next_byte: first_byte, durable_to: first_byte }
}
