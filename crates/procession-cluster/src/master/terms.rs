//! What a master is told and what it says, as data.

use std::time::Duration;

use procession::{ErrorReport, Payload};

use crate::chunk::{Chunk, ChunkId};

/// How a job is to run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Which of the job's masters this is.
    pub(crate) session: u32,
    pub(crate) ordered: bool,
    pub(crate) chunk_items: Option<usize>,
    /// Items under way and outcomes that nobody has taken, together, if somebody says how many.
    pub(crate) buffer: Option<u64>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) lease: Duration,
    /// An item starts once at most: what was lost is reported.
    pub(crate) at_most_once: bool,
    /// Answers stay with the broker until the caller has said that they are on record.
    pub(crate) keeps_answers: bool,
}

/// What is to be done at the broker, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Publish it; the how-many-th time this is.
    Put { chunk: Chunk, copy: u32 },
    /// Its answer has been heard: the slot may go.
    Release(ChunkId),
    /// Take everything back that no agent has.
    TakeBack,
    /// Agents are to begin nothing new.
    Drain,
    /// Agents are to stop what runs.
    Stop,
    /// The queue has no consumer: make it.
    MakeConsumer,
    /// The queue is there and hands nothing out: make its consumer anew.
    Recreate,
}

/// What became of an item, for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Value(Payload),
    Failed(Box<ErrorReport>),
}

/// What the broker says of the queue of chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queue {
    /// Chunks that nobody has.
    pub(crate) waiting: u64,
    /// There is a consumer to hand them out.
    pub(crate) has_consumer: bool,
    /// When this was asked.
    pub(crate) asked: Duration,
}
