//! What is tried again, when, and with which exit code it ends.

use std::time::Duration;

use serde_json::json;

use crate::download::notes;
use crate::support::*;

/// A status that asks to be tried again at once.
fn busy(code: u16) -> Answer {
    status(code).header("Retry-After", "0")
}

#[test]
fn retry_after_seconds_are_kept() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.script("/f", vec![status(503).header("Retry-After", "1"), file(b"x")]);

    let outcome = world.get(&[film.url()]).exits(0);

    assert_eq!(outcome.statuses(), "enqueued > running > waitingToRetry > enqueued > running > complete");
    assert_waited(&film.requests(), 1.0, 1.9);
}

#[test]
fn a_retry_after_date_counts_from_the_servers_own_clock() {
    let (world, origin) = (World::new(), Origin::start());
    let later = status(429)
        .header("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
        .header("Retry-After", "Sun, 06 Nov 1994 08:49:38 GMT");
    let film = origin.script("/f", vec![later, file(b"x")]);

    world.get(&[film.url()]).exits(0);

    assert_waited(&film.requests(), 1.0, 1.9);
}

#[test]
fn without_a_usable_retry_after_the_schedule_holds() {
    let (world, origin) = (World::new(), Origin::start());
    let one = origin.script("/1", vec![status(500), file(b"x")]);
    let two = origin.script("/2", vec![status(503).header("Retry-After", "1.5"), file(b"x")]);
    let three = origin.script("/3", vec![status(503).header("Retry-After", "soon"), file(b"x")]);
    let four = origin.script("/4", vec![status(503).header("Retry-After", "-1"), file(b"x")]);

    world.get(&[one.url(), two.url(), three.url(), four.url()]).exits(0);

    for film in [one, two, three, four] {
        assert_waited(&film.requests(), 1.99, 4.0);
    }
}

#[test]
fn the_second_wait_is_twice_the_first() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.script("/f", vec![status(500), status(502), file(b"x")]);

    world.get(&[film.url()]).exits(0);

    assert_waited(&film.requests()[..2], 1.99, 3.5);
    assert_waited(&film.requests()[1..], 3.99, 6.0);
}

#[test]
fn a_missing_file_is_not_asked_for_twice_and_exits_3() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", status(404));

    let last = world.get(&[film.url(), "--retries", "5"]).exits(3).only_final();

    assert_eq!(last["status"], "notFound");
    assert_eq!(last["responseStatusCode"], 404);
    assert_eq!(last["responseBody"], "this is a 404");
    assert_eq!(film.log().len(), 1);
    assert!(world.names().is_empty());
}

#[test]
fn refused_access_is_not_tried_again_and_exits_4() {
    for code in [401, 403, 407] {
        let (world, origin) = (World::new(), Origin::start());
        let film = origin.serve("/f", status(code));

        let last = world.get(&[film.url(), "--retries", "5"]).exits(4).only_final();

        assert_eq!(last["status"], "failed");
        assert_eq!(last["exception"]["type"], "httpResponse");
        assert_eq!(last["exception"]["httpResponseCode"], code);
        let who = if code == 407 { "proxy answered" } else { "server answered" };
        assert!(last["exception"]["description"].as_str().unwrap().starts_with(who), "{last}");
        assert_eq!(film.log().len(), 1);
    }
}

#[test]
fn other_client_errors_are_final_and_exit_1() {
    for code in [400, 409, 410, 418, 451] {
        let (world, origin) = (World::new(), Origin::start());
        let film = origin.serve("/f", busy(code));

        world.get(&[film.url(), "--retries", "5"]).exits(1);

        assert_eq!(film.log().len(), 1, "{code}");
        assert!(world.names().is_empty());
    }
}

#[test]
fn passing_troubles_are_tried_again() {
    for code in [408, 425, 429, 500, 502, 503, 504] {
        let (world, origin) = (World::new(), Origin::start());
        let film = origin.script("/f", vec![busy(code), file(b"x")]);

        world.get(&[film.url()]).exits(0);

        assert_eq!(film.log().len(), 2, "{code}");
    }
}

#[test]
fn retries_end() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", busy(503));

    let outcome = world.get(&[film.url(), "--retries", "2"]).exits(1);

    assert_eq!(film.log().len(), 3);
    assert_eq!(outcome.json().iter().filter(|update| update["status"].is_string()).count(), 9, "3 per attempt");
    let last = outcome.only_final();
    assert_eq!(last["status"], "failed");
    assert_eq!(world.show(last["taskId"].as_str().unwrap())["retriesRemaining"], 0);
}

#[test]
fn the_command_line_retries_three_times_and_task_json_never() {
    let (world, origin) = (World::new(), Origin::start());
    let typed = origin.serve("/typed", busy(503));
    let json = origin.serve("/json", busy(503));

    world.get(&[typed.url()]).exits(1);
    world.add(&[json!({"url": json.url()})]);
    world.run().exits(1);

    assert_eq!((typed.log().len(), json.log().len()), (4, 1));
}

#[test]
fn a_closed_port_is_a_network_failure() {
    let world = World::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();

    let outcome = world.get(&[&format!("http://127.0.0.1:{port}/f"), "--retries", "0"]).exits(5);

    assert_eq!(outcome.only_final()["exception"]["type"], "connection");
}

#[test]
fn a_connection_without_an_answer_is_tried_again() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.script("/f", vec![silence(), file(b"x")]);

    world.get(&[film.url()]).exits(0);

    assert_eq!(world.read("f"), b"x");
    assert!((2..=3).contains(&film.log().len()), "{:?}", film.log());
}

#[test]
fn a_short_idle_limit_bounds_the_wait_for_an_answer_too() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/f", file(b"x").head_gate(&gate));

    for flag in ["--timeout-idle", "--timeout-head"] {
        let last = world.get(&[film.url(), flag, "300ms", "--retries", "0"]).exits(5).only_final();
        let said = last["exception"]["description"].as_str().unwrap();
        assert!(said.contains("response limit"), "{flag}: {said}");
    }
}

#[test]
fn a_post_whose_answer_was_lost_is_not_repeated() {
    let (world, origin) = (World::new(), Origin::start());
    let order = origin.serve("/order", silence());

    world.add(&[json!({"url": order.url(), "post": "one pizza", "retries": 3})]);
    let last = world.run().exits(5).only_final();

    assert_eq!(order.log(), ["POST /order"]);
    assert_eq!(order.requests()[0].body, b"one pizza");
    assert_eq!(last["status"], "failed");
    assert!(notes(&last).contains(&"outcome-unknown"), "{last}");
}

#[test]
fn a_post_that_was_turned_away_is_repeated() {
    let (world, origin) = (World::new(), Origin::start());
    let order = origin.script("/order", vec![busy(503), file(b"done")]);

    world.add(&[json!({"url": order.url(), "post": "one pizza", "retries": 3})]);
    world.run().exits(0);

    assert_eq!(order.log(), ["POST /order", "POST /order"]);
    assert_eq!(order.requests()[1].body, b"one pizza");
}

#[test]
fn a_task_that_waits_says_until_when_and_can_be_sent_at_once() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.script("/f", vec![status(503).header("Retry-After", "86400000"), file(b"x")]);
    let running = world.spawn_get(&[film.url()]);
    let id = running.wait_for_status("waitingToRetry");

    let record = world.show(&id);
    world.haul(&["retry", &id]).exits(0);

    assert_eq!(record["status"], "waitingToRetry");
    assert_eq!(record["waiting"]["reason"], "retry");
    let until = record["waiting"]["until"].as_str().unwrap();
    let day = rfc3339_day(std::time::SystemTime::now() + Duration::from_secs(86_400));
    assert_eq!(&until[..10], day, "at most 24 hours: {until}");
    running.finish().exits(0);
    assert_eq!(film.log().len(), 2);
}

#[test]
fn a_busy_server_is_left_alone_by_every_task_of_its_host_and_by_no_other() {
    let (world, origin, other) = (World::new(), Origin::start(), Origin::start());
    let busy = origin.script("/busy", vec![status(429).header("Retry-After", "1"), file(b"x")]);
    let next = origin.serve("/next", file(b"x"));
    let elsewhere = other.serve("/elsewhere", file(b"x"));

    world.get(&[busy.url(), next.url(), elsewhere.url(), "-j", "1"]).exits(0);

    let told = busy.requests()[0].at;
    let waited = (next.requests()[0].at - told).as_secs_f64();
    assert!((1.0..1.9).contains(&waited), "{waited}");
    assert!(elsewhere.requests()[0].at < next.requests()[0].at);
}

#[test]
fn what_moves_bytes_goes_on_while_its_host_is_silent_and_retry_ends_the_silence() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let film = origin.serve("/film", file(&[7; 300_000]).gate(100_000, &gate));
    let busy = origin.script("/busy", vec![status(503).header("Retry-After", "86400"), file(b"x")]);
    let next = origin.serve("/next", file(b"x"));
    world.add(&[
        json!({"taskId": "film", "url": film.url()}),
        json!({"taskId": "busy", "url": busy.url(), "retries": 1}),
        json!({"taskId": "next", "url": next.url()}),
    ]);
    let running = world.spawn(&["--json", "run", "--until-idle", "-j", "2"]);

    world.wait_for_reason("next", "retry-after");
    let until = |id: &str| world.show(id)["waiting"]["until"].as_str().unwrap().to_owned();
    assert!(until("next") < until("busy"), "an hour at most, and not a day");
    let detail = world.show("next")["waiting"]["detail"].to_string();
    assert!(detail.contains(&origin.authority().to_string()), "{detail}");
    gate.open();
    running.wait_for_update(|update| update["taskId"] == "film" && update["status"] == "complete");
    assert!(next.requests().is_empty());

    world.haul(&["retry", "busy"]).exits(0);

    running.finish().exits(0);
    assert_eq!((busy.log().len(), next.log().len()), (2, 1));
}

#[test]
fn a_wait_survives_the_end_of_the_process() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.script("/f", vec![status(503).header("Retry-After", "2"), file(b"x")]);
    let running = world.spawn_get(&[film.url()]);
    running.wait_for_status("waitingToRetry");
    running.kill();

    world.run().exits(0);

    assert_eq!(world.read("f"), b"x");
    assert_waited(&film.requests(), 1.9, 10.0);
}

/// Seconds between the first two requests.
#[track_caller]
fn assert_waited(requests: &[origin::Seen], least: f64, most: f64) {
    let waited = (requests[1].at - requests[0].at).as_secs_f64();
    assert!((least..most).contains(&waited), "waited {waited} s, not {least} to {most}");
}

/// The day of a time as `2026-01-31`.
fn rfc3339_day(time: std::time::SystemTime) -> String {
    let date = httpdate::fmt_http_date(time); // Sun, 06 Nov 1994 08:49:37 GMT
    let month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(&date[8..11]).unwrap() / 3 + 1;
    format!("{}-{month:02}-{}", &date[12..16], &date[5..7])
}

#[test]
fn the_last_progress_says_how_many_bytes_are_there() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(&bytes(1, 1_000_000)).etag("\"v1\"").cut(300_000));

    let outcome = world.get(&[film.url(), "--retries", "0"]).exits(5);

    let progress: Vec<_> = outcome.json().into_iter().filter(|update| update["type"] == "progress").collect();
    let last = progress.last().unwrap();
    assert_eq!((&last["progress"], &last["bytesDone"]), (&json!(-1.0), &json!(300_000)));
}
