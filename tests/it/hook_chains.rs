//! Several components in one chain: order, decorators, a policy in the place of the default one.

use serde_json::json;

use crate::support::components::component;
use crate::support::steered::{asked_of, work};
use crate::support::*;

#[track_caller]
fn path(name: &str) -> String {
    component(name).to_str().unwrap().to_owned()
}

/// A world whose configuration attaches these components, by the same names.
fn with(names: &[&str]) -> World {
    let world = World::new();
    let table = |name: &&str| format!("[[callbacks]]\nname = \"{name}\"\npath = {:?}\n", component(name));
    world.config(&names.iter().map(table).collect::<String>());
    world
}

#[test]
fn three_decorators_ask_one_another_in_order_and_mixed_with_one_that_does_not_decorate() {
    let origin = Origin::start();
    let film = origin.serve("/f", file(b"x"));
    let world = with(&["appends-a", "steered"]);

    // The configuration's come first, then the task's own; whoever is asked first has the last word.
    let task = json!({"url": film.url(), "callbacks": [path("recipe-virus-scan"), path("appends-b")]});
    work(&world, task, &["filename append s"]).exits(0);

    assert_eq!(names_in(&world), ["fbsa"]);
}

#[test]
fn components_of_the_configuration_are_asked_before_those_of_a_task() {
    let origin = Origin::start();
    let world = with(&["recipe-cache-hit", "steered"]);

    let outcome = work(&world, json!({"url": origin.url("/robots.txt")}), &[]).exits(0);

    assert_eq!(asked_of(&outcome, "on-request").len(), 0, "the first has answered, the next is not asked");
    assert_eq!(std::fs::read(world.path("in/robots.txt")).unwrap(), b"User-agent: *\nDisallow:\n");
    let world = with(&["steered"]);
    let task = json!({"url": origin.url("/robots.txt"), "callbacks": [path("recipe-cache-hit")]});
    let outcome = work(&world, task, &[]).exits(0);
    assert_eq!(asked_of(&outcome, "on-request").len(), 1, "`next` goes on to the following one");
    assert_eq!(origin.connections(), 0);
}

#[test]
fn each_component_sees_what_the_one_before_has_made_of_a_request() {
    let origin = Origin::start();
    let film = origin.serve("/f", file(b"x"));
    let world = with(&["steered"]);
    // The same component under another name, so that it is asked twice.
    let twin = world.write("twin.wasm", std::fs::read(component("steered")).unwrap());

    let task = json!({"url": film.url(), "callbacks": [twin]});
    let outcome = work(&world, task, &["on-request stamp"]).exits(0);

    let stamps = film.requests()[0].headers.iter().filter(|(name, _)| name == "x-seen").count();
    assert_eq!(stamps, 2, "{}", outcome.stderr);
}

#[test]
fn a_policy_answers_every_decision_in_the_place_of_the_default_one() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));

    let outcome = world.haul(&["get", film.url(), "--policy", &path("steered")]).exits(0);
    let decorated = ["get", film.url(), "--policy", &path("steered"), "--callbacks", &path("appends-a")];
    world.haul(&decorated).exits(0);

    // Whatever else it answers, it is asked like any component.
    for (hook, count) in [("admit", 1), ("classify", 1), ("filename", 1), ("on-task-finished", 1)] {
        assert_eq!(asked_of(&outcome, hook).len(), count, "{hook}: {}", outcome.stderr);
    }
    assert_eq!(world.names(), ["f", "fa"], "a component's `next` is the policy");
}

#[test]
fn a_policy_of_the_configuration_counts_for_every_command_and_a_flag_before_it() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    world.config(&format!("policy = {:?}\n", component("steered")));

    let outcome = world.haul(&["request", "--now", film.url()]).exits(0);
    world.haul(&["request", "--now", film.url(), "--policy", &path("one-hook-only")]).exits(10);

    assert_eq!(asked_of(&outcome, "classify").len(), 1, "{}", outcome.stderr);
}

#[test]
fn a_policy_that_does_not_answer_everything_is_refused_by_name() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));

    let outcome = world.haul(&["get", film.url(), "--policy", &path("one-hook-only")]).exits(10);

    let missing = "does not answer `admit`, `authorize`, `resume`, `classify`, `filename`, `parts`: a policy";
    outcome.says("one_hook_only.wasm").says(missing);
    assert_eq!(origin.connections(), 0);
}

/// What is in the directory of downloads, part files too.
fn names_in(world: &World) -> Vec<String> {
    crate::support::world::names_in(&world.path("in"))
}
