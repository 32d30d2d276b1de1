//! Which pages of a memory file have memory, so that none is written to that has not.
//!
//! The first write to a page of a mapping takes the memory, and where there is none it is a SIGBUS, which ends the
//! process. Asked for beforehand, memory that is not there is an error. This file must not know what is in the pages.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::memory::{self, PAGE_BYTES};
use crate::sync::{AtomicU64, Ordering};

/// Asks for memory for a range of a file: [`memory_file::reserve`](crate::memory_file::reserve), but in tests.
pub(super) type Reserve = fn(BorrowedFd<'_>, usize, usize) -> io::Result<()>;

const WORD_PAGES: usize = u64::BITS as usize;

/// Ranges belong to one owner at a time, and so do pages; neighbours share words.
#[derive(Debug)]
pub(super) struct Backing {
    /// A bit for each page that has memory.
    words: Box<[AtomicU64]>,
    reserve: Reserve,
}

impl Backing {
    /// Of a file of `len` bytes without memory.
    pub(super) fn new(len: usize, reserve: Reserve) -> Backing {
        let words = len.div_ceil(PAGE_BYTES * WORD_PAGES);
        Backing { words: (0..words).map(|_| AtomicU64::new(0)).collect(), reserve }
    }

    /// Sees to it that a range has memory; `false`: there is not enough.
    pub(super) fn ensure(&self, file: &OwnedFd, start: usize, len: usize) -> bool {
        let (mut page, end) = (start / PAGE_BYTES, (start + len).div_ceil(PAGE_BYTES));
        loop {
            let cold = self.run_end(page, end, true);
            if cold == end {
                return true;
            }
            page = self.run_end(cold, end, false);
            let (at, bytes) = (cold * PAGE_BYTES, (page - cold) * PAGE_BYTES);
            if let Err(error) = (self.reserve)(file.as_fd(), at, bytes) {
                tracing::debug!(%error, bytes, "no memory for large arguments: they are sent in parts");
                // Others need what there was of it.
                let _ = memory::give_back(file, at, bytes);
                return false;
            }
            for (word, mask) in masks(cold, page) {
                self.words[word].fetch_or(mask, Ordering::Relaxed);
            }
        }
    }

    /// The whole pages of a range, of which there is one at least, are about to lose their memory.
    pub(super) fn forget(&self, start: usize, len: usize) {
        for (word, mask) in masks(start / PAGE_BYTES, (start + len) / PAGE_BYTES) {
            self.words[word].fetch_and(!mask, Ordering::Relaxed);
        }
    }

    /// Where the pages end that have memory, or have none, from `page` on.
    fn run_end(&self, mut page: usize, end: usize, has_memory: bool) -> usize {
        while page < end {
            let word = self.words[page / WORD_PAGES].load(Ordering::Relaxed);
            let alike = if has_memory { word } else { !word };
            let (first, left) = (page % WORD_PAGES, WORD_PAGES - page % WORD_PAGES);
            let run = (alike >> first).trailing_ones() as usize;
            page += run;
            if run < left {
                break;
            }
        }
        page.min(end)
    }
}

/// The words of a range of pages, each with the range's bits in it.
fn masks(start: usize, end: usize) -> impl Iterator<Item = (usize, u64)> {
    assert!(start < end, "a range of pages has some");
    (start / WORD_PAGES..end.div_ceil(WORD_PAGES)).map(move |word| {
        let first = start.max(word * WORD_PAGES) - word * WORD_PAGES;
        let pages = end.min((word + 1) * WORD_PAGES) - word * WORD_PAGES - first;
        (word, (u64::MAX >> (WORD_PAGES - pages)) << first)
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    thread_local! {
        static ASKED: RefCell<Vec<(usize, usize)>> = const { RefCell::new(Vec::new()) };
    }

    fn note(_: BorrowedFd<'_>, start: usize, len: usize) -> io::Result<()> {
        ASKED.with_borrow_mut(|asked| asked.push((start / PAGE_BYTES, len / PAGE_BYTES)));
        Ok(())
    }

    #[test]
    fn memory_is_asked_for_where_there_is_none() {
        let pages = 400;
        let file = memory::create_file(pages * PAGE_BYTES).unwrap();
        let backing = Backing::new(pages * PAGE_BYTES, note);
        let check = |start: usize, len: usize, asked: &[(usize, usize)]| {
            assert!(backing.ensure(&file, start, len));
            assert_eq!(ASKED.take(), asked, "{start}, {len}");
        };
        check(5, 0, &[(0, 1)]);
        check(PAGE_BYTES - 1, 2, &[(1, 1)]);
        check(10 * PAGE_BYTES, 60 * PAGE_BYTES, &[(10, 60)]);
        check(63 * PAGE_BYTES, PAGE_BYTES, &[]);
        check(0, 400 * PAGE_BYTES, &[(2, 8), (70, 330)]);
        check(0, 400 * PAGE_BYTES, &[]);
        backing.forget(64 * PAGE_BYTES, 128 * PAGE_BYTES);
        backing.forget(399 * PAGE_BYTES, PAGE_BYTES);
        check(0, 400 * PAGE_BYTES, &[(64, 128), (399, 1)]);
    }

    /// Neighbours share every word, and each looks at its own pages alone.
    #[test]
    fn two_owners_ask_at_once_and_each_gets_its_own_pages() {
        let pages = 4 * WORD_PAGES;
        let file = memory::create_file(pages * PAGE_BYTES).unwrap();
        let backing = Backing::new(pages * PAGE_BYTES, |file, start, len| {
            crate::memory_file::reserve(file, start, len)
        });
        let blocks = |file: &OwnedFd| nix::sys::stat::fstat(file).unwrap().st_blocks as usize * 512;
        let begin = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            for owner in 0..2 {
                let (file, backing, begin) = (&file, &backing, &begin);
                scope.spawn(move || {
                    for round in 0..200 {
                        begin.wait();
                        for page in (owner..pages).step_by(2) {
                            assert!(backing.ensure(file, page * PAGE_BYTES, PAGE_BYTES));
                        }
                        if begin.wait().is_leader() {
                            assert_eq!(blocks(file), pages * PAGE_BYTES, "round {round}");
                        }
                        begin.wait();
                        for page in (owner..pages).step_by(2) {
                            backing.forget(page * PAGE_BYTES, PAGE_BYTES);
                            memory::give_back(file, page * PAGE_BYTES, PAGE_BYTES).unwrap();
                        }
                    }
                });
            }
        });
        assert_eq!(blocks(&file), 0);
        assert!(backing.words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
    }
}
