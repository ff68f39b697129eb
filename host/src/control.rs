//! The control socket: requests and updates between processes of one home, one JSON object a line.
//!
//! The socket is `haul.sock` in the home, mode 0600, and peers of other users are refused. It decides nothing: it carries
//! [`crate::api`]. Who may be the engine is settled by `haul.lock` beside it: its holder listens, everybody else connects.
//! Both sides begin with a line that names their version and protocol.

mod client;
mod home;
mod lines;
mod server;
mod wire;

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::net::UnixListener;

pub use client::Client;
pub(crate) use home::{Home, Lock};
pub(crate) use server::Server;

use crate::api::Request;
use crate::engine::{Engine, Settings, Work};
use crate::error::Result;

/// How long to wait for a holder that is just starting or ending.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often to look meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// What came of entering a home.
#[derive(Debug)]
pub(crate) enum Entered {
    /// It is ours: the right to be its engine, and the socket on which others wait already (`None` where the file system
    /// has no sockets: then nobody can join).
    Ours(Lock, Option<UnixListener>),
    /// Another process has it, and answers.
    Joined(Client),
}

/// Takes the home or joins who has it, whichever comes first. [`crate::Error::HomeLocked`] when neither does for 5 s.
pub(crate) async fn enter(home: &Home) -> Result<Entered> {
    enter_within(home, PATIENCE).await
}

async fn enter_within(home: &Home, patience: Duration) -> Result<Entered> {
    let looking = async {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            if let Some(lock) = home.try_lock()? {
                let listener = home.listen(&lock);
                if let Err(error) = &listener {
                    tracing::warn!("{error}; other haul processes cannot join this one");
                }
                return Ok(Entered::Ours(lock, listener.ok()));
            }
            if let Some(client) = Client::join(home).await? {
                return Ok(Entered::Joined(client));
            }
        }
    };
    match tokio::time::timeout(patience, looking).await {
        Ok(entered) => entered,
        Err(_) => Err(home.unreachable("does not answer on its control socket")),
    }
}

/// This process as the engine of a home: the engine, its control socket, and the lock, which outlives both.
#[derive(Debug)]
pub struct Host {
    engine: Engine,
    server: Option<Server>,
    /// It was opened to work tasks.
    works: bool,
    _lock: Lock,
}

impl Host {
    /// Opens the engine of a home that is ours and lets others in.
    pub(crate) async fn open(
        home: Home,
        lock: Lock,
        listener: Option<UnixListener>,
        settings: Settings,
        work: Work,
    ) -> Result<Self> {
        let engine = match Engine::open(settings, &work).await {
            Ok(engine) => engine,
            Err(error) => {
                home.remove_socket(); // nobody will answer there
                return Err(error);
            }
        };
        let works = work != Work::Nothing;
        let server = listener.map(|listener| Server::start(home, listener, engine.clone(), works));
        let host = Self { engine, server, works, _lock: lock };
        if work == Work::All {
            host.engine.call(Request::Work { ids: None }).await?;
        }
        Ok(host)
    }

    /// The engine.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Stops what this process has asked for and tells webhooks, which takes time: others are answered meanwhile. Then lets nobody
    /// else in, stops the engine, tells those who have joined, and gives up the home. Who has worked nothing waits for no webhook.
    pub(crate) async fn close(self) {
        self.engine.gone(0);
        if self.works {
            self.engine.tell_webhooks().await;
        } else {
            self.engine.leave_webhooks();
        }
        if let Some(server) = &self.server {
            server.stop_accepting();
        }
        self.engine.close().await;
        if let Some(server) = self.server {
            server.finish().await;
        }
    }
}
