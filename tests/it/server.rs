//! The same promises against nginx, and TLS: which certificates are trusted, and what speaks HTTP/2.

use serde_json::{Value, json};

use crate::download::notes;
use crate::support::*;

#[test]
fn files_of_nginx_arrive_over_http_and_over_http2() {
    let (world, identity) = (World::new(), Identity::new());
    let nginx = Nginx::start(&identity, "");
    let content = bytes(1, 20 << 20);
    let url = nginx.put("film.bin", &content);
    let authority = world.write("ca.pem", &identity.certificate);

    world.haul(&["get", &url]).exits(0);
    world
        .haul(&["get", &nginx.tls_url("film.bin"), "-o", "safe.bin", "--cacert", authority.to_str().unwrap()])
        .exits(0);

    assert_same_bytes(&world.read("film.bin"), &content);
    assert_same_bytes(&world.read("safe.bin"), &content);
    assert_eq!(nginx.log(), ["HTTP/1.1 /film.bin 200 - -", "HTTP/2.0 /film.bin 200 - -"]);
}

#[test]
fn a_killed_download_from_nginx_resumes_with_its_validator() {
    let (world, identity) = (World::new(), Identity::new());
    let nginx = Nginx::start(&identity, "limit_rate 8m;");
    let content = bytes(2, 12 << 20);
    let url = nginx.put("film.bin", &content);
    let running = world.spawn_get(&[&url]);
    world.wait_for_part(1 << 20);
    running.kill();

    let last = world.get(&[&url]).exits(0).only_final();

    assert_same_bytes(&world.read("film.bin"), &content);
    let log = nginx.log();
    let second = log.iter().find(|line| line.contains(" 206 ")).unwrap_or_else(|| panic!("{log:?}"));
    assert!(second.contains("bytes=") && second.ends_with("\\x22"), "{second}");
    assert!(last["resumedFrom"].as_u64().unwrap() > 0);
}

#[test]
fn a_file_that_changed_on_nginx_starts_again() {
    let (world, identity) = (World::new(), Identity::new());
    let nginx = Nginx::start(&identity, "limit_rate 8m;");
    let (old, new) = (vec![b'A'; 12 << 20], vec![b'B'; 12 << 20]);
    let url = nginx.put("film.bin", &old);
    let running = world.spawn_get(&[&url]);
    world.wait_for_part(1 << 20);
    running.kill();
    // nginx makes its ETag of the time in seconds and the size: an old time is certainly another one.
    nginx.put("film.bin", &new);
    nginx.age("film.bin");

    let last = world.get(&[&url]).exits(0).only_final();

    assert_same_bytes(&world.read("film.bin"), &new);
    assert!(notes(&last).contains(&"restarted-changed"), "{last}");
}

#[test]
fn nginx_compressing_on_the_fly_is_not_asked_to() {
    let (world, identity) = (World::new(), Identity::new());
    let nginx = Nginx::start(&identity, "gzip on; gzip_types *; gzip_min_length 1;");
    let url = nginx.put("text.txt", &[b'a'; 50_000]);

    world.haul(&["get", &url]).exits(0);

    assert_eq!(world.read("text.txt"), [b'a'; 50_000]);
}

#[test]
fn many_files_of_nginx_arrive_at_once() {
    let (world, identity) = (World::new(), Identity::new());
    let nginx = Nginx::start(&identity, "");
    let urls: Vec<_> = (0..300).map(|number| nginx.put(&format!("{number}.bin"), &bytes(number, 4096))).collect();

    world.haul_reading(&["get", "-"], &urls.join("\n")).exits(0);

    for number in 0..300 {
        assert_same_bytes(&world.read(&format!("{number}.bin")), &bytes(number, 4096));
    }
}

#[test]
fn nginx_that_answers_before_it_has_the_body_has_completed_the_request_over_http2() {
    let (world, identity) = (World::new(), Identity::new());
    let nginx = Nginx::start(&identity, "return 200 ok;");
    let authority = world.write("ca.pem", &identity.certificate);
    std::fs::create_dir_all(world.path("in")).unwrap();
    std::fs::write(world.path("in/f"), bytes(1, 300_000)).unwrap();
    let sends = [
        json!({"taskType": "DataTask", "post": "x"}),
        json!({"taskType": "UploadTask", "filename": "f"}),
        json!({"taskType": "UploadTask", "filename": "f", "post": "binary", "httpRequestMethod": "PUT"}),
    ];
    let with_place = |(number, task): (usize, &Value)| {
        let mut task = task.clone();
        (task["url"], task["retries"]) = (json!(nginx.tls_url(&number.to_string())), json!(0));
        task
    };
    let tasks: Vec<Value> = sends.iter().cycle().take(24).enumerate().map(with_place).collect();
    world.add(&tasks);

    let arguments = ["--json", "run", "--until-idle", "--cacert", authority.to_str().unwrap()];
    let finals = world.haul(&arguments).exits(0).finals();

    for last in &finals {
        assert_eq!((&last["status"], &last["responseStatusCode"]), (&json!("complete"), &json!(200)), "{last}");
    }
    assert_eq!((finals.len(), nginx.log().len()), (tasks.len(), tasks.len()), "each of them once");
}

#[test]
fn nginx_that_ends_connections_after_some_requests_costs_no_retries_over_http2() {
    let (world, identity) = (World::new(), Identity::new());
    let nginx = Nginx::start_with(&identity, "keepalive_requests 10;", "");
    let authority = world.write("ca.pem", &identity.certificate);
    let name = |number| format!("{number}.bin");
    (0..200).for_each(|number| drop(nginx.put(&name(number), &bytes(number, 3000))));
    let urls: Vec<_> = (0..200).map(|number| nginx.tls_url(&name(number))).collect();

    let arguments = ["get", "-", "-j", "20", "--retries", "0", "--cacert", authority.to_str().unwrap()];
    world.haul_reading(&arguments, &urls.join("\n")).exits(0);

    (0..200).for_each(|number| assert_same_bytes(&world.read(&name(number)), &bytes(number, 3000)));
}

#[test]
fn an_unknown_certificate_is_refused_before_anything_is_sent() {
    let (world, identity) = (World::new(), Identity::new());
    let origin = Origin::start_tls(&identity);
    let film = origin.serve("/f", file(b"x"));

    let outcome = world.get(&[film.url(), "--retries", "3"]).exits(5);

    assert_eq!(film.log().len(), 0);
    assert_eq!(origin.connections(), 1, "a refused certificate is not tried again");
    assert!(outcome.only_final()["exception"]["description"].as_str().unwrap().contains("certificate"));
}

#[test]
fn a_certificate_that_the_user_trusts_is_accepted() {
    let (world, identity) = (World::new(), Identity::new());
    let origin = Origin::start_tls(&identity);
    let film = origin.serve("/f", file(b"x"));
    let authority = world.write("ca.pem", &identity.certificate);

    let last = world.get(&[film.url(), "--cacert", authority.to_str().unwrap()]).exits(0).only_final();

    assert!(!notes(&last).contains(&"insecure-tls"), "{last}");
}

#[test]
fn another_trusted_certificate_does_not_help() {
    let (world, identity) = (World::new(), Identity::new());
    let origin = Origin::start_tls(&identity);
    let film = origin.serve("/f", file(b"x"));
    let authority = world.write("ca.pem", &Identity::new().certificate);

    world.get(&[film.url(), "--cacert", authority.to_str().unwrap(), "--retries", "0"]).exits(5);

    assert_eq!(film.log().len(), 0);
}

#[test]
fn insecure_is_possible_and_noted() {
    let (world, identity) = (World::new(), Identity::new());
    let origin = Origin::start_tls(&identity);
    let film = origin.serve("/f", file(b"x"));

    let last = world.get(&[film.url(), "--insecure"]).exits(0).only_final();

    assert!(notes(&last).contains(&"insecure-tls"), "{last}");
}

#[test]
fn a_server_that_speaks_no_tls_is_a_network_failure() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));

    world.get(&[&film.url().replace("http://", "https://"), "--retries", "0"]).exits(5);
}
