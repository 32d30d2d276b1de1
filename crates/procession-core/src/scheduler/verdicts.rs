//! What a worker's end means for the items it held: who is blamed, who moves on, and when it has been enough.
//!
//! Blame is per item. Only an item that has started can have had a part in the death, or would start twice if it moved
//! on; those behind it move on free of charge.

use super::Scheduler;
use crate::backlog::Run;
use crate::job::{Fate, Piece};
use crate::seat::{Cause, Concern, State};
use crate::{BrokenReason, Command, JobId, Outcome, WorkerId};

/// What a worker's end was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It never became ready, or was gone at once, idle or standing by.
    Early,
    /// It was lost while it held work, and not by our doing.
    Loss,
    /// It was stopped because of this item.
    Overdue { job: JobId, item: u64 },
    /// It held nothing, or was to go.
    Harmless,
    /// It was sent to rest: nobody takes its seat before work waits.
    Rest,
}

impl Scheduler {
    pub(super) fn on_worker_exited(&mut self, worker: WorkerId, begun: u64) {
        let Some(slot) = self.slot_of(worker) else { return };
        let held = self.at(slot).backlog.items();
        let end = self.end_of(slot, begun);
        // Neither done nor charged a single item, and gone at once: as if it had never become ready.
        let is_useless =
            end == End::Early || (end == End::Loss && held.min(begun) == 0 && !self.has_settled_in(slot));
        self.note_lost_successor(slot);
        self.give_back(slot, held.saturating_sub(begun));
        // From the last to the first, so that those that are tried again wait in their order.
        while let Some(held) = self.change_backlog(slot, |backlog| backlog.take_back(1)) {
            self.charge(held.run, end);
        }
        self.set_state(slot, State::Vacant);
        if self.has_settled_in(slot) && !is_useless {
            self.at_mut(slot).failed_starts = 0;
        }
        self.hand_over(slot);
        if end == End::Loss {
            self.count_loss();
        }
        if is_useless {
            self.crashed_early();
            return self.retry_start(slot);
        }
        match end {
            End::Early | End::Loss => self.refill(slot),
            End::Overdue { .. } | End::Harmless => {
                self.refill(slot);
                self.make_way(slot);
            }
            End::Rest => {}
        }
    }

    /// What the end of the worker in that seat is.
    fn end_of(&self, slot: u32, begun: u64) -> End {
        let seat = self.at(slot);
        let holds = !seat.backlog.is_empty();
        match seat.state {
            State::Starting { .. } | State::Ending { cause: Cause::Unready, .. } => End::Early,
            State::Busy { .. } if holds => End::Loss,
            State::Ending { cause: Cause::Faulty { at_work: true }, .. } => End::Loss,
            // It seemed to run an item for too long, but its page says now that it never began one.
            State::Ending { cause: Cause::Overdue { .. }, .. } if holds && begun == 0 => End::Loss,
            State::Ending { cause: Cause::Overdue { job, item }, .. } => End::Overdue { job, item },
            State::Standby
            | State::Idle { .. }
            | State::Busy { .. }
            | State::Ending { cause: Cause::Faulty { at_work: false }, .. } => {
                if self.has_settled_in(slot) {
                    End::Harmless
                } else {
                    End::Early
                }
            }
            State::Stopping { refill: false, .. }
            | State::Ending { cause: Cause::Stopped { refill: false }, .. } => End::Rest,
            State::Stopping { refill: true, .. }
            | State::Ending { cause: Cause::Stopped { refill: true } | Cause::Ordered, .. } => End::Harmless,
            State::Vacant | State::BackingOff { .. } => unreachable!("{} was there a moment ago", seat.id),
        }
    }

    pub(super) fn on_worker_faulty(&mut self, worker: WorkerId) {
        let Some(slot) = self.slot_of(worker) else { return };
        match self.at(slot).state {
            State::Vacant | State::BackingOff { .. } | State::Ending { kill_at: None, .. } => {}
            State::Starting { .. } => self.kill(slot, Cause::Unready),
            State::Standby | State::Idle { .. } => self.kill(slot, Cause::Faulty { at_work: false }),
            State::Stopping { refill, .. } => self.kill(slot, Cause::Stopped { refill }),
            State::Busy { .. } => self.withdraw(slot, Concern::Faulty),
            State::Ending { kill_at: Some(_), cause } => self.kill(slot, cause),
        }
    }

    /// An item had started and has no outcome when its worker died: its attempt is used up.
    fn charge(&mut self, run: Run, end: End) {
        let (id, item, attempt) = (run.job, run.first, run.attempt);
        let is_overdue = end == End::Overdue { job: id, item };
        let job = self.jobs.at_mut(id.index);
        let outcome = match job.fate {
            Some(fate @ (Fate::Cancelled | Fate::Expired | Fate::Refused(_))) => Some(fate.outcome()),
            Some(Fate::Abandoned) | None if is_overdue => Some(Outcome::TimedOut),
            Some(Fate::Abandoned) => Some(Outcome::Lost),
            None if attempt < job.options.max_attempts => None,
            None if job.options.max_attempts > 1 => Some(Outcome::Quarantined),
            None => Some(Outcome::Lost),
        };
        match outcome {
            None => {
                job.put_back(Piece { first: item, items: 1, attempt: attempt + 1 });
                let priority = job.options.priority;
                self.ready.push_front(id.index, priority);
                self.say(Command::Retry { job: id, item, attempt });
            }
            Some(outcome) => {
                job.held -= 1;
                self.say(Command::Settle { job: id, first: item, items: 1, outcome, attempts: attempt });
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
            let Run { job: id, first, items, attempt } = held.run;
            let items = u64::from(items);
            left -= items;
            let job = self.jobs.at_mut(id.index);
            match job.fate {
                None => {
                    job.put_back(Piece { first, items, attempt });
                    let priority = job.options.priority;
                    self.ready.push_front(id.index, priority);
                }
                Some(fate) => {
                    job.held -= items;
                    let (outcome, attempts) = (fate.outcome(), attempt - 1);
                    self.say(Command::Settle { job: id, first, items, outcome, attempts });
                    self.forget_if_settled(id.index);
                }
            }
        }
    }

    /// A worker was lost while it held work, and not by our doing. One that dies before it starts what it was
    /// given counts too: nothing is charged, so nothing else would ever end that.
    fn count_loss(&mut self) {
        self.lost_in_a_row += 1;
        let limit = self.policy.lost_in_a_row_max.unwrap_or((4 * self.policy.workers).max(20));
        if self.lost_in_a_row >= limit {
            self.fail(BrokenReason::EveryTaskKills);
        }
    }
}
