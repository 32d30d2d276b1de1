//! The tables, and which version of them a database has. The tables themselves are described in `schema.sql`.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::{Error, ErrorKind};

/// The version of the tables that this program writes and reads.
pub const SCHEMA_VERSION: i32 = 5;

/// The oldest version that it still reads. Version 2 has no `chosen`, `shard` and `first`: its runs are of whole jobs; versions 2 and 3
/// have no `not_begun`, which only masters look at; versions 2 to 4 have no `agent`: they say nothing of theirs.
const OLDEST: i32 = 2;

/// "PROC": tells our databases from others of SQLite's.
const APPLICATION_ID: i32 = 0x5052_4f43;

const TABLES: &str = include_str!("schema.sql");

/// Of everything that any session has handed out it is on record what became of it.
pub(crate) const NOTHING_UNDER_WAY: &str =
    "UPDATE session SET handed_out = 0 WHERE handed_out > 0; DELETE FROM not_begun;";

/// How far a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Without tables.
    Empty,
    /// With tables, and without a job.
    Blank,
    /// With a job.
    Begun,
}

/// Makes the tables that are not there yet, and the job's row with them: either all of it is there afterwards, or nothing.
pub(crate) fn create(
    connection: &Connection,
    insert_job: impl FnOnce(&Connection) -> Result<(), Error>,
) -> Result<(), Error> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    if state(&transaction)? == State::Empty {
        transaction.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; {TABLES}"
        ))?;
    }
    check_version(&transaction)?;
    insert_job(&transaction)?;
    Ok(transaction.commit()?)
}

/// Refuses a database in which no run has begun, that is not ours, or that another version wrote.
pub(crate) fn check(connection: &Connection) -> Result<(), Error> {
    // All of it as of one moment, although a master may be about to begin.
    let _moment = connection.is_autocommit().then(|| connection.unchecked_transaction()).transpose()?;
    if state(connection)? == State::Begun {
        return Ok(());
    }
    Err(Error::new(ErrorKind::NotARun, "the run there has not begun"))
}

/// Refuses a database that this program reads and does not write.
pub(crate) fn check_version(connection: &Connection) -> Result<(), Error> {
    match version(connection)? {
        SCHEMA_VERSION => Ok(()),
        version => Err(Error::new(
            ErrorKind::NotARun,
            format!(
                "its tables are of version {version}, which this program reads and does not write (its own is {SCHEMA_VERSION}): go \
                 on with the program that began the run, or begin it anew in another directory"
            ),
        )),
    }
}

/// Which version of the tables there is.
pub(crate) fn version(connection: &Connection) -> Result<i32, Error> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

/// How far it is, within a transaction that is open.
///
/// # Errors
/// [`ErrorKind::NotARun`] if it is not ours, or another version wrote it.
pub(crate) fn state(connection: &Connection) -> Result<State, Error> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(State::Empty);
    }
    if pragma("application_id")? != APPLICATION_ID {
        return Err(Error::new(ErrorKind::NotARun, "its run.sqlite is the database of another program"));
    }
    let version = version(connection)?;
    if !(OLDEST..=SCHEMA_VERSION).contains(&version) {
        return Err(Error::new(
            ErrorKind::NotARun,
            format!("its tables are of version {version}, and this program knows version {SCHEMA_VERSION}"),
        ));
    }
    let jobs: i64 = connection.query_row("SELECT count(*) FROM job", [], |row| row.get(0))?;
    Ok(if jobs == 0 { State::Blank } else { State::Begun })
}
