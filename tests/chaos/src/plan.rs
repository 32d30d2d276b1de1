//! What an episode does: every decision that does not depend on time follows from the seed and the episode's number.

use std::time::Duration;

use fastrand::Rng;
use procession::{Output, StartMethod};

use crate::tag::{DEATHS, Deed, Tag};

/// Everything about one episode.
#[derive(Clone, Debug)]
pub(crate) struct Episode {
    pub(crate) workers: usize,
    pub(crate) workers_max: usize,
    pub(crate) method: StartMethod,
    pub(crate) options: Options,
    /// What each calling thread does, one call after the other.
    pub(crate) callers: Vec<Vec<Call>>,
    /// Threads that keep a core busy meanwhile.
    pub(crate) load: usize,
    pub(crate) end: End,
    /// For the agitator's own decisions.
    pub(crate) agitation: u64,
}

/// The pool's options.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) output: Output,
    pub(crate) grace: Duration,
    pub(crate) max_tasks_per_worker: Option<usize>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) lazy_start: bool,
    /// Of a thousand workers, how many die in the initializer and how many are slow there.
    pub(crate) initializer: Option<(u64, u64)>,
    /// Of a time limit for all calls.
    pub(crate) timeout: Option<Duration>,
}

/// How a pool ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Close,
    /// The last handle is dropped.
    Drop,
    /// In the middle of everything, after this time.
    Terminate(Duration),
}

/// One call on the pool, or a burst of single ones.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: u16,
    pub(crate) kind: Kind,
    pub(crate) idempotent: bool,
    pub(crate) verb: Verb,
    pub(crate) items: u32,
    pub(crate) deeds: Deeds,
    pub(crate) limits: Limits,
    pub(crate) stop: Stop,
}

/// The options of a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) chunk_size: Option<usize>,
    pub(crate) buffer: Option<usize>,
    pub(crate) priority: i32,
}

/// What arguments the items have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tiny,
    Large,
    Shared,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Map,
    MapAsync,
    /// A blocking call for each item.
    Apply,
    /// All single calls at once.
    ApplyAsync,
    Ordered,
    Unordered,
}

/// Whether a call is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Never,
    /// Cancelled: a stream after so many outcomes, a handle after so many milliseconds.
    Cancel(u32),
    /// A stream is dropped after so many outcomes.
    Drop(u32),
}

/// How many of ten thousand items do what.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deeds {
    pub(crate) seed: u64,
    pub(crate) die: u32,
    pub(crate) panic: u32,
    pub(crate) overrun: u32,
    pub(crate) sleep: u32,
    pub(crate) spin: u32,
    pub(crate) leave: u32,
    pub(crate) flood: u32,
}

/// What a run is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mixture {
    /// Every fault at once.
    Normal,
    /// Hundreds of workers lost to their items, in a row.
    Storm,
    /// A hundred thousand items a call.
    Bulk,
}

/// The call that hangs, where one is to.
const HANGING: u16 = u16::MAX - 2;

/// A random number generator for one purpose.
pub(crate) fn rng(seed: u64, episode: u64, purpose: u64) -> Rng {
    // Neighbouring seeds are to have nothing in common: each part is mixed before the next is added.
    let mut mixed = 0x2545_f491_4f6c_dd1d_u64;
    for part in [seed, episode, purpose] {
        mixed = Rng::with_seed(mixed ^ part).u64(..);
    }
    Rng::with_seed(mixed)
}

impl Mixture {
    /// That of an episode.
    pub(crate) fn of(seed: u64, number: u64) -> Mixture {
        match rng(seed, number, 3).u32(..10) {
            0 => Mixture::Storm,
            1 => Mixture::Bulk,
            _ => Mixture::Normal,
        }
    }
}

impl Episode {
    pub(crate) fn new(seed: u64, number: u64, workers_max: usize, mixture: Mixture) -> Episode {
        let mut rng = rng(seed, number, 0);
        let workers = *[1, 2, 5, 13, rng.usize(1..=workers_max)].get(rng.usize(..5)).unwrap_or(&1);
        let method = match rng.u32(..20) {
            0..13 => StartMethod::ForkServer,
            13..17 => StartMethod::Fork,
            _ => StartMethod::Spawn,
        };
        let callers = match mixture {
            Mixture::Normal => 2 + rng.usize(..4),
            Mixture::Storm | Mixture::Bulk => 2,
        };
        let mut ids = 0_u16..;
        let mut call = |rng: &mut Rng| {
            let id = ids.next().expect("an episode has few calls");
            match mixture {
                Mixture::Normal => Call::new(id, rng, method),
                Mixture::Storm => Call::storm(id, rng),
                Mixture::Bulk => Call::bulk(id, rng),
            }
        };
        let callers: Vec<Vec<Call>> = (0..callers)
            .map(|_| {
                let calls = if mixture == Mixture::Normal { 2 + rng.usize(..4) } else { 2 };
                (0..calls).map(|_| call(&mut rng)).collect()
            })
            .collect();
        let items: u32 = callers.iter().flatten().map(|call| call.items).sum();
        Episode {
            workers: workers.min(workers_max),
            workers_max,
            method,
            options: Options::new(&mut rng, items as usize, method),
            callers,
            load: rng.usize(..3),
            end: match rng.u32(..10) {
                0 if mixture == Mixture::Normal => End::Terminate(Duration::from_millis(rng.u64(100..1_200))),
                1..3 => End::Drop,
                _ => End::Close,
            },
            agitation: rng.u64(..),
        }
    }
}

impl Episode {
    /// Adds an item that never ends, and that nothing ends.
    pub(crate) fn hang(&mut self) {
        let endless = Deeds { overrun: 10_000, ..Deeds::default() };
        // Its workers may be killed.
        let limits = Limits { max_attempts: Some(u32::MAX), ..Limits::default() };
        self.callers.push(vec![Call { deeds: endless, idempotent: true, limits, ..Call::plain(HANGING) }]);
        self.end = End::Close;
        self.options.timeout = None;
    }
}

impl Options {
    fn new(rng: &mut Rng, items: usize, method: StartMethod) -> Options {
        // A spawned worker costs the most.
        let lives = if method == StartMethod::Spawn { 10 } else { 60 };
        Options {
            output: if rng.bool() { Output::Capture } else { Output::Null },
            grace: Duration::from_millis(4 * rng.u64(50..400)),
            max_tasks_per_worker: one_in(rng, 4).then(|| items / lives + rng.usize(1..50)),
            idle_timeout: one_in(rng, 4).then(|| Duration::from_millis(rng.u64(5..150))),
            lazy_start: one_in(rng, 4),
            initializer: one_in(rng, 3).then(|| (rng.u64(..40), rng.u64(..100))),
            timeout: one_in(rng, 4).then(|| Duration::from_secs(20)),
        }
    }
}

impl Call {
    fn new(id: u16, rng: &mut Rng, method: StartMethod) -> Call {
        let kind = rng.choice([Kind::Tiny, Kind::Tiny, Kind::Large, Kind::Shared]).unwrap_or(Kind::Tiny);
        let verbs = [
            Verb::Map,
            Verb::MapAsync,
            Verb::Apply,
            Verb::ApplyAsync,
            Verb::ApplyAsync,
            Verb::Ordered,
            Verb::Ordered,
            Verb::Unordered,
        ];
        let verb = rng.choice(verbs).unwrap_or(Verb::Map);
        let items = match (kind, verb) {
            (Kind::Large, _) => rng.u32(2..24),
            (_, Verb::Apply) => rng.u32(10..100),
            (_, Verb::ApplyAsync) => rng.u32(10..800),
            // From a handful to a flood, all magnitudes alike.
            _ => 1 << rng.u32(3..15) | rng.u32(..64),
        };
        let has_timeout = one_in(rng, 4);
        let stop = match rng.u32(..10) {
            0 | 1 if matches!(verb, Verb::Ordered | Verb::Unordered) => Stop::Drop(rng.u32(..items)),
            2 | 3 if matches!(verb, Verb::Ordered | Verb::Unordered) => Stop::Cancel(rng.u32(..items)),
            4 | 5 if matches!(verb, Verb::MapAsync | Verb::ApplyAsync) => Stop::Cancel(rng.u32(..60)),
            _ => Stop::Never,
        };
        let deaths_most = if method == StartMethod::Spawn { 4 } else { 20 };
        Call {
            id,
            kind,
            idempotent: rng.bool(),
            verb,
            items,
            deeds: Deeds::new(rng, items, deaths_most, has_timeout),
            limits: Limits::new(rng, has_timeout),
            stop,
        }
        .with_attempts(rng)
    }

    /// A third of the items kills its worker.
    fn storm(id: u16, rng: &mut Rng) -> Call {
        let deeds = Deeds { seed: rng.u64(..), die: rng.u32(1_000..3_500), ..Deeds::default() };
        let verb = rng.choice([Verb::MapAsync, Verb::Ordered, Verb::Unordered]).unwrap_or(Verb::Ordered);
        let limits = Limits { chunk_size: chunk_size(rng), ..Limits::default() };
        Call { verb, items: rng.u32(300..1_500), idempotent: false, deeds, limits, ..Call::plain(id) }
    }

    fn bulk(id: u16, rng: &mut Rng) -> Call {
        let deeds = Deeds { seed: rng.u64(..), ..Deeds::default() };
        let verb = rng.choice([Verb::Map, Verb::MapAsync, Verb::Ordered, Verb::Unordered]);
        let verb = verb.unwrap_or(Verb::Ordered);
        // What a map loses it fails with: it could not go on.
        let idempotent = verb == Verb::Map || rng.bool();
        Call { verb, items: rng.u32(20_000..150_000), idempotent, deeds, ..Call::plain(id) }
    }

    /// A call of nothing but work.
    pub(crate) fn plain(id: u16) -> Call {
        Call {
            id,
            kind: Kind::Tiny,
            idempotent: false,
            verb: Verb::Ordered,
            items: 1,
            deeds: Deeds::default(),
            limits: Limits::default(),
            stop: Stop::Never,
        }
    }

    fn with_attempts(mut self, rng: &mut Rng) -> Call {
        // Only where a second start is allowed does a number of starts mean anything.
        if self.idempotent && one_in(rng, 4) {
            self.limits.max_attempts = Some(rng.u32(1..6));
        }
        self
    }

    /// How often one of its items may start.
    pub(crate) fn attempts_max(&self) -> u32 {
        self.limits.max_attempts.unwrap_or(if self.idempotent { 3 } else { 1 })
    }

    pub(crate) fn tag(&self, index: u32) -> Tag {
        Tag::new(self.id, index, self.deeds.of(index))
    }

    /// How many bytes a large item takes and gives.
    pub(crate) fn sizes(&self, index: u32) -> (usize, u32) {
        let mut rng = rng(self.deeds.seed, u64::from(index), 2);
        // From a few bytes to 4 MiB, all magnitudes alike.
        let mut size = || (1_u32 << rng.u32(3..22)) + rng.u32(..100);
        (size() as usize, size())
    }
}

impl Limits {
    fn new(rng: &mut Rng, has_timeout: bool) -> Limits {
        Limits {
            timeout: has_timeout.then(|| Duration::from_millis(rng.u64(600..1_000))),
            deadline: one_in(rng, 12).then(|| Duration::from_millis(rng.u64(50..1_500))),
            max_attempts: None,
            chunk_size: chunk_size(rng),
            buffer: one_in(rng, 4).then(|| rng.usize(1..500)),
            priority: rng.i32(-1..=1),
        }
    }
}

impl Deeds {
    fn new(rng: &mut Rng, items: u32, deaths_most: u32, has_timeout: bool) -> Deeds {
        // So many of all items, on average; of few items not more than a tenth.
        let mut some = |most: u32, one: u32| {
            if one_in(rng, one) { (rng.u32(..=most) * 10_000 / items).min(1_000) } else { 0 }
        };
        Deeds {
            die: some(deaths_most, 2),
            panic: some(30, 3),
            overrun: if has_timeout { some(2, 2) } else { 0 },
            sleep: some(40, 2),
            spin: some(40, 2),
            leave: some(5, 4),
            flood: some(5, 6),
            seed: rng.u64(..),
        }
    }

    /// Each ends its worker.
    pub(crate) fn fatal(seed: u64) -> Deeds {
        Deeds { seed, die: 10_000, ..Deeds::default() }
    }

    /// What the item at that index does.
    fn of(&self, index: u32) -> Deed {
        let mut rng = rng(self.seed, u64::from(index), 1);
        let mut draw = rng.u32(..10_000);
        let mut falls = |share: u32| {
            let falls = draw < share;
            draw = draw.wrapping_sub(share);
            falls
        };
        if falls(self.die) {
            let death = rng.choice(DEATHS).unwrap_or(DEATHS[0]);
            if rng.bool() { Deed::Die(death) } else { Deed::DieAtFirst(death) }
        } else if falls(self.panic) {
            Deed::Panic
        } else if falls(self.overrun) {
            Deed::Overrun
        } else if falls(self.sleep) {
            Deed::Sleep(Duration::from_millis(rng.u64(1..30)))
        } else if falls(self.spin) {
            Deed::Spin(Duration::from_millis(rng.u64(1..8)))
        } else if falls(self.leave) {
            Deed::Leave
        } else if falls(self.flood) {
            Deed::Flood
        } else {
            Deed::Work
        }
    }
}

fn one_in(rng: &mut Rng, many: u32) -> bool {
    rng.u32(..many) == 0
}

fn chunk_size(rng: &mut Rng) -> Option<usize> {
    one_in(rng, 3).then(|| 1 << rng.u32(..8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_and_the_number_decide_everything() {
        for mixture in [Mixture::Normal, Mixture::Storm, Mixture::Bulk] {
            for number in 0..50 {
                let episode = |seed| format!("{:?}", Episode::new(seed, number, 13, mixture));
                assert_eq!(episode(7), episode(7));
                assert_ne!(episode(7), episode(8));
            }
        }
    }

    #[test]
    fn every_deed_and_every_verb_comes_up() {
        let (mut deeds, mut verbs, mut ends, mut methods) = (vec![], vec![], vec![], vec![]);
        for number in 0..100 {
            let episode = Episode::new(7, number, 13, Mixture::Normal);
            assert!((1..=13).contains(&episode.workers));
            ends.push(std::mem::discriminant(&episode.end));
            methods.push(episode.method);
            for call in episode.callers.iter().flatten() {
                verbs.push((call.verb as u32, call.kind as u32, call.idempotent));
                deeds.extend((0..call.items).map(|index| std::mem::discriminant(&call.tag(index).deed())));
                let overruns = (0..call.items).any(|index| call.tag(index).deed() == Deed::Overrun);
                assert!(!overruns || call.limits.timeout.is_some(), "nothing would end it");
            }
        }
        let count =
            |all: &[std::mem::Discriminant<Deed>]| all.iter().collect::<std::collections::HashSet<_>>().len();
        assert_eq!(count(&deeds), 9);
        verbs.sort_unstable();
        verbs.dedup();
        assert_eq!(verbs.len(), 6 * 3 * 2);
        assert_eq!(ends.iter().collect::<std::collections::HashSet<_>>().len(), 3);
        methods.dedup();
        assert!(methods.len() > 3);
    }
}
