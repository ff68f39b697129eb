//! The wasmtime engine, its compiler and its clock tick. Calls nothing, and keeps no code.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use wasmtime::{Config, Engine};

use crate::error::Error;
use crate::threads;

/// Stack of a guest (reliability.md E.6).
const WASM_STACK_BYTES: usize = 512 << 10;
/// Time between two ticks: how long a call computes until others are let work, and the grain of all CPU limits.
const TICK: Duration = Duration::from_millis(5);
/// The ticker stops to tick after so many ticks without a call.
const IDLE_TICKS: u32 = 200;

/// Stack of a thread that compiles.
pub(super) const COMPILER_STACK_BYTES: usize = 8 << 20;

/// How much address space memories of components take. Code is compiled for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// 4 GiB each, so that no access needs a check. Address space only: memory is taken as they grow.
    Wide,
    /// What they have, a little more and a small guard: accesses are checked, memories move as they grow.
    Narrow,
}

impl Space {
    /// What a narrow memory may grow before it moves.
    const GROWTH_BYTES: u64 = 4 << 20;
    /// An access at an offset below this needs one check only.
    const GUARD_BYTES: u64 = 64 << 10;

    /// What this process has room for: an address space that is limited (RLIMIT_AS) seldom holds what 16 wide memories take.
    /// A child finds the same as its parent.
    pub(super) fn of_process() -> Self {
        if getrlimit(Resource::As).current.is_some() { Space::Narrow } else { Space::Wide }
    }
}

/// The engine of this process.
pub(super) fn engine(space: Space) -> Result<Engine, Error> {
    Engine::new(&config(space)).map_err(|error| Error::Other(format!("cannot start wasmtime: {error:#}")))
}

/// Compiles a component for engines of this `space`: on some threads where the system gives them, else on this one.
pub(super) fn precompile(space: Space, wasm: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let threads = rayon::ThreadPoolBuilder::new().stack_size(COMPILER_STACK_BYTES).build();
    let engine = Engine::new(config(space).parallel_compilation(threads.is_ok()))?;
    match threads {
        Ok(threads) => threads.install(|| engine.precompile_component(wasm)),
        Err(_) => engine.precompile_component(wasm),
    }
}

/// One configuration for everything, so that compiled code stays valid from process to process.
fn config(space: Space) -> Config {
    let mut config = Config::new();
    if space == Space::Narrow {
        config
            .memory_reservation(0)
            .memory_reservation_for_growth(Space::GROWTH_BYTES)
            .memory_guard_size(Space::GUARD_BYTES);
    }
    config
        .wasm_component_model(true)
        // JavaScript components built with QuickJS use its built-in functions for plain functions too.
        .wasm_component_model_async(true)
        .wasm_memory64(false)
        .epoch_interruption(true)
        // For stack traces, which nobody is shown: a seventh of what is written and mapped.
        .native_unwind_info(false)
        .generate_address_map(false)
        .wasm_backtrace_max_frames(None)
        .cranelift_nan_canonicalization(true)
        .max_wasm_stack(WASM_STACK_BYTES);
    config
}

/// Advances the engine's epoch every [`TICK`] while calls are in progress, from a thread of its own, so that a guest that
/// never returns cannot stop it. Sleeps when nobody calls.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: thread::Thread,
}

#[derive(Debug, Default)]
struct Shared {
    calls: AtomicUsize,
    asleep: AtomicBool,
    stop: AtomicBool,
}

/// A call in progress; ends when dropped.
#[derive(Debug)]
pub(super) struct InProgress(Arc<Shared>);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticker {
    pub(super) fn start(engine: &Engine) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let (engine, theirs) = (engine.weak(), shared.clone());
        let thread = thread::Builder::new()
            .name("haul-epoch".into())
            .spawn(move || {
                let mut idle = 0;
                while !theirs.stop.load(Ordering::SeqCst) {
                    thread::park_timeout(TICK);
                    let Some(engine) = engine.upgrade() else {
                        return;
                    };
                    engine.increment_epoch();
                    drop(engine);
                    idle = if theirs.calls.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
                    if idle > IDLE_TICKS {
                        theirs.sleep();
                        idle = 0;
                    }
                }
            })
            .map_err(|error| threads::refused(&error))?;
        Ok(Self { shared, thread: thread.thread().clone() })
    }

    /// Tells that a call begins: from now on the epoch advances.
    pub(super) fn begin(&self) -> InProgress {
        if self.shared.calls.fetch_add(1, Ordering::SeqCst) == 0 && self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        InProgress(self.shared.clone())
    }
}

impl Shared {
    /// `asleep` is written before `calls` is read, and [`Ticker::begin`] does the reverse: one of them sees the other.
    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        while self.calls.load(Ordering::SeqCst) == 0 && !self.stop.load(Ordering::SeqCst) {
            thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}
