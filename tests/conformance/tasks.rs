//! The tasks that the tests of several sections call. Each does one thing, and knows nothing of who calls it.

use std::time::Duration;

use procession_harness::{Gate, Ledger};

/// Its argument.
#[procession::task]
pub(crate) fn echo(x: i64) -> i64 {
    x
}

#[procession::task]
pub(crate) fn square(x: i64) -> i64 {
    x * x
}

#[procession::task]
pub(crate) fn multiply(x: i64, y: i64) -> i64 {
    x * y
}

/// Runs for `ms` milliseconds; its argument.
#[procession::task]
pub(crate) fn sleep_ms(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

/// Panics with this message.
#[procession::task]
pub(crate) fn fail(message: String) -> i64 {
    panic!("{message}")
}

/// Panics for this argument, else gives it back.
#[procession::task]
pub(crate) fn fail_at(x: i64, bad: Vec<i64>) -> i64 {
    assert!(!bad.contains(&x), "{x} is bad");
    x
}

/// Ends its process without a reply.
#[procession::task]
pub(crate) fn crash() -> i64 {
    std::process::abort()
}

/// The worker's process id.
#[procession::task]
pub(crate) fn own_pid() -> u32 {
    std::process::id()
}

/// Notes its start in the ledger; its argument.
#[procession::task]
pub(crate) fn note(path: String, x: i64) -> i64 {
    Ledger::note(path, x);
    x
}

/// Notes its start in the ledger, then runs for `ms` milliseconds; its argument.
#[procession::task]
pub(crate) fn note_and_sleep(path: String, x: i64, ms: u64) -> i64 {
    Ledger::note(path, x);
    std::thread::sleep(Duration::from_millis(ms));
    x
}

/// Notes its start in the ledger, then runs until the file `gate` exists; its argument.
#[procession::task]
pub(crate) fn note_and_wait(path: String, x: i64, gate: String) -> i64 {
    Ledger::note(path, x);
    while !std::path::Path::new(&gate).exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    x
}

/// Notes its process in the ledger and waits at the gate; its process.
#[procession::task]
pub(crate) fn pid_at_gate(path: String, gate: String) -> u32 {
    Ledger::note(path, std::process::id());
    Gate::pass(gate);
    std::process::id()
}

/// The bytes it was given.
#[procession::task]
pub(crate) fn echo_bytes(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}
