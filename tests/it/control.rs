//! Pausing, resuming, cancelling and joining, from another process, in every state a task can be in.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use serde_json::json;

use crate::download::notes;
use crate::support::components::component;
use crate::support::wait::wait_until;
use crate::support::*;

/// Acting takes 100 ms by the interface; on a busy test machine only a hang is told apart from that.
const SOON: Duration = Duration::from_secs(20);

const SIZE: usize = 1_000_000;

#[test]
fn a_paused_download_lets_go_of_the_connection_and_resumes_later() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(1, SIZE);
    let gate = Gate::new();
    let whole = file(&content).etag("\"v1\"");
    let film = origin.script("/f", vec![whole.clone().gate(400_000, &gate), whole]);
    let running = world.spawn_get(&[film.url()]);
    let id = running.wait_for_status("running");
    gate.wait_for(1);
    world.wait_for_bytes(&id, 1);
    let began = Instant::now();

    world.haul(&["pause", &id]).exits(0);

    gate.wait_abandoned(1);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let outcome = running.finish().exits(1);
    assert_eq!(outcome.statuses(), "enqueued > running > paused");
    assert_eq!(world.show(&id)["status"], "paused");
    assert!(world.final_events().is_empty(), "paused is not the end");

    world.haul(&["resume", &id]).exits(0);
    world.run().exits(0);

    assert_same_bytes(&world.read("f"), &content);
    let start = film.requests()[1].range_start().unwrap();
    assert!((1..=400_000).contains(&start), "{:?}", film.log());
    assert_eq!(film.requests()[1].header("if-range"), Some("\"v1\""));
    assert_eq!(world.names(), ["f"]);
}

#[test]
fn a_task_that_is_named_twice_is_changed_once() {
    let world = World::new();
    let ids = world.add(&[json!({"url": "http://127.0.0.1:9/f", "allowPause": true})]);
    let beginning = &ids[0][..ids[0].len() - 1];

    for action in ["pause", "resume", "cancel", "retry"] {
        let outcome = world.haul(&["--json", action, &ids[0], beginning]).exits(0);

        assert_eq!(outcome.stdout.lines().count(), 1, "{}", outcome.stdout);
    }
}

#[test]
fn a_paused_task_is_not_worked() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let ids = world.add(&[json!({"url": film.url(), "allowPause": true})]);

    world.haul(&["pause", &ids[0]]).exits(0);
    world.run();

    assert_eq!(film.log().len(), 0);
    assert_eq!(world.show(&ids[0])["status"], "paused");
    world.haul(&["resume", "--all"]).exits(0);
    world.run().exits(0);
    assert_eq!(film.log(), ["GET /f"]);
}

#[test]
fn a_task_that_may_not_be_paused_goes_on() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/f", file(&bytes(2, SIZE)).gate(400_000, &gate));
    let ids = world.add(&[json!({"url": film.url(), "allowPause": false})]);
    let running = world.spawn(&["--json", "run", "--until-idle"]);
    gate.wait_for(1);

    world.haul(&["pause", &ids[0]]).exits(2).says("allowPause");

    gate.open();
    running.finish().exits(0);
}

/// Cancels a task that stands in some state; the same must hold in all of them.
#[track_caller]
fn cancel(world: &World, id: &str) {
    let began = Instant::now();
    world.haul(&["cancel", id]).exits(0);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[track_caller]
fn is_canceled(world: &World, id: &str) {
    assert_eq!(world.show(id)["status"], "canceled");
    assert_eq!(world.final_events()[id], ["canceled"]);
    assert_eq!(world.names(), Vec::<String>::new(), "its bytes are gone");
}

#[test]
fn cancel_ends_a_stalled_download() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/f", file(&bytes(3, SIZE)).etag("\"v1\"").gate(400_000, &gate));
    let running = world.spawn_get(&[film.url()]);
    let id = running.wait_for_status("running");
    gate.wait_for(1);

    cancel(&world, &id);

    gate.wait_abandoned(1);
    assert_eq!(running.finish().exits(1).only_final()["status"], "canceled");
    is_canceled(&world, &id);
}

#[test]
fn cancel_ends_a_busy_download() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(&bytes(4, 4 * SIZE)).etag("\"v1\"").pace(400_000));
    let running = world.spawn_get(&[film.url()]);
    let id = running.wait_for_status("running");
    world.wait_for_part(1);

    cancel(&world, &id);

    assert_eq!(running.finish().exits(1).only_final()["status"], "canceled");
    is_canceled(&world, &id);
}

#[test]
fn cancel_ends_the_wait_for_an_answer() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/f", file(b"x").head_gate(&gate));
    let running = world.spawn_get(&[film.url()]);
    let id = running.wait_for_status("running");
    gate.wait_for(1);

    cancel(&world, &id);

    gate.wait_abandoned(1);
    running.finish().exits(1);
    is_canceled(&world, &id);
}

#[test]
fn cancel_ends_an_attempt_to_connect() {
    let world = World::new();
    // A listener that accepts nobody: once its queue is full, further connections get no answer.
    let (listener, _queue) = full_listener();
    let url = format!("http://{}/f", listener.local_addr().unwrap());
    let running = world.spawn_get(&[&url]);
    let id = running.wait_for_status("running");

    cancel(&world, &id);

    running.finish().exits(1);
    is_canceled(&world, &id);
}

#[test]
fn cancel_ends_the_wait_for_a_retry() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", status(503).header("Retry-After", "3000"));
    let running = world.spawn_get(&[film.url()]);
    let id = running.wait_for_status("waitingToRetry");

    cancel(&world, &id);

    running.finish().exits(1);
    is_canceled(&world, &id);
    assert_eq!(film.log().len(), 1);
}

#[test]
fn cancel_ends_a_task_that_nobody_works() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let ids = world.add(&[json!({"url": film.url()})]);

    cancel(&world, &ids[0]);
    world.run();

    is_canceled(&world, &ids[0]);
    assert_eq!(film.log().len(), 0);
}

#[test]
fn cancel_ends_a_queued_task_behind_a_busy_one() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let first = origin.serve("/1", file(b"x").head_gate(&gate));
    let second = origin.serve("/2", file(b"x"));
    let running = world.spawn_get(&[first.url(), second.url(), "-j", "1"]);
    gate.wait_for(1);
    running.wait_for_status("running"); // the request may be out before that is committed
    let records = world.list();
    let queued = records.iter().find(|record| record["status"] == "enqueued").unwrap();

    cancel(&world, queued["taskId"].as_str().unwrap());
    gate.open();

    running.finish().exits(8);
    assert_eq!(second.log().len(), 0);
    assert_eq!(world.names(), ["1"]);
}

#[test]
fn cancel_removes_the_bytes_of_a_paused_task() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/f", file(&bytes(5, SIZE)).etag("\"v1\"").gate(400_000, &gate));
    let running = world.spawn_get(&[film.url()]);
    let id = running.wait_for_status("running");
    gate.wait_for(1);
    world.haul(&["pause", &id]).exits(0);
    running.finish().exits(1);

    cancel(&world, &id);

    is_canceled(&world, &id);
}

#[test]
fn groups_and_prefixes_select_tasks() {
    let (world, origin) = (World::new(), Origin::start());
    let task = |id: &str, group: &str| json!({"url": origin.url("/f"), "taskId": id, "group": group});
    world.add(&[task("apple-1", "fruit"), task("apple-2", "fruit"), task("carrot", "roots"), task("pear", "fruit")]);
    let status = |id: &str| world.show(id)["status"].as_str().unwrap().to_owned();

    world.haul(&["cancel", "car"]).exits(0);
    assert_eq!(status("carrot"), "canceled");

    world.haul(&["cancel", "apple"]).exits(2).says("apple");
    assert_eq!(status("apple-1"), "enqueued", "an ambiguous prefix changes nothing");

    world.haul(&["cancel", "--group", "fruit"]).exits(0);
    assert_eq!(status("apple-2"), "canceled");
    assert_eq!(status("pear"), "canceled");

    world.haul(&["cancel", "nobody"]).exits(2).says("nobody");
    world.haul(&["show", "nobody"]).exits(2);
}

#[test]
fn an_interrupt_saves_and_exits_130_and_the_same_command_goes_on() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(6, SIZE);
    let gate = Gate::new();
    let whole = file(&content).etag("\"v1\"");
    let film = origin.script("/f", vec![whole.clone().gate(400_000, &gate), whole]);
    let running = world.spawn_get(&[film.url()]);
    gate.wait_for(1);
    world.wait_for_part(1);

    running.signal(Signal::INT);

    running.finish().exits(130);
    world.get(&[film.url()]).exits(0);
    assert_same_bytes(&world.read("f"), &content);
    assert!(film.requests()[1].range_start().is_some(), "{:?}", film.log());
}

#[test]
fn a_second_get_joins_the_engine_that_runs() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let one = origin.serve("/1", file(b"one").head_gate(&gate));
    let two = origin.serve("/2", file(b"two"));
    let first = world.spawn_get(&[one.url()]);
    gate.wait_for(1);

    let second = world.get(&[two.url()]).exits(0);

    assert_eq!(second.statuses(), "enqueued > running > complete", "it hears of its own task alone");
    assert_eq!(world.read("2"), b"two");
    gate.open();
    let first = first.finish().exits(0);
    assert_eq!(first.finals().len(), 1);
    assert_eq!(world.read("1"), b"one");
}

#[test]
fn the_same_get_twice_at_once_is_one_download() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(7, SIZE);
    let film = origin.serve("/f", file(&content).etag("\"v1\"").pace(250_000));
    let first = world.spawn_get(&[film.url()]);
    let id = first.wait_for_status("running");
    let second = world.spawn_get(&[film.url()]);
    let heard = second.wait_for_update(|update| update["taskId"].is_string());

    first.finish().exits(0);
    second.finish().exits(0);

    assert_eq!(heard["taskId"], *id);
    assert_eq!(film.log(), ["GET /f"]);
    assert_same_bytes(&world.read("f"), &content);
    assert_eq!(world.names(), ["f"]);
}

#[test]
fn a_joined_get_takes_over_when_the_engine_is_killed() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(8, SIZE);
    let (hold, gate) = (Gate::new(), Gate::new());
    let one = origin.serve("/1", file(b"one").head_gate(&hold));
    let whole = file(&content).etag("\"v1\"");
    let two = origin.script("/2", vec![whole.clone().gate(400_000, &gate), whole]);
    let first = world.spawn_get(&[one.url()]);
    hold.wait_for(1);
    let second = world.spawn_get(&[two.url()]);
    gate.wait_for(1);
    world.wait_for_part(400_000);

    first.kill();

    let outcome = second.finish().exits(0);
    assert_same_bytes(&world.read("2"), &content);
    assert_eq!(outcome.finals().len(), 1);
    assert_eq!(two.log().len(), 2);
    assert!(notes(&outcome.only_final()).contains(&"resumed"), "{}", outcome.stdout);
}

#[test]
fn a_joined_get_is_served_when_the_first_one_is_done() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(9, SIZE);
    let (hold, gate) = (Gate::new(), Gate::new());
    let one = origin.serve("/1", file(b"one").head_gate(&hold));
    let two = origin.serve("/2", file(&content).etag("\"v1\"").gate(400_000, &gate));
    let first = world.spawn_get(&[one.url()]);
    hold.wait_for(1);
    let second = world.spawn_get(&[two.url()]);
    gate.wait_for(1);
    hold.open();
    first.wait_for_status("complete");
    gate.open();

    first.finish().exits(0);
    second.finish().exits(0);

    assert_eq!(world.read("1"), b"one");
    assert_same_bytes(&world.read("2"), &content);
}

#[test]
fn those_who_have_joined_go_on_when_the_first_one_is_interrupted() {
    let (world, origin) = (World::new(), Origin::start());
    let (hold, gate) = (Gate::new(), Gate::new());
    let one = origin.serve("/1", file(b"one").head_gate(&hold));
    let whole = |seed| file(&bytes(seed, SIZE)).etag("\"v1\"");
    let film = |seed| origin.script(&format!("/{seed}"), vec![whole(seed).gate(400_000, &gate), whole(seed)]);
    let (two, three) = (film(2), film(3));
    let first = world.spawn_get(&[one.url()]);
    hold.wait_for(1);
    let others = [&two, &three].map(|film| world.spawn_get(&[film.url()]));
    gate.wait_for(2);

    first.signal(Signal::INT);

    first.finish().exits(130);
    for (other, seed) in others.into_iter().zip([2, 3]) {
        assert_eq!(other.finish().exits(0).finals().len(), 1);
        assert_same_bytes(&world.read(&seed.to_string()), &bytes(seed, SIZE));
    }
    assert_eq!(one.log().len(), 1, "nobody asks for its file any more");
}

#[test]
fn tasks_added_while_an_engine_runs_are_worked_by_it() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let running = world.spawn(&["--json", "run"]);
    // `run` tells nothing while it is idle: what is asked of the home is answered either way.
    let ids = world.add(&[json!({"url": film.url()})]);

    running.wait_for_update(|update| update["taskId"] == *ids[0] && update["status"] == "complete");

    running.signal(Signal::INT);
    running.finish().exits(130);
}

#[test]
fn a_joined_get_that_is_interrupted_says_who_goes_on() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let film = origin.serve("/f", file(b"x").head_gate(&gate));
    let running = world.spawn(&["--json", "run"]);
    wait_for_sockets(&world, 1);
    let getting = world.spawn_get(&[film.url()]);
    gate.wait_for(1);

    getting.signal(Signal::INT);

    getting.finish().exits(130).says("the haul process that works this home goes on");
    gate.open();
    running.wait_for_status("complete");
    running.signal(Signal::INT);
    running.finish().exits(130);
}

#[test]
fn a_terminal_that_is_closed_interrupts_as_sigterm_does_and_is_named() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(6, SIZE);
    // A terminal that is closed tells so itself, and its shell does once more: that is one wish.
    for (signal, name, times) in [(Signal::TERM, "SIGTERM", 1), (Signal::HUP, "SIGHUP", 2)] {
        let gate = Gate::new();
        let whole = file(&content).etag("\"v1\"");
        let film = origin.script(&format!("/{name}"), vec![whole.clone().gate(400_000, &gate), whole]);
        let running = world.spawn_get(&[film.url()]);
        gate.wait_for(1);
        world.wait_for_part(1);

        (0..times).for_each(|_| running.signal(signal));

        running.finish().exits(130).says(&format!("interrupted by {name}")).says("the same command goes on");
        world.get(&[film.url()]).exits(0);
        assert_same_bytes(&world.read(name), &content);
        assert!(film.requests()[1].range_start().is_some(), "{:?}", film.log());
    }
    let running = world.spawn(&["run"]);
    wait_for_sockets(&world, 1);
    world.haul(&["ls"]).exits(0);
    running.signal(Signal::HUP);
    running.finish().exits(130).says("interrupted by SIGHUP").says("`haul run` goes on");
}

#[test]
fn a_locked_home_is_exit_9_and_names_the_holder() {
    let world = World::new();
    world.haul(&["ls"]).exits(0);
    let lock = std::fs::File::options().create(true).append(true).open(world.home().join("haul.lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();

    let outcome = world.haul(&["get", "http://127.0.0.1:9/f"]).exits(9);

    assert!(outcome.stderr.contains(world.home().to_str().unwrap()), "{}", outcome.stderr);
}

/// Waits until so many sockets belong to the home's address: the listener, and one for each process that was let in.
fn wait_for_sockets(world: &World, count: usize) {
    let address = world.home().join("haul.sock");
    let open = || {
        let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
        sockets.lines().filter(|line| line.ends_with(address.to_str().unwrap())).count()
    };
    wait_until(|| open() >= count, || format!("{} sockets", open()));
}

#[test]
fn flags_that_protect_are_not_dropped_beside_another_engine() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let running = world.spawn(&["run"]);
    wait_for_sockets(&world, 1);
    let pin = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let flags: [&[&str]; 5] =
        [&["--proxy", "none"], &["--no-proxy", "x"], &["--pinnedpubkey", pin], &["--tls-min", "1.3"], &["--digest"]];
    let commands: [&[&str]; 5] = [&["get"], &["-q", "get"], &["request"], &["request", "--now"], &["probe"]];
    for (flag, command) in flags.iter().flat_map(|flag| commands.map(|command| (flag, command))) {
        world.haul(&[command, &[film.url()], *flag].concat()).exits(9).says(flag[0]);
    }

    world.haul(&["run", "--until-idle", "--proxy", "none"]).exits(9).says("--proxy");

    assert_eq!(film.log(), Vec::<String>::new());
    world.haul(&["probe", film.url()]).exits(0);
    running.signal(Signal::INT);
    running.finish().exits(130);
}

#[test]
fn a_command_that_has_the_home_for_a_moment_is_waited_for() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let callbacks = component("one-hook-only"); // built first, where it is not yet
    let mut adding = world.command(&["add", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    wait_for_sockets(&world, 1);
    let getting = world.spawn_get(&[film.url(), "--callbacks", callbacks.to_str().unwrap()]);
    wait_for_sockets(&world, 2);

    drop(adding.stdin.take());

    assert!(adding.wait().unwrap().success());
    getting.finish().exits(0);
}

#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let film = origin.serve("/f", file(&bytes(10, 1000)).gate(10, &gate));
    let ignoring = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"];
    let running = world.spawn_through(&ignoring, &["--json", "get", film.url()]);
    running.wait_for_status("running");
    gate.wait_for(1);

    running.signal(Signal::INT);

    world.list(); // by the engine that was to end
    gate.open();
    running.finish().exits(0);
}

#[test]
fn two_homes_know_nothing_of_each_other() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let other = world.path("other home");

    world.haul(&["--home", other.to_str().unwrap(), "get", film.url()]).exits(0);

    assert_eq!(world.list().len(), 0);
    assert_eq!(world.haul(&["--home", other.to_str().unwrap(), "--json", "ls"]).json().len(), 1);
}

/// A listener whose queue of connections is full.
fn full_listener() -> (std::net::TcpListener, Vec<std::net::TcpStream>) {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let any = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0);
    bind(&socket, &any).unwrap();
    listen(&socket, 0).unwrap();
    let listener = std::net::TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(connection) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        queue.push(connection);
    }
    (listener, queue)
}

#[test]
fn a_cancel_says_why_in_the_final_update_of_running_and_waiting_tasks() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/f", file(b"x").head_gate(&gate));
    let ids = world.add(&[json!({"url": film.url(), "taskId": "a"}), json!({"url": film.url(), "taskId": "b"})]);
    let running = world.spawn(&["--json", "run", "--until-idle", "-j", "1"]);
    film.wait_for_requests(1);

    world.haul(&["cancel", "--all", "--reason", "no longer wanted"]).exits(0);

    running.finish();
    for id in ids {
        let last = world.events().into_iter().rfind(|event| event["taskId"] == *id).unwrap();
        assert_eq!(last["status"], "canceled");
        assert_eq!(last["exception"]["description"], "the task was cancelled: no longer wanted");
        assert_eq!(world.show(&id)["exception"]["description"], last["exception"]["description"]);
    }
    gate.open();
}

#[test]
fn what_was_cancelled_is_tried_again_only_where_it_is_named() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let late = origin.script("/late", vec![status(403), file(b"y")]);
    let of = |id: &str, url: &str| json!({"taskId": id, "url": url, "group": "g", "scope": "s"});
    world.add(&[of("over", film.url()), of("failed", late.url())]);
    world.haul(&["cancel", "over"]).exits(0);
    world.run().exits(4);

    for select in [&["--all"][..], &["--group", "g"], &["--scope", "s"]] {
        world.haul(&[&["retry"], select].concat()).exits(0);
        world.run();
    }

    assert_eq!((film.log().len(), &world.show("over")["status"]), (0, &json!("canceled")));
    assert_eq!(world.show("failed")["status"], "complete");
    world.haul(&["retry", "over"]).exits(0);
    world.run().exits(0);
    assert_eq!(world.show("over")["status"], "complete");
}
