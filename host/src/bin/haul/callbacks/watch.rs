//! Tells when a file changes: compilers write it anew, rename another over it or link it, so its folder is watched
//! (inotify). It reads no file.

use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use haul::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

/// A file has changed when nothing more has happened to it for so long: 200 ms.
const QUIET: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Changes of one file.
#[derive(Clone)]
pub(super) struct Changes {
    events: Arc<OwnedFd>,
    name: OsString,
}

impl Changes {
    /// From now on.
    pub(super) fn of(file: &Path) -> Result<Self> {
        let folder = file.parent().unwrap_or(Path::new("/"));
        let watch = || {
            let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            inotify::add_watch(&events, folder, WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::CREATE)?;
            Ok(Arc::new(events))
        };
        let failed =
            |error: Errno| Error::FileSystem(format!("cannot watch the folder `{}`: {error}", folder.display()));
        Ok(Self { events: watch().map_err(failed)?, name: file.file_name().unwrap_or_default().to_owned() })
    }

    /// Waits for the next change, and until it is over. To be waited for to the end: a thread waits.
    pub(super) async fn next(&self) -> Result<()> {
        let changes = self.clone();
        let waited = tokio::task::spawn_blocking(move || -> std::result::Result<(), Errno> {
            while !changes.seen()? {
                changes.wait(None)?;
            }
            while changes.wait(Some(&QUIET))? {
                changes.seen()?;
            }
            Ok(())
        });
        let failed = |error: Errno| Error::FileSystem(format!("cannot watch the component's folder any more: {error}"));
        waited.await.map_err(|_| Error::Other("the thread that watches a folder panicked".into()))?.map_err(failed)
    }

    /// Waits until something happens in the folder; false when nothing did in time.
    fn wait(&self, time: Option<&Timespec>) -> std::result::Result<bool, Errno> {
        match poll(&mut [PollFd::new(&*self.events, PollFlags::IN)], time) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Whether the file was among what has happened.
    fn seen(&self) -> std::result::Result<bool, Errno> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&*self.events, &mut buffer);
        let mut seen = false;
        loop {
            match reader.next() {
                Ok(event) => seen |= event.file_name().is_some_and(|name| name.to_bytes() == self.name.as_bytes()),
                Err(Errno::AGAIN) => return Ok(seen),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
