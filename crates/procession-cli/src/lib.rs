//! The command line of Procession: job specs in, results in order out.
//!
//! [`main`] is the whole program. A program of your own gets the same command line, with your tasks beside the built-in
//! ones, from one call:
//!
//! ```no_run
//! #[procession::task]
//! fn halve(x: f64) -> f64 {
//!     x / 2.0
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     procession_cli::main()
//! }
//! ```
//!
//! ```text
//! $ my-program map halve --range 0..4
//! 0.0
//! 0.5
//! 1.0
//! 1.5
//! ```
//!
//! Every command becomes a job: a task, a source of items, and a place for results. The path of an item is readable from the
//! modules: `spec` or `cli` → `input` → `intake` → the pool → `run` → `output`, `reduce`, `failures` → `summary` → `exit`.

#![forbid(unsafe_code)]

mod activity;
mod cli;
mod commands;
mod diagnostic;
mod echo;
mod engine;
mod exec;
mod exit;
mod failures;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod host;
mod input;
mod intake;
mod job;
mod listing;
mod look;
mod manual;
mod moment;
mod nearest;
mod new;
mod output;
mod part;
mod plan;
mod policy;
mod progress;
mod reduce;
mod report;
mod reproduce;
mod run;
mod run_dir;
mod scale;
mod signals;
mod slurm;
mod spec;
mod summary;
mod terminal;

use std::process::ExitCode;

/// Runs the command line of this process and gives its exit status.
///
/// It must be the first thing `main` does: in a worker process it never returns.
///
/// Exit status: 0 every item has a value, 1 some do not, 2 bad spec, input or usage (nothing ran), 70 the pool broke,
/// 74 results cannot be written; a run stopped by SIGINT, SIGTERM or SIGHUP
/// dies by that signal, one whose reader has gone by SIGPIPE.
#[must_use]
pub fn main() -> ExitCode {
    procession::init();
    exit::status(commands::execute(cli::parse()))
}

/// The programs in the README and in the book compile and run.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/crashing-workers.md")]
    struct CrashingWorkers;
    #[doc = include_str!("../../../docs/large-jobs.md")]
    struct LargeJobs;
    #[doc = include_str!("../../../docs/leaking-libraries.md")]
    struct LeakingLibraries;
}
