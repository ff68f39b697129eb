//! Files and directories that belong to us alone: made so, and refused where they are not. Judges no content.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::regular;

/// Makes a directory that only we can enter, or closes one of ours that others can.
pub(super) fn directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() || !is_ours(&metadata) {
        return Err(io::Error::other(format!("{} is not our directory", path.display())));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Opens a file that belongs to us and that nobody else can write or read; a link is none.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = regular::open(path, libc::O_NOFOLLOW)?;
    let metadata = file.metadata()?;
    if !is_ours(&metadata) || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other(format!("{} is not ours alone", path.display())));
    }
    Ok(file)
}

/// Reads a file as [`open`] takes it.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// When a file was last written to or touched, in seconds since 1970.
pub(super) fn modified_s(path: &Path) -> Option<u64> {
    u64::try_from(fs::symlink_metadata(path).ok()?.mtime()).ok()
}

/// Gives a file of ours that time.
pub(super) fn touch(path: &Path, at_s: u64) {
    let touched = open(path).and_then(|file| file.set_modified(UNIX_EPOCH + Duration::from_secs(at_s)));
    if let Err(error) = touched {
        tracing::debug!("cannot touch {}: {error}", path.display());
    }
}

/// Makes a file anew; what was there is gone.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let _ = fs::remove_file(path);
    OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Writes a file of these pieces, whole or not at all, in a directory of ours. `lasting`: it is on the disk before it has
/// its name.
pub(super) fn write(path: &Path, pieces: &[&[u8]], lasting: bool) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let written = create(Path::new(&temporary)).and_then(|mut file| {
        pieces.iter().try_for_each(|piece| file.write_all(piece))?;
        if lasting {
            file.sync_data()?;
        }
        #[allow(clippy::disallowed_methods)] // of a cache, whole or not at all
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn is_ours(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
}
