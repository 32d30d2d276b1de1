//! What things cost beside the tasks themselves.

/// Nanoseconds. The master has one processor for all of its own, which is the strictest reading of its threads and
/// their lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Master: one message sent, without what is in it.
    pub frame_out: u64,
    /// Master: one message received, without what is in it.
    pub frame_in: u64,
    /// Master: one item, from the input to a frame.
    pub item_out: u64,
    /// Master: one item, from a reply to the caller.
    pub item_in: u64,
    /// Master: one single submission, beyond what an item of a larger call costs.
    pub submit: u64,
    /// From the end of a send to the moment the other side has the message.
    pub latency: u64,
    /// Worker: one message received and answered.
    pub worker_frame: u64,
    /// Worker: one item, beside its task.
    pub worker_item: u64,
}

impl Default for Costs {
    /// Of the size that a small machine shows. The tests want no more than that; a study brings its own.
    fn default() -> Costs {
        Costs {
            frame_out: 1_500,
            frame_in: 2_500,
            item_out: 20,
            item_in: 30,
            submit: 250,
            latency: 5_000,
            worker_frame: 2_000,
            worker_item: 50,
        }
    }
}

impl Costs {
    /// What an item costs the master in a call of this kind, however well it is packed.
    pub(crate) fn master_item(&self, is_single: bool) -> u64 {
        self.item_out + self.item_in + if is_single { self.submit } else { 0 }
    }
}
