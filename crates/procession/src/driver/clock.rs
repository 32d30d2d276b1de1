//! The pool's time: the monotonic clock, less what does not count.
//!
//! It stands still while the pool is paused, and it does not count the time for which this whole process was stopped, as
//! far as that can be known. It reads no clock: what the system's says is an argument.

use std::time::Duration;

use procession_core::Time;

/// The supervisor sleeps no longer than this while anything is due some day. So this much of the time for which the process
/// is stopped counts, at most, since nobody knows when it stopped.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A supervisor that oversleeps by more was kept from running, by a stop or by a machine that has no time for it. In
/// neither case is any worker late.
const OVERSLEPT: Duration = Duration::from_millis(500);

/// What the supervisor sleeps until if nothing is due.
const CALLED: Time = Time::from_nanos(u64::MAX);

/// The pool's time, under the driver's lock.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// How much of the monotonic clock does not count, in nanoseconds.
    skipped_ns: u64,
    /// When the pool was paused, while it is.
    frozen: Option<Time>,
    /// The latest that was told.
    last: Time,
    /// By when the supervisor will look at the clock, while it sleeps.
    asleep_until: Option<Time>,
}

impl Clock {
    /// The pool's time when the monotonic clock says `monotonic_ns`. It never runs backwards.
    pub(super) fn tell(&mut self, monotonic_ns: u64) -> Time {
        let mut now = self.peek(monotonic_ns);
        if self.frozen.is_none()
            && let Some(until) = self.asleep_until
            && now > until + OVERSLEPT
        {
            let woken = until.max(self.last);
            self.skipped_ns += now.as_nanos().saturating_sub(woken.as_nanos());
            now = woken;
        }
        self.last = self.last.max(now);
        self.last
    }

    /// The same for who only wants to show it.
    pub(super) fn peek(&self, monotonic_ns: u64) -> Time {
        self.frozen.unwrap_or_else(|| Time::from_nanos(monotonic_ns.saturating_sub(self.skipped_ns)))
    }

    /// How much of the monotonic clock does not count so far, in nanoseconds.
    pub(super) fn skipped_ns(&self) -> u64 {
        self.skipped_ns
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Time stands still from now on.
    pub(super) fn freeze(&mut self, monotonic_ns: u64) {
        if self.frozen.is_none() {
            self.frozen = Some(self.tell(monotonic_ns));
        }
    }

    /// Time goes on from where it stopped.
    pub(super) fn thaw(&mut self, monotonic_ns: u64) {
        if let Some(time) = self.frozen.take() {
            self.skipped_ns = monotonic_ns.saturating_sub(time.as_nanos());
            // It is called, to let the workers go on.
            self.asleep_until = self.asleep_until.map(|_| time);
        }
    }

    /// The supervisor goes to sleep; `None`: until it is called.
    pub(super) fn sleep(&mut self, until: Option<Time>) {
        self.asleep_until = Some(until.unwrap_or(CALLED));
    }

    /// The supervisor is being called.
    pub(super) fn call(&mut self, now: Time) {
        self.asleep_until = self.asleep_until.map(|until| until.min(now));
    }

    /// The supervisor looks at the clock itself.
    pub(super) fn wake(&mut self) {
        self.asleep_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn seconds(time: Time) -> f64 {
        time.as_nanos() as f64 / SECOND as f64
    }

    #[test]
    fn it_stands_still_while_frozen() {
        let mut clock = Clock::default();
        assert_eq!(seconds(clock.tell(5 * SECOND)), 5.0);
        clock.freeze(6 * SECOND);
        clock.freeze(7 * SECOND);
        assert_eq!(seconds(clock.tell(90 * SECOND)), 6.0);
        clock.thaw(100 * SECOND);
        clock.thaw(101 * SECOND);
        assert_eq!(seconds(clock.tell(101 * SECOND)), 7.0);
        assert_eq!(clock.skipped_ns(), 94 * SECOND);
    }

    #[test]
    fn what_a_sleeping_supervisor_missed_does_not_count() {
        let mut clock = Clock::default();
        clock.sleep(Some(Time::from_nanos(2 * SECOND)));
        assert_eq!(seconds(clock.tell(2 * SECOND)), 2.0);
        assert_eq!(seconds(clock.tell(60 * SECOND)), 2.0, "it should have woken at 2");
        // Stopped once more before it came to look.
        assert_eq!(seconds(clock.tell(90 * SECOND)), 2.0);
        clock.wake();
        assert_eq!(seconds(clock.tell(91 * SECOND)), 3.0);
        assert_eq!(seconds(clock.tell(99 * SECOND)), 11.0, "it is awake, if busy");
    }

    #[test]
    fn a_little_late_is_late() {
        let mut clock = Clock::default();
        clock.sleep(Some(Time::from_nanos(2 * SECOND)));
        assert_eq!(seconds(clock.tell(2 * SECOND + SECOND / 4)), 2.25);
        assert_eq!(seconds(clock.tell(9 * SECOND)), 2.25, "it does not run backwards");
        assert_eq!(clock.skipped_ns(), 9 * SECOND - 2 * SECOND - SECOND / 4);
    }

    #[test]
    fn who_sleeps_until_called_is_late_only_once_called() {
        let mut clock = Clock::default();
        clock.sleep(None);
        let now = clock.tell(3_600 * SECOND);
        assert_eq!(seconds(now), 3_600.0);
        clock.call(now);
        assert_eq!(seconds(clock.tell(3_700 * SECOND)), 3_600.0);
    }

    #[test]
    fn a_call_that_finds_it_awake_changes_nothing() {
        let mut clock = Clock::default();
        clock.call(Time::from_nanos(SECOND));
        assert_eq!(seconds(clock.tell(9 * SECOND)), 9.0);
    }
}
