//! How busy the master is with handing out, and how much it should hand out at once to be less so. It must not know
//! what is handed out.

use std::time::Duration;

use crate::Time;
use crate::handout::{FRAME_NS, WORTH_MOVING_NS};

/// After so many replies the load is looked at: enough to be no accident, few enough to react within a millisecond.
const WINDOW_REPLIES: u32 = 32;

/// If they came within this time, the master spends more than a third of its time on them and on what they answer.
const HIGH_NS: u64 = 3 * WINDOW_REPLIES as u64 * FRAME_NS;

/// If they took longer than this, it is less than a quarter.
const LOW_NS: u64 = 4 * WINDOW_REPLIES as u64 * FRAME_NS;

/// A lot is 1.6 ms at most: beyond it, what the last worker holds at the end of a burst would be felt.
const DOUBLINGS_MAX: u32 = 5;

/// The master's load, and what follows from it.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// When the present window began, and the replies in it.
    since: Time,
    replies: u32,
    /// How many times the smallest lot was doubled.
    doublings: u32,
}

impl Load {
    /// A worker replied.
    pub(crate) fn reply(&mut self, now: Time) {
        self.replies += 1;
        if self.replies == WINDOW_REPLIES {
            match now.saturating_since(self.since).as_nanos() as u64 {
                ..HIGH_NS => self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX),
                HIGH_NS..LOW_NS => {}
                LOW_NS.. => self.doublings = self.doublings.saturating_sub(1),
            }
            self.since = now;
            self.replies = 0;
        }
    }

    /// How much work the master should send at once so as to keep up; `None` if it keeps up anyway.
    pub(crate) fn lot_ns(&self, now: Time) -> Option<u64> {
        let is_over = now.saturating_since(self.since) > Duration::from_nanos(8 * LOW_NS);
        (self.doublings > 0 && !is_over).then(|| WORTH_MOVING_NS << self.doublings)
    }
}
