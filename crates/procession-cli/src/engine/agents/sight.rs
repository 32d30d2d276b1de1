//! What a run knows of its agents, for who looks on: those that are there now, for any thread that asks, and what becomes of
//! each, for the record.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use procession_cluster::{AgentStatus, Notice, Seats};
use procession_store::{AgentChange, AgentNews, Leaving};

use super::super::{News, Present};

/// How often it is looked at what agents have in hand. They say so every third of a lease.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// See the module. Cheap to clone; what is behind an `Arc` is what all clones share.
#[derive(Clone, Default)]
pub(super) struct Sight {
    told: Option<Sender<News>>,
    /// The agents that there were at the last look. Held for no longer than it takes to copy them.
    present: Arc<Mutex<Vec<Present>>>,
    /// As many as there were at most.
    workers: Arc<AtomicUsize>,
    /// Items that have an outcome.
    answered: Arc<AtomicU64>,
    looked: Option<Instant>,
}

impl Sight {
    pub(super) fn tell(&mut self, told: Sender<News>) {
        self.told = Some(told);
    }

    pub(super) fn present(&self) -> Vec<Present> {
        self.lock().clone()
    }

    pub(super) fn workers(&self) -> usize {
        self.workers.load(Ordering::Relaxed)
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn note_answered(&self, items: u64) {
        self.answered.store(items, Ordering::Relaxed);
    }

    /// Passes on that the broker is gone, or there again.
    pub(super) fn connected(&self, is_connected: bool) {
        if let Some(told) = &self.told {
            let _ = told.send(News::Broker(is_connected));
        }
    }

    /// Passes on who came and who is gone.
    pub(super) fn notice(&mut self, notice: &Notice) {
        let (name, what) = match notice {
            Notice::Joined(Seats { agent, first, workers }) => {
                (agent, AgentChange::Joined { first_slot: *first, workers: *workers })
            }
            Notice::Left { agent } => (agent, AgentChange::Gone(Leaving::Left)),
            Notice::Silent { agent } => (agent, AgentChange::Gone(Leaving::Silent)),
            Notice::Broken { agent, .. } => (agent, AgentChange::Gone(Leaving::Broken)),
            // They are nobody's that took part.
            _ => return,
        };
        // Whoever comes or goes shows at once.
        self.looked = None;
        self.pass_on(name, what);
    }

    /// Looks, now and then, at what agents have in hand.
    pub(super) fn look(&mut self, now: Instant, agents: impl FnOnce() -> Vec<AgentStatus>) {
        if self.looked.is_some_and(|looked| now.duration_since(looked) < LOOK_EVERY) {
            return;
        }
        self.looked = Some(now);
        let present: Vec<Present> = agents().into_iter().map(Present::from).collect();
        self.workers.fetch_max(present.iter().map(|agent| agent.workers as usize).sum(), Ordering::Relaxed);
        let before = std::mem::replace(&mut *self.lock(), present.clone());
        let before: BTreeMap<&str, u64> = before.iter().map(|agent| (&*agent.name, agent.chunks)).collect();
        for Present { name, chunks, .. } in &present {
            if before.get(&**name).copied().unwrap_or_default() != *chunks {
                self.pass_on(name, AgentChange::Holds(*chunks));
            }
        }
    }

    fn pass_on(&self, name: &str, what: AgentChange) {
        if let Some(told) = &self.told {
            // Nobody listens any more once the run has ended.
            let _ = told.send(News::Agent(AgentNews { name: name.to_owned(), what }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Present>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<AgentStatus> for Present {
    fn from(agent: AgentStatus) -> Present {
        Present { name: agent.name, workers: agent.workers, chunks: agent.chunks as u64 }
    }
}
