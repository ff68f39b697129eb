//! Credentials of a task: filled in, refreshed before they expire and after a 401, once for all who share them.

use serde_json::{Value, json};

use crate::support::components::component;
use crate::support::*;

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
