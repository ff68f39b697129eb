//! What components keep by `wasi:keyvalue`, for the home's owner: how much of it there is, and forgetting it. Shows no value.

use serde_json::{Value, json};

use super::Inner;
use crate::api::Reply;
use crate::error::{Error, Result};
use crate::store::{Applied, Change, Kept};

/// Keys of one answer.
const KEYS_MAX: usize = 1_000;
/// How owners are told apart: by what their grant says.
const KINDS: [&str; 3] = ["name:", "path:", "sha256:"];

pub(super) fn list(engine: &Inner, owner: Option<String>) -> Result<Reply> {
    let Some(owner) = owner else {
        return Ok(Reply::Info(engine.shared.store.owners()?.iter().map(described).collect()));
    };
    let kept = find(engine, &owner)?;
    let keys = engine.shared.store.pairs(&kept.owner, KEYS_MAX)?.into_iter();
    let mut described = described(&kept);
    described["keys"] =
        keys.map(|(bucket, key, bytes)| json!({"bucket": bucket, "key": key, "bytes": bytes})).collect();
    Ok(Reply::Info(described))
}

pub(super) async fn forget(
    engine: &Inner,
    owner: String,
    bucket: Option<String>,
    key: Option<String>,
) -> Result<Reply> {
    let owner = find(engine, &owner)?.owner;
    let change = Change::ForgetState { owner: owner.clone(), bucket, key };
    match engine.shared.store.write(change).await? {
        Applied::KeyValue(Ok(forgotten)) => Ok(Reply::Info(json!({"owner": owner, "forgotten": forgotten}))),
        other => Err(Error::Other(format!("the store answered {other:?}"))),
    }
}

/// A bare name is that of a component.
fn find(engine: &Inner, owner: &str) -> Result<Kept> {
    let is_whole = KINDS.iter().any(|kind| owner.starts_with(kind));
    let whole = if is_whole { owner.to_owned() } else { format!("name:{owner}") };
    let found = engine.shared.store.owners()?.into_iter().find(|kept| kept.owner == whole);
    found.ok_or_else(|| Error::Refused(format!("`{whole}` keeps no state: `haul callbacks state` tells who does")))
}

fn described(kept: &Kept) -> Value {
    json!({"owner": kept.owner, "bytes": kept.bytes, "pairs": kept.pairs})
}
