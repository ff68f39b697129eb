//! Secrets go to the server they are for, and nowhere else.

use serde_json::json;

use crate::support::*;

/// Part of every secret below: found anywhere in what is printed, it fails the test.
const CANARY: &str = "cAnArY";

#[test]
fn secrets_are_masked_in_everything_that_is_printed() {
    let (world, origin) = (World::new(), Origin::start());
    let echo = |code| {
        status(code)
            .header("Set-Cookie", "id=cAnArY1")
            .header("X-Session-Token", "cAnArY2")
            .header("Location", "/next?signature=cAnArY3")
    };
    let bad = origin.serve("/bad", echo(500));
    let good = origin.serve("/good", echo(200));
    let query = "?token=cAnArY4&api_key=cAnArY5&X-Amz-Signature=cAnArY6&password=cAnArY7&q=pizza";
    let mut printed = String::new();
    let mut keep = |outcome: Outcome| printed.push_str(&format!("{}{}", outcome.stdout, outcome.stderr));
    for film in [&bad, &good] {
        let url = film.url().replace("http://", "http://user:cAnArY8@") + query;
        let words = ["-v", "--json", "get", &url, "--retries", "0"];
        let secrets = ["-H", "Authorization: Bearer cAnArY9", "-H", "Cookie: a=cAnArYa", "-H", "X-Api-Key: cAnArYb"];
        keep(world.haul(&[words.as_slice(), &secrets].concat()));
        keep(world.haul(&["-v", "get", &url, "--retries", "0", "-H", "My-Secret: cAnArYc"]));
    }
    let auth = json!({"accessToken": "cAnArYd", "refreshToken": "cAnArYe",
        "accessHeaders": {"Authorization": "Bearer {accessToken}"}});
    let ids = world.add(&[json!({"url": good.url(), "taskId": "t", "options": {"auth": auth}})]);
    keep(world.haul(&["-v", "--json", "run", "--until-idle"]));
    keep(world.haul(&["--json", "ls"]));
    keep(world.haul(&["ls"]));
    keep(world.haul(&["--json", "show", &ids[0]]));
    keep(world.haul(&["show", &ids[0]]));
    keep(world.haul(&["--json", "events"]));
    keep(world.haul(&["events"]));
    keep(world.haul(&["doctor"]));

    let leaks: Vec<_> = printed.lines().filter(|line| line.contains(CANARY)).collect();

    assert!(leaks.is_empty(), "{leaks:#?}");
    assert!(printed.contains("***"), "masked, not left out");
    assert!(printed.contains("pizza"), "what is no secret stays");
    let sent = good.requests();
    assert_eq!(sent[0].header("x-api-key"), Some("cAnArYb"), "the server gets the real one");
    assert!(sent[0].target.contains("token=cAnArY4"), "{}", sent[0].target);
    assert_eq!(sent.last().unwrap().header("authorization"), Some("Bearer cAnArYd"));
}

#[test]
fn verbose_tells_what_is_asked_answered_and_decided_and_no_secret() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(1, 100_000);
    let whole = file(&content).etag("\"v1\"");
    let busy = status(503).header("Retry-After", "0");
    origin.script("/f", vec![whole.clone().cut(60_000), busy, whole]);
    let moved = origin.serve("/moved", status(302).header("Location", "/f?signature=cAnArY1"));
    let url = moved.url().replace("http://", "http://user:cAnArY2@") + "?token=cAnArY3";

    let silent = world.haul(&["get", &origin.url("/g"), "--retries", "0"]).exits(3);
    let told = world.haul(&["-vv", "get", &url, "-o", "f", "--id", "t", "-H", "X-Api-Key: cAnArY4"]).exits(0);

    assert!(!silent.stderr.contains("info:"), "{}", silent.stderr);
    assert!(!told.stderr.contains(CANARY), "{}", told.stderr);
    let told = |text: &str| assert!(told.stderr.contains(text), "{text}: {}", told.stderr);
    told("info: t: GET http://***@");
    told("/moved?token=*** from byte 0, attempt 1");
    told("/f?signature=***: taken");
    told("tried again in ");
    told("goes on at byte ");
    told("attempt 2");
    told("info: t: 503 from ");
    told("info: t: 206 from ");
    told("debug: t: redirected by ");
    told("is now `f`");
}

#[test]
fn a_malformed_header_is_not_repeated() {
    let world = World::new();
    for words in [["-H", "Authorization cAnArY"], ["-H", ": cAnArY"], ["--callback-config", "cAnArY"]] {
        let outcome = world.haul(&["get", "http://127.0.0.1:9/f", words[0], words[1]]).exits(2);
        assert!(!outcome.stderr.contains(CANARY) && outcome.stderr.contains("***"), "{}", outcome.stderr);
    }
}

#[test]
fn the_home_is_nobody_elses() {
    use std::os::unix::fs::PermissionsExt;
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/f", file(b"x").head_gate(&gate));
    let running = world.spawn_get(&[film.url()]);
    gate.wait_for(1);

    let mode = |path: std::path::PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;

    assert_eq!(mode(world.home()), 0o700);
    let names = world::names_in(&world.home());
    assert!(names.contains(&"haul.db".to_owned()) && names.contains(&"haul.sock".to_owned()), "{names:?}");
    for name in names {
        assert_eq!(mode(world.home().join(&name)) & 0o077, 0, "{name}");
    }
    gate.open();
    running.finish().exits(0);
}
