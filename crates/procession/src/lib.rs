//! placeholder

#![forbid(unsafe_code)]

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod codec;
mod cpu;
mod payload;
mod registry;
mod slice;
mod task;

pub use cpu::cpu_count;
pub use payload::Payload;
pub use procession_macros::{main, task};
pub use registry::{NotFound, ParamInfo, TaskInfo, find, tasks};
pub use slice::slice_data;
pub use task::{Argument, Task, TaskFn, TaskOutput};

/// placeholder
pub fn init() {
    if let Err(reason) = registry::check() {
        eprintln!("Error: {reason}");
        std::process::exit(70);
    }
}
mod pool_stub;
pub use pool_stub::*;
