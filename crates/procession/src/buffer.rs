//! Memory for large results between the worker's window and the caller's decoding, used again and again: taking it from
//! the system costs several times as much as filling it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::pages;

/// Most bytes that are kept for later.
const KEPT_BYTES: usize = 8 << 20;

/// Most buffers that are kept.
const KEPT: usize = 8;

/// What one pool keeps.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// A leaf.
    idle: Mutex<Vec<Vec<u8>>>,
}

/// A vector that goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    home: Arc<Buffers>,
}

impl Buffers {
    /// An empty buffer with room for `len` bytes: the smallest that has it, or else a new one. Where there is no memory for
    /// that it has no room.
    pub(crate) fn take(self: &Arc<Buffers>, len: usize) -> Buffer {
        let mut idle = self.idle.lock();
        let fitting =
            (0..idle.len()).filter(|at| idle[*at].capacity() >= len).min_by_key(|at| idle[*at].capacity());
        let found = fitting.map(|at| idle.swap_remove(at));
        drop(idle);
        let bytes = found.unwrap_or_else(|| pages::vec_if_room(len));
        Buffer { bytes, home: Arc::clone(self) }
    }

    fn put(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        let mut idle = self.idle.lock();
        let kept: usize = idle.iter().map(Vec::capacity).sum();
        let is_room = idle.len() < KEPT && kept.saturating_add(bytes.capacity()) <= KEPT_BYTES;
        if is_room {
            idle.push(bytes);
        }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.put(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(buffers: &Buffers) -> Vec<usize> {
        let mut kept: Vec<_> = buffers.idle.lock().iter().map(Vec::capacity).collect();
        kept.sort_unstable();
        kept
    }

    #[test]
    fn the_smallest_that_fits_is_used_again() {
        let buffers = Arc::new(Buffers::default());
        let mut three = [100, 300, 200].map(|len| buffers.take(len));
        three[1].extend_from_slice(b"old");
        drop(three);
        let again = buffers.take(150);
        assert_eq!((again.capacity(), again.len()), (200, 0));
        assert_eq!(kept(&buffers), [100, 300]);
        assert!(buffers.take(1000).is_empty());
        assert_eq!(kept(&buffers), [100, 300, 1000]);
    }

    #[test]
    fn no_more_is_kept_than_the_bounds() {
        let buffers = Arc::new(Buffers::default());
        drop(buffers.take(KEPT_BYTES + 1));
        assert_eq!(kept(&buffers).len(), 0);
        drop((buffers.take(KEPT_BYTES), buffers.take(1)));
        assert_eq!(kept(&buffers).len(), 1);
        let many: Vec<_> = (0..50).map(|_| buffers.take(1)).collect();
        drop(many);
        assert!(kept(&buffers).len() <= KEPT);
    }
}
