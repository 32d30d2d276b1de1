//! Run directories: a run that is cut off goes on, and every item has one outcome at the end.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::program::{Finished, example, procession, run, start, within};

/// How often each item was begun.
fn starts(ledger: &str) -> BTreeMap<u64, u32> {
    let mut starts = BTreeMap::new();
    for line in fs::read_to_string(ledger).unwrap_or_default().lines() {
        *starts.entry(line.parse().expect("a line is an item")).or_default() += 1;
    }
    starts
}

/// A job of so many items that note their start and then take so long.
fn noting(folder: &TempDir, items: u64, seconds: f64) -> (String, String) {
    let (spec, ledger) = (within(folder, "job.toml"), within(folder, "ledger"));
    let text = format!(
        "task = \"faults::note\"\n[pool]\nworkers = 2\n[input]\nrepeat = {items}\nargs = [{ledger:?}, \"{{index}}\", {seconds}]\n"
    );
    fs::write(&spec, text).expect("the folder can be written");
    (spec, ledger)
}

/// What the run store says: outcome by item.
fn outcomes(dir: &str) -> BTreeMap<u64, String> {
    let reader = procession_store::Reader::open(dir.as_ref()).expect("there is a run");
    let items = reader.page(0, u32::MAX).expect("the store can be read");
    items.into_iter().map(|item| (item.index, item.outcome.into_owned())).collect()
}

fn status(dir: &str) -> serde_json::Value {
    let end = run(&["status", dir, "--json"]);
    assert_eq!(end.code(), Some(0), "{}", end.stderr);
    serde_json::from_str(&end.stdout).expect("the status is JSON")
}

fn check(end: &Finished, code: i32) {
    assert_eq!(end.code(), Some(code), "{}", end.stderr);
}

procession_harness::cases! {
    fn a_run_that_is_killed_again_and_again_comes_to_one_outcome_an_item() {
        const ITEMS: u64 = 3_000;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (spec, ledger) = noting(&folder, ITEMS, 1e-3);
        let dir = within(&folder, "run");
        let mut kills = 0;
        let mut words = vec!["run", &spec, "--run-dir", &dir, "--no-progress"];
        // Each time a little later; at least three times in the middle.
        let end = loop {
            let mut running = start(procession(&words));
            let seen = starts(&ledger).len() as u64;
            let reached = procession_harness::wait_until(std::time::Duration::from_secs(60), || {
                starts(&ledger).len() as u64 >= (seen + 400).min(ITEMS) || running.has_ended()
            });
            assert!(reached, "the run does not go on: {seen} begun");
            if kills == 4 || running.has_ended() {
                break running.finish();
            }
            running.signal(Signal::SIGKILL);
            running.finish();
            kills += 1;
            words = vec!["run", &spec, "--run-dir", &dir, "--no-progress", "--resume"];
        };
        assert!(kills >= 3, "it was over too soon: {kills} kills");
        let outcomes = outcomes(&dir);
        assert!(outcomes.keys().copied().eq(0..ITEMS), "{} of {ITEMS} items have an outcome", outcomes.len());
        let unknown: Vec<u64> =
            outcomes.iter().filter(|(_, outcome)| *outcome != "ok").map(|(item, _)| *item).collect();
        assert!(unknown.iter().all(|item| outcomes[item] == "unknown"), "{outcomes:?}");
        let starts = starts(&ledger);
        assert!(starts.values().all(|starts| *starts == 1), "an item was begun twice: {starts:?}");
        assert!(outcomes.iter().all(|(item, outcome)| outcome != "ok" || starts.contains_key(item)));
        // Few are unknown: what was running, and what was about to.
        assert!(unknown.len() < 400, "{} are unknown", unknown.len());
        check(&end, i32::from(!unknown.is_empty()));
        let values: Vec<String> =
            (0..ITEMS).filter(|item| !unknown.contains(item)).map(|item| item.to_string()).collect();
        assert_eq!(end.lines(), values, "all values, in order");

        if !unknown.is_empty() {
            let end = run(&["retry", &dir, "--unknown", "--", "--quiet"]);
            check(&end, 0);
            assert_eq!(end.lines().len() as u64, ITEMS);
        }
        assert_eq!(status(&dir)["values"], ITEMS);
    }

    fn a_second_master_is_refused_and_told_of_the_first() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = within(&folder, "run");
        let words = ["map", "faults::sleep", "60", "60", "--run-dir", &dir];
        let mut first = start(procession(&words));
        let begun = || {
            let end = run(&["status", &dir]);
            end.code() == Some(0) && end.stdout.contains(", running for ")
        };
        assert!(procession_harness::wait_until(std::time::Duration::from_secs(60), begun));
        let before = outcomes(&dir);
        for words in [&words[..], &["map", "faults::sleep", "60", "60", "--run-dir", &dir, "--resume"], &["retry", &dir]] {
            let second = run(words);
            check(&second, 75);
            let told = format!("is in use by process {} on ", first.pid());
            assert!(second.stderr.contains(&told), "{}", second.stderr);
        }
        assert_eq!(outcomes(&dir), before, "nothing has changed");
        first.signal(Signal::SIGTERM);
        first.wait_for("finishing what runs");
        first.signal(Signal::SIGTERM);
        let end = first.finish();
        assert!(end.stderr.contains("go on with: procession map faults::sleep 60 60 --run-dir"), "{}", end.stderr);
        assert!(end.stderr.contains(" --resume"), "{}", end.stderr);
        assert_eq!(status(&dir)["running"], false);
    }

    fn a_run_that_was_stopped_goes_on_where_it_was() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (spec, ledger) = noting(&folder, 400, 5e-3);
        let dir = within(&folder, "run");
        let running = start(procession(&["run", &spec, "--run-dir", &dir, "--no-progress"]));
        let begun = || starts(&ledger).len() >= 40;
        assert!(procession_harness::wait_until(std::time::Duration::from_secs(60), begun));
        running.signal(Signal::SIGINT);
        let end = running.finish();
        assert_eq!(end.signal(), Some(Signal::SIGINT), "{}", end.stderr);
        let done = outcomes(&dir).len();
        assert!(done < 400 && outcomes(&dir).values().all(|outcome| outcome == "ok"), "{done}");
        assert_eq!(end.lines().len(), done);
        let session = &status(&dir)["sessions"][0];
        assert_eq!(session["ending"], "signalled", "{session}");
        let end = run(&["run", &spec, "--run-dir", &dir, "--resume"]);
        check(&end, 0);
        assert!(end.stderr.contains(&format!("{done} of them from before")), "{}", end.stderr);
        assert!(end.lines().into_iter().map(str::to_owned).eq((0..400).map(|item: u32| item.to_string())));
        assert!(starts(&ledger).values().all(|starts| *starts == 1));
    }

    fn a_changed_job_is_refused_and_told_what_has_changed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = within(&folder, "run");
        check(&run(&["map", "square", "1", "2", "3", "--run-dir", &dir]), 0);
        for (words, told) in [
            (&["map", "square", "1", "5", "3"][..], "item 1 of the input has other arguments now"),
            (&["map", "square", "1", "2", "3", "4"], "the input has 4 items now, and had 3"),
            (&["map", "faults::spin", "1", "2", "3"], "the task is `procession_tasks::faults::spin` now"),
        ] {
            let words = [words, &["--run-dir", &dir, "--resume"]].concat();
            let end = run(&words);
            check(&end, 2);
            assert!(end.stderr.contains(told) && end.stdout.is_empty(), "{}", end.stderr);
        }
        let end = run(&["map", "square", "4", "3", "1", "--run-dir", &dir, "--resume", "--accept-changes"]);
        check(&end, 0);
        assert_eq!(end.lines(), ["16", "9", "1"]);
        assert!(end.stderr.contains("2 outcomes kept"), "{}", end.stderr);
        // Other limits and places are the same job.
        let end = run(&["map", "square", "4", "3", "1", "--run-dir", &dir, "--resume", "-j", "1", "--timeout", "9s"]);
        check(&end, 0);
        check(&run(&["map", "square", "1", "--run-dir", &dir]), 2);
        check(&run(&["map", "square", "1", "--resume"]), 2);
    }

    fn failures_are_asked_for_and_tried_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (dir, failures) = (within(&folder, "run"), within(&folder, "failed.jsonl"));
        let words = ["run", &example("faults.toml"), "--run-dir", &dir, "--failures", &failures];
        check(&run(&words), 1);
        let end = run(&["failed", &dir, "--json"]);
        check(&end, 0);
        let mut told: Vec<serde_json::Value> = end.lines().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let text = fs::read_to_string(&failures).expect("the failures were written");
        let mut written: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        written.sort_by_key(|failure| failure["index"].as_u64());
        for (told, written) in told.iter_mut().zip(&mut written) {
            // Only the run itself has the digest, and what the whole worker took.
            for failure in [told, written] {
                let failure = failure.as_object_mut().expect("an object");
                failure.remove("args_digest");
                failure.remove("cpu_s");
            }
        }
        assert_eq!(told, written);
        let end = run(&["show", &dir, "20"]);
        check(&end, 0);
        assert!(end.stdout.contains("outcome   worker lost") && end.stdout.contains("[20,20,\"segv\"]"), "{}", end.stdout);
        check(&run(&["show", &dir, "200"]), 2);
        let end = run(&["retry", &dir, "--", "--quiet"]);
        check(&end, 1);
        assert_eq!(end.stderr.matches("worker lost").count(), 10, "{}", end.stderr);
        assert_eq!(status(&dir)["without"]["worker_lost"], 10);
        let end = run(&["export", &dir]);
        check(&end, 0);
        assert_eq!(end.lines().len(), 190);
    }

    fn standard_input_is_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = within(&folder, "run");
        let words = ["map", "square", "--each-line", "-", "--run-dir", &dir];
        let mut command = procession(&words);
        let input = within(&folder, "lines");
        fs::write(&input, "7\n8\n").expect("the folder can be written");
        command.stdin(fs::File::open(&input).expect("it was just written"));
        check(&start(command).finish(), 0);
        let end = run(&[&words[..], &["--resume"]].concat());
        check(&end, 0);
        assert_eq!(end.lines(), ["49", "64"]);
    }

    fn a_reduction_is_over_earlier_values_too() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = within(&folder, "run");
        let words = ["run", &example("pi.toml"), "--run-dir", &dir, "--set", "input.args=[\"{index}\", \"{workers}\", 10_000, 1e-4]"];
        let first = run(&words);
        check(&first, 0);
        let again = run(&[&words[..], &["--resume"]].concat());
        check(&again, 0);
        assert_eq!(again.stdout, first.stdout);
    }

    fn a_directory_that_cannot_be_written_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let closed = within(&folder, "closed");
        fs::create_dir(&closed).expect("the folder can be written");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).expect("it is ours");
        if fs::write(within(&folder, "closed/probe"), "").is_ok() {
            eprintln!("skipped: needs a user who may not write everywhere; run the tests as another user than root");
            return;
        }
        let end = run(&["map", "square", "1", "--run-dir", &within(&folder, "closed/run")]);
        check(&end, 74);
        assert!(end.stderr.contains("cannot create run directory"), "{}", end.stderr);
    }

    fn a_full_disk_stops_the_run_and_leaves_the_store_valid() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = within(&folder, "disk");
        fs::create_dir(&disk).expect("the folder can be written");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "none", &disk]).output();
        if !mounted.is_ok_and(|mounted| mounted.status.success()) {
            eprintln!("skipped: needs a small file system; run the tests as root, where `mount` may be used");
            return;
        }
        let (spec, ledger) = noting(&folder, 20_000, 0.0);
        let dir = format!("{disk}/run");
        let end = run(&["run", &spec, "--run-dir", &dir, "--no-progress"]);
        let reading = procession_store::Reader::open(dir.as_ref()).and_then(|reader| reader.tally());
        let unmounted = Command::new("umount").args(["-l", &disk]).status();
        check(&end, 74);
        assert!(end.stderr.contains("no space left on the device"), "{}", end.stderr);
        assert!(end.stderr.contains(" unrecorded"), "{}", end.stderr);
        assert!(unmounted.is_ok_and(|unmounted| unmounted.success()));
        let recorded = reading.expect("the store is valid").items();
        assert!(recorded < 20_000, "{recorded} were recorded");
        assert!(starts(&ledger).len() as u64 >= recorded);
    }

    fn results_reach_the_store_though_nobody_reads_stdout() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = within(&folder, "run");
        let mut running = start(procession(&["map", "square", "--range", "0..20000", "--run-dir", &dir, "--no-progress"]));
        running.close_stdout();
        let end = running.finish();
        check(&end, 0);
        assert!(end.stderr.contains("nobody reads stdout any more"), "{}", end.stderr);
        assert_eq!(status(&dir)["values"], 20_000);
    }
}
