//! Pause, cancel, resume and retry: of tasks by id, by group, by scope, or of all.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::admitting::admit;
use super::looking_up::find;
use super::{PAGE, ended, tell, working};
use crate::api::{Action, Reply};
use crate::clock;
use crate::engine::input::{Stopping, Waking};
use crate::engine::limiting::scope_is_canceled;
use crate::engine::{Inner, Input, sweep_spool};
use crate::error::{Failure, FailureKind, Result};
use crate::event::Details;
use crate::store::{Addition, Applied, Change, Selection, TaskKey};
use crate::task::{Pairs, Record, Status, Task, TaskType};

/// Ids listed in the answer to a request about a group or all.
const LISTED: usize = 10_000;

/// How tasks are stopped, and what the final update of a cancelled one says.
pub(super) struct Halt {
    action: Action,
    /// Why, secrets masked.
    reason: Option<String>,
    details: Arc<Details>,
}

impl Halt {
    pub(super) fn new(action: Action, reason: Option<&str>) -> Self {
        let reason = reason.map(crate::mask::text);
        let text = match &reason {
            Some(reason) => format!("the task was cancelled: {reason}"),
            None => "the task was cancelled".into(),
        };
        let exception = Some(Failure::new(FailureKind::Canceled, text));
        Self { action, reason, details: Arc::new(Details { exception, ..Details::default() }) }
    }
}

/// `asker`: who wants what is started again worked; `None`: nobody in particular.
pub(super) async fn control(
    engine: &Inner,
    action: Action,
    select: Selection,
    reason: Option<String>,
    asker: Option<u64>,
) -> Result<Reply> {
    let halt = Halt::new(action, reason.as_deref());
    match select {
        Selection::Ids(ids) => {
            let mut changed = Vec::new();
            let mut refused = Vec::new();
            let mut found: Vec<(TaskKey, Record)> = ids.iter().map(|id| find(engine, id)).collect::<Result<_>>()?;
            let mut known = HashSet::new();
            found.retain(|(key, _)| known.insert(*key)); // named twice is meant once
            match action {
                Action::Pause | Action::Cancel => stop_each(engine, &halt, found, &mut changed, &mut refused).await?,
                Action::Resume | Action::Retry => {
                    start_again(engine, (action, asker), found, &mut changed, &mut refused).await?;
                }
            }
            Ok(Reply::Changed { count: changed.len() as u64, changed, refused })
        }
        select if matches!(action, Action::Pause | Action::Cancel) => stop_many(engine, &halt, select).await,
        select => start_many(engine, (action, asker), &select).await,
    }
}

pub(super) async fn stop_each(
    engine: &Inner,
    halt: &Halt,
    found: Vec<(TaskKey, Record)>,
    changed: &mut Vec<String>,
    refused: &mut Vec<(String, String)>,
) -> Result<()> {
    let mut stopping = Vec::new();
    for (key, record) in found {
        let id = record.task.task_id.clone();
        match stop_refused(halt.action, &record) {
            Some(why) => refused.push((id, why)),
            None => stopping.push((key, record)),
        }
    }
    let keys: Vec<TaskKey> = stopping.iter().map(|(key, _)| *key).collect();
    let ids = stopping.iter().map(|(_, record)| record.task.task_id.clone()).collect();
    let (_, settled) = stop(engine, halt, Stopping::Keys(keys), Selection::Ids(ids)).await?;
    for (key, record) in stopping {
        let id = record.task.task_id.clone();
        let wanted = if halt.action == Action::Cancel { Status::Canceled } else { Status::Paused };
        let now = engine.shared.store.record_of(key)?.map_or(record.status, |record| record.status);
        if now == wanted {
            changed.push(id);
        } else {
            let ended = settled.iter().find(|(settled, _, _)| *settled == key).map_or(now, |(_, _, status)| *status);
            refused.push((id, format!("it has become {} meanwhile", ended.name())));
        }
    }
    Ok(())
}

fn stop_refused(action: Action, record: &Record) -> Option<String> {
    match (action, record.status) {
        (_, status) if status.is_final() => Some(format!("it is final already: {}", status.name())),
        (Action::Pause, Status::Paused) => Some("it is paused already".into()),
        (Action::Pause, _) if !record.task.allow_pause => Some("it may not be paused: its allowPause is false".into()),
        _ => None,
    }
}

/// Waiting tasks that were stopped, and running ones with what became of them.
type Stopped = (Vec<TaskKey>, Vec<(TaskKey, String, Status)>);

/// Stops running tasks by their attempts and waiting ones in the store, and then those that have started in between: the store
/// refuses to start what is paused or canceled.
async fn stop(engine: &Inner, halt: &Halt, keys: Stopping, select: Selection) -> Result<Stopped> {
    let (action, details) = (halt.action, &halt.details);
    let stop_running = |keys: Stopping| {
        let (reply, answer) = oneshot::channel();
        tell(engine, Input::Stop { action, keys, details: Arc::clone(details), reply }).map(|()| answer)
    };
    let first = stop_running(keys.clone())?;
    let parts = if action == Action::Cancel { engine.shared.store.parts_of(&select)? } else { Vec::new() };
    let (details, at) = (Arc::clone(details), clock::unix_ms());
    let change = match action {
        Action::Cancel => Change::CancelWaiting { select, details, at },
        _ => Change::PauseWaiting { select, at },
    };
    let moved = match engine.shared.store.write(change).await? {
        Applied::Moved(keys) => keys,
        _ => Vec::new(),
    };
    let gone: HashSet<TaskKey> = moved.iter().copied().collect();
    for (_, record) in parts.iter().filter(|(key, _)| gone.contains(key)) {
        crate::transfer::remove_stored(&engine.shared, record);
    }
    tell(engine, Input::Left { action, keys: moved.clone() })?;
    let second = stop_running(keys)?;
    let mut settled = Vec::new();
    for answer in [first, second] {
        for settling in answer.await.map_err(|_| ended())? {
            settled.extend(settling.await.ok());
        }
    }
    if action == Action::Cancel {
        let _ = sweep_spool(&engine.shared).await;
    }
    Ok((moved, settled))
}

/// Of a group or of all: what ends meanwhile by itself is nobody's concern, what may not be paused is told.
async fn stop_many(engine: &Inner, halt: &Halt, select: Selection) -> Result<Reply> {
    let store = &engine.shared.store;
    let (statuses, wanted): (&[Status], Status) = match halt.action {
        Action::Cancel => {
            (&[Status::Enqueued, Status::Running, Status::WaitingToRetry, Status::Paused], Status::Canceled)
        }
        _ => (&[Status::Enqueued, Status::Running, Status::WaitingToRetry], Status::Paused),
    };
    if let (Action::Cancel, Selection::Scope(name)) = (halt.action, &select) {
        // Before its tasks are looked for: one that is added now is found or refused.
        let (name, reason) = (name.clone(), halt.reason.clone());
        store.write(Change::CancelScope { name, reason, at: clock::unix_ms() }).await?;
    }
    let meant = store.select(&select, statuses, 0, LISTED)?;
    let (moved, settled) = stop(engine, halt, Stopping::Selected(select.clone()), select).await?;
    let mut stopped: HashSet<TaskKey> = moved.into_iter().collect();
    stopped.extend(settled.iter().filter(|(_, _, status)| *status == wanted).map(|(key, _, _)| *key));
    let mut changed = Vec::new();
    let mut refused = Vec::new();
    for (key, id, _) in meant {
        if stopped.contains(&key) {
            changed.push(id);
        } else if let Some(record) = store.record_of(key)?
            && let Some(why) = stop_refused(halt.action, &record).filter(|_| !record.status.is_final())
        {
            refused.push((id, why));
        }
    }
    Ok(Reply::Changed { count: stopped.len() as u64, changed, refused })
}

/// Goes on with a download at another URL, such as a link that was signed anew, under the rules of every resumption. Its mirrors
/// are given up; `headers` take the place of its own of the same names.
pub(super) async fn resume_at(
    engine: &Inner,
    id: &str,
    (url, headers): (String, Pairs),
    asker: Option<u64>,
) -> Result<Reply> {
    let (key, mut record) = find(engine, id)?;
    let id = record.task.task_id.clone();
    let why = match record.task.task_type.undivided() {
        TaskType::Download => start_refused(engine, Action::Resume, &record)?,
        _ => Some("it is no download: add it anew for another URL".into()),
    };
    if let Some(why) = why {
        return Ok(Reply::Changed { count: 0, changed: Vec::new(), refused: vec![(id, why)] });
    }
    let mut task = Task { url, mirrors: Vec::new(), ..Task::clone(&record.task) };
    task.set_headers(headers);
    let mut additions = [Addition { task, place: record.place.clone(), paused: false }];
    admit(engine, &mut additions, clock::unix_ms()).await?;
    let [Addition { task, .. }] = additions;
    if record.changes.is_some() {
        let changes = record.changes_of_a_new_run().map(Box::new);
        drop(engine.shared.store.write(Change::Changes { key, changes })); // the new URL counts before what a component had found
    }
    engine.shared.store.write(Change::Replace { key, task: Box::new(task.clone()) }).await?;
    (record.task, record.changes) = (Arc::new(task), None);
    let (mut changed, mut refused) = (Vec::new(), Vec::new());
    start_again(engine, (Action::Resume, asker), vec![(key, record)], &mut changed, &mut refused).await?;
    Ok(Reply::Changed { count: changed.len() as u64, changed, refused })
}

async fn start_many(engine: &Inner, (action, asker): Start, select: &Selection) -> Result<Reply> {
    // Nobody means by "all" what was cancelled: that is begun again where it is named.
    let statuses: &[Status] = match action {
        Action::Resume => &[Status::Paused],
        _ => &[Status::Failed, Status::NotFound, Status::WaitingToRetry],
    };
    let (mut changed, mut refused, mut after, mut count) = (Vec::new(), Vec::new(), 0, 0);
    loop {
        let found = engine.shared.store.select(select, statuses, after, PAGE)?;
        let Some((last, _, _)) = found.last() else { break };
        after = *last;
        let mut page = Vec::with_capacity(found.len());
        for (key, _, _) in found {
            page.extend(engine.shared.store.record_of(key)?.map(|record| (key, record)));
        }
        start_again(engine, (action, asker), page, &mut changed, &mut refused).await?;
        count += changed.len().saturating_sub(LISTED) as u64;
        changed.truncate(LISTED);
    }
    Ok(Reply::Changed { count: count + changed.len() as u64, changed, refused })
}

/// What starts tasks again, and the asker who wants them worked.
type Start = (Action, Option<u64>);

/// Puts paused or final tasks into the queue again, in one commit.
async fn start_again(
    engine: &Inner,
    (action, asker): Start,
    tasks: Vec<(TaskKey, Record)>,
    changed: &mut Vec<String>,
    refused: &mut Vec<(String, String)>,
) -> Result<()> {
    let (mut waking, mut hosts) = (Vec::with_capacity(tasks.len()), Vec::new());
    let mut last = None;
    for (key, record) in tasks {
        let id = record.task.task_id.clone();
        if let Some(why) = start_refused(engine, action, &record)? {
            refused.push((id, why));
            continue;
        }
        if action == Action::Retry {
            hosts.push(record.task.host());
        }
        let retries_remaining = record.status.is_final().then_some(record.task.retries);
        let at = clock::unix_ms();
        if record.status.is_final() && record.changes.is_some() {
            let changes = record.changes_of_a_new_run().map(Box::new);
            drop(engine.shared.store.write(Change::Changes { key, changes })); // asked for as it was given
        }
        let ready_at = record.task.not_before.filter(|not_before| *not_before > at); // its owner's word, still
        let change = Change::Requeue { key, ready_at, retries_remaining, bytes_done: None, at };
        last = Some(engine.shared.store.write(change));
        waking.push(Waking::of(key, &record.task, ready_at));
        changed.push(id);
    }
    // The writer keeps the order: when the last change is committed, all are.
    if let Some(last) = last {
        last.await?;
    }
    let works = working(engine).await?;
    tell(engine, Input::EndSilence { hosts })?; // who says `retry` means now, whatever the server has asked for
    let Some(asker) = asker else {
        // A working engine goes on with them at once, whoever asked; an idle one leaves them to `haul run`.
        return tell(engine, Input::Added { asker: 0, tasks: waking, work: works.busy > 0 || works.asked > 0 });
    };
    engine.load_components().await?;
    engine.tell_people().await?;
    tell(engine, Input::Added { asker, tasks: waking, work: true })
}

fn start_refused(engine: &Inner, action: Action, record: &Record) -> Result<Option<String>> {
    let why = match (action, record.status) {
        (_, Status::Complete) => Some("it is complete"),
        (_, Status::Enqueued) => Some("it is enqueued already"),
        (_, Status::Running) => Some("it is running already"),
        (Action::Resume, Status::Canceled) => Some("there is nothing to resume: `haul retry` starts it afresh"),
        (Action::Retry, Status::Paused) => Some("it is paused: `haul resume` goes on with it"),
        _ => None,
    };
    if let (None, Some(scope)) = (why, &record.task.scope) {
        return Ok(engine.shared.store.canceled_scope(scope)?.map(|scope| scope_is_canceled(&scope)));
    }
    Ok(why.map(str::to_owned))
}
