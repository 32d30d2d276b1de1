//! Flags of what a run does by itself when things go wrong or the machine is busy.

use std::time::Duration;

use clap::Args;

use super::value;
use crate::policy::{Halt, Mark};

/// How long an item may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeLimit {
    Fixed(Duration),
    /// Of the median run time of the items that have a value, in per cent.
    Percent(u32),
}

/// What a run does by itself.
#[derive(Debug, Args)]
pub(crate) struct PolicyFlags {
    /// Run an item again up to N times if it fails by itself: a panic, a returned error, a time limit, an exit status
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u32>,
    /// Pause before an item's first retry; every further pause is twice as long, up to 1 min [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub(crate) retry_delay: Option<Duration>,
    /// End the run before its items do: now,fail=1 or soon,lost=3 or soon,done=50%
    #[arg(long, value_name = "WHEN,WHAT=N", value_parser = Halt::parse)]
    pub(crate) halt: Option<Halt>,
    /// Begin nothing new while the load average is higher: 4, or 80% of the cores
    #[arg(long, value_name = "N", value_parser = crate::policy::load)]
    pub(crate) max_load: Option<Mark>,
    /// Begin nothing new while less memory is free: 2GiB, or 20% of all
    #[arg(long, value_name = "SIZE", value_parser = crate::policy::memory)]
    pub(crate) min_free_memory: Option<Mark>,
}
