//! `haul request` and data tasks: methods, bodies, queries, and what becomes of the answer.

use serde_json::{Value, json};

use crate::support::*;

#[test]
fn the_body_of_the_answer_goes_to_stdout_whole_and_exact() {
    let (world, origin) = (World::new(), Origin::start());
    let long = origin.serve("/long", status(200).body("zeile ✓\n".repeat(20_000).as_bytes()));
    let lost = origin.serve("/lost", status(404).body(b"no such thing"));

    let outcome = world.haul(&["request", long.url()]).exits(0);
    let missing = world.haul(&["request", lost.url()]).exits(3);

    assert_eq!(outcome.stdout, "zeile ✓\n".repeat(20_000));
    assert_eq!(outcome.stderr, "");
    assert_eq!(missing.stdout.trim_end(), "no such thing");
    assert_eq!(world::names_in(&world.home().join("responses")), Vec::<String>::new(), "nothing waits in the home");
}

#[test]
fn each_method_sends_what_was_given() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/r", status(200));
    world.write("body.json", "{\"from\": \"file\"}");
    let cases: [(&[&str], &str, &str, Option<&str>); 10] = [
        (&[], "GET", "", None),
        (&["--method", "HEAD"], "HEAD", "", None),
        (&["-X", "delete"], "DELETE", "", None),
        (&["-X", "OPTIONS"], "OPTIONS", "", None),
        (&["-X", "m-search", "--data-json", "{}"], "M-SEARCH", "{}", Some("application/json")),
        (&["--data", "text ✓"], "POST", "text ✓", Some("text/plain; charset=utf-8")),
        (&["--data", ""], "POST", "", Some("text/plain; charset=utf-8")),
        (&["--data-json", "{\"a\": 1}", "--method", "PATCH"], "PATCH", "{\"a\": 1}", Some("application/json")),
        (&["--data", "@body.json", "-H", "Content-Type: x/y"], "POST", "{\"from\": \"file\"}", Some("x/y")),
        (
            &["--form", "a=1 2", "--form", "a=&", "--method", "PUT"],
            "PUT",
            "a=1%202&a=%26",
            Some("application/x-www-form-urlencoded"),
        ),
    ];
    for (flags, method, body, content_type) in cases {
        world.haul(&[&["request", sink.url()], flags].concat()).exits(0);
        let request = sink.requests().pop().unwrap();
        let seen =
            (request.method.as_str(), std::str::from_utf8(&request.body).unwrap(), request.header("content-type"));
        assert_eq!(seen, (method, body, content_type));
    }
    let piped = world.haul_reading(&["request", sink.url(), "--data", "@-"], "from stdin").exits(0);
    assert_eq!(
        (piped.stdout.trim_end(), sink.requests().pop().unwrap().body.as_slice()),
        ("this is a 200", b"from stdin".as_slice())
    );
    world.haul(&["request", sink.url(), "--data-json", "{"]).exits(2).says("--data-json is not JSON");
    world.haul(&["request", sink.url(), "--data", "@none"]).exits(6).says("cannot read `none`");
}

#[test]
fn lists_in_a_query_are_written_as_asked() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/r", status(200));
    let query = ["--query", "q=a b", "--query", "l=1", "--query", "l=2&3"];
    for (format, expected) in [
        ("multi", "q=a%20b&l=1&l=2%263"),
        ("multiCompatible", "q=a%20b&l[]=1&l[]=2%263"),
        ("csv", "q=a%20b&l=1,2%263"),
        ("ssv", "q=a%20b&l=1%202%263"),
        ("tsv", "q=a%20b&l=1%5Ct2%263"),
        ("pipes", "q=a%20b&l=1%7C2%263"),
    ] {
        world.haul(&[&["request", sink.url(), "--list-format", format], query.as_slice()].concat()).exits(0);
        assert_eq!(sink.requests().pop().unwrap().target, format!("/r?{expected}"));
    }
}

#[test]
fn a_data_task_keeps_its_answer_and_where_it_came_from() {
    let (world, origin) = (World::new(), Origin::start());
    let end = origin.serve("/end", file(b"{\"ok\":true}").header("Content-Type", "application/json; charset=utf-8"));
    let middle = origin.serve("/middle", redirect(307, "/end?token=hidden"));
    let start = origin.serve("/start", redirect(308, "/middle"));
    let id = world
        .add(&[json!({"taskType": "DataTask", "url": start.url(), "json": {"a": [1, "b"]},
        "queryParameters": {"x": {"y": [1, 2]}, "z": [3, 4]}, "listFormat": "csv", "listFormats": {"z": "multi"}})])
        .remove(0);

    let outcome = world.run().exits(0);

    let update = outcome.only_final();
    assert_eq!((&update["responseBody"], &update["mimeType"]), (&json!("{\"ok\":true}"), &json!("application/json")));
    assert_eq!(update["charSet"], "utf-8");
    assert_eq!(update["responseUrl"], json!(format!("{}?token=***", end.url())));
    assert_eq!(update["redirects"], json!([format!("{}?x[y]=1,2&z=3&z=4", start.url()), middle.url()]));
    let request = &end.requests()[0];
    assert_eq!((request.method.as_str(), request.body.as_slice()), ("POST", b"{\"a\":[1,\"b\"]}".as_slice()));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert!(outcome.json().iter().all(|update| update["type"] == "status"), "a request has no progress");
    assert_eq!(world.show(&id)["taskType"], "DataTask");
}

#[test]
fn a_post_that_is_sent_elsewhere_becomes_a_get_and_an_answer_may_be_other_than_utf8() {
    let (world, origin) = (World::new(), Origin::start());
    let end = origin.serve("/end", file(b"gr\xfc\xdfe").header("Content-Type", "text/plain; charset=ISO-8859-1"));
    for code in [301, 302, 303] {
        let start = origin.serve(&format!("/{code}"), redirect(code, "/end"));
        let outcome = world.haul(&["--json", "request", start.url(), "--data", "x"]).exits(0);
        assert_eq!(outcome.only_final()["responseBody"], json!("grüße"));
    }
    assert!(end.requests().iter().all(|seen| seen.method == "GET" && seen.body.is_empty()));
    assert_eq!(end.requests().len(), 3);
}

#[test]
fn what_is_kept_of_an_answer_ends_with_a_character_and_says_that_it_is_encoded() {
    let (world, origin) = (World::new(), Origin::start());
    let long = origin.serve("/long", status(200).body(format!("a{}", "é".repeat(40_000)).as_bytes()));
    let odd = origin.serve("/odd", status(200).body(b"\x1f\x8b").header("Content-Encoding", "gzip"));

    let update = world.haul(&["--json", "request", long.url()]).exits(0).only_final();
    let kept = update["responseBody"].as_str().unwrap();
    assert!(kept.len() == 65_535 && kept.ends_with('é'), "{} bytes", kept.len());

    let update = world.haul(&["--json", "request", odd.url()]).exits(0).only_final();
    assert_eq!(update["notes"], json!(["response-encoded"]));
}

#[test]
fn an_answer_to_head_has_no_body_and_no_file() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/r", file(b"never"));

    world.haul(&["request", "-X", "HEAD", "-o", "x", sink.url()]).exits(0);

    assert!(world.names().is_empty(), "{:?}", world.names());
}

#[test]
fn statuses_decide_by_the_list_of_the_task() {
    let (world, origin) = (World::new(), Origin::start());
    for (code, list, exit) in [(304, "2xx,304", 0), (404, "404", 0), (200, "201", 1), (503, "2xx", 1), (401, "4xx", 0)]
    {
        let sink = origin.serve(&format!("/{code}"), status(code));
        world.haul(&["request", sink.url(), "--accept-status", list, "--retries", "0"]).exits(exit);
    }
}

#[test]
fn time_limits_are_for_connecting_sending_waiting_and_all_of_it() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let silent = origin.serve("/silent", status(200).head_gate(&gate));
    let stalls = origin.serve("/stalls", status(200).body(&bytes(1, 1000)).gate(10, &gate));
    let sink = origin.serve("/up", status(200).body_gate(0, &gate));
    world.write("big", bytes(1, 40_000_000));
    let cases: [(&[&str], &str); 4] = [
        (&["request", silent.url(), "--timeout-head", "50ms"], "response limit"),
        (&["request", stalls.url(), "--timeout-idle", "50ms", "--timeout-head", "30s"], "idle limit"),
        (&["request", silent.url(), "--timeout-total", "50ms"], "limit of 50 ms"),
        (&["put", "--binary", "big", sink.url(), "--timeout-send", "300ms"], "send limit"),
    ];
    for (words, said) in cases {
        world.haul(&[words, &["--retries", "0"]].concat()).exits(5).says(said);
    }
    gate.open();
}

#[test]
fn a_method_that_nobody_knows_is_not_repeated_when_its_answer_is_lost() {
    let (world, origin) = (World::new(), Origin::start());
    for (method, requests, code) in [("PROPFIND", 2, 0), ("FROBNICATE", 1, 5)] {
        let sink = origin.script(&format!("/{method}"), vec![silence(), status(200)]);
        world.haul(&["request", sink.url(), "-X", method, "--retries", "2"]).exits(code);
        assert_eq!(sink.requests().len(), requests, "{method}");
    }
    world.haul(&["request", &origin.url("/"), "-X", "connect"]).exits(2).says("not CONNECT");
}

#[test]
fn a_cut_answer_to_a_post_leaves_its_outcome_known_and_is_not_repeated() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/r", status(200).body(&bytes(1, 1000)).cut(10));

    let update = world.haul(&["--json", "request", sink.url(), "--data", "x", "--retries", "2"]).exits(5).only_final();

    assert_eq!((sink.log().len(), &update["exception"]["detail"]), (1, &json!("cut")), "{update}");
    assert_eq!((&update["responseStatusCode"], &update["exception"]["outcomeUnknown"]), (&json!(200), &json!(null)));
    assert!(update["responseBody"].is_string(), "what came of it: {update}");
}

#[test]
fn a_request_with_now_is_answered_beside_the_queue_and_leaves_nothing() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let held = origin.serve("/held", file(&bytes(1, 10_000)).gate(10, &gate));
    let again = status(503).header("Retry-After", "0");
    let sink = origin.script("/r", vec![again, status(200).body(b"at once")]);
    world.add(&[json!({"url": held.url(), "filename": "held"})]);
    let running = world.spawn(&["--json", "run", "-j", "1"]);
    gate.wait_for(1);

    let outcome = world.haul(&["request", "--now", sink.url(), "--data", "x"]).exits(0);
    let failed = world.haul(&["--json", "request", "--now", &origin.url("/none")]).exits(3);

    assert_eq!((outcome.stdout.trim_end(), sink.log().len()), ("at once", 2));
    assert_eq!(failed.json()[0]["status"], "notFound");
    let listed: Vec<Value> = world.list().iter().map(|record| record["filename"].clone()).collect();
    assert_eq!(listed, [json!("held")]);
    gate.open();
    drop(running);
    let task = json!({"taskType": "Request", "url": sink.url()});
    world.haul_reading(&["add", "-"], &task.to_string()).exits(2).says("`taskType` Request is answered at once");
}

#[test]
fn a_request_without_a_home_of_its_own_is_answered_by_this_process() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/r", status(200).body(b"answer"));

    let outcome = world.haul(&["request", "--now", sink.url()]).exits(0);
    world.haul(&["request", "--now", "http://127.0.0.1:1/", "--retries", "0"]).exits(5);

    assert_eq!(outcome.stdout.trim_end(), "answer");
    assert_eq!(world.list(), Vec::<Value>::new());
}

#[test]
fn a_probe_tells_length_and_name_without_downloading() {
    let (world, origin) = (World::new(), Origin::start());
    let named = file(&bytes(1, 1234)).disposition("attachment; filename=\"a film.mkv\"");
    let film = origin.serve("/f", named);
    let chunked = origin.serve("/unknown.bin", file(b"x").chunked());
    world.write("a film.mkv", "taken");
    let probe = |words: &[&str]| world.haul(&[&["--json", "probe"], words].concat());

    let told = probe(&[film.url()]).exits(0).json().remove(0);
    assert_eq!(told, json!({"filename": "a film.mkv", "expectedFileSize": 1234, "responseStatusCode": 200}));
    assert_eq!(probe(&[film.url(), "-d", "."]).exits(0).json()[0]["filename"], "a film (1).mkv");
    assert_eq!(world.haul(&["probe", film.url()]).exits(0).stdout, "1234\ta film.mkv\n");
    let known = probe(&[chunked.url(), "-H", "Known-Content-Length: 99"]).exits(0).json().remove(0);
    assert_eq!((&known["filename"], &known["expectedFileSize"]), (&json!("unknown.bin"), &json!(99)));
    let none = probe(&[&origin.url("/none.txt")]).exits(3).json().remove(0);
    assert_eq!((&none["filename"], &none["expectedFileSize"]), (&json!("none.txt"), &json!(null)));
    let dead = probe(&["http://127.0.0.1:1/dead.txt", "--retries", "0"]).exits(5).json().remove(0);
    assert_eq!(dead["filename"], "dead.txt");
    assert!(origin.requests().iter().all(|seen| seen.method == "HEAD"));
    assert_eq!(world.names(), ["a film.mkv"]);
    assert_eq!(world.list(), Vec::<Value>::new());
}

#[test]
fn a_response_of_any_length_and_kind_goes_to_stdout_or_a_file_with_now_too() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(1, 300_000);
    let sink = origin.serve("/r", status(200).body(&content));

    let printed = world.command(&["request", "--now", sink.url()]).output().unwrap();
    world.haul(&["request", "--now", sink.url(), "-o", "answer"]).exits(0);

    assert_same_bytes(&world.read("answer"), &content);
    assert_same_bytes(&printed.stdout, &content);
    assert_eq!(world.list(), Vec::<Value>::new());
}

#[test]
fn of_a_response_that_breaks_off_what_came_goes_to_stdout_as_it_came() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(1, 300_000);
    let cut = origin.serve("/r", status(200).body(&content).cut(200_000));

    for words in [&["--retries", "0"][..], &["--retries", "0", "--http1.1", "--now"]] {
        let printed = world.command(&[&["request", cut.url()], words].concat()).output().unwrap();
        assert_eq!(printed.status.code(), Some(5), "{words:?}");
        assert_same_bytes(&printed.stdout, &content[..200_000]);
        assert_eq!(std::fs::read_dir(world.home().join("responses")).unwrap().count(), 0, "{words:?}");
    }
    world.haul(&["request", cut.url(), "--retries", "0", "-o", "answer"]).exits(5);
    assert!(!world.path("answer").exists());
}

#[test]
fn of_a_response_that_takes_too_long_what_came_goes_to_stdout_as_it_came() {
    let (world, origin) = (World::new(), Origin::start());
    let (content, gate) = (bytes(1, 300_000), Gate::new());
    let slow = origin.serve("/r", status(200).body(&content).gate(20_000, &gate));
    let words = ["request", slow.url(), "--retries", "0", "--timeout-total", "2s"];

    for more in [&[][..], &["--now"], &["--json"]] {
        let printed = world.command(&[&words, more].concat()).output().unwrap();
        assert_eq!(printed.status.code(), Some(5), "{more:?}");
        match more {
            ["--json"] => {
                let text = String::from_utf8(printed.stdout).unwrap();
                let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
                assert_eq!(last["responseStatusCode"], 200, "{last}");
                assert_eq!(last["exception"]["description"], "the attempt took longer than its limit of 2 s");
            }
            _ => assert_same_bytes(&printed.stdout, &content[..20_000]),
        }
    }
    gate.open();
}

#[test]
fn a_request_at_once_keeps_to_cancelled_scopes_and_has_no_place_in_a_queue() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/r", status(200));
    world.haul(&["cancel", "--scope", "a"]).exits(0);

    let queued = world.haul(&["request", sink.url(), "--scope", "a/b"]);
    let at_once = world.haul(&["request", "--now", sink.url(), "--scope", "a/b"]).says("is cancelled");
    world.haul(&["request", "--now", sink.url(), "--priority", "0"]).exits(2).says("--priority");

    assert_eq!(at_once.code, queued.code, "{}", queued.stderr);
    assert_eq!(sink.log().len(), 0);
    world.haul(&["request", "--now", sink.url(), "--scope", "c"]).exits(0);
}

#[test]
fn on_a_terminal_a_response_steers_nothing_unless_that_is_asked_for() {
    let (world, origin) = (World::new(), Origin::start());
    let page = origin.serve("/page", file(b"one\x1b[2J\ntwo\n"));
    let on_terminal = ["sh", "-c", "exec script -qec \"$*\" /dev/null", "sh"];

    let shown = world.haul_through(&on_terminal, &["request", page.url()]).exits(0);
    let raw = world.haul_through(&on_terminal, &["request", "-o", "-", page.url()]).exits(0);
    let piped = world.haul(&["request", page.url()]).exits(0);

    assert!(shown.stdout.contains("one\\u{1b}[2J\r\ntwo") && shown.stdout.contains("`-o -`"), "{}", shown.stdout);
    assert!(raw.stdout.contains("one\x1b[2J") && !raw.stdout.contains("note:"), "{}", raw.stdout);
    assert_eq!((piped.stdout.as_str(), piped.stderr.as_str()), ("one\x1b[2J\ntwo\n", ""));
    assert!(!world.names().contains(&"-".to_owned()), "{:?}", world.names());
}

#[test]
fn a_known_length_is_for_progress_and_no_server_hears_of_it() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/f", file(&bytes(1, 200_000)).chunked().gate(100_000, &gate));
    let running = world.spawn_get(&[film.url(), "--id", "t", "-H", "Known-Content-Length: 200000"]);
    world.wait_for_part(1);

    let record = world.show("t");

    assert_eq!(record["expectedFileSize"], 200_000, "{record}");
    assert!(record["progress"].is_number(), "{record}");
    gate.open();
    let last = running.finish().exits(0).only_final();
    assert_eq!(last["fileSize"], 200_000, "{last}");
    let sink = origin.serve("/r", status(200));
    world.haul(&["request", sink.url(), "-H", "Known-Content-Length: 5"]).exits(0);
    for seen in origin.requests() {
        assert_eq!(seen.header("known-content-length"), None);
    }
}

#[test]
fn a_request_is_satisfied_with_any_2xx_and_what_is_not_stored_has_no_number() {
    let (world, origin) = (World::new(), Origin::start());
    let dav = origin.serve("/dav", status(207).body(b"<multistatus/>"));

    world.haul(&["request", dav.url(), "-X", "PROPFIND"]).exits(0);
    let told = world.haul(&["--json", "request", "--now", dav.url(), "-X", "PROPFIND"]).exits(0).only_final();

    assert_eq!((&told["seq"], &told["responseStatusCode"]), (&Value::Null, &json!(207)), "{told}");
    world.get(&[dav.url(), "--retries", "0"]).exits(1);
}

#[test]
fn a_probe_without_an_answer_says_why() {
    let world = World::new();
    let dead = world.haul(&["probe", "http://127.0.0.1:1/dead.txt", "--retries", "0"]).exits(5);
    assert!(dead.stderr.contains("cannot connect to 127.0.0.1:1"), "{}", dead.stderr);
}

#[test]
fn a_component_is_told_of_no_file_where_the_body_goes_to_the_terminal() {
    let (world, origin) = (World::new(), Origin::start());
    let (answer, film) = (origin.serve("/api", file(b"{}")), origin.serve("/film.bin", file(b"film")));
    let (record, example) = (world.path("calls"), crate::support::components::example());
    let words = ["--callbacks", example.to_str().unwrap(), "--record", record.to_str().unwrap()];

    world.haul(&[&["request", answer.url()][..], &words].concat()).exits(0);
    world.haul(&[&["get", film.url()][..], &words].concat()).exits(0);

    let calls = std::fs::read_to_string(&record).unwrap();
    let calls = calls.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let ends = calls.filter(|call| call["hook"] == "on-task-finished");
    let files: Vec<_> = ends.map(|call| call["input"]["update"]["filePath"].clone()).collect();
    assert_eq!(files, [json!(null), json!("film.bin")], "of downloads alone");
}

#[test]
fn a_file_of_json_that_is_none_is_named() {
    let world = World::new();
    world.write("body.json", "{");
    let said = world.haul(&["request", "http://127.0.0.1:9/", "--data-json", "@body.json"]).exits(2);
    said.says("--data-json: `body.json` is not JSON");
}
