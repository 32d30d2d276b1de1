//! The agents that a master hears of: who is there, how many workers they have, and what people should know of it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::chunk::ChunkId;

/// Nobody has come for so long: people should know.
const ALONE_AFTER: Duration = Duration::from_secs(5);
/// What still does not succeed is said again after this.
pub(crate) const TROUBLE_AGAIN: Duration = Duration::from_secs(60);
/// An agent that has not spoken for so many leases is gone.
const GONE_LEASES: u32 = 3;

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
    /// There is no agent so far.
    Alone,
    /// An agent takes part.
    Joined {
        /// Its name.
        agent: String,
        /// How many workers it has.
        workers: u32,
    },
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

/// See the module.
pub(super) struct Fleet {
    lease: Duration,
    agents: BTreeMap<String, Agent>,
    /// Of all of them: it is asked for with every item.
    workers: u32,
    refused: BTreeMap<String, String>,
    /// A number for each worker of each agent.
    slots: HashMap<(String, u32), u32>,
    notices: Vec<Notice>,
    is_alone_said: bool,
    last_broken: Option<String>,
    /// What was said last of the broker, and when.
    trouble: Option<(String, Duration)>,
    /// When an agent last did something for the queue, or was not idle.
    moved: Duration,
}

struct Agent {
    workers: u32,
    is_idle: bool,
    heard: Duration,
}

impl Fleet {
    pub(super) fn new(lease: Duration) -> Fleet {
        Fleet {
            lease,
            agents: BTreeMap::new(),
            workers: 0,
            refused: BTreeMap::new(),
            slots: HashMap::new(),
            notices: Vec::new(),
            is_alone_said: false,
            last_broken: None,
            trouble: None,
            moved: Duration::ZERO,
        }
    }

    pub(super) fn heard(&mut self, hello: Hello, now: Duration) {
        let Hello { agent, workers, is_idle, parting, .. } = hello;
        match parting {
            None => {
                let is_new = self.agents.insert(agent.clone(), Agent { workers, is_idle, heard: now });
                if is_new.is_none() {
                    self.moved = now;
                    self.notices.push(Notice::Joined { agent, workers });
                }
                self.last_broken = None;
            }
            Some(Parting::Leaves) => {
                if self.agents.remove(&agent).is_some() {
                    self.notices.push(Notice::Left { agent });
                }
            }
            Some(Parting::Refused(why)) => {
                if self.refused.insert(agent.clone(), why.clone()).is_none() {
                    self.notices.push(Notice::Refused { agent, why });
                }
            }
            Some(Parting::Broken(why)) => {
                self.agents.remove(&agent);
                self.last_broken = Some(why.clone());
                self.notices.push(Notice::Broken { agent, why });
            }
        }
        if !is_idle {
            self.moved = now;
        }
        self.count_workers();
    }

    /// What agents have said before, nobody has heard.
    pub(super) fn connected(&mut self, now: Duration) {
        self.moved = now;
        self.agents.values_mut().for_each(|agent| agent.heard = now);
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
        let gone = self.lease * GONE_LEASES;
        let silent: Vec<String> = self
            .agents
            .iter()
            .filter(|(_, agent)| agent.heard + gone <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for agent in silent {
            self.agents.remove(&agent);
            self.notices.push(Notice::Silent { agent });
            self.count_workers();
        }
        if self.agents.is_empty() && now >= ALONE_AFTER && !self.is_alone_said {
            self.is_alone_said = true;
            self.notices.push(Notice::Alone);
        }
        self.is_alone_said &= self.agents.is_empty();
    }

    pub(super) fn workers(&self) -> u32 {
        self.workers
    }

    fn count_workers(&mut self) {
        self.workers = self.agents.values().map(|agent| agent.workers).fold(0, u32::saturating_add);
    }

    pub(super) fn agents(&self) -> usize {
        self.agents.len()
    }

    pub(super) fn broken(&self) -> Option<&str> {
        self.last_broken.as_deref().filter(|_| self.agents.is_empty())
    }

    pub(super) fn slot(&mut self, agent: &str, slot: u32) -> u32 {
        let next = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        *self.slots.entry((agent.to_owned(), slot)).or_insert(next)
    }

    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }
}
