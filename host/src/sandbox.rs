//! The sandbox: base directories, part files, publishing. The only module that opens files of transfers.
//!
//! A destination is a granted base directory and a relative path below it; cap-std keeps every step to it inside. Below an
//! open directory names are single components, used relative to its descriptor and never following a link (reliability C.3).
//! It decides no names and knows no tasks: names come from the `filename` hook, order of steps from the engine.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use crate::clock;
use crate::error::{Failure, FailureKind};

mod names;
mod open;
mod part;
mod relocate;
mod source;
mod space;
mod sync;
#[cfg(test)]
mod tests;

pub(crate) use names::{numbered, part_name};
pub(crate) use part::PartFile;
pub use part::ignore_file_size_signal;
pub use relocate::move_file;
pub(crate) use source::SourceFile;
pub(crate) use sync::Unsynced;

use names::{check_name, is_part_name};
use open::Opened;

/// Directories that are kept open at most. Soft limits of 1,024 descriptors are common, and sockets need some.
const OPEN_DIRECTORIES: usize = 256;

/// The base directories that are granted, by name.
#[derive(Debug)]
pub(crate) struct Sandbox {
    bases: BTreeMap<String, PathBuf>,
    durable: bool,
    keep_free: Arc<AtomicU64>,
    final_mode: Mode,
    cache: Mutex<HashMap<Place, Directory>>,
    disks: Mutex<HashMap<u64, Arc<sync::Disk>>>,
}

/// The base directory below which paths are absolute (background_downloader's A.3): they lie in what it grants, or are refused.
const ROOT: &str = "root";

/// What was granted, and the path below it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    root: PathBuf,
    below: String,
}

impl Sandbox {
    /// `bases`: name to absolute path, from the configuration. Reads the process's umask.
    pub(crate) fn new(bases: BTreeMap<String, PathBuf>) -> Self {
        Self {
            bases,
            durable: true,
            keep_free: Arc::default(),
            // Whatever the umask says, it is opened once more before it has its name.
            final_mode: Mode::from_raw_mode(0o666 & !space::umask()) | part::MODE,
            cache: Mutex::default(),
            disks: Mutex::default(),
        }
    }

    /// Whether new directories are synced into their parents. Default true.
    #[must_use]
    pub(crate) fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// So many bytes must stay free on a disk beside what the files being written need. Counts for files created from now on.
    pub(crate) fn keep_free(&self, bytes: u64) {
        self.keep_free.store(bytes, Ordering::Relaxed);
    }

    /// Opens the directory of a task, creating what is missing (each new directory's parent is synced when `durable`).
    /// `place`, when given, is the base directory that the owner granted in person; else `base` is looked up. `below` is a
    /// relative path without `..`, or empty. Directories are cached: the second call for the same one costs a map lookup
    /// and one `stat`, which tells when it was removed or replaced meanwhile.
    ///
    /// Fails with kind `policy` when the base directory is unknown or the path leads outside of it.
    pub(crate) fn directory(&self, base: &str, place: Option<&Path>, below: &str) -> Result<Directory, Failure> {
        let key = self.locate(base, place, below)?;
        if !key.root.is_absolute() {
            let text = format!("the base directory `{}` is not absolute", key.root.display());
            return Err(Failure::new(FailureKind::Policy, text));
        }
        let cached = lock(&self.cache).get(&key).cloned();
        if let Some(directory) = cached.filter(Directory::is_in_place) {
            return Ok(directory);
        }
        let directory = self.open(key.clone())?;
        let mut cache = lock(&self.cache);
        if cache.len() >= OPEN_DIRECTORIES {
            cache.retain(|_, open| Arc::strong_count(&open.inner) > 1);
        }
        if cache.len() >= OPEN_DIRECTORIES {
            cache.clear();
        }
        cache.insert(key, directory.clone());
        Ok(directory)
    }

    /// The directory that a task's paths are below: the owner's `place`, else the one of that name. Opens nothing.
    pub(crate) fn granted<'a>(&'a self, base: &str, place: Option<&'a Path>) -> Result<&'a Path, Failure> {
        match (place, self.bases.get(base)) {
            (Some(place), _) => Ok(place),
            (None, Some(_)) if base == ROOT => Ok(Path::new("/")),
            (None, Some(granted)) => Ok(granted),
            (None, None) => Err(unknown_base(base)),
        }
    }

    /// Fails as opening a path of a task would where its base directory grants nothing, or something else. Opens nothing.
    pub(crate) fn allows(&self, base: &str, place: Option<&Path>, path: &str) -> Result<(), Failure> {
        self.locate(base, place, path).map(drop)
    }

    /// What was granted, and where a task's path is below that.
    fn locate(&self, base: &str, place: Option<&Path>, path: &str) -> Result<Place, Failure> {
        let granted = self.bases.get(base).filter(|_| place.is_none() && base == ROOT);
        let Some(granted) = granted else {
            let root =
                self.granted(base, place).map_err(|failure| if base == ROOT { no_root(path) } else { failure })?;
            return Ok(Place { root: root.to_path_buf(), below: path.to_owned() });
        };
        let absolute = Path::new("/").join(path.trim_start_matches('/'));
        match absolute.strip_prefix(granted).ok().and_then(Path::to_str) {
            Some(below) => Ok(Place { root: granted.clone(), below: below.to_owned() }),
            None => Err(outside(&absolute, granted)),
        }
    }

    fn open(&self, place: Place) -> Result<Directory, Failure> {
        let opened = open::open(&place.root, &place.below, self.durable)?;
        let disk = lock(&self.disks).entry(opened.identity.dev).or_default().clone();
        let inner = Inner {
            path: open::join(&place.root, &place.below),
            place,
            durable: self.durable,
            keep_free: Arc::clone(&self.keep_free),
            final_mode: self.final_mode,
            disk,
            opened: RwLock::new(Arc::new(opened)),
            used: AtomicBool::new(false),
        };
        Ok(Directory { inner: Arc::new(inner) })
    }
}

fn unknown_base(base: &str) -> Failure {
    let text = format!(
        "there is no base directory `{base}`: grant one by a line `{base} = \"/absolute/path\"` below `[directories]` in the \
         configuration"
    );
    Failure::new(FailureKind::Policy, text)
}

fn no_root(path: &str) -> Failure {
    let path = path.trim_start_matches('/');
    let text = format!(
        "`/{path}` is an absolute path, and nothing grants it: name a directory around it by a line `root = \"/absolute/path\"` \
         below `[directories]` in the configuration"
    );
    Failure::new(FailureKind::Policy, text)
}

fn outside(path: &Path, granted: &Path) -> Failure {
    let text = format!(
        "`{}` does not lie in `{}`, which is all that the base directory `root` grants (`[directories]` in the configuration)",
        path.display(),
        granted.display()
    );
    Failure::new(FailureKind::Policy, text)
}

/// A poisoned lock guards nothing here that a panic could leave half done.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Device and inode number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Device number.
    pub(crate) dev: u64,
    /// Inode number.
    pub(crate) ino: u64,
}

impl Identity {
    fn of(stat: &Stat) -> Self {
        Self { dev: stat.st_dev, ino: stat.st_ino }
    }
}

/// Outcome of [`Directory::publish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// The file has its name.
    Done,
    /// The name is taken and may not be overwritten.
    Taken,
    /// There is no part file of that identity; the final name's inode tells whether it was published before.
    Missing,
}

/// An open directory below a base directory. Cheap to clone.
///
/// Names given to its methods are single components: one that is empty, `.`, `..`, or has a `/` or NUL fails, or does not
/// exist.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    place: Place,
    path: PathBuf,
    durable: bool,
    keep_free: Arc<AtomicU64>,
    final_mode: Mode,
    disk: Arc<sync::Disk>,
    opened: RwLock<Arc<Opened>>,
    used: AtomicBool,
}

impl Directory {
    /// Absolute path, for people and for file paths in updates.
    pub(crate) fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Whether this is another clone of it.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// [`Directory::path`], or where the directory is now if somebody has moved it since it was opened.
    pub(crate) fn present_path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        if self.is_in_place() {
            return self.path().to_path_buf();
        }
        let opened = self.opened();
        let now = std::fs::read_link(format!("/proc/self/fd/{}", opened.fd().as_raw_fd()));
        let is_it = |path: &PathBuf| rustix::fs::stat(path).is_ok_and(|stat| Identity::of(&stat) == opened.identity);
        now.ok().filter(is_it).unwrap_or_else(|| self.path().to_path_buf())
    }

    /// Whether something (file, directory, dangling link) has that name.
    pub(crate) fn exists(&self, name: &str) -> bool {
        self.stat(name).is_some()
    }

    /// What has that name and must not be overwritten, as it is called: anything but a regular file. A link under it would
    /// be replaced and not followed, but it was put there for a reason (reliability C.3).
    pub(crate) fn obstacle(&self, name: &str) -> Option<&'static str> {
        let stat = self.stat(name)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => None,
            FileType::Directory => Some("a directory"),
            FileType::Symlink => Some("a symbolic link"),
            FileType::Fifo => Some("a FIFO"),
            FileType::Socket => Some("a socket"),
            _ => Some("a device"),
        }
    }

    /// Names that exist and may collide with `name` and its numbered variants (same beginning), at most 10,000. Reads the
    /// whole directory: ask [`Directory::exists`] first.
    pub(crate) fn names_like(&self, name: &str) -> Vec<String> {
        let stem = names::stem(name);
        self.entries().filter(|entry| entry.starts_with(stem)).take(10_000).collect()
    }

    /// Length of the regular file of that name, following no link.
    pub(crate) fn size(&self, name: &str) -> Option<u64> {
        let stat = self.stat(name).filter(is_regular)?;
        u64::try_from(stat.st_size).ok()
    }

    /// Identity of the regular file of that name, following no link.
    pub(crate) fn identity(&self, name: &str) -> Option<Identity> {
        self.stat(name).filter(is_regular).map(|stat| Identity::of(&stat))
    }

    /// Creates a part file: O_EXCL, mode 0600, not following links; room for `expected` bytes is reserved (fallocate,
    /// KEEP_SIZE) when known and at least 64 KiB, after a check of free space. A left-over of that name is removed first,
    /// when the name is one of [`part_name`]'s. A directory that was removed meanwhile is created anew.
    ///
    /// Fails with detail `diskFull` when `expected` is more than what is free. At least 64 MiB and 1 % of the disk are never
    /// reserved: a server may say any length.
    pub(crate) fn create_part(&self, name: &str, expected: Option<u64>) -> Result<PartFile, Failure> {
        self.create_with(part::create, name, expected)?.map_err(|error| self.failure("create", name, error))
    }

    /// As [`Self::create_part`], but what has that name stays: `None` then.
    pub(crate) fn create_new_part(&self, name: &str, expected: Option<u64>) -> Result<Option<PartFile>, Failure> {
        match self.create_with(part::create_new, name, expected)? {
            Ok(part) => Ok(Some(part)),
            Err(Errno::EXIST) => Ok(None),
            Err(error) => Err(self.failure("create", name, error)),
        }
    }

    fn create_with(
        &self,
        create: impl Fn(BorrowedFd<'_>, &str) -> Result<OwnedFd, Errno>,
        name: &str,
        expected: Option<u64>,
    ) -> Result<Result<PartFile, Errno>, Failure> {
        check_name(name)?;
        let mut opened = self.opened();
        let keep_free = self.inner.keep_free.load(Ordering::Relaxed);
        let needs = &self.inner.disk.needs;
        let reserve = space::reservation(opened.fd(), expected, self.path(), needs, keep_free)?;
        let fd = match create(opened.fd(), name) {
            Err(Errno::NOENT) => {
                opened = self.reopen()?;
                create(opened.fd(), name)
            }
            created => created,
        };
        match fd {
            Ok(fd) => PartFile::created(self, name, fd, expected.unwrap_or(0), reserve).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Opens a part file to go on with; `None` when it is gone or another one. Positioned at its end.
    pub(crate) fn open_part(&self, name: &str, identity: Identity) -> Result<Option<PartFile>, Failure> {
        check_name(name)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(self.opened().fd(), name, flags, Mode::empty()) {
            Ok(fd) => fd,
            // Gone, a link, a directory, or a socket.
            Err(Errno::NOENT | Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Ok(None),
            Err(error) => return Err(self.failure("open", name, error)),
        };
        PartFile::opened(self, name, fd, identity)
    }

    /// Removes the part files of these tasks, whatever name they were to get. Reads the whole directory.
    pub(crate) fn remove_parts_of(&self, task_ids: &[String]) {
        let ends: Vec<String> = task_ids.iter().map(|id| part_name("", id)).collect();
        let ends: Vec<&str> = ends.iter().map(|end| end.trim_start_matches('.')).collect();
        for name in self.entries().filter(|name| is_part_name(name)) {
            if ends.iter().any(|end| name.strip_suffix(end).is_some_and(|begin| begin.ends_with('.'))) {
                self.remove_part(&name);
            }
        }
    }

    /// Removes a part file if it is there and its name is one of [`part_name`]'s.
    pub(crate) fn remove_part(&self, name: &str) {
        if is_part_name(name) {
            // Nothing depends on it: what stays is swept later.
            let _ = rustix::fs::unlinkat(self.opened().fd(), name, AtFlags::empty());
        }
    }

    /// Renames the part file to its final name: with its final mode ([`PartFile::finish`]); RENAME_NOREPLACE unless `replace`, which replaces
    /// a regular file and fails for anything else. Other names of a replaced file keep its bytes. Does not sync.
    ///
    /// Repeating it is safe: a part that has its final name already is `Missing` (or `Done`, when only the part's own name
    /// was still to be removed).
    pub(crate) fn publish(
        &self,
        part: &str,
        identity: Identity,
        to: &str,
        replace: bool,
    ) -> Result<Published, Failure> {
        check_name(part)?;
        check_name(to)?;
        let is_it = |stat: &Stat| is_regular(stat) && Identity::of(stat) == identity;
        let Some(stat) = self.stat(part).filter(is_it) else {
            return Ok(Published::Missing);
        };
        let finished = Mode::from_raw_mode(stat.st_mode) == self.inner.final_mode && !part::has_slack(&stat);
        if !finished {
            let Some(mut part) = self.open_part(part, identity)? else {
                return Ok(Published::Missing);
            };
            part.finish()?;
        }
        if replace && let Some(obstacle) = self.obstacle(to) {
            return Err(in_the_way(to, obstacle));
        }
        let opened = self.opened();
        let renamed = if replace {
            rustix::fs::renameat(opened.fd(), part, opened.fd(), to)
        } else {
            rename_to_free_name(opened.fd(), part, to)
        };
        match renamed {
            Ok(()) => Ok(Published::Done),
            Err(Errno::NOENT) => Ok(Published::Missing),
            Err(Errno::EXIST) if self.identity(to) == Some(identity) => {
                // A link was made, then the power went: see `rename_to_free_name`.
                rustix::fs::unlinkat(opened.fd(), part, AtFlags::empty())
                    .map_err(|error| self.failure("remove", part, error))?;
                Ok(Published::Done)
            }
            Err(Errno::EXIST) if !replace => Ok(Published::Taken),
            Err(Errno::OPNOTSUPP) if !replace => Err(Failure::new(
                FailureKind::FileSystem,
                format!(
                    "the file system of `{}` cannot rename a file without replacing another: only `replace` works there",
                    self.path().display()
                ),
            )),
            Err(Errno::PERM) => Err(Failure::new(
                FailureKind::FileSystem,
                format!(
                    "cannot publish `{to}` in `{}`: renaming is not permitted there (perhaps the directory is immutable or \
                     append-only, see `lsattr -d`, or sticky, and `{to}` is another user's)",
                    self.path().display()
                ),
            )),
            Err(error) => Err(self.failure("publish", to, error)),
        }
    }

    /// Makes renames in this directory durable.
    pub(crate) fn sync(&self) -> Result<(), Failure> {
        let opened = self.opened();
        part::retry(|| rustix::fs::fsync(opened.fd())).map_err(|error| {
            let what = format!("cannot sync the directory `{}`", self.path().display());
            Failure::file_system(&what, &error.into())
        })
    }

    /// Makes the data of these part files durable: fsync each on a few threads, or one syncfs when there are many and the
    /// file system is not busy with others. Blocks. Every directory must be on the same file system as `self`. Parts that
    /// have vanished are passed over: publishing finds out. An answer for each part, in order.
    pub(crate) fn sync_parts(&self, parts: &[(Directory, String)]) -> Vec<Result<(), Unsynced>> {
        self.inner.disk.sync(self, parts)
    }

    /// Whether this is asked for the first time since the directory was opened.
    pub(crate) fn is_new(&self) -> bool {
        !self.inner.used.swap(true, Ordering::Relaxed)
    }

    /// Removes part files last written `age` ago or before, when their name is one of [`part_name`]'s and `is_known` says
    /// no to it. Only our own regular files, with the mode of a part file. How many were removed. Reads the whole directory.
    pub(crate) fn sweep(&self, age: std::time::Duration, is_known: &dyn Fn(&str) -> bool) -> usize {
        let limit = clock::unix_ms().saturating_sub(age.as_millis() as u64) / 1000;
        let old = |stat: &Stat| u64::try_from(stat.st_mtime).is_ok_and(|at| at <= limit);
        let ours = |stat: &Stat| {
            let mode = Mode::from_raw_mode(stat.st_mode);
            stat.st_uid == rustix::process::geteuid().as_raw() && (mode == part::MODE || mode == self.inner.final_mode)
        };
        self.entries()
            .filter(|name| is_part_name(name))
            .filter(|name| self.stat(name).is_some_and(|stat| is_regular(&stat) && old(&stat) && ours(&stat)))
            .filter(|name| !is_known(name))
            .filter(|name| rustix::fs::unlinkat(self.opened().fd(), name.as_str(), AtFlags::empty()).is_ok())
            .count()
    }

    fn opened(&self) -> Arc<Opened> {
        let opened = self.inner.opened.read();
        opened.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens the directory again, after it was removed.
    fn reopen(&self) -> Result<Arc<Opened>, Failure> {
        let place = &self.inner.place;
        let opened = Arc::new(open::open(&place.root, &place.below, self.inner.durable)?);
        let mut current = self.inner.opened.write().unwrap_or_else(PoisonError::into_inner);
        *current = opened.clone();
        Ok(opened)
    }

    /// Whether the path still names the open directory.
    fn is_in_place(&self) -> bool {
        rustix::fs::stat(&self.inner.path).is_ok_and(|stat| Identity::of(&stat) == self.opened().identity)
    }

    fn stat(&self, name: &str) -> Option<Stat> {
        check_name(name).ok()?;
        rustix::fs::statat(self.opened().fd(), name, AtFlags::SYMLINK_NOFOLLOW).ok()
    }

    /// Names in the directory; those that are not UTF-8 are none of ours.
    fn entries(&self) -> impl Iterator<Item = String> + use<> {
        let entries = rustix::fs::Dir::read_from(self.opened().fd()).ok();
        let names = entries.into_iter().flatten().map_while(Result::ok);
        names.filter_map(|entry| {
            let name = entry.file_name().to_str().ok()?;
            (name != "." && name != "..").then(|| name.to_owned())
        })
    }

    fn failure(&self, verb: &str, name: &str, error: Errno) -> Failure {
        let what = format!("cannot {verb} `{name}` in `{}`", self.path().display());
        Failure::file_system(&what, &error.into())
    }
}

/// Why a name cannot be overwritten.
pub(crate) fn in_the_way(name: &str, obstacle: &str) -> Failure {
    Failure::new(
        FailureKind::FileSystem,
        format!("`{name}` is {obstacle}, which is not overwritten: choose another name"),
    )
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Renames within a directory; EEXIST when the name is taken. Some FUSE and network file systems cannot do it at once: there
/// the file gets its final name as a second link first (reliability C.3).
fn rename_to_free_name(directory: BorrowedFd<'_>, from: &str, to: &str) -> Result<(), Errno> {
    let renamed = rustix::fs::renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE);
    match renamed {
        Err(Errno::NOSYS | Errno::INVAL) => link_to_free_name(directory, from, to),
        done => done,
    }
}

fn link_to_free_name(directory: BorrowedFd<'_>, from: &str, to: &str) -> Result<(), Errno> {
    rustix::fs::linkat(directory, from, directory, to, AtFlags::empty()).map_err(|error| match error {
        Errno::PERM => Errno::OPNOTSUPP, // linkat(2): there are no second links on that file system
        error => error,
    })?;
    rustix::fs::unlinkat(directory, from, AtFlags::empty())
}
