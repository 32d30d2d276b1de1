//! `--report`: the page of a run that is over, however it ended.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::program::{procession, run, start, within};

/// Whether the page is there, of a run with that many values.
fn page(path: &str, state: &str) -> bool {
    let Ok(page) = fs::read_to_string(path) else { return false };
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"), "{page}");
    page.contains(state)
}

/// Of two pages, all but the secret that a page's script has.
fn without_nonce(path: &str) -> String {
    let page = fs::read_to_string(path).expect("the page was written");
    let (_, rest) = page.split_once("script-src 'nonce-").expect("the page has one");
    let (nonce, _) = rest.split_once('\'').expect("it has an end");
    page.replace(nonce, "")
}

procession_harness::cases! {
    fn a_run_leaves_the_page_that_report_writes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [dir, after, asked] = ["run", "after.html", "asked.html"].map(|name| within(&folder, name));
        let end = run(&["map", "square", "1", "2", "--run-dir", &dir, "--report", &after]);
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
        assert!(end.stderr.ends_with(&format!("report: {after}\n")), "{}", end.stderr);
        assert_eq!(run(&["report", &dir, "-o", &asked]).code(), Some(0));
        assert_eq!(without_nonce(&after), without_nonce(&asked));
    }

    fn a_run_with_failures_leaves_one_and_so_does_one_that_goes_on() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [dir, spec] = ["run", "job.toml"].map(|name| within(&folder, name));
        // In the run directory, which there is not yet.
        let report = format!("{dir}/page.html");
        let text = format!("task = \"faults::sleep\"\n[input]\nvalues = [0, -1]\n[run]\ndir = {dir:?}\nreport = {report:?}\n");
        fs::write(&spec, text).expect("the spec is written");
        let end = run(&["run", &spec, "--quiet"]);
        assert_eq!(end.code(), Some(1), "{}", end.stderr);
        assert!(page(&report, "some items have no value") && !end.stderr.contains("report:"), "{}", end.stderr);
        fs::remove_file(&report).expect("it was there");
        let end = run(&["retry", &dir, "--failed"]);
        assert!(end.code() == Some(1) && page(&report, "2 sessions"), "{}", end.stderr);
    }

    fn a_run_that_is_stopped_leaves_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [dir, report] = ["run", "page.html"].map(|name| within(&folder, name));
        let words = ["map", "faults::sleep", "-j", "1", "--chunk-size", "1", "--run-dir", &dir, "--report", &report];
        let mut running = start(procession(&[&words[..], &["0", "600"]].concat()));
        assert_eq!(running.line(), "0.0");
        for word in ["once more to stop it", "stopping what runs"] {
            running.signal(Signal::SIGTERM);
            running.wait_for(word);
        }
        let end = running.finish();
        assert_eq!(end.signal(), Some(Signal::SIGTERM), "{}", end.stderr);
        assert!(page(&report, "stopped by a signal"), "{}", end.stderr);
    }

    fn what_cannot_be_drawn_is_refused_before_anything_runs() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [dir, spec, values] = ["run", "job.toml", "values.jsonl"].map(|name| within(&folder, name));
        let nowhere = within(&folder, "nowhere/page.html");
        let text = "task = \"square\"\n[input]\nvalues = [1]\n[run]\nreport = \"page.html\"\n";
        fs::write(&spec, text).expect("the spec is written");
        let here = folder.path().to_str().expect("its name is text");
        let map = ["map", "square", "1", "-o", &values, "--run-dir", &dir, "--report"];
        for (words, refusal) in [
            (&["map", "square", "1", "-o", &values, "--report", "page.html"][..], "this run has none"),
            (&["run", &spec, "-o", &values], "job.toml:5:10: a report is drawn from a run directory"),
            (&["run", &spec, "-o", &values, "--dry-run"], "add --run-dir DIR"),
            (&[&map[..], &["-"]].concat(), "stdout is for results"),
            (&[&map[..], &[here]].concat(), "is a directory"),
            (&[&map[..], &[&nowhere]].concat(), "there is no directory"),
            (&[&map[..], &[&values]].concat(), "values and the report go to the same file"),
        ] {
            let end = run(words);
            assert!(end.code() == Some(2) && end.stderr.contains(refusal), "wanted {refusal} in:\n{}", end.stderr);
            assert!(end.stdout.is_empty() && !Path::new(&dir).exists() && !Path::new(&values).exists());
        }
    }

    fn a_page_that_cannot_be_written_is_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = within(&folder, "run");
        let end = run(&["map", "square", "1", "--run-dir", &dir, "--report", "/dev/full"]);
        assert_eq!((end.code(), end.stdout.as_str()), (Some(74), "1\n"), "{}", end.stderr);
        assert!(end.stderr.contains("cannot write") && end.stderr.contains("/dev/full"), "{}", end.stderr);
    }
}
