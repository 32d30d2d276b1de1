//! Results that lie finished in a worker's page behind an item that takes long.
//!
//! A worker sends results between items, so a quick item's waits for the slow one after it. Nobody should: while a
//! worker holds several items and says nothing, the supervisor looks into its page now and then.

use std::sync::Arc;
use std::time::Duration;

use procession_core::{Time, WorkerId};

use super::State;
use crate::driver::Driver;
use crate::driver::seat::Unsent;

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

    /// Where results may lie that are late, if it is time for a look.
    fn late_results(&mut self, now: Time) -> Vec<(WorkerId, Unsent)> {
        if self.look_at.is_none_or(|due| now < due) {
            return Vec::new();
        }
        let is_needed = self.seats.iter().any(|seat| seat.could_be_late());
        self.look_at = is_needed.then(|| now + LOOK_EVERY);
        let late = (0..).zip(&mut self.seats).filter_map(|(slot, seat)| {
            let worker = WorkerId { slot, generation: seat.generation };
            Some((worker, seat.late()?))
        });
        late.collect()
    }
}

impl Driver {
    /// Takes what is late, if it is time for a look. To be followed by a tick, which sees to the next one.
    pub(crate) fn look_for_late_results(&self, now: Time) {
        let late = self.state.lock().late_results(now);
        for (worker, unsent) in late {
            let Some(bytes) = unsent.read() else { continue };
            self.with_state(|state, now, effects| {
                let taken = state.seat(worker).and_then(|seat| seat.take_late(&unsent, &bytes));
                if let Some((header, records)) = taken {
                    state.take_results(now, worker, &header, &Arc::from(records), 0, effects);
                }
            });
        }
    }
}
