//! What outcomes mean to the policies of a run: whether an item runs again, what counts towards a halt, and which run times
//! the time limit follows. It acts on nothing itself.

use std::time::Duration;

use procession::{Error, Payload};

use super::figures::Figure;
use crate::exec;
use crate::failures::{self, NOT_RUN, Outcome, TIMED_OUT};
use crate::job::Job;
use crate::output::encode_json;
use crate::policy::MedianLimit;

/// What became of an item, as policies see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Value,
    /// A value that is an error: the task returned one.
    Returned,
    /// No value, and why.
    Failed {
        outcome: Outcome,
        what: String,
        /// It failed by itself, and may not do so the next time.
        by_itself: bool,
    },
    /// It was not begun.
    NotRun,
}

/// The policies of a run that look at outcomes.
pub(super) struct Steering {
    /// Outcomes are looked at.
    pub(super) judges: bool,
    /// An error that is returned matters.
    returns_errors: bool,
    runs_commands: bool,
    median: Option<MedianLimit>,
}

impl Steering {
    pub(super) fn new(job: &Job) -> Steering {
        let policies = &job.pool.policies;
        Steering {
            judges: policies.judges(),
            returns_errors: policies.retries() > 0 && returns_result(job.task.returns()),
            runs_commands: job.results.streams.is_some(),
            median: policies.timeout_percent.map(MedianLimit::new),
        }
    }

    /// Looks at an outcome.
    pub(super) fn judge(
        &self,
        job: &Job,
        args: Option<&Payload>,
        outcome: &Result<Payload, Error>,
    ) -> Verdict {
        match outcome {
            Ok(value) if self.runs_commands => match args.and_then(|args| exec::flaw_of(args, value)) {
                Some(flaw) => {
                    let by_itself = flaw.outcome != exec::CUT;
                    Verdict::Failed { outcome: flaw.outcome, what: flaw.what, by_itself }
                }
                None => Verdict::Value,
            },
            Ok(value) if self.returns_errors => {
                let mut json = Vec::new();
                let is_error =
                    encode_json(job.task, value, &mut json).is_ok() && json.starts_with(br#"{"Err":"#);
                if is_error { Verdict::Returned } else { Verdict::Value }
            }
            Ok(_) => Verdict::Value,
            Err(error) => match failures::outcome(error) {
                NOT_RUN => Verdict::NotRun,
                outcome => {
                    let by_itself =
                        error.attempts() > 0 && [failures::PANICKED, TIMED_OUT].contains(&outcome);
                    Verdict::Failed { outcome, what: error.to_string(), by_itself }
                }
            },
        }
    }

    /// The time limit from now on, if it is another one because an item ran for so long and has a value.
    pub(super) fn limit(&mut self, verdict: &Verdict, figure: Option<Figure>) -> Option<Duration> {
        let (Some(median), Some(figure), Verdict::Value) = (&mut self.median, figure, verdict) else {
            return None;
        };
        median.add(figure.wall)
    }
}

impl Verdict {
    /// Whether it is worth another try.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Verdict::Returned | Verdict::Failed { by_itself: true, .. })
    }

    /// The word for it.
    pub(super) fn id(&self) -> &'static str {
        match self {
            Verdict::Value => "ok",
            Verdict::Returned => "returned_error",
            Verdict::Failed { outcome, .. } => outcome.id,
            Verdict::NotRun => NOT_RUN.id,
        }
    }
}

/// Whether a type, as its task writes it, is a `Result`.
fn returns_result(ty: &str) -> bool {
    let Some((name, _)) = ty.split_once('<') else { return false };
    name.trim().rsplit("::").next().is_some_and(|name| name.trim() == "Result")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_told_by_its_name() {
        for ty in ["Result<f64, String>", "std::result::Result<(), E>", "io :: Result < u8 >"] {
            assert!(returns_result(ty), "{ty}");
        }
        for ty in ["f64", "Vec<Result<f64, String>>", "ResultSet<u8>", "(Result<u8, u8>, u8)"] {
            assert!(!returns_result(ty), "{ty}");
        }
    }
}
