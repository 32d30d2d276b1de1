//! What a lost item leaves behind: everything that is known of it, and the line that loses it again.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::program::{Finished, run, start, within};

/// The line that the run says to type.
fn advice(end: &Finished) -> String {
    let line = end.stderr.lines().find_map(|line| line.split_once(" with: ")).map(|(_, command)| command);
    line.unwrap_or_else(|| panic!("no advice: {}", end.stderr)).to_owned()
}

/// Types a line into a shell that finds the program.
fn type_in(line: &str) -> Finished {
    let folder = Path::new(env!("CARGO_BIN_EXE_procession")).parent().expect("the program is in a folder");
    let path = std::env::var("PATH").expect("there is a path");
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).env("PATH", format!("{}:{path}", folder.display()));
    shell.env("NO_COLOR", "1").env("RUST_BACKTRACE", "0");
    start(shell).finish()
}

procession_harness::cases! {
    fn the_line_that_is_given_loses_the_item_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let rows = within(&folder, "rows.jsonl");
        fs::write(&rows, "[1, 2, \"segv\"]\n[oops\n[-4, 2, \"abort\"]\n[6, 2, \"segv\"]\n")
            .expect("rows are written");
        let failed = within(&folder, "failed.jsonl");
        let words = ["starmap", "die_every", "--jsonl", &rows, "--skip-invalid", "--timeout", "30s"];
        // Without the failures, the row is read once more.
        for more in [&[][..], &["--failures", &failed]] {
            let end = run(&[&words[..], more].concat());
            let line = advice(&end);
            assert_eq!(line, "procession apply faults::die_every -4 2 abort --timeout 30", "{}", end.stderr);
            let again = type_in(&line);
            assert_eq!(again.code(), Some(1), "{}", again.stderr);
            assert!(again.stderr.contains("worker lost: `faults::die_every`, item 0"), "{}", again.stderr);
            assert!(again.stderr.contains("signal 6 (SIGABRT)"), "{}", again.stderr);
        }
        let text = fs::read_to_string(&failed).expect("the failures were written");
        let line = text.lines().find(|line| line.contains("\"index\":3")).expect("the last item failed, too");
        let failure: Value = serde_json::from_str(line).expect("a failure is a JSON line");
        let again = type_in(failure["reproduce"].as_str().expect("a line to type"));
        assert!(again.stderr.contains("signal 11 (SIGSEGV)"), "{}", again.stderr);
    }

    fn a_failure_says_all_that_is_known() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let failed = within(&folder, "failed.jsonl");
        let end =
            run(&["starmap", "die_every", "--product", r#"[[1, 2], [2], ["segv"]]"#, "--failures", &failed]);
        assert_eq!((end.code(), end.stdout.as_str()), (Some(1), "1\n"), "{}", end.stderr);
        assert!(end.stderr.contains("item 1 was in:") && end.stderr.contains("segv"), "{}", end.stderr);
        let text = fs::read_to_string(&failed).expect("the failures were written");
        let failure: Value = serde_json::from_str(&text).expect("a failure is a JSON line");
        for field in ["pid", "signal", "run_s", "cpu_s", "peak_rss_bytes"] {
            assert!(failure[field].as_f64().is_some_and(|number| number > 0.0), "{field}: {text}");
        }
        assert_eq!(failure["args_digest"].as_str().map(str::len), Some(16), "{text}");
        let backtrace = failure["backtrace"].as_str().expect("a backtrace");
        assert!(backtrace.contains("segv") && backtrace.contains("die_every"), "{backtrace}");
    }

    fn awkward_arguments_are_given_so_that_they_mean_the_same() {
        for (text, word) in [
            (r#""two words'""#, r"'two words'\'''"),
            (r#""""#, r#"'""'"#),
            (r#""-x""#, r#"'"-x"'"#),
            (r#""\n""#, r#"'"\n"'"#),
            (r#""$HOME""#, "'$HOME'"),
        ] {
            let end = run(&["starmap", "die_every", "--product", &format!("[[5], [1], [{text}]]")]);
            let line = advice(&end);
            assert_eq!(line, format!("procession apply faults::die_every 5 1 {word}"), "{}", end.stderr);
            let again = type_in(&line);
            let panic = |end: &Finished| {
                let line = end.stderr.lines().find(|line| line.contains("task panicked"));
                line.unwrap_or_else(|| panic!("no panic: {}", end.stderr)).to_owned()
            };
            assert_eq!(panic(&end), panic(&again));
        }
    }

    fn reports_can_be_switched_off_in_a_spec() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let spec = within(&folder, "off.toml");
        let text = "task = \"faults::segv\"\n[pool]\nworkers = 1\ncrash_reports = false\n\
                    [input]\nrepeat = 1\nargs = []\n";
        fs::write(&spec, text).expect("a spec is written");
        let off = run(&["run", &spec]);
        assert!(off.stderr.contains("signal 11 (SIGSEGV)") && !off.stderr.contains("was in:"), "{}", off.stderr);
        let on = run(&["run", &spec, "--set", "pool.crash_reports=true"]);
        assert!(on.stderr.contains("item 0 was in:"), "{}", on.stderr);
    }
}
