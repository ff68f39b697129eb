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

    narrow.exits(10).says("it wanted more memory than its limit");
}
