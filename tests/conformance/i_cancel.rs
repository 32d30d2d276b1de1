//! Section I: cancelling, and time limits of single items.

use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::time::Duration;

use nix::sys::signal::SigSet;
use procession::{AsyncResult, Error, ErrorKind, Pool, StartMethod};
use procession_harness::{Gate, Ledger, Signal};

use crate::held::held;
use crate::scenes::{LIMIT, both, both_described, kinds, pool, wait_lines};
use crate::tasks::{crash, echo, note, own_pid, pid_at_gate, sleep_ms, square};

/// An item that is to be stopped runs for this long if it is not.
const FOR_EVER: u64 = 80_000;

/// Longer than any item takes that does nothing, on the busiest machine.
const SHORT: Duration = Duration::from_millis(400);

/// Takes no notice of SIGTERM, and notes that it has begun.
#[procession::task]
fn ignore_sigterm(path: String) -> u64 {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.thread_block().expect("a signal can be blocked");
    Ledger::note(path, "deaf");
    sleep_ms(FOR_EVER)
}

/// Runs for ever where `is_slow`; its argument.
#[procession::task]
fn slow_if(x: i64, is_slow: bool) -> i64 {
    if is_slow {
        sleep_ms(FOR_EVER);
    }
    x
}

/// Notes its start and runs for ever; its argument only takes room.
#[procession::task]
fn note_and_stay(path: String, bytes: Vec<u8>) -> usize {
    Ledger::note(path, "begun");
    sleep_ms(FOR_EVER);
    bytes.len()
}

/// A call that never ends by itself, once it has begun.
fn endless(pool: &Pool, ledger: &Ledger, gate: &Gate) -> AsyncResult<u32> {
    let before = ledger.lines().len();
    let handle = pool.apply_async(pid_at_gate, (ledger.path(), gate.path()));
    wait_lines(ledger, before + 1);
    handle
}

procession_harness::cases! {
    fn i1_queued_running_finished_and_twice() {
        both(1, |pool| {
            let (ledger, gate, unrun) = (Ledger::new("ledger"), Gate::new("gate"), Ledger::new("unrun"));
            let running = held(pool, &ledger, &gate);
            let queued = pool.apply_async(note, (unrun.path(), 1));
            let queued_map = pool.starmap_async(note, (2..50).map(|x| (unrun.path(), x)));
            assert!(queued.cancel() && queued.cancel(), "twice is once");
            assert!(queued_map.cancel() && queued_map.cancel());
            assert!(running.cancel() && running.cancel());
            assert_eq!(kinds(vec![queued, running]), [Err(ErrorKind::Cancelled); 2]);
            assert_eq!(kinds(vec![queued_map]), [Err(ErrorKind::Cancelled)]);

            let finished = pool.apply_async(square, (3,));
            assert!(finished.wait(Some(LIMIT)));
            assert!(!finished.cancel(), "it is too late");
            assert_eq!(finished.get().unwrap(), 9);
            let failed = pool.apply_async(crash, ());
            assert!(failed.wait(Some(LIMIT)));
            assert!(!failed.cancel(), "it is too late");
            assert_eq!(failed.get().unwrap_err().kind(), ErrorKind::WorkerLost);
            assert_eq!(unrun.lines(), [""; 0], "what was cancelled in the queue never ran");
        });
    }

    fn i2_cancelling_what_runs_stops_its_worker() {
        both(1, |pool| {
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let (sender, seen) = channel();
            let running = endless(pool, &ledger, &gate).on_done(move |result| {
                sender.send(result.map_err(|error| error.kind()).copied()).expect("the test listens");
            });
            let next = pool.apply_async(own_pid, ());
            assert!(running.cancel());
            assert!(running.wait(Some(LIMIT)));
            assert_eq!(seen.try_recv(), Ok(Err(ErrorKind::Cancelled)), "the callback sees it");
            assert_eq!(kinds(vec![running]), [Err(ErrorKind::Cancelled)]);
            let before: u32 = ledger.lines()[0].parse().unwrap();
            assert_ne!(next.get().unwrap(), before);
            assert_eq!(ledger.lines().len(), 1, "it is not run again");
        });
    }

    fn i3_an_item_over_its_limit_is_stopped_alone() {
        both(1, |pool| {
            let earlier: Vec<_> = (0..20).map(|x| pool.apply_async(square, (x,))).collect();
            let before = pool.apply(own_pid, ()).unwrap();
            let (sender, seen) = channel();
            let late = pool.apply_async(slow_if.timeout(SHORT), (7, true)).on_done(move |result| {
                sender.send(result.map_err(|error| error.kind()).copied()).expect("the test listens");
            });
            let later = pool.apply_async(own_pid, ());
            assert!(late.wait(Some(LIMIT)));
            assert_eq!(seen.try_recv(), Ok(Err(ErrorKind::TimedOut)), "the callback sees it");
            let error = late.get().unwrap_err();
            assert_eq!((error.kind(), error.attempts()), (ErrorKind::TimedOut, 1), "{error}");
            assert_ne!(later.get().unwrap(), before, "the next one runs in a new process");
            assert_eq!(kinds(earlier), (0..20).map(|x| Ok(x * x)).collect::<Vec<_>>());
        });
    }

    fn i4_the_clock_starts_when_the_item_starts() {
        both(1, |pool| {
            // Together they take longer than the limit of each.
            let task = sleep_ms.timeout(Duration::from_millis(1_300));
            let handles = (0..2).map(|_| pool.apply_async(task, (700,))).collect();
            assert_eq!(kinds(handles), [Ok(700); 2]);
        });
    }

    fn i5_an_item_that_ignores_sigterm_is_killed() {
        both_described(1, |builder| {
            let pool = builder.grace(Duration::from_millis(200)).build().unwrap();
            let ledger = Ledger::new("ledger");
            let late = pool.apply_async(ignore_sigterm.timeout(SHORT), (ledger.path(),));
            assert_eq!(kinds(vec![late]), [Err(ErrorKind::TimedOut)]);
            assert_eq!(ledger.lines(), ["deaf"]);
            assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
            pool.close().unwrap();
        });
    }

    fn i6_slow_items_time_out_among_quick_ones() {
        both(3, |pool| {
            let handles = (0..6).map(|x| pool.apply_async(slow_if.timeout(SHORT), (x, x % 2 == 1))).collect();
            let expected = (0..6).map(|x| if x % 2 == 1 { Err(ErrorKind::TimedOut) } else { Ok(x) });
            assert_eq!(kinds(handles), expected.collect::<Vec<_>>());
            assert!(pool.is_active());
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
        });
    }

    fn i7_the_limit_is_that_of_an_item_whatever_the_chunk() {
        both(2, |pool| {
            // A chunk takes 1.5 s, the whole map 3 s.
            let task = sleep_ms.chunk_size(5).timeout(Duration::from_millis(1_200));
            assert_eq!(pool.map(task, [300; 20]).unwrap(), [300; 20]);
        });
    }

    fn i8_iteration_goes_on_behind_items_over_their_limit() {
        both(2, |pool| {
            for task in [slow_if.chunk_size(3), slow_if] {
                let rows = (0..9).map(|x| (x, x % 4 == 1));
                let outcomes: Vec<_> = pool.istarmap(task.timeout(SHORT), rows).collect();
                assert_eq!(outcomes.len(), 9);
                for (x, outcome) in (0..).zip(outcomes) {
                    match outcome {
                        Ok(value) => assert_eq!((value, x % 4 == 1), (x, false)),
                        Err(error) => {
                            assert_eq!((error.kind(), x % 4), (ErrorKind::TimedOut, 1), "{error}");
                            assert_eq!(error.item(), Some(x as u64));
                        }
                    }
                }
            }
        });
    }

    fn i9_cancelling_a_map_after_its_first_value() {
        both(2, |pool| {
            let rows = (0..200).map(|x| (x, x > 0));
            let mut stream = pool.istarmap(slow_if.chunk_size(1), rows);
            assert_eq!(stream.next().unwrap().unwrap(), 0);
            stream.cancel();
            let mut rest = 0;
            while let Some(outcome) = stream.next_timeout(LIMIT).expect("the rest is settled") {
                assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
                rest += 1;
            }
            assert!((1..200).contains(&rest), "{rest} were pulled");
            assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
        });
    }

    fn i11_a_task_that_takes_too_long_is_reported() {
        both_described(1, |builder| {
            let pool = builder.timeout(SHORT).build().unwrap();
            let error = pool.apply(slow_if, (7, true)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(error.to_string().contains("slow_if") && error.to_string().contains("400ms"), "{error}");
            pool.close().unwrap();
        });
    }

    fn i11_an_initializer_that_takes_too_long_is_reported() {
        both_described(2, |builder| {
            let ledger = Ledger::new("ledger");
            let pool = builder.initializer(note_and_stay.timeout(SHORT), (ledger.path(), vec![])).build().unwrap();
            let queued = pool.apply_async(square, (3,));
            for error in [queued.get().unwrap_err(), pool.map(square, 0..3).unwrap_err()] {
                assert_eq!(error.kind(), ErrorKind::Initializer, "{error}");
                let told = error.to_string();
                assert!(told.contains("initializer `") && told.contains("note_and_stay` did not return"), "{told}");
                assert!(told.contains("within 400ms"), "{told}");
            }
            assert_eq!(pool.close().unwrap_err().kind(), ErrorKind::Initializer);
            assert!((1..=2).contains(&ledger.lines().len()), "no storm: {:?}", ledger.lines());
        });
    }

    fn i11_a_preload_that_takes_too_long_is_reported() {
        let ledger = Ledger::new("ledger");
        let described = |method| {
            let slow = note_and_stay.timeout(SHORT);
            Pool::builder().workers(1).start_method(method).preload(slow, (ledger.path(), vec![])).build()
        };
        let check = |error: Error| {
            assert_eq!(error.kind(), ErrorKind::Initializer, "{error}");
            assert!(error.to_string().contains("note_and_stay` did not return within 400ms"), "{error}");
        };
        check(described(StartMethod::ForkServer).unwrap_err());
        // There is no server process: each worker runs it.
        let pool = described(StartMethod::Spawn).unwrap();
        check(pool.apply(square, (3,)).unwrap_err());
        check(pool.close().unwrap_err());
        assert_eq!(ledger.lines().len(), 2, "no storm");
    }

    fn i12_cancelling_large_arguments_under_way() {
        let pool = pool(2);
        let ledger = Ledger::new("ledger");
        let large = vec![7_u8; 100 << 20];
        let handles: Vec<_> =
            (0..5).map(|_| pool.apply_async(note_and_stay, (ledger.path(), large.clone()))).collect();
        assert!(handles.iter().all(AsyncResult::cancel));
        pool.terminate();
        pool.join(Some(LIMIT)).unwrap();
        assert_eq!(kinds(handles), [Err(ErrorKind::Cancelled); 5]);
    }

    fn i13_a_limit_as_long_as_the_item_gives_one_outcome() {
        both(2, |pool| {
            let workers = pool.worker_pids().len();
            let task = sleep_ms.timeout(Duration::from_millis(30)).chunk_size(1);
            let mut pids = BTreeSet::new();
            for _ in 0..3 {
                let outcomes: Vec<_> = pool.imap(task, [30; 10]).collect();
                assert_eq!(outcomes.len(), 10);
                for outcome in outcomes {
                    match outcome {
                        Ok(value) => assert_eq!(value, 30),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}"),
                    }
                }
                pids.extend(pool.starmap(own_pid.chunk_size(1), (0..20).map(|_| ())).unwrap());
            }
            assert!(!pids.is_empty());
            assert_eq!(pool.map(echo, 0..100).unwrap().len(), 100);
            assert!(procession_harness::wait_until(LIMIT, || pool.worker_pids().len() == workers), "none is lost");
        });
    }
}
