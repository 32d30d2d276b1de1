//! Section G: callbacks, and what a handle says of its call.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use procession::{AsyncResult, ErrorKind};
use procession_harness::{Gate, Ledger};

use crate::held::held;
use crate::scenes::{LIMIT, both, pool};
use crate::tasks::{crash, fail, fail_at, square};

/// What a callback was called with.
type Seen<T> = Receiver<Result<T, ErrorKind>>;

/// A callback that passes on what it is called with.
fn watch<T: Clone + Send + 'static>(handle: AsyncResult<T>) -> (AsyncResult<T>, Seen<T>) {
    let (sender, seen) = channel();
    let handle = handle.on_done(move |result| {
        sender.send(result.cloned().map_err(procession::Error::kind)).expect("the test listens");
    });
    (handle, seen)
}

procession_harness::cases! {
    fn g1_callback_once_before_wait_returns() {
        both(2, |pool| {
            let (handle, seen) = watch(pool.map_async(square, 0..100));
            assert!(handle.wait(Some(LIMIT)));
            let expected: Vec<i64> = (0..100).map(|x| x * x).collect();
            assert_eq!(seen.try_recv(), Ok(Ok(expected.clone())));
            assert!(seen.try_recv().is_err(), "called once");
            assert_eq!(handle.get().unwrap(), expected, "the value is still there");

            let (handle, seen) = watch(pool.starmap_async(fail_at, (0..20).map(|x| (x, vec![7]))));
            assert!(handle.wait(Some(LIMIT)));
            assert_eq!(seen.try_recv(), Ok(Err(ErrorKind::Panicked)));
            assert!(seen.try_recv().is_err(), "called once");
            assert_eq!(handle.get().unwrap_err().item(), Some(7));
        });
    }

    fn g2_callback_gets_the_same_error() {
        both(1, |pool| {
            let (sender, seen) = channel();
            let handle = pool.apply_async(fail, ("on purpose".to_owned(),)).on_done(move |result| {
                let error = result.expect_err("it fails");
                sender.send((error.kind(), error.to_string())).expect("the test listens");
            });
            let error = handle.get().unwrap_err();
            assert_eq!(error.panic_message(), Some("on purpose"));
            assert_eq!(seen.try_recv(), Ok((error.kind(), error.to_string())));
        });
    }

    fn g3_callback_added_before_completion() {
        let pool = pool(1);
        let ledger = Ledger::new("ledger");
        let gate = Gate::new("gate");
        let (value, seen_value) = watch(held(&pool, &ledger, &gate));
        let (error, seen_error) = watch(pool.apply_async(fail, ("no".to_owned(),)));
        let (cancelled, seen_cancelled) = watch(pool.apply_async(square, (3,)));
        assert!(seen_value.try_recv().is_err(), "not called before the end");
        assert!(cancelled.cancel());
        assert!(cancelled.wait(Some(LIMIT)));
        assert_eq!(seen_cancelled.try_recv(), Ok(Err(ErrorKind::Cancelled)));
        gate.open();
        assert!(value.wait(Some(LIMIT)) && error.wait(Some(LIMIT)));
        assert_eq!(seen_value.try_recv(), Ok(Ok(7)));
        assert_eq!(seen_error.try_recv(), Ok(Err(ErrorKind::Panicked)));
        for seen in [&seen_value, &seen_error, &seen_cancelled] {
            assert!(seen.try_recv().is_err(), "called once");
        }
        pool.close().unwrap();
    }

    fn g3_callback_added_after_completion_runs_at_once() {
        let pool = pool(1);
        let value = pool.apply_async(square, (3,));
        let error = pool.apply_async(fail, ("no".to_owned(),));
        assert!(value.wait(Some(LIMIT)) && error.wait(Some(LIMIT)));
        let ledger = Ledger::new("ledger");
        let gate = Gate::new("gate");
        let cancelled = held(&pool, &ledger, &gate);
        assert!(cancelled.cancel());
        assert!(cancelled.wait(Some(LIMIT)));
        for (handle, expected) in [
            (value, Ok(9)),
            (error, Err(ErrorKind::Panicked)),
            (cancelled, Err(ErrorKind::Cancelled)),
        ] {
            let (handle, seen) = watch(handle);
            assert_eq!(seen.try_recv(), Ok(expected));
            assert!(seen.try_recv().is_err(), "called once");
            assert_eq!(handle.get().map_err(|error| error.kind()), expected);
        }
        pool.close().unwrap();
    }

    fn g3_several_callbacks_run_in_order() {
        let pool = pool(1);
        let ledger = Ledger::new("ledger");
        let gate = Gate::new("gate");
        let (sender, seen) = channel();
        let mut handle = held(&pool, &ledger, &gate);
        for number in 0..5 {
            let sender = sender.clone();
            handle = handle.on_done(move |_| sender.send(number).expect("the test listens"));
        }
        gate.open();
        assert!(handle.wait(Some(LIMIT)));
        let handle = handle.on_done(move |_| sender.send(5).expect("the test listens"));
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), (0..6).collect::<Vec<_>>());
        assert_eq!(handle.get().unwrap(), 7);
        pool.close().unwrap();
    }

    fn g3_callback_on_a_handle_that_completes_behind_the_running_callback() {
        let pool = pool(2);
        let ledger = Ledger::new("ledger");
        let (first_gate, gate) = (Gate::new("first"), Gate::new("second"));
        let first = held(&pool, &ledger, &first_gate);
        let (second, seen) = watch(held(&pool, &ledger, &gate));
        let (sender, seen_late) = channel();
        let (release, released) = channel::<()>();
        let (done, is_done) = channel();
        let first = first.on_done(move |_| {
            // The second call's callback waits behind this one from some time before this is received.
            released.recv().expect("the test lets it go");
            let second = second.on_done(move |result| sender.send(result.cloned().ok()).expect("the test listens"));
            done.send(second).expect("the test listens");
        });
        first_gate.open();
        gate.open();
        // The worker has answered when it takes another call.
        assert_eq!(pool.map(square.chunk_size(1), 0..50).unwrap().len(), 50);
        release.send(()).expect("the callback waits");
        let second = is_done.recv_timeout(LIMIT).expect("the callback does not wait for itself");
        assert!(second.wait(Some(LIMIT)) && first.wait(Some(LIMIT)));
        assert_eq!(seen.try_recv(), Ok(Ok(7)));
        assert_eq!(seen_late.try_recv(), Ok(Some(7)), "called before `wait` returns");
        assert_eq!(second.get().unwrap(), 7);
        pool.close().unwrap();
    }

    fn g4_callback_that_panics_changes_nothing_else() {
        both(1, |pool| {
            let ledger = Ledger::new("ledger");
            let gate = Gate::new("gate");
            let handle = held(pool, &ledger, &gate).on_done(|_| panic!("a callback's own fault"));
            let (handle, seen) = watch(handle);
            gate.open();
            assert_eq!(handle.get().unwrap(), 7);
            assert_eq!(seen.try_recv(), Ok(Ok(7)), "the other callback ran");

            let failing = pool
                .apply_async(fail, ("the task's fault".to_owned(),))
                .on_done(|_| panic!("a callback's own fault"));
            assert_eq!(failing.get().unwrap_err().panic_message(), Some("the task's fault"));
            let late = pool.apply_async(square, (3,));
            assert!(late.wait(Some(LIMIT)));
            let late = late.on_done(|_| panic!("a callback's own fault, run here"));
            assert_eq!(late.get().unwrap(), 9);
            assert_eq!(pool.apply(square, (4,)).unwrap(), 16);
        });
    }

    fn g6_callback_submits_a_task_that_crashes() {
        both(1, |pool| {
            let (sender, submitted) = channel();
            let inner = pool.clone();
            let handle = pool.apply_async(square, (3,)).on_done(move |_| {
                sender.send(inner.apply_async(crash, ())).expect("the test listens");
            });
            assert_eq!(handle.get().unwrap(), 9);
            let crashed = submitted.recv_timeout(LIMIT).expect("the callback ran");
            let error = crashed.get().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WorkerLost);
            assert_eq!(error.exit(), Some(procession::WorkerExit::Signal(6)));
            assert_eq!(pool.apply(square, (4,)).unwrap(), 16);
        });
    }

    fn g8_wait_says_false_and_success_is_unknown_before_the_end() {
        let pool = pool(1);
        let ledger = Ledger::new("ledger");
        let gate = Gate::new("gate");
        let handle = held(&pool, &ledger, &gate);
        assert!(!handle.wait(Some(Duration::from_millis(10))));
        assert!(!handle.is_ready());
        assert_eq!(handle.is_successful(), None);
        gate.open();
        assert!(handle.wait(Some(LIMIT)));
        assert!(handle.is_ready());
        assert_eq!(handle.is_successful(), Some(true));
        let failing = pool.apply_async(fail, ("no".to_owned(),));
        assert!(failing.wait(None));
        assert_eq!(failing.is_successful(), Some(false));
        pool.close().unwrap();
    }

    fn g9_get_without_waiting() {
        let pool = pool(1);
        let ledger = Ledger::new("ledger");
        let gate = Gate::new("gate");
        let mut running = held(&pool, &ledger, &gate);
        let mut queued = pool.apply_async(square, (3,));
        let mut failing = pool.apply_async(fail, ("no".to_owned(),));
        let mut cancelled = pool.apply_async(square, (3,));
        for handle in [&mut running, &mut queued, &mut failing, &mut cancelled] {
            assert!(handle.get_timeout(Duration::ZERO).is_none());
        }
        assert!(cancelled.cancel());
        assert!(cancelled.wait(Some(LIMIT)));
        let now = |handle: &mut AsyncResult<i64>| {
            let result = handle.get_timeout(Duration::ZERO).expect("it has ended");
            result.map_err(|error| error.kind())
        };
        assert_eq!(now(&mut cancelled), Err(ErrorKind::Cancelled));
        gate.open();
        assert!(running.wait(Some(LIMIT)) && queued.wait(Some(LIMIT)) && failing.wait(Some(LIMIT)));
        assert_eq!(now(&mut running), Ok(7));
        assert_eq!(now(&mut queued), Ok(9));
        assert_eq!(now(&mut failing), Err(ErrorKind::Panicked));
        assert_eq!(now(&mut failing), Err(ErrorKind::Usage), "it was taken");
        pool.close().unwrap();
    }

    fn g10_waiter_is_woken_by_completion_and_by_cancellation() {
        both(1, |pool| {
            let ledger = Ledger::new("ledger");
            let complete = |gate: &Gate, _: &AsyncResult<i64>| gate.open();
            let cancel = |_: &Gate, handle: &AsyncResult<i64>| assert!(handle.cancel());
            let ends: [(fn(&Gate, &AsyncResult<i64>), _); 2] =
                [(complete, Ok(7)), (cancel, Err(ErrorKind::Cancelled))];
            for (end, expected) in ends {
                let gate = Gate::new("gate");
                let handle = Arc::new(held(pool, &ledger, &gate));
                let entered = Arc::new(Barrier::new(2));
                let waiter = std::thread::spawn({
                    let (handle, entered) = (Arc::clone(&handle), Arc::clone(&entered));
                    move || {
                        entered.wait();
                        handle.wait(Some(LIMIT))
                    }
                });
                entered.wait();
                end(&gate, &handle);
                assert!(waiter.join().unwrap(), "it is woken");
                let handle = Arc::into_inner(handle).expect("the waiter has let it go");
                assert_eq!(handle.get().map_err(|error| error.kind()), expected);
            }
        });
    }

    fn g11_debug_output_names_the_state() {
        let pool = pool(1);
        let ledger = Ledger::new("ledger");
        let gate = Gate::new("gate");
        let running = held(&pool, &ledger, &gate);
        let cancelled = pool.apply_async(square, (3,));
        let failing = pool.apply_async(fail, ("no".to_owned(),));
        assert!(format!("{running:?}").contains("pending"));
        assert!(format!("{running:?}").contains("note_and_wait"));
        assert!(cancelled.cancel() && cancelled.wait(Some(LIMIT)));
        assert!(format!("{cancelled:?}").contains("cancelled"));
        gate.open();
        assert!(running.wait(Some(LIMIT)) && failing.wait(Some(LIMIT)));
        assert!(format!("{running:?}").contains("finished"));
        assert!(format!("{failing:?}").contains("failed"));
        pool.close().unwrap();
    }

    fn g6_callbacks_submit_and_cancel() {
        let pool = pool(1);
        let calls = Arc::new(AtomicUsize::new(0));
        let handles: Vec<_> = (0..50)
            .map(|x| {
                let (calls, inner) = (Arc::clone(&calls), pool.clone());
                pool.apply_async(square, (x,)).on_done(move |_| {
                    // Whether it is in time does not matter here.
                    let _ = inner.apply_async(square, (x,)).cancel();
                    calls.fetch_add(1, Ordering::Relaxed);
                })
            })
            .collect();
        for (x, handle) in (0..).zip(handles) {
            assert_eq!(handle.get().unwrap(), x * x);
        }
        assert_eq!(calls.load(Ordering::Relaxed), 50);
        pool.close().unwrap();
    }
}
