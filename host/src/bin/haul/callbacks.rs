//! `haul callbacks check` and `list`: what a component is, and which are attached.

use std::sync::Arc;

use haul::Result;
use haul::hooks::{ComponentSource, Grants, Hooks, HooksSettings, Inspection, LogSink};
use serde_json::json;

use crate::args::{Callbacks, Check};
use crate::environment::{Environment, absolute, compiler};
use crate::exit;
use crate::printer::{Printer, Style};
use crate::text;

/// Runs the command; answers the exit code.
pub(crate) fn run(typed: &Callbacks, environment: &Environment, printer: &Printer) -> Result<u8> {
    match typed {
        Callbacks::Check(check) => self::check(check, environment, printer),
        Callbacks::List => list(environment, printer),
    }
}

/// Runs `callbacks check`; answers the exit code.
pub(crate) fn check(check: &Check, environment: &Environment, printer: &Printer) -> Result<u8> {
    let path = absolute(&check.file)?;
    let log = printer.clone();
    let hooks = hooks(environment, LogSink(Arc::new(move |name, line| log.note(format_args!("{name}: {line}")))))?;
    let attached = environment.config.callbacks.iter().find(|source| source.path == path);
    let mut grants = attached.map_or_else(Grants::default, |source| source.grants.clone());
    grants.allow_hosts.extend(check.allow_hosts.iter().cloned());
    let inspection = hooks.inspect(&path, &grants)?;
    if printer.json() {
        printer.data(as_json(check, &inspection));
    } else {
        print(check, &inspection, printer);
    }
    // Loading says what is wrong with one that cannot be attached, e.g. the versions that do not fit.
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    hooks.load(&ComponentSource { name, path, grants, ..ComponentSource::default() })?;
    Ok(exit::DONE)
}

fn hooks(environment: &Environment, log: LogSink) -> Result<Hooks> {
    let (cache_dir, key_dir) = (environment.cache_dir.clone(), environment.state_dir.clone());
    let (rules, compiler) = (environment.config.grants.clone(), compiler());
    Hooks::new(HooksSettings { cache_dir, key_dir, log, rules, compiler })
}

/// The components of the configuration, and why each of them that cannot be loaded cannot.
pub(crate) fn configured(environment: &Environment) -> Result<Vec<(&ComponentSource, Option<String>)>> {
    let sources = &environment.config.callbacks;
    if sources.is_empty() {
        return Ok(Vec::new());
    }
    let hooks = hooks(environment, LogSink(Arc::new(|_, _| {})))?;
    let loaded = |source| (source, hooks.load(source).err().map(|error| error.to_string()));
    Ok(sources.iter().map(loaded).collect())
}

fn as_json(check: &Check, inspection: &Inspection) -> serde_json::Value {
    let imports: Vec<_> =
        inspection.imports.iter().map(|(name, state)| json!({"name": name, "state": state})).collect();
    json!({
        "path": check.file.to_string_lossy(),
        "size": inspection.size,
        "sha256": inspection.digest,
        "contract": inspection.contract,
        "hooks": inspection.hooks,
        "imports": imports,
        "otherExports": inspection.other_exports,
        "requested": inspection.requested.as_ref().map(|requested| json!({
            "reason": requested.reason,
            "items": requested.lines(),
            "missing": inspection.missing,
        })),
        "compatible": !inspection.hooks.is_empty(),
    })
}

fn print(check: &Check, inspection: &Inspection, printer: &Printer) {
    let line = |name: &str, value: &str| {
        let name = printer.out_style(&format!("{name:<10}"), Style::Dim);
        printer.data(format_args!("{name}{}", text::printable(value)));
    };
    line("file", &check.file.to_string_lossy());
    line("size", &text::size(inspection.size));
    line("sha-256", &inspection.digest);
    line("contract", inspection.contract.as_deref().unwrap_or("-"));
    let list = |name: &str, items: &[String]| {
        for (index, item) in items.iter().enumerate() {
            line(if index == 0 { name } else { "" }, item);
        }
    };
    list("hooks", &inspection.hooks);
    let width = inspection.imports.iter().map(|(name, _)| name.len()).max();
    let width = width.unwrap_or(0);
    let imports: Vec<String> =
        inspection.imports.iter().map(|(name, state)| format!("{name:<width$}  {state}")).collect();
    list("imports", &imports);
    list("ignored", &inspection.other_exports);
    if let Some(requested) = &inspection.requested {
        line("because", requested.reason.as_deref().unwrap_or("-"));
        let state = |item: &String| if inspection.missing.contains(item) { "not granted" } else { "granted" };
        list(
            "asks for",
            &requested.lines().iter().map(|item| format!("{item}  ({})", state(item))).collect::<Vec<_>>(),
        );
    }
}

fn list(environment: &Environment, printer: &Printer) -> Result<u8> {
    for (source, problem) in configured(environment)? {
        if printer.json() {
            printer.data(json!({
                "name": source.name,
                "path": source.path.to_string_lossy(),
                "exists": source.path.is_file(),
                "problem": problem,
                "allowHosts": source.grants.allow_hosts,
            }));
            continue;
        }
        let hosts = match source.grants.allow_hosts.as_slice() {
            [] => "no hosts".into(),
            hosts => hosts.join(", "),
        };
        let broken = problem.map_or(String::new(), |why| format!("  broken: {}", text::printable(&why)));
        let path = source.path.to_string_lossy();
        printer.data(format_args!(
            "{:<20}  {}  {}{broken}",
            text::printable(&source.name),
            text::printable(&path),
            text::printable(&hosts),
        ));
    }
    if environment.config.callbacks.is_empty() && !printer.json() {
        printer.note(format_args!("no components are attached by {}", environment.config_path.display()));
    }
    Ok(exit::DONE)
}
