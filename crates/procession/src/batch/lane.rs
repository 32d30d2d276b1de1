//! The quick way through a batch: arguments of one length, results of one length.
//!
//! A claim is a store that no other access may pass, so what lies in memory is read anew for every item. Here whatever
//! changes from item to item lies in local variables, and goes back into the batch when the loop ends, however it ends.

use super::{At, Batch, RunItem, is_full};
use crate::codec::{Room, Written};
use crate::registry::{ParamInfo, TaskFault};

/// Why the quick way ended.
pub(super) enum Ended {
    /// What comes next needs a closer look.
    AtNext,
    /// No other item may begin before the batch's owner has seen to what there is.
    Full,
    /// The item under way has a result that is unlike those before it.
    Unlike(Written),
}

/// How far the batch has come, and where that goes back to.
struct Lane<'l, 'f> {
    at: At<'f>,
    home: &'l mut At<'f>,
}

impl Drop for Lane<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        *self.home = self.at;
    }
}

impl Batch<'_, '_> {
    /// Whether there are arguments of one length, and results of one length to be followed.
    pub(super) fn has_lane(&self) -> bool {
        let At { payloads, collected, .. } = &self.at;
        collected.is_uniform && collected.each != usize::MAX && payloads.each() > 0
    }

    /// Runs items as long as they are alike.
    #[inline]
    pub(super) fn run_lane(&mut self, task: &impl RunItem, params: &[ParamInfo]) -> Result<Ended, TaskFault> {
        let (claims, index, first_index, end) = (self.claims.clone(), self.index, self.first_index, self.end);
        let (area, committed) = self.area.split();
        let aside = &mut *self.aside;
        let mut lane = Lane { at: self.at, home: &mut self.at };
        let at = &mut lane.at;
        let each = at.collected.each;
        while at.position < end
            && let Some(place) = area.get_mut(at.collected.end..at.collected.end + each)
            && claims.begin_undisturbed(at.position)
            && let Some(args) = at.payloads.next_alike()
        {
            at.begun = at.position + 1;
            index.set(first_index.wrapping_add(u64::from(at.position)));
            let written = task.run_item(params, args, Room::new(place, aside))?;
            if written.is_aside || written.len != each {
                return Ok(Ended::Unlike(written));
            }
            at.collected.end += each;
            at.collected.header.items += 1;
            committed.set(at.collected.end);
            at.position = at.begun;
            if is_full(at.collected.end) {
                return Ok(Ended::Full);
            }
        }
        Ok(Ended::AtNext)
    }
}
