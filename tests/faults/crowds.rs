//! Faults of many at once: F7, workers that kill each other; F19, poison among the items; F24, workers that are stopped
//! and continued.

use std::collections::BTreeMap;
use std::thread;

use procession::{AsyncResult, ErrorKind, Pool, WorkerExit};
use procession_harness::{
    Account, Blame, Fate, Gate, Ledger, Report, Signal, Start, Tally, Told, hear, now, send_signal, stop,
    wait_until, worst_report,
};
use procession_tasks::faults;

use crate::deaths::KILL;
use crate::fault::lost;
use crate::matrix::{LIMIT, REPORT_LIMIT, goes_on, scenes};

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

/// Notes its start. The first item is not done before the gate is opened.
#[procession::task]
fn first_at_gate(path: String, gate: String, x: u32) -> u32 {
    Start::note(&path, x);
    if x == 0 {
        Gate::pass(gate);
    }
    x
}

/// Items of a call.
const MANY: u32 = 200;

/// How often workers are stopped.
const ROUNDS: usize = 5;

/// All items have their values but the poison ones, each of which had all its attempts.
fn check_poison(pool: &Pool, one_in: u32, report: &mut Report) {
    let ledger = Ledger::new("poison");
    let rows = (0..MANY).map(|x| (ledger.path(), x, one_in));
    let (told, failures) = hear(pool.istarmap(poisoned, rows));
    let starts = Start::all(ledger.path());
    let quarantined =
        Blame { kind: ErrorKind::Quarantined, exits: &[WorkerExit::Signal(11)], words: "(3) signal 11" };
    let fate = |x: u32| if x.is_multiple_of(one_in) { Fate::Fails(quarantined) } else { Fate::Value };
    let account = Account { fate: &fate, ..Account::of(MANY, &|x| x) };
    report.add(account.check(&told, &starts), worst_report(&failures, &starts));
}

procession_harness::cases! {
    fn f07_workers_kill_each_other() {
        let mut report = Report::new("f07_workers_kill_each_other");
        scenes(|builder, workers| {
            let pool = builder.build().unwrap();
            for (task, starts_max) in [(kill_next_once, 1), (kill_next_again, 3)] {
                let (ledger, gate) = (Ledger::new("starts"), Gate::new("gate"));
                let call = |x| pool.apply_async(task, (ledger.path(), gate.path(), x));
                let handles: Vec<_> = (0..workers as u32).map(call).collect();
                assert!(wait_until(LIMIT, || ledger.lines().len() == workers), "each worker has one");
                let opened = now();
                gate.open();
                let outcomes: Vec<_> = handles.into_iter().map_while(|mut handle| handle.get_timeout(LIMIT)).collect();
                // All of them are killed from then on.
                let told = outcomes.iter().any(Result::is_err).then(|| now() - opened);
                let fate = |_| if starts_max == 1 { Fate::ValueOr(lost(KILL, "signal 9")) } else { Fate::Value };
                let account = Account {
                    fate: &fate,
                    starts_max,
                    is_single: true,
                    // One that is run again may meet its second killer before it can note its start.
                    is_overcharged: starts_max > 1,
                    ..Account::of(workers as u32, &|x| x)
                };
                report.add(account.check(&Told::Each(outcomes), &Start::all(ledger.path())), told);
                goes_on(&pool);
            }
            pool.close().unwrap();
        });
        report.finish(REPORT_LIMIT);
    }

    fn f19_poison_of_one_in_a_hundred() {
        let mut report = Report::new("f19_poison_of_one_in_a_hundred");
        scenes(|builder, _| {
            let pool = builder.build().unwrap();
            check_poison(&pool, 100, &mut report);
            goes_on(&pool);
            pool.close().unwrap();
        });
        report.finish(REPORT_LIMIT);
    }

    fn f19_poison_of_one_in_ten() {
        let mut report = Report::new("f19_poison_of_one_in_ten");
        scenes(|builder, _| {
            let pool = builder.build().unwrap();
            check_poison(&pool, 10, &mut report);
            goes_on(&pool);
            pool.close().unwrap();
        });
        report.finish(REPORT_LIMIT);
    }

    /// The pool gives up, and what it did not come to was never started.
    fn f19_nothing_but_poison() {
        let mut report = Report::new("f19_nothing_but_poison");
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
                let noted = counts.get(&x).copied().unwrap_or(0);
                // One that was running when the pool gave up may have been stopped before it could note its start.
                let is_cut_short = error.kind() == ErrorKind::Broken && error.attempts() == noted + 1;
                assert!(error.attempts() == noted || is_cut_short, "{noted} starts: {error}");
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
            // Each has the one outcome that was looked at above.
            report.add(Tally { items: u64::from(MANY), ..Tally::default() }, None);
        });
        report.finish(REPORT_LIMIT);
    }

    /// Time passes for nobody, and nothing is lost.
    fn f24_workers_stopped_and_continued() {
        let mut report = Report::new("f24_workers_stopped_and_continued");
        scenes(|builder, _| {
            let pool = builder.build().unwrap();
            let (ledger, gate) = (Ledger::new("starts"), Gate::new("gate"));
            let told = thread::scope(|scope| {
                let rows = (0..MANY).map(|x| (ledger.path(), gate.path(), x));
                let caller = scope.spawn(|| hear(pool.istarmap(first_at_gate, rows)).0);
                assert!(wait_until(LIMIT, || !ledger.lines().is_empty()), "it is under way");
                for _ in 0..ROUNDS {
                    let pids = pool.worker_pids();
                    pids.iter().for_each(|pid| stop(*pid, LIMIT));
                    pids.iter().for_each(|pid| send_signal(*pid, Signal::SIGCONT));
                }
                gate.open();
                caller.join().expect("the caller does not panic")
            });
            let account = Account { starts_max: 1, ..Account::of(MANY, &|x| x) };
            report.add(account.check(&told, &Start::all(ledger.path())), None);
            goes_on(&pool);
            pool.close().unwrap();
        });
        report.finish(REPORT_LIMIT);
    }
}
