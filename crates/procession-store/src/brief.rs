//! Questions about all items at once: answered row by row, so that memory does not grow with the items.

use rusqlite::Row;

use crate::error::Error;
use crate::reader::Reader;

/// What an item's row has of fixed size. Times are seconds since 1970, durations seconds; numbers that make no sense
/// there, such as a negative duration, are absent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Brief<'a> {
    /// Its place in the input, from 0.
    pub index: u64,
    /// `ok`, or the word for what became of it.
    pub outcome: &'a str,
    /// Starts after which it had this outcome.
    pub attempts: u32,
    /// The session that it belongs to.
    pub session: i64,
    /// The worker of the last start.
    pub slot: Option<u32>,
    /// Its process id.
    pub pid: Option<u32>,
    /// When it began.
    pub started_at: Option<f64>,
    /// How long it ran.
    pub wall_s: Option<f64>,
    /// Processor time it took.
    pub cpu_s: Option<f64>,
    /// The most memory its worker had until then, in bytes.
    pub peak_rss: Option<u64>,
}

/// In which order items are gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By index: the cheapest.
    Input,
    /// Session by session, worker by worker, and there as they began.
    Lane,
}

/// Why an item has no value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cause<'a> {
    /// Its place in the input, from 0.
    pub index: u64,
    /// The word for what became of it.
    pub outcome: &'a str,
    /// The reason, if one is known.
    pub error: Option<&'a str>,
}

impl Reader {
    /// Asks several questions of the same moment, whatever a master writes meanwhile.
    ///
    /// # Errors
    /// Those of the questions, and [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn at_once<T, E: From<Error>>(&self, ask: impl FnOnce(&Reader) -> Result<T, E>) -> Result<T, E> {
        let transaction = self.connection().unchecked_transaction().map_err(Error::from)?;
        let answer = ask(self)?;
        transaction.finish().map_err(Error::from)?;
        Ok(answer)
    }

    /// Shows every item that has an outcome.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io), and what `show` returns.
    pub fn briefs<E: From<Error>>(
        &self,
        order: Order,
        mut show: impl FnMut(Brief<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let order = match order {
            Order::Input => "idx",
            Order::Lane => "session, slot, started_at",
        };
        let query = format!(
            "SELECT idx, outcome, attempts, session, slot, pid, started_at, wall_s, cpu_s, peak_rss
             FROM item ORDER BY {order}"
        );
        self.each(&query, |row| show(brief(row).map_err(Error::from)?))
    }

    /// Shows why each item without a value has none, in the order of their indices.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io), and what `show` returns.
    pub fn causes<E: From<Error>>(&self, mut show: impl FnMut(Cause<'_>) -> Result<(), E>) -> Result<(), E> {
        self.each("SELECT idx, outcome, error FROM item WHERE outcome <> 'ok' ORDER BY idx", |row| {
            show(cause(row).map_err(Error::from)?)
        })
    }

    fn each<E: From<Error>>(
        &self,
        query: &str,
        mut show: impl FnMut(&Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut query = self.connection().prepare(query).map_err(Error::from)?;
        let mut rows = query.query([]).map_err(Error::from)?;
        while let Some(row) = rows.next().map_err(Error::from)? {
            show(row)?;
        }
        Ok(())
    }
}

fn brief<'a>(row: &'a Row<'_>) -> rusqlite::Result<Brief<'a>> {
    let sensible = |at| -> rusqlite::Result<Option<f64>> {
        Ok(row.get::<_, Option<f64>>(at)?.filter(|number| number.is_finite() && *number >= 0.0))
    };
    Ok(Brief {
        index: row.get(0)?,
        outcome: row.get_ref(1)?.as_str()?,
        attempts: row.get(2)?,
        session: row.get(3)?,
        slot: row.get(4)?,
        pid: row.get(5)?,
        started_at: sensible(6)?,
        wall_s: sensible(7)?,
        cpu_s: sensible(8)?,
        peak_rss: row.get(9)?,
    })
}

fn cause<'a>(row: &'a Row<'_>) -> rusqlite::Result<Cause<'a>> {
    Ok(Cause {
        index: row.get(0)?,
        outcome: row.get_ref(1)?.as_str()?,
        error: row.get_ref(2)?.as_str_or_null()?,
    })
}
