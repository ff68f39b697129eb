//! Credentials of a task: filled in, refreshed before they expire and after a 401, once for all who share them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::components::component;
use crate::support::origin::Seen;
use crate::support::*;

const MIB: usize = 1 << 20;
/// A token that expired in 2001.
const LONG_AGO: u64 = 1_000_000_000_000;

fn task(id: &str, url: &str, auth: &Value) -> Value {
    json!({"taskId": id, "url": url, "filename": id, "options": {"auth": auth}})
}

fn token(refresh_url: Option<&str>, expires_at: Option<u64>) -> Value {
    json!({
        "accessToken": "old", "accessHeaders": {"Authorization": "Bearer {accessToken}"},
        "accessQueryParams": {"t": "{accessToken}"}, "accessTokenExpiryTime": expires_at,
        "refreshToken": "again", "refreshUrl": refresh_url,
    })
}

fn granted() -> Answer {
    file(br#"{"access_token":"new","expires_in":3600}"#).header("Content-Type", "application/json")
}

#[test]
fn tokens_are_filled_into_headers_and_query() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    world.add(&[task("f", film.url(), &token(None, None))]);

    world.run().exits(0);

    let request = &film.requests()[0];
    assert_eq!(request.header("authorization"), Some("Bearer old"));
    assert_eq!(request.target, "/f?t=old");
}

#[test]
fn an_expired_token_is_refreshed_first_and_once_for_all_who_share_it() {
    let (world, origin) = (World::new(), Origin::start());
    let refresh = origin.serve("/token", granted());
    let films: Vec<Resource> = (0..8).map(|n| origin.serve(&format!("/{n}"), file(b"x"))).collect();
    let auth = token(Some(refresh.url()), Some(LONG_AGO));
    let tasks: Vec<Value> = (0..8).map(|n| task(&format!("f{n}"), films[n].url(), &auth)).collect();
    world.add(&tasks);

    world.run().exits(0);

    assert_eq!(refresh.log().len(), 1, "{:?}", origin.log());
    let asked: Value = serde_json::from_slice(&refresh.requests()[0].body).unwrap();
    assert_eq!(asked, json!({"grant_type": "refresh_token", "refresh_token": "again"}));
    for film in &films {
        assert_eq!(film.requests()[0].header("authorization"), Some("Bearer new"));
    }
}

#[test]
fn who_waits_for_a_refresh_says_so() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let refresh = origin.serve("/token", granted().head_gate(&gate));
    let film = origin.serve("/f", file(b"x"));
    let auth = token(Some(refresh.url()), Some(LONG_AGO));
    world.add(&[task("a", film.url(), &auth), task("b", film.url(), &auth)]);
    let running = world.spawn(&["--json", "run", "--until-idle"]);
    gate.wait_for(1);

    world.wait_for_reason("a", "auth");
    world.wait_for_reason("b", "auth");
    gate.open();

    running.finish().exits(0);
    assert_eq!(world.show("b")["waiting"], Value::Null);
}

#[test]
fn fifty_tasks_that_are_refused_together_refresh_once() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let refresh = origin.serve("/token", granted().head_gate(&gate));
    let films: Vec<Resource> =
        (0..50).map(|n| origin.script(&format!("/{n}"), vec![status(401), file(b"x")])).collect();
    let auth = token(Some(refresh.url()), None);
    // The tokens are shared; what else a task does with them is its own.
    let tasks: Vec<Value> = (0..50)
        .map(|n| {
            let mut own = auth.clone();
            own["accessHeaders"]["X-Number"] = json!(format!("{n} {{accessToken}}"));
            task(&format!("f{n}"), films[n].url(), &own)
        })
        .collect();
    world.add(&tasks);
    let running = world.spawn(&["--json", "run", "--until-idle", "-j", "50"]);
    gate.wait_for(1);
    gate.open();

    running.finish().exits(0);

    assert_eq!(refresh.log().len(), 1, "{:?}", refresh.log());
    for (n, film) in films.iter().enumerate() {
        let last = film.requests().pop().unwrap();
        assert_eq!(last.header("authorization"), Some("Bearer new"));
        assert_eq!(last.header("x-number"), Some(format!("{n} new").as_str()));
    }
}

#[test]
fn a_refresh_that_fails_is_not_repeated_by_those_who_waited_for_it() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let refresh = origin.serve("/token", status(400).head_gate(&gate));
    let all = Gate::new();
    let films: Vec<Resource> = (0..8).map(|n| origin.serve(&format!("/{n}"), status(401).head_gate(&all))).collect();
    let auth = token(Some(refresh.url()), None);
    let tasks: Vec<Value> = (0..8).map(|n| task(&format!("f{n}"), films[n].url(), &auth)).collect();
    world.add(&tasks);
    let running = world.spawn(&["-v", "--json", "run", "--until-idle", "-j", "8"]);
    all.wait_for(8);
    all.open();
    gate.wait_for(1);
    running.wait_for_log(8, ": 401 from "); // from here on they stand in line
    gate.open();

    running.finish().exits(8);

    assert_eq!(refresh.log().len(), 1, "{:?}", refresh.log());
}

#[test]
fn a_refused_refresh_is_told_from_memory_and_not_tried_again() {
    let (world, origin) = (World::new(), Origin::start());
    let refresh = origin.serve("/token", status(400).body(br#"{"error":"invalid_grant"}"#));
    let film = origin.serve("/f", file(b"x"));
    let auth = token(Some(refresh.url()), Some(LONG_AGO));
    let tasks: Vec<Value> = (0..20)
        .map(|n| {
            let mut task = task(&format!("f{n}"), film.url(), &auth);
            task["retries"] = json!(3);
            task
        })
        .collect();
    world.add(&tasks);

    let outcome = world.spawn(&["--json", "run", "--until-idle", "-j", "4"]).finish().exits(8);

    assert_eq!((refresh.log().len(), film.log().len()), (1, 0));
    assert!(!outcome.stdout.contains("waitingToRetry"), "{}", outcome.stdout);
    let why = &world.show("f19")["exception"];
    assert!(why["description"].as_str().unwrap().contains("could not refresh"), "{why}");
    assert!(why["description"].as_str().unwrap().contains("the token server answered 400"), "{why}");
    assert_eq!((&why["detail"], &why["httpResponseCode"]), (&json!("credentials"), &Value::Null), "{why}");
}

#[test]
fn a_refused_refresh_token_is_an_authentication_failure() {
    for answered in [400, 401, 403] {
        let (world, origin) = (World::new(), Origin::start());
        let refresh = origin.serve("/token", status(answered).body(br#"{"error":"invalid_grant"}"#));
        let film = origin.serve("/f", file(b"x"));
        world.add(&[task("f", film.url(), &token(Some(refresh.url()), Some(LONG_AGO)))]);

        world.run().exits(4);

        let why = &world.show("f")["exception"];
        assert_eq!((&why["type"], &why["httpResponseCode"]), (&json!("general"), &Value::Null), "{why}");
        let words = format!("the token server answered {answered}");
        assert!(why["description"].as_str().unwrap().contains(&words), "{why}");
    }
}

#[test]
fn a_token_too_long_for_headers_is_the_token_servers_fault() {
    let (world, origin) = (World::new(), Origin::start());
    let answer = json!({"access_token": "T".repeat(20_000)}).to_string();
    let refresh = origin.serve("/token", file(answer.as_bytes()));
    let film = origin.serve("/f", file(b"x"));
    world.add(&[task("f", film.url(), &token(Some(refresh.url()), Some(LONG_AGO)))]);

    world.run().exits(1);

    let why = &world.show("f")["exception"];
    assert_eq!(why["type"], "general", "{why}");
    assert!(why["description"].as_str().unwrap().contains("the token server's answer holds an access token too long"));
}

#[test]
fn a_refusal_by_who_was_not_shown_the_token_refreshes_and_repeats_nothing() {
    for kind in ["DownloadTask", "DataTask", "ParallelDownloadTask"] {
        let (world, origin, elsewhere) = (World::new(), Origin::start(), Origin::start());
        let refresh = origin.serve("/token", granted());
        let other = elsewhere.serve("/o", status(401));
        let film = origin.serve("/f", status(307).header("Location", other.url()));
        let mut task = task("f", film.url(), &token(Some(refresh.url()), None));
        task["taskType"] = json!(kind);
        if kind == "DataTask" {
            task["post"] = json!("pay");
            task.as_object_mut().unwrap().remove("filename");
        }
        world.add(&[task]);

        world.run().exits(4);

        assert_eq!((refresh.log().len(), film.log().len()), (0, 1), "{kind}: {:?}", origin.log());
        assert!(other.requests().iter().all(|asked| asked.header("authorization").is_none()), "{kind}");
    }
}

#[test]
fn who_has_waited_for_a_refresh_takes_its_failure_whatever_it_was() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let refresh = origin.serve("/token", status(503).head_gate(&gate));
    let film = origin.serve("/f", file(b"x"));
    let auth = token(Some(refresh.url()), Some(LONG_AGO));
    world.add(&["a", "b", "c"].map(|id| task(id, film.url(), &auth)));
    let running = world.spawn(&["-vv", "--json", "run", "--until-idle", "-j", "3"]);
    gate.wait_for(1);
    running.wait_for_log(2, "its token is being refreshed for another task");
    gate.open();

    running.finish().exits(8);

    assert_eq!(refresh.log().len(), 1, "{:?}", refresh.log());
}

#[test]
fn a_refresh_outlives_the_task_that_began_it_and_serves_the_others() {
    for stop in [&["cancel", "a"][..], &["pause", "a"]] {
        let (world, origin) = (World::new(), Origin::start());
        let gate = Gate::new();
        let refresh = origin.script("/token", vec![granted().head_gate(&gate), status(400)]);
        let film = origin.serve("/f", file(b"x"));
        let auth = token(Some(refresh.url()), Some(LONG_AGO));
        world.add(&["a", "b", "c"].map(|id| task(id, film.url(), &auth)));
        let running = world.spawn(&["--json", "run", "--until-idle", "-j", "1"]);
        gate.wait_for(1);

        world.haul(stop).exits(0);
        gate.open();

        running.finish();
        let ended = ["b", "c"].map(|id| world.show(id)["status"].as_str().unwrap().to_owned());
        assert_eq!(ended, ["complete", "complete"], "{stop:?}: {:?}", origin.log());
        assert_eq!(refresh.log().len(), 1, "{stop:?}");
    }
}

#[test]
fn what_a_refresh_brings_is_stored_when_haul_is_interrupted_meanwhile() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let granted = file(br#"{"access_token":"new","refresh_token":"r2","expires_in":3600}"#);
    // Its body takes most of a second.
    let refresh = origin.script("/token", vec![granted.head_gate(&gate).pace(100), status(400)]);
    let film = origin.serve("/f", file(b"x"));
    world.add(&[task("f", film.url(), &token(Some(refresh.url()), Some(LONG_AGO)))]);
    let running = world.spawn(&["--json", "run", "--until-idle"]);
    gate.wait_for(1);
    running.signal(Signal::INT);
    running.wait_for_log(1, "interrupted;");
    gate.open();
    running.finish().exits(130);

    world.run().exits(0);

    assert_eq!(refresh.log().len(), 1);
}

#[test]
fn what_was_refreshed_serves_later_commands_and_is_refreshed_again_from_there() {
    let (world, origin) = (World::new(), Origin::start());
    let answer = |body: &str| file(body.as_bytes());
    let refresh = origin.script(
        "/token",
        vec![
            answer(r#"{"access_token":"second","refresh_token":"r2","expires_in":1}"#),
            answer(r#"{"access_token":"third","refresh_token":"r3","expires_in":3600}"#),
            status(400),
        ],
    );
    let film = origin.serve("/f", file(b"x"));
    let auth = token(Some(refresh.url()), Some(LONG_AGO));
    for id in ["a", "b", "c"] {
        world.add(&[task(id, film.url(), &auth)]);
        world.run().exits(0);
    }

    let used: Vec<_> =
        film.requests().iter().map(|request| request.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(used, ["Bearer second", "Bearer third", "Bearer third"]);
    let asked: Vec<Value> =
        refresh.requests().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect();
    assert_eq!((&asked[0]["refresh_token"], &asked[1]["refresh_token"]), (&json!("again"), &json!("r2")));
    assert_eq!(asked.len(), 2);
}

#[test]
fn a_401_is_followed_by_one_refresh_and_one_more_request() {
    let (world, origin) = (World::new(), Origin::start());
    let refresh = origin.serve("/token", granted());
    let film = origin.script("/f", vec![status(401), file(b"x")]);
    let locked = origin.serve("/locked", status(401));
    let auth = token(Some(refresh.url()), None);
    world.add(&[task("f", film.url(), &auth), task("locked", locked.url(), &auth)]);

    world.run().exits(8);

    let sent = |resource: &Resource| -> Vec<Option<String>> {
        resource.requests().iter().map(|request| request.header("authorization").map(str::to_owned)).collect()
    };
    let both = [Some("Bearer old".to_owned()), Some("Bearer new".to_owned())];
    assert_eq!((sent(&film), sent(&locked)), (both.to_vec(), both.to_vec()));
    assert_eq!(
        (world.show("f")["status"].as_str(), world.show("locked")["status"].as_str()),
        (Some("complete"), Some("failed"))
    );
}

#[test]
fn a_407_is_followed_by_one_refresh_and_the_proxys_header_goes_to_no_server() {
    let (world, origin) = (World::new(), Origin::start());
    let refresh = origin.serve("/token", granted());
    let far = origin.script("http://far.invalid/f", vec![status(407), file(b"x")]);
    let near = origin.serve("/near", file(b"x"));
    let mut auth = token(Some(refresh.url()), None);
    auth["accessHeaders"] = json!({"Proxy-Authorization": "Bearer {accessToken}"});
    world.config(&format!("[profiles.far]\nproxy = \"{}\"\nno-proxy = \"127.0.0.1\"\n", origin.authority()));
    let mut through = task("f", "http://far.invalid/f", &auth);
    through["profile"] = json!("far");
    world.add(&[through, task("n", near.url(), &auth)]);

    world.run().exits(0);

    let sent: Vec<_> =
        far.requests().iter().map(|request| request.header("proxy-authorization").map(str::to_owned)).collect();
    assert_eq!(sent, [Some("Bearer old".to_owned()), Some("Bearer new".to_owned())]);
    assert_eq!(near.requests()[0].header("proxy-authorization"), None);
}

#[test]
fn a_401_that_nothing_can_mend_is_not_asked_for_twice() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", status(401).body(b"go away"));
    world.add(&[task("f", film.url(), &token(None, None))]);

    world.run().exits(4);

    assert_eq!(film.log().len(), 1, "{:?}", film.log());
    let record = world.show("f");
    assert_eq!(record["responseStatusCode"], 401, "{record}");
}

#[test]
fn a_refused_refresh_ends_the_task_with_the_reason() {
    let (world, origin) = (World::new(), Origin::start());
    let refresh = origin.serve("/token", status(400).body(br#"{"error":"invalid_grant"}"#));
    let film = origin.serve("/f", status(401));
    world.add(&[task("f", film.url(), &token(Some(refresh.url()), None))]);

    world.run().exits(4);

    assert_eq!((film.log().len(), refresh.log().len()), (1, 1));
    let record = world.show("f");
    assert!(record["exception"]["description"].as_str().unwrap().contains("could not refresh"), "{record}");
}

#[test]
fn on_task_start_is_asked_once_in_an_attempt_and_its_changes_outlive_a_refresh() {
    let (world, origin) = (World::new(), Origin::start());
    let refresh = origin.serve("/token", granted());
    // The component itself asks four times.
    let film = origin.script("/f", [vec![status(202); 4], vec![status(401), file(b"x")]].concat());
    let path = component("calls-forbidden-host");
    world.config(&format!("[[callbacks]]\npath = {path:?}\nallow-hosts = [{:?}]\n", origin.authority()));
    world.add(&[task("f", film.url(), &token(Some(refresh.url()), None))]);

    world.run().exits(0);

    let requests = film.requests();
    assert_eq!(requests.len(), 6, "{:?}", film.log());
    for request in &requests[4..] {
        assert_eq!(request.header("x-outcome-4"), Some("202"));
    }
    assert_eq!(requests[5].header("authorization"), Some("Bearer new"));
}

/// Tokens `t1`, `t2`, ... in this order.
fn grants(lives_for_seconds: u64) -> Vec<Answer> {
    let granted = |number| format!(r#"{{"access_token":"t{number}","expires_in":{lives_for_seconds}}}"#);
    (1..100).map(|number| file(granted(number).as_bytes())).collect()
}

/// What a server gives who takes each token for so many requests, and then never again.
fn for_so_many(answer: Answer, requests: u32) -> Answer {
    let used: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
    answer.unless(move |request| {
        let mut used = used.lock().unwrap();
        let count = used.entry(request.header("authorization").unwrap_or_default().to_owned()).or_default();
        *count += 1;
        (*count > requests).then(|| status(401))
    })
}

fn divided(url: &str, auth: &Value) -> Value {
    let mut task = task("f", url, auth);
    (task["chunks"], task["retries"]) = (json!(4), json!(0));
    task
}

#[test]
fn parts_outlive_as_many_tokens_as_it_takes() {
    let (world, origin) = (World::new(), Origin::start());
    let refresh = origin.script("/token", grants(3600));
    let content = bytes(1, 6 << 20);
    let film = origin.serve("/f", for_so_many(file(&content).etag("\"v1\"").cut(300_000), 8));
    world.add(&[divided(film.url(), &token(Some(refresh.url()), None))]);

    world.run().exits(0);

    assert_same_bytes(&world.read("../in/f"), &content);
    assert!(refresh.log().len() >= 2, "{:?}", origin.log());
}

#[test]
fn an_upload_in_pieces_outlives_as_many_tokens_as_it_takes() {
    let (world, server) = (World::new(), UploadServer::start(Speech::Ietf));
    let origin = Origin::start();
    let refresh = origin.script("/token", grants(3600));
    let content = bytes(1, 300_000);
    world.write("../in/f.bin", &content);
    server.append_at_most(50_000);
    let refused = Fault::Status("PATCH", 401, "X: y");
    let taken = Fault::Partly(50_000);
    server.faults(&[taken.clone(), refused.clone(), taken.clone(), refused.clone(), taken, refused]);
    let mut task = task("f", &server.url(), &token(Some(refresh.url()), None));
    task["taskType"] = json!("UploadTask");
    task["filename"] = json!("f.bin");
    (task["resumable"], task["retries"]) = (json!("ietf"), json!(0));
    world.add(&[task]);

    world.run().exits(0);

    assert_same_bytes(&server.upload(1).bytes, &content);
    assert_eq!(refresh.log().len(), 3, "{:?}", server.log());
}

#[test]
fn a_part_that_every_token_is_refused_for_is_asked_for_once_more_and_not_again() {
    let (world, origin) = (World::new(), Origin::start());
    let refresh = origin.script("/token", grants(3600));
    let content = bytes(1, 6 << 20);
    let gate = Gate::new(); // the others are being read meanwhile
    let is_locked = |request: &Seen| request.range_start().is_some_and(|from| from > 4 << 20);
    let film =
        file(&content).etag("\"v1\"").gate(MIB, &gate).unless(move |request| is_locked(request).then(|| status(401)));
    let film = origin.serve("/f", film);
    world.add(&[divided(film.url(), &token(Some(refresh.url()), None))]);

    world.run().exits(4);

    assert_eq!(refresh.log().len(), 1, "{:?}", origin.log());
}

#[test]
fn no_part_is_asked_for_with_a_token_that_is_about_to_expire() {
    let (world, origin) = (World::new(), Origin::start());
    // What is granted lasts for two seconds beyond the ten in which it would be renewed.
    let refresh = origin.script("/token", grants(12));
    let content = bytes(1, 6 << 20);
    let film = origin.serve("/f", file(&content).etag("\"v1\"").cut(200_000).pace(MIB));
    let mut task = divided(film.url(), &token(Some(refresh.url()), Some(LONG_AGO)));
    task["chunks"] = json!(2);
    world.add(&[task]);

    world.run().exits(0);

    assert_same_bytes(&world.read("../in/f"), &content);
    assert!(refresh.log().len() >= 2, "{:?}", origin.log());
}
