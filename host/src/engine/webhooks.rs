//! Delivers final updates to webhooks: at least once each, in the order of the event log, on a thread of its own.
//!
//! Each webhook is a consumer of the log and acknowledges what was taken (2xx), so a killed engine's successor goes on where
//! that one stopped. A server that answers 410 (Gone) wants no more: nothing is sent there until another engine begins. What is not
//! taken is sent again after 2, 4, 8 ... 512 s, or when `Retry-After` says; no redirect is
//! followed. It runs where tasks are worked or added, not where they are only looked at.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;

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
/// Bytes of an answer that are read.
const ANSWER_LIMIT: usize = 4 << 10;
/// How long a closing engine goes on delivering.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);
/// Longest wait before the next attempt.
const LONGEST: u32 = 9;

/// The deliveries under way.
pub(super) struct Delivery {
    /// Dropped to end them.
    news: Arc<watch::Sender<u64>>,
    thread: std::thread::JoinHandle<()>,
}

impl Delivery {
    /// Delivers what is there and then ends, within a few seconds.
    pub(super) fn close(self) {
        self.news.send_replace(u64::MAX);
        let _ = self.thread.join();
    }
}

/// Starts delivering, first what an engine before this one has not. `None` when there are no webhooks.
pub(super) fn start(shared: &Arc<Shared>, webhooks: Vec<Webhook>, transport: Transport) -> Result<Option<Delivery>> {
    let consumers = shared.store.consumers()?;
    let last = shared.store.last_seq()?;
    let name = |webhook: &Webhook| format!("{CONSUMER}{}", webhook.name);
    for (consumer, _) in &consumers {
        // A webhook that was removed must not keep events for ever.
        if consumer.starts_with(CONSUMER) && !webhooks.iter().any(|webhook| name(webhook) == *consumer) {
            shared.store.write_later(Change::Ack { consumer: consumer.clone(), seq: last });
        }
    }
    if webhooks.is_empty() {
        return Ok(None);
    }
    let mut couriers = Vec::new();
    for webhook in webhooks {
        let consumer = name(&webhook);
        let known = consumers.iter().find(|(known, _)| *known == consumer).map(|(_, position)| *position);
        if known.is_none() {
            // The first time: what ended before is nobody's business.
            shared.store.write_later(Change::Consumer { name: consumer.clone() });
            shared.store.write_later(Change::Ack { consumer: consumer.clone(), seq: last });
        }
        couriers.push(Courier { webhook, consumer, after: known.unwrap_or(last), shared: Arc::clone(shared) });
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
    let run = move |runtime: Runtime| {
        tokio::task::LocalSet::new().block_on(&runtime, deliver_all(couriers, transport, receiver));
        runtime.shutdown_timeout(Duration::from_millis(100));
    };
    Ok(Some(Delivery { news, thread: threads::spawn_with_runtime("haul-webhooks", run)? }))
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
    after: u64,
    shared: Arc<Shared>,
}

impl Courier {
    async fn work(mut self, transport: Transport, mut news: watch::Receiver<u64>) {
        let mut is_gone = false;
        loop {
            let closing = *news.borrow_and_update() == u64::MAX;
            let updates = self.shared.store.events_after(self.after, 100).unwrap_or_default();
            if updates.is_empty() {
                if closing || news.changed().await.is_err() {
                    return;
                }
                continue;
            }
            for update in updates {
                if !is_gone && self.webhook.wants(&update) {
                    match self.bring(&update, &transport, &mut news).await {
                        Brought::Closing => return,
                        brought => is_gone = brought == Brought::Gone,
                    }
                }
                self.after = update.seq;
            }
            let seq = self.after;
            let acknowledged = self.shared.store.write(Change::Ack { consumer: self.consumer.clone(), seq }).await;
            if let Err(error) = acknowledged {
                tracing::error!("webhook `{}`: {error}", self.webhook.name);
                return;
            }
        }
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
