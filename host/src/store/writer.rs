//! The writer thread: takes what is queued, applies it in one transaction, commits, tells, answers; checkpoints when it is
//! time. What a change does is in `apply` and `sweep`.
//!
//! While the disk is full or fails, what transfers have come to is kept here and tried again (where the engine wants that);
//! what somebody asks for is refused at once.
//!
//! Order after a COMMIT: first `tell`, then the answers, so that whoever waited for a change knows its updates are out.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::apply::Batch;
use super::fault::{Fault, Sql};
use super::sweep::{self, Cursor};
use super::vault::Vault;
use super::{Applied, Change, Committed, Selection, TaskKey, Tell};
use crate::error::Result;
use crate::task::Status;

/// Changes in one transaction at most.
const GROUP_CHANGES: usize = 1024;
/// Work in one transaction at most, in rows added: about half a second.
const GROUP_ROWS: usize = 50_000;
/// A group of so many changes means that many come.
const BUSY: usize = 8;
/// While many come, each group is given so long to grow: a commit costs as much as a dozen changes.
const GROWTH: Duration = Duration::from_millis(3);
/// How often, and how long each time, a group that nobody waits for waits for more: together 1 s.
const WAITS: usize = 10;
const WAIT: Duration = Duration::from_millis(100);
/// Commits between two looks at the length of the WAL.
const COMMITS: u32 = 16;
/// Pages that wait in the WAL before they are copied into the database: 16 MiB.
const PASSIVE_PAGES: i64 = 4_000;
/// Pages of a WAL that is cut to nothing even under load: 64 MiB.
const TRUNCATE_PAGES: i64 = 16_384;
/// A writer without work for so long tidies up.
const IDLE: Duration = Duration::from_secs(2);
/// Free pages given back to the file system in one go, when there are more than that.
const VACUUM_PAGES: i64 = 2_048;

/// How long what could not be written waits for the next attempt, unless another change comes before.
const ROOM: Duration = Duration::from_secs(1);

/// A change on its way through the writer.
pub(super) struct Job {
    pub(super) change: Change,
    /// Where to answer. `None`: nobody waits for it.
    pub(super) answer: Option<oneshot::Sender<Result<Applied>>>,
    /// Of a sweep: what earlier slices did.
    progress: Progress,
}

#[derive(Default)]
struct Progress {
    cursor: Cursor,
    moved: Vec<TaskKey>,
}

impl Job {
    pub(super) fn new(change: Change, answer: Option<oneshot::Sender<Result<Applied>>>) -> Self {
        Self { change, answer, progress: Progress::default() }
    }

    fn answer(self, result: Result<Applied>) {
        if let Some(answer) = self.answer {
            let _ = answer.send(result); // whoever asked may have gone
        }
    }
}

/// What applying a change came to.
pub(super) enum Step {
    /// All of it.
    Done(Applied),
    /// A slice of a sweep: the keys that changed, and where to go on.
    Part(Vec<TaskKey>, Option<Cursor>),
}

/// The numbers kept in memory between commits: tasks in each status, the last key and the last seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers([i64; 10]);

impl Numbers {
    const KEY: usize = 8;
    const SEQ: usize = 9;

    fn load(conn: &Connection) -> Sql<Self> {
        let mut numbers = [0; 10];
        let mut statement = conn.prepare("SELECT what, n FROM counter WHERE what < 10")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(number) = numbers.get_mut(usize::from(row.get::<_, u16>(0)?)) {
                *number = row.get(1)?;
            }
        }
        Ok(Self(numbers))
    }

    fn save(&self, conn: &Connection, before: &Self) -> Sql<()> {
        let mut statement = conn.prepare_cached("UPDATE counter SET n = ?2 WHERE what = ?1")?;
        for (what, (now, before)) in self.0.iter().zip(before.0).enumerate() {
            if *now != before {
                statement.execute((what as i64, now))?;
            }
        }
        Ok(())
    }

    /// A task comes from one status to another; `None` is outside.
    pub(super) fn count(&mut self, from: Option<Status>, to: Option<Status>) {
        if let Some(from) = from {
            self.0[from as usize] -= 1;
        }
        if let Some(to) = to {
            self.0[to as usize] += 1;
        }
    }

    pub(super) fn last_key(&self) -> TaskKey {
        self.0[Self::KEY]
    }

    pub(super) fn next_key(&mut self) -> TaskKey {
        self.0[Self::KEY] += 1;
        self.0[Self::KEY]
    }

    pub(super) fn last_seq(&self) -> i64 {
        self.0[Self::SEQ]
    }

    pub(super) fn next_seq(&mut self) -> i64 {
        self.0[Self::SEQ] += 1;
        self.0[Self::SEQ]
    }
}

/// The changes of one transaction.
#[derive(Default)]
struct Group {
    jobs: Vec<Job>,
    rows: usize,
    /// Somebody waits for one of them.
    awaited: bool,
}

impl Group {
    fn push(&mut self, job: Job) {
        self.rows += rows(&job.change);
        self.awaited |= job.answer.is_some();
        self.jobs.push(job);
    }

    fn is_full(&self) -> bool {
        self.jobs.len() >= GROUP_CHANGES || self.rows >= GROUP_ROWS
    }
}

/// How much work a change is, in rows added. A row of a sweep weighs as much as twenty: no more than three whole slices come
/// into a transaction.
fn rows(change: &Change) -> usize {
    let of_sweep = |rows: usize| rows.min(sweep::SLICE) * 20;
    match change {
        Change::Add { tasks, .. } => tasks.len(),
        Change::Asked { ids, .. } => ids.len(),
        Change::Remove { keys } => of_sweep(keys.len()),
        Change::CancelWaiting { select, .. } | Change::PauseWaiting { select, .. } => match select {
            Selection::Ids(ids) => of_sweep(ids.len()),
            Selection::Group(_) | Selection::Scope(_) | Selection::All => of_sweep(usize::MAX),
        },
        Change::WakeDue { limit, .. } | Change::Clean { limit, .. } => of_sweep(*limit),
        _ => 1,
    }
}

/// Everything the writer thread owns.
pub(super) struct Writer {
    conn: Connection,
    vault: Arc<Vault>,
    path: PathBuf,
    jobs: Receiver<Job>,
    /// Sweeps with slices left; one slice joins each transaction.
    backlog: VecDeque<Job>,
    /// What could not be written, in order, where `waits_for_room` says that it is kept.
    kept: Vec<Job>,
    /// There was something of that after the last group.
    waiting: bool,
    waits_for_room: Arc<AtomicBool>,
    tell: Tell,
    told: Vec<Committed>,
    numbers: Numbers,
    /// Set for ever once what is stored cannot be trusted any more.
    given_up: Option<Fault>,
    /// The WAL is not known to be empty.
    untidy: bool,
    /// Since the length of the WAL was looked at.
    commits: u32,
    /// The last group was a large one.
    busy: bool,
}

impl Writer {
    pub(super) fn new(
        conn: Connection,
        vault: Arc<Vault>,
        path: PathBuf,
        jobs: Receiver<Job>,
        tell: Tell,
        waits_for_room: Arc<AtomicBool>,
    ) -> Sql<Self> {
        Ok(Self {
            numbers: Numbers::load(&conn)?,
            conn,
            vault,
            path,
            jobs,
            backlog: VecDeque::new(),
            kept: Vec::new(),
            waiting: false,
            waits_for_room,
            tell,
            told: Vec::new(),
            given_up: None,
            untidy: true,
            commits: 0,
            busy: false,
        })
    }

    /// Works until the last sender is gone and everything is done.
    pub(super) fn run(mut self) {
        while let Some(group) = self.gather() {
            self.commit(group.jobs);
            if self.given_up.is_none()
                && let Err(error) = self.checkpoint()
            {
                tracing::warn!("cannot checkpoint `{}`: {error}", self.path.display());
                self.judge(&Fault::new(&self.path, &error));
            }
        }
        if self.given_up.is_none() {
            self.tidy();
        }
    }

    /// The next group: what is queued, and a slice of a sweep. `None`: there is nothing left and nothing can come.
    fn gather(&mut self) -> Option<Group> {
        let mut group = Group::default();
        if !self.kept.is_empty() {
            self.again(&mut group);
        } else if self.backlog.is_empty() {
            group.push(self.first()?);
        }
        if self.busy {
            crate::clock::pause(GROWTH); // nobody is woken for each change that comes meanwhile
        }
        self.drain(&mut group);
        self.busy = group.jobs.len() >= BUSY;
        if self.backlog.is_empty() {
            self.linger(&mut group);
        } else if let Some(job) = self.backlog.pop_front() {
            group.push(job);
        }
        Some(group)
    }

    /// Tries what was kept once more, after a while or with the next change; a last time when nothing more can come.
    fn again(&mut self, group: &mut Group) {
        let next = self.jobs.recv_timeout(ROOM);
        if matches!(next, Err(RecvTimeoutError::Disconnected)) {
            self.waits_for_room.store(false, Ordering::Relaxed);
        }
        self.kept.drain(..).chain(next).for_each(|job| group.push(job));
    }

    /// Waits for a change, and uses a long wait to tidy up.
    fn first(&mut self) -> Option<Job> {
        while self.untidy && self.given_up.is_none() {
            match self.jobs.recv_timeout(IDLE) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.tidy(),
            }
        }
        self.jobs.recv().ok()
    }

    fn drain(&self, group: &mut Group) {
        while !group.is_full()
            && let Ok(job) = self.jobs.try_recv()
        {
            group.push(job);
        }
    }

    /// Gives a group that nobody waits for up to a second to grow.
    fn linger(&self, group: &mut Group) {
        for _ in 0..WAITS {
            if group.awaited || group.is_full() {
                return;
            }
            match self.jobs.recv_timeout(WAIT) {
                Ok(job) => {
                    group.push(job);
                    self.drain(group);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn commit(&mut self, jobs: Vec<Job>) {
        let steps = self.transact(&jobs);
        let told = std::mem::take(&mut self.told);
        if !told.is_empty() {
            (self.tell)(told);
        }
        for (mut job, step) in jobs.into_iter().zip(steps) {
            match step {
                Ok(Step::Done(applied)) => job.answer(Ok(applied)),
                Ok(Step::Part(moved, next)) => {
                    job.progress.moved.extend(moved);
                    if let Some(cursor) = next {
                        job.progress.cursor = cursor;
                        self.backlog.push_back(job);
                    } else {
                        let moved = std::mem::take(&mut job.progress.moved);
                        job.answer(Ok(Applied::Moved(moved)));
                    }
                }
                Err(Fault::FileSystem(_) | Fault::Locked(_))
                    if job.change.is_progress() && self.waits_for_room.load(Ordering::Relaxed) =>
                {
                    self.kept.push(job);
                }
                Err(fault) => job.answer(Err(fault.error())),
            }
        }
        if std::mem::replace(&mut self.waiting, !self.kept.is_empty()) != self.waiting {
            let now =
                if self.waiting { "cannot be written: what transfers come to is kept" } else { "can be written again" };
            tracing::warn!("`{}` {now}", self.path.display());
        }
    }

    /// Applies and commits a group. A change that fails by itself is left out and the others are applied again from the
    /// start: that is rare, so that no change pays for a savepoint.
    fn transact(&mut self, jobs: &[Job]) -> Vec<Result<Step, Fault>> {
        let all = |fault: &Fault| jobs.iter().map(|_| Err(fault.clone())).collect();
        if let Some(fault) = &self.given_up {
            return all(fault);
        }
        let mut faults: Vec<Option<Fault>> = vec![None; jobs.len()];
        loop {
            let before = self.numbers;
            let (index, error) = match self.attempt(jobs, &faults) {
                Ok(steps) => return steps,
                Err(failed) => failed,
            };
            self.numbers = before;
            self.told.clear();
            if !self.conn.is_autocommit() {
                let _ = self.conn.execute_batch("ROLLBACK"); // SQLite may have done so itself
            }
            let fault = Fault::new(&self.path, &error);
            if !self.waiting {
                tracing::error!("{}", fault.error());
            }
            match index.and_then(|index| faults.get_mut(index)) {
                Some(slot) if concerns_one(&error) => *slot = Some(fault),
                _ => {
                    self.judge(&fault);
                    return all(&fault);
                }
            }
        }
    }

    /// Writes nothing more after a fault that the next attempt would only hide.
    fn judge(&mut self, fault: &Fault) {
        if matches!(fault, Fault::Damaged(_) | Fault::Unsynced(_)) {
            self.given_up.get_or_insert_with(|| fault.clone());
            // Not when it is closed either. Where that is refused, the error that led here is the one to tell.
            let _ = self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }

    /// One transaction. In the error: which change failed, `None` for BEGIN and COMMIT.
    #[allow(clippy::type_complexity)]
    fn attempt(
        &mut self,
        jobs: &[Job],
        faults: &[Option<Fault>],
    ) -> Result<Vec<Result<Step, Fault>>, (Option<usize>, rusqlite::Error)> {
        let whole = |error| (None, error);
        let before = self.numbers;
        self.conn.execute_batch("BEGIN IMMEDIATE").map_err(whole)?;
        let mut batch = Batch::new(&self.conn, &self.vault, &mut self.numbers, &mut self.told).map_err(whole)?;
        let mut steps = Vec::with_capacity(jobs.len());
        for (index, (job, fault)) in jobs.iter().zip(faults).enumerate() {
            steps.push(match fault {
                Some(fault) => Err(fault.clone()),
                None => Ok(batch
                    .apply(&job.change, job.progress.cursor, job.progress.moved.len())
                    .map_err(|error| (Some(index), error))?),
            });
        }
        drop(batch);
        self.numbers.save(&self.conn, &before).map_err(whole)?;
        self.conn.execute_batch("COMMIT").map_err(whole)?;
        Ok(steps)
    }

    /// Copies the WAL into the database when it has grown. Rule: reliability H.7: only the writer checkpoints.
    fn checkpoint(&mut self) -> Sql<()> {
        self.untidy = true;
        self.commits += 1;
        if self.commits < COMMITS {
            return Ok(());
        }
        self.commits = 0;
        let (log, copied) = wal(&self.conn, "NOOP")?;
        if log >= TRUNCATE_PAGES {
            self.truncate()?;
        } else if log - copied >= PASSIVE_PAGES {
            wal(&self.conn, "PASSIVE")?;
        }
        Ok(())
    }

    /// Cuts the WAL to nothing unless a reader is in the way, for whom nobody waits.
    fn truncate(&mut self) -> Sql<bool> {
        self.conn.busy_timeout(Duration::ZERO)?;
        let done = wal(&self.conn, "TRUNCATE");
        self.conn.busy_timeout(Duration::from_secs(5))?;
        Ok(done?.0 == 0)
    }

    /// Gives free pages back and empties the WAL.
    fn tidy(&mut self) {
        match self.try_tidy() {
            Ok(untidy) => self.untidy = untidy,
            Err(error) => {
                tracing::warn!("cannot tidy `{}`: {error}", self.path.display());
                self.judge(&Fault::new(&self.path, &error));
                self.untidy = false; // not again before the next commit
            }
        }
    }

    /// Whether there is more to do.
    fn try_tidy(&mut self) -> Sql<bool> {
        let free: i64 = self.conn.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        let vacuum = free > VACUUM_PAGES;
        if vacuum {
            self.conn.execute_batch(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
        }
        let empty = self.truncate()?;
        Ok(vacuum || !empty)
    }
}

/// Whether an error in a change is that change's alone: the others of its group may be tried again without it.
fn concerns_one(error: &rusqlite::Error) -> bool {
    !matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::ReadOnly
                | ErrorCode::CannotOpen
        )
    )
}

/// Runs a checkpoint: pages in the WAL, and how many of them are in the database.
fn wal(conn: &Connection, mode: &str) -> Sql<(i64, i64)> {
    let mut statement = conn.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
    statement.query_row([], |row| Ok((row.get(1)?, row.get(2)?)))
}
