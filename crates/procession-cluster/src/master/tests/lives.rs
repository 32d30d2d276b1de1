//! Whole lives of a job in modelled time: a broker that hands out, agents that die, stall and come back, a master that may be
//! killed, each life from a seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;
use crate::leases::{Claimed, Command as Order, Delivery, Leases};

const STEP: Duration = Duration::from_millis(100);
/// Chunks in a node's hands at once.
const PLACES: usize = 3;

/// A broker in memory.
#[derive(Default)]
struct Broker {
    messages: u64,
    queue: VecDeque<(Chunk, Delivery)>,
    leased: Vec<(Chunk, Delivery, Duration)>,
    slots: BTreeMap<ChunkId, Answer>,
    fresh: VecDeque<ChunkId>,
    claims: BTreeMap<ChunkId, Delivery>,
    charges: BTreeMap<ChunkId, u32>,
}

impl Broker {
    fn put(&mut self, chunk: Chunk) {
        self.messages += 1;
        self.queue.push_back((chunk, Delivery { sequence: self.messages, number: 0 }));
    }

    fn hand_out(&mut self, now: Duration) -> Option<(Chunk, Delivery)> {
        let (chunk, mut delivery) = self.queue.pop_front()?;
        delivery.number += 1;
        self.leased.push((chunk.clone(), delivery, now + LEASE));
        Some((chunk, delivery))
    }

    fn has(&self, sequence: u64) -> bool {
        let leased = self.leased.iter().map(|(_, delivery, _)| delivery);
        self.queue.iter().map(|(_, delivery)| delivery).chain(leased).any(|known| known.sequence == sequence)
    }

    fn acknowledge(&mut self, sequence: u64) {
        self.leased.retain(|(_, delivery, _)| delivery.sequence != sequence);
        self.queue.retain(|(_, delivery)| delivery.sequence != sequence);
    }

    fn claim(&mut self, id: ChunkId, delivery: Delivery) -> Claimed {
        match self.claims.get(&id) {
            None => {
                self.claims.insert(id, delivery);
                Claimed::Ours
            }
            Some(by) => Claimed::Theirs { by: *by, is_there: self.has(by.sequence) },
        }
    }

    fn expire(&mut self, now: Duration) {
        let (ended, kept) = std::mem::take(&mut self.leased)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, _, deadline)| *deadline <= now);
        self.leased = kept;
        self.queue.extend(ended.into_iter().map(|(chunk, delivery, _)| (chunk, delivery)));
    }
}

struct Node {
    name: String,
    leases: Leases,
    /// The messages of what it has in hand.
    in_hand: BTreeMap<ChunkId, BTreeSet<u64>>,
    running: Vec<(Chunk, Duration)>,
    /// It was handed this, and has not seen it yet.
    unread: Option<(Chunk, Delivery)>,
    /// It neither runs nor speaks until then.
    stalled: Duration,
    leaves: bool,
}

/// What may happen beside what is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Luck {
    /// Nodes die and stall, whatever they have in hand.
    Bad,
    /// Acknowledgements are lost, the master loses its broker, and nodes stall that have nothing in hand but what they have not read.
    Mixed,
    /// Nothing does.
    Good,
}

struct Life {
    random: fastrand::Rng,
    luck: Luck,
    now: Duration,
    broker: Broker,
    nodes: Vec<Node>,
    born: u32,
    at_most_once: bool,
    poison: BTreeSet<u64>,
    starts: BTreeMap<u64, u32>,
    outcomes: BTreeMap<u64, Outcome>,
    /// The master hears nothing until then.
    away: Duration,
}

impl Life {
    fn node(&mut self) {
        self.born += 1;
        let name = format!("n{}", self.born);
        let leases = Leases::new(&name, LEASE, self.at_most_once);
        self.nodes.push(Node {
            name,
            leases,
            in_hand: BTreeMap::new(),
            running: Vec::new(),
            unread: None,
            stalled: Duration::ZERO,
            leaves: false,
        });
    }

    /// What a master's commands do.
    fn obey(&mut self, master: &mut Master) {
        while let Some(command) = master.poll_command() {
            match command {
                Command::Put { chunk, .. } => self.broker.put(chunk),
                Command::Release(id) => drop(self.broker.slots.remove(&id)),
                Command::MakeConsumer
                | Command::Recreate
                | Command::Drain
                | Command::Stop
                | Command::TakeBack => panic!("{command:?} is not asked for here"),
            }
        }
    }

    /// A step of every node.
    fn work(&mut self, master: &mut Master) {
        let mut dead = Vec::new();
        for at in 0..self.nodes.len() {
            if self.nodes[at].stalled > self.now {
                continue;
            }
            // One that leaves may be handed a chunk that it has asked for before.
            let takes = !self.nodes[at].leaves || self.random.u8(..) < 20;
            let mut handed = self.nodes[at].unread.take();
            if takes && handed.is_none() && self.nodes[at].leases.held().len() < PLACES {
                handed = self.broker.hand_out(self.now);
            }
            if let Some((chunk, delivery)) = handed {
                let node = &mut self.nodes[at];
                node.in_hand.entry(chunk.id).or_default().insert(delivery.sequence);
                node.leases.leased(chunk, delivery, self.now);
            }
            let done: Vec<Chunk> = {
                let now = self.now;
                let node = &mut self.nodes[at];
                let (done, kept) = std::mem::take(&mut node.running)
                    .into_iter()
                    .partition::<Vec<_>, _>(|(_, until)| *until <= now);
                node.running = kept;
                node.running.iter().for_each(|(chunk, _)| node.leases.alive(chunk.id, now));
                done.into_iter().map(|(chunk, _)| chunk).collect()
            };
            for chunk in done {
                let fates = chunk.items.iter().map(|item| (item.index, value_of(item))).collect();
                self.nodes[at].leases.ended(chunk.id, fates, Vec::new(), self.now);
            }
            self.nodes[at].leases.tick(self.now);
            let is_dead = self.follow(at);
            let node = &self.nodes[at];
            if is_dead || (node.leaves && node.leases.is_empty()) {
                dead.push(at);
            } else {
                let (agent, held) = (node.name.clone(), node.leases.held());
                let is_idle = held.is_empty();
                if self.away <= self.now {
                    master.heard(Hello { agent, workers: 1, is_idle, held, parting: None }, self.now);
                }
            }
        }
        for at in dead.into_iter().rev() {
            self.nodes.remove(at);
        }
    }

    /// Does what a node's leases say; true: that has killed it.
    fn follow(&mut self, at: usize) -> bool {
        while let Some(order) = self.nodes[at].leases.poll_command() {
            match order {
                Order::Claim(id, delivery) => {
                    let claimed = self.broker.claim(id, delivery);
                    self.nodes[at].leases.claimed(id, claimed, self.now);
                }
                Order::Charge(id) => {
                    let charges = self.broker.charges.entry(id).or_default();
                    *charges += 1;
                    let is_noted = *charges <= LOSSES_MAX;
                    self.nodes[at].leases.charged(id, is_noted, self.now);
                }
                Order::Begin(chunk) => {
                    for item in &chunk.items {
                        *self.starts.entry(item.index).or_default() += 1;
                    }
                    if chunk.items.iter().any(|item| self.poison.contains(&item.index)) {
                        return true;
                    }
                    let until = self.now + STEP * self.random.u32(1..80);
                    self.nodes[at].running.push((chunk, until));
                }
                Order::Answer(id, answer) => {
                    if let std::collections::btree_map::Entry::Vacant(slot) = self.broker.slots.entry(id) {
                        slot.insert(answer);
                        self.broker.fresh.push_back(id);
                    }
                    self.acknowledge(at, id);
                    self.nodes[at].leases.answered(id);
                }
                Order::Acknowledge(id) => self.acknowledge(at, id),
                Order::Renew(id) => {
                    let Some(sequences) = self.nodes[at].in_hand.get(&id) else { continue };
                    // As the broker does: whoever it was handed to last.
                    for (_, delivery, deadline) in &mut self.broker.leased {
                        if sequences.contains(&delivery.sequence) {
                            *deadline = self.now + LEASE;
                        }
                    }
                }
                Order::Drop(id) => drop(self.nodes[at].in_hand.remove(&id)),
            }
        }
        false
    }

    fn acknowledge(&mut self, at: usize, id: ChunkId) {
        let sequences = self.nodes[at].in_hand.remove(&id).unwrap_or_default();
        let is_lost = self.luck == Luck::Mixed && self.random.u8(..) < 60;
        if !is_lost {
            sequences.into_iter().for_each(|sequence| self.broker.acknowledge(sequence));
        }
    }

    fn misfortune(&mut self) {
        if self.nodes.is_empty() || (self.nodes.len() < 4 && self.random.u8(..) < 40) {
            self.node();
        }
        let at = self.random.usize(..self.nodes.len());
        let what = self.random.u8(..);
        if self.luck == Luck::Mixed && self.away <= self.now && self.random.u8(..) < 2 {
            self.away = self.now + STEP * self.random.u32(1..200);
        }
        let is_last = self.nodes.len() == 1;
        let node = &mut self.nodes[at];
        match (self.luck, what) {
            (Luck::Bad, 0..4) if !is_last => drop(self.nodes.remove(at)),
            (Luck::Bad, 6..10) => node.stalled = self.now + STEP * self.random.u32(1..150),
            (Luck::Mixed, 0..20) if node.leases.is_empty() && node.unread.is_none() => {
                node.unread = self.broker.hand_out(self.now);
                node.stalled = self.now + STEP * self.random.u32(1..150);
            }
            (Luck::Bad | Luck::Mixed, 4..6) => {
                node.leaves = true;
                node.leases.drain();
            }
            (Luck::Bad | Luck::Mixed | Luck::Good, _) => {}
        }
    }
}

/// A job's life from a seed; `killed`: its master is, three times, and another goes on.
fn live(seed: u64, luck: Luck, at_most_once: bool, killed: bool, poison: &[u64]) -> Life {
    const ITEMS: u64 = 60;
    let mut life = Life {
        random: fastrand::Rng::with_seed(seed),
        luck,
        now: Duration::ZERO,
        broker: Broker::default(),
        nodes: Vec::new(),
        born: 0,
        at_most_once,
        poison: poison.iter().copied().collect(),
        starts: BTreeMap::new(),
        outcomes: BTreeMap::new(),
        away: Duration::ZERO,
    };
    let settings = Settings { keeps_answers: killed, ..settings(at_most_once) };
    let mut master = Master::new(settings.clone());
    let mut kills: Vec<Duration> = Vec::new();
    if killed {
        kills.extend((0..3).map(|_| STEP * life.random.u32(1..200)));
    }
    let mut session = 1;
    // What a session still has to take in.
    let mut rest: VecDeque<u64> = (0..ITEMS).collect();
    let mut numbers: Vec<u64> = Vec::new();
    while life.outcomes.len() < ITEMS as usize {
        assert!(life.now < Duration::from_secs(4_000), "seed {seed}: {} of {ITEMS}", life.outcomes.len());
        life.now += STEP;
        if kills.extract_if(.., |at| *at <= life.now).next().is_some() {
            session += 1;
            master = Master::new(Settings { session, ..settings.clone() });
            let left = life.broker.leased.iter().map(|(chunk, ..)| chunk);
            let left = life.broker.queue.iter().map(|(chunk, _)| chunk).chain(left).cloned().collect();
            let answers = life.broker.slots.iter().map(|(id, answer)| (*id, answer.clone())).collect();
            life.broker.fresh.clear();
            master.recover(left, answers, life.now);
            rest = (0..ITEMS).filter(|index| !life.outcomes.contains_key(index)).collect();
            numbers.clear();
        }
        life.broker.expire(life.now);
        while master.wants() > 0
            && let Some(index) = rest.pop_front()
        {
            numbers.push(index);
            master.push(item(index), life.now);
        }
        master.cut(life.now);
        if life.away == life.now {
            master.connected(life.now);
        }
        let waiting = life.broker.queue.len() as u64;
        let queue = Queue { waiting, has_consumer: true, asked: life.now };
        master.tick(Some(queue).filter(|_| life.away <= life.now), life.now);
        if life.away <= life.now {
            life.obey(&mut master);
        }
        life.misfortune();
        life.work(&mut master);
        while life.away <= life.now
            && let Some(id) = life.broker.fresh.pop_front()
        {
            if let Some(answer) = life.broker.slots.get(&id) {
                master.answered(id, answer.clone(), life.now);
            }
        }
        while let Some((payload, outcome)) = master.next_outcome() {
            let index = numbers[payload as usize];
            let before = life.outcomes.insert(index, outcome);
            assert_eq!(before, None, "seed {seed}: item {index} has two outcomes");
        }
        if master.has_answers() {
            master.on_record();
        }
        if life.away <= life.now {
            life.obey(&mut master);
        }
    }
    life
}

#[test]
fn in_every_life_every_item_has_its_value() {
    for seed in 0..200 {
        let life = live(seed, Luck::Bad, false, seed % 2 == 1, &[]);
        for (index, outcome) in &life.outcomes {
            // However many agents die: that is nobody's fault, unless it happens to one item again and again.
            match outcome {
                Outcome::Value(value) => assert_eq!(*value, item(*index).args, "seed {seed}"),
                Outcome::Failed(report) => {
                    assert!(
                        report.kind == ErrorKind::Quarantined && life.starts[index] >= LOSSES_MAX,
                        "seed {seed}: {report:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn in_every_life_the_poison_is_found_and_costs_nobody_else() {
    for seed in 0..200 {
        let life = live(seed, Luck::Good, false, seed % 2 == 1, &[7, 40]);
        for (index, outcome) in &life.outcomes {
            match outcome {
                Outcome::Failed(report) if [7, 40].contains(index) => {
                    assert_eq!(report.kind, ErrorKind::Quarantined, "seed {seed}: item {index}");
                }
                outcome => {
                    assert_eq!(*outcome, Outcome::Value(item(*index).args), "seed {seed}: item {index}")
                }
            }
        }
    }
}

#[test]
fn in_every_life_what_starts_at_most_once_does() {
    for seed in 0..200 {
        let life = live(seed, Luck::Bad, true, seed % 2 == 1, &[7]);
        for (index, starts) in &life.starts {
            assert!(*starts <= 1, "seed {seed}: item {index} was started {starts} times");
        }
        for (index, outcome) in &life.outcomes {
            match outcome {
                Outcome::Value(value) => assert_eq!(*value, item(*index).args, "seed {seed}"),
                Outcome::Failed(report) => assert_eq!(report.kind, ErrorKind::WorkerLost, "seed {seed}"),
            }
        }
        assert!(matches!(life.outcomes[&7], Outcome::Failed(_)), "seed {seed}");
    }
}

#[test]
fn in_every_life_without_a_loss_nothing_is_lost() {
    for seed in 0..200 {
        let life = live(seed, Luck::Mixed, true, seed % 2 == 1, &[]);
        for (index, outcome) in &life.outcomes {
            assert_eq!(*outcome, Outcome::Value(item(*index).args), "seed {seed}: item {index}");
            assert_eq!(life.starts[index], 1, "seed {seed}: item {index}");
        }
    }
}
