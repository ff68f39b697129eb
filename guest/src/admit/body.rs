//! What a task sends: bodies, form fields, files, media types.
//!
//! Whether the files are there and can be read is seen when they are sent, not here.

use super::{Problems, is_data, is_upload, place, quoted};
use crate::bindings::haul::transfer::types::{Body, Task, TaskKind};
use crate::http;
use alloc::format;

/// Bytes of a body, or of the fields of a form, that are kept with their task, at most.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What a text is when nothing else is said (A.9).
const TEXT: &str = "text/plain; charset=utf-8";

/// Checks what is sent, and fills in how it is sent.
pub(super) fn admit(task: &mut Task, problems: &mut Problems) {
    check_form(task, problems);
    check_resumable(task, problems);
    check_pause(task, problems);
    check_body(task, problems);
    check_types(task, problems);
}

/// Which body goes with which kind (A.5 to A.7). Uploads send a form unless they say otherwise.
fn check_body(task: &mut Task, problems: &mut Problems) {
    if let Body::Bytes(bytes) = &task.body
        && bytes.len() > BODY_BYTES_MAX
    {
        problems.add("post", format!("must be at most {BODY_BYTES_MAX} bytes long, not {}", bytes.len()));
    }
    let reason = match (&task.kind, &task.body) {
        (_, Body::Other(_)) => return,
        (TaskKind::Upload | TaskKind::MultiUpload, Body::None) => {
            task.body = Body::Multipart;
            return;
        }
        (TaskKind::Upload, Body::Multipart | Body::File) | (TaskKind::MultiUpload, Body::Multipart) => return,
        (TaskKind::Upload, Body::Bytes(_)) => "must be `binary`, or absent for a form, in an upload",
        (TaskKind::MultiUpload, _) => "must be absent in an upload of several files",
        (TaskKind::ParallelDownload, Body::None) => return,
        (TaskKind::ParallelDownload, _) => "must be absent in a parallel download",
        (_, Body::None | Body::Bytes(_)) => return,
        (_, Body::File | Body::Multipart) => "must be text or absent in a task that is no upload",
    };
    problems.add("post", reason);
}

/// A.6, A.7: fields and files of a form.
fn check_form(task: &mut Task, problems: &mut Problems) {
    if task.file_field.is_empty() {
        task.file_field = "file".into();
    }
    let nameless = task.fields.iter().any(|(name, _)| name.is_empty());
    problems.add_if(nameless, "fields", "must not hold an empty name");
    // A line break is sent as `%0D%0A`, as browsers do (background_downloader B.10); of the others they say nothing.
    let is_sent = |character: char| !character.is_control() || matches!(character, '\r' | '\n' | '\t');
    let unsendable = |name: &str| !name.chars().all(is_sent);
    let wrong = task.fields.iter().any(|(name, _)| unsendable(name));
    problems.add_if(wrong, "fields", "must not hold names with control characters");
    problems.add_if(unsendable(&task.file_field), "fileField", "must not contain control characters");
    let size: usize = task.fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > BODY_BYTES_MAX {
        problems.add("fields", format!("must be at most {BODY_BYTES_MAX} bytes long in all, not {size}"));
    }
    let wrong = matches!(task.body, Body::File) && !task.fields.is_empty() && http::resumable(task) != Some("tus");
    problems.add_if(wrong, "fields", "must be empty in a binary upload");

    if !matches!(task.kind, TaskKind::MultiUpload) {
        return;
    }
    problems.add_if(task.files.is_empty(), "files", "must name at least one file");
    for (index, file) in task.files.iter().enumerate() {
        let number = index + 1;
        if http::is_in_task(task, index) {
            let wrong = unsendable(&file.filename);
            problems.add_if(wrong, "files", "must have names without control characters but line breaks and tabs");
        } else if let Err(reason) = place::check_file_path(&file.filename, place::Names::Given) {
            problems.add("files", format!("must hold paths below the task's directory; number {number} {reason}"));
        }
        if file.field.is_empty() {
            problems.add("files", format!("must name a form field for each file; number {number} has none"));
        } else if unsendable(&file.field) {
            let reason = "must name form fields without control characters";
            problems.add("files", format!("{reason}; that of number {number} has some"));
        }
        if !http::is_field_value(&file.mime_type) {
            problems.add("files", format!("must hold valid media types; that of number {number} is none"));
        }
    }
}

/// tus begins every upload by POST, and its metadata has names without spaces and commas, each once (tus 1.0.0,
/// Upload-Metadata).
fn check_resumable(task: &Task, problems: &mut Problems) {
    let Some(protocol) = http::resumable(task) else { return };
    if !matches!(protocol, "tus" | "ietf" | "ietf-6" | "ietf-5" | "ietf-4" | "ietf-3") {
        let reason = format!("must be `tus` or `ietf`, or `ietf-6` to `ietf-3`, not {}", quoted(protocol));
        problems.add("resumable", reason);
    }
    let is_binary = matches!((&task.kind, &task.body), (TaskKind::Upload, Body::File));
    problems.add_if(!is_binary, "resumable", "must be absent in a task that is no binary upload of one file");
    if protocol != "tus" {
        return;
    }
    let other = !task.method.is_empty() && !task.method.eq_ignore_ascii_case("POST");
    problems.add_if(other, "httpRequestMethod", "must be POST, or absent, in an upload by tus");
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    let is_twin = |index: usize, name: &str| task.fields.iter().take(index).any(|(known, _)| known == name);
    let wrong = task.fields.iter().enumerate().any(|(index, (name, _))| !is_name(name) || is_twin(index, name));
    problems.add_if(wrong, "fields", "must have ASCII names without spaces and commas, each once, in an upload by tus");
}

/// A.3: what has a body cannot be paused; uploads and requests never are, but for uploads that can go on.
fn check_pause(task: &mut Task, problems: &mut Problems) {
    if http::resumable(task).is_some() {
        return;
    }
    if is_upload(task) || is_data(task) {
        task.allow_pause = false;
    }
    let wrong = task.allow_pause && !matches!(task.body, Body::None);
    problems.add_if(wrong, "allowPause", "must be false in a task with a body");
}

/// A.9: a header wins over `contentType`, and a text without either is plain.
fn check_types(task: &mut Task, problems: &mut Problems) {
    problems.add_if(!http::is_field_value(&task.mime_type), "mimeType", "must be a media type");
    let text = task.content_type.as_deref().unwrap_or_default();
    problems.add_if(!http::is_field_value(text), "contentType", "must be a media type");
    if text.is_empty() {
        task.content_type = None;
    }
    if http::has(&task.headers, "content-type") {
        task.content_type = None;
    } else if task.content_type.is_none() && sends_text(task) {
        task.content_type = Some(TEXT.into());
    }
}

/// `post: ""` is a POST without data, but in a DataTask it is a text all the same (A.9).
fn sends_text(task: &Task) -> bool {
    match &task.body {
        Body::Bytes(bytes) => is_data(task) || !bytes.is_empty(),
        _ => false,
    }
}
