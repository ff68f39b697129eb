//! `haul ls`, `haul show` and `haul finished`: tasks as a table, as lines, or as JSON records; whether any is left.

use haul::{Filter, Request, Result, Session, Status, Work};
use serde_json::{Value, json};

use crate::args::{Finished, Ls, Show};
use crate::environment::Environment;
use crate::exit;
use crate::link::{Link, ask};
use crate::printer::{Printer, Style};
use crate::text;

/// What `show` prints, in this order; what a record holds beside is for `--json`.
const SHOWN: [&str; 38] = [
    "taskId",
    "taskType",
    "url",
    "status",
    "pausedBy",
    "progress",
    "waiting",
    "exception",
    "responseBody",
    "filePath",
    "bytesDone",
    "resume",
    "expectedFileSize",
    "responseStatusCode",
    "hops",
    "notes",
    "attempt",
    "retries",
    "retriesRemaining",
    "group",
    "priority",
    "filename",
    "directory",
    "baseDirectory",
    "headers",
    "options",
    "mirrors",
    "chunks",
    "timeouts",
    "acceptStatus",
    "checksum",
    "callbacks",
    "onConflict",
    "notBefore",
    "scope",
    "limitRate",
    "metaData",
    "creationTime",
];

/// Of a response that says why there is no file; `--json` has all of it.
const BODY_CHARS: usize = 300;

/// Runs `ls`; answers the exit code.
pub(crate) async fn ls(ls: &Ls, environment: &Environment, printer: &Printer) -> Result<u8> {
    let mut link = Link::new(environment.settings(), Work::Nothing);
    let listed = list(&mut link, ls, printer).await;
    link.close().await;
    listed.map(|()| exit::DONE)
}

async fn list(link: &mut Link, ls: &Ls, printer: &Printer) -> Result<()> {
    let mut after = 0;
    let mut is_first = true;
    loop {
        let request = Request::List { filter: filter(ls), after };
        let (records, more) = link.call(request).await?.records()?;
        if is_first && !printer.json() && !ls.only_ids && !records.is_empty() {
            let heading = columns("ID", "STATUS", "DONE", "SIZE", "NAME");
            printer.data(printer.out_style(&heading, Style::Bold));
        }
        is_first = false;
        for record in &records {
            if ls.only_ids {
                let id = record["taskId"].as_str().unwrap_or_default();
                printer.data(if printer.json() {
                    json!({ "taskId": id }).to_string()
                } else {
                    text::printable(id).into_owned()
                });
            } else if printer.json() {
                printer.data(record);
            } else {
                printer.data(row(record, printer));
            }
        }
        printer.written().await;
        match more {
            Some(next) if !printer.is_closed() => after = next,
            _ => return Ok(()),
        }
    }
}

/// Which tasks were asked for.
fn filter(ls: &Ls) -> Filter {
    let mut statuses = ls.statuses.clone();
    if ls.failed {
        statuses.extend(Filter::FAILED);
    }
    if ls.unfinished {
        statuses.extend(Filter::UNFINISHED);
    }
    Filter { statuses, group: ls.group.clone(), scope: ls.scope.clone(), ids: ls.ids.clone() }
}

/// Runs `finished`; answers the exit code.
pub(crate) async fn finished(typed: &Finished, environment: &Environment, printer: &Printer) -> Result<u8> {
    let session = Session::open(environment.settings(), Work::Nothing).await?;
    let finished = session.tasks_finished(typed.group.as_deref(), typed.ignore.as_deref()).await;
    session.close().await;
    let finished = finished?;
    if printer.json() {
        printer.data(json!({ "finished": finished }));
    }
    Ok(if finished { exit::DONE } else { exit::OTHER })
}

fn row(record: &Value, printer: &Printer) -> String {
    let status = record["status"].as_str().unwrap_or("");
    let progress = record["progress"].as_f64().filter(|progress| (0.0..=1.0).contains(progress));
    let progress = progress.map_or("-".into(), |progress| format!("{:.0}%", (progress * 100.0).floor()));
    let size = record["expectedFileSize"].as_u64().map(text::size);
    let line = columns(
        record["taskId"].as_str().unwrap_or(""),
        status,
        &progress,
        size.as_deref().unwrap_or("-"),
        &text::printable(name(record)),
    );
    match style(status) {
        Some(style) => line.replacen(status, &printer.out_style(status, style), 1),
        None => line,
    }
}

fn columns(id: &str, status: &str, progress: &str, size: &str, name: &str) -> String {
    format!("{:<36}  {status:<14}  {progress:>4}  {size:>9}  {name}", text::printable(id))
}

fn style(status: &str) -> Option<Style> {
    match Status::from_name(status)? {
        Status::Complete => Some(Style::Green),
        Status::NotFound | Status::Failed => Some(Style::Red),
        Status::Running => Some(Style::Cyan),
        Status::WaitingToRetry | Status::Paused => Some(Style::Yellow),
        Status::Enqueued | Status::Canceled => None,
    }
}

/// The file's name as far as it is known, else the URL. What an upload or a request stores is its response.
fn name(record: &Value) -> &str {
    let is_download = record["taskType"].as_str().is_none_or(|name| name.ends_with("DownloadTask"));
    let path = record["filePath"].as_str().filter(|_| is_download);
    let path = path.and_then(|path| path.rsplit('/').next());
    let given = record["filename"].as_str().filter(|name| *name != "?");
    let url = record["url"].as_str().unwrap_or("");
    path.or(given).filter(|name| !name.is_empty()).unwrap_or(url)
}

/// Runs `show`; answers the exit code.
pub(crate) async fn show(show: &Show, environment: &Environment, printer: &Printer) -> Result<u8> {
    let request = Request::Show { id: show.id.clone() };
    let record = ask(environment.settings(), request).await?.record()?;
    if printer.json() {
        printer.data(record);
        return Ok(exit::DONE);
    }
    for field in SHOWN {
        if let Some(text) = field_text(field, &record[field]) {
            let name = printer.out_style(&format!("{field:<20}"), Style::Dim);
            printer.data(format_args!("{name}{}", text::printable(&text)));
        }
    }
    Ok(exit::DONE)
}

/// A field in words; `None` when there is nothing to say.
fn field_text(field: &str, value: &Value) -> Option<String> {
    match (field, value) {
        (_, Value::Null) => None,
        ("waiting", waiting) => Some(waiting_text(waiting)),
        ("exception", exception) => Some(exception_text(exception)),
        ("responseBody", body) => {
            let body = body.as_str()?.trim();
            let shown: String = body.chars().take(BODY_CHARS).collect();
            let more = if shown.len() < body.len() { " ..." } else { "" };
            Some(format!("{shown}{more}")).filter(|text| !text.is_empty())
        }
        ("progress", value) => {
            let progress = value.as_f64().filter(|progress| *progress >= 0.0)?;
            Some(format!("{:.1}%", progress * 100.0))
        }
        ("resume", resume) => resume["verdict"].as_str().map(|verdict| {
            let conditions = resume["conditions"].as_object().into_iter().flatten();
            let fails: Vec<&str> =
                conditions.filter(|(_, holds)| **holds == false).map(|(name, _)| name.as_str()).collect();
            match fails.as_slice() {
                [] => verdict.to_owned(),
                fails => format!("{verdict}; does not hold: {}", fails.join(", ")),
            }
        }),
        ("bytesDone" | "expectedFileSize", value) => {
            let bytes = value.as_u64()?;
            Some(format!("{} ({})", text::number(bytes), text::size(bytes)))
        }
        ("limitRate", value) => value.as_u64().map(|rate| format!("{} a second", text::size(rate))),
        // Its secrets are masked, and which it has is for `--json`.
        ("options", options) => options["auth"].is_object().then(|| "auth".to_owned()),
        ("creationTime", value) => value.as_u64().map(haul::task::json::time),
        (_, Value::String(text)) => Some(text.clone()).filter(|text| !text.is_empty()),
        (_, Value::Array(list)) => {
            let parts: Vec<String> = list.iter().filter_map(|v| field_text("", v)).collect();
            Some(parts.join(", ")).filter(|text| !text.is_empty())
        }
        (_, Value::Object(map)) => {
            let pair = |(key, value): (&String, &Value)| field_text("", value).map(|value| format!("{key}: {value}"));
            let parts: Vec<String> = map.iter().filter_map(pair).collect();
            Some(parts.join(", ")).filter(|text| !text.is_empty())
        }
        (_, value) => Some(value.to_string()),
    }
}

fn waiting_text(waiting: &Value) -> String {
    let part = |name: &str| waiting[name].as_str().unwrap_or("");
    let mut text = part("reason").to_owned();
    if !part("detail").is_empty() {
        text = format!("{text}: {}", part("detail"));
    }
    if !part("until").is_empty() {
        text = format!("{text} (until {})", part("until"));
    }
    text
}

fn exception_text(exception: &Value) -> String {
    let part = |name: &str| exception[name].as_str().unwrap_or("");
    format!("{}: {}", part("type"), part("description"))
}

#[cfg(test)]
mod tests;
