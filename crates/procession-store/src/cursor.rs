//! Rows that are taken one by one, when whoever asks wants the next: several run directories can be gone through side by side.

use rusqlite::{Row, Rows, Statement, Transaction};

use crate::error::Error;
use crate::item::Item;
use crate::reader::{COLUMNS, Reader, item};

/// A question that has been put, and not been asked yet.
///
/// ```no_run
/// let reader = procession_store::Reader::open("monday".as_ref())?;
/// for item in reader.items()?.ask()? {
///     println!("{}", item?.index);
/// }
/// # Ok::<(), procession_store::Error>(())
/// ```
pub struct Query<'a, T> {
    statement: Statement<'a>,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
}

/// The answers to a question, read as they are asked for. After an error there are none.
pub struct Answers<'a, T> {
    rows: Option<Rows<'a>>,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
}

/// As long as this lives, a reader sees the run as it was at one moment.
pub struct Moment<'a> {
    _transaction: Transaction<'a>,
}

impl Reader {
    /// Holds on to this moment, whatever a master writes meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn hold(&self) -> Result<Moment<'_>, Error> {
        let transaction = self.connection().unchecked_transaction()?;
        // It is the first question that fixes the moment.
        transaction.query_row("SELECT count(*) FROM job", [], |_| Ok(()))?;
        Ok(Moment { _transaction: transaction })
    }

    /// The items that have an outcome, in order: no more than one of them is in memory.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn items(&self) -> Result<Query<'_, Item>, Error> {
        self.query(COLUMNS, item)
    }

    /// The indices of the items that have an outcome, in order.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn indices(&self) -> Result<Query<'_, u64>, Error> {
        self.query("idx", |row| row.get(0))
    }

    fn query<T>(
        &self,
        columns: &str,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Query<'_, T>, Error> {
        let query = format!("SELECT {columns} FROM item ORDER BY idx");
        Ok(Query { statement: self.connection().prepare(&query)?, read })
    }
}

impl<T> Query<'_, T> {
    /// Asks it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn ask(&mut self) -> Result<Answers<'_, T>, Error> {
        Ok(Answers { rows: Some(self.statement.query([])?), read: self.read })
    }
}

impl<T> Iterator for Answers<'_, T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Result<T, Error>> {
        let next = match self.rows.as_mut()?.next() {
            Ok(Some(row)) => return Some((self.read)(row).map_err(Error::from)),
            Ok(None) => None,
            Err(error) => Some(Err(error.into())),
        };
        self.rows = None;
        next
    }
}
