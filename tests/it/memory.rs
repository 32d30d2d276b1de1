//! Workers and memory: those that grow are replaced, those that are refused more are reported, and nobody else suffers.

use std::collections::BTreeMap;
use std::time::Duration;

use procession::{ErrorKind, Event, Output, WorkerExit};
use procession_harness::{Ledger, Signal, send_signal, wait_until};

use crate::limits::{announce_and_run, note_and_sleep};
use crate::scenes::{LIMIT, both, counts, outcomes, wait_lines};
use crate::tasks::{own_pid, square};

const MIB: u64 = 1 << 20;

/// How much a leaking item leaves behind.
const LEAK: usize = 3 << 20;

const LEAKS: i64 = 300;

/// Notes its start and leaks; the process, and how much of its memory is resident.
#[procession::task]
fn leak(path: String, x: i64) -> (i64, u32, u64) {
    Ledger::note(path, x);
    std::mem::forget(vec![1_u8; LEAK]);
    std::thread::sleep(Duration::from_millis(4));
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc can be read");
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    (x, std::process::id(), pages * 4096)
}

/// Allocates and writes that many bytes.
#[procession::task]
fn fill(bytes: usize) -> usize {
    std::hint::black_box(vec![1_u8; bytes]).len()
}

/// As [`fill`], and may be tried again.
#[procession::task(idempotent)]
fn fill_again(bytes: usize) -> usize {
    std::hint::black_box(vec![1_u8; bytes]).len()
}

procession_harness::cases! {
    fn a_worker_that_leaks_is_replaced_between_items() {
        both(2, |builder| {
            let ledger = Ledger::new("ledger");
            let pool = builder.max_rss(100 * MIB).build().unwrap();
            let rows = (0..LEAKS).map(|x| (ledger.path(), x));
            let values = pool.starmap(leak, rows).unwrap();
            assert!(values.iter().map(|(x, ..)| *x).eq(0..LEAKS), "all of them, in order");
            assert!(counts(&ledger).values().all(|starts| *starts == 1), "no attempt was charged");
            let mut peaks: BTreeMap<u32, u64> = BTreeMap::new();
            for (_, pid, rss) in values {
                let peak = peaks.entry(pid).or_default();
                *peak = rss.max(*peak);
            }
            // All of it is 900 MiB. What is beyond the limit leaked before it was noticed, on a busy machine.
            assert!(peaks.len() >= 4, "{peaks:?}");
            assert!(peaks.values().all(|peak| *peak < 400 * MIB), "{peaks:?}");
            let restarts: u32 = pool.stats().workers.iter().map(|worker| worker.restarts).sum();
            assert!(restarts as usize >= peaks.len() - 2, "{restarts} restarts, {peaks:?}");
            pool.close().unwrap();
        });
    }

    fn a_worker_that_is_too_large_from_its_start_still_gets_on() {
        both(2, |builder| {
            let ledger = Ledger::new("ledger");
            let pool = builder.max_rss(1).build().unwrap();
            let rows = (0..6).map(|x| (ledger.path(), x, 0.25));
            assert!(pool.starmap(note_and_sleep, rows).unwrap().into_iter().eq(0..6));
            assert!(counts(&ledger).values().all(|starts| *starts == 1));
            pool.close().unwrap();
        });
    }

    fn an_allocation_beyond_the_limit_costs_that_item_alone() {
        both(2, |builder| {
            let pool = builder.memory_limit(256 * MIB).build().unwrap();
            let sizes = [1 << 20, 1 << 30, 1 << 20, 3 << 20];
            let outcomes: Vec<_> = pool.imap(fill.chunk_size(4), sizes).collect();
            for (item, outcome) in (0..).zip(outcomes) {
                match outcome {
                    Ok(bytes) => assert_eq!((item != 1, bytes), (true, sizes[item])),
                    Err(error) => {
                        assert_eq!((error.kind(), error.item()), (ErrorKind::OutOfMemory, Some(1)), "{error}");
                        assert_eq!(error.exit(), Some(WorkerExit::Signal(6)), "{error}");
                        let text = error.to_string();
                        assert!(text.starts_with("out of memory: `"), "{text}");
                        assert!(text.contains("refused 1024 MiB more under its memory limit of 256 MiB"), "{text}");
                        assert!(text.contains("attempt 1"), "{text}");
                    }
                }
            }
            // The master has no such limit.
            assert_eq!(std::hint::black_box(vec![1_u8; 300 << 20]).len(), 300 << 20);
            assert_eq!(pool.apply(square, (7,)).unwrap(), 49);
            pool.close().unwrap();
        });
    }

    fn an_item_that_may_be_tried_again_tells_of_every_refusal() {
        both(1, |builder| {
            let pool = builder.memory_limit(256 * MIB).max_attempts(2).build().unwrap();
            let error = pool.apply(fill_again, (1 << 30,)).unwrap_err();
            assert_eq!((error.kind(), error.attempts()), (ErrorKind::Quarantined, 2), "{error}");
            assert_eq!(error.to_string().matches("memory limit of 256 MiB").count(), 2, "{error}");
            pool.close().unwrap();
        });
    }

    fn a_kill_from_outside_may_have_been_for_memory_and_ours_was_not() {
        both(1, |builder| {
            let pool = builder.grace(Duration::from_millis(100)).output(Output::Null).build().unwrap();
            let ledger = Ledger::new("ledger");
            let handle = pool.apply_async(note_and_sleep, (ledger.path(), 1, 60.0));
            wait_lines(&ledger, 1);
            send_signal(pool.worker_pids()[0], Signal::SIGKILL);
            let error = outcomes(vec![handle]).remove(0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WorkerLost, "{error}");
            assert!(error.to_string().contains("signal 9 (SIGKILL), possibly out of memory, ran "), "{error}");
            let stubborn = announce_and_run.timeout(Duration::from_millis(300));
            let error = pool.apply(stubborn, (ledger.path(), "ignore".to_owned())).unwrap_err();
            assert_eq!(error.exit(), Some(WorkerExit::Signal(9)), "{error}");
            assert!(!error.to_string().contains("memory"), "{error}");
            pool.close().unwrap();
        });
    }

    fn a_place_keeps_its_number_and_shows_one_process_while_workers_are_replaced() {
        both(2, |builder| {
            let (told, events) = std::sync::mpsc::channel();
            let pool = builder.max_tasks_per_worker(1).on_event(move |event| {
                // Nobody may be left to hear it.
                let _ = told.send(event.clone());
            });
            let pool = pool.build().unwrap();
            let handle = pool.starmap_async(own_pid, std::iter::repeat_n((), 60));
            let is_over = wait_until(LIMIT, || {
                let (pids, stats) = (pool.worker_pids(), pool.stats());
                assert!(pids.len() <= 2 && stats.workers.len() <= 2, "{pids:?}, {stats:?}");
                handle.is_ready()
            });
            assert!(is_over);
            let mut pids = handle.get().unwrap();
            pids.sort_unstable();
            pids.dedup();
            assert_eq!(pids.len(), 60, "one item each");
            let stats = pool.stats();
            assert_eq!(stats.workers.iter().map(|worker| worker.completed).sum::<u64>(), 60);
            assert!(stats.workers.iter().map(|worker| worker.restarts).sum::<u32>() >= 58);
            pool.close().unwrap();
            for event in events.try_iter() {
                match event {
                    Event::WorkerStarted { slot, .. }
                    | Event::WorkerReady { slot, .. }
                    | Event::WorkerExited { slot, .. } => assert!(slot < 2, "{slot}"),
                    other => panic!("{other:?}"),
                }
            }
        });
    }
}
