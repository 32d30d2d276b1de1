//! One random life of a pool, from its first start to its last worker's end.

use std::collections::HashMap;
use std::ops::AddAssign;
use std::time::Duration;

use procession_core::{Event, JobId, JobOptions, Outcome, Policy, Time, WorkerId};

use crate::ledger::{Call, Deed, Place};
use crate::rng::Rng;
use crate::world::{Climate, FOREVER, World};

const MS: u64 = 1_000_000;

/// Steps after which a life that has not ended never will.
const STEPS_MAX: u64 = 200_000;

/// What lives were made of: a simulation that never crashes anything proves nothing.
#[derive(Debug, Default)]
pub(crate) struct Census {
    pub(crate) steps: u64,
    pub(crate) items: u64,
    pub(crate) starts: u64,
    pub(crate) charges: u64,
    pub(crate) successors: u64,
    pub(crate) broken: u64,
    /// Workers that were of no use.
    pub(crate) useless: u64,
    pub(crate) terminated: u64,
}

impl AddAssign for Census {
    fn add_assign(&mut self, other: Census) {
        self.steps += other.steps;
        self.items += other.items;
        self.starts += other.starts;
        self.charges += other.charges;
        self.successors += other.successors;
        self.broken += other.broken;
        self.useless += other.useless;
        self.terminated += other.terminated;
    }
}

impl Census {
    pub(crate) fn check_variety(&self, lives: u64) {
        if lives >= 1_000 {
            assert!(self.charges * 100 > self.starts, "hardly a worker was lost: {self:?}");
            assert!(self.starts * 3 > self.items, "hardly an item ran: {self:?}");
            assert!(self.successors > lives, "hardly a worker had a successor: {self:?}");
            assert!(self.useless > lives, "hardly a worker was of no use: {self:?}");
            assert!(self.broken * 3 < lives && self.broken > 0, "pools break always or never: {self:?}");
        }
    }
}

/// Lives one life and returns what it was made of.
pub(crate) fn live(seed: u64, trace: bool) -> Census {
    let mut rng = Rng::new(!seed);
    let policy = policy(&mut rng, seed);
    let climate = climate(&mut rng);
    if trace {
        println!("{policy:?}\n{climate:?}");
    }
    let mut world = World::new(seed, policy, climate, trace);
    world.tell(Event::Tick);
    let mood = mood(&mut rng);
    for _ in 0..rng.within(3..30) {
        let until = world.now + rng.within(0..3 * MS);
        while world.step(until) {
            assert!(world.steps < STEPS_MAX, "this life does not end");
        }
        act(&mut world, &mut rng, &mood);
    }
    end(&mut world, &mut rng);
    let mut census =
        Census { steps: world.steps, broken: u64::from(world.broken.is_some()), ..Census::default() };
    census.successors = world.successors;
    census.useless = world.restarts.total;
    census.terminated = u64::from(world.over == Some(Outcome::Terminated));
    for item in world.calls.iter().flat_map(|call| &call.items) {
        census.items += 1;
        census.starts += u64::from(item.starts);
        census.charges += u64::from(item.charges);
    }
    census
}

fn policy(rng: &mut Rng, seed: u64) -> Policy {
    let tasks = rng.within(1..20);
    let idle = rng.within(1..4 * MS);
    Policy {
        grace: Duration::from_nanos(rng.pick(&[0, MS, 5 * MS])),
        start_timeout: Duration::from_millis(20),
        stop_timeout: Duration::from_millis(10),
        back_off_first: Duration::from_millis(1),
        back_off_max: Duration::from_millis(20),
        stall_timeout: Duration::from_nanos(rng.pick(&[MS, 15 * MS])),
        barren_timeout: Duration::from_millis(60),
        restart_limit: rng.percent(12).then_some(((seed % 9) as u32, Duration::from_millis(30))),
        max_tasks_per_worker: rng.percent(25).then_some(tasks),
        idle_timeout: rng.percent(25).then_some(Duration::from_nanos(idle)),
        lazy_start: rng.percent(25),
        lost_in_a_row_max: rng.percent(20).then_some(5),
        seed,
        ..Policy::new(rng.pick(&[1, 1, 2, 2, 3, 5, 8]))
    }
}

fn climate(rng: &mut Rng) -> Climate {
    if rng.percent(40) {
        return Climate { boot_ns: 200_000, ..Climate::default() };
    }
    Climate {
        boot_crash: rng.pick(&[0, 5, 30]),
        boot_hang: rng.pick(&[0, 0, 10]),
        spawn_error: rng.pick(&[0, 5, 50]),
        stubborn: rng.pick(&[0, 10, 50]),
        boot_ns: rng.pick(&[0, 100_000, 3 * MS]),
        early_fault: rng.pick(&[0, 0, 0, 0, 0, 0, 0, 5, 30, 100]),
        early_death: rng.pick(&[0, 0, 0, 0, 0, 5, 20]),
        standby_death: rng.pick(&[0, 0, 50, 100]),
        is_cramped: rng.percent(15),
        begin_ns: rng.pick(&[0, 0, 50_000]),
    }
}

/// How the items of this life behave: percent of crashes, hangs and misbehaviour, and how long the others take.
#[derive(Clone, Debug)]
struct Mood {
    crash: u64,
    hang: u64,
    misbehave: u64,
    ns: u64,
    items: u64,
}

fn mood(rng: &mut Rng) -> Mood {
    Mood {
        crash: rng.pick(&[0, 2, 10, 50]),
        hang: rng.pick(&[0, 0, 2]),
        misbehave: rng.pick(&[0, 0, 2]),
        ns: rng.pick(&[500, 20_000, 20_000, 2 * MS]),
        items: rng.pick(&[3, 40, 200]),
    }
}

fn deed(rng: &mut Rng, mood: &Mood) -> Deed {
    if rng.percent(mood.crash) {
        Deed::Crash { starts: rng.pick(&[1, 1, 2, 9]), after: rng.within(0..mood.ns) }
    } else if rng.percent(mood.hang) {
        Deed::Hang
    } else if rng.percent(mood.misbehave) {
        Deed::Misbehave
    } else if rng.percent(2) {
        Deed::Run(mood.ns * 100)
    } else {
        Deed::Run(rng.within(0..mood.ns))
    }
}

fn options(rng: &mut Rng) -> JobOptions {
    let chunk = rng.within(1..30) as u32;
    let timeout = rng.within(1..10 * MS);
    let deadline = rng.within(0..30 * MS);
    JobOptions {
        chunk_size: rng.percent(30).then_some(chunk),
        timeout: rng.percent(40).then_some(Duration::from_nanos(timeout)),
        deadline: rng.percent(15).then_some(Duration::from_nanos(deadline)),
        max_attempts: rng.pick(&[1, 1, 2, 3]),
        priority: rng.pick(&[0, 0, 0, 1, -7]),
        ..JobOptions::new(rng.within(0..4) as u32)
    }
}

fn act(world: &mut World, rng: &mut Rng, mood: &Mood) {
    if world.finished {
        return;
    }
    match rng.within(0..100) {
        0..30 => {
            let call = world.submit(options(rng));
            feed(world, rng, mood, call);
            if rng.percent(60) {
                world.close_input(call);
            }
        }
        30..45 => {
            for _ in 0..rng.within(1..20) {
                let options = options(rng);
                let deeds: Vec<Deed> = (0..u64::from(!rng.percent(3))).map(|_| deed(rng, mood)).collect();
                world.call_whole(options, &deeds, 100 * deeds.len() as u64);
            }
        }
        45..62 => with_open(world, rng, |world, rng, call| feed(world, rng, mood, call)),
        62..70 => with_open(world, rng, |world, _, call| world.close_input(call)),
        70..75 => with_live(world, rng, |world, call| {
            world.calls[call].cancelled = true;
            world.tell(Event::Cancel { job: world.calls[call].id });
        }),
        75..80 => with_live(world, rng, |world, call| {
            world.calls[call].abandoned = true;
            world.tell(Event::Abandon { job: world.calls[call].id });
        }),
        80..85 => {
            let workers = rng.within(1..9) as u32;
            if !world.closing && world.over.is_none() {
                world.policy.workers = workers;
            }
            world.tell(Event::Resize { workers });
        }
        85..90 => {
            let live = world.live_workers();
            if !live.is_empty() {
                world.strike(rng.pick(&live));
            }
        }
        90..94 => {
            for worker in world.live_workers() {
                if rng.percent(60) {
                    world.bloat(worker);
                }
            }
        }
        94..98 => stale(world, rng),
        98 => {
            world.closing = true;
            world.tell(Event::Close);
        }
        _ if rng.percent(30) => {
            world.closing = true;
            world.over.get_or_insert(Outcome::Terminated);
            world.tell(Event::Terminate);
        }
        _ => {}
    }
}

fn feed(world: &mut World, rng: &mut Rng, mood: &Mood, call: usize) {
    let items = rng.within(0..mood.items);
    let deeds: Vec<Deed> = (0..items).map(|_| deed(rng, mood)).collect();
    let bytes = items * rng.pick(&[0, 8, 1_000, 50_000]);
    world.input(call, &deeds, bytes);
}

fn with_open(world: &mut World, rng: &mut Rng, act: impl FnOnce(&mut World, &mut Rng, usize)) {
    let is_open = |call: &Call| !call.closed && !call.abandoned;
    let open: Vec<usize> = (0..world.calls.len()).filter(|&i| is_open(&world.calls[i])).collect();
    if !open.is_empty() {
        let call = rng.pick(&open);
        act(world, rng, call);
    }
}

fn with_live(world: &mut World, rng: &mut Rng, act: impl FnOnce(&mut World, usize)) {
    let live: Vec<usize> = (0..world.calls.len()).filter(|&i| !world.calls[i].settled).collect();
    if !live.is_empty() {
        act(world, rng.pick(&live));
    }
}

/// News of jobs and workers that are gone, and answers to questions nobody asked.
fn stale(world: &mut World, rng: &mut Rng) {
    let job = JobId { index: rng.within(0..4) as u32, generation: 0 };
    let worker = WorkerId { slot: rng.within(0..9) as u32, generation: 0 };
    let (busy, since) = (Duration::from_nanos(7), Some(Time::from_nanos(world.now)));
    let mut events = vec![
        Event::Input { job, items: 9, bytes: 9 },
        Event::InputClosed { job },
        Event::Limit { job, timeout: busy },
        Event::Cancel { job },
        Event::Abandon { job },
        Event::WorkerSetsUp { worker, limit: Some(busy) },
        Event::WorkerReady { worker },
        Event::Done { worker, items: 3, busy },
        Event::Reclaimed { worker, items: 3 },
        Event::WorkerExited { worker, begun: 1 },
        Event::WorkerFaulty { worker },
        Event::WorkerBloated { worker },
        Event::TaskPanicked { worker },
    ];
    if let Some(&worker) = world.live_workers().first() {
        events.push(Event::Reclaimed { worker, items: 1 });
        events.push(Event::Running { worker, since });
        events.push(Event::Done { worker, items: 0, busy });
    }
    let event = rng.pick(&events);
    world.tell(event);
}

/// Ends the life: closes everything, waits, and terminates what hangs for a reason.
fn end(world: &mut World, rng: &mut Rng) {
    for call in 0..world.calls.len() {
        if !world.calls[call].closed && !world.calls[call].abandoned {
            world.close_input(call);
        }
    }
    // Where the window of the limit is short a pool that is left open goes on trying, as slowly as it may, for ever.
    let never_rests = world.climate.early_fault + world.climate.early_death > 0;
    if (rng.percent(80) || never_rests) && !world.finished {
        world.closing = true;
        world.tell(Event::Close);
    }
    run_dry(world);
    if !world.finished {
        let excuse = !world.closing || world.calls.iter().any(hangs);
        assert!(excuse, "a closed pool does not finish, though nothing hangs");
        world.closing = true;
        world.over.get_or_insert(Outcome::Terminated);
        world.tell(Event::Terminate);
        run_dry(world);
    }
    assert!(world.finished, "a terminated pool does not finish");
    let by_id: HashMap<JobId, &Call> = world.calls.iter().map(|call| (call.id, call)).collect();
    assert_eq!(by_id.len(), world.calls.len(), "a name was used twice");
    for call in &world.calls {
        assert!(call.settled, "{} was never settled", call.id);
    }
}

/// Lets everything happen that happens by itself.
fn run_dry(world: &mut World) {
    while world.step(FOREVER) {
        assert!(world.steps < STEPS_MAX, "this life does not end");
    }
}

/// Whether this call holds an item that never ends and that nothing will ever stop.
fn hangs(call: &Call) -> bool {
    let endless = |deed| matches!(deed, Deed::Hang);
    let is_unlimited = call.options.timeout.is_none();
    call.items.iter().any(|item| matches!(item.place, Place::Held(_)) && endless(item.deed) && is_unlimited)
}
