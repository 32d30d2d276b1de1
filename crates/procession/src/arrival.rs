//! Outcomes on their way to the caller, still encoded: batches of consecutive items of one job.
//!
//! The driver makes them; the caller's own thread takes them apart and decodes them.

use std::sync::Arc;

use crate::buffer::Buffer;
use crate::coding::{Decode, undecodable};
use crate::error::{Error, ErrorKind};
use crate::registry::TaskInfo;
use crate::wire::{self, PanicReport, Record, Status};

/// A batch of outcomes of consecutive items.
pub(crate) enum Arrival {
    /// Replies of a worker, still encoded.
    Replies { first: u64, items: u32, attempt: u32, records: Records },
    /// One short value by itself. `None`: it was taken.
    Short { first: u64, attempt: u32, value: Option<Short> },
    /// One reply that is too large to be among others. `None`: it was taken.
    Large { first: u64, attempt: u32, outcome: Option<Large> },
    /// Items that ended without a reply, or whose outcome is the same error.
    Failed { first: u64, items: u64, error: Error },
}

/// Encoded reply records, a part of a reply that other jobs may have parts of as well.
pub(crate) struct Records {
    buffer: Arc<[u8]>,
    /// The length of each, if all are values of one length; else 0.
    each: usize,
    start: usize,
    end: usize,
}

/// A value that is copied sooner than its reply is shared: the count of a reply's owners would go to and fro between the
/// cores for each of them, and one handle that is kept would keep the whole reply.
pub(crate) struct Short {
    len: u8,
    bytes: [u8; SHORT_BYTES_MAX],
}

/// As much as the other kinds of arrivals take: no call's outcome grows by it.
const SHORT_BYTES_MAX: usize = 40;

const _: () = assert!(size_of::<Arrival>() == size_of::<Records>() + 24);

/// A large reply.
pub(crate) struct Large {
    pub(crate) status: Status,
    pub(crate) payload: Buffer,
}

impl Arrival {
    /// The reply to the only item of a call. `share` makes it a part of its frame.
    pub(crate) fn single(
        attempt: u32,
        mut record: wire::Records<'_>,
        share: impl FnOnce() -> Records,
    ) -> Arrival {
        match Short::new(record.take()) {
            Some(value) => Arrival::Short { first: 0, attempt, value: Some(value) },
            None => Arrival::Replies { first: 0, items: 1, attempt, records: share() },
        }
    }

    pub(crate) fn first(&self) -> u64 {
        match self {
            Arrival::Replies { first, .. }
            | Arrival::Short { first, .. }
            | Arrival::Large { first, .. }
            | Arrival::Failed { first, .. } => *first,
        }
    }

    pub(crate) fn items(&self) -> u64 {
        match self {
            Arrival::Replies { items, .. } => u64::from(*items),
            Arrival::Short { value, .. } => u64::from(value.is_some()),
            Arrival::Large { outcome, .. } => u64::from(outcome.is_some()),
            Arrival::Failed { items, .. } => *items,
        }
    }

    /// How often its items were started.
    pub(crate) fn attempts(&self) -> u32 {
        match self {
            Arrival::Replies { attempt, .. }
            | Arrival::Short { attempt, .. }
            | Arrival::Large { attempt, .. } => *attempt,
            Arrival::Failed { error, .. } => error.attempts(),
        }
    }

    /// Takes the first outcome off, decoding its value in place. `position` counts the bytes of records taken so far.
    #[inline]
    pub(crate) fn take_first<R>(
        &mut self,
        task: &'static TaskInfo,
        position: &mut usize,
        decode: impl FnOnce(&[u8]) -> Result<R, Error>,
    ) -> Option<(u64, Result<R, Error>)> {
        match self {
            Arrival::Replies { first, items, attempt, records } => {
                if *items == 0 {
                    return None;
                }
                let index = *first;
                let record = records.record_at(position);
                *first += 1;
                *items -= 1;
                Some((index, value_of(record, task, index, *attempt, decode)))
            }
            Arrival::Short { first, attempt, value } => {
                let value = value.take()?;
                let index = *first;
                *first += 1;
                let outcome = decode(&value.bytes[..usize::from(value.len)]);
                Some((index, outcome.map_err(|error| error.of_item(task, index, *attempt))))
            }
            Arrival::Large { first, attempt, outcome } => {
                let Large { status, payload } = outcome.take()?;
                let index = *first;
                *first += 1;
                let record = Record { status, payload: &payload };
                Some((index, value_of(record, task, index, *attempt, decode)))
            }
            Arrival::Failed { first, items, error } => {
                if *items == 0 {
                    return None;
                }
                let index = *first;
                *first += 1;
                *items -= 1;
                let attempts = error.attempts();
                Some((index, Err(error.duplicate().of_item(task, index, attempts))))
            }
        }
    }
}

impl Arrival {
    /// Takes the values that are left and puts them behind those in `values`, or fails with the first item that has
    /// none.
    pub(crate) fn take_values<R>(
        &mut self,
        task: &'static TaskInfo,
        position: &mut usize,
        decode: Decode<R>,
        values: &mut Vec<R>,
    ) -> Result<(), Error> {
        if let Arrival::Replies { first, items, attempt, records } = self
            && records.each > 0
        {
            let (before, rest) = (values.len(), records.rest(*position));
            let decoded = (decode.many)(rest.each, rest.bytes, values);
            (*items, *position) = (0, *position + rest.bytes.len());
            let failed = *first + (values.len() - before) as u64;
            return decoded.map_err(|error| undecodable(&error).of_item(task, failed, *attempt));
        }
        while let Some((_, outcome)) =
            self.take_first(task, position, |bytes| (decode.one)(bytes).map_err(|error| undecodable(&error)))
        {
            values.push(outcome?);
        }
        Ok(())
    }
}

impl Short {
    fn new(Record { status, payload }: Record<'_>) -> Option<Short> {
        let mut bytes = [0; SHORT_BYTES_MAX];
        let place = bytes.get_mut(..payload.len()).filter(|_| status == Status::Ok)?;
        place.copy_from_slice(payload);
        Some(Short { len: payload.len() as u8, bytes })
    }
}

impl Records {
    pub(crate) fn new(buffer: Arc<[u8]>, each: usize, start: usize, end: usize) -> Records {
        Records { buffer, each, start, end }
    }

    #[inline]
    fn rest(&self, position: usize) -> wire::Records<'_> {
        wire::Records { each: self.each, bytes: &self.buffer[self.start + position..self.end] }
    }

    #[inline]
    fn record_at(&self, position: &mut usize) -> Record<'_> {
        let mut rest = self.rest(*position);
        let before = rest.bytes.len();
        let record = rest.take();
        *position += before - rest.bytes.len();
        record
    }
}

/// What a worker says of an item that has no value.
fn fault(status: Status, payload: &[u8]) -> Error {
    let text = || String::from_utf8_lossy(payload).into_owned();
    match status {
        Status::Panicked => match PanicReport::decode(payload) {
            Ok(report) => Error::panicked(report.message, &report.location, report.stack),
            Err(error) => Error::new(ErrorKind::Decode, format!("the report of a panic: {error}")),
        },
        Status::DecodeArgs => Error::new(ErrorKind::Decode, text()),
        Status::EncodeResult => Error::new(ErrorKind::Encode, text()),
        Status::UnknownTask => Error::new(ErrorKind::UnknownTask, text()),
        Status::TooLarge => Error::new(ErrorKind::TooLarge, text()),
        Status::Ok => unreachable!("a value is no fault"),
    }
}

#[inline]
fn value_of<R>(
    record: Record<'_>,
    task: &'static TaskInfo,
    index: u64,
    attempt: u32,
    decode: impl FnOnce(&[u8]) -> Result<R, Error>,
) -> Result<R, Error> {
    match record {
        Record { status: Status::Ok, payload } => decode(payload),
        Record { status, payload } => Err(fault(status, payload)),
    }
    .map_err(|error| error.of_item(task, index, attempt))
}
