//! An agent: the real leases, a processor of its own, and a pool whose workers take items of its chunks in turn.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::broker::Server;
use crate::chunk::{Chunk, ChunkId, Fate, Figures};
use crate::leases::Leases;
use crate::reserve::Reserve;

/// Items that take less are handed to a worker several at a time, as the pool does.
const HAND_OUT_NS: u64 = 1_000_000;

/// See the module.
pub(super) struct Agent {
    pub(super) name: String,
    pub(super) leases: Leases,
    /// What it does beside its workers.
    pub(super) processor: Server,
    pub(super) workers: u32,
    free: u32,
    reserve: Reserve,
    /// Chunks that it has, or asks for.
    pub(super) most: usize,
    running: BTreeMap<ChunkId, Running>,
    /// Chunks with items that no worker has.
    ready: VecDeque<ChunkId>,
}

struct Running {
    chunk: Chunk,
    to_start: u32,
    to_end: u32,
    busy_ns: u64,
}

impl Agent {
    pub(super) fn new(name: String, workers: u32, lease: Duration) -> Agent {
        let leases = Leases::new(&name, lease, false);
        let (processor, running, ready) = (Server::default(), BTreeMap::new(), VecDeque::new());
        let (reserve, most) = (Reserve::default(), workers as usize);
        Agent { name, leases, processor, workers, free: workers, reserve, most, running, ready }
    }

    /// The pool has a chunk.
    pub(super) fn begin(&mut self, chunk: Chunk) {
        let (id, items) = (chunk.id, u32::try_from(chunk.items.len()).expect("chunks are small"));
        self.running.insert(id, Running { chunk, to_start: items, to_end: items, busy_ns: 0 });
        self.ready.push_back(id);
    }

    /// A free worker takes some items of the chunk whose turn it is.
    pub(super) fn hand_out(&mut self, item_ns: u64) -> Option<(ChunkId, u32)> {
        if self.free == 0 {
            return None;
        }
        let id = self.ready.pop_front()?;
        let run = self.running.get_mut(&id).expect("what is ready runs");
        // No more than what is left for each worker.
        let most = run.to_start.div_ceil(self.workers);
        let items = u32::try_from(HAND_OUT_NS / item_ns.max(1)).unwrap_or(u32::MAX).clamp(1, most);
        run.to_start -= items;
        self.free -= 1;
        if run.to_start > 0 {
            self.ready.push_back(id);
        }
        Some((id, items))
    }

    /// A worker is done with its items; true: with the last of the chunk.
    pub(super) fn ended(&mut self, id: ChunkId, items: u32, busy_ns: u64) -> bool {
        self.free += 1;
        let run = self.running.get_mut(&id).expect("what ends runs");
        run.to_end -= items;
        run.busy_ns += busy_ns;
        run.to_end == 0
    }

    /// How many items a chunk that runs has.
    pub(super) fn items(&self, id: ChunkId) -> u64 {
        self.running.get(&id).map_or(0, |run| run.chunk.items.len() as u64)
    }

    /// What became of a chunk that has ended: each item's arguments are its value.
    pub(super) fn take(&mut self, id: ChunkId) -> (Vec<(u64, Fate)>, Vec<Figures>) {
        let Running { chunk, busy_ns, .. } = self.running.remove(&id).expect("what ends runs");
        let items = u32::try_from(chunk.items.len()).expect("chunks are small");
        let (since, cpu, busy) = (Duration::ZERO, Duration::ZERO, Duration::from_nanos(busy_ns));
        self.reserve.ended(busy, Duration::ZERO);
        let figures = Figures { first: 0, items, attempt: 1, slot: 0, pid: 1, since, busy, cpu, peak_rss: 0 };
        let fates = chunk.items.into_iter().map(|item| (item.index, Fate::Value(item.args)));
        (fates.collect(), vec![figures])
    }

    /// A place is free: how many chunks to ask for.
    pub(super) fn asks_for(&mut self) -> usize {
        let most = self.workers as usize + usize::from(self.reserve.is_wanted());
        let asks_for = (most + 1).saturating_sub(self.most);
        self.most = most;
        asks_for
    }

    /// The pool says that it has what runs.
    pub(super) fn alive(&mut self, now: Duration) {
        self.running.keys().for_each(|id| self.leases.alive(*id, now));
    }
}
