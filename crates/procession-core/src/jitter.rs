//! The core's only randomness: a seeded SplitMix64, so that equal histories give equal schedules.

use std::time::Duration;

use crate::time::nanos;

/// A stream of pseudo-random factors.
#[derive(Debug)]
pub(crate) struct Jitter(u64);

impl Jitter {
    pub(crate) fn new(seed: u64) -> Jitter {
        Jitter(seed)
    }

    /// `duration`, up to a quarter longer or shorter.
    pub(crate) fn apply(&mut self, duration: Duration) -> Duration {
        let quarter = nanos(duration) / 4;
        Duration::from_nanos(3 * quarter + self.next() % (2 * quarter + 1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
