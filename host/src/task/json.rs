//! The JSON form of tasks, records and updates: the interface's names, background_downloader's values understood.

use serde_json::Value;

use crate::event::Update;
use crate::task::{Problem, Record, Task, Waiting};

/// What the caller of [`read`] wants for fields that the JSON does not give.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// The task to start from. [`Task::default`] for task JSON.
    pub task: Task,
}

/// Reads one task. Answers every problem at once: unknown keys, wrong types, unknown names. Does not validate values.
pub fn read(_json: &Value, _defaults: &Defaults) -> Result<Task, Vec<Problem>> {
    todo!()
}

/// Writes a task; with `masked`, secrets read `***`.
pub fn write(_task: &Task, _masked: bool) -> Value {
    todo!()
}

/// Writes a record as `ls --json` and `show --json` print it: secrets masked.
pub fn write_record(_record: &Record, _waiting: Option<&Waiting>) -> Value {
    todo!()
}

/// Writes an update as `--json`, the event log and SSE carry it: secrets masked.
pub fn write_update(_update: &Update) -> Value {
    todo!()
}

/// Milliseconds since 1970 as RFC 3339 UTC with milliseconds.
pub fn time(_ms: u64) -> String {
    todo!()
}
