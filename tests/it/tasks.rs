//! The tasks that the tests of several subjects call. Each does one thing, and knows nothing of who calls it.

use procession_harness::{Gate, Ledger};
use procession_tasks::faults;

/// The ways to die, with how each is told.
pub(crate) const DEATHS: [(&str, &str); 5] = [
    ("segv", "signal 11 (SIGSEGV)"),
    ("abort", "signal 6 (SIGABRT)"),
    ("kill", "signal 9 (SIGKILL)"),
    ("exit0", "exit status 0"),
    ("exit3", "exit status 3"),
];

/// Ends this process.
pub(crate) fn die(how: &str) {
    match how {
        "segv" => faults::segv(),
        "abort" => faults::abort(),
        "kill" => faults::kill_self(),
        "exit0" => faults::exit(0),
        "exit3" => faults::exit(3),
        _ => panic!("no way to die is named `{how}`"),
    }
}

/// Notes its start, and dies if it is bad.
#[procession::task]
pub(crate) fn risky(path: String, x: i64, bad: Vec<i64>, how: String) -> i64 {
    Ledger::note(path, x);
    if bad.contains(&x) {
        die(&how);
    }
    3 * x
}

/// Notes its start, and dies if it is bad and this is its first attempt.
#[procession::task(idempotent)]
pub(crate) fn risky_at_first(path: String, x: i64, bad: Vec<i64>, how: String) -> i64 {
    Ledger::note(path, x);
    let attempt = procession::current().expect("this is a task").attempt();
    if bad.contains(&x) && attempt == 1 {
        die(&how);
    }
    3 * x
}

/// Notes its start, and dies if it is bad, at every attempt.
#[procession::task(idempotent)]
pub(crate) fn risky_always(path: String, x: i64, bad: Vec<i64>, how: String) -> i64 {
    Ledger::note(path, x);
    if bad.contains(&x) {
        die(&how);
    }
    3 * x
}

/// Notes its process and waits at the gate; its process.
#[procession::task]
pub(crate) fn pid_at_gate(path: String, gate: String) -> u32 {
    Ledger::note(path, std::process::id());
    Gate::pass(gate);
    std::process::id()
}

/// As [`pid_at_gate`], and may be run again.
#[procession::task(idempotent)]
pub(crate) fn pid_at_gate_again(path: String, gate: String) -> u32 {
    Ledger::note(path, std::process::id());
    Gate::pass(gate);
    std::process::id()
}

#[procession::task]
pub(crate) fn own_pid() -> u32 {
    std::process::id()
}

#[procession::task]
pub(crate) fn square(x: i64) -> i64 {
    x * x
}

/// Notes its start; its argument.
#[procession::task]
pub(crate) fn note(path: String, x: i64) -> i64 {
    Ledger::note(path, x);
    x
}
