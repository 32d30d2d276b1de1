//! A few seconds of chaos, as the program runs them by the hour.

use std::process::Command;

#[test]
fn a_few_seconds_break_no_invariant() {
    let output = Command::new(env!("CARGO_BIN_EXE_procession-chaos"))
        .args(["--seconds", "3", "--seed", "7"])
        .output()
        .expect("the program was built for this test");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}\n{complaints}", output.status);
    assert!(said.starts_with("chaos: seed 7\n"), "{said}");
    let verdict = said.lines().last().unwrap_or_default();
    assert!(verdict.ends_with(" 0 lost, 0 duplicated, 0 blamed wrongly: ok"), "{said}");
    // It did something.
    assert!(!verdict.contains(" 0 faults injected"), "{verdict}");
}

#[test]
fn wrong_arguments_are_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_procession-chaos"))
        .args(["--workers", "0"])
        .output()
        .expect("the program was built for this test");
    assert_eq!(output.status.code(), Some(2));
}
