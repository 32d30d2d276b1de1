//! Section E: the stream in order of completion.

use std::time::Duration;

use procession::ErrorKind;

use crate::scenes::{Gate, LIMIT, both, pool};
use crate::tasks::{echo, sleep_ms, square};

/// Waits for the gate if its argument is `slow`; its argument.
#[procession::task]
fn wait_if(x: i64, slow: i64, gate: String) -> i64 {
    while x == slow && !std::path::Path::new(&gate).exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    x
}

/// Waits for the gate if its argument is `slow`, and then ends its process; its argument.
#[procession::task]
fn crash_if(x: i64, slow: i64, gate: String) -> i64 {
    wait_if(x, slow, gate);
    if x == slow { std::process::abort() } else { x }
}

procession_harness::cases! {
    fn e1_sorted_results_equal_the_serial_map() {
        both(2, |pool| {
            for (task, n) in [(square, 10), (square.chunk_size(100), 1_000)] {
                let mut values: Vec<i64> = pool.imap_unordered(task, 0..n).map(Result::unwrap).collect();
                values.sort_unstable();
                assert!((0..n).map(|x| x * x).eq(values));
            }
        });
    }

    fn e3_nine_fast_items_arrive_before_the_slow_one() {
        for slow in [0, 4, 9] {
            for task in [wait_if, wait_if.chunk_size(1), wait_if.chunk_size(5)] {
                let gate = Gate::new("gate");
                let pool = pool(2);
                let mut stream = pool.istarmap_unordered(task, (0..10).map(|x| (x, slow, gate.path())));
                for _ in 0..9 {
                    let value = stream.next_timeout(LIMIT).expect("the fast ones do not wait");
                    assert_ne!(value.unwrap().unwrap(), slow);
                }
                assert!(stream.next_timeout(Duration::ZERO).is_none());
                gate.open();
                assert_eq!(stream.next().unwrap().unwrap(), slow);
                assert!(stream.next().is_none());
                pool.close().unwrap();
            }
        }
    }

    fn e4_fast_items_are_delivered_then_the_deadline_passes() {
        both(2, |pool| {
            let task = sleep_ms.deadline(Duration::from_secs(3)).chunk_size(1);
            let mut outcomes = pool.imap_unordered(task, [600_000, 0, 0, 0]);
            for _ in 0..3 {
                assert_eq!(outcomes.next().unwrap().unwrap(), 0);
            }
            let error = outcomes.next().unwrap().unwrap_err();
            assert_eq!((error.kind(), error.item()), (ErrorKind::TimedOut, Some(0)), "{error}");
            assert!(outcomes.next().is_none());
            assert_eq!(pool.apply(echo, (1,)).unwrap(), 1);
        });
    }

    fn e5_short_items_run_while_a_long_one_does() {
        let pool = pool(2);
        // What is known of earlier items' durations must not tie short ones to the long one.
        for run in 0..5 {
            let gate = Gate::new("gate");
            let mut stream = pool.istarmap_unordered(wait_if, (0..6).map(|x| (x, run, gate.path())));
            for _ in 0..5 {
                assert_ne!(stream.next_timeout(LIMIT).expect("no item waits").unwrap().unwrap(), run);
            }
            gate.open();
            assert_eq!(stream.next().unwrap().unwrap(), run);
            assert!(stream.next().is_none());
        }
        pool.close().unwrap();
    }

    fn e5_a_value_does_not_wait_for_the_item_behind_it() {
        both(1, |pool| {
            let gate = Gate::new("gate");
            let items = (0..8).map(|x| (x, 3, gate.path()));
            let mut stream = pool.istarmap_unordered(wait_if.chunk_size(8), items);
            for x in 0..3 {
                let value = stream.next_timeout(LIMIT).expect("it is done");
                assert_eq!(value.unwrap().unwrap(), x);
            }
            gate.open();
            assert!((3..8).eq(stream.map(Result::unwrap)));
        });
    }

    fn e5_a_single_call_does_not_wait_for_the_one_behind_it() {
        let pool = pool(1);
        let gate = Gate::new("gate");
        let submit = |x| pool.apply_async(wait_if, (x, 6, gate.path()));
        let handles: Vec<_> = (0..8).map(submit).collect();
        for (x, handle) in (0..).zip(&handles) {
            assert!(x >= 6 || handle.wait(Some(LIMIT)), "call {x} waits");
        }
        assert!(!handles[6].is_ready());
        gate.open();
        for (x, handle) in (0..).zip(handles) {
            assert_eq!(handle.get().unwrap(), x);
        }
        pool.close().unwrap();
    }

    fn e5_values_that_did_not_wait_survive_a_crash_and_come_once() {
        both(1, |pool| {
            let gate = Gate::new("gate");
            let items = (0..8).map(|x| (x, 3, gate.path()));
            let mut stream = pool.istarmap_unordered(crash_if.chunk_size(8), items);
            for x in 0..3 {
                let value = stream.next_timeout(LIMIT).expect("it is done");
                assert_eq!(value.unwrap().unwrap(), x);
            }
            gate.open();
            let error = stream.next().unwrap().unwrap_err();
            assert_eq!((error.kind(), error.item()), (ErrorKind::WorkerLost, Some(3)), "{error}");
            assert!((4..8).eq(stream.map(Result::unwrap)));
        });
    }
}
