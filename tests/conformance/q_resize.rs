//! Section Q: how many workers there are, and when.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use procession::{ErrorKind, PoolBuilder};
use procession_harness::{Gate, Ledger, Signal, alive, send_signal, wait_until};

use crate::scenes::{LIMIT, both, both_described, kinds, outcomes, wait_lines, wait_workers};
use crate::tasks::{multiply, note, own_pid, pid_at_gate, square};

/// Sizes that a pool is given one after the other.
const SIZES: [usize; 8] = [12, 2, 1, 12, 6, 1, 8, 5];

/// Each size is asked for while calls are unfinished; a worker is killed behind each resize if `kill`. The calls that
/// were lost.
fn resize_many_times(builder: PoolBuilder, kill: bool) -> usize {
    let pool = builder.build().unwrap();
    let ledger = Ledger::new("ledger");
    let mut handles = Vec::new();
    for (round, workers) in (0..).zip(SIZES) {
        handles.extend((0..20).map(|x| pool.apply_async(note, (ledger.path(), round * 20 + x))));
        pool.resize(workers).unwrap();
        assert_eq!(pool.workers(), workers);
        if let Some(victim) = pool.worker_pids().first().filter(|pid| kill && alive(**pid)) {
            send_signal(*victim, Signal::SIGKILL);
        }
    }
    let mut lost = 0;
    for (x, kind) in (0..).zip(kinds(handles)) {
        assert!(kind == Ok(x) || kind == Err(ErrorKind::WorkerLost), "{x}: {kind:?}");
        lost += usize::from(kind.is_err());
    }
    let lines = ledger.lines();
    assert_eq!(BTreeSet::from_iter(&lines).len(), lines.len(), "each was started once at most");
    wait_workers(&pool, 5);
    assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
    pool.close().unwrap();
    lost
}

procession_harness::cases! {
    fn q1_one_process_is_enough_for_one_call_at_a_time() {
        both_described(4, |builder| {
            let pool = builder.lazy_start(true).build().unwrap();
            assert!(pool.worker_pids().is_empty());
            let pids: BTreeSet<u32> = (0..3).map(|_| pool.apply(own_pid, ()).unwrap()).collect();
            assert_eq!(pids.len(), 1);
            assert_eq!(pool.worker_pids(), Vec::from_iter(pids));
            pool.close().unwrap();
        });
    }

    fn q1_overlapping_calls_use_workers_again() {
        both_described(6, |builder| {
            let pool = builder.lazy_start(true).build().unwrap();
            assert_eq!(pool.apply(multiply, (12, 7)).unwrap(), 84);
            let first = pool.apply_async(multiply, (33, 25));
            assert_eq!(pool.apply(multiply, (25, 26)).unwrap(), 650);
            let second = pool.apply_async(multiply, (18, 29));
            assert_eq!(pool.apply(multiply, (1, 2)).unwrap(), 2);
            let third = pool.apply_async(multiply, (0, 9));
            assert_eq!(kinds(vec![first, second, third]), [Ok(825), Ok(522), Ok(0)]);
            assert!((1..=3).contains(&pool.worker_pids().len()), "{:?}", pool.worker_pids());
            pool.close().unwrap();
        });
    }

    fn q2_many_calls_have_as_many_workers_as_there_may_be() {
        for lazy in [false, true] {
            both_described(3, |builder| {
                let pool = builder.lazy_start(lazy).build().unwrap();
                let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
                let handles = (0..45).map(|_| pool.apply_async(pid_at_gate, (ledger.path(), gate.path()))).collect();
                wait_lines(&ledger, 3);
                assert_eq!(pool.worker_pids().len(), 3);
                gate.open();
                let pids: BTreeSet<u32> = outcomes(handles).into_iter().map(Result::unwrap).collect();
                assert_eq!(pids, pool.worker_pids().into_iter().collect(), "three ran them all");
                pool.close().unwrap();
            });
        }
    }

    fn q3_idle_workers_go_and_come_back() {
        both_described(2, |builder| {
            let pool = builder.idle_timeout(Duration::from_millis(50)).build().unwrap();
            let mut pids = BTreeSet::new();
            for _ in 0..5 {
                assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
                pids.insert(pool.apply(own_pid, ()).unwrap());
                wait_workers(&pool, 0);
                assert!(pids.iter().all(|pid| !alive(*pid)));
            }
            assert_eq!(pids.len(), 5, "each time another");
            assert!(pool.is_active());
            pool.close().unwrap();
        });
    }

    fn q5_shrinking_waits_for_a_running_call() {
        both(2, |pool| {
            let two: BTreeSet<u32> = wait_workers(pool, 2).into_iter().collect();
            pool.resize(2).unwrap();
            assert_eq!(pool.worker_pids().into_iter().collect::<BTreeSet<_>>(), two, "the same size");
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let running = pool.apply_async(pid_at_gate, (ledger.path(), gate.path()));
            let busy: u32 = wait_lines(&ledger, 1)[0].parse().unwrap();
            pool.resize(1).unwrap();
            assert_eq!(wait_workers(pool, 1), [busy], "the idle one goes");
            gate.open();
            assert_eq!(kinds(vec![running]), [Ok(busy)]);
            pool.resize(2).unwrap();
            let grown = wait_workers(pool, 2);
            assert!(grown.contains(&busy), "it stays");
            assert!(grown.iter().any(|pid| !two.contains(pid)), "and another one comes");
        });
    }

    fn q6_many_sizes_with_calls_unfinished() {
        both_described(2, |builder| assert_eq!(resize_many_times(builder, false), 0));
    }

    fn q6_many_sizes_while_workers_are_killed() {
        both_described(2, |builder| {
            let lost = resize_many_times(builder, true);
            assert!(lost <= SIZES.len(), "{lost} were lost");
        });
    }

    fn q7_a_worker_is_killed_behind_a_resize() {
        both(1, |pool| {
            for workers in [3, 1, 3, 2] {
                let victim = pool.worker_pids()[0];
                pool.resize(workers).unwrap();
                if alive(victim) {
                    send_signal(victim, Signal::SIGKILL);
                }
                let handles = (0..50).map(|x| pool.apply_async(square, (x,))).collect();
                let lost = kinds(handles).into_iter().filter(|kind| *kind == Err(ErrorKind::WorkerLost)).count();
                assert!(lost <= 1, "{lost} were lost with one worker");
                wait_workers(pool, workers);
            }
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
        });
    }

    fn q7_a_resize_after_all_have_gone() {
        both_described(2, |builder| {
            let pool = builder.idle_timeout(Duration::from_millis(50)).build().unwrap();
            wait_workers(&pool, 0);
            for workers in [4, 1] {
                pool.resize(workers).unwrap();
                let handles = (0..40).map(|x| pool.apply_async(square, (x,))).collect();
                assert_eq!(kinds(handles), (0..40).map(|x| Ok(x * x)).collect::<Vec<_>>());
                assert!(wait_until(LIMIT, || pool.worker_pids().len() <= workers));
                wait_workers(&pool, 0);
            }
            pool.close().unwrap();
        });
    }

    fn q11_shrinking_while_all_are_busy_waits_for_them() {
        both(3, |pool| {
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let running = (0..3).map(|_| pool.apply_async(pid_at_gate, (ledger.path(), gate.path()))).collect();
            let queued: Vec<_> = (0..20).map(|x| pool.apply_async(square, (x,))).collect();
            wait_lines(&ledger, 3);
            // It does not block who asks for it.
            pool.resize(1).unwrap();
            assert_eq!((pool.workers(), pool.worker_pids().len()), (1, 3));
            gate.open();
            let pids: BTreeSet<u32> = outcomes(running).into_iter().map(Result::unwrap).collect();
            assert_eq!(pids.len(), 3, "none was stopped");
            assert_eq!(kinds(queued), (0..20).map(|x| Ok(x * x)).collect::<Vec<_>>());
            let left = wait_workers(pool, 1);
            assert!(pids.contains(&left[0]));
        });
    }

    fn q11_resizing_from_two_threads() {
        both(2, |pool| {
            thread::scope(|scope| {
                for sizes in [[1, 4, 2], [3, 1, 2]] {
                    scope.spawn(move || sizes.map(|workers| pool.resize(workers).unwrap()));
                }
                assert_eq!(pool.map(square, 0..1_000).unwrap().len(), 1_000);
            });
            let workers = pool.workers();
            pool.resize(workers).unwrap();
            wait_workers(pool, workers);
        });
    }
}
