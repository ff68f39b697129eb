//! Black-box tests: the real binary, private homes, real sockets.
//!
//! Each file is a subject of the interface and each test's name is a sentence about it. Nothing of haul's own code is
//! called or replaced here; what is asserted is what an origin saw, what stands on the disk, and what was printed.

// Helpers outside `#[test]` functions unwrap as well: a broken assumption of a test should end it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]
// Tests look at files directly; the rules for the program's own file access do not apply.
#![allow(clippy::disallowed_methods)]

mod support;

mod auth;
mod callbacks;
mod cli;
mod conformance;
mod control;
mod cookies;
mod crash;
mod desktop;
mod download;
mod elsewhere;
mod embed;
mod events;
mod filenames;
mod framing;
mod full_disk;
mod grants;
mod hook_bounds;
mod hook_bytes;
mod hook_chains;
mod hook_failures;
mod hook_hosts;
mod hook_matrix;
mod hook_recipes;
mod hook_texts;
mod hook_verdicts;
mod hostile;
mod import;
mod limits;
mod once;
mod parallel;
mod profiles;
mod put;
mod queue;
mod redirects;
mod request;
mod resumable;
mod resume;
mod resume_data;
mod retry;
mod scarcity;
mod scopes;
mod secrets;
mod server;
mod streams;
mod tasks_json;
mod tidy;
mod too_late;
mod unread;
mod unsynced;
mod updates;
mod uploads;
mod webhooks;
mod workshop;
