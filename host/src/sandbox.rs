//! The sandbox: base directories, part files, publishing. The only module that opens files of transfers.
//!
//! A destination is a granted base directory and a relative path below it; cap-std keeps every step inside. It decides no
//! names and knows no tasks: names come from the `filename` hook, order of steps from the engine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Failure;

/// The base directories that are granted, by name.
#[derive(Debug)]
pub struct Sandbox {}

impl Sandbox {
    /// `bases`: name to absolute path, from the configuration.
    pub fn new(_bases: BTreeMap<String, PathBuf>) -> Self {
        todo!()
    }
    /// Opens the directory of a task, creating what is missing (each new directory's parent is synced when `durable`).
    /// `place`, when given, is the base directory that the owner granted in person; else `base` is looked up. Directories
    /// are cached: the second call for the same one costs a map lookup.
    pub fn directory(
        &self,
        _base: &str,
        _place: Option<&Path>,
        _below: &str,
    ) -> Result<Directory, Failure> {
        todo!()
    }
}

/// An open directory below a base directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Directory {
    inner: Arc<()>,
}

/// Outcome of [`Directory::publish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The file has its name.
    Done,
    /// The name is taken and may not be overwritten.
    Taken,
    /// There is no part file of that identity; the final name's inode tells whether it was published before.
    Missing,
}

impl Directory {
    /// Absolute path, for people and for file paths in updates.
    pub fn path(&self) -> &Path {
        todo!()
    }
    /// Whether something (file, directory, dangling link) has that name.
    pub fn exists(&self, _name: &str) -> bool {
        todo!()
    }
    /// Names that exist and may collide with `name` and its numbered variants (same beginning), at most 10,000.
    pub fn names_like(&self, _name: &str) -> Vec<String> {
        todo!()
    }
    /// Identity of the regular file of that name, following no link.
    pub fn identity(&self, _name: &str) -> Option<Identity> {
        todo!()
    }
    /// Creates a part file: O_EXCL, mode 0600, not following links; room for `expected` bytes is reserved (fallocate,
    /// KEEP_SIZE) when known and at least 64 KiB, after a check of free space. A left-over of that name is removed first.
    pub fn create_part(&self, _name: &str, _expected: Option<u64>) -> Result<PartFile, Failure> {
        todo!()
    }
    /// Opens a part file to go on with; `None` when it is gone or another one. Positioned at its end.
    pub fn open_part(&self, _name: &str, _identity: Identity) -> Result<Option<PartFile>, Failure> {
        todo!()
    }
    /// Removes a part file if it is there.
    pub fn remove_part(&self, _name: &str) {
        todo!()
    }
    /// Renames the part file to its final name: mode 0666 & ~umask first; RENAME_NOREPLACE unless `replace`; a symbolic
    /// link or directory under the final name is never replaced or followed. Does not sync.
    pub fn publish(
        &self,
        _part: &str,
        _identity: Identity,
        _to: &str,
        _replace: bool,
    ) -> Result<Published, Failure> {
        todo!()
    }
    /// Makes renames in this directory durable.
    pub fn sync(&self) -> Result<(), Failure> {
        todo!()
    }
    /// Makes the data of these part files durable: fsync each on a few threads, or one syncfs when there are many and the
    /// file system is not busy with others. Blocks. Every directory must be on the same file system as `self`.
    pub fn sync_parts(&self, _parts: &[(Directory, String)]) -> Result<(), Failure> {
        todo!()
    }
    /// Device number, to group directories by file system.
    pub fn dev(&self) -> u64 {
        todo!()
    }
    /// Free bytes for unprivileged users.
    pub fn free_bytes(&self) -> Option<u64> {
        todo!()
    }
    /// Removes part files older than `age` whose name `is_ours` says yes to and `is_known` says no to.
    pub fn sweep(&self, _age: std::time::Duration, _is_known: &dyn Fn(&str) -> bool) -> usize {
        todo!()
    }
}

/// Device and inode number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
}

/// The name of a task's part file: `.<name, at most 100 bytes>.<task id, safe characters, at most 64 bytes>.part`.
pub fn part_name(_final_name: &str, _task_id: &str) -> String {
    todo!()
}

/// A part file being written, at its end only.
#[derive(Debug)]
pub struct PartFile {}

impl PartFile {
    /// Appends bytes: blocks for as long as the kernel takes to copy them. Starts write-back every 16 MiB, so that the
    /// final sync is cheap.
    pub fn append(&mut self, _bytes: &[u8]) -> Result<(), Failure> {
        todo!()
    }
    /// Bytes in the file.
    pub fn len(&self) -> u64 {
        todo!()
    }
    /// Cuts the file to `len` bytes, and goes on writing there.
    pub fn truncate(&mut self, _len: u64) -> Result<(), Failure> {
        todo!()
    }
    /// Which file it is.
    pub fn identity(&self) -> Identity {
        todo!()
    }
    /// A handle that makes the bytes written so far durable, for another thread (fdatasync on a duplicate descriptor).
    pub fn syncer(&self) -> Result<Syncer, Failure> {
        todo!()
    }
    /// A reader of the file from its start, for digests; for another thread.
    pub fn reader(&self) -> Result<std::fs::File, Failure> {
        todo!()
    }
}

/// Makes a part file durable from another thread.
#[derive(Debug)]
pub struct Syncer {}

impl Syncer {
    /// Blocks until the bytes are on the disk. After an error the bytes must be taken for lost back to the last success.
    pub fn sync(&self) -> Result<(), Failure> {
        todo!()
    }
}
