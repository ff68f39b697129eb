//! Webhooks: final events reach a server at least once, signed, in order, also across failures and restarts.

use serde_json::{Value, json};

use crate::support::*;

fn configure(world: &World, hook: &Resource, more: &str) {
    world.config(&format!("[[webhooks]]\nname = \"ci\"\nurl = \"{}\"\n{more}", hook.url()));
}

fn bodies(hook: &Resource) -> Vec<Value> {
    hook.requests().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
}

#[test]
fn each_final_event_is_posted_once_it_is_committed_and_signed() {
    let (world, origin) = (World::new(), Origin::start());
    let (film, hook) = (origin.serve("/f", file(b"x")), origin.serve("/hook", status(204)));
    configure(&world, &hook, "secret = \"whsec_c2VjcmV0\"\n");
    let ids = world.add(&[json!({"url": film.url()}), json!({"url": origin.serve("/gone", status(404)).url()})]);

    world.haul(&["run", "--until-idle", "-j", "1"]).exits(8);

    let finals: Vec<_> = world
        .events()
        .into_iter()
        .filter(|event| event["status"] != "enqueued" && event["status"] != "running")
        .collect();
    assert_eq!(bodies(&hook), finals, "what the log has, in its order");
    assert!(finals.iter().any(|event| event["taskId"] == ids[0].as_str() && event["status"] == "complete"));
    assert!(finals.iter().any(|event| event["taskId"] == ids[1].as_str() && event["status"] == "notFound"));
    for request in hook.requests() {
        let header = |name: &str| request.header(name).unwrap().to_owned();
        let seconds: u64 = header("webhook-timestamp").parse().unwrap();
        let expected = haul::webhook::sign(b"secret", &header("webhook-id"), seconds, &request.body);
        assert_eq!(header("webhook-signature"), expected);
        assert_eq!(request.header("content-type"), Some("application/json"));
    }
    world.run().exits(0);
    assert_eq!(hook.requests().len(), 2, "what was taken is not sent again");
}

#[test]
fn what_is_not_taken_is_sent_again_by_the_next_engine_under_the_same_id() {
    let (world, origin) = (World::new(), Origin::start());
    let (film, hook) = (origin.serve("/f", file(b"x")), origin.serve("/hook", status(503)));
    configure(&world, &hook, "");
    world.get(&[film.url()]).exits(0).says("webhook `ci`: 1 update is left for the next engine");
    let first: Vec<_> =
        hook.requests().iter().map(|request| request.header("webhook-id").unwrap().to_owned()).collect();
    assert!(!first.is_empty(), "it was tried while the download's engine lived");

    hook.now(vec![status(200)]);
    world.run().exits(0);

    let ids: Vec<_> = hook.requests().iter().map(|request| request.header("webhook-id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), first.len() + 1);
    assert!(ids.iter().all(|id| *id == first[0]), "{ids:?}");
}

#[test]
fn other_commands_are_answered_while_an_engine_that_ends_waits_for_a_webhook() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let (film, hook) = (origin.serve("/f", file(b"x")), origin.serve("/hook", status(204).head_gate(&gate)));
    configure(&world, &hook, "");
    let running = world.spawn_get(&[film.url()]);
    running.wait_for_status("complete");
    gate.wait_for(1);

    world.list();

    gate.open();
    let outcome = running.finish().exits(0);
    assert!(!outcome.stderr.contains("left for the next engine"), "it was still there: {}", outcome.stderr);
    world.run().exits(0);
    assert_eq!(hook.requests().len(), 1, "what was taken is not sent again");
}

#[test]
fn who_only_adds_tasks_tells_no_webhook() {
    let (world, origin) = (World::new(), Origin::start());
    let (film, hook) = (origin.serve("/f", file(b"x")), origin.serve("/hook", status(503)));
    configure(&world, &hook, "");
    world.get(&[film.url()]).exits(0);
    let tried = hook.requests().len();
    hook.now(vec![status(204)]);

    let ids = world.add(&[json!({"url": film.url(), "filename": "g"})]);
    assert_eq!(hook.requests().len(), tried);
    world.haul(&["cancel", &ids[0]]).exits(0);
    world.run();

    let told: Vec<_> = bodies(&hook).split_off(tried).iter().map(|body| body["status"].clone()).collect();
    assert_eq!(told, ["complete", "canceled"], "the next engine that works has all of it");
}

#[test]
fn a_refusal_is_repeated_when_the_receiver_says() {
    let (world, origin) = (World::new(), Origin::start());
    let refusal = status(429).header("Retry-After", "0");
    let (film, hook) = (origin.serve("/f", file(b"x")), origin.script("/hook", vec![refusal, status(200)]));
    configure(&world, &hook, "");

    world.get(&[film.url()]).exits(0);
    world.run().exits(0); // tells what the first command had no time for

    assert_eq!(hook.requests().len(), 2);
}

#[test]
fn statuses_and_groups_choose_what_is_told() {
    let (world, origin) = (World::new(), Origin::start());
    let (film, hook) = (origin.serve("/f", file(b"x")), origin.serve("/hook", status(200)));
    configure(&world, &hook, "statuses = [\"complete\"]\ngroups = [\"films\"]\n");
    let gone = origin.serve("/gone", status(404));
    world.add(&[
        json!({"url": film.url(), "group": "films", "taskId": "wanted", "updates": "none"}),
        json!({"url": film.url(), "taskId": "other-group"}),
        json!({"url": gone.url(), "group": "films", "taskId": "other-status"}),
    ]);

    world.run();

    let told: Vec<_> = bodies(&hook).iter().map(|body| body["taskId"].clone()).collect();
    assert_eq!(told, ["wanted"], "whatever updates the task sends");
}

#[test]
fn wrong_tables_are_refused_with_a_sentence() {
    let world = World::new();
    for (table, says) in [
        ("[[webhooks]]\nurl = \"ftp://h\"\n", "`url` must be"),
        ("[[webhooks]]\nurl = \"http://h\"\nstatuses = [\"running\"]\n", "`statuses` takes"),
        ("[[webhooks]]\nurl = \"http://h\"\nsecret-env = \"NOT_SET\"\n", "`NOT_SET` is not set"),
        ("[[webhooks]]\nname = \"a\"\nurl = \"http://h\"\n[[webhooks]]\nname = \"a\"\nurl = \"http://h\"\n", "`a`"),
        ("[[webhooks]]\nurl = \"http://h\"\nsecret = \"whsec_\"\n", "webhook `1`: its secret holds no key"),
        ("[[webhooks]]\nurl = \"http://h\"\nsecret = \"whsec_!!!\"\n", "not base64"),
        ("[notifications]\nto = [\"command\"]\n", "`command`"),
        ("[notifications]\nrunning = \"x\"\n", "a table of `title` and `body`"),
        ("[retain]\nage = \"long\"\n", "duration"),
    ] {
        world.config(table);
        world.haul(&["ls"]).exits(2).says(says);
    }
}

#[test]
fn a_webhook_that_is_gone_is_asked_once() {
    let (world, origin) = (World::new(), Origin::start());
    let (film, hook) = (origin.serve("/f", file(b"x")), origin.serve("/hook", status(410)));
    configure(&world, &hook, "");
    world.add(&[json!({"url": film.url()}), json!({"url": film.url()})]);

    let outcome = world.haul(&["run", "--until-idle"]).exits(0).says("410 (Gone)");

    assert_eq!(hook.requests().len(), 1, "{}", outcome.stderr);
    hook.now(vec![status(200)]);
    world.run().exits(0);
    assert_eq!(hook.requests().len(), 1, "what it did not want is not kept for it");
    world.get(&[film.url()]).exits(0).says("webhook `ci`: its server has answered 410 (Gone): nothing is sent");
    assert_eq!(hook.requests().len(), 1, "later engines know it, too");

    world.config("");
    world.get(&[film.url()]).exits(0);
    configure(&world, &hook, "");
    world.get(&[film.url()]).exits(0);
    assert!(hook.requests().len() > 1, "who was out of the configuration is asked again");
}

#[test]
fn webhooks_travel_by_the_default_profile_and_not_by_flags() {
    let identity = Identity::new();
    let (world, origin, far) = (World::new(), Origin::start(), Origin::start_tls(&identity));
    let (film, hook) = (origin.serve("/f", file(b"x")), far.serve("/hook", status(200)));
    let cacert = world.write("ca.pem", &identity.certificate);
    configure(&world, &hook, "");

    world.get(&[film.url(), "--insecure"]).exits(0);
    world.get(&[film.url(), "--cacert", cacert.to_str().unwrap()]).exits(0);
    assert_eq!(hook.requests().len(), 0, "{:?}", hook.log());
    configure(&world, &hook, &format!("[profiles.default]\ncacert = {cacert:?}\n"));
    world.get(&[film.url(), "--proxy", "http://127.0.0.1:9", "--no-proxy", "127.0.0.1"]).exits(0);

    assert_eq!(hook.requests().len(), 3, "{:?}", hook.log());
}
