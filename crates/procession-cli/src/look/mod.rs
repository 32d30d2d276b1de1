//! What can be asked of a run directory: how the run is, what failed, everything about one item, its values,
//! and those of several directories together.
//!
//! It only reads: a master may be at work there meanwhile.

mod export;
mod failed;
mod merge;
mod printed;
mod show;
mod status;

pub(crate) use export::export;
pub(crate) use failed::failed;
pub(crate) use merge::merge;
pub(crate) use show::show;
pub(crate) use status::status;

/// Rows that are read at a time.
const PAGE: u32 = 1_024;
