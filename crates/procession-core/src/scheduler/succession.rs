//! Replacing a worker that has done its share: its successor starts before it has left, in the other seat of its place.
//!
//! A place is held by one of its two seats. Only that one is given work, so no more items run at once than there are
//! places. The other one, the spare, is empty, or its worker is on the way in or on the way out; which bounds the
//! processes of a place at two.

use super::Scheduler;
use crate::WorkerId;
use crate::seat::{Seat, State};

impl Scheduler {
    /// What it is running it delivers; nothing more is begun there.
    pub(super) fn replace_when_free(&mut self, worker: WorkerId) {
        let Some(slot) = self.slot_of(worker) else { return };
        match self.at(slot).state {
            State::Idle { .. } => {
                self.at_mut(slot).is_spent = true;
                self.retire(slot);
            }
            State::Busy { .. } if !self.at(slot).is_spent => {
                self.at_mut(slot).is_spent = true;
                self.start_successor(slot);
                // What it has not begun runs elsewhere.
                self.reclaim(slot);
            }
            State::Busy { .. } | State::Starting { .. } | State::Standby => {}
            State::Vacant | State::BackingOff { .. } | State::Stopping { .. } | State::Ending { .. } => {}
        }
    }

    /// The worker that holds this place is about to leave: has the one started that will take over.
    pub(super) fn start_successor(&mut self, slot: u32) {
        let waits_for_work = self.policy.lazy_start && self.ready.is_empty();
        if !self.at(slot).wanted || waits_for_work || self.is_over() {
            return;
        }
        let twin = self.twin_of(slot);
        if self.at(twin).state == State::Vacant {
            self.fill(twin);
        }
    }

    /// A worker that holds nothing, and gets nothing more, leaves. Whoever takes over need not wait until it is gone.
    pub(super) fn retire(&mut self, slot: u32) {
        self.start_successor(slot);
        self.hand_over(slot);
        self.stop(slot, true);
    }

    /// Gives the place to the worker that was started for it, if there is one.
    pub(super) fn hand_over(&mut self, slot: u32) {
        let Some(twin) = self.successor(slot) else { return };
        self.exchange(slot, twin);
        if self.at(twin).state == State::Standby {
            self.rest(twin);
        }
    }

    /// Nobody is to take over: whoever was started for that is stopped.
    pub(super) fn dismiss_successor(&mut self, slot: u32) {
        if let Some(twin) = self.successor(slot) {
            self.stop(twin, true);
        }
    }

    /// A worker that had left its place to another one is gone. That one may be about to leave, too.
    pub(super) fn make_way(&mut self, slot: u32) {
        let Seat { is_spare: true, twin: Some(holder), .. } = *self.at(slot) else { return };
        let seat = self.at(holder);
        if matches!(seat.state, State::Busy { .. }) && seat.allowance(self.policy.max_tasks_per_worker) == 0 {
            self.start_successor(holder);
        }
    }

    /// The seat of the worker that is to take over from that one.
    fn successor(&self, slot: u32) -> Option<u32> {
        let twin = self.at(slot).twin.filter(|_| !self.at(slot).is_spare)?;
        matches!(self.at(twin).state, State::Starting { .. } | State::Standby).then_some(twin)
    }

    /// The spare seat of a place, made if it is the first time that one is needed.
    fn twin_of(&mut self, slot: u32) -> u32 {
        if let Some(twin) = self.at(slot).twin {
            return twin;
        }
        let twin = self.seats.len() as u32;
        let place = self.at(slot).place;
        self.seats.push(Seat { twin: Some(slot), is_spare: true, wanted: false, ..Seat::new(twin, place) });
        self.at_mut(slot).twin = Some(twin);
        twin
    }

    /// Lets the twin hold the place.
    fn exchange(&mut self, slot: u32, twin: u32) {
        self.discount(slot);
        self.discount(twin);
        let wanted = std::mem::replace(&mut self.at_mut(slot).wanted, false);
        self.at_mut(twin).wanted = wanted;
        self.at_mut(slot).is_spare = true;
        self.at_mut(twin).is_spare = false;
        self.count(slot);
        self.count(twin);
    }
}
