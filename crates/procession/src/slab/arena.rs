//! Where large arguments lie from their encoding until no worker can be reading them any more.
//!
//! The master hands out blocks and is alone in writing; workers map the whole read-only and are told offset and length.
//! A block lives as long as whoever might still send it or have it read: [`Block`] is dropped, and only then is its place
//! used again. Memory is asked for before it is written to; an arena that gets none has no room. What was touched stays, so
//! that the next block finds it warm; what exceeds [`KEPT_BYTES`] goes back to the system after [`IDLE`] without use.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::mman::ProtFlags;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::fstat;
use parking_lot::Mutex;

use super::backing::{Backing, Reserve};
use super::memory::{self, Memory, PAGE_BYTES};
use crate::memory_file;

/// Addresses, not memory: what is not in use has none. Arguments for which there is no room travel in parts.
const ARENA_BYTES: usize = 256 << 20;

/// The part of a limited address space that is not too much to take.
const ADDRESSES_PART: u64 = 8;

/// Memory that stays with an idle pool.
const KEPT_BYTES: usize = 8 << 20;

/// How long the arena must be unused before memory is given back.
const IDLE: Duration = Duration::from_secs(1);

/// Room for what follows a long vector in the same arguments.
const TAIL_BYTES: usize = PAGE_BYTES;

/// The master's side.
#[derive(Debug)]
pub(crate) struct Arena {
    memory: Memory,
    file: OwnedFd,
    for_workers: OwnedFd,
    backing: Backing,
    /// A leaf.
    books: Mutex<Books>,
    /// More than [`KEPT_BYTES`] are unused, and nobody has been asked to look after it yet.
    wants_care: AtomicBool,
}

/// Which ranges are free.
#[derive(Debug)]
struct Books {
    /// Start to length, in pages; neighbours are merged.
    free: BTreeMap<usize, usize>,
    free_bytes: usize,
    /// Nothing at or after this was touched since the last trim.
    touched: usize,
    len: usize,
    last_use_ns: u64,
    /// Somebody will call [`Arena::tend`] in time.
    is_watched: bool,
}

/// A range of the arena, and the encoding in it.
#[derive(Debug)]
pub(crate) struct Block {
    arena: Arc<Arena>,
    start: usize,
    capacity: usize,
    len: usize,
}

/// A worker's view of the whole.
#[derive(Debug)]
pub(crate) struct ArenaReader(Memory);

impl Arena {
    pub(crate) fn create() -> io::Result<Arc<Arena>> {
        Arena::with_size(affordable_bytes(), |file, start, len| memory_file::reserve(file, start, len))
    }

    fn with_size(len: usize, reserve: Reserve) -> io::Result<Arc<Arena>> {
        let file = memory::create_file(len)?;
        let memory = Memory::map(&file, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
        let for_workers = memory::read_only(&file)?;
        let books = Books {
            free: [(0, len)].into(),
            free_bytes: len,
            touched: 0,
            len,
            last_use_ns: 0,
            is_watched: false,
        };
        let wants_care = AtomicBool::new(false);
        let (backing, books) = (Backing::new(len, reserve), Mutex::new(books));
        Ok(Arc::new(Arena { memory, file, for_workers, backing, books, wants_care }))
    }

    /// A block for an encoding that begins with `start` and goes on with `next`; `None`: there is no room.
    pub(crate) fn block(self: &Arc<Arena>, start: &[u8], next: &[u8]) -> Option<Block> {
        let needed = start.len().checked_add(next.len())?;
        let mut block = self.allocate(capacity_for(needed, next.len()))?;
        (block.put(start) && block.put(next)).then_some(block)
    }

    fn allocate(self: &Arc<Arena>, bytes: usize) -> Option<Block> {
        let capacity = bytes.checked_next_multiple_of(PAGE_BYTES)?;
        let mut books = self.books.lock();
        let start = books.take(capacity)?;
        books.last_use_ns = crate::page::monotonic_ns();
        drop(books);
        Some(Block { arena: Arc::clone(self), start, capacity, len: 0 })
    }

    /// Whether the supervisor should be asked, once, to [`tend`](Arena::tend) to it.
    pub(crate) fn wants_care(&self) -> bool {
        self.wants_care.load(Ordering::Relaxed) && self.wants_care.swap(false, Ordering::Relaxed)
    }

    /// When [`tend`](Arena::tend) is to be called next, in nanoseconds of the monotonic clock.
    pub(crate) fn tend_at(&self) -> Option<u64> {
        let books = self.books.lock();
        books.is_watched.then(|| books.last_use_ns + IDLE.as_nanos() as u64)
    }

    /// Gives back what has been unused for long. Not cheap: 0.2 ms a MiB.
    pub(crate) fn tend(&self, now_ns: u64) {
        if self.tend_at().is_none_or(|due| now_ns < due) {
            return;
        }
        // Taken out while it is given back, so that nobody waits for the lock meanwhile.
        let (surplus, last_use_ns) = {
            let mut books = self.books.lock();
            (books.take_surplus(KEPT_BYTES), books.last_use_ns)
        };
        for (start, len) in &surplus {
            self.backing.forget(*start, *len);
            if let Err(error) = memory::give_back(&self.file, *start, *len) {
                tracing::debug!(%error, "memory of an idle pool cannot be given back");
            }
        }
        let mut books = self.books.lock();
        for (start, len) in surplus {
            books.put(start, len);
        }
        // Blocks that were dropped meanwhile found it watched, and relied on that.
        books.is_watched = books.last_use_ns != last_use_ns && books.warm() > KEPT_BYTES;
    }

    /// The books are as if nothing was in use.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        let books = self.books.lock();
        books.free.iter().eq([(&0, &books.len)])
    }

    /// Bytes of memory that it occupies.
    #[cfg(test)]
    fn resident(&self) -> usize {
        fstat(&self.file).unwrap().st_blocks as usize * 512
    }
}

/// What a worker opens it by; for reading only.
impl AsFd for Arena {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.for_workers.as_fd()
    }
}

impl Books {
    /// The lowest range that is large enough: low addresses are the warm ones.
    fn take(&mut self, len: usize) -> Option<usize> {
        let (&start, &found) = self.free.iter().find(|(_, free)| **free >= len)?;
        self.remove(start, found, start, len);
        Some(start)
    }

    /// Takes the range behind another.
    fn take_at(&mut self, start: usize, len: usize) -> bool {
        let Some(&found) = self.free.get(&start).filter(|found| **found >= len) else {
            return false;
        };
        self.remove(start, found, start, len);
        true
    }

    /// Takes `len` bytes at `start` out of the free range `found_at..`.
    fn remove(&mut self, found_at: usize, found: usize, start: usize, len: usize) {
        self.free.remove(&found_at);
        if start > found_at {
            self.free.insert(found_at, start - found_at);
        }
        let (end, found_end) = (start + len, found_at + found);
        if end < found_end {
            self.free.insert(end, found_end - end);
        }
        self.free_bytes -= len;
        self.touched = self.touched.max(end);
    }

    fn put(&mut self, mut start: usize, mut len: usize) {
        self.free_bytes += len;
        if let Some((&before, &before_len)) = self.free.range(..start).next_back()
            && before + before_len == start
        {
            self.free.remove(&before);
            (start, len) = (before, before_len + len);
        }
        if let Some(after) = self.free.remove(&(start + len)) {
            len += after;
        }
        self.free.insert(start, len);
    }

    /// How much of what is free may have memory.
    fn warm(&self) -> usize {
        let beyond = self.len - self.touched;
        self.free_bytes.saturating_sub(beyond)
    }

    /// Takes out every free range that may have memory, but for the lowest `kept` bytes.
    fn take_surplus(&mut self, mut kept: usize) -> Vec<(usize, usize)> {
        let mut surplus = Vec::new();
        for (start, len) in self.free.clone() {
            let warm = len.min(self.touched.saturating_sub(start));
            let keep = warm.min(kept);
            kept -= keep;
            if warm > keep {
                let touched = self.touched;
                self.remove(start, len, start + keep, warm - keep);
                self.touched = touched;
                surplus.push((start + keep, warm - keep));
            }
        }
        // What lies beyond the last range that is in use or kept is cold again.
        if let Some((start, len)) = surplus.last()
            && start + len == self.touched
        {
            self.touched = *start;
        }
        surplus
    }
}

impl Block {
    /// Appends; `false`: there is no room, and nothing has changed.
    pub(crate) fn extend(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.capacity - self.len && !self.grow(bytes.len()) {
            return false;
        }
        self.put(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the range is this block's alone, written only through `&mut self`, and workers cannot write.
        unsafe { self.arena.memory.bytes(self.start, self.len) }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where it begins, as workers are told.
    pub(crate) fn offset(&self) -> u64 {
        self.start as u64
    }

    /// Appends within the capacity; `false`: the machine has no memory for it, and nothing has changed.
    fn put(&mut self, bytes: &[u8]) -> bool {
        assert!(bytes.len() <= self.capacity - self.len, "there is room");
        let Arena { memory, file, backing, .. } = &*self.arena;
        if !backing.ensure(file, self.start + self.len, bytes.len()) {
            return false;
        }
        // SAFETY: the range is this block's alone, and was told to no worker yet: only its maker has it mutably.
        unsafe { memory.write(self.start + self.len, bytes) };
        self.len += bytes.len();
        true
    }

    fn grow(&mut self, more: usize) -> bool {
        let Some(needed) = self.len.checked_add(more) else { return false };
        let capacity = capacity_for(needed, more).next_multiple_of(PAGE_BYTES);
        let end = self.start + self.capacity;
        if self.arena.books.lock().take_at(end, capacity - self.capacity) {
            self.capacity = capacity;
            return true;
        }
        let Some(mut larger) = self.arena.allocate(capacity) else { return false };
        if !larger.put(self.bytes()) {
            return false;
        }
        *self = larger;
        true
    }
}

/// How large an arena this process may have: it is for speed alone, so limits make it smaller.
fn affordable_bytes() -> usize {
    let addresses = getrlimit(Resource::RLIMIT_AS).map_or(u64::MAX, |(soft, _)| soft);
    let most = memory_file::len_max().min(addresses / ADDRESSES_PART);
    let bytes = usize::try_from(most).map_or(ARENA_BYTES, |most| most.min(ARENA_BYTES));
    (bytes / PAGE_BYTES * PAGE_BYTES).max(PAGE_BYTES)
}

/// A long piece is probably the last one, short ones go on.
fn capacity_for(needed: usize, next: usize) -> usize {
    if next >= needed / 2 { needed.saturating_add(TAIL_BYTES) } else { needed.saturating_mul(2) }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut books = self.arena.books.lock();
        books.put(self.start, self.capacity);
        books.last_use_ns = crate::page::monotonic_ns();
        if !books.is_watched && books.warm() > KEPT_BYTES {
            books.is_watched = true;
            self.arena.wants_care.store(true, Ordering::Relaxed);
        }
    }
}

impl ArenaReader {
    /// Opens the arena behind a descriptor, which may be closed afterwards.
    pub(crate) fn open(fd: impl AsFd) -> io::Result<ArenaReader> {
        let len = usize::try_from(fstat(&fd)?.st_size).map_err(io::Error::other)?;
        Ok(ArenaReader(Memory::map(fd, len, ProtFlags::PROT_READ)?))
    }

    /// The arguments that the master says are there; `None`: they cannot be.
    pub(crate) fn bytes(&self, offset: u64, len: u32) -> Option<&[u8]> {
        let (offset, len) = (usize::try_from(offset).ok()?, len as usize);
        if offset.checked_add(len)? > self.0.len() {
            return None;
        }
        // SAFETY: the master writes to a block only before it tells of it, and keeps it until this worker has answered
        // or is dead. The slice is not read any more once the answer is sent.
        Some(unsafe { self.0.bytes(offset, len) })
    }
}
