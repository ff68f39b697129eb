//! Gives finished downloads their names, many at a time: data durable, `publishing` committed, rename, directory durable,
//! `complete` committed. A thread of its own, because every step blocks.
//!
//! Done one by one these five steps cost six times what they cost in batches, so it takes all that are waiting, up to
//! `BATCH`. It chooses no names: a download whose name has been taken meanwhile goes back to the engine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

use crate::clock;
use crate::engine::{Durability, Input};
use crate::error::{Error, Failure, FailureKind, Result};
use crate::sandbox::{Directory, Published, Unsynced};
use crate::store::{Applied, Change, Pending, Publish};
use crate::task::{OnConflict, Status};
use crate::transfer::{Finished, Shared, distrust};

/// Files of one batch at most.
const BATCH: usize = 256;

/// What became of a finished download.
pub(crate) enum Outcome {
    /// Named, and committed as complete.
    Complete,
    /// Its name is taken: it needs another, or ends by its `on-conflict`.
    Taken(Box<Finished>),
    /// It could not be published: its size says how many bytes can be gone on with by its record.
    Failed(Box<Finished>, Failure),
    /// It was paused or cancelled, or its time was over, before the store had it as running: it ends as what it is there.
    Overtaken(Box<Finished>, Option<Status>),
    /// The store does not take it: the file is there under one name or the other, and recovery goes on from the row.
    Unwritten(Error),
}

/// The end of a download that is whole and could not be published. It names the file where that has its name already: then
/// only the disk's word for it is missing, and the next attempt asks for that.
pub(crate) fn failed(mut finished: Finished, failure: Failure) -> Outcome {
    let is_named = is_named(&finished);
    Arc::make_mut(&mut finished.details).file_path.take_if(|_| !is_named);
    Outcome::Failed(Box::new(finished), failure)
}

fn is_named(finished: &Finished) -> bool {
    finished.directory.identity(&finished.final_name) == Some(finished.identity)
}

/// The publisher's thread. Ends when the sender is dropped, after what is waiting.
pub(crate) fn start(
    shared: Arc<Shared>,
    tell: tokio::sync::mpsc::UnboundedSender<Input>,
) -> std::io::Result<(mpsc::Sender<Finished>, std::thread::JoinHandle<()>)> {
    let (sender, receiver) = mpsc::channel::<Finished>();
    let thread = std::thread::Builder::new().name("haul-publish".into()).spawn(move || {
        while let Ok(first) = receiver.recv() {
            let mut batch = vec![first];
            batch.extend(receiver.try_iter().take(BATCH - 1));
            publish(&shared, batch, &tell);
        }
    })?;
    Ok((sender, thread))
}

type Tell = tokio::sync::mpsc::UnboundedSender<Input>;

fn report(tell: &Tell, key: i64, outcome: Outcome) {
    // The engine is gone only when the process ends: recovery finds the row as it is.
    let _ = tell.send(Input::Published { key, outcome });
}

fn publish(shared: &Arc<Shared>, batch: Vec<Finished>, tell: &Tell) {
    let batch = match sync_data(shared, batch, tell) {
        batch if batch.is_empty() => return,
        batch => batch,
    };
    let mut places = Places::default();
    let recorded: Vec<_> = batch.into_iter().map(|finished| record(shared, finished, &mut places)).collect();
    let mut named = Vec::new();
    for (finished, written) in written(recorded) {
        match written {
            Ok(Applied::Refused(status)) => {
                report(tell, finished.key, refused(shared, finished, status));
                continue;
            }
            Ok(_) => {}
            Err(error) => {
                report(tell, finished.key, Outcome::Unwritten(error));
                continue;
            }
        }
        let replace = finished.task.on_conflict == Some(OnConflict::Replace);
        let Finished { directory, part_name, identity, final_name, .. } = &finished;
        match directory.publish(part_name, *identity, final_name, replace) {
            Ok(Published::Done) => {
                tracing::debug!("{}: `{part_name}` is now `{final_name}`", finished.task.task_id);
                named.push(finished);
            }
            Ok(Published::Taken) => report(tell, finished.key, Outcome::Taken(Box::new(finished))),
            Ok(Published::Missing) if is_named(&finished) => named.push(finished), // by an earlier attempt
            Ok(Published::Missing) => {
                let text = format!("the part file of `{final_name}` is gone");
                let failure = Failure::new(FailureKind::FileSystem, text);
                report(tell, finished.key, failed(Finished { size: 0, ..finished }, failure));
            }
            Err(failure) => report(tell, finished.key, failed(finished, failure)),
        }
    }
    let named = sync_names(shared, named, tell);
    let done: Vec<(i64, Pending)> = named.into_iter().map(|finished| complete(shared, finished)).collect();
    for (key, written) in written(done) {
        report(tell, key, written.map_or_else(Outcome::Unwritten, |_| Outcome::Complete));
    }
}

/// Waits for changes, for the last one first: when it is written the others are, too, and this thread has slept once.
fn written<T>(pending: Vec<(T, Pending)>) -> Vec<(T, Result<Applied>)> {
    let mut written: Vec<_> = pending.into_iter().rev().map(|(of, pending)| (of, pending.wait())).collect();
    written.reverse();
    written
}

/// What becomes of a file whose task the store does not have as running: it gets no name. That the task has started is written
/// beside its transfer; a tiny file is whole before.
fn refused(shared: &Shared, finished: Finished, status: Option<Status>) -> Outcome {
    let Some(waiting) = status.filter(|status| matches!(status, Status::Enqueued | Status::WaitingToRetry)) else {
        return Outcome::Overtaken(Box::new(finished), status);
    };
    Outcome::Unwritten(shared.broken.get().cloned().unwrap_or_else(|| {
        let (id, status) = (&finished.task.task_id, waiting.name());
        let text = "that it runs could not be written. Make room, and run again: nothing is lost";
        Error::FileSystem(format!("the database has the task {id} as {status}: {text}"))
    }))
}

/// Step 1: the bytes reach the disk.
fn sync_data(shared: &Shared, batch: Vec<Finished>, tell: &Tell) -> Vec<Finished> {
    if shared.durability == Durability::Relaxed {
        return batch;
    }
    let mut by_device: BTreeMap<u64, Vec<Finished>> = BTreeMap::new();
    for finished in batch {
        by_device.entry(finished.identity.dev).or_default().push(finished);
    }
    let mut good = Vec::new();
    for (_, group) in by_device {
        let parts: Vec<(Directory, String)> =
            group.iter().map(|finished| (finished.directory.clone(), finished.part_name.clone())).collect();
        let Some((directory, _)) = parts.first() else { continue };
        for (mut finished, synced) in group.into_iter().zip(directory.sync_parts(&parts)) {
            match synced {
                Ok(()) => {
                    (finished.resume.durable_bytes, finished.resume.pieces) = (finished.size, Vec::new());
                    good.push(finished);
                }
                Err(Unsynced { failure, is_lost }) => {
                    let finished = if is_lost { with_durable(finished) } else { finished };
                    report(tell, finished.key, failed(finished, failure));
                }
            }
        }
    }
    good
}

/// What is durable of a finished download whose other bytes the system has given up (reliability C.3).
fn with_durable(mut finished: Finished) -> Finished {
    let part = finished.directory.open_part(&finished.part_name, finished.identity);
    finished.size = distrust(&mut finished.resume, part.ok().flatten().as_mut()).unwrap_or(0);
    finished
}

/// Where the directory of the last file of a batch is now: most have one and the same.
#[derive(Default)]
struct Places(Option<(Directory, PathBuf)>);

impl Places {
    fn of(&mut self, directory: &Directory) -> &Path {
        let known = self.0.take().filter(|(known, _)| known.is_same(directory));
        &self.0.insert(known.unwrap_or_else(|| (directory.clone(), directory.present_path()))).1
    }
}

/// Step 2: what is about to be renamed to what.
fn record(shared: &Shared, mut finished: Finished, places: &mut Places) -> (Finished, Pending) {
    let path = places.of(&finished.directory).join(&finished.final_name);
    Arc::make_mut(&mut finished.details).file_path = Some(path.to_string_lossy().into_owned());
    let publish = Publish {
        part_name: finished.part_name.clone(),
        final_name: finished.final_name.clone(),
        dev: finished.identity.dev,
        ino: finished.identity.ino,
        size: finished.size,
        details: Arc::clone(&finished.details),
    };
    let pending = shared.store.write(Change::Publishing { key: finished.key, publish });
    (finished, pending)
}

/// Step 4: the names reach the disk.
fn sync_names(shared: &Shared, named: Vec<Finished>, tell: &Tell) -> Vec<Finished> {
    if shared.durability == Durability::Relaxed {
        return named;
    }
    let mut synced: BTreeMap<PathBuf, Option<Failure>> = BTreeMap::new();
    let mut good = Vec::new();
    for finished in named {
        let path = finished.directory.path().to_owned();
        let result = synced.entry(path).or_insert_with(|| finished.directory.sync().err());
        match result {
            None => good.push(finished),
            Some(failure) => {
                let text = format!("`{}` is whole, but its name is not safe: {failure}", finished.final_name);
                report(tell, finished.key, failed(finished, Failure { description: text, ..failure.clone() }));
            }
        }
    }
    good
}

/// Step 5: the task is complete.
fn complete(shared: &Shared, finished: Finished) -> (i64, Pending) {
    let change = Change::Finish {
        key: finished.key,
        status: Status::Complete,
        details: finished.details,
        bytes_done: finished.size,
        keep_resume: false,
        at: clock::unix_ms(),
    };
    (finished.key, shared.store.write(change))
}
