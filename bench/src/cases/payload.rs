//! B6 to B8: what it costs to bring many bytes to a worker and back, and to let all workers read the same.

use std::time::Duration;

use procession::{Pool, Shared, task};
use procession_tasks::faults::echo as echo_task;

use super::{Figures, per_item, timed, warm_pool};
use crate::limits::{ipc, memory};
use crate::plan::{APPLY, MEMCPY, RAW_BYTES};
use crate::results::{By, Measurement, spread};

const ECHO_BYTES: usize = 1 << 20;
const ECHOES: usize = 100;
const ARGUMENT_BYTES: usize = 64 << 20;
const ARGUMENTS: usize = 4;
const SHARED_MIB: [usize; 3] = [1, 16, 256];
const ROUNDS: usize = 10;
const APPLIES: usize = 100;

#[task]
fn length(bytes: Vec<u8>) -> u64 {
    bytes.len() as u64
}

pub(super) fn echo() -> Figures {
    let limit = ipc::bytes_echo(ECHO_BYTES, ECHOES)?;
    let pool = warm_pool()?;
    // What came back is sent again, so that nothing but the pool copies anything.
    let mut bytes = pool.apply(echo_task, (memory::pattern(ECHO_BYTES),))?;
    let (took, done) = timed(|| -> Result<(), procession::Error> {
        for _ in 0..ECHOES {
            bytes = pool.apply(echo_task, (std::mem::take(&mut bytes),))?;
        }
        Ok(())
    });
    done?;
    assert!(bytes == memory::pattern(ECHO_BYTES), "the bytes came back changed");
    pool.close()?;
    Ok(vec![
        Measurement::limit("B6", RAW_BYTES, limit),
        Measurement::ours("B6", rate(2 * ECHO_BYTES * ECHOES, took)),
    ])
}

pub(super) fn one_way() -> Figures {
    let bytes = memory::pattern(ARGUMENT_BYTES);
    let copied = memory::copy(&bytes, ARGUMENTS);
    let raw = ipc::bytes_one_way(&bytes, ARGUMENTS)?;
    let pool = warm_pool()?;
    pool.apply(length, (bytes.clone(),))?;
    let mut took = Duration::ZERO;
    for _ in 0..ARGUMENTS {
        // The caller's copy is not the pool's doing.
        let argument = bytes.clone();
        let (one, received) = timed(|| pool.apply(length, (argument,)));
        assert_eq!(received?, ARGUMENT_BYTES as u64);
        took += one;
    }
    pool.close()?;
    Ok(vec![
        Measurement::limit("B7", MEMCPY, copied),
        Measurement::limit("B7", RAW_BYTES, raw),
        Measurement::ours("B7", rate(ARGUMENT_BYTES * ARGUMENTS, took)),
    ])
}

#[task]
fn element(data: Shared<f64>, position: usize) -> f64 {
    data[position]
}

#[task]
fn no_element(position: usize) -> f64 {
    position as f64
}

/// A thousand tasks each, with the data and without it in turn: one of its elements is read at a time.
pub(super) fn shared() -> Figures {
    let pool = warm_pool()?;
    let mut sizes = Vec::new();
    for mib in SHARED_MIB {
        let data: Vec<f64> = (0..(mib << 20) / size_of::<f64>()).map(|position| position as f64).collect();
        let data = pool.share(&data)?;
        // Every worker maps it before the clock starts.
        pool.starmap(element, (0..1_000).map(|position| (data.clone(), position)))?;
        sizes.push((mib, data, Duration::ZERO, Duration::ZERO));
    }
    for round in 0..ROUNDS {
        for (_, data, with, without) in &mut sizes {
            *with += round_trips(&pool, round, |pool, at| pool.apply(element, (data.clone(), at)))?;
            *without += round_trips(&pool, round, |pool, at| pool.apply(no_element, (at,)))?;
        }
    }
    let mut figures = Vec::new();
    for (mib, _, with, without) in sizes {
        let (size, applied) = (format!("{mib} MiB"), (ROUNDS * APPLIES) as u64);
        figures.push(Measurement::limit("B8", APPLY, per_item(without, applied)).of(&size));
        figures.push(Measurement::ours("B8", per_item(with, applied)).of(&size));
    }
    pool.close()?;
    let costs = spread(figures.iter().filter(|figure| figure.by == By::Ours).map(|figure| figure.value));
    let costs = costs.ok_or("nothing was measured")?;
    figures.push(Measurement::ours("B8 flat", costs.most / costs.least));
    Ok(figures)
}

fn round_trips(
    pool: &Pool,
    round: usize,
    apply: impl Fn(&Pool, usize) -> Result<f64, procession::Error>,
) -> Result<Duration, procession::Error> {
    let positions = || (round * APPLIES..).take(APPLIES);
    let (took, done) =
        timed(|| positions().try_for_each(|at| apply(pool, at).map(|value| assert_eq!(value, at as f64))));
    done.map(|()| took)
}

fn rate(bytes: usize, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64()
}
