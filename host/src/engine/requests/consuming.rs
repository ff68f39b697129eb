//! The durable log of events and its consumers: reading on, acknowledging, listing, forgetting.

use super::{PAGE, unexpected};
use crate::api::Reply;
use crate::config::write_time;
use crate::engine::Inner;
use crate::error::{Error, Result};
use crate::event::Update;
use crate::store::{Applied, Change};
use crate::task::json as form;

/// What the names of haul's own consumers begin with: components and webhooks are some.
const OWN: &str = "haul.";

pub(super) async fn events(engine: &Inner, after: Option<u64>, consumer: Option<String>) -> Result<Reply> {
    let store = &engine.shared.store;
    let after = match consumer {
        Some(name) => after.unwrap_or(0).max(position_of(engine, name).await?),
        None => after.unwrap_or(0),
    };
    let found = store.events_after(after, PAGE)?;
    let last = store.last_seq()?;
    let events = found.into_iter().map(|update| form::write_update(&Update::Status(update))).collect();
    Ok(Reply::Events { events, last })
}

/// How far a consumer has come; a new one becomes known by this.
async fn position_of(engine: &Inner, name: String) -> Result<u64> {
    if let Some((_, position)) = engine.shared.store.consumers()?.into_iter().find(|(known, _)| *known == name) {
        return Ok(position);
    }
    engine.ready().await?;
    match engine.shared.store.write(Change::Consumer { name }).await? {
        Applied::Position(position) => Ok(position),
        other => Err(unexpected(&other)),
    }
}

pub(super) async fn ack(engine: &Inner, consumer: String, seq: u64) -> Result<Reply> {
    if !engine.shared.store.consumers()?.iter().any(|(name, _)| *name == consumer) {
        engine.shared.store.write(Change::Consumer { name: consumer.clone() }).await?;
    }
    match engine.shared.store.write(Change::Ack { consumer, seq }).await? {
        Applied::Position(position) => Ok(Reply::Count(position)),
        Applied::BeyondEnd(last) => Err(Error::Refused(format!("there is no event {seq} yet: the log ends at {last}"))),
        other => Err(unexpected(&other)),
    }
}

pub(super) fn list(engine: &Inner) -> Result<Reply> {
    let known = engine.shared.store.waiting_events()?.into_iter();
    let described = known.map(|known| {
        serde_json::json!({
            "consumer": known.consumer, "position": known.position, "waiting": known.waiting, "kept": known.kept,
            "oldest": known.oldest.map(write_time),
        })
    });
    Ok(Reply::Info(described.collect()))
}

pub(super) async fn forget(engine: &Inner, name: String) -> Result<Reply> {
    if name.starts_with(OWN) {
        let text =
            format!("`{name}` is haul's own: a webhook's is done with when the webhook is removed, and goes on else");
        return Err(Error::Refused(text));
    }
    match engine.shared.store.write(Change::ForgetConsumer { name: name.clone() }).await? {
        Applied::Done => Ok(Reply::Done),
        _ => Err(Error::Refused(format!("no consumer is called `{name}`: `haul consumer ls` lists them"))),
    }
}
