//! Tells when a file changes: compilers write it anew, rename another over it or link it, so its folder is watched
//! (inotify). It reads no file.

use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use haul::{Error, Result};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// A file has changed when nothing more has happened to it for so long.
const QUIET: Duration = Duration::from_millis(200);

/// Changes of one file.
pub(super) struct Changes {
    events: AsyncFd<OwnedFd>,
    name: OsString,
}

impl Changes {
    /// From now on.
    pub(super) fn of(file: &Path) -> Result<Self> {
        let folder = file.parent().unwrap_or(Path::new("/"));
        let watch = || {
            let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            inotify::add_watch(&events, folder, WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::CREATE)?;
            AsyncFd::new(events)
        };
        let events: std::io::Result<AsyncFd<OwnedFd>> = watch();
        let events =
            events.map_err(|error| Error::FileSystem(format!("cannot watch `{}`: {error}", folder.display())))?;
        Ok(Self { events, name: file.file_name().unwrap_or_default().to_owned() })
    }

    /// Waits for the next change, and until it is over.
    pub(super) async fn next(&self) -> std::result::Result<(), Error> {
        while !self.seen().await? {}
        while matches!(tokio::time::timeout(QUIET, self.seen()).await, Ok(Ok(_))) {}
        Ok(())
    }

    /// Waits until something happens in the folder; whether the file was among it.
    async fn seen(&self) -> Result<bool> {
        let failed = |error: std::io::Error| Error::FileSystem(format!("cannot watch the component's folder: {error}"));
        let mut ready = self.events.readable().await.map_err(failed)?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.events.get_ref(), &mut buffer);
        let mut seen = false;
        loop {
            match reader.next() {
                Ok(event) => seen |= event.file_name().is_some_and(|name| name.to_bytes() == self.name.as_bytes()),
                Err(Errno::AGAIN) => {
                    ready.clear_ready();
                    return Ok(seen);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
    }
}
