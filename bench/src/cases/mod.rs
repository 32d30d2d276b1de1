//! What each case does. It runs in a process of its own, warms up, measures once, checks its results, and says its
//! figures: the pool's and those of its limits, one right after the other.

mod dispatch;
mod exec;
mod fleet;
mod lifecycle;
mod payload;
mod scaling;
mod schedule;

use std::error::Error;
use std::time::{Duration, Instant};

use procession::Pool;

use crate::results::Measurement;
use crate::run::Scale;

/// All cases but those about the number of workers have so many, as the peers beside them have.
pub(crate) const WORKERS: usize = 2;

/// The figures of one pass.
pub(crate) type Figures = Result<Vec<Measurement>, Box<dyn Error>>;

/// Measures one case, in this process.
pub(crate) fn measure(case: &str, scale: Scale) -> Figures {
    match case {
        "B1" => dispatch::apply(),
        "B2" => dispatch::burst(),
        "B3" => dispatch::map_single(),
        "B4" => dispatch::map_default(),
        "B5" => dispatch::lazy(scale),
        "B6" => payload::echo(),
        "B7" => payload::one_way(),
        "B8" => payload::shared(),
        "B9" => scaling::pi(scale),
        "B10" => lifecycle::starts_and_crash(scale),
        "B11" => schedule::one_long_item(),
        "B12" => exec::commands(scale),
        "B13" => fleet::cost_by_workers(scale),
        "B14" => lifecycle::crashes(scale),
        _ => Err(format!("no case is called `{case}`").into()),
    }
}

/// A pool whose workers have all run something.
fn warm_pool() -> Result<Pool, procession::Error> {
    let pool = Pool::builder().workers(WORKERS).build()?;
    pool.map(dispatch::square, 0..1_000)?;
    Ok(pool)
}

/// The threads that a pool of processes is measured against.
fn threads(count: usize) -> Result<rayon::ThreadPool, rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new().num_threads(count).build()
}

fn per_item(took: Duration, items: u64) -> f64 {
    took.as_nanos() as f64 / items as f64
}

/// How long `work` takes, and what it returns.
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}
