//! **The same job over many nodes.** NATS JetStream carries chunks of items from a master to agents; on every node the local
//! pool runs them, so that a worker's death never leaves its node.
//!
//! ```no_run
//! use procession::task;
//! use procession_cluster::Cluster;
//!
//! #[task(idempotent)]
//! fn square(x: i64) -> i64 {
//!     x * x
//! }
//!
//! #[procession::main]
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let cluster = Cluster::connect("nats://localhost:4222")?;
//!     let squares = cluster.map(square, 0..20)?;
//!     assert_eq!(squares[7], 49);
//!     Ok(())
//! }
//! ```
//!
//! The same program must run as an [`Agent`] on each node; the command line does that with `procession agent`.
//!
//! # Credentials
//!
//! They come from the environment, never from the address: `PROCESSION_NATS_TOKEN`, `PROCESSION_NATS_TOKEN_FILE`,
//! `PROCESSION_NATS_NKEY_FILE` (a seed), `PROCESSION_NATS_CREDENTIALS_FILE` (as `nsc` writes them), and
//! `PROCESSION_NATS_CA_FILE` for the certificates of authorities, where an address begins with `tls://`.
//!
//! # What is guaranteed
//!
//! What the pool guarantees: every item has exactly one outcome. The first answer of a chunk wins at the broker, whoever
//! else may send another. Items of tasks that are not `idempotent` are begun by one agent, which claims them at the broker
//! first; if it is lost, so are they, and that is reported. What an agent was lost with is told from what it merely had in
//! hand: only what ran alone is charged.

#![forbid(unsafe_code)]

mod agent;
mod call;
mod chunk;
mod cluster;
mod credentials;
mod error;
mod leases;
mod manifest;
mod master;
#[cfg(any(test, feature = "model"))]
#[doc(hidden)]
pub mod model;
mod names;
mod nats;
mod reserve;
mod runner;
mod turns;
mod wire;

use tokio::runtime::{Builder, Runtime};

pub use agent::{Agent, News, Request};
pub use call::ClusterStream;
pub use cluster::{Cluster, JobOptions};
pub use error::{Error, ErrorKind};
pub use manifest::PoolSettings;
pub use master::{AgentStatus, Notice, Seats};
pub use nats::jobs::JobSummary;

/// What talks to the broker. It has one thread, whatever waits for it.
fn runtime() -> Result<Runtime, Error> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).thread_name("broker").enable_all();
    builder.build().map_err(|error| Error::no_runtime(&error))
}

/// What this process is called among others: its machine, its number, and a few digits.
fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().split('.').next().filter(|host| !host.is_empty()).unwrap_or("node");
    format!("{host}-{}-{:04x}", std::process::id(), fastrand::u16(..))
}
