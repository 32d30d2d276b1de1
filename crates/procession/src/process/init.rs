//! The entry hook: where a process learns whether it is the program or one of its workers.

use std::sync::atomic::{AtomicBool, Ordering};

use super::boot::{DEPTH_VARIABLE, ROLE_VARIABLE};
use super::child;
use super::error::LaunchError;
use crate::registry;

/// Pools within tasks of pools: each level multiplies the processes.
pub(super) const DEPTH_MAX: u32 = 5;

/// Exit status of a program that registers two tasks of one path.
const DUPLICATE_TASKS: i32 = 70;

static INITIALISED: AtomicBool = AtomicBool::new(false);

/// Lets this program start worker processes of itself. Call it first in `main`.
///
/// A pool starts workers by executing the running program anew; in such a process this function does not return: it
/// runs tasks until the pool is done with it. Everywhere else it returns at once. `#[procession::main]` calls it, and the
/// feature `before-main` calls it before `main`. A program that forgets it gets
/// [`ErrorKind::NotInitialized`](crate::ErrorKind::NotInitialized) from its first pool.
///
/// What `main` does before this call, every worker does as well.
///
/// ```
/// procession::init(); // the first line of `main`; pools can be built from here on
/// ```
pub fn init() {
    if INITIALISED.swap(true, Ordering::SeqCst) {
        return;
    }
    if let Err(reason) = registry::check() {
        eprintln!("Error: {reason}");
        std::process::exit(DUPLICATE_TASKS);
    }
    if let Some(role) = std::env::var_os(ROLE_VARIABLE) {
        child::enter(&role);
    }
}

/// Refuses to build a pool in a program that never called [`init`]: its workers would build pools in their turn.
pub(crate) fn require_init() -> Result<(), LaunchError> {
    if INITIALISED.load(Ordering::SeqCst) { Ok(()) } else { Err(LaunchError::NotInitialised) }
}

/// A process that was started as a worker but went past [`init`]: it must not start workers of its own.
pub(super) fn is_stray_worker() -> bool {
    std::env::var_os(ROLE_VARIABLE).is_some() && require_init().is_err()
}

/// How many pools this process is a worker in.
pub(super) fn depth() -> u32 {
    std::env::var(DEPTH_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Refuses the level of nesting at which a mistake would become a flood.
pub(super) fn check_depth() -> Result<(), LaunchError> {
    match depth() + 1 {
        depth if depth > DEPTH_MAX => Err(LaunchError::TooDeep { depth, limit: DEPTH_MAX }),
        _ => Ok(()),
    }
}

/// As if [`init`] had never been called.
#[cfg(test)]
pub(super) fn forget() {
    INITIALISED.store(false, Ordering::SeqCst);
}
