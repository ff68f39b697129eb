//! What a killed engine has left, put right before anything else happens: each state is gone on with from what the
//! database and the disk say. Steps are repeatable: a crash in here is like a crash before.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::clock;
use crate::error::Result;
use crate::event::Details;
use crate::sandbox::{Directory, Identity, Published};
use crate::store::{Change, Publish, TaskKey, Unfinished};
use crate::task::{AnswerHead, OnConflict, Piece, Record, ResumeRecord, Status};
use crate::transfer::Shared;

/// Puts every task right that was running or publishing.
pub(crate) async fn recover(shared: &Shared) -> Result<()> {
    let mut last = None;
    let mut left_over: BTreeMap<PathBuf, (Directory, Vec<String>)> = BTreeMap::new();
    for unfinished in shared.store.unfinished()? {
        let Unfinished { key, record, publish } = &unfinished;
        let directory = directory_of(shared, record);
        let named = publish.as_ref().zip(directory.as_ref()).and_then(|(publish, directory)| {
            republish(*key, record, directory, publish).or_else(|| go_on_from(shared, *key, record, directory, publish))
        });
        let change = match named {
            Some(change) => change,
            None => {
                if publish.is_some() {
                    drop(shared.store.write(Change::ForgetResume { key: *key }));
                }
                let resume = record.resume.as_ref().filter(|_| publish.is_none());
                match (resume, directory) {
                    (None, Some(directory)) => {
                        let (_, ids) =
                            left_over.entry(directory.path().to_owned()).or_insert_with(|| (directory, Vec::new()));
                        ids.push(record.task.task_id.clone());
                        requeue(*key, record.upload.as_ref().map_or(0, |upload| upload.offset))
                    }
                    (Some(resume), Some(directory)) => {
                        let bytes = stored_bytes(shared, &directory, resume);
                        if resume.pieces.is_empty() && bytes > resume.durable_bytes {
                            doubt(shared, *key, resume);
                        }
                        requeue(*key, bytes)
                    }
                    (_, None) => requeue(*key, record.bytes_done),
                }
            }
        };
        last = Some(shared.store.write(change));
    }
    for (directory, ids) in left_over.into_values() {
        directory.remove_parts_of(&ids);
    }
    // The clock may have been set back meanwhile.
    if shared.store.counts()?[Status::WaitingToRetry as usize] > 0 {
        last = Some(shared.store.write(Change::WaitAnew { at: clock::unix_ms() }));
    }
    // What network there is now is found out when they are to start.
    if shared.store.has_held()? {
        last = Some(shared.store.write(Change::Release { at: clock::unix_ms() }));
    }
    // The writer keeps the order: when the last change is committed, all are.
    match last {
        Some(pending) => pending.await.map(|_| ()),
        None => Ok(()),
    }
}

fn requeue(key: TaskKey, bytes_done: u64) -> Change {
    let at = clock::unix_ms();
    Change::Requeue { key, ready_at: None, retries_remaining: None, bytes_done: Some(bytes_done), at }
}

fn directory_of(shared: &Shared, record: &Record) -> Option<Directory> {
    let task = &record.task;
    shared.sandbox.directory(&task.base_directory, record.place.as_deref(), &task.directory).ok()
}

/// What was written after the last checkpoint may be another program's: the next attempt compares it before it goes on.
fn doubt(shared: &Shared, key: TaskKey, resume: &ResumeRecord) {
    let record = Box::new(ResumeRecord { doubtful_from: Some(resume.durable_bytes), ..resume.clone() });
    drop(shared.store.write(Change::Resumable { key, record }));
}

/// What the part file may hold: all of it if the machine has not been off since.
fn stored_bytes(shared: &Shared, directory: &Directory, resume: &ResumeRecord) -> u64 {
    let identity = Identity { dev: resume.part_dev, ino: resume.part_ino };
    let part = directory.open_part(&resume.part_name, identity).ok().flatten();
    let length = part.map_or(0, |part| part.len());
    if !resume.pieces.is_empty() {
        let written: u64 = resume.pieces.iter().map(Piece::bytes_done).sum();
        return if resume.boot_id == shared.boot_id { written } else { resume.durable_bytes };
    }
    if resume.boot_id == shared.boot_id { length } else { length.min(resume.durable_bytes) }
}

/// A task that was publishing is complete when its file has its name, or can be given it now.
fn republish(key: TaskKey, record: &Record, directory: &Directory, publish: &Publish) -> Option<Change> {
    let identity = Identity { dev: publish.dev, ino: publish.ino };
    let named = directory.identity(&publish.final_name) == Some(identity);
    if !named && !name_it(directory, record.task.on_conflict, publish, identity) {
        return None;
    }
    directory.sync().ok()?;
    Some(Change::Finish {
        key,
        status: Status::Complete,
        details: std::sync::Arc::clone(&publish.details),
        bytes_done: publish.size,
        keep_resume: false,
        at: clock::unix_ms(),
    })
}

/// A whole file that cannot be published now either is kept: the next attempt goes on from there.
fn go_on_from(
    shared: &Shared,
    key: TaskKey,
    record: &Record,
    directory: &Directory,
    publish: &Publish,
) -> Option<Change> {
    if !is_whole(directory, &publish.part_name, publish) && !is_whole(directory, &publish.final_name, publish) {
        return None;
    }
    let record = Box::new(ResumeRecord {
        part_name: publish.part_name.clone(),
        final_name: publish.final_name.clone(),
        part_dev: publish.dev,
        part_ino: publish.ino,
        total_bytes: Some(publish.size),
        durable_bytes: publish.size,
        boot_id: shared.boot_id.clone(),
        pieces: Vec::new(),
        answer: answer_of(&publish.details),
        ..record.resume.clone().unwrap_or_default()
    });
    drop(shared.store.write(Change::Resumable { key, record }));
    Some(requeue(key, publish.size))
}

/// The answer that a finished download's update tells.
pub(super) fn answer_of(details: &Details) -> Option<AnswerHead> {
    let headers = details.response_headers.clone();
    details.response_status_code.map(|status| AnswerHead { status, headers })
}

fn is_whole(directory: &Directory, name: &str, publish: &Publish) -> bool {
    let identity = Identity { dev: publish.dev, ino: publish.ino };
    directory.open_part(name, identity).ok().flatten().is_some_and(|part| part.len() == publish.size)
}

fn name_it(directory: &Directory, on_conflict: Option<OnConflict>, publish: &Publish, identity: Identity) -> bool {
    if !is_whole(directory, &publish.part_name, publish) {
        return false;
    }
    let replace = on_conflict == Some(OnConflict::Replace);
    matches!(directory.publish(&publish.part_name, identity, &publish.final_name, replace), Ok(Published::Done))
}
