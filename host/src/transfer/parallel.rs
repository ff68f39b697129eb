//! A divided download: several connections, perhaps to several places, write their pieces into one part file.
//!
//! Every piece is asked for under the same If-Range, and only a 206 of exactly that version is joined (RFC 9110 §15.3.7.3).
//! Which bytes are there stands in the resume record, so that each piece goes on by itself after a pause or a kill. One loop
//! owns the file and the pieces; connections only bring bytes. How a resource is divided is the `parts` hook's business, and
//! what follows when the attempt fails is the `retry` hook's.

mod compare;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use self::compare::Comparison;
use super::callbacks;
use super::download::{
    Flow, Next, Question, Wire, afresh, after_piece, call_of, error_details, finish_with, from_zero, only_url,
    record_now, synced,
};
use super::places::refused_at;
use super::{Context, Held, Stopped, authorize, details_of, overlap, refused_with};
use crate::clock;
use crate::error::{Failure, FailureDetail, FailureKind};
use crate::hooks::{Asked, Classified, Head, Hook, HookHead, OnError, RetryChanges, StartChanges};
use crate::sandbox::Directory;
use crate::task::{Pairs, Piece, Status, host_of};
use crate::transport::{Answer, Transport};

/// A place that brings nothing for so long loses its piece to another place.
const STALLED: Duration = Duration::from_secs(5);
/// A piece is split for a connection that has nothing to do while both halves have so many bytes.
const HALF_MIN: u64 = 1 << 20;
/// Pieces at most, split ones included.
const PIECES_MAX: usize = 1024;
/// Failures in a row after which a place is left, and a piece given up.
const TRIES: u32 = 3;
/// How long the last connection waits before it asks for a piece again that has failed, times its failures.
const BETWEEN_TRIES: Duration = Duration::from_millis(500);
/// A place that leads elsewhere so often is not compared again.
const DOUBTS: u32 = 16;
/// The note when everything begins again because of that.
const REDIRECTED: &str = "restarted-redirected";
/// How long an attempt waits for a server that wants to be left alone, where nothing else goes on.
const WAITS_HERE: Duration = Duration::from_secs(30);
/// A place this many times slower than the fastest one loses its last piece to that.
const MUCH_SLOWER: f64 = 4.0;

/// What a connection brings.
enum Event {
    Answered(Result<Box<Answer>, Failure>),
    Bytes(bytes::Bytes),
    /// The body is over: properly, or by a failure.
    Ended(Option<Failure>),
    /// It is not what it states, and nothing of it may be kept.
    Untrue(Failure),
}

/// Where pieces can be had.
struct Place {
    wire: Wire,
    host: String,
    /// Who answered for it last: another host where it redirects.
    answers: String,
    usable: bool,
    /// What it has is what is stored, and not only by its validator.
    proved: bool,
    /// It has something else, or does not say what it has: it was left for that.
    has_another: bool,
    /// So often its answers came from where nobody had compared anything.
    doubts: u32,
    /// In a row.
    failures: u32,
    /// Bytes per second of the fastest connection so far.
    speed: f64,
    /// The same of its comparison: little, and perhaps faster than what follows.
    guess: f64,
    /// So often in a row it could not be compared, though a component had given it another link.
    in_vain: u32,
}

impl Place {
    fn takes_part(&self) -> bool {
        self.usable && self.proved
    }
}

/// A connection that fetches a piece.
struct Worker {
    piece: usize,
    place: usize,
    task: AbortHandle,
    began: Instant,
    heard: Instant,
    bytes: u64,
    /// First and last byte asked for: what the answer is judged by, for its piece may have been cut in two meanwhile.
    asked: (u64, u64),
    /// It reads the answer to a request for the whole, and may go on beyond its piece.
    reads_whole: bool,
    /// Its place has another link since it asked: what it still brings is taken.
    is_outdated: bool,
}

/// An answer with all bytes of a version, and the place it came from.
type Whole = (usize, Answer, HookHead);

/// What the loop does after an event.
enum Turn {
    GoOn,
    /// Everything that is stored means nothing any more. `whole`: the other version's bytes, from the first one, and the place
    /// they come from.
    Afresh {
        note: String,
        undivided: bool,
        whole: Option<Box<Whole>>,
    },
}

struct Crew<'a, 'b> {
    cx: &'a Context<'b>,
    places: Vec<Place>,
    if_range: String,
    total: u64,
    /// Most connections in all, and to each place.
    connections: usize,
    each: usize,
    /// A component has divided it: its parts stay as they are.
    is_given: bool,
    /// Where each piece is asked for first; nothing of those that are not in it.
    own_places: Vec<usize>,
    workers: BTreeMap<u64, Worker>,
    /// Numbered with the workers.
    comparisons: BTreeMap<u64, Comparison>,
    /// URLs, beside the one that the stored bytes came from, that have brought the same ones.
    known: Vec<String>,
    hired: u64,
    /// Failures of each piece in a row, without a byte gained.
    failures: Vec<u32>,
    /// Nothing is asked for before.
    rests_until: Option<Instant>,
    /// What a server said last that wants to be left alone for a time.
    busy: Option<Failure>,
    tasks: JoinSet<()>,
    tell: mpsc::Sender<(u64, Event)>,
    /// Status and head of the first answer that was taken.
    head: Option<(u16, HookHead)>,
    /// How often this attempt has begun again before.
    restarts: u32,
}

/// An answer that is none to join.
type Refusal = (Box<Answer>, HookHead);

/// The failure, with what is kept of the answer that it was.
async fn told(held: &mut Held, failure: Failure, refusal: Option<Refusal>) -> Stopped {
    let Some((mut answer, head)) = refusal else { return failure.into() };
    let details = error_details(held, &mut answer, &head).await;
    Stopped::Failure(failure, Some(Box::new(details)))
}

/// Fetches the pieces in `held.resume`. `first`: the answer to a request for the whole, and the place it came from; it
/// brings the first piece.
pub(super) async fn run(
    cx: &Context<'_>,
    held: &mut Held,
    directory: &Directory,
    places: &[Wire],
    question: &mut Question,
    if_range: String,
    first: Option<Whole>,
) -> Result<Next, Stopped> {
    let (tell, mut heard) = mpsc::channel(1);
    let mut crew = Crew::new(cx, held, places, if_range, tell);
    crew.restarts = question.restarts;
    let mut flow = Flow::new(cx, held, None);
    if let Some((place, answer, head)) = first {
        crew.head = Some((answer.status, head));
        crew.places[place].proved = true;
        let whole = (0, crew.total.saturating_sub(1));
        crew.read((0, place), whole, Box::new(answer), true);
    }
    while held.resume.pieces.iter().any(|piece| piece.bytes_left() > 0) {
        crew.relieve_stalled();
        crew.compare_others(held).await?;
        crew.employ(held).await?;
        let before = held.bytes_done();
        crew.wait_or_end()?;
        let due = [flow.due(before), crew.rests_until, crew.next_voice()].into_iter().flatten().min();
        let wait = due.map_or(STALLED, |due| due.saturating_duration_since(clock::now()).min(STALLED));
        tokio::select! {
            biased;
            Some((worker, event)) = heard.recv() => {
                if let Turn::Afresh { note, undivided, whole } = crew.hear(held, worker, event).await? {
                    // Every connection is told another version: only one at a time can have one version whole.
                    question.undivided |= undivided || question.restarts > 0;
                    let Some(whole) = whole else { return afresh(cx, held, question, &note).await };
                    let places: Vec<Wire> = crew.places.drain(..).map(|place| place.wire).collect();
                    drop(crew);
                    return instead(cx, held, directory, &places, question, &note, *whole).await;
                }
            }
            () = clock::sleep(wait) => {}
        }
        let gained = held.bytes_done().saturating_sub(before);
        after_piece(cx, held, &mut flow, usize::try_from(gained).unwrap_or(usize::MAX)).await?;
    }
    drop(crew.tasks);
    synced(held, &mut flow).await?;
    let (status, head) = crew.head.unwrap_or_else(|| begun_with(held));
    let details = details_of(status, &head);
    let expected = super::download::expected_digest(cx.task, held, &head);
    Ok(Next::Done(Box::new(finish_with(cx, held, directory, details, head, None, expected).await?)))
}

/// Gives the stored bytes up, and takes the other version that is being sent.
async fn instead(
    cx: &Context<'_>,
    held: &mut Held,
    directory: &Directory,
    places: &[Wire],
    question: &mut Question,
    note: &str,
    (place, answer, head): Whole,
) -> Result<Next, Stopped> {
    held.note(note);
    question.restarts += 1;
    from_zero(cx, held, directory, (places, place), question, answer, head).await
}

/// The answer that the stored bytes began with, where there was none this time.
fn begun_with(held: &Held) -> (u16, HookHead) {
    let (status, headers) = held.resume.answer.clone().map_or((206, Pairs::new()), |it| (it.status, it.headers));
    (status, HookHead::from(Head { status, headers, ..Head::default() }))
}

impl<'a, 'b> Crew<'a, 'b> {
    fn new(
        cx: &'a Context<'b>,
        held: &Held,
        places: &[Wire],
        if_range: String,
        tell: mpsc::Sender<(u64, Event)>,
    ) -> Self {
        let place = |wire: &Wire| Place {
            wire: wire.clone(),
            host: host_of(&wire.url),
            answers: host_of(&wire.url),
            usable: true,
            proved: overlap::is_known(held, only_url(cx.task, wire), &wire.url),
            has_another: false,
            doubts: 0,
            failures: 0,
            speed: 0.0,
            guess: 0.0,
            in_vain: 0,
        };
        let each = usize::try_from(cx.task.chunks).unwrap_or(usize::MAX).max(1);
        let wanted = each.saturating_mul(places.len());
        Self {
            cx,
            places: places.iter().map(place).collect(),
            if_range,
            total: held.resume.total_bytes.unwrap_or(0),
            connections: wanted.clamp(1, PIECES_MAX),
            each,
            is_given: cx.chain.has(Hook::Parts),
            own_places: held.places.clone(),
            workers: BTreeMap::new(),
            comparisons: BTreeMap::new(),
            known: Vec::new(),
            hired: 0,
            failures: vec![0; held.resume.pieces.len()],
            rests_until: None,
            busy: None,
            tasks: JoinSet::new(),
            tell,
            head: None,
            restarts: 0,
        }
    }

    fn question(&self, from: u64, to: u64) -> Question {
        Question { from: Some(from), to: Some(to), if_range: self.if_range.clone(), ..Question::default() }
    }

    fn asked(&self, from: u64, to: u64) -> Asked {
        Asked {
            range_from: Some(from),
            range_to: Some(to),
            total_bytes: Some(self.total),
            if_range: Some(self.if_range.clone()),
            ..Asked::default()
        }
    }

    /// Gives connections that are free something to do.
    async fn employ(&mut self, held: &mut Held) -> Result<(), Stopped> {
        if self.rests_until.is_some_and(|until| until > clock::now()) {
            return Ok(());
        }
        self.rests_until = None;
        let pieces = &mut held.resume.pieces;
        let any_room = |crew: &Self| (0..crew.places.len()).any(|place| crew.may_ask(place));
        while self.workers.len() < self.connections && any_room(self) {
            let busy = |piece: &usize| self.workers.values().any(|worker| worker.piece == *piece);
            let idle = (0..pieces.len()).find(|piece| pieces[*piece].bytes_left() > 0 && !busy(piece));
            let piece = match idle {
                Some(piece) => piece,
                None => match self.split(pieces) {
                    Some(piece) => piece,
                    None => return self.relieve_slowest(pieces).await,
                },
            };
            let Some(place) = self.choose(piece) else { return Ok(()) };
            self.ask(piece, place, &pieces[piece]).await?;
        }
        Ok(())
    }

    /// Cuts the piece with the most bytes left in two, and answers the second half's number.
    fn split(&mut self, pieces: &mut Vec<Piece>) -> Option<usize> {
        let longest = (0..pieces.len()).max_by_key(|piece| pieces[*piece].bytes_left())?;
        let left = pieces[longest].bytes_left();
        if self.is_given || left < 2 * HALF_MIN || pieces.len() >= PIECES_MAX {
            return None;
        }
        let middle = pieces[longest].next_byte + left.div_ceil(2);
        let last_byte = std::mem::replace(&mut pieces[longest].last_byte, middle - 1);
        pieces.push(Piece { first_byte: middle, last_byte, next_byte: middle, durable_to: middle });
        self.failures.push(0);
        Some(pieces.len() - 1)
    }

    /// A usable place for a piece: its own in turn, else the one with the fewest connections.
    fn choose(&self, piece: usize) -> Option<usize> {
        let given = self.own_places.get(piece).copied().filter(|place| *place < self.places.len());
        let own = given.unwrap_or(piece % self.places.len());
        if self.may_ask(own) && self.places[own].failures == 0 {
            return Some(own);
        }
        let load = |place: &usize| {
            let busy = self.workers.values().filter(|worker| worker.place == *place).count();
            (self.places[*place].failures, busy)
        };
        (0..self.places.len()).filter(|place| self.may_ask(*place)).min_by_key(load)
    }

    fn may_ask(&self, place: usize) -> bool {
        let busy = self.workers.values().filter(|worker| worker.place == place).count();
        self.places[place].takes_part() && busy < self.each && self.has_room(place)
    }

    /// Until when the server of a place wants no requests, if it does not want them now.
    fn silent_until(&self, place: usize) -> Option<Instant> {
        let Place { host, answers, .. } = &self.places[place];
        [host, answers].into_iter().filter_map(|host| self.cx.slot.silent_until(host)).max()
    }

    /// When the first of the places that are silent may be asked again.
    fn next_voice(&self) -> Option<Instant> {
        (0..self.places.len())
            .filter(|place| self.places[*place].usable)
            .filter_map(|place| self.silent_until(place))
            .min()
    }

    /// Where nothing goes on because every server wants to be left alone for long, the attempt ends: another one follows then.
    fn wait_or_end(&self) -> Result<(), Stopped> {
        let speaks = |place: usize| self.places[place].usable && self.silent_until(place).is_none();
        let is_idle = self.workers.is_empty() && self.comparisons.is_empty();
        if !is_idle || (0..self.places.len()).any(speaks) {
            return Ok(());
        }
        let wait = self.next_voice().map_or(Duration::ZERO, |until| until.saturating_duration_since(clock::now()));
        if wait <= WAITS_HERE {
            return Ok(());
        }
        let text = "every server wants no requests for a time";
        let mut failure = self.busy.clone().unwrap_or_else(|| Failure::new(FailureKind::HttpResponse, text));
        failure.http_status = failure.http_status.or(Some(503));
        failure.retry_after_ms = u64::try_from(wait.as_millis()).ok();
        Err(failure.into())
    }

    /// Whether one more connection to the host of a place is within the limit, and its server wants it.
    fn has_room(&self, place: usize) -> bool {
        if self.silent_until(place).is_some() {
            return false;
        }
        let limit = self.cx.shared.per_host.load(Ordering::Relaxed);
        let is_there = |other: usize| self.places[other].host == self.places[place].host;
        let busy = self.workers.values().filter(|worker| is_there(worker.place)).count();
        let comparing = self.comparisons.values().filter(|comparison| is_there(comparison.place)).count();
        limit == 0 || busy + comparing < limit
    }

    /// Asks a place for what is missing of a piece.
    async fn ask(&mut self, piece: usize, place: usize, missing: &Piece) -> Result<(), Stopped> {
        authorize::look_ahead(self.cx).await?;
        let question = self.question(missing.next_byte, missing.last_byte);
        let call = call_of(self.cx, &self.places[place].wire, &question);
        let (worker, tell, transport): (u64, _, Transport) = (self.hired, self.tell.clone(), self.cx.transport.clone());
        let task = self.tasks.spawn_local(async move {
            let answered = transport.ask(call).await.map(Box::new);
            let _ = tell.send((worker, Event::Answered(answered))).await;
        });
        self.hire((piece, place), (missing.next_byte, missing.last_byte), task, false);
        Ok(())
    }

    /// Reads an answer's body into a piece.
    fn read(&mut self, at: (usize, usize), asked: (u64, u64), mut answer: Box<Answer>, reads_whole: bool) {
        let (worker, tell) = (self.hired, self.tell.clone());
        let task = self.tasks.spawn_local(async move {
            loop {
                let event = match answer.body.next().await {
                    Ok(Some(bytes)) => Event::Bytes(bytes),
                    Ok(None) => Event::Ended(None),
                    Err(failure) if answer.body.is_untrue() => Event::Untrue(failure),
                    Err(failure) => Event::Ended(Some(failure)),
                };
                let over = matches!(event, Event::Ended(_) | Event::Untrue(_));
                if tell.send((worker, event)).await.is_err() || over {
                    return;
                }
            }
        });
        self.hire(at, asked, task, reads_whole);
    }

    /// Takes a connection that fetches a piece from a place.
    fn hire(&mut self, (piece, place): (usize, usize), asked: (u64, u64), task: AbortHandle, reads_whole: bool) {
        let now = clock::now();
        let (began, heard, bytes, is_outdated) = (now, now, 0, false);
        let worker = Worker { piece, place, task, began, heard, bytes, asked, reads_whole, is_outdated };
        self.workers.insert(self.hired, worker);
        self.hired += 1;
    }

    /// Ends a connection; its piece is free.
    fn dismiss(&mut self, worker: u64) {
        let Some(worker) = self.workers.remove(&worker) else { return };
        worker.task.abort();
        let seconds = worker.began.elapsed().as_secs_f64();
        if worker.bytes > 0 && seconds > 0.0 {
            let place = &mut self.places[worker.place];
            place.speed = place.speed.max(worker.bytes as f64 / seconds);
        }
    }

    /// Takes pieces from places that bring nothing, where there is another place, or another link.
    fn relieve_stalled(&mut self) {
        let are_others = self.places.iter().filter(|place| place.takes_part()).count() > 1;
        let stalled = |worker: &Worker| (are_others || worker.is_outdated) && worker.heard.elapsed() >= STALLED;
        let late: Vec<u64> = self.workers.iter().filter(|(_, worker)| stalled(worker)).map(|(id, _)| *id).collect();
        for id in late {
            let Some(worker) = self.workers.get(&id) else { continue };
            tracing::info!("{}: a place has stalled; another one goes on", self.cx.task.task_id);
            self.places[worker.place].failures += 1;
            self.dismiss(id);
        }
    }

    /// Bytes per second of a place, as far as is known. One that has brought no piece yet is tried with one.
    fn speed_of(&self, place: usize) -> f64 {
        let Place { speed, guess, .. } = self.places[place];
        let is_tried = speed > 0.0 || self.workers.values().any(|worker| worker.place == place);
        if is_tried { speed } else { guess }
    }

    /// Nothing is known of a place but its comparison, which says little where this machine was busy then: it is worth one piece.
    fn is_untried(&self, place: usize) -> bool {
        let Place { speed, failures, .. } = self.places[place];
        speed == 0.0 && failures == 0 && !self.workers.values().any(|worker| worker.place == place)
    }

    /// When nothing is left to begin: takes the piece of a place that is much slower than the fastest one; or, for one that has
    /// brought nothing yet, a piece that will take long.
    async fn relieve_slowest(&mut self, pieces: &[Piece]) -> Result<(), Stopped> {
        let fastest = (0..self.places.len()).filter(|place| self.may_ask(*place)).max_by(|one, other| {
            let rank = |place: usize| (self.is_untried(place), self.speed_of(place));
            let ((untried, speed), (than, slower)) = (rank(*one), rank(*other));
            untried.cmp(&than).then(speed.total_cmp(&slower))
        });
        let Some(fastest) = fastest else { return Ok(()) };
        let fast = self.speed_of(fastest);
        let is_untried = self.is_untried(fastest);
        let is_slow = |worker: &Worker| {
            let speed = worker.bytes as f64 / worker.began.elapsed().as_secs_f64().max(0.001);
            let long = worker.began.elapsed() >= Duration::from_secs(1);
            let left = pieces.get(worker.piece).map_or(0, Piece::bytes_left) as f64;
            let lasts = is_untried && left > speed * STALLED.as_secs_f64();
            worker.place != fastest && long && (speed * MUCH_SLOWER < fast || lasts)
        };
        let slow = self.workers.iter().find(|(_, worker)| is_slow(worker)).map(|(id, worker)| (*id, worker.piece));
        if let Some((id, piece)) = slow {
            self.dismiss(id);
            self.ask(piece, fastest, &pieces[piece]).await?;
        }
        Ok(())
    }

    /// Deals with what a connection brings. Those that were ended are not heard any more.
    async fn hear(&mut self, held: &mut Held, id: u64, event: Event) -> Result<Turn, Stopped> {
        if self.comparisons.contains_key(&id) {
            return self.hear_comparison(held, id, event).await;
        }
        let Some(worker) = self.workers.get_mut(&id) else { return Ok(Turn::GoOn) };
        worker.heard = clock::now();
        match event {
            Event::Answered(Ok(answer)) => self.answered(held, id, answer).await,
            Event::Answered(Err(failure)) => self.failed(held, id, failure, None).await,
            Event::Bytes(bytes) => {
                self.write(held, id, &bytes)?;
                Ok(Turn::GoOn)
            }
            Event::Untrue(failure) => {
                self.give_back(held, id).await?;
                self.failed(held, id, failure, None).await
            }
            Event::Ended(failure) => {
                let gained = worker.bytes > 0;
                match failure {
                    Some(failure) => self.failed(held, id, failure, None).await,
                    // A 206 may be shorter than asked (RFC 9110 §15.3.7).
                    None if gained => {
                        self.dismiss(id);
                        Ok(Turn::GoOn)
                    }
                    None => {
                        let failure = Failure::new(FailureKind::Connection, "the server sent no bytes");
                        self.failed(held, id, failure.with(FailureDetail::Cut), None).await
                    }
                }
            }
        }
    }

    fn write(&mut self, held: &mut Held, id: u64, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let Some(worker) = self.workers.get_mut(&id) else { return Ok(()) };
            let Some(piece) = held.resume.pieces.get_mut(worker.piece) else { return Ok(()) };
            let take = usize::try_from(piece.bytes_left()).unwrap_or(usize::MAX).min(bytes.len());
            if let Some(part) = &mut held.part {
                part.write_at(&bytes[..take], piece.next_byte)?;
            }
            piece.next_byte += take as u64;
            worker.bytes += take as u64;
            self.places[worker.place].failures = 0;
            self.failures[worker.piece] = 0;
            bytes = &bytes[take..];
            if piece.bytes_left() == 0 && !self.reads_on(held, id) {
                self.dismiss(id);
            }
        }
        Ok(())
    }

    /// What a connection has brought is not what its answer said: its piece stands again where that was asked for.
    async fn give_back(&mut self, held: &mut Held, id: u64) -> Result<(), Failure> {
        let Some(worker) = self.workers.get(&id) else { return Ok(()) };
        let Some(piece) = held.resume.pieces.get_mut(worker.piece) else { return Ok(()) };
        piece.next_byte = piece.next_byte.min(worker.asked.0).max(piece.first_byte);
        piece.durable_to = piece.durable_to.min(piece.next_byte);
        held.recorded = false;
        record_now(self.cx, held).await
    }

    /// A connection that reads the whole goes on with the piece behind its own, as long as no byte of that is there, even if
    /// it was asked for: where the server gives one connection only, this one is all that there is.
    fn reads_on(&mut self, held: &mut Held, id: u64) -> bool {
        let Some(worker) = self.workers.get(&id).filter(|worker| worker.reads_whole) else { return false };
        let number = worker.piece;
        let end = held.resume.pieces[number].last_byte;
        let is_behind = |piece: &Piece| piece.first_byte == end + 1 && piece.next_byte == piece.first_byte;
        let Some(behind) = held.resume.pieces.iter().position(is_behind) else { return false };
        let asking = self.workers.iter().find(|(_, worker)| worker.piece == behind).map(|(id, _)| *id);
        asking.into_iter().for_each(|asking| self.dismiss(asking));
        let pieces = &mut held.resume.pieces;
        pieces[number].last_byte = pieces[behind].last_byte;
        pieces.swap_remove(behind);
        self.failures.swap_remove(behind);
        let moved = pieces.len();
        for worker in self.workers.values_mut().filter(|worker| worker.piece == moved) {
            worker.piece = behind;
        }
        true
    }

    /// Has the `classify` hook judge an answer, and reads it when it is the piece.
    async fn answered(&mut self, held: &mut Held, id: u64, mut answer: Box<Answer>) -> Result<Turn, Stopped> {
        let Some(worker) = self.workers.get(&id) else { return Ok(Turn::GoOn) };
        let (number, place, (from, to)) = (worker.piece, worker.place, worker.asked);
        if let Some(mut failure) = answer.refused.take() {
            failure.description = crate::mask::text(&failure.description);
            let head = callbacks::head_as_it_came(&answer);
            return self.failed(held, id, *failure, Some((answer, head))).await;
        }
        self.cx.heard(&self.places[place].wire.url, from, &answer);
        self.places[place].answers = host_of(&answer.url);
        let first = self.head.is_none();
        let (verdict, head) = callbacks::judge(self.cx, held, &self.asked(from, to), &mut answer, first).await?;
        match verdict {
            Classified::Continues(_) if self.is_new(held, &answer) => Ok(self.doubt(held, id)),
            Classified::Continues(_) if overlap::is_unnamed(&self.if_range, &head) => {
                Ok(self.differs(held, id, "restarted-bad-range".into(), None))
            }
            Classified::Continues(at) if at == from => {
                self.head.get_or_insert((answer.status, head));
                self.dismiss(id);
                answer.body.is_part_of(held.resume.digest.as_deref());
                self.read((number, place), (from, to), answer, false);
                Ok(Turn::GoOn)
            }
            Classified::UseFromZero(note) => {
                let is_heard = first || !self.cx.chain.has(Hook::OnResponse);
                let whole = is_heard.then(|| Box::new((place, *answer, head)));
                Ok(self.differs(held, id, note, whole))
            }
            Classified::AskFromZero(note) => Ok(self.differs(held, id, note, None)),
            Classified::NotFound(_) if self.others_than(place) => {
                self.leave(place, "not found");
                self.dismiss(id);
                Ok(Turn::GoOn)
            }
            // Another connection still reads it: it can be had once.
            Classified::NotFound(_) if self.workers.len() > 1 => {
                let mut failure = Failure::new(FailureKind::HttpResponse, "not found, while it is being read");
                failure.http_status = Some(answer.status);
                self.failed(held, id, failure, Some((answer, head))).await
            }
            Classified::NotFound(_) => {
                self.elsewhere().ok_or_else(|| Stopped::Final(Status::NotFound, callbacks::not_there(&answer, &head)))
            }
            Classified::Failed(failure) => {
                let failure = refused_at(self.cx, &self.places[place].wire, failure);
                self.failed(held, id, failure, Some((answer, head))).await
            }
            _ => {
                let failure = Failure::new(FailureKind::Resume, "the server's answer does not fit the question");
                self.failed(held, id, failure, Some((answer, head))).await
            }
        }
    }

    fn others_than(&self, place: usize) -> bool {
        self.places.iter().enumerate().any(|(other, known)| other != place && known.usable)
    }

    /// No place is left that has what is stored: where one was left because it has another file, that one is begun, as a file
    /// that has changed is. Once an attempt: a place that comes and goes would cost all bytes each time.
    fn elsewhere(&self) -> Option<Turn> {
        let can_begin = self.restarts == 0 && self.places.iter().any(|place| place.has_another);
        can_begin.then(|| Turn::Afresh { note: "restarted-changed".into(), undivided: false, whole: None })
    }

    /// Asks a place no more.
    fn leave(&mut self, place: usize, why: &str) {
        let place = &mut self.places[place];
        tracing::info!("{}: {} is left: {why}", self.cx.task.task_id, self.cx.shown(&place.wire.url));
        place.usable = false;
    }

    /// Whether a place wants credentials that may be had, or that no other place can do without. Where neither is so, it is
    /// not tried again, unless a component helps.
    fn is_for_renewal(&mut self, place: usize, failure: &Failure) -> bool {
        if refused_with(failure).is_none() {
            return false;
        }
        if self.cx.may_be_renewed(failure) || !self.others_than(place) {
            return true;
        }
        self.places[place].failures = TRIES;
        false
    }

    /// A place gives no ranges, or those of another version: its bytes are not joined. Without any other place, a
    /// connection that reads the whole goes on with the whole; else everything begins again, with the whole that is being sent.
    fn differs(&mut self, held: &mut Held, id: u64, note: String, sent: Option<Box<Whole>>) -> Turn {
        let Some(worker) = self.workers.get(&id) else { return Turn::GoOn };
        if self.others_than(worker.place) {
            let place = worker.place;
            held.note("mirror-left");
            self.places[place].has_another = true;
            self.leave(place, &note);
            self.dismiss(id);
            return Turn::GoOn;
        }
        let ignores_ranges = note != "restarted-changed";
        let whole = self.workers.iter().find(|(_, worker)| worker.reads_whole).map(|(id, worker)| (*id, worker.piece));
        match whole {
            Some((reader, number)) if ignores_ranges => {
                let others: Vec<u64> = self.workers.keys().copied().filter(|worker| *worker != reader).collect();
                others.into_iter().for_each(|worker| self.dismiss(worker));
                let first = held.resume.pieces[number];
                held.resume.pieces = vec![Piece { last_byte: self.total.saturating_sub(1), ..first }];
                self.failures = vec![0];
                self.connections = 1;
                if let Some(worker) = self.workers.get_mut(&reader) {
                    worker.piece = 0;
                }
                tracing::info!("{}: goes on in one stream ({note})", self.cx.task.task_id);
                held.note("single-stream");
                held.note(match note.as_str() {
                    REDIRECTED => "single-stream: the server redirects each part elsewhere",
                    _ => "single-stream: the server takes no notice of ranges",
                });
                Turn::GoOn
            }
            _ => Turn::Afresh { note, undivided: ignores_ranges, whole: sent },
        }
    }

    /// A connection has failed, perhaps by what its server has answered: its piece is asked for again, elsewhere where there is
    /// another place, until it has failed too often.
    async fn failed(
        &mut self,
        held: &mut Held,
        id: u64,
        failure: Failure,
        refusal: Option<Refusal>,
    ) -> Result<Turn, Stopped> {
        let Some(worker) = self.workers.get(&id) else { return Ok(Turn::GoOn) };
        let (piece, place, is_outdated) = (worker.piece, worker.place, worker.is_outdated);
        self.dismiss(id);
        if is_outdated && failure.kind != FailureKind::Callback {
            return Ok(Turn::GoOn);
        }
        if self.is_for_renewal(place, &failure) || failure.kind == FailureKind::Callback {
            // With fresh credentials it is what is asked for first: whether those help is seen at once.
            if piece < held.resume.pieces.len() {
                held.resume.pieces.swap(0, piece);
            }
            return Err(told(held, failure, refusal).await);
        }
        let too_many = matches!(failure.http_status, Some(429 | 503));
        let mut has_new_link = false;
        if !too_many || self.workers.is_empty() {
            let part = held.resume.pieces.get(piece).map(|piece| (piece.first_byte, piece.last_byte));
            has_new_link = self.after_error(held, part, place, &failure).await?;
        }
        self.failures[piece] += 1;
        if has_new_link && self.failures[piece] < TRIES {
            return Ok(Turn::GoOn);
        }
        if !self.is_busy(place, &failure) {
            self.places[place].failures += 1;
        }
        if self.others_than(place) {
            self.places[place].usable &= self.places[place].failures < TRIES;
            if self.failures[piece] < TRIES {
                return Ok(Turn::GoOn);
            }
        }
        if !self.workers.is_empty() {
            // It gives fewer connections than were asked for: those that work go on, and take this piece later.
            if too_many || self.failures[piece] >= TRIES {
                self.failures[piece] = 0;
                self.have_fewer(held, self.workers.len(), &failure);
            }
            return Ok(Turn::GoOn);
        }
        if self.failures[piece] >= TRIES {
            return match self.elsewhere() {
                Some(turn) => Ok(turn),
                None => Err(told(held, failure, refusal).await),
            };
        }
        // All have failed at once: a connection that they shared, perhaps.
        self.have_fewer(held, self.connections / 4, &failure);
        self.rests_until = Some(clock::now() + BETWEEN_TRIES * self.failures[piece]);
        Ok(Turn::GoOn)
    }

    /// Whether a place has said when to ask it again: it is not left for that.
    fn is_busy(&mut self, place: usize, failure: &Failure) -> bool {
        let is_busy = matches!(failure.http_status, Some(429 | 503)) && self.silent_until(place).is_some();
        if is_busy {
            self.busy = Some(failure.clone());
        }
        is_busy
    }

    /// From now on, at most so many connections, since one has failed like this.
    fn have_fewer(&mut self, held: &mut Held, connections: usize, failure: &Failure) {
        let connections = connections.max(1);
        if connections < self.connections {
            self.connections = connections;
            held.note(if connections == 1 { "single-stream" } else { "fewer-connections" });
            if connections == 1 {
                held.note(&match failure.http_status {
                    Some(status) if !matches!(status, 429 | 503) => {
                        format!("single-stream: other parts were answered {status}")
                    }
                    _ => "single-stream: the server gives no more connections".into(),
                });
            }
            tracing::info!("{}: {connections} connections are left", self.cx.task.task_id);
        }
    }

    /// Hook `on-error` about a part. What it changes counts for all further requests to that place; the part is then asked for
    /// again like any other that failed; by the next attempt where that is to wait. Answers whether the place has another link.
    async fn after_error(
        &mut self,
        held: &mut Held,
        part: Option<(u64, u64)>,
        place: usize,
        failure: &Failure,
    ) -> Result<bool, Stopped> {
        if !self.cx.chain.has(Hook::OnError) || self.cx.is_last_word(failure) {
            return Ok(false);
        }
        let number = super::number(self.cx.record);
        match self.cx.chain.on_error(self.cx.hook_task, failure, number, part).await {
            OnError::Next | OnError::Resolve(_) => Ok(false),
            OnError::Reject(failure) => Err(Stopped::Rejected(failure, None)),
            OnError::Retry(changes) => {
                held.change(&changes, &self.cx.task.url);
                if changes.after_ms > 0 {
                    return Err(Stopped::wanted(&changes, Hook::OnError, failure.clone(), None));
                }
                held.store_changes(self.cx.shared, self.cx.key);
                Ok(self.lead(held, place, changes))
            }
        }
    }

    /// Has a place asked by a component's link from now on, once that is proved to have the same bytes. What its connections still
    /// bring by the old one is taken: a link that has expired is so for new requests. Answers whether anything is new.
    fn lead(&mut self, held: &mut Held, number: usize, changes: RetryChanges) -> bool {
        let RetryChanges { url, headers, by, .. } = changes;
        let is_new = url.is_some() || !headers.is_empty();
        let known = &self.places[number].wire.url;
        let is_elsewhere = url.as_ref().is_some_and(|url| !overlap::is_same_link(held, known, url));
        let guard = url.as_deref().map(|url| self.cx.chain.led_to(&by, self.cx.hook_task, url)).unwrap_or_default();
        let place = &mut self.places[number];
        let changes = StartChanges { url, headers, guard, ..StartChanges::default() };
        if authorize::apply(&changes, self.cx.task, &mut place.wire) {
            held.note(callbacks::URL_CHANGED);
        }
        (place.usable, place.failures) = (true, 0);
        if is_elsewhere {
            place.proved = false;
            place.host = host_of(&place.wire.url);
            self.comparisons.retain(|_, comparison| comparison.place != number);
        }
        let own = self.workers.values_mut().filter(|worker| worker.place == number);
        own.for_each(|worker| worker.is_outdated |= is_new);
        is_new
    }
}
