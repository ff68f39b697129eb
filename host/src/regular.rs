//! Opens what must be a file. A pipe, a terminal or a device lets its reader wait, for ever if it likes, and paths of
//! components come from tasks and from components: whoever opens one of them must not be held up by what lies there.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a regular file for reading and refuses anything else, without waiting. `flags`: further ones of open(2).
pub(crate) fn open(path: &Path, flags: i32) -> io::Result<File> {
    // The flag means nothing to a regular file; a pipe without a writer is opened at once, to be refused.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}
