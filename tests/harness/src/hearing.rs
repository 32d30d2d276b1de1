//! When a caller was told of failures, and how long after what led to them. It knows no faults.

use std::time::Duration;

use procession::Error;

use crate::account::{Start, Told};
use crate::tools::now;

/// When the caller was told of a failure.
pub struct Failure {
    /// Of which item.
    pub item: u32,
    /// When, by [`now`].
    pub at: Duration,
    /// Before then it could not be told, as others come first.
    pub turn: Duration,
}

/// Takes all outcomes of an ordered stream as they come, and notes when it tells of failures.
pub fn hear<T>(stream: impl Iterator<Item = Result<T, Error>>) -> (Told<T>, Vec<Failure>) {
    let (mut outcomes, mut failures) = (Vec::new(), Vec::new());
    let mut turn = Duration::ZERO;
    for (item, outcome) in (0..).zip(stream) {
        let at = now();
        if outcome.is_err() {
            failures.push(Failure { item, at, turn });
        }
        turn = at;
        outcomes.push(outcome);
    }
    (Told::Each(outcomes), failures)
}

/// The longest time from an item's last start, at which it does its deed, to the caller's knowing; `None`: there was
/// no failure to be told.
pub fn worst_report(failures: &[Failure], starts: &[Start]) -> Option<Duration> {
    let late = |failure: &Failure| {
        let last = starts.iter().filter(|start| start.item == failure.item).map(|start| start.at).max()?;
        Some(failure.at.saturating_sub(last.max(failure.turn)))
    };
    failures.iter().filter_map(late).max()
}
