//! The result as a table in plain text, and the cells that other tables share.

use std::fmt::Write;

use super::Report;
use crate::plan::Row;
use crate::results::Entry;
use crate::unit::digits;
use crate::verdict::{Verdict, advantage, best_peer, judge, overall};

pub(crate) const HEADINGS: [&str; 8] =
    ["case", "limit", "ours (least–most)", "best peer", "× limit", "× peer", "target", ""];

/// The cells of one line.
pub(crate) fn cells(row: &Row, entry: &Entry) -> [String; 8] {
    let limit = row.limit.and_then(|name| Some((name, entry.limit(name)?)));
    let ours = entry.ours();
    let peer = best_peer(row, entry);
    let judgements = judge(row, entry);
    let title = match entry.variant.as_str() {
        "" => row.title.to_owned(),
        variant => format!("{}: {variant}", row.title),
    };
    let named = |(name, series): (&str, &crate::results::Series)| {
        format!("{name} {}", row.unit.show(series.spread().median))
    };
    let show_ours = |ours: &crate::results::Series| {
        let spread = ours.spread();
        format!("{} ({})", row.unit.show(spread.median), row.unit.show_range(spread.least, spread.most))
    };
    let targets: Vec<String> = judgements
        .iter()
        .map(|judgement| match judgement.verdict() {
            Verdict::Met | Verdict::NotJudged => judgement.describe(row),
            Verdict::Missed => format!("{} missed", judgement.describe(row)),
        })
        .collect();
    [
        format!("{} {title}", row.case()),
        limit.map(named).unwrap_or_default(),
        ours.map_or("failed".to_owned(), show_ours),
        peer.map(named).unwrap_or_default(),
        limit.and_then(|(_, limit)| ours?.ratio_to(limit)).map(digits).unwrap_or_default(),
        peer.and_then(|(_, peer)| advantage(row, ours?, peer)).map(digits).unwrap_or_default(),
        targets.join("; "),
        overall(&judgements).map(|verdict| verdict.to_string()).unwrap_or_default(),
    ]
}

/// The whole result, columns aligned.
pub(crate) fn table(report: &Report) -> String {
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    lines.extend(report.lines().map(|(row, entry)| cells(row, entry)));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut out = String::new();
    for line in &lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(widths) {
            let _ = write!(text, "{cell:<width$}  ");
        }
        let _ = writeln!(out, "{}", text.trim_end());
    }
    let passes = report.passes;
    let _ = writeln!(
        out,
        "\nmedians of {passes} passes; × limit: ours over the limit; × peer: how many times better than it"
    );
    for (what, notes) in [("not measured", &report.needs), ("failed", &report.failures)] {
        for note in notes {
            let _ = writeln!(out, "{what}: {note}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{MP_POOL, PING_PONG};
    use crate::results::{By, Measurement, Results};

    #[test]
    fn a_line_says_all_of_it() {
        let mut results = Results::default();
        for (pass, ours) in [9_000.0, 6_000.0, 6_300.0].into_iter().enumerate() {
            results.record(pass, Measurement::limit("B1", PING_PONG, 3_000.0));
            results.record(pass, Measurement::ours("B1", ours));
            let by = By::Peer(MP_POOL.to_owned());
            results.record(pass, Measurement { by, ..Measurement::ours("B1", 252_000.0) });
        }
        let report =
            Report { results, passes: 3, needs: vec!["procspawn: needs x".to_owned()], ..Report::default() };
        let table = table(&report);
        let line = table.lines().nth(1).expect("the line below the headings");
        let words: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(
            words,
            [
                "B1 apply, round trip",
                "ipc-channel ping-pong 3.00 µs",
                "6.30 µs (6.00–9.00)",
                "mp.Pool 252 µs",
                "2.10",
                "40.0",
                "≤ 2 × limit (2.10) missed; ≥ 3 × procspawn (not measured); ≥ 40 × mp.Pool (40.0)",
                "MISSED",
            ]
        );
        assert!(table.ends_with("not measured: procspawn: needs x\n"), "{table}");
    }
}
