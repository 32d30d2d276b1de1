//! A batch whose items kill their workers ends the same way every time.

use std::fs;

use crate::program::{example, run, within};

/// One line of the failures file, as far as it is the same every time.
fn failures(path: &str) -> Vec<(u64, String, u64, i64)> {
    let text = fs::read_to_string(path).expect("the failures were written");
    let line = |line: &str| {
        let failure: serde_json::Value = serde_json::from_str(line).expect("a failure is a JSON line");
        assert_eq!(failure["args"][0], failure["index"], "the arguments are the item's own: {line}");
        (
            failure["index"].as_u64().expect("an index"),
            failure["outcome"].as_str().expect("an outcome").to_owned(),
            failure["attempts"].as_u64().expect("attempts"),
            failure["signal"].as_i64().expect("a signal"),
        )
    };
    text.lines().map(line).collect()
}

fn inputs(path: &str) -> Vec<String> {
    let text = fs::read_to_string(path).expect("the failures were written");
    let input = |line: &str| {
        let failure: serde_json::Value = serde_json::from_str(line).expect("a failure is a JSON line");
        failure["input"].as_str().expect("the row").to_owned()
    };
    text.lines().map(input).collect()
}

procession_harness::cases! {
    fn ten_runs_of_a_deadly_batch_are_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let values: Vec<String> = (0..200).filter(|x| x % 20 != 0).map(|x: u32| x.to_string()).collect();
        let lost: Vec<_> = (0..200).step_by(20).map(|index| (index, "worker_lost".to_owned(), 1, 11)).collect();
        for round in 0..10 {
            let path = within(&folder, "failed.jsonl");
            let workers = ["1", "2", "5"][round % 3];
            let end = run(&["run", &example("faults.toml"), "--failures", &path, "--workers", workers]);
            assert_eq!(end.code(), Some(1), "{}", end.stderr);
            assert_eq!(end.lines(), values, "round {round}");
            assert_eq!(failures(&path), lost, "round {round}");
            assert_eq!(end.stderr.matches("worker lost: `faults::die_every`").count(), 10, "{}", end.stderr);
            assert!(
                end.stderr.contains("faults: 200 items, 190 values, 10 without (10 worker lost)"),
                "{}",
                end.stderr
            );
        }
    }

    fn every_way_to_die_is_told_apart() {
        for (how, told) in [
            ("segv", "signal 11 (SIGSEGV)"),
            ("abort", "signal 6 (SIGABRT)"),
            ("kill", "signal 9 (SIGKILL)"),
            ("exit0", "exit status 0"),
            ("panic", "task panicked"),
        ] {
            let args = format!("input.args=[\"{{index}}\", 3, \"{how}\"]");
            let end = run(&["run", &example("faults.toml"), "--set", "input.repeat=4", "--set", &args]);
            assert_eq!(end.code(), Some(1), "{how}: {}", end.stderr);
            assert_eq!(end.lines(), ["1", "2"], "{how}");
            assert_eq!(end.stderr.matches(told).count(), 2, "{how}: {}", end.stderr);
        }
    }

    fn an_item_over_its_limit_costs_nothing_else() {
        let end = run(&["map", "faults::sleep", "0", "600", "0.01", "--timeout", "200ms", "--indexed"]);
        assert_eq!(end.code(), Some(1), "{}", end.stderr);
        assert_eq!(end.lines(), [r#"{"index": 0, "value": 0.0}"#, r#"{"index": 2, "value": 0.01}"#]);
        assert!(end.stderr.contains("timed out: `faults::sleep`, item 1"), "{}", end.stderr);
    }

    fn items_keep_their_numbers_beside_malformed_rows() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let rows = within(&folder, "rows.jsonl");
        fs::write(&rows, "[1, 2, \"segv\"]\n[oops\n[2, 2, \"segv\"]\n[3, 2, \"segv\"]\n")
            .expect("rows are written");
        let failed = within(&folder, "failed.jsonl");
        let words =
            ["starmap", "die_every", "--jsonl", &rows, "--skip-invalid", "--indexed", "--failures", &failed];
        let end = run(&words);
        assert_eq!(end.code(), Some(1), "{}", end.stderr);
        assert_eq!(end.lines(), [r#"{"index": 0, "value": 1}"#, r#"{"index": 3, "value": 3}"#]);
        assert!(end.stderr.contains("worker lost: `faults::die_every`, item 2,"), "{}", end.stderr);
        let failed = fs::read_to_string(&failed).expect("the failures were written");
        assert!(failed.contains(r#"{"index":2,"args":[2,2,"segv"],"outcome":"worker_lost""#), "{failed}");
        assert!(failed.contains(r#"{"index":1,"input":"[oops","outcome":"invalid_input""#), "{failed}");
    }

    fn a_pool_that_gives_up_leaves_no_item_unaccounted_for() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = within(&folder, "failed.jsonl");
        let args = "input.args=[\"{index}\", 1, \"segv\"]";
        let end = run(&["run", &example("faults.toml"), "--set", args, "--workers", "2", "--failures", &path]);
        assert_eq!(end.code(), Some(70), "{}", end.stderr);
        assert_eq!(end.stdout, "");
        assert!(end.stderr.contains("every task kills its worker"), "{}", end.stderr);
        let text = fs::read_to_string(&path).expect("the failures were written");
        let indices: Vec<u64> = text
            .lines()
            .map(|line| {
                let failure: serde_json::Value = serde_json::from_str(line).expect("a failure is a JSON line");
                assert_eq!(failure["args"][0], failure["index"], "{line}");
                failure["index"].as_u64().expect("an index")
            })
            .collect();
        assert_eq!(indices, (0..200).collect::<Vec<u64>>());
    }

    fn a_deadline_ends_the_run_and_names_what_it_cost() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let failed = within(&folder, "failed.jsonl");
        let spec = within(&folder, "late.toml");
        let text = "task = \"faults::sleep\"\n[pool]\nworkers = 2\ndeadline = \"300ms\"\nbuffer = 4\n\
                    [input]\nrepeat = 500\nargs = [0.05]\n";
        fs::write(&spec, text).expect("a spec is written");
        let end = run(&["run", &spec, "--failures", &failed]);
        assert_eq!(end.code(), Some(1), "{}", end.stderr);
        assert!(end.stderr.contains("warning: the deadline of the run passed"), "{}", end.stderr);
        let values = end.lines().len();
        assert!(values < 30, "{values} items of 50 ms in 300 ms");
        let failed = fs::read_to_string(&failed).expect("the failures were written");
        assert_eq!(values + failed.lines().count(), 500);
        assert!(failed.lines().all(|line| line.contains("deadline")), "{failed}");
        assert!(failed.contains(r#""error":"not run: the deadline of the run passed""#), "{failed}");
    }

    fn rejected_rows_are_kept_as_they_were_written() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let failed = within(&folder, "failed.jsonl");
        let rows = within(&folder, "rows.csv");
        fs::write(&rows, "x,n\n1,2\n\n\"a\nb\",2\n3\n").expect("rows are written");
        let end = run(&["starmap", "power_n", "--csv", &rows, "--skip-invalid", "--failures", &failed]);
        assert_eq!((end.code(), end.stdout.as_str()), (Some(1), "1\n"), "{}", end.stderr);
        assert_eq!(inputs(&failed), ["\"a\nb\",2", "3"]);
        let end = run(&["map", "square", "1", "t\two", "--skip-invalid", "--failures", &failed]);
        assert_eq!((end.code(), end.stdout.as_str()), (Some(1), "1\n"), "{}", end.stderr);
        assert_eq!(inputs(&failed), ["t\two"]);
    }

    fn control_characters_are_escaped_for_a_terminal_and_not_for_a_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let failed = within(&folder, "failed.jsonl");
        let rows = within(&folder, "tab\tin its name.jsonl");
        fs::write(&rows, "1\n[]\n").expect("rows are written");
        let end = run(&["map", "square", "--jsonl", &rows, "--skip-invalid", "--failures", &failed]);
        assert!(end.stderr.contains(r"tab\tin its name.jsonl:2:1"), "{}", end.stderr);
        let text = fs::read_to_string(&failed).expect("the failures were written");
        let failure: serde_json::Value = serde_json::from_str(&text).expect("a failure is a JSON line");
        let error = failure["error"].as_str().expect("an error");
        assert!(error.contains("tab\tin its name.jsonl:2:1"), "{error}");
    }
}
