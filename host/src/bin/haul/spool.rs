//! What `put` reads from stdin or a pipe: stored in the home until it is sent, so that its length is known and it can be sent
//! again, after a retry and after a kill.
//!
//! It is not sent while it is being read.

use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use haul::{Error, Result};

/// Where it waits in the home.
const DIRECTORY: &str = "spool";
/// How long at most, when the command was killed or its task failed.
const KEPT: Duration = Duration::from_secs(10 * 24 * 3600);

/// Whether a typed FILE is stdin, or a pipe with a name.
pub(crate) fn is_piped(typed: &str) -> bool {
    typed == "-" || std::fs::metadata(typed).is_ok_and(|data| data.file_type().is_fifo())
}

/// Reads it to its end; answers where it is now. It has the pipe's name, or `stdin`.
pub(crate) fn store(typed: &str, home: &Path) -> Result<PathBuf> {
    let cannot = |error: io::Error| Error::FileSystem(format!("cannot store what `{typed}` gives: {error}"));
    let spool = home.join(DIRECTORY);
    sweep(&spool);
    let name = Path::new(typed).file_name().filter(|_| typed != "-").unwrap_or("stdin".as_ref());
    let directory = spool.join(uuid::Uuid::now_v7().to_string());
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(cannot)?;
    let path = directory.join(name);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path).map_err(cannot)?;
    let mut input: Box<dyn Read> = match typed {
        "-" => Box::new(io::stdin().lock()),
        name => Box::new(File::open(name).map_err(cannot)?),
    };
    let copied = io::copy(&mut input, &mut file).and_then(|_| file.sync_all());
    copied.inspect_err(|_| remove(&path)).map_err(cannot)?;
    Ok(path)
}

/// It was sent.
pub(crate) fn remove(path: &Path) {
    if let Some(directory) = path.parent() {
        let _ = std::fs::remove_dir_all(directory); // else it is swept
    }
}

fn sweep(spool: &Path) {
    let is_old = |entry: &std::fs::DirEntry| {
        let modified = entry.metadata().and_then(|data| data.modified()).ok();
        modified.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > KEPT)
    };
    let entries = std::fs::read_dir(spool).into_iter().flatten().flatten();
    for entry in entries.filter(is_old) {
        let _ = std::fs::remove_dir_all(entry.path()); // tried again next time
    }
}
