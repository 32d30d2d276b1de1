//! Questions to a run's database. Reading never disturbs a master that writes at the same time.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row};

use crate::dir::DATABASE;
use crate::error::{Error, ErrorKind};
use crate::item::{Item, OK, Printed, Tally, time};
use crate::job::{Job, Session, WorkerLife};
use crate::key::Key;
use crate::schema;
use crate::selection::{Selection, elements};

/// What `Item`s are read from, in the order in which [`item`] takes them.
pub(crate) const COLUMNS: &str =
    "idx, key, outcome, attempts, slot, pid, started_at, wall_s, cpu_s, peak_rss, exit, signal, error,
    args, stderr_tail, backtrace, reproduce, value, payload, flaky";

/// Reads a run directory.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    name: String,
}

impl Reader {
    /// Opens a run directory to read it; whether a master has it does not matter.
    ///
    /// # Errors
    /// [`ErrorKind::NotARun`] or [`ErrorKind::Io`].
    pub fn open(directory: &Path) -> Result<Reader, Error> {
        let database = directory.join(DATABASE);
        if !database.exists() {
            return Err(Error::new(
                ErrorKind::NotARun,
                format!("there is no run in {}", directory.display()),
            ));
        }
        let open = |flags| -> Result<Connection, rusqlite::Error> {
            let connection = Connection::open_with_flags(&database, flags)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            // A write-ahead log can only be read with its index, which a reader may have to write.
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            Ok(connection)
        };
        let connection = open(OpenFlags::SQLITE_OPEN_READ_WRITE)
            .or_else(|_| open(OpenFlags::SQLITE_OPEN_READ_ONLY))
            .map_err(Error::from)?;
        schema::check(&connection)?;
        Ok(Reader::of(connection, directory))
    }

    pub(crate) fn of(connection: Connection, directory: &Path) -> Reader {
        Reader { connection, name: directory.display().to_string() }
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }

    /// The job.
    ///
    /// # Errors
    /// [`ErrorKind::NotARun`] if a master was killed before it had written that down, [`ErrorKind::Io`].
    pub fn job(&self) -> Result<Job, Error> {
        let selection =
            if schema::version(&self.connection)? < 3 { "NULL, NULL, NULL" } else { "chosen, shard, first" };
        let query = format!(
            "SELECT name, task, signature, idempotent, reduce, source, items, spec, argv, cwd, input, kept, {selection} FROM job"
        );
        let job = self.connection.query_row(&query, [], |row| {
            let argv: String = row.get(8)?;
            let cwd: String = row.get(9)?;
            let input: Option<Vec<u8>> = row.get(10)?;
            Ok(Job {
                name: row.get(0)?,
                task: row.get(1)?,
                signature: row.get(2)?,
                idempotent: row.get(3)?,
                reduce: row.get(4)?,
                source: row.get(5)?,
                items: row.get(6)?,
                input: input.as_deref().and_then(Key::from_bytes),
                kept: row.get(11)?,
                selection: selection_of(row)?,
                spec: row.get(7)?,
                argv: serde_json::from_str(&argv).unwrap_or_default(),
                cwd: cwd.into(),
            })
        });
        job.optional()?
            .ok_or_else(|| Error::new(ErrorKind::NotARun, format!("the run in {} has not begun", self.name)))
    }

    /// The masters that worked on it, first one first.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn sessions(&self) -> Result<Vec<Session>, Error> {
        let query =
            "SELECT id, pid, host, version, workers, started_at, ended_at, ending FROM session ORDER BY id";
        self.all(query, |row| {
            Ok(Session {
                id: row.get(0)?,
                pid: row.get(1)?,
                host: row.get(2)?,
                version: row.get(3)?,
                workers: row.get(4)?,
                started_at: time(row.get(5)?),
                ended_at: row.get::<_, Option<f64>>(6)?.map(time),
                ending: row.get(7)?,
            })
        })
    }

    /// The workers' processes, in the order in which they began.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn workers(&self) -> Result<Vec<WorkerLife>, Error> {
        let query = "SELECT session, slot, pid, started_at, ended_at, exit, signal FROM worker ORDER BY started_at, pid";
        self.all(query, |row| {
            Ok(WorkerLife {
                session: row.get(0)?,
                slot: row.get(1)?,
                pid: row.get(2)?,
                started_at: time(row.get(3)?),
                ended_at: row.get::<_, Option<f64>>(4)?.map(time),
                exit: row.get(5)?,
                signal: row.get(6)?,
            })
        })
    }

    /// How many items have which outcome.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn tally(&self) -> Result<Tally, Error> {
        let query = "SELECT outcome, count(*), sum(flaky) FROM item GROUP BY outcome";
        let counted: Vec<(String, u64, u64)> =
            self.all(query, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let mut tally = Tally::default();
        for (outcome, items, flaky) in counted {
            if outcome == OK {
                (tally.values, tally.flaky) = (items, flaky);
            } else {
                tally.without.push((outcome, items));
            }
        }
        Ok(tally)
    }

    /// One item's row, if it has an outcome.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn item(&self, index: u64) -> Result<Option<Item>, Error> {
        let query = format!("SELECT {COLUMNS} FROM item WHERE idx = ?1");
        let Some(index) = number(index) else { return Ok(None) };
        Ok(self.connection.prepare_cached(&query)?.query_row([index], item).optional()?)
    }

    /// What an item printed, if it is a command that ran to its end.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn printed(&self, index: u64) -> Result<Option<Printed>, Error> {
        let query = "SELECT stdout, stderr FROM item WHERE idx = ?1 AND stdout IS NOT NULL";
        let Some(index) = number(index) else { return Ok(None) };
        let printed = self.connection.prepare_cached(query)?.query_row([index], |row| {
            Ok(Printed { stdout: row.get(0)?, stderr: row.get::<_, Option<_>>(1)?.unwrap_or_default() })
        });
        Ok(printed.optional()?)
    }

    /// The rows of at most `limit` items from index `from` on, in order.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn page(&self, from: u64, limit: u32) -> Result<Vec<Item>, Error> {
        let query = format!("SELECT {COLUMNS} FROM item WHERE idx >= ?1 ORDER BY idx LIMIT {limit}");
        let Some(from) = number(from) else { return Ok(Vec::new()) };
        let mut query = self.connection.prepare_cached(&query)?;
        let rows = query.query_map([from], item)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The rows of at most `limit` items without a value from index `from` on, in order.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn failures(&self, from: u64, limit: u32) -> Result<Vec<Item>, Error> {
        let query = format!(
            "SELECT {COLUMNS} FROM item WHERE outcome <> 'ok' AND idx >= ?1 ORDER BY idx LIMIT {limit}"
        );
        let Some(from) = number(from) else { return Ok(Vec::new()) };
        let mut query = self.connection.prepare_cached(&query)?;
        let rows = query.query_map([from], item)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The items that ran longest, longest first.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn slowest(&self, limit: u32) -> Result<Vec<Item>, Error> {
        let query =
            format!("SELECT {COLUMNS} FROM item WHERE wall_s IS NOT NULL ORDER BY wall_s DESC LIMIT {limit}");
        self.all(&query, item)
    }

    fn all<T>(&self, query: &str, read: fn(&Row<'_>) -> rusqlite::Result<T>) -> Result<Vec<T>, Error> {
        let mut query = self.connection.prepare(query)?;
        let rows = query.query_map([], read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// An item's number as the database has it; none is beyond those that it has room for.
fn number(index: u64) -> Option<i64> {
    i64::try_from(index).ok()
}

/// What a run is of, from the last three columns of its job. Whoever changed them by hand has asked for all.
fn selection_of(row: &Row<'_>) -> rusqlite::Result<Selection> {
    let (chosen, shard): (Option<String>, Option<String>) = (row.get(12)?, row.get(13)?);
    let chosen = chosen.and_then(|list| elements(&list).ok());
    Ok(Selection::of(chosen.as_deref(), shard.and_then(|shard| shard.parse().ok()), row.get(14)?))
}

pub(crate) fn item(row: &Row<'_>) -> rusqlite::Result<Item> {
    let key: Option<Vec<u8>> = row.get(1)?;
    let outcome: String = row.get(2)?;
    let duration = |at| -> rusqlite::Result<Option<Duration>> {
        Ok(row.get::<_, Option<f64>>(at)?.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
    };
    Ok(Item {
        index: row.get(0)?,
        key: key.as_deref().and_then(Key::from_bytes),
        outcome: if outcome == OK { Cow::Borrowed(OK) } else { Cow::Owned(outcome) },
        attempts: row.get(3)?,
        slot: row.get(4)?,
        pid: row.get(5)?,
        started_at: row.get::<_, Option<f64>>(6)?.map(time),
        wall: duration(7)?,
        cpu: duration(8)?,
        peak_rss: row.get(9)?,
        exit: row.get(10)?,
        signal: row.get(11)?,
        error: row.get(12)?,
        args: row.get(13)?,
        stderr_tail: row.get(14)?,
        backtrace: row.get(15)?,
        reproduce: row.get(16)?,
        value: row.get(17)?,
        payload: row.get(18)?,
        is_flaky: row.get(19)?,
        printed: None,
    })
}
