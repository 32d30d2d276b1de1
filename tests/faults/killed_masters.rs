//! F20: masters that are killed at any time, also while their workers are being started, crash or are replaced.

use std::thread::sleep;
use std::time::Duration;

use procession::{Pool, StartMethod};
use procession_harness::{
    Report, Signal, Tally, now, processes_with, repetitions, send_signal, start_part, wait_until,
};
use procession_tasks::faults;

/// Marks all processes of one master.
const MARK: &str = "PROCESSION_TEST_MASTER";

/// The start method of a master's pool.
const METHOD: &str = "PROCESSION_TEST_METHOD";

const METHODS: [(&str, StartMethod); 3] =
    [("forkserver", StartMethod::ForkServer), ("spawn", StartMethod::Spawn), ("fork", StartMethod::Fork)];

/// A master's death reaches all its processes within this time.
const DEATH_LIMIT: Duration = Duration::from_secs(2);

procession_harness::parts! {
    /// Has a pool whose workers compute, crash and are replaced, until it is killed.
    fn crashing_master() {
        let method = std::env::var(METHOD).expect("the test sets it");
        let (_, method) = METHODS.into_iter().find(|(name, _)| *name == method).expect("a start method");
        let pool = Pool::builder().workers(3).start_method(method).build().unwrap();
        let rows = (0..).map(|x| (x, 50, "segv".to_owned()));
        assert!(pool.istarmap(faults::die_every, rows).count() > 0, "it never ends by itself");
    }
}

procession_harness::cases! {
    fn f20_masters_killed_at_any_time() {
        let mut report = Report::new("f20_masters_killed_at_any_time");
        for (method, _) in METHODS {
            for round in 0..4 * u64::from(repetitions()) {
                // One that is starting has a directory. If its master is killed then, it stays until another master sweeps it.
                let directory = tempfile::tempdir().expect("a temporary directory");
                let mark = format!("{method}-{round}-{}", std::process::id());
                let path = directory.path().to_string_lossy();
                let variables = [(METHOD, method), (MARK, mark.as_str()), ("TMPDIR", &*path)];
                let mut master = start_part("crashing_master", &variables);
                // From before it has a pool to when its first workers are long gone.
                sleep(Duration::from_millis(round * 37 % 230));
                send_signal(master.id(), Signal::SIGKILL);
                let killed = now();
                master.wait().expect("it is our child");
                let left = || processes_with(MARK, &mark);
                assert!(wait_until(DEATH_LIMIT, || left().is_empty()), "{mark}: {:?} live on", left());
                // Nobody is left to be told: it is the end of the last process that is waited for.
                report.add(Tally::default(), Some(now() - killed));
            }
        }
        report.finish(DEATH_LIMIT);
    }
}
