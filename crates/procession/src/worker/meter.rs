//! What this process has used of processor and memory, as the kernel counts it. It knows no items.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::wire::Usage;

/// Measures from one reading to the next.
#[derive(Debug)]
pub(super) struct Meter {
    cpu_us: i64,
}

impl Meter {
    pub(super) fn start() -> Meter {
        Meter { cpu_us: count().0 }
    }

    /// What was used since the last reading.
    pub(super) fn read(&mut self) -> Usage {
        let (cpu_us, peak_rss_kib) = count();
        let used_us = cpu_us - std::mem::replace(&mut self.cpu_us, cpu_us);
        Usage {
            cpu_ns: u64::try_from(used_us).unwrap_or(0).saturating_mul(1_000),
            peak_rss_kib: u32::try_from(peak_rss_kib).unwrap_or(u32::MAX),
        }
    }
}

/// Processor time in microseconds, of children that were waited for as well: a command that a task ran is what the task
/// took. The most memory that this process or one of them had, in KiB. Neither call fails for these arguments.
fn count() -> (i64, i64) {
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].into_iter().filter_map(|who| getrusage(who).ok()).fold(
        (0, 0),
        |(cpu_us, peak), usage| {
            let spent = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
            (cpu_us + spent, peak.max(usage.max_rss()))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_measured_once() {
        let mut meter = Meter::start();
        let start = std::time::Instant::now();
        let mut used_ns = 0;
        while used_ns < 20_000_000 {
            assert!(start.elapsed().as_secs() < 60, "{used_ns} ns after a minute of work");
            std::hint::black_box((0..10_000).map(std::hint::black_box).sum::<u64>());
            used_ns += meter.read().cpu_ns;
        }
        // Other threads of the tests run meanwhile, on as many processors as there are.
        assert!(meter.read().peak_rss_kib > 100);
    }
}
