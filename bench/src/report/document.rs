//! The result as tables in a document, between two marks; what stands around them stays.

use std::fmt::Write;

use super::Report;
use super::table::{HEADINGS, cells};

/// The document with the tables of this run.
pub(super) fn fill_in(document: &str, report: &Report) -> Result<String, String> {
    between_marks(document, "run", &tables(report))
}

/// The document with `text` between the two lines that are marked with `name`.
pub(crate) fn between_marks(document: &str, name: &str, text: &str) -> Result<String, String> {
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let marks = || format!("it has no line `{begin}` before a line `{end}`");
    let (before, rest) = document.split_once(&format!("{begin}\n")).ok_or_else(marks)?;
    let (_, after) = rest.split_once(&end).ok_or_else(marks)?;
    Ok(format!("{before}{begin}\n{text}{end}{after}"))
}

fn tables(report: &Report) -> String {
    let mut out = String::new();
    let facts: Vec<String> = report.facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let how = if report.quick { "quick passes" } else { "passes" };
    let _ = writeln!(out, "\n{} {how}, medians. {}.\n", report.passes, facts.join(" · "));
    let _ = writeln!(out, "| {} |\n|{}", HEADINGS.join(" | "), "---|".repeat(HEADINGS.len()));
    for (row, entry) in report.lines() {
        let _ = writeln!(out, "| {} |", cells(row, entry).join(" | "));
    }
    let _ = writeln!(out, "\nEvery peer and every limit:\n\n| case | figures |\n|---|---|");
    for (row, entry) in report.lines() {
        let mut figures: Vec<String> = Vec::new();
        for series in &entry.series {
            let name = match &series.by {
                crate::results::By::Ours => "**ours**",
                crate::results::By::Limit(name) | crate::results::By::Peer(name) => name,
            };
            figures.push(format!("{name} {}", row.unit.show(series.spread().median)));
        }
        let variant = if entry.variant.is_empty() { String::new() } else { format!(": {}", entry.variant) };
        let _ = writeln!(out, "| {} {}{variant} | {} |", row.case(), row.title, figures.join(" · "));
    }
    for need in &report.needs {
        let _ = writeln!(out, "\nNot measured: {need}");
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Measurement, Results};

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let mut results = Results::default();
        results.record(0, Measurement::ours("B4", 5.0));
        let report = Report { results, passes: 1, ..Report::default() };
        let document = "# Figures\n\n<!-- run: begin -->\nold\n<!-- run: end -->\n\nThe rest.\n";
        let filled = fill_in(document, &report).expect("it has both marks");
        assert!(filled.starts_with("# Figures\n\n<!-- run: begin -->\n\n1 passes"), "{filled}");
        assert!(filled.ends_with("\n<!-- run: end -->\n\nThe rest.\n"), "{filled}");
        assert!(filled.contains("| B4 map, 10 M i64 |") && !filled.contains("old"), "{filled}");
        assert_eq!(fill_in(&filled, &report).as_ref(), Ok(&filled), "twice is once");
        let error = fill_in("# Figures\n", &report).expect_err("it has no marks");
        assert_eq!(error, "it has no line `<!-- run: begin -->` before a line `<!-- run: end -->`");
    }
}
