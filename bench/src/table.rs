//! The result: one line a case, medians with their spread, and the ratio to the limit of the same pass.

/// Passes of all cases, in the order in which they first came.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

struct Row {
    case: &'static str,
    /// Nanoseconds per item.
    costs: Vec<f64>,
    /// Cost over the limit of the same pass; empty for a limit.
    ratios: Vec<f64>,
}

impl Table {
    pub(crate) fn limit(&mut self, case: &'static str, cost: f64) {
        self.row(case).costs.push(cost);
    }

    pub(crate) fn record(&mut self, case: &'static str, limit: f64, cost: f64) {
        let row = self.row(case);
        row.costs.push(cost);
        row.ratios.push(cost / limit);
    }

    pub(crate) fn print(&self) {
        println!("{:<32} {:>12} {:>12} {:>12} {:>10}", "case", "median ns", "least ns", "most ns", "x limit");
        for Row { case, costs, ratios } in &self.rows {
            let (least, median, most) = spread(costs);
            let ratio = if ratios.is_empty() { String::new() } else { format!("{:.2}", spread(ratios).1) };
            println!("{case:<32} {median:>12.1} {least:>12.1} {most:>12.1} {ratio:>10}");
        }
    }

    fn row(&mut self, case: &'static str) -> &mut Row {
        let position = self.rows.iter().position(|row| row.case == case).unwrap_or_else(|| {
            self.rows.push(Row { case, costs: Vec::new(), ratios: Vec::new() });
            self.rows.len() - 1
        });
        &mut self.rows[position]
    }
}

fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}
