//! B1 to B5: what it costs to bring one small call to a worker and its result back.

use std::error::Error;
use std::fs;
use std::hint::black_box;

use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use procession::{AsyncResult, task};
use rayon::prelude::*;

use super::{Figures, WORKERS, per_item, threads, timed, warm_pool};
use crate::limits::ipc;
use crate::plan::{PING_PONG, RAYON, SERIAL, STREAM};
use crate::results::Measurement;
use crate::run::Scale;

const ROUND_TRIPS: i64 = 20_000;
const BURST: i64 = 100_000;
const SINGLE_ITEMS: i64 = 1_000_000;
const ITEMS: i64 = 10_000_000;

#[task]
pub(super) fn square(x: i64) -> i64 {
    x.wrapping_mul(x)
}

/// Where the system puts the processes, and with all of them on one core: what a wake-up costs across cores differs
/// much between machines, and is the larger part of the first figure where idle cores sleep.
pub(super) fn apply() -> Figures {
    let mut figures = apply_here("B1")?;
    let mut one_core = CpuSet::new();
    one_core.set(sched_getcpu()?)?;
    // For the threads and processes that are started from now on, too.
    sched_setaffinity(Pid::from_raw(0), &one_core)?;
    figures.extend(apply_here("B1 core")?);
    Ok(figures)
}

fn apply_here(row: &str) -> Figures {
    let limit = ipc::ping_pong()?;
    let pool = warm_pool()?;
    let round_trips =
        || (0..ROUND_TRIPS).try_for_each(|x| pool.apply(square, (x,)).map(|y| assert_eq!(y, x * x)));
    let (took, done) = timed(round_trips);
    done?;
    pool.close()?;
    Ok(vec![
        Measurement::limit(row, PING_PONG, limit),
        Measurement::ours(row, per_item(took, ROUND_TRIPS.unsigned_abs())),
    ])
}

pub(super) fn burst() -> Figures {
    let limit = ipc::stream()?;
    let pool = warm_pool()?;
    let (took, done) = timed(|| {
        let handles: Vec<AsyncResult<i64>> = (0..BURST).map(|x| pool.apply_async(square, (x,))).collect();
        (0..).zip(handles).try_for_each(|(x, handle)| handle.get().map(|y| assert_eq!(y, x * x)))
    });
    done?;
    pool.close()?;
    Ok(vec![
        Measurement::limit("B2", STREAM, limit),
        Measurement::ours("B2", per_item(took, BURST.unsigned_abs())),
    ])
}

pub(super) fn map_single() -> Figures {
    let limit = ipc::stream()?;
    let pool = warm_pool()?;
    let (took, squares) = timed(|| pool.map(square.chunk_size(1), 0..SINGLE_ITEMS));
    check(&squares?, SINGLE_ITEMS);
    pool.close()?;
    Ok(vec![
        Measurement::limit("B3", STREAM, limit),
        Measurement::ours("B3", per_item(took, SINGLE_ITEMS.unsigned_abs())),
    ])
}

pub(super) fn map_default() -> Figures {
    let items = ITEMS.unsigned_abs();
    let (serial, squares) = timed(|| (0..ITEMS).map(|x| square(black_box(x))).collect::<Vec<i64>>());
    check(&squares, ITEMS);
    let threads = threads(WORKERS)?;
    let in_threads = || (0..ITEMS).into_par_iter().map(|x| square(black_box(x))).collect::<Vec<i64>>();
    threads.install(|| black_box((0..1_000_i64).into_par_iter().sum::<i64>()));
    let (rayon, squares) = timed(|| threads.install(in_threads));
    check(&squares, ITEMS);
    drop(squares);
    let pool = warm_pool()?;
    let (took, squares) = timed(|| pool.map(square, 0..ITEMS));
    check(&squares?, ITEMS);
    pool.close()?;
    Ok(vec![
        Measurement::limit("B4", SERIAL, per_item(serial, items)),
        Measurement::limit("B4", RAYON, per_item(rayon, items)),
        Measurement::ours("B4", per_item(took, items)),
    ])
}

pub(super) fn lazy(scale: Scale) -> Figures {
    let items: i64 = scale.of(100_000_000, 10_000_000);
    let limit = ipc::stream()?;
    let pool = warm_pool()?;
    // The sum tells whether every square has come once, whatever the order.
    let (took, sum) = timed(|| {
        pool.imap_unordered(square, 0..items).try_fold(0_i64, |sum, y| y.map(|y| sum.wrapping_add(y)))
    });
    assert_eq!(sum?, (0..items).fold(0_i64, |sum, x| sum.wrapping_add(square(x))), "a result is wrong");
    let memory = peak_memory()?;
    pool.close()?;
    Ok(vec![
        Measurement::limit("B5", STREAM, limit),
        Measurement::ours("B5", per_item(took, items.unsigned_abs())),
        Measurement::ours("B5 memory", memory),
    ])
}

/// The most memory this process has had at any time, in bytes.
fn peak_memory() -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let kib: f64 = kib.ok_or("/proc/self/status has no peak memory")?.trim().parse()?;
    Ok(kib * 1024.0)
}

fn check(squares: &[i64], items: i64) {
    assert!(squares.iter().copied().eq((0..items).map(|x| x * x)), "a result is wrong");
}
