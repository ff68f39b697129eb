//! `haul run`: works the queue of the home, until interrupted or until it is empty.

use std::time::Duration;

use haul::event::StatusUpdate;
use haul::{Error, Reply, Request, Result, Status, Update, Work};
use tokio::sync::mpsc::Receiver;

use crate::args::Run;
use crate::beside;
use crate::environment::Environment;
use crate::exit;
use crate::follow::{QUIET_MAX, QUIET_MIN};
use crate::foreground::end;
use crate::link::Link;
use crate::notifier::Notifier;
use crate::outcome::Outcome;
use crate::printer::Printer;
use crate::reporter::{Printed, Reporter};
use crate::signals::Interrupt;

/// Updates dealt with before printed lines are handed over.
const BURST: usize = 4096;
/// First wait for an update when by those that came nothing is left: the engine may have the last task for a moment longer. Doubled
/// up to [`QUIET_MAX`].
const SETTLING: Duration = Duration::from_millis(2);

/// Runs the command; answers the exit code.
pub(crate) async fn run(run: &Run, environment: &Environment, printer: &Printer) -> Result<u8> {
    let mut settings = environment.working_settings(&run.engine, None)?;
    let notifier = Notifier::new(&environment.config.notifications, printer);
    settings.notifications = notifier.notifications();
    let has_components = !settings.component_flags.is_empty();
    let mut interrupt = Interrupt::listen()?;
    let mut queue = Queue {
        // Asked for after watching began, so that no update is missed.
        link: Link::new(settings, Work::Asked),
        reporter: Reporter::new(printer, Printed::Nothing),
        told: None,
        left: 0,
        failed_before: None,
    };
    let work = async {
        beside::enter_to_stay(&mut queue.link, &run.engine, has_components, printer).await?;
        queue.work(run.until_idle).await
    };
    let done = interrupt.unless(work).await;
    if done.is_none() {
        printer.note(format_args!("{}; `haul run` goes on where this one stopped", interrupt.told()));
    }
    end(queue.link, &notifier, &mut interrupt, done).await
}

struct Queue {
    link: Link,
    reporter: Reporter,
    /// Sequence number of the last update told.
    told: Option<u64>,
    /// Tasks left to work by the last count, less those that ended since.
    left: u64,
    /// Tasks that had ended without success when the command began.
    failed_before: Option<u64>,
}

impl Queue {
    async fn work(&mut self, until_idle: bool) -> Result<u8> {
        let mut updates = self.open().await?;
        let mut quiet = SETTLING;
        let mut count_now = true;
        loop {
            self.reporter.printer().room().await; // who does not read holds up this loop, and nothing else
            if until_idle
                && count_now
                && let Some(failed) = self.idle_with().await?
            {
                while let Ok(update) = updates.try_recv() {
                    self.reporter.printer().room().await;
                    self.take(&update).await?;
                }
                self.reporter.flush();
                return Ok(self.code(failed));
            }
            count_now = match tokio::time::timeout(quiet, updates.recv()).await {
                Ok(Some(update)) => {
                    self.take_burst(update, &mut updates).await?;
                    let is_over = self.left == 0;
                    quiet = if is_over { SETTLING } else { QUIET_MIN };
                    is_over
                }
                Ok(None) => {
                    updates = self.reopen().await?;
                    quiet = SETTLING;
                    true
                }
                Err(_) => {
                    quiet = (quiet * 2).min(QUIET_MAX);
                    true
                }
            };
        }
    }

    /// Opens the home and has everything worked.
    async fn open(&mut self) -> Result<Receiver<Update>> {
        loop {
            let updates = self.link.watch().await?;
            match self.begin().await {
                Ok(()) => return Ok(updates),
                Err(Error::HomeLocked(_)) if self.link.is_joined() => self.link.forget(),
                Err(error) => return Err(error),
            }
        }
    }

    async fn begin(&mut self) -> Result<()> {
        if self.failed_before.is_none() {
            let (failed, _) = counts(self.link.call_once(Request::Counts).await?)?;
            self.failed_before = Some(failed);
        }
        self.link.call_once(Request::Work { ids: None }).await?;
        Ok(())
    }

    /// After the end of the updates: watches again, in a new session if the engine has ended, and tells what happened
    /// meanwhile.
    async fn reopen(&mut self) -> Result<Receiver<Update>> {
        loop {
            self.link.updates_ended().await?;
            let updates = self.open().await?;
            match self.catch_up().await {
                Ok(()) => return Ok(updates),
                Err(Error::HomeLocked(_)) if self.link.is_joined() => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn catch_up(&mut self) -> Result<()> {
        while let Some(told) = self.told {
            let request = Request::Events { after: Some(told), consumer: None };
            self.reporter.printer().room().await;
            for event in self.link.call_once(request).await?.events()? {
                self.told = event["seq"].as_u64().max(self.told);
                self.reporter.print_value(&event);
                let id = event["taskId"].as_str();
                if let (Some(id), Some(outcome)) = (id, Outcome::of_json(&event)) {
                    self.tell(id, &outcome).await?;
                }
            }
            if self.told == Some(told) {
                break;
            }
        }
        Ok(())
    }

    /// When nothing is left to work: how many tasks of the home have ended without success.
    async fn idle_with(&mut self) -> Result<Option<u64>> {
        let reply = match self.link.call_once(Request::Counts).await {
            // The updates will end too, and then the home is opened again.
            Err(Error::HomeLocked(_)) if self.link.is_joined() => return Ok(None),
            reply => reply?,
        };
        let (failed, working) = counts(reply)?;
        self.left = working;
        Ok((working == 0).then_some(failed))
    }

    /// The exit code. Tasks that send no updates are counted here.
    fn code(&mut self, failed: u64) -> u8 {
        let tally = self.reporter.tally();
        let failed = failed.saturating_sub(self.failed_before.unwrap_or(failed));
        for _ in tally.failed..failed {
            tally.asked += 1;
            tally.fail(exit::OTHER);
        }
        tally.code()
    }

    async fn take_burst(&mut self, first: Update, updates: &mut Receiver<Update>) -> Result<()> {
        self.take(&first).await?;
        for _ in 0..BURST {
            if !self.reporter.printer().has_room() {
                break;
            }
            match updates.try_recv() {
                Ok(update) => self.take(&update).await?,
                Err(_) => break,
            }
        }
        self.reporter.flush();
        Ok(())
    }

    async fn take(&mut self, update: &Update) -> Result<()> {
        match update {
            Update::Progress(progress) => {
                self.reporter.print_json(update);
                self.reporter.progress(progress);
                Ok(())
            }
            Update::Status(status) if self.told.is_some_and(|told| status.seq <= told) => Ok(()),
            Update::Status(status) => {
                self.told = Some(status.seq);
                self.reporter.print_json(update);
                self.take_status(status).await
            }
            _ => Ok(()),
        }
    }

    async fn take_status(&mut self, status: &StatusUpdate) -> Result<()> {
        let outcome = Outcome::of_update(status);
        if outcome.is_end() {
            self.left = self.left.saturating_sub(1);
        }
        self.tell(&status.task_id, &outcome).await
    }

    async fn tell(&mut self, id: &str, outcome: &Outcome) -> Result<()> {
        if self.reporter.wants_label(id, outcome.status) {
            let request = Request::Show { id: id.into() };
            if let Ok(reply) = self.link.call_once(request).await
                && let Some(url) = reply.record()?["url"].as_str()
            {
                self.reporter.label(id, url);
            }
            // Nothing here ever waits, and where many fail at once other processes want answers meanwhile.
            tokio::task::yield_now().await;
        }
        if outcome.status.is_final() {
            self.reporter.tally().asked += 1;
            self.reporter.end(id, outcome);
        } else {
            self.reporter.status(id, outcome);
        }
        Ok(())
    }
}

/// Tasks that have ended without success, and tasks left to work.
fn counts(reply: Reply) -> Result<(u64, u64)> {
    match reply {
        Reply::Counts { by_status, working } => {
            let count = |status: Status| by_status[status as usize];
            let failed = count(Status::NotFound) + count(Status::Failed) + count(Status::Canceled);
            Ok((failed, working))
        }
        other => Err(other.does_not_fit()),
    }
}
