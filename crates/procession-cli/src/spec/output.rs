//! `[output]`: where values go, in which order, and what is kept of the items without one.

use std::path::PathBuf;

use super::document::Table;
use super::key::{Key, Wants, key, names};
use crate::diagnostic::Diagnostic;
use crate::job::ResultSettings;
use crate::output::Format;

const ORDERS: [(&str, bool); 2] = [("input", false), ("completion", true)];

pub(super) const KEYS: [Key; 5] = [
    key(
        "file",
        Wants::Text,
        "Where values go: `.jsonl`, `.csv`, `.json`, `.parquet` or `.arrow`; `-` is stdout, and the default.",
    ),
    key(
        "format",
        Wants::Choice(|| names(&Format::NAMES)),
        "How they are written, where the name of the file does not say it.",
    ),
    key(
        "order",
        Wants::Choice(|| names(&ORDERS)),
        "`completion`: as they come. Default: `input`, but for `imap_unordered`.",
    ),
    key("indexed", Wants::Flag, "Write `{\"index\": i, \"value\": v}` instead of `v`."),
    key("failures", Wants::Text, "A file for every item without a value, as JSON Lines."),
];

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
                return Err(refusal.help(format!(
                    "end the name in {}, or add `format`, such as `format = \"jsonl\"`",
                    Format::ENDINGS
                )));
            }
        };
    }
    if let Some(entry) = table.get("format") {
        results.format = entry.choice(&Format::NAMES)?;
    }
    if let Some(entry) = table.get("order") {
        unordered = Some(entry.choice(&ORDERS)?);
    }
    if let Some(entry) = table.get("indexed") {
        results.indexed = entry.boolean()?;
    }
    if let Some(entry) = table.get("failures") {
        results.failures = Some(PathBuf::from(entry.string()?));
    }
    Ok((results, unordered))
}
