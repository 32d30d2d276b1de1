//! Programs whose resources are limited: what the pool shares with its workers is made smaller, or refused in words.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use procession::{ErrorKind, Pool};
use procession_tasks::faults::echo;

use crate::scenes::both;

const MIB: u64 = 1 << 20;

/// Sets the soft limit alone, so that the reason is the limit and not what is left of it for others.
fn limit(resource: Resource, most: u64) {
    let (_, hard) = getrlimit(resource).unwrap();
    setrlimit(resource, most, hard).unwrap();
}

/// The mappings of this process that would be in a core dump of it.
#[procession::task]
fn dumped_mappings() -> Vec<String> {
    let smaps = fs::read_to_string("/proc/self/smaps").expect("/proc is mounted");
    let (mut dumped, mut name) = (Vec::new(), "");
    for line in smaps.lines() {
        if line.contains("memfd:") {
            name = line;
        } else if let Some(flags) = line.strip_prefix("VmFlags:") {
            if !name.is_empty() && !flags.split(' ').any(|flag| flag == "dd") {
                dumped.push(name.to_owned());
            }
            name = "";
        }
    }
    dumped
}

procession_harness::cases! {
    fn files_of_limited_size_are_enough() {
        limit(Resource::RLIMIT_FSIZE, 4 * MIB);
        both(1, |builder| {
            let pool = builder.build().unwrap();
            // More than there is room for, both ways.
            let bytes = vec![7; 6 << 20];
            assert!(pool.apply(echo, (bytes.clone(),)).unwrap() == bytes);
            pool.close().unwrap();
        });
    }

    fn files_that_are_too_small_are_an_error() {
        limit(Resource::RLIMIT_FSIZE, MIB);
        both(1, |builder| {
            let outcome = builder.build().and_then(|pool| pool.apply(echo, (vec![7],)));
            let error = outcome.expect_err("a window is larger");
            assert_eq!(error.kind(), ErrorKind::Spawn, "{error}");
            assert!(error.to_string().contains("raise it (ulimit -f)"), "{error}");
        });
    }

    fn few_addresses_are_enough() {
        let pool = Pool::builder().workers(1).build().unwrap();
        pool.close().unwrap();
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        let in_use: u64 = statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096;
        limit(Resource::RLIMIT_AS, in_use + 200 * MIB);
        both(1, |builder| {
            let pool = builder.build().unwrap();
            let bytes = vec![7; 6 << 20];
            assert!(pool.apply(echo, (bytes.clone(),)).unwrap() == bytes);
            pool.close().unwrap();
        });
    }

    fn core_dumps_of_workers_hold_nothing_large() {
        let pool = Pool::builder().workers(1).build().unwrap();
        let table = pool.share(&[1_u64; 1000]).unwrap();
        assert_eq!(pool.apply(sum, (table,)).unwrap(), 1000);
        let dumped = pool.apply(dumped_mappings, ()).unwrap();
        assert!(dumped.iter().all(|mapping| mapping.contains("procession-page")), "{dumped:#?}");
        pool.close().unwrap();
    }
}

#[procession::task]
fn sum(table: procession::Shared<u64>) -> u64 {
    table.iter().sum()
}
