//! Names that servers give: understood by the standards, and never able to leave the directory, hide or overwrite.

use std::path::Path;

use serde_json::json;

use crate::support::world::names_in;
use crate::support::*;

/// Content-Disposition and the name that the file gets. RFC 6266, RFC 8187.
const UNDERSTOOD: &[(&str, &str)] = &[
    ("attachment; filename=example.html", "example.html"),
    ("attachment; filename=\"an example.html\"", "an example.html"),
    ("INLINE; FILENAME= \"an example.html\"", "an example.html"),
    ("Attachment; filename=\"a;b.txt\"", "a;b.txt"),
    ("attachment; filename=\"a\\b.txt\"", "ab.txt"), // a quoted pair
    ("attachment; filename*=UTF-8''%e2%82%ac%20rates.txt", "€ rates.txt"),
    ("attachment; filename*=utf-8'en'%e2%82%ac%20rates.txt", "€ rates.txt"),
    ("attachment; filename*=ISO-8859-1''%a3%20rates.txt", "£ rates.txt"),
    ("attachment; filename=\"EURO rates\"; filename*=utf-8''%e2%82%ac%20rates", "€ rates"),
    ("attachment; filename*=utf-8''%e2%82%ac%20rates; filename=\"EURO rates\"", "€ rates"),
    ("attachment; filename*=KOI8-R''%C0.txt; filename=plain.txt", "plain.txt"),
    ("attachment; filename*=UTF-8''%zz; filename=plain.txt", "plain.txt"),
    ("attachment; filename=\"50%25.txt\"", "50%25.txt"), // nothing is decoded here
    ("attachment; filename=\"naïve.txt\"", "naïve.txt"),
    ("attachment; filename=trailing.txt;", "trailing.txt"),
    ("attachment", "resource"),
    ("inline", "resource"),
    ("attachment; filename=\"\"", "resource"),
    ("", "resource"),
];

/// Content-Disposition of somebody who means harm.
const HOSTILE: &[&str] = &[
    "attachment; filename=\"../../evil.txt\"",
    "attachment; filename=\"/etc/cron.d/evil\"",
    "attachment; filename=\"..\\\\..\\\\evil.txt\"",
    "attachment; filename=\"C:\\\\evil.txt\"",
    "attachment; filename*=UTF-8''..%2F..%2Fevil.txt",
    "attachment; filename*=UTF-8''%2Fetc%2Fpasswd",
    "attachment; filename*=UTF-8''a%00b.txt",
    "attachment; filename*=UTF-8''a%0Ab.txt",
    "attachment; filename*=UTF-8''%2e%2e",
    "attachment; filename=\"..\"",
    "attachment; filename=\".\"",
    "attachment; filename=\".bashrc\"",
    "attachment; filename=\"...hidden\"",
    "attachment; filename=\" .profile\"",
    "attachment; filename=\"CON\"",
    "attachment; filename=\"nul.txt\"",
    "attachment; filename=\"com1.log\"",
    "attachment; filename=\"trailing dot.\"",
    "attachment; filename=\"a<b>c:d|e?f*g.txt\"",
    "attachment; filename*=UTF-8''safe%E2%80%AEtxt.exe",
    "attachment; filename*=UTF-8''zero%E2%80%8Bwidth.txt",
    "attachment; filename=\"x.part\"",
    "attachment; filename=\"~\"",
    "attachment; filename=\"-rf\"",
    "attachment; filename=\"$(reboot).txt\"",
];

/// Downloads each disposition into a directory of its own; answers the names found there.
fn names_for(world: &World, dispositions: &[&str]) -> Vec<Vec<String>> {
    let origin = Origin::start();
    let tasks: Vec<_> = dispositions
        .iter()
        .enumerate()
        .map(|(number, disposition)| {
            let path = format!("/{number}/resource");
            let film = origin.serve(&path, file(b"x").disposition(disposition));
            json!({"url": film.url(), "directory": format!("d{number}"), "filename": "?"})
        })
        .collect();
    world.add(&tasks);
    world.run().exits(0);
    (0..dispositions.len()).map(|number| names_in(&world.path(&format!("in/d{number}")))).collect()
}

#[test]
fn content_disposition_is_understood() {
    let world = World::new();
    let dispositions: Vec<_> = UNDERSTOOD.iter().map(|(disposition, _)| *disposition).collect();

    let names = names_for(&world, &dispositions);

    for ((disposition, expected), names) in UNDERSTOOD.iter().zip(names) {
        assert_eq!(names, [*expected], "{disposition}");
    }
}

#[test]
fn no_name_leaves_the_directory_or_hides() {
    let world = World::new();
    std::fs::create_dir_all(world.path("in")).unwrap();
    let long = format!("attachment; filename=\"{}.txt\"", "long".repeat(500));
    let wide = format!("attachment; filename*=UTF-8''{}.txt", "%E2%82%AC".repeat(300));
    let dispositions: Vec<_> = HOSTILE.iter().copied().chain([long.as_str(), wide.as_str()]).collect();
    let before = everything_but_state(&world);

    let names = names_for(&world, &dispositions);

    for (disposition, names) in dispositions.iter().zip(&names) {
        assert_eq!(names.len(), 1, "{disposition}: {names:?}");
        let name = &names[0];
        assert!(!name.starts_with(['.', ' ']) && !name.ends_with(['.', ' ']), "{disposition}: {name:?}");
        assert!(!name.contains(['/', '\\', '<', '>', ':', '|', '?', '*', '"']), "{disposition}: {name:?}");
        assert!(!name.chars().any(|char| char.is_control() || "\u{202e}\u{200b}".contains(char)), "{name:?}");
        assert!(name.len() <= 255 && !name.ends_with(".part"), "{disposition}: {name:?}");
        let stem = name.split('.').next().unwrap().to_ascii_uppercase();
        assert!(!["CON", "NUL", "COM1"].contains(&stem.as_str()), "{disposition}: {name:?}");
    }
    let after = everything_but_state(&world);
    let new: Vec<_> = after.iter().filter(|path| !before.contains(path)).collect();
    assert!(new.iter().all(|path| path.starts_with(world.path("in"))), "{new:#?}");
    assert!(names.last().unwrap()[0].ends_with(".txt"), "a long name keeps its extension: {names:?}");
}

#[test]
fn a_hostile_url_is_no_way_out_either() {
    let (world, origin) = (World::new(), Origin::start());
    let paths = ["/a/..%2F..%2Fevil.txt", "/a/%2e%2e", "/a/.hidden", "/a/%00", "/a/x%5C..%5Cy", "/a/%FF%FE.txt"];
    let urls: Vec<_> = paths.iter().map(|path| origin.url(path)).collect();
    for path in paths {
        origin.serve(path, file(b"x"));
    }
    origin.serve("/", file(b"x")); // where the dots of a URL lead, by the URL standard
    let before = everything_but_state(&world);

    world.haul(&urls.iter().fold(vec!["get", "-d", "here"], |mut words, url| {
        words.push(url);
        words
    }));

    let after = everything_but_state(&world);
    let here = world.work().join("here");
    let new: Vec<_> = after.iter().filter(|path| !before.contains(path) && !path.starts_with(&here)).collect();
    assert!(new.is_empty(), "{new:#?}");
    let names = names_in(&here);
    assert!(!names.is_empty() && names.iter().all(|name| !name.starts_with('.')), "{names:?}");
}

#[test]
fn a_name_from_the_server_never_overwrites() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"new").disposition("attachment; filename=\"precious.txt\""));
    world.write("precious.txt", "mine");

    world.haul(&["get", film.url()]).exits(0);

    assert_eq!(world.read("precious.txt"), b"mine");
    assert_eq!(world.read("precious (1).txt"), b"new");
}

#[test]
fn a_name_that_is_taken_while_the_file_arrives_is_not_overwritten() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/f.txt", file(&bytes(1, 100_000)).gate(50_000, &gate));
    let running = world.spawn_get(&[film.url()]);
    gate.wait_for(1);
    world.write("f.txt", "mine");
    gate.open();

    running.finish().exits(0);

    assert_eq!(world.read("f.txt"), b"mine");
    assert_same_bytes(&world.read("f (1).txt"), &bytes(1, 100_000));
}

#[test]
fn equal_names_at_the_same_time_become_different_files() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let contents: Vec<_> = (0..5_u64).map(|number| bytes(number, 10_000)).collect();
    let urls: Vec<_> = contents
        .iter()
        .enumerate()
        .map(|(number, content)| {
            let answer = file(content).disposition("attachment; filename=same.txt").gate(5000, &gate);
            origin.serve(&format!("/{number}"), answer).url().to_owned()
        })
        .collect();
    let running = world.spawn(&urls.iter().fold(vec!["get"], |mut words, url| {
        words.push(url);
        words
    }));
    gate.wait_for(5);
    gate.open();

    running.finish().exits(0);

    let names = world.names();
    assert_eq!(names, ["same (1).txt", "same (2).txt", "same (3).txt", "same (4).txt", "same.txt"]);
    let mut found: Vec<_> = names.iter().map(|name| world.read(name)).collect();
    found.sort();
    let mut expected = contents;
    expected.sort();
    assert!(found == expected, "each file is whole and there once");
}

#[test]
fn a_link_in_the_place_of_the_file_is_not_followed() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f.txt", file(b"new"));
    let outside = world.path("outside.txt");
    std::fs::write(&outside, "mine").unwrap();
    std::os::unix::fs::symlink(&outside, world.work().join("f.txt")).unwrap();

    world.haul(&["get", film.url(), "-o", "f.txt"]);
    world.haul(&["get", film.url()]);

    assert_eq!(std::fs::read(&outside).unwrap(), b"mine");
}

#[test]
fn a_linked_directory_does_not_lead_out_of_the_base() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f.txt", file(b"x"));
    let outside = world.path("outside");
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::create_dir_all(world.path("in")).unwrap();
    std::os::unix::fs::symlink(&outside, world.path("in/link")).unwrap();

    world.add(&[json!({"url": film.url(), "directory": "link"})]);
    let last = world.run().exits(1).only_final();

    assert_eq!(last["exception"]["type"], "policy");
    assert_eq!(names_in(&outside), Vec::<String>::new());
}

#[test]
fn a_directory_where_nothing_is_renamed_is_told_of_as_that() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let closed = world.path("closed");
    std::fs::create_dir(&closed).unwrap();
    let chattr = |flag: &str| std::process::Command::new("chattr").arg(flag).arg(&closed).output();
    if !chattr("+a").is_ok_and(|done| done.status.success()) {
        return; // only root may, and only some file systems can
    }

    let got = world.get(&[film.url(), "-d", closed.to_str().unwrap(), "--retries", "0"]);

    assert!(chattr("-a").unwrap().status.success());
    got.exits(6).says("renaming is not permitted there");
}

#[test]
fn a_directory_of_a_task_stays_below_its_base() {
    let world = World::new();
    for directory in ["..", "../x", "a/../../x", "a/.."] {
        let task = json!({"url": "http://127.0.0.1:9/f", "directory": directory}).to_string();
        world.haul_reading(&["add", "-"], &task).exits(2).says("directory");
    }
    for filename in ["../x", "a/b", "a\\b", ""] {
        let task = json!({"url": "http://127.0.0.1:9/f", "filename": filename}).to_string();
        world.haul_reading(&["add", "-"], &task).exits(2).says("filename");
    }
    assert_eq!(world.list().len(), 0);
}

#[test]
fn the_name_is_the_tasks_not_the_redirects() {
    let (world, origin) = (World::new(), Origin::start());
    origin.serve("/stored/7f3a9", file(b"x"));
    let film = origin.serve("/film.bin", redirect(302, "/stored/7f3a9").disposition("attachment; filename=no.txt"));

    world.haul(&["get", film.url()]).exits(0);

    assert_eq!(world.names(), ["film.bin"]);
}

/// Every path of the world, except what haul keeps for itself.
fn everything_but_state(world: &World) -> Vec<std::path::PathBuf> {
    fn walk(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            found.push(entry.path());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), found);
            }
        }
    }
    let mut found = Vec::new();
    walk(&world.path(""), &mut found);
    found.retain(|path| !path.starts_with(world.home()) && !path.starts_with(world.path("cache")));
    found
}

#[test]
fn a_whole_file_whose_name_is_taken_before_it_has_it_keeps_the_servers_name() {
    let (world, origin) = (steered::world(), Origin::start());
    let content = bytes(1, 300_000);
    let named = file(&content).header("Content-Disposition", "attachment; filename*=UTF-8''d%C3%A9j%C3%A0%20vu.bin");
    let film = origin.serve("/u", named);
    let task = json!({"url": film.url(), "retries": 0});
    steered::work(&world, task, &["verify panic"]).exits(10);
    std::fs::write(world.path("in/déjà vu.bin"), "taken meanwhile").unwrap();
    world.config("");

    world.haul(&["retry", "t"]).exits(0);
    let last = world.run().exits(0).only_final();

    assert_eq!(std::fs::read(world.path("in/déjà vu (1).bin")).unwrap(), content);
    assert_eq!((&last["responseStatusCode"], &last["mimeType"]), (&json!(200), &json!("application/octet-stream")));
    assert_eq!(film.requests().len(), 1, "nothing was missing");
}
