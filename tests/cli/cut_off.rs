//! Runs that are cut off, by a kill in the middle of another end or by an output that goes: nothing begins twice, and of what never
//! began that is known.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::program::{Finished, procession, run, start, within};

const LIMIT: Duration = Duration::from_secs(60);

/// How often each item was begun.
fn starts(ledger: &str) -> BTreeMap<u64, u32> {
    let mut starts = BTreeMap::new();
    for line in fs::read_to_string(ledger).unwrap_or_default().lines() {
        *starts.entry(line.parse().expect("a line is an item")).or_default() += 1;
    }
    starts
}

/// Rows that note their start and take so long: a file, and the ledger.
fn rows(folder: &TempDir, seconds: &[f64]) -> (String, String) {
    let (file, ledger) = (within(folder, "rows.jsonl"), within(folder, "ledger"));
    let row = |(item, seconds)| format!("[{ledger:?}, {item}, {seconds}]\n");
    fs::write(&file, seconds.iter().enumerate().map(row).collect::<String>())
        .expect("the folder can be written");
    (file, ledger)
}

/// What the run store says: outcome by item.
fn outcomes(dir: &str) -> BTreeMap<u64, String> {
    let reader = procession_store::Reader::open(dir.as_ref()).expect("there is a run");
    let items = reader.page(0, u32::MAX).expect("the store can be read");
    items.into_iter().map(|item| (item.index, item.outcome.into_owned())).collect()
}

/// How many items are known not to have been begun although a session that goes on had handed them out.
fn not_begun(dir: &str) -> u64 {
    let database =
        rusqlite::Connection::open(Path::new(dir).join(procession_store::DATABASE)).expect("there is a run");
    database.query_row("SELECT count(*) FROM not_begun", [], |row| row.get(0)).expect("it is a run store")
}

fn check(end: &Finished, code: i32) {
    assert_eq!(end.code(), Some(code), "{}", end.stderr);
}

procession_harness::cases! {
    fn an_item_that_was_held_at_one_kill_and_ran_at_the_next_does_not_begin_again() {
        const ITEMS: usize = 10;
        let folder = tempfile::tempdir().expect("a temporary folder");
        // The first two are never waited for: they are killed.
        let (file, ledger) = rows(&folder, &[[60.0; 2].as_slice(), &[0.5; ITEMS - 2]].concat());
        let dir = within(&folder, "run");
        let words = ["starmap", "faults::note", "--jsonl", &file, "-j", "2", "--run-dir", &dir, "--no-progress"];
        let resuming = [&words[..], &["--resume"]].concat();
        let begun = |items| procession_harness::wait_until(LIMIT, || starts(&ledger).len() >= items);
        let first = start(procession(&words));
        assert!(begun(2), "it does not begin");
        first.signal(Signal::SIGTERM);
        assert!(procession_harness::wait_until(LIMIT, || not_begun(&dir) >= 2), "nothing was held");
        first.signal(Signal::SIGKILL);
        first.finish();
        // Whoever asks is told the same: nothing has an outcome.
        let status = run(&["status", &dir]);
        assert!(status.stdout.contains(&format!("to go     {ITEMS}\n")) && !status.stdout.contains("without"), "{}", status.stdout);
        let shown = run(&["show", &dir, "3"]);
        check(&shown, 2);
        assert!(shown.stderr.contains("item 3 has no outcome yet"), "{}", shown.stderr);
        let second = start(procession(&resuming));
        assert!(begun(4), "it does not go on");
        second.signal(Signal::SIGKILL);
        second.finish();
        let third = run(&resuming);
        check(&third, 1);
        let (starts, outcomes) = (starts(&ledger), outcomes(&dir));
        assert!(starts.values().all(|starts| *starts == 1), "an item was begun twice: {starts:?}");
        assert_eq!(outcomes.len(), ITEMS);
        assert!(outcomes.iter().all(|(item, outcome)| outcome == "unknown" || starts.contains_key(item)), "{outcomes:?}");
        assert!((0..4).all(|item| outcomes[&item] == "unknown"), "{outcomes:?}");
    }

    fn an_event_stream_that_cannot_be_written_leaves_nothing_unknown() {
        for code in [Some(74), None] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let pipe = within(&folder, "pipe");
            nix::unistd::mkfifo(pipe.as_str(), nix::sys::stat::Mode::S_IRWXU).expect("the folder can be written");
            let events = if code.is_some() { &pipe } else { "-" };
            let (file, ledger) = rows(&folder, &[0.1; 30]);
            let (dir, values) = (within(&folder, "run"), within(&folder, "values.jsonl"));
            let words =
                ["starmap", "faults::note", "--jsonl", &file, "-j", "2", "--run-dir", &dir, "--no-progress", "-o", &values];
            let mut first = start(procession(&[&words[..], &["--events", events]].concat()));
            if code.is_some() {
                let mut reader = BufReader::new(fs::File::open(&pipe).expect("it can be read"));
                let mut line = String::new();
                while !line.contains("item_finished") {
                    reader.read_line(&mut line).expect("events are text");
                }
            } else {
                while !first.line().contains("item_finished") {}
                first.close_stdout();
            }
            let end = first.finish();
            assert_eq!(end.code(), code, "{}", end.stderr);
            assert!(code.is_some() || end.signal() == Some(Signal::SIGPIPE), "{}", end.stderr);
            assert!(end.stderr.contains("go on with: ") && !end.stderr.contains("unrecorded"), "{}", end.stderr);
            // What was running has ended, and is on record.
            let (begun, kept) = (starts(&ledger), outcomes(&dir));
            assert!(begun.len() < 30 && begun.keys().eq(kept.keys()), "{begun:?} {kept:?}");
            assert!(kept.values().all(|outcome| outcome == "ok"), "{kept:?}");
            let end = run(&[&words[..], &["--resume"]].concat());
            check(&end, 0);
            assert!(!end.stderr.contains("may have been running"), "{}", end.stderr);
            assert!(starts(&ledger).values().all(|starts| *starts == 1), "an item was begun twice");
        }
    }

    fn who_goes_on_is_told_why_nothing_runs() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (file, ledger) = rows(&folder, &[60.0]);
        let dir = within(&folder, "run");
        let words = ["starmap", "faults::note", "--jsonl", &file, "-j", "1", "--run-dir", &dir, "--no-progress"];
        // As it is left by a master that was killed before it had begun.
        fs::create_dir(&dir).and_then(|()| fs::write(within(&folder, "run/lock"), "")).expect("the folder can be written");
        let end = run(&[&words[..], &["--resume"]].concat());
        check(&end, 2);
        assert!(end.stderr.contains("there is no run in") && end.stderr.contains("leave out --resume"), "{}", end.stderr);
        let running = start(procession(&words));
        assert!(procession_harness::wait_until(LIMIT, || !starts(&ledger).is_empty()), "it does not begin");
        running.signal(Signal::SIGKILL);
        running.finish();
        for _ in 0..2 {
            let end = run(&["retry", &dir]);
            check(&end, 1);
            let told = format!("nothing is left to run but 1 item that may have been running when the run was cut off: \
                                `procession retry {dir} --unknown` runs");
            assert!(end.stderr.contains(&told), "{}", end.stderr);
            assert!(!end.stderr.contains("/s)"), "there is no rate of nothing: {}", end.stderr);
        }
        let end = run(&["show", &dir, "x"]);
        check(&end, 2);
        assert!(end.stderr.contains("an item is known by its place in the input, a number from 0 on"), "{}", end.stderr);
        assert_eq!(starts(&ledger)[&0], 1);
    }

    fn another_standard_input_is_not_read_and_that_is_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = within(&folder, "run");
        let words = ["map", "square", "--each-line", "-", "--run-dir", &dir];
        for (flags, text) in [(&[][..], "7\n8\n"), (&["--resume"], "9\n")] {
            let mut command = procession(&[&words[..], flags].concat());
            command.stdin(Stdio::piped());
            let mut running = start(command);
            let mut input = running.take_stdin();
            // Whoever does not read it may be gone already.
            let _ = input.write_all(text.as_bytes());
            drop(input);
            let end = running.finish();
            check(&end, 0);
            assert_eq!(end.lines(), ["49", "64"]);
            assert_eq!(end.stderr.contains("what comes on it now is not read"), !flags.is_empty(), "{}", end.stderr);
        }
    }
}
