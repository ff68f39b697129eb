//! When to try again: the only place where a retry is decided.
//!
//! The schedule is background_downloader's (its rule B.2): 2, 4, 8 ... 512 seconds. What is retried is not: it retries
//! every failure, this policy only those that another attempt may cure (RFC 9110 9.2.2, 15.5, 15.6; reliability B.4).
//!
//! It does not wait, count, or refresh credentials: the host does, and the one repetition after a refresh (401, 407) is
//! the host's as well. Mirrors are tried by the host before this is asked.

use crate::bindings::exports::haul::transfer::retry::{Attempt, Verdict};
use crate::bindings::haul::transfer::types::{Failure, FailureDetail, FailureKind, Task};
use crate::http;

#[cfg(test)]
mod tests;

/// The first wait. Each further one is twice as long.
const FIRST_WAIT_MS: u64 = 2_000;

/// After so many doublings, at 512 seconds, the waits stop to grow.
const DOUBLINGS_MAX: u32 = 8;

/// Nobody waits longer than a day, whatever a server asks for.
const WAIT_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// The detail of a failure to renew credentials that their server has refused.
const CREDENTIALS: &str = "credentials";

/// Decides what follows a failed attempt.
///
/// A wrong checksum is answered by one fresh start, which uses up no retry: stored bytes may have been damaged, and a
/// second wrong result means that the expectation is wrong.
pub(crate) fn decide(task: &Task, attempt: &Attempt, failure: &Failure) -> Verdict {
    if matches!(failure.kind, FailureKind::Checksum) {
        return if attempt.fresh_start_left { Verdict::AfreshAfterMs(0) } else { Verdict::GiveUp };
    }
    if attempt.retries_remaining == 0 || !may_help(task, failure) {
        return Verdict::GiveUp;
    }
    let wait_ms = wait_ms(attempt, failure);
    if matches!(failure.kind, FailureKind::Resume) {
        Verdict::AfreshAfterMs(wait_ms)
    } else {
        Verdict::AfterMs(wait_ms)
    }
}

/// Whether another attempt may end better than this one.
fn may_help(task: &Task, failure: &Failure) -> bool {
    use FailureDetail::{DiskFull, Protocol, Redirect, Tls};
    if matches!(failure.detail, Tls | Protocol | Redirect | DiskFull) {
        return false;
    }
    if matches!(&failure.detail, FailureDetail::Other(name) if name == CREDENTIALS) {
        return false;
    }
    if failure.outcome_unknown && !may_be_repeated(task) {
        return false;
    }
    match failure.kind {
        FailureKind::HttpResponse if leaves_doubt(task, failure) => false,
        // The request before is still at the upload, cut off unnoticed (tus 1.0.0, 423 Locked).
        FailureKind::HttpResponse if failure.http_status == Some(423) => http::resumable(task).is_some(),
        FailureKind::HttpResponse => status_may_change(failure),
        FailureKind::Connection | FailureKind::Resume => true,
        FailureKind::Callback | FailureKind::General | FailureKind::Other(_) => true,
        // Permissions and full disks do not mend themselves; for room on the disk, the host waits without asking.
        FailureKind::FileSystem => false,
        FailureKind::Url | FailureKind::Policy | FailureKind::Canceled | FailureKind::Checksum => false,
    }
}

/// The owner said that repeating does no harm, the server knows the request by its key, or what it has is asked for before
/// more is sent (reliability B.4).
fn may_be_repeated(task: &Task) -> bool {
    task.repeatable || http::has(&task.headers, "idempotency-key") || http::resumable(task).is_some()
}

/// Whether a server that failed may have done what a POST or PATCH, say, asks for, which would be done twice then (B.4).
fn leaves_doubt(task: &Task, failure: &Failure) -> bool {
    let failed = matches!(failure.http_status, Some(500 | 502 | 504));
    failed && !http::is_idempotent(&task.method) && !may_be_repeated(task)
}

/// Whether the server may answer otherwise next time.
///
/// Of the 4xx these are 408, 425 and 429; of the 5xx all but 501 and 505, which say that the server cannot do it at all;
/// of the others none, except where the server itself names a time by Retry-After (RFC 9110 10.2.3).
fn status_may_change(failure: &Failure) -> bool {
    match failure.http_status {
        Some(408 | 425 | 429) => true,
        Some(400..=499 | 501 | 505) => false,
        Some(500..=599) | None => true,
        Some(_) => failure.retry_after_ms.is_some(),
    }
}

/// The wait before the next attempt: what the server asks for, else the schedule.
fn wait_ms(attempt: &Attempt, failure: &Failure) -> u64 {
    let wait_ms = failure.retry_after_ms.unwrap_or_else(|| {
        let scheduled_ms = scheduled_ms(attempt.number);
        if attempt.jitter { spread_ms(scheduled_ms, attempt.jitter_seed) } else { scheduled_ms }
    });
    wait_ms.min(WAIT_MS_MAX)
}

/// The wait before the `number`th retry, which is the one that follows the `number`th attempt.
fn scheduled_ms(number: u32) -> u64 {
    FIRST_WAIT_MS << number.saturating_sub(1).min(DOUBLINGS_MAX)
}

/// A wait between half of this one and all of it, chosen by the seed.
fn spread_ms(wait_ms: u64, seed: u64) -> u64 {
    let half_ms = wait_ms / 2;
    half_ms + seed % (wait_ms - half_ms + 1)
}
