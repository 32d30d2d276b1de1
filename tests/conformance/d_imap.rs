//! Section D: the ordered stream.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use procession::{ErrorKind, Pool};
use procession_harness::{Ledger, wait_until};

use crate::scenes::{Gate, LIMIT, both, input_failing_at, panic_text, pool};
use crate::tasks::{echo, fail_at, note_and_wait, sleep_ms, square};

/// Fails as a task of its own says, which has nothing to do with the stream's time.
#[procession::task]
fn time_out_at(x: i64, bad: i64) -> Result<i64, String> {
    if x == bad { Err("timed out".to_owned()) } else { Ok(x) }
}

procession_harness::cases! {
    fn d1_values_come_in_order_then_the_end_stays() {
        both(2, |pool| {
            let mut stream = pool.imap(square, 0..10);
            for x in 0..10 {
                assert_eq!(stream.next().unwrap().unwrap(), x * x);
            }
            assert!(stream.next().is_none());
            assert!(stream.next().is_none());
            let many = pool.imap(square.chunk_size(100), 0..1_000).map(Result::unwrap);
            assert!((0..1_000).map(|x| x * x).eq(many));
        });
    }

    fn d2_input_fails_on_first_item() {
        let pool = pool(2);
        for _ in 0..2 {
            let mut stream = pool.imap(square, input_failing_at(0));
            let panic = catch_unwind(AssertUnwindSafe(|| stream.next())).unwrap_err();
            assert_eq!(panic_text(&*panic), "the input fails at 0");
            assert!(stream.next().is_none());
        }
        assert_eq!(pool.imap(square, 0..3).map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 4]);
        pool.close().unwrap();
    }

    fn d3_input_fails_at_item_3_after_three_values() {
        both(2, |pool| {
            for task in [square.chunk_size(1), square, square.chunk_size(2)] {
                let mut stream = pool.imap(task, input_failing_at(3));
                for x in 0..3 {
                    assert_eq!(stream.next().unwrap().unwrap(), x * x);
                }
                let panic = catch_unwind(AssertUnwindSafe(|| stream.next())).unwrap_err();
                assert_eq!(panic_text(&*panic), "the input fails at 3");
                assert!(stream.next().is_none());
            }
        });
    }

    fn d5_a_task_error_is_that_elements_alone() {
        both(2, |pool| {
            for task in [fail_at.chunk_size(1), fail_at.chunk_size(3), fail_at] {
                let mut stream = pool.istarmap(task, (0..4).map(|x| (x, vec![2])));
                assert_eq!(stream.next().unwrap().unwrap(), 0);
                assert_eq!(stream.next().unwrap().unwrap(), 1);
                let error = stream.next().unwrap().unwrap_err();
                assert_eq!((error.kind(), error.item()), (ErrorKind::Panicked, Some(2)));
                assert_eq!(stream.next().unwrap().unwrap(), 3);
                assert!(stream.next().is_none());
                assert!(stream.next().is_none());
            }
        });
    }

    fn d6_a_timeout_that_a_task_returns_is_data() {
        let pool = pool(1);
        let task = time_out_at.deadline(LIMIT).timeout(LIMIT);
        let mut stream = pool.istarmap(task, (0..3).map(|x| (x, 1)));
        assert_eq!(stream.next_timeout(LIMIT).unwrap().unwrap().unwrap(), Ok(0));
        assert_eq!(stream.next_timeout(LIMIT).unwrap().unwrap().unwrap(), Err("timed out".to_owned()));
        assert_eq!(stream.next_timeout(LIMIT).unwrap().unwrap().unwrap(), Ok(2));
        assert!(stream.next_timeout(LIMIT).unwrap().is_none());
        pool.close().unwrap();
    }

    fn d7_a_deadline_ends_the_call_after_the_values_in_time() {
        both(1, |pool| {
            let task = sleep_ms.deadline(Duration::from_secs(3)).chunk_size(1);
            let mut stream = pool.imap(task, [0, 0, 600_000, 0, 0]);
            assert_eq!(stream.next().unwrap().unwrap(), 0);
            assert_eq!(stream.next().unwrap().unwrap(), 0);
            for item in 2..5 {
                let error = stream.next().unwrap().unwrap_err();
                assert_eq!((error.kind(), error.item()), (ErrorKind::TimedOut, Some(item)), "{error}");
            }
            assert!(stream.next().is_none());
            assert_eq!(pool.apply(echo, (1,)).unwrap(), 1);
        });
    }

    fn d7_a_deadline_ends_a_call_whose_input_goes_on() {
        let pool = pool(1);
        let task = sleep_ms.deadline(Duration::from_secs(1)).chunk_size(1);
        let mut stream = pool.imap(task, std::iter::repeat(10));
        let first_error = stream.find_map(Result::err).unwrap();
        assert_eq!(first_error.kind(), ErrorKind::TimedOut);
        // What was in flight then has its outcome, and nothing more is pulled.
        assert!(stream.all(|outcome| outcome.is_err_and(|error| error.kind() == ErrorKind::TimedOut)));
        assert!(stream.next().is_none());
        pool.close().unwrap();
    }

    fn d8_a_generous_deadline_is_never_met() {
        let pool = pool(2);
        let task = sleep_ms.deadline(LIMIT).timeout(LIMIT);
        let values: Vec<u64> = pool.map(task, [50, 0, 20]).unwrap();
        assert_eq!(values, [50, 0, 20]);
        pool.close().unwrap();
    }

    fn d9_dropping_a_stream_drops_what_has_not_begun() {
        let (ledger, gate) = (Ledger::new("starts"), Gate::new("gate"));
        let pool = pool(1);
        let items = (0..50).map(|x| (ledger.path(), x, gate.path()));
        let mut stream = pool.istarmap(note_and_wait, items);
        assert!(stream.next_timeout(Duration::ZERO).is_none());
        assert!(wait_until(LIMIT, || !ledger.lines().is_empty()));
        drop(stream);
        gate.open();
        assert_eq!(pool.apply(echo, (1,)).unwrap(), 1);
        assert_eq!(ledger.lines(), ["0"]);
        pool.close().unwrap();
    }

    fn d9_cancelling_a_stream_settles_the_rest_at_once() {
        both(1, |pool| {
            let (ledger, gate) = (Ledger::new("starts"), Gate::new("gate"));
            let items = (0..50).map(|x| (ledger.path(), x, gate.path()));
            let mut stream = pool.istarmap(note_and_wait, items);
            assert!(stream.next_timeout(Duration::ZERO).is_none());
            assert!(wait_until(LIMIT, || !ledger.lines().is_empty()));
            stream.cancel();
            let mut rest = 0;
            while let Some(outcome) = stream.next_timeout(LIMIT).expect("the rest is settled") {
                assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
                rest += 1;
            }
            assert!((1..=50).contains(&rest));
            assert!(stream.next().is_none());
            // The gate is still closed: the running item was stopped.
            assert_eq!(pool.apply(echo, (1,)).unwrap(), 1);
            assert_eq!(ledger.lines(), ["0"]);
        });
    }

    fn d11_nothing_in_time_leaves_the_stream_as_it_was() {
        let (ledger, gate) = (Ledger::new("starts"), Gate::new("gate"));
        let pool = pool(2);
        let items = (0..4).map(|x| (ledger.path(), x, gate.path()));
        let mut stream = pool.istarmap(note_and_wait, items);
        let start = Instant::now();
        assert!(stream.next_timeout(Duration::from_millis(50)).is_none());
        assert!(stream.next_timeout(Duration::ZERO).is_none());
        assert!((Duration::from_millis(50)..LIMIT).contains(&start.elapsed()));
        gate.open();
        for x in 0..4 {
            assert_eq!(stream.next().unwrap().unwrap(), x);
        }
        assert!(stream.next_timeout(Duration::ZERO).unwrap().is_none());
        pool.close().unwrap();
    }

    fn d12_a_half_read_stream_of_a_terminated_pool_ends_with_errors() {
        both(2, |pool| {
            let gate = Gate::new("gate");
            let ledger = Ledger::new("starts");
            let items = (0..1_000).map(|x| (ledger.path(), x, gate.path()));
            let mut stream = pool.istarmap(note_and_wait, items);
            assert!(stream.next_timeout(Duration::ZERO).is_none());
            assert!(wait_until(LIMIT, || ledger.lines().len() == 2));
            pool.terminate();
            let first = stream.next_timeout(LIMIT).expect("it does not hang").unwrap().unwrap_err();
            assert_eq!(first.kind(), ErrorKind::Terminated);
            let is_terminated = |error: procession::Error| error.kind() == ErrorKind::Terminated;
            assert!(stream.all(|outcome| outcome.is_err_and(is_terminated)));
            assert!(stream.next().is_none());
        });
    }

    fn d12_values_before_the_end_of_the_pool_are_kept() {
        let pool = pool(2);
        let mut stream = pool.imap(square, 0..);
        for x in 0..100 {
            assert_eq!(stream.next().unwrap().unwrap(), x * x);
        }
        pool.terminate();
        let mut values = 100;
        let mut stream = stream.skip_while(|outcome| {
            values += i64::from(outcome.is_ok());
            outcome.is_ok()
        });
        assert_eq!(stream.next().unwrap().unwrap_err().kind(), ErrorKind::Terminated);
        // Later values may be in, since items end in any order; the stream has an end all the same.
        let rest = stream.count();
        assert!(rest < 10_000_000, "{rest} after {values} values");
        pool.join(Some(LIMIT)).unwrap();
    }

    fn d13_a_stream_outlives_its_pool_and_ends() {
        for n in [0, 1, 5] {
            let pool = Pool::builder().workers(2).build().unwrap();
            let mut stream = pool.imap(square, 0..1_000_000);
            for x in 0..n {
                assert_eq!(stream.next().unwrap().unwrap(), x * x);
            }
            drop(pool);
            let mut outcomes = 0;
            while let Some(outcome) = stream.next_timeout(LIMIT).expect("it does not hang") {
                if let Err(error) = outcome {
                    assert!(matches!(error.kind(), ErrorKind::Terminated | ErrorKind::Closed), "{error}");
                }
                outcomes += 1;
            }
            assert!(outcomes <= 1_000_000);
        }
    }

    fn d13_a_stream_opened_on_an_ended_pool_says_so() {
        let pool = pool(1);
        pool.close().unwrap();
        let mut stream = pool.imap(square, 0..3);
        assert_eq!(stream.next().unwrap().unwrap_err().kind(), ErrorKind::Closed);
        assert!(stream.next().is_none());
    }
}
