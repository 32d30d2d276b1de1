//! An agent's part in one job: chunks come, run, and are answered, until it is over or has nothing for it to do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::message::Acker;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::{Agent, Done, Event, News, Request};
use crate::chunk::ChunkId;
use crate::leases::{Command, Leases};
use crate::manifest::{JobState, Manifest, PoolSettings};
use crate::master::{Hello, Parting, TROUBLE_AGAIN};
use crate::nats::agent::{Leased, Post};
use crate::reserve::Reserve;
use crate::runner::{Reins, Runner, Said};

/// How often it looks at its leases, and at what the agent is asked for.
const TICK: Duration = Duration::from_millis(50);
/// What the broker is asked where chunks may come meanwhile is answered within this, or not at all.
const GLANCE_WITHIN: Duration = Duration::from_millis(500);
/// What was stopped is answered within this, or not at all: somebody waits for the agent to be gone.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// An agent's part in one job.
pub(super) struct Stay {
    post: Post,
    runner: Runner,
    settings: PoolSettings,
    lease: Duration,
    /// It leaves when it has had nothing to do for so long.
    patience: Duration,
    leases: Leases,
    in_hand: BTreeMap<ChunkId, InHand>,
    places: Arc<Semaphore>,
    reserve: Reserve,
    workers: usize,
    /// How many places there are: one for each worker, and the one in reserve.
    most: usize,
    start: Instant,
    /// That were answered.
    pub(super) items: u64,
    broken: Option<String>,
}

/// A chunk in hand, which takes up one of the agent's places.
struct InHand {
    /// What ends or renews its lease, of each message that it came in, by the message's sequence.
    ackers: BTreeMap<u64, Arc<Acker>>,
    reins: Reins,
    /// How long its arguments took to come.
    fetched_in: Duration,
    place: OwnedSemaphorePermit,
}

impl Stay {
    pub(super) fn new(
        post: Post,
        runner: Runner,
        manifest: &Manifest,
        agent: &Agent,
        patience: Duration,
    ) -> Stay {
        let (lease, most) = (manifest.lease, agent.workers.clamp(1, Semaphore::MAX_PERMITS - 1));
        Stay {
            post,
            runner,
            settings: manifest.pool.clone(),
            lease,
            patience,
            leases: Leases::new(&agent.name, lease, manifest.at_most_once),
            in_hand: BTreeMap::new(),
            places: Arc::new(Semaphore::new(most)),
            reserve: Reserve::default(),
            workers: most,
            most,
            start: Instant::now(),
            items: 0,
            broken: None,
        }
    }

    pub(super) async fn go(
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
                for InHand { reins, .. } in self.in_hand.values() {
                    match state {
                        JobState::Stops | JobState::Ended => reins.stop(),
                        JobState::Open | JobState::Drains if asked == Request::Stop => reins.abandon(),
                        JobState::Open | JobState::Drains => reins.drain(),
                    }
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
        let is_idle = !self.places.is_closed() && self.leases.has_room() && held.len() < self.most;
        Hello { is_idle, held, ..agent.hello(parting) }
    }

    /// Whether there is another job that the agent could take part in.
    async fn has_others(&self, agent: &Agent) -> bool {
        let could = |manifest: &Manifest| agent.admission(manifest).is_ok();
        *agent.broker.is_up.borrow() && self.post.others(GLANCE_WITHIN).await.iter().any(could)
    }

    fn hear(&mut self, event: Event, told: &UnboundedSender<Event>) {
        let now = self.start.elapsed();
        match event {
            Event::Leased(leased) => {
                let Leased { chunk, delivery, acker, place, fetched_in } = *leased;
                let ackers = BTreeMap::new();
                let in_hand = InHand { ackers, reins: Reins::default(), fetched_in, place };
                let in_hand = self.in_hand.entry(chunk.id).or_insert(in_hand);
                in_hand.ackers.insert(delivery.sequence, acker);
                self.leases.leased(chunk, delivery, now);
            }
            Event::Claimed(id, claimed) => self.leases.claimed(id, claimed, now),
            Event::Charged(id, is_noted) => self.leases.charged(id, is_noted, now),
            Event::Said(Said::Alive(id)) => self.leases.alive(id, now),
            Event::Said(Said::Ended { id, fates, figures, broken }) => {
                self.items += fates.len() as u64;
                let busy = figures.iter().map(|figures| figures.busy).sum();
                let fetched_in = self.in_hand.get(&id).map_or(Duration::ZERO, |in_hand| in_hand.fetched_in);
                self.reserve.ended(busy, fetched_in);
                if self.reserve.is_wanted() && self.most == self.workers {
                    self.places.add_permits(1);
                    self.most += 1;
                }
                if let Some(why) = broken {
                    self.broken.get_or_insert(why);
                }
                self.leases.ended(id, fates, figures, now);
            }
            Event::Answered(id) => {
                self.leases.answered(id);
                self.let_go(id);
            }
            Event::State(_) | Event::Unreadable(_) => unreachable!("whoever calls has looked"),
        }
        self.obey(told);
    }

    /// Has a chunk in hand no longer: what would have ended its leases.
    fn let_go(&mut self, id: ChunkId) -> BTreeMap<u64, Arc<Acker>> {
        let Some(InHand { ackers, place, .. }) = self.in_hand.remove(&id) else { return BTreeMap::new() };
        if self.most > self.workers && !self.reserve.is_wanted() {
            place.forget();
            self.most -= 1;
        }
        ackers
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
                    let ackers = self.let_go(id);
                    ackers.into_iter().for_each(|(_, acker)| self.post.acknowledge(acker));
                }
                Command::Drop(id) => drop(self.let_go(id)),
            }
        }
    }
}
