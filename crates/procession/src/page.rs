//! The page of memory that a worker shares with its master: which items it has started, results not yet sent, last
//! words.
//!
//! What is written here survives the worker. The master treats all of it as a hint from a suspect: it checks bounds,
//! copies, and keeps its own books. Each side gets a view with the operations that side may do. This file must not
//! know channels or processes, and of frames only that the area holds an unsent `Results` frame.
//!
//! A frame occupies slot `frame_no % 8`. How its items are claimed and taken back is told in `claims`.

mod claims;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod hostile;
mod last_words;

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use claims::{Barrier, Slot, own_barrier};
pub(crate) use claims::{Begun, Claims};
pub(crate) use last_words::{LastWords, Words};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};

use crate::memory_file;
use crate::wire::{FRAME_BYTES_MAX, seal_results};

/// Bytes of the result area: it is sent as it is, so it must be a frame.
pub(crate) const AREA_BYTES: usize = FRAME_BYTES_MAX;

const SLOTS: usize = 8;
/// Claims, stamp, committed length and last words; a page of its own, so that the area can be mapped read-only.
const HEAD_BYTES: usize = 4096;
const PAGE_BYTES: usize = HEAD_BYTES + AREA_BYTES;

/// The words both sides use.
#[repr(C)]
struct Head {
    slots: [Slot; SLOTS],
    started_ns: AtomicU64,
    committed: AtomicU64,
    /// Not 0: the master passes barriers on behalf of workers that have agreed to it.
    has_far_barrier: AtomicU32,
    last_words: LastWords,
}

const _: () = assert!(size_of::<Head>() <= HEAD_BYTES);

/// The master's view.
#[derive(Debug)]
pub(crate) struct PageMaster {
    head: Mapping,
    area: Mapping,
    /// The item count each slot was opened with, since the shared word may be damaged.
    opened: [AtomicU32; SLOTS],
    barrier: Barrier,
}

impl PageMaster {
    /// Makes a page, and the descriptor by which the worker opens it.
    pub(crate) fn create() -> io::Result<(PageMaster, OwnedFd)> {
        let fd = memfd_create(c"procession-page", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        memory_file::set_len(&fd, PAGE_BYTES)?;
        // What the master writes to has memory, lest its write be a SIGBUS. The area gets it when the worker writes there.
        memory_file::reserve(&fd, 0, HEAD_BYTES)?;
        // A shrunk file would turn the master's next read into SIGBUS.
        fcntl(
            &fd,
            FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL),
        )?;
        let head = Mapping::new(&fd, 0, HEAD_BYTES, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
        let area = Mapping::new(&fd, HEAD_BYTES, AREA_BYTES, ProtFlags::PROT_READ)?;
        // Asked once: were the worker to believe in a barrier that is not passed, an item could be begun twice.
        let is_far = far_barrier();
        let barrier = if is_far { far_barrier } else { own_barrier };
        head.words().has_far_barrier.store(u32::from(is_far), Ordering::Release);
        Ok((PageMaster { head, area, opened: Default::default(), barrier }, fd))
    }

    /// Offers the items of a frame. Before the frame is sent, and not while a frame 8 numbers older is outstanding.
    pub(crate) fn open_slot(&self, frame_no: u32, items: u32) {
        self.opened[slot(frame_no)].store(items, Ordering::Relaxed);
        self.slot(frame_no).open(frame_no, items);
    }

    /// Takes the unstarted items of a frame back. Returns the first of them and the end they had; `None`: there are
    /// none, or the word is damaged. The caller knows how many items have been answered, and must not accept less.
    pub(crate) fn reclaim(&self, frame_no: u32) -> Option<(u32, u32)> {
        self.slot(frame_no).reclaim(frame_no, self.items(frame_no), self.barrier)
    }

    /// How many items of a frame the worker has started; `None`: the words are damaged.
    pub(crate) fn claimed(&self, frame_no: u32) -> Option<u32> {
        self.slot(frame_no).claimed(frame_no, self.items(frame_no))
    }

    /// Asks the worker to send the results it has of this frame before it goes on.
    pub(crate) fn hasten(&self, frame_no: u32) {
        self.slot(frame_no).hasten(frame_no);
    }

    /// Sets the worker's clock: how much of the monotonic clock does not count.
    pub(crate) fn set_skipped_ns(&self, skipped_ns: u64) {
        self.head.words().last_words.skipped_ns.store(skipped_ns, Ordering::Release);
    }

    /// When the running item started, on the pool's clock; the last stamp, so possibly that of an earlier item. 0: never.
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
        // The worker may have committed what it never wrote, and there need not be memory for that.
        if !self.area.populate(len) {
            return None;
        }
        let bytes = self.area.copy(len);
        // With the fence in `reset`: whoever has read what was written after a reset sees the reset as well.
        fence(Ordering::Acquire);
        let unchanged = (committed.load(Ordering::Acquire) >> 32) as u32 == epoch;
        if unchanged { seal_results(bytes) } else { None }
    }

    /// What the worker said when it died, if it did.
    pub(crate) fn last_words(&self) -> Option<Words> {
        self.head.words().last_words.read()
    }

    fn slot(&self, frame_no: u32) -> &Slot {
        &self.head.words().slots[slot(frame_no)]
    }

    fn items(&self, frame_no: u32) -> u32 {
        self.opened[slot(frame_no)].load(Ordering::Relaxed)
    }
}

/// The worker's view. One thread of the worker has it.
#[derive(Debug)]
pub(crate) struct PageWorker {
    head: Mapping,
    area: Mapping,
    epoch: u32,
    has_light_claims: bool,
}

impl PageWorker {
    /// Opens the page behind a descriptor, which may be closed afterwards.
    pub(crate) fn open(fd: impl AsFd) -> io::Result<PageWorker> {
        let both = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let head = Mapping::new(&fd, 0, HEAD_BYTES, both)?;
        let area = Mapping::new(&fd, HEAD_BYTES, AREA_BYTES, both)?;
        head.keep_from_children()?;
        area.keep_from_children()?;
        let has_light_claims =
            head.words().has_far_barrier.load(Ordering::Acquire) != 0 && agree_to_far_barrier();
        Ok(PageWorker { head, area, epoch: 0, has_light_claims })
    }

    /// This process is to leave its last words here, if it dies of a fault.
    pub(crate) fn take_last_words(&self) {
        self.head.words().last_words.aim();
    }

    /// The way through a frame, item by item.
    pub(crate) fn claims(&self, frame_no: u32) -> Claims<'_> {
        Claims::new(&self.head.words().slots[slot(frame_no)], frame_no, self.has_light_claims)
    }

    /// The way through a frame, and where to put what comes of it.
    pub(crate) fn parts(&mut self, frame_no: u32) -> (Claims<'_>, Area<'_>) {
        let head = self.head.words();
        let claims = Claims::new(&head.slots[slot(frame_no)], frame_no, self.has_light_claims);
        let area = Area { bytes: self.area.bytes_mut(), committed: &head.committed, epoch: self.epoch };
        (claims, area)
    }

    /// Nanoseconds on the pool's clock, which stands still while the pool is paused.
    pub(crate) fn now_ns(&self) -> u64 {
        let skipped = &self.head.words().last_words.skipped_ns;
        let mut before = skipped.load(Ordering::Acquire);
        loop {
            let now = monotonic_ns();
            // Between the two this process may have been stopped, and the clock been set.
            let after = skipped.load(Ordering::Acquire);
            if after == before {
                return now.saturating_sub(after);
            }
            before = after;
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
        commit(&self.head.words().committed, self.epoch, len);
    }

    /// Overwrites the words of a frame.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn damage(&self, frame_no: u32, begun: Option<u64>, limit: Option<u64>) {
        self.head.words().slots[slot(frame_no)].damage(begun, limit);
    }

    /// Empties the area after its content was sent as a `Results` frame.
    pub(crate) fn reset(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.commit(0);
        // Nothing written to the area from now on may be seen before the new epoch.
        fence(Ordering::Release);
    }
}

impl Drop for PageWorker {
    fn drop(&mut self) {
        self.head.words().last_words.withdraw();
    }
}

/// The result area while items run.
#[derive(Debug)]
pub(crate) struct Area<'a> {
    pub(crate) bytes: &'a mut [u8],
    committed: &'a AtomicU64,
    epoch: u32,
}

impl Area<'_> {
    /// As [`PageWorker::commit`].
    #[inline]
    pub(crate) fn commit(&mut self, len: usize) {
        commit(self.committed, self.epoch, len);
    }

    /// The bytes, and the word that says how many of them count.
    #[inline]
    pub(crate) fn split(&mut self) -> (&mut [u8], Committed<'_>) {
        (self.bytes, Committed { word: self.committed, epoch: self.epoch })
    }
}

/// How many bytes of an area count.
#[derive(Clone, Copy)]
pub(crate) struct Committed<'a> {
    word: &'a AtomicU64,
    epoch: u32,
}

impl Committed<'_> {
    /// As [`PageWorker::commit`].
    #[inline]
    pub(crate) fn set(self, len: usize) {
        commit(self.word, self.epoch, len);
    }
}

#[inline]
fn commit(committed: &AtomicU64, epoch: u32, len: usize) {
    assert!(len <= AREA_BYTES, "{len} bytes exceed the result area");
    committed.store(u64::from(epoch) << 32 | len as u64, Ordering::Release);
}

/// A barrier in every running thread of every process that agreed to it. `false`: the system does not offer it.
fn far_barrier() -> bool {
    membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
}

fn agree_to_far_barrier() -> bool {
    membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED)
}

fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: the call takes integers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
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

    /// Sees to it that the first bytes can be read without a SIGBUS; `false`: there is no memory for them. A system that
    /// does not offer it lets them be read as they are.
    fn populate(&self, len: usize) -> bool {
        // SAFETY: the range is within this mapping; what is in it does not change.
        let populated = unsafe { madvise(self.start, len.min(self.len), MmapAdvise::MADV_POPULATE_READ) };
        matches!(populated, Ok(()) | Err(Errno::EINVAL))
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
    use nix::unistd::ftruncate;

    use super::*;
    use crate::wire::{
        RESULTS_HEADER_BYTES, ResultsHeader, Status, ToMaster, put_record, put_results_header,
    };

    fn page() -> (PageMaster, PageWorker) {
        let (master, fd) = PageMaster::create().unwrap();
        let worker = PageWorker::open(&fd).unwrap();
        (master, worker)
    }

    /// Once with the far barrier, where there is one, and once with each side's own.
    #[test]
    fn every_item_is_claimed_or_taken_back_and_never_both() {
        let (mut master, mut worker) = page();
        for is_far in [true, false] {
            if !is_far {
                (master.barrier, worker.has_light_claims) = (own_barrier, false);
            }
            for round in 0..4_000_u32 {
                let items = 50 + round % 50;
                master.open_slot(round, items);
                let (claimed, taken) = std::thread::scope(|scope| {
                    let claiming = scope.spawn(|| {
                        let mut claims = worker.claims(round);
                        (0..items).take_while(|position| claims.begin(*position) != Begun::No).count() as u32
                    });
                    let mut taken = master.reclaim(round);
                    // As often as it takes: what was conceded may be taken at a second try.
                    for _ in 0..3 {
                        master.hasten(round);
                        taken = match (taken, master.reclaim(round)) {
                            (Some((_, end)), Some((first, middle))) => {
                                assert!(middle <= end);
                                Some((first, end))
                            }
                            (taken, again) => taken.or(again),
                        };
                    }
                    (claiming.join().unwrap(), taken)
                });
                let (first, end) = taken.unwrap_or((items, items));
                assert_eq!((claimed, end), (first, items), "round {round}");
                assert_eq!(master.claimed(round), Some(first));
                assert_eq!(master.reclaim(round), None);
            }
        }
    }

    fn write_results(worker: &mut PageWorker) -> usize {
        put_results_header(worker.area(), &ResultsHeader { frame_no: 1, ..ResultsHeader::default() });
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
        let mut records = view.records();
        assert_eq!(
            (view.header.items, records.take().payload, records.take().payload),
            (2, &b"a"[..], &b"bc"[..])
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
