//! A private world for the binary: home, configuration and a working directory that nobody else sees.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::process::{Outcome, Running, is_final};
use super::wait::{wait_for, wait_until};

/// Temporary directories and an environment with nothing of the machine in it. Removed when dropped.
pub struct World {
    root: TempDir,
    environment: BTreeMap<String, String>,
}

impl World {
    /// An empty world. `[directories] downloads` is the `in` directory.
    pub fn new() -> Self {
        let root = tempfile::Builder::new().prefix("haul").tempdir().unwrap();
        let mut world = Self { root, environment: BTreeMap::new() };
        for (name, place) in [
            ("HOME", "user"),
            ("HAUL_HOME", "home"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_RUNTIME_DIR", "run"),
        ] {
            let path = world.path(place);
            world.set(name, path.to_str().unwrap());
            if place != "home" {
                std::fs::create_dir_all(path).unwrap();
            }
        }
        // Compiled components are proved by a key: to share them takes seconds off each test, and nothing else goes there.
        for (name, place) in [("XDG_CACHE_HOME", "cache"), ("XDG_STATE_HOME", "state")] {
            world.set(name, &format!("{}/{place}", env!("CARGO_TARGET_TMPDIR")));
        }
        // The session's is looked for in XDG_RUNTIME_DIR.
        let no_bus = format!("unix:path={}", world.path("run/system-bus").display());
        world.set("DBUS_SYSTEM_BUS_ADDRESS", &no_bus);
        world.set("PATH", "/usr/bin:/bin");
        world.set("LANG", "C.UTF-8");
        world.set("TZ", "UTC");
        std::fs::create_dir(world.path("work")).unwrap();
        world.config("");
        world
    }

    /// Sets an environment variable for all later processes.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Replaces the configuration file; the `in` directory stays where JSON tasks go.
    pub fn config(&self, text: &str) {
        let directory = self.path("config/haul");
        std::fs::create_dir_all(&directory).unwrap();
        let downloads = self.path("in");
        let text = format!("{text}\n[directories]\ndownloads = {downloads:?}\n");
        std::fs::write(directory.join("config.toml"), text).unwrap();
    }

    /// A path below the world's root.
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// The directory where commands run.
    pub fn work(&self) -> PathBuf {
        self.path("work")
    }

    /// The home.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// No file of the home, however deep, has that in clear.
    #[track_caller]
    pub fn assert_home_without(&self, secret: &str) {
        let (mut directories, mut seen) = (vec![self.home()], Vec::new());
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                match std::fs::symlink_metadata(&path) {
                    Ok(data) if data.is_dir() => directories.push(path),
                    Ok(data) if data.is_file() => seen.push(path),
                    _ => {} // a socket, or gone since
                }
            }
        }
        assert!(seen.contains(&self.home().join("haul.db")), "the database is elsewhere now: {seen:?}");
        for path in seen {
            match std::fs::read(&path) {
                Ok(content) => {
                    let found = content.windows(secret.len()).any(|window| window == secret.as_bytes());
                    assert!(!found, "`{secret}` in {path:?}");
                }
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{path:?}"),
            }
        }
    }

    /// Content of a file in the working directory.
    #[track_caller]
    pub fn read(&self, name: &str) -> Vec<u8> {
        let path = self.work().join(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}; there is {:?}", self.names()))
    }

    /// Writes a file into the working directory.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Every name in the working directory, hidden ones too, sorted.
    pub fn names(&self) -> Vec<String> {
        names_in(&self.work())
    }

    /// The part file in the working directory, once there is one of at least so many bytes.
    pub fn wait_for_part(&self, bytes: u64) -> PathBuf {
        let is_there = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|data| data.len() >= bytes);
        let part = || {
            let parts = self.names().into_iter().filter(|name| name.ends_with(".part"));
            parts.map(|name| self.work().join(name)).find(is_there)
        };
        wait_for(part, || format!("no part file of {bytes} bytes; there is {:?}", self.names()))
    }

    /// Waits until a task says that it waits for this reason.
    pub fn wait_for_reason(&self, id: &str, reason: &str) {
        let waits = || self.show(id)["waiting"]["reason"] == *reason;
        wait_until(waits, || format!("not waiting for {reason}: {}", self.show(id)));
    }

    /// Waits until a task says that it has so many bytes.
    pub fn wait_for_bytes(&self, id: &str, bytes: u64) {
        let are_there = || self.show(id)["bytesDone"].as_u64() >= Some(bytes);
        wait_until(are_there, || format!("not {bytes} bytes: {}", self.show(id)));
    }

    /// The command, ready to be changed.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_through(&[], arguments)
    }

    /// Runs to the end.
    #[track_caller]
    pub fn haul(&self, arguments: &[&str]) -> Outcome {
        self.spawn(arguments).finish()
    }

    /// Runs to the end with this on stdin.
    #[track_caller]
    pub fn haul_reading(&self, arguments: &[&str], input: &str) -> Outcome {
        Running::start(self.command(arguments), input).finish()
    }

    /// Runs to the end by way of another program (`prlimit`, `unshare`), whose words come first.
    #[track_caller]
    pub fn haul_through(&self, program: &[&str], arguments: &[&str]) -> Outcome {
        self.spawn_through(program, arguments).finish()
    }

    /// The same in the background.
    pub fn spawn_through(&self, program: &[&str], arguments: &[&str]) -> Running {
        Running::start(self.command_through(program, arguments), "")
    }

    /// Starts in the background.
    pub fn spawn(&self, arguments: &[&str]) -> Running {
        Running::start(self.command(arguments), "")
    }

    /// Starts in the background with this on stdin.
    pub fn spawn_reading(&self, arguments: &[&str], input: &str) -> Running {
        Running::start(self.command(arguments), input)
    }

    /// `haul --json get ...`.
    #[track_caller]
    pub fn get(&self, arguments: &[&str]) -> Outcome {
        self.haul(&[&["--json", "get"], arguments].concat())
    }

    /// `haul --json get ...` in the background.
    pub fn spawn_get(&self, arguments: &[&str]) -> Running {
        self.spawn(&[&["--json", "get"], arguments].concat())
    }

    /// Adds tasks; answers their ids.
    #[track_caller]
    pub fn add(&self, tasks: &[Value]) -> Vec<String> {
        let lines: String = tasks.iter().map(|task| format!("{task}\n")).collect();
        let outcome = self.haul_reading(&["add", "-"], &lines).exits(0);
        let ids: Vec<_> = outcome.stdout.lines().map(str::to_owned).collect();
        assert_eq!(ids.len(), tasks.len(), "ids printed by add: {}", outcome.stdout);
        ids
    }

    /// Works the queue to its end.
    #[track_caller]
    pub fn run(&self) -> Outcome {
        self.haul(&["--json", "run", "--until-idle"])
    }

    /// The record of a task.
    #[track_caller]
    pub fn show(&self, id: &str) -> Value {
        let records = self.haul(&["--json", "show", id]).exits(0).json();
        assert_eq!(records.len(), 1, "records of {id}: {records:?}");
        records[0].clone()
    }

    /// All records.
    #[track_caller]
    pub fn list(&self) -> Vec<Value> {
        self.haul(&["--json", "ls"]).exits(0).json()
    }

    /// The whole event log.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        self.haul(&["--json", "events"]).exits(0).json()
    }

    /// Final events in the log, per task id.
    #[track_caller]
    pub fn final_events(&self) -> BTreeMap<String, Vec<String>> {
        let mut finals: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for event in self.events().iter().filter(|event| is_final(event)) {
            let id = event["taskId"].as_str().unwrap().to_owned();
            finals.entry(id).or_default().push(event["status"].as_str().unwrap().to_owned());
        }
        finals
    }

    fn command_through(&self, program: &[&str], arguments: &[&str]) -> Command {
        let words = [program, &[env!("CARGO_BIN_EXE_haul")], arguments].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env_clear().envs(&self.environment).current_dir(self.work());
        command
    }
}

/// Names in a directory, sorted; none when it is not there.
pub fn names_in(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
