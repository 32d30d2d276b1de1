//! The driver's part: does what the core says, and asserts that it may be said.

use procession_core::{Command, Event, Outcome, Signal, Time, WorkerId};

use crate::ledger::Place;
use crate::process::{Phase, Process};
use crate::world::{Happening, World};

impl World {
    pub(crate) fn obey(&mut self, command: Command) {
        let is_last_word = matches!(command, Command::Settle { .. } | Command::JobSettled { .. });
        assert!(!self.finished || is_last_word, "{command:?} after the end");
        let now = self.now;
        match command {
            Command::Start { worker } => self.start(worker),
            Command::Dispatch { worker, job, first, items, attempt } => {
                assert!(self.over.is_none(), "work is handed out in a pool that is over");
                for item in first..first + u64::from(items) {
                    self.call(job).dispatch(item, attempt, worker, now);
                }
                let process = self.seats.get_mut(&worker.slot).expect("work for a worker that is gone");
                assert_eq!(process.id, worker, "work for another incarnation");
                assert!(process.phase != Phase::Booting && !process.told_to_stop, "work for {process:?}");
                assert!(process.signalled_at.is_none() && !process.bloated, "work for {process:?}");
                assert!(
                    attempt == 1 || (process.queue.is_empty() && items == 1),
                    "a retry beside other items"
                );
                process.queue.extend((first..first + u64::from(items)).map(|item| (job, item)));
                self.expect_weighing(worker);
                match self.climate.begin_ns {
                    0 => self.run_on(worker),
                    most => {
                        let delay = self.rng.within(1..most);
                        self.later(delay, Happening::Begin(worker));
                    }
                }
            }
            Command::Probe { worker } => {
                let process = self.seats.get(&worker.slot).expect("a probe of a worker that is gone");
                let since = process.running().map(|_| Time::from_nanos(process.since));
                self.core.handle(Time::from_nanos(now), Event::Running { worker, since });
            }
            Command::Reclaim { worker } => {
                let process = self.seats.get_mut(&worker.slot).expect("a reclaim from a worker that is gone");
                let items = process.give_back();
                for &(job, item) in &items {
                    self.call(job).place(item, Place::Waiting);
                }
                self.core
                    .handle(Time::from_nanos(now), Event::Reclaimed { worker, items: items.len() as u64 });
            }
            Command::Signal { worker, signal } => self.signal(worker, signal),
            Command::Stop { worker } => {
                let delay = self.rng.within(0..100_000);
                let hangs = self.rng.percent(self.climate.stubborn);
                // It may be dead already, which nobody knows yet.
                self.seats
                    .get_mut(&worker.slot)
                    .expect("a stop for a worker that is gone")
                    .life
                    .was_sent_away = true;
                if let Some(process) = self.process(worker) {
                    assert!(process.queue.is_empty() && !process.told_to_stop, "{process:?} is told to stop");
                    process.told_to_stop = true;
                    if !hangs {
                        self.later(delay, Happening::Death(worker));
                    }
                }
            }
            Command::Retry { job, item, attempt } => self.call(job).retry(item, attempt),
            Command::Settle { job, first, items, outcome, attempts } => {
                let over = self.over;
                for item in first..first + items {
                    self.call(job).settle(item, outcome, attempts, now, over);
                }
            }
            Command::StopInput { job } => {
                self.call(job);
            }
            Command::JobSettled { job } => {
                self.call(job).settle_job();
                self.places[job.index as usize].1 = false;
            }
            Command::Broken { reason } => {
                assert_eq!(self.broken.replace(reason), None, "broken twice");
                self.over = Some(Outcome::NotRun);
            }
            Command::Finished => self.finished = true,
        }
    }

    fn start(&mut self, worker: WorkerId) {
        assert!(self.over.is_none(), "{worker} is started in a pool that is over");
        let generation = self.generations.entry(worker.slot).or_default();
        *generation += 1;
        assert_eq!(worker.generation, *generation, "{worker} is not the next incarnation");
        self.restarts.check_start(worker, &self.policy, Time::from_nanos(self.now));
        let old = self.seats.insert(worker.slot, Process::new(worker));
        assert!(old.is_none(), "{worker} is started where {old:?} still sits");
        self.successors += u64::from(self.beside(worker).is_some());
        let delay = self.rng.within(0..self.climate.boot_ns + 1);
        if self.rng.percent(self.climate.spawn_error) {
            self.later(delay, Happening::BootFailure(worker));
        } else if self.rng.percent(self.climate.boot_crash) {
            self.later(delay, Happening::Death(worker));
        } else if !self.rng.percent(self.climate.boot_hang) {
            self.later(delay, Happening::Boot(worker));
        }
    }

    fn signal(&mut self, worker: WorkerId, signal: Signal) {
        let (now, over) = (self.now, self.over.is_some());
        let ignores = signal == Signal::Terminate && self.rng.percent(self.climate.stubborn);
        let delay = self.rng.within(0..300_000);
        let grace = self.policy.grace.as_nanos() as u64;
        // It may be dead already, which nobody knows yet: what is said of it must be just all the same.
        let process = self.seats.get_mut(&worker.slot).expect("a signal to a worker that is gone");
        let first_at = *process.signalled_at.get_or_insert(now);
        process.life.was_sent_away |= process.life.ready_at.is_some() && !process.faulty;
        let excused =
            over || process.faulty || (signal == Signal::Kill && now >= first_at + grace && now > first_at);
        if let (false, Some((job, item))) = (excused, process.running()) {
            let since = process.since;
            let call = self.call(job);
            let overdue = call.options.timeout.is_some_and(|t| since + t.as_nanos() as u64 <= now);
            assert!(call.is_doomed(now) || overdue, "{worker} is stopped for innocent {job} item {item}");
        }
        if !ignores {
            self.later(delay, Happening::Death(worker));
        }
    }
}
