//! What a worker's end means for the items it held: who is blamed, who moves on, and when it has been enough.
//!
//! Blame is per item. Only the item that was running can have had a part in the death; those behind it had not
//! started and move on free of charge.

use super::Scheduler;
use crate::backlog::Run;
use crate::job::{Fate, Piece};
use crate::seat::{Cause, Concern, State};
use crate::{BrokenReason, Command, Outcome, WorkerId};

impl Scheduler {
    pub(super) fn on_worker_exited(&mut self, worker: WorkerId, running: bool) {
        let Some(slot) = self.slot_of(worker) else { return };
        let held_work = !self.at(slot).backlog.is_empty();
        let (is_loss, overdue, unready, refill) = match self.at(slot).state {
            State::Vacant | State::BackingOff { .. } => return,
            State::Starting { .. }
            | State::Ending {
                cause: Cause::Unready,
                ..
            } => (false, None, true, true),
            State::Idle { .. } => (false, None, false, true),
            State::Busy { .. }
            | State::Ending {
                cause: Cause::Faulty, ..
            } => (held_work, None, false, true),
            State::Ending {
                cause: Cause::Overdue { job, item },
                ..
            } => (false, Some((job, item)), false, true),
            State::Ending {
                cause: Cause::Ordered,
                ..
            } => (false, None, false, true),
            State::Stopping { refill, .. } => (false, None, false, refill),
        };
        let started = u64::from(running);
        self.give_back(slot, self.at(slot).backlog.items().saturating_sub(started));
        if running {
            self.charge_front(slot, |run| overdue == Some((run.job, run.first)));
        }
        self.set_state(slot, State::Vacant);
        if is_loss {
            self.count_loss();
        }
        if unready {
            self.crashed_unready();
            self.retry_start(slot);
        } else if refill {
            self.refill(slot);
        }
    }

    pub(super) fn on_worker_faulty(&mut self, worker: WorkerId) {
        let Some(slot) = self.slot_of(worker) else { return };
        match self.at(slot).state {
            State::Vacant | State::BackingOff { .. } | State::Ending { kill_at: None, .. } => {}
            State::Starting { .. } => self.kill(slot, Cause::Unready),
            State::Idle { .. } | State::Stopping { .. } => self.kill(slot, Cause::Ordered),
            State::Busy { .. } => self.withdraw(slot, Concern::Faulty),
            State::Ending {
                kill_at: Some(_),
                cause,
            } => self.kill(slot, cause),
        }
    }

    /// The front item was running when its worker died: its attempt is used up.
    fn charge_front(&mut self, slot: u32, is_overdue: impl FnOnce(&Run) -> bool) {
        let Some(held) = self.change_backlog(slot, |backlog| backlog.take_front(1)) else {
            return;
        };
        let run = held.run;
        let (id, item, attempt) = (run.job, run.first, run.attempt);
        let job = self.jobs.at_mut(id.index);
        let outcome = match job.fate {
            Some(Fate::Cancelled | Fate::Expired | Fate::Refused(_)) => job.fate.map(Fate::outcome),
            _ if is_overdue(&run) => Some(Outcome::TimedOut),
            Some(Fate::Abandoned) => Some(Outcome::Lost),
            None if attempt < job.options.max_attempts => None,
            None if job.options.max_attempts > 1 => Some(Outcome::Quarantined),
            None => Some(Outcome::Lost),
        };
        match outcome {
            None => {
                job.put_back(Piece {
                    first: item,
                    items: 1,
                    attempt: attempt + 1,
                });
                let priority = job.options.priority;
                self.ready.push_front(id.index, priority);
                self.say(Command::Retry {
                    job: id,
                    item,
                    attempt,
                });
            }
            Some(outcome) => {
                job.held -= 1;
                self.say(Command::Settle {
                    job: id,
                    first: item,
                    items: 1,
                    outcome,
                    attempts: attempt,
                });
                self.forget_if_settled(id.index);
            }
        }
    }

    /// The last `items` of a worker's queue had not started: they wait again, before all others of their jobs, or
    /// settle if their job's fate is decided.
    pub(super) fn give_back(&mut self, slot: u32, items: u64) {
        let mut left = items;
        while left > 0
            && let Some(held) = self.change_backlog(slot, |backlog| backlog.take_back(left))
        {
            let Run {
                job: id,
                first,
                items,
                attempt,
            } = held.run;
            let items = u64::from(items);
            left -= items;
            let job = self.jobs.at_mut(id.index);
            match job.fate {
                None => {
                    job.put_back(Piece {
                        first,
                        items,
                        attempt,
                    });
                    let priority = job.options.priority;
                    self.ready.push_front(id.index, priority);
                }
                Some(fate) => {
                    job.held -= items;
                    let (outcome, attempts) = (fate.outcome(), attempt - 1);
                    self.say(Command::Settle {
                        job: id,
                        first,
                        items,
                        outcome,
                        attempts,
                    });
                    self.forget_if_settled(id.index);
                }
            }
        }
    }

    /// A worker was lost while it held work, and not by our doing. One that dies before it starts what it was
    /// given counts too: nothing is charged, so nothing else would ever end that.
    fn count_loss(&mut self) {
        self.lost_in_a_row += 1;
        let limit = self
            .policy
            .lost_in_a_row_max
            .unwrap_or((4 * self.policy.workers).max(20));
        if self.lost_in_a_row >= limit {
            self.fail(BrokenReason::EveryTaskKills);
        }
    }
}
