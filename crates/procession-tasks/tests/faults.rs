//! Each fault ends a process the way it says. The process is this test program, started again for one test.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use procession_tasks::faults;

/// Names the fault that the child process is to commit.
const FAULT: &str = "PROCESSION_TEST_FAULT";

#[test]
fn commits_the_fault_it_was_started_for() {
    let Ok(fault) = std::env::var(FAULT) else { return };
    match fault.as_str() {
        "abort" => faults::abort(),
        "segv" => faults::segv(),
        "exit" => faults::exit(3),
        "kill_self" => faults::kill_self(),
        "panic" => faults::panic(),
        "stderr_flood" => assert_eq!(faults::stderr_flood(1_000_003), 1_000_003),
        how => assert_eq!(faults::die_every(40, 20, how.trim_start_matches("die_every ").to_owned()), 0),
    }
}

fn commit(fault: &str) -> Output {
    let program = std::env::current_exe().expect("a running program has a path");
    Command::new(program)
        .args(["--exact", "commits_the_fault_it_was_started_for", "--nocapture"])
        .env(FAULT, fault)
        .output()
        .expect("the program starts again")
}

#[track_caller]
fn check_signal(fault: &str, signal: i32) {
    let output = commit(fault);
    assert_eq!(output.status.signal(), Some(signal), "{fault}: {output:?}");
}

#[track_caller]
fn check_code(fault: &str, code: i32) {
    let output = commit(fault);
    assert_eq!(output.status.code(), Some(code), "{fault}: {output:?}");
}

#[test]
fn faults_end_the_process_by_their_signal() {
    check_signal("abort", libc::SIGABRT);
    check_signal("segv", libc::SIGSEGV);
    check_signal("kill_self", libc::SIGKILL);
    check_signal("die_every abort", libc::SIGABRT);
    check_signal("die_every segv", libc::SIGSEGV);
    check_signal("die_every kill", libc::SIGKILL);
}

#[test]
fn exits_end_the_process_by_their_code() {
    check_code("exit", 3);
    check_code("die_every exit0", 0);
}

#[test]
fn panics_end_only_the_call() {
    for (fault, message) in [
        ("panic", "this task panics on purpose"),
        ("die_every panic", "40 is a multiple of 20"),
        (
            "die_every of boredom",
            "no way to die is named `of boredom`: say segv, abort, kill, exit0 or panic",
        ),
    ] {
        let output = commit(fault);
        assert_eq!(
            output.status.code(),
            Some(101),
            "{fault}: the test harness lives to report it: {output:?}"
        );
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(message), "{fault}: {stderr}");
    }
}

#[test]
fn die_every_spares_the_others() {
    for how in ["segv", "abort", "kill", "exit0", "panic"] {
        assert_eq!(faults::die_every(41, 20, how.to_owned()), 41);
        assert_eq!(faults::die_every(0, 0, how.to_owned()), 0);
    }
}

#[test]
fn a_flood_has_exactly_the_size_it_was_asked_for() {
    let output = commit("stderr_flood");
    assert!(output.status.success(), "{:?}", output.status);
    assert_eq!(output.stderr.len(), 1_000_003);
    assert!(output.stderr.ends_with(b"\n"));
}

#[test]
fn leaked_memory_is_really_used() {
    let resident_pages = || -> u64 {
        let statm = fs::read_to_string("/proc/self/statm").expect("Linux tells a process its own size");
        statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second field is a number")
    };
    let before = resident_pages();
    assert_eq!(faults::leak(64 << 20), 64 << 20);
    let grown = (resident_pages() - before) * 4096;
    assert!(grown > 60 << 20, "grew by {grown} bytes");
}

#[test]
fn impossible_times_are_named() {
    let panic = std::panic::catch_unwind(|| faults::sleep(-1.0)).expect_err("time does not run backwards");
    let message = panic.downcast_ref::<String>().expect("the message is formatted");
    assert!(message.starts_with("-1 s: "), "{message}");
}
