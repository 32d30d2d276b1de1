//! The tasks that the tests call.

use std::time::Duration;

use procession_harness::{Ledger, Signal, parent_of, send_signal};

/// Takes a while.
#[procession::task(idempotent)]
pub(crate) fn square_slowly(x: u64, milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    x * x
}

/// Notes its start, takes a while, and tells who ran it. It starts once at most.
#[procession::task]
pub(crate) fn once(ledger: String, x: u64, milliseconds: u64) -> u64 {
    Ledger::note(ledger, x);
    std::thread::sleep(Duration::from_millis(milliseconds));
    x
}

/// Notes which agent starts it, and takes a while. It starts once at most.
#[procession::task]
pub(crate) fn once_somewhere(ledger: String, milliseconds: u64) -> u64 {
    Ledger::note(ledger, std::env::var("AGENT").expect("the agent says who it is"));
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

/// Notes what time it is, and takes a while.
#[procession::task(idempotent)]
pub(crate) fn clocked(ledger: String, x: u64, milliseconds: u64) -> u64 {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later than 1970");
    Ledger::note(ledger, now.as_secs());
    std::thread::sleep(Duration::from_millis(milliseconds));
    x
}

/// Some of these panic, others cost their worker.
#[procession::task(idempotent)]
pub(crate) fn frail(x: u64) -> u64 {
    match x % 10 {
        3 => panic!("{x} is odd in its way"),
        7 => procession_harness::send_signal(std::process::id(), Signal::SIGKILL),
        _ => {}
    }
    x + 1
}

/// As many bytes as are asked for, and what was sent.
#[procession::task(idempotent)]
pub(crate) fn inflate(bytes: Vec<u8>, to: usize) -> Vec<u8> {
    let first = bytes.first().copied().unwrap_or_default();
    vec![first; to]
}

/// Kills the agent that runs it, if it is the bad one.
#[procession::task(idempotent)]
pub(crate) fn poison(x: u64, bad: u64) -> u64 {
    if x == bad {
        // The worker's parent may be a server of workers; above it is the agent.
        let agent: u32 = std::env::var("AGENT").expect("the agent says who it is").parse().expect("a number");
        assert!(parent_of(std::process::id()).is_some());
        send_signal(agent, Signal::SIGKILL);
        std::thread::sleep(Duration::from_secs(60));
    }
    x
}
