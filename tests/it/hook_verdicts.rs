//! What verdicts of hooks lead to: answers without a server, changed requests, redirects, refusals, new links, and what no
//! component can lift.

use serde_json::json;

use crate::support::steered::{add, asked_of, counts, work, world};
use crate::support::*;

const MIB: usize = 1 << 20;

#[test]
fn a_response_of_a_component_is_the_file_and_nothing_is_sent() {
    let (world, origin) = (world(), Origin::start());
    let task = json!({"url": origin.url("/f"), "checksum": format!("sha-256={}", sha256(b"cached"))});

    let outcome = work(&world, task, &["on-request resolve 200 cached"]).exits(0);

    let ended = outcome.only_final();
    assert_eq!(std::fs::read(world.path("in/f")).unwrap(), b"cached");
    assert_eq!(ended["notes"], json!(["answered-by-component"]));
    assert_eq!(origin.connections(), 0);
    assert_eq!(counts(&outcome).get("on-response"), None, "it did not say `follow`");
    assert_eq!(counts(&outcome).get("verify"), Some(&1));
}

#[test]
fn a_task_that_a_component_ends_as_complete_tells_why_there_is_no_file() {
    let (world, origin) = (world(), Origin::start());

    let outcome = work(&world, json!({"url": origin.url("/f")}), &["before-task-start complete"]).exits(0);

    let ended = outcome.only_final();
    assert_eq!((&ended["status"], &ended["notes"]), (&json!("complete"), &json!(["answered-by-component"])));
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_task_that_a_component_ends_as_complete_has_the_file_that_it_names_below_its_directory() {
    let (world, origin) = (world(), Origin::start());
    let there = world.path("in/sub/mine.txt");
    std::fs::create_dir_all(there.parent().unwrap()).unwrap();
    std::fs::write(&there, "here").unwrap();
    std::fs::write(world.path("in/other.txt"), "not below the task's directory").unwrap();

    for (id, named, expected) in [
        ("mine", "sub/mine.txt", json!(there.to_str().unwrap())),
        ("gone", "sub/gone.txt", json!(null)),
        ("other", "other.txt", json!(null)),
        ("outside", "sub/../../secret", json!(null)),
        ("anywhere", "/etc/passwd", json!(null)),
    ] {
        let task = json!({"url": origin.url("/f"), "taskId": id, "directory": "sub"});
        work(&world, task, &[&format!("before-task-start complete {named}")]).exits(0);
        assert_eq!(world.show(id)["filePath"], expected, "{named}");
    }
}

#[test]
fn a_response_of_a_component_is_checked_like_any_other() {
    let (world, origin) = (world(), Origin::start());
    let task = json!({"url": origin.url("/f"), "checksum": format!("sha-256={}", sha256(b"another"))});

    let outcome = work(&world, task, &["on-request resolve 200 cached x-a=1 follow"]).exits(7);

    assert_eq!(outcome.only_final()["exception"]["type"], "checksum");
    assert_eq!(names_in(&world), [] as [&str; 0]);
    assert_eq!(asked_of(&outcome, "on-response").first().map(String::as_str), Some("200 0 bytes"));
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_request_is_answered_by_a_component() {
    let (world, origin) = (world(), Origin::start());
    let task = json!({"taskType": "DataTask", "url": origin.url("/p")});

    let outcome = work(&world, task, &["on-request resolve 404 nothing content-type=text/plain"]).exits(3);

    let ended = outcome.only_final();
    assert_eq!((&ended["status"], &ended["responseBody"]), (&json!("notFound"), &json!("nothing")));
    assert_eq!(ended["mimeType"], "text/plain");
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_request_is_rejected_and_on_error_is_asked_where_that_is_wanted() {
    let (world, origin) = (world(), Origin::start());
    let words = |follow: &str| format!("on-request reject{follow}");

    let silent = work(&world, json!({"url": origin.url("/f"), "retries": 0}), &[&words("")]).exits(1);
    let task = json!({"url": origin.url("/f"), "taskId": "u", "retries": 0});
    let told = work(&world, task, &[&words(" follow")]).exits(1);

    assert_eq!((asked_of(&silent, "on-error").len(), asked_of(&told, "on-error").len()), (0, 1));
    assert_eq!((asked_of(&silent, "retry").len(), asked_of(&told, "retry").len()), (1, 1));
    assert_eq!(
        silent.only_final()["exception"]["description"],
        "component `steered` in `on-request`: rejected request"
    );
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_request_is_changed_and_what_the_host_alone_writes_is_not() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.serve("/f", file(b"film"));
    let other = origin.serve("/g", file(b"other"));

    let words = format!("on-request next {} x-a=1", other.url());
    work(&world, json!({"url": film.url(), "headers": {"X-Mine": "2"}}), &[&words]).exits(0);

    let request = &other.requests()[0];
    assert_eq!((request.header("x-a"), request.header("x-mine")), (Some("1"), Some("2")));
    assert_eq!(std::fs::read(world.path("in/f")).unwrap(), b"other", "the name is by the task's URL");
    for (name, value) in [("range", "bytes=1-"), ("expect", "100-continue")] {
        let task = json!({"url": film.url(), "taskId": name, "retries": 0});
        let refused = work(&world, task, &[&format!("on-request next - {name}={value}")]).exits(10);

        let exception = &refused.only_final()["exception"];
        assert_eq!(exception["type"], "callback");
        let why = format!("header `{name}`, which the host alone writes: leave it out");
        assert!(exception["description"].as_str().unwrap().ends_with(&why), "{exception}");
    }
    assert_eq!(film.log().len(), 0);
}

#[test]
fn credentials_do_not_leave_their_origin_whatever_a_component_says() {
    let (world, origin, other) = (world(), Origin::start(), Origin::start());
    let film = origin.serve("/f", redirect(302, &other.url("/g")));
    let away = other.serve("/g", file(b"film"));
    let back = origin.serve("/h", file(b"film"));
    let headers = json!({"Authorization": "Bearer secret", "X-Mine": "2"});
    let task = |id: &str, url: &str| json!({"url": url, "taskId": id, "headers": headers});

    // It puts them back at each hop, at the redirect, and sends the first request elsewhere.
    let restores = "- authorization=Bearer_secret x-mine=2 cookie=a=1 x-new=3";
    work(&world, task("a", film.url()), &[&format!("on-request next {restores}")]).exits(0);
    work(&world, task("b", film.url()), &[&format!("on-redirect with {restores}")]).exits(0);
    work(&world, task("c", back.url()), &[&format!("on-request next {}", away.url())]).exits(0);
    work(&world, task("d", back.url()), &[&format!("on-task-start url {}", away.url())]).exits(0);

    assert_eq!(away.requests().len(), 4);
    for (request, has_new) in away.requests().iter().zip([true, true, false, false]) {
        for name in ["authorization", "x-mine", "cookie"] {
            assert_eq!(request.header(name), None, "{:?}", request.headers);
        }
        assert_eq!(request.header("x-new").is_some(), has_new, "what is no secret of the task's may go");
    }
}

#[test]
fn what_is_the_tasks_goes_to_another_origin_by_no_answer_and_what_a_new_link_needs_does() {
    let (origin, other) = (Origin::start(), Origin::start());
    let film = origin.serve("/f", status(403));
    let away = other.serve("/g", file(b"film"));
    let headers = json!({"Authorization": "sesame-open", "X-Mine": "mine-alone", "Cookie": "a=1"});
    let task = || json!({"url": film.url(), "headers": headers, "retries": 1});
    let repeats = "authorization=sesame-open x-mine=2 cookie=b=2 x-other=mine-alone x-long=[sesame-open] x-new=3";
    let leaders = ["on-task-start url", "on-request next", "on-error retry 0", "on-response 403-retry 0"];
    for leader in leaders {
        work(&world(), task(), &[&format!("{leader} {} {repeats}", away.url()), "retry now"]).exits(0);
    }
    let first = format!("on-task-start url {}", away.url());
    work(&world(), task(), &[&first, &format!("on-request next - {repeats}")]).exits(0);

    let fresh = format!("{} authorization=of-the-new-link", away.url());
    work(&world(), task(), &[&format!("on-error retry 0 {fresh}"), "retry now"]).exits(0);

    let seen = away.requests();
    assert_eq!(seen.len(), 6);
    for request in &seen[..5] {
        for name in ["authorization", "x-mine", "cookie", "x-other", "x-long"] {
            assert_eq!(request.header(name), None, "{:?}", request.headers);
        }
        assert_eq!(request.header("x-new"), Some("3"));
    }
    assert_eq!(seen[5].header("authorization"), Some("of-the-new-link"));
}

#[test]
fn headers_for_one_new_link_do_not_go_along_to_the_next_one() {
    let (world, origin, one, two) = (world(), Origin::start(), Origin::start(), Origin::start());
    let film = origin.serve("/f", status(403));
    let first = one.serve("/g", status(500));
    let last = two.serve("/f", file(b"film"));
    let words = [
        format!("on-response 403-retry 0 {} authorization=of-one", first.url()),
        format!("on-error retry 0 {}", last.url()),
    ];
    work(&world, json!({"url": film.url(), "retries": 2}), &[&words[0], &words[1]]).exits(0);

    assert_eq!(first.requests()[0].header("authorization"), Some("of-one"));
    assert_eq!(last.requests()[0].header("authorization"), None);
}

#[test]
fn a_note_says_that_a_component_has_changed_the_url_and_only_then() {
    let origin = Origin::start();
    let there = origin.serve("/there", file(b"film"));
    let moves = origin.serve("/moves", redirect(302, "/there"));
    let after = |words: &str| {
        let film = origin.script("/f", vec![status(403), file(b"film")]);
        let start = if words.starts_with("on-redirect") { moves.url() } else { film.url() };
        let words = words.replace("SAME", film.url()).replace("THERE", &format!("{}?2", there.url()));
        let outcome = work(&world(), json!({"url": start, "filename": "f", "retries": 1}), &[&words, "retry now"]);
        outcome.exits(0).only_final()["notes"] == json!(["url-changed"])
    };
    for words in
        ["on-error retry 0", "on-response 403-retry 0 - x-a=1", "on-task-start url SAME", "on-request next - x-a=1"]
    {
        assert!(!after(words), "{words}");
    }
    for words in
        ["on-error retry 0 THERE", "on-task-start url THERE", "on-request next THERE", "on-redirect with THERE"]
    {
        assert!(after(words), "{words}");
    }
}

#[test]
fn a_component_leads_nobody_from_https_to_http() {
    let (world, identity) = (world(), Identity::new());
    let (secure, plain) = (Origin::start_tls(&identity), Origin::start());
    let (film, hop) = (secure.serve("/f", file(b"x")), secure.serve("/h", redirect(302, "/f")));
    let away = plain.serve("/away", file(b"x"));
    let authority = world.write("ca.pem", &identity.certificate);
    let run = ["--json", "run", "--until-idle", "--cacert", authority.to_str().unwrap()];

    for (id, url, hook, verdict) in [
        ("a", film.url(), "on-request", "next"),
        ("b", hop.url(), "on-redirect", "with"),
        ("c", film.url(), "on-task-start", "url"),
        ("d", film.url(), "on-response", "retry 0"),
    ] {
        add(&world, json!({"url": url, "taskId": id, "retries": 0}), &[&format!("{hook} {verdict} {}", away.url())]);
        let outcome = world.haul(&run).exits(10);
        let ended = outcome.only_final();
        let why = ended["exception"]["description"].as_str().unwrap();
        let refusal = format!("component `steered` gave an unusable answer in `{hook}`: the URL `{}`", away.url());
        assert!(why.starts_with(&refusal) && why.ends_with("it must be of https, too"), "{why}");
    }

    assert_eq!(plain.connections(), 0);
}

#[test]
fn a_redirect_is_followed_otherwise_stopped_at_or_refused() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.serve("/f", redirect(302, "/g"));
    let given = origin.serve("/g", file(b"given"));
    let other = origin.serve("/h", file(b"other"));
    let task = |id: &str| json!({"url": film.url(), "taskId": id, "filename": id, "acceptStatus": ["2xx", "302"]});

    work(&world, task("a"), &[&format!("on-redirect with {} x-a=1", other.url())]).exits(0);
    let stopped = work(&world, task("b"), &["on-redirect stop"]).exits(0);
    let refused = work(&world, task("c"), &["on-redirect reject", "retry now"]).exits(1);

    assert_eq!(std::fs::read(world.path("in/a")).unwrap(), b"other");
    assert_eq!(other.requests()[0].header("x-a"), Some("1"));
    assert_eq!(stopped.only_final()["responseStatusCode"], 302);
    assert_eq!(
        refused.only_final()["exception"]["description"],
        "component `steered` in `on-redirect`: rejected redirect"
    );
    assert_eq!(asked_of(&refused, "on-error").len(), 4, "each of the four attempts");
    assert_eq!(given.log().len(), 0);
}

#[test]
fn redirects_of_a_component_count_like_others() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.serve("/f", redirect(302, "/g"));
    origin.serve("/g", redirect(302, "/f"));

    let words = format!("on-redirect with {}", origin.url("/g?again"));
    let outcome = work(&world, json!({"url": film.url(), "maxRedirects": 3, "retries": 0}), &[&words]).exits(1);

    assert!(origin.requests().len() <= 4, "{:?}", origin.log());
    assert!(outcome.only_final()["exception"]["description"].as_str().unwrap().contains("redirect"));
}

#[test]
fn an_error_counts_as_success_where_a_component_says_so() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.serve("/f", status(500).body(b"fine after all"));

    work(&world, json!({"url": film.url()}), &["on-response resolve"]).exits(0);
    work(&world, json!({"url": film.url(), "taskId": "u"}), &["on-response status 200"]).exits(0);

    assert_eq!(std::fs::read(world.path("in/f")).unwrap(), b"fine after all", "the preview has taken nothing away");
    assert_eq!(std::fs::read(world.path("in/f (1)")).unwrap(), b"fine after all");
    assert_eq!(film.log().len(), 2);
}

#[test]
fn a_success_is_rejected_and_what_says_which_bytes_came_cannot_be_changed() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.serve("/f", file(b"film").etag("\"v1\""));
    let error = origin.serve("/e", status(500).body(b"why"));
    let task = |id: &str, url: &str| json!({"url": url, "taskId": id, "retries": 0});

    let rejected = work(&world, task("a", film.url()), &["on-response reject"]).exits(1);
    let told = work(&world, task("b", error.url()), &["on-response reject follow"]).exits(1);
    let partial = work(&world, task("c", film.url()), &["on-response status 206"]).exits(10);
    work(&world, task("d", film.url()), &["on-response header content-length=3 x-a=1"]).exits(0);

    assert_eq!(rejected.only_final()["exception"]["description"], "component `steered` in `on-response`: rejected ");
    assert_eq!(asked_of(&rejected, "on-error").len(), 0);
    let ended = told.only_final();
    assert_eq!(
        (&ended["exception"]["description"], &ended["responseBody"]),
        (&json!("component `steered` in `on-response`: rejected why"), &json!("why"))
    );
    assert_eq!(asked_of(&told, "on-error").len(), 1);
    assert_eq!(partial.only_final()["exception"]["type"], "callback");
    assert_eq!(std::fs::read(world.path("in/f")).unwrap(), b"film");
}

#[test]
fn a_failure_becomes_a_success_by_on_error() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.serve("/f", file(&bytes(1, 400_000)).etag("\"v1\"").cut(300_000));

    let outcome = work(&world, json!({"url": film.url()}), &["on-error resolve 200 fallback"]).exits(0);

    assert_eq!(std::fs::read(world.path("in/f")).unwrap(), b"fallback");
    let notes = outcome.only_final()["notes"].to_string();
    assert!(notes.contains("answered-by-component"), "{notes}");
    assert_eq!((film.log().len(), asked_of(&outcome, "retry").len()), (1, 0));
}

#[test]
fn on_error_says_what_the_failure_is() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.serve("/f", status(500));

    let outcome = work(&world, json!({"url": film.url(), "retries": 0}), &["on-error reject"]).exits(1);

    let exception = &outcome.only_final()["exception"];
    assert_eq!(
        (&exception["type"], &exception["description"]),
        (&json!("general"), &json!("component `steered` in `on-error`: rejected error"))
    );
}

#[test]
fn another_attempt_uses_up_a_retry_and_there_is_none_without() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.serve("/f", status(403));

    let none = work(&world, json!({"url": film.url(), "retries": 0}), &["on-error retry 0"]).exits(4);
    let two = json!({"url": film.url(), "taskId": "u", "retries": 2});
    let two = work(&world, two, &["on-error retry 0 - x-again=1"]).exits(4);

    assert_eq!(none.only_final()["exception"]["httpResponseCode"], 403);
    assert_eq!(asked_of(&two, "on-error").len(), 3);
    assert_eq!(asked_of(&two, "retry").len(), 0, "the component has decided");
    let again: Vec<_> = film.requests().iter().map(|seen| seen.header("x-again").is_some()).collect();
    assert_eq!(again, [false, false, true, true]);
}

/// An old link that expires after so many bytes, and a new one elsewhere.
fn moved(old: &[u8], new: Answer) -> (World, Origin, Resource, Origin, Resource) {
    let (world, origin, elsewhere) = (world(), Origin::start(), Origin::start());
    let cut = file(old).etag("\"old\"").cut(3 * MIB);
    let link = origin.script("/f", vec![cut, status(403)]);
    let fresh = elsewhere.serve("/signed", new);
    (world, origin, link, elsewhere, fresh)
}

/// An attempt that ends in the middle, one that is refused, and one at the new link.
#[track_caller]
fn work_moved(world: &World, link: &Resource, fresh: &Resource) -> Outcome {
    let words = [&format!("on-response 403-retry 0 {}", fresh.url()), "retry now"];
    work(world, json!({"url": link.url(), "headers": {"Authorization": "Bearer x"}}), &words).exits(0)
}

#[test]
fn an_expired_link_is_replaced_by_one_elsewhere_where_validator_and_the_last_bytes_are_the_same() {
    let content = bytes(4, 4 * MIB);
    let (world, _origin, link, _elsewhere, fresh) = moved(&content, file(&content).etag("\"old\""));

    let outcome = work_moved(&world, &link, &fresh);

    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &content);
    assert_eq!(fresh.log(), [format!("GET /signed  range: bytes={}-  if-range: \"old\"", 3 * MIB - (64 << 10))]);
    assert_eq!(fresh.requests()[0].header("authorization"), None, "that is for the task's own origin");
    assert_eq!(outcome.only_final()["resumedFrom"], 3 * MIB);
    assert_eq!(outcome.only_final()["notes"], json!(["url-changed", "same-by-overlap", "resumed"]));
}

/// What the new link is asked: whether it is still the stored version, and where that is not said, for the last MiB.
fn compared() -> [String; 2] {
    let under_tag = format!("GET /signed  range: bytes={}-  if-range: \"old\"", 3 * MIB - (64 << 10));
    [under_tag, format!("GET /signed  range: bytes={}-", 2 * MIB)]
}

#[test]
fn no_strong_validator_at_the_new_link_is_no_matter_where_the_last_mib_is_the_same() {
    let content = bytes(5, 4 * MIB);
    for new in [file(&content), file(&content).etag("W/\"new\"")] {
        let (world, _origin, link, _elsewhere, fresh) = moved(&content, new);

        let outcome = work_moved(&world, &link, &fresh);

        assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &content);
        assert_eq!(fresh.log(), compared());
        assert_eq!(outcome.only_final()["notes"], json!(["url-changed", "same-by-overlap", "resumed"]));
    }
}

#[test]
fn another_strong_validator_at_the_new_link_is_another_version_whatever_the_last_mib_is() {
    let content = bytes(5, 4 * MIB);
    let mut other = content.clone();
    other[0] ^= 1;
    let (world, _origin, link, _elsewhere, fresh) = moved(&content, file(&other).etag("\"new\""));

    let outcome = work_moved(&world, &link, &fresh);

    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &other);
    assert_eq!(fresh.log(), compared()[..1], "its answer to that is the whole");
    assert_eq!(outcome.only_final()["notes"], json!(["url-changed", "restarted-changed"]));
}

#[test]
fn another_strong_validator_at_the_new_link_is_no_matter_where_a_checksum_tells() {
    let content = bytes(5, 4 * MIB);
    let (world, _origin, link, _elsewhere, fresh) = moved(&content, file(&content).etag("\"new\""));

    let words = [&format!("on-response 403-retry 0 {}", fresh.url()), "retry now"];
    let checksum = format!("sha-256={}", sha256(&content));
    let outcome = work(&world, json!({"url": link.url(), "checksum": checksum}), &words).exits(0);

    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &content);
    assert_eq!(fresh.log(), compared());
    assert_eq!(outcome.only_final()["notes"], json!(["url-changed", "same-by-overlap", "resumed"]));
}

#[test]
fn other_bytes_at_the_new_link_are_never_joined() {
    let content = bytes(6, 4 * MIB);
    let mut other = content.clone();
    other[3 * MIB - 1] ^= 1;
    let (world, _origin, link, _elsewhere, fresh) = moved(&content, file(&other));

    let outcome = work_moved(&world, &link, &fresh);

    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &other);
    assert_eq!(fresh.log().last().unwrap(), "GET /signed", "the whole, from the first byte");
    assert_eq!(outcome.only_final()["notes"], json!(["url-changed", "restarted-changed"]));
}

#[test]
fn another_length_at_the_new_link_is_another_file() {
    let content = bytes(7, 4 * MIB);
    let longer = [content.as_slice(), b"more"].concat();
    let (world, _origin, link, _elsewhere, fresh) = moved(&content, file(&longer).etag("\"new\""));

    work_moved(&world, &link, &fresh);

    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &longer);
}

#[test]
fn bytes_without_a_validator_are_proved_at_the_new_link_as_well() {
    let content = bytes(8, 4 * MIB);
    let (world, origin, elsewhere) = (world(), Origin::start(), Origin::start());
    let link = origin.serve("/f", file(&content).cut(3 * MIB));
    let fresh = elsewhere.serve("/signed", file(&content));

    let words = format!("on-error retry 0 {}", fresh.url());
    work(&world, json!({"url": link.url()}), &[&words]).exits(0);

    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &content);
    assert_eq!(fresh.log(), [format!("GET /signed  range: bytes={}-", 2 * MIB)]);
}

#[test]
fn a_killed_engine_goes_on_with_the_new_link() {
    let content = bytes(9, 4 * MIB);
    let gate = Gate::new();
    let gated = file(&content).etag("\"old\"").gate(MIB / 2, &gate);
    let (world, _origin, link, _elsewhere, fresh) = moved(&content, gated);
    let words = [&format!("on-response 403-retry 0 {}", fresh.url()), "retry now"];
    add(&world, json!({"url": link.url()}), &words);

    let running = world.spawn(&["--json", "run", "--until-idle"]);
    gate.wait_for(1);
    running.kill();
    fresh.now(vec![file(&content).etag("\"old\"")]);
    let before = link.log().len();
    world.run().exits(0);

    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &content);
    assert_eq!(link.log().len(), before, "the old link is not asked again");
    assert_eq!(fresh.log().len(), 2);
}

#[test]
fn the_parts_of_a_divided_download_get_the_new_link() {
    let (world, origin, elsewhere) = (world(), Origin::start(), Origin::start());
    let content = bytes(10, 600_000);
    let link = origin.script("/f", vec![file(&content).etag("\"v1\"").pace(400_000), status(403)]);
    let fresh = elsewhere.serve("/signed", file(&content).etag("\"v1\""));

    let words = ["parts divide 3", &format!("on-error retry 0 {}", fresh.url())];
    let outcome = work(&world, json!({"url": link.url(), "chunks": 3}), &words).exits(0);

    assert_same_bytes(&std::fs::read(world.path("in/f")).unwrap(), &content);
    assert!(fresh.log().iter().all(|line| line.contains("if-range: \"v1\"")), "{:?}", fresh.log());
    assert!(asked_of(&outcome, "on-error").iter().all(|about| about.contains(" part ")), "{}", outcome.stderr);
    assert!(!fresh.log().is_empty());
}

#[test]
fn a_file_that_a_component_refuses_is_removed_and_not_tried_again() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.serve("/f", file(b"a virus"));

    let task = json!({"url": film.url(), "filename": "f", "checksum": format!("md5={}", "0".repeat(32))});
    work(&world, json!({"url": film.url()}), &["verify refuse"]).exits(1);
    let wrong = json!({"taskId": "u", "checksum": task["checksum"], "url": film.url(), "retries": 0});
    let wrong = work(&world, wrong, &["verify refuse"]).exits(7);

    let record = world.show("t");
    assert_eq!((&record["status"], &record["exception"]["type"]), (&json!("failed"), &json!("policy")));
    assert_eq!(record["exception"]["description"], "component `steered` in `verify`: it looks wrong");
    assert_eq!(asked_of(&wrong, "verify").len(), 0, "the host's own checks come first");
    assert_eq!(names_in(&world), [] as [&str; 0]);
}

#[test]
fn progress_is_looked_at_now_and_then_and_may_end_a_task() {
    let (world, origin) = (world(), Origin::start());
    let slow = file(&bytes(11, 2_000_000)).etag("\"v1\"").pace(400_000);
    let film = origin.serve("/f", slow);

    let paused = work(&world, json!({"url": film.url(), "allowPause": true}), &["on-progress pause"]);
    let task = json!({"url": film.url(), "taskId": "u", "allowPause": true});
    let canceled = work(&world, task, &["on-progress cancel"]);

    assert_eq!(world.show("t")["status"], "paused", "{}", paused.stderr);
    assert_eq!(world.show("u")["status"], "canceled", "{}", canceled.stderr);
    assert_eq!((asked_of(&paused, "on-progress").len(), asked_of(&canceled, "on-progress").len()), (1, 1));
    assert!(world.show("t")["bytesDone"].as_u64() > Some(0));
    let why = &world.show("u")["exception"]["description"];
    assert_eq!(why, "the task was cancelled: component `steered` in `on-progress`");
}

#[test]
fn a_task_that_a_component_has_paused_says_so_until_it_is_resumed() {
    let (world, origin) = (world(), Origin::start());
    let film = origin.serve("/f", file(&bytes(11, 2_000_000)).etag("\"v1\"").pace(400_000));
    let by = "component `steered` in `on-progress`";
    let last = |world: &World| world.events().pop().unwrap();

    work(&world, json!({"url": film.url(), "allowPause": true}), &["on-progress pause"]);

    let told = world.haul(&["events"]).stdout;
    assert!(told.ends_with(&format!("  paused by {by}\n")), "{told}");
    for record in [world.show("t"), world.list().remove(0), last(&world)] {
        assert_eq!((&record["status"], &record["pausedBy"]), (&json!("paused"), &json!(by)), "{record}");
    }
    let shown = world.haul(&["show", "t"]).stdout;
    assert!(shown.lines().any(|line| line.starts_with("pausedBy") && line.ends_with(by)), "{shown}");
    world.haul(&["resume", "t"]).exits(0);
    assert_eq!(world.show("t")["pausedBy"], json!(null));
    world.haul(&["pause", "t"]).exits(0);
    assert_eq!(world.show("t")["status"], "paused");
    assert!(world.show("t")["pausedBy"].is_null() && last(&world)["pausedBy"].is_null(), "somebody has asked for it");
}

/// What is in the directory of downloads, part files too.
fn names_in(world: &World) -> Vec<String> {
    crate::support::world::names_in(&world.path("in"))
}
