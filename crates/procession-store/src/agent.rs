//! Agents: programs on other machines that ran items, where a run had some.

use std::time::SystemTime;

use rusqlite::{Connection, params};

use crate::error::Error;
use crate::item::{seconds, time};
use crate::reader::Reader;
use crate::schema;

/// An agent that took part in a session, from when it was first heard of until it left.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentStay {
    /// The session.
    pub session: i64,
    /// Its name: its machine, its process, and a few digits.
    pub name: String,
    /// The slot of its first worker; those of the others follow.
    pub first_slot: u32,
    /// How many workers it had.
    pub workers: u32,
    /// When it was first heard of.
    pub joined_at: SystemTime,
    /// When it left, or was given up, or the session ended; None: it is there, or the master was killed.
    pub left_at: Option<SystemTime>,
    /// Why it was gone before the session was; see [`Leaving::name`].
    pub leaving: Option<String>,
    /// Chunks whose leases it had when it was last heard of.
    pub chunks: u64,
}

/// Why an agent is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It said so.
    Left,
    /// It was not heard of any more.
    Silent,
    /// Its pool could run nothing.
    Broken,
}

impl Leaving {
    /// The word in the database.
    pub fn name(self) -> &'static str {
        match self {
            Leaving::Left => "left",
            Leaving::Silent => "silent",
            Leaving::Broken => "broken",
        }
    }
}

/// What becomes of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentNews {
    /// Its name.
    pub name: String,
    /// What it is.
    pub what: AgentChange,
}

/// See [`AgentNews`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentChange {
    /// It takes part.
    Joined {
        /// The slot of its first worker.
        first_slot: u32,
        /// How many workers it has.
        workers: u32,
    },
    /// It has the leases of so many chunks.
    Holds(u64),
    /// It takes part no longer.
    Gone(Leaving),
}

/// Puts on record what became of an agent.
pub(crate) fn write(
    connection: &Connection,
    session: i64,
    (news, at): (&AgentNews, f64),
) -> Result<(), Error> {
    let AgentNews { name, what } = news;
    let here = "WHERE session = ?1 AND name = ?2 AND left_at IS NULL";
    match *what {
        AgentChange::Joined { first_slot, workers } => {
            let insert = "INSERT INTO agent (session, name, first_slot, workers, joined_at) VALUES (?1, ?2, ?3, ?4, ?5)";
            connection.prepare_cached(insert)?.execute(params![session, name, first_slot, workers, at])?;
        }
        AgentChange::Holds(chunks) => {
            let update = format!("UPDATE agent SET chunks = ?3 {here}");
            connection.prepare_cached(&update)?.execute(params![session, name, chunks])?;
        }
        AgentChange::Gone(leaving) => {
            let update = format!("UPDATE agent SET left_at = ?3, leaving = ?4 {here}");
            connection.prepare_cached(&update)?.execute(params![session, name, at, leaving.name()])?;
        }
    }
    Ok(())
}

/// A session has ended, and with it the part of every agent that is still there.
pub(crate) fn end(connection: &Connection, session: i64, at: f64) -> Result<(), Error> {
    let update = "UPDATE agent SET left_at = ?2, chunks = 0 WHERE session = ?1 AND left_at IS NULL";
    connection.execute(update, params![session, at])?;
    Ok(())
}

impl Reader {
    /// The agents that took part, in the order in which they joined.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn agents(&self) -> Result<Vec<AgentStay>, Error> {
        if schema::version(self.connection())? < 5 {
            return Ok(Vec::new());
        }
        let query = "SELECT session, name, first_slot, workers, joined_at, left_at, leaving, chunks FROM agent ORDER BY rowid";
        let mut query = self.connection().prepare(query)?;
        let rows = query.query_map([], |row| {
            Ok(AgentStay {
                session: row.get(0)?,
                name: row.get(1)?,
                first_slot: row.get(2)?,
                workers: row.get(3)?,
                joined_at: time(row.get(4)?),
                left_at: row.get::<_, Option<f64>>(5)?.map(time),
                leaving: row.get(6)?,
                chunks: row.get(7)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many items of a session have an outcome, by the slot of their worker, and how many of them have ended since a time.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn done(&self, session: i64, since: SystemTime) -> Result<Vec<Done>, Error> {
        let query = "SELECT slot, count(*), count(*) FILTER (WHERE started_at + wall_s >= ?2) FROM item
                     WHERE session = ?1 GROUP BY slot ORDER BY slot";
        let mut query = self.connection().prepare(query)?;
        let rows = query.query_map(params![session, seconds(since)], |row| {
            Ok(Done { slot: row.get(0)?, items: row.get(1)?, lately: row.get(2)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Items that one worker ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Which worker; None: nobody knows.
    pub slot: Option<u32>,
    /// How many have an outcome.
    pub items: u64,
    /// How many of them have ended since the time that was asked for.
    pub lately: u64,
}
