//! Several pools in a program, and one pool used by many at once: by threads, by an async runtime, by a lone thread.

use std::thread;

use procession::{ErrorKind, Pool, StartMethod};
use procession_harness::{Gate, Ledger};

use crate::scenes::{LIMIT, both, kinds, wait_lines};
use crate::tasks::{pid_at_gate, square};

#[procession::task]
fn cube(x: i64) -> i64 {
    x * x * x
}

/// One round of mixed calls from a thread of its own.
fn mix(pool: &Pool, number: i64) {
    let base = number * 1_000;
    let squares = pool.map(square, base..base + 200).unwrap();
    assert_eq!(squares, (base..base + 200).map(|x| x * x).collect::<Vec<_>>());
    let handles: Vec<_> = (base..base + 60).map(|x| pool.apply_async(cube, (x,))).collect();
    let later = pool.map_async(square, base..base + 500);
    // Every other one: whether it is in time is the race that this is about.
    let cancelled: Vec<bool> = handles.iter().step_by(2).map(|handle| handle.cancel()).collect();
    for (position, outcome) in kinds(handles).into_iter().enumerate() {
        let x = base + position as i64;
        let may_be_cancelled = position % 2 == 0 && cancelled[position / 2];
        match outcome {
            Ok(value) => assert_eq!(value, x * x * x),
            Err(kind) => {
                assert!(kind == ErrorKind::Cancelled && may_be_cancelled, "item {position}: {kind:?}")
            }
        }
    }
    assert_eq!(later.get().unwrap(), (base..base + 500).map(|x| x * x).collect::<Vec<_>>());
    let sum: i64 = pool.imap_unordered(square, base..base + 300).map(Result::unwrap).sum();
    assert_eq!(sum, (base..base + 300).map(|x| x * x).sum());
}

procession_harness::cases! {
    fn two_pools_answer_their_own() {
        both(2, |builder| {
            let (squares, cubes) = (builder.build().unwrap(), Pool::builder().workers(1).build().unwrap());
            let mut first = squares.imap(square, 0..500);
            let mut second = cubes.imap(cube, 0..500);
            for x in 0..500 {
                assert_eq!(first.next().unwrap().unwrap(), x * x);
                assert_eq!(second.next().unwrap().unwrap(), x * x * x);
            }
            let pids = cubes.worker_pids();
            assert!(squares.worker_pids().iter().all(|pid| !pids.contains(pid)));
            squares.close().unwrap();
            assert_eq!(cubes.map(cube, 0..10).unwrap().len(), 10, "one ends, the other goes on");
            cubes.close().unwrap();
        });
    }

    fn ten_threads_with_a_pool_each() {
        both(1, |_| {
            thread::scope(|scope| {
                for number in 0..10 {
                    scope.spawn(move || {
                        let pool = Pool::builder().workers(2).build().unwrap();
                        let base = number * 100;
                        assert_eq!(pool.map(square, base..base + 100).unwrap()[7], (base + 7) * (base + 7));
                        pool.close().unwrap();
                    });
                }
            });
        });
    }

    fn ten_threads_share_a_pool() {
        both(3, |builder| {
            let pool = builder.build().unwrap();
            thread::scope(|scope| {
                for number in 0..10 {
                    let pool = &pool;
                    scope.spawn(move || mix(pool, number));
                }
            });
            pool.close().unwrap();
        });
    }

    fn a_pool_outlives_the_thread_that_made_it() {
        both(2, |builder| {
            let pool = thread::spawn(move || builder.build().unwrap()).join().unwrap();
            assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
            assert_eq!(pool.worker_pids().len(), 2, "its end killed nobody");
            pool.close().unwrap();
        });
    }

    fn an_async_program_awaits_many_calls() {
        both(2, |builder| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(3)
                .enable_time()
                .build()
                .unwrap();
            runtime.block_on(async {
                let pool = builder.build().unwrap();
                let calls: Vec<_> = (0..300)
                    .map(|x| {
                        let call = pool.apply_async(square, (x,));
                        tokio::spawn(async move { (x, call.await) })
                    })
                    .collect();
                let map = pool.map_async(cube, 0..100);
                for call in calls {
                    let (x, result) = tokio::time::timeout(LIMIT, call).await.unwrap().unwrap();
                    assert_eq!(result.unwrap(), x * x);
                }
                assert_eq!(map.await.unwrap()[9], 729);

                // A future that is dropped half-way loses its result and nothing else.
                let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
                let mut held = pool.apply_async(pid_at_gate, (ledger.path(), gate.path()));
                let early = tokio::time::timeout(std::time::Duration::from_millis(20), &mut held).await;
                assert!(early.is_err());
                gate.open();
                assert!(tokio::time::timeout(LIMIT, held).await.unwrap().is_ok());
                tokio::task::spawn_blocking(move || pool.close()).await.unwrap().unwrap();
            });
        });
    }

    fn a_program_of_one_thread_can_be_forked() {
        let pool = Pool::builder().workers(2).start_method(StartMethod::Fork).build().unwrap();
        assert_eq!(pool.map(square, 0..100).unwrap()[9], 81);
        let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
        let held = pool.apply_async(pid_at_gate, (ledger.path(), gate.path()));
        let pid: u32 = wait_lines(&ledger, 1)[0].parse().unwrap();
        procession_harness::send_signal(pid, procession_harness::Signal::SIGKILL);
        assert_eq!(kinds(vec![held]), [Err(ErrorKind::WorkerLost)]);
        assert_eq!(pool.map(square, 0..100).unwrap()[9], 81, "replacements are forked as well");
        // By now the pool has threads of its own.
        let error = Pool::builder().start_method(StartMethod::Fork).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        pool.close().unwrap();
    }

    fn a_program_with_threads_cannot_be_forked() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let other = thread::spawn(move || stopped.recv().is_err());
        let error = Pool::builder().start_method(StartMethod::Fork).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        assert!(error.to_string().contains("thread"), "{error}");
        drop(stop);
        assert!(other.join().unwrap());
    }

    fn closing_ends_the_lazy_calls_of_the_closing_thread() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let mut stream = pool.imap(square.buffer(4), 0..);
            assert_eq!(stream.next().unwrap().unwrap(), 0);
            pool.close().unwrap();
            let mut rest: Vec<_> = stream.map(|outcome| outcome.map_err(|error| error.kind())).collect();
            assert_eq!(rest.pop(), Some(Err(ErrorKind::Closed)), "the rest of the input has one outcome");
            let pulled: Vec<_> = (1..).map(|x| Ok(x * x)).take(rest.len()).collect();
            assert_eq!(rest, pulled, "what was pulled has its values");
        });
    }
}
