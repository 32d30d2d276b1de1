//! How worker processes come to be, and how they end: the only module that forks, executes, signals and waits.
//!
//! It knows no scheduling and no frames of work: it hands the master two channel ends, a shared page, a pidfd and
//! perhaps a pipe for each worker, and the worker's half of these to [`crate::worker`].
//!
//! The bootstrap goes over a private socket pair that is the child's standard input. The child, not the master,
//! listens on the one named socket there is, because accepting has no time limit: if the child dies, connecting
//! fails, and nothing waits. The README beside this file has the steps and the reasons.

mod boot;
mod child;
mod crash;
mod descriptors;
mod enclosure;
mod error;
mod exit;
mod init;
mod launcher;
mod limits;
mod pidfd;
mod seat;
mod serve;
mod settings;
mod signals;
mod socket_dir;
mod spawn;
mod worker_process;
mod zygote;
mod zygote_start;

pub(crate) use enclosure::Kills;
pub(crate) use exit::Exit;
pub use exit::WorkerExit;
pub use init::init;
pub use settings::{Output, StartMethod};

pub(crate) use descriptors::{ensure_descriptors, ensure_room_beyond};
pub(crate) use error::LaunchError;
pub(crate) use launcher::{Launch, Launched, Launcher, PendingBoot};
pub(crate) use pidfd::number_readable_within;
pub(crate) use settings::LaunchSettings;
pub(crate) use signals::block_broken_pipe;
pub(crate) use worker_process::WorkerProcess;

#[cfg(test)]
mod tests;
