//! Figures of a pool: what `Pool::stats` returns, and the counters it is made from.

use std::time::Duration;

use procession_core::Time;

use crate::registry::TaskInfo;

/// How many of the slowest items are remembered.
const SLOWEST_MAX: usize = 10;

/// A snapshot of a pool.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Stats {
    /// One entry a seat, by slot.
    pub workers: Vec<WorkerStats>,
    /// The slowest items so far, slowest first; at most ten.
    pub slowest: Vec<SlowItem>,
}

/// Figures of one seat of the pool, over all the workers that sat there.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerStats {
    /// The seat, from 0.
    pub slot: u32,
    /// The process that sits there now, if any.
    pub pid: Option<u32>,
    /// Whether that process takes items: it has run its initializer, and is not being stopped.
    pub is_ready: bool,
    /// Items that have an outcome from this seat.
    pub completed: u64,
    /// Time spent inside tasks.
    pub busy: Duration,
    /// Time since the seat's first worker started, less `busy`.
    pub waiting: Duration,
    /// How many workers were started here after the first.
    pub restarts: u32,
    /// Resident memory of the process that sits there now, in bytes.
    pub rss: Option<u64>,
    /// Its highest resident memory so far, in bytes.
    pub peak_rss: Option<u64>,
    /// The item it is running now, if it is running one.
    pub running: Option<RunningItem>,
}

/// An item that runs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunningItem {
    /// The task's full path.
    pub task: &'static str,
    /// The item's index in its call. Of items that take microseconds it is one of those that the worker has just now.
    pub item: u64,
    /// Which start of the item this is, from 1.
    pub attempt: u32,
    /// For how long it has run, without pauses of the pool.
    pub ran: Duration,
}

/// One of the slowest items.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SlowItem {
    /// The task's full path.
    pub task: &'static str,
    /// The item's index in its call.
    pub item: u64,
    /// How long it ran.
    pub ran: Duration,
}

/// What is counted as replies come in.
#[derive(Default)]
pub(crate) struct Counters {
    seats: Vec<SeatCounters>,
    pub(crate) slowest: Vec<SlowItem>,
}

#[derive(Default, Clone, Copy)]
pub(crate) struct SeatCounters {
    completed: u64,
    busy: Duration,
    /// When its first worker was started.
    since: Option<Time>,
}

impl Counters {
    /// A worker is started in this seat.
    pub(crate) fn started(&mut self, slot: u32, now: Time) {
        self.seat(slot).since.get_or_insert(now);
    }

    /// What `Pool::stats` says of one seat; the process itself is not known here.
    pub(crate) fn worker(&self, slot: u32, pid: Option<u32>, restarts: u32, now: Time) -> WorkerStats {
        let seat = self.seats.get(slot as usize).copied().unwrap_or_default();
        let age = seat.since.map_or(Duration::ZERO, |since| now.saturating_since(since));
        WorkerStats {
            slot,
            pid,
            is_ready: false,
            completed: seat.completed,
            busy: seat.busy,
            waiting: age.saturating_sub(seat.busy),
            restarts,
            rss: None,
            peak_rss: None,
            running: None,
        }
    }

    fn seat(&mut self, slot: u32) -> &mut SeatCounters {
        let slot = slot as usize;
        if self.seats.len() <= slot {
            self.seats.resize(slot + 1, SeatCounters::default());
        }
        &mut self.seats[slot]
    }

    /// `items` items took `busy` together; `item` names the item where it was just one.
    pub(crate) fn record(
        &mut self,
        slot: u32,
        items: u32,
        busy: Duration,
        item: Option<(&'static TaskInfo, u64)>,
    ) {
        let seat = self.seat(slot);
        seat.completed += u64::from(items);
        seat.busy += busy;
        if let Some((task, item)) = item {
            let full = self.slowest.len() == SLOWEST_MAX;
            if !full || self.slowest.last().is_some_and(|fastest| busy > fastest.ran) {
                let place = self.slowest.partition_point(|slow| slow.ran >= busy);
                self.slowest.insert(place, SlowItem { task: task.path(), item, ran: busy });
                self.slowest.truncate(SLOWEST_MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completed_items_add_up() {
        let mut counters = Counters::default();
        counters.record(1, 3, Duration::from_millis(2), None);
        counters.record(1, 1, Duration::from_millis(5), None);
        assert_eq!(counters.seats[1].completed, 4);
        assert_eq!(counters.seats[1].busy, Duration::from_millis(7));
        assert_eq!(counters.seats[0].completed, 0);
    }
}
