//! What a component costs in each language: to compile, to load, to call, to keep.
//!
//! `cargo run --release --example languages COMPONENT.wasm...`. Prints a table with a row for each, named by its file;
//! asserts nothing. The components are those of callbacks-example, or answer the same hooks.

#![expect(clippy::print_stdout, reason = "its table is its output")]
#![expect(clippy::disallowed_methods, reason = "it measures time, and its server ends with it")]

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
/// A component may send thirty requests a minute: so many of one, and then of another of the same file.
const REFRESHES: usize = 25;
const REFRESHED: u64 = 8;
/// Components of the chain.
const CHAINED: usize = 3;
/// After so long nothing else can have changed a file in the same tick of a clock.
const REST: std::time::Duration = std::time::Duration::from_secs(4);
/// Instances made to learn what one keeps.
const INSTANCES: u64 = 8;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> anyhow::Result<()> {
    let authority = token_server()?;
    println!(
        "| component | size KiB | compile ms | load ms | first call µs | call µs | decorated retry µs | on-auth µs | \
         the same request from the host µs | memory KiB |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    for path in &paths {
        row(path, &authority).await.with_context(|| path.display().to_string())?;
    }
    if let Some(path) = paths.first() {
        let (start, retry) = chained(path).await?;
        println!(
            "\nThe first of them {CHAINED} times in a chain: call {start:.1} µs, each decorating the next one's `retry` {retry:.1} µs."
        );
    }
    Ok(())
}

/// A call, and a decorated one, of a chain of the same component.
async fn chained(path: &Path) -> anyhow::Result<(f64, f64)> {
    let directory = Directory::new()?;
    let hooks = directory.hooks()?;
    let links: Result<Vec<_>, _> =
        (0..CHAINED).map(|number| hooks.load(&source(path, &number.to_string(), "none.test"))).collect();
    let chain = hooks.chain(&links?, &Transport::new(TransportSettings::default()));
    let asks = Questions::new(&chain, "none.test");
    asks.start(&chain).await?;
    asks.retry(&chain).await?;
    let start = median(CALLS, async || drop(asks.start(&chain).await)).await;
    let retry = median(CALLS, async || drop(asks.retry(&chain).await)).await;
    Ok((start, retry))
}

async fn row(path: &Path, authority: &str) -> anyhow::Result<()> {
    let directory = Directory::new()?;
    let transport = Transport::new(TransportSettings::default());
    let chain = |hooks: &Hooks, name: &str| {
        let component = hooks.load(&source(path, name, authority))?;
        anyhow::Ok(hooks.chain(&[component], &transport))
    };

    let hooks = directory.hooks()?;
    let (compile, _) = timed(|| chain(&hooks, "compiled"))?;
    // The load in which files that have come to rest are proved once more, and then one as every later process has it.
    tokio::time::sleep(REST).await;
    chain(&directory.hooks()?, "proved")?;
    let hooks = directory.hooks()?;
    let (load, loaded) = timed(|| chain(&hooks, "loaded"))?;
    let asks = Questions::new(&loaded, authority);
    let start = Instant::now();
    asks.start(&loaded).await?;
    let first = micros(start);
    let call = median(CALLS, async || drop(asks.start(&loaded).await)).await;
    let retry = median(CALLS, async || drop(asks.retry(&loaded).await)).await;
    let (refresh, request) = refreshed(&hooks, path, authority).await?;

    let before = private_kib();
    let mut kept = Vec::new();
    for number in 0..INSTANCES {
        let chain = chain(&hooks, &number.to_string())?;
        asks.start(&chain).await?;
        kept.push(chain);
    }
    let memory = private_kib().saturating_sub(before) / INSTANCES;
    println!(
        "| {} | {} | {:.0} | {:.1} | {first:.0} | {call:.1} | {retry:.1} | {refresh:.0} | {request:.0} | {memory} |",
        path.file_stem().unwrap_or_default().to_string_lossy(),
        path.metadata()?.len() >> 10,
        compile / 1e3,
        load / 1e3,
    );
    Ok(())
}

/// `on-auth` with a request, and the same request from the host, which take turns: what else the machine does is in both.
async fn refreshed(hooks: &Hooks, path: &Path, authority: &str) -> anyhow::Result<(f64, f64)> {
    let url = format!("http://{authority}/token");
    let transport = Transport::new(TransportSettings::default());
    let (mut asked, mut sent) = (Vec::new(), Vec::new());
    let all = cores();
    keep_to(all.get(..1));
    for number in 0..REFRESHED {
        let component = hooks.load(&source(path, &format!("refreshed {number}"), authority))?;
        let chain = hooks.chain(&[component], &transport);
        let asks = Questions::new(&chain, authority);
        asks.refresh(&chain).await?;
        for _ in 1..REFRESHES {
            asked.push(took(async || asks.refresh(&chain).await).await?);
            sent.push(took(async || send(&transport, &url).await).await?);
        }
    }
    keep_to(Some(&all));
    Ok((middle(asked), middle(sent)))
}

/// What the examples send in `on-auth`.
async fn send(transport: &Transport, url: &str) -> anyhow::Result<()> {
    let mut call = Call::new("POST", url);
    call.headers = vec![("content-type".into(), "application/json".into())];
    call.body = bytes::Bytes::from_static(br#"{"grant_type":"refresh_token","refresh_token":"again"}"#).into();
    let mut answer = transport.send(call).await.map_err(told)?;
    while answer.body.next().await.map_err(told)?.is_some() {}
    Ok(())
}

fn source(path: &Path, name: &str, authority: &str) -> ComponentSource {
    ComponentSource {
        name: name.into(),
        path: path.into(),
        grants: Grants { allow_hosts: vec![authority.into()], ..Grants::default() },
        ..ComponentSource::default()
    }
}

/// Where compiled components lie; gone when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("haul-languages-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn hooks(&self) -> anyhow::Result<Hooks> {
        Ok(Hooks::new(HooksSettings {
            cache_dir: self.0.clone(),
            key_dir: self.0.clone(),
            log: LogSink(Arc::new(|_, _| ())),
            rules: Vec::new(),
            compiler: Compiler::Here,
            record: None,
        })?)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
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
    middle(times)
}

/// What a call takes, in µs.
async fn took(call: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let start = Instant::now();
    call().await?;
    Ok(micros(start))
}

fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Memory that is this process's alone; 0 where the system does not tell.
fn private_kib() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Starts a token server; its host and port. It works on another core than who asks, as a server does that is another process:
/// left to the system, the two meet on one core now and then, where a request takes a fifth of the time.
fn token_server() -> anyhow::Result<String> {
    let server = std::net::TcpListener::bind("127.0.0.1:0")?;
    server.set_nonblocking(true)?;
    let authority = server.local_addr()?.to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        keep_to(cores().get(1..2));
        runtime.block_on(async { serve(TcpListener::from_std(server)?).await })
    });
    Ok(authority)
}

/// The cores that this process may use.
fn cores() -> Vec<usize> {
    let usable = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| usable.is_set(*core)).collect()
}

/// Keeps the present thread to these, where there are any.
fn keep_to(cores: Option<&[usize]>) {
    let mut set = rustix::thread::CpuSet::new();
    cores.unwrap_or_default().iter().for_each(|core| set.set(*core));
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

/// Answers on connections that it keeps, while the program runs.
async fn serve(server: TcpListener) -> std::io::Result<()> {
    const BODY: &str = r#"{"access_token":"new","expires_in":3600}"#;
    loop {
        let (mut stream, _) = server.accept().await?;
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
