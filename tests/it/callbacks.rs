//! Users' components: what they decide happens, and one that misbehaves harms nobody but its own task.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::components::{component, component_0_3};
use crate::support::*;

/// What became of a task with a component, and of one without that was worked at the same time.
struct Ends {
    bad: Value,
    good: Value,
    took: Duration,
    requests: usize,
}

/// Works a task that a component is attached to, beside one that has none. The first fails once, so that the `retry` hook
/// is asked.
#[track_caller]
fn beside_another(name: &str) -> Ends {
    let (world, origin) = (World::new(), Origin::start());
    let bad = origin.script("/bad", vec![status(503).header("Retry-After", "0"), file(b"x")]);
    let good = origin.serve("/good", file(&bytes(1, 500_000)).pace(500_000));
    let path = component(name);
    world.add(&[
        json!({"url": bad.url(), "taskId": "bad", "callbacks": [path.to_str().unwrap()], "retries": 3,
            "metaData": "../../evil"}),
        json!({"url": good.url(), "taskId": "good"}),
    ]);
    let began = Instant::now();
    world.run().exits(8);
    let took = began.elapsed();
    assert_same_bytes(&std::fs::read(world.path("in/good")).unwrap(), &bytes(1, 500_000));
    Ends { bad: world.show("bad"), good: world.show("good"), took, requests: bad.log().len() }
}

impl Ends {
    /// The other task is fine, this one failed because of its component, and neither waited long.
    #[track_caller]
    fn failed_alone(self) -> Self {
        assert_eq!(self.good["status"], "complete", "{}", self.good);
        assert_eq!(self.bad["status"], "failed", "{}", self.bad);
        assert_eq!(self.bad["exception"]["type"], "callback", "{}", self.bad);
        assert!(self.requests <= 1, "who cannot be asked has not said yes");
        assert!(self.took < Duration::from_secs(15), "{:?}", self.took);
        self
    }
}

#[test]
fn a_component_that_traps_fails_its_task_alone() {
    beside_another("traps").failed_alone();
}

#[test]
fn a_component_that_loops_forever_is_stopped() {
    beside_another("loops-forever").failed_alone();
}

#[test]
fn a_component_that_eats_memory_is_stopped() {
    beside_another("eats-memory").failed_alone();
}

#[test]
fn a_component_that_never_returns_from_a_host_call_is_stopped() {
    beside_another("never-returns").failed_alone();
}

#[test]
fn a_nonsensical_answer_is_not_acted_on() {
    let ends = beside_another("answers-nonsense").failed_alone();
    assert_eq!(ends.requests, 0, "nothing is sent after a veto that cannot be understood");
}

#[test]
fn a_component_that_floods_the_log_is_cut_short() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));

    let outcome = get_with(&world, "floods-log", &["-v", "get", film.url()]).exits(0);

    let limit = 64 << 10; // 16 KiB a call, and what surrounds each line
    assert!(outcome.stderr.len() < limit, "{} bytes of log", outcome.stderr.len());
    assert!(outcome.stderr.contains("cleared"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains('\u{1b}'), "control characters are escaped");
}

#[test]
fn a_component_reaches_no_host_that_was_not_granted() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));

    get_with(&world, "calls-forbidden-host", &["get", film.url()]).exits(0);

    assert_eq!(film.log().len(), 1, "{:?}", film.log());
    let request = &film.requests()[0];
    assert_eq!(request.header("x-outcome-1"), Some("policy"));
    assert_eq!(request.header("x-outcome-5"), Some("policy"));
}

#[test]
fn a_component_reaches_a_granted_host_so_often_and_no_more() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));

    let authority = origin.authority();
    get_with(&world, "calls-forbidden-host", &["get", film.url(), "--allow-host", &authority]).exits(0);

    assert_eq!(film.log().len(), 5, "four of the component, one of the task: {:?}", film.log());
    let request = film.requests()[4].clone();
    assert_eq!(request.header("x-outcome-4"), Some("200"));
    assert_ne!(request.header("x-outcome-5"), Some("200"));
}

#[test]
fn another_port_is_another_host_to_a_grant() {
    let (world, origin, other) = (World::new(), Origin::start(), Origin::start());
    let film = origin.serve("/f", file(b"x"));

    let authority = other.authority();
    get_with(&world, "calls-forbidden-host", &["get", film.url(), "--allow-host", &authority]).exits(0);

    assert_eq!(film.requests()[0].header("x-outcome-1"), Some("policy"));
    assert_eq!(other.connections(), 0);
}

#[test]
fn a_component_with_one_hook_only_decides_that_one() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.script("/f", vec![status(500), file(b"x")]);

    let path = component("one-hook-only");
    world.get(&[film.url(), "--callbacks", path.to_str().unwrap()]).exits(0);

    assert_eq!(world.read("f"), b"x", "the default policy decided the rest");
    let requests = film.requests();
    let waited = (requests[1].at - requests[0].at).as_secs_f64();
    assert!((1.2..1.95).contains(&waited), "it says 1.234 s, the default 2 s; it was {waited}");
}

#[test]
fn decorators_are_asked_in_the_order_of_their_attachment() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let (a, b) = (component("appends-a"), component("appends-b"));
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());

    world.haul(&["get", film.url(), "--callbacks", a, "--callbacks", b]).exits(0);
    world.haul(&["get", film.url(), "--callbacks", b, "--callbacks", a]).exits(0);

    // The first is asked first, asks the next, and has the last word.
    assert_eq!(world.names(), ["fab", "fba"]);
}

#[test]
fn a_component_of_the_configuration_is_attached_to_every_task() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    world.config(&format!("[[callbacks]]\nname = \"letters\"\npath = {:?}\n", component("appends-a")));

    world.haul(&["get", film.url()]).exits(0);
    let listed = world.haul(&["callbacks", "list"]).exits(0);

    assert_eq!(world.names(), ["fa"]);
    assert!(listed.stdout.contains("letters"), "{}", listed.stdout);
}

#[test]
fn two_components_of_a_task_whose_files_are_called_alike_are_told_apart() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let first = std::fs::read(component("steered")).unwrap();
    let second = [&first[..], &[0, 2, 1, b'x']].concat(); // with an empty section, so another file
    let digest = sha256(&second);
    std::fs::create_dir_all(world.path("work/two")).unwrap();
    let paths = [world.write("callbacks.wasm", &first), world.write("two/callbacks.wasm", &second)];
    let paths: Vec<_> = paths.iter().map(|path| path.to_str().unwrap()).collect();
    world.add(&[json!({"url": film.url(), "callbacks": paths})]);

    let outcome = world.run().exits(0);

    let asked = |name: &str| outcome.stderr.lines().any(|line| line.starts_with(&format!("{name}: asked filename")));
    assert!(asked("callbacks") && asked(&format!("callbacks ({})", &digest[..8])), "{}", outcome.stderr);
}

#[test]
fn a_component_of_another_version_is_refused_with_both_named() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));

    let outcome = get_with(&world, "wrong-version", &["get", film.url()]).exits(10);

    assert!(outcome.stderr.contains("haul:transfer@0.1.0"), "{}", outcome.stderr);
    assert!(outcome.stderr.matches("haul:transfer@").count() >= 2, "{}", outcome.stderr);
    assert_eq!(film.log().len(), 0);
}

#[test]
fn what_is_no_component_is_refused() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let junk = world.write("junk.wasm", bytes(1, 1000));
    let core = world.write("core.wasm", b"\0asm\x01\0\0\0");
    let missing = world.work().join("missing.wasm");

    for path in [&junk, &core, &missing] {
        let words = ["get", film.url(), "--callbacks", path.to_str().unwrap()];
        let outcome = world.haul(&words).exits(10);
        assert!(outcome.stderr.contains(path.file_name().unwrap().to_str().unwrap()), "{}", outcome.stderr);
    }
    assert_eq!(film.log().len(), 0);
}

#[test]
fn a_broken_component_keeps_nobody_from_looking_and_controlling() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    world.add(&[json!({"url": film.url(), "taskId": "t"})]);
    let junk = world.write("junk.wasm", bytes(1, 1000));
    world.config(&format!("[[callbacks]]\nname = \"letters\"\npath = {junk:?}\n"));

    for words in [
        &["ls"][..],
        &["show", "t"],
        &["pause", "t"],
        &["resume", "t"],
        &["cancel", "t"],
        &["retry", "t"],
        &["events"],
        &["ack", "--consumer", "c", "1"],
        &["cancel", "t"],
        &["rm", "t"],
        &["clean"],
    ] {
        world.haul(words).exits(0);
    }
    let listed = world.haul(&["callbacks", "list"]).exits(0);
    assert!(listed.stdout.contains("broken: ") && listed.stdout.contains("junk.wasm"), "{}", listed.stdout);
    let doctor = world.haul(&["doctor"]).exits(1);
    assert!(doctor.stdout.contains("letters"), "{}", doctor.stdout);
    assert_eq!(doctor.stdout.matches("PROBLEM").count(), 1, "{}", doctor.stdout);
    world.haul(&["get", film.url()]).exits(10).says("junk.wasm");
    world.haul(&["run", "--until-idle"]).exits(10).says("junk.wasm");
    world.haul_reading(&["add", "-"], &json!({"url": film.url()}).to_string()).exits(10).says("junk.wasm");
    assert_eq!(film.log().len(), 0);
}

#[test]
fn an_end_that_came_while_no_component_was_loaded_is_told_later() {
    let world = World::new();
    world.config(&format!("[[callbacks]]\nname = \"hears\"\npath = {:?}\n", component("floods-log")));
    world.haul(&["run", "--until-idle"]).exits(0);
    world.add(&[json!({"url": "http://127.0.0.1:9/f", "taskId": "t"})]);
    let canceled = world.haul(&["cancel", "t"]).exits(0);
    assert!(!canceled.stderr.contains("hears"), "{}", canceled.stderr);

    world.haul(&["run", "--until-idle"]).exits(0).says("hears");
    let again = world.haul(&["run", "--until-idle"]).exits(0);
    assert!(!again.stderr.contains("hears"), "it was told: {}", again.stderr);
}

#[test]
fn check_prints_what_a_component_answers_and_asks_for() {
    let world = World::new();

    let one = world.haul(&["callbacks", "check", component("one-hook-only").to_str().unwrap()]).exits(0);
    let wrong = world.haul(&["callbacks", "check", component("wrong-version").to_str().unwrap()]).exits(10);
    let newer = world.haul(&["callbacks", "check", component_0_3("waits").to_str().unwrap()]).exits(0);

    world.haul(&["callbacks", "check", "nowhere.wasm"]).exits(10).says("nowhere.wasm");
    assert!(one.stdout.contains("haul:transfer") || one.stdout.contains("0.1.0"), "{}", one.stdout);
    assert!(wrong.stderr.contains("0.1.0") && !wrong.stderr.contains("never asked"), "{}", wrong.stderr);
    for version in ["wasi:http/client@0.3.", "wasi:io/streams@0.2."] {
        assert!(newer.stdout.contains(version), "{version}: {}", newer.stdout);
    }
}

#[test]
fn the_second_start_uses_the_compiled_component() {
    let (mut world, origin) = (World::new(), Origin::start());
    let cache = world.path("cache");
    world.set("XDG_CACHE_HOME", cache.to_str().unwrap());
    let film = origin.serve("/f", file(b"x"));
    get_with(&world, "one-hook-only", &["get", film.url()]).exits(0);
    let cached = files_below(&cache);
    assert!(!cached.is_empty(), "compiled components are kept");

    // What is in the cache is code: a file that is not proved ours is not run, and costs nothing but time.
    for path in &cached {
        let mut content = std::fs::read(path).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 0xff;
        std::fs::write(path, content).unwrap();
    }
    get_with(&world, "one-hook-only", &["get", film.url()]).exits(0);
}

/// Runs a command with a component attached.
#[track_caller]
fn get_with(world: &World, name: &str, words: &[&str]) -> Outcome {
    let path = component(name);
    world.haul(&[words, &["--callbacks", path.to_str().unwrap(), "--retries", "0"]].concat())
}

fn files_below(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(files_below(&entry.path())),
            false => files.push(entry.path()),
        }
    }
    files
}

#[test]
fn doctor_tells_of_a_policy_that_cannot_be_loaded_in_the_words_of_get() {
    let world = World::new();
    for (policy, why) in [("/nonexistent.wasm".into(), "nonexistent"), (component("appends-a"), "does not answer")] {
        world.config(&format!("policy = {policy:?}\n"));

        let doctor = world.haul(&["doctor"]).exits(1);
        let get = world.haul(&["get", "http://127.0.0.1:9/f"]).exits(10).says(why);

        let words = get.stderr.trim().strip_prefix("haul: ").unwrap();
        assert!(doctor.stdout.contains(words), "{}{words}", doctor.stdout);
        assert_eq!(doctor.stdout.matches("PROBLEM").count(), 1, "{}", doctor.stdout);
    }
}
