//! Commands run by the task `exec`: results come from other processes than the workers themselves.

use std::time::Duration;

use procession::{ErrorKind, Pool};
use procession_harness::{Ledger, alive, wait_until};
use procession_tasks::exec::{Ended, exec};

use crate::scenes::{LIMIT, both, kinds, outcomes, wait_lines};

fn sh(script: impl Into<String>) -> Vec<String> {
    vec!["sh".to_owned(), "-c".to_owned(), script.into()]
}

/// A command that notes its own process id, then goes on for longer than any test.
fn endless(ledger: &Ledger) -> Vec<String> {
    sh(format!("echo $$ >> '{}'; exec sleep 80", ledger.path()))
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
}
