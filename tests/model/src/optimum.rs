//! How good a schedule could be that knows every run time beforehand.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::{Call, Costs};

/// The best makespan in sight, in nanoseconds.
///
/// It is clairvoyant: it knows all run times and takes the items in any order. It pays what nobody can avoid, and
/// nothing else:
///
/// * an item's own cost in its worker, and the master's for every item (all of them on one processor);
/// * for each of `f` frames the master's send and receipt, and the worker's part. It chooses `f`, and no more
///   workers than `f` can be at work;
/// * one message there and one back, during which nothing else can happen: the first and the last.
///
/// On `f` workers it takes longest-first list scheduling, which is a real schedule and no worse than 4/3 of the best;
/// with many items it meets the lower bound max(total / workers, longest).
pub fn best(costs: &Costs, workers: u32, call: Call, times: &[u64]) -> u64 {
    let items = times.len() as u64;
    let mut longest_first: Vec<u64> = times.iter().map(|ns| ns + costs.worker_item).collect();
    longest_first.sort_unstable_by_key(|&ns| Reverse(ns));
    let master_items = items * costs.master_item(call == Call::Burst);
    let frame = costs.frame_out + costs.frame_in;
    let with_frames = |frames: u32| {
        let at_work = list_schedule(&longest_first, frames) + costs.worker_frame;
        let master = master_items + u64::from(frames) * frame;
        at_work.max(master)
    };
    // Fewer workers than there are pay where the master's frames would cost more than the workers' help is worth.
    let mut fewest = workers.min(u32::try_from(items).unwrap_or(u32::MAX)).max(1);
    let mut best = u64::MAX;
    loop {
        best = best.min(with_frames(fewest));
        if fewest == 1 {
            break;
        }
        fewest = (fewest * 3 / 4).max(1);
    }
    best + costs.item_out + frame + 2 * costs.latency
}

/// When the last of so many machines ends, each taking the next item when it is free.
fn list_schedule(times: &[u64], machines: u32) -> u64 {
    let mut free: BinaryHeap<Reverse<u64>> = (0..machines).map(|_| Reverse(0)).collect();
    for ns in times {
        let Reverse(at) = free.pop().expect("there is a machine");
        free.push(Reverse(at + ns));
    }
    free.into_iter().map(|Reverse(at)| at).max().unwrap_or(0)
}
