//! The cache of compiled components: used when it is provably ours, and never otherwise.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::*;

fn entry(home: &Home) -> PathBuf {
    let mut entries: Vec<_> =
        fs::read_dir(home.directory.path().join("cache")).unwrap().map(|entry| entry.unwrap().path()).collect();
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
    for bad in [&flipped[..], &good[..good.len() - 1], &good[32..], b""] {
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
