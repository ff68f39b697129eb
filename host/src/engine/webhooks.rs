//! Delivers final updates to webhooks: at least once each, in the order of the event log, on a thread of its own.
//!
//! Each webhook is a consumer of the log and acknowledges what was taken (2xx), so a killed engine's successor goes on where
//! that one stopped. A server that answers 410 (Gone) wants no more: nothing is sent there again, which the home keeps. What is not
//! taken is sent again after 2, 4, 8 ... 512 s, or when `Retry-After` says; no redirect is followed. It runs where tasks are worked, not
//! where they are only added or looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::error::Result;
use crate::event::{StatusUpdate, Update};
use crate::store::Change;
use crate::task::json;
use crate::threads;
use crate::transfer::Shared;
use crate::transport::{Call, Transport, retry_after};
use crate::webhook::Webhook;

/// Before the names of their consumers.
const CONSUMER: &str = "haul.webhook.";
/// Before the names of settings that keep which URL wants no more, by a keyed hash: it may have a secret in it.
const GONE: &str = "webhook-gone.";
/// Bytes of an answer that are read.
const ANSWER_LIMIT: usize = 4 << 10;
/// How long a closing engine goes on delivering.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);
/// Updates among which those that are left are counted.
const COUNTED: u64 = 20_000;
/// Longest wait before the next attempt.
const LONGEST: u32 = 9;

/// The deliveries under way.
pub(super) struct Delivery {
    news: Arc<watch::Sender<u64>>,
    stop: CancellationToken,
    thread: std::thread::JoinHandle<()>,
    /// Each webhook, and the last update it is done with.
    positions: Vec<(Webhook, Arc<AtomicU64>)>,
    shared: Arc<Shared>,
}

impl Delivery {
    /// Delivers what is there and then ends, within a few seconds; says how much is left.
    pub(super) fn close(self) {
        self.news.send_replace(u64::MAX);
        let _ = self.thread.join();
        for (webhook, position) in &self.positions {
            let left = left(&self.shared, webhook, position.load(Ordering::Relaxed));
            let (least, verb) =
                if left == COUNTED { ("more than ", "are") } else { ("", if left == 1 { "is" } else { "are" }) };
            let noun = if left == 1 { "update" } else { "updates" };
            if left > 0 {
                tracing::warn!(
                    "webhook `{}`: {least}{left} {noun} {verb} left for the next engine of this home",
                    webhook.name
                );
            }
        }
    }

    /// Ends at once.
    pub(super) fn leave(self) {
        self.stop.cancel();
        let _ = self.thread.join();
    }
}

/// How many updates after this one are for a webhook, counted up to a limit.
fn left(shared: &Shared, webhook: &Webhook, mut after: u64) -> u64 {
    let mut count = 0;
    while count < COUNTED {
        let updates = shared.store.events_after(after, 1_000).unwrap_or_default();
        let Some(last) = updates.last() else { break };
        after = last.seq;
        count += updates.iter().filter(|update| webhook.wants(update)).count() as u64;
    }
    count.min(COUNTED)
}

/// Makes the consumers of webhooks known, and those of webhooks that were removed forgotten: they must not keep events for ever.
pub(super) async fn register(shared: &Shared, webhooks: &[Webhook]) -> Result<()> {
    let consumers = shared.store.consumers()?;
    let last = shared.store.last_seq()?;
    for (consumer, _) in &consumers {
        if consumer.starts_with(CONSUMER) && !webhooks.iter().any(|webhook| name(webhook) == *consumer) {
            shared.store.write_later(Change::Ack { consumer: consumer.clone(), seq: last });
            let name = consumer.replacen(CONSUMER, GONE, 1);
            if shared.store.setting(&name)?.is_some_and(|url| !url.is_empty()) {
                shared.store.write_later(Change::Setting { name, content: String::new() }); // who comes back is asked again
            }
        }
    }
    for consumer in webhooks.iter().map(name).filter(|name| !consumers.iter().any(|(known, _)| known == name)) {
        // The first time: what ended before is nobody's business.
        shared.store.write_later(Change::Consumer { name: consumer.clone() });
        shared.store.write(Change::Ack { consumer, seq: last }).await?;
    }
    Ok(())
}

fn name(webhook: &Webhook) -> String {
    format!("{CONSUMER}{}", webhook.name)
}

fn gone_name(webhook: &Webhook) -> String {
    format!("{GONE}{}", webhook.name)
}

fn url_name(shared: &Shared, webhook: &Webhook) -> String {
    shared.store.credential_name(webhook.url.as_bytes())
}

/// Starts delivering to webhooks that are [`register`]ed, first what an engine before this one has not. `None` when there are none.
pub(super) fn start(shared: &Arc<Shared>, webhooks: Vec<Webhook>, transport: Transport) -> Result<Option<Delivery>> {
    if webhooks.is_empty() {
        return Ok(None);
    }
    let consumers = shared.store.consumers()?;
    let last = shared.store.last_seq()?;
    let (mut couriers, mut positions) = (Vec::new(), Vec::new());
    for webhook in webhooks {
        let consumer = name(&webhook);
        let known = consumers.iter().find(|(known, _)| *known == consumer).map_or(last, |(_, position)| *position);
        let after = Arc::new(AtomicU64::new(known));
        positions.push((webhook.clone(), Arc::clone(&after)));
        let is_gone = shared.store.setting(&gone_name(&webhook))?.is_some_and(|url| url == url_name(shared, &webhook));
        if is_gone {
            let name = &webhook.name;
            tracing::warn!(
                "webhook `{name}`: its server has answered 410 (Gone): nothing is sent; remove it, or give it another name"
            );
        }
        couriers.push(Courier { webhook, consumer, after, is_gone, shared: Arc::clone(shared) });
    }
    let (news, receiver) = watch::channel(0);
    let news = Arc::new(news);
    let told = Arc::clone(&news);
    shared.hub.on_final(Box::new(move |update| {
        told.send_if_modified(|seq| {
            let newer = update.seq > *seq;
            *seq = (*seq).max(update.seq);
            newer
        });
    }));
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let run = move |runtime: Runtime| {
        let all = deliver_all(couriers, transport, receiver);
        tokio::task::LocalSet::new().block_on(&runtime, stopped.run_until_cancelled(all));
        runtime.shutdown_timeout(Duration::from_millis(100));
    };
    let thread = threads::spawn_with_runtime("haul-webhooks", run)?;
    Ok(Some(Delivery { news, stop, thread, positions, shared: Arc::clone(shared) }))
}

async fn deliver_all(couriers: Vec<Courier>, transport: Transport, mut news: watch::Receiver<u64>) {
    let mut all = tokio::task::JoinSet::new();
    for courier in couriers {
        all.spawn_local(courier.work(transport.clone(), news.clone()));
    }
    let ended = async { while all.join_next().await.is_some() {} };
    let late = async {
        let _ = news.wait_for(|seq| *seq == u64::MAX).await;
        clock::sleep(CLOSE_WITHIN).await;
    };
    tokio::select! {
        () = ended => {}
        () = late => {}
    }
}

/// What became of a delivery.
enum Taken {
    Yes,
    /// Not now: again after this many milliseconds, if the receiver says.
    No(Option<u64>),
    /// Never.
    Gone,
}

/// What became of bringing an update.
#[derive(PartialEq, Eq)]
enum Brought {
    /// It was taken or given up: the next one.
    Done,
    /// The engine closes before.
    Closing,
    /// Nothing is taken there any more.
    Gone,
}

/// Brings updates to one webhook.
struct Courier {
    webhook: Webhook,
    consumer: String,
    /// The last update it is done with.
    after: Arc<AtomicU64>,
    /// Its server wants no more.
    is_gone: bool,
    shared: Arc<Shared>,
}

impl Courier {
    async fn work(mut self, transport: Transport, mut news: watch::Receiver<u64>) {
        loop {
            let closing = *news.borrow_and_update() == u64::MAX;
            let updates = self.shared.store.events_after(self.after.load(Ordering::Relaxed), 100).unwrap_or_default();
            if updates.is_empty() {
                if closing || news.changed().await.is_err() {
                    return;
                }
                continue;
            }
            for update in updates {
                if !self.is_gone && self.webhook.wants(&update) {
                    match self.bring(&update, &transport, &mut news).await {
                        Brought::Done => {}
                        Brought::Closing => return,
                        Brought::Gone => self.gone(),
                    }
                }
                self.after.store(update.seq, Ordering::Relaxed);
            }
            let seq = self.after.load(Ordering::Relaxed);
            let acknowledged = self.shared.store.write(Change::Ack { consumer: self.consumer.clone(), seq }).await;
            if let Err(error) = acknowledged {
                tracing::error!("webhook `{}`: {error}", self.webhook.name);
                return;
            }
        }
    }

    /// Nothing is sent any more, by later engines neither.
    fn gone(&mut self) {
        self.is_gone = true;
        let (name, content) = (gone_name(&self.webhook), url_name(&self.shared, &self.webhook));
        self.shared.store.write_later(Change::Setting { name, content });
    }

    /// Sends until it is taken or given up.
    async fn bring(&self, update: &StatusUpdate, transport: &Transport, news: &mut watch::Receiver<u64>) -> Brought {
        let mut failures = 0;
        loop {
            let wait_ms = match self.send(update, transport).await {
                Taken::Yes => {
                    let acknowledged = Change::Ack { consumer: self.consumer.clone(), seq: update.seq };
                    self.shared.store.write_later(acknowledged);
                    return Brought::Done;
                }
                Taken::Gone => return Brought::Gone,
                Taken::No(wait_ms) => wait_ms,
            };
            if clock::unix_ms().saturating_sub(update.at) > self.webhook.give_up_after_ms {
                let id = &update.task_id;
                tracing::error!("webhook `{}`: given up telling of task {id}: nobody takes it", self.webhook.name);
                return Brought::Done;
            }
            failures = (failures + 1).min(LONGEST);
            let wait = Duration::from_millis(wait_ms.unwrap_or(1000 << failures));
            let closing = news.wait_for(|seq| *seq == u64::MAX);
            if tokio::time::timeout(wait, closing).await.is_ok() {
                return Brought::Closing;
            }
        }
    }

    async fn send(&self, update: &StatusUpdate, transport: &Transport) -> Taken {
        let body = json::write_update(&Update::Status(update.clone())).to_string().into_bytes();
        let id = format!("{}-{}", update.task_id, update.seq);
        let mut call = Call::new("POST", &self.webhook.url);
        call.headers = self.webhook.headers(&id, clock::unix_ms() / 1000, &body);
        (call.body, call.follow, call.ambient) = (body.into(), false, false);
        let limit = Duration::from_millis(self.webhook.timeout_ms);
        let name = &self.webhook.name;
        match tokio::time::timeout(limit, transport.send(call)).await {
            Ok(Ok(mut answer)) if (200..300).contains(&answer.status) => {
                let _ = tokio::time::timeout(limit, answer.body.collect(ANSWER_LIMIT)).await;
                Taken::Yes
            }
            Ok(Ok(answer)) if answer.status == 410 => {
                tracing::error!("webhook `{name}`: its server answered 410 (Gone): nothing more is sent; remove it");
                Taken::Gone
            }
            Ok(Ok(answer)) => {
                tracing::warn!("webhook `{name}`: the server answered {}; sent again later", answer.status);
                Taken::No(retry_after::wait_ms(&answer.headers, clock::unix_ms()))
            }
            Ok(Err(failure)) => {
                tracing::warn!("webhook `{name}`: {}; sent again later", failure.description);
                Taken::No(None)
            }
            Err(_) => {
                tracing::warn!("webhook `{name}`: no answer within {} ms; sent again later", self.webhook.timeout_ms);
                Taken::No(None)
            }
        }
    }
}
