//! Calls on their way to the scheduler.
//!
//! Handling a long reply takes some microseconds under the driver's lock. A thread that makes many calls must not wait
//! each time: it leaves them here, and whoever holds the lock tells the scheduler of them before it lets go.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{CallOptions, Segment};
use crate::job::Job;

/// Calls left by the way, at most, before their makers wait: or a thread that holds the lock might never be done.
const LEFT_MAX: usize = 64;

/// A call whose items are all there.
pub(crate) struct NewCall {
    pub(crate) job: Arc<Job>,
    pub(crate) options: CallOptions,
    pub(crate) segment: Segment,
}

/// The lock is a leaf, taken while the driver's is held or alone.
#[derive(Default)]
pub(super) struct Intake(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    calls: VecDeque<NewCall>,
    /// Somebody holds the driver's lock who will look here before it lets go.
    is_served: bool,
}

impl Intake {
    /// Leaves a call here. `true`: it is in good hands; otherwise who made it must see to it.
    pub(super) fn leave(&self, call: NewCall) -> bool {
        let mut waiting = self.0.lock();
        waiting.calls.push_back(call);
        waiting.is_served && waiting.calls.len() < LEFT_MAX
    }

    /// Takes all calls into `calls`, which is empty. The caller holds the driver's lock, and comes again.
    pub(super) fn serve(&self, calls: &mut VecDeque<NewCall>) {
        let mut waiting = self.0.lock();
        waiting.is_served = true;
        std::mem::swap(&mut waiting.calls, calls);
    }

    /// As [`serve`](Intake::serve), by one that is about to let go of the driver's lock: `false`, there was nothing,
    /// and whoever makes a call sees to it from now on.
    pub(super) fn serve_last(&self, calls: &mut VecDeque<NewCall>) -> bool {
        let mut waiting = self.0.lock();
        waiting.is_served = !waiting.calls.is_empty();
        std::mem::swap(&mut waiting.calls, calls);
        waiting.is_served
    }

    /// As [`serve`](Intake::serve), by one that will not come again.
    pub(super) fn end(&self, calls: &mut VecDeque<NewCall>) {
        let mut waiting = self.0.lock();
        waiting.is_served = false;
        calls.append(&mut waiting.calls);
    }
}
