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
            .header("Link", "<https://h/x?page=2&access_token=cAnArYf>; rel=next")
            .header("Refresh", "0; url=https://u:cAnArYg@h/x")
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
        let urls = ["-H", "X-Callback: https://h/x?token=cAnArYh", "-H", "Origin: http://u:cAnArYi@h"];
        keep(world.haul(&[words.as_slice(), &secrets, &urls].concat()));
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
    assert_eq!(sent[0].header("x-callback"), Some("https://h/x?token=cAnArYh"));
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
fn no_file_of_the_home_holds_a_secret_in_the_clear_while_running_or_after() {
    let (world, origin) = (World::new(), Origin::start());
    world.config("[profiles.p]\ncookies = true\nheaders = { X-Api-Key = \"cAnArY1\" }\n");
    let gate = Gate::new();
    let refresh =
        origin.serve("/token", file(br#"{"access_token":"cAnArY2","refresh_token":"cAnArY3","expires_in":9999}"#));
    let echo = file(&bytes(1, 300_000)).header("Set-Cookie", "id=cAnArY4").header("X-Session-Token", "cAnArY5");
    let film = origin.script("/f", vec![status(401), echo.gate(200_000, &gate)]);
    let auth = json!({"accessToken": "cAnArY6", "refreshToken": "cAnArY7", "accessQueryParams": {"x": "{accessToken}"},
        "accessHeaders": {"Authorization": "Bearer {accessToken}", "Plain": "cAnArY8"},
        "refreshUrl": refresh.url().to_owned() + "?sig=cAnArY9", "refreshHeaders": {"Plain": "cAnArYa"}});
    world.add(&[
        json!({"taskId": "t", "url": film.url().replace("//", "//u:cAnArYb@") + "?token=cAnArYc", "filename": "f",
        "profile": "p", "headers": {"Cookie": "cAnArYd"}, "mirrors": [film.url().to_owned() + "?key=cAnArYe"],
        "options": {"auth": auth}}),
    ]);
    world.assert_home_without(CANARY);
    let running = world.spawn(&["-vv", "--json", "run", "--until-idle"]);
    gate.wait_for(1);
    world.assert_home_without(CANARY);
    gate.open();
    let outcome = running.finish().exits(0);
    world.assert_home_without(CANARY);

    let printed =
        [outcome.stdout, outcome.stderr, world.haul(&["--json", "show", "t"]).stdout, world.haul(&["events"]).stdout];
    for text in printed {
        assert!(!text.contains(CANARY), "{text}");
    }
    let sent = film.requests();
    assert!(sent[1].target.contains("token=cAnArYc") && sent[1].target.contains("x=cAnArY2"), "{}", sent[1].target);
    assert_eq!(
        (sent[1].header("authorization"), sent[1].header("x-api-key")),
        (Some("Bearer cAnArY2"), Some("cAnArY1"))
    );
    assert_eq!((sent[1].header("cookie"), sent[1].header("plain")), (Some("cAnArYd"), Some("cAnArY8")));
}

#[test]
fn tokens_that_an_auth_block_puts_into_a_query_are_secrets_by_whatever_name_for_every_type_of_task() {
    let (world, origin) = (World::new(), Origin::start());
    std::fs::create_dir_all(world.path("in")).unwrap();
    std::fs::write(world.path("in/u"), b"content").unwrap();
    let auth = json!({"accessToken": "cAnArY1", "accessQueryParams": {"auth": "{accessToken}", "größe": "cAnArY2"}});
    let task = |kind: &str, id: &str| {
        let moved = origin.serve(&format!("/moved/{id}"), status(307).header("Location", "/end?auth=cAnArY1&page=2"));
        json!({"taskType": kind, "taskId": id, "url": moved.url().to_owned() + "?page=1", "options": {"auth": auth}})
    };
    let end = origin.serve("/end", file(b"x"));
    let (mut upload, mut data) = (task("UploadTask", "u"), task("DataTask", "d"));
    upload["filename"] = "u".into();
    data["httpRequestMethod"] = "POST".into();
    world.add(&[task("DownloadTask", "f"), upload, data]);

    let told = world.haul(&["-vv", "--json", "run", "--until-idle"]).exits(0);

    world.assert_home_without(CANARY);
    for text in [&told.stdout, &told.stderr, &world.haul(&["events"]).stdout] {
        assert!(!text.contains(CANARY), "{text}");
    }
    let ends = |line: &&str| line.contains("\"responseUrl\"") && line.contains("/end?auth=***&page=2\"");
    assert_eq!(told.stdout.lines().filter(ends).count(), 2, "of the upload and the request: {}", told.stdout);
    assert!(end.requests().iter().all(|request| request.target == "/end?auth=cAnArY1&page=2"));
}

#[test]
fn secret_fields_of_an_url_encoded_form_reach_the_server_only() {
    let (world, origin) = (World::new(), Origin::start());
    let token = origin.serve("/token", file(b"granted"));
    let typed = ["--form", "client_secret=cAnArY 1", "--form", "password=cAnArY2", "--form", "grant_type=password"];
    let mut printed =
        world.haul(&[["-vv", "--json", "request", token.url()].as_slice(), &typed].concat()).exits(0).stdout;
    let form = |id: &str| json!({"taskType": "DataTask", "taskId": id, "url": token.url()});
    let mut as_json = form("j");
    as_json["form"] = json!({"refresh_token": "cAnArY3", "user": {"password": ["cAnArY4"]}, "page": 2});
    let mut as_text = form("t");
    as_text["post"] = "a=b&api_key=cAnArY5#&c".into();
    as_text["headers"] = json!({"content-type": "Application/X-WWW-Form-Urlencoded; charset=utf-8"});
    world.add(&[as_json, as_text]);
    for words in [
        vec!["--json", "ls"],
        vec!["--json", "show", "j"],
        vec!["-vv", "--json", "run", "--until-idle"],
        vec!["events"],
    ] {
        let outcome = world.haul(&words);
        printed.push_str(&format!("{}{}", outcome.stdout, outcome.stderr));
    }

    assert!(!printed.contains(CANARY), "{printed}");
    assert!(printed.contains("a=b&api_key=***&c") && printed.contains("page=2"), "{printed}");
    world.assert_home_without(CANARY);
    let mut sent: Vec<_> = token.requests().iter().map(|sent| String::from_utf8(sent.body.clone()).unwrap()).collect();
    sent.sort();
    let expected = [
        "a=b&api_key=cAnArY5#&c",
        "client_secret=cAnArY%201&password=cAnArY2&grant_type=password",
        "refresh_token=cAnArY3&user%5Bpassword%5D=cAnArY4&page=2",
    ];
    assert_eq!(sent, expected);
}

#[test]
fn without_its_key_a_home_is_not_opened_and_with_it_again_it_is() {
    let world = World::new();
    world.add(&[json!({"taskId": "t", "url": "http://127.0.0.1:9/f?token=cAnArY"})]);
    let (key, aside) = (world.home().join("secret.key"), world.path("aside"));
    std::fs::rename(&key, &aside).unwrap();

    world.haul(&["ls"]).exits(11).says("secret.key");
    std::fs::write(&key, [7; 32]).unwrap();
    world.haul(&["ls"]).exits(11).says("does not belong to");
    std::fs::rename(&aside, &key).unwrap();

    world.haul(&["ls"]).exits(0);
}

#[test]
fn the_same_command_finds_its_task_by_a_url_with_secrets() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(1, 400_000);
    let film = origin.script("/f", vec![file(&content).etag("\"v\"").cut(300_000), file(&content).etag("\"v\"")]);
    let (one, two) = (film.url().to_owned() + "?token=one", film.url().to_owned() + "?token=two");

    world.get(&[&one, "--retries", "0"]).exits(5);
    world.get(&[&one, "--retries", "0"]).exits(0);
    world.get(&[&two, "--retries", "0"]).exits(0);

    let asked: Vec<_> = film.requests().iter().map(|request| (request.target.clone(), request.range_start())).collect();
    let expected = [("/f?token=one", None), ("/f?token=one", Some(300_000)), ("/f?token=two", None)];
    assert_eq!(asked, expected.map(|(target, from)| (target.to_owned(), from)));
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

#[test]
fn the_home_is_its_owners_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    for umask in ["0777", "0277", "0000"] {
        let (world, origin) = (World::new(), Origin::start());
        let film = origin.serve("/f", file(b"x"));
        let through = ["sh", "-c", &format!("umask {umask}; exec \"$0\" \"$@\"")];

        world.haul_through(&through, &["get", film.url(), "-d", "new/dir"]).exits(0);

        let mode = |path: std::path::PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(world.home()), 0o700, "{umask}");
        assert_eq!(mode(world.path("work/new/dir")) & 0o700, 0o700, "{umask}");
        assert_eq!(mode(world.path("work/new/dir/f")) & 0o600, 0o600, "{umask}");
        for name in world::names_in(&world.home()).iter().filter(|name| world.home().join(name).is_file()) {
            assert_eq!(mode(world.home().join(name)), 0o600, "{umask}: {name}");
        }
    }
}

#[test]
fn secret_fields_among_the_files_reach_the_server_only() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/up", status(200));
    world.write("up.txt", "x");
    let words = ["up.txt", sink.url(), "--field-after", "client_secret=cAnArY1", "--part", "password:p.txt=cAnArY2"];
    let mut printed = world.haul(&[&["-vv", "--json", "put"], words.as_slice()].concat()).exits(0).stdout;
    let files = json!([{"field": "token", "content": "cAnArY3"}, {"field": "page", "content": "two"}]);
    world.add(&[json!({"taskType": "MultiUploadTask", "taskId": "m", "url": sink.url(), "files": files,
            "urlQueryParameters": {"api_key": "cAnArY4", "q": "pizza"}})]);
    for words in [vec!["--json", "ls"], vec!["-vv", "--json", "run", "--until-idle"], vec!["--json", "show", "m"]] {
        let outcome = world.haul(&words).exits(0);
        printed.push_str(&format!("{}{}", outcome.stdout, outcome.stderr));
    }

    assert!(!printed.contains(CANARY), "{printed}");
    assert!(printed.contains("\"content\":\"***\"") && printed.contains("two"), "{printed}");
    world.assert_home_without(CANARY);
    world.assert_home_without("Y0FuQXJZ"); // in base64
    let bodies: Vec<String> = sink.requests().iter().map(|sent| String::from_utf8_lossy(&sent.body).into()).collect();
    assert!(bodies[0].contains("cAnArY1") && bodies[0].contains("cAnArY2"), "{bodies:?}");
    assert!(bodies[1].contains("cAnArY3") && bodies[1].contains("two"), "{bodies:?}");
    assert!(sink.requests()[1].target.contains("api_key=cAnArY4"), "{}", sink.requests()[1].target);
}

/// A refusal that repeats the request, in its headers and its body, as debug pages do.
fn refusal_that_repeats() -> Answer {
    status(500).unless(|seen| {
        let said = |name: &str| seen.header(name).unwrap_or("-").to_owned();
        let body = format!("<pre>{} {:?}</pre>", seen.target, seen.headers);
        let answer = status(500).header("X-Auth", &said("authorization")).header("X-Crumbs", &said("cookie"));
        Some(answer.header("X-Where", &seen.target).body(body.as_bytes()))
    })
}

#[test]
fn what_haul_adds_to_a_request_is_masked_where_a_refusal_repeats_it() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", refusal_that_repeats());
    let login = origin.serve("/login", file(b"x").header("Set-Cookie", "sid=cAnArYjar; Path=/"));
    let (base, token) = (origin.url("/"), world.write("token", "cAnArYfile\n"));
    let netrc = world.write("netrc", "machine 127.0.0.1 login n password cAnArYnetrc\n");
    world.config(&format!(
        "[profiles.bearer]\nbase-url = {base:?}\nauth = {{ bearer-file = {token:?} }}\n\
         [profiles.basic]\nbase-url = {base:?}\nauth = {{ user = \"u\", password = \"cAnArYbasic\" }}\n"
    ));
    let jar = world.path("jar");
    let with_jar = ["--cookie-jar", jar.to_str().unwrap()];
    world.haul(&[&["request", login.url()], with_jar.as_slice()].concat()).exits(0);
    let with_login = film.url().replace("//", "//u:cAnArYurl@");
    let ways: [(&str, &[&str]); 6] = [
        (film.url(), &["--user", "u:cAnArYuser"]),
        (&with_login, &[]),
        (film.url(), &["--netrc-file", netrc.to_str().unwrap()]),
        (film.url(), &["--profile", "bearer"]),
        (film.url(), &["--profile", "basic"]),
        (film.url(), &with_jar),
    ];
    for (url, flags) in ways {
        for command in ["request", "get"] {
            let told = world.haul(&[&["--json", command, url, "--retries", "0"], flags].concat());
            let text = told.stdout + &told.stderr;
            let sent = film.requests().pop().unwrap();
            let (login, cookie) = (sent.header("authorization"), sent.header("cookie"));
            let sent = login.and_then(|login| login.split(' ').nth(1)).or(cookie).unwrap();
            assert!(!text.contains(sent) && !text.contains(CANARY), "{flags:?}: {sent}: {text}");
            assert!(text.contains("***"), "{flags:?}: {text}");
            world.assert_home_without(sent);
        }
    }
    world.assert_home_without(CANARY);
}

#[test]
fn a_record_of_calls_shows_no_login_of_a_profile_that_an_answer_repeats() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", refusal_that_repeats());
    let base = origin.url("/");
    world.config(&format!(
        "[profiles.basic]\nbase-url = {base:?}\nauth = {{ user = \"u\", password = \"cAnArYbasic\" }}\n"
    ));
    let record = world.path("work/record.jsonl").to_str().unwrap().to_owned();

    world.haul(&["get", film.url(), "--profile", "basic", "--retries", "0", "--record", &record]);

    let sent = film.requests()[0].header("authorization").unwrap().to_owned();
    let login = sent.split(' ').nth(1).unwrap();
    let text = String::from_utf8(world.read("record.jsonl")).unwrap();
    assert!(text.contains("\"classify\"") && text.to_lowercase().contains("x-auth"), "{text}");
    assert!(!text.contains(login) && !text.contains(CANARY), "{login}: {text}");
}

#[test]
fn a_refreshed_token_is_masked_where_a_refusal_repeats_it() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", refusal_that_repeats());
    let refresh = origin.serve("/token", file(br#"{"access_token":"cAnArYnew","expires_in":9999}"#));
    let auth = json!({"accessToken": "cAnArYold", "accessTokenExpiryTime": 1, "refreshToken": "cAnArYrefresh",
        "accessQueryParams": {"auth": "{accessToken}"}, "refreshUrl": refresh.url(),
        "accessHeaders": {"Authorization": "Bearer {accessToken}", "X-Own": "{accessToken}"}});
    let task = |kind: &str| json!({"taskType": kind, "taskId": kind, "url": film.url(), "options": {"auth": auth}});
    world.add(&[task("DownloadTask"), task("DataTask")]);

    let told = world.haul(&["-vv", "--json", "run", "--until-idle"]);

    for text in [told.stdout, told.stderr, world.show("DataTask").to_string(), world.haul(&["events"]).stdout] {
        assert!(!text.contains(CANARY), "{text}");
    }
    world.assert_home_without(CANARY);
    assert!(film.requests().iter().all(|request| request.header("x-own") == Some("cAnArYnew")));
}

#[test]
fn the_body_of_a_success_stays_whatever_it_repeats() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"you are cAnArYuser"));

    let told = world.haul(&["request", film.url(), "--user", "u:cAnArYuser"]).exits(0);

    assert_eq!(told.stdout.trim_end(), "you are cAnArYuser");
}
