//! One attempt of a task: from the hooks that precede it to its outcome.
//!
//! An attempt moves bytes and says how it ended; what becomes of the task then is the engine's business. It can be dropped
//! at any await: what must outlive that, the part file and its record, is in [`Held`].

mod authorize;
mod callbacks;
mod deadline;
mod download;
mod multipart;
mod overlap;
mod parallel;
pub(crate) mod progress;
pub(crate) mod rate;
mod request;
mod request_body;
mod resumable;
mod slot;
mod upload;

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::engine::Durability;
use crate::engine::attachments::Attached;
use crate::engine::hub::Hub;
use crate::error::{Error, Failure, FailureKind};
use crate::event::Details;
use crate::hooks::{
    Attempt, Chain, Component, ComponentSource, Head, Hook, HookHead, HookTask, Hooks, RetryChanges, RetryVerdict,
    StartChanges,
};
use crate::profile::Transports;
use crate::sandbox::{Directory, Identity, PartFile, Sandbox};
use crate::spool::Spool;
use crate::store::{Change, Store, TaskKey};
use crate::task::{Changes, Piece, Record, ResumeRecord, Status, Task, TaskType, UploadRecord};
pub(crate) use crate::transport::retry_after;
use crate::transport::{Trail, Transport, is_same_origin};

pub(crate) use authorize::Flights;
use authorize::Prepared;
use callbacks::Interceptors;
use deadline::{time_left, too_late};
pub(crate) use download::{exists_already, skipped};
use rate::{Direction, OwnRate, Taker, Throttle};
use request_body::RequestBody;
pub(crate) use slot::Slot;
pub(crate) use upload::{BOUNDARY, remember, wrong_parts};

/// What every attempt of an engine shares.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) hub: Hub,
    pub(crate) hooks: Hooks,
    pub(crate) sandbox: Sandbox,
    /// Files that were read from pipes.
    pub(crate) spool: Spool,
    /// What is attached, in order; nothing before a task is added or worked.
    pub(crate) components: Arc<Attached>,
    /// Asked last, in the place of the default policy.
    pub(crate) policy: OnceLock<Arc<Component>>,
    /// Somebody has every task worked, and not only those asked for.
    pub(crate) works_all: AtomicBool,
    /// A component that was not there when all were loaded may want to hear of ends.
    pub(crate) hear_of_ends: AtomicBool,
    pub(crate) durability: Durability,
    /// Speed limits that transfers share.
    pub(crate) throttle: Throttle,
    /// Longer files that exist are not downloaded again.
    pub(crate) skip_existing: Option<u64>,
    pub(crate) boot_id: String,
    pub(crate) retry_jitter: bool,
    pub(crate) flights: Flights,
    /// Connections that a divided download may have to one host; 0: any number.
    pub(crate) per_host: AtomicUsize,
    /// Why nothing goes on: what became of a task cannot be written. The next engine finds it as the store has it.
    pub(crate) broken: OnceLock<Error>,
}

/// Why an attempt is stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reason {
    /// Somebody cancelled the task: its bytes are removed.
    Cancel = 1,
    /// Somebody paused the task.
    Pause = 2,
    /// It must not run just now: the engine ends, nobody wants it worked any more, or it needs another network. The task is
    /// enqueued again.
    Later = 3,
}

/// Stops an attempt, wherever it is. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    token: CancellationToken,
    reason: Arc<AtomicU8>,
}

impl Stop {
    /// Asks the attempt to stop. A cancel overrides an earlier pause, and nothing overrides a cancel.
    pub(crate) fn ask(&self, reason: Reason) {
        if reason == Reason::Cancel {
            self.reason.store(reason as u8, Ordering::SeqCst);
        } else {
            let _ = self.reason.compare_exchange(0, reason as u8, Ordering::SeqCst, Ordering::SeqCst);
        }
        self.token.cancel();
    }

    async fn asked(&self) -> Reason {
        self.token.cancelled().await;
        match self.reason.load(Ordering::SeqCst) {
            1 => Reason::Cancel,
            2 => Reason::Pause,
            _ => Reason::Later,
        }
    }
}

/// An attempt to make.
pub(crate) struct Job {
    pub(crate) key: TaskKey,
    pub(crate) record: Record,
    pub(crate) stop: Stop,
    /// Its speed limit, which may change while it runs.
    pub(crate) rate: OwnRate,
    pub(crate) slot: Slot,
}

/// How an attempt ended.
pub(crate) enum End {
    /// Every byte is there and is the right one: the file gets its name next.
    Bytes(Box<Finished>),
    /// The task is over.
    Final { status: Status, details: Box<Details>, bytes_done: u64 },
    /// It failed, and this is what follows.
    Failed(Box<Failed>),
    /// It was stopped from outside.
    Stopped { reason: Reason, bytes_done: u64 },
}

impl End {
    /// The bytes that are there, where not all of them are.
    pub(crate) fn bytes_done(&self) -> Option<u64> {
        match self {
            Self::Failed(failed) => Some(failed.bytes_done),
            Self::Stopped { bytes_done, .. } => Some(*bytes_done),
            Self::Bytes(_) | Self::Final { .. } => None,
        }
    }
}

/// An attempt that failed, and what follows: by a component that wants another one, else by the `retry` hook.
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) verdict: RetryVerdict,
    /// A component wants it: that uses up a retry in any case.
    pub(crate) wanted: bool,
    /// What components have changed about the task's requests, if that is news.
    pub(crate) changes: Option<Changes>,
    pub(crate) details: Box<Details>,
    pub(crate) bytes_done: u64,
}

/// A downloaded file that has no name yet.
pub(crate) struct Finished {
    pub(crate) key: TaskKey,
    pub(crate) task: Arc<Task>,
    pub(crate) directory: Directory,
    pub(crate) part_name: String,
    pub(crate) identity: Identity,
    pub(crate) size: u64,
    pub(crate) final_name: String,
    /// What must be known to go on with the part file, should it get no name.
    pub(crate) resume: ResumeRecord,
    /// What the server called it, for another name when this one is taken.
    pub(crate) head: crate::hooks::HookHead,
    pub(crate) details: Arc<Details>,
}

/// What outlives an attempt that is dropped: the part file, and what must be known to go on with it.
#[derive(Default)]
pub(crate) struct Held {
    part: Option<PartFile>,
    directory: Option<Directory>,
    resume: ResumeRecord,
    /// The store has `resume`.
    recorded: bool,
    resumed_from: u64,
    notes: Vec<String>,
    /// Bytes of earlier attempts, until their part file is opened.
    stored: u64,
    /// What the store had of the task means nothing any more.
    gave_up: bool,
    /// The upload that the server keeps open, as the store has it.
    upload: Option<UploadRecord>,
    /// The body of a request that may have taken effect as soon as it is out.
    sends: Option<Arc<RequestBody>>,
    /// The exchanges of this attempt.
    trail: Trail,
    /// What components have changed about the task's requests, and whether the store does not know yet.
    changes: Option<Changes>,
    changes_are_new: bool,
}

impl Held {
    fn bytes_done(&self) -> u64 {
        match &self.part {
            None => self.stored,
            Some(part) if self.resume.pieces.is_empty() => part.len(),
            Some(_) => self.resume.pieces.iter().map(Piece::bytes_done).sum(),
        }
    }

    /// Takes what a component wants changed from the next request on.
    fn change(&mut self, later: &RetryChanges) {
        callbacks::merge(self.changes.get_or_insert_default(), later);
        self.changes_are_new = true;
    }

    /// Whether the stored bytes came from another URL than the one that is asked now, and are not known to be the same.
    fn has_moved(&self) -> bool {
        self.changes.as_ref().is_some_and(|changes| changes.url.is_some() && !changes.is_joined)
    }

    /// The stored bytes are those of the present URL.
    fn joined(&mut self, shared: &Shared, key: TaskKey) {
        if let Some(changes) = self.changes.as_mut().filter(|changes| changes.url.is_some() && !changes.is_joined) {
            changes.is_joined = true;
            self.store_changes(shared, key);
        }
    }

    /// Makes the store know what components have changed.
    fn store_changes(&mut self, shared: &Shared, key: TaskKey) {
        shared.store.write_later(Change::Changes { key, changes: self.changes.clone().map(Box::new) });
        self.changes_are_new = false;
    }

    /// A failure that ends the attempt wherever it is: what was sent by then may have taken effect.
    fn cut_with(&self, mut failure: Failure) -> Failure {
        failure.outcome_unknown = self.sends.as_ref().is_some_and(|body| body.may_be_out());
        failure
    }

    fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }

    /// Makes the store know what must be known to go on with the part file. Cheap when it knows already; which pieces of a
    /// divided file are there is told each time.
    fn record(&mut self, shared: &Shared, key: TaskKey) {
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
    fn distrust(&mut self) {
        if distrust(&mut self.resume, self.part.as_mut()).is_none() {
            self.remove();
        }
    }

    /// Gives the stored bytes up: the store forgets them before the file changes.
    async fn give_up(&mut self, shared: &Shared, key: TaskKey) -> Result<(), Failure> {
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

    fn remove(&mut self) {
        self.stored = 0;
        if let (Some(directory), true) =
            (&self.directory, self.part.take().is_some() || !self.resume.part_name.is_empty())
        {
            directory.remove_part(&self.resume.part_name);
        }
    }
}

/// What one attempt works with.
pub(crate) struct Context<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) transport: &'a Transport,
    pub(crate) key: TaskKey,
    pub(crate) task: &'a Arc<Task>,
    pub(crate) record: &'a Record,
    pub(crate) chain: &'a Chain,
    pub(crate) hook_task: &'a HookTask,
    pub(crate) rate: &'a OwnRate,
    /// Stops the attempt.
    pub(crate) stop: &'a Stop,
    pub(crate) slot: &'a Slot,
    /// The components on the way of each request, where there are any.
    pub(crate) interceptors: Option<Arc<Interceptors>>,
    /// The credentials were refreshed in this attempt.
    pub(crate) refreshed: bool,
    /// Refreshes of them that had ended when it began.
    pub(crate) refreshes: u64,
    pub(crate) trail: &'a Trail,
}

impl Context<'_> {
    /// Whether a component has said that `on-error` is not to be asked about this failure.
    fn is_last_word(&self, failure: &Failure) -> bool {
        self.interceptors.as_ref().is_some_and(|interceptors| interceptors.is_last_word(failure))
    }

    /// Whose bytes a download's are.
    fn taker(&self) -> Taker<'_> {
        Taker { own: self.rate, group: &self.task.group, direction: Direction::Down }
    }
}

/// How the inner part of an attempt ended, other than by success.
pub(crate) enum Stopped {
    /// It failed.
    Failure(Failure, Option<Box<Details>>),
    /// It failed, and `on-error` is not asked any more.
    Rejected(Failure, Option<Box<Details>>),
    /// It failed, and a component wants another attempt.
    Retry {
        /// After so long.
        after_ms: u64,
        failure: Failure,
        details: Option<Box<Details>>,
    },
    /// The task is over, without a failure to judge.
    Final(Status, Box<Details>),
    /// The task fails with this, whatever else could be tried; what is stored of it stays.
    Refused(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Stopped::Failure(failure, None)
    }
}

/// Makes an attempt.
pub(crate) async fn run(shared: &Arc<Shared>, transports: &Transports, job: Job) -> End {
    let stored = if job.record.has_bytes() { job.record.bytes_done } else { 0 };
    let (notes, changes, upload) = (job.record.notes.clone(), job.record.changes.clone(), job.record.upload.clone());
    let mut held = Held { notes, stored, changes, upload, ..Held::default() };
    held.notes.retain(|note| note != "resumed" && note != request_body::SENT && note != callbacks::CANNED);
    let outcome = tokio::select! {
        biased;
        reason = job.stop.asked() => Err(reason),
        end = attempt(shared, transports, &job, &mut held) => Ok(end),
    };
    match outcome {
        Ok(mut end) => {
            match &mut end {
                End::Final { details, .. } => details.hops = held.trail.take(),
                End::Failed(failed) => failed.details.hops = held.trail.take(),
                End::Bytes(_) | End::Stopped { .. } => {}
            }
            end
        }
        Err(reason) => stopped(shared, &job, held, reason),
    }
}

/// Keeps (or, on cancel, removes) what a dropped attempt had.
fn stopped(shared: &Arc<Shared>, job: &Job, mut held: Held, reason: Reason) -> End {
    if held.directory.is_none() {
        // Stopped before the part file was opened: the stored bytes, if any, are as they were. Or what a server has.
        let bytes_done = held.stored;
        if reason == Reason::Cancel {
            remove_stored(shared, &job.record);
        }
        return End::Stopped { reason, bytes_done };
    }
    let bytes_done = held.bytes_done();
    if reason == Reason::Cancel || bytes_done == 0 {
        if held.recorded {
            shared.store.write_later(Change::ForgetResume { key: job.key });
        }
        held.remove();
        return End::Stopped { reason, bytes_done: 0 };
    }
    held.record(shared, job.key);
    if shared.durability == Durability::Full {
        sync_later(shared, job.key, &held);
    }
    End::Stopped { reason, bytes_done }
}

/// Removes the part file that a record names.
pub(crate) fn remove_stored(shared: &Shared, record: &Record) {
    let Some(resume) = &record.resume else { return };
    let task = &record.task;
    if let Ok(directory) = shared.sandbox.directory(&task.base_directory, record.place.as_deref(), &task.directory) {
        directory.remove_part(&resume.part_name);
    }
}

/// Part files that no task goes on with are removed when they are so old (reliability H.4).
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);

/// Removes what killed engines have left in a directory, from another thread, when it is used for the first time.
fn sweep_later(shared: &Arc<Shared>, directory: &Directory) {
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
    let durable = resume.durable_bytes.min(part.len());
    part.truncate(durable).ok().map(|()| durable)
}

/// Bytes that were made durable, or why not.
type Syncing = tokio::task::JoinHandle<Result<u64, Failure>>;

/// Makes the bytes so far durable from another thread, and then says so in the store (of a divided file, whoever follows
/// its pieces does). Where that fails the store is told that only what was durable before counts.
fn sync_later(shared: &Arc<Shared>, key: TaskKey, held: &Held) -> Option<Syncing> {
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

async fn attempt(shared: &Arc<Shared>, transports: &Transports, job: &Job, held: &mut Held) -> End {
    let mut task = Arc::clone(&job.record.task);
    if let Some(failure) = too_late(&job.record) {
        return over(held, failure, None);
    }
    let transport = match transports.of(&task) {
        Ok(transport) => transport,
        Err(failure) => return over(held, failure, None),
    };
    let chain = match chain_of(shared, transport, &task).await {
        Ok(chain) => chain,
        Err(failure) => return over(held, failure, None),
    };
    let hook_task = chain.prepare(&task);
    if chain.has(Hook::BeforeTaskStart) {
        match job.slot.lend(pin!(chain.before_task_start(&hook_task))).await {
            Ok(None) => {}
            Ok(Some(update)) => {
                remove_stored(shared, &job.record);
                return early(update);
            }
            Err(failure) => return over(held, failure, None),
        }
    }
    let result = with_credentials(shared, transport, job, &chain, &mut task, hook_task.clone(), held).await;
    let result = match result {
        Err(stopped) if chain.has(Hook::OnError) => {
            let asked = Box::pin(callbacks::after(&chain, &hook_task, held, number(&job.record), stopped));
            let answered = job.slot.leave(pin!(asked)).await;
            match answered {
                Ok(head) => Box::pin(with_answer(shared, transport, job, &chain, &task, &hook_task, held, head)).await,
                Err(stopped) => Err(stopped),
            }
        }
        result => result,
    };
    match result {
        Ok(finished) => End::Bytes(Box::new(finished)),
        Err(Stopped::Final(status, details)) => {
            held.remove();
            let bytes_done = details.file_size.filter(|_| status == Status::Complete).unwrap_or(0);
            End::Final { status, details, bytes_done }
        }
        Err(Stopped::Refused(failure)) => over(held, failure, None),
        Err(Stopped::Failure(failure, details) | Stopped::Rejected(failure, details)) => {
            Box::pin(judge(shared, job, &chain, &hook_task, held, failure, details)).await
        }
        Err(Stopped::Retry { after_ms, failure, details }) => {
            let verdict = match job.record.retries_remaining {
                1.. => RetryVerdict::AfterMs(after_ms),
                _ => RetryVerdict::GiveUp,
            };
            held.record(shared, job.key);
            conclude(shared, job, held, failure, (verdict, true), details).await
        }
    }
}

/// Attempts counted by the retries used, so that pauses, mirrors and refreshed tokens do not count: 1 for the first.
fn number(record: &Record) -> u32 {
    u32::try_from(record.task.retries - record.retries_remaining).unwrap_or(0) + 1
}

/// Ends a failed attempt with an answer that a component gives: nothing is sent.
#[allow(clippy::too_many_arguments)] // what an attempt is made of
async fn with_answer(
    shared: &Arc<Shared>,
    transport: &Transport,
    job: &Job,
    chain: &Chain,
    task: &Arc<Task>,
    hook_task: &HookTask,
    held: &mut Held,
    answer: Head,
) -> Result<Finished, Stopped> {
    let interceptors = Interceptors::new(chain, hook_task, &job.slot, Some(answer));
    let (key, record, rate, stop, slot) = (job.key, &job.record, &job.rate, &job.stop, &job.slot);
    let trail = &held.trail.clone();
    let cx = Context {
        shared,
        transport,
        key,
        task,
        record,
        chain,
        hook_task,
        rate,
        stop,
        slot,
        interceptors,
        refreshed: true,
        refreshes: 0,
        trail,
    };
    let wire = download::Wire { url: task.url.clone(), headers: Vec::new() };
    within_time(&cx, wire, held).await
}

/// The components attached to the task: those of every task and of its group, then the task's own, and last what replaces
/// the default policy.
pub(crate) async fn chain_of(shared: &Shared, transport: &Transport, task: &Task) -> Result<Chain, Failure> {
    let mut components = shared.components.of_group(Some(&task.group));
    for name in &task.callbacks {
        let own =
            own_component(shared, name, &task.group).await.map_err(|why| Failure::new(FailureKind::Callback, why))?;
        components.extend(own);
    }
    components.extend(shared.policy.get().map(Arc::clone));
    Ok(shared.hooks.chain(&components, transport))
}

/// The component that a task of a group names: none when such tasks ask it anyway, else the attached one of that name, else
/// the one at that absolute path, loaded without any grants on a thread that may wait for disks and compilers (loading it
/// again costs little). The error says what to do.
pub(crate) async fn own_component(shared: &Shared, name: &str, group: &str) -> Result<Option<Arc<Component>>, String> {
    if let Some(attached) = shared.components.named(name, group) {
        return Ok(attached);
    }
    let path = std::path::Path::new(name);
    if !path.is_absolute() {
        return Err(format!("`{name}` is neither attached (haul callbacks list) nor an absolute path"));
    }
    let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let source = ComponentSource { name: stem, path: path.to_owned(), ..ComponentSource::default() };
    let hooks = shared.hooks.clone();
    let loaded = tokio::task::spawn_blocking(move || hooks.load(&source)).await;
    let component = loaded.map_err(|_| format!("loading `{name}` panicked"))?.map_err(|error| error.to_string())?;
    shared.hear_of_ends.store(true, Ordering::Relaxed);
    Ok(Some(component))
}

/// The task is over by the verdict of `before-task-start`.
fn early(update: crate::event::StatusUpdate) -> End {
    let details = Box::new(update.details.map(Arc::unwrap_or_clone).unwrap_or_default());
    End::Final { status: update.status, details, bytes_done: 0 }
}

/// Credentials, `on-task-start`, the transfer; and once more with fresh credentials after a 401 or 407, if there are any.
async fn with_credentials(
    shared: &Arc<Shared>,
    transport: &Transport,
    job: &Job,
    chain: &Chain,
    task: &mut Arc<Task>,
    mut hook_task: HookTask,
    held: &mut Held,
) -> Result<Finished, Stopped> {
    let mut refreshes = 0;
    if let Some(given) = &job.record.task.auth {
        let present = authorize::present(shared, &task.task_id, given).await;
        refreshes = present.ended;
        if present.auth != *given {
            Arc::make_mut(task).auth = Some(present.auth);
            hook_task = chain.prepare(task);
        }
    }
    let mut changes = None;
    let (mut started, mut refreshed) = (false, false);
    loop {
        let (key, record) = (job.key, &job.record);
        let (rate, stop, slot, trail) = (&job.rate, &job.stop, &job.slot, &held.trail.clone());
        let interceptors = Interceptors::new(chain, &hook_task, &job.slot, None);
        let cx = Context {
            shared,
            transport,
            key,
            task,
            record,
            chain,
            hook_task: &hook_task,
            rate,
            stop,
            slot,
            interceptors,
            refreshed,
            refreshes,
            trail,
        };
        let prepared = prepare(&cx, held, &mut changes).await;
        if !std::mem::replace(&mut started, true) {
            drop(shared.store.write(Change::Start { key: job.key, at: clock::unix_ms() }));
        }
        let fresh = match prepared? {
            Prepared::Refreshed(fresh) => fresh,
            Prepared::Ready(wire) => match within_time(&cx, wire, held).await {
                Err(Stopped::Failure(failure, details)) if cx.is_last_word(&failure) => {
                    return Err(Stopped::Rejected(failure, details));
                }
                Err(Stopped::Failure(failure, details)) if refused_with(&failure).is_some() => {
                    let asked = Box::pin(authorize::after_refusal(&cx, refused_with(&failure)));
                    match cx.slot.lend(pin!(asked)).await {
                        Ok(Some(fresh)) => fresh,
                        Ok(None) => return Err(Stopped::Failure(failure, details)),
                        Err(failure) => return Err(Stopped::Failure(failure, details)),
                    }
                }
                outcome => return outcome,
            },
        };
        Arc::make_mut(task).auth = Some(fresh);
        hook_task = chain.prepare(task);
        refreshed = true;
    }
}

/// The request with its credentials, with what components have changed before, and with what `on-task-start`, asked once an
/// attempt, makes of it.
async fn prepare(cx: &Context<'_>, held: &mut Held, changes: &mut Option<StartChanges>) -> Result<Prepared, Failure> {
    let mut prepared = cx.slot.lend(pin!(authorize::prepare(cx))).await?;
    if let (Prepared::Ready(wire), Some(Changes { url, headers, .. })) = (&mut prepared, &held.changes) {
        let (url, headers) = (url.clone(), headers.clone());
        authorize::apply(&StartChanges { url, headers, ..StartChanges::default() }, wire);
        held.note("url-changed");
    }
    if let Prepared::Ready(wire) = &mut prepared
        && cx.chain.has(Hook::OnTaskStart)
    {
        if changes.is_none() {
            *changes = Some(cx.slot.lend(pin!(cx.chain.on_task_start(cx.hook_task))).await?);
        }
        if let Some(changes) = changes {
            authorize::apply(changes, wire);
        }
    }
    Ok(prepared)
}

/// The transfer, unless its time is up first.
async fn within_time(cx: &Context<'_>, wire: download::Wire, held: &mut Held) -> Result<Finished, Stopped> {
    // Refreshing credentials and asking components may have taken long.
    if let Some(failure) = too_late(cx.record) {
        return Err(failure.into());
    }
    let Some((limit, over)) = time_left(cx.task) else { return by_type(cx, wire, held).await };
    held.sends = None;
    tokio::select! {
        outcome = by_type(cx, wire, held) => outcome,
        () = clock::sleep(limit) => Err(held.cut_with(over).into()),
    }
}

/// What is rare is boxed: the future of a download is moved, and every byte of it counts where files are small.
async fn by_type(cx: &Context<'_>, wire: download::Wire, held: &mut Held) -> Result<Finished, Stopped> {
    match cx.task.task_type {
        TaskType::Download | TaskType::ParallelDownload => from_any_place(cx, wire, held).await,
        TaskType::Upload | TaskType::MultiUpload | TaskType::Data | TaskType::Request => {
            Box::pin(request::run(cx, wire, held)).await
        }
    }
}

/// Downloads from the URL, and where that fails from each mirror in turn; retries are not used up by that.
async fn from_any_place(cx: &Context<'_>, wire: download::Wire, held: &mut Held) -> Result<Finished, Stopped> {
    let mirror = |mirror: &String| download::Wire { url: mirror.clone(), headers: headers_for(mirror, &wire) };
    let places: Vec<download::Wire> = std::iter::once(wire.clone()).chain(cx.task.mirrors.iter().map(mirror)).collect();
    let mut outcome = download::run(cx, &places, 0, held).await;
    for place in 1..places.len() {
        match &outcome {
            // Refused for its credentials: those are refreshed first.
            Err(Stopped::Failure(failure, _))
                if refused_with(failure).is_some() && cx.task.auth.is_some() && !cx.refreshed =>
            {
                return outcome;
            }
            Err(Stopped::Failure(failure, _)) if may_be_elsewhere(failure) => {}
            Err(Stopped::Final(Status::NotFound, _)) => {}
            _ => return outcome,
        }
        outcome = download::run(cx, &places, place, held).await;
    }
    outcome
}

fn may_be_elsewhere(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::Connection | FailureKind::HttpResponse | FailureKind::Resume)
}

/// A URL with the login of another one of its origin, where it has none itself.
pub(crate) fn with_login(url: &str, of: &str) -> String {
    let has_login = |url: &url::Url| !url.username().is_empty() || url.password().is_some();
    match (url::Url::parse(url), url::Url::parse(of)) {
        (Ok(mut to), Ok(from)) if to.origin() == from.origin() && has_login(&from) && !has_login(&to) => {
            // Both can't fail: an http URL has a host.
            let _ = to.set_username(from.username());
            let _ = to.set_password(from.password());
            to.into()
        }
        _ => url.to_owned(),
    }
}

/// Credentials and headers of the task go to its own origin only, as with redirects.
pub(crate) fn headers_for(mirror: &str, wire: &download::Wire) -> crate::task::Pairs {
    if is_same_origin(mirror, &wire.url) {
        return wire.headers.clone();
    }
    let safe = ["accept", "accept-language", "accept-encoding", "content-type", "user-agent", "range"];
    let keep = |name: &str| safe.iter().any(|safe| safe.eq_ignore_ascii_case(name));
    wire.headers.iter().filter(|(name, _)| keep(name)).cloned().collect()
}

/// The status, when it says that credentials are wrong.
fn refused_with(failure: &Failure) -> Option<u16> {
    failure.http_status.filter(|status| matches!(status, 401 | 407))
}

/// Asks the `retry` hook what follows a failure: the only place where a retry is decided.
async fn judge(
    shared: &Shared,
    job: &Job,
    chain: &Chain,
    hook_task: &HookTask,
    held: &mut Held,
    failure: Failure,
    details: Option<Box<Details>>,
) -> End {
    let bytes_done = held.bytes_done();
    held.record(shared, job.key);
    let attempt = Attempt {
        number: number(&job.record),
        retries_remaining: u32::try_from(job.record.retries_remaining).unwrap_or(0),
        elapsed_ms: clock::unix_ms().saturating_sub(job.record.task.creation_time),
        bytes_done,
        bytes_gained: bytes_done.saturating_sub(held.resumed_from),
        jitter_seed: uuid::Uuid::now_v7().as_u128() as u64,
        jitter: shared.retry_jitter,
        fresh_start_left: !held.notes.iter().any(|note| note == FRESH_START),
    };
    let judged = job.slot.leave(pin!(chain.retry(hook_task, &attempt, &failure))).await;
    let (failure, verdict) = match judged {
        Ok(verdict) => (failure, verdict),
        Err(broken) => (broken, RetryVerdict::GiveUp),
    };
    conclude(shared, job, held, failure, (verdict, false), details).await
}

/// What is told of a failed attempt, and what becomes of its bytes. `wanted`: a component wants another attempt.
async fn conclude(
    shared: &Shared,
    job: &Job,
    held: &mut Held,
    failure: Failure,
    (verdict, wanted): (RetryVerdict, bool),
    details: Option<Box<Details>>,
) -> End {
    let id = &job.record.task.task_id;
    tracing::info!("{id}: {}: {}", crate::mask::text(&failure.description), verdict_in_words(verdict));
    if failure.outcome_unknown {
        held.note("outcome-unknown");
    }
    let afresh = matches!(verdict, RetryVerdict::AfreshAfterMs(_));
    if failure.kind == FailureKind::Checksum && afresh {
        held.note(FRESH_START);
    }
    let nothing_came = held.part.is_some() && held.bytes_done() == 0;
    if (afresh || nothing_came || failure.kind == FailureKind::Checksum)
        && let Err(broken) = held.give_up(shared, job.key).await
    {
        tracing::warn!("{}", broken.description);
    }
    let bytes_done = held.bytes_done();
    let mut details = details.unwrap_or_default();
    details.notes.clone_from(&held.notes);
    details.resumed_from = held.resumed_from;
    details.exception = Some(failure.clone());
    let changes = held.changes.clone().filter(|_| held.changes_are_new);
    End::Failed(Box::new(Failed { failure, verdict, wanted, changes, details, bytes_done }))
}

fn verdict_in_words(verdict: RetryVerdict) -> String {
    match verdict {
        RetryVerdict::AfterMs(ms) => format!("tried again in {ms} ms"),
        RetryVerdict::AfreshAfterMs(ms) => format!("tried again from the first byte in {ms} ms"),
        RetryVerdict::GiveUp => "not tried again".into(),
    }
}

/// Noted when a checksum mismatch has led to the one fresh start it may.
const FRESH_START: &str = "restarted-checksum";

/// The task is over by a failure that no retry can mend.
fn over(held: &mut Held, failure: Failure, details: Option<Box<Details>>) -> End {
    if failure.outcome_unknown {
        held.note("outcome-unknown");
    }
    let mut details = details.unwrap_or_default();
    details.exception = Some(failure.clone());
    details.notes.clone_from(&held.notes);
    let (verdict, bytes_done) = (RetryVerdict::GiveUp, held.bytes_done());
    End::Failed(Box::new(Failed { failure, verdict, wanted: false, changes: None, details, bytes_done }))
}

/// What an update says of a response: headers masked, media type and character set apart.
pub(crate) fn details_of(status: u16, head: &HookHead) -> Details {
    let (mime_type, char_set) = media_type(head.header("content-type"));
    Details {
        response_status_code: Some(status),
        response_headers: crate::mask::headers(head.headers()),
        mime_type,
        char_set,
        ..Details::default()
    }
}

/// Splits `text/html; charset=utf-8` (background_downloader B.4.4).
fn media_type(value: Option<&str>) -> (Option<String>, Option<String>) {
    let Some(value) = value else { return (None, None) };
    let mut parts = value.split(';').map(str::trim);
    let mime = parts.next().filter(|mime| !mime.is_empty()).map(str::to_owned);
    let char_set = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
    });
    (mime, char_set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_stays_with_its_origin() {
        assert_eq!(with_login("http://h/u", "http://me:pw@h/f"), "http://me:pw@h/u");
        assert_eq!(with_login("http://other/u", "http://me:pw@h/f"), "http://other/u");
        assert_eq!(with_login("http://h:81/u", "http://me:pw@h/f"), "http://h:81/u");
        assert_eq!(with_login("http://own:x@h/u", "http://me:pw@h/f"), "http://own:x@h/u");
    }
}
