//! Section K: workers that end without a reply. Only what was running is lost, and the seat is filled again.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use procession::{Error, ErrorKind, Output, Pool, WorkerExit};
use procession_harness::{Gate, Ledger, Signal, send_signal, wait_until};
use procession_tasks::faults;
use serde::{Deserialize, Serialize, Serializer};

use crate::scenes::{LIMIT, both, both_described, kinds, outcomes, wait_lines, wait_workers};
use crate::tasks::{crash, own_pid, pid_at_gate, square};

/// Ends its process in the given way.
#[procession::task]
fn die(how: String) -> i64 {
    match how.as_str() {
        "segv" => faults::segv(),
        "abort" => faults::abort(),
        "kill" => faults::kill_self(),
        "exit 99" => faults::exit(99),
        _ => panic!("no way to die is named `{how}`"),
    }
    0
}

/// Notes its start, and ends its process if it is bad.
#[procession::task]
fn risky(path: String, x: i64, bad: Vec<i64>) -> i64 {
    Ledger::note(path, x);
    if bad.contains(&x) {
        faults::abort();
    }
    3 * x
}

/// Waits at the gate, then ends its process.
#[procession::task]
fn crash_at_gate(path: String, gate: String) -> i64 {
    Ledger::note(path, std::process::id());
    Gate::pass(gate);
    crash()
}

/// A value whose encoding ends its process half-way.
#[derive(Deserialize)]
struct HalfSent(Vec<u8>);

impl Serialize for HalfSent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut parts = serializer.serialize_tuple(2)?;
        // It has left for the master when the end comes.
        parts.serialize_element(&self.0)?;
        std::process::abort()
    }
}

/// Dies while its result of `size` bytes is under way.
#[procession::task]
fn die_while_sending(size: usize) -> HalfSent {
    HalfSent(vec![7; size])
}

/// An argument whose decoding ends its process: the worker has it, and nothing else yet.
#[derive(Serialize)]
struct Poisoned(u8);

impl<'de> Deserialize<'de> for Poisoned {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Poisoned, D::Error> {
        // Whatever lock a process has of its own, it takes along.
        let _output = std::io::stdout().lock();
        let _errors = std::io::stderr().lock();
        std::process::abort()
    }
}

#[procession::task]
fn take_poison(poison: Poisoned) -> u8 {
    poison.0
}

/// Fails in words, and again while it fails, which ends the process.
#[procession::task]
fn panic_twice() -> i64 {
    struct Second;
    impl Drop for Second {
        fn drop(&mut self) {
            panic!("the valve is stuck");
        }
    }
    let _second = Second;
    panic!("the pump is broken")
}

/// An initializer that ends its process.
#[procession::task]
fn crash_at_start() {
    std::process::abort();
}

fn is_lost(error: &Error, exit: WorkerExit) {
    assert_eq!((error.kind(), error.exit()), (ErrorKind::WorkerLost, Some(exit)), "{error}");
}

const ABORTED: WorkerExit = WorkerExit::Signal(6);
const KILLED: WorkerExit = WorkerExit::Signal(9);

procession_harness::cases! {
    fn k1_a_task_ends_by_a_signal() {
        both(1, |pool| {
            for (how, signal, name) in [("segv", 11, "SIGSEGV"), ("abort", 6, "SIGABRT"), ("kill", 9, "SIGKILL")] {
                let before = pool.apply(own_pid, ()).unwrap();
                let error = pool.apply(die, (how.to_owned(),)).unwrap_err();
                is_lost(&error, WorkerExit::Signal(signal));
                assert!(error.to_string().contains(name) && error.to_string().contains("die"), "{error}");
                assert_ne!(pool.apply(own_pid, ()).unwrap(), before);
                assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
            }
        });
    }

    fn k2_a_task_leaves_with_an_exit_status() {
        both(1, |pool| {
            let error = pool.apply(die, ("exit 99".to_owned(),)).unwrap_err();
            is_lost(&error, WorkerExit::Code(99));
            assert!(error.to_string().contains("99"), "{error}");
            assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
        });
    }

    fn k4_a_busy_worker_is_killed_from_outside() {
        both(3, |pool| {
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let busy: Vec<_> = (0..3).map(|_| pool.apply_async(pid_at_gate, (ledger.path(), gate.path()))).collect();
            let queued: Vec<_> = (0..20).map(|x| pool.apply_async(square, (x,))).collect();
            let victim: u32 = wait_lines(&ledger, 3)[1].parse().unwrap();
            send_signal(victim, Signal::SIGKILL);
            assert_eq!(kinds(queued), (0..20).map(|x| Ok(x * x)).collect::<Vec<_>>());
            gate.open();
            let (done, lost): (Vec<_>, Vec<_>) = outcomes(busy).into_iter().partition(Result::is_ok);
            assert_eq!((done.len(), lost.len()), (2, 1));
            is_lost(lost[0].as_ref().unwrap_err(), KILLED);
            assert!(done.iter().all(|pid| *pid.as_ref().unwrap() != victim));
        });
    }

    fn k6_an_idle_worker_is_killed() {
        both(2, |pool| {
            assert_eq!(pool.map(square, 0..10).unwrap().len(), 10);
            let before = wait_workers(pool, 2);
            send_signal(before[1], Signal::SIGKILL);
            let is_replaced = || {
                let now = pool.worker_pids();
                now.len() == 2 && now.contains(&before[0]) && !now.contains(&before[1])
            };
            assert!(wait_until(LIMIT, is_replaced), "{before:?}, then {:?}", pool.worker_pids());
            let handles = (0..100).map(|x| pool.apply_async(square, (x,))).collect();
            assert_eq!(kinds(handles), (0..100).map(|x| Ok(x * x)).collect::<Vec<_>>(), "nobody is told");
        });
    }

    fn k9_a_worker_dies_while_it_sends_a_result() {
        both(2, |pool| {
            for size in [10, 60_000, 5 << 20] {
                let others: Vec<_> = (0..50).map(|x| pool.apply_async(square, (x,))).collect();
                let error = pool.apply(die_while_sending, (size,)).map(|half| half.0.len()).unwrap_err();
                is_lost(&error, ABORTED);
                assert_eq!(kinds(others), (0..50).map(|x| Ok(x * x)).collect::<Vec<_>>(), "{size} bytes");
                assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
            }
        });
    }

    fn k10_a_worker_dies_with_a_task_just_picked_up() {
        both(2, |pool| {
            for _ in 0..5 {
                let poisoned = pool.apply_async(take_poison, (Poisoned(1),));
                let others: Vec<_> = (0..20).map(|x| pool.apply_async(square, (x,))).collect();
                assert_eq!(kinds(others), (0..20).map(|x| Ok(x * x)).collect::<Vec<_>>());
                is_lost(outcomes(vec![poisoned])[0].as_ref().unwrap_err(), ABORTED);
            }
        });
    }

    fn k12_a_crash_in_the_middle_of_a_chunk_loses_the_running_item() {
        both(1, |pool| {
            for bad in [0, 5, 9] {
                let ledger = Ledger::new("ledger");
                let rows = (0..10).map(|x| (ledger.path(), x, vec![bad]));
                let outcomes: Vec<_> = pool.istarmap(risky.chunk_size(10), rows).collect();
                assert_eq!(outcomes.len(), 10);
                for (x, outcome) in (0..).zip(outcomes) {
                    match outcome {
                        Ok(value) => assert_eq!((value, x == bad), (3 * x, false)),
                        Err(error) => {
                            is_lost(&error, ABORTED);
                            assert_eq!((x, error.item()), (bad, Some(bad as u64)), "{error}");
                        }
                    }
                }
                let started: Vec<i64> = ledger.lines().iter().map(|x| x.parse().unwrap()).collect();
                assert_eq!(started, (0..10).collect::<Vec<_>>(), "each once: what was finished is kept");
            }
        });
    }

    fn k13_a_map_with_one_item_that_crashes() {
        both(2, |pool| {
            for task in [risky.chunk_size(1), risky.chunk_size(16), risky] {
                let ledger = Ledger::new("ledger");
                let rows = || (0..100).map(|x| (ledger.path(), x, vec![57]));
                for (x, outcome) in (0..).zip(pool.istarmap(task, rows())) {
                    match outcome {
                        Ok(value) => assert_eq!((value, x == 57), (3 * x, false)),
                        Err(error) => assert_eq!((error.item(), x), (Some(57), 57), "{error}"),
                    }
                }
                assert_eq!(ledger.lines().len(), 100, "the rest is delivered");
                let (values, errors): (Vec<_>, Vec<_>) = pool.istarmap_unordered(task, rows()).partition(Result::is_ok);
                assert_eq!((values.len(), errors.len()), (99, 1));
                let error = pool.starmap(task, rows()).unwrap_err();
                assert_eq!((error.kind(), error.item()), (ErrorKind::WorkerLost, Some(57)));
            }
        });
    }

    fn k14_each_failure_has_its_own_error() {
        both(3, |pool| {
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let busy: Vec<_> = (0..3).map(|_| pool.apply_async(pid_at_gate, (ledger.path(), gate.path()))).collect();
            let killed = pool.starmap_async(risky, [(ledger.path(), 7, vec![7])]);
            for pid in wait_lines(&ledger, 3) {
                send_signal(pid.parse().unwrap(), Signal::SIGKILL);
            }
            let errors: Vec<Error> = outcomes(busy).into_iter().map(Result::unwrap_err).collect();
            for error in &errors {
                is_lost(error, KILLED);
                assert!(error.task().is_some_and(|task| task.ends_with("::pid_at_gate")), "{error}");
            }
            // They are moved out of their handles: no two share one.
            drop(errors);
            let error = killed.get().unwrap_err();
            is_lost(&error, ABORTED);
            assert!(error.task().is_some_and(|task| task.ends_with("::risky")), "{error}");

            let rows = (0..8).map(|x| (ledger.path(), x, vec![2, 5]));
            let items: Vec<_> = pool
                .istarmap(risky, rows)
                .filter_map(Result::err)
                .map(|error| error.item())
                .collect();
            assert_eq!(items, [Some(2), Some(5)]);
        });
    }

    fn k15_a_crash_while_the_pool_is_closing() {
        both_described(2, |builder| {
            let pool = builder.build().unwrap();
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let bad = (0..2).map(|_| pool.apply_async(crash_at_gate, (ledger.path(), gate.path()))).collect();
            let queued = (0..20).map(|x| pool.apply_async(square, (x,))).collect();
            wait_lines(&ledger, 2);
            let closing = pool.clone();
            let closer = thread::spawn(move || closing.close());
            assert!(wait_until(LIMIT, || !pool.is_active()));
            gate.open();
            assert_eq!(kinds(bad), [Err(ErrorKind::WorkerLost); 2]);
            assert_eq!(kinds(queued), (0..20).map(|x| Ok(x * x)).collect::<Vec<_>>(), "replacements run them");
            closer.join().unwrap().unwrap();
            assert!(pool.worker_pids().is_empty());
        });
    }

    fn k15_a_crash_with_nothing_left_behind_it() {
        both_described(1, |builder| {
            let pool = builder.build().unwrap();
            let last = pool.apply_async(crash, ());
            pool.close().unwrap();
            assert_eq!(kinds(vec![last]), [Err(ErrorKind::WorkerLost)]);
        });
    }

    fn k17_workers_that_never_get_ready_break_the_pool() {
        both_described(2, |builder| {
            let pool = builder.restart_limit(4, Duration::from_secs(60)).initializer(crash_at_start, ()).build().unwrap();
            let error = pool.apply(square, (3,)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Broken, "{error}");
            for part in ["too many workers", "SIGABRT"] {
                assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
            }
            let restarts: u32 = pool.stats().workers.iter().map(|worker| worker.restarts).sum();
            assert!(restarts <= 5, "{restarts} restarts");
            assert_eq!(pool.apply(square, (3,)).unwrap_err().kind(), ErrorKind::Broken);
            assert_eq!(pool.close().unwrap_err().kind(), ErrorKind::Broken);
        });
    }

    fn k17_tasks_that_all_kill_their_workers_break_the_pool() {
        both_described(2, |builder| {
            let pool = builder.build().unwrap();
            let ledger = Ledger::new("ledger");
            let all: Vec<i64> = (0..200).collect();
            let rows = (0..200).map(|x| (ledger.path(), x, all.clone()));
            let outcomes: Vec<_> = pool.istarmap(risky, rows).collect();
            let last = outcomes.last().unwrap().as_ref().unwrap_err();
            assert_eq!(last.kind(), ErrorKind::Broken, "{last}");
            for part in ["every task kills its worker", "SIGABRT"] {
                assert!(last.to_string().contains(part), "`{part}` is not in: {last}");
            }
            assert!((1..=30).contains(&ledger.lines().len()), "{} were started", ledger.lines().len());
            assert_eq!(pool.close().unwrap_err().kind(), ErrorKind::Broken);
        });
    }

    fn k18_the_report_has_the_last_words_of_the_worker() {
        both_described(1, |builder| {
            let pool = builder.output(Output::Capture).build().unwrap();
            let error = pool.apply(panic_twice, ()).unwrap_err();
            is_lost(&error, ABORTED);
            let tail = error.stderr_tail().expect("it said something");
            // What was said first and what was said last, with the place, however long the stacks between them are.
            for part in ["the pump is broken", "the valve is stuck", "k_crashes.rs", "panic in a destructor"] {
                assert!(tail.contains(part), "`{part}` is not in: {tail}");
            }
            assert!(tail.len() <= 8 << 10, "{} bytes", tail.len());
            pool.close().unwrap();
        });
    }

    fn k18_the_last_words_can_be_switched_off() {
        both_described(1, |builder| {
            let pool = builder.output(Output::Null).build().unwrap();
            let error = pool.apply(panic_twice, ()).unwrap_err();
            is_lost(&error, ABORTED);
            assert_eq!(error.stderr_tail().unwrap_or_default(), "");
            pool.close().unwrap();
        });
    }

    fn k19_a_call_races_with_the_death_of_the_only_worker() {
        both(1, |pool| {
            let mut pids = BTreeSet::new();
            for round in 0..15 {
                let victim = wait_workers(pool, 1)[0];
                pids.insert(victim);
                let killer = thread::spawn(move || send_signal(victim, Signal::SIGKILL));
                let handles = (0..10).map(|x| pool.apply_async(square, (x,))).collect();
                killer.join().unwrap();
                for (x, kind) in (0..).zip(kinds(handles)) {
                    assert!(matches!(kind, Ok(value) if value == x * x) || kind == Err(ErrorKind::WorkerLost), "{round}: {kind:?}");
                }
                // Its death is known by now, or is told to whoever comes next.
                assert!(wait_until(LIMIT, || !pool.worker_pids().contains(&victim)));
            }
            assert_eq!(pids.len(), 15);
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
        });
    }

    fn k19_a_call_from_the_callback_of_a_crash() {
        both(1, |pool| {
            let (sender, submitted) = std::sync::mpsc::channel();
            let inner: Pool = pool.clone();
            let handle = pool.apply_async(crash, ()).on_done(move |_| {
                sender.send(inner.apply_async(square, (3,))).expect("the test listens");
            });
            assert_eq!(kinds(vec![handle]), [Err(ErrorKind::WorkerLost)]);
            let later = submitted.recv_timeout(LIMIT).expect("the callback ran");
            assert_eq!(kinds(vec![later]), [Ok(9)], "the replacement runs it");
        });
    }
}
