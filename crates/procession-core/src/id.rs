//! The names by which the core and the driver call things. Numbers only: the core must not know what a job's
//! arguments look like or which process a worker is.

use std::fmt;

/// One call on the pool.
///
/// The driver chooses it from a dense slab: an `index` is used again, with a new `generation`, once
/// [`JobSettled`](crate::Command::JobSettled) was said about its predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId {
    /// Place in the slab.
    pub index: u32,
    /// Which job of that place.
    pub generation: u32,
}

/// One worker process: the seat it occupies and which incarnation sits there.
///
/// News of an earlier incarnation carries its generation and is therefore harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId {
    /// The seat, counted from 0.
    pub slot: u32,
    /// The incarnation, counted from 1.
    pub generation: u32,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "j{}.{}", self.index, self.generation)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}.{}", self.slot, self.generation)
    }
}
