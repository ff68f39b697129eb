//! What other programs keep, as tasks of ours: background_downloader's JSON and stores, the cordova plug-in's payloads,
//! aria2's input file, lists of URLs.
//!
//! [`read`] reads a whole input and answers everything in it, with where it stands, what is wrong with it and what has no
//! meaning here. It adds nothing and judges no values: who imports has the engine check all tasks before the first is added.

mod aria2;
mod documents;
mod stores;

/// As people say it.
fn how_it_ended(status: Status) -> &'static str {
    match status {
        Status::NotFound => "was not found",
        Status::Canceled => "was cancelled",
        _ => "had failed",
    }
}

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::mask;
use crate::store::Addition;
use crate::task::{Problem, Status, Task};

/// Longest input in bytes that is no directory and no database.
pub const INPUT_BYTES_MAX: u64 = 256 << 20;
const TOO_LONG: &str = "is longer than 256 MiB; divide it";

/// Digits of an id that is made of what is downloaded.
const ID_DIGITS: usize = 32;

/// What kind of input there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// JSON of background_downloader (tasks, records, updates, resume data) or haul: an object, an array, or objects one
    /// after another.
    Tasks,
    /// The folder of background_downloader's LocalStore, or one of its collections.
    LocalStore,
    /// background_downloader's SQLite file.
    Sqlite,
    /// Payloads of `startUpload` of cordova-plugin-background-upload, as JSON.
    Cordova,
    /// One URL a line; `#` begins a comment.
    Urls,
    /// aria2's input file or saved session.
    Aria2,
}

impl Kind {
    /// All of them, with the names that `--from` takes.
    pub const NAMES: [(&'static str, Kind); 6] = [
        ("tasks", Kind::Tasks),
        ("local-store", Kind::LocalStore),
        ("sqlite", Kind::Sqlite),
        ("cordova", Kind::Cordova),
        ("urls", Kind::Urls),
        ("aria2", Kind::Aria2),
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("tasks", |(name, _)| name)
    }

    /// The kind of a file by its first bytes and lines.
    fn of(content: &[u8]) -> Self {
        if content.starts_with(b"SQLite format 3\0") {
            return Kind::Sqlite;
        }
        let text = String::from_utf8_lossy(content);
        let text = text.trim_start_matches('\u{feff}');
        if text.trim_start().starts_with(['{', '[']) {
            return documents::kind(text);
        }
        let lines = || text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let has_options = lines().skip(1).any(|line| line.starts_with([' ', '\t']) && aria2::option(line).is_some());
        let has_mirrors = lines().any(|line| line.trim().contains('\t'));
        if has_options || has_mirrors { Kind::Aria2 } else { Kind::Urls }
    }
}

/// What the importer says beside the input.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What it is; `None`: found out.
    pub kind: Option<Kind>,
    /// A directory granted in person: lists and relative directories are below it, and absolute paths that lie in it need
    /// no grant of `root`. `None`: the base directory `downloads`, and `root` for absolute paths.
    pub place: Option<PathBuf>,
    /// Tasks that had failed, or were not found or canceled, are to be tried again.
    pub ended: bool,
    /// What a time like `+1h` counts from, in milliseconds since 1970.
    pub now_ms: u64,
}

/// Something in the input.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where it stands: `file:line`, `file: task 3`, or the name of a document.
    pub origin: String,
    /// The task as far as it could be read.
    pub addition: Addition,
    /// Why it is not to be added, if it is not: it was complete, say.
    pub skipped: Option<String>,
    /// Why it cannot be added.
    pub problems: Vec<Problem>,
    /// What of it means nothing here and is left out. No values: they may be secrets.
    pub notes: Vec<String>,
}

impl Entry {
    fn new(origin: String, task: Task) -> Self {
        let addition = Addition { task, place: None, paused: false };
        Self { origin, addition, skipped: None, problems: Vec::new(), notes: Vec::new() }
    }

    /// Something of which nothing could be read.
    fn unreadable(origin: String, reason: String) -> Self {
        let mut entry = Self::new(origin, Task::default());
        entry.problem("task", reason);
        entry
    }

    fn problem(&mut self, field: &str, reason: impl Into<String>) {
        self.problems.push(Problem { field: field.into(), reason: reason.into() });
    }

    fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// What the status that it had in the other program means here.
    fn had(&mut self, status: Status, options: &Options) {
        match status {
            Status::Enqueued | Status::Running | Status::WaitingToRetry => {}
            Status::Paused => self.addition.paused = true,
            Status::Complete => self.skipped = Some("it is complete".into()),
            ended if options.ended => self.note(format!("it {}, and is tried again", how_it_ended(ended))),
            ended => self.skipped = Some(format!("it {}", how_it_ended(ended))),
        }
    }

    /// Puts an absolute path (a task below `root`) below the granted directory where it lies in that.
    fn grant(&mut self, options: &Options) {
        let task = &mut self.addition.task;
        let Some(place) = options.place.as_deref().filter(|_| task.base_directory == "root") else { return };
        let below = |path: &str| {
            let path = Path::new("/").join(path.trim_start_matches('/'));
            path.strip_prefix(place).ok().and_then(Path::to_str).map(String::from)
        };
        if task.directory.is_empty() && !task.files.is_empty() {
            let files: Option<Vec<String>> = task.files.iter().map(|file| below(&file.filename)).collect();
            let Some(files) = files else { return };
            task.files.iter_mut().zip(files).for_each(|(file, name)| file.filename = name);
        } else {
            let Some(directory) = below(&task.directory) else { return };
            task.directory = directory;
        }
        task.base_directory = Task::default().base_directory;
        self.addition.place = Some(place.to_path_buf());
    }
}

/// A whole input.
#[derive(Clone, Debug)]
pub struct Import {
    /// What it was taken for.
    pub kind: Kind,
    /// What is in it, in its order.
    pub entries: Vec<Entry>,
}

impl Import {
    /// Gives the downloads of a list (URLs, aria2's) that have no id one that they have whenever the list is read: it is made
    /// of what is downloaded and where to, and of how often that was `seen` before.
    ///
    /// A URL with secrets is left without, since an id is no secret.
    pub fn identify(&mut self, seen: &mut HashMap<String, u32>) {
        if !matches!(self.kind, Kind::Urls | Kind::Aria2) {
            return;
        }
        for addition in self.entries.iter_mut().map(|entry| &mut entry.addition) {
            let task = &mut addition.task;
            if !task.task_id.is_empty() || mask::url(&task.url) != task.url {
                continue;
            }
            let place = addition.place.as_ref().map(|place| place.to_string_lossy());
            let file = (&task.url, place, &task.base_directory, &task.directory, &task.filename);
            let file = format!("{file:?}");
            let times = seen.entry(file.clone()).or_default();
            *times += 1;
            let hash = blake3::hash(format!("{file} {times}").as_bytes());
            task.task_id = hash.to_hex()[..ID_DIGITS].to_owned();
        }
    }
}

/// Reads a file or a folder; `content`: what stdin gave, in the place of the file.
///
/// Errors: [`Error::FileSystem`] when it cannot be read, [`Error::Usage`] when it is not of the kind that was asked for, or
/// longer than 256 MiB. What is wrong with single tasks is told in their entries.
pub fn read(path: &Path, content: Option<Vec<u8>>, options: &Options) -> Result<Import> {
    let name = path.display().to_string();
    if content.is_none() && path.is_dir() {
        return match options.kind.unwrap_or(Kind::LocalStore) {
            Kind::LocalStore => Ok(Import { kind: Kind::LocalStore, entries: stores::local_store(path, options)? }),
            kind => Err(Error::Usage(format!("`{name}` is a directory; {} is a file", kind.name()))),
        };
    }
    let content = match content {
        Some(content) if content.len() as u64 > INPUT_BYTES_MAX => {
            return Err(Error::Usage(format!("`{name}` {TOO_LONG}")));
        }
        Some(content) => content,
        None => bounded(path).map_err(|error| Error::FileSystem(format!("cannot read `{name}`: {error}")))?,
    };
    let kind = options.kind.unwrap_or_else(|| Kind::of(&content));
    let text = || {
        let text = std::str::from_utf8(&content);
        let text =
            text.map_err(|_| Error::Usage(format!("`{name}` is neither text in UTF-8 nor an SQLite database")))?;
        Ok::<_, Error>(text.trim_start_matches('\u{feff}'))
    };
    let entries = match kind {
        Kind::Sqlite => stores::sqlite(path, options)?,
        Kind::LocalStore => return Err(Error::Usage(format!("`{name}` is no directory; local-store is one"))),
        Kind::Tasks | Kind::Cordova => documents::read(text()?, &name, kind, options),
        Kind::Urls => aria2::urls(text()?, &name, options),
        Kind::Aria2 => aria2::read(text()?, &name, options),
    };
    Ok(Import { kind, entries })
}

/// A database is opened by its name: of it, only the beginning is read.
fn bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut file = std::fs::File::open(path)?;
    let mut content = Vec::new();
    file.by_ref().take(16).read_to_end(&mut content)?;
    if Kind::of(&content) == Kind::Sqlite {
        return Ok(content);
    }
    file.take(INPUT_BYTES_MAX).read_to_end(&mut content)?;
    if content.len() as u64 > INPUT_BYTES_MAX {
        return Err(std::io::Error::other(format!("it {TOO_LONG}")));
    }
    Ok(content)
}

/// A directory of the other program: relative ones are below the base directory, absolute ones below `root`.
fn set_directory(task: &mut Task, directory: &str) {
    match directory.strip_prefix('/') {
        Some(below) => {
            task.base_directory = "root".into();
            task.directory = below.trim_end_matches('/').into();
        }
        None => task.directory = directory.trim_start_matches("./").trim_end_matches('/').into(),
    }
}
