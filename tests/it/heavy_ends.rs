//! Calls that end while arguments of 100 MB are on their way: by their handle, by a deadline, with the pool, and out of a
//! callback. Nobody waits for ever.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use procession::{AsyncResult, Error, ErrorKind, Pool};

use crate::scenes::{LIMIT, both};
use crate::tasks::square;

const HEAVY_BYTES: usize = 100_000_000;

/// More of them than the workers take at once and than the arena holds: some travel in parts, some wait.
const CALLS: usize = 4;

/// How many bytes it was given.
#[procession::task]
fn weigh(bytes: Vec<u8>) -> usize {
    bytes.len()
}

fn heavy(seed: usize) -> Vec<u8> {
    vec![seed as u8; HEAVY_BYTES]
}

/// Either the value or an end that somebody wanted.
fn is_ended(outcome: Result<&usize, &Error>, kinds: &[ErrorKind]) -> bool {
    match outcome {
        Ok(bytes) => *bytes == HEAVY_BYTES,
        Err(error) => kinds.contains(&error.kind()),
    }
}

/// Calls with heavy arguments, and the news of how each ended.
fn heavy_calls(pool: &Pool, kinds: &'static [ErrorKind]) -> (Vec<AsyncResult<usize>>, Receiver<bool>) {
    let (sender, ended) = channel();
    let calls = (0..CALLS).map(|seed| {
        let sender = sender.clone();
        pool.apply_async(weigh, (heavy(seed),)).on_done(move |outcome| {
            let _ = sender.send(is_ended(outcome, kinds));
        })
    });
    (calls.collect(), ended)
}

/// Does `end` in a callback while heavy calls are under way; each of them then ends in one of the ways named.
fn end_in_callback(
    pool: &Pool,
    kinds: &'static [ErrorKind],
    end: impl Fn(&Pool, &[AsyncResult<usize>]) + Send + 'static,
) {
    let (trigger, triggered) = channel();
    // First in the queue, so that it ends while the others travel.
    let first = pool.apply_async(square, (7,)).on_done(move |_| {
        let _ = trigger.send(());
    });
    let (calls, ended) = heavy_calls(pool, kinds);
    triggered.recv_timeout(LIMIT).expect("a small call ends");
    let (calls, inner) = (Arc::new(calls), pool.clone());
    let (sender, done) = channel();
    let held = Arc::clone(&calls);
    // Its call has its value: the callback runs at once, on the thread of callbacks.
    let first = first.on_done(move |_| {
        end(&inner, &held);
        drop((inner, held));
        let _ = sender.send(());
    });
    done.recv_timeout(LIMIT).expect("no callback waits for ever");
    for _ in 0..CALLS {
        assert!(ended.recv_timeout(LIMIT).expect("no call waits for ever"));
    }
    drop((first, calls));
}

procession_harness::cases! {
    fn heavy_calls_are_cancelled_out_of_a_callback() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            end_in_callback(&pool, &[ErrorKind::Cancelled], |_, calls| {
                for call in calls {
                    // Those that have their value keep it.
                    let _ = call.cancel();
                }
            });
            assert_eq!(pool.apply(weigh, (heavy(1),)).unwrap(), HEAVY_BYTES);
            pool.close().unwrap();
        });
    }

    fn a_pool_with_heavy_calls_is_terminated_out_of_a_callback() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            end_in_callback(&pool, &[ErrorKind::Terminated], |pool, _| pool.terminate());
            pool.join(Some(LIMIT)).unwrap();
        });
    }

    fn a_pool_with_heavy_calls_is_closed_out_of_a_callback() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            end_in_callback(&pool, &[], |pool, _| pool.close().unwrap());
            pool.join(Some(LIMIT)).unwrap();
        });
    }

    fn a_pool_with_heavy_calls_is_dropped_in_a_callback() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let (calls, ended) = heavy_calls(&pool, &[ErrorKind::Terminated]);
            let (sender, done) = channel();
            let (go, gone) = channel();
            let inner = pool.clone();
            let trigger = pool.apply_async(square, (7,)).on_done(move |_| {
                let _ = gone.recv_timeout(LIMIT);
                // The last handle.
                drop(inner);
                let _ = sender.send(());
            });
            drop(pool);
            let _ = go.send(());
            done.recv_timeout(LIMIT).expect("no callback waits for ever");
            for _ in 0..CALLS {
                assert!(ended.recv_timeout(LIMIT).expect("no call waits for ever"));
            }
            drop((trigger, calls));
        });
    }

    fn calls_over_heavy_items_have_deadlines() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let deadline = Duration::from_millis(50);
            let error = pool.map(weigh.deadline(deadline), (0..CALLS).map(heavy)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
            let mut outcomes = pool.imap(weigh.deadline(deadline), (0..CALLS).map(heavy));
            let mut last = None;
            while let Some(outcome) = outcomes.next_timeout(LIMIT).expect("no item waits for ever") {
                last = Some(outcome);
            }
            assert_eq!(last.expect("an outcome").unwrap_err().kind(), ErrorKind::TimedOut);
            assert_eq!(pool.apply(weigh, (heavy(1),)).unwrap(), HEAVY_BYTES);
            pool.close().unwrap();
        });
    }
}
