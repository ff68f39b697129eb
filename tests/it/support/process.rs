//! The binary as a running process, and what it left behind when it ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::wait::PATIENCE;

/// A process in the background. Killed when dropped.
pub struct Running {
    child: Child,
    arguments: String,
    stdout: Lines,
    stderr: Lines,
}

/// How a process ended, and all it printed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The exit code; minus the signal's number for a killed process.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    arguments: String,
}

impl Running {
    /// Starts a command; `input` is what it reads.
    pub(super) fn start(mut command: Command, input: &str) -> Self {
        let arguments: Vec<_> = command.get_args().map(|text| text.to_string_lossy().into_owned()).collect();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).ok(); // one that does not read is no failure here
        }
        let stdout = Lines::read(child.stdout.take().unwrap());
        let stderr = Lines::read(child.stderr.take().unwrap());
        Self { child, arguments: arguments.join(" "), stdout, stderr }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Blocks until an update (a line of JSON) fits; answers the first that does.
    pub fn wait_for_update(&self, fits: impl Fn(&Value) -> bool) -> Value {
        let found = self.stdout.wait_for(|lines| {
            let mut updates = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            updates.find(|update| fits(update))
        });
        found.unwrap_or_else(|| panic!("no such update from `{}`:\n{}", self.arguments, self.printed()))
    }

    /// Blocks until it has told this status of any task; answers the task's id.
    pub fn wait_for_status(&self, status: &str) -> String {
        let update = self.wait_for_update(|update| update["status"] == status);
        update["taskId"].as_str().unwrap().to_owned()
    }

    /// Blocks until it has told this status of so many tasks.
    pub fn wait_for_statuses(&self, status: &str, count: usize) {
        let found = self.stdout.wait_for(|lines| {
            let updates = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            (updates.filter(|update| update["status"] == status).count() >= count).then_some(())
        });
        found.unwrap_or_else(|| panic!("not {count} times `{status}` from `{}`:\n{}", self.arguments, self.printed()))
    }

    /// Blocks until a line of stderr has this.
    pub fn wait_for_word(&self, text: &str) {
        let found = self.stderr.wait_for(|lines| lines.iter().any(|line| line.contains(text)).then_some(()));
        found.unwrap_or_else(|| panic!("`{}` never said `{text}`:\n{}", self.arguments, self.printed()))
    }

    /// Blocks until so many lines stand on stdout; false when it ended before.
    pub fn wait_for_lines(&self, count: usize) -> bool {
        self.stdout.wait_for(|lines| (lines.len() >= count).then_some(())).is_some()
    }

    /// Blocks until so many lines with this text stand on stderr.
    pub fn wait_for_log(&self, count: usize, text: &str) {
        let fits = |lines: &[String]| lines.iter().filter(|line| line.contains(text)).count() >= count;
        let found = self.stderr.wait_for(|lines| fits(lines).then_some(()));
        assert!(found.is_some(), "not {count} times `{text}`:\n{}", self.printed());
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) -> Outcome {
        self.child.kill().unwrap();
        self.finish()
    }

    /// Sends a signal and does not wait.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until it ends; a process that does not is killed, and the test fails.
    pub fn finish(mut self) -> Outcome {
        let ended = self.stdout.wait_for_end() && self.stderr.wait_for_end();
        if !ended {
            self.child.kill().ok();
            panic!("`{}` did not end within {PATIENCE:?}\n{}", self.arguments, self.printed());
        }
        let status = self.child.wait().unwrap();
        Outcome {
            code: code(status),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
            arguments: self.arguments.clone(),
        }
    }

    fn printed(&self) -> String {
        format!("stdout:\n{}\nstderr:\n{}", self.stdout.text(), self.stderr.text())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Outcome {
    /// Fails the test unless the code is this one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "code of `{}`\nstdout:\n{}\nstderr:\n{}", self.arguments, self.stdout, self.stderr);
        self
    }

    /// Fails the test unless stderr holds this text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "`{}` does not say `{text}`:\n{}", self.arguments, self.stderr);
        self
    }

    /// Stdout as JSON, a value per line. Anything else on stdout fails the test.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// The last status update of each task, in the order of their ends.
    #[track_caller]
    pub fn finals(&self) -> Vec<Value> {
        self.json().into_iter().filter(is_final).collect()
    }

    /// The one final update.
    #[track_caller]
    pub fn only_final(&self) -> Value {
        let finals = self.finals();
        assert_eq!(finals.len(), 1, "final updates of `{}`:\n{}\n{}", self.arguments, self.stdout, self.stderr);
        finals[0].clone()
    }

    /// Status updates of all tasks: `enqueued > running > complete`.
    #[track_caller]
    pub fn statuses(&self) -> String {
        let updates = self.json();
        let statuses: Vec<_> = updates.iter().filter_map(|update| update["status"].as_str()).collect();
        statuses.join(" > ")
    }
}

/// Whether an update is the last word about a task.
pub fn is_final(update: &Value) -> bool {
    ["complete", "notFound", "failed", "canceled"].iter().any(|status| update["status"] == *status)
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
}

/// The lines of a stream as they come.
#[derive(Clone)]
struct Lines(Arc<(Mutex<Heard>, Condvar)>);

#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn read(stream: impl Read + Send + 'static) -> Self {
        let lines = Lines(Arc::default());
        let for_thread = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                for_thread.0.0.lock().unwrap().lines.push(String::from_utf8_lossy(&line).into_owned());
                for_thread.0.1.notify_all();
            }
            for_thread.0.0.lock().unwrap().ended = true;
            for_thread.0.1.notify_all();
        });
        lines
    }

    /// Blocks until `find` finds something; `None` at the end of the stream or of patience.
    fn wait_for<T>(&self, find: impl Fn(&[String]) -> Option<T>) -> Option<T> {
        let until = Instant::now() + PATIENCE;
        let mut read = self.0.0.lock().unwrap();
        loop {
            let found = find(&read.lines);
            let left = until.saturating_duration_since(Instant::now());
            if found.is_some() || read.ended || left.is_zero() {
                return found;
            }
            read = self.0.1.wait_timeout(read, left).unwrap().0;
        }
    }

    fn wait_for_end(&self) -> bool {
        let read = self.0.0.lock().unwrap();
        let (read, _) = self.0.1.wait_timeout_while(read, PATIENCE, |read| !read.ended).unwrap();
        read.ended
    }

    fn text(&self) -> String {
        let read = self.0.0.lock().unwrap();
        read.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// Runs a program by a shell that may mount. `None` where there are no namespaces, which tests/run finds out and says; the limit
/// of the system for the size of files covers most of it there.
pub fn in_a_namespace(script: &str) -> Option<[&str; 7]> {
    let forbidden = std::env::var_os("HAUL_TESTS_UNSHARED").is_some(); // else the test fails where they are
    (!forbidden).then_some(["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
}
