//! A broker, as a program with a job sees it.

use std::sync::Arc;
use std::time::Duration;

use procession::{Payload, StreamOptions, Task, TaskFn, TaskInfo};
use tokio::runtime::Runtime;

use crate::call::{ClusterStream, Job};
use crate::error::{Error, ErrorKind};
use crate::manifest::{JobState, Manifest, PoolSettings, Program};
use crate::master::{Seats, Settings};
use crate::names::{Names, is_name};
use crate::nats::Broker;
use crate::nats::jobs::JobSummary;

/// A chunk whose agent has not said for so long that it still has it goes to another one.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// Shorter ones would run out between two looks of an agent.
const LEASE_LEAST: Duration = Duration::from_millis(600);

/// A connection to a broker, over which jobs go to agents.
#[derive(Clone)]
pub struct Cluster {
    runtime: Arc<Runtime>,
    broker: Broker,
}

/// How a job runs over a cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobOptions {
    /// As for a local pool; `deadline`, `priority` and `figures` are not looked at.
    pub stream: StreamOptions,
    /// How agents' pools are to be.
    pub pool: PoolSettings,
    /// A chunk whose agent has not said for so long that it still has it goes to another one.
    pub lease: Duration,
    /// What the job is called at the broker: letters and digits. A job that is there already is gone on with.
    pub name: Option<String>,
    /// Answers stay at the broker until [`ClusterStream::on_record`]; the job, until it has ended.
    pub is_resumable: bool,
    /// Those of agents that earlier masters of the job had, where somebody has noted them: they are numbered as they were.
    pub seats: Vec<Seats>,
    /// Slots below this one are somebody else's: of the workers that the job had where it ran without agents.
    pub first_slot: u32,
}

impl Default for JobOptions {
    fn default() -> JobOptions {
        JobOptions {
            stream: StreamOptions::default(),
            pool: PoolSettings::default(),
            lease: LEASE,
            name: None,
            is_resumable: false,
            seats: Vec::new(),
            first_slot: 0,
        }
    }
}

impl Cluster {
    /// Connects to a broker. Credentials come from the environment: see the documentation of the crate.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], [`ErrorKind::Unreachable`] or [`ErrorKind::Unsuitable`].
    pub fn connect(address: &str) -> Result<Cluster, Error> {
        let runtime = Arc::new(crate::runtime()?);
        let broker = runtime.block_on(Broker::connect(address))?;
        Ok(Cluster { runtime, broker })
    }

    /// Whether the broker has a job of this name: somebody may go on with it.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`]: the broker does not say.
    pub fn has_job(&self, name: &str) -> Result<bool, Error> {
        if !is_name(name) {
            return Ok(false);
        }
        self.runtime.block_on(self.broker.has_job(&Names::new(name)))
    }

    /// The jobs that the broker has, whoever began them; those that were described last come last. Nothing is changed there.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`]: the broker does not say.
    pub fn jobs(&self) -> Result<Vec<JobSummary>, Error> {
        self.runtime.block_on(self.broker.summaries())
    }

    /// Deletes what the broker has of a job that nobody will go on with: its chunks, its answers, its description. Takes
    /// some seconds, in which its master might come back.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] where there is no job of this name, or somebody listens to its agents; [`ErrorKind::Refused`] where the
    /// broker does not do it.
    pub fn forget(&self, name: &str) -> Result<(), Error> {
        let usage = |message: String| Err(Error::new(ErrorKind::Usage, message));
        if !is_name(name) {
            return usage(format!("no job is called `{name}`: names are letters and digits"));
        }
        let names = Names::new(name);
        if self.runtime.block_on(self.broker.keeps_master(&names)) {
            return usage(format!(
                "somebody listens to the agents of job {name}, as its master does: stop that first"
            ));
        }
        if !self.runtime.block_on(self.broker.delete(&names))? {
            return usage(format!("the broker has no job {name}"));
        }
        Ok(())
    }

    /// Runs a task of one argument for every value, wherever there are agents. Results come in order.
    ///
    /// # Errors
    /// The first item without a value, by its index; or what is the matter with the broker.
    pub fn map<A, R>(
        &self,
        task: Task<fn(A) -> R>,
        items: impl IntoIterator<Item = A>,
    ) -> Result<Vec<R>, Box<dyn std::error::Error>>
    where
        fn(A) -> R: TaskFn<Args = (A,), Output = R>,
    {
        self.starmap(task, items.into_iter().map(|item| (item,)))
    }

    /// Runs a task for every tuple of arguments, wherever there are agents. Results come in order.
    ///
    /// # Errors
    /// As [`map`](Cluster::map).
    pub fn starmap<F: TaskFn>(
        &self,
        task: Task<F>,
        items: impl IntoIterator<Item = F::Args>,
    ) -> Result<Vec<F::Output>, Box<dyn std::error::Error>> {
        let payloads = items.into_iter().map(|args| task.payload(&args));
        let payloads = payloads.collect::<Result<Vec<Payload>, _>>()?;
        let items = (0..).zip(payloads);
        let stream = self.stream(task.info(), items.map(Some), JobOptions::default())?;
        let values = stream.map(|(_, outcome)| Ok(task.value(&outcome?)?));
        values.collect()
    }

    /// Runs encoded items by a task's name, each with its index in the whole job. `None` is an input that has nothing for now.
    ///
    /// # Errors
    /// What is the matter with the broker or with the options.
    pub fn stream<I: Iterator<Item = Option<(u64, Payload)>>>(
        &self,
        task: &'static TaskInfo,
        items: I,
        options: JobOptions,
    ) -> Result<ClusterStream<I>, Error> {
        let JobOptions { stream, pool, lease, name, is_resumable, seats, first_slot } = options;
        let usage = |message: String| Err(Error::new(ErrorKind::Usage, message));
        if lease < LEASE_LEAST {
            return usage(format!("a lease of {lease:?} is too short: give at least {LEASE_LEAST:?}"));
        }
        if stream.chunk_size == Some(0) || stream.buffer == Some(0) {
            return usage(
                "option `chunk_size` or `buffer` is 0: give at least 1 item, or leave it out".to_owned(),
            );
        }
        let job = name.unwrap_or_else(|| format!("{:016x}", fastrand::u64(..)));
        if !is_name(&job) {
            return usage(format!("a job cannot be called `{job}`: use letters and digits"));
        }
        let at_most_once = !task.is_idempotent();
        let manifest = Manifest {
            job,
            state: JobState::Open,
            session: 0,
            task: task.path().to_owned(),
            program: Program::this(),
            at_most_once,
            lease,
            pool: PoolSettings { max_attempts: stream.max_attempts.or(pool.max_attempts), ..pool },
        };
        let settings = Settings {
            session: 0,
            ordered: stream.ordered,
            chunk_items: stream.chunk_size,
            buffer: stream.buffer.map(|items| items as u64),
            timeout: stream.timeout,
            lease,
            at_most_once,
            keeps_answers: is_resumable,
        };
        let job = Job { task, manifest, settings, is_resumable, seats, first_slot };
        ClusterStream::open(Arc::clone(&self.runtime), self.broker.clone(), items, job)
    }
}
