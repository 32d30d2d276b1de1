//! Arguments and results of many megabytes, alone and together, and workers that are killed while they travel.

use procession::ErrorKind;
use procession_harness::{Ledger, Signal, send_signal};
use procession_tasks::faults::echo;

use crate::scenes::{both, outcomes, wait_lines, wait_workers};
use crate::tasks::square;

const MIB: usize = 1 << 20;

/// Bytes that differ from their neighbours, and from those of another seed.
fn bytes(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * 31) ^ (at >> 11) ^ seed) as u8).collect()
}

/// Notes its process; many bytes.
#[procession::task]
fn make_bytes(path: String, length: usize) -> Vec<u8> {
    Ledger::note(path, std::process::id());
    bytes(length, 1)
}

procession_harness::cases! {
    fn large_values_come_back_equal() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            // Around the sizes where a value no longer fits into one message, and far beyond.
            for length in [0, 1, 32 << 10, 47 << 10, 48 << 10, 49 << 10, 64 << 10, 65 << 10, MIB, 100 * MIB] {
                let value = bytes(length, 1);
                let came_back = pool.apply(echo, (value.clone(),)).unwrap();
                assert!(came_back == value, "{length} bytes");
            }
            pool.close().unwrap();
        });
    }

    fn many_large_values_at_once() {
        both(3, |builder| {
            let pool = builder.build().unwrap();
            let handles = (0..20).map(|seed| pool.apply_async(echo, (bytes(8 * MIB, seed),))).collect();
            let small: Vec<_> = (0..100).map(|x| pool.apply_async(square, (x,))).collect();
            for (seed, value) in outcomes(handles).into_iter().enumerate() {
                assert!(value.unwrap() == bytes(8 * MIB, seed), "value {seed}");
            }
            for (x, value) in (0..).zip(outcomes(small)) {
                assert_eq!(value.unwrap(), x * x);
            }
            let mapped = pool.imap(echo.chunk_size(5), (0..30).map(|seed| bytes((seed % 7) * 300_000, seed)));
            for (seed, value) in mapped.enumerate() {
                assert!(value.unwrap() == bytes((seed % 7) * 300_000, seed), "value {seed}");
            }
            pool.close().unwrap();
        });
    }

    fn a_worker_is_killed_while_its_argument_travels() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            for _ in 0..5 {
                let victim = wait_workers(&pool, 1)[0];
                let value = bytes(40 * MIB, 1);
                let handle = pool.apply_async(echo, (value.clone(),));
                send_signal(victim, Signal::SIGKILL);
                // It had not begun, or may be run again: either way it has its value.
                let outcome = outcomes(vec![handle]).remove(0);
                assert!(outcome.unwrap() == value);
                assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
            }
            pool.close().unwrap();
        });
    }

    fn a_worker_is_killed_while_its_result_travels() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            for _ in 0..5 {
                let ledger = Ledger::new("ledger");
                let bystanders: Vec<_> = (0..50).map(|x| pool.apply_async(square, (x,))).collect();
                let handle = pool.apply_async(make_bytes, (ledger.path(), 40 * MIB));
                let victim = wait_lines(&ledger, 1)[0].parse().unwrap();
                if procession_harness::alive(victim) {
                    send_signal(victim, Signal::SIGKILL);
                }
                match outcomes(vec![handle]).remove(0) {
                    // The reply counts if it was complete.
                    Ok(value) => assert!(value == bytes(40 * MIB, 1)),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WorkerLost, "{error}"),
                }
                for (x, value) in (0..).zip(outcomes(bystanders)) {
                    assert_eq!(value.unwrap(), x * x);
                }
                assert_eq!(ledger.lines().len(), 1);
            }
            pool.close().unwrap();
        });
    }

    fn cancelling_many_large_calls() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let handles: Vec<_> = (0..8).map(|seed| pool.apply_async(echo, (bytes(25 * MIB, seed),))).collect();
            let cancelled: Vec<bool> = handles.iter().map(|handle| handle.cancel()).collect();
            for (seed, outcome) in outcomes(handles).into_iter().enumerate() {
                match outcome {
                    Ok(value) => assert!(value == bytes(25 * MIB, seed)),
                    Err(error) => assert!(cancelled[seed] && error.kind() == ErrorKind::Cancelled, "{error}"),
                }
            }
            assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
            pool.close().unwrap();
        });
    }
}
