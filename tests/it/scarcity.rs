//! What the system does not give: address space, open files. Tasks are done all the same, later or slower. (Too few threads
//! are tried by hand: the limit of processes does not hold for root.)

use serde_json::json;

use crate::support::components::component;
use crate::support::*;

#[test]
fn decisions_and_components_fit_a_small_address_space() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"film"));
    let appends = component("appends-a");

    let words = ["get", film.url(), "--callbacks", appends.to_str().unwrap()];
    world.haul_through(&["prlimit", "--as=805306368"], &words).exits(0);

    assert_eq!(world.names(), ["fa"], "the component was asked, too");
    assert_eq!(world.read("fa"), b"film");
}

#[test]
fn a_component_may_not_grow_further_in_a_small_address_space() {
    let (world, origin) = (World::new(), Origin::start());
    let busy = origin.serve("/f", status(503));
    let greedy = component("eats-memory");

    let words = ["get", busy.url(), "--retries", "1", "--callbacks", greedy.to_str().unwrap()];
    let narrow = world.haul_through(&["prlimit", "--as=805306368"], &words);

    narrow.exits(10).says("it wanted more memory than its ");
}

#[test]
fn no_more_tasks_run_than_files_may_be_open_for() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let urls: Vec<_> =
        (0..40).map(|n| origin.serve(&format!("/{n}"), file(b"x").head_gate(&gate)).url().to_owned()).collect();
    let mut words = vec!["--json", "get", "-j", "30", "--retries", "0"];
    words.extend(urls.iter().map(String::as_str));

    let running = world.spawn_through(&["prlimit", "--nofile=64"], &words);
    gate.wait_for(5);
    gate.open();
    running.finish().exits(0);

    assert_eq!(world.names().len(), 40);
    assert!(origin.busiest() < 15, "{}", origin.busiest());
}

#[test]
fn a_task_that_may_open_no_more_files_waits_until_it_may_and_keeps_its_retries() {
    let (world, origin) = (World::new(), Origin::start());
    let form = origin.serve("/form", status(200));
    let files: Vec<_> = (0..60).map(|n| format!("{n}.txt")).collect();
    std::fs::create_dir_all(world.path("in")).unwrap();
    for name in &files {
        std::fs::write(world.path("in").join(name), name).unwrap();
    }
    world.add(&[json!({"url": origin.serve("/first", file(b"x")).url()})]);
    let running = world.spawn(&["--json", "run"]);
    running.wait_for_status("complete");
    let pid = format!("--pid={}", running.pid());
    let may_open = |count: u32| {
        let mut prlimit = std::process::Command::new("prlimit");
        assert!(prlimit.args([&pid, &format!("--nofile={count}:")]).status().unwrap().success());
    };
    may_open(64);
    world.add(&[json!({"taskType": "MultiUploadTask", "url": form.url(), "taskId": "many", "files": files})]);

    running.wait_for_status("waitingToRetry");
    let waiting = world.show("many");
    may_open(256);
    running.wait_for_statuses("complete", 2);

    assert!(waiting["exception"]["description"].as_str().unwrap().contains("Too many open files"), "{waiting}");
    assert_eq!(waiting["retriesRemaining"], 0, "and it had none");
    assert_eq!(form.log().len(), 1);
    running.kill();
}

#[test]
fn an_address_space_too_small_to_compile_in_is_told_in_a_sentence() {
    let mut world = World::new();
    let cold = world.path("cold");
    world.set("XDG_CACHE_HOME", cold.to_str().unwrap());

    // On one core: each other one takes address space for a thread. From 200 MiB on it fits, now and then.
    let through = ["taskset", "-c", "0", "prlimit", "--as=157286400"];
    let narrow = world.haul_through(&through, &["get", "http://127.0.0.1:9/f"]);

    narrow.exits(1).says("the default policy cannot be compiled").says("ulimit -v");
}
