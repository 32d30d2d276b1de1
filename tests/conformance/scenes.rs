//! What the tests of several sections begin with. It knows nothing of what they test.

use std::any::Any;
use std::path::PathBuf;
use std::time::Duration;

use procession::{AsyncResult, Error, ErrorKind, Pool, PoolBuilder, StartMethod};
use procession_harness::{Ledger, wait_until};

/// No event that a test waits for takes as long, on the busiest machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A pool of `workers`, as most programs have it.
pub(crate) fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).build().expect("a pool can be built")
}

/// Runs `body` with a pool of each start method, and closes it in good order.
pub(crate) fn both(workers: usize, body: impl Fn(&Pool)) {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let builder = Pool::builder().workers(workers).start_method(method);
        let pool = builder.build().expect("a pool can be built");
        body(&pool);
        pool.close().expect("the pool is whole");
    }
}

/// Runs `body` with the description of a pool of each start method.
pub(crate) fn both_described(workers: usize, body: impl Fn(PoolBuilder)) {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        body(Pool::builder().workers(workers).start_method(method));
    }
}

/// What became of each call, waited for with a limit.
pub(crate) fn outcomes<T>(handles: Vec<AsyncResult<T>>) -> Vec<Result<T, Error>> {
    let outcome = |mut handle: AsyncResult<T>| handle.get_timeout(LIMIT).expect("no call waits for ever");
    handles.into_iter().map(outcome).collect()
}

/// As [`outcomes`], without the details.
pub(crate) fn kinds<T>(handles: Vec<AsyncResult<T>>) -> Vec<Result<T, ErrorKind>> {
    let kind = |outcome: Result<T, Error>| outcome.map_err(|error| error.kind());
    outcomes(handles).into_iter().map(kind).collect()
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

/// A file that tasks wait for: it is opened by creating it.
pub(crate) struct Gate(PathBuf);

impl Gate {
    pub(crate) fn new(name: &str) -> Gate {
        Gate(std::env::temp_dir().join(name))
    }

    /// What tasks look for: pass it as an argument.
    pub(crate) fn path(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }

    pub(crate) fn open(&self) {
        std::fs::write(&self.0, "").expect("the test's directory is writable");
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // It may never have been opened.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// 0, 1, 2 and so on, and a panic in the place of item `bad`.
pub(crate) fn input_failing_at(bad: i64) -> impl Iterator<Item = i64> {
    (0..10).inspect(move |&x| assert!(x != bad, "the input fails at {bad}"))
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match panic.downcast_ref::<String>() {
        Some(text) => text,
        None => panic.downcast_ref::<&str>().expect("the panic has a text"),
    }
}
