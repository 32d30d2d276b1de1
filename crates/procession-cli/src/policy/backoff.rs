//! How long an item that failed waits before it runs again.

use std::time::Duration;

/// The pause before the first retry, unless the job says otherwise.
pub(crate) const FIRST_DELAY: Duration = Duration::from_secs(1);

/// Every further pause is so many times as long.
const FACTOR: u32 = 2;

/// No pause is longer, jitter aside; or longer than the first one, if that is longer itself.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// A pause is up to such a part longer or shorter, so that what failed together does not come back together.
const JITTER: f64 = 0.25;

/// Pauses that grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    first: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration) -> Backoff {
        Backoff { first }
    }

    /// The pause after the `failures`-th failure; `chance` is from 0 to 1.
    pub(crate) fn delay(self, failures: u32, chance: f64) -> Duration {
        let factor = FACTOR.checked_pow(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let delay = self.first.saturating_mul(factor).min(LONGEST_DELAY.max(self.first));
        let jittered = delay.as_secs_f64() * (1.0 + JITTER * (2.0 * chance - 1.0));
        Duration::try_from_secs_f64(jittered).unwrap_or(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let backoff = Backoff::new(FIRST_DELAY);
        let seconds = [1, 2, 3, 6, 7, 33, u32::MAX].map(|failures| backoff.delay(failures, 0.5).as_secs());
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60, 60]);
        assert_eq!(Backoff::new(Duration::from_secs(90)).delay(4, 0.5), Duration::from_secs(90));
        assert!(Backoff::new(Duration::MAX).delay(4, 1.0) > Duration::from_secs(1 << 40));
    }

    #[test]
    fn chance_moves_a_pause_by_a_quarter() {
        let backoff = Backoff::new(Duration::from_secs(4));
        let [least, most] = [0.0, 1.0].map(|chance| backoff.delay(1, chance));
        assert_eq!((least, most), (Duration::from_secs(3), Duration::from_secs(5)));
    }
}
