//! Opens what must be a file. A pipe, a terminal or a device lets its reader wait, for ever if it likes, and paths of
//! components come from tasks and from components: whoever opens one of them must not be held up by what lies there. Only what
//! the command line names may be a pipe.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Opens a regular file for reading and refuses anything else, without waiting. `flags`: further ones of open(2).
pub(crate) fn open(path: &Path, flags: i32) -> io::Result<File> {
    // The flag means nothing to a regular file; a pipe without a writer is opened at once, to be refused.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

/// Longest file that is read whole because a setting names it.
const NAMED_BYTES_MAX: u64 = 16 << 20;

/// Reads a file that a setting names (a jar of cookies, certificates): a regular one, of 16 MiB at most.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    whole(open(path, 0)?)
}

/// The same of text; the device that holds nothing is a file without any, for whoever wants none.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    if path == Path::new("/dev/null") {
        return Ok(String::new());
    }
    text(read(path)?)
}

/// The same of what the command line itself names: a pipe of the shell's, too (`<(...)`), to its end.
pub(crate) fn read_given(path: &Path) -> io::Result<String> {
    let is_pipe = std::fs::metadata(path).is_ok_and(|it| it.file_type().is_fifo());
    if is_pipe { text(whole(File::open(path)?)?) } else { read_text(path) }
}

fn whole(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(NAMED_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > NAMED_BYTES_MAX {
        return Err(io::Error::other("it is longer than 16 MiB"));
    }
    Ok(bytes)
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8"))
}
