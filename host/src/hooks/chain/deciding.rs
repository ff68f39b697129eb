//! Decisions: each is asked of the first component that answers it, and of the default policy last, and each answer is judged
//! where it is handed on, to the host or to the component that has asked for it. So a failure is laid to who has answered so, and
//! what a decorator hands on stays the answer of who gave it.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Admitted, Chain};
use crate::error::Failure;
use crate::hooks::bindings::haul::transfer as wit;
use crate::hooks::functions::{self as hooks, Ask};
use crate::hooks::host::Running;
use crate::hooks::masked::Masked;
use crate::hooks::{AuthorizeVerdict, Classified, PartsVerdict, ResumeVerdict, RetryVerdict, check, convert};
use crate::mask::Secrets;
use crate::task::{Problem, Task};

/// A decision whose answers can be judged.
pub(in crate::hooks) trait Decision: Ask {
    /// What it says, in our types.
    type Said: Masked;

    /// Whether who answered (`None`: the default policy) may answer that question so.
    fn judge(
        chain: &Chain,
        who: Option<usize>,
        asked: Self::Params,
        answer: Self::Answer,
    ) -> Result<Judged<Self::Said>, Refused>;
}

/// An answer that can be acted on.
pub(in crate::hooks) struct Judged<T> {
    pub said: T,
    /// What the default policy says to the same question, where that was wanted.
    pub usual: Option<T>,
}

/// Why an answer is not acted on.
pub(in crate::hooks) enum Refused {
    /// It cannot be.
    Unusable(String),
    /// It could not be judged.
    Unknown(Failure),
}

/// A decision, and the component that has made it; `None`: the default policy.
pub(super) struct Decided<T> {
    pub author: Option<usize>,
    pub judged: Judged<T>,
}

/// What the next component has answered last to a decorator, and who has given that answer.
#[derive(Clone, Default)]
pub(in crate::hooks) struct Heard(Arc<Mutex<Option<Said>>>);

/// Who, and the answer, of whatever type its hook has.
type Said = (usize, Box<dyn Any + Send>);

impl Heard {
    fn note<T: Clone + Send + 'static>(&self, author: usize, answer: &T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((author, Box::new(answer.clone())));
    }

    /// Who has given this answer, where it was heard.
    pub(super) fn author<T: PartialEq + 'static>(&self, answer: &T) -> Option<usize> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (author, known) = heard.as_ref()?;
        known.downcast_ref().is_some_and(|known: &T| known == answer).then_some(*author)
    }
}

impl Chain {
    /// Asks the first component that answers the hook, else the default policy. `weight`: bytes that the answer may repeat of
    /// the question.
    pub(super) async fn decide<A: Decision>(
        &self,
        weight: usize,
        params: A::Params,
    ) -> Result<Decided<A::Said>, Failure> {
        let answer = self.walk::<A>().next(|| (weight, params.clone())).await?;
        let Some((who, answer)) = answer else {
            let question = self.question::<A>(&params);
            let answer = self.links.hooks.policy::<A>(params.clone());
            self.record::<A>(None, question, answer.as_ref());
            return Ok(Decided { author: None, judged: self.judged::<A>(None, params, answer?)? });
        };
        let judged = self.judged::<A>(Some(who.position), params, answer)?;
        Ok(Decided { author: Some(who.author), judged })
    }

    /// Asks whoever comes after the component of a call, on its behalf. An error ends that call, and whichever it is made for: who
    /// may fail has been passed over.
    pub(in crate::hooks) async fn ask_next<A: Decision>(
        &self,
        call: &Running,
        params: A::Params,
    ) -> Result<A::Answer, Failure> {
        let answer = self.walk_behind::<A>(call.position).next(|| (call.weight, params.clone())).await?;
        let Some((who, answer)) = answer else { return self.links.hooks.policy::<A>(params) };
        self.judged::<A>(Some(who.position), params, answer.clone())?;
        call.heard.note(who.author, &answer);
        Ok(answer)
    }

    fn judged<A: Decision>(
        &self,
        who: Option<usize>,
        asked: A::Params,
        answer: A::Answer,
    ) -> Result<Judged<A::Said>, Failure> {
        match A::judge(self, who, asked, answer) {
            Ok(judged) => self.usable(who, A::HOOK, Ok(judged)),
            Err(Refused::Unusable(why)) => self.usable(who, A::HOOK, Err(why)),
            Err(Refused::Unknown(failure)) => Err(failure),
        }
    }
}

impl<T> Judged<T> {
    fn of(said: T) -> Self {
        Self { said, usual: None }
    }
}

impl<T: Masked> Masked for Judged<T> {
    fn mask(&mut self, secrets: &Secrets) {
        self.said.mask(secrets);
    }
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Refused::Unusable(why)
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Refused::Unknown(failure)
    }
}

impl Decision for hooks::Admit {
    type Said = Vec<Admitted>;

    fn judge(
        chain: &Chain,
        who: Option<usize>,
        (tasks, context): Self::Params,
        (answer,): Self::Answer,
    ) -> Result<Judged<Self::Said>, Refused> {
        check::admitted(tasks.iter().map(|task| (&*task.id, &*task.callbacks)), &answer)?;
        let given: Vec<Task> = tasks.iter().cloned().map(convert::given_task).collect();
        let answer = admitted(answer, &given);
        if who.is_none() {
            return Ok(Judged::of(answer));
        }
        let policy = |tasks: Vec<_>| chain.links.hooks.policy::<hooks::Admit>((tasks, context.clone()));
        let usual = admitted(policy(tasks)?.0, &given);
        let passed = answer.iter().filter_map(|task| task.as_ref().ok().map(convert::task)).collect();
        let mut judged = policy(passed)?.0.into_iter();
        let mut said = Vec::with_capacity(given.len());
        for ((answer, usual), given) in answer.into_iter().zip(&usual).zip(&given) {
            let judged = answer.as_ref().ok().and_then(|_| judged.next());
            said.push(match (answer, usual, judged) {
                (Ok(_), Ok(usual), Some(Ok(task))) => {
                    let task = convert::with_parts_of(convert::to_task(task), given);
                    check::within(&task, usual)?;
                    chain.may_use(who, &check::task_handles(&task), &check::task_handles(given))?;
                    Ok(task)
                }
                // Its owner's task was fine: what breaks a rule is the component's.
                (Ok(_), Ok(_), Some(Err(problems))) => {
                    let problems: Vec<String> = to_problems(problems).iter().map(Problem::to_string).collect();
                    return Err(check::text(format!("a task that nobody may add: {}", problems.join("; "))).into());
                }
                (Err(problems), ..) if problems.is_empty() => {
                    let why = "it refuses a task and does not say why: at least one problem belongs to it";
                    return Err(why.to_owned().into());
                }
                (Err(problems), ..) => Err(problems),
                (_, refused, _) => refused.clone(),
            });
        }
        Ok(Judged { said, usual: Some(usual) })
    }
}

impl Decision for hooks::Classify {
    type Said = Classified;

    fn judge(
        chain: &Chain,
        who: Option<usize>,
        (task, asked, head): Self::Params,
        (verdict,): Self::Answer,
    ) -> Result<Judged<Self::Said>, Refused> {
        let verdict = convert::to_classified(verdict)?;
        let mut usual = None;
        if who.is_some() {
            check::fits_task(&verdict, asked.restarts, &task)?;
            let (policy,) = chain.links.hooks.policy::<hooks::Classify>((task, asked.clone(), head.clone()))?;
            usual = convert::to_classified(policy).ok();
            check::classified(&verdict, usual.as_ref(), asked.range_from_bytes, head.status)?;
        }
        let said = match verdict {
            Classified::Continues(from) if asked.range_from_bytes != Some(from) => {
                return Err(format!("`continues({from})`, which is not the byte that was asked for").into());
            }
            Classified::Failed(failure) => Classified::Failed(check::failure(failure)?),
            Classified::UseFromZero(note) => Classified::UseFromZero(check::text(note)),
            Classified::AskFromZero(note) => Classified::AskFromZero(check::text(note)),
            verdict => verdict,
        };
        Ok(Judged { said, usual })
    }
}

/// A name, which repeats a secret only where the server or the task's owner has it so.
pub(in crate::hooks) struct FileName(pub String);

impl Masked for FileName {
    fn mask(&mut self, _: &Secrets) {}
}

impl Decision for hooks::Filename {
    type Said = FileName;

    fn judge(
        chain: &Chain,
        who: Option<usize>,
        (task, head, taken): Self::Params,
        (mut name,): Self::Answer,
    ) -> Result<Judged<Self::Said>, Refused> {
        let secrets = chain.secrets();
        // A name that repeats a secret is the component's own idea, or that of the server and the task's owner.
        if who.is_some() && secrets.is_in(&name) {
            let params = (task.clone(), head, taken.clone());
            if !secrets.is_in(&chain.links.hooks.policy::<hooks::Filename>(params)?.0) {
                secrets.mask(&mut name);
            }
        }
        check::file_name(&name, &taken)?;
        check::chosen_name(&name, task.filename.as_deref())?;
        Ok(Judged::of(FileName(name)))
    }
}

impl Decision for hooks::Resume {
    type Said = (ResumeVerdict, Vec<(String, bool)>);

    fn judge(
        chain: &Chain,
        who: Option<usize>,
        (task, stored): Self::Params,
        (answer,): Self::Answer,
    ) -> Result<Judged<Self::Said>, Refused> {
        let (verdict, conditions) = convert::to_resume(answer);
        let bytes_done = stored.bytes_done;
        let mut usual = None;
        if who.is_some() {
            let policy = convert::to_resume(chain.links.hooks.policy::<hooks::Resume>((task, stored))?.0);
            check::resumes(&verdict, &policy.0)?;
            usual = Some(policy);
        }
        let verdict = match verdict {
            ResumeVerdict::GoOn { from_bytes, .. } if from_bytes > bytes_done => {
                return Err(format!("`go-on` from byte {from_bytes}, but only {bytes_done} are stored").into());
            }
            ResumeVerdict::GoOn { ref if_range, .. }
                if if_range.is_empty() || http::HeaderValue::from_str(if_range).is_err() =>
            {
                return Err("`go-on` without a usable `if-range`".to_owned().into());
            }
            ResumeVerdict::StartAfresh(note) => ResumeVerdict::StartAfresh(check::text(note)),
            ResumeVerdict::Refuse(why) => ResumeVerdict::Refuse(check::text(why)),
            verdict => verdict,
        };
        let conditions = conditions.into_iter().map(|(name, holds)| (check::text(name), holds)).collect();
        Ok(Judged { said: (verdict, conditions), usual })
    }
}

impl Decision for hooks::Authorize {
    type Said = AuthorizeVerdict;

    /// What it may use and where it may send something is judged by the grants of who hands it on: they might be those of a component
    /// that was asked another question.
    fn judge(
        chain: &Chain,
        who: Option<usize>,
        (task, auth, situation, _): Self::Params,
        (verdict,): Self::Answer,
    ) -> Result<Judged<Self::Said>, Refused> {
        let verdict = convert::to_authorize(verdict)?;
        check::authorized_in(&situation, &verdict)?;
        let verdict = authorized(verdict)?;
        if who.is_some() {
            let auth = convert::to_auth(auth);
            let task = convert::to_task(task.as_ref().clone());
            let asked = [check::task_handles(&task), check::auth_handles(&auth)].concat();
            chain.may_use(who, &authorized_handles(&verdict), &asked)?;
            match &verdict {
                AuthorizeVerdict::Send { url, .. } => chain.may_send(who, url, &auth)?,
                AuthorizeVerdict::Refreshed(fresh) => check::renewed(fresh, &auth)?,
                _ => {}
            }
        }
        Ok(Judged::of(verdict))
    }
}

impl Decision for hooks::Parts {
    type Said = PartsVerdict;

    fn judge(
        _: &Chain,
        _: Option<usize>,
        (task, known): Self::Params,
        (verdict,): Self::Answer,
    ) -> Result<Judged<Self::Said>, Refused> {
        Ok(Judged::of(match convert::to_parts(verdict) {
            PartsVerdict::Divide(parts) => {
                check::parts(&parts, known.total_bytes, 1 + task.mirrors.len())?;
                PartsVerdict::Divide(parts)
            }
            PartsVerdict::OneStream(reason) => PartsVerdict::OneStream(check::text(reason)),
        }))
    }
}

impl Decision for hooks::Retry {
    type Said = RetryVerdict;

    fn judge(
        _: &Chain,
        who: Option<usize>,
        _: Self::Params,
        (verdict,): Self::Answer,
    ) -> Result<Judged<Self::Said>, Refused> {
        let least = if who.is_some() { check::WAIT_MS_MIN } else { 0 };
        let wait = |wait: u64| wait.clamp(least, check::WAIT_MS_MAX);
        Ok(Judged::of(match convert::to_retry(verdict) {
            RetryVerdict::AfterMs(ms) => RetryVerdict::AfterMs(wait(ms)),
            RetryVerdict::AfreshAfterMs(ms) => RetryVerdict::AfreshAfterMs(wait(ms)),
            RetryVerdict::GiveUp => RetryVerdict::GiveUp,
        }))
    }
}

/// What `admit` answered about these tasks.
fn admitted(answer: Vec<Result<wit::types::Task, Vec<wit::admit::Problem>>>, given: &[Task]) -> Vec<Admitted> {
    let admitted = answer.into_iter().zip(given).map(|(answer, given)| {
        answer.map(|task| convert::with_parts_of(convert::to_task(task), given)).map_err(to_problems)
    });
    admitted.collect()
}

fn to_problems(problems: Vec<wit::admit::Problem>) -> Vec<Problem> {
    problems.into_iter().map(convert::to_problem).collect()
}

fn authorized(verdict: AuthorizeVerdict) -> Result<AuthorizeVerdict, String> {
    match &verdict {
        AuthorizeVerdict::Ready { headers, query } => {
            check::headers(headers)?;
            check::query(query)?;
        }
        AuthorizeVerdict::Send { method, url, headers, body } => {
            check::request(method, url, headers, body)?;
        }
        AuthorizeVerdict::Refreshed(auth) => check::auth(auth)?,
        AuthorizeVerdict::RefreshFirst | AuthorizeVerdict::Impossible(_) => {}
    }
    Ok(match verdict {
        AuthorizeVerdict::Impossible(why) => AuthorizeVerdict::Impossible(check::text(why)),
        verdict => verdict,
    })
}

fn authorized_handles(verdict: &AuthorizeVerdict) -> Vec<String> {
    match verdict {
        AuthorizeVerdict::Ready { headers, query } => {
            [check::handles(&[], headers), check::handles(&[], query)].concat()
        }
        AuthorizeVerdict::Send { url, headers, .. } => check::handles(std::slice::from_ref(url), headers),
        AuthorizeVerdict::Refreshed(auth) => check::auth_handles(auth),
        AuthorizeVerdict::RefreshFirst | AuthorizeVerdict::Impossible(_) => Vec::new(),
    }
}
