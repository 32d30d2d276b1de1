//! What callers say about their jobs: submitted, fed, closed, cancelled, dropped, out of time.

use super::Scheduler;
use crate::job::{Fate, Job, Piece};
use crate::seat::{Concern, State};
use crate::{Command, JobId, JobOptions, Outcome};

impl Scheduler {
    pub(super) fn on_submit(&mut self, id: JobId, options: JobOptions) {
        let mut job = Job::new(id, options);
        if self.ending || self.verdict.is_some() {
            job.fate = Some(Fate::Refused(self.verdict.unwrap_or(Outcome::NotRun)));
            self.refused += 1;
        } else if let Some(deadline) = job.options.deadline {
            let at = self.now + deadline;
            job.deadline = Some(at);
            self.deadlines.insert((at, id.index));
            self.wake_by(at);
        }
        self.jobs.insert(job);
    }

    pub(super) fn on_input(&mut self, id: JobId, items: u64, bytes: u64) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        assert!(
            job.input_open || job.fate == Some(Fate::Abandoned),
            "{id}: input after the input was closed"
        );
        job.input(items, bytes);
        if items == 0 {
            return;
        }
        match job.fate {
            None => {
                let priority = job.options.priority;
                self.ready.push_back(id.index, priority);
            }
            Some(fate) => self.settle_waiting(id.index, fate.outcome()),
        }
    }

    pub(super) fn on_input_closed(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.input_open = false;
        self.forget_if_settled(id.index);
    }

    pub(super) fn on_call(&mut self, id: JobId, options: JobOptions, items: u64, bytes: u64) {
        self.on_submit(id, options);
        self.on_input(id, items, bytes);
        self.on_input_closed(id);
    }

    pub(super) fn on_cancel(&mut self, id: JobId) {
        if self.jobs.get(id).is_some() {
            self.doom(id.index, Fate::Cancelled);
        }
    }

    pub(super) fn on_abandon(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.input_open = false;
        self.doom(id.index, Fate::Abandoned);
    }

    /// Ends the calls whose deadline has passed.
    pub(super) fn expire_jobs(&mut self) {
        while let Some(&(at, index)) = self.deadlines.first()
            && at <= self.now
        {
            self.doom(index, Fate::Expired);
        }
    }

    /// Decides a job's fate: what waits settles now, what workers hold is taken back or, where it is running,
    /// stopped or left alone. A dropped job may still be cancelled or run out of time; otherwise the first word
    /// counts.
    fn doom(&mut self, index: u32, fate: Fate) {
        let job = self.jobs.at_mut(index);
        let is_news = match job.fate {
            None => true,
            Some(Fate::Abandoned) => fate.stops_running(),
            Some(Fate::Cancelled | Fate::Expired | Fate::Refused(_)) => false,
        };
        if is_news {
            job.fate = Some(fate);
            let (id, held, input_open) = (job.id, job.held, job.input_open);
            // A dropped job keeps its deadline: nobody listens, but a stuck item must not hold the pool up for ever.
            if fate.stops_running()
                && let Some(at) = job.deadline.take()
            {
                self.deadlines.remove(&(at, index));
            }
            if fate == Fate::Expired && input_open {
                self.say(Command::StopInput { job: id });
            }
            self.settle_waiting(index, fate.outcome());
            if held > 0 {
                self.withdraw_job(id);
            }
        }
        self.forget_if_settled(index);
    }

    /// Takes a job's unstarted items back from every worker that holds some.
    fn withdraw_job(&mut self, id: JobId) {
        for slot in self.slots() {
            let seat = self.at(slot);
            if matches!(seat.state, State::Busy { .. }) && seat.backlog.runs().any(|run| run.job == id) {
                self.withdraw(slot, Concern::Doomed);
            }
        }
    }

    /// Settles all that waits.
    pub(super) fn settle_waiting(&mut self, index: u32, outcome: Outcome) {
        let job = self.jobs.at_mut(index);
        self.ready.remove(index, job.options.priority);
        while job.waiting() > 0 {
            let Piece { first, items, attempt } = job.take(u64::MAX);
            self.commands.push_back(Command::Settle {
                job: job.id,
                first,
                items,
                outcome,
                attempts: attempt - 1,
            });
        }
    }

    /// Says the last word about a job if every item has its outcome.
    pub(super) fn forget_if_settled(&mut self, index: u32) {
        let job = self.jobs.at(index);
        if !job.is_settled() {
            return;
        }
        let id = job.id;
        if let Some(at) = job.deadline {
            self.deadlines.remove(&(at, index));
        }
        if matches!(job.fate, Some(Fate::Refused(_))) {
            self.refused -= 1;
        }
        self.jobs.remove(index);
        self.say(Command::JobSettled { job: id });
    }

    /// Settles everything that has no outcome yet, now and from now on: the pool ends with this verdict. What
    /// workers hold is no longer theirs to answer.
    pub(super) fn settle_everything(&mut self, outcome: Outcome) {
        self.verdict = Some(outcome);
        for slot in self.slots() {
            while let Some(held) = self.change_backlog(slot, |backlog| backlog.take_front(u64::MAX)) {
                let run = held.run;
                let items = u64::from(run.items);
                self.jobs.at_mut(run.job.index).held -= items;
                let attempts = run.attempt - 1;
                self.say(Command::Settle { job: run.job, first: run.first, items, outcome, attempts });
            }
        }
        self.deadlines.clear();
        for index in 0..self.jobs.places() {
            if self.jobs.is_taken(index) {
                self.settle_waiting(index, outcome);
                let job = self.jobs.at_mut(index);
                job.deadline = None;
                if !matches!(job.fate, Some(Fate::Refused(_))) {
                    job.fate = Some(Fate::Refused(outcome));
                    self.refused += 1;
                }
                self.forget_if_settled(index);
            }
        }
    }
}
