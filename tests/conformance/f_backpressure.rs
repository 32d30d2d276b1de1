//! Section F: how far an input runs ahead of who reads the results.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use procession::ErrorKind;
use procession_harness::{Gate, Ledger, wait_until};

use crate::held::note_and_wait;
use crate::scenes::{LIMIT, both, pool, wait_lines};
use crate::tasks::{echo, echo_bytes, multiply, square};

fn squares(n: i64) -> Vec<i64> {
    (0..n).map(|x| x * x).collect()
}

/// The numbers from 0 on, and how many of them were pulled.
fn counted() -> (impl Iterator<Item = i64>, Arc<AtomicI64>) {
    let pulled = Arc::new(AtomicI64::new(0));
    let counter = Arc::clone(&pulled);
    ((0..).inspect(move |_| counter.store(counter.load(Ordering::SeqCst) + 1, Ordering::SeqCst)), pulled)
}

procession_harness::cases! {
    fn f1_a_buffer_of_zero_is_refused_before_anything_is_pulled() {
        let pool = pool(1);
        let (input, pulled) = counted();
        let error = pool.imap(square.buffer(0), input).next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("`buffer`"), "{error}");
        let (unordered_input, unordered_pulled) = counted();
        let error = pool.imap_unordered(square.buffer(0), unordered_input).next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert_eq!((pulled.load(Ordering::SeqCst), unordered_pulled.load(Ordering::SeqCst)), (0, 0));
        assert_eq!(pool.map(square, 0..3).unwrap(), squares(3));
        pool.close().unwrap();
    }

    fn f1_any_buffer_gives_the_same() {
        const N: i64 = 50;
        both(2, |pool| {
            for buffer in [1, 2, N as usize, 2 * N as usize, usize::MAX] {
                let values: Vec<i64> = pool.imap(square.buffer(buffer), 0..N).map(Result::unwrap).collect();
                assert_eq!(values, squares(N), "buffer {buffer}");
                let unordered = pool.imap_unordered(square.buffer(buffer), 0..N);
                let mut values: Vec<i64> = unordered.map(Result::unwrap).collect();
                values.sort_unstable();
                assert_eq!(values, squares(N), "buffer {buffer}");
                assert_eq!(pool.map(square.buffer(buffer), 0..N).unwrap(), squares(N), "buffer {buffer}");
            }
        });
    }

    fn f1_no_more_is_pulled_than_the_buffer_has_room_for() {
        both(2, |pool| {
            for buffer in [1, 2, 7] {
                let (input, pulled) = counted();
                let mut stream = pool.imap(echo.buffer(buffer as usize), input);
                for x in 0..100 {
                    assert_eq!(stream.next().unwrap().unwrap(), x);
                    let ahead = pulled.load(Ordering::SeqCst) - x;
                    assert!((1..=buffer + 1).contains(&ahead), "{ahead} ahead with a buffer of {buffer}");
                }
            }
        });
    }

    fn f2_first_values_of_infinite_inputs() {
        both(2, |pool| {
            let values: Vec<i64> = pool.imap(square.buffer(2), 0..).take(10).map(Result::unwrap).collect();
            assert_eq!(values, squares(10));
            let pairs = (0..).zip(std::iter::repeat(3));
            let values: Vec<i64> = pool.istarmap(multiply.buffer(2), pairs).take(10).map(Result::unwrap).collect();
            assert_eq!(values, (0..10).map(|x| 3 * x).collect::<Vec<_>>());
            let unordered = pool.imap_unordered(square.buffer(2), 0..);
            let values: Vec<i64> = unordered.take(10).map(Result::unwrap).collect();
            // With two in flight, a value is at most one place early.
            assert!(values.iter().all(|value| squares(12).contains(value)), "{values:?}");
        });
    }

    fn f4_an_empty_input_ends_at_once_whatever_the_buffer() {
        both(1, |pool| {
            for buffer in [1, 2, 1_000] {
                let none = std::iter::empty::<i64>;
                assert!(pool.imap(square.buffer(buffer), none()).next_timeout(LIMIT).unwrap().is_none());
                assert!(pool.imap_unordered(square.buffer(buffer), none()).next_timeout(LIMIT).unwrap().is_none());
                assert_eq!(pool.istarmap(multiply.buffer(buffer), []).count(), 0);
            }
        });
    }

    fn f5_every_chunk_with_every_buffer() {
        both(2, |pool| {
            for chunk in [1, 2, 9, 10, 11] {
                for buffer in [1, 2, 9, 10, 11] {
                    let task = square.chunk_size(chunk).buffer(buffer);
                    let values: Vec<i64> = pool.imap(task, 0..10).map(Result::unwrap).collect();
                    assert_eq!(values, squares(10), "chunk {chunk}, buffer {buffer}");
                    let unordered = pool.imap_unordered(task, 0..10);
                    let mut values: Vec<i64> = unordered.map(Result::unwrap).collect();
                    values.sort_unstable();
                    assert_eq!(values, squares(10), "chunk {chunk}, buffer {buffer}, unordered");
                }
            }
        });
    }

    fn f6_who_waits_for_room_is_released_by_terminate() {
        both(1, |pool| {
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let (path, at) = (ledger.path(), gate.path());
            let (input, pulled) = counted();
            let busy = pool.clone();
            let producer = thread::spawn(move || {
                let rows = input.map(|x| (path.clone(), x, at.clone()));
                let mut stream = busy.istarmap(note_and_wait.buffer(2).chunk_size(1), rows);
                let first = stream.next().expect("it has begun").unwrap_err().kind();
                (first, stream.count())
            });
            wait_lines(&ledger, 1);
            assert!(wait_until(LIMIT, || pulled.load(Ordering::SeqCst) == 2), "it fills its buffer");
            pool.terminate();
            let (first, rest) = producer.join().expect("it does not panic");
            assert_eq!(first, ErrorKind::Terminated);
            assert!(rest <= 2, "{rest} more outcomes");
            assert_eq!(pulled.load(Ordering::SeqCst), 2, "and pulls no more");
            pool.join(Some(LIMIT)).unwrap();
        });
    }

    fn f7_a_stream_that_nobody_reads_does_not_hold_up_another() {
        both(2, |pool| {
            let mut unread = pool.imap(square.buffer(2), 0..);
            assert_eq!(unread.next().unwrap().unwrap(), 0);
            let mut unread_unordered = pool.imap_unordered(square, 0..1_000_000);
            unread_unordered.next().unwrap().unwrap();
            let values: Vec<i64> = pool.imap(square.buffer(4), 0..1_000).map(Result::unwrap).collect();
            assert_eq!(values, squares(1_000));
            assert_eq!(pool.map(square, 0..1_000).unwrap(), squares(1_000));
            assert_eq!(unread.next().unwrap().unwrap(), 1, "and it can be read on");
        });
    }

    fn f7_large_results_that_nobody_takes_do_not_hold_up_others() {
        both(2, |pool| {
            // Each is larger than all that a worker and its master share for results.
            let large = vec![7; 3 << 20];
            let mut unread = pool.imap(echo_bytes.buffer(4), std::iter::repeat(large.clone()));
            assert!(unread.next().unwrap().unwrap() == large);
            assert_eq!(pool.map(square, 0..1_000).unwrap(), squares(1_000));
            assert!(unread.next().unwrap().unwrap() == large);
        });
    }
}
