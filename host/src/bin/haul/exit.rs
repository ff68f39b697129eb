//! Exit codes: what the shell is told. Rule: the interface, "Exit codes" and "Exit codes again".

use haul::error::{FailureDetail, FailureKind};
use haul::{Error, Status};

use crate::outcome::Outcome;

/// All that was asked for succeeded.
pub(crate) const DONE: u8 = 0;
/// None of the others.
pub(crate) const OTHER: u8 = 1;
/// The command line or a task is wrong.
pub(crate) const USAGE: u8 = 2;
/// 404.
pub(crate) const NOT_FOUND: u8 = 3;
/// 401, 403, 407; a refresh of the task's token that was refused.
pub(crate) const AUTHENTICATION: u8 = 4;
/// No connection, a broken one, a time limit, TLS.
pub(crate) const NETWORK: u8 = 5;
/// The file system refused, or the disk is full.
pub(crate) const DISK: u8 = 6;
/// The file is not the one that was expected.
pub(crate) const CHECKSUM: u8 = 7;
/// Several tasks were asked for and some failed.
pub(crate) const SOME_FAILED: u8 = 8;
/// Another process holds the home and cannot be joined, or locks its database.
pub(crate) const LOCKED: u8 = 9;
/// A component failed or is incompatible.
pub(crate) const COMPONENT: u8 = 10;
/// The database is damaged.
pub(crate) const DAMAGED: u8 = 11;
/// Interrupted by a signal.
pub(crate) const INTERRUPTED: u8 = 130;

/// The code for a call on the library that was refused.
pub(crate) fn of_error(error: &Error) -> u8 {
    match error {
        Error::Invalid(_) | Error::UnknownTask(_) | Error::Refused(_) | Error::Usage(_) => USAGE,
        Error::HomeLocked(_) | Error::DatabaseLocked(_) => LOCKED,
        Error::Damaged(_) => DAMAGED,
        Error::Component(_) => COMPONENT,
        Error::FileSystem(_) => DISK,
        _ => OTHER,
    }
}

/// The code for one task that ended (or was paused or cancelled from outside).
pub(crate) fn of_outcome(outcome: &Outcome) -> u8 {
    match outcome.status {
        Status::Complete => DONE,
        Status::NotFound => NOT_FOUND,
        Status::Failed => of_failure(outcome),
        _ => OTHER,
    }
}

fn of_failure(outcome: &Outcome) -> u8 {
    if outcome.detail == FailureDetail::Redirect {
        return OTHER;
    }
    if outcome.detail == FailureDetail::Credentials {
        return AUTHENTICATION;
    }
    let by_status = match outcome.http_status {
        Some(401 | 403 | 407) => AUTHENTICATION,
        Some(404) => NOT_FOUND,
        _ => OTHER,
    };
    match outcome.kind {
        Some(FailureKind::FileSystem) => DISK,
        Some(FailureKind::Connection) if by_status == AUTHENTICATION => AUTHENTICATION,
        Some(FailureKind::Connection) => NETWORK,
        Some(FailureKind::Checksum) => CHECKSUM,
        Some(FailureKind::Callback) => COMPONENT,
        Some(FailureKind::Url) => USAGE,
        Some(FailureKind::HttpResponse | FailureKind::General) => by_status,
        _ => OTHER,
    }
}

/// How the tasks of one command went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Tasks asked for, or worked.
    pub(crate) asked: u64,
    /// Those that did not complete.
    pub(crate) failed: u64,
    /// Code of the first that did not complete.
    pub(crate) first_code: u8,
}

impl Tally {
    /// Counts a task that did not complete.
    pub(crate) fn fail(&mut self, code: u8) {
        if self.failed == 0 {
            self.first_code = code;
        }
        self.failed += 1;
    }

    /// The code of the whole command.
    pub(crate) fn code(&self) -> u8 {
        match (self.failed, self.asked) {
            (0, _) => DONE,
            (_, 0 | 1) => self.first_code,
            _ => SOME_FAILED,
        }
    }
}

#[cfg(test)]
mod tests;
