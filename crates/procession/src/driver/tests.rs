//! Whole pools, where what can go wrong lies between the driver's threads. Each waits with a limit.
#![expect(
    unsafe_code,
    reason = "registration names a link section; in other crates the lint does not see it"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize};

use super::deadline;
use super::ear::Ear;
use crate::job::Job;
use crate::{ErrorKind, Pool, StartMethod, WorkerExit};

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

/// A number that nobody can read if it is 3.
#[derive(Serialize, Debug, PartialEq)]
struct Fragile(i64);

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fragile, D::Error> {
        match i64::deserialize(deserializer)? {
            3 => panic!("it is 3"),
            x => Ok(Fragile(x)),
        }
    }
}

#[crate::task]
fn fragile(x: i64) -> Fragile {
    Fragile(x)
}

/// A waker that counts its copies.
struct Counted;

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
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
        assert_eq!((error.kind(), error.exit()), (ErrorKind::WorkerLost, Some(WorkerExit::Code(status))));
    }
    assert_eq!(pool.apply(negate, (1,)).unwrap(), -1);
    pool.close().unwrap();
}

#[test]
fn no_exit_status_of_an_initializer_is_taken_for_another_build() {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        for status in [75, 78] {
            let builder = Pool::builder().workers(1).start_method(method).initializer(leave, (status,));
            let pool = builder.build().unwrap();
            let mut handle = pool.apply_async(negate, (1,));
            let error = handle.get_timeout(LIMIT).expect("the call ends").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Broken, "{error}");
            assert!(error.to_string().contains(&format!("exit status {status}")), "{error}");
        }
    }
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
    let met = catch_unwind(AssertUnwindSafe(|| driver.with_state(|_, _, _| panic!("a bug of ours"))));
    assert!(met.is_err());
    assert!(waiting.wait(Some(LIMIT)));
    assert!(driver.wait_stopped(deadline(Some(LIMIT))));
}

#[test]
fn a_decoder_that_panics_costs_its_own_item() {
    let pool = pool(1);
    let mut outcomes = pool.imap(fragile, 0..6);
    let mut said = Vec::new();
    loop {
        match catch_unwind(AssertUnwindSafe(|| outcomes.next_timeout(LIMIT).expect("it comes"))) {
            Ok(None) => break,
            Ok(Some(outcome)) => said.push(outcome.ok()),
            Err(_) => said.push(None),
        }
    }
    let expected = (0..6).map(|x| (x != 3).then_some(Fragile(x))).collect::<Vec<_>>();
    assert_eq!(said, expected);
    pool.close().unwrap();
}

#[test]
fn a_callback_runs_even_if_the_value_was_taken_before() {
    let pool = pool(1);
    let mut handle = pool.apply_async(negate, (1,));
    assert_eq!(handle.get_timeout(LIMIT).unwrap().unwrap(), -1);
    let (say, said) = mpsc::channel();
    let handle = handle.on_done(move |result| say.send(result.unwrap_err().kind()).unwrap());
    assert_eq!(said.try_recv(), Ok(ErrorKind::Usage));
    drop(handle);
    pool.close().unwrap();
}

#[test]
fn who_waits_no_longer_leaves_nothing_behind() {
    let job = Job::new(negate.info());
    let counted = Arc::new(Counted);
    for _ in 0..3 {
        let waker = Waker::from(Arc::clone(&counted));
        assert!(job.register(&waker));
        assert_eq!(Arc::strong_count(&counted), 3);
        job.forget(&waker);
    }
    assert_eq!(Arc::strong_count(&counted), 1);
}

#[test]
fn a_waker_that_panics_harms_nobody() {
    let job = Job::new(negate.info());
    assert!(job.register(&Waker::from(Arc::new(Counted))));
    let callbacks = job.settled(0);
    assert!(callbacks.0.is_empty() && job.is_complete());
}

#[test]
fn a_deadline_is_not_called_a_limit_per_item() {
    let pool = pool(1);
    let task = wait_for_ever.timeout(10 * LIMIT).deadline(Duration::from_millis(20));
    let mut outcomes = pool.istarmap(task, [(), ()]);
    for _ in 0..2 {
        let outcome = outcomes.next_timeout(LIMIT).expect("the deadline passes");
        let error = outcome.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("deadline of 20ms"), "{error}");
        assert_eq!(error.exit().is_some(), error.attempts() > 0, "{error}");
    }
    drop(outcomes);
    pool.close().unwrap();
}

/// Waits until the ear of the only worker is as it should be.
fn wait_ear(pool: &Pool, is_so: impl Fn(&Ear) -> bool) {
    let until = Instant::now() + LIMIT;
    while !pool.driver().inspect(|state| is_so(&state.seats()[0].ear)) {
        assert!(Instant::now() < until, "nobody gives the right to receive on");
        std::thread::yield_now();
    }
}

#[test]
fn a_caller_that_waits_listens_itself_until_others_need_the_worker() {
    let pool = pool(1);
    wait_ear(&pool, |ear| matches!(ear, Ear::Thread));
    // It waits for the worker to be ready, and so for whatever that takes.
    assert_eq!(pool.apply(negate, (1,)).unwrap(), -1);
    // The thread learns from the first one that callers wait here.
    for x in 0..3 {
        assert_eq!(pool.apply(negate, (x,)).unwrap(), -x);
        wait_ear(&pool, |ear| matches!(ear, Ear::Free(..)));
    }
    let caller = {
        let pool = pool.clone();
        std::thread::spawn(move || pool.apply(wait_for_ever, ()))
    };
    wait_ear(&pool, |ear| matches!(ear, Ear::Caller(_)));
    // A queue of others' calls changes nothing while the caller waits.
    let queued = pool.apply_async(negate, (5,));
    wait_ear(&pool, |ear| matches!(ear, Ear::Caller(_)));
    drop(queued);
    pool.terminate();
    assert_eq!(caller.join().unwrap().unwrap_err().kind(), ErrorKind::Terminated);
    pool.join(Some(LIMIT)).unwrap();
}

#[test]
fn who_sends_to_a_worker_nobody_listens_to_summons_its_reader() {
    let pool = pool(1);
    for x in 0..2 {
        assert_eq!(pool.apply(negate, (x,)).unwrap(), -x);
    }
    wait_ear(&pool, |ear| matches!(ear, Ear::Free(..)));
    assert!(pool.apply_async(negate, (2,)).wait(Some(LIMIT)));
    assert_eq!(pool.map(negate, 0..100).unwrap(), (0..100).map(|x| -x).collect::<Vec<_>>());
    // A worker that ends by itself is buried though nobody listened.
    assert_eq!(pool.apply(negate, (3,)).unwrap(), -3);
    pool.close().unwrap();
}

#[test]
fn a_call_is_left_to_whoever_holds_the_lock() {
    let pool = pool(1);
    let driver = Arc::clone(pool.driver());
    let mut handles = Vec::new();
    driver.with_state(|_, _, _| {
        // Were it to wait for the lock, it would wait for itself.
        handles.extend((0..10).map(|x| pool.apply_async(negate, (x,))));
    });
    for (x, mut handle) in (0..).zip(handles) {
        assert_eq!(handle.get_timeout(LIMIT).expect("it was told of").unwrap(), -x);
    }
    pool.close().unwrap();
    assert_eq!(pool.apply(negate, (1,)).unwrap_err().kind(), ErrorKind::Closed);
    assert!(!pool.apply_async(negate, (1,)).cancel(), "a refused call has ended");
}

#[test]
fn calls_left_behind_by_a_failing_driver_end_with_it() {
    // Without a worker no other thread has news, and could see to the calls before the failure is told.
    let pool = Pool::builder().workers(1).lazy_start(true).build().unwrap();
    let driver = Arc::clone(pool.driver());
    let mut handles = Vec::new();
    let met = catch_unwind(AssertUnwindSafe(|| {
        driver.with_state(|_, _, _| {
            handles.extend((0..10).map(|x| pool.apply_async(negate, (x,))));
            panic!("a bug of ours");
        });
    }));
    assert!(met.is_err());
    for mut handle in handles {
        let outcome = handle.get_timeout(LIMIT).expect("no call waits for ever");
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Broken);
    }
    assert!(driver.wait_stopped(deadline(Some(LIMIT))));
}
