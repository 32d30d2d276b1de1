//! The workers' lives: started, ready, resting, stopped, killed, replaced; and the end of the pool.
//!
//! Termination is written once: `Terminate`, the grace, `Kill`.

use std::cmp::Reverse;
use std::time::Duration;

use super::Scheduler;
use crate::seat::{Cause, Seat, State};
use crate::{BrokenReason, Command, Outcome, Signal, StartFailure, WorkerId};

/// A worker that has been ready for so long did not fail to start, whatever ends it.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// The window of the default restart limit.
const RESTART_WINDOW: Duration = Duration::from_secs(30);

impl Scheduler {
    /// Puts up the seats of a new pool. An eager pool's are due at the first event.
    pub(super) fn furnish(&mut self) {
        for _ in 0..self.policy.workers {
            self.add_seat();
        }
    }

    fn add_seat(&mut self) {
        let slot = self.seats.len() as u32;
        let place = self.seats.iter().filter(|seat| !seat.is_spare).count() as u32;
        self.seats.push(Seat::new(slot, place));
        self.vacancies += 1;
        if !self.policy.lazy_start {
            self.set_state(slot, State::BackingOff { until: self.now });
        }
    }

    /// Starts a new incarnation.
    pub(super) fn fill(&mut self, slot: u32) {
        let deadline = self.now + self.policy.start_timeout;
        let seat = self.at_mut(slot);
        seat.id.generation += 1;
        seat.handed_out = 0;
        seat.bloated = false;
        seat.reclaiming = false;
        seat.asked = false;
        seat.asked_in_vain = 0;
        seat.is_productive = false;
        seat.ready_at = None;
        let worker = seat.id;
        self.set_state(slot, State::Starting { deadline });
        self.say(Command::Start { worker });
    }

    /// Has vacant seats filled while more work waits than workers are on their way.
    pub(super) fn fill_vacancies(&mut self) {
        if self.vacancies == 0 {
            return;
        }
        let Some(index) = self.ready.front() else { return };
        let waiting = self.jobs.at(index).waiting().saturating_add(self.ready.len() as u64 - 1);
        for slot in self.slots() {
            if self.vacancies == 0 || self.starting as u64 >= waiting {
                return;
            }
            let seat = self.at(slot);
            if seat.wanted && seat.state == State::Vacant {
                self.fill_when_due(slot);
            }
        }
    }

    /// A seat fell vacant through no failure to start: fills it, unless nobody is wanted there for now.
    pub(super) fn refill(&mut self, slot: u32) {
        if self.at(slot).wanted && !self.policy.lazy_start && !self.is_over() {
            self.fill_when_due(slot);
        }
    }

    /// Fills a vacant seat, but no earlier than its failed starts allow: a seat that was given up meanwhile remembers.
    fn fill_when_due(&mut self, slot: u32) {
        let until = self.at(slot).due;
        match self.now < until {
            true => self.set_state(slot, State::BackingOff { until }),
            false => self.fill(slot),
        }
    }

    pub(super) fn on_worker_ready(&mut self, worker: WorkerId) {
        let Some(slot) = self.slot_of(worker) else { return };
        match self.at(slot).state {
            State::Starting { .. } => {
                self.at_mut(slot).ready_at = Some(self.now);
                self.barren_since = None;
                match self.at(slot).is_spare {
                    true => self.set_state(slot, State::Standby),
                    false => self.rest(slot),
                }
            }
            // It was told to end while it was starting, or says it twice.
            State::Stopping { .. } | State::Ending { .. } | State::Idle { .. } | State::Busy { .. } => {}
            State::Vacant | State::BackingOff { .. } | State::Standby => {}
        }
    }

    pub(super) fn on_start_failed(&mut self, worker: WorkerId, failure: StartFailure) {
        let Some(slot) = self.slot_of(worker) else { return };
        match self.at(slot).state {
            State::Starting { .. } | State::Stopping { .. } | State::Ending { .. } => {}
            State::Vacant | State::BackingOff { .. } => return,
            State::Standby | State::Idle { .. } | State::Busy { .. } => return,
        }
        self.note_lost_successor(slot);
        self.set_state(slot, State::Vacant);
        match failure {
            StartFailure::Fatal => self.fail(BrokenReason::StartRefused),
            StartFailure::Transient => self.retry_start(slot),
        }
    }

    /// Whether a worker that was ready has shown that it can live: by an item, or by time.
    pub(super) fn has_settled_in(&self, slot: u32) -> bool {
        let seat = self.at(slot);
        seat.is_productive || seat.ready_at.is_some_and(|at| self.now >= at + SETTLED_AFTER)
    }

    /// A worker died before it was of use. Too many of those, and there is no point in starting more.
    pub(super) fn crashed_early(&mut self) {
        let default = ((3 * self.policy.workers).max(5), RESTART_WINDOW);
        let (limit, window) = self.policy.restart_limit.unwrap_or(default);
        self.crashes.push_back(self.now);
        while self.crashes.front().is_some_and(|&at| self.now.saturating_since(at) > window) {
            self.crashes.pop_front();
        }
        if self.crashes.len() > limit as usize {
            self.fail(BrokenReason::CrashLoop);
        }
    }

    /// A start failed: tries again at once, then ever more slowly.
    pub(super) fn retry_start(&mut self, slot: u32) {
        let failed = self.at(slot).failed_starts.saturating_add(1);
        self.at_mut(slot).failed_starts = failed;
        if failed > 1 {
            let pause = self.policy.back_off_first.saturating_mul(1 << (failed - 2).min(31));
            self.at_mut(slot).due = self.now + self.jitter.apply(pause.min(self.policy.back_off_max));
        }
        // A successor is not tried again before its place is empty.
        if !self.at(slot).wanted || self.is_over() {
            return;
        }
        if self.barren_since.is_none() && !self.has_ready_worker() {
            self.barren_since = Some(self.now);
            self.wake_by(self.now + self.policy.barren_timeout);
        }
        self.fill_when_due(slot);
    }

    /// Gives the pool up if starts have been failing for too long with no worker alive.
    pub(super) fn check_barren(&mut self) {
        let Some(since) = self.barren_since else { return };
        if self.has_ready_worker() {
            self.barren_since = None;
        } else if self.now >= since + self.policy.barren_timeout {
            self.fail(BrokenReason::NoWorkers);
        }
    }

    fn has_ready_worker(&self) -> bool {
        self.seats.iter().any(|seat| matches!(seat.state, State::Idle { .. } | State::Busy { .. }))
    }

    /// A ready worker has nothing to do.
    pub(super) fn rest(&mut self, slot: u32) {
        let until = self.policy.idle_timeout.map(|timeout| self.now + timeout);
        self.set_state(slot, State::Idle { until });
    }

    /// Tells a worker that holds nothing to exit. Its seat is filled again afterwards if `refill`; if not, once
    /// work waits.
    pub(super) fn stop(&mut self, slot: u32, refill: bool) {
        let deadline = self.now + self.policy.stop_timeout;
        self.set_state(slot, State::Stopping { deadline, refill });
        self.say(Command::Stop { worker: self.at(slot).id });
    }

    /// Asks a worker to end, and ends it after the grace.
    pub(super) fn terminate_worker(&mut self, slot: u32, cause: Cause) {
        let kill_at = Some(self.now + self.policy.grace);
        self.set_state(slot, State::Ending { kill_at, cause });
        self.say(Command::Signal { worker: self.at(slot).id, signal: Signal::Terminate });
    }

    /// Ends a worker.
    pub(super) fn kill(&mut self, slot: u32, cause: Cause) {
        self.set_state(slot, State::Ending { kill_at: None, cause });
        self.say(Command::Signal { worker: self.at(slot).id, signal: Signal::Kill });
    }

    pub(super) fn on_resize(&mut self, workers: u32) {
        assert!(workers > 0, "a pool of no workers would never run anything");
        if self.ending || self.verdict.is_some() {
            return;
        }
        self.policy.workers = workers;
        let workers = workers as usize;
        let mut slots: Vec<u32> = self.slots().filter(|&slot| !self.at(slot).is_spare).collect();
        slots.sort_by_key(|&slot| (Reverse(self.at(slot).wanted), Reverse(self.at(slot).attachment()), slot));
        for (rank, &slot) in slots.iter().enumerate() {
            match (self.at(slot).wanted, rank < workers) {
                (true, false) => self.dismiss(slot),
                (false, true) => self.recall(slot),
                (true, true) | (false, false) => {}
            }
        }
        for _ in slots.len()..workers {
            self.add_seat();
        }
        // More workers, more room for each.
        for slot in slots {
            self.list_if_roomy(slot);
        }
    }

    /// The pool shrinks by this seat: a worker that holds nothing stops, another one finishes the item it is running.
    fn dismiss(&mut self, slot: u32) {
        let vacant = self.at(slot).state == State::Vacant;
        self.vacancies -= usize::from(vacant);
        self.at_mut(slot).wanted = false;
        self.dismiss_successor(slot);
        match self.at(slot).state {
            State::Vacant | State::Stopping { .. } | State::Ending { .. } => {}
            State::Standby => unreachable!("{} stands by in a place of its own", self.at(slot).id),
            State::BackingOff { .. } => self.set_state(slot, State::Vacant),
            State::Starting { .. } | State::Idle { .. } => self.stop(slot, true),
            State::Busy { .. } => self.reclaim(slot),
        }
    }

    /// The pool grows by this seat: a worker that was to stop stays, an empty seat is filled.
    fn recall(&mut self, slot: u32) {
        let seat = self.at_mut(slot);
        seat.wanted = true;
        match seat.state {
            State::Vacant => {
                self.vacancies += 1;
                self.refill(slot);
            }
            State::Busy { .. } => self.list_if_roomy(slot),
            State::BackingOff { .. }
            | State::Starting { .. }
            | State::Standby
            | State::Idle { .. }
            | State::Stopping { .. }
            | State::Ending { .. } => {}
        }
    }

    /// The pool cannot go on.
    pub(super) fn fail(&mut self, reason: BrokenReason) {
        if !self.is_over() {
            self.say(Command::Broken { reason });
            self.settle_everything(Outcome::NotRun);
            self.end_workers();
        }
    }

    pub(super) fn on_terminate(&mut self) {
        self.ending = true;
        if self.verdict.is_none() {
            self.settle_everything(Outcome::Terminated);
        }
        self.end_workers();
    }

    /// Ends all workers, whatever they are doing.
    fn end_workers(&mut self) {
        self.barren_since = None;
        for slot in self.slots() {
            match self.at(slot).state {
                State::Vacant | State::Ending { .. } => {}
                State::BackingOff { .. } => self.set_state(slot, State::Vacant),
                State::Starting { .. }
                | State::Standby
                | State::Idle { .. }
                | State::Busy { .. }
                | State::Stopping { .. } => self.terminate_worker(slot, Cause::Ordered),
            }
        }
    }

    /// Whether no worker is needed any more.
    pub(super) fn is_over(&self) -> bool {
        self.verdict.is_some() || (self.ending && self.is_idle())
    }

    /// Once the last call of a closed pool is settled, stops the workers; once the last worker is gone, says so.
    pub(super) fn conclude(&mut self) {
        if !self.ending || !self.is_over() || self.finished {
            return;
        }
        for slot in self.slots() {
            match self.at(slot).state {
                State::BackingOff { .. } => self.set_state(slot, State::Vacant),
                State::Starting { .. } | State::Standby | State::Idle { .. } => self.stop(slot, false),
                // A busy one owes an answer, or ends.
                State::Busy { .. } | State::Vacant | State::Stopping { .. } | State::Ending { .. } => {}
            }
        }
        if self.seats.iter().all(|seat| seat.state == State::Vacant) {
            self.finished = true;
            self.barren_since = None;
            self.wake = None;
            self.say(Command::Finished);
        }
    }
}
