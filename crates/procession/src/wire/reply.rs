//! Frames from a worker to the master: outcomes of items, and what else a worker has to say.
//!
//! ```text
//! SettingUp    kind  step u8           what it runs before it is ready: 0 preload, 1 initializer
//! Ready        kind  fingerprint u64
//! InitFailed   kind  message…
//! Results      kind  frame_no u32  first u32  items u32  busy_ns u64  each u32  usage  records
//! records      each > 0: values of so many bytes     each = 0: (status u8  len u32  payload)…
//! LargeResult  kind  frame_no u32  offset u32  busy_ns u64  status u8  total u32  usage
//! usage        cpu_ns u64  peak_rss_kib u32       zero where the work frame does not ask for it
//! Piece        kind  len u32           of the large result, in the window; 0: there will be more
//! PartTaken    kind
//! FrameDone    kind  frame_no u32      said only of a frame of which something was taken back
//! Goodbye      kind        sent by the master itself, through its own copy of the sending end
//! Nudge        kind        likewise; it says nothing
//! ```
//! `first` and `offset` are positions within the `Work` frame that the items came in.

use super::cursor::{Cursor, WireError};
use super::part::{TooLarge, checked_total};
use super::usage::{USAGE_BYTES, Usage};
use super::{FRAME_BYTES_MAX, kind};

/// Bytes before the first record of a `Results` frame.
pub(crate) const RESULTS_HEADER_BYTES: usize = 1 + 4 + 4 + 4 + 8 + 4 + USAGE_BYTES;

/// Bytes before the payload of a record, where records are not values of one length.
pub(crate) const RECORD_HEADER_BYTES: usize = 1 + 4;

/// Longest message of `InitFailed`; the rest is cut off.
const INIT_MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// How an item ended in its worker, and what its payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    /// The encoded result.
    Ok = 0,
    /// A [`PanicReport`](super::PanicReport).
    Panicked = 1,
    /// Text: the arguments did not decode.
    DecodeArgs = 2,
    /// Text: the result did not encode.
    EncodeResult = 3,
    /// Text: this worker's program has no such task.
    UnknownTask = 4,
    /// Text: the result is over the limit.
    TooLarge = 5,
}

impl Status {
    fn parse(byte: u8) -> Result<Status, WireError> {
        match byte {
            0 => Ok(Status::Ok),
            1 => Ok(Status::Panicked),
            2 => Ok(Status::DecodeArgs),
            3 => Ok(Status::EncodeResult),
            4 => Ok(Status::UnknownTask),
            5 => Ok(Status::TooLarge),
            _ => Err(WireError::Inconsistent { what: "a record's status is unknown" }),
        }
    }
}

/// Writes `SettingUp`. Replaces what the buffer held, as every writer here does.
pub(crate) fn setting_up(out: &mut Vec<u8>, step: u8) {
    out.clear();
    out.extend_from_slice(&[kind::SETTING_UP, step]);
}

/// Writes `Ready`.
pub(crate) fn ready(out: &mut Vec<u8>, fingerprint: u64) {
    out.clear();
    out.push(kind::READY);
    out.extend_from_slice(&fingerprint.to_le_bytes());
}

/// Writes `InitFailed`.
pub(crate) fn init_failed(out: &mut Vec<u8>, message: &str) {
    out.clear();
    out.push(kind::INIT_FAILED);
    out.extend_from_slice(&message.as_bytes()[..message.floor_char_boundary(INIT_MESSAGE_BYTES_MAX)]);
}

/// Writes `Piece`: so much more of the large result is in the window.
pub(crate) fn piece(out: &mut Vec<u8>, len: u32) {
    out.clear();
    out.push(kind::PIECE);
    out.extend_from_slice(&len.to_le_bytes());
}

/// Writes `PartTaken`: the credit of one part returns.
pub(crate) fn part_taken(out: &mut Vec<u8>) {
    out.clear();
    out.push(kind::PART_TAKEN);
}

/// Writes `FrameDone`: the worker is past a frame of which it found items taken back.
pub(crate) fn frame_done(out: &mut Vec<u8>, frame_no: u32) {
    out.clear();
    out.push(kind::FRAME_DONE);
    out.extend_from_slice(&frame_no.to_le_bytes());
}

/// Writes `Goodbye`: the process is dead, and nothing it sent can follow.
pub(crate) fn goodbye(out: &mut Vec<u8>) {
    out.clear();
    out.push(kind::GOODBYE);
}

/// Writes `Nudge`: it wakes whoever receives.
pub(crate) fn nudge(out: &mut Vec<u8>) {
    out.clear();
    out.push(kind::NUDGE);
}

/// Writes the head of a result that is too large for a `Results` frame; pieces follow.
pub(crate) fn large_result(out: &mut Vec<u8>, head: &LargeResult) {
    out.clear();
    out.push(kind::LARGE_RESULT);
    out.extend_from_slice(&head.frame_no.to_le_bytes());
    out.extend_from_slice(&head.offset.to_le_bytes());
    out.extend_from_slice(&head.busy_ns.to_le_bytes());
    out.push(head.status as u8);
    out.extend_from_slice(&head.total.to_le_bytes());
    out.extend_from_slice(&head.usage.to_bytes());
}

/// What precedes the records of a `Results` frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResultsHeader {
    pub(crate) frame_no: u32,
    /// Position of the first record's item within its `Work` frame.
    pub(crate) first: u32,
    pub(crate) items: u32,
    /// Time spent on these items.
    pub(crate) busy_ns: u64,
    /// The length of each record, if all are values of one length; 0: each says what it is.
    pub(crate) each: u32,
    pub(crate) usage: Usage,
}

/// Writes a `Results` header to the front of `area`.
///
/// # Panics
/// If the area is shorter than [`RESULTS_HEADER_BYTES`].
pub(crate) fn put_results_header(area: &mut [u8], header: &ResultsHeader) {
    area[0] = kind::RESULTS;
    area[1..5].copy_from_slice(&header.frame_no.to_le_bytes());
    area[5..9].copy_from_slice(&header.first.to_le_bytes());
    area[9..13].copy_from_slice(&header.items.to_le_bytes());
    area[13..21].copy_from_slice(&header.busy_ns.to_le_bytes());
    area[21..25].copy_from_slice(&header.each.to_le_bytes());
    area[25..RESULTS_HEADER_BYTES].copy_from_slice(&header.usage.to_bytes());
}

/// Writes one record at `area[at..]` and returns where it ends, or `None` if it does not fit.
pub(crate) fn put_record(area: &mut [u8], at: usize, status: Status, payload: &[u8]) -> Option<usize> {
    let record = area.get_mut(at..at + RECORD_HEADER_BYTES + payload.len())?;
    record[0] = status as u8;
    record[1..RECORD_HEADER_BYTES].copy_from_slice(&u32::try_from(payload.len()).ok()?.to_le_bytes());
    record[RECORD_HEADER_BYTES..].copy_from_slice(payload);
    Some(at + RECORD_HEADER_BYTES + payload.len())
}

/// Writes what precedes the payload of a record, before a payload that is there already.
///
/// # Panics
/// If `area` is shorter.
#[inline]
pub(crate) fn put_record_header(area: &mut [u8], status: Status, payload_len: usize) {
    area[0] = status as u8;
    area[1..RECORD_HEADER_BYTES].copy_from_slice(&(payload_len as u32).to_le_bytes());
}

/// Makes an unsent `Results` frame, found in a dead worker's memory, well-formed: counts its records anew.
///
/// Only whole records count, since the worker publishes a length after the record is complete. `None`: not a `Results`
/// frame, no record in it, or damaged.
pub(crate) fn seal_results(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let mut cursor = Cursor::new(bytes.get(RESULTS_HEADER_BYTES..)?);
    let each = Cursor::new(&bytes[21..]).u32("record length").ok()?;
    let items = match each as usize {
        0 => {
            let mut items = 0_u32;
            while !cursor.is_empty() {
                take_record(&mut cursor).ok()?;
                items += 1;
            }
            items
        }
        each if cursor.rest().len().is_multiple_of(each) => (cursor.rest().len() / each) as u32,
        _ => return None,
    };
    if bytes[0] != kind::RESULTS || items == 0 || bytes.len() > FRAME_BYTES_MAX {
        return None;
    }
    bytes[9..13].copy_from_slice(&items.to_le_bytes());
    Some(bytes)
}

/// A frame that the master received.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ToMaster<'a> {
    /// The worker begins the preload or its initializer.
    SettingUp {
        step: u8,
    },
    /// The worker takes work from now on.
    Ready {
        fingerprint: u64,
    },
    /// The worker could not prepare itself; it exits. Not necessarily UTF-8.
    InitFailed {
        message: &'a [u8],
    },
    /// Outcomes.
    Results(ResultsView<'a>),
    /// An outcome whose payload passes through the window.
    LargeResult(LargeResult),
    /// So much more of the large result is in the window.
    Piece {
        len: u32,
    },
    /// The credit of one part returns.
    PartTaken,
    /// The worker is past a frame of which it found items taken back.
    FrameDone {
        frame_no: u32,
    },
    /// Nothing more comes: the process is dead.
    Goodbye,
    Nudge,
}

impl<'a> ToMaster<'a> {
    /// Reads and checks a whole frame.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<ToMaster<'a>, WireError> {
        let mut cursor = Cursor::new(bytes);
        let frame = match cursor.u8("kind")? {
            kind::SETTING_UP => ToMaster::SettingUp { step: cursor.u8("step")? },
            kind::READY => ToMaster::Ready { fingerprint: cursor.u64("fingerprint")? },
            kind::INIT_FAILED => {
                return Ok(ToMaster::InitFailed { message: cursor.rest() });
            }
            kind::RESULTS => return Ok(ToMaster::Results(ResultsView::parse(cursor)?)),
            kind::LARGE_RESULT => ToMaster::LargeResult(LargeResult {
                frame_no: cursor.u32("frame number")?,
                offset: cursor.u32("offset")?,
                busy_ns: cursor.u64("busy time")?,
                status: Status::parse(cursor.u8("status")?)?,
                total: cursor.u32("total length")?,
                usage: Usage::take(&mut cursor)?,
            }),
            kind::PIECE => ToMaster::Piece { len: cursor.u32("length")? },
            kind::PART_TAKEN => ToMaster::PartTaken,
            kind::FRAME_DONE => ToMaster::FrameDone { frame_no: cursor.u32("frame number")? },
            kind::GOODBYE => ToMaster::Goodbye,
            kind::NUDGE => ToMaster::Nudge,
            kind => return Err(WireError::UnknownKind { kind }),
        };
        cursor.expect_end()?;
        Ok(frame)
    }
}

/// The head of a large result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LargeResult {
    pub(crate) frame_no: u32,
    /// Position of the item within its `Work` frame.
    pub(crate) offset: u32,
    pub(crate) busy_ns: u64,
    pub(crate) status: Status,
    /// Length of the payload.
    pub(crate) total: u32,
    pub(crate) usage: Usage,
}

impl LargeResult {
    /// The head for a payload of this length.
    pub(crate) fn new(
        frame_no: u32,
        offset: u32,
        busy_ns: u64,
        status: Status,
        payload_len: usize,
    ) -> Result<LargeResult, TooLarge> {
        let total = checked_total(payload_len)?;
        Ok(LargeResult { frame_no, offset, busy_ns, status, total, usage: Usage::default() })
    }
}

/// A `Results` frame whose records have been checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResultsView<'a> {
    pub(crate) header: ResultsHeader,
    records: Cursor<'a>,
}

/// The outcome of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) status: Status,
    pub(crate) payload: &'a [u8],
}

impl<'a> ResultsView<'a> {
    /// The encoded records, `header.items` of them.
    pub(crate) fn records(&self) -> Records<'a> {
        Records { each: self.header.each as usize, bytes: self.records.rest() }
    }

    fn parse(mut cursor: Cursor<'a>) -> Result<ResultsView<'a>, WireError> {
        let header = ResultsHeader {
            frame_no: cursor.u32("frame number")?,
            first: cursor.u32("first offset")?,
            items: cursor.u32("item count")?,
            busy_ns: cursor.u64("busy time")?,
            each: cursor.u32("record length")?,
            usage: Usage::take(&mut cursor)?,
        };
        let records = cursor;
        match header.each {
            0 => {
                for _ in 0..header.items {
                    take_record(&mut cursor)?;
                }
                cursor.expect_end()?;
            }
            each if cursor.rest().len() as u64 == u64::from(header.items) * u64::from(each) => {}
            _ => return Err(WireError::Inconsistent { what: "its records are not of the length it says" }),
        }
        Ok(ResultsView { header, records })
    }
}

/// Encoded records that were checked when they arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Records<'a> {
    /// The length of each, if all are values of one length; 0: each says what it is.
    pub(crate) each: usize,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Records<'a> {
    /// Takes the first one off.
    #[inline]
    pub(crate) fn take(&mut self) -> Record<'a> {
        let mut cursor = Cursor::new(self.bytes);
        let record = match self.each {
            0 => take_record(&mut cursor),
            each => cursor.bytes(each, "record").map(|payload| Record { status: Status::Ok, payload }),
        };
        self.bytes = cursor.rest();
        record.expect("records are checked when they arrive")
    }

    /// How many bytes the first `count` of them take.
    pub(crate) fn length_of(mut self, count: u64) -> usize {
        if self.each > 0 {
            return self.each * count as usize;
        }
        let whole = self.bytes.len();
        for _ in 0..count {
            self.take();
        }
        whole - self.bytes.len()
    }
}

fn take_record<'a>(cursor: &mut Cursor<'a>) -> Result<Record<'a>, WireError> {
    Ok(Record { status: Status::parse(cursor.u8("status")?)?, payload: cursor.prefixed("record")? })
}

#[cfg(test)]
mod tests {
    use super::super::noise::hammer;
    use super::*;

    const USAGE: Usage = Usage { cpu_ns: 70, peak_rss_kib: 9 };
    const HEADER: ResultsHeader =
        ResultsHeader { frame_no: 5, first: 2, items: 3, busy_ns: 77, each: 0, usage: USAGE };

    fn results(items: u32) -> Vec<u8> {
        let mut area = vec![0; 128];
        put_results_header(&mut area, &ResultsHeader { items, ..HEADER });
        let mut at = RESULTS_HEADER_BYTES;
        for (status, payload) in
            [(Status::Ok, &b"four"[..]), (Status::Ok, b""), (Status::EncodeResult, b"too odd")]
        {
            at = put_record(&mut area, at, status, payload).unwrap();
        }
        area.truncate(at);
        area
    }

    fn walk(bytes: &[u8]) {
        if let Ok(ToMaster::Results(view)) = ToMaster::parse(bytes) {
            let records = view.records();
            assert_eq!(records.length_of(u64::from(view.header.items)), records.bytes.len());
        }
        if let Some(sealed) = seal_results(bytes.to_vec()) {
            assert!(matches!(ToMaster::parse(&sealed), Ok(ToMaster::Results(_))));
        }
    }

    #[test]
    fn results_come_back_as_they_were_written() {
        let bytes = results(3);
        let ToMaster::Results(view) = ToMaster::parse(&bytes).unwrap() else { panic!("not results") };
        assert_eq!(view.header, HEADER);
        let mut records = view.records();
        let read: Vec<_> = (0..3).map(|_| records.take()).collect();
        assert_eq!(records.bytes, b"");
        assert_eq!(
            read,
            [
                Record { status: Status::Ok, payload: b"four" },
                Record { status: Status::Ok, payload: b"" },
                Record { status: Status::EncodeResult, payload: b"too odd" },
            ]
        );
    }

    fn uniform(items: u32) -> Vec<u8> {
        let mut area = vec![0; RESULTS_HEADER_BYTES];
        put_results_header(&mut area, &ResultsHeader { items, each: 2, ..HEADER });
        area.extend_from_slice(b"aabbcc");
        area
    }

    #[test]
    fn values_of_one_length_need_no_headers() {
        let bytes = uniform(3);
        let ToMaster::Results(view) = ToMaster::parse(&bytes).unwrap() else { panic!("not results") };
        let mut records = view.records();
        assert_eq!(records.length_of(2), 4);
        assert_eq!(records.take(), Record { status: Status::Ok, payload: b"aa" });
        for items in [0, 2, 4, u32::MAX] {
            assert!(ToMaster::parse(&uniform(items)).is_err(), "{items} items");
            let sealed = seal_results(uniform(items)).unwrap();
            let ToMaster::Results(view) = ToMaster::parse(&sealed).unwrap() else { panic!("not results") };
            assert_eq!(view.header, ResultsHeader { each: 2, ..HEADER });
        }
        let mut cut = uniform(3);
        cut.pop();
        assert!(ToMaster::parse(&cut).is_err());
        assert_eq!(seal_results(cut), None);
        hammer(&bytes, walk);
    }

    #[test]
    fn a_wrong_count_is_refused_and_sealing_corrects_it() {
        for items in [0, 2, 4, u32::MAX] {
            let bytes = results(items);
            assert!(ToMaster::parse(&bytes).is_err(), "{items} items");
            let sealed = seal_results(bytes).unwrap();
            let ToMaster::Results(view) = ToMaster::parse(&sealed).unwrap() else { panic!("not results") };
            assert_eq!(view.header, HEADER);
        }
        let mut cut = results(3);
        cut.pop();
        assert_eq!(seal_results(cut), None);
        assert_eq!(seal_results(results(3)[..RESULTS_HEADER_BYTES].to_vec()), None);
    }

    #[test]
    fn a_record_that_does_not_fit_leaves_the_area_alone() {
        let mut area = [9; 10];
        assert_eq!(put_record(&mut area, 2, Status::Ok, b"abcd"), None);
        assert_eq!(area, [9; 10]);
        assert_eq!(put_record(&mut area, 2, Status::Ok, b"abc"), Some(10));
    }

    #[test]
    fn small_frames_come_back() {
        let mut out = Vec::new();
        ready(&mut out, 0xfeed);
        assert!(matches!(ToMaster::parse(&out), Ok(ToMaster::Ready { fingerprint: 0xfeed })));
        hammer(&out, walk);
        setting_up(&mut out, 1);
        assert!(matches!(ToMaster::parse(&out), Ok(ToMaster::SettingUp { step: 1 })));
        init_failed(&mut out, "no such file");
        assert!(matches!(ToMaster::parse(&out), Ok(ToMaster::InitFailed { message: b"no such file" })));
        init_failed(&mut out, &"ä".repeat(100_000));
        assert!(out.len() <= FRAME_BYTES_MAX);
        piece(&mut out, 77);
        assert!(matches!(ToMaster::parse(&out), Ok(ToMaster::Piece { len: 77 })));
        hammer(&out, walk);
        part_taken(&mut out);
        assert!(matches!(ToMaster::parse(&out), Ok(ToMaster::PartTaken)));
        goodbye(&mut out);
        assert!(matches!(ToMaster::parse(&out), Ok(ToMaster::Goodbye)));
        nudge(&mut out);
        assert!(matches!(ToMaster::parse(&out), Ok(ToMaster::Nudge)));
        out.push(0);
        assert!(ToMaster::parse(&out).is_err());
        let head = LargeResult::new(1, 2, 3, Status::Ok, 4).unwrap();
        large_result(&mut out, &head);
        assert!(matches!(ToMaster::parse(&out), Ok(ToMaster::LargeResult(read)) if read == head));
        hammer(&out, walk);
    }

    #[test]
    fn any_bytes_are_read_without_panic() {
        hammer(&results(3), walk);
        assert!(ToMaster::parse(&[]).is_err());
        assert_eq!(ToMaster::parse(&[kind::STOP]).unwrap_err(), WireError::UnknownKind { kind: kind::STOP });
    }
}
