//! What a master that goes on with a run changes before it begins: what became of items when others were killed, another job,
//! outcomes that are to be forgotten.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::dir::{RunDir, insert_job};
use crate::error::Error;
use crate::item::{OK, UNKNOWN};
use crate::job::Job;
use crate::key::Key;
use crate::schema::NOTHING_UNDER_WAY;
use crate::selection::Selection;

/// With the words of the index on items without a value, which is used then.
const FORGET: &str = "DELETE FROM item WHERE outcome = ?1 AND outcome <> 'ok'";

/// The items of which it is known what became of them in session `?1`, which was killed. That a row was malformed in a session
/// before that one is not: it may have been mended, and begun.
const SETTLED: &str = "SELECT idx FROM item WHERE outcome <> 'invalid_input' OR session = ?1
                       UNION SELECT idx FROM not_begun WHERE session = ?1";

/// What a killed master had handed out.
struct Killed {
    session: i64,
    /// So many of the run's items, from the first on, may have been begun.
    handed_out: u64,
}

impl RunDir {
    /// How many items may have been begun by a master that was killed, and have no outcome: those that
    /// [`settle_unknown`](RunDir::settle_unknown) settles. Of an idempotent task there are none; it must be so by the job of
    /// then and by `now`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn unsettled(&self, now: &Job) -> Result<u64, Error> {
        let before = self.reader().job()?;
        let Some(Killed { session, handed_out }) = killed(self.connection())? else { return Ok(0) };
        if before.idempotent && now.idempotent {
            return Ok(0);
        }
        let handed_out = handed_out.min(before.selected().unwrap_or(u64::MAX));
        let last = handed_out.checked_sub(1).and_then(|last| before.selection.nth(last));
        let query = format!("SELECT count(*) FROM ({SETTLED}) WHERE idx <= ?2");
        let settled: u64 = self.connection().query_row(&query, params![session, last], |row| row.get(0))?;
        Ok(handed_out - settled)
    }

    /// Settles what masters that were killed had handed out and got no outcome of. Items of a task that was idempotent then
    /// and is so by `now` may run again; of others it is not known whether they ran, and that is their outcome. Returns how
    /// many those are.
    ///
    /// `keys` are those of all items, in order, of the input that the run was begun with.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn settle_unknown(
        &self,
        now: &Job,
        keys: impl IntoIterator<Item = Option<Key>>,
    ) -> Result<u64, Error> {
        let before = self.reader().job()?;
        let transaction = self.connection().unchecked_transaction()?;
        let mut unknown = 0;
        if let Some(killed) = killed(&transaction)?.filter(|_| !(before.idempotent && now.idempotent)) {
            let insert = format!(
                "INSERT OR REPLACE INTO item (idx, key, outcome, attempts, session, error)
                 VALUES (?1, ?2, '{UNKNOWN}', 1, ?3, 'the run was cut off when it may have been running')"
            );
            let mut insert = transaction.prepare(&insert)?;
            // Which they are is a question of what the run was of then.
            let keys = of_selection(&before.selection, keys).take(killed.handed_out as usize);
            for (index, key) in unsettled(&transaction, killed.session, keys)? {
                insert.execute(params![index, key.as_bytes(), killed.session])?;
                unknown += 1;
            }
        }
        transaction.execute_batch(NOTHING_UNDER_WAY)?;
        transaction.commit()?;
        Ok(unknown)
    }

    /// The items of unknown outcome of which nothing but their place is on record, in order.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn undescribed(&self) -> Result<Vec<u64>, Error> {
        let query = format!(
            "SELECT idx FROM item WHERE outcome = '{UNKNOWN}' AND outcome <> 'ok' AND args IS NULL ORDER BY idx"
        );
        let mut query = self.connection().prepare(&query)?;
        Ok(query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    /// Puts the arguments of items on record, and the commands that run them alone: what [`undescribed`] ones lack.
    ///
    /// [`undescribed`]: RunDir::undescribed
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn describe(
        &self,
        items: impl IntoIterator<Item = (u64, Option<String>, Option<String>)>,
    ) -> Result<(), Error> {
        let transaction = self.connection().unchecked_transaction()?;
        for (index, args, reproduce) in items {
            let update = "UPDATE item SET args = ?2, reproduce = ?3 WHERE idx = ?1";
            transaction.prepare_cached(update)?.execute(params![index, args, reproduce])?;
        }
        Ok(transaction.commit()?)
    }

    /// Forgets the outcomes of these names, other than `ok`, so that their items run again. Returns how many those are.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn forget(&self, outcomes: &[&str]) -> Result<u64, Error> {
        let transaction = self.connection().unchecked_transaction()?;
        let mut forgotten = 0;
        for outcome in outcomes {
            forgotten += transaction.execute(FORGET, [outcome])? as u64;
        }
        transaction.commit()?;
        Ok(forgotten)
    }

    /// Notes what a job that goes on may have other than before: whether its task is idempotent, and its input, of which
    /// rows that were malformed may be mended.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn go_on(&self, job: &Job) -> Result<(), Error> {
        self.connection().execute(
            "UPDATE job SET idempotent = ?1, input = ?2",
            params![job.idempotent, job.input.as_ref().map(Key::as_bytes)],
        )?;
        Ok(())
    }

    /// Takes another job for the one it had, and each old outcome goes to the item that has its key; `keys` are those of all
    /// items, in order. Outcomes of which there is no such item are forgotten, and so are those of another task or
    /// signature, and values that cannot be reduced although the job does that. Returns how many items have an outcome.
    ///
    /// What may have been begun without an outcome is forgotten as well: settle it first, or refuse.
    ///
    /// # Errors
    /// [`ErrorKind::TooMany`](crate::ErrorKind::TooMany) or [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn accept(&self, job: &Job, keys: impl Iterator<Item = Option<Key>>) -> Result<u64, Error> {
        job.check_room()?;
        let before = self.reader().job()?;
        let transaction = self.connection().unchecked_transaction()?;
        if (&before.task, &before.signature) != (&job.task, &job.signature) {
            transaction.execute("DELETE FROM item", [])?;
        }
        if job.reduce.is_some() {
            transaction
                .execute(&format!("DELETE FROM item WHERE outcome = '{OK}' AND payload IS NULL"), [])?;
        }
        // In the same input they are where they belong, also where arguments are equal.
        if before.input.is_none() || before.input != job.input {
            follow_keys(&transaction, of_selection(&job.selection, keys))?;
        }
        transaction.execute_batch(NOTHING_UNDER_WAY)?;
        transaction.execute("DELETE FROM job", [])?;
        insert_job(&transaction, job)?;
        let kept = transaction.query_row("SELECT count(*) FROM item", [], |row| row.get(0))?;
        transaction.commit()?;
        Ok(kept)
    }

    fn connection(&self) -> &Connection {
        self.reader().connection()
    }
}

/// What the last master had handed out, if it was killed.
fn killed(connection: &Connection) -> Result<Option<Killed>, Error> {
    let query = "SELECT id, handed_out FROM session WHERE handed_out > 0 ORDER BY handed_out DESC LIMIT 1";
    let killed =
        connection.query_row(query, [], |row| Ok(Killed { session: row.get(0)?, handed_out: row.get(1)? }));
    Ok(killed.optional()?)
}

/// The selected items of a job, in order, with their keys.
fn of_selection(
    selection: &Selection,
    keys: impl IntoIterator<Item = Option<Key>>,
) -> impl Iterator<Item = (u64, Option<Key>)> {
    (0..).zip(keys).filter(move |(index, _)| selection.contains(*index))
}

/// Those of the items that nothing is known of since a session was killed. A malformed row was not begun.
fn unsettled(
    connection: &Connection,
    session: i64,
    items: impl Iterator<Item = (u64, Option<Key>)>,
) -> Result<Vec<(u64, Key)>, Error> {
    let mut query = connection.prepare(&format!("{SETTLED} ORDER BY idx"))?;
    let mut recorded = query.query_map([session], |row| row.get::<_, u64>(0))?;
    let mut next = recorded.next().transpose()?;
    let mut missing = Vec::new();
    for (index, key) in items {
        while next.is_some_and(|recorded| recorded < index) {
            next = recorded.next().transpose()?;
        }
        if next == Some(index) {
            continue;
        }
        if let Some(key) = key {
            missing.push((index, key));
        }
    }
    Ok(missing)
}

/// Moves every outcome to the item that has its key now.
fn follow_keys(
    transaction: &Transaction<'_>,
    keys: impl Iterator<Item = (u64, Option<Key>)>,
) -> Result<(), Error> {
    transaction.execute_batch("CREATE TEMP TABLE wanted (idx INTEGER PRIMARY KEY, key BLOB NOT NULL)")?;
    {
        let mut insert = transaction.prepare("INSERT INTO wanted (idx, key) VALUES (?1, ?2)")?;
        for (index, key) in keys {
            if let Some(key) = key {
                insert.execute(params![index, key.as_bytes()])?;
            }
        }
    }
    // Equal arguments may come several times: the first of the new ones has the first of the old ones. Numbers below zero
    // are in nobody's way until all have moved.
    transaction.execute_batch(
        "CREATE TEMP TABLE move (old INTEGER PRIMARY KEY, new INTEGER NOT NULL);
         INSERT INTO move
             SELECT old.idx, new.idx FROM
                 (SELECT idx, key, row_number() OVER (PARTITION BY key ORDER BY idx) AS nth FROM item
                  WHERE key IS NOT NULL) AS old
                 JOIN (SELECT idx, key, row_number() OVER (PARTITION BY key ORDER BY idx) AS nth FROM wanted) AS new
                 USING (key, nth);
         DELETE FROM item WHERE idx NOT IN (SELECT old FROM move);
         UPDATE item SET idx = -1 - (SELECT new FROM move WHERE old = idx);
         UPDATE item SET idx = -1 - idx;
         DROP TABLE move; DROP TABLE wanted;",
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
        let mut query = dir.connection().prepare(&format!("EXPLAIN QUERY PLAN {FORGET}")).unwrap();
        let steps = query.query_map(["panicked"], |row| row.get(3)).unwrap();
        let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
        assert!(
            steps.iter().all(|step| step.contains("item_without_value")) && !steps.is_empty(),
            "{steps:?}"
        );
    }
}
