//! Workers in which a task panicked: they go on, or are replaced where the pool says so.

use std::collections::BTreeMap;
use std::sync::mpsc;

use procession::{Error, ErrorKind, Event};
use procession_harness::Ledger;

use crate::scenes::{LIMIT, both};
use crate::tasks::own_pid;

/// Notes its start and its process, and panics where `x` is a multiple of `n`; its process.
#[procession::task]
fn panic_every(path: String, x: u64, n: u64) -> u32 {
    Ledger::note(path, format!("{x} {}", std::process::id()));
    assert!(!x.is_multiple_of(n), "told to, by {x}");
    std::process::id()
}

/// Between the task and its panic.
#[inline(never)]
fn refuse_odd(x: u64) -> u64 {
    assert!(x.is_multiple_of(2), "{x} is odd");
    std::hint::black_box(x)
}

#[procession::task]
fn even(x: u64) -> u64 {
    std::hint::black_box(refuse_odd(x))
}

/// The items that each process has begun, in order.
fn lives(ledger: &Ledger) -> BTreeMap<u32, Vec<u64>> {
    let mut lives: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for line in ledger.lines() {
        let (x, pid) = line.split_once(' ').expect("an item and its process");
        lives.entry(pid.parse().expect("a process id")).or_default().push(x.parse().expect("an item"));
    }
    lives
}

procession_harness::cases! {
    fn a_worker_goes_on_after_a_panic() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            let ledger = Ledger::new("ledger");
            let before = pool.apply(own_pid, ()).unwrap();
            let error = pool.apply(panic_every, (ledger.path(), 0, 2)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Panicked, "{error}");
            assert_eq!(pool.apply(own_pid, ()).unwrap(), before);
            pool.close().unwrap();
        });
    }

    fn a_panic_takes_no_memory_to_speak_of_and_names_the_functions_of_its_task() {
        both(1, |builder| {
            // Reading the program's debug information takes more.
            let pool = builder.memory_limit(48 << 20).build().unwrap();
            for x in [1, 3] {
                let error = pool.apply(even, (x,)).unwrap_err();
                assert_eq!(error.panic_message(), Some(&*format!("{x} is odd")), "{error}");
                let stack = error.backtrace().expect("it was taken");
                let names: Vec<&str> = stack.lines().filter(|line| !line.trim_start().starts_with("at ")).collect();
                assert!(names[0].ends_with("refuse_odd") && names.last().unwrap().ends_with("even"), "{stack}");
            }
            pool.close().unwrap();
        });
    }

    fn a_worker_is_replaced_after_a_panic_if_the_pool_says_so() {
        both(1, |builder| {
            let (told, events) = mpsc::channel();
            let observed = builder.recycle_after_panic(true).on_event(move |event| {
                // Nobody may be left to hear it.
                let _ = told.send(event.clone());
            });
            let pool = observed.build().unwrap();
            let ledger = Ledger::new("ledger");
            let before = pool.apply(own_pid, ()).unwrap();
            assert_eq!(pool.apply(own_pid, ()).unwrap(), before, "it is a panic that ends it");
            let error = pool.apply(panic_every, (ledger.path(), 0, 2)).unwrap_err();
            assert_eq!((error.kind(), error.attempts()), (ErrorKind::Panicked, 1), "{error}");
            assert_eq!(error.panic_message(), Some("told to, by 0"));
            assert_ne!(pool.apply(own_pid, ()).unwrap(), before);
            pool.close().unwrap();
            // The last of them may be told after the end. Then nobody is left who could tell more.
            drop(pool);
            let told = std::iter::from_fn(|| events.recv_timeout(LIMIT).ok());
            let exits = told.filter_map(|event| match event {
                Event::WorkerExited { exit, running, .. } => Some((exit.to_string(), running)),
                _ => None,
            });
            let gently = ("exit status 0".to_owned(), false);
            assert_eq!(exits.collect::<Vec<_>>(), [gently.clone(), gently]);
        });
    }

    fn what_waits_behind_a_panic_is_run_once_and_elsewhere() {
        both(2, |builder| {
            let pool = builder.recycle_after_panic(true).build().unwrap();
            for task in [panic_every.chunk_size(1), panic_every.chunk_size(50), panic_every] {
                let ledger = Ledger::new("ledger");
                let outcomes: Vec<Result<u32, Error>> =
                    pool.istarmap(task, (0..200).map(|x| (ledger.path(), x, 40))).collect();
                assert_eq!(outcomes.len(), 200);
                for (x, outcome) in (0_u64..).zip(&outcomes) {
                    let kind = outcome.as_ref().map(|_| ()).map_err(Error::kind);
                    let expected = if x % 40 == 0 { Err(ErrorKind::Panicked) } else { Ok(()) };
                    assert_eq!(kind, expected, "item {x}");
                }
                let lives = lives(&ledger);
                assert_eq!(lives.values().flatten().count(), 200, "each was begun once");
                assert!(lives.len() > 2, "workers were replaced: {lives:?}");
            }
            pool.close().unwrap();
        });
    }
}
