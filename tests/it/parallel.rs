//! Divided downloads: pieces of one version only, each of which goes on by itself.

use crate::download::notes;
use crate::support::*;
use rustix::process::Signal;
use serde_json::json;

const SIZE: usize = 6 << 20;
const MIB: usize = 1 << 20;

fn film() -> Vec<u8> {
    bytes(1, SIZE)
}

/// The ranges asked for, sorted; `-` stands for the whole.
fn ranges(resource: &Resource) -> Vec<String> {
    let mut ranges: Vec<String> =
        resource.requests().iter().map(|request| request.header("range").unwrap_or("-").to_owned()).collect();
    ranges.sort();
    ranges
}

#[test]
fn a_file_is_fetched_in_as_many_parts_as_asked_for() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let content = bytes(1, SIZE - 3); // no part is so long that it is split for a connection that has ended
    let whole = file(&content).etag("\"v1\"").gate(MIB, &gate);
    let film_url = origin.serve("/f", whole);

    let running = world.spawn_get(&[film_url.url(), "--parts", "3"]);
    gate.wait_for(3); // all three at once
    gate.open();
    running.finish().exits(0);

    assert_same_bytes(&world.read("f"), &content);
    assert_eq!(ranges(&film_url), ["-", "bytes=2097151-4194301", "bytes=4194302-6291452"]);
    let conditions: Vec<_> = film_url.requests().iter().map(|r| r.header("if-range").map(str::to_owned)).collect();
    assert_eq!(conditions.iter().flatten().collect::<Vec<_>>(), ["\"v1\"", "\"v1\""]);
    assert_eq!(world.names(), ["f"], "one file, no part is left");
}

#[test]
fn parts_that_name_no_version_are_not_joined_under_a_date() {
    let (world, origin) = (World::new(), Origin::start());
    let dated = file(&film()).last_modified("Sat, 05 Nov 1994 08:49:37 GMT");
    let dated = dated.header("Date", "Sun, 06 Nov 1994 08:49:37 GMT").pace(8 * MIB);
    let other = file(&bytes(99, SIZE)).ignoring_if_range();
    let answer = dated.unless(move |seen| seen.header("range").map(|_| other.clone()));
    let resource = origin.serve("/f", answer);

    let last = world.get(&[resource.url(), "--parts", "4"]).exits(0).only_final();

    assert_same_bytes(&world.read("f"), &film());
    assert!(notes(&last).contains(&"single-stream"), "{last}");
}

#[test]
fn what_cannot_be_divided_safely_is_one_stream_and_says_why() {
    let cases = [
        (file(&film()), "the server gives no strong validator, so that parts could be of different versions"),
        (file(&film()).etag("W/\"v1\""), "the server gives no strong validator"),
        (file(&film()).etag("\"v1\"").without_ranges(), "the server is not known to answer ranges"),
        (file(&film()).etag("\"v1\"").chunked(), "the server does not say how long it is"),
        (file(&film()[..MIB]).etag("\"v1\""), "it is too small to gain from more connections"),
    ];
    for (answer, reason) in cases {
        let (world, origin) = (World::new(), Origin::start());
        let resource = origin.serve("/f", answer);

        let last = world.get(&[resource.url(), "--parts", "4"]).exits(0).only_final();

        let notes = notes(&last);
        assert!(notes.contains(&"single-stream"), "{notes:?}");
        assert!(notes.iter().any(|note| note.contains(reason)), "{reason}: {notes:?}");
        assert_eq!(resource.log().len(), 1, "{reason}");
    }
}

#[test]
fn one_stream_that_is_cut_and_goes_on_keeps_the_reason_why_it_is_one() {
    let (world, origin) = (World::new(), Origin::start());
    let small = file(&film()[..MIB]).etag("\"v1\"");
    let resource = origin.script("/f", vec![small.clone().cut(MIB / 2), small]);

    let last = world.get(&[resource.url(), "--parts", "4"]).exits(0).only_final();

    let reasons: Vec<_> = notes(&last).into_iter().filter(|note| note.starts_with("single-stream: ")).collect();
    assert_eq!(reasons, ["single-stream: it is too small to gain from more connections"]);
    assert_eq!(resource.log().len(), 2);
}

#[test]
fn a_piece_of_another_version_begins_everything_again() {
    let (world, origin) = (World::new(), Origin::start());
    let other = bytes(2, SIZE);
    let gate = Gate::new();
    let first = file(&film()).etag("\"v1\"").gate(MIB, &gate);
    // The second and third connection find the new version.
    let resource = origin.script("/f", vec![first, file(&other).etag("\"v2\"")]);

    let running = world.spawn_get(&[resource.url(), "--parts", "3"]);
    gate.wait_for(1);
    let last = running.finish().exits(0).only_final();

    assert_same_bytes(&world.read("f"), &other);
    assert!(notes(&last).contains(&"restarted-changed"), "{last}");
}

#[test]
fn the_whole_of_another_version_that_a_piece_is_answered_with_is_taken_at_once() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let other = bytes(2, SIZE);
    let first = file(&film()).etag("\"v1\"").gate(MIB, &gate);
    let resource = origin.serve("/f", first);
    let running = world.spawn_get(&[resource.url(), "--parts", "2", "--id", "film"]);
    gate.wait_for(2);
    world.haul(&["pause", "film"]).exits(0);
    drop(running);
    resource.now(vec![file(&other).etag("\"v2\"")]);
    let before = resource.log().len();

    let last = world.get(&[resource.url(), "--parts", "2", "--id", "film"]).exits(0).only_final();

    assert_same_bytes(&world.read("f"), &other);
    assert!(notes(&last).contains(&"restarted-changed"), "{last}");
    let ranges: Vec<_> = resource.requests()[before..].iter().map(|request| request.range_start()).collect();
    assert!(ranges.iter().all(Option::is_some), "nothing is asked for from the first byte: {ranges:?}");
}

#[test]
fn a_server_whose_every_answer_is_another_version_is_read_in_one_stream() {
    let (world, origin) = (World::new(), Origin::start());
    let answers = (0..40).map(|number| file(&vec![number; SIZE]).etag(&format!("\"v{number}\"")).pace(30 * MIB));
    let resource = origin.script("/f", answers.collect());

    let last = world.get(&[resource.url(), "--parts", "2"]).exits(0).only_final();

    assert!(notes(&last).contains(&"single-stream"), "{last}");
    assert!(resource.log().len() <= 6, "{:?}", resource.log());
}

#[test]
fn a_server_that_ignores_ranges_after_all_is_read_in_one_stream() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    // Paced: the rest of the first answer takes longer than the head of the second.
    let first = file(&film()).etag("\"v1\"").gate(MIB, &gate).pace(8 * MIB);
    let resource = origin.script("/f", vec![first, file(&film()).etag("\"v1\"").without_ranges()]);

    let running = world.spawn_get(&[resource.url(), "--parts", "2"]);
    gate.wait_for(1);
    running.wait_for_status("running");
    resource.wait_for_requests(2);
    gate.open();
    let last = running.finish().exits(0).only_final();

    assert_same_bytes(&world.read("f"), &film());
    assert!(notes(&last).contains(&"single-stream"), "{last}");
}

#[test]
fn parts_whose_answers_are_refusals_are_told_as_such() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let first = file(&film()).etag("\"v1\"").gate(MIB, &gate);
    let resource = origin.script("/f", vec![first, status(403)]);

    let running = world.spawn_get(&[resource.url(), "--parts", "2"]);
    gate.wait_for(1);
    resource.wait_for_requests(4);
    gate.open();
    let last = running.finish().exits(0).only_final();

    assert_same_bytes(&world.read("f"), &film());
    assert!(notes(&last).contains(&"single-stream: other parts were answered 403"), "{last}");
}

#[test]
fn a_piece_that_is_cut_goes_on_where_it_stopped() {
    let (world, origin) = (World::new(), Origin::start());
    let whole = file(&film()).etag("\"v1\"");
    let gate = Gate::new();
    let resource = origin.script("/f", vec![whole.clone().gate(MIB, &gate), whole.clone().cut(MIB), whole]);

    let last = std::thread::scope(|scope| {
        scope.spawn(|| {
            resource.wait_for_requests(3); // the first piece is not over before the other goes on
            gate.open();
        });
        world.get(&[resource.url(), "--parts", "2"]).exits(0).only_final()
    });

    assert_same_bytes(&world.read("f"), &film());
    let requests = resource.requests();
    let cut = requests[1].range_start().unwrap() as usize + MIB;
    let mut later = requests[2..].iter();
    assert!(
        later.any(|request| request.range_start() == Some(cut as u64)),
        "where it was cut: {:?}",
        ranges(&resource)
    );
    assert_eq!(last["notes"], json!([]));
}

#[test]
fn a_piece_that_is_split_before_it_is_answered_is_joined_all_the_same() {
    let (world, origin) = (World::new(), Origin::start());
    let (before, gate) = (Gate::new(), Gate::new());
    let whole = file(&film()).etag("\"v1\"");
    let resource = origin.serve("/f", whole.clone().gate(MIB, &before));
    let running = world.spawn_get(&[resource.url(), "--parts", "2"]);
    let id = running.wait_for_status("running");
    world.wait_for_bytes(&id, 2 * MIB as u64);
    world.haul(&["pause", &id]).exits(0);
    running.finish().exits(1);

    resource.now(vec![whole.clone(), whole.clone().head_gate(&gate), whole]);
    world.haul(&["resume", &id]).exits(0);
    let running = world.spawn(&["--json", "run", "--until-idle"]);
    resource.wait_for_requests(5); // one piece is there, and its connection has taken half of the other one
    gate.open();
    let last = running.finish().exits(0).only_final();

    assert_same_bytes(&world.read("f"), &film());
    assert_eq!(last["notes"], json!(["resumed"]), "nothing begins again");
}

#[test]
fn a_divided_download_has_no_more_connections_to_a_host_than_may_be() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film_at = |path: &str| origin.serve(path, file(&film()).etag("\"v1\"").gate(MIB / 4, &gate));
    let (here, mirror) = (film_at("/f"), film_at("/mirror"));
    let running = world.spawn_get(&[here.url(), "--mirror", mirror.url(), "--parts", "4", "--max-per-host", "2"]);
    let id = running.wait_for_status("running");
    gate.wait_for(2);
    world.wait_for_bytes(&id, 2 * (MIB / 4) as u64); // whoever else was asked has been seen by now
    assert_eq!(origin.busiest(), 2);
    gate.open();

    running.finish().exits(0);

    assert_same_bytes(&world.read("f"), &film());
}

#[test]
fn the_same_get_with_or_without_parts_goes_on_with_what_is_there() {
    for (first, then) in [(&[][..], &["--parts", "4"][..]), (&["--parts", "4"], &[])] {
        let (world, origin) = (World::new(), Origin::start());
        let content = bytes(47, 8 << 20);
        let gate = Gate::new();
        let film = origin.serve("/film.bin", file(&content).etag("\"v1\"").gate(1 << 20, &gate));
        let running = world.spawn_get(&[&[film.url()][..], first].concat());
        gate.wait_for(1);
        world.wait_for_part(1);
        let task = world.list().remove(0);
        world.wait_for_bytes(task["taskId"].as_str().unwrap(), 1);
        running.signal(rustix::process::Signal::INT);
        running.finish().exits(130);
        let had = world.list()[0]["bytesDone"].as_u64().unwrap();
        let before = film.log().len();
        film.now(vec![file(&content).etag("\"v1\"")]);

        let last = world.get(&[&[film.url()][..], then].concat()).exits(0).only_final();

        assert_same_bytes(&world.read("film.bin"), &content);
        assert_eq!(world.list().len(), 1);
        assert!(had > 0 && notes(&last).contains(&"resumed"), "{last}");
        assert_eq!(notes(&last).contains(&"single-stream"), first.is_empty(), "{last}");
        let again = &film.requests()[before..];
        assert!(again.iter().all(|request| request.range_start().is_some()), "{:?}", film.log());
    }
}

#[test]
fn each_piece_goes_on_after_a_pause() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let whole = file(&film()).etag("\"v1\"");
    let resource = origin.serve("/f", whole.clone().gate(MIB, &gate));
    let running = world.spawn_get(&[resource.url(), "--parts", "2"]);
    let id = running.wait_for_status("running");
    gate.wait_for(2);
    world.wait_for_bytes(&id, 2 * MIB as u64);
    world.haul(&["pause", &id]).exits(0);
    running.finish().exits(1);
    let before = resource.log().len();
    resource.now(vec![whole]);

    world.haul(&["resume", &id]).exits(0);
    world.run().exits(0);

    assert_same_bytes(&world.read("f"), &film());
    let again: Vec<_> = resource.requests()[before..].iter().filter_map(|request| request.range_start()).collect();
    assert!(again.contains(&(MIB as u64)) && again.contains(&(4 * MIB as u64)), "each from its own byte on: {again:?}");
    assert!(!again.contains(&0) && !again.contains(&(3 * MIB as u64)), "{again:?}");
}

#[test]
fn a_killed_divided_download_keeps_what_its_pieces_had() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let whole = file(&film()).etag("\"v1\"");
    let resource = origin.serve("/f", whole.clone().gate(MIB, &gate));
    let running = world.spawn_get(&["-vv", resource.url(), "--parts", "2"]);
    gate.wait_for(2);
    running.wait_for_word("checkpoint at 2097152 bytes");
    world.add(&[json!({"url": resource.url(), "filename": "other"})]); // committed after the checkpoint
    running.kill();
    let before = resource.log().len();
    resource.now(vec![whole]);

    world.get(&[resource.url(), "--parts", "2"]).exits(0);

    assert_same_bytes(&world.read("f"), &film());
    let again: Vec<_> = resource.requests()[before..].iter().map(|r| r.range_start().unwrap_or(0)).collect();
    assert!(again.iter().all(|start| start % (3 * MIB as u64) != 0), "no piece from its first byte: {again:?}");
}

#[test]
fn a_divided_file_that_has_grown_beyond_its_end_is_cut_to_its_length() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let whole = file(&film()).etag("\"v1\"");
    let resource = origin.serve("/f", whole.clone().gate(MIB, &gate));
    let running = world.spawn_get(&["-vv", resource.url(), "--parts", "2"]);
    gate.wait_for(2);
    running.wait_for_word("checkpoint at 2097152 bytes");
    running.signal(Signal::INT);
    running.finish();
    let part = world.wait_for_part(1);
    std::fs::File::options().write(true).open(part).unwrap().set_len(SIZE as u64 + 5_000).unwrap();
    resource.now(vec![whole]);

    let last = world.get(&[resource.url(), "--parts", "2"]).exits(0).only_final();

    assert_same_bytes(&world.read("f"), &film());
    assert!(last["resumedFrom"].as_u64() > Some(0), "{last}");
}

#[test]
fn mirrors_take_part_when_they_have_the_same_version() {
    let (world, one, two) = (World::new(), Origin::start(), Origin::start());
    let gate = Gate::new();
    let whole = file(&film()).etag("\"v1\"").gate(MIB, &gate);
    let (first, second) = (one.serve("/f", whole.clone()), two.serve("/f", whole));

    let running = world.spawn_get(&[first.url(), "--mirror", second.url(), "--parts", "1"]);
    gate.wait_for(1);
    gate.open();
    running.finish().exits(0);
    assert_eq!(second.log().len(), 0, "a mirror alone is for failures");

    world.haul(&["rm", "--all"]);
    let gate = Gate::new();
    let whole = file(&film()).etag("\"v1\"").gate(MIB, &gate);
    first.now(vec![whole.clone()]);
    second.now(vec![whole]);
    let running = world.spawn_get(&[first.url(), "--mirror", second.url(), "--parts", "2", "--on-conflict", "replace"]);
    gate.wait_for(4);
    gate.open();
    running.finish().exits(0);
    assert!(second.log().len() >= 2, "{:?}", second.log());
    assert_same_bytes(&world.read("f"), &film());
}

#[test]
fn a_mirror_with_another_version_is_left() {
    let (world, one, two) = (World::new(), Origin::start(), Origin::start());
    let first = one.serve("/f", file(&film()).etag("\"v1\"").pace(8 * MIB));
    let second = two.serve("/f", file(&bytes(2, SIZE)).etag("\"v2\""));

    let last = world.get(&[first.url(), "--mirror", second.url(), "--parts", "2"]).exits(0).only_final();

    assert_same_bytes(&world.read("f"), &film());
    assert!(notes(&last).contains(&"mirror-left"), "{last}");
}

#[test]
fn where_the_first_place_is_gone_another_file_of_a_mirror_is_begun_as_a_changed_one_is() {
    for gone in [status(500), status(404), status(410)] {
        let (world, one, two) = (World::new(), Origin::start(), Origin::start());
        let gate = Gate::new();
        let first = one.serve("/f", file(&film()).etag("\"v1\"").gate(MIB, &gate));
        let second = two.serve("/f", status(503));
        let running = world.spawn_get(&[first.url(), "--mirror", second.url(), "--parts", "2"]);
        let id = running.wait_for_status("running");
        world.wait_for_bytes(&id, 2 * MIB as u64);
        running.kill();
        let gate = Gate::new();
        first.now(vec![gone.head_gate(&gate)]);
        second.now(vec![file(&bytes(2, SIZE)).etag("\"v2\"")]);

        let running = world.spawn_get(&["-v", first.url(), "--mirror", second.url(), "--parts", "2", "--retries", "0"]);
        running.wait_for_word("is left: it has something else"); // while the first one may still have what is stored
        gate.open();
        let last = running.finish().exits(0).only_final();

        assert_same_bytes(&world.read("f"), &bytes(2, SIZE));
        assert!(notes(&last).contains(&"restarted-changed"), "{last}");
        assert_eq!(world.names(), ["f"], "nothing of the first is left");
    }
}

#[test]
fn a_mirror_with_other_bytes_under_the_same_validator_is_left() {
    let (world, one, two) = (World::new(), Origin::start(), Origin::start());
    let first = one.serve("/f", file(&film()).etag("\"v1\"").pace(8 * MIB));
    let second = two.serve("/f", file(&bytes(2, SIZE)).etag("\"v1\""));

    let last = world.get(&[first.url(), "--mirror", second.url(), "--parts", "2"]).exits(0).only_final();

    assert_same_bytes(&world.read("f"), &film());
    assert!(notes(&last).contains(&"mirror-left"), "{last}");
    assert_eq!(second.log().len(), 1, "it was compared once");
}

#[test]
fn after_a_kill_a_mirror_goes_on_alone_when_it_has_the_same_bytes() {
    let (world, one, two) = (World::new(), Origin::start(), Origin::start());
    let gate = Gate::new();
    let whole = file(&film()).etag("\"v1\"");
    let first = one.serve("/f", whole.clone().gate(MIB, &gate));
    let second = two.serve("/f", status(503));
    let running = world.spawn_get(&[first.url(), "--mirror", second.url(), "--parts", "2"]);
    let id = running.wait_for_status("running");
    world.wait_for_bytes(&id, 2 * MIB as u64);
    running.kill();
    first.now(vec![status(503)]);
    second.now(vec![whole]);
    let before = second.log().len();

    world.get(&[first.url(), "--mirror", second.url(), "--parts", "2"]).exits(0);

    assert_same_bytes(&world.read("f"), &film());
    let again = &second.requests()[before..];
    assert!(again.iter().all(|seen| seen.range_start().is_some_and(|start| start > 0)), "{again:?}");
}

#[test]
fn a_divided_download_keeps_its_pieces_while_the_server_has_nothing() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let whole = file(&film()).etag("\"v1\"");
    let resource = origin.serve("/f", whole.clone().gate(MIB, &gate));
    let running = world.spawn_get(&[resource.url(), "--parts", "2"]);
    let id = running.wait_for_status("running");
    world.wait_for_bytes(&id, 2 * MIB as u64);
    running.kill();
    resource.now(vec![status(404)]);

    world.get(&[resource.url(), "--parts", "2"]).exits(3);
    let record = world.show(&id);
    assert_eq!((&record["status"], &record["canResume"]), (&"notFound".into(), &true.into()), "{record}");
    resource.now(vec![whole]);
    let before = resource.log().len();
    world.get(&[resource.url(), "--parts", "2"]).exits(0);

    assert_same_bytes(&world.read("f"), &film());
    let again = &resource.requests()[before..];
    assert!(again.iter().all(|seen| seen.range_start().is_some_and(|start| start > 0)), "{again:?}");
}

#[test]
fn a_server_that_gives_fewer_connections_gets_fewer() {
    let (world, origin) = (World::new(), Origin::start());
    let whole = file(&film()).etag("\"v1\"").pace(20 * MIB);
    let resource = origin.script("/f", vec![whole.clone(), status(503), status(429), whole]);

    world.get(&[resource.url(), "--parts", "3", "--retries", "0"]).exits(0);

    assert_same_bytes(&world.read("f"), &film());
}

#[test]
fn a_server_that_gives_one_connection_is_read_in_one_stream() {
    for refusal in [status(403), status(404), status(503), silence()] {
        let (world, origin) = (World::new(), Origin::start());
        let gate = Gate::new();
        let whole = file(&film()).etag("\"v1\"").gate(MIB, &gate);
        let resource = origin.script("/f", [vec![whole], vec![refusal; 20]].concat());

        let running = world.spawn_get(&[resource.url(), "--parts", "4", "--retries", "0"]);
        resource.wait_for_requests(4);
        running.wait_for_status("running");
        gate.open();
        let last = running.finish().exits(0).only_final();

        assert_same_bytes(&world.read("f"), &film());
        assert!(!notes(&last).iter().any(|note| note.starts_with("restarted")), "{last}");
        assert_eq!(ranges(&resource).iter().filter(|range| *range == "-").count(), 1, "the good stream is not dropped");
    }
}

#[test]
fn a_parallel_task_takes_one_slot() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let resource = origin.serve("/f", file(&film()).etag("\"v1\"").gate(MIB, &gate));
    let other = origin.serve("/g", file(b"x").head_gate(&gate));
    let running = world.spawn_get(&[resource.url(), other.url(), "--parts", "3", "-j", "2"]);

    gate.wait_for(4); // three pieces and the other task
    gate.open();

    running.finish().exits(0);
    assert_same_bytes(&world.read("f"), &film());
}

#[test]
fn a_parallel_download_task_of_background_downloader_uses_all_its_urls() {
    let (world, one, two) = (World::new(), Origin::start(), Origin::start());
    let gate = Gate::new();
    let whole = file(&film()).etag("\"v1\"").gate(MIB, &gate);
    let (first, second) = (one.serve("/f", whole.clone()), two.serve("/f", whole));
    let task = json!({"taskType": "ParallelDownloadTask", "url": first.url(), "urls": [first.url(), second.url()],
                      "chunks": 1, "filename": "f"});
    world.add(&[task]);

    let running = world.spawn(&["--json", "run", "--until-idle"]);
    gate.wait_for(2);
    gate.open();
    running.finish().exits(0);

    assert_same_bytes(&std::fs::read(world.path("in").join("f")).unwrap(), &film());
    assert_eq!([first.log().is_empty(), second.log().is_empty()], [false, false]);
}

#[test]
fn a_server_has_no_more_connections_than_asked_for_when_other_urls_are_dead() {
    let (world, origin) = (World::new(), Origin::start());
    let film_url = origin.serve("/f", file(&film()).etag("\"v1\"").pace(4 * MIB));
    let mut line = vec![film_url.url(), "--parts", "2"];
    for dead in ["http://127.0.0.1:1/a", "http://127.0.0.1:1/b", "http://127.0.0.1:1/c"] {
        line.extend(["--mirror", dead]);
    }

    world.get(&line).exits(0);

    assert_same_bytes(&world.read("f"), &film());
    // One may have been left just now, and the origin not have seen it yet.
    assert!(origin.busiest() <= 3, "{} at once: {:?}", origin.busiest(), film_url.log());
}

#[test]
fn a_fast_mirror_gets_parts_among_dead_slow_and_wrong_ones() {
    let (world, other) = (World::new(), Origin::start());
    let (slow, fast) = (Origin::start(), Origin::start());
    let slow_url = slow.serve("/f", file(&film()).etag("\"v1\"").pace(50_000));
    let wrong = other.serve("/f", file(&bytes(2, SIZE)).etag("\"v2\""));
    let good = fast.serve("/f", file(&film()).etag("\"v1\""));
    let mirrors = [slow_url.url(), wrong.url(), good.url()];
    let mut line = vec!["http://127.0.0.1:1/f", "--parts", "6"];
    mirrors.iter().for_each(|mirror| line.extend(["--mirror", *mirror]));

    world.get(&line).exits(0);

    assert_same_bytes(&world.read("f"), &film());
    let by_good = good.log().len();
    assert!(by_good >= 5, "the fast mirror: {:?}, the slow one: {:?}", good.log(), slow_url.log());
}

#[test]
fn a_mirror_that_was_slow_when_it_was_compared_is_tried_with_a_piece_all_the_same() {
    let (world, one, two, three) = (World::new(), Origin::start(), Origin::start(), Origin::start());
    let content = bytes(1, 2 * MIB); // two parts, and three places
    let whole = file(&content).etag("\"v1\"");
    let slow = [&one, &two].map(|origin| origin.serve("/f", whole.clone().pace(150_000)));
    let busy = three.script("/f", vec![whole.clone().pace(100_000), whole]);

    world.get(&[slow[0].url(), "--mirror", slow[1].url(), "--mirror", busy.url(), "--parts", "3"]).exits(0);

    assert_same_bytes(&world.read("f"), &content);
    assert!(busy.log().len() >= 2, "{:?}", busy.log());
}

#[test]
fn a_redirect_of_parts_that_is_not_followed_is_told_with_its_code_headers_and_body() {
    let (world, origin) = (World::new(), Origin::start());
    let circle = |seen: &crate::support::origin::Seen| {
        seen.header("range").map(|_| redirect(302, "/f").header("X-Why", "maintenance"))
    };
    let film_url = origin.serve("/f", file(&film()).etag("\"v1\"").cut(MIB).unless(circle));

    let line = ["--json", "get", film_url.url(), "--parts", "2", "--retries", "3"];
    let update = world.haul(&line).exits(1).only_final();

    assert_eq!((&update["responseStatusCode"], &update["responseBody"]), (&json!(302), &json!("this is a 302")));
    assert_eq!(update["responseHeaders"]["x-why"], "maintenance", "{update}");
}

#[test]
fn a_mirror_that_wants_credentials_is_left_for_those_that_want_none() {
    let (world, open) = (World::new(), Origin::start());
    let (locked, film_url) = (Origin::start(), open.serve("/f", file(&film()).etag("\"v1\"")));
    let refuses = locked.serve("/f", status(401));
    for (dir, urls) in [("first", [film_url.url(), refuses.url()]), ("last", [refuses.url(), film_url.url()])] {
        let line = [urls[0], "--mirror", urls[1], "--parts", "4", "--retries", "0", "-d", dir];

        world.get(&line).exits(0);

        assert_same_bytes(&world.read(&format!("{dir}/f")), &film());
    }
    assert!(!refuses.log().is_empty());
}

#[test]
fn a_server_that_says_when_to_come_again_is_asked_for_no_part_before() {
    let (world, busy, other) = (World::new(), Origin::start(), Origin::start());
    let refusal = status(503).header("Retry-After", "3600");
    let first = busy.serve("/f", refusal);
    let mirror = other.serve("/f", file(&film()).etag("\"v1\""));

    let last = world.get(&[first.url(), "--mirror", mirror.url(), "--parts", "4"]).exits(0).only_final();

    assert_same_bytes(&world.read("f"), &film());
    assert_eq!(first.log().len(), 1, "{:?} {last}", first.log());
}

#[test]
fn where_every_server_wants_to_be_left_alone_the_task_waits_as_long() {
    let (world, origin) = (World::new(), Origin::start());
    let busy = status(503).header("Retry-After", "3600");
    let first = file(&film()).etag("\"v1\"").cut(MIB / 2);
    let resource = origin.script("/f", vec![first, busy]);

    let running = world.spawn_get(&[resource.url(), "--parts", "3"]);
    running.wait_for_status("waitingToRetry");
    running.signal(rustix::process::Signal::INT);
    running.finish().exits(130);

    assert!(resource.log().len() <= 4, "{:?}", resource.log());
}
