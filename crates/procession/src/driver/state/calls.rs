//! What callers tell the pool: a call is made, has items, ends, is given up; the pool is resized or ends.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use procession_core::{Event as CoreEvent, JobId, JobOptions, Time};

use super::{Effects, Phase, State};
use crate::arrival::Arrival;
use crate::driver::NewCall;
use crate::driver::backlog::{Backlog, Segment};
use crate::driver::jobs::JobEntry;
use crate::error::{Error, ErrorKind};
use crate::job::{Job, StopReason};

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
    /// Opens a job, or says why the pool takes none.
    pub(crate) fn open(
        &mut self,
        now: Time,
        job: Arc<Job>,
        options: CallOptions,
        effects: &mut Effects,
    ) -> Result<JobId, Error> {
        self.check_open()?;
        let (job, options) = self.enter(job, options, 0, Backlog::default());
        self.touched.push(job);
        self.tell(now, CoreEvent::Submit { job, options }, effects);
        Ok(job)
    }

    /// Tells the scheduler of calls that came in. One that the pool does not take ends with the reason.
    pub(crate) fn make_calls(&mut self, now: Time, effects: &mut Effects) {
        while let Some(NewCall { job, options, segment }) = self.new_calls.pop_front() {
            match self.check_open() {
                Ok(()) => self.call(now, job, options, segment, effects),
                Err(error) => {
                    effects.deliveries.push((job, Arrival::Failed { first: 0, items: 1, error }));
                }
            }
        }
    }

    fn call(
        &mut self,
        now: Time,
        job: Arc<Job>,
        options: CallOptions,
        segment: Segment,
        effects: &mut Effects,
    ) {
        let (items, bytes) = (segment.items() as u64, segment.bytes() as u64);
        let mut backlog = Backlog::default();
        backlog.push(segment, 0);
        let (job, options) = self.enter(job, options, items, backlog);
        self.tell(now, CoreEvent::Call { job, options, items, bytes }, effects);
    }

    fn check_open(&self) -> Result<(), Error> {
        if let Some(error) = &self.broken {
            return Err(error.duplicate());
        }
        match self.phase {
            Phase::Open => Ok(()),
            Phase::Closing => Err(Error::new(ErrorKind::Closed, "it takes no more calls after `close`")),
            Phase::Terminating | Phase::Finished => {
                Err(Error::new(ErrorKind::Closed, "it takes no more calls once it was stopped"))
            }
        }
    }

    /// Gives a job its name.
    fn enter(
        &mut self,
        job: Arc<Job>,
        options: CallOptions,
        total: u64,
        backlog: Backlog,
    ) -> (JobId, JobOptions) {
        let task = job.task.index() as u32;
        let id = self.jobs.insert(JobEntry {
            job: Arc::clone(&job),
            task,
            backlog,
            timeout: options.timeout,
            deadline: options.deadline,
            total,
            losses: Vec::new(),
        });
        job.set_id(id);
        let options = JobOptions {
            task,
            chunk_size: options.chunk_size,
            timeout: options.timeout,
            deadline: options.deadline,
            max_attempts: options.max_attempts,
            priority: options.priority,
        };
        (id, options)
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

    pub(crate) fn cancel(&mut self, now: Time, id: JobId, effects: &mut Effects) {
        self.tell(now, CoreEvent::Cancel { job: id }, effects);
    }

    pub(crate) fn abandon(&mut self, now: Time, id: JobId, effects: &mut Effects) {
        self.tell(now, CoreEvent::Abandon { job: id }, effects);
    }

    /// Gives a call that has a time limit another one.
    pub(crate) fn limit(&mut self, now: Time, id: JobId, timeout: Duration, effects: &mut Effects) {
        if let Some(entry) = self.jobs.entry_mut(id)
            && entry.timeout.is_some()
        {
            entry.timeout = Some(timeout);
            self.tell(now, CoreEvent::Limit { job: id, timeout }, effects);
        }
    }

    pub(crate) fn resize(&mut self, now: Time, workers: u32, effects: &mut Effects) {
        self.tell(now, CoreEvent::Resize { workers }, effects);
    }

    pub(crate) fn close(&mut self, now: Time, effects: &mut Effects) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closing;
            self.tell(now, CoreEvent::Close, effects);
        }
        // The closing thread waits from here on: its own lazy calls would never be pulled to their end.
        for id in self.jobs.pulled_by(thread::current().id()) {
            if let Some(entry) = self.jobs.entry(id) {
                effects.stopped.push((Arc::clone(&entry.job), StopReason::Closed));
            }
            self.close_input(now, id, effects);
        }
    }

    pub(crate) fn terminate(&mut self, now: Time, effects: &mut Effects) {
        if matches!(self.phase, Phase::Open | Phase::Closing) {
            self.phase = Phase::Terminating;
            self.jobs.stop_all(effects);
            self.drop_queues();
            self.held = self.held_runs();
            self.end_begins();
            self.tell(now, CoreEvent::Terminate, effects);
            self.started.clear();
        }
    }
}
