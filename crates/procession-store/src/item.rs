//! One item's row, and the sum of all of them.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::key::Key;

/// The outcome of an item that has a value.
pub const OK: &str = "ok";

/// The outcome of an item whose arguments could not be read.
pub const INVALID: &str = "invalid_input";

/// The outcome of an item that a killed master may have begun.
pub const UNKNOWN: &str = "unknown";

/// What became of one item.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// Its place in the input, from 0.
    pub index: u64,
    /// Of its arguments, where it has any.
    pub key: Option<Key>,
    /// `ok`, or the word for what became of it.
    pub outcome: Cow<'static, str>,
    /// Starts after which it had this outcome.
    pub attempts: u32,
    /// It has a value, and had failed by itself before.
    pub is_flaky: bool,
    /// The worker of the last start.
    pub slot: Option<u32>,
    /// Its process id.
    pub pid: Option<u32>,
    /// When it began.
    pub started_at: Option<SystemTime>,
    /// How long it ran.
    pub wall: Option<Duration>,
    /// Processor time it took.
    pub cpu: Option<Duration>,
    /// The most memory its worker had until then, in bytes.
    pub peak_rss: Option<u64>,
    /// The worker's exit status, where that ended it.
    pub exit: Option<i32>,
    /// The signal that ended its worker.
    pub signal: Option<i32>,
    /// Why it has no value.
    pub error: Option<String>,
    /// Its arguments as a JSON array, if it is a command or has no value.
    pub args: Option<String>,
    /// The last that its worker wrote to standard error.
    pub stderr_tail: Option<String>,
    /// Where it was when it ended.
    pub backtrace: Option<String>,
    /// The command that runs it alone.
    pub reproduce: Option<String>,
    /// Its value, as JSON.
    pub value: Option<String>,
    /// Its value as the program encodes it, where that is kept.
    pub payload: Option<Vec<u8>>,
    /// What it printed, if it is a command. It is written with the rest, and read by
    /// [`Reader::printed`](crate::Reader::printed) alone: many of them may not fit in memory.
    pub printed: Option<Printed>,
}

/// What a command printed, byte by byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// To its standard output.
    pub stdout: Vec<u8>,
    /// To its standard error.
    pub stderr: Vec<u8>,
}

impl Item {
    /// An item that has a value, at its first attempt.
    pub fn value(index: u64, key: Key) -> Item {
        Item { index, key: Some(key), outcome: Cow::Borrowed(OK), attempts: 1, ..Item::default() }
    }

    /// The parts of it that may be large, in bytes.
    pub(crate) fn bulk(&self) -> usize {
        let printed = self.printed.as_ref().map_or(0, |printed| printed.stdout.len() + printed.stderr.len());
        let texts =
            [&self.value, &self.args, &self.error, &self.stderr_tail, &self.backtrace, &self.reproduce];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        printed + texts + self.payload.as_ref().map_or(0, Vec::len)
    }

    /// Whether it has a value.
    pub fn is_ok(&self) -> bool {
        self.outcome == OK
    }
}

/// How many items there are of each outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Items with a value.
    pub values: u64,
    /// Of them, those that had failed before.
    pub flaky: u64,
    /// The other outcomes by name, with how many items have each.
    pub without: Vec<(String, u64)>,
}

impl Tally {
    /// Items without a value.
    pub fn failures(&self) -> u64 {
        self.without.iter().map(|(_, items)| items).sum()
    }

    /// Items that have an outcome.
    pub fn items(&self) -> u64 {
        self.values + self.failures()
    }
}

/// Seconds since 1970, as the database has them.
pub(crate) fn seconds(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

/// The time that so many seconds since 1970 are; nonsense is 1970.
pub(crate) fn time(seconds: f64) -> SystemTime {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|since| UNIX_EPOCH.checked_add(since))
        .unwrap_or(UNIX_EPOCH)
}
