//! What was seen of an episode: facts without a judgement.

use std::time::Duration;

use procession::{Error, ErrorKind, WorkerExit};

use crate::ledger::Start;
use crate::plan::Call;
use crate::tag::Tag;

/// Everything that was seen of an episode.
#[derive(Default)]
pub(crate) struct Evidence {
    pub(crate) calls: Vec<Seen>,
    /// In the order they happened.
    pub(crate) starts: Vec<Start>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) exits: Vec<Exit>,
    /// The pool was terminated while calls were under way.
    pub(crate) is_terminated: bool,
    /// The initializer ends some workers.
    pub(crate) is_frail: bool,
}

/// What became of one call, or of a burst of single ones.
pub(crate) struct Seen {
    pub(crate) call: Call,
    /// How many items the pool took: all of a burst, of a lazy call those that were pulled.
    pub(crate) taken: u32,
    pub(crate) told: Told,
    /// What was answered to an attempt to cancel the handle of a whole map, if there was one.
    pub(crate) cancelled: Option<bool>,
    /// How often a callback was called, and how often one should have been.
    pub(crate) callbacks: (u32, u32),
    /// How long it took, from the call to the last outcome that was waited for.
    pub(crate) took: Duration,
}

/// What the caller was told.
pub(crate) enum Told {
    /// One outcome for each item, in the order they came.
    Each(Vec<Outcome>),
    /// As far as they were taken before the stream was dropped.
    Some(Vec<Outcome>),
    /// One failure for the whole call.
    Failure(Failure),
}

/// What became of one item.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Which item it is of, by its place in the order or by the handle it came from; `None`: as it says itself.
    pub(crate) index: Option<u32>,
    pub(crate) result: Result<Tag, Box<Failure>>,
    /// What was answered to an attempt to cancel it, if there was one.
    pub(crate) cancelled: Option<bool>,
}

/// An item without a right value.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// What the library said.
    Error(Said),
    /// The value is not the item's.
    Wrong(String),
    /// Nothing came in time.
    Missing,
}

/// What an error of the library says.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) kind: ErrorKind,
    pub(crate) item: Option<u64>,
    pub(crate) attempts: u32,
    pub(crate) pid: Option<u32>,
    pub(crate) exit: Option<WorkerExit>,
    pub(crate) ran: Option<Duration>,
    pub(crate) panic_message: Option<String>,
    pub(crate) text: String,
}

/// A signal that was sent to a process from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) pid: u32,
    pub(crate) signal: i32,
    /// It reached the worker by way of the process it was forked from.
    pub(crate) by_helper: bool,
}

/// How a worker ended, by the pool's own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) pid: u32,
    pub(crate) exit: WorkerExit,
    /// Whether an item was running.
    pub(crate) running: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(Said {
            kind: error.kind(),
            item: error.item(),
            attempts: error.attempts(),
            pid: error.pid(),
            exit: error.exit(),
            ran: error.run_time(),
            panic_message: error.panic_message().map(str::to_owned),
            text: error.to_string(),
        })
    }
}
