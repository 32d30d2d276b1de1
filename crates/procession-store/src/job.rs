//! What a run directory says of the job, of the masters that worked on it, and of their workers.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::selection::Selection;

/// The job that a run directory is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// What people call it.
    pub name: String,
    /// The task's full path.
    pub task: String,
    /// Its parameters and what it returns.
    pub signature: String,
    /// Whether its items may be run again after their worker was lost.
    pub idempotent: bool,
    /// What is made of the values, if anything is.
    pub reduce: Option<String>,
    /// Where items come from, in words.
    pub source: String,
    /// How many there are, where that is known.
    pub items: Option<u64>,
    /// Which of them are this run's.
    pub selection: Selection,
    /// A digest of their keys, in order, where that is known: see [`InputDigest`](crate::InputDigest).
    pub input: Option<Key>,
    /// The file in the run directory that keeps the input, where it cannot be read a second time elsewhere.
    pub kept: Option<String>,
    /// The job spec as it was read.
    pub spec: Option<String>,
    /// The command line that began it.
    pub argv: Vec<String>,
    /// Where that was typed.
    pub cwd: PathBuf,
}

impl Job {
    /// How many items this run has, where that is known.
    pub fn selected(&self) -> Option<u64> {
        self.items.map(|items| self.selection.count(items))
    }

    /// Refuses a job of more items than a run directory has room for.
    ///
    /// # Errors
    /// [`ErrorKind::TooMany`].
    pub fn check_room(&self) -> Result<(), Error> {
        match self.items {
            Some(items) if i64::try_from(items).is_err() => {
                let what =
                    format!("a run directory has room for {} items, and the job has {items}", i64::MAX);
                Err(Error::new(ErrorKind::TooMany, what))
            }
            _ => Ok(()),
        }
    }
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every item has a value.
    Complete,
    /// Some items have none.
    Incomplete,
    /// A signal asked for it.
    Signalled,
    /// The pool broke.
    Broken,
    /// Results could not be written.
    Unwritable,
}

impl Ending {
    /// The word in the database.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Complete => "complete",
            Ending::Incomplete => "incomplete",
            Ending::Signalled => "signalled",
            Ending::Broken => "broken",
            Ending::Unwritable => "unwritable",
        }
    }
}

/// One start of a master.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// From 1.
    pub id: i64,
    /// The master's process id.
    pub pid: u32,
    /// The machine's name.
    pub host: String,
    /// Which program.
    pub version: String,
    /// How many workers of its machine it had; 0: items ran where agents were.
    pub workers: u32,
    /// When it began.
    pub started_at: SystemTime,
    /// When it ended, if it lived to write that down.
    pub ended_at: Option<SystemTime>,
    /// How; see [`Ending::name`].
    pub ending: Option<String>,
}

/// One worker process.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerLife {
    /// The session it belongs to.
    pub session: i64,
    /// Which of the workers it was, from 0.
    pub slot: u32,
    /// Its process id.
    pub pid: u32,
    /// When it began.
    pub started_at: SystemTime,
    /// When it ended, if that was seen.
    pub ended_at: Option<SystemTime>,
    /// Its exit status.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}
