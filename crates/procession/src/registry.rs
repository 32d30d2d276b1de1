//! The tasks linked into this program: what each is called, what it takes, and how to run it from bytes.
//!
//! Filled at link time, so the master and a worker that runs the same program hold the same list, in the same order.
//! This file must not know pools, workers or channels.

mod check;
mod find;
mod function;
mod info;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

pub use check::fingerprint;
pub use find::{NotFound, find};
pub use function::{Callable, NoPassage, Passage, argument, result};
pub use info::{Definition, ParamInfo, TaskInfo};

pub(crate) use check::check;
pub(crate) use info::TaskFault;

/// Every `#[task]` of the program, in link order. The elements are defined by the attribute's expansion.
#[linkme::distributed_slice]
pub static TASKS: [TaskInfo];

/// Every task linked into this program, sorted by path.
///
/// ```
/// # #[procession::task]
/// # fn square(x: i64) -> i64 { x * x }
/// for task in procession::tasks() {
///     println!("{}: {}", task.path(), task.signature());
/// }
/// ```
///
/// A crate's tasks are linked only if the program refers to the crate: `use my_tasks as _;` is enough.
#[must_use]
pub fn tasks() -> &'static [&'static TaskInfo] {
    static SORTED: OnceLock<Vec<&'static TaskInfo>> = OnceLock::new();
    SORTED.get_or_init(|| {
        let mut tasks: Vec<&'static TaskInfo> = TASKS.iter().collect();
        tasks.sort_by_key(|task| (task.path(), task.place()));
        tasks
    })
}

/// The task with this index, which is its position in [`tasks`]. This is how a task is named on the wire.
pub(crate) fn entry(index: u32) -> Option<&'static TaskInfo> {
    tasks().get(usize::try_from(index).ok()?).copied()
}
