//! Reads numbers and slices off the front of bytes that nobody vouches for.
//!
//! A cursor knows no frame: it only never reads past the end, and says what was missing.

/// Why bytes are not the frame they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// The bytes end too early.
    #[error("frame ends within its {what}")]
    Truncated {
        /// The field that was being read.
        what: &'static str,
    },
    /// The first byte names no frame that travels in this direction.
    #[error("frame is of unknown kind {kind}")]
    UnknownKind {
        /// The first byte; 0 if there was none.
        kind: u8,
    },
    /// The bytes contradict each other.
    #[error("frame is inconsistent: {what}")]
    Inconsistent {
        /// What does not agree.
        what: &'static str,
    },
}

/// The part of a frame that has not been read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(super) fn bytes(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(WireError::Truncated { what })?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, WireError> {
        Ok(self.array::<1>(what)?[0])
    }

    #[inline]
    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// Bytes behind a `u32` length.
    #[inline]
    pub(super) fn prefixed(&mut self, what: &'static str) -> Result<&'a [u8], WireError> {
        let len = self.u32(what)? as usize;
        self.bytes(len, what)
    }

    pub(super) fn expect_end(&self) -> Result<(), WireError> {
        if self.is_empty() { Ok(()) } else { Err(WireError::Inconsistent { what: "bytes follow its end" }) }
    }

    #[inline]
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::Truncated { what })?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// Appends bytes behind their length as `u32`.
pub(super) fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("a length-prefixed part of a frame fits the frame");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
}
