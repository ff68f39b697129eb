//! Notifications: background_downloader's model of titles and bodies with tokens, by state and group (B.18).
//!
//! Sans-io: updates go in, rendered notifications come out. Who shows them, and where, is the caller's business; the engine
//! calls [`Sink`] on a thread of its own. They follow what tasks send: one whose `updates` are `none` is told of nowhere.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::event::{ProgressUpdate, StatusUpdate, Update};
use crate::task::{Status, Task, TaskType};

/// How often a running transfer's notification is brought up to date, for who does not hear of each percent.
const REFRESH_EVERY: Duration = Duration::from_secs(2);

/// What a notification is about (background_downloader's NotificationType).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Enqueued or running.
    Running,
    /// Done.
    Complete,
    /// Failed for good, or not found.
    Error,
    /// Paused.
    Paused,
    /// Canceled.
    Canceled,
}

impl State {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Complete => "complete",
            State::Error => "error",
            State::Paused => "paused",
            State::Canceled => "canceled",
        }
    }

    /// `None`: nothing is shown, because the task will be tried again.
    fn of(status: Status) -> Option<Self> {
        Some(match status {
            Status::Enqueued | Status::Running => State::Running,
            Status::Complete => State::Complete,
            Status::NotFound | Status::Failed => State::Error,
            Status::Paused => State::Paused,
            Status::Canceled => State::Canceled,
            Status::WaitingToRetry => return None,
        })
    }
}

/// Title and body, with tokens in any case: `{filename}` `{displayName}` `{metaData}` `{progress}` `{networkSpeed}`
/// `{timeRemaining}`; for a whole group `{numFinished}` `{numFailed}` `{numTotal}` too: `{progress}` is the group's then, names
/// are those of the task that has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of `title` and `body`")]
pub struct Text {
    /// One line.
    pub title: String,
    /// One line or more.
    pub body: String,
}

/// What is shown for the tasks of a group. A state without text shows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Texts {
    /// While a task is enqueued or running.
    pub running: Option<Text>,
    /// When it is done.
    pub complete: Option<Text>,
    /// When it has failed for good.
    pub error: Option<Text>,
    /// While it is paused.
    pub paused: Option<Text>,
    /// When it was canceled.
    pub canceled: Option<Text>,
    /// One notification for the whole group, in the place of one for each task.
    pub as_one: bool,
}

impl Texts {
    fn text(&self, state: State) -> Option<&Text> {
        match state {
            State::Running => self.running.as_ref(),
            State::Complete => self.complete.as_ref(),
            State::Error => self.error.as_ref(),
            State::Paused => self.paused.as_ref(),
            State::Canceled => self.canceled.as_ref(),
        }
    }
}

/// A rendered notification. A later one of the same `id` takes its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// The task, or for a group `group:` and its name.
    pub id: String,
    /// The group.
    pub group: String,
    /// What it says.
    pub state: State,
    /// Rendered.
    pub title: String,
    /// Rendered.
    pub body: String,
    /// The finished file.
    pub file_path: Option<String>,
    /// It says something new, and not only how far the transfer is.
    pub is_news: bool,
    /// It says how far the transfer is, in other words than 2 seconds ago or longer: for who does not want to hear of each percent.
    pub is_due: bool,
}

/// Shows notifications; called on a thread of its own.
#[derive(Clone)]
pub struct Sink(pub Arc<dyn Fn(&Notification) + Send + Sync>);

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sink")
    }
}

/// What is shown, and by whom.
#[derive(Clone, Debug)]
pub struct Notifications {
    /// For tasks of groups without texts of their own.
    pub texts: Texts,
    /// By group; a task may name another one than its own ([`Task::notification`]).
    pub groups: BTreeMap<String, Texts>,
    /// Shows them.
    pub sink: Sink,
}

impl Notifications {
    fn texts(&self, group: &str) -> &Texts {
        self.groups.get(group).unwrap_or(&self.texts)
    }
}

/// What is known of a task whose notification is shown.
#[derive(Clone, Default)]
struct Shown {
    /// The group whose texts they are.
    texts: String,
    filename: String,
    display_name: String,
    meta_data: String,
    is_silent: bool,
    state: Option<State>,
    /// What was news or due last, and when.
    told: Option<(Instant, String)>,
}

/// The tasks of a group that is shown as one.
#[derive(Default)]
struct Counts {
    all: HashSet<String>,
    finished: HashSet<String>,
    failed: HashSet<String>,
    /// How many of each, when it was shown last.
    shown: Option<(usize, usize, usize)>,
}

/// Makes notifications of updates.
pub(crate) struct Notifier {
    notifications: Notifications,
    tasks: HashMap<String, Shown>,
    groups: HashMap<String, Counts>,
}

impl Notifier {
    pub(crate) fn new(notifications: Notifications) -> Self {
        Self { notifications, tasks: HashMap::new(), groups: HashMap::new() }
    }

    /// Where they are shown.
    pub(crate) fn sink(&self) -> Sink {
        self.notifications.sink.clone()
    }

    /// Whether any group is shown as one.
    pub(crate) fn counts_groups(&self) -> bool {
        self.notifications.texts.as_one || self.notifications.groups.values().any(|texts| texts.as_one)
    }

    /// A task that waits to be worked, of which no update has come: it counts in its group.
    pub(crate) fn expect(&mut self, id: String, group: String) {
        if self.notifications.texts(&group).as_one {
            self.groups.entry(group).or_default().all.insert(id);
        }
    }

    /// Counts in its group the task of an update that is enqueued: before the first of those that came with it is shown. `look_up`: the
    /// task of an id, asked once for each.
    pub(crate) fn foresee(&mut self, update: &Update, look_up: impl FnOnce(&str) -> Option<Arc<Task>>) {
        let Update::Status(StatusUpdate { task_id, status: Status::Enqueued, .. }) = update else { return };
        let Some(shown) = self.known(task_id, look_up) else { return };
        if !shown.is_silent {
            let group = shown.texts.clone();
            self.expect(task_id.clone(), group);
        }
    }

    /// What is known of a task.
    fn known(&mut self, id: &str, look_up: impl FnOnce(&str) -> Option<Arc<Task>>) -> Option<&Shown> {
        if !self.tasks.contains_key(id) {
            let task = look_up(id)?;
            let is_silent = matches!(task.task_type, TaskType::Data | TaskType::Request);
            let filename = task.filename.clone().filter(|name| name != "?").unwrap_or_else(|| last_segment(&task.url));
            let (display_name, meta_data) = (task.display_name.clone(), task.meta_data.clone());
            let texts = task.notification().unwrap_or(&task.group).to_owned();
            let shown = Shown { texts, filename, display_name, meta_data, is_silent, ..Shown::default() };
            self.tasks.insert(id.into(), shown);
        }
        self.tasks.get(id)
    }

    /// What an update shows. `look_up`: the task of an id, asked once for each.
    pub(crate) fn take(
        &mut self,
        update: &Update,
        now: Instant,
        look_up: impl FnOnce(&str) -> Option<Arc<Task>>,
    ) -> Option<Notification> {
        if self.known(update.task_id(), look_up)?.is_silent {
            return None;
        }
        match update {
            Update::Status(status) => self.status(status),
            Update::Progress(progress) => self.progress(progress, now),
        }
    }

    fn status(&mut self, update: &StatusUpdate) -> Option<Notification> {
        let state = State::of(update.status)?;
        let file_path = update.details.as_ref().and_then(|details| details.file_path.clone());
        let shown = self.tasks.get_mut(&update.task_id)?;
        let named = file_path.as_deref().and_then(|path| Path::new(path).file_name());
        if let Some(name) = named {
            shown.filename = name.to_string_lossy().into_owned();
        }
        let is_news = shown.state != Some(state);
        shown.state = Some(state);
        let shown = shown.clone();
        if update.status.is_final() {
            self.tasks.remove(&update.task_id);
        }
        if self.notifications.texts(&shown.texts).as_one {
            return self.group(&shown, &update.task_id, state);
        }
        let progress = if state == State::Complete { Some(1.0) } else { None };
        let mut made = self.render(&shown.texts, &update.task_id, state, &tokens(&shown, progress, None, None))?;
        (made.group, made.is_news, made.file_path) = (update.group.clone(), is_news, file_path);
        Some(made)
    }

    fn progress(&mut self, update: &ProgressUpdate, now: Instant) -> Option<Notification> {
        let shown = self.tasks.get(&update.task_id)?;
        let running = (0.0..1.0).contains(&update.progress) && shown.state == Some(State::Running);
        if !running || self.notifications.texts(&shown.texts).as_one {
            return None;
        }
        let tokens = tokens(shown, Some(update.progress), update.network_speed, update.time_remaining);
        let made = self.render(&shown.texts, &update.task_id, State::Running, &tokens)?;
        let text = [made.title.as_str(), &made.body].join("\n");
        let shown = self.tasks.get_mut(&update.task_id)?;
        let (at, told) = shown.told.get_or_insert_with(|| (now, String::new()));
        let is_due = *told != text && now.saturating_duration_since(*at) >= REFRESH_EVERY;
        if is_due {
            (*at, *told) = (now, text);
        }
        Some(Notification { group: update.group.clone(), is_due, ..made })
    }

    /// The notification of a whole group, when one of its tasks changes.
    fn group(&mut self, changed: &Shown, id: &str, state: State) -> Option<Notification> {
        let group = changed.texts.as_str();
        let counts = self.groups.entry(group.into()).or_default();
        counts.all.insert(id.into());
        match state {
            State::Running => drop((counts.finished.remove(id), counts.failed.remove(id))),
            State::Error => drop((counts.finished.insert(id.into()), counts.failed.insert(id.into()))),
            _ => drop(counts.finished.insert(id.into())),
        }
        let (all, finished, failed) = (counts.all.len(), counts.finished.len(), counts.failed.len());
        let is_news = counts.shown.replace((all, finished, failed)) != Some((all, finished, failed));
        let state = match (finished < all, failed) {
            (true, _) => State::Running,
            (false, 0) => State::Complete,
            (false, _) => State::Error,
        };
        if finished == all {
            self.groups.remove(group); // what comes later is a new round
        }
        let progress = finished as f64 / all as f64;
        let counted = [("numfinished", finished), ("numfailed", failed), ("numtotal", all)]
            .map(|(name, n)| (name, n.to_string()));
        let tokens = [tokens(changed, Some(progress), None, None).as_slice(), &counted].concat();
        let mut made = self.render(group, &format!("group:{group}"), state, &tokens)?;
        made.is_news = is_news;
        Some(made)
    }

    fn render(&self, group: &str, id: &str, state: State, tokens: &[(&str, String)]) -> Option<Notification> {
        let text = self.notifications.texts(group).text(state)?;
        let (title, body) = (fill(&text.title, tokens), fill(&text.body, tokens));
        let (id, group) = (id.into(), group.into());
        Some(Notification { id, group, state, title, body, file_path: None, is_news: false, is_due: false })
    }
}

fn last_segment(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned()
}

fn tokens<'a>(shown: &Shown, progress: Option<f64>, speed: Option<f64>, left: Option<f64>) -> [(&'a str, String); 6] {
    [
        ("filename", shown.filename.clone()),
        ("displayname", shown.display_name.clone()),
        ("metadata", shown.meta_data.clone()),
        ("progress", percent(progress)),
        ("networkspeed", speed_text(speed)),
        ("timeremaining", time_text(left)),
    ]
}

fn percent(progress: Option<f64>) -> String {
    progress.map_or_else(|| "--%".into(), |progress| format!("{:.0}%", progress * 100.0))
}

/// A.10: `-- MB/s`, `12 MB/s`, `340 kB/s`.
fn speed_text(speed: Option<f64>) -> String {
    match speed.filter(|speed| *speed > 0.0) {
        None => "-- MB/s".into(),
        Some(speed) if speed >= 1.0 => format!("{speed:.0} MB/s"),
        Some(speed) => format!("{:.0} kB/s", speed * 1000.0),
    }
}

/// A.10: `--:--`, `MM:SS`, `H:MM:SS`.
fn time_text(left: Option<f64>) -> String {
    let Some(seconds) = left.filter(|left| *left > 0.0).map(|left| left as u64) else { return "--:--".into() };
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours == 0 { format!("{minutes:02}:{seconds:02}") } else { format!("{hours}:{minutes:02}:{seconds:02}") }
}

/// Puts tokens in, once: what a token brings is not looked at again. Unknown ones stay.
fn fill(template: &str, tokens: &[(&str, String)]) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let found = after.split_once('}').and_then(|(name, after)| {
            let name = name.to_ascii_lowercase();
            tokens.iter().find(|(token, _)| *token == name).map(|(_, value)| (value, after))
        });
        match found {
            Some((value, after)) => {
                text.push_str(value);
                rest = after;
            }
            None => {
                text.push('{');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests;
