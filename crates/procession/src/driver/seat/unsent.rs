//! Results that a worker has ready in its page and did not send: where they lie, and what may be taken of them while it
//! lives. To read them may wait for memory, so that is done outside the driver's lock.

use std::sync::Arc;

use super::{Early, InFlight, Link, Seat};
use crate::wire::{ResultsHeader, ToMaster};

/// Where they lie.
pub(crate) struct Unsent {
    link: Arc<Link>,
    epoch: u32,
}

impl Unsent {
    /// A copy of them, as a frame; `None`: there are none, or they were sent meanwhile.
    pub(crate) fn read(&self) -> Option<Vec<u8>> {
        self.link.page.salvage(self.epoch)
    }
}

impl Seat {
    /// Results the worker had ready and did not get to send. For good only when it is dead and its channel is drained.
    pub(crate) fn unsent(&self) -> Option<Unsent> {
        Some(Unsent { link: Arc::clone(self.link.as_ref()?), epoch: self.pages_seen })
    }

    /// Whether a frame holds results that another item of it could keep back.
    pub(crate) fn could_be_late(&self) -> bool {
        let is_kept_back = |frame: &InFlight| frame.owed() > 1;
        self.link.is_some() && self.frames.iter().any(is_kept_back)
    }

    /// Where results may lie that are late: nothing was heard since the last call.
    pub(crate) fn late(&mut self) -> Option<Unsent> {
        let replies = std::mem::replace(&mut self.replies_at_look, self.replies);
        if replies != self.replies || !self.could_be_late() {
            return None;
        }
        self.unsent()
    }

    /// Results that lie finished in the shared page because the item after them takes long: what was read there, if
    /// none of it was heard meanwhile. They are accounted for; the worker sends them once more when it comes to it.
    ///
    /// What was read is a hint: whatever does not fit is left alone, and the reply will tell.
    pub(crate) fn take_late(&mut self, unsent: &Unsent, bytes: &[u8]) -> Option<(ResultsHeader, Vec<u8>)> {
        if unsent.epoch != self.pages_seen {
            return None;
        }
        let frame = self.frames.front()?;
        let ToMaster::Results(view) = ToMaster::parse(bytes).ok()? else {
            return None;
        };
        let Early { items, busy_ns } = self.early;
        // The last item of a frame ends it, and only a reply may do that.
        let fitting = frame.items - frame.done - frame.reclaimed.max(1);
        let late = ResultsHeader {
            first: view.header.first.checked_add(items)?,
            items: view.header.items.checked_sub(items)?.min(fitting),
            busy_ns: view.header.busy_ns.saturating_sub(busy_ns),
            ..view.header
        };
        if late.items == 0 {
            return None;
        }
        self.account(&late).ok()?;
        self.early = Early { items: items + late.items, busy_ns: busy_ns + late.busy_ns };
        let records = view.records();
        let start = records.length_of(u64::from(items));
        let end = records.length_of(u64::from(items + late.items));
        if let Some(link) = &self.link {
            // Until it comes to it, nobody knows how long these items take, and how many more it should be given.
            link.page.hasten(late.frame_no);
        }
        Some((late, records.bytes[start..end].to_vec()))
    }
}
