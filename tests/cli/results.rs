//! The same results however the work is handed out.

use std::f64::consts::PI;

use crate::program::{example, run};

const CALLS: [&str; 4] = ["starmap", "apply_async", "imap", "imap_unordered"];

procession_harness::cases! {
    fn pi_is_one_number_for_any_call_and_any_number_of_parts() {
        let mut seen = Vec::new();
        for parts in ["1", "3", "4", "16"] {
            let args = format!("input.args=[\"{{index}}\", {parts}, 10_000_000, 1e-7]");
            let repeat = format!("input.repeat={parts}");
            let mut printed: Option<String> = None;
            for call in CALLS {
                let call = format!("call={call}");
                let words = ["run", &example("pi.toml"), "--set", &call, "--set", &repeat, "--set", &args];
                let end = run(&words);
                assert_eq!(end.code(), Some(0), "{}", end.stderr);
                let [line] = end.lines()[..] else { panic!("more than a number: {}", end.stdout) };
                let value: f64 = line.parse().expect("a number");
                assert!((value - PI).abs() < 1e-9, "{line}");
                // The sum does not depend on the order in which the parts came.
                assert_eq!(printed.get_or_insert_with(|| line.to_owned()), line, "{call}, {parts} parts");
            }
            seen.extend(printed);
        }
        assert_eq!(seen.len(), 4);
    }

    fn squares_are_the_same_for_every_call_and_number_of_workers() {
        let wanted: Vec<i64> = (0..20).map(|x| x * x).collect();
        for call in ["map", "starmap", "apply_async", "imap", "imap_unordered"] {
            for workers in ["1", "2", "5"] {
                let call = format!("call={call}");
                let end =
                    run(&["run", &example("squares.toml"), "--set", &call, "--workers", workers, "--quiet"]);
                assert_eq!((end.code(), end.stderr.as_str()), (Some(0), ""));
                let mut values: Vec<i64> =
                    end.lines().iter().map(|line| line.parse().expect("a number")).collect();
                if call.ends_with("unordered") {
                    values.sort_unstable();
                }
                assert_eq!(values, wanted, "{call} {workers}");
            }
        }
    }

    fn a_million_items_come_in_order() {
        let end = run(&["map", "square", "--range", "0..1000000", "--quiet"]);
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
        let mut lines = end.stdout.lines();
        assert!((0..1_000_000_u64).all(|x| lines.next() == Some((x * x).to_string().as_str())));
        assert_eq!(lines.next(), None);
    }

    fn values_that_are_on_record_make_a_json_array_too() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = crate::program::within(&folder, "run");
        let array = "[\n0,\n1,\n4\n]\n";
        let end = run(&["map", "square", "--range", "0..3", "--format", "json", "--run-dir", &dir, "--quiet"]);
        assert_eq!((end.code(), end.stdout.as_str()), (Some(0), array), "{}", end.stderr);
        assert_eq!(run(&["export", &dir, "--format", "json"]).stdout, array);
    }

    fn quiet_runs_say_nothing() {
        let end = run(&["map", "square", "1", "2", "--quiet"]);
        assert_eq!((end.code(), end.stdout.as_str(), end.stderr.as_str()), (Some(0), "1\n4\n", ""));
    }

    fn the_values_of_a_reduction_are_written_where_a_file_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = crate::program::within(&folder, "values.jsonl");
        let end = run(&["run", &example("squares.toml"), "--set", "reduce=sum", "--output", &path, "--indexed"]);
        assert_eq!((end.code(), end.stdout.as_str()), (Some(0), "2470\n"), "{}", end.stderr);
        let text = std::fs::read_to_string(&path).expect("values were written");
        assert_eq!(text.lines().count(), 20);
        assert_eq!(text.lines().last(), Some(r#"{"index": 19, "value": 361}"#));
    }

    fn a_reduction_without_a_single_value_prints_none() {
        for (reduction, of_no_item) in [("sum", "0\n"), ("count", "0\n"), ("max", "null\n")] {
            let reduce = format!("reduce={reduction}");
            let words =
                |repeat| ["run", &example("faults.toml"), "--set", &reduce, "--set", repeat].map(str::to_owned);
            // Its only item dies.
            let one = words("input.repeat=1");
            let end = run(&one.each_ref().map(String::as_str));
            assert_eq!((end.code(), end.stdout.as_str()), (Some(1), ""), "{reduction}: {}", end.stderr);
            assert!(end.stderr.contains("warning: there is no result: 1 item had no value"), "{}", end.stderr);
            // Without any item nothing failed, and a sum of nothing is a number.
            let none = words("input.repeat=0");
            let end = run(&none.each_ref().map(String::as_str));
            assert_eq!((end.code(), end.stdout.as_str()), (Some(0), of_no_item), "{reduction}: {}", end.stderr);
        }
    }
}
