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
mod tests;
