//! Reads databases of other programs, for importing: columns of JSON text by an id. Never writes, and knows no task.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::fault::Sql;
use crate::error::{Error, Result};

/// Rows of a table: id and JSON text.
type Rows = Vec<(String, String)>;

/// The rows of those of `tables` that exist, in order of insertion.
pub(crate) fn json_columns<'a>(
    path: &Path,
    tables: &[&'a str],
    id: &str,
    column: &str,
) -> Result<Vec<(&'a str, Rows)>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let read = || -> Sql<Vec<(&'a str, Rows)>> {
        let conn = Connection::open_with_flags(path, flags)?;
        let mut found = Vec::new();
        for table in tables {
            let exists = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
            if conn.query_row(exists, [table], |_| Ok(())).optional()?.is_some() {
                let text = format!(
                    "SELECT CAST(\"{id}\" AS TEXT), CAST(\"{column}\" AS TEXT) FROM \"{table}\" ORDER BY rowid"
                );
                let mut rows = conn.prepare(&text)?;
                let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Sql<Rows>>()?;
                found.push((*table, rows));
            }
        }
        Ok(found)
    };
    read().map_err(|error| Error::FileSystem(format!("cannot read the database `{}`: {error}", path.display())))
}
