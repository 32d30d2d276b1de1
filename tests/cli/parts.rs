//! Parts of a job: selected items, shards, the first few; each item keeps its number in the whole.

use std::fs;

use tempfile::TempDir;

use crate::program::{Finished, example, procession, run, start, within};

fn check(end: &Finished, code: i32) {
    assert_eq!(end.code(), Some(code), "{}", end.stderr);
}

/// Runs the program, which must end so.
fn ends(words: &[&str], code: i32) -> Finished {
    let end = run(words);
    check(&end, code);
    end
}

fn refused(words: &[&str], what: &str) {
    let end = ends(words, 2);
    assert!(end.stderr.contains(what), "{words:?} says: {}", end.stderr);
    assert_eq!(end.stdout, "");
}

/// A job of 1,000 items of which every 50th kills its worker.
fn dying(folder: &TempDir) -> String {
    let spec = within(folder, "job.toml");
    let text = "name = \"dying\"\ntask = \"faults::die_every\"\n\
                [pool]\nworkers = 2\nrestart_limit = { restarts = 1000, within = \"30s\" }\n\
                [input]\nrepeat = 1000\nargs = [\"{index}\", 50, \"segv\"]\n";
    fs::write(&spec, text).expect("the folder can be written");
    spec
}

/// Failures with what is the same from one run to the next.
fn failures(path: &str) -> Vec<String> {
    let text = fs::read_to_string(path).expect("there are failures");
    let lines = text.lines().map(|line| {
        let failure: serde_json::Value = serde_json::from_str(line).expect("a failure is JSON");
        let same = ["index", "args", "outcome", "attempts", "exit", "signal", "reproduce"];
        same.map(|key| failure[key].to_string()).join(" ")
    });
    lines.collect()
}

procession_harness::cases! {
    fn parts_are_what_was_asked_for_and_keep_their_numbers() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let lines = within(&folder, "items.txt");
        fs::write(&lines, (0..20).map(|x| format!("{x}\n")).collect::<String>()).expect("a file");
        let values: Vec<String> = (0..20).map(|x| x.to_string()).collect();
        let words: Vec<&str> = values.iter().map(String::as_str).collect();
        let sources: [&[&str]; 3] = [&["--range", "0..20"], &["--each-line", &lines], &words];
        for source in sources {
            for lenient in [&[][..], &["--skip-invalid"]] {
                for (flags, indices) in [
                    (&["--limit", "3"][..], &[0, 1, 2][..]),
                    (&["--limit", "99", "--select", "18-"], &[18, 19]),
                    (&["--select", "5,1-3,2,19"], &[1, 2, 3, 5, 19]),
                    (&["--shard", "3/7"], &[2, 9, 16]),
                    (&["--shard", "20/21"], &[19]),
                    (&["--shard", "21/21"], &[]),
                    (&["--select", "3-", "--shard", "1/4", "--limit", "2"], &[4, 8]),
                ] {
                    let mut words = vec!["map", "square", "--indexed", "--quiet", "--workers", "2"];
                    words.extend(source.iter().chain(flags).chain(lenient));
                    let end = ends(&words, 0);
                    let wanted: Vec<String> =
                        indices.iter().map(|i| format!("{{\"index\": {i}, \"value\": {}}}", i * i)).collect();
                    assert_eq!(end.lines(), wanted, "{words:?}");
                }
            }
        }
        // Of what is made from a rule nothing else is made, not even to tell of a failure.
        let last = ["map", "square", "--range", "0..1000000000000", "--select", "999999999999", "--indexed"];
        let end = ends(&last, 1);
        assert!(end.stderr.contains("reproduce item 999999999999 with: "), "{}", end.stderr);
        let product = ["starmap", "power_n", "--product", "[[1,2,3],[2,3]]", "--shard", "2/2", "--indexed", "--quiet"];
        assert_eq!(ends(&product, 0).lines().len(), 3);
        let commands = ["exec", "--quiet", "--range", "0..9", "--shard", "2/4", "--", "echo", "{index}", "{}"];
        assert_eq!(ends(&commands, 0).stdout, "1 1\n5 5\n");
    }

    fn what_comes_one_by_one_is_read_as_far_as_it_is_wanted() {
        use std::io::Write as _;
        use std::process::Stdio;
        let mut command = procession(&["map", "square", "--each-line", "-", "--skip-invalid", "--select", "1,3-", "--limit", "2", "--quiet"]);
        command.stdin(Stdio::piped());
        let mut running = start(command);
        let mut stdin = running.take_stdin();
        stdin.write_all(b"0\n1\n2\n3\n").expect("it reads");
        // Its input goes on, and nobody reads it.
        let end = running.finish();
        check(&end, 0);
        assert_eq!(end.stdout, "1\n9\n");
        drop(stdin);
    }

    fn of_a_shard_malformed_rows_and_crashes_have_their_numbers_too() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [lines, failed] = ["items.txt", "failed.jsonl"].map(|name| within(&folder, name));
        fs::write(&lines, "0\nx\n2\n3\ny\n5\n6\n").expect("a file");
        let end = ends(
            &["map", "square", "--each-line", &lines, "--skip-invalid", "--shard", "2/3", "--failures", &failed, "--indexed"],
            1,
        );
        assert!(end.stderr.contains("invalid input: item 1: ") && end.stderr.contains("invalid input: item 4: "));
        assert!(end.stderr.contains("square: 2 items, 0 values, 2 without (2 invalid input)"), "{}", end.stderr);
        let end = ends(&["map", "square", "--each-line", &lines, "--skip-invalid", "--select", "0,9"], 0);
        assert!(end.stderr.contains("the input ended before item 9, which --select names"), "{}", end.stderr);

        let spec = dying(&folder);
        let end = ends(&["run", &spec, "--shard", "1/25", "--select", "1-99", "--failures", &failed], 1);
        assert!(end.stderr.contains("worker lost") && end.stderr.contains(", item 50, "), "{}", end.stderr);
        assert!(end.stderr.contains("reproduce item 50 with:"), "{}", end.stderr);
        assert_eq!(failures(&failed).len(), 1);
    }

    fn a_part_is_planned_recorded_and_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [dir, events, page] = ["run", "events.jsonl", "page.html"].map(|name| within(&folder, name));
        let faults = example("faults.toml");
        let plan = ends(&["run", &faults, "--shard", "2/3", "--dry-run"], 0).stdout;
        assert!(plan.contains("items     67 of 200 (repeat 200; --shard 2/3)"), "{plan}");
        assert!(plan.contains("row       [1,20,\"segv\"]"), "{plan}");

        ends(&["run", &faults, "--shard", "2/3", "--run-dir", &dir, "--events", &events, "--quiet"], 1);
        let told = fs::read_to_string(&events).expect("events");
        let first: serde_json::Value = serde_json::from_str(told.lines().next().expect("a line")).expect("JSON");
        assert_eq!((&first["items"], &first["selection"]), (&67.into(), &"--shard 2/3".into()));
        let status = ends(&["status", &dir], 0).stdout;
        assert!(status.contains("items     67 of 200 (repeat 200; --shard 2/3)"), "{status}");
        assert!(status.contains("to go     0"), "{status}");
        let status = ends(&["status", &dir, "--json"], 0).stdout;
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        assert_eq!([&status["items"], &status["items_of_job"], &status["left"]], [67, 200, 0].map(serde_json::Value::from).each_ref());
        refused(&["show", &dir, "3"], "item 3 is none of this run's, which has those of --shard 2/3");
        ends(&["report", &dir, "-o", &page], 0);
        let page = fs::read_to_string(&page).expect("a page");
        assert!(page.contains("--shard 2/3") && page.contains("all of its part of the job"));
    }

    fn a_resume_with_another_part_is_refused_unless_it_only_adds() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = within(&folder, "run");
        let with = |flags: &[&'static str]| {
            let words = ["map", "square", "--range", "0..30", "--indexed", "--quiet", "--run-dir", &dir];
            words.iter().copied().chain(flags.iter().copied()).map(str::to_owned).collect::<Vec<_>>()
        };
        let words = |flags: &[&'static str]| with(flags);
        fn borrowed(words: &[String]) -> Vec<&str> {
            words.iter().map(String::as_str).collect()
        }
        ends(&borrowed(&words(&["--shard", "2/3", "--limit", "4"])), 0);
        let other = words(&["--shard", "1/3", "--limit", "4", "--resume"]);
        refused(&borrowed(&other), "it is for the items of `--shard 1/3 --limit 4` now, and was for the items of `--shard 2/3 --limit 4`");
        let other = words(&["--resume"]);
        refused(&borrowed(&other), "it is for all items now, and was for the items of `--shard 2/3 --limit 4`");
        let fewer = words(&["--shard", "2/3", "--limit", "3", "--resume", "--accept-changes"]);
        refused(&borrowed(&fewer), "are not all of these: item 10 is left out");
        let more = words(&["--shard", "2/3", "--resume", "--accept-changes"]);
        let end = ends(&borrowed(&more), 0);
        assert_eq!(end.lines().len(), 10);
        assert!(end.stderr.contains("4 outcomes kept"), "{}", end.stderr);
        let all = words(&["--resume", "--accept-changes"]);
        let end = ends(&borrowed(&all), 0);
        let wanted: Vec<String> = (0..30).map(|i| format!("{{\"index\": {i}, \"value\": {}}}", i * i)).collect();
        assert_eq!(end.lines(), wanted);
        assert!(end.stderr.contains("10 outcomes kept"), "{}", end.stderr);
    }
}
