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
}
