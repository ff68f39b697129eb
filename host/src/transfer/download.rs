//! A download: the question (with Range and If-Range when stored bytes can be gone on with), the answer's judgement, the
//! bytes into the part file, the checks at the end.
//!
//! Bytes of two versions are never joined: what is stored is given up, in the store first, before anything of another
//! version is written. The thread that reads the socket writes the file: handing bytes over costs nearly half the speed.

mod finish;

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::digest::{Algorithm, Hasher};
use crate::engine::Durability;
use crate::error::{Failure, FailureDetail, FailureKind};
use crate::event::{Details, ProgressUpdate};
use crate::hooks::{Asked, Classified, Hook, HookHead, Part, PartsVerdict, ResumeVerdict};
use crate::sandbox::{Directory, Identity, PartFile, in_the_way};
use crate::task::{Body, OnConflict, Pairs, Piece, ResumeRecord, Status, Task, TaskType};
use crate::transfer::callbacks::{self, Sampler};
use crate::transfer::progress::Meter;
use crate::transfer::{Context, Finished, Held, Stopped, Syncing};
use crate::transfer::{details_of, overlap, parallel, sweep_later, sync_later};
use crate::transport::{Answer, Call, Framing, Steps};

pub(super) use finish::{expected_digest, finish_with};
use finish::{finish, finish_stored};

/// How often the store is told which bytes of a divided file are there: what a kill may cost. The length of its part file
/// does not say it.
const TELL_PIECES: Duration = Duration::from_millis(250);

/// Bytes of an error's body that are kept.
const ERROR_BODY: usize = 64 * 1024;
/// Downloads shorter than this are not recorded for going on until they are interrupted or a checkpoint comes.
const SHORT: u64 = 256 * 1024;
/// Questions in one attempt: the first, one without a range, and the rest of short answers.
const QUESTIONS: u32 = 64;
/// Longest wait for a speed limit before it is looked at again.
const PACE: Duration = Duration::from_millis(200);
/// Fresh starts in one attempt.
const RESTARTS: u32 = 2;

/// The request's changeable part.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) url: String,
    pub(crate) headers: Pairs,
}

/// What the next question asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Question {
    /// Go on from here.
    pub(super) from: Option<u64>,
    /// Up to here, included; `None`: to the end.
    pub(super) to: Option<u64>,
    pub(super) if_range: String,
    pub(super) restarts: u32,
    /// Take one stream, whatever the task wants.
    pub(super) undivided: bool,
    /// Where the part file begins in the resource, of which the task wants a range.
    pub(super) offset: u64,
    /// Ask from so many bytes earlier: they must be equal to those that are stored, which came from another URL.
    pub(super) overlap: u64,
    /// Why the bytes that are stored are to be given up, once others are there to take their place.
    pub(super) instead: Option<String>,
}

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
    let mut question = match what_is_stored(cx, held, &directory, &places[place].url).await? {
        Stored::Nothing => Question::default(),
        Stored::All => return finish_stored(cx, held, directory, &places[place]).await,
        Stored::GoOn(question) => question,
    };
    for _ in 0..QUESTIONS {
        let next = if held.resume.pieces.is_empty() {
            ask(cx, places, place, held, &directory, &mut question).await?
        } else {
            let if_range = question.if_range.clone();
            Box::pin(parallel::run(cx, held, &directory, places, &mut question, if_range, None)).await?
        };
        match next {
            Next::Done(finished) => return Ok(*finished),
            Next::AskAgain => {}
        }
    }
    Err(Failure::new(FailureKind::Resume, "the server keeps answering with too few bytes").into())
}

/// Whether the file is whole and has its name, which an earlier attempt could not make durable. Takes it for the part file.
fn is_named(cx: &Context<'_>, held: &mut Held, directory: &Directory) -> Result<bool, Failure> {
    let Some(resume) = cx.record.resume.as_ref().filter(|_| !held.gave_up && held.part.is_none()) else {
        return Ok(false);
    };
    let identity = Identity { dev: resume.part_dev, ino: resume.part_ino };
    if directory.identity(&resume.final_name) != Some(identity) {
        return Ok(false);
    }
    let part = directory.open_part(&resume.final_name, identity)?;
    let Some(part) = part.filter(|part| Some(part.len()) == resume.total_bytes) else { return Ok(false) };
    (held.resume, held.recorded, held.resumed_from) = (resume.clone(), true, part.len());
    held.part = Some(part);
    Ok(true)
}

/// What is in the way of a name that the task gives is found before anything is asked.
fn taken_by_given_name(cx: &Context<'_>, directory: &Directory) -> Result<(), Stopped> {
    match cx.task.filename.as_deref().filter(|name| directory.exists(name)) {
        Some(name) => taken(cx, directory, name),
        None => Ok(()),
    }
}

/// What follows from a name that exists, unless another one is found for it.
fn taken(cx: &Context<'_>, directory: &Directory, name: &str) -> Result<(), Stopped> {
    let obstacle = directory.obstacle(name);
    let is_long = |than: u64| obstacle.is_none() && directory.size(name).is_some_and(|size| size > than);
    if cx.shared.skip_existing.is_some_and(is_long) {
        return Err(Stopped::Final(Status::Complete, Box::new(skipped(directory, name))));
    }
    match (cx.task.on_conflict, obstacle) {
        (Some(OnConflict::Fail), _) => Err(exists_already(name).into()),
        (Some(OnConflict::Skip | OnConflict::Replace), Some(obstacle)) => Err(in_the_way(name, obstacle).into()),
        (Some(OnConflict::Skip), None) => Err(Stopped::Final(Status::Complete, Box::new(skipped(directory, name)))),
        _ => Ok(()),
    }
}

/// The file is there and is left alone (background_downloader's skipExistingFiles: status code 304).
pub(crate) fn skipped(directory: &Directory, name: &str) -> Details {
    Details {
        file_path: Some(directory.path().join(name).to_string_lossy().into_owned()),
        response_status_code: Some(304),
        notes: vec!["kept-existing".into()],
        ..Details::default()
    }
}

/// `on-conflict` is `fail` and the name is taken.
pub(crate) fn exists_already(name: &str) -> Failure {
    Failure::new(FailureKind::FileSystem, format!("`{name}` exists already, and the task says to fail then"))
}

enum Stored {
    Nothing,
    All,
    GoOn(Question),
}

/// Asks the `resume` hook about what an earlier attempt, or an earlier place of this one, has left.
async fn what_is_stored(
    cx: &Context<'_>,
    held: &mut Held,
    directory: &Directory,
    url: &str,
) -> Result<Stored, Stopped> {
    if !open_stored(cx, held, directory).await? {
        return Ok(Stored::Nothing);
    }
    let bytes = held.bytes_done();
    let overlap = if overlap::is_known(held, only_url(cx.task), url) { 0 } else { overlap::least(held) };
    if own_range(cx.task) != is_within_range(held) || (own_range(cx.task) && overlap > 0) {
        return Ok(instead(cx, held, "restarted-own-range").await?);
    }
    let (verdict, _) = cx.chain.resume(cx.hook_task, bytes, &held.resume).await?;
    let id = &cx.task.task_id;
    match verdict {
        ResumeVerdict::GoOn { from_bytes, if_range } => {
            let from = from_bytes.min(bytes);
            tracing::info!("{id}: {bytes} bytes are stored: goes on at byte {from} if it is still {if_range}");
            if !held.resume.pieces.is_empty() && from < bytes {
                held.give_up(cx.shared, cx.key).await?; // its pieces have no common end to cut at
                return Ok(Stored::Nothing);
            }
            if let Some(part) = held.part.as_mut().filter(|part| part.len() > from && held.resume.pieces.is_empty()) {
                part.truncate(from)?;
            }
            held.resumed_from = from;
            let offset = held.resume.first_byte.unwrap_or(0);
            let to = held.resume.total_bytes.filter(|_| is_within_range(held)).map(|total| offset + total - 1);
            Ok(Stored::GoOn(Question { from: Some(from), to, if_range, offset, overlap, ..Question::default() }))
        }
        ResumeVerdict::NothingMissing => Ok(Stored::All),
        ResumeVerdict::StartAfresh(note) if note == "restarted-no-validator" && overlap::of(held) > 0 => {
            held.resumed_from = bytes;
            Ok(Stored::GoOn(Question { from: Some(bytes), overlap: overlap::of(held), ..Question::default() }))
        }
        ResumeVerdict::StartAfresh(note) => {
            tracing::info!("{id}: {bytes} bytes are stored and will be given up ({note})");
            Ok(instead(cx, held, &note).await?)
        }
        ResumeVerdict::Refuse(why) => Err(Stopped::Refused(Failure::new(FailureKind::Resume, why))),
    }
}

/// The URL of a task that has no mirrors: what is stored of it came from there.
pub(super) fn only_url(task: &Task) -> Option<&str> {
    task.mirrors.is_empty().then_some(&task.url)
}

/// What is stored will not do. It stays until a whole file comes in its place: a refusal takes nothing away. A divided file
/// goes at once.
async fn instead(cx: &Context<'_>, held: &mut Held, note: &str) -> Result<Stored, Failure> {
    if held.resume.pieces.is_empty() {
        return Ok(Stored::GoOn(Question { instead: Some(note.to_owned()), ..Question::default() }));
    }
    held.note(note);
    held.give_up(cx.shared, cx.key).await?;
    Ok(Stored::Nothing)
}

/// Opens the stored part file and cuts it to what is certainly good. False: there is nothing to go on from.
async fn open_stored(cx: &Context<'_>, held: &mut Held, directory: &Directory) -> Result<bool, Failure> {
    if held.part.is_some() {
        return Ok(held.bytes_done() > 0); // of an earlier place of this attempt
    }
    let Some(resume) = cx.record.resume.clone().filter(|_| !held.gave_up) else { return Ok(false) };
    let identity = Identity { dev: resume.part_dev, ino: resume.part_ino };
    let is_it = |part: &PartFile| resume.part_born_ns == 0 || resume.part_born_ns == part.born_ns();
    let part = directory.open_part(&resume.part_name, identity)?.filter(is_it);
    let durable = resume.durable_bytes;
    let same_boot = !resume.boot_id.is_empty() && resume.boot_id == cx.shared.boot_id;
    let good = |len: u64| if same_boot { len } else { len.min(durable) };
    (held.resume, held.recorded) = (resume, true);
    if !held.resume.pieces.is_empty() {
        return open_pieces(cx, held, part, same_boot).await;
    }
    match part.filter(|part| part.len() >= durable && good(part.len()) > 0) {
        Some(mut part) => {
            let bytes = good(part.len());
            if bytes < part.len() {
                part.truncate(bytes)?;
            }
            (held.part, held.resumed_from) = (Some(part), bytes);
            Ok(true)
        }
        None => {
            tracing::info!("{}: the stored bytes are gone or were changed: starts afresh", cx.task.task_id);
            held.note("restarted-part-lost");
            held.give_up(cx.shared, cx.key).await?;
            Ok(false)
        }
    }
}

/// Opens a divided part file: of each piece, what has certainly been written.
async fn open_pieces(
    cx: &Context<'_>,
    held: &mut Held,
    part: Option<PartFile>,
    same_boot: bool,
) -> Result<bool, Failure> {
    for piece in &mut held.resume.pieces {
        if !same_boot {
            piece.next_byte = piece.durable_to;
        }
    }
    let begun = held.resume.pieces.iter().filter(|piece| piece.bytes_done() > 0);
    let end = begun.map(|piece| piece.next_byte).max().unwrap_or(0);
    match part.filter(|part| end > 0 && part.len() >= end) {
        Some(part) => {
            held.part = Some(part);
            held.resumed_from = held.bytes_done();
            Ok(true)
        }
        None => {
            held.note("restarted-part-lost");
            held.give_up(cx.shared, cx.key).await?;
            Ok(false)
        }
    }
}

fn own_range(task: &Task) -> bool {
    task.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("range"))
}

/// Whether what is stored is the range that the task asks for, from its first byte on, and where that ends is known.
fn is_within_range(held: &Held) -> bool {
    held.resume.first_byte.is_some() && held.resume.total_bytes.is_some_and(|total| total > 0)
}

/// The first byte of a part of that length (RFC 9110 section 14.4).
fn first_byte_of(head: &HookHead, length: u64) -> Option<u64> {
    let (unit, range) = head.header("content-range")?.split_once(' ')?;
    let (first, last) = range.split_once('/')?.0.split_once('-')?;
    let (first, last) = (first.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?);
    let is_it = unit.eq_ignore_ascii_case("bytes") && last.checked_sub(first)? == length.checked_sub(1)?;
    is_it.then_some(first)
}

impl Question {
    /// The first byte of the resource that is asked for, where stored bytes are gone on with.
    fn first_byte(&self) -> Option<u64> {
        self.from.map(|from| self.offset + from.saturating_sub(self.overlap))
    }
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
    let wire = &places[place];
    log_question(cx, wire, question);
    let mut answer = cx.transport.send(call_of(cx, wire, question)).await.map_err(|mut failure| {
        failure.description = crate::mask::text(&failure.description);
        failure
    })?;
    let asked = Asked {
        range_from: question.first_byte(),
        range_to: question.to,
        total_bytes: question.from.and(held.resume.total_bytes).filter(|_| !own_range(cx.task)),
        if_range: question.from.map(|_| question.if_range.clone()).filter(|if_range| !if_range.is_empty()),
        own_range: own_range(cx.task),
        restarts: question.restarts,
    };
    let (verdict, head) = callbacks::judge(cx, held, &asked, &mut answer, true).await?;
    let gives_up = matches!(verdict, Classified::UseFromZero(_) | Classified::AskFromZero(_));
    let was_compared = question.overlap > 0 && question.if_range.is_empty();
    if gives_up && !was_compared && question.from.is_some() && overlap::of(held) > 0 {
        let (id, overlap) = (&cx.task.task_id, overlap::of(held));
        tracing::info!("{id}: the new URL has another validator: the last {overlap} bytes are compared");
        *question = Question { overlap, if_range: String::new(), ..question.clone() };
        return Ok(Next::AskAgain);
    }
    log_answer(cx, &answer, &verdict);
    match verdict {
        Classified::Success if question.from.is_none() => {
            from_zero(cx, held, directory, (places, place), question, answer, head).await
        }
        Classified::Continues(_) if question.overlap == 0 && overlap::is_moved(held, &answer) => {
            if own_range(cx.task) {
                return afresh(cx, held, question, "restarted-own-range").await;
            }
            *question = Question { overlap: overlap::least(held), ..question.clone() };
            Ok(Next::AskAgain)
        }
        Classified::Continues(_) if question.overlap > 0 => {
            let end = held.bytes_done();
            if !overlap::is_equal(held, &mut answer, &head, end - question.overlap..end).await? {
                return afresh(cx, held, question, "restarted-changed").await;
            }
            held.note("same-by-overlap");
            join(cx, held, &answer, &head);
            stays_undivided(cx, held);
            body(cx, held, directory, question, answer, head).await
        }
        Classified::Continues(from)
            if question.first_byte() == Some(from) && question.from == Some(held.bytes_done()) =>
        {
            held.joined(cx.shared, cx.key);
            if held.resume.total_bytes.is_none() {
                (held.resume.total_bytes, held.recorded) = (overlap::total_of(&head), false);
            }
            stays_undivided(cx, held);
            body(cx, held, directory, question, answer, head).await
        }
        Classified::AlreadyComplete if question.from.is_some() && !own_range(cx.task) => {
            Ok(Next::Done(Box::new(finish(cx, held, directory, details_of(answer.status, &head), head, None).await?)))
        }
        Classified::UseFromZero(note) => {
            held.note(&note);
            question.restarts += 1;
            from_zero(cx, held, directory, (places, place), question, answer, head).await
        }
        Classified::AskFromZero(note) if question.restarts < RESTARTS => afresh(cx, held, question, &note).await,
        Classified::NotFound => {
            let details = error_details(&mut answer, &head).await;
            Err(Stopped::Final(Status::NotFound, Box::new(details)))
        }
        Classified::Failed(failure) => {
            let details = error_details(&mut answer, &head).await;
            Err(Stopped::Failure(failure, Some(Box::new(details))))
        }
        _ => Err(Failure::new(FailureKind::Resume, "the server's answer does not fit the question").into()),
    }
}

/// Gives the stored bytes up and asks for the whole.
async fn afresh(cx: &Context<'_>, held: &mut Held, question: &mut Question, note: &str) -> Result<Next, Stopped> {
    held.note(note);
    held.give_up(cx.shared, cx.key).await?;
    let undivided = question.undivided;
    *question = Question { restarts: question.restarts + 1, undivided, ..Question::default() };
    Ok(Next::AskAgain)
}

/// The stored bytes are those of this answer's URL: from here on its validators count.
fn join(cx: &Context<'_>, held: &mut Held, answer: &Answer, head: &HookHead) {
    let header = |name: &str| head.header(name).map(str::to_owned);
    held.resume.final_url = shown(cx, &answer.url);
    held.resume.etag = header("etag");
    held.resume.last_modified = header("last-modified");
    held.resume.date = header("date");
    held.resume.ranges_known = true;
    held.recorded = false;
    held.record(cx.shared, cx.key);
    held.joined(cx.shared, cx.key);
}

/// A URL as it may be shown: without its query where credentials may stand in it under any name.
fn shown(cx: &Context<'_>, url: &str) -> String {
    match &cx.task.auth {
        Some(auth) if !auth.access_query_params.is_empty() => crate::mask::text(url),
        _ => crate::mask::url(url),
    }
}

fn log_question(cx: &Context<'_>, wire: &Wire, question: &Question) {
    if !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    let (id, method, url) = (&cx.task.task_id, &cx.task.http_request_method, shown(cx, &wire.url));
    let (from, attempt) = (question.first_byte().unwrap_or(0), cx.record.attempt + 1);
    tracing::info!("{id}: {method} {url} from byte {from}, attempt {attempt}");
}

pub(super) fn log_answer(cx: &Context<'_>, answer: &Answer, verdict: &Classified) {
    if !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    let id = &cx.task.task_id;
    for hop in &answer.hops {
        tracing::debug!("{id}: redirected by {}", shown(cx, hop));
    }
    let decided = match verdict {
        Classified::Success => "taken".into(),
        Classified::Continues(from) => format!("goes on at byte {from}"),
        Classified::AlreadyComplete => "nothing is missing".into(),
        Classified::UseFromZero(note) => format!("taken from the first byte ({note})"),
        Classified::AskFromZero(note) => format!("asked for from the first byte ({note})"),
        Classified::NotFound => "not found".into(),
        Classified::Failed(failure) => crate::mask::text(&failure.description),
    };
    tracing::info!("{id}: {} from {}: {decided}", answer.status, shown(cx, &answer.url));
}

/// The details of an answer that is not a success, its body included.
async fn error_details(answer: &mut Answer, head: &HookHead) -> Details {
    let mut details = details_of(answer.status, head);
    let body = answer.body.collect(ERROR_BODY).await;
    details.response_body = (!body.is_empty()).then(|| String::from_utf8_lossy(&body).into_owned());
    details
}

/// A call with the task's body and limits and no range of ours.
pub(super) fn plain_call(cx: &Context<'_>, wire: &Wire) -> Call {
    call_of(cx, wire, &Question::default())
}

pub(super) fn call_of(cx: &Context<'_>, wire: &Wire, question: &Question) -> Call {
    let task = cx.task;
    let mut call = Call::new(task.http_request_method.clone(), wire.url.clone());
    call.headers.clone_from(&wire.headers);
    call.without = task.without_headers().map(str::to_owned).collect();
    if let Body::Bytes(bytes) = &task.body {
        call.body = bytes.clone().into();
        let given = call.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if let (false, Some(content_type)) = (given || task.leaves_out("content-type"), &task.content_type) {
            call.headers.push(("content-type".into(), content_type.clone()));
        }
    }
    call.steps = cx.interceptors.clone().map(|steps| steps as Arc<dyn Steps>);
    if let Some(from) = question.first_byte() {
        let to = question.to.map_or(String::new(), |to| to.to_string());
        // The task's own range, of which this is the rest.
        call.headers.retain(|(name, _)| !["range", "if-range"].iter().any(|own| name.eq_ignore_ascii_case(own)));
        call.headers.push(("range".into(), format!("bytes={from}-{to}")));
        if !question.if_range.is_empty() {
            call.headers.push(("if-range".into(), question.if_range.clone()));
        }
    }
    let limit = |ms: Option<u64>, default: Option<Duration>| match ms {
        None => default,
        Some(0) => None,
        Some(ms) => Some(Duration::from_millis(ms)),
    };
    call.connect_timeout = limit(task.timeouts.connect_ms, call.connect_timeout);
    // A short limit between two pieces is meant for the wait for the first one too.
    let default_ms = call.head_timeout.map_or(u64::MAX, |default| default.as_millis() as u64);
    let idle_ms = task.timeouts.idle_ms.filter(|ms| *ms > 0 && *ms < default_ms);
    call.head_timeout = limit(task.timeouts.head_ms.or(idle_ms), call.head_timeout);
    call.send_timeout = limit(task.timeouts.send_ms, call.send_timeout);
    call.idle_timeout = limit(task.timeouts.idle_ms, call.idle_timeout);
    call.max_redirects = task.max_redirects;
    call.trail = Some(cx.trail.clone());
    if cx.shared.throttle.set_sip(cx.taker()) > 0 {
        call.low_speed_bytes = 0;
    }
    call.sip = Some(Arc::clone(&cx.rate.sip));
    call
}

/// Begins a new part file with this answer's body.
async fn from_zero(
    cx: &Context<'_>,
    held: &mut Held,
    directory: &Directory,
    (places, place): (&[Wire], usize),
    question: &mut Question,
    answer: Answer,
    head: HookHead,
) -> Result<Next, Stopped> {
    if let Some(note) = &question.instead {
        held.note(note);
    }
    if held.part.is_some() || held.recorded {
        held.give_up(cx.shared, cx.key).await?;
    }
    *question = Question { restarts: question.restarts, undivided: question.undivided, ..Question::default() };
    let total = match answer.framing {
        Framing::Length(length) => Some(length),
        Framing::Empty => Some(0),
        Framing::Marked | Framing::UntilClose => None,
    };
    let final_name = name_of(cx, directory, &head).await?;
    let part_name = crate::sandbox::part_name(&final_name, &cx.task.task_id);
    let part = directory.create_part(&part_name, total)?;
    let Identity { dev: part_dev, ino: part_ino } = part.identity();
    let header = |name: &str| head.header(name).map(str::to_owned);
    held.resume = ResumeRecord {
        part_name,
        part_dev,
        part_ino,
        // A short file is seldom gone on with: not worth a system call for each.
        part_born_ns: if total.is_none_or(|total| total > SHORT) { part.born_ns() } else { 0 },
        total_bytes: total,
        etag: header("etag"),
        last_modified: header("last-modified"),
        date: header("date"),
        ranges_known: answer.status == 206 || head.header("accept-ranges").is_some_and(|unit| unit.contains("bytes")),
        encoded: overlap::is_encoded(&head),
        first_byte: total
            .filter(|_| own_range(cx.task) && answer.status == 206)
            .and_then(|length| first_byte_of(&head, length)),
        final_name,
        final_url: shown(cx, &answer.url),
        ..ResumeRecord::default()
    };
    held.part = Some(part);
    held.joined(cx.shared, cx.key);
    question.undivided |= answer.canned.is_some();
    if let Some(if_range) = divide(cx, held, question).await? {
        record_now(cx, held).await?;
        let first = Some((place, answer, head));
        return Box::pin(parallel::run(cx, held, directory, places, question, if_range, first)).await;
    }
    body(cx, held, directory, question, answer, head).await
}

fn wants_parts(cx: &Context<'_>) -> bool {
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
    let verdict = match held.resume.total_bytes {
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

/// The name of the finished file: the task's, or what the `filename` hook says, made unique where the task wants that.
async fn name_of(cx: &Context<'_>, directory: &Directory, head: &HookHead) -> Result<String, Stopped> {
    let task = cx.task;
    let name = match &task.filename {
        Some(name) => name.clone(),
        None => cx.chain.filename(cx.hook_task, head, &[]).await?,
    };
    if !directory.exists(&name) {
        return Ok(name);
    }
    taken(cx, directory, &name)?;
    if matches!(task.on_conflict, Some(OnConflict::Unique) | None) {
        return Ok(cx.chain.filename(cx.hook_task, head, &directory.names_like(&name)).await?);
    }
    Ok(name)
}

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
pub(super) struct Flow {
    meter: Meter,
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
    pub(super) fn new(cx: &Context<'_>, held: &Held, digest: Option<Algorithm>) -> Self {
        let (start, now) = (held.bytes_done(), clock::now());
        cx.shared.hub.sizes(&cx.task.task_id, start, held.resume.total_bytes);
        Self {
            meter: Meter::new(start, held.resume.total_bytes, now),
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
    pub(super) fn due(&self, done: u64) -> Option<std::time::Instant> {
        [self.meter.due(done), self.checkpoint.due(done), self.tells(done)].into_iter().flatten().min()
    }
}

/// Reads the body into the part file.
async fn body(
    cx: &Context<'_>,
    held: &mut Held,
    directory: &Directory,
    question: &mut Question,
    mut answer: Answer,
    head: HookHead,
) -> Result<Next, Stopped> {
    let start = held.bytes_done();
    let expected = expected_digest(cx.task, &head);
    let wanted = expected.as_ref().map(|(checksum, _)| checksum.algorithm());
    let mut flow = Flow::new(cx, held, wanted.or(cx.chain.has(Hook::Verify).then_some(Algorithm::Sha256)));
    if held.resume.total_bytes.is_none_or(|total| total > SHORT) {
        record_now(cx, held).await?; // before the first byte that depends on it
    }
    while let Some(bytes) = next_piece(cx, held, &mut flow, &mut answer).await? {
        if let Some(part) = &mut held.part {
            part.append(&bytes)?;
        }
        if let Some(hasher) = &mut flow.hasher {
            hasher.update(&bytes);
        }
        if let Err(failure) = too_long(held) {
            // What was joined to the stored bytes is trusted no more, nor are they (reliability B.1, 206).
            if question.from.is_none() || question.restarts >= RESTARTS {
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
    if answer.framing == Framing::UntilClose {
        held.note("integrity-unverified");
    }
    let done = held.bytes_done();
    if held.resume.total_bytes.is_some_and(|total| done < total) {
        if done == start {
            return Err(Failure::new(FailureKind::Connection, "the server sent no bytes")
                .with(FailureDetail::Cut)
                .into());
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
async fn record_now(cx: &Context<'_>, held: &mut Held) -> Result<(), Failure> {
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
pub(super) async fn synced(held: &mut Held, flow: &mut Flow) -> Result<(), Failure> {
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
pub(super) async fn after_piece(cx: &Context<'_>, held: &mut Held, flow: &mut Flow, len: usize) -> Result<(), Failure> {
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
            sampler.sample(cx, &reading, done, held.resume.total_bytes);
        }
        cx.shared.hub.progress(ProgressUpdate {
            task_id: cx.task.task_id.clone(),
            group: cx.task.group.clone(),
            progress: reading.progress.unwrap_or(0.0),
            bytes_done: done,
            expected_file_size: held.resume.total_bytes,
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
