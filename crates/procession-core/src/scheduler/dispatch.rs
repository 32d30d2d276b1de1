//! Handing out: which worker gets how much of which job, and when a worker has to give some of it back.
//!
//! The promise: while an item waits, no ready worker is without work.

use super::Scheduler;
use crate::Command;
use crate::backlog::{Backlog, Cost, Held, Run};
use crate::handout;
use crate::seat::{Prospect, Seat, State, Watch};

impl Scheduler {
    /// Hands out until either the work or the room for it runs out, then has vacant seats filled for what is left.
    pub(super) fn dispatch(&mut self) {
        let mut last = None;
        while let Some(index) = self.ready.front() {
            let Some(slot) = self.taker(index, last) else { break };
            self.hand_out(slot, index);
            last = Some(slot);
        }
        self.fill_vacancies();
    }

    /// Who gets the next hand-out of that job: an idle worker; failing that, a busy one with room.
    ///
    /// A retry runs alone, an item of unknown run time is an experiment, and one that exceeds a hand-out has no
    /// room beside others: they wait for an idle worker, and everything behind them waits too, so that one soon is.
    fn taker(&mut self, index: u32, last: Option<u32>) -> Option<u32> {
        let job = self.jobs.at(index);
        let known_ns = self.estimates.item_ns(job.options.task);
        let may_join = !job.next_is_retry() && job.item_bytes() <= handout::HANDOUT_BYTES_MAX;
        let joinable_ns = known_ns.filter(|_| may_join);
        if let Some(&slot) = self.idle.last() {
            let company = joinable_ns.filter(|_| job.waiting() == 1).and_then(|ns| self.company(ns));
            return Some(company.unwrap_or(slot));
        }
        let item_ns = joinable_ns?;
        let waiting = job.waiting() + (self.ready.len() as u64 - 1);
        let is_fair = |seat: &Seat| handout::is_fair(seat.backlog.items(), waiting, self.policy.workers);
        // Who just got something gets the rest of its share at once: it goes into the same message.
        if let Some(slot) =
            last.filter(|&slot| self.at(slot).has_room(&self.policy) && is_fair(self.at(slot)))
        {
            return Some(slot);
        }
        // What waits is worth a message, or else it goes along once this worker has told us something.
        let is_a_lot = waiting.saturating_mul(item_ns) >= self.worth_moving_ns();
        let dry_ns = if self.load.lot_ns(self.now).is_some() { 0 } else { handout::WORTH_MOVING_NS / 2 };
        let mut asked = 0;
        while asked < handout::TAKERS_ASKED_MAX.min(self.roomy.len()) {
            let slot = self.roomy[0];
            let seat = self.at(slot);
            if !seat.has_room(&self.policy) {
                self.roomy.pop_front();
                self.at_mut(slot).listed = false;
            } else if (is_a_lot || seat.backlog.ns() < dry_ns)
                && handout::is_fair(seat.backlog.items(), waiting, self.policy.workers)
            {
                return Some(slot);
            } else {
                self.roomy.rotate_left(1);
                asked += 1;
            }
        }
        None
    }

    /// A busy worker that a single item may join although another one is idle: it has so little to do that to wake
    /// the other is not worth it.
    fn company(&self, item_ns: u64) -> Option<u32> {
        let lot_ns = self.load.lot_ns(self.now).filter(|_| handout::is_burst(self.jobs.len(), item_ns))?;
        let slot = self.joined?;
        let seat = self.at(slot);
        let is_small = seat.backlog.ns() + item_ns <= lot_ns;
        (is_small && seat.has_room(&self.policy)).then_some(slot)
    }

    /// Less work than this is worth neither a message of its own nor a reclaim.
    fn worth_moving_ns(&self) -> u64 {
        self.load.lot_ns(self.now).unwrap_or(0).max(handout::indivisible_ns(self.policy.workers))
    }

    fn hand_out(&mut self, slot: u32, index: u32) {
        let job = self.jobs.at(index);
        let (id, priority, timeout) = (job.id, job.options.priority, job.options.timeout);
        let item_ns = self.estimates.item_ns(job.options.task);
        let cost =
            Cost { ns: item_ns.unwrap_or(handout::target_ns(self.policy.workers)), bytes: job.item_bytes() };
        let allowance = self.at(slot).allowance(self.policy.max_tasks_per_worker);
        let items = handout::items(job, item_ns, self.policy.workers).min(allowance);

        let job = self.jobs.at_mut(index);
        let piece = job.hand_out(items);
        let run = Run { job: id, first: piece.first, items: piece.items as u32, attempt: piece.attempt };
        if job.waiting() == 0 {
            self.ready.remove(index, priority);
        } else if !job.has_returned() {
            self.ready.remove(index, priority);
            self.ready.push_back(index, priority);
        }

        self.change_backlog(slot, |backlog| backlog.push(Held { run, cost }));
        let now = self.now;
        let seat = self.at_mut(slot);
        seat.handed_out += piece.items;
        if matches!(seat.state, State::Idle { .. }) {
            seat.progress = now;
            seat.asked = false;
            self.set_state(slot, State::Busy { watch: Watch::Off });
            self.joined = Some(slot);
        } else if self.roomy.front() == Some(&slot) {
            // Its turn is over.
            self.roomy.pop_front();
            self.at_mut(slot).listed = false;
        }
        self.watch_run(slot, timeout);
        self.list_if_roomy(slot);
        let worker = self.at(slot).id;
        let Run { job, first, items, attempt } = run;
        self.say(Command::Dispatch { worker, job, first, items, attempt });
        if allowance == piece.items {
            self.start_successor(slot);
        }
    }

    /// Lets a busy worker wait for more, if it has room.
    pub(super) fn list_if_roomy(&mut self, slot: u32) {
        let seat = &mut self.seats[slot as usize];
        if !seat.listed && seat.has_room(&self.policy) {
            seat.listed = true;
            self.roomy.push_back(slot);
        }
    }

    /// Moves work to where nothing is left to do: takes back what the worker with the most of it has not started.
    ///
    /// One worker at a time, and none twice before it got on, unless it was given something new: then the longer it
    /// has not got on, the later. So items are not passed round for ever, however slow the workers are to begin.
    pub(super) fn balance(&mut self) {
        let has_taker = !self.idle.is_empty() || (self.vacancies > 0 && self.starting == 0);
        if self.deep == 0 || !self.ready.is_empty() || !has_taker {
            return;
        }
        if self.now < self.balance_at {
            return self.wake_by(self.balance_at);
        }
        self.balance_at = self.now + handout::balance_pause(self.seats.len());
        let mut best: Option<(u64, u32)> = None;
        let worth_moving_ns = self.worth_moving_ns();
        for slot in self.slots() {
            let Some(Prospect { left_ns, stuck_at }) = self.at(slot).prospect(self.now) else {
                continue;
            };
            let gain = if stuck_at <= self.now { u64::MAX } else { left_ns };
            // Only a worker that is stuck is reason to start another one.
            let is_worth_it =
                gain >= worth_moving_ns && !self.idle.is_empty() && !self.is_held_for_the_master(slot);
            if gain < u64::MAX && !is_worth_it {
                self.wake_by(stuck_at);
            } else if best.is_none_or(|(most, _)| gain > most) {
                best = Some((gain, slot));
            }
        }
        if let Some((_, slot)) = best {
            self.reclaim(slot);
        }
    }

    /// Whether the last of what a worker holds is from a stream whose items are quicker than the master. Others are idle
    /// then because nothing more has come yet, and a hand-out is as large as it is to cost the master less.
    fn is_held_for_the_master(&self, slot: u32) -> bool {
        let job = self.at(slot).backlog.back().map(|run| self.jobs.at(run.job.index));
        job.is_some_and(|job| {
            let item_ns = self.estimates.item_ns(job.options.task);
            job.input_open && handout::is_quick(item_ns, self.policy.workers)
        })
    }

    /// Asks a worker's queue back, unless that was just done.
    pub(super) fn reclaim(&mut self, slot: u32) {
        let seat = self.at_mut(slot);
        if !std::mem::replace(&mut seat.reclaiming, true) {
            let worker = seat.id;
            self.say(Command::Reclaim { worker });
        }
    }

    /// The one way to change what a worker holds: it keeps the count of those that hold more than they can run.
    pub(super) fn change_backlog<R>(&mut self, slot: u32, change: impl FnOnce(&mut Backlog) -> R) -> R {
        let backlog = &mut self.seats[slot as usize].backlog;
        let was_deep = usize::from(backlog.items() > 1);
        let result = change(backlog);
        let is_deep = usize::from(backlog.items() > 1);
        self.deep = self.deep + is_deep - was_deep;
        result
    }
}
