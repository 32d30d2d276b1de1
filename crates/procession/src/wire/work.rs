//! Frames from the master to a worker: items to run, and the order to stop.
//!
//! A `Work` frame is a sequence of runs: consecutive items of one call with everything they have in common. The
//! worker answers by frame number and position, so it need not know jobs.
//!
//! ```text
//! Work       kind  flags u8  frame_no u32  items u32  runs…
//! run        task u32  first u64  attempt u32  timeout_ns u64  items u32  (len u32  payload)…
//! LargeWork  kind  flags u8  frame_no u32  task u32  first u64  attempt u32  timeout_ns u64  total u32  place u64
//! Stop       kind
//! ```
//! `place` is where the arguments lie in the arena; all ones: they follow in parts.

use super::cursor::{Cursor, WireError, put_prefixed};
use super::part::{TooLarge, checked_total};
use super::{FRAME_BYTES_MAX, kind};

const FLAG_TIMED: u8 = 1;
const WORK_HEADER_BYTES: usize = 1 + 1 + 4 + 4;
/// Bytes before the first item of a run.
pub(crate) const RUN_HEADER_BYTES: usize = RUN_BYTES + 4;
const RUN_BYTES: usize = 4 + 8 + 4 + 8;
/// Bytes before the arguments of an item.
pub(crate) const ITEM_HEADER_BYTES: usize = 4;

/// Bytes of runs that fit a `Work` frame.
pub(crate) const WORK_BYTES_MAX: usize = FRAME_BYTES_MAX - WORK_HEADER_BYTES;

/// What consecutive items of one call have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Index of the task in the registry.
    pub(crate) task: u32,
    /// Index of the first item within its call.
    pub(crate) first: u64,
    /// Which start of these items this is; the first is 1.
    pub(crate) attempt: u32,
    /// Time limit of each item from its start; 0 means none.
    pub(crate) timeout_ns: u64,
}

/// One item, as a worker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item<'a> {
    /// The run it belongs to, with `first` moved to this item.
    pub(crate) run: Run,
    /// Its encoded arguments.
    pub(crate) payload: &'a [u8],
}

/// Builds a `Work` frame in a buffer.
#[derive(Debug)]
pub(crate) struct WorkBuilder<'a> {
    out: &'a mut Vec<u8>,
    items: u32,
    run: Option<RunCount>,
}

/// Where the open run's count goes, and what it is so far.
#[derive(Debug)]
struct RunCount {
    at: usize,
    items: u32,
}

impl<'a> WorkBuilder<'a> {
    /// Starts a frame; what the buffer held is dropped. `timed`: the start of every item is to be stamped.
    pub(crate) fn begin(out: &'a mut Vec<u8>, frame_no: u32, timed: bool) -> WorkBuilder<'a> {
        out.clear();
        out.push(kind::WORK);
        out.push(if timed { FLAG_TIMED } else { 0 });
        out.extend_from_slice(&frame_no.to_le_bytes());
        out.extend_from_slice(&0_u32.to_le_bytes());
        WorkBuilder { out, items: 0, run: None }
    }

    /// Starts the next run: the items pushed from now on belong to it.
    pub(crate) fn run(&mut self, run: &Run) {
        self.close_run();
        put_run(self.out, run);
        self.run = Some(RunCount { at: self.out.len(), items: 0 });
        self.out.extend_from_slice(&0_u32.to_le_bytes());
    }

    /// Appends the next item of the current run.
    ///
    /// # Panics
    /// If no run was started, or the item does not fit: a frame holds [`WORK_BYTES_MAX`] of runs.
    pub(crate) fn push(&mut self, payload: &[u8]) {
        let run = self.run.as_mut().expect("an item belongs to a run");
        assert!(
            self.out.len() + ITEM_HEADER_BYTES + payload.len() <= FRAME_BYTES_MAX,
            "an item of {} bytes does not fit its frame",
            payload.len()
        );
        put_prefixed(self.out, payload);
        run.items += 1;
        self.items += 1;
    }

    /// Completes the frame in the buffer and returns the number of its items.
    pub(crate) fn finish(mut self) -> u32 {
        self.close_run();
        self.out[WORK_HEADER_BYTES - 4..WORK_HEADER_BYTES].copy_from_slice(&self.items.to_le_bytes());
        self.items
    }

    fn close_run(&mut self) {
        if let Some(RunCount { at, items }) = self.run.take() {
            self.out[at..at + 4].copy_from_slice(&items.to_le_bytes());
        }
    }
}

/// No place in the arena.
const PLACE_NONE: u64 = u64::MAX;

/// Writes the head of one large item; without a place for its arguments, they follow in parts. Replaces what the buffer
/// held.
pub(crate) fn large_work(
    out: &mut Vec<u8>,
    frame_no: u32,
    timed: bool,
    run: &Run,
    payload_len: usize,
    place: Option<u64>,
) -> Result<(), TooLarge> {
    let total = checked_total(payload_len)?;
    out.clear();
    out.push(kind::LARGE_WORK);
    out.push(if timed { FLAG_TIMED } else { 0 });
    out.extend_from_slice(&frame_no.to_le_bytes());
    put_run(out, run);
    out.extend_from_slice(&total.to_le_bytes());
    out.extend_from_slice(&place.unwrap_or(PLACE_NONE).to_le_bytes());
    Ok(())
}

/// Writes the order to stop. Replaces what the buffer held.
pub(crate) fn stop(out: &mut Vec<u8>) {
    out.clear();
    out.push(kind::STOP);
}

fn put_run(out: &mut Vec<u8>, run: &Run) {
    out.extend_from_slice(&run.task.to_le_bytes());
    out.extend_from_slice(&run.first.to_le_bytes());
    out.extend_from_slice(&run.attempt.to_le_bytes());
    out.extend_from_slice(&run.timeout_ns.to_le_bytes());
}

/// A frame that a worker received.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ToWorker<'a> {
    /// Items to run.
    Work(WorkView<'a>),
    /// One large item, whose arguments lie in the arena or follow in parts.
    LargeWork(LargeWork),
    /// The next piece of the large item.
    Part(&'a [u8]),
    /// Nothing more comes.
    Stop,
}

impl<'a> ToWorker<'a> {
    /// Reads a frame. The items of a `Work` frame are read when they are iterated over.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<ToWorker<'a>, WireError> {
        let mut cursor = Cursor::new(bytes);
        match cursor.u8("kind")? {
            kind::WORK => Ok(ToWorker::Work(WorkView {
                timed: cursor.u8("flags")? & FLAG_TIMED != 0,
                frame_no: cursor.u32("frame number")?,
                items: cursor.u32("item count")?,
                runs: cursor,
            })),
            kind::LARGE_WORK => {
                let large = LargeWork {
                    timed: cursor.u8("flags")? & FLAG_TIMED != 0,
                    frame_no: cursor.u32("frame number")?,
                    run: take_run(&mut cursor)?,
                    total: cursor.u32("total length")?,
                    place: Some(cursor.u64("place")?).filter(|place| *place != PLACE_NONE),
                };
                cursor.expect_end()?;
                Ok(ToWorker::LargeWork(large))
            }
            kind::PART => Ok(ToWorker::Part(cursor.rest())),
            kind::STOP => {
                cursor.expect_end()?;
                Ok(ToWorker::Stop)
            }
            kind => Err(WireError::UnknownKind { kind }),
        }
    }
}

/// The head of one large item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LargeWork {
    pub(crate) timed: bool,
    pub(crate) frame_no: u32,
    pub(crate) run: Run,
    /// Length of its arguments.
    pub(crate) total: u32,
    /// Where they lie in the arena; `None`: they follow in parts.
    pub(crate) place: Option<u64>,
}

/// A `Work` frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkView<'a> {
    pub(crate) timed: bool,
    pub(crate) frame_no: u32,
    /// How many items the frame says it has. [`items`](WorkView::items) stops with an error where it has not.
    pub(crate) items: u32,
    runs: Cursor<'a>,
}

impl<'a> WorkView<'a> {
    /// The items in order. Nothing follows an error.
    pub(crate) fn items(&self) -> Items<'a> {
        Items { cursor: self.runs, run: None, left: self.items }
    }
}

/// Iterator over the items of a `Work` frame.
#[derive(Clone, Debug)]
pub(crate) struct Items<'a> {
    cursor: Cursor<'a>,
    run: Option<(Run, u32)>,
    left: u32,
}

impl<'a> Items<'a> {
    fn take(&mut self) -> Result<Option<Item<'a>>, WireError> {
        loop {
            match self.run {
                Some((_, 0)) => self.run = None,
                Some((run, items)) => {
                    let payload = self.cursor.prefixed("item")?;
                    self.left = self
                        .left
                        .checked_sub(1)
                        .ok_or(WireError::Inconsistent { what: "runs have more items" })?;
                    let next = Run { first: run.first.wrapping_add(1), ..run };
                    self.run = Some((next, items - 1));
                    return Ok(Some(Item { run, payload }));
                }
                None if self.cursor.is_empty() && self.left == 0 => return Ok(None),
                None if self.cursor.is_empty() => {
                    return Err(WireError::Inconsistent { what: "runs have fewer items" });
                }
                None => {
                    let run = take_run(&mut self.cursor)?;
                    self.run = Some((run, self.cursor.u32("run's item count")?));
                }
            }
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        let taken = self.take();
        if taken.is_err() {
            *self = Items { cursor: Cursor::new(&[]), run: None, left: 0 };
        }
        taken.transpose()
    }
}

fn take_run(cursor: &mut Cursor<'_>) -> Result<Run, WireError> {
    Ok(Run {
        task: cursor.u32("task")?,
        first: cursor.u64("first item")?,
        attempt: cursor.u32("attempt")?,
        timeout_ns: cursor.u64("time limit")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::noise::hammer;
    use super::*;

    const RUN: Run = Run { task: 7, first: 40, attempt: 1, timeout_ns: 0 };

    fn two_runs() -> Vec<u8> {
        let mut out = b"what was there before".to_vec();
        let mut builder = WorkBuilder::begin(&mut out, 9, true);
        builder.run(&RUN);
        builder.push(b"one");
        builder.push(b"");
        builder.run(&Run { task: 8, first: 0, attempt: 2, timeout_ns: 5 });
        builder.push(b"three");
        assert_eq!(builder.finish(), 3);
        out
    }

    fn walk(bytes: &[u8]) {
        if let Ok(ToWorker::Work(view)) = ToWorker::parse(bytes) {
            // Every item takes at least its header, so the walk is bounded by the bytes, not by the claimed count.
            assert!(view.items().count() <= bytes.len());
        }
    }

    #[test]
    fn work_comes_back_as_it_was_written() {
        let bytes = two_runs();
        let ToWorker::Work(view) = ToWorker::parse(&bytes).unwrap() else { panic!("not a work frame") };
        assert_eq!((view.frame_no, view.items, view.timed), (9, 3, true));
        let items: Vec<_> = view.items().map(Result::unwrap).collect();
        assert_eq!(
            items,
            [
                Item { run: RUN, payload: b"one" },
                Item { run: Run { first: 41, ..RUN }, payload: b"" },
                Item { run: Run { task: 8, first: 0, attempt: 2, timeout_ns: 5 }, payload: b"three" },
            ]
        );
    }

    #[test]
    fn the_largest_item_fills_a_frame_exactly() {
        let mut out = Vec::new();
        let mut builder = WorkBuilder::begin(&mut out, 0, false);
        builder.run(&RUN);
        builder.push(&vec![1; WORK_BYTES_MAX - RUN_HEADER_BYTES - ITEM_HEADER_BYTES]);
        builder.finish();
        assert_eq!(out.len(), FRAME_BYTES_MAX);
    }

    #[test]
    fn counts_that_disagree_are_errors() {
        let mut more = two_runs();
        more[6] = 2;
        let mut fewer = two_runs();
        fewer[6] = 4;
        for bytes in [more, fewer] {
            let ToWorker::Work(view) = ToWorker::parse(&bytes).unwrap() else { panic!("not a work frame") };
            let read: Vec<_> = view.items().collect();
            assert!(matches!(read.last(), Some(Err(WireError::Inconsistent { .. }))), "{read:?}");
        }
    }

    #[test]
    fn large_work_and_stop_come_back() {
        let mut out = Vec::new();
        for place in [None, Some(0), Some(4096)] {
            large_work(&mut out, 3, true, &RUN, 1 << 20, place).unwrap();
            let ToWorker::LargeWork(large) = ToWorker::parse(&out).unwrap() else { panic!("not large work") };
            assert_eq!(large, LargeWork { timed: true, frame_no: 3, run: RUN, total: 1 << 20, place });
        }
        stop(&mut out);
        assert!(matches!(ToWorker::parse(&out), Ok(ToWorker::Stop)));
        out.push(0);
        assert!(ToWorker::parse(&out).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_panic() {
        hammer(&two_runs(), walk);
        let mut large = Vec::new();
        large_work(&mut large, 3, false, &RUN, 9, Some(1)).unwrap();
        hammer(&large, walk);
        assert_eq!(ToWorker::parse(&[]).unwrap_err(), WireError::Truncated { what: "kind" });
        assert_eq!(ToWorker::parse(&[99]).unwrap_err(), WireError::UnknownKind { kind: 99 });
    }
}
