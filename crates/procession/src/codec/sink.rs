//! Where an encoding goes: a vector, and, once it is large, wherever the vector's owner would rather have it.

use bincode::enc::write::Writer;
use bincode::error::EncodeError;

use super::{CodecError, PAYLOAD_BYTES_MAX};

/// An encoding longer than this moves out of its vector, if there is a place for it.
const SPILL_BYTES: usize = 32 << 10;

/// A place for one large encoding.
pub(crate) trait Spill {
    /// Takes over an encoding that begins with `start` and `next`; `false`: there is no room.
    fn begin(&mut self, start: &[u8], next: &[u8]) -> bool;

    /// Appends to it; `false`: there is no room, and nothing has changed.
    fn extend(&mut self, bytes: &[u8]) -> bool;

    /// What it holds.
    fn bytes(&self) -> &[u8];

    /// Drops it.
    fn abandon(&mut self);
}

/// Where an encoding is appended.
pub struct Sink<'a> {
    out: &'a mut Vec<u8>,
    spill: Option<&'a mut dyn Spill>,
}

impl<'a> Sink<'a> {
    /// A vector, whatever the size.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Sink<'a> {
        Sink { out, spill: None }
    }

    /// A vector for what is small. What is large is in `spill` afterwards, and the vector as it was.
    pub(crate) fn with_spill(out: &'a mut Vec<u8>, spill: &'a mut dyn Spill) -> Sink<'a> {
        Sink { out, spill: Some(spill) }
    }

    /// Appends bytes that are encoded already; the error leaves the sink as it was.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.put_within(bytes, PAYLOAD_BYTES_MAX)
    }

    fn put_within(&mut self, bytes: &[u8], limit: usize) -> Result<(), CodecError> {
        if bytes.len() > limit {
            return Err(CodecError::TooLarge { limit });
        }
        let taken =
            bytes.len() > SPILL_BYTES && self.spill.as_mut().is_some_and(|spill| spill.begin(&[], bytes));
        if !taken {
            self.out.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// As [`put`](Sink::put), for what is far too small to move out.
    #[inline]
    pub(super) fn put_small(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn writer(&mut self, limit: usize) -> LimitedWriter<'_> {
        let start = self.out.len();
        let (most, spill) = match &mut self.spill {
            Some(spill) => (limit.min(SPILL_BYTES), Some(&mut **spill as &mut dyn Spill)),
            None => (limit, None),
        };
        let end = start.saturating_add(most);
        LimitedWriter { out: self.out, start, end, limit, spill, spilled: false, overflowed: false }
    }
}

/// Appends to a sink, up to a length. Refusing while writing keeps a value that is far too large from being built.
pub(super) struct LimitedWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    /// How long the vector may become before it has to be looked at closer.
    end: usize,
    /// How long the encoding may become.
    limit: usize,
    spill: Option<&'a mut dyn Spill>,
    /// The encoding is in `spill`, but for its last bytes, which collect in the vector until they are many.
    spilled: bool,
    overflowed: bool,
}

impl Writer for LimitedWriter<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        if bytes.len() > self.end - self.out.len() {
            return self.write_beyond(bytes);
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

impl LimitedWriter<'_> {
    /// The value is complete.
    pub(super) fn finish(&mut self) -> Result<(), EncodeError> {
        if self.spilled { self.write_beyond(&[]) } else { Ok(()) }
    }

    /// Leaves the sink as it was; says whether the value was too large.
    pub(super) fn abandon(&mut self) -> bool {
        self.out.truncate(self.start);
        if self.spilled
            && let Some(spill) = &mut self.spill
        {
            spill.abandon();
        }
        self.overflowed
    }

    #[cold]
    #[inline(never)]
    fn write_beyond(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let held = &self.out[self.start..];
        let spilled = match &self.spill {
            Some(spill) if self.spilled => spill.bytes().len(),
            Some(_) | None => 0,
        };
        if bytes.len() > self.limit.saturating_sub(spilled + held.len()) {
            self.overflowed = true;
            return Err(EncodeError::Other("too large"));
        }
        let Some(spill) = &mut self.spill else {
            unreachable!("without a spill the end is the limit");
        };
        let has_room = if self.spilled {
            // Each half by itself, so that a long vector is copied once.
            spill.extend(held) && {
                self.out.truncate(self.start);
                spill.extend(bytes)
            }
        } else {
            spill.begin(held, bytes)
        };
        if has_room {
            self.out.truncate(self.start);
            self.spilled = true;
            return Ok(());
        }
        // There is no room there: it stays here, and that is that.
        if self.spilled {
            let tail = self.out.split_off(self.start);
            self.out.extend_from_slice(spill.bytes());
            self.out.extend_from_slice(&tail);
            spill.abandon();
        }
        (self.spilled, self.spill, self.end) = (false, None, self.start.saturating_add(self.limit));
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{encode_into, encode_within};
    use super::*;

    /// A place of limited size.
    struct Place {
        bytes: Option<Vec<u8>>,
        room: usize,
    }

    impl Spill for Place {
        fn begin(&mut self, start: &[u8], next: &[u8]) -> bool {
            assert!(self.bytes.is_none(), "one encoding at a time");
            let bytes = [start, next].concat();
            let fits = bytes.len() <= self.room;
            self.bytes = fits.then_some(bytes);
            fits
        }

        fn extend(&mut self, bytes: &[u8]) -> bool {
            let held = self.bytes.as_mut().expect("it was begun");
            let fits = held.len() + bytes.len() <= self.room;
            if fits {
                held.extend_from_slice(bytes);
            }
            fits
        }

        fn bytes(&self) -> &[u8] {
            self.bytes.as_ref().expect("it was begun")
        }

        fn abandon(&mut self) {
            self.bytes = None;
        }
    }

    /// Encodes `value` behind two bytes, with that much room in the place: what is there and what is in the vector.
    fn spilled(value: &impl serde::Serialize, room: usize) -> (Option<Vec<u8>>, Vec<u8>) {
        let (mut out, mut place) = (vec![1, 2], Place { bytes: None, room });
        encode_into(value, &mut Sink::with_spill(&mut out, &mut place)).expect("the value encodes");
        assert_eq!(out[..2], [1, 2]);
        (place.bytes, out.split_off(2))
    }

    fn plain(value: &impl serde::Serialize) -> Vec<u8> {
        let mut out = Vec::new();
        super::super::encode(value, &mut out).expect("the value encodes");
        out
    }

    #[test]
    fn what_is_large_moves_and_what_is_small_stays() {
        for len in [0, 1, SPILL_BYTES - 9, SPILL_BYTES - 8] {
            let value = vec![7_u8; len];
            assert_eq!(spilled(&value, usize::MAX), (None, plain(&value)), "{len} bytes");
        }
        for len in [SPILL_BYTES - 7, SPILL_BYTES, 10 * SPILL_BYTES] {
            let value = vec![7_u8; len];
            assert_eq!(spilled(&value, usize::MAX), (Some(plain(&value)), vec![]), "{len} bytes");
        }
        let numbers: Vec<u64> = (0..50_000).collect();
        assert_eq!(spilled(&numbers, usize::MAX), (Some(plain(&numbers)), vec![]));
        let mixed = (1_u8, vec!["text".repeat(9); 3000], vec![9_u8; 100_000], (), 4_u32);
        assert_eq!(spilled(&mixed, usize::MAX), (Some(plain(&mixed)), vec![]));
    }

    #[test]
    fn without_room_it_stays_whole_in_the_vector() {
        let numbers: Vec<u64> = (0..50_000).collect();
        for room in [0, SPILL_BYTES, SPILL_BYTES + 100, 399_999] {
            assert_eq!(spilled(&numbers, room), (None, plain(&numbers)), "{room} bytes of room");
        }
    }

    /// Encodes much and then refuses.
    struct Refuses;

    impl serde::Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            use serde::ser::{Error, SerializeTuple};
            let mut tuple = to.serialize_tuple(2)?;
            tuple.serialize_element(&vec![1_u8; 100_000])?;
            Err(S::Error::custom("not today"))
        }
    }

    #[test]
    fn what_is_encoded_already_has_the_same_limit() {
        let (mut out, mut place) = (vec![1, 2], Place { bytes: None, room: usize::MAX });
        let limit = 2 * SPILL_BYTES;
        for (len, fits) in [(limit + 1, false), (limit, true)] {
            let mut sink = Sink::with_spill(&mut out, &mut place);
            let expected = if fits { Ok(()) } else { Err(CodecError::TooLarge { limit }) };
            assert_eq!(sink.put_within(&vec![3; len], limit), expected);
            assert_eq!((out.len(), place.bytes.as_ref().map(Vec::len)), (2, fits.then_some(len)));
        }
    }

    #[test]
    fn a_failure_leaves_nothing_in_either() {
        let (mut out, mut place) = (vec![1, 2], Place { bytes: None, room: usize::MAX });
        let mut sink = Sink::with_spill(&mut out, &mut place);
        assert!(encode_into(&Refuses, &mut sink).is_err());
        let limit = 2 * SPILL_BYTES;
        let numbers: Vec<u64> = (0..50_000).collect();
        assert_eq!(encode_within(&numbers, &mut sink, limit), Err(CodecError::TooLarge { limit }));
        assert_eq!(
            encode_within(&vec![0_u8; 100_000], &mut sink, limit),
            Err(CodecError::TooLarge { limit })
        );
        assert_eq!((out, place.bytes), (vec![1, 2], None));
    }
}
