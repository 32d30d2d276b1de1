//! What tasks print themselves: beside the results, never among them.

use std::fs;
use std::io::Read as _;
use std::process::Stdio;

use crate::program::{procession, run, start, within};

/// A spec whose tasks print, and what becomes of it.
fn spec(folder: &tempfile::TempDir, output: &str) -> String {
    let path = within(folder, "print.toml");
    let text = format!(
        "task = \"faults::print\"\n[pool]\nworkers = 2\noutput = \"{output}\"\n\
         [input]\nvalues = [\"one\\n\", \"two\\n\"]\n"
    );
    fs::write(&path, text).expect("a spec is written");
    path
}

procession_harness::cases! {
    fn stdout_carries_results_only() {
        let words = ["map", "faults::print", "-j", "2", "--quiet"];
        let end = run(&[&words[..], &[r#""one\n""#, r#""three\n""#, r#""no end""#]].concat());
        assert_eq!((end.code(), end.stdout.as_str()), (Some(0), "4\n6\n6\n"), "{}", end.stderr);
        let mut printed: Vec<&str> = end.stderr.lines().collect();
        printed.sort_unstable();
        assert_eq!(printed, ["no end", "one", "three"]);
        let end = run(&["apply", "faults::print", "printed"]);
        assert_eq!((end.stdout.as_str(), end.stderr.as_str()), ("7\n", "printed\n"));
    }

    fn control_characters_of_tasks_are_escaped() {
        let text = r#""\u001b]0;title\u0007\u001b[2Jgone\tand\u009bso\r\n""#;
        let end = run(&["map", "faults::print", "--quiet", text]);
        assert_eq!(end.stderr, "\\u{1b}]0;title\\u{7}\\u{1b}[2Jgone\tand\\u{9b}so\n");
    }

    fn lines_of_several_workers_stay_whole() {
        let line = |letter: char| format!("{}\nend of {letter}\n", letter.to_string().repeat(6_000));
        let words: Vec<String> = ('a'..='t').map(line).collect();
        let mut all = vec!["map", "faults::print", "-j", "4", "--chunk-size", "1", "--quiet"];
        all.extend(words.iter().map(String::as_str));
        let end = run(&all);
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
        assert_eq!(end.stdout, "6010\n".repeat(20));
        let mut lines: Vec<&str> = end.stderr.lines().collect();
        lines.sort_unstable();
        let mut wanted: Vec<&str> = words.iter().flat_map(|word| word.lines()).collect();
        wanted.sort_unstable();
        assert!(lines == wanted, "{} lines", lines.len());
    }

    fn a_flood_that_nobody_reads_holds_nobody_up() {
        let (mut reader, writer) = std::io::pipe().expect("there is a pipe");
        let words = ["map", "faults::stderr_flood", "-j", "2", "--quiet", "64000000", "64000000", "64"];
        let mut command = procession(&words);
        let mut child = command.stdout(Stdio::piped()).stderr(writer).spawn().expect("the program starts");
        drop(command);
        let mut values = String::new();
        child.stdout.take().expect("stdout is piped").read_to_string(&mut values).expect("values are text");
        assert!(child.wait().expect("it is our child").success());
        assert_eq!(values, "64000000\n64000000\n64\n");
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("what was printed is text");
        assert!(text.starts_with("a worker that talks too much"), "{text:.100}");
    }

    fn a_flood_that_is_read_says_what_is_left_out() {
        let end = run(&["map", "faults::stderr_flood", "-j", "1", "--quiet", "64000000"]);
        assert_eq!((end.code(), end.stdout.as_str()), (Some(0), "64000000\n"));
        let (told, shown): (Vec<&str>, Vec<&str>) = end.stderr.lines().partition(|line| line.contains("left out"));
        let left_out = |line: &str| -> u64 {
            let words = line.strip_prefix("warning: workers print faster than stderr takes it: ");
            let words = words.expect("nothing else is said");
            words.split(' ').next().and_then(|count| count.parse().ok()).expect("a number")
        };
        let left_out: u64 = told.into_iter().map(left_out).sum();
        assert_eq!(left_out + shown.len() as u64, 1_000_000);
    }

    fn what_tasks_print_can_be_kept_or_dropped() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for output in ["null", "capture"] {
            let end = run(&["run", &spec(&folder, output), "--quiet"]);
            assert_eq!((end.stdout.as_str(), end.stderr.as_str()), ("4\n4\n", ""), "{output}");
        }
        let end = run(&["run", &spec(&folder, "stderr"), "--quiet"]);
        assert_eq!((end.stdout.as_str(), end.stderr.len()), ("4\n4\n", 8), "{}", end.stderr);
    }

    fn stdout_is_inherited_only_where_no_results_are() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let spec = spec(&folder, "inherit");
        let values = within(&folder, "values.jsonl");
        for words in [
            &["run", &spec][..],
            &["run", &spec, "--dry-run"],
            &["run", &spec, "--output", &values, "--set", "reduce=sum"],
            &["scale", &spec, "--workers", "1"],
        ] {
            let end = run(words);
            assert_eq!((end.code(), end.stdout.as_str()), (Some(2), ""), "{words:?}");
            assert!(end.stderr.contains("would mix what workers print with the results"), "{}", end.stderr);
        }
        let end = start(procession(&["run", &spec, "--output", &values])).finish();
        let mut printed = end.lines();
        printed.sort_unstable();
        assert_eq!((end.code(), printed), (Some(0), vec!["one", "two"]), "{}", end.stderr);
        assert_eq!(fs::read_to_string(&values).expect("values were written"), "4\n4\n");
    }
}
