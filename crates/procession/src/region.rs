//! A piece of memory that the process which filled it shares with any other, read-only: one sealed memory file.
//!
//! The file begins with a page of header: what the region is, and a word by which its owner says that nobody refers
//! to it any more. The owner has the only writable mapping there is, of the header alone, made before the file was
//! sealed. Everyone else opens the file through `/proc/<owner>/fd/<number>`, checks it against the token that named
//! it, and maps it. This file must not know tasks, pools or frames.

mod held;
mod known;
#[cfg(test)]
mod tests;
mod travel;

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use serde::{Deserialize, Serialize};

pub(crate) use held::HeldRegions;
pub(crate) use known::{enter_worker, forget_retired, has_mapped};
pub(crate) use travel::{Regions, deserialize, serialize};

use crate::memory_file;
use crate::process::ensure_room_beyond;

/// Where the content begins: a page behind the start, so that it is aligned for every element of up to this size.
pub(crate) const HEAD_BYTES: usize = 4096;

const MAGIC: [u8; 8] = *b"PRCNSHRD";

/// The part of the header that never changes: magic, nonce, kind, element size, content size.
const FIXED_BYTES: usize = 40;

/// Where the owner says that the region is retired; on a cache line of its own.
const RETIRED_AT: usize = 64;

/// What every region is sealed with: it keeps its size, so that no reader meets the end of the file, and its content,
/// since no new writable mapping can be made of it.
const SEALS: SealFlag = SealFlag::F_SEAL_SHRINK
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_FUTURE_WRITE)
    .union(SealFlag::F_SEAL_SEAL);

/// What a region holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u32)]
pub(crate) enum Kind {
    /// The elements of a slice.
    Slice,
    /// One encoded value.
    Value,
}

/// Names a region in any process of the machine. What it says is checked against the region itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Token {
    /// Drawn at random: it identifies the region, whatever became of process and descriptor.
    nonce: [u8; 16],
    owner: u32,
    descriptor: i32,
    kind: Kind,
    element_bytes: u32,
    bytes: u64,
}

/// A mapped region. The content is mapped once a process, whatever the number of handles.
#[derive(Debug)]
pub(crate) struct Region {
    token: Token,
    /// The whole file, read-only.
    whole: Mapping,
    /// Only in the process that made it, and in copies which that process forked.
    owned: Option<Owned>,
}

/// What only the owner has.
#[derive(Debug)]
struct Owned {
    /// Writable.
    head: Mapping,
    /// Whoever opens the region does so through this descriptor.
    _file: File,
    /// Regions that the content refers to.
    _refers_to: Regions,
}

impl Region {
    /// Makes a region of this content. It lives until the last handle of its owner's is gone.
    pub(crate) fn create(
        kind: Kind,
        element_bytes: usize,
        content: &[u8],
        refers_to: Regions,
    ) -> io::Result<Arc<Region>> {
        let size = file_bytes(content.len() as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, "no file can be as large"))?;
        let file = memory_file()?;
        memory_file::set_len(&file, size)?;
        let token = Token {
            nonce: fresh_nonce()?,
            owner: std::process::id(),
            descriptor: file.as_raw_fd(),
            kind,
            element_bytes: u32::try_from(element_bytes).map_err(io::Error::other)?,
            bytes: content.len() as u64,
        };
        // Written to the file, not to a mapping: where there is no memory this is an error, and that a SIGBUS.
        file.write_all_at(&token.header(), 0).map_err(memory_file::in_words)?;
        file.write_all_at(content, HEAD_BYTES as u64).map_err(memory_file::in_words)?;
        let head = Mapping::new(&file, HEAD_BYTES, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS))?;
        let whole = Mapping::new(&file, size, ProtFlags::PROT_READ)?;
        let owned = Owned { head, _file: file, _refers_to: refers_to };
        let region = Arc::new(Region { token, whole, owned: Some(owned) });
        known::add_own(&region);
        Ok(region)
    }

    /// Opens the region of another process.
    fn open(token: Token) -> io::Result<Region> {
        let mut options = OpenOptions::new();
        // What the number leads to by now may be a pipe, and opening must not wait for its other end.
        options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let file = options.open(token.path())?;
        let another =
            || io::Error::new(io::ErrorKind::NotFound, "it is gone, and another file is in its place");
        let size = file_bytes(token.bytes).ok_or_else(another)?;
        let about = file.metadata()?;
        let seals =
            fcntl(&file, FcntlArg::F_GET_SEALS).map_or(SealFlag::empty(), SealFlag::from_bits_truncate);
        if !about.is_file() || about.len() != size as u64 || !seals.contains(SEALS) {
            return Err(another());
        }
        let whole = Mapping::new(&file, size, ProtFlags::PROT_READ)?;
        let region = Region { token, whole, owned: None };
        if *region.fixed_header() == token.header() { Ok(region) } else { Err(another()) }
    }

    /// The content; it never changes.
    #[inline]
    pub(crate) fn content(&self) -> &[u8] {
        // SAFETY: the mapping has `HEAD_BYTES` and then this many bytes, it lives as long as `self`, and nobody can
        // write to the content: it was written before the file was sealed, and the one writable mapping ends before it.
        unsafe {
            let start = self.whole.start.cast::<u8>().add(HEAD_BYTES);
            std::slice::from_raw_parts(start.as_ptr(), self.whole.len - HEAD_BYTES)
        }
    }

    /// Whether this very process made it.
    pub(crate) fn is_own(&self) -> bool {
        self.owned.is_some() && self.token.owner == std::process::id()
    }

    /// Whether its owner has no handle of it any more.
    pub(crate) fn is_retired(&self) -> bool {
        self.whole.retired().load(Ordering::Relaxed) != 0
    }

    /// Tells equal regions from others.
    pub(crate) fn nonce(&self) -> [u8; 16] {
        self.token.nonce
    }

    fn fixed_header(&self) -> &[u8; FIXED_BYTES] {
        // SAFETY: the mapping is longer, and this part of it is never written again once the file is sealed.
        unsafe { self.whole.start.cast::<[u8; FIXED_BYTES]>().as_ref() }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // A copy of the owner, forked from it, speaks only for itself.
        if let Some(owned) = &self.owned
            && self.is_own()
        {
            owned.head.retired().store(1, Ordering::Relaxed);
            known::remove_own(self.token.nonce);
        }
    }
}

impl Token {
    fn header(&self) -> [u8; FIXED_BYTES] {
        let mut header = [0; FIXED_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8..24].copy_from_slice(&self.nonce);
        header[24..28].copy_from_slice(&(self.kind as u32).to_ne_bytes());
        header[28..32].copy_from_slice(&self.element_bytes.to_ne_bytes());
        header[32..].copy_from_slice(&self.bytes.to_ne_bytes());
        header
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", self.owner, self.descriptor)
    }
}

/// How large the file of a content of this size is; `None`: larger than files can be.
fn file_bytes(content: u64) -> Option<usize> {
    let size = usize::try_from(content).ok()?.checked_add(HEAD_BYTES)?;
    isize::try_from(size).is_ok().then_some(size)
}

/// A new memory file. Each region that is alive keeps its descriptor, and the pool's own must not run out for it.
fn memory_file() -> io::Result<File> {
    match memfd_create(c"procession-shared", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING) {
        Ok(file) => {
            ensure_room_beyond(&file);
            Ok(File::from(file))
        }
        Err(errno @ (Errno::EMFILE | Errno::ENFILE)) => Err(io::Error::other(format!(
            "{errno}: whatever is shared keeps one descriptor: raise the limit (ulimit -Hn), or share fewer, larger ones"
        ))),
        Err(errno) => Err(errno.into()),
    }
}

/// 16 random bytes, which no other region has.
fn fresh_nonce() -> io::Result<[u8; 16]> {
    let mut nonce = [0; 16];
    // SAFETY: the pointer and the length are those of `nonce`, which any bytes may fill.
    let filled = unsafe { libc::getrandom(nonce.as_mut_ptr().cast(), nonce.len(), 0) };
    // So few bytes are never cut short or interrupted.
    if filled == nonce.len() as isize { Ok(nonce) } else { Err(io::Error::last_os_error()) }
}

/// A mapping from the start of the file.
#[derive(Debug)]
struct Mapping {
    start: NonNull<libc::c_void>,
    len: usize,
}

// SAFETY: the mapping is owned by this value, is valid in every thread, and is only read, but for one atomic word.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(file: &File, len: usize, protection: ProtFlags) -> io::Result<Mapping> {
        let size = NonZeroUsize::new(len).expect("a mapping has a length");
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory. Its length is that of
        // the file, or less, and the file cannot shrink once it is sealed, which it is before anything is read.
        let start = unsafe { mmap(None, size, protection, MapFlags::MAP_SHARED, file, 0)? };
        let mapping = Mapping { start, len };
        // A worker that crashes must not write all of it to a core dump. SAFETY: the range is this mapping, and the
        // advice changes nothing that is in it.
        unsafe { madvise(start, len, MmapAdvise::MADV_DONTDUMP)? };
        Ok(mapping)
    }

    /// The one word of a region that changes.
    fn retired(&self) -> &AtomicU32 {
        // SAFETY: every mapping includes the header, the place is aligned, and every access to it is atomic.
        unsafe { self.start.cast::<u8>().add(RETIRED_AT).cast::<AtomicU32>().as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this value owns the range, and no reference into it outlives the value.
        let _ = unsafe { munmap(self.start, self.len) };
    }
}
