//! Time limits, and the closer look that precedes every signal to a worker that has work.
//!
//! A worker may hold ended items whose replies were not heard yet, so which item it is running is not known from
//! the books alone. `PROTOCOL.md` says why no innocent item is ever stopped all the same.

use std::time::Duration;

use super::Scheduler;
use crate::seat::{Cause, Concern, State, Watch};
use crate::{Command, JobId, Time, WorkerId};

impl Scheduler {
    /// A run with that time limit joined the worker's queue: it starts now at the earliest.
    pub(super) fn watch_run(&mut self, slot: u32, timeout: Option<Duration>) {
        let Some(timeout) = timeout else { return };
        let at = self.now + timeout.min(self.policy.stall_timeout);
        match self.watch_of(slot) {
            Watch::Off => self.watch(slot, Watch::Until(at)),
            Watch::Until(until) => self.watch(slot, Watch::Until(until.min(at))),
            Watch::Probing | Watch::Withdrawing(_) | Watch::Confirming => {}
        }
    }

    /// A call without a limit stays without: its workers do not note when its items start.
    pub(super) fn on_limit(&mut self, id: JobId, timeout: Duration) {
        let Some(limit) = self.jobs.get_mut(id).and_then(|job| job.options.timeout.as_mut()) else { return };
        *limit = timeout;
        for slot in self.slots() {
            let seat = self.at(slot);
            let is_watched = matches!(seat.state, State::Busy { watch: Watch::Off | Watch::Until(_) });
            if is_watched
                && seat.backlog.runs().any(|run| run.job == id)
                && let Some(at) = self.look_at(slot)
            {
                self.watch(slot, Watch::Until(at.max(self.now)));
            }
        }
    }

    /// An item of this worker may be overdue by now: asks since when it has been running its present one, unless
    /// it got on in the meantime.
    pub(super) fn look_after(&mut self, slot: u32) {
        match self.look_at(slot) {
            None => self.watch(slot, Watch::Off),
            Some(at) if self.now < at => self.watch(slot, Watch::Until(at)),
            Some(_) => self.probe(slot, Watch::Probing),
        }
    }

    /// When a worker that gets on no further must be looked at.
    fn look_at(&self, slot: u32) -> Option<Time> {
        let timeout = self.shortest_timeout(slot)?;
        Some(self.at(slot).progress + timeout.min(self.policy.stall_timeout))
    }

    /// Asks since when a worker has been running its present item.
    fn probe(&mut self, slot: u32, watch: Watch) {
        self.watch(slot, watch);
        let worker = self.at(slot).id;
        self.say(Command::Probe { worker });
    }

    pub(super) fn on_running(&mut self, worker: WorkerId, since: Option<Time>) {
        let Some(slot) = self.slot_of(worker) else { return };
        let State::Busy { watch } = self.at(slot).state else {
            return;
        };
        let timeout = match watch {
            // Whichever it is running: the strictest limit is reason enough to look closer.
            Watch::Probing => self.shortest_timeout(slot),
            // Nothing behind the running item is left: it is the last one.
            Watch::Confirming => self.at(slot).backlog.back().and_then(|run| self.timeout_of(run.job.index)),
            Watch::Off | Watch::Until(_) | Watch::Withdrawing(_) => return,
        };
        let Some(timeout) = timeout else {
            return self.resume(slot, Watch::Off);
        };
        let Some(since) = since else {
            return self.check_stall(slot, timeout);
        };
        // What the worker's page says is a hint from a suspect: a start in the future counts as one just now.
        let overdue_at = since.min(self.now) + timeout;
        if self.now < overdue_at {
            self.resume(slot, Watch::Until(overdue_at));
        } else if watch == Watch::Confirming {
            let last = self.at(slot).backlog.back().expect("its time limit was just looked at");
            let (job, item) = (last.job, last.first + u64::from(last.items) - 1);
            self.terminate_worker(slot, Cause::Overdue { job, item });
        } else {
            self.withdraw(slot, Concern::Overdue);
        }
    }

    /// The worker runs nothing. If that has been so for too long, it is stopped or hangs between items, and no time limit
    /// of theirs would ever begin.
    fn check_stall(&mut self, slot: u32, timeout: Duration) {
        let stalled_at = self.at(slot).progress + self.policy.stall_timeout;
        if self.now < stalled_at {
            self.resume(slot, Watch::Until(stalled_at.min(self.now + timeout)));
        } else {
            self.withdraw(slot, Concern::Stalled);
        }
    }

    /// Takes back what a worker has not started, to be followed by a closer look. The gravest concern counts.
    pub(super) fn withdraw(&mut self, slot: u32, concern: Concern) {
        let concern = match self.watch_of(slot) {
            Watch::Withdrawing(other) => other.max(concern),
            Watch::Off | Watch::Until(_) | Watch::Probing | Watch::Confirming => concern,
        };
        self.watch(slot, Watch::Withdrawing(concern));
        self.reclaim(slot);
    }

    /// Nothing behind the running item is left with this worker, so a signal can hit no innocent item. Is there
    /// reason for one?
    pub(super) fn look_closer(&mut self, slot: u32, concern: Concern) {
        let last = self.at(slot).backlog.back().map(|run| self.jobs.at(run.job.index));
        let is_doomed = last.and_then(|job| job.fate).is_some_and(|fate| fate.stops_running());
        match concern {
            Concern::Faulty => self.kill(slot, Cause::Faulty { at_work: true }),
            // Nothing of it was begun, so its end costs nobody anything. If all are like that, it has to end all the same.
            Concern::Stalled if last.is_none() => self.kill(slot, Cause::Faulty { at_work: true }),
            Concern::Overdue | Concern::Doomed if is_doomed => self.terminate_worker(slot, Cause::Ordered),
            Concern::Overdue => self.probe(slot, Watch::Confirming),
            // It began one just now, or says so: its limit, if it has one, is counted from the next look.
            Concern::Stalled => {
                let wait = self.shortest_timeout(slot).map(|timeout| timeout.min(self.policy.stall_timeout));
                self.resume(slot, wait.map_or(Watch::Off, |wait| Watch::Until(self.now + wait)));
            }
            Concern::Doomed => {
                self.resume(slot, self.look_at(slot).map_or(Watch::Off, Watch::Until));
            }
        }
    }

    /// The worker may go on, watched like this.
    fn resume(&mut self, slot: u32, watch: Watch) {
        self.watch(slot, watch);
        self.go_on(slot);
    }

    fn watch(&mut self, slot: u32, watch: Watch) {
        self.set_state(slot, State::Busy { watch });
    }

    fn watch_of(&self, slot: u32) -> Watch {
        let State::Busy { watch } = self.at(slot).state else {
            unreachable!("{} is not at work", self.at(slot).id)
        };
        watch
    }

    /// The strictest time limit of the items that a worker holds.
    pub(super) fn shortest_timeout(&self, slot: u32) -> Option<Duration> {
        self.at(slot).backlog.runs().filter_map(|run| self.timeout_of(run.job.index)).min()
    }

    fn timeout_of(&self, index: u32) -> Option<Duration> {
        self.jobs.at(index).options.timeout
    }
}
