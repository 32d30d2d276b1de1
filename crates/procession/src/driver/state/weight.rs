//! When to look how large the workers are: while one of them is at work, and only if there is a limit.

use std::time::Duration;

use procession_core::{Event as CoreEvent, Time, WorkerId};

use super::{Effects, State};

/// A look costs some 50 µs a worker, so ten a second cost it half a thousandth of its time.
const WEIGH_EVERY: Duration = Duration::from_millis(100);

/// Whether workers are weighed, and when next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Weighing {
    /// There is no limit.
    Never,
    /// Nobody is at work.
    AtWork,
    Due(Time),
}

impl Weighing {
    pub(super) fn due(self) -> Option<Time> {
        match self {
            Weighing::Never | Weighing::AtWork => None,
            Weighing::Due(due) => Some(due),
        }
    }

    /// Work was handed out.
    pub(super) fn expect(&mut self, now: Time) {
        if *self == Weighing::AtWork {
            *self = Weighing::Due(now + WEIGH_EVERY);
        }
    }
}

impl State {
    /// Who is at work, with the process id, if it is time to weigh them.
    pub(crate) fn due_for_weighing(&mut self) -> Vec<(WorkerId, u32)> {
        let now = self.now();
        if self.weighing.due().is_none_or(|due| now < due) {
            return Vec::new();
        }
        let seats = (0..).zip(&self.seats).filter(|(_, seat)| seat.owes_results());
        let busy = seats.filter_map(|(slot, seat)| {
            let worker = WorkerId { slot, generation: seat.generation };
            Some((worker, seat.link.as_ref()?.pid))
        });
        let busy: Vec<_> = busy.collect();
        self.weighing = if busy.is_empty() { Weighing::AtWork } else { Weighing::Due(now + WEIGH_EVERY) };
        busy
    }

    /// The worker takes more memory than it may.
    pub(crate) fn bloated(&mut self, now: Time, worker: WorkerId, effects: &mut Effects) {
        self.tell(now, CoreEvent::WorkerBloated { worker }, effects);
    }
}
