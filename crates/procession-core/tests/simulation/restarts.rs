//! How often workers were started for nothing, by an account of its own: never hot for long, and not for ever.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use procession_core::{Policy, Time, WorkerId};

/// A worker that has lived for so long, ready, was of use.
const LONG_ENOUGH: Duration = Duration::from_secs(1);

/// What counts of a worker's life.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Life {
    pub(crate) ready_at: Option<Time>,
    /// It has done an item, or cost one an attempt.
    pub(crate) has_paid: bool,
    /// It was told to end, for nothing that it did.
    pub(crate) was_sent_away: bool,
}

/// All that ended.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    useless: VecDeque<Time>,
    /// By slot: useless ones in a row, and when the last of them ended.
    streaks: HashMap<u32, (u32, Time)>,
    pub(crate) total: u64,
}

impl Restarts {
    /// A worker ended. Says whether it was of no use.
    pub(crate) fn end(&mut self, worker: WorkerId, life: Life, now: Time) -> bool {
        let was_long = life.ready_at.is_some_and(|at| now.saturating_since(at) >= LONG_ENOUGH);
        let is_useless = !life.has_paid && !life.was_sent_away && !was_long;
        if is_useless {
            self.useless.push_back(now);
            self.total += 1;
            self.fail(worker, now);
        } else {
            self.streaks.remove(&worker.slot);
        }
        is_useless
    }

    /// There never was a process.
    pub(crate) fn fail(&mut self, worker: WorkerId, now: Time) {
        let streak = self.streaks.entry(worker.slot).or_default();
        *streak = (streak.0 + 1, now);
    }

    /// After a useless end in a pool that goes on.
    pub(crate) fn check_limit(&mut self, policy: &Policy, now: Time) {
        let default = ((3 * policy.workers).max(5), Duration::from_secs(30));
        let (limit, window) = policy.restart_limit.unwrap_or(default);
        while self.useless.front().is_some_and(|&at| now.saturating_since(at) > window) {
            self.useless.pop_front();
        }
        let useless = self.useless.len();
        assert!(useless <= limit as usize, "{useless} useless starts within {window:?}, and it goes on");
    }

    /// Somebody is started. After two useless ones there is a pause before it.
    pub(crate) fn check_start(&self, worker: WorkerId, policy: &Policy, now: Time) {
        let Some(&(streak @ 2.., at)) = self.streaks.get(&worker.slot) else { return };
        let pause = now.saturating_since(at);
        let least = policy.back_off_first * 3 / 4;
        assert!(pause >= least, "{worker} is started {pause:?} after {streak} in a row that were of no use");
    }
}
