//! What things take: time, and processor time of this process.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long it took, and this process's processor time an item.
pub(crate) fn timed(items: u64, work: impl FnOnce() -> Result<()>) -> Result<(Duration, u64)> {
    let (before, start) = (processor_time()?, Instant::now());
    work()?;
    let (wall, busy) = (start.elapsed(), processor_time()? - before);
    Ok((wall, busy.as_nanos() as u64 / items))
}

/// Of this process and its threads, not of its children.
fn processor_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let duration = |time: TimeVal| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64);
    Ok(duration(usage.user_time()) + duration(usage.system_time()))
}
