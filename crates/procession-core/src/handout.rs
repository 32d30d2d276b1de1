//! How much a worker is given at once, and how much it may hold. Pure arithmetic, and the home of every number
//! that the economy of handing out depends on.

use std::time::Duration;

use crate::job::Job;

/// What the master spends on one hand-out, from sending it to hearing of it, however little is in it: three system
/// calls, while it is so busy that none of its threads sleeps. (Where each has to be woken first it is five times as much,
/// see `docs/scaling.md`; but then there is time for it.)
pub(crate) const FRAME_NS: u64 = 4_000;

/// What an item of a larger call costs the master, from the input to the caller, about (`docs/scaling.md`).
const MASTER_ITEM_NS: u64 = 50;

/// So many of them cost twenty times what their hand-out does.
const QUICK_ITEMS: u64 = 20 * FRAME_NS / MASTER_ITEM_NS;

/// A hand-out should keep a worker busy for about this long. A round trip costs some 15 µs, so 2 ms keeps the
/// overhead below 1 %, while a worker that turns out slow holds back little, and cancelling waits little.
const TARGET_NS: u64 = 2_000_000;

/// With many workers it is the master that must not be overrun: it serves each of them once in the time that a
/// hand-out lasts, and that should take it no more than a tenth of that time.
pub(crate) fn target_ns(workers: u32) -> u64 {
    TARGET_NS.max(10 * FRAME_NS * u64::from(workers))
}

/// A busy worker is given more once it has less than this ahead of it: many round trips' worth, so that it never
/// waits for us, yet so little that long items are handed out one by one, to whoever is free.
pub(crate) fn low_water_ns(workers: u32) -> u64 {
    target_ns(workers) / 2
}

/// Less work than this is not worth dividing or moving: a reclaim and a second hand-out cost a few microseconds
/// on both sides.
pub(crate) const WORTH_MOVING_NS: u64 = 50_000;

/// As [`WORTH_MOVING_NS`], among so many workers: to give something to each of them takes the master that long, so smaller
/// parts would only wait for it.
pub(crate) fn indivisible_ns(workers: u32) -> u64 {
    WORTH_MOVING_NS.max(FRAME_NS * u64::from(workers))
}

/// A worker that is this much later than expected is stuck in a long item as far as its neighbours are concerned:
/// what waits behind that item moves to a free worker, however little it seemed.
pub(crate) const STUCK_AFTER: Duration = Duration::from_micros(200);

/// As [`STUCK_AFTER`], for a worker whose items were taken back so many times before it began: twice as long each
/// time, up to a tenth of a second.
pub(crate) fn stuck_after(asked_in_vain: u32) -> Duration {
    STUCK_AFTER * (1 << asked_in_vain.min(9))
}

/// How long to leave the seats alone after a look at all of them for work to move. A look takes some nanoseconds a seat,
/// so that with thousands of workers one at every event would be all that the master does; with few it is nothing.
pub(crate) fn balance_pause(seats: usize) -> Duration {
    const FEW: usize = 64;
    if seats <= FEW { Duration::ZERO } else { Duration::from_nanos(100 * seats as u64) }
}

/// Items in one hand-out, at most. Beyond some thousands a larger one saves nothing.
pub(crate) const HANDOUT_ITEMS_MAX: u64 = 8_192;

/// Bytes in one hand-out, at most (one item may exceed it): it has to fit into one message with room to spare.
pub(crate) const HANDOUT_BYTES_MAX: u64 = 64 * 1024;

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
    let by_time = item_ns.map_or(1, |ns| target_ns(workers) / ns);
    whole_units(job, by_time.min(share(job, item_ns, workers)))
}

/// Whether single calls that come while the master can hardly keep up should be packed although a worker is idle.
///
/// No more of them at a time than a few may be callers that wait for one each, and theirs must not wait for one
/// another; unless an item takes less than it costs to hand it out.
pub(crate) fn is_burst(calls: usize, item_ns: u64) -> bool {
    calls > 4 || item_ns < FRAME_NS
}

/// How many busy workers are looked at before the work is left waiting for an idle one: a bound on what each event
/// costs, with a good chance to find one that holds less than its share.
pub(crate) const TAKERS_ASKED_MAX: usize = 4;

/// Below this many items the caller is asked for every single one.
const INPUT_AT_WILL_ITEMS: u64 = 1_024;

/// How many further items the caller should encode now, so that every worker's next two hand-outs are covered.
pub(crate) fn input_wanted(job: &Job, item_ns: Option<u64>, workers: u32) -> u64 {
    if !job.input_open || job.fate.is_some() {
        return 0;
    }
    let by_time = item_ns.map_or(1, |ns| target_ns(workers) / ns);
    let covered = 2 * u64::from(workers) * whole_units(job, by_time);
    // Many quick items are asked for by half of that at least: who tops up a little at every reply hands out little
    // at a time from then on.
    let least = if covered > INPUT_AT_WILL_ITEMS { covered / 2 } else { 1 };
    let wanted = covered.saturating_sub(job.waiting());
    if wanted < least { 0 } else { wanted }
}

/// Whether a busy worker that holds `held` items may get more ahead of the others, when `waiting` items wait: only
/// while it does not hold more than its fair share, so that whoever becomes free next finds work.
pub(crate) fn is_fair(held: u64, waiting: u64, workers: u32) -> bool {
    held * u64::from(workers - 1) <= waiting
}

/// Whether so many workers together run items faster than the master can hand them out one after the other. Then it is
/// the master's time that counts, and larger hand-outs save it.
pub(crate) fn is_quick(item_ns: Option<u64>, workers: u32) -> bool {
    item_ns.is_some_and(|ns| ns < u64::from(workers) * MASTER_ITEM_NS)
}

/// A worker's part of what waits. With the end of the input in sight the parts become smaller towards the end
/// (half of an equal part each time), so that all workers end together, whatever their items' run times; but what
/// is not worth dividing is not divided. With more input to come: an equal part of
/// what is there and with the workers.
fn share(job: &Job, item_ns: Option<u64>, workers: u32) -> u64 {
    let (job_workers, workers) = (workers, u64::from(workers));
    if job.input_open {
        let equal = (job.held + job.waiting()).div_ceil(workers);
        return if is_quick(item_ns, job_workers) { equal.max(QUICK_ITEMS) } else { equal };
    }
    let parts = if workers == 1 { 1 } else { 2 * workers };
    let indivisible = item_ns.map_or(1, |ns| indivisible_ns(job_workers) / ns);
    job.waiting().div_ceil(parts).max(indivisible)
}

/// `items` rounded down to units of the job's chunk size (at least one unit), within what a hand-out may carry. A unit that
/// the user made larger than that is still one hand-out: it travels in several messages.
fn whole_units(job: &Job, items: u64) -> u64 {
    let unit = u64::from(job.options.chunk_size.unwrap_or(1)).max(1);
    let carried = (HANDOUT_BYTES_MAX / job.item_bytes().max(1)).min(HANDOUT_ITEMS_MAX);
    (items.min(carried) / unit).max(1) * unit
}
