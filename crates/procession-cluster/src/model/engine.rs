//! One job in modelled time: a master with one processor, any number of agents, and between them a broker.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use procession::Payload;

use super::agent::Agent;
use super::broker::Broker;
use super::costs::Costs;
use super::hand::{Hand, Leaves, Task};
use crate::call::PULL_TIME;
use crate::chunk::{Answer, Chunk, ChunkId, Item};
use crate::cluster::LEASE;
use crate::leases::{Command as Order, Delivery};
use crate::master::{Command, Hello, Master, Queue, Settings};
use crate::nats::master::ASK_EVERY;

/// How many agents there are, from the beginning, and how many workers each has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// Agents.
    pub agents: u32,
    /// Workers of each.
    pub workers: u32,
}

/// The items of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Items {
    /// How many there are.
    pub count: u64,
    /// How long each takes, on average.
    pub ns: u64,
    /// By how much of that it takes more or less, at most, in per cent.
    pub spread: u64,
    /// How many a chunk has, if the user says so.
    pub chunk_size: Option<usize>,
    /// What the lengths are drawn from.
    pub seed: u64,
}

/// How a run went. All times but the first are of processors: how long they were busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// From the first pull of the input until the caller has every result.
    pub makespan_ns: u64,
    /// The master's.
    pub master_ns: u64,
    /// Of all agents, beside their workers.
    pub agents_ns: u64,
    /// The broker's stream of chunks.
    pub work_ns: u64,
    /// The broker's stream of answers.
    pub answers_ns: u64,
    /// Chunks put.
    pub chunks: u64,
    /// Chunks that waited at the broker for an agent, at most.
    pub waiting_max: u64,
}

/// Runs one job over idle agents that the master knows.
#[must_use]
pub fn run(costs: &Costs, fleet: Fleet, items: Items) -> Report {
    Life::new(costs, fleet, items).live()
}

/// What happens outside of the master, and when the master is free again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    MasterFree,
    /// The master asks what the queue has.
    Tick,
    /// An agent looks at its leases and says that it is there.
    Hello(u32),
    /// At the broker.
    Put(u64, ChunkId),
    Request(u32),
    Answer(u32, ChunkId),
    Purge,
    /// At an agent.
    Delivered(u32, u64, ChunkId),
    Taken(u32, u64, ChunkId),
    HandOutEnds(u32, ChunkId, u32, u64),
    Ended(u32, ChunkId),
    LetGo(u32, ChunkId),
    /// At the master.
    Stored(u64),
    Heard(ChunkId),
    Purged,
}

/// What waits for the master's processor.
enum Work {
    Feed,
    Heard(ChunkId),
    Hello(Hello),
    Tick(Queue),
}

struct Life<'a> {
    costs: &'a Costs,
    items: Items,
    random: fastrand::Rng,
    master: Master,
    hand: Hand,
    broker: Broker,
    agents: Vec<Agent>,
    /// Those put and not yet taken by an agent; answers that the master has not heard.
    chunks: HashMap<ChunkId, Chunk>,
    said: HashMap<ChunkId, Answer>,
    agenda: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    serial: u64,
    now: u64,
    inbox: VecDeque<Work>,
    is_busy: bool,
    fed: u64,
    settled: u64,
    report: Report,
}

impl Life<'_> {
    fn new<'a>(costs: &'a Costs, fleet: Fleet, items: Items) -> Life<'a> {
        let settings = Settings {
            session: 1,
            ordered: true,
            chunk_items: items.chunk_size,
            buffer: None,
            timeout: None,
            lease: LEASE,
            at_most_once: false,
            keeps_answers: false,
        };
        let agent = |number| Agent::new(format!("n{number}"), fleet.workers, LEASE);
        Life {
            costs,
            items,
            random: fastrand::Rng::with_seed(items.seed),
            master: Master::new(settings),
            hand: Hand::default(),
            broker: Broker::default(),
            agents: (0..fleet.agents).map(agent).collect(),
            chunks: HashMap::new(),
            said: HashMap::new(),
            agenda: BinaryHeap::new(),
            serial: 0,
            now: 0,
            inbox: VecDeque::new(),
            is_busy: false,
            fed: 0,
            settled: 0,
            report: Report {
                makespan_ns: 0,
                master_ns: 0,
                agents_ns: 0,
                work_ns: 0,
                answers_ns: 0,
                chunks: 0,
                waiting_max: 0,
            },
        }
    }

    fn live(mut self) -> Report {
        self.begin();
        while self.settled < self.items.count {
            self.work();
            let Some(Reverse((now, _, happening))) = self.agenda.pop() else {
                panic!("the job never ends: {} of {} items", self.settled, self.items.count)
            };
            self.now = now;
            self.happen(now, happening);
        }
        self.report.agents_ns = self.agents.iter().map(|agent| agent.processor.busy_ns()).sum();
        self.report.work_ns = self.broker.work.busy_ns();
        self.report.answers_ns = self.broker.answers.busy_ns();
        self.report
    }

    /// Every agent has joined, and waits for as many chunks as it has places.
    fn begin(&mut self) {
        let (count, lease) = (self.agents.len() as u64, nanos(LEASE / 3));
        for number in 0..self.agents.len() {
            let hello = self.hello(number);
            self.master.heard(hello, Duration::ZERO);
            for _ in 0..self.agents[number].most {
                self.broker.request(number as u32);
            }
            // They have not come all at once.
            let at = lease * (number as u64 + 1) / count;
            self.later(at, Happening::Hello(number as u32));
        }
        self.later(nanos(ASK_EVERY), Happening::Tick);
        self.inbox.push_back(Work::Feed);
    }

    fn hello(&self, number: usize) -> Hello {
        let Agent { name, leases, workers, most, .. } = &self.agents[number];
        let held = leases.held();
        let is_idle = held.len() < *most;
        Hello { agent: name.clone(), workers: *workers, is_idle, held, parting: None }
    }

    fn later(&mut self, at: u64, happening: Happening) {
        self.serial += 1;
        self.agenda.push(Reverse((at, self.serial, happening)));
    }

    fn happen(&mut self, now: u64, happening: Happening) {
        let Costs { hop, publish, deliver, purge, take, answer, agent_item, .. } = *self.costs;
        match happening {
            Happening::MasterFree => self.is_busy = false,
            Happening::Tick => {
                let queue = Queue { waiting: self.broker.waiting(), has_consumer: true, asked: time(now) };
                self.inbox.push_back(Work::Tick(queue));
                self.later(now + nanos(ASK_EVERY), Happening::Tick);
            }
            Happening::Hello(number) => self.look(now, number),
            Happening::Put(number, id) => {
                let stored = self.broker.work.serve(now, publish);
                self.broker.store(id);
                self.report.waiting_max = self.report.waiting_max.max(self.broker.waiting());
                self.hand_out(stored);
                self.later(stored + hop, Happening::Stored(number));
            }
            Happening::Request(number) => {
                self.broker.request(number);
                self.hand_out(now);
            }
            Happening::Answer(number, id) => {
                let stored = self.broker.answers.serve(now, publish);
                let delivered = self.broker.answers.serve(stored, deliver);
                self.later(delivered + hop, Happening::Heard(id));
                // The agent hears that it is stored, ends the lease, and hears that.
                self.later(stored + 3 * hop, Happening::LetGo(number, id));
            }
            Happening::Purge => {
                let purged = self.broker.answers.serve(now, purge);
                self.later(purged + hop, Happening::Purged);
            }
            Happening::Delivered(number, sequence, id) => {
                let items = self.chunks[&id].items.len() as u64;
                let taken = self.agent(number).processor.serve(now, take + items * agent_item / 2);
                self.later(taken, Happening::Taken(number, sequence, id));
            }
            Happening::Taken(number, sequence, id) => {
                let chunk = self.chunks.remove(&id).expect("it is handed out once");
                let delivery = Delivery { sequence, number: 1 };
                self.agent(number).leases.leased(chunk, delivery, time(now));
                self.obey(now, number);
            }
            Happening::HandOutEnds(number, id, items, busy) => {
                let agent = self.agent(number);
                if agent.ended(id, items, busy) {
                    let items = agent.items(id);
                    let ended = agent.processor.serve(now, answer + items * agent_item / 2);
                    self.later(ended, Happening::Ended(number, id));
                }
                self.start(now, number);
            }
            Happening::Ended(number, id) => {
                let agent = self.agent(number);
                let (fates, figures) = agent.take(id);
                agent.leases.ended(id, fates, figures, time(now));
                self.obey(now, number);
            }
            Happening::LetGo(number, id) => {
                self.agent(number).leases.answered(id);
                for _ in 0..self.agent(number).asks_for() {
                    self.later(now + hop, Happening::Request(number));
                }
            }
            Happening::Stored(number) => {
                self.hand.stored(number);
                self.leave(now);
            }
            Happening::Heard(id) => self.inbox.push_back(Work::Heard(id)),
            Happening::Purged => {
                self.hand.purged();
                self.leave(now);
            }
        }
    }

    fn agent(&mut self, number: u32) -> &mut Agent {
        &mut self.agents[number as usize]
    }

    /// An agent looks at its leases and says that it is there.
    fn look(&mut self, now: u64, number: u32) {
        let agent = self.agent(number);
        agent.alive(time(now));
        agent.leases.tick(time(now));
        self.obey(now, number);
        let hello = self.hello(number as usize);
        self.inbox.push_back(Work::Hello(hello));
        self.later(now + nanos(LEASE / 3), Happening::Hello(number));
    }

    /// Does what an agent's leases say.
    fn obey(&mut self, now: u64, number: u32) {
        while let Some(order) = self.agent(number).leases.poll_command() {
            match order {
                Order::Begin(chunk) => self.agent(number).begin(chunk),
                Order::Answer(id, answer) => {
                    self.said.insert(id, answer);
                    self.later(now + self.costs.hop, Happening::Answer(number, id));
                }
                Order::Renew(_) => drop(self.broker.work.serve(now, self.costs.renew)),
                other @ (Order::Claim(..) | Order::Charge(_) | Order::Acknowledge(_) | Order::Drop(_)) => {
                    panic!("{other:?} where nobody is lost")
                }
            }
        }
        self.start(now, number);
    }

    /// Free workers of an agent take what is there.
    fn start(&mut self, now: u64, number: u32) {
        let Items { ns, spread, .. } = self.items;
        while let Some((id, items)) = self.agents[number as usize].hand_out(ns) {
            let length = |random: &mut fastrand::Rng| ns * random.u64(100 - spread..=100 + spread) / 100;
            let busy = (0..items).map(|_| length(&mut self.random)).sum();
            self.later(now + busy, Happening::HandOutEnds(number, id, items, busy));
        }
    }

    /// The broker hands chunks to those who wait for one.
    fn hand_out(&mut self, now: u64) {
        while let Some((agent, sequence, id)) = self.broker.hand_out() {
            let handed = self.broker.work.serve(now, self.costs.consume);
            self.later(handed + self.costs.hop, Happening::Delivered(agent, sequence, id));
        }
    }

    /// The master's processor takes up what waits for it.
    fn work(&mut self) {
        if self.is_busy {
            return;
        }
        let now = self.now;
        let Some(work) = self.inbox.pop_front() else { return };
        let end = match work {
            Work::Feed => now,
            Work::Heard(id) => self.hear(now, id),
            Work::Hello(hello) => {
                let held = hello.held.len() as u64;
                self.master.heard(hello, time(now));
                now + self.costs.hello + held * self.costs.hello_held
            }
            Work::Tick(queue) => {
                self.master.tick(Some(queue), time(now));
                now
            }
        };
        let end = self.send(end);
        let end = self.feed(end);
        while self.master.next_outcome().is_some() {
            self.settled += 1;
        }
        drop((self.master.take_figures(), self.master.take_notices()));
        self.is_busy = true;
        self.report.master_ns += end - now;
        self.report.makespan_ns = end;
        self.later(end, Happening::MasterFree);
    }

    fn hear(&mut self, now: u64, id: ChunkId) -> u64 {
        let answer = self.said.remove(&id).expect("it was said");
        let items = answer.fates.len() as u64;
        let end = now + self.costs.hear + items * self.costs.item_in;
        self.master.answered(id, answer, time(end));
        end
    }

    /// The caller's input, as far as it is welcome, and for so long at a time.
    fn feed(&mut self, now: u64) -> u64 {
        let mut at = now;
        while self.fed < self.items.count && self.master.wants() > 0 {
            at += self.costs.item_out;
            let args = Payload::from(self.fed.to_le_bytes().to_vec());
            self.master.push(Item { index: self.fed, args }, time(at));
            self.fed += 1;
            if at - now >= nanos(PULL_TIME) || self.fed == self.items.count {
                self.master.cut(time(at));
                self.inbox.push_back(Work::Feed);
                break;
            }
        }
        self.send(at)
    }

    /// The master's commands go to the hand that obeys; when that is done.
    fn send(&mut self, now: u64) -> u64 {
        let mut at = now;
        while let Some(command) = self.master.poll_command() {
            match command {
                Command::Put { chunk, .. } => {
                    at += self.costs.put;
                    self.report.chunks += 1;
                    self.hand.push(Task::Put(chunk.id));
                    self.chunks.insert(chunk.id, chunk);
                }
                Command::Release(id) => {
                    at += self.costs.release;
                    self.hand.push(Task::Release(id));
                }
                other => panic!("{other:?} where nobody is lost"),
            }
            self.leave(at);
        }
        at
    }

    fn leave(&mut self, now: u64) {
        let arrives = now + self.costs.hop;
        while let Some(leaves) = self.hand.poll() {
            match leaves {
                Leaves::Put(number, id) => self.later(arrives, Happening::Put(number, id)),
                Leaves::Purge => self.later(arrives, Happening::Purge),
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("no run takes centuries")
}

fn time(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}
