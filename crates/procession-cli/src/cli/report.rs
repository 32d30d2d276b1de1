//! What can be typed to look back at a run.

use std::path::PathBuf;

use clap::{Args, ValueHint};

#[derive(Debug, Args)]
#[command(after_help = "\
The page needs no network: it can be mailed, archived, opened from a disk. The trace is for https://ui.perfetto.dev, which \
reads it in the browser and sends it nowhere. A run that goes on is shown as it is at that moment.

Examples:
  procession report runs/monday
  procession report runs/monday -o monday.html
  procession report runs/monday --trace monday.json")]
pub(crate) struct Report {
    /// The run directory
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Where to write the page [default: report.html in the run directory, or none with --trace]
    #[arg(long, short = 'o', value_name = "FILE.html", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Write a trace: a lane for every worker, to zoom into
    #[arg(long, value_name = "FILE.json", value_hint = ValueHint::FilePath)]
    pub(crate) trace: Option<PathBuf>,
}
