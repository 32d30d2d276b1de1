//! What is heard of workers that live: items done, items taken back, how long the present one has been running.

use std::time::Duration;

use super::Scheduler;
use crate::seat::{Cause, Concern, State, Watch};
use crate::time::nanos;
use crate::{Command, Time, WorkerId};

impl Scheduler {
    pub(super) fn on_done(&mut self, worker: WorkerId, items: u64, busy: Duration) {
        let Some(slot) = self.slot_of(worker) else { return };
        let held = self.at(slot).backlog.items();
        // With the pool's verdict everything was settled: what is still said counts no more.
        assert!(
            items <= held || self.verdict.is_some(),
            "{worker} did more than it was given"
        );
        let items = items.min(held);
        if items == 0 {
            return;
        }
        self.take_done(slot, items, busy);
        self.lost_in_a_row = 0;
        let now = self.now;
        let seat = self.at_mut(slot);
        seat.completed += items;
        seat.progress = now;
        seat.asked = false;
        match seat.state {
            State::Busy {
                watch: Watch::Withdrawing(_) | Watch::Confirming,
            } => {}
            State::Busy { .. } => self.go_on(slot),
            State::Ending { .. } => {}
            State::Vacant
            | State::BackingOff { .. }
            | State::Starting { .. }
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
            learnt = Lesson {
                task,
                items: learnt.items + done,
                ns: learnt.ns + done * held.cost.ns,
            };
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
        let held = seat.backlog.items();
        assert!(
            items <= held || self.verdict.is_some(),
            "{worker} gave back more than it was given"
        );
        let items = items.min(held);
        self.at_mut(slot).handed_out -= items;
        self.give_back(slot, items);
        match self.at(slot).state {
            State::Busy {
                watch: Watch::Withdrawing(concern),
            } => self.look_closer(slot, concern),
            State::Busy { .. } if self.at(slot).backlog.is_empty() => self.go_on(slot),
            State::Busy { .. } | State::Ending { .. } => {}
            State::Vacant
            | State::BackingOff { .. }
            | State::Starting { .. }
            | State::Idle { .. }
            | State::Stopping { .. } => unreachable!("{worker} was asked back what it could not have"),
        }
    }

    pub(super) fn on_running(&mut self, worker: WorkerId, since: Option<Time>) {
        let Some(slot) = self.slot_of(worker) else { return };
        let State::Busy { watch } = self.at(slot).state else {
            return;
        };
        let backlog = &self.at(slot).backlog;
        let run = match watch {
            Watch::Probing => backlog.front(),
            // Nothing behind the running item is left: the last one held is the one that is running.
            Watch::Confirming => backlog.back(),
            Watch::Off | Watch::Until(_) | Watch::Withdrawing(_) => return,
        };
        let Some(&run) = run else { return self.go_on(slot) };
        let Some(timeout) = self.jobs.at(run.job.index).options.timeout else {
            return self.rewatch(slot);
        };
        // What the worker's page says is a hint from a suspect: a start in the future counts as one just now.
        let overdue_at = since.unwrap_or(self.now).min(self.now) + timeout;
        if since.is_none() || self.now < overdue_at {
            self.set_state(
                slot,
                State::Busy {
                    watch: Watch::Until(overdue_at),
                },
            );
        } else if watch == Watch::Confirming {
            let item = run.first + u64::from(run.items) - 1;
            self.terminate_worker(slot, Cause::Overdue { job: run.job, item });
        } else {
            self.withdraw(slot, Concern::Overdue);
        }
    }

    /// Nothing behind the running item is left with this worker, so a signal can hit no innocent item. Is there
    /// reason for one?
    fn look_closer(&mut self, slot: u32, concern: Concern) {
        if concern == Concern::Faulty {
            return self.kill(slot, Cause::Faulty);
        }
        let Some(last) = self.at(slot).backlog.back() else {
            return self.go_on(slot);
        };
        if self
            .jobs
            .at(last.job.index)
            .fate
            .is_some_and(|fate| fate.stops_running())
        {
            return self.terminate_worker(slot, Cause::Ordered);
        }
        match concern {
            Concern::Overdue => {
                self.set_state(
                    slot,
                    State::Busy {
                        watch: Watch::Confirming,
                    },
                );
                self.say(Command::Probe {
                    worker: self.at(slot).id,
                });
            }
            Concern::Doomed => self.rewatch(slot),
            Concern::Faulty => unreachable!("a faulty worker is past being looked at"),
        }
    }

    /// A worker's front item changed, or its queue ran empty.
    pub(super) fn go_on(&mut self, slot: u32) {
        let seat = self.at(slot);
        if !seat.backlog.is_empty() {
            self.rewatch(slot);
            self.list_if_roomy(slot);
        } else if seat.reclaiming {
            // The answer decides: it finds nothing left.
        } else if !seat.wanted || seat.allowance(self.policy.max_tasks_per_worker) == 0 {
            self.stop(slot, true);
        } else {
            self.rest(slot);
        }
    }

    /// Watches over the item that is now at the front; it started just now at the earliest.
    fn rewatch(&mut self, slot: u32) {
        let front = self.at(slot).backlog.front();
        let timeout = front.and_then(|run| self.jobs.at(run.job.index).options.timeout);
        self.set_state(
            slot,
            State::Busy {
                watch: Watch::starting(self.now, timeout),
            },
        );
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
