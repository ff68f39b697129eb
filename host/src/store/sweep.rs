//! Changes of many tasks: cancel, pause, wake, remove, clean. Each is applied a slice at a time, a transaction for each, so
//! that a sweep over a million tasks lets other changes through.

use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::apply::{Batch, Row, number};
use super::codec;
use super::fault::{Sql, unwritable};
use super::writer::Step;
use super::{Applied, Change, Selection, TaskKey, read};
use crate::event::{Details, IN_DOUBT, SENT};
use crate::task::Status;

/// Tasks looked at in one transaction: some 30 ms of work.
pub(super) const SLICE: usize = 1_000;

/// Where a sweep goes on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    /// Index into the statuses to sweep.
    phase: usize,
    /// Of a list of ids or keys, how many are done; otherwise the last key looked at.
    after: i64,
    /// The last key there was when the sweep began: later tasks are not meant.
    last: Option<TaskKey>,
}

const CANCELED: [Status; 3] = [Status::Enqueued, Status::WaitingToRetry, Status::Paused];
const PAUSED: [Status; 2] = [Status::Enqueued, Status::WaitingToRetry];

impl Batch<'_> {
    /// One slice of a sweep, after `moved` tasks of earlier slices.
    pub(super) fn sweep(&mut self, change: &Change, cursor: Cursor, moved: usize) -> Sql<Step> {
        let left = |limit: &usize| limit.saturating_sub(moved);
        match change {
            Change::CancelWaiting { select, details, at } => {
                let (keys, next) = self.slice(select, &CANCELED, cursor)?;
                let moved = self.each(&keys, |batch, row| batch.cancel_one(row, details, *at))?;
                Ok(Step::Part(moved, next))
            }
            Change::PauseWaiting { select, at } => {
                let (keys, next) = self.slice(select, &PAUSED, cursor)?;
                let moved = self.each(&keys, |batch, row| batch.pause_one(row, *at))?;
                Ok(Step::Part(moved, next))
            }
            Change::WakeDue { limit, at } => {
                let keys = self.keys(
                    "SELECT key FROM task INDEXED BY task_due WHERE ready_at IS NOT NULL AND ready_at <= ?1
                     ORDER BY ready_at LIMIT ?2",
                    *at,
                    left(limit),
                )?;
                let moved = self.each(&keys, |batch, row| batch.wake_one(row, *at))?;
                Ok(Step::Part(moved, again(&keys, left(limit), cursor)))
            }
            Change::Clean { before, key, limit } => {
                let keys = self.ended_before(*before, *key, left(limit))?;
                let acknowledged = self.acknowledged()?;
                let moved = self.each(&keys, |batch, row| batch.forget(&row, acknowledged).map(|()| true))?;
                Ok(Step::Part(moved, again(&keys, left(limit), cursor)))
            }
            Change::Remove { keys } => self.remove(keys, cursor),
            _ => Ok(Step::Done(Applied::Done)), // not a sweep: `apply` deals with it
        }
    }

    /// Calls `act` for each known task; the keys for which it changed something.
    fn each(&mut self, keys: &[TaskKey], mut act: impl FnMut(&mut Self, Row) -> Sql<bool>) -> Sql<Vec<TaskKey>> {
        let mut moved = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(row) = self.row(*key)?
                && act(self, row)?
            {
                moved.push(*key);
            }
        }
        Ok(moved)
    }

    fn cancel_one(&mut self, row: Row, details: &Arc<Details>, at: u64) -> Sql<bool> {
        if !CANCELED.contains(&row.status) {
            return Ok(false);
        }
        let details = &self.with_doubt(row.key, details)?;
        self.forsake(row.key)?;
        self.conn
            .prepare_cached(
                "UPDATE task SET status = 5, ready_at = NULL, paused_by = NULL, ended_at = ?2, closed = 1, outcome = ?3,
                   upload = NULL WHERE key = ?1",
            )?
            .execute((row.key, number(at), codec::encode_outcome(details).map_err(unwritable)?))?;
        self.drop_resume(row.key)?;
        self.moved(row, Status::Canceled, at, Some(details))?;
        Ok(true)
    }

    /// What is told of a cancelled task, with the doubt that an engine has left which ended while it waited for an answer.
    fn with_doubt(&mut self, key: TaskKey, details: &Arc<Details>) -> Sql<Arc<Details>> {
        let mut known = self.conn.prepare_cached("SELECT outcome FROM task WHERE key = ?1")?;
        let outcome: Option<String> = known.query_row([key], |row| row.get(0))?;
        let outcome = codec::decode_outcome(outcome.as_deref()).unwrap_or_default(); // one that cannot be read is no doubt
        let mut details = Arc::clone(details);
        if outcome.notes.iter().any(|note| note == SENT) {
            Arc::make_mut(&mut details).notes.push(IN_DOUBT.into());
        }
        Ok(details)
    }

    fn pause_one(&mut self, row: Row, at: u64) -> Sql<bool> {
        if !PAUSED.contains(&row.status) || !row.allow_pause {
            return Ok(false);
        }
        self.conn.prepare_cached("UPDATE task SET status = 7, ready_at = NULL WHERE key = ?1")?.execute([row.key])?;
        self.moved(row, Status::Paused, at, None)?;
        Ok(true)
    }

    fn wake_one(&mut self, row: Row, at: u64) -> Sql<bool> {
        self.conn.prepare_cached("UPDATE task SET status = 0, ready_at = NULL WHERE key = ?1")?.execute([row.key])?;
        if row.status == Status::WaitingToRetry {
            self.moved(row, Status::Enqueued, at, None)?;
        }
        Ok(true)
    }

    /// All of the list must be final before anything is removed; what is unknown is gone already.
    fn remove(&mut self, keys: &[TaskKey], mut cursor: Cursor) -> Sql<Step> {
        if cursor.after == 0 {
            for key in keys {
                match self.row(*key)? {
                    Some(row) if !row.status.is_final() => {
                        return Ok(Step::Done(Applied::Refused(Some(row.status))));
                    }
                    _ => {}
                }
            }
        }
        let slice = window(keys, &mut cursor);
        let acknowledged = self.acknowledged()?;
        self.each(slice, |batch, row| {
            if row.status.is_final() {
                batch.forget(&row, acknowledged)?;
            }
            Ok(true)
        })?;
        Ok(if slice.len() < SLICE { Step::Done(Applied::Done) } else { Step::Part(Vec::new(), Some(cursor)) })
    }

    /// The next keys of a selection in these statuses, and where to go on after them.
    fn slice(
        &self,
        select: &Selection,
        statuses: &[Status],
        mut cursor: Cursor,
    ) -> Sql<(Vec<TaskKey>, Option<Cursor>)> {
        if let Selection::Ids(ids) = select {
            let slice = window(ids, &mut cursor);
            let keys = self.keys_of(slice)?;
            return Ok((keys, (slice.len() == SLICE).then_some(cursor)));
        }
        let last = *cursor.last.get_or_insert(self.numbers.last_key());
        let mut keys = Vec::new();
        while let Some(status) = statuses.get(cursor.phase) {
            let room = SLICE - keys.len();
            let found = self.waiting(select, *status, cursor.after, last, room)?;
            keys.extend_from_slice(&found);
            if found.len() == room {
                cursor.after = keys.last().copied().unwrap_or(last);
                return Ok((keys, Some(cursor)));
            }
            cursor.phase += 1;
            cursor.after = 0;
        }
        Ok((keys, None))
    }

    /// Keys of a scope's, a group's, or all, tasks in a status, after `after` up to `last`.
    fn waiting(
        &self,
        select: &Selection,
        status: Status,
        after: TaskKey,
        last: TaskKey,
        limit: usize,
    ) -> Sql<Vec<TaskKey>> {
        if let Selection::Scope(scope) = select {
            let (first, end) = read::below(scope);
            let mut find = self.conn.prepare_cached(read::OF_SCOPE)?;
            let params = params![scope, first, end, status as u8, after, number(limit as u64)];
            let found: Sql<Vec<TaskKey>> = find.query_map(params, |row| row.get(0))?.collect();
            return found.map(|keys| keys.into_iter().filter(|key| *key <= last).collect());
        }
        let (index, group) = match select {
            Selection::Group(group) => (read::of_group(group), Some(group)),
            _ => ("INDEXED BY task_status WHERE 1", None),
        };
        let sql = format!(
            "SELECT key FROM task {index} AND status = ?1 AND key > ?2 AND key <= ?3 AND (?5 IS NULL OR group_name = ?5)
             ORDER BY key LIMIT ?4"
        );
        let limit = number(limit as u64);
        self.conn
            .prepare_cached(&sql)?
            .query_map(params![status as u8, after, last, limit, group], |row| row.get(0))?
            .collect()
    }

    /// Keys of the ids that are known.
    fn keys_of(&self, ids: &[String]) -> Sql<Vec<TaskKey>> {
        let mut find = self.conn.prepare_cached("SELECT key FROM task WHERE task_id = ?1")?;
        let mut keys = Vec::with_capacity(ids.len());
        for id in ids {
            keys.extend(find.query_row([id], |row| row.get::<_, TaskKey>(0)).optional()?);
        }
        Ok(keys)
    }

    fn ended_before(&self, time: u64, key: TaskKey, limit: usize) -> Sql<Vec<TaskKey>> {
        self.conn
            .prepare_cached(
                "SELECT key FROM task INDEXED BY task_ended
                 WHERE ended_at IS NOT NULL AND ended_at <= ?1 AND (ended_at < ?1 OR key < ?2)
                 ORDER BY ended_at, key LIMIT ?3",
            )?
            .query_map((number(time), key, number(limit.min(SLICE) as u64)), |row| row.get(0))?
            .collect()
    }

    fn keys(&self, sql: &str, time: u64, limit: usize) -> Sql<Vec<TaskKey>> {
        let limit = number(limit.min(SLICE) as u64);
        self.conn.prepare_cached(sql)?.query_map((number(time), limit), |row| row.get(0))?.collect()
    }
}

/// Whether a sweep with a limit has another slice: this one was full and there is room for more.
fn again(keys: &[TaskKey], left: usize, cursor: Cursor) -> Option<Cursor> {
    (keys.len() == SLICE && left > SLICE).then_some(cursor)
}

/// The next slice of a list; moves the cursor behind it.
fn window<'a, T>(list: &'a [T], cursor: &mut Cursor) -> &'a [T] {
    let from = usize::try_from(cursor.after).unwrap_or(list.len()).min(list.len());
    let to = list.len().min(from + SLICE);
    cursor.after = i64::try_from(to).unwrap_or(i64::MAX);
    &list[from..to]
}
