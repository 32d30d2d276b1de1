//! The encoded items of one job, from the caller's encoding until each has its outcome.
//!
//! The scheduler counts the items it was given; the caller counts its inputs. They differ where an input had no
//! encoding and so was never submitted. A segment knows both numbers of its first item.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::codec::{Sink, Spill};
use crate::slab::{Arena, Block};

/// Encoded consecutive items, in one allocation, but for large ones.
#[derive(Default)]
pub(crate) struct Segment {
    bytes: Vec<u8>,
    items: usize,
    /// The length of every item, while they are all of one length; else 0.
    each: usize,
    /// Where each item ends, once they are not.
    ends: Vec<usize>,
    /// Large items, which workers read where they are, by position; they take nothing of `bytes`.
    large: Vec<(usize, Block)>,
    large_bytes: usize,
    arena: Option<Arc<Arena>>,
}

/// A range of items inside one segment.
pub(crate) struct Slice {
    pub(crate) segment: Arc<Segment>,
    /// Position of the first item in the segment.
    pub(crate) start: usize,
    pub(crate) items: usize,
    /// Index of the first item among the caller's inputs.
    pub(crate) input_index: u64,
}

/// The segments of a job that still have an item without an outcome.
#[derive(Default)]
pub(crate) struct Backlog {
    /// The oldest, apart: most calls have one segment, and need no allocation for a list.
    oldest: Option<Held>,
    /// The others; there are none without an oldest.
    later: VecDeque<Held>,
    submitted: u64,
}

struct Held {
    /// Index of the first item as the scheduler counts.
    first: u64,
    /// Index of the first item among the caller's inputs.
    input_first: u64,
    items: u64,
    unsettled: u64,
    segment: Arc<Segment>,
}

impl Segment {
    /// An empty one, with a place for large items.
    pub(crate) fn new(arena: &Arc<Arena>) -> Segment {
        Segment { arena: Some(Arc::clone(arena)), ..Segment::default() }
    }

    /// It takes no more items. Whoever drops it need not touch what all segments share.
    pub(crate) fn complete(mut self) -> Segment {
        self.arena = None;
        self
    }

    /// Room for `encode` to append one item's encoding; on an error the segment is as before.
    #[inline]
    pub(crate) fn push<E>(&mut self, encode: impl FnOnce(&mut Sink<'_>) -> Result<(), E>) -> Result<(), E> {
        let before = self.bytes.len();
        let mut shared = Shared { arena: self.arena.as_ref(), block: None };
        match encode(&mut Sink::with_spill(&mut self.bytes, &mut shared)) {
            Ok(()) => {
                let length = match shared.block {
                    // It takes nothing here, and so counts as an item of another length than those that do.
                    Some(block) => {
                        self.large_bytes += block.len();
                        self.large.push((self.items, block));
                        0
                    }
                    None => self.bytes.len() - before,
                };
                if length != self.each || length == 0 {
                    self.push_unlike(length);
                }
                self.items += 1;
                Ok(())
            }
            Err(error) => {
                self.bytes.truncate(before);
                Err(error)
            }
        }
    }

    /// Where workers read the item, if it is a large one.
    #[inline]
    pub(crate) fn shared(&self, position: usize) -> Option<&Block> {
        if self.large.is_empty() {
            return None;
        }
        let found = self.large.binary_search_by_key(&position, |(at, _)| *at).ok()?;
        Some(&self.large[found].1)
    }

    #[cold]
    fn push_unlike(&mut self, length: usize) {
        if self.items == 0 && length > 0 {
            self.each = length;
            return;
        }
        if self.each > 0 {
            self.ends = (1..=self.items).map(|items| items * self.each).collect();
            self.each = 0;
        }
        self.ends.push(self.ends.last().unwrap_or(&0) + length);
    }

    pub(crate) fn items(&self) -> usize {
        self.items
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len() + self.large_bytes
    }

    #[inline]
    pub(crate) fn item(&self, position: usize) -> &[u8] {
        assert!(position < self.items, "a segment of {} items has no item {position}", self.items);
        if let Some(block) = self.shared(position) {
            return block.bytes();
        }
        let (start, end) = match self.each {
            0 if position == 0 => (0, self.ends[0]),
            0 => (self.ends[position - 1], self.ends[position]),
            each => (position * each, (position + 1) * each),
        };
        &self.bytes[start..end]
    }

    /// The length of every item, if they are all of one length, and that not 0.
    pub(crate) fn each(&self) -> Option<usize> {
        (self.each > 0).then_some(self.each)
    }
}

impl Slice {
    /// The encodings one after another, if all items of the segment are of one length, which comes first.
    pub(crate) fn uniform(&self) -> Option<(usize, &[u8])> {
        let each = self.segment.each()?;
        Some((each, &self.segment.bytes[self.start * each..(self.start + self.items) * each]))
    }
}

/// A place in the arena for the item that is being encoded.
struct Shared<'a> {
    arena: Option<&'a Arc<Arena>>,
    block: Option<Block>,
}

impl Spill for Shared<'_> {
    fn begin(&mut self, start: &[u8], next: &[u8]) -> bool {
        self.block = self.arena.and_then(|arena| arena.block(start, next));
        self.block.is_some()
    }

    fn extend(&mut self, bytes: &[u8]) -> bool {
        self.block.as_mut().is_some_and(|block| block.extend(bytes))
    }

    fn bytes(&self) -> &[u8] {
        self.block.as_ref().map_or(&[], Block::bytes)
    }

    fn abandon(&mut self) {
        self.block = None;
    }
}

impl Backlog {
    /// Takes over `segment`, whose first item is the caller's input number `input_first`.
    pub(crate) fn push(&mut self, segment: Segment, input_first: u64) {
        let items = segment.items() as u64;
        let held =
            Held { first: self.submitted, input_first, items, unsettled: items, segment: Arc::new(segment) };
        match self.oldest {
            None => self.oldest = Some(held),
            Some(_) => self.later.push_back(held),
        }
        self.submitted += items;
    }

    /// The first piece of `items` items from `first` on that lies in one segment.
    pub(crate) fn slice(&self, first: u64, items: u64) -> Slice {
        let held = self.holder(first);
        let start = first - held.first;
        Slice {
            segment: Arc::clone(&held.segment),
            start: start as usize,
            items: items.min(held.items - start) as usize,
            input_index: held.input_first + start,
        }
    }

    /// The caller's indices of the first piece of a range: `(input_index, items)`.
    pub(crate) fn input_range(&self, first: u64, items: u64) -> (u64, u64) {
        let held = self.holder(first);
        let start = first - held.first;
        (held.input_first + start, items.min(held.items - start))
    }

    /// These items have their outcome. A segment goes as soon as every item of it has, whatever older ones wait for:
    /// one item that takes for ever must not make the list grow with all that passes it.
    pub(crate) fn settle(&mut self, mut first: u64, mut items: u64) {
        while items > 0 {
            let position = self.position(first);
            let held = match position {
                None => self.oldest.as_mut().expect("an item settles once"),
                Some(position) => &mut self.later[position],
            };
            assert!(held.first <= first, "an item settles once");
            let here = items.min(held.items - (first - held.first));
            held.unsettled = held.unsettled.checked_sub(here).expect("an item settles once");
            if held.unsettled == 0 {
                match position {
                    None => self.oldest = self.later.pop_front(),
                    Some(position) => drop(self.later.remove(position)),
                }
            }
            first += here;
            items -= here;
        }
    }

    fn holder(&self, item: u64) -> &Held {
        match self.position(item) {
            None => self.oldest.as_ref().expect("an item without an outcome is held"),
            Some(position) => &self.later[position],
        }
    }

    /// Where among the later segments the item is; `None`: in the oldest.
    fn position(&self, item: u64) -> Option<usize> {
        match &self.oldest {
            Some(oldest) if item >= oldest.first + oldest.items => {
                Some(self.later.partition_point(|held| held.first + held.items <= item))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(items: &[&[u8]]) -> Segment {
        let mut segment = Segment::default();
        for item in items {
            segment.push(|sink| sink.put(item)).expect("cannot fail");
        }
        segment
    }

    #[test]
    fn a_range_is_cut_where_segments_meet() {
        let mut backlog = Backlog::default();
        backlog.push(segment(&[b"a", b"bb"]), 0);
        backlog.push(segment(&[b"ccc"]), 5);
        let slice = backlog.slice(1, 2);
        assert_eq!((slice.start, slice.items, slice.input_index), (1, 1, 1));
        assert_eq!(slice.segment.item(1), b"bb");
        assert_eq!(backlog.input_range(2, 1), (5, 1));
    }

    #[test]
    fn arguments_are_dropped_as_soon_as_their_segment_is_settled() {
        let mut backlog = Backlog::default();
        backlog.push(segment(&[b"a", b"b"]), 0);
        backlog.push(segment(&[b"c"]), 2);
        let weak = Arc::downgrade(&backlog.slice(2, 1).segment);
        backlog.settle(2, 1);
        assert!(weak.upgrade().is_none());
        assert!(backlog.later.is_empty(), "what waits for an older one is not kept");
        backlog.settle(0, 2);
        assert!(backlog.oldest.is_none());
    }

    #[test]
    fn large_items_lie_where_workers_read_them() {
        let arena = Arena::create().unwrap();
        let mut segment = Segment::new(&arena);
        let items = [vec![1; 10], vec![2; 100_000], vec![], vec![3; 10], vec![4; 1 << 20]];
        for item in &items {
            segment.push(|sink| sink.put(item)).unwrap();
        }
        let failed = segment.push(|sink| {
            sink.put(&[5; 100_000]).unwrap();
            Err("no")
        });
        assert_eq!(failed, Err("no"));
        assert_eq!((segment.items(), segment.bytes()), (5, 20 + 100_000 + (1 << 20)));
        for (position, item) in items.iter().enumerate() {
            assert!(segment.item(position) == item, "item {position}");
            assert_eq!(segment.shared(position).is_some(), item.len() > 50_000, "item {position}");
        }
    }

    #[test]
    fn items_of_one_length_are_one_piece_until_another_comes() {
        let items: [&[u8]; 5] = [b"aa", b"bb", b"cc", b"d", b""];
        for count in 1..=items.len() {
            let mut backlog = Backlog::default();
            backlog.push(segment(&items[..count]), 0);
            let slice = backlog.slice(1.min(count as u64 - 1), 2);
            let expected: Option<(usize, &[u8])> = match count {
                1 => Some((2, b"aa")),
                2 => Some((2, b"bb")),
                3 => Some((2, b"bbcc")),
                _ => None,
            };
            assert_eq!(slice.uniform(), expected, "{count} items");
            for (position, item) in items[..count].iter().enumerate() {
                assert_eq!(slice.segment.item(position), *item, "{count} items");
            }
        }
        let nothing = segment(&[b"", b"", b"x"]);
        assert_eq!((nothing.each(), nothing.item(1), nothing.item(2)), (None, &b""[..], &b"x"[..]));
    }

    #[test]
    fn a_failed_encoding_leaves_the_segment_as_it_was() {
        let mut segment = segment(&[b"a"]);
        let result = segment.push(|sink| {
            sink.put(&[1]).unwrap();
            Err("no")
        });
        assert_eq!(result, Err("no"));
        assert_eq!((segment.items(), segment.bytes()), (1, 1));
    }
}
