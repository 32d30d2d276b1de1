//! `merge`: a job that was run in parts comes to the same as one that was not.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::program::{Finished, procession, run, start, within};

/// Runs the program, which must end so.
fn ends(words: &[&str], code: i32) -> Finished {
    let end = run(words);
    assert_eq!(end.code(), Some(code), "{words:?} says: {}", end.stderr);
    end
}

fn read(path: &str) -> String {
    fs::read_to_string(path).expect("the file is there")
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

/// Run directories for three shards.
fn dirs(folder: &TempDir) -> [String; 3] {
    ["a", "b", "c"].map(|name| within(folder, name))
}

/// Failures without what is another in every run: process ids, times, and memory.
fn failures(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| {
        let mut failure: serde_json::Value = serde_json::from_str(line).expect("a failure is JSON");
        let fields = failure.as_object_mut().expect("a failure is an object");
        // No run directory keeps the digest: it has the arguments themselves.
        for name in ["pid", "run_s", "cpu_s", "peak_rss_bytes", "backtrace", "args_digest"] {
            fields.remove(name);
        }
        let error = fields["error"].as_str().expect("an error is text");
        fields["error"] = error.split(", ran ").next().into();
        failure.to_string()
    });
    lines.collect()
}

procession_harness::cases! {
    fn shards_come_to_what_the_whole_comes_to() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (spec, dirs) = (dying(&folder), dirs(&folder));
        for (number, dir) in (1..).zip(&dirs) {
            let end = ends(&["run", &spec, "--shard", &format!("{number}/3"), "--run-dir", dir, "--quiet"], 1);
            assert!(end.stdout.lines().count() > 300);
        }
        for (format, flags) in [("jsonl", &["--indexed"][..]), ("csv", &["--indexed"]), ("json", &[]), ("jsonl", &[])] {
            let [whole, merged] = ["whole", "merged"].map(|name| within(&folder, &format!("{name}.{format}")));
            let [lost, failed] = ["whole.failed", "merged.failed"].map(|name| within(&folder, name));
            let words = ["run", &spec, "--quiet", "--output", &whole, "--failures", &lost];
            ends(&[&words[..], flags].concat(), 1);
            // In any order.
            let words = ["merge", &dirs[2], &dirs[0], &dirs[1], "--output", &merged, "--failures", &failed];
            let end = ends(&[&words[..], flags].concat(), 1);
            assert_eq!(end.stderr, "dying: 1000 items, 980 values, 20 without (20 worker lost) from 3 parts\n");
            assert_eq!(read(&whole), read(&merged), "{format} {flags:?}");
            assert_eq!(failures(&read(&lost)), failures(&read(&failed)));
            // Byte for byte what the shards have.
            let mut told: Vec<String> = Vec::new();
            for dir in &dirs {
                told.extend(ends(&["failed", dir, "--json"], 0).stdout.lines().map(str::to_owned));
            }
            told.sort_by_key(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["index"].as_u64());
            assert_eq!(told, read(&failed).lines().collect::<Vec<_>>());
        }
    }

    fn a_shard_that_was_killed_is_missed_until_it_has_gone_on() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (spec, ledger, dirs) = (within(&folder, "job.toml"), within(&folder, "ledger"), dirs(&folder));
        let text = format!("task = \"faults::note\"\n[pool]\nworkers = 2\n[input]\nrepeat = 900\nargs = [{ledger:?}, \"{{index}}\", 5e-3]\n");
        fs::write(&spec, text).expect("the folder can be written");
        let begun = || fs::read_to_string(&ledger).unwrap_or_default().lines().count();
        let words = ["run", &spec, "--quiet", "--shard", "2/3", "--run-dir", &dirs[1]];
        let running = start(procession(&words));
        assert!(procession_harness::wait_until(Duration::from_secs(60), || begun() >= 50), "it does not begin");
        let merge = ["merge", &dirs[1], "--partial"];
        // It is asked while it runs: refused, or taken as it is.
        let end = ends(&["merge", &dirs[1]], 75);
        assert!(end.stderr.contains(&format!("run directory {} is in use by process {}", dirs[1], running.pid())), "{}", end.stderr);
        ends(&merge, 1);
        running.signal(Signal::SIGKILL);
        running.finish();
        ends(&["run", &spec, "--quiet", "--shard", "1/3", "--run-dir", &dirs[0]], 0);
        ends(&["run", &spec, "--quiet", "--shard", "3/3", "--run-dir", &dirs[2]], 0);
        let values = within(&folder, "values.jsonl");
        let words_all = ["merge", &dirs[0], &dirs[1], &dirs[2], "-o", &values];
        let end = ends(&words_all, 2);
        assert!(end.stderr.contains(" of 900 items have no outcome; ") && end.stderr.contains("(--shard 2/3) is unfinished, with "), "{}", end.stderr);
        assert!(!Path::new(&values).exists(), "nothing is written");
        let end = ends(&[&words_all[..], &["--partial"]].concat(), 1);
        assert!(end.stderr.contains("is unfinished"), "{}", end.stderr);
        let end = ends(&[&words[..], &["--resume", "--rerun-unknown"]].concat(), 0);
        let told = end.stderr.lines().find_map(|line| line.strip_prefix("warning: ")?.split_once(" may have been running"));
        let unknown = told.and_then(|(items, _)| items.split(' ').next()?.parse::<usize>().ok()).unwrap_or_default();
        ends(&words_all, 0);
        assert_eq!(read(&values).lines().collect::<Vec<_>>(), (0..900).map(|x| x.to_string()).collect::<Vec<_>>());
        // Whoever begins an item twice asks for it: of those that were unknown.
        let begun = read(&ledger);
        let mut starts: Vec<u64> = begun.lines().map(|line| line.parse().expect("a line is an item")).collect();
        let begun = starts.len();
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), 900);
        assert!(begun - 900 <= unknown, "{} starts too many, and {unknown} items were unknown", begun - 900);
    }

    fn what_is_no_whole_job_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [a, b, c] = dirs(&folder);
        let values = within(&folder, "values.jsonl");
        let part = |dir: &str, range: &str, flags: &[&str]| {
            let words = ["map", "square", "--range", range, "--quiet", "--run-dir", dir];
            ends(&[&words[..], flags].concat(), 0);
        };
        let refused = |dirs: &[&str], what: &str| {
            let end = ends(&[&["merge"][..], dirs, &["-o", &values]].concat(), 2);
            assert!(end.stderr.contains(what), "{}", end.stderr);
            assert!(!Path::new(&values).exists(), "nothing is written");
        };
        part(&a, "0..20", &["--shard", "1/4"]);
        part(&b, "0..20", &["--shard", "3/4"]);
        part(&c, "0..21", &[]);
        refused(&[&a, &c], "is not of the job of");
        refused(&[&a, &c], "the number of items is `21`, and `20` there");
        let missing = "10 of 20 items have no outcome; none of the directories has --shard 2/4, --shard 4/4 (10 items)";
        refused(&[&a, &b], missing);
        refused(&[&a, &within(&folder, "nowhere")], "there is no run in");
        let first = within(&folder, "first");
        part(&first, "0..20", &["--limit", "3"]);
        refused(&[&first, &a], "none of the directories has 13 items of these, the first of them item 3");
        let end = ends(&["merge", &a, &b, "--partial", "--indexed"], 1);
        assert!(end.stderr.starts_with(&format!("warning: {missing}")), "{}", end.stderr);
        assert_eq!(end.lines().len(), 10);
        assert_eq!(end.lines()[1], "{\"index\": 2, \"value\": 4}");

        let other = within(&folder, "other");
        ends(&["map", "faults::sleep", "0", "0.3", "--run-dir", &other, "--quiet"], 0);
        refused(&[&a, &other], "the task is `procession_tasks::faults::sleep`, and `procession_tasks::tutorial::square` there");
        let late = within(&folder, "late");
        ends(&["map", "faults::sleep", "0", "0.3", "--run-dir", &late, "--quiet", "--timeout", "50ms"], 1);
        refused(&[&other, &late], "item 1 is `ok` in ");
        refused(&[&other, &late], "parts overlap and do not agree");
        let swapped = within(&folder, "swapped");
        ends(&["map", "faults::sleep", "0.3", "0", "--run-dir", &swapped, "--quiet"], 0);
        refused(&[&other, &swapped], "its items have other arguments, or another order");
        let [one, two] = ["one", "two"].map(|name| within(&folder, name));
        for dir in [&one, &two] {
            ends(&["exec", "--values", "%N", "--run-dir", dir, "--quiet", "--", "sh", "-c", "date +$0", "{}"], 0);
        }
        refused(&[&one, &two], "item 0 came to one thing in ");
        // Where they agree they may overlap.
        let again = within(&folder, "again");
        part(&again, "0..21", &["--select", "3,5-"]);
        let end = ends(&["merge", &c, &again], 0);
        assert_eq!(end.lines().len(), 21);

        for (flags, what) in [
            (&["-o", &values, "--failures", &values][..], "values and failures go to the same file"),
            (&["--failures", "-"], "failures go to a file"),
            (&["-o", &format!("{c}/run.sqlite"), "--format", "jsonl"], "it belongs to the run directory itself"),
        ] {
            let end = ends(&[&["merge", c.as_str()][..], flags].concat(), 2);
            assert!(end.stderr.contains(what), "{}", end.stderr);
        }
        ends(&["merge", &c], 0);
    }

    fn a_selection_in_shards_is_a_whole_of_its_own_and_may_be_reduced() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [a, b, values] = ["a", "b", "values.jsonl"].map(|name| within(&folder, name));
        let spec = within(&folder, "job.toml");
        let text = "name = \"sum\"\ntask = \"square\"\nreduce = \"sum\"\n[input]\nrange = { start = 0, stop = 1000 }\n";
        fs::write(&spec, text).expect("the folder can be written");
        let whole = ends(&["run", &spec, "--quiet", "--select", "10-19,500-"], 0);
        for (dir, shard) in [(&a, "1/2"), (&b, "2/2")] {
            ends(&["run", &spec, "--quiet", "--select", "10-19,500-", "--shard", shard, "--run-dir", dir], 0);
        }
        let merged = ends(&["merge", &a, &b, "--output", &values], 0);
        assert_eq!(whole.stdout, merged.stdout);
        assert_eq!(read(&values).lines().count(), 510);
        let end = ends(&["merge", &b, "--partial"], 1);
        assert!(end.stderr.contains("the result is over 255 values: 255 items had none"), "{}", end.stderr);
    }
}
