//! What is heard of workers that get on: items done, items taken back.

use std::time::Duration;

use super::Scheduler;
use crate::WorkerId;
use crate::seat::{State, Watch};
use crate::time::nanos;

impl Scheduler {
    pub(super) fn on_done(&mut self, worker: WorkerId, items: u64, busy: Duration) {
        let Some(slot) = self.slot_of(worker) else { return };
        let held = self.at(slot).backlog.items();
        // With the pool's verdict everything was settled: what is still said counts no more.
        assert!(items <= held || self.verdict.is_some(), "{worker} did more than it was given");
        let items = items.min(held);
        if items == 0 {
            return;
        }
        self.load.reply(self.now);
        self.take_done(slot, items, busy);
        self.lost_in_a_row = 0;
        let now = self.now;
        let seat = self.at_mut(slot);
        seat.completed += items;
        seat.is_productive = true;
        seat.progress = now;
        seat.asked = false;
        seat.asked_in_vain = 0;
        match seat.state {
            State::Busy { watch: Watch::Withdrawing(_) | Watch::Confirming } => {}
            State::Busy { .. } => self.go_on(slot),
            State::Ending { .. } => {}
            State::Vacant
            | State::BackingOff { .. }
            | State::Starting { .. }
            | State::Standby
            | State::Idle { .. }
            | State::Stopping { .. } => unreachable!("{worker} held items while it could not have any"),
        }
    }

    /// Counts the first `items` of a worker's queue as done, and learns how long they took.
    fn take_done(&mut self, slot: u32, items: u64, busy: Duration) {
        // A report may span tasks: each is taken to have its part of the time in proportion to what was expected.
        let expected = u128::from(self.at(slot).backlog.ns_of_front(items));
        let busy_ns = u128::from(nanos(busy));
        let part = |ns: u64| match u128::from(ns) {
            ns if ns == expected => busy,
            ns => Duration::from_nanos((busy_ns * ns / expected) as u64),
        };
        let mut left = items;
        let mut learnt = Lesson::default();
        while left > 0
            && let Some(held) = self.change_backlog(slot, |backlog| backlog.take_front(left))
        {
            let done = u64::from(held.run.items);
            left -= done;
            let job = self.jobs.at_mut(held.run.job.index);
            job.held -= done;
            let task = job.options.task;
            self.forget_if_settled(held.run.job.index);
            if learnt.task != task && learnt.items > 0 {
                self.estimates.learn(learnt.task, learnt.items, part(learnt.ns));
                learnt = Lesson::default();
            }
            learnt = Lesson { task, items: learnt.items + done, ns: learnt.ns + done * held.cost.ns };
        }
        self.estimates.learn(learnt.task, learnt.items, part(learnt.ns));
    }

    pub(super) fn on_reclaimed(&mut self, worker: WorkerId, items: u64) {
        let Some(slot) = self.slot_of(worker) else { return };
        let seat = self.at_mut(slot);
        if !std::mem::replace(&mut seat.reclaiming, false) {
            return;
        }
        seat.asked = true;
        seat.asked_in_vain = seat.asked_in_vain.saturating_add(1);
        let held = seat.backlog.items();
        assert!(items <= held || self.verdict.is_some(), "{worker} gave back more than it was given");
        let items = items.min(held);
        self.at_mut(slot).handed_out -= items;
        self.give_back(slot, items);
        self.reconsider_size(slot);
        match self.at(slot).state {
            State::Busy { watch: Watch::Withdrawing(concern) } => self.look_closer(slot, concern),
            State::Busy { .. } if self.at(slot).backlog.is_empty() => self.go_on(slot),
            State::Busy { .. } | State::Ending { .. } => {}
            State::Vacant
            | State::BackingOff { .. }
            | State::Starting { .. }
            | State::Standby
            | State::Idle { .. }
            | State::Stopping { .. } => unreachable!("{worker} was asked back what it could not have"),
        }
    }

    /// A worker's queue became shorter, or empty.
    pub(super) fn go_on(&mut self, slot: u32) {
        let seat = self.at(slot);
        if !seat.backlog.is_empty() {
            self.list_if_roomy(slot);
        } else if seat.reclaiming {
            // The answer decides: it finds nothing left.
        } else if !seat.wanted || seat.allowance(self.policy.max_tasks_per_worker) == 0 {
            self.retire(slot);
        } else {
            self.rest(slot);
        }
    }
}

/// What a report says about one task.
#[derive(Default)]
struct Lesson {
    task: u32,
    items: u64,
    /// What they were expected to take.
    ns: u64,
}
