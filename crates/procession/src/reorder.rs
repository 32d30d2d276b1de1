//! Puts batches of outcomes back in input order. Knows indices only.

use std::collections::BTreeMap;

use crate::arrival::Arrival;

/// Holds batches that came early until their turn.
#[derive(Default)]
pub(crate) struct Reorder {
    next: u64,
    early: BTreeMap<u64, Arrival>,
}

impl Reorder {
    /// Batches never overlap: each item has exactly one outcome.
    pub(crate) fn push(&mut self, arrival: Arrival) {
        let previous = self.early.insert(arrival.first(), arrival);
        assert!(previous.is_none(), "an item has two outcomes");
    }

    /// The batch whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<Arrival> {
        let entry = self.early.first_entry()?;
        if *entry.key() != self.next {
            return None;
        }
        let arrival = entry.remove();
        self.next += arrival.items();
        Some(arrival)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};

    fn batch(first: u64, items: u64) -> Arrival {
        Arrival::Failed { first, items, error: Error::new(ErrorKind::Cancelled, "") }
    }

    #[test]
    fn batches_come_out_in_order() {
        let mut reorder = Reorder::default();
        reorder.push(batch(3, 2));
        assert!(reorder.pop().is_none());
        reorder.push(batch(0, 3));
        assert_eq!(reorder.pop().map(|a| (a.first(), a.items())), Some((0, 3)));
        assert_eq!(reorder.pop().map(|a| (a.first(), a.items())), Some((3, 2)));
        assert!(reorder.pop().is_none());
    }

    #[test]
    #[should_panic(expected = "two outcomes")]
    fn a_second_outcome_is_a_bug_of_ours() {
        let mut reorder = Reorder::default();
        reorder.push(batch(0, 1));
        reorder.push(batch(0, 1));
    }
}
