//! The command line: what is typed wrong is said in a sentence, and each end has its exit code.

use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use serde_json::json;

use crate::support::wait::wait_for;
use crate::support::*;

#[test]
fn version_and_help_need_nothing() {
    let world = World::new();

    let version = world.haul(&["--version"]).exits(0);
    let help = world.haul(&["--help"]).exits(0);

    assert!(version.stdout.starts_with("haul "), "{}", version.stdout);
    for command in ["get", "add", "run", "ls", "show", "pause", "resume", "cancel", "retry", "rm", "clean", "events"] {
        assert!(help.stdout.contains(command), "{command}");
    }
    assert!(!world.home().exists(), "asking for help leaves nothing behind");
}

#[test]
fn what_cannot_be_understood_exits_2_and_says_why() {
    let world = World::new();
    for (arguments, word) in [
        (&["get"][..], "URL"),
        (&["get", "not a url"], "url"),
        (&["get", "ftp://example.org/f"], "ftp"),
        (&["get", "http://"], "url"),
        (&["get", "http://127.0.0.1:9/f", "--retries", "11"], "10"),
        (&["get", "http://127.0.0.1:9/f", "--retries", "-1"], "-1"),
        (&["get", "http://127.0.0.1:9/f", "--priority", "11"], "10"),
        (&["get", "http://127.0.0.1:9/f", "--timeout-idle", "soon"], "soon"),
        (&["get", "http://127.0.0.1:9/f", "--limit-rate", "fast"], "fast"),
        (&["get", "http://127.0.0.1:9/f", "--not-before", "tomorrow"], "tomorrow"),
        (&["get", "http://127.0.0.1:9/f", "--accept-status", "9xx"], "9xx"),
        (&["get", "http://127.0.0.1:9/f", "--checksum", "sha-256=xyz"], "checksum"),
        (&["get", "http://127.0.0.1:9/f", "--checksum", "crc=00"], "crc"),
        (&["get", "http://127.0.0.1:9/f", "--on-conflict", "ask"], "ask"),
        (&["get", "http://127.0.0.1:9/f", "-H", "no colon"], "no colon"),
        (&["get", "http://127.0.0.1:9/f", "-H", "Bad Name: x"], "Bad Name"),
        (&["get", "http://127.0.0.1:9/f", "-o", "a/b"], "-o"),
        (&["get", "http://127.0.0.1:9/f", "http://127.0.0.1:9/g", "-o", "one"], "-o"),
        (&["get", "http://127.0.0.1:9/f", "http://127.0.0.1:9/g", "--id", "one"], "--id"),
        (&["fetch"], "fetch"),
        (&["ls", "--status", "sleeping"], "sleeping"),
        (&["get", "http://127.0.0.1:9/f", "--frobnicate"], "--frobnicate"),
        (&["ack", "--consumer", "c", "many"], "many"),
        (&["ack", "--consumer", "", "1"], "--consumer"),
        (&["ack", "--consumer", "c", "-1"], "the number of an event"),
        (&["events", "--after", "x"], "the number of an event"),
        (&["events", "--after", "-1"], "the number of an event"),
        (&["ls", "--group", ""], "--group"),
        (&["cancel", "--group", ""], "--group"),
        (&["events", "--consumer", ""], "--consumer"),
        (&["get", "http://127.0.0.1:9/f", "--callbacks", "x.wasm", "--allow-host", "ex ample"], "ex ample"),
        (&["get", "http://127.0.0.1:9/f", "--callbacks", "x.wasm", "--allow-host", "h/path"], "h/path"),
        (&["get", "http://127.0.0.1:9/f", "--pinnedpubkey", "sha256//short"], "sha256//short"),
        (&["get", "http://127.0.0.1:9/f", "--cacert", "nowhere.pem"], "nowhere.pem"),
        (&["get", "http://127.0.0.1:9/f", "--cacert", "/dev/null"], "/dev/null"),
        (&["get", "http://127.0.0.1:9/f", "--proxy", "ftp://h"], "ftp"),
    ] {
        let outcome = world.haul(arguments).exits(2);
        let said = outcome.stderr.to_lowercase();
        assert!(said.contains(&word.to_lowercase()), "{arguments:?} does not name {word}: {said}");
        assert_eq!(outcome.stdout, "", "{arguments:?}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn all_problems_of_a_task_are_named_at_once() {
    let world = World::new();

    let task = json!({"url": "nonsense", "retries": 99, "priority": 11, "directory": "../up"});
    let outcome = world.haul_reading(&["add", "-"], &task.to_string()).exits(2);

    for field in ["url", "retries", "priority", "directory"] {
        assert!(outcome.stderr.contains(field), "{field} is not named: {}", outcome.stderr);
    }
    assert_eq!(world.list().len(), 0);
}

#[test]
fn problems_of_form_and_of_value_are_named_at_once() {
    let world = World::new();
    let task = r#"{"url":"http://h/x","foo":1,"retries":99,"priority":11,"directory":"../x","url":"http://h/y",
        "headers":{"A":1,"A":2},"baseDirectory":"zzz","taskType":"Request"}"#;
    let lines = format!("{}\nnonsense\n{{\"url\":\"ftp://h/x\"}}\n", task.replace('\n', ""));

    let outcome = world.haul_reading(&["add", "-"], &lines).exits(2);

    for (line, field) in [
        (1, "foo"),
        (1, "retries"),
        (1, "priority"),
        (1, "directory"),
        (1, "url"),
        (1, "headers.A"),
        (1, "baseDirectory"),
        (1, "taskType"),
        (2, "task"),
        (3, "url"),
    ] {
        let told = format!("stdin:{line}: `{field}` ");
        assert_eq!(outcome.stderr.matches(&told).count(), 1, "{told}: {}", outcome.stderr);
    }
    let list = r#"[{"url":"http://h/x","foo":1},{"url":"ftp://h/x"}]"#;
    world.haul_reading(&["add", "-"], list).exits(2).says("task 1: `foo`").says("task 2: `url`");
    assert_eq!(world.list().len(), 0);
}

#[test]
fn all_problems_are_named_when_another_process_is_the_engine_too() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/f", file(b"x").head_gate(&gate));
    let running = world.spawn_get(&[film.url()]);
    gate.wait_for(1);

    let list = r#"[{"url":"http://h/x","foo":1},{"url":"ftp://h/x"}]"#;
    world.haul_reading(&["add", "-"], list).exits(2).says("task 1: `foo`").says("task 2: `url`");

    gate.open();
    running.finish().exits(0);
}

#[test]
fn one_bad_task_keeps_the_whole_list_out() {
    let world = World::new();

    let list = json!([{"url": "http://127.0.0.1:9/f"}, {"url": "http://127.0.0.1:9/g", "retries": 11}]);
    world.haul_reading(&["add", "-"], &list.to_string()).exits(2).says("task 2");

    assert_eq!(world.list().len(), 0);
}

#[test]
fn unknown_keys_and_wrong_types_are_named() {
    let world = World::new();
    for (task, word) in [
        (r#"{"url":"http://127.0.0.1:9/f","retrys":3}"#, "retrys"),
        (r#"{"url":"http://127.0.0.1:9/f","retries":"many"}"#, "retries"),
        (r#"{"url":"http://127.0.0.1:9/f","headers":[1]}"#, "headers"),
        (r#"{"url":"http://127.0.0.1:9/f","updates":"sometimes"}"#, "updates"),
        (r#"{"url":"http://127.0.0.1:9/f","taskType":"TeaTask"}"#, "TeaTask"),
        (r#"{"url":"http://127.0.0.1:9/f","timeouts":{"naps":"1s"}}"#, "naps"),
        (r#"{"url":"http://127.0.0.1:9/f","headers":{"A":"b\r\nEvil: yes"}}"#, "headers"),
        (r#"{"headers":{}}"#, "url"),
        (r#"{"url":"http://127.0.0.1:9/f""#, ""),
        ("42", ""),
    ] {
        world.haul_reading(&["add", "-"], task).exits(2).says(word);
    }
    assert_eq!(world.list().len(), 0);
}

#[test]
fn a_missing_file_is_named() {
    let world = World::new();

    let outcome = world.haul(&["add", "nowhere.json"]);

    assert!([1, 2, 6].contains(&outcome.code), "{}", outcome.code);
    assert!(outcome.stderr.contains("nowhere.json"), "{}", outcome.stderr);
}

#[test]
fn a_configuration_with_unknown_keys_is_refused() {
    let world = World::new();
    world.config("[limits]\ntotall = 3\n");

    world.haul(&["ls"]).exits(2).says("totall");
}

#[test]
fn a_given_configuration_must_exist() {
    let world = World::new();

    let outcome = world.haul(&["--config", "nowhere.toml", "ls"]);

    assert_ne!(outcome.code, 0);
    assert!(outcome.stderr.contains("nowhere.toml"), "{}", outcome.stderr);
}

#[test]
fn without_a_terminal_there_are_no_bars_and_no_colours() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(&[1; 100_000]).pace(100_000));

    let outcome = world.haul(&["get", film.url()]).exits(0);

    assert!(!outcome.stderr.contains(['\r', '\u{1b}']), "{:?}", outcome.stderr);
}

#[test]
fn quiet_says_nothing_about_a_success() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));

    let outcome = world.haul(&["-q", "get", film.url()]).exits(0);

    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
}

#[test]
fn a_failure_is_said_in_a_sentence_without_a_backtrace() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/secret-plan", status(403));

    let outcome = world.haul(&["get", film.url()]).exits(4);

    assert!(outcome.stderr.contains("403"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("panicked") && outcome.stderr.lines().count() <= 5, "{}", outcome.stderr);
}

#[test]
fn control_characters_of_a_server_do_not_reach_the_terminal() {
    let (world, origin) = (World::new(), Origin::start());
    let evil = "a\u{1b}[31mred\u{7}";
    let named = origin.serve("/f", file(b"x").disposition(&format!("attachment; filename=\"{evil}.txt\"")));
    let failed = origin.serve("/g", status(400).body(evil.as_bytes()));

    for url in [named.url(), failed.url()] {
        let outcome = world.haul(&["get", url]);
        let printed = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(!printed.contains(['\u{1b}', '\u{7}']), "{printed:?}");
    }
    let listed = world.haul(&["ls"]).exits(0);
    assert!(!listed.stdout.contains('\u{1b}'), "{:?}", listed.stdout);
}

#[test]
fn flags_have_environment_variables() {
    let (mut world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    world.set("HAUL_JSON", "true");

    let outcome = world.haul(&["get", film.url()]).exits(0);

    assert_eq!(outcome.statuses(), "enqueued > running > complete");
}

#[test]
fn a_variable_that_says_neither_yes_nor_no_is_refused() {
    for name in ["HAUL_JSON", "HAUL_QUIET", "HAUL_VERBOSE", "HAUL_COLOR"] {
        let mut world = World::new();
        world.set(name, "maybe");
        world.haul(&["ls"]).exits(2).says("maybe");
    }
}

#[test]
fn a_proxy_that_is_none_is_refused_at_once() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    for wrong in ["foo", "http//a:b@h:1", "http://h:1/path", "h:1?q"] {
        let outcome = world.haul(&["get", film.url(), "--proxy", wrong]).exits(2).says("the proxy URL");
        assert!(!outcome.stderr.contains(wrong), "it may hold a password: {}", outcome.stderr);
    }
    assert_eq!(film.requests().len(), 0);
}

#[test]
fn a_url_that_is_too_long_is_told_in_a_line() {
    let world = World::new();
    let outcome = world.haul(&["get", &format!("http://127.0.0.1:9/?{}", "a".repeat(70_000))]).exits(2);
    assert!(outcome.stderr.contains("at most 8192 bytes") && outcome.stderr.len() < 1000, "{}", outcome.stderr.len());
}

#[test]
fn a_task_named_twice_is_one_task() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    world.haul(&["get", film.url(), "--id", "t"]).exits(0);

    world.haul(&["rm", "t", "t"]).exits(0).says("forgot 1 task");

    let one = r#"{"url": "http://127.0.0.1:9/f", "taskId": "t"}"#;
    for words in [&["add", "-"][..], &["add", "-", "--if-exists", "replace"]] {
        let text = format!("{one}\n{}\n{one}\n", one.replace("\"t\"", "\"u\""));
        world.haul_reading(words, &text).exits(2).says("stdin:3: `taskId` `t` is that of another task given with it");
    }
    assert!(world.list().is_empty());
}

#[test]
fn an_empty_variable_is_not_set() {
    let (mut world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let state = world.path("state");
    world.set("XDG_STATE_HOME", state.to_str().unwrap());
    for name in ["HAUL_HOME", "HAUL_CONFIG", "HAUL_JSON", "HAUL_QUIET", "HAUL_VERBOSE", "HAUL_COLOR"] {
        world.set(name, "");
    }

    world.haul(&["get", film.url()]).exits(0).says("saved");

    assert!(world.path("state/haul/haul.db").exists(), "the default home");
    world.set("HAUL_VERBOSE", "true");
    world.haul(&["get", film.url()]).exits(0).says("info:");
}

#[test]
fn a_home_that_is_a_file_is_told_as_that() {
    let world = World::new();
    let path = world.write("home", "mine");
    world.haul(&["--home", path.to_str().unwrap(), "ls"]).exits(6).says("not a directory");
}

#[test]
fn a_file_that_was_kept_is_not_told_as_saved() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"new"));
    world.write("f", "old");

    for words in [&[film.url()][..], &[film.url(), "-o", "f"]] {
        let words = [&["get", "--on-conflict", "skip"], words].concat();
        let outcome = world.haul(&words).exits(0).says("/f: it exists already");
        assert!(outcome.stderr.starts_with("kept "), "{}", outcome.stderr);
    }
    assert_eq!(world.read("f"), b"old");
}

#[test]
fn a_rate_of_zero_is_no_limit() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(&bytes(1, 100_000)));

    world.get(&[film.url(), "--limit-rate", "0"]).exits(0);
    world.add(&[json!({"url": film.url(), "limitRate": 0}), json!({"url": film.url(), "limitRate": "0"})]);
    world.run().exits(0);

    assert_eq!(film.log().len(), 3);
}

#[test]
fn an_id_can_be_given() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));

    let last = world.get(&[film.url(), "--id", "my-film"]).exits(0).only_final();

    assert_eq!(last["taskId"], "my-film");
    assert_eq!(world.show("my-film")["filePath"], world.work().join("f").to_str().unwrap());
}

#[test]
fn tasks_are_listed_by_status_and_group() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    world.get(&[film.url(), "--group", "films"]).exits(0);
    world.get(&[&origin.url("/missing")]).exits(3);
    let list = |arguments: &[&str]| {
        let records = world.haul(&[&["--json", "ls"], arguments].concat()).exits(0).json();
        records.iter().map(|record| record["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };

    assert_eq!(list(&[]).len(), 2);
    assert_eq!(list(&["--status", "complete"]), ["complete"]);
    assert_eq!(list(&["--status", "notFound"]), ["notFound"]);
    assert_eq!(list(&["--group", "films"]), ["complete"]);
    assert_eq!(list(&["--group", "songs"]), Vec::<String>::new());
}

#[test]
fn a_list_can_be_longer_than_a_page() {
    let world = World::new();
    let tasks: Vec<_> = (0..2300).map(|number| json!({"url": format!("http://127.0.0.1:9/{number}")})).collect();

    let ids = world.add(&tasks);

    let listed: Vec<_> = world.list().iter().map(|record| record["taskId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(listed.len(), 2300);
    let distinct: std::collections::BTreeSet<_> = listed.iter().chain(&ids).collect();
    assert_eq!(distinct.len(), 2300);
}

#[test]
fn completions_are_for_the_usual_shells() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let outcome = world.haul(&["completions", shell]).exits(0);
        assert!(outcome.stdout.contains("haul") && outcome.stdout.contains("on-conflict"), "{shell}");
    }
    world.haul(&["completions", "abacus"]).exits(2);
}

#[test]
fn doctor_tells_where_things_are() {
    let world = World::new();

    let outcome = world.haul(&["doctor"]).exits(0);

    let printed = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(printed.contains(world.home().to_str().unwrap()), "{printed}");
    assert!(printed.contains(env!("CARGO_PKG_VERSION")), "{printed}");
}

#[test]
fn doctor_finds_directories_that_cannot_serve() {
    let mut world = World::new();
    let downloads = world.path("in");
    std::fs::create_dir(&downloads).unwrap();
    let open_to_all = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(&downloads, open_to_all).unwrap();
    world.set("XDG_CACHE_HOME", "/dev/null");

    let found = world.haul(&["doctor"]).exits(1).stdout;

    assert!(found.contains("everybody can replace files in it: `chmod o-w"), "{found}");
    assert!(found.contains("nothing compiled is kept"), "{found}");
    std::fs::remove_dir(&downloads).unwrap();
    std::fs::write(&downloads, "").unwrap();
    let found = world.haul(&["doctor"]).exits(1).stdout;
    assert!(found.contains("is not a directory; configure another one"), "{found}");
}

#[test]
fn doctor_finds_credentials_programs_and_places_that_are_not_there() {
    let world = World::new();
    let corp = "[credentials.corp]\norigins = [\"https://h\"]\n";
    for (configuration, subject, says) in [
        (format!("{corp}value-env = \"NOT_SET\"\n"), "credential corp", "`NOT_SET`"),
        (format!("{corp}value-file = \"nope\"\n"), "credential corp", "nope"),
        ("[notifications]\nto = [\"command\"]\ncommand = [\"/nope/tell\"]\n".into(), "notifications", "/nope/tell"),
        ("[notifications]\nto = [\"command\"]\ncommand = [\"no-such\", \"x\"]\n".into(), "notifications", "no-such"),
        ("[[grants]]\npath = \"nope.wasm\"\nkeyvalue = \"1M\"\n".into(), "grants", "nope.wasm"),
    ] {
        world.config(&configuration);
        let found = world.haul(&["doctor"]).exits(1).stdout;
        let problems: Vec<&str> = found.split("PROBLEM").skip(1).collect();
        assert!(problems.len() == 1 && problems[0].contains(subject) && problems[0].contains(says), "{found}");
    }
    world.config("[notifications]\nto = [\"command\"]\ncommand = [\"true\"]\n");
    world.haul(&["doctor"]).exits(0);
    world.write("own.toml", "[directories]\nx = \"/proc/nope\"\n");
    let found = world.haul(&["--config", "own.toml", "doctor"]).exits(1).stdout;
    assert!(found.contains("PROBLEM  directory x") && found.contains("cannot be made in `/proc`"), "{found}");
}

#[test]
fn a_manual_page_is_there_for_commands_of_commands_too() {
    let world = World::new();
    assert!(world.haul(&["man", "callbacks", "test"]).exits(0).stdout.contains("haul-callbacks-test"));
    assert!(world.haul(&["man", "get"]).exits(0).stdout.contains("haul-get"));
    world.haul(&["man", "callbacks", "nothing"]).exits(2).says("there is no command `callbacks nothing`");
}

#[test]
fn show_tells_people_what_a_task_says_of_its_transfer() {
    let world = World::new();
    let id = world
        .add(&[json!({"url": "http://127.0.0.1:9/f", "chunks": 4, "limitRate": "10M", "acceptStatus": ["2xx", "404"],
            "timeouts": {"idle": "5s"}, "options": {"auth": {"accessToken": "canary", "accessHeaders": {}}}})])
        .remove(0);
    let shown = world.haul(&["show", &id]).exits(0).stdout;
    for (field, says) in
        [("chunks", "4"), ("limitRate", "10.0 MiB a second"), ("timeouts", "idle"), ("options", "auth")]
    {
        let line = shown.lines().find(|line| line.starts_with(field));
        assert!(line.is_some_and(|line| line.contains(says)), "{field}: {shown}");
    }
    assert!(shown.contains("acceptStatus") && !shown.contains("canary"), "{shown}");
}

#[test]
fn help_that_cannot_be_written_is_a_failure_of_the_disk() {
    let world = World::new();
    for flag in ["--help", "--version"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let ended = world.command(&[flag]).stdout(full).output().unwrap();
        assert_eq!(ended.status.code(), Some(6), "{}", String::from_utf8_lossy(&ended.stderr));
    }
}

#[test]
fn what_cannot_be_printed_because_stdout_is_closed_is_a_failure_of_the_disk() {
    let (world, origin) = (World::new(), Origin::start());
    let closed = ["sh", "-c", "exec \"$@\" >&-", "sh"];
    let (page, empty) = (origin.serve("/page", file(b"answer")), origin.serve("/empty", file(b"")));
    for words in
        [&["--version"][..], &["request", page.url()], &["get", page.url(), "--print", "path"], &["ls", "--json"]]
    {
        world.haul_through(&closed, words).exits(6).says("cannot write to stdout: it is closed");
    }
    for words in [&["request", empty.url()][..], &["get", page.url()], &["pause", "--all"]] {
        world.haul_through(&closed, words).exits(0);
    }
}

#[test]
fn a_terminal_that_cannot_be_steered_is_left_alone_and_gets_its_title_back_where_it_can() {
    let (mut world, origin) = (World::new(), Origin::start());
    world.config("[notifications]\nto = [\"title\"]\ncomplete = { title = \"done\" }\n");
    let on_terminal = ["sh", "-c", "exec script -qec \"$*\" /dev/null", "sh"];
    let film = origin.serve("/f", file(b"x"));
    let mut shown = |term: Option<&str>, words: &[&str]| {
        term.into_iter().for_each(|term| world.set("TERM", term));
        world.haul_through(&on_terminal, &[words, &["get", film.url()]].concat()).exits(0).stdout
    };

    for term in [None, Some(""), Some("dumb")] {
        let shown = shown(term, &[]);
        assert!(!shown.contains('\u{1b}'), "{term:?}: {shown:?}");
    }
    for (words, title) in [(&[][..], true), (&["-q"], false), (&["--json"], false)] {
        let shown = shown(Some("xterm"), words);
        let at = |what: &str| shown.find(what);
        let order = [at("\u{1b}[22;2t"), at("\u{1b}]2;done\u{7}"), at("\u{1b}[23;2t")];
        assert!(order.iter().all(|place| place.is_some() == title) && order.is_sorted(), "{words:?}: {shown:?}");
    }
}

#[test]
fn what_is_typed_wins_over_the_environment() {
    let mut world = World::new();
    world.set("HAUL_QUIET", "1");
    assert_eq!(world.haul(&["ls"]).exits(0).stderr, "");
    world.haul(&["-v", "ls"]).exits(0);
    world.haul(&["-v", "-q", "ls"]).exits(2).says("cannot be used with");
    world.set("HAUL_QUIET", "");
    world.set("HAUL_VERBOSE", "2");
    assert_eq!(world.haul(&["ls", "-q"]).exits(0).stderr, "");
}

#[test]
fn demo_shows_the_main_job_without_a_network() {
    let world = World::new();

    let outcome = world.haul(&["demo"]).exits(0);

    let printed = format!("{}{}", outcome.stdout, outcome.stderr).to_lowercase();
    assert!(printed.contains("resume") && printed.contains("sha-256"), "{printed}");
}

#[test]
fn demo_removes_what_it_has_made_unless_it_is_to_be_kept_or_went_wrong() {
    let world = World::new();
    let temporary = world.path("work/tmp");
    std::fs::create_dir(&temporary).unwrap();
    let in_there = format!("TMPDIR={}", temporary.display());
    let demo = |words: &[&str]| world.haul_through(&["env", &in_there], &[&["demo"], words].concat());
    let made = || world::names_in(&temporary);

    assert!(demo(&[]).exits(0).stdout.contains("removed"));
    assert!(made().is_empty(), "{:?}", made());

    demo(&["--callbacks", "no-such.wasm"]).says(&format!("is kept in `{}", temporary.display()));
    assert_eq!(made().len(), 1, "{:?}", made());
    std::fs::remove_dir_all(temporary.join(&made()[0])).unwrap();

    assert!(demo(&["--keep"]).exits(0).stdout.contains("kept"));
    let kept = temporary.join(&made()[0]);
    let events = world.haul(&["--home", kept.join("home").to_str().unwrap(), "events"]).exits(0);
    assert!(events.stdout.contains("complete"), "{}", events.stdout);
    assert_eq!(std::fs::metadata(kept.join("files/aurora borealis.bin")).unwrap().len(), 8 << 20);
}

#[test]
fn the_help_has_the_lines_that_it_was_written_with() {
    let help = World::new().haul(&["--help"]).exits(0).stdout;
    let ends =
        ["2 usage or invalid task, 3 not found,", "5 network, 6 disk, 7 checksum,", "130 interrupted", "+DURATION"];
    for end in ends {
        assert!(help.lines().any(|line| line.ends_with(end)), "{end}: {help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 110), "{help}");
}

#[test]
fn a_damaged_database_is_exit_11_and_is_kept() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    world.get(&[film.url()]).exits(0);
    let garbage = bytes(1, 50_000);
    for name in ["haul.db-wal", "haul.db-shm"] {
        std::fs::remove_file(world.home().join(name)).ok();
    }
    std::fs::write(world.home().join("haul.db"), &garbage).unwrap();

    let outcome = world.haul(&["ls"]).exits(11);
    let doctor = world.haul(&["doctor"]).exits(1);

    let mend = format!("mkdir '{0}/damaged' && mv '{0}'/haul.db* '{0}/damaged/'", world.home().display());
    assert!(outcome.stderr.contains(&mend), "{}", outcome.stderr);
    assert!(doctor.stdout.contains(&mend), "{}", doctor.stdout);
    assert!(!world.home().join("haul.sock").exists(), "nobody answers there");
    let kept = world::names_in(&world.home());
    let kept: Vec<_> = kept.iter().map(|name| std::fs::read(world.home().join(name)).unwrap_or_default()).collect();
    assert!(kept.contains(&garbage), "the damaged file is still there");
    let mended = std::process::Command::new("sh").args(["-c", &mend]).status().unwrap();
    assert!(mended.success());
    world.haul(&["ls"]).exits(0);
    assert_eq!(std::fs::read(world.home().join("damaged/haul.db")).unwrap(), garbage);
}

#[test]
fn an_emptied_database_is_not_taken_for_a_new_one() {
    let world = World::new();
    world.haul(&["ls"]).exits(0);
    std::fs::write(world.home().join("haul.db"), "").unwrap();
    std::fs::write(world.home().join("haul.db-wal"), "log").unwrap();

    world.haul(&["ls"]).exits(11).says("emptied");

    std::fs::remove_file(world.home().join("haul.db-wal")).unwrap();
    let keeps_creation_times = std::fs::metadata(world.home()).unwrap().created().is_ok();
    world.haul(&["ls"]).exits(if keeps_creation_times { 11 } else { 0 });
}

#[test]
fn what_is_no_database_is_not_taken_for_a_new_one() {
    let world = World::new();
    world.haul(&["ls"]).exits(0);
    let path = world.home().join("haul.db");
    for length in [1, 49, 99, 5000] {
        let garbage = bytes(length as u64, length);
        std::fs::write(&path, &garbage).unwrap();

        world.haul(&["ls"]).exits(11).says("is not a database of haul");

        assert!(std::fs::read(&path).unwrap() == garbage, "{length} bytes are left as they were");
    }
    std::fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    world.haul(&["ls"]).exits(11).says("is not a database of haul");
}

#[test]
fn a_database_with_other_tables_is_damaged() {
    let world = World::new();
    world.haul(&["ls"]).exits(0);
    let path = world.home().join("haul.db");
    for name in ["haul.db-wal", "haul.db-shm"] {
        std::fs::remove_file(world.home().join(name)).ok();
    }
    let mut database = std::fs::read(&path).unwrap();
    let (known, other) = (b"ready_at", b"ready_xx");
    let found: Vec<usize> = (0..database.len()).filter(|at| database[*at..].starts_with(known)).collect();
    assert!(!found.is_empty());
    for at in found {
        database[at..at + other.len()].copy_from_slice(other);
    }
    std::fs::write(&path, &database).unwrap();

    let outcome = world.haul(&["run", "--until-idle"]).exits(11).says("no such column");

    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
}

#[test]
fn a_database_of_a_later_version_is_refused_untouched() {
    let world = World::new();
    world.haul(&["ls"]).exits(0);
    let path = world.home().join("haul.db");
    let mut database = std::fs::read(&path).unwrap();
    database[60..64].copy_from_slice(&9_999_u32.to_be_bytes()); // user_version: SQLite file format, 1.3
    for name in ["haul.db-wal", "haul.db-shm"] {
        std::fs::remove_file(world.home().join(name)).ok();
    }
    std::fs::write(&path, &database).unwrap();

    let outcome = world.haul(&["ls"]);

    assert_ne!(outcome.code, 0, "{}", outcome.stdout);
    assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
    assert!(std::fs::read(&path).unwrap() == database, "it is left as it was");
    assert!(!world.home().join("haul.sock").exists(), "nobody answers there");
}

#[test]
fn a_database_whose_version_was_taken_away_is_damaged() {
    for version in [0, -1] {
        let world = World::new();
        world.haul(&["ls"]).exits(0);
        let path = world.home().join("haul.db");
        let database = rusqlite::Connection::open(&path).unwrap();
        database.pragma_update(None, "user_version", version).unwrap();
        drop(database);

        let outcome = world.haul(&["ls"]).exits(11).says("has no version of haul's any more");

        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    }
}

#[test]
fn a_pipe_in_the_place_of_a_file_of_the_home_holds_nobody_up() {
    for name in ["secret.key", "haul.lock"] {
        let world = World::new();
        world.haul(&["ls"]).exits(0);
        let path = world.home().join(name);
        std::fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());

        world.haul(&["ls"]).exits(6).says(name).says("not a regular file");
    }
}

#[test]
fn another_users_home_is_refused_however_open_it_is() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let mut world = World::new();
    world.haul(&["ls"]).exits(0);
    if std::fs::metadata(world.home()).unwrap().uid() != 0 {
        return; // only root can be somebody else
    }
    for (name, place) in [("XDG_CACHE_HOME", "cache"), ("XDG_STATE_HOME", "state")] {
        std::fs::create_dir(world.path(place)).unwrap();
        let path = world.path(place);
        world.set(name, path.to_str().unwrap());
    }
    let open = std::process::Command::new("chmod").args(["-R", "a+rwX"]).arg(world.path("")).status().unwrap();
    assert!(open.success());
    assert_eq!(std::fs::metadata(world.home().join("haul.lock")).unwrap().permissions().mode() & 0o777, 0o666);

    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    world.haul_through(&nobody, &["ls"]).exits(9).says("belongs to another user");

    world.haul(&["ls"]).exits(0);
}

#[test]
fn a_database_that_another_program_has_locked_is_no_mystery() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let film = origin.serve("/f", file(b"x").head_gate(&gate));
    world.add(&[json!({"url": film.url()})]);
    let running = world.spawn(&["run", "--until-idle"]);
    gate.wait_for(1);
    let other = rusqlite::Connection::open(world.home().join("haul.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    gate.open();

    world.haul_reading(&["add", "-"], r#"{"url": "http://127.0.0.1:9/f"}"#).exits(9).says("locked by another program");
    running.wait_for_log(1, "cannot be written: what transfers come to is kept");
    other.execute_batch("ROLLBACK").unwrap();

    running.finish().exits(0);
    assert_eq!(world.list()[0]["status"], "complete");
}

#[test]
fn a_first_start_that_fails_leaves_nothing_that_looks_damaged() {
    let world = World::new();

    world.haul_through(&["prlimit", "--fsize=3000"], &["ls"]).exits(6);

    world.haul(&["ls"]).exits(0);
}

#[test]
fn what_is_read_whole_is_a_file_or_has_an_end() {
    let world = World::new();
    let pipe = world.path("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    for no_file in ["/dev/zero", world.work().to_str().unwrap()] {
        world.haul(&["--config", no_file, "ls"]).exits(2).says("it is not a regular file");
    }
    world.haul(&["--config", "/dev/null", "ls"]).exits(0);
    let of_a_shell = r#""$@" --config <(echo 'nonsense = 1') ls"#;
    world.haul_through(&["bash", "-c", of_a_shell, "-"], &[]).exits(2).says("nonsense");
    world.config(&format!("[[webhooks]]\nname = \"w\"\nurl = \"http://h/\"\nsecret-file = {pipe:?}"));
    world.haul(&["ls"]).exits(2).says("it is not a regular file");
    world.config("");
    for words in [["get", "-"], ["import", "-"]] {
        let endless = std::fs::File::open("/dev/zero").unwrap();
        let ended = world.command(&words).stdin(endless).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.code() == Some(2) && said.contains("longer than 256 MiB"), "{words:?}: {said}");
    }
}

#[test]
fn who_waits_for_a_token_from_a_pipe_can_be_interrupted() {
    use rustix::fs::{Mode, OFlags};
    let world = World::new();
    let pipe = world.path("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::from_raw_mode(0o600)).unwrap();
    let getting = world.spawn(&["get", "http://127.0.0.1:9/f", "--bearer-file", pipe.to_str().unwrap()]);
    let is_read = || rustix::fs::open(&pipe, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).ok();
    let _says_nothing = wait_for(is_read, || "nobody reads the pipe".into());

    getting.signal(Signal::INT);

    getting.finish().exits(-Signal::INT.as_raw());
}

#[test]
fn what_is_wrong_with_a_number_or_a_pair_is_told_by_its_flag() {
    let world = World::new();
    let url = "http://127.0.0.1:9/x";
    for (line, sentence) in [
        (["get", url, "--parts", "-1"], "it must be a whole number from 1 to 64"),
        (["get", url, "--parts", "x"], "it must be a whole number from 1 to 64"),
        (["get", url, "--max-redirects", "51"], "it must be a whole number from 0 to 50"),
        (["get", url, "--retries", "11"], "it must be a whole number from 0 to 10"),
        (["get", url, "--limit-rate", "-1"], "a speed limit must be a rate"),
        (["get", url, "--keep-free", "-1"], "it must be a number of bytes"),
        (["get", url, "--min-interval", "-1s"], "unexpected argument '-1'"),
        (["put", url, "--field", "x"], "a field is written `name=value`"),
        (["request", url, "--query", "x"], "a parameter is written `name=value`"),
    ] {
        let outcome = world.haul(&line).exits(2).says(sentence);
        assert!(!outcome.stderr.contains("to pass"), "{}", outcome.stderr);
    }
}

#[test]
fn ids_are_objects_where_json_is_asked_for() {
    let world = World::new();
    world.add(&[json!({"url": "http://127.0.0.1:9/x", "taskId": "t0"})]);
    assert_eq!(world.haul(&["--json", "ls", "--ids"]).exits(0).json(), [json!({"taskId": "t0"})]);
    assert_eq!(world.haul(&["ls", "--ids"]).exits(0).stdout, "t0\n");
}

#[test]
fn a_wrong_line_of_a_list_is_told_by_its_number() {
    let world = World::new();
    let list = "# mine\nhttp://127.0.0.1:9/x\n\nbad\n";
    world.haul_reading(&["get", "-"], list).exits(2).says("stdin:4: bad: `url`");
}

#[test]
fn an_address_that_has_colons_stands_in_brackets() {
    let world = World::new();
    world.haul(&["get", "http://[::1]:1/x", "--retries", "0"]).exits(5).says("cannot connect to [::1]:1: ");
}
