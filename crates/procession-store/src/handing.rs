//! What may be begun: announced ahead of its time, as much as ends in a moment, and taken back when nothing more is begun.
//!
//! It knows numbers of items and times. The writer puts announcements on record, in order, and tells how many are.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// As many items may be announced ahead as end within this time: those of the last moment are unknown after a kill.
const AHEAD: Duration = Duration::from_millis(25);

/// Most items that are announced ahead, whatever their rate.
const AHEAD_MAX: u64 = 65_536;

/// Nothing was handed out for so long: what was announced ahead is taken back.
const PAUSE: Duration = Duration::from_millis(50);

/// What was announced, what of that is on record, and how fast items end.
pub(crate) struct Handing {
    /// Behind the last item that was announced.
    announced: u64,
    /// How many announcements are known to be on record.
    on_record: u64,
    /// Those that are not: behind which item each ends.
    under_way: VecDeque<u64>,
    /// Behind the last item that may be begun.
    cleared: u64,
    /// Behind the last item that was handed out; that and when, when it was last looked at.
    next: u64,
    seen: (u64, Instant),
    /// Items that ended, and since when they are counted.
    ended: u64,
    since: Instant,
    /// How many items to announce at a time.
    ahead: u64,
}

impl Handing {
    pub(crate) fn new(now: Instant) -> Handing {
        Handing {
            announced: 0,
            on_record: 0,
            under_way: VecDeque::new(),
            cleared: 0,
            next: 0,
            seen: (0, now),
            ended: 0,
            since: now,
            ahead: 1,
        }
    }

    /// An item is about to be handed out: behind which item the announcement ends that should be sent now, if one should.
    /// Most need none, and no look at the clock.
    pub(crate) fn announce(&mut self, index: u64, now: impl FnOnce() -> Instant) -> Option<u64> {
        if self.announced.saturating_sub(index) > self.ahead / 2 {
            return None;
        }
        self.keep_pace(now());
        let upto = (index + 1).max(self.announced).saturating_add(self.ahead - 1);
        (upto > self.announced).then(|| self.send(upto))
    }

    /// Nothing was handed out for a while, and more was announced: the announcement that takes that back.
    pub(crate) fn take_back(&mut self, on_record: u64, now: Instant) -> Option<u64> {
        self.hear(on_record);
        if self.seen.0 != self.next {
            self.seen = (self.next, now);
        }
        // One that is under way would allow again what is taken back.
        let is_due = now.duration_since(self.seen.1) >= PAUSE && self.under_way.is_empty();
        if !is_due || self.announced <= self.next {
            return None;
        }
        self.cleared = self.next;
        Some(self.send(self.next))
    }

    /// Whether an item may be begun, now that so many announcements are on record.
    pub(crate) fn allows(&mut self, index: u64, on_record: u64) -> bool {
        self.hear(on_record);
        index < self.cleared
    }

    /// How many announcements must be on record before there is news.
    pub(crate) fn awaited(&self) -> u64 {
        self.on_record + 1
    }

    pub(crate) fn handed_out(&mut self, index: u64) {
        self.next = index + 1;
    }

    pub(crate) fn ended(&mut self) {
        self.ended += 1;
    }

    fn send(&mut self, upto: u64) -> u64 {
        self.announced = upto;
        self.under_way.push_back(upto);
        upto
    }

    fn hear(&mut self, on_record: u64) {
        while self.on_record < on_record
            && let Some(upto) = self.under_way.pop_front()
        {
            self.on_record += 1;
            self.cleared = upto;
        }
    }

    fn keep_pace(&mut self, now: Instant) {
        let elapsed = now.duration_since(self.since);
        // Too short a time tells nothing; the last rate holds meanwhile.
        if elapsed >= AHEAD / 5 {
            let expected = self.ended as f64 * AHEAD.as_secs_f64() / elapsed.as_secs_f64();
            self.ahead = (expected as u64).clamp(1, AHEAD_MAX);
            (self.since, self.ended) = (now, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_begun_that_is_not_on_record() {
        let now = Instant::now();
        let mut handing = Handing::new(now);
        assert_eq!(handing.announce(0, || now), Some(1));
        assert!(!handing.allows(0, 0) && handing.allows(0, 1) && !handing.allows(1, 1));
        handing.handed_out(0);
        assert_eq!(handing.announce(1, || now), Some(2));
        assert_eq!(handing.awaited(), 2);
        assert!(handing.allows(1, 2));
    }

    #[test]
    fn as_much_is_announced_as_ends_in_a_moment() {
        let now = Instant::now();
        let mut handing = Handing::new(now);
        (0..1_000).for_each(|_| handing.ended());
        assert_eq!(handing.announce(0, || now + AHEAD), Some(1_000));
        assert!(handing.allows(999, 1));
        assert_eq!(handing.announce(10, || now + AHEAD), None);
        // None ended meanwhile.
        assert_eq!(handing.announce(600, || now + 2 * AHEAD), None);
        assert_eq!(handing.announce(999, || now + 2 * AHEAD), None);
        assert_eq!(handing.announce(1_000, || now + 2 * AHEAD), Some(1_001));
    }

    #[test]
    fn what_was_announced_in_vain_is_taken_back_and_announced_again() {
        let now = Instant::now();
        let mut handing = Handing::new(now);
        (0..100).for_each(|_| handing.ended());
        assert_eq!(handing.announce(0, || now + AHEAD), Some(100));
        handing.handed_out(0);
        let later = now + AHEAD + 2 * PAUSE;
        assert_eq!(handing.take_back(0, now + AHEAD), None);
        assert_eq!(handing.take_back(0, later), None, "it is not on record yet");
        assert_eq!(handing.take_back(1, later), Some(1));
        assert!(!handing.allows(1, 1) && !handing.allows(1, 2));
        assert_eq!(handing.take_back(2, later + PAUSE), None);
        assert_eq!(handing.announce(1, || later), Some(2));
        assert!(!handing.allows(1, 2) && handing.allows(1, 3) && !handing.allows(2, 3));
    }
}
