//! Calls that run until the test lets them go. It knows nothing of what is tested meanwhile.

use procession::{AsyncResult, Pool};
use procession_harness::{Gate, Ledger, wait_until};

use crate::scenes::LIMIT;

/// Notes its start in the ledger, then waits at the gate; its argument.
#[procession::task]
pub(crate) fn note_and_wait(path: String, x: i64, gate: String) -> i64 {
    Ledger::note(path, x);
    Gate::pass(gate);
    x
}

/// A call that runs until its gate is opened, once it has begun; its value is 7.
pub(crate) fn held(pool: &Pool, ledger: &Ledger, gate: &Gate) -> AsyncResult<i64> {
    let before = ledger.lines().len();
    let handle = pool.apply_async(note_and_wait, (ledger.path(), 7, gate.path()));
    assert!(wait_until(LIMIT, || ledger.lines().len() > before), "it begins");
    handle
}
