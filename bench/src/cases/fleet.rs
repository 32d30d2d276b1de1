//! B13: what an item costs the master when there are few workers and when there are many.

use nix::sys::resource::{UsageWho, getrusage};
use procession::Pool;
use procession_tasks::faults::sleep;

use super::Figures;
use crate::results::{Measurement, spread};
use crate::run::Scale;

const WORKER_COUNTS: [u64; 4] = [2, 16, 64, 256];

/// The more workers, the longer the sleep: results come at the same rate whatever their number, so that nothing but
/// the number differs. Longer than a hand-out should take, so that items go out one by one.
const SLEEP_SECONDS_A_WORKER: f64 = 1.25e-3;

pub(super) fn cost_by_workers(scale: Scale) -> Figures {
    let items: u64 = scale.of(1_536, 512);
    let mut figures = Vec::new();
    for workers in WORKER_COUNTS {
        let pool = Pool::builder().workers(usize::try_from(workers)?).build()?;
        let seconds = SLEEP_SECONDS_A_WORKER * workers as f64;
        pool.map(sleep, (0..workers).map(|_| seconds))?;
        let before = cpu_ns()?;
        let slept = pool.map(sleep, (0..items).map(|_| seconds))?;
        let used = cpu_ns()? - before;
        assert_eq!(slept.len() as u64, items);
        pool.close()?;
        figures.push(Measurement::ours("B13", used / items as f64).of(format!("{workers} workers")));
    }
    let costs = spread(figures.iter().map(|figure| figure.value)).ok_or("nothing was measured")?;
    figures.push(Measurement::ours("B13 flat", costs.most / costs.least));
    Ok(figures)
}

/// What all threads of this process have used.
fn cpu_ns() -> nix::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let nanoseconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e9 + time.tv_usec() as f64 * 1e3;
    Ok(nanoseconds(usage.user_time()) + nanoseconds(usage.system_time()))
}
