//! **A pool without processes: the real scheduler, driven in modelled time.**
//!
//! The core decides as it does in a real pool; what surrounds it (the master's one processor, the channels, the
//! workers) is a model whose costs are [`Costs`]. So a whole run takes no longer than its decisions, on any number of
//! workers, and is the same each time. [`run`] is one call; [`best`] is how good it could have been.
//!
//! The model follows the real driver where that matters for time: credits, frames that collect what waits, results
//! that are flushed at the end of a frame or after half a millisecond, items taken back by the word in the page. It
//! has no faults; the core's own simulation has those.

#![forbid(unsafe_code)]

mod costs;
mod engine;
mod inputs;
mod optimum;
mod worker;

pub use costs::Costs;
pub use engine::{Call, Report, run, run_in_chunks};
pub use inputs::Input;
pub use optimum::best;
