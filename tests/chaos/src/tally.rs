//! What has been done and found so far, and the lines that say so.

use std::fmt;
use std::time::{Duration, Instant};

use crate::check::{Invariant, Violation};
use crate::remains;

/// A soak is over with so many of both.
const SOAK_ITEMS: u64 = 100_000_000;
const SOAK_RESPAWNS: u64 = 1_000_000;

/// Sums over all episodes.
pub(crate) struct Tally {
    seed: u64,
    since: Instant,
    pub(crate) episodes: u64,
    pub(crate) counts: Counts,
    violations: Vec<Invariant>,
}

/// What one episode adds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Everything done on purpose to hurt: signals, items' own deeds, cancelled and dropped calls, resizes.
    pub(crate) faults: u64,
    pub(crate) items: u64,
    /// Workers started in the place of others.
    pub(crate) respawns: u64,
    /// Items that were started again.
    pub(crate) restarts: u64,
}

impl Tally {
    pub(crate) fn new(seed: u64) -> Tally {
        Tally { seed, since: Instant::now(), episodes: 0, counts: Counts::default(), violations: Vec::new() }
    }

    pub(crate) fn add(&mut self, counts: Counts, violations: &[Violation]) {
        let Counts { faults, items, respawns, restarts } = counts;
        self.episodes += 1;
        self.counts.faults += faults;
        self.counts.items += items;
        self.counts.respawns += respawns;
        self.counts.restarts += restarts;
        self.violations.extend(violations.iter().map(|violation| violation.invariant));
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.violations.is_empty()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Whether a soak has had enough.
    pub(crate) fn is_soaked(&self) -> bool {
        self.counts.items >= SOAK_ITEMS && self.counts.respawns >= SOAK_RESPAWNS
    }

    /// How a soak gets on, so that growth is seen.
    pub(crate) fn progress(&self) -> String {
        format!(
            "{} min: {} episodes, {} items, {} respawns, {} faults, {} MiB resident, {} descriptors, {} violations",
            self.elapsed().as_secs() / 60,
            Grouped(self.episodes),
            Grouped(self.counts.items),
            Grouped(self.counts.respawns),
            Grouped(self.counts.faults),
            remains::rss() >> 20,
            remains::descriptors(),
            self.violations.len(),
        )
    }

    fn count(&self, invariant: Invariant) -> u64 {
        self.violations.iter().filter(|&&violated| violated == invariant).count() as u64
    }
}

/// The verdict, in one line.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { faults, items, respawns, restarts } = self.counts;
        let seconds = self.elapsed().as_secs_f64();
        write!(
            f,
            "chaos: {} episodes in {seconds:.1} s, seed {}: {} faults injected ({:.0}/s), {} items, {} respawns, \
             {} items run again, {} lost, {} duplicated, {} blamed wrongly",
            Grouped(self.episodes),
            self.seed,
            Grouped(faults),
            faults as f64 / seconds,
            Grouped(items),
            Grouped(respawns),
            Grouped(restarts),
            Grouped(self.count(Invariant::Lost)),
            Grouped(self.count(Invariant::Duplicated)),
            Grouped(self.count(Invariant::Blame)),
        )?;
        let (values, remains) = (self.count(Invariant::Value), self.count(Invariant::Remains));
        if values > 0 {
            write!(f, ", {} wrong values", Grouped(values))?;
        }
        let times = self.count(Invariant::Time);
        if times > 0 {
            write!(f, ", {} limits at the wrong time", Grouped(times))?;
        }
        if remains > 0 {
            write!(f, ", {} times something left behind", Grouped(remains))?;
        }
        f.write_str(if self.is_ok() { ": ok" } else { ": FAILED" })
    }
}

/// A number with a comma after each three digits.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.char_indices() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_counts_what_was_violated() {
        let mut tally = Tally::new(7);
        tally.add(Counts { faults: 1_203, items: 310_000, respawns: 12, restarts: 9 }, &[]);
        let line = tally.to_string();
        assert!(line.starts_with("chaos: 1 episodes in "), "{line}");
        assert!(line.contains(" seed 7: 1,203 faults injected ("), "{line}");
        assert!(
            line.ends_with(
                "310,000 items, 12 respawns, 9 items run again, 0 lost, 0 duplicated, 0 blamed wrongly: ok"
            ),
            "{line}"
        );
        let violation = |invariant| Violation { invariant, what: String::new() };
        let all = [
            Invariant::Lost,
            Invariant::Duplicated,
            Invariant::Value,
            Invariant::Blame,
            Invariant::Time,
            Invariant::Remains,
        ];
        tally.add(Counts::default(), &all.map(violation));
        let line = tally.to_string();
        assert!(!tally.is_ok());
        let end = "1 lost, 1 duplicated, 1 blamed wrongly, 1 wrong values, 1 limits at the wrong time, \
                   1 times something left behind: FAILED";
        assert!(line.ends_with(end), "{line}");
    }
}
