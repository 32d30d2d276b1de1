//! The thread that does harm from outside: every 20 to 200 ms one thing, drawn from the seed, to a random worker.

use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use procession::{AsyncResult, Pool, StartMethod};
use procession_harness::{children_of, parent_of, state_of, wait_until};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::evidence::{Failure, Fault, Outcome, Seen, Told};
use crate::plan::{Call, Deeds, Episode, Verb};
use crate::tag::Tag;
use crate::tasks;

/// A worker that was sent a deadly signal is gone within this time.
const DEATH_LIMIT: Duration = Duration::from_secs(10);

/// A pool that loses 20 workers in a row with nothing done in between gives up, as it promises. So many of them are ours
/// at most, and the rest may be the items' own.
const HITS_MOST: usize = 10;

/// What it does, how often among a hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deal {
    Signal(Signal),
    Stop,
    Poison,
    Resize,
    Helper,
}

const DEALS: [(Deal, u32); 7] = [
    (Deal::Signal(Signal::KILL), 26),
    (Deal::Signal(Signal::TERM), 14),
    (Deal::Signal(Signal::SEGV), 14),
    (Deal::Stop, 16),
    (Deal::Poison, 12),
    (Deal::Resize, 15),
    (Deal::Helper, 3),
];

/// The thread's whole state.
pub(crate) struct Agitator<'p> {
    pool: &'p Pool,
    plan: &'p Episode,
    rng: Rng,
    faults: Vec<Fault>,
    /// Stopped workers, and when they are to go on.
    stopped: Vec<(Instant, OwnedFd)>,
    /// Workers that are on their way out.
    dying: Vec<OwnedFd>,
    poison: Vec<(Tag, AsyncResult<u64>)>,
    /// The call that poisoned items belong to.
    call: Call,
    /// Resizes and lost helpers.
    others: u64,
    /// How many items the pool's workers had done at the last look.
    done: u64,
    /// Workers that may have been lost to the agitator since then.
    hits: usize,
}

/// What it did.
pub(crate) struct Harm {
    pub(crate) faults: Vec<Fault>,
    pub(crate) poison: Seen,
    /// How many faults it injected, other than by poisoned items.
    pub(crate) injected: u64,
}

impl<'p> Agitator<'p> {
    /// `call` is the number of the call that its own items belong to.
    pub(crate) fn new(pool: &'p Pool, plan: &'p Episode, call: u16) -> Agitator<'p> {
        Agitator {
            pool,
            plan,
            rng: Rng::with_seed(plan.agitation),
            faults: Vec::new(),
            stopped: Vec::new(),
            dying: Vec::new(),
            poison: Vec::new(),
            call: Call { verb: Verb::ApplyAsync, deeds: Deeds::fatal(plan.agitation), ..Call::plain(call) },
            others: 0,
            done: 0,
            hits: 0,
        }
    }

    /// Goes on until `end` is closed; then no worker is stopped or dying any more.
    pub(crate) fn run(mut self, end: &Receiver<()>) -> Harm {
        let mut next = self.pause();
        loop {
            let wake = self.stopped.iter().map(|(until, _)| *until).chain([next]).min().unwrap_or(next);
            match end.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            self.wake_stopped(|until| until <= now);
            if next <= now {
                self.act();
                next = self.pause();
            }
        }
    }

    fn pause(&mut self) -> Instant {
        Instant::now() + Duration::from_millis(self.rng.u64(20..200))
    }

    fn act(&mut self) {
        // All draws are made whatever there is to be hit, so that the next deal does not depend on it.
        let mut draw = self.rng.u32(..DEALS.iter().map(|(_, share)| *share).sum::<u32>());
        let (which, amount) = (self.rng.usize(..), self.rng.usize(..));
        let deal = DEALS.iter().find(|(_, share)| {
            let is_it = draw < *share;
            draw = draw.wrapping_sub(*share);
            is_it
        });
        let deal = deal.expect("the draw is below the sum").0;
        let hits = match deal {
            Deal::Signal(_) => 1,
            Deal::Poison => 1 + amount % 3,
            Deal::Helper => HITS_MOST,
            Deal::Stop | Deal::Resize => 0,
        };
        if !self.may_hit(hits) {
            return;
        }
        match deal {
            Deal::Signal(signal) => self.hit(which, signal),
            Deal::Stop => self.stop(which, Duration::from_millis(20 + amount as u64 % 480)),
            Deal::Poison => self.poison(hits),
            Deal::Resize => {
                // A pool that was terminated refuses, which is as good.
                self.others += u64::from(self.pool.resize(1 + amount % self.plan.workers_max).is_ok());
            }
            Deal::Helper => self.hit_helper(which),
        }
    }

    /// Whether so many workers may be lost now.
    fn may_hit(&mut self, hits: usize) -> bool {
        let done = self.pool.stats().workers.iter().map(|worker| worker.completed).sum();
        // It falls when the pool has fewer seats.
        if std::mem::replace(&mut self.done, done) < done {
            self.hits = 0;
        }
        let may = self.hits + hits <= HITS_MOST;
        self.hits += if may { hits } else { 0 };
        may
    }

    fn hit(&mut self, which: usize, signal: Signal) {
        if let Some((pid, process)) = self.worker(which) {
            self.faults.push(Fault { pid, signal: signal.as_raw(), by_helper: false });
            // One that is gone by now was not hit, and whatever is said of it must have another cause.
            if pidfd_send_signal(&process, signal).is_err() {
                self.faults.pop();
            }
            self.dying.push(process);
        }
    }

    fn stop(&mut self, which: usize, time: Duration) {
        if let Some((pid, process)) = self.worker(which)
            && pidfd_send_signal(&process, Signal::STOP).is_ok()
        {
            self.faults.push(Fault { pid, signal: Signal::STOP.as_raw(), by_helper: false });
            self.stopped.push((Instant::now() + time, process));
        }
    }

    /// Items that kill their workers, unless as many as may be still wait.
    fn poison(&mut self, items: usize) {
        let waiting = self.poison.iter().filter(|(_, handle)| !handle.is_ready()).count();
        if waiting + items > HITS_MOST {
            return;
        }
        for _ in 0..items {
            let tag = self.call.tag(self.poison.len() as u32);
            self.poison.push((tag, self.pool.apply_async(tasks::tiny, (tag.number(),))));
        }
    }

    /// The process that workers are forked from. All of them go with it.
    fn hit_helper(&mut self, which: usize) {
        // One that was forked from this program cannot be had again, and the parent of spawned ones is this program.
        if self.plan.method != StartMethod::ForkServer {
            return self.hit(which, Signal::KILL);
        }
        let Some((pid, _process)) = self.worker(which) else { return };
        let Some((helper, process)) = parent_of(pid).and_then(|helper| Some((helper, open(helper)?))) else {
            return;
        };
        // Checked again now that the number cannot be given to anybody else.
        if parent_of(pid) != Some(helper) || helper == std::process::id() {
            return;
        }
        // While it is stopped it forks none, so these are all, also one that the pool has not heard of yet.
        let is_stopped = pidfd_send_signal(&process, Signal::STOP).is_ok()
            && wait_until(DEATH_LIMIT, || !matches!(state_of(helper), Some('R' | 'S' | 'D')));
        if !is_stopped {
            // It may have died meanwhile.
            let _ = pidfd_send_signal(&process, Signal::CONT);
            return;
        }
        let mut workers = children_of(helper);
        // One that it has reaped, without a word of it yet, is nobody's child any more: how it ended dies with the helper.
        workers.extend(self.pool.worker_pids().into_iter().filter(|&pid| parent_of(pid).is_none()));
        if pidfd_send_signal(&process, Signal::KILL).is_ok() {
            self.others += 1;
            let fault = |pid| Fault { pid, signal: Signal::KILL.as_raw(), by_helper: true };
            self.faults.extend(workers.iter().map(|&pid| fault(pid)));
            self.dying.extend(workers.into_iter().filter_map(open));
            self.dying.push(process);
        }
    }

    /// A worker, with a descriptor that means it and nobody else.
    fn worker(&self, which: usize) -> Option<(u32, OwnedFd)> {
        let pids = self.pool.worker_pids();
        let pid = *pids.get(which % pids.len().max(1))?;
        let process = open(pid)?;
        // The number is the worker's as long as the pool has not reaped it: if it is there still, so it was just now.
        self.pool.worker_pids().contains(&pid).then_some((pid, process))
    }

    fn wake_stopped(&mut self, is_due: impl Fn(Instant) -> bool) {
        self.stopped.retain(|(until, process)| {
            if is_due(*until) {
                // It may have been killed meanwhile.
                let _ = pidfd_send_signal(process, Signal::CONT);
            }
            !is_due(*until)
        });
    }

    fn finish(mut self) -> Harm {
        self.wake_stopped(|_| true);
        for process in &self.dying {
            let limit = Timespec { tv_sec: DEATH_LIMIT.as_secs() as i64, tv_nsec: 0 };
            // Whoever lives on all the same is found by what comes after.
            let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&limit));
        }
        let taken = self.poison.len() as u32;
        let outcome = |(tag, mut handle): (Tag, AsyncResult<u64>)| Outcome {
            index: Some(tag.index()),
            result: match handle.get_timeout(DEATH_LIMIT) {
                Some(Ok(value)) => Ok(Tag::answered_by(value)),
                Some(Err(error)) => Err(Box::new(error.into())),
                None => Err(Box::new(Failure::Missing)),
            },
            cancelled: None,
        };
        let told = Told::Each(self.poison.into_iter().map(outcome).collect());
        let call = Call { items: taken, ..self.call };
        let poison = Seen { call, taken, told, cancelled: None, callbacks: (0, 0), took: Duration::ZERO };
        let signals = self.faults.iter().filter(|fault| !fault.by_helper).count() as u64;
        Harm { faults: self.faults, poison, injected: signals + self.others }
    }
}

fn open(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}
