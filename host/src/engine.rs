//! The engine: owns all tasks of a home, takes one input at a time, commits what changes, then tells everybody.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::api::{Reply, Request};
use crate::error::Result;
use crate::event::Update;
use crate::hooks::ComponentSource;
use crate::transport::TransportSettings;

/// How much is synced to the disk before a download counts as complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Files, directories and rows: a complete download survives a power cut.
    #[default]
    Full,
    /// Rows only: after a power cut, files completed in the last half minute may be missing or empty.
    Relaxed,
}

/// How many tasks run at once. 0 is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// In all. Default 10.
    pub total: usize,
    /// Per host and port. Default 0.
    pub per_host: usize,
    /// Per group. Default 0.
    pub per_group: usize,
    /// For groups by name, instead of `per_group`.
    pub groups: BTreeMap<String, usize>,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            total: 10,
            per_host: 0,
            per_group: 0,
            groups: BTreeMap::new(),
        }
    }
}

/// Everything an engine can be told before it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Holds the database, the lock, the control socket: 0700.
    pub home: PathBuf,
    /// Compiled components.
    pub cache_dir: PathBuf,
    /// Base directories by name.
    pub directories: BTreeMap<String, PathBuf>,
    /// How many at once.
    pub limits: QueueLimits,
    /// Syncing.
    pub durability: Durability,
    /// Connections.
    pub transport: TransportSettings,
    /// Components attached to every task, in order.
    pub components: Vec<ComponentSource>,
    /// Speed limit of all transfers together in bytes per second.
    pub limit_rate: Option<u64>,
    /// Spread the waits before retries.
    pub retry_jitter: bool,
    /// On a full disk tasks wait (`run`, `serve`) rather than fail (`get`).
    pub wait_for_disk: bool,
}

/// Which tasks an engine starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Work {
    /// None: it only answers.
    #[default]
    Nothing,
    /// Those that somebody asked for by [`Request::Work`].
    Asked,
    /// Every task of the home.
    All,
}

/// A running engine. Cheap to clone; ends when closed.
#[derive(Clone, Debug)]
pub struct Engine {}

impl Engine {
    /// Opens the home (recovering what a killed engine left) and starts. [`crate::Error::HomeLocked`] when another process
    /// holds it.
    pub async fn open(_settings: Settings) -> Result<Self> {
        todo!()
    }
    /// Answers one request of this process: asker 0.
    pub async fn call(&self, request: Request) -> Result<Reply> {
        self.call_as(0, request).await
    }
    /// Answers one request of an asker: 0 is this process, others are connections of the control socket. What is worked
    /// for an asker alone stops with [`Engine::gone`].
    pub async fn call_as(&self, _asker: u64, _request: Request) -> Result<Reply> {
        todo!()
    }
    /// An asker has left: what was worked for it alone (by [`Request::Work`] or `work` of [`Request::Add`]) is worked no
    /// more. Does not wait.
    pub fn gone(&self, _asker: u64) {
        todo!()
    }
    /// Updates from now on. A watcher that falls 65,536 behind misses progress first, then gets a gap that
    /// [`Request::Events`] fills.
    pub fn watch(&self) -> tokio::sync::mpsc::UnboundedReceiver<Update> {
        todo!()
    }
    /// Stops all transfers, keeps their bytes, and ends. Interrupted tasks are `enqueued` again.
    pub async fn close(&self) {
        todo!()
    }
}
