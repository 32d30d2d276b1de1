//! Who has which item of a frame: the worker begins them from the front, the master takes them back from the end.
//!
//! Two words a frame. In `begun` the worker notes how many items it has begun, in `limit` stands how many there are
//! for it. The worker begins item *i* in three steps: it notes `i + 1`, passes a barrier, and reads the limit. If that
//! is unchanged, the item is its own. The master takes back the other way round: it lowers the limit to what it finds
//! begun, passes a barrier, and reads `begun` again. So at least one of them sees what the other did.
//!
//! * The master finds nothing more begun: the worker will see the limit before it begins anything. All from the limit
//!   on is the master's.
//! * It finds more begun: the worker may have passed those items before, or may be about to stop at the last of them.
//!   Either side now settles it by compare-and-swap on the limit: the master *concedes* what is noted, the worker
//!   *closes* the frame where it stands. Whoever comes second finds the other's word, and abides by it.
//!
//! The worker's barrier would be the most costly step of a short item. Where the system can pass a barrier on the
//! master's behalf in all workers (`membarrier`), the worker only has to keep the compiler from reordering.

use crate::sync::{AtomicU64, Ordering, compiler_fence, fence};

/// Most items in one frame: 24 bits.
pub(crate) const FRAME_ITEMS_MAX: u32 = (1 << 24) - 1;

/// The worker stopped at the limit; it will not go on, whatever is written there.
const CLOSED: u64 = 1 << 24;
/// Its change asks the worker to come to an end of what it does and to send what it has.
const HASTE: u64 = 1 << 25;

/// The words of one frame.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct Slot {
    begun: AtomicU64,
    limit: AtomicU64,
}

/// How to pass a barrier that the other side's threads pass as well. `false`: it failed.
pub(super) type Barrier = fn() -> bool;

/// The barrier of either side when each passes its own.
pub(super) fn own_barrier() -> bool {
    fence(Ordering::SeqCst);
    true
}

/// The master's operations. `opened` is the frame's item count, since the shared words may be damaged.
impl Slot {
    /// Offers the items of a frame.
    pub(super) fn open(&self, frame_no: u32, items: u32) {
        assert!(items <= FRAME_ITEMS_MAX, "a frame of {items} items exceeds the limit of {FRAME_ITEMS_MAX}");
        self.begun.store(base(frame_no), Ordering::Release);
        self.limit.store(base(frame_no) | u64::from(items), Ordering::Release);
    }

    /// See `PageMaster::reclaim`.
    pub(super) fn reclaim(&self, frame_no: u32, opened: u32, barrier: Barrier) -> Option<(u32, u32)> {
        let begun = self.noted(frame_no, opened)?;
        let open = self.limit.load(Ordering::Acquire);
        let limit = limit_of(frame_no, opened, open)?;
        if begun >= limit {
            return None;
        }
        let lowered = with_limit(open, begun);
        // It fails only if somebody damages the page: the worker closes a frame at the limit, and is not there.
        self.swap_limit(open, lowered).ok()?;
        let conceded = match barrier() {
            // Without a barrier nothing is known: the worker keeps all.
            false => limit,
            true => self.noted(frame_no, opened).unwrap_or(limit).min(limit),
        };
        if conceded <= begun {
            return Some((begun, limit));
        }
        match self.swap_limit(lowered, with_limit(lowered, conceded)) {
            Ok(()) => (conceded < limit).then_some((conceded, limit)),
            Err(now) => {
                let end = closed_at(frame_no, opened, now)?.max(begun);
                (end < limit).then_some((end, limit))
            }
        }
    }

    /// How many items the worker has begun; `None`: the words are damaged.
    pub(super) fn claimed(&self, frame_no: u32, opened: u32) -> Option<u32> {
        let limit = limit_of(frame_no, opened, self.limit.load(Ordering::Acquire))?;
        // An item that was noted and then found to be taken back is above the limit.
        Some(self.noted(frame_no, opened)?.min(limit))
    }

    /// Asks the worker not to collect results any longer.
    pub(super) fn hasten(&self, frame_no: u32) {
        let seen = self.limit.load(Ordering::Acquire);
        if is_of(base(frame_no), seen) {
            // If it fails, the worker has just stopped, and sends by itself.
            let _ = self.swap_limit(seen, seen ^ HASTE);
        }
    }

    /// Overwrites the words.
    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn damage(&self, begun: Option<u64>, limit: Option<u64>) {
        for (word, value) in [(&self.begun, begun), (&self.limit, limit)] {
            if let Some(value) = value {
                word.store(value, Ordering::Release);
            }
        }
    }

    fn noted(&self, frame_no: u32, opened: u32) -> Option<u32> {
        let count = self.begun.load(Ordering::Acquire).checked_sub(base(frame_no))?;
        u32::try_from(count).ok().filter(|count| *count <= opened)
    }

    fn swap_limit(&self, from: u64, to: u64) -> Result<(), u64> {
        self.limit.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).map(|_| ())
    }
}

/// The worker's way through one frame.
#[derive(Debug, Clone)]
pub(crate) struct Claims<'a> {
    slot: &'a Slot,
    base: u64,
    /// The limit as it was last read.
    seen: u64,
    /// The master sees to the barrier.
    is_light: bool,
}

/// What became of the wish to begin an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// It is ours.
    Yes,
    /// It is ours; and the master changed something, so it had better be the last before a pause.
    Hastily,
    /// It was taken back, with all that follow.
    No,
}

impl<'a> Claims<'a> {
    pub(super) fn new(slot: &'a Slot, frame_no: u32, is_light: bool) -> Claims<'a> {
        let (base, word) = (base(frame_no), slot.limit.load(Ordering::Acquire));
        // In a slot of another frame there is nothing for us.
        let seen = if is_of(base, word) { word } else { base };
        Claims { slot, base, seen, is_light }
    }

    /// Begins the item at `position`, which must follow the one begun last. Just before it runs: if the worker dies,
    /// the last one begun is the one that was running.
    #[inline]
    pub(crate) fn begin(&mut self, position: u32) -> Begun {
        if self.begin_undisturbed(position) { Begun::Yes } else { self.arbitrate(position) }
    }

    /// As [`begin`](Claims::begin), as long as the master changes nothing. `false`: nothing is decided, and `begin` has
    /// to be asked.
    #[inline]
    pub(crate) fn begin_undisturbed(&self, position: u32) -> bool {
        if u64::from(position) >= self.seen & u64::from(FRAME_ITEMS_MAX) {
            return false;
        }
        self.slot.begun.store(self.base | u64::from(position + 1), Ordering::Release);
        if self.is_light {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
        self.slot.limit.load(Ordering::Acquire) == self.seen
    }

    #[cold]
    fn arbitrate(&mut self, position: u32) -> Begun {
        let mut word = self.slot.limit.load(Ordering::Acquire);
        let is_ours = loop {
            if !is_of(self.base, word) || word & CLOSED != 0 {
                break false;
            }
            if u64::from(position) < word & u64::from(FRAME_ITEMS_MAX) {
                break true;
            }
            let closed = with_limit(word, position) | CLOSED;
            match self.slot.swap_limit(word, closed) {
                Ok(()) => break false,
                Err(now) => word = now,
            }
        };
        if is_ours {
            self.seen = word;
            return Begun::Hastily;
        }
        // The note of another frame is not ours to withdraw.
        if is_of(self.base, word) {
            self.slot.begun.store(self.base | u64::from(position), Ordering::Release);
        }
        Begun::No
    }
}

/// The tag that tells the frames of a slot apart.
fn base(frame_no: u32) -> u64 {
    u64::from(frame_no & 0xffff) << 48
}

fn is_of(base: u64, word: u64) -> bool {
    word & !(CLOSED | HASTE | u64::from(FRAME_ITEMS_MAX)) == base
}

fn with_limit(word: u64, limit: u32) -> u64 {
    word & !u64::from(FRAME_ITEMS_MAX) | u64::from(limit)
}

/// The limit in a sound word.
fn limit_of(frame_no: u32, opened: u32, word: u64) -> Option<u32> {
    let count = (word & !(CLOSED | HASTE)).checked_sub(base(frame_no))?;
    u32::try_from(count).ok().filter(|count| *count <= opened)
}

fn closed_at(frame_no: u32, opened: u32, word: u64) -> Option<u32> {
    if word & CLOSED == 0 { None } else { limit_of(frame_no, opened, word) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Begins what there is, as the worker does.
    fn begin_all(slot: &Slot, frame_no: u32, items: u32, is_light: bool) -> u32 {
        let mut claims = Claims::new(slot, frame_no, is_light);
        (0..items).take_while(|position| claims.begin(*position) != Begun::No).count() as u32
    }

    #[test]
    fn items_are_begun_in_order_until_the_rest_is_taken_back() {
        let slot = Slot::default();
        slot.open(9, 4);
        assert_eq!(Claims::new(&slot, 1, false).begin(0), Begun::No, "another frame in the same slot");
        let mut claims = Claims::new(&slot, 9, false);
        assert_eq!((claims.begin(0), claims.begin(1)), (Begun::Yes, Begun::Yes));
        assert_eq!(slot.claimed(9, 4), Some(2));
        assert_eq!(slot.reclaim(9, 4, own_barrier), Some((2, 4)));
        assert_eq!(slot.reclaim(9, 4, own_barrier), None);
        assert_eq!(claims.begin(2), Begun::No);
        assert_eq!(slot.claimed(9, 4), Some(2));
        assert_eq!(slot.reclaim(9, 4, own_barrier), None);
    }

    #[test]
    fn a_frame_ends_at_its_last_item() {
        let slot = Slot::default();
        slot.open(3, 1);
        let mut claims = Claims::new(&slot, 3, false);
        assert_eq!((claims.begin(0), claims.begin(1)), (Begun::Yes, Begun::No));
    }

    #[test]
    fn the_largest_frame_fits_its_words() {
        let slot = Slot::default();
        slot.open(u32::MAX, FRAME_ITEMS_MAX);
        assert_eq!(Claims::new(&slot, u32::MAX, false).begin(0), Begun::Yes);
        let last = FRAME_ITEMS_MAX;
        assert_eq!(slot.reclaim(u32::MAX, last, own_barrier), Some((1, last)));
    }

    #[test]
    fn a_hint_to_make_haste_takes_nothing() {
        let slot = Slot::default();
        slot.open(5, 4);
        let mut claims = Claims::new(&slot, 5, false);
        assert_eq!(claims.begin(0), Begun::Yes);
        slot.hasten(5);
        assert_eq!((claims.begin(1), claims.begin(2)), (Begun::Hastily, Begun::Yes));
        slot.hasten(5);
        slot.hasten(13);
        assert_eq!(claims.begin(3), Begun::Hastily);
        assert_eq!(slot.claimed(5, 4), Some(4));
    }

    #[test]
    fn damaged_words_are_not_believed() {
        let slot = Slot::default();
        for (begun, limit) in [
            (base(3) | 11, base(3) | 10),
            (base(3), base(3) | 11),
            (base(4) | 1, base(3) | 10),
            (base(3) | 1, base(4) | 10),
            (u64::MAX, u64::MAX),
        ] {
            slot.begun.store(begun, Ordering::Release);
            slot.limit.store(limit, Ordering::Release);
            assert_eq!(slot.claimed(3, 10), None, "{begun:x} {limit:x}");
            assert_eq!(slot.reclaim(3, 10, own_barrier), None, "{begun:x} {limit:x}");
        }
    }

    /// Without a barrier the master must not believe that nothing more was begun.
    #[test]
    fn a_barrier_that_fails_takes_nothing() {
        let slot = Slot::default();
        slot.open(2, 5);
        assert_eq!(slot.reclaim(2, 5, || false), None);
        assert_eq!(begin_all(&slot, 2, 5, false), 5);
    }

    /// Every way the two can meet, step by step: the worker notes an item at any point of the master's three steps.
    #[test]
    fn a_note_between_the_masters_steps_is_conceded_or_closed() {
        // Noted before the lowered limit could be seen, and the worker comes to look only when all is over.
        let slot = Slot::default();
        slot.open(1, 4);
        let noted = || {
            NOTED.with(|slot| slot.begun.store(base(1) | 1, Ordering::Release));
            true
        };
        thread_local! { static NOTED: Slot = Slot::default(); }
        NOTED.with(|slot| {
            slot.open(1, 4);
            assert_eq!(slot.reclaim(1, 4, noted), Some((1, 4)), "what is noted is conceded");
            let mut claims = Claims { slot, base: base(1), seen: base(1) | 4, is_light: true };
            assert_eq!((claims.begin(0), claims.begin(1)), (Begun::Hastily, Begun::No));
        });
        // The worker sees the lowered limit, and closes before the master can concede.
        let closed = || {
            NOTED.with(|slot| {
                let mut claims = Claims { slot, base: base(1), seen: base(1) | 4, is_light: true };
                assert_eq!(claims.begin(0), Begun::No);
                // As if the master read the note just before it was withdrawn.
                slot.begun.store(base(1) | 1, Ordering::Release);
            });
            true
        };
        NOTED.with(|slot| {
            slot.open(1, 4);
            assert_eq!(slot.reclaim(1, 4, closed), Some((0, 4)));
            assert_eq!(slot.claimed(1, 4), Some(0));
        });
    }
}
