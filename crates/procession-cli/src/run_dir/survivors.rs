//! What a killed master has left of the run: nobody goes on with it beside that.

use std::thread;
use std::time::{Duration, Instant};

use procession_store::RunDir;

use crate::exit::Stop;
use crate::terminal;

/// Workers of a killed master are gone within two seconds; a machine that is very busy gets more time.
const SURVIVORS_LEAVE_WITHIN: Duration = Duration::from_secs(10);

/// Who waits for them longer than this is told so.
const SAY_AFTER: Duration = Duration::from_millis(500);

/// Workers that outlive their master by a moment must not run beside ours.
pub(super) fn await_survivors(dir: &RunDir) -> Result<(), Stop> {
    let start = Instant::now();
    let mut is_said = false;
    loop {
        let alive = dir.survivors()?;
        if alive.is_empty() {
            return Ok(());
        }
        let alive = alive.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        if start.elapsed() > SAY_AFTER && !is_said {
            is_said = true;
            terminal::say_warning(&format!("waiting for what the killed master has left: process {alive}"));
        }
        if start.elapsed() > SURVIVORS_LEAVE_WITHIN {
            return Err(Stop::InUse(format!(
                "processes of the run in {} still live although their master is gone: {}; wait for them, or end them",
                dir.path().display(),
                alive
            )));
        }
        thread::sleep(Duration::from_millis(20));
    }
}
