//! Who listens to a worker: its reader thread, or a caller that has nothing else to do.
//!
//! A reply that comes in through the reader wakes two threads, one after the other: the reader, then the caller. So a
//! caller that gave an idle worker its only call, and blocks for the result, receives it itself. The right to do so is
//! the [`Reader`]: whoever has it listens. It changes hands under the driver's lock only:
//!
//! * A worker that owes nothing need not be listened to. The reader thread parks then, if callers that block have
//!   been using the worker, and leaves the reader for one of them to take along with its call.
//! * Whoever sends anything else to a worker nobody listens to summons the thread, as does the supervisor when the
//!   worker is dead, and a caller that leaves while others' items are outstanding.
//! * A caller stops listening when its call has its outcome, from wherever. If that is not the worker (it was terminated,
//!   say), whoever delivers it nudges the caller through the worker's channel, or the caller would sleep on.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread, ThreadId};
use std::time::Instant;

use procession_core::JobId;

use super::Driver;
use super::effects::Effects;
use super::intake::NewCall;
use super::reader::Reader;
use super::seat::{Link, Seat};
use super::state::State;
use crate::job::{Job, SPIN_MAX};

/// Where the right to receive from a worker is.
#[derive(Default)]
pub(crate) enum Ear {
    /// With the reader thread.
    #[default]
    Thread,
    /// With nobody: the worker owes nothing, and the thread is parked.
    Free(Box<Reader>, Thread),
    /// With a caller that waits; the thread is parked.
    Caller(Thread),
    /// Left for the reader thread, which has been unparked.
    Summoned(Box<Reader>),
}

impl Ear {
    /// Somebody must listen from now on: the thread to unpark, if nobody does.
    #[must_use]
    pub(super) fn summon(&mut self) -> Option<Thread> {
        match std::mem::take(self) {
            Ear::Free(reader, thread) => {
                *self = Ear::Summoned(reader);
                Some(thread)
            }
            other => {
                *self = other;
                None
            }
        }
    }

    /// The reader, for the thread, if it was summoned.
    fn obey(&mut self) -> Option<Box<Reader>> {
        match std::mem::take(self) {
            Ear::Summoned(reader) => Some(reader),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Seat {
    /// Lends the reader to the caller of `job` if that is all the worker has to do.
    fn lend_ear(&mut self, job: JobId) -> Option<Box<Reader>> {
        if !self.has_only(job) {
            return None;
        }
        self.callers_listen = true;
        match std::mem::take(&mut self.ear) {
            Ear::Free(reader, thread) => {
                self.ear = Ear::Caller(thread);
                Some(reader)
            }
            other => {
                self.ear = other;
                None
            }
        }
    }

    /// Whether nobody need listen until a caller does.
    pub(super) fn may_rest(&self) -> bool {
        self.callers_listen
            && self.is_ready
            && self.death.is_none()
            && self.violation.is_none()
            && self.owes_nothing()
    }
}

impl State {
    fn lend_ear(&mut self, job: &Job, effects: &Effects) -> Option<Box<Reader>> {
        let id = job.id()?;
        effects.pump.iter().find_map(|&slot| self.seat_at(slot)?.lend_ear(id))
    }
}

impl Driver {
    /// Makes a call and blocks until it has its outcome.
    pub(crate) fn call(&self, call: NewCall) {
        let job = Arc::clone(&call.job);
        self.intake.leave(call);
        let mut listener = Listener { driver: self, reader: None };
        self.with_state(|state, _, effects| listener.reader = state.lend_ear(&job, effects));
        listener.listen(&job);
        drop(listener);
        job.spin_or_wait();
    }

    /// Parks the reader thread, if the worker may go unheard. Returns when the thread must listen.
    pub(super) fn rest(&self, reader: Box<Reader>) -> Box<Reader> {
        let worker = reader.worker();
        match self.state.lock().seat(worker) {
            Some(seat) if seat.may_rest() => seat.ear = Ear::Free(reader, thread::current()),
            Some(_) | None => return reader,
        }
        loop {
            thread::park();
            let mut state = self.state.lock();
            let seat =
                state.seat(worker).expect("a seat is taken until its reader says that the worker is gone");
            if let Some(reader) = seat.ear.obey() {
                return reader;
            }
        }
    }
}

/// A caller that may have the reader of a worker, and gives it back whatever happens.
struct Listener<'a> {
    driver: &'a Driver,
    reader: Option<Box<Reader>>,
}

impl Listener<'_> {
    /// Receives until the job has its outcome or the worker is gone, if it has the right to.
    fn listen(&mut self, job: &Job) {
        let Some(reader) = &mut self.reader else { return };
        let Some(link) = self.driver.state.lock().seat(reader.worker()).and_then(|seat| seat.link.clone())
        else {
            return;
        };
        // Who cannot be woken must not sleep here.
        if !link.goodbye.can_nudge() {
            return;
        }
        let waker = Waker::from(Arc::new(Nudge { link, listener: thread::current().id() }));
        while job.register(&waker) && !reader.has_ended() {
            let start = Instant::now();
            while !reader.step_if_heard() {
                if job.is_complete() || reader.has_ended() {
                    break;
                }
                if start.elapsed() > SPIN_MAX {
                    reader.step();
                    break;
                }
                thread::yield_now();
            }
        }
        job.forget(&waker);
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        let Some(reader) = self.reader.take() else { return };
        let mut state = self.driver.state.lock();
        let Some(seat) = state.seat(reader.worker()) else { return };
        let Ear::Caller(thread) = std::mem::take(&mut seat.ear) else {
            unreachable!("the reader of {} was lent twice", reader.worker())
        };
        if !reader.has_ended() && seat.may_rest() {
            seat.ear = Ear::Free(reader, thread);
            return;
        }
        seat.callers_listen = false;
        seat.ear = Ear::Summoned(reader);
        drop(state);
        thread.unpark();
    }
}

/// Wakes a caller that sleeps in a receive.
///
/// Any thread may have to do it, and a hostile worker may have filled the channel, even after the caller has left and
/// nobody listens: so it must not wait for room. It need not. A channel that is full holds a packet, or one is just
/// being taken off. Only the caller takes any while it listens, and after each it looks at the job, whose news were
/// there before this was called. So it comes to look, or has left because it did.
struct Nudge {
    link: Arc<Link>,
    listener: ThreadId,
}

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        // What it heard itself it knows.
        if thread::current().id() == self.listener {
            return;
        }
        if let Err(error) = self.link.goodbye.nudge() {
            // Nobody receives any more: the caller has left, or the worker was buried, which wakes it.
            tracing::debug!(pid = self.link.pid, %error, "nobody listens to the worker");
        }
    }
}
