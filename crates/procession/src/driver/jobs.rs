//! The open jobs of a pool, by the dense ids the scheduler knows them by.

use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use procession_core::JobId;

use super::backlog::Backlog;
use super::effects::Effects;
use crate::error::Loss;
use crate::job::{Job, StopReason};
use crate::wire::Demands;

/// A slab of jobs: an index is used again once its job is settled, under a new generation.
#[derive(Default)]
pub(crate) struct Jobs {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    generation: u32,
    entry: Option<JobEntry>,
}

/// The driver's part of one job.
pub(crate) struct JobEntry {
    pub(crate) job: Arc<Job>,
    /// The task's index in the registry, as the wire names it.
    pub(crate) task: u32,
    pub(crate) backlog: Backlog,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) total: u64,
    /// Deaths that cost an item an attempt it may repeat, per item, until it has its outcome.
    pub(crate) losses: Vec<(u64, Loss)>,
}

impl JobEntry {
    /// As the wire says it: 0 means none.
    pub(crate) fn timeout_ns(&self) -> u64 {
        self.timeout.map_or(0, |limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX))
    }

    /// What is asked of a worker that runs items of it.
    pub(crate) fn demands(&self) -> Demands {
        Demands { timed: self.timeout.is_some(), measured: self.job.keeps_figures() }
    }

    /// These items have their outcome: neither their arguments nor the deaths they caused are needed any more.
    pub(crate) fn settle(&mut self, first: u64, items: u64) {
        self.backlog.settle(first, items);
        if !self.losses.is_empty() {
            self.losses.retain(|(item, _)| !(first..first + items).contains(item));
        }
    }
}

impl Jobs {
    pub(crate) fn insert(&mut self, entry: JobEntry) -> JobId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, entry: None });
            u32::try_from(self.slots.len() - 1).expect("fewer than four billion open jobs")
        });
        let slot = &mut self.slots[index as usize];
        slot.entry = Some(entry);
        JobId { index, generation: slot.generation }
    }

    pub(crate) fn entry(&self, id: JobId) -> Option<&JobEntry> {
        let slot = self.slots.get(id.index as usize)?;
        if slot.generation == id.generation { slot.entry.as_ref() } else { None }
    }

    pub(crate) fn entry_mut(&mut self, id: JobId) -> Option<&mut JobEntry> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation == id.generation { slot.entry.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, id: JobId) -> Option<JobEntry> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        let entry = slot.entry.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(entry)
    }

    /// Whatever is open takes no more input that would run: the pool ends.
    pub(crate) fn stop_all(&self, effects: &mut Effects) {
        let open = self.slots.iter().filter_map(|slot| slot.entry.as_ref());
        effects.stopped.extend(open.map(|entry| (Arc::clone(&entry.job), StopReason::Pool)));
    }

    /// The lazy calls that this thread would have to pull; their ids.
    pub(crate) fn pulled_by(&self, thread: ThreadId) -> Vec<JobId> {
        let ids = (0..).zip(&self.slots).filter_map(|(index, slot)| {
            let is_pulled = slot.entry.as_ref()?.job.puller == Some(thread);
            is_pulled.then_some(JobId { index, generation: slot.generation })
        });
        ids.collect()
    }

    /// Empties the slab: the driver is broken.
    pub(crate) fn drain(&mut self) -> Vec<JobEntry> {
        self.slots.iter_mut().filter_map(|slot| slot.entry.take()).collect()
    }
}
