//! `haul callbacks`: what a component is, which are attached, and (in files of their own) the workshop: a new folder, trying
//! a component out, attaching it to the home.

use std::sync::Arc;

use haul::hooks::{CallLimits, ComponentSource, FailMode, Grants, Hooks, HooksSettings, Inspection, LogSink};
use haul::{Request, Result, Work};
use serde_json::{Value, json};

use crate::args::{Callbacks, Check, GrantFlags};
use crate::environment::{Environment, absolute, compiler, missing_credentials, settings};
use crate::exit;
use crate::link::Link;
use crate::printer::{Printer, Style};
use crate::text;

mod attach;
mod new;
mod replay;
mod state;
mod trial;
mod watch;

/// Runs the command; answers the exit code.
pub(crate) async fn run(typed: &Callbacks, environment: &Environment, printer: &Printer) -> Result<u8> {
    match typed {
        Callbacks::New(new) => new::run(new, printer),
        Callbacks::Check(check) => self::check(check, environment, printer),
        Callbacks::Test(typed) => trial::run(typed, environment, printer).await,
        Callbacks::Replay(replay) => replay::run(replay, environment, printer).await,
        Callbacks::List => list(environment, printer).await,
        Callbacks::Attach(attach) => attach::attach(attach, environment, printer).await,
        Callbacks::Detach(detach) => attach::detach(detach, environment, printer).await,
        Callbacks::Rollback(back) => attach::roll_back(back, environment, printer).await,
        Callbacks::State(typed) => state::run(typed, environment, printer).await,
    }
}

/// Runs `callbacks check`; answers the exit code.
pub(crate) fn check(check: &Check, environment: &Environment, printer: &Printer) -> Result<u8> {
    let source = source(&check.file, &check.grants)?;
    let log = printer.clone();
    let hooks = hooks(environment, LogSink(Arc::new(move |name, line| log.note(format_args!("{name}: {line}")))))?;
    let source = as_configured(source, environment);
    let inspection = hooks.inspect(&source.path, &source.grants)?;
    let grants = hooks.grants_of(&source)?;
    if printer.json() {
        printer.data(as_json(check, &inspection, &grants));
    } else {
        print(check, &inspection, &grants, printer);
    }
    warn_of_no_hooks(&inspection, printer);
    let missing = missing_credentials(environment);
    missing.iter().for_each(|why| printer.note(format_args!("warning: {}", text::printable(why))));
    // Loading says what is wrong with one that cannot be attached, e.g. the versions that do not fit.
    hooks.load(&source)?;
    Ok(exit::DONE)
}

/// An export that looks like a hook and is none is a mistake that shows nowhere else.
fn warn_of_no_hooks(inspection: &Inspection, printer: &Printer) {
    for name in &inspection.no_hooks {
        let name = text::printable(name);
        printer.note(format_args!("warning: `{name}` is no hook of this version: it is never asked"));
    }
}

/// With what the configuration grants a component of this path, beside the flags.
fn as_configured(mut source: ComponentSource, environment: &Environment) -> ComponentSource {
    let known = environment.config.callbacks.iter().find(|known| known.path == source.path);
    if let Some(known) = known {
        let typed = std::mem::replace(&mut source.grants, known.grants.clone());
        source.grants.allow_hosts.extend(typed.allow_hosts);
        source.grants.config.extend(typed.config);
    }
    source
}

/// A file, named by its stem, with what the flags grant it.
fn source(file: &std::path::Path, flags: &GrantFlags) -> Result<ComponentSource> {
    let path = absolute(file)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let grants =
        Grants { allow_hosts: flags.allow_hosts.clone(), config: settings(&flags.config)?, ..Grants::default() };
    Ok(ComponentSource { name, path, grants, ..ComponentSource::default() })
}

fn hooks(environment: &Environment, log: LogSink) -> Result<Hooks> {
    let (cache_dir, key_dir) = (environment.cache_dir.clone(), environment.state_dir.clone());
    let (rules, compiler) = (environment.config.grants.clone(), compiler());
    Hooks::new(HooksSettings { cache_dir, key_dir, log, rules, compiler, record: None })
}

/// The components of the configuration with all that they are granted, and why each of them that cannot be loaded cannot.
pub(crate) fn configured(environment: &Environment) -> Result<Vec<(ComponentSource, Option<String>)>> {
    let sources = &environment.config.callbacks;
    if sources.is_empty() {
        return Ok(Vec::new());
    }
    let hooks = hooks(environment, LogSink(Arc::new(|_, _| {})))?;
    let loaded = |source| (in_effect(&hooks, source), hooks.load(source).err().map(|error| error.to_string()));
    Ok(sources.iter().map(loaded).collect())
}

/// The policy of the configuration, and why it cannot be loaded if it cannot.
pub(crate) fn policy(environment: &Environment) -> Option<(ComponentSource, Option<String>)> {
    let source = environment.config.policy.as_ref()?;
    let hooks = match hooks(environment, LogSink(Arc::new(|_, _| {}))) {
        Ok(hooks) => hooks,
        Err(error) => return Some((source.clone(), Some(error.to_string()))),
    };
    Some((in_effect(&hooks, source), hooks.load_policy(source).err().map(|error| error.to_string())))
}

/// A component with what rules grant it besides. One whose file cannot be read has what stands beside it.
fn in_effect(hooks: &Hooks, source: &ComponentSource) -> ComponentSource {
    let grants = hooks.grants_of(source).unwrap_or_else(|_| source.grants.clone());
    ComponentSource { grants, ..source.clone() }
}

/// The components of a home, of which its engine has given a list, and why each of them that cannot be loaded cannot.
pub(crate) fn attached(
    environment: &Environment,
    listed: &[Value],
) -> Result<Vec<(ComponentSource, Option<String>, Value)>> {
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let hooks = hooks(environment, LogSink(Arc::new(|_, _| {})))?;
    let loaded = |listed: &Value| {
        let path = std::path::PathBuf::from(listed["path"].as_str().unwrap_or_default());
        let (name, sha256) = (words(&listed["name"]), words(&listed["sha256"]));
        let mut source = ComponentSource { name, path, sha256: Some(sha256), ..ComponentSource::default() };
        let problem = hooks.load(&source).err().map(|error| error.to_string());
        let texts = |member: &str| listed[member].as_array().into_iter().flatten().map(words).collect::<Vec<_>>();
        source.grants.allow_hosts = texts("allowHosts");
        source.grants.config = texts("config").into_iter().map(|name| (name, String::new())).collect();
        (in_effect(&hooks, &source), problem, listed.clone())
    };
    Ok(listed.iter().map(loaded).collect())
}

/// What a component is granted, into a list's JSON or another object: settings by their names only.
fn tell_grants(grants: &Grants, json: &mut Value) {
    let limits = &grants.limits;
    json["allowHosts"] = json!(grants.allow_hosts);
    json["config"] = grants.config.iter().map(|(name, _)| name.as_str()).collect();
    json["credentials"] = json!(grants.credentials);
    json["keyvalue"] = match &grants.keyvalue {
        Some(state) => json!({"owner": state.owner, "quotaBytes": state.quota_bytes}),
        None => Value::Null,
    };
    json["limits"] = json!({
        "memoryBytes": limits.memory_bytes,
        "cpuMs": limits.cpu_ms,
        "wallMs": limits.wall_ms,
        "wallHttpMs": limits.wall_http_ms,
        "httpRequests": limits.http_requests,
        "logBytes": limits.log_bytes,
    });
    json["failMode"] = fail_mode(grants).into();
}

fn fail_mode(grants: &Grants) -> &'static str {
    match grants.fail_mode {
        FailMode::Closed => "closed",
        FailMode::Open => "open",
    }
}

/// The same in words, where it is more than nothing and other than usual.
fn grants_in_words(grants: &Grants) -> String {
    let (limits, usual) = (&grants.limits, CallLimits::default());
    let settings: Vec<String> = grants.config.iter().map(|(name, _)| name.clone()).collect();
    let limits: Vec<String> = [
        ("memory", limits.memory_bytes as u64, usual.memory_bytes as u64, "bytes"),
        ("cpu", limits.cpu_ms, usual.cpu_ms, "ms"),
        ("wall", limits.wall_ms, usual.wall_ms, "ms"),
        ("wall-http", limits.wall_http_ms, usual.wall_http_ms, "ms"),
        ("http-requests", limits.http_requests.into(), usual.http_requests.into(), ""),
        ("log", limits.log_bytes as u64, usual.log_bytes as u64, "bytes"),
    ]
    .into_iter()
    .filter(|(_, limit, usual, _)| limit != usual)
    .map(|(name, limit, _, unit)| match unit {
        "bytes" => format!("{name} {}", text::size(limit)),
        unit => format!("{name} {limit} {unit}").trim_end().to_owned(),
    })
    .collect();
    let state =
        grants.keyvalue.as_ref().map(|state| format!("state {} of {}", text::size(state.quota_bytes), state.owner));
    let list = |name: &str, items: &[String]| (!items.is_empty()).then(|| format!("{name} {}", items.join(", ")));
    let told = [
        Some(if grants.allow_hosts.is_empty() { "no hosts".to_owned() } else { grants.allow_hosts.join(", ") }),
        list("settings", &settings),
        list("credentials", &grants.credentials),
        state,
        list("limits", &limits),
        (grants.fail_mode == FailMode::Open).then(|| "fail-mode open".to_owned()),
    ];
    told.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

fn as_json(check: &Check, inspection: &Inspection, grants: &Grants) -> Value {
    let mut granted = json!({});
    tell_grants(grants, &mut granted);
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
        "noHooks": inspection.no_hooks,
        "requested": inspection.requested.as_ref().map(|requested| json!({
            "reason": requested.reason,
            "items": requested.lines(),
            "missing": inspection.missing,
        })),
        "grants": granted,
        "compatible": !inspection.hooks.is_empty(),
    })
}

fn print(check: &Check, inspection: &Inspection, grants: &Grants, printer: &Printer) {
    let line = |name: &str, value: &str| {
        let name = printer.out_style(&format!("{name:<13}"), Style::Dim);
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
    let settings: Vec<String> = grants.config.iter().map(|(name, _)| name.clone()).collect();
    list("hosts", &grants.allow_hosts);
    list("settings", &settings);
    list("credentials", &grants.credentials);
    if let Some(state) = &grants.keyvalue {
        line("state", &format!("{} of {}", text::size(state.quota_bytes), state.owner));
    }
    line("fails", fail_mode(grants));
    let limits = &grants.limits;
    line("memory", &text::size(limits.memory_bytes as u64));
    let (cpu, wall, http) = (limits.cpu_ms, limits.wall_ms, limits.wall_http_ms);
    line("time", &format!("{cpu} ms on the CPU, {wall} ms in all, {http} ms where a hook may use HTTP; per call"));
    line("http", &format!("{} requests per call", limits.http_requests));
    line("log", &format!("{} per call", text::size(limits.log_bytes as u64)));
}

async fn list(environment: &Environment, printer: &Printer) -> Result<u8> {
    let mut link = Link::new(environment.settings(), Work::Nothing);
    let of_home = link.call(Request::Attached).await?.info()?;
    let of_home = of_home.as_array().map_or(&[][..], Vec::as_slice);
    let left_alone = link.call(Request::Info).await?.info()?["leftAlone"].clone();
    link.close().await;
    for (source, problem) in configured(environment)? {
        let mut listed = json!({
            "name": source.name,
            "attachedBy": "configuration",
            "group": source.group,
            "path": source.path.to_string_lossy(),
            "exists": source.path.is_file(),
            "problem": problem,
        });
        listed["leftAlone"] = left_of(&left_alone, &listed);
        print_listed(listed, &source.grants, printer);
    }
    for (source, problem, mut listed) in attached(environment, of_home)? {
        listed["attachedBy"] = "home".into();
        listed["exists"] = source.path.is_file().into();
        listed["problem"] = problem.into();
        listed["leftAlone"] = left_of(&left_alone, &listed);
        print_listed(listed, &source.grants, printer);
    }
    let policy = policy(environment);
    if let Some((source, problem)) = &policy {
        let listed = json!({
            "name": source.name,
            "attachedBy": "policy",
            "group": null,
            "path": source.path.to_string_lossy(),
            "exists": source.path.is_file(),
            "problem": problem,
        });
        print_listed(listed, &source.grants, printer);
    }
    if environment.config.callbacks.is_empty() && of_home.is_empty() && policy.is_none() && !printer.json() {
        let config = environment.config_path.display();
        printer.note(format_args!("no components are attached, neither by {config} nor to this home"));
    }
    Ok(exit::DONE)
}

/// The hooks of a component that are left alone, with the seconds that are left.
fn left_of(left_alone: &Value, listed: &Value) -> Value {
    let same = |known: &&Value| ["name", "group", "attachedBy"].iter().all(|member| known[*member] == listed[*member]);
    let known = left_alone.as_array().into_iter().flatten().find(same);
    known.map_or_else(|| json!({}), |known| known["hooks"].clone())
}

/// The same for people: "`verify` for 299 s".
pub(crate) fn left_alone(hooks: &Value) -> String {
    let left = hooks.as_object().into_iter().flatten();
    let left: Vec<String> = left.map(|(hook, seconds)| format!("`{hook}` for {seconds} s")).collect();
    left.join(", ")
}

fn print_listed(mut listed: Value, grants: &Grants, printer: &Printer) {
    if printer.json() {
        tell_grants(grants, &mut listed);
        return printer.data(listed);
    }
    let granted = grants_in_words(grants);
    let left = left_alone(&listed["leftAlone"]);
    let left = if left.is_empty() { left } else { format!("  left alone: {left}") };
    let tasks = match (listed["attachedBy"].as_str(), listed["group"].as_str()) {
        (Some("policy"), _) => "every task, in the place of the default policy".to_owned(),
        (_, Some(group)) => format!("group {group}"),
        _ => "every task".to_owned(),
    };
    // What the home keeps is known by its digest, what the configuration names by its path.
    let what = match listed["sha256"].as_str() {
        Some(sha256) => format!("sha-256 {}", sha256.get(..16).unwrap_or(sha256)),
        None => words(&listed["path"]),
    };
    let earlier = match listed["previous"].as_array().map_or(0, Vec::len) {
        0 => String::new(),
        count => format!("  {count} earlier"),
    };
    let broken = listed["problem"].as_str().map_or(String::new(), |why| format!("  broken: {why}"));
    let line = format!("{:<20}  {tasks}  {what}  {granted}{earlier}{left}{broken}", words(&listed["name"]));
    printer.data(text::printable(&line));
}

fn words(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
