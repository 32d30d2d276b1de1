//! One call in modelled time: a master with one processor, any number of workers, and the real scheduler.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use procession_core::{Command, Event, JobId, JobOptions, Policy, Scheduler, Time, WorkerId};

use crate::Costs;
use crate::worker::{Reply, Step, Worker};

/// Items that the caller encodes at once, at most, as in the real stream.
const BATCH_ITEMS: u64 = 8_192;

/// What an item weighs on the wire.
const ITEM_BYTES: u64 = 8;

/// How a program asks for its items to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// One call whose input is pulled as it is wanted.
    Map,
    /// One call an item, one after the other, without waiting.
    Burst,
}

/// How a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// From the first submission until the caller has every result.
    pub makespan_ns: u64,
    /// How long the master's processor was busy.
    pub master_ns: u64,
    /// Messages to and from the workers.
    pub messages: u64,
    /// Facts that the scheduler was told.
    pub events: u64,
}

/// Runs one call over items that take so many nanoseconds, on ready workers.
pub fn run(costs: &Costs, workers: u32, call: Call, times: &[u64]) -> Report {
    Pool::new(costs, workers, call, times, None).live()
}

/// As [`run`], with the chunk size set by the user.
pub fn run_in_chunks(costs: &Costs, workers: u32, call: Call, times: &[u64], chunk_size: u32) -> Report {
    Pool::new(costs, workers, call, times, Some(chunk_size)).live()
}

/// What happens in the world outside of the master, and when the master is free again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    MasterFree,
    FrameArrives(u32),
    ItemEnds(u32),
    ReplyArrives(u32),
}

/// What waits for the master's processor.
enum Work {
    /// The caller encodes and hands over more input, or submits the next single item.
    Feed,
    Heard(u32, Reply),
    Tick,
}

struct Pool<'a> {
    costs: &'a Costs,
    call: Call,
    times: &'a [u64],
    options: JobOptions,
    core: Scheduler,
    workers: Vec<Worker>,
    /// Replies under way, by worker: a channel keeps their order.
    replies: Vec<VecDeque<Reply>>,
    agenda: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    serial: u64,
    inbox: VecDeque<Work>,
    is_busy: bool,
    is_feeding: bool,
    fed: u64,
    settled: u64,
    /// Scratch.
    touched: Vec<u32>,
    sent: Vec<(u64, Reply)>,
    report: Report,
}

impl Pool<'_> {
    fn new<'a>(
        costs: &'a Costs,
        workers: u32,
        call: Call,
        times: &'a [u64],
        chunk_size: Option<u32>,
    ) -> Pool<'a> {
        let mut core = Scheduler::new(Policy::new(workers));
        core.handle(Time::ZERO, Event::Tick);
        while let Some(command) = core.poll_command() {
            let Command::Start { worker } = command else { panic!("{command:?} before there is a worker") };
            core.handle(Time::ZERO, Event::WorkerReady { worker });
        }
        Pool {
            costs,
            call,
            times,
            options: JobOptions { chunk_size, ..JobOptions::new(0) },
            core,
            workers: (0..workers).map(|_| Worker::default()).collect(),
            replies: (0..workers).map(|_| VecDeque::new()).collect(),
            agenda: BinaryHeap::new(),
            serial: 0,
            inbox: VecDeque::new(),
            is_busy: false,
            is_feeding: false,
            fed: 0,
            settled: 0,
            touched: Vec::new(),
            sent: Vec::new(),
            report: Report { makespan_ns: 0, master_ns: 0, messages: 0, events: 0 },
        }
    }

    fn live(mut self) -> Report {
        if self.call == Call::Map {
            self.tell(0, Event::Submit { job: job(0), options: self.options.clone() });
        }
        let calls = if self.call == Call::Map { 1 } else { self.times.len() as u64 };
        self.want_input();
        let mut now = 0;
        while self.settled < calls {
            self.work(now);
            if self.settled == calls {
                break;
            }
            let next = self.agenda.peek().map(|Reverse((at, ..))| *at);
            let wake = self.core.poll_timeout().map(|at| at.as_nanos().max(now)).filter(|_| !self.is_busy);
            match (next, wake) {
                (next, Some(wake)) if next.is_none_or(|next| wake < next) => {
                    now = wake;
                    self.inbox.push_back(Work::Tick);
                }
                (Some(next), _) => {
                    now = next;
                    let Reverse((_, _, happening)) = self.agenda.pop().expect("it was there");
                    self.happen(now, happening);
                }
                (None, _) => panic!("the call never ends: {} of {calls} settled", self.settled),
            }
        }
        self.report
    }

    fn later(&mut self, at: u64, happening: Happening) {
        self.serial += 1;
        self.agenda.push(Reverse((at, self.serial, happening)));
    }

    fn happen(&mut self, now: u64, happening: Happening) {
        match happening {
            Happening::MasterFree => self.is_busy = false,
            Happening::FrameArrives(slot) => {
                if self.workers[slot as usize].arrive() {
                    self.go_on(now, slot);
                }
            }
            Happening::ItemEnds(slot) => self.go_on(now, slot),
            Happening::ReplyArrives(slot) => {
                let reply = self.replies[slot as usize].pop_front().expect("a reply was under way");
                self.inbox.push_back(Work::Heard(slot, reply));
            }
        }
    }

    fn go_on(&mut self, now: u64, slot: u32) {
        let Costs { worker_frame, worker_item, latency, .. } = *self.costs;
        let mut sent = std::mem::take(&mut self.sent);
        let worker = &mut self.workers[slot as usize];
        let step = worker.go_on(now, self.times, worker_frame, worker_item, &mut sent);
        if let Step::Until(at) = step {
            self.later(at, Happening::ItemEnds(slot));
        }
        for (at, reply) in sent.drain(..) {
            self.replies[slot as usize].push_back(reply);
            self.later(at + latency, Happening::ReplyArrives(slot));
        }
        self.sent = sent;
    }

    /// The master's processor takes up what waits for it.
    fn work(&mut self, now: u64) {
        if self.is_busy {
            return;
        }
        let Some(work) = self.inbox.pop_front() else { return };
        let end = match work {
            Work::Feed => self.feed(now),
            Work::Heard(slot, reply) => self.hear(now, slot, &reply),
            Work::Tick => self.tell(now + self.costs.frame_in, Event::Tick),
        };
        self.want_input();
        self.is_busy = true;
        self.report.master_ns += end - now;
        self.report.makespan_ns = end;
        self.later(end, Happening::MasterFree);
    }

    fn hear(&mut self, now: u64, slot: u32, reply: &Reply) -> u64 {
        self.report.messages += 1;
        self.workers[slot as usize].hear(reply);
        self.touched.push(slot);
        let at = now + self.costs.frame_in;
        match *reply {
            Reply::FrameDone => self.send(at),
            Reply::Results { items, busy_ns } => {
                let worker = WorkerId { slot, generation: 1 };
                let busy = Duration::from_nanos(busy_ns);
                self.tell(at + items * self.costs.item_in, Event::Done { worker, items, busy })
            }
        }
    }

    /// Has the caller's turn come? It waits in line like everything else.
    fn want_input(&mut self) {
        let items = self.times.len() as u64;
        let is_hungry = match self.call {
            Call::Map => self.core.input_wanted(job(0)) > 0,
            Call::Burst => true,
        };
        if !self.is_feeding && self.fed < items && is_hungry {
            self.is_feeding = true;
            self.inbox.push_back(Work::Feed);
        }
    }

    fn feed(&mut self, now: u64) -> u64 {
        self.is_feeding = false;
        let left = self.times.len() as u64 - self.fed;
        let (job, items) = match self.call {
            Call::Map => (job(0), self.core.input_wanted(job(0)).min(BATCH_ITEMS).min(left)),
            Call::Burst => (job(self.fed as u32), 1),
        };
        let mut at = now + items * self.costs.item_out;
        if self.call == Call::Burst {
            at += self.costs.submit;
            self.tell(at, Event::Submit { job, options: self.options.clone() });
        }
        self.fed += items;
        at = self.tell(at, Event::Input { job, items, bytes: items * ITEM_BYTES });
        if self.call == Call::Burst || items == left {
            at = self.tell(at, Event::InputClosed { job });
        }
        at
    }

    /// Tells the scheduler and does what it says; when that is done.
    fn tell(&mut self, now: u64, event: Event) -> u64 {
        self.report.events += 1;
        let time = Time::from_nanos(now);
        self.core.handle(time, event);
        while let Some(command) = self.core.poll_command() {
            match command {
                Command::Dispatch { worker, job, first, items, .. } => {
                    let first = if self.call == Call::Map { first } else { u64::from(job.index) };
                    self.workers[worker.slot as usize].outbox.push_back(first..first + u64::from(items));
                    self.touched.push(worker.slot);
                }
                Command::Reclaim { worker } => {
                    let items = self.workers[worker.slot as usize].reclaim();
                    self.report.events += 1;
                    self.core.handle(time, Event::Reclaimed { worker, items });
                }
                Command::JobSettled { .. } => self.settled += 1,
                other => panic!("{other:?} in a pool without faults"),
            }
        }
        self.send(now)
    }

    /// Sends to the workers that there is something for; when that is done.
    fn send(&mut self, now: u64) -> u64 {
        let mut at = now;
        for slot in std::mem::take(&mut self.touched) {
            while self.workers[slot as usize].pack().is_some() {
                at += self.costs.frame_out;
                self.report.messages += 1;
                self.later(at + self.costs.latency, Happening::FrameArrives(slot));
            }
        }
        at
    }
}

fn job(index: u32) -> JobId {
    JobId { index, generation: 1 }
}
