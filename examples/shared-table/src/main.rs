//! One large table, read in place by every worker: `cargo run --release -p shared-table -- [MIB [WORKERS]]`.
//!
//! Two ways to the same end: the workers load it together before they part (`preload`), or the program has it and
//! shares it (`share`). Both times all processes together hold it once, which the system is asked for.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;

use procession::{Pool, Shared, set_worker_state, task, worker_state};

/// Stands for whatever is loaded: a million rows, a model, an index.
struct Table(Vec<u64>);

fn make_table(mib: usize) -> Vec<u64> {
    (0..(mib << 20) as u64 / 8).map(|entry| entry.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
}

/// Runs once, in the process that the workers are forked from.
#[task]
fn load(mib: usize) {
    set_worker_state(Table(make_table(mib)));
}

/// The worker, and the sum of the table that it was forked with.
#[task]
fn sum_loaded() -> (u32, u64) {
    let table = worker_state::<Table>().expect("the preload left it");
    (std::process::id(), sum(&table.0))
}

/// The worker, and the sum of the table that it was given.
#[task]
fn sum_shared(table: Shared<u64>) -> (u32, u64) {
    (std::process::id(), sum(&table))
}

fn sum(table: &[u64]) -> u64 {
    table.iter().fold(0, |sum, entry| sum.wrapping_add(*entry))
}

#[procession::main]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mib = number("MIB", arguments.next(), 1024)?;
    let workers = number("WORKERS", arguments.next(), 8)?;

    let pool = Pool::builder().workers(workers).preload(load, (mib,)).build()?;
    let call = |pool: &Pool| pool.starmap(sum_loaded.chunk_size(1), vec![(); workers]);
    report("preload", mib, &pool, call)?;
    pool.close()?;

    let pool = Pool::builder().workers(workers).build()?;
    let table = pool.share(&make_table(mib))?;
    let call = |pool: &Pool| pool.map(sum_shared.chunk_size(1), vec![table.clone(); workers]);
    report("share", mib, &pool, call)?;
    pool.close()?;
    Ok(())
}

fn number(name: &str, text: Option<String>, default: usize) -> Result<usize, String> {
    let Some(text) = text else { return Ok(default) };
    let parsed = text.parse().ok().filter(|number| (1..1 << 20).contains(number));
    parsed.ok_or_else(|| format!("{name} is `{text}`: use a whole number from 1 to 1048575"))
}

/// Has every worker read the whole table, then prints what all processes hold together.
fn report(
    how: &str,
    mib: usize,
    pool: &Pool,
    call: impl Fn(&Pool) -> Result<Vec<(u32, u64)>, procession::Error>,
) -> Result<(), Box<dyn Error>> {
    let (mut readers, mut sums) = (BTreeSet::new(), BTreeSet::new());
    while readers.len() < pool.workers() {
        for (reader, sum) in call(pool)? {
            readers.insert(reader);
            sums.insert(sum);
        }
    }
    assert_eq!(sums.len(), 1, "everybody reads the same");

    let mut pids: BTreeSet<u32> = pool.worker_pids().into_iter().collect();
    // The process that the workers are forked from has a share in it, and so has this one.
    pids.extend(pids.first().and_then(|pid| parent_of(*pid)));
    pids.insert(std::process::id());
    let mapped: u64 = pids.iter().map(|pid| kib(*pid, "Rss:")).sum::<Result<_, _>>()?;
    let held: u64 = pids.iter().map(|pid| kib(*pid, "Pss:")).sum::<Result<_, _>>()?;
    let (mapped, held) = (mapped >> 10, held >> 10);
    println!("{how}: {mib} MiB, read by {} workers: {mapped} MiB mapped, {held} MiB held", readers.len());
    Ok(())
}

/// One figure of what a process has in memory. Its proportional share (`Pss`) counts a page that n processes have at
/// 1/n for each, so the sum over all is what they take.
fn kib(pid: u32, figure: &str) -> Result<u64, String> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(figure));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kib.ok_or_else(|| format!("{path} has no figure `{figure}`"))
}

fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
