//! `haul add`: enqueues task JSON without running it, and prints the ids.
//!
//! Tasks are added a thousand at a time, each thousand as a whole or not at all: with an invalid task among them nothing of
//! its thousand is added, while the ids of those before it have been printed and stay.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use haul::task::Problem;
use haul::{Addition, Error, IfExists, Reply, Request, Result, Work};
use tokio::sync::mpsc::{Receiver, channel};

use crate::args::Add;
use crate::environment::{Environment, now_ms};
use crate::exit;
use crate::input::{self, Item, Place};
use crate::link::Link;
use crate::printer::Printer;

/// Tasks added by one request.
const BATCH: usize = 1000;
/// Tasks read ahead.
const READ_AHEAD: usize = 4 * BATCH;
/// Requests under way at once when this process is the engine.
const IN_FLIGHT: usize = 4;
/// A slow writer's tasks are added without waiting for a whole batch after this time.
const LULL: Duration = Duration::from_millis(200);
/// Invalid tasks that are told of; more are counted.
const TOLD_MAX: usize = 20;

/// Runs the command; answers the exit code.
pub(crate) async fn run(add: &Add, environment: &Environment, printer: &Printer) -> Result<u8> {
    let items = read_ahead(add.files.clone(), add.profile.clone())?;
    let mut link = Link::new(environment.settings(), Work::Nothing);
    let added = enqueue(&mut link, items, How { if_exists: add.if_exists.into(), paused: add.paused }, printer).await;
    let code = match added {
        Ok(Added { count: 0, .. }) => {
            printer.note("nothing to add: the list is empty");
            Ok(exit::DONE)
        }
        Ok(Added { ids, .. }) if printer.json() => print_records(&mut link, &ids, printer).await,
        Ok(_) => Ok(exit::DONE),
        Err(error) => Err(error),
    };
    link.close().await;
    code
}

/// Reads and parses on a thread of its own: it may block.
fn read_ahead(files: Vec<PathBuf>, profile: Option<String>) -> Result<Receiver<Item>> {
    let (sender, receiver) = channel(READ_AHEAD);
    let now = now_ms();
    haul::spawn_thread("haul-read", move || {
        for file in files {
            let mut open = true;
            input::tasks(&file, now, &mut |mut item| {
                if let (Item::Task(task, ..), Some(name)) = (&mut item, &profile)
                    && task.profile().is_none()
                {
                    task.set_profile(name);
                }
                let is_broken = matches!(item, Item::Broken(_));
                open = sender.blocking_send(item).is_ok() && !is_broken;
                open
            });
            if !open {
                break;
            }
        }
    })?;
    Ok(receiver)
}

/// Tasks to be added together: where each stood, and what reading found wrong with it.
#[derive(Default)]
struct Batch {
    additions: Vec<Addition>,
    places: Vec<Place>,
    problems: Vec<Vec<Problem>>,
    broken: Option<Error>,
}

impl Batch {
    fn len(&self) -> usize {
        self.additions.len()
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Task(task, place, problems) => {
                self.additions.push(Addition { task: *task, place: None, paused: false });
                self.places.push(place);
                self.problems.push(problems);
            }
            Item::Broken(error) => self.broken = Some(error),
        }
    }

    /// Whether it cannot be added, whatever the engine says of it.
    fn is_refused(&self) -> bool {
        self.broken.is_some() || self.problems.iter().any(|problems| !problems.is_empty())
    }

    /// Why it cannot be added: what reading found, and what the engine said of what could be read.
    fn refusal(self, checked: Result<Reply>) -> Error {
        let judged = match checked {
            Ok(_) => Vec::new(),
            Err(Error::Invalid(judged)) => judged,
            Err(error) => return error,
        };
        let invalid = together(self.problems, judged);
        match (invalid.is_empty(), self.broken) {
            (true, Some(broken)) => broken,
            (_, broken) => {
                let lines = at_places(Error::Invalid(invalid), &self.places).to_string();
                let broken = broken.map_or(String::new(), |error| format!("\n{error}"));
                Error::Usage(lines + &broken)
            }
        }
    }
}

/// All problems of each task, by its place in the batch. Of a field that could not be read nothing more is said.
fn together(mut problems: Vec<Vec<Problem>>, judged: Vec<(usize, Vec<Problem>)>) -> Vec<(usize, Vec<Problem>)> {
    let name = |problem: &Problem| problem.field.split('.').next().unwrap_or_default().to_owned();
    for (index, judged) in judged {
        let Some(read) = problems.get_mut(index) else { continue };
        let unread: Vec<String> = read.iter().map(name).collect();
        if !unread.iter().any(|field| field == "task") {
            read.extend(judged.into_iter().filter(|problem| !unread.contains(&name(problem))));
        }
    }
    problems.into_iter().enumerate().filter(|(_, problems)| !problems.is_empty()).collect()
}

/// Collects up to a thousand items; `None` at the end.
async fn next_batch(items: &mut Receiver<Item>) -> Option<Batch> {
    let mut batch = Batch::default();
    let mut buffer = Vec::new();
    while batch.len() < BATCH && batch.broken.is_none() {
        let room = BATCH - batch.len();
        let received = if batch.len() == 0 {
            items.recv_many(&mut buffer, room).await
        } else {
            match tokio::time::timeout(LULL, items.recv_many(&mut buffer, room)).await {
                Ok(count) => count,
                Err(_) => break,
            }
        };
        if received == 0 {
            break;
        }
        for item in buffer.drain(..) {
            batch.take(item);
        }
    }
    (batch.len() > 0 || batch.broken.is_some()).then_some(batch)
}

/// How tasks are added.
#[derive(Clone, Copy)]
struct How {
    if_exists: IfExists,
    paused: bool,
}

/// A request that has begun.
type Asked<'a> = Pin<Box<dyn Future<Output = Result<Reply>> + 'a>>;

/// How many tasks were added, and their ids when they will be wanted for records.
#[derive(Default)]
struct Added {
    count: usize,
    ids: Vec<String>,
}

/// Adds everything.
async fn enqueue(link: &mut Link, mut items: Receiver<Item>, how: How, printer: &Printer) -> Result<Added> {
    let mut all = Added::default();
    let mut keep = |reply: Reply| -> Result<()> {
        let ids = reply.added()?.ids;
        all.count += ids.len();
        if printer.json() {
            all.ids.extend(ids);
        } else {
            ids.iter().for_each(|id| printer.data(id));
            printer.flush();
        }
        Ok(())
    };
    link.session().await?;
    if link.is_joined() {
        while let Some(mut batch) = next_batch(&mut items).await {
            if batch.is_refused() {
                let check = Request::Check { tasks: std::mem::take(&mut batch.additions) };
                return Err(batch.refusal(link.call(check).await));
            }
            keep(add_joined(link, batch, how).await?)?;
            printer.room().await;
        }
        return Ok(all);
    }
    let session = link.session().await?;
    let mut asked: VecDeque<(Asked<'_>, Vec<Place>)> = VecDeque::new();
    let mut refused = None;
    while let Some(batch) = next_batch(&mut items).await {
        printer.room().await;
        if batch.is_refused() {
            refused = Some(batch);
            break;
        }
        if asked.len() == IN_FLIGHT
            && let Some((answer, places)) = asked.pop_front()
        {
            keep(answer.await.map_err(|error| at_places(error, &places))?)?;
        }
        let request = request(batch.additions, how);
        asked.push_back((begin(session.call(request)).await, batch.places));
    }
    for (answer, places) in asked {
        keep(answer.await.map_err(|error| at_places(error, &places))?)?;
    }
    match refused {
        None => Ok(all),
        Some(mut batch) => {
            let check = Request::Check { tasks: std::mem::take(&mut batch.additions) };
            Err(batch.refusal(session.call(check).await))
        }
    }
}

/// Lets a request begin without waiting for its answer.
async fn begin<'a>(call: impl Future<Output = Result<Reply>> + 'a) -> Asked<'a> {
    let mut call: Asked<'a> = Box::pin(call);
    let first = std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
    match first {
        Poll::Ready(answer) => Box::pin(std::future::ready(answer)),
        Poll::Pending => call,
    }
}

/// Adds through another process's engine. Ids are drawn here, so that a batch can be given again, and is added once, when
/// the engine ends before it answers.
async fn add_joined(link: &mut Link, mut batch: Batch, how: How) -> Result<Reply> {
    for addition in &mut batch.additions {
        if addition.task.task_id.is_empty() {
            addition.task.task_id = haul::new_uuid().to_string();
        }
    }
    let first = request(batch.additions.clone(), how);
    let answer = match link.call_once(first).await {
        Err(Error::HomeLocked(_)) if link.is_joined() => {
            link.forget();
            let if_exists = match how.if_exists {
                IfExists::Reject => IfExists::ReturnExisting,
                if_exists => if_exists,
            };
            let again = request(batch.additions, How { if_exists, ..how });
            link.call(again).await
        }
        answer => answer,
    };
    answer.map_err(|error| at_places(error, &batch.places))
}

fn request(mut tasks: Vec<Addition>, How { if_exists, paused }: How) -> Request {
    tasks.iter_mut().for_each(|addition| addition.paused = paused);
    Request::Add { tasks, if_exists, continue_same: false, work: false }
}

/// Names file and line instead of a task's place in a batch that the user never saw.
fn at_places(error: Error, places: &[Place]) -> Error {
    let Error::Invalid(tasks) = error else {
        return error;
    };
    let mut lines = Vec::new();
    for (index, problems) in tasks.iter().take(TOLD_MAX) {
        let place = places.get(*index).map(Place::to_string).unwrap_or_default();
        lines.extend(problems.iter().map(|problem| format!("{place}: {problem}")));
    }
    if tasks.len() > TOLD_MAX {
        lines.push(format!("and {} more invalid tasks", tasks.len() - TOLD_MAX));
    }
    Error::Usage(lines.join("\n"))
}

async fn print_records(link: &mut Link, ids: &[String], printer: &Printer) -> Result<u8> {
    for id in ids {
        printer.data(link.call(Request::Show { id: id.clone() }).await?.record()?);
        printer.room().await;
    }
    Ok(exit::DONE)
}

#[cfg(test)]
mod tests;
