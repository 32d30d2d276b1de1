//! Faults of many at once: F7, workers that kill each other; F19, poison among the items.

use std::collections::BTreeMap;

use procession::{AsyncResult, ErrorKind, Pool, WorkerExit};
use procession_harness::{Account, Fate, Gate, Ledger, Signal, Start, Told, send_signal, wait_until};
use procession_tasks::faults;

use crate::deaths::KILL;
use crate::fault::lost;
use crate::matrix::{LIMIT, goes_on, scenes};

/// Waits at the gate with all others, then kills the worker of the next in the round.
fn kill_next(path: &str, gate: &str, x: u32) -> u32 {
    Start::note(path, x);
    if procession::current().expect("this is a task").attempt() == 1 {
        Gate::pass(gate);
        let starts = Start::all(path);
        let own = starts.iter().position(|start| start.item == x).expect("it was noted");
        send_signal(starts[(own + 1) % starts.len()].pid, Signal::SIGKILL);
    }
    x
}

#[procession::task]
fn kill_next_once(path: String, gate: String, x: u32) -> u32 {
    kill_next(&path, &gate, x)
}

#[procession::task(idempotent)]
fn kill_next_again(path: String, gate: String, x: u32) -> u32 {
    kill_next(&path, &gate, x)
}

/// Notes its start, and dies if it is poison.
#[procession::task(idempotent)]
fn poisoned(path: String, x: u32, one_in: u32) -> u32 {
    Start::note(&path, x);
    if x.is_multiple_of(one_in) {
        faults::segv();
    }
    x
}

/// Items of a poisoned call.
const MANY: u32 = 200;

/// All items have their values but the poison ones, each of which had all its attempts.
fn check_poison(pool: &Pool, one_in: u32) {
    let ledger = Ledger::new("poison");
    let rows = (0..MANY).map(|x| (ledger.path(), x, one_in));
    let outcomes: Vec<_> = pool.istarmap(poisoned, rows).collect();
    let quarantined = procession_harness::Blame {
        kind: ErrorKind::Quarantined,
        exits: &[WorkerExit::Signal(11)],
        words: "(3) signal 11",
    };
    let fate = |x: u32| if x.is_multiple_of(one_in) { Fate::Fails(quarantined) } else { Fate::Value };
    let account = Account { fate: &fate, ..Account::of(MANY, &|x| x) };
    account.check(&Told::Each(outcomes), &Start::all(ledger.path())).assert_clean();
}

procession_harness::cases! {
    fn f07_workers_kill_each_other() {
        scenes(|builder, workers| {
            let pool = builder.build().unwrap();
            for (task, starts_max) in [(kill_next_once, 1), (kill_next_again, 3)] {
                let (ledger, gate) = (Ledger::new("starts"), Gate::new("gate"));
                let call = |x| pool.apply_async(task, (ledger.path(), gate.path(), x));
                let handles: Vec<_> = (0..workers as u32).map(call).collect();
                assert!(wait_until(LIMIT, || ledger.lines().len() == workers), "each worker has one");
                gate.open();
                let outcomes = handles.into_iter().map_while(|mut handle| handle.get_timeout(LIMIT)).collect();
                let fate = |_| if starts_max == 1 { Fate::ValueOr(lost(KILL, "signal 9")) } else { Fate::Value };
                let account = Account { fate: &fate, starts_max, is_single: true, ..Account::of(workers as u32, &|x| x) };
                account.check(&Told::Each(outcomes), &Start::all(ledger.path())).assert_clean();
                goes_on(&pool);
            }
            pool.close().unwrap();
        });
    }

    fn f19_poison_of_one_in_a_hundred() {
        scenes(|builder, _| {
            let pool = builder.build().unwrap();
            check_poison(&pool, 100);
            goes_on(&pool);
            pool.close().unwrap();
        });
    }

    fn f19_poison_of_one_in_ten() {
        scenes(|builder, _| {
            let pool = builder.build().unwrap();
            check_poison(&pool, 10);
            goes_on(&pool);
            pool.close().unwrap();
        });
    }

    /// The pool gives up, and what it did not come to was never started.
    fn f19_nothing_but_poison() {
        scenes(|builder, _| {
            let pool = builder.build().unwrap();
            let ledger = Ledger::new("poison");
            let call = |x| pool.apply_async(poisoned, (ledger.path(), x, 1));
            let handles: Vec<_> = (0..MANY).map(call).collect();
            let outcome = |mut handle: AsyncResult<u32>| handle.get_timeout(LIMIT).expect("no call waits for ever");
            let outcomes: Vec<_> = handles.into_iter().map(outcome).collect();
            let mut counts = BTreeMap::<u32, u32>::new();
            Start::all(ledger.path()).iter().for_each(|start| *counts.entry(start.item).or_default() += 1);
            let mut not_run = 0;
            for (x, outcome) in (0..).zip(outcomes) {
                let error = outcome.expect_err("every item is poison");
                assert_eq!(error.attempts(), counts.get(&x).copied().unwrap_or(0), "{error}");
                match error.kind() {
                    ErrorKind::Quarantined => assert_eq!(error.attempts(), 3, "{error}"),
                    ErrorKind::Broken => {
                        assert!(error.to_string().contains("every task kills its worker"), "{error}");
                        not_run += u32::from(error.attempts() == 0);
                    }
                    _ => panic!("item {x} did not come to that: {error}"),
                }
            }
            assert!(not_run > MANY / 2, "{not_run} items were not run");
            assert_eq!(pool.close().unwrap_err().kind(), ErrorKind::Broken);
        });
    }
}
