//! What a run does by itself when things go wrong or the machine is busy: retries, halts, limits that follow the run, start
//! gates. Plain data and pure functions; the run asks them and acts.

mod backoff;
mod gate;
mod halt;
mod median;

use std::time::Duration;

pub(crate) use backoff::{Backoff, FIRST_DELAY};
pub(crate) use gate::{Gate, Gates, Mark, Readings, load, memory};
pub(crate) use halt::{Counts, Halt, When};
pub(crate) use median::{MedianLimit, percent};

/// The policies of a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Policies {
    /// An item that failed by itself runs again so often.
    pub(crate) retries: Option<u32>,
    /// The pause before it does so first.
    pub(crate) retry_delay: Option<Duration>,
    pub(crate) halt: Option<Halt>,
    /// The time limit of an item, in per cent of the median run time.
    pub(crate) timeout_percent: Option<u32>,
    pub(crate) gates: Gates,
}

impl Policies {
    pub(crate) fn retries(&self) -> u32 {
        self.retries.unwrap_or(0)
    }

    /// Whether outcomes are wanted as they come: what is done about one must not wait for those before it.
    pub(crate) fn reorders(&self) -> bool {
        self.judges() || !self.gates.is_empty()
    }

    /// Whether every outcome is looked at as it comes.
    pub(crate) fn judges(&self) -> bool {
        self.retries() > 0 || self.halt.is_some() || self.timeout_percent.is_some()
    }

    /// In words, for the plan.
    pub(crate) fn words(&self) -> Vec<String> {
        let words = [
            self.timeout_percent.map(|percent| format!("timeout {percent}% of the median")),
            (self.retries() > 0).then(|| format!("retries {}", self.retries())),
            self.halt.map(|halt| format!("halt {halt}")),
        ];
        words.into_iter().flatten().chain(self.gates.words()).collect()
    }
}

/// `5` or `5%`: the number, and whether it is one of per cent.
fn amount(text: &str) -> (&str, bool) {
    match text.strip_suffix('%') {
        Some(number) => (number.trim_end(), true),
        None => (text, false),
    }
}
