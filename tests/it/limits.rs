//! Time limits and cancelling: what runs too long or is unwanted is stopped, and nothing else is.

use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use procession::{ErrorKind, Pool, WorkerExit};
use procession_harness::{Gate, Ledger, Signal};
use procession_tasks::faults;

use crate::scenes::{FOR_EVER, LIMIT, both, counts, kinds, outcomes, wait_lines};
use crate::tasks::{note, own_pid, pid_at_gate, risky_at_first, square};

/// Runs for `seconds` where `slow`, in the given way; `x`.
#[procession::task]
fn run_for(x: i64, slow: bool, how: String) -> i64 {
    if slow {
        match how.as_str() {
            "spin" => drop(faults::spin(FOR_EVER)),
            "sleep" => drop(faults::sleep(FOR_EVER)),
            _ => {
                let mut terminate = SigSet::empty();
                terminate.add(Signal::SIGTERM);
                terminate.thread_block().expect("a signal can be blocked");
                faults::sleep(FOR_EVER);
            }
        }
    }
    x
}

/// Notes its start, then runs for `seconds`.
#[procession::task]
pub(crate) fn note_and_sleep(path: String, x: i64, seconds: f64) -> i64 {
    Ledger::note(path, x);
    faults::sleep(seconds);
    x
}

/// Waits until it is told to stop, and aborts.
#[procession::task]
fn abort_when_told() {
    let mut terminate = SigSet::empty();
    terminate.add(Signal::SIGTERM);
    terminate.thread_block().expect("a signal can be blocked");
    terminate.wait().expect("it is waited for");
    faults::abort();
}

const SLOW: [i64; 3] = [3, 10, 17];

/// An initializer: all workers but the first wait at the gate.
#[procession::task]
fn only_the_first_begins(lives: String, gate: String) {
    Ledger::note(&lives, std::process::id());
    let lines = std::fs::read_to_string(lives).expect("the ledger is there").lines().count();
    if lines > 1 {
        Gate::pass(gate);
    }
}

procession_harness::cases! {
    fn items_over_their_limit_are_stopped_and_no_others() {
        both(3, |builder| {
            let pool = builder.grace(Duration::from_millis(300)).build().unwrap();
            for how in ["spin", "sleep", "ignore"] {
                for task in [run_for.chunk_size(7), run_for] {
                    let limit = Duration::from_millis(500);
                    let rows = (0..20).map(|x| (x, SLOW.contains(&x), how.to_owned()));
                    let started = Instant::now();
                    let outcomes: Vec<_> = pool.istarmap(task.timeout(limit), rows).collect();
                    assert!(started.elapsed() < LIMIT, "{how}: {:?}", started.elapsed());
                    for (x, outcome) in (0..).zip(outcomes) {
                        match outcome {
                            Ok(value) => assert_eq!((value, SLOW.contains(&x)), (x, false), "{how}"),
                            Err(error) => {
                                assert!(SLOW.contains(&x), "{how}: item {x} is innocent: {error}");
                                assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
                                assert_eq!((error.item(), error.attempts()), (Some(x as u64), 1), "{error}");
                                assert!(error.to_string().contains("500ms"), "{error}");
                            }
                        }
                    }
                }
            }
            pool.close().unwrap();
        });
    }

    fn the_pools_limit_holds_for_every_call() {
        both(1, |builder| {
            let pool = builder.timeout(Duration::from_millis(300)).build().unwrap();
            let before = pool.apply(own_pid, ()).unwrap();
            let handle = pool.apply_async(run_for, (1, true, "sleep".to_owned()));
            assert_eq!(kinds(vec![handle]), [Err(ErrorKind::TimedOut)]);
            let error = pool.map(faults::sleep, [0.0, FOR_EVER]).unwrap_err();
            assert_eq!((error.kind(), error.item()), (ErrorKind::TimedOut, Some(1)), "not run again: {error}");
            assert_ne!(pool.apply(own_pid, ()).unwrap(), before, "the next one runs in a new process");
            pool.close().unwrap();
        });
    }

    fn the_clock_starts_when_the_item_starts() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            // Together they take far longer than the limit of each.
            let slow = faults::sleep.timeout(Duration::from_secs(4));
            let handles = (0..3).map(|_| pool.apply_async(slow, (0.7,))).collect();
            assert_eq!(pool.map(slow.chunk_size(5), [0.7; 5]).unwrap(), [0.7; 5]);
            assert_eq!(kinds(handles), [Ok(0.7); 3]);
            pool.close().unwrap();
        });
    }

    fn a_deadline_ends_the_whole_call() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let (ledger, other) = (Ledger::new("ledger"), Ledger::new("other"));
            let gate = Gate::new("gate");
            let bystander = pool.apply_async(pid_at_gate, (other.path(), gate.path()));
            wait_lines(&other, 1);
            let limit = Duration::from_millis(700);
            let rows = (0..100).map(|x| (ledger.path(), x, if x < 2 { 0.0 } else { FOR_EVER }));
            let started = Instant::now();
            let outcomes: Vec<_> = pool.istarmap(note_and_sleep.deadline(limit).chunk_size(10), rows).collect();
            assert!(started.elapsed() < LIMIT);
            // What was not pulled from the input by then has one outcome together.
            assert!((3..=100).contains(&outcomes.len()), "{}", outcomes.len());
            for (x, outcome) in (0..).zip(outcomes) {
                match outcome {
                    Ok(value) => assert!(value == x && x < 2),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
                        assert!(error.to_string().contains("deadline"), "{error}");
                    }
                }
            }
            assert!(ledger.lines().len() <= 3, "nothing was begun after it: {:?}", ledger.lines());
            gate.open();
            assert!(kinds(vec![bystander])[0].is_ok(), "another call goes on");
            pool.close().unwrap();
        });
    }

    fn an_item_that_waits_to_be_run_again_is_ended_by_the_deadline() {
        both(1, |builder| {
            let (ledger, lives, gate) = (Ledger::new("ledger"), Ledger::new("lives"), Gate::new("gate"));
            let pool = builder.initializer(only_the_first_begins, (lives.path(), gate.path())).build().unwrap();
            let limits = risky_at_first.timeout(LIMIT).deadline(Duration::from_millis(700));
            let handle = pool.apply_async(limits, (ledger.path(), 1, vec![1], "segv".to_owned()));
            let error = outcomes(vec![handle]).remove(0).unwrap_err();
            gate.open();
            assert_eq!((error.kind(), ledger.lines().len()), (ErrorKind::TimedOut, 1), "{error}");
            assert!(error.to_string().contains("the call's deadline of 700ms passed"), "{error}");
            pool.close().unwrap();
        });
    }

    fn a_deadline_ends_a_call_whose_input_never_ends() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let limit = Duration::from_millis(300);
            let mut results = pool.imap(square.deadline(limit).buffer(8), 0..);
            let failure = results.find_map(Result::err).expect("it ends");
            assert_eq!(failure.kind(), ErrorKind::TimedOut, "{failure}");
            // Of what was under way some may still have come to its end.
            assert!(results.count() <= 8, "and nothing new is begun");
            assert_eq!(pool.map(square.deadline(limit), 0..).unwrap_err().kind(), ErrorKind::TimedOut);
            pool.close().unwrap();
        });
    }

    fn cancelling_what_is_queued() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let (started, other) = (Ledger::new("started"), Gate::new("other"));
            let running = pool.apply_async(pid_at_gate, (ledger.path(), gate.path()));
            wait_lines(&ledger, 1);
            let queued: Vec<_> = (0..10).map(|x| pool.apply_async(note, (started.path(), x))).collect();
            assert!(queued.iter().all(|handle| handle.cancel()));
            assert!(queued.iter().all(|handle| handle.cancel()), "twice is once");
            assert_eq!(kinds(queued), vec![Err(ErrorKind::Cancelled); 10]);
            gate.open();
            let worker = kinds(vec![running])[0].unwrap();
            assert_eq!(pool.apply(own_pid, ()).unwrap(), worker, "the worker was left alone");
            assert!(started.lines().is_empty());
            let done = pool.apply_async(square, (3,));
            assert!(done.wait(Some(LIMIT)));
            assert!(!done.cancel(), "it is too late");
            assert_eq!(done.get().unwrap(), 9);
            drop(other);
            pool.close().unwrap();
        });
    }

    fn cancelling_what_is_running() {
        both(1, |builder| {
            let pool = builder.grace(Duration::from_millis(300)).build().unwrap();
            for how in ["spin", "sleep", "ignore"] {
                let before = pool.apply(own_pid, ()).unwrap();
                let ledger = Ledger::new("ledger");
                let queued_behind = |pool: &Pool| pool.apply_async(own_pid, ());
                let handle = pool.apply_async(announce_and_run, (ledger.path(), how.to_owned()));
                wait_lines(&ledger, 1);
                let behind = queued_behind(&pool);
                assert!(handle.cancel());
                assert_eq!(kinds(vec![handle]), [Err(ErrorKind::Cancelled)], "{how}");
                let after = outcomes(vec![behind]).remove(0).unwrap();
                assert_ne!(after, before, "{how}: the worker was replaced");
                assert_eq!(counts(&ledger).values().sum::<u32>(), 1);
            }
            pool.close().unwrap();
        });
    }

    fn cancelling_a_map_after_its_first_value() {
        both(2, |builder| {
            let pool = builder.grace(Duration::from_millis(300)).build().unwrap();
            let ledger = Ledger::new("ledger");
            let rows = (0..1000).map(|x| (ledger.path(), x, if x == 0 { 0.0 } else { FOR_EVER }));
            let mut results = pool.istarmap(note_and_sleep.chunk_size(1), rows);
            assert_eq!(results.next().unwrap().unwrap(), 0);
            results.cancel();
            let rest: Vec<_> = results.collect();
            assert!(!rest.is_empty());
            assert!(rest.iter().all(|result| matches!(result, Err(error) if error.kind() == ErrorKind::Cancelled)));
            assert!(ledger.lines().len() <= 3);
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
            pool.close().unwrap();
        });
    }

    fn dropping_a_stream_drops_what_has_not_begun() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let ledger = Ledger::new("ledger");
            let mut results = pool.istarmap(note_and_sleep.chunk_size(1), (0..10_000).map(|x| (ledger.path(), x, 0.01)));
            assert_eq!(results.next().unwrap().unwrap(), 0);
            drop(results);
            let pids = pool.worker_pids();
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
            assert!(ledger.lines().len() < 1000, "{}", ledger.lines().len());
            assert_eq!(pool.worker_pids(), pids, "nothing was stopped");
            pool.close().unwrap();
        });
    }

    fn one_that_dies_in_another_way_when_it_is_told_to_stop_is_told_so() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            let limit = Duration::from_millis(300);
            let error = pool.apply(abort_when_told.timeout(limit), ()).unwrap_err();
            assert_eq!((error.kind(), error.exit()), (ErrorKind::TimedOut, Some(WorkerExit::Signal(6))), "{error}");
            let told = "limit 300ms per item; told to stop, its worker ended with signal 6 (SIGABRT), ran ";
            assert!(error.to_string().contains(told), "{error}");
            let error = pool.apply(run_for.timeout(limit), (0, true, "sleep".to_owned())).unwrap_err();
            assert!(error.to_string().contains("per item, stopped by signal 15 (SIGTERM), ran "), "{error}");
            pool.close().unwrap();
        });
    }

    fn a_limit_as_long_as_the_task_gives_exactly_one_outcome() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let task = faults::sleep.timeout(Duration::from_millis(20)).chunk_size(1);
            let outcomes: Vec<_> = pool.imap(task, [0.02; 40]).collect();
            assert_eq!(outcomes.len(), 40);
            for outcome in outcomes {
                match outcome {
                    Ok(value) => assert_eq!(value, 0.02),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}"),
                }
            }
            pool.close().unwrap();
        });
    }

    fn a_terminated_pool_says_what_had_started() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let running = pool.apply_async(pid_at_gate, (ledger.path(), gate.path()));
            wait_lines(&ledger, 1);
            let waiting = pool.map_async(square, 0..10);
            pool.terminate();
            let (running, waiting) = (running.get().unwrap_err(), waiting.get().unwrap_err());
            assert_eq!((running.kind(), running.attempts()), (ErrorKind::Terminated, 1), "{running}");
            assert_eq!((waiting.kind(), waiting.attempts()), (ErrorKind::Terminated, 0), "{waiting}");
            pool.join(None).unwrap();
        });
    }
}

/// Notes its start, then never ends by itself.
#[procession::task]
pub(crate) fn announce_and_run(path: String, how: String) -> i64 {
    Ledger::note(path, "started");
    run_for(0, true, how)
}
