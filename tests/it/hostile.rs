//! All hostile components of tests/components at once: each fails its own task, the host's memory stays small, and another
//! task is worked meanwhile as if nothing had happened. Compilers are attacked too.

use serde_json::json;

use crate::support::components::{component, component_0_3};
use crate::support::*;

/// Each fails in `retry` or `on-task-start`, which its task makes sure it is asked.
const HOSTILE: [&str; 13] = [
    "answers-hugely",
    "answers-nonsense",
    "asks-again",
    "eats-memory",
    "fills-memory",
    "leaks-handles",
    "loops-forever",
    "never-returns",
    "piles-headers",
    "recurses",
    "traps",
    "wants-random",
    "tells-everything", // uses a credential that it was not granted
];

/// What the engine may take for all of them together, compiled code and one memory at its limit included.
const MEMORY_KIB_MAX: u64 = 160 << 10;

#[test]
fn the_hostile_set_fails_alone_in_little_memory_while_others_are_worked() {
    let (world, origin) = (World::new(), Origin::start());
    let good = origin.serve("/good", file(&bytes(1, 1_000_000)).pace(500_000));
    world.add(&[json!({"url": good.url(), "taskId": "good"})]);
    let running = world.spawn(&["--json", "run"]);
    running.wait_for_status("running");
    let before = memory_kib(running.pid(), "VmRSS:");

    let bad = origin.serve("/bad", status(503).header("Retry-After", "0"));
    let hostile = |name: &&str| json!({"url": bad.url(), "taskId": name, "callbacks": [component(name)], "retries": 1, "metaData": ""});
    world.add(&HOSTILE.iter().map(hostile).collect::<Vec<_>>());
    running.wait_for_statuses("failed", HOSTILE.len());
    running.wait_for_statuses("complete", 1);
    let most = memory_kib(running.pid(), "VmHWM:");

    for name in HOSTILE {
        let task = world.show(name);
        assert_eq!(task["exception"]["type"], "callback", "{name}: {task}");
    }
    assert_same_bytes(&std::fs::read(world.path("in/good")).unwrap(), &bytes(1, 1_000_000));
    assert!(most < before + MEMORY_KIB_MAX, "{before} KiB before, {most} KiB at most");
}

/// What the component `waits` is told to do, and the limit that ends it.
const ENDLESS: [(&str, &str); 5] = [
    ("begin-many", "1024 of tasks and streams"),
    ("compute-without-end", ""), // on the CPU or by the clock, whichever comes first
    ("make-many-streams", "1024 of tasks and streams"),
    ("wait-without-end", "longer than 2000 ms"),
    ("write-without-end", ""),
];

#[test]
fn what_a_component_of_wasi_0_3_does_without_end_harms_its_task_alone() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/good", file(&bytes(1, 1_000_000)).pace(500_000));
    let path = component_0_3("waits");
    world.config(&format!(
        "[[grants]]\npath = {path:?}\nlimits = {{ wall-http = \"2s\", cpu = \"1s\", log = \"1M\" }}\n"
    ));
    world.add(&[json!({"url": film.url(), "taskId": "good"})]);
    let running = world.spawn(&["--json", "run"]);
    running.wait_for_status("running");
    let before = memory_kib(running.pid(), "VmRSS:");

    let other = origin.serve("/other", file(b"x"));
    let told = |(deed, _): &(&str, &str)| json!({"url": other.url(), "taskId": deed, "callbacks": [path], "retries": 0, "metaData": deed});
    world.add(&ENDLESS.iter().map(told).collect::<Vec<_>>());
    running.wait_for_statuses("failed", ENDLESS.len());
    running.wait_for_statuses("complete", 1);
    let most = memory_kib(running.pid(), "VmHWM:");

    for (deed, limit) in ENDLESS {
        let task = world.show(deed);
        assert!(task["exception"]["description"].as_str().unwrap().contains(limit), "{deed}: {task}");
    }
    assert_eq!(other.log().len(), 0, "none of them was worked");
    assert_same_bytes(&std::fs::read(world.path("in/good")).unwrap(), &bytes(1, 1_000_000));
    assert!(most < before + MEMORY_KIB_MAX, "{before} KiB before, {most} KiB at most");
}

/// A line of what the kernel says of a process's memory.
fn memory_kib(pid: u32, what: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_component_that_is_made_to_be_hard_to_compile_is_refused() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let bomb = world.write("bomb.wasm", bomb());

    let words = ["get", film.url(), "--callbacks", bomb.to_str().unwrap()];
    world.haul(&words).exits(10).says("bytes of code in one function");
    assert_eq!(film.log().len(), 0);
}

/// A component whose one function has two million instructions.
fn bomb() -> Vec<u8> {
    use wasm_encoder::{CodeSection, Component, Function, FunctionSection, Module, ModuleSection, TypeSection};
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    functions.function(0);
    let mut function = Function::new([]);
    function.raw(vec![0x01; 2_000_000]);
    function.instructions().end();
    code.function(&function);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    exporting(component, "haul:transfer/retry@0.1.0")
}

/// A component that exports an interface with nothing in it.
fn exporting(mut component: wasm_encoder::Component, name: &str) -> Vec<u8> {
    use wasm_encoder::{ComponentExportKind, ComponentExportSection, ComponentInstanceSection};
    let (mut instances, mut exports) = (ComponentInstanceSection::new(), ComponentExportSection::new());
    instances.export_items(Vec::<(&str, ComponentExportKind, u32)>::new());
    exports.export(name, ComponentExportKind::Instance, 0, None);
    component.section(&instances).section(&exports);
    component.finish()
}

/// Puts a pipe that nobody writes to in a place.
fn pipe(path: &std::path::Path) {
    let _ = std::fs::remove_file(path);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).unwrap();
}

#[test]
fn a_pipe_in_the_place_of_a_component_holds_up_nobody() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let own = world.write("own.wasm", std::fs::read(component("one-hook-only")).unwrap());
    world.add(&[
        json!({"url": film.url(), "taskId": "piped", "callbacks": [own], "priority": 0}),
        json!({"url": film.url(), "taskId": "other", "filename": "other"}),
    ]);
    pipe(&own);

    world.run();

    let (piped, other) = (world.show("piped"), world.show("other"));
    assert_eq!((&piped["status"], &other["status"]), (&json!("failed"), &json!("complete")), "{piped} {other}");
    let why = piped["exception"]["description"].as_str().unwrap();
    assert!(why.contains("own.wasm: it is not a regular file"), "{why}");

    let path = own.to_str().unwrap();
    let task = json!({"url": film.url(), "callbacks": [own]}).to_string();
    world.haul_reading(&["add", "-"], &task).exits(2).says("not a regular file");
    for words in
        [&["get", film.url(), "--callbacks", path][..], &["callbacks", "check", path], &["callbacks", "attach", path]]
    {
        world.haul(words).exits(10).says("not a regular file");
    }
}

#[test]
fn a_component_cannot_have_tasks_ask_others() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let steered = component("steered");
    for other in ["/etc/passwd", "steered"] {
        let words = ["get", film.url(), "--callbacks", steered.to_str().unwrap(), "--metadata"];
        let refused = world.haul(&[&words[..], &[&format!("admit callbacks {other}")]].concat()).exits(10);
        let refused = refused.says("`callbacks` must stay as they are");
        assert!(
            !refused.stderr.contains("not a WebAssembly component"),
            "nothing there was looked at: {}",
            refused.stderr
        );
    }
    assert_eq!(film.log().len(), 0);
}

#[test]
fn a_component_cannot_make_another_task_of_the_one_that_it_admits() {
    let (world, origin, other) = (World::new(), Origin::start(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let elsewhere = other.serve("/f", file(b"y"));
    world.config("[profiles.corp]\nheaders = { X-Corp = \"corp-login\" }\n");
    let steered = component("steered");
    let get = |words: &str| {
        let callbacks = ["--callbacks", steered.to_str().unwrap(), "--metadata", words];
        world.haul(&[&["get", film.url()][..], &callbacks].concat())
    };
    for (words, why) in [
        (format!("admit url {}", elsewhere.url()), "a task with another `url`"),
        ("admit profile corp".into(), "a task with another `extra`"),
        ("admit directory elsewhere".into(), "a task with another `directory`"),
        ("admit group other".into(), "a task with another `group`"),
        ("admit header Range=bytes=0-0".into(), "a task with another `headers`"),
        ("admit header X-Key={credential:corp}".into(), "credential `corp` is not granted to it"),
        ("admit silent".into(), "it refuses a task and does not say why"),
        (
            "admit priority 11".into(),
            "component `steered` gave an unusable answer in `admit`: a task that nobody may add: `priority`",
        ),
        (
            "admit header Host=elsewhere".into(),
            "component `steered` gave an unusable answer in `admit`: a task that nobody may add: `headers`",
        ),
    ] {
        get(&words).exits(10).says(why);
    }
    assert_eq!((film.log().len(), elsewhere.log().len()), (0, 0), "nothing was sent");

    get("admit header X-Seen=yes").exits(0);
    assert_eq!(film.requests()[0].header("x-seen"), Some("yes"), "what harms nobody it may choose");
}

#[test]
fn a_hook_whose_name_is_misspelt_is_told() {
    let world = World::new();
    let file =
        world.write("misspelt.wasm", exporting(wasm_encoder::Component::new(), "haul:transfer/on-progresz@0.1.0"));

    let told = world.haul(&["callbacks", "check", file.to_str().unwrap()]).exits(10);

    let told = told.says("warning: `haul:transfer/on-progresz@0.1.0` is no hook of this version");
    assert!(told.stdout.contains("ignored"), "{}", told.stdout);
    told.says("nothing to ask it: `haul:transfer/on-progresz@0.1.0` is none");
}
