//! background_downloader's stores (A.18): the LocalStore folder, one JSON document a file, and the SQLite file. Each has
//! records, paused tasks and resume data; a task that stands in several of them is one task.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Entry, Options, documents};
use crate::error::{Error, Result};
use crate::store::foreign;

/// What a document says of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Record,
    Paused,
    Resume,
}

/// Collections of LocalStore and tables of the SQLite file; the records first.
const PARTS: [(Part, &str, &str); 3] = [
    (Part::Record, "backgroundDownloaderTaskRecords", "taskRecords"),
    (Part::Paused, "backgroundDownloaderPausedTasks", "pausedTasksTable"),
    (Part::Resume, "backgroundDownloaderResumeData", "resumeDataTable"),
];

/// Reads the folder that holds the collections, or one of them.
pub(super) fn local_store(folder: &Path, options: &Options) -> Result<Vec<Entry>> {
    let mut found = Merged::default();
    let mut any = false;
    for (part, collection, _) in PARTS {
        let directory = match folder.file_name().is_some_and(|name| name == collection) {
            true => folder.to_path_buf(),
            false => folder.join(collection),
        };
        if !directory.is_dir() {
            continue;
        }
        any = true;
        for file in files(&directory)? {
            let origin = file.display().to_string();
            let text = crate::regular::read_text(&file)
                .map_err(|error| Error::FileSystem(format!("cannot read `{origin}`: {error}")))?;
            found.take(part, origin, &text, options);
        }
    }
    if !any {
        let names = PARTS.map(|(_, collection, _)| collection).join("`, `");
        return Err(Error::Usage(format!(
            "`{}` is no LocalStore folder: none of `{names}` is in it",
            folder.display()
        )));
    }
    Ok(found.entries)
}

/// Documents of a collection, sorted by name.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error: std::io::Error| Error::FileSystem(format!("cannot list `{}`: {error}", directory.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads the SQLite file; it is not changed.
pub(super) fn sqlite(path: &Path, options: &Options) -> Result<Vec<Entry>> {
    let mut found = Merged::default();
    let tables = foreign::json_columns(path, &PARTS.map(|(_, _, table)| table), "taskId", "objectJsonMap")?;
    if tables.is_empty() {
        let names = PARTS.map(|(_, _, table)| table).join("`, `");
        let text = format!("`{}` is no database of background_downloader: it has none of `{names}`", path.display());
        return Err(Error::Usage(text));
    }
    for (table, rows) in tables {
        let Some((part, ..)) = PARTS.into_iter().find(|(_, _, known)| *known == table) else { continue };
        for (id, text) in rows {
            found.take(part, format!("{}: {table} `{id}`", path.display()), &text, options);
        }
    }
    Ok(found.entries)
}

/// Documents put together by the ids of their tasks.
#[derive(Default)]
struct Merged {
    entries: Vec<Entry>,
    known: HashMap<String, usize>,
}

impl Merged {
    fn take(&mut self, part: Part, origin: String, text: &str, options: &Options) {
        let value: Value = match serde_json::from_str(text) {
            Ok(value @ Value::Object(_)) => value,
            Ok(_) => return self.entries.push(Entry::unreadable(origin, "must be an object".into())),
            Err(error) => return self.entries.push(Entry::unreadable(origin, format!("is not JSON: {error}"))),
        };
        let mut entry = documents::task(&value, origin, options);
        let id = entry.addition.task.task_id.clone();
        match self.known.get(&id).and_then(|at| self.entries.get_mut(*at)) {
            Some(known) if !id.is_empty() => {
                // A record that was left behind by a paused task says something else.
                known.addition.paused |= part == Part::Paused && known.skipped.is_none();
                known.notes.append(&mut entry.notes);
                known.notes.dedup();
            }
            _ => {
                entry.addition.paused |= part == Part::Paused;
                self.known.insert(id, self.entries.len());
                self.entries.push(entry);
            }
        }
    }
}
