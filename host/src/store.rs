//! The store: tasks, resume records, events and consumers in one SQLite database. The only module that speaks SQL.
//!
//! One writer thread applies changes in the order given and commits them in groups; whoever waits for a [`Pending`] goes on
//! after the COMMIT has reached the disk. Status updates are handed to `tell` after their commit, never before. Reading
//! happens on read-only connections of the caller's thread. The store decides nothing: which change follows from what is
//! the engine's business, but a change that no longer fits a task's state is refused here, inside the transaction.

use std::path::Path;

use crate::error::Result;
use crate::event::{Details, StatusUpdate};
use crate::task::{Record, ResumeRecord, Status, Task};

/// Key of a task within one database: the row number. Rises in the order of addition.
pub type TaskKey = i64;

/// A task to be added: admitted, with its id set.
#[derive(Clone, Debug)]
pub struct Addition {
    /// The task.
    pub task: Task,
    /// The absolute directory granted for it in person.
    pub place: Option<std::path::PathBuf>,
}

/// What happens when the id of an added task is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfExists {
    /// The whole addition is refused.
    #[default]
    Reject,
    /// The stored task stays as it is.
    ReturnExisting,
    /// A final stored task is forgotten and replaced; a task that is not final is refused.
    Replace,
}

/// Which tasks a control request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// These ids, exact.
    Ids(Vec<String>),
    /// A group.
    Group(String),
    /// All.
    All,
}

/// One change, applied as a whole or not at all. `at` is milliseconds since 1970.
#[derive(Clone, Debug)]
pub enum Change {
    /// Adds tasks as `enqueued` (with `ready_at` = their `not_before`), each with its event. Answer: [`Applied::Added`].
    Add {
        tasks: Vec<Addition>,
        if_exists: IfExists,
        at: u64,
    },
    /// enqueued → running; the attempt counts up. Event `running`.
    Start { key: TaskKey, at: u64 },
    /// Stores or replaces the resume record of a running task. No event.
    Resumable {
        key: TaskKey,
        record: Box<ResumeRecord>,
    },
    /// More bytes are certainly on the disk. No event.
    Durable { key: TaskKey, durable_bytes: u64 },
    /// Forgets the resume record: from here on the part file means nothing. No event.
    ForgetResume { key: TaskKey },
    /// running → publishing (shown as running): what is renamed to what. No event.
    Publishing { key: TaskKey, publish: Publish },
    /// running or publishing → final, or any not-final → canceled: details stored, resume and publish rows deleted (kept
    /// with `keep_resume`: a failed download that can go on). Event.
    Finish {
        key: TaskKey,
        status: Status,
        details: Box<Details>,
        bytes_done: u64,
        keep_resume: bool,
        at: u64,
    },
    /// running → waitingToRetry until `ready_at`. Event.
    Wait {
        key: TaskKey,
        ready_at: u64,
        retries_remaining: i32,
        details: Box<Details>,
        bytes_done: u64,
        at: u64,
    },
    /// running or waitingToRetry or paused or final → enqueued (event), not before `ready_at`. `retries_remaining` is set
    /// when given. The resume record stays.
    Requeue {
        key: TaskKey,
        ready_at: Option<u64>,
        retries_remaining: Option<i32>,
        at: u64,
    },
    /// any not-final → paused. Event.
    Pause {
        key: TaskKey,
        bytes_done: u64,
        at: u64,
    },
    /// Replaces the task itself (a refreshed token, a new URL). No event.
    Replace { key: TaskKey, task: Box<Task> },
    /// Cancels every task of the selection that is enqueued, waitingToRetry or paused (not running ones). Events.
    /// Answer: [`Applied::Moved`].
    CancelWaiting { select: Selection, at: u64 },
    /// Pauses every task of the selection that is enqueued or waitingToRetry and may be paused. Events.
    PauseWaiting { select: Selection, at: u64 },
    /// Makes every waitingToRetry task whose time has come `enqueued` again (events), and every enqueued one whose
    /// `ready_at` has come ready (no event). At most `limit`. Answer: [`Applied::Moved`].
    WakeDue { limit: usize, at: u64 },
    /// Forgets final tasks of these keys; their final events stay while a known consumer has not acknowledged them.
    Remove { keys: Vec<TaskKey> },
    /// Forgets final tasks that ended before `before`, at most `limit`. Answer: [`Applied::Moved`].
    Clean { before: u64, limit: usize },
    /// Makes the consumer known; answers its position by [`Applied::Position`].
    Consumer { name: String },
    /// Moves a consumer forward; backwards does nothing. Answer: [`Applied::Position`], or `BeyondEnd`.
    Ack { consumer: String, seq: u64 },
}

/// What is renamed to what at the end of a download.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// Name of the part file in the task's directory.
    pub part_name: String,
    /// Name of the finished file.
    pub final_name: String,
    /// Device number of the part file.
    pub dev: u64,
    /// Inode number of the part file.
    pub ino: u64,
    /// Length of the file.
    pub size: u64,
    /// The details of the final update, known but for the path.
    pub details: Box<Details>,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// Done.
    Done,
    /// The task is not in a state that the change fits; it is in this one (`None`: unknown task). Nothing changed.
    Refused(Option<Status>),
    /// Keys and ids of the tasks added (or found, by `IfExists`), in order.
    Added(Vec<(TaskKey, String)>),
    /// These ids are taken; nothing was added.
    Taken(Vec<String>),
    /// Keys of the tasks that changed.
    Moved(Vec<TaskKey>),
    /// A consumer's position.
    Position(u64),
    /// The log ends before that number, at this one.
    BeyondEnd(u64),
}

/// A change on its way. Await it, or `wait` for it on a thread that may block: either returns after the commit.
pub struct Pending {
    answer: tokio::sync::oneshot::Receiver<Result<Applied>>,
}

impl Pending {
    /// Waits on the present thread. Must not be called on a runtime's thread.
    pub fn wait(self) -> Result<Applied> {
        todo!()
    }
}

impl std::future::Future for Pending {
    type Output = Result<Applied>;
    fn poll(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        todo!()
    }
}

/// A task at the head of the queue.
#[derive(Clone, Debug)]
pub struct Queued {
    /// Its key.
    pub key: TaskKey,
    /// Everything about it.
    pub record: Record,
}

/// Position in the queue: priority, creation time, key. Tasks start in this order.
pub type QueuePosition = (i32, u64, TaskKey);

/// Which part of the queue: all of it, or the tasks of one host and/or one group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueKey {
    /// Only tasks of this host.
    pub host: Option<String>,
    /// Only tasks of this group.
    pub group: Option<String>,
}

/// Which records a listing shows.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this status.
    pub status: Option<Status>,
    /// Only this group.
    pub group: Option<String>,
}

/// A task that was running or publishing when the last engine ended.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// Its key.
    pub key: TaskKey,
    /// Everything about it.
    pub record: Record,
    /// Set when it was publishing.
    pub publish: Option<Publish>,
}

/// The database of a home. Cheap to clone; the writer thread ends with the last clone.
#[derive(Clone)]
pub struct Store {}

/// Called on the writer thread after each commit, with the updates committed, in order of `seq`.
pub type Tell = Box<dyn FnMut(Vec<StatusUpdate>) + Send>;

impl Store {
    /// Opens or creates `haul.db` in `home` and brings its schema up to date. The caller holds the home's lock.
    /// A damaged database is [`crate::Error::Damaged`] and is left as it is.
    pub fn open(_home: &Path, _tell: Tell) -> Result<Self> {
        todo!()
    }
    /// Hands a change to the writer; it is committed with others, at once when the writer is idle.
    pub fn write(&self, _change: Change) -> Pending {
        todo!()
    }
    /// Hands over a change that nobody waits for: committed with the next group, at the latest after 1 s.
    pub fn write_later(&self, _change: Change) {
        todo!()
    }
    /// The record of an id.
    pub fn record(&self, _task_id: &str) -> Result<Option<(TaskKey, Record)>> {
        todo!()
    }
    /// The record of a key.
    pub fn record_of(&self, _key: TaskKey) -> Result<Option<Record>> {
        todo!()
    }
    /// The ids that begin with `prefix`, at most `limit`.
    pub fn ids_with_prefix(&self, _prefix: &str, _limit: usize) -> Result<Vec<String>> {
        todo!()
    }
    /// Records in order of addition after `after`, at most `limit`.
    pub fn records(
        &self,
        _filter: &Filter,
        _after: TaskKey,
        _limit: usize,
    ) -> Result<Vec<(TaskKey, Record)>> {
        todo!()
    }
    /// Keys and ids of the selection's tasks in any of these statuses, in order of addition, at most `limit` after `after`.
    pub fn select(
        &self,
        _select: &Selection,
        _statuses: &[Status],
        _after: TaskKey,
        _limit: usize,
    ) -> Result<Vec<(TaskKey, String, Status)>> {
        todo!()
    }
    /// Number of tasks in each status, from counters: does not scan.
    pub fn counts(&self) -> Result<[u64; 8]> {
        todo!()
    }
    /// The head of the queue: enqueued and ready tasks after `after`, in order, at most `limit`.
    pub fn queue(
        &self,
        _part: &QueueKey,
        _after: Option<QueuePosition>,
        _limit: usize,
    ) -> Result<Vec<Queued>> {
        todo!()
    }
    /// The (host, group) pairs that have ready tasks, without scanning all tasks, at most `limit`.
    pub fn queue_keys(&self, _limit: usize) -> Result<Vec<(String, String)>> {
        todo!()
    }
    /// How many ready tasks come before this position in the whole queue, counted up to `limit`.
    pub fn ahead_of(&self, _position: QueuePosition, _limit: usize) -> Result<usize> {
        todo!()
    }
    /// The earliest `ready_at` of a task that is enqueued or waitingToRetry.
    pub fn next_ready_at(&self) -> Result<Option<u64>> {
        todo!()
    }
    /// Tasks that were running or publishing when the last engine ended.
    pub fn unfinished(&self) -> Result<Vec<Unfinished>> {
        todo!()
    }
    /// Not-final or failed tasks of this exact URL, newest first: what `get` may go on with.
    pub fn with_url(&self, _url: &str, _limit: usize) -> Result<Vec<(TaskKey, Record)>> {
        todo!()
    }
    /// Stored updates after `seq`, oldest first, at most `limit`.
    pub fn events_after(&self, _seq: u64, _limit: usize) -> Result<Vec<StatusUpdate>> {
        todo!()
    }
    /// The last sequence number given out.
    pub fn last_seq(&self) -> Result<u64> {
        todo!()
    }
    /// Known consumers and their positions.
    pub fn consumers(&self) -> Result<Vec<(String, u64)>> {
        todo!()
    }
    /// `PRAGMA quick_check`, and the version of SQLite: for `doctor`.
    pub fn check(&self) -> Result<Vec<String>> {
        todo!()
    }
    pub fn close(&self) {}
    pub fn parts_of(&self, _s: &Selection) -> Result<Vec<(TaskKey, Record)>> { todo!() }
}
