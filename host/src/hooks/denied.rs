//! What a call of a component was denied, and the sentence about it that the host adds where the call fails: most languages
//! tell their programs no more than that a request has failed.
//!
//! Denies nothing: [`super::http`] and [`super::keyvalue`] do. That a setting is not there denies nothing either, and is told
//! where a call traps only.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bindings::haul::transfer as wit;
use super::check;
use wit::types::Update;

/// Refusals that a call's sentence tells.
const TOLD: usize = 2;

/// Bytes of a setting's name that it tells.
const NAME_BYTES: usize = 64;

/// The refusals of one call, each once. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Denied(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    refusals: Vec<String>,
    /// Settings that it asked for and that are not there.
    settings: Vec<String>,
}

impl Denied {
    /// Takes down what was refused, and why.
    pub(super) fn add(&self, why: &str) {
        note(&mut self.told().refusals, why.to_owned());
    }

    /// Takes down that a setting is not there.
    pub(super) fn lacks(&self, setting: &str) {
        note(&mut self.told().settings, check::text_within(setting.to_owned(), NAME_BYTES));
    }

    /// What the call was denied, to follow who made it; `None`: nothing.
    pub(super) fn phrase(&self) -> Option<String> {
        let told = self.told();
        (!told.refusals.is_empty()).then(|| format!("was refused {}", told.refusals.join("; ")))
    }

    /// The same of a call that has failed by itself.
    pub(super) fn of_a_failure(&self) -> String {
        self.phrase().map_or(String::new(), |phrase| format!("; it {phrase}"))
    }

    /// The same of a call that trapped, with the settings that were not there: a limit that is exceeded has other reasons.
    pub(super) fn of_a_trap(&self) -> String {
        let refused = self.of_a_failure();
        let lacks = self.told().settings.iter().fold(String::new(), |told, setting| {
            told + &format!(
                "; it asked for the setting `{setting}`, which it is not given (--callback-config {setting}=…, or `config` \
                 in [[callbacks]] or [[grants]])"
            )
        });
        refused + &lacks
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(all: &mut Vec<String>, one: String) {
    if all.len() < TOLD && !all.contains(&one) {
        all.push(one);
    }
}

/// Adds the host's sentence to what a component says of a refresh that failed.
pub(super) fn explain_on_auth((verdict,): &mut (wit::on_auth::Verdict,), sentence: &str) {
    if let wit::on_auth::Verdict::Failed(why) = verdict {
        add(why, sentence);
    }
}

/// The same to the failure that it makes of another one.
pub(super) fn explain_on_error((verdict,): &mut (wit::on_error::Verdict,), sentence: &str) {
    if let wit::on_error::Verdict::Reject(failure) = verdict {
        add(&mut failure.description, sentence);
    }
}

/// The same to the failure that it ends a task with.
pub(super) fn explain_before_task_start((update,): &mut (Option<Update>,), sentence: &str) {
    if let Some(failure) = update.as_mut().and_then(|update| update.failure.as_mut()) {
        add(&mut failure.description, sentence);
    }
}

/// The sentence is told whole, however long the component's own is.
fn add(text: &mut String, sentence: &str) {
    let room = check::TEXT_BYTES_MAX.saturating_sub(sentence.len() + 2);
    *text = format!("{}; {sentence}", check::text_within(std::mem::take(text), room));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_is_not_there_is_told_where_a_call_traps_and_not_at_a_limit() {
        let denied = Denied::default();
        denied.lacks("client");
        denied.add("state");
        assert_eq!(denied.of_a_failure(), "; it was refused state");
        assert!(denied.of_a_trap().starts_with("; it was refused state; it asked for the setting `client`"));
    }

    #[test]
    fn the_hosts_sentence_stays_whole_behind_a_long_one_of_the_component() {
        let denied = Denied::default();
        ["HTTP: a is not granted", "HTTP: a is not granted", "state", "HTTP: c is not granted"]
            .iter()
            .for_each(|why| denied.add(why));
        let phrase = denied.phrase().unwrap();
        assert_eq!(phrase, "was refused HTTP: a is not granted; state");

        let mut text = "ä".repeat(2000);
        add(&mut text, &phrase);

        assert!(text.len() <= check::TEXT_BYTES_MAX && text.ends_with(&format!("ä; {phrase}")), "{text}");
    }
}
