//! Section N: close, join, terminate and drop.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::{Duration, Instant};

use procession::{AsyncResult, ErrorKind, Pool, StartMethod};
use procession_harness::{Gate, Ledger, children, start_part, wait_until};

use crate::held::note_and_wait;
use crate::scenes::{LIMIT, pool};
use crate::tasks::{crash, echo, note, sleep_ms, square};
use crate::warnings::keep_warnings;

/// As many bytes as it was given.
#[procession::task]
fn count_bytes(bytes: Vec<u8>) -> usize {
    bytes.len()
}

/// Runs `body` with a pool of each start method, which it ends itself.
fn both(workers: usize, body: impl Fn(Pool)) {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let builder = Pool::builder().workers(workers).start_method(method);
        body(builder.build().expect("a pool can be built"));
    }
}

/// Calls that run until the gate is opened; returns once `running` of them have begun.
fn hold(pool: &Pool, calls: i64, running: usize, ledger: &Ledger, gate: &Gate) -> Vec<AsyncResult<i64>> {
    let handles =
        (0..calls).map(|x| pool.apply_async(note_and_wait, (ledger.path(), x, gate.path()))).collect();
    assert!(wait_until(LIMIT, || ledger.lines().len() >= running), "they begin");
    handles
}

fn kinds(handles: Vec<AsyncResult<i64>>) -> Vec<Result<i64, ErrorKind>> {
    handles.into_iter().map(|handle| handle.get().map_err(|error| error.kind())).collect()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("/proc is mounted").count()
}

/// What can be done to a pool that is to end.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Terminate,
    Join,
    Drop,
}

fn end(pool: Pool, how: End) -> Option<Pool> {
    match how {
        End::Close => drop(pool.close()),
        End::Terminate => pool.terminate(),
        // Before the others it is refused; after them it waits.
        End::Join => drop(pool.join(Some(LIMIT))),
        End::Drop => return None,
    }
    Some(pool)
}

procession_harness::parts! {
    /// Ends `main` with a running pool that nobody drops.
    fn leave_a_pool_behind() {
        let pool = pool(2);
        assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
        let _ = std::mem::ManuallyDrop::new(pool.apply_async(sleep_ms, (60_000,)));
        println!("{:?}", pool.worker_pids());
        std::mem::forget(pool);
    }

    /// Ends the process in the middle of a map of another thread.
    fn exit_in_the_middle() {
        let pool = pool(3);
        let busy = pool.clone();
        std::thread::spawn(move || busy.map(sleep_ms, [60_000; 2]));
        assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
        std::process::exit(0);
    }
}

procession_harness::cases! {
    fn n1_calls_after_the_end_are_refused() {
        both(1, |pool| {
            pool.close().unwrap();
            refuses(&pool);
        });
        both(1, |pool| {
            pool.terminate();
            refuses(&pool);
            pool.join(Some(LIMIT)).unwrap();
            refuses(&pool);
        });
    }

    fn n2_join_before_close_is_an_error() {
        both(1, |pool| {
            assert_eq!(pool.join(None).unwrap_err().kind(), ErrorKind::Usage);
            assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
            pool.close().unwrap();
            pool.join(None).unwrap();
        });
    }

    fn n3_close_finishes_what_is_queued() {
        both(2, |pool| {
            let ledger = Ledger::new("ledger");
            let handles: Vec<_> = (0..50).map(|x| pool.apply_async(note, (ledger.path(), x))).collect();
            assert!(pool.is_active());
            pool.close().unwrap();
            assert!(!pool.is_active());
            assert!(handles.iter().all(AsyncResult::is_ready), "nothing is left when it returns");
            assert_eq!(kinds(handles), (0..50).map(Ok).collect::<Vec<_>>());
            assert_eq!(ledger.lines().len(), 50);
            assert!(pool.worker_pids().is_empty());
            assert_eq!(children(), []);
        });
    }

    fn n4_terminate_with_ten_thousand_calls_queued() {
        both(3, |pool| {
            let ledger = Ledger::new("ledger");
            let gate = Gate::new("gate");
            let mut handles = hold(&pool, 3, 3, &ledger, &gate);
            handles.extend((0..10_000).map(|x| pool.apply_async(note_and_wait, (ledger.path(), x, gate.path()))));
            let started = Instant::now();
            pool.terminate();
            pool.join(Some(LIMIT)).unwrap();
            assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
            assert_eq!(children(), []);
            assert_eq!(kinds(handles), vec![Err(ErrorKind::Terminated); 10_003]);
            assert_eq!(ledger.lines().len(), 3, "nothing more was started");
        });
    }

    fn n4_terminate_in_the_middle_of_a_map() {
        both(3, |pool| {
            let ledger = Ledger::new("ledger");
            let gate = Gate::new("gate");
            let (path, at) = (ledger.path(), gate.path());
            let mapping = pool.clone();
            let map = std::thread::spawn(move || {
                mapping.starmap(note_and_wait, (0..10_000).map(|x| (path.clone(), x, at.clone())))
            });
            assert!(wait_until(LIMIT, || ledger.lines().len() == 3), "it begins");
            pool.terminate();
            assert_eq!(map.join().unwrap().unwrap_err().kind(), ErrorKind::Terminated);
            pool.join(Some(LIMIT)).unwrap();
        });
    }

    fn n5_terminate_resolves_every_handle() {
        both(2, |pool| {
            let ledger = Ledger::new("ledger");
            let gate = Gate::new("gate");
            let done: Vec<_> = (0..10).map(|x| pool.apply_async(square, (x,))).collect();
            assert!(done.iter().all(|handle| handle.wait(Some(LIMIT))));
            let unfinished = hold(&pool, 20, 2, &ledger, &gate);
            let more = pool.map_async(echo, 0..1000);
            pool.terminate();
            assert_eq!(kinds(unfinished), vec![Err(ErrorKind::Terminated); 20]);
            assert_eq!(more.get().unwrap_err().kind(), ErrorKind::Terminated);
            assert_eq!(kinds(done), (0..10).map(|x| Ok(x * x)).collect::<Vec<_>>(), "still readable");
            pool.join(Some(LIMIT)).unwrap();
        });
    }

    fn n6_terminate_while_a_large_argument_is_in_transit() {
        both(1, |pool| {
            let handle = pool.apply_async(count_bytes, (vec![7; 100 << 20],));
            pool.terminate();
            pool.join(Some(LIMIT)).unwrap();
            assert!(!pool.is_active());
            assert!(matches!(
                handle.get().map_err(|error| error.kind()),
                Ok(104_857_600) | Err(ErrorKind::Terminated)
            ));
        });
    }

    fn n7_join_with_a_limit() {
        both(2, |pool| {
            let ledger = Ledger::new("ledger");
            let gate = Gate::new("gate");
            let handles = hold(&pool, 4, 2, &ledger, &gate);
            let closing = pool.clone();
            let closer = std::thread::spawn(move || closing.close());
            assert!(wait_until(LIMIT, || !pool.is_active()));
            let error = pool.join(Some(Duration::from_millis(100))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(handles.iter().all(|handle| !handle.is_ready()), "nothing was stopped");
            pool.terminate();
            pool.join(Some(LIMIT)).unwrap();
            closer.join().unwrap().unwrap();
            assert_eq!(kinds(handles), vec![Err(ErrorKind::Terminated); 4]);
        });
    }

    fn n8_cancelling_what_is_queued_and_closing() {
        both(2, |pool| {
            let ledger = Ledger::new("ledger");
            let gate = Gate::new("gate");
            let mut started = hold(&pool, 2, 2, &ledger, &gate);
            let queued: Vec<_> = (0..50).map(|x| pool.apply_async(note, (ledger.path(), x))).collect();
            assert!(queued.iter().all(AsyncResult::cancel), "all of them wait");
            gate.open();
            pool.close().unwrap();
            pool.close().unwrap();
            assert!(started.iter().chain(&queued).all(AsyncResult::is_ready), "none is left pending");
            assert_eq!(kinds(queued), vec![Err(ErrorKind::Cancelled); 50]);
            assert_eq!(started.pop().unwrap().get().unwrap(), 1);
            assert_eq!(started.pop().unwrap().get().unwrap(), 0);
            assert_eq!(ledger.lines().len(), 2);
        });
    }

    fn n9_close_from_another_thread() {
        both(2, |pool| {
            let ledger = Ledger::new("ledger");
            let gate = Gate::new("gate");
            let handles = hold(&pool, 10, 2, &ledger, &gate);
            let closing = pool.clone();
            let closer = std::thread::spawn(move || closing.close());
            assert!(wait_until(LIMIT, || !pool.is_active()));
            assert!(handles.iter().all(|handle| !handle.is_ready()));
            refuses(&pool);
            gate.open();
            assert_eq!(kinds(handles), (0..10).map(Ok).collect::<Vec<_>>());
            closer.join().unwrap().unwrap();
            drop(pool);
            assert!(wait_until(LIMIT, || threads() == 1), "its threads have ended");
        });
    }

    fn n9_close_in_a_callback_does_not_wait() {
        let pool = pool(1);
        let inner = pool.clone();
        let (sender, closed) = std::sync::mpsc::channel();
        let handle = pool.apply_async(square, (3,)).on_done(move |_| {
            sender.send(inner.close().is_ok()).expect("the test listens");
        });
        assert_eq!(handle.get().unwrap(), 9);
        assert_eq!(closed.recv_timeout(LIMIT), Ok(true));
        pool.join(Some(LIMIT)).unwrap();
    }

    fn n10_close_while_workers_exit_and_the_queue_is_full() {
        for round in 0..10 {
            both(3, |pool| {
                let handles: Vec<_> = (0..60)
                    .map(|x| match x % 20 {
                        19 => pool.apply_async(crash, ()),
                        _ => pool.apply_async(square, (x,)),
                    })
                    .collect();
                pool.close().unwrap();
                for (x, result) in (0..).zip(kinds(handles)) {
                    let expected = if x % 20 == 19 { Err(ErrorKind::WorkerLost) } else { Ok(x * x) };
                    assert_eq!(result, expected, "round {round}, item {x}");
                }
            });
        }
    }

    fn n11_dropping_the_last_handle_terminates() {
        both(2, |pool| {
            let ledger = Ledger::new("ledger");
            let gate = Gate::new("gate");
            let done = pool.apply_async(square, (3,));
            assert!(done.wait(Some(LIMIT)));
            let handles = hold(&pool, 10, 2, &ledger, &gate);
            let clone = pool.clone();
            drop(pool);
            assert_eq!(clone.workers(), 2, "a clone keeps it alive");
            assert!(handles.iter().all(|handle| !handle.is_ready()));
            drop(clone);
            assert_eq!(children(), []);
            assert_eq!(kinds(handles), vec![Err(ErrorKind::Terminated); 10]);
            assert_eq!(done.get().unwrap(), 9);
            assert_eq!(ledger.lines().len(), 2);
        });
    }

    fn n12_end_of_scope_leaves_nothing() {
        let before = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").count();
        both(2, |pool| {
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
            drop(pool.apply_async(square, (3,)).on_done(|_| ()));
        });
        assert_eq!(children(), []);
        assert!(wait_until(LIMIT, || threads() == 1), "{} threads", threads());
        let after = || std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").count();
        assert!(wait_until(LIMIT, || after() == before), "{} descriptors, {before} before", after());
    }

    fn n13_pool_that_is_never_dropped_does_not_hold_up_the_process() {
        for part in ["leave_a_pool_behind", "exit_in_the_middle"] {
            let mut child = start_part(part, &[]);
            let started = Instant::now();
            let status = child.wait().unwrap();
            assert!(status.success(), "{part}: {status}");
            assert!(started.elapsed() < LIMIT);
            let mut pids = String::new();
            child.stdout.take().expect("it is piped").read_to_string(&mut pids).unwrap();
            for pid in pids.split(|other: char| !other.is_ascii_digit()).filter_map(|pid| pid.parse().ok()) {
                assert!(wait_until(LIMIT, || !procession_harness::alive(pid)), "worker {pid} lives on");
            }
        }
    }

    fn n15_dropping_a_running_pool_warns() {
        let warnings = keep_warnings();
        let closed = pool(1);
        closed.close().unwrap();
        drop(closed);
        assert_eq!(*warnings.lock().unwrap(), [] as [&str; 0]);
        drop(pool(1));
        let warnings = warnings.lock().unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains("a running pool was dropped"), "{warnings:?}");
    }

    fn n16_task_past_its_first_step_never_reaches_its_last() {
        both(2, |pool| {
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let handles: Vec<_> = (0..2)
                .map(|_| pool.apply_async(two_steps, (ledger.path(), gate.path())))
                .collect();
            assert!(wait_until(LIMIT, || ledger.lines().len() == 2));
            pool.terminate();
            pool.join(Some(LIMIT)).unwrap();
            gate.open();
            assert_eq!(kinds(handles), vec![Err(ErrorKind::Terminated); 2]);
            assert_eq!(ledger.lines(), ["first", "first"]);
            refuses(&pool);
        });
    }

    fn n16_terminate_before_anything_was_started() {
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            let builder = Pool::builder().workers(2).start_method(method).lazy_start(true);
            let pool = builder.build().unwrap();
            assert!(pool.worker_pids().is_empty());
            pool.terminate();
            pool.join(Some(LIMIT)).unwrap();
            refuses(&pool);
        }
    }

    fn n16_terminate_a_broken_pool() {
        both(1, |pool| {
            // Every task kills its worker: that is given up at some point.
            let handles: Vec<_> = (0..100).map(|_| pool.apply_async(crash, ())).collect();
            let kinds = kinds(handles);
            assert_eq!(kinds.last(), Some(&Err(ErrorKind::Broken)));
            assert!(!pool.is_active());
            pool.terminate();
            pool.join(Some(LIMIT)).unwrap();
            assert_eq!(pool.apply(square, (3,)).unwrap_err().kind(), ErrorKind::Broken);
        });
    }

    fn n17_results_that_have_arrived_are_not_lost() {
        both(2, |pool| {
            let ledger = Ledger::new("ledger");
            let handles: Vec<_> = (0..500).map(|x| pool.apply_async(note, (ledger.path(), x))).collect();
            assert!(wait_until(LIMIT, || ledger.lines().len() >= 10));
            pool.terminate();
            let outcomes = kinds(handles);
            for (x, outcome) in (0..).zip(&outcomes) {
                assert!(matches!(outcome, Ok(value) if *value == x) || *outcome == Err(ErrorKind::Terminated));
            }
            pool.join(Some(LIMIT)).unwrap();
            let lines = ledger.lines();
            let started: BTreeSet<&str> = lines.iter().map(String::as_str).collect();
            assert_eq!(started.len(), lines.len(), "each started once at most");
            for (x, outcome) in (0..).zip(outcomes) {
                assert!(outcome.is_err() || started.contains(format!("{x}").as_str()));
            }
        });
    }

    fn n18_ends_in_any_order_and_twice() {
        let ends = [End::Close, End::Terminate, End::Join, End::Drop];
        for first in ends {
            for second in ends {
                for third in ends {
                    let pool = pool(1);
                    let handle = pool.apply_async(square, (3,));
                    let _: Option<Pool> = [first, second, third]
                        .into_iter()
                        .try_fold(pool, end);
                    let kind = handle.get().map_err(|error| error.kind());
                    assert!(
                        matches!(kind, Ok(9) | Err(ErrorKind::Terminated)),
                        "{first:?}, {second:?}, {third:?}: {kind:?}"
                    );
                }
            }
        }
    }

    fn n18_ends_from_two_threads() {
        let ends = [End::Close, End::Terminate, End::Join, End::Drop];
        for first in ends {
            for second in ends {
                let pool = pool(2);
                let handles: Vec<_> = (0..20).map(|x| pool.apply_async(square, (x,))).collect();
                let other = pool.clone();
                let thread = std::thread::spawn(move || drop(end(other, second)));
                drop(end(pool, first));
                thread.join().unwrap();
                for (x, kind) in (0..).zip(kinds(handles)) {
                    assert!(kind == Ok(x * x) || kind == Err(ErrorKind::Terminated), "{first:?}, {second:?}: {kind:?}");
                }
            }
        }
    }

    fn n19_no_zombie_after_join() {
        both(3, |pool| {
            let pids = pool.worker_pids();
            assert_eq!(pids.len(), 3);
            assert_eq!(pool.apply(crash, ()).unwrap_err().kind(), ErrorKind::WorkerLost);
            pool.close().unwrap();
            assert_eq!(children(), [], "not even a zombie");
            for pid in pids {
                assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
            }
        });
    }
}

/// Notes its first step, waits at the gate, and notes its last.
#[procession::task]
fn two_steps(path: String, gate: String) -> i64 {
    Ledger::note(&path, "first");
    Gate::pass(gate);
    Ledger::note(&path, "last");
    0
}

/// Every verb says at once that the pool takes no calls.
fn refuses(pool: &Pool) {
    assert!(!pool.is_active());
    let closed = |kind: ErrorKind| assert_eq!(kind, ErrorKind::Closed);
    closed(pool.apply(square, (3,)).unwrap_err().kind());
    let mut handle = pool.apply_async(square, (3,));
    let result = handle.get_timeout(Duration::ZERO).expect("refused at once");
    closed(result.unwrap_err().kind());
    closed(pool.map(square, 0..10).unwrap_err().kind());
    closed(pool.map_async(square, 0..10).get().unwrap_err().kind());
    let outcomes: Vec<_> = pool.imap(square, 0..10).collect();
    assert_eq!(outcomes.len(), 1, "said once");
    closed(outcomes[0].as_ref().unwrap_err().kind());
    closed(pool.resize(3).unwrap_err().kind());
}
