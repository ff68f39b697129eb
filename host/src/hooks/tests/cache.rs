//! The cache of compiled components: used when it is provably ours, and never otherwise.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::super::known::{Identity, Known};
use super::*;

fn entry(home: &Home) -> PathBuf {
    let all = fs::read_dir(home.directory.path().join("cache")).unwrap().map(|entry| entry.unwrap().path());
    let mut entries: Vec<_> = all.filter(|path| path.is_file()).collect(); // beside what is known of files
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries.remove(0)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Starts again over the same directories; answers whether the entry was written anew.
fn is_rewritten(home: &Home, entry: &Path) -> bool {
    let before = fs::symlink_metadata(entry).map(|file| std::os::unix::fs::MetadataExt::ino(&file)).ok();
    drop(hooks_in(home.directory.path(), &home.lines));
    let after = std::os::unix::fs::MetadataExt::ino(&fs::symlink_metadata(entry).unwrap());
    before != Some(after)
}

#[test]
fn compiled_code_is_private_and_used_again() {
    let home = Home::apart();
    let entry = entry(&home);
    assert_eq!((mode(&entry), mode(entry.parent().unwrap())), (0o600, 0o700));
    assert_eq!(mode(&home.directory.path().join("home/aot.key")), 0o600);
    assert!(!is_rewritten(&home, &entry));
}

#[test]
fn code_that_was_tampered_with_is_compiled_again() {
    let home = Home::apart();
    let entry = entry(&home);
    let good = fs::read(&entry).unwrap();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut first = good.clone();
    first[0] ^= 1;
    for bad in [&flipped[..], &first, &good[..good.len() - 1], &good[..good.len() - 32], b""] {
        fs::write(&entry, bad).unwrap();
        assert!(is_rewritten(&home, &entry));
        // An inode number may be used again: what counts is that the entry is good again.
        assert_eq!(fs::read(&entry).unwrap().len(), good.len());
    }
}

#[test]
fn code_that_others_could_have_written_is_not_used() {
    let home = Home::apart();
    let entry = entry(&home);
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o620)).unwrap();
    assert!(is_rewritten(&home, &entry));
    let elsewhere = home.directory.path().join("elsewhere");
    #[allow(clippy::disallowed_methods)] // what somebody else does
    fs::rename(&entry, &elsewhere).unwrap();
    symlink(&elsewhere, &entry).unwrap();
    assert!(is_rewritten(&home, &entry));
    assert!(fs::symlink_metadata(&entry).unwrap().is_file());
}

#[test]
fn code_under_another_key_is_not_used_and_left_alone() {
    let home = Home::apart();
    let (entry, key) = (entry(&home), home.directory.path().join("home/aot.key"));
    let first = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    assert!(!is_rewritten(&home, &entry));
    assert_ne!(fs::read(&key).unwrap(), first);
    assert_eq!(fs::read_dir(entry.parent().unwrap()).unwrap().count(), 2, "one entry for each key");
}

#[test]
fn a_broken_key_is_replaced_and_one_that_is_there_is_used() {
    let home = Home::apart();
    let key = home.directory.path().join("home/aot.key");
    fs::write(&key, "short").unwrap();
    drop(hooks_in(home.directory.path(), &home.lines));
    let replaced = fs::read(&key).unwrap();
    assert_eq!((replaced.len(), mode(&key)), (32, 0o600));
    drop(hooks_in(home.directory.path(), &home.lines));
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
