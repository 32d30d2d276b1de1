//! A pool with nothing to do does nothing.

use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use procession::Pool;
use procession_harness::{parent_of, wait_until};

use crate::scenes::{LIMIT, both, wait_workers};
use crate::tasks::square;

const WORKERS: usize = 4;

/// How long the pool is watched at a time. Memory of past work is given back a second after it, or later on a busy machine;
/// then there is nothing left to do.
const WATCH: Duration = Duration::from_secs(2);

/// A thread that looks around ten times a second would be woken twenty times meanwhile.
const WAKE_UPS_MAX: u64 = 3;

/// By process, thread and the thread's name.
type Sleeps = BTreeMap<(u32, u32, String), u64>;

/// How often each thread of these processes has gone to sleep so far, but for the one that runs the test.
fn sleeps(pids: &[u32]) -> Sleeps {
    let mut sleeps = Sleeps::new();
    for pid in pids {
        for thread in fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives") {
            let path = thread.expect("/proc can be read").path();
            let status = fs::read_to_string(path.join("status")).expect("the thread lives");
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.expect("the kernel says so").trim().to_owned()
            };
            let id: u32 = field("Pid:").parse().expect("a thread's id");
            let count = field("voluntary_ctxt_switches:").parse().expect("a number");
            if id != std::process::id() {
                sleeps.insert((*pid, id, field("Name:")), count);
            }
        }
    }
    sleeps
}

/// The master, the helper that workers are forked from if there is one, and the workers.
fn processes(pool: &Pool) -> Vec<u32> {
    let workers = wait_workers(pool, pool.workers());
    let master = std::process::id();
    let helper = parent_of(workers[0]).filter(|pid| *pid != master);
    [master].into_iter().chain(helper).chain(workers).collect()
}

procession_harness::cases! {
    fn an_idle_pool_sleeps() {
        both(WORKERS, |builder| {
            let pool = builder.build().unwrap();
            assert_eq!(pool.map(square, 0..1_000).unwrap().len(), 1_000);
            let handles: Vec<_> = (0..1_000).map(|x| pool.apply_async(square, (x,))).collect();
            handles.into_iter().for_each(|handle| assert!(handle.get().is_ok()));
            let pids = processes(&pool);
            let (mut before, mut after) = (Sleeps::new(), sleeps(&pids));
            let is_at_rest = wait_until(LIMIT, || {
                sleep(WATCH);
                before = std::mem::replace(&mut after, sleeps(&pids));
                let wake_ups = |(before, after): ((&_, &u64), (&_, &u64))| after.1 - before.1;
                before.keys().eq(after.keys())
                    && before.iter().zip(&after).map(wake_ups).all(|count| count <= WAKE_UPS_MAX)
            });
            assert!(is_at_rest, "{before:?}, then {after:?}");
            let threads = |pid: u32| after.keys().filter(|(of, ..)| *of == pid).count();
            assert_eq!(threads(pids[0]), 1 + WORKERS, "the supervisor and the readers: {after:?}");
            assert!(pids[1..].iter().all(|pid| threads(*pid) == 1), "{after:?}");
            pool.close().unwrap();
        });
    }
}
