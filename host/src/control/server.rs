//! The engine's side of the control socket: accepts processes of the same user and answers their questions.
//!
//! Each connection is one task that owns everything of it, and an asker with a number of its own; when it ends, in whatever
//! way, the engine is told. What waits to be sent is bounded: a process that does not read loses its connection.

use std::future::Future;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::Receiver;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::home::Home;
use super::lines::{self, Incoming, MAX_LINE, Outgoing};
use super::wire::{self, Answer, Hello, PROTOCOL, Question, Replied};
use crate::api::{Reply, Request};
use crate::clock;
use crate::engine::{Engine, caught};
use crate::error::{Error, Result};
use crate::event::Update;
use crate::task::json;

/// Connections at a time; others wait to be accepted.
const MAX_CONNECTIONS: usize = 256;

/// Questions of one connection that are answered at a time; further ones stay in the socket.
const MAX_OPEN: usize = 32;

/// Bytes that may wait to be sent on one connection: some 65,536 updates.
const MAX_QUEUED: usize = MAX_LINE / 2;

/// How long a new connection may take to say what it is, and a last one to read what waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Pause after a connection could not be accepted (no file descriptors left).
const PAUSE: Duration = Duration::from_millis(50);

/// Whoever answers questions: the engine.
pub(crate) trait Answers: Clone + Send + Sync + 'static {
    /// Answers a request of an asker.
    fn call_as(&self, asker: u64, request: Request) -> impl Future<Output = Result<Reply>> + Send;
    /// Updates from now on.
    fn watch(&self) -> Receiver<Update>;
    /// Changes of status of tasks that send none, from now on.
    fn watch_silent(&self) -> Receiver<Update>;
    /// The asker has left: what was worked for it alone is not wanted any more.
    fn gone(&self, asker: u64);
}

impl Answers for Engine {
    async fn call_as(&self, asker: u64, request: Request) -> Result<Reply> {
        Engine::call_as(self, asker, request).await
    }
    fn watch(&self) -> Receiver<Update> {
        Engine::watch(self)
    }
    fn watch_silent(&self) -> Receiver<Update> {
        Engine::watch_silent(self)
    }
    fn gone(&self, asker: u64) {
        Engine::gone(self, asker);
    }
}

/// A control socket that is served. Dropping it ends all connections at once.
#[derive(Debug)]
pub(crate) struct Server {
    home: Home,
    stop: CancellationToken,
    finish: CancellationToken,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves connections on the present runtime.
    /// `works`: it is there to work tasks.
    pub(super) fn start(home: Home, listener: UnixListener, answers: impl Answers, works: bool) -> Self {
        let (stop, finish) = (CancellationToken::new(), CancellationToken::new());
        #[expect(clippy::disallowed_methods, reason = "ends by `stop`, and is waited for")]
        let accepting = tokio::spawn(accept(listener, answers, Hello::own(works), stop.clone(), finish.clone()));
        Self { home, stop, finish, accepting }
    }

    /// Takes no further connections.
    pub(crate) fn stop_accepting(&self) {
        self.home.remove_socket();
        self.stop.cancel();
    }

    /// Takes no further questions, sends what waits to be sent (for 2 s at most), and ends all connections.
    pub(crate) async fn finish(mut self) {
        self.stop_accepting();
        self.finish.cancel();
        let _ = timeout(PATIENCE, &mut self.accepting).await; // else dropping ends them
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.home.remove_socket();
        self.accepting.abort();
    }
}

async fn accept(
    listener: UnixListener,
    answers: impl Answers,
    hello: Hello,
    stop: CancellationToken,
    finish: CancellationToken,
) {
    let mut connections = JoinSet::new();
    let mut asker = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) if is_same_user(&stream) => {
                    asker += 1;
                    connections.spawn(serve(stream, answers.clone(), hello.clone(), asker, finish.clone()));
                }
                Ok(_) => {} // of another user: closed
                Err(error) => {
                    tracing::warn!("control socket: {error}");
                    clock::sleep(PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Whether the process at the other end is of this process's user (SO_PEERCRED).
pub(super) fn is_same_user(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own)
}

/// Tells the engine when a connection ends, even by a panic or by being dropped.
struct Asker<A: Answers> {
    answers: A,
    number: u64,
}

impl<A: Answers> Drop for Asker<A> {
    fn drop(&mut self) {
        self.answers.gone(self.number);
    }
}

async fn serve(stream: UnixStream, answers: impl Answers, hello: Hello, number: u64, finish: CancellationToken) {
    let (incoming, mut outgoing) = lines::split(stream);
    if let Ok(hello) = wire::line(&hello) {
        outgoing.push(&hello);
    }
    let (asker, open) = (Asker { answers, number }, JoinSet::new());
    let mut connection = Connection { incoming, outgoing, asker, open, updates: None, silent: None };
    let ended = match timeout(PATIENCE, connection.greeted()).await {
        Ok(Ok(true)) => connection.answer(finish).await,
        Ok(Ok(false)) | Err(_) => return,
        Ok(Err(error)) => Err(error),
    };
    if let Err(error) = ended {
        tracing::debug!("control connection {number}: {error}");
    }
}

/// One process that has joined.
struct Connection<A: Answers> {
    incoming: Incoming,
    outgoing: Outgoing,
    asker: Asker<A>,
    /// Questions that are being answered.
    open: JoinSet<(u64, Result<Reply>)>,
    updates: Option<Receiver<Update>>,
    silent: Option<Receiver<Update>>,
}

impl<A: Answers> Connection<A> {
    /// Exchanges the first lines; whether the other side speaks this protocol.
    async fn greeted(&mut self) -> std::io::Result<bool> {
        self.outgoing.flush().await?;
        let line = self.incoming.next().await?;
        let hello = line.and_then(|line| serde_json::from_slice::<Hello>(&line).ok());
        Ok(hello.is_some_and(|hello| hello.protocol == PROTOCOL))
    }

    /// Answers until the other side leaves or `finish` comes.
    async fn answer(&mut self, finish: CancellationToken) -> std::io::Result<()> {
        loop {
            let room = self.open.len() < MAX_OPEN && self.outgoing.len() < MAX_QUEUED;
            tokio::select! {
                () = finish.cancelled() => return self.finish().await,
                sent = self.outgoing.send() => sent?,
                line = self.incoming.next(), if room => match line? {
                    Some(line) => self.question(&line)?,
                    None => return Ok(()),
                },
                Some(answered) = self.open.join_next() => {
                    let (n, result) = answered.map_err(std::io::Error::other)?;
                    self.reply(n, result);
                }
                update = next(&mut self.updates) => match update {
                    Some(update) => self.update(&update)?,
                    None => return self.finish().await,
                },
                update = next(&mut self.silent) => match update {
                    Some(update) => self.silent(&update)?,
                    None => return self.finish().await,
                },
            }
        }
    }

    /// The engine has ended: what it said until then is still sent.
    async fn finish(&mut self) -> std::io::Result<()> {
        while let Some(answered) = self.open.try_join_next() {
            let (n, result) = answered.map_err(std::io::Error::other)?;
            self.reply(n, result);
        }
        while let Some(Ok(update)) = self.updates.as_mut().map(Receiver::try_recv) {
            self.update(&update)?;
        }
        while let Some(Ok(update)) = self.silent.as_mut().map(Receiver::try_recv) {
            self.silent(&update)?;
        }
        self.outgoing.flush().await
    }

    fn question(&mut self, line: &[u8]) -> std::io::Result<()> {
        let question: Question = match serde_json::from_slice(line) {
            Ok(question) => question,
            Err(error) => {
                let n = number_of(line).ok_or(error)?;
                let reason = "this engine does not understand the request; use one version of haul for both";
                self.reply(n, Err(Error::HomeLocked(reason.into())));
                return Ok(());
            }
        };
        if question.watch && self.updates.is_none() {
            self.updates = Some(self.asker.answers.watch());
        }
        if question.silent && self.silent.is_none() {
            self.silent = Some(self.asker.answers.watch_silent());
        }
        match question.request {
            None => self.reply(question.n, Ok(Reply::Done)),
            Some(request) => {
                let (answers, asker) = (self.asker.answers.clone(), self.asker.number);
                self.open.spawn(async move { (question.n, caught(answers.call_as(asker, request.0)).await) });
            }
        }
        Ok(())
    }

    fn reply(&mut self, n: u64, result: Result<Reply>) {
        let mut answer = Answer { n: Some(n), ..Answer::default() };
        match result {
            Ok(reply) => answer.reply = Some(Replied(reply)),
            Err(error) => answer.error = Some(error.into()),
        }
        let line = wire::line(&answer).and_then(|line| match line.len() > MAX_LINE {
            true => Err(Error::Other("the answer is longer than 64 MiB; ask for less at a time".into())),
            false => Ok(line),
        });
        match line {
            Ok(line) => self.outgoing.push(&line),
            Err(error) => self.reply(n, Err(error)),
        }
    }

    fn update(&mut self, update: &Update) -> std::io::Result<()> {
        self.tell(&Answer { update: Some(json::write_update(update)), ..Answer::default() })
    }

    fn silent(&mut self, update: &Update) -> std::io::Result<()> {
        self.tell(&Answer { silent: Some(json::write_update(update)), ..Answer::default() })
    }

    fn tell(&mut self, answer: &Answer) -> std::io::Result<()> {
        let line = wire::line(answer).map_err(std::io::Error::other)?;
        self.outgoing.push(&line);
        match self.outgoing.len() > MAX_QUEUED {
            true => Err(std::io::Error::other("does not read its updates")),
            false => Ok(()),
        }
    }
}

/// The next update; never, when none were asked for.
async fn next(updates: &mut Option<Receiver<Update>>) -> Option<Update> {
    match updates {
        Some(updates) => updates.recv().await,
        None => std::future::pending().await,
    }
}

/// The number of a question that cannot be understood otherwise.
fn number_of(line: &[u8]) -> Option<u64> {
    let json: serde_json::Value = serde_json::from_slice(line).ok()?;
    json["n"].as_u64()
}
