//! What an answer means for the stored bytes: the decision whether bytes are joined, and nothing else.
//!
//! It asks nobody and changes nothing: what counts is given to it, and what follows is done in `download.rs`.

#[cfg(test)]
mod tests;

use super::Question;
use crate::error::Failure;
use crate::hooks::{Classified, RESTARTS};

/// What is to be done with an answer.
#[derive(Debug, PartialEq)]
pub(super) enum Step<'a> {
    /// It brings the whole, as was asked for: a part file begins with it.
    TakeAll,
    /// It brings the whole where the rest was asked for: a new part file takes the place of the stored bytes. The note says
    /// why.
    TakeAllInstead(&'a str),
    /// It brings what follows the stored bytes.
    Join,
    /// It begins with so many of the stored bytes: what follows them is joined where they are equal.
    Compare(u64),
    /// It would go on, but came from elsewhere than the stored bytes, or does not name their version: so many of them are asked
    /// for, too, under the same validator.
    AskForLast(u64),
    /// The validator is another, but so is the URL: so many of the stored bytes are asked for, too, without a validator.
    AskWithoutValidator(u64),
    /// The stored bytes are given up, and the whole is asked for. The note says why.
    AskAfresh(&'a str),
    /// The stored bytes are the whole.
    Finished,
    NotFound,
    Failed(&'a Failure),
    /// It does not fit the question.
    Misfit,
}

/// What counts beside the question and what its answer was judged to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// The task wants a range of its own.
    pub(super) own_range: bool,
    /// The stored bytes.
    pub(super) bytes_done: u64,
    /// The answer came from elsewhere than they, or does not say of which version it is.
    pub(super) is_doubtful: bool,
    /// It is of another version than they by both sides' own words, which no comparison of some bytes disproves.
    pub(super) is_other_version: bool,
    /// How many of them would be proof under another validator; 0: nothing is to be proved, or nothing can be.
    pub(super) proof: u64,
    /// How many are proof enough under the same one.
    pub(super) least: u64,
}

/// What follows from an answer to that question.
pub(super) fn next_step<'a>(question: &Question, known: &Known, verdict: &'a Classified) -> Step<'a> {
    let goes_on = question.from.is_some();
    let was_without_validator = question.overlap > 0 && question.if_range.is_empty();
    let can_be_proved = goes_on && known.proof > 0 && !was_without_validator && !known.is_other_version;
    match verdict {
        Classified::Success if goes_on => Step::Misfit,
        Classified::Success => Step::TakeAll,
        Classified::Continues(from) => joining(question, known, *from),
        // It ends where stored bytes were to be compared: there are more of them.
        Classified::AlreadyComplete if goes_on && question.overlap > 0 && question.restarts < RESTARTS => {
            Step::AskAfresh("restarted-changed")
        }
        Classified::AlreadyComplete if goes_on && !known.own_range && question.overlap == 0 => Step::Finished,
        Classified::AlreadyComplete => Step::Misfit,
        Classified::UseFromZero(_) | Classified::AskFromZero(_) if can_be_proved => {
            Step::AskWithoutValidator(known.proof)
        }
        Classified::UseFromZero(note) => Step::TakeAllInstead(note),
        Classified::AskFromZero(note) if question.restarts < RESTARTS => Step::AskAfresh(note),
        Classified::AskFromZero(_) => Step::Misfit,
        Classified::NotFound(_) => Step::NotFound,
        Classified::Failed(failure) => Step::Failed(failure),
    }
}

/// The same of an answer that goes on at that byte. It must be the byte that was asked for, and that must be where the stored
/// bytes end, but for those that are compared.
fn joining(question: &Question, known: &Known, from: u64) -> Step<'static> {
    if question.first_byte() != Some(from) || question.from != Some(known.bytes_done) {
        return Step::Misfit;
    }
    match question.overlap {
        0 if known.is_doubtful && known.own_range => Step::AskAfresh("restarted-own-range"),
        0 if known.is_doubtful => Step::AskForLast(known.least),
        0 => Step::Join,
        _ if known.is_other_version => Step::AskAfresh("restarted-changed"),
        overlap => Step::Compare(overlap),
    }
}
