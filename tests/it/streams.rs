//! `haul put --stream`: what a pipe gives is sent while it is read, again after a failure, and never as if a part of it was all.

use std::fs::File;
use std::io::Write;

use rustix::process::Signal;
use serde_json::json;

use crate::put::{pipe, spool};
use crate::support::form::parts_of;
use crate::support::process::Running;
use crate::support::*;

/// `haul put --stream` of a pipe, and what writes into the pipe.
fn stream(world: &World, flags: &[&str], url: &str) -> (Running, File) {
    let path = pipe(world, "pipe");
    let running = world.spawn(&[&["--json", "put", "--stream", "pipe", url], flags].concat());
    let writer = File::options().write(true).open(path).unwrap(); // once it is read
    (running, writer)
}

/// The same, where its server has had the first six bytes of a body and waits for `gate`.
fn begun(world: &World, origin: &Origin, gate: &Gate, flags: &[&str]) -> (Resource, Running, File) {
    let sink = origin.serve("/up", status(200).body_gate(6, gate));
    let (running, mut writer) = stream(world, &[&["--binary", "--id", "s"], flags].concat(), sink.url());
    writer.write_all(b"first ").unwrap();
    gate.wait_for(1);
    (sink, running, writer)
}

/// The task has failed because the rest of its body will not come, and its server has never had a whole request.
#[track_caller]
fn was_cut(world: &World, sink: &Resource) {
    let record = world.show("s");
    assert_eq!((&record["status"], &record["exception"]["type"]), (&json!("failed"), &json!("fileSystem")), "{record}");
    assert!(record["exception"]["description"].as_str().unwrap().contains("is not sent as if it was"), "{record}");
    assert_eq!(sink.log(), [""; 0]);
}

#[test]
fn what_a_pipe_gives_is_sent_while_it_is_read() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let (sink, running, mut writer) = begun(&world, &origin, &gate, &[]);

    writer.write_all(b"second").unwrap();
    drop(writer);
    gate.open();

    let update = running.finish().exits(0).only_final();
    let request = sink.requests().remove(0);
    let told = (request.header("transfer-encoding"), request.header("content-length"));
    assert_eq!((told, request.body.as_slice()), ((Some("chunked"), None), &b"first second"[..]));
    assert_eq!(request.header("content-disposition"), Some("attachment; filename=\"pipe\""));
    assert_eq!((&update["fileSize"], &world.show("s")["bytesDone"]), (&json!(12), &json!(12)), "{update}");
    assert_eq!(spool(&world), [""; 0]);
}

#[test]
fn a_part_of_a_form_is_sent_while_it_is_read() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let sink = origin.serve("/up", status(200).body_gate(1, &gate));
    world.write("one.txt", "A file.");
    let path = pipe(&world, "pipe");
    let flags = ["one.txt", sink.url(), "--field", "a=1", "--field-after", "z=2"];
    let running = world.spawn(&[&["put", "--stream", "pipe"], &flags[..]].concat());
    let mut writer = File::options().write(true).open(path).unwrap();
    gate.wait_for(1);

    let content = bytes(1, 300_000);
    gate.open();
    content.chunks(70_000).for_each(|piece| writer.write_all(piece).unwrap());
    drop(writer);

    running.finish().exits(0);
    let request = &sink.requests()[0];
    assert_eq!(request.header("transfer-encoding"), Some("chunked"));
    let parts = parts_of(request);
    let names: Vec<_> = parts.iter().map(|part| (part.name.as_str(), part.filename.as_deref())).collect();
    assert_eq!(names, [("a", None), ("pipe", Some("pipe")), ("one", Some("one.txt")), ("z", None)]);
    assert_same_bytes(&parts[1].body, &content);
    assert_eq!((parts[2].text(), parts[3].text()), ("A file.", "2"));
}

#[test]
fn a_refused_stream_is_sent_again_from_its_beginning() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let busy = status(503).header("Retry-After", "0").early(6);
    let sink = origin.script("/up", vec![busy, status(200).body_gate(6, &gate)]);
    let (running, mut writer) = stream(&world, &["--binary", "--retries", "1"], sink.url());
    writer.write_all(b"first ").unwrap();
    gate.wait_for(1);

    writer.write_all(b"second").unwrap();
    drop(writer);
    gate.open();

    running.finish().exits(0);
    assert_eq!(sink.requests()[1].body, b"first second");
}

#[test]
fn a_server_that_wants_the_length_gets_the_stream_when_that_is_known() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.script("/up", vec![status(411).early(0), status(200)]);
    let (running, mut writer) = stream(&world, &["--binary"], sink.url());
    sink.wait_for_requests(1);

    writer.write_all(b"all of it").unwrap();
    drop(writer);

    running.finish().exits(0);
    let requests = sink.requests();
    assert_eq!((requests.len(), requests[1].header("content-length")), (2, Some("9")));
    assert_eq!(requests[1].body, b"all of it");
}

#[test]
fn what_was_being_sent_is_not_sent_as_whole_where_its_reader_is_killed() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let (sink, running, _writer) = begun(&world, &origin, &gate, &[]);

    running.kill();
    gate.open();
    world.run().exits(6);

    was_cut(&world, &sink);
}

#[test]
fn where_another_process_sends_it_the_death_of_its_reader_ends_the_request() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let run = world.spawn(&["--json", "run"]);
    wait::wait_until(|| world.home().join("haul.sock").exists(), || "nobody works the home".into());
    let (sink, running, _writer) = begun(&world, &origin, &gate, &[]);

    running.kill();

    assert_eq!(run.wait_for_status("failed"), "s");
    gate.wait_abandoned(1);
    was_cut(&world, &sink);
}

#[test]
fn an_interrupted_stream_fails_when_it_is_worked() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let (sink, running, _writer) = begun(&world, &origin, &gate, &[]);

    running.signal(Signal::INT);

    running.finish().exits(130).says("its task cannot send it any more");
    gate.open();
    world.run().exits(6);
    was_cut(&world, &sink);
}

#[test]
fn a_cancelled_stream_is_read_no_further_and_forgotten() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let (_sink, running, _writer) = begun(&world, &origin, &gate, &[]);

    world.haul(&["cancel", "s"]).exits(0);

    running.finish().exits(1);
    assert_eq!(spool(&world), [""; 0]);
}

#[test]
fn what_a_failed_task_has_not_sent_is_read_to_its_end_and_can_be_sent_again() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/up", status(403).early(0));
    let (running, mut writer) = stream(&world, &["--binary", "--id", "s"], sink.url());
    running.wait_for_word("read to its end");

    writer.write_all(b"late").unwrap();
    drop(writer);
    running.finish().exits(4).says("is kept while its task can send it");
    sink.now(vec![status(200)]);
    world.haul(&["retry", "s"]).exits(0);
    world.run().exits(0);

    let last = sink.requests().pop().unwrap();
    assert_eq!((last.header("content-length"), last.body.as_slice()), (Some("4"), &b"late"[..]));
    assert_eq!(spool(&world), [""; 0]);
}

#[test]
fn a_stream_needs_a_pipe_and_no_length_and_is_not_empty() {
    let (world, origin) = (World::new(), Origin::start());
    let sink = origin.serve("/up", status(200));
    world.write("f", "x");

    world.haul(&["put", "--stream", "f", sink.url()]).exits(2).says("--stream is for what stdin or a pipe gives");
    world.haul(&["put", "--stream", "-", sink.url(), "--resumable", "tus"]).exits(2).says("--resumable");
    let (running, writer) = stream(&world, &["--binary"], sink.url());
    drop(writer);
    running.finish().exits(6).says("has 0 length");

    assert_eq!(sink.log(), [""; 0]);
}
