//! The one error type: an opaque struct with a kind to match on and a message that names the object.
//!
//! It knows nothing of how a failure was found; the driver, the worker's replies and the callers fill it in.

mod report;

use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

pub use report::{ErrorReport, LossReport};

use crate::crash_report::CrashReport;
use crate::process::{LaunchError, WorkerExit};
use crate::registry::TaskInfo;
use crate::shortage::Shortage;
use crate::stack::{Stack, Top, Trace};

/// What went wrong with a call, an item or a pool.
///
/// The message says what, which and why, for example
/// ``worker lost: `faults::segv`, item 417, attempt 1: signal 11 (SIGSEGV), ran 3 ms, peak rss 14 MiB``.
/// Match on [`kind`](Error::kind) to act on it.
pub struct Error(Box<Inner>);

/// The kinds of [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The task panicked. The worker lives on.
    Panicked,
    /// The worker running the item died before its reply: crashed, was killed or left.
    WorkerLost,
    /// The worker running the item died because memory ran out or met its limit, with proof: the kernel counted the kill,
    /// or the worker's last words say which allocation failed.
    OutOfMemory,
    /// The item ran longer than its time limit, or the whole call than its deadline.
    TimedOut,
    /// An idempotent item lost its worker on every attempt it was allowed.
    Quarantined,
    /// The item was cancelled.
    Cancelled,
    /// An argument or a result could not be encoded.
    Encode,
    /// An argument or a result could not be decoded.
    Decode,
    /// An argument or a result is larger than a message may be, or a result than this program has memory for.
    TooLarge,
    /// The worker does not have the task.
    UnknownTask,
    /// A worker's initializer failed, or the pool's preload.
    Initializer,
    /// The pool is closed and takes no more calls.
    Closed,
    /// The pool was terminated before the item had an outcome.
    Terminated,
    /// The pool gave up: its workers cannot be started or kept alive.
    Broken,
    /// The program never called [`init`](crate::init).
    NotInitialized,
    /// A worker process could not be started.
    Spawn,
    /// There is no memory, or no descriptor, for data that is to be shared.
    Share,
    /// The call itself was wrong: an option out of range, or out of order.
    Usage,
}

/// What is known of the death that cost an item.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loss {
    pub(crate) exit: Option<WorkerExit>,
    pub(crate) note: Option<String>,
    pub(crate) pid: Option<u32>,
    pub(crate) ran: Option<Duration>,
    pub(crate) cpu: Option<Duration>,
    pub(crate) peak_rss: Option<u64>,
    pub(crate) stderr_tail: Option<String>,
    pub(crate) crash: Option<Arc<CrashReport>>,
    /// What memory had to do with it.
    pub(crate) shortage: Shortage,
}

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    task: Option<&'static TaskInfo>,
    item: Option<u64>,
    attempts: u32,
    reason: String,
    args_digest: Option<String>,
    panic_message: Option<String>,
    panic_trace: Option<Arc<Trace>>,
    /// The backtrace as another program told it.
    told_trace: Option<String>,
    loss: Option<Arc<Loss>>,
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The full path of the task it concerns.
    pub fn task(&self) -> Option<&str> {
        self.0.task.map(TaskInfo::path)
    }

    /// The index of the item in its call.
    pub fn item(&self) -> Option<u64> {
        self.0.item
    }

    /// How many times the item was started.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// A digest of the item's arguments, 16 hexadecimal digits, where its worker was lost: equal arguments of one build of
    /// the program have equal digests.
    pub fn args_digest(&self) -> Option<&str> {
        self.0.args_digest.as_deref()
    }

    /// How the worker ended, where the failure is a worker's end.
    pub fn exit(&self) -> Option<WorkerExit> {
        self.loss()?.exit
    }

    /// The lost worker's process id. The system may have given it to another process since.
    pub fn pid(&self) -> Option<u32> {
        self.loss()?.pid
    }

    /// How long the item had run when its worker was lost, if that is known.
    pub fn run_time(&self) -> Option<Duration> {
        self.loss()?.ran
    }

    /// The user and system time that the lost worker had used for all its items, as its parent was told.
    pub fn cpu_time(&self) -> Option<Duration> {
        self.loss()?.cpu
    }

    /// The most memory the lost worker had resident, in bytes.
    pub fn peak_rss(&self) -> Option<u64> {
        self.loss()?.peak_rss
    }

    /// The message the task panicked with.
    pub fn panic_message(&self) -> Option<&str> {
        self.0.panic_message.as_deref()
    }

    /// What the lost worker last wrote to stderr: 8 KiB at most. Where the item alone wrote more, how that began (2 KiB)
    /// and how it ended, with the number of bytes left out between them. Shorter output may be of
    /// items before: a worker writes everything to one pipe and keeps no account of where an item's output begins.
    pub fn stderr_tail(&self) -> Option<&str> {
        self.loss()?.stderr_tail.as_deref()
    }

    /// Where the task was when it ended: the backtrace of its panic, unless `RUST_BACKTRACE` is `0`, or of the thread that
    /// crashed (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT). The innermost function comes first, as the standard library prints
    /// it, and the task's own is the last.
    ///
    /// The functions' names are looked up by the first call, which may take a second for a large program. Where workers run
    /// another program than the master, they have none. See [`PoolBuilder::crash_reports`](crate::PoolBuilder::crash_reports).
    ///
    /// ```no_run
    /// # fn show(error: &procession::Error) {
    /// if let Some(backtrace) = error.backtrace() {
    ///     eprintln!("{error}\n{backtrace}");
    /// }
    /// # }
    /// ```
    pub fn backtrace(&self) -> Option<&str> {
        let panic = self.0.panic_trace.as_deref().map(Trace::text);
        let crash = || self.loss()?.crash.as_deref().map(CrashReport::text);
        self.0.told_trace.as_deref().or(panic).or_else(crash).filter(|text| !text.is_empty())
    }

    fn loss(&self) -> Option<&Loss> {
        self.0.loss.as_deref()
    }

    pub(crate) fn new(kind: ErrorKind, reason: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            task: None,
            item: None,
            attempts: 0,
            reason: reason.into(),
            args_digest: None,
            panic_message: None,
            panic_trace: None,
            told_trace: None,
            loss: None,
        }))
    }

    pub(crate) fn usage(reason: impl Into<String>) -> Error {
        Error::new(ErrorKind::Usage, reason)
    }

    /// The part of the message after what and which.
    pub(crate) fn reason(&self) -> &str {
        &self.0.reason
    }

    pub(crate) fn of_item(mut self, task: &'static TaskInfo, item: u64, attempts: u32) -> Error {
        self.0.task = Some(task);
        self.0.item = Some(item);
        self.0.attempts = attempts;
        self
    }

    pub(crate) fn of_task(mut self, task: &'static TaskInfo) -> Error {
        self.0.task = Some(task);
        self
    }

    pub(crate) fn with_loss(mut self, loss: &Loss) -> Error {
        self.0.loss = Some(Arc::new(loss.clone()));
        self
    }

    /// Notes which arguments they were, by their encoding.
    pub(crate) fn digest_args(&mut self, args: &[u8]) {
        let mut hasher = SipHasher13::new();
        hasher.write(args);
        self.0.args_digest = Some(format!("{:016x}", hasher.finish()));
    }

    pub(crate) fn panicked(message: String, location: &str, stack: Stack) -> Error {
        let reason = if location.is_empty() { message.clone() } else { format!("{message}, at {location}") };
        let mut error = Error::new(ErrorKind::Panicked, reason);
        error.0.panic_message = Some(message);
        error.0.panic_trace = Some(Arc::new(Trace::new(stack, Top::Panic)));
        error
    }

    /// A second error object for another item of the same failure.
    pub(crate) fn duplicate(&self) -> Error {
        Error(self.0.clone())
    }
}

impl Loss {
    pub(crate) fn kind(&self) -> ErrorKind {
        if self.shortage.is_proved() { ErrorKind::OutOfMemory } else { ErrorKind::WorkerLost }
    }

    /// Whether it looks as the end of a worker does that was told to end, and then was made to.
    pub(crate) fn is_by_order(&self) -> bool {
        matches!(self.exit, Some(WorkerExit::Signal(libc::SIGTERM | libc::SIGKILL)))
    }

    /// `signal 11 (SIGSEGV), ran 3 ms, peak rss 14 MiB`. Where it was, which process it was and how much processor time
    /// it used is for whoever asks: of a thousand losses each is to be a line.
    pub(crate) fn describe(&self) -> String {
        let mut text = match self.exit {
            Some(exit) => exit.to_string(),
            None => "exit status unknown".to_owned(),
        };
        text.push_str(&self.shortage.to_string());
        if let Some(note) = &self.note {
            text = format!("{note}, {text}");
        }
        if let Some(ran) = self.ran {
            text.push_str(&format!(", ran {}", Span(ran)));
        }
        if let Some(bytes) = self.peak_rss {
            text.push_str(&format!(", peak rss {} MiB", bytes.div_ceil(1 << 20)));
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, task, item, attempts, reason, .. } = &*self.0;
        f.write_str(kind.name())?;
        if let Some(task) = task {
            write!(f, ": `{}`", task.short_path())?;
            if let Some(item) = item {
                write!(f, ", item {item}")?;
            }
            if matches!(kind, ErrorKind::WorkerLost | ErrorKind::OutOfMemory) {
                write!(f, ", attempt {attempts}")?;
            }
        }
        if !reason.is_empty() {
            write!(f, ": {reason}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

impl From<LaunchError> for Error {
    fn from(error: LaunchError) -> Error {
        let kind = match &error {
            LaunchError::NotInitialised => return Error::new(ErrorKind::NotInitialized, error.to_string()),
            LaunchError::Threads { .. } | LaunchError::TooDeep { .. } => ErrorKind::Usage,
            LaunchError::Preload(_) | LaunchError::PreloadDied(_) => ErrorKind::Initializer,
            _ => ErrorKind::Spawn,
        };
        Error::new(kind, error.to_string())
    }
}

impl ErrorKind {
    fn name(self) -> &'static str {
        match self {
            ErrorKind::Panicked => "task panicked",
            ErrorKind::WorkerLost => "worker lost",
            ErrorKind::OutOfMemory => "out of memory",
            ErrorKind::TimedOut => "timed out",
            ErrorKind::Quarantined => "quarantined",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::Encode => "cannot encode",
            ErrorKind::Decode => "cannot decode",
            ErrorKind::TooLarge => "too large",
            ErrorKind::UnknownTask => "unknown task",
            ErrorKind::Initializer => "pool broken",
            ErrorKind::Closed => "pool closed",
            ErrorKind::Terminated => "pool terminated",
            ErrorKind::Broken => "pool broken",
            ErrorKind::NotInitialized => "not initialised",
            ErrorKind::Spawn => "cannot start a worker",
            ErrorKind::Share => "cannot share",
            ErrorKind::Usage => "wrong use",
        }
    }
}

/// A duration as a reader wants it: one unit, at most three digits before the point.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        if seconds < 1e-3 {
            write!(f, "{:.0} µs", seconds * 1e6)
        } else if seconds < 1.0 {
            write!(f, "{:.0} ms", seconds * 1e3)
        } else {
            write!(f, "{seconds:.1} s")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_names_signal_run_time_and_memory() {
        let loss = Loss {
            exit: Some(WorkerExit::Signal(11)),
            ran: Some(Duration::from_millis(3)),
            peak_rss: Some(14 << 20),
            ..Loss::default()
        };
        assert_eq!(loss.describe(), "signal 11 (SIGSEGV), ran 3 ms, peak rss 14 MiB");
    }

    #[test]
    fn debug_prints_display() {
        let error = Error::usage("`workers` is 0, use at least 1");
        assert_eq!(format!("{error:?}"), "wrong use: `workers` is 0, use at least 1");
    }
}
