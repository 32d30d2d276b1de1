//! The `procession` program in a real terminal, with the keys that send signals. Each test in a process of its own.

mod progress;
mod session;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use procession_harness::{Signal, alive, send_signal, stop, wait_until};
use session::{CTRL_BACKSLASH, CTRL_C, CTRL_Z, LIMIT, PROGRAM, Session, signal, wait_state};

/// A third signal ends the program within this time.
const KILL_LIMIT: Duration = Duration::from_secs(1);

/// A limit of an item that only a pause can exceed, and such a pause.
const ITEM_LIMIT: &str = "6s";
const PAUSE: Duration = Duration::from_secs(8);

/// A file in the test's directory, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        Scratch(std::env::temp_dir().join(name))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("the temporary folder's path is text")
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.0).expect("the file was written")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A run of which one item is done and `sleeps` are to follow, all under way at once.
fn sleeping(values: &Scratch, sleeps: &[&str], flags: &[&str]) -> Session {
    let workers = sleeps.len().to_string();
    let mut words = vec!["map", "faults::sleep", "--chunk-size", "1", "-j", &workers, "-o", values.path()];
    words.extend(flags);
    words.push("0");
    words.extend(sleeps);
    let session = Session::start(&words);
    session.wait_for(&format!("1/{} ", sleeps.len() + 1));
    session
}

procession_harness::cases! {
    fn ctrl_c_once_finishes_what_runs() {
        let values = Scratch::new("values.jsonl");
        // Which of them run is not certain: a worker that is late may take items from behind.
        let sleeps = ["1"; 42];
        let words = ["map", "faults::sleep", "--chunk-size", "1", "-j", "2", "-o", values.path(), "0"];
        let session = Session::start(&[&words[..], &sleeps].concat());
        session.wait_for("1/43 ");
        session.type_in(CTRL_C);
        session.wait_for("SIGINT: finishing what runs, beginning nothing new; once more to stop it");
        let (status, shown) = session.finish();
        assert_eq!(signal(status), Some(Signal::SIGINT), "{shown}");
        let done = values.text().lines().count();
        let summary = format!("43 items, {done} values, {} without ({0} not run)", 43 - done);
        assert!((2..20).contains(&done) && shown.contains(&summary), "wanted {summary} in:\n{shown}");
    }

    fn ctrl_c_twice_stops_what_runs() {
        let values = Scratch::new("values.jsonl");
        let session = sleeping(&values, &["600", "600"], &[]);
        session.type_in(CTRL_C);
        session.wait_for("once more to stop it");
        session.type_in(CTRL_C);
        session.wait_for("SIGINT: stopping what runs; once more to kill it");
        let (status, shown) = session.finish();
        assert_eq!(signal(status), Some(Signal::SIGINT), "{shown}");
        assert!(shown.contains("3 items, 1 value, 2 without ("), "{shown}");
        assert_eq!(values.text(), "0.0\n");
    }

    fn ctrl_c_three_times_kills() {
        let values = Scratch::new("values.jsonl");
        let session = sleeping(&values, &["600", "600"], &[]);
        let workers = session.wait_workers(session.pid(), 2);
        // They do not go when they are asked to.
        workers.iter().for_each(|pid| stop(*pid, LIMIT));
        session.type_in(CTRL_C);
        session.wait_for("once more to stop it");
        session.type_in(CTRL_C);
        session.wait_for("once more to kill it");
        session.type_in(CTRL_C);
        let start = Instant::now();
        let (status, shown) = session.finish();
        assert!(start.elapsed() < KILL_LIMIT, "{:?}", start.elapsed());
        assert_eq!(signal(status), Some(Signal::SIGINT), "{shown}");
        assert!(wait_until(2 * KILL_LIMIT, || !workers.iter().any(|pid| alive(*pid))), "workers live on");
    }

    fn signals_end_a_run_whose_terminal_takes_no_more() {
        for flags in [&[][..], &["--no-progress"]] {
            let words = [&["map", "square", "--range", "0..100000000"], flags].concat();
            let mut session = Session::unread(&words);
            session.wait_until_it_blocks();
            // What is to be said in answer must wait, and nothing else with it.
            send_signal(session.pid(), Signal::SIGUSR1);
            let mut sent = 0;
            let status = loop {
                send_signal(session.pid(), Signal::SIGTERM);
                sent += 1;
                if let Some(status) = session.ends_within(KILL_LIMIT) {
                    break status;
                }
                assert!(sent < 3, "it lives after three signals");
            };
            assert_eq!(signal(status), Some(Signal::SIGTERM));
        }
    }

    fn signals_of_both_kinds_count_together() {
        let values = Scratch::new("values.jsonl");
        let session = sleeping(&values, &["600"], &[]);
        send_signal(session.pid(), Signal::SIGTERM);
        session.wait_for("SIGTERM: finishing what runs");
        session.type_in(CTRL_C);
        session.wait_for("stopping what runs");
        let (status, shown) = session.finish();
        assert_eq!(signal(status), Some(Signal::SIGTERM), "{shown}");
    }

    fn ctrl_backslash_kills() {
        let values = Scratch::new("values.jsonl");
        let session = sleeping(&values, &["600"], &[]);
        session.type_in(CTRL_BACKSLASH);
        assert_eq!(signal(session.finish().0), Some(Signal::SIGQUIT));
    }

    fn ctrl_z_stops_everything_and_no_limit_runs_on() {
        let values = Scratch::new("values.jsonl");
        let session = sleeping(&values, &["4", "4"], &["--timeout", ITEM_LIMIT]);
        let mut processes = session.wait_workers(session.pid(), 2);
        processes.push(session.pid());
        session.type_in(CTRL_Z);
        wait_state(&processes, 'T');
        // The time that is not to pass.
        std::thread::sleep(PAUSE);
        wait_state(&processes, 'T');
        send_signal(session.pid(), Signal::SIGCONT);
        let (status, shown) = session.finish();
        assert!(status.success(), "{shown}");
        assert_eq!(values.text(), "0.0\n4.0\n4.0\n");
        assert!(shown.contains("3 items, 3 values in"), "{shown}");
    }

    fn a_suspended_run_is_ended_by_what_it_is_sent() {
        let values = Scratch::new("values.jsonl");
        let session = sleeping(&values, &["600", "600"], &[]);
        let workers = session.wait_workers(session.pid(), 2);
        session.type_in(CTRL_Z);
        wait_state(&[session.pid()], 'T');
        send_signal(session.pid(), Signal::SIGKILL);
        assert_eq!(signal(session.finish().0), Some(Signal::SIGKILL));
        assert!(wait_until(2 * KILL_LIMIT, || !workers.iter().any(|pid| alive(*pid))), "workers live on");
    }

    fn a_shell_suspends_and_resumes_its_job() {
        let values = Scratch::new("values.jsonl");
        let shell = Session::of("bash", &["--norc", "--noprofile", "--noediting", "-i"]);
        let path = values.path();
        shell.type_in(&format!("{PROGRAM} map faults::sleep -j 1 --chunk-size 1 -o {path} 0 600\n"));
        shell.wait_for("1/2 ");
        for round in 1..=2 {
            shell.type_in(CTRL_Z);
            let reached = wait_until(LIMIT, || shell.shown().matches("Stopped").count() == round);
            assert!(reached, "{}", shell.shown());
            let before = shell.shown().matches("1/2 ").count();
            shell.type_in("fg\n");
            let is_back = wait_until(LIMIT, || shell.shown().matches("1/2 ").count() > before);
            assert!(is_back, "the bar does not come back:\n{}", shell.shown());
        }
        shell.type_in(CTRL_C);
        shell.wait_for("once more to stop it");
        shell.type_in(CTRL_C);
        shell.wait_for("2 items, 1 value, 1 without (1 stopped while running)");
        shell.type_in("echo status=$?\n");
        shell.wait_for("status=130");
        shell.type_in("exit\n");
        let (status, shown) = shell.finish();
        assert!(status.success(), "{shown}");
    }

    fn a_terminal_that_goes_stops_the_run() {
        let (values, failures) = (Scratch::new("values.jsonl"), Scratch::new("failures.jsonl"));
        let session = sleeping(&values, &["600", "600"], &["--failures", failures.path()]);
        // What a shell and a kernel do to the jobs of a terminal that goes, more than once.
        send_signal(session.pid(), Signal::SIGHUP);
        send_signal(session.pid(), Signal::SIGHUP);
        session.wait_for("SIGHUP: stopping what runs");
        send_signal(session.pid(), Signal::SIGHUP);
        let (status, shown) = session.finish();
        assert_eq!(signal(status), Some(Signal::SIGHUP), "{shown}");
        assert_eq!(values.text(), "0.0\n");
        assert_eq!(failures.text().lines().count(), 2, "{}", failures.text());
    }

    fn a_run_whose_hangups_are_ignored_goes_on() {
        let values = Scratch::new("values.jsonl");
        let line = format!("trap '' HUP; exec {PROGRAM} map faults::sleep -j 1 --chunk-size 1 -o {} 0 2", values.path());
        let session = Session::of("bash", &["-c", &line]);
        session.wait_for("1/2 ");
        send_signal(session.pid(), Signal::SIGHUP);
        let (status, shown) = session.finish();
        assert!(status.success(), "{shown}");
        assert_eq!(values.text(), "0.0\n2.0\n");
    }
}

procession_harness::main!();
