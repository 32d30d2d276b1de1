//! A run directory that this process has to itself: made, or opened to go on with.

use std::collections::HashSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, params};

use crate::error::{Error, ErrorKind};
use crate::host::{self, birth_of};
use crate::item::seconds;
use crate::job::Job;
use crate::key::Key;
use crate::lock::{self, Lock};
use crate::place::Place;
use crate::reader::Reader;
use crate::schema::{self, State};
use crate::writer::Writer;

/// The database in a run directory.
pub const DATABASE: &str = "run.sqlite";

/// What a run directory consists of: the database, what SQLite keeps beside it, and the lock. Nothing else is to be written there
/// under these names.
pub const FILES: [&str; 4] = [DATABASE, "run.sqlite-wal", "run.sqlite-shm", lock::NAME];

/// A transaction of somebody else lasts no longer.
const BUSY_WITHIN: Duration = Duration::from_secs(5);

/// A directory without a run, locked for one that is about to begin there.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    lock: Lock,
}

impl Claim {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes its run directory.
    ///
    /// # Errors
    /// [`ErrorKind::TooMany`] or [`ErrorKind::Io`].
    pub fn create(self, job: &Job) -> Result<RunDir, Error> {
        job.check_room()?;
        let Claim { path, lock } = self;
        let connection = connect(&path.join(DATABASE))?;
        let begun = schema::create(&connection, |transaction| insert_job(transaction, job));
        // Whoever reads the directory's first file shall find the others as well, whatever happens.
        begun.and_then(|()| lock.sync().map_err(|error| Error::io("cannot create the run store", error)))?;
        Ok(RunDir { reader: Reader::of(connection, &path), path, lock })
    }
}

/// A run directory, locked against other masters.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    reader: Reader,
    lock: Lock,
}

impl RunDir {
    /// Takes a directory for a run that is about to begin, so that no other master begins one there. It is made if it is
    /// not there; there may be other files in it, but no run.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`], [`ErrorKind::InUse`], [`ErrorKind::NotARun`] if there is a database of another program, or
    /// [`ErrorKind::Io`].
    pub fn claim(path: &Path) -> Result<Claim, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| Error::io(&format!("cannot create run directory {}", path.display()), error))?;
        let lock = Lock::take(path)?;
        if is_begun(&path.join(DATABASE))? {
            return Err(Error::new(
                ErrorKind::Exists,
                format!("run directory {} has a run already", path.display()),
            ));
        }
        Ok(Claim { path: path.to_owned(), lock })
    }

    /// Makes a run directory for a job: [`claim`](RunDir::claim) and [`Claim::create`].
    ///
    /// # Errors
    /// As theirs.
    pub fn create(path: &Path, job: &Job) -> Result<RunDir, Error> {
        job.check_room()?;
        RunDir::claim(path)?.create(job)
    }

    /// Opens the run directory of a run that has begun.
    ///
    /// # Errors
    /// [`ErrorKind::NotARun`], [`ErrorKind::InUse`] or [`ErrorKind::Io`].
    pub fn open(path: &Path) -> Result<RunDir, Error> {
        let database = path.join(DATABASE);
        let no_run = || Error::new(ErrorKind::NotARun, format!("there is no run in {}", path.display()));
        if !database.exists() {
            return Err(no_run());
        }
        let lock = Lock::take(path)?;
        // Only now: a master that is about to begin has the lock.
        if !is_begun(&database)? {
            return Err(no_run());
        }
        let connection = connect(&database)?;
        schema::check_version(&connection)?;
        Ok(RunDir { path: path.to_owned(), reader: Reader::of(connection, path), lock })
    }

    /// Whether a run has begun there, so that one would go on with it.
    ///
    /// # Errors
    /// [`ErrorKind::NotARun`] if there is a database of another program, or [`ErrorKind::Io`].
    pub fn is_begun(path: &Path) -> Result<bool, Error> {
        is_begun(&path.join(DATABASE))
    }

    /// What is in it.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kind of the file system it is on, if other machines may write there as well.
    pub fn shared_file_system(&self) -> Option<&'static str> {
        host::shared_file_system(&self.path)
    }

    /// The processes that a killed master left and that still live: workers, and what they have started. They end by
    /// themselves within moments, unless somebody else than the master was killed as well.
    pub fn survivors(&self) -> Result<Vec<u32>, Error> {
        let mut query = self.reader.connection().prepare(
            "SELECT worker.pid, worker.birth FROM worker JOIN session ON session.id = worker.session
             WHERE session.ended_at IS NULL AND worker.ended_at IS NULL AND boot = ?1",
        )?;
        let rows =
            query.query_map([host::boot()], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)?)))?;
        let workers = rows.collect::<Result<Vec<_>, _>>()?;
        // A number that is still a group's is given to no other process.
        let is_theirs = |(pid, birth): &(u32, i64)| birth_of(*pid).is_none_or(|born| born == *birth);
        let groups: HashSet<u32> = workers.into_iter().filter(is_theirs).map(|(pid, _)| pid).collect();
        Ok(if groups.is_empty() { Vec::new() } else { host::members_of(&groups) })
    }

    /// Begins a session: rows are taken from now on. `version` is that of the program.
    pub fn begin(self, version: &str, workers: u32) -> Result<Writer, Error> {
        let RunDir { reader, lock, path } = self;
        let connection = reader.into_connection();
        let place = Place::of(lock, &path.join(DATABASE))?;
        connection.execute(
            "INSERT INTO session (pid, host, boot, version, workers, started_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![std::process::id(), host::host(), host::boot(), version, workers, seconds(SystemTime::now())],
        )?;
        let session = connection.last_insert_rowid();
        relax(&connection)?;
        Writer::start(connection, session, place)
    }
}

/// Whether a run was begun there: a master that is killed at once leaves a database without a job.
fn is_begun(database: &Path) -> Result<bool, Error> {
    if !database.exists() {
        return Ok(false);
    }
    let connection = Connection::open(database)?;
    connection.busy_timeout(BUSY_WITHIN)?;
    Ok(schema::state(&connection)? == State::Begun)
}

fn connect(database: &Path) -> Result<Connection, Error> {
    let connection = Connection::open(database)?;
    // Readers never wait for the writer, nor it for them.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What is committed survives the program, and the machine's loss of power as well.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    Ok(connection)
}

/// Lets a loss of power take the last moments of the record where their items may run again. Of other tasks it must be known
/// what was begun: what is committed is on the disk before it is.
fn relax(connection: &Connection) -> Result<(), Error> {
    let idempotent: bool = connection.query_row("SELECT idempotent FROM job", [], |row| row.get(0))?;
    connection.pragma_update(None, "synchronous", if idempotent { "NORMAL" } else { "FULL" })?;
    Ok(())
}

pub(crate) fn insert_job(connection: &Connection, job: &Job) -> Result<(), Error> {
    let argv = serde_json::to_string(&job.argv).unwrap_or_default();
    connection.execute(
        "INSERT INTO job (id, name, task, signature, idempotent, reduce, source, items, spec, argv, cwd, input, kept,
                          chosen, shard, first)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        params![
            job.name,
            job.task,
            job.signature,
            job.idempotent,
            job.reduce,
            job.source,
            job.items,
            job.spec,
            argv,
            job.cwd.to_string_lossy(),
            job.input.as_ref().map(Key::as_bytes),
            job.kept,
            job.selection.chosen(),
            job.selection.shard().map(|shard| shard.to_string()),
            job.selection.limit(),
        ],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_run_twice_is_on_the_disk_before_it_runs() {
        for (idempotent, synchronous) in [(false, 2), (true, 1)] {
            let temp = tempfile::tempdir().unwrap();
            let dir = RunDir::create(temp.path(), &Job { idempotent, ..Job::default() }).unwrap();
            let connection = dir.reader.connection();
            relax(connection).unwrap();
            let set: i32 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
            assert_eq!(set, synchronous);
        }
    }
}
