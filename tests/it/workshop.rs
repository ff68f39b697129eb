//! `haul callbacks`: from a new folder to a component that is attached, swapped and rolled back; tried out and replayed on
//! the way.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::components::{component, example};
use crate::support::world::names_in;
use crate::support::*;

/// A component of tests/components, as an argument.
fn path_of(name: &str) -> String {
    component(name).to_str().unwrap().to_owned()
}

/// A sample call of `filename`, one line.
fn filename_call(url: &str) -> String {
    json!({"hook": "filename", "input": {"task": {"id": "t", "url": url}, "response": {"status": 200, "url": url}}})
        .to_string()
}

// A new folder.

/// Files of a folder of the repository that belong to it, by their path below it.
fn sources_of(folder: &Path) -> Vec<PathBuf> {
    let made = ["target", "node_modules", ".tools", "__pycache__", ".venv"];
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && !made.contains(&name.as_str()) {
                waiting.push(path);
            } else if path.is_file() && !name.ends_with(".wasm") {
                found.push(path.strip_prefix(folder).unwrap().to_path_buf());
            }
        }
    }
    found
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn a_new_folder_is_the_example_of_its_language_with_the_contract_beside_it() {
    let world = World::new();
    let examples = repository().join("callbacks-example");
    let folders = std::fs::read_dir(&examples).unwrap().map(|entry| entry.unwrap().path());
    let mut languages = 0;
    for folder in folders.filter(|path| path.is_dir()) {
        let language = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let made = world.haul(&["callbacks", "new", &language, "--lang", &language]).exits(0);
        made.says("next: cd ");
        for file in sources_of(&folder) {
            let expected = std::fs::read(folder.join(&file)).unwrap();
            let expected = String::from_utf8(expected).unwrap().replace("../../wit", "wit");
            let found = String::from_utf8(world.read(&format!("{language}/{}", file.display()))).unwrap();
            assert!(found == expected, "{language}/{} differs", file.display());
            assert!(!found.contains("](../"), "{language}/{} links to what is not there", file.display());
        }
        for entry in std::fs::read_dir(repository().join("wit")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "wit") {
                let name = path.file_name().unwrap().to_str().unwrap();
                assert_eq!(world.read(&format!("{language}/wit/{name}")), std::fs::read(&path).unwrap(), "{name}");
            }
        }
        languages += 1;
    }
    assert!(languages > 0);
}

#[test]
fn a_folder_that_somebody_uses_is_left_alone() {
    let world = World::new();
    world.write("mine/notes", "x");

    world.haul(&["callbacks", "new", "mine", "--lang", "rust"]).exits(2).says("not empty");
    let unknown = world.haul(&["callbacks", "new", "other", "--lang", "cobol"]).exits(2);

    assert!(unknown.stderr.contains("cobol") && unknown.stderr.contains("rust"), "{}", unknown.stderr);
    assert_eq!(world.names(), ["mine"]);
    assert_eq!(names_in(&world.path("work/mine")), ["notes"]);
}

#[test]
fn a_new_component_is_built_changed_tried_out_and_used() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    world.haul(&["callbacks", "new", "mine", "--lang", "rust"]).exits(0);
    let main = String::from_utf8(world.read("mine/src/lib.rs")).unwrap();
    assert!(main.contains("x-haul-example"), "the line to change is there");
    world.write("mine/src/lib.rs", main.replace("x-haul-example", "x-mine"));

    let built = build(&world.path("work/mine"));
    let built = built.to_str().unwrap();
    let tried = world.haul(&["--json", "callbacks", "test", built, "--hook", "on-task-start"]).exits(0).json();
    world.haul(&["get", film.url(), "--callbacks", built]).exits(0);

    assert_eq!(tried[0]["verdict"]["headers"], json!([["x-mine", "sample-1"]]), "{}", tried[0]);
    assert!(film.requests()[0].header("x-mine").is_some());
}

/// Builds a new Rust folder under a name of its own, with what the example's build has left.
fn build(folder: &Path) -> PathBuf {
    example();
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    std::fs::write(folder.join("Cargo.toml"), manifest.replace("haul-callbacks-example", "mine")).unwrap();
    let target = repository().join("target/test-components");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--target=wasm32-wasip2", "--target-dir"])
        .arg(&target)
        .current_dir(folder)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status();
    assert!(status.unwrap().success(), "a new folder builds as it is");
    target.join("wasm32-wasip2/release/mine.wasm")
}

// Trying out.

#[test]
fn test_shows_input_verdict_time_and_memory_of_each_call() {
    let world = World::new();

    let calls = world.haul(&["--json", "callbacks", "test", &path_of("one-hook-only")]).exits(0).json();
    let shown = world.haul(&["callbacks", "test", &path_of("one-hook-only")]).exits(0);

    assert!(calls.len() >= 2, "several samples of one hook");
    for call in &calls {
        assert_eq!(call["hook"], "retry");
        assert_eq!(call["verdict"], json!({"afterMs": 1234}), "{call}");
        assert_eq!(call["problem"], Value::Null);
        assert_eq!(call["input"]["task"]["url"], "https://example.org/films/film.mkv", "inputs are complete");
        assert!(call["wallMs"].as_f64().unwrap() > 0.0 && call["cpuMs"].as_f64().unwrap() > 0.0, "{call}");
        assert!(call["memoryBytes"].as_u64().unwrap() >= 64 << 10, "{call}");
    }
    for word in ["retry", "input", "verdict", "afterMs", "took", "ms on the CPU", "MiB"] {
        assert!(shown.stdout.contains(word), "no `{word}` in\n{}", shown.stdout);
    }
}

#[test]
fn test_ends_with_10_when_a_hook_traps_or_answers_nonsense() {
    let world = World::new();

    let traps = world.haul(&["--json", "callbacks", "test", &path_of("traps")]).exits(10).json();
    let nonsense = world.haul(&["--json", "callbacks", "test", &path_of("answers-nonsense")]).exits(10).json();

    assert!(traps[0]["problem"].as_str().unwrap().contains("trapped"), "{}", traps[0]);
    assert_eq!(traps[0]["verdict"], Value::Null);
    assert_eq!(
        traps[0]["log"].as_array().unwrap().iter().filter(|line| line.as_str() == traps[0]["problem"].as_str()).count(),
        0
    );
    let problem = |hook: &str| {
        let call = nonsense.iter().find(|call| call["hook"] == *hook).unwrap();
        call["problem"].as_str().unwrap_or("").to_owned()
    };
    assert!(problem("classify").contains("999"), "{}", problem("classify"));
    assert!(problem("resume").contains("only"), "{}", problem("resume"));
    assert!(problem("on-task-start").contains("the host alone writes"), "{}", problem("on-task-start"));
    assert!(problem("authorize").contains("x-a"), "{}", problem("authorize"));
    assert!(problem("before-task-start").contains("running"), "{}", problem("before-task-start"));
    assert!(!nonsense.iter().any(|call| call["problem"].as_str().is_some_and(|why| why.contains("left alone"))));
}

#[test]
fn a_component_tries_out_the_state_that_is_granted_to_it_and_leaves_that_of_transfers_alone() {
    let mut world = World::new();
    let (path, temporary) = (path_of("keeps-state"), world.path("temporary"));
    std::fs::create_dir(&temporary).unwrap();
    world.set("TMPDIR", temporary.to_str().unwrap());
    world.config(&format!("[[grants]]\npath = {path:?}\nkeyvalue = \"64K\"\n"));
    let call =
        |meta: &str| json!({"hook": "on-task-start", "input": {"task": {"id": "t", "metaData": meta}}}).to_string();
    let inputs = world.path("inputs");
    std::fs::write(&inputs, format!("{}\n{}\n", call("one"), call("two"))).unwrap();
    let words = ["--json", "callbacks", "test", &path, "--inputs", inputs.to_str().unwrap()];

    for _ in 0..2 {
        let tried = world.haul(&words).exits(0).json();
        let told: Vec<_> = tried.iter().map(|trial| &trial["verdict"]["headers"][0][1]).collect();
        assert_eq!(told, ["1 none count,last 1 false", "2 one count,last 1 false"], "it begins with none: {tried:?}");
    }
    let words = ["--json", "callbacks", "replay", &path, "--inputs", inputs.to_str().unwrap(), "--against", &path];
    let replayed = world.haul(&words).exits(0).json();
    assert!(replayed.iter().all(|call| call["changed"] == false), "each has its own: {replayed:?}");

    world.haul(&["callbacks", "state"]).exits(0).says("no component keeps anything");
    let left = names_in(&temporary);
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn test_shows_what_a_component_logs() {
    let world = World::new();
    let calls = world.haul(&["--json", "callbacks", "test", &path_of("floods-log")]).exits(0).json();
    assert_eq!(calls[0]["hook"], "on-task-finished");
    assert!(calls[0]["log"][0].as_str().unwrap().contains("cleared"), "{}", calls[0]["log"][0]);
}

#[test]
fn test_takes_inputs_in_any_spelling_and_names_the_line_that_is_wrong() {
    let world = World::new();
    let call = |text: &str| world.write("calls", text).to_str().unwrap().to_owned();
    let run = |file: &str| world.haul(&["--json", "callbacks", "test", &path_of("appends-a"), "--inputs", file]);

    let good = format!(
        "{}\n\n{}\n",
        filename_call("http://h/a.txt"),
        r#"{"hook":"filename","input":{"task":{"id":"t","url":"http://h/b","meta-data":"x","max_redirects":3}}}"#,
    );
    let calls = run(&call(&good)).exits(0).json();
    assert_eq!((&calls[0]["verdict"], &calls[1]["verdict"]), (&json!("a.txta"), &json!("ba")));
    assert_eq!(calls[1]["input"]["task"]["maxRedirects"], 3);

    for (line, why) in [
        (r#"{"hook":"filename","input":{"tusk":{}}}"#, "tusk"),
        (r#"{"hook":"filename","input":{"task":{"url":7}}}"#, "input.task.url"),
        (r#"{"hook":"filename","input":{"task":{"kind":"dawnload"}}}"#, "parallelDownload"),
        (r#"{"hook":"filename","input":{"task":{"maxRedirects":4294967296}}}"#, "`input.task.maxRedirects` must be a"),
        (r#"{"hook":"filenames","input":{}}"#, "filenames"),
        (r#"{"hook":"filename"}"#, "input"),
        ("nothing", "JSON"),
    ] {
        let refused = run(&call(&format!("{}\n{line}\n", filename_call("http://h/a")))).exits(2);
        assert!(refused.stderr.contains("line 2") && refused.stderr.contains(why), "{line}: {}", refused.stderr);
    }
    run("nowhere").exits(2).says("nowhere");
    run(&call(r#"{"hook":"verify","input":{}}"#)).exits(2).says("filename");
}

#[test]
fn test_watches_the_file_until_interrupted() {
    let world = World::new();
    let file = world.write("it.wasm", std::fs::read(component("appends-a")).unwrap());
    let calls = world.write("calls", filename_call("http://h/f"));
    let words = ["callbacks", "test", file.to_str().unwrap(), "--watch", "--inputs", calls.to_str().unwrap()];

    let watching = world.spawn(&words);
    watching.wait_for_log(1, "waiting for");
    world.write("it.wasm", "broken");
    watching.wait_for_log(2, "waiting for");
    // As compilers do it: the finished file takes the place of the old one.
    let new = world.write("it.new", std::fs::read(component("appends-b")).unwrap());
    std::fs::rename(new, &file).unwrap();
    watching.wait_for_log(3, "waiting for");
    watching.signal(Signal::INT);
    let ended = watching.finish().exits(130);

    assert!(ended.stdout.contains("\"fa\"") && ended.stdout.contains("\"fb\""), "{}", ended.stdout);
    assert!(ended.stderr.contains("not a WebAssembly component"), "{}", ended.stderr);
}

#[test]
fn check_tells_grants_and_limits() {
    let world = World::new();
    let path = path_of("calls-forbidden-host");
    let words = ["--json", "callbacks", "check", &path, "--allow-host", "a.example", "--callback-config", "k=canary"];

    let checked = world.haul(&words).exits(0);

    let json = &checked.json()[0];
    assert_eq!(json["grants"]["allowHosts"], json!(["a.example"]));
    assert_eq!(json["grants"]["config"], json!(["k"]));
    assert_eq!(json["grants"]["limits"]["memoryBytes"], 32 << 20);
    assert!(!checked.stdout.contains("canary"), "a setting may be a secret");
}

// Recording and replaying.

/// Downloads with a component attached and everything recorded; answers the record's path and text.
fn recorded(world: &World, origin: &Origin, name: &str) -> (String, String) {
    let film = origin.script("/film", vec![status(503).header("Retry-After", "0"), file(b"x")]);
    let url = format!("{}?token=canary", film.url());
    let record = world.path("work/record.jsonl").to_str().unwrap().to_owned();
    let header = "Authorization: Bearer canary";
    world.haul(&["get", &url, "-H", header, "--callbacks", &path_of(name), "--record", &record]).exits(0);
    let text = String::from_utf8(world.read("record.jsonl")).unwrap();
    (record, text)
}

#[test]
fn a_record_has_every_call_of_real_tasks_and_no_secret() {
    let (world, origin) = (World::new(), Origin::start());

    let (_, text) = recorded(&world, &origin, "appends-a");

    assert!(!text.contains("canary"), "{text}");
    let calls: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |hook: &str| calls.iter().filter(|call| call["hook"] == *hook).collect::<Vec<_>>();
    assert_eq!(of("filename").len(), 1, "asked by the component, the policy's part in it is not told: {text}");
    assert_eq!(of("filename")[0]["component"], "appends_a");
    assert_eq!(of("filename")[0]["verdict"], "filma");
    assert_eq!(of("filename")[0]["input"]["task"]["headers"], json!([["Authorization", "***"]]));
    let retries = of("retry");
    assert_eq!(retries.len(), 1, "{text}");
    assert_eq!(retries[0]["component"], Value::Null, "the default policy's");
    assert_eq!(retries[0]["input"]["failure"]["httpStatus"], 503);
    assert_eq!(of("admit")[0]["verdict"][0]["ok"]["maxRedirects"], 10);
    assert_eq!(of("classify").len(), 2);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(world.path("work/record.jsonl")).unwrap());
    assert_eq!(mode & 0o077, 0, "it is nobody else's to read");
}

#[test]
fn what_has_elapsed_is_counted_from_the_first_attempt_and_not_from_when_the_task_was_made() {
    let (world, origin) = (World::new(), Origin::start());
    let busy = |seconds: &str| status(503).header("Retry-After", seconds);
    let film = origin.script("/film", vec![busy("1"), busy("0"), file(b"x")]);
    world.add(&[json!({"url": film.url(), "retries": 2, "creationTime": 1})]);
    let record = world.path("work/record.jsonl").to_str().unwrap().to_owned();

    world.haul(&["run", "--until-idle", "--record", &record]).exits(0);

    let text = String::from_utf8(world.read("record.jsonl")).unwrap();
    let calls = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let retries = calls.filter(|call| call["hook"] == "retry");
    let elapsed: Vec<u64> = retries.map(|call| call["input"]["attempt"]["elapsedMs"].as_u64().unwrap()).collect();
    assert_eq!(elapsed.len(), 2, "{text}");
    assert!(elapsed.iter().all(|ms| *ms < 1_000_000_000_000), "not since 1970: {elapsed:?}");
    assert!(elapsed[1] >= 1_000, "the wait between them is in it: {elapsed:?}");
}

#[test]
fn a_record_shows_no_credential_that_was_refreshed_and_replays_without_a_difference() {
    let (world, origin) = (World::new(), Origin::start());
    let granted =
        file(br#"{"access_token":"cAnArY-new","expires_in":3600}"#).header("Content-Type", "application/json");
    let refresh = origin.serve("/token", granted);
    let film = origin.serve("/f", file(b"x"));
    let auth = json!({
        "accessToken": "cAnArY-old", "accessTokenExpiryTime": 1_000_000_000_000_u64,
        "accessHeaders": {"X-Tok": "{accessToken}"}, "accessQueryParams": {"k": "{accessToken}"},
        "refreshToken": "cAnArY-again", "refreshUrl": refresh.url(), "refreshHeaders": {"X-Client": "cAnArY-client"},
    });
    world.add(&[json!({"url": film.url(), "options": {"auth": auth}})]);
    let record = world.path("work/record.jsonl").to_str().unwrap().to_owned();

    world.haul(&["run", "--until-idle", "--record", &record]).exits(0);

    assert_eq!(film.requests()[0].header("x-tok"), Some("cAnArY-new"));
    assert_eq!(refresh.requests()[0].header("x-client"), Some("cAnArY-client"));
    let text = String::from_utf8(world.read("record.jsonl")).unwrap();
    let leaks: Vec<_> = text.lines().filter(|line| line.contains("cAnArY")).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
    let replayed = world.haul(&["--json", "callbacks", "replay", &path_of("steered"), "--inputs", &record]).exits(0);
    let changed: Vec<_> = replayed.json().into_iter().filter(|call| call["changed"] == true).collect();
    assert!(changed.is_empty(), "{changed:#?}");
}

#[test]
fn what_was_recorded_can_be_tried_with_the_same_component() {
    let (world, origin) = (World::new(), Origin::start());
    let (record, _) = recorded(&world, &origin, "appends-a");

    let tried =
        world.haul(&["--json", "callbacks", "test", &path_of("appends-a"), "--inputs", &record]).exits(0).json();

    assert_eq!(tried.len(), 1, "of all hooks it answers one");
    assert_eq!(tried[0]["verdict"], "filma");
}

#[test]
fn replay_tells_what_another_component_would_have_answered() {
    let (world, origin) = (World::new(), Origin::start());
    let (record, _) = recorded(&world, &origin, "appends-a");
    let (a, b) = (path_of("appends-a"), path_of("appends-b"));
    let replay = |words: &[&str]| {
        let words = [&["--json", "callbacks", "replay"], words, &["--inputs", &record]].concat();
        world.haul(&words).exits(0).json()
    };

    let same = replay(&[&a]);
    let other = replay(&[&b]);
    let against = replay(&[&a, "--against", &b]);
    let shown = world.haul(&["callbacks", "replay", &b, "--inputs", &record]).exits(0);
    world.haul(&["callbacks", "replay", &path_of("traps"), "--inputs", &record]).exits(10);

    assert_eq!((same.len(), &same[0]["changed"]), (1, &json!(false)), "{same:?}");
    assert_eq!(other[0]["changed"], true);
    assert_eq!(other[0]["differences"], json!([{"path": "verdict", "before": "filma", "after": "filmb"}]));
    assert_eq!(against[0]["differences"], json!([{"path": "verdict", "before": "filmb", "after": "filma"}]));
    assert!(shown.stdout.contains("\"filma\" -> \"filmb\""), "{}", shown.stdout);
    shown.says("1 answered differently");
}

#[test]
fn replay_compares_what_the_component_itself_has_answered_and_tells_what_it_leaves_out() {
    let (world, origin) = (World::new(), Origin::start());
    let (one, other) = (origin.serve("/film", file(b"x")), origin.serve("/more", file(b"x")));
    let (a, b, c) = (path_of("appends-a"), path_of("appends-b"), world.path("work/c.wasm"));
    let record = world.path("work/record.jsonl").to_str().unwrap().to_owned();
    for (film, component) in [(one, &a), (other, &b)] {
        world.haul(&["get", film.url(), "--callbacks", component, "--record", &record]).exits(0);
    }
    std::fs::copy(&b, &c).unwrap();
    let c = c.to_str().unwrap();
    let replay = |words: &[&str]| world.haul(&[&["callbacks", "replay", "--inputs", &record], words].concat());

    let own = replay(&[&b]).exits(0);
    let in_its_place = replay(&[c, "--component", "appends_b"]).exits(0);
    let in_anothers = replay(&[c, "--component", "appends_a"]).exits(0);
    replay(&[c]).exits(2).says("the calls are those of `appends_a` and `appends_b`: say in whose place `c` is asked");
    replay(&[c, "--component", "d"]).exits(2).says("none of `d`");
    let against = replay(&[c, "--against", &b]).exits(0);

    own.says("1 call, 0 answered differently; left out: ").says(" of other hooks, 1 of `appends_a`");
    in_its_place.says("1 call, 0 answered differently");
    in_anothers.says("1 call, 1 answered differently");
    against.says("2 calls, 0 answered differently");
}

#[test]
fn an_engine_that_runs_elsewhere_cannot_be_told_to_record() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let slow = origin.serve("/slow", file(&bytes(1, 1000)).gate(10, &gate));
    let film = origin.serve("/f", file(b"x"));
    let running = world.spawn_get(&[slow.url()]);
    running.wait_for_status("running");

    world.haul(&["get", film.url(), "--record", "r"]).exits(9).says("--record");
    let waits = world.spawn(&["run", "--record", "r"]);
    waits.wait_for_word("--record has no effect until it ends");
    gate.open();
    running.finish().exits(0);
    world.haul(&["get", film.url()]).exits(0);
    waits.signal(Signal::INT);
    waits.finish().exits(130);

    assert!(world.read("r").starts_with(b"{"), "who takes over records from then on");
}

#[test]
fn a_record_whose_last_line_was_cut_goes_on_and_is_read_without_that_line() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let whole = filename_call("http://x.invalid/first");
    world.write("r", format!("{whole}\n{}", &whole[..50]));
    let a = path_of("appends-a");

    world.haul(&["get", film.url(), "--callbacks", &a, "--record", "r"]).exits(0);
    for command in ["test", "replay"] {
        let read = world.haul(&["--json", "callbacks", command, &a, "--inputs", "r"]).exits(0);
        assert_eq!(read.json().len(), 2, "{}", read.stderr);
        read.says("r, line 2: it is cut, and left out");
    }
    world.write("empty", "");
    for command in ["test", "replay"] {
        world.haul(&["callbacks", command, &a, "--inputs", "empty"]).exits(2).says("none of the calls");
    }
}

// Attaching.

fn attach(world: &World, name: &str, more: &[&str]) -> Value {
    let path = path_of(name);
    let words = [&["--json", "callbacks", "attach", &path], more].concat();
    world.haul(&words).exits(0).json().remove(0)
}

fn name_of_a_download(world: &World, origin: &Origin, more: &[&str]) -> String {
    let film = origin.serve("/f", file(b"x"));
    let done =
        world.haul(&[&["get", film.url(), "--print", "path", "--on-conflict", "replace"], more].concat()).exits(0);
    Path::new(done.stdout.trim()).file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn doctor_tells_of_attached_components_and_which_of_them_cannot_be_loaded() {
    let world = World::new();
    let attached = attach(&world, "appends-a", &["--name", "letters"]);
    assert!(world.haul(&["doctor"]).exits(0).stdout.contains("component letters"));

    std::fs::write(attached["path"].as_str().unwrap(), "something else").unwrap();

    let doctor = world.haul(&["doctor"]).exits(1);
    assert_eq!(doctor.stdout.matches("PROBLEM").count(), 1, "{}", doctor.stdout);
    assert!(doctor.stdout.contains("haul callbacks detach"), "{}", doctor.stdout);
}

#[test]
fn an_attached_component_is_asked_by_every_later_command_until_it_is_detached() {
    let (world, origin) = (World::new(), Origin::start());
    let copy = world.write("letters.wasm", std::fs::read(component("appends-a")).unwrap());
    let copy_path = copy.to_str().unwrap();

    world.haul(&["callbacks", "attach", copy_path]).exits(0).says("`letters` is attached to every task");
    std::fs::remove_file(copy).unwrap(); // the home has its own
    assert_eq!(name_of_a_download(&world, &origin, &[]), "fa");
    let listed = world.haul(&["--json", "callbacks", "list"]).exits(0).json();
    assert_eq!(listed[0]["name"], "letters");
    assert_eq!(listed[0]["attachedBy"], "home");
    assert_eq!(listed[0]["sha256"], sha256(&std::fs::read(component("appends-a")).unwrap()).as_str());
    assert_eq!(listed[0]["problem"], Value::Null);
    let shown = world.haul(&["callbacks", "list"]).exits(0);
    assert!(shown.stdout.contains("letters") && shown.stdout.contains("every task"), "{}", shown.stdout);

    world.haul(&["callbacks", "detach", "letters"]).exits(0).says("no more");
    assert_eq!(name_of_a_download(&world, &origin, &[]), "f");
    assert_eq!(names_in(&world.path("home/components")), [""; 0], "nothing is left of it");
    world.haul(&["callbacks", "detach", "letters"]).exits(2).says("letters");
}

#[test]
fn a_hook_that_is_left_alone_is_to_be_seen_until_another_version_is_attached() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let slow = origin.serve("/slow", file(&bytes(1, 1000)).gate(10, &gate));
    let running = world.spawn_get(&[slow.url()]);
    gate.wait_for(1);
    attach(&world, "traps", &["--name", "it", "--callback-config", "client=me"]);
    let busy = origin.serve("/busy", status(500));
    for number in 0..5 {
        world.haul(&["get", busy.url(), "--retries", "1", "--id", &format!("t{number}")]).exits(10);
    }

    let listed = world.haul(&["--json", "callbacks", "list"]).exits(0).json();
    assert!(listed[0]["leftAlone"]["retry"].as_u64().is_some_and(|left| left > 200), "{}", listed[0]);
    let shown = world.haul(&["callbacks", "list"]).exits(0).stdout;
    assert!(shown.contains("settings client") && shown.contains("left alone: `retry` for "), "{shown}");
    let doctor = world.haul(&["doctor"]).exits(1).stdout;
    assert!(
        doctor.contains("left alone: `retry` for ") && doctor.contains("attach it mended, or detach it and"),
        "{doctor}"
    );

    attach(&world, "appends-a", &["--name", "it"]);
    world.haul(&["callbacks", "rollback", "it"]).exits(0);
    let listed = world.haul(&["--json", "callbacks", "list"]).exits(0).json();
    assert_eq!(listed[0]["leftAlone"], json!({}));
    gate.open();
    running.finish().exits(0);
}

#[test]
fn a_component_of_a_group_is_asked_by_its_tasks_only() {
    let (world, origin) = (World::new(), Origin::start());
    attach(&world, "appends-a", &["--group", "films", "--name", "letters"]);
    attach(&world, "appends-b", &["--name", "letters"]);

    assert_eq!(name_of_a_download(&world, &origin, &["--group", "films"]), "fba", "in the order of attachment");
    assert_eq!(name_of_a_download(&world, &origin, &["--group", "songs"]), "fb");

    world.haul(&["callbacks", "detach", "letters"]).exits(0);
    assert_eq!(name_of_a_download(&world, &origin, &["--group", "films"]), "fa");
    world.haul(&["callbacks", "detach", "letters"]).exits(2).says("--group films");
}

#[test]
fn a_task_can_name_a_component_of_another_group() {
    let (world, origin) = (World::new(), Origin::start());
    attach(&world, "appends-a", &["--group", "films", "--name", "letters"]);
    let (one, two) = (origin.serve("/one", file(b"x")), origin.serve("/two", file(b"x")));

    world.add(&[
        json!({"url": one.url(), "group": "songs", "callbacks": ["letters"]}),
        json!({"url": two.url(), "group": "films", "callbacks": ["letters"]}),
    ]);
    world.run().exits(0);

    assert_eq!(names_in(&world.path("in")), ["onea", "twoa"], "and is asked once, not twice, where it is attached");
}

#[test]
fn the_configuration_can_attach_to_a_group_too_and_is_asked_first() {
    let (world, origin) = (World::new(), Origin::start());
    let (a, b) = (component("appends-a"), path_of("appends-b"));
    world.config(&format!("[[callbacks]]\nname = \"letters\"\ngroup = \"films\"\npath = {a:?}\n"));
    attach(&world, "appends-b", &["--name", "more"]);

    assert_eq!(
        name_of_a_download(&world, &origin, &["--group", "films"]),
        "fba",
        "who is asked first has the last word"
    );
    assert_eq!(name_of_a_download(&world, &origin, &[]), "fb");
    world.haul(&["callbacks", "attach", &b, "--name", "letters"]).exits(2).says("configuration");
}

#[test]
fn components_of_the_command_line_come_after_those_of_the_home() {
    let (world, origin) = (World::new(), Origin::start());
    attach(&world, "appends-a", &[]);
    assert_eq!(name_of_a_download(&world, &origin, &["--callbacks", &path_of("appends-b")]), "fba");
}

#[test]
fn another_version_takes_the_place_of_the_first_and_can_be_rolled_back() {
    let (world, origin) = (World::new(), Origin::start());
    let digest = |name: &str| sha256(&std::fs::read(component(name)).unwrap());
    let first = attach(&world, "appends-a", &["--name", "letters", "--allow-host", "a.example"]);
    let again = attach(&world, "appends-a", &["--name", "letters", "--allow-host", "a.example"]);
    let granted = attach(&world, "appends-a", &["--name", "letters", "--allow-host", "b.example"]);
    let second = attach(&world, "appends-b", &["--name", "letters", "--allow-host", "b.example"]);
    let changes = [&first, &again, &granted, &second].map(|answer| answer["change"].as_str().unwrap());
    assert_eq!(changes, ["attached", "unchanged", "granted", "swapped"]);
    assert_eq!(second["previous"], json!([digest("appends-a")]));
    assert_eq!(name_of_a_download(&world, &origin, &[]), "fb");

    world.haul(&["callbacks", "rollback", "letters"]).exits(0).says("again from its next call on");
    assert_eq!(name_of_a_download(&world, &origin, &[]), "fa");
    let listed = world.haul(&["--json", "callbacks", "list"]).exits(0).json();
    assert_eq!((&listed[0]["allowHosts"], listed.len()), (&json!(["b.example"]), 1), "grants are of the name");

    let to = digest("appends-b");
    world.haul(&["callbacks", "rollback", "letters", "--to", &to[..8]]).exits(0);
    assert_eq!(name_of_a_download(&world, &origin, &[]), "fb");
    world.haul(&["callbacks", "rollback", "letters", "--to", "0000"]).exits(2).says("0000");
    world.haul(&["callbacks", "rollback", "others"]).exits(2).says("others");
    assert_eq!(names_in(&world.path("home/components")).len(), 2);
}

#[test]
fn a_file_that_was_changed_in_the_home_is_not_run() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let attached = attach(&world, "appends-a", &["--name", "letters"]);
    std::fs::copy(component("appends-b"), attached["path"].as_str().unwrap()).unwrap();

    world.haul(&["get", film.url()]).exits(10).says("haul callbacks detach letters");
    let listed = world.haul(&["callbacks", "list"]).exits(0);
    assert!(listed.stdout.contains("broken: "), "{}", listed.stdout);
    assert_eq!(film.log().len(), 0);
    world.haul(&["callbacks", "detach", "letters"]).exits(0);
    world.haul(&["get", film.url()]).exits(0);
}

#[test]
fn what_cannot_be_loaded_is_not_attached_and_what_was_stays() {
    let (world, origin) = (World::new(), Origin::start());
    attach(&world, "appends-a", &["--name", "letters"]);
    let junk = world.write("junk.wasm", bytes(1, 1000));

    world.haul(&["callbacks", "attach", junk.to_str().unwrap(), "--name", "letters"]).exits(10).says("junk.wasm");
    world.haul(&["callbacks", "attach", &path_of("wrong-version"), "--name", "letters"]).exits(10).says("0.1.0");

    assert_eq!(name_of_a_download(&world, &origin, &[]), "fa");
    assert_eq!(names_in(&world.path("home/components")).len(), 1, "no file of what was refused");
}

#[test]
fn a_running_transfer_asks_what_has_taken_a_components_place_and_does_not_stop() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let whole = || file(&bytes(1, 1000)).etag("\"v\"");
    let film = origin.script("/f", vec![whole().gate(10, &gate).cut(500), whole()]);
    attach(&world, "appends-a", &["--name", "it"]);
    let running = world.spawn(&["-v", "get", film.url(), "--retries", "1"]);
    gate.wait_for(1);

    // The first one does not answer `retry`, this one does: 1,234 ms where the default policy says 2,000.
    let swapped = attach(&world, "one-hook-only", &["--name", "it"]);
    gate.open();

    assert_eq!(swapped["change"], "swapped");
    running.finish().exits(0).says("tried again in 1234 ms");
    assert_eq!(world.names(), ["fa"], "the name was given by the first one");
    assert_eq!(film.log().len(), 2, "{:?}", film.log());
}

#[test]
fn a_running_engine_takes_what_is_attached_and_detached_at_once() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let slow = origin.serve("/slow", file(&bytes(1, 1000)).gate(10, &gate));
    let (one, two, three) =
        (origin.serve("/one", file(b"x")), origin.serve("/two", file(b"x")), origin.serve("/three", file(b"x")));
    let running = world.spawn_get(&[slow.url()]);
    gate.wait_for(1);

    let before = world.haul(&["get", one.url()]).exits(0);
    attach(&world, "appends-a", &["--name", "letters"]);
    attach(&world, "floods-log", &["--name", "hears"]);
    world.haul(&["get", two.url()]).exits(0);
    running.wait_for_word("hears: ");
    world.haul(&["callbacks", "detach", "letters"]).exits(0);
    world.haul(&["get", three.url()]).exits(0);
    gate.open();
    let ended = running.finish().exits(0);

    assert_eq!(world.names(), ["one", "slow", "three", "twoa"]);
    assert!(!before.stderr.contains("hears"), "{}", before.stderr);
    assert!(ended.stderr.contains("hears: "), "who was attached while it ran hears of ends");
}
