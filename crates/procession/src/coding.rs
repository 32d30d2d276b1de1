//! How the items of a call are encoded and its outcomes decoded, compiled for their types: one call covers many items.
//!
//! It knows values and bytes; when they are wanted is the stream's business.

use serde::de::DeserializeOwned;

use crate::codec::{self, CodecError, Sink};
use crate::driver::Segment;
use crate::error::{Error, ErrorKind};
use crate::payload::Payload;
use crate::task::{Argument, TaskFn, TaskOutput};

/// Encoded items are handed over once they have so many bytes.
pub(crate) const BATCH_BYTES: usize = 256 << 10;

/// How input is encoded, and an output decoded.
pub(crate) struct Coding<I, R> {
    /// Takes up to so many items. See [`pull_items`].
    pub(crate) pull: fn(&mut I, u64, &mut Segment) -> Pulled,
    pub(crate) decode: Decode<R>,
}

impl<I: Iterator, R> Coding<I, R> {
    /// Of items that are an argument by themselves.
    pub(crate) fn typed() -> Coding<I, R>
    where
        I::Item: Argument,
        R: TaskOutput,
    {
        Coding {
            pull: |input, items, out| pull_items(input, items, out, codec::encode_into),
            decode: Decode::new(),
        }
    }

    /// Of items that are tuples of arguments.
    pub(crate) fn spread<F: TaskFn<Output = R>>() -> Coding<I, R>
    where
        I: Iterator<Item = F::Args>,
        R: TaskOutput,
    {
        Coding {
            pull: |input, items, out| pull_items(input, items, out, F::encode_args),
            decode: Decode::new(),
        }
    }
}

impl<I: Iterator<Item: Into<Option<Payload>>>> Coding<I, Payload> {
    /// Of items that are encoded already, and outcomes that stay so. None is an input that has nothing for now.
    pub(crate) fn encoded() -> Coding<I, Payload> {
        Coding {
            pull: |input, items, out| {
                for _ in 0..items {
                    if out.bytes() >= BATCH_BYTES {
                        break;
                    }
                    let Some(item) = input.next() else {
                        return Pulled::Exhausted;
                    };
                    let Some(payload): Option<Payload> = item.into() else {
                        return Pulled::NotYet;
                    };
                    if let Err(error) = out.push(|sink| sink.put(payload.as_bytes())) {
                        return Pulled::Unencodable(error);
                    }
                }
                Pulled::More
            },
            decode: Decode {
                one: |bytes| Ok(Payload::from(bytes.to_vec())),
                many: |each, bytes, payloads| {
                    payloads.extend(bytes.chunks(each).map(|bytes| Payload::from(bytes.to_vec())));
                    Ok(())
                },
            },
        }
    }
}

/// How values of one type are read.
pub(crate) struct Decode<R> {
    pub(crate) one: fn(&[u8]) -> Result<R, CodecError>,
    /// All in the bytes, which are values of so many bytes each. On an error those before it have been added.
    pub(crate) many: fn(usize, &[u8], &mut Vec<R>) -> Result<(), CodecError>,
}

impl<R> Clone for Decode<R> {
    fn clone(&self) -> Decode<R> {
        *self
    }
}

impl<R> Copy for Decode<R> {}

impl<R: DeserializeOwned> Decode<R> {
    pub(crate) fn new() -> Decode<R> {
        Decode { one: codec::decode, many: codec::decode_many }
    }
}

/// Why no more was pulled.
pub(crate) enum Pulled {
    /// It was enough.
    More,
    Exhausted,
    /// There is nothing for now.
    NotYet,
    Unencodable(CodecError),
}

/// Pulls up to so many items and encodes them. Compiled for the input's type: a call of it covers many items.
#[inline]
pub(crate) fn pull_items<I: Iterator>(
    input: &mut I,
    items: u64,
    segment: &mut Segment,
    encode: impl Fn(&I::Item, &mut Sink<'_>) -> Result<(), CodecError>,
) -> Pulled {
    for _ in 0..items {
        if segment.bytes() >= BATCH_BYTES {
            break;
        }
        let Some(item) = input.next() else {
            return Pulled::Exhausted;
        };
        if let Err(error) = segment.push(|sink| encode(&item, sink)) {
            return Pulled::Unencodable(error);
        }
    }
    Pulled::More
}

/// What an input that has no encoding gets.
pub(crate) fn arguments_error(error: &CodecError) -> Error {
    let kind = match error {
        CodecError::TooLarge { .. } => ErrorKind::TooLarge,
        CodecError::Encode(_) | CodecError::Decode(_) => ErrorKind::Encode,
    };
    Error::new(kind, format!("arguments: {error}"))
}

/// A result that its worker encoded and its caller cannot decode.
#[cold]
pub(crate) fn undecodable(error: &CodecError) -> Error {
    Error::new(ErrorKind::Decode, format!("result: {error}"))
}
