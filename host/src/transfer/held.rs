//! What outlives an attempt that is dropped: the part file, and what must be known to go on with it. How both are kept, made
//! durable, doubted and removed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::request_body::RequestBody;
use super::{Shared, callbacks};
use crate::error::{Failure, FailureKind};
use crate::hooks::RetryChanges;
use crate::sandbox::{Directory, PartFile};
use crate::store::{Change, TaskKey};
use crate::task::{Changes, Piece, Record, ResumeRecord, UploadRecord};
use crate::transport::Trail;

/// What outlives an attempt that is dropped: the part file, and what must be known to go on with it.
#[derive(Default)]
pub(crate) struct Held {
    pub(super) part: Option<PartFile>,
    pub(super) directory: Option<Directory>,
    pub(super) resume: ResumeRecord,
    /// The store has `resume`.
    pub(super) recorded: bool,
    pub(super) resumed_from: u64,
    pub(super) notes: Vec<String>,
    /// Bytes of earlier attempts, until their part file is opened.
    pub(super) stored: u64,
    /// Another program has changed the part file: its bytes are lost, whatever the digest says.
    pub(super) part_was_changed: bool,
    /// What the store had of the task means nothing any more.
    pub(super) gave_up: bool,
    /// Where a component wants each piece asked for first: kept for this attempt only.
    pub(super) places: Vec<usize>,
    /// The upload that the server keeps open, as the store has it.
    pub(super) upload: Option<UploadRecord>,
    /// The body of a request that may have taken effect as soon as it is out.
    pub(super) sends: Option<Arc<RequestBody>>,
    /// When the attempt's time is up, and the failure that it is then.
    pub(super) ends: Option<(Instant, Failure)>,
    /// The exchanges of this attempt.
    pub(super) trail: Trail,
    /// What components have changed about the task's requests, and whether the store does not know yet.
    pub(super) changes: Option<Changes>,
    pub(super) changes_are_new: bool,
}

impl Held {
    pub(super) fn bytes_done(&self) -> u64 {
        match &self.part {
            None => self.stored,
            Some(part) if self.resume.pieces.is_empty() => part.len(),
            Some(_) => self.resume.pieces.iter().map(Piece::bytes_done).sum(),
        }
    }

    /// Takes what a component wants changed from the next request on.
    pub(super) fn change(&mut self, later: &RetryChanges, task_url: &str) {
        callbacks::merge(self.changes.get_or_insert_default(), later, task_url);
        self.changes_are_new = true;
    }

    /// Whether the stored bytes came from another URL than the one that is asked now, and are not known to be the same.
    pub(super) fn has_moved(&self) -> bool {
        self.changes.as_ref().is_some_and(Changes::has_moved)
    }

    /// The stored bytes are those of the present URL.
    pub(super) fn joined(&mut self, shared: &Shared, key: TaskKey) {
        if let Some(changes) = self.changes.as_mut().filter(|changes| changes.has_moved()) {
            changes.is_joined = true;
            self.store_changes(shared, key);
        }
    }

    /// Makes the store know what components have changed.
    pub(super) fn store_changes(&mut self, shared: &Shared, key: TaskKey) {
        shared.store.write_later(Change::Changes { key, changes: self.changes.clone().map(Box::new) });
        self.changes_are_new = false;
    }

    /// A failure that ends the attempt wherever it is: what was sent by then may have taken effect.
    pub(super) fn cut_with(&self, mut failure: Failure) -> Failure {
        failure.outcome_unknown = self.sends.as_ref().is_some_and(|body| body.may_be_out());
        failure
    }

    pub(super) fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }

    /// Makes the store know what must be known to go on with the part file. Cheap when it knows already; which pieces of a
    /// divided file are there is told each time.
    pub(super) fn record(&mut self, shared: &Shared, key: TaskKey) {
        let known = self.recorded && self.resume.pieces.is_empty();
        if known || self.part.is_none() || self.bytes_done() == 0 {
            return;
        }
        if !self.resume.pieces.is_empty() {
            self.resume.durable_bytes =
                self.resume.pieces.iter().map(|piece| piece.durable_to - piece.first_byte).sum();
        }
        self.resume.boot_id.clone_from(&shared.boot_id);
        let record = Box::new(self.resume.clone());
        drop(shared.store.write(Change::Resumable { key, record }));
        self.recorded = true;
    }

    /// The system has given bytes up: only what was durable before is left (reliability C.3).
    pub(super) fn distrust(&mut self) {
        if distrust(&mut self.resume, self.part.as_mut()).is_none() {
            self.remove();
        }
    }

    /// Gives the stored bytes up: the store forgets them before the file changes.
    pub(super) async fn give_up(&mut self, shared: &Shared, key: TaskKey) -> Result<(), Failure> {
        let forgotten = shared.store.write(Change::ForgetResume { key }).await;
        forgotten.map_err(|error| Failure::new(FailureKind::FileSystem, error.to_string()))?;
        if self.upload.take().is_some() {
            shared.store.write_later(Change::Upload { key, upload: None });
        }
        if let (Some(directory), Some(_)) = (&self.directory, self.part.take()) {
            directory.remove_part(&self.resume.part_name);
        }
        self.resume = ResumeRecord::default();
        self.stored = 0;
        self.gave_up = true;
        self.recorded = false;
        self.resumed_from = 0;
        Ok(())
    }

    /// Cuts off what another program may have written at the end of the part file. False: nothing is doubtful, or nothing else is
    /// left.
    pub(super) fn cut_doubtful(&mut self) -> Result<bool, Failure> {
        let Some(from) = self.resume.doubtful_from.take() else { return Ok(false) };
        let Some(part) = self.part.as_mut().filter(|part| part.len() >= from) else { return Ok(false) };
        part.truncate(from)?;
        self.recorded = false;
        Ok(from > 0)
    }

    pub(super) fn remove(&mut self) {
        self.stored = 0;
        if let (Some(directory), true) =
            (&self.directory, self.part.take().is_some() || !self.resume.part_name.is_empty())
        {
            directory.remove_part(&self.resume.part_name);
        }
    }
}

/// Removes the part file that a record names.
pub(crate) fn remove_stored(shared: &Shared, record: &Record) {
    let Some(resume) = &record.resume else { return };
    let task = &record.task;
    if let Ok(directory) = shared.sandbox.directory(&task.base_directory, record.place.as_deref(), &task.directory) {
        directory.remove_part(&resume.part_name);
    }
}

/// Tasks whose records are looked at together.
const LOOKED_AT: usize = 500;

/// Removes the part files of those tasks that [`Change::Clean`] forgets with the same `before` and `key`.
pub(crate) fn remove_stored_before(shared: &Shared, before: u64, key: TaskKey) -> crate::error::Result<()> {
    for keys in shared.store.ended_with_bytes(before, key)?.chunks(LOOKED_AT) {
        let records = shared.store.records_of(keys.iter().copied())?;
        let over = records.iter().filter(|(_, record)| record.status.is_final());
        over.for_each(|(_, record)| remove_stored(shared, record));
    }
    Ok(())
}

/// Part files that no task goes on with are removed when they are so old (reliability H.4).
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);

/// Removes what killed engines have left in a directory, from another thread, when it is used for the first time.
pub(super) fn sweep_later(shared: &Arc<Shared>, directory: &Directory) {
    if directory.is_new() {
        let (store, directory) = (shared.store.clone(), directory.clone());
        drop(tokio::task::spawn_blocking(move || {
            directory.sweep(ORPHAN_AGE, &|name| store.has_part(name).unwrap_or(true));
        }));
    }
}

/// Cuts a part file, in its record too, to what is durable of it, and answers how many bytes those are. `None`: it cannot be cut,
/// and must not be used again.
pub(crate) fn distrust(resume: &mut ResumeRecord, part: Option<&mut PartFile>) -> Option<u64> {
    if !resume.pieces.is_empty() {
        resume.pieces.iter_mut().for_each(|piece| piece.next_byte = piece.durable_to);
        return Some(resume.pieces.iter().map(Piece::bytes_done).sum());
    }
    let part = part?;
    resume.doubtful_from = None;
    let durable = resume.durable_bytes.min(part.len());
    part.truncate(durable).ok().map(|()| durable)
}

/// Bytes that were made durable, or why not.
pub(super) type Syncing = tokio::task::JoinHandle<Result<u64, Failure>>;

/// Makes the bytes so far durable from another thread, and then says so in the store (of a divided file, whoever follows
/// its pieces does). Where that fails the store is told that only what was durable before counts.
pub(super) fn sync_later(shared: &Arc<Shared>, key: TaskKey, held: &Held) -> Option<Syncing> {
    let part = held.part.as_ref()?;
    let (syncer, bytes) = (part.syncer().ok()?, part.len());
    let (shared, divided) = (Arc::clone(shared), !held.resume.pieces.is_empty());
    Some(tokio::task::spawn_blocking(move || {
        let synced = syncer.sync();
        match &synced {
            Ok(()) if divided => {}
            Ok(()) => shared.store.write_later(Change::Durable { key, durable_bytes: bytes }),
            Err(_) => shared.store.write_later(Change::Distrust { key }),
        }
        synced.map(|()| bytes)
    }))
}
