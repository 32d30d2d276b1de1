//! An agent: takes part in the jobs of a broker with a pool of its own. It goes from job to job until it is told to leave.

mod stay;

use std::collections::HashSet;
use std::time::Duration;

use procession::{Pool, PoolBuilder, TaskInfo};
use tokio::runtime::Runtime;

use self::stay::Stay;
use crate::chunk::ChunkId;
use crate::error::{Error, ErrorKind};
use crate::leases::Claimed;
use crate::manifest::{JobState, Manifest, Program};
use crate::master::{Hello, Parting};
use crate::names::Names;
use crate::nats::Broker;
use crate::nats::agent::{Leased, Post, say};
use crate::nats::jobs::open_jobs;
use crate::runner::{Runner, Said, Slots};
use crate::turns::Turns;

/// How often an agent without a job looks for one.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// What the broker is asked between two looks at what the agent is asked for is answered within this, or not at all.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// What an agent still has to say when it leaves is said within this.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(2);
/// Workers may take so long to leave.
const LEAVE_WITHIN: Duration = Duration::from_secs(12);

/// What an agent is asked for, in the order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Request {
    /// Go on.
    Work,
    /// Finish what runs, begin nothing new, leave.
    Drain,
    /// Stop what runs, leave.
    Stop,
}

/// What an agent tells whoever started it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum News {
    /// It takes part in a job.
    Joined {
        /// The name of the job.
        job: String,
        /// Its task.
        task: String,
        /// How many workers the agent has for it.
        workers: usize,
    },
    /// It takes part no longer: the job is over, or there was nothing to do.
    Left {
        /// The name of the job.
        job: String,
        /// How many items it has answered.
        items: u64,
    },
    /// It cannot take part.
    Refused {
        /// The name of the job.
        job: String,
        /// Why.
        why: String,
    },
    /// Its pool gave up, so that it takes part no longer.
    Broken {
        /// The name of the job.
        job: String,
        /// What the pool says.
        why: String,
    },
    /// It came upon a message that it cannot read.
    Unreadable(String),
    /// The broker is gone, or there again.
    Connected(bool),
    /// Something at the broker does not succeed, and is tried again and again: what, and what the broker says.
    Trouble(String),
}

/// A program that runs chunks for the masters of a broker.
///
/// ```no_run
/// use procession_cluster::{Agent, Request};
///
/// let mut agent = Agent::connect("nats://localhost:4222")?.workers(4);
/// agent.run(|| Request::Work, |news| eprintln!("{news:?}"))?;
/// # Ok::<(), procession_cluster::Error>(())
/// ```
pub struct Agent {
    runtime: Runtime,
    broker: Broker,
    name: String,
    workers: usize,
    configure: Box<dyn Fn(PoolBuilder) -> PoolBuilder>,
}

/// What happens to an agent in a job.
pub(crate) enum Event {
    Leased(Box<Leased>),
    Unreadable(String),
    Claimed(ChunkId, Claimed),
    /// Whether it was noted that a chunk is begun alone.
    Charged(ChunkId, bool),
    Said(Said),
    Answered(ChunkId),
    State(JobState),
}

/// Why an agent is done with a job.
enum Done {
    Over,
    Idle,
    Broken(String),
}

impl Agent {
    /// Connects to a broker. Credentials come from the environment: see the documentation of the crate.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], [`ErrorKind::Unreachable`] or [`ErrorKind::Unsuitable`].
    pub fn connect(address: &str) -> Result<Agent, Error> {
        let runtime = crate::runtime()?;
        let broker = runtime.block_on(Broker::connect(address))?;
        let (name, workers) = (crate::name(), procession::cpu_count());
        Ok(Agent { runtime, broker, name, workers, configure: Box::new(|pool| pool) })
    }

    /// How many workers it has. Default: as many as there are usable cores.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Agent {
        self.workers = workers;
        self
    }

    /// Adds to the options of its pools, after the job's own. An observer of their workers (`on_event`) takes the place of
    /// the agent's: which worker an item was lost with is not known then.
    #[must_use]
    pub fn configure(mut self, configure: impl Fn(PoolBuilder) -> PoolBuilder + 'static) -> Agent {
        self.configure = Box::new(configure);
        self
    }

    /// What it is called: its machine, its process and a few digits.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes part in one job after the other until `request` asks for something else than work; it is asked several
    /// times a second.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] if the broker does not let it.
    pub fn run(&mut self, request: impl Fn() -> Request, mut tell: impl FnMut(News)) -> Result<(), Error> {
        let (broker, runtime) = (self.broker.clone(), &self.runtime);
        let jobs_stream = runtime.block_on(broker.jobs_stream())?;
        let (mut out_of, mut turns, mut is_up) = (HashSet::new(), Turns::default(), true);
        while request() == Request::Work {
            let now_up = *broker.is_up.borrow();
            if std::mem::replace(&mut is_up, now_up) != now_up {
                tell(News::Connected(now_up));
            }
            let open =
                if is_up { runtime.block_on(open_jobs(&jobs_stream, LOOK_WITHIN)) } else { Vec::new() };
            let mut open: Vec<Manifest> = open
                .into_iter()
                .filter(|manifest| !out_of.contains(&(manifest.job.clone(), manifest.session)))
                .collect();
            let next = turns.next(open.iter().map(|manifest| &*manifest.job)).map(str::to_owned);
            let next = next.and_then(|next| open.iter().position(|manifest| manifest.job == next));
            let Some(manifest) = next.map(|next| open.swap_remove(next)) else {
                std::thread::sleep(LOOK_EVERY);
                continue;
            };
            let (job, key) = (manifest.job.clone(), (manifest.job.clone(), manifest.session));
            let names = Names::new(&job);
            let task = match self.admission(&manifest) {
                Ok(task) => task,
                Err(why) => {
                    out_of.insert(key);
                    runtime.block_on(say(&broker, &names, &self.hello(Some(Parting::Refused(why.clone())))));
                    tell(News::Refused { job, why });
                    continue;
                }
            };
            let place = (&names, turns.patience(&job));
            let done = self.serve(manifest, task, place, &request, &mut tell);
            turns.been(&job, matches!(done, Ok(Done::Idle)));
            match done {
                Ok(Done::Over | Done::Idle) => {}
                Ok(Done::Broken(why)) => {
                    out_of.insert(key);
                    runtime.block_on(say(&broker, &names, &self.hello(Some(Parting::Broken(why.clone())))));
                    tell(News::Broken { job, why });
                }
                // It has ended, or the broker is away.
                Err(_) => std::thread::sleep(LOOK_EVERY),
            }
        }
        // A broker that is away hears nothing, and nobody waits for it.
        let said = async { tokio::time::timeout(LAST_WORDS_WITHIN, broker.client.flush()).await };
        let _ = runtime.block_on(said);
        Ok(())
    }

    fn admission(&self, manifest: &Manifest) -> Result<&'static TaskInfo, String> {
        if let Some(difference) = Program::this().difference(&manifest.program) {
            return Err(difference);
        }
        procession::find(&manifest.task).map_err(|error| error.to_string())
    }

    fn hello(&self, parting: Option<Parting>) -> Hello {
        let workers = u32::try_from(self.workers).unwrap_or(u32::MAX);
        Hello { agent: self.name.clone(), workers, is_idle: false, held: Vec::new(), parting }
    }

    fn serve(
        &self,
        manifest: Manifest,
        task: &'static TaskInfo,
        (names, patience): (&Names, Duration),
        request: &impl Fn() -> Request,
        tell: &mut impl FnMut(News),
    ) -> Result<Done, Error> {
        let opened = Post::open(&self.broker, names, &self.name, manifest.lease);
        let opened = async { tokio::time::timeout(LOOK_WITHIN, opened).await };
        let post =
            self.runtime.block_on(opened).map_err(|late| Error::refused("the job's streams", late))??;
        let slots = Slots::default();
        let pool = Pool::builder().workers(self.workers).on_event({
            let slots = slots.clone();
            move |event| slots.heard(event)
        });
        let pool = manifest.pool.configure(pool);
        let pool = match (self.configure)(pool).build() {
            Ok(pool) => pool,
            Err(error) => return Ok(Done::Broken(error.to_string())),
        };
        tell(News::Joined { job: manifest.job.clone(), task: manifest.task.clone(), workers: self.workers });
        let runner = Runner { pool: pool.clone(), task, at_most_once: manifest.at_most_once, slots };
        let job = manifest.job.clone();
        let mut stay = Stay::new(post, runner, &manifest, self, patience);
        let done = self.runtime.block_on(stay.go(self, request, tell));
        let items = stay.items;
        drop(stay);
        if pool.close().is_err() {
            pool.terminate();
        }
        let _ = pool.join(Some(LEAVE_WITHIN));
        tell(News::Left { job, items });
        Ok(done)
    }
}

impl Error {
    /// There is no thread for the broker.
    pub(crate) fn no_runtime(error: &std::io::Error) -> Error {
        Error::new(ErrorKind::Unreachable, format!("cannot start a thread for the broker: {error}"))
    }
}
