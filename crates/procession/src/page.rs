//! The page of memory that a worker shares with its master: which items it has started, and results not yet sent.
//!
//! What is written here survives the worker. The master treats all of it as a hint from a suspect: it checks bounds,
//! copies, and keeps its own books. Each side gets a view with the operations that side may do. This file must not
//! know channels or processes, and of frames only that the area holds an unsent `Results` frame.
//!
//! # Claims
//! A frame occupies slot `frame_no % 8`: one word {tag 16, next 24, limit 24}. The worker claims item `next` by
//! compare-and-swap, provided `next < limit`, just before it runs it: the claim is the start note. The master takes
//! unstarted items back by lowering `limit` to `next`, also by compare-and-swap. Every item below `next` was
//! claimed, every item from `limit` on belongs to the master again, and no item can be both: whichever swap comes
//! second sees the other's.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::unistd::ftruncate;

use crate::wire::{FRAME_BYTES_MAX, seal_results};

/// Bytes of the result area: it is sent as it is, so it must be a frame.
pub(crate) const AREA_BYTES: usize = FRAME_BYTES_MAX;

/// Most items in one frame: 24 bits.
pub(crate) const FRAME_ITEMS_MAX: u32 = (1 << 24) - 1;

const SLOTS: usize = 8;
/// Claims, stamp and committed length; a page of its own, so that the area can be mapped read-only.
const HEAD_BYTES: usize = 4096;
const PAGE_BYTES: usize = HEAD_BYTES + AREA_BYTES;

/// The words both sides use.
#[repr(C)]
struct Head {
    claims: [AtomicU64; SLOTS],
    started_ns: AtomicU64,
    committed: AtomicU64,
}

const _: () = assert!(size_of::<Head>() <= HEAD_BYTES);

/// The master's view.
#[derive(Debug)]
pub(crate) struct PageMaster {
    head: Mapping,
    area: Mapping,
    /// The item count each slot was opened with, since the shared word may be damaged.
    opened: [AtomicU32; SLOTS],
}

impl PageMaster {
    /// Makes a page, and the descriptor by which the worker opens it.
    pub(crate) fn create() -> io::Result<(PageMaster, OwnedFd)> {
        let fd = memfd_create(c"procession-page", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        ftruncate(&fd, PAGE_BYTES as i64)?;
        // A shrunk file would turn the master's next read into SIGBUS.
        fcntl(
            &fd,
            FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL),
        )?;
        let head = Mapping::new(&fd, 0, HEAD_BYTES, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
        let area = Mapping::new(&fd, HEAD_BYTES, AREA_BYTES, ProtFlags::PROT_READ)?;
        Ok((PageMaster { head, area, opened: Default::default() }, fd))
    }

    /// Offers the items of a frame. Before the frame is sent, and not while a frame 8 numbers older is outstanding.
    pub(crate) fn open_slot(&self, frame_no: u32, items: u32) {
        assert!(items <= FRAME_ITEMS_MAX, "a frame of {items} items exceeds the limit of {FRAME_ITEMS_MAX}");
        self.opened[slot(frame_no)].store(items, Ordering::Relaxed);
        let word = Claim { tag: tag(frame_no), next: 0, limit: items }.pack();
        self.head.words().claims[slot(frame_no)].store(word, Ordering::Release);
    }

    /// Takes the unstarted items of a frame back. Returns the first of them and the end they had; `None`: there are
    /// none, or the word is damaged. The caller knows how many items have been answered, and must not accept less.
    pub(crate) fn reclaim(&self, frame_no: u32) -> Option<(u32, u32)> {
        let word = &self.head.words().claims[slot(frame_no)];
        let mut seen = word.load(Ordering::Acquire);
        // The worker can win the race at most once per item; a damaged page must not keep the master here longer.
        for _ in 0..=FRAME_ITEMS_MAX {
            let claim = self.checked(frame_no, seen)?;
            if claim.next == claim.limit {
                return None;
            }
            let closed = Claim { limit: claim.next, ..claim };
            match word.compare_exchange_weak(seen, closed.pack(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some((claim.next, claim.limit)),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// How many items of a frame the worker has started; `None`: the word is damaged.
    pub(crate) fn claimed(&self, frame_no: u32) -> Option<u32> {
        let word = self.head.words().claims[slot(frame_no)].load(Ordering::Acquire);
        self.checked(frame_no, word).map(|claim| claim.next)
    }

    /// When the running item started, as [`monotonic_ns`]; the last stamp, so possibly that of an earlier item. 0: never.
    pub(crate) fn started_ns(&self) -> u64 {
        self.head.words().started_ns.load(Ordering::Acquire)
    }

    /// The results that the worker completed but did not send, as a well-formed `Results` frame.
    ///
    /// `epoch` is the number of `Results` frames received: a worker killed between sending and noting it would
    /// otherwise be heard twice. The bytes are a copy. Calling it for a living worker is safe (`None` if a send
    /// intervened), but what it returns will be sent again.
    pub(crate) fn salvage(&self, epoch: u32) -> Option<Vec<u8>> {
        let committed = &self.head.words().committed;
        let word = committed.load(Ordering::Acquire);
        let (found_epoch, len) = ((word >> 32) as u32, (word & u64::from(u32::MAX)) as usize);
        if found_epoch != epoch || len > AREA_BYTES {
            return None;
        }
        let bytes = self.area.copy(len);
        // With the fence in `reset`: whoever has read what was written after a reset sees the reset as well.
        fence(Ordering::Acquire);
        let unchanged = (committed.load(Ordering::Acquire) >> 32) as u32 == epoch;
        if unchanged { seal_results(bytes) } else { None }
    }

    fn checked(&self, frame_no: u32, word: u64) -> Option<Claim> {
        let claim = Claim::unpack(word);
        let opened = self.opened[slot(frame_no)].load(Ordering::Relaxed);
        let is_sound = claim.tag == tag(frame_no) && claim.next <= claim.limit && claim.limit <= opened;
        is_sound.then_some(claim)
    }
}

/// The worker's view. One thread of the worker has it.
#[derive(Debug)]
pub(crate) struct PageWorker {
    head: Mapping,
    area: Mapping,
    epoch: u32,
}

impl PageWorker {
    /// Opens the page behind a descriptor, which may be closed afterwards.
    pub(crate) fn open(fd: impl AsFd) -> io::Result<PageWorker> {
        let both = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let head = Mapping::new(&fd, 0, HEAD_BYTES, both)?;
        let area = Mapping::new(&fd, HEAD_BYTES, AREA_BYTES, both)?;
        head.keep_from_children()?;
        area.keep_from_children()?;
        Ok(PageWorker { head, area, epoch: 0 })
    }

    /// Claims the next item of a frame and returns its position; `None`: the rest was taken back.
    pub(crate) fn claim(&self, frame_no: u32) -> Option<u32> {
        let word = &self.head.words().claims[slot(frame_no)];
        let mut seen = word.load(Ordering::Acquire);
        loop {
            let claim = Claim::unpack(seen);
            if claim.tag != tag(frame_no) || claim.next >= claim.limit {
                return None;
            }
            let taken = Claim { next: claim.next + 1, ..claim };
            match word.compare_exchange_weak(seen, taken.pack(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(claim.next),
                Err(now) => seen = now,
            }
        }
    }

    /// Notes when the running item started.
    pub(crate) fn stamp(&self, now_ns: u64) {
        self.head.words().started_ns.store(now_ns, Ordering::Release);
    }

    /// The result area.
    pub(crate) fn area(&mut self) -> &mut [u8] {
        self.area.bytes_mut()
    }

    /// Publishes the first `len` bytes of the area: they are complete.
    pub(crate) fn commit(&mut self, len: usize) {
        assert!(len <= AREA_BYTES, "{len} bytes exceed the result area");
        let word = u64::from(self.epoch) << 32 | len as u64;
        self.head.words().committed.store(word, Ordering::Release);
    }

    /// Empties the area after its content was sent as a `Results` frame.
    pub(crate) fn reset(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.commit(0);
        // Nothing written to the area from now on may be seen before the new epoch.
        fence(Ordering::Release);
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`, which all processes of a machine share.
pub(crate) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for a timespec; the clock exists on every Linux, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn slot(frame_no: u32) -> usize {
    frame_no as usize % SLOTS
}

fn tag(frame_no: u32) -> u16 {
    (frame_no & 0xffff) as u16
}

/// A claim word, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    tag: u16,
    next: u32,
    limit: u32,
}

impl Claim {
    fn pack(self) -> u64 {
        u64::from(self.tag) << 48 | u64::from(self.next) << 24 | u64::from(self.limit)
    }

    fn unpack(word: u64) -> Claim {
        let mask = u64::from(FRAME_ITEMS_MAX);
        Claim { tag: (word >> 48) as u16, next: (word >> 24 & mask) as u32, limit: (word & mask) as u32 }
    }
}

/// A shared mapping of a part of the page.
#[derive(Debug)]
struct Mapping {
    start: NonNull<libc::c_void>,
    len: usize,
}

// SAFETY: the mapping is owned by this value, is valid in every thread, and is only reached through atomics, except
// by `bytes_mut`, which takes `&mut self`.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(fd: impl AsFd, offset: usize, len: usize, protection: ProtFlags) -> io::Result<Mapping> {
        let size = NonZeroUsize::new(len).expect("a mapping has a length");
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory. The file cannot
        // shrink below it, as it is sealed.
        let start = unsafe { mmap(None, size, protection, MapFlags::MAP_SHARED, fd, offset as i64)? };
        Ok(Mapping { start, len })
    }

    /// Processes that a task forks must not write here.
    fn keep_from_children(&self) -> io::Result<()> {
        // SAFETY: the range is this mapping; the advice changes only what a later fork copies.
        unsafe { madvise(self.start, self.len, MmapAdvise::MADV_DONTFORK)? };
        Ok(())
    }

    fn words(&self) -> &Head {
        assert!(self.len == HEAD_BYTES, "only the head holds words");
        // SAFETY: the head is mapped for as long as `self` lives, page-aligned, larger than `Head`, and every bit
        // pattern is a valid atomic. Both processes use atomics only.
        unsafe { self.start.cast::<Head>().as_ref() }
    }

    /// Copies the first bytes, which another process may be changing: by atomic loads, so that this is no data race.
    fn copy(&self, len: usize) -> Vec<u8> {
        assert!(len <= self.len, "the copy is within the mapping");
        // SAFETY: the mapping is page-aligned, its length is a multiple of 8, it is mapped readable for as long as
        // `self` lives, and it is read by relaxed loads only.
        let words = unsafe {
            std::slice::from_raw_parts(self.start.cast::<AtomicU64>().as_ptr().cast_const(), self.len / 8)
        };
        let mut bytes = Vec::with_capacity(len + 8);
        for word in &words[..len.div_ceil(8)] {
            bytes.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: mapped writable for as long as `self` lives. Only the worker calls this, and only the worker
        // writes here: the master maps the area read-only and reads it by atomic loads.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast::<u8>().as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is owned by this value and nothing borrows it any more.
        let unmapped = unsafe { munmap(self.start, self.len) };
        debug_assert!(unmapped.is_ok(), "a mapping made here can be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{
        RESULTS_HEADER_BYTES, ResultsHeader, Status, ToMaster, put_record, put_results_header,
    };

    fn page() -> (PageMaster, PageWorker) {
        let (master, fd) = PageMaster::create().unwrap();
        let worker = PageWorker::open(&fd).unwrap();
        (master, worker)
    }

    #[test]
    fn items_are_claimed_in_order_until_the_rest_is_taken_back() {
        let (master, worker) = page();
        assert_eq!(worker.claim(0), None, "nothing was offered");
        master.open_slot(9, 4);
        assert_eq!((worker.claim(9), worker.claim(9)), (Some(0), Some(1)));
        assert_eq!(worker.claim(1), None, "another frame in the same slot");
        assert_eq!(master.claimed(9), Some(2));
        assert_eq!(master.reclaim(9), Some((2, 4)));
        assert_eq!(master.reclaim(9), None);
        assert_eq!(worker.claim(9), None);
        assert_eq!(master.claimed(9), Some(2));
    }

    #[test]
    fn the_largest_frame_fits_a_claim_word() {
        let (master, worker) = page();
        master.open_slot(u32::MAX, FRAME_ITEMS_MAX);
        assert_eq!(worker.claim(u32::MAX), Some(0));
        assert_eq!(master.reclaim(u32::MAX), Some((1, FRAME_ITEMS_MAX)));
    }

    #[test]
    fn a_damaged_word_is_not_believed() {
        let (master, worker) = page();
        master.open_slot(3, 10);
        for claim in [
            Claim { tag: 3, next: 11, limit: 10 },
            Claim { tag: 3, next: 0, limit: 11 },
            Claim { tag: 4, next: 1, limit: 10 },
        ] {
            worker.head.words().claims[3].store(claim.pack(), Ordering::Release);
            assert_eq!((master.claimed(3), master.reclaim(3)), (None, None), "{claim:?}");
        }
    }

    #[test]
    fn every_item_is_claimed_or_taken_back_and_never_both() {
        let (master, worker) = page();
        for round in 0..2_000_u32 {
            master.open_slot(round, 50);
            let (claimed, reclaimed) = std::thread::scope(|scope| {
                let claiming = scope.spawn(|| std::iter::from_fn(|| worker.claim(round)).count() as u32);
                let reclaimed = master.reclaim(round);
                (claiming.join().unwrap(), reclaimed)
            });
            let (first, end) = reclaimed.unwrap_or((50, 50));
            assert_eq!((claimed, end), (first, 50), "round {round}");
        }
    }

    fn write_results(worker: &mut PageWorker) -> usize {
        put_results_header(worker.area(), &ResultsHeader { frame_no: 1, first: 0, items: 0, busy_ns: 0 });
        let mut at = RESULTS_HEADER_BYTES;
        for payload in [&b"a"[..], b"bc"] {
            at = put_record(worker.area(), at, Status::Ok, payload).unwrap();
            worker.commit(at);
        }
        at
    }

    #[test]
    fn unsent_results_survive_the_worker_and_sent_ones_are_not_heard_twice() {
        let (master, mut worker) = page();
        assert_eq!(master.salvage(0), None);
        let end = write_results(&mut worker);
        // A record that was begun and not committed does not count.
        worker.area()[end..end + 3].fill(0xff);
        assert_eq!(master.salvage(1), None, "the frame was received already");
        let frame = master.salvage(0).unwrap();
        let ToMaster::Results(view) = ToMaster::parse(&frame).unwrap() else { panic!("not results") };
        assert_eq!(
            view.records().map(|record| record.payload.to_vec()).collect::<Vec<_>>(),
            [&b"a"[..], b"bc"]
        );
        worker.reset();
        assert_eq!((master.salvage(0), master.salvage(1)), (None, None));
    }

    #[test]
    fn a_hostile_length_or_area_gives_nothing() {
        let (master, mut worker) = page();
        write_results(&mut worker);
        worker.head.words().committed.store(u64::from(u32::MAX), Ordering::Release);
        assert_eq!(master.salvage(0), None);
        worker.area().fill(0xff);
        worker.commit(AREA_BYTES);
        assert_eq!(master.salvage(0), None);
    }

    #[test]
    fn the_page_cannot_be_shrunk_under_the_master() {
        let (master, fd) = PageMaster::create().unwrap();
        assert!(ftruncate(&fd, 0).is_err());
        assert_eq!(master.started_ns(), 0);
    }

    #[test]
    fn stamps_are_monotonic_time() {
        let (master, worker) = page();
        let now = monotonic_ns();
        worker.stamp(now);
        assert_eq!(master.started_ns(), now);
        assert!(monotonic_ns() >= now);
    }
}
