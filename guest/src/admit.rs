//! Is a task valid, and what exactly does it say?
//!
//! The rules are background_downloader's (its sections A.2 to A.9) where it has the field, and stricter where its tasks
//! fail later, leave their directory, or forge requests. All problems are told at once. A valid task comes back in normal
//! form, which is what is stored: nothing in it is left to be guessed.
//!
//! It looks at the task alone: whether an id is new, a base directory granted, a file there, or a host to be reached,
//! only the host knows. It fills in no ids and no times. Sentences name headers and numbers, never values that may be
//! secret.

mod address;
mod body;
mod headers;
mod misfit;
mod place;

use crate::bindings::exports::haul::transfer::admit::{Context, Problem};
use crate::bindings::haul::transfer::types::{Task, TaskKind, Updates};
use crate::http;
use alloc::{format, string::String, vec::Vec};
use core::ops::RangeInclusive;

#[cfg(test)]
mod tests;

/// Bytes of an id or a group, at most.
const NAME_BYTES_MAX: usize = 255;

/// Bytes of text in a task, at most, what it sends aside. Tasks are read for each decision.
const TASK_BYTES_MAX: usize = 64 * 1024;

/// Most connections per place of a parallel download.
const CHUNKS_MAX: u32 = 256;

/// Most redirects followed.
const REDIRECTS_MAX: u32 = 50;

/// A problem's field and reason, as they are collected.
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: &str, reason: impl Into<String>) {
        self.0.push(Problem { field: field.into(), reason: reason.into() });
    }

    fn add_if(&mut self, wrong: bool, field: &str, reason: &str) {
        if wrong {
            self.add(field, reason);
        }
    }
}

/// Answers one result per task, in order.
pub(crate) fn decide(tasks: Vec<Task>, _context: &Context) -> Vec<Result<Task, Vec<Problem>>> {
    tasks.into_iter().map(admit).collect()
}

fn admit(mut task: Task) -> Result<Task, Vec<Problem>> {
    let mut problems = Problems(Vec::new());
    misfit::check(&task, &mut problems);
    check_size(&task, &mut problems);
    check_identity(&task, &mut problems);
    check_attempts(&task, &mut problems);
    check_limits(&task, &mut problems);
    check_times(&task, &mut problems);
    check_lists(&task, &mut problems);
    check_checksum(&mut task, &mut problems);
    address::admit(&mut task, &mut problems);
    headers::admit(&mut task, &mut problems);
    body::admit(&mut task, &mut problems);
    place::admit(&mut task, &mut problems);
    check_updates(&task, &mut problems);
    if problems.0.is_empty() { Ok(task) } else { Err(problems.0) }
}

/// Whether the task is a request whose answer is kept with it, not in a file.
fn is_data(task: &Task) -> bool {
    matches!(task.kind, TaskKind::Data | TaskKind::Request)
}

/// Whether the task sends files.
fn is_upload(task: &Task) -> bool {
    matches!(task.kind, TaskKind::Upload | TaskKind::MultiUpload)
}

/// A word of the task as it stands in a sentence: short, and harmless on a terminal.
fn quoted(text: &str) -> String {
    let shown = text.chars().take(40).map(|character| if character.is_control() { '?' } else { character });
    let shown: String = shown.collect();
    format!("`{shown}`")
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// The text of a task is bounded; the largest field is told to be too large. What is sent in a body has a limit of its own.
fn check_size(task: &Task, problems: &mut Problems) {
    let pairs =
        |pairs: &[(String, String)]| -> usize { pairs.iter().map(|(name, value)| name.len() + value.len()).sum() };
    let texts = |texts: &[String]| -> usize { texts.iter().map(String::len).sum() };
    let files = task.files.iter();
    let files = files.map(|file| file.field.len() + file.filename.len() + file.mime_type.len()).sum();
    let auth = task.auth.as_ref().map_or(0, |auth| {
        let plain = [&auth.access_token, &auth.refresh_token, &auth.refresh_url];
        let plain: usize = plain.into_iter().flatten().map(String::len).sum();
        plain
            + pairs(&auth.access_headers)
            + pairs(&auth.access_query)
            + pairs(&auth.refresh_headers)
            + pairs(&auth.refresh_query)
            + pairs(&auth.extra)
    });
    let sizes = [
        ("url", task.url.len()),
        ("urlQueryParameters", pairs(&task.query)),
        ("mirrors", texts(&task.mirrors)),
        ("headers", pairs(&task.headers)),
        ("filename", task.filename.as_ref().map_or(0, String::len)),
        ("directory", task.directory.len()),
        ("metaData", task.meta_data.len()),
        ("displayName", task.display_name.len()),
        ("fields", if http::resumable(task).is_some() { pairs(&task.fields) } else { 0 }), // they go into a header
        ("files", files),
        ("callbacks", texts(&task.callbacks)),
        ("options", auth),
        ("extra", pairs(&task.extra)),
    ];
    let total: usize = sizes.iter().map(|(_, size)| size).sum();
    if total > TASK_BYTES_MAX
        && let Some((field, size)) = sizes.into_iter().max_by_key(|(_, size)| *size)
    {
        problems.add(
            field,
            format!("has {size} bytes, but the text of a task must be at most {TASK_BYTES_MAX} bytes in all"),
        );
    }
}

/// A.3: who the task is.
fn check_identity(task: &Task, problems: &mut Problems) {
    for (field, text) in [("taskId", &task.id), ("group", &task.group)] {
        problems.add_if(text.trim().is_empty(), field, "must not be empty or blank");
        problems.add_if(has_control(text), field, "must not contain control characters");
        if text.len() > NAME_BYTES_MAX {
            problems.add(field, format!("must be at most {NAME_BYTES_MAX} bytes long, not {}", text.len()));
        }
    }
    problems.add_if(task.group == "chunk", "group", "must not be `chunk`, which is reserved");
    if let TaskKind::Other(name) = &task.kind {
        problems.add(
            "taskType",
            format!(
                "must be DownloadTask, UploadTask, MultiUploadTask, DataTask, ParallelDownloadTask or Request, not {}",
                quoted(name)
            ),
        );
    }
}

/// A.2, A.3: how often and how soon.
fn check_attempts(task: &Task, problems: &mut Problems) {
    check_number(problems, "priority", task.priority, 0..=10);
    if check_number(problems, "retries", task.retries, 0..=10) {
        // Absent in most tasks, and then the same number: told once is enough.
        check_number(problems, "retriesRemaining", task.retries_remaining, 0..=task.retries);
    }
}

fn check_number(problems: &mut Problems, field: &str, number: i32, allowed: RangeInclusive<i32>) -> bool {
    let valid = allowed.contains(&number);
    if !valid {
        let (least, most) = (allowed.start(), allowed.end());
        problems.add(field, format!("must be {least} to {most}, not {number}"));
    }
    valid
}

/// Numbers that limit a transfer.
fn check_limits(task: &Task, problems: &mut Problems) {
    if !(1..=CHUNKS_MAX).contains(&task.chunks) {
        problems.add("chunks", format!("must be 1 to {CHUNKS_MAX}, not {}", task.chunks));
    }
    if task.max_redirects > REDIRECTS_MAX {
        problems.add("maxRedirects", format!("must be 0 to {REDIRECTS_MAX}, not {}", task.max_redirects));
    }
    let no_speed = task.limit_bytes_per_second == Some(0);
    problems.add_if(no_speed, "limitRate", "must be at least 1 byte per second, or absent for no limit");
    for range in &task.accept_status {
        let (first, last) = (range.first, range.last);
        if first < 100 || last > 599 || first > last {
            problems.add(
                "acceptStatus",
                format!("must hold codes from 100 to 599, the lower end of a range first, not {first}-{last}"),
            );
        }
    }
}

fn check_times(task: &Task, problems: &mut Problems) {
    let order = task.not_before_at_ms.zip(task.not_after_at_ms);
    let wrong = order.is_some_and(|(not_before, not_after)| not_after <= not_before);
    problems.add_if(wrong, "notAfter", "must be later than notBefore");
}

fn check_lists(task: &Task, problems: &mut Problems) {
    let nameless = task.callbacks.iter().any(String::is_empty);
    problems.add_if(nameless, "callbacks", "must not hold an empty name");
    if let Some(scope) = task.scope.as_deref() {
        let is_no_name = |name: &str| ["", ".", ".."].contains(&name) || has_control(name);
        problems.add_if(scope.is_empty(), "scope", "must not be empty; leave it out for no scope");
        problems.add_if(
            !scope.is_empty() && scope.split('/').any(is_no_name),
            "scope",
            "must be names set apart by `/`, none of them empty, `.` or `..`, and without control characters",
        );
    }
}

/// `algorithm=hex`, in lower case afterwards.
fn check_checksum(task: &mut Task, problems: &mut Problems) {
    let Some(text) = task.checksum.as_deref() else {
        return;
    };
    let (algorithm, digits) = text.split_once('=').unwrap_or((text, ""));
    let (algorithm, length) = match algorithm.to_ascii_lowercase().as_str() {
        "sha-256" | "sha256" => ("sha-256", 64),
        "sha-512" | "sha512" => ("sha-512", 128),
        "sha-1" | "sha1" => ("sha-1", 40),
        "md5" => ("md5", 32),
        _ => {
            let reason = format!("must be `algorithm=hex` with sha-256, sha-512, sha-1 or md5, not `{algorithm}`");
            return problems.add("checksum", reason);
        }
    };
    if digits.len() != length || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let reason = format!("must have {length} hexadecimal digits after `{algorithm}=`");
        return problems.add("checksum", reason);
    }
    let digits = digits.to_ascii_lowercase();
    task.checksum = Some(format!("{algorithm}={digits}"));
}

/// A.9: a request has no progress to tell.
fn check_updates(task: &Task, problems: &mut Problems) {
    let wants_progress = matches!(task.updates, Updates::Progress | Updates::StatusAndProgress);
    problems.add_if(
        is_data(task) && wants_progress,
        "updates",
        "must be `status` or `none` for a request, which has no progress to tell",
    );
}
