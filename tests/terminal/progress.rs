//! What a run shows while it runs, as a terminal shows it.

use std::process::{Command, Stdio};

use procession_harness::wait_until;

use crate::Scratch;
use crate::session::{LIMIT, PROGRAM, Session};

/// The rows that a terminal of a size shows after all that was written to it, down to that of the cursor.
fn rows(shown: &str, height: usize, width: usize) -> Vec<String> {
    let mut rows = vec![Vec::<char>::new()];
    let (mut row, mut column) = (0_usize, 0_usize);
    let mut rest = shown.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\x1b' => {
                assert_eq!(rest.next(), Some('['), "{shown:?}");
                let mut count = String::new();
                let end = loop {
                    match rest.next().expect("a sequence ends") {
                        part if part.is_ascii_digit() || part == '?' => count.push(part),
                        end => break end,
                    }
                };
                let is_update = count == "?2026";
                let count = count.parse::<usize>().unwrap_or(1);
                // No further up than the screen goes.
                let top = rows.len().saturating_sub(height);
                match end {
                    'A' => row = row.saturating_sub(count).max(top),
                    'B' => row = (row + count).min(rows.len() - 1),
                    'K' => rows[row].truncate(column),
                    'J' => {
                        rows[row].truncate(column);
                        rows.truncate(row + 1);
                    }
                    'h' | 'l' if is_update => {}
                    other => panic!("{other:?} is not expected: {shown:?}"),
                }
            }
            c => {
                if column == width {
                    (row, column) = (row + 1, 0);
                    rows.resize(rows.len().max(row + 1), Vec::new());
                }
                let cells = rows[row].len().max(column + 1);
                rows[row].resize(cells, ' ');
                rows[row][column] = c;
                column += 1;
            }
        }
        rows.resize(rows.len().max(row + 1), Vec::new());
    }
    let mut rows: Vec<String> =
        rows.into_iter().map(|row| row.into_iter().collect::<String>().trim_end().to_owned()).collect();
    // What was cleared below the cursor is no row of anybody's.
    let last = rows.iter().rposition(|row| !row.is_empty()).unwrap_or_default();
    rows.truncate(last.max(row) + 1);
    rows
}

/// Waits until the last rows, but for the one of the cursor, are as wanted.
fn wait_for_picture(session: &Session, (height, width): (usize, usize), wanted: impl Fn(&[String]) -> bool) {
    let mut seen = Vec::new();
    let reached = wait_until(LIMIT, || {
        seen = rows(&session.shown(), height, width);
        let from = seen.len().saturating_sub(height);
        seen.last().is_some_and(String::is_empty) && wanted(&seen[from..seen.len() - 1])
    });
    assert!(reached, "{}", seen.join("\n"));
}

procession_harness::cases! {
    fn each_worker_and_the_whole_have_a_line() {
        let words = ["exec", "-j", "3", "--chunk-size", "1", "--values", "0", "600", "601", "--", "sleep"];
        let session = Session::start(&words);
        wait_for_picture(&session, (40, 120), |rows| {
            let [.., first, second, third, whole] = rows else { return false };
            let workers = [first, second, third];
            let numbered = (0..).zip(workers).all(|(slot, row)| row.starts_with(&format!("worker {slot}: ")));
            let runs = |what: &str| workers.iter().any(|row| row.contains("item ") && row.ends_with(what));
            let idle = workers.iter().any(|row| row.ends_with(": idle"));
            numbered && runs(": sleep 600") && runs(": sleep 601") && idle && whole.contains(" 1/3 33%, ")
        });
        // Where there is less room it is used; nothing of what was there stays.
        session.resize(4, 44);
        wait_for_picture(&session, (4, 44), |rows| {
            // One row is left to what is above.
            let [_, more, whole] = rows else { return false };
            more == "… and 3 more workers" && whole.starts_with("1/3 33%, ")
        });
        drop(session);
    }

    fn lines_are_cut_where_the_terminal_ends() {
        let long = "x".repeat(300);
        let session = Session::start(&["exec", "-j", "1", "--values", "600", "--", "sh", "-c", "sleep 600", &long]);
        wait_for_picture(&session, (40, 120), |rows| {
            let [.., worker, _] = rows else { return false };
            worker.ends_with("xxx…") && worker.chars().count() == 119
        });
    }

    fn what_workers_print_stands_above() {
        let values = Scratch::new("values.jsonl");
        // While there is a picture, which takes a moment to come.
        let script = "sleep 1; line=0; while [ $line -lt 40 ]; do echo line $line of a worker >&2; line=$((line + 1)); done";
        let words = ["exec", "-j", "2", "-o", values.path(), "--values", "1", "2", "--", "sh", "-c", script];
        let (status, shown) = Session::start(&words).finish();
        assert!(status.success() && shown.contains("0/2 0%"), "{shown}");
        let rows = rows(&shown, 40, 120);
        for line in 0..40 {
            let line = format!("line {line} of a worker");
            assert_eq!(rows.iter().filter(|row| **row == line).count(), 2, "{line}: {}", rows.join("\n"));
        }
        // The summary, and nothing of the picture.
        assert_eq!(rows.len(), 82, "{}", rows.join("\n"));
    }

    fn values_on_the_same_terminal_stand_above() {
        let sleeps = ["0.6", "0.1", "0.11", "0.12", "0.13", "0.14", "0.15", "0.16"];
        let words = [&["map", "faults::sleep", "-j", "1", "--chunk-size", "1"], &sleeps[..]].concat();
        let (status, shown) = Session::start(&words).finish();
        assert!(status.success() && shown.contains(": faults::sleep(0.6)"), "{shown}");
        let rows = rows(&shown, 40, 120);
        let (values, rest) = rows.split_at(sleeps.len());
        assert!(values == sleeps && rest.len() == 2 && rest[0].contains("8 items, 8 values in"), "{}", rows.join("\n"));
    }

    fn a_line_that_is_not_ended_gives_way_to_the_picture_and_to_what_is_said() {
        let script = "sleep 0.6; printf '%s.' $0; test $0 -lt 3";
        let words = ["exec", "-j", "1", "--values", "1", "2", "3", "--", "sh", "-c", script];
        let session = Session::start(&words);
        // It is there after that, too.
        wait_for_picture(&session, (40, 120), |rows| {
            let [.., printed, worker, whole] = rows else { return false };
            printed == "1." && worker.starts_with("worker 0: ") && whole.contains(" 1/3 33%, ")
        });
        let (_, shown) = session.finish();
        let rows = rows(&shown, 40, 120);
        assert!(rows[..3] == ["1.", "2.", "3."], "{}", rows.join("\n"));
        assert!(rows[3].starts_with("item 2: `sh -c "), "{}", rows.join("\n"));
        // Nor is anything glued to it where there is no picture.
        let script = "printf '%s.' $0; test $0 -lt 3";
        let words = ["exec", "--no-progress", "-j", "1", "--values", "1", "2", "3", "--", "sh", "-c", script];
        let (_, shown) = Session::start(&words).finish();
        assert!(shown.starts_with("1.2.3.\r\nitem 2: `sh -c "), "{shown}");
    }

    fn stdout_that_is_no_terminal_has_every_byte() {
        let values = Scratch::new("values.txt");
        let line = format!(
            "{PROGRAM} exec -j 1 --values 1 2 3 -- sh -c 'sleep 0.3; printf %s. $0; printf %s, $0 >&2' > {}",
            values.path()
        );
        let (status, shown) = Session::of("sh", &["-c", &line]).finish();
        assert!(status.success() && shown.contains("1/3 33%"), "{shown}");
        assert_eq!(values.text(), "1.2.3.");
        assert_eq!(rows(&shown, 40, 120)[..3], ["1,", "2,", "3,"], "{shown}");
    }

    fn the_picture_is_there_however_much_is_printed() {
        let words = ["exec", "-j", "2", "--range", "0..1500", "--", "sh", "-c", "echo out $0; echo err $0 >&2", "{}"];
        let (status, shown) = Session::start(&words).finish();
        assert!(status.success(), "{shown}");
        let (before, rest) = shown.split_once("/1500 ").expect("there is a picture");
        assert!(!before.contains("\x1b[K\x1b[B"), "taken away before it was there");
        // Each time it is taken away it is painted again within the same update; the last one is the end.
        let updates: Vec<&str> = rest.split("\x1b[?2026h").skip(1).collect();
        let (last, updates) = updates.split_last().expect("it was taken away at least in the end");
        for update in updates {
            let (whole, _) = update.split_once("\x1b[?2026l").expect("an update ends");
            assert!(whole.contains("/1500 "), "{whole:?}");
        }
        assert!(!last.contains("/1500 "), "{last:?}");
        // Eight looks a second, and some for a machine that is late.
        let seconds = shown.rsplit_once(" in ").map(|(_, end)| end);
        assert!(updates.len() < 400, "{} updates in {seconds:?}", updates.len());
        let rows = rows(&shown, 40, 120);
        for item in 0..1500 {
            let out = rows.iter().position(|row| *row == format!("out {item}"));
            let err = rows.iter().position(|row| *row == format!("err {item}"));
            assert!(out.is_some() && out.map(|row| row + 1) == err, "item {item}: {out:?} {err:?}");
        }
        assert_eq!(rows.len(), 3002, "{}", rows.join("\n"));
    }

    fn the_picture_is_for_terminals_alone() {
        let values = Scratch::new("values.jsonl");
        let words = ["map", "faults::sleep", "1.5", "-o", values.path()];
        for (more, is_shown) in [(&[][..], true), (&["--no-progress"], false), (&["--quiet"], false)] {
            let (status, shown) = Session::start(&[&words[..], more].concat()).finish();
            assert!(status.success() && shown.contains("0/1 0%") == is_shown, "{shown}");
        }
        for (more, is_told) in [(&[][..], true), (&["--no-progress"], false), (&["--quiet"], false)] {
            let mut program = Command::new(PROGRAM);
            let end = program.args(words).args(more).stdin(Stdio::null()).output().expect("the program starts");
            let said = String::from_utf8_lossy(&end.stderr).into_owned();
            assert!(end.status.success() && !said.contains(['\r', '\x1b']), "{said}");
            assert_eq!(said.contains("progress: 0/1 0%, 0.00/s, running for 1."), is_told, "{said}");
        }
    }

    fn a_run_in_the_background_leaves_the_terminal_alone() {
        let values = Scratch::new("values.jsonl");
        let shell = Session::of("bash", &["--norc", "--noprofile", "--noediting", "-i"]);
        shell.type_in(&format!("{PROGRAM} map faults::sleep -j 1 -o {} 1.5 & wait; echo ov\"\"er\n", values.path()));
        shell.wait_for("1 item, 1 value in");
        shell.wait_for("over");
        assert!(!shell.shown().contains("0/1 0%"), "{}", shell.shown());
        shell.type_in("exit\n");
        shell.finish();
    }
}
