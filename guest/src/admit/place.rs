//! Where files go and come from: filename, directory, base directory.
//!
//! Everything is relative to a base directory and stays below it (reliability C.3). The sandbox checks that again when it
//! opens a file: this is only where people are told early.

use super::{Problems, has_control, is_data, is_upload};
use crate::bindings::haul::transfer::types::{OnConflict, Task, TaskKind};
use crate::http;
use alloc::{format, string::String, vec::Vec};

/// Bytes of one path segment, at most: what Linux file systems take.
const SEGMENT_BYTES_MAX: usize = 255;

/// Bytes of a path, at most.
const PATH_BYTES_MAX: usize = 4096;

/// Checks and normalises the place of the task's file.
pub(super) fn admit(task: &mut Task, problems: &mut Problems) {
    admit_filename(task, problems);
    match normal_directory(&task.directory, names_of(task)) {
        Ok(directory) => task.directory = directory,
        Err(reason) => problems.add("directory", reason),
    }
    // Which names are granted only the host knows; it finds no path by them that it has not granted.
    if has_control(&task.base_directory) {
        problems.add("baseDirectory", "must not contain control characters");
    } else if task.base_directory.is_empty() && !is_data(task) {
        problems.add("baseDirectory", "must not be empty");
    }
    match task.response_file.as_deref() {
        Some(_) if !is_data(task) && !is_upload(task) => {
            problems.add("responseFile", "must be absent in a download, whose file has the response");
        }
        Some(path) => {
            if let Err(reason) = check_file_path(path, Names::Ours) {
                problems
                    .add("responseFile", format!("must be the path of a file below the base directory; it {reason}"));
            }
            let is_sent = is_upload(task) && sources(task).any(|source| is_same(&source, path));
            problems.add_if(
                is_sent,
                "responseFile",
                "must not be a file that is sent: the response would take its place",
            );
            let skips = matches!(task.on_conflict, Some(OnConflict::Skip));
            problems.add_if(skips, "onConflict", "must be `replace`, `unique` or `fail` for a `responseFile`");
        }
        None => {}
    }
    if task.on_conflict.is_none() {
        let given = task.filename.is_some() || task.response_file.is_some();
        task.on_conflict = Some(if given { OnConflict::Replace } else { OnConflict::Unique });
    }
}

/// The paths of the files that an upload sends, below its base directory.
fn sources(task: &Task) -> impl Iterator<Item = String> {
    let on_disk = task.files.iter().enumerate().filter(|(index, _)| !http::is_in_task(task, *index));
    let names = task.filename.iter().chain(on_disk.map(|(_, file)| &file.filename));
    names.map(|name| format!("{}/{name}", task.directory))
}

/// Whether two paths below the same base directory name the same file.
fn is_same(one: &str, other: &str) -> bool {
    let normal = |path| normal_directory(path, Names::Given).ok();
    normal(one).is_some_and(|path| Some(path) == normal(other))
}

/// A.3, A.4, A.6: one path segment, or `?` for the server's suggestion.
fn admit_filename(task: &mut Task, problems: &mut Problems) {
    let many = matches!(task.kind, TaskKind::MultiUpload); // Its files have names of their own (A.7).
    if many || task.filename.as_deref() == Some("?") {
        task.filename = None;
    }
    match task.filename.as_deref() {
        None if matches!(task.kind, TaskKind::Upload) => problems.add("filename", "must name the file to send"),
        None => {}
        Some(name) => {
            if let Err(reason) = check_segment(name, names_of(task)) {
                problems.add("filename", reason);
            }
        }
    }
}

/// Whose names a path has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Those of files that are written: nobody is helped by line breaks in them.
    Ours,
    /// Those of files that are sent: they are called what they are called, and escaped where that matters (B.10).
    Given,
}

fn names_of(task: &Task) -> Names {
    if is_upload(task) { Names::Given } else { Names::Ours }
}

/// A.3: exactly one leading slash or backslash is stripped; a further one makes the path absolute. Both separate
/// segments, as in background_downloader's tasks from Windows. One at the end is dropped, and so are segments `.`.
fn normal_directory(directory: &str, names: Names) -> Result<String, String> {
    let path = directory.strip_prefix(['/', '\\']).unwrap_or(directory);
    if path.starts_with(['/', '\\']) {
        return Err("must be relative to the base directory".into());
    }
    let path = path.strip_suffix(['/', '\\']).unwrap_or(path);
    if path.is_empty() {
        return Ok(String::new());
    }
    let mut segments = Vec::new();
    for segment in path.split(['/', '\\']).filter(|segment| *segment != ".") {
        match segment {
            "" => return Err("must not contain empty segments".into()),
            ".." => return Err("must not contain `..`, which leads out of it".into()),
            _ => check_segment(segment, names)?,
        }
        segments.push(segment);
    }
    let normal = segments.join("/");
    if normal.len() > PATH_BYTES_MAX {
        return Err(format!("must be at most {PATH_BYTES_MAX} bytes long, not {}", normal.len()));
    }
    Ok(normal)
}

/// Checks the path of a file below the base directory.
pub(super) fn check_file_path(path: &str, names: Names) -> Result<(), String> {
    if path.is_empty() {
        return Err("is empty".into());
    }
    if path.starts_with(['/', '\\']) {
        return Err("is absolute".into());
    }
    match normal_directory(path, names) {
        Ok(normal) if !normal.is_empty() && !path.ends_with(['/', '\\']) => Ok(()),
        Ok(_) => Err("names no file".into()),
        Err(reason) => Err(reason),
    }
}

fn check_segment(segment: &str, names: Names) -> Result<(), String> {
    if segment.is_empty() {
        return Err("must not be empty; leave it out for the server's suggestion".into());
    }
    if segment.contains(['/', '\\']) {
        return Err("must not contain `/` or `\\`; use directory".into());
    }
    if segment == "." || segment == ".." {
        return Err("must not be `.` or `..`".into());
    }
    if segment.contains('\0') || (has_control(segment) && names == Names::Ours) {
        return Err("must not contain control characters".into());
    }
    if segment.len() > SEGMENT_BYTES_MAX {
        return Err(format!("must be at most {SEGMENT_BYTES_MAX} bytes long, not {}", segment.len()));
    }
    Ok(())
}
