//! What a pool gives its workers: environment, niceness, cores, and where their output goes.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use procession::{ErrorKind, Output, Pool, Printed};
use procession_tasks::faults;

use crate::scenes::{both, kinds, outcomes};
use crate::tasks::{own_pid, square};

const VARIABLE: &str = "PROCESSION_TEST_COLOUR";

#[procession::task]
fn variable(name: String) -> Option<String> {
    std::env::var(name).ok()
}

/// A field of this process's status.
#[procession::task]
fn status(field: String) -> String {
    let text = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = text.lines().find_map(|line| line.strip_prefix(&field));
    line.expect("the field exists").trim_start_matches(':').trim().to_owned()
}

/// The niceness of this process.
#[procession::task]
fn niceness() -> i64 {
    let text = std::fs::read_to_string("/proc/self/stat").expect("/proc is mounted");
    let (_, fields) = text.rsplit_once(')').expect("a name in parentheses");
    fields.split_whitespace().nth(16).expect("a niceness").parse().expect("a number")
}

#[procession::task]
fn crash() {
    std::process::abort();
}

/// Writes lines to standard error, then dies.
#[procession::task]
fn complain_and_die(lines: u32) {
    for line in 0..lines {
        eprintln!("complaint {line}");
    }
    std::process::abort();
}

/// Writes a line to both outputs.
#[procession::task]
fn say(x: i64) -> i64 {
    println!("out {x}");
    eprintln!("err {x}");
    x
}

/// Writes so many bytes to stderr.
#[procession::task]
fn write_errors(bytes: u64) -> u64 {
    std::io::copy(&mut std::io::repeat(b'x').take(bytes), &mut std::io::stderr()).unwrap()
}

#[procession::task]
fn sleep_ms(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

procession_harness::cases! {
    fn environment_is_set_in_workers_alone() {
        both(1, |builder| {
            let pool = builder.env(VARIABLE, "ochre").build().unwrap();
            let colour = || pool.apply(variable, (VARIABLE.to_owned(),)).unwrap();
            assert_eq!(colour().as_deref(), Some("ochre"));
            assert_eq!(pool.apply(crash, ()).unwrap_err().kind(), ErrorKind::WorkerLost);
            assert_eq!(colour().as_deref(), Some("ochre"), "in replacements too");
            assert_eq!(std::env::var(VARIABLE).ok(), None);
            pool.close().unwrap();
        });
        both(1, |builder| {
            let pool = builder.build().unwrap();
            assert_eq!(pool.apply(variable, (VARIABLE.to_owned(),)).unwrap(), None);
            pool.close().unwrap();
        });
    }

    fn niceness_is_added() {
        both(1, |builder| {
            let before = niceness();
            let pool = builder.nice(3).build().unwrap();
            assert_eq!(pool.apply(niceness, ()).unwrap(), (before + 3).min(19));
            assert_eq!(pool.apply(crash, ()).unwrap_err().kind(), ErrorKind::WorkerLost);
            assert_eq!(pool.apply(niceness, ()).unwrap(), (before + 3).min(19));
            assert_eq!(niceness(), before);
            pool.close().unwrap();
        });
    }

    fn workers_keep_to_their_cores() {
        let cores = || status("Cpus_allowed_list".to_owned());
        let mine = cores();
        let one: usize = mine.split([',', '-']).next().unwrap().parse().unwrap();
        both(2, |builder| {
            let pool = builder.cpu_affinity(vec![vec![one]]).build().unwrap();
            let field = || "Cpus_allowed_list".to_owned();
            assert_eq!(pool.apply(status, (field(),)).unwrap(), one.to_string());
            assert_eq!(pool.apply(crash, ()).unwrap_err().kind(), ErrorKind::WorkerLost);
            let all = pool.map(status.chunk_size(1), (0..20).map(|_| field())).unwrap();
            assert!(all.iter().all(|list| *list == one.to_string()), "{all:?}");
            assert_eq!(cores(), mine, "the master's own are untouched");
            pool.close().unwrap();
        });
    }

    fn an_error_repeats_the_last_words() {
        both(1, |builder| {
            let pool = builder.output(Output::Capture).build().unwrap();
            let error = pool.apply(complain_and_die, (3,)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WorkerLost);
            assert_eq!(error.stderr_tail(), Some("complaint 0\ncomplaint 1\ncomplaint 2\n"));
            let error = pool.apply(complain_and_die, (10_000,)).unwrap_err();
            let tail = error.stderr_tail().expect("there is output");
            assert!(tail.len() <= 8 << 10, "{} bytes", tail.len());
            assert!(tail.ends_with("complaint 9998\ncomplaint 9999\n"));
            assert_eq!(pool.apply(crash, ()).unwrap_err().stderr_tail().unwrap_or_default(), "", "the words of another");
            pool.close().unwrap();
        });
    }

    fn floods_of_output_stop_nobody() {
        for output in [Output::Capture, Output::Null] {
            both(2, |builder| {
                let pool = builder.output(output).build().unwrap();
                let flood = 20 << 20;
                let floods: Vec<_> = (0..2).map(|_| pool.apply_async(faults::stderr_flood, (flood,))).collect();
                assert_eq!(kinds(floods), [Ok(flood), Ok(flood)]);
                assert_eq!(pool.map(say, 0..100).unwrap(), (0..100).collect::<Vec<i64>>());
                pool.close().unwrap();
            });
        }
    }

    fn output_reaches_the_program_that_inherits_it() {
        both(1, |builder| {
            let pool = builder.output(Output::Inherit).build().unwrap();
            assert_eq!(pool.map(say, 0..5).unwrap(), [0, 1, 2, 3, 4]);
            let error = pool.apply(complain_and_die, (1,)).unwrap_err();
            assert!(error.stderr_tail().is_some_and(|tail| tail.ends_with("complaint 0\n")));
            pool.close().unwrap();
        });
    }

    fn a_listener_is_told_what_workers_print() {
        both(2, |builder| {
            let heard = Arc::new(Mutex::new(String::new()));
            let ears = Arc::clone(&heard);
            let listener = move |printed: &Printed| match printed {
                Printed::Text { text, .. } => ears.lock().unwrap().push_str(&String::from_utf8_lossy(text)),
                other => panic!("{other:?}"),
            };
            let pool = builder.output(Output::Capture).on_output(listener).build().unwrap();
            let texts = ["one\n", "two\n", "three\nfour\n"].map(str::to_owned);
            assert_eq!(pool.map(faults::print, texts).unwrap(), [4, 4, 11]);
            pool.apply(faults::print, ("no end".to_owned(),)).unwrap();
            pool.close().unwrap();
            let heard = heard.lock().unwrap();
            let mut lines: Vec<&str> = heard.split_inclusive('\n').collect();
            lines.sort_unstable();
            assert_eq!(lines, ["four\n", "no end\n", "one\n", "three\n", "two\n"]);
        });
    }

    fn pids_are_those_of_the_workers() {
        both(3, |builder| {
            let pool = builder.build().unwrap();
            let pids: BTreeSet<u32> = pool.worker_pids().into_iter().collect();
            assert_eq!(pids.len(), 3);
            let handles: Vec<_> = (0..50).map(|_| pool.apply_async(own_pid, ())).collect();
            for pid in outcomes(handles) {
                assert!(pids.contains(&pid.unwrap()));
            }
            assert_eq!(pool.apply(square, (3,)).unwrap(), 9);
            pool.close().unwrap();
            assert!(pool.worker_pids().is_empty());
        });
    }

    fn nobody_reads_our_stderr() {
        let (unread, stderr) = nix::unistd::pipe().unwrap();
        let saved = nix::unistd::dup(std::io::stderr()).unwrap();
        nix::unistd::dup2_stderr(&stderr).unwrap();
        drop(stderr);
        // Far more than a pipe holds. The workers are not held up by it, and neither are time limits.
        let pool = Pool::builder().workers(2).build().unwrap();
        let flooded = pool.map(write_errors, [1 << 20; 4]).map(|sizes| sizes.len());
        let late = pool.apply(sleep_ms.timeout(Duration::from_millis(50)), (600_000,)).unwrap_err();
        let closed = pool.close();
        nix::unistd::dup2_stderr(&saved).unwrap();
        drop(unread);
        assert_eq!(flooded.unwrap(), 4);
        assert_eq!(late.kind(), ErrorKind::TimedOut);
        closed.unwrap();
    }
}
