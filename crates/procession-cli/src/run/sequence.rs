//! Values in the order of their items, where they come in another one and the run store has them all.
//!
//! What waits for its turn is held in memory up to a bound; beyond it only its place is, and the store is asked again.

use std::collections::BTreeMap;

use procession::Payload;

/// What waits takes so much memory at most, in bytes.
const HELD_MAX: usize = 64 << 20;

/// What an item that waits takes beside its value: a place in a tree, and an allocation.
const PLACE: usize = 96;

/// Items that are asked of the store at a time.
const PAGE: u64 = 1_024;

/// A value that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// As it is written.
    Json(String),
    /// As it came, with the arguments of its item: what is written depends on both.
    Raw { args: Payload, value: Payload },
    /// What a command of an earlier session printed, ready to be written.
    Printed { out: Vec<u8>, err: Vec<u8>, is_value: bool },
}

/// What is next for the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The value of an item.
    Value(u64, Held),
    /// An item has none.
    Nothing,
    /// The store knows what these items have: the first of them, and how many they are.
    Stored(u64, u64),
}

/// Items whose outcome is known, until it is their turn.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    next: u64,
    /// `None`: the item has no value.
    early: BTreeMap<u64, Option<Held>>,
    bytes: usize,
    /// Items that only the store has: runs of them, by their first one, with the index behind their last one.
    stored: BTreeMap<u64, u64>,
    /// Every item comes at once: the order is that of completion.
    pub(super) unordered: bool,
}

impl Sequence {
    /// Gives back what there is no room for: the store has to have it.
    pub(super) fn put(&mut self, index: u64, value: Option<Held>) -> Option<Held> {
        let size = size(&value);
        if self.bytes + size > HELD_MAX && index != self.next && !self.unordered {
            self.leave_to_store(index);
            return value;
        }
        self.bytes += size;
        self.early.insert(index, value);
        None
    }

    fn leave_to_store(&mut self, index: u64) {
        let mut end = index + 1;
        if let Some(behind) = self.stored.remove(&end) {
            end = behind;
        }
        match self.stored.range_mut(..index).next_back() {
            Some((_, before)) if *before == index => *before = end,
            _ => {
                self.stored.insert(index, end);
            }
        }
    }

    /// What has its turn now, if it is there.
    pub(super) fn pop(&mut self) -> Option<Next> {
        if let Some(entry) = self.early.first_entry()
            && (*entry.key() == self.next || self.unordered)
        {
            let (index, value) = entry.remove_entry();
            self.bytes -= size(&value);
            self.next = index + 1;
            return Some(value.map_or(Next::Nothing, |value| Next::Value(index, value)));
        }
        let (&first, &end) = self.stored.first_key_value().filter(|(first, _)| **first == self.next)?;
        self.stored.remove(&first);
        let until = end.min(first + PAGE);
        if until < end {
            self.stored.insert(until, end);
        }
        self.next = until;
        Some(Next::Stored(first, until - first))
    }

    /// What is waited for does not come: the rest is in order without it. False: there is no rest.
    pub(super) fn skip(&mut self) -> bool {
        let early = self.early.first_key_value().map(|(index, _)| *index);
        let stored = self.stored.first_key_value().map(|(index, _)| *index);
        let first = [early, stored].into_iter().flatten().min();
        self.next = first.unwrap_or(self.next);
        first.is_some()
    }
}

fn size(value: &Option<Held>) -> usize {
    let bytes = value.as_ref().map_or(0, |held| match held {
        Held::Json(json) => json.len(),
        Held::Raw { args, value } => args.as_bytes().len() + value.as_bytes().len(),
        Held::Printed { out, err, .. } => out.len() + err.len(),
    });
    PLACE + bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(index: u64, text: &str) -> Next {
        Next::Value(index, Held::Json(text.to_owned()))
    }

    fn put(sequence: &mut Sequence, index: u64, json: Option<String>) {
        sequence.put(index, json.map(Held::Json));
    }

    fn all(sequence: &mut Sequence) -> Vec<Next> {
        std::iter::from_fn(|| sequence.pop()).collect()
    }

    #[test]
    fn values_come_in_order_and_all_of_them() {
        let mut sequence = Sequence::default();
        put(&mut sequence, 2, Some("c".to_owned()));
        put(&mut sequence, 1, None);
        assert_eq!(sequence.pop(), None);
        put(&mut sequence, 0, Some("a".to_owned()));
        put(&mut sequence, 4, Some("e".to_owned()));
        assert_eq!(all(&mut sequence), [value(0, "a"), Next::Nothing, value(2, "c")]);
        assert!(sequence.skip());
        assert_eq!(sequence.pop(), Some(value(4, "e")));
        assert!(!sequence.skip());
        assert_eq!((sequence.pop(), sequence.bytes), (None, 0));
    }

    #[test]
    fn without_an_order_everything_comes_at_once() {
        let mut sequence = Sequence { unordered: true, ..Sequence::default() };
        put(&mut sequence, 7, Some("h".to_owned()));
        assert_eq!(sequence.pop(), Some(value(7, "h")));
        put(&mut sequence, 3, None);
        assert_eq!(sequence.pop(), Some(Next::Nothing));
    }

    #[test]
    fn what_does_not_fit_in_memory_is_left_to_the_store() {
        let mut sequence = Sequence::default();
        let large = "x".repeat(HELD_MAX - 2 * PLACE);
        put(&mut sequence, 1, Some(large.clone()));
        // Places count as well, so that millions of small ones do not fill memory either.
        put(&mut sequence, 2, None);
        for index in [5, 3, 4, 9] {
            put(&mut sequence, index, Some("0".to_owned()));
        }
        assert_eq!(sequence.stored, BTreeMap::from([(3, 6), (9, 10)]));
        put(&mut sequence, 0, None);
        assert_eq!(all(&mut sequence), [Next::Nothing, value(1, &large), Next::Nothing, Next::Stored(3, 3)]);
        put(&mut sequence, 6, Some("g".to_owned()));
        assert_eq!(all(&mut sequence), [value(6, "g")]);
        assert!(sequence.skip());
        assert_eq!((all(&mut sequence), sequence.bytes), (vec![Next::Stored(9, 1)], 0));
    }

    #[test]
    fn the_store_is_asked_for_pages() {
        let mut sequence = Sequence { stored: BTreeMap::from([(0, 2 * PAGE + 1)]), ..Sequence::default() };
        assert_eq!(
            all(&mut sequence),
            [Next::Stored(0, PAGE), Next::Stored(PAGE, PAGE), Next::Stored(2 * PAGE, 1)]
        );
    }
}
