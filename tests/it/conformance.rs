//! One suite for callbacks-example in every language: each component, steering the real program, does what its README says,
//! within the default limits. What a component answers to a single question is the business of the host's unit tests.

use serde_json::{Value, json};

use crate::support::components::language;
use crate::support::*;

/// A token that expired in 2001.
const LONG_AGO: u64 = 1_000_000_000_000;
/// Enough for a component that leaks, or that collects garbage at the wrong moment, to fail.
const CROWD: usize = 200;

#[test]
fn the_rust_example_conforms() {
    conforms("rust");
}

#[test]
fn the_c_example_conforms() {
    conforms("c");
}

#[test]
fn the_go_example_conforms() {
    conforms("go");
}

#[test]
fn the_javascript_example_conforms() {
    conforms("javascript");
}

#[test]
fn the_typescript_example_conforms() {
    conforms("typescript");
}

#[test]
fn the_python_example_conforms() {
    conforms("python");
}

/// The suite. `name`: a folder of callbacks-example.
#[track_caller]
fn conforms(name: &str) {
    let path = language(name);
    let (world, origin) = (World::new(), Origin::start());
    let path = path.to_str().unwrap();
    world.config(&format!(
        "[[callbacks]]\nname = \"example\"\npath = {path:?}\nallow-hosts = [{:?}]\n",
        origin.authority()
    ));
    check_lists_its_hooks(&world, path);
    steers_a_queue(&world, &origin);
    keeps_what_it_refreshed(&world, &origin);
    reaches_only_what_is_granted(&world, &origin);
    tells_why_it_could_not_refresh(&world, &origin);
}

/// Compiles it too, which takes seconds for a component that carries an interpreter.
fn check_lists_its_hooks(world: &World, path: &str) {
    let (stdout, _) = patiently(world, &["--json", "callbacks", "check", path], 0);
    let checked: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(checked["contract"], "0.1.0", "{checked}");
    let hooks: Vec<_> = checked["hooks"].as_array().unwrap().iter().map(|hook| hook.as_str().unwrap()).collect();
    let answered = ["before-task-start", "on-auth", "on-task-start", "on-task-finished", "filename", "retry"];
    assert!(hooks.len() == answered.len() && answered.iter().all(|hook| hooks.contains(hook)), "{hooks:?}");
}

/// All hooks at once, in one engine, over and over on the same instances.
fn steers_a_queue(world: &World, origin: &Origin) {
    let vetoed = origin.serve("/vetoed", file(b"x"));
    let film = origin.serve("/film.bin", file(b"film"));
    let busy = origin.script("/busy", vec![status(503).header("Retry-After", "1"), file(b"x")]);
    let broken = origin.script("/broken", vec![status(500), file(b"x")]);
    let refresh = origin.serve("/token", granted());
    let locked = origin.serve("/locked", file(b"x"));
    let crowd: Vec<Resource> = (0..CROWD).map(|n| origin.serve(&format!("/crowd-{n}"), file(b"x"))).collect();
    let auth = token(refresh.url(), LONG_AGO);
    let mut tasks = vec![
        json!({"taskId": "vetoed", "url": vetoed.url(), "metaData": "veto"}),
        json!({"taskId": "film", "url": film.url(), "metaData": "rename", "group": "films/new"}),
        json!({"taskId": "busy", "url": busy.url(), "retries": 1}),
        json!({"taskId": "broken", "url": broken.url(), "retries": 1}),
    ];
    tasks.extend(
        (0..4).map(|n| json!({"taskId": format!("locked-{n}"), "url": locked.url(), "options": {"auth": auth}})),
    );
    tasks.extend((0..CROWD).map(|n| json!({"taskId": format!("crowd-{n}"), "url": crowd[n].url()})));
    std::fs::create_dir_all(world.path("in")).unwrap();
    std::fs::write(world.path("in/films_new-film.bin"), "another").unwrap();
    world.add(&tasks);

    let (_, log) = patiently(world, &["run", "--until-idle", "-j", "20"], 8);

    let says = |words: &str| log.contains(&format!("component `example` {words}"));
    assert!(!says("failed in") && !says("gave an unusable answer"), "no call failed: {log}");
    assert!(says("in `before-task-start`: vetoed by the example"), "who vetoed is told: {log}");
    let events = world.events();
    let veto = events.iter().find(|event| event["taskId"] == "vetoed" && event["status"] == "canceled").unwrap();
    assert_eq!(veto["responseBody"], "vetoed by the example", "{veto}");
    assert_eq!(world.show("vetoed")["responseBody"], "vetoed by the example");
    assert_eq!(vetoed.log().len(), 0, "nothing is sent after a veto");

    assert_eq!(film.requests()[0].header("x-haul-example"), Some("film"));
    assert_eq!(std::fs::read(world.path("in/films_new-film (1).bin")).unwrap(), b"film");
    assert_eq!(std::fs::read(world.path("in/films_new-film.bin")).unwrap(), b"another");

    // The default policy's own answers are 1 s, which the server asks for, and 2 s.
    let (doubled, plain) = (waited(&busy), waited(&broken));
    assert!((1.9..3.9).contains(&doubled) && (1.9..3.9).contains(&plain), "{doubled} s and {plain} s");

    assert_eq!(refresh.log().len(), 1, "once for all who share it: {:?}", refresh.log());
    let asked = &refresh.requests()[0];
    assert_eq!(
        serde_json::from_slice::<Value>(&asked.body).unwrap(),
        json!({"grant_type": "refresh_token", "refresh_token": "again"})
    );
    assert_eq!((asked.method.as_str(), asked.header("x-refresh")), ("POST", Some("by again")));
    let used: Vec<_> =
        locked.requests().iter().map(|request| request.header("authorization").map(str::to_owned)).collect();
    assert_eq!(used, vec![Some("Bearer new".to_owned()); 4]);

    for (n, one) in crowd.iter().enumerate() {
        assert_eq!(one.requests()[0].header("x-haul-example"), Some(format!("crowd-{n}").as_str()));
    }
    let told = |words: &str| log.matches(words).count();
    assert_eq!(told(" of group default ended: complete"), CROWD + 6);
    assert_eq!(told("task vetoed of group default ended: canceled"), 1);
    assert_eq!(told("task film of group films/new ended: complete"), 1);
}

/// Another engine, later: the refreshed token is there.
fn keeps_what_it_refreshed(world: &World, origin: &Origin) {
    let refresh = origin.serve("/token", granted());
    let before = refresh.log().len();
    let later = origin.serve("/later", file(b"x"));
    let auth = token(refresh.url(), LONG_AGO);
    world.add(&[json!({"taskId": "later", "url": later.url(), "options": {"auth": auth}})]);

    world.haul(&["run", "--until-idle"]).exits(0);

    assert_eq!(later.requests()[0].header("authorization"), Some("Bearer new"));
    assert_eq!(refresh.log().len(), before, "it was stored: {:?}", refresh.log());
}

fn reaches_only_what_is_granted(world: &World, origin: &Origin) {
    let other = Origin::start();
    let refresh = other.serve("/token", granted());
    let locked = origin.serve("/elsewhere", status(401));
    world.add(&[
        json!({"taskId": "elsewhere", "url": locked.url(), "options": {"auth": token(refresh.url(), u64::MAX >> 12)}}),
    ]);

    world.haul(&["run", "--until-idle"]).exits(4);

    assert_eq!(other.connections(), 0);
    assert_eq!(locked.log().len(), 1, "{:?}", locked.log());
    let record = world.show("elsewhere");
    let (why, host) = (record["exception"]["description"].as_str().unwrap(), other.authority());
    let told =
        format!("; component `example` was refused HTTP: {host} is not granted (grant it with --allow-host {host}");
    assert!(why.starts_with("could not refresh the access token: ") && why.contains(&told), "{why}");
}

fn tells_why_it_could_not_refresh(world: &World, origin: &Origin) {
    let refresh = origin.serve("/refuses", status(418));
    let locked = origin.serve("/refused", status(401));
    world.add(&[
        json!({"taskId": "refused", "url": locked.url(), "options": {"auth": token(refresh.url(), u64::MAX >> 12)}}),
    ]);

    world.haul(&["run", "--until-idle"]).exits(4);

    let record = world.show("refused");
    let why = record["exception"]["description"].as_str().unwrap();
    assert!(why.contains("the token server answered 418"), "{why}");
}

/// Runs a command for as long as it takes (the test runner has a limit); answers stdout and stderr.
#[track_caller]
fn patiently(world: &World, words: &[&str], code: i32) -> (String, String) {
    let output = world.command(words).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{words:?}\n{stdout}\n{stderr}");
    (stdout, stderr)
}

fn token(refresh_url: &str, expires_at_ms: u64) -> Value {
    json!({
        "accessToken": "old", "accessHeaders": {"Authorization": "Bearer {accessToken}"},
        "accessTokenExpiryTime": expires_at_ms, "refreshToken": "again",
        "refreshHeaders": {"X-Refresh": "by {refreshToken}"}, "refreshUrl": refresh_url,
    })
}

fn granted() -> Answer {
    file(br#"{"access_token":"new","expires_in":3600}"#).header("Content-Type", "application/json")
}

/// Seconds between the first two requests.
fn waited(resource: &Resource) -> f64 {
    let requests = resource.requests();
    assert_eq!(requests.len(), 2, "{:?}", resource.log());
    (requests[1].at - requests[0].at).as_secs_f64()
}

#[test]
fn every_hook_state_settings_and_http_can_be_written_in_go() {
    let (world, origin) = is_whole("go");
    let asked = origin.serve("/asked", status(204));
    let broken = origin.serve("/broken", status(404));

    world.get(&[broken.url(), "--id", "broken", "--metadata", &origin.authority()]).exits(3);

    let why = world.show("broken")["exception"]["description"].as_str().unwrap().to_owned();
    assert!(why.contains("component `whole` in `on-error`: the other one answered 204"), "{why}");
    assert_eq!(asked.log().len(), 1);
}

#[test]
fn every_hook_state_and_settings_can_be_written_in_typescript() {
    is_whole("typescript");
}

#[test]
fn every_hook_state_and_settings_can_be_written_in_javascript() {
    is_whole("javascript");
}

#[test]
fn every_hook_state_and_settings_can_be_written_in_python() {
    is_whole("python");
}

/// A component with all hooks builds, is recognised, and lets two files pass: what it has counted is in its state.
#[track_caller]
fn is_whole(name: &str) -> (World, Origin) {
    let path = language(&format!("whole-{name}"));
    let (world, origin) = (World::new(), Origin::start());
    world.config(&format!(
        "[[callbacks]]\nname = \"whole\"\npath = {path:?}\nkeyvalue = \"64K\"\nconfig = {{ most = \"2\" }}\nallow-hosts = \
         [{:?}]\n",
        origin.authority()
    ));
    let (stdout, _) = patiently(&world, &["--json", "callbacks", "check", path.to_str().unwrap()], 0);
    let checked: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(checked["hooks"].as_array().unwrap().len(), 17, "{checked}");
    let files: Vec<Resource> = (0..3).map(|n| origin.serve(&format!("/file-{n}"), file(b"x"))).collect();
    for (n, (file, code)) in files.iter().zip([0, 0, 1]).enumerate() {
        patiently(&world, &["get", file.url(), "--id", &format!("file-{n}")], code);
    }
    let why = world.show("file-2")["exception"]["description"].as_str().unwrap().to_owned();
    assert_eq!(why, "component `whole` in `verify`: this is file 3", "and that is told as everywhere");
    (world, origin)
}

/// Components of four languages in one chain, in this order.
const MIXED: [&str; 4] = ["go", "rust", "javascript", "c"];

#[test]
fn a_chain_of_four_languages_is_asked_in_order_each_decorating_the_next() {
    let (world, origin) = (World::new(), Origin::start());
    let table = |name: &str| format!("[[callbacks]]\nname = \"{name}\"\npath = {:?}\n", language(name));
    world.config(&MIXED.map(table).concat());
    let film = origin.serve("/film.bin", file(b"film"));
    let vetoed = origin.serve("/vetoed", file(b"x"));
    let busy = origin.serve("/busy", status(503).header("Retry-After", "100"));
    world.add(&[
        json!({"taskId": "film", "url": film.url(), "metaData": "rename", "group": "g"}),
        json!({"taskId": "vetoed", "url": vetoed.url(), "metaData": "veto"}),
    ]);

    let record = world.path("calls");
    let (_, log) = patiently(&world, &["run", "--until-idle", "--record", record.to_str().unwrap()], 8);

    let calls: Vec<Value> =
        std::fs::read_to_string(record).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let asked = |hook: &str, task: &str| {
        let of = calls.iter().filter(|call| call["hook"] == hook && call["input"]["task"]["id"] == task);
        of.map(|call| (call["component"].as_str().unwrap().to_owned(), call["verdict"].clone())).collect::<Vec<_>>()
    };
    let stamps = asked("on-task-start", "film");
    assert!(stamps.iter().map(|(name, _)| name).eq(&MIXED), "{stamps:?}");
    assert!(stamps.iter().all(|(_, changes)| changes["headers"] == json!([["x-haul-example", "film"]])), "{stamps:?}");
    assert_eq!(film.requests()[0].header("x-haul-example"), Some("film"));
    // Each puts the group before the name that the next one answers.
    assert_eq!(std::fs::read(world.path("in/g-g-g-g-film.bin")).unwrap(), b"film", "{log}");
    let vetoes = asked("before-task-start", "vetoed");
    assert!(vetoes.len() == 1 && vetoes[0].0 == "go", "after a veto nobody else is asked: {vetoes:?}");
    assert_eq!((asked("on-task-start", "vetoed").len(), vetoed.log().len()), (0, 0));
    for name in MIXED {
        let told = format!("{name}: task film of group g ended: complete");
        assert_eq!(log.matches(&told).count(), 1, "{told}: {log}");
    }

    // Each doubles the wait that the next one answers; the last one asks the default policy, which does as the server says.
    let before = jiff::Timestamp::now().as_millisecond();
    let running = world.spawn_get(&[busy.url(), "--id", "busy", "--retries", "1"]);
    running.wait_for_status("waitingToRetry");
    let until = world.show("busy")["waiting"]["until"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    world.haul(&["cancel", "busy"]).exits(0);
    running.finish();
    let waits_s = (until.as_millisecond() - before) / 1_000;
    assert!((1_600..1_620).contains(&waits_s), "{waits_s} s");
}
