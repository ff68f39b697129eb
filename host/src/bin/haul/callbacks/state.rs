//! `haul callbacks state`: what components keep in the home, and forgetting it. Values are shown nowhere: tokens are among
//! them.

use haul::{Request, Result};
use serde_json::Value;

use super::words;
use crate::args::State;
use crate::environment::Environment;
use crate::exit;
use crate::link::ask;
use crate::printer::Printer;
use crate::text;

/// Runs the command; answers the exit code.
pub(super) async fn run(typed: &State, environment: &Environment, printer: &Printer) -> Result<u8> {
    let State { owner, delete, bucket, key } = typed.clone();
    let request = match owner {
        Some(owner) if delete => Request::ForgetState { owner, bucket, key },
        owner => Request::State { owner },
    };
    let answer = ask(environment.settings(), request).await?.info()?;
    match &answer {
        Value::Array(owners) => {
            for kept in owners {
                print(kept, printer);
            }
            if owners.is_empty() && !printer.json() {
                printer.note("no component keeps anything in this home");
            }
        }
        Value::Object(_) if !answer["forgotten"].is_null() => told(&answer, printer),
        kept => print(kept, printer),
    }
    Ok(exit::DONE)
}

fn print(kept: &Value, printer: &Printer) {
    if printer.json() {
        return printer.data(kept);
    }
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let (pairs, owner) = (number(&kept["pairs"]), words(&kept["owner"]));
    let line = format!("{owner:<20}  {pairs} {}  {}", text::plural(pairs, "key"), text::size(number(&kept["bytes"])));
    printer.data(text::printable(&line));
    let keys = kept["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    for pair in keys {
        let (bucket, key) = (words(&pair["bucket"]), words(&pair["key"]));
        let line = format!("  {bucket}  {key}  {}", text::size(number(&pair["bytes"])));
        printer.data(text::printable(&line));
    }
    let more = pairs.saturating_sub(keys.len() as u64);
    if !keys.is_empty() && more > 0 {
        printer.data(format_args!("  and {more} more"));
    }
}

fn told(answer: &Value, printer: &Printer) {
    if printer.json() {
        return printer.data(answer);
    }
    let (count, owner) = (answer["forgotten"].as_u64().unwrap_or_default(), words(&answer["owner"]));
    let line = format!("forgot {count} {} of {owner}", text::plural(count, "key"));
    printer.note(text::printable(&line));
}
