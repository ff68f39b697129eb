//! `haul request`: one request, whose response goes to stdout or into a file.

use std::io::Read;
use std::path::PathBuf;

use haul::event::{StatusUpdate, Update};
use haul::task::query::{ListFormats, form, grouped, parameters};
use haul::task::{Body, TaskType, Updates, json};
use haul::{Addition, Error, RESPONSES, Request, Result, Task, Work};

use crate::args::Send;
use crate::beside;
use crate::environment::{Environment, named, now_ms};
use crate::exit;
use crate::foreground::{self, Tasks};
use crate::link::Link;
use crate::outcome::Outcome;
use crate::printer::Printer;
use crate::put::{describe_request, response_path};
use crate::reporter::{Printed, Reporter};
use crate::signals::Interrupt;
use crate::tasks::{check_login, describe_one};

/// Longest body that is sent with the task.
const BODY_MAX: u64 = 1024 * 1024;
/// How long they wait at most.
const KEPT: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Runs the command; answers the exit code.
pub(crate) async fn run(send: &Send, environment: &Environment, printer: &Printer) -> Result<u8> {
    let callbacks = named(&send.engine.components, &environment.config.callbacks);
    let mut task = Task { url: send.url.clone(), callbacks, allow_pause: false, ..Task::default() };
    check_login(&send.task.login, &send.engine.network)?;
    describe_one(&mut task, &send.task, now_ms())?;
    task.updates = Updates::Status; // it has no progress
    describe_request(&mut task, &send.request);
    if describe_body(&mut task, send).await?.is_none() {
        return Ok(exit::INTERRUPTED);
    }
    if task.accept_status.is_empty() && !has_accepted_statuses(send.task.asking.profile.as_deref(), environment) {
        task.accept_status = vec![(200, 299)]; // as dio does; a DataTask of background_downloader ends at 206
    }
    task.task_type = if send.now { TaskType::Request } else { TaskType::Data };
    let (place, printed) = match response_path(&send.request)? {
        Some(path) => (split(&mut task, path)?, Printed::Nothing),
        // JSON has the body in its updates.
        None if printer.json() => (None, Printed::Nothing),
        None => {
            sweep(&environment.home.join(RESPONSES));
            let name = format!("{}.response", haul::new_uuid());
            (
                split(&mut task, environment.home.join(RESPONSES).join(name))?,
                Printed::Response { as_it_is: send.request.is_stdout() },
            )
        }
    };
    let addition = Addition { task, place, paused: false };
    if send.now {
        return answered_now(addition, printed, send, environment, printer).await;
    }
    let reporter = Reporter::of_requests(printer, printed);
    let tasks = Tasks {
        urls: std::slice::from_ref(&send.url),
        lines: &[],
        addition: &|_| addition.clone(),
        same_command: foreground::sends_again(&addition.task),
    };
    foreground::run(tasks, &send.engine, send.task.asking.profile.as_deref(), environment, printer, reporter).await
}

/// Whether the task's profile says which statuses are a success.
fn has_accepted_statuses(profile: Option<&str>, environment: &Environment) -> bool {
    let profile = environment.config.profiles.get(profile.unwrap_or(haul::profile::DEFAULT));
    profile.is_some_and(|profile| !profile.accept_status.is_empty())
}

/// Removes responses that commands before this one were killed before they could print.
fn sweep(directory: &std::path::Path) {
    let is_old = |entry: &std::fs::DirEntry| {
        let modified = entry.metadata().and_then(|data| data.modified()).ok();
        modified.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > KEPT)
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(is_old) {
        let _ = std::fs::remove_file(entry.path()); // tried again next time
    }
}

/// The response's file and the directory that is granted for it.
fn split(task: &mut Task, path: PathBuf) -> Result<Option<PathBuf>> {
    let name = path.file_name().and_then(std::ffi::OsStr::to_str);
    let name = name.ok_or_else(|| Error::Usage(format!("`{}` is not UTF-8", path.display())))?;
    task.response_file = Some(name.to_owned());
    Ok(path.parent().map(PathBuf::from))
}

/// The query and the body that the flags mean. `None`: interrupted while the body was read.
async fn describe_body(task: &mut Task, send: &Send) -> Result<Option<()>> {
    let mut formats = ListFormats::default();
    for (name, format) in &send.list_formats {
        match name {
            Some(name) => drop(formats.by_name.insert(name.clone(), *format)),
            None => formats.others = *format,
        }
    }
    task.url_query_parameters = parameters(&grouped(&send.query), &formats);
    let is_json = send.data.is_none();
    if let Some(data) = send.data.as_ref().or(send.data_json.as_ref()) {
        let given = data.clone();
        let flag = if is_json { "--data-json" } else { "--data" };
        let Some(bytes) = Interrupt::listen()?.unless_read(move || content(&given, flag)).await? else {
            return Ok(None);
        };
        task.body = Body::Bytes(if is_json { json_of(task, data, bytes)? } else { bytes });
    } else if !send.form.is_empty() {
        task.body = Body::Bytes(form(&grouped(&send.form), &formats).into_bytes());
        task.content_type = Some("application/x-www-form-urlencoded".into());
    }
    Ok(Some(()))
}

/// The same bytes, which are JSON.
fn json_of(task: &mut Task, typed: &str, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let file = typed.strip_prefix('@').map_or(String::new(), |name| format!(": `{name}`"));
    serde_json::from_slice::<serde::de::IgnoredAny>(&bytes)
        .map_err(|error| Error::Usage(format!("--data-json{file} is not JSON: {error}")))?;
    task.content_type = Some("application/json".into());
    Ok(bytes)
}

/// What was typed, or what the file named by it holds.
fn content(typed: &str, flag: &str) -> Result<Vec<u8>> {
    let Some(name) = typed.strip_prefix('@') else { return Ok(typed.as_bytes().to_vec()) };
    let cannot = |error: std::io::Error| Error::FileSystem(format!("{flag} cannot read `{name}`: {error}"));
    let mut bytes = Vec::new();
    let read = match name {
        "-" => std::io::stdin().lock().take(BODY_MAX + 1).read_to_end(&mut bytes),
        name => std::fs::File::open(name).and_then(|file| file.take(BODY_MAX + 1).read_to_end(&mut bytes)),
    };
    read.map_err(cannot)?;
    if bytes.len() as u64 > BODY_MAX {
        let text = format!("{flag} takes up to 1 MiB, and `{name}` is longer: `haul put --binary` sends files");
        return Err(Error::Usage(text));
    }
    Ok(bytes)
}

/// Answered beside the queue: what comes is printed, and nothing is kept.
async fn answered_now(
    addition: Addition,
    printed: Printed,
    send: &Send,
    environment: &Environment,
    printer: &Printer,
) -> Result<u8> {
    let mut interrupt = Interrupt::listen()?;
    let settings = environment.working_settings(&send.engine, send.task.asking.profile.as_deref())?;
    let has_components = !settings.component_flags.is_empty();
    let mut link = Link::new(settings, Work::Asked);
    let asked = async {
        beside::enter(&mut link, &send.engine, has_components, printer).await?;
        link.call(Request::Send { addition: Box::new(addition) }).await
    };
    let asked = interrupt.unless(asked).await;
    let closed = interrupt.unless(link.close()).await;
    let (Some(reply), Some(())) = (asked, closed) else { return Ok(exit::INTERRUPTED) };
    let json = reply?.answered()?;
    let Some(Update::Status(update)) = json::read_update(&json) else {
        return Err(Error::Other("the engine gave an answer that is no update".into()));
    };
    Ok(tell(&update, &json, (&send.url, printed), printer))
}

fn tell(update: &StatusUpdate, json: &serde_json::Value, (url, printed): (&str, Printed), printer: &Printer) -> u8 {
    let outcome = Outcome::of_update(update);
    if printer.json() {
        printer.data(json);
    }
    let mut reporter = Reporter::of_requests(printer, printed);
    reporter.label(&update.task_id, &haul::mask::url(url));
    reporter.tally().asked = 1;
    reporter.end(&update.task_id, &outcome);
    reporter.tally().code()
}
