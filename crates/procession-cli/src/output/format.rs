//! How values are written: by name, or by the end of a file's name.

use std::path::Path;

use crate::diagnostic::Diagnostic;

/// How values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// A JSON value a line.
    #[default]
    Jsonl,
    /// A record a value, with a header. The fields of a struct or map are columns; anything else is in `value`.
    Csv,
    /// One JSON array.
    Json,
    /// A Parquet file, with columns as a CSV has them, but of their own types.
    Parquet,
    /// The same as an Arrow file, the format that is also called Feather.
    Arrow,
}

impl Format {
    pub(crate) const NAMES: [(&'static str, Format); 5] = [
        ("jsonl", Format::Jsonl),
        ("csv", Format::Csv),
        ("json", Format::Json),
        ("parquet", Format::Parquet),
        ("arrow", Format::Arrow),
    ];

    pub(crate) fn name(self) -> &'static str {
        let named = Format::NAMES.iter().find(|(_, format)| *format == self);
        named.map_or("jsonl", |(name, _)| name)
    }

    /// What names of files end in, for who has named one that says nothing.
    pub(crate) const ENDINGS: &str = ".jsonl, .csv, .json, .parquet or .arrow";

    /// The format a file name speaks of.
    pub(crate) fn of(path: &str) -> Option<Format> {
        match Path::new(path).extension()?.to_str()? {
            "jsonl" | "ndjson" => Some(Format::Jsonl),
            "csv" => Some(Format::Csv),
            "json" => Some(Format::Json),
            "parquet" => Some(Format::Parquet),
            "arrow" | "feather" => Some(Format::Arrow),
            _ => None,
        }
    }

    /// Refuses a format that needs a file, or a part of the program that is not there.
    pub(crate) fn refuse(self, file: Option<&Path>) -> Result<(), Diagnostic> {
        let name = match self {
            Format::Jsonl | Format::Csv | Format::Json => return Ok(()),
            Format::Parquet => "Parquet",
            Format::Arrow => "Arrow",
        };
        if !cfg!(feature = "arrow") {
            let refusal = Diagnostic::new(format!("this program was built without {name}"));
            return Err(refusal.help(
                "build it with the feature `arrow` of procession-cli, or write values as jsonl, csv or json",
            ));
        }
        if file.is_none() {
            let refusal =
                Diagnostic::new(format!("values as {name} need a file: they are no text for stdout"));
            return Err(refusal.help("name one with --output, or write jsonl, csv or json"));
        }
        Ok(())
    }
}
