//! Limits that the kernel sets a whole group of processes: F17, none may be started; F9, the kernel kills for memory.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};

use procession::ErrorKind;
use procession_harness::{
    Account, Blame, ControlGroup, Fate, Ledger, Report, Signal, Start, Told, hear, send_signal, skip,
    wait_until, worst_report,
};
use procession_tasks::faults;

use crate::deaths::KILL;
use crate::matrix::{LIMIT, REPORT_LIMIT, goes_on, scenes};

/// Items of a call.
const ITEMS: u32 = 100;

/// What the group may have, and what an item takes that takes too much.
const MEMORY: u64 = 384 << 20;
const TOO_MUCH: u64 = 2 * MEMORY;

#[procession::task]
fn note(path: String, x: u32) -> u32 {
    Start::note(&path, x);
    x
}

/// Whether an item takes more than there is.
fn is_greedy(x: u32) -> bool {
    x % 50 == 7
}

#[procession::task]
fn take_memory(path: String, x: u32) -> u32 {
    Start::note(&path, x);
    if is_greedy(x) {
        faults::leak(TOO_MUCH);
    }
    x
}

/// Takes memory that is no process's own: a file without a name.
#[procession::task]
fn take_shared_memory(path: String, x: u32) -> u32 {
    Start::note(&path, x);
    if is_greedy(x) {
        let mut file = File::from(memfd_create("greed", MFdFlags::MFD_CLOEXEC).expect("there are files"));
        let piece = vec![1; 1 << 20];
        for _ in 0..TOO_MUCH >> 20 {
            file.write_all(&piece).expect("it is never full");
        }
    }
    x
}

procession_harness::cases! {
    /// Nothing is charged, and once processes may be started again the pool goes on.
    fn f17_no_processes_for_replacements() {
        let group = match ControlGroup::enter("pids") {
            Ok(group) => group,
            Err(need) => return skip(&need),
        };
        let mut report = Report::new("f17_no_processes_for_replacements");
        scenes(|builder, _| {
            let pool = builder.build().unwrap();
            goes_on(&pool);
            let ledger = Ledger::new("starts");
            let victims = pool.worker_pids();
            // Fewer than there are: whoever is there stays, and nobody comes.
            group.limit_processes(Some(1));
            victims.iter().for_each(|pid| send_signal(*pid, Signal::SIGKILL));
            let gone = wait_until(LIMIT, || !victims.iter().any(|pid| pool.worker_pids().contains(pid)));
            let rows: Vec<_> = (0..ITEMS).map(|x| (ledger.path(), x)).collect();
            let mut handle = pool.starmap_async(note, rows);
            // Long enough for some vain starts.
            let is_early = handle.wait(Some(Duration::from_millis(150)));
            group.limit_processes(None);
            assert!(gone, "{victims:?}, then {:?}", pool.worker_pids());
            assert!(!is_early, "there was nobody to run them");
            let values = handle.get_timeout(LIMIT).expect("it goes on").unwrap();
            let told = Told::Each(values.into_iter().map(Ok).collect());
            let account = Account { starts_max: 1, ..Account::of(ITEMS, &|x| x) };
            report.add(account.check(&told, &Start::all(ledger.path())), None);
            goes_on(&pool);
            pool.close().unwrap();
        });
        report.finish(REPORT_LIMIT);
    }

    /// The kernel's counter proves it.
    fn f09_memory_of_a_control_group() {
        let group = match ControlGroup::enter("memory") {
            Ok(group) => group,
            Err(need) => return skip(&need),
        };
        group.limit_memory(MEMORY);
        let mut report = Report::new("f09_memory_of_a_control_group");
        scenes(|builder, _| {
            let pool = builder.build().unwrap();
            let ledger = Ledger::new("starts");
            let (told, failures) = hear(pool.istarmap(take_memory, (0..ITEMS).map(|x| (ledger.path(), x))));
            let starts = Start::all(ledger.path());
            let blame = Blame { kind: ErrorKind::OutOfMemory, exits: KILL, words: "signal 9 (SIGKILL)" };
            let fate = |x: u32| if is_greedy(x) { Fate::Fails(blame) } else { Fate::Value };
            let account = Account { fate: &fate, starts_max: 1, ..Account::of(ITEMS, &|x| x) };
            report.add(account.check(&told, &starts), worst_report(&failures, &starts));
            goes_on(&pool);
            pool.close().unwrap();
        });
        // Taking so much takes time itself.
        report.finish(4 * REPORT_LIMIT);
    }

    /// Where the system lets a pool make groups, each worker has its own, and its limit bounds what `RLIMIT_DATA` does not.
    fn f09_memory_of_a_worker_in_a_group_of_its_own() {
        let group = match ControlGroup::enter("memory") {
            Ok(group) if group.is_divisible() => group,
            Ok(_) => return skip("control groups of version 1, or a part of the test in a group beside a delegated one"),
            Err(need) => return skip(&need),
        };
        let mut report = Report::new("f09_memory_of_a_worker_in_a_group_of_its_own");
        scenes(|builder, workers| {
            let pool = builder.memory_limit(MEMORY / 4).build().unwrap();
            goes_on(&pool);
            assert!(wait_until(LIMIT, || group.parts() == workers), "{} groups", group.parts());
            let ledger = Ledger::new("starts");
            let rows = (0..ITEMS).map(|x| (ledger.path(), x));
            let (told, failures) = hear(pool.istarmap(take_shared_memory, rows));
            let starts = Start::all(ledger.path());
            let blame = Blame {
                kind: ErrorKind::OutOfMemory,
                exits: KILL,
                words: "killed by the kernel at its memory limit of 96 MiB",
            };
            let fate = |x: u32| if is_greedy(x) { Fate::Fails(blame) } else { Fate::Value };
            let account = Account { fate: &fate, starts_max: 1, ..Account::of(ITEMS, &|x| x) };
            report.add(account.check(&told, &starts), worst_report(&failures, &starts));
            goes_on(&pool);
            pool.close().unwrap();
            assert!(wait_until(LIMIT, || group.parts() == 0), "{} groups are left", group.parts());
        });
        // Taking so much takes time itself.
        report.finish(4 * REPORT_LIMIT);
    }
}
