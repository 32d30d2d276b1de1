//! The agents that a master hears of: who is there, how many workers they have, and what people should know of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::chunk::ChunkId;

/// Nobody has come for so long: people should know.
const ALONE_AFTER: Duration = Duration::from_secs(5);
/// What still does not succeed is said again after this.
pub(crate) const TROUBLE_AGAIN: Duration = Duration::from_secs(60);
/// An agent that has not spoken for so many leases is gone.
const GONE_LEASES: u32 = 3;

/// Agents may say anything. One that has more workers than a machine has room for is taken to have so many.
const WORKERS_MAX: u32 = 1 << 16;
/// Agents that a job remembers. Of more than these it is not told who ran what.
const AGENTS_MAX: usize = 1 << 16;
/// A name is a machine's, a process's and a few digits. One that is longer, in bytes, is nobody's.
const NAME_MAX: usize = 320;

/// What an agent says of itself, every third of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) agent: String,
    pub(crate) workers: u32,
    /// It could begin more chunks.
    pub(crate) is_idle: bool,
    pub(crate) held: Vec<ChunkId>,
    /// Why it does not, or no longer, take part.
    #[serde(default)]
    pub(crate) parting: Option<Parting>,
}

/// Why an agent takes no part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Parting {
    /// Somebody has told it to.
    Leaves,
    /// It is another program.
    Refused(String),
    /// Its pool cannot run anything.
    Broken(String),
}

/// What people should know of agents.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// There is no agent, or none any more.
    Alone,
    /// An agent takes part: its name, and its workers among those of all agents.
    Joined(Seats),
    /// An agent takes no part any longer.
    Left {
        /// Its name.
        agent: String,
    },
    /// An agent has not been heard of for three leases.
    Silent {
        /// Its name.
        agent: String,
    },
    /// An agent is another program than the master.
    Refused {
        /// Its name.
        agent: String,
        /// How it differs.
        why: String,
    },
    /// Something at the broker does not succeed, and is tried again and again.
    Trouble {
        /// What, and what the broker says.
        what: String,
    },
    /// An agent cannot run anything.
    Broken {
        /// Its name.
        agent: String,
        /// What its pool says.
        why: String,
    },
}

/// An agent's workers among those of all agents that a job has had: they are counted through, an agent's one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seats {
    /// The agent's name.
    pub agent: String,
    /// The slot of its first worker.
    pub first: u32,
    /// How many workers it has.
    pub workers: u32,
}

/// An agent that takes part, as it said last.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentStatus {
    /// Its name.
    pub name: String,
    /// How many workers it has.
    pub workers: u32,
    /// Chunks whose leases it has.
    pub chunks: usize,
}

/// See the module.
pub(super) struct Fleet {
    lease: Duration,
    agents: BTreeMap<String, Agent>,
    /// Of all of them: it is asked for with every item.
    workers: u64,
    refused: BTreeMap<String, String>,
    /// Of every agent there has been.
    seats: BTreeMap<String, Seats>,
    /// Behind the last slot that an agent has.
    slots: u32,
    notices: Vec<Notice>,
    is_alone_said: bool,
    /// Nothing can be heard of anybody.
    is_cut_off: bool,
    last_broken: Option<String>,
    /// What was said last of the broker, and when.
    trouble: Option<(String, Duration)>,
    /// When an agent last did something for the queue, or was not idle.
    moved: Duration,
}

struct Agent {
    workers: u32,
    chunks: usize,
    is_idle: bool,
    heard: Duration,
}

impl Seats {
    /// Behind the last of them.
    fn end(&self) -> u32 {
        self.first.saturating_add(self.workers)
    }
}

impl Fleet {
    pub(super) fn new(lease: Duration) -> Fleet {
        Fleet {
            lease,
            agents: BTreeMap::new(),
            workers: 0,
            refused: BTreeMap::new(),
            seats: BTreeMap::new(),
            slots: 0,
            notices: Vec::new(),
            is_alone_said: false,
            is_cut_off: false,
            last_broken: None,
            trouble: None,
            moved: Duration::ZERO,
        }
    }

    pub(super) fn heard(&mut self, hello: Hello, now: Duration) {
        let Hello { agent, workers, is_idle, held, parting } = hello;
        if agent.is_empty() || agent.len() > NAME_MAX {
            return;
        }
        let workers = workers.clamp(1, WORKERS_MAX);
        match parting {
            None if self.seats.len() >= AGENTS_MAX && !self.seats.contains_key(&agent) => {}
            None => {
                let chunks = held.len();
                let is_new = !self.agents.contains_key(&agent);
                self.insert(agent.clone(), Agent { workers, chunks, is_idle, heard: now });
                if is_new {
                    self.moved = now;
                    let seats = self.seat(agent, workers);
                    self.notices.push(Notice::Joined(seats));
                }
                self.last_broken = None;
            }
            Some(Parting::Leaves) => {
                if self.remove(&agent) {
                    self.notices.push(Notice::Left { agent });
                }
            }
            Some(Parting::Refused(why)) => {
                let is_one_too_many = self.refused.len() >= AGENTS_MAX;
                if !is_one_too_many && self.refused.insert(agent.clone(), why.clone()).is_none() {
                    self.notices.push(Notice::Refused { agent, why });
                }
            }
            Some(Parting::Broken(why)) => {
                self.remove(&agent);
                self.last_broken = Some(why.clone());
                self.notices.push(Notice::Broken { agent, why });
            }
        }
        if !is_idle {
            self.moved = now;
        }
    }

    fn insert(&mut self, name: String, agent: Agent) {
        self.workers += u64::from(agent.workers);
        let before = self.agents.insert(name, agent);
        self.workers -= before.map_or(0, |before| u64::from(before.workers));
    }

    /// Whether it was there.
    fn remove(&mut self, name: &str) -> bool {
        let before = self.agents.remove(name);
        self.workers -= before.as_ref().map_or(0, |before| u64::from(before.workers));
        before.is_some()
    }

    /// What agents have said before, nobody has heard.
    pub(super) fn connected(&mut self, now: Duration) {
        (self.moved, self.is_cut_off) = (now, false);
        self.agents.values_mut().for_each(|agent| agent.heard = now);
    }

    pub(super) fn disconnected(&mut self) {
        self.is_cut_off = true;
    }

    pub(super) fn trouble(&mut self, what: String, now: Duration) {
        let is_known = |(last, said): &(String, Duration)| *last == what && *said + TROUBLE_AGAIN > now;
        if !self.trouble.as_ref().is_some_and(is_known) {
            self.trouble = Some((what.clone(), now));
            self.notices.push(Notice::Trouble { what });
        }
    }

    /// An agent has said something else.
    pub(super) fn spoke(&mut self, agent: &str, now: Duration) {
        self.moved = now;
        if let Some(agent) = self.agents.get_mut(agent) {
            agent.heard = now;
        }
    }

    pub(super) fn spoke_of_queue(&mut self, now: Duration) {
        self.moved = now;
    }

    /// All agents could do more, and have done nothing for so long.
    pub(super) fn is_idle_for(&self, silence: Duration, now: Duration) -> bool {
        !self.agents.is_empty()
            && self.agents.values().all(|agent| agent.is_idle)
            && self.moved + silence <= now
    }

    pub(super) fn tick(&mut self, now: Duration) {
        if self.is_cut_off {
            return;
        }
        let gone = self.lease * GONE_LEASES;
        let silent: Vec<String> = self
            .agents
            .iter()
            .filter(|(_, agent)| agent.heard + gone <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for agent in silent {
            self.remove(&agent);
            self.notices.push(Notice::Silent { agent });
        }
        if self.agents.is_empty() && now >= ALONE_AFTER && !self.is_alone_said {
            self.is_alone_said = true;
            self.notices.push(Notice::Alone);
        }
        self.is_alone_said &= self.agents.is_empty();
    }

    pub(super) fn workers(&self) -> u32 {
        u32::try_from(self.workers).unwrap_or(u32::MAX)
    }

    pub(super) fn broken(&self) -> Option<&str> {
        self.last_broken.as_deref().filter(|_| self.agents.is_empty())
    }

    /// Which worker of all that is; None of an agent that has not said how many it has.
    pub(super) fn slot(&self, agent: &str, worker: u32) -> Option<u32> {
        let seats = self.seats.get(agent).filter(|seats| worker < seats.workers)?;
        seats.first.checked_add(worker)
    }

    /// Agents that earlier masters had keep the seats that they had; others have theirs from `first` on.
    pub(super) fn recall(&mut self, seats: Vec<Seats>, first: u32) {
        self.slots = seats.iter().map(Seats::end).max().unwrap_or(0).max(first);
        self.seats.extend(seats.into_iter().map(|seats| (seats.agent.clone(), seats)));
    }

    /// One that comes back has the seats that it had.
    fn seat(&mut self, agent: String, workers: u32) -> Seats {
        let before = self.seats.get(&agent).filter(|seats| seats.workers == workers).cloned();
        before.unwrap_or_else(|| {
            let seats = Seats { agent, first: self.slots, workers };
            self.slots = seats.end();
            self.seats.insert(seats.agent.clone(), seats.clone());
            seats
        })
    }

    pub(super) fn status(&self) -> Vec<AgentStatus> {
        let status = |(name, agent): (&String, &Agent)| AgentStatus {
            name: name.clone(),
            workers: agent.workers,
            chunks: agent.chunks,
        };
        self.agents.iter().map(status).collect()
    }

    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(agent: &str, workers: u32) -> Hello {
        Hello { agent: agent.to_owned(), workers, is_idle: true, held: Vec::new(), parting: None }
    }

    fn seats(agent: &str, first: u32, workers: u32) -> Seats {
        Seats { agent: agent.to_owned(), first, workers }
    }

    #[test]
    fn agents_have_their_seats_one_after_the_other_and_again_when_they_come_back() {
        let mut fleet = Fleet::new(Duration::from_secs(1));
        fleet.recall(vec![seats("earlier", 0, 3)], 2);
        let now = Duration::ZERO;
        for (agent, workers) in [("b", 2), ("a", 4), ("earlier", 3)] {
            fleet.heard(hello(agent, workers), now);
        }
        fleet.heard(Hello { parting: Some(Parting::Leaves), ..hello("b", 2) }, now);
        fleet.heard(hello("b", 2), now);
        let joined: Vec<Seats> = fleet
            .take_notices()
            .into_iter()
            .filter_map(|notice| if let Notice::Joined(seats) = notice { Some(seats) } else { None })
            .collect();
        let b = seats("b", 3, 2);
        assert_eq!(joined, [b.clone(), seats("a", 5, 4), seats("earlier", 0, 3), b]);
        assert_eq!((fleet.slot("a", 3), fleet.slot("a", 4), fleet.slot("nobody", 0)), (Some(8), None, None));
    }

    #[test]
    fn nobody_is_gone_as_long_as_nobody_can_be_heard() {
        let mut fleet = Fleet::new(Duration::from_secs(1));
        let at = Duration::from_secs;
        fleet.heard(hello("a", 1), at(0));
        fleet.take_notices();
        fleet.disconnected();
        fleet.tick(at(60));
        fleet.connected(at(61));
        fleet.tick(at(62));
        assert_eq!((fleet.take_notices(), fleet.status().len()), (Vec::new(), 1));
        fleet.tick(at(64));
        let gone = Notice::Silent { agent: "a".to_owned() };
        assert_eq!(fleet.take_notices(), [gone, Notice::Alone]);
    }

    #[test]
    fn whoever_claims_more_workers_than_there_are_machines_for_has_fewer() {
        let mut fleet = Fleet::new(Duration::from_secs(1));
        for agent in 0..70_000 {
            fleet.heard(hello(&agent.to_string(), u32::MAX), Duration::ZERO);
        }
        assert_eq!((fleet.slot("0", 65_535), fleet.slot("0", 65_536)), (Some(65_535), None));
        assert_eq!(fleet.slot("69999", 1), None, "it is one too many");
    }
}
