//! Outputs that fill up or go away.

use std::fs::File;

use nix::sys::signal::Signal;

use crate::program::{procession, run, start, start_as_is, within};

procession_harness::cases! {
    fn a_reader_that_leaves_ends_the_run_quietly() {
        // More than any pipe holds, and far more than is computed before anybody looks.
        let mut running = start(procession(&["map", "square", "--range", "0..1000000000"]));
        assert_eq!((running.line(), running.line()), ("0".to_owned(), "1".to_owned()));
        running.close_stdout();
        let end = running.finish();
        assert_eq!(end.signal(), Some(Signal::SIGPIPE), "{}", end.stderr);
        assert_eq!(end.stderr, "");
    }

    fn a_listing_nobody_reads_ends_quietly() {
        // Before the program is there: it may have written everything into the pipe by the time one that has it is closed.
        let (reader, writer) = std::io::pipe().expect("the system has a pipe to spare");
        drop(reader);
        let mut command = procession(&["tasks", "--json"]);
        command.stdout(writer);
        let end = start_as_is(command).finish();
        assert_eq!((end.signal(), end.stderr.as_str()), (Some(Signal::SIGPIPE), ""));
    }

    fn a_full_device_is_told() {
        for words in [
            &["map", "square", "--range", "0..1000000000"][..],
            &["map", "square", "1"],
            &["map", "square", "1", "--format", "json"],
            &["run", &crate::program::example("pi.toml")],
            &["tasks"],
        ] {
            let mut command = procession(words);
            command.stdout(File::create("/dev/full").expect("there is a full device"));
            let end = start_as_is(command).finish();
            assert_eq!(end.code(), Some(74), "{words:?}: {}", end.stderr);
            assert!(
                end.stderr.contains("error: cannot write to stdout: no space left on device"),
                "{words:?}: {}",
                end.stderr
            );
            let is_run = words[0] != "tasks";
            assert_eq!(is_run, end.stderr.contains(" unrecorded"), "{words:?}: {}", end.stderr);
        }
    }

    fn a_full_device_says_how_much_is_missing() {
        // The first values leave the buffer, and do not arrive: none of all the outcomes is certain.
        let mut command = procession(&["map", "square", "--range", "0..100000"]);
        command.stdout(File::create("/dev/full").expect("there is a full device"));
        let end = start_as_is(command).finish();
        let said = "no value is certain to be in it; 100000 of 100000 outcomes unrecorded";
        assert!(end.stderr.contains(said), "{}", end.stderr);
    }

    fn full_files_are_told() {
        let end = run(&["map", "square", "--range", "0..1000000000", "-o", "/dev/full", "--format", "jsonl"]);
        assert_eq!(end.code(), Some(74), "{}", end.stderr);
        let words = ["map", "faults::sleep", "--timeout", "10ms", "600", "--failures", "/dev/full"];
        let end = run(&words);
        assert_eq!(end.code(), Some(74), "{}", end.stderr);
        assert!(end.stderr.contains("cannot write to /dev/full"), "{}", end.stderr);
    }

    fn no_file_is_touched_by_a_refused_run() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = within(&folder, "kept.jsonl");
        std::fs::write(&path, "kept\n").expect("a file is written");
        let end = run(&["map", "square", "1", "two", "--output", &path]);
        assert_eq!(end.code(), Some(2), "{}", end.stderr);
        assert_eq!(std::fs::read_to_string(&path).expect("it is still there"), "kept\n");
    }

    fn results_of_an_earlier_run_stay_until_there_are_new_ones() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = within(&folder, "kept.jsonl");
        std::fs::write(&path, "kept\n").expect("a file is written");
        // The failures cannot be written, and the workers cannot start.
        let nowhere = within(&folder, "nowhere/failed.jsonl");
        let end = run(&["map", "square", "1", "--output", &path, "--failures", &nowhere]);
        assert_eq!(end.code(), Some(74), "{}", end.stderr);
        assert_eq!(std::fs::read_to_string(&path).expect("it is still there"), "kept\n");
        let command = procession(&["map", "square", "1", "--output", &path]);
        // Not enough descriptors for a pool.
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", "ulimit -n 12; exec \"$0\" \"$@\""]);
        limited.arg(command.get_program()).args(command.get_args());
        let end = start(limited).finish();
        assert!(matches!(end.code(), Some(2 | 70)), "{:?}: {}", end.status, end.stderr);
        assert_eq!(std::fs::read_to_string(&path).expect("it is still there"), "kept\n");
        // A new run writes over all of them, the longer ones included.
        let end = run(&["map", "square", "1", "--output", &path]);
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
        assert_eq!(std::fs::read_to_string(&path).expect("it is still there"), "1\n");
    }

    fn a_csv_keeps_what_tasks_say_went_wrong() {
        let end = run(&["map", "exec", "--format", "csv", "--quiet", r#"["true"]"#, r#"["/nowhere/at all"]"#]);
        assert_eq!(end.code(), Some(0), "{}", end.stderr);
        let lines = end.lines();
        assert_eq!((lines.len(), lines[0]), (3, "Ok,Err"), "{}", end.stdout);
        assert!(lines[2].starts_with(',') && lines[2].contains("No such file"), "{}", end.stdout);
    }

    fn the_input_is_never_written_over() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let rows = within(&folder, "rows.jsonl");
        std::fs::write(&rows, "1\n2\n").expect("rows are written");
        // The same file by another name.
        let alias = within(&folder, "alias.jsonl");
        std::os::unix::fs::symlink(&rows, &alias).expect("a link is made");
        for flags in [["--output", &rows], ["--output", &alias], ["--failures", &alias]] {
            let end = run(&["map", "square", "--jsonl", &rows, flags[0], flags[1]]);
            assert_eq!(end.code(), Some(2), "{}", end.stderr);
            assert!(end.stderr.contains("would be overwritten"), "{}", end.stderr);
            assert_eq!(std::fs::read_to_string(&rows).expect("it is still there"), "1\n2\n");
        }
        let both = within(&folder, "both.jsonl");
        let end = run(&["map", "square", "1", "--output", &both, "--failures", &both]);
        assert_eq!(end.code(), Some(2), "{}", end.stderr);
    }
}
