//! `haul add`: enqueues task JSON without running it, and prints the ids.
//!
//! Tasks are added a thousand at a time, each thousand as a whole or not at all: with an invalid task among them nothing of
//! its thousand is added, while the ids of those before it have been printed and stay.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use haul::{Addition, Error, IfExists, Reply, Request, Result, Work};
use tokio::sync::mpsc::{Receiver, channel};

use crate::args::Add;
use crate::environment::Environment;
use crate::exit;
use crate::input::{self, Item, Place};
use crate::link::{Link, added, records};
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
    let items = read_ahead(add.files.clone());
    let mut link = Link::new(environment.settings(), Work::Nothing);
    let added = enqueue(&mut link, items, printer).await;
    let code = match added {
        Ok(ids) if printer.json() => print_records(&mut link, &ids, printer).await,
        Ok(_) => Ok(exit::DONE),
        Err(error) => Err(error),
    };
    link.close().await;
    code
}

/// Reads and parses on a thread of its own: it may block.
fn read_ahead(files: Vec<PathBuf>) -> Receiver<Item> {
    let (sender, receiver) = channel(READ_AHEAD);
    std::thread::spawn(move || {
        for file in files {
            let mut open = true;
            input::tasks(&file, &mut |item| {
                let is_broken = matches!(item, Item::Broken(_));
                open = sender.blocking_send(item).is_ok() && !is_broken;
                open
            });
            if !open {
                break;
            }
        }
    });
    receiver
}

/// Tasks to be added together, and where each stood.
#[derive(Default)]
struct Batch {
    additions: Vec<Addition>,
    places: Vec<Place>,
    /// What is wrong, one line each.
    bad: Vec<String>,
    bad_tasks: usize,
    broken: Option<Error>,
}

impl Batch {
    fn len(&self) -> usize {
        self.additions.len() + self.bad_tasks
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Task(task, place) => {
                self.additions.push(Addition { task: *task, place: None });
                self.places.push(place);
            }
            Item::Bad(place, problems) => self.note_bad(&place, &problems),
            Item::Broken(error) => self.broken = Some(error),
        }
    }

    fn note_bad(&mut self, place: &Place, problems: &[String]) {
        self.bad_tasks += 1;
        if self.bad_tasks <= TOLD_MAX {
            let lines = problems.iter().map(|problem| format!("{place}: {problem}"));
            self.bad.extend(lines);
        }
    }

    /// Why this batch cannot be added, if it cannot.
    fn refusal(&mut self) -> Option<Error> {
        if self.bad_tasks > TOLD_MAX {
            let more = self.bad_tasks - TOLD_MAX;
            self.bad.push(format!("and {more} more invalid tasks"));
        }
        if self.bad_tasks > 0 {
            return Some(Error::Usage(self.bad.join("\n")));
        }
        self.broken.take()
    }
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

/// A request that has begun.
type Asked<'a> = Pin<Box<dyn Future<Output = Result<Reply>> + 'a>>;

/// Adds everything; answers the ids when they will be wanted for records.
async fn enqueue(link: &mut Link, mut items: Receiver<Item>, printer: &Printer) -> Result<Vec<String>> {
    let mut all = Vec::new();
    let mut keep = |reply: Reply| -> Result<()> {
        let (ids, _) = added(reply)?;
        if printer.json() {
            all.extend(ids);
        } else {
            ids.iter().for_each(|id| printer.data(id));
            printer.flush();
        }
        Ok(())
    };
    link.session().await?;
    if link.is_joined() {
        while let Some(mut batch) = next_batch(&mut items).await {
            if let Some(refusal) = batch.refusal() {
                return Err(refusal);
            }
            keep(add_joined(link, batch).await?)?;
        }
        return Ok(all);
    }
    let session = link.session().await?;
    let mut asked: VecDeque<(Asked<'_>, Vec<Place>)> = VecDeque::new();
    let mut refusal = None;
    while let Some(mut batch) = next_batch(&mut items).await {
        refusal = batch.refusal();
        if refusal.is_some() {
            break;
        }
        if asked.len() == IN_FLIGHT
            && let Some((answer, places)) = asked.pop_front()
        {
            keep(answer.await.map_err(|error| at_places(error, &places))?)?;
        }
        let request = request(batch.additions, IfExists::Reject);
        asked.push_back((begin(session.call(request)).await, batch.places));
    }
    for (answer, places) in asked {
        keep(answer.await.map_err(|error| at_places(error, &places))?)?;
    }
    refusal.map_or(Ok(all), Err)
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
async fn add_joined(link: &mut Link, mut batch: Batch) -> Result<Reply> {
    for addition in &mut batch.additions {
        if addition.task.task_id.is_empty() {
            addition.task.task_id = uuid::Uuid::now_v7().to_string();
        }
    }
    let first = request(batch.additions.clone(), IfExists::Reject);
    let answer = match link.call_once(first).await {
        Err(Error::HomeLocked(_)) if link.is_joined() => {
            link.forget();
            let again = request(batch.additions, IfExists::ReturnExisting);
            link.call(again).await
        }
        answer => answer,
    };
    answer.map_err(|error| at_places(error, &batch.places))
}

fn request(tasks: Vec<Addition>, if_exists: IfExists) -> Request {
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
        let (records, _) = records(link.call(Request::Show { id: id.clone() }).await?)?;
        records.iter().for_each(|record| printer.data(record));
    }
    Ok(exit::DONE)
}

#[cfg(test)]
mod tests;
