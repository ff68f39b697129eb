//! Adds tasks and waits for their ends: background_downloader's `download`, `upload`, `transmit` and their batches (B.17), on
//! any session. It is told of ends, those of tasks that send no updates too, and asks for nothing but the records it answers.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::sync::mpsc::Receiver;

use crate::api::{AddOptions, Request, Session};
use crate::batch::{Batch, BatchProgress};
use crate::clock;
use crate::error::Result;
use crate::event::Update;
use crate::store::{Addition, IfExists};
use crate::task::{Status, TaskRecord};

/// What is told while tasks are waited for.
#[derive(Debug)]
#[non_exhaustive]
pub enum Told<'a> {
    /// An update of one of the tasks.
    Update(&'a Update),
    /// Time passes: so long since the beginning. Ends with the last task.
    Elapsed(Duration),
    /// How far all of them have come: first with nothing done, then each time one has ended.
    Batch(BatchProgress),
}

impl Session {
    /// Adds tasks, has them worked, and waits until all are final or paused. Answers their records, in the order of the
    /// tasks. `every`: how often [`Told::Elapsed`] is told (background_downloader: 5 s); zero: never.
    ///
    /// Errors: as of [`Session::add`]; [`crate::Error::HomeLocked`] when a joined engine ends before the tasks do;
    /// [`crate::Error::UnknownTask`] when somebody forgets one of them meanwhile.
    pub async fn transmit(
        &self,
        tasks: Vec<Addition>,
        every: Duration,
        tell: impl FnMut(Told<'_>),
    ) -> Result<Vec<TaskRecord>> {
        self.transmit_with(tasks, AddOptions::default(), every, tell).await
    }

    /// [`Session::transmit`] of tasks that are added in another way. With `continue_same`, a program that was killed and does
    /// the same again goes on with what it had begun, and is told what was complete meanwhile; what it has been told of is
    /// a new task the next time.
    pub async fn transmit_with(
        &self,
        tasks: Vec<Addition>,
        how: AddOptions,
        every: Duration,
        tell: impl FnMut(Told<'_>),
    ) -> Result<Vec<TaskRecord>> {
        let mut heard = Heard::from_now(self).await?; // before they are added: nothing is missed
        let ids = self.add_with(tasks, how).await?.ids;
        let begun = clock::timer_now();
        let mut tick_at = begun + every;
        let mut waited = Waited::new(self, &ids, tell);
        if how.continue_same || how.if_exists == IfExists::ReturnExisting {
            waited.look_at_all().await?; // some may have ended before
        }
        while !waited.open.is_empty() {
            tokio::select! {
                next = heard.next() => match next {
                    Some(next) => waited.hear(next).await?,
                    None => {
                        // The engine has ended, or has let go of who told it too slowly what it does with what it hears.
                        heard = Heard::from_now(self).await?;
                        waited.look_at_all().await?;
                    }
                },
                () = clock::sleep_until(tick_at), if !every.is_zero() => {
                    tick_at += every;
                    (waited.tell)(Told::Elapsed(clock::timer_now() - begun));
                }
            }
        }
        let records = ids.iter().filter_map(|id| waited.ended.remove(id)).collect();
        if how.continue_same {
            self.call(Request::Told { ids }).await?;
        }
        Ok(records)
    }
}

/// All updates: what tasks send, and what they do not.
struct Heard {
    sent: Receiver<Update>,
    silent: Receiver<Update>,
}

enum Next {
    Sent(Update),
    Silent(Update),
}

impl Heard {
    async fn from_now(session: &Session) -> Result<Self> {
        Ok(Self { sent: session.watch().await?, silent: session.watch_silent().await? })
    }

    /// `None`: nothing more comes.
    async fn next(&mut self) -> Option<Next> {
        tokio::select! {
            sent = self.sent.recv() => sent.map(Next::Sent),
            silent = self.silent.recv() => silent.map(Next::Silent),
        }
    }
}

/// Tasks that are waited for.
struct Waited<'a, T> {
    session: &'a Session,
    /// Those that have not ended.
    open: HashSet<String>,
    /// The records of the others.
    ended: HashMap<String, TaskRecord>,
    batch: Batch,
    tell: T,
}

impl<'a, T: FnMut(Told<'_>)> Waited<'a, T> {
    fn new(session: &'a Session, ids: &[String], mut tell: T) -> Self {
        let mut batch = Batch::default();
        ids.iter().for_each(|id| batch.add(id.clone()));
        tell(Told::Batch(batch.progress()));
        Self { session, open: ids.iter().cloned().collect(), ended: HashMap::new(), batch, tell }
    }

    async fn hear(&mut self, next: Next) -> Result<()> {
        let (Next::Sent(update) | Next::Silent(update)) = &next;
        let id = update.task_id();
        if !self.open.contains(id) {
            return Ok(());
        }
        if let Next::Sent(update) = &next {
            (self.tell)(Told::Update(update));
        }
        match update {
            Update::Progress(_) => drop(self.batch.take(update)),
            Update::Status(status) if is_end(status.status) => self.look(id).await?,
            Update::Status(_) => {}
        }
        Ok(())
    }

    async fn look_at_all(&mut self) -> Result<()> {
        for id in self.open.clone() {
            self.look(&id).await?;
        }
        Ok(())
    }

    /// Keeps the record of a task that has ended.
    async fn look(&mut self, id: &str) -> Result<()> {
        let record = self.session.show(id).await?;
        if is_end(record.status) {
            self.batch.end(id, record.status, Some(record.bytes_done));
            self.open.remove(id);
            self.ended.insert(id.to_owned(), record);
            (self.tell)(Told::Batch(self.batch.progress()));
        }
        Ok(())
    }
}

/// Whether nothing more happens to a task by itself.
fn is_end(status: Status) -> bool {
    status.is_final() || status == Status::Paused
}
