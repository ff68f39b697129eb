//! The recipes of docs/callbacks.md do what it says, and it shows them as they are.

use serde_json::json;

use crate::support::components::component;
use crate::support::*;

#[test]
fn an_expired_link_gets_a_new_one_without_losing_bytes() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(1, 600_000);
    let whole = file(&content).etag("\"v1\"");
    let old = origin.script("/old", vec![whole.clone().cut(400_000), status(403)]);
    let new = origin.serve("/new", whole);
    let office = origin.serve("/office", status(200).body(format!("{}?sig=1\n", new.url()).as_bytes()));
    let path = component("recipe-expired-link");
    let hosts = format!("allow-hosts = [{:?}]", origin.authority());
    world.config(&format!("[[callbacks]]\nname = \"links\"\npath = {path:?}\n{hosts}\n"));

    world.add(&[json!({"url": old.url(), "retries": 3, "metaData": office.url(), "filename": "f"})]);
    world.run().exits(0);

    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &content);
    assert_eq!(new.log(), ["GET /new?sig=1  range: bytes=400000-  if-range: \"v1\""]);
}

#[test]
fn what_is_known_is_not_asked_for() {
    let (world, origin) = (World::new(), Origin::start());
    let other = origin.serve("/f", file(b"x"));
    let path = component("recipe-cache-hit");
    let path = path.to_str().unwrap();

    world.haul(&["get", &origin.url("/robots.txt"), "--callbacks", path]).exits(0);
    world.haul(&["get", other.url(), "--callbacks", path]).exits(0);

    assert_eq!(world.read("robots.txt"), b"User-agent: *\nDisallow:\n");
    assert_eq!(origin.log(), ["GET /f"]);
}

#[test]
fn a_bad_file_never_gets_its_name() {
    let (world, origin) = (World::new(), Origin::start());
    let path = component("recipe-virus-scan");
    let path = path.to_str().unwrap();
    let contents: [(&str, &[u8]); 3] = [("/bad", b"a bad file"), ("/run", b"#!/bin/sh\n"), ("/good", b"a text")];

    for (place, content) in contents {
        let film = origin.serve(place, file(content));
        let outcome = world.haul(&["get", film.url(), "--callbacks", path]);
        assert_eq!(outcome.code, i32::from(place != "/good"), "{place}: {}", outcome.stderr);
    }

    assert_eq!(world.names(), ["good"]);
}

#[test]
fn a_server_that_fails_again_and_again_is_left_alone() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", status(500));
    let path = component("recipe-circuit-breaker");
    world.config(&format!("[[callbacks]]\nname = \"breaker\"\npath = {path:?}\n"));
    let task = |number: i32| json!({"url": film.url(), "taskId": format!("t{number}")});
    world.add(&(1..=5).map(task).collect::<Vec<_>>());

    world.haul(&["run", "--until-idle", "-j", "1"]).exits(8);

    assert_eq!(film.log().len(), 3);
    let last = world.show("t5");
    assert_eq!(last["exception"]["type"], "connection", "{last}");
    assert!(last["exception"]["description"].as_str().unwrap().contains("left alone"), "{last}");
}

#[test]
fn the_documentation_shows_the_recipes_as_they_are() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guide = std::fs::read_to_string(root.join("docs/callbacks.md")).unwrap();
    for name in ["expired-link", "cache-hit", "virus-scan", "circuit-breaker"] {
        let recipe = root.join(format!("tests/components/examples/recipe-{name}.rs"));
        let code = std::fs::read_to_string(recipe).unwrap();
        let shown = code.split_once("struct Recipe;").unwrap().1.split("export!").next().unwrap().trim();
        assert!(guide.contains(shown), "docs/callbacks.md does not show recipe-{name}.rs as it is");
    }
}
