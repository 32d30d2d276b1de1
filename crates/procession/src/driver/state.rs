//! What the driver's one lock protects: the scheduler, the open jobs, and the seats.
//!
//! Events go in, the scheduler's commands are obeyed as far as that needs no system call; the rest is written down
//! in [`Effects`] and carried out by whoever held the lock, after letting it go.

mod late;

use std::sync::Arc;
use std::time::Duration;

use procession_core::{
    BrokenReason, Command, Event as CoreEvent, JobId, JobOptions, Outcome, Policy, Scheduler, Signal,
    StartFailure, Time, WorkerId,
};

use super::backlog::{Backlog, Segment};
use super::jobs::{JobEntry, Jobs};
use super::seat::{Handout, Origin, Seat};
use crate::error::{Error, ErrorKind, Loss};
use crate::event::Event;
use crate::job::{Arrival, Job, Records, StopReason};
use crate::stats::{Counters, Stats};
use crate::wire::{self, ResultsHeader};

/// Everything the driver's mutex protects.
pub(crate) struct State {
    core: Scheduler,
    jobs: Jobs,
    seats: Vec<Seat>,
    phase: Phase,
    /// Why the pool is broken, once it is.
    broken: Option<Error>,
    /// Code of ours panicked, perhaps inside the scheduler: it is not consulted any more.
    is_aborted: bool,
    /// The scheduler has given up since this was last cleared.
    gave_up: bool,
    /// What killed the worker whose exit is being handled.
    loss: Option<Loss>,
    /// When the supervisor will look at the clock next.
    armed: Option<Time>,
    /// When to look for results that are late; `None` while no worker could have any.
    look_at: Option<Time>,
    /// Jobs the reply being handled belongs to; kept for its allocation.
    touched: Vec<JobId>,
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

/// What is left to do once the lock is free.
#[derive(Default)]
pub(crate) struct Effects {
    /// Seats that have something to be sent.
    pub(crate) pump: Vec<u32>,
    pub(crate) orders: Vec<Order>,
    pub(crate) deliveries: Vec<(Arc<Job>, Arrival)>,
    pub(crate) totals: Vec<(Arc<Job>, u64)>,
    /// Jobs whose further input would not run.
    pub(crate) stopped: Vec<(Arc<Job>, StopReason)>,
    pub(crate) events: Vec<Event>,
    /// The supervisor must look at the clock earlier than it planned to.
    pub(crate) rearm: bool,
    pub(crate) finished: bool,
}

/// What only the supervisor thread does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    Start(WorkerId),
    Signal(WorkerId, Signal),
}

/// The per-call options that the scheduler and the workers act on.
#[derive(Clone, Copy, Default)]
pub(crate) struct CallOptions {
    pub(crate) chunk_size: Option<u32>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) max_attempts: u32,
    pub(crate) priority: i32,
}

impl State {
    pub(crate) fn new(policy: Policy) -> State {
        State {
            core: Scheduler::new(policy),
            jobs: Jobs::default(),
            seats: Vec::new(),
            phase: Phase::Open,
            broken: None,
            is_aborted: false,
            gave_up: false,
            loss: None,
            armed: None,
            look_at: None,
            touched: Vec::new(),
            counters: Counters::default(),
        }
    }

    // Calls.

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn broken(&self) -> Option<&Error> {
        self.broken.as_ref()
    }

    pub(crate) fn seat_and_jobs(&mut self, slot: u32) -> Option<(&mut Seat, &Jobs)> {
        Some((self.seats.get_mut(slot as usize)?, &self.jobs))
    }

    pub(crate) fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// Opens a job, or says why the pool takes none.
    pub(crate) fn open(
        &mut self,
        now: Time,
        job: Arc<Job>,
        options: CallOptions,
        effects: &mut Effects,
    ) -> Result<JobId, Error> {
        if let Some(error) = &self.broken {
            return Err(error.duplicate());
        }
        match self.phase {
            Phase::Open => {}
            Phase::Closing => {
                return Err(Error::new(ErrorKind::Closed, "it takes no more calls after `close`"));
            }
            Phase::Terminating | Phase::Finished => {
                return Err(Error::new(ErrorKind::Closed, "it takes no more calls once it was stopped"));
            }
        }
        let task = job.task_index;
        let id = self.jobs.insert(JobEntry {
            job,
            task,
            backlog: Backlog::default(),
            timeout: options.timeout,
            deadline: options.deadline,
            total: 0,
            losses: Vec::new(),
        });
        let options = JobOptions {
            task,
            chunk_size: options.chunk_size,
            timeout: options.timeout,
            deadline: options.deadline,
            max_attempts: options.max_attempts,
            priority: options.priority,
        };
        self.touched.push(id);
        self.tell(now, CoreEvent::Submit { job: id, options }, effects);
        Ok(id)
    }

    /// Adds encoded items to an open job; `false` if it is settled meanwhile.
    pub(crate) fn input(
        &mut self,
        now: Time,
        id: JobId,
        segment: Segment,
        input_first: u64,
        effects: &mut Effects,
    ) -> bool {
        let Some(entry) = self.jobs.entry_mut(id) else {
            return false;
        };
        let (items, bytes) = (segment.items() as u64, segment.bytes() as u64);
        entry.total += items;
        entry.backlog.push(segment, input_first);
        self.touched.push(id);
        self.tell(now, CoreEvent::Input { job: id, items, bytes }, effects);
        true
    }

    pub(crate) fn close_input(&mut self, now: Time, id: JobId, effects: &mut Effects) {
        self.tell(now, CoreEvent::InputClosed { job: id }, effects);
    }

    /// `false`: the job had ended before.
    pub(crate) fn cancel(&mut self, now: Time, id: JobId, effects: &mut Effects) -> bool {
        let is_open = self.jobs.entry(id).is_some();
        self.tell(now, CoreEvent::Cancel { job: id }, effects);
        is_open
    }

    pub(crate) fn abandon(&mut self, now: Time, id: JobId, effects: &mut Effects) {
        self.tell(now, CoreEvent::Abandon { job: id }, effects);
    }

    pub(crate) fn resize(&mut self, now: Time, workers: u32, effects: &mut Effects) {
        self.tell(now, CoreEvent::Resize { workers }, effects);
    }

    pub(crate) fn close(&mut self, now: Time, effects: &mut Effects) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closing;
            self.tell(now, CoreEvent::Close, effects);
        }
    }

    pub(crate) fn terminate(&mut self, now: Time, effects: &mut Effects) {
        if matches!(self.phase, Phase::Open | Phase::Closing) {
            self.phase = Phase::Terminating;
            self.jobs.stop_all(effects);
            self.drop_queues();
            self.tell(now, CoreEvent::Terminate, effects);
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let statuses = self.core.seats().zip(&self.seats);
        let now = super::now();
        let workers = statuses.map(|(status, seat)| {
            let link = seat.link.as_ref();
            self.counters.worker(status.worker.slot, link.map(|link| link.pid), status.restarts, now)
        });
        Stats { workers: workers.collect(), slowest: self.counters.slowest.clone() }
    }

    // News of workers.

    /// The worker's seat, unless somebody else sits there by now.
    pub(crate) fn seat(&mut self, worker: WorkerId) -> Option<&mut Seat> {
        self.seats.get_mut(worker.slot as usize).filter(|seat| seat.generation == worker.generation)
    }

    pub(crate) fn ready(&mut self, now: Time, worker: WorkerId, effects: &mut Effects) {
        if let Some(seat) = self.seat(worker)
            && let Some(link) = &seat.link
        {
            let pid = link.pid;
            seat.is_ready = true;
            effects.events.push(Event::WorkerReady { slot: worker.slot, pid });
            self.tell(now, CoreEvent::WorkerReady { worker }, effects);
        }
    }

    /// A worker that never came to be.
    pub(crate) fn start_failed(
        &mut self,
        now: Time,
        worker: WorkerId,
        error: Error,
        fatal: bool,
        effects: &mut Effects,
    ) {
        let failure = if fatal { StartFailure::Fatal } else { StartFailure::Transient };
        // The reason is wanted if the scheduler gives up over it.
        self.broken_by(error, |state| state.tell(now, CoreEvent::StartFailed { worker, failure }, effects));
    }

    /// A reply; its records are checked to be well-formed, its header is not yet checked to be expected.
    pub(crate) fn results(
        &mut self,
        now: Time,
        worker: WorkerId,
        header: &ResultsHeader,
        origin: Origin,
        records: &Arc<[u8]>,
        effects: &mut Effects,
    ) -> Result<(), String> {
        if self.is_aborted {
            return Ok(());
        }
        let Some(seat) = self.seat(worker) else {
            return Ok(());
        };
        let fresh = seat.accept(header, origin)?;
        let start = wire::skip_records(records, 0, u64::from(header.items - fresh.items));
        self.take_results(now, worker, &fresh, records, start, effects);
        effects.pump.push(worker.slot);
        Ok(())
    }

    /// Results that are accounted for; their records begin at `start`.
    fn take_results(
        &mut self,
        now: Time,
        worker: WorkerId,
        header: &ResultsHeader,
        records: &Arc<[u8]>,
        start: usize,
        effects: &mut Effects,
    ) {
        let busy = Duration::from_nanos(header.busy_ns);
        self.count(worker, header.items, busy);
        self.route(worker, header.items, records, start, effects);
        if header.items > 0 {
            self.tell(now, CoreEvent::Done { worker, items: u64::from(header.items), busy }, effects);
        }
    }

    fn count(&mut self, worker: WorkerId, items: u32, busy: Duration) {
        // One reply of one item is one measured item; longer replies hold items too short to be worth a clock.
        let measured = if items == 1 { self.core.front_runs(worker).next() } else { None };
        let item = measured.and_then(|run| {
            let entry = self.jobs.entry(run.job)?;
            Some((entry.job.task, entry.backlog.input_range(run.first, 1).0))
        });
        self.counters.record(worker.slot, items, busy, item);
    }

    /// Cuts a reply into the parts of the jobs whose items the worker had, oldest first.
    fn route(
        &mut self,
        worker: WorkerId,
        items: u32,
        buffer: &Arc<[u8]>,
        mut start: usize,
        effects: &mut Effects,
    ) {
        let mut left = u64::from(items);
        let Self { core, jobs, touched, .. } = self;
        for run in core.front_runs(worker) {
            if left == 0 {
                break;
            }
            let here = left.min(u64::from(run.items));
            left -= here;
            if touched.last() != Some(&run.job) {
                touched.push(run.job);
            }
            let entry = jobs.entry_mut(run.job);
            let mut first = run.first;
            let mut remaining = here;
            while remaining > 0 {
                let (input_first, piece) = match &entry {
                    Some(entry) => entry.backlog.input_range(first, remaining),
                    None => (first, remaining),
                };
                let end = if left == 0 && piece == remaining {
                    buffer.len()
                } else {
                    wire::skip_records(buffer, start, piece)
                };
                if let Some(entry) = &entry {
                    let records = Records::new(Arc::clone(buffer), start, end);
                    effects.deliveries.push((
                        Arc::clone(&entry.job),
                        Arrival::Replies {
                            first: input_first,
                            items: piece as u32,
                            attempt: run.attempt,
                            records,
                        },
                    ));
                }
                start = end;
                first += piece;
                remaining -= piece;
            }
            if let Some(entry) = entry {
                entry.settle(run.first, here);
            }
        }
        // Once the pool's end was told, the scheduler has forgotten whatever a worker still says.
        let is_ending = self.phase != Phase::Open || self.broken.is_some();
        assert!(left == 0 || is_ending, "seat and scheduler disagree about what worker {worker} has");
    }

    /// The worker is dead and everything it ever sent has been handled.
    pub(crate) fn exited(&mut self, now: Time, worker: WorkerId, effects: &mut Effects) {
        let Some(seat) = self.seat(worker) else { return };
        let running = seat.is_running();
        let loss = seat.loss();
        // A worker that was ready has items, and an end like any other; a status it left with means nothing then.
        let failure = seat.boot_failure.take().filter(|_| !seat.is_ready);
        if let (Some(link), Some(exit)) = (seat.link.take(), loss.exit) {
            effects.events.push(Event::WorkerExited { slot: worker.slot, pid: link.pid, exit, running });
        }
        if let Some(failure) = failure {
            self.start_failed(now, worker, failure.error, failure.fatal, effects);
            return;
        }
        let reason = Error::new(ErrorKind::Broken, loss.describe());
        self.loss = Some(loss);
        self.broken_by(reason, |state| state.tell(now, CoreEvent::WorkerExited { worker, running }, effects));
        self.loss = None;
    }

    /// The worker sent what no worker sends.
    pub(crate) fn faulty(&mut self, now: Time, worker: WorkerId, violation: String, effects: &mut Effects) {
        let Some(seat) = self.seat(worker) else { return };
        if seat.violation.is_none() {
            tracing::warn!(slot = worker.slot, violation, "protocol violation: the worker is killed");
            seat.violation = Some(format!("protocol violation: {violation}"));
            self.tell(now, CoreEvent::WorkerFaulty { worker }, effects);
        }
    }

    pub(crate) fn tick(&mut self, now: Time, effects: &mut Effects) {
        self.armed = None;
        self.look_for_late_results(now, effects);
        self.tell(now, CoreEvent::Tick, effects);
    }

    pub(crate) fn armed(&self) -> Option<Time> {
        self.armed
    }

    /// The driver has failed: whatever is open ends with `error`.
    pub(crate) fn abort(&mut self, error: Error) -> Vec<Arc<Job>> {
        self.is_aborted = true;
        self.phase = Phase::Finished;
        self.broken.get_or_insert(error);
        self.drop_queues();
        self.jobs.drain().into_iter().map(|entry| entry.job).collect()
    }

    // The scheduler.

    /// Runs `tell` with `error` as the cause to name if the scheduler gives up.
    fn broken_by(&mut self, error: Error, tell: impl FnOnce(&mut State)) {
        let was_broken = self.broken.is_some();
        if !was_broken {
            self.broken = Some(error);
        }
        self.gave_up = false;
        tell(self);
        if !was_broken && !self.gave_up {
            self.broken = None;
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
        let due = [self.core.poll_timeout(), self.look_at].into_iter().flatten().min();
        if let Some(due) = due
            && self.armed.is_none_or(|armed| due < armed)
        {
            self.armed = Some(due);
            effects.rearm = true;
        }
    }

    fn obey(&mut self, now: Time, command: Command, effects: &mut Effects) {
        match command {
            Command::Start { worker } => {
                self.counters.started(worker.slot, now);
                while self.seats.len() <= worker.slot as usize {
                    self.seats.push(Seat::default());
                }
                self.seats[worker.slot as usize].begin(worker.generation);
                effects.orders.push(Order::Start(worker));
            }
            Command::Dispatch { worker, job, first, items, attempt } => {
                let seat = self.seat(worker).expect("work goes to a worker that is there");
                seat.queue(Handout { job, first, items: u64::from(items), attempt });
                if effects.pump.last() != Some(&worker.slot) {
                    effects.pump.push(worker.slot);
                }
            }
            Command::Probe { worker } => {
                let since = self.seat(worker).and_then(|seat| seat.running_since());
                self.core.handle(now, CoreEvent::Running { worker, since });
            }
            Command::Reclaim { worker } => {
                let items = self.seat(worker).map_or(0, Seat::reclaim);
                self.core.handle(now, CoreEvent::Reclaimed { worker, items });
            }
            Command::Signal { worker, signal } => {
                if let Some(seat) = self.seat(worker) {
                    seat.send_no_more();
                }
                effects.orders.push(Order::Signal(worker, signal));
            }
            Command::Stop { worker } => {
                if let Some(seat) = self.seat(worker) {
                    seat.queue_stop();
                    effects.pump.push(worker.slot);
                }
            }
            Command::Retry { job, item, .. } => {
                if let (Some(entry), Some(loss)) = (self.jobs.entry_mut(job), &self.loss) {
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
                    effects.totals.push((entry.job, entry.total));
                }
            }
            Command::Broken { reason } => {
                let error = self.broken_error(reason);
                effects.events.push(Event::PoolBroken { reason: error.to_string() });
                tracing::error!("{error}");
                self.broken = Some(error);
                self.gave_up = true;
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

    fn broken_error(&self, reason: BrokenReason) -> Error {
        let last = self.broken.as_ref();
        match last {
            // A start that can never succeed says best itself what is wrong.
            Some(error) if reason == BrokenReason::StartRefused => error.duplicate(),
            Some(error) => Error::new(
                ErrorKind::Broken,
                format!("{}; the last one: {}", describe(reason), error.reason()),
            ),
            None => Error::new(ErrorKind::Broken, describe(reason)),
        }
    }

    /// Items that end without a reply.
    fn settle(
        &mut self,
        id: JobId,
        mut first: u64,
        mut items: u64,
        outcome: Outcome,
        attempts: u32,
        effects: &mut Effects,
    ) {
        let error = {
            let Some(entry) = self.jobs.entry(id) else { return };
            self.outcome_error(entry, first, outcome, attempts)
        };
        self.touched.push(id);
        let Some(entry) = self.jobs.entry_mut(id) else {
            return;
        };
        while items > 0 {
            let (input_first, piece) = entry.backlog.input_range(first, items);
            effects.deliveries.push((
                Arc::clone(&entry.job),
                Arrival::Failed { first: input_first, items: piece, error: error.duplicate() },
            ));
            entry.settle(first, piece);
            first += piece;
            items -= piece;
        }
    }

    fn outcome_error(&self, entry: &JobEntry, item: u64, outcome: Outcome, attempts: u32) -> Error {
        let none = Loss::default();
        let loss = self.loss.as_ref().unwrap_or(&none);
        let error = match outcome {
            Outcome::Lost => Error::new(ErrorKind::WorkerLost, loss.describe()).with_loss(loss),
            Outcome::Quarantined => {
                let before = entry.losses.iter().filter(|(lost, _)| *lost == item).map(|(_, loss)| loss);
                let causes: Vec<String> = before
                    .chain([loss])
                    .enumerate()
                    .map(|(attempt, loss)| format!("({}) {}", attempt + 1, loss.describe()))
                    .collect();
                let reason = format!("every attempt lost its worker: {}", causes.join("; "));
                Error::new(ErrorKind::Quarantined, reason).with_loss(loss)
            }
            Outcome::TimedOut => {
                // An item that was never started cannot have run for too long, nor have been stopped.
                let loss = if attempts == 0 { &none } else { loss };
                let ran_over = |limit: &Duration| loss.ran.is_none_or(|ran| ran >= *limit);
                let per_item = entry.timeout.filter(|limit| attempts > 0 && ran_over(limit));
                let limit = match (per_item, entry.deadline) {
                    (Some(limit), _) => format!("limit {limit:?} per item"),
                    (None, Some(deadline)) => format!("the call's deadline of {deadline:?} passed"),
                    (None, None) => "time limit passed".to_owned(),
                };
                let reason = match loss.exit {
                    Some(_) => format!("{limit}, stopped by {}", loss.describe()),
                    None => limit,
                };
                Error::new(ErrorKind::TimedOut, reason).with_loss(loss)
            }
            Outcome::Cancelled => Error::new(ErrorKind::Cancelled, ""),
            Outcome::NotRun => {
                let why = self.broken.as_ref().map_or("the pool is closed", Error::reason);
                Error::new(
                    self.broken.as_ref().map_or(ErrorKind::Broken, Error::kind),
                    format!("not run: {why}"),
                )
            }
            Outcome::Terminated => Error::new(ErrorKind::Terminated, "it had no outcome yet"),
        };
        error.of_item(entry.job.task, item, attempts)
    }

    /// Lets the job's caller know how much more input would be welcome.
    fn update_wanted(&mut self, id: JobId) {
        if let Some(entry) = self.jobs.entry(id) {
            entry.job.set_wanted(self.core.input_wanted(id));
        }
    }
}

impl Effects {
    /// Nothing is left to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.pump.is_empty()
            && self.orders.is_empty()
            && self.deliveries.is_empty()
            && self.totals.is_empty()
            && self.stopped.is_empty()
            && self.events.is_empty()
            && !self.rearm
            && !self.finished
    }
}

fn describe(reason: BrokenReason) -> &'static str {
    match reason {
        BrokenReason::CrashLoop => "too many workers ended before they were ready",
        BrokenReason::StartRefused => "workers cannot be started",
        BrokenReason::NoWorkers => "no worker lives and none could be started for a minute",
        BrokenReason::EveryTaskKills => "every task kills its worker",
    }
}
