//! haul moves files over HTTP and does not lose them; WebAssembly components decide what happens.
//!
//! A [`Session`] is the way to the engine of a home: this process becomes it, or joins the one that runs there. Tasks are
//! added to it, and their [`Update`]s are watched; what is committed survives the process, and an engine that is opened later
//! goes on with it. [`Session::transmit`] adds tasks and waits for their ends; this watches one, and takes up what an earlier
//! run of the program may have left of it:
//!
//! ```no_run
//! use haul::{AddOptions, Addition, Session, Settings, Task, Update, Work};
//!
//! # async fn example() -> haul::Result<()> {
//! let session = Session::open(Settings::new("/var/lib/app/haul"), Work::Asked).await?;
//! let mut updates = session.watch().await?;
//!
//! let film = Task { retries: 3, ..Task::download("https://example.org/film.mkv") };
//! let how = AddOptions { continue_same: true, ..AddOptions::default() };
//! let added = session.add_with(vec![Addition::new(film, "/srv/films")], how).await?;
//! if !added.ended.is_empty() {
//!     return Ok(()); // it was complete before, and nothing more will be told of it
//! }
//!
//! while let Some(update) = updates.recv().await {
//!     match update {
//!         Update::Progress(progress) if progress.progress >= 0.0 => println!("{:.0} %", progress.progress * 100.0),
//!         Update::Status(update) if update.status.is_final() => {
//!             println!("{:?}: {:?}", update.status, update.details);
//!             break;
//!         }
//!         Update::Status(update) => println!("{:?}", update.status),
//!         _ => {}
//!     }
//! }
//! session.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Uploads and requests are tasks as well: [`Task::upload`], [`Task::data`]. Their final update has the response. One that
//! is to be answered at once, and not recorded, is sent by [`Session::send`]:
//!
//! ```no_run
//! # use haul::{Session, Task};
//! # async fn example(session: &Session) -> haul::Result<()> {
//! let mut task = Task::data("https://example.org/api");
//! task.body = haul::task::Body::Bytes(b"{}".to_vec());
//! task.content_type = Some("application/json".into());
//! if let Some(answer) = session.send(task).await?.details {
//!     println!("{:?}: {:?}", answer.response_status_code, answer.response_body);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Components are attached by [`Settings`]`::components`, each with what it is granted ([`hooks::Grants`]); the contract they
//! are written against is the WIT package in `wit/`.
//!
//! Anything may be dropped at any time: what an engine has not committed is done again. Everything needs a tokio runtime
//! with time and I/O enabled; bytes move on threads of haul's own.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "servers of tests end with their runtime"))]

pub mod api;
pub mod batch;
mod clock;
pub mod config;
mod control;
pub mod cookies;
mod digest;
mod engine;
pub mod error;
pub mod event;
pub mod hooks;
pub mod import;
pub mod limits;
pub mod mask;
pub mod notify;
mod private;
pub mod profile;
mod regular;
mod sandbox;
mod scheduler;
mod spool;
mod store;
pub mod task;
#[doc(hidden)] // for the program
pub mod terminal;
mod threads;
mod transfer;
mod transmit;
pub mod transport;
pub mod webhook;

pub use api::{Action, AddOptions, Added, Changed, Session};
#[doc(hidden)] // by these names for the program; no HTTP, so others find them in `api`
pub use api::{Reply, Request};
pub use batch::Batch;
#[doc(hidden)] // for the program
pub use clock::new_uuid;
#[doc(hidden)] // for the program
pub use engine::RESPONSES;
pub use engine::{Durability, Retain, Settings, Work};
pub use error::{Error, Failure, FailureKind, Result};
pub use event::{Hop, ProgressUpdate, Protocol, StatusUpdate, Update};
pub use limits::{LimitChanges, Limits};
#[doc(hidden)] // for the program
pub use sandbox::ignore_file_size_signal;
pub use sandbox::move_file;
pub use spool::{SpoolWriter, Spooled};
pub use store::{Addition, Filter, IfExists, Selection};
pub use task::{Status, Task, TaskRecord};
#[doc(hidden)] // for the program
pub use threads::{runtime, spawn as spawn_thread};
pub use transmit::Told;
