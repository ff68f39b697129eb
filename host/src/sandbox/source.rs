//! Files that are sent: opened once below a granted directory, read by position, and watched for changes.
//!
//! A file that is written while it is sent would reach the server as a mixture nobody ever had. So what it was when it was
//! opened is compared after each read (reliability B.5), and its bytes are not handed out when it has changed.

use std::os::fd::OwnedFd;
use std::path::Path;

use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::{OFlags, Stat};

use super::{Identity, Place, Sandbox, is_regular, open};
use crate::error::{Failure, FailureKind};

/// A file to send.
#[derive(Debug)]
pub(crate) struct SourceFile {
    fd: OwnedFd,
    /// For people.
    path: String,
    opened: Snapshot,
}

/// What tells one state of a file from another. The change time also catches a rewrite that restores the length and the
/// modification time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Snapshot {
    dev: u64,
    ino: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Snapshot {
    fn of(stat: &Stat) -> Self {
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
            changed: (stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
        }
    }
}

impl Sandbox {
    /// Opens the file `path` below the directory of a task; creates nothing. Links are followed as long as they stay below
    /// the granted directory.
    ///
    /// Fails with kind `fileSystem` when there is no such file, or no regular one; with `policy` when the base directory is
    /// unknown or the path leads outside of it.
    pub(crate) fn source(
        &self,
        base: &str,
        place: Option<&Path>,
        below: &str,
        path: &str,
    ) -> Result<SourceFile, Failure> {
        let path = if below.is_empty() { path.to_owned() } else { format!("{below}/{path}") };
        let Place { root, below } = self.locate(base, place, &path)?;
        open::check_below(&below)?;
        let shown = root.join(&below).display().to_string();
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()); // a FIFO must not be waited for
        let opened = Dir::open_ambient_dir(&root, ambient_authority()).and_then(|dir| dir.open_with(&below, &options));
        let file = opened.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Failure::new(FailureKind::FileSystem, format!("file to upload does not exist: `{shown}`"))
            }
            _ => open::refused(&root, &below, &format!("cannot open `{shown}`"), &error),
        })?;
        let fd = OwnedFd::from(file);
        let stat = rustix::fs::fstat(&fd)
            .map_err(|error| Failure::file_system(&format!("cannot look at `{shown}`"), &error.into()))?;
        if !is_regular(&stat) {
            let text = format!("file to upload is not a regular file: `{shown}`");
            return Err(Failure::new(FailureKind::FileSystem, text));
        }
        Ok(SourceFile { fd, path: shown, opened: Snapshot::of(&stat) })
    }
}

impl SourceFile {
    /// Bytes it had when it was opened.
    pub(crate) fn len(&self) -> u64 {
        self.opened.size
    }

    /// Which file it is, whatever it is called.
    pub(crate) fn identity(&self) -> Identity {
        Identity { dev: self.opened.dev, ino: self.opened.ino }
    }

    /// The absolute path, for people.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// At least one byte from `offset`, which is below [`SourceFile::len`], at most `limit`.
    ///
    /// Fails when the file has changed since it was opened, see [`SourceFile::is_changed`].
    pub(crate) fn read(&self, offset: u64, limit: usize) -> Result<Bytes, Failure> {
        let left = usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let bytes = self.read_now(offset, limit.min(left))?;
        if bytes.is_empty() || self.is_changed() {
            let text = format!("source changed: `{}` was written or replaced while it was being sent", self.path);
            return Err(Failure::new(FailureKind::FileSystem, text));
        }
        Ok(bytes)
    }

    /// What is there from `offset` on at this moment, at most `limit` bytes, whatever has changed; none at the present end.
    pub(crate) fn read_now(&self, offset: u64, limit: usize) -> Result<Bytes, Failure> {
        let mut bytes = Vec::with_capacity(limit);
        let cannot =
            |error: rustix::io::Errno| Failure::file_system(&format!("cannot read `{}`", self.path), &error.into());
        rustix::io::pread(&self.fd, rustix::buffer::spare_capacity(&mut bytes), offset).map_err(cannot)?;
        Ok(bytes.into())
    }

    /// Its state when it was opened, as a word to compare with another time's, after a restart too.
    pub(crate) fn mark(&self) -> String {
        let Snapshot { ino, size, modified, changed, .. } = self.opened;
        format!("{size}-{}.{}-{}.{}-{ino}", modified.0, modified.1, changed.0, changed.1)
    }

    /// Whether the file was written, moved or removed since it was opened.
    pub(crate) fn is_changed(&self) -> bool {
        !rustix::fs::fstat(&self.fd).is_ok_and(|stat| Snapshot::of(&stat) == self.opened)
    }
}
