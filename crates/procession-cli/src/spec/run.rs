//! `[run]`: where every outcome is kept, and the page about it.

use std::path::PathBuf;

use super::document::Table;
use super::key::{Key, Wants, key};
use crate::diagnostic::Diagnostic;
use crate::job::{ReportSettings, RunDirSettings, Typed};

pub(super) const KEYS: [Key; 2] = [
    key(
        "dir",
        Wants::Text,
        "The run directory: every outcome is kept there, and `--resume` goes on with it.",
    ),
    key(
        "report",
        Wants::Text,
        "The page of `procession report` is drawn there once the run is over, however it ended. Needs a run directory.",
    ),
];

/// What is kept of the run.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) run_dir: Option<RunDirSettings>,
    pub(super) report: Option<ReportSettings>,
}

pub(super) fn read(table: &Table) -> Result<Kept, Diagnostic> {
    table.only("[run]", &KEYS)?;
    let report = table.get("report").map(|entry| {
        let path = PathBuf::from(entry.string()?);
        Ok(ReportSettings { path, at: entry.node.at.clone() })
    });
    Ok(Kept { run_dir: run_dir(table)?, report: report.transpose()? })
}

/// The run directory, as if it had been named on the command line: that is what the run goes on by.
fn run_dir(table: &Table) -> Result<Option<RunDirSettings>, Diagnostic> {
    let Some(entry) = table.get("dir") else { return Ok(None) };
    let dir = entry.string()?;
    let mut typed = Typed::here()?;
    let at = typed.argv.iter().position(|word| word == "--").unwrap_or(typed.argv.len());
    typed.argv.splice(at..at, ["--run-dir".to_owned(), dir.to_owned()]);
    Ok(Some(RunDirSettings { path: PathBuf::from(dir), typed, ..RunDirSettings::default() }))
}
