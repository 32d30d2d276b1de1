//! The encoded items of one job, from the caller's encoding until each has its outcome.
//!
//! The scheduler counts the items it was given; the caller counts its inputs. They differ where an input had no
//! encoding and so was never submitted. A segment knows both numbers of its first item.

use std::collections::VecDeque;
use std::sync::Arc;

/// Encoded consecutive items, in one allocation.
#[derive(Default)]
pub(crate) struct Segment {
    bytes: Vec<u8>,
    items: usize,
    /// The length of every item, while they are all of one length; else 0.
    each: usize,
    /// Where each item ends, once they are not.
    ends: Vec<usize>,
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
    held: VecDeque<Held>,
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
    /// Room for `encode` to append one item's encoding; on an error the segment is as before.
    #[inline]
    pub(crate) fn push<E>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let before = self.bytes.len();
        match encode(&mut self.bytes) {
            Ok(()) => {
                let length = self.bytes.len() - before;
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
        self.bytes.len()
    }

    #[inline]
    pub(crate) fn item(&self, position: usize) -> &[u8] {
        assert!(position < self.items, "a segment of {} items has no item {position}", self.items);
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

impl Backlog {
    /// Takes over `segment`, whose first item is the caller's input number `input_first`.
    pub(crate) fn push(&mut self, segment: Segment, input_first: u64) {
        let items = segment.items() as u64;
        self.held.push_back(Held {
            first: self.submitted,
            input_first,
            items,
            unsettled: items,
            segment: Arc::new(segment),
        });
        self.submitted += items;
    }

    /// The first piece of `items` items from `first` on that lies in one segment.
    pub(crate) fn slice(&self, first: u64, items: u64) -> Slice {
        let held = &self.held[self.position(first)];
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
        let held = &self.held[self.position(first)];
        let start = first - held.first;
        (held.input_first + start, items.min(held.items - start))
    }

    /// These items have their outcome. A segment goes as soon as every item of it has, whatever older ones wait for:
    /// one item that takes for ever must not make the list grow with all that passes it.
    pub(crate) fn settle(&mut self, mut first: u64, mut items: u64) {
        while items > 0 {
            let position = self.position(first);
            let held = &mut self.held[position];
            assert!(held.first <= first, "an item settles once");
            let here = items.min(held.items - (first - held.first));
            held.unsettled = held.unsettled.checked_sub(here).expect("an item settles once");
            if held.unsettled == 0 {
                self.held.remove(position);
            }
            first += here;
            items -= here;
        }
    }

    fn position(&self, item: u64) -> usize {
        // Most lookups are for the oldest segments.
        match self.held.front() {
            Some(front) if item < front.first + front.items => 0,
            _ => self.held.partition_point(|held| held.first + held.items <= item),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(items: &[&[u8]]) -> Segment {
        let mut segment = Segment::default();
        for item in items {
            segment
                .push(|out| {
                    out.extend_from_slice(item);
                    Ok::<(), ()>(())
                })
                .expect("cannot fail");
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
        assert_eq!(backlog.held.len(), 1, "what waits for an older one is not kept");
        backlog.settle(0, 2);
        assert!(backlog.held.is_empty());
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
        let result = segment.push(|out| {
            out.push(1);
            Err("no")
        });
        assert_eq!(result, Err("no"));
        assert_eq!((segment.items(), segment.bytes()), (1, 1));
    }
}
