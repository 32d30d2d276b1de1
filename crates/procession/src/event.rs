//! What a pool tells an observer (`PoolBuilder::on_event`): facts about its workers, in the order they happened.

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
