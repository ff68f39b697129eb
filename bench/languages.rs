//! What a component costs in each language: to compile, to load, to call, to keep.
//!
//! `cargo run --release --example languages COMPONENT.wasm...`. Prints a table with a row for each, named by its file;
//! asserts nothing. The components are those of callbacks-example, or answer the same hooks.

#![allow(clippy::print_stdout)] // its table is its output

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use haul::hooks::{Attempt, AuthReason, Chain, Compiler, ComponentSource, Grants, Hooks, HooksSettings, LogSink};
use haul::task::Auth;
use haul::transport::{Call, Transport, TransportSettings};
use haul::{Failure, FailureKind, Task};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const CALLS: usize = 2_000;
/// A component may send thirty requests a minute.
const REFRESHES: usize = 25;
/// Instances made to learn what one keeps.
const INSTANCES: u64 = 8;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> anyhow::Result<()> {
    let server = TcpListener::bind("127.0.0.1:0").await?;
    let authority = server.local_addr()?.to_string();
    tokio::spawn(serve(server));
    let url = format!("http://{authority}/token");
    let transport = Transport::new(TransportSettings::default());
    let request = median(REFRESHES, async || {
        if let Ok(mut answer) = transport.send(Call::new("POST", &url)).await {
            while let Ok(Some(_)) = answer.body.next().await {}
        }
    })
    .await;
    println!("The same request from the host: {request:.0} µs.\n");
    println!(
        "| component | size KiB | compile ms | load ms | first call µs | call µs | decorated retry µs | on-auth µs | memory KiB |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    for path in std::env::args().skip(1) {
        let path = PathBuf::from(path);
        row(&path, &authority).await.with_context(|| path.display().to_string())?;
    }
    Ok(())
}

async fn row(path: &Path, authority: &str) -> anyhow::Result<()> {
    let directory = std::env::temp_dir().join(format!("haul-languages-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let settings = || HooksSettings {
        cache_dir: directory.clone(),
        key_dir: directory.clone(),
        log: LogSink(Arc::new(|_, _| ())),
        rules: Vec::new(),
        compiler: Compiler::Here,
        record: None,
    };
    let source = |name: &str| ComponentSource {
        name: name.into(),
        path: path.into(),
        grants: Grants { allow_hosts: vec![authority.into()], ..Grants::default() },
        ..ComponentSource::default()
    };
    let transport = Transport::new(TransportSettings::default());
    let chain = |hooks: &Hooks, name: &str| anyhow::Ok(hooks.chain(&[hooks.load(&source(name))?], &transport));

    let hooks = Hooks::new(settings())?;
    let (compile, _) = timed(|| chain(&hooks, "compiled"))?;
    let hooks = Hooks::new(settings())?;
    let (load, loaded) = timed(|| chain(&hooks, "loaded"))?;
    let asks = Questions::new(&loaded, authority);
    let start = Instant::now();
    asks.start(&loaded).await?;
    let first = micros(start);
    let call = median(CALLS, async || drop(asks.start(&loaded).await)).await;
    let retry = median(CALLS, async || drop(asks.retry(&loaded).await)).await;
    asks.refresh(&loaded).await?;
    let refresh = median(REFRESHES - 1, async || drop(asks.refresh(&loaded).await)).await;

    let before = private_kib();
    let mut kept = Vec::new();
    for number in 0..INSTANCES {
        let chain = chain(&hooks, &number.to_string())?;
        asks.start(&chain).await?;
        kept.push(chain);
    }
    let memory = private_kib().saturating_sub(before) / INSTANCES;
    std::fs::remove_dir_all(&directory)?;
    println!(
        "| {} | {} | {:.0} | {:.1} | {first:.0} | {call:.1} | {retry:.1} | {refresh:.0} | {memory} |",
        path.file_stem().unwrap_or_default().to_string_lossy(),
        path.metadata()?.len() >> 10,
        compile / 1e3,
        load / 1e3,
    );
    Ok(())
}

/// What the hooks are asked.
struct Questions {
    task: haul::hooks::HookTask,
    auth: Auth,
}

impl Questions {
    fn new(chain: &Chain, authority: &str) -> Self {
        let task = Task { task_id: "01890a5d-ac96-774b-bcce-b302099a8057".into(), ..Task::download("http://a.test/f") };
        let auth = Auth {
            access_token: Some("old".into()),
            refresh_token: Some("again".into()),
            refresh_url: Some(format!("http://{authority}/token")),
            ..Auth::default()
        };
        Self { task: chain.prepare(&task), auth }
    }

    async fn start(&self, chain: &Chain) -> anyhow::Result<()> {
        chain.on_task_start(&self.task).await.map(drop).map_err(told)
    }

    async fn retry(&self, chain: &Chain) -> anyhow::Result<()> {
        let attempt = Attempt { number: 1, retries_remaining: 3, ..Attempt::default() };
        let failure = Failure::new(FailureKind::Connection, "connection lost");
        chain.retry(&self.task, &attempt, &failure).await.map(drop).map_err(told)
    }

    async fn refresh(&self, chain: &Chain) -> anyhow::Result<()> {
        chain.on_auth(&self.task, &self.auth, AuthReason::Expiring).await.map(drop).map_err(told)
    }
}

fn told(failure: Failure) -> anyhow::Error {
    anyhow::anyhow!(failure.description)
}

fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(f64, T)> {
    let start = Instant::now();
    let made = work()?;
    Ok((micros(start), made))
}

fn micros(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}

/// Median of so many calls, in µs.
async fn median(count: usize, call: impl AsyncFn()) -> f64 {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        call().await;
        times.push(micros(start));
    }
    times.sort_by(f64::total_cmp);
    times[count / 2]
}

/// Memory that is this process's alone; 0 where the system does not tell.
fn private_kib() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// A token server that keeps its connections.
async fn serve(server: TcpListener) {
    const BODY: &str = r#"{"access_token":"new","expires_in":3600}"#;
    while let Ok((mut stream, _)) = server.accept().await {
        tokio::spawn(async move {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len());
            let mut asked = Vec::new();
            while stream.read_buf(&mut asked).await.is_ok_and(|read| read > 0) {
                // What has a body has JSON.
                let end: &[u8] = if holds(&asked, b"application/json") { b"}" } else { b"\r\n\r\n" };
                if !asked.ends_with(end) {
                    continue;
                }
                asked.clear();
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

fn holds(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
