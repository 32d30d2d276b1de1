//! Section B: single calls.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use procession::{AsyncResult, ErrorKind};
use procession_harness::{Ledger, wait_until};

use crate::scenes::{Gate, LIMIT, both, pool};
use crate::tasks::{crash, echo, fail, multiply, note_and_wait, own_pid, sleep_ms, square};

/// Panics with a value that is no text, and whose destructor panics again where asked for.
#[procession::task]
fn panic_with(kind: u8) -> i64 {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in the destructor")
        }
    }
    match kind {
        0 => std::panic::panic_any(42_u64),
        1 => std::panic::panic_any(()),
        2 => std::panic::panic_any(Bomb),
        _ => std::panic::resume_unwind(Box::new("without the hook")),
    }
}

/// An error type that has nothing to say.
#[procession::task]
fn unit_error(fails: bool) -> Result<(), ()> {
    if fails { Err(()) } else { Ok(()) }
}

/// Notes the worker's process id, then waits for the gate.
#[procession::task]
fn pid_at_gate(ledger: String, gate: String) -> u32 {
    let here = std::process::id();
    note_and_wait(ledger, i64::from(here), gate);
    here
}

procession_harness::cases! {
    fn b1_apply_gives_the_functions_value() {
        both(2, |pool| {
            assert_eq!(pool.apply(square, (5,)).unwrap(), 25);
            assert_eq!(pool.apply(multiply, (6, 7)).unwrap(), 42);
        });
    }

    fn b2_apply_async_gives_the_value_after_its_time() {
        let pool = pool(1);
        let start = Instant::now();
        let later = pool.apply_async(sleep_ms, (200,));
        assert!(!later.is_ready());
        assert_eq!(later.get().unwrap(), 200);
        assert!((Duration::from_millis(200)..LIMIT).contains(&start.elapsed()));
        pool.close().unwrap();
    }

    fn b3_a_wait_that_times_out_leaves_the_task_running() {
        let (ledger, gate) = (Ledger::new("starts"), Gate::new("gate"));
        let pool = pool(1);
        let start = Instant::now();
        let mut later = pool.apply_async(note_and_wait, (ledger.path(), 7, gate.path()));
        assert!(later.get_timeout(Duration::from_millis(100)).is_none());
        assert!((Duration::from_millis(100)..LIMIT).contains(&start.elapsed()));
        gate.open();
        assert_eq!(later.get().unwrap(), 7);
        assert_eq!(ledger.lines(), ["7"]);
        pool.close().unwrap();
    }

    fn b3_a_pool_can_be_terminated_while_a_task_is_slow() {
        let pool = pool(1);
        let mut later = pool.apply_async(sleep_ms, (600_000,));
        assert!(later.get_timeout(Duration::from_millis(50)).is_none());
        pool.terminate();
        assert_eq!(later.get().unwrap_err().kind(), ErrorKind::Terminated);
        pool.join(Some(LIMIT)).unwrap();
    }

    fn b4_a_tasks_panic_carries_message_place_and_backtrace() {
        both(1, |pool| {
            let error = pool.apply(fail, ("no luck".to_owned(),)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Panicked);
            assert_eq!(error.panic_message(), Some("no luck"));
            assert!(error.task().is_some_and(|path| path.ends_with("tasks::fail")));
            assert_eq!((error.item(), error.attempts()), (Some(0), 1));
            let text = error.to_string();
            assert!(text.contains("no luck") && text.contains("tasks.rs:"), "{text}");
            let backtrace = error.backtrace().expect("a panic has a stack");
            // Where a compiler has made it part of another function its name is without its module.
            assert!(backtrace.contains("fail\n") && backtrace.contains("tasks.rs:"), "{backtrace}");
        });
    }

    fn b6_a_panic_without_a_message_is_an_error() {
        let pool = pool(1);
        let error = pool.apply(fail, (String::new(),)).unwrap_err();
        assert_eq!((error.kind(), error.panic_message()), (ErrorKind::Panicked, Some("")));
        pool.close().unwrap();
    }

    fn b6_an_error_value_without_content_is_no_success() {
        let pool = pool(1);
        assert_eq!(pool.apply(unit_error, (true,)).unwrap(), Err(()));
        assert_eq!(pool.apply(unit_error, (false,)).unwrap(), Ok(()));
        let all = pool.map(unit_error, [false, true, false]).unwrap();
        assert_eq!(all, [Ok(()), Err(()), Ok(())]);
        pool.close().unwrap();
    }

    fn b7_a_task_error_leaves_the_worker_as_it_was() {
        both(1, |pool| {
            let before = pool.apply(own_pid, ()).unwrap();
            for _ in 0..3 {
                assert!(pool.apply(fail, ("no".to_owned(),)).is_err());
                assert_eq!(pool.apply(echo, (3,)).unwrap(), 3);
            }
            assert_eq!(pool.apply(own_pid, ()).unwrap(), before);
        });
    }

    fn b9_a_panic_with_any_value_is_reported() {
        let pool = pool(1);
        let before = pool.apply(own_pid, ()).unwrap();
        for kind in 0..4 {
            let error = pool.apply(panic_with, (kind,)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Panicked, "{kind}: {error}");
            assert!(error.panic_message().is_some_and(|text| !text.is_empty()), "{kind}: {error}");
        }
        assert_eq!(pool.apply(own_pid, ()).unwrap(), before);
        pool.close().unwrap();
    }

    fn b10_an_unknown_task_is_an_error_and_harms_nobody() {
        let pool = pool(1);
        let before = pool.apply(own_pid, ()).unwrap();
        let unknown = procession::find("tasks::sqare").unwrap_err();
        assert!(unknown.nearest.iter().any(|path| path.ends_with("tasks::square")), "{unknown}");
        assert_eq!(pool.apply(own_pid, ()).unwrap(), before);
        pool.close().unwrap();
    }

    fn b11_two_workers_share_five_tasks() {
        both(2, |pool| {
            let (ledger, gate) = (Ledger::new("starts"), Gate::new("gate"));
            let submit = |_| pool.apply_async(pid_at_gate, (ledger.path(), gate.path()));
            let handles: Vec<_> = (0..5).map(submit).collect();
            assert!(wait_until(LIMIT, || ledger.lines().len() == 2));
            gate.open();
            let pids: HashSet<u32> = handles.into_iter().map(|handle| handle.get().unwrap()).collect();
            assert_eq!(pids.len(), 2);
            assert_eq!(pids, pool.worker_pids().into_iter().collect());
        });
    }

    fn b12_whatever_is_queued_is_resolved_when_close_returns() {
        both(2, |pool| {
            let handles: Vec<_> = (0..200).map(|x| pool.apply_async(square, (x,))).collect();
            pool.close().unwrap();
            assert!(handles.iter().all(AsyncResult::is_ready));
            for (x, handle) in (0..).zip(handles) {
                assert_eq!(handle.get().unwrap(), x * x);
            }
        });
    }

    fn b12_whatever_is_queued_is_resolved_beside_crashes() {
        let pool = pool(2);
        let handles: Vec<_> = (0..20)
            .map(|x| if x == 7 { pool.apply_async(crash, ()) } else { pool.apply_async(square, (x,)) })
            .collect();
        pool.close().unwrap();
        for (x, handle) in (0..).zip(handles) {
            match handle.get() {
                Ok(value) => assert_eq!(value, x * x),
                Err(error) => assert_eq!((x, error.kind()), (7, ErrorKind::WorkerLost)),
            }
        }
    }
}
