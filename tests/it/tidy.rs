//! The architecture's rules about the source text itself. Each says what it protects; the lists of exceptions are complete.

use std::path::{Path, PathBuf};

/// A text file of the repository.
struct Source {
    /// From the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// Lines that are not comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate();
        numbered.map(|(index, line)| (index + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Whether the path is one of these, or below one that ends in `/`.
    fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path == *place || place.ends_with('/') && self.path.starts_with(place))
    }

    /// Unit tests may look at files, clocks and sockets.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/") || self.path.starts_with("tests/")
    }
}

/// Every text file that belongs to the project.
fn sources() -> Vec<Source> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            let skipped = ["target", ".git", ".tools", "node_modules", "__pycache__"].contains(&name.as_str());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !skipped {
                walk(&entry.path(), found);
            } else if kind.is_file() && !skipped {
                found.push(entry.path());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut paths = Vec::new();
    walk(root, &mut paths);
    paths.sort();
    let relative = |path: &Path| path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
    let read = |path: PathBuf| Some(Source { path: relative(&path), text: std::fs::read_to_string(path).ok()? });
    paths.into_iter().filter_map(read).collect()
}

fn rust() -> Vec<Source> {
    sources().into_iter().filter(|source| source.path.ends_with(".rs")).collect()
}

/// The host's own code, without its unit tests.
fn host() -> Vec<Source> {
    rust().into_iter().filter(|source| source.path.starts_with("host/src/") && !source.is_test()).collect()
}

/// Fails for each line of code of the host that has one of these words outside the places where they belong.
#[track_caller]
fn only(places: &[&str], words: &[&str], reason: &str) {
    let mut wrong = Vec::new();
    for source in host().iter().filter(|source| !source.is_in(places)) {
        for (number, line) in source.code() {
            if words.iter().any(|word| has_word(line, word)) {
                wrong.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{reason}\n{}", wrong.join("\n"));
}

/// Whether a line has this text where a word begins: `File::` is not in `PartFile::`.
fn has_word(line: &str, word: &str) -> bool {
    let is_inner = |char: char| char.is_alphanumeric() || char == '_';
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(is_inner))
}

#[test]
fn only_hooks_name_wasmtime() {
    only(&["host/src/hooks.rs", "host/src/hooks/"], &["wasmtime"], "The WebAssembly boundary is one module.");
}

#[test]
fn only_hooks_name_what_is_generated_from_the_contract() {
    let places = ["host/src/hooks.rs", "host/src/hooks/"];
    only(&places, &["bindings::", "wit::", "bindgen!"], "Components' types stay behind the boundary.");
}

#[test]
fn only_the_store_names_rusqlite() {
    only(&["host/src/store.rs", "host/src/store/"], &["rusqlite"], "Only the store speaks SQL.");
}

#[test]
fn only_transport_names_the_http_client() {
    let places = [
        "host/src/transport.rs",
        "host/src/transport/",
        "host/src/bin/haul/demo.rs", // an origin, not a client
        "host/src/bin/haul/demo/",
    ];
    only(&places, &["hyper::", "hyper_util", "hyper_rustls", "rustls::", "rustls_platform"], "HTTP has one door.");
}

#[test]
fn only_the_sandbox_opens_files_of_transfers() {
    let places = [
        "host/src/sandbox.rs",
        "host/src/sandbox/",
        "host/src/clock.rs",  // the boot's id
        "host/src/digest.rs", // reads what the sandbox opened
        "host/src/store.rs",  // the database and its directory
        "host/src/store/",
        "host/src/config.rs",         // the configuration
        "host/src/config/telling.rs", // secrets of webhooks
        "host/src/control.rs",        // lock and socket in the home
        "host/src/control/",
        "host/src/hooks.rs",  // components
        "host/src/spool.rs",  // what was read from pipes, in the home
        "host/src/import.rs", // what other programs keep
        "host/src/import/",
        "host/src/engine/jars.rs",           // cookie files
        "host/src/engine/attachments.rs",    // components kept in the home
        "host/src/transport/credentials.rs", // files of secrets
        "host/src/transport/netrc.rs",
        "host/src/hooks/file.rs",    // components
        "host/src/hooks/compile.rs", // nameless files, for the compiler's process
        "host/src/hooks/record.rs",  // records of calls
        "host/src/hooks/cache.rs",   // compiled components and the key that proves them
        "host/src/hooks/cache/",
        "host/src/hooks/known.rs",   // what is known of their files
        "host/src/private.rs",       // files that are ours alone
        "host/src/regular.rs",       // opens both
        "host/src/transport/tls.rs", // --cacert
        "host/src/bin/haul/",
    ];
    let words = ["std::fs", "fs::", "File::", "OpenOptions", "cap_std"];
    only(&places, &words, "Files of transfers are opened below a granted directory, by the sandbox alone.");
}

#[test]
fn time_is_an_argument() {
    let places = [
        "host/src/clock.rs",
        "host/src/sandbox/sync.rs", // how long the disk takes decides how it is synced
        "host/src/bin/haul/",
    ];
    only(&places, &["Instant::now", "SystemTime::now", "thread::sleep"], "Time is an argument or the engine's clock.");
}

#[test]
fn the_policy_touches_nothing() {
    let words = ["std::fs", "std::net", "std::env", "std::process", "std::time::", "Instant", "SystemTime", "println!"];
    let mut wrong = Vec::new();
    for source in rust().iter().filter(|source| source.path.starts_with("guest/src/") && !source.is_test()) {
        for (number, line) in source.code() {
            if words.iter().any(|word| line.contains(word)) {
                wrong.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "Same inputs, same answer: no files, clocks or environment.\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let sources = rust();
    let silent: Vec<_> =
        sources.iter().filter(|source| !source.text.starts_with("//!")).map(|source| &source.path).collect();
    assert!(silent.is_empty(), "these do not begin with //!: {silent:#?}");
}

#[test]
fn files_can_be_read() {
    let mut wrong = Vec::new();
    for source in rust() {
        let length = source.text.lines().count();
        if length > 1000 {
            wrong.push(format!("{}: {length} lines", source.path));
        }
    }
    assert!(wrong.is_empty(), "A file is a subject.\n{}", wrong.join("\n"));
}

#[test]
fn rules_that_are_cited_can_be_read() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules.md")).unwrap();
    let mut missing = Vec::new();
    for source in
        rust().iter().filter(|source| ["host/src/", "guest/src/"].iter().any(|at| source.path.starts_with(at)))
    {
        for word in source.text.split(|char: char| !char.is_ascii_alphanumeric() && char != '.') {
            // A letter, a dot, a number: `B.4`, and of `B.4.4` the first two.
            let mut parts = word.split('.');
            let (Some(letter), Some(number)) = (parts.next(), parts.next()) else { continue };
            let is_rule = letter.len() == 1 && ("A"..="H").contains(&letter) && number.parse::<u8>().is_ok();
            if is_rule && !page.contains(&format!("{letter}.{number}**")) {
                missing.push(format!("{}: {letter}.{number}", source.path));
            }
        }
    }
    assert!(missing.is_empty(), "docs/rules.md does not have\n{}", missing.join("\n"));
}

#[test]
fn modules_have_names() {
    let bad = ["mod.rs", "utils.rs", "util.rs", "helpers.rs", "common.rs", "misc.rs"];
    let sources = rust();
    let named = |source: &&Source| bad.iter().any(|name| source.path.ends_with(&format!("/{name}")));
    let found: Vec<_> = sources.iter().filter(named).map(|source| &source.path).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_test_is_switched_off() {
    let mark = concat!("#[ig", "nore");
    let sources = rust();
    let found: Vec<_> = sources.iter().filter(|source| source.text.contains(mark)).map(|source| &source.path).collect();
    assert!(found.is_empty(), "a test that does not run is not a test: {found:#?}");
}

#[test]
fn the_contract_is_written_once() {
    // A component's own world names the contract; it does not repeat it.
    let outside = |source: &Source| {
        source.path.ends_with(".wit") && !source.path.starts_with("wit/") && source.text.contains("package haul:")
    };
    let copies: Vec<_> = sources().into_iter().filter(outside).map(|source| source.path).collect();
    assert!(copies.is_empty(), "copies drift: {copies:#?}");
}

#[test]
fn nothing_names_a_machine() {
    // Put together here, so that this file does not find itself.
    let places: Vec<_> = ["home", "root", "work", "Users"].iter().map(|name| format!("/{name}/")).collect();
    let mut wrong = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            let names_one = places.iter().any(|place| {
                line.match_indices(place.as_str()).any(|(at, _)| {
                    // `a/home/b` is a relative path, `$X/home/b` too; an absolute one begins after a quote, space or =.
                    let before = line[..at].chars().next_back();
                    before.is_none_or(|char| " \"'`=(:".contains(char))
                })
            });
            if names_one {
                wrong.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "paths of somebody's machine\n{}", wrong.join("\n"));
}

#[test]
fn exceptions_for_unsafe_code_carry_a_reason() {
    let mut wrong = Vec::new();
    for source in rust() {
        let lines: Vec<_> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let exempts = line.contains("allow(unsafe_code") && !line.trim_start().starts_with("//");
            let near = &lines[index.saturating_sub(2)..(index + 3).min(lines.len())];
            let argued = line.contains("reason") || near.iter().any(|line| line.contains("//"));
            if exempts && !argued && source.path != "tests/it/tidy.rs" {
                wrong.push(format!("{}:{}", source.path, index + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_note_about_a_task_is_documented() {
    let docs = sources().into_iter().find(|source| source.path == "docs/commands.md").unwrap();
    let of_notes = ["host/src/event.rs", "host/src/transfer/", "guest/src/classify.rs"];
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let (mut found, mut missing) = (0, Vec::new());
    for source in rust().iter().filter(|source| source.is_in(&["host/src/", "guest/src/"]) && !source.is_test()) {
        for (number, line) in source.code() {
            let notes = ["held.note(", "notes.push(", "notes: vec!["].iter().any(|word| line.contains(word));
            let names = source.is_in(&of_notes) && line.contains(": &str = ");
            for text in line.split('"').skip(1).step_by(2).filter(|text| is_word(text)) {
                if notes || names || text.starts_with("restarted") {
                    found += 1;
                    if !docs.text.contains(&format!("`{text}`")) {
                        missing.push(format!("{}:{number}: {text}", source.path));
                    }
                }
            }
        }
    }
    assert!(found > 30, "notes are written in another way now: only {found} were found");
    assert!(missing.is_empty(), "Each note stands in docs/commands.md.\n{}", missing.join("\n"));
}
