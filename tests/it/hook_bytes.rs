//! What no answer of a component brings about: bytes of two versions in one file, a part of a file for the whole, and the loss of
//! bytes that a refusal does not replace.

use serde_json::json;

use crate::support::steered::{asked_of, attach, work, world};
use crate::support::*;

const MIB: usize = 1 << 20;

/// A download that is cut, and then goes on as the component says with what the server answers: it fails, says why, and its
/// bytes stay.
#[track_caller]
fn refused(then: Answer, words: &str, why: &str) {
    let (world, origin) = (world(), Origin::start());
    let content = bytes(1, 3 * MIB);
    let link = origin.script("/f", vec![file(&content).etag("\"a\"").cut(2 * MIB), then]);

    let outcome = work(&world, json!({"url": link.url(), "retries": 1}), &[words, "retry now"]).exits(10);

    let description = outcome.only_final()["exception"]["description"].as_str().unwrap().to_owned();
    assert!(description.contains(why), "{description}");
    assert!(!world.path("in/f").exists());
    assert_eq!(world.show("t")["bytesDone"], 2 * MIB);
}

fn other() -> Answer {
    file(&bytes(2, 3 * MIB)).etag("\"b\"")
}

#[test]
fn a_component_goes_on_by_the_stored_validator_or_not_at_all() {
    refused(other(), "resume go-on \"b\"", "without the stored validator: its `if-range` must be \"a\"");
}

#[test]
fn half_a_file_is_not_complete_because_a_component_says_so() {
    refused(other(), "resume nothing", "nothing says that the stored bytes are all");
    refused(other().ignoring_if_range(), "classify 206 complete", "does not say that the stored bytes are all");
}

#[test]
fn bytes_of_another_version_are_not_joined_because_a_component_says_so() {
    refused(other().ignoring_if_range(), "classify 206 continues", "nothing proves that the response continues");
    refused(other(), "classify 200 continues", "nothing proves that the response continues");
}

#[test]
fn the_second_half_is_not_the_whole_because_a_component_says_so() {
    let same = file(&bytes(1, 3 * MIB)).etag("\"a\"");
    refused(same, "classify 206 whole", "a response 206 does not bring the whole");
}

#[test]
fn a_component_does_not_make_up_a_part() {
    let (world, origin) = (world(), Origin::start());
    let link = origin.serve("/f", file(b"film"));

    let task = json!({"url": link.url(), "retries": 0});
    let outcome = work(&world, task, &["on-request resolve 206 fi content-range=bytes_0-1/4"]).exits(10);

    assert!(outcome.stderr.contains("which only a server can give"), "{}", outcome.stderr);
}

#[test]
fn a_new_signature_of_the_same_url_is_the_same_resource() {
    let (world, origin) = (world(), Origin::start());
    let content = bytes(3, 3 * MIB);
    let whole = file(&content).etag("\"a\"");
    let link = origin.script("/f", vec![whole.clone().cut(2 * MIB), status(403), whole]);

    let words = [&format!("on-response 403-retry 0 {}?signature=2", link.url()), "retry now"];
    let outcome = work(&world, json!({"url": format!("{}?signature=1", link.url())}), &words).exits(0);

    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &content);
    let asked = format!("range: bytes={}-  if-range: \"a\"", 2 * MIB);
    assert!(link.log().last().unwrap().ends_with(&asked), "{:?}", link.log());
    assert_eq!(outcome.only_final()["notes"], json!(["url-changed", "resumed"]));
}

#[test]
fn the_same_validator_proves_nothing_where_more_than_the_signature_of_the_url_changes() {
    let tagged = |content: &[u8]| file(content).etag("\"a\"");
    let dated = |content: &[u8]| {
        file(content).last_modified("Sun, 06 Nov 1994 08:49:37 GMT").header("Date", "Mon, 07 Nov 1994 08:49:37 GMT")
    };
    let (content, other) = (bytes(3, 3 * MIB), bytes(4, 3 * MIB));
    for (one, two, from, to) in [
        (tagged(&content), tagged(&other), "id=A&signature=1", "id=B&signature=2"),
        (dated(&content), dated(&other), "id=A", "id=B"),
        (dated(&content), dated(&other), "signature=1", "signature=2"),
    ] {
        let (world, origin) = (world(), Origin::start());
        let link = origin.script("/f", vec![one.cut(2 * MIB), status(403), two]);

        let words = [&format!("on-error retry 0 {}?{to}", link.url()), "retry now"];
        let outcome = work(&world, json!({"url": format!("{}?{from}", link.url())}), &words).exits(0);

        assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &other);
        let compared = format!("range: bytes={}-", 2 * MIB - (64 << 10));
        assert!(link.log()[2].contains(&compared), "{:?}", link.log());
        assert_eq!(outcome.only_final()["notes"], json!(["url-changed", "restarted-changed"]));
    }
}

#[test]
fn the_same_validator_at_another_path_proves_nothing() {
    let (world, origin) = (world(), Origin::start());
    let (content, other) = (bytes(4, 3 * MIB), bytes(5, 3 * MIB));
    let link = origin.script("/f", vec![file(&content).etag("\"1\"").cut(2 * MIB), status(403)]);
    let elsewhere = origin.serve("/g", file(&other).etag("\"1\""));

    let words = [&format!("on-response 403-retry 0 {}", elsewhere.url()), "retry now"];
    let outcome = work(&world, json!({"url": link.url()}), &words).exits(0);

    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &other);
    let asked = [format!("GET /g  range: bytes={}-  if-range: \"1\"", 2 * MIB - (64 << 10)), "GET /g".to_owned()];
    assert_eq!(elsewhere.log(), asked);
    assert_eq!(outcome.only_final()["notes"], json!(["url-changed", "restarted-changed"]));
}

#[test]
fn the_same_validator_proves_nothing_wherever_a_component_sends_a_later_attempt() {
    for hook in ["on-task-start url", "on-request next"] {
        let (world, origin) = (World::new(), Origin::start());
        let (content, other) = (bytes(4, 3 * MIB), bytes(5, 3 * MIB));
        let link = origin.serve("/f", file(&content).etag("\"1\"").cut(2 * MIB));
        let elsewhere = origin.serve("/g", file(&other).etag("\"1\""));
        // Two thirds come before there is a component.
        let task = json!({"url": link.url(), "retries": 0});
        work(&world, task, &[&format!("{hook} {}", elsewhere.url())]).exits(5);
        attach(&world);

        world.haul(&["retry", "t"]).exits(0);
        let outcome = world.run().exits(0);

        assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &other);
        let notes = &outcome.only_final()["notes"];
        assert!(notes.as_array().unwrap().contains(&json!("restarted-changed")), "{hook}: {notes}");
    }
}

/// A divided download of 6 MiB whose link expires when a third of it is there, and which a component then sends to `/g`. What the
/// old link has not brought by then never comes.
#[track_caller]
fn divided(content: &[u8], there: &[u8]) -> (Outcome, Vec<u8>, Vec<String>) {
    let (world, origin) = (world(), Origin::start());
    let (gate, whole) = (Gate::new(), file(content).etag("\"1\""));
    // The first part waits, the second one is cut, and from then on there is nothing.
    let link = origin.script("/f", vec![whole.clone().gate(MIB, &gate), whole.cut(MIB), status(403)]);
    let elsewhere = origin.serve("/g", file(there).etag("\"1\""));

    let words = ["parts divide 2", &format!("on-error retry 0 {}", elsewhere.url())];
    let outcome = work(&world, json!({"url": link.url(), "chunks": 2}), &words).exits(0);
    (outcome, std::fs::read(world.path("in/f")).unwrap(), elsewhere.log())
}

#[test]
fn the_parts_of_a_divided_file_are_not_joined_to_those_of_another_path_by_an_equal_validator() {
    let (content, other) = (bytes(14, 6 * MIB), bytes(15, 6 * MIB));

    let (outcome, got, asked) = divided(&content, &other);

    assert_same_bytes(&got, &other);
    assert!(outcome.only_final()["notes"].as_array().unwrap().contains(&json!("restarted-changed")));
    assert!(asked.contains(&"GET /g".to_owned()), "the whole is asked for anew: {asked:?}");
}

#[test]
fn the_parts_of_a_divided_file_go_on_at_another_path_that_has_the_same_bytes() {
    let content = bytes(16, 6 * MIB);

    let (outcome, got, asked) = divided(&content, &content);

    assert_same_bytes(&got, &content);
    let proof = format!("GET /g  range: bytes={}-{}  if-range: \"1\"", 4 * MIB - (64 << 10), 4 * MIB - 1);
    assert_eq!(asked[0], proof);
    assert!(asked.iter().all(|line| line.contains("if-range")), "nothing is asked for twice: {asked:?}");
    assert!(outcome.only_final()["notes"].as_array().unwrap().contains(&json!("same-by-overlap")));
}

#[test]
fn connections_that_still_bring_bytes_go_on_when_the_link_of_a_divided_file_expires() {
    let (world, origin) = (world(), Origin::start());
    let (content, gate) = (bytes(16, 6 * MIB), Gate::new());
    let whole = file(&content).etag("\"1\"");
    let link = origin.script("/f", vec![whole.clone().gate(MIB, &gate), status(403)]);
    let rest = format!("bytes={}-{}", 3 * MIB, 6 * MIB - 1);
    let (asked_for, opened) = (rest.clone(), gate.clone());
    let there = whole.unless(move |seen| {
        if seen.header("range") == Some(&asked_for) {
            opened.open();
        }
        None
    });
    let elsewhere = origin.serve("/g", there);

    let words = ["parts divide 2", &format!("on-error retry 0 {}", elsewhere.url())];
    let outcome = work(&world, json!({"url": link.url(), "chunks": 2, "retries": 0}), &words).exits(0);

    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &content);
    assert_eq!(link.log().len(), 2, "the first part is read to its end: {:?}", link.log());
    let asked = elsewhere.log();
    assert_eq!(
        (asked.len(), &asked[1]),
        (2, &format!("GET /g  range: {rest}  if-range: \"1\"")),
        "after the proof: {asked:?}"
    );
    assert_eq!(asked_of(&outcome, "on-error").len(), 1);
    assert_eq!(outcome.only_final()["notes"], json!(["url-changed", "same-by-overlap"]));
}

#[test]
fn a_part_that_fails_at_a_link_that_was_replaced_meanwhile_is_asked_for_at_the_new_one() {
    let (world, origin) = (world(), Origin::start());
    let (content, gate) = (bytes(16, 6 * MIB), Gate::new());
    let whole = file(&content).etag("\"1\"");
    let link = origin.script("/f", vec![whole.clone().gate(MIB, &gate).cut(2 * MIB), status(403)]);
    let opened = gate.clone();
    let there = whole.unless(move |_| {
        opened.open();
        None
    });
    let elsewhere = origin.serve("/g", there);

    let words = ["parts divide 2", &format!("on-error retry 0 {}", elsewhere.url())];
    let outcome = work(&world, json!({"url": link.url(), "chunks": 2, "retries": 0}), &words).exits(0);

    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &content);
    assert_eq!((link.log().len(), asked_of(&outcome, "on-error").len()), (2, 1), "{}", outcome.stderr);
    assert!(elsewhere.log().iter().any(|line| line.contains(&format!("bytes={}-", 2 * MIB))), "{:?}", elsewhere.log());
}

#[test]
fn a_task_that_has_failed_begins_anew_with_the_url_and_the_headers_that_were_given() {
    for again in ["retry", "get"] {
        let (world, origin) = (world(), Origin::start());
        let link = origin.script("/f", vec![status(403), file(b"film")]);
        let elsewhere = origin.serve("/g", status(403));
        let words = format!("on-error retry 0 {} x-stale=1", elsewhere.url());
        let get = || world.get(&[link.url(), "--metadata", &words, "--retries", "1"]);
        get().exits(4);

        match again {
            "get" => get().exits(0),
            _ => {
                world.haul(&["retry", "--all"]).exits(0);
                world.run().exits(0)
            }
        };

        assert_eq!((link.log().len(), elsewhere.log().len()), (2, 1), "{again}");
        assert_eq!(link.requests()[1].header("x-stale"), None, "{again}");
    }
}

#[test]
fn bytes_of_the_url_of_a_component_are_compared_when_the_task_begins_anew() {
    let (content, other) = (bytes(4, 3 * MIB), bytes(5, 3 * MIB));
    for (path, at_last, note) in [
        ("/g", &content, "same-by-overlap"),
        ("/f?id=2", &content, "same-by-overlap"),
        ("/g", &other, "restarted-changed"),
    ] {
        let (world, origin) = (world(), Origin::start());
        let tagged = |content: &[u8]| file(content).etag("\"1\"");
        let (cut, last) = (tagged(&content).cut(2 * MIB), tagged(at_last));
        let answers = if path == "/g" { vec![status(403), last] } else { vec![status(403), cut.clone(), last] };
        let given = origin.script("/f", answers);
        origin.serve("/g", cut);

        let words = format!("on-error retry 0 {}", origin.url(path));
        work(&world, json!({"url": given.url(), "retries": 1}), &[&words]).exits(5);
        world.haul(&["retry", "t"]).exits(0);
        let outcome = world.run().exits(0);

        assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), at_last);
        let compared = format!("GET /f  range: bytes={}-  if-range: \"1\"", 2 * MIB - (64 << 10));
        assert!(given.log().contains(&compared), "{path}: {:?}", given.log());
        let notes = &outcome.only_final()["notes"];
        assert!(notes.as_array().unwrap().contains(&json!(note)), "{path}: {notes}");
    }
}

#[test]
fn a_refusal_takes_no_bytes_away_even_where_they_cannot_be_gone_on_with() {
    let (world, origin) = (world(), Origin::start());
    let content = bytes(6, 3 * MIB);
    // Without a validator: the link would have to be read from the first byte, but it has expired.
    let link = origin.script("/f", vec![file(&content).cut(2 * MIB), status(403)]);
    let fresh = origin.serve("/g", file(&content));

    let words = [&format!("on-response 403-retry 0 {}", fresh.url()), "retry now"];
    let outcome = work(&world, json!({"url": link.url()}), &words).exits(0);

    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &content);
    assert_eq!(fresh.log(), [format!("GET /g  range: bytes={MIB}-")]);
    assert_eq!(outcome.only_final()["notes"], json!(["url-changed", "same-by-overlap", "resumed"]));
}

#[test]
fn a_component_that_refuses_to_go_on_ends_the_task_and_takes_no_bytes() {
    let (world, origin) = (world(), Origin::start());
    let link = origin.script("/f", vec![file(&bytes(7, 3 * MIB)).etag("\"a\"").cut(2 * MIB), file(b"other")]);

    let outcome = work(&world, json!({"url": link.url()}), &["resume refuse", "retry now"]).exits(1);

    let record = world.show("t");
    assert_eq!((&record["status"], &record["bytesDone"]), (&json!("failed"), &json!(2 * MIB)));
    assert_eq!(
        outcome.only_final()["exception"]["description"],
        "component `steered` in `resume`: not from half a film"
    );
    assert_eq!(link.log().len(), 1, "nothing more is asked");
}

#[test]
fn what_its_owner_sends_goes_to_another_origin_only_where_a_component_was_granted_that() {
    let hooks = ["on-task-start url", "on-request next", "on-error retry 0", "on-response 500-retry 0"];
    for words in hooks {
        for granted in [false, true] {
            let (world, origin, other) = (World::new(), Origin::start(), Origin::start());
            let elsewhere = other.serve("/f", status(200));
            let place = elsewhere.url().trim_end_matches("/f").trim_start_matches("http://").to_owned();
            let grant = if granted { format!("allow-hosts = [\"{place}\"]\n") } else { String::new() };
            let steered = components::component("steered");
            world.config(&format!("[[callbacks]]\nname = \"steered\"\npath = {steered:?}\n{grant}"));
            let link = origin.serve("/f", status(500));

            let task = json!({"taskType": "DataTask", "httpRequestMethod": "PUT", "url": link.url(), "post": "mine"});
            let outcome = work(&world, task, &[&format!("{words} {}", elsewhere.url()), "retry now"]);

            let bodies: Vec<_> = elsewhere.requests().iter().map(|seen| seen.body.clone()).collect();
            let expected: &[&[u8]] = if granted { &[b"mine"] } else { &[] };
            assert_eq!(bodies, expected, "{words}: {}", outcome.stderr);
        }
    }
}

#[test]
fn the_login_of_a_url_goes_along_to_another_of_its_origin() {
    let (world, origin) = (world(), Origin::start());
    let link = origin.serve("/g", file(b"film"));
    let given = origin.url("/f").replace("http://", "http://user:word@");

    let task = json!({"url": given, "headers": {"X-Own": "1"}});
    work(&world, task, &[&format!("on-task-start url {}", link.url())]).exits(0);

    let request = &link.requests()[0];
    assert_eq!(request.header("x-own"), Some("1"));
    assert_eq!(request.header("authorization"), Some("Basic dXNlcjp3b3Jk"));
}
