//! What a decision costs: `cargo bench --package procession-core`.

use std::collections::VecDeque;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use procession_core::{Command, Event, JobId, JobOptions, Policy, Scheduler, Time, WorkerId};

const SHORT: Duration = Duration::from_nanos(100);
const LONG: Duration = Duration::from_millis(10);

const WORKERS: [u32; 3] = [2, 64, 256];

fn main() {
    divan::main();
}

/// A pool whose workers are ready and obey at once.
struct Pool {
    core: Scheduler,
    now: Time,
    jobs: u32,
    /// The time that an item takes, as the worker reports it.
    item: Duration,
}

impl Pool {
    fn new(workers: u32, item: Duration) -> Pool {
        let mut pool = Pool { core: Scheduler::new(Policy::new(workers)), now: Time::ZERO, jobs: 0, item };
        pool.tell(Event::Tick);
        while let Some(command) = pool.core.poll_command() {
            if let Command::Start { worker } = command {
                pool.core.handle(pool.now, Event::WorkerReady { worker });
            }
        }
        pool
    }

    fn tell(&mut self, event: Event) {
        self.now = self.now + Duration::from_nanos(50);
        self.core.handle(self.now, event);
    }

    /// A new call of so many items, all there.
    fn submit(&mut self, items: u64, options: JobOptions) {
        self.jobs += 1;
        let job = JobId { index: 0, generation: self.jobs };
        self.tell(Event::Submit { job, options });
        self.tell(Event::Input { job, items, bytes: 8 * items });
        self.tell(Event::InputClosed { job });
    }

    /// Does what is ordered until the call is settled; returns how many hand-outs that took.
    fn finish(&mut self) -> u64 {
        let mut handouts = 0;
        let mut running: VecDeque<(WorkerId, u32)> = VecDeque::new();
        loop {
            match self.core.poll_command() {
                Some(Command::Dispatch { worker, items, .. }) => {
                    handouts += 1;
                    running.push_back((worker, items));
                }
                Some(Command::JobSettled { .. }) => return handouts,
                Some(Command::Reclaim { worker }) => {
                    let items = take_back(&mut running, worker);
                    self.tell(Event::Reclaimed { worker, items });
                }
                Some(_) => {}
                None => {
                    let (worker, items) = running.pop_front().expect("an unsettled call has items at work");
                    let busy = self.item * items;
                    // All workers work at the same time.
                    self.now = self.now + busy / self.core.workers();
                    self.tell(Event::Done { worker, items: u64::from(items), busy });
                }
            }
        }
    }
}

/// Takes all that the worker holds but the item it is running, and returns how many items that is.
fn take_back(running: &mut VecDeque<(WorkerId, u32)>, worker: WorkerId) -> u64 {
    let (mut kept, mut taken) = (1, 0);
    for (_, items) in running.iter_mut().filter(|(holder, _)| *holder == worker) {
        taken += u64::from(*items - kept);
        *items = std::mem::take(&mut kept);
    }
    running.retain(|&(_, items)| items > 0);
    taken
}

/// `apply` on an idle pool.
#[divan::bench(args = WORKERS)]
fn one_item(bencher: Bencher<'_, '_>, workers: u32) {
    let mut pool = Pool::new(workers, SHORT);
    bencher.bench_local(|| {
        pool.submit(1, JobOptions::new(0));
        pool.finish()
    });
}

/// `map`: hand-outs are large, so items cost next to nothing.
#[divan::bench(args = WORKERS)]
fn a_million_items(bencher: Bencher<'_, '_>, workers: u32) {
    let mut pool = Pool::new(workers, SHORT);
    bencher.counter(ItemsCount::new(1_000_000_u32)).bench_local(|| {
        pool.submit(1_000_000, JobOptions::new(0));
        pool.finish()
    });
}

/// A call whose items take long, so that each is handed out by itself.
#[divan::bench(args = WORKERS)]
fn a_thousand_long_items(bencher: Bencher<'_, '_>, workers: u32) {
    let mut pool = Pool::new(workers, LONG);
    // One call teaches the scheduler how long they take.
    pool.submit(1_000, JobOptions::new(0));
    pool.finish();
    bencher.counter(ItemsCount::new(1_000_u32)).bench_local(|| {
        pool.submit(1_000, JobOptions::new(0));
        pool.finish()
    });
}
