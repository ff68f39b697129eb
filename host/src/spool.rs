//! What is read from stdin or a pipe to be uploaded: kept in the home while a task needs it, so that it can be sent again, after a
//! retry and after a kill.
//!
//! It is sent by an ordinary task, which names the file like any other: when it was read to its end, or while it is being read. Then
//! a mark beside the file says how far that is, so that nobody takes a part of it for the whole.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::private;
use crate::store::Store;
use crate::task::{Task, TaskType};

/// Where it waits in the home, each in a directory that has a UUID for a name.
const DIRECTORY: &str = "spool";
/// Stands beside a file that is sent while it is read, whatever that is called: empty as long as more may come, then [`WHOLE`] and the
/// length, or why the rest will not come.
const MARK: &str = ".haul-growing";
const WHOLE: &str = "whole ";
/// How much is read at once.
const PIECE: usize = 64 * 1024;

/// The place of a file that is read whole, or was. While this value lives, nobody removes it for want of a task that names it.
#[derive(Debug)]
pub struct Spooled {
    path: PathBuf,
    held: File,
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
        Ok(Self { path: directory.join(name), held })
    }

    /// Reads `input` to its end into the file of such a place. Blocks as long as `input` does.
    pub fn fill(path: &Path, input: &mut dyn Read) -> io::Result<()> {
        let mut file = private::create_new(path)?;
        io::copy(input, &mut file).and_then(|_| file.sync_all())
    }

    /// Makes the file, empty, for a task that sends what is read into it as it comes. Where whoever reads ends before its end, by a
    /// kill, say, the task fails: what is there is not sent as if it was all.
    pub fn begin(&self) -> io::Result<SpoolWriter> {
        let mark = mark_of(&self.path);
        private::create_new(&mark)?;
        sync_directory(&mark)?; // a file without its mark would count as whole
        private::create_new(&self.path)?;
        Ok(SpoolWriter { path: self.path.clone(), held: self.held.try_clone()?, is_done: false })
    }

    /// Where it is, absolute where the home is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it: no task needs it.
    pub fn remove(self) {
        if let Some(directory) = self.path.parent() {
            let _ = fs::remove_dir_all(directory); // else it is swept
        }
    }
}

/// Reads into a file that a task sends meanwhile.
#[derive(Debug)]
pub struct SpoolWriter {
    path: PathBuf,
    held: File,
    is_done: bool,
}

impl SpoolWriter {
    /// Reads `input` to its end into the file, and says then that it is whole. Blocks as long as `input` does.
    ///
    /// # Errors
    /// The input, or the disk, or nobody needs the file any more: its task does not wait for more, and fails with this.
    pub fn fill(mut self, input: &mut dyn Read) -> io::Result<()> {
        let filled = self.append(input);
        let said = match &filled {
            Ok(length) => format!("{WHOLE}{length}"),
            Err(error) => error.to_string(),
        };
        let mark = mark_of(&self.path);
        let told = private::write(&mark, &[said.as_bytes()], true).and_then(|()| sync_directory(&mark));
        self.is_done = filled.is_ok() && told.is_ok();
        filled.and(told)
    }

    fn append(&self, input: &mut dyn Read) -> io::Result<u64> {
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        let mut buffer = vec![0; PIECE];
        let mut length = 0;
        loop {
            let size = match input.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if size == 0 {
                file.sync_all()?;
                return Ok(length);
            }
            if file.metadata()?.nlink() == 0 {
                return Err(io::Error::other("its task does not need it any more"));
            }
            file.write_all(buffer.get(..size).unwrap_or_default())?;
            length += size as u64;
        }
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = self.held.unlock(); // for all who hold it: nobody waits for the end of a file that is not held
        }
    }
}

/// How far a file is that is sent while it is read, as who sends it sees it.
#[derive(Debug)]
pub(crate) struct Growth {
    mark: PathBuf,
}

impl Growth {
    /// `None`: the file at this path is none of these.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let mark = mark_of(path);
        let found = fs::symlink_metadata(&mark);
        let is_none = found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        (!is_none).then_some(Self { mark })
    }

    /// How long the file is, now that it is whole. `None`: more may come.
    ///
    /// # Errors
    /// Why the rest will not come.
    pub(crate) fn length(&self) -> Result<Option<u64>, String> {
        let is_held = self.is_held(); // before the mark is read, which is written before that ends
        let said =
            fs::read_to_string(&self.mark).map_err(|error| format!("nothing says that it is whole ({error})"))?;
        match said.strip_prefix(WHOLE).map(str::parse) {
            Some(Ok(length)) => Ok(Some(length)),
            _ if !said.is_empty() => Err(said),
            _ if is_held => Ok(None),
            _ => Err("whoever read it has stopped before its end".into()),
        }
    }

    fn is_held(&self) -> bool {
        let directory = self.mark.parent().map(File::open);
        directory.is_some_and(|directory| {
            directory.is_ok_and(|directory| matches!(directory.try_lock_shared(), Err(TryLockError::WouldBlock)))
        })
    }
}

fn mark_of(path: &Path) -> PathBuf {
    path.with_file_name(MARK)
}

/// Makes the names in the directory of this file durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
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
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_str().filter(|name| uuid::Uuid::try_parse(name).is_ok());
            if name.is_some_and(|name| is_left(&entry.path(), name, store)) {
                let _ = fs::remove_dir_all(entry.path()); // tried again next time
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
