//! `scale`, the command that measures a job.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::value;
use crate::job::Call;

#[derive(Debug, Args)]
#[command(after_help = "\
Times are those of the call alone, medians of all rounds. Speed-up is against the same call with the fewest workers. \
Every run must come to the same result.

Examples:
  procession scale examples/pi.toml --workers 1,2,4 --plot scaling.svg
  procession scale examples/pi.toml --workers 1,2 --calls starmap,apply_async --repeat 5 --plot a.svg --plot a.png")]
pub(crate) struct Scale {
    /// The job spec
    #[arg(value_name = "JOB.toml", value_hint = ValueHint::FilePath)]
    pub(crate) spec: PathBuf,
    /// Change a key of the spec, such as input.range.stop=1000 (may be given more than once)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Numbers of worker processes [default: 1, 2, 4, … up to the usable cores]
    #[arg(long, short = 'j', value_name = "N,N,…", value_delimiter = ',', value_parser = value::workers)]
    pub(crate) workers: Vec<usize>,
    /// Calls to compare: map, starmap, apply_async, imap, imap_unordered [default: the job's]
    #[arg(long, value_name = "CALL,…", value_delimiter = ',', value_parser = value::call)]
    pub(crate) calls: Vec<Call>,
    /// How often each is measured
    #[arg(long, value_name = "N", default_value = "3", value_parser = value::at_least_one)]
    pub(crate) repeat: usize,
    /// Draw the speed-up to a file: .svg or .png (may be given more than once)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = crate::scale::plot_path)]
    pub(crate) plot: Vec<PathBuf>,
    /// No progress: only the table, and what is wrong
    #[arg(long, short)]
    pub(crate) quiet: bool,
}
