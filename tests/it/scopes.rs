//! Cancel scopes: one name shared by many tasks, a tree by `/`.

use serde_json::{Value, json};

use crate::support::*;

/// Status of each task, by its id.
fn status_of(world: &World, id: &str) -> String {
    world.show(id)["status"].as_str().unwrap().to_owned()
}

#[test]
fn cancelling_a_scope_ends_all_of_it_and_below_it_wherever_they_are_and_nothing_else() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let task = |id: &str, scope: &str| {
        let film = origin.serve(&format!("/{id}"), file(b"x").head_gate(&gate));
        json!({"taskId": id, "url": film.url(), "scope": scope})
    };
    world.add(&[task("1", "a"), task("2", "a/b"), task("3", "a/b/c"), task("4", "ab"), task("5", "b")]);
    let running = world.spawn(&["--json", "run", "--until-idle", "-j", "2"]);
    gate.wait_for(2);

    world.haul(&["cancel", "--scope", "a"]).exits(0).says("canceled 3 tasks");

    gate.open();
    running.finish().exits(8);
    let statuses: Vec<_> = ["1", "2", "3", "4", "5"].iter().map(|id| status_of(&world, id)).collect();
    assert_eq!(statuses, ["canceled", "canceled", "canceled", "complete", "complete"]);
}

#[test]
fn a_cancelled_scope_refuses_later_tasks_and_repeats_until_it_is_reopened() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/film", file(b"x"));
    world.add(&[json!({"taskId": "first", "url": film.url(), "scope": "a/b"})]);
    world.haul(&["cancel", "--scope", "a"]).exits(0);

    world.haul(&["get", film.url(), "--scope", "a/b/c"]).exits(2).says("`haul scope reopen a`");
    world.haul(&["retry", "first"]).exits(2).says("the scope `a` is cancelled");
    let list = world.haul(&["--json", "scope", "ls"]).exits(0).json();
    assert_eq!(list.iter().map(|scope| &scope["scope"]).collect::<Vec<_>>(), ["a"]);
    world.haul(&["scope", "reopen", "a/b"]).exits(2).says("reopen that one");
    world.haul(&["scope", "reopen", "nothing"]).exits(2).says("no scope");

    world.haul(&["scope", "reopen", "a"]).exits(0);
    world.haul(&["retry", "first"]).exits(0);
    world.haul(&["get", film.url(), "--scope", "a/b/c"]).exits(0);
    assert_eq!(world.haul(&["--json", "scope", "ls"]).exits(0).json(), Vec::<Value>::new());
}

#[test]
fn what_was_cancelled_by_itself_stays_so_when_the_scope_above_is_reopened() {
    let world = World::new();
    world.haul(&["cancel", "--scope", "a/b", "--reason", "b is over"]).exits(0);
    world.haul(&["cancel", "--scope", "a"]).exits(0);

    world.haul(&["scope", "reopen", "a"]).exits(0).says("a/b was cancelled by itself and stays so");

    let list = world.haul(&["--json", "scope", "ls"]).exits(0).json();
    assert_eq!(list.iter().map(|scope| &scope["scope"]).collect::<Vec<_>>(), ["a/b"]);
    world.haul(&["get", "http://127.0.0.1:9/f", "--scope", "a/b"]).exits(2).says("(b is over)");
    world.haul(&["scope", "reopen", "a/b"]).exits(0);
    assert_eq!(world.haul(&["--json", "scope", "ls"]).exits(0).json(), Vec::<Value>::new());
}

#[test]
fn what_can_be_no_scope_is_not_cancelled_or_listed() {
    let world = World::new();
    for name in ["x/", "/x", "x//y", ".", "x/.."] {
        world.haul(&["cancel", "--scope", name]).exits(2).says("a scope must be names set apart by `/`");
        world.haul(&["ls", "--scope", name]).exits(2).says("a scope must be names set apart by `/`");
    }
    assert_eq!(world.haul(&["--json", "scope", "ls"]).exits(0).json(), Vec::<Value>::new());
}

#[test]
fn what_a_scope_has_cancelled_is_over_and_the_same_command_without_it_is_another_task() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.script("/film", vec![file(b"x").head_gate(&gate), file(b"x")]);
    let running = world.spawn_get(&[film.url(), "--scope", "a"]);
    gate.wait_for(1);
    world.haul(&["cancel", "--scope", "a"]).exits(0);
    running.finish().exits(1);

    world.get(&[film.url(), "--scope", "a"]).exits(2).says("the scope `a` is cancelled");
    world.get(&[film.url()]).exits(0);

    let told = world.list().iter().map(|task| (task["status"].clone(), task["scope"].clone())).collect::<Vec<_>>();
    assert_eq!(told, [(json!("canceled"), json!("a")), (json!("complete"), Value::Null)]);
}

#[test]
fn a_scope_is_paused_and_gone_on_with_without_being_cancelled() {
    let (world, origin) = (World::new(), Origin::start());
    let task = |id: &str, scope: &str| json!({"taskId": id, "url": origin.serve(&format!("/{id}"), file(b"x")).url(), "scope": scope});
    world.add(&[task("1", "a"), task("2", "a/b"), task("3", "c")]);

    world.haul(&["pause", "--scope", "a"]).exits(0).says("paused 2 tasks");
    world.run().exits(0);
    assert_eq!(origin.log(), ["GET /3"]);
    world.haul(&["resume", "--scope", "a/b"]).exits(0).says("resumed 1 task");
    world.add(&[task("4", "a")]);
    world.run().exits(0);

    assert_eq!(
        (status_of(&world, "1"), status_of(&world, "2"), status_of(&world, "4")),
        ("paused".into(), "complete".into(), "complete".into())
    );
}

#[test]
fn why_a_scope_was_cancelled_is_told_to_what_it_refuses() {
    let world = World::new();
    world.haul(&["cancel", "--scope", "a", "--reason", "the disk is sold"]).exits(0);

    world.haul(&["get", "http://127.0.0.1:9/f", "--scope", "a/b"]).exits(2).says("(the disk is sold)");
    let task = json!({"url": "http://127.0.0.1:9/f", "scope": "a"}).to_string();
    world.haul_reading(&["add", "-"], &task).exits(2).says("(the disk is sold)");
    let list = world.haul(&["--json", "scope", "ls"]).exits(0).json();
    assert_eq!(list[0]["reason"], "the disk is sold");
    assert!(world.haul(&["scope", "ls"]).exits(0).stdout.contains("(the disk is sold)"));
}

#[test]
fn a_repeated_get_or_put_does_not_get_around_a_cancelled_scope() {
    let (world, origin) = (World::new(), Origin::start());
    let missing = origin.serve("/f", status(403));
    let fresh = origin.serve("/fresh", file(b"x"));
    let path = world.write("notes.txt", "x");
    let lines = [["get", missing.url()].to_vec(), ["put", path.to_str().unwrap(), missing.url()].to_vec()];
    for line in &lines {
        world.haul(&[&line[..], &["--scope", "a/b"]].concat()).exits(4);
    }
    let asked = missing.requests().len();
    world.haul(&["cancel", "--scope", "a"]).exits(0);

    for line in &lines {
        world.haul(&[&line[..], &["--scope", "a/b"]].concat()).exits(2).says("the scope `a` is cancelled");
        world.haul(line).exits(2).says("the scope `a` is cancelled");
        world.haul(&[&line[..], &["--scope", "c"]].concat()).exits(2).says("the scope `a` is cancelled");
    }
    // Beside others that would be new: none is added.
    world.haul(&["get", fresh.url(), missing.url()]).exits(2).says("the scope `a` is cancelled");
    assert_eq!((missing.requests().len(), fresh.requests().len()), (asked, 0));
    let records = world.haul(&["--json", "ls"]).exits(0).json();
    assert_eq!(records.iter().map(|record| &record["scope"]).collect::<Vec<_>>(), ["a/b", "a/b"]);

    world.haul(&["scope", "reopen", "a"]).exits(0);
    world.haul(&lines[0]).exits(4);
}
