//! Reading: on the caller's thread, on read-only connections, each call within one snapshot. Changes nothing.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::apply::number;
use super::codec;
use super::fault::{Sql, unreadable};
use super::vault::Vault;
use super::{
    CanceledScope, Filter, HELD, Publish, QueueKey, QueuePosition, Reading, Selection, Store, TaskKey, Unfinished,
};
use crate::error::Result;
use crate::event::StatusUpdate;
use crate::task::{Body, NOTIFICATION, Record, ResumeRecord, Status, UploadRecord};

/// The group of tasks that name none.
const DEFAULT_GROUP: &str = "default";
/// Tasks listed by [`Store::parts_of`] at most.
const PARTS: i64 = 10_000;

/// A query for records: of tasks `t`, by an index when that is named.
macro_rules! records {
    ($tail:literal) => {
        records!("", $tail)
    };
    ($index:literal, $tail:literal) => {
        concat!(
            "SELECT t.key, t.task_id, t.status, t.priority, t.created, t.group_name, t.url, t.ready_at, t.attempt,
               t.retries_remaining, t.bytes_done, t.expected_size, t.place, t.outcome, t.spec, t.body,
               r.task, r.part_name, r.part_dev, r.part_ino, r.durable_bytes, r.boot_id, r.total_bytes, r.etag,
               r.last_modified, r.date, r.ranges_known, r.encoded, r.final_name, r.final_url, r.pieces, t.sealed,
               t.changes, t.upload, r.first_byte, r.part_born, r.digest, r.answer, t.paused_by, r.doubtful_from
             FROM task t ",
            $index,
            " LEFT JOIN resume r ON r.task = t.key ",
            $tail
        )
    };
}

/// Records, and the key to go on after when there may be more.
type Page = (Vec<(TaskKey, Record)>, Option<TaskKey>);

impl Store {
    /// The record of an id.
    pub(crate) fn record(&self, task_id: &str) -> Result<Option<(TaskKey, Record)>> {
        self.read(|conn| {
            let mut find = conn.prepare_cached(records!("WHERE t.task_id = ?1"))?;
            find.query_row([task_id], |row| record(row, conn.vault)).optional()
        })
    }

    /// The first of these ids that a task has.
    pub(crate) fn first_taken<'a>(&self, mut ids: impl Iterator<Item = &'a str>) -> Result<Option<String>> {
        self.read(|conn| {
            let mut find = conn.prepare_cached("SELECT 1 FROM task WHERE task_id = ?1")?;
            ids.find_map(|id| find.exists([id]).map(|taken| taken.then(|| id.to_owned())).transpose()).transpose()
        })
    }

    /// The record of a key.
    pub(crate) fn record_of(&self, key: TaskKey) -> Result<Option<Record>> {
        Ok(self.records_of([key])?.pop().map(|(_, record)| record))
    }

    /// The records of those tasks that are known.
    pub(crate) fn records_of(&self, keys: impl IntoIterator<Item = TaskKey>) -> Result<Vec<(TaskKey, Record)>> {
        self.read(|conn| by_keys(conn, keys))
    }

    /// The ids that begin with `prefix`, at most `limit`.
    pub(crate) fn ids_with_prefix(&self, prefix: &str, limit: usize) -> Result<Vec<String>> {
        self.read(|conn| {
            let mut statement =
                conn.prepare_cached("SELECT task_id FROM task WHERE task_id >= ?1 ORDER BY task_id LIMIT ?2")?;
            let mut rows = statement.query((prefix, rows(limit)))?;
            let mut ids = Vec::new();
            while let Some(row) = rows.next()? {
                let id: String = row.get(0)?;
                if !id.starts_with(prefix) {
                    break; // ids are sorted by their bytes: those with the prefix stand together
                }
                ids.push(id);
            }
            Ok(ids)
        })
    }

    /// Records in order of addition after `after`, at most `limit`, and the key to go on after when there may be more.
    pub(crate) fn records(&self, filter: &Filter, after: TaskKey, limit: usize) -> Result<Page> {
        let select = filter.narrowest();
        self.read(|conn| {
            let keys: Vec<TaskKey> = if filter.statuses.is_empty() && select == Selection::All {
                keys(conn, "SELECT key FROM task WHERE key > ?1 ORDER BY key LIMIT ?2", (after, rows(limit)))?
            } else {
                let statuses = if filter.statuses.is_empty() { &Status::ALL } else { filter.statuses.as_slice() };
                select_keys(conn, &select, statuses, after, limit)?.into_iter().map(|(key, _, _)| key).collect()
            };
            let more = keys.last().copied().filter(|_| keys.len() >= limit);
            let mut records = by_keys(conn, keys)?;
            records.retain(|(_, record)| filter.has(&record.task));
            Ok((records, more))
        })
    }

    /// Keys and ids of the selection's tasks in any of these statuses, in order of addition, at most `limit` after `after`.
    pub(crate) fn select(
        &self,
        select: &Selection,
        statuses: &[Status],
        after: TaskKey,
        limit: usize,
    ) -> Result<Vec<(TaskKey, String, Status)>> {
        self.read(|conn| select_keys(conn, select, statuses, after, limit))
    }

    /// Tasks of the selection that neither run nor are final and have a resume record, that is, a part file; at most
    /// 10,000. Who cancels them removes those files.
    pub(crate) fn parts_of(&self, select: &Selection) -> Result<Vec<(TaskKey, Record)>> {
        const WAITING: &str =
            "SELECT t.key FROM resume r CROSS JOIN task t ON t.key = r.task WHERE t.status IN (0, 6, 7)";
        self.read(|conn| {
            let keys = match select {
                Selection::All => keys(conn, &format!("{WAITING} LIMIT {PARTS}"), [])?,
                Selection::Scope(scope) => {
                    let (first, end) = below(scope);
                    let of = "AND (t.scope = ?1 OR (t.scope >= ?2 AND t.scope < ?3))";
                    keys(conn, &format!("{WAITING} {of} LIMIT {PARTS}"), (scope, first, end))?
                }
                Selection::Group(group) => {
                    keys(conn, &format!("{WAITING} AND t.group_name = ?1 LIMIT {PARTS}"), [group])?
                }
                Selection::Ids(ids) => {
                    let mut found = Vec::new();
                    for id in ids {
                        let sql = "SELECT t.key FROM task t JOIN resume r ON r.task = t.key
                                   WHERE t.task_id = ?1 AND t.status IN (0, 6, 7)";
                        found.extend(keys(conn, sql, [id])?);
                    }
                    found
                }
            };
            by_keys(conn, keys.into_iter().take(PARTS as usize))
        })
    }

    /// Tasks that wait or run and whose ends are told of, each with the group whose notifications it has (JSON `notification`,
    /// else its own). Scans: asked once, where groups are shown as one.
    pub(crate) fn notified(&self, mut take: impl FnMut(String, String)) -> Result<()> {
        let find = format!(
            "SELECT task_id, coalesce((SELECT value ->> 1 FROM json_each(spec, '$.x') WHERE value ->> 0 = '{NOTIFICATION}'),
               group_name), updates FROM task INDEXED BY task_status
             WHERE status IN (0, 1, 6) AND coalesce(spec ->> '$.t', 0) NOT IN (3, 5)"
        );
        self.read(|conn| {
            let mut statement = conn.prepare(&find)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if codec::sends_status(row.get(2)?) {
                    take(row.get(0)?, row.get(1)?);
                }
            }
            Ok(())
        })
    }

    /// Whether a task goes on with, or publishes, a part file of that name. Scans: for the odd file that nobody seems to own.
    pub(crate) fn has_part(&self, name: &str) -> Result<bool> {
        const FIND: &str = "SELECT EXISTS (SELECT 1 FROM resume WHERE part_name = ?1)
                              OR EXISTS (SELECT 1 FROM publishing WHERE publish ->> 'p' = ?1)";
        self.read(|conn| conn.prepare_cached(FIND)?.query_row([name], |row| row.get(0)))
    }

    /// Tasks that [`Change::Clean`] forgets with the same `before` and `key`, and of which something is stored.
    pub(crate) fn ended_with_bytes(&self, before: u64, key: TaskKey) -> Result<Vec<TaskKey>> {
        let find = "SELECT task FROM resume CROSS JOIN task ON key = task
                    WHERE ended_at IS NOT NULL AND (ended_at < ?1 OR ended_at = ?1 AND key < ?2)";
        self.read(|conn| keys(conn, find, (number(before), key)))
    }

    /// Whether a task names a path with this in it: one that is over for good (complete or cancelled), or one of the others.
    /// Scans: for the odd file of the spool.
    pub(crate) fn has_path(&self, text: &str, over: bool) -> Result<bool> {
        let statuses = if over { "2, 5" } else { "0, 1, 3, 4, 6, 7" };
        let find = format!(
            "SELECT EXISTS (SELECT 1 FROM task INDEXED BY task_status WHERE status IN ({statuses})
               AND (instr(place, CAST(?1 AS BLOB)) > 0 OR instr(spec, ?1) > 0))"
        );
        self.read(|conn| conn.prepare_cached(&find)?.query_row([text], |row| row.get(0)))
    }

    /// Number of tasks in each status, from counters: does not scan.
    pub(crate) fn counts(&self) -> Result<[u64; 8]> {
        self.read(|conn| {
            let mut counts = [0; 8];
            let mut statement = conn.prepare_cached("SELECT what, n FROM counter WHERE what < 8")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if let Some(count) = counts.get_mut(usize::from(row.get::<_, u16>(0)?)) {
                    *count = unsigned(row, 1)?;
                }
            }
            Ok(counts)
        })
    }

    /// The head of the queue: enqueued and ready tasks after `after`, in order, at most `limit`.
    pub(crate) fn queue(
        &self,
        part: &QueueKey,
        after: Option<QueuePosition>,
        limit: usize,
    ) -> Result<Vec<QueuePosition>> {
        let after = after.unwrap_or((i32::MIN, 0, 0));
        self.read(|conn| match (&part.host, &part.group) {
            (None, None) => positions(conn, None, part.uploads, after, limit),
            (Some(host), Some(group)) => positions(conn, Some((host, group)), part.uploads, after, limit),
            (host, group) => {
                let pairs = match (host, group) {
                    (None, Some(group)) => queue_hosts(conn)?.into_iter().map(|host| (host, group.clone())).collect(),
                    _ => queue_keys(conn, host.as_deref(), usize::MAX)?,
                };
                let mut all = Vec::new();
                for (host, group) in pairs {
                    all.extend(positions(conn, Some((&host, &group)), part.uploads, after, limit)?);
                }
                all.sort_unstable();
                all.truncate(limit);
                Ok(all)
            }
        })
    }

    /// The (host, group) pairs that have ready tasks, without scanning all tasks, at most `limit`.
    pub(crate) fn queue_keys(&self, limit: usize) -> Result<Vec<(String, String)>> {
        self.read(|conn| queue_keys(conn, None, limit))
    }

    /// How many ready tasks come before this position in the whole queue, counted up to `limit`.
    pub(crate) fn ahead_of(&self, position: QueuePosition, limit: usize) -> Result<usize> {
        let (priority, created, key) = position;
        const READY: &str = "SELECT count(*) FROM (SELECT 1 FROM task INDEXED BY task_queue
                             WHERE status = 0 AND ready_at IS NULL";
        self.read(|conn| {
            let created = number(created);
            let mut ahead =
                count(conn, &format!("{READY} AND priority < ?1 LIMIT ?2)"), params![priority, rows(limit)])?;
            ahead += count(
                conn,
                &format!("{READY} AND priority = ?1 AND created < ?2 LIMIT ?3)"),
                params![priority, created, rows(limit - ahead)],
            )?;
            ahead += count(
                conn,
                &format!("{READY} AND priority = ?1 AND created = ?2 AND key < ?3 LIMIT ?4)"),
                params![priority, created, key, rows(limit - ahead)],
            )?;
            Ok(ahead)
        })
    }

    /// The earliest `ready_at` of a task that is enqueued or waitingToRetry, and not held.
    pub(crate) fn next_ready_at(&self) -> Result<Option<u64>> {
        self.read(|conn| {
            conn.prepare_cached(
                "SELECT ready_at FROM task INDEXED BY task_due WHERE ready_at IS NOT NULL ORDER BY ready_at LIMIT 1",
            )?
            .query_row([], |row| unsigned(row, 0))
            .optional()
            .map(|at| at.filter(|at| *at < HELD))
        })
    }

    /// Tasks that wait, for whatever reason, and whose `not_after` has come, at most `limit`: the longest overdue first.
    pub(crate) fn expired(&self, at: u64, limit: usize) -> Result<Vec<TaskKey>> {
        self.read(|conn| {
            let find = "SELECT key FROM task INDEXED BY task_expires
                        WHERE not_after IS NOT NULL AND status IN (0, 6) AND not_after <= ?1 ORDER BY not_after LIMIT ?2";
            keys(conn, find, (number(at), rows(limit)))
        })
    }

    /// The earliest `not_after` later than that of a task that waits.
    pub(crate) fn next_not_after(&self, after: u64) -> Result<Option<u64>> {
        self.read(|conn| {
            conn.prepare_cached(
                "SELECT not_after FROM task INDEXED BY task_expires
                 WHERE not_after IS NOT NULL AND status IN (0, 6) AND not_after > ?1 ORDER BY not_after LIMIT 1",
            )?
            .query_row([number(after)], |row| unsigned(row, 0))
            .optional()
        })
    }

    /// Whether any task is held.
    pub(crate) fn has_held(&self) -> Result<bool> {
        self.read(|conn| {
            let find = "SELECT 1 FROM task INDEXED BY task_due WHERE ready_at IS NOT NULL AND ready_at = ?1";
            conn.prepare_cached(find)?.exists([number(HELD)])
        })
    }

    /// A setting of the home.
    pub(crate) fn setting(&self, name: &str) -> Result<Option<String>> {
        self.read(|conn| {
            let find = "SELECT content FROM setting WHERE name = ?1";
            conn.prepare_cached(find)?.query_row([name], |row| row.get(0)).optional()
        })
    }

    /// Scopes that are cancelled, by name.
    pub(crate) fn canceled_scopes(&self) -> Result<Vec<CanceledScope>> {
        self.read(|conn| {
            conn.prepare_cached("SELECT name, at, reason FROM scope ORDER BY name")?.query_map([], scope_row)?.collect()
        })
    }

    /// The cancelled scope that this one is or is below.
    pub(crate) fn canceled_scope(&self, scope: &str) -> Result<Option<CanceledScope>> {
        self.read(|conn| canceled_scope(conn, scope))
    }

    /// Tasks that were running or publishing when the last engine ended.
    pub(crate) fn unfinished(&self) -> Result<Vec<Unfinished>> {
        self.read(|conn| {
            let running = conn
                .prepare_cached(records!("INDEXED BY task_status", "WHERE t.status = 1"))?
                .query_map([], |row| record(row, conn.vault))?
                .collect::<Sql<Vec<_>>>()?;
            let mut find = conn.prepare_cached("SELECT publish FROM publishing WHERE task = ?1")?;
            let mut unfinished = Vec::with_capacity(running.len());
            for (key, record) in running {
                let publish = find.query_row([key], publish).optional()?;
                unfinished.push(Unfinished { key, record, publish });
            }
            Ok(unfinished)
        })
    }

    /// Uploads of cancelled tasks that servers may still keep, of so many tasks at most.
    pub(crate) fn forsaken(&self, limit: usize) -> Result<Vec<(TaskKey, UploadRecord)>> {
        self.read(|conn| {
            let mut find = conn.prepare_cached("SELECT task, upload FROM forsaken LIMIT ?1")?;
            let found = find.query_map([rows(limit)], |row| {
                let (key, sealed) = (row.get(0)?, row.get_ref(1)?.as_blob()?);
                let upload = codec::decode_upload(key, sealed, conn.vault).map_err(|error| unreadable(1, error))?;
                Ok((key, upload))
            })?;
            found.collect()
        })
    }

    /// Not-final, failed or not-found tasks with a place and this exact URL, and complete ones whose end the command that asked for them has not told,
    /// newest first: what `get` may go on with.
    /// An answer for each URL, in order.
    pub(crate) fn with_urls<'a>(
        &self,
        urls: impl Iterator<Item = &'a str>,
        limit: usize,
    ) -> Result<Vec<Vec<(TaskKey, Record)>>> {
        self.read(|conn| {
            let mut find = conn.prepare_cached(
                "SELECT key FROM task INDEXED BY task_url
                 WHERE closed = 0 AND place IS NOT NULL AND substr(url, 1, 120) = substr(?1, 1, 120) AND url = ?1
                 ORDER BY key DESC LIMIT ?2",
            )?;
            let mut found = Vec::new();
            for url in urls {
                // Stored without its secrets; those that have others are left out.
                let shown = codec::shown_url(url);
                let keys: Vec<TaskKey> =
                    find.query_map((&shown, rows(limit)), |row| row.get(0))?.collect::<Sql<_>>()?;
                let mut tasks = if keys.is_empty() { Vec::new() } else { by_keys(conn, keys)? };
                tasks.retain(|(_, record)| record.task.url == url);
                found.push(tasks);
            }
            Ok(found)
        })
    }

    /// Whether a command waits for the task's end, or was killed before it could tell it.
    pub(crate) fn is_asked(&self, key: TaskKey) -> Result<bool> {
        self.read(|conn| {
            let find = "SELECT asked FROM task WHERE key = ?1";
            Ok(conn.prepare_cached(find)?.query_row([key], |row| row.get(0)).optional()?.unwrap_or(false))
        })
    }

    /// When the `kept`th youngest of the final tasks ended, in milliseconds since 1970, and its key; `None` when there are fewer.
    pub(crate) fn end_of(&self, kept: usize) -> Result<Option<(u64, TaskKey)>> {
        let Some(others) = kept.checked_sub(1) else { return Ok(Some((crate::config::LAST_TIME_MS, 0))) };
        self.read(|conn| {
            conn.prepare_cached(
                "SELECT ended_at, key FROM task INDEXED BY task_ended WHERE ended_at IS NOT NULL
                 ORDER BY ended_at DESC, key DESC LIMIT 1 OFFSET ?1",
            )?
            .query_row([rows(others)], |row| Ok((unsigned(row, 0)?, row.get(1)?)))
            .optional()
        })
    }

    /// Stored updates after `seq`, oldest first, at most `limit`.
    pub(crate) fn events_after(&self, seq: u64, limit: usize) -> Result<Vec<StatusUpdate>> {
        self.read(|conn| {
            conn.prepare_cached(
                "SELECT seq, task_id, group_name, status, at, details FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?
            .query_map((number(seq), rows(limit)), update)?
            .collect()
        })
    }

    /// The final update of a task's last run; `None`: it is not over.
    pub(crate) fn final_update(&self, key: TaskKey) -> Result<Option<StatusUpdate>> {
        self.read(|conn| {
            conn.prepare_cached(
                "SELECT seq, task_id, group_name, status, at, details FROM event WHERE task = ?1 AND final = 1
                 ORDER BY run DESC LIMIT 1",
            )?
            .query_row([key], update)
            .optional()
        })
    }

    /// When the first attempt of a task's present run began; `None`: none has.
    pub(crate) fn first_start(&self, key: TaskKey) -> Result<Option<u64>> {
        self.read(|conn| {
            conn.prepare_cached(
                "SELECT at FROM event WHERE task = ?1 AND run = (SELECT run FROM task WHERE key = ?1) AND status = ?2
                 ORDER BY seq LIMIT 1",
            )?
            .query_row((key, Status::Running as u8), |row| unsigned(row, 0))
            .optional()
        })
    }

    /// The last sequence number given out.
    pub(crate) fn last_seq(&self) -> Result<u64> {
        self.read(|conn| {
            conn.prepare_cached("SELECT n FROM counter WHERE what = 9")?.query_row([], |row| unsigned(row, 0))
        })
    }

    /// Known consumers and their positions.
    pub(crate) fn consumers(&self) -> Result<Vec<(String, u64)>> {
        self.read(|conn| {
            conn.prepare_cached("SELECT name, position FROM consumer ORDER BY name")?
                .query_map([], |row| Ok((row.get(0)?, unsigned(row, 1)?)))?
                .collect()
        })
    }

    /// What each known consumer has yet to acknowledge.
    pub(crate) fn waiting_events(&self) -> Result<Vec<Backlog>> {
        let backlog = |conn: &Connection, (consumer, position): (String, u64)| {
            let after = [number(position)];
            let of = |sql: &str| conn.prepare_cached(sql)?.query_row(after, |row| unsigned(row, 0));
            let waiting = of("SELECT count(*) FROM (SELECT 1 FROM event WHERE seq > ?1 LIMIT 100000)")?;
            let kept = of("SELECT count(*) FROM event INDEXED BY event_kept WHERE kept = 1 AND seq > ?1")?;
            let oldest = of("SELECT at FROM event WHERE seq > ?1 ORDER BY seq LIMIT 1").optional()?;
            Ok(Backlog { consumer, position, waiting, kept, oldest })
        };
        let known = self.consumers()?;
        self.read(|conn| known.iter().map(|known| backlog(conn, known.clone())).collect())
    }

    /// `PRAGMA quick_check`, and the version of SQLite: for `doctor`. First `SQLite 3.x.y`, then `ok` or one line for each
    /// thing that is wrong. Reads the whole file.
    pub(crate) fn check(&self) -> Result<Vec<String>> {
        self.read(|conn| {
            let mut lines = vec![format!("SQLite {}", rusqlite::version())];
            let mut statement = conn.prepare("PRAGMA quick_check")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                lines.push(row.get(0)?);
            }
            Ok(lines)
        })
    }
}

/// What a consumer has yet to acknowledge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backlog {
    pub(crate) consumer: String,
    /// The last event that it has acknowledged.
    pub(crate) position: u64,
    /// Events after that, 100,000 at most.
    pub(crate) waiting: u64,
    /// Those of them that are still there for consumers alone: their tasks are forgotten.
    pub(crate) kept: u64,
    /// When the first of them happened.
    pub(crate) oldest: Option<u64>,
}

/// The index that finds tasks of a group and status, and the condition under which it does.
pub(super) fn of_group(group: &str) -> &'static str {
    match group {
        DEFAULT_GROUP => "INDEXED BY task_status WHERE 1",
        _ => "INDEXED BY task_group WHERE group_name <> 'default'",
    }
}

/// The cancelled scope that this one is or is below.
pub(super) fn canceled_scope(conn: &Connection, scope: &str) -> Sql<Option<CanceledScope>> {
    let mut find = conn.prepare_cached("SELECT name, at, reason FROM scope WHERE name = ?1")?;
    let ends = scope.match_indices('/').map(|(end, _)| end).chain([scope.len()]);
    for name in ends.map(|end| &scope[..end]) {
        let found = find.query_row([name], scope_row).optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn scope_row(row: &Row<'_>) -> Sql<CanceledScope> {
    Ok(CanceledScope { name: row.get(0)?, at: unsigned(row, 1)?, reason: row.get(2)? })
}

/// The names below a scope: from the first (included) to the second (excluded).
pub(super) fn below(scope: &str) -> (String, String) {
    (format!("{scope}/"), format!("{scope}0")) // `0` comes next after `/`
}

/// A limit as SQLite takes it.
fn rows(limit: usize) -> i64 {
    number(limit as u64)
}

fn count(conn: &Connection, sql: &str, params: impl rusqlite::Params) -> Sql<usize> {
    let count = conn.prepare_cached(sql)?.query_row(params, |row| unsigned(row, 0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

fn keys(conn: &Connection, sql: &str, params: impl rusqlite::Params) -> Sql<Vec<TaskKey>> {
    conn.prepare_cached(sql)?.query_map(params, |row| row.get(0))?.collect()
}

/// The statement is looked up once: its text is long, and a queue is read often.
fn by_keys(conn: &Reading<'_>, keys: impl IntoIterator<Item = TaskKey>) -> Sql<Vec<(TaskKey, Record)>> {
    let mut find = conn.prepare_cached(records!("WHERE t.key = ?1"))?;
    let mut records = Vec::new();
    for key in keys {
        records.extend(find.query_row([key], |row| record(row, conn.vault)).optional()?);
    }
    Ok(records)
}

/// Tasks of a scope (?1) and below it (?2 to ?3) in a status, in order of addition.
pub(super) const OF_SCOPE: &str = "SELECT key, task_id, status FROM task INDEXED BY task_scope
     WHERE scope IS NOT NULL AND scope >= ?1 AND scope < ?3 AND (scope = ?1 OR scope >= ?2) AND status = ?4 AND key > ?5
     ORDER BY key LIMIT ?6";

/// Merges the sorted keys of each status: no index has all statuses in order of addition.
fn select_keys(
    conn: &Connection,
    select: &Selection,
    statuses: &[Status],
    after: TaskKey,
    limit: usize,
) -> Sql<Vec<(TaskKey, String, Status)>> {
    let selected = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, status(row, 2)?));
    let mut found: Vec<(TaskKey, String, Status)> = Vec::new();
    match select {
        Selection::Ids(ids) => {
            let mut find =
                conn.prepare_cached("SELECT key, task_id, status FROM task WHERE task_id = ?1 AND key > ?2")?;
            for id in ids {
                found.extend(find.query_row((id, after), selected).optional()?);
            }
            found.retain(|(_, _, status)| statuses.contains(status));
        }
        Selection::Group(group) => {
            let sql = format!(
                "SELECT key, task_id, status FROM task {} AND group_name = ?1 AND status = ?2 AND key > ?3
                 ORDER BY key LIMIT ?4",
                of_group(group)
            );
            let mut find = conn.prepare_cached(&sql)?;
            for status in statuses {
                let params = params![group, *status as u8, after, rows(limit)];
                for row in find.query_map(params, selected)? {
                    found.push(row?);
                }
            }
        }
        Selection::Scope(scope) => {
            let (first, end) = below(scope);
            let mut find = conn.prepare_cached(OF_SCOPE)?;
            for status in statuses {
                let params = params![scope, first, end, *status as u8, after, rows(limit)];
                for row in find.query_map(params, selected)? {
                    found.push(row?);
                }
            }
        }
        Selection::All => {
            let mut find = conn.prepare_cached(
                "SELECT key, task_id, status FROM task INDEXED BY task_status
                 WHERE status = ?1 AND key > ?2 ORDER BY key LIMIT ?3",
            )?;
            for status in statuses {
                let params = params![*status as u8, after, rows(limit)];
                for row in find.query_map(params, selected)? {
                    found.push(row?);
                }
            }
        }
    }
    found.sort_unstable_by_key(|(key, _, _)| *key);
    found.dedup_by_key(|(key, _, _)| *key);
    found.truncate(limit);
    Ok(found)
}

/// Jumps from pair to pair along the index: two steps for each, however many tasks it has.
fn queue_keys(conn: &Connection, host: Option<&str>, limit: usize) -> Sql<Vec<(String, String)>> {
    let pair = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let mut same_host = conn.prepare_cached(
        "SELECT host, group_name FROM task INDEXED BY task_part
         WHERE status = 0 AND ready_at IS NULL AND host = ?1 AND group_name > ?2
         ORDER BY group_name LIMIT 1",
    )?;
    let mut next_host = conn.prepare_cached(
        "SELECT host, group_name FROM task INDEXED BY task_part
         WHERE status = 0 AND ready_at IS NULL AND host > ?1
         ORDER BY host, group_name LIMIT 1",
    )?;
    let mut pairs: Vec<(String, String)> = Vec::new();
    // No host and no group sorts before the empty text, and a task may have an empty host.
    let mut here = (host.unwrap_or_default().to_owned(), String::new());
    let mut first = conn.prepare_cached(
        "SELECT host, group_name FROM task INDEXED BY task_part
         WHERE status = 0 AND ready_at IS NULL AND host = ?1 AND group_name = ?2 LIMIT 1",
    )?;
    let mut next = first.query_row((&here.0, &here.1), pair).optional()?;
    while pairs.len() < limit {
        if next.is_none() {
            next = same_host.query_row((&here.0, &here.1), pair).optional()?;
        }
        if next.is_none() && host.is_none() {
            next = next_host.query_row([&here.0], pair).optional()?;
        }
        let Some(found) = next.take() else {
            break;
        };
        here.clone_from(&found);
        pairs.push(found);
    }
    Ok(pairs)
}

/// The hosts that have ready tasks.
fn queue_hosts(conn: &Connection) -> Sql<Vec<String>> {
    let mut next = conn.prepare_cached(
        "SELECT host FROM task INDEXED BY task_part
         WHERE status = 0 AND ready_at IS NULL AND host > ?1 ORDER BY host LIMIT 1",
    )?;
    let mut hosts = vec![String::new()]; // a task may have an empty host, and nothing sorts before it
    while let Some(host) = next.query_row([hosts.last()], |row| row.get(0)).optional()? {
        hosts.push(host);
    }
    Ok(hosts)
}

/// Positions after `after`: first those that differ in the key only, then in the creation time, then in the priority.
/// Three ranges because SQLite seeks by the first two columns of a row value only, and a batch shares both.
fn positions(
    conn: &Connection,
    part: Option<(&str, &str)>,
    uploads: Option<bool>,
    after: QueuePosition,
    limit: usize,
) -> Sql<Vec<QueuePosition>> {
    let (index, host, group) = match part {
        Some((host, group)) => ("task_part", Some(host), Some(group)),
        None => ("task_queue", None, None),
    };
    let of = match part {
        Some(_) => "host = ?5 AND group_name = ?6",
        None => "?6 IS NULL",
    };
    // Looked up in each task: an index that few need would cost every addition.
    let direction = match uploads {
        None => "",
        Some(true) => "AND spec ->> '$.t' IN (1, 2)",
        Some(false) => "AND coalesce(spec ->> '$.t', 0) NOT IN (1, 2)",
    };
    let mut found: Vec<QueuePosition> = Vec::new();
    for range in ["priority = ?1 AND created = ?2 AND key > ?3", "priority = ?1 AND created > ?2", "priority > ?1"] {
        if found.len() >= limit {
            break;
        }
        let sql = format!(
            "SELECT priority, created, key FROM task INDEXED BY {index}
             WHERE status = 0 AND ready_at IS NULL AND {range} AND {of} {direction} ORDER BY priority, created, key LIMIT ?4"
        );
        let (priority, created, key) = after;
        let left = rows(limit - found.len());
        let params = params![priority, number(created), key, left, host, group];
        let mut statement = conn.prepare_cached(&sql)?;
        for row in statement.query_map(params, |row| Ok((row.get(0)?, unsigned(row, 1)?, row.get(2)?)))? {
            found.push(row?);
        }
    }
    Ok(found)
}

/// A number that is not negative.
fn unsigned(row: &Row<'_>, column: usize) -> Sql<u64> {
    row.get::<_, i64>(column).map(i64::unsigned_abs)
}

fn maybe_unsigned(row: &Row<'_>, column: usize) -> Sql<Option<u64>> {
    let value: Option<i64> = row.get(column)?;
    Ok(value.map(i64::unsigned_abs))
}

/// All 64 bits of a number.
fn bits(row: &Row<'_>, column: usize) -> Sql<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

/// A status.
pub(super) fn status(row: &Row<'_>, column: usize) -> Sql<Status> {
    let number: u8 = row.get(column)?;
    Status::from_number(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number.into()))
}

/// Decodes a row of `records!`.
fn record(row: &Row<'_>, vault: &Vault) -> Sql<(TaskKey, Record)> {
    let spec: &str = row.get_ref(14)?.as_str()?;
    let mut task = codec::decode_task(spec).map_err(|error| unreadable(14, error))?;
    task.task_id = row.get(1)?;
    task.priority = row.get(3)?;
    task.creation_time = unsigned(row, 4)?;
    task.group = row.get(5)?;
    task.url = row.get(6)?;
    if let Body::Bytes(bytes) = &mut task.body {
        *bytes = row.get::<_, Option<Vec<u8>>>(15)?.unwrap_or_default();
    }
    if let Some(sealed) = row.get_ref(31)?.as_blob_or_null()? {
        codec::reveal(row.get(0)?, sealed, vault, &mut task).map_err(|error| unreadable(31, error))?;
    }
    let changes = row.get_ref(32)?.as_blob_or_null()?;
    let changes =
        changes.map(|sealed| codec::decode_changes(row.get(0)?, sealed, vault).map_err(|error| unreadable(32, error)));
    let upload = row.get_ref(33)?.as_blob_or_null()?;
    let upload =
        upload.map(|sealed| codec::decode_upload(row.get(0)?, sealed, vault).map_err(|error| unreadable(33, error)));
    task.retries_remaining = row.get(9)?;
    let outcome: Option<&str> = row.get_ref(13)?.as_str_or_null()?;
    let outcome = codec::decode_outcome(outcome).map_err(|error| unreadable(13, error))?;
    let place: Option<Vec<u8>> = row.get(12)?;
    let status = status(row, 2)?;
    let resume = resume(row)?;
    let bytes_done = match &resume {
        Some(resume) if status == Status::Running => resume.durable_bytes,
        _ => unsigned(row, 10)?,
    };
    let record = Record {
        place: place.map(|bytes| PathBuf::from(OsString::from_vec(bytes))),
        status,
        bytes_done,
        expected_file_size: maybe_unsigned(row, 11)?,
        attempt: row.get(8)?,
        retries_remaining: task.retries_remaining,
        ready_at: maybe_unsigned(row, 7)?,
        file_path: outcome.file_path.map(PathBuf::from),
        response_status_code: outcome.response_status_code,
        exception: outcome.exception,
        hops: outcome.hops,
        notes: outcome.notes,
        paused_by: row.get(38)?,
        resume,
        upload: upload.transpose()?,
        changes: changes.transpose()?,
        task: Arc::new(task),
    };
    Ok((row.get(0)?, record))
}

fn resume(row: &Row<'_>) -> Sql<Option<ResumeRecord>> {
    if row.get::<_, Option<TaskKey>>(16)?.is_none() {
        return Ok(None);
    }
    Ok(Some(ResumeRecord {
        part_name: row.get(17)?,
        part_dev: bits(row, 18)?,
        part_ino: bits(row, 19)?,
        part_born_ns: unsigned(row, 35)?,
        durable_bytes: unsigned(row, 20)?,
        doubtful_from: maybe_unsigned(row, 39)?,
        boot_id: row.get(21)?,
        total_bytes: maybe_unsigned(row, 22)?,
        etag: row.get(23)?,
        last_modified: row.get(24)?,
        date: row.get(25)?,
        digest: row.get(36)?,
        ranges_known: row.get(26)?,
        encoded: row.get(27)?,
        first_byte: maybe_unsigned(row, 34)?,
        final_name: row.get(28)?,
        final_url: row.get(29)?,
        pieces: codec::decode_pieces(row.get_ref(30)?.as_str_or_null()?).map_err(|error| unreadable(30, error))?,
        answer: codec::decode_answer(row.get_ref(37)?.as_str_or_null()?).map_err(|error| unreadable(37, error))?,
    }))
}

fn publish(row: &Row<'_>) -> Sql<Publish> {
    codec::decode_publish(row.get_ref(0)?.as_str()?).map_err(|error| unreadable(0, error))
}

fn update(row: &Row<'_>) -> Sql<StatusUpdate> {
    let details = row
        .get_ref(5)?
        .as_str_or_null()?
        .map(codec::decode_details)
        .transpose()
        .map_err(|error| unreadable(5, error))?;
    Ok(StatusUpdate {
        seq: unsigned(row, 0)?,
        task_id: row.get(1)?,
        group: row.get(2)?,
        status: status(row, 3)?,
        at: unsigned(row, 4)?,
        details: details.map(Arc::new),
    })
}
