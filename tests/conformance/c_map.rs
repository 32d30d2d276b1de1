//! Section C: maps and starmaps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::{Duration, Instant};

use procession::{ErrorKind, Pool};
use procession_harness::{Ledger, wait_until};
use serde::{Deserialize, Deserializer, Serialize};

use crate::scenes::{LIMIT, both, input_failing_at, panic_text, pool};
use crate::tasks::{echo, fail_at, multiply, note, note_and_sleep, square};

fn squares(n: i64) -> Vec<i64> {
    (0..n).map(|x| x * x).collect()
}

/// Items 2 and 5 fail, and 5 does so first.
#[procession::task]
fn fail_at_5_then_2(path: String, x: i64) -> i64 {
    match x {
        2 => {
            let seen = || std::fs::read_to_string(&path).is_ok_and(|text| text.contains('5'));
            assert!(wait_until(LIMIT, seen), "5 never ran");
            panic!("the second failure in time")
        }
        5 => {
            Ledger::note(path, x);
            panic!("the first failure in time")
        }
        _ => x,
    }
}

/// A value that counts how many of its kind exist in this process.
#[derive(Serialize)]
struct Counted(i64);

static COUNTED: AtomicIsize = AtomicIsize::new(0);

impl Counted {
    fn new(x: i64) -> Counted {
        COUNTED.fetch_add(1, Ordering::SeqCst);
        Counted(x)
    }

    fn alive() -> isize {
        COUNTED.load(Ordering::SeqCst)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        COUNTED.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Counted, D::Error> {
        i64::deserialize(deserializer).map(Counted::new)
    }
}

#[procession::task]
fn pass_on(counted: Counted) -> Counted {
    Counted::new(counted.0)
}

#[procession::task]
fn counted_in_this_worker() -> isize {
    Counted::alive()
}

procession_harness::cases! {
    fn c1_map_equals_the_serial_map() {
        both(2, |pool| {
            assert_eq!(pool.map(square, 0..10).unwrap(), squares(10));
            assert_eq!(pool.map(square.chunk_size(20), 0..100).unwrap(), squares(100));
        });
    }

    fn c2_starmap_and_the_async_forms_equal_the_serial_ones() {
        both(2, |pool| {
            let pairs = || (0..50).map(|x| (x, 50 - x));
            let products: Vec<i64> = pairs().map(|(x, y)| x * y).collect();
            assert_eq!(pool.starmap(multiply, pairs()).unwrap(), products);
            assert_eq!(pool.starmap(multiply.chunk_size(20), pairs()).unwrap(), products);
            assert_eq!(pool.starmap_async(multiply, pairs()).get().unwrap(), products);
            assert_eq!(pool.starmap_async(multiply.chunk_size(20), pairs()).get().unwrap(), products);
            assert_eq!(pool.map_async(square, 0..50).get().unwrap(), squares(50));
            assert_eq!(pool.map_async(square.chunk_size(20), 0..50).get().unwrap(), squares(50));
        });
    }

    fn c3_any_chunk_size_gives_the_same() {
        let pool = pool(3);
        for chunk in [1, 6, 40, 50, usize::MAX] {
            let task = square.chunk_size(chunk);
            assert_eq!(pool.map(task, 0..40).unwrap(), squares(40), "{chunk}");
            assert_eq!(pool.map_async(task, 0..40).get().unwrap(), squares(40), "{chunk}");
        }
        pool.close().unwrap();
    }

    fn c3_a_chunk_of_zero_is_refused_before_any_work() {
        let pool = pool(1);
        let untouched = || (0..3_i64).inspect(|x| panic!("item {x} was pulled"));
        let task = square.chunk_size(0);
        let errors = [
            pool.map(task, untouched()).unwrap_err(),
            pool.map_async(task, untouched()).get().unwrap_err(),
            pool.imap(task, untouched()).next().unwrap().unwrap_err(),
            pool.imap_unordered(task, untouched()).next().unwrap().unwrap_err(),
            pool.apply(task, (1,)).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().contains("`chunk_size`"), "{error}");
        }
        assert_eq!(pool.map(square, 0..3).unwrap(), squares(3));
        pool.close().unwrap();
    }

    fn c4_an_empty_input_gives_an_empty_result_at_once() {
        both(2, |pool| {
            for task in [square, square.chunk_size(7)] {
                let none = std::iter::empty::<i64>;
                assert_eq!(pool.map(task, none()).unwrap(), []);
                assert_eq!(pool.map_async(task, none()).get().unwrap(), []);
                assert_eq!(pool.imap(task, none()).count(), 0);
                assert_eq!(pool.imap_unordered(task, none()).count(), 0);
            }
            assert_eq!(pool.starmap(multiply, []).unwrap(), []);
            assert_eq!(pool.starmap_async(multiply, []).get().unwrap(), []);
            assert_eq!(pool.istarmap(multiply, []).count(), 0);
            assert_eq!(pool.istarmap_unordered(multiply, []).count(), 0);
        });
    }

    fn c4_an_exhausted_input_is_an_empty_one() {
        let pool = pool(1);
        let mut input = 0..3;
        assert_eq!(pool.map(square, input.by_ref()).unwrap(), squares(3));
        assert_eq!(pool.map(square, input.by_ref()).unwrap(), []);
        pool.close().unwrap();
    }

    fn c5_inputs_of_different_length_stop_at_the_shortest() {
        let pool = pool(2);
        let products = pool.starmap(multiply, (0..10).zip(5..9)).unwrap();
        assert_eq!(products, [0, 6, 14, 24]);
        pool.close().unwrap();
    }

    fn c7_input_fails_at_first_item() {
        both(2, |pool| {
            for _ in 0..2 {
                let panic = catch_unwind(AssertUnwindSafe(|| pool.map(square, input_failing_at(0)))).unwrap_err();
                assert_eq!(panic_text(&*panic), "the input fails at 0");
                let later = catch_unwind(AssertUnwindSafe(|| pool.map_async(square, input_failing_at(0))));
                assert_eq!(panic_text(&*later.unwrap_err()), "the input fails at 0");
            }
            assert_eq!(pool.map(square, 0..10).unwrap(), squares(10));
        });
    }

    fn c8_input_fails_at_item_3() {
        let ledger = Ledger::new("starts");
        let pool = pool(2);
        for run in 1..=3 {
            let items = input_failing_at(3).map(|x| (ledger.path(), x));
            let panic = catch_unwind(AssertUnwindSafe(|| pool.starmap(note, items))).unwrap_err();
            assert_eq!(panic_text(&*panic), "the input fails at 3");
            // Every item before it had its outcome when the panic came through: nothing is in flight.
            assert_eq!(ledger.lines().len(), 3 * run);
        }
        assert_eq!(pool.map(square, 0..10).unwrap(), squares(10));
        assert_eq!(ledger.lines().len(), 9);
        pool.close().unwrap();
    }

    fn c8_input_of_an_async_map_fails_at_item_3() {
        let ledger = Ledger::new("starts");
        let pool = pool(2);
        let items = input_failing_at(3).map(|x| (ledger.path(), x));
        let panic = catch_unwind(AssertUnwindSafe(|| pool.starmap_async(note, items))).unwrap_err();
        assert_eq!(panic_text(&*panic), "the input fails at 3");
        assert_eq!(pool.map(square, 0..10).unwrap(), squares(10));
        pool.close().unwrap();
        assert!(ledger.lines().len() <= 3);
    }

    fn c10_only_a_task_error_carries_a_remote_backtrace() {
        let pool = pool(1);
        let error = pool.starmap(fail_at, [(1, vec![1])]).unwrap_err();
        assert!(error.backtrace().is_some_and(|stack| stack.contains("fail_at")));
        let panic = catch_unwind(AssertUnwindSafe(|| pool.map(square, input_failing_at(1)))).unwrap_err();
        assert!(panic.downcast_ref::<procession::Error>().is_none());
        assert_eq!(panic_text(&*panic), "the input fails at 1");
        pool.close().unwrap();
    }

    fn c12_map_reports_the_first_failing_item_by_index() {
        let pool = pool(2);
        let task = fail_at_5_then_2.chunk_size(1);
        for name in ["blocking", "async"] {
            let ledger = Ledger::new(name);
            let items = (0..8).map(|x| (ledger.path(), x));
            let error = match name {
                "blocking" => pool.starmap(task, items).unwrap_err(),
                _ => pool.starmap_async(task, items).get().unwrap_err(),
            };
            assert_eq!((error.kind(), error.item()), (ErrorKind::Panicked, Some(2)), "{error}");
            assert_eq!(error.panic_message(), Some("the second failure in time"));
        }
        pool.close().unwrap();
    }

    fn c12_other_results_are_what_they_would_be() {
        both(2, |pool| {
            let outcomes = pool.istarmap(fail_at, (0..8).map(|x| (x, vec![2, 5])));
            for (x, outcome) in (0..8).zip(outcomes) {
                match outcome {
                    Ok(value) => assert_eq!(value, x),
                    Err(error) => {
                        assert!(x == 2 || x == 5);
                        assert_eq!(error.item(), Some(x as u64));
                        assert_eq!(error.panic_message(), Some(&*format!("{x} is bad")));
                    }
                }
            }
        });
    }

    fn c13_a_failure_ends_the_map_and_frees_the_workers() {
        let ledger = Ledger::new("starts");
        let pool = pool(2);
        let start = Instant::now();
        let items = (0..100).map(|x| if x == 0 { (String::new(), x, 0) } else { (ledger.path(), x, 2_000) });
        let error = pool.starmap(note_and_sleep.chunk_size(1), items).unwrap_err();
        assert_eq!((error.kind(), error.item()), (ErrorKind::Panicked, Some(0)));
        assert_eq!(pool.map(square, 0..10).unwrap(), squares(10));
        // All of them would take 99 s.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        let begun = ledger.lines().len();
        assert!(begun <= 10, "{begun} began");
        pool.close().unwrap();
    }

    fn c14_an_input_of_unknown_length_is_as_good_as_a_list() {
        both(2, |pool| {
            let mut next = 0;
            let generator = std::iter::from_fn(|| {
                next += 1;
                (next <= 1_000).then_some(next - 1)
            });
            assert_eq!(pool.map(square, generator).unwrap(), squares(1_000));
        });
    }

    fn c15_arguments_and_results_live_no_longer_than_needed() {
        let pool = pool(1);
        for task in [pass_on, pass_on.chunk_size(3)] {
            let values = pool.map(task, (0..10).map(Counted::new)).unwrap();
            assert!((0..).zip(&values).all(|(x, counted)| x == counted.0));
            assert_eq!(Counted::alive(), 10);
            drop(values);
            assert_eq!(Counted::alive(), 0);
        }
        let later = pool.map_async(pass_on, (0..10).map(Counted::new));
        assert_eq!(Counted::alive(), 0);
        assert_eq!(later.get().unwrap().len(), 10);
        assert_eq!(Counted::alive(), 0);
        let value = pool.apply(pass_on, (Counted::new(3),)).unwrap();
        assert_eq!((value.0, Counted::alive()), (3, 1));
        drop(value);
        for counted in pool.imap(pass_on, (0..10).map(Counted::new)) {
            assert_eq!(Counted::alive(), 1, "of item {}", counted.unwrap().0);
        }
        assert_eq!(Counted::alive(), 0);
        assert_eq!(pool.apply(counted_in_this_worker, ()).unwrap(), 0);
        pool.close().unwrap();
    }

    fn c16_a_million_tiny_items() {
        let pool = pool(2);
        let values = pool.map(echo, 0..1_000_000).unwrap();
        assert!((0..1_000_000).eq(values));
        pool.close().unwrap();
    }

    fn c16_a_million_tiny_items_encoded_at_once() {
        let pool = Pool::builder().workers(2).build().unwrap();
        let later = pool.map_async(echo, 0..1_000_000);
        assert!((0..1_000_000).eq(later.get().unwrap()));
        pool.close().unwrap();
    }
}
