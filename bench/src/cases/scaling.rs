//! B9: the tutorial's π, at 1, 2, … workers: how much faster than one thread, beside threads that do the same.

use std::hint::black_box;
use std::time::Duration;

use procession::{Error, Pool};
use procession_tasks::tutorial::calc_partial_pi;
use rayon::prelude::*;

use super::{Figures, threads, timed};
use crate::plan::RAYON;
use crate::results::Measurement;
use crate::run::Scale;

pub(super) fn pi(scale: Scale) -> Figures {
    let steps: u64 = scale.of(1_000_000_000, 100_000_000);
    let h = 1.0 / steps as f64;
    let (serial, sum) = timed(|| calc_partial_pi(0, 1, black_box(steps), h));
    check(sum);
    let speed_up = |took: Duration| serial.as_secs_f64() / took.as_secs_f64();
    let mut figures = Vec::new();
    for workers in worker_counts() {
        let size = workers as u64;
        let share = |rank| (rank, size, steps, h);
        let threads = threads(workers)?;
        let in_threads = || (0..size).into_par_iter().map(|rank| calc_partial_pi(rank, size, steps, h)).sum();
        let (rayon, sum) = timed(|| threads.install(in_threads));
        check(sum);
        let pool = Pool::builder().workers(workers).build()?;
        pool.starmap(calc_partial_pi, (0..size).map(|rank| (rank, size, 1_000, 1e-3)))?;
        let (starmap, parts) = timed(|| pool.starmap(calc_partial_pi, (0..size).map(share)));
        check(parts?.iter().sum());
        let (apply_async, sum) = timed(|| -> Result<f64, Error> {
            let calls: Vec<_> =
                (0..size).map(|rank| pool.apply_async(calc_partial_pi, share(rank))).collect();
            calls.into_iter().map(|call| call.get()).sum()
        });
        check(sum?);
        pool.close()?;
        let variant = if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") };
        for (row, took) in [("B9 starmap", starmap), ("B9 apply_async", apply_async)] {
            figures.push(Measurement::limit(row, RAYON, speed_up(rayon)).of(&variant));
            figures.push(Measurement::ours(row, speed_up(took)).of(&variant));
        }
    }
    Ok(figures)
}

/// 1, 2, 4, … and all the usable cores.
fn worker_counts() -> Vec<usize> {
    let most = procession::cpu_count();
    let mut counts: Vec<usize> =
        std::iter::successors(Some(1), |count| Some(2 * count)).take_while(|&count| count < most).collect();
    counts.push(most);
    counts
}

fn check(pi: f64) {
    assert!((pi - std::f64::consts::PI).abs() < 1e-8, "π is not {pi}");
}
