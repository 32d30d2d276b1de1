//! Where an encoding goes when there is a place for it: into that place as far as it fits, else into a vector.

use bincode::enc::write::Writer;
use bincode::error::EncodeError;

use super::PAYLOAD_BYTES_MAX;

/// A place for one encoded value.
pub struct Room<'a> {
    place: &'a mut [u8],
    len: usize,
    aside: &'a mut Vec<u8>,
    is_aside: bool,
    overflowed: bool,
}

/// What became of a value's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its length in the place.
    pub(crate) len: usize,
    /// It was too large, and is in the vector.
    pub(crate) is_aside: bool,
}

impl<'a> Room<'a> {
    /// Writes to `place`; what is larger replaces what `aside` held.
    #[inline]
    pub(crate) fn new(place: &'a mut [u8], aside: &'a mut Vec<u8>) -> Room<'a> {
        Room { place, len: 0, aside, is_aside: false, overflowed: false }
    }

    #[inline]
    pub(super) fn written(&self) -> Written {
        Written { len: self.len, is_aside: self.is_aside }
    }

    /// Writes the whole encoding, which is far below the limit.
    #[inline]
    pub(super) fn put_small(self, bytes: &[u8]) -> Written {
        match self.place.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Written { len: bytes.len(), is_aside: false }
            }
            None => put_aside(self.aside, bytes),
        }
    }

    pub(super) fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Writes what is encoded already.
    #[cfg(test)]
    pub(crate) fn put(mut self, bytes: &[u8]) -> Written {
        self.write(bytes).expect("tests stay within the limit");
        self.written()
    }

    #[cold]
    fn write_aside(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        if !std::mem::replace(&mut self.is_aside, true) {
            self.aside.clear();
            self.aside.extend_from_slice(&self.place[..self.len]);
            // Nothing that follows fits either.
            self.place = &mut [];
            self.len = 0;
        }
        if bytes.len() > PAYLOAD_BYTES_MAX - self.aside.len() {
            self.overflowed = true;
            return Err(EncodeError::Other("too large"));
        }
        self.aside.extend_from_slice(bytes);
        Ok(())
    }
}

#[cold]
fn put_aside(aside: &mut Vec<u8>, bytes: &[u8]) -> Written {
    aside.clear();
    aside.extend_from_slice(bytes);
    Written { len: 0, is_aside: true }
}

impl Writer for Room<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        match self.place.get_mut(self.len..self.len + bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.len += bytes.len();
                Ok(())
            }
            None => self.write_aside(bytes),
        }
    }
}
