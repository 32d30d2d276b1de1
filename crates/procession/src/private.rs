//! Everything that the expansions of `#[task]` and `#[procession::main]` touch, and nothing else.
//!
//! No part of the interface: it changes without notice.

pub use linkme;

pub use crate::registry::{
    Callable, Definition, NoPassage, ParamInfo, Passage, TASKS, TaskInfo, argument, result,
};
pub use crate::task::Task;

/// An item that modules and blocks can have and `impl` blocks cannot: an attribute does not see what is around its
/// function, so the compiler has to say that a task is not an associated one. It names this macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __a_task_is_a_free_function {
    () => {
        #[expect(unused_imports, reason = "it is here to be refused where a task cannot be")]
        use $crate::__private as _;
    };
}
pub use crate::__a_task_is_a_free_function as a_task_is_a_free_function;

/// Joins a function to its registry entry.
#[must_use]
pub const fn task<F: Copy>(function: F, info: &'static TaskInfo) -> Task<F> {
    Task::new(function, info)
}

#[cfg(any(test, feature = "before-main"))]
pub use crate::before_main::enter as before_main;
#[cfg(any(test, feature = "before-main"))]
pub use ctor;
