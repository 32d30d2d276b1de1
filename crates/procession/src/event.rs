//! What a pool tells an observer (`PoolBuilder::on_event`): facts about its workers, in the order they happened; and what
//! they print (`PoolBuilder::on_output`).

use crate::process::WorkerExit;

/// Something that happened to a worker or to the whole pool.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A worker process exists; it is not ready yet.
    WorkerStarted {
        /// Its seat in the pool, from 0.
        slot: u32,
        /// Its process id.
        pid: u32,
    },
    /// A worker ran its initializer and takes items.
    WorkerReady {
        /// Its seat in the pool, from 0.
        slot: u32,
        /// Its process id.
        pid: u32,
    },
    /// A worker process is gone: retired, stopped or crashed.
    WorkerExited {
        /// Its seat in the pool, from 0.
        slot: u32,
        /// Its process id.
        pid: u32,
        /// How it ended.
        exit: WorkerExit,
        /// Whether an item was running in it.
        running: bool,
    },
    /// The pool gave up; every unfinished item has its outcome.
    PoolBroken {
        /// Why.
        reason: String,
    },
}

/// What workers print, for [`PoolBuilder::on_output`](crate::PoolBuilder::on_output).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Printed {
    /// Whole lines of one worker, each with its end. A line of more than 8 KiB comes in several; the last one gets an end
    /// when the worker has none for it.
    Text {
        /// The worker's process id.
        pid: u32,
        /// As it was printed: it need not be UTF-8, and may hold control characters.
        text: Vec<u8>,
    },
    /// Workers printed more than was listened to.
    LeftOut {
        /// So many lines are missing here, of any worker.
        lines: u64,
    },
}
