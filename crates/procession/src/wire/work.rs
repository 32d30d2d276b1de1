//! Frames from the master to a worker: items to run, and the order to stop.
//!
//! A `Work` frame is a sequence of runs: consecutive items of one call with everything they have in common. The
//! worker answers by frame number and position, so it need not know jobs.
//!
//! ```text
//! Work       kind  flags u8  frame_no u32  items u32  runs…
//! run        task u32  first u64  attempt u32  timeout_ns u64  items u32  each u32  payloads
//! payloads   each > 0: items of so many bytes     each = 0: (len u32  payload)…
//! LargeWork  kind  flags u8  frame_no u32  task u32  first u64  attempt u32  timeout_ns u64  total u32  place u64
//! Stop       kind
//! ```
//! `place` is where the arguments lie in the arena; all ones: they follow in parts.

use super::cursor::{Cursor, WireError, put_prefixed};
use super::part::{TooLarge, checked_total};
use super::{FRAME_BYTES_MAX, kind};

const FLAG_TIMED: u8 = 1;
const FLAG_MEASURED: u8 = 2;
const WORK_HEADER_BYTES: usize = 1 + 1 + 4 + 4;
/// Bytes before the first item of a run.
pub(crate) const RUN_HEADER_BYTES: usize = RUN_BYTES + 4 + 4;
const RUN_BYTES: usize = 4 + 8 + 4 + 8;
/// Bytes before the arguments of an item, in a run whose items are not all of one length.
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

/// What is asked of the worker beside results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demands {
    /// The start of every item is to be stamped.
    pub(crate) timed: bool,
    /// Replies are to say what items used.
    pub(crate) measured: bool,
}

impl Demands {
    /// What a frame asks that has items of both.
    pub(crate) fn and(self, other: Demands) -> Demands {
        Demands { timed: self.timed || other.timed, measured: self.measured || other.measured }
    }

    fn to_byte(self) -> u8 {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        flag(self.timed, FLAG_TIMED) | flag(self.measured, FLAG_MEASURED)
    }

    fn take(cursor: &mut Cursor<'_>) -> Result<Demands, WireError> {
        let flags = cursor.u8("flags")?;
        Ok(Demands { timed: flags & FLAG_TIMED != 0, measured: flags & FLAG_MEASURED != 0 })
    }
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
    /// Starts a frame; what the buffer held is dropped.
    pub(crate) fn begin(out: &'a mut Vec<u8>, frame_no: u32, demands: Demands) -> WorkBuilder<'a> {
        out.clear();
        out.push(kind::WORK);
        out.push(demands.to_byte());
        out.extend_from_slice(&frame_no.to_le_bytes());
        out.extend_from_slice(&0_u32.to_le_bytes());
        WorkBuilder { out, items: 0, run: None }
    }

    /// Starts the next run: the items pushed from now on belong to it.
    pub(crate) fn run(&mut self, run: &Run) {
        self.close_run();
        put_run(self.out, run);
        self.run = Some(RunCount { at: self.out.len(), items: 0 });
        self.out.extend_from_slice(&[0; 8]);
    }

    /// Appends a whole run of items that are `each` bytes long, at least 1.
    ///
    /// # Panics
    /// If `payloads` is not made of such items, or does not fit.
    pub(crate) fn uniform_run(&mut self, run: &Run, each: usize, payloads: &[u8]) {
        self.close_run();
        assert!(payloads.len().is_multiple_of(each), "a run holds whole items");
        assert!(
            self.out.len() + RUN_HEADER_BYTES + payloads.len() <= FRAME_BYTES_MAX,
            "a run of {} bytes does not fit its frame",
            payloads.len()
        );
        let items = (payloads.len() / each) as u32;
        put_run(self.out, run);
        self.out.extend_from_slice(&items.to_le_bytes());
        self.out.extend_from_slice(&(each as u32).to_le_bytes());
        self.out.extend_from_slice(payloads);
        self.items += items;
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
    demands: Demands,
    run: &Run,
    payload_len: usize,
    place: Option<u64>,
) -> Result<(), TooLarge> {
    let total = checked_total(payload_len)?;
    out.clear();
    out.push(kind::LARGE_WORK);
    out.push(demands.to_byte());
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
                demands: Demands::take(&mut cursor)?,
                frame_no: cursor.u32("frame number")?,
                items: cursor.u32("item count")?,
                runs: cursor,
            })),
            kind::LARGE_WORK => {
                let large = LargeWork {
                    demands: Demands::take(&mut cursor)?,
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
    pub(crate) demands: Demands,
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
    pub(crate) demands: Demands,
    pub(crate) frame_no: u32,
    /// How many items the frame says it has.
    pub(crate) items: u32,
    runs: Cursor<'a>,
}

impl<'a> WorkView<'a> {
    /// The next run of the frame; `None`: it has no more. All payloads of the one before must have been taken.
    pub(crate) fn next_run(
        &mut self,
        before: Option<Payloads<'a>>,
    ) -> Result<Option<WorkRun<'a>>, WireError> {
        if let Some(payloads) = before {
            self.runs = payloads.cursor;
        }
        if self.runs.is_empty() {
            return Ok(None);
        }
        let run = take_run(&mut self.runs)?;
        let items = self.runs.u32("run's item count")?;
        let each = self.runs.u32("run's item length")? as usize;
        Ok(Some(WorkRun { run, items, payloads: Payloads { cursor: self.runs, each } }))
    }
}

/// A run of a `Work` frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkRun<'a> {
    pub(crate) run: Run,
    /// How many items it says it has: there may be fewer payloads.
    pub(crate) items: u32,
    pub(crate) payloads: Payloads<'a>,
}

/// The arguments of consecutive items.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payloads<'a> {
    cursor: Cursor<'a>,
    /// The length of each; 0: each says its own.
    each: usize,
}

impl<'a> Payloads<'a> {
    /// The length of each, if they are all of one length, and that not 0; else 0.
    #[inline]
    pub(crate) fn each(&self) -> usize {
        self.each
    }

    /// The arguments of the next item, where all are of one length. `None`: there are not so many bytes.
    #[inline]
    pub(crate) fn next_alike(&mut self) -> Option<&'a [u8]> {
        self.cursor.bytes(self.each, "item").ok()
    }

    /// The arguments of the next item.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<&'a [u8], WireError> {
        match self.each {
            0 => self.cursor.prefixed("item"),
            each => self.cursor.bytes(each, "item"),
        }
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

    const TIMED: Demands = Demands { timed: true, measured: false };
    const MEASURED: Demands = Demands { timed: false, measured: true };
    const RUN: Run = Run { task: 7, first: 40, attempt: 1, timeout_ns: 0 };

    fn two_runs() -> Vec<u8> {
        let mut out = b"what was there before".to_vec();
        let mut builder = WorkBuilder::begin(&mut out, 9, TIMED);
        builder.run(&RUN);
        builder.push(b"one");
        builder.push(b"");
        builder.uniform_run(&Run { first: 70, ..RUN }, 2, b"abcd");
        builder.run(&Run { task: 8, first: 0, attempt: 2, timeout_ns: 5 });
        builder.push(b"three");
        assert_eq!(builder.finish(), 5);
        out
    }

    fn read(bytes: &[u8]) -> Result<Vec<(Run, Vec<u8>)>, WireError> {
        let ToWorker::Work(mut view) = ToWorker::parse(bytes)? else { panic!("not a work frame") };
        let (mut all, mut before) = (Vec::new(), None);
        while let Some(WorkRun { run, items, mut payloads }) = view.next_run(before)? {
            for first in (run.first..).take(items as usize) {
                all.push((Run { first, ..run }, payloads.next()?.to_vec()));
            }
            before = Some(payloads);
        }
        Ok(all)
    }

    fn walk(bytes: &[u8]) {
        if bytes.first() == Some(&kind::WORK)
            && let Ok(items) = read(bytes)
        {
            // Every item takes some bytes, so the walk is bounded by them, not by the claimed count.
            assert!(items.len() <= bytes.len());
        }
    }

    #[test]
    fn work_comes_back_as_it_was_written() {
        let bytes = two_runs();
        let ToWorker::Work(view) = ToWorker::parse(&bytes).unwrap() else { panic!("not a work frame") };
        assert_eq!((view.frame_no, view.items, view.demands), (9, 5, TIMED));
        assert_eq!(
            read(&bytes).unwrap(),
            [
                (RUN, b"one".to_vec()),
                (Run { first: 41, ..RUN }, b"".to_vec()),
                (Run { first: 70, ..RUN }, b"ab".to_vec()),
                (Run { first: 71, ..RUN }, b"cd".to_vec()),
                (Run { task: 8, first: 0, attempt: 2, timeout_ns: 5 }, b"three".to_vec()),
            ]
        );
    }

    #[test]
    fn the_largest_item_fills_a_frame_exactly() {
        let mut out = Vec::new();
        let mut builder = WorkBuilder::begin(&mut out, 0, Demands::default());
        builder.run(&RUN);
        builder.push(&vec![1; WORK_BYTES_MAX - RUN_HEADER_BYTES - ITEM_HEADER_BYTES]);
        builder.finish();
        assert_eq!(out.len(), FRAME_BYTES_MAX);
    }

    #[test]
    fn a_run_of_equal_items_fills_a_frame_exactly() {
        let mut out = Vec::new();
        let mut builder = WorkBuilder::begin(&mut out, 0, Demands::default());
        let payloads = vec![3; (WORK_BYTES_MAX - RUN_HEADER_BYTES) / 8 * 8];
        builder.uniform_run(&RUN, 8, &payloads);
        assert_eq!(builder.finish() as usize, payloads.len() / 8);
        assert!(out.len() <= FRAME_BYTES_MAX);
    }

    #[test]
    fn items_that_are_not_there_are_errors() {
        let mut cut = two_runs();
        cut.pop();
        assert_eq!(read(&cut), Err(WireError::Truncated { what: "item" }));
        let mut counted = two_runs();
        counted[WORK_HEADER_BYTES + RUN_BYTES] = 200;
        assert!(read(&counted).is_err());
    }

    #[test]
    fn large_work_and_stop_come_back() {
        let mut out = Vec::new();
        for place in [None, Some(0), Some(4096)] {
            large_work(&mut out, 3, MEASURED, &RUN, 1 << 20, place).unwrap();
            let ToWorker::LargeWork(large) = ToWorker::parse(&out).unwrap() else { panic!("not large work") };
            let demands = MEASURED;
            assert_eq!(large, LargeWork { demands, frame_no: 3, run: RUN, total: 1 << 20, place });
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
        large_work(&mut large, 3, Demands::default(), &RUN, 9, Some(1)).unwrap();
        hammer(&large, walk);
        assert_eq!(ToWorker::parse(&[]).unwrap_err(), WireError::Truncated { what: "kind" });
        assert_eq!(ToWorker::parse(&[99]).unwrap_err(), WireError::UnknownKind { kind: 99 });
    }
}
