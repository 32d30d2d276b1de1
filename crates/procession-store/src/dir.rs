//! A run directory that this process has to itself: made, or opened to go on with.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::error::{Error, ErrorKind};
use crate::host::{self, birth_of};
use crate::item::seconds;
use crate::job::Job;
use crate::key::Key;
use crate::lock::Lock;
use crate::place::Place;
use crate::reader::Reader;
use crate::schema::{self, State};
use crate::writer::Writer;

/// The database in a run directory.
pub(crate) const DATABASE: &str = "run.sqlite";

/// With the words of the index on items without a value, which is used then.
const FORGET: &str = "DELETE FROM item WHERE outcome = ?1 AND outcome <> 'ok'";

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
    /// [`ErrorKind::Io`].
    pub fn create(self, job: &Job) -> Result<RunDir, Error> {
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
        Ok(RunDir { path: path.to_owned(), reader: Reader::of(connection, path), lock })
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

    /// The processes that a killed master left and that still live. They end by themselves within moments.
    pub fn survivors(&self) -> Result<Vec<u32>, Error> {
        let mut query = self.reader.connection().prepare(
            "SELECT worker.pid, worker.birth FROM worker JOIN session ON session.id = worker.session
             WHERE session.ended_at IS NULL AND worker.ended_at IS NULL AND boot = ?1",
        )?;
        let rows =
            query.query_map([host::boot()], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)?)))?;
        let mut alive = Vec::new();
        for row in rows {
            let (pid, birth) = row?;
            if birth_of(pid) == Some(birth) {
                alive.push(pid);
            }
        }
        Ok(alive)
    }

    /// Settles what masters that were killed had handed out and got no outcome of. Items of an idempotent task may run
    /// again; of others it is not known whether they ran, and that is their outcome. Returns how many those are.
    pub fn settle_unknown(&self) -> Result<u64, Error> {
        let connection = self.reader.connection();
        let idempotent = self.reader.job()?.idempotent;
        let transaction = connection.unchecked_transaction()?;
        let killed: Option<(i64, u64)> = transaction
            .query_row(
                "SELECT id, handed_out FROM session WHERE handed_out > 0 ORDER BY handed_out DESC",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let mut unknown = 0;
        if let Some((session, handed_out)) = killed.filter(|_| !idempotent) {
            let mut missing = Vec::new();
            let mut next = 0;
            let mut query = transaction.prepare("SELECT idx FROM item WHERE idx < ?1 ORDER BY idx")?;
            for index in query.query_map([handed_out], |row| row.get::<_, u64>(0))? {
                let index = index?;
                missing.extend(next..index);
                next = index + 1;
            }
            missing.extend(next..handed_out);
            let limit = self.reader.job()?.items.unwrap_or(u64::MAX);
            let mut insert = transaction.prepare(
                "INSERT INTO item (idx, outcome, attempts, session, error)
                 VALUES (?1, 'unknown', 1, ?2, 'the master was killed when it may have been running')",
            )?;
            for index in missing.into_iter().filter(|index| *index < limit) {
                insert.execute(params![index, session])?;
                unknown += 1;
            }
        }
        transaction.execute("UPDATE session SET handed_out = 0 WHERE handed_out > 0", [])?;
        transaction.commit()?;
        Ok(unknown)
    }

    /// Forgets the outcomes of these names, other than `ok`, so that their items run again. Returns how many those are.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn forget(&self, outcomes: &[&str]) -> Result<u64, Error> {
        let connection = self.reader.connection();
        let transaction = connection.unchecked_transaction()?;
        let mut forgotten = 0;
        for outcome in outcomes {
            forgotten += transaction.execute(FORGET, [outcome])? as u64;
        }
        transaction.commit()?;
        Ok(forgotten)
    }

    /// Takes another job for the one it had: the task's signature and the number of items are these from now on, and each
    /// old outcome goes to the item that has its key; `keys` are those of all items, in order. Outcomes of which there is
    /// no such item are forgotten. Returns how many items have an outcome.
    pub fn accept(&self, job: &Job, keys: impl Iterator<Item = Option<Key>>) -> Result<u64, Error> {
        let transaction = self.reader.connection().unchecked_transaction()?;
        transaction.execute_batch(
            "CREATE TEMP TABLE wanted (idx INTEGER PRIMARY KEY, key BLOB NOT NULL, nth INTEGER NOT NULL DEFAULT 0);
             CREATE TEMP TABLE found AS SELECT * FROM item LIMIT 0;",
        )?;
        {
            let mut insert = transaction.prepare("INSERT INTO wanted (idx, key) VALUES (?1, ?2)")?;
            for (index, key) in (0_u64..).zip(keys) {
                if let Some(key) = key {
                    insert.execute(params![index, key.as_bytes()])?;
                }
            }
        }
        // Equal arguments may come several times: the first of the new ones has the first of the old ones.
        transaction.execute_batch(
            "CREATE TEMP TABLE pair AS
                 SELECT old.idx AS was, new.idx AS is_now FROM
                     (SELECT idx, key, row_number() OVER (PARTITION BY key ORDER BY idx) AS nth FROM item
                      WHERE key IS NOT NULL) AS old
                     JOIN (SELECT idx, key, row_number() OVER (PARTITION BY key ORDER BY idx) AS nth FROM wanted) AS new
                     ON old.key = new.key AND old.nth = new.nth;
             INSERT INTO found SELECT item.* FROM item JOIN pair ON pair.was = item.idx;
             CREATE TEMP TABLE renamed AS SELECT pair.is_now AS now, found.* FROM found JOIN pair ON pair.was = found.idx;
             UPDATE renamed SET idx = now;
             ALTER TABLE renamed DROP COLUMN now;
             DELETE FROM item;
             INSERT INTO item SELECT * FROM renamed;
             DROP TABLE renamed; DROP TABLE found; DROP TABLE pair; DROP TABLE wanted;
             DELETE FROM job;",
        )?;
        insert_job(&transaction, job)?;
        let kept = transaction.query_row("SELECT count(*) FROM item", [], |row| row.get(0))?;
        transaction.commit()?;
        Ok(kept)
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

fn insert_job(connection: &Connection, job: &Job) -> Result<(), Error> {
    let argv = serde_json::to_string(&job.argv).unwrap_or_default();
    connection.execute(
        "INSERT INTO job (id, name, task, signature, idempotent, reduce, source, items, spec, argv, cwd)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
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
        ],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgetting_looks_at_items_without_a_value_only() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RunDir::create(temp.path(), &Job::default()).unwrap();
        let mut query = dir.reader.connection().prepare(&format!("EXPLAIN QUERY PLAN {FORGET}")).unwrap();
        let steps = query.query_map(["panicked"], |row| row.get(3)).unwrap();
        let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
        assert!(
            steps.iter().all(|step| step.contains("item_without_value")) && !steps.is_empty(),
            "{steps:?}"
        );
    }

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
