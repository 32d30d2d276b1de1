//! Items without a value, one JSON line each: which, with what arguments, what became of it and why.

use std::path::Path;
use std::time::Duration;

use procession::{Error, ErrorKind, Payload, TaskInfo, WorkerExit};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::diagnostic::Diagnostic;
use crate::exit::Stop;
use crate::job::Job;
use crate::output::Sink;
use crate::reproduce::{Reproduction, args_json};

/// The failures of a run, being written.
pub(crate) struct Failures {
    sink: Sink,
    task: &'static TaskInfo,
    reproduction: Reproduction,
}

/// One line of the file.
#[derive(Default, Serialize)]
struct Failure<'a> {
    index: u64,
    /// Absent where the row was malformed.
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Box<RawValue>>,
    /// The row as it was written, where it was malformed.
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
    outcome: &'a str,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    error: &'a str,
    /// The process that was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_rss_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args_digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backtrace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr_tail: Option<&'a str>,
    /// What to type to run it alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    reproduce: Option<String>,
}

/// Which item it is: by its arguments, or by its row where that makes none.
struct Item<'a> {
    index: u64,
    args: Option<&'a Payload>,
    input: Option<&'a str>,
}

impl Failures {
    pub(crate) fn open(path: &Path, job: &Job) -> Result<Failures, Stop> {
        Ok(Failures { sink: Sink::file(path)?, task: job.task, reproduction: Reproduction::new(job) })
    }

    /// The run has begun.
    pub(crate) fn begin(&mut self) -> Result<(), Stop> {
        self.sink.begin()
    }

    /// Records an item that ended without a value.
    pub(crate) fn item(
        &mut self,
        index: u64,
        args: Option<&Payload>,
        error: &Error,
        message: &str,
    ) -> Result<(), Stop> {
        let (exit, signal) = match error.exit() {
            Some(WorkerExit::Code(code)) => (Some(code), None),
            Some(WorkerExit::Signal(signal)) => (None, Some(signal)),
            // Unknown, or a way to end that this version has no field for; the error says it in words.
            Some(_) | None => (None, None),
        };
        let failure = Failure {
            index,
            args: args.and_then(|args| args_json(self.task, args)),
            input: None,
            outcome: outcome(error).id,
            attempts: error.attempts(),
            exit,
            signal,
            error: message,
            pid: error.pid(),
            run_s: error.run_time().map(|time| time.as_secs_f64()),
            cpu_s: error.cpu_time().map(|time| time.as_secs_f64()),
            peak_rss_bytes: error.peak_rss(),
            args_digest: error.args_digest(),
            backtrace: error.backtrace(),
            stderr_tail: error.stderr_tail().filter(|tail| !tail.is_empty()),
            reproduce: args.filter(|_| is_reproducible(error)).and_then(|args| self.reproduction.line(args)),
        };
        self.write(&failure)
    }

    /// Records an item that never ran because its row is malformed.
    pub(crate) fn invalid(&mut self, index: u64, refusal: &Diagnostic) -> Result<(), Stop> {
        let input = refusal.input();
        self.plain(Item { index, args: None, input }, &INVALID, 0, &refusal.plain_headline())
    }

    /// Records a value that counts as a failure; `what` is what was said of it.
    pub(crate) fn flawed(
        &mut self,
        index: u64,
        args: Option<&Payload>,
        flaw: &Flaw,
        what: &str,
    ) -> Result<(), Stop> {
        self.write(&Failure {
            index,
            args: args.and_then(|args| args_json(self.task, args)),
            outcome: flaw.outcome.id,
            attempts: 1,
            exit: flaw.exit,
            signal: flaw.signal,
            error: what,
            run_s: flaw.ran.map(|ran| ran.as_secs_f64()),
            stderr_tail: flaw.stderr.as_deref(),
            reproduce: args.filter(|_| flaw.is_reproducible).and_then(|args| self.reproduction.line(args)),
            ..Failure::default()
        })
    }

    /// Records an item that was never handed out.
    pub(crate) fn not_run(&mut self, index: u64, args: Option<&Payload>, why: &str) -> Result<(), Stop> {
        self.plain(Item { index, args, input: None }, &NOT_RUN, 0, why)
    }

    pub(crate) fn flush(&mut self) -> Result<(), Stop> {
        self.sink.flush()
    }

    fn plain(&mut self, item: Item<'_>, outcome: &Outcome, attempts: u32, error: &str) -> Result<(), Stop> {
        let Item { index, args, input } = item;
        let args = args.and_then(|args| args_json(self.task, args));
        let outcome = outcome.id;
        self.write(&Failure { index, args, input, outcome, attempts, error, ..Failure::default() })
    }

    fn write(&mut self, failure: &Failure<'_>) -> Result<(), Stop> {
        let mut line = serde_json::to_vec(failure)
            .map_err(|error| Stop::Unwritable(format!("cannot write a failure as JSON: {error}")))?;
        line.push(b'\n');
        self.sink.write(&line)
    }
}

/// Why a value counts as a failure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flaw {
    pub(crate) outcome: Outcome,
    pub(crate) what: String,
    pub(crate) exit: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) ran: Option<Duration>,
    /// The end of what it said.
    pub(crate) stderr: Option<String>,
    /// Whether the item itself came to this.
    pub(crate) is_reproducible: bool,
}

/// A value that the chosen format cannot say, for this reason.
impl From<String> for Flaw {
    fn from(what: String) -> Flaw {
        Flaw { outcome: UNWRITTEN, what, ..Flaw::default() }
    }
}

/// What became of an item without a value: for programs and for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Outcome {
    /// The word in the failures file.
    pub(crate) id: &'static str,
    /// The words in the summary.
    pub(crate) words: &'static str,
}

/// The row was malformed.
pub(crate) const INVALID: Outcome = Outcome { id: "invalid_input", words: "invalid input" };
/// There is a value, and the chosen format cannot say it.
pub(crate) const UNWRITTEN: Outcome = Outcome { id: "unwritable_value", words: "not writable" };
/// The run was stopped before it could start or finish.
pub(crate) const NOT_RUN: Outcome = Outcome { id: "not_run", words: "not run" };

/// It ran for too long.
pub(crate) const TIMED_OUT: Outcome = Outcome { id: "timed_out", words: "timed out" };

/// It was running when the run was stopped.
const TERMINATED: Outcome = Outcome { id: "terminated", words: "stopped while running" };
/// It was running when its call was cancelled.
const CANCELLED: Outcome = Outcome { id: "cancelled", words: "cancelled" };

impl Outcome {
    /// Whether the item ran, so that it says something of how fast items run.
    pub(crate) fn ran(self) -> bool {
        ![INVALID, NOT_RUN, CANCELLED].contains(&self)
    }
}

/// Whether the item itself came to this, so that it may again: it ran, and nobody stopped it.
pub(crate) fn is_reproducible(error: &Error) -> bool {
    let outcome = outcome(error);
    error.attempts() > 0 && outcome.ran() && ![UNWRITTEN, TERMINATED].contains(&outcome)
}

/// What an error of the pool means for its item.
pub(crate) fn outcome(error: &Error) -> Outcome {
    let started = error.attempts() > 0;
    let (id, words) = match error.kind() {
        ErrorKind::Panicked => ("panicked", "panicked"),
        ErrorKind::WorkerLost => ("worker_lost", "worker lost"),
        ErrorKind::OutOfMemory => ("out_of_memory", "out of memory"),
        ErrorKind::TimedOut => return TIMED_OUT,
        ErrorKind::Quarantined => ("quarantined", "quarantined"),
        ErrorKind::Encode => ("encode", "not encodable"),
        ErrorKind::Decode => ("decode", "not decodable"),
        ErrorKind::TooLarge => ("too_large", "too large"),
        ErrorKind::UnknownTask => ("unknown_task", "unknown task"),
        ErrorKind::Initializer => ("initializer", "initializer failed"),
        ErrorKind::Terminated if started => return TERMINATED,
        ErrorKind::Cancelled if started => return CANCELLED,
        ErrorKind::Cancelled | ErrorKind::Terminated | ErrorKind::Closed | ErrorKind::Broken => {
            return NOT_RUN;
        }
        _ => ("failed", "failed"),
    };
    Outcome { id, words }
}
