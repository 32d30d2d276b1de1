//! Everything that the expansions of `#[task]` and `#[procession::main]` touch, and nothing else.
//!
//! No part of the interface: it changes without notice.

pub use linkme;

pub use crate::registry::{
    Callable, Definition, NoPassage, ParamInfo, Passage, TASKS, TaskInfo, argument, result,
};
pub use crate::task::Task;

/// Joins a function to its registry entry.
#[must_use]
pub const fn task<F: Copy>(function: F, info: &'static TaskInfo) -> Task<F> {
    Task::new(function, info)
}

#[cfg(any(test, feature = "before-main"))]
pub use crate::before_main::enter as before_main;
#[cfg(any(test, feature = "before-main"))]
pub use ctor;
