//! What the driver tells the core: facts, in the order in which they happened.
//!
//! An event of a worker or a job that is gone (an old generation) is ignored. An event that only a fault in the
//! driver could produce is a panic; one that a worker's bytes could produce never is.

use std::time::Duration;

use crate::{JobId, JobOptions, Time, WorkerId};

/// A fact, named after what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call was made. It is an open stream without items yet.
    Submit {
        /// A name that is not in use.
        job: JobId,
        /// How it wants to be run.
        options: JobOptions,
    },
    /// That many more items are encoded and may be handed out.
    Input {
        /// Whose items they are.
        job: JobId,
        /// How many.
        items: u64,
        /// What they weigh together when sent.
        bytes: u64,
    },
    /// No more items will come.
    InputClosed {
        /// Whose input ended.
        job: JobId,
    },
    /// A call was made and all its items are there: `Submit`, `Input` and `InputClosed` in one.
    Call {
        /// A name that is not in use.
        job: JobId,
        /// How it wants to be run.
        options: JobOptions,
        /// How many items it has.
        items: u64,
        /// What they weigh together when sent.
        bytes: u64,
    },
    /// From now on a call that has a time limit has another one, which holds for what runs as well.
    Limit {
        /// Whose items.
        job: JobId,
        /// How long each may run.
        timeout: Duration,
    },
    /// Nobody wants the rest. Waiting items never start, the running one's worker is stopped, and every item
    /// without an outcome settles [`Cancelled`](crate::Outcome::Cancelled). The input stays open until it is closed.
    Cancel {
        /// What to cancel.
        job: JobId,
    },
    /// Nobody listens any more. As `Cancel`, but running items finish unheard and no worker is harmed. Closes the
    /// input.
    Abandon {
        /// What was dropped.
        job: JobId,
    },
    /// A started worker has come to something that it runs before it is ready.
    WorkerSetsUp {
        /// Which one.
        worker: WorkerId,
        /// How long that may take. `None`: as long as a whole start.
        limit: Option<Duration>,
    },
    /// A started worker is ready for work.
    WorkerReady {
        /// Which one.
        worker: WorkerId,
    },
    /// A worker could not be started; no process of it remains.
    StartFailed {
        /// Which one.
        worker: WorkerId,
        /// Whether trying again may help.
        failure: StartFailure,
    },
    /// The next items of a worker's queue have their outcome (a value or a task's error), delivered by the driver.
    Done {
        /// Whose queue.
        worker: WorkerId,
        /// How many items, from its front.
        items: u64,
        /// How long the worker was busy with them.
        busy: Duration,
    },
    /// The answer to [`Reclaim`](crate::Command::Reclaim).
    Reclaimed {
        /// Whose queue.
        worker: WorkerId,
        /// How many items were taken back from its end: all that had provably not started.
        items: u64,
    },
    /// The answer to [`Probe`](crate::Command::Probe).
    Running {
        /// Who was asked.
        worker: WorkerId,
        /// When the item it is running now started; `None` if it is running none.
        since: Option<Time>,
    },
    /// A worker is gone; everything it had sent was handled before.
    WorkerExited {
        /// Which one.
        worker: WorkerId,
        /// How many items at the front of its queue have started, or may have: at most the running one, unless what
        /// became of those before it is not known.
        begun: u64,
    },
    /// A worker broke the protocol and can no longer be believed.
    WorkerFaulty {
        /// Which one.
        worker: WorkerId,
    },
    /// A task panicked in a worker, whose [`Done`](Event::Done) for that item is yet to be told.
    TaskPanicked {
        /// Which one.
        worker: WorkerId,
    },
    /// A worker takes more memory than it may: it delivers what it is running, then it is replaced.
    WorkerBloated {
        /// Which one.
        worker: WorkerId,
    },
    /// From now on this many workers are wanted.
    Resize {
        /// At least 1.
        workers: u32,
    },
    /// No more calls: finish what was submitted, then stop the workers.
    Close,
    /// Stop now.
    Terminate,
    /// Time has passed.
    Tick,
}

/// Why a worker could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StartFailure {
    /// The machine is short of something (`EAGAIN`, `ENOMEM`, `EMFILE`): trying again may help.
    Transient,
    /// It would fail the same way every time: a mismatched program, a missing one, a failed initializer.
    Fatal,
}
