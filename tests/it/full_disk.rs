//! A home on a disk without any room: what there is can be seen, what would change it is refused, and nothing is lost.

use serde_json::json;

use crate::support::process::{Outcome, in_a_namespace};
use crate::support::*;

/// A copy of the home on a disk of its own that is full, `small/h`; then what is asked there.
const FULL: &str = "mkdir -p small && mount -t tmpfs -o size=3m tmpfs small && cp -a ../home small/h && \
                    { cat /dev/zero >small/fill; } 2>fill";

/// Runs commands there, by a shell in which `haul` is the program with that home.
fn on_a_full_disk(world: &World, commands: &str) -> Option<Outcome> {
    let script = format!("{FULL}; program=$1; haul() {{ \"$program\" --home small/h \"$@\"; }}; {commands}");
    let through = in_a_namespace(&script)?;
    Some(world.haul_through(&through, &[]))
}

#[test]
fn what_there_is_can_be_seen_on_a_full_disk() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/film.bin", file(b"film"));
    world.haul(&["get", film.url(), "--id", "done"]).exits(0);
    world.add(&[json!({"url": film.url(), "taskId": "later"})]);
    world.haul(&["events", "--consumer", "c"]).exits(0);

    for words in [
        "ls",
        "show later",
        "--json events",
        "events --consumer c",
        "limits",
        "scope ls",
        "consumer ls",
        "callbacks list",
    ] {
        let Some(outcome) = on_a_full_disk(&world, &format!("haul {words}")) else { return };
        let outcome = outcome.exits(0).says("no room on the disk");
        assert!(words.starts_with("scope") || words.starts_with("callbacks") || !outcome.stdout.is_empty(), "{words}");
    }
    let Some(listed) = on_a_full_disk(&world, "haul --json ls") else { return };
    let ids: Vec<_> = listed.json().iter().map(|record| record["taskId"].clone()).collect();
    assert_eq!(ids, ["done", "later"]);
}

#[test]
fn what_would_change_a_home_on_a_full_disk_ends_with_exit_6() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/film.bin", file(b"film"));
    world.add(&[json!({"url": film.url(), "taskId": "later"})]);

    let get = format!("get {}", film.url());
    for words in ["clean", "rm later", "pause later", &get, "run --until-idle", "events --consumer new"] {
        let Some(outcome) = on_a_full_disk(&world, &format!("haul {words}")) else { return };
        outcome.exits(6).says("no room on the disk");
    }
    assert!(film.log().is_empty());
}

#[test]
fn what_a_killed_engine_left_can_be_seen_on_a_full_disk() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let content = bytes(1, 300_000);
    let film = origin.script("/film.bin", vec![file(&content).gate(100_000, &gate), file(&content)]);
    let running = world.spawn_get(&[film.url(), "--id", "film"]);
    gate.wait_for(1);
    world.wait_for_part(50_000);
    running.kill();
    assert!(world.home().join("haul.db-wal").metadata().unwrap().len() > 0, "nothing was left in the log");

    let Some(shown) = on_a_full_disk(&world, "haul --json show film && haul --json events") else { return };
    let shown = shown.exits(0).json();

    assert_eq!(shown[0]["url"], film.url(), "{shown:?}");
    assert!(shown.iter().any(|event| event["type"] == "status" && event["status"] == "running"), "{shown:?}");
}

#[test]
fn a_home_can_be_changed_as_soon_as_there_is_room() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/film.bin", file(b"film"));
    world.haul(&["get", film.url(), "--id", "done"]).exits(0);
    let follows = "mkfifo log; haul --json events --follow >log & exec 3<log; read -r first <&3";
    let commands = format!(
        "{follows}; haul clean; test $? = 6 || exit 90; rm small/fill; haul clean; code=$?; \
                            kill $!; wait; test $code = 0 && haul ls && haul --json ls"
    );

    let Some(outcome) = on_a_full_disk(&world, &commands) else { return };

    assert_eq!(outcome.exits(0).stdout.lines().filter(|line| line.starts_with('{')).count(), 0, "all were forgotten");
}
