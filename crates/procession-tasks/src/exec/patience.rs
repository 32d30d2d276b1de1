//! Time that a command may still take. It stands still while this process is stopped, as no program can be told of that.

use std::time::{Duration, Instant};

/// The longest sleep. Whoever slept for longer was stopped meanwhile.
const SLEEP_MAX: Duration = Duration::from_millis(500);
/// How much later than asked for a sleeper may wake up on a busy machine.
const LATE_MAX: Duration = Duration::from_millis(250);

/// How long to wait, counted from the last look at the clock.
pub(super) struct Patience {
    /// None: for ever.
    left: Option<Duration>,
    looked: Instant,
}

impl Patience {
    pub(super) fn new(limit: Option<Duration>) -> Patience {
        Patience { left: limit, looked: Instant::now() }
    }

    /// How long to sleep before the next look; `None`: as long as it takes.
    pub(super) fn sleep(&self) -> Option<Duration> {
        self.left.map(|left| left.min(SLEEP_MAX))
    }

    /// Looks at the clock. True: the time is over.
    pub(super) fn is_over(&mut self) -> bool {
        let Some(left) = &mut self.left else { return false };
        let now = Instant::now();
        let passed = now.duration_since(self.looked).min(SLEEP_MAX + LATE_MAX);
        self.looked = now;
        *left = left.saturating_sub(passed);
        left.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_costs_no_more_than_a_sleep() {
        let mut patience = Patience::new(Some(Duration::from_secs(10)));
        patience.looked =
            Instant::now().checked_sub(Duration::from_secs(3600)).expect("the machine is older");
        assert!(!patience.is_over());
        let left = patience.left.expect("it is limited");
        assert!(left >= Duration::from_secs(9), "{left:?}");
        assert_eq!(patience.sleep(), Some(SLEEP_MAX));
    }

    #[test]
    fn time_ends_unless_there_is_no_limit() {
        let mut none = Patience::new(Some(Duration::ZERO));
        assert_eq!(none.sleep(), Some(Duration::ZERO));
        assert!(none.is_over());
        let mut all = Patience::new(None);
        assert!(all.sleep().is_none() && !all.is_over());
    }
}
