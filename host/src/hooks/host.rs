//! What a component can import, and the data of its store: WASI (0.2 and 0.3, over the same data) without files, sockets and
//! environment, HTTP to granted hosts, its settings, and the decisions of the next one in the chain.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use wasmtime::component::{ComponentType, Linker, Lower, ResourceTable};
use wasmtime::{Engine, ResourceLimiter, StoreContextMut};
use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::bindings::haul::transfer as wit;
use super::component::raised_by;
use super::computing::Computing;
use super::functions as hooks;
use super::http::{HEADERS_BYTES_MAX, Reach};
use super::log::Log;
use super::quota::Quota;
use super::wall::WallClock;
use super::{Chain, Decision, Denied, Grants, Heard, KeyValueGrant, convert, keyvalue};
use crate::error::{Error, Failure};
use crate::task::Pairs;
use wit::types::{Auth, Failure as WitFailure, Response, Task};

pub(super) const RESOURCES_MAX: usize = 256;
/// Tasks, streams, futures and handles of the component model, which take memory of the host.
pub(super) const TASKS_MAX: usize = 1024;
const RANDOM_BYTES_MAX: u64 = 4 << 10;
const TABLE_ELEMENTS_MAX: usize = 20_000;
/// Interpreters are made of a few core modules, each with its tables.
const MEMORIES_MAX: usize = 4;
const TABLES_MAX: usize = 16;
const INSTANCES_MAX: usize = 64;
const MILLISECOND: Duration = Duration::from_millis(1);

/// The data of a store.
pub(super) struct State {
    pub table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    pub reach: Reach,
    pub log: Log,
    pub memory: Memory,
    pub cpu: CpuLimit,
    config: Pairs,
    /// State that it keeps.
    pub keyvalue: Option<KeyValueGrant>,
    /// The call in progress.
    pub running: Option<Running>,
    /// What it has left of its time on the CPU.
    pub computing: Computing,
    /// And by the clock; none while it starts.
    pub wall: Option<WallClock>,
}

/// Where a call stands in its chain, how many bytes an answer may repeat of the question, and what is taken down of it.
#[derive(Clone)]
pub(super) struct Running {
    pub chain: Chain,
    pub position: usize,
    pub weight: usize,
    /// What it was refused: a failure tells it.
    pub denied: Denied,
    /// What the next component has answered it.
    pub heard: Heard,
}

impl Running {
    /// A call of the component at that position.
    pub(super) fn begin(chain: &Chain, position: usize, weight: usize) -> Self {
        let (denied, heard) = (Denied::default(), Heard::default());
        Self { chain: chain.clone(), position, weight, denied, heard }
    }
}

impl State {
    pub(super) fn new(grants: &Grants, log: Log, http_quota: Arc<Mutex<Quota>>) -> Self {
        let wasi = WasiCtx::builder()
            .stdout(log.clone())
            .stderr(log.clone())
            .max_random_size(RANDOM_BYTES_MAX)
            .wall_clock(Wall(wasmtime_wasi::clocks::wall_clock()))
            .monotonic_clock(Monotonic(crate::clock::timer_now()))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(HEADERS_BYTES_MAX);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        Self {
            table,
            wasi,
            http,
            reach: Reach::new(grants, http_quota, log.clone()),
            log,
            memory: Memory { limit: grants.limits.memory_bytes, left: grants.limits.memory_bytes },
            cpu: CpuLimit::default(),
            config: grants.config.clone(),
            keyvalue: grants.keyvalue.clone(),
            running: None,
            computing: Computing::default(),
            wall: None,
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.reach }
    }
}

/// Counts all linear memory of a store, and traps where it would exceed the limit.
pub(super) struct Memory {
    limit: usize,
    left: usize,
}

/// How long a call may be on the CPU, for who exceeds it.
#[derive(Default)]
pub(super) struct CpuLimit {
    pub cpu_ms: u64,
    /// What that time is, or what raises it.
    pub what: Box<str>,
}

impl std::fmt::Display for CpuLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "its {} ms on the CPU {}", self.cpu_ms, self.what.trim_start())
    }
}

impl Memory {
    /// Bytes that it may still grow by.
    pub(super) fn left(&self) -> usize {
        self.left
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let Some(left) = self.left.checked_sub(desired.saturating_sub(current)) else {
            let mib = self.limit >> 20;
            wasmtime::bail!("it wanted more memory than its {mib} MiB{}", raised_by("memory"));
        };
        self.left = left;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

/// Clocks that tell milliseconds, too coarse to time the host's caches by.
struct Wall(Box<dyn HostWallClock + Send>);

impl HostWallClock for Wall {
    fn resolution(&self) -> Duration {
        MILLISECOND
    }

    fn now(&self) -> Duration {
        let now = self.0.now();
        Duration::new(now.as_secs(), now.subsec_millis() * 1_000_000)
    }
}

struct Monotonic(tokio::time::Instant);

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        MILLISECOND.as_nanos() as u64
    }

    /// Begins at a second, because Go's runtime takes a clock that shows 0 for a broken one and panics.
    fn now(&self) -> u64 {
        (Duration::from_secs(1) + self.0.elapsed()).as_millis() as u64 * 1_000_000
    }
}

/// The failure of the component that a decorator asked: its own call ends with it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NextFailed(pub Failure);

/// Everything that components can import, once for all of them.
pub(super) fn linker(engine: &Engine) -> Result<Linker<State>, Error> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)
        .and_then(|()| wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker))
        .and_then(|()| wasmtime_wasi::p3::add_to_linker(&mut linker))
        .and_then(|()| wasmtime_wasi_http::p3::add_to_linker(&mut linker))
        .and_then(|()| link_settings(&mut linker))
        .and_then(|()| keyvalue::link(&mut linker))
        .and_then(|()| link_fetch(&mut linker))
        .and_then(|()| link_log(&mut linker))
        .and_then(|()| link_decisions(&mut linker))
        .map_err(|error| Error::Other(format!("cannot link the host's functions: {error:#}")))?;
    Ok(linker)
}

fn link_fetch(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.instance("haul:transfer/fetch@0.1.0")?.func_wrap_async(
        "fetch",
        |store: StoreContextMut<'_, State>, (request,): (wit::types::Request,)| {
            let reach = store.data().reach.clone();
            Box::new(async move {
                let sent = reach.fetch(request.method, request.url, request.headers, request.body).await;
                Ok((match sent {
                    Ok((status, headers, url, body)) => {
                        let (body, extra) = (body.into(), Vec::new());
                        Ok(Response { status, headers, url, body, extra })
                    }
                    Err(failure) => Err(convert::failure(&failure)),
                },))
            })
        },
    )
}

fn link_log(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.instance("haul:transfer/log@0.1.0")?.func_wrap(
        "write",
        |store: StoreContextMut<'_, State>, (line,): (String,)| {
            store.data().log.line(&line);
            Ok(())
        },
    )
}

/// `wasi:config/store`, of which two drafts are in use.
fn link_settings(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    #[derive(ComponentType, Lower)]
    #[component(variant)]
    #[expect(dead_code, reason = "ours never fails")]
    enum Unavailable {
        #[component(name = "upstream")]
        Upstream(String),
        #[component(name = "io")]
        Io(String),
    }
    for version in ["0.2.0-rc.1", "0.2.0-draft"] {
        let mut settings = linker.instance(&format!("wasi:config/store@{version}"))?;
        settings.func_wrap("get", |store: StoreContextMut<'_, State>, (key,): (String,)| {
            let state = store.data();
            let value = state.config.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone());
            if value.is_none() {
                state.reach.denied().lacks(&key);
            }
            Ok((Ok::<_, Unavailable>(value),))
        })?;
        settings.func_wrap("get-all", |store: StoreContextMut<'_, State>, ()| {
            Ok((Ok::<_, Unavailable>(store.data().config.clone()),))
        })?;
    }
    Ok(())
}

/// The decisions, each answered by the next one in the chain of the call in progress.
fn link_decisions(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    link::<hooks::Admit, _>(linker, |asked| asked)?;
    link::<hooks::Classify, (Task, _, Response)>(linker, |(task, asked, head)| {
        (Arc::new(task), asked, Arc::new(head))
    })?;
    link::<hooks::Filename, (Task, Response, _)>(linker, |(task, head, taken)| {
        (Arc::new(task), Arc::new(head), taken)
    })?;
    link::<hooks::Resume, (Task, _)>(linker, |(task, stored)| (Arc::new(task), stored))?;
    link::<hooks::Authorize, (Task, Auth, _, _)>(linker, |(task, auth, situation, now)| {
        (Arc::new(task), auth, situation, now)
    })?;
    link::<hooks::Retry, (Task, _, WitFailure)>(linker, |(task, attempt, failure)| (Arc::new(task), attempt, failure))?;
    link::<hooks::Parts, (Task, _)>(linker, |(task, known)| (Arc::new(task), known))
}

fn link<A, Given>(
    linker: &mut Linker<State>,
    params: impl Fn(Given) -> A::Params + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()>
where
    A: Decision,
    A::Answer: Lower,
    Given: wasmtime::component::ComponentNamedList + wasmtime::component::Lift + Send + 'static,
{
    let name = format!("haul:transfer/{}@{}", A::HOOK.name(), hooks::VERSION);
    linker.instance(&name)?.func_wrap_async("decide", move |store: StoreContextMut<'_, State>, given: Given| {
        let state = store.data();
        let (call, computing) = (state.running.clone().zip(state.wall.clone()), state.computing.clone());
        Box::new(async move {
            let Some((running, wall)) = call else {
                wasmtime::bail!("it asked for a decision before it was asked for one");
            };
            let next = running.chain.ask_next::<A>(&running, params(given));
            let answer = wall.leave_out(computing.leave_out(next)).await;
            answer.map_err(|failure| wasmtime::Error::from(NextFailed(failure)))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_shows_no_zero_and_whole_milliseconds() {
        let (first, ago) = (crate::clock::timer_now(), Duration::from_micros(2_900));
        let (fresh, older) = (Monotonic(first).now(), Monotonic(first - ago).now());
        assert!(fresh >= 1_000_000_000 && older >= 1_002_000_000, "{fresh}, {older}");
        assert_eq!((fresh % 1_000_000, older % 1_000_000), (0, 0));
    }
}
