//! How long an item of each task takes, learnt from what workers report. It must not know jobs: two calls of one
//! task share what is known about it.

use std::time::Duration;

use crate::time::nanos;

/// What is known counts as much as this many new items do. Small, so that one report of a hundred quick items
/// outweighs a slow first one; not 1, so that a single slow item does not make all others look slow for long.
const MEMORY_ITEMS: u64 = 8;

/// No item counts for more than an hour: it keeps sums of expectations far from overflow, and everything above a
/// few milliseconds is handed out one by one anyway.
const ITEM_NS_MAX: u64 = 3_600_000_000_000;

/// Expected nanoseconds per item, by task.
#[derive(Debug, Default)]
pub(crate) struct Estimates {
    /// 0: nothing known yet.
    item_ns: Vec<u64>,
}

impl Estimates {
    /// Expected nanoseconds of one item, at least 1; `None` before the first report.
    pub(crate) fn item_ns(&self, task: u32) -> Option<u64> {
        self.item_ns.get(task as usize).copied().filter(|&ns| ns > 0)
    }

    /// A worker was `busy` with `items` items of `task`.
    pub(crate) fn learn(&mut self, task: u32, items: u64, busy: Duration) {
        let index = task as usize;
        if index >= self.item_ns.len() {
            self.item_ns.resize(index + 1, 0);
        }
        let known = &mut self.item_ns[index];
        let busy = nanos(busy).min(ITEM_NS_MAX.saturating_mul(items));
        let mean = match *known {
            0 => busy / items,
            ns => (ns * MEMORY_ITEMS).saturating_add(busy) / (items + MEMORY_ITEMS),
        };
        *known = mean.clamp(1, ITEM_NS_MAX);
    }
}
