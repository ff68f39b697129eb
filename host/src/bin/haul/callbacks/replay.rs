//! `haul callbacks replay`: recorded calls again, by another component or another version: which verdicts would have been
//! others, and in what.

use std::collections::{BTreeMap, BTreeSet};

use haul::hooks::workshop::{self, Call};
use haul::{Error, Result};
use serde_json::{Value, json};

use super::source;
use super::trial::{Bench, read, short};
use crate::args::Replay;
use crate::environment::Environment;
use crate::exit;
use crate::printer::{Printer, Style};
use crate::text;

/// What somebody answered to a call.
#[derive(Clone, Debug, Default, PartialEq)]
struct Answer {
    verdict: Option<Value>,
    failure: Option<String>,
}

impl Answer {
    fn json(&self) -> Value {
        match (&self.failure, &self.verdict) {
            (Some(failure), _) => json!({ "failure": failure }),
            (None, Some(verdict)) => json!({ "verdict": verdict }),
            (None, None) => Value::Null,
        }
    }
}

/// Runs the command; answers the exit code: 10 when a call fails that did not fail before.
pub(super) async fn run(typed: &Replay, environment: &Environment, printer: &Printer) -> Result<u8> {
    let calls = read(&typed.inputs, printer)?;
    let after = Bench::new(&source(&typed.file, &typed.grants)?, environment)?;
    let before = match &typed.against {
        Some(file) => Some(Bench::new(&source(file, &typed.grants)?, environment)?),
        None => None,
    };
    let whose = of_whom(typed, &calls, &after)?;
    let (mut changed, mut failing, mut asked, mut others) = (0, 0, 0, BTreeMap::new());
    if !calls.iter().any(|(_, call)| after.answers(call.hook)) {
        let name = after.component.name();
        return Err(Error::Usage(format!(
            "there is nothing to replay: none of the calls is one that `{name}` answers"
        )));
    }
    for (place, call) in &calls {
        if !after.answers(call.hook) {
            continue;
        }
        if let (Some(who), Some(whose)) = (&call.component, &whose)
            && who != whose
        {
            *others.entry(who.as_str()).or_insert(0) += 1;
            continue;
        }
        asked += 1;
        let old = match &before {
            Some(bench) if bench.answers(call.hook) => answer(bench, place, call).await?,
            Some(_) => Answer::default(),
            None => Answer { verdict: call.verdict.clone(), failure: call.failure.clone() },
        };
        let new = answer(&after, place, call).await?;
        let mut differences = Vec::new();
        compare("", &old.json(), &new.json(), &mut differences);
        changed += usize::from(!differences.is_empty());
        failing += usize::from(old.failure.is_none() && new.failure.is_some());
        tell(place, call, &old, &new, &differences, printer);
    }
    let left_out = calls.len() - asked - others.values().sum::<usize>();
    let made = text::plural(asked as u64, "call");
    let others: String = others.iter().map(|(who, count)| format!(", {count} of `{}`", text::printable(who))).collect();
    printer.note(format_args!(
        "{asked} {made}, {changed} answered differently; left out: {left_out} of other hooks{others}"
    ));
    Ok(if failing == 0 { exit::DONE } else { exit::COMPONENT })
}

/// Whose calls are compared, beside the default policy's: what others have answered says nothing about this component. `None`:
/// everybody's.
fn of_whom(typed: &Replay, calls: &[(String, Call)], component: &Bench) -> Result<Option<String>> {
    let names: BTreeSet<&str> = calls.iter().filter_map(|(_, call)| call.component.as_deref()).collect();
    let listed =
        |names: &BTreeSet<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
    if let Some(name) = &typed.component {
        return match names.contains(name.as_str()) {
            true => Ok(Some(name.clone())),
            false if names.is_empty() => {
                Err(Error::Usage(format!("--component: none of the calls is one of `{name}`")))
            }
            false => {
                Err(Error::Usage(format!("--component: the calls are those of {}, none of `{name}`", listed(&names))))
            }
        };
    }
    let own = component.component.name();
    if typed.against.is_some() {
        return Ok(None);
    }
    if names.contains(own) {
        return Ok(Some(own.to_owned()));
    }
    let answered = calls.iter().filter(|(_, call)| component.answers(call.hook));
    let names: BTreeSet<&str> = answered.filter_map(|(_, call)| call.component.as_deref()).collect();
    match names.len() {
        0 | 1 => Ok(None),
        _ => Err(Error::Usage(format!(
            "the calls are those of {}: say in whose place `{own}` is asked (`--component NAME`)",
            listed(&names)
        ))),
    }
}

/// What a component answers, masked as records are: else every secret would be a difference.
async fn answer(bench: &Bench, place: &str, call: &Call) -> Result<Answer> {
    let (trial, _) = bench.ask(place, call).await?;
    let mut verdict = trial.verdict;
    if let Some(verdict) = &mut verdict {
        workshop::mask(verdict);
    }
    Ok(Answer { verdict, failure: trial.problem })
}

/// A place in an answer, what was there, and what is there now.
struct Difference {
    path: String,
    before: Value,
    after: Value,
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Value::Object(old), Value::Object(new)) => {
            let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let side = |members: &serde_json::Map<String, Value>| members.get(name).cloned().unwrap_or_default();
                compare(&path, &side(old), &side(new), found);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                compare(&format!("{path}[{index}]"), old, new, found);
            }
        }
        (before, after) => {
            found.push(Difference { path: path.to_owned(), before: before.clone(), after: after.clone() });
        }
    }
}

fn tell(place: &str, call: &Call, old: &Answer, new: &Answer, differences: &[Difference], printer: &Printer) {
    if printer.json() {
        let difference = |one: &Difference| json!({"path": one.path, "before": one.before, "after": one.after});
        return printer.data(json!({
            "hook": call.hook.name(),
            "input": call.input,
            "before": old.json(),
            "after": new.json(),
            "changed": !differences.is_empty(),
            "differences": differences.iter().map(difference).collect::<Vec<_>>(),
        }));
    }
    if differences.is_empty() {
        return;
    }
    let title = printer.out_style(call.hook.name(), Style::Bold);
    printer.data(format_args!("{title}  {}", text::printable(place.trim_end_matches([':', ' ']))));
    let line = |name: &str, value: &str| {
        printer.data(format_args!("  {:<9}{}", name, text::printable(value)));
    };
    line("input", &short(&call.input).to_string());
    for Difference { path, before, after } in differences {
        let path = if path.is_empty() { "answer" } else { path };
        line("changed", &format!("{path}: {before} -> {after}"));
    }
}
