//! Ctrl-C and SIGTERM: once drains, twice stops, three times kills; the program dies of the signal it was sent.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use procession_harness::{RUN_VARIABLE, processes_with, wait_until};

use crate::program::{Running, procession, start, within};

/// Nothing of a test takes so long.
const LIMIT: Duration = Duration::from_secs(60);
/// A second signal is heard, and a third one ends the program, within this time.
const HEAR_LIMIT: Duration = Duration::from_secs(1);
/// What workers have between SIGTERM and SIGKILL, unless the pool is told otherwise.
const GRACE: Duration = Duration::from_secs(2);

/// A run in which one item is done and two others do not hear SIGTERM.
fn deaf() -> Running {
    let words = ["map", "faults::deaf", "-j", "2", "--chunk-size", "1", "0", "600", "600", "600"];
    let mut running = start(procession(&words));
    assert_eq!(running.line(), "0.0");
    let run = std::env::var(RUN_VARIABLE).expect("the test is marked");
    let ignores = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        mask >> (Signal::SIGTERM as u32 - 1) & 1 == 1
    };
    let are_deaf = || processes_with(RUN_VARIABLE, &run).iter().filter(|pid| ignores(pid)).count() == 2;
    assert!(wait_until(LIMIT, are_deaf), "they still hear");
    running
}

procession_harness::cases! {
    fn the_first_signal_drains() {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            // A first item tells that the run is under way; the others would take a minute.
            let mut words = vec!["map", "faults::sleep", "-j", "2", "--chunk-size", "1", "0"];
            words.extend(["0.3"; 400]);
            let mut running = start(procession(&words));
            assert_eq!(running.line(), "0.0");
            running.signal(signal);
            running.wait_for("finishing what runs");
            let end = running.finish();
            assert_eq!(end.signal(), Some(signal), "{}", end.stderr);
            // What ran has its value, what did not is counted, and nothing was lost.
            let values = end.lines().len() + 1;
            assert!(values < 100, "{values} items ran");
            assert!(end.lines().iter().all(|line| *line == "0.3"));
            let summary = format!("401 items, {values} values, {} without ({0} not run)", 401 - values);
            assert!(end.stderr.contains(&summary), "wanted {summary} in:\n{}", end.stderr);
            assert!(!end.stderr.contains("worker lost"), "{}", end.stderr);
        }
    }

    fn the_second_signal_stops() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let failed = within(&folder, "failed.jsonl");
        let mut words = vec!["map", "faults::sleep", "-j", "2", "--chunk-size", "1", "--failures", &failed];
        words.extend(["0", "600", "600", "600"]);
        let mut running = start(procession(&words));
        assert_eq!(running.line(), "0.0");
        running.signal(Signal::SIGTERM);
        running.wait_for("SIGTERM: finishing what runs");
        running.signal(Signal::SIGTERM);
        running.wait_for("stopping what runs");
        let end = running.finish();
        assert_eq!(end.signal(), Some(Signal::SIGTERM), "{}", end.stderr);
        // What had begun was stopped, what had not did not run: the file and the summary say the same.
        let failed = std::fs::read_to_string(&failed).expect("the failures were written");
        assert_eq!(failed.lines().count(), 3, "{failed}");
        for line in failed.lines() {
            let failure: serde_json::Value = serde_json::from_str(line).expect("a failure is a JSON line");
            let wanted = if failure["attempts"] == 0 { "not_run" } else { "terminated" };
            assert_eq!(failure["outcome"], wanted, "{line}");
        }
        let count = |outcome: &str| failed.matches(&format!("\"outcome\":\"{outcome}\"")).count();
        let kinds = match (count("not_run"), count("terminated")) {
            (not_run, 0) => format!("{not_run} not run"),
            (not_run, stopped) => format!("{not_run} not run, {stopped} stopped while running"),
        };
        let summary = format!("4 items, 1 value, 3 without ({kinds})");
        assert!(end.stderr.contains(&summary), "wanted {summary} in:\n{}", end.stderr);
    }

    fn the_third_signal_kills() {
        let words = ["map", "faults::sleep", "-j", "1", "--chunk-size", "1", "0", "600"];
        let mut running = start(procession(&words));
        assert_eq!(running.line(), "0.0");
        running.signal(Signal::SIGINT);
        running.wait_for("finishing what runs");
        running.signal(Signal::SIGINT);
        running.signal(Signal::SIGINT);
        assert_eq!(running.finish().signal(), Some(Signal::SIGINT));
    }

    fn the_second_signal_is_heard_at_once_and_kills_what_does_not_hear_it() {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let mut running = deaf();
            running.signal(signal);
            running.wait_for("finishing what runs");
            let second = Instant::now();
            running.signal(signal);
            running.wait_for("stopping what runs");
            assert!(second.elapsed() < HEAR_LIMIT, "{:?}", second.elapsed());
            let end = running.finish();
            assert!(second.elapsed() < GRACE + HEAR_LIMIT, "{:?}: {}", second.elapsed(), end.stderr);
            assert_eq!(end.signal(), Some(signal), "{}", end.stderr);
            let summary = "4 items, 1 value, 3 without (1 not run, 2 stopped while running)";
            assert!(end.stderr.contains(summary), "wanted {summary} in:\n{}", end.stderr);
        }
    }

    fn the_second_signal_ends_at_once_what_hears_it() {
        let words = ["map", "faults::sleep", "-j", "2", "--chunk-size", "1", "0", "600", "600", "600"];
        let mut running = start(procession(&words));
        assert_eq!(running.line(), "0.0");
        running.signal(Signal::SIGTERM);
        running.wait_for("finishing what runs");
        let second = Instant::now();
        running.signal(Signal::SIGTERM);
        let end = running.finish();
        assert!(second.elapsed() < HEAR_LIMIT, "{:?}: {}", second.elapsed(), end.stderr);
        assert_eq!(end.signal(), Some(Signal::SIGTERM), "{}", end.stderr);
    }

    fn the_third_signal_waits_for_nobody() {
        let mut running = deaf();
        running.signal(Signal::SIGINT);
        running.wait_for("finishing what runs");
        running.signal(Signal::SIGINT);
        running.wait_for("stopping what runs");
        let third = Instant::now();
        running.signal(Signal::SIGTERM);
        // That its workers go, too, the harness sees.
        let end = running.finish();
        assert!(third.elapsed() < HEAR_LIMIT, "{:?}: {}", third.elapsed(), end.stderr);
        assert_eq!(end.signal(), Some(Signal::SIGTERM), "{}", end.stderr);
    }

    fn a_signal_before_anything_runs_ends_the_program() {
        // Standard input is still being read: nothing has started, and one signal is enough.
        let mut command = procession(&["map", "square", "--jsonl", "-"]);
        command.stdin(std::process::Stdio::piped());
        let running = start(command);
        running.signal(Signal::SIGTERM);
        let end = running.finish();
        assert_eq!(end.signal(), Some(Signal::SIGTERM), "{}", end.stderr);
        assert_eq!(end.stdout, "");
    }
}
