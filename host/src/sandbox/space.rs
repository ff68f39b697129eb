//! Room on the disk, and what kind of disk it is.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

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

/// What the part files that are being written on one disk still need, beside what is allocated for them: where nothing can be
/// reserved, or not all.
#[derive(Debug, Default)]
pub(super) struct Needs(Mutex<Vec<Weak<Need>>>);

/// What one of them needs, for as long as it is written.
#[derive(Debug)]
pub(super) struct Need {
    expected: u64,
    /// Bytes allocated or written.
    here: AtomicU64,
}

impl Need {
    /// The file has at least so many bytes now.
    pub(super) fn has(&self, bytes: u64) {
        self.here.fetch_max(bytes, Ordering::Relaxed);
    }
}

impl Needs {
    /// A file of `expected` bytes for which so many are allocated; `None` when it needs no more.
    pub(super) fn add(&self, expected: u64, allocated: u64) -> Option<Arc<Need>> {
        if expected < CHECKED_FROM || allocated >= expected {
            return None;
        }
        let need = Arc::new(Need { expected, here: AtomicU64::new(allocated) });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&need));
        Some(need)
    }

    /// Bytes that all of them together still need.
    fn sum(&self) -> u64 {
        let mut needs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        needs.retain(|need| need.strong_count() > 0);
        let missing = |need: &Weak<Need>| {
            need.upgrade().map_or(0, |need| need.expected.saturating_sub(need.here.load(Ordering::Relaxed)))
        };
        needs.iter().map(missing).sum()
    }
}

/// Bytes to reserve for a file of `expected` bytes in the directory; 0 is none. It must fit beside what other files still
/// need and `keep_free` bytes. What was reserved is not free any more, and asking costs a microsecond.
pub(super) fn reservation(
    directory: BorrowedFd<'_>,
    expected: Option<u64>,
    path: &Path,
    needs: &Needs,
    keep_free: u64,
) -> Result<u64, Failure> {
    let Some(expected) = expected else { return Ok(0) };
    if expected < CHECKED_FROM && (keep_free == 0 || expected == 0) {
        return Ok(if expected < RESERVED_FROM { 0 } else { expected });
    }
    let Some(space) = free(directory) else {
        return Ok(0);
    };
    let others = needs.sum();
    if expected.saturating_add(others).saturating_add(keep_free) > space.free {
        let mut text = format!(
            "needs {}, but only {} are free in `{}`",
            bytes_text(expected),
            bytes_text(space.free),
            path.display()
        );
        for (bytes, what) in [(others, "other downloads still need"), (keep_free, "must stay free")] {
            if bytes > 0 {
                text.push_str(&format!(", and {} {what}", bytes_text(bytes)));
            }
        }
        let failure = Failure::new(FailureKind::FileSystem, text);
        return Err(failure.with(FailureDetail::DiskFull));
    }
    if expected < RESERVED_FROM {
        return Ok(0);
    }
    Ok(reservable(expected, space))
}

/// What may be reserved of `expected` bytes: of the last 64 MiB, or 1 % of the disk, nothing (reliability C.3).
pub(super) fn reservable(expected: u64, space: Space) -> u64 {
    let kept = (64 * MIB).max(space.total / 100);
    expected.min(space.free.saturating_sub(kept))
}

fn bytes_text(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
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
