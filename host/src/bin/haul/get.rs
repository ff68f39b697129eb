//! `haul get`: downloads in the foreground. Killed at any moment, the same command line goes on where it stopped.

use haul::Result;

use crate::args::Get;
use crate::environment::{Environment, named, now_ms};
use crate::exit;
use crate::foreground::{self, Tasks};
use crate::input;
use crate::printer::Printer;
use crate::reporter::{Printed, Reporter};
use crate::signals::Interrupt;
use crate::tasks::{Template, check_login};

/// Runs the command; answers the exit code.
pub(crate) async fn run(get: &Get, environment: &Environment, printer: &Printer) -> Result<u8> {
    let Some((urls, lines)) = urls(get).await? else { return Ok(exit::INTERRUPTED) };
    let callbacks = named(&get.engine.components, &environment.config.callbacks);
    check_login(&get.task.login, &get.engine.network)?;
    let template = Template::new(&get.task, &get.download, callbacks, urls.len() > 1, now_ms())?;
    template.check(&urls)?;
    if urls.is_empty() {
        printer.note("nothing to download: the list is empty");
        return Ok(exit::DONE);
    }
    let printed = if get.print.is_some() { Printed::Path } else { Printed::Nothing };
    let reporter = Reporter::new(printer, printed).telling_batch(get.batch);
    let addition = |url: &str| template.addition(url);
    let tasks = Tasks { urls: &urls, lines: &lines, addition: &addition, same_command: foreground::GOES_ON };
    foreground::run(tasks, &get.engine, get.task.asking.profile.as_deref(), environment, printer, reporter).await
}

/// The URLs that are meant, and their lines in the list on stdin. `None`: interrupted while stdin was read. Who reads nothing there
/// listens for nothing yet: a signal then ends the process, whatever file it waits for.
async fn urls(get: &Get) -> Result<Option<(Vec<String>, Vec<u32>)>> {
    let typed = get.urls.clone();
    match typed.iter().any(|url| url == "-") {
        true => Interrupt::listen()?.unless_read(move || input::urls(&typed)).await,
        false => Ok(Some((typed, Vec::new()))),
    }
}
