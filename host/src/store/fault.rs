//! What went wrong in SQLite, in the library's terms. A fault can be handed to everybody of a group, an `Error` cannot.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::error::Error;

/// Result of a statement.
pub(super) type Sql<T> = rusqlite::Result<T>;

/// A failed operation on the database.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// What is stored cannot be trusted: nothing more is written.
    Damaged(String),
    /// The file system refused, or there is no room: the next attempt may succeed.
    FileSystem(String),
    /// The system has given up what was written: nothing more is written, for nobody knows what is on the disk. Rule:
    /// reliability C.3.
    Unsynced(String),
    /// Another program keeps the database locked: the next attempt may succeed.
    Locked(String),
    /// None of the others: most likely the fault of one change.
    Other(String),
}

impl Fault {
    /// Sorts an error of SQLite.
    pub(super) fn new(path: &Path, error: &rusqlite::Error) -> Self {
        let name = path.display();
        match error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..) => Self::Damaged(format!(
                "the database `{name}` holds a value that cannot be read ({error}); {}",
                how_to_mend(path)
            )),
            _ if let Some(what) = lacking(error) => Self::Damaged(format!(
                "the database `{name}` is damaged: its tables are not those that haul made ({what}); {}",
                how_to_mend(path)
            )),
            _ => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                    Self::Damaged(format!("the database `{name}` is damaged ({error}); {}", how_to_mend(path)))
                }
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked(format!(
                    "the database `{name}` is locked by another program (sqlite3, a backup): wait for it or end it, then try \
                     again; nothing is lost"
                )),
                Some(ErrorCode::SystemIoFailure) if is_unsynced(error) => Self::Unsynced(format!(
                    "the disk has not kept what was written to the database `{name}` ({error}): nothing more is written; see \
                     to the disk, then try again"
                )),
                Some(ErrorCode::DiskFull) => Self::FileSystem(no_room(&name, error)),
                Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) if is_full(path) => {
                    Self::FileSystem(no_room(&name, error))
                }
                Some(
                    ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::ReadOnly
                    | ErrorCode::PermissionDenied,
                ) => Self::FileSystem(format!("cannot use the database `{name}`: {error}")),
                _ => Self::Other(format!("the database `{name}` failed: {error}")),
            },
        }
    }

    /// As an answer.
    pub(super) fn error(&self) -> Error {
        match self {
            Self::Damaged(text) => Error::Damaged(text.clone()),
            Self::FileSystem(text) | Self::Unsynced(text) => Error::FileSystem(text.clone()),
            Self::Locked(text) => Error::DatabaseLocked(text.clone()),
            Self::Other(text) => Error::Other(text.clone()),
        }
    }
}

/// What a statement of ours did not find in the schema. All of them were tried on the one that haul makes.
fn lacking(error: &rusqlite::Error) -> Option<&str> {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => Some(msg),
        rusqlite::Error::SqliteFailure(_, Some(msg)) if msg.starts_with("no such ") => Some(msg),
        _ => None,
    }
}

/// Whether an fsync failed: the next one may succeed, and means nothing.
fn is_unsynced(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_DIR_FSYNC, SQLITE_IOERR_FSYNC};
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(SQLITE_IOERR_FSYNC | SQLITE_IOERR_DIR_FSYNC))
}

/// Whether there is no room for SQLite's index of the WAL, or no inode for a file: it calls that an I/O error.
fn is_full(path: &Path) -> bool {
    const INDEX_BYTES: u64 = 32 << 10;
    let disk = rustix::fs::statvfs(path.parent().unwrap_or(path));
    disk.is_ok_and(|disk| {
        disk.f_bavail.saturating_mul(disk.f_frsize) < INDEX_BYTES || (disk.f_files > 0 && disk.f_favail == 0)
    })
}

fn no_room(name: &impl std::fmt::Display, error: &rusqlite::Error) -> String {
    format!("no room on the disk of `{name}`: make some, then try again; nothing is lost ({error})")
}

/// What to do about a damaged database, and what that costs. Nothing does it by itself.
pub(super) fn how_to_mend(path: &Path) -> String {
    let home = path.parent().unwrap_or(path).display().to_string().replace('\'', r"'\''");
    format!(
        "it is left as it is. To begin with an empty one: `mkdir '{home}/damaged' && mv '{home}'/haul.db* '{home}/damaged/'`. \
         The queue, the history and the event log are lost with it and unfinished downloads begin afresh; finished files stay"
    )
}

/// Sorts an error of SQLite into the library's own.
pub(super) fn error(path: &Path, error: &rusqlite::Error) -> Error {
    Fault::new(path, error).error()
}

/// JSON of a column that does not read as what it should be.
pub(super) fn unreadable(column: usize, error: serde_json::Error) -> rusqlite::Error {
    let kind = rusqlite::types::Type::Text;
    rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
}

/// A value that cannot be written as JSON.
pub(super) fn unwritable(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}
