//! Where components may lead a task's requests: to its own hosts, to hosts that they are granted, and to public addresses; not
//! into its owner's network.

use serde_json::{Value, json};

use crate::support::components::component;
use crate::support::steered::{add, asked_of, work, world};
use crate::support::*;

/// Every hook that gives URLs, with what it answers before the URL.
const LEADERS: [&str; 5] =
    ["on-task-start url", "on-request next", "on-redirect with", "on-response 403-retry 0", "on-error retry 0"];

/// A world with `steered`, which is granted these hosts.
fn granting(hosts: &[&str]) -> World {
    let world = World::new();
    let path = component("steered");
    world.config(&format!("[[callbacks]]\nname = \"steered\"\npath = {path:?}\nallow-hosts = {hosts:?}\n"));
    world
}

/// The URL under another name of the same machine: another host than 127.0.0.1 to whoever goes by names.
fn by_name(url: &str) -> String {
    url.replace("127.0.0.1", "localhost")
}

/// What a task is refused with whose component leads it to a host.
fn refusal(host: &str) -> String {
    let grant = if host.starts_with("localhost.") { format!("private+{host}") } else { host.to_owned() };
    format!(
        "component `steered` leads to {host}, which is not on the public internet and not granted (grant it with \
         --allow-host {grant}, or allow-hosts = [\"{grant}\"] in [[callbacks]] or [[grants]])"
    )
}

fn why(record: &Value) -> &str {
    record["exception"]["description"].as_str().unwrap_or_default()
}

/// Works a task at an origin called `localhost`, whose component leads it to `url`; its first request is redirected where a
/// redirect leads, and refused where a refusal does.
fn led(world: &World, leader: &str, url: &str) -> Value {
    let origin = Origin::start();
    origin.serve("/moves", redirect(302, "/gone"));
    origin.serve("/gone", status(403));
    let start = if leader.starts_with("on-redirect") { "/moves" } else { "/gone" };
    let task = json!({"url": by_name(&origin.url(start)), "retries": 1, "filename": "f"});
    work(world, task, &[&format!("{leader} {url}"), "retry now"]);
    world.show("t")
}

#[test]
fn a_component_leads_no_request_to_a_private_address_that_it_is_not_granted() {
    let inner = Origin::start();
    let secret = inner.serve("/secret", file(b"secret"));
    let other_grants = ["127.0.0.1", "127.0.0.1:1", "elsewhere.example"].map(|other| (LEADERS[0], vec![other]));
    for (leader, granted) in LEADERS.map(|leader| (leader, vec![])).into_iter().chain(other_grants) {
        let record = led(&granting(&granted), leader, secret.url());
        assert_eq!(record["status"], "failed", "{leader}: {record}");
        assert_eq!(record["exception"]["type"], "policy", "{leader}: {record}");
        assert!(why(&record).starts_with(&refusal(&inner.authority())), "{leader}: {record}");
    }
    assert_eq!(inner.connections(), 0);

    for leader in LEADERS {
        let world = granting(&[&inner.authority()]);
        let record = led(&world, leader, secret.url());
        assert_eq!(record["status"], "complete", "{leader}: {record}");
        assert_eq!(std::fs::read(world.path("in/f")).unwrap(), b"secret", "{leader}");
    }
}

#[test]
fn a_granted_name_stands_for_public_addresses_unless_the_grant_says_otherwise() {
    let inner = Origin::start();
    let secret = inner.serve("/secret", file(b"secret"));
    // A name like any other, but that every system knows it.
    let (host, url) = (["localhost.", &inner.authority()["127.0.0.1".len()..]].concat(), secret.url());
    let url = url.replace("127.0.0.1", "localhost.");
    for leader in LEADERS {
        let record = led(&granting(&[&host]), leader, &url);
        assert!(why(&record).starts_with(&refusal(&host)), "{leader}: {record}");
    }
    assert_eq!(inner.connections(), 0);

    for grant in [format!("private+{host}"), format!("private+http://{host}")] {
        let record = led(&granting(&[&grant]), LEADERS[0], &url);
        assert_eq!(record["status"], "complete", "{grant}: {record}");
    }
}

#[test]
fn an_address_is_private_in_any_spelling() {
    let origin = Origin::start();
    let film = origin.serve("/f", file(b"film"));
    let port = origin.authority().split_once(':').unwrap().1.to_owned();
    for (host, shown) in [
        ("169.254.169.254", "169.254.169.254"),
        ("[::1]", "[::1]"),
        ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
        ("localhost", "localhost"),
        ("LOCALHOST.", "localhost."),
        ("0.0.0.0", "0.0.0.0"),
    ] {
        let words = format!("on-task-start url http://{host}:{port}/f");
        let (world, task) = (world(), json!({"url": film.url(), "retries": 0}));
        work(&world, task, &[&words]).exits(1);
        assert_eq!(why(&world.show("t")), refusal(&format!("{shown}:{port}")));
    }
    assert_eq!(origin.connections(), 0);

    // One that is spelt otherwise is the task's own.
    for host in ["127.1", "0x7f.1", "2130706433"] {
        let words = format!("on-task-start url http://{host}:{port}/f");
        work(&world(), json!({"url": film.url(), "retries": 0}), &[&words]).exits(0);
    }
}

#[test]
fn a_component_leads_to_any_port_of_the_tasks_own_hosts() {
    let (origin, other) = (Origin::start(), Origin::start());
    let film = other.serve("/film", file(b"film"));
    for leader in LEADERS {
        let world = world();
        let mirrors = json!([other.url("/not-there")]);
        let moves = origin.serve("/moves", redirect(302, "/gone"));
        origin.serve("/gone", status(403));
        let task = json!({"url": by_name(moves.url()), "mirrors": mirrors, "retries": 1});
        work(&world, task, &[&format!("{leader} {}", film.url()), "retry now"]).exits(0);
        assert_eq!(
            std::fs::read(world.path("in/moves")).unwrap(),
            b"film",
            "{leader}: a mirror's host is the task's own"
        );
    }
}

/// A world whose profile `far` goes through that proxy, but for 127.0.0.1.
fn behind(proxy: &Origin) -> World {
    granting_behind(proxy, &[])
}

/// The same with `steered` granted these hosts.
fn granting_behind(proxy: &Origin, hosts: &[&str]) -> World {
    let world = World::new();
    let path = component("steered");
    world.config(&format!(
        "[[callbacks]]\nname = \"steered\"\npath = {path:?}\nallow-hosts = {hosts:?}\n\
         [profiles.far]\nproxy = \"{}\"\nno-proxy = \"127.0.0.1\"\n",
        proxy.authority()
    ));
    world
}

#[test]
fn where_a_component_has_led_a_request_no_redirect_leads_into_the_owners_network() {
    let (proxy, inner) = (Origin::start(), Origin::start());
    let secret = inner.serve("/secret", file(b"secret"));
    let task = |path: &str| json!({"url": format!("http://far.invalid/{path}"), "profile": "far", "retries": 1});
    proxy.serve("http://far.invalid/own", redirect(302, secret.url()));
    proxy.serve("http://far.invalid/led", status(403));
    for leader in ["on-task-start url", "on-error retry 0"] {
        let evil = proxy.serve("http://evil.invalid/", redirect(302, secret.url()));
        let before = evil.requests().len();
        let world = behind(&proxy);
        work(&world, task("led"), &[&format!("{leader} http://evil.invalid/")]).exits(1);
        assert_eq!(evil.requests().len(), before + 1, "a host that only the proxy can look up is its business");
        let record = world.show("t");
        assert!(why(&record).starts_with(&refusal(&inner.authority())), "{record}");
    }
    assert_eq!(inner.connections(), 0);

    let world = behind(&proxy);
    work(&world, task("own"), &["on-request next", "on-redirect with"]).exits(0);
    assert_eq!(secret.requests().len(), 1, "the task's own server may lead there, whoever looks on");
}

#[test]
fn where_the_tasks_own_server_redirects_to_a_private_host_a_component_changes_nothing_without_a_grant() {
    let (proxy, inner, other) = (Origin::start(), Origin::start(), Origin::start());
    let harmless = inner.serve("/harmless", file(b"harmless"));
    inner.serve("/secret", file(b"secret"));
    inner.serve("/harmless?x=1", file(b"secret"));
    other.serve("/admin", file(b"secret"));
    proxy.serve("http://far.invalid/own", redirect(302, harmless.url()));
    let task = || json!({"url": "http://far.invalid/own", "profile": "far", "retries": 0});
    let cases = [
        (format!("on-redirect with {}", inner.url("/secret")), &inner, "leads to"),
        (format!("on-redirect with {}", inner.url("/harmless?x=1")), &inner, "leads to"),
        (format!("on-redirect with {}", other.url("/admin")), &other, "leads to"),
        ("on-redirect with - x-flavor=1".to_owned(), &inner, "adds headers to a request to"),
        ("on-request stamp".to_owned(), &inner, "adds headers to a request to"),
    ];
    for (words, place, verb) in &cases {
        let world = behind(&proxy);
        work(&world, task(), &[words]).exits(1);
        let record = world.show("t");
        assert_eq!(why(&record), refusal(&place.authority()).replace("leads to", verb), "{words}");
    }
    assert_eq!((inner.connections(), other.connections()), (0, 0));

    for (words, place, _) in &cases {
        let world = granting_behind(&proxy, &[&place.authority()]);
        work(&world, task(), &[words]).exits(0);
    }
}

#[test]
fn behind_a_proxy_too_a_component_leads_to_no_private_address() {
    let proxy = Origin::start();
    for host in ["localhost", "10.0.0.1", "169.254.169.254"] {
        let inner = proxy.serve(&format!("http://{host}/secret"), file(b"secret"));
        let world = behind(&proxy);
        let task = json!({"url": "http://far.invalid/f", "profile": "far", "retries": 0});
        add(&world, task, &[&format!("on-task-start url http://{host}/secret")]);
        let outcome = world.run().exits(1);
        assert_eq!(why(&world.show("t")), refusal(&format!("{host}:80")));
        assert_eq!((inner.requests().len(), asked_of(&outcome, "on-request").len()), (0, 1));
    }
}
