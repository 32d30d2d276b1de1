//! What agents must know of a job before they take part in it, and whether they can.

use std::time::Duration;

use procession::{PoolBuilder, StreamOptions};
use serde::{Deserialize, Serialize};

/// Whether a job goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobState {
    Open,
    /// Begin nothing new.
    Drains,
    /// Stop what runs.
    Stops,
    /// It is over.
    Ended,
}

/// A job, as its master describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) job: String,
    pub(crate) state: JobState,
    /// Which of the job's masters wrote this, from 1.
    pub(crate) session: u32,
    /// The full path of the task.
    pub(crate) task: String,
    /// Its registry, and what wrote it.
    pub(crate) program: Program,
    pub(crate) at_most_once: bool,
    pub(crate) lease: Duration,
    pub(crate) pool: PoolSettings,
}

/// What two programs must have in common to understand each other's arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) version: String,
    /// In hexadecimal digits: JSON has no numbers of 64 bits.
    pub(crate) tasks: String,
    pub(crate) wire: u8,
}

impl Program {
    pub(crate) fn this() -> Program {
        Program {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            tasks: format!("{:016x}", procession::fingerprint()),
            wire: crate::wire::VERSION,
        }
    }

    /// How this program differs from that of a master.
    pub(crate) fn difference(&self, master: &Program) -> Option<String> {
        if self.version != master.version || self.wire != master.wire {
            let (ours, theirs) = (&self.version, &master.version);
            return Some(format!(
                "it is version {ours} and the master {theirs}: install the same one on both"
            ));
        }
        (self.tasks != master.tasks).then(|| {
            format!(
                "its tasks are others than the master's ({} and {}): start the same program on both",
                self.tasks, master.tasks
            )
        })
    }
}

/// What a job says of the pools that run it. None is the library's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PoolSettings {
    /// See [`PoolBuilder::grace`].
    pub grace: Option<Duration>,
    /// See [`PoolBuilder::max_tasks_per_worker`].
    pub max_tasks_per_worker: Option<usize>,
    /// See [`PoolBuilder::max_rss`].
    pub max_rss: Option<u64>,
    /// See [`PoolBuilder::memory_limit`].
    pub memory_limit: Option<u64>,
    /// See [`PoolBuilder::restart_limit`].
    pub restart_limit: Option<(u32, Duration)>,
    /// See [`PoolBuilder::env`].
    pub env: Vec<(String, String)>,
    /// See [`PoolBuilder::nice`].
    pub nice: Option<i32>,
    /// See [`PoolBuilder::crash_reports`].
    pub crash_reports: Option<bool>,
    /// See [`PoolBuilder::recycle_after_panic`].
    pub recycle_after_panic: Option<bool>,
    /// See [`procession::Task::max_attempts`].
    pub max_attempts: Option<u32>,
}

impl PoolSettings {
    pub(crate) fn configure(&self, mut pool: PoolBuilder) -> PoolBuilder {
        macro_rules! set {
            ($($setting:ident)*) => {$(
                if let Some(value) = self.$setting {
                    pool = pool.$setting(value);
                }
            )*};
        }
        set!(grace max_tasks_per_worker max_rss memory_limit nice crash_reports recycle_after_panic);
        if let Some((restarts, within)) = self.restart_limit {
            pool = pool.restart_limit(restarts, within);
        }
        for (name, value) in &self.env {
            pool = pool.env(name, value);
        }
        pool
    }

    /// How a chunk runs, each item for so long at most.
    pub(crate) fn options(&self, timeout: Option<Duration>) -> StreamOptions {
        let mut options = StreamOptions::default();
        (options.ordered, options.figures) = (false, true);
        (options.timeout, options.max_attempts) = (timeout, self.max_attempts);
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_differ_are_told_how() {
        let this = Program::this();
        assert_eq!(this.difference(&this), None);
        let older = Program { version: "0.0.9".to_owned(), ..this.clone() };
        let said = older.difference(&this).expect("it is another version");
        assert!(said.starts_with("it is version 0.0.9 and the master "), "{said}");
        let other = Program { tasks: "00".to_owned(), ..this.clone() };
        assert!(other.difference(&this).expect("other tasks").starts_with("its tasks are others"));
    }
}
