//! Updates: what watchers are told, and what the durable event log keeps.
//!
//! A status update is told only after its row is committed and then has a sequence number; progress is told and forgotten.
//! The JSON forms are those of the interface: one object a line.

use std::sync::Arc;

use crate::error::Failure;
use crate::task::{Pairs, Status};

/// Noted on a running task before the server can have the whole of a request that is sent once.
pub(crate) const SENT: &str = "request-sent";
/// The note of a cancelled task whose upload the server has deleted.
pub(crate) const UPLOAD_DELETED: &str = "upload-deleted";
/// Noted where such a request may have taken effect, and nobody knows.
pub(crate) const IN_DOUBT: &str = "outcome-unknown";

/// A change of status, with everything known about it.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusUpdate {
    /// Position in the event log, from 1. Ever rising, never used twice.
    pub seq: u64,
    /// The task.
    pub task_id: String,
    /// Its group.
    pub group: String,
    /// The status reached.
    pub status: Status,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// The rest; `None` for a change about which nothing more is known (enqueued, running, paused by somebody).
    pub details: Option<Arc<Details>>,
}

/// What is known at the end of an attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// Absolute path of the finished file, or of the stored response of an upload or request.
    pub file_path: Option<String>,
    /// Status of the last response.
    pub response_status_code: Option<u16>,
    /// Headers of the last response, names in lower case, secrets masked.
    pub response_headers: Pairs,
    /// Body of the last response up to 64 KiB as text; `None` for a complete download, and where a file has it.
    pub response_body: Option<String>,
    /// URL that answered, secrets masked; of uploads and requests.
    pub response_url: Option<String>,
    /// URLs that redirected on the way to it, in order, secrets masked.
    pub redirects: Vec<String>,
    /// Media type of the response without parameters.
    pub mime_type: Option<String>,
    /// Character set of the response.
    pub char_set: Option<String>,
    /// Why it is not a success.
    pub exception: Option<Failure>,
    /// Bytes that were there before the attempt began.
    pub resumed_from: u64,
    /// Length of the finished file; of an upload or request, the bytes that it sent.
    pub file_size: Option<u64>,
    /// What a careful person wants to know: `restarted-changed`, `integrity-unverified`, `resumed`, ...
    pub notes: Vec<String>,
    /// Exchanges of the attempt in order, at most 64.
    pub hops: Vec<Hop>,
    /// For `waitingToRetry`: when the next attempt begins, in milliseconds since 1970.
    pub retry_at: Option<u64>,
    /// For `paused`: the component that wants it and its hook, in words; `None`: somebody has asked for it.
    pub paused_by: Option<String>,
}

/// One exchange of an attempt with a server: an answer, a redirect, a challenge, or a failure (URLSession's transaction
/// metrics, dio's redirects).
#[derive(Clone, Debug, PartialEq)]
pub struct Hop {
    /// URL asked, without its query, which may be a signature.
    pub url: String,
    /// Status of the answer; `None`: there was none.
    pub status: Option<u16>,
    /// What the answer was spoken in.
    pub protocol: Option<Protocol>,
    /// Address connected to: the server's, or the proxy's; `None` where no connection was made.
    pub remote_address: Option<std::net::SocketAddr>,
    /// It went through a proxy.
    pub proxied: bool,
    /// Over a connection that had served another exchange.
    pub reused: bool,
    /// Name lookup, in microseconds; 0 on a reused connection, like the next two.
    pub lookup_us: u64,
    /// TCP, in microseconds; with a proxy, until that leads to the server.
    pub connect_us: u64,
    /// TLS handshake, in microseconds.
    pub tls_us: u64,
    /// The rest until the head of the answer, or the failure, in microseconds.
    pub answer_us: u64,
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Protocol; 3] = [Protocol::Http10, Protocol::Http11, Protocol::Http2];

    /// As in a status line.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Http10 => "HTTP/1.0",
            Protocol::Http11 => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2",
        }
    }
}

/// How far a transfer is. Lossy: told at most twice a second, and never stored.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgressUpdate {
    /// The task.
    pub task_id: String,
    /// Its group.
    pub group: String,
    /// 0 to 0.999, 1 when complete; -1 failed, -2 canceled, -3 not found, -4 waiting to retry, -5 paused
    /// (background_downloader's special values, told just before the status they belong to).
    pub progress: f64,
    /// Bytes on disk, resumed ones included.
    pub bytes_done: u64,
    /// Length of the whole resource, when known.
    pub expected_file_size: Option<u64>,
    /// Megabytes (10^6) per second, smoothed; `None` while unknown.
    pub network_speed: Option<f64>,
    /// Seconds left at the present speed; `None` while unknown.
    pub time_remaining: Option<f64>,
}

/// What a watcher gets.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Update {
    /// A change of status: stored, numbered, acknowledged.
    Status(StatusUpdate),
    /// Progress.
    Progress(ProgressUpdate),
}

impl Update {
    /// The task it is about.
    pub fn task_id(&self) -> &str {
        match self {
            Update::Status(update) => &update.task_id,
            Update::Progress(update) => &update.task_id,
        }
    }
}
