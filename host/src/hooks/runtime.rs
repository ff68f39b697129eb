//! The wasmtime engine and its clock tick. Compiles and calls nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use wasmtime::{Config, Engine};

use crate::error::Error;

/// Stack of a guest (reliability.md E.6).
const WASM_STACK_BYTES: usize = 512 << 10;
/// Time between two ticks: the grain of all CPU limits.
pub(super) const TICK: Duration = Duration::from_millis(10);
/// The ticker stops to tick after so many ticks without a call.
const IDLE_TICKS: u32 = 100;

/// One configuration for everything, so that compiled code stays valid from process to process.
pub(super) fn engine() -> Result<Engine, Error> {
    let mut config = Config::new();
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
    Engine::new(&config).map_err(|error| Error::Other(format!("cannot start wasmtime: {error:#}")))
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
            .map_err(|error| Error::Other(format!("cannot start a thread: {error}")))?;
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
