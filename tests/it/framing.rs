//! Lies about where a body ends. What cannot be trusted never becomes a file.

use crate::support::*;

/// Whatever the verdict, a file under its name is there exactly when the exit code says so, and is the right one.
#[track_caller]
fn refuses(bytes: impl AsRef<[u8]>) -> Outcome {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/film.bin", raw(bytes));
    let outcome = world.get(&[film.url(), "--retries", "0"]);
    assert_ne!(outcome.code, 0, "{}", outcome.stdout);
    assert!(!world.names().contains(&"film.bin".to_owned()), "{:?}", world.names());
    assert_eq!(outcome.only_final()["status"], "failed");
    outcome
}

#[track_caller]
fn accepts(bytes: impl AsRef<[u8]>, expected: &[u8]) {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/film.bin", raw(bytes));
    world.haul(&["get", film.url(), "--retries", "0"]).exits(0);
    assert_same_bytes(&world.read("film.bin"), expected);
}

#[test]
fn a_coding_before_chunked_is_refused() {
    refuses("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn a_coding_after_chunked_is_refused() {
    refuses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn an_unknown_coding_is_refused() {
    refuses("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nConnection: close\r\n\r\nhello");
}

#[test]
fn two_lengths_are_refused() {
    refuses("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!");
    refuses("HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!");
}

#[test]
fn a_length_that_is_no_number_is_refused() {
    refuses("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello");
    refuses("HTTP/1.1 200 OK\r\nContent-Length: 5 bytes\r\n\r\nhello");
    refuses("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nhello");
}

#[test]
fn the_same_length_twice_is_accepted() {
    accepts("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", b"hello");
}

#[test]
fn bytes_after_the_length_are_not_part_of_the_file() {
    accepts("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more", b"hello");
}

#[test]
fn a_body_shorter_than_its_length_is_not_complete() {
    refuses("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello").exits(5);
}

#[test]
fn a_chunked_body_without_its_end_is_not_complete() {
    refuses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").exits(5);
    refuses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel").exits(5);
}

#[test]
fn a_chunk_size_that_is_no_number_is_refused() {
    refuses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn what_is_not_http_is_refused() {
    refuses("SSH-2.0-OpenSSH_9.2\r\n");
    refuses("hello, this is HTTP/0.9");
}

#[test]
fn a_head_without_end_is_refused() {
    refuses(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(2 << 20)));
}

#[test]
fn a_flood_of_interim_responses_is_refused() {
    let flood = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(20_000);
    refuses(format!("{flood}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
}

#[test]
fn a_few_interim_responses_are_fine() {
    let some = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(3);
    accepts(format!("{some}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), b"hello");
}

#[test]
fn no_content_is_an_empty_file() {
    accepts("HTTP/1.1 204 No Content\r\n\r\n", b"");
}

#[test]
fn a_reset_before_the_end_of_an_unframed_body_is_not_complete() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/film.bin", file(&bytes(1, 600_000)).until_close().reset(300_000));

    world.haul(&["get", film.url(), "--retries", "0"]).exits(5);

    assert!(!world.names().contains(&"film.bin".to_owned()), "{:?}", world.names());
}

#[test]
fn an_unframed_body_over_tls_without_goodbye_is_not_complete() {
    let (world, identity) = (World::new(), Identity::new());
    let origin = Origin::start_tls(&identity);
    let film = origin.serve("/film.bin", file(&bytes(2, 600_000)).until_close().cut(300_000));
    let authority = world.write("ca.pem", &identity.certificate);

    let cacert = authority.to_str().unwrap();
    world.haul(&["get", film.url(), "--retries", "0", "--cacert", cacert]).exits(5);

    assert!(!world.names().contains(&"film.bin".to_owned()), "{:?}", world.names());
}

#[test]
fn a_part_that_nobody_asked_for_is_not_taken_for_the_whole() {
    let (world, origin) = (World::new(), Origin::start());
    let part = raw("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n56789");
    let film = origin.script("/film.bin", vec![part, file(b"0123456789")]);

    let outcome = world.haul(&["get", film.url(), "--retries", "1"]);

    assert!(outcome.code != 0 || world.read("film.bin") == b"0123456789", "{:?}", world.names());
    assert!(outcome.code == 0 || world.names().is_empty() || !world.names().contains(&"film.bin".to_owned()));
}
