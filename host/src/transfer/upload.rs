//! What an upload or a request sends: the file as the body, or a form, or the task's own text, and the headers that go with
//! it (background_downloader B.10).
//!
//! It opens files through the sandbox and sends nothing.

use std::path::Path;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::{Failure, FailureKind};
use crate::sandbox::{Sandbox, SourceFile};
use crate::spool::Growth;
use crate::task::{BOUNDARY, Body, FilePart, Pairs, SOURCES, Task, TaskType};
use crate::transfer::Context;
use crate::transfer::growing::{self, Growing};
use crate::transfer::multipart::{self, FileHead};
use crate::transfer::request_body::Segment;

/// What stays as it is in a Content-Disposition, as in JavaScript's and Dart's encoding of URI components.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// Writes down what is to be the same in every attempt: a form's boundary, and the state of the files that there are.
pub(crate) fn remember(sandbox: &Sandbox, task: &mut Task, place: Option<&Path>) {
    if task.body == Body::Multipart && !task.extra.iter().any(|(name, _)| name == BOUNDARY) {
        task.extra.push((BOUNDARY.into(), new_boundary(crate::clock::new_uuid())));
    }
    if task.is_upload() {
        let open = |part: &FilePart| sandbox.source(&task.base_directory, place, &task.directory, &part.filename);
        let on_disk = parts_of(task).into_iter().filter(|part| part.content.is_none());
        let files: Result<Vec<SourceFile>, Failure> = on_disk.map(|part| open(&part)).collect();
        task.extra.retain(|(name, _)| name != SOURCES);
        // What is still being read is another one at each look.
        let is_growing = |file: &SourceFile| Growth::of(Path::new(file.path())).is_some();
        if let Some(files) = files.ok().filter(|files| !files.iter().any(is_growing)) {
            task.extra.push((SOURCES.into(), marks(files.iter())));
        }
    }
}

/// Says of an upload what its file's name says (A.6: the media type of an UploadTask).
pub(crate) fn complete(task: &mut Task) {
    if task.task_type == TaskType::Upload {
        task.mime_type = mime_type(&task.mime_type, &task.sent_name());
    }
}

/// Whether the files are others than when the task was added.
pub(super) fn is_changed(task: &Task, segments: &[Segment]) -> bool {
    let files = segments.iter().filter_map(Segment::file);
    // Of a file that was read while it was sent nothing was written down.
    let known = task.extra.iter().find(|(name, _)| name == SOURCES);
    known.is_some_and(|(_, known)| *known != marks(files))
}

fn marks<'a>(files: impl Iterator<Item = &'a SourceFile>) -> String {
    files.map(SourceFile::mark).collect::<Vec<_>>().join(" ")
}

/// The files of an upload.
fn parts_of(task: &Task) -> Vec<FilePart> {
    match task.task_type {
        TaskType::MultiUpload => task.files.clone(),
        _ => vec![FilePart {
            field: task.file_field.clone(),
            filename: task.filename.clone().unwrap_or_default(),
            mime_type: task.mime_type.clone(),
            ..FilePart::default()
        }],
    }
}

/// The paths below its base directory that a task names: of what it sends, and of what it writes or of the directory for that.
pub(crate) fn paths_of(task: &Task) -> Vec<String> {
    let below =
        |name: &str| if task.directory.is_empty() { name.to_owned() } else { format!("{}/{name}", task.directory) };
    let on_disk = |part: FilePart| part.content.is_none().then(|| below(&part.filename));
    let mut paths: Vec<String> = match task.task_type {
        TaskType::Upload | TaskType::MultiUpload => parts_of(task).into_iter().filter_map(on_disk).collect(),
        TaskType::Data | TaskType::Request => Vec::new(),
        TaskType::Download | TaskType::ParallelDownload => vec![task.directory.clone()],
    };
    paths.extend(task.response_file.clone());
    paths
}

/// The body of the task's request; the headers become those that go with it.
pub(super) fn pack(cx: &Context<'_>, headers: &mut Pairs) -> Result<Vec<Segment>, Failure> {
    match &cx.task.body {
        Body::None => Ok(Vec::new()),
        Body::Bytes(bytes) => Ok(vec![Segment::Text(bytes.clone().into())]),
        Body::File => binary(cx, headers),
        Body::Multipart => form(cx, headers),
    }
}

/// What a binary upload sends of its file.
#[derive(Clone)]
pub(super) struct Stretch {
    pub(super) file: Arc<SourceFile>,
    /// First byte.
    from: u64,
    /// Number of bytes, at least 1 but for uploads that go on.
    pub(super) length: u64,
}

impl Stretch {
    /// So many bytes of it, from this one of its own on.
    pub(super) fn part(&self, offset: u64, length: u64) -> Segment {
        Segment::File { file: Arc::clone(&self.file), from: self.from + offset, length }
    }
}

/// The file, or the range of it that the task's `Range` says, as the body.
fn binary(cx: &Context<'_>, headers: &mut Pairs) -> Result<Vec<Segment>, Failure> {
    match open(cx, cx.task.filename.as_deref().unwrap_or_default(), false)? {
        Opened::Whole(file) => {
            let stretch = stretch(cx, headers, file)?;
            Ok(vec![stretch.part(0, stretch.length)])
        }
        Opened::Growing(growing) if has(headers, "range") => Err(no_length(growing.file(), "a range of it")),
        Opened::Growing(growing) => {
            describe(cx, headers);
            Ok(vec![Segment::Growing(growing)])
        }
    }
}

/// Opens the file of a binary upload whose length must be known; the headers become those that go with it.
pub(super) fn opened(cx: &Context<'_>, headers: &mut Pairs) -> Result<Stretch, Failure> {
    match open(cx, cx.task.filename.as_deref().unwrap_or_default(), true)? {
        Opened::Whole(file) => stretch(cx, headers, file),
        Opened::Growing(growing) => Err(no_length(growing.file(), "a resumable upload")),
    }
}

fn no_length(file: &SourceFile, what: &str) -> Failure {
    let text = format!("`{}` is still being read, and {what} begins with its length", file.path());
    Failure::new(FailureKind::FileSystem, text)
}

fn stretch(cx: &Context<'_>, headers: &mut Pairs, file: SourceFile) -> Result<Stretch, Failure> {
    if file.len() == 0 && cx.task.resumable().is_none() {
        return Err(growing::empty(&file));
    }
    let (from, length) = range(headers, &file)?;
    describe(cx, headers);
    Ok(Stretch { file: Arc::new(file), from, length })
}

/// The headers become those that go with a binary upload.
fn describe(cx: &Context<'_>, headers: &mut Pairs) {
    let name = &cx.task.sent_name();
    headers.retain(|(name, _)| !name.eq_ignore_ascii_case("range"));
    if !has(headers, "content-type") && !cx.task.leaves_out("content-type") {
        headers.push(("Content-Type".into(), mime_type(&cx.task.mime_type, name)));
    }
    if has(headers, "content-disposition") {
        headers.retain(|(name, value)| !(name.eq_ignore_ascii_case("content-disposition") && value.is_empty()));
    } else if !cx.task.leaves_out("content-disposition") {
        let name = utf8_percent_encode(name, PLAIN);
        headers.push(("Content-Disposition".into(), format!("attachment; filename=\"{name}\"")));
    }
}

/// First byte and number of bytes that a task's `Range: bytes=a-b` or `bytes=a-` means; without one all of them (B.6).
fn range(headers: &Pairs, file: &SourceFile) -> Result<(u64, u64), Failure> {
    let Some((_, range)) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("range")) else {
        return Ok((0, file.len()));
    };
    let ends = range.split_once('=').and_then(|(_, ends)| ends.trim().split_once('-'));
    let from = ends.and_then(|(from, _)| from.parse::<u64>().ok());
    let last = match ends {
        Some((_, "")) => Some(file.len().saturating_sub(1)),
        Some((_, last)) => last.parse::<u64>().ok(),
        None => None,
    };
    match from.zip(last) {
        Some((from, last)) if from <= last && last < file.len() => Ok((from, last - from + 1)),
        _ => {
            let text = format!("the range `{range}` is not within the {} bytes of `{}`", file.len(), file.path());
            Err(Failure::new(FailureKind::FileSystem, text))
        }
    }
}

/// A form of the task's fields and files.
fn form(cx: &Context<'_>, headers: &mut Pairs) -> Result<Vec<Segment>, Failure> {
    let task = cx.task;
    let parts = sent_parts(task);
    let boundary = boundary_of(task);
    headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
    headers.push(("Content-Type".into(), format!("multipart/form-data; boundary={boundary}")));
    let heads: Vec<FileHead> = parts.iter().map(|(part, name)| head_of(part, name)).collect();
    let mut texts = multipart::texts(&boundary, &task.fields, &heads).into_iter();
    let mut segments = Vec::with_capacity(2 * parts.len() + 1);
    for (part, _) in &parts {
        segments.extend(texts.next().map(|text| Segment::Text(text.into())));
        segments.push(match &part.content {
            Some(content) => Segment::Text(content.clone().into()),
            None => match open(cx, &part.filename, true)? {
                Opened::Whole(file) => {
                    let length = file.len();
                    Segment::File { file: Arc::new(file), from: 0, length }
                }
                Opened::Growing(growing) => Segment::Growing(growing),
            },
        });
    }
    segments.extend(texts.next().map(|text| Segment::Text(text.into())));
    let mut growing = segments.iter().filter(|segment| matches!(segment, Segment::Growing(_)));
    match growing.nth(1).and_then(Segment::file) {
        Some(file) => Err(no_length(file, "a form with another such file")),
        None => Ok(segments),
    }
}

/// The parts of a form behind its fields, each with the name that it is sent under where that is another one. A field among the
/// files has as many parts as it has values, like those before them.
fn sent_parts(task: &Task) -> Vec<(FilePart, String)> {
    let mut names = task.sent_names().into_iter();
    let mut sent = Vec::new();
    for part in parts_of(task) {
        let name = names.next().unwrap_or_default();
        let says_nothing = part.filename.is_empty() && part.mime_type.is_empty() && part.headers.is_empty();
        let text = part.content.as_deref().filter(|_| says_nothing).and_then(|text| std::str::from_utf8(text).ok());
        match text.map(multipart::values) {
            Some(values) => sent.extend(values.into_iter().map(|value| {
                let content = Some(value.as_bytes().to_vec());
                (FilePart { field: part.field.clone(), content, ..FilePart::default() }, String::new())
            })),
            None => sent.push((part, name)),
        }
    }
    sent
}

fn head_of(part: &FilePart, sent_name: &str) -> FileHead {
    let field = part.field.clone();
    match &part.content {
        Some(content) if part.filename.is_empty() => {
            let lines = match part.mime_type.as_str() {
                "" => multipart::field_lines(content, &part.headers),
                given => multipart::lines(given, &part.headers),
            };
            FileHead { field, name: None, lines }
        }
        content => {
            let last = part.filename.rsplit('/').next().unwrap_or_default();
            let own = if content.is_some() { part.filename.as_str() } else { last };
            let name = if sent_name.is_empty() { own } else { sent_name };
            let lines = multipart::lines(&mime_type(&part.mime_type, name), &part.headers);
            FileHead { field, name: Some(name.to_owned()), lines }
        }
    }
}

/// Bytes of parts that are kept with their task, at most in all.
const CONTENT_MAX: usize = 1024 * 1024;

/// What is wrong with the parts of a task's form, as far as the contract does not show them.
pub(crate) fn wrong_parts(task: &Task) -> Option<String> {
    let bytes: usize = task.files.iter().map(|part| part.content.as_ref().map_or(0, Vec::len)).sum();
    if bytes > CONTENT_MAX {
        return Some(format!("must hold at most {CONTENT_MAX} bytes of content in all, not {bytes}"));
    }
    task.files.iter().enumerate().find_map(|(index, part)| {
        multipart::wrong_header(&part.headers).map(|why| format!("must have good headers; number {} {why}", index + 1))
    })
}

/// What is wrong with the names that files are sent under.
pub(crate) fn wrong_names(task: &Task) -> Option<String> {
    let names = task.sent_names();
    let files = if task.is_upload() { parts_of(task).len() } else { 0 };
    if names.len() > files {
        return Some(format!("must hold one name for each file at most, not {} for {files}", names.len()));
    }
    let is_path = |name: &&String| name.len() > 255 || name.contains(['/', '\\', '\0']);
    names.iter().find(is_path).map(|_| "must hold names of at most 255 bytes, without `/` and `\\`".into())
}

/// The boundary that was drawn when the task was added.
fn boundary_of(task: &Task) -> String {
    let given = task.extra.iter().find(|(name, _)| name == BOUNDARY).map(|(_, value)| value.clone());
    given.filter(|text| multipart::is_boundary(text)).unwrap_or_else(|| new_boundary(crate::clock::new_uuid()))
}

/// A boundary that no file has by chance. The id's random bits are hashed: its time is nobody's business.
pub(crate) fn new_boundary(id: uuid::Uuid) -> String {
    let hash = blake3::derive_key("haul 2026 multipart boundary", id.as_bytes());
    let hex: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("haul-{hex}")
}

/// The media type given, else by the name's extension.
fn mime_type(given: &str, name: &str) -> String {
    match given {
        "" => mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream").to_owned(),
        given => given.to_owned(),
    }
}

/// A file to send.
enum Opened {
    Whole(SourceFile),
    /// More of it may come.
    Growing(Box<Growing>),
}

/// `may_be_empty`: where it is not whole yet, and turns out to have no bytes, it is sent nevertheless.
fn open(cx: &Context<'_>, path: &str, may_be_empty: bool) -> Result<Opened, Failure> {
    let task = cx.task;
    let open = || cx.shared.sandbox.source(&task.base_directory, cx.record.place.as_deref(), &task.directory, path);
    let growing = match Growing::of(open()?, may_be_empty) {
        Ok(growing) => growing,
        Err(file) => return Ok(Opened::Whole(file)),
    };
    match growing.length()? {
        None => Ok(Opened::Growing(Box::new(growing))),
        // The end may have come since it was opened.
        Some(length) => {
            let file = open()?;
            if file.len() == length { Ok(Opened::Whole(file)) } else { Err(growing.cut("its length is another one")) }
        }
    }
}

fn has(headers: &Pairs, name: &str) -> bool {
    headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
}
