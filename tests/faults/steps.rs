//! F8, death at the steps of the protocol that a task alone cannot reach: before the worker is ready, after its reply,
//! and when the result is dropped. After the start note is F1, half a reply F14.

use procession_harness::{Account, Fate, Gate, Ledger, Report, Start, Told, hear, wait_until, worst_report};
use procession_tasks::faults;
use serde::{Deserialize, Serialize};

use crate::deaths::SEGV;
use crate::fault::lost;
use crate::matrix::{LIMIT, REPORT_LIMIT, goes_on, scenes};

/// How many workers die before any is ready.
const STILLBORN: usize = 3;

const ITEMS: u32 = 30;

#[procession::task]
fn die_at_first(path: String) {
    Ledger::note(&path, "born");
    let born = std::fs::read_to_string(path).expect("the ledger exists").lines().count();
    if born <= STILLBORN {
        faults::segv();
    }
}

#[procession::task]
fn note(path: String, x: u32) -> u32 {
    Start::note(&path, x);
    x
}

/// Has its value. Later, when nothing runs, its process ends.
#[procession::task]
fn die_when_idle(gate: String) -> u32 {
    std::thread::spawn(move || {
        Gate::pass(gate);
        faults::kill_self();
    });
    std::process::id()
}

/// A result that may end the process that made it, when it is dropped there.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Deadly {
    x: u32,
    deadly_in: u32,
}

impl Drop for Deadly {
    fn drop(&mut self) {
        if self.deadly_in == std::process::id() {
            faults::segv();
        }
    }
}

#[procession::task]
fn result_deadly_to_drop(path: String, x: u32) -> Deadly {
    Start::note(&path, x);
    Deadly { x, deadly_in: if x.is_multiple_of(10) { std::process::id() } else { 0 } }
}

procession_harness::cases! {
    fn f08_death_before_ready() {
        let mut report = Report::new("f08_death_before_ready");
        scenes(|builder, _| {
            let (born, ledger) = (Ledger::new("born"), Ledger::new("starts"));
            let pool = builder.initializer(die_at_first, (born.path(),)).build().unwrap();
            let outcomes: Vec<_> = pool.istarmap(note, (0..ITEMS).map(|x| (ledger.path(), x))).collect();
            let account = Account::of(ITEMS, &|x| x);
            report.add(account.check(&Told::Each(outcomes), &Start::all(ledger.path())), None);
            assert!(born.lines().len() > STILLBORN, "{:?}", born.lines());
            goes_on(&pool);
            pool.close().unwrap();
        });
        report.finish(REPORT_LIMIT);
    }

    fn f08_death_after_the_reply() {
        let mut report = Report::new("f08_death_after_the_reply");
        scenes(|builder, _| {
            let pool = builder.build().unwrap();
            let gate = Gate::new("gate");
            let pid = pool.apply(die_when_idle, (gate.path(),)).unwrap();
            gate.open();
            assert!(wait_until(LIMIT, || !pool.worker_pids().contains(&pid)), "{pid} lives on");
            let ledger = Ledger::new("starts");
            let outcomes: Vec<_> = pool.istarmap(note, (0..ITEMS).map(|x| (ledger.path(), x))).collect();
            let account = Account::of(ITEMS, &|x| x);
            report.add(account.check(&Told::Each(outcomes), &Start::all(ledger.path())), None);
            goes_on(&pool);
            pool.close().unwrap();
        });
        report.finish(REPORT_LIMIT);
    }

    fn f08_death_when_the_result_is_dropped() {
        let mut report = Report::new("f08_death_when_the_result_is_dropped");
        scenes(|builder, _| {
            let pool = builder.build().unwrap();
            let ledger = Ledger::new("starts");
            let rows = (0..ITEMS).map(|x| (ledger.path(), x));
            let outcomes = pool.istarmap(result_deadly_to_drop, rows);
            let (told, failures) = hear(outcomes.map(|outcome| outcome.map(|result| result.x)));
            let starts = Start::all(ledger.path());
            let fate = |x: u32| match x % 10 {
                0 => Fate::ValueOr(lost(SEGV, "signal 11")),
                _ => Fate::Value,
            };
            let account = Account { fate: &fate, ..Account::of(ITEMS, &|x| x) };
            let account = Account { starts_max: 1, ..account };
            report.add(account.check(&told, &starts), worst_report(&failures, &starts));
            goes_on(&pool);
            pool.close().unwrap();
        });
        report.finish(REPORT_LIMIT);
    }
}
