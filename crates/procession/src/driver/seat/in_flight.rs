//! A frame that a worker was sent, and what is still to be heard of it. It must not know what is in it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::driver::backlog::Segment;
use crate::page::PageMaster;

/// A frame whose credit has not returned.
pub(super) struct InFlight {
    pub(super) number: u32,
    pub(super) bytes: usize,
    pub(super) items: u32,
    pub(super) done: u32,
    pub(super) reclaimed: u32,
    /// What the worker may be reading in the arena: it stays there until the worker is past the frame or dead,
    /// whatever has become of the item.
    pub(super) _held: Option<Arc<Segment>>,
}

impl InFlight {
    /// Items without a reply that the worker has not been relieved of.
    pub(super) fn owed(&self) -> u32 {
        self.items - self.done - self.reclaimed
    }

    /// How many of those it has begun, by its page. `None`: it cannot vouch that any of them was not begun, as it is
    /// damaged, or knows less than was answered.
    pub(super) fn noted(&self, page: &PageMaster) -> Option<u64> {
        let noted = page.claimed(self.number)?.checked_sub(self.done)?;
        Some(u64::from(noted.min(self.owed())))
    }
}

impl super::Seat {
    /// Whether that item is the next one that it owes a result of.
    pub(crate) fn check_owed(&mut self, frame_no: u32, position: u32) -> Result<(), String> {
        let frame = expect_frame(&mut self.frames, frame_no)?;
        match frame.done == position && frame.owed() > 0 {
            true => Ok(()),
            false => Err(format!(
                "a result of item {position} of frame {frame_no}, of which {} are done and {} owed",
                frame.done,
                frame.owed()
            )),
        }
    }

    /// How many items have no outcome yet.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn held(&self) -> u64 {
        self.outbox_items + self.frames.iter().map(|frame| u64::from(frame.owed())).sum::<u64>()
    }
}

/// The oldest frame, which is the only one a worker may be speaking of.
pub(super) fn expect_frame(frames: &mut VecDeque<InFlight>, number: u32) -> Result<&mut InFlight, String> {
    match frames.front_mut() {
        Some(frame) if frame.number == number => Ok(frame),
        Some(frame) => Err(format!("news of frame {number}, expected frame {}", frame.number)),
        None => Err(format!("news of frame {number}, which it was never sent")),
    }
}
