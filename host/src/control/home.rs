//! The home as a place to meet: its lock, who holds it, and the address of its socket.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use tokio::net::{UnixListener, UnixStream};

use crate::error::{Error, Result};
use crate::{private, regular};

const LOCK: &str = "haul.lock";
const SOCKET: &str = "haul.sock";

/// The longest path that fits a socket's address, by unix(7): 108 bytes, one of them NUL.
const MAX_ADDRESS: usize = 107;

/// A home that exists.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    path: PathBuf,
}

/// The right to be the home's engine, until dropped. The file stays: removing it would let two processes hold two locks.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Who holds a home, as written in the lock file. Empty fields while the holder is writing them.
#[derive(Clone, Debug, Default)]
pub(super) struct Holder {
    pid: String,
    version: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.pid.is_empty() {
            f.write_str("another process")
        } else {
            write!(f, "process {} (haul {})", self.pid, self.version)
        }
    }
}

impl Home {
    /// Creates the home where it is missing, 0700 whatever the umask; its parents get the usual mode. One that we made and
    /// cannot use any more is refused in words that say how to mend it.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let create = || {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            match private::make(path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    Err(std::io::Error::new(ErrorKind::NotADirectory, "it exists and is not a directory"))
                }
                created => created,
            }?;
            std::path::absolute(path)
        };
        match create() {
            Ok(path) => {
                usable(&path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK, 0o700).map(|()| Self { path })
            }
            Err(error) => Err(Error::FileSystem(format!("cannot create the home {}: {error}", path.display()))),
        }
    }

    /// Takes the lock; `None` when another process has it.
    pub(crate) fn try_lock(&self) -> Result<Option<Lock>> {
        let path = self.path.join(LOCK);
        if std::fs::symlink_metadata(&path).is_ok_and(|there| !there.is_file()) {
            return Err(Error::FileSystem(format!("`{}` is not a regular file; remove it", path.display())));
        }
        let opened = match private::create_new(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(&path)
            }
            opened => opened,
        };
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                usable(&path, Access::READ_OK | Access::WRITE_OK, 0o600)?;
                return Err(self.foreign());
            }
            Err(error) => return Err(self.failed("lock", &error)),
        };
        match file.try_lock() {
            // Whatever its mode: the key is closed to all but its owner and root.
            Ok(())
                if file.metadata().is_ok_and(|lock| !private::is_ours(&lock))
                    && !rustix::process::geteuid().is_root() =>
            {
                return Err(self.foreign());
            }
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(self.failed("lock", &error)),
        }
        let holder = format!("{} {}\n", std::process::id(), env!("CARGO_PKG_VERSION"));
        // Over what is there, which takes no room. The lock holds without the name, too.
        let named = file.write_all(holder.as_bytes()).and_then(|()| file.set_len(holder.len() as u64));
        if let Err(error) = named {
            tracing::debug!("{}", self.failed("write who holds", &error));
        }
        Ok(Some(Lock { _file: file }))
    }

    /// Who holds the lock.
    pub(super) fn holder(&self) -> Holder {
        let mut text = String::new();
        if let Ok(file) = regular::open(&self.path.join(LOCK), libc::O_NOFOLLOW) {
            let _ = file.take(200).read_to_string(&mut text); // for a message only
        }
        let mut words = text.split_whitespace().map(String::from);
        Holder { pid: words.next().unwrap_or_default(), version: words.next().unwrap_or_default() }
    }

    /// The error of somebody who can neither become the engine nor reach it.
    pub(super) fn unreachable(&self, why: &str) -> Error {
        let holder = self.holder();
        let mend = match holder.pid.as_str() {
            "" => "end it".to_string(),
            pid => format!("end it (kill {pid})"),
        };
        Error::HomeLocked(format!(
            "the home {} is held by {holder}, which {why}; wait for it, {mend}, or name another home with --home",
            self.path.display()
        ))
    }

    /// Opens the control socket in place of a dead one. Only for the holder of the lock.
    pub(super) fn listen(&self, _lock: &Lock) -> Result<UnixListener> {
        let bind = || {
            let address = self.address()?;
            match std::fs::remove_file(&address.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(&address.path)?;
            std::fs::set_permissions(&address.path, Permissions::from_mode(0o600))?;
            Ok(listener)
        };
        bind().map_err(|error| self.failed("open the control socket of", &error))
    }

    /// Connects to the control socket; `None` when nobody listens there.
    pub(super) async fn connect(&self) -> Result<Option<UnixStream>> {
        let address = self.address().map_err(|error| self.failed("join", &error))?;
        match UnixStream::connect(&address.path).await {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Err(self.unreachable("belongs to another user"))
            }
            Err(_) => Ok(None), // dead, not yet there, or a full backlog: worth another look
        }
    }

    /// Removes the socket file, so that nobody connects to an engine that ends.
    pub(super) fn remove_socket(&self) {
        let _ = std::fs::remove_file(self.path.join(SOCKET)); // a dead one does no harm
    }

    fn foreign(&self) -> Error {
        Error::HomeLocked(format!(
            "the home {} belongs to another user; name your own with --home",
            self.path.display()
        ))
    }

    fn failed(&self, what: &str, error: &std::io::Error) -> Error {
        Error::FileSystem(format!("cannot {what} the home {}: {error}", self.path.display()))
    }

    /// A path of the socket that fits an address: in a deep home by way of the open directory.
    fn address(&self) -> std::io::Result<Address> {
        let path = self.path.join(SOCKET);
        if path.as_os_str().as_bytes().len() <= MAX_ADDRESS {
            return Ok(Address { path, _directory: None });
        }
        let directory = File::open(&self.path)?;
        Ok(Address {
            path: format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()).into(),
            _directory: Some(directory),
        })
    }
}

/// Refuses what is ours and still cannot be used, because its mode or its file system says so.
fn usable(path: &Path, access: Access, mode: u32) -> Result<()> {
    let Ok(metadata) = path.metadata() else { return Ok(()) };
    let Err(error) = rustix::fs::access(path, access) else { return Ok(()) };
    if !private::is_ours(&metadata) {
        return Ok(());
    }
    let (place, now) = (path.display(), metadata.permissions().mode() & 0o777);
    if error == rustix::io::Errno::ROFS {
        return Err(Error::FileSystem(format!(
            "`{place}` is on a file system that is mounted read-only: remount it, or choose another home (`--home`, HAUL_HOME)"
        )));
    }
    Err(Error::FileSystem(format!(
        "`{place}` is yours, but its mode {now:03o} does not let you use it: `chmod {mode:03o} '{place}'`"
    )))
}

/// A path that is good as long as this lives.
struct Address {
    path: PathBuf,
    _directory: Option<File>,
}
