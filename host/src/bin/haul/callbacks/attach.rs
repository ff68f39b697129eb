//! `haul callbacks attach`, `detach`, `rollback`: what the home attaches. The engine of the home does it, whichever process
//! that is, and its next calls ask what is attached then.

use std::io::{IsTerminal, Write};

use haul::hooks::{ComponentSource, Grants, Hooks, Inspection};
use haul::{Request, Result};
use serde_json::Value;

use super::{hooks, source, warn_of_no_hooks, words};
use crate::args::{Attach, Detach, RollBack};
use crate::environment::Environment;
use crate::exit;
use crate::link::ask;
use crate::printer::Printer;
use crate::text;

/// Runs `attach`; answers the exit code.
pub(super) async fn attach(typed: &Attach, environment: &Environment, printer: &Printer) -> Result<u8> {
    let mut source = source(&typed.file, &typed.grants)?;
    let hooks = hooks(environment, haul::hooks::LogSink(std::sync::Arc::new(|_, _| {})))?;
    let mut inspection = hooks.inspect(&source.path, &source.grants)?;
    warn_of_no_hooks(&inspection, printer);
    if let Some(requested) =
        inspection.requested.as_ref().filter(|requested| typed.grant_hosts && !requested.allow_hosts.is_empty())
    {
        printer.note(format_args!("it may reach {}", text::printable(&requested.allow_hosts.join(", "))));
        source.grants.allow_hosts.extend(requested.allow_hosts.iter().cloned());
        source.grants.allow_hosts.dedup();
        inspection = hooks.inspect(&source.path, &source.grants)?;
    }
    let hosts = tell_requested(&inspection, &source.grants, printer);
    if !hosts.is_empty() && confirms("let it reach these hosts?", printer) {
        source.grants.allow_hosts.extend(hosts);
    }
    let ComponentSource { name, path, grants, .. } = source.clone();
    let (name, group) = (typed.name.clone().unwrap_or(name), typed.group.clone());
    let request = Request::Attach { path, name, group, allow_hosts: grants.allow_hosts, config: grants.config };
    let code = change(request, environment, printer).await?;
    tell_refused(&hooks, &source, printer)?;
    Ok(code)
}

/// Runs `detach`; answers the exit code.
pub(super) async fn detach(typed: &Detach, environment: &Environment, printer: &Printer) -> Result<u8> {
    change(Request::Detach { name: typed.name.clone(), group: typed.group.clone() }, environment, printer).await
}

/// Runs `rollback`; answers the exit code.
pub(super) async fn roll_back(typed: &RollBack, environment: &Environment, printer: &Printer) -> Result<u8> {
    let RollBack { name, group, to } = typed;
    let request = Request::RollBack { name: name.clone(), group: group.clone(), to: to.clone() };
    change(request, environment, printer).await
}

/// What the component asks for in its section `haul:grants` and has not got; answers which hosts are among that.
fn tell_requested(inspection: &Inspection, granted: &Grants, printer: &Printer) -> Vec<String> {
    let Some(requested) = inspection.requested.as_ref().filter(|_| !inspection.missing.is_empty()) else {
        return Vec::new();
    };
    printer.note(format_args!("it asks for more than it is granted: {}", requested.reason.as_deref().unwrap_or("-")));
    inspection.missing.iter().for_each(|item| printer.note(format_args!("  {}", text::printable(item))));
    let hosts = requested.allow_hosts.iter().filter(|host| !granted.allow_hosts.contains(host));
    let hosts: Vec<String> = hosts.cloned().collect();
    if hosts.len() < inspection.missing.len() {
        printer.note("hosts are granted here, the rest by a table `[[grants]]` in the configuration (docs/grants.md)");
    }
    hosts
}

/// Asks whoever sits at the terminal; nobody there means no.
fn confirms(question: &str, printer: &Printer) -> bool {
    let (input, mut output) = (std::io::stdin(), std::io::stderr());
    if !input.is_terminal() || !output.is_terminal() {
        return false;
    }
    printer.wait(); // what it is about stands above it
    let mut answer = String::new();
    let asked = write!(output, "{question} [y/N] ").and_then(|()| output.flush());
    asked.and_then(|()| input.read_line(&mut answer)).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// What the component would like to use and may not: better known than met.
fn tell_refused(hooks: &Hooks, source: &ComponentSource, printer: &Printer) -> Result<()> {
    for (name, state) in hooks.inspect(&source.path, &source.grants)?.imports {
        // Every component of some languages imports these, used or not.
        let usual = name.starts_with("wasi:filesystem/") || name.starts_with("wasi:sockets/");
        if state.starts_with("refused") && !usual {
            printer.note(format_args!("{}  {}", text::printable(&name), text::printable(&state)));
        }
    }
    Ok(())
}

async fn change(request: Request, environment: &Environment, printer: &Printer) -> Result<u8> {
    let changed = ask(environment.settings(), request).await?.info()?;
    if printer.json() {
        printer.data(changed);
    } else {
        printer.note(text::printable(&in_words(&changed)));
    }
    Ok(exit::DONE)
}

fn in_words(changed: &Value) -> String {
    let (name, sha256) = (words(&changed["name"]), words(&changed["sha256"]));
    let tasks = changed["group"].as_str().map_or("every task".to_owned(), |group| format!("tasks of group {group}"));
    let digest = format!("sha-256 {}", sha256.get(..16).unwrap_or(&sha256));
    let before = changed["previous"][0].as_str().and_then(|sha256| sha256.get(..16)).unwrap_or_default();
    match changed["change"].as_str().unwrap_or_default() {
        "attached" => format!("`{name}` is attached to {tasks} ({digest})"),
        "swapped" => format!("`{name}` is another version from its next call on ({digest}); before: {before}"),
        "granted" => format!("`{name}` has other grants from its next call on ({digest})"),
        "rolledBack" => format!("`{name}` is the version {digest} again from its next call on; before: {before}"),
        "detached" => format!("`{name}` is attached to {tasks} no more"),
        _ => format!("`{name}` was attached to {tasks} like this already ({digest})"),
    }
}
