//! What real clusters run in a study: nothing that needs a processor.

use std::time::Duration;

#[procession::task(idempotent)]
pub(crate) fn nap(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

#[procession::task(idempotent)]
pub(crate) fn nothing(x: u64) -> u64 {
    x
}
