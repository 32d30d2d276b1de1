//! The frames that a pool and its workers exchange: their bytes, and nothing about who sends them or why.
//!
//! Every frame is one ipc-channel message of at most [`FRAME_BYTES_MAX`], far below one packet: a message that
//! ipc-channel has to fragment blocks its sender for ever if the receiver is killed meanwhile. Builders append to a
//! buffer that is used again and again. Parsers accept any bytes: they return errors, never panic, and never
//! allocate because of a length they read. All numbers are little-endian.

mod cursor;
mod inbox;
#[expect(unsafe_code, reason = "sets up a socket that another owns")]
mod outlet;
mod part;
mod reply;
mod report;
mod usage;
mod work;

pub(crate) use cursor::WireError;
pub(crate) use inbox::{Inbox, Received};
pub(crate) use outlet::Outlet;
#[cfg(test)]
pub(crate) use part::parts;
pub(crate) use part::{PART_BYTES_MAX, PartAssembler, part};
pub(crate) use reply::{
    LargeResult, RECORD_HEADER_BYTES, RESULTS_HEADER_BYTES, Record, Records, ResultsHeader, Status, ToMaster,
    frame_done, goodbye, init_failed, large_result, nudge, part_taken, piece, put_record, put_record_header,
    put_results_header, ready, seal_results, setting_up,
};
pub(crate) use report::PanicReport;
pub(crate) use usage::Usage;
pub(crate) use work::{
    Demands, ITEM_HEADER_BYTES, LargeWork, Payloads, RUN_HEADER_BYTES, Run, ToWorker, WORK_BYTES_MAX,
    WorkBuilder, WorkRun, WorkView, large_work, stop,
};

/// Most bytes in a frame. A packet holds about 208 KiB, and so does a socket's buffer: what a worker may have
/// outstanding ([`CREDIT_BYTES_MAX`]) must fit it at once.
pub(crate) const FRAME_BYTES_MAX: usize = 80 * 1024;

/// Most bytes in one item's arguments or result, however it travels: lengths are `u32`.
pub(crate) const PAYLOAD_BYTES_MAX: u64 = u32::MAX as u64;

/// Work, large-work and part frames that one worker may have outstanding. More, and a send could block.
pub(crate) const CREDIT_FRAMES_MAX: u32 = 4;

/// Bytes of such frames that one worker may have outstanding.
pub(crate) const CREDIT_BYTES_MAX: usize = 160 * 1024;

/// The first byte of every frame.
mod kind {
    pub(super) const WORK: u8 = 1;
    pub(super) const LARGE_WORK: u8 = 2;
    pub(super) const PART: u8 = 3;
    pub(super) const STOP: u8 = 4;
    pub(super) const READY: u8 = 16;
    pub(super) const INIT_FAILED: u8 = 17;
    pub(super) const RESULTS: u8 = 18;
    pub(super) const LARGE_RESULT: u8 = 19;
    pub(super) const PART_TAKEN: u8 = 20;
    pub(super) const GOODBYE: u8 = 21;
    pub(super) const FRAME_DONE: u8 = 22;
    pub(super) const PIECE: u8 = 23;
    pub(super) const NUDGE: u8 = 24;
    pub(super) const SETTING_UP: u8 = 25;
}

/// Bytes for the parsers' tests: arbitrary ones, and damaged copies of good ones.
#[cfg(test)]
mod noise {
    /// A small generator (splitmix64): the seed is the whole state, so a failure replays.
    pub(super) struct Noise(pub(super) u64);

    impl Noise {
        pub(super) fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        pub(super) fn below(&mut self, limit: usize) -> usize {
            (self.next() % limit as u64) as usize
        }

        pub(super) fn bytes(&mut self, len_max: usize) -> Vec<u8> {
            let len = self.below(len_max + 1);
            (0..len).map(|_| self.next() as u8).collect()
        }
    }

    /// Runs `parse` on random bytes and on truncated, lengthened and flipped copies of `good`.
    pub(super) fn hammer(good: &[u8], parse: impl Fn(&[u8])) {
        let mut noise = Noise(0x5eed);
        for _ in 0..20_000 {
            let mut random = noise.bytes(96);
            if let (Some(first), Some(kind)) = (random.first_mut(), good.first()) {
                *first = *kind;
            }
            parse(&random);
            let mut damaged = good.to_vec();
            for _ in 0..=noise.below(3) {
                let at = noise.below(damaged.len());
                damaged[at] = noise.next() as u8;
            }
            parse(&damaged);
            damaged.truncate(noise.below(damaged.len() + 1));
            parse(&damaged);
        }
        for len in 0..good.len() {
            parse(&good[..len]);
        }
    }
}
