//! The tables, and which version of them a database has. The tables themselves are described in `schema.sql`.

use rusqlite::Connection;

use crate::error::{Error, ErrorKind};

/// The version of the tables that this program writes and reads.
pub const SCHEMA_VERSION: i32 = 1;

/// "PROC": tells our databases from others of SQLite's.
const APPLICATION_ID: i32 = 0x5052_4f43;

const TABLES: &str = include_str!("schema.sql");

/// Makes the tables of an empty database.
pub(crate) fn create(connection: &Connection) -> Result<(), Error> {
    connection.execute_batch(&format!(
        "BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; {TABLES} COMMIT;"
    ))?;
    Ok(())
}

/// Refuses a database that is not ours, or that another version wrote.
pub(crate) fn check(connection: &Connection) -> Result<(), Error> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Err(Error::new(ErrorKind::NotARun, "the run there has not begun"));
    }
    if pragma("application_id")? != APPLICATION_ID {
        return Err(Error::new(ErrorKind::NotARun, "its run.sqlite is the database of another program"));
    }
    let version = pragma("user_version")?;
    if version != SCHEMA_VERSION {
        return Err(Error::new(
            ErrorKind::NotARun,
            format!("its tables are of version {version}, and this program knows version {SCHEMA_VERSION}"),
        ));
    }
    Ok(())
}
