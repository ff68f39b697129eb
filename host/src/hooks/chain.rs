//! Chains: who is asked, in which order, and what is made of the answers.

mod callbacks;
mod deciding;
mod leading;
mod walk;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;

use self::deciding::Decided;
pub(super) use self::deciding::{Decision, Heard};
use super::bindings::haul::transfer as wit;
use super::component::CallFailed;
use super::functions::{self as hooks, Ask};
use super::host::Running;
use super::masked::Masked;
use super::runtime::Ticker;
use super::turns::Turns;
use super::words::Words;
use super::workshop::Call;
use super::{
    Asked, Attempt, AuthReason, AuthorizeVerdict, Classified, Component, Hook, HookHead, HookTask, Hooks,
    OnAuthVerdict, PartsVerdict, ResumeVerdict, RetryVerdict, Situation, StartChanges, check, convert, words,
};
use crate::error::{Failure, FailureKind};
use crate::event::StatusUpdate;
use crate::mask::Secrets;
use crate::store::Store;
use crate::task::{Auth, Problem, ResumeRecord, Task};
use crate::transport::{Trail, Transport, is_same_origin};

/// A task in the form in which it is added, or all that is wrong with it.
type Admitted = Result<Task, Vec<Problem>>;

/// Components in order of attachment, and the default policy last. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Chain {
    links: Arc<Links>,
}

#[derive(Debug)]
struct Links {
    hooks: Hooks,
    components: Vec<Arc<Component>>,
    transport: Transport,
    /// What its hooks were told that must not be seen in logs and records.
    secrets: Mutex<Arc<Secrets>>,
    /// The requests that hooks are asked about, once there can be any: answers repeat what those have carried.
    trail: OnceLock<Trail>,
    /// Components that have failed and were passed over, and where.
    passed_over: Mutex<BTreeSet<String>>,
    /// It only tells somebody what would become of a task: how its components fare does not count.
    is_a_look: AtomicBool,
    /// Somebody was told of a credential's handle that stands where it means nothing.
    is_warned: AtomicBool,
}

impl Chain {
    pub(super) fn new(hooks: &Hooks, components: &[Arc<Component>], transport: &Transport) -> Self {
        let (hooks, components, transport) = (hooks.clone(), components.to_vec(), transport.clone());
        let links = Links {
            hooks,
            components,
            transport,
            secrets: Mutex::default(),
            trail: OnceLock::new(),
            passed_over: Mutex::default(),
            is_a_look: AtomicBool::default(),
            is_warned: AtomicBool::default(),
        };
        Self { links: Arc::new(links) }
    }

    /// The same for somebody who looks at a task: five who look must not have a hook left alone that every other task needs.
    pub(crate) fn for_a_look(self) -> Self {
        self.links.is_a_look.store(true, Ordering::Relaxed);
        self
    }

    pub(super) fn is_a_look(&self) -> bool {
        self.links.is_a_look.load(Ordering::Relaxed)
    }

    /// Its hooks are asked about these requests from now on.
    pub(crate) fn follow(&self, trail: &Trail) {
        let _ = self.links.trail.set(trail.clone());
    }

    /// The secrets that its hooks were told so far, and those that the requests have carried, whoever added them.
    pub(super) fn secrets(&self) -> Arc<Secrets> {
        let mut secrets = self.links.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let carried = self.links.trail.get().map(Trail::secrets).unwrap_or_default();
        if !secrets.has_all(&carried) {
            Arc::make_mut(&mut secrets).add_passing(carried);
        }
        Arc::clone(&secrets)
    }

    /// Takes up what a hook is about to be told, where somebody could repeat it: a component, or a record.
    fn tells(&self, add: impl FnOnce(&mut Secrets)) {
        if !self.links.components.is_empty() || self.links.hooks.shared.recorder.is_some() {
            add(Arc::make_mut(&mut self.links.secrets.lock().unwrap_or_else(PoisonError::into_inner)));
        }
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.links.transport
    }

    pub(super) fn ticker(&self) -> &Ticker {
        self.links.hooks.ticker()
    }

    /// Where components keep their state.
    pub(super) fn store(&self) -> Option<&Store> {
        self.links.hooks.shared.store.get()
    }

    /// The places on the processor that all components share.
    pub(super) fn turns(&self) -> &Turns {
        &self.links.hooks.shared.turns
    }

    /// Whether a user's component answers the hook (the default policy does not count).
    pub fn has(&self, hook: Hook) -> bool {
        self.next(0, hook).is_some()
    }

    /// The components that have failed so far and were passed over, and where: "component `x` in `verify`".
    pub(crate) fn passed_over(&self) -> BTreeSet<String> {
        self.links.passed_over.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Converts a task once for many calls.
    pub fn prepare(&self, task: &Task) -> HookTask {
        self.tells(|secrets| secrets.add_task(task));
        let wit = convert::task(task);
        HookTask { weight: convert::weight(&wit), handles: check::task_handles(task).into(), wit: Arc::new(wit) }
    }

    /// Hook `admit`, for up to 1,000 tasks. A component can refuse tasks and be stricter, but not make one valid that is not,
    /// nor another one of it: what it lets through goes past the default policy as well.
    pub async fn admit(&self, tasks: &[Task], now_ms: u64) -> Result<Vec<Admitted>, Failure> {
        self.tells(|secrets| {
            *secrets = Secrets::default(); // of these tasks: thousands may have gone before
            tasks.iter().for_each(|task| secrets.add_task(task));
        });
        let given: Vec<_> = tasks.iter().map(convert::task).collect();
        let context = wit::admit::Context { now_at_ms: now_ms, extra: Vec::new() };
        let weight = given.iter().map(convert::weight).sum();
        let Decided { author, judged } = self.decide::<hooks::Admit>(weight, (given, context)).await?;
        let usual = judged.usual.into_iter().flatten().map(Some).chain(std::iter::repeat(None));
        let admitted = judged.said.into_iter().zip(usual).zip(tasks).map(|((answer, usual), given)| {
            let answer = self.credited(author, Hook::Admit, answer, usual.as_ref());
            answer.map(|task| convert::with_parts_of(task, given))
        });
        Ok(admitted.collect())
    }

    /// Hook `classify`. A component can be stricter than the default policy, but not join bytes, or take less than the whole
    /// for the whole, where that would not: which bytes belong together is no matter of opinion.
    pub async fn classify(&self, task: &HookTask, asked: &Asked, head: &HookHead) -> Result<Classified, Failure> {
        self.tells(|secrets| secrets.add_answer(&head.wit.url, &head.wit.headers));
        let params = (task.wit.clone(), convert::asked(asked), head.wit.clone());
        let Decided { author, judged } = self.decide::<hooks::Classify>(task.weight, params).await?;
        Ok(self.credited(author, Hook::Classify, judged.said, judged.usual.as_ref()))
    }

    /// Hook `filename`. The answer is one safe path component, at most 255 bytes, and none of `taken`.
    pub async fn filename(&self, task: &HookTask, head: &HookHead, taken: &[String]) -> Result<String, Failure> {
        self.tells(|secrets| secrets.add_answer(&head.wit.url, &head.wit.headers));
        let params = (task.wit.clone(), head.wit.clone(), taken.to_vec());
        Ok(self.decide::<hooks::Filename>(task.weight, params).await?.judged.said.0)
    }

    /// Hook `resume`. The second part lists each condition and whether it holds. A component can give bytes up that the
    /// default policy goes on with, but go on only by the validator that is stored, and miss nothing only where nothing is.
    pub(crate) async fn resume(
        &self,
        task: &HookTask,
        bytes_done: u64,
        stored: &ResumeRecord,
    ) -> Result<(ResumeVerdict, Vec<(String, bool)>), Failure> {
        let params = (task.wit.clone(), convert::stored(bytes_done, stored));
        let Decided { author, judged } = self.decide::<hooks::Resume>(task.weight, params).await?;
        Ok(self.credited(author, Hook::Resume, judged.said, judged.usual.as_ref()))
    }

    /// Hook `authorize`. The verdict is one of those that the situation may be answered by.
    pub async fn authorize(
        &self,
        task: &HookTask,
        auth: &Auth,
        situation: Situation,
        now_ms: u64,
    ) -> Result<AuthorizeVerdict, Failure> {
        self.tells(|secrets| {
            secrets.add_auth(auth);
            if let Situation::RefreshAnswered(head) = &situation {
                secrets.add_answer(&head.url, &head.headers);
            }
        });
        let params = (task.wit.clone(), convert::auth(auth), convert::situation(&situation), now_ms);
        Ok(self.decide::<hooks::Authorize>(task.weight, params).await?.judged.said)
    }

    /// Hook `parts`. Parts cover all bytes once, in order; at most 1,024 of them.
    pub async fn parts(
        &self,
        task: &HookTask,
        total_bytes: u64,
        strong_validator: bool,
        ranges_known: bool,
    ) -> Result<PartsVerdict, Failure> {
        let params = (task.wit.clone(), convert::known(total_bytes, strong_validator, ranges_known));
        Ok(self.decide::<hooks::Parts>(task.weight, params).await?.judged.said)
    }

    /// Hook `retry`. A verdict that this version does not know counts as `GiveUp`; waits are cut to 24 hours. Of a component,
    /// they last 100 ms at least, and where there is no other attempt to be had it gives up, whatever it says.
    pub async fn retry(&self, task: &HookTask, attempt: &Attempt, failure: &Failure) -> Result<RetryVerdict, Failure> {
        let params = (task.wit.clone(), convert::attempt(attempt), convert::failure(failure));
        let Decided { author, judged } = self.decide::<hooks::Retry>(task.weight, params).await?;
        let (Some(position), true) = (author, judged.said != RetryVerdict::GiveUp) else { return Ok(judged.said) };
        let Some(why) = self.no_other(task, attempt, failure)? else { return Ok(judged.said) };
        let name = self.component(position, Hook::Retry).name();
        tracing::info!("component `{name}` wants another attempt in `retry`, but {why}");
        Ok(RetryVerdict::GiveUp)
    }

    /// Why there is no other attempt, whatever a component says: none is left, or it might do twice what the task does. `None`:
    /// there is.
    fn no_other(&self, task: &HookTask, attempt: &Attempt, failure: &Failure) -> Result<Option<&'static str>, Failure> {
        let is_left = match failure.kind {
            FailureKind::Checksum => attempt.fresh_start_left, // which uses up no retry
            _ => attempt.retries_remaining > 0,
        };
        if !is_left {
            return Ok(Some("no retries are left (`--retries`)"));
        }
        let is_in_doubt = failure.outcome_unknown && !self.may_be_repeated(task)?;
        Ok(is_in_doubt.then_some("whether the request took effect is unknown (`repeatable`, `Idempotency-Key`)"))
    }

    /// Whether the request of a task may be sent again after its answer was lost: that is what the default policy goes by.
    pub fn may_be_repeated(&self, task: &HookTask) -> Result<bool, Failure> {
        let attempt = Attempt { number: 1, retries_remaining: 1, ..Attempt::default() };
        let mut lost = Failure::new(FailureKind::Connection, String::new());
        lost.outcome_unknown = true;
        let params = (task.wit.clone(), convert::attempt(&attempt), convert::failure(&lost));
        let (verdict,) = self.links.hooks.policy::<hooks::Retry>(params)?;
        Ok(convert::to_retry(verdict) != RetryVerdict::GiveUp)
    }

    /// Hook `before-task-start`: the final update the task ends with, if any component gives one. The update has no number,
    /// and the task's own id and group.
    pub async fn before_task_start(&self, task: &HookTask) -> Result<Option<StatusUpdate>, Failure> {
        let mut walk = self.walk::<hooks::BeforeTaskStart>();
        while let Some((who, (answer,))) = walk.next(|| (task.weight, (task.wit.clone(),))).await? {
            let update = answer.map(|update| convert::to_update(update, &task.wit).and_then(check::final_update));
            if let Some(update) = who.usable(update.transpose())? {
                return Ok(Some(update));
            }
        }
        Ok(None)
    }

    /// Hook `on-auth`, first component that answers it. `None`: nobody does.
    pub async fn on_auth(
        &self,
        task: &HookTask,
        auth: &Auth,
        reason: AuthReason,
    ) -> Result<Option<OnAuthVerdict>, Failure> {
        self.tells(|secrets| secrets.add_auth(auth));
        let question = || (task.weight, (task.wit.clone(), convert::auth(auth), convert::reason(reason)));
        let answer = self.walk::<hooks::OnAuth>().next(question).await?;
        let Some((who, (verdict,))) = answer else { return Ok(None) };
        let verdict = convert::to_on_auth(verdict)
            .unwrap_or_else(|unknown| OnAuthVerdict::Failed(format!("it answered {unknown}")));
        let verdict = match verdict {
            OnAuthVerdict::Refreshed(fresh) => {
                let asked = [&task.handles[..], &check::auth_handles(auth)].concat();
                let may_use = || self.may_use(Some(who.position), &check::auth_handles(&fresh), &asked);
                let checked = check::auth(&fresh).and_then(|()| check::renewed(&fresh, auth)).and_then(|()| may_use());
                checked.map(|()| OnAuthVerdict::Refreshed(fresh))
            }
            OnAuthVerdict::Failed(why) => Ok(OnAuthVerdict::Failed(check::text(why))),
            OnAuthVerdict::Unchanged => Ok(OnAuthVerdict::Unchanged),
        };
        who.usable(verdict).map(Some)
    }

    /// Hook `on-task-start`, every component in order; changes of several are merged, the later ones winning.
    pub async fn on_task_start(&self, task: &HookTask) -> Result<StartChanges, Failure> {
        let mut merged = StartChanges::default();
        let mut walk = self.walk::<hooks::OnTaskStart>();
        while let Some((who, (answer,))) = walk.next(|| (task.weight, (task.wit.clone(),))).await? {
            let changes = answer.map(|changes| {
                let mut changes = started(convert::to_changes(changes))?;
                who.lead(task, &leading::Given::task(task), &mut changes)?;
                Ok(changes)
            });
            if let Some(changes) = who.usable(changes.transpose())? {
                merge(&mut merged, changes, &task.wit.url);
            }
        }
        Ok(merged)
    }

    /// Hook `on-task-finished`, every component in order. Failures are logged and counted.
    pub async fn on_task_finished(&self, task: &HookTask, update: &StatusUpdate) {
        let question = || (task.weight, (task.wit.clone(), convert::update(update, &task.wit)));
        let mut walk = self.walk::<hooks::OnTaskFinished>();
        while let Some((who, ())) = walk.next_that_answers(question).await {
            who.well();
        }
    }

    /// How long a call of the component at that position may take with all that it asks of those behind it: as long as the limits of
    /// all of them together.
    pub(super) fn patience(&self, position: usize, hook: Hook) -> Duration {
        let behind = self.links.components.get(position + 1..).unwrap_or_default().iter().filter_map(Component::now);
        let others = if hook.is_decision() { behind.filter(|other| other.answers(hook)).collect() } else { Vec::new() };
        let own = self.component(position, hook).patience(hook);
        others.into_iter().fold(own, |all, other| all + other.patience(hook))
    }

    /// Asks a component; the answer, and who has given it. Calls that a component makes of the next one (`nested`) are part of its
    /// own and not recorded.
    async fn call<A: Ask>(
        &self,
        position: usize,
        nested: bool,
        weight: usize,
        params: A::Params,
    ) -> Result<(usize, A::Answer), CallFailed> {
        let component = self.component(position, A::HOOK);
        tracing::debug!("`{}` is asked `{}`", component.name(), A::HOOK.name());
        let question = if nested { None } else { self.question::<A>(&params) };
        let running = Running::begin(self, position, weight);
        let mut answer = component.call::<A>(&running, nested, params).await;
        self.record::<A>(Some(component), question, answer.as_ref().map_err(|failed| &failed.failure));
        if let (Ok(answer), Some(phrase)) = (&mut answer, running.denied.phrase()) {
            A::explain(answer, &format!("component `{}` {phrase}", component.name()));
        }
        answer.map(|answer| (running.heard.author(&answer).unwrap_or(position), answer))
    }

    /// Credits an answer of a decision that is not what the default policy says.
    fn credited<T: Masked + PartialEq>(&self, who: Option<usize>, hook: Hook, mut answer: T, usual: Option<&T>) -> T {
        if let Some(position) = who.filter(|_| usual != Some(&answer)) {
            answer.credit(&self.component(position, hook).place(hook));
        }
        answer
    }

    fn next(&self, from: usize, hook: Hook) -> Option<usize> {
        let components = self.links.components.get(from..)?;
        let answers = |component: &Arc<Component>| component.now().is_some_and(|now| now.answers(hook));
        Some(from + components.iter().position(answers)?)
    }

    /// The component at a position, or what has taken its place; not one that has just come and does not answer the hook.
    fn component(&self, position: usize, hook: Hook) -> &Arc<Component> {
        let component = &self.links.components[position];
        component.now().filter(|now| now.answers(hook)).unwrap_or(component)
    }

    /// What a hook is about to be asked, while calls are recorded.
    fn question<A: Ask>(&self, params: &A::Params) -> Option<Vec<Value>> {
        self.links.hooks.shared.recorder.as_ref().map(|_| params.say())
    }

    /// Records a call.
    fn record<A: Ask>(
        &self,
        who: Option<&Component>,
        question: Option<Vec<Value>>,
        answer: Result<&A::Answer, &Failure>,
    ) {
        let shared = &self.links.hooks.shared;
        let (Some(recorder), Some(question)) = (&shared.recorder, question) else { return };
        let function = who.map_or_else(|| shared.policy.function(A::HOOK), |component| component.function(A::HOOK));
        let Some(function) = function else { return };
        let call = Call {
            hook: A::HOOK,
            about: String::new(),
            component: who.map(|component| component.name().to_owned()),
            input: words::question(&function, &question),
            verdict: answer.ok().map(|answer| words::answer(&function, &answer.say())),
            failure: answer.err().map(|failure| failure.description.clone()),
        };
        recorder.write(call, &self.secrets());
    }

    /// Turns the refusal of an answer into the failure that names who gave it, and keeps count. What a component has written
    /// shows no secret of the task from here on.
    fn usable<T: Masked>(&self, who: Option<usize>, hook: Hook, answer: Result<T, String>) -> Result<T, Failure> {
        let component = who.map(|position| self.component(position, hook));
        match (answer, component) {
            (Ok(mut answer), Some(component)) => {
                if !self.is_a_look() {
                    component.well(hook);
                }
                answer.mask(&self.secrets());
                // A decision may be that of the next one, handed on: who knows what that is credits it.
                if !hook.is_decision() {
                    answer.credit(&component.place(hook));
                }
                Ok(answer)
            }
            (Ok(answer), None) => Ok(answer),
            (Err(mut why), Some(component)) => {
                why.mask(&self.secrets());
                Err(component.unusable(hook, &why, !self.is_a_look()))
            }
            (Err(why), None) => Err(Failure::new(
                FailureKind::Callback,
                format!("the default policy gave an unusable answer in `{}`: {why}", hook.name()),
            )),
        }
    }
}

fn started(changes: StartChanges) -> Result<StartChanges, String> {
    changes.url.as_deref().map_or(Ok(()), check::url)?;
    check::headers(&changes.headers)?;
    check::header_names(&changes.remove_headers)?;
    Ok(changes)
}

/// Adds the changes of a later component: its URL and headers win, and a header it sets is no longer left out. Headers that an
/// earlier one has set for one origin do not go along to another.
fn merge(merged: &mut StartChanges, later: StartChanges, task_url: &str) {
    let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    if let Some(url) = &later.url {
        if !is_same_origin(merged.url.as_deref().unwrap_or(task_url), url) {
            merged.headers.clear();
        }
        (merged.url, merged.guard) = (later.url, later.guard);
    }
    merged.headers.retain(|(name, _)| {
        !later.headers.iter().any(|(other, _)| same(name, other))
            && !later.remove_headers.iter().any(|other| same(name, other))
    });
    merged.remove_headers.retain(|name| !later.headers.iter().any(|(other, _)| same(name, other)));
    merged.headers.extend(later.headers);
    merged.remove_headers.extend(later.remove_headers);
}
