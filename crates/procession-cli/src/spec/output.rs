//! `[output]`: where values go, in which order, and what is kept of the items without one.

use std::path::PathBuf;

use super::document::Table;
use crate::diagnostic::Diagnostic;
use crate::job::ResultSettings;
use crate::output::Format;

const KEYS: [&str; 5] = ["file", "format", "order", "indexed", "failures"];

pub(super) fn read(table: &Table) -> Result<(ResultSettings, Option<bool>), Diagnostic> {
    table.only("[output]", &KEYS)?;
    let mut results = ResultSettings::default();
    let mut unordered = None;
    if let Some(entry) = table.get("file") {
        let path = entry.string()?;
        results.file = (path != "-").then(|| PathBuf::from(path));
        results.format = match (Format::of(path), table.get("format")) {
            (Some(format), _) => format,
            (None, Some(_)) => Format::default(),
            (None, None) if path == "-" => Format::default(),
            (None, None) => {
                let refusal = entry.error(format!("cannot tell the format of `{path}`"));
                return Err(refusal.help(
                    "end the name in .jsonl, .csv or .json, or add `format = \"jsonl\"`, \"csv\" or \"json\"",
                ));
            }
        };
    }
    if let Some(entry) = table.get("format") {
        results.format = entry.choice(&Format::NAMES)?;
    }
    if let Some(entry) = table.get("order") {
        unordered = Some(entry.choice(&[("input", false), ("completion", true)])?);
    }
    if let Some(entry) = table.get("indexed") {
        results.indexed = entry.boolean()?;
    }
    if let Some(entry) = table.get("failures") {
        results.failures = Some(PathBuf::from(entry.string()?));
    }
    Ok((results, unordered))
}
