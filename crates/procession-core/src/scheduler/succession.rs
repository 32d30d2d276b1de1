//! Replacing a worker that has done its share: its successor starts before it has left, in the other seat of its place.
//!
//! A place is held by one of its two seats. Only that one is given work, so no more items run at once than there are
//! places. The other one, the spare, is empty, or its worker is on the way in or on the way out; which bounds the
//! processes of a place at two.

use super::Scheduler;
use crate::WorkerId;
use crate::seat::{Cause, Seat, State};

impl Scheduler {
    pub(super) fn on_worker_bloated(&mut self, worker: WorkerId) {
        let Some(slot) = self.slot_of(worker) else { return };
        match self.at(slot).state {
            State::Idle { .. } if self.at(slot).is_productive => {
                self.at_mut(slot).bloated = true;
                self.retire(slot);
            }
            State::Busy { .. } if !self.at(slot).bloated => {
                self.at_mut(slot).bloated = true;
                if self.at(slot).is_productive {
                    self.start_successor(slot);
                }
                // What it is running it delivers; all else runs elsewhere.
                self.reclaim(slot);
            }
            // One that is too large from its start is of use for one item, or nothing would ever be done.
            State::Idle { .. } | State::Busy { .. } | State::Starting { .. } | State::Standby => {}
            State::Vacant | State::BackingOff { .. } | State::Stopping { .. } | State::Ending { .. } => {}
        }
    }

    /// A worker that is too large, and has done nothing yet, gave back what it has not begun. If that is all it had, it may
    /// stay for one item: the next one would be as large.
    pub(super) fn reconsider_size(&mut self, slot: u32) {
        let seat = self.at_mut(slot);
        if !seat.bloated || seat.is_productive {
            return;
        }
        if seat.backlog.is_empty() {
            seat.bloated = false;
        } else {
            self.start_successor(slot);
        }
    }

    /// The worker that holds this place is about to leave: has the one started that will take over.
    pub(super) fn start_successor(&mut self, slot: u32) {
        let waits_for_work = self.policy.lazy_start && self.ready.is_empty();
        let does_without = self.now < self.at(slot).no_successor_before;
        if !self.at(slot).wanted || waits_for_work || does_without || self.is_over() {
            return;
        }
        let twin = self.twin_of(slot);
        if self.at(twin).state == State::Vacant && self.now >= self.at(twin).due {
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

    /// If a successor is lost before it takes over: perhaps it cannot live beside its predecessor, which holds a port, a
    /// lock or the memory. For a while the place is filled again only when nobody is there.
    pub(super) fn note_lost_successor(&mut self, slot: u32) {
        let seat = self.at(slot);
        let Seat { is_spare: true, twin: Some(holder), .. } = *seat else { return };
        let is_successor = match seat.state {
            State::Starting { .. } | State::Standby => true,
            State::Ending { cause, .. } => matches!(cause, Cause::Unready | Cause::Faulty { .. }),
            // A predecessor, on its way out.
            State::Vacant | State::BackingOff { .. } | State::Stopping { .. } => false,
            State::Idle { .. } | State::Busy { .. } => unreachable!("{} has work in a spare seat", seat.id),
        };
        if is_successor {
            let until = self.now + self.policy.back_off_max;
            self.at_mut(slot).no_successor_before = until;
            self.at_mut(holder).no_successor_before = until;
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
