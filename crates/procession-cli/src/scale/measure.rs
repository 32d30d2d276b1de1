//! One run of a job for its time alone: values are digested, not written.

use std::time::{Duration, Instant};

use procession::{Payload, Pool};

use super::sameness::{Digest, Outcome};
use crate::activity::Activity;
use crate::engine::Engine;
use crate::engine::unstarted;
use crate::exit::Stop;
use crate::host::Host;
use crate::job::Job;
use crate::progress::Screen;
use crate::run::options;
use crate::signals::{Request, Watch};
use crate::terminal;

/// How long to wait for an outcome before looking at signals again.
const LOOK_UP_EVERY: Duration = Duration::from_millis(50);

/// Runs the job on a pool of its own. The time is that of the call: from the first item to the last result, with the pool
/// started and not yet stopped.
pub(super) fn measure(job: &Job, watch: &Watch) -> Result<(Duration, Outcome), Stop> {
    let mut digest = Digest::new(job);
    // Read and encoded before the clock starts: it is the pool that is measured.
    let items = job.source.rows(job.task)?.collect::<Result<Vec<Payload>, _>>()?;
    items.iter().for_each(|item| digest.item(item));
    let pool = job.pool.configure(Pool::builder(), Screen::bare()).build();
    let pool = pool.map_err(|error| unstarted(&error))?;
    let engine = Engine::Local(pool.clone());
    let host = Host::new(engine.clone(), Screen::bare(), Activity::of(engine));
    let away = host.away();
    let _hosting = watch.host(host);
    let start = Instant::now();
    let mut stream = pool.stream(job.task, items, options(job));
    let mut stage = Request::Run;
    while let Some(step) = stream.next_timeout(LOOK_UP_EVERY).map_or(Some(None), |step| step.map(Some)) {
        let request = watch.request();
        if request > stage {
            stage = request;
            watch.hear();
            match stage {
                Request::Run => {}
                Request::Drain => stream.drain(),
                Request::Stop => pool.terminate(),
            }
        }
        match step {
            None => {}
            Some((index, Ok(value))) => digest.value(index, &value),
            Some((_, Err(_))) if stage > Request::Run => {}
            Some((_, Err(error))) => {
                if let broken @ Stop::Broken(_) = unstarted(&error)
                    && pool_is_gone(&error)
                {
                    return Err(broken);
                }
                if digest.failure() == 1 {
                    terminal::say(&terminal::printable(&error.to_string()));
                }
            }
        }
    }
    let time = start.elapsed().saturating_sub(away.time());
    drop(stream);
    if stage == Request::Stop || pool.close().is_err() {
        pool.terminate();
    }
    Ok((time, digest.finish()))
}

/// Whether it is not an item's error but the end of the pool.
fn pool_is_gone(error: &procession::Error) -> bool {
    use procession::ErrorKind::{Broken, Initializer, NotInitialized, Spawn};
    matches!(error.kind(), Broken | Initializer | NotInitialized | Spawn)
}
