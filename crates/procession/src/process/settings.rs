//! What a pool asks of its worker processes. Plain data: nothing here starts anything.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::slab::Arena;

/// How worker processes are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// The pool starts one helper process by executing the program anew, and the workers are forked from it. A worker
    /// starts in about 0.1 ms, however large the program has grown, and workers share what `preload` loaded.
    #[default]
    ForkServer,
    /// Each worker executes the program anew.
    Spawn,
    /// The program itself is forked, once, and the workers from that copy. Refused unless the program has exactly
    /// one thread when the pool is built. The copy keeps every open descriptor of the program.
    Fork,
}

/// What becomes of what workers write to standard output and standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Output {
    /// Standard output is the program's own. Standard error passes through the pool, which keeps its tail for reports.
    #[default]
    Inherit,
    /// Both are discarded.
    Null,
    /// Both go to the pool, which keeps the tail and prints nothing.
    Capture,
}

/// A task by its index in the registry, and its encoded arguments.
pub(crate) type EncodedCall = (u32, Vec<u8>);

/// Everything that decides how a pool's processes are started.
#[derive(Clone, Debug, Default)]
pub(crate) struct LaunchSettings {
    pub(crate) method: StartMethod,
    /// Executed instead of the running program.
    pub(crate) program: Option<PathBuf>,
    /// Added to the environment of every worker.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Added to the niceness of every worker.
    pub(crate) nice: Option<i32>,
    /// Cores for slot `i` are `cpu_affinity[i % len]`; empty: not restricted.
    pub(crate) cpu_affinity: Vec<Vec<usize>>,
    /// Most bytes of private memory a worker may map (`RLIMIT_DATA`), and most of any memory that it and all it starts may have
    /// together, where it gets a control group of its own.
    pub(crate) memory_limit: Option<u64>,
    /// Run once before workers are forked; with `spawn`, in each worker before its initializer.
    pub(crate) preload: Option<EncodedCall>,
    /// How long the preload may take where it runs once.
    pub(crate) preload_limit: Duration,
    /// Run in each worker before it takes work.
    pub(crate) initializer: Option<EncodedCall>,
    pub(crate) output: Output,
    /// Whether workers that die of a fault say where.
    pub(crate) crash_reports: bool,
    /// Where large arguments lie. `None`: whoever starts the workers sends none.
    pub(crate) arena: Option<Arc<Arena>>,
}

/// The part of the settings that the worker applies to itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SeatSettings {
    pub(super) nice: Option<i32>,
    pub(super) cpu_affinity: Vec<Vec<usize>>,
    pub(super) memory_limit: Option<u64>,
    pub(super) preload: Option<EncodedCall>,
    pub(super) initializer: Option<EncodedCall>,
    pub(super) output: Output,
    pub(super) crash_reports: bool,
}

impl From<&LaunchSettings> for SeatSettings {
    fn from(settings: &LaunchSettings) -> SeatSettings {
        SeatSettings {
            nice: settings.nice,
            cpu_affinity: settings.cpu_affinity.clone(),
            memory_limit: settings.memory_limit,
            preload: settings.preload.clone(),
            initializer: settings.initializer.clone(),
            output: settings.output,
            crash_reports: settings.crash_reports,
        }
    }
}
