//! Requests: what only reads is answered on the caller's thread; what changes tasks is checked there and handed to the loop
//! or the store. This is the list of them, and those that are answered in a few lines.

mod adding;
mod admitting;
mod consuming;
mod controlling;
mod forgetting;
mod looking_up;

use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

pub(super) use self::adding::store_added;
pub(super) use self::admitting::admit;
pub(super) use self::looking_up::find;
use crate::api::{Reply, Request};
use crate::engine::attachments::{self, NewAttachment};
use crate::engine::input::{Waking, Working};
use crate::engine::limiting::{check_scope, limit_task, limits, reopen_scope, scopes};
use crate::engine::{Inner, Input};
use crate::engine::{at_once, component_state, resume_data};
use crate::error::{Error, Result};
use crate::store::{Applied, Change, Selection};
use crate::task::Status;

/// The consumer that stands for components with `on-task-finished`.
pub(crate) const COMPONENTS: &str = "haul.on-task-finished";
/// Records and events of one answer.
const PAGE: usize = 1_000;

/// Answers a request.
pub(super) async fn answer(engine: &Inner, asker: u64, request: Request) -> Result<Reply> {
    may_be_answered(engine, &request).await?;
    match request {
        Request::Add { tasks, if_exists, continue_same: false, work, .. } => {
            adding::add(engine, asker, tasks, if_exists, None, work).await
        }
        Request::Add { tasks, if_exists, continue_same: true, work, twins } => {
            adding::add(engine, asker, tasks, if_exists, Some(&twins), work).await
        }
        Request::Send { addition } => at_once::send(engine, *addition).await,
        Request::Probe { addition, unique } => at_once::probe(engine, *addition, unique).await,
        Request::Check { tasks, if_exists, told } => admitting::check(engine, tasks, if_exists, told).await,
        Request::Work { ids } => {
            engine.load_components().await?;
            engine.tell_people().await?;
            ids.map_or_else(|| work_all(engine, asker), |ids| work(engine, asker, &ids))
        }
        Request::Told { ids } => {
            engine.shared.store.write(Change::Asked { ids, asked: false }).await?;
            Ok(Reply::Done)
        }
        Request::Control { action, select, reason, work } => {
            controlling::control(engine, action, select, reason, work.then_some(asker)).await
        }
        Request::ResumeAt { id, url, headers, work } => {
            controlling::resume_at(engine, &id, (url, headers), work.then_some(asker)).await
        }
        Request::List { filter, after } => looking_up::list(engine, filter, after).await,
        Request::Show { id } => looking_up::show(engine, &id).await,
        Request::ExportResume { id, with_secrets } => resume_data::export(engine, &id, with_secrets).await,
        Request::ImportResume { document, url, headers, place, part_file } => {
            resume_data::import(engine, document, (url, headers), place, part_file).await
        }
        Request::Remove { ids } => forgetting::remove(engine, &ids).await,
        Request::Clean { older_than_ms } => forgetting::clean(engine, older_than_ms).await,
        Request::Events { after, consumer } => consuming::events(engine, after, consumer).await,
        Request::Ack { consumer, seq } => consuming::ack(engine, consumer, seq).await,
        Request::Consumers => consuming::list(engine),
        Request::ForgetConsumer { name } => consuming::forget(engine, name).await,
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

/// Whether the engine is fit to answer it. Who only reads is told where it is fit for no more.
async fn may_be_answered(engine: &Inner, request: &Request) -> Result<()> {
    if let Some(error) = engine.shared.broken.get() {
        return Err(error.clone());
    }
    if let Some(scope) = scope_of(request) {
        check_scope(scope)?;
    }
    if only_reads(request) {
        engine.say_why_unready();
        return Ok(());
    }
    engine.ready().await
}

/// Whether it can be answered where nothing can be written.
fn only_reads(request: &Request) -> bool {
    match request {
        Request::List { .. }
        | Request::Show { .. }
        | Request::ExportResume { .. }
        | Request::Events { .. }
        | Request::Consumers
        | Request::Counts
        | Request::Scopes
        | Request::Attached
        | Request::State { .. }
        | Request::Info => true,
        Request::Limits { changes, reset } => changes.is_empty() && !reset,
        _ => false,
    }
}

/// The scope whose tasks are meant.
fn scope_of(request: &Request) -> Option<&str> {
    match request {
        Request::Control { select: Selection::Scope(name), .. } => Some(name),
        Request::List { filter, .. } => filter.scope.as_deref(),
        _ => None,
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

fn unexpected(applied: &Applied) -> Error {
    Error::Other(format!("the store answered {applied:?}"))
}

fn work_all(engine: &Inner, asker: u64) -> Result<Reply> {
    engine.shared.works_all.store(true, Ordering::Relaxed);
    tell(engine, Input::WorkAll { asker })?;
    Ok(Reply::Done)
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
        "leftAlone": engine.shared.components.left_alone(),
    })))
}
