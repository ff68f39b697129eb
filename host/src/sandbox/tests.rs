//! On real directories and files, with real links and a real small disk.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::error::FailureDetail;

mod disk;
mod source;

/// A sandbox with the base directory `downloads`.
struct World {
    temp: TempDir,
    sandbox: Sandbox,
}

impl World {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a directory");
        let bases = BTreeMap::from([("downloads".to_owned(), temp.path().join("base"))]);
        Self { sandbox: Sandbox::new(bases), temp }
    }

    fn open(&self, below: &str) -> Result<Directory, Failure> {
        self.sandbox.directory("downloads", None, below)
    }

    fn base(&self) -> Directory {
        self.open("").expect("the base directory")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join("base").join(name)
    }

    fn outside(&self) -> PathBuf {
        let path = self.temp.path().join("outside");
        std::fs::create_dir_all(&path).expect("created");
        path
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("a file")
    }
}

/// A part file with these bytes, closed.
fn part(directory: &Directory, name: &str, text: &str) -> Identity {
    let mut part = directory.create_part(name, None).expect("a part file");
    part.append(text.as_bytes()).expect("written");
    part.identity()
}

fn is_send<T: Send + 'static>() {}

#[test]
fn everything_may_move_to_other_threads() {
    is_send::<Sandbox>();
    is_send::<Directory>();
    is_send::<PartFile>();
    is_send::<super::part::Syncer>();
}

#[test]
fn missing_directories_are_created_and_kept_open() {
    let world = World::new();
    let directory = world.open("a/b/c").expect("created");
    assert_eq!(directory.path(), world.path("a/b/c"));
    assert!(world.path("a/b/c").is_dir());
    let again = world.open("a/b/c").expect("opened");
    assert!(Arc::ptr_eq(&directory.inner, &again.inner));
}

#[test]
fn a_place_granted_in_person_needs_no_base_and_must_be_absolute() {
    let world = World::new();
    let place = world.temp.path().join("new/place");
    let directory = world.sandbox.directory("no such", Some(&place), "d").expect("opened");
    assert_eq!(directory.path(), place.join("d"));
    let failure = world.sandbox.directory("downloads", Some(Path::new("relative")), "").expect_err("refused");
    assert_eq!(failure.kind, FailureKind::Policy);
}

#[test]
fn an_unknown_base_directory_is_refused_with_a_way_out() {
    let failure = World::new().sandbox.directory("music", None, "").expect_err("refused");
    assert_eq!(failure.kind, FailureKind::Policy);
    assert!(failure.description.contains("[directories]") && failure.description.contains("`music`"), "{failure}");
}

#[test]
fn paths_that_are_not_plainly_below_are_refused() {
    let world = World::new();
    for below in ["..", "../x", "a/..", "a/../../x", "/etc", "/", "a//b", "a/", ".", "./a", "a/./b", "a\0b", "\0"] {
        let failure = world.open(below).expect_err(below);
        assert_eq!(failure.kind, FailureKind::Policy, "{below:?}");
    }
    assert!(!world.path("a").exists(), "nothing was created on the way");
}

#[test]
fn links_that_lead_outside_are_refused_wherever_they_are() {
    let world = World::new();
    world.base();
    let outside = world.outside();
    std::fs::create_dir(outside.join("d")).expect("created");
    symlink(&outside, world.path("absolute")).expect("linked");
    symlink("../outside", world.path("relative")).expect("linked");
    for below in ["absolute", "relative", "absolute/d", "relative/d", "absolute/new", "relative/new/deeper"] {
        let failure = world.open(below).expect_err(below);
        assert_eq!(failure.kind, FailureKind::Policy, "{below}: {failure}");
        assert!(failure.description.contains("symbolic link"), "{failure}");
    }
    assert!(!outside.join("new").exists());
}

#[test]
fn links_that_stay_inside_are_followed() {
    let world = World::new();
    world.open("real/d").expect("created");
    symlink("real", world.path("link")).expect("linked");
    let directory = world.open("link/d/new").expect("opened");
    part(&directory, ".f.1.part", "text");
    assert_eq!(world.read("real/d/new/.f.1.part"), "text");
}

#[test]
fn a_file_in_the_place_of_a_directory_fails() {
    let world = World::new();
    world.base();
    std::fs::write(world.path("file"), "").expect("written");
    for below in ["file", "file/d"] {
        assert_eq!(world.open(below).expect_err(below).kind, FailureKind::FileSystem);
    }
}

#[test]
fn the_base_directory_itself_may_be_a_link() {
    let world = World::new();
    let outside = world.outside();
    symlink(&outside, world.temp.path().join("base")).expect("linked");
    part(&world.open("d").expect("opened"), ".f.1.part", "text");
    assert!(outside.join("d/.f.1.part").exists());
}

#[test]
fn a_directory_that_was_moved_away_is_noticed() {
    let world = World::new();
    let old = world.open("d").expect("opened");
    #[expect(clippy::disallowed_methods, reason = "what somebody else does")]
    std::fs::rename(world.path("d"), world.path("moved")).expect("moved");
    let new = world.open("d").expect("opened");
    assert!(!Arc::ptr_eq(&old.inner, &new.inner));
    part(&new, ".f.1.part", "text");
    assert_eq!(world.read("d/.f.1.part"), "text");
}

#[test]
fn a_directory_that_was_removed_while_open_is_created_anew() {
    let world = World::new();
    let directory = world.open("d/e").expect("opened");
    std::fs::remove_dir_all(world.path("d")).expect("removed");
    let identity = part(&directory, ".f.1.part", "text");
    assert_eq!(directory.publish(".f.1.part", identity, "f", false), Ok(Published::Done));
    assert_eq!(world.read("d/e/f"), "text");
}

#[test]
fn more_directories_than_are_kept_open_work_too() {
    let world = World::new();
    let sandbox = Sandbox::new(world.sandbox.bases.clone()).durable(false);
    for number in 0..OPEN_DIRECTORIES + 10 {
        sandbox.directory("downloads", None, &number.to_string()).expect("opened");
    }
    assert!(lock(&sandbox.cache).len() <= OPEN_DIRECTORIES);
}

#[test]
fn names_that_are_paths_reach_nothing() {
    let world = World::new();
    let directory = world.open("d").expect("opened");
    std::fs::write(world.path("secret"), "secret").expect("written");
    let identity = part(&directory, ".f.1.part", "text");
    for name in ["../secret", "..", ".", "", "/etc/passwd", "a/b", "a\0b"] {
        assert!(!directory.exists(name), "{name:?}");
        assert_eq!(directory.identity(name), None);
        assert_eq!(directory.create_part(name, None).expect_err(name).kind, FailureKind::Policy);
        assert!(directory.open_part(name, identity).is_err());
        assert!(directory.publish(".f.1.part", identity, name, true).is_err());
        assert!(directory.publish(name, identity, "f", true).is_err());
        assert!(directory.sync_parts(&[(directory.clone(), name.to_owned())])[0].is_err());
        directory.remove_part(name);
    }
    assert_eq!(world.read("secret"), "secret");
    assert_eq!(world.read("d/.f.1.part"), "text");
}

#[test]
fn bytes_are_appended_counted_and_read_back() {
    let world = World::new();
    let mut part = world.base().create_part(".f.1.part", None).expect("created");
    assert_eq!(part.len(), 0);
    part.append(b"one ").expect("written");
    part.append(b"").expect("written");
    part.append(b"two").expect("written");
    assert_eq!(part.len(), 7);
    part.syncer().expect("a syncer").sync().expect("synced");
    for _ in 0..2 {
        let text = std::io::read_to_string(part.reader().expect("a reader")).expect("read");
        assert_eq!(text, "one two", "each reader begins at the start");
    }
    assert_eq!(std::fs::metadata(world.path(".f.1.part")).expect("metadata").mode() & 0o777, 0o600);
}

#[test]
fn a_reader_of_another_file_under_the_same_name_is_refused() {
    let world = World::new();
    let part = world.base().create_part(".f.1.part", None).expect("created");
    std::fs::remove_file(world.path(".f.1.part")).expect("removed");
    assert!(part.reader().is_err());
    std::fs::write(world.path(".f.1.part"), "other").expect("written");
    assert!(part.reader().is_err());
}

#[test]
fn a_left_over_part_is_replaced_and_anything_else_is_not() {
    let world = World::new();
    let base = world.base();
    let old = part(&base, ".f.1.part", "old");
    let kept = std::fs::File::open(world.path(".f.1.part")).expect("opened");
    assert_ne!(part(&base, ".f.1.part", "new"), old);
    drop(kept);
    assert_eq!(world.read(".f.1.part"), "new");
    std::fs::write(world.path("mine.txt"), "mine").expect("written");
    assert!(base.create_part("mine.txt", None).is_err());
    base.remove_part("mine.txt");
    assert_eq!(world.read("mine.txt"), "mine");
}

#[test]
fn a_link_under_the_parts_name_is_not_followed() {
    let world = World::new();
    let base = world.base();
    let victim = world.outside().join("victim");
    std::fs::write(&victim, "victim").expect("written");
    let identity = Identity::of(&rustix::fs::stat(&victim).expect("stat"));
    symlink(&victim, world.path(".f.1.part")).expect("linked");
    assert!(base.open_part(".f.1.part", identity).expect("no failure").is_none());
    assert_eq!(base.identity(".f.1.part"), None);
    assert_eq!(base.publish(".f.1.part", identity, "f", true), Ok(Published::Missing));
    assert_eq!(base.sync_parts(&[(base.clone(), ".f.1.part".to_owned())]), [Ok(())]);
    part(&base, ".f.1.part", "text");
    assert_eq!(world.read(".f.1.part"), "text");
    assert_eq!(std::fs::read_to_string(&victim).expect("read"), "victim");
}

#[test]
fn a_part_is_gone_on_with_at_its_end() {
    let world = World::new();
    let base = world.base();
    let identity = part(&base, ".f.1.part", "one ");
    let mut part = base.open_part(".f.1.part", identity).expect("opened").expect("the same");
    assert_eq!((part.len(), part.identity()), (4, identity));
    part.append(b"two").expect("written");
    part.truncate(5).expect("cut");
    part.append(b"hree").expect("written");
    assert!(part.truncate(100).is_err());
    assert_eq!(world.read(".f.1.part"), "one three");
    part.truncate(0).expect("cut");
    part.append(b"anew").expect("written");
    assert_eq!((world.read(".f.1.part").as_str(), part.len()), ("anew", 4));
}

#[test]
fn only_the_very_same_file_is_gone_on_with() {
    let world = World::new();
    let base = world.base();
    let identity = part(&base, ".f.1.part", "text");
    let gone = |identity| base.open_part(".f.1.part", identity).expect("no failure").is_none();
    assert!(!gone(identity));
    assert!(gone(Identity { ino: identity.ino + 1, ..identity }));
    assert!(gone(Identity { dev: identity.dev + 1, ..identity }));
    std::fs::hard_link(world.path(".f.1.part"), world.path("second name")).expect("linked");
    assert!(gone(identity), "a second name");
    std::fs::remove_file(world.path(".f.1.part")).expect("removed");
    assert!(gone(identity), "no file");
    std::fs::create_dir(world.path(".f.1.part")).expect("created");
    assert!(gone(identity), "a directory");
    std::fs::remove_dir(world.path(".f.1.part")).expect("removed");
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, world.path(".f.1.part"), FileType::Fifo, mode, 0).expect("a FIFO");
    assert!(gone(Identity::of(&rustix::fs::stat(world.path(".f.1.part")).expect("stat"))), "a FIFO");
}

#[test]
fn publishing_gives_the_name_and_the_usual_mode() {
    let world = World::new();
    let base = world.base();
    let identity = part(&base, ".f.1.part", "text");
    assert_eq!(base.publish(".f.1.part", identity, "f.txt", false), Ok(Published::Done));
    base.sync().expect("synced");
    assert_eq!(world.read("f.txt"), "text");
    assert!(!base.exists(".f.1.part"));
    assert_eq!(base.identity("f.txt"), Some(identity));
    let mode = std::fs::metadata(world.path("f.txt")).expect("metadata").mode() & 0o777;
    assert_eq!(mode, 0o666 & !space::umask());
    std::fs::write(world.path("usual"), "").expect("written");
    assert_eq!(mode, std::fs::metadata(world.path("usual")).expect("metadata").mode() & 0o777);
    assert_eq!(base.publish(".f.1.part", identity, "f.txt", false), Ok(Published::Missing), "done already");
}

#[test]
fn a_finished_part_has_its_mode_before_it_has_its_name() {
    let world = World::new();
    let base = world.base();
    let mut part = base.create_part(".f.1.part", Some(1 << 20)).expect("created");
    part.append(b"short").expect("written");
    part.finish().expect("finished");
    let metadata = std::fs::metadata(world.path(".f.1.part")).expect("metadata");
    assert_eq!(metadata.mode() & 0o777, 0o666 & !space::umask());
    assert!(metadata.blocks() * 512 <= 4096);
}

#[test]
fn a_part_that_another_program_has_made_longer_is_not_finished() {
    let world = World::new();
    let mut part = world.base().create_part(".f.1.part", None).expect("created");
    part.append(b"mine").expect("written");
    std::fs::write(world.path(".f.1.part"), "mine, and more").expect("written");
    let failure = part.finish().expect_err("it is longer than what was written");
    assert_eq!(failure.kind, FailureKind::Checksum, "{failure}");
}

#[test]
fn a_taken_name_is_kept_unless_it_may_be_replaced() {
    let world = World::new();
    let base = world.base();
    std::fs::write(world.path("f"), "old").expect("written");
    let identity = part(&base, ".f.1.part", "new");
    assert_eq!(base.publish(".f.1.part", identity, "f", false), Ok(Published::Taken));
    assert_eq!(world.read("f"), "old");
    assert!(base.exists(".f.1.part"));
    assert_eq!(base.publish(".f.1.part", identity, "f", true), Ok(Published::Done));
    assert_eq!(world.read("f"), "new");
}

#[test]
fn links_under_the_final_name_are_neither_followed_nor_replaced() {
    let world = World::new();
    let base = world.base();
    let victim = world.outside().join("victim");
    std::fs::write(&victim, "victim").expect("written");
    for target in [victim.as_path(), Path::new("dangling")] {
        symlink(target, world.path("f")).expect("linked");
        assert!(base.exists("f"));
        let identity = part(&base, ".f.1.part", "text");
        assert_eq!(base.publish(".f.1.part", identity, "f", false), Ok(Published::Taken));
        let failure = base.publish(".f.1.part", identity, "f", true).expect_err("refused");
        assert!(failure.description.contains("`f` is a symbolic link"), "{failure}");
        assert!(std::fs::symlink_metadata(world.path("f")).expect("metadata").is_symlink());
        std::fs::remove_file(world.path("f")).expect("removed");
    }
    assert_eq!(std::fs::read_to_string(&victim).expect("read"), "victim");
}

#[test]
fn what_is_no_regular_file_is_called_by_its_name() {
    let world = World::new();
    let base = world.base();
    std::fs::write(world.path("file"), "").expect("written");
    std::fs::create_dir(world.path("directory")).expect("created");
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, world.path("fifo"), fifo, Mode::from_raw_mode(0o600), 0).expect("created");
    let found: Vec<_> = ["nothing", "file", "directory", "fifo"].iter().map(|name| base.obstacle(name)).collect();
    assert_eq!(found, [None, None, Some("a directory"), Some("a FIFO")]);
}

#[test]
fn the_parts_of_a_task_are_found_by_its_id() {
    let world = World::new();
    let base = world.base();
    let names = [part_name("f.txt", "a"), part_name("g", "a"), part_name("f.txt", "b.a"), part_name("f.a", "b")];
    for name in &names {
        part(&base, name, "text");
    }
    base.remove_parts_of(&["a".to_owned()]);
    let left: Vec<bool> = names.iter().map(|name| base.exists(name)).collect();
    assert_eq!(left, [false, false, true, true]);
    base.remove_parts_of(&["b.a".to_owned(), "b".to_owned()]);
    assert!(names.iter().all(|name| !base.exists(name)));
}

#[test]
fn other_names_of_a_replaced_file_keep_its_bytes() {
    let world = World::new();
    let base = world.base();
    std::fs::write(world.path("f"), "old").expect("written");
    std::fs::hard_link(world.path("f"), world.path("second name")).expect("linked");
    let identity = part(&base, ".f.1.part", "new");
    assert_eq!(base.publish(".f.1.part", identity, "f", true), Ok(Published::Done));
    assert_eq!((world.read("f"), world.read("second name")), ("new".to_owned(), "old".to_owned()));
}

#[test]
fn a_directory_under_the_final_name_is_never_replaced() {
    let world = World::new();
    let base = world.open("").expect("opened");
    std::fs::create_dir(world.path("f")).expect("created");
    let identity = part(&base, ".f.1.part", "text");
    assert_eq!(base.publish(".f.1.part", identity, "f", false), Ok(Published::Taken));
    let failure = base.publish(".f.1.part", identity, "f", true).expect_err("refused");
    assert_eq!(failure.kind, FailureKind::FileSystem);
    assert!(base.exists(".f.1.part"));
}

#[test]
fn only_the_file_of_that_identity_is_published() {
    let world = World::new();
    let base = world.base();
    let identity = part(&base, ".f.1.part", "text");
    let other = Identity { ino: identity.ino + 1, ..identity };
    assert_eq!(base.publish(".f.1.part", other, "f", true), Ok(Published::Missing));
    assert_eq!(base.publish(".g.1.part", identity, "f", true), Ok(Published::Missing));
    assert!(!base.exists("f"));
}

#[test]
fn where_renaming_cannot_keep_names_a_link_does() {
    let world = World::new();
    let base = world.base();
    let identity = part(&base, ".f.1.part", "text");
    std::fs::write(world.path("taken"), "old").expect("written");
    let opened = base.opened();
    assert_eq!(link_to_free_name(opened.fd(), ".f.1.part", "taken"), Err(Errno::EXIST));
    assert_eq!(link_to_free_name(opened.fd(), ".f.1.part", "f"), Ok(()));
    assert_eq!(base.identity("f"), Some(identity));
    assert!(!base.exists(".f.1.part"));
}

#[test]
fn a_link_that_was_cut_short_is_completed() {
    let world = World::new();
    let base = world.base();
    let mut part = base.create_part(".f.1.part", None).expect("created");
    part.finish().expect("finished");
    let identity = part.identity();
    std::fs::hard_link(world.path(".f.1.part"), world.path("f")).expect("linked");
    assert_eq!(base.publish(".f.1.part", identity, "f", false), Ok(Published::Done));
    assert!(!base.exists(".f.1.part"));
    assert_eq!(base.identity("f"), Some(identity));
}

#[test]
fn names_that_may_collide_are_listed() {
    let world = World::new();
    let base = world.base();
    for number in 0..1000 {
        std::fs::write(world.path(&format!("f ({number}).txt")), "").expect("written");
    }
    for name in ["f.txt", "f.tar.gz", "other", ".hidden"] {
        std::fs::write(world.path(name), "").expect("written");
    }
    for name in ["f.txt", "f (3).txt", "f (3)", "f.anything"] {
        let names = base.names_like(name);
        assert_eq!(names.len(), 1002, "{name}");
        assert!(names.iter().any(|name| name == "f.tar.gz"));
    }
    assert_eq!(base.names_like(".hidden"), [".hidden"]);
    assert!(base.names_like("nothing").is_empty());
}

#[test]
fn a_stem_ends_before_number_and_extension() {
    let cases = [
        ("f.txt", "f"),
        ("f (1).txt", "f"),
        ("f (12)", "f"),
        ("f ().txt", "f ()"),
        ("f (a).txt", "f (a)"),
        (".f.txt", ".f"),
        ("f", "f"),
        ("ü (1).x", "ü"),
        ("", ""),
    ];
    for (name, stem) in cases {
        assert_eq!(names::stem(name), stem, "{name}");
    }
}

#[test]
fn part_names_are_short_safe_and_one_for_each_task() {
    assert_eq!(part_name("f.txt", "0192-abc_D"), ".f.txt.0192-abc_D.part");
    assert_eq!(part_name("f", "1"), part_name("f", "1"));
    let long = "ü".repeat(200);
    for id in ["a.b", "a/b", "a b", "../x", "", &long, &"i".repeat(65), "\0"] {
        let name = part_name(&long, id);
        assert!(name.len() <= 100 + 64 + 7 && is_part_name(&name), "{name}");
    }
    assert_ne!(part_name("f", "a.b"), part_name("f", "a/b"));
    assert_ne!(part_name("f", &"i".repeat(65)), part_name("f", &"i".repeat(66)));
    assert!(is_part_name(&part_name("../../x", "1")));
    for name in ["f.part", ".part", "..part", ".f.part", ".f..part", ".f.a b.part", ".f.1.part2", "f.1.part"] {
        assert!(!is_part_name(name), "{name}");
    }
}

#[test]
fn old_parts_that_nobody_knows_are_swept() {
    let world = World::new();
    let base = world.base();
    for name in [".known.1.part", ".unknown.2.part", ".f.txt"] {
        part(&base, name, "text");
    }
    std::fs::write(world.path(".others.3.part"), "").expect("written");
    let others = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(world.path(".others.3.part"), others).expect("set");
    std::fs::create_dir(world.path(".directory.4.part")).expect("created");
    symlink("nothing", world.path(".link.5.part")).expect("linked");
    let known = |name: &str| name == ".known.1.part";
    assert_eq!(base.sweep(Duration::from_secs(3600), &known), 0, "too young");
    assert_eq!(base.sweep(Duration::ZERO, &known), 1);
    assert!(!base.exists(".unknown.2.part"));
    for name in [".known.1.part", ".f.txt", ".others.3.part", ".directory.4.part", ".link.5.part"] {
        assert!(base.exists(name), "{name}");
    }
}

#[test]
fn paths_below_root_are_absolute_and_lie_in_what_is_granted() {
    let world = World::new();
    let granted = world.temp.path().join("granted");
    let sandbox = Sandbox::new(BTreeMap::from([("root".to_owned(), granted.clone())]));
    let below = |path: &str| granted.join(path).to_str().expect("UTF-8").trim_start_matches('/').to_owned();

    let directory = sandbox.directory("root", None, &below("a/b")).expect("opened");
    assert_eq!(directory.path(), granted.join("a/b"));
    part(&directory, "f", "x");
    assert_eq!(sandbox.source("root", None, &below("a"), "b/f").expect("opened").len(), 1);
    assert_eq!(sandbox.directory("root", None, &below("")).expect("opened").path(), granted);

    let outside = format!("{}-beside", below("").trim_end_matches('/'));
    for path in ["", "etc", &outside, &below("../x")] {
        let failure = sandbox.directory("root", None, path).expect_err(path);
        assert_eq!(failure.kind, FailureKind::Policy, "{failure}");
    }
    let failure = sandbox.allows("root", None, "etc/x").expect_err("refused").description;
    assert!(failure.contains("`/etc/x`") && failure.contains(granted.to_str().expect("UTF-8")), "{failure}");
    let failure = world.sandbox.allows("root", None, "etc/x").expect_err("refused").description;
    assert!(failure.contains("`/etc/x`") && failure.contains("root = "), "{failure}");
}
