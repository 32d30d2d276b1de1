//! Whole pools, where what can go wrong lies between the driver's threads. Each waits with a limit.
#![expect(
    unsafe_code,
    reason = "registration names a link section; in other crates the lint does not see it"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::deadline;
use crate::{ErrorKind, Pool, WorkerExit};

const LIMIT: Duration = Duration::from_secs(20);

#[crate::task]
fn leave(status: i32) -> i32 {
    std::process::exit(status)
}

#[crate::task]
fn negate(x: i64) -> i64 {
    -x
}

#[crate::task]
fn wait_for_ever() {
    std::thread::park();
}

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).build().unwrap()
}

#[test]
fn no_exit_status_of_a_task_is_taken_for_a_failed_start() {
    let pool = pool(1);
    // 76 to 79 are those by which a worker that cannot work says so.
    for status in 76..80 {
        let mut handle = pool.apply_async(leave, (status,));
        let outcome = handle.get_timeout(LIMIT).expect("the call ends");
        let error = outcome.unwrap_err();
        assert_eq!(
            (error.kind(), error.exit()),
            (ErrorKind::WorkerLost, Some(WorkerExit::Code(status)))
        );
    }
    assert_eq!(pool.apply(negate, (1,)).unwrap(), -1);
    pool.close().unwrap();
}

#[test]
fn a_driver_that_fails_ends_every_call_and_every_worker() {
    let pool = pool(2);
    let waiting = pool.apply_async(wait_for_ever, ());
    let driver = Arc::clone(pool.driver());
    driver.guard(|| panic!("as if a reader met a bug of ours"));
    assert!(waiting.wait(Some(LIMIT)));
    assert_eq!(waiting.get().unwrap_err().kind(), ErrorKind::Broken);
    let refused = pool.apply(negate, (1,)).unwrap_err();
    assert!(refused.to_string().contains("a bug of ours"), "{refused}");
    // `close` waits without a limit: this one must do before.
    assert!(driver.wait_stopped(deadline(Some(LIMIT))), "its workers live on");
    assert_eq!(pool.close().unwrap_err().kind(), ErrorKind::Broken);
}

#[test]
fn a_bug_met_on_a_callers_thread_ends_the_other_calls_too() {
    let pool = pool(1);
    let waiting = pool.apply_async(wait_for_ever, ());
    let driver = Arc::clone(pool.driver());
    let met = catch_unwind(AssertUnwindSafe(|| {
        driver.with_state(|_, _, _| panic!("a bug of ours"))
    }));
    assert!(met.is_err());
    assert!(waiting.wait(Some(LIMIT)));
    assert!(driver.wait_stopped(deadline(Some(LIMIT))));
}
