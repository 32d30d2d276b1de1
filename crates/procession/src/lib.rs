//! placeholder

#![deny(unsafe_code)]

#[cfg(test)]
extern crate self as procession; // as the expansion of `#[task]` names it

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
#[cfg(any(test, feature = "before-main"))]
mod before_main;
mod codec;
mod cpu;
mod current;
#[expect(unsafe_code, reason = "maps memory that two processes share")]
mod page;
mod payload;
#[expect(
    unsafe_code,
    reason = "forks, passes descriptors, reads statuses, sets signal dispositions"
)]
mod process;
mod registry;
mod slice;
mod task;
mod wire;
mod worker;

pub use cpu::cpu_count;
pub use current::{Current, current, set_worker_state, worker_state};
pub use payload::Payload;
pub use process::{Output, StartMethod, WorkerExit, init};
pub use procession_macros::{main, task};
pub use registry::{NotFound, ParamInfo, TaskInfo, find, tasks};
pub use slice::slice_data;
pub use task::{Argument, Task, TaskFn, TaskOutput};
