//! **A process pool: real worker processes, typed tasks, results in order, and nothing lost when a worker crashes.**
//!
//! Use it for work that keeps a processor busy, and for work that may take its process down: C libraries, untrusted
//! inputs, code that leaks. The verbs are those of Python's `multiprocessing.Pool`.
//!
//! ```no_run
//! use procession::{Pool, task};
//!
//! #[task]
//! fn square(x: i64) -> i64 {
//!     x * x
//! }
//!
//! #[task(idempotent)]
//! fn power_n(x: i64, n: u32) -> i64 {
//!     x.pow(n)
//! }
//!
//! #[procession::main]
//! fn main() -> Result<(), procession::Error> {
//!     let pool = Pool::new()?;
//!     let squares = pool.map(square, 0..20)?;
//!     let powers = pool.starmap(power_n, (0..20).map(|x| (x, 2)))?;
//!     assert_eq!(squares, powers);
//!     pool.close()
//! }
//! ```
//!
//! # What to call
//!
//! | to | use |
//! |---|---|
//! | make a function a task | [`#[task]`](task), or `#[task(idempotent)]` if it may be run again after its worker was lost |
//! | let a program have workers | [`#[procession::main]`](macro@main), or [`init`] as the first line of `main`; in tests `before_main!` |
//! | start a pool | [`Pool::new`]; [`Pool::builder`] for its options |
//! | run one call | [`Pool::apply`], or [`Pool::apply_async`] for an [`AsyncResult`] |
//! | run many, results in order | [`Pool::map`], [`Pool::starmap`] for several arguments an item |
//! | the same, later | [`Pool::map_async`], [`Pool::starmap_async`] |
//! | stream, with one `Result` an item | [`Pool::imap`], [`Pool::istarmap`]; as they are ready: [`Pool::imap_unordered`], [`Pool::istarmap_unordered`] |
//! | take a result | [`AsyncResult::get`], [`wait`](AsyncResult::wait), [`on_done`](AsyncResult::on_done), `.await`; of several: [`wait`](fn@wait), [`as_completed`] |
//! | set a limit | [`Task::timeout`], [`Task::deadline`], [`Task::max_attempts`], [`Task::buffer`] on the task; the pool's defaults on [`PoolBuilder`] |
//! | stop a call | [`AsyncResult::cancel`], [`Imap::cancel`] |
//! | let tasks read much data without copies | [`Pool::share`] for slices, [`Pool::broadcast`] for other values, [`PoolBuilder::preload`] for what is loaded from elsewhere |
//! | prepare each worker | [`PoolBuilder::initializer`], [`set_worker_state`], [`worker_state`] |
//! | know where one is, inside a task | [`current`] |
//! | cut data into slices | [`slice_data`]; how many: [`cpu_count`] |
//! | see what goes on | [`Pool::stats`], [`PoolBuilder::on_event`] |
//! | end | [`Pool::close`] finishes what is queued; [`Pool::terminate`] does not; dropping the last handle terminates |
//! | run tasks by name | [`tasks`], [`find`], [`Pool::stream`]: what the command line is made of |
//!
//! # What is guaranteed
//!
//! Every input gets exactly one *outcome*, and ordered calls return them in input order, even when workers crash.
//!
//! *Execution* is not exactly once. A task starts at most once unless it is registered `idempotent`; then it may start up
//! to [`max_attempts`](Task::max_attempts) times, possibly after an earlier start did all its work. Items that never
//! started are moved to another worker freely.
//!
//! An item without a value has an [`Error`] whose [`ErrorKind`] says what became of it. A task's own `Result` is a value.
//! One crash costs one item: what a worker had finished is kept, what it had not begun moves on, whatever the chunk size.
//!
//! # Processes
//!
//! A pool starts its program again, as a server that forks the workers ([`StartMethod::ForkServer`]); a process that is
//! a worker never gets past [`init`]. So a worker has the same tasks as the master, but none of its memory: statics
//! are as at the start of the program, and what a task needs comes as an argument, from the preload or from the
//! initializer. A worker runs one item at a time, is the leader of a process group of its own, and dies with the master.
//!
//! Arguments and results are encoded and decoded on the thread that makes the call, so an input iterator needs neither
//! `Send` nor `'static`. Callbacks run on a thread of their own. The library installs no signal handler in the master
//! and waits for no child but its own.
//!
//! # Features
//!
//! * `before-main`: the macro `before_main!`, for programs whose `main` is not theirs, such as tests.
//!
//! Linux only. What is survived and what is not is written in the repository's SECURITY.md.

#![deny(unsafe_code)]

#[cfg(test)]
extern crate self as procession; // as the expansion of `#[task]` names it

// Unit tests start workers from plain `#[test]`s.
#[cfg(test)]
before_main!();

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod arrival;
mod async_result;
mod batch;
#[cfg(any(test, feature = "before-main"))]
mod before_main;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod broadcast;
mod buffer;
mod builder;
mod codec;
mod coding;
mod control_groups;
mod cpu;
mod crash_report;
mod current;
mod driver;
mod error;
mod event;
mod figures;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod imap;
mod job;
mod memory;
mod memory_file;
#[expect(unsafe_code, reason = "asks the dynamic loader")]
mod modules;
mod oom_kills;
#[expect(unsafe_code, reason = "maps memory that two processes share")]
mod page;
#[expect(unsafe_code, reason = "advises the kernel about memory")]
mod pages;
mod payload;
mod pool;
#[expect(unsafe_code, reason = "forks, passes descriptors, reads statuses, sets signal dispositions")]
mod process;
#[expect(unsafe_code, reason = "maps memory that processes share")]
mod region;
mod registry;
mod reorder;
mod shared;
mod shortage;
#[expect(unsafe_code, reason = "maps memory that two processes share")]
mod slab;
mod slice;
mod stack;
mod stats;
mod stream;
mod stream_options;
mod sync;
mod task;
mod wait;
mod wire;
mod worker;

pub use async_result::AsyncResult;
pub use broadcast::Broadcast;
pub use builder::PoolBuilder;
pub use bytemuck::{self, Pod};
pub use cpu::cpu_count;
pub use current::{Current, current, set_worker_state, worker_state};
pub use error::{Error, ErrorKind, ErrorReport, LossReport};
pub use event::{Event, Printed};
pub use figures::ItemFigures;
pub use imap::{Imap, ImapUnordered, PayloadStream};
pub use payload::Payload;
pub use pool::Pool;
pub use process::{Output, StartMethod, WorkerExit, init};
pub use procession_macros::{main, task};
pub use registry::{NotFound, ParamInfo, TaskInfo, find, fingerprint, tasks};
pub use shared::{Shared, SharedElement};
pub use slice::slice_data;
pub use stats::{RunningItem, SlowItem, Stats, WorkerStats};
pub use stream_options::StreamOptions;
pub use task::{Argument, Task, TaskFn, TaskOutput};
pub use wait::{AsCompleted, Waited, When, as_completed, wait};
