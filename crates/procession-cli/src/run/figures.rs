//! Which figures are an item's: the pool tells them of several items at once, by payload.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use procession::ItemFigures;

/// Figures whose items' outcomes are still to come.
#[derive(Debug, Default)]
pub(super) struct Figures {
    by_first: BTreeMap<u64, Batch>,
}

#[derive(Debug)]
struct Batch {
    figures: ItemFigures,
    /// Items of it that were not asked for yet.
    left: u32,
}

/// What one item took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Figure {
    pub(super) slot: u32,
    pub(super) pid: u32,
    pub(super) attempt: u32,
    pub(super) began: Option<Instant>,
    pub(super) wall: Duration,
    pub(super) cpu: Duration,
    pub(super) peak_rss: u64,
}

impl Figures {
    pub(super) fn add(&mut self, fresh: impl IntoIterator<Item = ItemFigures>) {
        for figures in fresh {
            let left = figures.items;
            self.by_first.insert(figures.first, Batch { figures, left });
        }
    }

    /// The figures of the item behind this payload. Each is asked for once.
    pub(super) fn take(&mut self, payload: u64) -> Option<Figure> {
        let (&first, batch) = self.by_first.range_mut(..=payload).next_back()?;
        let figures = &batch.figures;
        let position = u32::try_from(payload - first).ok().filter(|position| *position < figures.items)?;
        // Of items that were told together each took its share, one after the other.
        let (wall, cpu) = (figures.busy / figures.items, figures.cpu / figures.items);
        let figure = Figure {
            slot: figures.slot,
            pid: figures.pid,
            attempt: figures.attempt,
            began: figures.ended.checked_sub(wall * (figures.items - position)),
            wall,
            cpu,
            peak_rss: figures.peak_rss,
        };
        batch.left = batch.left.saturating_sub(1);
        if batch.left == 0 {
            self.by_first.remove(&first);
        }
        Some(figure)
    }
}
