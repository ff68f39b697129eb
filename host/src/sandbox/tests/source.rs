//! Files that are sent: what can be opened, and that a change is noticed.

use super::*;

fn source(world: &World, path: &str) -> Result<SourceFile, Failure> {
    world.sandbox.source("downloads", None, "", path)
}

/// A world with `dir/f` in its base directory.
fn with_file(text: &str) -> World {
    let world = World::new();
    std::fs::create_dir_all(world.path("dir")).expect("created");
    std::fs::write(world.path("dir/f"), text).expect("written");
    world
}

#[test]
fn a_file_is_read_by_position() {
    let world = with_file("0123456789");
    let file = source(&world, "dir/f").expect("a file");
    assert_eq!(file.len(), 10);
    assert_eq!(file.read(3, 4).expect("read"), "3456");
    assert_eq!(file.read(8, 99).expect("read"), "89");
    assert!(file.path().ends_with("/dir/f"));
}

#[test]
fn only_regular_files_below_the_base_directory_can_be_sent() {
    let world = with_file("x");
    std::fs::write(world.outside().join("secret"), "secret").expect("written");
    symlink(world.outside().join("secret"), world.path("absolute")).expect("linked");
    symlink("../outside/secret", world.path("out")).expect("linked");
    symlink("dir/f", world.path("inside")).expect("linked");
    let kind = |path: &str| source(&world, path).map(|_| ()).map_err(|failure| failure.kind);
    assert_eq!(kind("inside"), Ok(()));
    for path in ["absolute", "out", "../outside/secret", "/etc/hostname"] {
        assert_eq!(kind(path), Err(FailureKind::Policy), "{path}");
    }
    for path in ["dir", "none", "none/f"] {
        assert_eq!(kind(path), Err(FailureKind::FileSystem), "{path}");
    }
    assert!(!world.path("none").exists(), "nothing is created");
    assert_eq!(world.sandbox.source("elsewhere", None, "", "f").expect_err("refused").kind, FailureKind::Policy);
}

#[test]
fn a_fifo_is_refused_and_not_waited_for() {
    let world = with_file("x");
    rustix::fs::mknodat(rustix::fs::CWD, world.path("fifo"), FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
    assert!(source(&world, "fifo").expect_err("refused").description.contains("not a regular file"));
}

#[test]
fn a_change_since_the_opening_is_noticed_whatever_it_leaves_as_it_was() {
    type Change<'a> = (&'a str, &'a dyn Fn(&World));
    let changes: [Change<'_>; 4] = [
        ("longer", &|world| std::fs::write(world.path("dir/f"), "0123456789+").expect("written")),
        ("shorter", &|world| std::fs::write(world.path("dir/f"), "012").expect("written")),
        ("same length, old time", &|world| {
            let modified = std::fs::metadata(world.path("dir/f")).and_then(|data| data.modified()).expect("a time");
            std::fs::write(world.path("dir/f"), "9876543210").expect("written");
            let file = std::fs::File::options().write(true).open(world.path("dir/f")).expect("opened");
            file.set_modified(modified).expect("set");
        }),
        ("replaced", &|world| {
            std::fs::write(world.path("new"), "9876543210").expect("written");
            rustix::fs::rename(world.path("new"), world.path("dir/f")).expect("renamed");
        }),
    ];
    for (name, change) in changes {
        let world = with_file("0123456789");
        let file = source(&world, "dir/f").expect("a file");
        assert_eq!(file.read(0, 2).expect("read"), "01");
        assert!(!file.is_changed());
        change(&world);
        assert!(file.is_changed(), "{name}");
        assert!(file.read(2, 2).expect_err(name).description.starts_with("source changed"), "{name}");
    }
}
