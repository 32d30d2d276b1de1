//! The IO shell around the scheduler: it moves bytes and signals, and decides nothing.
//!
//! Whoever has news (a submitting caller, a worker's reader thread, the supervisor) takes the one lock, tells the
//! scheduler, writes down what it says, lets the lock go, and only then sends, wakes and signals. No user code runs
//! here and no user data is decoded: payloads stay opaque until the caller's own thread takes them.
//!
//! | thread | lives | does |
//! |---|---|---|
//! | reader, one a seat | from the seat's first worker on | blocking receive, unless a caller does it ([`ear`]) |
//! | supervisor, one a pool | as long as the pool | starts, signals and reaps processes; drains their output; timers |
//! | output, one a pool | from the first output of a worker on | repeats it on our stderr |
//! | callbacks, one a pool | from the first callback on | user callbacks and `on_event` |
//!
//! Locks: `state` first, then the intake or a job's inbox; each thread holds at most one of `state`, the supervisor's mailbox and
//! the callback queue. None is held across a send, a callback or user code.

mod backlog;
mod callbacks;
mod clock;
mod ear;
mod effects;
mod forward;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod hostile;
mod intake;
mod jobs;
mod lines;
mod mailbox;
mod message;
mod reader;
mod scales;
mod seat;
mod sender;
mod state;
mod supervisor;
#[cfg(test)]
mod tests;
mod words;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use procession_core::{JobId, Policy, Time};

pub(crate) use backlog::Segment;
use backlog::Slice;
pub(crate) use callbacks::{CallbackThread, run_one as run_callback};
use effects::Effects;
pub(crate) use forward::{Destination, Listener};
use intake::Intake;
pub(crate) use intake::NewCall;
pub(crate) use seat::SetupLimit;
use state::State;
pub(crate) use state::{CallOptions, Phase};
pub(crate) use supervisor::Supervisor;

use crate::arrival::Arrival;
use crate::buffer::Buffers;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::job::{Callbacks, Job};
use crate::slab::Arena;

/// What all threads of a pool share.
pub(crate) struct Driver {
    state: Mutex<State>,
    intake: Intake,
    mailbox: mailbox::Mailbox,
    callbacks: CallbackThread,
    observer: Option<Arc<dyn Fn(&Event) + Send + Sync>>,
    /// Protects the stage of the supervisor's life; a leaf.
    stage: Mutex<supervisor::Stage>,
    stage_changed: Condvar,
    settings: Settings,
    /// Where large arguments lie.
    arena: Arc<Arena>,
    /// Memory for large results on their way to the caller.
    buffers: Arc<Buffers>,
}

/// What the driver needs to know of the pool's options.
#[derive(Default)]
pub(crate) struct Settings {
    /// Where what workers print goes on to.
    pub(crate) output: Destination,
    /// A worker with more resident memory than this, in bytes, is replaced.
    pub(crate) max_rss: Option<u64>,
    /// How long a worker may take for the preload, and for its initializer.
    pub(crate) setup_limits: [Option<SetupLimit>; 2],
    /// What workers are limited to, in bytes; for reports.
    pub(crate) memory_limit: Option<u64>,
}

impl Driver {
    pub(crate) fn new(
        policy: Policy,
        observer: Option<Arc<dyn Fn(&Event) + Send + Sync>>,
        settings: Settings,
        arena: Arc<Arena>,
    ) -> Result<Driver, Error> {
        Ok(Driver {
            state: Mutex::new(State::new(policy, settings.max_rss.is_some())),
            intake: Intake::default(),
            mailbox: mailbox::Mailbox::new()?,
            callbacks: CallbackThread::default(),
            observer,
            stage: Mutex::new(supervisor::Stage::Starting),
            stage_changed: Condvar::new(),
            settings,
            arena,
            buffers: Arc::default(),
        })
    }

    /// An empty segment, to be filled by the caller and then submitted.
    pub(crate) fn segment(&self) -> Segment {
        Segment::new(&self.arena)
    }

    // Calls on the pool.

    /// Opens a job that takes items until its input is closed.
    pub(crate) fn open(&self, job: &Arc<Job>, options: CallOptions) -> Result<JobId, Error> {
        self.with_state(|state, now, effects| state.open(now, Arc::clone(job), options, effects))
    }

    /// Makes a call; if the pool takes none, its outcome says why.
    pub(crate) fn submit(&self, call: NewCall) {
        if !self.intake.leave(call) {
            self.with_state(|_, _, _| ());
        }
    }

    /// `false`: the job takes no more input, because it was stopped.
    pub(crate) fn input(&self, id: JobId, segment: Segment, input_first: u64) -> bool {
        self.with_state(|state, now, effects| state.input(now, id, segment, input_first, effects))
    }

    pub(crate) fn close_input(&self, id: JobId) {
        self.with_state(|state, now, effects| state.close_input(now, id, effects));
    }

    pub(crate) fn cancel(&self, job: &Job) {
        self.with_state(|state, now, effects| {
            // Not before: it gets its name when the scheduler hears of it.
            if let Some(id) = job.id() {
                state.cancel(now, id, effects);
            }
        });
    }

    pub(crate) fn abandon(&self, id: JobId) {
        self.with_state(|state, now, effects| state.abandon(now, id, effects));
    }

    pub(crate) fn limit(&self, id: JobId, timeout: Duration) {
        self.with_state(|state, now, effects| state.limit(now, id, timeout, effects));
    }

    pub(crate) fn resize(&self, workers: u32) {
        self.with_state(|state, now, effects| state.resize(now, workers, effects));
    }

    pub(crate) fn close(&self) {
        self.with_state(|state, now, effects| {
            state.resume(effects);
            state.close(now, effects);
        });
    }

    pub(crate) fn terminate(&self) {
        self.with_state(|state, now, effects| {
            state.resume(effects);
            state.terminate(now, effects);
        });
    }

    /// Stops the workers and the clock. Returns once the workers were sent the signal.
    pub(crate) fn pause(&self) {
        let pause = self.with_state(|state, _, effects| state.pause(effects));
        self.wait_stage(None, |stage| match stage {
            supervisor::Stage::Starting => false,
            supervisor::Stage::Running { pauses } => *pauses >= pause,
            supervisor::Stage::Failed(_) | supervisor::Stage::Stopped => true,
        });
    }

    /// Lets the workers and the clock go on.
    pub(crate) fn resume(&self) {
        self.with_state(|state, _, effects| state.resume(effects));
    }

    pub(crate) fn phase(&self) -> Phase {
        self.state.lock().phase()
    }

    pub(crate) fn broken(&self) -> Option<Error> {
        self.state.lock().broken().map(Error::duplicate)
    }

    /// Blocks until the first workers were started, or says why they could not be.
    pub(crate) fn wait_started(&self) -> Result<(), Error> {
        self.wait_stage(None, |stage| !matches!(stage, supervisor::Stage::Starting));
        match &*self.stage.lock() {
            supervisor::Stage::Failed(error) => Err(error.duplicate()),
            supervisor::Stage::Starting | supervisor::Stage::Running { .. } | supervisor::Stage::Stopped => {
                Ok(())
            }
        }
    }

    /// Blocks until every worker is reaped and every thread but the callbacks' has ended; `false`: not in time.
    pub(crate) fn wait_stopped(&self, until: Option<Instant>) -> bool {
        self.wait_stage(until, |stage| {
            matches!(stage, supervisor::Stage::Stopped | supervisor::Stage::Failed(_))
        })
    }

    fn wait_stage(&self, until: Option<Instant>, reached: impl Fn(&supervisor::Stage) -> bool) -> bool {
        let mut stage = self.stage.lock();
        while !reached(&stage) {
            let timed_out = match until {
                Some(until) => self.stage_changed.wait_until(&mut stage, until).timed_out(),
                None => {
                    self.stage_changed.wait(&mut stage);
                    false
                }
            };
            if timed_out {
                return reached(&stage);
            }
        }
        true
    }

    fn enter_stage(&self, stage: supervisor::Stage) {
        *self.stage.lock() = stage;
        self.stage_changed.notify_all();
    }

    pub(crate) fn callbacks(&self) -> &CallbackThread {
        &self.callbacks
    }

    pub(crate) fn inspect<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.state.lock())
    }

    // The one way in.

    /// Runs `tell` under the lock, then carries out what came of it. A panic on the way is a fault of ours that
    /// every open job must hear of, whoever's thread it is on.
    fn with_state<R>(&self, tell: impl FnOnce(&mut State, Time, &mut Effects) -> R) -> R {
        let told = catch_unwind(AssertUnwindSafe(|| {
            let mut effects = Effects::default();
            let mut state = self.state.lock();
            let now = state.now();
            self.intake.serve(&mut state.new_calls);
            state.make_calls(now, &mut effects);
            let result = tell(&mut state, now, &mut effects);
            while self.intake.serve_last(&mut state.new_calls) {
                state.make_calls(now, &mut effects);
            }
            drop(state);
            self.carry_out(effects);
            self.look_after_arena();
            result
        }));
        told.unwrap_or_else(|panic| {
            self.abort(&*panic);
            resume_unwind(panic)
        })
    }

    fn carry_out(&self, effects: Effects) {
        if effects.is_empty() {
            return;
        }
        let Effects { pump, orders, mut deliveries, lost, totals, stopped, events, rearm, finished, links } =
            effects;
        // Before the supervisor is told anything, or its news of what comes next would overtake these.
        for event in events {
            self.observe(event);
        }
        for slot in pump {
            self.pump(slot);
        }
        if rearm || finished || !orders.is_empty() {
            self.mailbox.post(orders);
        }
        for (position, Slice { segment, start, .. }) in lost {
            if let Arrival::Failed { error, .. } = &mut deliveries[position].1 {
                error.digest_args(segment.item(start));
            }
        }
        for (job, arrival) in deliveries {
            let callbacks = job.deliver(arrival);
            self.run_callbacks(&job, callbacks);
        }
        for (job, total) in totals {
            let callbacks = job.settled(total);
            self.run_callbacks(&job, callbacks);
        }
        for (job, reason) in stopped {
            job.stop(reason);
        }
        drop(links);
    }

    /// Has the supervisor give back memory of large arguments once nobody has used it for a while.
    fn look_after_arena(&self) {
        if self.arena.wants_care() {
            self.mailbox.post(Vec::new());
        }
    }

    fn observe(&self, event: Event) {
        if let Some(observer) = &self.observer {
            let observer = Arc::clone(observer);
            self.callbacks.run(Box::new(move || observer(&event)));
        }
    }

    pub(crate) fn run_callbacks(&self, job: &Arc<Job>, Callbacks(callbacks): Callbacks) {
        if callbacks.is_empty() {
            return;
        }
        for callback in callbacks {
            self.callbacks.run(callback);
        }
        let job = Arc::clone(job);
        self.callbacks.run(Box::new(move || {
            loop {
                let Callbacks(late) = job.callbacks_done();
                if late.is_empty() {
                    break;
                }
                late.into_iter().for_each(run_callback);
            }
        }));
    }

    /// Outcomes the caller found itself, without any worker: an input that does not encode.
    pub(crate) fn deliver(&self, job: &Arc<Job>, arrival: Arrival) {
        let callbacks = job.deliver_own(arrival);
        self.run_callbacks(job, callbacks);
    }

    /// Our code panicked: no handle may wait for ever.
    fn abort(&self, panic: &(dyn std::any::Any + Send)) {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("without a name");
        let error = Error::new(ErrorKind::Broken, format!("the driver panicked on thread {thread}: {text}"));
        tracing::error!("{error}");
        let mut state = self.state.lock();
        self.intake.end(&mut state.new_calls);
        let jobs = state.abort(error.duplicate());
        drop(state);
        for job in jobs {
            let callbacks = job.abort(error.duplicate());
            self.run_callbacks(&job, callbacks);
        }
        self.mailbox.post(Vec::new());
    }

    /// Runs a driver thread's body so that its panic ends every open job with an error.
    fn guard(&self, body: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
            self.abort(&*panic);
        }
    }
}

/// `timeout` from now as a point in time; one too far away to express is never.
pub(crate) fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}
