//! Room on the disk, and what kind of disk it is.

use std::os::fd::BorrowedFd;
use std::path::Path;

use crate::error::{Failure, FailureDetail, FailureKind};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Room is reserved for files of this length and more: below, it costs more than it saves.
const RESERVED_FROM: u64 = 64 * KIB;
/// Free space is looked at for files of this length and more.
const CHECKED_FROM: u64 = MIB;

/// Bytes of a file system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    /// Free for unprivileged users.
    pub(super) free: u64,
    /// Its size.
    pub(super) total: u64,
}

pub(super) fn free(fd: BorrowedFd<'_>) -> Option<Space> {
    let stat = rustix::fs::fstatvfs(fd).ok()?;
    Some(Space {
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
    })
}

/// Bytes to reserve for a file of `expected` bytes in the directory; 0 is none. Nothing is remembered between calls: each
/// reservation changes what is free, and asking costs a microsecond.
pub(super) fn reservation(directory: BorrowedFd<'_>, expected: Option<u64>, path: &Path) -> Result<u64, Failure> {
    let expected = expected.unwrap_or(0);
    if expected < CHECKED_FROM {
        return Ok(if expected < RESERVED_FROM { 0 } else { expected });
    }
    let Some(space) = free(directory) else {
        return Ok(0);
    };
    if expected > space.free {
        let text = format!(
            "needs {}, but only {} are free in `{}`",
            bytes_text(expected),
            bytes_text(space.free),
            path.display()
        );
        let failure = Failure::new(FailureKind::FileSystem, text);
        return Err(failure.with(FailureDetail::DiskFull));
    }
    Ok(reservable(expected, space))
}

/// What may be reserved of `expected` bytes: 64 MiB and 1 % of the disk stay free (reliability C.3).
pub(super) fn reservable(expected: u64, space: Space) -> u64 {
    let kept = (64 * MIB).max(space.total / 100);
    expected.min(space.free.saturating_sub(kept))
}

fn bytes_text(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", units[unit])
}

/// The process's umask, without changing it for a moment as umask(2) must; 022 when the system does not tell.
pub(super) fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
}
