//! Flags that several commands have.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use procession::StartMethod;
use procession_store::Shard;

use super::policy::{PolicyFlags, TimeLimit};
use super::value;
use crate::output::Format;

/// What concerns a single item.
#[derive(Debug, Args)]
pub(crate) struct ItemFlags {
    /// Stop an item that runs longer: 500ms, 30s, 1m30s; 300% is three times the median of those with a value
    #[arg(long, value_name = "DURATION", value_parser = value::time_limit)]
    pub(crate) timeout: Option<TimeLimit>,
    /// Refuse a worker more memory than this: 500MB, 2GiB
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub(crate) memory_limit: Option<u64>,
    /// Start an idempotent item up to N times if its worker is lost
    #[arg(long, value_name = "N", value_parser = value::attempts)]
    pub(crate) max_attempts: Option<u32>,
    /// How workers are started: forkserver, spawn or fork
    #[arg(long, value_name = "METHOD", value_parser = value::start_method)]
    pub(crate) start_method: Option<StartMethod>,
}

/// What concerns the workers.
#[derive(Debug, Args)]
pub(crate) struct PoolFlags {
    /// Worker processes [default: the usable cores]
    #[arg(long, short = 'j', value_name = "N", value_parser = value::workers)]
    pub(crate) workers: Option<usize>,
    /// Items handed to a worker together [default: adapts to how long they take]
    #[arg(long, value_name = "N", value_parser = value::at_least_one)]
    pub(crate) chunk_size: Option<usize>,
    #[command(flatten)]
    pub(crate) item: ItemFlags,
    #[command(flatten)]
    pub(crate) policy: PolicyFlags,
}

/// What concerns values.
#[derive(Debug, Args)]
pub(crate) struct ValueFlags {
    /// Write values to a file instead of stdout: .jsonl, .csv, .json, .parquet or .arrow
    #[arg(long, short = 'o', value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// How values are written: jsonl, csv, json, parquet or arrow
    #[arg(long, value_name = "FORMAT", value_parser = value::format)]
    pub(crate) format: Option<Format>,
    /// Write {"index": i, "value": v} instead of v
    #[arg(long)]
    pub(crate) indexed: bool,
}

/// What concerns values and failures.
#[derive(Debug, Args)]
pub(crate) struct ResultFlags {
    #[command(flatten)]
    pub(crate) values: ValueFlags,
    /// Write every item without a value to a file, as JSON Lines
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) failures: Option<PathBuf>,
    /// Tell everything that happens as it happens, as JSON Lines; - is stdout, where values go to a file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) events: Option<PathBuf>,
}

/// Which items of a job run.
#[derive(Debug, Args)]
pub(crate) struct PartFlags {
    /// Run only items with these indices, counted from 0: 3,7,10-20,100-
    #[arg(long, value_name = "INDICES", allow_hyphen_values = true)]
    pub(crate) select: Option<String>,
    /// Run only the I-th of N shards, items I-1, I-1+N, I-1+2N and so on: of these what --select leaves
    #[arg(long, value_name = "I/N", allow_hyphen_values = true)]
    pub(crate) shard: Option<Shard>,
    /// Run only the first N items, of what --select and --shard leave
    #[arg(long, value_name = "N", value_parser = value::items)]
    pub(crate) limit: Option<u64>,
}

/// What concerns the run directory.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunDirFlags {
    /// Keep every outcome in this directory, so that the run can be resumed and asked about
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) run_dir: Option<PathBuf>,
    /// Go on with the run in the run directory: only items without a final outcome run
    #[arg(long, group = "resuming")]
    pub(crate) resume: bool,
    /// Go on with the run in the run directory, or begin one if there is none: the same line each time, for services and batch jobs
    #[arg(long, group = "resuming")]
    pub(crate) resume_or_start: bool,
    /// Go on although the input or the task has changed, or the part has grown: what is new runs, what is gone is forgotten
    #[arg(long, requires = "resuming")]
    pub(crate) accept_changes: bool,
    /// Run again what may have been running when the master was killed
    #[arg(long, requires = "resuming")]
    pub(crate) rerun_unknown: bool,
    /// Draw the page of `procession report` once the run is over, however it ended
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,
}

/// How the program behaves around the run.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ConductFlags {
    /// A malformed row is that item's failure, not a refusal of the whole run
    #[arg(long)]
    pub(crate) skip_invalid: bool,
    /// Check everything and show the plan; run nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// No progress, no summary: only results, and items without one
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// No progress
    #[arg(long, env = "PROCESSION_NO_PROGRESS")]
    pub(crate) no_progress: bool,
}
