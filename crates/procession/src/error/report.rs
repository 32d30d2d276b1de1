//! An error in parts, for who carries outcomes between programs: what it says on one machine it says on the other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Error, ErrorKind, Loss};
use crate::process::WorkerExit;
use crate::registry::TaskInfo;

/// Everything that an [`Error`] of an item says, apart from which item it is.
///
/// Whoever carries outcomes from another machine takes the error apart there and puts it together here.
///
/// ```no_run
/// # fn carry(error: &procession::Error, task: &'static procession::TaskInfo) {
/// let report = procession::ErrorReport::of(error);
/// let same = report.into_error(task, 17);
/// assert_eq!(same.kind(), error.kind());
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorReport {
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// How often the item was started.
    pub attempts: u32,
    /// The end of the message: why.
    pub reason: String,
    /// See [`Error::args_digest`].
    pub args_digest: Option<String>,
    /// See [`Error::panic_message`].
    pub panic_message: Option<String>,
    /// See [`Error::backtrace`].
    pub backtrace: Option<String>,
    /// What is known of a lost worker.
    pub loss: Option<LossReport>,
}

/// What an [`Error`] says of a lost worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LossReport {
    /// How it ended.
    pub exit: Option<WorkerExit>,
    /// Its process, on its own machine.
    pub pid: Option<u32>,
    /// For how long the item had run.
    pub run_time: Option<Duration>,
    /// Processor time that it had used.
    pub cpu_time: Option<Duration>,
    /// The most memory that it had, in bytes.
    pub peak_rss: Option<u64>,
    /// What it wrote last.
    pub stderr_tail: Option<String>,
}

impl ErrorReport {
    /// A failure of an item that was started so often.
    #[must_use]
    pub fn new(kind: ErrorKind, attempts: u32, reason: impl Into<String>) -> ErrorReport {
        ErrorReport {
            kind,
            attempts,
            reason: reason.into(),
            args_digest: None,
            panic_message: None,
            backtrace: None,
            loss: None,
        }
    }

    /// Takes an error apart. Where a worker crashed, this looks up the names of its backtrace.
    #[must_use]
    pub fn of(error: &Error) -> ErrorReport {
        let loss = error.loss().map(|loss| LossReport {
            exit: loss.exit,
            pid: loss.pid,
            run_time: loss.ran,
            cpu_time: loss.cpu,
            peak_rss: loss.peak_rss,
            stderr_tail: loss.stderr_tail.clone(),
        });
        ErrorReport {
            args_digest: error.args_digest().map(str::to_owned),
            panic_message: error.panic_message().map(str::to_owned),
            backtrace: error.backtrace().map(str::to_owned),
            loss,
            ..ErrorReport::new(error.kind(), error.attempts(), error.reason())
        }
    }

    /// The error again, of an item of this program's.
    #[must_use]
    pub fn into_error(self, task: &'static TaskInfo, item: u64) -> Error {
        let mut error = Error::new(self.kind, self.reason).of_item(task, item, self.attempts);
        error.0.args_digest = self.args_digest;
        error.0.panic_message = self.panic_message;
        error.0.told_trace = self.backtrace;
        match self.loss {
            Some(loss) => error.with_loss(&Loss {
                exit: loss.exit,
                pid: loss.pid,
                ran: loss.run_time,
                cpu: loss.cpu_time,
                peak_rss: loss.peak_rss,
                stderr_tail: loss.stderr_tail,
                ..Loss::default()
            }),
            None => error,
        }
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
    fn victim(x: i64) -> i64 {
        x
    }

    #[test]
    fn an_error_says_the_same_after_a_journey() {
        let loss = Loss {
            exit: Some(WorkerExit::Signal(11)),
            pid: Some(4711),
            ran: Some(Duration::from_millis(3)),
            peak_rss: Some(14 << 20),
            stderr_tail: Some("oh no".to_owned()),
            ..Loss::default()
        };
        let mut error =
            Error::new(loss.kind(), loss.describe()).with_loss(&loss).of_item(victim.info(), 4, 2);
        error.digest_args(&[7]);
        let report = ErrorReport::of(&error);
        let there: ErrorReport = serde_json::from_slice(&serde_json::to_vec(&report).expect("it is data"))
            .expect("it is the same");
        let again = there.into_error(victim.info(), 4);
        assert_eq!(again.to_string(), error.to_string());
        let all = |error: &Error| {
            (error.kind(), error.exit(), error.pid(), error.run_time(), error.peak_rss(), error.attempts())
        };
        assert_eq!(all(&again), all(&error));
        assert_eq!((again.stderr_tail(), again.args_digest()), (error.stderr_tail(), error.args_digest()));
    }

    #[test]
    fn a_panic_keeps_its_words_and_its_place() {
        let mut report = ErrorReport::new(ErrorKind::Panicked, 1, "no, at a.rs:3");
        (report.panic_message, report.backtrace) = (Some("no".to_owned()), Some("0: main".to_owned()));
        let error = report.into_error(victim.info(), 4);
        let again = ErrorReport::of(&error).into_error(victim.info(), 9);
        assert!(again.to_string().ends_with("victim`, item 9: no, at a.rs:3"), "{again}");
        assert_eq!((again.panic_message(), again.backtrace()), (Some("no"), Some("0: main")));
    }
}
