//! What an agent decides: which chunks it begins, whom it leaves to others, when it says that it still has them. Facts in,
//! commands out; time is an argument.
//!
//! It knows neither NATS nor pools.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::chunk::{Answer, Chunk, ChunkId, Fate, Figures};

/// A chunk that has cost so many agents is not begun by another one.
pub(crate) const LOSSES_MAX: u32 = 3;

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Try to be the only one that ever begins it.
    Claim(ChunkId),
    /// Let the pool run it.
    Begin(Chunk),
    /// Publish the answer, then end the lease.
    Answer(ChunkId, Answer),
    /// Say that it is still in hand.
    Renew(ChunkId),
    /// Somebody else has it: do nothing more about it.
    Drop(ChunkId),
}

/// The chunks that an agent has leased.
pub(crate) struct Leases {
    agent: String,
    lease: Duration,
    /// Items start once at most.
    at_most_once: bool,
    held: BTreeMap<ChunkId, Held>,
    drains: bool,
    commands: VecDeque<Command>,
}

struct Held {
    stage: Stage,
    leased: Duration,
    renewed: Duration,
    /// When the pool last said that it has the items.
    alive: Duration,
}

enum Stage {
    Claims(Chunk),
    Runs,
    /// There is an answer, which is on its way.
    Answers,
}

impl Leases {
    pub(crate) fn new(agent: &str, lease: Duration, at_most_once: bool) -> Leases {
        Leases {
            agent: agent.to_owned(),
            lease,
            at_most_once,
            held: BTreeMap::new(),
            drains: false,
            commands: VecDeque::new(),
        }
    }

    /// The broker has handed a chunk out, the how-many-th time.
    pub(crate) fn leased(&mut self, chunk: Chunk, delivery: u32, now: Duration) {
        let id = chunk.id;
        if let Some(held) = self.held.get_mut(&id) {
            // Word that it is in hand has not arrived.
            held.renewed = now;
            return self.commands.push_back(Command::Renew(id));
        }
        let held = |stage| Held { stage, leased: now, renewed: now, alive: now };
        if self.at_most_once {
            // Also to give it back: somebody else may have begun it and be gone.
            self.held.insert(id, held(Stage::Claims(chunk)));
            self.commands.push_back(Command::Claim(id));
        } else if self.drains {
            self.held.insert(id, held(Stage::Answers));
            self.reply(id, chunk.items.iter().map(|item| (item.index, Fate::NotBegun)).collect(), false);
        } else if delivery > LOSSES_MAX {
            self.held.insert(id, held(Stage::Answers));
            self.reply(id, chunk.items.iter().map(|item| (item.index, Fate::NotBegun)).collect(), true);
        } else {
            self.held.insert(id, held(Stage::Runs));
            self.commands.push_back(Command::Begin(chunk));
        }
    }

    /// The claim was taken, or somebody had it before.
    pub(crate) fn claimed(&mut self, id: ChunkId, is_ours: bool, now: Duration) {
        let Some(held) = self.held.get_mut(&id) else { return };
        let Stage::Claims(chunk) = std::mem::replace(&mut held.stage, Stage::Answers) else { return };
        if is_ours && self.drains {
            self.reply(id, chunk.items.iter().map(|item| (item.index, Fate::NotBegun)).collect(), false);
        } else if is_ours {
            (held.stage, held.alive) = (Stage::Runs, now);
            self.commands.push_back(Command::Begin(chunk));
        } else if held.leased + self.lease > now {
            // It was handed out because whoever had it was lost.
            self.reply(id, chunk.items.iter().map(|item| (item.index, Fate::Lost)).collect(), false);
        } else {
            // It was we who were gone: somebody else has it, and says so.
            self.held.remove(&id);
            self.commands.push_back(Command::Drop(id));
        }
    }

    /// The pool has the chunk's items.
    pub(crate) fn alive(&mut self, id: ChunkId, now: Duration) {
        if let Some(held) = self.held.get_mut(&id) {
            held.alive = now;
        }
    }

    /// The pool has said what became of every item.
    pub(crate) fn ended(&mut self, id: ChunkId, fates: Vec<(u64, Fate)>, figures: Vec<Figures>) {
        if let Some(held) = self.held.get_mut(&id) {
            held.stage = Stage::Answers;
            let agent = self.agent.clone();
            self.commands.push_back(Command::Answer(id, Answer { agent, is_suspect: false, fates, figures }));
        }
    }

    /// The answer is with the broker, or nobody wants it any more.
    pub(crate) fn answered(&mut self, id: ChunkId) {
        self.held.remove(&id);
    }

    /// Begins nothing any more.
    pub(crate) fn drain(&mut self) {
        self.drains = true;
    }

    pub(crate) fn held(&self) -> Vec<ChunkId> {
        self.held.keys().copied().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(crate) fn tick(&mut self, now: Duration) {
        for (id, held) in &mut self.held {
            // Of what the pool says nothing the lease runs out.
            let is_alive = match held.stage {
                Stage::Runs => held.alive + self.lease > now,
                Stage::Claims(_) | Stage::Answers => true,
            };
            if is_alive && held.renewed + self.lease / 3 <= now {
                held.renewed = now;
                self.commands.push_back(Command::Renew(*id));
            }
        }
    }

    fn reply(&mut self, id: ChunkId, fates: Vec<(u64, Fate)>, is_suspect: bool) {
        let agent = self.agent.clone();
        self.commands
            .push_back(Command::Answer(id, Answer { agent, is_suspect, fates, figures: Vec::new() }));
    }

    /// What is to be done next.
    #[must_use]
    pub(crate) fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }
}
