//! What a worker holds: its queue of runs, first in, first out, and what they are expected to cost.
//!
//! It must not know why runs come and go. Only the front item can be running: the worker starts an item when the
//! one before it has ended.

use std::collections::VecDeque;

use crate::JobId;
use crate::handout::HELD_RUNS_MAX;

/// Consecutive items of one job that were handed to a worker together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// Whose items.
    pub job: JobId,
    /// Index of the first.
    pub first: u64,
    /// How many, at least one.
    pub items: u32,
    /// Which start of these items this is, counted from 1.
    pub attempt: u32,
}

/// What one item is expected to cost, as known when it was handed out. Kept with the run, so that what is added
/// on the way in is exactly what is subtracted on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) ns: u64,
    pub(crate) bytes: u64,
}

/// No run counts for more than a year, however many items it has: so the sum of all that a worker may hold stays far
/// from overflow. Whatever takes more than some seconds is waited for in the same way. (Bytes need no such bound: they
/// are those of encoded items, which lie in memory.)
const RUN_NS_MAX: u64 = 365 * 24 * 3_600_000_000_000;

const _: () = assert!(RUN_NS_MAX.checked_mul(HELD_RUNS_MAX as u64).is_some());

/// A part of the queue, on its way in or out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) run: Run,
    pub(crate) cost: Cost,
}

/// A worker's queue.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    runs: VecDeque<Held>,
    items: u64,
    ns: u64,
    bytes: u64,
}

impl Backlog {
    /// Items without an outcome.
    pub(crate) fn items(&self) -> u64 {
        self.items
    }

    /// Expected nanoseconds until all of them are done.
    pub(crate) fn ns(&self) -> u64 {
        self.ns
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(crate) fn runs(&self) -> impl DoubleEndedIterator<Item = &Run> + ExactSizeIterator {
        self.runs.iter().map(|held| &held.run)
    }

    pub(crate) fn back(&self) -> Option<&Run> {
        self.runs.back().map(|held| &held.run)
    }

    pub(crate) fn push(&mut self, mut held: Held) {
        held.cost.ns = held.cost.ns.min(RUN_NS_MAX / u64::from(held.run.items));
        self.grow(held.run.items, held.cost);
        self.runs.push_back(held);
    }

    /// Takes up to `items` items of one run from the front; `None` if nothing is held.
    pub(crate) fn take_front(&mut self, items: u64) -> Option<Held> {
        let front = self.runs.front_mut()?;
        let mut taken = *front;
        taken.run.items = items.min(u64::from(front.run.items)) as u32;
        front.run.first += u64::from(taken.run.items);
        front.run.items -= taken.run.items;
        if front.run.items == 0 {
            self.runs.pop_front();
        }
        self.shrink(taken.run.items, taken.cost);
        Some(taken)
    }

    /// Takes up to `items` items of one run from the back; `None` if nothing is held.
    pub(crate) fn take_back(&mut self, items: u64) -> Option<Held> {
        let back = self.runs.back_mut()?;
        let mut taken = *back;
        taken.run.items = items.min(u64::from(back.run.items)) as u32;
        back.run.items -= taken.run.items;
        taken.run.first += u64::from(back.run.items);
        if back.run.items == 0 {
            self.runs.pop_back();
        }
        self.shrink(taken.run.items, taken.cost);
        Some(taken)
    }

    /// Expected nanoseconds of the first `items` items.
    pub(crate) fn ns_of_front(&self, items: u64) -> u64 {
        let mut left = items;
        let mut ns = 0;
        for held in &self.runs {
            let part = left.min(u64::from(held.run.items));
            ns += part * held.cost.ns;
            left -= part;
            if left == 0 {
                break;
            }
        }
        ns
    }

    fn grow(&mut self, items: u32, cost: Cost) {
        self.items += u64::from(items);
        self.ns += u64::from(items) * cost.ns;
        self.bytes += u64::from(items) * cost.bytes;
    }

    fn shrink(&mut self, items: u32, cost: Cost) {
        self.items -= u64::from(items);
        self.ns -= u64::from(items) * cost.ns;
        self.bytes -= u64::from(items) * cost.bytes;
    }

    pub(crate) fn check_invariants(&self) {
        let sum = |f: fn(&Held) -> u64| self.runs.iter().map(f).sum::<u64>();
        assert!(self.runs.iter().all(|held| held.run.items > 0), "an empty run is held");
        assert_eq!(self.items, sum(|held| u64::from(held.run.items)), "items held");
        assert_eq!(self.ns, sum(|held| u64::from(held.run.items) * held.cost.ns), "time expected");
        assert_eq!(self.bytes, sum(|held| u64::from(held.run.items) * held.cost.bytes), "bytes held");
    }
}
