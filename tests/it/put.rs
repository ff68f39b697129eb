//! `haul put`: files from anywhere, as a form or as they are, one or several; the same line again after a kill.

use rustix::process::Signal;
use serde_json::json;

use crate::support::*;

#[test]
fn a_file_is_sent_as_a_form_by_post() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/up", status(200));
    world.write("notes.txt", "A file.");

    let outcome = world.haul(&["put", "notes.txt", sink.url(), "--field", "a=1", "--field", "b=x=y", "-H", "X-A: b"]);

    let outcome = outcome.exits(0).says("done:");
    assert_eq!(outcome.stdout, "");
    let request = &sink.requests()[0];
    assert_eq!((request.method.as_str(), request.header("x-a")), ("POST", Some("b")));
    let parts = form_of(request);
    let told: Vec<_> = parts.iter().map(|part| (part.name.as_str(), part.text())).collect();
    assert_eq!(told, [("a", "1"), ("b", "x=y"), ("file", "A file.")]);
    assert_eq!(parts[2].filename.as_deref(), Some("notes.txt"));
}

#[test]
fn a_content_type_that_a_form_cannot_have_is_told() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/up", status(200));
    world.write("notes.txt", "A file.");
    let typed = ["-H", "Content-Type: foo/bar"];

    world.haul(&[&["put", "notes.txt", sink.url()], &typed[..]].concat()).exits(0).says("the Content-Type is left out");
    let binary = world.haul(&[&["put", "--binary", "notes.txt", sink.url()], &typed[..]].concat()).exits(0);

    assert!(!binary.stderr.contains("left out"), "{}", binary.stderr);
    let types: Vec<_> =
        sink.requests().iter().map(|request| request.header("content-type").unwrap().to_owned()).collect();
    assert!(types[0].starts_with("multipart/form-data; boundary=") && types[1] == "foo/bar", "{types:?}");
}

#[test]
fn a_binary_upload_is_a_put() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/up", status(201));
    let path = world.write("deep/er/notes.bin", b"\0\xff");

    let update = world.haul(&["--json", "put", "--binary", path.to_str().unwrap(), sink.url()]).exits(0).only_final();
    world
        .haul(&["put", "--binary", "--method", "POST", "--mime-type", "a/b", "deep/er/notes.bin", sink.url()])
        .exits(0);

    assert_eq!((&update["fileSize"], &update["responseBody"]), (&json!(2), &json!("this is a 201")));
    let requests = sink.requests();
    let told: Vec<_> =
        requests.iter().map(|seen| (seen.method.as_str(), seen.header("content-type").unwrap())).collect();
    assert_eq!(told, [("PUT", "application/octet-stream"), ("POST", "a/b")]);
    assert!(requests.iter().all(|seen| seen.body == b"\0\xff"));
}

#[test]
fn several_files_are_one_form() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/up", status(200));
    world.write("a/one.txt", "1");
    world.write("b/two.png", "2");

    world.haul(&["put", "a/one.txt", "b/two.png", sink.url()]).exits(0);
    world.haul(&["put", "a/one.txt", "b/two.png", sink.url(), "--file-field", "files"]).exits(0);

    let told: Vec<_> =
        sink.requests().iter().flat_map(form_of).map(|part| (part.name, part.filename.unwrap())).collect();
    let pair = |field: &str, name: &str| (field.to_owned(), name.to_owned());
    let expected = [pair("one", "one.txt"), pair("two", "two.png"), pair("files", "one.txt"), pair("files", "two.png")];
    assert_eq!(told, expected);
    world.haul(&["put", "--binary", "a/one.txt", "b/two.png", sink.url()]).exits(2).says("--binary sends one file");
}

#[test]
fn what_cannot_be_sent_ends_with_6_and_what_cannot_be_meant_with_2() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/up", status(200));
    world.write("empty", "");
    world.write("f", "x");

    world.haul(&["put", "none", sink.url()]).exits(6).says("file to upload does not exist: `none`");
    world.haul(&["put", "--binary", "empty", sink.url()]).exits(6).says("has 0 length");
    world.haul(&["put", ".", sink.url()]).exits(6).says("not a regular file");
    world.haul(&["put", "f"]).exits(2);
    world.haul(&["put", "f", "ftp://h/"]).exits(2).says("`url`");
    world.haul(&["put", "f", sink.url(), "--binary", "--field", "a=b"]).exits(2).says("--field");
    world.haul(&["put", "f", sink.url(), "--method", "BREW"]).exits(2).says("httpRequestMethod");

    assert_eq!(sink.log().len(), 0);
}

#[test]
fn a_link_is_followed_and_the_file_is_sent_under_its_name() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/up", status(200));
    world.write("real/v1.txt", "one");
    std::os::unix::fs::symlink("v1.txt", world.work().join("real/latest.txt")).unwrap();
    std::os::unix::fs::symlink(world.work().join("real/v1.txt"), world.work().join("away.txt")).unwrap();

    world.haul(&["put", "real/latest.txt", sink.url()]).exits(0);
    world.haul(&["put", "away.txt", sink.url()]).exits(0);
    world.haul(&["put", "real/v1.txt", "away.txt", sink.url()]).exits(0);
    world.haul(&["put", "--binary", "away.txt", sink.url()]).exits(0);

    let requests = sink.requests();
    let names = |seen| form_of(seen).into_iter().map(|part| part.filename.unwrap()).collect::<Vec<_>>();
    let names: Vec<_> = requests[..3].iter().flat_map(names).collect();
    assert_eq!(names, ["latest.txt", "away.txt", "v1.txt", "away.txt"]);
    assert_eq!(form_of(&requests[2])[1].name, "away");
    assert_eq!(requests[3].header("content-disposition"), Some("attachment; filename=\"away.txt\""));
}

#[test]
fn the_answer_goes_into_a_file_and_its_status_into_the_exit_code() {
    let (world, origin) = (World::new(), Origin::start());
    world.write("f", "x");
    let long = bytes(3, 200_000);
    let sink = origin.serve("/up", status(200).body(&long));
    for (code, exit) in [(403, 4), (404, 3), (422, 1)] {
        let sink = origin.serve(&format!("/{code}"), status(code));
        world.haul(&["put", "f", sink.url(), "-o", "answer"]).exits(exit);
    }
    assert_eq!(world.names(), ["f"]);

    world.haul(&["put", "f", sink.url(), "-o", "answer", "-d", "new/dir"]).exits(0).says("answer");

    assert_same_bytes(&world.read("new/dir/answer"), &long);
}

#[test]
fn statuses_that_count_as_success_can_be_listed() {
    let (world, origin) = (World::new(), Origin::start());
    world.write("f", "x");
    let sink = origin.serve("/up", status(409));

    world.haul(&["put", "f", sink.url(), "--accept-status", "2xx,409"]).exits(0);
    world.haul(&["put", "f", sink.url()]).exits(1);
}

#[test]
fn killed_before_its_end_was_told_a_put_is_found_again_and_not_repeated() {
    let (world, origin) = (World::new(), Origin::start());
    let (one, two) = (world.write("one", "1"), world.write("two", "2"));
    let gate = Gate::new();
    let done = origin.serve("/done", status(200));
    let held = origin.script("/held", vec![status(200).head_gate(&gate), status(200)]);
    let put = |file: &std::path::Path, url: &str| {
        let words = ["--json", "put", "--binary", file.to_str().unwrap(), url];
        words.map(str::to_owned)
    };
    let line = put(&two, held.url());
    let words: Vec<&str> = line.iter().map(String::as_str).collect();
    let running = world.spawn(&words);
    gate.wait_for(1);
    running.kill();

    world.haul(&words).exits(0);
    let line = put(&one, done.url());
    let words: Vec<&str> = line.iter().map(String::as_str).collect();
    world.haul(&words).exits(0);
    world.haul(&words).exits(0);

    assert_eq!(held.log().len(), 2, "a PUT is repeated");
    assert_eq!(done.log().len(), 2, "told and complete, the same line is a new task");
    assert_eq!(world.list().len(), 3);
}

#[test]
fn an_interrupted_put_is_sent_by_run() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(1, 40_000_000);
    let path = world.write("big", &content);
    let gate = Gate::new();
    let sink = origin.script("/up", vec![status(200).body_gate(1_000_000, &gate), status(200)]);
    let running = world.spawn(&["put", path.to_str().unwrap(), sink.url()]);
    gate.wait_for(1);
    running.signal(rustix::process::Signal::INT);
    running.finish().exits(130).says("sends the request again, unless all of it was out");
    gate.open();

    world.run().exits(0);

    let requests = sink.requests();
    assert_eq!(requests.len(), 1);
    assert_same_bytes(&form_of(&requests[0])[0].body, &content);
}

#[test]
fn fields_after_the_file_parts_of_text_and_headers_of_parts_have_flags() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/up", status(200));
    world.write("notes.txt", "A file.");

    let fields = ["--field", "a=1", "--field-after", "z=\"2\", \"3\""];
    let line = [&["put", "notes.txt", sink.url(), "--part", "meta:m.json={}"], &fields[..]].concat();
    world.haul(&[&line[..], &["--part-header", "X-Own: yes"]].concat()).exits(0);

    let parts = form_of(&sink.requests()[0]);
    let told: Vec<_> = parts.iter().map(|part| (part.name.as_str(), part.filename.as_deref(), part.text())).collect();
    let files = [("file", Some("notes.txt"), "A file."), ("meta", Some("m.json"), "{}")];
    assert_eq!(told, [&[("a", None, "1")], &files[..], &[("z", None, "2"), ("z", None, "3")]].concat());
    assert_eq!(parts[1].own, [("x-own".to_owned(), "yes".to_owned())]);
    assert_eq!(parts[2].content_type.as_deref(), Some("application/json"));
    world.haul(&["put", "--binary", "notes.txt", sink.url(), "--field-after", "a=b"]).exits(2).says("--field-after");
    world.haul(&["put", "notes.txt", sink.url(), "--part", "a=b"]).exits(2).says("field:name=text");
}

#[test]
fn what_stdin_gives_is_stored_sent_with_its_length_and_removed() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/up", status(200));

    world.haul_reading(&["put", "-", sink.url(), "--binary"], "piped").exits(0);
    world.haul_reading(&["put", "-", sink.url()], "piped").exits(0);

    let requests = sink.requests();
    assert_eq!((requests[0].header("content-length"), &requests[0].body[..]), (Some("5"), &b"piped"[..]));
    assert_eq!(form_of(&requests[1])[0].filename.as_deref(), Some("stdin"));
    assert_eq!(world::names_in(&world.home().join("spool")), [""; 0]);
}

#[test]
fn what_stdin_gave_is_sent_again_after_a_failure() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.script("/up", vec![status(403), status(200)]);

    world
        .haul_reading(&["put", "-", sink.url(), "--id", "p"], "piped")
        .exits(4)
        .says("is kept while its task can send it");
    world.haul(&["retry", "p"]).exits(0);
    world.run().exits(0);

    assert_eq!(form_of(&sink.requests()[1])[0].text(), "piped");
    assert_eq!(spool(&world), [""; 0]);
}

/// What waits to be sent.
pub fn spool(world: &World) -> Vec<String> {
    world::names_in(&world.home().join("spool"))
}

/// A pipe with a name.
pub fn pipe(world: &World, name: &str) -> std::path::PathBuf {
    let path = world.work().join(name);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    path
}

#[test]
fn two_pipes_are_refused_before_one_is_read() {
    let world = World::new();
    let (one, other) = (pipe(&world, "one"), pipe(&world, "other")); // nobody writes to them: reading would never end

    let line = ["put", one.to_str().unwrap(), other.to_str().unwrap(), "http://127.0.0.1:9/"];
    world.haul(&line).exits(2).says("one FILE of put");
    world.haul_reading(&["put", "-", "-", "http://127.0.0.1:9/"], "x").exits(2).says("one FILE of put");
    world.haul(&["put", one.to_str().unwrap(), "nothing", "http://127.0.0.1:9/"]).exits(6).says("does not exist");
    assert_eq!(spool(&world), [""; 0]);
}

#[test]
fn an_interrupt_ends_what_is_still_reading_and_nothing_of_it_is_kept() {
    let world = World::new();
    let endless = pipe(&world, "endless"); // nobody writes to it
    let (name, url) = (endless.to_str().unwrap(), "http://127.0.0.1:9/");

    let reading = world.spawn(&["put", name, url]);
    wait::wait_until(|| spool(&world).len() == 1, || "nothing is read".into());
    reading.signal(Signal::INT);

    reading.finish().exits(130);
    assert_eq!(spool(&world), [""; 0]);
}

#[test]
fn what_stdin_gave_is_kept_as_long_as_its_task_can_send_it() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.script("/up", vec![status(404), status(200), status(200)]);
    world.haul_reading(&["put", "-", sink.url(), "--id", "p"], "piped").exits(3);
    let kept = world.home().join("spool").join(&spool(&world)[0]);
    let year = std::time::Duration::from_secs(365 * 24 * 3600);
    let old = std::fs::metadata(&kept).unwrap().modified().unwrap() - year;
    std::fs::File::open(&kept).unwrap().set_modified(old).unwrap();

    world.haul_reading(&["put", "-", sink.url()], "another").exits(0);
    world.haul(&["retry", "p"]).exits(0);
    world.run().exits(0);

    assert_eq!(form_of(&sink.requests()[2])[0].text(), "piped");
    assert_eq!(spool(&world), [""; 0]);
}

#[test]
fn what_was_read_goes_when_its_task_is_cancelled_forgotten_or_was_never_added() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let refused = origin.serve("/refused", status(403));
    let slow = origin.serve("/slow", status(200).body_gate(1_000, &gate));
    let fail = |id: &str| world.haul_reading(&["put", "-", refused.url(), "--id", id], "piped").exits(4);

    fail("removed");
    world.haul(&["rm", "removed"]).exits(0);
    assert_eq!(spool(&world), [""; 0]);
    fail("cleaned");
    world.haul(&["clean", "--older-than", "0s"]).exits(0);
    assert_eq!(spool(&world), [""; 0]);
    let running = world.spawn_reading(&["put", "-", slow.url(), "--id", "c"], &"x".repeat(40_000_000));
    gate.wait_for(1);
    assert_eq!(spool(&world).len(), 1);
    world.haul(&["cancel", "c"]).exits(0);
    running.finish().exits(1);
    assert_eq!(spool(&world), [""; 0]);
    world.haul_reading(&["put", "-", "nonsense:"], "piped").exits(2);
    assert_eq!(spool(&world), [""; 0]);
}

#[test]
fn what_an_interrupted_put_had_read_waits_for_run_or_cancel() {
    let (world, origin) = (World::new(), Origin::start());
    for (id, ends) in [("r", &["run", "--until-idle"][..]), ("c", &["cancel", "c"])] {
        let gate = Gate::new();
        let sink = origin.script(&format!("/{id}"), vec![status(200).body_gate(1_000, &gate), status(200)]);
        let running = world.spawn_reading(&["put", "-", sink.url(), "--id", id], &"x".repeat(40_000_000));
        gate.wait_for(1);
        running.signal(rustix::process::Signal::INT);
        running.finish().exits(130);
        gate.open();
        world.haul(&["ls"]).exits(0);
        assert_eq!(spool(&world).len(), 1, "{id}");

        world.haul(ends).exits(0);

        assert_eq!(spool(&world), [""; 0], "{id}");
    }
    assert_eq!(world.show("r")["status"], "complete");
}

#[test]
fn what_a_killed_put_had_begun_to_read_is_swept_and_what_is_being_read_is_not() {
    let world = World::new();
    let path = pipe(&world, "pipe");
    let running = world.spawn(&["put", path.to_str().unwrap(), "http://127.0.0.1:9/"]);
    let mut writer = std::fs::File::options().write(true).open(&path).unwrap(); // once it is being read
    std::io::Write::write_all(&mut writer, &bytes(1, 1_000_000)).unwrap(); // more than a pipe holds

    world.haul(&["ls"]).exits(0);
    assert_eq!(spool(&world).len(), 1);
    running.kill();
    world.haul(&["ls"]).exits(0);

    assert_eq!(spool(&world), [""; 0]);
}

#[test]
fn flags_may_stand_between_file_and_url_and_both_are_needed() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/up", status(200));
    world.write("notes.txt", "A file.");

    world.haul(&["put", "notes.txt", "--binary", sink.url()]).exits(0);

    assert_eq!(sink.requests()[0].body, b"A file.");
    world.haul(&["put", sink.url()]).exits(2).says("a FILE and a URL");
}

#[test]
fn files_are_sent_by_whatever_name_they_have() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/up", status(200));
    world.write("two\nlines\x1b.txt", "odd");
    world.write("sub\tdir/b", "b");

    world.haul(&["put", "two\nlines\x1b.txt", sink.url()]).exits(0);
    world.haul(&["put", "two\nlines\x1b.txt", "sub\tdir/b", sink.url()]).exits(0);
    world.haul(&["put", "--binary", "two\nlines\x1b.txt", sink.url()]).exits(0);
    world.haul(&["put", "no\nsuch", sink.url()]).exits(6).says("`no\\nsuch`");

    let seen = sink.requests();
    for request in &seen[..2] {
        let body = String::from_utf8_lossy(&request.body);
        assert!(body.contains("filename=\"two%0D%0Alines\x1b.txt\"\r\n"), "{body}");
    }
    assert_eq!(seen[2].header("content-disposition"), Some("attachment; filename=\"two%0Alines%1B.txt\""));
}

#[test]
fn a_name_that_is_not_utf8_is_told_with_what_to_do() {
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9.txt");
    std::fs::write(world.work().join(odd), "x").unwrap();
    for words in [["put", "http://127.0.0.1:9/up"], ["get", "http://127.0.0.1:9/f"]] {
        let mut command = world.command(&words);
        if words[0] == "get" {
            command.arg("-o").arg(odd)
        } else {
            command.arg(odd)
        };
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("`caf\u{fffd}.txt` is not UTF-8") && said.contains("haul put - URL <FILE"), "{said}");
    }
    world.haul(&["get", "http://127.0.0.1:9/f", "-o", "a\nb"]).exits(2).says("-o `a\\nb`: a name must not contain");
}
