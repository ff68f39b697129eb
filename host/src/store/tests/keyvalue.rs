//! Tests of components' state: quotas, all or nothing, who sees what, what stands in the file.

use super::*;

fn bucket(owner: &str, quota_bytes: u64) -> Bucket {
    Bucket { owner: owner.into(), name: "b".into(), quota_bytes }
}

fn set(key: &str, value: &[u8]) -> (String, Edit) {
    (key.into(), Edit::Set(value.to_vec()))
}

#[test]
fn state_outlives_its_process_and_belongs_to_one_owner() {
    let home = home();
    let (mine, theirs) = (bucket("name:a", 1 << 20), bucket("name:b", 1 << 20));
    home.store.edit(&mine, vec![set("k", b"cAnArY")]).unwrap();
    home.store.close();
    let database = std::fs::read(home.directory.path().join("haul.db")).unwrap(); // closed: nothing lies beside it
    assert!(!database.windows(6).any(|bytes| bytes == b"cAnArY"), "what is kept is sealed");
    let home = open_in(home.directory);
    assert_eq!(home.store.value(&mine, "k").unwrap().as_deref(), Some(&b"cAnArY"[..]));
    assert_eq!(home.store.value(&theirs, "k").unwrap(), None);
    assert_eq!(home.store.value(&Bucket { name: "c".into(), ..mine }, "k").unwrap(), None);
}

#[test]
fn a_quota_counts_what_is_there_and_what_is_refused_changes_nothing() {
    let home = home();
    let bucket = bucket("name:a", 500);
    home.store.edit(&bucket, vec![set("a", &[1; 200])]).unwrap();
    let refused = home.store.edit(&bucket, vec![set("a", b"other"), set("b", &[1; 400])]).unwrap_err();
    assert!(refused.to_string().contains("500 are granted"), "{refused}");
    assert_eq!(home.store.value(&bucket, "a").unwrap().unwrap().len(), 200);
    home.store.edit(&bucket, vec![("a".into(), Edit::Delete), set("b", &[1; 400])]).unwrap();
    assert_eq!(home.store.keys(&bucket, "", 0, 9).unwrap(), ["b"]);
    // With a smaller quota than what is there, it may still shrink.
    let smaller = Bucket { quota_bytes: 100, ..bucket };
    assert!(home.store.edit(&smaller, vec![set("c", b"")]).is_err());
    home.store.edit(&smaller, vec![set("b", &[1; 300])]).unwrap();
}

#[test]
fn numbers_grow_and_what_is_no_number_does_not() {
    let home = home();
    let bucket = bucket("name:a", 1 << 20);
    let add = |key: &str, delta: i64| home.store.edit(&bucket, vec![(key.into(), Edit::Add(delta))]);
    assert_eq!(add("n", 5).unwrap(), 5);
    assert_eq!(add("n", -7).unwrap(), -2);
    assert_eq!(home.store.value(&bucket, "n").unwrap().unwrap(), b"-2");
    add("m", i64::MAX).unwrap();
    assert!(add("m", 1).is_err());
    home.store.edit(&bucket, vec![set("t", b"text")]).unwrap();
    assert!(add("t", 1).is_err());
}

#[test]
fn keys_are_listed_in_pages() {
    let home = home();
    let bucket = bucket("name:a", 1 << 20);
    home.store.edit(&bucket, ["c", "a", "b"].map(|key| set(key, b"")).to_vec()).unwrap();
    assert_eq!(home.store.keys(&bucket, "", 0, 2).unwrap(), ["a", "b"]);
    assert_eq!(home.store.keys(&bucket, "b", 0, 2).unwrap(), ["c"]);
    assert_eq!(home.store.keys(&bucket, "", 2, 2).unwrap(), ["c"]);
}
