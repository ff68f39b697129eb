//! How much of what was compiled is kept: the files used last, within limits on their number, size and age. Looked at where one
//! is added, never at a start. What is taken away may be mapped by a running process: that one keeps it until it lets go.
//!
//! What was used within a day has more room: a process that has many components attached must not lose those that it is about
//! to load to the ones that it has just compiled.
//!
//! When a file was last used is told by the time of what is known of it, for the file itself must stay as it is (`known.rs`).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Components that carry an interpreter take 40 MiB each.
const BYTES_MAX: u64 = 512 << 20;
const BYTES_MAX_OF_A_DAY: u64 = 4 * BYTES_MAX;
const FILES_MAX: usize = 128;
const DAY_S: u64 = 24 * 60 * 60;
const AGE_S_MAX: u64 = 60 * 24 * 60 * 60;
/// Facts are 32 to 112 bytes.
const FACTS_MAX: usize = 4096;
/// Nobody writes a file for so long: who has begun it is gone.
const UNFINISHED_S_MAX: u64 = 60 * 60;

pub(super) const EXTENSION: &str = "cwasm";

/// A file that may go.
struct Kept {
    path: PathBuf,
    bytes: u64,
    used_s: u64,
}

/// How many compiled components a cache has, and their bytes.
pub(in crate::hooks) fn usage(directory: &Path) -> (usize, u64) {
    let files = files(directory).into_iter().filter(|file| is_code(&file.path));
    files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.bytes))
}

/// Removes what exceeds the limits, the longest unused first. `used`: when a file of code was last used, where that is known.
pub(super) fn code(directory: &Path, now_s: u64, used: impl Fn(&Path) -> Option<u64>) {
    let (mut code, others): (Vec<_>, Vec<_>) = files(directory).into_iter().partition(|file| is_code(&file.path));
    for file in &mut code {
        file.used_s = used(&file.path).map_or(file.used_s, |used| used.max(file.used_s));
    }
    remove_oldest(code, now_s, |file, count, bytes| match file.used_s + DAY_S > now_s {
        true => bytes > BYTES_MAX_OF_A_DAY,
        false => count > FILES_MAX || bytes > BYTES_MAX,
    });
    let unfinished = |file: &&Kept| file.used_s + UNFINISHED_S_MAX < now_s;
    others.iter().filter(unfinished).for_each(remove);
}

/// The same for what is known of files.
pub(super) fn facts(directory: &Path, now_s: u64) {
    remove_oldest(files(directory), now_s, |_, count, _| count > FACTS_MAX);
}

/// `exceeds`: whether a file does, being the last of so many that were used as lately, with so many bytes in all.
fn remove_oldest(mut files: Vec<Kept>, now_s: u64, exceeds: impl Fn(&Kept, usize, u64) -> bool) {
    files.sort_by_key(|file| std::cmp::Reverse(file.used_s));
    let (mut count, mut bytes) = (0, 0);
    for file in &files {
        count += 1;
        bytes += file.bytes;
        let one_of_many = count > 1 && exceeds(file, count, bytes);
        if one_of_many || file.used_s + AGE_S_MAX < now_s {
            remove(file);
        }
    }
}

fn remove(file: &Kept) {
    match fs::remove_file(&file.path) {
        Ok(()) => tracing::debug!("removed {} from the compiled components", file.path.display()),
        Err(error) => tracing::debug!("cannot remove {}: {error}", file.path.display()),
    }
}

/// Regular files of a directory, with the times of their last change.
fn files(directory: &Path) -> Vec<Kept> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.filter_map(|entry| {
        let data = entry.metadata().ok().filter(fs::Metadata::is_file)?; // of a link itself
        Some(Kept { path: entry.path(), bytes: data.len(), used_s: u64::try_from(data.mtime()).unwrap_or(0) })
    });
    files.collect()
}

fn is_code(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}
