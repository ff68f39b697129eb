//! Adds tasks and follows them to their end: what `get`, `put` and `request` have in common. Killed at any moment, the same
//! command line goes on where it stopped.

use std::collections::HashMap;

use haul::task::Body;
use haul::{Addition, Error, IfExists, Request, Result, Session, Task, Work};

use crate::args::EngineFlags;
use crate::beside;
use crate::environment::Environment;
use crate::exit;
use crate::follow::Following;
use crate::link::Link;
use crate::notifier::Notifier;
use crate::printer::Printer;
use crate::reporter::Reporter;
use crate::signals::Interrupt;

/// Tasks added by one request.
const BATCH: usize = 1000;

/// The tasks of one command: a URL for each, and what makes a task of it.
pub(crate) struct Tasks<'a> {
    pub(crate) urls: &'a [String],
    /// The line of a list on stdin that each stood in, 0: none; empty: nothing was read from a list.
    pub(crate) lines: &'a [u32],
    pub(crate) addition: &'a dyn Fn(&str) -> Addition,
    /// What the same command does after an interrupt.
    pub(crate) same_command: &'a str,
}

/// The same command after an interrupt, of what goes on with what is there.
pub(crate) const GOES_ON: &str = "the same command goes on where this one stopped";

/// The same where another process has the tasks.
const IN_ANOTHER: &str =
    "the haul process that works this home goes on with what it has begun, and the same command with the rest";

/// The same of a request: what may have taken effect is not sent again.
pub(crate) fn sends_again(task: &Task) -> &'static str {
    let has_key = task.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("idempotency-key"));
    let has_effect = match task.http_request_method.to_ascii_uppercase().as_str() {
        "" => task.body != Body::None, // what has a body is a POST where nothing is said
        method => matches!(method, "POST" | "PATCH"),
    };
    if task.resumable().is_some() {
        GOES_ON
    } else if has_effect && !task.repeatable && !has_key {
        "the same command sends the request again, unless all of it was out: whether that took effect is unknown then"
    } else {
        "the same command sends the request again"
    }
}

/// Runs the tasks; answers the exit code.
pub(crate) async fn run(
    tasks: Tasks<'_>,
    flags: &EngineFlags,
    profile: Option<&str>,
    environment: &Environment,
    printer: &Printer,
    reporter: Reporter,
) -> Result<u8> {
    let mut settings = environment.working_settings(flags, profile)?;
    settings.wait_for_disk = false;
    let notifier = Notifier::new(&environment.config.notifications, printer);
    settings.notifications = notifier.notifications();
    let has_components = !settings.component_flags.is_empty();
    let mut interrupt = Interrupt::listen()?;
    let mut link = Link::new(settings, Work::Asked);
    let work = async {
        beside::enter(&mut link, flags, has_components, printer).await?;
        work(&mut link, &tasks, reporter).await
    };
    let done = interrupt.unless(work).await;
    if done.is_none() {
        let then = if link.is_joined() { IN_ANOTHER } else { tasks.same_command };
        printer.note(format_args!("{}; {then}", interrupt.told()));
    }
    end(link, &notifier, &mut interrupt, done).await
}

/// Leaves the home when the work is `done`: once components have heard of all ends, unless that is interrupted. Work that was
/// interrupted (`None`), or failed, is left soon. Answers the exit code.
pub(crate) async fn end(
    link: Link,
    notifier: &Notifier,
    interrupt: &mut Interrupt,
    done: Option<Result<u8>>,
) -> Result<u8> {
    let told = match &done {
        Some(Ok(_)) => interrupt.unless(link.all_told()).await,
        _ => Some(()),
    };
    let close = async {
        link.close().await;
        notifier.finish().await;
    };
    let saved = interrupt.unless(close).await;
    match (done, told, saved) {
        (Some(code), Some(()), Some(())) => code,
        _ => Ok(exit::INTERRUPTED),
    }
}

async fn work(link: &mut Link, tasks: &Tasks<'_>, reporter: Reporter) -> Result<u8> {
    judge(link, tasks).await?;
    let mut updates = link.watch().await?;
    let mut following = Following::new(reporter);
    following.reporter().tally().asked = tasks.urls.len() as u64;
    if let [url] = tasks.urls {
        following.reporter().name_bar((tasks.addition)(url).task.filename);
    }
    let mut all = Vec::with_capacity(tasks.urls.len());
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (batch, start) in tasks.urls.chunks(BATCH).zip((0..).step_by(BATCH)) {
        let twins: Vec<usize> = batch.iter().map(|url| seen.get(url.as_str()).copied().unwrap_or(0)).collect();
        if tasks.urls.len() > BATCH {
            batch.iter().for_each(|url| *seen.entry(url).or_default() += 1);
        }
        let (ids, ended) = loop {
            match add(link.session().await?, tasks, batch, &twins).await {
                Err(Error::HomeLocked(_)) if link.is_joined() => {
                    updates = following.rejoin(link).await?;
                }
                added => break added.map_err(|error| with_urls(error, tasks, start))?,
            }
        };
        for (id, url) in ids.iter().zip(batch) {
            following.add(id.clone(), &haul::mask::url(url));
        }
        all.extend(ids);
        following.ended(link, &ended).await?;
        following.drain(&mut updates);
    }
    following.finish(link, updates).await?;
    following.reporter().printer().written().await;
    // From now on the same command means new tasks. A link that has broken meanwhile leaves them as if it had been killed.
    let _ = link.call(Request::Told { ids: all }).await;
    Ok(following.reporter().tally().code())
}

/// Refuses a list of several batches with anything wrong in it, before the first of them is begun: each is refused as a whole
/// when it is added, but the ones before it would be at work by then.
async fn judge(link: &mut Link, tasks: &Tasks<'_>) -> Result<()> {
    let batches = tasks.urls.chunks(BATCH).zip((0..).step_by(BATCH));
    for (batch, start) in batches.filter(|_| tasks.urls.len() > BATCH) {
        let additions = batch.iter().map(|url| (tasks.addition)(url)).collect();
        let check = Request::Check { tasks: additions, if_exists: IfExists::ReturnExisting, told: false };
        link.call(check).await.map_err(|error| with_urls(error, tasks, start))?;
    }
    Ok(())
}

/// Adding again what was added before a lost answer does no harm: the same task is found and gone on with. `twins`: how often
/// each URL stood in an earlier batch.
async fn add(
    session: &Session,
    tasks: &Tasks<'_>,
    urls: &[String],
    twins: &[usize],
) -> Result<(Vec<String>, Vec<String>)> {
    let request = Request::Add {
        tasks: urls.iter().map(|url| (tasks.addition)(url)).collect(),
        if_exists: IfExists::Reject,
        continue_same: true,
        work: true,
        twins: twins.to_vec(),
    };
    let added = session.call(request).await?.added()?;
    if added.ids.len() == urls.len() {
        Ok((added.ids, added.ended))
    } else {
        Err(Error::Other("the engine answered another number of tasks than it was given".into()))
    }
}

/// Names the URL, and its line, instead of a task's place in a batch, from `start` on, that the user never saw.
fn with_urls(error: Error, tasks: &Tasks<'_>, start: usize) -> Error {
    match error {
        Error::Invalid(invalid) => {
            let lines: Vec<String> = invalid
                .iter()
                .flat_map(|(index, problems)| {
                    let url = tasks.urls.get(start + index).map_or("", String::as_str);
                    let url = haul::mask::url(url);
                    let url = crate::text::shortened(&url).into_owned();
                    let line = tasks.lines.get(start + index).filter(|line| **line > 0);
                    let line = line.map_or(String::new(), |line| format!("stdin:{line}: "));
                    problems.iter().map(move |problem| format!("{line}{url}: {problem}"))
                })
                .collect();
            Error::Usage(lines.join("\n"))
        }
        error => error,
    }
}
