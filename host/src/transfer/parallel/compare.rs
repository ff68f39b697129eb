//! The places of a divided download that have brought nothing of what is stored: mirrors, URLs from components, and where a
//! redirect leads now. Before they take part, some of the stored bytes are asked for there and compared.
//!
//! This costs each such place one small request, and holds up none of the others. What is compared, and when an equal validator
//! is proof enough, is told in `overlap`.

use std::ops::Range;
use std::time::Instant;

use super::{Crew, Event, Turn, callbacks, overlap};
use crate::clock;
use crate::error::{Failure, FailureDetail, FailureKind};
use crate::hooks::Classified;
use crate::task::{Changes, Status, host_of};
use crate::transfer::places::refused_at;
use crate::transfer::{Held, Stopped, authorize};
use crate::transport::{Answer, Transport};

/// A connection that asks a place for bytes that are stored.
#[derive(Clone)]
pub(super) struct Comparison {
    pub(super) place: usize,
    stored: Range<u64>,
    began: Instant,
    /// Where the answer came from.
    url: String,
}

impl Crew<'_, '_> {
    /// Asks the places that are not proved yet, as soon as enough is stored to compare; where no other place is left, with what
    /// there is.
    pub(super) async fn compare_others(&mut self, held: &mut Held) -> Result<(), Stopped> {
        let waits = |crew: &Self, place: usize| {
            let is_asked = crew.comparisons.values().any(|comparison| comparison.place == place);
            crew.places[place].usable && !crew.places[place].proved && !is_asked && crew.has_room(place)
        };
        let Some(next) = (0..self.places.len()).find(|place| waits(self, *place)) else { return Ok(()) };
        let stored = overlap::sample(held);
        let others = self.places.iter().any(super::Place::takes_part);
        let nothing_comes = self.workers.is_empty();
        if stored.is_empty() && !others && nothing_comes && self.comparisons.is_empty() {
            // There is nothing that its bytes could be joined with.
            self.places[next].proved = true;
            held.resume.final_url = self.cx.shown(&self.places[next].wire.url);
        } else if overlap::is_enough(&stored) || (!others && !stored.is_empty() && nothing_comes) {
            while let Some(place) = (next..self.places.len()).find(|place| waits(self, *place)) {
                authorize::look_ahead(self.cx).await?;
                self.ask_for_stored(place, stored.clone());
            }
        }
        Ok(())
    }

    fn ask_for_stored(&mut self, place: usize, stored: Range<u64>) {
        let question = self.question(stored.start, stored.end - 1);
        let call = super::call_of(self.cx, &self.places[place].wire, &question);
        let (id, tell, transport): (u64, _, Transport) = (self.hired, self.tell.clone(), self.cx.transport.clone());
        self.tasks.spawn_local(async move {
            let answered = transport.send(call).await.map(Box::new);
            let _ = tell.send((id, Event::Answered(answered))).await;
        });
        self.comparisons.insert(id, Comparison { place, stored, began: clock::now(), url: String::new() });
        self.hired += 1;
    }

    /// Deals with what a comparison brings: its answer, then all its bytes at once.
    pub(super) async fn hear_comparison(&mut self, held: &mut Held, id: u64, event: Event) -> Result<Turn, Stopped> {
        let Some(Comparison { place, stored, began, url }) = self.comparisons.get(&id).cloned() else {
            return Ok(Turn::GoOn);
        };
        match event {
            Event::Answered(Ok(answer)) => self.begin_comparison(held, id, answer).await,
            Event::Answered(Err(failure)) | Event::Ended(Some(failure)) | Event::Untrue(failure) => {
                self.not_compared(held, id, failure).await
            }
            Event::Ended(None) => {
                let failure = Failure::new(FailureKind::Connection, "the server sent too few bytes");
                self.not_compared(held, id, failure.with(FailureDetail::Cut)).await
            }
            Event::Bytes(theirs) => {
                self.comparisons.remove(&id);
                if overlap::read(held, stored)? != theirs {
                    return Ok(self.is_another(held, place));
                }
                self.known.push(url);
                self.places[place].proved = true;
                self.places[place].in_vain = 0;
                self.places[place].guess = theirs.len() as f64 / began.elapsed().as_secs_f64().max(0.001);
                let asked = &self.places[place].wire.url;
                let own = &self.places[place].wire.own_url;
                let is_it = |changes: &Changes| changes.url.as_ref().or(changes.is_over.then_some(own)) == Some(asked);
                if held.changes.as_ref().is_some_and(is_it) {
                    held.note("same-by-overlap");
                    held.joined(self.cx.shared, self.cx.key);
                }
                Ok(Turn::GoOn)
            }
        }
    }

    /// Has the `classify` hook judge the answer, and reads it when it brings what was asked for.
    async fn begin_comparison(&mut self, held: &mut Held, id: u64, mut answer: Box<Answer>) -> Result<Turn, Stopped> {
        let Some(comparison) = self.comparisons.get_mut(&id) else { return Ok(Turn::GoOn) };
        comparison.url.clone_from(&answer.url);
        self.places[comparison.place].answers = host_of(&answer.url);
        let Comparison { place, stored, .. } = comparison.clone();
        let (from, to) = (stored.start, stored.end - 1);
        self.cx.heard(&self.places[place].wire.url, from, &answer);
        let first = self.head.is_none();
        let (verdict, head) = callbacks::judge(self.cx, held, &self.asked(from, to), &mut answer, first).await?;
        match verdict {
            Classified::Continues(at) if at == from && overlap::has_form(held, &head) => {
                let tell = self.tell.clone();
                let length = usize::try_from(to - from + 1).unwrap_or(usize::MAX);
                self.tasks.spawn_local(async move {
                    let event = match collected(&mut answer, length).await {
                        Ok(Some(bytes)) => Event::Bytes(bytes.into()),
                        Ok(None) => Event::Ended(None),
                        Err(failure) => Event::Ended(Some(failure)),
                    };
                    let _ = tell.send((id, event)).await;
                });
                Ok(Turn::GoOn)
            }
            Classified::Failed(failure) => {
                let failure = refused_at(self.cx, &self.places[place].wire, failure);
                self.not_compared(held, id, failure).await
            }
            Classified::NotFound(_) if !self.others_than(place) => {
                self.elsewhere().ok_or_else(|| Stopped::Final(Status::NotFound, callbacks::not_there(&answer, &head)))
            }
            _ => {
                self.comparisons.remove(&id);
                Ok(self.is_another(held, place))
            }
        }
    }

    /// Whether an answer came from where nothing was compared yet.
    pub(super) fn is_new(&self, held: &Held, answer: &Answer) -> bool {
        let is_it = |known: &String| overlap::is_same_place(self.cx, held, known, &answer.url);
        overlap::is_moved(self.cx, held, answer) && !self.known.iter().any(is_it)
    }

    /// A place leads elsewhere than before: it takes no part until it is compared again. One that does so with every answer is
    /// left, or read in one stream.
    pub(super) fn doubt(&mut self, held: &mut Held, id: u64) -> Turn {
        let Some(number) = self.workers.get(&id).map(|worker| worker.place) else { return Turn::GoOn };
        let place = &mut self.places[number];
        place.doubts += 1;
        if place.doubts > super::DOUBTS {
            return self.differs(held, id, super::REDIRECTED.into(), None);
        }
        place.proved = false;
        self.dismiss(id);
        Turn::GoOn
    }

    /// A place has another resource, or does not say that it has this one.
    fn is_another(&mut self, held: &mut Held, place: usize) -> Turn {
        if !self.others_than(place) {
            return Turn::Afresh { note: "restarted-changed".into(), undivided: false, whole: None };
        }
        held.note("mirror-left");
        self.places[place].has_another = true;
        self.leave(place, "it has something else");
        Turn::GoOn
    }

    /// It could not be found out: it is tried again, until it has failed too often.
    async fn not_compared(&mut self, held: &mut Held, id: u64, failure: Failure) -> Result<Turn, Stopped> {
        let Some(Comparison { place, stored, .. }) = self.comparisons.remove(&id) else { return Ok(Turn::GoOn) };
        if self.is_for_renewal(place, &failure) || failure.kind == FailureKind::Callback {
            return Err(failure.into());
        }
        if !matches!(failure.http_status, Some(429 | 503)) || !self.others_than(place) {
            let has_new_link = self.after_error(held, Some((stored.start, stored.end - 1)), place, &failure).await?;
            if has_new_link && self.places[place].in_vain < super::TRIES {
                self.places[place].in_vain += 1;
                return Ok(Turn::GoOn);
            }
        }
        if !self.others_than(place) {
            return self.elsewhere().ok_or_else(|| failure.into());
        }
        if self.is_busy(place, &failure) {
            return Ok(Turn::GoOn);
        }
        let tried = &mut self.places[place];
        tried.failures += 1;
        if tried.failures >= super::TRIES {
            self.leave(place, "it cannot be asked");
        }
        Ok(Turn::GoOn)
    }
}

/// The first bytes of an answer; `None`: it has fewer.
async fn collected(answer: &mut Answer, length: usize) -> Result<Option<Vec<u8>>, Failure> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        match answer.body.next().await? {
            Some(piece) => bytes.extend_from_slice(&piece[..piece.len().min(length - bytes.len())]),
            None => return Ok(None),
        }
    }
    Ok(Some(bytes))
}
