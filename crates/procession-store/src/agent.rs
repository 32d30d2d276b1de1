//! Agents: programs on other machines that ran items, where a run had some.

use std::collections::BTreeMap;
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

/// Whose workers slots are.
#[derive(Clone, Debug, Default)]
pub struct Seating(BTreeMap<u32, (u32, String)>);

impl Seating {
    /// That of these agents.
    pub fn of(stays: &[AgentStay]) -> Seating {
        let mut seating = Seating::default();
        stays.iter().for_each(|stay| seating.seat(&stay.name, stay.first_slot, stay.workers));
        seating
    }

    /// An agent has its workers there.
    pub fn seat(&mut self, agent: &str, first_slot: u32, workers: u32) {
        self.0.insert(first_slot, (workers, agent.to_owned()));
    }

    /// How many agents there are.
    pub fn agents(&self) -> usize {
        self.0.len()
    }

    /// Whose worker that is, and which; None: of no agent that is known.
    pub fn of_slot(&self, slot: u32) -> Option<(&str, u32)> {
        let (first, (workers, agent)) = self.0.range(..=slot).next_back()?;
        let worker = slot - first;
        (worker < *workers).then_some((agent, worker))
    }
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
            let update = format!("UPDATE agent SET left_at = ?3, leaving = ?4, chunks = 0 {here}");
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

    /// How many items of a session have ended since it began, and since a time. With agents others may have ended before: when
    /// no master heard them.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn done(&self, session: i64, since: SystemTime) -> Result<(u64, u64), Error> {
        let query = "SELECT count(*), count(*) FILTER (WHERE item.started_at + wall_s >= ?2) FROM item
                     JOIN session ON session.id = item.session
                     WHERE session = ?1 AND coalesce(item.started_at + wall_s >= session.started_at, 1)";
        let done = self
            .connection()
            .query_row(query, params![session, seconds(since)], |row| Ok((row.get(0)?, row.get(1)?)));
        Ok(done?)
    }

    /// How many items of a session have ended since it began, by the slot of their worker.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn done_by_slot(&self, session: i64) -> Result<Vec<(u32, u64)>, Error> {
        let query = "SELECT slot, count(*) FROM item JOIN session ON session.id = item.session
                     WHERE session = ?1 AND slot IS NOT NULL
                           AND coalesce(item.started_at + wall_s >= session.started_at, 1)
                     GROUP BY slot";
        let mut query = self.connection().prepare(query)?;
        let rows = query.query_map([session], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The first slot that no worker of this machine has had.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io).
    pub fn first_free_slot(&self) -> Result<u32, Error> {
        let query = "SELECT max((SELECT coalesce(max(slot) + 1, 0) FROM worker), (SELECT coalesce(max(workers), 0) FROM session))";
        Ok(self.connection().query_row(query, [], |row| row.get(0))?)
    }
}
