//! The scheduler, and around it the driver's part of each step: it obeys commands and notes what they mean.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use procession_core::{
    Command, Event, JobId, JobOptions, Outcome, Policy, Scheduler, StartFailure, Time, WorkerId,
};

use crate::books::{Call, Place};
use crate::plan::Step;
use crate::restarts::{Life, Restarts};

/// Rounds in which honest workers end whatever is left.
const ROUNDS_MAX: u32 = 2_000;

/// A worker, as far as its driver knows it.
#[derive(Debug)]
struct Worker {
    id: WorkerId,
    is_ready: bool,
    is_to_stop: bool,
    was_signalled: bool,
    is_faulty: bool,
    life: Life,
    queue: VecDeque<(JobId, u64)>,
    /// How many of its queue, from the front, have begun.
    begun: usize,
    since: Time,
}

/// The scheduler and what is known of it.
#[derive(Debug)]
pub(crate) struct Pool {
    core: Scheduler,
    policy: Policy,
    restarts: Restarts,
    now: Time,
    workers: BTreeMap<u32, Worker>,
    /// By slot, the last incarnation.
    generations: BTreeMap<u32, u32>,
    calls: Vec<Call>,
    /// It takes no more calls.
    is_closed: bool,
    verdict: Option<Outcome>,
    is_finished: bool,
}

impl Pool {
    pub(crate) fn new(policy: Policy) -> Pool {
        let mut pool = Pool {
            core: Scheduler::new(policy.clone()),
            policy,
            restarts: Restarts::default(),
            now: Time::ZERO,
            workers: BTreeMap::new(),
            generations: BTreeMap::new(),
            calls: Vec::new(),
            is_closed: false,
            verdict: None,
            is_finished: false,
        };
        pool.tell(Event::Tick);
        pool
    }

    pub(crate) fn take(&mut self, step: Step) {
        match step {
            Step::Call { options, items, stays_open } => self.call(options, items, stays_open),
            Step::Input { call, items } => {
                // Of a call that is settled nothing is heard any more.
                if !self.calls[call].is_settled {
                    self.calls[call].input(items);
                }
                let job = self.calls[call].id;
                self.tell(Event::Input { job, items, bytes: 8 * items });
            }
            Step::CloseInput { call } => self.close_input(call),
            Step::Cancel { call } => {
                self.calls[call].is_cancelled = true;
                self.tell(Event::Cancel { job: self.calls[call].id });
            }
            Step::Abandon { call } => {
                self.calls[call].is_abandoned = true;
                self.calls[call].is_open = false;
                self.tell(Event::Abandon { job: self.calls[call].id });
            }
            Step::Boot { slot } => self.boot(slot),
            Step::RefuseStart { slot, is_fatal } => self.refuse_start(slot, is_fatal),
            Step::Begin { slot, items } => (0..items).for_each(|_| self.begin(slot)),
            Step::Report { slot, items } => self.report(slot, items),
            Step::Die { slot, is_heard } => self.die(slot, is_heard),
            Step::Misbehave { slot } => self.misbehave(slot),
            Step::Stillborn { slot, times, is_faulty } => {
                for _ in 0..times {
                    self.boot(slot);
                    if is_faulty {
                        self.misbehave(slot);
                    }
                    self.die(slot, true);
                }
            }
            Step::Bloat { slot } => {
                if let Some(worker) = self.workers.get(&slot) {
                    self.tell(Event::WorkerBloated { worker: worker.id });
                }
            }
            Step::Resize { workers } => {
                if !self.is_closed && self.verdict.is_none() {
                    self.policy.workers = workers;
                }
                self.tell(Event::Resize { workers });
            }
            Step::Close => self.close(),
            Step::Terminate => self.terminate(),
            Step::Pass { ms } => self.pass(Duration::from_millis(ms)),
            Step::Stale { slot, back, news } => {
                let present = self.generations.get(&slot).copied().unwrap_or(0);
                let is_gone = !self.workers.contains_key(&slot);
                // The last incarnation is news of the past as well, once it is gone.
                let generation = if is_gone { present } else { present.wrapping_sub(back) };
                self.tell(hearsay(WorkerId { slot, generation }, news, self.now));
            }
            Step::Unasked { slot, news } => {
                if let Some(worker) = self.workers.get(&slot) {
                    let worker = worker.id;
                    self.tell(match news % 5 {
                        0 => Event::Reclaimed { worker, items: 1 },
                        1 => Event::Running { worker, since: Some(Time::ZERO) },
                        2 => Event::Running { worker, since: Some(self.now + Duration::from_secs(1)) },
                        3 => Event::Done { worker, items: 0, busy: Duration::MAX },
                        _ => Event::Tick,
                    });
                }
            }
        }
    }

    fn call(&mut self, options: JobOptions, items: u64, stays_open: bool) {
        let id = JobId { index: self.calls.len() as u32, generation: 0 };
        let is_refused = self.is_closed || self.verdict.is_some();
        let mut call = Call::new(id, options.clone(), self.now, is_refused);
        call.input(items);
        call.is_open = stays_open;
        self.calls.push(call);
        if stays_open {
            self.tell(Event::Submit { job: id, options });
            self.tell(Event::Input { job: id, items, bytes: 8 * items });
        } else {
            self.tell(Event::Call { job: id, options, items, bytes: 8 * items });
        }
    }

    fn close_input(&mut self, call: usize) {
        self.calls[call].is_open = false;
        self.tell(Event::InputClosed { job: self.calls[call].id });
    }

    fn boot(&mut self, slot: u32) {
        if let Some(worker) = self.workers.get_mut(&slot) {
            worker.is_ready = true;
            worker.life.ready_at.get_or_insert(self.now);
            let worker = worker.id;
            self.tell(Event::WorkerReady { worker });
        }
    }

    fn refuse_start(&mut self, slot: u32, is_fatal: bool) {
        if self.workers.get(&slot).is_some_and(|worker| !worker.is_ready)
            && let Some(worker) = self.workers.remove(&slot)
        {
            let failure = if is_fatal { StartFailure::Fatal } else { StartFailure::Transient };
            self.restarts.fail(worker.id, self.now);
            self.tell(Event::StartFailed { worker: worker.id, failure });
        }
    }

    /// The worker begins its next item; what was running has ended, and is to be reported.
    fn begin(&mut self, slot: u32) {
        let Some(worker) = self.workers.get_mut(&slot) else { return };
        if let Some(&(job, item)) = worker.queue.get(worker.begun) {
            worker.begun += 1;
            worker.since = self.now;
            if self.verdict.is_none() {
                self.calls[job.index as usize].begin(item);
            }
        }
    }

    fn report(&mut self, slot: u32, items: usize) {
        let Some(worker) = self.workers.get_mut(&slot) else { return };
        let items = items.min(worker.begun);
        worker.begun -= items;
        worker.life.has_paid |= items > 0;
        let (id, done) = (worker.id, worker.queue.drain(..items).collect::<Vec<_>>());
        if self.verdict.is_none() {
            for (job, item) in done {
                self.calls[job.index as usize].done(item);
            }
        }
        self.tell(Event::Done { worker: id, items: items as u64, busy: Duration::from_micros(50) });
    }

    fn die(&mut self, slot: u32, is_heard: bool) {
        if is_heard {
            let ended = self.workers.get(&slot).map_or(0, |worker| worker.begun.saturating_sub(1));
            self.report(slot, ended);
        }
        let Some(mut worker) = self.workers.remove(&slot) else { return };
        if self.verdict.is_none() {
            for (position, &(job, item)) in worker.queue.iter().enumerate() {
                let call = &mut self.calls[job.index as usize];
                if position < worker.begun {
                    call.charge(item, worker.was_signalled);
                } else {
                    call.give_back(item);
                }
            }
        }
        worker.life.has_paid |= worker.begun > 0;
        let is_useless = self.restarts.end(worker.id, worker.life, self.now);
        self.tell(Event::WorkerExited { worker: worker.id, begun: worker.begun as u64 });
        let needs_workers = self.verdict.is_none() && !(self.is_closed && self.core.is_idle());
        if is_useless && needs_workers {
            self.restarts.check_limit(&self.policy, self.now);
        }
    }

    fn misbehave(&mut self, slot: u32) {
        if let Some(worker) = self.workers.get_mut(&slot) {
            worker.is_faulty |= !worker.was_signalled;
            let worker = worker.id;
            self.tell(Event::WorkerFaulty { worker });
        }
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.tell(Event::Close);
    }

    fn terminate(&mut self) {
        self.is_closed = true;
        self.verdict.get_or_insert(Outcome::Terminated);
        self.tell(Event::Terminate);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.tell(Event::Tick);
    }

    fn tell(&mut self, event: Event) {
        self.core.handle(self.now, event);
        while let Some(command) = self.core.poll_command() {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        let is_last_word = matches!(command, Command::Settle { .. } | Command::JobSettled { .. });
        assert!(!self.is_finished || is_last_word, "{command:?} after the end");
        match command {
            Command::Start { worker } => self.start(worker),
            Command::Dispatch { worker, job, first, items, attempt } => {
                let seated = self.workers.get_mut(&worker.slot).expect("work for a worker that is gone");
                let takes_work = seated.is_ready && !seated.is_to_stop && !seated.was_signalled;
                assert!(seated.id == worker && takes_work && items > 0, "work for {seated:?}");
                assert!(attempt == 1 || (seated.queue.is_empty() && items == 1), "a retry beside others");
                for item in first..first + u64::from(items) {
                    seated.queue.push_back((job, item));
                    self.calls[job.index as usize].dispatch(item, attempt, worker, self.now);
                }
            }
            Command::Probe { worker } => {
                let since = self.present(worker).filter(|worker| worker.begun > 0).map(|worker| worker.since);
                self.core.handle(self.now, Event::Running { worker, since });
            }
            Command::Reclaim { worker } => {
                let seated =
                    self.workers.get_mut(&worker.slot).expect("a reclaim from a worker that is gone");
                let taken = seated.queue.split_off(seated.begun);
                if self.verdict.is_none() {
                    for &(job, item) in &taken {
                        self.calls[job.index as usize].give_back(item);
                    }
                }
                self.core.handle(self.now, Event::Reclaimed { worker, items: taken.len() as u64 });
            }
            Command::Signal { worker, .. } => {
                let seated = self.workers.get_mut(&worker.slot).expect("a signal to a worker that is gone");
                assert_eq!(seated.id, worker, "a signal to another incarnation");
                seated.was_signalled = true;
                seated.life.was_sent_away |= seated.is_ready && !seated.is_faulty;
            }
            Command::Stop { worker } => {
                let seated = self.workers.get_mut(&worker.slot).expect("a stop for a worker that is gone");
                assert!(seated.queue.is_empty() && !seated.is_to_stop, "{seated:?} is told to stop");
                seated.is_to_stop = true;
                seated.life.was_sent_away = true;
            }
            Command::Retry { job, item, attempt } => self.calls[job.index as usize].retry(item, attempt),
            Command::Settle { job, first, items, outcome, attempts } => {
                for item in first..first + items {
                    self.calls[job.index as usize].settle(item, outcome, attempts, self.now, self.verdict);
                }
            }
            Command::StopInput { job } => {
                assert!(self.calls[job.index as usize].is_open, "{job} takes no input anyway");
            }
            Command::JobSettled { job } => self.calls[job.index as usize].settled(),
            Command::Broken { .. } => {
                assert_eq!(self.verdict, None, "it breaks though it is over");
                self.verdict = Some(Outcome::NotRun);
            }
            Command::Finished => {
                assert!(self.workers.is_empty() && self.is_closed, "it is finished while workers live");
                self.is_finished = true;
            }
        }
    }

    fn start(&mut self, id: WorkerId) {
        assert_eq!(self.verdict, None, "{id} is started in a pool that is over");
        let generation = self.generations.entry(id.slot).or_default();
        *generation += 1;
        assert_eq!(id.generation, *generation, "{id} is not the next incarnation");
        self.restarts.check_start(id, &self.policy, self.now);
        let worker = Worker {
            id,
            is_ready: false,
            is_to_stop: false,
            was_signalled: false,
            is_faulty: false,
            life: Life::default(),
            queue: VecDeque::new(),
            begun: 0,
            since: self.now,
        };
        let old = self.workers.insert(id.slot, worker);
        assert!(old.is_none(), "{id} is started where {old:?} still sits");
    }

    fn present(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.get(&id.slot).filter(|worker| worker.id == id)
    }

    /// What is true between any two events.
    pub(crate) fn check(&self) {
        self.core.check_invariants();
        for call in &self.calls {
            let undecided = call.items.iter().position(|item| item.place == Place::Charged);
            assert_eq!(undecided, None, "{}: nothing was said about an item whose worker died", call.id);
        }
        for worker in self.workers.values().filter(|_| self.verdict.is_none()) {
            let held: u64 = self.core.front_runs(worker.id).map(|run| u64::from(run.items)).sum();
            assert_eq!(held, worker.queue.len() as u64, "what {} holds", worker.id);
        }
        if self.verdict.is_some() {
            let open =
                self.calls.iter().flat_map(|call| &call.items).filter(|item| item.place != Place::Ended);
            assert_eq!(open.count(), 0, "items are left in a pool that is over");
        }
    }

    /// From now on everything goes well: every call is settled, and the pool ends.
    pub(crate) fn end(mut self) {
        for call in 0..self.calls.len() {
            if self.calls[call].is_open {
                self.close_input(call);
            }
        }
        self.run_until(|pool| pool.calls.iter().all(|call| call.is_settled), "a call is never settled");
        if !self.is_closed {
            self.close();
        }
        self.run_until(|pool| pool.is_finished, "the pool does not end");
    }

    fn run_until(&mut self, is_so: impl Fn(&Pool) -> bool, otherwise: &str) {
        for _ in 0..ROUNDS_MAX {
            self.check();
            if is_so(self) {
                return;
            }
            for slot in self.workers.keys().copied().collect::<Vec<_>>() {
                self.live(slot);
            }
            let due = self.core.poll_timeout().unwrap_or(self.now);
            self.pass(due.saturating_since(self.now));
        }
        panic!("{otherwise}: {self:#?}");
    }

    /// The worker does everything it was given, or leaves if it was told to.
    fn live(&mut self, slot: u32) {
        if self.workers.get(&slot).is_some_and(|worker| worker.is_to_stop || worker.was_signalled) {
            return self.die(slot, true);
        }
        self.boot(slot);
        while self.workers.get(&slot).is_some_and(|worker| !worker.queue.is_empty()) {
            self.begin(slot);
            self.report(slot, 1);
        }
    }
}

/// Something that is said of a worker.
fn hearsay(worker: WorkerId, news: u8, now: Time) -> Event {
    match news % 7 {
        0 => Event::WorkerReady { worker },
        1 => Event::StartFailed { worker, failure: StartFailure::Fatal },
        2 => Event::Done { worker, items: u64::from(news), busy: Duration::ZERO },
        3 => Event::Reclaimed { worker, items: u64::from(news) },
        4 => Event::Running { worker, since: Some(now) },
        5 => Event::WorkerExited { worker, begun: u64::from(news) },
        _ => Event::WorkerFaulty { worker },
    }
}
