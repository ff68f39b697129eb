//! Admission: what the `admit` hook, the profiles and this home say of tasks before they are stored. Stores nothing.

use std::collections::HashSet;
use std::sync::Arc;

use super::adding::taken;
use crate::api::Reply;
use crate::clock;
use crate::config::reason;
use crate::engine::Inner;
use crate::engine::limiting::refuse_canceled;
use crate::error::{Error, Failure, Result};
use crate::store::{Addition, IfExists};
use crate::task::{Problem, Task, TaskType, hosts, json};

/// Tasks admitted at once: as many as a core's cache holds in all their forms.
const SLICE: usize = 128;
/// Headers that no task can leave out.
const ALWAYS_SENT: [&str; 4] = ["connection", "content-length", "host", "transfer-encoding"];

/// A task that is added has all its retries, whatever was left of them, and a time of creation; what nobody can have left is for `admit` to refuse (A.2).
pub(super) fn begin_attempts(task: &mut Task, now: u64) {
    if task.creation_time == 0 {
        task.creation_time = now;
    }
    if (0..=task.retries).contains(&task.retries_remaining) {
        task.retries_remaining = task.retries;
    }
}

/// Says what is wrong with tasks, as adding them would; `told`: and what would be stored.
pub(super) async fn check(engine: &Inner, mut tasks: Vec<Addition>, if_exists: IfExists, told: bool) -> Result<Reply> {
    let now = clock::unix_ms();
    for addition in &mut tasks {
        begin_attempts(&mut addition.task, now);
    }
    admit(engine, &mut tasks, now).await?;
    let scopes: HashSet<&str> = tasks.iter().filter_map(|addition| addition.task.scope.as_deref()).collect();
    scopes.into_iter().try_for_each(|scope| refuse_canceled(engine, scope))?;
    if if_exists == IfExists::Reject {
        let ids = tasks.iter().map(|addition| addition.task.task_id.as_str()).filter(|id| !id.is_empty());
        if let Some(id) = engine.shared.store.first_taken(ids)? {
            return Err(taken(&id, if_exists));
        }
    }
    if !told {
        return Ok(Reply::Done);
    }
    let records = tasks.iter().map(|addition| json::write(&addition.task, true)).collect();
    Ok(Reply::Records { records, more: None })
}

/// Asks the `admit` hook about all tasks; answers all problems of all tasks, or the normal forms in place.
pub(in crate::engine) async fn admit(engine: &Inner, additions: &mut [Addition], now: u64) -> Result<()> {
    engine.load_components().await?;
    describe(engine, additions)?;
    additions.iter_mut().for_each(|addition| hosts::to_ascii(&mut addition.task));
    let mut everybodys = engine.shared.components.of_group(None);
    everybodys.extend(engine.shared.policy.get().map(Arc::clone));
    let chain = engine.shared.hooks.chain(&everybodys, &engine.transport);
    let broken = |failure: Failure| Error::Component(failure.description);
    let mut invalid = Vec::new();
    for (slice_number, slice) in additions.chunks_mut(SLICE).enumerate() {
        let ids: Vec<String> = slice.iter_mut().map(|addition| std::mem::take(&mut addition.task.task_id)).collect();
        let placeholder = |(addition, id): (&mut Addition, &String)| {
            // Drawn later where there is none: whether the task is a new one is not known yet.
            let task_id = if id.is_empty() { "-".into() } else { id.clone() };
            Task { task_id, ..std::mem::take(&mut addition.task) }
        };
        let tasks: Vec<Task> = slice.iter_mut().zip(&ids).map(placeholder).collect();
        let results = chain.admit(&tasks, now).await.map_err(broken)?;
        let answers = tasks.iter().zip(ids).zip(results);
        for (index, (addition, ((given, task_id), result))) in slice.iter_mut().zip(answers).enumerate() {
            match with_own_problems(engine, given, addition.place.as_deref(), result).await {
                Ok(task) => {
                    addition.task = Task { task_id, ..task };
                    crate::transfer::complete(&mut addition.task);
                }
                Err(problems) => invalid.push((slice_number * SLICE + index, problems)),
            }
        }
    }
    if invalid.is_empty() { Ok(()) } else { Err(Error::Invalid(invalid)) }
}

/// Writes into the tasks what their profiles say of them, before anybody judges them.
fn describe(engine: &Inner, additions: &mut [Addition]) -> Result<()> {
    let described = |(index, addition): (usize, &mut Addition)| {
        let problem = engine.profiles.describe(&mut addition.task).err()?;
        Some((index, vec![problem]))
    };
    let invalid: Vec<_> = additions.iter_mut().enumerate().filter_map(described).collect();
    if invalid.is_empty() { Ok(()) } else { Err(Error::Invalid(invalid)) }
}

/// What the `admit` hook says of a task, and what only the host can say, told together.
async fn with_own_problems(
    engine: &Inner,
    given: &Task,
    place: Option<&std::path::Path>,
    admitted: Result<Task, Vec<Problem>>,
) -> Result<Task, Vec<Problem>> {
    let own = own_problems(engine, admitted.as_ref().unwrap_or(given), place).await;
    match admitted {
        Ok(task) if own.is_empty() => Ok(task),
        Ok(_) => Err(own),
        Err(mut problems) => {
            let told: HashSet<String> = problems.iter().map(|problem| problem.field.clone()).collect();
            problems.extend(own.into_iter().filter(|problem| !told.contains(&problem.field)));
            Err(problems)
        }
    }
}

/// What this version and this home cannot do for a task.
async fn own_problems(engine: &Inner, task: &Task, place: Option<&std::path::Path>) -> Vec<Problem> {
    let problem = |field: &str, reason| Problem { field: field.into(), reason };
    let task_type = task.task_type.not_added().map(|reason| problem("taskType", reason.into()));
    let (sandbox, base) = (&engine.shared.sandbox, task.base_directory.as_str());
    let has_files = task.task_type != TaskType::Data || task.response_file.is_some();
    let refused = crate::transfer::paths_of(task).iter().find_map(|path| sandbox.allows(base, place, path).err());
    let base = refused.or_else(|| sandbox.granted(base, place).err()).filter(|_| has_files);
    let base = base.map(|failure| problem("baseDirectory", format!("cannot be used: {}", failure.description)));
    let files = crate::transfer::wrong_parts(task).map(|reason| problem("files", reason));
    let names = crate::transfer::wrong_names(task).map(|reason| problem("sentNames", reason));
    let too_far =
        [("notBefore", task.not_before), ("notAfter", task.not_after)].into_iter().filter_map(|(field, at)| {
            let why = reason::writable_time(at?, &at?.to_string()).err()?;
            Some(problem(field, why))
        });
    let left_out = task.without_headers().find_map(wrongly_left_out).map(|reason| problem("headers", reason));
    let mut problems: Vec<Problem> =
        task_type.into_iter().chain(base).chain(files).chain(names).chain(too_far).chain(left_out).collect();
    for name in &task.callbacks {
        let component = crate::transfer::own_component(&engine.shared, name, &task.group).await;
        problems.extend(component.err().map(|reason| problem("callbacks", reason)));
    }
    problems
}

/// Why a header cannot be left out.
fn wrongly_left_out(name: &str) -> Option<String> {
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Some(format!("must leave out names of letters, digits and hyphens, not `{name}`"));
    }
    let is_always_sent = ALWAYS_SENT.iter().any(|sent| sent.eq_ignore_ascii_case(name));
    is_always_sent.then(|| format!("must not leave out `{name}`: no request goes without"))
}
