//! haul moves files over HTTP and does not lose them; WebAssembly components decide what happens.

pub mod api;
mod clock;
pub mod config;
mod control;
mod digest;
pub mod engine;
pub mod error;
pub mod event;
pub mod hooks;
pub mod mask;
mod sandbox;
mod scheduler;
mod store;
pub mod task;
mod transfer;
pub mod transport;

pub use api::{Action, Reply, Request, Session};
pub use engine::{Durability, Engine, QueueLimits, Settings, Work};
pub use error::{Error, Failure, FailureKind, Result};
pub use event::{ProgressUpdate, StatusUpdate, Update};
pub use sandbox::ignore_file_size_signal;
pub use store::{Addition, IfExists, Selection};
pub use task::{Record, Status, Task};
