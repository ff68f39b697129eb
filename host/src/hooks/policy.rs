//! The default policy: the embedded component, called synchronously on warm instances.
//!
//! It gets nothing from the host: an import it should not have traps when it is used, so that every decision is a pure
//! function. A trap spoils one answer and one instance.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Engine, Store, StoreLimits, StoreLimitsBuilder, UpdateDeadline};

use super::computing::Computing;
use super::functions::{Ask, Functions};
use super::runtime::{self, Space, Ticker};
use super::{Compiler, Hook};
use crate::error::{Error, Failure, FailureKind};

/// The component, compiled by build.rs.
pub(super) const WASM: &[u8] = include_bytes!(env!("HAUL_POLICY"));
const NAME: &str = "the default policy";

/// Admission of 1,000 tasks takes 20 ms.
const CPU: Duration = Duration::from_secs(2);
const MEMORY_BYTES: usize = 64 << 20;
/// After so many calls an instance is made anew, should the policy ever leak.
const CALLS_MAX: u32 = 10_000;
const IDLE_MAX: usize = 8;

/// Compiles it: here, for it is part of the program; where the address space is limited as components are, for a process
/// that has no more of that is ended in the middle of its work.
pub(super) fn compile(space: Space, compiler: &Compiler) -> Result<Vec<u8>, Error> {
    match space {
        Space::Wide => runtime::precompile(space, WASM)
            .map_err(|error| Error::Other(format!("{NAME} cannot be compiled: {error:#}"))),
        Space::Narrow => compiler.compile(space, WASM).map_err(|reason| {
            let way_out = "raise the limit of the address space (ulimit -v) once: what was compiled is kept";
            Error::Other(format!("{NAME} {reason}; {way_out}"))
        }),
    }
}

pub(super) struct Policy {
    pre: InstancePre<State>,
    idle: Mutex<Vec<Warm>>,
}

struct State {
    limits: StoreLimits,
    /// What the call in progress has left of its time on the CPU.
    computing: Computing,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Policy")
    }
}

struct Warm {
    store: Store<State>,
    functions: Functions,
    calls: u32,
}

impl Policy {
    pub(super) fn new(engine: &Engine, component: &Component) -> Result<Self, Error> {
        let mut linker = Linker::new(engine);
        let pre = linker
            .define_unknown_imports_as_traps(component)
            .and_then(|()| linker.instantiate_pre(component))
            .map_err(|error| Error::Other(format!("{NAME} cannot be linked: {error:#}")))?;
        Ok(Self { pre, idle: Mutex::default() })
    }

    /// The type of a hook's function.
    pub(super) fn function(&self, hook: Hook) -> Option<ComponentFunc> {
        super::words::function(self.pre.engine(), self.pre.component(), hook)
    }

    /// Asks a hook.
    pub(super) fn ask<A: Ask>(&self, ticker: &Ticker, params: A::Params) -> Result<A::Answer, Failure> {
        let _in_progress = ticker.begin();
        self.call::<A>(params).map_err(|error| {
            let hook = A::HOOK.name();
            Failure::new(FailureKind::Callback, format!("{NAME} failed in `{hook}`: {}", error.root_cause()))
        })
    }

    fn call<A: Ask>(&self, params: A::Params) -> wasmtime::Result<A::Answer> {
        let idle = self.idle().pop();
        let mut warm = match idle {
            Some(warm) => warm,
            None => self.warm_up()?,
        };
        let function = A::of(&warm.functions).ok_or_else(|| wasmtime::format_err!("it does not answer this hook"))?;
        allow(&mut warm.store);
        let answer = function.call(&mut warm.store, params)?;
        warm.calls += 1;
        let mut idle = self.idle();
        if warm.calls < CALLS_MAX && idle.len() < IDLE_MAX {
            idle.push(warm);
        }
        Ok(answer)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Warm>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn warm_up(&self) -> wasmtime::Result<Warm> {
        let limits = StoreLimitsBuilder::new().memory_size(MEMORY_BYTES).trap_on_grow_failure(true).build();
        let mut store = Store::new(self.pre.engine(), State { limits, computing: Computing::default() });
        store.limiter(|state| &mut state.limits);
        store.epoch_deadline_callback(|store| {
            wasmtime::ensure!(store.data().computing.goes_on(), "it used up its {} s on the CPU", CPU.as_secs());
            Ok(UpdateDeadline::Continue(1))
        });
        allow(&mut store);
        let instance = self.pre.instantiate(&mut store)?;
        let functions = Functions::find(&mut store, &instance)?;
        Ok(Warm { store, functions, calls: 0 })
    }
}

/// A call begins: what it may compute, looked at with every tick.
fn allow(store: &mut Store<State>) {
    store.data().computing.allow(CPU);
    store.set_epoch_deadline(1);
}
