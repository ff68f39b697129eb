//! Stdout or stderr that nobody reads: the home goes on answering, signals are heard, and what is printed stays whole.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, fcntl_getfl, fcntl_setfl, flock};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::wait;
use crate::support::*;

/// A process one of whose streams is a pipe that is full and not read. Killed when dropped.
struct Unread {
    child: Child,
    reader: PipeReader,
    /// Bytes that filled it.
    filled: usize,
}

impl Unread {
    fn start(mut command: Command, stream: fn(&mut Command, PipeWriter)) -> Self {
        let (reader, mut writer) = pipe().unwrap();
        let flags = fcntl_getfl(&writer).unwrap();
        fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
        let mut filled = 0;
        while let Ok(size) = writer.write(&[b'#'; 4096]) {
            filled += size;
        }
        fcntl_setfl(&writer, flags).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        stream(&mut command, writer);
        Self { child: command.spawn().unwrap(), reader, filled }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether it listens for SIGTERM: proc(5), `SigCgt`.
    fn listens(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap() >> (Signal::TERM.as_raw() - 1) & 1 == 1
    }

    /// Its exit code, when it has ended.
    fn code(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1))
    }

    /// Reads to the end: what was printed, without what filled the pipe.
    fn read(&mut self) -> String {
        let mut read = Vec::new();
        self.reader.read_to_end(&mut read).unwrap();
        String::from_utf8(read.split_off(self.filled)).unwrap()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn to_stdout(command: &mut Command, writer: PipeWriter) {
    command.stdout(writer);
}

fn to_stderr(command: &mut Command, writer: PipeWriter) {
    command.stderr(writer);
}

/// Whether no process has the home.
fn is_free(world: &World) -> bool {
    let lock = std::fs::File::options().append(true).open(world.home().join("haul.lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
}

fn answers_and_ends(arguments: &[&str], stream: fn(&mut Command, PipeWriter)) {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let later = json!({"url": film.url(), "taskId": "later", "notBefore": "2099-01-01T00:00:00Z"});
    let ids = world.add(&[json!({"url": film.url()}), later]);
    let mut running = Unread::start(world.command(arguments), stream);

    wait::wait_until(|| world.show(&ids[0])["status"] == "complete", || world.show(&ids[0]).to_string());
    world.haul(&["cancel", "later"]).exits(0);
    assert_eq!(world.show("later")["status"], "canceled");

    running.signal(Signal::TERM);
    wait::wait_until(|| is_free(&world), || "the home stays taken".into());
    assert_eq!(running.code(), None, "its last lines wait for their reader");
    running.signal(Signal::TERM);
    wait::wait_until(|| running.code().is_some(), || "it does not end".into());
    assert_eq!(running.code(), Some(130));
}

#[test]
fn an_engine_whose_stderr_nobody_reads_answers_and_ends_on_the_second_signal() {
    answers_and_ends(&["run"], to_stderr);
}

#[test]
fn an_engine_whose_stdout_nobody_reads_answers_and_ends_on_the_second_signal() {
    answers_and_ends(&["--json", "run"], to_stdout);
}

#[test]
fn what_was_not_read_for_a_while_comes_whole_and_in_order() {
    let (world, origin) = (World::new(), Origin::start());
    let urls: Vec<String> = (0..40).map(|n| origin.serve(&format!("/{n}"), file(b"x")).url().to_owned()).collect();
    let arguments: Vec<&str> = ["--json", "get"].into_iter().chain(urls.iter().map(String::as_str)).collect();
    let mut getting = Unread::start(world.command(&arguments), to_stdout);
    let saved = || world.names().iter().filter(|name| !name.starts_with('.')).count();
    wait::wait_until(|| saved() == 40, || format!("{} files", saved()));
    assert_eq!(getting.code(), None);

    let printed = getting.read();

    wait::wait_until(|| getting.code().is_some(), || "it does not end".into());
    assert_eq!(getting.code(), Some(0));
    let updates: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seqs: Vec<u64> = updates.iter().filter_map(|update| update["seq"].as_u64()).collect();
    assert!(seqs.is_sorted() && printed.ends_with('\n'), "{seqs:?}");
    assert_eq!(updates.iter().filter(|update| update["status"] == "complete").count(), 40);
}

#[test]
fn a_joined_command_whose_stdout_nobody_reads_leaves_on_the_second_signal() {
    let (world, origin) = (World::new(), Origin::start());
    let film = origin.serve("/f", file(b"x"));
    let engine = world.spawn(&["--json", "run"]);
    let ids = world.add(&[json!({"url": film.url()})]);
    engine.wait_for_status("complete");
    for arguments in [&["--json", "get", film.url(), "-o", "g"][..], &["--json", "events", "--follow"]] {
        let mut joined = Unread::start(world.command(arguments), to_stdout);
        wait::wait_until(|| joined.listens(), || "it does not listen for signals".into());
        if arguments.contains(&"get") {
            wait::wait_until(|| world.names().contains(&"g".to_owned()), || format!("{:?}", world.names()));
        }

        joined.signal(Signal::TERM);
        let ends = || {
            // The first one is acted upon at a time that nobody can see.
            std::thread::sleep(Duration::from_millis(100));
            joined.code().is_some() || {
                joined.signal(Signal::TERM);
                false
            }
        };
        wait::wait_until(ends, || format!("{arguments:?} do not end"));

        assert_eq!(joined.code(), Some(130), "{arguments:?}");
        assert_eq!(world.show(&ids[0])["status"], "complete", "the engine answers");
    }
    engine.signal(Signal::INT);
    engine.finish().exits(130);
}
