//! `haul events`, `haul ack` and `haul consumer`: the durable event log, and how far its consumers have come.

use std::time::Duration;

use haul::{Request, Result, Update, Work};
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

use crate::args::{Ack, Consumer, Events};
use crate::environment::Environment;
use crate::exit;
use crate::link::{Link, ask};
use crate::outcome::Outcome;
use crate::printer::Printer;
use crate::signals::Interrupt;
use crate::text;

/// The log is read at least this often: tasks that send no updates are in it too.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Runs `events`; answers the exit code.
pub(crate) async fn run(typed: &Events, environment: &Environment, printer: &Printer) -> Result<u8> {
    let mut link = Link::new(environment.settings(), Work::Nothing);
    let mut log = Log { printer, after: typed.after, consumer: typed.consumer.clone(), has_begun: false };
    if !typed.follow {
        let printed = log.print_past(&mut link).await;
        link.close().await;
        return printed.map(|()| exit::DONE);
    }
    let mut interrupt = Interrupt::listen()?;
    let done = interrupt.unless(log.follow(&mut link)).await;
    let saved = interrupt.unless(link.close()).await;
    match (done, saved) {
        (Some(done), Some(())) => done.map(|()| exit::DONE),
        _ => Ok(exit::INTERRUPTED),
    }
}

struct Log<'a> {
    printer: &'a Printer,
    after: Option<u64>,
    /// From the first event on, `after` counts alone.
    consumer: Option<String>,
    has_begun: bool,
}

impl Log<'_> {
    /// Prints what there is after the position, and moves it.
    async fn print_past(&mut self, link: &mut Link) -> Result<()> {
        while !self.printer.is_closed() {
            let consumer = self.consumer.clone().filter(|_| !self.has_begun);
            let request = Request::Events { after: self.after, consumer };
            let page = link.call(request).await?.events()?;
            let before = self.after;
            for event in &page {
                self.after = event["seq"].as_u64().max(self.after);
                self.has_begun = true;
                self.print(event);
            }
            self.printer.written().await;
            if page.is_empty() || self.after == before {
                break;
            }
        }
        Ok(())
    }

    /// Prints the past and then what happens, until nobody reads any more.
    async fn follow(&mut self, link: &mut Link) -> Result<()> {
        let mut reader_gone = std::pin::pin!(self.printer.reader_gone());
        let mut updates = link.watch().await?;
        let mut watched = link.generation();
        loop {
            self.print_past(link).await?;
            if self.printer.is_closed() {
                return Ok(());
            }
            let waited = tokio::select! {
                waited = self.wait(&mut updates) => waited,
                () = &mut reader_gone => return Ok(()),
            };
            if waited.is_none() {
                if link.generation() == watched {
                    link.updates_ended().await?;
                }
                updates = link.watch().await?;
                watched = link.generation();
            }
        }
    }

    /// Waits for something new in the log; `None` when the engine has ended.
    async fn wait(&self, updates: &mut Receiver<Update>) -> Option<()> {
        let fresh = async {
            loop {
                match updates.recv().await? {
                    Update::Status(update) if Some(update.seq) > self.after => return Some(()),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(LOOK_AGAIN, fresh).await.unwrap_or(Some(()))
    }

    fn print(&self, event: &Value) {
        if self.printer.json() {
            self.printer.data(event);
            return;
        }
        let part = |name: &str| event[name].as_str().unwrap_or("");
        let line = format!(
            "{:>6}  {:<24}  {:<36}  {:<14}  {}",
            event["seq"],
            part("at"),
            text::printable(part("taskId")),
            part("status"),
            text::printable(&remark(event)),
        );
        self.printer.data(line.trim_end());
    }
}

/// What is worth knowing about an event beside its status.
fn remark(event: &Value) -> String {
    match Outcome::of_json(event) {
        Some(outcome) if !outcome.reason.is_empty() => outcome.reason,
        Some(outcome) => outcome.path.unwrap_or_default(),
        None => String::new(),
    }
}

/// Runs `ack`; answers the exit code.
pub(crate) async fn ack(ack: &Ack, environment: &Environment, printer: &Printer) -> Result<u8> {
    let request = Request::Ack { consumer: ack.consumer.clone(), seq: ack.seq };
    let position = ask(environment.settings(), request).await?.count()?;
    if printer.json() {
        printer.data(json!({"consumer": ack.consumer, "position": position}));
    } else {
        let consumer = text::printable(&ack.consumer);
        printer.note(format_args!("{consumer} has come to event {position}"));
    }
    Ok(exit::DONE)
}

/// Runs `consumer`; answers the exit code.
pub(crate) async fn consumer(typed: &Consumer, environment: &Environment, printer: &Printer) -> Result<u8> {
    match typed {
        Consumer::Forget { name } => {
            ask(environment.settings(), Request::ForgetConsumer { name: name.clone() }).await?;
            printer.note(format_args!("forgot {}", text::printable(name)));
        }
        Consumer::Ls => {
            let known = ask(environment.settings(), Request::Consumers).await?.info()?;
            for known in known.as_array().into_iter().flatten() {
                if printer.json() {
                    printer.data(known);
                } else {
                    let name = text::printable(known["consumer"].as_str().unwrap_or_default());
                    printer.data(format_args!("{name:<24}  {}", backlog(known)));
                }
            }
        }
    }
    Ok(exit::DONE)
}

/// What a consumer has yet to deal with, in words.
pub(crate) fn backlog(known: &Value) -> String {
    let count = |name: &str| text::number(known[name].as_u64().unwrap_or(0));
    let since = known["oldest"].as_str().map_or(String::new(), |at| format!(" since {at}"));
    format!(
        "has come to event {}; {} wait{since}, {} of them kept for consumers",
        count("position"),
        count("waiting"),
        count("kept")
    )
}
