//! The engine: owns all tasks of a home, takes one input at a time, commits what changes, then tells everybody.
//!
//! Here are what an engine is told before it starts, how it starts, and its handle. The loop is in `machine`; requests
//! that only read, and the admission of new tasks, are in `requests` and run on the caller's thread.

mod at_once;
pub(crate) mod attachments;
mod component_state;
pub(crate) mod hub;
mod input;
mod jars;
mod lanes;
mod limiting;
mod machine;
mod network;
mod notifying;
mod publisher;
mod recovery;
mod requests;
mod resume_data;
mod webhooks;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Poll;

use tokio::sync::{Notify, mpsc, oneshot};

use crate::api::{Reply, Request};
use crate::clock;
use crate::error::{Error, Result};
use crate::event::Update;
use crate::hooks::{Compiler, ComponentSource, GrantRule, Hook, Hooks, HooksSettings, LogSink};
use crate::limits::{LimitChanges, Limits, QueueLimits};
use crate::notify::Notifications;
use crate::profile::{Profile, Profiles, Transports};
use crate::sandbox::Sandbox;
use crate::spool::Spool;
use crate::store::{Change, Store};
use crate::threads;
use crate::transfer::rate::Throttle;
use crate::transfer::{Flights, Shared};
use crate::transport::{NamedCredential, Transport, TransportSettings};
use crate::webhook::Webhook;

pub(crate) use input::Input;

/// The directory of the home where responses wait until a command prints them. Of one that breaks off, what came waits there too.
pub const RESPONSES: &str = "responses";

/// How much is synced to the disk before a download counts as complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Files, directories and rows: a complete download survives a power cut.
    #[default]
    Full,
    /// Rows only: after a power cut, files completed in the last half minute may be missing or empty.
    Relaxed,
}

/// Which final tasks are forgotten by themselves while tasks are worked: those that have either too many younger ones or
/// too many days (background_downloader's `cleanUp`). That is looked for within a second after a task has ended, where there is an
/// age at least every 30 seconds as well, and when the engine ends. Unacknowledged events stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retain {
    /// Milliseconds since they ended; `None`: for ever.
    pub age_ms: Option<u64>,
    /// How many; `None`: all.
    pub records: Option<usize>,
}

/// Everything an engine can be told before it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Holds the database, the lock, the control socket: 0700.
    pub home: PathBuf,
    /// Compiled components.
    pub cache_dir: PathBuf,
    /// Holds the key that proves compiled components ours: 0700, shared by all homes of a user.
    pub key_dir: PathBuf,
    /// Base directories by name.
    pub directories: BTreeMap<String, PathBuf>,
    /// How many at once, how fast, over which network; what the home has stored counts more.
    pub limits: Limits,
    /// What counts even more than that, until it is changed: a command's flags.
    pub limit_flags: LimitChanges,
    /// A download whose file exists and is longer than so many bytes is complete at once, with status 304
    /// (background_downloader's skipExistingFiles).
    pub skip_existing: Option<u64>,
    /// Syncing.
    pub durability: Durability,
    /// Defaults and connections of tasks that name no profile.
    pub profile: Profile,
    /// Profiles by name.
    pub profiles: BTreeMap<String, Profile>,
    /// Components attached to every task, or to those of a group, in order. Those that the home attaches come after them.
    pub components: Vec<ComponentSource>,
    /// Answers decisions in the place of the default policy, as a whole: it must answer every one. What it admits is held to
    /// the rules of the task model nevertheless.
    pub policy: Option<ComponentSource>,
    /// Grants to components however they are attached, beside those that come with them.
    pub grants: Vec<GrantRule>,
    /// Credentials that tasks and components use by handle, by name.
    pub credentials: BTreeMap<String, NamedCredential>,
    /// Where components are compiled.
    pub compiler: Compiler,
    /// Components that come after those of the home: a command's flags.
    pub component_flags: Vec<ComponentSource>,
    /// File that all calls of hooks are recorded in, secrets masked; see [`crate::hooks::workshop`].
    pub record: Option<PathBuf>,
    /// Spread the waits before retries.
    pub retry_jitter: bool,
    /// On a full disk tasks wait (`run`) rather than fail (`get`).
    pub wait_for_disk: bool,
    /// Where final updates are sent, at least once.
    pub webhooks: Vec<Webhook>,
    /// How they are reached; `None`: as servers of tasks without a profile. No login, netrc entry or cookie goes there.
    pub webhook_transport: Option<TransportSettings>,
    /// What is shown of tasks while this engine works them.
    pub notifications: Option<Notifications>,
    /// What is forgotten by itself.
    pub retain: Retain,
}

impl Settings {
    /// Everything by default, with all that an engine keeps below `home`. Tasks then need a directory granted in person
    /// (`Addition::place`), or base directories in `directories`.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        let home = home.into();
        Self {
            cache_dir: home.join("cache"),
            key_dir: home.clone(),
            home,
            directories: BTreeMap::new(),
            limits: Limits::default(),
            limit_flags: LimitChanges::default(),
            skip_existing: None,
            durability: Durability::Full,
            profile: Profile::default(),
            profiles: BTreeMap::new(),
            components: Vec::new(),
            policy: None,
            grants: Vec::new(),
            credentials: BTreeMap::new(),
            compiler: Compiler::Here,
            component_flags: Vec::new(),
            record: None,
            retry_jitter: false,
            wait_for_disk: true,
            webhooks: Vec::new(),
            webhook_transport: None,
            notifications: None,
            retain: Retain::default(),
        }
    }

    /// Base directory, directory below it, and filename of a task whose file has this path (background_downloader's
    /// `Task.split`): of the base directories that contain it, the innermost. `None`: none contains it, or the path is not
    /// absolute, has `..` in it, is no UTF-8, or names no file. Below `root` the directory is the whole path. The file system is
    /// not asked.
    pub fn split(&self, path: &Path) -> Option<(String, String, String)> {
        let is_plain = path.is_absolute() && !path.components().any(|part| part == Component::ParentDir);
        let (parent, filename) = (path.parent().filter(|_| is_plain)?, path.file_name()?.to_str()?);
        let around = self.directories.iter().filter(|(_, base)| parent.starts_with(base));
        // Of two names of one directory, the shorter.
        let innermost = |(name, base): &(&String, &PathBuf)| (base.components().count(), Reverse(name.len()));
        let (name, base) = around.max_by_key(innermost)?;
        let from = if name == "root" { Path::new("/") } else { base };
        let below: PathBuf = parent.strip_prefix(from).ok()?.components().collect();
        Some((name.clone(), below.to_str()?.to_owned(), filename.to_owned()))
    }
}

/// Which tasks an engine starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Work {
    /// None: it only answers.
    #[default]
    Nothing,
    /// Those that somebody asked for by [`Request::Work`].
    Asked,
    /// Every task of the home.
    All,
}

/// A running engine. Cheap to clone; ends when closed.
#[derive(Clone)]
pub(crate) struct Engine {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

struct Inner {
    shared: Arc<Shared>,
    input: mpsc::UnboundedSender<Input>,
    /// For the admission of tasks; components' HTTP goes over it.
    transport: Transport,
    profiles: Profiles,
    limits: Mutex<CurrentLimits>,
    home: PathBuf,
    components: Vec<ComponentSource>,
    policy: Option<ComponentSource>,
    component_flags: Vec<ComponentSource>,
    /// The home can be changed, and what a killed engine has left is put right.
    ready: tokio::sync::OnceCell<()>,
    /// Why it is not, until somebody has been told.
    unready: Mutex<Option<Error>>,
    /// What the store does on a full disk as soon as it is.
    wait_for_disk: bool,
    /// The components are there.
    loading: tokio::sync::OnceCell<()>,
    /// Webhooks and notifications are told.
    telling: tokio::sync::OnceCell<()>,
    /// Held while what is attached is loaded or changed.
    attaching: tokio::sync::Mutex<()>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    webhooks: Vec<Webhook>,
    webhook_transport: Option<TransportSettings>,
    delivery: Mutex<Option<webhooks::Delivery>>,
    notifications: Option<Notifications>,
    /// Held while tasks are looked up and, where there is none like them, added.
    adding: tokio::sync::Mutex<()>,
    /// Requests that are being answered.
    calls: AtomicUsize,
    answered: Notify,
}

/// The limits that count, and what they are made of.
#[derive(Clone)]
struct CurrentLimits {
    /// By the settings.
    base: Limits,
    /// What the home has stored.
    stored: LimitChanges,
    /// What flags said when it began, but for what was changed since.
    flags: LimitChanges,
    current: Limits,
}

impl Inner {
    /// Makes the home one that can be changed, where it could only be read when it was opened: before anything is changed.
    async fn ready(&self) -> Result<()> {
        let prepare = || prepare(&self.shared, self.wait_for_disk);
        self.ready.get_or_try_init(prepare).await.copied()
    }

    /// Says once why nothing can be changed, for those who only read.
    fn say_why_unready(&self) {
        if let Some(error) = self.unready.lock().unwrap_or_else(PoisonError::into_inner).take() {
            tracing::warn!("{error}; tasks are shown as they were left, and nothing is changed");
        }
    }

    /// Loads the components, before the first task is judged or worked: who only reads or controls must be able to do so
    /// when one of them is broken.
    async fn load_components(&self) -> Result<()> {
        let load = || async {
            let from = attachments::LoadFrom::new(self);
            let loaded = tokio::task::spawn_blocking(move || attachments::load(&from)).await;
            loaded.map_err(|_| Error::Other("loading the components panicked".into()))??;
            self.load_policy().await?;
            tell_of_ends(&self.shared, &self.input)?;
            webhooks::register(&self.shared, &self.webhooks).await
        };
        if self.loading.initialized() {
            return Ok(());
        }
        let _turn = self.attaching.lock().await;
        self.loading.get_or_try_init(load).await.copied()
    }

    /// Loads what replaces the default policy.
    async fn load_policy(&self) -> Result<()> {
        let Some(source) = self.policy.clone() else { return Ok(()) };
        let shared = Arc::clone(&self.shared);
        let loaded = tokio::task::spawn_blocking(move || shared.hooks.load_policy(&source)).await;
        let policy = loaded.map_err(|_| Error::Other("loading the policy panicked".into()))??;
        if policy.hooks().contains(&Hook::OnTaskFinished) {
            self.shared.hear_of_ends.store(true, Ordering::Relaxed);
        }
        let _ = self.shared.policy.set(policy); // only ever here
        Ok(())
    }

    /// Starts webhooks and notifications, before the first task is worked: who only adds tasks tells nobody.
    async fn tell_people(&self) -> Result<()> {
        self.telling.get_or_try_init(|| async { self.start_telling() }).await.copied()
    }

    fn start_telling(&self) -> Result<()> {
        let travel = self.webhook_transport.as_ref().unwrap_or(&self.profiles.default.transport);
        let delivery = webhooks::start(&self.shared, self.webhooks.clone(), Transport::new(travel.clone()))?;
        *self.delivery.lock().unwrap_or_else(PoisonError::into_inner) = delivery;
        if let Some(notifications) = &self.notifications {
            let thread = notifying::start(&self.shared, notifications.clone(), self.shared.hub.watch())?;
            self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(())
    }

    fn take_delivery(&self) -> Option<webhooks::Delivery> {
        self.delivery.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Engine {
    /// Opens the home (recovering what a killed engine left) and starts. Components are loaded by the first request that
    /// adds or works tasks, which fails where one cannot be. One that works nothing opens a home on a full disk, too: its requests
    /// that change anything fail until there is room. The caller holds the home's lock: [`crate::Session::open`] takes it.
    /// Must be called on a tokio runtime.
    pub(crate) async fn open(settings: Settings, work: &Work) -> Result<Self> {
        let hub = hub::Hub::default();
        let (home, telling) = (settings.home.clone(), hub.clone());
        let open = move || Store::open(&home, Box::new(move |updates| telling.tell(updates)));
        let opening = threads::spawn("haul-open", open)?;
        let hooks = Hooks::new(HooksSettings {
            cache_dir: settings.cache_dir.clone(),
            key_dir: settings.key_dir.clone(),
            log: LogSink(Arc::new(|name, line| tracing::info!(target: "component", "{name}: {line}"))),
            rules: settings.grants.clone(),
            compiler: settings.compiler.clone(),
            record: settings.record.clone(),
        });
        let store = opening.join().map_err(|_| Error::Other("the store's thread panicked".into()))??;
        let hooks = hooks?;
        hooks.keep_state_in(&store);
        let shared = Arc::new(Shared {
            store,
            hub,
            hooks,
            sandbox: Sandbox::new(settings.directories.clone()).durable(settings.durability == Durability::Full),
            spool: Spool::new(&settings.home),
            responses: settings.home.join(RESPONSES),
            components: Arc::default(),
            policy: OnceLock::new(),
            works_all: AtomicBool::new(false),
            hear_of_ends: AtomicBool::new(false),
            durability: settings.durability,
            throttle: Throttle::default(),
            skip_existing: settings.skip_existing,
            boot_id: clock::boot_id(),
            retry_jitter: settings.retry_jitter,
            flights: Flights::default(),
            per_host: AtomicUsize::new(0),
            broken: OnceLock::new(),
        });
        let ready = match prepare(&shared, settings.wait_for_disk).await {
            Err(error @ Error::FileSystem(_)) if *work == Work::Nothing => Err(error),
            prepared => Ok(prepared?),
        };
        drop(sweep_spool(&shared));
        let limits = limiting::limits_of(&shared.store, &settings)?;
        Self::start(shared, settings, limits, ready)
    }

    fn start(shared: Arc<Shared>, settings: Settings, limits: CurrentLimits, ready: Result<()>) -> Result<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "holds what running tasks, their ends and open requests make: all limited"
        )]
        let (input, inputs) = mpsc::unbounded_channel();
        let mut profiles = Profiles { default: settings.profile, named: settings.profiles };
        let credentials = Arc::new(settings.credentials);
        for (_, profile) in profiles.all_mut() {
            profile.transport.named_credentials = Arc::clone(&credentials);
        }
        jars::open(&mut profiles, &shared.store)?;
        let mut threads = Vec::new();
        let mut lanes = Vec::new();
        let transports = Transports::new(&profiles);
        for number in 0..lane_count() {
            let (lane, thread) = lanes::start(number, Arc::clone(&shared), transports.twins(), input.clone())?;
            lanes.push(lane);
            threads.push(thread);
        }
        let (publisher, thread) =
            publisher::start(Arc::clone(&shared), input.clone()).map_err(|error| threads::refused(&error))?;
        threads.push(thread);
        let machine = machine::Machine::new(
            Arc::clone(&shared),
            input.clone(),
            lanes,
            publisher,
            limits.current.clone(),
            settings.wait_for_disk,
            settings.retain,
        );
        threads.push(machine::start(machine, inputs)?);
        let inner = Inner {
            shared,
            input,
            transport: transports.default,
            profiles,
            limits: Mutex::new(limits),
            home: settings.home,
            components: settings.components,
            policy: settings.policy,
            component_flags: settings.component_flags,
            ready: tokio::sync::OnceCell::new_with(ready.as_ref().ok().copied()),
            unready: Mutex::new(ready.err()),
            wait_for_disk: settings.wait_for_disk,
            loading: tokio::sync::OnceCell::new(),
            telling: tokio::sync::OnceCell::new(),
            attaching: tokio::sync::Mutex::default(),
            threads: Mutex::new(threads),
            webhooks: settings.webhooks,
            webhook_transport: settings.webhook_transport,
            delivery: Mutex::default(),
            notifications: settings.notifications,
            adding: tokio::sync::Mutex::default(),
            calls: AtomicUsize::new(0),
            answered: Notify::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Answers one request of this process.
    pub(crate) async fn call(&self, request: Request) -> Result<Reply> {
        caught(self.call_as(0, request)).await
    }

    /// Answers one request of `asker`. What an asker has asked to be worked is worked until it is [`Engine::gone`].
    /// 0 is this process.
    pub(crate) async fn call_as(&self, asker: u64, request: Request) -> Result<Reply> {
        self.inner.calls.fetch_add(1, Ordering::SeqCst);
        let _open = Open(&self.inner);
        requests::answer(&self.inner, asker, request).await
    }

    /// An asker has left: what only it had asked for stops, and keeps its bytes.
    pub(crate) fn gone(&self, asker: u64) {
        let _ = self.inner.input.send(Input::Gone { asker });
    }

    /// Updates from now on. A watcher that falls 65,536 behind misses progress first, then is let go (the channel ends);
    /// [`Request::Events`] has what it missed.
    pub(crate) fn watch(&self) -> mpsc::Receiver<Update> {
        self.inner.shared.hub.watch()
    }

    /// Changes of status of tasks that send none, from now on; as of [`Engine::watch`].
    pub(crate) fn watch_silent(&self) -> mpsc::Receiver<Update> {
        self.inner.shared.hub.watch_silent()
    }

    /// Waits until components have heard of all ends up to now (`on-task-finished`). Each call has a limit, so this ends.
    pub(crate) async fn all_told(&self) {
        let (reply, told) = oneshot::channel();
        if self.inner.input.send(Input::WhenTold { reply }).is_ok() {
            let _ = told.await;
        }
    }

    /// Has webhooks told what has ended, for some seconds, and then no more: what is left is told by the next engine.
    pub(crate) async fn tell_webhooks(&self) {
        if let Some(delivery) = self.inner.take_delivery() {
            let _ = tokio::task::spawn_blocking(|| delivery.close()).await;
        }
    }

    /// Leaves what webhooks have not been told to the next engine.
    pub(crate) fn leave_webhooks(&self) {
        if let Some(delivery) = self.inner.take_delivery() {
            delivery.leave();
        }
    }

    /// Stops all transfers, keeps their bytes, and ends. Interrupted tasks are `enqueued` again. Returns when everything is
    /// written.
    pub(crate) async fn close(&self) {
        // Whoever has paused the last task hears that it worked before the engine ends for want of work.
        let all_answered = async {
            while self.inner.calls.load(Ordering::SeqCst) > 0 {
                self.inner.answered.notified().await;
            }
        };
        let _ = tokio::time::timeout(ANSWER_WITHIN, all_answered).await;
        let (reply, done) = oneshot::channel();
        if self.inner.input.send(Input::Close { reply }).is_ok() {
            let _ = done.await;
        }
        if !self.inner.shared.flights.land().await {
            tracing::warn!("an access token was being refreshed: what its server has granted since may be lost");
        }
        for jar in self.inner.profiles.jars() {
            jar.keep(clock::unix_ms());
        }
        self.tell_webhooks().await;
        let _ = sweep_spool(&self.inner.shared).await;
        self.inner.shared.hub.close();
        self.inner.shared.store.close();
        let threads = std::mem::take(&mut *self.inner.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            let _ = thread.join();
        }
    }
}

/// Opens the store for writing, and puts right what a killed engine has left.
async fn prepare(shared: &Shared, wait_for_disk: bool) -> Result<()> {
    shared.store.make_writable()?;
    recovery::recover(shared).await?;
    shared.store.wait_for_room(wait_for_disk);
    Ok(())
}

/// Has components with `on-task-finished` told about every final update: those of now after their commit, and first those
/// that an engine before this one had not told (at least once; the update's `seq` tells repeats).
fn tell_of_ends(shared: &Arc<Shared>, input: &mpsc::UnboundedSender<Input>) -> Result<()> {
    let listens = shared.components.answer(Hook::OnTaskFinished);
    let position = shared.store.consumers()?.into_iter().find(|(name, _)| name == requests::COMPONENTS);
    let consumer = requests::COMPONENTS.to_owned();
    let (sender, watched) = (input.clone(), Arc::clone(shared));
    let last = shared.store.last_seq()?;
    shared.hub.on_final(Box::new(move |update| {
        if update.seq > last && (listens || watched.hear_of_ends.load(Ordering::Relaxed)) {
            let _ = sender.send(Input::Final { update: Box::new(update.clone()) });
        }
    }));
    if !listens {
        // Nobody listens any more: what was not told must not be kept for ever.
        if position.is_some() {
            shared.store.write_later(Change::Ack { consumer, seq: last });
        }
        return Ok(());
    }
    // What ended while they were being loaded may be told twice, but is not left out.
    let last = shared.store.last_seq()?;
    let mut after = match position {
        Some((_, position)) => position,
        None => {
            // The first time: what ended before is nobody's business.
            shared.store.write_later(Change::Consumer { name: consumer.clone() });
            shared.store.write_later(Change::Ack { consumer, seq: last });
            last
        }
    };
    while after < last {
        let updates = shared.store.events_after(after, 1_000)?;
        let Some(newest) = updates.last() else { break };
        after = newest.seq;
        for update in updates.into_iter().filter(|update| update.status.is_final() && update.seq <= last) {
            let _ = input.send(Input::Final { update: Box::new(update) });
        }
    }
    Ok(())
}

/// From now on somebody wants to hear of final updates. What ended before is nobody's business, unless somebody had listened
/// before.
async fn hear_of_ends(shared: &Shared) -> Result<()> {
    shared.hear_of_ends.store(true, Ordering::Relaxed);
    if !shared.store.consumers()?.iter().any(|(name, _)| name == requests::COMPONENTS) {
        let (consumer, seq) = (requests::COMPONENTS.to_owned(), shared.store.last_seq()?);
        shared.store.write_later(Change::Consumer { name: consumer.clone() });
        shared.store.write(Change::Ack { consumer, seq }).await?;
    }
    Ok(())
}

/// How long closing waits for requests that are being answered.
const ANSWER_WITHIN: std::time::Duration = std::time::Duration::from_secs(1);

/// What answering a request comes to. A mistake of ours that panics ends that answer and nothing else: what it held is released,
/// and whoever has asked is told. What panicked and where, the panic itself has said on standard error.
pub(crate) async fn caught(answering: impl Future<Output = Result<Reply>>) -> Result<Reply> {
    let mut answering = std::pin::pin!(answering);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(cx)));
        let panicked = || Error::Other("answering this panicked, which is a mistake in haul".into());
        polled.unwrap_or_else(|_| Poll::Ready(Err(panicked())))
    })
    .await
}

/// A request that is being answered, until dropped.
struct Open<'a>(&'a Inner);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
        self.0.answered.notify_one();
    }
}

/// One lane for each core but one, which the store, the publisher and the server next door use.
fn lane_count() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).clamp(1, 4))
}

/// Files that an engine has open when nothing is transferred: the database's, its sockets and what its threads wait on; and
/// some for whoever asks it.
const OPEN_FILES_KEPT: u64 = 36;
/// A connection, a file, and room for what is open for a moment: lookups, directories, files that are synced. Divided downloads
/// have more connections: those that cannot be made are made when others have ended.
const OPEN_FILES_A_TASK: u64 = 3;

/// The limits of a queue, with no more tasks at once than this process may have files open for.
fn within_open_files(limits: &QueueLimits) -> QueueLimits {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let most = most.map(|files| files.saturating_sub(OPEN_FILES_KEPT) / OPEN_FILES_A_TASK);
    let most = most.map_or(usize::MAX, |tasks| usize::try_from(tasks).unwrap_or(usize::MAX).max(1));
    let total = if limits.total == 0 { most } else { limits.total.min(most) };
    QueueLimits { total, ..limits.clone() }
}

/// Removes what was read from pipes and no task needs any more, on a thread of its own.
fn sweep_spool(shared: &Arc<Shared>) -> tokio::task::JoinHandle<()> {
    let shared = Arc::clone(shared);
    tokio::task::spawn_blocking(move || shared.spool.sweep(&shared.store))
}

#[cfg(test)]
mod tests;
