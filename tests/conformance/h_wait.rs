//! Section H: waiting for several handles.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use procession::{AsyncResult, ErrorKind, When, as_completed, wait};
use procession_harness::{Gate, Ledger};
use serde::{Deserialize, Serialize, Serializer};

use crate::held::held;
use crate::scenes::{LIMIT, both, pool};
use crate::tasks::{fail, square};

/// How many [`Counted`] exist in this process.
static ALIVE: AtomicUsize = AtomicUsize::new(0);

/// A value that is counted while it exists.
#[derive(Deserialize)]
#[serde(from = "i64")]
struct Counted(i64);

impl From<i64> for Counted {
    fn from(x: i64) -> Counted {
        ALIVE.fetch_add(1, Ordering::Relaxed);
        Counted(x)
    }
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

#[procession::task]
fn counted(x: i64) -> Counted {
    Counted::from(x)
}

procession_harness::cases! {
    fn h1_all_completed_with_value_error_and_cancelled() {
        both(1, |pool| {
            let ledger = Ledger::new("ledger");
            let gate = Gate::new("gate");
            let held = held(pool, &ledger, &gate);
            let cancelled = pool.apply_async(square, (2,));
            assert!(cancelled.cancel());
            let failing = pool.apply_async(fail, ("no".to_owned(),));
            let handles = [held, cancelled, failing, pool.apply_async(square, (3,))];
            gate.open();
            let waited = wait(&handles, When::All, Some(LIMIT));
            assert_eq!((waited.done, waited.pending), (vec![0, 1, 2, 3], vec![]));
            let successful: Vec<_> = handles.iter().map(AsyncResult::is_successful).collect();
            assert_eq!(successful, [Some(true), Some(false), Some(false), Some(true)]);
        });
    }

    fn h2_first_completed() {
        both(2, |pool| {
            let ledger = Ledger::new("ledger");
            let gate = Gate::new("gate");
            let mut handles = vec![held(pool, &ledger, &gate), pool.apply_async(square, (3,))];
            let waited = wait(&handles, When::First, Some(LIMIT));
            assert_eq!((waited.done, waited.pending), (vec![1], vec![0]));
            let another = pool.apply_async(square, (4,));
            assert!(another.wait(Some(LIMIT)));
            handles.push(another);
            // Those that are done already are all named, and nothing is waited for.
            let waited = wait(&handles, When::First, Some(Duration::ZERO));
            assert_eq!((waited.done, waited.pending), (vec![1, 2], vec![0]));
            gate.open();
            assert_eq!(wait(&handles, When::All, Some(LIMIT)).pending, []);
        });
    }

    fn h3_first_error() {
        both(2, |pool| {
            let ledger = Ledger::new("ledger");
            let gate = Gate::new("gate");
            let running = held(pool, &ledger, &gate);
            let good = pool.apply_async(square, (3,));
            assert!(good.wait(Some(LIMIT)));
            let handles = [running, good, pool.apply_async(fail, ("no".to_owned(),))];
            let waited = wait(&handles, When::FirstError, Some(LIMIT));
            assert_eq!((waited.done, waited.pending), (vec![1, 2], vec![0]));
            // It has failed already: nothing is waited for.
            let waited = wait(&handles, When::FirstError, Some(Duration::ZERO));
            assert_eq!((waited.done, waited.pending), (vec![1, 2], vec![0]));
            gate.open();
            let waited = wait(&handles[..2], When::FirstError, Some(LIMIT));
            assert_eq!((waited.done, waited.pending), (vec![0, 1], vec![]), "without an error, all");
        });
    }

    fn h3_a_cancelled_call_is_no_error() {
        let pool = pool(1);
        let ledger = Ledger::new("ledger");
        let gate = Gate::new("gate");
        let running = held(&pool, &ledger, &gate);
        let cancelled = pool.apply_async(square, (3,));
        assert!(cancelled.cancel() && cancelled.wait(Some(LIMIT)));
        let handles = [running, cancelled];
        let waited = wait(&handles, When::FirstError, Some(Duration::from_millis(50)));
        assert_eq!((waited.done, waited.pending), (vec![1], vec![0]));
        let started = Instant::now();
        let opener = std::thread::spawn(move || gate.open());
        let waited = wait(&handles, When::FirstError, Some(LIMIT));
        assert_eq!((waited.done, waited.pending), (vec![0, 1], vec![]));
        assert!(started.elapsed() < LIMIT);
        opener.join().unwrap();
        pool.close().unwrap();
    }

    fn h4_wait_splits_done_and_pending_when_the_time_is_over() {
        both(2, |pool| {
            let ledger = Ledger::new("ledger");
            let gate = Gate::new("gate");
            let running = held(pool, &ledger, &gate);
            let done = pool.apply_async(square, (3,));
            assert!(done.wait(Some(LIMIT)));
            let handles = [done, running];
            let waited = wait(&handles, When::All, Some(Duration::from_millis(50)));
            assert_eq!((waited.done, waited.pending), (vec![0], vec![1]));
            gate.open();
            assert_eq!(wait(&handles, When::All, Some(LIMIT)).pending, []);
        });
    }

    fn h4_nothing_to_wait_for() {
        let handles: [AsyncResult<i64>; 0] = [];
        for when in [When::All, When::First, When::FirstError] {
            let waited = wait(&handles, when, None);
            assert_eq!((waited.done, waited.pending), (vec![], vec![]));
        }
        assert!(as_completed(Vec::<AsyncResult<i64>>::new(), None).next().is_none());
    }

    fn h6_as_completed_yields_what_is_done_then_says_how_many_are_not() {
        both(2, |pool| {
            let ledger = Ledger::new("ledger");
            let gates = [Gate::new("first"), Gate::new("second")];
            for (timeout, gate) in [Duration::ZERO, Duration::from_millis(100)].into_iter().zip(&gates) {
                let done = [pool.apply_async(square, (2,)), pool.apply_async(square, (3,))];
                assert_eq!(wait(&done, When::All, Some(LIMIT)).pending, []);
                let [two, three] = done;
                let handles = vec![two, held(pool, &ledger, gate), three];
                let mut completed = as_completed(handles, Some(timeout));
                let mut values: Vec<_> = completed.by_ref().take(2).map(|(at, value)| (at, value.unwrap())).collect();
                values.sort_unstable();
                assert_eq!(values, [(0, 4), (2, 9)]);
                let (position, result) = completed.next().expect("the unfinished one");
                let error = result.unwrap_err();
                assert_eq!((position, error.kind()), (1, ErrorKind::TimedOut));
                assert!(error.to_string().contains("1 (of 3)"), "{error}");
                assert!(completed.next().is_none());
                gate.open();
            }
        });
    }

    fn h6_as_completed_yields_in_the_order_of_completion() {
        let pool = pool(3);
        let ledger = Ledger::new("ledger");
        let gates: Vec<Gate> = (0..3).map(|number| Gate::new(&format!("gate-{number}"))).collect();
        let handles = gates.iter().map(|gate| held(&pool, &ledger, gate)).collect();
        let mut completed = as_completed(handles, Some(LIMIT));
        for position in [1, 2, 0] {
            gates[position].open();
            let (at, value) = completed.next().expect("three calls");
            assert_eq!((at, value.unwrap()), (position, 7));
        }
        assert!(completed.next().is_none());
        pool.close().unwrap();
    }

    fn h7_as_completed_keeps_nothing_of_what_it_yielded() {
        let pool = pool(2);
        let ledger = Ledger::new("ledger");
        let gate = Gate::new("gate");
        let running = held(&pool, &ledger, &gate);
        let handles: Vec<_> = (0..10).map(|x| pool.apply_async(counted, (x,))).collect();
        assert_eq!(wait(&handles, When::All, Some(LIMIT)).pending, []);
        let mut completed = as_completed(handles, Some(LIMIT));
        for _ in 0..10 {
            let (position, value) = completed.next().expect("ten calls");
            assert_eq!(value.as_ref().map_or(-1, |value| value.0), position as i64);
            assert_eq!(ALIVE.load(Ordering::Relaxed), 1, "the one in hand");
        }
        assert_eq!(ALIVE.load(Ordering::Relaxed), 0);
        gate.open();
        assert_eq!(running.get().unwrap(), 7);
        drop(completed);
        pool.close().unwrap();
    }

    fn h8_no_lost_wake_up_while_wait_is_entered() {
        both(2, |pool| {
            for _ in 0..30 {
                let handles: Vec<_> = (0..100).map(|x| pool.apply_async(square, (x,))).collect();
                let waited = wait(&handles, When::All, Some(LIMIT));
                assert_eq!(waited.pending, []);
                for (x, handle) in (0..).zip(handles) {
                    assert_eq!(handle.get().unwrap(), x * x);
                }
            }
        });
    }
}
