//! What can be typed to ask a run directory.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::flags::ValueFlags;
use super::value;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  procession status runs/monday
  procession status runs/monday --json")]
pub(crate) struct Status {
    /// The run directory
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  procession failed runs/monday
  procession failed runs/monday --json | jq -r .reproduce")]
pub(crate) struct Failed {
    /// The run directory
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Everything that is known of them, as JSON Lines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  procession show runs/monday 417")]
pub(crate) struct Show {
    /// The run directory
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// The item's place in the input, from 0
    #[arg(value_parser = value::item)]
    pub(crate) item: u64,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  procession export runs/monday
  procession export runs/monday --output values.csv --indexed")]
pub(crate) struct Export {
    /// The run directory
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) values: ValueFlags,
    /// Write what commands printed to stdout, byte by byte, instead of a record of each
    #[arg(long, conflicts_with_all = ["format", "indexed"])]
    pub(crate) raw: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The parts are runs of one job with --shard or --select, each with a run directory of its own. They may overlap where they agree. \
Nothing is written unless they are the whole job, or all of what each of them has in --select.

Examples:
  procession merge runs/1 runs/2 runs/3 --output values.jsonl --failures failed.jsonl
  procession merge runs/1 runs/3 --partial --indexed")]
pub(crate) struct Merge {
    /// The run directories of the parts, in any order
    #[arg(required = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dirs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) values: ValueFlags,
    /// Write every item without a value to a file, as JSON Lines
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) failures: Option<PathBuf>,
    /// Write what there is although parts are missing, unfinished or still running
    #[arg(long)]
    pub(crate) partial: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Without one of the flags everything is run again that has no value, but for what may have run when the master was killed. \
Flags behind -- are added to those the run was begun with.

Examples:
  procession retry runs/monday
  procession retry runs/monday --unknown
  procession retry runs/monday --failed -- --timeout 5m --workers 2")]
pub(crate) struct Retry {
    /// The run directory
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// What failed in whatever way
    #[arg(long)]
    pub(crate) failed: bool,
    /// What killed every worker it met
    #[arg(long)]
    pub(crate) quarantined: bool,
    /// What may have been running when the master was killed: it may run twice
    #[arg(long)]
    pub(crate) unknown: bool,
    /// Flags for the command that began the run
    #[arg(last = true, allow_hyphen_values = true)]
    pub(crate) flags: Vec<String>,
}
