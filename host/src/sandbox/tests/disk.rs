//! Room, reservations, syncing, limits: what needs more of the disk than names.

use std::process::Command;

use super::*;

fn blocks(world: &World, name: &str) -> u64 {
    std::fs::metadata(world.path(name)).expect("metadata").blocks() * 512
}

#[test]
fn room_is_reserved_from_64_kib_and_given_back_when_not_used() {
    let world = World::new();
    let base = world.base();
    base.create_part(".small.1.part", Some(65_535)).expect("created");
    assert_eq!(blocks(&world, ".small.1.part"), 0);
    let mut part = base.create_part(".f.1.part", Some(8 << 20)).expect("created");
    if blocks(&world, ".f.1.part") == 0 {
        return; // a file system that cannot reserve
    }
    part.append(b"short").expect("written");
    assert!(blocks(&world, ".f.1.part") >= 8 << 20);
    assert_eq!(std::fs::metadata(world.path(".f.1.part")).expect("metadata").len(), 5);
    let identity = part.identity();
    drop(part);
    assert_eq!(base.publish(".f.1.part", identity, "f", false), Ok(Published::Done));
    assert!(blocks(&world, "f") <= 4096, "{}", blocks(&world, "f"));
    assert_eq!(world.read("f"), "short");
}

#[test]
fn starting_anew_gives_reserved_room_back() {
    let world = World::new();
    let base = world.base();
    let mut part = base.create_part(".f.1.part", Some(8 << 20)).expect("created");
    part.append(&[0; 10_000]).expect("written");
    let identity = part.identity();
    drop(part);
    let mut part = base.open_part(".f.1.part", identity).expect("opened").expect("the same");
    part.truncate(0).expect("cut");
    assert_eq!(blocks(&world, ".f.1.part"), 0);
}

#[test]
fn a_length_beyond_the_disk_is_refused_before_anything_is_written() {
    let world = World::new();
    let base = world.base();
    for expected in [u64::MAX, 1 << 62, 1 << 50] {
        let failure = base.create_part(".f.1.part", Some(expected)).expect_err("refused");
        assert_eq!((failure.kind, failure.detail), (FailureKind::FileSystem, FailureDetail::DiskFull));
        assert!(failure.description.contains("needs") && failure.description.contains("free"), "{failure}");
    }
    assert!(!base.exists(".f.1.part"));
}

#[test]
fn a_server_cannot_reserve_the_last_of_the_disk() {
    const MIB: u64 = 1 << 20;
    let space = |free, total| space::Space { free: free * MIB, total: total * MIB };
    let cases = [(10, 1000, 1000, 10), (950, 1000, 1000, 936), (100, 60, 1000, 0), (9_000, 9_500, 100_000, 8_500)];
    for (expected, free, total, reserved) in cases {
        assert_eq!(space::reservable(expected * MIB, space(free, total)), reserved * MIB);
    }
}

#[test]
fn write_back_is_started_on_the_way_and_the_bytes_are_whole() {
    let world = World::new();
    let base = world.base();
    let mut part = base.create_part(".f.1.part", Some(40 << 20)).expect("created");
    let piece: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
    for _ in 0..13 {
        part.append(&piece).expect("written");
    }
    part.syncer().expect("a syncer").sync().expect("synced");
    assert_eq!(std::fs::read(world.path(".f.1.part")).expect("read"), piece.repeat(13));
}

#[test]
fn few_and_many_parts_are_synced_and_the_vanished_passed_over() {
    let world = World::new();
    for count in [0, 1, 2, 8, 9, 300] {
        let directories = [world.open("a").expect("opened"), world.open("b").expect("opened")];
        let parts: Vec<(Directory, String)> = (0..count)
            .map(|number| {
                let directory = &directories[number % 2];
                let name = part_name("f", &number.to_string());
                part(directory, &name, "text");
                (directory.clone(), name)
            })
            .collect();
        if let Some((directory, name)) = parts.last() {
            directory.remove_part(name);
        }
        assert_eq!(directories[0].sync_parts(&parts), vec![Ok(()); count]);
    }
}

#[test]
fn answers_of_syncing_are_in_the_order_of_the_parts() {
    let world = World::new();
    let base = world.base();
    for count in [5, 50] {
        let mut parts: Vec<(Directory, String)> =
            (0..count).map(|n| (base.clone(), part_name("f", &n.to_string()))).collect();
        for (directory, name) in &parts {
            part(directory, name, "text");
        }
        parts[3].1 = "../f".to_owned();
        base.inner.disk.avoid_syncfs();
        let answers = base.sync_parts(&parts);
        for (index, answer) in answers.iter().enumerate() {
            assert_eq!(answer.is_err(), index == 3, "{index}");
        }
    }
}

/// A file system of its own, of 4 MiB. `None` where nothing may be mounted, which tests/run finds out and says.
struct SmallDisk {
    world: World,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        if std::env::var_os("HAUL_TESTS_UNMOUNTED").is_some() {
            return None;
        }
        let world = World::new();
        world.base();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(world.path("")).status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "mount does not work; HAUL_TESTS_UNMOUNTED=1 leaves such tests out"
        );
        let bases = world.sandbox.bases.clone();
        Some(Self { world: World { sandbox: Sandbox::new(bases), ..world } })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the sandbox still has the directory open.
        let _ = Command::new("umount").arg("-l").arg(self.world.path("")).status();
    }
}

#[test]
fn a_full_disk_is_told_apart_and_what_was_written_counts() {
    let Some(disk) = SmallDisk::mount() else { return };
    let base = disk.world.base();
    let mut part = base.create_part(".f.1.part", None).expect("created");
    let failure = loop {
        if let Err(failure) = part.append(&[1; 100_000]) {
            break failure;
        }
    };
    assert_eq!((failure.kind, failure.detail), (FailureKind::FileSystem, FailureDetail::DiskFull));
    let on_disk = std::fs::metadata(disk.world.path(".f.1.part")).expect("metadata").len();
    assert_eq!(part.len(), on_disk);
    part.truncate(1000).expect("cut");
    part.append(&[2; 1000]).expect("there is room again");
    assert_eq!(part.len(), 2000);
}

#[test]
fn too_little_room_for_a_reservation_leaves_no_file() {
    let Some(disk) = SmallDisk::mount() else { return };
    let base = disk.world.base();
    let mut filler = base.create_part(".filler.1.part", None).expect("created");
    filler.append(&vec![1; 3_800_000]).expect("written");
    let failure = base.create_part(".f.2.part", Some(900_000)).expect_err("no room");
    assert_eq!(failure.detail, FailureDetail::DiskFull);
    assert!(!base.exists(".f.2.part"));
    let failure = base.create_part(".f.2.part", Some(2 << 20)).expect_err("no room");
    assert!(failure.description.contains("needs 2.0 MiB"), "{failure}");
}

#[test]
fn a_limit_of_file_sizes_is_a_failure_and_no_signal() {
    const CHILD: &str = "HAUL_TEST_FILE_SIZE_LIMIT";
    if std::env::var_os(CHILD).is_none() {
        let myself = std::env::current_exe().expect("this program");
        let name = std::thread::current().name().expect("the test's name").to_owned();
        let child = Command::new(myself).args(["--exact", &name]).env(CHILD, "1").output().expect("run");
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        return;
    }
    let limit = rustix::process::Rlimit { current: Some(10_000), maximum: None };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).expect("limited");
    ignore_file_size_signal();
    let world = World::new();
    let mut part = world.base().create_part(".f.1.part", Some(1 << 20)).expect("created");
    let failure = part.append(&[1; 20_000]).expect_err("too large");
    assert_eq!((failure.kind, failure.detail), (FailureKind::FileSystem, FailureDetail::None));
    assert_eq!(part.len(), 10_000);
}
