//! Adds tasks and waits for their ends: background_downloader's `download`, `upload`, `transmit` and their batches (B.17), on
//! any session. Everything it does, a program can do with [`Session::call`] and [`Session::watch`] too.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use crate::api::{Reply, Request, Session};
use crate::batch::{Batch, BatchProgress};
use crate::clock;
use crate::error::{Error, Result};
use crate::event::Update;
use crate::store::{Addition, IfExists};
use crate::task::Status;

/// How often records are asked: tasks whose `updates` are `none` or `progress` tell nobody of their ends.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What is told while tasks are waited for.
#[derive(Debug)]
pub enum Told<'a> {
    /// An update of one of the tasks.
    Update(&'a Update),
    /// Time passes: so long since the beginning. Ends with the last task.
    Elapsed(Duration),
    /// How far all of them have come: first with nothing done, then each time one has ended.
    Batch(BatchProgress),
}

impl Session {
    /// Adds tasks, has them worked, and waits until all are final or paused. Answers their records (as `show` has them), in
    /// the order of the tasks. `every`: how often [`Told::Elapsed`] is told (background_downloader: 5 s); zero: never.
    ///
    /// Errors: what [`Request::Add`] says; [`Error::HomeLocked`] when a joined engine ends before the tasks do.
    pub async fn transmit(
        &self,
        tasks: Vec<Addition>,
        every: Duration,
        mut tell: impl FnMut(Told<'_>),
    ) -> Result<Vec<Value>> {
        let mut updates = self.watch().await?;
        let add = Request::Add { tasks, if_exists: IfExists::Reject, continue_same: false, work: true };
        let Reply::Added { ids, .. } = self.call(add).await? else { return Err(unexpected()) };
        let begun = clock::timer_now();
        let mut ended: HashMap<String, Value> = HashMap::new();
        let mut batch = Batch::default();
        for id in &ids {
            batch.add(id.clone());
        }
        tell(Told::Batch(batch.progress()));
        let mut look_at = begun + LOOK_AGAIN;
        let mut tick_at = begun + every;
        while ended.len() < ids.len() {
            let next = if every.is_zero() { look_at } else { look_at.min(tick_at) };
            let mut due = Vec::new();
            tokio::select! {
                update = updates.recv() => {
                    let update = update.ok_or_else(|| Error::HomeLocked("the engine has ended".into()))?;
                    if ids.iter().any(|id| id == update.task_id()) {
                        tell(Told::Update(&update));
                        match &update {
                            Update::Status(status) => due.push(status.task_id.clone()),
                            Update::Progress(_) => drop(batch.take(&update)),
                        }
                    }
                }
                () = clock::sleep_until(next) => {
                    let now = clock::timer_now();
                    if now >= look_at {
                        look_at = now + LOOK_AGAIN;
                        due.extend(ids.iter().filter(|id| !ended.contains_key(*id)).cloned());
                    }
                    if !every.is_zero() && now >= tick_at {
                        tick_at += every;
                        tell(Told::Elapsed(now - begun));
                    }
                }
            }
            for id in due {
                self.look(&id, &mut ended, &mut batch, &mut tell).await?;
            }
        }
        Ok(ids.iter().filter_map(|id| ended.remove(id)).collect())
    }

    /// Keeps the record of a task that has ended.
    async fn look(
        &self,
        id: &str,
        ended: &mut HashMap<String, Value>,
        batch: &mut Batch,
        tell: &mut impl FnMut(Told<'_>),
    ) -> Result<()> {
        let Reply::Records { mut records, .. } = self.call(Request::Show { id: id.into() }).await? else {
            return Err(unexpected());
        };
        let Some(record) = records.pop().filter(|_| !ended.contains_key(id)) else { return Ok(()) };
        let status = record["status"].as_str().and_then(Status::from_name);
        if let Some(status) = status.filter(|status| status.is_final() || *status == Status::Paused) {
            if status.is_final() {
                batch.end(id, status, record["bytesDone"].as_u64());
            }
            ended.insert(id.into(), record);
            tell(Told::Batch(batch.progress()));
        }
        Ok(())
    }
}

fn unexpected() -> Error {
    Error::Other("the engine gave an answer that does not fit".into())
}
