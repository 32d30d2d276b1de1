//! How many items a chunk has: as many as take a moment, from what items took so far, and as have results of a size that travels
//! well. The more workers there are, the longer a chunk is, so that their master keeps up with them.

use std::time::Duration;

use crate::chunk::{Answer, Fate};

/// So long a chunk keeps a worker busy: a hundred times what its way takes, and little to lose.
const CHUNK_TIME: Duration = Duration::from_millis(250);
/// What a chunk takes of its master's processor, from being made to being let go; measured, see `docs/cluster-scaling.md`.
const CHUNK_COST: Duration = Duration::from_micros(200);
/// The master is to be busy with chunks for one part of so many of its time.
const CHUNK_SHARE: u32 = 2;
/// Results of a chunk, in bytes, as far as those so far can tell.
const CHUNK_VALUE_BYTES: usize = 4 << 20;
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
    /// The same of its result, in bytes.
    mean_bytes: usize,
}

impl Pace {
    pub(super) fn new(given: Option<usize>, at_most_once: bool) -> Pace {
        let max = if at_most_once { CHUNK_ITEMS_MAX_ONCE } else { CHUNK_ITEMS_MAX };
        Pace { given, max, items: 1, mean: None, mean_bytes: 0 }
    }

    /// How many items the next chunk has; no more than `most`, unless somebody said how many.
    pub(super) fn chunk_items(&self, most: usize) -> usize {
        self.given.map_or(self.items.min(most).max(1), |items| items.min(crate::wire::ITEMS_MAX))
    }

    /// Results of so many items, in bytes, as far as those so far can tell.
    pub(super) fn value_bytes(&self, items: u64) -> usize {
        usize::try_from(items).unwrap_or(usize::MAX).saturating_mul(self.mean_bytes)
    }

    /// An answer came in; there are so many workers.
    pub(super) fn heard(&mut self, answer: &Answer, workers: u32) {
        let (mut values, mut bytes) = (0, 0);
        for (_, fate) in &answer.fates {
            if let Fate::Value(value) = fate {
                (values, bytes) = (values + 1, bytes + value.as_bytes().len());
            }
        }
        if let Some(mean) = bytes.checked_div(values) {
            self.mean_bytes = if self.mean_bytes == 0 { mean } else { self.mean_bytes / 4 * 3 + mean / 4 };
        }
        // Agents may say anything.
        let items = answer.figures.iter().fold(0_u32, |items, figures| items.saturating_add(figures.items));
        let busy =
            answer.figures.iter().fold(Duration::ZERO, |busy, figures| busy.saturating_add(figures.busy));
        let Some(took) = busy.checked_div(items) else { return };
        let mean = self.mean.map_or(took, |mean| mean.saturating_mul(3).saturating_add(took) / 4);
        self.mean = Some(mean);
        let fit = chunk_time(workers).as_nanos() / mean.as_nanos().max(1);
        let fit = usize::try_from(fit).unwrap_or(usize::MAX).min(CHUNK_VALUE_BYTES / self.mean_bytes.max(1));
        // Little by little: the first items tell little of the others.
        self.items = fit.clamp(1, self.max).min(2 * self.items);
    }
}

/// How long a chunk keeps a worker busy.
fn chunk_time(workers: u32) -> Duration {
    // In this time each worker is done with one.
    CHUNK_TIME.max(CHUNK_COST.saturating_mul(workers).saturating_mul(CHUNK_SHARE))
}

#[cfg(test)]
mod tests {
    use procession::Payload;

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
            sizes.push(pace.chunk_items(usize::MAX));
            let items = pace.chunk_items(usize::MAX) as u32;
            pace.heard(&answer(items, Duration::from_millis(10) * items), 1);
        }
        assert_eq!(sizes, [1, 2, 4, 8, 16, 25, 25, 25]);
        pace.heard(&answer(1, Duration::from_secs(100)), 1);
        assert_eq!(pace.chunk_items(usize::MAX), 1, "one that takes long is alone");
    }

    #[test]
    fn the_more_workers_the_longer_a_chunk() {
        let mut sizes = Vec::new();
        for workers in [1, 625, 6_250, 62_500] {
            let mut pace = Pace::new(None, false);
            for _ in 0..8 {
                let items = pace.chunk_items(usize::MAX) as u32;
                pace.heard(&answer(items, Duration::from_millis(250) * items), workers);
            }
            sizes.push(pace.chunk_items(usize::MAX));
        }
        assert_eq!(sizes, [1, 1, 10, 100]);
    }

    #[test]
    fn chunks_are_no_larger_than_there_is_room_for_all_of_them() {
        let mut pace = Pace::new(None, false);
        for _ in 0..8 {
            pace.heard(&answer(1, Duration::from_millis(10)), 1);
        }
        assert_eq!([0, 1, 7, 100].map(|most| pace.chunk_items(most)), [1, 1, 7, 25]);
        assert_eq!(Pace::new(Some(9), false).chunk_items(7), 9, "as somebody has said");
    }

    #[test]
    fn chunks_shrink_to_results_that_travel_well() {
        let mut pace = Pace::new(None, false);
        let large = || (0, Fate::Value(Payload::from(vec![0; 1 << 20])));
        for _ in 0..8 {
            pace.heard(&Answer { fates: vec![large()], ..answer(1, Duration::from_nanos(1)) }, 1);
        }
        assert_eq!((pace.chunk_items(usize::MAX), pace.value_bytes(3)), (4, 3 << 20));
    }

    #[test]
    fn figures_that_mean_nothing_harm_nobody() {
        let mut pace = Pace::new(None, false);
        let mut odd = answer(u32::MAX, Duration::MAX);
        odd.figures.push(odd.figures[0]);
        (0..3).for_each(|_| pace.heard(&odd, u32::MAX));
        assert_eq!(pace.chunk_items(usize::MAX), 1);
    }

    #[test]
    fn what_is_given_or_must_not_be_lost_stays_small() {
        let mut given = Pace::new(Some(7), false);
        let mut once = Pace::new(None, true);
        for _ in 0..20 {
            given.heard(&answer(1, Duration::from_nanos(1)), 1);
            once.heard(&answer(1, Duration::from_nanos(1)), 1);
        }
        assert_eq!((given.chunk_items(usize::MAX), once.chunk_items(usize::MAX)), (7, 16));
    }
}
