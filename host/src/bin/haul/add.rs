//! `haul add`: enqueues task JSON without running it, and prints the ids.
//!
//! What is given is added as a whole or not at all. Up to a thousand tasks are added by one request, which is so by itself; a
//! longer list is read twice: judged to its end, then added, a thousand at a time. Killed meanwhile, it leaves those whose ids
//! were printed and what was under way.

use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use haul::task::Problem;
use haul::{Addition, Error, IfExists, Reply, Request, Result, Work};
use tokio::sync::mpsc::{Receiver, channel};

use crate::args::Add;
use crate::environment::{Environment, now_ms};
use crate::exit;
use crate::input::{Item, List, Place};
use crate::link::Link;
use crate::printer::Printer;
use crate::text;

/// Tasks added by one request.
const BATCH: usize = 1000;
/// Tasks read ahead.
const READ_AHEAD: usize = 4 * BATCH;
/// Requests under way at once when this process is the engine.
const IN_FLIGHT: usize = 4;
/// Invalid tasks that are told of; more are counted.
const TOLD_MAX: usize = 20;

/// Runs the command; answers the exit code.
pub(crate) async fn run(add: &Add, environment: &Environment, printer: &Printer) -> Result<u8> {
    let mut link = Link::new(environment.settings(), Work::Nothing);
    let how = How { if_exists: add.if_exists.into(), paused: add.paused };
    let code = match whole(&mut link, add, how, environment, printer).await {
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

/// Adds everything, or nothing.
async fn whole(link: &mut Link, add: &Add, how: How, environment: &Environment, printer: &Printer) -> Result<Added> {
    link.session().await?; // from now on there is a home
    let now = now_ms();
    let lists = add.files.iter().map(|file| List::open(file, now, &environment.home)).collect::<Result<Vec<_>>>()?;
    let lists: Lists = Arc::new(Mutex::new(lists));
    let mut items = read_ahead(&lists, add.profile.clone())?;
    let Some(first) = next_batch(&mut items).await else { return Ok(Added::default()) };
    let second = next_batch(&mut items).await;
    if second.is_none() && !first.is_refused() {
        return enqueue(link, Batches { read: Some(first), items }, how, printer).await;
    }
    let mut ids = Ids::default();
    let mut next = Some(first);
    let mut batches = Batches { read: second, items };
    while let Some(batch) = next {
        judge(link, batch, how.if_exists, &mut ids).await?;
        next = batches.next().await;
    }
    let items = read_ahead(&lists, add.profile.clone())?;
    enqueue(link, Batches { read: None, items }, how, printer).await
}

/// Refuses a batch in which anything is wrong.
async fn judge(link: &mut Link, mut batch: Batch, if_exists: IfExists, ids: &mut Ids) -> Result<()> {
    if if_exists != IfExists::ReturnExisting {
        ids.refuse_twins(&mut batch);
    }
    let check = Request::Check { tasks: std::mem::take(&mut batch.additions), if_exists, told: false };
    let checked = link.call(check).await;
    if checked.is_ok() && !batch.is_refused() { Ok(()) } else { Err(batch.refusal(checked)) }
}

/// The ids of a whole list, as hashes: there may be millions.
#[derive(Default)]
struct Ids {
    hash: RandomState,
    seen: HashSet<u64>,
}

impl Ids {
    /// Which of two tasks of one id is meant is for nobody to guess.
    fn refuse_twins(&mut self, batch: &mut Batch) {
        for (addition, problems) in batch.additions.iter().zip(&mut batch.problems) {
            let id = &addition.task.task_id;
            if !id.is_empty() && !self.seen.insert(self.hash.hash_one(id)) {
                let reason = format!("`{id}` is that of another task given with it");
                problems.push(Problem { field: "taskId".into(), reason });
            }
        }
    }
}

/// A list in batches, the first of which may have been read already.
struct Batches {
    read: Option<Batch>,
    items: Receiver<Item>,
}

impl Batches {
    async fn next(&mut self) -> Option<Batch> {
        match self.read.take() {
            Some(batch) => Some(batch),
            None => next_batch(&mut self.items).await,
        }
    }

    /// The next one of a list that was judged. Whoever changes the file meanwhile gets what is wrong then told.
    async fn next_judged(&mut self) -> Result<Option<Batch>> {
        match self.next().await {
            Some(batch) if batch.is_refused() => Err(batch.refusal(Ok(Reply::Done))),
            batch => Ok(batch),
        }
    }
}

/// What is added, for the thread that reads it.
type Lists = Arc<Mutex<Vec<List>>>;

/// Reads and parses on a thread of its own: it may block.
fn read_ahead(lists: &Lists, profile: Option<String>) -> Result<Receiver<Item>> {
    let (sender, receiver) = channel(READ_AHEAD);
    let lists = Arc::clone(lists);
    haul::spawn_thread("haul-read", move || {
        for list in lists.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let mut open = true;
            list.read(&mut |mut item| {
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
        if items.recv_many(&mut buffer, room).await == 0 {
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

/// Requests that have begun, in order, each with where its tasks stood. All of them go on while the first is waited for: what one
/// holds another may wait for (a component takes two calls at once).
#[derive(Default)]
struct UnderWay<'a>(VecDeque<(Asked<'a>, Vec<Place>)>);

enum Asked<'a> {
    Pending(Pin<Box<dyn Future<Output = Result<Reply>> + 'a>>),
    Answered(Result<Reply>),
}

impl<'a> UnderWay<'a> {
    /// Lets a request begin without waiting for its answer.
    async fn begin(&mut self, call: impl Future<Output = Result<Reply>> + 'a, places: Vec<Place>) {
        self.0.push_back((Asked::Pending(Box::pin(call)), places));
        std::future::poll_fn(|context| {
            self.go_on(context);
            Poll::Ready(())
        })
        .await;
    }

    fn go_on(&mut self, context: &mut Context<'_>) {
        for (asked, _) in &mut self.0 {
            if let Asked::Pending(call) = asked
                && let Poll::Ready(answer) = call.as_mut().poll(context)
            {
                *asked = Asked::Answered(answer);
            }
        }
    }

    /// The answer of the first one; `None` when there is none.
    async fn first(&mut self) -> Option<Result<Reply>> {
        std::future::poll_fn(|context| {
            self.go_on(context);
            match self.0.pop_front() {
                Some((Asked::Answered(answer), places)) => {
                    Poll::Ready(Some(answer.map_err(|error| at_places(error, &places))))
                }
                Some(pending) => {
                    self.0.push_front(pending);
                    Poll::Pending
                }
                None => Poll::Ready(None),
            }
        })
        .await
    }
}

/// How many tasks were added, and their ids when they will be wanted for records.
#[derive(Default)]
struct Added {
    count: usize,
    ids: Vec<String>,
}

/// Adds what was judged.
async fn enqueue(link: &mut Link, mut batches: Batches, how: How, printer: &Printer) -> Result<Added> {
    let mut all = Added::default();
    let mut keep = |reply: Reply| -> Result<()> {
        let ids = reply.added()?.ids;
        all.count += ids.len();
        if printer.json() {
            all.ids.extend(ids);
        } else {
            ids.iter().for_each(|id| printer.data(text::printable(id)));
            printer.flush();
        }
        Ok(())
    };
    link.session().await?;
    if link.is_joined() {
        while let Some(batch) = batches.next_judged().await? {
            keep(add_joined(link, batch, how).await?)?;
            printer.room().await;
        }
        return Ok(all);
    }
    let session = link.session().await?;
    let mut under_way = UnderWay::default();
    while let Some(batch) = batches.next_judged().await? {
        printer.room().await;
        if under_way.0.len() == IN_FLIGHT
            && let Some(answer) = under_way.first().await
        {
            keep(answer?)?;
        }
        let request = request(batch.additions, how);
        under_way.begin(session.call(request), batch.places).await;
    }
    while let Some(answer) = under_way.first().await {
        keep(answer?)?;
    }
    Ok(all)
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
    Request::Add { tasks, if_exists, continue_same: false, work: false, twins: Vec::new() }
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
