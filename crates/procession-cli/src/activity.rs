//! What a run is doing, as any thread may ask while the run's own waits: what each worker runs and for how long, and how
//! far it all is.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use procession::{Pool, Stats, WorkerStats};

use crate::intake::Numbers;
use crate::spec::units;
use crate::summary::{Tally, counted};
use crate::terminal::printable;

/// A tally that the run writes and others read.
#[derive(Clone, Default)]
pub(crate) struct SharedTally(Arc<Mutex<Tally>>);

impl SharedTally {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run under way.
#[derive(Clone)]
pub(crate) struct Activity {
    pool: Pool,
    /// The pool counts payloads, people count items.
    numbers: Numbers,
    whole: Option<Whole>,
}

/// What is known of a run as a whole.
#[derive(Clone)]
struct Whole {
    name: String,
    total: Option<u64>,
    tally: SharedTally,
    start: Instant,
}

impl Activity {
    /// Of a pool alone.
    pub(crate) fn of(pool: Pool) -> Activity {
        Activity { pool, numbers: Numbers::default(), whole: None }
    }

    /// Of a run that begins now.
    pub(crate) fn of_run(
        pool: Pool,
        numbers: Numbers,
        (name, total): (&str, Option<u64>),
        tally: SharedTally,
    ) -> Activity {
        let whole = Whole { name: printable(name), total, tally, start: Instant::now() };
        Activity { pool, numbers, whole: Some(whole) }
    }

    /// A line a worker and one for the whole, each with its end.
    pub(crate) fn report(&self) -> String {
        let mut report = String::new();
        for line in self.lines() {
            report.push_str(&line);
            report.push('\n');
        }
        if let Some(Whole { name, total, tally, start }) = &self.whole {
            let tally = tally.lock().clone();
            let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
            let _ = writeln!(report, "{name}{of}: {tally} after {}", units::show(start.elapsed()));
        }
        report
    }

    /// A line a worker.
    pub(crate) fn lines(&self) -> Vec<String> {
        let Stats { workers, .. } = self.pool.stats();
        workers.iter().map(|worker| self.line(worker)).collect()
    }

    fn line(&self, worker: &WorkerStats) -> String {
        let mut line = format!("worker {}: ", worker.slot);
        match worker.pid {
            Some(pid) => {
                let _ = write!(line, "pid {pid}, ");
            }
            None => line.push_str("no process, "),
        }
        line.push_str(&self.runs(worker));
        let _ = write!(line, "; {} done", worker.completed);
        if worker.restarts > 0 {
            let _ = write!(line, ", {}", counted(u64::from(worker.restarts), "restart"));
        }
        if let Some(peak) = worker.peak_rss {
            let _ = write!(line, ", peak {}", units::show_memory(peak));
        }
        line
    }

    /// What a worker does now.
    fn runs(&self, worker: &WorkerStats) -> String {
        let Some(running) = &worker.running else { return "idle".to_owned() };
        let mut runs = format!("item {} for {}", self.numbers.item(running.item), units::show(running.ran));
        if running.attempt > 1 {
            let _ = write!(runs, ", attempt {}", running.attempt);
        }
        runs
    }
}
