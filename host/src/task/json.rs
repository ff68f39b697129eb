//! The JSON form of tasks, records and updates: the interface's names, background_downloader's values understood.
//!
//! Reading is lenient in form (numbers for enums, doubles for whole numbers, lists inside strings where background_downloader
//! has them) and strict in names: a key that means nothing is a problem. Writing is exact: [`read`] of [`write()`] gives the
//! task again. Values are not judged here; the `admit` hook does that.

mod base64;
mod read;
mod update;
mod write;

#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::event::Update;
use crate::task::{Problem, Record, Status, Task, TaskRecord, Waiting};

/// What the caller of [`read`] wants for fields that the JSON does not give.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// The task to start from. [`Task::default`] for task JSON.
    pub task: Task,
    /// What `+DUR` in a time counts from, in milliseconds since 1970.
    pub now_ms: u64,
}

/// Reads one task. Answers every problem at once: unknown keys, wrong types, unknown names. Does not validate values.
///
/// `null` stands for a field that is not given. A uri task for `file:` URIs becomes a plain one below the base directory
/// `root`. `retriesRemaining`, when not given, is `retries`.
pub fn read(json: &Value, defaults: &Defaults) -> Result<Task, Vec<Problem>> {
    let (task, problems) = read_as_far(json, defaults);
    if problems.is_empty() { Ok(task) } else { Err(problems) }
}

/// Reads one task as far as it can be read, and all that is wrong with the rest: for who wants to judge the values of a task
/// with problems too. Fields that cannot be read are as `defaults` has them; a problem with the field `task` means that
/// nothing could be read.
pub fn read_as_far(json: &Value, defaults: &Defaults) -> (Task, Vec<Problem>) {
    read::task(json, defaults)
}

/// The status that a record (`status`) or an update (`taskStatus`) has beside its task, by name or background_downloader's number
/// (A.16), or the special `progress` of an update that has neither (A.10). [`read`] takes no notice of it.
pub fn status_of(document: &Value) -> Option<Status> {
    read::status_of(document)
}

/// The object that has a task's fields: updates and resume data of background_downloader have it in `task`, records are it.
pub fn task_in(document: &Value) -> &Value {
    document.get("task").filter(|task| task.is_object()).unwrap_or(document)
}

/// Whether a key of a task's object means something, or is known to mean nothing here.
pub(crate) fn is_known(key: &str) -> bool {
    read::is_known(key)
}

/// Writes a task; with `masked`, secrets read `***`.
///
/// The fields of background_downloader's JSON are always there, haul's own where they differ from [`Task::default`].
pub fn write(task: &Task, masked: bool) -> Value {
    Value::Object(write::task(task, masked, true))
}

/// Writes only what differs from [`Task::default`], unmasked: a small form for storing and sending, which [`read`] reads.
pub fn write_short(task: &Task) -> Value {
    Value::Object(write::task(task, false, false))
}

/// Writes a record as `ls --json` and `show --json` print it: secrets masked. `can_resume`: its next attempt would go on from
/// the bytes that are stored.
pub(crate) fn write_record(record: &Record, waiting: Option<&Waiting>, can_resume: bool) -> Value {
    write::record(record, waiting, can_resume)
}

/// Reads a record as `ls --json` and `show --json` print it; `None` when it is none. Members that are not known are passed
/// over.
pub fn read_record(json: &Value) -> Option<TaskRecord> {
    update::read_record(json)
}

/// Writes an update as `--json`, the event log and SSE carry it: secrets masked.
pub fn write_update(update: &Update) -> Value {
    update::write(update)
}

/// Reads what [`write_update`] wrote; `None` when it is no update. Headers of one name come back as one, joined
/// by `, `, and details that say nothing as `None`.
pub fn read_update(json: &Value) -> Option<Update> {
    update::read(json)
}

/// Milliseconds since 1970 as RFC 3339 UTC with milliseconds.
pub fn time(ms: u64) -> String {
    crate::config::write_time(ms)
}
