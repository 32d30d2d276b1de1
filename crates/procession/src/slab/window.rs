//! The window that a worker's large results pass through: a ring in memory that the worker writes and the master reads.
//!
//! The worker writes a piece and says how long it is in a frame; the master copies it out and notes in a word of the
//! first page how much it has taken. So a result of any size needs no more than the window, one side copies while the
//! other does, and what is shared tells the master nothing: where a piece lies it computes, how long it is it checks.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::mman::ProtFlags;

use super::memory::{self, Memory, PAGE_BYTES};
use crate::memory_file;
use crate::sync::Ordering;

/// Most bytes in one piece: small enough that both sides copy at the same time, large enough that its frame costs little.
const PIECE_BYTES_MAX: usize = 128 << 10;

/// Bytes of the ring. Every worker may have as much for ever, so it is little.
const RING_BYTES: usize = 8 * PIECE_BYTES_MAX;

/// The taken count, in a page of its own: each side may write one of the two only.
const HEAD_BYTES: usize = PAGE_BYTES;

/// A piece begins at a multiple of this, so that it is copied in whole words.
const ALIGNMENT: u64 = 64;

/// The master's side. One thread has it.
#[derive(Debug)]
pub(crate) struct WindowReader {
    head: Memory,
    ring: Memory,
    taken: u64,
    /// Up to where the ring was seen to have memory.
    populated: usize,
}

/// The worker's side.
#[derive(Debug)]
pub(crate) struct WindowWriter {
    memory: Memory,
    written: u64,
}

/// Where the piece after `at` bytes lies, and how long it can be.
fn place(at: u64) -> (usize, usize) {
    let start = (at % RING_BYTES as u64) as usize;
    (start, PIECE_BYTES_MAX.min(RING_BYTES - start))
}

fn after(at: u64, len: usize) -> u64 {
    (at + len as u64).next_multiple_of(ALIGNMENT)
}

impl WindowReader {
    /// Makes a window, and the descriptor by which the worker opens it.
    pub(crate) fn create() -> io::Result<(WindowReader, OwnedFd)> {
        let fd = memory::create_file(HEAD_BYTES + RING_BYTES)?;
        // The one page that the master writes to. The ring gets memory when the worker writes there.
        memory_file::reserve(&fd, 0, HEAD_BYTES)?;
        let head = Memory::map(&fd, HEAD_BYTES, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
        let ring = Memory::map(&fd, HEAD_BYTES + RING_BYTES, ProtFlags::PROT_READ)?;
        Ok((WindowReader { head, ring, taken: 0, populated: 0 }, fd))
    }

    /// Appends the next piece to `out`, in whole words as far as its room goes. The error says what is wrong with its
    /// length.
    pub(crate) fn take(&mut self, len: usize, out: &mut Vec<u8>) -> Result<(), String> {
        let start = self.next(len)?;
        if start + len > self.populated {
            // The worker may have announced what it never wrote, and there need not be memory for that.
            let end = (start + len).next_multiple_of(PAGE_BYTES);
            if !self.ring.populate(HEAD_BYTES + self.populated, end - self.populated) {
                return Err(format!("a piece of {len} bytes for which there is no memory"));
            }
            self.populated = end;
        }
        self.ring.copy_out(HEAD_BYTES + start, len, out);
        self.free(len);
        Ok(())
    }

    /// Passes over the next piece, which nobody wants.
    pub(crate) fn pass(&mut self, len: usize) -> Result<(), String> {
        self.next(len)?;
        self.free(len);
        Ok(())
    }

    /// Where the next piece lies.
    fn next(&self, len: usize) -> Result<usize, String> {
        match place(self.taken) {
            (start, room) if len <= room => Ok(start),
            (_, room) => Err(format!("a piece of {len} bytes where at most {room} can be")),
        }
    }

    fn free(&mut self, len: usize) {
        self.taken = after(self.taken, len);
        // Released: the worker writes there again only after the copy.
        self.head.word(0).store(self.taken, Ordering::Release);
    }
}

impl WindowWriter {
    /// Opens the window behind a descriptor, which may be closed afterwards.
    pub(crate) fn open(fd: impl AsFd) -> io::Result<WindowWriter> {
        let both = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        Ok(WindowWriter { memory: Memory::map(fd, HEAD_BYTES + RING_BYTES, both)?, written: 0 })
    }

    /// Writes as much of `bytes` as the next piece can hold, and returns how much that is. 0: there is no room until
    /// the master has taken more.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        let (start, room) = place(self.written);
        let len = bytes.len().min(room);
        let in_use = self.written.saturating_sub(self.memory.word(0).load(Ordering::Acquire));
        if in_use + after(0, len) > RING_BYTES as u64 {
            return 0;
        }
        self.memory.copy_in(HEAD_BYTES + start, &bytes[..len]);
        self.written = after(self.written, len);
        len
    }

    /// Overwrites a word of the head or the ring.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn scribble(&self, at: usize, value: u64) {
        self.memory.word(at % self.memory.len()).store(value, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> (WindowReader, WindowWriter) {
        let (reader, fd) = WindowReader::create().unwrap();
        (reader, WindowWriter::open(fd).unwrap())
    }

    fn bytes(len: usize, seed: usize) -> Vec<u8> {
        (0..len).map(|at| ((at * 31) ^ (at >> 9) ^ seed) as u8).collect()
    }

    #[test]
    fn results_of_any_size_pass_through() {
        let (mut reader, mut writer) = window();
        let edges = [PIECE_BYTES_MAX, RING_BYTES, 3 * RING_BYTES];
        let sizes = edges.iter().flat_map(|edge| [edge - 1, *edge, edge + 1]).chain([1, 63, 64, 65, 50_000]);
        for (seed, size) in sizes.enumerate() {
            let sent = bytes(size, seed);
            let (mut out, mut rest, mut pieces) = (Vec::new(), sent.as_slice(), Vec::new());
            while !rest.is_empty() {
                match writer.write(rest) {
                    0 => pieces.drain(..).for_each(|len| reader.take(len, &mut out).unwrap()),
                    len => {
                        pieces.push(len);
                        rest = &rest[len..];
                    }
                }
            }
            pieces.into_iter().for_each(|len| reader.take(len, &mut out).unwrap());
            assert!(out == sent, "{size} bytes");
        }
    }

    #[test]
    fn both_sides_at_once() {
        let (mut reader, mut writer) = window();
        let sent = bytes(20 * RING_BYTES + 5, 1);
        let (said, heard) = std::sync::mpsc::channel();
        let out = std::thread::scope(|scope| {
            let taking = scope.spawn(move || {
                let mut out = Vec::new();
                heard.iter().for_each(|len| reader.take(len, &mut out).unwrap());
                out
            });
            let mut rest = sent.as_slice();
            while !rest.is_empty() {
                match writer.write(rest) {
                    0 => std::thread::yield_now(),
                    len => {
                        said.send(len).unwrap();
                        rest = &rest[len..];
                    }
                }
            }
            drop(said);
            taking.join().unwrap()
        });
        assert!(out == sent);
    }

    #[test]
    fn a_full_window_takes_nothing_until_there_is_room() {
        let (mut reader, mut writer) = window();
        let piece = vec![1; PIECE_BYTES_MAX];
        let mut pieces = 0;
        while writer.write(&piece) > 0 {
            pieces += 1;
        }
        assert_eq!(pieces, RING_BYTES / PIECE_BYTES_MAX);
        assert_eq!(writer.write(&[1]), 0);
        reader.take(PIECE_BYTES_MAX, &mut Vec::new()).unwrap();
        assert_eq!(writer.write(&piece), PIECE_BYTES_MAX);
    }

    #[test]
    fn hostile_lengths_are_refused_and_a_scribbled_count_harms_only_the_worker() {
        let (mut reader, writer) = window();
        let mut out = Vec::new();
        for len in [PIECE_BYTES_MAX + 1, RING_BYTES + 1, usize::MAX] {
            assert!(reader.take(len, &mut out).is_err(), "{len}");
        }
        assert_eq!(out.capacity(), 0, "nothing was reserved");
        writer.memory.word(0).store(u64::MAX, Ordering::Release);
        for _ in 0..100 {
            reader.take(PIECE_BYTES_MAX, &mut out).unwrap();
            out.clear();
        }
        assert_eq!(writer.memory.word(0).load(Ordering::Acquire), 100 * PIECE_BYTES_MAX as u64);
    }
}
