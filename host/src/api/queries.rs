//! Questions about all tasks, by background_downloader's names: nothing but a convenience.

use super::Session;
use crate::error::Result;
use crate::store::Filter;
use crate::task::TaskRecord;

impl Session {
    /// The records of tasks that are not final, of a group or of all (background_downloader's allTasks).
    pub async fn all_tasks(&self, group: Option<&str>) -> Result<Vec<TaskRecord>> {
        let group = group.map(str::to_owned);
        self.tasks(Filter { statuses: Filter::UNFINISHED.to_vec(), group, ..Filter::default() }).await
    }

    /// Their ids (allTaskIds).
    pub async fn all_task_ids(&self, group: Option<&str>) -> Result<Vec<String>> {
        Ok(self.all_tasks(group).await?.into_iter().map(|record| record.task.task_id).collect())
    }

    /// Whether every task of a group, or of all, is final; one may be left out, such as the one whose end is being dealt with
    /// (tasksFinished).
    pub async fn tasks_finished(&self, group: Option<&str>, ignore_task_id: Option<&str>) -> Result<bool> {
        let ids = self.all_task_ids(group).await?;
        Ok(ids.iter().all(|id| ignore_task_id == Some(id)))
    }

    /// Whether bytes are stored that the task may go on from (taskCanResume).
    pub async fn task_can_resume(&self, id: &str) -> Result<bool> {
        Ok(self.show(id).await?.can_resume)
    }
}
