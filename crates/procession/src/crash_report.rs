//! What a worker left of the fault that ended it, and which deaths that explains.

use crate::page::Words;
use crate::process::WorkerExit;
use crate::stack::{Top, Trace};

/// What is known of a crash.
#[derive(Debug)]
pub(crate) struct CrashReport {
    signal: i32,
    /// When, on the pool's clock.
    at_ns: u64,
    trace: Trace,
}

impl CrashReport {
    pub(crate) fn new(words: Words) -> CrashReport {
        let Words { signal, at_ns, stack } = words;
        CrashReport { signal, at_ns, trace: Trace::new(stack, Top::Fault) }
    }

    /// Whether it can be about a worker that ended like that, in an item that began at `since`: another fault may have
    /// been survived before.
    pub(crate) fn explains(&self, exit: WorkerExit, since_ns: Option<u64>) -> bool {
        let is_signal = match exit {
            // Rust's report of a stack overflow ends by an abort.
            WorkerExit::Signal(libc::SIGABRT) => {
                [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS].contains(&self.signal)
            }
            WorkerExit::Signal(signal) => signal == self.signal,
            WorkerExit::Code(_) | WorkerExit::Unknown => false,
        };
        is_signal && since_ns.is_none_or(|since| since <= self.at_ns)
    }

    /// The stack from the crash to the task's function. Empty: nothing is known.
    pub(crate) fn text(&self) -> &str {
        self.trace.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Stack;

    #[test]
    fn a_report_explains_only_the_death_it_is_about() {
        let words = Words { signal: 11, at_ns: 5, stack: Stack::default() };
        let report = CrashReport::new(words);
        for (exit, since, explains) in [
            (WorkerExit::Signal(11), Some(4), true),
            (WorkerExit::Signal(11), None, true),
            (WorkerExit::Signal(6), Some(5), true),
            (WorkerExit::Signal(11), Some(6), false),
            (WorkerExit::Signal(9), None, false),
            (WorkerExit::Code(0), None, false),
            (WorkerExit::Unknown, None, false),
        ] {
            assert_eq!(report.explains(exit, since), explains, "{exit}, {since:?}");
        }
    }
}
