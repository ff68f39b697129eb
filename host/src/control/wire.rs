//! The messages of the control socket as JSON, one object a line, without loss.
//!
//! A client sends `{"n":1,"request":{…}}` or `{"n":1,"watch":true}`; it gets `{"n":1,"reply":{…}}` or `{"n":1,"error":{…}}`
//! with its number, and after `watch` any number of `{"update":{…}}`, after `silent` of `{"silent":{…}}`: what tasks
//! become that send no updates of it. The forms below mirror [`crate::api`]: what is added
//! there does not compile until it is added here.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::Value;

use crate::api::{Action, Reply, Request};
use crate::error::Error;
use crate::limits::LimitChanges;
use crate::store::{Addition, Filter, IfExists, Selection};
use crate::task::{Pairs, Problem, Status, Task, json};

/// Changes whenever an older process could misunderstand a newer one.
pub(super) const PROTOCOL: u32 = 1;

/// The first line of either side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    /// Version of the program.
    pub(super) haul: String,
    pub(super) protocol: u32,
    pub(super) pid: u32,
    /// An engine's: it is there to work tasks, and not only to answer one command.
    #[serde(default = "yes")]
    pub(super) works: bool,
}

impl Hello {
    /// This process's.
    pub(super) fn own(works: bool) -> Self {
        Self { haul: env!("CARGO_PKG_VERSION").into(), protocol: PROTOCOL, pid: std::process::id(), works }
    }
}

fn yes() -> bool {
    true
}

/// What a client sends: one of the three.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Question {
    /// Chosen by the client; the answer has the same.
    pub(super) n: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<Requested>,
    /// Send updates from now on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) watch: bool,
    /// Send from now on what becomes of tasks that send no updates of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) silent: bool,
}

/// A request that serde can handle.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Requested(#[serde(with = "RequestForm")] pub(super) Request);

/// What an engine sends.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Answer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) n: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reply: Option<Replied>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<ErrorForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) update: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) silent: Option<Value>,
}

/// A reply that serde can handle.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Replied(#[serde(with = "ReplyForm")] pub(super) Reply);

/// One line, with its line feed. Fails where a path is not UTF-8.
pub(super) fn line(message: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut line = serde_json::to_vec(message).map_err(|error| Error::Refused(error.to_string()))?;
    line.push(b'\n');
    Ok(line)
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Request", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum RequestForm {
    Add {
        #[serde(with = "additions")]
        tasks: Vec<Addition>,
        #[serde(with = "IfExistsForm")]
        if_exists: IfExists,
        continue_same: bool,
        work: bool,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        twins: Vec<usize>,
    },
    Check {
        #[serde(with = "additions")]
        tasks: Vec<Addition>,
        #[serde(with = "IfExistsForm")]
        if_exists: IfExists,
        told: bool,
    },
    Send {
        #[serde(with = "addition")]
        addition: Box<Addition>,
    },
    Probe {
        #[serde(with = "addition")]
        addition: Box<Addition>,
        unique: bool,
    },
    Work {
        ids: Option<Vec<String>>,
    },
    Told {
        ids: Vec<String>,
    },
    Control {
        #[serde(with = "ActionForm")]
        action: Action,
        #[serde(with = "SelectionForm")]
        select: Selection,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default)]
        work: bool,
    },
    ResumeAt {
        id: String,
        url: String,
        headers: Pairs,
        work: bool,
    },
    List {
        #[serde(with = "FilterForm")]
        filter: Filter,
        after: i64,
    },
    Show {
        id: String,
    },
    ExportResume {
        id: String,
        with_secrets: bool,
    },
    ImportResume {
        document: Value,
        url: Option<String>,
        #[serde(default)]
        headers: Pairs,
        place: Option<std::path::PathBuf>,
        part_file: Option<std::path::PathBuf>,
    },
    Remove {
        ids: Vec<String>,
    },
    Clean {
        older_than_ms: u64,
    },
    Events {
        after: Option<u64>,
        consumer: Option<String>,
    },
    Ack {
        consumer: String,
        seq: u64,
    },
    Consumers,
    ForgetConsumer {
        name: String,
    },
    Counts,
    Limits {
        changes: Box<LimitChanges>,
        reset: bool,
    },
    LimitTask {
        id: String,
        limit_rate: Option<u64>,
    },
    Scopes,
    ReopenScope {
        name: String,
    },
    Attach {
        path: std::path::PathBuf,
        name: String,
        group: Option<String>,
        allow_hosts: Vec<String>,
        config: Pairs,
    },
    Detach {
        name: String,
        group: Option<String>,
    },
    RollBack {
        name: String,
        group: Option<String>,
        to: Option<String>,
    },
    Attached,
    State {
        owner: Option<String>,
    },
    ForgetState {
        owner: String,
        bucket: Option<String>,
        key: Option<String>,
    },
    Info,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Action", rename_all = "camelCase")]
enum ActionForm {
    Pause,
    Resume,
    Cancel,
    Retry,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "IfExists", rename_all = "camelCase")]
enum IfExistsForm {
    Reject,
    ReturnExisting,
    Replace,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Selection", rename_all = "camelCase")]
enum SelectionForm {
    Ids(Vec<String>),
    Group(String),
    Scope(String),
    All,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Filter", rename_all = "camelCase")]
struct FilterForm {
    #[serde(with = "statuses")]
    statuses: Vec<Status>,
    group: Option<String>,
    scope: Option<String>,
    ids: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Reply", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum ReplyForm {
    Done,
    Added { ids: Vec<String>, ended: Vec<String> },
    Answered(Value),
    Probed { status: Option<u16>, expected_file_size: Option<u64>, filename: String, why: Option<String> },
    Changed { count: u64, changed: Vec<String>, refused: Vec<(String, String)> },
    Records { records: Vec<Value>, more: Option<i64> },
    Events { events: Vec<Value>, last: u64 },
    ResumeData(Value),
    Count(u64),
    Counts { by_status: [u64; 8], working: u64 },
    Info(Value),
}

/// Tasks in their short form, with the place granted for each.
mod additions {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Form {
        task: Value,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<String>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        paused: bool,
    }

    pub(super) fn serialize<S: Serializer>(tasks: &[Addition], out: S) -> Result<S::Ok, S::Error> {
        let forms: Result<Vec<Form>, S::Error> = tasks.iter().map(form).collect();
        out.collect_seq(forms?)
    }

    fn form<E: ser::Error>(addition: &Addition) -> Result<Form, E> {
        let place = addition.place.as_ref().map(|place| {
            place.to_str().map(String::from).ok_or_else(|| {
                E::custom(format!(
                    "the directory `{}` is not UTF-8: another haul process works this home, and cannot be told of it",
                    place.display()
                ))
            })
        });
        Ok(Form { task: json::write_short(&addition.task), place: place.transpose()?, paused: addition.paused })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Addition>, D::Error> {
        let forms = Vec::<Form>::deserialize(input)?.into_iter();
        forms
            .map(|form| {
                let task = super::task::read(&form.task)?;
                Ok(Addition { task, place: form.place.map(Into::into), paused: form.paused })
            })
            .collect()
    }
}

/// One of [`additions`].
mod addition {
    use super::*;

    pub(super) fn serialize<S: Serializer>(addition: &Addition, out: S) -> Result<S::Ok, S::Error> {
        additions::serialize(std::slice::from_ref(addition), out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Box<Addition>, D::Error> {
        let mut all = additions::deserialize(input)?;
        all.pop().map(Box::new).ok_or_else(|| de::Error::custom("no task"))
    }
}

/// A task in its short form.
mod task {
    use super::*;

    pub(super) fn read<E: de::Error>(form: &Value) -> Result<Task, E> {
        json::read(form, &json::Defaults::default()).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(Problem::to_string).collect();
            E::custom(problems.join(", "))
        })
    }
}

/// Statuses by their names.
mod statuses {
    use super::*;

    pub(super) fn serialize<S: Serializer>(statuses: &[Status], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(statuses.iter().map(|status| status.name()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Status>, D::Error> {
        let names = Vec::<String>::deserialize(input)?.into_iter();
        names.map(|name| Status::from_name(&name).ok_or_else(|| de::Error::custom("no such status"))).collect()
    }
}

/// An error with its kind, so that it has the same exit code on the other side.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ErrorForm {
    kind: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    text: String,
    /// Of `invalid` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tasks: Vec<InvalidTask>,
}

#[derive(Debug, Serialize, Deserialize)]
struct InvalidTask {
    index: usize,
    /// Field and reason.
    problems: Vec<(String, String)>,
}

impl From<Error> for ErrorForm {
    fn from(error: Error) -> Self {
        let (kind, text) = match error {
            Error::Invalid(tasks) => {
                let tasks = tasks.into_iter().map(|(index, problems)| InvalidTask {
                    index,
                    problems: problems.into_iter().map(|problem| (problem.field, problem.reason)).collect(),
                });
                return Self { kind: "invalid".into(), text: String::new(), tasks: tasks.collect() };
            }
            Error::UnknownTask(text) => ("unknownTask", text),
            Error::Refused(text) => ("refused", text),
            Error::HomeLocked(text) => ("homeLocked", text),
            Error::DatabaseLocked(text) => ("databaseLocked", text),
            Error::Damaged(text) => ("damaged", text),
            Error::Component(text) => ("component", text),
            Error::FileSystem(text) => ("fileSystem", text),
            Error::Usage(text) => ("usage", text),
            Error::Other(text) => ("other", text),
        };
        Self { kind: kind.into(), text, tasks: Vec::new() }
    }
}

impl From<ErrorForm> for Error {
    fn from(form: ErrorForm) -> Self {
        let text = form.text;
        match form.kind.as_str() {
            "invalid" => {
                let tasks = form.tasks.into_iter().map(|task| {
                    let problems = task.problems.into_iter();
                    let problems = problems.map(|(field, reason)| Problem { field, reason });
                    (task.index, problems.collect())
                });
                Error::Invalid(tasks.collect())
            }
            "unknownTask" => Error::UnknownTask(text),
            "refused" => Error::Refused(text),
            "homeLocked" => Error::HomeLocked(text),
            "databaseLocked" => Error::DatabaseLocked(text),
            "damaged" => Error::Damaged(text),
            "component" => Error::Component(text),
            "fileSystem" => Error::FileSystem(text),
            "usage" => Error::Usage(text),
            _ => Error::Other(text),
        }
    }
}
