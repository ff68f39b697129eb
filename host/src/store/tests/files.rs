//! The file: permissions, damage, durability, the writer's thread.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn open(home: &Path) -> Result<Store> {
    Store::open(home, Box::new(|_| {}))
}

#[test]
fn the_bundled_sqlite_has_no_wal_reset_bug() {
    assert!(rusqlite::version_number() >= 3_051_003); // reliability, finding 9
}

#[test]
fn only_the_owner_can_read_home_and_files() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("a/b");
    let store = open(&home).unwrap();
    store.counts().unwrap();
    assert_eq!(mode(&home), 0o700);
    for name in ["haul.db", "haul.db-wal", "haul.db-shm"] {
        assert_eq!(mode(&home.join(name)), 0o600, "{name}");
    }
    store.close();
    set_mode(&home, 0o755);
    set_mode(&home.join("haul.db"), 0o644);
    open(&home).unwrap().close();
    assert_eq!(mode(&home), 0o700);
    assert_eq!(mode(&home.join("haul.db")), 0o600);
}

#[test]
fn a_damaged_file_is_named_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("haul.db");
    std::fs::write(&path, "this is not SQLite ".repeat(100)).unwrap();
    let before = std::fs::read(&path).unwrap();
    match open(directory.path()) {
        Err(Error::Damaged(text)) => assert!(text.contains("haul.db"), "{text}"),
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn damage_met_later_stops_the_writing() {
    let home = home();
    home.add_many((0..500).map(|n| task(&n.to_string())).collect());
    home.store.close();
    let path = home.directory.path().join("haul.db");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..].fill(0xA5); // all but the first page
    std::fs::write(&path, &bytes).unwrap();
    match open(home.directory.path()) {
        Err(Error::Damaged(_)) => {}
        Err(other) => panic!("{other:?}"),
        Ok(store) => {
            let change = Change::Start { key: 1, at: 1 };
            let answer = store.write(change).wait();
            assert!(matches!(answer, Err(Error::Damaged(_))), "{answer:?}");
            assert!(matches!(store.record("1"), Err(Error::Damaged(_))));
        }
    }
}

#[test]
fn another_programs_database_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("haul.db");
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE theirs (a)").unwrap();
    drop(conn);
    assert!(matches!(
        open(directory.path()),
        Err(Error::Damaged(text)) if text.contains("not a database of haul")
    ));
}

#[test]
fn a_newer_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).unwrap().close();
    let path = directory.path().join("haul.db");
    let conn = Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    assert!(matches!(
        open(directory.path()),
        Err(Error::Other(text)) if text.contains("newer version")
    ));
}

#[test]
fn what_is_committed_is_there_after_a_kill() {
    let home = home();
    let key = home.add(task("a"));
    home.start(key);
    home.write(resumable(key));
    // What a killed process leaves: the files as they are, the WAL not copied back.
    let copy = tempfile::tempdir().unwrap();
    for name in ["haul.db", "haul.db-wal", "secret.key"] {
        let from = home.directory.path().join(name);
        std::fs::write(copy.path().join(name), std::fs::read(from).unwrap()).unwrap();
    }
    let store = open(copy.path()).unwrap();
    let unfinished = store.unfinished().unwrap();
    assert_eq!(unfinished.len(), 1);
    assert_eq!(unfinished[0].record.resume, Some(resume_record()));
    assert_eq!(store.last_seq().unwrap(), 2);
    assert_eq!(store.counts().unwrap(), [0, 1, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn closing_finishes_what_was_handed_over() {
    let home = home();
    let key = home.add(task("a"));
    home.start(key);
    home.store.write_later(resumable(key));
    let durable_bytes = 500;
    home.store.write_later(Change::Durable { key, durable_bytes });
    home.store.close();
    let wal = home.directory.path().join("haul.db-wal");
    assert!(wal.metadata().map_or(true, |wal| wal.len() == 0));
    assert!(home.store.write(Change::Start { key, at: 1 }).wait().is_err());
    let resume = home.record(key).unwrap().resume.unwrap();
    assert_eq!(resume.durable_bytes, 500);
}

#[test]
fn what_nobody_waits_for_rides_along() {
    let home = home();
    let key = home.add(task("a"));
    home.start(key);
    home.store.write_later(resumable(key));
    assert_eq!(home.write(Change::Durable { key, durable_bytes: 11 }), Applied::Done);
    assert_eq!(home.record(key).unwrap().resume.unwrap().durable_bytes, 11);
}

#[test]
fn writes_of_many_threads_share_commits() {
    let home = home();
    let keys = home.add_many((0..400).map(|n| task(&n.to_string())).collect());
    let before = home.tellings.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        for chunk in keys.chunks(50) {
            let store = &home.store;
            scope.spawn(move || {
                let start = |key: &TaskKey| store.write(Change::Start { key: *key, at: 2 });
                let pending: Vec<Pending> = chunk.iter().map(start).collect();
                for pending in pending {
                    assert_eq!(pending.wait().unwrap(), Applied::Done);
                }
            });
        }
    });
    let commits = home.tellings.load(Ordering::Relaxed) - before;
    assert!(commits < 200, "{commits} commits for 400 changes");
    assert_eq!(home.store.counts().unwrap()[1], 400);
}

#[test]
fn a_pending_change_can_be_awaited() {
    let home = home();
    home.add(task("a"));
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    let pending = home.store.write(Change::Start { key: 1, at: 2 });
    assert_eq!(runtime.block_on(pending).unwrap(), Applied::Done);
}

#[test]
fn a_change_that_fails_by_itself_leaves_its_group_alone() {
    let home = home();
    // Tampered with so that its end comes twice in one run, which the schema does not allow.
    let key = home.add(task("a"));
    home.finish(key, Status::Failed);
    let conn = Connection::open(home.directory.path().join("haul.db")).unwrap();
    conn.execute("UPDATE task SET status = 1 WHERE key = 1", []).unwrap();
    drop(conn);
    let other = home.add(task("b"));
    let finish = Change::Finish {
        key,
        status: Status::Complete,
        details: std::sync::Arc::default(),
        bytes_done: 0,
        keep_resume: false,
        at: 9,
    };
    let before = home.store.write(Change::Start { key: other, at: 9 });
    let failed = home.store.write(finish);
    let after = home.store.write(Change::Consumer { name: "c".into() });
    assert_eq!(before.wait().unwrap(), Applied::Done);
    assert!(matches!(failed.wait(), Err(Error::Other(_))));
    assert_eq!(after.wait().unwrap(), Applied::Position(0));
    assert_eq!(home.told_of("b"), [Status::Enqueued, Status::Running]);
    assert_eq!(home.told_of("a"), [Status::Enqueued, Status::Failed]);
}

#[test]
fn a_full_disk_fails_the_change_and_not_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(super::open::FILE);
    super::open::prepare_file(&path).unwrap();
    let conn = super::open::writer(&path).unwrap();
    // A limit whose passing SQLite answers like a full disk.
    conn.pragma_update(None, "max_page_count", 60).unwrap();
    let told = std::sync::Arc::new(Mutex::new(Vec::new()));
    let sink = told.clone();
    let tell = Box::new(move |updates: Vec<Committed>| {
        sink.lock().unwrap().extend(updates.into_iter().map(|committed| committed.update));
    });
    let vault = super::vault::Vault::open(directory.path(), &conn).unwrap();
    let store = Store::start(conn, vault, path, tell).unwrap();
    let home = Home { store, told, tellings: std::sync::Arc::default(), directory };
    home.add(task("a"));
    let addition = |n: usize| NewTask {
        paused: false,
        resume: None,
        task: std::sync::Arc::new(task(&format!("t{n}"))),
        place: None,
    };
    let answer = home.store.write(Change::Add {
        tasks: (0..5_000).map(addition).collect(),
        if_exists: IfExists::Reject,
        asked: false,
        at: 1,
    });
    let answer = answer.wait();
    assert!(matches!(answer, Err(Error::FileSystem(_))), "{answer:?}");
    assert_eq!(home.told.lock().unwrap().len(), 1);
    assert_eq!(home.store.counts().unwrap()[0], 1);
    assert_eq!(home.start(1), Applied::Done);
    assert_eq!(home.events().len(), 2);
}

#[test]
fn a_check_names_the_version_and_finds_nothing_wrong() {
    let home = home();
    home.add(task("a"));
    let lines = home.store.check().unwrap();
    assert!(lines[0].starts_with("SQLite 3."));
    assert_eq!(lines[1..], ["ok"]);
}
