//! How many chunks an agent has in hand: one for each of its workers and, where these would wait for the next one, one in
//! reserve. At the end of a job whoever has one in reserve has it while a worker of somebody else has none; so it is not for
//! chunks that take long.

use std::time::Duration;

/// A chunk that keeps a worker busy for longer is worth the way to the broker, some milliseconds in all.
const SHORT: Duration = Duration::from_millis(500);
/// Unless its arguments take more than one part of so many of that to come.
const FETCH_SHARE: u32 = 20;

/// Whether there is one in reserve. At first nothing is known of chunks, and there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reserve {
    is_wanted: bool,
}

impl Reserve {
    /// A chunk has ended that has kept a worker busy for so long, and whose arguments took so long to come.
    pub(crate) fn ended(&mut self, busy: Duration, fetched_in: Duration) {
        self.is_wanted = busy < SHORT || fetched_in.saturating_mul(FETCH_SHARE) > busy;
    }

    pub(crate) fn is_wanted(self) -> bool {
        self.is_wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_in_reserve_where_workers_would_wait() {
        let mut reserve = Reserve::default();
        let mut after = |busy, fetched_in| {
            reserve.ended(Duration::from_millis(busy), Duration::from_millis(fetched_in));
            reserve.is_wanted()
        };
        assert_eq!(
            [after(1_000, 1), after(100, 1), after(500, 25), after(1_000, 51)],
            [false, true, false, true]
        );
        assert!(!Reserve::default().is_wanted());
    }
}
