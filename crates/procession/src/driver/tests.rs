//! Whole pools, where what can go wrong lies between the driver's threads. Each waits with a limit.
#![expect(
    unsafe_code,
    reason = "registration names a link section; in other crates the lint does not see it"
)]

use std::time::Duration;

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
