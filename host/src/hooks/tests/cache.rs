//! The cache of compiled components: used when it is provably ours, and never otherwise.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use wasm_encoder::{CodeSection, Function, FunctionSection, Module, ModuleSection, TypeSection};

use super::super::cache::Cache;
use super::super::known::{Identity, Known};
use super::super::runtime;
use super::*;

/// A cache and its key, in directories of their own.
struct Place {
    directory: tempfile::TempDir,
    engine: wasmtime::Engine,
}

impl Place {
    /// With a component compiled.
    fn new() -> Self {
        let place =
            Self { directory: tempfile::tempdir().unwrap(), engine: runtime::engine(runtime::Space::Wide).unwrap() };
        assert!(place.compiles());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Takes the component as a process that starts does; answers whether it had to be compiled.
    fn compiles(&self) -> bool {
        let compiled = Cell::new(false);
        let cache = Cache::new(&self.path("cache"), &self.path("home"));
        let compile = || {
            compiled.set(true);
            Ok(self.engine.precompile_component(&small()).unwrap())
        };
        cache.component(&self.engine, &[7; 32], compile).unwrap();
        compiled.get()
    }

    fn entry(&self) -> PathBuf {
        let all = fs::read_dir(self.path("cache")).unwrap().map(|entry| entry.unwrap().path());
        let mut entries: Vec<_> = all.collect();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries.remove(0)
    }
}

/// A component with one function, which does nothing.
fn small() -> Vec<u8> {
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    functions.function(0);
    let mut function = Function::new([]);
    function.instructions().end();
    code.function(&function);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    let mut component = wasm_encoder::Component::new();
    component.section(&ModuleSection(&module));
    component.finish()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn compiled_code_is_private_and_used_again() {
    let place = Place::new();
    let entry = place.entry();
    assert_eq!((mode(&entry), mode(entry.parent().unwrap())), (0o600, 0o700));
    assert_eq!(mode(&place.path("home/aot.key")), 0o600);
    assert!(!place.compiles());
}

#[test]
fn code_that_was_tampered_with_is_compiled_again() {
    let place = Place::new();
    let entry = place.entry();
    let good = fs::read(&entry).unwrap();
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let (last, shorter) = (good.len() - 1, good.len() - 32);
    for bad in [flipped(0), flipped(last), flipped(good.len() / 2), good[..last].into(), good[..shorter].into(), vec![]]
    {
        fs::write(&entry, bad).unwrap();
        assert!(place.compiles());
        assert_eq!(fs::read(&entry).unwrap().len(), good.len(), "it is good again");
        assert!(!place.compiles());
    }
}

#[test]
fn code_that_others_could_have_written_is_not_used() {
    let place = Place::new();
    let entry = place.entry();
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o620)).unwrap();
    assert!(place.compiles());
    let elsewhere = place.path("elsewhere");
    #[expect(clippy::disallowed_methods, reason = "what somebody else does")]
    fs::rename(&entry, &elsewhere).unwrap();
    symlink(&elsewhere, &entry).unwrap();
    assert!(place.compiles());
    assert!(fs::symlink_metadata(&entry).unwrap().is_file());
}

#[test]
fn code_of_one_component_is_not_used_for_another() {
    let place = Place::new();
    let entry = place.entry();
    let name = entry.file_name().unwrap().to_str().unwrap();
    let other = entry.with_file_name(name.replacen("07", "08", 1));
    fs::write(&other, fs::read(&entry).unwrap()).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
    let mut digest = [7; 32];
    digest[0] = 8;
    let compile = || Err(Error::Other("compiled".into()));
    let cache = Cache::new(&place.path("cache"), &place.path("home"));
    assert!(cache.component(&place.engine, &digest, compile).is_err());
}

#[test]
fn code_under_another_key_is_not_used_and_left_alone() {
    let place = Place::new();
    let (entry, key) = (place.entry(), place.path("home/aot.key"));
    let (first, code) = (fs::read(&key).unwrap(), fs::read(&entry).unwrap());
    fs::remove_file(&key).unwrap();
    assert!(place.compiles());
    assert_ne!(fs::read(&key).unwrap(), first);
    assert_eq!(fs::read(&entry).unwrap(), code);
    assert_eq!(fs::read_dir(entry.parent().unwrap()).unwrap().count(), 2, "one entry for each key");
}

#[test]
fn a_broken_key_is_replaced_and_one_that_is_there_is_used() {
    let place = Place::new();
    let key = place.path("home/aot.key");
    fs::write(&key, "short").unwrap();
    assert!(place.compiles());
    let replaced = fs::read(&key).unwrap();
    assert_eq!((replaced.len(), mode(&key)), (32, 0o600));
    assert!(!place.compiles());
    assert_eq!(fs::read(&key).unwrap(), replaced);
    assert_eq!(fs::read_dir(key.parent().unwrap()).unwrap().count(), 1, "nothing else is left there");
}

#[test]
fn without_a_directory_for_it_nothing_is_kept_and_everything_works() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("cache"), "a file").unwrap();
    hooks_in(directory.path(), &Arc::default());
}

/// Makes a file look as if it had last been changed a minute ago: nobody can, so the times that are remembered are moved.
fn rested(path: &Path) -> Identity {
    let mut identity = Identity::of(&fs::File::open(path).unwrap()).unwrap();
    identity.pretend_changed_earlier();
    identity
}

#[test]
fn what_is_known_of_a_file_is_known_until_anything_of_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let known = |key: u8| Known::new(directory.path().join("known"), &[key; 32]);
    let facts = |known: &Known, identity: &Identity| known.facts::<3>(&path, identity);
    fs::write(&path, "content").unwrap();
    let identity = rested(&path);
    assert_eq!(facts(&known(1), &identity), None);

    known(1).remember(&path, &identity, b"one");

    assert_eq!(facts(&known(1), &identity).as_ref(), Some(b"one"));
    assert_eq!(facts(&known(2), &identity), None, "said with another key");
    assert_eq!(known(1).facts::<3>(Path::new("/another"), &identity), None);
    let said = fs::read_dir(directory.path().join("known")).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&said).unwrap();
    for bad in [good[..34].to_vec(), [&good[..34], b"!"].concat()] {
        fs::write(&said, bad).unwrap();
        assert_eq!(facts(&known(1), &identity), None);
    }
    fs::write(&said, &good).unwrap();
    fs::set_permissions(&said, fs::Permissions::from_mode(0o604)).unwrap();
    assert_eq!(facts(&known(1), &identity), None, "others may have it");
    fs::set_permissions(&said, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(facts(&known(1), &identity).is_some());

    let now = || Identity::of(&fs::File::open(&path).unwrap()).unwrap();
    let before = now();
    let times = fs::FileTimes::new().set_modified(fs::metadata(&path).unwrap().modified().unwrap());
    fs::write(&path, "CONTENT").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    assert_ne!(now(), before, "the same size, and the time that it was written at is put back");
}

#[test]
fn nothing_is_remembered_of_a_file_that_changed_just_now() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let known = Known::new(directory.path().join("known"), &[1; 32]);
    fs::write(&path, "content").unwrap();
    let identity = Identity::of(&fs::File::open(&path).unwrap()).unwrap();
    known.remember(&path, &identity, b"one");
    assert_eq!(known.facts::<3>(&path, &identity), None);
}

#[test]
fn a_pipe_in_the_place_of_an_entry_holds_up_nobody() {
    let place = Place::new();
    let entry = place.entry();
    fs::remove_file(&entry).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &entry, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    assert!(place.compiles());
    assert!(fs::symlink_metadata(&entry).unwrap().is_file());
}

/// A file of code in the cache that was last used so many days ago, and its size.
fn with_code(place: &Place, name: &str, days: u64, bytes: u64) -> PathBuf {
    let path = place.path("cache").join(name);
    let file = fs::File::create(&path).unwrap();
    file.set_len(bytes).unwrap(); // takes no room
    let then = crate::clock::unix_ms() / 1000 - days * 24 * 60 * 60;
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(then)).unwrap();
    path
}

fn compile_another(place: &Place) {
    compile_anew(place, 9);
}

/// One of another digest.
fn compile_anew(place: &Place, digest: u8) {
    let cache = Cache::new(&place.path("cache"), &place.path("home"));
    let compile = || Ok(place.engine.precompile_component(&small()).unwrap());
    cache.component(&place.engine, &[digest; 32], compile).unwrap();
}

#[test]
fn what_was_not_used_for_long_goes_when_something_is_added() {
    let place = Place::new();
    let used = place.entry();
    let (old, fresh) = (with_code(&place, "old.cwasm", 61, 10), with_code(&place, "fresh.cwasm", 59, 10));
    let unfinished = with_code(&place, "killed.cwasm.17", 1, 10);
    place.compiles();
    assert!(old.exists() && unfinished.exists(), "a start removes nothing");

    compile_another(&place);

    assert_eq!((old.exists(), unfinished.exists()), (false, false));
    assert!(fresh.exists() && used.exists());
}

#[test]
fn the_longest_unused_go_where_there_is_too_much() {
    let place = Place::new();
    let large = 300 << 20;
    let files = [3, 1, 2].map(|days| with_code(&place, &format!("{days}.cwasm"), days, large));

    compile_another(&place);

    assert_eq!(files.map(|file| file.exists()), [false, true, false], "one of 300 MiB fits into 512");
    assert_eq!(super::super::cache_usage(&place.path("cache")).0, 3);
}

#[test]
fn what_was_used_today_is_not_too_many_for_what_is_compiled_now() {
    let place = Place::new();
    let made = |days| (0..140).map(|n| with_code(&place, &format!("{days}-{n}.cwasm"), days, 10)).collect();
    let (today, earlier): (Vec<PathBuf>, Vec<PathBuf>) = (made(0), made(2));

    compile_another(&place);

    assert!(today.iter().all(|file| file.exists()), "a process may be about to load them");
    assert!(earlier.iter().all(|file| !file.exists()), "more than 128 are newer");
    let huge = [0, 1, 2].map(|n| with_code(&place, &format!("huge-{n}.cwasm"), 0, 900 << 20));
    compile_anew(&place, 8);
    assert!(huge.iter().any(|file| !file.exists()), "2 GiB are enough for a day, too");
}

#[test]
fn code_that_is_used_stays_however_long_ago_it_was_made() {
    let place = Place::new();
    let entry = place.entry();
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    fs::File::open(&entry).unwrap().set_modified(long_ago).unwrap();
    // As a process proves it that starts when the file has come to rest, and as one finds it long after.
    let (key, mut identity) = (fs::read(place.path("home/aot.key")).unwrap(), rested(&entry));
    identity.pretend_changed_earlier();
    let known = Known::new(place.path("cache/known"), &key.try_into().unwrap());
    known.remember(&entry, &identity, &[]);
    let facts = fs::read_dir(place.path("cache/known")).unwrap().next().unwrap().unwrap().path();
    fs::File::open(&facts).unwrap().set_modified(long_ago).unwrap();
    assert!(!place.compiles());

    compile_another(&place);

    assert!(entry.exists() && facts.exists(), "it was used just now");
}

#[test]
fn what_was_refused_is_refused_for_an_hour_within_the_same_limits() {
    let place = Place::new();
    let cache = Cache::new(&place.path("cache"), &place.path("home"));
    let why = "cannot be compiled: it takes more than 20 s on the CPU";
    let refusal = |digest: u8, limits: &str| cache.refusal(&place.engine, &[digest; 32], limits);
    assert_eq!(refusal(7, "1024-20"), None);

    cache.refuse(&place.engine, &[7; 32], "1024-20", why);

    assert_eq!(refusal(7, "1024-20").as_deref(), Some(why));
    assert_eq!((refusal(8, "1024-20"), refusal(7, "2048-20")), (None, None), "another one, or more room");
    let entries = fs::read_dir(place.path("cache")).unwrap().map(|entry| entry.unwrap().path());
    let entry = entries.into_iter().find(|path| path.extension().is_some_and(|it| it == "refused")).unwrap();
    let file = fs::File::open(&entry).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 60 * 60)).unwrap();
    assert_eq!(refusal(7, "1024-20"), None, "it is found out again");
    cache.refuse(&place.engine, &[7; 32], "1024-20", why);
    let mut forged = fs::read(&entry).unwrap();
    forged[why.find("20 s").unwrap()] = b'1';
    fs::write(&entry, forged).unwrap();
    assert_eq!(refusal(7, "1024-20"), None, "whoever writes there cannot refuse for us");
}
