//! What the tests of several sections begin with. It knows nothing of what they test.

use std::any::Any;
use std::path::PathBuf;
use std::time::Duration;

use procession::{Pool, StartMethod};

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
