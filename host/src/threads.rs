//! Starting threads, and the runtimes that have some. The system may refuse (RLIMIT_NPROC, a container's limit of processes,
//! address space), and that is an error with a sentence, no panic. What threads do is their owners' business.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};

/// Longer than any process lives.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);
/// Looks, of some microseconds each, at whether a thread that has ended is forgotten.
const FORGOTTEN_WITHIN: usize = 10_000;

/// Starts a thread.
///
/// # Errors
/// [`Error::Other`] when the system refuses one.
pub fn spawn<T: Send + 'static>(name: &str, run: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.into()).spawn(run).map_err(|error| refused(&error))
}

/// The error of a thread that the system refuses.
pub(crate) fn refused(error: &io::Error) -> Error {
    Error::Other(format!(
        "cannot start a thread: {error}; haul needs some twenty: end other processes, or raise the limit (`ulimit -u`, or \
         `ulimit -v`)"
    ))
}

/// Starts a thread that has a [`runtime`] of its own, and waits until it has.
///
/// # Errors
/// As [`spawn`] and [`runtime`].
pub(crate) fn spawn_with_runtime(name: &str, run: impl FnOnce(Runtime) + Send + 'static) -> Result<JoinHandle<()>> {
    let (sender, made) = mpsc::sync_channel(1);
    let thread = spawn(name, move || match runtime() {
        Ok(runtime) => {
            let _ = sender.send(Ok(()));
            run(runtime);
        }
        Err(error) => drop(sender.send(Err(error))),
    })?;
    made.recv().unwrap_or_else(|_| Err(Error::Other(format!("the thread {name} panicked"))))?;
    Ok(thread)
}

/// A single-threaded runtime with a thread for what blocks that is there from the start and stays: tokio panics where the
/// first of them cannot be started, later, in the middle of something. Where no more can be started, that one does all.
///
/// # Errors
/// [`Error::Other`] when the system refuses the thread, or what the runtime waits on (open files).
pub fn runtime() -> Result<Runtime> {
    let runtime = Builder::new_current_thread().enable_all().thread_keep_alive(FOR_EVER).build();
    let runtime = runtime.map_err(|error| Error::Other(format!("cannot start: {error}")))?;
    is_room()?;
    let first = std::panic::AssertUnwindSafe(|| drop(runtime.spawn_blocking(|| ())));
    // Somebody else may have taken the room.
    std::panic::catch_unwind(first).map_err(|_| refused(&io::ErrorKind::WouldBlock.into()))?;
    Ok(runtime)
}

/// Whether another thread can be started: one that ends at once tells. It has left its room only when the system has
/// forgotten it, which is a little later than that it can be joined.
fn is_room() -> Result<()> {
    let id = spawn("haul-room", rustix::thread::gettid)?.join();
    if let Ok(id) = id {
        let known = PathBuf::from(format!("/proc/self/task/{}", id.as_raw_nonzero()));
        for _ in 0..FORGOTTEN_WITHIN {
            if !known.exists() {
                break;
            }
            std::thread::yield_now();
        }
    }
    Ok(())
}
