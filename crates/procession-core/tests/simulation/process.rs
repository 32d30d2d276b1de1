//! A worker process as the core may imagine it: a queue, one item at a time, replies that take a while.

use std::collections::VecDeque;

use procession_core::{JobId, WorkerId};

use crate::restarts::Life;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Booting,
    Ready,
    /// It is dead, and the news of it is on its way.
    Dead,
}

/// From the front of the queue: `sent ≤ ended ≤ claimed ≤ queue.len()`, and at most one item is claimed and not
/// ended: the running one.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: WorkerId,
    pub(crate) phase: Phase,
    /// Items whose replies were not heard.
    pub(crate) queue: VecDeque<(JobId, u64)>,
    pub(crate) claimed: usize,
    pub(crate) ended: usize,
    pub(crate) sent: usize,
    /// When the running item started.
    pub(crate) since: u64,
    /// Time spent on ended items that was not reported.
    pub(crate) busy: u64,
    /// Which start of an item this is, so that news of an earlier one is recognised.
    pub(crate) serial: u64,
    pub(crate) told_to_stop: bool,
    /// It is too large: it must be given nothing more.
    pub(crate) bloated: bool,
    pub(crate) faulty: bool,
    /// It never begins anything.
    pub(crate) inert: bool,
    /// It is to be weighed.
    pub(crate) on_scales: bool,
    pub(crate) weigh_at: u64,
    pub(crate) life: Life,
    pub(crate) signalled_at: Option<u64>,
}

impl Process {
    pub(crate) fn new(id: WorkerId) -> Process {
        Process {
            id,
            phase: Phase::Booting,
            queue: VecDeque::new(),
            claimed: 0,
            ended: 0,
            sent: 0,
            since: 0,
            busy: 0,
            serial: 0,
            told_to_stop: false,
            bloated: false,
            faulty: false,
            inert: false,
            on_scales: false,
            weigh_at: 0,
            life: Life::default(),
            signalled_at: None,
        }
    }

    pub(crate) fn running(&self) -> Option<(JobId, u64)> {
        (self.claimed > self.ended).then(|| self.queue[self.ended])
    }

    /// Whether it is without work and would take some.
    pub(crate) fn is_free(&self) -> bool {
        self.phase == Phase::Ready
            && self.queue.is_empty()
            && !self.told_to_stop
            && !self.faulty
            && self.signalled_at.is_none()
    }

    /// Starts the next item, if there is one and none is running.
    pub(crate) fn claim(&mut self, now: u64) -> Option<(JobId, u64)> {
        let has_next = self.claimed == self.ended && self.claimed < self.queue.len();
        if self.phase != Phase::Ready || self.inert || !has_next {
            return None;
        }
        self.claimed += 1;
        self.since = now;
        self.serial += 1;
        Some(self.queue[self.claimed - 1])
    }

    /// The running item ended.
    pub(crate) fn end(&mut self, now: u64) {
        self.busy += now - self.since;
        self.ended += 1;
    }

    /// Takes the first `items` replies off the queue: they are heard.
    pub(crate) fn hear(&mut self, items: usize) -> Vec<(JobId, u64)> {
        self.life.has_paid |= items > 0;
        self.claimed -= items;
        self.ended -= items;
        self.sent = self.sent.saturating_sub(items);
        self.queue.drain(..items).collect()
    }

    /// Takes back what was not claimed.
    pub(crate) fn give_back(&mut self) -> Vec<(JobId, u64)> {
        self.queue.drain(self.claimed..).collect()
    }
}
