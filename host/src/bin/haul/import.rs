//! `haul import`: adds what other programs have kept. All inputs are read and all tasks judged before the first is added:
//! with one problem nothing is added, or, with `--skip-invalid`, all others are; all problems are told.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use haul::import::{self, Entry, Options};
use haul::task::Problem;
use haul::{Addition, Error, IfExists, Request, Result, Work};
use serde_json::json;

use crate::args::Import;
use crate::environment::{Environment, now_ms, place};
use crate::exit;
use crate::link::Link;
use crate::printer::Printer;
use crate::text;

/// Tasks of one request.
const BATCH: usize = 1000;
/// Problems that are told; more are counted.
const TOLD_MAX: usize = 100;

/// Runs the command; answers the exit code.
pub(crate) async fn run(typed: &Import, environment: &Environment, printer: &Printer) -> Result<u8> {
    let entries = read(typed, printer)?;
    let (skipped, entries): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| entry.skipped.is_some());
    for entry in &skipped {
        let reason = entry.skipped.as_deref().unwrap_or_default();
        printer.note(text::printable(&format!("{}: left out: {reason}", entry.origin)));
    }
    for entry in &entries {
        entry.notes.iter().for_each(|note| printer.note(text::printable(&format!("{}: {note}", entry.origin))));
    }
    let mut link = Link::new(environment.settings(), Work::Nothing);
    let done = import(&mut link, entries, typed, printer).await;
    link.close().await;
    let Done { imported, known, refused } = done?;
    let tasks = text::tasks(imported);
    let verb = if typed.dry_run { "would import" } else { "imported" };
    let left_out = if skipped.is_empty() { String::new() } else { format!(", left out {}", skipped.len()) };
    let known = match (known, typed.dry_run) {
        (0, _) => String::new(),
        (1, false) => ", 1 was here already".into(),
        (1, true) => ", 1 is here already".into(),
        (_, false) => format!(", {known} were here already"),
        (_, true) => format!(", {known} are here already"),
    };
    let wrong = if refused == 0 { String::new() } else { format!(", refused {refused}") };
    printer.note(format_args!("{verb} {tasks}{known}{left_out}{wrong}"));
    Ok(if refused == 0 { exit::DONE } else { exit::SOME_FAILED })
}

/// How many tasks were added, were here already, and were wrong.
struct Done {
    imported: u64,
    known: u64,
    refused: u64,
}

/// Reads all inputs; with the flags in them.
fn read(typed: &Import, printer: &Printer) -> Result<Vec<Entry>> {
    let options = Options {
        kind: typed.from.map(|from| from.0),
        place: typed.dir.as_deref().map(place).transpose()?,
        ended: typed.ended,
        now_ms: now_ms(),
    };
    let (mut entries, mut seen) = (Vec::new(), HashMap::new());
    for file in &typed.files {
        let mut found = if file == Path::new("-") {
            let mut content = Vec::new();
            let read = std::io::stdin().lock().take(import::INPUT_BYTES_MAX + 1).read_to_end(&mut content);
            read.map_err(|error| Error::FileSystem(format!("cannot read stdin: {error}")))?;
            import::read(&PathBuf::from("stdin"), Some(content), &options)?
        } else {
            import::read(file, None, &options)?
        };
        printer.note(text::printable(&match found.entries.len() as u64 {
            0 => format!("{}: nothing is in it to import", file.display()),
            count => format!("{}: {} found, as {}", file.display(), text::tasks(count), found.kind.name()),
        }));
        found.identify(&mut seen);
        entries.extend(found.entries);
    }
    for entry in &mut entries {
        let task = &mut entry.addition.task;
        if let Some(group) = &typed.group {
            task.group.clone_from(group);
        }
        if let (Some(profile), None) = (&typed.profile, task.profile()) {
            task.set_profile(profile);
        }
    }
    Ok(entries)
}

/// Judges all, then adds all.
async fn import(link: &mut Link, entries: Vec<Entry>, typed: &Import, printer: &Printer) -> Result<Done> {
    let if_exists: IfExists = typed.if_exists.into();
    let problems = problems(link, &entries, if_exists).await?;
    let wrong: HashSet<usize> = problems.iter().map(|(index, _)| *index).collect();
    if !wrong.is_empty() && (!typed.skip_invalid || wrong.len() == entries.len()) {
        return Err(refusal(problems.into_iter().map(|(_, problem)| problem).collect()));
    }
    problems.iter().for_each(|(_, problem)| printer.note(text::printable(&format!("refused: {problem}"))));
    let good = entries.into_iter().enumerate().filter(|(index, _)| !wrong.contains(index));
    let entries: Vec<Entry> = good.map(|(_, entry)| entry).collect();
    let refused = wrong.len() as u64;
    let mut known = 0;
    for batch in entries.chunks(BATCH) {
        let here = here_already(link, batch, if_exists).await?;
        known += here.len() as u64;
        if typed.dry_run {
            show(link, batch, &here, if_exists, printer).await?;
            continue;
        }
        let tasks: Vec<Addition> = batch.iter().map(|entry| with_id(&entry.addition)).collect();
        let request = Request::Add { tasks, if_exists, continue_same: false, work: false, twins: Vec::new() };
        let ids = link.call(request).await?.added()?.ids;
        for id in &ids {
            if printer.json() {
                printer.data(link.call(Request::Show { id: id.clone() }).await?.record()?);
            } else {
                printer.data(id);
            }
        }
        printer.flush();
        printer.room().await;
    }
    Ok(Done { imported: entries.len() as u64 - known, known, refused })
}

/// The ids of those tasks of a batch that stay as they are.
async fn here_already<'a>(link: &mut Link, batch: &'a [Entry], if_exists: IfExists) -> Result<HashSet<&'a str>> {
    let mut known = HashSet::new();
    let ids = batch.iter().map(|entry| &entry.addition.task.task_id).filter(|id| !id.is_empty());
    for id in ids.filter(|_| if_exists == IfExists::ReturnExisting) {
        match link.call(Request::Show { id: id.clone() }).await {
            Ok(reply) => {
                // A unique beginning of another id is found too.
                if reply.record()?["taskId"] == **id {
                    known.insert(id.as_str());
                }
            }
            Err(Error::UnknownTask(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(known)
}

/// An id is drawn here, so that a request made twice adds one task.
fn with_id(addition: &Addition) -> Addition {
    let mut addition = addition.clone();
    if addition.task.task_id.is_empty() {
        addition.task.task_id = haul::new_uuid().to_string();
    }
    addition
}

/// All that is wrong: number of the entry, and a sentence that begins with its origin.
async fn problems(link: &mut Link, entries: &[Entry], if_exists: IfExists) -> Result<Vec<(usize, String)>> {
    let mut found = Vec::new();
    let mut ids = std::collections::HashMap::new();
    for (batch, start) in entries.chunks(BATCH).zip((0..).step_by(BATCH)) {
        let tasks = batch.iter().map(|entry| entry.addition.clone()).collect();
        let judged = match link.call(Request::Check { tasks, if_exists, told: false }).await {
            Ok(_) => Vec::new(),
            Err(Error::Invalid(judged)) => judged,
            Err(error) => return Err(error),
        };
        for (index, entry) in batch.iter().enumerate() {
            let told = |problem: &dyn std::fmt::Display| (start + index, format!("{}: {problem}", entry.origin));
            found.extend(entry.problems.iter().map(|problem| told(problem)));
            let judged = judged.iter().filter(|(at, _)| *at == index && entry.problems.is_empty());
            let judged = judged.flat_map(|(_, problems)| problems).map(|problem| with_way_out(entry, problem));
            found.extend(judged.map(|problem| told(&problem)));
            let id = entry.addition.task.task_id.as_str();
            if let Some(first) = Some(id).filter(|id| !id.is_empty()).and_then(|id| ids.insert(id, &entry.origin)) {
                found.push(told(&format_args!("`taskId` `{id}` is that of {first} too")));
            }
        }
    }
    Ok(found)
}

/// An absolute path needs no grant of `root` where a directory around it is granted here.
fn with_way_out(entry: &Entry, problem: &Problem) -> Problem {
    let mut problem = problem.clone();
    if problem.field == "baseDirectory" && entry.addition.task.base_directory == "root" {
        problem.reason.push_str("; or name a directory around it by `-d DIR`");
    }
    problem
}

fn refusal(mut problems: Vec<String>) -> Error {
    let count = problems.len();
    problems.truncate(TOLD_MAX);
    if count > TOLD_MAX {
        problems.push(format!("and {} more problems", count - TOLD_MAX));
    }
    problems.push("nothing was imported: correct this first".into());
    Error::Usage(problems.join("\n"))
}

/// A line about each task that would be added, or is here already: as it would be stored.
async fn show(
    link: &mut Link,
    batch: &[Entry],
    here: &HashSet<&str>,
    if_exists: IfExists,
    printer: &Printer,
) -> Result<()> {
    let tasks = batch.iter().map(|entry| entry.addition.clone()).collect();
    let (tasks, _) = link.call(Request::Check { tasks, if_exists, told: true }).await?.records()?;
    for (entry, task) in batch.iter().zip(tasks) {
        let Entry { origin, addition, notes, .. } = entry;
        let is_here = here.contains(addition.task.task_id.as_str());
        if printer.json() {
            let paused = addition.paused;
            let line =
                json!({"origin": origin, "hereAlready": is_here, "paused": paused, "notes": notes, "task": task});
            printer.data(line);
            continue;
        }
        let state = match (is_here, addition.paused) {
            (true, _) => "here already",
            (false, true) => "paused",
            (false, false) => "enqueued",
        };
        let (kind, url) = (addition.task.task_type.name(), haul::mask::url(&addition.task.url));
        printer.data(text::printable(&format!("{origin}  {kind}  {state}  {url}")));
    }
    printer.room().await;
    Ok(())
}
