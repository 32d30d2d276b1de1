//! What is heard of workers: they are ready, they reply, they misbehave, they are gone.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use procession_core::{Event as CoreEvent, StartFailure, Time, WorkerId};

use super::verdicts::Departed;
use super::{Effects, Phase, State};
use crate::arrival::{Arrival, Large, Records};
use crate::buffer::Buffer;
use crate::driver::seat::{Origin, SetupLimit, SetupStep};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::wire::{self, LargeResult, ResultsHeader, Status};

impl State {
    /// Said once: whoever observes the pool hears of each time, and what waits for that has no bound.
    pub(crate) fn ready(&mut self, now: Time, worker: WorkerId, effects: &mut Effects) -> Result<(), String> {
        if let Some(seat) = self.seat(worker)
            && let Some(link) = &seat.link
        {
            if seat.is_ready {
                return Err("it is ready, it says once more".to_owned());
            }
            let (slot, pid) = (seat.place, link.pid);
            seat.is_ready = true;
            effects.events.push(Event::WorkerReady { slot, pid });
            self.tell(now, CoreEvent::WorkerReady { worker }, effects);
        }
        Ok(())
    }

    /// A worker has come to something that it runs before it is ready.
    pub(crate) fn sets_up(
        &mut self,
        now: Time,
        worker: WorkerId,
        number: u8,
        limit: Option<SetupLimit>,
        effects: &mut Effects,
    ) -> Result<(), String> {
        let Some(seat) = self.seat(worker) else { return Ok(()) };
        if seat.is_ready || seat.setup.as_ref().is_some_and(|before| before.number >= number) {
            return Err("it sets itself up out of turn".to_owned());
        }
        seat.setup = Some(SetupStep { number, since: now, limit });
        let limit = limit.map(|limit| limit.limit);
        self.tell(now, CoreEvent::WorkerSetsUp { worker, limit }, effects);
        Ok(())
    }

    /// A worker that is to be forked from a process which is itself still on its way may wait so long for it; `None`: its
    /// own time begins.
    pub(crate) fn start_waits(
        &mut self,
        now: Time,
        worker: WorkerId,
        limit: Option<Duration>,
        effects: &mut Effects,
    ) {
        self.tell(now, CoreEvent::WorkerSetsUp { worker, limit }, effects);
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
        let heard = wire::Records { each: header.each as usize, bytes: records };
        let start = heard.length_of(u64::from(header.items - fresh.items));
        self.take_results(now, worker, &fresh, records, start, effects);
        effects.pump.push(worker.slot);
        Ok(())
    }

    /// A reply of one item, too large for a record.
    pub(crate) fn large_result(
        &mut self,
        now: Time,
        worker: WorkerId,
        head: &LargeResult,
        payload: Buffer,
        effects: &mut Effects,
    ) -> Result<(), String> {
        if self.is_aborted {
            return Ok(());
        }
        let Some(seat) = self.seat(worker) else {
            return Ok(());
        };
        let &LargeResult { frame_no, offset, busy_ns, status, .. } = head;
        let header = ResultsHeader { frame_no, first: offset, items: 1, busy_ns, each: 0, usage: head.usage };
        seat.accept(&header, Origin::Window)?;
        let busy = Duration::from_nanos(busy_ns);
        self.count(worker, 1, busy);
        let reporter = self.reporter(worker);
        let Self { core, jobs, touched, .. } = self;
        if let Some(run) = core.front_runs(worker).next() {
            touched.push(run.job);
            if let Some(entry) = jobs.entry_mut(run.job) {
                let (first, _) = entry.backlog.input_range(run.first, 1);
                reporter.note(&entry.job, &header, (first, 1), run.attempt);
                let outcome = Large { status, payload };
                let arrival = Arrival::Large { first, attempt: run.attempt, outcome: Some(outcome) };
                effects.deliveries.push((Arc::clone(&entry.job), arrival));
                entry.settle(run.first, 1);
            }
        }
        if status == Status::Panicked {
            self.tell(now, CoreEvent::TaskPanicked { worker }, effects);
        }
        self.tell(now, CoreEvent::Done { worker, items: 1, busy }, effects);
        effects.pump.push(worker.slot);
        Ok(())
    }

    /// Results that are accounted for; their records begin at `start`.
    pub(super) fn take_results(
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
        self.route(worker, header, records, start, effects);
        if self.heeds_panics && has_panic(header, &records[start..]) {
            // First, or it would be given more for what it has done.
            self.tell(now, CoreEvent::TaskPanicked { worker }, effects);
        }
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
        self.counters.record(self.core.place(worker.slot), items, busy, item);
    }

    /// Cuts a reply into the parts of the jobs whose items the worker had, oldest first.
    fn route(
        &mut self,
        worker: WorkerId,
        header: &ResultsHeader,
        buffer: &Arc<[u8]>,
        mut start: usize,
        effects: &mut Effects,
    ) {
        let (mut left, each) = (u64::from(header.items), header.each as usize);
        let reporter = self.reporter(worker);
        let Self { core, jobs, touched, .. } = self;
        for run in core.front_runs(worker) {
            if left == 0 {
                break;
            }
            let here = left.min(u64::from(run.items));
            left -= here;
            let entry = jobs.entry_mut(run.job);
            if touched.last() != Some(&run.job) && entry.as_ref().is_some_and(|entry| entry.job.takes_input())
            {
                touched.push(run.job);
            }
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
                    start + wire::Records { each, bytes: &buffer[start..] }.length_of(piece)
                };
                if let Some(entry) = &entry {
                    reporter.note(&entry.job, header, (input_first, piece as u32), run.attempt);
                    let share = || Records::new(Arc::clone(buffer), each, start, end);
                    let arrival = if entry.job.takes_input() {
                        let (items, attempt) = (piece as u32, run.attempt);
                        Arrival::Replies { first: input_first, items, attempt, records: share() }
                    } else {
                        let record = wire::Records { each, bytes: &buffer[start..end] };
                        Arrival::single(run.attempt, record, share)
                    };
                    effects.deliveries.push((Arc::clone(&entry.job), arrival));
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
        let begun = seat.may_have_begun();
        let loss = seat.loss();
        // A worker that was ready has items, and an end like any other; a status it left with means nothing then.
        seat.let_go();
        let failure = seat.boot_failure.take().or_else(|| seat.overslept()).filter(|_| !seat.is_ready);
        if let (Some(link), Some(exit)) = (seat.link.take(), loss.exit) {
            effects.events.push(Event::WorkerExited {
                slot: seat.place,
                pid: link.pid,
                exit,
                running: begun > 0,
            });
            effects.links.push(link);
        }
        if let Some(failure) = failure {
            self.start_failed(now, worker, failure.error, failure.fatal, effects);
            return;
        }
        let reason = match seat.setup.as_ref().filter(|_| !seat.is_ready) {
            // If the scheduler gives up over it, this is what everybody is told.
            Some(step) => Error::new(ErrorKind::Initializer, step.died_of(&loss.describe())),
            None => Error::new(ErrorKind::Broken, loss.describe()),
        };
        self.departed = Some(Departed::new(loss, self.core.front_runs(worker), begun));
        self.broken_by(reason, |state| state.tell(now, CoreEvent::WorkerExited { worker, begun }, effects));
        self.departed = None;
    }

    /// The worker sent what no worker sends.
    pub(crate) fn faulty(&mut self, now: Time, worker: WorkerId, violation: String, effects: &mut Effects) {
        self.condemn(now, worker, format!("protocol violation: {violation}"), effects);
    }

    /// The system refused to pass a message on to the worker, which lives: it would wait for what never comes. It has
    /// done nothing wrong, but nothing brings it and us together again.
    pub(crate) fn unsent(&mut self, now: Time, worker: WorkerId, error: &io::Error, effects: &mut Effects) {
        self.condemn(now, worker, format!("a message could not be sent to it: {error}"), effects);
    }

    fn condemn(&mut self, now: Time, worker: WorkerId, violation: String, effects: &mut Effects) {
        let Some(seat) = self.seat(worker) else { return };
        if seat.violation.is_none() {
            tracing::warn!(slot = worker.slot, violation, "the worker is killed");
            seat.violation = Some(violation);
            self.tell(now, CoreEvent::WorkerFaulty { worker }, effects);
        }
    }
}

/// Whether an item panicked.
fn has_panic(header: &ResultsHeader, bytes: &[u8]) -> bool {
    let mut records = wire::Records { each: 0, bytes };
    header.each == 0 && (0..header.items).any(|_| records.take().status == Status::Panicked)
}
