//! What runs the items of a job: a pool of this machine's or, with the feature `cluster`, agents on many. A run takes outcomes
//! from it by their payloads' numbers, and does not know where items run.

#[cfg(feature = "cluster")]
mod agents;
#[cfg(not(feature = "cluster"))]
#[path = "engine/no_agents.rs"]
mod agents;

use std::sync::mpsc::Sender;
use std::time::Duration;

use procession::{Error, ErrorKind, Event, ItemFigures, Payload, PayloadStream, Pool, Stats, StreamOptions};
use procession_store::AgentNews;

pub(crate) use self::agents::{Agents, agent, jobs};
use crate::diagnostic::Diagnostic;
use crate::exit::Stop;
use crate::intake::Numbers;
use crate::job::Job;
use crate::progress::Screen;
use crate::summary::counted;
use crate::terminal;

/// How long workers may take to leave once they have nothing left to do.
pub(crate) const LEAVE_WITHIN: Duration = Duration::from_secs(12);

/// In a run directory: the name of the job at its broker.
pub(crate) const NAME_FILE: &str = "cluster-job";

/// Where a job's chunks go, if not to a pool of this machine's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// The address of a broker.
    pub(crate) address: String,
}

/// See the module. Cheap to clone; any thread may ask it.
#[derive(Clone)]
pub(crate) enum Engine {
    Local(Pool),
    Agents(Box<Agents>),
}

/// What an engine tells of who runs items.
#[cfg_attr(not(feature = "cluster"), expect(dead_code, reason = "agents alone tell the rest"))]
pub(crate) enum News {
    /// Of a process of this machine.
    Worker(Event),
    Agent(AgentNews),
    /// The broker is gone, or there again.
    Broker(bool),
}

/// An agent that takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) name: String,
    pub(crate) workers: u32,
    /// Chunks whose leases it has.
    pub(crate) chunks: u64,
}

impl Present {
    /// All of it, in one line.
    pub(crate) fn words(&self) -> String {
        let Present { name, workers, chunks } = self;
        let (workers, chunks) = (counted(u64::from(*workers), "worker"), counted(*chunks, "chunk"));
        format!("agent {}: {workers}, {chunks} in hand", terminal::printable(name))
    }
}

/// An outcome, none yet, or none any more.
pub(crate) type Step = Option<Option<(u64, Result<Payload, Error>)>>;

/// The items of a job on their way through an engine.
pub(crate) enum Call<I: Iterator<Item = Option<Payload>>> {
    Local(Box<PayloadStream<I>>),
    Agents(Box<agents::AgentsCall<I>>),
}

impl Engine {
    /// Starts a pool, where there are no agents. `told` hears of who runs items.
    pub(crate) fn start(
        job: &Job,
        agents: Option<Agents>,
        told: Option<Sender<News>>,
        screen: Screen,
    ) -> Result<Engine, Stop> {
        if let Some(mut agents) = agents {
            told.into_iter().for_each(|told| agents.tell(told));
            return Ok(Engine::Agents(Box::new(agents)));
        }
        let mut builder = job.pool.configure(Pool::builder(), screen);
        if let Some(told) = told {
            // Nobody listens any more once the run has ended.
            builder = builder.on_event(move |event| drop(told.send(News::Worker(event.clone()))));
        }
        builder.build().map(Engine::Local).map_err(|error| unstarted(&error))
    }

    pub(crate) fn stats(&self) -> Stats {
        match self {
            Engine::Local(pool) => pool.stats(),
            Engine::Agents(agents) => agents.stats(),
        }
    }

    /// How many workers there are, or were at most; `wanted`: of this machine.
    pub(crate) fn workers(&self, wanted: usize) -> usize {
        match self {
            Engine::Local(_) => wanted,
            Engine::Agents(agents) => agents.workers(),
        }
    }

    /// The agents that there are now.
    pub(crate) fn agents(&self) -> Vec<Present> {
        match self {
            Engine::Local(_) => Vec::new(),
            Engine::Agents(agents) => agents.present(),
        }
    }

    /// Items that agents have answered, whether it was their turn or not.
    pub(crate) fn answered(&self) -> u64 {
        match self {
            Engine::Local(_) => 0,
            Engine::Agents(agents) => agents.answered(),
        }
    }

    /// The processes of this machine that run items.
    pub(crate) fn worker_pids(&self) -> Vec<u32> {
        match self {
            Engine::Local(pool) => pool.worker_pids(),
            Engine::Agents(_) => Vec::new(),
        }
    }

    /// What runs on this machine stands still. Agents go on.
    pub(crate) fn pause(&self) {
        match self {
            Engine::Local(pool) => pool.pause(),
            Engine::Agents(_) => {}
        }
    }

    pub(crate) fn resume(&self) {
        match self {
            Engine::Local(pool) => pool.resume(),
            Engine::Agents(_) => {}
        }
    }

    /// Stops what runs on this machine. Of agents the call asks that.
    pub(crate) fn terminate(&self) {
        match self {
            Engine::Local(pool) => pool.terminate(),
            Engine::Agents(_) => {}
        }
    }

    /// Lets rows in. `numbers` knows which items they are.
    pub(crate) fn call<I: Iterator<Item = Option<Payload>>>(
        &self,
        job: &Job,
        input: I,
        options: StreamOptions,
        (numbers, screen): (Numbers, Screen),
    ) -> Result<Call<I>, Stop> {
        Ok(match self {
            Engine::Local(pool) => Call::Local(Box::new(pool.stream(job.task, input, options))),
            Engine::Agents(agents) => {
                Call::Agents(Box::new(agents.call(job, input, options, (numbers, screen))?))
            }
        })
    }

    /// Lets the workers leave, or makes them.
    pub(crate) fn end(&self, in_order: bool) {
        let Engine::Local(pool) = self else { return };
        // A pool that does not close is not worth failing a finished run for.
        if in_order && pool.close().is_ok() {
            return;
        }
        pool.terminate();
        if let Err(error) = pool.join(Some(LEAVE_WITHIN)) {
            terminal::say_warning(&terminal::printable(&error.to_string()));
        }
    }
}

impl<I: Iterator<Item = Option<Payload>>> Call<I> {
    /// The next outcome, waiting for so long.
    pub(crate) fn results(&mut self, timeout: Duration) -> Result<Step, Stop> {
        match self {
            Call::Local(stream) => Ok(stream.next_timeout(timeout)),
            Call::Agents(call) => call.results(timeout),
        }
    }

    pub(crate) fn take_figures(&mut self) -> Vec<ItemFigures> {
        match self {
            Call::Local(stream) => stream.take_figures(),
            Call::Agents(call) => call.take_figures(),
        }
    }

    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        match self {
            Call::Local(stream) => stream.set_timeout(timeout),
            Call::Agents(call) => call.set_timeout(timeout),
        }
    }

    /// What has not begun never runs.
    pub(crate) fn drain(&mut self) {
        match self {
            Call::Local(stream) => stream.drain(),
            Call::Agents(call) => call.drain(),
        }
    }

    /// As [`drain`](Call::drain), and what runs is stopped.
    pub(crate) fn cancel(&mut self) {
        match self {
            Call::Local(stream) => stream.cancel(),
            Call::Agents(call) => call.cancel(),
        }
    }

    /// What runs is stopped, and with it the engine.
    pub(crate) fn terminate(&mut self, engine: &Engine) {
        match self {
            Call::Local(_) => engine.terminate(),
            Call::Agents(call) => call.cancel(),
        }
    }

    /// Somebody keeps outcomes until [`on_record`](Call::on_record) says that they need not any longer.
    pub(crate) fn awaits_record(&self) -> bool {
        match self {
            Call::Local(_) => false,
            Call::Agents(call) => call.awaits_record(),
        }
    }

    /// Every outcome so far is on record.
    pub(crate) fn on_record(&mut self) {
        match self {
            Call::Local(_) => {}
            Call::Agents(call) => call.on_record(),
        }
    }

    /// `is_over`: nobody will go on with the job.
    pub(crate) fn end(self, is_over: bool) {
        match self {
            Call::Local(_) => {}
            Call::Agents(call) => call.end(is_over),
        }
    }
}

/// Refuses a job that agents cannot run, by what it says or because this program knows none.
pub(crate) fn refuse_for_agents(job: &Job) -> Result<(), Diagnostic> {
    agents::available()?;
    refuse_local_settings(job)
}

/// Refuses settings that concern a machine, where items run on others.
pub(crate) fn refuse_local_settings(job: &Job) -> Result<(), Diagnostic> {
    if job.engine.is_none() {
        return Ok(());
    }
    let pool = &job.pool;
    for (is_set, name) in [
        (!pool.policies.gates.is_empty(), "a start gate (`max_load`, `min_free_memory`)"),
        (pool.cpu_affinity.is_some(), "`cpu_affinity`"),
        (pool.start_method.is_some(), "`start_method`"),
        (pool.lazy_start.is_some(), "`lazy_start`"),
        (pool.idle_timeout.is_some(), "`idle_timeout`"),
    ] {
        if is_set {
            let refusal = Diagnostic::new(format!(
                "{name} concerns this machine, and with --engine items run on others"
            ));
            return Err(refusal.help("remove it, or run the job here"));
        }
    }
    Ok(())
}

/// Why a pool could not be started, or a call not be made.
pub(crate) fn unstarted(error: &Error) -> Stop {
    let message = error.to_string();
    match error.kind() {
        ErrorKind::Usage => Diagnostic::new(message).into(),
        _ => Stop::Broken(message),
    }
}
