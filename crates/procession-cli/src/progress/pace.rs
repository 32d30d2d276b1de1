//! How often, and how fast: when the next line of a log is due, and how many items a second there were of late.

use std::collections::VecDeque;
use std::time::Duration;

/// The first line of a log comes after this time, and each later one after twice the time of the one before.
const FIRST_LINE: Duration = Duration::from_secs(1);
const LINES_APART_MAX: Duration = Duration::from_secs(60);

/// A rate is that of so much time, or of the whole run where that saw too few items to tell.
const WINDOW: Duration = Duration::from_secs(30);
const WINDOW_ITEMS_MIN: u64 = 5;
/// Between two looks that are kept.
const LOOKS_APART: Duration = Duration::from_secs(1);

/// When lines are due, in the time that the run has been going on.
#[derive(Debug)]
pub(crate) struct Schedule {
    due: Duration,
    apart: Duration,
}

impl Schedule {
    pub(crate) fn new() -> Schedule {
        Schedule { due: FIRST_LINE, apart: FIRST_LINE }
    }

    /// Whether a line is due, and has not been said to be.
    pub(crate) fn is_due(&mut self, running: Duration) -> bool {
        let is_due = running >= self.due;
        if is_due {
            self.apart = (self.apart * 2).min(LINES_APART_MAX);
            self.due = running + self.apart;
        }
        is_due
    }
}

/// How fast items end.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// When, and how many there had been; oldest first.
    looks: VecDeque<(Duration, u64)>,
}

impl Rate {
    /// Items a second, `done` of them after `running`.
    pub(crate) fn look(&mut self, running: Duration, done: u64) -> f64 {
        while self.looks.get(1).is_some_and(|(at, _)| *at + WINDOW <= running) {
            self.looks.pop_front();
        }
        let (since, before) = self.looks.front().copied().unwrap_or_default();
        if self.looks.back().is_none_or(|(at, _)| *at + LOOKS_APART <= running) {
            self.looks.push_back((running, done));
        }
        let recent = done.saturating_sub(before);
        let (items, time) = if recent >= WINDOW_ITEMS_MIN {
            (recent, running.saturating_sub(since))
        } else {
            (done, running)
        };
        if time.is_zero() { 0.0 } else { items as f64 / time.as_secs_f64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_ever_more_rarely() {
        let mut schedule = Schedule::new();
        let due: Vec<u64> = (0..400).filter(|s| schedule.is_due(Duration::from_secs(*s))).collect();
        assert_eq!(due, [1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363]);
    }

    #[test]
    fn a_rate_is_that_of_late() {
        let mut rate = Rate::default();
        let at = Duration::from_secs;
        assert_eq!(rate.look(at(0), 0), 0.0);
        let rates: Vec<f64> = (1..=60).map(|s| rate.look(at(s), 10 * s)).collect();
        assert!(rates.iter().all(|rate| *rate == 10.0), "{rates:?}");
        // Twice as fast from here on.
        let rates: Vec<f64> = (1..=60).map(|s| rate.look(at(60 + s), 600 + 20 * s)).collect();
        assert!(
            rates[0] > 10.0 && rates[14] == 15.0 && rates[29..].iter().all(|rate| *rate == 20.0),
            "{rates:?}"
        );
        assert!(rate.looks.len() <= 32, "{}", rate.looks.len());
        // Nothing for a while: what is known is the rate of the whole.
        assert_eq!(rate.look(at(200), 1800), 9.0);
    }

    #[test]
    fn few_items_are_counted_over_all_the_time() {
        let mut rate = Rate::default();
        rate.look(at(0), 0);
        assert_eq!((1..=100).map(|s| rate.look(at(s), s / 20)).last(), Some(0.05));
        fn at(s: u64) -> Duration {
            Duration::from_secs(s)
        }
    }
}
