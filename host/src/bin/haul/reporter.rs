//! Tells what happens to tasks while a command works them: JSON lines, or lines for people and progress bars.

use std::collections::HashMap;

use haul::batch::BatchProgress;
use haul::event::ProgressUpdate;
use haul::task::json;
use haul::{Status, Update};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::exit::{self, Tally};
use crate::outcome::Outcome;
use crate::printer::{Printer, Style};
use crate::text;

/// Widest label beside a progress bar, in characters.
const LABEL_WIDTH: usize = 28;
/// What the longest text behind a bar takes, and the widest and the narrowest bar.
const TEXT_WIDTH: usize = 44;
const BAR_WIDTHS: (usize, usize) = (8, 24);

/// What goes to stdout when a task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Printed {
    /// Nothing.
    Nothing,
    /// The finished file's path.
    Path,
    /// The response's body; the file that it waits in is removed. Also to a terminal as it is, if that is asked for.
    Response { as_it_is: bool },
}

/// Tells, and counts.
pub(crate) struct Reporter {
    printer: Printer,
    printed: Printed,
    is_request: bool,
    /// URLs (masked) by task id, as far as they are known.
    labels: HashMap<String, String>,
    /// What the bar of the only task is called.
    bar_name: Option<String>,
    multi: Option<MultiProgress>,
    bars: HashMap<String, ProgressBar>,
    /// How wide the terminal was when they were drawn last.
    columns: usize,
    tally: Tally,
    /// Successes and failures told last, where they are told.
    batch: Option<(u64, u64)>,
    tells_batch: bool,
}

impl Reporter {
    /// `printed`: what goes to stdout at the end of each task.
    pub(crate) fn new(printer: &Printer, printed: Printed) -> Self {
        Self {
            printer: printer.clone(),
            printed,
            is_request: false,
            labels: HashMap::new(),
            bar_name: None,
            multi: printer.bars(),
            bars: HashMap::new(),
            columns: 0,
            tally: Tally::default(),
            batch: None,
            tells_batch: false,
        }
    }

    /// The same for uploads and requests, whose files are responses.
    pub(crate) fn of_requests(printer: &Printer, printed: Printed) -> Self {
        Self { is_request: true, ..Self::new(printer, printed) }
    }

    /// Tells how far all of them together have come, too.
    #[must_use]
    pub(crate) fn telling_batch(mut self, tells: bool) -> Self {
        self.tells_batch = tells;
        self
    }

    /// Tells how many have succeeded and failed, where that is wanted and has changed.
    pub(crate) fn batch(&mut self, batch: &BatchProgress) {
        let counts = (batch.succeeded, batch.failed);
        if !self.tells_batch || self.batch == Some(counts) {
            return;
        }
        self.batch = Some(counts);
        if self.printer.json() {
            self.printer.data(batch_json(batch));
        } else {
            let BatchProgress { succeeded, failed, total, .. } = batch;
            self.printer.note(format_args!("{succeeded} of {total} done, {failed} failed"));
        }
    }

    /// One line about several tasks when all have ended.
    pub(crate) fn summary(&self, batch: &BatchProgress) {
        if batch.total > 1 && !self.printer.json() {
            let BatchProgress { succeeded, failed, total, bytes_done, .. } = batch;
            let bytes = text::size(*bytes_done);
            self.printer.note(format_args!("{succeeded} of {total} done, {failed} failed, {bytes}"));
        }
    }

    /// Gives a task's URL, masked, to call it by.
    pub(crate) fn label(&mut self, id: &str, url: &str) {
        self.labels.insert(id.into(), text::printable(url).into_owned());
    }

    /// The bar of the only task is called by the name that its file was given.
    pub(crate) fn name_bar(&mut self, name: Option<String>) {
        self.bar_name = name.map(|name| text::printable(&name).into_owned());
    }

    /// Whether a label is wanted to tell of this status, and missing.
    pub(crate) fn wants_label(&self, id: &str, status: Status) -> bool {
        let told = match status {
            Status::NotFound | Status::Failed | Status::Canceled | Status::WaitingToRetry => true,
            Status::Running => self.multi.is_some(),
            _ => false,
        };
        told && !self.labels.contains_key(id)
    }

    /// What has been counted.
    pub(crate) fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    /// What prints.
    pub(crate) fn printer(&self) -> &Printer {
        &self.printer
    }

    /// Hands buffered lines over.
    pub(crate) fn flush(&self) {
        self.printer.flush();
    }

    /// An update as a JSON line, if that is wanted.
    pub(crate) fn print_json(&self, update: &Update) {
        if self.printer.json() {
            self.printer.data(json::write_update(update));
        }
    }

    /// An update that is in JSON already.
    pub(crate) fn print_value(&self, update: &serde_json::Value) {
        if self.printer.json() {
            self.printer.data(update);
        }
    }

    /// Moves a bar.
    pub(crate) fn progress(&mut self, update: &ProgressUpdate) {
        let Some(multi) = &self.multi else {
            return;
        };
        if update.progress < 0.0 || self.printer.is_behind() {
            return;
        }
        let columns = self.printer.columns();
        if columns != self.columns {
            self.columns = columns;
            self.bars.values().for_each(|bar| bar.set_style(bar_style(bar.length(), columns)));
        }
        let label = self.labels.get(&update.task_id).map_or(update.task_id.as_str(), String::as_str);
        let name = self.bar_name.as_deref().unwrap_or_else(|| name_in(label));
        let bar = self.bars.entry(update.task_id.clone()).or_insert_with(|| {
            let bar = ProgressBar::no_length().with_style(bar_style(None, columns));
            multi.add(bar.with_prefix(bar_label(name)))
        });
        bar.set_message(bar_text(update));
        if bar.length() != update.expected_file_size {
            bar.set_style(bar_style(update.expected_file_size, columns));
            match update.expected_file_size {
                Some(size) => bar.set_length(size),
                None => bar.unset_length(),
            }
        }
        bar.set_position(update.bytes_done);
    }

    /// Tells of a status that is not the end: only a wait before a retry is worth a line.
    pub(crate) fn status(&mut self, id: &str, outcome: &Outcome) {
        if outcome.status != Status::Running
            && let Some(bar) = self.bars.remove(id)
        {
            bar.finish_and_clear();
        }
        if outcome.status == Status::WaitingToRetry {
            let label = self.labels.get(id).map_or(id, String::as_str);
            let reason = reason(outcome);
            let wait = retrying(outcome.retry_in_ms);
            self.printer.note(format_args!("{wait}: {reason}: {label}"));
        }
    }

    /// Tells how a task ended, and counts it.
    pub(crate) fn end(&mut self, id: &str, outcome: &Outcome) {
        if let Some(bar) = self.bars.remove(id) {
            bar.finish_and_clear();
        }
        let label = self.labels.remove(id).unwrap_or_else(|| id.into());
        let code = exit::of_outcome(outcome);
        self.print_end(outcome);
        if code != exit::DONE {
            self.tally.fail(code);
            self.tell_failure(id, &label, outcome);
            return;
        }
        let noted = |note: &str| outcome.notes.iter().any(|noted| noted == note);
        if noted("insecure-tls") {
            self.printer.note("note: the server's certificate was not checked");
        }
        if matches!(self.printed, Printed::Response { .. }) {
            return;
        }
        let Some(path) = &outcome.path else {
            self.printer.note(format_args!("done: {label}"));
            return;
        };
        if noted("kept-existing") {
            let verb = self.printer.err("kept", Style::Green);
            self.printer.note(format_args!("{verb} {}: it exists already", text::printable(path)));
        } else {
            let verb = self.printer.err("saved", Style::Green);
            // Of an upload or a request, the size is that of what was sent.
            let size = outcome.size.filter(|_| !self.is_request);
            let size = size.map_or(String::new(), |size| format!(" ({})", text::size(size)));
            self.printer.note(format_args!("{verb} {}{size}", text::printable(path)));
        }
    }

    /// What goes to stdout at the end of a task.
    fn print_end(&self, outcome: &Outcome) {
        match (self.printed, &outcome.path) {
            _ if self.printer.json() => {}
            (Printed::Path, Some(path)) if exit::of_outcome(outcome) == exit::DONE => self.printer.data(path),
            (Printed::Response { as_it_is }, Some(path)) => {
                let (printer, kept) = (self.printer.clone(), path.clone());
                let ended = move |copied: std::io::Result<bool>| {
                    match copied {
                        Ok(was_escaped) => tell_escaped(was_escaped, &printer),
                        Err(error) => printer.error(format_args!("cannot read the response in {kept}: {error}")),
                    }
                    let _ = std::fs::remove_file(&kept); // it was printed: nothing depends on it
                };
                match std::fs::File::open(path) {
                    Ok(file) => self.printer.copy(file, as_it_is, ended),
                    Err(error) => ended(Err(error)),
                }
            }
            (Printed::Response { as_it_is }, None) => {
                let body = outcome.body.as_deref().unwrap_or_default();
                tell_escaped(self.printer.foreign(body, as_it_is), &self.printer);
            }
            _ => {}
        }
    }

    fn tell_failure(&self, id: &str, label: &str, outcome: &Outcome) {
        let reason = reason(outcome);
        match outcome.status {
            Status::Paused => {
                let how = if outcome.reason.is_empty() { "paused" } else { outcome.reason.as_str() };
                self.printer.error(format_args!("{label}: {how}; `haul resume {id}` goes on with it"));
            }
            Status::Canceled if outcome.reason.is_empty() => self.printer.error(format_args!("{label}: canceled")),
            Status::Canceled => {
                let why = reason.strip_prefix("the task was cancelled").map(|why| why.trim_start_matches(": "));
                let why = why.unwrap_or(&reason);
                let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                self.printer.error(format_args!("{label}: canceled{why}"));
            }
            _ => self.printer.error(format_args!("{label}: {reason}")),
        }
    }
}

/// Says that something was not printed as it is.
fn tell_escaped(was_escaped: bool, printer: &Printer) {
    if was_escaped {
        printer.note(
            "note: control or invisible characters in the response were escaped; `-o -` prints it as it is, `-o FILE` stores it",
        );
    }
}

fn batch_json(batch: &BatchProgress) -> serde_json::Value {
    serde_json::json!({
        "type": "batch",
        "succeeded": batch.succeeded,
        "failed": batch.failed,
        "total": batch.total,
        "bytesDone": batch.bytes_done,
        "bytesTotal": batch.bytes_total,
    })
}

fn reason(outcome: &Outcome) -> String {
    match (&outcome.reason, outcome.http_status) {
        (reason, _) if !reason.is_empty() => text::printable(reason).into_owned(),
        (_, Some(status)) => {
            let is_made_up = outcome.notes.iter().any(|note| note == "answered-by-component");
            format!("{} answered {status}", if is_made_up { "a component" } else { "the server" })
        }
        _ if outcome.status == Status::NotFound => "not found".into(),
        _ => "no reason is known".into(),
    }
}

fn retrying(in_ms: Option<u64>) -> String {
    match in_ms {
        None => "retrying later".into(),
        Some(0) => "retrying at once".into(),
        Some(ms) => format!("retrying in {}", text::wait(ms)),
    }
}

/// The name in a URL.
fn name_in(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let name = path.trim_end_matches('/').rsplit('/').next();
    name.filter(|name| !name.is_empty()).unwrap_or(url)
}

fn bar_label(name: &str) -> String {
    if name.chars().count() <= LABEL_WIDTH {
        return name.into();
    }
    let cut: String = name.chars().take(LABEL_WIDTH - 1).collect();
    format!("{cut}…")
}

fn bar_text(update: &ProgressUpdate) -> String {
    let mut text = text::size(update.bytes_done);
    if let Some(size) = update.expected_file_size {
        text = format!("{text} of {}", text::size(size));
    }
    if let Some(speed) = update.network_speed.filter(|speed| *speed > 0.0) {
        text = format!("{text}  {speed:.1} MB/s");
    }
    if let Some(seconds) = update.time_remaining.filter(|seconds| *seconds >= 0.0) {
        let left = text::wait((seconds * 1000.0) as u64);
        text = format!("{text}  {left} left");
    }
    text
}

/// Label, bar and text in one line of so many characters. Where they do not fit, the bar goes first, then the end of the text.
fn bar_template(size: Option<u64>, columns: usize) -> String {
    let label = (columns / 4).clamp(1, LABEL_WIDTH);
    let (narrowest, widest) = BAR_WIDTHS;
    let bar = columns.saturating_sub(label + TEXT_WIDTH + " [] ".len()).min(widest);
    match size {
        Some(_) if bar >= narrowest => format!("{{prefix:{label}!}} [{{bar:{bar}}}] {{wide_msg}}"),
        Some(_) => format!("{{prefix:{label}!}} {{wide_msg}}"),
        None => format!("{{prefix:{label}!}} {{spinner}} {{wide_msg}}"),
    }
}

fn bar_style(size: Option<u64>, columns: usize) -> ProgressStyle {
    let style =
        ProgressStyle::with_template(&bar_template(size, columns)).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

#[cfg(test)]
mod tests;
