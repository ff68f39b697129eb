//! Files and directories that belong to us alone: made so, whatever the umask takes away, and refused where they are not.
//! Judges no content.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::regular;

/// Makes a directory that only we can enter, or closes one of ours that others can.
pub(crate) fn directory(path: &Path) -> io::Result<()> {
    make(path)?;
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() || !is_ours(&metadata) {
        return Err(io::Error::other(format!("{} is not our directory", path.display())));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Makes a directory that only we can enter, and those above it that are missing; one that is there stays as it is.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    let create = || DirBuilder::new().mode(0o700).create(path);
    let created = match (create(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => make(parent).and_then(|()| create()),
        (created, _) => created,
    };
    match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(0o700)),
    }
}

/// Opens a file that belongs to us and that nobody else can write or read; a link is none.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = regular::open(path, libc::O_NOFOLLOW)?;
    let metadata = file.metadata()?;
    if !is_ours(&metadata) || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other(format!("{} is not ours alone", path.display())));
    }
    Ok(file)
}

/// Reads a file as [`open`] takes it.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// When a file was last written to or touched, in seconds since 1970.
pub(super) fn modified_s(path: &Path) -> Option<u64> {
    u64::try_from(fs::symlink_metadata(path).ok()?.mtime()).ok()
}

/// Removes a directory of ours, with all that is in it.
pub(super) fn remove_all(directory: &Path) -> io::Result<()> {
    fs::remove_dir_all(directory)
}

/// Gives a file of ours that time.
pub(super) fn touch(path: &Path, at_s: u64) {
    let touched = open(path).and_then(|file| file.set_modified(UNIX_EPOCH + Duration::from_secs(at_s)));
    if let Err(error) = touched {
        tracing::debug!("cannot touch {}: {error}", path.display());
    }
}

/// Makes a file anew; what was there is gone.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let _ = fs::remove_file(path);
    create_new(path)
}

/// Makes a file where there is none.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Writes a file of these pieces, whole or not at all, in a directory of ours. `lasting`: it is on the disk before it has
/// its name.
pub(crate) fn write(path: &Path, pieces: &[&[u8]], lasting: bool) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let written = create(Path::new(&temporary)).and_then(|mut file| {
        pieces.iter().try_for_each(|piece| file.write_all(piece))?;
        if lasting {
            file.sync_data()?;
        }
        #[expect(clippy::disallowed_methods, reason = "of a cache, whole or not at all")]
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Whether it belongs to the user we act as.
pub(crate) fn is_ours(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
}
