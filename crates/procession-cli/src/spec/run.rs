//! `[run]`: where every outcome is kept.

use std::path::PathBuf;

use super::document::Table;
use super::key::{Key, Wants, key};
use crate::diagnostic::Diagnostic;
use crate::job::{RunDirSettings, Typed};

pub(super) const KEYS: [Key; 1] = [key(
    "dir",
    Wants::Text,
    "The run directory: every outcome is kept there, and `--resume` goes on with it.",
)];

/// The run directory, as if it had been named on the command line: that is what the run goes on by.
pub(super) fn read(table: &Table) -> Result<Option<RunDirSettings>, Diagnostic> {
    table.only("[run]", &KEYS)?;
    let Some(entry) = table.get("dir") else { return Ok(None) };
    let dir = entry.string()?;
    let mut typed = Typed::here()?;
    let at = typed.argv.iter().position(|word| word == "--").unwrap_or(typed.argv.len());
    typed.argv.splice(at..at, ["--run-dir".to_owned(), dir.to_owned()]);
    Ok(Some(RunDirSettings { path: PathBuf::from(dir), typed, ..RunDirSettings::default() }))
}
