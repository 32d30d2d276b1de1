//! The closing line: how many items, how many values, what became of the rest, and how fast.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::failures::Outcome;
use crate::spec::units;
use crate::terminal::printable;

/// What became of the items so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) values: u64,
    /// Items whose outcome is of an earlier session.
    pub(crate) earlier: u64,
    /// Items that have a value and had failed before, of this session or an earlier one.
    pub(crate) flaky: u64,
    /// Failures that were not the last word on their items.
    pub(crate) retried: u64,
    without: BTreeMap<Outcome, u64>,
}

impl Tally {
    #[cfg(test)]
    pub(crate) fn of_values(values: u64) -> Tally {
        Tally { values, ..Tally::default() }
    }

    pub(crate) fn fail(&mut self, outcome: Outcome) {
        self.fail_many(outcome, 1);
    }

    pub(crate) fn fail_many(&mut self, outcome: Outcome, items: u64) {
        if items > 0 {
            *self.without.entry(outcome).or_default() += items;
        }
    }

    /// Items without a value.
    pub(crate) fn failures(&self) -> u64 {
        self.without.values().sum()
    }

    /// Items that cost a worker its life.
    pub(crate) fn lost(&self) -> u64 {
        self.without.iter().filter(|(outcome, _)| outcome.is_loss()).map(|(_, items)| items).sum()
    }

    /// Items with this outcome.
    pub(crate) fn of(&self, outcome: Outcome) -> u64 {
        self.without.get(&outcome).copied().unwrap_or(0)
    }

    /// Items that ran, with whatever outcome.
    fn ran(&self) -> u64 {
        let without = self.without.iter().filter(|(outcome, _)| outcome.ran());
        (self.values + without.map(|(_, count)| count).sum::<u64>()).saturating_sub(self.earlier)
    }

    /// How many items have which outcome, of those without a value.
    pub(crate) fn without(&self) -> BTreeMap<&'static str, u64> {
        self.without.iter().map(|(outcome, items)| (outcome.id, *items)).collect()
    }

    /// Items that have an outcome.
    pub(crate) fn items(&self) -> u64 {
        self.values + self.failures()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", counted(self.items(), "item"), counted(self.values, "value"))?;
        if self.flaky > 0 {
            write!(f, " ({} flaky)", self.flaky)?;
        }
        if self.failures() > 0 {
            let kinds: Vec<String> =
                self.without.iter().map(|(outcome, count)| format!("{count} {}", outcome.words)).collect();
            write!(f, ", {} without ({})", self.failures(), kinds.join(", "))?;
        }
        if self.earlier > 0 {
            write!(f, ", {} of them from before", self.earlier)?;
        }
        Ok(())
    }
}

/// A run that is over.
#[derive(Clone, Debug)]
pub(crate) struct Summary<'a> {
    pub(crate) name: &'a str,
    pub(crate) tally: &'a Tally,
    pub(crate) wall: Duration,
    pub(crate) workers: usize,
    pub(crate) restarts: u64,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { name, tally, wall, workers, restarts } = self;
        write!(f, "{}: {tally}", printable(name))?;
        write!(f, " in {}", units::show(*wall))?;
        if tally.ran() > 0 {
            write!(f, " ({}/s)", short(tally.ran() as f64 / wall.as_secs_f64().max(1e-9)))?;
        }
        write!(f, ", {}", counted(*workers as u64, "worker"))?;
        if *restarts > 0 {
            write!(f, ", {}", counted(*restarts, "restart"))?;
        }
        Ok(())
    }
}

/// `1 item`, `2 items`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A rate in about three digits.
pub(crate) fn short(number: f64) -> String {
    match number {
        n if n < 10.0 => format!("{n:.2}"),
        n if n < 1e3 => format!("{n:.0}"),
        n if n < 1e4 => format!("{:.1}k", n / 1e3),
        n if n < 1e6 => format!("{:.0}k", n / 1e3),
        n => format!("{:.1}M", n / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failures::{INVALID, NOT_RUN};

    #[test]
    fn says_everything_once() {
        let mut tally = Tally::of_values(7);
        let summary = |tally: &Tally, restarts| {
            Summary { name: "squares", tally, wall: Duration::from_secs(2), workers: 4, restarts }.to_string()
        };
        assert_eq!(summary(&tally, 0), "squares: 7 items, 7 values in 2.00 s (3.50/s), 4 workers");
        tally.fail(INVALID);
        tally.fail_many(NOT_RUN, 2);
        tally.fail_many(NOT_RUN, 0);
        assert_eq!(
            summary(&tally, 1),
            "squares: 10 items, 7 values, 3 without (1 invalid input, 2 not run) in 2.00 s (3.50/s), 4 workers, 1 restart"
        );
    }

    #[test]
    fn rates_are_short() {
        for (rate, shown) in
            [(0.5, "0.50"), (123.4, "123"), (1234.0, "1.2k"), (123_456.0, "123k"), (2.5e6, "2.5M")]
        {
            assert_eq!(short(rate), shown);
        }
    }
}
