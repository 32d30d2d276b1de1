//! What can be typed to ask a run directory.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::value;
use crate::output::Format;

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
    pub(crate) item: u64,
}

/// How what a run directory has is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExportFormat {
    Values(Format),
    /// What commands printed, byte by byte.
    Raw,
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
    /// Write values to a file instead of stdout: .jsonl, .csv, .json, .parquet or .arrow
    #[arg(long, short = 'o', value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// How values are written: jsonl, csv, json, parquet or arrow; of commands also raw, which is what they printed to stdout
    #[arg(long, value_name = "FORMAT", value_parser = value::export_format)]
    pub(crate) format: Option<ExportFormat>,
    /// Write {"index": i, "value": v} instead of v
    #[arg(long)]
    pub(crate) indexed: bool,
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
