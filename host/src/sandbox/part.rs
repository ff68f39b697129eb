//! Part files: written by one writer, at their end, or piece by piece where a download is divided.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{Directory, Identity, is_regular, names};
use crate::error::{Failure, FailureKind};

/// Mode of a part file.
pub(super) const MODE: Mode = Mode::from_raw_mode(0o600);

/// Write-back is started for pieces of this length: the final sync then finds little left to do.
const WRITE_BACK: u64 = 16 << 20;

/// Creates the file; removes a left-over of a part file first.
pub(super) fn create(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    match create_new(directory, name) {
        Err(Errno::EXIST) if names::is_part_name(name) => {
            rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
            create_new(directory, name)
        }
        created => created,
    }
}

/// Creates the file, or fails with EEXIST.
pub(super) fn create_new(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, MODE)
}

/// Whether more is allocated than the file is long.
pub(super) fn has_slack(stat: &Stat) -> bool {
    allocated(stat) > length(stat).next_multiple_of(4096)
}

fn allocated(stat: &Stat) -> u64 {
    // st_blocks counts 512 bytes whatever the file system's blocks are.
    u64::try_from(stat.st_blocks).unwrap_or(0) * 512
}

fn length(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Reserves room, and answers how much. Fails only when there is none: whatever else keeps a file system from reserving, writing
/// tells.
fn reserved(fd: &OwnedFd, bytes: u64) -> Result<u64, Errno> {
    if bytes == 0 {
        return Ok(0);
    }
    match retry(|| rustix::fs::fallocate(fd, FallocateFlags::KEEP_SIZE, 0, bytes)) {
        Ok(()) => Ok(bytes),
        Err(error @ (Errno::NOSPC | Errno::DQUOT)) => Err(error),
        Err(_) => Ok(0),
    }
}

/// A part file being written.
#[derive(Debug)]
pub(crate) struct PartFile {
    fd: OwnedFd,
    directory: Directory,
    name: String,
    identity: Identity,
    len: u64,
    /// Bytes allocated, at least, where that may be more than `len`.
    reserved: u64,
    /// What is allocated can be seen on this file system: it cannot become less by writing.
    room_shows: bool,
    /// What it needs beyond that.
    need: Option<std::sync::Arc<super::space::Need>>,
    /// Write-back was started up to here.
    written_back: u64,
}

impl PartFile {
    /// Takes a file just created that is to have `expected` bytes, and reserves room for `reserve` of them.
    pub(super) fn created(
        directory: &Directory,
        name: &str,
        fd: OwnedFd,
        expected: u64,
        reserve: u64,
    ) -> Result<Self, Failure> {
        let reserved = reserved(&fd, reserve).map_err(|error| {
            directory.remove_part(name);
            directory.failure("reserve room for", name, error)
        })?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| directory.failure("create", name, e))?;
        if !Mode::from_raw_mode(stat.st_mode).contains(MODE) {
            // An umask that takes its owner's rights, too.
            rustix::fs::fchmod(&fd, MODE).map_err(|e| directory.failure("create", name, e))?;
        }
        let mut part = Self::new(directory, name, fd, &stat);
        part.room_shows = reserved > 0 && allocated(&stat) >= reserved;
        part.reserved = reserved;
        part.need = directory.inner.disk.needs.add(expected, part.reserved);
        Ok(part)
    }

    /// Takes a file just opened, when it is the regular file of that identity and has no second name.
    pub(super) fn opened(
        directory: &Directory,
        name: &str,
        fd: OwnedFd,
        identity: Identity,
    ) -> Result<Option<Self>, Failure> {
        let stat = rustix::fs::fstat(&fd).map_err(|e| directory.failure("open", name, e))?;
        let same = is_regular(&stat) && stat.st_nlink == 1 && Identity::of(&stat) == identity;
        Ok(same.then(|| Self::new(directory, name, fd, &stat)))
    }

    fn new(directory: &Directory, name: &str, fd: OwnedFd, stat: &Stat) -> Self {
        Self {
            fd,
            directory: directory.clone(),
            name: name.to_owned(),
            identity: Identity::of(stat),
            len: length(stat),
            reserved: if has_slack(stat) { allocated(stat) } else { 0 },
            room_shows: has_slack(stat),
            need: None,
            written_back: length(stat),
        }
    }

    /// Appends bytes: blocks for as long as the kernel takes to copy them. Where files are made durable, starts write-back
    /// every 16 MiB, so that the final sync is cheap. After a failure the file may have some of the bytes: [`PartFile::len`] counts them.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.write_at(bytes, self.len)?;
        let unwritten = self.len - self.written_back;
        if unwritten >= WRITE_BACK && self.directory.inner.durable {
            let bytes = unwritten - unwritten % WRITE_BACK;
            start_write_back(self.fd.as_fd(), self.written_back, bytes);
            self.written_back += bytes;
        }
        Ok(())
    }

    /// Writes bytes from `offset` on: blocks for as long as the kernel takes to copy them. What lies between the present
    /// end and `offset` reads as zeros until it is written.
    pub(crate) fn write_at(&mut self, bytes: &[u8], mut offset: u64) -> Result<(), Failure> {
        let mut left = bytes;
        while !left.is_empty() {
            match retry(|| rustix::io::pwrite(&self.fd, left, offset)) {
                Ok(0) => return Err(self.failure("write", Errno::IO)),
                Ok(written) => {
                    offset += written as u64;
                    self.len = self.len.max(offset);
                    if let Some(need) = &self.need {
                        need.has(self.len);
                    }
                    left = &left[written..];
                }
                Err(error) => return Err(self.failure("write", error)),
            }
        }
        Ok(())
    }

    /// Bytes from `offset` on, at most `limit`: blocks for as long as the kernel takes to copy them.
    pub(crate) fn read_at(&self, offset: u64, limit: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; limit.min(usize::try_from(self.len.saturating_sub(offset)).unwrap_or(limit))];
        let mut filled = 0;
        while filled < bytes.len() {
            match retry(|| rustix::io::pread(&self.fd, &mut bytes[filled..], offset + filled as u64)) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) => return Err(self.failure("read", error)),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// The end of the file, in bytes from its start.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Cuts the file to `len` bytes, and goes on writing there. Room reserved beyond is given back. Fails when the file is
    /// shorter than that.
    pub(crate) fn truncate(&mut self, len: u64) -> Result<(), Failure> {
        if len > self.len {
            let text = format!("`{}` is shorter than {len} bytes", self.name);
            return Err(Failure::new(FailureKind::FileSystem, text));
        }
        retry(|| rustix::fs::ftruncate(&self.fd, len)).map_err(|e| self.failure("cut", e))?;
        self.len = len;
        self.reserved = 0;
        self.written_back = self.written_back.min(len);
        Ok(())
    }

    /// Gives the complete file its final mode (0666 & ~umask, and at least 0600), and gives back room that was reserved and not
    /// used. [`Directory::publish`] does it for a file where nobody did, at the price of opening it again.
    ///
    /// Fails with kind `checksum` when others have made the file shorter or longer meanwhile. One that was cut and written further
    /// is as long as before, but some of the room that was reserved for it is gone: without a reservation nothing tells.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        let stat = rustix::fs::fstat(&self.fd).map_err(|error| self.failure("look at", error))?;
        let can_tell = self.room_shows && self.reserved > 0;
        let has_holes = can_tell && self.reserved >= self.len && allocated(&stat) < self.len;
        if length(&stat) != self.len || has_holes {
            let text = format!("`{}` was changed by another program while it was written", self.name);
            return Err(Failure::new(FailureKind::Checksum, text));
        }
        if self.reserved > self.len {
            self.truncate(self.len)?;
        }
        rustix::fs::fchmod(&self.fd, self.directory.inner.final_mode)
            .map_err(|error| self.failure("set the mode of", error))
    }

    /// Which file it is.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// When it was made, in nanoseconds since 1970; 0 where the file system does not say.
    pub(crate) fn born_ns(&self) -> u64 {
        let file = self.fd.try_clone().map(std::fs::File::from);
        let made = file.and_then(|file| file.metadata()?.created());
        let since = made.ok().and_then(|made| made.duration_since(std::time::UNIX_EPOCH).ok());
        since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0))
    }

    /// A handle that makes the bytes written so far durable, for another thread (fdatasync on a duplicate descriptor).
    pub(crate) fn syncer(&self) -> Result<Syncer, Failure> {
        let fd = self.fd.try_clone();
        let fd = fd.map_err(|e| Failure::file_system("cannot duplicate a descriptor", &e))?;
        Ok(Syncer { fd, name: self.name.clone() })
    }

    /// A reader of the file from its start, for digests; for another thread. Fails when the part file lost its name.
    pub(crate) fn reader(&self) -> Result<std::fs::File, Failure> {
        // Opened anew: duplicates would share one position.
        let directory = self.directory.opened();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(directory.fd(), &*self.name, flags, Mode::empty())
            .map_err(|error| self.failure("read", error))?;
        let stat = rustix::fs::fstat(&fd).map_err(|error| self.failure("read", error))?;
        if Identity::of(&stat) != self.identity {
            return Err(self.failure("read", Errno::NOENT));
        }
        Ok(fd.into())
    }

    fn failure(&self, verb: &str, error: Errno) -> Failure {
        self.directory.failure(verb, &self.name, error)
    }
}

/// Makes a part file durable from another thread.
#[derive(Debug)]
pub(crate) struct Syncer {
    fd: OwnedFd,
    name: String,
}

impl Syncer {
    /// Blocks until the bytes are on the disk. After an error the bytes must be taken for lost back to the last success.
    pub(crate) fn sync(&self) -> Result<(), Failure> {
        retry(|| rustix::fs::fdatasync(&self.fd))
            .map_err(|error| Failure::file_system(&format!("cannot sync `{}`", self.name), &error.into()))
    }
}

/// Repeats a system call that a signal interrupted.
pub(super) fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

/// Starts writing a range to the disk, without waiting for it. Advice only: failing is of no consequence, fsync counts.
#[allow(unsafe_code)] // rustix has no sync_file_range
fn start_write_back(fd: BorrowedFd<'_>, from: u64, bytes: u64) {
    let (Ok(from), Ok(bytes)) = (from.try_into(), bytes.try_into()) else {
        return;
    };
    // SAFETY: the descriptor is open for as long as it is borrowed, and no memory is handed over.
    unsafe { libc::sync_file_range(fd.as_raw_fd(), from, bytes, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Lets a write beyond the process's limit for file sizes fail (EFBIG) where the default is to end the process (SIGXFSZ).
/// For the binary, at its start; programs that it runs inherit it.
#[allow(unsafe_code)] // rustix sets no signal dispositions
pub fn ignore_file_size_signal() {
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}
