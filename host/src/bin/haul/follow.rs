//! Follows certain tasks to their end, across the ends of engines: what `get` does after it has added its tasks.
//!
//! Updates tell most of it. What happens between the end of a joined engine, or of a watch that fell behind, and the next
//! one is read from the event log; what is told to nobody (tasks that send no updates) is asked for when it has been quiet
//! for a while.

use std::collections::HashSet;
use std::time::Duration;

use haul::event::StatusUpdate;
use haul::{Batch, Error, Request, Result, Update};
use serde_json::Value;
use tokio::sync::mpsc::Receiver;

use crate::link::Link;
use crate::outcome::Outcome;
use crate::reporter::Reporter;

/// First wait for an update before the records are asked; doubled up to [`QUIET_MAX`].
pub(crate) const QUIET_MIN: Duration = Duration::from_secs(1);
/// Longest wait for an update before the records are asked.
pub(crate) const QUIET_MAX: Duration = Duration::from_secs(16);
/// While more tasks than these are waited for, updates are let gather before they are taken: each that finds nobody awake costs the
/// engine a call of the system.
const FEW: usize = 16;
const GROWTH: Duration = Duration::from_millis(5);
/// Records asked for at once when it is quiet.
const CHECKED: usize = 200;

/// What a record tells of an end that was told before.
const TOLD_AGAIN: [&str; 7] = ["taskId", "group", "status", "filePath", "responseStatusCode", "exception", "notes"];

/// Tasks that are waited for.
pub(crate) struct Following {
    reporter: Reporter,
    /// Ids not ended yet.
    pending: HashSet<String>,
    /// Ids in the order of their addition; those not in `pending` any more have ended.
    order: Vec<String>,
    /// Where the next check of records begins in `order`.
    next_check: usize,
    /// Sequence number of the last update told.
    told: Option<u64>,
    /// All of them, counted.
    batch: Batch,
}

impl Following {
    /// Follows nothing yet.
    pub(crate) fn new(reporter: Reporter) -> Self {
        Self {
            reporter,
            pending: HashSet::new(),
            order: Vec::new(),
            next_check: 0,
            told: None,
            batch: Batch::default(),
        }
    }

    /// Follows one more task, to be called by this URL.
    pub(crate) fn add(&mut self, id: String, url: &str) {
        self.reporter.label(&id, url);
        self.batch.add(id.clone());
        if self.pending.insert(id.clone()) {
            self.order.push(id);
        }
    }

    /// Tells the ends of tasks that were complete before they were followed: what a killed command could not tell.
    pub(crate) async fn ended(&mut self, link: &mut Link, ids: &[String]) -> Result<()> {
        for id in ids {
            let record = link.call_once(Request::Show { id: id.clone() }).await?.record()?;
            if !self.pending.contains(id) {
                continue;
            }
            let mut update = serde_json::json!({"type": "status"});
            for name in TOLD_AGAIN {
                update[name] = record[name].clone();
            }
            self.reporter.print_value(&update);
            if let Some(outcome) = Outcome::of_json(&update).filter(Outcome::is_end) {
                self.end(id, &outcome);
            }
        }
        Ok(())
    }

    /// What tells and counts.
    pub(crate) fn reporter(&mut self) -> &mut Reporter {
        &mut self.reporter
    }

    /// Deals with the updates that have come, without waiting.
    pub(crate) fn drain(&mut self, updates: &mut Receiver<Update>) {
        while self.reporter.printer().has_room()
            && let Ok(update) = updates.try_recv()
        {
            self.take(&update);
        }
        self.reporter.flush();
    }

    #[expect(clippy::disallowed_methods, reason = "the engine's clock is its own; this is dropped with the command")]
    async fn gather(&self) {
        if self.pending.len() > FEW {
            tokio::time::sleep(GROWTH).await;
        }
    }

    /// Waits until all have ended.
    pub(crate) async fn finish(&mut self, link: &mut Link, mut updates: Receiver<Update>) -> Result<()> {
        self.reporter.batch(&self.batch.progress());
        let mut quiet = QUIET_MIN;
        while !self.pending.is_empty() {
            self.reporter.printer().room().await; // who does not read holds up this loop, and nothing else
            match tokio::time::timeout(quiet, updates.recv()).await {
                Ok(Some(update)) => {
                    quiet = QUIET_MIN;
                    self.take(&update);
                    self.drain(&mut updates);
                    self.gather().await;
                }
                Ok(None) => updates = self.rejoin(link).await?,
                Err(_) => {
                    quiet = (quiet * 2).min(QUIET_MAX);
                    match self.check(link, CHECKED).await {
                        Err(Error::HomeLocked(_)) if link.is_joined() => {
                            updates = self.rejoin(link).await?;
                        }
                        checked => checked?,
                    }
                }
            }
        }
        self.reporter.summary(&self.batch.progress());
        self.reporter.flush();
        Ok(())
    }

    /// After the end of the updates: watches again, in a new session if the engine has ended, tells what happened
    /// meanwhile, and has the rest worked.
    pub(crate) async fn rejoin(&mut self, link: &mut Link) -> Result<Receiver<Update>> {
        loop {
            link.updates_ended().await?;
            let updates = link.watch().await?;
            match self.take_over(link).await {
                Ok(()) => return Ok(updates),
                Err(Error::HomeLocked(_)) if link.is_joined() => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn take_over(&mut self, link: &mut Link) -> Result<()> {
        self.catch_up(link).await?;
        self.check(link, usize::MAX).await?;
        if self.pending.is_empty() {
            return Ok(());
        }
        self.order.retain(|id| self.pending.contains(id));
        self.next_check = 0;
        let ids = Some(self.order.clone());
        link.call_once(Request::Work { ids }).await?;
        Ok(())
    }

    /// Reads the event log from the last update told.
    async fn catch_up(&mut self, link: &mut Link) -> Result<()> {
        while let Some(told) = self.told {
            let request = Request::Events { after: Some(told), consumer: None };
            let page = link.call_once(request).await?.events()?;
            if page.is_empty() {
                break;
            }
            self.reporter.printer().room().await;
            for event in &page {
                self.take_value(event);
            }
            if self.told == Some(told) {
                break;
            }
        }
        Ok(())
    }

    /// Looks at the records of up to `limit` pending tasks for ends that nobody told.
    async fn check(&mut self, link: &mut Link, limit: usize) -> Result<()> {
        self.order.retain(|id| self.pending.contains(id));
        let count = self.order.len().min(limit);
        for _ in 0..count {
            self.next_check %= self.order.len();
            let id = self.order[self.next_check].clone();
            self.next_check += 1;
            self.reporter.printer().room().await;
            self.check_one(link, &id).await?;
        }
        self.reporter.flush();
        Ok(())
    }

    async fn check_one(&mut self, link: &mut Link, id: &str) -> Result<()> {
        match link.call_once(Request::Show { id: id.to_owned() }).await {
            Ok(reply) => {
                let outcome = Outcome::of_json(&reply.record()?);
                if let Some(outcome) = outcome.filter(Outcome::is_end) {
                    self.end(id, &outcome);
                }
            }
            Err(Error::UnknownTask(_)) => {
                let mut outcome = Outcome::new(haul::Status::Failed);
                outcome.reason = "somebody removed the task".into();
                self.end(id, &outcome);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn take(&mut self, update: &Update) {
        if !self.pending.contains(update.task_id()) {
            return;
        }
        match update {
            Update::Progress(progress) => {
                self.batch.take(update);
                self.reporter.print_json(update);
                self.reporter.progress(progress);
            }
            Update::Status(status) => {
                if self.told.is_some_and(|told| status.seq <= told) {
                    return;
                }
                self.told = Some(status.seq);
                self.reporter.print_json(update);
                self.take_status(status);
            }
            _ => {}
        }
    }

    fn take_status(&mut self, status: &StatusUpdate) {
        let outcome = Outcome::of_update(status);
        if outcome.is_end() {
            self.end(&status.task_id, &outcome);
        } else {
            self.reporter.status(&status.task_id, &outcome);
        }
    }

    fn take_value(&mut self, event: &Value) {
        self.told = event["seq"].as_u64().max(self.told);
        let Some(id) = event["taskId"].as_str() else {
            return;
        };
        if !self.pending.contains(id) {
            return;
        }
        self.reporter.print_value(event);
        if let Some(outcome) = Outcome::of_json(event).filter(Outcome::is_end) {
            self.end(id, &outcome);
        }
    }

    fn end(&mut self, id: &str, outcome: &Outcome) {
        if self.pending.remove(id) {
            self.reporter.end(id, outcome);
            self.batch.end(id, outcome.status, outcome.size);
            self.reporter.batch(&self.batch.progress());
        }
    }
}
