//! Tasks by id, in lists and in detail, and why each of them waits. Changes nothing.

use tokio::sync::oneshot;

use super::{PAGE, ended, tell};
use crate::api::Reply;
use crate::clock;
use crate::config::written_ms;
use crate::engine::input::Waits;
use crate::engine::machine::ready_of;
use crate::engine::{Inner, Input, resume_data};
use crate::error::{Error, FailureDetail, Result};
use crate::event::Update;
use crate::scheduler::{Ready, Why};
use crate::store::{Filter, HELD, TaskKey};
use crate::task::{Record, Status, Waiting, json};

/// Tasks counted, at most, that are ahead of one.
const COUNTED: usize = 10_000;

/// What a task waits for whose credentials are being refreshed.
const AUTH: &str = "auth";

/// The task of an id, or of a prefix that fits one id only.
pub(in crate::engine) fn find(engine: &Inner, id: &str) -> Result<(TaskKey, Record)> {
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

pub(super) async fn list(engine: &Inner, mut filter: Filter, after: TaskKey) -> Result<Reply> {
    for id in &mut filter.ids {
        *id = find(engine, id)?.1.task.task_id.clone();
    }
    let (found, more) = engine.shared.store.records(&filter, after, PAGE)?;
    let records = records_json(engine, found).await?;
    Ok(Reply::Records { records, more })
}

/// One task, in more detail than in a list: how many are ahead of it in the queue.
pub(super) async fn show(engine: &Inner, id: &str) -> Result<Reply> {
    let (key, record) = find(engine, id)?;
    let position = ready_of(key, &record.task).position;
    let ready = record.status == Status::Enqueued && record.ready_at.is_none();
    let ahead = if ready { engine.shared.store.ahead_of(position, COUNTED)? } else { 0 };
    let outlook = match record.status {
        Status::Running => None,
        _ => resume_data::outlook(engine, &record).await,
    };
    let is_given_up = record.status.is_final() && record.status != Status::Complete;
    let mut record = records_json(engine, vec![(key, record)]).await?.pop().unwrap_or_default();
    if let (true, Some(end)) = (is_given_up, engine.shared.store.final_update(key)?) {
        let end = json::write_update(&Update::Status(end));
        for reason in ["exception", "responseBody"] {
            if !end[reason].is_null() {
                record[reason] = end[reason].clone();
            }
        }
    }
    if let Some(outlook) = outlook {
        record["resume"] = outlook.json;
    }
    let has_begun = record["waiting"]["reason"] == AUTH;
    if let (1.., Some(detail)) = (ahead, record.pointer_mut("/waiting/detail").filter(|_| !has_begun)) {
        let more = if ahead == COUNTED { " or more" } else { "" };
        let verb = if ahead == 1 { "is" } else { "are" };
        *detail = format!("{}; {ahead}{more} {verb} ahead of it", detail.as_str().unwrap_or_default()).into();
    }
    Ok(Reply::Records { records: vec![record], more: None })
}

/// Records as they are told, with why those wait that do. The loop is asked once for all of them: each question costs it a round.
async fn records_json(engine: &Inner, found: Vec<(TaskKey, Record)>) -> Result<Vec<serde_json::Value>> {
    let now = clock::unix_ms();
    let in_queue = found.iter().filter(|(_, record)| is_in_queue(record, now));
    let tasks: Vec<Ready> = in_queue.map(|(key, record)| ready_of(*key, &record.task)).collect();
    let (reply, answer) = oneshot::channel();
    let mut waits = Vec::new().into_iter();
    if !tasks.is_empty() {
        tell(engine, Input::Why { tasks, reply })?;
        waits = answer.await.map_err(|_| ended())?.into_iter();
    }
    let mut json = Vec::with_capacity(found.len());
    for (_, mut record) in found {
        let can_resume = resume_data::outlook(engine, &record).await.is_some_and(|outlook| outlook.goes_on);
        let live = engine.shared.hub.bytes_of(&record.task.task_id).filter(|_| record.status == Status::Running);
        if let Some((bytes, total)) = live {
            record.bytes_done = record.bytes_done.max(bytes);
            record.expected_file_size = record.expected_file_size.or(total);
        }
        let waits = if is_in_queue(&record, now) { waits.next().flatten() } else { None };
        let waiting = waits_for_credentials(engine, &record).or_else(|| why_it_waits(&record, waits, now));
        json.push(json::write_record(&record, waiting.as_ref(), can_resume));
    }
    Ok(json)
}

/// A task that has a place among those that run, and sends nothing before its credentials are fresh.
fn waits_for_credentials(engine: &Inner, record: &Record) -> Option<Waiting> {
    let flights = &engine.shared.flights;
    let waits = record.task.auth.is_some() && flights.are_waited_for_by(&record.task.task_id);
    waits.then(|| Waiting { reason: AUTH.into(), until: None, detail: "its access token is being refreshed".into() })
}

/// Whether the scheduler has to say why it waits.
fn is_in_queue(record: &Record, now: u64) -> bool {
    record.status == Status::Enqueued && record.ready_at.is_none_or(|at| at <= now)
}

/// Why a task that is not running waits, and until when. `None` for running, paused and final ones. `waits` is what the
/// scheduler says; `None`: nobody works the queue.
fn why_it_waits(record: &Record, waits: Option<Waits>, now: u64) -> Option<Waiting> {
    let waiting = |reason: &str, until, detail| Some(Waiting { reason: reason.into(), until, detail });
    match record.status {
        Status::WaitingToRetry => {
            let full = record.exception.as_ref().is_some_and(|failure| failure.detail == FailureDetail::DiskFull);
            let why = record.exception.as_ref().map_or("", |failure| failure.description.as_str());
            waiting(if full { "disk" } else { "retry" }, record.ready_at, format!("the last attempt failed: {why}"))
        }
        Status::Enqueued => {
            if record.ready_at == Some(HELD) {
                let detail = "it needs an unmetered network; `haul limits --network unmetered` says that this is one";
                return waiting("network", None, detail.to_owned());
            }
            if record.ready_at.is_some_and(|at| at > now) {
                return waiting("not-before", record.ready_at, "its notBefore has not come".into());
            }
            let (reason, detail) = match waits {
                None => ("queue", "nobody works the queue: `haul run` does".to_owned()),
                Some(Waits::Offline) => (
                    "network",
                    "there is no network: `haul limits --network unmetered` says when there is one".to_owned(),
                ),
                Some(Waits::Queue(Why::Silence(host, wait))) => {
                    let detail = format!("{host} has asked for a pause (Retry-After)");
                    return waiting("retry-after", Some(now + wait.as_millis() as u64), detail);
                }
                Some(Waits::Queue(Why::Interval(ms, wait))) => {
                    let detail = format!("starts are {} apart", written_ms(ms));
                    return waiting("min-interval", Some(now + wait.as_millis() as u64), detail);
                }
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
            waiting(reason, None, detail)
        }
        _ => None,
    }
}

fn run(count: usize, of: &str, limit: &str) -> String {
    match count {
        1 => format!("1 task{} runs, which is {limit}", of.replace("that send ", "that sends ")),
        _ => format!("{count} tasks{of} run, which is {limit}"),
    }
}
