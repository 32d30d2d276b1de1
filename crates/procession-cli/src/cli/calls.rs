//! The commands that call tasks.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueHint};

use super::flags::{ConductFlags, ItemFlags, PartFlags, PoolFlags, ResultFlags, RunDirFlags};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  procession run examples/pi.toml
  procession run examples/squares.toml --set pool.workers=8 --set input.range.stop=1000
  procession run examples/faults.toml --dry-run
  procession run examples/faults.toml --select 19-21")]
pub(crate) struct Run {
    /// The job spec
    #[arg(value_name = "JOB.toml", value_hint = ValueHint::FilePath)]
    pub(crate) spec: PathBuf,
    /// Change a key of the spec, such as pool.workers=4 (may be given more than once)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Let agents run the items, wherever they are, through the broker at this address: nats://HOST:PORT (needs the feature `cluster`)
    #[arg(long, value_name = "URL")]
    pub(crate) engine: Option<String>,
    #[command(flatten)]
    pub(crate) part: PartFlags,
    #[command(flatten)]
    pub(crate) pool: PoolFlags,
    #[command(flatten)]
    pub(crate) results: ResultFlags,
    #[command(flatten)]
    pub(crate) store: RunDirFlags,
    #[command(flatten)]
    pub(crate) conduct: ConductFlags,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("items").multiple(false).args(["values", "range", "jsonl", "each_line"]))]
#[command(after_help = "\
Examples:
  procession map square 1 2 3
  procession map square --range 0..20
  procession map square --range=-5..5:2 --indexed
  seq 10 | procession map square --each-line -")]
pub(crate) struct Map {
    /// The task: its full path, or its last part where that is unambiguous
    pub(crate) task: String,
    /// Values, one item each: JSON, or plain words where the task wants strings
    #[arg(allow_negative_numbers = true)]
    pub(crate) values: Vec<String>,
    /// Integers from START up to, not including, STOP
    #[arg(long, value_name = "START..STOP[:STEP]", allow_hyphen_values = true)]
    pub(crate) range: Option<String>,
    /// A JSON value a line; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) jsonl: Option<String>,
    /// A word a line; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) each_line: Option<String>,
    #[command(flatten)]
    pub(crate) part: PartFlags,
    #[command(flatten)]
    pub(crate) pool: PoolFlags,
    #[command(flatten)]
    pub(crate) results: ResultFlags,
    #[command(flatten)]
    pub(crate) store: RunDirFlags,
    #[command(flatten)]
    pub(crate) conduct: ConductFlags,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("items").multiple(false).args(["jsonl", "csv", "product"]))]
#[command(after_help = "\
Examples:
  procession starmap power_n --product '[[1,2,3],[2]]'
  echo '[7, 2]' | procession starmap power_n --jsonl -
  procession starmap power_n --csv powers.csv --format csv")]
pub(crate) struct Starmap {
    /// The task: its full path, or its last part where that is unambiguous
    pub(crate) task: String,
    /// Only taken to say where rows come from
    #[arg(hide = true, allow_negative_numbers = true)]
    pub(crate) values: Vec<String>,
    /// A row a line: a JSON array of arguments, or an object of them by name; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) jsonl: Option<String>,
    /// A CSV file whose header names the arguments; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) csv: Option<String>,
    /// All combinations of a JSON array of values for each argument
    #[arg(long, value_name = "JSON")]
    pub(crate) product: Option<String>,
    #[command(flatten)]
    pub(crate) part: PartFlags,
    #[command(flatten)]
    pub(crate) pool: PoolFlags,
    #[command(flatten)]
    pub(crate) results: ResultFlags,
    #[command(flatten)]
    pub(crate) store: RunDirFlags,
    #[command(flatten)]
    pub(crate) conduct: ConductFlags,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  procession apply power_n 7 2
  procession apply power_n_list '[1, 2, 3]' 2")]
pub(crate) struct Apply {
    /// The task: its full path, or its last part where that is unambiguous
    pub(crate) task: String,
    /// Its arguments: JSON, or plain words where the task wants strings
    #[arg(allow_negative_numbers = true)]
    pub(crate) args: Vec<String>,
    #[command(flatten)]
    pub(crate) item: ItemFlags,
}
