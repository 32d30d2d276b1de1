//! How many items a chunk has: as many as take a moment, from what items took so far.

use std::time::Duration;

use crate::chunk::Answer;

/// So long a chunk keeps a worker busy: a hundred times what its way takes, and little to lose.
const CHUNK_TIME: Duration = Duration::from_millis(250);
const CHUNK_ITEMS_MAX: usize = 4_096;
/// What an agent had is lost with it where items start once at most.
const CHUNK_ITEMS_MAX_ONCE: usize = 16;

/// See the module.
pub(super) struct Pace {
    given: Option<usize>,
    max: usize,
    items: usize,
    /// What an item took, the latest counting most.
    mean: Option<Duration>,
}

impl Pace {
    pub(super) fn new(given: Option<usize>, at_most_once: bool) -> Pace {
        let max = if at_most_once { CHUNK_ITEMS_MAX_ONCE } else { CHUNK_ITEMS_MAX };
        Pace { given, max, items: 1, mean: None }
    }

    pub(super) fn chunk_items(&self) -> usize {
        self.given.map_or(self.items, |items| items.min(crate::wire::ITEMS_MAX))
    }

    pub(super) fn heard(&mut self, answer: &Answer) {
        let items: u32 = answer.figures.iter().map(|figures| figures.items).sum();
        let busy: Duration = answer.figures.iter().map(|figures| figures.busy).sum();
        let Some(took) = busy.checked_div(items) else { return };
        let mean = self.mean.map_or(took, |mean| (mean * 3 + took) / 4);
        self.mean = Some(mean);
        let fit = CHUNK_TIME.as_nanos() / mean.as_nanos().max(1);
        let fit = usize::try_from(fit).unwrap_or(usize::MAX);
        // Little by little: the first items tell little of the others.
        self.items = fit.clamp(1, self.max).min(2 * self.items);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Figures;

    fn answer(items: u32, busy: Duration) -> Answer {
        let (since, cpu) = (Duration::ZERO, Duration::ZERO);
        let figures = Figures { first: 0, items, attempt: 1, slot: 0, pid: 1, since, busy, cpu, peak_rss: 0 };
        Answer { agent: String::new(), is_suspect: false, fates: Vec::new(), figures: vec![figures] }
    }

    #[test]
    fn chunks_grow_to_what_takes_a_moment() {
        let mut pace = Pace::new(None, false);
        let mut sizes = Vec::new();
        for _ in 0..8 {
            sizes.push(pace.chunk_items());
            let items = pace.chunk_items() as u32;
            pace.heard(&answer(items, Duration::from_millis(10) * items));
        }
        assert_eq!(sizes, [1, 2, 4, 8, 16, 25, 25, 25]);
        pace.heard(&answer(1, Duration::from_secs(100)));
        assert_eq!(pace.chunk_items(), 1, "one that takes long is alone");
    }

    #[test]
    fn what_is_given_or_must_not_be_lost_stays_small() {
        let mut given = Pace::new(Some(7), false);
        let mut once = Pace::new(None, true);
        for _ in 0..20 {
            given.heard(&answer(1, Duration::from_nanos(1)));
            once.heard(&answer(1, Duration::from_nanos(1)));
        }
        assert_eq!((given.chunk_items(), once.chunk_items()), (7, 16));
    }
}
