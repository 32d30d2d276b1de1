//! How many workers there are, and when: resizing, starting late, resting, recycling; and what is told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use procession::{ErrorKind, Event, WorkerExit};
use procession_harness::{Gate, Ledger, Signal, alive, send_signal, wait_until};

use crate::scenes::{LIMIT, both, kinds, wait_lines, wait_workers};
use crate::tasks::{own_pid, pid_at_gate, risky, square};

procession_harness::cases! {
    fn growing_and_shrinking_keeps_old_workers() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let two: BTreeSet<u32> = wait_workers(&pool, 2).into_iter().collect();
            pool.resize(2).unwrap();
            assert_eq!(pool.worker_pids().into_iter().collect::<BTreeSet<_>>(), two, "the same size");
            pool.resize(4).unwrap();
            let four: BTreeSet<u32> = wait_workers(&pool, 4).into_iter().collect();
            assert!(four.is_superset(&two));
            assert_eq!(pool.workers(), 4);
            pool.resize(1).unwrap();
            let one = wait_workers(&pool, 1);
            assert!(four.contains(&one[0]));
            assert!(wait_until(LIMIT, || four.iter().filter(|pid| alive(**pid)).count() == 1));
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
            assert_eq!(pool.resize(0).unwrap_err().kind(), ErrorKind::Usage);
            pool.close().unwrap();
        });
    }

    fn shrinking_waits_for_what_is_running() {
        both(3, |builder| {
            let pool = builder.build().unwrap();
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let handles: Vec<_> = (0..3)
                .map(|_| pool.apply_async(pid_at_gate, (ledger.path(), gate.path())))
                .collect();
            wait_lines(&ledger, 3);
            pool.resize(1).unwrap();
            gate.open();
            let pids: BTreeSet<u32> = kinds(handles).into_iter().map(|pid| pid.expect("none is stopped")).collect();
            assert_eq!(pids.len(), 3);
            assert!(pids.contains(&wait_workers(&pool, 1)[0]));
            pool.close().unwrap();
        });
    }

    fn resizing_many_times_under_load() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let ledger = Ledger::new("ledger");
            let mut handles = Vec::new();
            for (round, workers) in [5, 2, 1, 6, 3, 1, 8, 2].into_iter().enumerate() {
                let rows: Vec<_> = (0..40)
                    .map(|x| (ledger.path(), round as i64 * 100 + x, vec![], String::new()))
                    .collect();
                handles.push(pool.starmap_async(risky, rows));
                pool.resize(workers).unwrap();
                assert_eq!(pool.workers(), workers);
            }
            for (round, outcome) in kinds(handles).into_iter().enumerate() {
                let expected = (0..40).map(|x| 3 * (round as i64 * 100 + x)).collect();
                assert_eq!(outcome, Ok::<Vec<i64>, ErrorKind>(expected));
            }
            assert_eq!(ledger.lines().len(), 8 * 40, "each started once");
            wait_workers(&pool, 2);
            pool.close().unwrap();
        });
    }

    fn a_worker_killed_just_after_a_resize() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            for workers in [3, 1, 3, 2] {
                let victim = pool.worker_pids()[0];
                pool.resize(workers).unwrap();
                if alive(victim) {
                    send_signal(victim, Signal::SIGKILL);
                }
                for (x, outcome) in (0..).zip(pool.imap(square, 0..50).collect::<Vec<_>>()) {
                    assert!(outcome.is_ok_and(|value| value == x * x) || x < 50);
                }
                wait_workers(&pool, workers);
            }
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
            pool.close().unwrap();
        });
    }

    fn a_lazy_pool_starts_what_it_needs() {
        both(4, |builder| {
            let pool = builder.lazy_start(true).build().unwrap();
            assert!(pool.worker_pids().is_empty());
            let first = pool.apply(own_pid, ()).unwrap();
            for _ in 0..5 {
                assert_eq!(pool.apply(own_pid, ()).unwrap(), first, "one at a time needs one worker");
            }
            assert_eq!(pool.worker_pids(), [first]);
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let handles: Vec<_> = (0..20)
                .map(|_| pool.apply_async(pid_at_gate, (ledger.path(), gate.path())))
                .collect();
            wait_lines(&ledger, 4);
            assert_eq!(pool.worker_pids().len(), 4, "and no more than it may have");
            gate.open();
            assert!(kinds(handles).iter().all(Result::is_ok));
            pool.close().unwrap();
        });
    }

    fn idle_workers_go_and_come_back() {
        both(2, |builder| {
            let pool = builder.idle_timeout(Duration::from_millis(100)).build().unwrap();
            for _ in 0..5 {
                assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
                wait_workers(&pool, 0);
            }
            pool.resize(3).unwrap();
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100, "resized while all had gone");
            pool.close().unwrap();
        });
    }

    fn workers_are_replaced_after_so_many_items() {
        both(1, |builder| {
            let pool = builder.max_tasks_per_worker(3).build().unwrap();
            let pids: Vec<u32> = (0..9).map(|_| pool.apply(own_pid, ()).unwrap()).collect();
            for lives in pids.chunks(3) {
                assert!(lives.iter().all(|pid| *pid == lives[0]), "{pids:?}");
            }
            assert_eq!(pids.iter().collect::<BTreeSet<_>>().len(), 3, "{pids:?}");
            pool.close().unwrap();
        });
        both(3, |builder| {
            let pool = builder.max_tasks_per_worker(10).build().unwrap();
            let pids = pool.starmap(own_pid.chunk_size(7), (0..200).map(|_| ())).unwrap();
            let lives = pids.iter().fold(BTreeMap::new(), |mut lives, pid| {
                *lives.entry(pid).or_insert(0) += 1;
                lives
            });
            assert!(lives.len() >= 20 && lives.values().all(|items| *items <= 10), "{lives:?}");
            pool.close().unwrap();
        });
    }

    fn figures_add_up() {
        both(3, |builder| {
            let pool = builder.build().unwrap();
            assert_eq!(pool.map(square, 0..5_000).unwrap().len(), 5_000);
            let handles: Vec<_> = [0.02, 0.06, 0.04].map(|seconds| pool.apply_async(procession_tasks::faults::sleep, (seconds,))).into();
            assert!(kinds(handles).iter().all(Result::is_ok));
            let ledger = Ledger::new("ledger");
            let lost = pool.apply_async(risky, (ledger.path(), 1, vec![1], "kill".to_owned()));
            assert_eq!(kinds(vec![lost]), [Err(ErrorKind::WorkerLost)]);
            let pids = wait_workers(&pool, 3);
            let stats = pool.stats();
            assert_eq!(stats.workers.len(), 3);
            assert_eq!(stats.workers.iter().map(|worker| worker.completed).sum::<u64>(), 5_003);
            assert_eq!(stats.workers.iter().map(|worker| worker.restarts).sum::<u32>(), 1);
            assert_eq!(stats.workers.iter().filter_map(|worker| worker.pid).collect::<Vec<_>>(), pids);
            let busy: Duration = stats.workers.iter().map(|worker| worker.busy).sum();
            assert!(busy >= Duration::from_millis(120), "{busy:?}");
            for worker in &stats.workers {
                assert!(worker.rss.is_some_and(|rss| rss > 0));
                assert!(worker.peak_rss >= worker.rss, "{worker:?}");
            }
            assert!(stats.slowest.is_sorted_by(|slower, faster| slower.ran >= faster.ran));
            assert!(stats.slowest[0].task.ends_with("::sleep") && stats.slowest[0].ran >= Duration::from_millis(60));
            pool.close().unwrap();
        });
    }

    fn events_tell_each_life_in_order() {
        both(2, |builder| {
            let events = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&events);
            let pool = builder.on_event(move |event| seen.lock().unwrap().push(event.clone())).build().unwrap();
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let handles: Vec<_> = (0..2)
                .map(|_| pool.apply_async(pid_at_gate, (ledger.path(), gate.path())))
                .collect();
            let victim: u32 = wait_lines(&ledger, 2)[0].parse().unwrap();
            send_signal(victim, Signal::SIGKILL);
            gate.open();
            assert_eq!(kinds(handles).iter().filter(|kind| kind.is_err()).count(), 1);
            pool.close().unwrap();
            let ended = || {
                let events = events.lock().unwrap();
                events.iter().filter(|event| matches!(event, Event::WorkerExited { .. })).count() == 3
            };
            assert!(wait_until(LIMIT, ended), "{:?}", events.lock().unwrap());
            let mut lives: BTreeMap<u32, Vec<String>> = BTreeMap::new();
            for event in events.lock().unwrap().iter() {
                let (pid, text) = match event {
                    Event::WorkerStarted { pid, .. } => (*pid, "started".to_owned()),
                    Event::WorkerReady { pid, .. } => (*pid, "ready".to_owned()),
                    Event::WorkerExited { pid, exit, running, .. } => (*pid, format!("{exit}, {running}")),
                    other => panic!("nothing else happened: {other:?}"),
                };
                lives.entry(pid).or_default().push(text);
            }
            assert_eq!(lives.len(), 3);
            for (pid, life) in lives {
                let end = if pid == victim {
                    format!("{}, true", WorkerExit::Signal(9))
                } else {
                    format!("{}, false", WorkerExit::Code(0))
                };
                let is_whole = life == ["started", "ready", &end];
                // Closed before it was ready, it may never say so.
                assert!(is_whole || life == ["started", &end], "{pid}: {life:?}");
            }
        });
    }
}
