//! Items that failed by themselves and run again: when, and what of each is behind it.
//!
//! It knows neither pool nor output; which failures are worth it is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use procession::{Error, Payload};

use super::figures::Figure;
use crate::policy::Backoff;

/// So many may wait for their time. Beyond it nothing new is begun: whatever is the matter, more of it does not help.
const WAITING_MAX: usize = 4_096;

/// What an item came to that runs again.
pub(super) enum Cause {
    /// With what is said of it.
    Error(Error, String),
    /// A command that failed, or an error that was returned: a value that tells of it.
    Value(Payload),
}

/// An item's last failure, which is its outcome if it does not run again after all.
pub(super) struct Failure {
    pub(super) cause: Cause,
    pub(super) args: Payload,
    pub(super) figure: Option<Figure>,
}

/// What an item has behind it when it has its outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Past {
    /// Starts that ended in a failure.
    pub(super) starts: u32,
    /// It failed, and has come to a value all the same.
    pub(super) is_flaky: bool,
}

/// All that run again.
pub(super) struct Again {
    retries: u32,
    backoff: Backoff,
    items: BTreeMap<u64, Tries>,
    /// Those that wait for their time.
    waiting: BTreeSet<(Instant, u64)>,
}

struct Tries {
    starts: u32,
    failures: u32,
    is_flaky: bool,
    last: Option<Failure>,
}

impl Again {
    pub(super) fn new(retries: u32, backoff: Backoff) -> Again {
        Again { retries, backoff, items: BTreeMap::new(), waiting: BTreeSet::new() }
    }

    /// Whether an item that has just failed may run again.
    pub(super) fn allows(&self, item: u64) -> bool {
        self.items.get(&item).map_or(0, |tries| tries.failures) < self.retries
    }

    /// An item failed and runs again: after which pause, and for which time. `chance` is from 0 to 1.
    pub(super) fn put(
        &mut self,
        item: u64,
        failure: Failure,
        (now, chance): (Instant, f64),
    ) -> (Duration, u32) {
        let tries =
            self.items.entry(item).or_insert(Tries { starts: 0, failures: 0, is_flaky: false, last: None });
        tries.starts += starts(&failure.cause, failure.figure);
        tries.failures += 1;
        tries.last = Some(failure);
        let pause = self.backoff.delay(tries.failures, chance);
        // What nobody lives to see may come any time.
        let due = now.checked_add(pause).unwrap_or(now + Duration::from_secs(u32::MAX.into()));
        self.waiting.insert((due, item));
        (pause, tries.failures)
    }

    /// An item whose time has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(u64, Payload)> {
        let (due, item) = *self.waiting.first()?;
        if due > now {
            return None;
        }
        self.waiting.pop_first();
        let args = self.items.get(&item)?.last.as_ref()?.args.clone();
        Some((item, args))
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    /// Whether items may come, where so many are under way.
    pub(super) fn may_come(&self, under_way: u64) -> bool {
        self.retries > 0 && (under_way > 0 || !self.waiting.is_empty())
    }

    /// The item has its outcome; `is_value`: and that is no failure.
    pub(super) fn settle(&mut self, item: u64, is_value: bool) {
        if let Some(tries) = self.items.get_mut(&item) {
            tries.last = None;
            tries.is_flaky = is_value;
        }
    }

    /// The failure that an item had before, if it is still its last word.
    pub(super) fn take_failure(&mut self, item: u64) -> Option<Failure> {
        let tries = self.items.get_mut(&item)?;
        let failure = tries.last.take();
        if let Some(Failure { cause, figure, .. }) = &failure {
            // It is booked with its own starts.
            tries.starts = tries.starts.saturating_sub(starts(cause, *figure));
        }
        failure
    }

    /// The items that wait; they wait no longer.
    pub(super) fn take_waiting(&mut self) -> Vec<u64> {
        let mut items: Vec<u64> =
            std::mem::take(&mut self.waiting).into_iter().map(|(_, item)| item).collect();
        items.sort_unstable();
        items
    }

    pub(super) fn past(&self, item: u64) -> Past {
        let tries = self.items.get(&item);
        tries.map_or(Past::default(), |tries| Past { starts: tries.starts, is_flaky: tries.is_flaky })
    }

    /// Everybody who wants to know has asked.
    pub(super) fn forget(&mut self, item: u64) -> Past {
        let past = self.past(item);
        self.items.remove(&item);
        past
    }
}

/// How often an item was started for this.
fn starts(cause: &Cause, figure: Option<Figure>) -> u32 {
    match (cause, figure) {
        (Cause::Error(error, _), _) => error.attempts(),
        (Cause::Value(_), Some(figure)) => figure.attempt,
        (Cause::Value(_), None) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        Failure { cause: Cause::Value(Payload::new()), args: Payload::from(vec![7]), figure: None }
    }

    #[test]
    fn an_item_runs_again_in_its_time_and_so_often() {
        let mut again = Again::new(2, Backoff::new(Duration::from_secs(1)));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(again.allows(3) && !again.may_come(0) && again.may_come(1));
        assert_eq!(again.put(3, failure(), (start, 0.5)), (Duration::from_secs(1), 1));
        assert_eq!(again.take_due(start), None);
        assert!(again.may_come(0));
        assert_eq!(again.take_due(at(1)), Some((3, Payload::from(vec![7]))));
        assert!(!again.may_come(0) && again.allows(3));
        assert_eq!(again.put(3, failure(), (at(1), 0.5)), (Duration::from_secs(2), 2));
        assert!(!again.allows(3), "that was the last one");
        again.settle(3, true);
        assert_eq!(again.past(3), Past { starts: 2, is_flaky: true });
        again.forget(3);
        assert_eq!(again.past(3), Past::default());
    }

    #[test]
    fn a_failure_is_the_last_word_of_what_does_not_run_again() {
        let mut again = Again::new(1, Backoff::new(Duration::from_secs(1)));
        again.put(5, failure(), (Instant::now(), 0.5));
        assert_eq!(again.take_waiting(), [5]);
        assert!(again.take_failure(5).is_some() && again.take_failure(5).is_none());
        assert_eq!(again.past(5), Past::default(), "its own start is not behind it");
    }

    #[test]
    fn it_is_full_one_day() {
        let mut again = Again::new(1, Backoff::new(Duration::from_secs(1)));
        for item in 0..WAITING_MAX as u64 {
            assert!(!again.is_full());
            again.put(item, failure(), (Instant::now(), 0.5));
        }
        assert!(again.is_full());
    }
}
