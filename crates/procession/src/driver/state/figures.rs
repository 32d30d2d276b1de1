//! What a reply says its items took, noted for the calls that want to know.

use std::time::{Duration, Instant};

use procession_core::WorkerId;

use super::State;
use crate::figures::ItemFigures;
use crate::job::Job;
use crate::wire::ResultsHeader;

/// Who replied.
#[derive(Clone, Copy)]
pub(super) struct Reporter {
    slot: u32,
    pid: u32,
}

impl State {
    pub(super) fn reporter(&self, worker: WorkerId) -> Reporter {
        let link = self.seats.get(worker.slot as usize).and_then(|seat| seat.link.as_ref());
        Reporter { slot: self.core.place(worker.slot), pid: link.map_or(0, |link| link.pid) }
    }
}

impl Reporter {
    /// Notes `items` from `first` on, a part of a reply: they took their share of what all of it did.
    pub(super) fn note(self, job: &Job, header: &ResultsHeader, (first, items): (u64, u32), attempt: u32) {
        if !job.keeps_figures() || items == 0 {
            return;
        }
        let part = |whole: u64| {
            let share = u128::from(whole) * u128::from(items) / u128::from(header.items.max(items));
            Duration::from_nanos(u64::try_from(share).unwrap_or(u64::MAX))
        };
        job.note(ItemFigures {
            first,
            items,
            attempt,
            slot: self.slot,
            pid: self.pid,
            ended: Instant::now(),
            busy: part(header.busy_ns),
            cpu: part(header.usage.cpu_ns),
            peak_rss: u64::from(header.usage.peak_rss_kib) << 10,
        });
    }
}
