//! The quick way through a batch: arguments of one length, results of one length.
//!
//! A claim is a store that no other access may pass, so what lies in memory is read anew for every item. Here whatever
//! changes from item to item lies in local variables, and goes back into the batch when the loop ends, however it ends.

use super::{Batch, Collected, RunItem, is_full};
use crate::codec::{Room, Written};
use crate::registry::{ParamInfo, TaskFault};
use crate::wire::Payloads;

/// Why the quick way ended.
pub(super) enum Ended {
    /// What comes next needs a closer look.
    AtNext,
    /// No other item may begin before the batch's owner has seen to what there is.
    Full,
    /// The item under way has a result that is unlike those before it.
    Unlike(Written),
}

/// What changes from item to item, and where it goes back to.
struct Lane<'l, 'f> {
    args: &'f [u8],
    position: u32,
    begun: u32,
    results_end: usize,
    batch_payloads: &'l mut Payloads<'f>,
    batch_position: &'l mut u32,
    batch_begun: &'l mut u32,
    batch_collected: &'l mut Collected,
}

impl Drop for Lane<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        self.batch_payloads.set_rest(self.args);
        self.batch_collected.header.items += self.position - *self.batch_position;
        self.batch_collected.end = self.results_end;
        *self.batch_position = self.position;
        *self.batch_begun = self.begun;
    }
}

impl Batch<'_, '_> {
    /// Whether there are arguments of one length, and results of one length to be followed.
    pub(super) fn has_lane(&self) -> bool {
        self.collected.is_uniform && self.collected.each != usize::MAX && self.payloads.each() > 0
    }

    /// Runs items as long as they are alike.
    #[inline]
    pub(super) fn run_lane(&mut self, task: &impl RunItem, params: &[ParamInfo]) -> Result<Ended, TaskFault> {
        let (claims, first_index, end) = (self.claims.clone(), self.first_index, self.end);
        let (index, args_each, each) = (self.index, self.payloads.each(), self.collected.each);
        let (area, committed) = self.area.split();
        let aside = &mut *self.aside;
        let mut lane = Lane {
            args: self.payloads.rest(),
            position: self.position,
            begun: self.begun,
            results_end: self.collected.end,
            batch_payloads: &mut self.payloads,
            batch_position: &mut self.position,
            batch_begun: &mut self.begun,
            batch_collected: &mut self.collected,
        };
        while lane.position < end
            && let Some((args, rest)) = lane.args.split_at_checked(args_each)
            && let Some(place) = area.get_mut(lane.results_end..lane.results_end + each)
            && claims.begin_undisturbed(lane.position)
        {
            lane.args = rest;
            lane.begun = lane.position + 1;
            index.set(first_index.wrapping_add(u64::from(lane.position)));
            let written = task.run_item(params, args, Room::new(place, aside))?;
            if written.is_aside || written.len != each {
                return Ok(Ended::Unlike(written));
            }
            lane.results_end += each;
            committed.set(lane.results_end);
            lane.position = lane.begun;
            if is_full(lane.results_end) {
                return Ok(Ended::Full);
            }
        }
        Ok(Ended::AtNext)
    }
}
