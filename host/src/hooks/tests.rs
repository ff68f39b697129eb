//! The boundary with real components: the embedded policy, and those of tests/components, which misbehave.

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;
use crate::error::{FailureDetail, FailureKind};
use crate::event::StatusUpdate;
use crate::task::Task;
use crate::transport::{Guard, TransportSettings};

mod cache;
mod chains;
mod components;
mod example;
mod hostile;
mod policy;
mod wasi_0_3;

/// Hooks in a directory of their own, and what components log.
struct Home {
    hooks: Hooks,
    lines: Arc<Mutex<Vec<String>>>,
    directory: tempfile::TempDir,
}

impl Home {
    /// Shares compiled components with all tests of this checkout.
    fn new() -> Self {
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-hooks");
        Self::over(&shared)
    }

    fn over(cache: &Path) -> Self {
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let hooks = hooks_in(cache, &lines);
        let directory = tempfile::tempdir().unwrap();
        Self { hooks, lines, directory }
    }

    fn chain(&self, components: &[Arc<Component>]) -> Chain {
        self.hooks.chain(components, &Transport::new(TransportSettings::default()))
    }

    fn log(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

fn hooks_in(directory: &Path, lines: &Arc<Mutex<Vec<String>>>) -> Hooks {
    let lines = lines.clone();
    let log = move |name: &str, line: &str| lines.lock().unwrap().push(format!("{name}: {line}"));
    Hooks::new(HooksSettings {
        cache_dir: directory.join("cache"),
        key_dir: directory.join("home"),
        log: LogSink(Arc::new(log)),
        rules: Vec::new(),
        compiler: Compiler::Here,
        record: None,
    })
    .unwrap()
}

fn task() -> Task {
    Task { task_id: "t1".into(), retries: 3, retries_remaining: 3, ..Task::download("http://127.0.0.1/dir/file.txt") }
}

fn cut() -> Failure {
    Failure::new(FailureKind::Connection, "the connection ended within the body").with(FailureDetail::Cut)
}

fn first_attempt() -> Attempt {
    Attempt { number: 1, retries_remaining: 3, ..Attempt::default() }
}
