//! The regions that the items of a lazy call refer to, each until the last of its items was handed out.

use std::collections::VecDeque;

use super::Regions;

/// Batches of items, in the order of their input.
#[derive(Debug, Default)]
pub(crate) struct HeldRegions(VecDeque<Batch>);

#[derive(Debug)]
struct Batch {
    first: u64,
    /// Index of the first item behind it.
    end: u64,
    items_left: u64,
    regions: Regions,
}

impl HeldRegions {
    /// Items from `first` on refer to these regions.
    pub(crate) fn hold(&mut self, first: u64, items: u64, regions: Regions) {
        if !regions.is_empty() && items > 0 {
            self.0.push_back(Batch { first, end: first + items, items_left: items, regions });
        }
    }

    /// These items have been handed out, and their results are decoded.
    #[inline]
    pub(crate) fn release(&mut self, first: u64, items: u64) {
        if !self.0.is_empty() {
            (first..first + items).for_each(|index| self.release_held(index));
        }
    }

    fn release_held(&mut self, index: u64) {
        let position = self.0.partition_point(|batch| batch.end <= index);
        if let Some(batch) = self.0.get_mut(position)
            && index >= batch.first
        {
            batch.items_left -= 1;
            if batch.items_left == 0 {
                self.0.remove(position);
            }
        }
    }

    /// Everything that is still held.
    pub(crate) fn take(&mut self) -> Regions {
        let mut all = Regions::default();
        for batch in std::mem::take(&mut self.0) {
            all.append(batch.regions);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Kind, Region};
    use super::*;

    #[test]
    fn a_region_is_held_until_the_last_item_of_its_batch() {
        let region = |byte| Region::create(Kind::Slice, 1, &[byte], Regions::default()).unwrap();
        let regions = |region: &Arc<Region>| Regions(vec![Arc::clone(region)]);
        let (early, late) = (region(1), region(2));
        let mut held = HeldRegions::default();
        held.hold(2, 3, regions(&early));
        held.hold(5, 4, Regions::default());
        held.hold(10, 1, regions(&late));
        let holders = || (Arc::strong_count(&early) - 1, Arc::strong_count(&late) - 1);
        for index in [0, 4, 7, 2, 9, 11] {
            held.release(index, 1);
            assert_eq!(holders(), (1, 1), "item {index} is not the last");
        }
        held.release(3, 1);
        assert_eq!(holders(), (0, 1));
        let rest = held.take();
        assert_eq!(holders(), (0, 1));
        drop(rest);
        assert_eq!(holders(), (0, 0));
    }
}
