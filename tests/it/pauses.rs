//! Pools that are paused, and masters that are stopped: nothing runs, no time passes, and nothing is lost.

use std::io::{BufRead, BufReader};
use std::sync::mpsc::channel;
use std::time::Duration;

use procession::{ErrorKind, Pool};
use procession_harness::{Gate, Ledger, Signal, send_signal, start_part, state_of, stop, wait_until};

use crate::scenes::{FOR_EVER, LIMIT, both, each, kinds, wait_lines, wait_workers};
use crate::tasks::{pid_at_gate, square};

/// A limit that no item of these tests comes near, unless a pause counts.
const ITEM_LIMIT: Duration = Duration::from_secs(4);

/// How long a pause lasts.
const PAUSE: Duration = Duration::from_secs(5);

fn are_stopped(pids: &[u32]) -> bool {
    pids.iter().all(|pid| state_of(*pid) == Some('T'))
}

/// The workers, once every one of them has stopped.
fn wait_stopped(pool: &Pool, workers: usize) -> Vec<u32> {
    let stopped = wait_until(LIMIT, || {
        let pids = pool.worker_pids();
        pids.len() == workers && are_stopped(&pids)
    });
    assert!(stopped, "workers {:?} have not stopped", pool.worker_pids());
    pool.worker_pids()
}

procession_harness::parts! {
    /// Makes two calls with limits, says that they run, and what became of them.
    fn limited_master() {
        let path = std::env::var("LEDGER").expect("the test sets it");
        let gate = std::env::var("GATE").expect("the test sets it");
        let pool = Pool::builder().workers(2).build().unwrap();
        let handles = vec![
            pool.apply_async(pid_at_gate.timeout(ITEM_LIMIT), (path.clone(), gate.clone())),
            pool.apply_async(pid_at_gate.deadline(ITEM_LIMIT), (path, gate)),
        ];
        for kind in kinds(handles) {
            println!("{:?}", kind.map(|_| ()));
        }
        pool.close().unwrap();
    }
}

procession_harness::cases! {
    fn a_paused_pool_stands_still_and_no_limit_runs_on() {
        each(2, |builder| {
            let pool = builder.build().unwrap();
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let rows = || (ledger.path(), gate.path());
            let mut handles = vec![
                pool.apply_async(pid_at_gate.timeout(ITEM_LIMIT), rows()),
                pool.apply_async(pid_at_gate.deadline(ITEM_LIMIT), rows()),
            ];
            wait_lines(&ledger, 2);
            pool.pause();
            assert!(pool.is_paused());
            let workers = wait_stopped(&pool, 2);
            handles.push(pool.apply_async(pid_at_gate.deadline(ITEM_LIMIT), rows()));
            gate.open();
            // The time that is not to pass.
            std::thread::sleep(PAUSE);
            assert!(are_stopped(&workers), "{workers:?}");
            assert!(handles.iter().all(|handle| !handle.is_ready()));
            pool.resume();
            assert!(!pool.is_paused());
            assert!(kinds(handles).iter().all(Result::is_ok));
            assert_eq!(pool.worker_pids(), workers, "nobody was replaced");
            let slowest = pool.stats().slowest[0].ran;
            assert!(slowest < PAUSE, "the pause counted as work: {slowest:?}");
            pool.close().unwrap();
        });
    }

    fn a_limit_goes_on_where_it_stopped() {
        both(1, |builder| {
            let pool = builder.grace(Duration::from_millis(200)).build().unwrap();
            let ledger = Ledger::new("ledger");
            let gate = Gate::new("gate");
            let limit = Duration::from_secs(2);
            let mut handle = pool.apply_async(pid_at_gate.timeout(limit), (ledger.path(), gate.path()));
            wait_lines(&ledger, 1);
            pool.pause();
            assert!(handle.get_timeout(2 * limit).is_none());
            pool.resume();
            let error = handle.get_timeout(LIMIT).expect("the limit is over").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
            assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
            pool.close().unwrap();
        });
    }

    fn a_worker_that_dies_in_a_pause_is_noticed_and_replaced_by_one_that_stands_still() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
            let handle = pool.apply_async(pid_at_gate, (ledger.path(), gate.path()));
            let victim: u32 = wait_lines(&ledger, 1)[0].parse().unwrap();
            wait_workers(&pool, 2);
            pool.pause();
            wait_stopped(&pool, 2);
            send_signal(victim, Signal::SIGKILL);
            assert_eq!(kinds(vec![handle]), [Err(ErrorKind::WorkerLost)]);
            assert!(wait_until(LIMIT, || pool.worker_pids().iter().all(|pid| *pid != victim)));
            wait_stopped(&pool, 2);
            let mut queued = pool.apply_async(square, (4,));
            assert!(queued.get_timeout(Duration::from_millis(100)).is_none());
            pool.resume();
            assert_eq!(queued.get_timeout(LIMIT).expect("it goes on").unwrap(), 16);
            pool.close().unwrap();
        });
    }

    fn a_paused_pool_can_be_closed() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            pool.pause();
            let queued: Vec<_> = (0..20).map(|x| pool.apply_async(square, (x,))).collect();
            pool.close().unwrap();
            assert_eq!(kinds(queued), (0..20).map(|x| Ok(x * x)).collect::<Vec<_>>());
            // Nothing is left to stop.
            pool.pause();
            assert!(!pool.is_paused());
        });
    }

    fn a_paused_pool_can_be_terminated_and_dropped() {
        let end: [fn(Pool); 3] = [
            |pool| {
                pool.terminate();
                pool.join(Some(LIMIT)).unwrap();
            },
            |pool| {
                pool.terminate();
                // Its end is paused, too.
                pool.pause();
                pool.terminate();
                pool.join(Some(LIMIT)).unwrap();
            },
            drop,
        ];
        for end in end {
            both(2, |builder| {
                let pool = builder.build().unwrap();
                let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
                let handles: Vec<_> =
                    (0..4).map(|_| pool.apply_async(pid_at_gate, (ledger.path(), gate.path()))).collect();
                wait_lines(&ledger, 2);
                pool.pause();
                end(pool);
                assert_eq!(kinds(handles), [Err(ErrorKind::Terminated); 4]);
            });
        }
    }

    fn what_is_cancelled_in_a_pause_ends_after_it() {
        let pool = Pool::builder().workers(1).build().unwrap();
        let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
        let mut running = pool.apply_async(pid_at_gate, (ledger.path(), gate.path()));
        wait_lines(&ledger, 1);
        let queued = pool.apply_async(pid_at_gate, (ledger.path(), gate.path()));
        pool.pause();
        assert!(queued.cancel());
        assert_eq!(kinds(vec![queued]), [Err(ErrorKind::Cancelled)]);
        assert!(running.cancel());
        pool.resume();
        let error = running.get_timeout(LIMIT).expect("it is stopped").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert_eq!(ledger.lines().len(), 1);
        pool.close().unwrap();
    }

    fn pauses_from_many_threads_and_from_callbacks() {
        let pool = Pool::builder().workers(3).build().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for x in 0..50 {
                        pool.pause();
                        let (handle, other) = (pool.apply_async(square, (x,)), pool.clone());
                        let (sender, done) = channel();
                        let handle = handle.on_done(move |_| {
                            other.pause();
                            other.resume();
                            let _ = sender.send(());
                        });
                        // Others may pause it again: whoever waits lets it go on.
                        while done.recv_timeout(Duration::from_millis(20)).is_err() {
                            pool.resume();
                        }
                        assert_eq!(handle.get().unwrap(), x * x);
                    }
                });
            }
        });
        pool.resume();
        assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
        assert!(pool.worker_pids().iter().all(|pid| state_of(*pid) != Some('T')));
        pool.close().unwrap();
    }

    fn what_a_worker_has_started_stops_with_it() {
        let pool = Pool::builder().workers(1).build().unwrap();
        let ledger = Ledger::new("ledger");
        let handle = pool.apply_async(start_child, (ledger.path(),));
        let child: u32 = wait_lines(&ledger, 1)[0].parse().unwrap();
        pool.pause();
        assert!(wait_until(LIMIT, || are_stopped(&[child])), "the worker's child runs on");
        pool.resume();
        assert!(wait_until(LIMIT, || state_of(child) != Some('T')));
        pool.terminate();
        pool.join(Some(LIMIT)).unwrap();
        assert_eq!(kinds(vec![handle]), [Err(ErrorKind::Terminated)]);
    }

    fn no_limit_runs_on_while_the_master_is_stopped() {
        let (ledger, gate) = (Ledger::new("ledger"), Gate::new("gate"));
        let mut master =
            start_part("limited_master", &[("LEDGER", &ledger.path()), ("GATE", &gate.path())]);
        let stdout = BufReader::new(master.stdout.take().expect("it is piped"));
        wait_lines(&ledger, 2);
        stop(master.id(), LIMIT);
        std::thread::sleep(PAUSE);
        send_signal(master.id(), Signal::SIGCONT);
        // Time in which a master that counts the stop would end both.
        std::thread::sleep(Duration::from_millis(500));
        gate.open();
        let said: Vec<String> = stdout.lines().map(|line| line.expect("it is text")).collect();
        assert!(master.wait().unwrap().success());
        assert_eq!(said, ["Ok(())", "Ok(())"]);
    }
}

/// Starts a process that sleeps, notes its number, and waits for it.
#[procession::task]
fn start_child(path: String) {
    let mut child = std::process::Command::new("sleep").arg(FOR_EVER.to_string()).spawn().expect("it starts");
    Ledger::note(path, child.id());
    let _ = child.wait();
}
