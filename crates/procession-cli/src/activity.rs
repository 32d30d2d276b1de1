//! What a run is doing, as any thread may ask while the run's own waits: what each worker runs and for how long, and how
//! far it all is.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use procession::{Payload, RunningItem, Stats, TaskInfo, WorkerStats};

use crate::engine::Engine;
use crate::exec;
use crate::host::Away;
use crate::intake::Numbers;
use crate::progress::{Doing, Picture, Sum, Worker};
use crate::reproduce::args_json;
use crate::spec::units;
use crate::summary::{Tally, counted};
use crate::terminal::printable;

/// Of larger arguments nothing is said: nobody would read them, and they are looked at several times a second.
const ARGS_BYTES_MAX: usize = 16 << 10;
/// So much is said of a call or a command, in characters.
const WHAT_CHARS_MAX: usize = 200;

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
    engine: Engine,
    /// The pool counts payloads, people count items.
    numbers: Numbers,
    whole: Option<Whole>,
    start: Instant,
    away: Away,
}

/// What is known of a run as a whole.
#[derive(Clone)]
struct Whole {
    name: String,
    task: &'static TaskInfo,
    total: Option<u64>,
    tally: SharedTally,
}

impl Activity {
    /// Of an engine alone.
    pub(crate) fn of(engine: Engine) -> Activity {
        let (numbers, away) = (Numbers::default(), Away::default());
        Activity { engine, numbers, whole: None, start: Instant::now(), away }
    }

    /// Of a run that begins now.
    pub(crate) fn of_run(
        engine: Engine,
        numbers: Numbers,
        (name, task, total): (&str, &'static TaskInfo, Option<u64>),
        tally: SharedTally,
    ) -> Activity {
        let whole = Whole { name: printable(name), task, total, tally };
        Activity { numbers, whole: Some(whole), ..Activity::of(engine) }
    }

    /// For how long the run was suspended so far.
    pub(crate) fn away(&self) -> Away {
        self.away.clone()
    }

    /// For how long it has been going on.
    pub(crate) fn running(&self) -> Duration {
        self.start.elapsed().saturating_sub(self.away.time())
    }

    /// All of it, for people who ask: a line a worker or agent and one for the whole, each with its end.
    pub(crate) fn report(&self) -> String {
        let mut report = String::new();
        for worker in &self.engine.stats().workers {
            report.push_str(&self.line(worker));
            report.push('\n');
        }
        for agent in &self.engine.agents() {
            let _ = writeln!(report, "{}", agent.words());
        }
        if let Some(Whole { name, total, tally, .. }) = &self.whole {
            let tally = tally.lock().clone();
            let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
            let _ = writeln!(report, "{name}{of}: {tally} after {}", units::show(self.running()));
        }
        report
    }

    /// All of it, as it is painted. `rate` is told how many items ran, and says how fast.
    pub(crate) fn picture(&self, rate: impl FnOnce(Duration, u64) -> f64) -> Picture {
        let Stats { workers, .. } = self.engine.stats();
        let tally = self.whole.as_ref().map(|whole| whole.tally.lock().clone()).unwrap_or_default();
        let total = self.whole.as_ref().and_then(|whole| whole.total);
        let (running, set_aside) = (self.running(), self.numbers.set_aside_items());
        // Outcomes that wait for their turn are done; the tally does not know of them yet.
        let ended = workers.iter().map(|worker| worker.completed).sum::<u64>() + self.engine.answered();
        let done = tally.items().max((set_aside + ended).saturating_sub(tally.retried));
        let done = done.min(total.unwrap_or(u64::MAX));
        let rate = rate(running, done.saturating_sub(set_aside));
        let lost = tally.lost();
        let failed = tally.failures() - lost;
        let sum = Sum { done, total, rate, failed, lost, flaky: tally.flaky, running };
        let workers =
            workers.iter().map(|worker| Worker { slot: worker.slot, doing: self.doing(worker) }).collect();
        Picture { workers, agents: self.engine.agents(), sum }
    }

    fn line(&self, worker: &WorkerStats) -> String {
        let mut line = format!("worker {}: ", worker.slot);
        if let Some(pid) = worker.pid {
            let _ = write!(line, "pid {pid}, ");
        }
        line.push_str(&self.doing(worker).words());
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
    fn doing(&self, worker: &WorkerStats) -> Doing {
        match &worker.running {
            Some(running) => {
                let RunningItem { item, ran, attempt, .. } = *running;
                Doing::Runs { item: self.numbers.item(item), ran, attempt, what: self.what(running) }
            }
            None if worker.pid.is_none() => Doing::NoProcess,
            None if !worker.is_ready => Doing::Starting,
            None => Doing::Idle,
        }
    }

    /// The command, or the call with as much of its arguments as is known.
    fn what(&self, running: &RunningItem) -> String {
        let Some(Whole { task, .. }) = &self.whole else { return running.task.to_owned() };
        let args = self.numbers.args(running.item).filter(|args| args.as_bytes().len() <= ARGS_BYTES_MAX);
        let what = args.and_then(|args| described(task, &args));
        let what = printable(&what.unwrap_or_else(|| task.short_path().to_owned()));
        match what.char_indices().nth(WHAT_CHARS_MAX) {
            Some((at, _)) => format!("{}…", &what[..at]),
            None => what,
        }
    }
}

/// A command as it would be typed, or a call.
fn described(task: &TaskInfo, args: &Payload) -> Option<String> {
    if exec::runs_commands(task) {
        return exec::order(args).map(|order| exec::in_short(&order));
    }
    let json = args_json(task, args)?;
    let args = json.get().strip_prefix('[')?.strip_suffix(']')?;
    Some(format!("{}({args})", task.short_path()))
}
