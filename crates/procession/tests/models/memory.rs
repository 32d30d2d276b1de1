//! A memory file of one word and eight places for pieces: loom notices if a place is read and written at once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;

use loom::cell::UnsafeCell;
use nix::sys::mman::ProtFlags;

use crate::sync::AtomicU64;

/// As the library's own.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Bytes of a place: the longest piece.
pub(crate) const PLACE_BYTES: usize = 128 << 10;

thread_local! {
    /// What is mapped, by descriptor. Loom runs all threads of a model on one.
    static FILES: RefCell<HashMap<RawFd, Rc<Shared>>> = RefCell::default();
}

#[derive(Debug)]
struct Shared {
    head: AtomicU64,
    places: [UnsafeCell<u8>; 8],
}

/// A mapping.
#[derive(Debug)]
pub(crate) struct Memory(Rc<Shared>);

/// A descriptor of its own, and the file behind it.
pub(crate) fn create_file(_: usize) -> io::Result<OwnedFd> {
    let fd = OwnedFd::from(File::open("/dev/null")?);
    let shared = Shared { head: AtomicU64::new(0), places: std::array::from_fn(|_| UnsafeCell::new(0)) };
    FILES.with_borrow_mut(|files| files.insert(fd.as_raw_fd(), Rc::new(shared)));
    Ok(fd)
}

/// Forgets the file of a descriptor.
pub(crate) fn forget_file(fd: &OwnedFd) {
    FILES.with_borrow_mut(|files| files.remove(&fd.as_raw_fd()));
}

/// The pages of a range lose their memory.
pub(crate) fn give_back(_: &OwnedFd, start: usize, len: usize) -> io::Result<()> {
    crate::models::backing::lose(start, len);
    Ok(())
}

impl Memory {
    pub(crate) fn map(fd: impl AsFd, _: usize, _: ProtFlags) -> io::Result<Memory> {
        Ok(Memory(FILES.with_borrow(|files| Rc::clone(&files[&fd.as_fd().as_raw_fd()]))))
    }

    pub(crate) fn len(&self) -> usize {
        PAGE_BYTES + self.0.places.len() * PLACE_BYTES
    }

    pub(crate) fn word(&self, _: usize) -> &AtomicU64 {
        &self.0.head
    }

    pub(crate) fn populate(&self, _: usize, _: usize) -> bool {
        true
    }

    /// Appends one byte for the whole piece.
    pub(crate) fn copy_out(&self, at: usize, _: usize, out: &mut Vec<u8>) {
        // SAFETY: loom fails the model if anybody writes there meanwhile.
        self.place(at).with(|place| out.push(unsafe { *place }));
    }

    /// Writes the first byte for the whole piece.
    pub(crate) fn copy_in(&self, at: usize, bytes: &[u8]) {
        // SAFETY: loom fails the model if anybody reads or writes there meanwhile.
        self.place(at).with_mut(|place| unsafe { *place = bytes[0] });
    }

    fn place(&self, at: usize) -> &UnsafeCell<u8> {
        &self.0.places[(at - PAGE_BYTES) / PLACE_BYTES]
    }
}
