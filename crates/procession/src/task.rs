//! The typed handle that `#[task]` leaves behind, its options, and what makes a function a task's function.
//!
//! A handle knows its function and its registry entry. It must not know pools, workers or channels.

mod function;
mod payloads;

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

pub use function::{Argument, TaskFn, TaskOutput};

use crate::registry::TaskInfo;

/// A task: the function it was made from, and the options its calls are made with.
///
/// `#[task]` defines a constant of this type under the function's name. It is `Copy`, it still calls the plain
/// function in this process, and it is what every verb of a pool takes:
///
/// ```
/// use procession::task;
///
/// #[task]
/// fn square(x: i64) -> i64 {
///     x * x
/// }
///
/// assert_eq!(square(7), 49); // runs here, as any function does
/// let eager = square.max_attempts(3).priority(1); // the same task, with options
/// assert_eq!(eager(7), 49);
/// let squares: Vec<i64> = (0..4).map(*square).collect(); // `*` gives the plain function pointer
/// assert_eq!(squares, [0, 1, 4, 9]);
/// ```
///
/// Options ride on the handle. They are checked when a call is submitted: a zero is reported then, as
/// a usage error, before anything runs.
///
/// Because the name is a constant, a local variable in its scope cannot take the same name
/// (`let square = …` is read as a pattern). Inside the task's own body it can.
#[derive(Clone, Copy)]
pub struct Task<F> {
    function: F,
    info: &'static TaskInfo,
    options: TaskOptions,
}

/// How the calls made with one handle differ from the pool's defaults. `None` means the pool's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskOptions {
    pub(crate) chunk_size: Option<usize>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) priority: i32,
    pub(crate) buffer: Option<usize>,
}

impl<F> Task<F> {
    /// Only `#[task]` makes handles, through `__private`.
    pub(crate) const fn new(function: F, info: &'static TaskInfo) -> Task<F> {
        Task { function, info, options: TaskOptions::NONE }
    }

    /// Hands this many items to a worker at a time. Larger chunks cost less per item; smaller ones balance better.
    ///
    /// Default: chosen from the number of items and workers. A chunk is a unit of transport only: what a crash
    /// costs does not depend on it.
    #[must_use]
    pub fn chunk_size(mut self, items: usize) -> Task<F> {
        self.options.chunk_size = Some(items);
        self
    }

    /// Stops an item that has run for this long, counted from its own start.
    #[must_use]
    pub fn timeout(mut self, per_item: Duration) -> Task<F> {
        self.options.timeout = Some(per_item);
        self
    }

    /// Ends the whole call after this long, counted from its submission.
    #[must_use]
    pub fn deadline(mut self, whole_call: Duration) -> Task<F> {
        self.options.deadline = Some(whole_call);
        self
    }

    /// Starts an item up to this many times, if its worker is lost and the task is registered `idempotent`. Default: 3.
    ///
    /// Nothing else makes a second start safe, so for other tasks this has no effect: their items start at most once.
    ///
    /// ```
    /// use procession::task;
    ///
    /// #[task(idempotent)]
    /// fn square(x: i64) -> i64 {
    ///     x * x
    /// }
    ///
    /// let careful = square.max_attempts(2);
    /// # let _ = careful;
    /// ```
    #[must_use]
    pub fn max_attempts(mut self, starts: u32) -> Task<F> {
        self.options.max_attempts = Some(starts);
        self
    }

    /// Calls of a higher priority are started first. Default: 0.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Task<F> {
        self.options.priority = priority;
        self
    }

    /// Bounds a lazy call (`imap` and its kin): at most this many items in flight or with a result not yet taken.
    #[must_use]
    pub fn buffer(mut self, items: usize) -> Task<F> {
        self.options.buffer = Some(items);
        self
    }

    /// The task's registry entry: its path, arguments and documentation.
    #[must_use]
    pub fn info(&self) -> &'static TaskInfo {
        self.info
    }

    pub(crate) fn options(&self) -> TaskOptions {
        self.options
    }
}

impl<F> Deref for Task<F> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.function
    }
}

impl<F> fmt::Debug for Task<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("path", &self.info.path()).field("options", &self.options).finish()
    }
}

impl TaskOptions {
    pub(crate) const NONE: TaskOptions = TaskOptions {
        chunk_size: None,
        timeout: None,
        deadline: None,
        max_attempts: None,
        priority: 0,
        buffer: None,
    };

    /// Names the first option that is out of range, as a usage error says it.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let zero = [
            ("chunk_size", self.chunk_size == Some(0), "1 item"),
            ("timeout", self.timeout == Some(Duration::ZERO), "1 ns"),
            ("deadline", self.deadline == Some(Duration::ZERO), "1 ns"),
            ("max_attempts", self.max_attempts == Some(0), "1 start"),
            ("buffer", self.buffer == Some(0), "1 item"),
        ];
        match zero.iter().find(|(_, is_zero, _)| *is_zero) {
            Some((name, _, least)) => {
                Err(format!("option `{name}` is 0: give at least {least}, or leave it out"))
            }
            None => Ok(()),
        }
    }
}

impl Default for TaskOptions {
    fn default() -> TaskOptions {
        TaskOptions::NONE
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        unsafe_code,
        reason = "registration names a link section; in other crates the lint does not see it"
    )]

    use procession_macros::task;

    use super::*;

    #[task(crate = crate)]
    fn double(x: i64) -> i64 {
        2 * x
    }

    #[test]
    fn options_ride_on_a_copy_of_the_handle() {
        let second = Duration::from_secs(1);
        let eager = double
            .chunk_size(64)
            .timeout(second)
            .deadline(2 * second)
            .max_attempts(3)
            .priority(-1)
            .buffer(256);
        let expected = TaskOptions {
            chunk_size: Some(64),
            timeout: Some(second),
            deadline: Some(2 * second),
            max_attempts: Some(3),
            priority: -1,
            buffer: Some(256),
        };
        assert_eq!(eager.options(), expected);
        assert_eq!(double.options(), TaskOptions::default());
        assert_eq!((eager(4), double(4)), (8, 8));
        assert!(std::ptr::eq(eager.info(), double.info()));
        assert!(format!("{eager:?}").starts_with("Task { path: \"procession::task::tests::double\""));
    }

    #[test]
    fn zero_is_out_of_range_for_every_option_but_priority() {
        let check = |task: Task<fn(i64) -> i64>, expected: Result<(), &str>| {
            assert_eq!(
                task.options().validate().as_ref().map_err(String::as_str),
                expected.as_ref().map_err(|text| *text)
            );
        };
        check(double, Ok(()));
        check(double.chunk_size(1).buffer(1).max_attempts(1).priority(0), Ok(()));
        check(double.chunk_size(0), Err("option `chunk_size` is 0: give at least 1 item, or leave it out"));
        check(double.buffer(0), Err("option `buffer` is 0: give at least 1 item, or leave it out"));
        check(
            double.max_attempts(0),
            Err("option `max_attempts` is 0: give at least 1 start, or leave it out"),
        );
        check(
            double.timeout(Duration::ZERO),
            Err("option `timeout` is 0: give at least 1 ns, or leave it out"),
        );
        check(
            double.deadline(Duration::ZERO),
            Err("option `deadline` is 0: give at least 1 ns, or leave it out"),
        );
    }
}
