//! What travels to agents: some items of a job, with their arguments, under one name.
//!
//! It knows nothing of how it travels.

use std::fmt;
use std::time::Duration;

use procession::Payload;
use serde::{Deserialize, Serialize};

/// The name of a chunk, which no other of its job has: which of the job's masters made it, and the how-many-th it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct ChunkId(u64);

/// So many chunks of one master can be told apart.
const NUMBER_BITS: u32 = 40;

impl ChunkId {
    /// The first of a master.
    pub(crate) fn first(session: u32) -> ChunkId {
        ChunkId(u64::from(session) << NUMBER_BITS)
    }

    /// Which master made it.
    pub(crate) fn session(self) -> u32 {
        u32::try_from(self.0 >> NUMBER_BITS).expect("24 bits are left")
    }

    pub(crate) fn next(self) -> ChunkId {
        ChunkId(self.0 + 1)
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// As it stands in a subject.
    pub(crate) fn parse(token: &str) -> Option<ChunkId> {
        u64::from_str_radix(token, 16).ok().map(ChunkId)
    }
}

impl From<u64> for ChunkId {
    fn from(number: u64) -> ChunkId {
        ChunkId(number)
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// An item of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// In the whole job.
    pub(crate) index: u64,
    pub(crate) args: Payload,
}

/// Items that are leased together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) id: ChunkId,
    /// How long each item may run.
    pub(crate) timeout: Option<Duration>,
    /// Agents were lost with some of its items: nothing else is to run beside it.
    pub(crate) is_alone: bool,
    pub(crate) items: Vec<Item>,
}

/// What became of an item in an agent's hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Value(Payload),
    /// An encoded [`procession::ErrorReport`].
    Failed(Vec<u8>),
    /// It was not begun and may run elsewhere.
    NotBegun,
    /// An agent had begun with it and was lost; it may have run.
    Lost,
}

/// What an agent says of a chunk, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Who says so.
    pub(crate) agent: String,
    /// So many agents were lost while they had it, and it was not begun another time.
    pub(crate) is_suspect: bool,
    /// Each item by its index.
    pub(crate) fates: Vec<(u64, Fate)>,
    pub(crate) figures: Vec<Figures>,
}

/// What consecutive items of a chunk took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    /// The place of the first of them in the chunk.
    pub(crate) first: u32,
    pub(crate) items: u32,
    pub(crate) attempt: u32,
    /// The worker, of the agent's.
    pub(crate) slot: u32,
    pub(crate) pid: u32,
    /// How long before the answer they ended.
    pub(crate) since: Duration,
    pub(crate) busy: Duration,
    pub(crate) cpu: Duration,
    pub(crate) peak_rss: u64,
}

impl Figures {
    /// Those of the item at this place in the chunk, if they are about it: its share of what they tell of several.
    pub(crate) fn of_item(&self, place: u32) -> Option<Figures> {
        let before = place.checked_sub(self.first).filter(|before| *before < self.items)?;
        let behind = self.items - 1 - before;
        let busy = self.busy / self.items;
        let since = self.since.saturating_add(busy.saturating_mul(behind));
        Some(Figures { first: place, items: 1, since, busy, cpu: self.cpu / self.items, ..*self })
    }
}
