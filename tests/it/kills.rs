//! Workers and their helper killed from outside, busy and idle.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use procession::{ErrorKind, Event, WorkerExit};
use procession_harness::{Gate, Ledger, Signal, parent_of, send_signal, stop, wait_until};

use crate::scenes::{LIMIT, both, kinds, outcomes, wait_lines, wait_workers};
use crate::tasks::{pid_at_gate, pid_at_gate_again, square};

procession_harness::cases! {
    fn killing_a_busy_worker_costs_its_item() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let handles: Vec<_> = (0..2)
                .map(|_| pool.apply_async(pid_at_gate, (ledger.path(), gate.path())))
                .collect();
            let queued: Vec<_> = (0..20).map(|x| pool.apply_async(square, (x,))).collect();
            let victim: u32 = wait_lines(&ledger, 2)[0].parse().unwrap();
            send_signal(victim, Signal::SIGKILL);
            assert_eq!(kinds(queued), (0..20).map(|x| Ok(x * x)).collect::<Vec<_>>(), "a replacement ran them");
            gate.open();
            let (lost, done): (Vec<_>, Vec<_>) = outcomes(handles).into_iter().partition(Result::is_err);
            assert_eq!((lost.len(), done.len()), (1, 1));
            let error = lost[0].as_ref().unwrap_err();
            assert_eq!((error.kind(), error.exit()), (ErrorKind::WorkerLost, Some(WorkerExit::Signal(9))));
            assert_ne!(*done[0].as_ref().unwrap(), victim);
            assert!(!wait_workers(&pool, 2).contains(&victim));
            assert_eq!(ledger.lines().len(), 2, "nothing was run again");
            pool.close().unwrap();
        });
    }

    fn killing_an_idle_worker_is_told_to_nobody() {
        both(2, |builder| {
            let exits = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&exits);
            let pool = builder
                .on_event(move |event| {
                    if let Event::WorkerExited { pid, running, .. } = event {
                        seen.lock().unwrap().push((*pid, *running));
                    }
                })
                .build()
                .unwrap();
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
            let before = wait_workers(&pool, 2);
            send_signal(before[0], Signal::SIGKILL);
            let replaced = wait_until(LIMIT, || {
                let now = pool.worker_pids();
                now.len() == 2 && !now.contains(&before[0]) && now.contains(&before[1])
            });
            assert!(replaced, "{before:?}, then {:?}", pool.worker_pids());
            assert!(wait_until(LIMIT, || *exits.lock().unwrap() == [(before[0], false)]));
            let outcomes: Vec<_> = pool.imap(square, 0..100).collect();
            assert!(outcomes.iter().all(Result::is_ok), "nobody was told");
            pool.close().unwrap();
        });
    }

    fn killing_every_idle_worker_again_and_again() {
        both(3, |builder| {
            let ready = Arc::new(Mutex::new(BTreeSet::new()));
            let seen = Arc::clone(&ready);
            let pool = builder
                // Most are killed before they have done anything, which is a start that was of no use.
                .restart_limit(1_000, LIMIT)
                .on_event(move |event| {
                    if let Event::WorkerReady { pid, .. } = event {
                        seen.lock().unwrap().insert(*pid);
                    }
                })
                .build()
                .unwrap();
            for _ in 0..10 {
                let mut pids = Vec::new();
                let are_ready = wait_until(LIMIT, || {
                    pids = pool.worker_pids();
                    pids.len() == 3 && pids.iter().all(|pid| ready.lock().unwrap().contains(pid))
                });
                assert!(are_ready, "{pids:?}");
                for pid in pids {
                    send_signal(pid, Signal::SIGKILL);
                }
                // Some of them take the items before they are killed; none of those was begun.
                let outcomes: Vec<_> = pool.imap(square, 0..200).collect();
                for (x, outcome) in (0..).zip(outcomes) {
                    match outcome {
                        Ok(value) => assert_eq!(value, x * x),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::WorkerLost),
                    }
                }
            }
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
            pool.close().unwrap();
        });
    }

    /// A worker that waits for its master as it starts must not take the signal for its master's silence.
    fn faults_sent_to_workers_that_start_end_them() {
        const STARTS: u64 = 60;
        let exits = Arc::new(Mutex::new(Vec::new()));
        for start in 0..STARTS {
            let (seen, is_first) = (Arc::clone(&exits), AtomicBool::new(true));
            let pool = procession::Pool::builder()
                .workers(1)
                .start_method(procession::StartMethod::Spawn)
                .on_event(move |event| match event {
                    // Each a little later, so that every step of a start is hit; none twice, as that takes a pause.
                    Event::WorkerStarted { pid, .. } if is_first.swap(false, Ordering::Relaxed) => {
                        std::thread::sleep(Duration::from_micros(100 * start));
                        send_signal(*pid, Signal::SIGSEGV);
                    }
                    Event::WorkerExited { exit, .. } => seen.lock().unwrap().push(*exit),
                    _ => {}
                })
                .build()
                .unwrap();
            let outcome = pool.apply(square, (7,)).map_err(|error| error.kind());
            // The item may have begun by then.
            assert!(matches!(outcome, Ok(49) | Err(ErrorKind::WorkerLost)), "{outcome:?}");
            pool.close().unwrap();
        }
        let exits = exits.lock().unwrap();
        let is_expected = |exit: &WorkerExit| matches!(exit, WorkerExit::Signal(11) | WorkerExit::Code(0));
        assert!(exits.iter().all(is_expected), "{exits:?}");
        assert!(exits.contains(&WorkerExit::Signal(11)), "{exits:?}");
    }

    fn killing_the_helper_that_workers_are_forked_from() {
        let pool = procession::Pool::builder().workers(2).build().unwrap();
        let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
        let handles: Vec<_> = (0..2)
            .map(|_| pool.apply_async(pid_at_gate, (ledger.path(), gate.path())))
            .collect();
        let again = pool.apply_async(pid_at_gate_again, (ledger.path(), gate.path()));
        let workers: Vec<u32> = wait_lines(&ledger, 2).iter().map(|pid| pid.parse().unwrap()).collect();
        let helper = parent_of(workers[0]).expect("the worker lives");
        assert_ne!(helper, std::process::id(), "workers are forked by a helper");
        let queued: Vec<_> = (0..20).map(|x| pool.apply_async(square, (x,))).collect();
        send_signal(helper, Signal::SIGKILL);
        // They are lost with it, or they live on.
        let gone = wait_until(LIMIT, || !workers.iter().any(|pid| procession_harness::alive(*pid)));
        gate.open();
        for kind in kinds(handles) {
            assert!(kind == Err(ErrorKind::WorkerLost) || (!gone && kind.is_ok()), "{kind:?}");
        }
        assert_eq!(kinds(queued), (0..20).map(|x| Ok(x * x)).collect::<Vec<_>>());
        assert!(outcomes(vec![again])[0].is_ok(), "what may be run again was");
        assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
        let pids: BTreeSet<u32> = wait_workers(&pool, 2).into_iter().collect();
        assert!(gone && workers.iter().all(|pid| !pids.contains(pid)));
        pool.close().unwrap();
    }

    fn killing_the_helper_while_nothing_runs() {
        let pool = procession::Pool::builder().workers(2).build().unwrap();
        assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
        for _ in 0..3 {
            let before = wait_workers(&pool, 2);
            let helper = parent_of(before[0]).expect("the worker lives");
            send_signal(helper, Signal::SIGKILL);
            assert!(wait_until(LIMIT, || !before.iter().any(|pid| procession_harness::alive(*pid))));
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100, "nobody is told");
        }
        pool.close().unwrap();
    }

    fn a_stopped_worker_can_be_cancelled() {
        both(1, |builder| {
            let pool = builder.grace(std::time::Duration::from_millis(200)).build().unwrap();
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let handle = pool.apply_async(pid_at_gate, (ledger.path(), gate.path()));
            let pid: u32 = wait_lines(&ledger, 1)[0].parse().unwrap();
            stop(pid, LIMIT);
            assert!(handle.cancel());
            assert_eq!(kinds(vec![handle]), [Err(ErrorKind::Cancelled)]);
            assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
            pool.close().unwrap();
        });
    }
}
