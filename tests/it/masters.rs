//! Masters that end: no worker outlives them, whatever the start method and the signal.

use std::io::{BufRead, BufReader};
use std::sync::mpsc::channel;

use procession::{Event, Pool, StartMethod};
use procession_harness::{Ledger, Signal, alive, parent_of, send_signal, start_part, wait_until};

use crate::scenes::{LIMIT, wait_lines};
use crate::tasks::{pid_at_gate, square};

/// A master's death reaches its workers within this time.
const DEATH_LIMIT: std::time::Duration = std::time::Duration::from_secs(2);

/// The start method that a part is to use.
const METHOD: &str = "PROCESSION_TEST_METHOD";

const METHODS: [(&str, StartMethod); 3] =
    [("forkserver", StartMethod::ForkServer), ("spawn", StartMethod::Spawn), ("fork", StartMethod::Fork)];

/// A pool of the method that the test wants, once every worker is ready: one that is being started has a directory,
/// which nobody can remove if its master is killed.
fn whole_pool() -> Pool {
    let method = std::env::var(METHOD).expect("the test sets it");
    let (_, method) = METHODS.into_iter().find(|(name, _)| *name == method).expect("a start method");
    let (sender, ready) = channel();
    let pool = Pool::builder()
        .workers(3)
        .start_method(method)
        .on_event(move |event| {
            if let Event::WorkerReady { .. } = event {
                // Replacements are none of its business.
                let _ = sender.send(());
            }
        })
        .build()
        .unwrap();
    (0..3).for_each(|_| ready.recv_timeout(LIMIT).expect("each worker gets ready"));
    pool
}

procession_harness::parts! {
    /// Says which processes its pool has, and waits for calls that never end.
    fn busy_master() {
        let pool = whole_pool();
        let ledger = Ledger::new(&format!("busy-{}", std::process::id()));
        // A gate that nobody opens, and that is not left behind.
        let rows = std::iter::repeat_with(|| (ledger.path(), "/".to_owned())).take(2);
        let calls = pool.starmap_async(pid_at_gate.chunk_size(1), rows);
        let mut pids: Vec<u32> = wait_lines(&ledger, 2).iter().map(|pid| pid.parse().unwrap()).collect();
        drop(ledger);
        pids.extend(pool.worker_pids());
        pids.extend(parent_of(pids[0]).filter(|pid| *pid != std::process::id()));
        println!("{pids:?}");
        drop(calls.get());
    }

    /// Says which processes its pool has, and keeps them busy with small items.
    fn streaming_master() {
        let pool = whole_pool();
        let mut results = pool.imap(square, 0..);
        assert_eq!(results.by_ref().take(1000).filter(Result::is_ok).count(), 1000);
        let mut pids = pool.worker_pids();
        pids.extend(parent_of(pids[0]).filter(|pid| *pid != std::process::id()));
        println!("{pids:?}");
        assert!(results.all(|result| result.is_ok()));
    }
}

fn check(part: &str, method: &str, signal: Signal) {
    let mut master = start_part(part, &[(METHOD, method)]);
    let mut line = String::new();
    let mut stdout = BufReader::new(master.stdout.take().expect("it is piped"));
    stdout.read_line(&mut line).unwrap();
    let pids: Vec<u32> =
        line.split(|other: char| !other.is_ascii_digit()).filter_map(|pid| pid.parse().ok()).collect();
    assert!(pids.len() >= 3, "{part} with {method} says: {line}");
    assert!(pids.iter().all(|pid| alive(*pid)), "{pids:?}");
    send_signal(master.id(), signal);
    master.wait().unwrap();
    let left = || pids.iter().copied().filter(|pid| alive(*pid)).collect::<Vec<_>>();
    assert!(wait_until(DEATH_LIMIT, || left().is_empty()), "{method}, {signal}: {:?} live on", left());
}

procession_harness::cases! {
    fn busy_workers_die_with_their_master() {
        for (method, _) in METHODS {
            for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT] {
                check("busy_master", method, signal);
            }
        }
    }

    fn streaming_workers_die_with_their_master() {
        for (method, _) in METHODS {
            for _ in 0..3 {
                check("streaming_master", method, Signal::SIGKILL);
            }
        }
    }
}
