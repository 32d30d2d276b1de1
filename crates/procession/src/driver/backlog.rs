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
    /// Where each item ends.
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
    /// Room for `encode` to append one item's encoding; on an error the segment is as before.
    #[inline]
    pub(crate) fn push<E>(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let before = self.bytes.len();
        match encode(&mut self.bytes) {
            Ok(()) => {
                self.ends.push(self.bytes.len());
                Ok(())
            }
            Err(error) => {
                self.bytes.truncate(before);
                Err(error)
            }
        }
    }

    pub(crate) fn items(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    #[inline]
    pub(crate) fn item(&self, position: usize) -> &[u8] {
        let start = if position == 0 { 0 } else { self.ends[position - 1] };
        &self.bytes[start..self.ends[position]]
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
        assert!(backlog.later.is_empty(), "what waits for an older one is not kept");
        backlog.settle(0, 2);
        assert!(backlog.oldest.is_none());
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
