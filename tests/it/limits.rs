//! Limits that change while an engine works, and what the home keeps of them: how many at once, how fast, over which network.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::bus::{Bus, NetworkManager};
use crate::support::*;

/// What `haul limits` says counts.
fn current(world: &World, arguments: &[&str]) -> Value {
    let mut words = vec!["--json", "limits"];
    words.extend(arguments);
    world.haul(&words).exits(0).json().remove(0)["current"].clone()
}

#[test]
fn a_limit_that_is_changed_counts_at_once_and_for_every_later_engine_until_it_is_reset() {
    let (world, origin) = (World::new(), Origin::start());
    world.config("[limits]\ntotal = 1\n");
    let gate = Gate::new();
    let tasks: Vec<Value> = (0..4)
        .map(|n| json!({"url": origin.serve(&format!("/{n}"), file(b"x").head_gate(&gate)).url(), "updates": "status"}))
        .collect();
    world.add(&tasks);
    let running = world.spawn(&["--json", "run", "--until-idle"]);
    gate.wait_for(1);

    assert_eq!(current(&world, &["-j", "3"])["total"], 3);

    gate.wait_for(3);
    assert_eq!(origin.busiest(), 3);
    gate.open();
    running.finish().exits(0);
    assert_eq!(current(&world, &[])["total"], 3, "another engine, the same home");
    assert_eq!(current(&world, &["--reset"])["total"], 1);
}

#[test]
fn a_flag_wins_over_what_the_home_keeps_until_the_limit_is_changed() {
    let (world, origin) = (World::new(), Origin::start());
    current(&world, &["-j", "3", "--group", "g=7", "--limit-rate", "08:00,1M 12:00,off"]);
    let gate = Gate::new();
    let urls: Vec<_> =
        (0..3).map(|n| origin.serve(&format!("/{n}"), file(b"x").head_gate(&gate)).url().to_owned()).collect();
    let running = world.spawn_get(&[&urls[0], &urls[1], &urls[2], "-j", "1"]);
    gate.wait_for(1);

    let seen = current(&world, &[]);
    assert_eq!((&seen["total"], &seen["groups"]["g"]), (&json!(1), &json!(7)));
    assert_eq!(seen["rate"], "08:00,1M 12:00,off");
    assert_eq!(current(&world, &["-j", "2"])["total"], 2);

    gate.wait_for(2);
    gate.open();
    running.finish().exits(0);
    assert_eq!(origin.busiest(), 2);
}

#[test]
fn a_limit_that_cannot_be_understood_is_refused_with_an_example() {
    let world = World::new();
    for (words, says) in [
        (["limits", "--limit-rate", "8 o'clock"], "[DAY-]HH:MM,RATE"),
        (["limits", "--rate-group", "1M"], "NAME=RATE"),
        (["limits", "--group", "g=many"], "not a number"),
        (["limits", "--group", "chunk=1"], "`chunk` is reserved"),
        (["limits", "--rate-group", "chunk=1M"], "`chunk` is reserved"),
        (["limits", "--network", "wet"], "unmetered"),
        (["limits", "--task", "nobody=1M"], "nobody"),
    ] {
        world.haul(&words).exits(2).says(says);
    }
    world.config("[limits]\nrate = \"fast\"\n");
    world.haul(&["ls"]).exits(2).says("line 2").says("a speed limit must be");
}

#[test]
fn starts_are_an_interval_apart() {
    let (world, origin) = (World::new(), Origin::start());
    world.config("[limits]\nmin-interval = \"100ms\"\n");
    let urls: Vec<_> = (0..4).map(|n| origin.serve(&format!("/{n}"), file(b"x")).url().to_owned()).collect();

    world.get(&urls.iter().map(String::as_str).collect::<Vec<_>>()).exits(0);

    let times: Vec<_> = origin.requests().iter().map(|seen| seen.at).collect();
    assert!(times[3] - times[0] >= Duration::from_millis(200), "{times:?}");
}

#[test]
fn a_task_that_waits_for_the_interval_says_so_and_until_when() {
    let (world, origin) = (World::new(), Origin::start());
    let ids: Vec<_> = (0..3).map(|n| json!({"url": origin.serve(&format!("/{n}"), file(b"x")).url()})).collect();
    let ids = world.add(&ids);
    let running = world.spawn(&["--json", "run", "--min-interval", "20m"]);
    running.wait_for_update(|update| update["taskId"] == *ids[0] && update["status"] == "complete");

    for (id, detail) in [(&ids[1], "starts are 20m apart"), (&ids[2], "starts are 20m apart; 1 is ahead of it")] {
        let waiting = world.show(id)["waiting"].clone();
        assert_eq!((&waiting["reason"], &waiting["detail"]), (&json!("min-interval"), &json!(detail)), "{waiting}");
        assert!(waiting["until"].as_str() > world.events()[0]["at"].as_str(), "{waiting}");
    }
    let told = world.haul(&["limits"]).exits(0).stdout;
    assert!(told.contains("20m  (a flag of the engine that runs)"), "{told}");
}

#[test]
fn a_task_that_needs_an_unmetered_network_waits_for_one_and_goes_on() {
    let (world, origin) = (World::new(), Origin::start());
    let needs = origin.serve("/needs", file(b"x"));
    let any = origin.serve("/any", file(b"x"));
    let ids = world.add(&[json!({"url": needs.url(), "requiresWiFi": true}), json!({"url": any.url()})]);
    let running = world.spawn(&["--json", "run", "--until-idle", "--network", "metered"]);
    running.wait_for_update(|update| update["taskId"] == *ids[1] && update["status"] == "complete");

    let record = world.show(&ids[0]);
    assert_eq!((&record["status"], &record["waiting"]["reason"]), (&json!("enqueued"), &json!("network")), "{record}");
    assert_eq!(record["waiting"]["until"], Value::Null);
    assert!(needs.requests().is_empty());

    current(&world, &["--network", "unmetered"]);

    running.wait_for_update(|update| update["taskId"] == *ids[0] && update["status"] == "running");
    running.finish().exits(0);
    assert_eq!(needs.log(), ["GET /needs"]);
}

#[test]
fn network_manager_is_asked_whether_bytes_cost_money_and_again_while_a_task_waits() {
    let (mut world, origin) = (World::new(), Origin::start());
    let needs = origin.serve("/needs", file(b"x"));
    let add = |world: &World| world.add(&[json!({"url": needs.url(), "requiresWiFi": true})]);
    add(&world);
    world.run().exits(0); // no bus
    let bus = Bus::start();
    bus.serve(&mut world);
    add(&world);
    world.run().exits(0); // nobody on it
    assert_eq!(needs.log().len(), 2);

    let manager = NetworkManager::start(&bus, 3); // probably
    let ids = add(&world);
    let running = world.spawn(&["--json", "run", "--until-idle"]);
    world.wait_for_reason(&ids[0], "network");
    assert_eq!(needs.log().len(), 2);
    manager.set(4); // probably not

    running.finish().exits(0);
    assert_eq!(needs.log().len(), 3);
}

#[test]
fn without_a_network_everything_waits_and_what_runs_stops_and_goes_on_later() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let content = vec![7; 300_000];
    let film =
        origin.script("/film", vec![file(&content).etag("\"1\"").gate(200_000, &gate), file(&content).etag("\"1\"")]);
    let running = world.spawn_get(&[film.url(), "--id", "film"]);
    running.wait_for_status("running");
    world.wait_for_bytes("film", 200_000);

    current(&world, &["--network", "offline"]);

    gate.wait_abandoned(1);
    running.wait_for_statuses("enqueued", 2);
    let record = world.show("film");
    assert_eq!((&record["status"], &record["waiting"]["reason"]), (&json!("enqueued"), &json!("network")), "{record}");

    current(&world, &["--network", "unmetered"]);

    let end = running.finish().exits(0).only_final();
    assert_eq!(end["resumedFrom"], 200_000);
    assert_eq!(world.read("film"), content);
}

#[test]
fn all_tasks_can_be_made_to_need_an_unmetered_network_and_a_new_engine_finds_out_anew() {
    let (world, origin) = (World::new(), Origin::start());
    world.config("[network]\nstate = \"metered\"\nrequire-wifi = \"forAllTasks\"\n");
    let ids = world.add(&[json!({"url": origin.serve("/1", file(b"x")).url()})]);
    let running = world.spawn(&["--json", "run"]);
    world.wait_for_reason(&ids[0], "network");
    running.kill();

    world.haul(&["run", "--until-idle", "--require-wifi", "none"]).exits(0);

    assert_eq!(origin.log(), ["GET /1"]);
}

#[test]
fn the_speed_of_a_group_and_of_a_task_can_be_changed_while_it_runs() {
    let (world, origin) = (World::new(), Origin::start());
    let content = vec![7; 600_000];
    let ids = world.add(&[
        json!({"url": origin.serve("/1", file(&content)).url(), "group": "slow"}),
        json!({"url": origin.serve("/2", file(&content)).url(), "limitRate": "1K"}),
    ]);
    // At these speeds, each would take minutes.
    let running = world.spawn(&["--json", "run", "--until-idle", "--rate-group", "slow=1K"]);
    running.wait_for_statuses("running", 2);

    let first = format!("{}=off", ids[1]);
    assert_eq!(current(&world, &["--rate-group", "slow=off", "--task", &first])["groupRates"]["slow"], "off");

    running.finish().exits(0);
    assert_eq!(world.show(&ids[1])["limitRate"], Value::Null);
}

#[test]
fn a_limit_on_downloads_leaves_uploads_alone() {
    let (world, origin) = (World::new(), Origin::start());
    let up = world.write("up.bin", vec![7; 500_000]);
    let target = origin.serve("/up", status(200));

    world.haul(&["put", up.to_str().unwrap(), target.url(), "--limit-rate", "off:1K"]).exits(0);

    assert_eq!(target.requests().len(), 1);
}

#[test]
fn files_that_exist_and_are_long_enough_are_not_downloaded_again() {
    let (world, origin) = (World::new(), Origin::start());
    let (long, short) = (origin.serve("/long", file(&[1; 5000])), origin.serve("/short", file(&[1; 900])));
    world.write("long", [2; 2000]);
    world.write("short", [2; 1024]);

    let skipped = world.get(&[long.url(), "-o", "long", "--skip-existing", "1K"]).exits(0).only_final();
    assert_eq!((&skipped["status"], &skipped["responseStatusCode"]), (&json!("complete"), &json!(304)));
    world.get(&[short.url(), "-o", "short", "--skip-existing", "1K"]).exits(0);

    assert!(long.requests().is_empty());
    assert_eq!((world.read("long").len(), world.read("short").len()), (2000, 900));
}

#[test]
fn a_download_that_would_leave_too_little_room_fails_or_waits_for_the_disk() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/film", file(&[1; 5000]));

    let failed = world.get(&[film.url(), "--keep-free", "900000G", "--retries", "0"]).exits(6).only_final();
    let reason = failed["exception"]["description"].as_str().unwrap();
    assert!(reason.contains("must stay free"), "{reason}");

    let ids = world.add(&[json!({"url": film.url(), "retries": 0})]);
    let running = world.spawn(&["--json", "run", "--keep-free", "900000G"]);
    running.wait_for_status("waitingToRetry");
    assert_eq!(world.show(&ids[0])["waiting"]["reason"], "disk");
    running.kill();
}

#[test]
fn uploads_and_downloads_have_limits_of_their_own_that_change_while_they_run() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    world.config("[limits]\nuploads = 1\n");
    std::fs::create_dir_all(world.path("in")).unwrap();
    std::fs::write(world.path("in/f"), "x").unwrap();
    let ups = origin.serve("/up", status(200).head_gate(&gate));
    let film = origin.serve("/film", file(b"film").head_gate(&gate));
    let up = |id: &str| json!({"taskId": id, "taskType": "UploadTask", "url": ups.url(), "filename": "f"});
    let down = |id: &str| json!({"taskId": id, "url": film.url(), "filename": id});
    world.add(&[up("u1"), up("u2"), up("u3"), down("d1"), down("d2")]);

    let running = world.spawn(&["--json", "run", "--until-idle"]);
    gate.wait_for(3);

    assert_eq!((ups.requests().len(), film.requests().len()), (1, 2), "downloads go past uploads that wait");
    let waiting = world.show("u2")["waiting"].clone();
    assert_eq!(waiting["reason"], "direction-limit");
    assert!(waiting["detail"].as_str().unwrap().contains("the limit of uploads"), "{waiting}");
    assert_eq!(current(&world, &["--max-uploads", "2", "--max-downloads", "1"])["uploads"], 2);
    ups.wait_for_requests(2);
    gate.open();
    running.finish().exits(0);
    assert_eq!((ups.requests().len(), film.requests().len()), (3, 2));
}

#[test]
fn limits_say_which_rate_of_a_table_counts_now() {
    let world = World::new();
    let table = "Mon-00:00,1M Thu-00:00,2M";
    let now = &world.haul(&["--json", "limits", "--rate", table]).exits(0).json().remove(0)["now"]["rate"];
    let told = (now["rate"].as_str().unwrap(), now["until"].as_str().unwrap());
    assert!([("1M", "Thu-00:00"), ("2M", "Mon-00:00")].contains(&told), "{now}");
    let words = format!("{table}  [now {} until {}]  (kept in the home)", told.0, told.1);
    let shown = world.haul(&["limits"]).exits(0).stdout;
    assert!(shown.contains(&words), "{shown}");
    let now = &world.haul(&["--json", "limits", "--rate", "1M"]).exits(0).json().remove(0)["now"]["rate"];
    assert!(now.is_null(), "{now}");
}

#[test]
fn limits_say_where_they_come_from() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    world.config("[limits]\nper-host = 4\n[limits.groups]\na = 1\n");
    let sources = |arguments: &[&str]| {
        let words = [&["--json", "limits"], arguments].concat();
        world.haul(&words).exits(0).json().remove(0)["sources"].clone()
    };
    let seen = sources(&["--group", "b=2", "--max-per-group", "3"]);
    assert_eq!(seen["groups"], json!({"a": "configuration", "b": "home"}));
    let told = (&seen["total"], &seen["perHost"], &seen["perGroup"]);
    assert_eq!(told, (&json!("default"), &json!("configuration"), &json!("home")));

    let url = origin.serve("/f", file(b"x").head_gate(&gate)).url().to_owned();
    let running = world.spawn_get(&[&url, "-j", "1", "--max-per-group", "5"]);
    gate.wait_for(1);
    let seen = sources(&[]);
    assert_eq!((&seen["total"], &seen["perGroup"]), (&json!("flag"), &json!("flag")), "a flag stands above the home");
    assert_eq!(sources(&["-j", "2"])["total"], "home");
    let text = world.haul(&["limits"]).exits(0).stdout;
    assert!(text.contains("a flag of the engine that runs") && text.contains("(kept in the home)"), "{text}");
    gate.open();
    running.finish().exits(0);
    assert_eq!(sources(&["--reset"])["total"], "default");
}
