//! A conversation with the scheduler, written down: what it is told, exactly what it says, and nothing else.

use std::time::Duration;

use procession_core::{
    Command, Event, JobId, JobOptions, Outcome, Policy, Scheduler, Signal, Time, WorkerId,
};

/// Milliseconds since the beginning.
type Ms = u64;

pub(crate) struct Script {
    pub(crate) core: Scheduler,
    now: Time,
}

pub(crate) fn worker(slot: u32, generation: u32) -> WorkerId {
    WorkerId { slot, generation }
}

pub(crate) fn job(index: u32) -> JobId {
    JobId { index, generation: 1 }
}

pub(crate) fn ms(ms: Ms) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

impl Script {
    /// A pool at time 0 whose workers are all ready.
    pub(crate) fn ready(policy: Policy) -> Script {
        let workers = policy.workers;
        let mut script = Script::new(policy);
        let starts: Vec<_> = (0..workers).map(|slot| start(slot, 1)).collect();
        script.check(Event::Tick, &starts);
        for slot in 0..workers {
            script.check(ready(slot, 1), &[]);
        }
        script
    }

    pub(crate) fn new(policy: Policy) -> Script {
        Script { core: Scheduler::new(policy), now: Time::ZERO }
    }

    /// Later than before, by that much.
    pub(crate) fn after(&mut self, pause: Duration) -> &mut Script {
        self.now = self.now + pause;
        self
    }

    /// Sleeps until the scheduler asks to be woken, which must be no later than `pause` from now, then ticks.
    pub(crate) fn wake_within(&mut self, pause: Duration, says: &[Command]) {
        let latest = self.now + pause;
        while let Some(wake) = self.core.poll_timeout().filter(|&wake| wake <= latest) {
            self.now = self.now.max(wake);
            self.core.handle(self.now, Event::Tick);
            let said = self.said();
            if !said.is_empty() {
                assert_eq!(said, says);
                return;
            }
            assert!(self.core.poll_timeout() != Some(wake), "woken at {wake:?} for nothing, over and over");
        }
        self.now = latest;
        assert_eq!(says, &[], "it was not woken for that");
    }

    /// Tells the scheduler, and compares all it says.
    #[track_caller]
    pub(crate) fn check(&mut self, event: Event, says: &[Command]) {
        let told = format!("{event:?}");
        self.core.handle(self.now, event);
        assert_eq!(self.said(), says, "after {told}");
        self.core.check_invariants();
    }

    /// Tells the scheduler, whatever it says.
    pub(crate) fn tell(&mut self, event: Event) -> Vec<Command> {
        self.core.handle(self.now, event);
        self.core.check_invariants();
        self.said()
    }

    /// An open job, without items.
    pub(crate) fn open(&mut self, index: u32, options: JobOptions) {
        self.check(Event::Submit { job: job(index), options }, &[]);
    }

    /// A job of so many items of eight bytes, all there at once; says what was said.
    pub(crate) fn submit(&mut self, index: u32, items: u64, options: JobOptions) -> Vec<Command> {
        self.open(index, options);
        let mut said = self.tell(input(index, items));
        said.extend(self.tell(closed(index)));
        said
    }

    /// Teaches the scheduler how long an item of task 0 takes. Needs an idle first worker, and leaves no trace.
    pub(crate) fn teach(&mut self, item: Duration) {
        let said = self.submit(99, 1, JobOptions::new(0));
        let &[Command::Dispatch { worker, .. }] = said.as_slice() else {
            panic!("nobody takes the lesson: {said:?}")
        };
        let last_word = [Command::JobSettled { job: job(99) }];
        self.check(Event::Done { worker, items: 1, busy: item }, &last_word);
    }

    fn said(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.core.poll_command()).collect()
    }
}

pub(crate) fn ready(slot: u32, generation: u32) -> Event {
    Event::WorkerReady { worker: worker(slot, generation) }
}

pub(crate) fn input(index: u32, items: u64) -> Event {
    Event::Input { job: job(index), items, bytes: 8 * items }
}

/// A call that is all there.
pub(crate) fn call(index: u32, items: u64) -> Event {
    Event::Call { job: job(index), options: JobOptions::new(0), items, bytes: 8 * items }
}

pub(crate) fn closed(index: u32) -> Event {
    Event::InputClosed { job: job(index) }
}

pub(crate) fn done(slot: u32, generation: u32, items: u64, busy: Duration) -> Event {
    Event::Done { worker: worker(slot, generation), items, busy }
}

pub(crate) fn reclaimed(slot: u32, generation: u32, items: u64) -> Event {
    Event::Reclaimed { worker: worker(slot, generation), items }
}

pub(crate) fn running(slot: u32, generation: u32, since: Option<Ms>) -> Event {
    Event::Running {
        worker: worker(slot, generation),
        since: since.map(|since| Time::from_nanos(since * 1_000_000)),
    }
}

pub(crate) fn exited(slot: u32, generation: u32, running: bool) -> Event {
    Event::WorkerExited { worker: worker(slot, generation), begun: running.into() }
}

pub(crate) fn start(slot: u32, generation: u32) -> Command {
    Command::Start { worker: worker(slot, generation) }
}

pub(crate) fn stop(slot: u32, generation: u32) -> Command {
    Command::Stop { worker: worker(slot, generation) }
}

pub(crate) fn probe(slot: u32, generation: u32) -> Command {
    Command::Probe { worker: worker(slot, generation) }
}

pub(crate) fn reclaim(slot: u32, generation: u32) -> Command {
    Command::Reclaim { worker: worker(slot, generation) }
}

pub(crate) fn terminate(slot: u32, generation: u32) -> Command {
    Command::Signal { worker: worker(slot, generation), signal: Signal::Terminate }
}

pub(crate) fn kill(slot: u32, generation: u32) -> Command {
    Command::Signal { worker: worker(slot, generation), signal: Signal::Kill }
}

/// First attempts of items `first..first + items` for that worker.
pub(crate) fn dispatch(to: WorkerId, index: u32, first: u64, items: u32) -> Command {
    Command::Dispatch { worker: to, job: job(index), first, items, attempt: 1 }
}

pub(crate) fn again(to: WorkerId, index: u32, item: u64, attempt: u32) -> Command {
    Command::Dispatch { worker: to, job: job(index), first: item, items: 1, attempt }
}

pub(crate) fn retry(index: u32, item: u64, attempt: u32) -> Command {
    Command::Retry { job: job(index), item, attempt }
}

pub(crate) fn settle(index: u32, first: u64, items: u64, outcome: Outcome, attempts: u32) -> Command {
    Command::Settle { job: job(index), first, items, outcome, attempts }
}

pub(crate) fn settled(index: u32) -> Command {
    Command::JobSettled { job: job(index) }
}
