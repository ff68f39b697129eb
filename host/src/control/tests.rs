//! The control socket between real sockets, with an echo in the engine's place: what is tested is the protocol.

mod forms;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::timeout;

use super::server::Answers;
use super::*;
use crate::api::Reply;
use crate::error::{Error, Result};
use crate::event::{Details, StatusUpdate, Update};
use crate::task::Status;

/// Answers `Info` with the asker's number, never answers `show wait`, refuses `show fail`, panics at `show panic`, and notes
/// who has gone.
#[derive(Clone)]
struct Echo {
    watchers: Arc<Mutex<Vec<mpsc::Sender<Update>>>>,
    silent: Arc<Mutex<Vec<mpsc::Sender<Update>>>>,
    gone: UnboundedSender<u64>,
}

impl Echo {
    fn new() -> (Self, UnboundedReceiver<u64>) {
        #[expect(clippy::disallowed_methods, reason = "as many as the test has connections")]
        let (gone, left) = mpsc::unbounded_channel();
        (Self { watchers: Arc::default(), silent: Arc::default(), gone }, left)
    }

    fn tell(&self, seq: u64, body: Option<String>) {
        for watcher in self.watchers.lock().unwrap().iter() {
            let _ = watcher.try_send(update(seq, body.clone()));
        }
    }

    fn tell_silent(&self, seq: u64) {
        for watcher in self.silent.lock().unwrap().iter() {
            let _ = watcher.try_send(update(seq, None));
        }
    }
}

fn update(seq: u64, body: Option<String>) -> Update {
    let details = Details { response_body: body, resumed_from: 1, ..Details::default() };
    Update::Status(StatusUpdate {
        seq,
        task_id: "t".into(),
        group: "default".into(),
        status: Status::Complete,
        at: 1_000,
        details: Some(std::sync::Arc::new(details)),
    })
}

impl Answers for Echo {
    async fn call_as(&self, asker: u64, request: Request) -> Result<Reply> {
        match request {
            Request::Info => Ok(Reply::Info(json!({ "asker": asker }))),
            Request::Show { id } if id == "wait" => std::future::pending().await,
            Request::Show { id } if id == "fail" => Err(Error::Refused("it does not pause".into())),
            Request::Show { id } if id == "panic" => panic!("as it was asked to"),
            Request::Add { tasks, .. } => Ok(Reply::Count(tasks.len() as u64)),
            _ => Ok(Reply::Done),
        }
    }
    fn watch(&self) -> mpsc::Receiver<Update> {
        let (sender, receiver) = mpsc::channel(100_000);
        self.watchers.lock().unwrap().push(sender);
        receiver
    }
    fn watch_silent(&self) -> mpsc::Receiver<Update> {
        let (sender, receiver) = mpsc::channel(1);
        self.silent.lock().unwrap().push(sender);
        receiver
    }
    fn gone(&self, asker: u64) {
        let _ = self.gone.send(asker);
    }
}

/// A home that is worked by an echo.
struct Worked {
    home: Home,
    echo: Echo,
    left: UnboundedReceiver<u64>,
    server: Server,
    _lock: Lock,
    _folder: tempfile::TempDir,
}

async fn work(below: &str) -> Worked {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::create(&folder.path().join(below)).unwrap();
    let (lock, listener) = match enter(&home).await.unwrap() {
        Entered::Ours(lock, listener) => (lock, listener.unwrap()),
        Entered::Joined(_) => panic!("nobody to join"),
    };
    let (echo, left) = Echo::new();
    let server = Server::start(home.clone(), listener, echo.clone(), true);
    Worked { home, echo, left, server, _lock: lock, _folder: folder }
}

async fn join(home: &Home) -> Client {
    match enter(home).await.unwrap() {
        Entered::Joined(client) => client,
        Entered::Ours(..) => panic!("the home is worked"),
    }
}

fn asker(reply: Result<Reply>) -> u64 {
    match reply {
        Ok(Reply::Info(json)) => json["asker"].as_u64().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn seq(update: Option<Update>) -> Option<u64> {
    update.map(|update| match update {
        Update::Status(update) => update.seq,
        Update::Progress(_) => panic!("no progress here"),
    })
}

/// Fails instead of hanging.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(120), what).await.expect("in time")
}

#[tokio::test]
async fn the_second_process_joins_and_asks() {
    let worked = work("home").await;
    let client = join(&worked.home).await;
    assert_eq!(client.pid(), std::process::id());
    assert_eq!(asker(client.call(Request::Info).await), 1);
    let refused = client.call(Request::Show { id: "fail".into() }).await;
    assert!(matches!(refused, Err(Error::Refused(text)) if text == "it does not pause"));
}

#[tokio::test]
async fn home_and_socket_are_the_owners_only() {
    let worked = work("a/b/home").await;
    let folder = worked._folder.path().join("a/b/home");
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.clone()), 0o700);
    assert_eq!(mode(folder.join("haul.sock")), 0o600);
    assert_eq!(mode(folder.join("haul.lock")), 0o600);
}

#[tokio::test]
async fn a_deep_home_has_a_socket_too() {
    let deep = format!("{0}/{0}/{0}", "d".repeat(90));
    let worked = work(&deep).await;
    let client = join(&worked.home).await;
    assert_eq!(asker(client.call(Request::Info).await), 1);
    worked.server.finish().await;
    assert!(!worked._folder.path().join(deep).join("haul.sock").exists());
}

#[tokio::test]
async fn several_questions_of_two_processes_are_open_at_once() {
    let worked = work("home").await;
    let (one, two) = (join(&worked.home).await, join(&worked.home).await);
    let waiting = one.call(Request::Show { id: "wait".into() });
    let others = async {
        for _ in 0..100 {
            let (first, second) = tokio::join!(one.call(Request::Info), two.call(Request::Info));
            assert_eq!((asker(first), asker(second)), (1, 2));
        }
    };
    soon(async {
        tokio::select! {
            answer = waiting => panic!("{answer:?}"),
            () = others => {}
        }
    })
    .await;
}

#[tokio::test]
async fn a_question_whose_answer_panics_is_answered_and_so_are_the_others() {
    let worked = work("home").await;
    let client = join(&worked.home).await;
    let waiting = client.call(Request::Show { id: "wait".into() });
    let others = async {
        let panicked = client.call(Request::Show { id: "panic".into() }).await;
        assert!(matches!(&panicked, Err(Error::Other(text)) if text.contains("panicked")), "{panicked:?}");
        assert_eq!(asker(client.call(Request::Info).await), 1, "on the same connection");
    };
    soon(async {
        tokio::select! {
            answer = waiting => panic!("{answer:?}"),
            () = others => {}
        }
    })
    .await;
}

#[tokio::test]
async fn a_process_that_leaves_is_reported_gone() {
    let mut worked = work("home").await;
    let (one, two) = (join(&worked.home).await, join(&worked.home).await);
    let (first, second) = (asker(one.call(Request::Info).await), asker(two.call(Request::Info).await));
    drop(two);
    assert_eq!(soon(worked.left.recv()).await, Some(second));
    drop(one);
    assert_eq!(soon(worked.left.recv()).await, Some(first));
}

#[tokio::test]
async fn watchers_get_every_update_until_the_engine_ends() {
    let worked = work("home").await;
    let (one, two) = (join(&worked.home).await, join(&worked.home).await);
    let mut first = one.watch().await.unwrap();
    let mut second = two.watch().await.unwrap();
    let mut third = two.watch().await.unwrap();
    for seq in 1..=100 {
        worked.echo.tell(seq, Some("body".into()));
    }
    worked.server.finish().await; // says all of it first
    for updates in [&mut first, &mut second, &mut third] {
        for wanted in 1..=100 {
            assert_eq!(seq(soon(updates.recv()).await), Some(wanted));
        }
        assert_eq!(seq(soon(updates.recv()).await), None);
    }
    let after = soon(one.call(Request::Info)).await;
    let Err(Error::HomeLocked(text)) = after else { panic!("{after:?}") };
    assert!(text.contains("has ended"), "{text}");
}

#[tokio::test]
async fn what_silent_tasks_become_is_told_only_to_who_asks_for_that() {
    let worked = work("home").await;
    let client = join(&worked.home).await;
    let mut updates = client.watch().await.unwrap();
    let mut silent = client.watch_silent().await.unwrap();
    worked.echo.tell(1, None);
    worked.echo.tell_silent(2);
    worked.server.finish().await;

    assert_eq!((seq(soon(updates.recv()).await), seq(soon(updates.recv()).await)), (Some(1), None));
    assert_eq!((seq(soon(silent.recv()).await), seq(soon(silent.recv()).await)), (Some(2), None));
}

#[tokio::test]
async fn open_questions_end_with_the_engine() {
    let worked = work("home").await;
    let client = join(&worked.home).await;
    let mut waiting = Box::pin(client.call(Request::Show { id: "wait".into() }));
    tokio::select! {
        answer = &mut waiting => panic!("{answer:?}"),
        reply = client.call(Request::Info) => assert_eq!(asker(reply), 1),
    }
    drop(worked.server);
    assert!(matches!(soon(waiting).await, Err(Error::HomeLocked(_))));
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_dropped() {
    let mut worked = work("home").await;
    let mut stream = raw(&worked.home).await;
    stream.write_all(b"{\"n\":1,\"watch\":true}\n").await.unwrap();
    read_line(&mut stream).await; // the answer: it watches now
    for seq in 0..100 {
        worked.echo.tell(seq, Some("x".repeat(64 << 10)));
    }
    assert_eq!(soon(worked.left.recv()).await, Some(1));
}

/// A connection past its first lines, without our client.
async fn raw(home: &Home) -> UnixStream {
    let mut stream = home.connect().await.unwrap().unwrap();
    assert!(read_line(&mut stream).await.contains(r#""protocol":1"#));
    stream.write_all(b"{\"haul\":\"0.1.0\",\"protocol\":1,\"pid\":1}\n").await.unwrap();
    stream
}

async fn read_line(stream: &mut UnixStream) -> String {
    let mut line = Vec::new();
    soon(async {
        while line.last() != Some(&b'\n') {
            line.push(stream.read_u8().await.unwrap());
        }
    })
    .await;
    String::from_utf8(line).unwrap()
}

#[tokio::test]
async fn what_is_not_understood_is_answered_or_ends_the_connection() {
    let mut worked = work("home").await;
    let mut stream = raw(&worked.home).await;
    stream.write_all(b"{\"n\":7,\"request\":{\"dance\":{}}}\n").await.unwrap();
    let answer: serde_json::Value = serde_json::from_str(&read_line(&mut stream).await).unwrap();
    assert_eq!((&answer["n"], &answer["error"]["kind"]), (&json!(7), &json!("homeLocked")));
    stream.write_all(b"nonsense\n").await.unwrap();
    assert_eq!(soon(worked.left.recv()).await, Some(1));
}

#[tokio::test]
async fn an_endless_line_ends_the_connection() {
    let mut worked = work("home").await;
    let mut stream = raw(&worked.home).await;
    let piece = vec![b'x'; 1 << 20];
    soon(async { while stream.write_all(&piece).await.is_ok() {} }).await;
    assert_eq!(soon(worked.left.recv()).await, Some(1));
}

#[tokio::test]
async fn an_engine_of_another_protocol_is_named_with_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::create(folder.path()).unwrap();
    let lock = home.try_lock().unwrap().unwrap();
    let listener = home.listen(&lock).unwrap();
    let other = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"{\"haul\":\"9.9.9\",\"protocol\":2,\"pid\":1}\n").await.unwrap();
    });
    let refused = soon(enter(&home)).await.unwrap_err();
    let Error::HomeLocked(text) = refused else { panic!("{refused}") };
    for words in ["protocol 2", "speaks 1", env!("CARGO_PKG_VERSION"), &std::process::id().to_string(), "--home"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    other.await.unwrap();
}

#[tokio::test]
async fn a_process_of_another_protocol_is_not_answered() {
    let mut worked = work("home").await;
    let mut stream = worked.home.connect().await.unwrap().unwrap();
    stream.write_all(b"{\"haul\":\"9.9.9\",\"protocol\":2,\"pid\":1}\n{\"n\":1,\"watch\":true}\n").await.unwrap();
    let mut all = String::new();
    soon(stream.read_to_string(&mut all)).await.unwrap();
    assert_eq!(all.lines().count(), 1, "{all}");
    assert_eq!(soon(worked.left.recv()).await, Some(1));
}

#[tokio::test]
async fn a_dead_socket_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::create(folder.path()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("haul.sock")).unwrap());
    assert!(home.connect().await.unwrap().is_none());
    let Entered::Ours(_lock, Some(listener)) = enter(&home).await.unwrap() else { panic!("free") };
    let _server = Server::start(home.clone(), listener, Echo::new().0, true);
    assert_eq!(asker(join(&home).await.call(Request::Info).await), 1);
}

#[tokio::test]
async fn of_many_who_enter_at_once_one_gets_the_home_and_the_others_join() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::create(folder.path()).unwrap();
    let mut entering = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let home = home.clone();
        entering.spawn(async move {
            match enter(&home).await.unwrap() {
                Entered::Ours(lock, listener) => {
                    let server = Server::start(home, listener.unwrap(), Echo::new().0, true);
                    (Some((lock, server)), None)
                }
                Entered::Joined(client) => (None, Some(client)),
            }
        });
    }
    let all = soon(entering.join_all()).await;
    assert_eq!(all.iter().filter(|(ours, _)| ours.is_some()).count(), 1);
    for client in all.iter().filter_map(|(_, client)| client.as_ref()) {
        assert!(asker(client.call(Request::Info).await) > 0);
    }
}

#[tokio::test]
async fn the_next_process_takes_over_when_the_engine_ends() {
    let Worked { home, server, _lock, _folder, .. } = work("home").await;
    let client = join(&home).await;
    let ending = async {
        server.finish().await;
        drop(_lock);
    };
    let next = async {
        assert!(client.call(Request::Show { id: "wait".into() }).await.is_err());
        enter(&home).await
    };
    let (entered, ()) = soon(async { tokio::join!(next, ending) }).await;
    assert!(matches!(entered, Ok(Entered::Ours(..))));
}

#[tokio::test]
async fn a_silent_holder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::create(folder.path()).unwrap();
    let _lock = home.try_lock().unwrap().unwrap();
    let refused = enter_within(&home, Duration::from_millis(100)).await.unwrap_err();
    let Error::HomeLocked(text) = refused else { panic!("{refused}") };
    let holder = format!("process {} (haul {})", std::process::id(), env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&holder) && text.contains("does not answer"), "{text}");
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused_before_it_is_sent() {
    let worked = work("home").await;
    let client = join(&worked.home).await;
    let long = Request::Show { id: "x".repeat(3 << 20) };
    assert!(matches!(client.call(long).await, Err(Error::Refused(_))));
    assert_eq!(asker(client.call(Request::Info).await), 1);
}
