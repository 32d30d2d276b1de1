//! What things cost beside the tasks themselves.

/// Nanoseconds. The master has one processor for all of its own, as has each agent beside its workers, and each stream of the
/// broker takes one message after the other: the strictest reading of their threads and locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Master: one chunk put, without its items.
    pub put: u64,
    /// Master: one answer heard, without its items.
    pub hear: u64,
    /// Master: one answer let go at the broker.
    pub release: u64,
    /// Master: one item, from the input to a chunk.
    pub item_out: u64,
    /// Master: one item, from an answer to the caller.
    pub item_in: u64,
    /// Master: an agent says that it is there, and for each chunk that it says it has.
    pub hello: u64,
    pub hello_held: u64,
    /// Agent: one chunk, from the broker to the pool; half of its items' cost comes with it.
    pub take: u64,
    /// Agent: one chunk, from the pool to the broker, and its lease ended.
    pub answer: u64,
    /// Agent: one item, beside its task.
    pub agent_item: u64,
    /// From a process to the broker, or back.
    pub hop: u64,
    /// Broker: one message stored in a stream.
    pub publish: u64,
    /// Broker: one message handed out by the queue, and its acknowledgement.
    pub consume: u64,
    /// Broker: one answer handed on to the master.
    pub deliver: u64,
    /// Broker: one answer deleted.
    pub purge: u64,
    /// Broker: one lease renewed.
    pub renew: u64,
}

impl Default for Costs {
    /// Of the size that a small machine shows. The tests want no more than that; a study brings its own.
    fn default() -> Costs {
        Costs {
            put: 30_000,
            hear: 30_000,
            release: 30_000,
            item_out: 200,
            item_in: 200,
            hello: 10_000,
            hello_held: 200,
            take: 50_000,
            answer: 50_000,
            agent_item: 500,
            hop: 100_000,
            publish: 2_500,
            consume: 3_500,
            deliver: 1_000,
            purge: 2_500,
            renew: 1_000,
        }
    }
}
