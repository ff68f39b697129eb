//! What was read from stdin or a pipe to be uploaded: kept in the home while a task needs it, so that its length is known and
//! it can be sent again, after a retry and after a kill.
//!
//! It is not sent while it is being read, and not here but by an ordinary task, which names the file like any other.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::private;
use crate::store::Store;
use crate::task::{Task, TaskType};

/// Where it waits in the home, each in a directory that has a UUID for a name.
const DIRECTORY: &str = "spool";

/// The place of a file that is read whole, or was. While this value lives, nobody removes it for want of a task that names it.
#[derive(Debug)]
pub struct Spooled {
    path: PathBuf,
    _held: File,
}

impl Spooled {
    /// A place for a file of this name (one component of a path) below `home`: there is none yet.
    pub fn new(home: &Path, name: &OsStr) -> io::Result<Self> {
        let spool = home.join(DIRECTORY);
        let directory = spool.join(crate::clock::new_uuid().to_string());
        private::make(&spool)?;
        // Nobody sweeps between the making of a directory and its being held.
        let turn = locked(&spool)?;
        private::make(&directory)?;
        let held = locked(&directory)?;
        drop(turn);
        Ok(Self { path: directory.join(name), _held: held })
    }

    /// Reads `input` to its end into the file of such a place. Blocks as long as `input` does.
    pub fn fill(path: &Path, input: &mut dyn Read) -> io::Result<()> {
        let mut file = private::create_new(path)?;
        io::copy(input, &mut file).and_then(|_| file.sync_all())
    }

    /// Where it is, absolute where the home is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it: no task needs it.
    pub fn remove(self) {
        if let Some(directory) = self.path.parent() {
            let _ = std::fs::remove_dir_all(directory); // else it is swept
        }
    }
}

/// All that waits in a home.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
}

impl Spool {
    pub(crate) fn new(home: &Path) -> Self {
        Self { directory: home.join(DIRECTORY) }
    }

    /// Whether a task, whose base directory is `granted`, sends something from here.
    pub(crate) fn feeds(&self, task: &Task, granted: &Path) -> bool {
        let of_parts = task.files.iter().filter(|part| part.content.is_none()).map(|part| part.filename.as_str());
        let mut names = task.filename.as_deref().into_iter().chain(of_parts);
        let sends = matches!(task.task_type, TaskType::Upload | TaskType::MultiUpload);
        sends && names.any(|name| granted.join(&task.directory).join(name).starts_with(&self.directory))
    }

    /// Removes what no task needs: what complete and cancelled tasks name, and what no task names and no process holds. What is
    /// in doubt stays. Blocks.
    pub(crate) fn sweep(&self, store: &Store) {
        let Ok(_turn) = locked(&self.directory) else { return }; // nothing was ever read
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_str().filter(|name| uuid::Uuid::try_parse(name).is_ok());
            if name.is_some_and(|name| is_left(&entry.path(), name, store)) {
                let _ = std::fs::remove_dir_all(entry.path()); // tried again next time
            }
        }
    }
}

fn is_left(directory: &Path, name: &str, store: &Store) -> bool {
    // Before the store is asked: who holds it may be adding its task just now.
    let ours = File::open(directory).and_then(|file| file.try_lock().map(|()| file).map_err(io::Error::from));
    match store.has_path(name, false) {
        Ok(false) => ours.is_ok() || store.has_path(name, true).unwrap_or(false),
        _ => false,
    }
}

/// The directory, open, and locked until it is closed.
fn locked(directory: &Path) -> io::Result<File> {
    let file = File::open(directory)?;
    file.lock()?;
    Ok(file)
}
