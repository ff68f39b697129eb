//! Shows notifications: as the terminal's title, on the desktop, or by a command. What they say is the library's business.
//!
//! What is shown of one notification is shown in order, one state after another; a state that waits gives way to a newer one.

mod desktop;

use std::collections::HashMap;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use haul::config::{NotificationsConfig, ShowOn};
use haul::notify::{Notification, Notifications, Sink};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::printer::Printer;
use crate::text;
use desktop::Desktop;

/// Commands that run at once at most; what comes meanwhile of others is not shown.
const COMMANDS_MAX: usize = 16;
/// The same of the desktop, where each is a message and no process.
const DESKTOP_MAX: usize = 1024;
/// How long the end of haul waits for what is not shown yet.
const END_WITHIN: Duration = Duration::from_secs(2);

/// Shows what the engine tells. On the command line's own runtime, so that nobody who tells ever waits.
pub(crate) struct Notifier(Option<Arc<Shows>>);

impl Notifier {
    /// Of a configuration without notifications it costs nothing. Must be called on a tokio runtime.
    pub(crate) fn new(config: &NotificationsConfig, printer: &Printer) -> Self {
        let shows = || Shows {
            config: config.clone(),
            printer: printer.clone(),
            runtime: Handle::current(),
            desktop: tokio::sync::Mutex::default(),
            lines: Mutex::default(),
            changed: Notify::new(),
        };
        Self((!config.to.is_empty()).then(|| Arc::new(shows())))
    }

    /// What the engine is told to show; `None` when nothing is configured.
    pub(crate) fn notifications(&self) -> Option<Notifications> {
        let shows = Arc::clone(self.0.as_ref()?);
        let (texts, groups) = (shows.config.texts.clone(), shows.config.groups.clone());
        let sink = Sink(Arc::new(move |notification| shows.take(notification)));
        Some(Notifications { texts, groups, sink })
    }

    /// Returns when all that the engine has told is shown, or soon. Commands that still run go on; what has waited too long
    /// for one of them is shown out of its turn rather than never.
    pub(crate) async fn finish(&self) {
        let Some(shows) = &self.0 else { return };
        let done = async {
            while !shows.is_done() {
                shows.changed.notified().await;
            }
        };
        if tokio::time::timeout(END_WITHIN, done).await.is_err() {
            for notification in shows.waiting_commands() {
                drop(shows.start(&notification));
            }
        }
    }
}

/// Where something is being shown: one line for each place and notification.
type Line = (ShowOn, String);

/// Ends when it is shown.
type Showing = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Shows {
    config: NotificationsConfig,
    printer: Printer,
    runtime: Handle,
    desktop: tokio::sync::Mutex<Desktop>,
    /// What is being shown, each with the newest state that waits for its turn.
    lines: Mutex<HashMap<Line, Option<Notification>>>,
    /// A line has come further.
    changed: Notify,
}

impl Shows {
    fn lines(&self) -> MutexGuard<'_, HashMap<Line, Option<Notification>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, notification: &Notification) {
        for on in &self.config.to {
            match on {
                ShowOn::Title => self.printer.title(&text::printable(&title(notification))),
                ShowOn::Desktop if notification.is_news || notification.is_due => {
                    self.line_up(*on, DESKTOP_MAX, notification)
                }
                ShowOn::Command if notification.is_news => self.line_up(*on, COMMANDS_MAX, notification),
                _ => {}
            }
        }
    }

    fn line_up(self: &Arc<Self>, on: ShowOn, most: usize, notification: &Notification) {
        let mut lines = self.lines();
        let line = (on, notification.id.clone());
        if let Some(waiting) = lines.get_mut(&line) {
            *waiting = Some(notification.clone());
        } else if lines.keys().filter(|(other, _)| *other == on).count() < most {
            lines.insert(line.clone(), None);
            let _runtime = self.runtime.enter();
            let first = self.begin(on, notification.clone());
            self.runtime.spawn(Arc::clone(self).go_on(line, first));
        }
    }

    /// Shows a notification: a command is started when this returns, and has ended with the future.
    fn begin(self: &Arc<Self>, on: ShowOn, notification: Notification) -> Showing {
        if on == ShowOn::Command {
            let child = self.start(&notification);
            return Box::pin(async {
                if let Some(mut child) = child {
                    let _ = child.wait().await;
                }
            });
        }
        let shows = Arc::clone(self);
        Box::pin(async move { shows.desktop.lock().await.show(&notification).await })
    }

    /// Shows what waits in a line, until nothing does.
    async fn go_on(self: Arc<Self>, line: Line, first: Showing) {
        first.await;
        while let Some(notification) = self.next(&line) {
            let showing = self.begin(line.0, notification);
            self.changed.notify_one();
            showing.await;
        }
        self.changed.notify_one();
    }

    fn next(&self, line: &Line) -> Option<Notification> {
        let mut lines = self.lines();
        let next = lines.get_mut(line).and_then(Option::take);
        if next.is_none() {
            lines.remove(line);
        }
        next
    }

    /// Whether the desktop has answered and every command has started.
    fn is_done(&self) -> bool {
        self.lines().iter().all(|((on, _), waiting)| *on == ShowOn::Command && waiting.is_none())
    }

    fn waiting_commands(&self) -> Vec<Notification> {
        let mut lines = self.lines();
        let commands = lines.iter_mut().filter(|((on, _), _)| *on == ShowOn::Command);
        commands.filter_map(|(_, waiting)| waiting.take()).collect()
    }

    fn start(&self, notification: &Notification) -> Option<Child> {
        let words = words(&self.config.command, notification);
        let (program, arguments) = words.split_first()?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let refused = |error: &std::io::Error| {
            let program = text::printable(program);
            self.printer.error(format_args!("cannot run `{program}` for a notification: {error}"));
        };
        command.spawn().inspect_err(refused).ok()
    }
}

fn title(notification: &Notification) -> String {
    [notification.title.as_str(), notification.body.as_str()].join(" ").trim().to_owned()
}

/// Tokens are put into single arguments: no shell ever reads them.
fn words(command: &[String], notification: &Notification) -> Vec<String> {
    let tokens = [
        ("{title}", notification.title.as_str()),
        ("{body}", &notification.body),
        ("{state}", notification.state.name()),
        ("{id}", &notification.id),
        ("{group}", &notification.group),
        ("{filePath}", notification.file_path.as_deref().unwrap_or_default()),
    ];
    let whole = |word: &String| tokens.iter().find(|(token, _)| token == word).map(|(_, value)| (*value).to_owned());
    command.iter().map(|word| whole(word).unwrap_or_else(|| word.clone())).collect()
}
