//! A run that really was, as a page and as a trace.

use std::fs;
use std::path::Path;

use crate::program::{run, within};

procession_harness::cases! {
    fn a_run_becomes_a_page_and_a_trace() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (spec, dir) = (within(&folder, "job.toml"), within(&folder, "run"));
        let text = "name = \"mixed\"\ntask = \"faults::die_every\"\n[pool]\nworkers = 2\n[input]\nrepeat = 200\n\
                    args = [\"{index}\", 50, \"segv\"]\n";
        fs::write(&spec, text).expect("the folder can be written");
        let end = run(&["run", &spec, "--run-dir", &dir, "--quiet"]);
        assert_eq!(end.code(), Some(1), "{}", end.stderr);

        let end = run(&["report", &dir]);
        assert_eq!((end.code(), end.stdout.as_str()), (Some(0), ""), "{}", end.stderr);
        let page = fs::read_to_string(Path::new(&dir).join("report.html")).expect("the page is in the run directory");
        assert!(page.contains("<h1>mixed</h1>") && page.contains("killed by SIGSEGV"), "{page}");
        let (page, trace) = (within(&folder, "page.html"), within(&folder, "trace.json"));
        let end = run(&["report", &dir, "--trace", &trace]);
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
        assert_eq!(end.stderr, format!("trace: {trace}\n"), "no page without being asked for");
        let trace: serde_json::Value =
            serde_json::from_slice(&fs::read(trace).expect("there is a trace")).expect("it is JSON");
        let events = trace["traceEvents"].as_array().expect("it has events");
        let count = |kind: &str| events.iter().filter(|event| event["ph"] == kind).count();
        assert_eq!(count("X"), 200, "each item has its place in time");
        let deaths = events.iter().filter(|event| event["name"] == "process dies: killed by SIGSEGV");
        assert_eq!(deaths.count(), 4);
        assert_eq!(run(&["report", &dir, "-o", &page]).code(), Some(0));
        assert!(Path::new(&page).exists());
    }

    fn nothing_is_written_over_a_run() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (dir, commands) = (within(&folder, "run"), within(&folder, "commands"));
        let job = ["map", "square", "1", "2", "--run-dir", &dir, "--quiet"];
        assert_eq!(run(&job).code(), Some(0));
        assert_eq!(run(&["exec", "--values", "1", "--run-dir", &commands, "--quiet", "--", "echo"]).code(), Some(0));
        let status = [&dir, &commands].map(|dir| run(&["status", dir]).stdout);
        for name in ["run.sqlite", "run.sqlite-wal", "lock"] {
            let (file, other) = (format!("{dir}/{name}"), format!("{commands}/{name}"));
            let resumed = |flag: &'static str| [&job[..], &["--resume", "--format", "jsonl", flag, &file]].concat();
            for words in [
                &["report", &dir, "-o", &file][..],
                &["report", &dir, "--trace", &file],
                &["export", &dir, "--format", "jsonl", "--output", &file],
                &["export", &commands, "--raw", "--output", &other],
                &resumed("--output"),
                &resumed("--failures"),
                &resumed("--events"),
                &resumed("--report"),
            ] {
                let end = run(words);
                assert_eq!(end.code(), Some(2), "{words:?}: {}", end.stderr);
                assert!(end.stderr.contains("it belongs to the run directory itself"), "{}", end.stderr);
            }
        }
        assert_eq!([&dir, &commands].map(|dir| run(&["status", dir]).stdout), status);
    }

    fn no_run_and_no_room_are_told_apart() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (empty, page) = (within(&folder, "none"), within(&folder, "page.html"));
        let end = run(&["report", &empty, "-o", &page]);
        assert_eq!(end.code(), Some(2), "{}", end.stderr);
        assert!(end.stderr.contains("there is no run in"), "{}", end.stderr);
        assert!(!Path::new(&page).exists());
        let dir = within(&folder, "run");
        assert_eq!(run(&["map", "square", "1", "--run-dir", &dir, "--quiet"]).code(), Some(0));
        let end = run(&["report", &dir, "-o", "/dev/full"]);
        assert_eq!(end.code(), Some(74), "{}", end.stderr);
        assert!(end.stderr.contains("cannot write report /dev/full: no space left on device"), "{}", end.stderr);
    }
}
