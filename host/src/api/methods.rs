//! What programs ask of a session, in types: each method makes one [`Request`] and reads its answer. Secrets are masked in
//! whatever is told.
//!
//! All of them fail with [`Error::HomeLocked`] when the session has joined an engine that ends: open another one then.

use serde_json::Value;

use super::{Action, Added, Changed, Request, Session};
use crate::error::{Error, Result};
use crate::event::{StatusUpdate, Update};
use crate::limits::{LimitChanges, Limits};
use crate::store::{Addition, Filter, IfExists, Selection};
use crate::task::{TaskRecord, json};

/// How tasks are added. By default as new ones, whose ids must be free, and they are worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddOptions {
    /// What happens when an id is taken.
    pub if_exists: IfExists,
    /// Go on with an unfinished, failed or not-found task of the same URL, place, directory and given name (or id) instead, where
    /// there is one. Without a place only an id finds one.
    pub continue_same: bool,
    /// Work them for as long as this session lives; otherwise they wait for an engine that works every task.
    pub work: bool,
}

impl Default for AddOptions {
    fn default() -> Self {
        Self { if_exists: IfExists::Reject, continue_same: false, work: true }
    }
}

impl Session {
    /// Adds tasks, all or none, and has them worked for as long as this session lives; answers their ids. It does not wait
    /// for them: [`Session::transmit`] does, and [`Session::watch`] tells of them.
    ///
    /// Errors: [`Error::Invalid`] with everything that is wrong with each task; [`Error::Refused`] where an id is taken or a
    /// scope is cancelled; [`Error::Component`] when a component cannot be loaded or fails at admitting them.
    pub async fn add(&self, tasks: Vec<Addition>) -> Result<Vec<String>> {
        Ok(self.add_with(tasks, AddOptions::default()).await?.ids)
    }

    /// Adds tasks in another way. Errors: as of [`Session::add`].
    pub async fn add_with(&self, tasks: Vec<Addition>, how: AddOptions) -> Result<Added> {
        let AddOptions { if_exists, continue_same, work } = how;
        let twins = Vec::new();
        self.call(Request::Add { tasks, if_exists, continue_same, work, twins }).await?.added()
    }

    /// Sends a request at once, beside the queue and its limits, again as its `retries` allow, and keeps nothing of it
    /// (background_downloader's Request). Answers its final update, whose `seq` is 0; a failure is one too.
    ///
    /// Errors: as of [`Session::add`]; [`Error::Invalid`] for a task that is not of type `Data` or `Request`.
    pub async fn send(&self, request: impl Into<Addition>) -> Result<StatusUpdate> {
        let addition = Box::new(request.into());
        status_update(&self.call(Request::Send { addition }).await?.answered()?)
    }

    /// Stops tasks and keeps their bytes. What cannot be paused is named in the answer.
    ///
    /// Errors: [`Error::UnknownTask`] for an id, or beginning of one, that fits no task or several.
    pub async fn pause(&self, select: impl Into<Selection>) -> Result<Changed> {
        self.control(Action::Pause, select.into(), None).await
    }

    /// Goes on with paused tasks, and with failed and not-found ones where they are selected by their ids; has them worked for as
    /// long as this session lives. Errors: as of [`Session::pause`].
    pub async fn resume(&self, select: impl Into<Selection>) -> Result<Changed> {
        self.control(Action::Resume, select.into(), None).await
    }

    /// Goes on with one download at another URL, such as a link that was signed anew: from the bytes it has where the server
    /// proves that they are of the same version, else from the first. Its mirrors are given up; `headers` take the place of its
    /// own of the same names. Errors: as of [`Session::pause`], and [`Error::Invalid`] for what no task can have.
    pub async fn resume_at(&self, id: &str, url: &str, headers: crate::task::Pairs) -> Result<Changed> {
        let request = Request::ResumeAt { id: id.to_owned(), url: url.to_owned(), headers, work: true };
        self.call(request).await?.changed()
    }

    /// Ends tasks for good and removes their bytes; a scope takes no further tasks then. `reason` is told in their final
    /// updates. Errors: as of [`Session::pause`].
    pub async fn cancel(&self, select: impl Into<Selection>, reason: Option<&str>) -> Result<Changed> {
        self.control(Action::Cancel, select.into(), reason.map(str::to_owned)).await
    }

    /// Tries failed and not-found tasks again, and waiting ones at once; canceled ones where they are selected by their ids. Has
    /// them worked for as long as this session lives. Errors: as of [`Session::pause`].
    pub async fn retry(&self, select: impl Into<Selection>) -> Result<Changed> {
        self.control(Action::Retry, select.into(), None).await
    }

    async fn control(&self, action: Action, select: Selection, reason: Option<String>) -> Result<Changed> {
        self.call(Request::Control { action, select, reason, work: true }).await?.changed()
    }

    /// The record of one task, by id or a unique beginning of one, with why it waits.
    ///
    /// Errors: [`Error::UnknownTask`].
    pub async fn show(&self, id: &str) -> Result<TaskRecord> {
        record(&self.call(Request::Show { id: id.to_owned() }).await?.record()?)
    }

    /// The records of all tasks that fit, in order of addition.
    ///
    /// Errors: [`Error::UnknownTask`] for an id of the filter that fits no task or several.
    pub async fn tasks(&self, filter: Filter) -> Result<Vec<TaskRecord>> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let (records, more) = self.call(Request::List { filter: filter.clone(), after }).await?.records()?;
            for json in &records {
                all.push(record(json)?);
            }
            match more {
                Some(last) => after = last,
                None => return Ok(all),
            }
        }
    }

    /// Forgets final tasks, by ids or unique beginnings of them; answers how many. Their files stay.
    ///
    /// Errors: [`Error::UnknownTask`]; [`Error::Refused`] when one of them is not final: then none is forgotten.
    pub async fn remove(&self, ids: &[&str]) -> Result<u64> {
        let ids = ids.iter().map(|id| String::from(*id)).collect();
        self.call(Request::Remove { ids }).await?.count()
    }

    /// The limits that count at present.
    pub async fn limits(&self) -> Result<Limits> {
        self.change_limits(LimitChanges::default()).await
    }

    /// Changes limits, now and for as long as the home lives; answers those that count then.
    pub async fn change_limits(&self, changes: LimitChanges) -> Result<Limits> {
        let changes = Box::new(changes);
        let told = self.call(Request::Limits { changes, reset: false }).await?.info()?;
        let current: LimitChanges = serde_json::from_value(told["current"].clone())
            .map_err(|error| Error::Other(format!("the engine's limits cannot be read: {error}")))?;
        let mut limits = Limits::default();
        limits.apply(&current);
        Ok(limits)
    }

    /// Changes of status after those that this consumer has acknowledged, from the durable log: at most 1,000, oldest first;
    /// none when there are no more. The first call makes the consumer known: from then on, what it has not acknowledged is
    /// kept.
    pub async fn events(&self, consumer: &str) -> Result<Vec<StatusUpdate>> {
        let request = Request::Events { after: None, consumer: Some(consumer.to_owned()) };
        self.call(request).await?.events()?.iter().map(status_update).collect()
    }

    /// A consumer is done with the events up to this one (its `seq`); answers its position, which never goes back.
    ///
    /// Errors: [`Error::Refused`] for a number that the log has not come to.
    pub async fn acknowledge(&self, consumer: &str, seq: u64) -> Result<u64> {
        self.call(Request::Ack { consumer: consumer.to_owned(), seq }).await?.count()
    }
}

fn record(told: &Value) -> Result<TaskRecord> {
    json::read_record(told).ok_or_else(|| unreadable("record"))
}

fn status_update(told: &Value) -> Result<StatusUpdate> {
    match json::read_update(told) {
        Some(Update::Status(update)) => Ok(update),
        _ => Err(unreadable("status update")),
    }
}

fn unreadable(what: &str) -> Error {
    Error::Other(format!("the engine's {what} cannot be read; use one version of haul for both"))
}
