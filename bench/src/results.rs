//! What was measured: figures by row, variant, measured one and pass. It knows neither targets nor how to measure.

use serde::{Deserialize, Serialize};

/// One figure of one pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measurement {
    /// Which row of the plan it belongs to.
    pub(crate) row: String,
    /// Which variant of the row, if it has any: a number of workers, a position.
    #[serde(default)]
    pub(crate) variant: String,
    /// What was measured.
    pub(crate) by: By,
    /// In the unit of the row.
    pub(crate) value: f64,
}

/// Whose figure it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    /// The pool's.
    Ours,
    /// What the pool cannot beat, by name.
    Limit(String),
    /// What a user would take instead, by name.
    Peer(String),
}

impl Measurement {
    /// The pool's own figure of a row without variants.
    pub(crate) fn ours(row: &str, value: f64) -> Measurement {
        Measurement { row: row.to_owned(), variant: String::new(), by: By::Ours, value }
    }

    /// A limit's.
    pub(crate) fn limit(row: &str, name: &str, value: f64) -> Measurement {
        Measurement { by: By::Limit(name.to_owned()), ..Measurement::ours(row, value) }
    }

    /// The same of a variant.
    pub(crate) fn of(self, variant: impl Into<String>) -> Measurement {
        Measurement { variant: variant.into(), ..self }
    }
}

/// All figures of one run, in the order in which rows and variants first came.
#[derive(Default)]
pub(crate) struct Results {
    entries: Vec<Entry>,
}

/// All figures of one variant of a row.
#[derive(Serialize)]
pub(crate) struct Entry {
    pub(crate) row: String,
    pub(crate) variant: String,
    pub(crate) series: Vec<Series>,
}

/// The figures of one measured thing.
#[derive(Serialize)]
pub(crate) struct Series {
    pub(crate) by: By,
    /// By pass; a pass may lack its figure.
    pub(crate) samples: Vec<Sample>,
}

/// The figure of one pass.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Sample {
    pub(crate) pass: usize,
    pub(crate) value: f64,
}

/// The least, the median and the most of several figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Results {
    pub(crate) fn record(&mut self, pass: usize, measurement: Measurement) {
        let Measurement { row, variant, by, value } = measurement;
        let place = self.entries.iter().position(|entry| entry.row == row && entry.variant == variant);
        let place = place.unwrap_or_else(|| {
            self.entries.push(Entry { row, variant, series: Vec::new() });
            self.entries.len() - 1
        });
        let series = &mut self.entries[place].series;
        let place = series.iter().position(|series| series.by == by).unwrap_or_else(|| {
            series.push(Series { by, samples: Vec::new() });
            series.len() - 1
        });
        series[place].samples.push(Sample { pass, value });
    }

    /// The variants of a row.
    pub(crate) fn of_row<'a>(&'a self, row: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.row == row)
    }
}

impl Entry {
    pub(crate) fn ours(&self) -> Option<&Series> {
        self.find(&By::Ours)
    }

    pub(crate) fn limit(&self, name: &str) -> Option<&Series> {
        self.find(&By::Limit(name.to_owned()))
    }

    pub(crate) fn peer(&self, name: &str) -> Option<&Series> {
        self.find(&By::Peer(name.to_owned()))
    }

    /// Every peer with its name.
    pub(crate) fn peers(&self) -> impl Iterator<Item = (&str, &Series)> {
        self.series.iter().filter_map(|series| match &series.by {
            By::Peer(name) => Some((name.as_str(), series)),
            By::Ours | By::Limit(_) => None,
        })
    }

    fn find(&self, by: &By) -> Option<&Series> {
        self.series.iter().find(|series| series.by == *by)
    }
}

impl Series {
    pub(crate) fn spread(&self) -> Spread {
        spread(self.samples.iter().map(|sample| sample.value)).expect("a series begins with its first figure")
    }

    /// The median of `self` over `other`, each taken in the same pass, so that a machine that is slow for a while is
    /// slow for both. `None`: they have no pass in common.
    pub(crate) fn ratio_to(&self, other: &Series) -> Option<f64> {
        self.compared(other, |mine, theirs| mine / theirs)
    }

    /// By how much `self` is above `other`, as [`ratio_to`](Series::ratio_to).
    pub(crate) fn above(&self, other: &Series) -> Option<f64> {
        self.compared(other, |mine, theirs| mine - theirs)
    }

    fn compared(&self, other: &Series, compare: impl Fn(f64, f64) -> f64) -> Option<f64> {
        let in_common = self.samples.iter().filter_map(|mine| {
            let theirs = other.samples.iter().find(|theirs| theirs.pass == mine.pass)?;
            Some(compare(mine.value, theirs.value))
        });
        spread(in_common).map(|spread| spread.median)
    }
}

/// `None`: there are no figures. The median of an even number of figures is the mean of the middle two.
pub(crate) fn spread(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let (&least, &most) = (sorted.first()?, sorted.last()?);
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    Some(Spread { least, median: low.midpoint(high), most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(spread([]), None);
        assert_eq!(spread([3.0]), Some(Spread { least: 3.0, median: 3.0, most: 3.0 }));
        assert_eq!(spread([9.0, 1.0, 2.0]), Some(Spread { least: 1.0, median: 2.0, most: 9.0 }));
        assert_eq!(spread([4.0, 1.0, 2.0, 100.0]), Some(Spread { least: 1.0, median: 3.0, most: 100.0 }));
    }

    #[test]
    fn ratios_are_taken_within_a_pass() {
        let mut results = Results::default();
        // The machine is ten times slower in the second pass; the third has no limit.
        for (pass, ours, limit) in [(0, 2.0, Some(1.0)), (1, 20.0, Some(10.0)), (2, 7.0, None)] {
            results.record(pass, Measurement::ours("B1", ours));
            if let Some(limit) = limit {
                results.record(pass, Measurement::limit("B1", "raw", limit));
            }
        }
        let entry = results.of_row("B1").next().expect("it was recorded");
        let (ours, limit) = (entry.ours().expect("ours"), entry.limit("raw").expect("limit"));
        assert_eq!(ours.ratio_to(limit), Some(2.0));
        assert_eq!(ours.spread().median, 7.0);
        assert_eq!(results.of_row("B1").count(), 1);
    }

    #[test]
    fn variants_are_kept_apart() {
        let mut results = Results::default();
        results.record(0, Measurement::ours("B9", 1.0).of("1 worker"));
        results.record(0, Measurement::ours("B9", 2.0).of("2 workers"));
        results.record(1, Measurement::ours("B9", 1.0).of("1 worker"));
        let variants: Vec<_> = results.of_row("B9").map(|entry| entry.variant.as_str()).collect();
        assert_eq!(variants, ["1 worker", "2 workers"]);
    }
}
