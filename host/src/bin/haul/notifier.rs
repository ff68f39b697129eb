//! Shows notifications: as the terminal's title, on the desktop by `notify-send`, or by a command. What they say is the
//! library's business.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use haul::config::{NotificationsConfig, ShowOn};
use haul::notify::{Notification, Notifications, Sink, State};

use crate::environment;
use crate::printer::Printer;
use crate::text;

/// Commands that run at once at most; what comes meanwhile is not shown.
const RUNNING_MAX: usize = 16;

/// What the engine is told to show; `None` when nothing is configured.
pub(crate) fn notifications(config: &NotificationsConfig, printer: &Printer) -> Option<Notifications> {
    if config.to.is_empty() {
        return None;
    }
    let (shown, printer, running) = (config.clone(), printer.clone(), Mutex::new(Vec::new()));
    let sink = Sink(Arc::new(move |notification| {
        show(&shown, notification, &printer, &mut running.lock().unwrap_or_else(PoisonError::into_inner));
    }));
    Some(Notifications { texts: config.texts.clone(), groups: config.groups.clone(), sink })
}

fn show(config: &NotificationsConfig, notification: &Notification, printer: &Printer, running: &mut Vec<Child>) {
    for to in &config.to {
        match to {
            ShowOn::Title => printer.title(&text::printable(&line(notification))),
            ShowOn::Desktop if notification.is_news => start(&desktop(notification), printer, running),
            ShowOn::Command if notification.is_news => start(&command(&config.command, notification), printer, running),
            _ => {}
        }
    }
}

fn line(notification: &Notification) -> String {
    [notification.title.as_str(), notification.body.as_str()].join(" ").trim().to_owned()
}

/// Without `notify-send` there is no desktop, and nothing is shown.
fn desktop(notification: &Notification) -> Vec<String> {
    let Some(program) = environment::program("notify-send") else { return Vec::new() };
    let urgency = if notification.state == State::Error { "critical" } else { "normal" };
    let words = ["--app-name=haul", "--urgency", urgency, "--", &notification.title, &notification.body];
    std::iter::once(program.to_string_lossy().into_owned()).chain(words.map(String::from)).collect()
}

/// Tokens are put into single arguments: no shell ever reads them.
fn command(words: &[String], notification: &Notification) -> Vec<String> {
    let tokens = [
        ("{title}", notification.title.as_str()),
        ("{body}", &notification.body),
        ("{state}", notification.state.name()),
        ("{id}", &notification.id),
        ("{group}", &notification.group),
        ("{filePath}", notification.file_path.as_deref().unwrap_or_default()),
    ];
    let whole = |word: &String| tokens.iter().find(|(token, _)| token == word).map(|(_, value)| (*value).to_owned());
    words.iter().map(|word| whole(word).unwrap_or_else(|| word.clone())).collect()
}

fn start(words: &[String], printer: &Printer, running: &mut Vec<Child>) {
    running.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    let Some((program, arguments)) = words.split_first().filter(|_| running.len() < RUNNING_MAX) else { return };
    let quiet = || (Stdio::null(), Stdio::null(), Stdio::null());
    let (stdin, stdout, stderr) = quiet();
    match Command::new(program).args(arguments).stdin(stdin).stdout(stdout).stderr(stderr).spawn() {
        Ok(child) => running.push(child),
        Err(error) => {
            printer.error(format_args!("cannot run `{}` for a notification: {error}", text::printable(program)))
        }
    }
}
