//! What an engine tells of a stored task. What it keeps of it beside is its own business.

use std::path::PathBuf;

use super::{Status, Task, Waiting};
use crate::error::Failure;
use crate::event::Hop;

/// What is told of a stored task: secrets read `***`, in the task too, which is therefore not one to be added again.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TaskRecord {
    /// The task as it was admitted.
    pub task: Task,
    /// Where it stands.
    pub status: Status,
    /// 0 to 1; `None` while the length is unknown. Below 1 until the file has its name.
    pub progress: Option<f64>,
    /// Bytes that are there, or all of them when it is complete.
    pub bytes_done: u64,
    /// Length of the whole resource, when known.
    pub expected_file_size: Option<u64>,
    /// Attempts begun.
    pub attempt: u32,
    /// Attempts left.
    pub retries_remaining: i32,
    /// Absolute path of the finished file, or of the stored response of an upload or request.
    pub file_path: Option<PathBuf>,
    /// The absolute directory that was granted for it in person; `None`: it is in a base directory.
    pub place: Option<PathBuf>,
    /// Status of the last response.
    pub response_status_code: Option<u16>,
    /// Body of the response that ended it without success, up to 64 KiB as text; told by [`crate::Session::show`] only.
    pub response_body: Option<String>,
    /// Why the last attempt failed.
    pub exception: Option<Failure>,
    /// Why it does not run; `None` when it runs, is paused, or is final.
    pub waiting: Option<Waiting>,
    /// Whether bytes are stored that its next attempt may go on from (background_downloader's taskCanResume).
    pub can_resume: bool,
    /// What a careful person wants to know: `restarted-changed`, `integrity-unverified`, `resumed`, ...
    pub notes: Vec<String>,
    /// Exchanges of the last attempt, when it failed.
    pub hops: Vec<Hop>,
    /// Of a paused task: the component that wants it and its hook, in words; `None`: somebody has asked for it.
    pub paused_by: Option<String>,
}
