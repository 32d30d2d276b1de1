//! A process pool: real worker processes, typed tasks, results in order, and nothing lost when a worker crashes.

#![deny(unsafe_code)]

#[cfg(test)]
extern crate self as procession; // as the expansion of `#[task]` names it

// Unit tests start workers from plain `#[test]`s.
#[cfg(test)]
before_main!();

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod async_result;
#[cfg(any(test, feature = "before-main"))]
mod before_main;
mod builder;
mod codec;
mod cpu;
mod current;
mod driver;
mod error;
mod event;
mod imap;
mod job;
#[expect(unsafe_code, reason = "maps memory that two processes share")]
mod page;
mod payload;
mod pool;
#[expect(
    unsafe_code,
    reason = "forks, passes descriptors, reads statuses, sets signal dispositions"
)]
mod process;
mod registry;
mod reorder;
mod slice;
mod stats;
mod stream;
mod task;
mod wait;
mod wire;
mod worker;

pub use async_result::AsyncResult;
pub use builder::PoolBuilder;
pub use cpu::cpu_count;
pub use current::{Current, current, set_worker_state, worker_state};
pub use error::{Error, ErrorKind};
pub use event::Event;
pub use imap::{Imap, ImapUnordered, PayloadStream};
pub use payload::Payload;
pub use pool::{Pool, StreamOptions};
pub use process::{Output, StartMethod, WorkerExit, init};
pub use procession_macros::{main, task};
pub use registry::{NotFound, ParamInfo, TaskInfo, find, tasks};
pub use slice::slice_data;
pub use stats::{SlowItem, Stats, WorkerStats};
pub use task::{Argument, Task, TaskFn, TaskOutput};
pub use wait::{AsCompleted, Waited, When, as_completed, wait};
