//! Adding tasks: new ones are stored, and those that are the same as a stored one go on with it.

use std::collections::HashSet;

use super::admitting::{admit, begin_attempts};
use super::controlling::{Halt, stop_each};
use super::{tell, unexpected};
use crate::api::{Action, Reply};
use crate::clock;
use crate::engine::input::Waking;
use crate::engine::limiting::{refuse_canceled, scope_is_canceled};
use crate::engine::{Inner, Input};
use crate::error::{Error, Result};
use crate::store::{Addition, Applied, Change, IfExists, NewTask, TaskKey};
use crate::task::{BOUNDARY, Body, Problem, Record, Status, Task};
use crate::transfer::remember;
use crate::transport::{SENT_AS_IT_IS, credential_names, name_before_query};

/// Tasks of one URL looked at for one that is the same.
const CANDIDATES: usize = 64;

/// `twins`: go on with the same tasks where there are any, but for so many of each that the asker has already.
pub(super) async fn add(
    engine: &Inner,
    asker: u64,
    mut additions: Vec<Addition>,
    if_exists: IfExists,
    twins: Option<&[usize]>,
    work: bool,
) -> Result<Reply> {
    let continue_same = twins.is_some();
    // Whether a task is a new one is found out and acted on by one asker at a time: two equal command lines mean one task.
    let _turn = if continue_same { Some(engine.adding.lock().await) } else { None };
    let now = clock::unix_ms();
    for addition in &mut additions {
        let task = &mut addition.task;
        if task.task_id.is_empty() && !continue_same {
            task.task_id = clock::new_uuid().to_string();
        }
        begin_attempts(task, now);
    }
    let given: Vec<bool> = additions.iter().map(|addition| !addition.task.task_id.is_empty()).collect();
    admit(engine, &mut additions, now).await?;
    if work {
        engine.tell_people().await?;
    }
    if if_exists != IfExists::ReturnExisting && !continue_same {
        refuse_twins(&additions)?;
    }
    if if_exists == IfExists::Replace && !continue_same {
        make_way(engine, &additions).await?;
    }
    let sames = twins.map(|twins| same_tasks(engine, &additions, &given, twins)).transpose()?;
    let mut sames = sames.unwrap_or_default().into_iter();
    let mut ids = vec![String::new(); additions.len()];
    let mut waking = Vec::new();
    let mut fresh = Vec::new();
    let mut ended = Vec::new();
    let mut found = Vec::new();
    for (index, mut addition) in additions.into_iter().enumerate() {
        let given = given.get(index).copied().unwrap_or(false);
        match sames.next().flatten() {
            Some((key, record)) => {
                ids[index].clone_from(&record.task.task_id);
                found.push(record.task.task_id.clone());
                if record.status == Status::Complete {
                    ended.push(record.task.task_id.clone());
                    continue;
                }
                if let Some(place) = record.place.as_ref().filter(|place| addition.place.as_ref() != Some(place)) {
                    let id = &record.task.task_id;
                    tracing::warn!("{id}: goes on in `{}`, where it began", place.display());
                }
                waking.extend(go_on_with(engine, key, &record, addition.task, now).await?);
            }
            None => {
                match given {
                    true if continue_same || if_exists == IfExists::Replace => {
                        give_up_bytes_of(engine, &addition.task)?;
                    }
                    true => {}
                    false => addition.task.task_id = clock::new_uuid().to_string(),
                }
                ids[index].clone_from(&addition.task.task_id);
                warn_of_handles(&addition.task);
                remember(&engine.shared.sandbox, &mut addition.task, addition.place.as_deref());
                fresh.push(addition);
            }
        }
    }
    waking.extend(store_new(engine, fresh, if_exists, continue_same, now).await?);
    if !found.is_empty() {
        engine.shared.store.write_later(Change::Asked { ids: found, asked: true });
    }
    tell(engine, Input::Added { asker, tasks: waking, work })?;
    Ok(Reply::Added { ids, ended })
}

/// A task is going to take the place of another one that has failed, and nothing goes on with what is stored of that.
fn give_up_bytes_of(engine: &Inner, task: &Task) -> Result<()> {
    let found = engine.shared.store.record(&task.task_id)?;
    if let Some((_, record)) = found.filter(|(_, record)| record.status.is_final() && record.resume.is_some()) {
        let (id, bytes) = (&task.task_id, record.bytes_done);
        tracing::warn!("{id}: another task takes its id: the {bytes} bytes that were stored of it are given up");
        crate::transfer::remove_stored(&engine.shared, &record);
    }
    Ok(())
}

/// Says where a handle of a credential stands that no secret takes the place of.
fn warn_of_handles(task: &Task) {
    let in_url = || std::iter::once(&task.url).chain(&task.mirrors).find_map(|url| name_before_query(url));
    let in_fields = || task.fields.iter().find_map(|(_, value)| credential_names(value).pop());
    let in_body = || match &task.body {
        Body::Bytes(bytes) => credential_names(&String::from_utf8_lossy(bytes)).pop(),
        _ => None,
    };
    let found = in_url().map(|name| (name, "a URL before its query"));
    let found = found.or_else(|| in_fields().or_else(in_body).map(|name| (name, "the body")));
    if let Some((name, place)) = found {
        let id = &task.task_id;
        tracing::warn!("task {id}: the handle of the credential `{name}` in {place} {SENT_AS_IT_IS}");
    }
}

/// Two tasks of one id in one request: which of them is meant is for nobody to guess.
fn refuse_twins(additions: &[Addition]) -> Result<()> {
    let (mut ids, mut twins) = (HashSet::new(), Vec::new());
    for (index, addition) in additions.iter().enumerate() {
        let id = addition.task.task_id.as_str();
        if !ids.insert(id) {
            let reason = format!("`{id}` is that of another task given with it");
            twins.push((index, vec![Problem { field: "taskId".into(), reason }]));
        }
    }
    if twins.is_empty() { Ok(()) } else { Err(Error::Invalid(twins)) }
}

/// Cancels the tasks that have these ids and are not over, unless the store is going to refuse the new ones.
async fn make_way(engine: &Inner, additions: &[Addition]) -> Result<()> {
    let (mut ids, mut found) = (HashSet::new(), Vec::new());
    for addition in additions.iter().filter(|addition| !addition.task.task_id.is_empty()) {
        let scope =
            addition.task.scope.as_deref().map(|scope| engine.shared.store.canceled_scope(scope)).transpose()?;
        if !ids.insert(addition.task.task_id.as_str()) || scope.flatten().is_some() {
            return Ok(());
        }
    }
    for id in ids {
        found.extend(engine.shared.store.record(id)?.filter(|(_, record)| !record.status.is_final()));
    }
    let halt = Halt::new(Action::Cancel, Some("another task takes its id"));
    stop_each(engine, &halt, found, &mut Vec::new(), &mut Vec::new()).await
}

/// For each addition the task that it means, if there is one. Refused as a whole, before anything is changed, where a scope is
/// cancelled: that of the stored task or the one it is given now.
fn same_tasks(
    engine: &Inner,
    additions: &[Addition],
    given: &[bool],
    twins: &[usize],
) -> Result<Vec<Option<(TaskKey, Record)>>> {
    let urls = additions.iter().map(|addition| addition.task.url.as_str());
    let candidates = engine.shared.store.with_urls(urls, CANDIDATES)?;
    let (mut used, mut sames, mut scopes) = (HashSet::new(), Vec::with_capacity(additions.len()), HashSet::new());
    let twins = twins.iter().copied().chain(std::iter::repeat(0));
    for (((addition, given), candidates), twins) in additions.iter().zip(given).zip(candidates).zip(twins) {
        let same = same_task(engine, addition, *given, candidates, &used, twins)?;
        used.extend(same.as_ref().map(|(key, _)| *key));
        let stored = same.as_ref().map(|(_, record)| record);
        if stored.is_none_or(|record| record.status != Status::Complete) {
            scopes.extend(stored.and_then(|record| record.task.scope.clone()));
            scopes.extend(addition.task.scope.clone());
        }
        sames.push(same);
    }
    scopes.iter().try_for_each(|scope| refuse_canceled(engine, scope))?;
    Ok(sames)
}

/// The unfinished, failed or not-found task that the same command line means: same URL, place, directory and given name; or same id.
/// A complete one whose end was not told, because the command was killed, is that task as well, while its file is there.
fn same_task(
    engine: &Inner,
    new: &Addition,
    given_id: bool,
    candidates: Vec<(TaskKey, Record)>,
    used: &HashSet<TaskKey>,
    twins: usize,
) -> Result<Option<(TaskKey, Record)>> {
    let store = &engine.shared.store;
    if given_id {
        let found = store.record(&new.task.task_id)?.filter(|(_, record)| record.task.url == new.task.url);
        return Ok(found.filter(|(key, record)| is_open(engine, *key, record)));
    }
    let same = |record: &Record| {
        record.place == new.place
            && record.task.directory == new.task.directory
            && record.task.base_directory == new.task.base_directory
            && record.task.filename == new.task.filename
            && record.task.task_type.undivided() == new.task.task_type.undivided()
            && record.task.http_request_method == new.task.http_request_method
            && record.task.body == new.task.body
            && record.task.fields == new.task.fields
            && record.task.files == new.task.files
            && record.task.resumable() == new.task.resumable()
    };
    let is_it = |key: &TaskKey, record: &Record| !used.contains(key) && same(record) && is_open(engine, *key, record);
    Ok(candidates.into_iter().filter(|(key, record)| is_it(key, record)).nth(twins))
}

fn is_open(engine: &Inner, key: TaskKey, record: &Record) -> bool {
    let has_file = || record.file_path.as_ref().is_none_or(|path| std::path::Path::new(path).is_file());
    record.status != Status::Complete || (has_file() && engine.shared.store.is_asked(key).unwrap_or(false))
}

/// Goes on with a stored task, under the terms of the new one.
async fn go_on_with(engine: &Inner, key: TaskKey, record: &Record, new: Task, now: u64) -> Result<Option<Waking>> {
    let old = &record.task;
    let mut task = Task { task_id: old.task_id.clone(), creation_time: old.creation_time, ..new };
    task.extra.extend(old.extra.iter().filter(|(name, _)| name == BOUNDARY).cloned());
    remember(&engine.shared.sandbox, &mut task, record.place.as_deref());
    if record.status == Status::Running {
        return Ok(Some(Waking::of(key, &task, Some(u64::MAX)))); // runs already: only asked for
    }
    let store = &engine.shared.store;
    let (retries, at) = (task.retries, task.not_before.filter(|at| *at > now));
    let unchanged = record.status == Status::Enqueued && **old == task;
    // Another link of the same resource counts before what a component had found; so does the same one once the task has failed.
    if record.changes.is_some() && (old.url != task.url || record.status.is_final()) {
        drop(store.write(Change::Changes { key, changes: record.changes_of_a_new_run().map(Box::new) }));
    }
    let waking = Waking::of(key, &task, at);
    let name = task.filename.clone().filter(|name| name != "?" && old.filename.as_ref() != Some(name));
    if let Some(final_name) = name.filter(|_| record.resume.is_some()) {
        drop(store.write(Change::Rename { key, final_name })); // it had a name since it began
    }
    if !unchanged {
        store.write(Change::Replace { key, task: Box::new(task) }).await?; // before somebody reads it to begin
    }
    if record.status != Status::Enqueued {
        let retries_remaining = Some(retries);
        store.write(Change::Requeue { key, ready_at: at, retries_remaining, bytes_done: None, at: now }).await?;
    }
    Ok(Some(waking))
}

async fn store_new(
    engine: &Inner,
    fresh: Vec<Addition>,
    if_exists: IfExists,
    continue_same: bool,
    now: u64,
) -> Result<Vec<Waking>> {
    if fresh.is_empty() {
        return Ok(Vec::new());
    }
    // `get --id X` after X is complete means a new task of that id.
    let if_exists = if continue_same { IfExists::Replace } else { if_exists };
    let fresh = fresh.into_iter().map(NewTask::from).collect();
    add_new(engine, fresh, if_exists, continue_same, now).await
}

/// Stores tasks that were admitted, none of which may be there already.
pub(in crate::engine) async fn store_added(engine: &Inner, tasks: Vec<NewTask>, now: u64) -> Result<Vec<Waking>> {
    add_new(engine, tasks, IfExists::Reject, false, now).await
}

async fn add_new(
    engine: &Inner,
    tasks: Vec<NewTask>,
    if_exists: IfExists,
    asked: bool,
    now: u64,
) -> Result<Vec<Waking>> {
    let added = tasks.clone();
    match engine.shared.store.write(Change::Add { tasks, if_exists, asked, at: now }).await? {
        Applied::Added(keys) => {
            let is_new = if_exists != IfExists::ReturnExisting;
            let starts = keys.into_iter().zip(added).filter(|(_, new)| !new.paused);
            let waking = starts.map(|((key, _), NewTask { task, place, resume, .. })| {
                let waking = Waking::of(key, &task, task.not_before.filter(|at| *at > now));
                let record = (is_new && resume.is_none()).then(|| Box::new(Record::added(task, place)));
                Waking { record, ..waking }
            });
            Ok(waking.collect())
        }
        Applied::ScopeCanceled(scope) => Err(Error::Refused(scope_is_canceled(&scope))),
        Applied::Taken(ids) => Err(taken(ids.first().map_or("", String::as_str), if_exists)),
        other => Err(unexpected(&other)),
    }
}

pub(super) fn taken(id: &str, if_exists: IfExists) -> Error {
    let mend = match if_exists {
        IfExists::Replace => {
            "and is not over: `haul resume ID --url URL` gives it another URL, `haul cancel ID` ends it; or choose another id"
        }
        _ => "already: choose another, or say what to do with --if-exists",
    };
    Error::Refused(format!("a task with the id `{id}` exists {mend}"))
}
