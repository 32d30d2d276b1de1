//! Section M: initializers, and what they leave for the tasks of their worker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use procession::{ErrorKind, Pool, PoolBuilder, StartMethod, set_worker_state, worker_state};
use procession_harness::{Gate, Ledger};

use crate::scenes::LIMIT;
use crate::tasks::{crash, square};

/// What the initializer leaves for the tasks.
struct Prepared {
    value: i64,
    calls: AtomicU64,
}

/// Notes its process in the ledger and leaves a value.
#[procession::task]
fn prepare(path: String, value: i64) {
    Ledger::note(path, std::process::id());
    let calls = AtomicU64::new(0);
    set_worker_state(Prepared { value, calls });
}

/// Notes its process in the ledger and fails.
#[procession::task]
fn refuse(path: String) -> Result<(), String> {
    Ledger::note(path, std::process::id());
    Err("the licence has expired".to_owned())
}

/// Notes its process in the ledger and panics.
#[procession::task]
fn refuse_loudly(path: String) {
    Ledger::note(path, std::process::id());
    panic!("the licence has expired");
}

/// This process, the initializer's value, and how many calls came to this worker before.
#[procession::task]
fn ask() -> (u32, i64, u64) {
    let prepared = worker_state::<Prepared>().expect("the initializer ran first");
    (std::process::id(), prepared.value, prepared.calls.fetch_add(1, Ordering::Relaxed))
}

/// As [`ask`], but waits for the gate.
#[procession::task]
fn ask_at_gate(path: String, gate: String) -> (u32, i64, u64) {
    Ledger::note(path, "asked");
    Gate::pass(gate);
    ask()
}

fn both(workers: usize, body: impl Fn(PoolBuilder)) {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        body(Pool::builder().workers(workers).start_method(method));
    }
}

/// How many initializers ran in each process.
fn runs(ledger: &Ledger) -> BTreeMap<u32, usize> {
    ledger.lines().iter().fold(BTreeMap::new(), |mut runs, line| {
        *runs.entry(line.parse().expect("a process id")).or_default() += 1;
        runs
    })
}

procession_harness::cases! {
    fn m1_initializer_runs_once_in_each_worker_before_its_first_task() {
        both(2, |builder| {
            let ledger = Ledger::new("ledger");
            let pool = builder.initializer(prepare, (ledger.path(), 42)).build().unwrap();
            // Calls that wait for each other: both workers take part.
            let (asked, gate) = (Ledger::new("asked"), Gate::new("gate"));
            let calls: Vec<_> = (0..2)
                .map(|_| pool.apply_async(ask_at_gate, (asked.path(), gate.path())))
                .collect();
            assert!(procession_harness::wait_until(LIMIT, || asked.lines().len() == 2));
            gate.open();
            let pids: BTreeSet<u32> = calls
                .into_iter()
                .map(|call| call.get().unwrap())
                .inspect(|(_, value, _)| assert_eq!(*value, 42))
                .map(|(pid, _, _)| pid)
                .collect();
            assert_eq!(pids.len(), 2);
            assert_eq!(runs(&ledger), pids.iter().map(|pid| (*pid, 1)).collect());

            for _ in 0..3 {
                assert_eq!(pool.apply(crash, ()).unwrap_err().kind(), ErrorKind::WorkerLost);
            }
            let again = pool.starmap(ask.chunk_size(1), (0..50).map(|_| ())).unwrap();
            assert!(again.iter().all(|(_, value, _)| *value == 42), "in replacements too");
            pool.close().unwrap();
            let runs = runs(&ledger);
            assert_eq!(runs.len(), 5, "two workers and three replacements");
            assert!(runs.values().all(|times| *times == 1), "{runs:?}");
            assert!(again.iter().all(|(pid, ..)| runs.contains_key(pid)));
        });
    }

    fn m2_initializer_that_fails_is_what_every_call_says() {
        both(2, |builder| {
            let ledger = Ledger::new("ledger");
            let pool = builder.initializer(refuse, (ledger.path(),)).build().unwrap();
            let queued: Vec<_> = (0..5).map(|x| pool.apply_async(square, (x,))).collect();
            for call in queued {
                let error = call.get().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Initializer, "{error}");
                assert!(error.to_string().contains("the licence has expired"), "{error}");
            }
            let error = pool.apply(square, (3,)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Initializer, "{error}");
            assert!(error.to_string().contains("the licence has expired"), "{error}");
            let error = pool.map(square, 0..3).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Initializer, "{error}");
            assert!(!pool.is_active());
            assert_eq!(pool.close().unwrap_err().kind(), ErrorKind::Initializer);
            assert!((1..=2).contains(&ledger.lines().len()), "no storm: {:?}", ledger.lines());
        });
    }

    fn m2_initializer_that_panics_is_what_every_call_says() {
        both(2, |builder| {
            let ledger = Ledger::new("ledger");
            let pool = builder.initializer(refuse_loudly, (ledger.path(),)).build().unwrap();
            let error = pool.map(square, 0..3).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Initializer, "{error}");
            assert!(error.to_string().contains("the licence has expired"), "{error}");
            assert_eq!(pool.close().unwrap_err().kind(), ErrorKind::Initializer);
            assert!((1..=2).contains(&ledger.lines().len()), "no storm: {:?}", ledger.lines());
        });
    }

    fn m2_initializer_that_crashes_breaks_the_pool_in_bounded_time() {
        both(1, |builder| {
            let pool = builder.initializer(crash_at_start, ()).build().unwrap();
            let error = pool.apply(square, (3,)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Broken, "{error}");
            assert!(error.to_string().contains("SIGABRT"), "{error}");
            assert_eq!(pool.close().unwrap_err().kind(), ErrorKind::Broken);
        });
    }

    fn m3_pool_with_failing_initializer_is_dropped() {
        both(2, |builder| {
            let ledger = Ledger::new("ledger");
            let pool = builder.initializer(refuse, (ledger.path(),)).build().unwrap();
            let call = pool.apply_async(square, (3,));
            drop(pool);
            let kind = call.get().unwrap_err().kind();
            assert!(matches!(kind, ErrorKind::Initializer | ErrorKind::Terminated), "{kind:?}");
        });
        both(2, |builder| {
            let ledger = Ledger::new("ledger");
            let pool = builder.initializer(refuse, (ledger.path(),)).build().unwrap();
            assert_eq!(pool.apply(square, (3,)).unwrap_err().kind(), ErrorKind::Initializer);
            drop(pool);
        });
    }

    fn m4_state_lasts_as_long_as_its_worker() {
        both(1, |builder| {
            let ledger = Ledger::new("ledger");
            let pool = builder.initializer(prepare, (ledger.path(), 1)).build().unwrap();
            let before = pool.starmap(ask, (0..10).map(|_| ())).unwrap();
            let calls: Vec<u64> = before.iter().map(|(_, _, calls)| *calls).collect();
            assert_eq!(calls, (0..10).collect::<Vec<_>>(), "it persists");
            assert_eq!(pool.apply(crash, ()).unwrap_err().kind(), ErrorKind::WorkerLost);
            let (pid, _, calls) = pool.apply(ask, ()).unwrap();
            assert_ne!(pid, before[0].0);
            assert_eq!(calls, 0, "a replacement begins anew");
            pool.close().unwrap();
        });
    }

    fn m4_state_is_each_workers_own() {
        both(2, |builder| {
            let ledger = Ledger::new("ledger");
            let pool = builder.initializer(prepare, (ledger.path(), 1)).build().unwrap();
            let answers = pool.starmap(ask.chunk_size(1), (0..200).map(|_| ())).unwrap();
            let mut seen: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
            for (pid, _, calls) in answers {
                assert!(seen.entry(pid).or_default().insert(calls), "counted twice");
            }
            for calls in seen.values() {
                assert_eq!(calls.iter().copied().collect::<Vec<_>>(), (0..calls.len() as u64).collect::<Vec<_>>());
            }
            pool.close().unwrap();
        });
    }

    fn m7_second_map_uses_the_same_workers() {
        both(2, |builder| {
            let ledger = Ledger::new("ledger");
            let pool = builder.initializer(prepare, (ledger.path(), 1)).build().unwrap();
            let mut pids = BTreeSet::new();
            for _ in 0..5 {
                let answers = pool.starmap(ask.chunk_size(1), (0..40).map(|_| ())).unwrap();
                pids.extend(answers.into_iter().map(|(pid, ..)| pid));
            }
            pool.close().unwrap();
            let runs = runs(&ledger);
            assert!(runs.len() <= 2 && runs.values().all(|times| *times == 1), "{runs:?}");
            assert!(pids.iter().all(|pid| runs.contains_key(pid)));
        });
    }
}

/// Ends its process, as an initializer.
#[procession::task]
fn crash_at_start() {
    std::process::abort();
}
