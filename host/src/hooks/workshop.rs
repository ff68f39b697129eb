//! Calls of single hooks, for the authors of components: samples, recorded calls, and trying a component out with them, within
//! the limits that it has in earnest. No task is moved by it.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::host::Running;
use super::sense::Sense;
use super::words::{self, Words};
use super::{Component, Hook, Hooks};
use crate::error::Error;
use crate::store::Store;
use crate::transport::Transport;
use crate::{clock, private};

/// A call of a hook, as it is recorded, given and replayed: one JSON object a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The hook.
    pub hook: Hook,
    /// A few words on what it is about; empty for recorded calls.
    pub about: String,
    /// Who answered: a component's name, or `None` for the default policy or nobody.
    pub component: Option<String>,
    /// What it was asked: an object with a member for each parameter.
    pub input: Value,
    /// What it answered; `None`: nothing, or it is not known.
    pub verdict: Option<Value>,
    /// Why it gave no verdict.
    pub failure: Option<String>,
}

impl Call {
    /// Reads one line. The error is a phrase that says what would be right.
    pub fn read(line: &str) -> Result<Self, String> {
        let json: Value = serde_json::from_str(line)
            .map_err(|error| format!("is not JSON: {error} (one object a line is wanted)"))?;
        let Value::Object(mut members) = json else {
            return Err("is not an object".into());
        };
        let mut text = |name: &str| match members.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("has a `{name}` that is no text")),
        };
        let (hook, about, component, failure) = (text("hook")?, text("about")?, text("component")?, text("failure")?);
        let hook = hook.ok_or("has no `hook`")?;
        let hook = Hook::from_name(&hook).ok_or_else(|| format!("names the hook `{hook}`, which does not exist"))?;
        let (input, verdict) = (members.remove("input"), members.remove("verdict"));
        match members.keys().next() {
            Some(unknown) => Err(format!("has `{unknown}`; there are hook, about, component, input, verdict, failure")),
            None => {
                let input = input.ok_or("has no `input`")?;
                Ok(Self { hook, about: about.unwrap_or_default(), component, input, verdict, failure })
            }
        }
    }

    /// Whether a line that cannot be read is the beginning of one: whoever wrote it was killed, or had no room.
    pub fn is_cut(line: &[u8]) -> bool {
        let is_cut = |error: serde_json::Error| error.is_eof();
        match std::str::from_utf8(line) {
            Ok(line) => serde_json::from_str::<Value>(line).is_err_and(is_cut),
            Err(error) => error.error_len().is_none(),
        }
    }

    /// The call as JSON.
    pub fn write(&self) -> Value {
        let mut members = Map::new();
        members.insert("hook".into(), self.hook.name().into());
        if !self.about.is_empty() {
            members.insert("about".into(), self.about.clone().into());
        }
        members.extend(self.component.clone().map(|name| ("component".into(), name.into())));
        members.insert("input".into(), self.input.clone());
        members.extend(self.verdict.clone().map(|verdict| ("verdict".into(), verdict)));
        members.extend(self.failure.clone().map(|failure| ("failure".into(), failure.into())));
        Value::Object(members)
    }
}

/// Calls of every hook, made up, for components that have nothing recorded yet.
pub fn samples() -> Vec<Call> {
    let mut samples: Value = serde_json::from_str(include_str!("samples.json")).unwrap_or_default();
    let task = samples["task"].take();
    let complete = |given: &mut Value| {
        let mut whole = task.clone();
        if let (Value::Object(whole), Value::Object(given)) = (&mut whole, given.take()) {
            whole.extend(given);
        }
        *given = whole;
    };
    let calls = samples["calls"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let call = |mut call: Value| {
        match call["input"].get_mut("tasks").and_then(Value::as_array_mut) {
            Some(tasks) => tasks.iter_mut().for_each(complete),
            None => complete(&mut call["input"]["task"]),
        }
        Call::read(&call.to_string()).ok()
    };
    calls.into_iter().filter_map(call).collect()
}

/// What came of a call that was tried out.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What the hook was asked, complete.
    pub input: Value,
    /// What it answered; null where there is nothing to answer. `None`: it failed.
    pub verdict: Option<Value>,
    /// Why it failed, or why its verdict could not be acted on.
    pub problem: Option<String>,
    /// Time that the call took, in microseconds.
    pub wall_us: u64,
    /// Time on the CPU, the host's part included, in microseconds.
    pub cpu_us: u64,
    /// Linear memory that the instance has after the call; `None`: it is gone.
    pub memory_bytes: Option<usize>,
}

impl Trial {
    /// The trial as JSON; `call`: what it was a trial of.
    pub fn write(&self, call: &Call, log: &[String]) -> Value {
        let ms = |us: u64| us as f64 / 1000.0;
        json!({
            "hook": call.hook.name(),
            "about": call.about,
            "input": self.input,
            "verdict": self.verdict,
            "problem": self.problem,
            "wallMs": ms(self.wall_us),
            "cpuMs": ms(self.cpu_us),
            "memoryBytes": self.memory_bytes,
            "log": log,
        })
    }
}

impl Hooks {
    /// Asks one hook of a component, as a task would, and judges the answer as if it were to be acted on. Decisions that it
    /// hands on are made by the default policy; its HTTP is real and goes over `transport`, to granted hosts.
    ///
    /// Call it on a single-threaded runtime: the time on the CPU is the thread's. Errors: [`Error::Usage`] when the
    /// component does not answer the hook, or the call's input does not fit its types.
    pub async fn try_out(
        &self,
        component: &Arc<Component>,
        call: &Call,
        transport: &Transport,
    ) -> Result<Trial, Error> {
        call.hook.visit(Attempted { hooks: self, component, transport, input: &call.input }).await.map_err(Error::Usage)
    }
}

/// Where components keep their state for the time of a trial. Removed with it.
#[derive(Debug)]
pub struct Scratch {
    directory: PathBuf,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = private::remove_all(&self.directory) {
            tracing::debug!("cannot remove {}: {error}", self.directory.display());
        }
    }
}

impl Hooks {
    /// Components keep their state in a store of their own from now on, among the temporary files of the system: it begins empty,
    /// and nothing of it comes into a home. To be dropped after these hooks.
    ///
    /// # Errors
    /// The store cannot be made: [`Error::FileSystem`], or what the database says.
    pub fn keep_state_apart(&self) -> Result<Scratch, Error> {
        let directory = std::env::temp_dir().join(format!("haul-trial-{}", clock::new_uuid().simple()));
        let scratch = Scratch { directory };
        self.keep_state_in(&Store::open(&scratch.directory, Box::new(drop))?);
        Ok(scratch)
    }
}

struct Attempted<'a> {
    hooks: &'a Hooks,
    component: &'a Arc<Component>,
    transport: &'a Transport,
    input: &'a Value,
}

/// Something to do with a hook that is known only when the program runs.
pub(super) trait Visit {
    /// What comes of it.
    type Output;
    /// Does it.
    async fn hook<A: Sense>(self) -> Self::Output;
}

impl Visit for Attempted<'_> {
    type Output = Result<Trial, String>;

    async fn hook<A: Sense>(self) -> Self::Output {
        let Self { hooks, component, transport, input } = self;
        let name = A::HOOK.name();
        let function = component.function(A::HOOK).filter(|_| component.hooks().contains(&A::HOOK));
        let function = function.ok_or_else(|| format!("component `{}` does not answer `{name}`", component.name()))?;
        let said = words::parameters(&function, input).map_err(|why| format!("the input of `{name}`: {why}"))?;
        let input = words::question(&function, &said);
        let params = A::Params::hear(said).map_err(|why| format!("the input of `{name}`: {why}"))?;
        let weight = input.to_string().len();
        let chain = hooks.chain(std::slice::from_ref(component), transport);
        let asked = params.clone();
        let (began, cpu) = (clock::now(), clock::thread_cpu());
        let answer = component.call::<A>(&Running::begin(&chain, 0, weight), false, params).await;
        let (wall, cpu) = (began.elapsed(), clock::thread_cpu().saturating_sub(cpu));
        component.well(A::HOOK); // each trial is the first: nobody is left alone here
        let (verdict, problem) = match answer {
            Ok(answer) => {
                let verdict = words::answer(&function, &answer.say());
                let nonsense = A::sense(&asked, answer).err();
                (Some(verdict), nonsense.map(|why| format!("its verdict cannot be acted on: {why}")))
            }
            Err(failed) => (None, Some(failed.failure.description)),
        };
        let us = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Ok(Trial {
            input,
            verdict,
            problem,
            wall_us: us(wall),
            cpu_us: us(cpu),
            memory_bytes: component.memory_bytes(),
        })
    }
}

/// Masks what is secret in an input or a verdict, as in records: tokens, headers and parameters that are known to be secret,
/// and bodies that are neither JSON nor a form.
pub fn mask(value: &mut Value) {
    super::record::mask_value("", value);
}
