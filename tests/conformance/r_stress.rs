//! Section R: sizes, threads, several calls at once, and figures.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use procession::{ErrorKind, Pool};
use procession_harness::{Gate, Ledger, Signal, send_signal, wait_until};

use crate::held::held;
use crate::scenes::{LIMIT, both, both_described, kinds, pool, wait_lines, wait_workers};
use crate::tasks::{echo_bytes, fail_at, note_and_sleep, pid_at_gate, sleep_ms, square};

/// How many bytes it was given.
#[procession::task]
fn count_bytes(bytes: Vec<u8>) -> usize {
    bytes.len()
}

#[procession::task]
fn cube(x: i64) -> i64 {
    x * x * x
}

/// Takes its time for every 500th; its argument.
#[procession::task]
fn sometimes_slow(x: i64) -> i64 {
    if x % 500 == 0 {
        sleep_ms(20);
    }
    x
}

fn squares(range: std::ops::Range<i64>) -> Vec<i64> {
    range.map(|x| x * x).collect()
}

/// One thread's share of a pool: maps, calls, and every other one of those cancelled.
fn mix(pool: &Pool, number: i64) {
    let base = number * 1_000;
    assert_eq!(pool.map(square, base..base + 200).unwrap(), squares(base..base + 200));
    let handles: Vec<_> = (base..base + 60).map(|x| pool.apply_async(cube, (x,))).collect();
    let later = pool.map_async(square, base..base + 500);
    // Whether each is in time is the race that this is about.
    let cancelled: Vec<bool> = handles.iter().step_by(2).map(|handle| handle.cancel()).collect();
    for (position, kind) in kinds(handles).into_iter().enumerate() {
        let x = base + position as i64;
        match position % 2 == 0 && cancelled[position / 2] {
            true => assert_eq!(kind, Err(ErrorKind::Cancelled), "{x}"),
            false => assert_eq!(kind, Ok(x * x * x)),
        }
    }
    assert_eq!(later.get().unwrap(), squares(base..base + 500));
    let sum: i64 = pool.imap_unordered(square, base..base + 300).map(Result::unwrap).sum();
    assert_eq!(sum, squares(base..base + 300).iter().sum());
}

/// The cores that a process may use.
fn cores_of(pid: u32) -> BTreeSet<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(pid.cast_signed())) else {
        return BTreeSet::new();
    };
    (0..CpuSet::count()).filter(|core| set.is_set(*core) == Ok(true)).collect()
}

/// The workers have, by slot, the cores of these lists.
fn check_cores(pool: &Pool, lists: &[Vec<usize>]) {
    let expected: Vec<BTreeSet<usize>> = lists.iter().map(|list| list.iter().copied().collect()).collect();
    let found = || pool.worker_pids().into_iter().map(cores_of).collect::<Vec<_>>();
    assert!(wait_until(LIMIT, || found() == expected), "{:?} where {expected:?} were given", found());
}

procession_harness::cases! {
    fn r1_a_hundred_megabytes_come_back_equal() {
        let pool = pool(1);
        // No two pages are equal.
        let bytes: Vec<u8> = (0..25_u32 << 20).flat_map(u32::to_le_bytes).collect();
        assert!(pool.apply(echo_bytes, (bytes.clone(),)).unwrap() == bytes);
        pool.close().unwrap();
    }

    fn r1_more_than_four_gigabytes_are_refused() {
        both(1, |pool| {
            let error = pool.apply(count_bytes, (vec![0; 5 << 30],)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
            assert!(error.to_string().contains("4294967295"), "it says the limit: {error}");
            assert_eq!(pool.apply(count_bytes, (vec![0; 5 << 20],)).unwrap(), 5 << 20);
        });
    }

    fn r2_ten_threads_share_a_pool() {
        both(3, |pool| {
            thread::scope(|scope| {
                for number in 0..10 {
                    scope.spawn(move || mix(pool, number));
                }
            });
        });
    }

    fn r4_a_pool_of_another_thread() {
        both_described(2, |builder| {
            let other = thread::spawn(move || {
                let pool = builder.build().unwrap();
                assert_eq!(pool.map(square, 0..100).unwrap(), squares(0..100));
                let error = pool.starmap(fail_at, (0..10).map(|x| (x, vec![3]))).unwrap_err();
                assert_eq!((error.kind(), error.item()), (ErrorKind::Panicked, Some(3)));
                assert_eq!(pool.imap(square, 0..100).map(Result::unwrap).collect::<Vec<_>>(), squares(0..100));
                pool.close().unwrap();
            });
            other.join().unwrap();
        });
    }

    fn r5_two_streams_in_turn_on_one_pool() {
        both(2, |pool| {
            let mut first = pool.imap(square, 0..2_000);
            let mut second = pool.imap(cube, 0..2_000);
            for x in 0..2_000 {
                assert_eq!(first.next().unwrap().unwrap(), x * x);
                assert_eq!(second.next().unwrap().unwrap(), x * x * x);
            }
            assert!(first.next().is_none() && second.next().is_none());
        });
    }

    fn r5_two_maps_of_two_threads_on_one_pool() {
        both(2, |pool| {
            thread::scope(|scope| {
                let cubes = scope.spawn(|| pool.map(cube, 0..20_000).unwrap());
                assert_eq!(pool.map(square, 0..20_000).unwrap(), squares(0..20_000));
                assert!(cubes.join().unwrap().into_iter().eq((0..20_000).map(|x| x * x * x)));
            });
        });
    }

    fn r6_quick_items_say_nothing_of_another_calls_slow_ones() {
        both(2, |pool| {
            // Measured as so quick that thousands of them make a hand-out.
            assert_eq!(pool.map(square, 0..50_000).unwrap().len(), 50_000);
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let slow = pool.starmap_async(pid_at_gate, (0..2).map(|_| (ledger.path(), gate.path())));
            // Both are begun at once, though nothing is known of their kind.
            wait_lines(&ledger, 2);
            gate.open();
            let pids = slow.get().unwrap();
            assert_ne!(pids[0], pids[1]);
            assert_eq!(pool.map(square, 0..50_000).unwrap().len(), 50_000);
        });
    }

    fn r6_a_quick_call_goes_on_beside_a_slow_one() {
        both(2, |pool| {
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let slow = held(pool, &ledger, &gate);
            assert_eq!(pool.map(square, 0..20_000).unwrap(), squares(0..20_000), "by the other worker");
            gate.open();
            assert_eq!(slow.get().unwrap(), 7);
        });
    }

    fn r7_results_are_the_same_however_work_is_cut() {
        both(2, |pool| {
            assert_eq!(pool.map(square, 0..100_000).unwrap(), squares(0..100_000));
            let mixed = pool.map(sometimes_slow, 0..5_000).unwrap();
            assert!(mixed.into_iter().eq(0..5_000));
            let ledger = Ledger::new("ledger");
            let slow = pool.starmap(note_and_sleep, (0..8).map(|x| (ledger.path(), x, 30))).unwrap();
            assert!(slow.into_iter().eq(0..8));
            assert_eq!(ledger.lines().len(), 8);
        });
    }

    fn r9_each_worker_has_the_cores_of_its_list() {
        let all: Vec<usize> = cores_of(std::process::id()).into_iter().collect();
        let (first, last) = (vec![all[0]], vec![*all.last().unwrap()]);
        let lists = vec![first.clone(), last.clone(), all.clone()];
        both_described(2, |builder| {
            let longer = builder.cpu_affinity(lists.clone()).build().unwrap();
            check_cores(&longer, &lists[..2]);
            longer.close().unwrap();
        });
        both_described(5, |builder| {
            let shorter = builder.cpu_affinity(lists.clone()).build().unwrap();
            let cyclic: Vec<_> = lists.iter().cycle().take(5).cloned().collect();
            check_cores(&shorter, &cyclic);
            for pid in wait_workers(&shorter, 5) {
                send_signal(pid, Signal::SIGKILL);
            }
            check_cores(&shorter, &cyclic);
            assert_eq!(shorter.map(square, 0..100).unwrap(), squares(0..100));
            shorter.close().unwrap();
        });
    }

    fn r9_a_core_that_does_not_exist_is_an_error() {
        both_described(1, |builder| {
            let outcome = builder.cpu_affinity(vec![vec![900]]).build().and_then(|pool| pool.apply(square, (3,)));
            let error = outcome.unwrap_err();
            assert!(error.to_string().contains("cpu affinity") && error.to_string().contains("900"), "{error}");
        });
    }

    fn r10_figures_add_up() {
        both(3, |pool| {
            assert_eq!(pool.map(square, 0..3_000).unwrap().len(), 3_000);
            let slow: Vec<_> = [20, 60, 40].map(|ms| pool.apply_async(sleep_ms, (ms,))).into();
            assert_eq!(kinds(slow), [Ok(20), Ok(60), Ok(40)]);
            let stats = pool.stats();
            assert_eq!(stats.workers.len(), 3);
            assert_eq!(stats.workers.iter().map(|worker| worker.completed).sum::<u64>(), 3_003);
            let busy: Duration = stats.workers.iter().map(|worker| worker.busy).sum();
            assert!(busy >= Duration::from_millis(120), "{busy:?}");
            assert!(stats.slowest.len() <= 10);
            assert!(stats.slowest.is_sorted_by(|slower, faster| slower.ran >= faster.ran));
            assert!(stats.slowest[0].ran >= Duration::from_millis(60), "{:?}", stats.slowest);
            let slept = stats.slowest.iter().filter(|item| item.task.ends_with("::sleep_ms")).count();
            assert_eq!(slept, 3, "{:?}", stats.slowest);
        });
    }
}
