//! The example of embedding, which is also what the README shows.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::support::*;

const EXAMPLE: &str = include_str!("../../host/examples/embed.rs");
const README: &str = include_str!("../../README.md");

/// Where cargo builds it together with these tests.
fn example() -> std::path::PathBuf {
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().parent().unwrap().join("examples/embed")
}

#[test]
fn the_example_downloads_a_file_and_tells_how_it_ended() {
    let (origin, place) = (Origin::start(), tempfile::tempdir().unwrap());
    let film = origin.serve("/film", file(b"film"));
    let run = |url: &str| {
        let output = Command::new(example()).arg(url).arg(place.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };

    let (ended, said) = run(film.url());

    let path = place.path().join("film");
    assert_eq!(ended, Some(0));
    assert!(said.ends_with(&format!("100 %\ncomplete: Some({path:?}) None\n")), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), b"film");
    let (ended, said) = run(&origin.url("/gone"));
    assert_eq!(ended, Some(1));
    assert_eq!(said, "0 %\nnotFound: None None\n");
}

#[test]
fn the_example_goes_on_where_it_was_killed() {
    let (origin, place, gate) = (Origin::start(), tempfile::tempdir().unwrap(), Gate::new());
    let content = bytes(7, 300_000);
    let whole = file(&content).etag("\"v1\"");
    let film = origin.script("/film", vec![whole.clone().gate(150_000, &gate), whole]);
    let command = || {
        let mut command = Command::new(example());
        command.arg(film.url()).arg(place.path());
        command
    };
    let mut first = command().stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() != "0 %"));
    first.kill().unwrap();
    first.wait().unwrap();

    let output = command().output().unwrap();

    assert!(String::from_utf8(output.stdout).unwrap().contains("complete: "));
    assert_same_bytes(&std::fs::read(place.path().join("film")).unwrap(), &content);
    assert!(film.requests()[1].range_start() > Some(0), "{:?}", film.log());
}

#[test]
fn the_readme_shows_what_the_example_does() {
    let (_, section) = README.split_once("## Embed it").unwrap();
    let (_, code) = section.split_once("```rust\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    let missing: Vec<&str> = code.lines().filter(|line| !EXAMPLE.contains(line.trim())).collect();
    assert!(code.lines().count() > 3 && missing.is_empty(), "not in the example: {missing:?}");
}
