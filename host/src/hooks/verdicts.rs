//! What the callback hooks on a request's way are asked and answer, as plain data: checked, and of a whole chain. What
//! follows from a verdict is the attempt's business.

use super::Head;
use crate::error::Failure;
use crate::task::Pairs;
use crate::transport::Guard;

/// A request as `on-request` and `on-redirect` see it; never its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    /// In capitals.
    pub method: String,
    /// Absolute, without fragment and userinfo.
    pub url: String,
    /// In order.
    pub headers: Pairs,
    /// Of an answer: which addresses may be connected to, where a component has led it to another URL or added headers. `None`:
    /// as before.
    pub(crate) guard: Option<Guard>,
}

/// One redirect, for `on-redirect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirectHop {
    /// 1 for the first.
    pub number: u32,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Where it comes from.
    pub from_url: String,
    /// The next request as the host would send it.
    pub next: RequestHead,
}

/// Verdict of `on-request`.
#[derive(Clone, Debug)]
pub enum OnRequest {
    /// Send this: as it was, or changed.
    Next(RequestHead),
    /// Send nothing: this is the response.
    Resolve {
        /// Status 200 to 599, headers without framing, body at most 256 KiB.
        response: Head,
        /// `on-response` is asked about it.
        follow: bool,
    },
    /// Send nothing: the attempt fails.
    Reject {
        /// With this.
        failure: Failure,
        /// `on-error` is asked about it.
        follow: bool,
    },
}

/// Verdict of `on-redirect`.
#[derive(Clone, Debug)]
pub enum OnRedirect {
    /// As the host would.
    Follow,
    /// With this request.
    FollowWith(RequestHead),
    /// The redirect is the response.
    StopHere,
    /// The attempt fails.
    Reject(Failure),
}

/// What `on-response` and `on-error` change before the next attempt: checked (URL absolute http(s), headers legal).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryChanges {
    /// At most 24 hours.
    pub after_ms: u64,
    /// Another URL.
    pub url: Option<String>,
    /// Headers that replace those of the same name.
    pub headers: Pairs,
    /// The component that wants it, by its name.
    pub by: String,
}

/// Verdict of `on-response`.
#[derive(Clone, Debug)]
pub enum OnResponse {
    /// `classify` is asked about this head.
    Next {
        /// As it was, or changed; its body is that of the question.
        head: Head,
        /// Its status counts as success.
        resolved: bool,
    },
    /// The attempt fails.
    Reject {
        /// With this.
        failure: Failure,
        /// `on-error` is asked about it.
        follow: bool,
    },
    /// Another attempt.
    Retry(RetryChanges),
}

/// Verdict of `on-error`.
#[derive(Clone, Debug)]
pub enum OnError {
    /// `retry` is asked.
    Next,
    /// Success after all: this is the response, within the limits of [`OnRequest::Resolve`].
    Resolve(Head),
    /// The attempt's failure is this one.
    Reject(Failure),
    /// Another attempt.
    Retry(RetryChanges),
}

/// How far a transfer is, for `on-progress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgressSample {
    /// On disk, or sent; resumed ones included.
    pub bytes_done: u64,
    /// When the server said it.
    pub total_bytes: Option<u64>,
    /// Smoothed.
    pub bytes_per_second: u64,
}

/// Verdict of `on-progress`; who wants the task to stop, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // their meaning is in the WIT
pub enum OnProgress {
    GoOn,
    Pause(String),
    Cancel(String),
}

/// A finished download, for `verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FinishedFile {
    /// Its length.
    pub bytes: u64,
    /// Algorithm and value in hexadecimal.
    pub digests: Pairs,
    /// At most 4 KiB.
    pub first_bytes: Vec<u8>,
}
