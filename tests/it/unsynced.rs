//! What the disk does not confirm: system calls that fail at the end of a download, by strace, which tests/run installs. (The
//! disk that is full is in `download`.)

use std::path::Path;
use std::process::Command;

use crate::support::*;

const EIO: &str = "error=EIO";

/// strace's words to let a call fail on a path. `None` where nothing may be traced, which tests/run finds out and says.
#[track_caller]
fn faulty(path: &Path, fault: &str) -> Option<Vec<String>> {
    if std::env::var_os("HAUL_TESTS_UNTRACED").is_some() {
        return None;
    }
    let traces = Command::new("strace").args(["-o", "/dev/null", "true"]).status();
    assert!(
        traces.is_ok_and(|status| status.success()),
        "strace does not work; HAUL_TESTS_UNTRACED=1 leaves such tests out"
    );
    let call = fault.split_once(':').map_or(fault, |(call, _)| call);
    let (path, trace, inject) = (path.to_str().unwrap(), format!("trace={call}"), format!("inject={fault}"));
    // On one core all transfers are one thread's: strace counts the calls of each.
    let tracing = ["taskset", "-c", "0", "strace", "-f", "-qq", "-o", "/dev/null"];
    let faster = fault.contains("error=").then_some("--seccomp-bpf"); // it forgets signals
    let words = tracing.into_iter().chain(faster).chain(["-P", path, "-e", &trace, "-e", &inject]);
    Some(words.map(str::to_owned).collect())
}

/// Runs haul with that fault.
#[track_caller]
fn haul_with(world: &World, faults: &[String], arguments: &[&str]) -> Outcome {
    let faults: Vec<&str> = faults.iter().map(String::as_str).collect();
    world.haul_through(&faults, arguments)
}

#[test]
fn bytes_that_were_not_synced_are_fetched_again_and_no_others() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(1, 12_000_000);
    let film = origin.serve("/f", file(&content).etag("\"v1\"").pace(20_000_000));
    let Some(faults) = faulty(&world.path("work/.f.one.part"), &format!("fsync:{EIO}")) else { return };

    let failed = haul_with(&world, &faults, &["get", film.url(), "--id", "one"]).exits(6);
    let left = world.show("one");
    world.get(&[film.url(), "--id", "one"]).exits(0);

    failed.says("cannot sync `.f.one.part`");
    let durable = left["bytesDone"].as_u64().unwrap();
    assert!((8 << 20..12_000_000).contains(&durable), "{left}");
    assert_eq!(film.requests()[1].range_start(), Some(durable), "{:?}", film.log());
    assert_same_bytes(&world.read("f"), &content);
}

#[test]
fn an_engine_that_waits_for_room_does_not_wait_for_a_database_that_lost_what_was_written() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    world.add(&[serde_json::json!({"url": film.url()})]);
    let log = world.home().join("haul.db-wal");
    let Some(faults) = faulty(&log, &format!("fdatasync,fsync:{EIO}")) else { return };

    haul_with(&world, &faults, &["run"]).exits(6).says("nothing more is written");
    assert_eq!(world.list()[0]["status"], "enqueued");
    world.run().exits(0);

    assert_eq!(std::fs::read(world.path("in/f")).unwrap(), b"x");
}

#[test]
fn a_sync_on_the_way_that_fails_ends_the_attempt() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(2, 30_000_000);
    let film = origin.serve("/f", file(&content).etag("\"v1\"").pace(40_000_000));
    let fault = format!("fdatasync:{EIO}:when=2");
    let Some(faults) = faulty(&world.path("work/.f.one.part"), &fault) else { return };

    haul_with(&world, &faults, &["get", film.url(), "--id", "one"]).exits(6).says("cannot sync");
    world.get(&[film.url(), "--id", "one"]).exits(0);

    let from = film.requests()[1].range_start().unwrap_or(0);
    assert!((8 << 20..30_000_000).contains(&from), "what the first sync made durable: {:?}", film.log());
    assert_same_bytes(&world.read("f"), &content);
}

#[test]
fn a_short_file_that_was_not_synced_begins_afresh() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"film").etag("\"v1\""));
    let Some(faults) = faulty(&world.path("work/.f.one.part"), "fsync:error=ENOSPC") else { return };

    haul_with(&world, &faults, &["get", film.url(), "--id", "one"]).exits(6);
    assert_eq!(world.names().len(), 0, "nothing is left of it");
    world.get(&[film.url(), "--id", "one"]).exits(0);

    assert_eq!(film.log(), ["GET /f", "GET /f"]);
    assert_eq!(world.read("f"), b"film");
}

#[test]
fn a_whole_file_waits_for_others_to_close_theirs_and_is_not_fetched_again() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"film"));
    world.add(&[serde_json::json!({"url": film.url(), "taskId": "one"})]);
    // Each thread's first: where the file is created, and where it is synced.
    let Some(faults) = faulty(Path::new(".f.one.part"), "openat:error=EMFILE:when=1") else { return };

    let outcome = haul_with(&world, &faults, &["--json", "run", "--until-idle"]).exits(0);

    let waits = "running > waitingToRetry > enqueued";
    assert_eq!(outcome.statuses(), format!("{waits} > {waits} > running > complete"));
    assert_eq!(film.log(), ["GET /f", "GET /f"]);
    assert_eq!(std::fs::read(world.path("in/f")).unwrap(), b"film");
}

#[test]
fn a_file_whose_name_is_not_safe_is_named_and_the_same_command_finishes_it() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"film"));
    let Some(faults) = faulty(&world.work(), &format!("fsync:{EIO}")) else { return };

    haul_with(&world, &faults, &["get", film.url()]).exits(6).says("`f` is whole, but its name is not safe");
    let failed = world.list()[0].clone();
    world.get(&[film.url()]).exits(0);

    assert_eq!(failed["status"], "failed");
    assert_eq!(failed["filePath"], world.path("work/f").to_str().unwrap(), "it says where the file is");
    assert_eq!((film.log().len(), world.names()), (1, vec!["f".to_owned()]));
    assert_eq!(world.list()[0]["status"], "complete");
}

#[test]
fn an_empty_file_whose_name_is_not_safe_is_not_fetched_again_either() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b""));
    let Some(faults) = faulty(&world.work(), &format!("fsync:{EIO}")) else { return };

    haul_with(&world, &faults, &["get", film.url()]).exits(6).says("`f` is whole, but its name is not safe");
    haul_with(&world, &faults, &["get", film.url()]).exits(6).says("`f` is whole, but its name is not safe");
    world.get(&[film.url()]).exits(0);

    assert_eq!((film.log().len(), world.names()), (1, vec!["f".to_owned()]));
    assert_eq!(world.list()[0]["status"], "complete");
}

#[test]
fn a_file_that_had_to_take_another_name_is_found_by_that() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let film = origin.serve("/f", file(b"film").gate(2, &gate));
    let Some(faults) = faulty(&world.work(), &format!("fsync:{EIO}")) else { return };
    let faults: Vec<&str> = faults.iter().map(String::as_str).collect();

    let running = world.spawn_through(&faults, &["get", film.url()]);
    gate.wait_for(1);
    world.write("f", "mine");
    gate.open();
    running.finish().exits(6).says("`f (1)` is whole");
    world.get(&[film.url()]).exits(0);

    assert_eq!((film.log().len(), world.names()), (1, vec!["f".to_owned(), "f (1)".to_owned()]));
    assert_eq!((world.read("f"), world.read("f (1)")), (b"mine".to_vec(), b"film".to_vec()));
}

#[test]
fn a_name_that_was_not_safe_when_haul_was_killed_nor_at_the_next_start_costs_no_bytes() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"film"));
    let Some(killed) = faulty(&world.work(), "fsync:signal=KILL") else { return };
    let Some(faults) = faulty(&world.work(), &format!("fsync:{EIO}:when=1")) else { return };

    assert_ne!(haul_with(&world, &killed, &["get", film.url()]).code, 0);
    haul_with(&world, &faults, &["get", film.url()]).exits(6).says("its name is not safe");
    world.get(&[film.url()]).exits(0);

    assert_eq!((film.log().len(), world.names()), (1, vec!["f".to_owned()]));
}
