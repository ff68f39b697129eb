//! Users' components: loading, and calls within limits on warm instances.
//!
//! A call ends by its answer, by a trap, by its CPU limit or by its wall clock limit; after all but the first the instance is
//! thrown away, and after an answer too, where anything of the call would go on. At most two calls of one component run at
//! once, each on an instance of its own, so that a component that hangs delays nobody else's; how many of all components are on
//! the processor at once is a matter of `turns.rs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{Component as Wasm, InstancePre, ResourceTableError};
use wasmtime::{Store, Trap, UpdateDeadline};

use super::compile;
use super::computing::Computing;
use super::file::ComponentFile;
use super::functions::{Ask, Functions};
use super::grants::how_to_grant_credential;
use super::health::Health;
use super::host::{CpuLimit, NextFailed, RESOURCES_MAX, Running, State, TASKS_MAX};
use super::interfaces::Interfaces;
use super::log::Log;
use super::quota::Quota;
use super::requested::Requested;
use super::runtime::Ticker;
use super::wall::{Late, WallClock};
use super::{FailMode, Grants, Hook, LogSink, Shared, check};
use crate::error::{Error, Failure, FailureKind};
use crate::threads;
use crate::transport::PrivateHost;

/// Calls of one component at once.
const CALLS_AT_ONCE: usize = 2;
/// Over all calls of one component (reliability.md E.6).
pub(super) const HTTP_REQUESTS_A_MINUTE: usize = 30;
const LOG_BYTES_A_MINUTE: usize = 1 << 20;
/// After so many calls an instance is made anew.
const CALLS_MAX: u32 = 10_000;
/// Starting an interpreter takes more than a call.
const START_CPU_MS: u64 = 2_000;
const START_WALL: Duration = Duration::from_secs(10);
const PROGRESS_CPU_MS: u64 = 50;
/// Bytes that an answer may hold, apart from what it repeats of the question.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A loaded component.
pub struct Component {
    name: String,
    grants: Grants,
    hooks: Vec<Hook>,
    /// Any of them is an `async func`.
    can_wait: bool,
    pre: InstancePre<State>,
    log: LogSink,
    idle: Mutex<Vec<Warm>>,
    turns: Semaphore,
    /// Of each hook that has failed: what is only told must not take the others with it.
    health: Mutex<BTreeMap<Hook, Health>>,
    /// What all its instances together may still log and send in this minute.
    log_quota: Arc<Mutex<Quota>>,
    http_quota: Arc<Mutex<Quota>>,
    /// What has taken its place since; `None` in it: nothing, it was detached.
    successor: OnceLock<Option<Arc<Component>>>,
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component").field("name", &self.name).field("hooks", &self.hooks).finish_non_exhaustive()
    }
}

/// Why a call has no answer.
#[derive(Debug)]
pub(super) struct CallFailed {
    pub failure: Failure,
    /// It is the component that has failed, and not another one that it asked.
    pub is_own: bool,
}

/// What a call has left of its time.
struct Clocks {
    computing: Computing,
    wall: WallClock,
}

struct Warm {
    store: Store<State>,
    functions: Functions,
    calls: u32,
    /// Memory that it could grow by when it began.
    room: usize,
}

impl Component {
    /// Instantiates once, so that what does not fit is told now rather than in the middle of a task.
    pub(super) fn new(
        name: String,
        grants: Grants,
        interfaces: &Interfaces,
        pre: InstancePre<State>,
        log: LogSink,
        ticker: &Ticker,
    ) -> Result<Self, Error> {
        let is_async = |hook: &Hook| {
            super::words::function(pre.engine(), pre.component(), *hook).is_some_and(|function| function.async_())
        };
        let component = Self {
            name,
            grants,
            can_wait: interfaces.hooks.iter().any(is_async),
            hooks: interfaces.hooks.clone(),
            pre,
            log,
            idle: Mutex::default(),
            turns: Semaphore::new(CALLS_AT_ONCE),
            health: Mutex::default(),
            log_quota: Arc::new(Mutex::new(Quota::new(LOG_BYTES_A_MINUTE))),
            http_quota: Arc::new(Mutex::new(Quota::new(HTTP_REQUESTS_A_MINUTE))),
            successor: OnceLock::new(),
        };
        let warm = component.start_blocking(ticker)?;
        component.idle().push(warm);
        Ok(component)
    }

    /// Its name in logs and messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// It and one of its hooks, for sentences.
    pub(super) fn place(&self, hook: Hook) -> String {
        format!("component `{}` in `{}`", self.name, hook.name())
    }

    /// The hooks it answers.
    pub fn hooks(&self) -> &[Hook] {
        &self.hooks
    }

    /// Refuses handles of credentials that it was not granted and that are not in the question.
    pub(super) fn may_use(&self, answered: &[String], asked: &[String]) -> Result<(), String> {
        match answered.iter().find(|name| !self.grants.credentials.contains(name) && !asked.contains(name)) {
            Some(name) => {
                let name = check::text(name.clone());
                Err(format!("credential `{name}` is not granted to it ({})", how_to_grant_credential(&name)))
            }
            None => Ok(()),
        }
    }

    /// Refuses a URL whose host it was not granted: the error is what would have to be.
    pub(super) fn may_reach(&self, url: &str) -> Result<(), String> {
        super::http::granted(&self.grants.allow_hosts, url)
    }

    /// The hosts that it was granted, whose private addresses are granted with them.
    pub(super) fn private_hosts(&self) -> impl Iterator<Item = PrivateHost> {
        super::http::private_hosts(&self.grants.allow_hosts)
    }

    /// Whether it is passed over when it fails.
    pub(super) fn fails_open(&self) -> bool {
        self.grants.fail_mode == FailMode::Open
    }

    pub(super) fn answers(&self, hook: Hook) -> bool {
        self.hooks.contains(&hook)
    }

    /// Another component takes its place, or (`None`) nobody: chains that were made with this one ask the other from their
    /// next call on, and calls in progress end here. Only the first time counts.
    pub(crate) fn replace(&self, successor: Option<Arc<Component>>) {
        let _ = self.successor.set(successor);
    }

    /// The component that stands in its place now; `None`: nobody.
    pub(super) fn now(self: &Arc<Self>) -> Option<&Arc<Self>> {
        let mut now = self;
        while let Some(successor) = now.successor.get() {
            now = successor.as_ref()?;
        }
        Some(now)
    }

    /// The type of a hook's function.
    pub(super) fn function(&self, hook: Hook) -> Option<ComponentFunc> {
        super::words::function(self.pre.engine(), self.pre.component(), hook)
    }

    /// Linear memory of the largest instance that waits for its next call, in bytes.
    pub(super) fn memory_bytes(&self) -> Option<usize> {
        let used = |warm: &Warm| self.grants.limits.memory_bytes.saturating_sub(warm.store.data().memory.left());
        self.idle().iter().map(used).max()
    }

    /// Calls a hook. `nested`: the call is made by another component's, whose turn it runs in; waiting for a turn of its own
    /// could wait for itself.
    pub(super) async fn call<A: Ask>(
        &self,
        running: &Running,
        nested: bool,
        params: A::Params,
    ) -> Result<A::Answer, CallFailed> {
        self.refuse_if_left_alone(A::HOOK)?;
        let chain = &running.chain;
        // Its own turn first: calls that wait for a component that hangs must not keep others from theirs.
        let turns = if nested { None } else { Some((self.turns.acquire().await, chain.turns().take().await)) };
        let _in_progress = chain.ticker().begin();
        let all = chain.patience(running.position, A::HOOK);
        let clocks = Clocks { computing: Computing::default(), wall: WallClock::start(self.patience(A::HOOK), all) };
        let computing = &clocks.computing;
        let call = Box::pin(computing.count(self.call_unlimited::<A>(running, params, &clocks)));
        let call = async {
            match turns {
                Some((_own, turn)) => chain.turns().run(turn, computing, call).await,
                None => call.await,
            }
        };
        match clocks.wall.limit(call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failed(A::HOOK, &error, running)),
            Err(late) => Err(self.failed(A::HOOK, &self.took_too_long(A::HOOK, late, all), running)),
        }
    }

    /// How long one of its calls may take, without what it asks of others.
    pub(super) fn patience(&self, hook: Hook) -> Duration {
        let limits = &self.grants.limits;
        Duration::from_millis(if hook.may_use_http() { limits.wall_http_ms } else { limits.wall_ms })
    }

    fn took_too_long(&self, hook: Hook, late: Late, all: Duration) -> wasmtime::Error {
        let limit = raised_by(if hook.may_use_http() { "wall-http" } else { "wall" });
        match late {
            Late::Itself => {
                wasmtime::format_err!("it took longer than {} ms{limit}", self.patience(hook).as_millis())
            }
            Late::WithOthers => wasmtime::format_err!(
                "it took longer than {} ms with what it asked of the next ones, which is all that it and they may take{limit}",
                all.as_millis()
            ),
        }
    }

    /// The store is dropped with this future: nothing of a call outlives its time limit.
    async fn call_unlimited<A: Ask>(
        &self,
        running: &Running,
        params: A::Params,
        clocks: &Clocks,
    ) -> wasmtime::Result<A::Answer> {
        let idle = self.idle().pop();
        let Some(mut warm) = idle else {
            return self.call_afresh::<A>(running, params, clocks).await;
        };
        let once_more = self.can_wait.then(|| params.clone());
        match (self.call_on::<A>(&mut warm, running, params, clocks).await, once_more) {
            (Err(error), Some(params)) if is_deadlock(&error) && !warm.store.data().reach.has_asked() => {
                drop(warm);
                Box::pin(self.call_afresh::<A>(running, params, clocks)).await
            }
            (answer, _) => {
                self.keep(warm, answer.is_ok());
                answer
            }
        }
    }

    /// On an instance of its own, which is kept.
    async fn call_afresh<A: Ask>(
        &self,
        running: &Running,
        params: A::Params,
        clocks: &Clocks,
    ) -> wasmtime::Result<A::Answer> {
        let mut warm = self.start(&clocks.computing).await?;
        let answer = self.call_on::<A>(&mut warm, running, params, clocks).await;
        self.keep(warm, answer.is_ok());
        answer
    }

    async fn call_on<A: Ask>(
        &self,
        warm: &mut Warm,
        running: &Running,
        params: A::Params,
        clocks: &Clocks,
    ) -> wasmtime::Result<A::Answer> {
        let function = A::of(&warm.functions).ok_or_else(|| wasmtime::format_err!("it does not answer this hook"))?;
        let state = warm.store.data_mut();
        (state.computing, state.wall) = (clocks.computing.clone(), Some(clocks.wall.clone()));
        let limits = &self.grants.limits;
        match A::HOOK {
            Hook::OnProgress if limits.cpu_ms > PROGRESS_CPU_MS => warm.allow(PROGRESS_CPU_MS, "of this hook"),
            _ => warm.allow(limits.cpu_ms, &raised_by("cpu")),
        }
        warm.store.set_hostcall_fuel(ANSWER_BYTES_MAX + running.weight);
        let state = warm.store.data_mut();
        state.running = Some(running.clone());
        state.log.begin(limits.log_bytes, running.chain.secrets());
        let transport = A::HOOK.may_use_http().then(|| running.chain.transport().clone());
        state.reach.begin(limits.http_requests, transport, &running.denied);
        let ended = Ended(state.log.clone());
        let answer = function.call_async(&mut warm.store, params).await?;
        drop(ended);
        let state = warm.store.data_mut();
        state.running = None;
        state.reach.end();
        warm.calls += 1;
        Ok(answer)
    }

    /// Keeps an instance for the next call, if it may have one.
    fn keep(&self, mut warm: Warm, has_answered: bool) {
        let is_fine = has_answered && warm.calls < CALLS_MAX && warm.is_at_rest() && warm.has_room();
        let mut idle = self.idle();
        if is_fine && idle.len() < CALLS_AT_ONCE {
            idle.push(warm);
        }
    }

    async fn start(&self, computing: &Computing) -> wasmtime::Result<Warm> {
        let log = Log::new(&self.name, self.log.clone(), self.log_quota.clone());
        log.begin(self.grants.limits.log_bytes, Arc::default());
        let _ended = Ended(log.clone());
        let mut store = Store::new(self.pre.engine(), State::new(&self.grants, log, self.http_quota.clone()));
        store.data_mut().computing = computing.clone();
        store.limiter(|state| &mut state.memory);
        store.set_max_component_handles(TASKS_MAX);
        if let Some(tasks) = store.concurrent_resource_table() {
            tasks.set_max_capacity(TASKS_MAX);
        }
        store.set_hostcall_fuel(ANSWER_BYTES_MAX);
        store.epoch_deadline_callback(|mut store| {
            let state = store.data_mut();
            wasmtime::ensure!(state.computing.goes_on(), "it used up {}", state.cpu);
            // Not at once, but when the thread has looked at its sockets: what computes holds up no transfer.
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        let mut warm = Warm { store, functions: Functions::default(), calls: 0, room: 0 };
        warm.allow(START_CPU_MS, "to start");
        let instance = self.pre.instantiate_async(&mut warm.store).await?;
        warm.functions = Functions::find(&mut warm.store, &instance)?;
        warm.room = warm.store.data().memory.left();
        Ok(warm)
    }

    /// [`Component::start`] for callers that may be on a runtime's thread, which must not wait for a future.
    fn start_blocking(&self, ticker: &Ticker) -> Result<Warm, Error> {
        let _in_progress = ticker.begin();
        let refuse = |why: String| Error::Component(format!("component `{}` cannot be started: {why}", self.name));
        let started = std::thread::scope(|scope| {
            let run = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let alone = Computing::default();
                let start = async { tokio::time::timeout(START_WALL, alone.count(self.start(&alone))).await };
                let started = runtime.block_on(start);
                started.map_err(|_| wasmtime::format_err!("it took longer than {} s", START_WALL.as_secs()))?
            };
            std::thread::Builder::new().spawn_scoped(scope, run).map(std::thread::ScopedJoinHandle::join)
        });
        match started.map_err(|error| threads::refused(&error))? {
            Ok(Ok(warm)) => Ok(warm),
            Ok(Err(error)) => Err(refuse(reason(&error))),
            Err(_) => Err(refuse("wasmtime panicked".into())),
        }
    }

    /// The hooks that it is not asked for a while, after too many failures, and for how many seconds.
    pub(crate) fn left_alone(&self) -> Vec<(Hook, u64)> {
        let now = crate::clock::timer_now();
        let left = |(hook, health): (&Hook, &Health)| Some((*hook, health.left_alone(now)?.as_secs() + 1));
        self.health().iter().filter_map(left).collect()
    }

    fn refuse_if_left_alone(&self, hook: Hook) -> Result<(), CallFailed> {
        let left = self.health().get(&hook).and_then(|health| health.left_alone(crate::clock::timer_now()));
        left.map_or(Ok(()), |left| {
            let why = format!("it failed there too often and is not asked for another {} s", left.as_secs() + 1);
            Err(CallFailed { failure: self.failure(hook, &why), is_own: true })
        })
    }

    fn failed(&self, hook: Hook, error: &wasmtime::Error, running: &Running) -> CallFailed {
        if let Some(NextFailed(failure)) = error.downcast_ref::<NextFailed>() {
            return CallFailed { failure: failure.clone(), is_own: false };
        }
        let denied = if error.is::<Trap>() { running.denied.of_a_trap() } else { running.denied.of_a_failure() };
        let failure = self.failure(hook, &format!("{}{denied}", reason_of_a_call(error)));
        CallFailed { failure: self.count(hook, failure, !running.chain.is_a_look()), is_own: true }
    }

    /// The failure of an answer that cannot be used. `counts`: as one of those after which it is left alone.
    pub(super) fn unusable(&self, hook: Hook, why: &str, counts: bool) -> Failure {
        let sentence = format!("component `{}` gave an unusable answer in `{}`: {why}", self.name, hook.name());
        self.count(hook, Failure::new(FailureKind::Callback, sentence), counts)
    }

    /// Its last answer to a hook was fine.
    pub(super) fn well(&self, hook: Hook) {
        if let Some(health) = self.health().get_mut(&hook) {
            health.well();
        }
    }

    fn failure(&self, hook: Hook, why: &str) -> Failure {
        let sentence = format!("component `{}` failed in `{}`: {why}", self.name, hook.name());
        Failure::new(FailureKind::Callback, sentence)
    }

    fn count(&self, hook: Hook, failure: Failure, counts: bool) -> Failure {
        if !counts {
            return failure;
        }
        (self.log.0)(&self.name, &failure.description);
        if self.health().entry(hook).or_default().failed(crate::clock::timer_now()) {
            let notice = format!("it failed too often in `{}`, which it is not asked for 5 minutes", hook.name());
            (self.log.0)(&self.name, &notice);
        }
        failure
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Warm>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, BTreeMap<Hook, Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Warm {
    /// Whether nothing of its calls is left: no task, stream or request that the next call would go on with, under the name and
    /// the limits of another hook.
    fn is_at_rest(&mut self) -> bool {
        self.store.concurrent_resource_table().is_none_or(|tasks| tasks.is_empty())
    }

    /// Whether it may be called again. One that has little memory or few of the host's handles left would fail in the middle of
    /// some task: what its calls leave behind (interpreters collect it late) goes with it.
    fn has_room(&mut self) -> bool {
        let state = self.store.data_mut();
        state.memory.left() >= self.room / 4 && state.table.iter_mut().count() <= RESOURCES_MAX / 4 * 3
    }

    /// `what`: what that time is, or what raises it.
    fn allow(&mut self, cpu_ms: u64, what: &str) {
        let state = self.store.data_mut();
        state.computing.allow(Duration::from_millis(cpu_ms));
        state.cpu = CpuLimit { cpu_ms, what: what.into() };
        self.store.set_epoch_deadline(1);
    }
}

/// Closes the page of the log however a call ends.
struct Ended(Log);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Whether nothing can come that the call waits for. So it is, too, where an earlier call has left its instance such that it takes
/// no others (`backpressure.inc`), which nobody can see before.
fn is_deadlock(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref(), Some(Trap::AsyncDeadlock))
}

/// Where a limit is raised, behind what exceeded it.
pub(super) fn raised_by(setting: &str) -> String {
    format!(" (`limits.{setting}`)")
}

/// What the runtime says of bytes that are no value has no subject: it is the component that has handed them over.
fn reason_of_a_call(error: &wasmtime::Error) -> String {
    match reason(error) {
        why if why.starts_with("it ") => why,
        why => format!("it handed over what is no value of the contract, as an answer or in a call: {why}"),
    }
}

fn reason(error: &wasmtime::Error) -> String {
    let sentence = match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => "it trapped (a panic, or an abort)".to_owned(),
        // The stack of most languages lies at the beginning of the memory.
        Some(Trap::MemoryOutOfBounds) => {
            "it trapped: out of bounds memory access (endless recursion, perhaps)".to_owned()
        }
        Some(Trap::StackOverflow) => "it ran out of stack".to_owned(),
        Some(Trap::CannotBlockSyncTask) => {
            "it waits for something of WASI 0.3, which only a hook that is an `async func` may (docs/callbacks.md, WASI)".to_owned()
        }
        Some(Trap::AsyncDeadlock) => "it waits for nothing that could come".to_owned(),
        Some(trap) => format!("it trapped: {trap}"),
        None if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) => too_many_handles(),
        None => error.root_cause().to_string(),
    };
    // wasmtime has no types for these.
    let sentence = match sentence.starts_with("too much data is being copied") {
        true => format!(
            "it handed over more than {} MiB at once beside what it was asked, as an answer, a request or a line of log: that \
             is the limit of each",
            ANSWER_BYTES_MAX >> 20
        ),
        false if sentence.ends_with("store handle limit exceeded") => too_many_handles(),
        false if sentence.starts_with("Exited with i32 exit status") => {
            "it ended itself (exit) instead of answering".into()
        }
        false => sentence,
    };
    check::text(sentence)
}

fn too_many_handles() -> String {
    format!("it holds more than {RESOURCES_MAX} handles of the host, or {TASKS_MAX} of tasks and streams")
}

/// Compiles a component, or takes the result from the cache.
///
/// One that cannot be loaded by its names is not compiled. `what`: the component, for that sentence.
pub(super) fn compile(shared: &Shared, file: &ComponentFile<'_>, what: &str) -> Result<Wasm, Error> {
    let digest = &file.digests().blake3;
    let refuse = |reason: String| Error::Component(format!("{} {reason}", file.path().display()));
    let compile = || match shared.refused.reason(digest) {
        Some(reason) => Err(refuse(reason)),
        None => {
            let wasm = file.bytes()?;
            Requested::of(wasm, file.path())?;
            Interfaces::read(wasm).map_or(Ok(()), |interfaces| interfaces.check(what))?;
            let limits = compile::limits_of(wasm.len());
            if let Some(reason) = shared.cache.refusal(&shared.engine, digest, &limits) {
                return Err(refuse(reason));
            }
            shared.compiler.compile(shared.space, wasm).map_err(|reason| {
                shared.refused.remember(digest, &reason);
                if compile::exceeds(&reason) {
                    shared.cache.refuse(&shared.engine, digest, &limits, &reason);
                }
                refuse(reason)
            })
        }
    };
    shared.cache.component(&shared.engine, digest, compile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runtime_says_of_bytes_that_are_no_value_is_a_sentence_about_the_component() {
        let told = reason_of_a_call(&wasmtime::format_err!("unexpected discriminant: 9"));
        assert_eq!(
            told,
            "it handed over what is no value of the contract, as an answer or in a call: unexpected discriminant: 9"
        );
        let ours = "it used up its 50 ms on the CPU";
        assert_eq!(reason_of_a_call(&wasmtime::format_err!("{ours}")), ours);
        assert_eq!(reason_of_a_call(&Trap::StackOverflow.into()), "it ran out of stack");
    }
}
