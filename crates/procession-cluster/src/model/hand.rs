//! What a master has the broker do, as `nats/master/hand.rs` has it done: so many things at once, in that order.

use std::collections::{BTreeSet, VecDeque};

use crate::chunk::ChunkId;
use crate::nats::master::{PUTS_MAX, TIDIES_MAX};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Put(ChunkId),
    Release(ChunkId),
}

/// What leaves for the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    /// A chunk, and its number among those put.
    Put(u64, ChunkId),
    Purge,
}

/// See the module.
#[derive(Default)]
pub(super) struct Hand {
    tasks: VecDeque<Task>,
    number: u64,
    /// Puts that the broker has not acknowledged.
    puts: BTreeSet<u64>,
    /// Releases under way, and those that wait for the puts before them.
    tidies: usize,
    releases: VecDeque<u64>,
}

impl Hand {
    pub(super) fn push(&mut self, task: Task) {
        self.tasks.push_back(task);
    }

    pub(super) fn stored(&mut self, number: u64) {
        self.puts.remove(&number);
    }

    pub(super) fn purged(&mut self) {
        self.tidies -= 1;
    }

    /// What may leave next.
    pub(super) fn poll(&mut self) -> Option<Leaves> {
        loop {
            let is_due = |behind: &mut u64| self.puts.first().is_none_or(|first| first >= behind);
            if self.tidies < TIDIES_MAX && self.releases.pop_front_if(is_due).is_some() {
                self.tidies += 1;
                return Some(Leaves::Purge);
            }
            if self.puts.len() >= PUTS_MAX {
                return None;
            }
            match self.tasks.pop_front()? {
                Task::Put(id) => {
                    let number = self.number;
                    self.puts.insert(number);
                    self.number += 1;
                    return Some(Leaves::Put(number, id));
                }
                Task::Release(_) => self.releases.push_back(self.number),
            }
        }
    }
}
