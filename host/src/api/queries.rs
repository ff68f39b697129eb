//! Questions about all tasks, by background_downloader's names, and batches: made of [`Request`]s, nothing but a convenience.

use serde_json::Value;

use super::{Reply, Request, Session};
use crate::batch::{Batch, BatchProgress};
use crate::error::{Error, Result};
use crate::store::{Addition, Filter, IfExists};
use crate::task::{Status, Updates};

/// How long a batch waits for an update before it looks at the records.
const QUIET: std::time::Duration = std::time::Duration::from_secs(5);

impl Session {
    /// The records of all tasks that fit, as JSON (secrets masked), in order of addition.
    pub async fn tasks(&self, filter: Filter) -> Result<Vec<Value>> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            match self.call(Request::List { filter: filter.clone(), after }).await? {
                Reply::Records { records, more } => {
                    all.extend(records);
                    match more {
                        Some(last) => after = last,
                        None => return Ok(all),
                    }
                }
                other => return Err(Error::Other(format!("the engine answered {other:?}"))),
            }
        }
    }

    /// The records of tasks that are not final, of a group or of all (background_downloader's allTasks).
    pub async fn all_tasks(&self, group: Option<&str>) -> Result<Vec<Value>> {
        let group = group.map(str::to_owned);
        self.tasks(Filter { statuses: Filter::UNFINISHED.to_vec(), group, ..Filter::default() }).await
    }

    /// Their ids (allTaskIds).
    pub async fn all_task_ids(&self, group: Option<&str>) -> Result<Vec<String>> {
        let id = |record: &Value| record["taskId"].as_str().map(str::to_owned);
        Ok(self.all_tasks(group).await?.iter().filter_map(id).collect())
    }

    /// Whether every task of a group, or of all, is final; one may be left out, such as the one whose end is being dealt with
    /// (tasksFinished).
    pub async fn tasks_finished(&self, group: Option<&str>, ignore_task_id: Option<&str>) -> Result<bool> {
        let ids = self.all_task_ids(group).await?;
        Ok(ids.iter().all(|id| ignore_task_id == Some(id)))
    }

    /// Whether bytes are stored that the task may go on from (taskCanResume).
    pub async fn task_can_resume(&self, id: &str) -> Result<bool> {
        let found = self.tasks(Filter { ids: vec![id.to_owned()], ..Filter::default() }).await?;
        Ok(found.first().is_some_and(|record| record["canResume"] == true))
    }

    /// Adds tasks, works them and waits for the end of all (downloadBatch, uploadBatch). `progress` is called with nothing
    /// done first, and then each time a task has ended or its bytes are told. Tasks that send no status updates send them
    /// here. A paused task has not ended: who pauses one of a batch goes on with it.
    pub async fn transfer(&self, mut tasks: Vec<Addition>, mut progress: impl FnMut(&BatchProgress)) -> Result<Batch> {
        for Addition { task, .. } in &mut tasks {
            task.updates = match task.updates {
                Updates::None | Updates::Status => Updates::Status,
                Updates::Progress | Updates::StatusAndProgress => Updates::StatusAndProgress,
            };
        }
        let mut updates = self.watch().await?;
        let request = Request::Add { tasks, if_exists: IfExists::Reject, continue_same: false, work: true };
        let ids = match self.call(request).await? {
            Reply::Added { ids, .. } => ids,
            other => return Err(Error::Other(format!("the engine answered {other:?}"))),
        };
        let mut batch = Batch::default();
        ids.into_iter().for_each(|id| batch.add(id));
        progress(&batch.progress());
        while !batch.is_done() {
            let changed = match tokio::time::timeout(QUIET, updates.recv()).await {
                Ok(Some(update)) => batch.take(&update),
                Ok(None) => {
                    updates = self.watch().await?;
                    self.look_at(&mut batch).await?
                }
                Err(_) => self.look_at(&mut batch).await?,
            };
            if changed {
                progress(&batch.progress());
            }
        }
        Ok(batch)
    }

    /// Tells a batch what its updates did not.
    async fn look_at(&self, batch: &mut Batch) -> Result<bool> {
        let ids = batch.unfinished().map(str::to_owned).collect();
        let mut changed = false;
        for record in self.tasks(Filter { ids, ..Filter::default() }).await? {
            let status = record["status"].as_str().and_then(Status::from_name).filter(|status| status.is_final());
            if let (Some(id), Some(status)) = (record["taskId"].as_str(), status) {
                changed |= batch.end(id, status, record["bytesDone"].as_u64());
            }
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests;
