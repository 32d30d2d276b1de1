//! A result too large for one frame, as its pieces arrive. However large it claims to be, and however little memory there
//! is: the program goes on, and the item has an outcome.

use std::sync::Arc;

use crate::buffer::{Buffer, Buffers};
use crate::slab::WindowReader;
use crate::wire::{LargeResult, Status};

/// Reserved before any piece arrives, at most. These are addresses only: memory comes with the pieces.
const RESERVED_BYTES_MAX: usize = 64 << 20;

/// Bytes are copied in words.
const WORD_BYTES: usize = 8;

/// The part of a result that is there.
pub(super) struct Assembly {
    head: LargeResult,
    bytes: Buffer,
    left: usize,
    /// There was no memory for more: what comes is passed over.
    is_given_up: bool,
}

impl Assembly {
    pub(super) fn begin(head: LargeResult, buffers: &Arc<Buffers>) -> Assembly {
        let left = head.total as usize;
        let bytes = buffers.take(left.min(RESERVED_BYTES_MAX));
        Assembly { head, bytes, left, is_given_up: false }
    }

    /// How many bytes are to come.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Takes the next piece.
    pub(super) fn add(&mut self, len: usize, window: &mut WindowReader) -> Result<(), String> {
        let left = self.left;
        if len > left {
            return Err(format!("a piece of {len} bytes where {left} are left"));
        }
        if self.make_room(len) {
            window.take(len, &mut self.bytes)?;
        } else {
            window.pass(len)?;
        }
        self.left -= len;
        Ok(())
    }

    /// `false`: there is none, nor will there be.
    fn make_room(&mut self, len: usize) -> bool {
        let (has, is_there) = (self.bytes.capacity(), self.bytes.len());
        let needs = is_there + len.next_multiple_of(WORD_BYTES);
        if !self.is_given_up && needs > has {
            let grown = (2 * has).min(self.head.total as usize).max(needs);
            if self.bytes.try_reserve_exact(grown - is_there).is_err() {
                self.is_given_up = true;
                *self.bytes = Vec::new();
            }
        }
        !self.is_given_up
    }

    /// The result, all of which is there, or in its place the reason why it is not.
    pub(super) fn finish(self) -> (LargeResult, Buffer) {
        let Assembly { mut head, mut bytes, is_given_up, .. } = self;
        if is_given_up {
            head.status = Status::TooLarge;
            let reason = format!(
                "result: {} bytes, for which the program that made the call has no memory",
                head.total
            );
            bytes.extend_from_slice(reason.as_bytes());
        }
        (head, bytes)
    }
}
