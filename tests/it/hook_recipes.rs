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
    assert_eq!(new.log(), ["GET /new?sig=1  range: bytes=334464-  if-range: \"v1\""]);
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
fn files_are_named_by_the_day_of_their_last_change() {
    let (world, origin) = (World::new(), Origin::start());
    let path = component("recipe-rename-by-date");
    let callbacks = ["--callbacks", path.to_str().unwrap()];
    let dated = origin.serve("/a.txt", file(b"x").last_modified("Sun, 06 Nov 1994 08:49:37 GMT"));
    let plain = origin.serve("/b.txt", file(b"x"));

    world.haul(&[&["get", dated.url(), plain.url()][..], &callbacks].concat()).exits(0);
    world.haul(&[&["get", dated.url(), "--id", "again"][..], &callbacks].concat()).exits(0);

    assert_eq!(world.names(), ["1994-11-06 a (1).txt", "1994-11-06 a.txt", "b.txt"]);
}

#[test]
fn a_download_goes_on_at_the_next_mirror() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(1, 600_000);
    let whole = file(&content).etag("\"v1\"");
    let first = origin.serve("/1", whole.clone().cut(400_000));
    let (second, third) = (origin.serve("/2", status(500)), origin.serve("/3", whole));
    let path = component("recipe-mirror-choice");
    world.config(&format!("[[callbacks]]\nname = \"mirrors\"\npath = {path:?}\n"));

    let mirrors = format!("{}\n{}", second.url(), third.url());
    world.add(&[json!({"url": first.url(), "retries": 3, "metaData": mirrors, "filename": "f"})]);
    world.run().exits(0);

    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &content);
    assert_eq!((second.log().len(), third.requests()[0].range_start()), (1, Some(334_464)));
}

#[test]
fn an_overloaded_server_has_its_rest() {
    let (world, origin) = (World::new(), Origin::start());
    let path = component("recipe-politeness");
    let waits = |film: &Resource, id: &str| {
        let running = world.spawn_get(&[film.url(), "--id", id, "--callbacks", path.to_str().unwrap()]);
        running.wait_for_status("waitingToRetry");
        let record = world.show(id);
        world.haul(&["cancel", id]).exits(0);
        running.finish();
        record["waiting"]["until"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
    };
    let now = jiff::Timestamp::now().as_millisecond();

    assert!(waits(&origin.serve("/busy", status(503)), "a") >= now + 15_000);
    assert!(waits(&origin.serve("/long", status(429).header("Retry-After", "60")), "b") >= now + 60_000);
}

#[test]
fn somebody_is_told_of_each_end() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let told = origin.serve("/told", status(200));
    let path = component("recipe-webhook");
    let words = ["--callbacks", path.to_str().unwrap(), "--allow-host", &origin.authority(), "--metadata", told.url()];

    world.haul(&[&["get", film.url()][..], &words].concat()).exits(0);

    let body = String::from_utf8(told.requests()[0].body.clone()).unwrap();
    assert!(body.ends_with(&format!(": {} is here", film.url())), "{body}");
}

#[test]
fn a_file_must_have_the_checksum_that_lies_beside_it_if_there_is_one() {
    let (world, origin) = (World::new(), Origin::start());
    let path = component("recipe-checksum-sidecar");
    let grants = format!("allow-hosts = [{:?}]\nkeyvalue = \"64K\"", origin.authority());
    world.config(&format!("[[callbacks]]\nname = \"sidecar\"\npath = {path:?}\n{grants}\n"));
    let content = b"content";
    let beside = |name: &str, digest: &str| {
        origin.serve(name, file(content));
        origin.serve(&format!("{name}.sha256"), file(format!("{digest}  {name}\n").as_bytes()));
    };
    beside("/right", &sha256(content).to_uppercase());
    beside("/wrong", &"0".repeat(64));
    beside("/broken", "no digest");
    origin.serve("/alone", file(content));
    let answered = |name: &str| world.haul(&["get", &format!("{}?page=1", origin.url(name))]);

    for name in ["/right", "/broken", "/alone"] {
        answered(name).exits(0);
    }
    answered("/wrong").exits(1).says("the .sha256 beside it");

    assert_eq!(world.names(), ["alone", "broken", "right"]);
    assert!(origin.log().contains(&"GET /alone.sha256".to_owned()), "{:?}", origin.log());
    assert_eq!(world.haul(&["callbacks", "state"]).exits(0).stdout, "", "it keeps nothing of what is over");
}

#[test]
fn the_documentation_shows_the_recipes_as_they_are() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guide = std::fs::read_to_string(root.join("docs/callbacks.md")).unwrap();
    let recipes = ["expired-link", "cache-hit", "virus-scan", "circuit-breaker", "rename-by-date", "mirror-choice"];
    for name in recipes.into_iter().chain(["politeness", "webhook", "checksum-sidecar"]) {
        let recipe = root.join(format!("tests/components/examples/recipe-{name}.rs"));
        let code = std::fs::read_to_string(recipe).unwrap();
        let shown = code.split_once("struct Recipe;").unwrap().1.split("export!").next().unwrap().trim();
        assert!(guide.contains(shown), "docs/callbacks.md does not show recipe-{name}.rs as it is");
        let (_, world) = code.split_once("world").unwrap();
        let world = match world.strip_prefix(": \"") {
            Some(named) => named.split('"').next().unwrap().to_owned(),
            None => {
                let lines = world.split_once('{').unwrap().1.split('}').next().unwrap();
                lines.split_whitespace().collect::<Vec<_>>().join(" ")
            }
        };
        assert!(
            guide.contains(&format!("World: `{world}`")),
            "docs/callbacks.md does not tell the world of recipe-{name}.rs"
        );
    }
}
