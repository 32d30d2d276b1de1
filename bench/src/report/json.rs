//! Every figure of every pass, for programs.

use serde_json::{Value, json};

use super::Report;
use crate::verdict::{judge, overall};

pub(super) fn json(report: &Report) -> Result<String, serde_json::Error> {
    let judged = |(row, entry): (&crate::plan::Row, _)| {
        let judgements = judge(row, entry);
        let targets: Vec<Value> = judgements
            .iter()
            .map(|judgement| {
                json!({
                    "target": judgement.describe(row),
                    "measured": judgement.measured,
                    "verdict": judgement.verdict().to_string(),
                })
            })
            .collect();
        json!({
            "row": row.key,
            "variant": entry.variant,
            "title": row.title,
            "unit": format!("{:?}", row.unit),
            "series": entry.series,
            "targets": targets,
            "verdict": overall(&judgements).map(|verdict| verdict.to_string()),
        })
    };
    let facts: serde_json::Map<String, Value> =
        report.facts.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let whole = json!({
        "facts": facts,
        "passes": report.passes,
        "quick": report.quick,
        "seconds": report.seconds,
        "rows": report.lines().map(judged).collect::<Vec<Value>>(),
        "failures": report.failures,
        "needs": report.needs,
    });
    serde_json::to_string_pretty(&whole)
}
