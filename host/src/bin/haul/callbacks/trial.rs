//! `haul callbacks test`: asks a component's hooks with sample or recorded inputs, and shows what came of each call.

use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use haul::hooks::workshop::{self, Call, Scratch, Trial};
use haul::hooks::{Component, ComponentSource, Hook, Hooks, LogSink};
use haul::transport::{Transport, TransportSettings};
use haul::{Error, Result};
use serde_json::Value;

use super::watch::Changes;
use super::{hooks, source};
use crate::args::TryOut;
use crate::environment::Environment;
use crate::exit;
use crate::printer::{Printer, Style};
use crate::signals::Interrupt;
use crate::text;

/// Largest file of calls.
const INPUTS_MAX: u64 = 256 << 20;

/// Runs the command; answers the exit code.
pub(super) async fn run(typed: &TryOut, environment: &Environment, printer: &Printer) -> Result<u8> {
    let source = source(&typed.file, &typed.grants)?;
    let only = typed.hooks.iter().map(|name| hook(name)).collect::<Result<Vec<Hook>>>()?;
    if !typed.watch {
        return once(&source, typed, &only, environment, printer).await;
    }
    let changes = Changes::of(&source.path)?; // before the first look: what comes meanwhile is seen
    let mut interrupt = Interrupt::listen()?;
    let forever = async {
        loop {
            // A component that cannot be loaded is what watching is for.
            if let Err(error) = once(&source, typed, &only, environment, printer).await {
                printer.error(text::printable(&error.to_string()));
            }
            printer.flush();
            printer.note(format_args!("waiting for {} to change", source.path.display()));
            if let Err(error) = changes.next().await {
                return error;
            }
        }
    };
    match interrupt.unless(forever).await {
        Some(error) => Err(error),
        None => Ok(exit::INTERRUPTED),
    }
}

fn hook(name: &str) -> Result<Hook> {
    Hook::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Hook::ALL.iter().map(|hook| hook.name()).collect();
        Error::Usage(format!("there is no hook `{name}`; there are {}", names.join(", ")))
    })
}

async fn once(
    source: &ComponentSource,
    typed: &TryOut,
    only: &[Hook],
    environment: &Environment,
    printer: &Printer,
) -> Result<u8> {
    let bench = Bench::new(source, environment)?;
    let calls = match &typed.inputs {
        Some(file) => read(file, printer)?,
        None => workshop::samples().into_iter().map(|call| (String::new(), call)).collect(),
    };
    let wanted = |call: &Call| bench.answers(call.hook) && (only.is_empty() || only.contains(&call.hook));
    let (calls, others): (Vec<_>, Vec<_>) = calls.into_iter().partition(|(_, call)| wanted(call));
    if calls.is_empty() {
        let hooks: Vec<&str> = bench.component.hooks().iter().map(|hook| hook.name()).collect();
        let (name, hooks) = (&source.name, hooks.join(", "));
        return Err(Error::Usage(format!(
            "none of the calls is one that is wanted and that `{name}` answers: {hooks}"
        )));
    }
    let mut problems = 0;
    for (place, call) in &calls {
        let (trial, log) = bench.ask(place, call).await?;
        problems += usize::from(trial.problem.is_some());
        if printer.json() {
            printer.data(trial.write(call, &log));
        } else {
            print(call, &trial, &log, printer);
        }
    }
    let skipped = match others.len() {
        0 => String::new(),
        count => format!("; {count} of hooks that it does not answer, or that are not wanted, left out"),
    };
    let made = text::plural(calls.len() as u64, "call");
    printer.note(format_args!("{} {made}, {problems} with problems{skipped}", calls.len()));
    Ok(if problems == 0 { exit::DONE } else { exit::COMPONENT })
}

/// A component to be tried out, and what it logs meanwhile.
pub(super) struct Bench {
    hooks: Hooks,
    pub(super) component: Arc<Component>,
    transport: Transport,
    log: Arc<Mutex<Vec<String>>>,
    /// Last: what is in it is given up first.
    _scratch: Option<Scratch>,
}

impl Bench {
    pub(super) fn new(source: &ComponentSource, environment: &Environment) -> Result<Self> {
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = Arc::clone(&log);
        let sink =
            move |_: &str, line: &str| lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
        let hooks = hooks(environment, LogSink(Arc::new(sink)))?;
        let component = hooks.load(source)?;
        // That of transfers is not touched by trying something out.
        let keeps_state = hooks.grants_of(source)?.keyvalue.is_some();
        let scratch = keeps_state.then(|| hooks.keep_state_apart()).transpose()?;
        log.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(Self { hooks, component, transport: Transport::new(TransportSettings::default()), log, _scratch: scratch })
    }

    pub(super) fn answers(&self, hook: Hook) -> bool {
        self.component.hooks().contains(&hook)
    }

    /// Makes a call; `place` says where its input stands, for the error.
    pub(super) async fn ask(&self, place: &str, call: &Call) -> Result<(Trial, Vec<String>)> {
        let trial = self.hooks.try_out(&self.component, call, &self.transport).await;
        let trial = trial.map_err(|error| Error::Usage(format!("{place}{error}")))?;
        let log = std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner));
        // What the host says of a failed call is told as its problem.
        let log = log.into_iter().filter(|line| trial.problem.as_ref() != Some(line)).collect();
        Ok((trial, log))
    }
}

/// Reads calls, one a line, each with where it stands. Lines that were cut while they were written are left out, and told.
pub(super) fn read(file: &Path, printer: &Printer) -> Result<Vec<(String, Call)>> {
    let name = file.display();
    let failed = |error: std::io::Error| Error::Usage(format!("cannot read {name}: {error}"));
    let text = match file == Path::new("-") {
        true => all_of(std::io::stdin()),
        false => std::fs::File::open(file).and_then(all_of),
    };
    let text = text.map_err(failed)?;
    let mut calls = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let place = format!("{name}, line {}: ", index + 1);
        if line.trim_ascii().is_empty() {
            continue;
        }
        if Call::is_cut(line) {
            printer.note(format_args!(
                "warning: {}it is cut, and left out (one object a line is wanted)",
                text::printable(&place)
            ));
            continue;
        }
        let call = std::str::from_utf8(line).map_err(|_| "is no text".to_owned()).and_then(Call::read);
        calls.push((place.clone(), call.map_err(|why| Error::Usage(format!("{place}it {why}")))?));
    }
    Ok(calls)
}

fn all_of(input: impl Read) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    input.take(INPUTS_MAX).read_to_end(&mut text)?;
    Ok(text)
}

fn print(call: &Call, trial: &Trial, log: &[String], printer: &Printer) {
    let title = printer.out_style(call.hook.name(), Style::Bold);
    printer.data(format_args!("{title}  {}", text::printable(&call.about)));
    let line = |name: &str, value: &str| {
        let name = printer.out_style(&format!("{name:<9}"), Style::Dim);
        printer.data(format_args!("  {name}{}", text::printable(value)));
    };
    line("input", &short(&trial.input).to_string());
    if let Some(verdict) = &trial.verdict {
        line("verdict", &short(verdict).to_string());
    }
    let memory = trial.memory_bytes.map_or(String::new(), |bytes| format!(", {}", text::size(bytes as u64)));
    let ms = |us: u64| us as f64 / 1000.0;
    line("took", &format!("{:.2} ms, {:.2} ms on the CPU{memory}", ms(trial.wall_us), ms(trial.cpu_us)));
    for written in log {
        line("log", written);
    }
    if let Some(problem) = &trial.problem {
        line("PROBLEM", problem);
    }
}

/// A value without the members that say nothing, for people.
pub(super) fn short(value: &Value) -> Value {
    let says_nothing = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_u64() == Some(0),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) => false,
    };
    match value {
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), short(value)));
            Value::Object(members.filter(|(_, value)| !says_nothing(value)).collect())
        }
        Value::Array(items) => items.iter().map(short).collect(),
        value => value.clone(),
    }
}
