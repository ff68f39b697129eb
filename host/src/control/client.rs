//! The other processes' side of the control socket: asks the engine that holds the home.
//!
//! One task owns the connection. When the connection ends, every open question is answered by [`Error::HomeLocked`] and all
//! updates end; whoever wants to go on opens a new session.

use std::collections::HashMap;

/// Updates a watcher may be behind before it is let go.
const WATCHED: usize = 65_536;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::home::Home;
use super::lines::{self, Incoming, MAX_LINE, Outgoing};
use super::server::is_same_user;
use super::wire::{self, Answer, Hello, PROTOCOL, Question, Requested};
use crate::api::{Reply, Request};
use crate::error::{Error, Result};
use crate::event::Update;
use crate::task::json;

/// Questions that wait to be sent.
const MAX_WAITING: usize = 32;

/// A connection to another process's engine.
#[derive(Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
    /// What every call says after the engine has ended.
    ended: String,
    pid: u32,
    works: bool,
}

#[derive(Debug)]
struct Command {
    question: Question,
    /// For `watch` or `silent`.
    updates: Option<mpsc::Sender<Update>>,
    answer: oneshot::Sender<Result<Reply>>,
}

impl Client {
    /// Joins the engine that listens in the home. `None` when there is none (any more), which may be true for a moment only.
    pub(super) async fn join(home: &Home) -> Result<Option<Self>> {
        let Some(stream) = home.connect().await? else {
            return Ok(None);
        };
        if !is_same_user(&stream) {
            return Err(home.unreachable("belongs to another user"));
        }
        let (mut incoming, mut outgoing) = lines::split(stream);
        outgoing.push(&wire::line(&Hello::own(false))?);
        if outgoing.flush().await.is_err() {
            return Ok(None);
        }
        let Ok(Some(line)) = incoming.next().await else {
            return Ok(None);
        };
        let Ok(hello) = serde_json::from_slice::<Hello>(&line) else {
            return Err(home.unreachable("speaks no protocol that this version knows"));
        };
        if hello.protocol != PROTOCOL {
            return Err(home.unreachable(&format!(
                "speaks protocol {}, and this haul {} speaks {PROTOCOL}",
                hello.protocol,
                env!("CARGO_PKG_VERSION")
            )));
        }
        let (commands, receiver) = mpsc::channel(MAX_WAITING);
        let link = Link { incoming, outgoing, open: HashMap::new(), watchers: Vec::new(), silent: Vec::new(), last: 0 };
        #[expect(clippy::disallowed_methods, reason = "ends with the connection, or with who asks")]
        let task = tokio::spawn(link.run(receiver));
        Ok(Some(Self {
            commands,
            task,
            ended: format!("process {} (haul {}), which worked this home, has ended; try again", hello.pid, hello.haul),
            pid: hello.pid,
            works: hello.works,
        }))
    }

    /// Process id of the engine.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the engine was opened to work tasks, and not only to answer its own process ([`Work::Nothing`](crate::Work)).
    pub fn works(&self) -> bool {
        self.works
    }

    /// Asks.
    pub(crate) async fn call(&self, request: Request) -> Result<Reply> {
        let question = Question { request: Some(Requested(request)), ..Question::default() };
        self.ask(question, None).await
    }

    /// Updates from now on.
    pub(crate) async fn watch(&self) -> Result<mpsc::Receiver<Update>> {
        self.hear(Question { watch: true, ..Question::default() }).await
    }

    /// Changes of status of tasks that send none, from now on.
    pub(crate) async fn watch_silent(&self) -> Result<mpsc::Receiver<Update>> {
        self.hear(Question { silent: true, ..Question::default() }).await
    }

    async fn hear(&self, question: Question) -> Result<mpsc::Receiver<Update>> {
        let (sender, receiver) = mpsc::channel(WATCHED);
        self.ask(question, Some(sender)).await?;
        Ok(receiver)
    }

    async fn ask(&self, question: Question, updates: Option<mpsc::Sender<Update>>) -> Result<Reply> {
        let (answer, answered) = oneshot::channel();
        let command = Command { question, updates, answer };
        let ended = || Error::HomeLocked(self.ended.clone());
        self.commands.send(command).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The connection itself.
struct Link {
    incoming: Incoming,
    outgoing: Outgoing,
    open: HashMap<u64, oneshot::Sender<Result<Reply>>>,
    watchers: Vec<mpsc::Sender<Update>>,
    silent: Vec<mpsc::Sender<Update>>,
    last: u64,
}

impl Link {
    /// Carries questions and answers until the engine ends. Dropping what is open answers it.
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            tokio::select! {
                sent = self.outgoing.send() => if sent.is_err() { return self.drain().await },
                command = commands.recv(), if self.outgoing.len() < MAX_LINE => match command {
                    Some(command) => self.send(command),
                    None => return,
                },
                line = self.incoming.next() => match line {
                    Ok(Some(line)) => if self.receive(&line).is_none() { return },
                    _ => return,
                },
            }
        }
    }

    /// The engine takes nothing more; what it said before is still there.
    async fn drain(mut self) {
        while let Ok(Some(line)) = self.incoming.next().await {
            if self.receive(&line).is_none() {
                return;
            }
        }
    }

    fn send(&mut self, mut command: Command) {
        self.last += 1;
        command.question.n = self.last;
        let line = wire::line(&command.question).and_then(|line| match line.len() > MAX_LINE {
            true => Err(Error::Refused("too many tasks in one request (more than 64 MiB); add fewer at a time".into())),
            false => Ok(line),
        });
        match line {
            Ok(line) => {
                self.outgoing.push(&line);
                let watchers = if command.question.silent { &mut self.silent } else { &mut self.watchers };
                watchers.extend(command.updates);
                self.open.insert(self.last, command.answer);
            }
            Err(error) => {
                let _ = command.answer.send(Err(error)); // nobody waits for it any more
            }
        }
    }

    /// Hands an answer to whoever waits for it; `None` when it makes no sense.
    fn receive(&mut self, line: &[u8]) -> Option<()> {
        let answer: Answer = serde_json::from_slice(line).ok()?;
        for (update, watchers) in [(&answer.update, &mut self.watchers), (&answer.silent, &mut self.silent)] {
            if let Some(update) = update {
                let update = json::read_update(update)?;
                watchers.retain(|watcher| watcher.try_send(update.clone()).is_ok());
                return Some(());
            }
        }
        let result = match (answer.reply, answer.error) {
            (Some(reply), None) => Ok(reply.0),
            (None, Some(error)) => Err(error.into()),
            _ => return None,
        };
        if let Some(waiting) = self.open.remove(&answer.n?) {
            let _ = waiting.send(result); // nobody waits for it any more
        }
        Some(())
    }
}
