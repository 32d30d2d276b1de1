//! What the core tells the driver to do. The driver carries commands out in the order in which it polls them, and
//! answers `Probe` and `Reclaim` before it polls the next one.

use crate::{JobId, WorkerId};

/// An order, or a verdict to pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Start a process for this seat and incarnation.
    Start {
        /// Its name from now on.
        worker: WorkerId,
    },
    /// Append these items to the worker's queue. It runs its queue in this order, one item at a time.
    Dispatch {
        /// Who runs them.
        worker: WorkerId,
        /// Whose items.
        job: JobId,
        /// Index of the first.
        first: u64,
        /// How many, at least one.
        items: u32,
        /// Which start of these items this is, counted from 1.
        attempt: u32,
    },
    /// Find out since when the worker has been running its present item; answer with
    /// [`Running`](crate::Event::Running).
    Probe {
        /// Whom to ask about.
        worker: WorkerId,
    },
    /// Take back every item of the worker's queue that has not started, such that none of them can start any
    /// more; answer with [`Reclaimed`](crate::Event::Reclaimed).
    Reclaim {
        /// From whom.
        worker: WorkerId,
    },
    /// Send a signal to the worker.
    Signal {
        /// To whom.
        worker: WorkerId,
        /// Which one.
        signal: Signal,
    },
    /// Tell the worker that nothing more comes: it exits by itself. It may still be starting.
    Stop {
        /// Whom to tell.
        worker: WorkerId,
    },
    /// For information: this attempt was lost with its worker, and the item will be started again.
    Retry {
        /// Whose item.
        job: JobId,
        /// Its index.
        item: u64,
        /// The attempt that was lost.
        attempt: u32,
    },
    /// These items end without a reply.
    Settle {
        /// Whose items.
        job: JobId,
        /// Index of the first.
        first: u64,
        /// How many.
        items: u64,
        /// What became of each of them.
        outcome: Outcome,
        /// How many starts were charged to each of them.
        attempts: u32,
    },
    /// The job's deadline passed while its input is open: items that are still input settle without having run.
    StopInput {
        /// Which one.
        job: JobId,
    },
    /// The input is closed and every item has its outcome. The last thing said about a job.
    JobSettled {
        /// Which one.
        job: JobId,
    },
    /// The pool cannot go on. What is unsettled settles as [`NotRun`](Outcome::NotRun) from here on.
    Broken {
        /// Why.
        reason: BrokenReason,
    },
    /// The pool was closed or terminated and every worker is gone. Said once; only last words about jobs whose
    /// input was still open, or that were refused, may follow.
    Finished,
}

/// What became of an item that got no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Its worker was lost while it ran, and it may start only once.
    Lost,
    /// Its worker was lost in every one of the attempts it had.
    Quarantined,
    /// It ran longer than it may, or the call's deadline passed.
    TimedOut,
    /// Its call was cancelled or dropped.
    Cancelled,
    /// The pool broke, or had been closed, before it could run.
    NotRun,
    /// The pool was terminated.
    Terminated,
}

/// The two ways to end a process from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Ask it to end (`SIGTERM`).
    Terminate,
    /// End it (`SIGKILL`).
    Kill,
}

/// Why the pool cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BrokenReason {
    /// Too many workers died, or broke the protocol, before they were of any use.
    CrashLoop,
    /// A worker cannot be started and never will be.
    StartRefused,
    /// No worker lives, and none could be started for too long.
    NoWorkers,
    /// The last so many workers that held work were all lost, and not one item was done in between.
    EveryTaskKills,
}
