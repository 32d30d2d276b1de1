//! What the driver's one lock protects: the scheduler, the open jobs, and the seats.
//!
//! Events go in, the scheduler's commands are obeyed as far as that needs no system call; the rest is written down
//! in [`Effects`] and carried out by whoever held the lock, after letting it go.

mod calls;
mod figures;
mod late;
mod news;
mod pauses;
mod verdicts;
mod weight;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

pub(crate) use calls::CallOptions;
use procession_core::{
    Command, Event as CoreEvent, JobId, Policy, Run, Scheduler, SeatStatus, Signal, Time, WorkerId,
};
use verdicts::{Departed, front};
use weight::Weighing;

use super::clock::Clock;
use super::effects::{Effects, Order};
use super::intake::NewCall;
use super::jobs::Jobs;
use super::message::Handout;
use super::seat::Seat;
use crate::error::Error;
use crate::event::Event;
use crate::job::{Job, StopReason};
use crate::page::monotonic_ns;
use crate::stats::{Counters, RunningItem, Stats, WorkerStats};

/// Everything the driver's mutex protects.
pub(crate) struct State {
    core: Scheduler,
    clock: Clock,
    /// How often the pool was paused.
    pauses: u64,
    jobs: Jobs,
    seats: Vec<Seat>,
    phase: Phase,
    /// Why the pool is broken, once it is.
    broken: Option<Error>,
    /// Code of ours panicked, perhaps inside the scheduler: it is not consulted any more.
    is_aborted: bool,
    /// The scheduler has given up since this was last cleared.
    gave_up: bool,
    /// What workers, by slot, had when the event that is being handled came.
    held: Vec<(u32, Vec<Run>)>,
    /// What of that may have been started, if the event ends the pool.
    started: Vec<(JobId, Range<u64>)>,
    /// The worker whose exit is being handled.
    departed: Option<Departed>,
    /// When the supervisor will look at the clock next.
    armed: Option<Time>,
    /// When to look for results that are late; `None` while no worker could have any.
    look_at: Option<Time>,
    weighing: Weighing,
    /// Whether the scheduler is to hear of panics: to look for them costs time.
    heeds_panics: bool,
    /// Jobs the reply being handled belongs to; kept for its allocation.
    touched: Vec<JobId>,
    /// Calls the scheduler is about to be told of.
    pub(super) new_calls: VecDeque<NewCall>,
    counters: Counters,
}

/// Whether the pool takes calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Open,
    Closing,
    Terminating,
    /// Every worker is gone.
    Finished,
}

impl State {
    pub(crate) fn new(policy: Policy, weighs: bool) -> State {
        State {
            heeds_panics: policy.recycle_after_panic,
            core: Scheduler::new(policy),
            clock: Clock::default(),
            pauses: 0,
            jobs: Jobs::default(),
            seats: Vec::new(),
            phase: Phase::Open,
            broken: None,
            is_aborted: false,
            gave_up: false,
            held: Vec::new(),
            started: Vec::new(),
            departed: None,
            armed: None,
            look_at: None,
            weighing: if weighs { Weighing::AtWork } else { Weighing::Never },
            touched: Vec::new(),
            new_calls: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn broken(&self) -> Option<&Error> {
        self.broken.as_ref()
    }

    pub(crate) fn seat_and_jobs(&mut self, slot: u32) -> Option<(&mut Seat, &Jobs)> {
        Some((self.seats.get_mut(slot as usize)?, &self.jobs))
    }

    pub(crate) fn seat_at(&mut self, slot: u32) -> Option<&mut Seat> {
        self.seats.get_mut(slot as usize)
    }

    #[cfg(test)]
    pub(crate) fn seats(&self) -> &[Seat] {
        &self.seats
    }

    pub(crate) fn stats(&self) -> Stats {
        let now = self.clock.peek(monotonic_ns());
        let workers = self.core.seats().map(|status| {
            let pid = self.pid(&status);
            let running = self.running(status.worker, now);
            let worker = self.counters.worker(status.place, pid, status.restarts, now);
            WorkerStats { running, is_ready: status.is_ready && pid.is_some(), ..worker }
        });
        Stats { workers: workers.collect(), slowest: self.counters.slowest.clone() }
    }

    /// What a worker runs: the first item it owes, once it has begun it.
    fn running(&self, worker: WorkerId, now: Time) -> Option<RunningItem> {
        let seat =
            self.seats.get(worker.slot as usize).filter(|seat| seat.generation == worker.generation)?;
        let since = seat.running_since().filter(|since| since.as_nanos() > 0)?;
        let run = self.core.front_runs(worker).next()?;
        let entry = self.jobs.entry(run.job)?;
        let (item, _) = entry.backlog.input_range(run.first, 1);
        let ran = now.saturating_since(since);
        Some(RunningItem { task: entry.job.task.path(), item, attempt: run.attempt, ran })
    }

    /// One process for each of the pool's workers that there is, in order.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.core.seats().filter_map(|status| self.pid(&status)).collect()
    }

    /// Who takes over counts from then on, or from its start if that comes later.
    fn pid(&self, status: &SeatStatus) -> Option<u32> {
        let slots = [Some(status.worker.slot), status.other_slot];
        let mut links =
            slots.into_iter().flatten().filter_map(|slot| self.seats.get(slot as usize)?.link.as_ref());
        links.next().map(|link| link.pid)
    }

    /// The worker's seat, unless somebody else sits there by now.
    pub(crate) fn seat(&mut self, worker: WorkerId) -> Option<&mut Seat> {
        self.seats.get_mut(worker.slot as usize).filter(|seat| seat.generation == worker.generation)
    }

    /// Panics if the scheduler's books contradict each other, or what the seats have says something else.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn check_invariants(&self) {
        self.core.check_invariants();
        if self.phase != Phase::Open || self.broken.is_some() {
            return;
        }
        for (slot, seat) in (0..).zip(&self.seats) {
            let worker = WorkerId { slot, generation: seat.generation };
            let held: u64 = self.core.front_runs(worker).map(|run| u64::from(run.items)).sum();
            assert_eq!(seat.held(), held, "what worker {worker} has, by its seat and by the scheduler");
        }
    }

    pub(crate) fn tick(&mut self, now: Time, effects: &mut Effects) {
        self.armed = None;
        self.tell(now, CoreEvent::Tick, effects);
    }

    /// The driver has failed: whatever is open ends with `error`.
    pub(crate) fn abort(&mut self, error: Error) -> Vec<Arc<Job>> {
        self.is_aborted = true;
        self.phase = Phase::Finished;
        self.broken.get_or_insert(error);
        self.drop_queues();
        let open = self.jobs.drain().into_iter().map(|entry| entry.job);
        open.chain(self.new_calls.drain(..).map(|call| call.job)).collect()
    }

    /// Runs `tell` with `error` as the cause to name if the scheduler gives up.
    fn broken_by(&mut self, error: Error, tell: impl FnOnce(&mut State)) {
        let was_broken = self.broken.is_some();
        if !was_broken {
            self.broken = Some(error);
        }
        self.gave_up = false;
        self.held = self.held_runs();
        tell(self);
        self.held.clear();
        self.started.clear();
        if !was_broken && !self.gave_up {
            self.broken = None;
        }
    }

    /// What workers have, before the scheduler hears of something after which it may have forgotten.
    fn held_runs(&self) -> Vec<(u32, Vec<Run>)> {
        let seats = (0..).zip(&self.seats).filter(|(_, seat)| seat.owes_results());
        let held = seats.map(|(slot, seat)| {
            let worker = WorkerId { slot, generation: seat.generation };
            (slot, self.core.front_runs(worker).collect())
        });
        held.collect()
    }

    /// The pool ends: settles what of all that workers have was begun. The rest is taken from them, so that it never is.
    fn end_begins(&mut self) {
        for (slot, runs) in std::mem::take(&mut self.held) {
            let seat = &mut self.seats[slot as usize];
            seat.reclaim();
            self.started.extend(front(runs, seat.may_have_begun()));
        }
    }

    fn tell(&mut self, now: Time, event: CoreEvent, effects: &mut Effects) {
        if self.is_aborted {
            return;
        }
        self.core.handle(now, event);
        while let Some(command) = self.core.poll_command() {
            self.obey(now, command, effects);
        }
        while let Some(id) = self.touched.pop() {
            self.update_wanted(id);
        }
        let due = [self.core.poll_timeout(), self.look_at, self.weighing.due()].into_iter().flatten().min();
        if let Some(due) = due
            && self.armed.is_none_or(|armed| due < armed)
        {
            self.armed = Some(due);
            self.clock.call(now);
            effects.rearm = true;
        }
    }

    fn obey(&mut self, now: Time, command: Command, effects: &mut Effects) {
        match command {
            Command::Start { worker } => {
                let place = self.core.place(worker.slot);
                self.counters.started(place, now);
                while self.seats.len() <= worker.slot as usize {
                    self.seats.push(Seat::default());
                }
                self.seats[worker.slot as usize].begin(worker.generation, place);
                effects.orders.push(Order::Start { worker, place });
            }
            Command::Dispatch { worker, job, first, items, attempt } => {
                self.weighing.expect(now);
                let seat = self.seat(worker).expect("work goes to a worker that is there");
                seat.queue(Handout { job, first, items: u64::from(items), attempt });
                if !seat.is_supplied() && !effects.pump.contains(&worker.slot) {
                    effects.pump.push(worker.slot);
                }
            }
            Command::Probe { worker } => {
                let since = self.seat(worker).and_then(|seat| seat.alive_since());
                self.core.handle(now, CoreEvent::Running { worker, since });
            }
            Command::Reclaim { worker } => {
                let items = self.seat(worker).map_or(0, Seat::reclaim);
                self.core.handle(now, CoreEvent::Reclaimed { worker, items });
            }
            Command::Signal { worker, signal } => {
                if let Some(seat) = self.seat(worker) {
                    seat.send_no_more();
                    seat.is_killed |= signal == Signal::Kill;
                }
                effects.orders.push(Order::Signal(worker, signal));
            }
            Command::Stop { worker } => {
                if let Some(seat) = self.seat(worker) {
                    seat.queue_stop();
                    match seat.link {
                        Some(_) => effects.pump.push(worker.slot),
                        None => effects.orders.push(Order::Forgo(worker)),
                    }
                }
            }
            Command::Retry { job, item, .. } => {
                let loss = self.departed.as_ref().and_then(|departed| departed.loss_of(job, item));
                if let (Some(entry), Some(loss)) = (self.jobs.entry_mut(job), loss) {
                    entry.losses.push((item, loss.clone()));
                }
            }
            Command::Settle { job, first, items, outcome, attempts } => {
                self.settle(job, first, items, outcome, attempts, effects);
            }
            Command::StopInput { job } => {
                if let Some(entry) = self.jobs.entry(job) {
                    effects.stopped.push((Arc::clone(&entry.job), StopReason::Deadline));
                }
            }
            Command::JobSettled { job } => {
                if let Some(entry) = self.jobs.remove(job) {
                    // Whoever knew the number of items beforehand has counted their outcomes already.
                    if entry.job.takes_input() {
                        effects.totals.push((entry.job, entry.total));
                    }
                }
            }
            Command::Broken { reason } => {
                let error = self.broken_error(reason);
                effects.events.push(Event::PoolBroken { reason: error.to_string() });
                tracing::error!("{error}");
                self.broken = Some(error);
                self.gave_up = true;
                self.end_begins();
                self.jobs.stop_all(effects);
                self.drop_queues();
            }
            Command::Finished => {
                self.phase = Phase::Finished;
                effects.finished = true;
            }
        }
    }

    /// The scheduler settles whatever has no outcome: nothing of it may be planned for sending any more, since its
    /// arguments go with it.
    fn drop_queues(&mut self) {
        for seat in &mut self.seats {
            seat.drop_queue();
        }
    }

    /// Lets the job's caller know how much more input would be welcome.
    fn update_wanted(&mut self, id: JobId) {
        if let Some(entry) = self.jobs.entry(id) {
            entry.job.set_wanted(self.core.input_wanted(id));
        }
    }
}
