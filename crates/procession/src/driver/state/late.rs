//! Results that lie finished in a worker's page behind an item that takes long.
//!
//! A worker sends results between items, so a quick item's waits for the slow one after it. Nobody should: while a
//! worker holds several items and says nothing, the supervisor looks into its page now and then.

use std::sync::Arc;
use std::time::Duration;

use procession_core::{Time, WorkerId};

use super::{Effects, State};

/// Results are at most twice as late as this. A look costs some microseconds, so a hundred a second cost nothing.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl State {
    /// A worker was sent several items at once. `true`: the supervisor must look at the clock earlier than it
    /// planned to.
    pub(crate) fn expect_late_results(&mut self) -> bool {
        if self.look_at.is_some() {
            return false;
        }
        let now = self.now();
        let due = now + LOOK_EVERY;
        self.look_at = Some(due);
        let is_earlier = self.armed.is_none_or(|armed| due < armed);
        if is_earlier {
            self.armed = Some(due);
            self.clock.call(now);
        }
        is_earlier
    }

    /// Takes what is late, if it is time for a look.
    pub(super) fn look_for_late_results(&mut self, now: Time, effects: &mut Effects) {
        if self.look_at.is_none_or(|due| now < due) {
            return;
        }
        for slot in 0..self.seats.len() {
            let seat = &mut self.seats[slot];
            let worker = WorkerId { slot: slot as u32, generation: seat.generation };
            if let Some((header, records)) = seat.take_late() {
                self.take_results(now, worker, &header, &Arc::from(records), 0, effects);
            }
        }
        let is_needed = self.seats.iter().any(|seat| seat.could_be_late());
        self.look_at = is_needed.then(|| now + LOOK_EVERY);
    }
}
