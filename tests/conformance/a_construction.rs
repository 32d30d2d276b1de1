//! Section A: how a pool is made, and what each worker is given.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::IntoRawFd;

use procession::{ErrorKind, Pool, StartMethod};
use procession_harness::{Ledger, alive, children, wait_until};

use crate::scenes::{LIMIT, both, pool};
use crate::tasks::{crash, echo, multiply, note_and_sleep, own_pid};

#[procession::task]
fn usable_cores() -> usize {
    procession::cpu_count()
}

#[procession::task]
fn variable(name: String) -> Option<String> {
    std::env::var(name).ok()
}

/// Where the worker's standard input leads, and how much there is to read.
#[procession::task]
fn standard_input() -> (String, usize) {
    let target = fs::read_link("/proc/self/fd/0").expect("standard input is open");
    let count = std::io::stdin().read_to_end(&mut Vec::new()).expect("it can be read");
    (target.to_string_lossy().into_owned(), count)
}

/// A worker that is the master of a pool of its own.
#[procession::task]
fn squares_of_a_pool_within(count: i64) -> (usize, Vec<i64>) {
    let inner = Pool::new().expect("a worker can have a pool");
    let squares = inner.map(crate::tasks::square, 0..count).expect("it works");
    let workers = inner.workers();
    inner.close().expect("it is whole");
    (workers, squares)
}

procession_harness::cases! {
    fn a1_zero_workers_are_refused() {
        let error = Pool::builder().workers(0).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("`workers`"), "{error}");
        assert_eq!(children(), []);
    }

    fn a2_every_worker_is_there_and_known_by_pid() {
        both(3, |pool| {
            let pids = pool.worker_pids();
            assert_eq!(HashSet::<u32>::from_iter(pids.iter().copied()).len(), 3, "{pids:?}");
            assert!(pids.iter().all(|&pid| alive(pid)));
            assert_eq!(pool.workers(), 3);
            let answering = pool.apply(own_pid, ()).unwrap();
            assert!(pids.contains(&answering));
        });
    }

    fn a3_a_recycling_limit_of_zero_is_refused() {
        let error = Pool::builder().max_tasks_per_worker(0).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("`max_tasks_per_worker`"), "{error}");
        assert_eq!(children(), []);
    }

    fn a6_usable_cores_respect_affinity_and_the_variable() {
        let everything = procession::cpu_count();
        let seen_with = |key: &str, value: &str| {
            let pool = Pool::builder().workers(1).env(key, value).build().unwrap();
            let seen = pool.apply(usable_cores, ()).unwrap();
            pool.close().unwrap();
            seen
        };
        assert_eq!(seen_with("PROCESSION_CPU_COUNT", "1"), 1);
        assert_eq!(seen_with("PROCESSION_CPU_COUNT", "lots"), everything);

        let core = first_allowed_core();
        let pinned = Pool::builder().workers(1).cpu_affinity(vec![vec![core]]).build().unwrap();
        assert_eq!(pinned.apply(usable_cores, ()).unwrap(), 1);
        pinned.close().unwrap();
    }

    fn a6_the_default_number_of_workers_is_that_of_usable_cores() {
        let pool = Pool::new().unwrap();
        assert_eq!(pool.workers(), procession::cpu_count());
        pool.close().unwrap();

        let capped = Pool::builder().workers(1).env("PROCESSION_CPU_COUNT", "1").build().unwrap();
        assert_eq!(capped.apply(squares_of_a_pool_within, (3,)).unwrap(), (1, vec![0, 1, 4]));
        capped.close().unwrap();
    }

    fn a7_a_worker_can_have_a_pool_of_its_own() {
        both(1, |pool| {
            let (_, squares) = pool.apply(squares_of_a_pool_within, (5,)).unwrap();
            assert_eq!(squares, [0, 1, 4, 9, 16]);
        });
    }

    fn a7_standard_input_of_workers_is_empty() {
        both(1, |pool| {
            assert_eq!(pool.apply(standard_input, ()).unwrap(), ("/dev/null".to_owned(), 0));
        });
    }

    fn a7_a_master_without_standard_input_has_working_pools() {
        nix::unistd::close(0).unwrap();
        both(1, |pool| {
            assert_eq!(pool.apply(echo, (5,)).unwrap(), 5);
            assert_eq!(pool.apply(standard_input, ()).unwrap(), ("/dev/null".to_owned(), 0));
        });
        // As it was: the lowest free descriptor.
        assert_eq!(File::open("/dev/null").unwrap().into_raw_fd(), 0);
    }

    fn a9_three_pools_at_once_answer_their_own() {
        let pools = [pool(1), pool(2), pool(1)];
        let mut handles = Vec::new();
        for x in 0..30 {
            for (which, pool) in pools.iter().enumerate() {
                let which = which as i64;
                handles.push((100 * which * x, pool.apply_async(multiply, (x, 100 * which))));
            }
        }
        for (expected, handle) in handles {
            assert_eq!(handle.get().unwrap(), expected);
        }
        let pids = pools.each_ref().map(|pool| pool.apply(own_pid, ()).unwrap());
        for (pool, pid) in pools.iter().zip(pids) {
            assert!(pool.worker_pids().contains(&pid));
            pool.close().unwrap();
        }
    }

    fn a10_a_lazy_pool_starts_with_its_first_call() {
        let pool = Pool::builder().workers(2).lazy_start(true).build().unwrap();
        assert_eq!(pool.worker_pids(), []);
        assert_eq!(pool.apply(echo, (5,)).unwrap(), 5);
        assert_eq!(pool.worker_pids().len(), 1);
        pool.close().unwrap();
        let error = pool.apply(echo, (5,)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
    }

    fn a10_a_lazy_pool_grows_with_its_work() {
        let ledger = Ledger::new("starts");
        let pool = Pool::builder().workers(2).lazy_start(true).build().unwrap();
        let task = note_and_sleep.chunk_size(1);
        let items = (0..4).map(|x| (ledger.path(), x, 300));
        assert_eq!(pool.starmap(task, items).unwrap(), [0, 1, 2, 3]);
        assert_eq!(pool.worker_pids().len(), 2);
        pool.close().unwrap();
    }

    fn a11_an_environment_variable_reaches_every_worker_and_nobody_else() {
        const NAME: &str = "CONFORMANCE_A11";
        let seen = |pool: &Pool| pool.apply(variable, (NAME.to_owned(),)).unwrap();
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            let builder = Pool::builder().workers(1).start_method(method);
            let pool_with = builder.env(NAME, "here").build().unwrap();
            let pool_without = pool(1);
            assert_eq!(seen(&pool_with).as_deref(), Some("here"));
            let first = pool_with.worker_pids();
            assert_eq!(pool_with.apply(crash, ()).unwrap_err().kind(), ErrorKind::WorkerLost);
            assert_eq!(seen(&pool_with).as_deref(), Some("here"));
            assert_ne!(pool_with.worker_pids(), first);
            assert_eq!(seen(&pool_without), None);
            assert!(std::env::var_os(NAME).is_none());
            pool_with.close().unwrap();
            pool_without.close().unwrap();
        }
    }

    fn a2_a_killed_idle_worker_is_replaced_and_known() {
        both(1, |pool| {
            let first = pool.worker_pids()[0];
            let pid = nix::unistd::Pid::from_raw(first.cast_signed());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            let is_replaced = || pool.worker_pids().first().is_some_and(|&pid| pid != first);
            assert!(wait_until(LIMIT, is_replaced));
            assert_eq!(pool.apply(own_pid, ()).unwrap(), pool.worker_pids()[0]);
        });
    }
}

fn first_allowed_core() -> usize {
    let set = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).expect("it can be asked for");
    let mut cores = 0..nix::sched::CpuSet::count();
    cores.find(|&core| set.is_set(core) == Ok(true)).expect("this process runs somewhere")
}
