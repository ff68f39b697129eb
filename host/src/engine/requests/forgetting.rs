//! Forgetting tasks that are over.

use super::looking_up::find;
use super::unexpected;
use crate::api::Reply;
use crate::clock;
use crate::engine::{Inner, sweep_spool};
use crate::error::{Error, Result};
use crate::store::{Applied, Change};

pub(super) async fn remove(engine: &Inner, ids: &[String]) -> Result<Reply> {
    let mut keys = Vec::new();
    for id in ids {
        let (key, record) = find(engine, id)?;
        if !record.status.is_final() {
            let status = record.status.name();
            return Err(Error::Refused(format!("`{id}` is {status}: cancel it first, then remove it")));
        }
        if record.resume.is_some() {
            crate::transfer::remove_stored(&engine.shared, &record);
        }
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let count = keys.len() as u64;
    engine.shared.store.write(Change::Remove { keys }).await?;
    let _ = sweep_spool(&engine.shared).await;
    Ok(Reply::Count(count))
}

pub(super) async fn clean(engine: &Inner, older_than_ms: u64) -> Result<Reply> {
    // All of them means no time at all: the clock may have been ahead when they ended.
    let before = if older_than_ms == 0 { u64::MAX } else { clock::unix_ms().saturating_sub(older_than_ms) };
    crate::transfer::remove_stored_before(&engine.shared, before, 0)?;
    let mut count = 0;
    loop {
        match engine.shared.store.write(Change::Clean { before, key: 0, limit: 5_000 }).await? {
            Applied::Moved(keys) if keys.is_empty() => {
                let _ = sweep_spool(&engine.shared).await;
                return Ok(Reply::Count(count));
            }
            Applied::Moved(keys) => count += keys.len() as u64,
            other => return Err(unexpected(&other)),
        }
    }
}
