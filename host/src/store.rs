//! The store: tasks, resume records, events and consumers in one SQLite database. The only module that speaks SQL.
//!
//! One writer thread applies changes in the order given and commits them in groups; whoever waits for a [`Pending`] goes on
//! after the COMMIT has reached the disk. Status updates are handed to `tell` after their commit, never before. Reading
//! happens on read-only connections of the caller's thread. The store decides nothing: which change follows from what is
//! the engine's business, but a change that no longer fits a task's state is refused here, inside the transaction.

mod apply;
mod codec;
mod fault;
pub(crate) mod foreign;
mod keyvalue;
mod open;
mod read;
mod sweep;
mod vault;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use self::fault::Sql;
pub(crate) use self::keyvalue::{Bucket, Edit, Kept};
use self::vault::Vault;
use self::writer::{Job, Writer};
use crate::error::{Error, Result};
use crate::event::{Details, StatusUpdate};
use crate::task::{Changes, Record, ResumeRecord, Status, Task, UploadRecord};
use crate::threads;

/// Key of a task within one database: the row number. Rises in the order of addition.
pub(crate) type TaskKey = i64;

/// A task to be added.
#[derive(Clone, Debug)]
pub struct Addition {
    /// The task. Adding it sets what it leaves out, an id too.
    pub task: Task,
    /// The absolute directory granted for it in person.
    pub place: Option<std::path::PathBuf>,
    /// It starts when it is resumed, and not by itself.
    pub paused: bool,
}

/// A task to be added, shared with whoever starts it.
#[derive(Clone, Debug)]
pub(crate) struct NewTask {
    /// The task.
    pub(crate) task: Arc<Task>,
    /// The absolute directory granted for it in person.
    pub(crate) place: Option<std::path::PathBuf>,
    /// It starts when it is resumed.
    pub(crate) paused: bool,
    /// What it goes on from, where that is taken in with it.
    pub(crate) resume: Option<Box<ResumeRecord>>,
}

impl Addition {
    /// A task, and the absolute directory that is granted for it.
    pub fn new(task: Task, place: impl Into<PathBuf>) -> Self {
        Self { task, place: Some(place.into()), paused: false }
    }
}

/// A task that lies in one of the base directories ([`crate::Settings`]`::directories`), or needs no file.
impl From<Task> for Addition {
    fn from(task: Task) -> Self {
        Self { task, place: None, paused: false }
    }
}

impl From<Addition> for NewTask {
    fn from(Addition { task, place, paused }: Addition) -> Self {
        Self { task: Arc::new(task), place, paused, resume: None }
    }
}

/// What happens when the id of an added task is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfExists {
    /// The whole addition is refused.
    #[default]
    Reject,
    /// The stored task stays as it is.
    ReturnExisting,
    /// The stored task is forgotten and the new one takes its place. One that is not over is cancelled first, which removes its
    /// bytes; where it cannot be, the whole addition is refused.
    Replace,
}

/// A scope that takes no tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CanceledScope {
    pub(crate) name: String,
    /// When it was cancelled, in milliseconds since 1970.
    pub(crate) at: u64,
    /// Why, in the words of whoever did it.
    pub(crate) reason: Option<String>,
}

/// Which tasks something is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// These ids. A request may have their beginnings, where no other id begins so.
    Ids(Vec<String>),
    /// A group.
    Group(String),
    /// A scope, and all below it: `a` has `a/b`.
    Scope(String),
    /// All.
    All,
}

/// The task of an id, or of a unique beginning of one.
impl From<&str> for Selection {
    fn from(id: &str) -> Self {
        Selection::Ids(vec![id.to_owned()])
    }
}

impl From<Vec<String>> for Selection {
    fn from(ids: Vec<String>) -> Self {
        Selection::Ids(ids)
    }
}

impl Selection {
    /// Whether a task is one of the selection.
    pub(crate) fn has(&self, task: &Task) -> bool {
        match self {
            Selection::Ids(ids) => ids.contains(&task.task_id),
            Selection::Group(group) => *group == task.group,
            Selection::Scope(name) => task.scope.as_deref().is_some_and(|scope| is_within(scope, name)),
            Selection::All => true,
        }
    }
}

/// Whether a scope is that one or below it.
fn is_within(scope: &str, name: &str) -> bool {
    scope.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The `ready_at` of an enqueued task that waits for another network: [`Change::Release`] ends it.
pub(crate) const HELD: u64 = i64::MAX as u64;

/// One change, applied as a whole or not at all. `at` is milliseconds since 1970.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Adds tasks as `enqueued` (with `ready_at` = their `not_before`), each with its event. `asked`: a command waits for
    /// their ends, as in [`Change::Asked`]. Answer: [`Applied::Added`].
    Add { tasks: Vec<NewTask>, if_exists: IfExists, asked: bool, at: u64 },
    /// enqueued → running; the attempt counts up. Event `running`.
    Start { key: TaskKey, at: u64 },
    /// Stores or replaces the resume record of a running task. No event.
    Resumable { key: TaskKey, record: Box<ResumeRecord> },
    /// More bytes are certainly on the disk. No event.
    Durable { key: TaskKey, durable_bytes: u64 },
    /// The system has given bytes up: of the part file only what is certainly on the disk counts. No event.
    Distrust { key: TaskKey },
    /// Forgets the resume record: from here on the part file means nothing. No event.
    ForgetResume { key: TaskKey },
    /// An enqueued task waits ([`HELD`]) until it is released. No event.
    Hold { key: TaskKey },
    /// Every held task is due at `at`. No event.
    Release { at: u64 },
    /// running → publishing (shown as running): what is renamed to what. No event.
    Publishing { key: TaskKey, publish: Publish },
    /// A server was asked to delete the upload of a cancelled task, and is not asked again; `note`: what it has come to. No event.
    Forsaken { key: TaskKey, note: Option<&'static str> },
    /// Replaces the notes of a running task. They stay until it ends or waits for a retry. No event.
    Note { key: TaskKey, notes: Vec<String> },
    /// any not-final → failed or canceled; any not-final but paused → complete or notFound: details stored, resume and publish
    /// rows deleted (with `keep_resume` a failed or notFound task keeps the resume record: a download that can go on). Event.
    Finish { key: TaskKey, status: Status, details: Arc<Details>, bytes_done: u64, keep_resume: bool, at: u64 },
    /// running or publishing → waitingToRetry until `ready_at`. The resume record stays. Event.
    Wait { key: TaskKey, ready_at: u64, retries_remaining: i32, details: Arc<Details>, bytes_done: u64, at: u64 },
    /// running or waitingToRetry or paused or final → enqueued (event), not before `ready_at`. `retries_remaining` and
    /// `bytes_done` are set when given. The resume record stays. From final: a new run with no attempts, no outcome and a final event of its own.
    Requeue { key: TaskKey, ready_at: Option<u64>, retries_remaining: Option<i32>, bytes_done: Option<u64>, at: u64 },
    /// enqueued, running (but not publishing: that file is complete) or waitingToRetry → paused. `by`: the component that wants it.
    /// Event.
    Pause { key: TaskKey, bytes_done: u64, by: Option<String>, at: u64 },
    /// Replaces the task itself (a refreshed token, a new URL), in any status; its id and attempts left stay. No event.
    Replace { key: TaskKey, task: Box<Task> },
    /// What is stored of a task that does not run gets this name when it is whole. No event.
    Rename { key: TaskKey, final_name: String },
    /// Replaces the upload that a server keeps open for a task that is not final; `None`: there is none. No event.
    Upload { key: TaskKey, upload: Option<Box<UploadRecord>> },
    /// Replaces what components have changed about the requests of a task, in any status; `None`: nothing. No event.
    Changes { key: TaskKey, changes: Option<Box<Changes>> },
    /// Cancels every task of the selection that is enqueued, waitingToRetry or paused (not running ones). Events without
    /// details. In slices that let other changes through; tasks added later are not meant. Answer: [`Applied::Moved`].
    CancelWaiting { select: Selection, details: Arc<Details>, at: u64 },
    /// Pauses every task of the selection that is enqueued or waitingToRetry and may be paused. Events. In slices, too.
    /// Answer: [`Applied::Moved`].
    PauseWaiting { select: Selection, at: u64 },
    /// Makes every waitingToRetry task whose time has come `enqueued` again (events), and every enqueued one whose
    /// `ready_at` has come ready (no event). At most `limit`. Answer: [`Applied::Moved`].
    WakeDue { limit: usize, at: u64 },
    /// The clock was set back: tasks that began to wait for a retry later than `at`, which is now, wait from now on. Answer:
    /// [`Applied::Moved`]. No event.
    WaitAnew { at: u64 },
    /// Forgets final tasks of these keys; their final events stay while a known consumer has not acknowledged them. Refused
    /// as a whole when one of them is not final; unknown keys are gone already.
    Remove { keys: Vec<TaskKey> },
    /// Forgets final tasks that ended before `before`, and those of that very moment that have lower keys than `key`, at most
    /// `limit`. Answer: [`Applied::Moved`].
    Clean { before: u64, key: TaskKey, limit: usize },
    /// Stores a secret that belongs to no task, sealed, in the place of what was there under that name. No event.
    Secret { name: String, content: Vec<u8>, at: u64 },
    /// Changes pairs of a component's state, all or none. Answer: [`Applied::KeyValue`]. No event.
    KeyValue { bucket: Bucket, edits: BTreeMap<String, Edit> },
    /// Forgets pairs of a component's state: of all its buckets or one, all its keys or one. Answer:
    /// [`Applied::KeyValue`], how many. No event.
    ForgetState { owner: String, bucket: Option<String>, key: Option<String> },
    /// Stores a setting of the home. No event.
    Setting { name: String, content: String },
    /// Cancels a scope: from here on no task is added to it or below it. No event.
    CancelScope { name: String, reason: Option<String>, at: u64 },
    /// Tasks may be added to a scope again, and to those below it; to those above it, not. Answer: [`Applied::Refused`] with
    /// `None` when neither was cancelled. No event.
    ReopenScope { name: String },
    /// A command waits for the ends of these tasks, or (`asked` false) has told them. Until it has, a complete task is found
    /// by its URL. No event.
    Asked { ids: Vec<String>, asked: bool },
    /// Forgets a consumer; events that only it kept go. Answer: [`Applied::Refused`] with `None` when there is none. No event.
    ForgetConsumer { name: String },
    /// Makes the consumer known; answers its position by [`Applied::Position`].
    Consumer { name: String },
    /// Moves a consumer forward; backwards does nothing. Answer: [`Applied::Position`], or `BeyondEnd`, or `Refused(None)`
    /// when no such consumer is known.
    Ack { consumer: String, seq: u64 },
}

impl Change {
    /// Whether it says what a transfer has come to, which nobody can say again. All others are asked for, and whoever asks can
    /// be told that it did not work.
    fn is_progress(&self) -> bool {
        matches!(
            self,
            Self::Start { .. }
                | Self::Resumable { .. }
                | Self::Durable { .. }
                | Self::Distrust { .. }
                | Self::ForgetResume { .. }
                | Self::Publishing { .. }
                | Self::Note { .. }
                | Self::Finish { .. }
                | Self::Wait { .. }
                | Self::Requeue { .. }
                | Self::Pause { .. }
                | Self::Upload { .. }
                | Self::Changes { .. }
        )
    }
}

/// What is renamed to what at the end of a download.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Publish {
    /// Name of the part file in the task's directory.
    pub(crate) part_name: String,
    /// Name of the finished file.
    pub(crate) final_name: String,
    /// Device number of the part file.
    pub(crate) dev: u64,
    /// Inode number of the part file.
    pub(crate) ino: u64,
    /// Length of the file.
    pub(crate) size: u64,
    /// The details of the final update.
    pub(crate) details: Arc<Details>,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Applied {
    /// Done.
    Done,
    /// The task is not in a state that the change fits; it is in this one (`None`: unknown task). Nothing changed.
    Refused(Option<Status>),
    /// Keys and ids of the tasks added (or found, by `IfExists`), in order.
    Added(Vec<(TaskKey, String)>),
    /// These ids are taken; nothing was added.
    Taken(Vec<String>),
    /// This scope is cancelled; nothing was added.
    ScopeCanceled(CanceledScope),
    /// Keys of the tasks that changed.
    Moved(Vec<TaskKey>),
    /// A consumer's position.
    Position(u64),
    /// The log ends before that number, at this one.
    BeyondEnd(u64),
    /// What an addition to a component's state came to (0 without one), or why nothing was changed.
    KeyValue(std::result::Result<i64, String>),
}

/// A change on its way. Await it, or `wait` for it on a thread that may block: either returns after the commit.
pub(crate) struct Pending {
    answer: oneshot::Receiver<Result<Applied>>,
}

impl Pending {
    /// Waits on the present thread. Must not be called on a runtime's thread.
    pub(crate) fn wait(self) -> Result<Applied> {
        self.answer.blocking_recv().unwrap_or_else(|_| Err(ended()))
    }
}

impl Future for Pending {
    type Output = Result<Applied>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context).map(|answer| answer.unwrap_or_else(|_| Err(ended())))
    }
}

fn ended() -> Error {
    Error::Other("the store is closed".into())
}

/// Position in the queue: priority, creation time, key. Tasks start in this order.
pub(crate) type QueuePosition = (i32, u64, TaskKey);

/// Which part of the queue: all of it, or the tasks of one host, of one group, of one direction, or of several of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct QueueKey {
    /// Only tasks of this host.
    pub(crate) host: Option<String>,
    /// Only tasks of this group.
    pub(crate) group: Option<String>,
    /// Only uploads, or only others.
    pub(crate) uploads: Option<bool>,
}

/// Which tasks a listing shows: those that fit all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these statuses; empty: any.
    pub statuses: Vec<Status>,
    /// Only this group.
    pub group: Option<String>,
    /// Only this scope, and those below it.
    pub scope: Option<String>,
    /// Only these ids, or unique beginnings of them; empty: any.
    pub ids: Vec<String>,
}

impl Filter {
    /// The statuses of tasks that are not final.
    pub const UNFINISHED: [Status; 4] = [Status::Enqueued, Status::Running, Status::WaitingToRetry, Status::Paused];
    /// The statuses of tasks that were given up.
    pub const FAILED: [Status; 2] = [Status::Failed, Status::NotFound];

    /// The part of it that fits the fewest tasks.
    fn narrowest(&self) -> Selection {
        match (&self.scope, &self.group) {
            _ if !self.ids.is_empty() => Selection::Ids(self.ids.clone()),
            (Some(scope), _) => Selection::Scope(scope.clone()),
            (_, Some(group)) => Selection::Group(group.clone()),
            _ => Selection::All,
        }
    }

    /// Whether a task fits, its status and id aside.
    fn has(&self, task: &Task) -> bool {
        let of_group = self.group.as_ref().is_none_or(|group| *group == task.group);
        let within = |name: &String| task.scope.as_deref().is_some_and(|scope| is_within(scope, name));
        of_group && self.scope.as_ref().is_none_or(within)
    }
}

/// A task that was running or publishing when the last engine ended.
#[derive(Clone, Debug)]
pub(crate) struct Unfinished {
    /// Its key.
    pub(crate) key: TaskKey,
    /// Everything about it.
    pub(crate) record: Record,
    /// Set when it was publishing.
    pub(crate) publish: Option<Publish>,
}

/// The database of a home. Cheap to clone; the writer thread ends with the last clone.
#[derive(Clone)]
pub(crate) struct Store {
    shared: Arc<Shared>,
}

/// Called on the writer thread after each commit, with the updates committed, in order of `seq`.
pub(crate) type Tell = Box<dyn FnMut(Vec<Committed>) + Send>;

/// A status update whose row is committed.
pub(crate) struct Committed {
    pub(crate) update: StatusUpdate,
    /// The task sends its status to watchers; if not, only the log has it.
    pub(crate) sent: bool,
    /// The task sends progress, and was paused or waited to be tried again before: an end is told as progress, too.
    pub(crate) ends_progress: bool,
}

struct Shared {
    path: PathBuf,
    vault: Arc<Vault>,
    /// `None`: closed.
    jobs: Mutex<Option<Sender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// The writer keeps what it cannot write just now.
    waits_for_room: Arc<AtomicBool>,
    /// Readers that nobody uses just now.
    readers: Mutex<Vec<Connection>>,
    /// Set while the disk lets nothing be written.
    only_read: Mutex<Option<OnlyRead>>,
}

/// What a store has that was opened on a disk without room: one connection to read by, and what it takes to write later.
struct OnlyRead {
    /// `None` only while the database is opened another time.
    conn: Option<Connection>,
    tell: Tell,
}

/// Readers kept open for the next call.
const READERS: usize = 4;

impl Store {
    /// Opens or creates `haul.db` in `home` and brings its schema up to date. The caller holds the home's lock.
    /// A damaged database is [`crate::Error::Damaged`] and is left as it is. One that cannot be written to, most likely because
    /// its disk is full, is opened all the same where it can be read: see [`Store::make_writable`].
    pub(crate) fn open(home: &Path, tell: Tell) -> Result<Self> {
        open::prepare_home(home)?;
        let path = home.join(open::FILE);
        open::refuse_other_than_file(&path)?;
        open::refuse_emptied(&path)?;
        let is_new = open::prepare_file(&path)?;
        let opened = open::writer(&path).and_then(|conn| Ok((Vault::open(home, &conn)?, conn)));
        match opened {
            Ok((vault, conn)) => Self::start(conn, vault, path, tell),
            Err(error) if is_new => {
                open::remove(&path); // the next one begins as this one did, and does not find an emptied database
                Err(error)
            }
            Err(error @ Error::FileSystem(_)) => {
                let conn = open::only_reader(&path).unwrap_or(None);
                let opened = conn.and_then(|conn| Some((Vault::open(home, &conn).ok()?, conn)));
                let (vault, conn) = opened.ok_or(error)?;
                Ok(Self::new(vault, path, Some(OnlyRead { conn: Some(conn), tell })))
            }
            Err(error) => Err(error),
        }
    }

    fn new(vault: Vault, path: PathBuf, only_read: Option<OnlyRead>) -> Self {
        let shared = Shared {
            path,
            vault: Arc::new(vault),
            jobs: Mutex::default(),
            writer: Mutex::default(),
            waits_for_room: Arc::default(),
            readers: Mutex::default(),
            only_read: Mutex::new(only_read),
        };
        Self { shared: Arc::new(shared) }
    }

    fn start(conn: Connection, vault: Vault, path: PathBuf, tell: Tell) -> Result<Self> {
        let store = Self::new(vault, path, None);
        store.start_writer(conn, tell)?;
        Ok(store)
    }

    fn start_writer(&self, conn: Connection, tell: Tell) -> Result<()> {
        let Shared { path, vault, waits_for_room, .. } = &*self.shared;
        let (sender, jobs) = mpsc::channel();
        let writer = Writer::new(conn, Arc::clone(vault), path.clone(), jobs, tell, Arc::clone(waits_for_room))
            .map_err(|error| fault::error(path, &error))?;
        *lock(&self.shared.writer) = Some(threads::spawn("haul-store", move || writer.run())?);
        *lock(&self.shared.jobs) = Some(sender);
        Ok(())
    }

    /// Opens for writing what could only be read so far; without effect where it can be written. Until then every change comes to
    /// an error. Errors: why it still cannot be written.
    pub(crate) fn make_writable(&self) -> Result<()> {
        let mut only_read = lock(&self.shared.only_read);
        let Some(OnlyRead { conn, tell }) = only_read.take() else { return Ok(()) };
        drop(conn); // it locks out all others
        match open::writer(&self.shared.path) {
            Ok(conn) => self.start_writer(conn, tell),
            Err(error) => {
                let conn = open::only_reader(&self.shared.path).unwrap_or(None);
                *only_read = Some(OnlyRead { conn, tell });
                Err(error)
            }
        }
    }

    /// Hands a change to the writer; it is committed with others, at once when the writer is idle.
    pub(crate) fn write(&self, change: Change) -> Pending {
        let (sender, answer) = oneshot::channel();
        self.send(Job::new(change, Some(sender)));
        Pending { answer }
    }

    /// Hands over a change that nobody waits for: committed with the next group, at the latest after 1 s.
    pub(crate) fn write_later(&self, change: Change) {
        self.send(Job::new(change, None));
    }

    /// From now on what transfers have come to is not refused where the disk is full or fails: it is kept, with whoever waits
    /// for it, and written as soon as that works again.
    pub(crate) fn wait_for_room(&self, wait: bool) {
        self.shared.waits_for_room.store(wait, Ordering::Relaxed);
    }

    /// A job that cannot be sent is dropped, and with it its answer: whoever waits gets [`ended`].
    fn send(&self, job: Job) {
        if let Some(jobs) = &*lock(&self.shared.jobs) {
            let _ = jobs.send(job);
        }
    }

    /// Takes no further changes, and returns when those handed over are committed and told, the WAL is emptied and the writer
    /// has ended. Reading still works. Blocks; must not be called by `tell`.
    pub(crate) fn close(&self) {
        lock(&self.shared.jobs).take();
        lock(&self.shared.readers).clear();
        lock(&self.shared.only_read).take();
        if let Some(writer) = lock(&self.shared.writer).take() {
            let _ = writer.join(); // a panic there has been reported there
        }
    }

    /// Runs a reading function in a transaction of its own: everything it reads is of one moment.
    fn read<T>(&self, run: impl FnOnce(&Reading<'_>) -> Sql<T>) -> Result<T> {
        let failed = |error: rusqlite::Error| fault::error(&self.shared.path, &error);
        let only_read = lock(&self.shared.only_read);
        if let Some(conn) = only_read.as_ref().and_then(|only| only.conn.as_ref()) {
            return self.read_by(conn, run).map_err(failed);
        }
        drop(only_read);
        let idle = lock(&self.shared.readers).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => open::reader(&self.shared.path).map_err(failed)?,
        };
        let result = self.read_by(&conn, run);
        let mut readers = lock(&self.shared.readers);
        if readers.len() < READERS {
            readers.push(conn);
        }
        result.map_err(failed)
    }

    fn read_by<T>(&self, conn: &Connection, run: impl FnOnce(&Reading<'_>) -> Sql<T>) -> Sql<T> {
        let snapshot = conn.unchecked_transaction()?;
        let result = run(&Reading { conn: &snapshot, vault: &self.shared.vault });
        snapshot.finish()?;
        result
    }
}

/// A connection that reads within one snapshot, and what opens the secrets it finds.
struct Reading<'a> {
    conn: &'a Connection,
    vault: &'a Vault,
}

impl std::ops::Deref for Reading<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        self.conn
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
