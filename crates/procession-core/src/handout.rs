//! How much a worker is given at once, and how much it may hold. Pure arithmetic, and the home of every number
//! that the economy of handing out depends on.

use std::time::Duration;

use crate::job::Job;

/// A hand-out should keep a worker busy for about this long. A round trip costs some 15 µs, so 2 ms keeps the
/// overhead below 1 %, while a worker that turns out slow holds back little, and cancelling waits little.
pub(crate) const TARGET_NS: u64 = 2_000_000;

/// A busy worker is given more once it has less than this ahead of it: many round trips' worth, so that it never
/// waits for us, yet so little that long items are handed out one by one, to whoever is free.
pub(crate) const LOW_WATER_NS: u64 = 1_000_000;

/// Less work than this is not worth dividing or moving: a reclaim and a second hand-out cost a few microseconds
/// on both sides.
pub(crate) const WORTH_MOVING_NS: u64 = 50_000;

/// A worker that is this much later than expected is stuck in a long item as far as its neighbours are concerned:
/// what waits behind that item moves to a free worker, however little it seemed.
pub(crate) const STUCK_AFTER: Duration = Duration::from_micros(200);

/// As [`STUCK_AFTER`], for a worker whose items were taken back so many times before it began: twice as long each
/// time, up to a tenth of a second.
pub(crate) fn stuck_after(asked_in_vain: u32) -> Duration {
    STUCK_AFTER * (1 << asked_in_vain.min(9))
}

/// Items in one hand-out, at most. Beyond some thousands a larger one saves nothing.
pub(crate) const HANDOUT_ITEMS_MAX: u64 = 4_096;

/// Bytes in one hand-out, at most (one item may exceed it): it has to fit into one message with room to spare.
pub(crate) const HANDOUT_BYTES_MAX: u64 = 32 * 1024;

/// Runs that a worker may hold; it bounds the queue when every run is a job of one item.
pub(crate) const HELD_RUNS_MAX: usize = 256;

/// Items that a worker may hold before it is given more: four full hand-outs.
pub(crate) const HELD_ITEMS_MAX: u64 = 4 * HANDOUT_ITEMS_MAX;

/// Bytes that a busy worker may hold. What is sent is buffered by the kernel; below this no send ever blocks.
pub(crate) const HELD_BYTES_MAX: u64 = 4 * HANDOUT_BYTES_MAX;

/// How many items the next hand-out of a job should have: a multiple of its chunk size, as many as fill the target
/// time, but no more than a fair share of what waits. `item_ns` is `None` while nothing is known about the task:
/// then one unit, and the first report decides.
pub(crate) fn items(job: &Job, item_ns: Option<u64>, workers: u32) -> u64 {
    if job.waiting() == 1 || job.next_is_retry() {
        return 1;
    }
    let by_time = item_ns.map_or(1, |ns| TARGET_NS / ns);
    whole_units(job, by_time.min(share(job, item_ns, workers)))
}

/// How many busy workers are looked at before the work is left waiting for an idle one: a bound on what each event
/// costs, with a good chance to find one that holds less than its share.
pub(crate) const TAKERS_ASKED_MAX: usize = 4;

/// How many further items the caller should encode now, so that every worker's next two hand-outs are covered.
pub(crate) fn input_wanted(job: &Job, item_ns: Option<u64>, workers: u32) -> u64 {
    if !job.input_open || job.fate.is_some() {
        return 0;
    }
    let by_time = item_ns.map_or(1, |ns| TARGET_NS / ns);
    (2 * u64::from(workers) * whole_units(job, by_time)).saturating_sub(job.waiting())
}

/// Whether a busy worker that holds `held` items may get more ahead of the others, when `waiting` items wait: only
/// while it does not hold more than its fair share, so that whoever becomes free next finds work.
pub(crate) fn is_fair(held: u64, waiting: u64, workers: u32) -> bool {
    held * u64::from(workers - 1) <= waiting
}

/// A worker's part of what waits. With the end of the input in sight the parts become smaller towards the end
/// (half of an equal part each time), so that all workers end together, whatever their items' run times; but what
/// is not worth dividing is not divided. With more input to come: an equal part of
/// what is there and with the workers.
fn share(job: &Job, item_ns: Option<u64>, workers: u32) -> u64 {
    let workers = u64::from(workers);
    if job.input_open {
        return (job.held + job.waiting()).div_ceil(workers);
    }
    let parts = if workers == 1 { 1 } else { 2 * workers };
    let indivisible = item_ns.map_or(1, |ns| WORTH_MOVING_NS / ns);
    job.waiting().div_ceil(parts).max(indivisible)
}

/// `items` rounded down to units of the job's chunk size (at least one unit), within what a hand-out may carry.
fn whole_units(job: &Job, items: u64) -> u64 {
    let unit = u64::from(job.options.chunk_size.unwrap_or(1)).max(1);
    let units = (items / unit).max(1);
    let carried = HANDOUT_BYTES_MAX / job.item_bytes().max(1);
    (units * unit).min(HANDOUT_ITEMS_MAX).min(carried).max(1)
}
