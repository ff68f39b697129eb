//! Opening directories: a granted one, and what is below it, never outside of it.
//!
//! The granted path is the owner's and may have any links; the path below it comes from tasks and may not leave.

use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt};
use rustix::fs::{Mode, OFlags};

use super::{Identity, names};
use crate::error::{Failure, FailureKind};

/// An open directory.
#[derive(Debug)]
pub(super) struct Opened {
    fd: OwnedFd,
    pub(super) identity: Identity,
}

impl Opened {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The path of `below` in `root`, for people.
pub(super) fn join(root: &Path, below: &str) -> PathBuf {
    if below.is_empty() { root.to_path_buf() } else { root.join(below) }
}

/// Opens `below` in `root`, creating what is missing of both.
pub(super) fn open(root: &Path, below: &str, durable: bool) -> Result<Opened, Failure> {
    check_below(below)?;
    let granted = open_root(root, durable).map_err(|error| {
        let what = format!("cannot open the base directory `{}`", root.display());
        Failure::file_system(&what, &error)
    })?;
    let dir = if below.is_empty() { Ok(granted) } else { open_below(&granted, below, durable) };
    let opened = dir.and_then(|dir| {
        let fd = readable(&dir)?;
        let identity = Identity::of(&rustix::fs::fstat(&fd)?);
        Ok(Opened { fd, identity })
    });
    opened.map_err(|error| {
        let what = format!("cannot open the directory `{}`", join(root, below).display());
        refused(root, below, &what, &error)
    })
}

/// cap-std opens directories with O_PATH, which neither syncs nor lists.
fn readable(dir: &Dir) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, ".", flags, Mode::empty())?)
}

pub(super) fn check_below(below: &str) -> Result<(), Failure> {
    if below.is_empty() || below.split('/').all(names::is_component) {
        return Ok(());
    }
    let text = format!("the directory {below:?} must be a relative path without `..`");
    Err(Failure::new(FailureKind::Policy, text))
}

fn open_root(root: &Path, durable: bool) -> io::Result<Dir> {
    match Dir::open_ambient_dir(root, ambient_authority()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let missing: Vec<&Path> = root.ancestors().take_while(|path| !path.exists()).collect();
            missing.iter().rev().try_for_each(|path| create_dir(path))?;
            let parents = missing.iter().filter_map(|path| path.parent());
            for parent in parents.filter(|_| durable) {
                std::fs::File::open(parent)?.sync_all()?;
            }
            Dir::open_ambient_dir(root, ambient_authority())
        }
        opened => opened,
    }
}

/// Makes a directory that its owner can use whatever the umask; one that is there meanwhile will do.
fn create_dir(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        created => created?,
    }
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & OWNER == OWNER { Ok(()) } else { std::fs::set_permissions(path, Permissions::from_mode(mode | OWNER)) }
}

/// What the owner of a directory may do with it.
const OWNER: u32 = 0o700;

fn open_below(granted: &Dir, below: &str, durable: bool) -> io::Result<Dir> {
    match granted.open_dir(below) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let ends = below.match_indices('/').map(|(at, _)| at);
    let mut parent = "";
    for path in ends.chain([below.len()]).map(|end| &below[..end]) {
        let created = granted.create_dir(path);
        if created.is_ok() && granted.metadata(path)?.mode() & OWNER != OWNER {
            let mode = granted.metadata(path)?.mode();
            granted.set_permissions(path, cap_std::fs::Permissions::from_std(Permissions::from_mode(mode | OWNER)))?;
        }
        match created {
            Ok(()) if durable && parent.is_empty() => rustix::fs::fsync(readable(granted)?)?,
            Ok(()) if durable => rustix::fs::fsync(readable(&granted.open_dir(parent)?)?)?,
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        parent = path;
    }
    granted.open_dir(below)
}

/// The failure to open a path below a granted directory.
pub(super) fn refused(root: &Path, below: &str, what: &str, error: &io::Error) -> Failure {
    // cap-std's own refusal is the only one without an error number.
    let outside = error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none();
    if outside {
        let text = format!(
            "the path `{below}` leads outside of `{}` through a symbolic link (an absolute one always counts so)",
            root.display()
        );
        return Failure::new(FailureKind::Policy, text);
    }
    Failure::file_system(what, error)
}
