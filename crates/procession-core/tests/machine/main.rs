//! Sequences of events, legal and hostile, that shrink to the few that matter.
//!
//! The simulation lives whole lives in modelled time, with workers that behave as processes do. Here the order is what
//! chance wants it to be: replies nobody expects any more, workers that die with several items begun, answers to
//! questions that were not asked, news of incarnations that are gone. `PROPTEST_CASES=n` runs that many sequences.

mod books;
mod plan;
mod pool;
#[path = "../simulation/restarts.rs"]
mod restarts;

use plan::{Plan, Step};
use pool::Pool;
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

/// Sequences of one run.
const CASES: u32 = 1_000;

struct Machine;

impl StateMachineTest for Machine {
    type SystemUnderTest = Pool;
    type Reference = Plan;

    fn init_test(plan: &Plan) -> Pool {
        Pool::new(plan.policy())
    }

    fn apply(mut pool: Pool, _: &Plan, step: Step) -> Pool {
        pool.take(step);
        pool
    }

    fn check_invariants(pool: &Pool, _: &Plan) {
        pool.check();
    }

    fn teardown(pool: Pool, _: <Plan as ReferenceStateMachine>::State) {
        pool.end();
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    // What fails is printed; a file beside the sources would be in the way.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn every_item_gets_one_outcome_whatever_the_order(sequential 1..120 => Machine);
}
