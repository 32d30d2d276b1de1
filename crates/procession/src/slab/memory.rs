//! A mapping of a sealed memory file, and the ways to read and write it that need no trust in the other side.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};

use crate::memory_file;

/// What the kernel hands out and takes back.
pub(super) const PAGE_BYTES: usize = 4096;

const WORD_BYTES: usize = size_of::<u64>();

/// Makes a file of `len` bytes, all of them still without memory, that nobody can shrink: a mapping beyond its end
/// would be a SIGBUS.
pub(super) fn create_file(len: usize) -> io::Result<OwnedFd> {
    let fd = memfd_create(c"procession-slab", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    memory_file::set_len(&fd, len)?;
    fcntl(
        &fd,
        FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL),
    )?;
    Ok(fd)
}

/// The same file, for reading only, so that a stray write of a task faults instead of hitting others' arguments.
pub(super) fn read_only(fd: &OwnedFd) -> io::Result<OwnedFd> {
    match File::open(format!("/proc/self/fd/{}", fd.as_raw_fd())) {
        Ok(file) => Ok(OwnedFd::from(file)),
        // Without /proc there is less protection, and nothing else is missing.
        Err(_) => fd.try_clone(),
    }
}

/// Gives the memory of a range back to the system; it reads as zeros afterwards.
pub(super) fn give_back(fd: &OwnedFd, start: usize, len: usize) -> io::Result<()> {
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    Ok(fallocate(fd, flags, start as i64, len as i64)?)
}

/// A shared mapping from the start of a file.
#[derive(Debug)]
pub(super) struct Memory {
    start: NonNull<libc::c_void>,
    len: usize,
}

// SAFETY: the mapping is owned by this value and valid in every thread; it is reached through atomics, or by the
// unsafe methods, whose callers vouch for what they touch.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps the first `len` bytes, which the file has.
    pub(super) fn map(fd: impl AsFd, len: usize, protection: ProtFlags) -> io::Result<Memory> {
        assert!(len.is_multiple_of(PAGE_BYTES), "a mapping consists of pages");
        let size = NonZeroUsize::new(len).expect("a mapping has a length");
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let start = unsafe { mmap(None, size, protection, MapFlags::MAP_SHARED, fd, 0)? };
        let memory = Memory { start, len };
        // Processes forked meanwhile have no business here. SAFETY: the range is this mapping; the advice changes
        // only what a later fork copies.
        unsafe { madvise(start, len, MmapAdvise::MADV_DONTFORK)? };
        // Nor has a core dump: to write one, the kernel would give memory to every page that has none. SAFETY: the
        // range is this mapping; the advice changes only what a dump has in it.
        unsafe { madvise(start, len, MmapAdvise::MADV_DONTDUMP)? };
        Ok(memory)
    }

    /// Sees to it that a range can be read without a SIGBUS; `false`: there is no memory for it. A system that does not
    /// offer it lets the range be read as it is. `at` is a multiple of the page's size.
    pub(super) fn populate(&self, at: usize, len: usize) -> bool {
        assert!(at.is_multiple_of(PAGE_BYTES) && at + len <= self.len, "pages within the mapping");
        // SAFETY: the range is within this mapping; what is in it does not change.
        let populated = unsafe { madvise(self.start.add(at), len, MmapAdvise::MADV_POPULATE_READ) };
        matches!(populated, Ok(()) | Err(Errno::EINVAL))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped for as long as `self` lives, page-aligned, a multiple of 8 long, and every bit pattern is a
        // valid atomic.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast_const().cast(), self.len / WORD_BYTES) }
    }

    /// The word at byte `at`.
    pub(super) fn word(&self, at: usize) -> &AtomicU64 {
        &self.words()[at / WORD_BYTES]
    }

    /// Appends a copy of bytes that another process may be changing: by atomic loads, so that this is no data race.
    /// `at` is a multiple of 8; `out` needs room for whole words. At the speed of any other copy: memory is slower than the loads are.
    pub(super) fn copy_out(&self, at: usize, len: usize, out: &mut Vec<u8>) {
        let words = &self.words()[at / WORD_BYTES..(at + len).div_ceil(WORD_BYTES)];
        out.reserve(words.len() * WORD_BYTES);
        let (spare, _) = out.spare_capacity_mut().as_chunks_mut::<WORD_BYTES>();
        for (place, word) in spare.iter_mut().zip(words) {
            place.write_copy_of_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        // SAFETY: room for that many whole words was reserved, and as many were written.
        unsafe { out.set_len(out.len() + len) };
    }

    /// Writes bytes that another process may be reading. `at` is a multiple of 8; up to 7 bytes after the end are
    /// written as well.
    pub(super) fn copy_in(&self, at: usize, bytes: &[u8]) {
        let words = &self.words()[at / WORD_BYTES..(at + bytes.len()).div_ceil(WORD_BYTES)];
        let (chunks, rest) = bytes.as_chunks::<WORD_BYTES>();
        for (word, chunk) in words.iter().zip(chunks) {
            word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
        }
        if !rest.is_empty() {
            let mut last = [0; WORD_BYTES];
            last[..rest.len()].copy_from_slice(rest);
            words[chunks.len()].store(u64::from_ne_bytes(last), Ordering::Relaxed);
        }
    }

    /// Writes bytes.
    ///
    /// # Safety
    /// The mapping is writable, and nobody reads or writes that range meanwhile.
    pub(super) unsafe fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at <= self.len && bytes.len() <= self.len - at, "a write within the mapping");
        // SAFETY: the range is mapped; the rest is the caller's promise.
        unsafe {
            let place = self.start.as_ptr().cast::<u8>().add(at);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
        }
    }

    /// The bytes of a range.
    ///
    /// # Safety
    /// Nobody writes to that range while the slice is in use.
    pub(super) unsafe fn bytes(&self, at: usize, len: usize) -> &[u8] {
        assert!(at <= self.len && len <= self.len - at, "a slice within the mapping");
        // SAFETY: the range is mapped for as long as `self` lives; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast::<u8>().add(at), len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is owned by this value and nothing borrows it any more.
        let unmapped = unsafe { munmap(self.start, self.len) };
        debug_assert!(unmapped.is_ok(), "a mapping made here can be removed");
    }
}

#[cfg(test)]
mod tests {
    use nix::unistd::ftruncate;

    use super::*;

    #[test]
    fn what_is_copied_in_is_copied_out() {
        let fd = create_file(2 * PAGE_BYTES).unwrap();
        let memory = Memory::map(&fd, 2 * PAGE_BYTES, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).unwrap();
        let other = Memory::map(read_only(&fd).unwrap(), 2 * PAGE_BYTES, ProtFlags::PROT_READ).unwrap();
        for len in [0, 1, 7, 8, 9, 4095, 4096, 4097, 8184] {
            let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
            memory.copy_in(8, &bytes);
            let mut out = vec![1, 2, 3];
            other.copy_out(8, len, &mut out);
            assert_eq!(out[3..], bytes, "{len} bytes");
        }
    }

    #[test]
    fn workers_cannot_shrink_it_nor_map_it_for_writing() {
        let fd = create_file(PAGE_BYTES).unwrap();
        let theirs = read_only(&fd).unwrap();
        assert!(ftruncate(&fd, 0).is_err());
        assert!(ftruncate(&theirs, 0).is_err());
        assert!(Memory::map(&theirs, PAGE_BYTES, ProtFlags::PROT_WRITE).is_err());
        assert!(give_back(&theirs, 0, PAGE_BYTES).is_err());
    }

    #[test]
    fn memory_given_back_reads_as_zeros() {
        let fd = create_file(PAGE_BYTES).unwrap();
        let memory = Memory::map(&fd, PAGE_BYTES, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).unwrap();
        memory.word(16).store(7, Ordering::Relaxed);
        assert_eq!(nix::sys::stat::fstat(&fd).unwrap().st_blocks, 8);
        give_back(&fd, 0, PAGE_BYTES).unwrap();
        assert_eq!(memory.word(16).load(Ordering::Relaxed), 0);
    }
}
