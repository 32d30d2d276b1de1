//! How values become bytes: the only file that knows bincode.
//!
//! Integers are fixed-width and little-endian, so a tuple is exactly its parts one after another, with no prefix.
//! Bytes from another process are never trusted: there is a size limit, and bytes left over are an error.
//! This file must not know tasks, frames or processes.

#[expect(unsafe_code, reason = "takes a value for the type it was found to be")]
mod bulk;
mod guard;
pub(crate) mod inside;
mod room;
mod sink;
mod strict;
#[cfg(test)]
mod tests;

use std::fmt;
use std::marker::PhantomData;

use bincode::config::{Configuration, Fixint, LittleEndian};
use bincode::error::{DecodeError, EncodeError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use guard::Guard;
pub(crate) use room::{Room, Written};
pub(crate) use sink::{Sink, Spill};
use strict::Strict;

/// Most bytes that one encoded value may have: 4 GiB − 1, because lengths travel as `u32`.
pub(crate) const PAYLOAD_BYTES_MAX: usize = u32::MAX as usize;

type Config = Configuration<LittleEndian, Fixint>;

/// Without the library's own limit, which counts every byte and halves the speed: the length of the input is checked
/// here, and `guard` keeps lengths inside the input from reserving anything.
const CONFIG: Config = bincode::config::standard().with_little_endian().with_fixed_int_encoding();

/// Appends the encoding of `value` to `out`. On failure `out` is left as it was.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    encode_within(value, &mut Sink::new(out), PAYLOAD_BYTES_MAX)
}

/// Appends the encoding of `value`. On failure the sink is left as it was.
pub(crate) fn encode_into<T: Serialize + ?Sized>(value: &T, sink: &mut Sink<'_>) -> Result<(), CodecError> {
    encode_within(value, sink, PAYLOAD_BYTES_MAX)
}

/// Encodes `value` into `room`.
#[inline(always)]
pub(crate) fn encode_into_room<T: Serialize + ?Sized>(
    value: &T,
    mut room: Room<'_>,
) -> Result<Written, CodecError> {
    if let Some(bytes) = bulk::number_bytes(value) {
        return Ok(room.put_small(bytes));
    }
    match bincode::serde::encode_into_writer(Strict(value), &mut room, CONFIG) {
        Ok(()) => Ok(room.written()),
        Err(_) if room.has_overflowed() => Err(CodecError::TooLarge { limit: PAYLOAD_BYTES_MAX }),
        Err(error) => Err(CodecError::Encode(encode_reason(error))),
    }
}

/// Decodes a value that fills `bytes` exactly.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let mut rest = bytes;
    let value = decode_prefix(&mut rest)?;
    expect_end(rest)?;
    Ok(value)
}

/// Decodes values of `each` bytes (not 0), which fill `bytes` exactly, and appends them to `values`. On failure those
/// before the one that failed have been appended.
pub(crate) fn decode_many<T: DeserializeOwned>(
    each: usize,
    bytes: &[u8],
    values: &mut Vec<T>,
) -> Result<(), CodecError> {
    if each == size_of::<T>() && bulk::extend_numbers(values, bytes) {
        return Ok(());
    }
    values.reserve(bytes.len() / each);
    for bytes in bytes.chunks(each) {
        values.push(decode(bytes)?);
    }
    Ok(())
}

/// Decodes a value from the front of `bytes` and moves `bytes` past it. On failure `bytes` is left as it was.
#[inline]
pub(crate) fn decode_prefix<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, CodecError> {
    if bulk::is_number::<T>() {
        let (number, rest) = bulk::split_number(bytes).ok_or_else(too_short)?;
        *bytes = rest;
        return Ok(number);
    }
    if bytes.len() > PAYLOAD_BYTES_MAX {
        return Err(CodecError::TooLarge { limit: PAYLOAD_BYTES_MAX });
    }
    let seed = Guard::new(PhantomData::<T>, bytes.len());
    let (value, read) = bincode::serde::seed_decode_from_slice(seed, bytes, CONFIG)
        .map_err(|error| CodecError::Decode(decode_reason(error)))?;
    *bytes = &bytes[read..];
    Ok(value)
}

/// Refuses bytes that belong to no value.
#[inline]
pub(crate) fn expect_end(rest: &[u8]) -> Result<(), CodecError> {
    if rest.is_empty() { Ok(()) } else { Err(left_over(rest)) }
}

#[cold]
fn left_over(rest: &[u8]) -> CodecError {
    CodecError::Decode(format!("{} bytes are left over after the value", rest.len()))
}

#[cold]
fn too_short() -> CodecError {
    CodecError::Decode("the bytes end before the value does".to_owned())
}

#[inline]
fn encode_within<T: Serialize + ?Sized>(
    value: &T,
    sink: &mut Sink<'_>,
    limit: usize,
) -> Result<(), CodecError> {
    if let Some(bytes) = bulk::number_bytes(value)
        && bytes.len() <= limit
    {
        sink.put_small(bytes);
        return Ok(());
    }
    let mut writer = sink.writer(limit);
    let encoded = bincode::serde::encode_into_writer(Strict(value), &mut writer, CONFIG);
    let encoded = encoded.and_then(|()| writer.finish());
    encoded.map_err(|error| match writer.abandon() {
        true => CodecError::TooLarge { limit },
        false => CodecError::Encode(encode_reason(error)),
    })
}

#[cold]
fn encode_reason(error: EncodeError) -> String {
    match error {
        EncodeError::OtherString(reason) => reason,
        EncodeError::Serde(bincode::serde::EncodeError::SequenceMustHaveLength) => {
            "a sequence or map without a known length cannot be sent: collect it first".to_owned()
        }
        other => format!("{other:?}"),
    }
}

#[cold]
fn decode_reason(error: DecodeError) -> String {
    match error {
        DecodeError::OtherString(reason) => reason,
        DecodeError::UnexpectedEnd { .. } => "the bytes end before the value does".to_owned(),
        DecodeError::Serde(bincode::serde::DecodeError::AnyNotSupported) => {
            "its type asks what the bytes contain (an untagged or flattened type), and this encoding cannot say"
                .to_owned()
        }
        other => other.to_string(),
    }
}

/// Why a value could not be encoded or decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodecError {
    /// The value's own `Serialize` refused.
    Encode(String),
    /// The bytes are not a value of the expected type.
    Decode(String),
    /// The encoding would be larger than the limit.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodecError::Encode(reason) => write!(f, "value cannot be encoded: {reason}"),
            CodecError::Decode(reason) => write!(f, "value cannot be decoded: {reason}"),
            CodecError::TooLarge { limit } => {
                write!(
                    f,
                    "encoded value is larger than the limit of {limit} bytes: pass it in parts or as a file"
                )
            }
        }
    }
}

impl std::error::Error for CodecError {}
