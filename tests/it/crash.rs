//! `kill -9` at any moment: every file is whole or not there, and every task ends exactly once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::world::names_in;
use crate::support::*;

/// A home with tasks of every size against a server that cuts, redirects and refuses now and then.
struct Scene {
    world: World,
    origin: Origin,
    /// Name of the file to its content.
    files: BTreeMap<String, Vec<u8>>,
}

impl Scene {
    fn new(seed: u64, tasks: usize, bytes_per_second: usize) -> Self {
        let (world, origin) = (World::new(), Origin::start());
        let mut dice = Dice::new(seed);
        let mut files = BTreeMap::new();
        let mut list = Vec::new();
        for number in 0..tasks {
            let content = bytes(seed + number as u64, dice.between(1, 400_000) as usize);
            let name = format!("f{number}.bin");
            let whole = file(&content).etag(&format!("\"v{number}\"")).pace(bytes_per_second);
            let cut = whole.clone().cut(content.len() / 2);
            let path = format!("/{name}");
            match number % 4 {
                0 => origin.script(&path, vec![cut.clone(), cut, whole]),
                1 => {
                    origin.serve(&format!("/moved{path}"), whole);
                    origin.serve(&path, redirect(302, &format!("/moved{path}")))
                }
                2 => origin.script(&path, vec![status(503).header("Retry-After", "0"), whole]),
                _ => origin.serve(&path, whole),
            };
            list.push(json!({"url": origin.url(&path), "filename": name, "retries": 10}));
            files.insert(name, content);
        }
        world.add(&list);
        Self { world, origin, files }
    }

    /// What must hold at any moment: a file under its name is complete.
    #[track_caller]
    fn check_names(&self, when: &str) {
        for (name, content) in &self.files {
            if let Ok(found) = std::fs::read(self.world.path("in").join(name)) {
                assert!(found == *content, "{when}: {name} has its name and is not complete");
            }
        }
    }

    /// Works to the end and checks everything.
    #[track_caller]
    fn check_end(&self) {
        self.world.run().exits(0);
        for (name, content) in &self.files {
            let found = std::fs::read(self.world.path("in").join(name)).unwrap();
            assert_same_bytes(&found, content);
        }
        let expected: Vec<_> = self.files.keys().cloned().collect();
        let mut names = world::names_in(&self.world.path("in"));
        names.sort();
        assert_eq!(names, expected, "nothing is left over");
        let finals = self.world.final_events();
        assert_eq!(finals.len(), self.files.len());
        assert!(finals.values().all(|finals| *finals == ["complete"]), "{finals:#?}");
        let seqs: Vec<_> = self.world.events().iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

#[test]
fn killed_at_random_moments_nothing_is_lost() {
    let scene = Scene::new(1, 12, 300_000);
    let mut dice = Dice::new(7);

    for round in 0..25 {
        let running = scene.world.spawn(&["run"]);
        std::thread::sleep(Duration::from_millis(dice.between(1, 350))); // the moment is the subject of this test
        running.kill();
        scene.check_names(&format!("round {round}"));
    }

    scene.check_end();
}

#[test]
fn killed_at_each_update_nothing_is_lost() {
    let scene = Scene::new(2, 6, 3_000_000);

    for line in 1.. {
        let running = scene.world.spawn(&["--json", "run", "--until-idle"]);
        let more = running.wait_for_lines(line);
        running.kill();
        scene.check_names(&format!("after line {line}"));
        if !more || line == 30 {
            break;
        }
    }

    scene.check_end();
}

#[test]
fn told_finals_are_in_the_log_after_a_kill() {
    let scene = Scene::new(3, 8, 3_000_000);
    let mut told = Vec::new();

    for _ in 0..8 {
        let left = scene.world.haul(&["--json", "ls"]).stdout;
        if left.lines().all(|line| line.contains("\"status\":\"complete\"")) {
            break;
        }
        let running = scene.world.spawn(&["--json", "run", "--until-idle"]);
        running.wait_for_update(|update| update["status"] == "complete");
        let outcome = running.kill();
        let updates = outcome.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        told.extend(updates.filter(|update| update["status"] == "complete"));
    }

    let events = scene.world.events();
    for update in told {
        assert!(events.contains(&update), "told and not in the log: {update}");
    }
    scene.check_end();
}

#[test]
fn a_crash_of_get_is_made_good_by_the_same_command() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(4, 2_000_000);
    let film = origin.serve("/film.bin", file(&content).etag("\"v1\"").pace(2_000_000));
    let mut dice = Dice::new(11);

    for _ in 0..8 {
        let running = world.spawn(&["get", film.url()]);
        std::thread::sleep(Duration::from_millis(dice.between(20, 300))); // the moment is the subject of this test
        running.kill();
    }
    let code = world.haul(&["get", film.url()]).code;

    assert_eq!(code, 0);
    assert_same_bytes(&world.read("film.bin"), &content);
    let finals = world.final_events();
    assert!(finals.values().all(|finals| *finals == ["complete"]), "{finals:?}");
    // One may have been complete just before its kill; then the next command is a new task, with a name of its own.
    assert_eq!(world.names().len(), finals.len(), "{:?}", world.names());
    assert!(world.names().iter().all(|name| !name.ends_with(".part")));
}

#[test]
fn tasks_that_add_has_confirmed_survive() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let running = world.spawn(&["run"]);
    let mut ids = Vec::new();
    for number in 0..5 {
        let task = json!({"url": film.url(), "filename": format!("f{number}")});
        ids.extend(world.add(&[task]));
    }
    running.kill();

    world.run().exits(0);

    for id in ids {
        assert_eq!(world.show(&id)["status"], "complete");
    }
    assert_eq!(world::names_in(&world.path("in")), ["f0", "f1", "f2", "f3", "f4"]);
}

#[test]
fn a_killed_engine_leaves_no_lock_behind() {
    let scene = Scene::new(5, 4, 200_000);
    let running = scene.world.spawn(&["--json", "run"]);
    running.wait_for_update(|update| update["status"] == "running");
    running.kill();

    let began = std::time::Instant::now();
    scene.world.haul(&["--json", "ls"]).exits(0);

    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(scene.origin.requests().len() < 100);
    scene.check_end();
}

#[test]
fn part_files_that_no_task_owns_are_removed_after_a_day() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let gate = Gate::new();
    let paused = origin.serve("/paused", file(&bytes(1, 3_000_000)).etag("\"v\"").gate(1_000_000, &gate));
    let running = world.spawn_get(&[paused.url()]);
    let kept = world.wait_for_part(1_000_000);
    running.kill();
    let orphan = |name: &str| world.write(name, b"bytes");
    let (old, young) = (orphan(".f.0198a000-0000-7000-8000-000000000000.part"), orphan(".g.1.part"));
    let foreign = orphan("notes.part");
    for path in [&old, &kept, &foreign] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(path, mode).unwrap();
        let two_days_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 86_400);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(two_days_ago).unwrap();
    }

    world.get(&[film.url()]).exits(0);

    assert!(!old.exists(), "nobody goes on with it");
    assert!(young.exists() && foreign.exists() && kept.exists());
}

#[test]
fn a_killed_command_finds_what_it_had_completed() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let done = origin.serve("/done", file(b"done"));
    let half = origin.serve("/half", file(&bytes(1, 500_000)).etag("\"v\"").gate(300_000, &gate));
    let urls = [done.url(), half.url()];
    let running = world.spawn_get(&urls);
    running.wait_for_update(|update| update["status"] == "complete");
    world.wait_for_part(300_000);
    running.kill();
    gate.open();

    let again = world.get(&urls).exits(0);
    let afterwards = world.get(&urls).exits(0);

    assert_eq!(
        world.names(),
        ["done", "done (1)", "half", "half (1)"],
        "told and complete, the same line means new tasks"
    );
    assert_eq!((done.log().len(), again.finals().len()), (2, 2), "{:?}", done.log());
    assert_eq!(afterwards.finals().len(), 2);
    assert!(world.final_events().values().all(|events| events.len() == 1));
}

/// As where the database has another status than the engine: that the task runs could not be written, or was overtaken.
fn set_status_unseen(world: &World, status: u8) {
    let database = rusqlite::Connection::open(world.home().join("haul.db")).unwrap();
    let count = format!("UPDATE counter SET n = (what = {status}) WHERE what IN (1, {status})");
    database.execute_batch(&format!("UPDATE task SET status = {status}; {count}")).unwrap();
}

#[test]
fn a_file_gets_no_name_while_the_database_does_not_have_its_task_as_running() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/f", file(b"film").gate(2, &gate));
    let running = world.spawn_get(&[film.url()]);
    running.wait_for_status("running");
    set_status_unseen(&world, 0);
    gate.open();

    running.finish().exits(6).says("the database has the task").says("as enqueued");
    assert!(!world.names().contains(&"f".to_owned()), "{:?}", world.names());
    world.run().exits(0);

    assert_eq!((world.names(), world.read("f")), (vec!["f".to_owned()], b"film".to_vec()));
}

#[test]
fn a_file_whose_task_was_paused_before_that_it_runs_was_written_gets_no_name() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/f", file(b"film").gate(2, &gate));
    world.add(&[json!({"url": film.url(), "taskId": "t", "filename": "f"})]);
    let running = world.spawn(&["--json", "run", "--until-idle"]);
    running.wait_for_status("running");
    set_status_unseen(&world, 7);
    gate.open();

    running.finish().exits(0);
    assert_eq!(names_in(&world.path("in")), Vec::<String>::new());
    world.haul(&["resume", "t"]).exits(0);
    world.run().exits(0);

    assert_eq!(names_in(&world.path("in")), ["f"]);
}
