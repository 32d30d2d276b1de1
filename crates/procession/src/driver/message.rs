//! What is sent to a worker: planned under the driver's lock, built and sent outside it.

use std::sync::Arc;

use procession_core::JobId;

use super::backlog::{Segment, Slice};
use crate::wire::{Demands, Run};

/// Items the scheduler gave to this worker, not yet in a message.
pub(crate) struct Handout {
    pub(crate) job: JobId,
    pub(crate) first: u64,
    pub(crate) items: u64,
    pub(crate) attempt: u32,
}

/// A message, planned under the lock and built outside it.
pub(crate) enum Message {
    Work {
        frame: u32,
        demands: Demands,
        runs: Vec<WorkRun>,
    },
    /// With the place of its arguments; without one, they follow in parts.
    LargeWork {
        frame: u32,
        demands: Demands,
        run: WorkRun,
        place: Option<u64>,
    },
    Part {
        segment: Arc<Segment>,
        position: usize,
        start: usize,
        end: usize,
    },
    Stop,
}

impl Message {
    /// Whether results of it could be kept back by an item of it.
    pub(crate) fn holds_several_items(&self) -> bool {
        match self {
            Message::Work { runs, .. } => runs.len() > 1 || runs.iter().any(|run| run.slice.items > 1),
            Message::LargeWork { .. } | Message::Part { .. } | Message::Stop => false,
        }
    }
}

pub(crate) struct WorkRun {
    pub(crate) run: Run,
    pub(crate) slice: Slice,
}
