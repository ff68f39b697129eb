//! Moves a finished file to another directory: nothing is overwritten, and another file system makes no difference. Which
//! directory, and whether that is wanted, is the caller's business.

use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::numbered;
use crate::error::{Error, Result};

/// Names tried at most.
const NAMES: usize = 10_000;

/// Moves `file` into `directory`, which is created where it is missing; answers where it is then. `f.txt` becomes
/// `f (1).txt` where that name is taken, and `f (1).txt` becomes `f (2).txt`. On another file system it is copied, synced, and only then removed.
///
/// Errors: [`Error::FileSystem`]; the file is then still where it was.
pub fn move_file(file: &Path, directory: &Path) -> Result<PathBuf> {
    let failed = |what: &str, error: std::io::Error| Error::FileSystem(format!("cannot {what}: {error}"));
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Error::FileSystem(format!("`{}` has no name in UTF-8", file.display())))?;
    std::fs::create_dir_all(directory).map_err(|error| failed(&format!("create `{}`", directory.display()), error))?;
    let same = file
        .parent()
        .and_then(|at| at.canonicalize().ok())
        .is_some_and(|at| directory.canonicalize().is_ok_and(|to| to == at));
    if same {
        return Err(Error::FileSystem(format!("`{}` is in that directory already", file.display())));
    }
    let moving = format!("move `{}` to `{}`", file.display(), directory.display());
    match rename_unique(file, directory, name) {
        Err(Errno::XDEV) => {
            let copy = copy_beside(file, directory, name).map_err(|error| failed(&moving, error))?;
            let renamed = rename_unique(&copy, directory, name);
            let moved = renamed.inspect_err(|_| drop(std::fs::remove_file(&copy)));
            let moved = moved.map_err(|error| failed(&moving, error.into()))?;
            sync(directory).map_err(|error| failed(&moving, error))?;
            std::fs::remove_file(file).map_err(|error| failed(&format!("remove `{}`", file.display()), error))?;
            Ok(moved)
        }
        moved => {
            let moved = moved.map_err(|error| failed(&moving, error.into()))?;
            sync(directory).map_err(|error| failed(&moving, error))?;
            Ok(moved)
        }
    }
}

/// Renames to the first free name.
fn rename_unique(from: &Path, directory: &Path, name: &str) -> Result<PathBuf, Errno> {
    for name in std::iter::once(name.to_owned()).chain(numbered(name).take(NAMES)) {
        let to = directory.join(name);
        match rustix::fs::renameat_with(CWD, from, CWD, &to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(to),
            Err(Errno::EXIST) => {}
            // File systems that cannot do it in one step can link, which never overwrites either.
            Err(Errno::INVAL | Errno::NOSYS) => match std::fs::hard_link(from, &to) {
                Ok(()) => {
                    rustix::fs::unlink(from)?;
                    return Ok(to);
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            },
            Err(error) => return Err(error),
        }
    }
    Err(Errno::EXIST)
}

/// A copy under a hidden name, on the disk.
fn copy_beside(file: &Path, directory: &Path, name: &str) -> std::io::Result<PathBuf> {
    let mut from = std::fs::File::open(file)?;
    let path = directory.join(format!(".{name}.{}.moving", std::process::id()));
    let mut to = std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    let copied = std::io::copy(&mut from, &mut to).and_then(|_| to.set_permissions(from.metadata()?.permissions()));
    match copied.and_then(|()| to.sync_all()) {
        Ok(()) => Ok(path),
        Err(error) => {
            let _ = std::fs::remove_file(&path);
            Err(error)
        }
    }
}

fn sync(directory: &Path) -> std::io::Result<()> {
    std::fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_moves_to_a_free_name_also_across_file_systems() {
        let here = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
        for target in [here.path().join("sub/deep"), elsewhere.path().join("sub")] {
            for expected in ["f.tar.txt", "f.tar (1).txt"] {
                let file = here.path().join("f.tar.txt");
                std::fs::write(&file, expected).unwrap();
                let moved = move_file(&file, &target).unwrap();
                assert_eq!(moved, target.join(expected));
                assert_eq!(std::fs::read_to_string(&moved).unwrap(), expected);
                assert!(!file.exists());
            }
            let names = std::fs::read_dir(&target).unwrap().count();
            assert_eq!(names, 2, "nothing else is left behind");
        }
    }

    #[test]
    fn the_number_of_a_taken_name_is_counted_on() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (name, taken, expected) in [
            ("f (1).txt", &["f (1).txt"][..], "f (2).txt"),
            ("g", &["g", "g (1)"], "g (2)"),
            (" (1)", &[" (1)"], " (1) (1)"),
        ] {
            std::fs::write(here.path().join(name), "x").unwrap();
            taken.iter().for_each(|taken| std::fs::write(there.path().join(taken), "y").unwrap());
            assert_eq!(move_file(&here.path().join(name), there.path()).unwrap(), there.path().join(expected));
        }
    }

    #[test]
    fn a_file_that_is_there_already_stays() {
        let here = tempfile::tempdir().unwrap();
        let file = here.path().join("f");
        std::fs::write(&file, "x").unwrap();
        assert!(move_file(&file, here.path()).is_err());
        assert!(file.exists());
    }
}
