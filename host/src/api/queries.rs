//! Questions about all tasks, by background_downloader's names: made of [`Request`]s, nothing but a convenience.

use serde_json::Value;

use super::{Reply, Request, Session};
use crate::error::{Error, Result};
use crate::store::Filter;

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
}

#[cfg(test)]
mod tests;
