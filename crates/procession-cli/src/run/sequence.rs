//! Values in the order of their items, where they come in another one and the run store has them all.
//!
//! What waits for its turn is held in memory up to a bound, and read from the store beyond it.

use std::collections::BTreeMap;

/// Values that wait take so much memory at most, in bytes.
const HELD_MAX: usize = 64 << 20;

/// What an item has for the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Its value, as JSON.
    Value(String),
    /// A value that the store has.
    Stored,
    /// No value.
    Nothing,
}

/// Items whose outcome is known, until it is their turn.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    next: u64,
    early: BTreeMap<u64, Held>,
    bytes: usize,
    /// Every item comes at once: the order is that of completion.
    pub(super) unordered: bool,
}

impl Sequence {
    pub(super) fn put(&mut self, index: u64, held: Held) {
        let held = match held {
            Held::Value(json) if self.bytes + json.len() > HELD_MAX && !self.early.is_empty() => Held::Stored,
            held => held,
        };
        self.bytes += bytes(&held);
        self.early.insert(index, held);
    }

    /// The next item whose turn it is, if it is there.
    pub(super) fn pop(&mut self) -> Option<(u64, Held)> {
        let entry = self.early.first_entry()?;
        if *entry.key() != self.next && !self.unordered {
            return None;
        }
        let (index, held) = entry.remove_entry();
        self.next = index + 1;
        self.bytes -= bytes(&held);
        Some((index, held))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.early.is_empty()
    }

    /// What was waited for does not come: the rest is in order without it.
    pub(super) fn skip(&mut self) {
        if let Some((index, _)) = self.early.first_key_value() {
            self.next = *index;
        }
    }
}

fn bytes(held: &Held) -> usize {
    match held {
        Held::Value(json) => json.len(),
        Held::Stored | Held::Nothing => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Held {
        Held::Value(text.to_owned())
    }

    #[test]
    fn values_come_in_order_and_all_of_them() {
        let mut sequence = Sequence::default();
        sequence.put(2, value("c"));
        sequence.put(1, Held::Nothing);
        assert_eq!(sequence.pop(), None);
        sequence.put(0, value("a"));
        sequence.put(4, value("e"));
        let popped: Vec<_> = std::iter::from_fn(|| sequence.pop()).collect();
        assert_eq!(popped, [(0, value("a")), (1, Held::Nothing), (2, value("c"))]);
        sequence.skip();
        assert_eq!(sequence.pop(), Some((4, value("e"))));
        sequence.skip();
        assert_eq!((sequence.pop(), sequence.bytes), (None, 0));
    }

    #[test]
    fn what_does_not_fit_in_memory_is_left_to_the_store() {
        let mut sequence = Sequence::default();
        let large = || Held::Value("x".repeat(HELD_MAX - 10));
        sequence.put(1, large());
        sequence.put(2, value("0123456789"));
        sequence.put(3, value("0"));
        assert_eq!(sequence.early[&3], Held::Stored);
        sequence.put(0, Held::Nothing);
        let kinds: Vec<bool> =
            std::iter::from_fn(|| sequence.pop()).map(|(_, held)| held == Held::Stored).collect();
        assert_eq!((kinds, sequence.bytes), (vec![false, false, false, true], 0));
        // One that is too large by itself is not waited for in vain.
        sequence.put(4, Held::Value("x".repeat(HELD_MAX + 1)));
        assert!(matches!(sequence.pop(), Some((4, Held::Value(_)))));
    }
}
