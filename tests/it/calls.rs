//! Callers that block for one result: each returns with exactly one outcome, wherever that comes from.

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use procession::{Error, ErrorKind, Pool};
use procession_harness::{Gate, Ledger, Signal, alive, send_signal, stop};

use crate::scenes::{LIMIT, both, wait_lines, wait_workers};
use crate::tasks::{pid_at_gate, pid_at_gate_again, risky, risky_at_first, square};

const CALLERS: u64 = 6;
const ROUNDS: u64 = 120;

/// Runs on a thread that may block for ever; what comes of it is waited for with a limit.
fn aside<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (say, said) = mpsc::channel();
    thread::spawn(move || say.send(body()));
    said
}

/// Lets the callers of this pool listen to its worker themselves from now on.
fn warm(pool: &Pool) -> u32 {
    for x in 0..20 {
        assert_eq!(pool.apply(square, (x,)).unwrap(), x * x);
    }
    wait_workers(pool, 1)[0]
}

/// A value is the right one, and an error is one that this life can bring.
fn check(expected: i64, outcome: Result<i64, Error>) {
    match outcome {
        Ok(value) => assert_eq!(value, expected),
        Err(error) => {
            let kinds = [
                ErrorKind::WorkerLost,
                ErrorKind::Quarantined,
                ErrorKind::TimedOut,
                ErrorKind::Cancelled,
                ErrorKind::Terminated,
                ErrorKind::Closed,
            ];
            assert!(kinds.contains(&error.kind()), "{error}");
        }
    }
}

/// One caller's life: mostly plain calls, some that kill, hang over their deadline or are cancelled.
fn live(pool: &Pool, ledger: &str, mut dice: Rng) -> u64 {
    let mut outcomes = 0;
    for round in 0..ROUNDS as i64 {
        let row = |bad| (ledger.to_owned(), round, bad, "kill".to_owned());
        match dice.u64(..20) {
            0 => check(3 * round, pool.apply(risky, row(vec![round]))),
            1 => check(3 * round, pool.apply(risky_at_first.max_attempts(3), row(vec![round]))),
            2 => check(round * round, pool.apply(square.deadline(Duration::from_micros(1)), (round,))),
            3 => {
                let mut handle = pool.apply_async(square, (round,));
                let first = handle.get_timeout(Duration::from_micros(dice.u64(..300)));
                check(round * round, first.unwrap_or_else(|| handle.get()));
            }
            4 => {
                let handle = pool.apply_async(risky, row(vec![]));
                handle.cancel();
                check(3 * round, handle.get());
            }
            5 => check(3 * round, pool.apply_async(risky, row(vec![])).get()),
            _ => check(round * round, pool.apply(square, (round,))),
        }
        outcomes += 1;
    }
    outcomes
}

procession_harness::cases! {
    fn a_caller_returns_when_its_pool_is_terminated_though_its_worker_says_nothing() {
        both(1, |builder| {
            let pool = builder.grace(4 * LIMIT).build().unwrap();
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let worker = warm(&pool);
            let caller = pool.clone();
            let at = (ledger.path(), gate.path());
            let said = aside(move || caller.apply(pid_at_gate, at));
            wait_lines(&ledger, 1);
            stop(worker, LIMIT);
            pool.terminate();
            let error = said.recv_timeout(LIMIT).expect("it does not wait for the worker").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Terminated);
            assert!(alive(worker));
            send_signal(worker, Signal::SIGCONT);
            pool.join(Some(LIMIT)).unwrap();
        });
    }

    fn a_caller_returns_when_its_deadline_passes_though_its_worker_never_began() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            let worker = warm(&pool);
            stop(worker, LIMIT);
            let caller = pool.clone();
            let said = aside(move || caller.apply(square.deadline(Duration::from_millis(20)), (7,)));
            let error = said.recv_timeout(LIMIT).expect("the deadline passes").unwrap_err();
            assert_eq!((error.kind(), error.attempts()), (ErrorKind::TimedOut, 0), "{error}");
            send_signal(worker, Signal::SIGCONT);
            let caller = pool.clone();
            let said = aside(move || caller.apply(square, (8,)));
            assert_eq!(said.recv_timeout(LIMIT).expect("the worker goes on").unwrap(), 64);
            assert_eq!(wait_workers(&pool, 1), [worker], "nothing was wrong with it");
            pool.close().unwrap();
        });
    }

    fn a_caller_gets_its_outcome_from_another_worker_when_its_own_dies() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let worker = warm(&pool);
            let caller = pool.clone();
            let at = (ledger.path(), gate.path());
            let said = aside(move || caller.apply(pid_at_gate_again.max_attempts(2), at));
            wait_lines(&ledger, 1);
            send_signal(worker, Signal::SIGKILL);
            wait_lines(&ledger, 2);
            gate.open();
            let ran = said.recv_timeout(LIMIT).expect("it ran again").unwrap();
            assert_ne!(ran, worker);
            pool.close().unwrap();
        });
    }

    fn what_others_queue_behind_a_caller_is_heard_after_it_left() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            let (ledger, first, second) = (Ledger::new("ledger"), Gate::new("first"), Gate::new("second"));
            warm(&pool);
            let caller = pool.clone();
            let at = (ledger.path(), first.path());
            let said = aside(move || caller.apply(pid_at_gate, at));
            wait_lines(&ledger, 1);
            let mut late = pool.apply_async(pid_at_gate, (ledger.path(), second.path()));
            let mut rest: Vec<_> = (0..50).map(|x| pool.apply_async(square, (x,))).collect();
            first.open();
            said.recv_timeout(LIMIT).expect("its own is done").unwrap();
            second.open();
            late.get_timeout(LIMIT).expect("somebody listens").unwrap();
            for (x, handle) in (0..).zip(&mut rest) {
                assert_eq!(handle.get_timeout(LIMIT).expect("somebody listens").unwrap(), x * x);
            }
            pool.close().unwrap();
        });
    }

    fn every_caller_gets_one_outcome_through_crashes_cancels_deadlines_and_the_end() {
        for seed in 0..6 {
            let pool = Pool::builder().workers(2).build().unwrap();
            let ledger = Ledger::new(&format!("ledger-{seed}"));
            let callers: Vec<_> = (0..CALLERS)
                .map(|caller| {
                    let (pool, path) = (pool.clone(), ledger.path());
                    aside(move || live(&pool, &path, Rng::with_seed(1_000 * seed + caller)))
                })
                .collect();
            let mut dice = Rng::with_seed(seed);
            // Half of the lives end in the middle.
            let mut strikes = 4;
            while strikes > 0 {
                wait_lines(&ledger, 1 + 8 * (4 - strikes));
                if let Some(pid) = pool.worker_pids().get(dice.usize(..2)) {
                    send_signal(*pid, Signal::SIGKILL);
                }
                strikes -= 1;
            }
            if seed % 2 == 1 {
                pool.terminate();
            }
            for (caller, outcomes) in callers.into_iter().enumerate() {
                let outcomes = outcomes.recv_timeout(LIMIT);
                assert_eq!(outcomes, Ok(ROUNDS), "seed {seed}: caller {caller} waits for ever, or failed");
            }
            if seed % 2 == 1 {
                pool.join(Some(LIMIT)).unwrap();
            } else {
                pool.close().unwrap();
            }
        }
    }
}
