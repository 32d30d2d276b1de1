//! B10 and B14: workers that begin, and workers that crash.

use std::time::{Duration, Instant};

use procession::{Error, ErrorKind, Pool, StartMethod};
use procession_tasks::faults::{die_every, segv};

use super::dispatch::square;
use super::{Figures, WORKERS, timed, warm_pool};
use crate::limits::process;
use crate::plan::{EXECUTES, FORKS};
use crate::results::{Measurement, spread};
use crate::run::Scale;

/// Every so manieth item crashes.
const CRASH_EVERY: i64 = 10;

pub(super) fn starts_and_crash(scale: Scale) -> Figures {
    let starts = scale.of(40, 15);
    let fork = process::fork_and_wait(200)?;
    let execute = process::execute_and_wait(30)?;
    let forkserver = median(starts, || start_and_close(StartMethod::ForkServer))?;
    let spawn = median(starts, || start_and_close(StartMethod::Spawn))?;
    let pool = Pool::builder().workers(1).build()?;
    pool.apply(square, (1,))?;
    let crash = median(scale.of(500, 200), || crash_and_replace(&pool))?;
    pool.close()?;
    Ok(vec![
        Measurement::limit("B10 forkserver", FORKS, WORKERS as f64 * fork),
        Measurement::ours("B10 forkserver", forkserver),
        Measurement::limit("B10 spawn", EXECUTES, WORKERS as f64 * execute),
        Measurement::ours("B10 spawn", spawn),
        Measurement::limit("B10 crash", FORKS, fork),
        Measurement::ours("B10 crash", crash),
    ])
}

pub(super) fn crashes(scale: Scale) -> Figures {
    let items: i64 = scale.of(10_000, 3_000);
    let fork = process::fork_and_wait(200)?;
    let pool = warm_pool()?;
    let rows = (0..items).map(|x| (x, CRASH_EVERY, "segv".to_owned()));
    let (took, outcomes) = timed(|| pool.istarmap(die_every, rows).collect::<Vec<Result<i64, Error>>>());
    assert_eq!(outcomes.len(), usize::try_from(items)?);
    for (x, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(value) => assert!(value == x && x % CRASH_EVERY != 0, "item {x} is {value}"),
            Err(error) => {
                let is_to_blame = error.kind() == ErrorKind::WorkerLost && x % CRASH_EVERY == 0;
                assert!(is_to_blame, "item {x} is innocent: {error}");
            }
        }
    }
    pool.close()?;
    let crashes = items / CRASH_EVERY;
    Ok(vec![
        Measurement::limit("B14", FORKS, 1e9 / fork),
        Measurement::ours("B14", crashes as f64 / took.as_secs_f64()),
    ])
}

fn start_and_close(method: StartMethod) -> Result<Duration, Error> {
    let start = Instant::now();
    let pool = Pool::builder().workers(WORKERS).start_method(method).build()?;
    // Both workers are idle, so each is given one of the calls.
    let calls = [1, 2].map(|x| pool.apply_async(square, (x,)));
    for call in calls {
        call.get()?;
    }
    pool.close()?;
    Ok(start.elapsed())
}

/// From the order to crash until the worker's replacement has done something.
fn crash_and_replace(pool: &Pool) -> Result<Duration, Error> {
    let start = Instant::now();
    let crash = pool.apply_async(segv, ());
    pool.apply(square, (3,))?;
    let took = start.elapsed();
    assert_eq!(crash.get().map_err(|error| error.kind()), Err(ErrorKind::WorkerLost));
    Ok(took)
}

/// In nanoseconds.
fn median(times: usize, once: impl Fn() -> Result<Duration, Error>) -> Result<f64, Error> {
    once()?;
    let took =
        (0..times).map(|_| once().map(|took| took.as_nanos() as f64)).collect::<Result<Vec<f64>, Error>>()?;
    Ok(spread(took).expect("it ran at least once").median)
}
