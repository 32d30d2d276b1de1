//! What an agent decides: which chunks it begins, whom it leaves to others, when it says that it still has them. Facts in,
//! commands out; time is an argument.
//!
//! It knows neither NATS nor pools.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::chunk::{Answer, Chunk, ChunkId, Fate, Figures};

/// A chunk that so many agents were lost with, while they ran nothing else, is not begun by another one.
pub(crate) const LOSSES_MAX: u32 = 3;
/// From its how-many-th delivery on a chunk runs alone. The first ones are with what was in hand together with it, and most agents
/// are lost for reasons of their own: whatever they had would run alone for nothing.
const ALONE_FROM: u32 = 3;
/// So many deliveries after the one that it was claimed with, whoever claimed a chunk is lost. At the first it may have been
/// held up and may renew what is another's lease by now; at the second it did not even do that.
const LOST_AFTER: u32 = 2;
/// So many answered messages are known again.
const ANSWERED_MAX: usize = 4_096;

/// One handing-out of a chunk: which message of the broker's it came in, and how often that had been handed out by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delivery {
    pub(crate) sequence: u64,
    pub(crate) number: u32,
}

impl Delivery {
    /// Whether this one tells that whoever claimed the chunk with another is lost.
    pub(crate) fn tells_loss_of(self, claim: Delivery) -> bool {
        self.sequence == claim.sequence && self.number >= claim.number.saturating_add(LOST_AFTER)
    }
}

/// What the broker says of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    Ours,
    /// Somebody had claimed it, with this delivery; `is_there`: its message has not been acknowledged.
    Theirs {
        by: Delivery,
        is_there: bool,
    },
    /// Its master took it back, so that nobody ever begins it.
    Nobodys,
    /// The job is over.
    Gone,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Try to be the only one that ever begins it.
    Claim(ChunkId, Delivery),
    /// Note at the broker that it is begun alone, unless that was noted too often.
    Charge(ChunkId),
    /// Let the pool run it.
    Begin(Chunk),
    /// Publish the answer, then end the lease.
    Answer(ChunkId, Answer),
    /// Say that it is still in hand.
    Renew(ChunkId),
    /// Others see to it: acknowledge what came, and do nothing more about it.
    Acknowledge(ChunkId),
    /// Somebody else may have it: leave its lease alone.
    Drop(ChunkId),
}

/// The chunks that an agent has leased.
pub(crate) struct Leases {
    agent: String,
    lease: Duration,
    /// Items start once at most.
    at_most_once: bool,
    held: BTreeMap<ChunkId, Held>,
    /// What is still to be begun, in this order.
    waiting: VecDeque<ChunkId>,
    /// Messages whose chunk was answered. They come again where word of that is lost.
    answered: BTreeSet<u64>,
    drains: bool,
    commands: VecDeque<Command>,
}

struct Held {
    stage: Stage,
    /// Nothing else runs beside it.
    is_alone: bool,
    /// The latest of each message that it came in.
    deliveries: Vec<Delivery>,
    renewed: Duration,
    /// When the pool last said that it has the items.
    alive: Duration,
}

enum Stage {
    Claims(Chunk),
    /// Something else runs that it may not run beside.
    Waits(Chunk),
    Charges(Chunk),
    Runs,
    /// There is an answer, which is on its way.
    Answers,
}

impl Held {
    /// Of what the pool says nothing the lease runs out.
    fn is_alive(&self, lease: Duration, now: Duration) -> bool {
        match self.stage {
            Stage::Runs => self.alive + lease > now,
            Stage::Claims(_) | Stage::Waits(_) | Stage::Charges(_) | Stage::Answers => true,
        }
    }
}

impl Leases {
    pub(crate) fn new(agent: &str, lease: Duration, at_most_once: bool) -> Leases {
        Leases {
            agent: agent.to_owned(),
            lease,
            at_most_once,
            held: BTreeMap::new(),
            waiting: VecDeque::new(),
            answered: BTreeSet::new(),
            drains: false,
            commands: VecDeque::new(),
        }
    }

    /// The broker has handed a chunk out.
    pub(crate) fn leased(&mut self, chunk: Chunk, delivery: Delivery, now: Duration) {
        let id = chunk.id;
        if let Some(held) = self.held.get_mut(&id) {
            // Word that it is in hand has not arrived, or its master has put it another time.
            held.deliveries.retain(|known| known.sequence != delivery.sequence);
            held.deliveries.push(delivery);
            if held.is_alive(self.lease, now) {
                held.renewed = now;
                self.commands.push_back(Command::Renew(id));
            }
            return;
        }
        if self.answered.contains(&delivery.sequence) {
            return self.commands.push_back(Command::Acknowledge(id));
        }
        let is_alone = !self.at_most_once && (chunk.is_alone || delivery.number >= ALONE_FROM);
        let held = |stage| Held { stage, is_alone, deliveries: vec![delivery], renewed: now, alive: now };
        if self.at_most_once {
            // Also to give it back: somebody else may have begun it and be gone.
            self.held.insert(id, held(Stage::Claims(chunk)));
            self.commands.push_back(Command::Claim(id, delivery));
        } else if self.drains {
            self.held.insert(id, held(Stage::Answers));
            self.reply(&chunk, &Fate::NotBegun, false);
        } else {
            self.held.insert(id, held(Stage::Waits(chunk)));
            self.waiting.push_back(id);
            self.admit(now);
        }
    }

    /// Begins what may be begun beside what runs.
    fn admit(&mut self, now: Duration) {
        while let Some(id) = self.waiting.front().copied() {
            let runs = |held: &&Held| matches!(held.stage, Stage::Charges(_) | Stage::Runs);
            let is_alone = self.held.get(&id).is_some_and(|held| held.is_alone);
            if self.held.values().filter(runs).any(|other| is_alone || other.is_alone) {
                return;
            }
            self.waiting.pop_front();
            let Some(held) = self.held.get_mut(&id) else { continue };
            let Stage::Waits(chunk) = std::mem::replace(&mut held.stage, Stage::Runs) else {
                unreachable!("whoever waits is in its stage")
            };
            if is_alone {
                held.stage = Stage::Charges(chunk);
                self.commands.push_back(Command::Charge(id));
            } else {
                held.alive = now;
                self.commands.push_back(Command::Begin(chunk));
            }
        }
    }

    /// It was noted that a chunk is begun alone; or not, since too many agents were lost that had noted that.
    pub(crate) fn charged(&mut self, id: ChunkId, is_noted: bool, now: Duration) {
        let Some(held) = self.held.get_mut(&id) else { return };
        let Stage::Charges(chunk) = std::mem::replace(&mut held.stage, Stage::Answers) else { return };
        if is_noted {
            (held.stage, held.alive) = (Stage::Runs, now);
            self.commands.push_back(Command::Begin(chunk));
        } else {
            self.reply(&chunk, &Fate::NotBegun, true);
            self.admit(now);
        }
    }

    /// The broker has said what became of a claim.
    pub(crate) fn claimed(&mut self, id: ChunkId, claimed: Claimed, now: Duration) {
        let Some(held) = self.held.get_mut(&id) else { return };
        let Stage::Claims(chunk) = std::mem::replace(&mut held.stage, Stage::Answers) else { return };
        match claimed {
            Claimed::Ours if !self.drains => {
                (held.stage, held.alive) = (Stage::Runs, now);
                self.commands.push_back(Command::Begin(chunk));
            }
            Claimed::Ours | Claimed::Nobodys => self.reply(&chunk, &Fate::NotBegun, false),
            Claimed::Theirs { by, is_there } => {
                match held.deliveries.iter().find(|ours| ours.sequence == by.sequence) {
                    // If it lives it renews this lease, since that is the message's and not the delivery's. If not, there
                    // is another delivery.
                    Some(ours) if !ours.tells_loss_of(by) => self.let_go(id, Command::Drop(id)),
                    // Ours is a copy: what becomes of the other message decides.
                    None if is_there => self.let_go(id, Command::Acknowledge(id)),
                    // If there is an answer, it counts and not this one.
                    Some(_) | None => self.reply(&chunk, &Fate::Lost, false),
                }
            }
            Claimed::Gone => self.let_go(id, Command::Drop(id)),
        }
    }

    /// The pool has the chunk's items.
    pub(crate) fn alive(&mut self, id: ChunkId, now: Duration) {
        if let Some(held) = self.held.get_mut(&id) {
            held.alive = now;
        }
    }

    /// The pool has said what became of every item.
    pub(crate) fn ended(
        &mut self,
        id: ChunkId,
        fates: Vec<(u64, Fate)>,
        figures: Vec<Figures>,
        now: Duration,
    ) {
        if let Some(held) = self.held.get_mut(&id) {
            held.stage = Stage::Answers;
            let agent = self.agent.clone();
            self.commands.push_back(Command::Answer(id, Answer { agent, is_suspect: false, fates, figures }));
            self.admit(now);
        }
    }

    /// The answer is with the broker, or nobody wants it any more.
    pub(crate) fn answered(&mut self, id: ChunkId) {
        let Some(held) = self.held.remove(&id) else { return };
        self.answered.extend(held.deliveries.iter().map(|delivery| delivery.sequence));
        while self.answered.len() > ANSWERED_MAX {
            self.answered.pop_first();
        }
    }

    /// Begins nothing any more.
    pub(crate) fn drain(&mut self) {
        self.drains = true;
        for id in std::mem::take(&mut self.waiting) {
            let Some(held) = self.held.get_mut(&id) else { continue };
            if let Stage::Waits(chunk) = std::mem::replace(&mut held.stage, Stage::Answers) {
                self.reply(&chunk, &Fate::NotBegun, false);
            }
        }
    }

    /// Whatever else came would wait for a chunk that runs alone: others may have it.
    pub(crate) fn has_room(&self) -> bool {
        !self.held.values().any(|held| held.is_alone && !matches!(held.stage, Stage::Answers))
    }

    pub(crate) fn held(&self) -> Vec<ChunkId> {
        self.held.keys().copied().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(crate) fn tick(&mut self, now: Duration) {
        self.renew(self.lease / 3, now);
    }

    /// The broker is there again: what was said meanwhile has not arrived.
    pub(crate) fn connected(&mut self, now: Duration) {
        self.renew(Duration::ZERO, now);
    }

    /// Renews what was not renewed for so long.
    fn renew(&mut self, after: Duration, now: Duration) {
        for (id, held) in &mut self.held {
            if held.is_alive(self.lease, now) && held.renewed + after <= now {
                held.renewed = now;
                self.commands.push_back(Command::Renew(*id));
            }
        }
    }

    fn let_go(&mut self, id: ChunkId, how: Command) {
        self.held.remove(&id);
        self.commands.push_back(how);
    }

    fn reply(&mut self, chunk: &Chunk, fate: &Fate, is_suspect: bool) {
        let fates = chunk.items.iter().map(|item| (item.index, fate.clone())).collect();
        let answer = Answer { agent: self.agent.clone(), is_suspect, fates, figures: Vec::new() };
        self.commands.push_back(Command::Answer(chunk.id, answer));
    }

    /// What is to be done next.
    #[must_use]
    pub(crate) fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }
}
