//! The broker: two streams that take one message after the other, a queue of chunks, and requests that wait for one.
//!
//! It knows no costs: who calls says what each message costs.

use std::collections::VecDeque;

use crate::chunk::ChunkId;

/// Something that does one thing after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Server {
    free_at: u64,
    busy_ns: u64,
}

impl Server {
    /// Takes something up as soon as it is free: when that is done.
    pub(super) fn serve(&mut self, now: u64, cost: u64) -> u64 {
        self.free_at = self.free_at.max(now) + cost;
        self.busy_ns += cost;
        self.free_at
    }

    pub(super) fn busy_ns(&self) -> u64 {
        self.busy_ns
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Broker {
    pub(super) work: Server,
    pub(super) answers: Server,
    queue: VecDeque<(u64, ChunkId)>,
    /// Agents, as often as each waits for a chunk.
    requests: VecDeque<u32>,
    stored: u64,
}

impl Broker {
    /// A chunk is stored.
    pub(super) fn store(&mut self, id: ChunkId) {
        self.stored += 1;
        self.queue.push_back((self.stored, id));
    }

    /// An agent asks for a chunk.
    pub(super) fn request(&mut self, agent: u32) {
        self.requests.push_back(agent);
    }

    /// Who gets which chunk next, and its place in the stream.
    pub(super) fn hand_out(&mut self) -> Option<(u32, u64, ChunkId)> {
        let agent = *self.requests.front()?;
        let (sequence, id) = self.queue.pop_front()?;
        self.requests.pop_front();
        Some((agent, sequence, id))
    }

    /// Chunks that nobody has.
    pub(super) fn waiting(&self) -> u64 {
        self.queue.len() as u64
    }
}
