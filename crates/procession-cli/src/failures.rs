//! Items without a value, one JSON line each: which, with what arguments, what became of it and why.

use std::path::Path;
use std::time::Duration;

use procession::{Error, ErrorKind, Payload, TaskInfo, WorkerExit};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::diagnostic::Diagnostic;
use crate::exec;
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

    /// Records an item that ended without a value; before that it had been started so often.
    pub(crate) fn item(
        &mut self,
        index: u64,
        args: Option<&Payload>,
        (error, starts): (&Error, u32),
        message: &str,
    ) -> Result<(), Stop> {
        let (exit, signal) = exit_of(error.exit());
        let failure = Failure {
            index,
            args: args.and_then(|args| args_json(self.task, args)),
            input: None,
            outcome: outcome(error).id,
            attempts: error.attempts() + starts,
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

    /// Records an item that had no value in an earlier session.
    pub(crate) fn earlier(&mut self, item: &procession_store::Item) -> Result<(), Stop> {
        self.write(&Failure::of(item))
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
        (flaw, starts): (&Flaw, u32),
        what: &str,
    ) -> Result<(), Stop> {
        self.write(&Failure {
            index,
            args: args.and_then(|args| args_json(self.task, args)),
            outcome: flaw.outcome.id,
            attempts: 1 + starts,
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

impl Failure<'_> {
    /// What the run store has of an item without a value.
    fn of(item: &procession_store::Item) -> Failure<'_> {
        Failure {
            index: item.index,
            args: item.args.clone().and_then(|args| RawValue::from_string(args).ok()),
            outcome: &item.outcome,
            attempts: item.attempts,
            exit: item.exit,
            signal: item.signal,
            error: item.error.as_deref().unwrap_or_default(),
            pid: item.pid,
            run_s: item.wall.map(|time| time.as_secs_f64()),
            cpu_s: item.cpu.map(|time| time.as_secs_f64()),
            peak_rss_bytes: item.peak_rss,
            backtrace: item.backtrace.as_deref(),
            stderr_tail: item.stderr_tail.as_deref(),
            reproduce: item.reproduce.clone(),
            ..Failure::default()
        }
    }
}

/// An item without a value that the run store has, as a line of a failures file.
pub(crate) fn earlier_json(item: &procession_store::Item) -> Result<String, Stop> {
    serde_json::to_string(&Failure::of(item))
        .map_err(|error| Stop::Unwritable(format!("cannot write a failure as JSON: {error}")))
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

/// It may have been running when the master was killed.
pub(crate) const UNKNOWN: Outcome = Outcome { id: "unknown", words: "unknown" };
/// Its task panicked.
pub(crate) const PANICKED: Outcome = Outcome { id: "panicked", words: "panicked" };
/// It ran for too long.
pub(crate) const TIMED_OUT: Outcome = Outcome { id: "timed_out", words: "timed out" };

/// It was running when the run was stopped.
pub(crate) const TERMINATED: Outcome = Outcome { id: "terminated", words: "stopped while running" };
/// It was running when its call was cancelled.
pub(crate) const CANCELLED: Outcome = Outcome { id: "cancelled", words: "cancelled" };

const FAILED: Outcome = Outcome { id: "failed", words: "failed" };

const NAMED: [Outcome; 15] = [
    INVALID,
    UNWRITTEN,
    UNKNOWN,
    TERMINATED,
    CANCELLED,
    PANICKED,
    Outcome { id: "worker_lost", words: "worker lost" },
    Outcome { id: "out_of_memory", words: "out of memory" },
    TIMED_OUT,
    Outcome { id: "quarantined", words: "quarantined" },
    Outcome { id: "encode", words: "not encodable" },
    Outcome { id: "decode", words: "not decodable" },
    Outcome { id: "too_large", words: "too large" },
    Outcome { id: "unknown_task", words: "unknown task" },
    Outcome { id: "initializer", words: "initializer failed" },
];

impl Outcome {
    /// Whether it cost the item its worker.
    pub(crate) fn is_loss(self) -> bool {
        ["worker_lost", "out_of_memory", "quarantined"].contains(&self.id)
    }

    /// Whether the item ran, so that it says something of how fast items run.
    pub(crate) fn ran(self) -> bool {
        ![INVALID, NOT_RUN, CANCELLED, UNKNOWN].contains(&self)
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
    let id = match error.kind() {
        ErrorKind::Panicked => "panicked",
        ErrorKind::WorkerLost => "worker_lost",
        ErrorKind::OutOfMemory => "out_of_memory",
        ErrorKind::TimedOut => "timed_out",
        ErrorKind::Quarantined => "quarantined",
        ErrorKind::Encode => "encode",
        ErrorKind::Decode => "decode",
        ErrorKind::TooLarge => "too_large",
        ErrorKind::UnknownTask => "unknown_task",
        ErrorKind::Initializer => "initializer",
        ErrorKind::Terminated if started => return TERMINATED,
        ErrorKind::Cancelled if started => return CANCELLED,
        ErrorKind::Closed | ErrorKind::Broken if started => return TERMINATED,
        ErrorKind::Cancelled | ErrorKind::Terminated | ErrorKind::Closed | ErrorKind::Broken => {
            return NOT_RUN;
        }
        _ => "failed",
    };
    named(id)
}

/// The outcome of that name.
pub(crate) fn named(id: &str) -> Outcome {
    NAMED.into_iter().chain(exec::OUTCOMES).find(|outcome| outcome.id == id).unwrap_or(FAILED)
}

/// How a process ended: its exit status, or its signal. The error says in words what neither can.
pub(crate) fn exit_of(exit: Option<WorkerExit>) -> (Option<i32>, Option<i32>) {
    match exit {
        Some(WorkerExit::Code(code)) => (Some(code), None),
        Some(WorkerExit::Signal(signal)) => (None, Some(signal)),
        Some(_) | None => (None, None),
    }
}
