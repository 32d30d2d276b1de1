//! Arguments larger than a frame for which the arena has no room, cut into parts and put together again.
//!
//! ```text
//! Part  kind  bytes…
//! ```
//! The head (`LargeWork`) announces the total; parts of [`PART_BYTES_MAX`] follow it directly, the last
//! one shorter. Memory grows with the bytes that arrived, never with the total that was claimed.

use super::{PAYLOAD_BYTES_MAX, WireError, kind};

/// Most bytes of payload in one part.
pub(crate) const PART_BYTES_MAX: usize = 48 * 1024;

/// A payload is over [`PAYLOAD_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "value encodes to {len} bytes, over the limit of {PAYLOAD_BYTES_MAX}: pass it in several items or as a file"
)]
pub(crate) struct TooLarge {
    /// Its length.
    pub(crate) len: usize,
}

pub(super) fn checked_total(len: usize) -> Result<u32, TooLarge> {
    u32::try_from(len).map_err(|_| TooLarge { len })
}

/// Cuts a large payload.
#[cfg(test)]
pub(crate) fn parts(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    payload.chunks(PART_BYTES_MAX)
}

/// Writes one part. Replaces what the buffer held.
pub(crate) fn part(out: &mut Vec<u8>, bytes: &[u8]) {
    assert!(bytes.len() <= PART_BYTES_MAX, "a part of {} bytes does not fit a frame", bytes.len());
    out.clear();
    out.push(kind::PART);
    out.extend_from_slice(bytes);
}

/// Puts parts together.
#[derive(Debug)]
pub(crate) struct PartAssembler {
    total: usize,
    bytes: Vec<u8>,
}

impl PartAssembler {
    /// Expects `total` bytes.
    pub(crate) fn new(total: u32) -> PartAssembler {
        PartAssembler { total: total as usize, bytes: Vec::new() }
    }

    /// Takes the next part. True: that was the last.
    pub(crate) fn push(&mut self, part: &[u8]) -> Result<bool, WireError> {
        let left = self.total - self.bytes.len();
        if part.is_empty() && left != 0 {
            return Err(WireError::Inconsistent { what: "a part is empty" });
        }
        if part.len() > left {
            return Err(WireError::Inconsistent { what: "parts exceed the announced total" });
        }
        self.bytes.extend_from_slice(part);
        Ok(self.is_complete())
    }

    /// Whether everything announced has arrived. A payload of no bytes is complete from the start.
    pub(crate) fn is_complete(&self) -> bool {
        self.bytes.len() == self.total
    }

    /// The payload.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FRAME_BYTES_MAX, ToWorker};
    use super::*;

    #[test]
    fn parts_come_back_whole_and_no_frame_is_over_the_limit() {
        let payload: Vec<u8> = (0..200_000_u32).map(|i| i as u8).collect();
        let mut assembler = PartAssembler::new(payload.len() as u32);
        let mut frame = Vec::new();
        let mut complete = false;
        for bytes in parts(&payload) {
            assert!(!complete);
            part(&mut frame, bytes);
            assert!(frame.len() <= FRAME_BYTES_MAX);
            let ToWorker::Part(bytes) = ToWorker::parse(&frame).unwrap() else { panic!("not a part") };
            complete = assembler.push(bytes).unwrap();
        }
        assert!(complete);
        assert_eq!(assembler.into_bytes(), payload);
    }

    #[test]
    fn a_total_is_a_claim_and_allocates_nothing() {
        let mut assembler = PartAssembler::new(u32::MAX);
        assert_eq!(assembler.bytes.capacity(), 0);
        assert!(!assembler.push(b"abc").unwrap());
        assert!(assembler.bytes.capacity() < 1024);
        assert_eq!(assembler.bytes, b"abc");
        assert!(assembler.push(b"").is_err());
        let mut assembler = PartAssembler::new(2);
        assert!(assembler.push(b"abc").is_err());
        assert!(PartAssembler::new(0).is_complete());
    }

    #[test]
    fn totals_beyond_the_limit_are_refused() {
        assert_eq!(checked_total(PAYLOAD_BYTES_MAX as usize), Ok(u32::MAX));
        let over = PAYLOAD_BYTES_MAX as usize + 1;
        assert_eq!(checked_total(over), Err(TooLarge { len: over }));
    }
}
