//! What a run found, and the ways to show it.

mod charts;
mod document;
mod json;
pub(crate) mod table;

pub(crate) use document::between_marks;

use std::error::Error;
use std::fs;
use std::path::Path;

use crate::arguments::Arguments;
use crate::plan::{ROWS, Row};
use crate::results::{Entry, Results};
use crate::run;

/// What a run found.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) results: Results,
    /// The machine and the versions, each with its name.
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) passes: usize,
    pub(crate) quick: bool,
    pub(crate) seconds: u64,
    /// Cases of ours that did not come to their end.
    pub(crate) failures: Vec<String>,
    /// What would have to be installed for the peers that are missing.
    pub(crate) needs: Vec<String>,
}

impl Report {
    /// What was measured, in the order of the plan.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&'static Row, &Entry)> {
        ROWS.iter().flat_map(|row| self.results.of_row(row.key).map(move |entry| (row, entry)))
    }
}

/// Writes every file that was asked for.
pub(crate) fn write(report: &Report, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let json = match &arguments.json {
        Some(path) => path.clone(),
        None => run::directory()?.join("results.json"),
    };
    write_file(&json, &json::json(report)?)?;
    if let Some(directory) = &arguments.charts {
        for (name, chart) in charts::charts(report)? {
            write_file(&directory.join(name), &chart)?;
        }
    }
    if let Some(path) = &arguments.document {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        write_file(
            path,
            &document::fill_in(&text, report).map_err(|error| format!("{}: {error}", path.display()))?,
        )?;
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> Result<(), String> {
    let describe = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(describe)?;
    }
    fs::write(path, text).map_err(describe)?;
    eprintln!("wrote {}", path.display());
    Ok(())
}
