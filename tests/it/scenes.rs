//! What the tests of several subjects begin with. It knows nothing of what they test.

use std::collections::BTreeMap;
use std::time::Duration;

use procession::{AsyncResult, Error, ErrorKind, Pool, PoolBuilder, StartMethod};
use procession_harness::{Ledger, wait_until};

/// No event that a test waits for takes as long, on the busiest machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A task that is to be ended runs for this long if it is not.
pub(crate) const FOR_EVER: f64 = 80.0;

/// Runs `body` with a description of a pool for each start method that any program can use.
pub(crate) fn both(workers: usize, body: impl Fn(PoolBuilder)) {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        // Shown when the test fails.
        eprintln!("with {method:?}:");
        body(Pool::builder().workers(workers).start_method(method));
    }
}

/// As [`both`], and for start method `fork`. It goes first: a program that has had threads may still have one.
pub(crate) fn each(workers: usize, body: impl Fn(PoolBuilder)) {
    eprintln!("with Fork:");
    body(Pool::builder().workers(workers).start_method(StartMethod::Fork));
    both(workers, body);
}

/// How many pieces of shared data this process has mapped.
#[procession::task]
pub(crate) fn mapped() -> usize {
    mapped_here()
}

/// How many pieces of shared data this process has mapped. Their owner has two mappings of each.
pub(crate) fn mapped_here() -> usize {
    mapped_in("self")
}

/// The same, of a process by its number.
pub(crate) fn mapped_in(process: &str) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).expect("/proc shows the process");
    maps.lines().filter(|line| line.contains("procession-shared")).count()
}

/// Waits until the ledger has that many lines.
pub(crate) fn wait_lines(ledger: &Ledger, lines: usize) -> Vec<String> {
    let reached = wait_until(LIMIT, || ledger.lines().len() >= lines);
    assert!(reached, "{:?} where {lines} lines were expected", ledger.lines());
    ledger.lines()
}

/// Waits until the pool has exactly that many workers.
pub(crate) fn wait_workers(pool: &Pool, workers: usize) -> Vec<u32> {
    let reached = wait_until(LIMIT, || pool.worker_pids().len() == workers);
    assert!(reached, "{:?} where {workers} workers were expected", pool.worker_pids());
    pool.worker_pids()
}

/// How often each line is in the ledger.
pub(crate) fn counts(ledger: &Ledger) -> BTreeMap<String, u32> {
    ledger.lines().into_iter().fold(BTreeMap::new(), |mut counts, line| {
        *counts.entry(line).or_default() += 1;
        counts
    })
}

/// What became of each call, waited for with a limit.
pub(crate) fn outcomes<T>(handles: Vec<AsyncResult<T>>) -> Vec<Result<T, Error>> {
    let outcome = |mut handle: AsyncResult<T>| handle.get_timeout(LIMIT).expect("no call waits for ever");
    handles.into_iter().map(outcome).collect()
}

/// What became of each call, without the details.
pub(crate) fn kinds<T>(handles: Vec<AsyncResult<T>>) -> Vec<Result<T, ErrorKind>> {
    let kind = |outcome: Result<T, Error>| outcome.map_err(|error| error.kind());
    outcomes(handles).into_iter().map(kind).collect()
}
