//! SIGUSR1: what each worker is doing.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use procession_harness::wait_until;

use crate::program::{procession, start, within};

/// Nothing of a test takes so long.
const LIMIT: Duration = Duration::from_secs(60);

/// Whether a process catches SIGUSR1, which ends it otherwise.
fn catches(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (Signal::SIGUSR1 as u32 - 1) & 1 == 1
}

procession_harness::cases! {
    fn a_run_says_what_it_is_doing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let rows = within(&folder, "rows.jsonl");
        std::fs::write(&rows, "0\n\"no\"\n600\n\"no\"\n600\n").expect("the rows are written");
        let words = ["map", "faults::sleep", "-j", "3", "--chunk-size", "1", "--jsonl", &rows, "--skip-invalid"];
        let mut running = start(procession(&words));
        assert_eq!(running.line(), "0.0");
        let mut report = String::new();
        let answered = wait_until(LIMIT, || {
            running.signal(Signal::SIGUSR1);
            let said = running.said();
            let last = said.rfind("worker 0: ").unwrap_or_default();
            report = said[last..].to_owned();
            // When the first value comes the last ones are on their way to their workers, and one worker may still be starting.
            let is_settled = report.matches(", item ").count() == 2 && report.contains(", idle; ");
            is_settled && report.contains(" invalid input) after ")
        });
        assert!(answered, "{report}");
        // Numbers are those of the input: rows without arguments count.
        for item in ["item 2 for ", "item 4 for "] {
            assert!(report.contains(item), "{report}");
        }
        let lines: Vec<&str> = report.lines().filter(|line| line.starts_with("worker ")).collect();
        assert_eq!(lines.len(), 3, "{report}");
        assert!(lines.iter().all(|line| line.contains(": pid ") && line.contains(" done, peak ")), "{report}");
        assert_eq!(lines.iter().filter(|line| line.contains(", idle; ")).count(), 1, "{report}");
        let tally = "3 items, 1 value, 2 without (2 invalid input) after ";
        assert!(report.contains(tally), "wanted {tally} in:\n{report}");
        running.signal(Signal::SIGTERM);
        running.wait_for("once more to stop it");
        running.signal(Signal::SIGTERM);
        assert_eq!(running.finish().signal(), Some(Signal::SIGTERM));
    }

    fn a_run_that_waits_for_input_answers() {
        let mut command = procession(&["exec", "-j", "1", "--skip-invalid", "--", "echo"]);
        command.stdin(Stdio::piped());
        let mut running = start(command);
        assert!(wait_until(LIMIT, || catches(running.pid())), "it does not catch the signal");
        let answered = wait_until(LIMIT, || {
            running.signal(Signal::SIGUSR1);
            let said = running.said();
            said.contains("worker 0: pid ") && said.contains(", idle; 0 done")
        });
        let said = running.said();
        assert!(answered && said.contains("echo: 0 items, 0 values after "), "{said}");
        running.signal(Signal::SIGKILL);
        assert_eq!(running.finish().signal(), Some(Signal::SIGKILL));
    }

    fn a_run_that_has_not_begun_is_not_ended_by_a_question() {
        // Standard input is read to its end first.
        let mut command = procession(&["map", "square", "--jsonl", "-"]);
        command.stdin(Stdio::piped());
        let mut running = start(command);
        assert!(wait_until(LIMIT, || catches(running.pid())), "it does not catch the signal");
        running.signal(Signal::SIGUSR1);
        running.close_stdin();
        let end = running.finish();
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
    }
}
