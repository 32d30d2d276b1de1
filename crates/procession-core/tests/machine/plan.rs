//! What may happen next: the abstract side of the machine. It knows the calls that were made; which worker has what is the
//! scheduler's choice, so steps of workers name a seat and mean whatever that has.

use std::time::Duration;

use procession_core::{JobOptions, Policy};
use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

/// Calls of one sequence, at most.
const CALLS_MAX: usize = 12;

/// Seats that steps speak of; some do not exist.
const SLOTS: u32 = 5;

/// How the pool is made, and which calls take input.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    workers: u32,
    choices: u8,
    open: Vec<bool>,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Call {
        options: JobOptions,
        items: u64,
        stays_open: bool,
    },
    Input {
        call: usize,
        items: u64,
    },
    CloseInput {
        call: usize,
    },
    Cancel {
        call: usize,
    },
    Abandon {
        call: usize,
    },
    /// A worker that was started is ready.
    Boot {
        slot: u32,
    },
    RefuseStart {
        slot: u32,
        is_fatal: bool,
    },
    /// A worker begins so many items, each after the one before it ended.
    Begin {
        slot: u32,
        items: usize,
    },
    /// It reports so many of those it has begun.
    Report {
        slot: u32,
        items: usize,
    },
    /// It is gone; `is_heard`: all it had ended was heard first.
    Die {
        slot: u32,
        is_heard: bool,
    },
    Misbehave {
        slot: u32,
    },
    /// A worker is ready and of no use: it dies at once, or breaks the protocol; so do those that follow it there.
    Stillborn {
        slot: u32,
        times: u32,
        is_faulty: bool,
    },
    /// It takes more memory than it may.
    Bloat {
        slot: u32,
    },
    Resize {
        workers: u32,
    },
    Close,
    Terminate,
    Pass {
        ms: u64,
    },
    /// News of an incarnation that is gone, or of one that never was.
    Stale {
        slot: u32,
        back: u32,
        news: u8,
    },
    /// An answer that nobody asked for, or that is no answer.
    Unasked {
        slot: u32,
        news: u8,
    },
}

impl Plan {
    pub(crate) fn policy(&self) -> Policy {
        let is = |choice: u8| self.choices & choice != 0;
        Policy {
            grace: Duration::from_millis(if is(1) { 0 } else { 20 }),
            max_tasks_per_worker: is(2).then_some(3),
            idle_timeout: is(4).then_some(Duration::from_millis(30)),
            lazy_start: is(8),
            lost_in_a_row_max: is(16).then_some(4),
            restart_limit: is(32).then_some((2, Duration::from_secs(1))),
            ..Policy::new(self.workers)
        }
    }
}

fn options() -> impl Strategy<Value = JobOptions> {
    let limits =
        (proptest::option::of(1_u32..6), proptest::option::of(1_u64..60), proptest::option::of(0_u64..200));
    (limits, 1_u32..4, 0_u32..3, -1_i32..2).prop_map(
        |((chunk_size, timeout, deadline), max_attempts, task, priority)| JobOptions {
            task,
            chunk_size,
            timeout: timeout.map(Duration::from_millis),
            deadline: deadline.map(Duration::from_millis),
            max_attempts,
            priority,
        },
    )
}

impl ReferenceStateMachine for Plan {
    type State = Plan;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Plan> {
        (1_u32..4, any::<u8>())
            .prop_map(|(workers, choices)| Plan { workers, choices, open: Vec::new() })
            .boxed()
    }

    fn transitions(_: &Plan) -> BoxedStrategy<Step> {
        let slot = 0..SLOTS;
        let call = 0..CALLS_MAX;
        prop_oneof![
            8 => (options(), 0_u64..12, any::<bool>())
                .prop_map(|(options, items, stays_open)| Step::Call { options, items, stays_open }),
            4 => (call.clone(), 0_u64..12).prop_map(|(call, items)| Step::Input { call, items }),
            2 => call.clone().prop_map(|call| Step::CloseInput { call }),
            2 => call.clone().prop_map(|call| Step::Cancel { call }),
            2 => call.prop_map(|call| Step::Abandon { call }),
            10 => slot.clone().prop_map(|slot| Step::Boot { slot }),
            2 => (slot.clone(), prop::bool::weighted(0.1))
                .prop_map(|(slot, is_fatal)| Step::RefuseStart { slot, is_fatal }),
            16 => (slot.clone(), 1_usize..5).prop_map(|(slot, items)| Step::Begin { slot, items }),
            14 => (slot.clone(), 0_usize..5).prop_map(|(slot, items)| Step::Report { slot, items }),
            8 => (slot.clone(), any::<bool>()).prop_map(|(slot, is_heard)| Step::Die { slot, is_heard }),
            2 => slot.clone().prop_map(|slot| Step::Misbehave { slot }),
            3 => (slot.clone(), 1_u32..12, any::<bool>())
                .prop_map(|(slot, times, is_faulty)| Step::Stillborn { slot, times, is_faulty }),
            3 => slot.clone().prop_map(|slot| Step::Bloat { slot }),
            2 => (1..SLOTS).prop_map(|workers| Step::Resize { workers }),
            1 => Just(Step::Close),
            1 => prop::bool::weighted(0.3).prop_map(|is_hard| if is_hard { Step::Terminate } else { Step::Close }),
            8 => (0_u64..100).prop_map(|ms| Step::Pass { ms }),
            4 => (slot.clone(), 1_u32..3, any::<u8>()).prop_map(|(slot, back, news)| Step::Stale { slot, back, news }),
            4 => (slot, any::<u8>()).prop_map(|(slot, news)| Step::Unasked { slot, news }),
        ]
        .boxed()
    }

    fn apply(mut plan: Plan, step: &Step) -> Plan {
        match *step {
            Step::Call { stays_open, .. } => plan.open.push(stays_open),
            Step::CloseInput { call } | Step::Abandon { call } => plan.open[call] = false,
            _ => {}
        }
        plan
    }

    /// Input after the end of the input would be a fault of the driver.
    fn preconditions(plan: &Plan, step: &Step) -> bool {
        match *step {
            Step::Call { .. } => plan.open.len() < CALLS_MAX,
            Step::Input { call, .. } | Step::CloseInput { call } => plan.open.get(call) == Some(&true),
            Step::Cancel { call } | Step::Abandon { call } => call < plan.open.len(),
            _ => true,
        }
    }
}
