//! Run directories and what may change between two sessions: the input, the task, what is made of the values.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::program::{Finished, procession, run, start, within};

/// How often each item was begun.
fn starts(ledger: &str) -> BTreeMap<u64, u32> {
    let mut starts = BTreeMap::new();
    for line in fs::read_to_string(ledger).unwrap_or_default().lines() {
        *starts.entry(line.parse().expect("a line is an item")).or_default() += 1;
    }
    starts
}

/// Rows that note their start and take so long: a file, and the ledger.
fn rows(folder: &TempDir, items: impl Iterator<Item = u64>, seconds: f64) -> (String, String) {
    let (file, ledger) = (within(folder, "rows.jsonl"), within(folder, "ledger"));
    let rows: String = items.map(|item| format!("[{ledger:?}, {item}, {seconds}]\n")).collect();
    fs::write(&file, rows).expect("the folder can be written");
    (file, ledger)
}

/// Begins a run over these rows and ends it by a signal once so many have begun.
fn cut_off(words: &[&str], ledger: &str, begun: usize, signal: Signal) -> Finished {
    let running = start(procession(words));
    let reached = procession_harness::wait_until(Duration::from_secs(60), || starts(ledger).len() >= begun);
    assert!(reached, "the run does not go on");
    running.signal(signal);
    running.finish()
}

/// What the run store says: outcome by item.
fn outcomes(dir: &str) -> BTreeMap<u64, String> {
    let reader = procession_store::Reader::open(dir.as_ref()).expect("there is a run");
    let items = reader.page(0, u32::MAX).expect("the store can be read");
    items.into_iter().map(|item| (item.index, item.outcome.into_owned())).collect()
}

fn check(end: &Finished, code: i32) {
    assert_eq!(end.code(), Some(code), "{}", end.stderr);
}

fn refused(end: &Finished, told: &str) {
    check(end, 2);
    assert!(end.stderr.contains(told) && end.stdout.is_empty(), "{}", end.stderr);
}

procession_harness::cases! {
    fn what_a_killed_master_left_stays_unknown_in_a_changed_input() {
        const ITEMS: u64 = 400;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (file, ledger) = rows(&folder, 0..ITEMS, 5e-3);
        let dir = within(&folder, "run");
        let words = ["starmap", "faults::note", "--jsonl", &file, "-j", "2", "--run-dir", &dir, "--no-progress"];
        cut_off(&words, &ledger, 50, Signal::SIGKILL);
        let before = outcomes(&dir);
        // Backwards: nobody can tell any more which items the master had handed out.
        rows(&folder, (0..ITEMS).rev(), 5e-3);
        let accepting = [&words[..], &["--resume", "--accept-changes"]].concat();
        refused(&run(&accepting), "nobody can tell which they are once the input is another");
        refused(&run(&[&words[..], &["--resume"]].concat()), "of the input has other arguments now");
        assert_eq!(outcomes(&dir), before, "nothing has changed");
        rows(&folder, 0..ITEMS, 5e-3);
        let resuming = [&words[..], &["--resume"]].concat();
        cut_off(&resuming, &ledger, 150, Signal::SIGINT);
        let unknown = outcomes(&dir).values().filter(|outcome| *outcome == "unknown").count();
        assert!(unknown > 0, "what was running when the master was killed");
        rows(&folder, (0..ITEMS + 1).rev(), 5e-3);
        let end = run(&accepting);
        check(&end, 1);
        let outcomes = outcomes(&dir);
        assert!(outcomes.keys().copied().eq(0..=ITEMS));
        assert_eq!(outcomes.values().filter(|outcome| *outcome == "unknown").count(), unknown);
        assert!(starts(&ledger).values().all(|starts| *starts == 1), "an item was begun twice");
    }

    fn a_change_among_items_without_an_outcome_is_noticed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (file, ledger) = rows(&folder, 0..400, 5e-3);
        let dir = within(&folder, "run");
        for more in [&[][..], &["--skip-invalid"]] {
            let dir = format!("{dir}{}", more.len());
            let words = [&["starmap", "faults::note", "--jsonl", &file, "-j", "2", "--run-dir", &dir, "--no-progress"], more].concat();
            let begun = starts(&ledger).len();
            rows(&folder, (0..400).map(|item| item + begun as u64), 5e-3);
            cut_off(&words, &ledger, begun + 20, Signal::SIGINT);
            rows(&folder, (0..399).map(|item| item + begun as u64).chain([9_999]), 5e-3);
            refused(&run(&[&words[..], &["--resume"]].concat()), "items of the input that have no outcome yet have other arguments now");
            // Another number of rows needs no arguments to be told.
            rows(&folder, 0..398, 5e-3);
            refused(&run(&[&words[..], &["--resume"]].concat()), "the input has 398 items now, and had 400");
        }
    }

    fn a_row_that_became_malformed_is_a_change_and_one_that_was_mended_is_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (file, dir) = (within(&folder, "lines.txt"), within(&folder, "run"));
        let words = ["map", "square", "--each-line", &file, "--skip-invalid", "--run-dir", &dir, "--quiet"];
        let resuming = [&words[..], &["--resume"]].concat();
        fs::write(&file, "1\nx\n3\n").expect("the folder can be written");
        check(&run(&words), 1);
        fs::write(&file, "one\nx\n3\n").expect("the folder can be written");
        refused(&run(&resuming), "item 0 of the input is malformed now");
        let kept = outcomes(&dir);
        assert_eq!(kept.values().map(String::as_str).collect::<Vec<_>>(), ["ok", "invalid_input", "ok"]);
        fs::write(&file, "1\n2\n3\n").expect("the folder can be written");
        for _ in 0..2 {
            let end = run(&resuming);
            check(&end, 0);
            assert_eq!(end.lines(), ["1", "4", "9"]);
        }
        // Now it has arguments, and others are a change.
        fs::write(&file, "1\n5\n3\n").expect("the folder can be written");
        refused(&run(&resuming), "item 1 of the input has other arguments now");
    }

    fn nothing_of_another_task_is_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = within(&folder, "run");
        check(&run(&["map", "square", "0", "0", "--run-dir", &dir]), 0);
        let end = run(&["map", "faults::sleep", "0", "0", "--run-dir", &dir, "--resume", "--accept-changes"]);
        check(&end, 0);
        assert!(end.stderr.contains("0 outcomes kept"), "{}", end.stderr);
    }

    fn a_reduction_that_is_added_reduces_every_value() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (spec, dir) = (within(&folder, "job.toml"), within(&folder, "run"));
        let text = "task = \"square\"\n[input]\nvalues = [1, 2, 3]\n";
        fs::write(&spec, text).expect("the folder can be written");
        let words = ["run", &spec, "--run-dir", &dir, "--quiet"];
        check(&run(&words), 0);
        fs::write(&spec, format!("reduce = \"sum\"\n{text}")).expect("the folder can be written");
        let end = run(&[&words[..], &["--resume", "--accept-changes"]].concat());
        check(&end, 0);
        assert_eq!(end.stdout.trim(), "14");
    }

    fn more_items_than_there_is_room_for_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (spec, dir) = (within(&folder, "job.toml"), within(&folder, "run"));
        let text = "task = \"square\"\n[input]\nrepeat = 9223372036854775808\nargs = [1]\n";
        fs::write(&spec, text).expect("the folder can be written");
        refused(&run(&["run", &spec, "--run-dir", &dir]), "a run directory has room for 9223372036854775807 items");
        assert!(!fs::exists(&dir).expect("it can be looked for"), "nothing was made");
        check(&run(&["map", "square", "1", "--run-dir", &dir]), 0);
        refused(&run(&["show", &dir, "18446744073709551615"]), "there is no item 18446744073709551615");
    }

    fn input_that_is_read_once_is_kept_beside_what_is_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lines = within(&folder, "lines");
        let with_input = |words: &[&str], text: &str| {
            fs::write(&lines, text).expect("the folder can be written");
            // Through a pipe: a file could be read again.
            let mut cat = Command::new("cat").arg(&lines).stdout(Stdio::piped()).spawn().expect("`cat` starts");
            let mut command = procession(words);
            command.stdin(cat.stdout.take().expect("it is piped"));
            let end = start(command).finish();
            cat.wait().expect("it is our child");
            end
        };
        let mode = |path: &str| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        for name in ["-", "/dev/stdin"] {
            let dir = within(&folder, &format!("run{}", name.len()));
            let words = ["map", "square", "--each-line", name, "--run-dir", &dir];
            // A refusal leaves no copy behind.
            refused(&with_input(&words, "7\nx\n"), &format!("{}:2:1: argument `x`", if name == "-" { "<stdin>" } else { name }));
            assert!(!fs::exists(format!("{dir}/input")).expect("it can be looked for"));
            assert_eq!(mode(&dir), 0o700);
            fs::write(format!("{dir}/input"), "mine").expect("the directory can be written");
            check(&with_input(&words, "7\n8\n"), 0);
            assert_eq!(fs::read_to_string(format!("{dir}/input")).expect("it is there"), "mine");
            assert_eq!(fs::read_to_string(format!("{dir}/stdin")).expect("it is there"), "7\n8\n");
            assert_eq!(mode(&format!("{dir}/stdin")), 0o600);
            refused(&with_input(&words, "9\n"), "has a run already");
            assert!(!fs::exists(format!("{dir}/stdin-2")).expect("it can be looked for"));
            let end = run(&[&words[..], &["--resume"]].concat());
            check(&end, 0);
            assert_eq!(end.lines(), ["49", "64"]);
            check(&run(&["retry", &dir]), 0);
        }
        let dir = within(&folder, "run");
        check(&run(&["map", "square", "7", "8", "--run-dir", &dir]), 0);
        let end = with_input(&["map", "square", "--each-line", "-", "--run-dir", &dir, "--resume"], "7\n8\n");
        refused(&end, "was begun with another input");
    }

    fn a_second_master_keeps_no_input() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = within(&folder, "run");
        let words = ["map", "faults::sleep", "--each-line", "-", "--run-dir", &dir];
        let mut command = procession(&words);
        command.stdin(Stdio::piped());
        let mut first = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program starts");
        // It holds the directory while it waits for its input.
        let holds = || procession_store::holder(dir.as_ref()).is_some() && fs::exists(format!("{dir}/input")).is_ok_and(|is_there| is_there);
        assert!(procession_harness::wait_until(Duration::from_secs(60), holds));
        let second = run(&words);
        check(&second, 75);
        drop(first.stdin.take());
        assert!(first.wait().expect("it is our child").success());
        assert!(!fs::exists(format!("{dir}/stdin")).expect("it can be looked for"));
    }

    fn a_job_names_its_run_directory_and_the_flag_wins() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (spec, dir, other) = (within(&folder, "job.toml"), within(&folder, "run"), within(&folder, "other"));
        let text = format!("task = \"square\"\n[input]\nvalues = [1, 2, 3]\n[run]\ndir = {dir:?}\n");
        fs::write(&spec, text).expect("the folder can be written");
        check(&run(&["run", &spec, "--run-dir", &other]), 0);
        assert!(!fs::exists(&dir).expect("it can be looked for"), "the flag wins");
        check(&run(&["run", &spec]), 0);
        assert_eq!(outcomes(&dir).len(), 3);
        refused(&run(&["run", &spec]), "has a run already");
        check(&run(&["run", &spec, "--run-dir", &dir, "--resume"]), 0);
        check(&run(&["retry", &dir]), 0);
        // Other commands only look at the job.
        check(&run(&["scale", &spec, "--workers", "1,2"]), 0);
    }
}
