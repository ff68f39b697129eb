//! Requests: what only reads is answered here, on the caller's thread; what changes tasks is checked here and handed to the
//! loop or the store.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::api::{Action, Reply, Request};
use crate::clock;
use crate::engine::attachments::{self, NewAttachment};
use crate::engine::input::{Stopping, Waits, Waking, Working};
use crate::engine::limiting::{limit_task, limits, refuse_canceled, reopen_scope, scope_is_canceled, scopes};
use crate::engine::machine::ready_of;
use crate::engine::{Inner, Input};
use crate::engine::{at_once, component_state, resume_data, sweep_spool};
use crate::error::{Error, Failure, FailureDetail, FailureKind, Result};
use crate::event::{Details, Update};
use crate::scheduler::Why;
use crate::store::{Addition, Applied, Change, Filter, HELD, IfExists, NewTask, Selection, TaskKey};
use crate::task::{Problem, Record, Status, Task, TaskType, Waiting, hosts, json};
use crate::transfer::{BOUNDARY, remember};

/// The consumer that stands for components with `on-task-finished`.
pub(crate) const COMPONENTS: &str = "haul.on-task-finished";
/// Tasks admitted at once: as many as a core's cache holds in all their forms.
const SLICE: usize = 128;
/// Headers that no task can leave out.
const ALWAYS_SENT: [&str; 4] = ["connection", "content-length", "host", "transfer-encoding"];
/// Records and events of one answer.
const PAGE: usize = 1_000;
/// Tasks of one URL looked at for one that is the same.
const CANDIDATES: usize = 64;
/// Tasks counted, at most, that are ahead of one.
const COUNTED: usize = 10_000;
/// Ids listed in the answer to a request about a group or all.
const LISTED: usize = 10_000;

/// Answers a request.
pub(super) async fn answer(engine: &Inner, asker: u64, request: Request) -> Result<Reply> {
    if let Some(error) = engine.shared.broken.get() {
        return Err(error.clone());
    }
    match request {
        Request::Add { tasks, if_exists, continue_same, work } => {
            add(engine, asker, tasks, if_exists, continue_same, work).await
        }
        Request::Send { addition } => at_once::send(engine, *addition).await,
        Request::Probe { addition, unique } => at_once::probe(engine, *addition, unique).await,
        Request::Check { tasks } => check(engine, tasks).await,
        Request::Work { ids: None } => {
            engine.load_components().await?;
            tell(engine, Input::WorkAll { asker })?;
            Ok(Reply::Done)
        }
        Request::Work { ids: Some(ids) } => {
            engine.load_components().await?;
            work(engine, asker, &ids)
        }
        Request::Told { ids } => {
            engine.shared.store.write(Change::Asked { ids, asked: false }).await?;
            Ok(Reply::Done)
        }
        Request::Control { action, select, reason } => control(engine, action, select, reason).await,
        Request::List { filter, after } => list(engine, filter, after).await,
        Request::Show { id } => show(engine, &id).await,
        Request::ExportResume { id, with_secrets } => resume_data::export(engine, &id, with_secrets).await,
        Request::ImportResume { document, url, place, part_file } => {
            resume_data::import(engine, document, url, place, part_file).await
        }
        Request::Remove { ids } => remove(engine, &ids).await,
        Request::Clean { older_than_ms } => clean(engine, older_than_ms).await,
        Request::Events { after, consumer } => events(engine, after, consumer).await,
        Request::Ack { consumer, seq } => ack(engine, consumer, seq).await,
        Request::Counts => {
            let by_status = engine.shared.store.counts()?;
            let working = working(engine).await?;
            let count = |status: Status| by_status.get(status as usize).copied().unwrap_or(0);
            let all = count(Status::Enqueued) + count(Status::Running) + count(Status::WaitingToRetry);
            let working = if working.all { all.max(working.busy) } else { working.asked.max(working.busy) };
            Ok(Reply::Counts { by_status, working })
        }
        Request::Limits { changes, reset } => limits(engine, *changes, reset).await,
        Request::LimitTask { id, limit_rate } => limit_task(engine, &id, limit_rate).await,
        Request::Scopes => scopes(engine),
        Request::ReopenScope { name } => reopen_scope(engine, name).await,
        Request::Attach { path, name, group, allow_hosts, config } => {
            attachments::attach(engine, path, NewAttachment { name, group, allow_hosts, config }).await
        }
        Request::Detach { name, group } => attachments::detach(engine, &name, group.as_deref()).await,
        Request::RollBack { name, group, to } => {
            attachments::roll_back(engine, &name, group.as_deref(), to.as_deref()).await
        }
        Request::Attached => attachments::list(engine),
        Request::State { owner } => component_state::list(engine, owner),
        Request::ForgetState { owner, bucket, key } => component_state::forget(engine, owner, bucket, key).await,
        Request::Info => info(engine).await,
    }
}

pub(super) fn tell(engine: &Inner, input: Input) -> Result<()> {
    engine.input.send(input).map_err(|_| ended())
}

pub(super) fn ended() -> Error {
    Error::HomeLocked("the engine has ended".into())
}

async fn working(engine: &Inner) -> Result<Working> {
    let (reply, answer) = oneshot::channel();
    tell(engine, Input::Working { reply })?;
    answer.await.map_err(|_| ended())
}

// Adding.

async fn add(
    engine: &Inner,
    asker: u64,
    mut additions: Vec<Addition>,
    if_exists: IfExists,
    continue_same: bool,
    work: bool,
) -> Result<Reply> {
    // Whether a task is a new one is found out and acted on by one asker at a time: two equal command lines mean one task.
    let _turn = if continue_same { Some(engine.adding.lock().await) } else { None };
    let now = clock::unix_ms();
    for addition in &mut additions {
        let task = &mut addition.task;
        if task.task_id.is_empty() && !continue_same {
            task.task_id = uuid::Uuid::now_v7().to_string();
        }
        if task.creation_time == 0 {
            task.creation_time = now;
        }
        begin_attempts(task);
    }
    let given: Vec<bool> = additions.iter().map(|addition| !addition.task.task_id.is_empty()).collect();
    admit(engine, &mut additions, now).await?;
    if if_exists != IfExists::ReturnExisting && !continue_same {
        refuse_twins(&additions)?;
    }
    if if_exists == IfExists::Replace && !continue_same {
        make_way(engine, &additions).await?;
    }
    let sames = if continue_same { same_tasks(engine, &additions, &given)? } else { Vec::new() };
    let mut sames = sames.into_iter();
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
                waking.extend(go_on_with(engine, key, &record, addition.task, now).await?);
            }
            None => {
                if !given {
                    addition.task.task_id = uuid::Uuid::now_v7().to_string();
                }
                ids[index].clone_from(&addition.task.task_id);
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

/// A task that is added has all its retries, whatever was left of them; what nobody can have left is for `admit` to refuse (A.2).
fn begin_attempts(task: &mut Task) {
    if (0..=task.retries).contains(&task.retries_remaining) {
        task.retries_remaining = task.retries;
    }
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

/// Says what is wrong with tasks, as adding them would.
async fn check(engine: &Inner, mut tasks: Vec<Addition>) -> Result<Reply> {
    for addition in &mut tasks {
        begin_attempts(&mut addition.task);
    }
    admit(engine, &mut tasks, clock::unix_ms()).await?;
    Ok(Reply::Done)
}

/// Asks the `admit` hook about all tasks; answers all problems of all tasks, or the normal forms in place.
pub(super) async fn admit(engine: &Inner, additions: &mut [Addition], now: u64) -> Result<()> {
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
                Ok(task) => addition.task = Task { task_id, ..task },
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
    let has_files = task.task_type != TaskType::Data || task.response_file.is_some();
    let base = engine.shared.sandbox.granted(&task.base_directory, place).err().filter(|_| has_files);
    let base = base.map(|failure| problem("baseDirectory", format!("cannot be used: {}", failure.description)));
    let files = crate::transfer::wrong_parts(task).map(|reason| problem("files", reason));
    let left_out = task.without_headers().find_map(wrongly_left_out).map(|reason| problem("headers", reason));
    let mut problems: Vec<Problem> = task_type.into_iter().chain(base).chain(files).chain(left_out).collect();
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

/// For each addition the task that it means, if there is one. Refused as a whole, before anything is changed, where a scope is
/// cancelled: that of the stored task or the one it is given now.
fn same_tasks(engine: &Inner, additions: &[Addition], given: &[bool]) -> Result<Vec<Option<(TaskKey, Record)>>> {
    let urls = additions.iter().map(|addition| addition.task.url.as_str());
    let candidates = engine.shared.store.with_urls(urls, CANDIDATES)?;
    let (mut used, mut sames, mut scopes) = (HashSet::new(), Vec::with_capacity(additions.len()), HashSet::new());
    for ((addition, given), candidates) in additions.iter().zip(given).zip(candidates) {
        let same = same_task(engine, addition, *given, candidates, &used)?;
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

/// The unfinished or failed task that the same command line means: same URL, place, directory and given name; or same id.
/// A complete one whose end was not told, because the command was killed, is that task as well, while its file is there.
fn same_task(
    engine: &Inner,
    new: &Addition,
    given_id: bool,
    candidates: Vec<(TaskKey, Record)>,
    used: &HashSet<TaskKey>,
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
    Ok(candidates.into_iter().find(|(key, record)| is_it(key, record)))
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
    if old.url != task.url {
        // Another link of the same resource: it counts before what a component had found.
        drop(store.write(Change::Changes { key, changes: None }));
    }
    let waking = Waking::of(key, &task, at);
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
pub(super) async fn store_added(engine: &Inner, tasks: Vec<NewTask>, now: u64) -> Result<Vec<Waking>> {
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
        Applied::Taken(ids) => {
            let id = ids.first().map_or("", String::as_str);
            let mend = match if_exists {
                IfExists::Replace => "and is not over",
                _ => "already: choose another, or say what to do with --if-exists",
            };
            Err(Error::Refused(format!("a task with the id `{id}` exists {mend}")))
        }
        other => Err(unexpected(&other)),
    }
}

fn unexpected(applied: &Applied) -> Error {
    Error::Other(format!("the store answered {applied:?}"))
}

fn work(engine: &Inner, asker: u64, ids: &[String]) -> Result<Reply> {
    let mut tasks = Vec::new();
    for id in ids {
        let (key, record) = find(engine, id)?;
        if record.status.is_final() || record.status == Status::Paused {
            continue;
        }
        let at = match record.status {
            Status::Running => Some(u64::MAX),
            Status::WaitingToRetry => record.ready_at.or(Some(0)),
            _ => record.ready_at,
        };
        tasks.push(Waking::of(key, &record.task, at));
    }
    tell(engine, Input::Added { asker, tasks, work: true })?;
    Ok(Reply::Done)
}

// Looking up.

/// The task of an id, or of a prefix that fits one id only.
pub(super) fn find(engine: &Inner, id: &str) -> Result<(TaskKey, Record)> {
    let store = &engine.shared.store;
    if let Some(found) = store.record(id)? {
        return Ok(found);
    }
    let ids = store.ids_with_prefix(id, 3)?;
    match ids.as_slice() {
        [only] => store.record(only)?.ok_or_else(|| Error::UnknownTask(format!("no task `{id}`"))),
        [] => Err(Error::UnknownTask(format!("no task has the id `{id}` or one that begins so: `haul ls` shows all"))),
        [first, second, ..] => {
            Err(Error::UnknownTask(format!("`{id}` fits several tasks, e.g. {first} and {second}: give more of it")))
        }
    }
}

async fn list(engine: &Inner, mut filter: Filter, after: TaskKey) -> Result<Reply> {
    for id in &mut filter.ids {
        *id = find(engine, id)?.1.task.task_id.clone();
    }
    let (found, more) = engine.shared.store.records(&filter, after, PAGE)?;
    let mut records = Vec::with_capacity(found.len());
    for (key, record) in found {
        records.push(record_json(engine, key, record).await?);
    }
    Ok(Reply::Records { records, more })
}

/// One task, in more detail than in a list: how many are ahead of it in the queue.
async fn show(engine: &Inner, id: &str) -> Result<Reply> {
    let (key, record) = find(engine, id)?;
    let position = ready_of(key, &record.task).position;
    let ready = record.status == Status::Enqueued && record.ready_at.is_none();
    let ahead = if ready { engine.shared.store.ahead_of(position, COUNTED)? } else { 0 };
    let conditions = resume_data::conditions(engine, &record).await;
    let is_given_up = record.status.is_final() && record.status != Status::Complete;
    let mut record = record_json(engine, key, record).await?;
    if let (true, Some(end)) = (is_given_up, engine.shared.store.final_update(key)?) {
        let end = json::write_update(&Update::Status(end));
        for reason in ["exception", "responseBody"] {
            if !end[reason].is_null() {
                record[reason] = end[reason].clone();
            }
        }
    }
    if let Some(conditions) = conditions {
        record["resume"] = conditions;
    }
    if let (1.., Some(detail)) = (ahead, record.pointer_mut("/waiting/detail")) {
        let more = if ahead == COUNTED { " or more" } else { "" };
        *detail = format!("{}; {ahead}{more} are ahead of it", detail.as_str().unwrap_or_default()).into();
    }
    Ok(Reply::Records { records: vec![record], more: None })
}

async fn record_json(engine: &Inner, key: TaskKey, mut record: Record) -> Result<serde_json::Value> {
    let live = engine.shared.hub.bytes_of(&record.task.task_id).filter(|_| record.status == Status::Running);
    if let Some((bytes, total)) = live {
        record.bytes_done = record.bytes_done.max(bytes);
        record.expected_file_size = record.expected_file_size.or(total);
    }
    let waiting = why_it_waits(engine, key, &record).await?;
    Ok(json::write_record(&record, waiting.as_ref()))
}

/// Why a task that is not running waits, and until when. `None` for running, paused and final ones.
async fn why_it_waits(engine: &Inner, key: TaskKey, record: &Record) -> Result<Option<Waiting>> {
    let waiting = |reason, until, detail: String| Some(Waiting { reason, until, detail });
    match record.status {
        Status::WaitingToRetry => {
            let full = record.exception.as_ref().is_some_and(|failure| failure.detail == FailureDetail::DiskFull);
            let why = record.exception.as_ref().map_or("", |failure| failure.description.as_str());
            Ok(waiting(if full { "disk" } else { "retry" }, record.ready_at, format!("the last attempt failed: {why}")))
        }
        Status::Enqueued => {
            if record.ready_at == Some(HELD) {
                let detail = "it needs an unmetered network; `haul limits --network unmetered` says that this is one";
                return Ok(waiting("network", None, detail.into()));
            }
            if record.ready_at.is_some_and(|at| at > clock::unix_ms()) {
                return Ok(waiting("not-before", record.ready_at, "its notBefore has not come".into()));
            }
            let (reply, answer) = oneshot::channel();
            tell(engine, Input::Why { ready: ready_of(key, &record.task), reply })?;
            let (reason, detail) = match answer.await.map_err(|_| ended())? {
                None => ("queue", "nobody works the queue: `haul run` does".to_owned()),
                Some(Waits::Offline) => (
                    "network",
                    "there is no network: `haul limits --network unmetered` says when there is one".to_owned(),
                ),
                Some(Waits::Queue(Why::Silence(host, wait))) => {
                    let until = clock::unix_ms() + wait.as_millis() as u64;
                    let detail = format!("{host} has asked for a pause (Retry-After)");
                    return Ok(waiting("retry-after", Some(until), detail));
                }
                Some(Waits::Queue(Why::Interval(ms))) => ("queue", format!("starts are {ms} ms apart")),
                Some(Waits::Queue(Why::Turn)) => ("queue", "it is about to start".to_owned()),
                Some(Waits::Queue(Why::Total(limit))) => ("total-limit", run(limit, "", "the limit")),
                Some(Waits::Queue(Why::Direction(true, limit))) => {
                    ("direction-limit", run(limit, " that send files", "the limit of uploads"))
                }
                Some(Waits::Queue(Why::Direction(false, limit))) => {
                    ("direction-limit", run(limit, " that send no files", "the limit of downloads"))
                }
                Some(Waits::Queue(Why::Host(host, limit))) => {
                    ("host-limit", run(limit, &format!(" of {host}"), "the limit per host"))
                }
                Some(Waits::Queue(Why::Group(group, limit))) => {
                    ("group-limit", run(limit, &format!(" of group {group}"), "its limit"))
                }
            };
            Ok(waiting(reason, None, detail))
        }
        _ => Ok(None),
    }
}

fn run(count: usize, of: &str, limit: &str) -> String {
    match count {
        1 => format!("1 task{of} runs, which is {limit}"),
        _ => format!("{count} tasks{of} run, which is {limit}"),
    }
}

// Control.

/// How tasks are stopped, and what the final update of a cancelled one says.
struct Halt {
    action: Action,
    /// Why, secrets masked.
    reason: Option<String>,
    details: Arc<Details>,
}

impl Halt {
    fn new(action: Action, reason: Option<&str>) -> Self {
        let reason = reason.map(crate::mask::text);
        let text = match &reason {
            Some(reason) => format!("the task was cancelled: {reason}"),
            None => "the task was cancelled".into(),
        };
        let exception = Some(Failure::new(FailureKind::Canceled, text));
        Self { action, reason, details: Arc::new(Details { exception, ..Details::default() }) }
    }
}

async fn control(engine: &Inner, action: Action, select: Selection, reason: Option<String>) -> Result<Reply> {
    let halt = Halt::new(action, reason.as_deref());
    match select {
        Selection::Ids(ids) => {
            let mut changed = Vec::new();
            let mut refused = Vec::new();
            let found: Vec<(TaskKey, Record)> = ids.iter().map(|id| find(engine, id)).collect::<Result<_>>()?;
            match action {
                Action::Pause | Action::Cancel => stop_each(engine, &halt, found, &mut changed, &mut refused).await?,
                Action::Resume | Action::Retry => {
                    start_again(engine, action, found, &mut changed, &mut refused).await?;
                }
            }
            Ok(Reply::Changed { count: changed.len() as u64, changed, refused })
        }
        select if matches!(action, Action::Pause | Action::Cancel) => stop_many(engine, &halt, select).await,
        select => start_many(engine, action, &select).await,
    }
}

async fn stop_each(
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

async fn start_many(engine: &Inner, action: Action, select: &Selection) -> Result<Reply> {
    let statuses: &[Status] = match action {
        Action::Resume => &[Status::Paused],
        _ => &[Status::Failed, Status::NotFound, Status::Canceled, Status::WaitingToRetry],
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
        start_again(engine, action, page, &mut changed, &mut refused).await?;
        count += changed.len().saturating_sub(LISTED) as u64;
        changed.truncate(LISTED);
    }
    Ok(Reply::Changed { count: count + changed.len() as u64, changed, refused })
}

/// Puts paused or final tasks into the queue again, in one commit.
async fn start_again(
    engine: &Inner,
    action: Action,
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
        let change = Change::Requeue { key, ready_at: None, retries_remaining, bytes_done: None, at };
        last = Some(engine.shared.store.write(change));
        waking.push(Waking::of(key, &record.task, None));
        changed.push(id);
    }
    // The writer keeps the order: when the last change is committed, all are.
    if let Some(last) = last {
        last.await?;
    }
    let works = working(engine).await?;
    tell(engine, Input::EndSilence { hosts })?; // who says `retry` means now, whatever the server has asked for
    // A working engine goes on with them at once, whoever asked; an idle one leaves them to `haul run`.
    tell(engine, Input::Added { asker: 0, tasks: waking, work: works.busy > 0 || works.asked > 0 })
}

fn start_refused(engine: &Inner, action: Action, record: &Record) -> Result<Option<String>> {
    let why = match (action, record.status) {
        (_, Status::Complete) => Some("it is complete"),
        (_, Status::Enqueued) => Some("it is enqueued already"),
        (_, Status::Running) => Some("it is running already"),
        (Action::Resume, Status::Canceled | Status::NotFound) => {
            Some("there is nothing to resume: `haul retry` starts it afresh")
        }
        (Action::Retry, Status::Paused) => Some("it is paused: `haul resume` goes on with it"),
        _ => None,
    };
    if let (None, Some(scope)) = (why, &record.task.scope) {
        return Ok(engine.shared.store.canceled_scope(scope)?.map(|scope| scope_is_canceled(&scope)));
    }
    Ok(why.map(str::to_owned))
}

// Forgetting.

async fn remove(engine: &Inner, ids: &[String]) -> Result<Reply> {
    let mut keys = Vec::new();
    for id in ids {
        let (key, record) = find(engine, id)?;
        if !record.status.is_final() {
            let status = record.status.name();
            return Err(Error::Refused(format!("`{id}` is {status}: cancel it first, then remove it")));
        }
        if record.resume.is_some() {
            crate::transfer::remove_stored(&engine.shared, &record);
        }
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let count = keys.len() as u64;
    engine.shared.store.write(Change::Remove { keys }).await?;
    let _ = sweep_spool(&engine.shared).await;
    Ok(Reply::Count(count))
}

async fn clean(engine: &Inner, older_than_ms: u64) -> Result<Reply> {
    let before = clock::unix_ms().saturating_sub(older_than_ms);
    let mut count = 0;
    loop {
        match engine.shared.store.write(Change::Clean { before, limit: 5_000 }).await? {
            Applied::Moved(keys) if keys.is_empty() => {
                let _ = sweep_spool(&engine.shared).await;
                return Ok(Reply::Count(count));
            }
            Applied::Moved(keys) => count += keys.len() as u64,
            other => return Err(unexpected(&other)),
        }
    }
}

// Events.

async fn events(engine: &Inner, after: Option<u64>, consumer: Option<String>) -> Result<Reply> {
    let store = &engine.shared.store;
    let after = match consumer {
        Some(name) => match store.write(Change::Consumer { name }).await? {
            Applied::Position(position) => after.unwrap_or(0).max(position),
            other => return Err(unexpected(&other)),
        },
        None => after.unwrap_or(0),
    };
    let found = store.events_after(after, PAGE)?;
    let last = store.last_seq()?;
    let events = found.into_iter().map(|update| json::write_update(&Update::Status(update))).collect();
    Ok(Reply::Events { events, last })
}

async fn ack(engine: &Inner, consumer: String, seq: u64) -> Result<Reply> {
    if !engine.shared.store.consumers()?.iter().any(|(name, _)| *name == consumer) {
        engine.shared.store.write(Change::Consumer { name: consumer.clone() }).await?;
    }
    match engine.shared.store.write(Change::Ack { consumer, seq }).await? {
        Applied::Position(position) => Ok(Reply::Count(position)),
        Applied::BeyondEnd(last) => Err(Error::Refused(format!("there is no event {seq} yet: the log ends at {last}"))),
        other => Err(unexpected(&other)),
    }
}

// What there is.

async fn info(engine: &Inner) -> Result<Reply> {
    let by_status = engine.shared.store.counts()?;
    let counts: serde_json::Map<String, serde_json::Value> = Status::ALL
        .iter()
        .map(|status| (status.name().to_owned(), by_status.get(*status as usize).copied().unwrap_or(0).into()))
        .collect();
    let limits = engine.limits.lock().unwrap_or_else(std::sync::PoisonError::into_inner).current.queue.clone();
    Ok(Reply::Info(serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "limits": { "total": limits.total, "perHost": limits.per_host, "perGroup": limits.per_group },
        "tasks": counts,
        "running": working(engine).await?.busy,
        "store": engine.shared.store.check()?,
    })))
}
