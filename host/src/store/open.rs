//! Opening the database: the home's and the file's permissions, pragmas, the schema. Decides nothing about tasks.

use std::fs::Permissions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, MigrationDefinitionError, Migrations};

use super::fault::{self, Sql};
use crate::error::{Error, Result};
use crate::{private, regular};

/// Name of the database in its home.
pub(super) const FILE: &str = "haul.db";

/// "haul", in the file's header.
const APPLICATION_ID: i64 = 0x6861_756C;

/// The schema, version by version: what has been released is never edited, a new version is another entry.
const MIGRATIONS: &[M<'_>] = &[M::up(include_str!("schema.sql"))];

/// Makes the home, or closes an existing one of ours to others. Rule: reliability F (0700).
pub(super) fn prepare_home(home: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::FileSystem(format!("cannot prepare `{}`: {error}", home.display()));
    private::make(home).map_err(failed)?;
    close_to_others(home, 0o700).map_err(failed)
}

/// Refuses what is no file (a pipe, a device) before anything opens it: that might wait for ever.
pub(super) fn refuse_other_than_file(path: &Path) -> Result<()> {
    if path.metadata().is_ok_and(|data| !data.is_file()) {
        return Err(foreign(path));
    }
    Ok(())
}

/// Refuses a database that was emptied: taken for a new one, the home would look as if nothing had ever been in it. One that
/// was just created has no log beside it and was not changed since (where the file system keeps the time of creation).
pub(super) fn refuse_emptied(path: &Path) -> Result<()> {
    let Some(data) = path.metadata().ok().filter(|data| data.len() == 0) else { return Ok(()) };
    let has_log = path.with_extension("db-wal").metadata().is_ok_and(|log| log.len() > 0);
    let was_written = data.created().is_ok_and(|created| data.modified().is_ok_and(|modified| created < modified));
    if has_log || was_written {
        let mend = fault::how_to_mend(path);
        return Err(Error::Damaged(format!("the database `{}` has been emptied; {mend}", path.display())));
    }
    Ok(())
}

/// Creates the file if it is missing, so that SQLite never does so with a looser mode; `-wal` and `-shm` inherit it. Whether it
/// was missing.
pub(super) fn prepare_file(path: &Path) -> Result<bool> {
    let failed = |error: std::io::Error| Error::FileSystem(format!("cannot prepare `{}`: {error}", path.display()));
    match private::create_new(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            close_to_others(path, 0o600).map_err(failed).map(|()| false)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Removes a database that has just been created and holds nothing.
pub(super) fn remove(path: &Path) {
    for extension in ["db-wal", "db-shm", "db"] {
        let _ = std::fs::remove_file(path.with_extension(extension)); // the error that led here is the one to tell
    }
}

/// Takes what a mode allows beyond `mode` from a file or directory that is ours.
fn close_to_others(path: &Path, mode: u32) -> std::io::Result<()> {
    let metadata = path.metadata()?;
    if private::is_ours(&metadata) && metadata.mode() & 0o777 & !mode != 0 {
        std::fs::set_permissions(path, Permissions::from_mode(metadata.mode() & mode))?;
    }
    Ok(())
}

/// The writer's connection, with the schema up to date.
pub(super) fn writer(path: &Path) -> Result<Connection> {
    refuse_by_header(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error: rusqlite::Error| fault::error(path, &error);
    let mut conn = Connection::open_with_flags(path, flags).map_err(failed)?;
    identify(&conn, path)?;
    pragmas(&conn).map_err(failed)?;
    migrate(&mut conn, path)?;
    Ok(conn)
}

/// Bytes of the header: SQLite file format 1.3.
const HEADER: usize = 100;

/// Refuses a database of a newer version, and what is no database, by the header, before SQLite opens it: opening may change
/// the file, and SQLite takes one of a few bytes for a new one. Where the version is: SQLite file format 1.3, offset 60.
fn refuse_by_header(path: &Path) -> Result<()> {
    let mut header = Vec::new();
    let cannot = |error| Error::FileSystem(format!("cannot read `{}`: {error}", path.display()));
    let file = regular::open(path, 0).map_err(cannot)?;
    file.take(HEADER as u64).read_to_end(&mut header).map_err(cannot)?;
    let is_database = header.len() == HEADER && header.starts_with(b"SQLite format 3\0");
    if !header.is_empty() && !is_database {
        return Err(foreign(path));
    }
    let version = header.get(60..64).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_be_bytes);
    match usize::try_from(version) {
        Ok(version) if version > MIGRATIONS.len() => Err(newer(path)),
        Ok(_) => Ok(()),
        Err(_) => Err(without_version(path)),
    }
}

fn foreign(path: &Path) -> Error {
    let mend = fault::how_to_mend(path);
    Error::Damaged(format!("`{}` is not a database of haul; {mend}", path.display()))
}

/// One that haul made has a version from the moment on when it has tables: somebody has changed that.
fn without_version(path: &Path) -> Error {
    let mend = fault::how_to_mend(path);
    Error::Damaged(format!("the database `{}` has no version of haul's any more; {mend}", path.display()))
}

fn newer(path: &Path) -> Error {
    let name = path.display();
    let which = "a newer version of haul, or by one from before the first release";
    Error::Other(format!("the database `{name}` was written by {which}: use that one, or another home"))
}

/// A reader's connection.
pub(super) fn reader(path: &Path) -> Sql<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    for_reading(&conn)?;
    Ok(conn)
}

/// The only connection there is, which reads and takes no room on the disk: who locks all others out keeps the index of the WAL
/// in memory (SQLite, "Write-Ahead Logging", 8), and nothing is copied from the WAL when it is closed. `None`: the tables are
/// those of an earlier version.
pub(super) fn only_reader(path: &Path) -> Sql<Option<Connection>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX; // a lock of all takes the right to write
    let conn = Connection::open_with_flags(path, flags)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.execute_batch("PRAGMA locking_mode = EXCLUSIVE;")?;
    for_reading(&conn)?;
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(Some(conn).filter(|_| usize::try_from(version) == Ok(MIGRATIONS.len())))
}

fn for_reading(conn: &Connection) -> Sql<()> {
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    stable_plans(conn)?;
    conn.execute_batch(
        "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
         PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -4096;",
    )?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Refuses a file of another program before anything is written to it.
fn identify(conn: &Connection, path: &Path) -> Result<()> {
    let failed = |error: rusqlite::Error| fault::error(path, &error);
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    let application: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(failed)?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(foreign(path));
    }
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    if tables > 0 && version < 1 {
        return Err(without_version(path));
    }
    Ok(())
}

/// Rules: reliability H.7. `wal_autocheckpoint` is 0 because the writer checkpoints itself. Without `PRAGMA optimize`: no
/// statistics, so that a query's plan never changes under way.
fn pragmas(conn: &Connection) -> Sql<()> {
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    stable_plans(conn)?;
    conn.execute_batch(
        "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864;
         PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
         PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -6144;",
    )?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// A query is planned once, whatever values it is run with: SQLite else plans some of ours again at each run.
fn stable_plans(conn: &Connection) -> Sql<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn migrate(conn: &mut Connection, path: &Path) -> Result<()> {
    use rusqlite_migration::Error as Migration;
    let name = path.display();
    Migrations::from_slice(MIGRATIONS).to_latest(conn).map_err(|error| match error {
        Migration::MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead) => newer(path),
        Migration::RusqliteError { err, .. } => fault::error(path, &err),
        other => Error::Other(format!("cannot bring `{name}` up to date: {other}")),
    })
}
