//! The event stream of a run: a JSON line for everything that happens, as soon as it is known.
//!
//! `docs/events.md` says what the lines mean, `docs/events.schema.json` what they may be.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use procession::Event;
use procession_store::{AgentChange, AgentNews, AgentStay, Item, Seating};
use serde::Serialize;

use crate::exit::Stop;
use crate::failures;
use crate::job::Job;
use crate::output::Sink;
use crate::progress::Screen;
use crate::summary::Tally;

/// What a reader must know the lines of. New kinds of lines and new keys do not change it.
const VERSION: u32 = 1;

/// A line is with its reader after this time at the latest.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// The stream, being written.
pub(super) struct Events {
    sink: Sink,
    flushed: Instant,
    /// How many workers each place has had.
    started: BTreeMap<u32, u64>,
    seating: Seating,
}

/// One line.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    RunStarted {
        version: u32,
        at: f64,
        procession: &'static str,
        name: &'a str,
        task: &'a str,
        items: Option<u64>,
        /// Which items of the job they are, where they are not all.
        #[serde(skip_serializing_if = "Option::is_none")]
        selection: Option<String>,
        workers: usize,
        pid: u32,
    },
    WorkerStarted {
        at: f64,
        worker: u32,
        pid: u32,
        #[serde(skip_serializing_if = "is_zero")]
        restart: u64,
    },
    WorkerReady {
        at: f64,
        worker: u32,
        pid: u32,
    },
    WorkerExited {
        at: f64,
        worker: u32,
        pid: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        exit: Option<i32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        running: bool,
    },
    AgentJoined {
        at: f64,
        agent: &'a str,
        /// The place of its first worker among those of all agents.
        first_worker: u32,
        workers: u32,
    },
    BrokerLost {
        at: f64,
    },
    BrokerBack {
        at: f64,
    },
    AgentLeft {
        at: f64,
        agent: &'a str,
        how: &'static str,
    },
    PoolBroken {
        at: f64,
        reason: &'a str,
    },
    RunHeld {
        at: f64,
        reason: &'a str,
    },
    RunResumed {
        at: f64,
        paused_s: f64,
    },
    RunStopping {
        at: f64,
        #[serde(flatten)]
        stopping: &'a Stopping<'a>,
    },
    ItemRetried {
        at: f64,
        #[serde(flatten)]
        retry: &'a Retried<'a>,
    },
    ItemFinished {
        at: f64,
        #[serde(flatten)]
        item: Finished<'a>,
    },
    RunFinished {
        at: f64,
        ending: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        items: u64,
        values: u64,
        #[serde(skip_serializing_if = "is_zero")]
        flaky: u64,
        without: BTreeMap<&'static str, u64>,
        wall_s: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        halted: Option<&'a str>,
    },
}

/// A run that ends before its items do.
#[derive(Serialize)]
pub(super) struct Stopping<'a> {
    pub(super) how: How,
    pub(super) reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signal: Option<i32>,
}

/// What becomes of the items that run.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    /// They finish.
    Drain,
    /// They are stopped.
    Stop,
}

/// An item that failed and runs again.
#[derive(Serialize)]
pub(super) struct Retried<'a> {
    pub(super) index: u64,
    pub(super) outcome: &'a str,
    /// Starts so far.
    pub(super) attempts: u32,
    pub(super) error: &'a str,
    /// Which of its retries comes.
    pub(super) retry: u32,
    /// After which pause.
    pub(super) after_s: f64,
}

#[derive(Serialize)]
struct Finished<'a> {
    index: u64,
    outcome: &'a str,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<u32>,
    /// Where items run on other machines: who ran it.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wall_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_rss_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    /// It has a value, and had failed before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    flaky: bool,
    /// It is the outcome of an earlier session.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    earlier: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct End<'a> {
    pub(super) ending: procession_store::Ending,
    pub(super) signal: Option<i32>,
    pub(super) tally: &'a Tally,
    pub(super) wall: Duration,
    /// Why the run ended before its items did.
    pub(super) halted: Option<&'a str>,
}

impl Events {
    /// Opens the file; `-` is stdout. What was in it stays until the run begins.
    pub(super) fn open(path: &Path, screen: &Screen) -> Result<Events, Stop> {
        let sink = if path.as_os_str() == "-" { Sink::stdout_beside(screen) } else { Sink::file(path)? };
        Ok(Events { sink, flushed: Instant::now(), started: BTreeMap::new(), seating: Seating::default() })
    }

    pub(super) fn begin(&mut self, job: &Job, total: Option<u64>) -> Result<(), Stop> {
        self.sink.begin()?;
        self.write(&Line::RunStarted {
            version: VERSION,
            at: now(),
            procession: env!("CARGO_PKG_VERSION"),
            name: &job.name,
            task: job.task.path(),
            items: total,
            selection: job.part.selection.flags(),
            workers: job.workers_here(),
            pid: std::process::id(),
        })
    }

    /// The pool told something of a worker or of itself.
    pub(super) fn heard(&mut self, event: &Event) -> Result<(), Stop> {
        let at = now();
        match event {
            Event::WorkerStarted { slot, pid } => {
                let started = self.started.entry(*slot).or_default();
                let restart = *started;
                *started += 1;
                self.write(&Line::WorkerStarted { at, worker: *slot, pid: *pid, restart })
            }
            Event::WorkerReady { slot, pid } => {
                self.write(&Line::WorkerReady { at, worker: *slot, pid: *pid })
            }
            Event::WorkerExited { slot, pid, exit, running } => {
                let (exit, signal) = failures::exit_of(Some(*exit));
                let (worker, pid, running) = (*slot, *pid, *running);
                self.write(&Line::WorkerExited { at, worker, pid, exit, signal, running })
            }
            Event::PoolBroken { reason } => self.write(&Line::PoolBroken { at, reason }),
            // More may be told one day.
            _ => Ok(()),
        }
    }

    /// The agents of earlier sessions: their items are told of again.
    pub(super) fn recall(&mut self, stays: &[AgentStay]) {
        self.seating = Seating::of(stays);
    }

    /// The broker is gone, or there again.
    pub(super) fn broker(&mut self, is_there: bool) -> Result<(), Stop> {
        let at = now();
        self.write(&if is_there { Line::BrokerBack { at } } else { Line::BrokerLost { at } })
    }

    /// Something became of an agent.
    pub(super) fn agent(&mut self, news: &AgentNews) -> Result<(), Stop> {
        let (at, agent) = (now(), news.name.as_str());
        match news.what {
            AgentChange::Joined { first_slot, workers } => {
                self.seating.seat(agent, first_slot, workers);
                self.write(&Line::AgentJoined { at, agent, first_worker: first_slot, workers })
            }
            AgentChange::Gone(leaving) => self.write(&Line::AgentLeft { at, agent, how: leaving.name() }),
            // It changes with every chunk.
            AgentChange::Holds(_) => Ok(()),
        }
    }

    /// An item has its outcome; `earlier`: from an earlier session.
    pub(super) fn item(&mut self, item: &Item, earlier: bool) -> Result<(), Stop> {
        let agent = item.slot.and_then(|slot| self.seating.of_slot(slot));
        let agent = agent.map(|(agent, _)| agent.to_owned());
        let item = Finished {
            index: item.index,
            outcome: &item.outcome,
            attempts: item.attempts,
            worker: item.slot,
            agent: agent.as_deref(),
            pid: item.pid,
            started_at: item.started_at.map(seconds),
            wall_s: item.wall.map(|time| time.as_secs_f64()),
            cpu_s: item.cpu.map(|time| time.as_secs_f64()),
            peak_rss_bytes: item.peak_rss,
            exit: item.exit,
            signal: item.signal,
            error: item.error.as_deref(),
            flaky: item.is_flaky,
            earlier,
        };
        self.write(&Line::ItemFinished { at: now(), item })
    }

    /// The run ends before its items do.
    pub(super) fn stopping(&mut self, stopping: &Stopping<'_>) -> Result<(), Stop> {
        self.write(&Line::RunStopping { at: now(), stopping })?;
        self.flush()
    }

    /// Nothing new is begun until the machine has more to spare.
    pub(super) fn held(&mut self, reason: &str) -> Result<(), Stop> {
        self.write(&Line::RunHeld { at: now(), reason })
    }

    /// The run was suspended for that time, and goes on.
    pub(super) fn resumed(&mut self, paused: Duration) -> Result<(), Stop> {
        self.write(&Line::RunResumed { at: now(), paused_s: paused.as_secs_f64() })
    }

    /// An item failed, and runs again after a pause.
    pub(super) fn retried(&mut self, retry: &Retried<'_>) -> Result<(), Stop> {
        self.write(&Line::ItemRetried { at: now(), retry })
    }

    /// To be called now and then.
    pub(super) fn tick(&mut self) -> Result<(), Stop> {
        if self.flushed.elapsed() < FLUSH_EVERY { Ok(()) } else { self.flush() }
    }

    /// Lets readers see everything so far.
    pub(super) fn flush(&mut self) -> Result<(), Stop> {
        self.flushed = Instant::now();
        self.sink.flush()
    }

    pub(super) fn finish(&mut self, end: End<'_>) -> Result<(), Stop> {
        let End { ending, signal, tally, wall, halted } = end;
        self.write(&Line::RunFinished {
            at: now(),
            ending: ending.name(),
            signal,
            items: tally.items(),
            values: tally.values,
            flaky: tally.flaky,
            without: tally.without(),
            wall_s: wall.as_secs_f64(),
            halted,
        })?;
        self.flush()
    }

    fn write(&mut self, line: &Line<'_>) -> Result<(), Stop> {
        let mut bytes = serde_json::to_vec(line)
            .map_err(|error| Stop::Unwritable(format!("cannot write an event as JSON: {error}")))?;
        bytes.push(b'\n');
        self.sink.write(&bytes)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn now() -> f64 {
    seconds(SystemTime::now())
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
