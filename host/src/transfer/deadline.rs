//! How long a task may take: until its `notAfter` over all attempts, and `timeouts.total` for each.
//!
//! It waits for nothing and stops nothing: whoever makes the attempt does.

use std::time::Duration;

use crate::clock;
use crate::error::{Failure, FailureDetail, FailureKind};
use crate::event::SENT;
use crate::task::{Record, Task};
use crate::transport::span;

/// The failure of a task whose `notAfter` has come: nothing is sent for it any more.
pub(super) fn too_late(record: &Record) -> Option<Failure> {
    let has_come = record.task.not_after.is_some_and(|at| at <= clock::unix_ms());
    has_come.then(|| {
        let mut failure = deadline();
        failure.outcome_unknown = record.notes.iter().any(|note| note == SENT);
        failure
    })
}

fn deadline() -> Failure {
    Failure::new(FailureKind::Policy, "its notAfter has come before it was finished")
}

/// How long the attempt may take, by `timeouts.total` and `notAfter`, and the failure when it has.
pub(super) fn time_left(task: &Task) -> Option<(Duration, Failure)> {
    let total = task.timeouts.total_ms.filter(|ms| *ms > 0).map(|ms| {
        let text = format!("the attempt took longer than its limit of {}", span(Duration::from_millis(ms)));
        (ms, Failure::new(FailureKind::Connection, text).with(FailureDetail::Timeout))
    });
    let deadline = task.not_after.map(|at| (at.saturating_sub(clock::unix_ms()), deadline()));
    let first = [total, deadline].into_iter().flatten().min_by_key(|(ms, _)| *ms);
    first.map(|(ms, over)| (Duration::from_millis(ms), over))
}
