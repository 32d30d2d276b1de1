//! Section P: tasks that have processes and pools of their own.

use std::process::Command;

use procession::{Pool, StartMethod};
use procession_harness::Ledger;

use crate::scenes::{both, both_described};
use crate::tasks::{own_pid, square};

const METHODS: [(&str, StartMethod); 2] =
    [("forkserver", StartMethod::ForkServer), ("spawn", StartMethod::Spawn)];

fn inner_pool(method: &str) -> Pool {
    let (_, method) = METHODS.into_iter().find(|(name, _)| *name == method).expect("a start method");
    Pool::builder().workers(2).start_method(method).build().expect("a worker can have a pool")
}

/// What another program says.
#[procession::task]
fn run_program(words: Vec<String>) -> (Option<i32>, String) {
    let output = Command::new(&words[0]).args(&words[1..]).output().expect("the program exists");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Squares by a pool of its own.
#[procession::task]
fn squares_within(method: String, count: i64) -> Vec<i64> {
    let pool = inner_pool(&method);
    let squares = pool.map(square, 0..count).expect("it works");
    pool.close().expect("it is whole");
    squares
}

/// Leaves a pool running when it returns; the processes of that.
#[procession::task]
fn leave_a_pool(method: String) -> Vec<u32> {
    let pool = inner_pool(&method);
    pool.apply(own_pid, ()).expect("it works");
    let pids = pool.worker_pids();
    std::mem::forget(pool);
    pids
}

/// Opens a pool in which it calls itself. How deep that goes, and what is said then.
#[procession::task]
fn nest(path: String, level: u32) -> (u32, String) {
    Ledger::note(&path, level);
    let pool = match Pool::builder().workers(1).build() {
        Ok(pool) => pool,
        Err(error) => return (level, error.to_string()),
    };
    let deepest = pool.apply(crate::p_nesting::nest, (path, level + 1));
    pool.close().expect("it is whole");
    deepest.unwrap_or_else(|error| (level, error.to_string()))
}

procession_harness::cases! {
    fn p1_a_task_runs_a_program() {
        both(2, |pool| {
            let rows = (0..6).map(|x| vec!["sh".to_owned(), "-c".to_owned(), format!("echo {x}; exit {x}")]);
            let outputs = pool.map(run_program, rows).unwrap();
            assert_eq!(outputs, (0..6).map(|x| (Some(x), format!("{x}\n"))).collect::<Vec<_>>());
        });
    }

    fn p1_a_task_has_a_pool() {
        both(2, |pool| {
            for (method, _) in METHODS {
                let rows = (0..4).map(|count| (method.to_owned(), count));
                let squares = pool.starmap(squares_within.chunk_size(1), rows).unwrap();
                let expected = (0..4).map(|count| (0..count).map(|x| x * x).collect::<Vec<i64>>());
                assert_eq!(squares, expected.collect::<Vec<_>>(), "{method}");
            }
        });
    }

    fn p2_pools_left_open_in_workers_do_not_hold_up_the_end() {
        both_described(2, |builder| {
            let pool = builder.build().unwrap();
            for (method, _) in METHODS {
                let pids = pool.map(leave_a_pool.chunk_size(1), [method.to_owned(), method.to_owned()]).unwrap();
                assert!(pids.iter().all(|pids| pids.len() == 2), "{pids:?}");
            }
            pool.close().unwrap();
        });
        both_described(1, |builder| {
            let pool = builder.build().unwrap();
            assert_eq!(pool.apply(leave_a_pool, ("forkserver".to_owned(),)).unwrap().len(), 2);
            pool.terminate();
            pool.join(Some(crate::scenes::LIMIT)).unwrap();
        });
    }

    fn p3_pools_within_pools_end_somewhere() {
        both(1, |pool| {
            let ledger = Ledger::new("levels");
            let (deepest, error) = pool.apply(nest, (ledger.path(), 1)).unwrap();
            assert!(error.contains("wrong use") && error.contains("deep"), "{error}");
            assert_eq!(deepest, 5);
            assert_eq!(ledger.lines(), ["1", "2", "3", "4", "5"], "each level was there once");
            assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
        });
    }
}
