//! The decision as a table, and what holds whatever the table says.

use super::*;
use crate::error::FailureKind;

const DONE: u64 = 1000;

/// What is known of a plain download at its own place, of which bytes are stored.
const PLAIN: Known =
    Known { own_range: false, bytes_done: DONE, is_doubtful: false, is_other_version: false, proof: 0, least: 64 };

fn whole() -> Question {
    Question::default()
}

/// Asks for what follows the stored bytes.
fn rest() -> Question {
    Question { from: Some(DONE), if_range: "\"1\"".into(), ..Question::default() }
}

/// The same, and for so many of the stored bytes, under that validator.
fn rest_with(overlap: u64, if_range: &str) -> Question {
    Question { overlap, if_range: if_range.into(), ..rest() }
}

fn use_all() -> Classified {
    Classified::UseFromZero("used".into())
}

fn ask_all() -> Classified {
    Classified::AskFromZero("asked".into())
}

#[track_caller]
fn decides(question: &Question, known: Known, verdict: &Classified, expected: Step<'_>) {
    assert_eq!(next_step(question, &known, verdict), expected, "{question:?}, {known:?}, {verdict:?}");
}

#[test]
fn the_whole_is_taken_where_it_was_asked_for_or_comes_all_the_same() {
    decides(&whole(), PLAIN, &Classified::Success, Step::TakeAll);
    decides(&rest(), PLAIN, &Classified::Success, Step::Misfit);
    decides(&rest(), PLAIN, &use_all(), Step::TakeAllInstead("used"));
    decides(&whole(), PLAIN, &use_all(), Step::TakeAllInstead("used"));
}

#[test]
fn what_goes_on_is_joined_at_its_own_place_and_compared_elsewhere() {
    let moved = Known { is_doubtful: true, ..PLAIN };
    let own_range = Known { own_range: true, ..PLAIN };
    decides(&rest(), PLAIN, &Classified::Continues(DONE), Step::Join);
    decides(&rest(), own_range, &Classified::Continues(DONE), Step::Join);
    decides(&rest(), moved, &Classified::Continues(DONE), Step::AskForLast(64));
    let moved_range = Known { is_doubtful: true, ..own_range };
    decides(&rest(), moved_range, &Classified::Continues(DONE), Step::AskAfresh("restarted-own-range"));
    decides(&rest_with(64, "\"1\""), moved, &Classified::Continues(DONE - 64), Step::Compare(64));
    decides(&rest_with(500, ""), PLAIN, &Classified::Continues(DONE - 500), Step::Compare(500));
}

#[test]
fn what_does_not_follow_the_stored_bytes_is_not_joined() {
    for from in [0, DONE - 1, DONE + 1] {
        decides(&rest(), PLAIN, &Classified::Continues(from), Step::Misfit);
    }
    decides(&whole(), PLAIN, &Classified::Continues(0), Step::Misfit);
    let fewer = Known { bytes_done: DONE - 1, ..PLAIN };
    decides(&rest(), fewer, &Classified::Continues(DONE), Step::Misfit);
    decides(&rest_with(64, ""), PLAIN, &Classified::Continues(DONE), Step::Misfit);
    let within = Question { offset: 7, ..rest() };
    decides(&within, PLAIN, &Classified::Continues(DONE), Step::Misfit);
    decides(&within, PLAIN, &Classified::Continues(DONE + 7), Step::Join);
}

#[test]
fn another_version_is_asked_for_the_last_bytes_once_where_they_can_prove_something() {
    let proved = Known { proof: 500, ..PLAIN };
    for verdict in [use_all(), ask_all()] {
        decides(&rest(), proved, &verdict, Step::AskWithoutValidator(500));
        // They were asked for with the validator, which is no longer that of the version: not without one yet.
        decides(&rest_with(64, "\"1\""), proved, &verdict, Step::AskWithoutValidator(500));
    }
    for question in [rest_with(500, ""), whole()] {
        decides(&question, proved, &use_all(), Step::TakeAllInstead("used"));
        decides(&question, proved, &ask_all(), Step::AskAfresh("asked"));
    }
    decides(&rest(), PLAIN, &ask_all(), Step::AskAfresh("asked"));
}

#[test]
fn bytes_of_a_version_that_both_sides_name_otherwise_prove_nothing() {
    let other = Known { proof: 500, is_other_version: true, ..PLAIN };
    decides(&rest(), other, &use_all(), Step::TakeAllInstead("used"));
    decides(&rest(), other, &ask_all(), Step::AskAfresh("asked"));
    decides(&rest_with(500, ""), other, &Classified::Continues(DONE - 500), Step::AskAfresh("restarted-changed"));
}

#[test]
fn the_whole_is_not_asked_for_again_and_again() {
    let again = |restarts: u32| Question { restarts, ..rest() };
    decides(&again(RESTARTS - 1), PLAIN, &ask_all(), Step::AskAfresh("asked"));
    decides(&again(RESTARTS), PLAIN, &ask_all(), Step::Misfit);
    decides(&again(RESTARTS), PLAIN, &use_all(), Step::TakeAllInstead("used"));
}

#[test]
fn nothing_is_missing_only_where_something_is_stored_of_the_whole() {
    decides(&rest(), PLAIN, &Classified::AlreadyComplete, Step::Finished);
    decides(&whole(), PLAIN, &Classified::AlreadyComplete, Step::Misfit);
    decides(&rest(), Known { own_range: true, ..PLAIN }, &Classified::AlreadyComplete, Step::Misfit);
    let shorter = Step::AskAfresh("restarted-changed");
    decides(&rest_with(64, "\"1\""), PLAIN, &Classified::AlreadyComplete, shorter);
}

#[test]
fn a_refusal_is_one_whatever_is_stored() {
    let failure = Failure::new(FailureKind::HttpResponse, "server answered 500");
    let failed = Classified::Failed(failure.clone());
    for question in [whole(), rest(), rest_with(64, "")] {
        decides(&question, PLAIN, &Classified::NotFound(None), Step::NotFound);
        decides(&question, Known { proof: 500, is_doubtful: true, ..PLAIN }, &failed, Step::Failed(&failure));
    }
}

/// Every combination of what there is to know, for what must hold in all of them.
fn all(mut look: impl FnMut(&Question, &Known, &Classified, Step<'_>)) {
    let failed = Classified::Failed(Failure::new(FailureKind::General, ""));
    let goes_on = [0, DONE - 500, DONE - 64, DONE, DONE + 7].map(Classified::Continues);
    let others =
        [Classified::Success, Classified::AlreadyComplete, use_all(), ask_all(), Classified::NotFound(None), failed];
    let verdicts: Vec<_> = goes_on.into_iter().chain(others).collect();
    for bits in 0..1_u32 << 11 {
        let bit = |place: u32| bits >> place & 1 == 1;
        let question = Question {
            from: bit(0).then_some(if bit(1) { DONE } else { DONE - 1 }),
            overlap: [0, 64, 500, 64][(bits >> 2 & 3) as usize],
            if_range: if bit(4) { "\"1\"".into() } else { String::new() },
            restarts: if bit(5) { RESTARTS } else { 0 },
            offset: if bit(6) { 7 } else { 0 },
            ..Question::default()
        };
        let (is_doubtful, own_range, is_other_version) = (bit(7), bit(8), bit(10));
        let known = Known { is_doubtful, own_range, is_other_version, proof: if bit(9) { 500 } else { 0 }, ..PLAIN };
        for verdict in &verdicts {
            look(&question, &known, verdict, next_step(&question, &known, verdict));
        }
    }
}

#[test]
fn bytes_are_joined_only_where_they_follow_and_come_from_where_the_others_did() {
    let (mut joined, mut compared) = (0, 0);
    all(|question, known, verdict, step| {
        let follows = |overlap: u64| {
            question.from == Some(DONE) && *verdict == Classified::Continues(question.offset + DONE - overlap)
        };
        match step {
            Step::Join => {
                assert!(
                    question.overlap == 0 && !known.is_doubtful && follows(0),
                    "{question:?} {known:?} {verdict:?}"
                );
                joined += 1;
            }
            Step::Compare(overlap) => {
                assert!(overlap > 0 && overlap == question.overlap && follows(overlap), "{question:?} {verdict:?}");
                assert!(!known.is_other_version, "{known:?}");
                compared += 1;
            }
            _ => {}
        }
    });
    assert!(joined > 0 && compared > 0);
}

#[test]
fn no_question_is_asked_a_second_time_as_it_was() {
    all(|question, _, verdict, step| match step {
        Step::AskForLast(overlap) => assert!(overlap > 0 && question.overlap == 0, "{question:?} {verdict:?}"),
        Step::AskWithoutValidator(overlap) => {
            assert!(overlap > 0 && !(question.overlap > 0 && question.if_range.is_empty()), "{question:?} {verdict:?}");
        }
        Step::AskAfresh(_) => assert!(question.restarts < RESTARTS || *verdict != ask_all(), "{question:?}"),
        _ => {}
    });
}
