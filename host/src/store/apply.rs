//! What each change does to the database, within the writer's transaction. A change that does not fit the task's state is
//! refused before anything is written. Changes of many tasks are in `sweep`.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::codec;
use super::fault::{Sql, unwritable};
use super::sweep::Cursor;
use super::vault::Vault;
use super::writer::{Numbers, Step};
use super::{Applied, CanceledScope, Change, Committed, Filter, HELD, IfExists, NewTask, Publish, TaskKey, read};
use crate::event::{Details, StatusUpdate};
use crate::task::{Changes, ResumeRecord, Status, Task, UploadRecord};

/// Refreshed credentials kept: the newest.
const CREDENTIALS: i64 = 4096;

/// A transaction under way.
pub(super) struct Batch<'a> {
    pub(super) conn: &'a Connection,
    pub(super) vault: &'a Vault,
    pub(super) numbers: &'a mut Numbers,
    /// The updates to tell after the commit.
    told: &'a mut Vec<Committed>,
    // Statements of nearly every change, held so that not each has to look for them by their text.
    find_row: CachedStatement<'a>,
    insert_event: CachedStatement<'a>,
}

/// What a change has to know of a stored task.
pub(super) struct Row {
    pub(super) key: TaskKey,
    pub(super) status: Status,
    pub(super) allow_pause: bool,
    run: i64,
    task_id: String,
    group: String,
    /// Watchers get its status.
    sends_status: bool,
    /// Watchers get its progress.
    sends_progress: bool,
}

/// How an attempt ended: what Wait and Finish have in common.
struct End<'a> {
    status: Status,
    details: &'a Arc<Details>,
    bytes_done: u64,
    at: u64,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        conn: &'a Connection,
        vault: &'a Vault,
        numbers: &'a mut Numbers,
        told: &'a mut Vec<Committed>,
    ) -> Sql<Self> {
        Ok(Self {
            conn,
            vault,
            numbers,
            told,
            find_row: conn.prepare_cached(
                "SELECT status, allow_pause, run, task_id, group_name, updates FROM task WHERE key = ?1",
            )?,
            insert_event: conn.prepare_cached(
                "INSERT INTO event (seq, task, run, task_id, group_name, status, at, final, details)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?,
        })
    }

    /// Applies a change; of a sweep, the slice at `cursor`, after `moved` tasks of earlier slices.
    pub(super) fn apply(&mut self, change: &Change, cursor: Cursor, moved: usize) -> Sql<Step> {
        let applied = match change {
            Change::Add { tasks, if_exists, asked, at } => self.add(tasks, *if_exists, *asked, *at)?,
            Change::Start { key, at } => self.start(*key, *at)?,
            Change::Resumable { key, record } => self.resumable(*key, record)?,
            Change::Durable { key, durable_bytes } => self.durable(*key, *durable_bytes)?,
            Change::Distrust { key } => self.distrust(*key)?,
            Change::ForgetResume { key } => self.forget_resume(*key)?,
            Change::Publishing { key, publish } => self.publishing(*key, publish)?,
            Change::Note { key, notes } => self.note(*key, notes)?,
            Change::Finish { key, status, details, bytes_done, keep_resume, at } => {
                let (status, bytes_done, at) = (*status, *bytes_done, *at);
                let end = End { status, details, bytes_done, at };
                self.finish(*key, &end, *keep_resume)?
            }
            Change::Wait { key, ready_at, retries_remaining, details, bytes_done, at } => {
                let (bytes_done, at) = (*bytes_done, *at);
                let end = End { status: Status::WaitingToRetry, details, bytes_done, at };
                self.wait(*key, &end, *ready_at, *retries_remaining)?
            }
            Change::Requeue { key, ready_at, retries_remaining, bytes_done, at } => {
                self.requeue(*key, *ready_at, *retries_remaining, *bytes_done, *at)?
            }
            Change::Pause { key, bytes_done, by, at } => self.pause(*key, *bytes_done, by.as_deref(), *at)?,
            Change::Replace { key, task } => self.replace(*key, task)?,
            Change::Rename { key, final_name } => self.rename(*key, final_name)?,
            Change::Upload { key, upload } => self.upload(*key, upload.as_deref())?,
            Change::Forsaken { key, note } => self.forsaken(*key, *note)?,
            Change::Changes { key, changes } => self.changes(*key, changes.as_deref())?,
            Change::Secret { name, content, at } => self.secret(name, content, *at)?,
            Change::KeyValue { bucket, edits } => self.keyvalue(bucket, edits)?,
            Change::ForgetState { owner, bucket, key } => {
                self.forget_state(owner, bucket.as_deref(), key.as_deref())?
            }
            Change::Hold { key } => self.hold(*key)?,
            Change::WaitAnew { at } => self.wait_anew(*at)?,
            Change::Release { at } => self.release(*at)?,
            Change::Setting { name, content } => self.setting(name, content)?,
            Change::CancelScope { name, reason, at } => self.cancel_scope(name, reason.as_deref(), *at)?,
            Change::ReopenScope { name } => self.reopen_scope(name)?,
            Change::Asked { ids, asked } => self.asked(ids, *asked)?,
            Change::Consumer { name } => self.consumer(name)?,
            Change::ForgetConsumer { name } => self.forget_consumer(name)?,
            Change::Ack { consumer, seq } => self.ack(consumer, *seq)?,
            Change::CancelWaiting { .. }
            | Change::PauseWaiting { .. }
            | Change::WakeDue { .. }
            | Change::Remove { .. }
            | Change::Clean { .. } => return self.sweep(change, cursor, moved),
        };
        Ok(Step::Done(applied))
    }

    /// The state of a task; `None` when it is unknown.
    pub(super) fn row(&mut self, key: TaskKey) -> Sql<Option<Row>> {
        self.find_row
            .query_row([key], |row| {
                Ok(Row {
                    key,
                    status: super::read::status(row, 0)?,
                    allow_pause: row.get(1)?,
                    run: row.get(2)?,
                    task_id: row.get(3)?,
                    group: row.get(4)?,
                    sends_status: codec::sends_status(row.get(5)?),
                    sends_progress: codec::sends_progress(row.get(5)?),
                })
            })
            .optional()
    }

    /// The state of a task if `fits`, else the refusal.
    fn fitting(&mut self, key: TaskKey, fits: impl Fn(&Row) -> bool) -> Sql<Result<Row, Applied>> {
        Ok(match self.row(key)? {
            Some(row) if fits(&row) => Ok(row),
            other => Err(Applied::Refused(other.map(|row| row.status))),
        })
    }

    /// Counts a task into its new status and records the event of that.
    pub(super) fn moved(&mut self, row: Row, to: Status, at: u64, details: Option<&Arc<Details>>) -> Sql<()> {
        self.numbers.count(Some(row.status), Some(to));
        self.event(row, to, at, details)
    }

    fn event(&mut self, row: Row, status: Status, at: u64, details: Option<&Arc<Details>>) -> Sql<()> {
        let seq = self.numbers.next_seq();
        let json = details.map(|details| codec::encode_details(details)).transpose().map_err(unwritable)?;
        self.insert_event.execute(params![
            seq,
            row.key,
            row.run,
            row.task_id,
            row.group,
            status as u8,
            number(at),
            status.is_final(),
            json,
        ])?;
        let update = StatusUpdate {
            seq: seq.unsigned_abs(),
            task_id: row.task_id,
            group: row.group,
            status,
            at,
            details: details.cloned(),
        };
        let rested = matches!(row.status, Status::Paused | Status::WaitingToRetry);
        let ends_progress = row.sends_progress && rested && status.is_final();
        self.told.push(Committed { update, sent: row.sends_status, ends_progress });
        Ok(())
    }

    fn start(&mut self, key: TaskKey, at: u64) -> Sql<Applied> {
        let row = match self.fitting(key, |row| row.status == Status::Enqueued)? {
            Ok(row) => row,
            Err(refused) => return Ok(refused),
        };
        self.conn
            .prepare_cached("UPDATE task SET status = 1, ready_at = NULL, attempt = attempt + 1 WHERE key = ?1")?
            .execute([key])?;
        self.moved(row, Status::Running, at, None)?;
        Ok(Applied::Done)
    }

    fn resumable(&mut self, key: TaskKey, record: &ResumeRecord) -> Sql<Applied> {
        if let Err(refused) = self.fitting(key, |row| row.status == Status::Running)? {
            return Ok(refused);
        }
        self.write_resume(key, record)?;
        Ok(Applied::Done)
    }

    fn write_resume(&self, key: TaskKey, record: &ResumeRecord) -> Sql<()> {
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO resume (task, part_name, part_dev, part_ino, durable_bytes, boot_id, total_bytes,
                   etag, last_modified, date, ranges_known, encoded, final_name, final_url, pieces, first_byte, part_born,
                   digest, answer, doubtful_from)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
            )?
            .execute(params![
                key,
                record.part_name,
                record.part_dev.cast_signed(),
                record.part_ino.cast_signed(),
                number(record.durable_bytes),
                record.boot_id,
                record.total_bytes.map(number),
                record.etag,
                record.last_modified,
                record.date,
                record.ranges_known,
                record.encoded,
                record.final_name,
                record.final_url,
                codec::encode_pieces(&record.pieces).map_err(unwritable)?,
                record.first_byte.map(number),
                number(record.part_born_ns),
                record.digest,
                codec::encode_answer(record.answer.as_ref()).map_err(unwritable)?,
                record.doubtful_from.map(number),
            ])?;
        self.expect_size(key, record.total_bytes)
    }

    fn expect_size(&self, key: TaskKey, size: Option<u64>) -> Sql<()> {
        if let Some(size) = size {
            self.conn
                .prepare_cached("UPDATE task SET expected_size = ?2 WHERE key = ?1 AND expected_size IS NOT ?2")?
                .execute((key, number(size)))?;
        }
        Ok(())
    }

    fn durable(&mut self, key: TaskKey, durable_bytes: u64) -> Sql<Applied> {
        let changed = self
            .conn
            .prepare_cached(
                "UPDATE resume SET durable_bytes = ?2
                 WHERE task = ?1 AND (SELECT status FROM task WHERE key = ?1) = 1",
            )?
            .execute((key, number(durable_bytes)))?;
        if changed > 0 {
            return Ok(Applied::Done);
        }
        Ok(Applied::Refused(self.row(key)?.map(|row| row.status)))
    }

    /// Bytes that are not durable count only within the boot that wrote them: now there is none.
    fn distrust(&mut self, key: TaskKey) -> Sql<Applied> {
        self.conn.prepare_cached("UPDATE resume SET boot_id = '' WHERE task = ?1")?.execute([key])?;
        Ok(Applied::Done)
    }

    fn forget_resume(&mut self, key: TaskKey) -> Sql<Applied> {
        let Some(row) = self.row(key)? else {
            return Ok(Applied::Refused(None));
        };
        let forgotten = self.drop_resume(key)?;
        if forgotten && !row.status.is_final() {
            self.conn.prepare_cached("UPDATE task SET bytes_done = 0 WHERE key = ?1")?.execute([key])?;
        }
        Ok(Applied::Done)
    }

    fn note(&mut self, key: TaskKey, notes: &[String]) -> Sql<Applied> {
        if let Err(refused) = self.fitting(key, |row| row.status == Status::Running)? {
            return Ok(refused);
        }
        let details = Details { notes: notes.to_vec(), ..Details::default() };
        let outcome = codec::encode_outcome(&details).map_err(unwritable)?;
        self.conn.prepare_cached("UPDATE task SET outcome = ?2 WHERE key = ?1")?.execute((key, outcome))?;
        Ok(Applied::Done)
    }

    pub(super) fn drop_resume(&self, key: TaskKey) -> Sql<bool> {
        let deleted = self.conn.prepare_cached("DELETE FROM resume WHERE task = ?1")?.execute([key])?;
        Ok(deleted > 0)
    }

    fn publishing(&mut self, key: TaskKey, publish: &Publish) -> Sql<Applied> {
        if let Err(refused) = self.fitting(key, |row| row.status == Status::Running)? {
            return Ok(refused);
        }
        let json = codec::encode_publish(publish).map_err(unwritable)?;
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO publishing (task, publish) VALUES (?1, ?2)")?
            .execute((key, json))?;
        Ok(Applied::Done)
    }

    /// Whether it is running, and its file complete.
    fn is_publishing(&self, key: TaskKey) -> Sql<bool> {
        self.conn.prepare_cached("SELECT 1 FROM publishing WHERE task = ?1")?.exists([key])
    }

    /// A task leaves the status that it had: one that was publishing is so no more.
    fn published(&self, row: &Row) -> Sql<()> {
        if row.status == Status::Running {
            self.conn.prepare_cached("DELETE FROM publishing WHERE task = ?1")?.execute([row.key])?;
        }
        Ok(())
    }

    /// Complete and not found need a task that could run; failed and canceled one that is not final.
    fn finish(&mut self, key: TaskKey, end: &End<'_>, keep_resume: bool) -> Sql<Applied> {
        let gives_up = matches!(end.status, Status::Failed | Status::Canceled);
        let fits =
            |row: &Row| !row.status.is_final() && (gives_up || row.status != Status::Paused) && end.status.is_final();
        let row = match self.fitting(key, fits)? {
            Ok(row) => row,
            Err(refused) => return Ok(refused),
        };
        if end.status == Status::Canceled {
            self.forsake(key)?;
        }
        let can_go_on = Filter::FAILED.contains(&end.status);
        self.conn
            .prepare_cached(
                "UPDATE task SET status = ?2, ready_at = NULL, paused_by = NULL, ended_at = ?3, bytes_done = ?5,
                   closed = NOT ?4 AND (asked = 0 OR ?2 <> 2), upload = CASE WHEN ?4 THEN upload END,
                   outcome = ?6, expected_size = coalesce(?7, expected_size) WHERE key = ?1",
            )?
            .execute(params![
                key,
                end.status as u8,
                number(end.at),
                can_go_on,
                number(end.bytes_done),
                codec::encode_outcome(end.details).map_err(unwritable)?,
                end.details.file_size.map(number),
            ])?;
        self.published(&row)?;
        if !(keep_resume && can_go_on) {
            self.drop_resume(key)?;
        }
        self.moved(row, end.status, end.at, Some(end.details))?;
        Ok(Applied::Done)
    }

    fn wait(&mut self, key: TaskKey, end: &End<'_>, ready_at: u64, retries_remaining: i32) -> Sql<Applied> {
        let row = match self.fitting(key, |row| row.status == Status::Running)? {
            Ok(row) => row,
            Err(refused) => return Ok(refused),
        };
        self.conn
            .prepare_cached(
                "UPDATE task SET status = 6, ready_at = ?2, retries_remaining = ?3, bytes_done = ?4,
                   outcome = ?5 WHERE key = ?1",
            )?
            .execute(params![
                key,
                number(ready_at),
                retries_remaining,
                number(end.bytes_done),
                codec::encode_outcome(end.details).map_err(unwritable)?,
            ])?;
        self.published(&row)?;
        self.moved(row, end.status, end.at, Some(end.details))?;
        Ok(Applied::Done)
    }

    /// From a final status a new run begins: with no attempts, no outcome, and a final event of its own. Its bytes are those of
    /// before, as long as they are stored. Of a task that ran only those are known that were durable.
    fn requeue(
        &mut self,
        key: TaskKey,
        ready_at: Option<u64>,
        retries_remaining: Option<i32>,
        bytes_done: Option<u64>,
        at: u64,
    ) -> Sql<Applied> {
        let mut row = match self.fitting(key, |row| row.status != Status::Enqueued)? {
            Ok(row) => row,
            Err(refused) => return Ok(refused),
        };
        self.published(&row)?;
        let ready_at = ready_at.filter(|ready_at| *ready_at > at).map(number);
        if row.status.is_final() {
            row.run += 1;
            self.conn
                .prepare_cached(
                    "UPDATE task SET attempt = 0, outcome = NULL, ended_at = NULL, closed = 0, run = ?2,
                       bytes_done = iif(EXISTS (SELECT 1 FROM resume WHERE task = ?1), bytes_done, 0) WHERE key = ?1",
                )?
                .execute((key, row.run))?;
        }
        self.conn
            .prepare_cached(
                "UPDATE task SET status = 0, ready_at = ?2, paused_by = NULL,
                   retries_remaining = coalesce(?3, retries_remaining),
                   bytes_done = coalesce(?4, (SELECT durable_bytes FROM resume WHERE task = ?1 AND ?5), bytes_done)
                 WHERE key = ?1",
            )?
            .execute((key, ready_at, retries_remaining, bytes_done.map(number), row.status == Status::Running))?;
        self.moved(row, Status::Enqueued, at, None)?;
        Ok(Applied::Done)
    }

    /// A task that is being published is not paused: the file is complete. Rule: reliability H.5.
    fn pause(&mut self, key: TaskKey, bytes_done: u64, by: Option<&str>, at: u64) -> Sql<Applied> {
        let row = match self.fitting(key, |row| !row.status.is_final() && row.status != Status::Paused)? {
            Ok(row) => row,
            Err(refused) => return Ok(refused),
        };
        if self.is_publishing(key)? {
            return Ok(Applied::Refused(Some(row.status)));
        }
        self.conn
            .prepare_cached(
                "UPDATE task SET status = 7, ready_at = NULL, bytes_done = ?2, paused_by = ?3 WHERE key = ?1",
            )?
            .execute((key, number(bytes_done), by))?;
        let details = by.map(|by| Arc::new(Details { paused_by: Some(by.to_owned()), ..Details::default() }));
        self.moved(row, Status::Paused, at, details.as_ref())?;
        Ok(Applied::Done)
    }

    /// The id stays whatever the new task says, and so do the attempts left.
    fn replace(&mut self, key: TaskKey, task: &Task) -> Sql<Applied> {
        let coded = codec::encode_task(key, task, self.vault).map_err(unwritable)?;
        let changed = self
            .conn
            .prepare_cached(
                "UPDATE task SET priority = ?2, created = ?3, host = ?4, group_name = ?5, url = ?6, allow_pause = ?7,
                   spec = ?8, body = ?9, sealed = ?10, scope = ?11, not_after = ?12, updates = ?13 WHERE key = ?1",
            )?
            .execute(params![
                key,
                task.priority,
                number(task.creation_time),
                task.host(),
                task.group,
                coded.url,
                task.allow_pause,
                coded.spec,
                coded.body,
                coded.sealed,
                task.scope,
                task.not_after.map(number),
                codec::updates_of(task),
            ])?;
        Ok(if changed > 0 { Applied::Done } else { Applied::Refused(None) })
    }

    fn rename(&mut self, key: TaskKey, final_name: &str) -> Sql<Applied> {
        if let Err(refused) = self.fitting(key, |row| row.status != Status::Running)? {
            return Ok(refused);
        }
        self.conn.prepare_cached("UPDATE resume SET final_name = ?2 WHERE task = ?1")?.execute((key, final_name))?;
        Ok(Applied::Done)
    }

    /// What the server is known to have is shown as done.
    fn upload(&mut self, key: TaskKey, upload: Option<&UploadRecord>) -> Sql<Applied> {
        if let Err(refused) = self.fitting(key, |row| !row.status.is_final())? {
            return Ok(refused);
        }
        let sealed = upload.map(|upload| codec::encode_upload(key, upload, self.vault));
        let sealed = sealed.transpose().map_err(unwritable)?;
        self.conn.prepare_cached("UPDATE task SET upload = ?2, bytes_done = ?3 WHERE key = ?1")?.execute((
            key,
            sealed,
            upload.map_or(0, |upload| number(upload.offset)),
        ))?;
        self.expect_size(key, upload.map(|upload| upload.length))?;
        Ok(Applied::Done)
    }

    /// A task is about to be cancelled: its upload, if it has one, is nobody's.
    pub(super) fn forsake(&self, key: TaskKey) -> Sql<()> {
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO forsaken (task, upload)
                 SELECT key, upload FROM task WHERE key = ?1 AND upload IS NOT NULL",
            )?
            .execute([key])?;
        Ok(())
    }

    fn forsaken(&mut self, key: TaskKey, note: Option<&str>) -> Sql<Applied> {
        self.conn.prepare_cached("DELETE FROM forsaken WHERE task = ?1")?.execute([key])?;
        let Some(note) = note else { return Ok(Applied::Done) };
        if let Err(refused) = self.fitting(key, |row| row.status == Status::Canceled)? {
            return Ok(refused);
        }
        let mut known = self.conn.prepare_cached("SELECT outcome FROM task WHERE key = ?1")?;
        let outcome: Option<String> = known.query_row([key], |row| row.get(0))?;
        let outcome = codec::with_note(outcome.as_deref(), note).map_err(unwritable)?;
        self.conn.prepare_cached("UPDATE task SET outcome = ?2 WHERE key = ?1")?.execute((key, outcome))?;
        Ok(Applied::Done)
    }

    fn changes(&mut self, key: TaskKey, changes: Option<&Changes>) -> Sql<Applied> {
        let sealed = changes.map(|changes| codec::encode_changes(key, changes, self.vault));
        let sealed = sealed.transpose().map_err(unwritable)?;
        let change = "UPDATE task SET changes = ?2 WHERE key = ?1 AND changes IS NOT ?2";
        let changed = self.conn.prepare_cached(change)?.execute((key, sealed))?;
        if changed > 0 {
            return Ok(Applied::Done);
        }
        Ok(self.row(key)?.map_or(Applied::Refused(None), |_| Applied::Done))
    }

    fn hold(&mut self, key: TaskKey) -> Sql<Applied> {
        if let Err(refused) = self.fitting(key, |row| row.status == Status::Enqueued)? {
            return Ok(refused);
        }
        self.conn.prepare_cached("UPDATE task SET ready_at = ?2 WHERE key = ?1")?.execute((key, number(HELD)))?;
        Ok(Applied::Done)
    }

    /// When a task began to wait is in the event that told it.
    fn wait_anew(&mut self, at: u64) -> Sql<Applied> {
        let began = "(SELECT e.at FROM event e WHERE e.task = task.key ORDER BY e.seq DESC LIMIT 1)";
        let sql = format!(
            "UPDATE task SET ready_at = ?1 + max(ready_at - {began}, 0) WHERE status = 6 AND ready_at IS NOT NULL AND {began} > ?1
             RETURNING key"
        );
        let moved: Sql<Vec<TaskKey>> =
            self.conn.prepare_cached(&sql)?.query_map([number(at)], |row| row.get(0))?.collect();
        Ok(Applied::Moved(moved?))
    }

    fn release(&mut self, at: u64) -> Sql<Applied> {
        self.conn
            .prepare_cached(
                "UPDATE task INDEXED BY task_due SET ready_at = ?1 WHERE ready_at IS NOT NULL AND ready_at = ?2",
            )?
            .execute((number(at), number(HELD)))?;
        Ok(Applied::Done)
    }

    fn setting(&mut self, name: &str, content: &str) -> Sql<Applied> {
        let write = "INSERT OR REPLACE INTO setting (name, content) VALUES (?1, ?2)";
        self.conn.prepare_cached(write)?.execute((name, content))?;
        Ok(Applied::Done)
    }

    fn cancel_scope(&mut self, name: &str, reason: Option<&str>, at: u64) -> Sql<Applied> {
        let write = "INSERT OR REPLACE INTO scope (name, at, reason) VALUES (?1, ?2, ?3)";
        self.conn.prepare_cached(write)?.execute((name, number(at), reason))?;
        Ok(Applied::Done)
    }

    fn reopen_scope(&mut self, name: &str) -> Sql<Applied> {
        let forgotten = self.conn.prepare_cached("DELETE FROM scope WHERE name = ?1")?.execute([name])?;
        Ok(if forgotten > 0 { Applied::Done } else { Applied::Refused(None) })
    }

    fn asked(&mut self, ids: &[String], asked: bool) -> Sql<Applied> {
        let mut update = self.conn.prepare_cached(
            "UPDATE task SET asked = ?2, closed = closed OR (status = 2 AND NOT ?2) WHERE task_id = ?1 AND asked <> ?2",
        )?;
        for id in ids {
            update.execute((id, asked))?;
        }
        Ok(Applied::Done)
    }

    fn secret(&mut self, name: &str, content: &[u8], at: u64) -> Sql<Applied> {
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO secret (name, content, at) VALUES (?1, ?2, ?3)")?
            .execute((name, content, number(at)))?;
        // Credentials of tasks that are long gone; jars, few as profiles are, stay.
        self.conn
            .prepare_cached(
                "DELETE FROM secret WHERE name IN (SELECT name FROM secret WHERE name >= 'credential:' AND name < 'credential;'
                   ORDER BY at DESC LIMIT -1 OFFSET ?1)",
            )?
            .execute([CREDENTIALS])?;
        Ok(Applied::Done)
    }

    fn consumer(&mut self, name: &str) -> Sql<Applied> {
        self.conn.prepare_cached("INSERT OR IGNORE INTO consumer (name, position) VALUES (?1, 0)")?.execute([name])?;
        let position = self.position(name)?.unwrap_or(0);
        Ok(Applied::Position(position.unsigned_abs()))
    }

    fn position(&self, name: &str) -> Sql<Option<i64>> {
        self.conn
            .prepare_cached("SELECT position FROM consumer WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()
    }

    /// Refused with `None`: no such consumer.
    fn ack(&mut self, consumer: &str, seq: u64) -> Sql<Applied> {
        let Some(position) = self.position(consumer)? else {
            return Ok(Applied::Refused(None));
        };
        let (seq, last) = (number(seq), self.numbers.last_seq());
        if seq > last {
            return Ok(Applied::BeyondEnd(last.unsigned_abs()));
        }
        if seq <= position {
            return Ok(Applied::Position(position.unsigned_abs()));
        }
        self.conn.prepare_cached("UPDATE consumer SET position = ?2 WHERE name = ?1")?.execute((consumer, seq))?;
        self.drop_acknowledged()?;
        Ok(Applied::Position(seq.unsigned_abs()))
    }

    fn forget_consumer(&mut self, name: &str) -> Sql<Applied> {
        if self.conn.prepare_cached("DELETE FROM consumer WHERE name = ?1")?.execute([name])? == 0 {
            return Ok(Applied::Refused(None));
        }
        self.drop_acknowledged()?;
        Ok(Applied::Done)
    }

    /// Forgets events of forgotten tasks that no consumer waits for.
    fn drop_acknowledged(&self) -> Sql<()> {
        self.conn
            .prepare_cached("DELETE FROM event INDEXED BY event_kept WHERE kept = 1 AND seq <= ?1")?
            .execute([self.acknowledged()?])?;
        Ok(())
    }

    /// What every known consumer has acknowledged; everything when there is none.
    pub(super) fn acknowledged(&self) -> Sql<i64> {
        self.conn
            .prepare_cached("SELECT coalesce(min(position), ?1) FROM consumer")?
            .query_row([i64::MAX], |row| row.get(0))
    }

    /// Forgets a final task. Its final events stay until `acknowledged` has passed them.
    pub(super) fn forget(&mut self, row: &Row, acknowledged: i64) -> Sql<()> {
        self.conn.prepare_cached("DELETE FROM task WHERE key = ?1")?.execute([row.key])?;
        self.conn
            .prepare_cached("DELETE FROM event WHERE task = ?1 AND (final = 0 OR seq <= ?2)")?
            .execute((row.key, acknowledged))?;
        self.conn.prepare_cached("UPDATE event SET kept = 1 WHERE task = ?1")?.execute([row.key])?;
        self.numbers.count(Some(row.status), None);
        Ok(())
    }
}

const INSERT_TASK: &str =
    "INSERT INTO task (key, task_id, status, priority, created, host, group_name, url, allow_pause, ready_at,
       retries_remaining, place, spec, body, asked, sealed, scope, not_after, updates)
     VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";

/// What becomes of one task of an addition.
enum Slot {
    New,
    /// The stored task of that id stands for it.
    Stored(TaskKey),
    /// An earlier one of the same list stands for it.
    Twin(usize),
    /// The final task of that id makes room.
    Instead(TaskKey),
}

impl Batch<'_> {
    fn add(&mut self, tasks: &[NewTask], if_exists: IfExists, asked: bool, at: u64) -> Sql<Applied> {
        if let Some(scope) = self.canceled_scope(tasks)? {
            return Ok(Applied::ScopeCanceled(scope));
        }
        let slots = match self.slots(tasks, if_exists)? {
            Ok(slots) => slots,
            Err(taken) => return Ok(Applied::Taken(taken)),
        };
        let acknowledged = self.acknowledged()?;
        let mut insert = self.conn.prepare_cached(INSERT_TASK)?;
        let mut added: Vec<(TaskKey, String)> = Vec::with_capacity(tasks.len());
        for (addition, slot) in tasks.iter().zip(slots) {
            let key = match slot {
                Slot::New => self.insert(&mut insert, addition, asked, at)?,
                Slot::Stored(key) => key,
                Slot::Twin(index) => added.get(index).map_or(0, |(key, _)| *key),
                Slot::Instead(key) => {
                    if let Some(row) = self.row(key)? {
                        self.forget(&row, acknowledged)?;
                    }
                    self.insert(&mut insert, addition, asked, at)?
                }
            };
            added.push((key, addition.task.task_id.clone()));
        }
        Ok(Applied::Added(added))
    }

    /// The first cancelled scope that one of the tasks is in.
    fn canceled_scope(&self, tasks: &[NewTask]) -> Sql<Option<CanceledScope>> {
        let mut known: HashSet<&str> = HashSet::new();
        for scope in tasks.iter().filter_map(|addition| addition.task.scope.as_deref()) {
            if !known.insert(scope) {
                continue;
            }
            let canceled = read::canceled_scope(self.conn, scope)?;
            if canceled.is_some() {
                return Ok(canceled);
            }
        }
        Ok(None)
    }

    /// Decides about all of the list before anything is written; the error is the ids in the way.
    fn slots(&self, tasks: &[NewTask], if_exists: IfExists) -> Sql<Result<Vec<Slot>, Vec<String>>> {
        let mut find = self.conn.prepare_cached("SELECT key, status FROM task WHERE task_id = ?1")?;
        let mut listed: HashMap<&str, usize> = HashMap::with_capacity(tasks.len());
        let mut slots = Vec::with_capacity(tasks.len());
        let mut taken = Vec::new();
        for (index, addition) in tasks.iter().enumerate() {
            let id = addition.task.task_id.as_str();
            let twin = listed.get(id).copied();
            listed.entry(id).or_insert(index);
            let stored = find.query_row([id], |row| Ok((row.get(0)?, super::read::status(row, 1)?))).optional()?;
            slots.push(match (if_exists, twin, stored) {
                (_, None, None) => Slot::New,
                (IfExists::ReturnExisting, _, Some((key, _))) => Slot::Stored(key),
                (IfExists::ReturnExisting, Some(twin), None) => Slot::Twin(twin),
                (IfExists::Replace, None, Some((key, status))) if status.is_final() => Slot::Instead(key),
                _ => {
                    taken.push(id.to_owned());
                    continue;
                }
            });
        }
        Ok(if taken.is_empty() { Ok(slots) } else { Err(taken) })
    }

    fn insert(&mut self, insert: &mut CachedStatement<'_>, addition: &NewTask, asked: bool, at: u64) -> Sql<TaskKey> {
        let task = &addition.task;
        let key = self.numbers.next_key();
        let created = if task.creation_time == 0 { at } else { task.creation_time };
        let ready_at = task.not_before.filter(|not_before| *not_before > at);
        let coded = codec::encode_task(key, task, self.vault).map_err(unwritable)?;
        insert.execute(params![
            key,
            task.task_id,
            task.priority,
            number(created),
            task.host(),
            task.group,
            coded.url,
            task.allow_pause,
            ready_at.map(number),
            task.retries_remaining,
            addition.place.as_ref().map(|place| place.as_os_str().as_bytes()),
            coded.spec,
            coded.body,
            asked,
            coded.sealed,
            task.scope,
            task.not_after.map(number),
            codec::updates_of(task),
        ])?;
        let row = Row {
            key,
            status: Status::Enqueued,
            allow_pause: task.allow_pause,
            run: 1,
            task_id: task.task_id.clone(),
            group: task.group.clone(),
            sends_status: task.sends_status(),
            sends_progress: task.sends_progress(),
        };
        self.numbers.count(None, Some(Status::Enqueued));
        self.event(row, Status::Enqueued, at, None)?;
        if let Some(resume) = &addition.resume {
            self.write_resume(key, resume)?;
            self.conn
                .prepare_cached("UPDATE task SET bytes_done = ?2 WHERE key = ?1")?
                .execute((key, number(resume.durable_bytes)))?;
        }
        if addition.paused {
            self.pause(key, addition.resume.as_ref().map_or(0, |resume| resume.durable_bytes), None, at)?;
        }
        Ok(key)
    }
}

/// A number as SQLite stores it. What is beyond its range means "never" or "all" anyway.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
