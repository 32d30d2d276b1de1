//! What a run does by itself: items that run again, runs that halt, limits that follow the median, and gates.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::{Finished, procession, run, start, within};

fn check(end: &Finished, code: i32) {
    assert_eq!(end.code(), Some(code), "{}", end.stderr);
}

/// A script that fails until it has been run so often for its item; what it prints tells the item.
fn fails_until(ledger: &str, times: u32) -> String {
    format!("echo x >> {ledger}.{{}}; test $(wc -l < {ledger}.{{}}) -ge {times} && echo {{}}")
}

/// The lines of a JSON Lines file.
fn lines(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("it was written");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn outcomes(dir: &str) -> BTreeMap<u64, String> {
    let reader = procession_store::Reader::open(dir.as_ref()).expect("there is a run");
    let items = reader.page(0, u32::MAX).expect("the store can be read");
    items.into_iter().map(|item| (item.index, item.outcome.into_owned())).collect()
}

procession_harness::cases! {
    fn what_fails_runs_again_and_is_flaky_if_it_succeeds() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [ledger, failures, events, values] =
            ["ledger", "failed.jsonl", "events.jsonl", "values"].map(|name| within(&folder, name));
        let script = fails_until(&ledger, 3);
        let words = ["exec", "-j", "2", "--retries", "2", "--retry-delay", "5ms", "--range", "0..20"];
        let more = ["--failures", &failures, "--events", &events, "-o", &values, "--shell", &script];
        let end = run(&[&words[..], &more].concat());
        check(&end, 0);
        assert!(end.stderr.contains("20 items, 20 values (20 flaky)"), "{}", end.stderr);
        let wanted: String = (0..20).map(|item| format!("{item}\n")).collect();
        assert_eq!(fs::read_to_string(&values).expect("they were written"), wanted, "in order");
        assert!(lines(&failures).is_empty(), "a value is no failure");
        let events = lines(&events);
        let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
        assert_eq!(of("item_retried").len(), 40);
        for event in of("item_finished") {
            assert_eq!((&event["flaky"], &event["attempts"]), (&true.into(), &3.into()), "{event}");
        }
        assert_eq!(of("run_finished")[0]["flaky"], 20);
        for event in &events {
            crate::events::check(event);
        }
    }

    fn a_last_failure_is_the_outcome_with_all_its_starts() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [ledger, failures] = ["ledger", "failed.jsonl"].map(|name| within(&folder, name));
        let words = ["exec", "--retries", "1", "--retry-delay", "5ms", "--range", "0..3", "--failures", &failures];
        let end = run(&[&words[..], &["--shell", &fails_until(&ledger, 3)]].concat());
        check(&end, 1);
        let failures = lines(&failures);
        assert_eq!(failures.len(), 3);
        assert!(failures.iter().all(|failure| failure["attempts"] == 2), "{failures:?}");
    }

    fn panics_run_again_with_a_run_directory_and_among_malformed_rows() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [rows, dir] = ["rows.jsonl", "run"].map(|name| within(&folder, name));
        fs::write(&rows, "0\nx\n-1\n0.5\n\"y\"\n-2\n0.25\n").expect("the folder can be written");
        let words = ["map", "faults::sleep", "--jsonl", &rows, "--skip-invalid", "--run-dir", &dir];
        let end = run(&[&words[..], &["-j", "2", "--retries", "2", "--retry-delay", "5ms"]].concat());
        check(&end, 1);
        assert_eq!(end.lines(), ["0.0", "0.5", "0.25"]);
        let wanted = ["ok", "invalid_input", "panicked", "ok", "invalid_input", "panicked", "ok"];
        assert_eq!(outcomes(&dir).into_values().collect::<Vec<_>>(), wanted);
        let shown = run(&["show", &dir, "5"]);
        assert!(shown.stdout.contains("attempts  3\n") && shown.stdout.contains("args      [-2.0]\n"), "{}", shown.stdout);
    }

    fn a_flaky_item_is_shown_as_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [spec, rows, dir] = ["job.toml", "rows.jsonl", "run"].map(|name| within(&folder, name));
        // Opens a file that is a folder's until the folder is gone: it panics, and later it does not.
        let ledger = within(&folder, "ledger");
        fs::create_dir(&ledger).expect("the folder can be written");
        fs::write(&rows, format!("[{ledger:?}, 7, 0.0]\n")).expect("the folder can be written");
        let job = format!(
            "task = \"faults::note\"\n[pool]\nretries = 1000\nretry_delay = \"20ms\"\n[input]\nfile = {rows:?}\n[run]\ndir = {dir:?}\n"
        );
        fs::write(&spec, job).expect("the folder can be written");
        let mut running = start(procession(&["run", &spec]));
        running.wait_for("retry 1 of 1000");
        fs::remove_dir(&ledger).expect("it is empty");
        let end = running.finish();
        check(&end, 0);
        assert!(run(&["show", &dir, "0"]).stdout.contains("outcome   value (flaky)\n"));
        assert!(run(&["status", &dir]).stdout.contains("values    1 (1 flaky)\n"));
    }

    fn what_waits_to_run_again_when_the_run_ends_has_failed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let failures = within(&folder, "failed.jsonl");
        let words = ["exec", "--retries", "5", "--retry-delay", "1h", "--failures", &failures, "--values", "a", "--", "false"];
        let mut running = start(procession(&words));
        running.wait_for("retry 1 of 5");
        running.signal(Signal::SIGINT);
        let end = running.finish();
        assert_eq!(end.signal(), Some(Signal::SIGINT), "{}", end.stderr);
        let failures = lines(&failures);
        assert_eq!((failures.len(), &failures[0]["outcome"]), (1, &"exit_status".into()), "{failures:?}");
        assert_eq!(failures[0]["attempts"], 1);
    }

    fn a_run_that_halts_goes_on_with_what_was_not_begun() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [rows, dir] = ["rows.jsonl", "run"].map(|name| within(&folder, name));
        let text: String = (0..100).map(|item| if item == 3 { "-1\n" } else { "0.01\n" }).collect();
        fs::write(&rows, text).expect("the folder can be written");
        let words = ["map", "faults::sleep", "-j", "2", "--chunk-size", "1", "--jsonl", &rows, "--run-dir", &dir];
        let words = [&words[..], &["--halt", "soon,fail=1", "-o", "/dev/null", "--format", "jsonl"]].concat();
        let end = run(&words);
        check(&end, 1);
        let halted = "halted: 1 item failed (--halt soon,fail=1); ";
        assert!(end.stderr.contains(halted) && end.stderr.contains("go on with: "), "{}", end.stderr);
        let first = outcomes(&dir);
        assert!(first.len() < 100 && first[&3] == "panicked", "{first:?}");
        assert!(first.values().all(|outcome| ["ok", "panicked"].contains(&&**outcome)), "{first:?}");
        // What failed before does not count again.
        let end = run(&[&words[..], &["--resume"]].concat());
        check(&end, 1);
        assert!(!end.stderr.contains("halted"), "{}", end.stderr);
        assert_eq!(outcomes(&dir).values().filter(|outcome| *outcome == "ok").count(), 99);
    }

    fn to_halt_now_is_to_stop_what_runs() {
        let words = ["exec", "-j", "2", "--range", "0..50", "--halt", "now,fail=1", "--shell"];
        let end = run(&[&words[..], &["test {} = 1 && exit 1; sleep 600"]].concat());
        check(&end, 1);
        assert!(end.stderr.contains("1 item failed (--halt now,fail=1): stopping what runs"), "{}", end.stderr);
        assert!(end.stderr.contains("cancelled"), "{}", end.stderr);
    }

    fn workers_that_are_lost_and_items_that_are_done_halt_a_run() {
        let words = ["exec", "-j", "1", "--range", "0..50", "--halt", "soon,lost=1", "--shell"];
        let end = run(&[&words[..], &["test {} = 2 && kill -KILL $PPID; true"]].concat());
        check(&end, 1);
        assert!(end.stderr.contains("1 item cost its worker (--halt soon,lost=1)"), "{}", end.stderr);
        let end = run(&["exec", "-j", "1", "--range", "0..200", "--halt", "soon,done=5%", "--", "true"]);
        check(&end, 1);
        assert!(end.stderr.contains("halted: 10 items have ended (--halt soon,done=5%)"), "{}", end.stderr);
        // All of them is no halt.
        check(&run(&["exec", "--range", "0..20", "--halt", "now,done=100%", "--", "true"]), 0);
    }

    fn a_share_of_the_median_stops_what_hangs() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let failures = within(&folder, "failed.jsonl");
        let script = "test {} = 0 && sleep 600; true";
        let words = ["exec", "-j", "2", "--range", "0..30", "--timeout", "300%", "--failures", &failures, "--shell", script];
        check(&run(&words), 1);
        let failures = lines(&failures);
        assert_eq!((failures.len(), &failures[0]["index"], &failures[0]["outcome"]), (1, &0.into(), &"timed_out".into()));
    }

    fn a_closed_gate_lets_nothing_through_and_says_so_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ledger = within(&folder, "ledger");
        // No machine has all of its memory free.
        let words = ["exec", "--range", "0..5", "--min-free-memory", "100%", "--shell"];
        let mut running = start(procession(&[&words[..], &[&format!("echo {{}} >> {ledger}")]].concat()));
        running.wait_for("nothing new is begun until that has changed");
        running.signal(Signal::SIGINT);
        let end = running.finish();
        assert_eq!(end.signal(), Some(Signal::SIGINT), "{}", end.stderr);
        assert!(end.stderr.contains("5 not run"), "{}", end.stderr);
        assert_eq!(end.stderr.matches("nothing new is begun until").count(), 1, "{}", end.stderr);
        assert!(!fs::exists(&ledger).expect("it can be looked for"), "nothing was begun");
        let end = run(&["map", "square", "1", "2", "3", "--min-free-memory", "1B", "--max-load", "1000000"]);
        check(&end, 0);
        assert_eq!(end.lines(), ["1", "4", "9"]);
    }

    fn what_makes_no_sense_is_refused() {
        for (words, told) in [
            (&["--halt", "later,fail=1"][..], "`later` is neither now nor soon"),
            (&["--halt", "now,fail=0"], "0 would halt before anything ran"),
            (&["--timeout", "50%"], "write more than 100%"),
            (&["--max-load", "0"], "must be more than 0"),
            (&["--min-free-memory", "101%"], "no more than 100%"),
            (&["--retries", "-1"], "-1 is not in 0..="),
        ] {
            let end = run(&[&["map", "square", "1"][..], words].concat());
            check(&end, 2);
            assert!(end.stderr.contains(told), "{words:?}: {}", end.stderr);
        }
        let end = run(&["apply", "square", "1", "--timeout", "300%"]);
        check(&end, 2);
        assert!(end.stderr.contains("`apply` has one"), "{}", end.stderr);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let rows = within(&folder, "rows.txt");
        fs::write(&rows, "1\n").expect("the folder can be written");
        let end = run(&["map", "square", "--each-line", &rows, "--skip-invalid", "--halt", "soon,done=50%"]);
        check(&end, 2);
        assert!(end.stderr.contains("a share of items that nobody has counted"), "{}", end.stderr);
    }
}
