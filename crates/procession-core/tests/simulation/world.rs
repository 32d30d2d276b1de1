//! Everything around the core in one thread: processes, callers, a clock. It does what the core says, lets things
//! happen, and after every step compares the core's word with its own books.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use procession_core::{
    BrokenReason, Event, JobId, JobOptions, Outcome, Policy, Scheduler, StartFailure, Time, WorkerId,
};

use crate::ledger::{Call, Deed, Place};
use crate::process::{Phase, Process};
use crate::restarts::Restarts;
use crate::rng::Rng;

/// How unkind this world is, in percent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Climate {
    pub(crate) boot_crash: u64,
    pub(crate) boot_hang: u64,
    pub(crate) spawn_error: u64,
    pub(crate) stubborn: u64,
    /// Workers that break the protocol as soon as they are ready, whatever they were given.
    pub(crate) early_fault: u64,
    /// Workers that die as soon as they are ready.
    pub(crate) early_death: u64,
    /// Successors that cannot live beside their predecessor.
    pub(crate) standby_death: u64,
    /// Every worker is too large from its start, and weighed as soon as it has work.
    pub(crate) is_cramped: bool,
    /// Nanoseconds until a worker begins what it was given, at most.
    pub(crate) begin_ns: u64,
    /// Nanoseconds a start takes, at most.
    pub(crate) boot_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Happening {
    Boot(WorkerId),
    BootFailure(WorkerId),
    EarlyFault(WorkerId),
    StandbyDeath(WorkerId),
    Weighing(WorkerId),
    Begin(WorkerId),
    Ended(WorkerId, u64),
    Crash(WorkerId, u64),
    Misbehaviour(WorkerId, u64),
    Reply(WorkerId, usize),
    Death(WorkerId),
    DeathNoticed(WorkerId),
}

/// How often a worker that has work is weighed.
const WEIGH_EVERY: u64 = 100_000;

/// Later than anything that happens.
pub(crate) const FOREVER: u64 = u64::MAX - 1;

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    pub(crate) core: Scheduler,
    pub(crate) policy: Policy,
    pub(crate) calls: Vec<Call>,
    pub(crate) over: Option<Outcome>,
    pub(crate) broken: Option<BrokenReason>,
    pub(crate) finished: bool,
    pub(crate) closing: bool,
    pub(crate) steps: u64,
    /// Workers started beside the one that they are to replace.
    pub(crate) successors: u64,
    pub(crate) climate: Climate,
    pub(crate) by_id: HashMap<JobId, usize>,
    pub(crate) places: Vec<(u32, bool)>,
    pub(crate) seats: HashMap<u32, Process>,
    pub(crate) generations: HashMap<u32, u32>,
    pub(crate) restarts: Restarts,
    agenda: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    serial: u64,
    idle_ticks: u32,
    trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64, policy: Policy, climate: Climate, trace: bool) -> World {
        World {
            now: 0,
            rng: Rng::new(seed),
            core: Scheduler::new(policy.clone()),
            policy,
            calls: Vec::new(),
            over: None,
            broken: None,
            finished: false,
            closing: false,
            steps: 0,
            successors: 0,
            climate,
            by_id: HashMap::new(),
            places: Vec::new(),
            seats: HashMap::new(),
            generations: HashMap::new(),
            restarts: Restarts::default(),
            agenda: BinaryHeap::new(),
            serial: 0,
            idle_ticks: 0,
            trace,
        }
    }

    /// Lets the next thing happen that happens before `until`; `false` if there is none.
    pub(crate) fn step(&mut self, until: u64) -> bool {
        let next = self.agenda.peek().map(|Reverse((at, ..))| *at);
        let tick = self.core.poll_timeout().map(|at| at.as_nanos().max(self.now));
        let first = next.unwrap_or(u64::MAX).min(tick.unwrap_or(u64::MAX));
        if first == u64::MAX || first > until {
            self.now = if until == FOREVER { self.now } else { until };
            return false;
        }
        self.idle_ticks = if first == self.now && next != Some(first) { self.idle_ticks + 1 } else { 0 };
        assert!(self.idle_ticks < 10, "the core asks to be woken at {first} over and over");
        self.now = first;
        if next == Some(first) {
            let Reverse((_, _, happening)) = self.agenda.pop().expect("it was there");
            self.happen(happening);
        } else {
            self.tell(Event::Tick);
        }
        true
    }

    pub(crate) fn submit(&mut self, options: JobOptions) -> usize {
        let (call, job) = self.enter(options.clone());
        self.tell(Event::Submit { job, options });
        call
    }

    /// A call whose items are all there.
    pub(crate) fn call_whole(&mut self, options: JobOptions, deeds: &[Deed], bytes: u64) {
        let (call, job) = self.enter(options.clone());
        deeds.iter().for_each(|&deed| self.calls[call].input(deed));
        self.calls[call].closed = true;
        self.tell(Event::Call { job, options, items: deeds.len() as u64, bytes });
    }

    /// Writes a call down, under a name that is free.
    fn enter(&mut self, options: JobOptions) -> (usize, JobId) {
        let index = self.places.iter().position(|place| !place.1).unwrap_or(self.places.len());
        if index == self.places.len() {
            self.places.push((0, false));
        }
        self.places[index] = (self.places[index].0 + 1, true);
        let id = JobId { index: index as u32, generation: self.places[index].0 };
        let refused = self.closing || self.over.is_some();
        self.calls.push(Call::new(id, options, self.now, refused));
        self.by_id.insert(id, self.calls.len() - 1);
        (self.calls.len() - 1, id)
    }

    pub(crate) fn input(&mut self, call: usize, deeds: &[Deed], bytes: u64) {
        deeds.iter().for_each(|&deed| self.calls[call].input(deed));
        self.tell(Event::Input { job: self.calls[call].id, items: deeds.len() as u64, bytes });
    }

    pub(crate) fn close_input(&mut self, call: usize) {
        self.calls[call].closed = true;
        self.tell(Event::InputClosed { job: self.calls[call].id });
    }

    pub(crate) fn live_workers(&self) -> Vec<WorkerId> {
        let mut ids: Vec<_> = self.seats.values().filter(|p| p.phase != Phase::Dead).map(|p| p.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Something from outside kills the worker.
    pub(crate) fn strike(&mut self, worker: WorkerId) {
        self.later(0, Happening::Death(worker));
    }

    /// The worker takes more memory than it may. That is looked at while it has work. It must be given nothing more then,
    /// unless it has never begun anything.
    pub(crate) fn bloat(&mut self, worker: WorkerId) {
        if let Some(process) = self.process(worker).filter(|process| !process.queue.is_empty()) {
            process.bloated = process.claimed > 0 || process.life.has_paid;
            self.tell(Event::WorkerBloated { worker });
        }
    }

    /// A worker that has work is weighed now and then, if there is a limit.
    pub(crate) fn expect_weighing(&mut self, worker: WorkerId) {
        let (now, is_cramped) = (self.now, self.climate.is_cramped);
        let Some(process) = self.process(worker) else { return };
        if is_cramped && !process.on_scales && !process.bloated && !process.queue.is_empty() {
            process.on_scales = true;
            let delay = process.weigh_at.saturating_sub(now);
            self.later(delay, Happening::Weighing(worker));
        }
    }

    /// The other process that is there for the same place, dead or alive.
    pub(crate) fn beside(&self, worker: WorkerId) -> Option<&Process> {
        let place = self.core.place(worker.slot);
        let is_other = |slot: u32| slot != worker.slot && self.core.place(slot) == place;
        self.seats.values().find(|process| is_other(process.id.slot))
    }

    /// Whether this process may not work yet, because the one before it might.
    fn stands_by(&self, worker: WorkerId) -> bool {
        self.beside(worker).is_some_and(|other| !other.told_to_stop)
    }

    /// Tells the core, does what it says, and checks both books.
    pub(crate) fn tell(&mut self, event: Event) {
        self.steps += 1;
        if self.trace {
            println!("{:>12} {event:?}", self.now);
        }
        self.core.handle(Time::from_nanos(self.now), event);
        while let Some(command) = self.core.poll_command() {
            if self.trace {
                println!("{:>12}     {command:?}", "");
            }
            self.obey(command);
        }
        self.core.check_invariants();
        self.check();
    }

    fn check(&self) {
        for call in &self.calls {
            let charged = call.items.iter().position(|item| matches!(item.place, Place::Charged { .. }));
            assert_eq!(charged, None, "nothing was said about this lost item of {}", call.id);
        }
        let waiting = self.calls.iter().any(|call| call.waiting() > 0);
        for process in self.seats.values().filter(|process| !process.queue.is_empty()) {
            let other = self.beside(process.id).filter(|other| !other.queue.is_empty());
            assert!(other.is_none(), "{process:?} and {other:?} work in one place");
        }
        let is_free = |process: &&Process| process.is_free() && !self.stands_by(process.id);
        let free = self.seats.values().find(is_free);
        if let (true, Some(process)) = (waiting, free) {
            panic!("{} has nothing to do while an item waits", process.id);
        }
        assert!(!self.finished || self.seats.is_empty(), "finished, yet a worker is there");
    }

    pub(crate) fn later(&mut self, delay: u64, happening: Happening) {
        self.serial += 1;
        self.agenda.push(Reverse((self.now + delay, self.serial, happening)));
    }

    pub(crate) fn call(&mut self, id: JobId) -> &mut Call {
        let call = &mut self.calls[self.by_id[&id]];
        assert!(!call.settled, "{id} is spoken of after its last word");
        call
    }

    pub(crate) fn process(&mut self, worker: WorkerId) -> Option<&mut Process> {
        self.seats
            .get_mut(&worker.slot)
            .filter(|process| process.id == worker && process.phase != Phase::Dead)
    }

    pub(crate) fn run_on(&mut self, worker: WorkerId) {
        let now = self.now;
        let Some(process) = self.process(worker) else {
            return;
        };
        let Some((job, item)) = process.claim(now) else {
            return;
        };
        let serial = process.serial;
        if self.over.is_some() {
            return;
        }
        let call = self.call(job);
        let starts = call.items[item as usize].starts;
        match call.start(item, now) {
            Deed::Run(ns) => self.later(ns, Happening::Ended(worker, serial)),
            Deed::Crash { starts: fatal, after } if starts < fatal => {
                self.later(after, Happening::Crash(worker, serial))
            }
            Deed::Crash { after, .. } => self.later(after, Happening::Ended(worker, serial)),
            Deed::Hang => {}
            Deed::Misbehave => self.later(1_000, Happening::Misbehaviour(worker, serial)),
        }
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::Boot(worker) => {
                if let Some(process) = self.process(worker) {
                    process.phase = Phase::Ready;
                    process.life.ready_at = Some(Time::from_nanos(now));
                    self.foredoom(worker);
                    self.tell(Event::WorkerReady { worker });
                }
            }
            Happening::EarlyFault(worker) => {
                if let Some(process) = self.process(worker) {
                    process.faulty |= process.signalled_at.is_none() && !process.told_to_stop;
                    self.tell(Event::WorkerFaulty { worker });
                }
            }
            Happening::StandbyDeath(worker) => {
                if self.stands_by(worker) {
                    self.happen(Happening::Death(worker));
                }
            }
            Happening::Weighing(worker) => {
                if let Some(process) = self.process(worker) {
                    process.on_scales = false;
                    process.weigh_at = now + WEIGH_EVERY;
                    self.bloat(worker);
                    self.expect_weighing(worker);
                }
            }
            Happening::Begin(worker) => self.run_on(worker),
            Happening::BootFailure(worker) => {
                if self.process(worker).is_some() {
                    self.seats.remove(&worker.slot);
                    self.restarts.fail(worker, Time::from_nanos(self.now));
                    let fatal = self.rng.percent(2);
                    let failure = if fatal { StartFailure::Fatal } else { StartFailure::Transient };
                    self.tell(Event::StartFailed { worker, failure });
                }
            }
            Happening::Ended(worker, serial) => self.item_ended(worker, serial),
            Happening::Crash(worker, serial) => {
                if self.process(worker).is_some_and(|process| process.serial == serial) {
                    self.happen(Happening::Death(worker));
                }
            }
            Happening::Misbehaviour(worker, serial) => {
                if let Some(process) = self.process(worker)
                    && process.serial == serial
                {
                    // Once it was signalled, that is what it dies of.
                    process.faulty = process.signalled_at.is_none();
                    self.tell(Event::WorkerFaulty { worker });
                }
            }
            Happening::Reply(worker, items) => {
                if self.process(worker).is_some() {
                    self.hear(worker, items);
                }
            }
            Happening::Death(worker) => {
                let delay = self.rng.within(0..50_000);
                if let Some(process) = self.process(worker) {
                    process.phase = Phase::Dead;
                    self.later(delay, Happening::DeathNoticed(worker));
                }
            }
            Happening::DeathNoticed(worker) => self.bury(worker),
        }
    }

    fn item_ended(&mut self, worker: WorkerId, serial: u64) {
        let now = self.now;
        let holds_back = self.rng.percent(50);
        let delay = self.rng.within(0..20_000);
        let Some(process) = self.process(worker).filter(|process| process.serial == serial) else {
            return;
        };
        process.end(now);
        if process.claimed == process.queue.len() || !holds_back {
            let items = process.ended - process.sent;
            process.sent = process.ended;
            self.later(delay, Happening::Reply(worker, items));
        }
        self.run_on(worker);
    }

    /// Replies arrive. They may have been heard already if a later message overtook them.
    fn hear(&mut self, worker: WorkerId, items: usize) {
        let process = self.seats.get_mut(&worker.slot).expect("it was just there");
        let items = items.min(process.ended);
        let busy = Duration::from_nanos(std::mem::take(&mut process.busy));
        let heard = process.hear(items);
        if self.over.is_none() {
            for (job, item) in heard {
                self.call(job).place(item, Place::Final);
            }
        }
        self.tell(Event::Done { worker, items: items as u64, busy });
    }

    /// The death is noticed: what had ended is heard, then the rest is judged. Of a worker that broke the protocol it may
    /// be unreadable.
    fn bury(&mut self, worker: WorkerId) {
        let process = &self.seats[&worker.slot];
        let (ended, is_readable) = (process.ended, !process.faulty || self.rng.percent(50));
        if ended > 0 && is_readable {
            self.hear(worker, ended);
        }
        let mut process = self.seats.remove(&worker.slot).expect("it was just there");
        let running = process.running();
        if self.over.is_none() {
            for (place, &(job, item)) in process.queue.iter().enumerate() {
                let call = self.call(job);
                if place >= process.claimed {
                    call.place(item, Place::Waiting);
                    continue;
                }
                let timeout = call.options.timeout.map(|timeout| timeout.as_nanos() as u64);
                let late =
                    process.signalled_at.zip(timeout).is_some_and(|(at, limit)| process.since + limit <= at);
                call.charge(item, late && !process.faulty && running == Some((job, item)));
            }
        }
        process.life.has_paid |= process.claimed > 0;
        let now = Time::from_nanos(self.now);
        let is_useless = self.restarts.end(worker, process.life, now);
        self.tell(Event::WorkerExited { worker, begun: process.claimed as u64 });
        let needs_workers = self.over.is_none() && !(self.closing && self.core.is_idle());
        if is_useless && needs_workers {
            self.restarts.check_limit(&self.policy, now);
        }
    }

    /// Decides whether a worker that is ready will never be of use.
    fn foredoom(&mut self, worker: WorkerId) {
        let (soon, later) = (self.rng.within(0..20_000), self.rng.within(0..2_000_000));
        let is_faulty = self.rng.percent(self.climate.early_fault);
        let is_mortal = self.rng.percent(self.climate.early_death);
        let is_unsociable = self.rng.percent(self.climate.standby_death);
        if is_unsociable && self.stands_by(worker) {
            self.later(later, Happening::StandbyDeath(worker));
        } else if is_faulty || is_mortal {
            let end = if is_faulty { Happening::EarlyFault } else { Happening::Death };
            self.later(soon, end(worker));
            if let Some(process) = self.process(worker) {
                process.inert = true;
            }
        }
    }
}
