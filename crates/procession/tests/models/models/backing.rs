//! Which pages have memory: two owners of ranges whose bits are in one word.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use loom::sync::Arc;
use loom::thread;

use super::explore;
use crate::backing::Backing;
use crate::memory::PAGE_BYTES;
use crate::sync::{AtomicU64, Ordering};

const PAGES: usize = 4;

/// A page for which there is no memory.
const BARREN: usize = 3;

loom::lazy_static! {
    /// Whether each page has memory. A page has one owner, so the order among pages means nothing.
    static ref HAS_MEMORY: [AtomicU64; PAGES] = std::array::from_fn(|_| AtomicU64::new(0));
}

fn pages(start: usize, len: usize) -> std::ops::Range<usize> {
    start / PAGE_BYTES..(start + len) / PAGE_BYTES
}

fn give(_: BorrowedFd<'_>, start: usize, len: usize) -> io::Result<()> {
    pages(start, len).for_each(|page| HAS_MEMORY[page].store(1, Ordering::Relaxed));
    Ok(())
}

/// As [`give`], where one page can have none.
fn give_some(fd: BorrowedFd<'_>, start: usize, len: usize) -> io::Result<()> {
    if pages(start, len).contains(&BARREN) {
        return Err(io::Error::from(io::ErrorKind::StorageFull));
    }
    give(fd, start, len)
}

/// These pages lose their memory.
pub(crate) fn lose(start: usize, len: usize) {
    pages(start, len).for_each(|page| HAS_MEMORY[page].store(0, Ordering::Relaxed));
}

/// Sees to a range, and looks whether it has memory.
fn ensure(backing: &Backing, file: &OwnedFd, pages: std::ops::Range<usize>) -> bool {
    let is_there = backing.ensure(file, pages.start * PAGE_BYTES, pages.len() * PAGE_BYTES);
    if is_there {
        for page in pages {
            assert_eq!(HAS_MEMORY[page].load(Ordering::Relaxed), 1, "page {page} would be a SIGBUS");
        }
    }
    is_there
}

/// One owner uses its pages, gives a part back and uses them again; the other does what `other` does.
fn two_owners(reserve: fn(BorrowedFd<'_>, usize, usize) -> io::Result<()>, other: fn(&Backing, &OwnedFd)) {
    let file = Arc::new(OwnedFd::from(File::open("/dev/null").expect("there is a null device")));
    let backing = Arc::new(Backing::new(PAGES * PAGE_BYTES, reserve));
    let theirs = (Arc::clone(&backing), Arc::clone(&file));
    let owner = thread::spawn(move || {
        let (backing, file) = theirs;
        assert!(ensure(&backing, &file, 0..2));
        backing.forget(0, PAGE_BYTES);
        lose(0, PAGE_BYTES);
        assert!(ensure(&backing, &file, 0..2));
    });
    other(&backing, &file);
    owner.join().expect("the owner does not panic");
    // Whoever has them next finds what is noted.
    assert!(ensure(&backing, &file, 0..2));
}

pub(super) fn neighbours_do_not_disturb_each_other() {
    explore(3, || {
        two_owners(give, |backing, file| {
            assert!(ensure(backing, file, 2..4));
            backing.forget(2 * PAGE_BYTES, 2 * PAGE_BYTES);
            lose(2 * PAGE_BYTES, 2 * PAGE_BYTES);
            assert!(ensure(backing, file, 2..3));
        });
    });
}

pub(super) fn memory_that_is_not_there_is_not_noted() {
    explore(3, || {
        two_owners(give_some, |backing, file| {
            assert!(!ensure(backing, file, 2..4));
            assert!(ensure(backing, file, 2..3));
            assert!(!ensure(backing, file, 2..4));
        });
    });
}
