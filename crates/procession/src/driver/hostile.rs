//! A pool without processes, whose workers do what a script says: they send what they like, scribble on what they
//! share, and die when they like. After the script every worker is honest, so every call ends.
//!
//! What must hold: nothing panics, the books agree after each step, every item gets exactly one outcome, none starts more
//! often than it may, and no more items are lost than may have been running when a worker died.

mod calls;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use procession_core::{Policy, Time};

use super::effects::Order;
use super::{Driver, Phase, Settings};
use crate::fuzz::Script;
use crate::registry;
use crate::slab::Arena;
use calls::{Call, Manner};
use worker::Worker;

/// Steps of the scheduler's clock after which a pool of honest workers has ended every call.
const ROUNDS_MAX: u32 = 1_000;

/// As long as that takes at most: back-off, start and grace.
const ROUND: Duration = Duration::from_secs(1);

/// Calls of one script, so that it ends soon.
const CALLS_MAX: usize = 16;

/// The pool, its workers by slot, and the calls that were made.
struct Pool {
    driver: Arc<Driver>,
    workers: BTreeMap<u32, Worker>,
    calls: Vec<Call>,
    clock: Time,
    /// How many items may have been running when their workers died.
    blamed: u64,
}

/// Lives the script to its end, and the pool to its own.
pub(crate) fn live(script: &mut Script<'_>) {
    let mut pool = Pool::new(script);
    pool.tick(Duration::ZERO);
    pool.call(script);
    while let Some(choice) = script.next(16) {
        pool.act(choice, script);
        pool.look_around();
    }
    pool.end();
}

impl Pool {
    fn new(script: &mut Script<'_>) -> Pool {
        let choice = script.u8();
        let policy = Policy {
            max_tasks_per_worker: (choice & 4 != 0).then_some(5),
            lazy_start: choice & 8 != 0,
            lost_in_a_row_max: (choice & 16 != 0).then_some(3),
            recycle_after_panic: choice & 32 != 0,
            ..Policy::new(1 + u32::from(choice % 3))
        };
        let arena = Arena::create().expect("there are addresses for an arena");
        let settings = Settings::default();
        let driver = Driver::new(policy, None, settings, arena).expect("there is a descriptor for the bell");
        let clock = driver.state.lock().now();
        Pool { driver: Arc::new(driver), workers: BTreeMap::new(), calls: Vec::new(), clock, blamed: 0 }
    }

    fn act(&mut self, choice: u8, script: &mut Script<'_>) {
        match choice {
            0 => self.call(script),
            1 => {
                let (which, what) = (usize::from(script.u8()), script.u8());
                if let Some(call) = self.calls.get_mut(which) {
                    call.change(&self.driver, what, script);
                }
            }
            2 => self.tick(Duration::from_micros(u64::from(script.u16()) * u64::from(script.u8()))),
            3 => match script.u8() % 8 {
                0 => self.driver.close(),
                1 => self.driver.terminate(),
                workers => self.driver.resize(u32::from(workers) % 4 + 1),
            },
            4 => self.kill(u32::from(script.u8() % 4)),
            _ => {
                if let Some(worker) = self.workers.get_mut(&u32::from(script.u8() % 4)) {
                    worker.act(choice - 5, script);
                }
            }
        }
    }

    fn call(&mut self, script: &mut Script<'_>) {
        if self.calls.len() < CALLS_MAX {
            let task = *registry::tasks().first().expect("the program has a task");
            self.calls.extend(Call::make(&self.driver, task, Manner::read(script)));
        }
    }

    fn tick(&mut self, passed: Duration) {
        self.clock = self.clock.max(self.driver.state.lock().now()) + passed;
        let clock = self.clock;
        self.driver.look_for_late_results(clock);
        self.driver.with_state(|state, _, effects| state.tick(clock, effects));
    }

    /// The process of that worker is gone.
    fn kill(&mut self, slot: u32) {
        if let Some(worker) = self.workers.remove(&slot) {
            self.blamed += worker.die(&self.driver);
        }
    }

    /// Obeys orders as the supervisor does, and checks what must hold between any two events.
    fn look_around(&mut self) {
        loop {
            self.driver.state.lock().check_invariants();
            let orders = self.driver.mailbox.take();
            if orders.is_empty() {
                break;
            }
            for order in orders {
                match order {
                    Order::Start { worker, .. } => {
                        self.workers.insert(worker.slot, Worker::start(&self.driver, worker));
                    }
                    // There is no process that could stand still, or be on its way for long.
                    Order::Halt | Order::Forgo(_) => {}
                    Order::Signal(id, _) => {
                        if let Some(worker) = self.workers.get_mut(&id.slot).filter(|worker| worker.id == id)
                        {
                            worker.is_doomed = true;
                        }
                    }
                }
            }
        }
        for call in &mut self.calls {
            call.look();
        }
    }

    /// From now on the workers are honest, and what was dishonest dies.
    fn end(mut self) {
        for call in &mut self.calls {
            call.close(&self.driver);
        }
        for slot in self.workers.keys().copied().collect::<Vec<_>>() {
            self.kill(slot);
        }
        self.run_until(|pool| pool.calls.iter().all(Call::is_over), "a call waits for ever");
        self.driver.close();
        self.run_until(|pool| pool.driver.phase() == Phase::Finished, "the pool does not end");
        let lost: u64 = self.calls.iter().map(|call| call.check()).sum();
        assert!(lost <= self.blamed, "{lost} items were lost where {} may have been running", self.blamed);
    }

    fn run_until(&mut self, is_so: impl Fn(&Pool) -> bool, otherwise: &str) {
        for _ in 0..ROUNDS_MAX {
            self.look_around();
            if is_so(self) {
                return;
            }
            let slots: Vec<u32> = self.workers.keys().copied().collect();
            for slot in slots {
                if self.workers.get_mut(&slot).is_some_and(|worker| !worker.work()) {
                    self.kill(slot);
                }
                self.look_around();
            }
            self.tick(ROUND);
        }
        panic!("{otherwise}");
    }
}
