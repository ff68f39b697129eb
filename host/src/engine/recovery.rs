//! What a killed engine has left, put right before anything else happens: each state is gone on with from what the
//! database and the disk say. Steps are repeatable: a crash in here is like a crash before.

use crate::clock;
use crate::error::Result;
use crate::event::Details;
use crate::sandbox::{Directory, Identity, Published};
use crate::store::{Change, Publish, Unfinished};
use crate::task::{OnConflict, Status};
use crate::transfer::Shared;

/// Puts every task right that was running or publishing.
pub(crate) async fn recover(shared: &Shared) -> Result<()> {
    let mut last = None;
    for unfinished in shared.store.unfinished()? {
        let change = match &unfinished.publish {
            Some(publish) => republish(shared, &unfinished, publish),
            None => None,
        };
        let at = clock::unix_ms();
        let change = match change {
            Some(change) => change,
            None => {
                if unfinished.publish.is_some() {
                    drop(shared.store.write(Change::ForgetResume { key: unfinished.key }));
                }
                Change::Requeue { key: unfinished.key, ready_at: None, retries_remaining: None, at }
            }
        };
        last = Some(shared.store.write(change));
    }
    // The writer keeps the order: when the last change is committed, all are.
    match last {
        Some(pending) => pending.await.map(|_| ()),
        None => Ok(()),
    }
}

/// A task that was publishing is complete when its file has its name, or can be given it now.
fn republish(shared: &Shared, unfinished: &Unfinished, publish: &Publish) -> Option<Change> {
    let record = &unfinished.record;
    let task = &record.task;
    let directory = shared.sandbox.directory(&task.base_directory, record.place.as_deref(), &task.directory).ok()?;
    let identity = Identity { dev: publish.dev, ino: publish.ino };
    let named = directory.identity(&publish.final_name) == Some(identity);
    if !named && !name_it(&directory, task.on_conflict, publish, identity) {
        return None;
    }
    directory.sync().ok()?;
    let path = directory.path().join(&publish.final_name).to_string_lossy().into_owned();
    let details = Details { file_path: Some(path), ..(*publish.details).clone() };
    Some(Change::Finish {
        key: unfinished.key,
        status: Status::Complete,
        details: Box::new(details),
        bytes_done: publish.size,
        keep_resume: false,
        at: clock::unix_ms(),
    })
}

fn name_it(directory: &Directory, on_conflict: Option<OnConflict>, publish: &Publish, identity: Identity) -> bool {
    let whole = directory.open_part(&publish.part_name, identity).ok().flatten();
    if whole.is_none_or(|part| part.len() != publish.size) {
        return false;
    }
    let replace = on_conflict == Some(OnConflict::Replace);
    matches!(directory.publish(&publish.part_name, identity, &publish.final_name, replace), Ok(Published::Done))
}
