//! The README is what a person would type and see, so it is run; and what it says of memory is measured.

use std::process::Command;
use std::time::Duration;

/// Only so that a program that hangs ends: it takes a moment.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn readme_tells_what_happens() {
    trycmd::TestCases::new().env("NO_COLOR", "1").timeout(LIMIT).case("README.md");
}

#[test]
fn all_processes_together_hold_less_than_two_tables() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_shared-table"));
    let output = program.args(["64", "8"]).output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    for (line, how) in lines.iter().zip(["preload", "share"]) {
        assert!(line.starts_with(&format!("{how}: 64 MiB, read by 8 workers: ")), "{line}");
        let figure = |after: &str| {
            let before = line.split(after).next().expect("a part");
            before
                .rsplit(' ')
                .next()
                .and_then(|word| word.parse::<u64>().ok())
                .unwrap_or_else(|| panic!("{line}"))
        };
        let (mapped, held) = (figure(" MiB mapped"), figure(" MiB held"));
        assert!(mapped >= 8 * 64, "every worker has read it all: {line}");
        assert!((64..128).contains(&held), "{line}");
    }
}
