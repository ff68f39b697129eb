//! What a decision costs: the default policy's, and a user component's callback, in µs per call, all in.
//!
//! `cargo run --release --example decisions [COMPONENT.wasm]`. Prints; asserts nothing.

#![expect(clippy::print_stdout, reason = "its table is its output")]
#![expect(clippy::disallowed_methods, reason = "it measures time, and its server ends with it")]

use std::sync::Arc;
use std::time::Instant;

use haul::hooks::{Asked, Attempt, Compiler, ComponentSource, Head, HookHead, Hooks, HooksSettings, LogSink};
use haul::transport::{Transport, TransportSettings};
use haul::{Failure, FailureKind, Task};

const CALLS: u32 = 20_000;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> anyhow::Result<()> {
    let dir = std::env::temp_dir().join(format!("haul-decisions-{}", std::process::id()));
    let settings = HooksSettings {
        cache_dir: dir.clone(),
        key_dir: dir.clone(),
        log: LogSink(Arc::new(|_, _| ())),
        rules: Vec::new(),
        compiler: Compiler::Here,
        record: None,
    };
    std::fs::create_dir_all(&dir)?;
    let start = Instant::now();
    let hooks = Hooks::new(settings.clone())?;
    println!("| what | µs |\n|---|--:|");
    println!("| load the policy, compiling it | {:.0} |", start.elapsed().as_secs_f64() * 1e6);
    let start = Instant::now();
    drop(Hooks::new(settings)?);
    println!("| load the policy from the cache | {:.0} |", start.elapsed().as_secs_f64() * 1e6);
    let transport = Transport::new(TransportSettings::default());
    let task = realistic_task();
    let chain = hooks.chain(&[], &transport);
    let prepared = chain.prepare(&task);
    let head = HookHead::from(Head {
        status: 200,
        headers: vec![("content-type".into(), "application/zip".into()), ("content-length".into(), "4096".into())],
        url: task.url.clone(),
        body: Vec::new(),
        by: None,
    });
    let failure = Failure::new(FailureKind::Connection, "connection lost");
    let attempt = Attempt { number: 1, retries_remaining: 3, ..Attempt::default() };
    row("policy: convert a task (once per attempt)", async || drop(chain.prepare(&task))).await;
    row("policy: classify", async || drop(chain.classify(&prepared, &Asked::default(), &head).await)).await;
    row("policy: filename", async || drop(chain.filename(&prepared, &head, &[]).await)).await;
    row("policy: retry", async || drop(chain.retry(&prepared, &attempt, &failure).await)).await;
    let thousand: Vec<Task> = (0..1000).map(|n| Task { task_id: n.to_string(), ..task.clone() }).collect();
    let start = Instant::now();
    chain.admit(&thousand, 0).await.map_err(|failure| anyhow::anyhow!(failure.description))?;
    println!("| policy: admit, per task of a thousand | {:.2} |", start.elapsed().as_secs_f64() * 1e6 / 1000.0);
    if let Some(path) = std::env::args().nth(1) {
        let source = ComponentSource { name: "example".into(), path: path.into(), ..ComponentSource::default() };
        let component = hooks.load(&source)?;
        let chain = hooks.chain(&[component], &transport);
        row("user's Rust component: on-task-start", async || drop(chain.on_task_start(&prepared).await)).await;
        row("user's Rust component: before-task-start", async || drop(chain.before_task_start(&prepared).await)).await;
        row("user's Rust component: retry, decorating the policy's", async || {
            drop(chain.retry(&prepared, &attempt, &failure).await);
        })
        .await;
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

async fn row(what: &str, call: impl AsyncFn()) {
    for _ in 0..CALLS / 10 {
        call().await;
    }
    let start = Instant::now();
    for _ in 0..CALLS {
        call().await;
    }
    println!("| {what} | {:.2} |", start.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS));
}

/// 23 fields, 26 strings, about 700 bytes of text: what toolchain measurements were made with.
fn realistic_task() -> Task {
    let pair = |n: usize| (format!("x-header-number-{n}"), format!("a value of ordinary length {n}"));
    Task {
        task_id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
        url: "https://files.example.org/some/path/to/archive.zip?version=3&region=north".into(),
        headers: (0..6).map(pair).collect(),
        http_request_method: "GET".into(),
        filename: Some("archive.zip".into()),
        directory: "downloads/archives".into(),
        meta_data: "a little text that the owner keeps with the task".into(),
        display_name: "The archive of the year".into(),
        retries: 3,
        retries_remaining: 3,
        on_conflict: Some(haul::task::OnConflict::Unique),
        ..Task::default()
    }
}
