//! An agent: takes part in the jobs of a broker with a pool of its own. It goes from job to job until it is told to leave.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::message::Acker;
use procession::{Pool, PoolBuilder, TaskInfo};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::chunk::ChunkId;
use crate::error::{Error, ErrorKind};
use crate::leases::{Claimed, Command, Leases};
use crate::manifest::{JobState, Manifest, PoolSettings, Program};
use crate::master::{Hello, Parting, TROUBLE_AGAIN};
use crate::names::Names;
use crate::nats::Broker;
use crate::nats::agent::{Leased, Post, jobs, say};
use crate::runner::{Reins, Runner, Said, Slots};
use crate::turns::Turns;

/// How often an agent without a job looks for one.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// How often it looks at its leases, and at what it is asked for.
const TICK: Duration = Duration::from_millis(50);
/// What the broker is asked between two looks at what the agent is asked for is answered within this, or not at all.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// The same, where chunks may come meanwhile.
const GLANCE_WITHIN: Duration = Duration::from_millis(500);
/// What an agent still has to say when it leaves is said within this.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(2);
/// What was stopped is answered within this, or not at all: somebody waits for the agent to be gone.
const STOP_WITHIN: Duration = Duration::from_secs(5);
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
        let jobs_stream = runtime.block_on(broker.jobs())?;
        let (mut out_of, mut turns, mut is_up) = (HashSet::new(), Turns::default(), true);
        while request() == Request::Work {
            let now_up = *broker.is_up.borrow();
            if std::mem::replace(&mut is_up, now_up) != now_up {
                tell(News::Connected(now_up));
            }
            let open = if is_up { runtime.block_on(jobs(&jobs_stream, LOOK_WITHIN)) } else { Vec::new() };
            let mut open: Vec<Manifest> = open
                .into_iter()
                .filter(|manifest| manifest.state == JobState::Open)
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

/// An agent's part in one job.
struct Stay {
    post: Post,
    runner: Runner,
    settings: PoolSettings,
    lease: Duration,
    /// It leaves when it has had nothing to do for so long.
    patience: Duration,
    leases: Leases,
    in_hand: BTreeMap<ChunkId, InHand>,
    places: Arc<Semaphore>,
    start: Instant,
    items: u64,
    broken: Option<String>,
}

/// A chunk in hand, which takes up one of the agent's places.
struct InHand {
    /// What ends or renews its lease, of each message that it came in, by the message's sequence.
    ackers: BTreeMap<u64, Arc<Acker>>,
    reins: Reins,
    _place: OwnedSemaphorePermit,
}

impl Stay {
    fn new(post: Post, runner: Runner, manifest: &Manifest, agent: &Agent, patience: Duration) -> Stay {
        let lease = manifest.lease;
        Stay {
            post,
            runner,
            settings: manifest.pool.clone(),
            lease,
            patience,
            leases: Leases::new(&agent.name, lease, manifest.at_most_once),
            in_hand: BTreeMap::new(),
            places: Arc::new(Semaphore::new(places(agent.workers))),
            start: Instant::now(),
            items: 0,
            broken: None,
        }
    }

    async fn go(
        &mut self,
        agent: &Agent,
        request: &impl Fn() -> Request,
        tell: &mut impl FnMut(News),
    ) -> Done {
        let (told, mut events) = unbounded_channel();
        let (mut pulls, mut watchers) = (JoinSet::new(), JoinSet::new());
        self.post.lease(&self.places, &told, &mut pulls);
        self.post.watch(&told, &mut watchers);
        let (mut state, mut is_up) = (JobState::Open, true);
        let mut trouble = None::<(String, Instant)>;
        let (mut said, mut stopped, mut busy) = (None::<Instant>, None::<Instant>, Instant::now());
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event.expect("we have a sender ourselves") {
                    Event::State(now) => state = now,
                    Event::Unreadable(what) => tell(News::Unreadable(what)),
                    event => self.hear(event, &told),
                },
                _ = ticks.tick() => {
                    let now_up = *agent.broker.is_up.borrow();
                    if std::mem::replace(&mut is_up, now_up) != now_up {
                        tell(News::Connected(now_up));
                        if now_up {
                            self.leases.connected(self.start.elapsed());
                        }
                    }
                    if let Some(what) = agent.broker.take_trouble() {
                        let known = trouble.take_if(|(last, said)| *last == what && said.elapsed() < TROUBLE_AGAIN);
                        if known.is_none() {
                            tell(News::Trouble(what.clone()));
                        }
                        trouble = known.or(Some((what, Instant::now())));
                    }
                    self.leases.tick(self.start.elapsed());
                }
            }
            self.obey(&told);
            self.post.pause(!self.leases.has_room());
            if !self.leases.is_empty() {
                busy = Instant::now();
            }
            let asked = request();
            let leaves = asked != Request::Work || state != JobState::Open || self.broken.is_some();
            let mut is_idle = busy.elapsed() > self.patience;
            if is_idle && !self.has_others(agent).await {
                (is_idle, busy) = (false, Instant::now());
            }
            if (leaves || is_idle) && !self.places.is_closed() {
                self.places.close();
                self.leases.drain();
            }
            if leaves {
                let stops = asked == Request::Stop || matches!(state, JobState::Stops | JobState::Ended);
                for InHand { reins, .. } in self.in_hand.values() {
                    if stops { reins.stop() } else { reins.drain() }
                }
            }
            if said.is_none_or(|said| said.elapsed() >= self.lease / 3) && state != JobState::Ended {
                said = Some(Instant::now());
                self.post.say(&self.hello(agent, None)).await;
            }
            if self.places.is_closed() {
                while pulls.try_join_next().is_some() {}
                // Nobody waits for answers of a job that is over, and there are none from a broker that is away.
                let is_over = (state == JobState::Ended || !is_up) && self.leases.is_empty();
                if asked == Request::Stop && stopped.get_or_insert_with(Instant::now).elapsed() > STOP_WITHIN
                {
                    break;
                }
                if is_over || (pulls.is_empty() && self.leases.is_empty() && events.is_empty()) {
                    break;
                }
            }
        }
        if state != JobState::Ended && self.broken.is_none() {
            self.post.say(&self.hello(agent, Some(Parting::Leaves))).await;
        }
        match self.broken.take() {
            Some(why) => Done::Broken(why),
            None if state == JobState::Open => Done::Idle,
            None => Done::Over,
        }
    }

    fn hello(&self, agent: &Agent, parting: Option<Parting>) -> Hello {
        let mut held = self.leases.held();
        held.extend(self.post.fetched().iter());
        // One that takes nothing any more says nothing of whether there is something to take.
        let is_idle =
            !self.places.is_closed() && self.leases.has_room() && held.len() < places(agent.workers);
        Hello { is_idle, held, ..agent.hello(parting) }
    }

    /// Whether there is another job that the agent could take part in.
    async fn has_others(&self, agent: &Agent) -> bool {
        let could =
            |manifest: &Manifest| manifest.state == JobState::Open && agent.admission(manifest).is_ok();
        *agent.broker.is_up.borrow() && self.post.others(GLANCE_WITHIN).await.iter().any(could)
    }

    fn hear(&mut self, event: Event, told: &UnboundedSender<Event>) {
        let now = self.start.elapsed();
        match event {
            Event::Leased(leased) => {
                let Leased { chunk, delivery, acker, place } = *leased;
                let ackers = BTreeMap::new();
                let in_hand = InHand { ackers, reins: Reins::default(), _place: place };
                let in_hand = self.in_hand.entry(chunk.id).or_insert(in_hand);
                in_hand.ackers.insert(delivery.sequence, acker);
                self.leases.leased(chunk, delivery, now);
            }
            Event::Claimed(id, claimed) => self.leases.claimed(id, claimed, now),
            Event::Charged(id, is_noted) => self.leases.charged(id, is_noted, now),
            Event::Said(Said::Alive(id)) => self.leases.alive(id, now),
            Event::Said(Said::Ended { id, fates, figures, broken }) => {
                self.items += fates.len() as u64;
                if let Some(why) = broken {
                    self.broken.get_or_insert(why);
                }
                self.leases.ended(id, fates, figures, now);
            }
            Event::Answered(id) => {
                self.leases.answered(id);
                self.in_hand.remove(&id);
            }
            Event::State(_) | Event::Unreadable(_) => unreachable!("whoever calls has looked"),
        }
        self.obey(told);
    }

    fn obey(&mut self, told: &UnboundedSender<Event>) {
        while let Some(command) = self.leases.poll_command() {
            match command {
                Command::Claim(id, delivery) => self.post.claim(id, delivery, told),
                Command::Charge(id) => self.post.charge(id, told),
                Command::Begin(chunk) => {
                    let id = chunk.id;
                    let Some(InHand { reins, .. }) = self.in_hand.get(&id) else { continue };
                    let options = self.settings.options(chunk.timeout);
                    let indices: Vec<u64> = chunk.items.iter().map(|item| item.index).collect();
                    let say = {
                        let told = told.clone();
                        move |said| drop(told.send(Event::Said(said)))
                    };
                    if let Err(error) = self.runner.begin(chunk, options, reins.clone(), say) {
                        self.broken.get_or_insert_with(|| format!("cannot start a thread: {error}"));
                        let fates = indices.into_iter().map(|index| (index, crate::chunk::Fate::NotBegun));
                        self.leases.ended(id, fates.collect(), Vec::new(), self.start.elapsed());
                    }
                }
                Command::Answer(id, answer) => {
                    if let Some(InHand { ackers, .. }) = self.in_hand.get(&id) {
                        self.post.finish(id, &answer, ackers.values().cloned().collect(), told);
                    }
                }
                Command::Renew(id) => {
                    if let Some(InHand { ackers, .. }) = self.in_hand.get(&id) {
                        ackers.values().for_each(|acker| self.post.renew(acker));
                    }
                }
                Command::Acknowledge(id) => {
                    let ackers = self.in_hand.remove(&id).map(|in_hand| in_hand.ackers);
                    ackers.into_iter().flatten().for_each(|(_, acker)| self.post.acknowledge(acker));
                }
                Command::Drop(id) => drop(self.in_hand.remove(&id)),
            }
        }
    }
}

/// Chunks in hand at once. One more than there are workers: its arguments are here when a worker is done.
pub(crate) fn places(workers: usize) -> usize {
    workers.saturating_add(1).min(Semaphore::MAX_PERMITS)
}

impl Error {
    /// There is no thread for the broker.
    pub(crate) fn no_runtime(error: &std::io::Error) -> Error {
        Error::new(ErrorKind::Unreachable, format!("cannot start a thread for the broker: {error}"))
    }
}
