//! How a worker process ended, and how a process of ours leaves.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

/// How a worker process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WorkerExit {
    /// It exited with this status.
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
    /// Nobody can say: its status was taken by somebody else, or lost with its parent.
    Unknown,
}

impl fmt::Display for WorkerExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            WorkerExit::Code(code) => write!(f, "exit status {code}"),
            WorkerExit::Signal(number) => match Signal::try_from(number) {
                Ok(signal) => write!(f, "signal {number} ({signal})"),
                Err(_) => write!(f, "signal {number}"),
            },
            WorkerExit::Unknown => f.write_str("exit status unknown"),
        }
    }
}

/// What is left of a process once it has been reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) status: WorkerExit,
    /// Peak resident memory, in bytes.
    pub(crate) max_rss: Option<u64>,
    /// User and system time.
    pub(crate) cpu: Option<Duration>,
}

impl Exit {
    pub(super) const UNKNOWN: Exit = Exit { status: WorkerExit::Unknown, max_rss: None, cpu: None };
}

/// Statuses with which workers and helpers leave by themselves, beside 0.
pub(crate) mod code {
    /// The system refused something that a start needs; the next one may well get it.
    pub(crate) const NOT_STARTED: i32 = 75;
    /// The master broke the protocol.
    pub(crate) const PROTOCOL: i32 = 76;
    /// A channel was closed under the worker.
    pub(crate) const CHANNEL_CLOSED: i32 = 77;
    /// The programs differ.
    pub(crate) const MISMATCH: i32 = 78;
    /// The worker could not prepare itself; it said why.
    pub(crate) const INIT_FAILED: i32 = 79;
}

/// Ends this process: flushes Rust's standard output and runs neither destructors nor exit handlers. Channels may be
/// closed under us by then, and their destructors would panic; exit handlers belong to the program we are a copy of.
pub(super) fn leave(code: i32) -> ! {
    // A closed standard output must not keep the process alive.
    let _ = io::stdout().flush();
    // SAFETY: `_exit` has no preconditions and does not return.
    unsafe { libc::_exit(code) }
}

/// Flushes Rust's and C's output streams: before a fork, so that the copy does not print the same text again; and at a
/// worker's orderly end.
pub(super) fn flush_all_output() {
    let _ = io::stdout().flush();
    // SAFETY: a null stream means all output streams, and the C library locks each.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}
