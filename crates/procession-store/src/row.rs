//! An item's row on its way into the database. It knows no transactions.

use rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY;
use rusqlite::{CachedStatement, Connection, params};

use crate::error::Error;
use crate::item::{INVALID, Item, seconds};
use crate::key::Key;

/// Rows of values that one statement writes: to begin and end it takes as long as some of its rows.
const TOGETHER: usize = 8;

const COLUMNS: &str = "(idx, key, outcome, attempts, session, slot, pid, started_at, wall_s, cpu_s, peak_rss, value, payload, flaky)";

/// Writes the rows of a session.
pub(crate) struct Rows<'c> {
    connection: &'c Connection,
    session: i64,
    /// Statements for one value and for several, kept: to look one up takes a tenth as long as to run it.
    of_value: Option<CachedStatement<'c>>,
    of_values: Option<CachedStatement<'c>>,
}

impl<'c> Rows<'c> {
    pub(crate) fn new(connection: &'c Connection, session: i64) -> Rows<'c> {
        Rows { connection, session, of_value: None, of_values: None }
    }

    /// Writes those of items, in their order; what an item had before is replaced.
    pub(crate) fn insert(&mut self, mut items: &[Item]) -> Result<(), Error> {
        while !items.is_empty() {
            let together = items.get(..TOGETHER).filter(|items| items.iter().all(is_value));
            let written = match together {
                Some(together) if self.insert_values(together)? => TOGETHER,
                // Each for itself, and those whose place is taken by something else.
                Some(together) => {
                    together.iter().try_for_each(|item| self.insert_one(item))?;
                    TOGETHER
                }
                None => {
                    self.insert_one(&items[0])?;
                    1
                }
            };
            items = &items[written..];
        }
        Ok(())
    }

    /// Writes values where there was nothing; false: there was something, and nothing is written.
    fn insert_values(&mut self, items: &[Item]) -> Result<bool, Error> {
        let statement = match &mut self.of_values {
            Some(statement) => statement,
            none => none.insert(self.connection.prepare_cached(&insert_of(TOGETHER))?),
        };
        for (row, item) in items.iter().enumerate() {
            bind(statement, row, self.session, item)?;
        }
        let inserted = statement.raw_execute();
        if inserted.as_ref().is_err_and(is_taken) { Ok(false) } else { Ok(inserted.map(|_| true)?) }
    }

    fn insert_value(&mut self, item: &Item) -> Result<(), Error> {
        let statement = match &mut self.of_value {
            Some(statement) => statement,
            none => none.insert(self.connection.prepare_cached(&insert_of(1))?),
        };
        bind(statement, 0, self.session, item)?;
        // Mostly there is nothing to replace, and to be ready for it takes a tenth of the time.
        let inserted = statement.raw_execute();
        if !inserted.as_ref().is_err_and(is_taken) {
            return Ok(inserted.map(drop)?);
        }
        self.connection.prepare_cached("DELETE FROM item WHERE idx = ?1")?.execute([item.index])?;
        bind(statement, 0, self.session, item)?;
        Ok(statement.raw_execute().map(drop)?)
    }

    fn insert_one(&mut self, item: &Item) -> Result<(), Error> {
        if is_value(item) {
            return self.insert_value(item);
        }
        let (connection, session) = (self.connection, self.session);
        let Item { index, outcome, attempts, slot, pid, value, payload, .. } = item;
        let key = item.key.as_ref().map(Key::as_bytes);
        let started_at = item.started_at.map(seconds);
        let (wall, cpu) = (item.wall.map(|wall| wall.as_secs_f64()), item.cpu.map(|cpu| cpu.as_secs_f64()));
        let peak_rss = item.peak_rss;
        if item.outcome == INVALID {
            // What the row was before it was malformed stands: it may have been run.
            let insert =
                "INSERT INTO item (idx, outcome, attempts, session, error) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT (idx) DO UPDATE SET session = excluded.session, error = excluded.error
            WHERE item.outcome = excluded.outcome";
            connection
                .prepare_cached(insert)?
                .execute(params![index, outcome, attempts, session, item.error])?;
        } else {
            let insert = "INSERT OR REPLACE INTO item
            (idx, key, outcome, attempts, session, slot, pid, started_at, wall_s, cpu_s, peak_rss,
             exit, signal, error, args, stderr_tail, backtrace, reproduce, flaky, value, payload, stdout, stderr)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
             ?22, ?23)";
            let Item { exit, signal, error, args, stderr_tail, backtrace, reproduce, printed, .. } = item;
            let printed = printed.as_ref().map(|printed| (&printed.stdout, &printed.stderr)).unzip();
            connection.prepare_cached(insert)?.execute(params![
                index,
                key,
                outcome,
                attempts,
                session,
                slot,
                pid,
                started_at,
                wall,
                cpu,
                peak_rss,
                exit,
                signal,
                error,
                args,
                stderr_tail,
                backtrace,
                reproduce,
                item.is_flaky,
                value,
                payload,
                printed.0,
                printed.1
            ])?;
        }
        Ok(())
    }
}

/// Whether it has a value and nothing else that is rare.
fn is_value(item: &Item) -> bool {
    item.is_ok() && item.printed.is_none()
}

/// What writes so many values.
fn insert_of(rows: usize) -> String {
    let row = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    format!("INSERT INTO item {COLUMNS} VALUES {}", vec![row; rows].join(", "))
}

/// Gives the statement its row, counted from 0.
fn bind(statement: &mut CachedStatement<'_>, row: usize, session: i64, item: &Item) -> rusqlite::Result<()> {
    let key = item.key.as_ref().map(Key::as_bytes);
    let values = params![
        item.index,
        key,
        item.outcome,
        item.attempts,
        session,
        item.slot,
        item.pid,
        item.started_at.map(seconds),
        item.wall.map(|wall| wall.as_secs_f64()),
        item.cpu.map(|cpu| cpu.as_secs_f64()),
        item.peak_rss,
        item.value,
        item.payload,
        item.is_flaky
    ];
    for (column, value) in values.iter().enumerate() {
        statement.raw_bind_parameter(row * values.len() + column + 1, value)?;
    }
    Ok(())
}

/// Whether there is a row of that item. The statement is undone then, and the transaction is not.
fn is_taken(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_CONSTRAINT_PRIMARYKEY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    #[test]
    fn a_row_replaces_that_of_its_item_and_no_other() {
        let connection = Connection::open_in_memory().unwrap();
        schema::create(&connection, |_| Ok(())).unwrap();
        let value =
            |index, text: &str| Item { value: Some(text.to_owned()), ..Item::value(index, Key::of(&[1])) };
        let failed =
            |index, outcome: &'static str| Item { index, outcome: outcome.into(), ..Item::default() };
        let transaction = connection.unchecked_transaction().unwrap();
        let mut rows = Rows::new(&connection, 1);
        let flaky = Item { is_flaky: true, ..value(2, "again") };
        let items = [
            failed(0, "panicked"),
            failed(1, INVALID),
            value(2, "first"),
            value(0, "zero"),
            value(1, "one"),
            value(3, "three"),
            flaky,
            // What was read before stands.
            failed(3, INVALID),
        ];
        rows.insert(&items).unwrap();
        // Of several that are written together one is there.
        let later: Vec<Item> = (3..20).map(|index| value(index, "later")).collect();
        rows.insert(&later[1..]).unwrap();
        rows.insert(&later[4..]).unwrap();
        drop(rows);
        transaction.commit().unwrap();
        let mut query =
            connection.prepare("SELECT outcome, value, flaky FROM item WHERE idx < 4 ORDER BY idx").unwrap();
        let found = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        let found: Vec<(String, String, bool)> = found.map(Result::unwrap).collect();
        let expected = [("zero", false), ("one", false), ("again", true), ("three", false)];
        let count: u64 = connection.query_row("SELECT count(*) FROM item", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 20);
        assert_eq!(found, expected.map(|(value, flaky)| ("ok".to_owned(), value.to_owned(), flaky)));
    }
}
