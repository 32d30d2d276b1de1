//! Calls that a script makes, and what became of every item.

use std::sync::Arc;
use std::time::Duration;

use procession_core::JobId;

use crate::arrival::Arrival;
use crate::driver::{CallOptions, Driver, NewCall, Segment};
use crate::error::ErrorKind;
use crate::fuzz::Script;
use crate::job::Job;
use crate::registry::TaskInfo;

/// Items of one call, at most.
const ITEMS_MAX: usize = 200;

/// How a call is made.
pub(super) struct Manner {
    options: CallOptions,
    is_single: bool,
    items: u8,
    item_bytes: usize,
}

/// A call, and the outcomes of its items so far.
pub(super) struct Call {
    job: Arc<Job>,
    /// `None`: a single item, or refused.
    id: Option<JobId>,
    max_attempts: u32,
    item_bytes: usize,
    items: usize,
    outcomes: Vec<u8>,
    lost: u64,
    is_open: bool,
}

impl Manner {
    pub(super) fn read(script: &mut Script<'_>) -> Manner {
        let (choice, items, limits) = (script.u8(), script.u8(), script.u8());
        let options = CallOptions {
            chunk_size: (limits & 1 != 0).then_some(1 + u32::from(limits >> 4)),
            timeout: (limits & 2 != 0).then_some(Duration::from_millis(50)),
            deadline: (limits & 4 != 0).then_some(Duration::from_millis(200)),
            max_attempts: 1 + u32::from(choice % 3),
            priority: i32::from(limits & 8),
        };
        let item_bytes = match choice >> 4 {
            0..=9 => usize::from(choice >> 4),
            10..=13 => 3_000,
            14 => 100_000,
            _ => 0,
        };
        Manner { options, is_single: choice & 8 != 0, items: items % 40, item_bytes }
    }
}

impl Call {
    /// Makes the call; `None`: the pool takes none.
    pub(super) fn make(driver: &Driver, task: &'static TaskInfo, manner: Manner) -> Option<Call> {
        let Manner { options, is_single, items, item_bytes } = manner;
        let job = Arc::new(if is_single { Job::single(task) } else { Job::new(task) });
        let mut call = Call {
            job: Arc::clone(&job),
            id: None,
            max_attempts: options.max_attempts,
            item_bytes,
            items: 0,
            outcomes: Vec::new(),
            lost: 0,
            is_open: !is_single,
        };
        if is_single {
            let segment = call.segment(driver, 1);
            driver.submit(NewCall { job, options, segment });
        } else {
            call.id = Some(driver.open(&job, options).ok()?);
            call.input(driver, items);
        }
        Some(call)
    }

    fn segment(&mut self, driver: &Driver, items: usize) -> Segment {
        let mut segment = driver.segment();
        for item in self.items..self.items + items {
            let argument = vec![item as u8; self.item_bytes];
            segment.push(|sink| sink.put(&argument)).expect("there is memory for an argument");
        }
        self.items += items;
        self.outcomes.resize(self.items, 0);
        segment.complete()
    }

    fn input(&mut self, driver: &Driver, items: u8) {
        let first = self.items;
        if let Some(id) = self.id
            && self.is_open
            && first + usize::from(items) <= ITEMS_MAX
        {
            let segment = self.segment(driver, usize::from(items));
            if !driver.input(id, segment, first as u64) {
                // It was settled meanwhile: nothing of it will be heard.
                self.items = first;
                self.outcomes.truncate(first);
            }
        }
    }

    pub(super) fn close(&mut self, driver: &Driver) {
        if let Some(id) = self.id
            && std::mem::replace(&mut self.is_open, false)
        {
            driver.close_input(id);
        }
    }

    /// Its caller does something about it.
    pub(super) fn change(&mut self, driver: &Driver, what: u8, script: &mut Script<'_>) {
        match what % 4 {
            0 => self.input(driver, script.u8() % 40),
            1 => self.close(driver),
            2 => {
                self.job.cancel();
                driver.cancel(&self.job);
            }
            _ => {
                if let Some(id) = self.id {
                    driver.abandon(id);
                    self.is_open = false;
                }
            }
        }
    }

    /// Takes what has arrived.
    pub(super) fn look(&mut self) {
        let task = self.job.task;
        let arrivals: Vec<Arrival> =
            self.job.take_arrivals().into_iter().chain(self.job.take_only()).collect();
        for mut arrival in arrivals {
            let attempts = arrival.attempts();
            assert!(attempts <= self.max_attempts, "{attempts} starts of {} allowed", self.max_attempts);
            let (mut position, count) = (0, arrival.items());
            for _ in 0..count {
                let (index, outcome) =
                    arrival.take_first(task, &mut position, |bytes| Ok(bytes.len())).expect("it has so many");
                let before = &mut self.outcomes[index as usize];
                assert_eq!(*before, 0, "item {index} had its outcome already");
                *before = 1;
                if let Err(error) = outcome {
                    let is_lost = matches!(error.kind(), ErrorKind::WorkerLost | ErrorKind::Quarantined);
                    self.lost += u64::from(is_lost);
                }
            }
            assert!(
                arrival.take_first(task, &mut position, |_| Ok(())).is_none(),
                "it has more than it says"
            );
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.job.is_complete()
    }

    /// Every item has its outcome. Returns how many were lost.
    pub(super) fn check(&self) -> u64 {
        let missing = self.outcomes.iter().position(|outcomes| *outcomes == 0);
        assert_eq!(missing, None, "an item of {} has no outcome", self.items);
        self.lost
    }
}
