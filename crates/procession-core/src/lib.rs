//! The pure scheduler of Procession: who runs what, who restarts when.

#![forbid(unsafe_code)]

mod backlog;
mod command;
mod estimate;
mod event;
mod handout;
mod id;
mod jitter;
mod job;
mod jobs;
mod policy;
mod ready;
mod scheduler;
mod seat;
mod time;

pub use backlog::Run;
pub use command::{BrokenReason, Command, Outcome, Signal};
pub use event::{Event, StartFailure};
pub use id::{JobId, WorkerId};
pub use policy::{JobOptions, Policy};
pub use scheduler::{Scheduler, SeatStatus};
pub use time::Time;
