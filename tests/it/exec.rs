//! Commands run by the task `exec`: results come from other processes than the workers themselves.

use std::time::Duration;

use procession::{ErrorKind, Pool};
use procession_harness::{Ledger, alive, wait_until};
use procession_tasks::exec::{Ended, Order, Report, command, exec};

use crate::scenes::{LIMIT, both, kinds, outcomes, wait_lines};

fn sh(script: impl Into<String>) -> Vec<String> {
    vec!["sh".to_owned(), "-c".to_owned(), script.into()]
}

/// A command that notes its own process id, then goes on for longer than any test.
fn endless(ledger: &Ledger) -> Vec<String> {
    sh(format!("echo $$ >> '{}'; exec sleep 80", ledger.path()))
}

/// Runs a script in this process, which is nobody else's: what descends from it is the script's.
fn limited(script: &str, limit_ms: u64, grace_ms: u64) -> Report {
    let limit = Some(Duration::from_millis(limit_ms));
    let order = Order { limit, grace: Duration::from_millis(grace_ms), ..Order::new(sh(script)) };
    command(order).expect("there is a shell")
}

fn noted_pid(ledger: &Ledger) -> u32 {
    wait_lines(ledger, 1)[0].parse().expect("the command notes a number")
}

procession_harness::cases! {
    fn commands_end_in_input_order_with_what_they_printed() {
        both(2, |builder| {
            let pool = builder.build().unwrap();
            let commands = (0..100).map(|x| sh(format!("printf {x}; exit {}", x % 7)));
            let finished = pool.map(exec, commands).unwrap();
            assert_eq!(finished.len(), 100);
            for (x, finished) in (0..).zip(finished) {
                let finished = finished.unwrap();
                assert_eq!(finished.ended, Ended::Code(x % 7));
                assert_eq!(finished.stdout.as_bytes(), x.to_string().as_bytes());
                assert!(finished.stderr.as_bytes().is_empty());
            }
            pool.close().unwrap();
        });
    }

    /// Output that needs several frames comes back whole; a command that is not there harms none but itself.
    fn large_output_and_missing_programs() {
        let pool = Pool::builder().workers(2).build().unwrap();
        let bytes = 3_000_000;
        let commands = [
            vec!["head".to_owned(), "-c".to_owned(), bytes.to_string(), "/dev/zero".to_owned()],
            vec!["/nowhere".to_owned()],
            sh("printf '\\377'"),
        ];
        let mut finished = pool.map(exec, commands).unwrap().into_iter();
        let stdout = finished.next().unwrap().unwrap().stdout.into_bytes();
        assert!(stdout.len() == bytes && stdout.iter().all(|&byte| byte == 0));
        assert!(finished.next().unwrap().unwrap_err().contains("`/nowhere`"));
        assert_eq!(finished.next().unwrap().unwrap().stdout.as_bytes(), b"\xff", "bytes stay as they are");
        pool.close().unwrap();
    }

    fn a_time_limit_ends_the_command() {
        both(1, |builder| {
            let pool = builder.grace(Duration::from_millis(300)).build().unwrap();
            let ledger = Ledger::new("ledger");
            let handle = pool.apply_async(exec.timeout(Duration::from_secs(1)), (endless(&ledger),));
            let pid = noted_pid(&ledger);
            assert_eq!(outcomes(vec![handle])[0].as_ref().unwrap_err().kind(), ErrorKind::TimedOut);
            assert!(wait_until(LIMIT, || !alive(pid)), "the command outlives its worker");
            pool.close().unwrap();
        });
    }

    fn cancelling_ends_the_command() {
        let pool = Pool::builder().workers(1).grace(Duration::from_millis(300)).build().unwrap();
        let ledger = Ledger::new("ledger");
        let handle = pool.apply_async(exec, (endless(&ledger),));
        let pid = noted_pid(&ledger);
        assert!(handle.cancel());
        assert_eq!(kinds(vec![handle]), [Err(ErrorKind::Cancelled)]);
        assert!(wait_until(LIMIT, || !alive(pid)), "the command outlives its worker");
        pool.close().unwrap();
    }

    /// Those that put themselves into other sessions, those that do not hear SIGTERM, and orphans.
    fn a_commands_own_limit_ends_all_that_it_has_started() {
        let script = "echo kept; trap '' TERM; sleep 100 & echo $!; setsid sleep 101 & echo $!; \
            (setsid sh -c 'trap \"\" TERM; sleep 102' >/dev/null 2>&1 &) ; (sleep 103 & echo $!); wait; sleep 104";
        let report = limited(script, 1_000, 200);
        assert!(report.timed_out, "{report:?}");
        assert_eq!(report.finished.ended, Ended::Signal(9));
        assert!(report.ran < LIMIT, "{report:?}");
        let stdout = String::from_utf8(report.finished.stdout.into_bytes()).expect("it is text");
        let mut lines = stdout.lines();
        assert_eq!(lines.next(), Some("kept"));
        let pids: Vec<u32> = lines.map(|pid| pid.parse().expect("a number")).collect();
        assert_eq!(pids.len(), 3);
        assert!(!pids.into_iter().any(alive), "{stdout}");
        assert!(procession_harness::children().is_empty(), "those without a name are gone as well, and reaped");
    }

    fn a_commands_own_limit_lets_it_say_its_last_words() {
        let report = limited("trap 'echo end; exit 7' TERM; echo begin; sleep 100 & wait", 1_000, 60_000);
        assert_eq!((report.timed_out, report.finished.ended), (true, Ended::Code(7)));
        assert_eq!(report.finished.stdout.as_bytes(), b"begin\nend\n");
    }

    /// A command that ends in time with its streams closed long before, and one that hides behind closed streams.
    fn closed_streams_are_no_end() {
        let report = limited("exec >&- 2>&-; sleep 0.2; exit 3", 60_000, 0);
        assert_eq!((report.timed_out, report.finished.ended), (false, Ended::Code(3)));
        let report = limited("exec >&- 2>&-; sleep 100", 500, 60_000);
        assert_eq!((report.timed_out, report.finished.ended), (true, Ended::Signal(15)));
    }

    /// The time of a command is over, the worker's is not: it runs the next one.
    fn the_worker_outlives_a_commands_own_limit() {
        both(1, |builder| {
            let pool = builder.build().unwrap();
            let limit = Some(Duration::from_millis(300));
            let order = |script| Order { limit, ..Order::new(sh(script)) };
            let before = pool.worker_pids();
            let reports = pool.map(command, [order("sleep 100"), order("echo next")]).unwrap();
            let [first, second] = &reports[..] else { panic!("{reports:?}") };
            assert!(first.as_ref().is_ok_and(|report| report.timed_out), "{first:?}");
            assert_eq!(second.as_ref().map(|report| report.finished.stdout.as_bytes()), Ok(&b"next\n"[..]));
            assert_eq!(pool.worker_pids(), before);
            pool.close().unwrap();
        });
    }
}
