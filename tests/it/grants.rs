//! What components are granted: state, credentials by handle, by digest or name; what their failures mean; what they ask for.

use serde_json::json;

use crate::support::components::component;
use crate::support::*;

/// Found anywhere but in a request to its origin, it fails the test.
const CANARY: &str = "cAnArY-0123456789";

/// `[[callbacks]]` with a component of tests/components, and these lines.
fn attached(name: &str, lines: &str) -> String {
    format!("[[callbacks]]\nname = {name:?}\npath = {:?}\n{lines}\n", component(name))
}

fn credential(origin: &Origin) -> String {
    format!("[credentials.corp]\norigins = [\"http://{}\"]\nvalue-env = \"CORP\"\n", origin.authority())
}

/// What a component that keeps state says of it, at the next task.
#[track_caller]
fn state_after(world: &World, origin: &Origin, meta: &str) -> String {
    let film = origin.serve("/f", file(b"x"));
    let before = film.requests().len();
    world.add(&[json!({"url": film.url(), "metaData": meta, "onConflict": "replace"})]);
    world.run().exits(0);
    film.requests()[before].header("x-state").unwrap().to_owned()
}

#[test]
fn state_is_kept_from_process_to_process_within_a_quota() {
    let (world, origin) = (World::new(), Origin::start());
    world.config(&attached("keeps-state", "keyvalue = \"64K\""));

    assert_eq!(state_after(&world, &origin, "one"), "1 none count,last 1 false");
    assert_eq!(state_after(&world, &origin, "two"), "2 one count,last 1 false");
    let refused = state_after(&world, &origin, "huge");
    assert!(refused.contains("65536 are granted"), "{refused}");
    assert_eq!(state_after(&world, &origin, "three"), "4 two count,last 1 false");
}

#[test]
fn state_is_private_and_must_be_granted() {
    let (world, origin) = (World::new(), Origin::start());
    world.config(&attached("keeps-state", ""));
    assert_eq!(state_after(&world, &origin, "one"), "denied");

    world.config(&attached("keeps-state", "keyvalue = \"64K\""));
    assert_eq!(state_after(&world, &origin, "one"), "1 none count,last 1 false");

    let other_name = attached("keeps-state", "keyvalue = \"64K\"").replace("\"keeps-state\"", "\"other\"");
    world.config(&other_name);
    assert_eq!(state_after(&world, &origin, "mine"), "1 none count,last 1 false", "another component's is not seen");
}

#[test]
fn state_can_be_looked_at_and_forgotten() {
    let (world, origin) = (World::new(), Origin::start());
    let state = |words: &[&str]| world.haul(&[&["--json", "callbacks", "state"][..], words].concat());
    assert!(world.haul(&["callbacks", "state"]).exits(0).stderr.contains("no component keeps anything"));
    world.config(&attached("keeps-state", "keyvalue = \"64K\""));
    state_after(&world, &origin, CANARY);

    let all = state(&[]).exits(0).json();
    let mine = state(&["keeps-state"]).exits(0);
    let plain = world.haul(&["callbacks", "state", "name:keeps-state"]).exits(0);

    assert_eq!((&all[0]["owner"], &all[0]["pairs"], all.len()), (&json!("name:keeps-state"), &json!(2), 1));
    let keys: Vec<_> = mine.json()[0]["keys"].as_array().unwrap().iter().map(|pair| pair["key"].clone()).collect();
    assert_eq!(keys, ["count", "last"]);
    assert!(plain.stdout.contains("2 keys") && plain.stdout.contains("tasks  last"), "{}", plain.stdout);
    assert!(!mine.stdout.contains(CANARY) && !plain.stdout.contains(CANARY), "values are nobody's business");

    let delete = |words: &[&str]| state(&[&["keeps-state", "--delete"], words].concat()).exits(0).json()[0].clone();
    assert_eq!(delete(&["--bucket", "others"])["forgotten"], 0);
    assert_eq!(delete(&["--key", "last"])["forgotten"], 1);
    assert_eq!(state_after(&world, &origin, "two"), "2 none count,last 1 false");
    assert_eq!(delete(&[])["forgotten"], 2);
    assert_eq!(state_after(&world, &origin, "three"), "1 none count,last 1 false");

    world.haul(&["callbacks", "state", "nobody"]).exits(2).says("`name:nobody` keeps no state");
    world.haul(&["callbacks", "state", "--delete"]).exits(2);
}

#[test]
fn a_rule_grants_to_the_file_with_its_digest_however_it_is_attached() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let path = component("keeps-state");
    let digest = sha256(&std::fs::read(&path).unwrap());
    let state = || {
        world.haul(&["get", film.url(), "--callbacks", path.to_str().unwrap()]).exits(0);
        film.requests().last().unwrap().header("x-state").unwrap().to_owned()
    };

    world.config(&format!("[[grants]]\nsha256 = {digest:?}\nkeyvalue = \"64K\"\n"));
    assert!(state().starts_with("1 none"));
    world.config(&format!("[[grants]]\nsha256 = {:?}\nkeyvalue = \"64K\"\n", "0".repeat(64)));
    assert_eq!(state(), "denied");
}

#[test]
fn a_file_that_is_not_the_one_that_was_attached_is_not_loaded() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let digest = sha256(&std::fs::read(component("one-hook-only")).unwrap());
    world.config(&attached("one-hook-only", &format!("sha256 = {digest:?}")));
    world.haul(&["get", film.url()]).exits(0);

    world.config(&attached("traps", &format!("sha256 = {digest:?}")));
    world.haul(&["get", film.url()]).exits(10).says(&digest);
    assert_eq!(film.log().len(), 1);
}

#[test]
fn who_fails_open_is_passed_over_and_who_fails_closed_fails_its_task() {
    let (world, origin) = (World::new(), Origin::start());
    for (mode, code) in [("closed", 10), ("open", 0)] {
        let film = origin.script("/f", vec![status(503).header("Retry-After", "0"), file(b"x")]);
        world.config(&attached("traps", &format!("fail-mode = {mode:?}")));
        world.haul(&["get", film.url(), "--retries", "1"]).exits(code);
    }
}

#[test]
fn a_task_notes_who_was_passed_over_and_where_also_while_that_one_is_left_alone() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    world.config(&attached("steered", "fail-mode = \"open\""));
    let task =
        |id: usize| json!({"taskId": format!("t{id}"), "url": film.url(), "metaData": "verify panic", "priority": id});
    world.add(&(0..6).map(task).collect::<Vec<_>>());

    let outcome = world.haul(&["-v", "run", "--until-idle", "-j", "1"]).exits(0);

    for id in 0..6 {
        let notes = world.show(&format!("t{id}"))["notes"].clone();
        assert!(notes.as_array().unwrap().contains(&json!("passed-over: component `steered` in `verify`")), "{notes}");
    }
    outcome.says("passed over: component `steered` failed in `verify`: it failed there too often");
}

#[test]
fn check_tells_what_a_component_asks_for_and_what_of_it_is_missing() {
    let world = World::new();
    let path = component("keeps-state");
    let words = ["callbacks", "check", path.to_str().unwrap()];
    world.config("[[grants]]\nname = \"keeps_state\"\nkeyvalue = \"64K\"\n");

    let plain = world.haul(&words).exits(0).stdout;
    let told: serde_json::Value =
        serde_json::from_str(&world.haul(&[&["--json"][..], &words].concat()).exits(0).stdout).unwrap();

    assert!(plain.contains("Counts tasks."), "{plain}");
    assert!(plain.contains("keyvalue 64K  (granted)") && plain.contains("credentials corp  (not granted)"), "{plain}");
    assert_eq!(told["requested"]["missing"], json!(["allow-hosts auth.example.org", "credentials corp"]));
}

#[test]
fn a_credential_goes_to_its_origin_and_nobody_else_ever_sees_it() {
    let (mut world, origin, other) = (World::new(), Origin::start(), Origin::start());
    world.set("CORP", CANARY);
    world.config(&(attached("tells-everything", &grant(&origin)) + &credential(&origin)));
    let echo =
        |code| status(code).header("X-Echo", CANARY).header("X-Next", &format!("/?k={CANARY}")).body(CANARY.as_bytes());
    let (good, bad) = (origin.serve("/good", file(b"x").header("X-Echo", CANARY)), origin.serve("/bad", echo(500)));
    let asked = origin.serve("/asked", echo(200));
    let gone = other.serve("/gone", file(b"y"));
    let away = origin.serve("/away", redirect(302, gone.url()));
    let repeats = origin.serve("/repeats", redirect(302, &format!("/to/{CANARY}")));
    origin.serve(&format!("/to/{CANARY}"), file(b"z"));
    let task = |url: &str, id: &str| json!({"url": url, "taskId": id, "metaData": asked.url(), "filename": id});
    world.add(&[
        task(repeats.url(), "path"),
        task(good.url(), "good"),
        task(bad.url(), "bad"),
        task(away.url(), "away"),
        task(gone.url(), "wrong"),
    ]);

    let mut printed = String::new();
    let mut keep = |outcome: Outcome| printed.push_str(&format!("{}{}", outcome.stdout, outcome.stderr));
    keep(world.haul(&["-v", "--json", "run", "--until-idle"]));
    keep(world.haul(&["--json", "events"]));
    for id in ["good", "bad", "away", "wrong"] {
        keep(world.haul(&["--json", "show", id]));
    }

    let bearer = format!("Bearer {CANARY}");
    assert_eq!(good.requests()[0].header("x-key"), Some(bearer.as_str()));
    assert_eq!(asked.requests()[0].header("x-key"), Some(bearer.as_str()), "its own HTTP has it too");
    assert_eq!(good.requests()[0].header("x-fetched"), Some("200"));
    assert_eq!(gone.requests().len(), 1, "only the redirect got there");
    assert_eq!(gone.requests()[0].header("x-key"), None);
    assert_eq!(world.show("away")["status"], "complete");
    let wrong = world.show("wrong");
    assert!(wrong["exception"]["description"].as_str().unwrap().contains("credential `corp` is not for"), "{wrong}");
    assert!(printed.contains("fetch Ok") && printed.contains("body ***"), "{printed}");
    let leaks: Vec<_> = printed.lines().filter(|line| line.contains("cAnArY")).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
    world.assert_home_without("cAnArY");
}

/// Everything that the component of the test above needs.
fn grant(origin: &Origin) -> String {
    format!("credentials = [\"corp\"]\nallow-hosts = [{:?}]", origin.authority())
}

#[test]
fn of_a_credential_that_an_answer_repeats_no_piece_is_left_where_its_body_is_cut() {
    for cut in [1, 10, CANARY.len() - 1] {
        let (mut world, origin) = (World::new(), Origin::start());
        world.set("CORP", CANARY);
        world.config(&(attached("steered", "") + &credential(&origin)));
        let body = format!("{}{CANARY}{}", "#".repeat((64 << 10) - cut), "#".repeat(100));
        let bad = origin.serve("/bad", status(503).body(body.as_bytes()));

        let header = ["-H", "X-Key: {credential:corp}", "--retries", "0"];
        // Once the error's body is read for people, once for the component, which tells it.
        let told = world.haul(&[&["--json", "get", bad.url()][..], &header].concat());
        let words = ["--metadata", "on-response 503-reject", "-o", "g"];
        let seen = world.haul(&[&["--json", "get", bad.url()][..], &header, &words].concat());

        for outcome in [told, seen] {
            let last = outcome.only_final();
            let body = last["responseBody"].as_str().unwrap();
            assert!(body.ends_with("#***"), "{}", &body[body.len() - 30..]);
            let piece = format!("#{}", &CANARY[..cut]);
            assert!(!outcome.stdout.contains(&piece) && !outcome.stderr.contains(&piece), "{piece}");
        }
    }
}

#[test]
fn the_first_bytes_of_a_file_show_no_credential_to_components_and_nothing_to_records() {
    let (mut world, origin) = (World::new(), Origin::start());
    world.set("CORP", CANARY);
    world.config(&(attached("steered", "") + &credential(&origin)));
    let record = world.path("work/record.jsonl").to_str().unwrap().to_owned();
    let film = origin.serve("/f", file(format!("a key: {CANARY}").as_bytes()));
    let key = origin.serve("/key", file(b"-----BEGIN PRIVATE KEY----- \xff"));
    let json = origin.serve("/json", file(br#"{"access_token":"cAnArY-other","page":2}"#));
    let more = ["--record", &record, "--metadata", "verify show", "-H", "X-Key: {credential:corp}"];

    let told = world.haul(&[&["get", film.url()][..], &more].concat()).exits(0).stderr;
    for place in [&key, &json] {
        world.haul(&[&["get", place.url()][..], &more].concat()).exits(0);
    }

    assert!(told.contains("first bytes a key: ***") && !told.contains(CANARY), "{told}");
    assert_eq!(world.read("f"), format!("a key: {CANARY}").into_bytes(), "a file is what its origin sent");
    let text = String::from_utf8(world.read("record.jsonl")).unwrap();
    assert!(text.contains("firstBytes") && text.contains("page"), "{text}");
    for secret in ["cAnArY", "LS0tLS1CRUdJTi", "BEGIN PRIVATE", "a key"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[test]
fn secrets_of_an_answer_and_its_echoes_of_the_tasks_are_seen_nowhere() {
    let (mut world, origin) = (World::new(), Origin::start());
    world.set("CORP", "harmless");
    world.config(&(attached("tells-everything", &grant(&origin)) + &credential(&origin)));
    let answer = |code| {
        status(code)
            .header("Set-Cookie", "id=cAnArY-cookie; HttpOnly; Path=/")
            .header("X-Api-Key", "cAnArY-key")
            .header("X-Session-Token", "cAnArY-session")
            .header("Link", "<https://h/x?page=2&access_token=cAnArY-link>; rel=next")
            .header("X-Echo", "Bearer cAnArY-own")
            .body(b"you said: Bearer cAnArY-own, page two")
    };
    let (bad, good) = (origin.serve("/bad", answer(500)), origin.serve("/good", answer(200)));
    let record = world.path("calls");
    let mut printed = String::new();
    let mut keep = |outcome: Outcome| printed.push_str(&format!("{}{}", outcome.stdout, outcome.stderr));
    for (film, id) in [(&bad, "bad"), (&good, "good")] {
        let words = ["-v", "--json", "get", film.url(), "--id", id, "--retries", "0"];
        let own = ["-H", "Authorization: Bearer cAnArY-own", "--record", record.to_str().unwrap()];
        keep(world.haul(&[&words[..], &own].concat()));
        keep(world.haul(&["--json", "show", id]));
    }
    keep(world.haul(&["--json", "events"]));

    let leaks: Vec<_> = printed.lines().filter(|line| line.contains("cAnArY")).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
    let calls = std::fs::read_to_string(&record).unwrap();
    assert!(!calls.contains("cAnArY"), "{calls}");
    world.assert_home_without("cAnArY");
    assert!(printed.contains("told [") && printed.contains("page=2"), "the component was heard: {printed}");
    let events = world.events();
    let end = events.iter().rfind(|event| event["taskId"] == "bad" && event["status"] == "failed").unwrap();
    assert_eq!(end["responseHeaders"]["x-echo"], "***", "{end}");
    assert_eq!(end["responseBody"], "you said: ***, page two", "{end}");
    let file = std::fs::read(world.work().join("good")).unwrap();
    assert_eq!(file, b"you said: Bearer cAnArY-own, page two", "a file is what the server sent");
}

#[test]
fn a_credential_that_is_not_granted_cannot_be_used() {
    let (mut world, origin) = (World::new(), Origin::start());
    world.set("CORP", CANARY);
    let film = origin.serve("/f", file(b"x"));
    world.config(&(attached("tells-everything", "") + &credential(&origin)));

    let refused = world.haul(&["get", film.url(), "--retries", "0"]).exits(10);

    refused.says("credential `corp` is not granted to it");
    assert_eq!(film.log().len(), 0);
}

#[test]
fn on_the_way_too_a_component_uses_only_the_credentials_that_it_was_granted() {
    let hooks = [
        "on-request next - X-Key={credential:corp}",
        "on-response 500-retry 0 - X-Key={credential:corp}",
        "on-error retry 0 - X-Key={credential:corp}",
        "on-redirect with - X-Key={credential:corp}",
    ];
    for words in hooks {
        for (granted, lines) in [(false, ""), (true, "credentials = [\"corp\"]")] {
            let (mut world, origin) = (World::new(), Origin::start());
            world.set("CORP", CANARY);
            world.config(&(attached("steered", lines) + &credential(&origin)));
            let film = origin.script("/f", vec![status(500).header("Retry-After", "0"), file(b"x")]);
            let start = origin.serve("/", redirect(302, "/f"));

            let task = ["--retries", "1", "--metadata", words];
            world.haul(&[&["get", start.url(), "-o", "f"][..], &task].concat());

            let keys: Vec<_> =
                film.requests().iter().filter_map(|seen| seen.header("x-key").map(str::to_owned)).collect();
            assert!(keys.iter().all(|key| key == CANARY), "never the handle: {keys:?}");
            assert_eq!(!keys.is_empty(), granted, "{words}");
        }
    }
}

#[test]
fn a_task_uses_a_credential_in_headers_and_in_its_query() {
    let (mut world, origin) = (World::new(), Origin::start());
    world.set("CORP", CANARY);
    world.config(&credential(&origin));
    let film = origin.serve("/f", file(b"x"));

    let url = format!("{}?q=1&api={{credential:corp}}", film.url());
    let told = world.haul(&["-v", "--json", "get", &url, "-H", "X-Key: {credential:corp}"]).exits(0);

    let request = &film.requests()[0];
    assert_eq!(request.header("x-key"), Some(CANARY));
    assert!(request.target.ends_with(&format!("?q=1&api={CANARY}")), "{}", request.target);
    assert!(!format!("{}{}", told.stdout, told.stderr).contains("cAnArY"));
    world
        .haul(&["get", film.url(), "--retries", "0", "-H", "X-Key: {credential:none}"])
        .exits(1)
        .says("[credentials.none]");
}

#[test]
fn a_credential_that_a_redirect_repeats_is_shown_to_no_component_and_leaves_its_origin_by_no_redirect() {
    let (mut world, origin, other) = (World::new(), Origin::start(), Origin::start());
    world.set("CORP", CANARY);
    world.config(&(attached("steered", "") + &credential(&origin)));
    let film = origin.serve("/v1/", file(b"x"));
    let start = origin.serve("/v1", redirect(301, &format!("/v1/?api={CANARY}")));
    let elsewhere = other.serve("/f", file(b"y"));
    let away = origin.serve("/away", redirect(302, &format!("{}?plain={CANARY}", elsewhere.url())));
    let get = |url: &str| world.haul(&["-v", "get", &format!("{url}?api={{credential:corp}}"), "--retries", "0"]);

    let told = get(start.url()).exits(0);
    let refused = get(away.url());

    assert!(film.requests()[0].target.ends_with(&format!("?api={CANARY}")), "the server gets it");
    assert!(told.stderr.contains("asked on-request GET"), "{}", told.stderr);
    assert!(!told.stderr.contains("cAnArY") && !refused.stderr.contains("cAnArY"), "{}{}", told.stderr, refused.stderr);
    refused.exits(1).says("to another origin with a credential that is not for it");
    assert_eq!(elsewhere.log().len(), 0);
}

#[test]
fn a_configuration_that_grants_nonsense_is_refused_with_its_line() {
    let world = World::new();
    for (text, words) in [
        ("[[grants]]\nkeyvalue = \"1M\"\n", "one of `sha256`, `path` and `name`"),
        ("[[grants]]\nname = \"x\"\nsha256 = \"12\"\n", "64 hexadecimal digits"),
        ("[[grants]]\nname = \"x\"\nkeyvalue = \"1G\"\n", "`keyvalue` must be 0 to 64M"),
        ("[[grants]]\nname = \"x\"\nfail-mode = \"ajar\"\n", "ajar"),
        ("[credentials.x]\norigins = [\"api.example\"]\nvalue = \"s\"\n", "https://host"),
        ("[credentials.x]\norigins = [\"https://api.example\"]\n", "say one of `value`"),
        ("[credentials.\"a b\"]\norigins = [\"https://api.example\"]\nvalue = \"s\"\n", "letters, digits"),
    ] {
        world.config(text);
        world.haul(&["ls"]).exits(2).says(words);
    }
}

#[test]
fn attaching_tells_what_a_component_asks_for_and_grants_its_hosts_when_told_to() {
    let world = World::new();
    let path = component("keeps-state");
    let attach = ["callbacks", "attach", path.to_str().unwrap()];

    let told = world.haul(&attach).exits(0);
    told.says("Counts tasks.").says("  allow-hosts auth.example.org").says("`[[grants]]`");
    assert!(
        !world.haul(&["callbacks", "list"]).exits(0).stdout.contains("auth.example.org"),
        "nobody was there to say yes"
    );

    let granted = world.haul(&[&attach[..], &["--grant-hosts"]].concat()).exits(0);
    let granted = granted.says("it may reach auth.example.org");
    assert!(!granted.stderr.contains("  allow-hosts"), "what is granted is not missing: {}", granted.stderr);
    assert!(world.haul(&["callbacks", "list"]).exits(0).stdout.contains("auth.example.org"));
}

#[test]
fn a_granted_credential_that_is_not_there_is_told_before_anybody_uses_it() {
    let world = World::new();
    let path = component("one-hook-only");
    world.config(&format!(
        "[[callbacks]]\npath = {path:?}\ncredentials = [\"gone\", \"unset\"]\n\
         [credentials.unset]\norigins = [\"https://x.example\"]\nvalue-env = \"NOT_SET_ANYWHERE\"\n"
    ));
    for arguments in [&["callbacks", "check", path.to_str().unwrap()][..], &["run", "--until-idle"], &["doctor"]] {
        let outcome = world.haul(arguments);
        let told = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(told.contains("has no [credentials.gone]") && told.contains("`NOT_SET_ANYWHERE`"), "{told}");
    }
}

#[test]
fn a_list_tells_all_that_a_component_is_granted_wherever_that_stands() {
    let world = World::new();
    let path = component("one-hook-only");
    world.config(
        "[[grants]]\nname = \"w\"\nallow-hosts = [\"b.example\"]\nkeyvalue = \"1M\"\ncredentials = [\"corp\"]\n\
         config = { client = \"canary\" }\nlimits = { cpu = \"2s\" }\nfail-mode = \"open\"\n\
         [credentials.corp]\norigins = [\"https://x.example\"]\nvalue = \"canary-2\"\n",
    );
    let attach = ["callbacks", "attach", path.to_str().unwrap(), "--name", "w", "--allow-host", "a.example"];
    world.haul(&attach).exits(0);

    let shown = world.haul(&["callbacks", "list"]).exits(0).stdout;
    let listed = world.haul(&["--json", "callbacks", "list"]).exits(0);

    let told = "  a.example, b.example  settings client  credentials corp  state 1.0 MiB of name:w  limits cpu 2000 ms  \
                fail-mode open";
    assert!(shown.contains(told), "{shown}");
    assert!(!listed.stdout.contains("canary") && !shown.contains("canary"), "{}", listed.stdout);
    let listed = listed.json().remove(0);
    assert_eq!(listed["allowHosts"], json!(["a.example", "b.example"]));
    assert_eq!((&listed["config"], &listed["credentials"]), (&json!(["client"]), &json!(["corp"])));
    assert_eq!(listed["keyvalue"], json!({"owner": "name:w", "quotaBytes": 1 << 20}));
    assert_eq!((&listed["limits"]["cpuMs"], &listed["failMode"]), (&json!(2_000), &json!("open")));
}

#[test]
fn a_login_and_an_empty_secret_are_refused_where_a_credential_is_meant() {
    let world = World::new();
    let login = ["get", "http://x.invalid/", "--user", "me:{credential:corp}"];
    world.haul(&login).exits(2).says("no place for a handle");
    world.config("[credentials.corp]\norigins = [\"https://x.example\"]\nvalue = \"\"\n");
    world.haul(&["ls"]).exits(2).says("[credentials.corp]: `value` is empty");
}

#[test]
fn a_limit_of_requests_beyond_the_hard_one_is_refused() {
    let world = World::new();
    world.config(&format!("[[callbacks]]\npath = {:?}\nlimits = {{ http-requests = 1000 }}\n", component("traps")));
    let outcome = world.haul(&["ls"]).exits(2);
    assert!(outcome.stderr.contains("`http-requests`") && outcome.stderr.contains("0 to 30"), "{}", outcome.stderr);
}

#[test]
fn a_policy_of_the_configuration_is_listed() {
    let world = World::new();
    world.config(&format!("policy = {:?}\n", component("steered")));
    let outcome = world.haul(&["callbacks", "list"]).exits(0);
    assert!(outcome.stdout.contains("in the place of the default policy"), "{}", outcome.stdout);
    assert!(!outcome.stderr.contains("no components"), "{}", outcome.stderr);
}

#[test]
fn a_component_whose_request_cannot_be_understood_is_refused_wherever_it_is_loaded() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let content = b"\x0bhaul:grantsallow-host = [\"x.example\"]";
    let section = [&[0, u8::try_from(content.len()).unwrap()][..], content].concat();
    let wasm = [std::fs::read(component("appends-a")).unwrap(), section].concat();
    let path = world.write("asks.wasm", wasm).to_str().unwrap().to_owned();
    let calls = world.write("calls", "");
    let calls = calls.to_str().unwrap();

    for words in [
        &["callbacks", "check", &path][..],
        &["callbacks", "attach", &path],
        &["callbacks", "test", &path, "--inputs", calls],
        &["get", film.url(), "--callbacks", &path],
        &["get", film.url(), "--callbacks", &path],
    ] {
        let refused = world.haul(words).exits(10);
        assert!(refused.stderr.contains("its section `haul:grants` cannot be understood"), "{}", refused.stderr);
    }
    assert_eq!(film.log().len(), 0);
}

#[test]
fn a_handle_that_no_secret_takes_the_place_of_is_warned_of_once() {
    let (mut world, origin) = (World::new(), Origin::start());
    world.set("CORP", CANARY);
    world.config(&(attached("steered", "credentials = [\"corp\"]") + &credential(&origin)));
    let add = |task: serde_json::Value| world.haul_reading(&["add", "-"], &task.to_string()).exits(0).stderr;
    let warnings = |said: &str| said.lines().filter(|line| line.contains("credential `corp`")).count();
    let handle = "{credential:corp}";

    let said = add(json!({"url": origin.url(&format!("/{handle}?k=1")), "taskId": "path"}));
    assert!(
        said.contains("task path: the handle of the credential `corp` in a URL before its query is sent"),
        "{said}"
    );
    let said = add(json!({"url": origin.url("/f"), "post": format!("k={handle}"), "taskId": "body"}));
    assert!(said.contains("task body: the handle of the credential `corp` in the body is sent"), "{said}");
    assert_eq!(warnings(&add(json!({"url": origin.url(&format!("/f?k={handle}")), "headers": {"X-A": handle}}))), 0);
    world.haul(&["cancel", "--all"]).exits(0);

    let to = format!("on-request next {}", origin.url(&format!("/{handle}")));
    let said = add(json!({"url": origin.url("/f"), "taskId": "led", "metaData": to, "retries": 0}));
    assert_eq!(warnings(&said), 0, "{said}");
    let ran = world.haul(&["run", "--until-idle"]).stderr;
    assert_eq!(warnings(&ran), 1, "{ran}");
    assert!(ran.contains("component `steered` in `on-request`: the handle of"), "{ran}");
}
