//! placeholder
mod codec;
mod current;
mod page;
mod process;
mod registry;
mod wire;
mod worker;
pub use current::{Current, current, set_worker_state, worker_state};
pub use process::{Output, StartMethod, WorkerExit, init};
#[cfg(feature = "before-main")]
mod before_main;
