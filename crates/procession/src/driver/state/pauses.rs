//! The pool's time as everybody under the lock sees it, and the pauses in which it stands still.

use std::sync::Arc;

use procession_core::Time;

use super::super::clock::LOOK_EVERY;
use super::super::effects::{Effects, Order};
use super::super::seat::Link;
use super::{Phase, State};
use crate::page::monotonic_ns;

impl State {
    /// The pool's time. Whatever the scheduler hears of time comes from here.
    pub(crate) fn now(&mut self) -> Time {
        let skipped = self.clock.skipped_ns();
        let now = self.clock.tell(monotonic_ns());
        if self.clock.skipped_ns() != skipped {
            self.set_workers_clocks();
        }
        now
    }

    /// A worker gets its link, and its clock shows the pool's time. `false`: the seat is not waiting for it.
    pub(crate) fn connect(&mut self, worker: procession_core::WorkerId, link: Arc<Link>) -> bool {
        link.page.set_skipped_ns(self.clock.skipped_ns());
        let Some(seat) = self.seat(worker) else { return false };
        seat.link = Some(link);
        true
    }

    /// The supervisor goes to sleep: by when it must look at the clock.
    pub(crate) fn sleep(&mut self) -> Option<(Time, Time)> {
        let now = self.now();
        let due = self.armed.filter(|_| !self.clock.is_frozen()).map(|due| due.min(now + LOOK_EVERY));
        self.clock.sleep(due);
        Some((now, due?))
    }

    /// The supervisor has woken: whether something is due, the time, and how much of it does not count so far, in
    /// nanoseconds.
    pub(crate) fn wake(&mut self) -> (bool, Time, u64) {
        let now = self.now();
        self.clock.wake();
        (self.armed.is_some_and(|due| due <= now), now, self.clock.skipped_ns())
    }

    /// Stops the clock and the workers. Returns the number of this pause.
    pub(crate) fn pause(&mut self, effects: &mut Effects) -> u64 {
        if self.phase != Phase::Finished {
            self.clock.freeze(monotonic_ns());
        }
        self.pauses += 1;
        effects.orders.push(Order::Halt);
        self.pauses
    }

    /// Ends a pause, if there is one.
    pub(crate) fn resume(&mut self, effects: &mut Effects) {
        if self.clock.is_frozen() {
            self.clock.thaw(monotonic_ns());
            // Before any of them goes on.
            self.set_workers_clocks();
            effects.orders.push(Order::Halt);
        }
    }

    /// Whether workers are to be stopped, and how many pauses that takes account of.
    pub(crate) fn is_paused(&self) -> (bool, u64) {
        (self.clock.is_frozen(), self.pauses)
    }

    /// Workers note the pool's time, not the machine's.
    fn set_workers_clocks(&self) {
        let skipped = self.clock.skipped_ns();
        for link in self.seats.iter().filter_map(|seat| seat.link.as_ref()) {
            link.page.set_skipped_ns(skipped);
        }
    }
}
