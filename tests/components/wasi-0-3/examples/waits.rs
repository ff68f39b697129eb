//! Hooks that are `async func` and use WASI 0.3: the task's metadata says for what.

wit_bindgen::generate!({
    inline: "
        package test:components;

        world hooks {
            import haul:transfer/filename@0.1.0;
            export haul:transfer/on-auth@0.1.0;
            export haul:transfer/on-task-start@0.1.0;
        }
    ",
    path: "target/wit",
    generate_all,
});

use std::sync::atomic::{AtomicU32, Ordering};

use exports::haul::transfer::{on_auth, on_task_start};
use haul::transfer::filename;
use haul::transfer::types::{Auth, Response as Head, Task};
use wasip3::clocks::{monotonic_clock, system_clock};
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use wasip3::wit_stream;
use wit_bindgen::{FutureReader, StreamReader, spawn_local};

const MILLISECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600_000 * MILLISECOND;
/// More than a component may have.
const MANY: usize = 2_000;

/// Calls of this instance.
static CALLS: AtomicU32 = AtomicU32::new(0);

struct Component;

impl on_auth::Guest for Component {
    /// The access token is what the server answers to the refresh token.
    async fn handle(_task: Task, auth: Auth, _reason: on_auth::Reason) -> on_auth::Verdict {
        let (url, token) =
            (auth.refresh_url.clone().unwrap_or_default(), auth.refresh_token.clone().unwrap_or_default());
        let (mut sender, body) = wit_stream::new();
        spawn_local(async move {
            sender.write_all(token.into_bytes()).await;
        });
        match send(&url, body).await {
            Ok(response) => {
                let (_done, processed) = wasip3::wit_future::new(|| Ok(()));
                let (body, _trailers) = Response::consume_body(response, processed);
                let access_token = String::from_utf8(body.collect().await).ok();
                on_auth::Verdict::Refreshed(Auth { access_token, ..auth })
            }
            Err(error) => on_auth::Verdict::Failed(format!("{error:?}")),
        }
    }
}

impl on_task_start::Guest for Component {
    async fn handle(task: Task) -> Option<on_task_start::Changes> {
        let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
        let (deed, url) = task.meta_data.split_once(' ').unwrap_or((&task.meta_data, ""));
        let outcome = match deed {
            "look" => look(),
            "wait" => {
                let began = monotonic_clock::now();
                monotonic_clock::wait_for(20 * MILLISECOND).await;
                (monotonic_clock::now() - began >= 20 * MILLISECOND).to_string()
            }
            "wait-often" => {
                for _ in 0..40 {
                    monotonic_clock::wait_for(11 * MILLISECOND).await;
                }
                String::new()
            }
            "take-no-more-calls" => {
                wit_bindgen::backpressure_inc();
                String::new()
            }
            "say" => said(url).await,
            "write-without-end" => write_without_end().await,
            "wait-without-end" => {
                monotonic_clock::wait_for(HOUR).await;
                String::new()
            }
            "wait-for-nothing" => {
                let (_sender, mut receiver) = wit_stream::new::<u8>();
                format!("{:?}", receiver.next().await)
            }
            "compute-without-end" => loop {
                wit_bindgen::yield_async().await;
            },
            "begin-many" => begin_many(),
            "make-many-streams" => {
                (0..MANY).for_each(|_| std::mem::forget(wit_stream::new::<u8>()));
                String::new()
            }
            "send-without-end" => send_without_end(url).await,
            "go-on" => {
                spawn_local(go_on());
                String::new()
            }
            "leave-a-request" => {
                spawn_local(send_without_body(url.to_owned()));
                String::new()
            }
            "send-many" => {
                for _ in 0..4 {
                    spawn_local(send_without_body(url.to_owned()));
                }
                monotonic_clock::wait_for(20 * MILLISECOND).await;
                let (sender, body) = wit_stream::new();
                drop(sender);
                told(send(url, body).await)
            }
            "ask-next" => {
                monotonic_clock::wait_for(MILLISECOND).await;
                let head = Head { status: 200, headers: vec![], url: task.url.clone(), body: vec![], extra: vec![] };
                filename::decide(&task, &head, &[])
            }
            "exit" => {
                wasip3::cli::exit::exit(Ok(()));
                String::new()
            }
            _ => String::new(),
        };
        let headers = vec![("x-calls".into(), calls.to_string()), ("x-outcome".into(), outcome)];
        Some(on_task_start::Changes { url: None, headers, remove_headers: vec![] })
    }
}

/// What of the machine can be seen: nothing but clocks, which tell milliseconds.
fn look() -> String {
    use wasip3::sockets::types::{IpAddressFamily, TcpSocket, UdpSocket};
    let fine = (0..500).filter(|_| {
        let (monotonic, system) = (monotonic_clock::now(), u64::from(system_clock::now().nanoseconds));
        monotonic % MILLISECOND != 0 || system % MILLISECOND != 0
    });
    let fine = fine.count();
    let coarse = monotonic_clock::get_resolution() >= MILLISECOND && system_clock::get_resolution() >= MILLISECOND;
    let random = wasip3::random::random::get_random_bytes(1 << 30).len();
    let variables = wasip3::cli::environment::get_environment().len();
    let folders = wasip3::filesystem::preopens::get_directories().len();
    let tcp = TcpSocket::create(IpAddressFamily::Ipv4).is_ok();
    let udp = UdpSocket::create(IpAddressFamily::Ipv4).is_ok();
    format!("fine={fine} coarse={coarse} random={random} variables={variables} folders={folders} tcp={tcp} udp={udp}")
}

async fn write_without_end() -> String {
    let (mut sender, receiver) = wit_stream::new();
    let _written = wasip3::cli::stdout::write_via_stream(receiver);
    loop {
        sender.write_all(vec![b'x'; 1 << 20]).await;
    }
}

/// Begins to wait, again and again, and never looks what became of it.
fn begin_many() -> String {
    use std::future::Future;
    use std::task::{Context, Waker};
    for _ in 0..MANY {
        let mut waiting = Box::pin(monotonic_clock::wait_for(HOUR));
        let _ = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        std::mem::forget(waiting);
    }
    String::new()
}

/// Goes on after the answer.
async fn go_on() {
    let (mut sender, receiver) = wit_stream::new();
    let _written = wasip3::cli::stdout::write_via_stream(receiver);
    loop {
        monotonic_clock::wait_for(MILLISECOND).await;
        sender.write_all(b"still there\n".to_vec()).await;
    }
}

async fn send_without_end(url: &str) -> String {
    let (mut sender, body) = wit_stream::new();
    spawn_local(async move { while sender.write_all(vec![b'x'; 1 << 20]).await.is_empty() {} });
    told(send(url, body).await)
}

/// Sends `once`, and says a header with it as far as it may: `URL NAME VALUE`.
async fn said(words: &str) -> String {
    let mut words = words.split(' ');
    let (url, name, value) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let fields = Fields::new();
    if let Err(error) = fields.append(name, value.as_bytes()) {
        return format!("{error:?}");
    }
    let (mut sender, body) = wit_stream::new();
    spawn_local(async move {
        sender.write_all(b"once".to_vec()).await;
    });
    told(send_with(fields, url, body).await)
}

/// Sends a request whose body never comes.
async fn send_without_body(url: String) -> String {
    let (_sender, body) = wit_stream::new();
    told(send(&url, body).await)
}

fn told(answer: Result<Response, ErrorCode>) -> String {
    match answer {
        Ok(response) => response.get_status_code().to_string(),
        Err(error) => format!("{error:?}"),
    }
}

async fn send(url: &str, body: StreamReader<u8>) -> Result<Response, ErrorCode> {
    send_with(Fields::new(), url, body).await
}

async fn send_with(fields: Fields, url: &str, body: StreamReader<u8>) -> Result<Response, ErrorCode> {
    let place = url.strip_prefix("http://").unwrap_or(url);
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let (no_trailers, trailers) = wasip3::wit_future::new(|| Ok(None));
    let (request, _sent): (_, FutureReader<_>) = Request::new(fields, Some(body), trailers, None);
    let unusable = || ErrorCode::HttpRequestUriInvalid;
    request.set_method(&Method::Post).map_err(|()| unusable())?;
    request.set_scheme(Some(&Scheme::Http)).map_err(|()| unusable())?;
    request.set_authority(Some(authority)).map_err(|()| unusable())?;
    request.set_path_with_query(Some(&format!("/{path}"))).map_err(|()| unusable())?;
    drop(no_trailers);
    client::send(request).await
}

export!(Component);
