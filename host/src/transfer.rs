//! One attempt of a task: from the hooks that precede it to its outcome.
//!
//! An attempt moves bytes and says how it ended; what becomes of the task then is the engine's business. It can be dropped
//! at any await: what must outlive that, the part file and its record, is in [`Held`].

mod authorize;
mod callbacks;
mod components;
mod deadline;
mod download;
mod ending;
mod growing;
mod held;
mod multipart;
mod once;
mod overlap;
mod parallel;
mod places;
pub(crate) mod progress;
pub(crate) mod rate;
mod renewal;
mod request;
mod request_body;
mod response;
mod resumable;
mod slot;
mod upload;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::engine::Durability;
use crate::engine::attachments::Attached;
use crate::engine::hub::Hub;
use crate::error::{Error, Failure};
use crate::event::StatusUpdate;
use crate::hooks::{Chain, Component, Head, Hook, HookTask, Hooks, RetryVerdict, StartChanges};
use crate::profile::Transports;
use crate::sandbox::Sandbox;
use crate::spool::Spool;
use crate::store::{Change, Store, TaskKey};
use crate::task::{Auth, Changes, Record, Status, Task, TaskType};
pub(crate) use crate::transport::retry_after;
use crate::transport::{Answer, Trail, Transport, is_same_origin};

pub(crate) use authorize::Flights;
use authorize::Prepared;
use callbacks::Interceptors;
pub(crate) use components::{chain_of, own_component};
use deadline::{time_left, too_late};
pub(crate) use download::{exists_already, skipped};
pub(crate) use ending::{End, Failed, Finished, Stopped, details_of};
use ending::{conclude, early, judge, over};
pub(crate) use held::{Held, distrust, remove_stored, remove_stored_before};
use held::{Syncing, sweep_later, sync_later};
use places::from_any_place;
pub(crate) use places::{headers_for, hold_back, with_login};
use rate::{Direction, OwnRate, Taker, Throttle};
use renewal::Renewals;
pub(crate) use resumable::delete_upload;
pub(crate) use slot::Slot;
pub(crate) use upload::{complete, paths_of, remember, wrong_names, wrong_parts};

/// Longer than clocks differ in what they take for the same time.
const A_MOMENT: Duration = Duration::from_millis(5);

/// What every attempt of an engine shares.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) hub: Hub,
    pub(crate) hooks: Hooks,
    pub(crate) sandbox: Sandbox,
    /// Files that were read from pipes.
    pub(crate) spool: Spool,
    /// Where responses wait in the home until a command prints them.
    pub(crate) responses: PathBuf,
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
    /// The component that wants it, where one does.
    by: Arc<OnceLock<String>>,
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

    /// The same for a component: which one, and where.
    fn ask_by(&self, reason: Reason, by: String) {
        if reason == Reason::Cancel || !self.token.is_cancelled() {
            let _ = self.by.set(by); // the first one counts
        }
        self.ask(reason);
    }

    /// The component that has asked, if one has.
    pub(crate) fn by(&self) -> Option<&str> {
        self.by.get().map(String::as_str)
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
    /// What this attempt has heard about its credentials.
    pub(crate) renewals: &'a Renewals,
    /// Refreshes of them that had ended when it began.
    pub(crate) refreshes: u64,
    /// The time of the attempt is up.
    pub(crate) is_late: Arc<AtomicBool>,
    pub(crate) trail: &'a Trail,
}

impl Context<'_> {
    /// Whether a component has said that `on-error` is not to be asked about this failure.
    fn is_last_word(&self, failure: &Failure) -> bool {
        self.interceptors.as_ref().is_some_and(|interceptors| interceptors.is_last_word(failure))
    }

    /// A URL as it may be shown: parameters that the auth block fills are secrets by whatever name.
    fn shown(&self, url: &str) -> String {
        let filled = self.task.auth.iter().flat_map(|auth| &auth.access_query_params);
        crate::mask::url_and(url, &filled.map(|(name, _)| name.as_str()).collect::<Vec<_>>())
    }

    /// Whether other credentials may be what a refused request lacks: they are asked for before anything else is tried.
    fn may_be_renewed(&self, failure: &Failure) -> bool {
        refused_with(failure).is_some() && self.task.auth.is_some() && self.renewals.is_earned()
    }

    /// A request, by its URL and the first byte that it asks for or sends, has this answer. The task's credentials go to its own
    /// origin, and stay behind for good where a redirect leaves that.
    fn heard(&self, url: &str, from: u64, answer: &Answer) {
        let mut way = answer.hops.iter().chain([&answer.url]);
        let mut was_shown = || way.all(|hop| is_same_origin(hop, &self.task.url));
        let is_refusal = matches!(answer.status, 401 | 407);
        self.renewals.heard(url, from, answer.status, !is_refusal || was_shown());
    }

    /// Whose bytes a download's are.
    fn taker(&self) -> Taker<'_> {
        Taker { own: self.rate, group: &self.task.group, direction: Direction::Down }
    }
}

/// How a note begins that a component was passed over in this attempt.
const PASSED_OVER: &str = "passed-over: ";

/// Makes an attempt.
pub(crate) async fn run(shared: &Arc<Shared>, transports: &Transports, job: Job) -> End {
    let stored = if job.record.has_bytes() { job.record.bytes_done } else { 0 };
    let (notes, changes, upload) = (job.record.notes.clone(), job.record.changes.clone(), job.record.upload.clone());
    let mut held = Held { notes, stored, changes, upload, ..Held::default() };
    held.notes.retain(|note| note != "resumed" && note != crate::event::SENT && note != callbacks::CANNED);
    held.notes.retain(|note| !note.starts_with(PASSED_OVER));
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
            ending::mask_echoes(&ending::secrets_of(&job.record.task, &held.trail), &mut end);
            end
        }
        Err(reason) => stopped(shared, &job, held, reason),
    }
}

/// Keeps (or, on cancel, removes) what a dropped attempt had.
fn stopped(shared: &Arc<Shared>, job: &Job, mut held: Held, reason: Reason) -> End {
    let is_out = once::is_out(shared, job, &held);
    if held.directory.is_none() {
        // Stopped before the part file was opened: the stored bytes, if any, are as they were. Or what a server has.
        let bytes_done = held.stored;
        if reason == Reason::Cancel {
            remove_stored(shared, &job.record);
        }
        return End::Stopped { reason, bytes_done, is_out };
    }
    let bytes_done = held.bytes_done();
    if reason == Reason::Cancel || bytes_done == 0 {
        if held.recorded {
            shared.store.write_later(Change::ForgetResume { key: job.key });
        }
        held.remove();
        return End::Stopped { reason, bytes_done: 0, is_out };
    }
    held.record(shared, job.key);
    // What may be another program's is not durable either.
    if shared.durability == Durability::Full && held.resume.doubtful_from.is_none() {
        sync_later(shared, job.key, &held);
    }
    End::Stopped { reason, bytes_done, is_out }
}

async fn attempt(shared: &Arc<Shared>, transports: &Transports, job: &Job, held: &mut Held) -> End {
    let mut attempt = match Attempt::begin(shared, transports, job, &held.trail).await {
        Ok(attempt) => attempt,
        Err(failure) => return over(held, failure, None, false),
    };
    let mut end = match attempt.before_task_start().await {
        Ok(None) => {
            let result = match attempt.with_credentials(held).await {
                Err(stopped) if attempt.chain.has(Hook::OnError) => Box::pin(attempt.on_error(held, stopped)).await,
                result => result,
            };
            attempt.end(held, result).await
        }
        Ok(Some(end)) => end,
        Err(failure) => over(held, failure, None, false),
    };
    let passed_over = attempt.chain.passed_over();
    end.note(passed_over.iter().map(|who| format!("{PASSED_OVER}{who}")));
    end
}

/// Attempts counted by the retries used, so that pauses, mirrors and refreshed tokens do not count: 1 for the first.
fn number(record: &Record) -> u32 {
    u32::try_from(record.task.retries - record.retries_remaining).unwrap_or(0) + 1
}

/// What an attempt is made of. It makes one try after another, each with other credentials and a [`Context`] of its own.
struct Attempt<'a> {
    shared: &'a Arc<Shared>,
    transport: &'a Transport,
    job: &'a Job,
    chain: Chain,
    /// With the credentials of the present try.
    task: Arc<Task>,
    /// As its owner gave it.
    hook_task: HookTask,
    trail: Trail,
}

/// What passes from one try to the next.
struct Tries {
    /// The task with the credentials of the present try.
    hook_task: HookTask,
    renewals: Renewals,
    /// Refreshes of the credentials that had ended when the first one began.
    refreshes: u64,
    /// What `on-task-start` has answered, where it was asked.
    changes: Option<StartChanges>,
    /// The store knows that the task has started.
    started: bool,
}

impl<'a> Attempt<'a> {
    async fn begin(
        shared: &'a Arc<Shared>,
        transports: &'a Transports,
        job: &'a Job,
        trail: &Trail,
    ) -> Result<Self, Failure> {
        if let Some(failure) = too_late(&job.record) {
            return Err(failure);
        }
        let task = Arc::clone(&job.record.task);
        let transport = transports.of(&task)?;
        let chain = chain_of(shared, transport, &task).await?;
        chain.follow(trail);
        let hook_task = chain.prepare(&task);
        Ok(Self { shared, transport, job, chain, task, hook_task, trail: trail.clone() })
    }

    /// What a try works with. `given`: the answer to every request, where a component gives one in the place of all servers.
    fn context<'c>(
        &'c self,
        hook_task: &'c HookTask,
        given: Option<Head>,
        renewals: &'c Renewals,
        refreshes: u64,
    ) -> Context<'c> {
        let Self { shared, transport, job, chain, task, trail, .. } = self;
        Context {
            shared,
            transport,
            key: job.key,
            task,
            record: &job.record,
            chain,
            hook_task,
            rate: &job.rate,
            stop: &job.stop,
            slot: &job.slot,
            interceptors: Interceptors::new(chain, (task, hook_task), &job.slot, given),
            renewals,
            refreshes,
            is_late: Arc::default(),
            trail,
        }
    }

    /// How the task ends before anything is tried, where a component says so.
    async fn before_task_start(&self) -> Result<Option<End>, Failure> {
        if !self.chain.has(Hook::BeforeTaskStart) {
            return Ok(None);
        }
        let update = self.job.slot.lend(pin!(self.chain.before_task_start(&self.hook_task))).await?;
        if update.is_some() {
            remove_stored(self.shared, &self.job.record);
        }
        Ok(update.map(|mut update| {
            self.find_file(&mut update);
            early(callbacks::noted(update))
        }))
    }

    /// Looks for the file that a component's update names: a complete task has it where it lies below the task's directory.
    fn find_file(&self, update: &mut StatusUpdate) {
        let Some(details) = update.details.as_mut().map(Arc::make_mut) else { return };
        let named = details.file_path.take().filter(|_| update.status == Status::Complete);
        let below = Path::new(self.task.directory.trim_matches('/'));
        let Some(path) = named.filter(|path| Path::new(path).starts_with(below)) else { return };
        let place = self.job.record.place.as_deref();
        if let Ok(file) = self.shared.sandbox.source(&self.task.base_directory, place, "", &path) {
            (details.file_path, details.file_size) = (Some(file.path().to_owned()), Some(file.len()));
        }
    }

    /// Credentials, `on-task-start`, the transfer; and again with fresh credentials when they are about to expire, or after a
    /// 401 or 407, if there are any and the last ones were good for something.
    async fn with_credentials(&mut self, held: &mut Held) -> Result<Finished, Stopped> {
        let mut tries = self.first().await;
        loop {
            let fresh = match self.one_try(&mut tries, held).await? {
                ControlFlow::Break(finished) => return Ok(finished),
                ControlFlow::Continue(fresh) => fresh,
            };
            tries.renewals.renewed(held.bytes_done());
            if let Some(fresh) = fresh {
                tries.hook_task = self.renewed(fresh);
            }
        }
    }

    /// What the first try goes by: the task's credentials may have been refreshed before.
    async fn first(&mut self) -> Tries {
        let (mut hook_task, mut refreshes) = (self.hook_task.clone(), 0);
        if let Some(given) = &self.job.record.task.auth {
            let present = authorize::present(self.shared, &self.task.task_id, given).await;
            refreshes = present.ended;
            if present.auth != *given {
                hook_task = self.renewed(present.auth);
            }
        }
        Tries { hook_task, renewals: Renewals::default(), refreshes, changes: None, started: false }
    }

    /// Takes these credentials: what hooks see of the task with them.
    fn renewed(&mut self, auth: Auth) -> HookTask {
        Arc::make_mut(&mut self.task).auth = Some(auth);
        self.chain.prepare(&self.task)
    }

    /// A try with the present credentials. It goes on with another one, with those credentials if they are given.
    async fn one_try(
        &self,
        tries: &mut Tries,
        held: &mut Held,
    ) -> Result<ControlFlow<Finished, Option<Auth>>, Stopped> {
        let Tries { hook_task, renewals, refreshes, changes, started } = tries;
        let cx = self.context(hook_task, None, renewals, *refreshes);
        let prepared = prepare(&cx, held, changes).await;
        if !std::mem::replace(started, true) {
            drop(self.shared.store.write(Change::Start { key: self.job.key, at: clock::unix_ms() }));
        }
        let wire = match prepared? {
            Prepared::Refreshed(fresh) => return Ok(ControlFlow::Continue(Some(fresh))),
            Prepared::Ready(wire) => wire,
        };
        match led_or_not(&cx, wire, held).await {
            Ok(finished) => Ok(ControlFlow::Break(finished)),
            Err(Stopped::Expiring) => {
                let fresh = cx.slot.lend(pin!(Box::pin(authorize::in_time(&cx)))).await?;
                Ok(ControlFlow::Continue(fresh))
            }
            Err(Stopped::Failure(failure, details)) if cx.is_last_word(&failure) => {
                Err(Stopped::Rejected(failure, details))
            }
            Err(Stopped::Failure(failure, details)) if refused_with(&failure).is_some() => {
                let asked = Box::pin(authorize::after_refusal(&cx, refused_with(&failure)));
                match cx.slot.lend(pin!(asked)).await {
                    Ok(Some(fresh)) => Ok(ControlFlow::Continue(Some(fresh))),
                    Ok(None) => Err(Stopped::Failure(failure, details)),
                    Err(why) => Err(Stopped::Failure(why, details)),
                }
            }
            Err(stopped) => Err(stopped),
        }
    }

    /// What hook `on-error` makes of how the tries have ended.
    async fn on_error(&self, held: &mut Held, stopped: Stopped) -> Result<Finished, Stopped> {
        let asked = callbacks::after(&self.chain, &self.hook_task, held, &self.job.record, stopped);
        let answer = self.job.slot.leave(pin!(asked)).await?;
        self.with_answer(held, answer).await
    }

    /// Ends a failed attempt with an answer that a component gives: nothing is sent.
    async fn with_answer(&self, held: &mut Held, answer: Head) -> Result<Finished, Stopped> {
        let renewals = Renewals::none();
        let cx = self.context(&self.hook_task, Some(answer), &renewals, 0);
        let wire = download::Wire::own(&self.task.url, Vec::new());
        within_time(&cx, wire, held).await
    }

    /// What the attempt has come to.
    async fn end(&self, held: &mut Held, result: Result<Finished, Stopped>) -> End {
        let Self { shared, job, chain, hook_task, .. } = self;
        match result {
            Ok(finished) => End::Bytes(Box::new(finished)),
            Err(Stopped::Final(Status::NotFound, details)) => ending::not_found(shared, job, held, details),
            Err(Stopped::Final(status, details)) => {
                held.remove();
                let bytes_done = details.file_size.filter(|_| status == Status::Complete).unwrap_or(0);
                End::Final { status, details, bytes_done }
            }
            Err(Stopped::Over(failure, details)) => {
                held.record(shared, job.key);
                over(held, failure, details, true)
            }
            // Who could renew them has done so before.
            Err(Stopped::Expiring) => stopped(shared, job, std::mem::take(held), Reason::Later),
            Err(Stopped::Failure(failure, details) | Stopped::Rejected(failure, details)) => {
                Box::pin(judge(shared, job, chain, hook_task, held, failure, details)).await
            }
            Err(Stopped::Retry { after_ms, by, mut failure, details }) => {
                let (verdict, but) = match job.record.retries_remaining {
                    1.. => (RetryVerdict::AfterMs(after_ms), ""),
                    _ => (RetryVerdict::GiveUp, ", but no retries are left (`--retries`)"),
                };
                failure.description.push_str(&format!("; {by}{but}"));
                held.record(shared, job.key);
                conclude(shared, job, held, failure, (verdict, true), details).await
            }
        }
    }
}

/// The request with its credentials, with what components have changed before, and with what `on-task-start`, asked once an
/// attempt, makes of it.
async fn prepare(cx: &Context<'_>, held: &mut Held, changes: &mut Option<StartChanges>) -> Result<Prepared, Failure> {
    let mut prepared = cx.slot.lend(pin!(authorize::prepare(cx))).await?;
    if let (Prepared::Ready(wire), Some(Changes { url, headers, by, .. })) = (&mut prepared, &held.changes) {
        let (url, headers) = (url.clone(), headers.clone());
        let guard = url.as_deref().map(|url| cx.chain.led_to(by, cx.hook_task, url)).unwrap_or_default();
        let changes = StartChanges { url, headers, guard, ..StartChanges::default() };
        if authorize::apply(&changes, cx.task, wire) {
            held.note(callbacks::URL_CHANGED);
        }
    }
    if let Prepared::Ready(wire) = &mut prepared
        && cx.chain.has(Hook::OnTaskStart)
    {
        if changes.is_none() {
            *changes = Some(cx.slot.lend(pin!(cx.chain.on_task_start(cx.hook_task))).await?);
        }
        if let Some(changes) = changes
            && authorize::apply(changes, cx.task, wire)
        {
            held.note(callbacks::URL_CHANGED);
        }
    }
    Ok(prepared)
}

/// The transfer, and whether a component has led one of its requests elsewhere: to where nobody answered, it may be.
async fn led_or_not(cx: &Context<'_>, wire: download::Wire, held: &mut Held) -> Result<Finished, Stopped> {
    let outcome = within_time(cx, wire, held).await;
    if cx.interceptors.as_ref().is_some_and(|interceptors| interceptors.has_led()) {
        held.note(callbacks::URL_CHANGED);
    }
    outcome
}

/// The transfer, unless its time is up first.
async fn within_time(cx: &Context<'_>, wire: download::Wire, held: &mut Held) -> Result<Finished, Stopped> {
    // Refreshing credentials and asking components may have taken long.
    if let Some(failure) = too_late(cx.record) {
        return Err(failure.into());
    }
    let ends = time_left(cx.task).and_then(|(limit, over)| Some((clock::timer_now().checked_add(limit)?, over)));
    held.ends.clone_from(&ends);
    let Some((at, over)) = ends else { return by_type(cx, wire, held).await };
    held.sends = None;
    let end = async {
        // A body that is read ends by itself then, so that what came of it is kept; it must not be able to put this off.
        tokio::task::unconstrained(clock::sleep_until(at + A_MOMENT)).await;
        cx.is_late.store(true, Ordering::Relaxed); // before the requests are dropped
    };
    tokio::select! {
        biased;
        outcome = by_type(cx, wire, held) => outcome,
        () = end => Err(held.cut_with(over).into()),
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

/// The status, when it says that credentials are wrong.
fn refused_with(failure: &Failure) -> Option<u16> {
    failure.http_status.filter(|status| matches!(status, 401 | 407))
}
