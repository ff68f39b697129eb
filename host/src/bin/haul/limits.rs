//! `haul limits`: shows what limits the engine of the home, and changes it: now, and for every later engine of the home.

use haul::{LimitChanges, Request, Result, Work};
use serde_json::Value;

use crate::args::LimitsArgs;
use crate::environment::Environment;
use crate::exit;
use crate::link::Link;
use crate::printer::{Printer, Style};
use crate::text;

/// What is shown, in this order: name in JSON, and in words.
const SHOWN: [(&str, &str); 12] = [
    ("total", "at once"),
    ("uploads", "uploads"),
    ("downloads", "downloads"),
    ("perHost", "per host"),
    ("perGroup", "per group"),
    ("groups", "of groups"),
    ("minIntervalMs", "min interval"),
    ("rate", "rate"),
    ("groupRates", "rates of groups"),
    ("network", "network"),
    ("requireWifi", "require wifi"),
    ("keepFree", "keep free"),
];

/// Runs the command; answers the exit code.
pub(crate) async fn run(typed: &LimitsArgs, environment: &Environment, printer: &Printer) -> Result<u8> {
    let groups = typed.groups.iter().cloned().collect();
    let changes = Box::new(LimitChanges { groups, ..typed.limits.changes() });
    let mut link = Link::new(environment.settings(), Work::Nothing);
    let answered = change(&mut link, typed, changes).await;
    link.close().await;
    let limits = answered?;
    if printer.json() {
        printer.data(limits);
        return Ok(exit::DONE);
    }
    for (id, limit_rate) in &typed.tasks {
        let rate = limit_rate.map_or_else(|| "off".to_owned(), |rate| format!("{} a second", text::size(rate)));
        printer.note(format_args!("rate of {}: {rate}", text::printable(id)));
    }
    for (name, words) in SHOWN {
        let Some(value) = in_words(name, &limits["current"][name]) else { continue };
        let source = source_in_words(&limits["sources"][name]);
        let words = printer.out_style(&format!("{words:<16}"), Style::Dim);
        let now = now_in_words(&limits["now"][name]);
        printer.data(format_args!("{words}{value}{now}{source}"));
    }
    Ok(exit::DONE)
}

async fn change(link: &mut Link, typed: &LimitsArgs, changes: Box<LimitChanges>) -> Result<Value> {
    for (id, limit_rate) in &typed.tasks {
        link.call(Request::LimitTask { id: id.clone(), limit_rate: *limit_rate }).await?;
    }
    link.call(Request::Limits { changes, reset: typed.reset }).await?.info()
}

/// Which rate of a table counts now; of several tables, each by its name.
fn now_in_words(now: &Value) -> String {
    let words = |now: &Value| {
        let until = now["until"].as_str().map_or(String::new(), |until| format!(" until {until}"));
        Some(format!("now {}{until}", now["rate"].as_str()?))
    };
    let told = match (words(now), now) {
        (Some(told), _) => told,
        (None, Value::Object(each)) => {
            let each =
                each.iter().filter_map(|(name, now)| Some(format!("{}: {}", text::printable(name), words(now)?)));
            each.collect::<Vec<_>>().join(", ")
        }
        _ => String::new(),
    };
    if told.is_empty() { told } else { format!("  [{told}]") }
}

/// Where a limit comes from; of several of the same kind, each by its name.
fn source_in_words(source: &Value) -> String {
    let words = |source: &Value| match source.as_str().unwrap_or_default() {
        "home" => "kept in the home",
        "flag" => "a flag of the engine that runs",
        "configuration" => "configuration",
        _ => "",
    };
    let told = match source {
        Value::Object(each) => {
            let each = each.iter().map(|(name, source)| format!("{}: {}", text::printable(name), words(source)));
            each.collect::<Vec<_>>().join(", ")
        }
        source => words(source).to_owned(),
    };
    if told.is_empty() { told } else { format!("  ({told})") }
}

/// A limit as people read it; `None`: there is nothing to say.
fn in_words(name: &str, value: &Value) -> Option<String> {
    match (name, value) {
        (_, Value::Null) => None,
        ("minIntervalMs", value) => value.as_u64().map(haul::config::written_ms),
        ("keepFree", value) => value.as_u64().map(text::size),
        ("total" | "uploads" | "downloads" | "perHost" | "perGroup", value) if value.as_u64() == Some(0) => {
            Some("no limit".into())
        }
        (_, Value::String(text)) => Some(text.clone()),
        (_, Value::Object(groups)) => {
            let each = |(group, limit): (&String, &Value)| {
                let limit = limit.as_str().map_or_else(|| limit.to_string(), str::to_owned);
                format!("{} {limit}", text::printable(group))
            };
            Some(groups.iter().map(each).collect::<Vec<_>>().join(", "))
        }
        (_, value) => Some(value.to_string()),
    }
}
