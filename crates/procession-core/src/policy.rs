//! What the owner of the pool may decide, with the default of each number beside it. The numbers that only the
//! scheduler's own economy depends on are in `handout`.

use std::time::Duration;

/// How a pool treats its workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How many workers are wanted, at least 1.
    pub workers: u32,
    /// How long a worker has between `Terminate` and `Kill`. 2 s.
    pub grace: Duration,
    /// How long a worker may take to become ready. 10 s.
    pub start_timeout: Duration,
    /// How long a worker may take to exit once it was told to stop. 10 s.
    pub stop_timeout: Duration,
    /// How long a worker may leave items that have a time limit without beginning any. 10 s.
    pub stall_timeout: Duration,
    /// More ends than this within that time, of workers that were not ready yet, or ready for less than a second without
    /// having done an item or cost one an attempt, break the pool.
    /// `None`: `max(5, 3 · workers)` in 30 s.
    pub restart_limit: Option<(u32, Duration)>,
    /// The first pause before a seat is filled again (the very first refill has none); each further pause is twice
    /// as long, and each varies by ± 25 % so that seats do not retry in step. 100 ms.
    pub back_off_first: Duration,
    /// The longest such pause, and how long a place does without successors that are started before their predecessor
    /// has left, once one of them came to nothing. 30 s.
    pub back_off_max: Duration,
    /// How long the pool may be without a single worker while starts keep failing. 60 s.
    pub barren_timeout: Duration,
    /// A worker is replaced after this many items, by one that was started before it has left. `None`: never.
    pub max_tasks_per_worker: Option<u64>,
    /// A worker that had nothing to do for this long is stopped; its seat is filled again when work waits.
    /// `None`: never.
    pub idle_timeout: Option<Duration>,
    /// Start a worker only when work waits for one. `false`.
    pub lazy_start: bool,
    /// So many workers lost while they held work, with nothing done in between, break the pool.
    /// `None`: `max(20, 4 · workers)`.
    pub lost_in_a_row_max: Option<u32>,
    /// Seed of the back-off's jitter. 0.
    pub seed: u64,
}

impl Policy {
    /// The defaults for a pool of `workers`.
    ///
    /// ```
    /// let policy = procession_core::Policy { lazy_start: true, ..procession_core::Policy::new(4) };
    /// assert_eq!(policy.workers, 4);
    /// ```
    ///
    /// # Panics
    ///
    /// If `workers` is 0.
    pub fn new(workers: u32) -> Policy {
        assert!(workers > 0, "a pool of no workers would never run anything");
        Policy {
            workers,
            grace: Duration::from_secs(2),
            start_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(10),
            restart_limit: None,
            back_off_first: Duration::from_millis(100),
            back_off_max: Duration::from_secs(30),
            barren_timeout: Duration::from_secs(60),
            max_tasks_per_worker: None,
            idle_timeout: None,
            lazy_start: false,
            lost_in_a_row_max: None,
            seed: 0,
        }
    }
}

/// How one job wants to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOptions {
    /// Which task its items are calls of: run times are measured per task. A small, dense number.
    pub task: u32,
    /// Hand out items in multiples of this number. `None`: as their run time suggests.
    pub chunk_size: Option<u32>,
    /// How long one item may run, from its start.
    pub timeout: Option<Duration>,
    /// How long the whole call may take, from its submission.
    pub deadline: Option<Duration>,
    /// How often one item may start, at least 1: an item whose worker is lost is started again while it has
    /// attempts left, each time alone.
    pub max_attempts: u32,
    /// Higher runs first.
    pub priority: i32,
}

impl JobOptions {
    /// No limits, one attempt, priority 0.
    pub fn new(task: u32) -> JobOptions {
        JobOptions { task, chunk_size: None, timeout: None, deadline: None, max_attempts: 1, priority: 0 }
    }
}
