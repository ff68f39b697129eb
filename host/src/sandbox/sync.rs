//! Making many small files durable: what to ask the kernel for, by what it cost before.
//!
//! One by one, fsync costs small files a factor of six. A few are synced at the same time by a few threads, which share the
//! journal's commits; for many, one `syncfs` is cheapest. But `syncfs` writes what everybody else left in memory, too: when
//! it took long, the next rounds sync file by file on more threads, and only then it is tried again.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::Directory;
use crate::clock;
use crate::error::Failure;
use crate::sandbox::part::retry;

/// Up to so many files are synced one by one.
const FEW: usize = 8;
const THREADS_FOR_FEW: usize = 4;
const THREADS_FOR_MANY: usize = 16;
/// A `syncfs` longer than this wrote others' data.
const SLOW: Duration = Duration::from_millis(250);
/// Rounds without `syncfs` after a slow one.
const ROUNDS_WITHOUT: u32 = 16;

/// A part file that could not be made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsynced {
    pub(crate) failure: Failure,
    /// The system gave bytes up: what was not durable before must be taken for lost, whatever another sync says
    /// (reliability C.3). Otherwise it was not even tried.
    pub(crate) is_lost: bool,
}

impl From<Failure> for Unsynced {
    fn from(failure: Failure) -> Self {
        Self { failure, is_lost: false }
    }
}

/// What is remembered of a file system.
#[derive(Debug, Default)]
pub(super) struct Disk {
    rounds_without: AtomicU32,
    /// What part files on it still need.
    pub(super) needs: super::space::Needs,
}

impl Disk {
    /// Makes parts durable; all are on the file system of `directory`. An answer for each, in order.
    pub(super) fn sync(&self, directory: &Directory, parts: &[(Directory, String)]) -> Vec<Result<(), Unsynced>> {
        if parts.len() <= FEW {
            return each(parts, THREADS_FOR_FEW);
        }
        let avoided = self.rounds_without.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if avoided.is_ok() {
            return each(parts, THREADS_FOR_MANY);
        }
        let began = clock::now();
        let synced = rustix::fs::syncfs(directory.opened().fd());
        if began.elapsed() > SLOW {
            self.avoid_syncfs();
        }
        match synced {
            Ok(()) => parts.iter().map(|_| Ok(())).collect(),
            // The error of some file of the file system, perhaps not ours. Nobody has seen those of our files yet, so each
            // of them still tells its own; one that is still being written would not tell the next `syncfs`.
            Err(_) => {
                self.rounds_without.store(u32::MAX, Ordering::Relaxed);
                each(parts, THREADS_FOR_MANY)
            }
        }
    }

    /// For some rounds.
    pub(super) fn avoid_syncfs(&self) {
        self.rounds_without.store(ROUNDS_WITHOUT, Ordering::Relaxed);
    }
}

/// Syncs each part on its own, on at most so many threads.
fn each(parts: &[(Directory, String)], threads: usize) -> Vec<Result<(), Unsynced>> {
    if let [(directory, name)] = parts {
        return vec![one(directory, name)];
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((directory, name)) = parts.get(index) else {
                return done;
            };
            done.push((index, one(directory, name)));
        }
    };
    // The caller is one of them. A thread costs some ten microseconds to start, a sync a hundred times that.
    let mut done = std::thread::scope(|scope| {
        let helpers: Vec<_> =
            (1..threads.min(parts.len())).map(|_| std::thread::Builder::new().spawn_scoped(scope, work)).collect();
        let mut done = work();
        for helper in helpers.into_iter().flatten() {
            match helper.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// A part that has vanished is no failure here.
fn one(directory: &Directory, name: &str) -> Result<(), Unsynced> {
    super::check_name(name)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(directory.opened().fd(), name, flags, Mode::empty()) {
        Ok(fd) => retry(|| rustix::fs::fsync(&fd))
            .map_err(|error| Unsynced { failure: directory.failure("sync", name, error), is_lost: true }),
        Err(Errno::NOENT | Errno::LOOP) => Ok(()),
        Err(error) => Err(directory.failure("sync", name, error).into()),
    }
}
