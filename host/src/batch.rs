//! How far a batch of tasks has come (background_downloader's Batch). Sans-io: it is told of updates and counts.

use std::collections::BTreeMap;

use crate::event::Update;
use crate::task::Status;

/// What is known of one task of a batch.
#[derive(Clone, Copy, Debug, Default)]
struct Member {
    /// Its final status, once it has one.
    end: Option<Status>,
    bytes_done: u64,
    bytes: Option<u64>,
}

/// Tasks that are waited for together. Anything final but `complete` counts as failed.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    members: BTreeMap<String, Member>,
    succeeded: u64,
    failed: u64,
    // Kept as they change: progress is asked for at each update of each member.
    bytes_done: u64,
    bytes: u64,
    /// Members whose length is known.
    measured: u64,
}

/// How far a batch has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchProgress {
    /// Tasks that are complete.
    pub succeeded: u64,
    /// Tasks that have ended in another way.
    pub failed: u64,
    /// All tasks.
    pub total: u64,
    /// Bytes of all tasks that have moved.
    pub bytes_done: u64,
    /// Bytes of all tasks together, once the length of each is known (of one that has failed before it was: what has moved).
    pub bytes_total: Option<u64>,
}

impl Batch {
    /// One more task, by its id.
    pub fn add(&mut self, id: String) {
        self.members.entry(id).or_default();
    }

    /// Takes notice of an update; answers whether anything has changed. Updates of other tasks change nothing.
    pub fn take(&mut self, update: &Update) -> bool {
        match update {
            Update::Progress(progress) => {
                let Some(member) = self.members.get_mut(&progress.task_id).filter(|member| member.end.is_none()) else {
                    return false;
                };
                let before = *member;
                member.bytes_done = progress.bytes_done.max(member.bytes_done);
                member.bytes = progress.expected_file_size.or(member.bytes);
                let after = *member;
                self.count(before, after);
                (before.bytes_done, before.bytes) != (after.bytes_done, after.bytes)
            }
            Update::Status(update) if update.status.is_final() => {
                let size = update.details.as_ref().and_then(|details| details.file_size);
                self.end(&update.task_id, update.status, size)
            }
            Update::Status(_) => false,
        }
    }

    /// A task has ended, with so many bytes as far as that is known; answers whether that is new. One that is only paused has
    /// not ended.
    pub fn end(&mut self, id: &str, status: Status, bytes: Option<u64>) -> bool {
        let is_open = |member: &&mut Member| status.is_final() && member.end.is_none();
        let Some(member) = self.members.get_mut(id).filter(is_open) else { return false };
        let before = *member;
        member.end = Some(status);
        if status == Status::Complete {
            self.succeeded += 1;
            member.bytes_done = bytes.or(member.bytes).unwrap_or(member.bytes_done);
            member.bytes = Some(member.bytes_done);
        } else {
            self.failed += 1;
            // The whole does not shrink: what it lacks is seen.
            member.bytes = member.bytes.or(Some(member.bytes_done));
        }
        let after = *member;
        self.count(before, after);
        true
    }

    /// A member is no longer what it was. Lengths are what servers say: their sum may wrap, but never be in the way.
    fn count(&mut self, before: Member, after: Member) {
        self.bytes_done = self.bytes_done.wrapping_sub(before.bytes_done).wrapping_add(after.bytes_done);
        self.bytes = self.bytes.wrapping_sub(before.bytes.unwrap_or(0)).wrapping_add(after.bytes.unwrap_or(0));
        self.measured = self.measured - u64::from(before.bytes.is_some()) + u64::from(after.bytes.is_some());
    }

    /// How far it has come.
    pub fn progress(&self) -> BatchProgress {
        let total = self.members.len() as u64;
        BatchProgress {
            succeeded: self.succeeded,
            failed: self.failed,
            total,
            bytes_done: self.bytes_done,
            bytes_total: (self.measured == total).then_some(self.bytes),
        }
    }

    /// Ids of the tasks that have not ended.
    pub fn unfinished(&self) -> impl Iterator<Item = &str> {
        self.members.iter().filter(|(_, member)| member.end.is_none()).map(|(id, _)| id.as_str())
    }

    /// The final status of each task that has ended, by its id.
    pub fn results(&self) -> impl Iterator<Item = (&str, Status)> {
        self.members.iter().filter_map(|(id, member)| Some((id.as_str(), member.end?)))
    }

    /// Ids of the tasks that are complete.
    pub fn succeeded(&self) -> impl Iterator<Item = &str> {
        self.results().filter(|(_, status)| *status == Status::Complete).map(|(id, _)| id)
    }

    /// Ids of the tasks that have ended in another way.
    pub fn failed(&self) -> impl Iterator<Item = &str> {
        self.results().filter(|(_, status)| *status != Status::Complete).map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{Details, ProgressUpdate, StatusUpdate};

    fn moved(id: &str, bytes_done: u64, expected_file_size: Option<u64>) -> Update {
        Update::Progress(ProgressUpdate {
            task_id: id.into(),
            group: "default".into(),
            progress: 0.5,
            bytes_done,
            expected_file_size,
            network_speed: None,
            time_remaining: None,
        })
    }

    fn became(id: &str, status: Status, file_size: Option<u64>) -> Update {
        let details = Some(Arc::new(Details { file_size, ..Details::default() }));
        Update::Status(StatusUpdate { seq: 1, task_id: id.into(), group: "default".into(), status, at: 1, details })
    }

    #[test]
    fn a_batch_begins_at_nothing_and_counts_each_end_once() {
        let mut batch = Batch::default();
        for id in ["a", "b"] {
            batch.add(id.into());
        }
        let nothing = BatchProgress { total: 2, ..BatchProgress::default() };
        assert_eq!(batch.progress(), nothing);
        assert!(!batch.take(&became("a", Status::Running, None)));
        assert!(!batch.take(&became("other", Status::Complete, Some(1))));

        assert!(batch.take(&moved("a", 10, Some(100))));
        assert!(batch.take(&moved("b", 7, None)));
        assert_eq!(batch.progress(), BatchProgress { bytes_done: 17, ..nothing });
        assert!(batch.take(&became("a", Status::Complete, Some(100))));
        assert!(!batch.take(&became("a", Status::Failed, None)));
        assert!(batch.take(&became("b", Status::Canceled, None)));

        let end = BatchProgress { succeeded: 1, failed: 1, total: 2, bytes_done: 107, bytes_total: Some(107) };
        assert_eq!(batch.progress(), end);
        assert_eq!((batch.succeeded().collect::<Vec<_>>(), batch.failed().collect::<Vec<_>>()), (vec!["a"], vec!["b"]));
        assert_eq!(batch.unfinished().count(), 0);
    }

    #[test]
    fn a_paused_task_has_not_failed_and_what_a_failed_one_lacks_stays_in_the_total() {
        let mut batch = Batch::default();
        for id in ["a", "b"] {
            batch.add(id.into());
            batch.take(&moved(id, 10, Some(100)));
        }

        assert!(!batch.end("a", Status::Paused, Some(10)));
        assert_eq!((batch.progress().failed, batch.unfinished().count()), (0, 2));
        assert!(batch.end("b", Status::Canceled, Some(10)));

        let end = BatchProgress { succeeded: 0, failed: 1, total: 2, bytes_done: 20, bytes_total: Some(200) };
        assert_eq!(batch.progress(), end);
    }
}
