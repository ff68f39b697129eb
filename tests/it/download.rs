//! A download arrives byte for byte, under the right name, at the right place, and is told of in the right order.

use std::os::unix::fs::PermissionsExt;

use crate::support::process::in_a_namespace;
use crate::support::*;

#[test]
fn a_file_arrives_byte_for_byte_under_its_own_name() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(1, 3_000_001);
    let film = origin.serve("/films/film.bin", file(&content).etag("\"v1\""));

    let outcome = world.haul(&["get", film.url()]).exits(0);

    assert_same_bytes(&world.read("film.bin"), &content);
    assert_eq!(world.names(), ["film.bin"], "nothing else is left behind");
    assert_eq!(outcome.stdout, "", "without --json nothing is printed on stdout");
    assert_eq!(film.log(), ["GET /films/film.bin"]);
    assert_eq!(film.requests()[0].header("accept-encoding"), Some("identity"));
}

#[test]
fn updates_come_in_the_documented_order() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(2, 200_000);
    let film = origin.serve("/film.bin", file(&content).etag("\"v1\"").header("Content-Type", "video/mp4; charset=x"));

    let outcome = world.get(&[film.url()]).exits(0);

    assert_eq!(outcome.statuses(), "enqueued > running > complete");
    let last = outcome.only_final();
    assert_eq!(last["type"], "status");
    assert_eq!(last["filePath"], world.work().join("film.bin").to_str().unwrap());
    assert_eq!(last["responseStatusCode"], 200);
    assert_eq!(last["responseHeaders"]["etag"], "\"v1\"");
    assert_eq!(last["mimeType"], "video/mp4");
    assert_eq!(last["charSet"], "x");
    assert!(last["responseBody"].is_null() && last["exception"].is_null(), "{last}");
    assert_eq!(last["resumedFrom"], 0);
    let updates = outcome.json();
    let progress: Vec<f64> = updates.iter().filter_map(|update| update["progress"].as_f64()).collect();
    assert_eq!(progress.first(), Some(&0.0), "{progress:?}");
    assert_eq!(progress.last(), Some(&1.0), "{progress:?}");
    assert!(progress.is_sorted(), "{progress:?}");
    assert_eq!(updates.last(), Some(&last), "the final status is the last word");
    assert!(updates.iter().all(|update| update["seq"].is_u64() == (update["type"] == "status")));
}

#[test]
fn a_slow_download_tells_its_progress_at_most_twice_a_second() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(3, 400_000);
    let film = origin.serve("/film.bin", file(&content).pace(200_000));

    let outcome = world.get(&[film.url()]).exits(0);

    let updates = outcome.json();
    let between: Vec<_> = updates
        .iter()
        .filter(|update| update["progress"].as_f64().is_some_and(|progress| progress > 0.0 && progress < 1.0))
        .collect();
    assert!((1..=5).contains(&between.len()), "{between:?}");
    for update in between {
        let (done, progress) = (update["bytesDone"].as_f64().unwrap(), update["progress"].as_f64().unwrap());
        assert_eq!(update["expectedFileSize"], 400_000);
        assert!((done / 400_000.0 - progress).abs() < 0.01, "{update}");
        assert!(update["networkSpeed"].as_f64().unwrap() > 0.0, "{update}");
        assert!(update["timeRemaining"].as_f64().unwrap() >= 0.0, "{update}");
    }
}

#[test]
fn names_and_directories_are_as_asked() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(4, 1000);
    let url = origin.serve("/f", file(&content)).url().to_owned();

    world.haul(&["get", &url, "-o", "given name.txt"]).exits(0);
    world.haul(&["get", &url, "-d", "deep/er/still"]).exits(0);
    let absolute = world.path("elsewhere");
    world.haul(&["get", &url, "-d", absolute.to_str().unwrap(), "-o", "g"]).exits(0);

    assert_same_bytes(&world.read("given name.txt"), &content);
    assert_same_bytes(&world.read("deep/er/still/f"), &content);
    assert_same_bytes(&std::fs::read(absolute.join("g")).unwrap(), &content);
    assert_eq!(world.names(), ["deep", "given name.txt"]);
}

#[test]
fn print_path_prints_where_the_file_is() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/film.bin", file(b"x"));

    let outcome = world.haul(&["get", "--print", "path", film.url()]).exits(0);

    assert_eq!(outcome.stdout.trim_end(), world.work().join("film.bin").to_str().unwrap());
}

#[test]
fn a_finished_file_has_the_mode_of_any_new_file() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/film.bin", file(b"x"));

    world.haul(&["get", film.url()]).exits(0);

    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(world.work().join("film.bin")), mode(world.write("by-hand", "x")));
}

#[test]
fn a_part_file_is_private_and_the_name_is_free_until_the_end() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/film.bin", file(&bytes(5, 300_000)).etag("\"v1\"").gate(200_000, &gate));
    let running = world.spawn_get(&[film.url()]);
    gate.wait_for(1);

    let part = world.wait_for_part(1);

    assert!(!world.names().contains(&"film.bin".to_owned()), "{:?}", world.names());
    assert_eq!(std::fs::metadata(part).unwrap().permissions().mode() & 0o077, 0);
    gate.open();
    running.finish().exits(0);
    assert_eq!(world.names(), ["film.bin"]);
}

#[test]
fn an_empty_file_is_a_file() {
    let (world, origin) = (World::new(), Origin::start());
    let empty = origin.serve("/empty", file(b"").etag("\"v1\""));

    let outcome = world.get(&[empty.url()]).exits(0);

    assert_eq!(world.read("empty"), b"");
    assert_eq!(outcome.statuses(), "enqueued > running > complete");
    assert_eq!(empty.log(), ["GET /empty"]);
}

#[test]
fn a_chunked_file_of_unknown_length_is_complete() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(6, 700_000);
    let film = origin.serve("/film.bin", file(&content).chunked());

    let last = world.get(&[film.url()]).exits(0).only_final();

    assert_same_bytes(&world.read("film.bin"), &content);
    assert!(!notes(&last).contains(&"integrity-unverified"), "{last}");
}

#[test]
fn a_body_that_only_the_end_of_the_connection_ends_is_marked_as_unverified() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(7, 300_000);
    let film = origin.serve("/film.bin", file(&content).until_close());

    let last = world.get(&[film.url()]).exits(0).only_final();

    assert_same_bytes(&world.read("film.bin"), &content);
    assert!(notes(&last).contains(&"integrity-unverified"), "{last}");
    let id = last["taskId"].as_str().unwrap();
    assert!(notes(&world.show(id)).contains(&"integrity-unverified"), "the record tells it too");
}

#[test]
fn a_checksum_verifies_what_the_framing_could_not() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(7, 300_000);
    let film = origin.serve("/film.bin", file(&content).until_close());
    let checksum = format!("sha-256={}", sha256(&content).to_uppercase());

    let last = world.get(&[film.url(), "--checksum", &checksum]).exits(0).only_final();

    assert!(!notes(&last).contains(&"integrity-unverified"), "{last}");
}

#[test]
fn a_wrong_checksum_leaves_no_file_and_exits_7_after_one_fresh_start() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/film.bin", file(&bytes(8, 50_000)).etag("\"v1\""));
    let checksum = format!("sha-256={}", "0".repeat(64));

    let last = world.get(&[film.url(), "--retries", "5", "--checksum", &checksum]).exits(7).only_final();

    assert_eq!(last["status"], "failed");
    assert_eq!(last["exception"]["type"], "checksum");
    assert_eq!(film.log(), ["GET /film.bin", "GET /film.bin"]);
    assert!(!world.names().contains(&"film.bin".to_owned()));
}

#[test]
fn a_wrong_checksum_leads_to_the_mirror_without_a_retry() {
    let right = bytes(30, 6 << 20);
    let wrong = [&[!right[0]], &right[1..]].concat();
    let checksum = format!("sha-256={}", sha256(&right));
    // One file behind one tag, of which the URL has a broken copy.
    for (parts, fits) in [("1", true), ("3", true), ("1", false)] {
        let (world, one, two) = (World::new(), Origin::start(), Origin::start());
        let main = one.serve("/f", file(&wrong).etag("\"v1\""));
        let mirror = two.serve("/f", file(if fits { &right } else { &wrong }).etag("\"v1\""));
        let arguments = ["--mirror", mirror.url(), "--checksum", &checksum, "--retries", "0", "--parts", parts];

        let outcome = world.get(&[&[main.url()], &arguments[..]].concat());

        outcome.exits(if fits { 0 } else { 7 });
        if fits {
            assert_same_bytes(&world.read("f"), &right);
        } else {
            assert_eq!((main.log().len(), mirror.log().len(), world.names()), (2, 2, vec![]));
        }
    }
}

#[test]
fn a_checksum_that_fits_at_the_second_try_is_a_success() {
    let (world, origin) = (World::new(), Origin::start());
    let (bad, good) = (bytes(9, 50_000), bytes(10, 50_000));
    let film = origin.script("/film.bin", vec![file(&bad).etag("\"v1\""), file(&good).etag("\"v1\"")]);

    world.get(&[film.url(), "--checksum", &format!("sha-256={}", sha256(&good))]).exits(0);

    assert_same_bytes(&world.read("film.bin"), &good);
}

#[test]
fn an_existing_file_is_not_touched_by_a_name_of_the_server() {
    let (world, origin) = (World::new(), Origin::start());
    let url = origin.serve("/f.txt", file(b"new")).url().to_owned();
    world.write("f.txt", "mine");

    world.haul(&["get", &url]).exits(0);
    world.haul(&["get", &url]).exits(0);

    assert_eq!(world.names(), ["f (1).txt", "f (2).txt", "f.txt"]);
    assert_eq!(world.read("f.txt"), b"mine");
    assert_eq!(world.read("f (2).txt"), b"new");
}

#[test]
fn a_numbered_name_counts_on() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"new").disposition("attachment; filename=\"f (1).txt\""));
    world.write("f (1).txt", "mine");

    world.haul(&["get", film.url()]).exits(0);

    assert_eq!(world.names(), ["f (1).txt", "f (2).txt"]);
}

#[test]
fn conflicts_are_settled_as_asked() {
    let (world, origin) = (World::new(), Origin::start());
    let url = origin.serve("/f.txt", file(b"new")).url().to_owned();
    let get = |mode: &[&str], code: i32| {
        world.write("f.txt", "old");
        let arguments = [&["get", &url, "-o", "f.txt"], mode].concat();
        world.haul(&arguments).exits(code);
        String::from_utf8(world.read("f.txt")).unwrap()
    };

    assert_eq!(get(&["--on-conflict", "fail"], 6), "old");
    assert_eq!(get(&["--on-conflict", "skip"], 0), "old");
    assert_eq!(get(&["--on-conflict", "replace"], 0), "new");
    assert_eq!(get(&[], 0), "new", "a name that the user gave is replaced");
    assert_eq!(world.names(), ["f.txt"]);
    assert_eq!(get(&["--on-conflict", "unique"], 0), "old");
    assert_eq!(world.names(), ["f (1).txt", "f.txt"]);
}

#[test]
fn what_is_no_file_and_takes_the_name_meanwhile_is_not_taken_for_one() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/f", file(&bytes(1, 100_000)).gate(50_000, &gate));
    let running = world.spawn_get(&[film.url(), "-o", "f", "--on-conflict", "skip", "--retries", "0"]);
    gate.wait_for(1);
    std::fs::create_dir(world.path("work/f")).unwrap();
    gate.open();

    let last = running.finish().exits(6).only_final();

    assert!(last["exception"]["description"].as_str().unwrap().contains("`f` is a directory"), "{last}");
}

#[test]
fn an_error_body_that_is_cut_is_noted() {
    let (world, origin) = (World::new(), Origin::start());
    for (length, code, exit) in [(100_000, 404, 3), (100_000, 500, 1), (65_536, 404, 3)] {
        let answer = status(code).body(&vec![b'x'; length]);
        let last = world.get(&[origin.serve("/f", answer).url(), "--retries", "0"]).exits(exit).only_final();
        assert_eq!(last["responseBody"].as_str().unwrap().len(), 65_536, "{code}");
        let is_noted = last["notes"].as_array().unwrap().contains(&"response-truncated".into());
        assert_eq!(is_noted, length > 65_536, "{code} {length}: {}", last["notes"]);
    }
}

#[test]
fn replacing_keeps_the_old_file_until_the_new_one_is_whole() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f.txt", file(&bytes(11, 90_000)).etag("\"v1\"").cut(50_000));
    world.write("f.txt", "old");

    world.haul(&["get", film.url(), "-o", "f.txt", "--retries", "0"]).exits(5);

    assert_eq!(world.read("f.txt"), b"old");
}

#[test]
fn several_urls_are_one_command() {
    let (world, origin) = (World::new(), Origin::start());
    let one = origin.serve("/one", file(b"1"));
    let two = origin.serve("/two", file(b"22"));
    let missing = origin.url("/missing");

    world.haul(&["get", one.url(), two.url()]).exits(0);
    let outcome = world.get(&[one.url(), &missing, "--on-conflict", "replace"]).exits(8);

    assert_eq!(world.names(), ["one", "two"]);
    let mut statuses: Vec<_> = outcome.finals().iter().map(|last| last["status"].to_string()).collect();
    statuses.sort();
    assert_eq!(statuses, ["\"complete\"", "\"notFound\""]);
}

#[test]
fn a_list_of_urls_is_read_from_stdin() {
    let (world, origin) = (World::new(), Origin::start());
    let one = origin.serve("/one", file(b"1"));
    let two = origin.serve("/two", file(b"22"));

    let list = format!("# two files\n{}\n\n  \n{}\n", one.url(), two.url());
    world.haul_reading(&["get", "-"], &list).exits(0);

    assert_eq!(world.names(), ["one", "two"]);
}

#[test]
fn the_request_carries_the_query_and_the_headers_and_no_fragment() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/a%20b", file(b"x"));

    let url = format!("{}?q=with%20space&r=%2F#part", film.url());
    world.haul(&["get", &url, "-H", "X-One: 1", "-H", "User-Agent: me/2"]).exits(0);

    assert_eq!(film.log(), ["GET /a%20b?q=with%20space&r=%2F"]);
    let request = &film.requests()[0];
    assert_eq!(request.header("x-one"), Some("1"));
    assert_eq!(request.header("user-agent"), Some("me/2"));
    assert_eq!(request.header("host"), Some(origin.authority().as_str()));
    assert_eq!(world.names(), ["a b"]);
}

#[test]
fn a_url_without_a_name_is_called_download() {
    let (world, origin) = (World::new(), Origin::start());
    let root = origin.serve("/", file(b"x"));

    world.haul(&["get", root.url()]).exits(0);

    assert_eq!(world.names(), ["download"]);
}

#[test]
fn a_trailing_slash_does_not_hide_the_name() {
    let (world, origin) = (World::new(), Origin::start());
    let page = origin.serve("/pages/index/", file(b"x"));

    world.haul(&["get", page.url()]).exits(0);

    assert_eq!(world.names(), ["index"]);
}

#[test]
fn an_accepted_status_is_a_success_with_its_body() {
    let (world, origin) = (World::new(), Origin::start());
    let page = origin.serve("/page", status(418));

    world.haul(&["get", page.url(), "--accept-status", "2xx,400-403,418"]).exits(0);

    assert_eq!(world.read("page"), b"this is a 418");
}

#[test]
fn a_stalled_body_ends_by_the_idle_timeout() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/film.bin", file(&bytes(12, 90_000)).etag("\"v1\"").gate(50_000, &gate));

    let outcome = world.get(&[film.url(), "--timeout-idle", "300ms", "--retries", "0"]).exits(5);

    assert_eq!(outcome.only_final()["exception"]["type"], "connection");
}

#[test]
fn a_total_timeout_ends_even_a_busy_transfer() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/film.bin", file(&bytes(13, 900_000)).etag("\"v1\"").pace(30_000));

    world.haul(&["get", film.url(), "--timeout-total", "700ms", "--retries", "0"]).exits(5);
}

#[test]
fn a_rate_limit_slows_down() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(14, 300 << 10);
    let film = origin.serve("/film.bin", file(&content));
    let began = std::time::Instant::now();

    world.haul(&["get", film.url(), "--limit-rate", "150K"]).exits(0);

    let took = began.elapsed();
    assert_same_bytes(&world.read("film.bin"), &content);
    assert!(took.as_secs_f64() > 1.0, "300 KiB at 150 KiB/s in {took:?}");
}

#[test]
fn a_mirror_is_used_when_the_url_fails_and_costs_no_retry() {
    let (world, origin, mirror) = (World::new(), Origin::start(), Origin::start());
    let film = origin.serve("/film.bin", status(503));
    let copy = mirror.serve("/copy.bin", file(b"the same"));

    let last = world.get(&[film.url(), "--mirror", copy.url(), "--retries", "0"]).exits(0).only_final();

    assert_eq!(world.read("film.bin"), b"the same", "the name is the URL's: {last}");
    assert_eq!((film.log().len(), copy.log().len()), (1, 1));
}

#[test]
fn a_login_goes_to_a_mirror_of_its_origin_and_a_refusal_says_which_place_it_is_of() {
    let (world, origin, other) = (World::new(), Origin::start(), Origin::start());
    let locked = || status(401).unless(|seen| seen.header("authorization").map(|_| file(&bytes(1, 300_000))));
    let (dead, copy) = (origin.serve("/dead", status(404)), origin.serve("/copy", locked()));
    let elsewhere = other.serve("/copy", locked());
    let get = |mirror: &Resource, more: &[&str]| {
        let words = [dead.url(), "-o", "f", "--mirror", mirror.url(), "--user", "me:password", "--retries", "0"];
        world.get(&[&words, more].concat())
    };

    get(&copy, &[]).exits(0);
    get(&copy, &["--parts", "3"]).exits(0);
    let refused = get(&elsewhere, &["--id", "refused"]).exits(4);

    assert!(copy.requests().iter().all(|seen| seen.header("authorization").is_some()));
    assert!(elsewhere.requests().iter().all(|seen| seen.header("authorization").is_none()));
    let why = refused.only_final()["exception"]["description"].as_str().unwrap().to_owned();
    assert_eq!(why, format!("server answered 401 Unauthorized, at the mirror {}", elsewhere.url()));
}

#[test]
fn a_directory_that_is_renamed_meanwhile_takes_its_file_along_and_the_path_says_so() {
    let (world, origin) = (World::new(), Origin::start());
    let gate = Gate::new();
    let film = origin.serve("/film.bin", file(b"a film").gate(3, &gate));
    let running = world.spawn_get(&[film.url()]);
    gate.wait_for(1);
    world.wait_for_part(3);
    let (old, new) = (world.path("work"), world.path("now"));
    #[allow(clippy::disallowed_methods)] // what somebody else does
    std::fs::rename(&old, &new).unwrap();
    gate.open();

    let last = running.finish().exits(0).only_final();

    assert_eq!(last["filePath"].as_str(), new.join("film.bin").to_str(), "{last}");
    assert_eq!(std::fs::read(new.join("film.bin")).unwrap(), b"a film");
}

#[test]
fn a_mirror_goes_on_only_where_its_bytes_are_the_same() {
    let content = bytes(15, 1 << 20);
    for other in [content.clone(), bytes(16, 1 << 20)] {
        let (world, origin, mirror) = (World::new(), Origin::start(), Origin::start());
        let first = file(&content).etag("\"v1\"");
        let film = origin.script("/film.bin", vec![first.cut(500_000), status(503)]);
        let copy = mirror.serve("/copy.bin", file(&other).etag("\"v1\""));

        let last = world.get(&[film.url(), "--mirror", copy.url()]).exits(0).only_final();

        assert_same_bytes(&world.read("film.bin"), &other);
        let note = if other == content { "same-by-overlap" } else { "restarted-changed" };
        assert!(notes(&last).contains(&note), "{last}");
        assert_eq!(copy.requests()[0].range_start(), Some(500_000 - (64 << 10)));
        assert_eq!(copy.log().len(), if other == content { 1 } else { 2 });
    }
}

#[test]
fn a_file_that_grows_over_the_limit_of_the_system_ends_with_exit_6_and_is_gone_on_with() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(15, 8 << 20);
    let film = origin.serve("/film.bin", file(&content).etag("\"v1\""));

    let limited = world.haul_through(&["prlimit", "--fsize=4000000"], &["--json", "get", film.url()]).exits(6);

    assert_eq!(limited.only_final()["exception"]["type"], "fileSystem");
    assert!(!world.names().contains(&"film.bin".to_owned()));
    world.haul(&["get", film.url()]).exits(0);
    assert_same_bytes(&world.read("film.bin"), &content);
}

#[test]
fn a_full_disk_ends_get_with_exit_6() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/film.bin", file(&bytes(16, 8 << 20)).etag("\"v1\""));
    let script = "mkdir small && mount -t tmpfs -o size=2m tmpfs small && exec \"$@\"";

    let Some(through) = in_a_namespace(script) else { return };
    let outcome = world.haul_through(&through, &["--json", "get", film.url(), "-d", "small"]).exits(6);

    assert_eq!(outcome.only_final()["exception"]["type"], "fileSystem");
}

#[test]
fn a_part_file_that_another_program_has_cut_is_fetched_afresh() {
    use std::os::unix::fs::MetadataExt;
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let content = bytes(18, 1 << 20);
    let film = origin.script("/f", vec![file(&content).gate(500_000, &gate), file(&content)]);
    let running = world.spawn_get(&[film.url()]);
    gate.wait_for(1);
    let part = world.wait_for_part(400_000);
    if std::fs::metadata(&part).unwrap().blocks() * 512 < 1 << 20 {
        return; // a file system that cannot reserve: nothing tells
    }

    std::fs::write(&part, "cut").unwrap();
    gate.open();

    let last = running.finish().exits(0).only_final();
    assert_same_bytes(&world.read("f"), &content);
    assert_eq!(film.log().len(), 2);
    assert_eq!(last["notes"], serde_json::json!(["restarted-part-lost"]), "no checksum was wrong");
}

#[test]
fn a_digest_of_the_content_of_an_answer_is_checked_and_a_part_that_has_another_is_asked_for_again() {
    let (world, origin) = (World::new(), Origin::start());
    let whole = file(&bytes(19, 1_000)).etag("\"v1\"");
    let (first, right, wrong) = (whole.clone().cut(500), repr_digest(&bytes(19, 1_000)), repr_digest(b""));
    let stating = |answer: &Answer, digest: &str| answer.clone().header("Content-Digest", digest);
    let refused = origin.serve("/refused", stating(&whole, &wrong));
    let again = origin.script("/again", vec![first.clone(), stating(&whole, &wrong), whole.clone()]);
    // A server that says of each part what the whole has.
    let same = origin.script("/same", vec![stating(&first, &right), stating(&whole, &right)]);

    world.get(&[refused.url()]).exits(7);
    world.get(&[again.url()]).exits(0);
    world.get(&[same.url()]).exits(0);

    assert_eq!(world.names(), ["again", "same"]);
    assert_eq!(same.requests().len(), 2);
    assert_same_bytes(&world.read("again"), &bytes(19, 1_000));
    assert_eq!(
        again.requests().iter().map(|seen| seen.range_start()).collect::<Vec<_>>(),
        [None, Some(500), Some(500)]
    );
}

#[test]
fn a_piece_that_has_another_digest_than_it_states_is_asked_for_again() {
    let (world, origin) = (World::new(), Origin::start());
    let content = bytes(20, 4 << 20);
    let is_asked_for = std::sync::atomic::AtomicBool::new(false);
    let untrue = file(&bytes(21, 4 << 20)).etag("\"v1\"").header("Content-Digest", &repr_digest(b""));
    let film = origin.serve(
        "/f",
        file(&content).etag("\"v1\"").unless(move |seen| {
            let is_first =
                seen.range_start() == Some(2 << 20) && !is_asked_for.swap(true, std::sync::atomic::Ordering::SeqCst);
            is_first.then(|| untrue.clone())
        }),
    );

    world.get(&[film.url(), "--parts", "2"]).exits(0);

    assert_same_bytes(&world.read("f"), &content);
    // The answer to the request for the whole may still be on its way then, and is read on instead of another request.
    assert!(film.requests().iter().any(|seen| seen.range_start() == Some(2 << 20)), "the untrue one was never sent");
}

/// From now on the process can write no file beyond this length: its database is longer.
fn limit_files(process: &process::Running, bytes: &str) {
    let (pid, limit) = (process.pid().to_string(), format!("--fsize={bytes}:unlimited"));
    let status = std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap();
    assert!(status.success());
}

#[test]
fn get_ends_with_exit_6_when_the_home_has_no_room_and_goes_on_with_what_it_has() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let content = bytes(17, 2_000);
    let film = origin.script("/film.bin", vec![file(&content).gate(1_000, &gate), file(&content)]);
    let get = world.spawn_get(&[film.url()]);
    gate.wait_for(1);
    limit_files(&get, "2000");
    gate.open();

    get.finish().exits(6).says("haul.db");

    assert!(!world.names().contains(&"film.bin".to_owned()));
    world.haul(&["get", film.url()]).exits(0);
    assert_same_bytes(&world.read("film.bin"), &content);
    assert!(world.final_events().values().all(|ends| ends == &["complete"]), "{:?}", world.final_events());
}

#[test]
fn run_keeps_what_it_has_while_the_home_has_no_room_and_goes_on_when_there_is() {
    let (world, origin, gate) = (World::new(), Origin::start(), Gate::new());
    let content = bytes(18, 2_000);
    let film = origin.serve("/film.bin", file(&content).gate(1_000, &gate));
    let id = world.add(&[serde_json::json!({"url": film.url(), "filename": "film.bin"})]).remove(0);
    let run = world.spawn(&["run", "--until-idle"]);
    gate.wait_for(1);
    limit_files(&run, "2000");
    gate.open();
    run.wait_for_log(1, "cannot be written");

    limit_files(&run, "unlimited");

    run.finish().exits(0);
    let record = world.show(&id);
    assert_eq!((&record["status"], film.log().len()), (&serde_json::json!("complete"), 1));
    assert_same_bytes(&std::fs::read(record["filePath"].as_str().unwrap()).unwrap(), &content);
}

#[test]
fn a_method_and_a_body_of_the_task_are_sent() {
    let (world, origin) = (World::new(), Origin::start());
    let posted = origin.serve("/posted", file(b"answer"));
    let patched = origin.serve("/patched", file(b"answer"));
    let looked = origin.serve("/looked", file(b"never seen"));

    world.add(&[
        serde_json::json!({"url": posted.url(), "post": "the body", "filename": "posted"}),
        serde_json::json!({"url": patched.url(), "httpRequestMethod": "patch", "filename": "patched"}),
        serde_json::json!({"url": looked.url(), "httpRequestMethod": "HEAD", "filename": "looked"}),
    ]);
    world.run().exits(0);

    assert_eq!(posted.log(), ["POST /posted"]);
    assert_eq!(posted.requests()[0].body, b"the body");
    assert_eq!(patched.log(), ["PATCH /patched"]);
    assert_eq!(looked.log(), ["HEAD /looked"]);
    assert_eq!(std::fs::read(world.path("in/posted")).unwrap(), b"answer");
    assert_eq!(std::fs::read(world.path("in/looked")).unwrap(), b"");
}

#[test]
fn many_small_files_arrive_over_few_connections() {
    let (world, origin) = (World::new(), Origin::start());
    let urls: Vec<_> = (0..200)
        .map(|number| {
            let path = format!("/small/{number}.bin");
            origin.serve(&path, file(&bytes(number, 4096))).url().to_owned()
        })
        .collect();

    world.haul_reading(&["get", "-"], &urls.join("\n")).exits(0);

    assert_eq!(world.names().len(), 200);
    for number in 0..200 {
        assert_same_bytes(&world.read(&format!("{number}.bin")), &bytes(number, 4096));
    }
    assert_eq!(origin.requests().len(), 200);
    assert!(origin.connections() <= 20, "{} connections for 10 at once", origin.connections());
}

/// The notes of an update or a record.
pub fn notes(update: &serde_json::Value) -> Vec<&str> {
    let notes = update["notes"].as_array();
    notes.map_or(Vec::new(), |notes| notes.iter().filter_map(|note| note.as_str()).collect())
}
